/* run_messages.c - what requests about messages do inside the transaction: APPEND, FLAGS, COPY, MOVE, EXPUNGE. */
#include "store/request.h"

/* --- which mailbox, which rows ------------------------------------------------------------------------------- */

/* By id or by name. The account, when the request names one, must be the mailbox's. */
static int resolve(struct request *q, struct journal_view *v, uint64_t id, slice name, uint64_t *out,
                   struct mailbox_head *h, struct err *err)
{
    if (id == 0 && !name_find(v, q->pub.account, name, &id))
        return request_refuse(q, STORE_NO_MAILBOX, err);
    if (!mailbox_head_get(v, id, h) || (h->flags & HEAD_DOOMED) != 0 ||
        (q->pub.account != 0 && h->account != q->pub.account))
        return request_refuse(q, STORE_NO_MAILBOX, err);
    *out = id;
    return 0;
}

/* From the second piece on the mailbox is known by its id: a rename in between changes nothing. */
int request_source(struct request *q, struct journal_view *v, struct mailbox_head *h, struct err *err)
{
    uint64_t id = q->done.source != 0 ? q->done.source : q->pub.mailbox;
    struct mailbox_count c;

    if (resolve(q, v, id, q->pub.name, &q->piece.source, h, err) < 0)
        return -1;
    if (q->piece.uid_limit == 0) {
        mailbox_count_get(v, q->piece.source, &c);
        q->piece.uid_limit = c.max.uidnext - 1;
    }
    q->pub.uidvalidity = h->uidvalidity;
    return 0;
}

int request_target(struct request *q, struct journal_view *v, struct mailbox_head *h, struct err *err)
{
    uint64_t id = q->done.target != 0 ? q->done.target : q->pub.to_mailbox;

    if (resolve(q, v, id, q->pub.to_name, &q->piece.target, h, err) < 0)
        return -1;
    q->pub.uidvalidity = h->uidvalidity;
    return 0;
}

typedef bool row_fn(struct request *q, struct store_row *row); /* may change it; false: leave it out */

/* The piece's rows, from where the last piece ended. */
static void rows_gather(struct request *q, struct journal_view *v, row_fn *wanted)
{
    struct piece *p = &q->piece;
    unsigned seen = 0;

    while (p->next.range < q->pub.uid_count) {
        struct uid_range range = q->pub.uids[p->next.range];
        uint32_t last = range.last < p->uid_limit ? range.last : p->uid_limit;
        struct row_cursor c;
        struct store_row row;
        bool is_full = false;

        row_cursor_begin(&c, v, p->source, p->next.uid > range.first ? p->next.uid : range.first);
        while (row_cursor_next(&c, &row) && row.uid <= last) {
            is_full = p->count == q->row_max || p->modified_count == q->row_max || seen == STORE_OP_SCAN;
            if (is_full)
                break;
            seen++;
            if (wanted == NULL || wanted(q, &row))
                q->rows[p->count++] = row;
        }
        row_cursor_end(&c);
        if (is_full) {
            p->next.uid = row.uid;
            p->more = true;
            return;
        }
        p->next.range++;
        p->next.uid = 0;
    }
}

static void modseq_raise(struct request *q, uint64_t seq)
{
    if (seq > q->piece.modseq)
        q->piece.modseq = seq;
}

/* --- APPEND -------------------------------------------------------------------------------------------------- */

static int append_check(struct request *q, struct journal_view *v, struct mailbox_head *h, uint64_t bytes,
                        struct err *err)
{
    struct mailbox_count c;
    enum store_result result;

    if (q->pub.body == NULL)
        return request_refuse(q, STORE_TEMP, err);
    if (request_source(q, v, h, err) < 0)
        return -1;
    result = quota_check(&q->limits->conf, v, h->account, bytes);
    if (result == STORE_NO_MAILBOX || (result == STORE_OVER_QUOTA && !q->pub.ignore_quota))
        return request_refuse(q, result, err);
    mailbox_count_get(v, q->piece.source, &c);
    if (c.max.uidnext == UINT32_MAX)
        return request_refuse(q, STORE_LIMIT, err);
    if (!keywords_fit(v, &q->limits->conf, q->piece.source, q->pub.keywords, q->pub.keyword_count))
        return request_refuse(q, STORE_LIMIT, err);
    return 0;
}

int run_append(struct request *q, struct journal_tx *tx, struct err *err)
{
    uint64_t whole = q->pub.body == NULL ? 0 : body_writer_bytes(q->pub.body);
    uint32_t at = q->pub.header.len != 0 ? q->pub.body_at : 0;
    struct store_row row = { .system = q->pub.flags.system };
    struct mailbox_head h;

    if (at > whole || whole > UINT32_MAX)
        return request_refuse(q, STORE_TEMP, err);
    if (append_check(q, journal_tx_view(tx), &h, whole - at + q->pub.header.len, err) < 0)
        return -1;
    row.save_ms = journal_tx_now_ms(tx);
    row.internal_ms = q->pub.internal_ms != 0 ? q->pub.internal_ms : row.save_ms;
    row.body.body_id = journal_emit_body(tx, q->pub.body);
    row.body.header_id = q->pub.header.len != 0 ? journal_emit_octets(tx, q->pub.header) : 0;
    row.body.body_at = at;
    row.body.header_bytes = (uint32_t)q->pub.header.len;
    row.body.body_bytes = (uint32_t)(whole - at);
    row.keywords = q->pub.flags.keywords | keywords_resolve(tx, &q->limits->conf, q->piece.source, q->pub.keywords,
                                                            q->pub.keyword_count, true, NULL);
    q->piece.first_to = message_emit(tx, q->piece.source, &row, &q->pub.uidvalidity);
    modseq_raise(q, journal_next_seq(tx) - 1);
    return 0;
}

/* --- FLAGS --------------------------------------------------------------------------------------------------- */

/* RFC 7162 3.1.3: what changed since is left alone and named. */
static bool is_unchanged(struct request *q, struct store_row *row)
{
    if (!q->pub.has_unchanged_since || row->modseq <= q->pub.unchanged_since)
        return true;
    q->modified[q->piece.modified_count++] = row->uid;
    return false;
}

static void flags_change(const struct request *q, struct store_row *row, uint64_t keywords)
{
    switch (q->pub.mode) {
    case STORE_FLAGS_SET:
        row->system = q->pub.flags.system;
        row->keywords = keywords;
        break;
    case STORE_FLAGS_ADD:
        row->system |= q->pub.flags.system;
        row->keywords |= keywords;
        break;
    case STORE_FLAGS_REMOVE:
        row->system &= ~q->pub.flags.system;
        row->keywords &= ~keywords;
        break;
    }
}

int run_flags(struct request *q, struct journal_tx *tx, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    bool adds = q->pub.mode != STORE_FLAGS_REMOVE;
    struct mailbox_head h;
    uint64_t keywords;
    unsigned changed = 0;

    if (request_source(q, v, &h, err) < 0)
        return -1;
    rows_gather(q, v, is_unchanged);
    if (q->piece.count == 0)
        return 0;
    if (adds && !keywords_fit(v, &q->limits->conf, q->piece.source, q->pub.keywords, q->pub.keyword_count))
        return request_refuse(q, STORE_LIMIT, err);
    keywords = q->pub.flags.keywords | keywords_resolve(tx, &q->limits->conf, q->piece.source, q->pub.keywords,
                                                        q->pub.keyword_count, adds, NULL);
    for (unsigned i = 0; i < q->piece.count; i++) {
        struct store_row row = q->rows[i];

        flags_change(q, &row, keywords);
        if (row.system != q->rows[i].system || row.keywords != q->rows[i].keywords)
            q->rows[changed++] = row; /* the same flags again are no change: the modseq stays */
    }
    q->piece.count = changed;
    modseq_raise(q, flags_emit(tx, q->piece.source, q->rows, changed));
    return 0;
}

/* --- EXPUNGE ------------------------------------------------------------------------------------------------- */

static bool is_deleted(struct request *q, struct store_row *row)
{
    return !q->pub.only_deleted || (row->system & STORE_DELETED) != 0;
}

int run_expunge(struct request *q, struct journal_tx *tx, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct mailbox_count c;
    struct mailbox_head h;

    if (request_source(q, v, &h, err) < 0)
        return -1;
    mailbox_count_get(v, q->piece.source, &c);
    if (q->pub.only_deleted && c.deleted == 0)
        return 0;
    rows_gather(q, v, is_deleted);
    modseq_raise(q, expunge_emit(tx, q->piece.source, q->rows, q->piece.count));
    return 0;
}

/* --- COPY and MOVE ------------------------------------------------------------------------------------------- */

/* The source's keyword bits as the target's. What does not fit in the target's list is left out: a copy without a
 * keyword is worth more than none. */
static void keywords_translate(struct request *q, struct journal_tx *tx)
{
    struct arena mem;
    struct mailbox_head h;
    uint64_t used = 0, map[STORE_KEYWORDS_MAX] = { 0 };
    slice names[STORE_KEYWORDS_MAX], used_names[STORE_KEYWORDS_MAX];
    unsigned used_count = 0;
    uint32_t count;

    for (unsigned i = 0; i < q->piece.count; i++)
        used |= q->rows[i].keywords;
    if (used == 0 || q->piece.source == q->piece.target ||
        !mailbox_head_get(journal_tx_view(tx), q->piece.source, &h))
        return;
    arena_init(&mem, 1024);
    count = h.keyword_count;
    for (uint32_t i = 0; i < count; i++)
        names[i] = slice_dup(&mem, h.keyword[i]); /* emitting moves what was found */
    for (uint32_t i = 0; i < count; i++)
        if ((used >> i & 1) != 0 && names[i].len != 0)
            used_names[used_count++] = names[i];
    keywords_resolve(tx, &q->limits->conf, q->piece.target, used_names, used_count, true, NULL);
    mailbox_head_get(journal_tx_view(tx), q->piece.target, &h);
    for (uint32_t i = 0; i < count; i++) {
        int bit = (used >> i & 1) != 0 && names[i].len != 0 ? keyword_bit(&h, names[i]) : -1;

        map[i] = bit >= 0 ? UINT64_C(1) << bit : 0;
    }
    for (unsigned i = 0; i < q->piece.count; i++) {
        uint64_t bits = 0;

        for (uint32_t k = 0; k < count; k++)
            bits |= (q->rows[i].keywords >> k & 1) != 0 ? map[k] : 0;
        q->rows[i].keywords = bits;
    }
    arena_free(&mem);
}

static int copy_check(struct request *q, struct journal_view *v, uint64_t from_account, uint64_t to_account,
                      struct err *err)
{
    struct mailbox_count c;
    enum store_result result;
    uint64_t bytes = 0;

    mailbox_count_get(v, q->piece.target, &c);
    if (UINT32_MAX - c.max.uidnext < q->piece.count)
        return request_refuse(q, STORE_LIMIT, err);
    for (unsigned i = 0; i < q->piece.count; i++)
        bytes += q->rows[i].bytes;
    if (q->pub.what != STORE_COPY && from_account == to_account)
        bytes = 0; /* moving takes no more than there is */
    result = quota_check(&q->limits->conf, v, to_account, bytes);
    if (result == STORE_NO_MAILBOX || (result == STORE_OVER_QUOTA && bytes != 0 && !q->pub.ignore_quota))
        return request_refuse(q, result, err);
    q->piece.first_to = c.max.uidnext;
    return 0;
}

/* A COPY that goes on after this operation says so with it; its last operation says that it is complete. */
static void copy_track(struct request *q, struct journal_tx *tx)
{
    struct piece *p = &q->piece;

    if (p->more)
        p->copying = copying_emit(tx, p->copying, p->target, (const struct uid_range *)(const void *)q->copied.ptr,
                                  (unsigned)(q->copied.len / sizeof(struct uid_range)),
                                  &(struct uid_range){ p->first_to, p->first_to + (p->count - 1) });
    else
        copying_end_emit(tx, p->copying);
}

/* Rows are copied; for MOVE and RENAME of INBOX the originals go in the same operation. */
int run_copy(struct request *q, struct journal_tx *tx, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    bool moves = q->pub.what != STORE_COPY;
    int64_t now_ms = journal_tx_now_ms(tx);
    struct mailbox_head from, to;
    uint64_t from_account, seq;

    if (request_source(q, v, &from, err) < 0)
        return -1;
    from_account = from.account;
    if (request_target(q, v, &to, err) < 0)
        return -1;
    rows_gather(q, v, NULL);
    if (q->piece.count == 0) { /* what was left has gone meanwhile */
        copying_end_emit(tx, q->piece.copying);
        return 0;
    }
    if (copy_check(q, v, from_account, to.account, err) < 0)
        return -1;
    keywords_translate(q, tx);
    for (unsigned i = 0; i < q->piece.count; i++) {
        q->modified[i] = q->rows[i].uid;
        q->rows[i].uid = q->piece.first_to + i;
        q->rows[i].save_ms = now_ms;
    }
    seq = messages_emit(tx, q->piece.target, q->rows, q->piece.count);
    if (!moves)
        copy_track(q, tx);
    for (unsigned i = 0; i < q->piece.count; i++)
        q->rows[i].uid = q->modified[i]; /* the originals' again, for expunging and COPYUID */
    if (moves)
        seq = expunge_emit(tx, q->piece.source, q->rows, q->piece.count);
    modseq_raise(q, seq);
    return 0;
}

/* Remove the copies that were made, all of them. */
int run_take_back(struct request *q, struct journal_tx *tx, struct err *err UNUSED)
{
    struct journal_view *v = journal_tx_view(tx);
    struct request back = { .row_max = q->row_max, .rows = q->rows };
    struct mailbox_head h;

    if (!mailbox_head_get(v, q->done.target, &h)) { /* they went with the mailbox */
        copying_end_emit(tx, q->piece.copying);
        return 0;
    }
    back.pub.uids = (const struct uid_range *)(const void *)q->copied.ptr;
    back.pub.uid_count = (unsigned)(q->copied.len / sizeof(struct uid_range));
    back.piece = (struct piece){ .next = q->is_back_begun ? q->done.next : (struct place){ 0, 0 },
                                 .source = q->done.target,
                                 .uid_limit = UINT32_MAX };
    rows_gather(&back, v, NULL);
    expunge_emit(tx, q->done.target, q->rows, back.piece.count);
    q->piece.next = back.piece.next;
    q->piece.more = back.piece.more;
    if (!q->piece.more)
        copying_end_emit(tx, q->piece.copying);
    return 0;
}
