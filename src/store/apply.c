/* apply.c - records become tables: the same code live, at replay and for a rebuild beside the running index.
 *
 * No checks of meaning here: a record is a fact. What it is about may be unknown (its history lay in a damaged place,
 * or its image comes later), then only what the record itself says is done. */
#include "store/apply.h"

#include "base/mem.h"

static int undecodable(const struct record *r, struct err *err)
{
    return err_set(err, ERR_DAMAGE, "record %llu of type %04x does not decode", (unsigned long long)r->seq, r->type);
}

/* Somebody may be looking at this mailbox. */
static void stage(void *room, struct journal_tx *tx, const struct record *r)
{
    struct store *s = room;

    if (s->is_shadow || journal_tx_is_replay(tx))
        return;
    for (unsigned i = s->staged_count; i > 0; i--) {
        if (s->staged[i - 1].mailbox == r->object) {
            s->staged[i - 1].modseq = r->seq;
            return;
        }
        if (s->staged_count - i >= 64)
            break; /* a double message to a watcher costs less than a long search */
    }
    if (s->staged_count == s->staged_cap) {
        s->staged_cap = s->staged_cap * 2 + 64;
        s->staged = mem_realloc(s->staged, s->staged_cap * sizeof *s->staged);
    }
    s->staged[s->staged_count++] = (struct staged){ r->object, r->seq };
}

/* --- accounts ------------------------------------------------------------------------------------------------ */

int apply_account(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload);
    struct account_head h = { 0 };

    h.owner = read_le64(&in);
    h.quota = read_le64(&in);
    h.uidvalidity_last = read_le32(&in);
    if (r->type == ST_ACCOUNT_IMAGE)
        h.flags = read_u8(&in);
    h.owner_name = read_lenstr(&in);
    if (!reader_done(&in))
        return undecodable(r, err);
    account_head_put(journal_tx_view(tx), r->object, &h);
    return 0;
}

int apply_account_change(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct reader in = reader_of(r->payload);
    struct account_head h;
    bool is_known = account_head_get(v, r->object, &h);
    uint32_t stamp;

    switch (r->type) {
    case ST_ACCOUNT_QUOTA:
        h.quota = read_le64(&in);
        break;
    case ST_ACCOUNT_STAMP:
        stamp = read_le32(&in);
        if (is_known && stamp > h.uidvalidity_last)
            h.uidvalidity_last = stamp;
        break;
    default: /* ST_ACCOUNT_DOOM */
        h.flags = is_known ? (uint8_t)(h.flags | HEAD_DOOMED) : 0;
        break;
    }
    if (!reader_done(&in))
        return undecodable(r, err);
    if (is_known)
        account_head_put(v, r->object, &h);
    return 0;
}

int apply_account_end(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err UNUSED)
{
    account_end(journal_tx_view(tx), r->object);
    return 0;
}

int apply_subscribe(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct reader in = reader_of(r->payload);
    bool is_on = read_u8(&in) != 0;
    slice name = read_lenstr(&in);

    if (!reader_done(&in))
        return undecodable(r, err);
    if (is_on)
        subscribed_put(v, r->object, name);
    else
        subscribed_del(v, r->object, name);
    return 0;
}

int apply_subscribe_image(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct reader in = reader_of(r->payload), again = in;

    while (in.rest.len > 0 && !in.failed)
        (void)read_lenstr(&in);
    if (in.failed || r->part == 0 || r->part > STORE_SUBSCRIBE_PARTS)
        return undecodable(r, err);
    subscribed_clear(v, r->object, r->part);
    while (again.rest.len > 0)
        subscribed_put(v, r->object, read_lenstr(&again));
    return 0;
}

/* --- mailboxes ----------------------------------------------------------------------------------------------- */

int apply_mailbox(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct reader in = reader_of(r->payload);
    struct mailbox_head h = { 0 };
    struct maxima m = { .uidnext = 1, .modseq = r->seq };
    uint64_t keywords = 0;

    h.account = read_le64(&in);
    h.uidvalidity = read_le32(&in);
    h.special = read_u8(&in);
    h.name = read_lenstr(&in);
    if (r->type == ST_MAILBOX_IMAGE) {
        h.flags = read_u8(&in);
        maxima_read(&in, &m);
        keywords = read_varint(&in);
    }
    if (keywords > STORE_KEYWORDS_MAX)
        return undecodable(r, err);
    for (h.keyword_count = 0; h.keyword_count < keywords; h.keyword_count++)
        h.keyword[h.keyword_count] = read_lenstr(&in);
    if (!reader_done(&in))
        return undecodable(r, err);
    mailbox_raise(v, r->object, &m);
    mailbox_head_put(v, r->object, &h);
    stage(room, tx, r);
    return 0;
}

int apply_mailbox_change(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct reader in = reader_of(r->payload);
    struct mailbox_head h;
    bool is_known = mailbox_head_get(v, r->object, &h);
    unsigned bit;

    switch (r->type) {
    case ST_MAILBOX_RENAME:
        h.name = read_lenstr(&in);
        break;
    case ST_MAILBOX_KEYWORD:
        bit = read_u8(&in);
        if (bit >= STORE_KEYWORDS_MAX)
            return undecodable(r, err);
        if (is_known && bit >= h.keyword_count) {
            for (; h.keyword_count < bit; h.keyword_count++)
                h.keyword[h.keyword_count] = SLICE_NONE; /* lost with damage; bits keep their place */
            h.keyword_count = bit + 1;
        }
        h.keyword[bit] = read_lenstr(&in);
        break;
    default: /* ST_MAILBOX_DOOM */
        h.flags = is_known ? (uint8_t)(h.flags | HEAD_DOOMED) : 0;
        break;
    }
    if (!reader_done(&in))
        return undecodable(r, err);
    if (is_known)
        mailbox_head_put(v, r->object, &h);
    stage(room, tx, r);
    return 0;
}

int apply_mailbox_end(struct journal_tx *tx, void *room, const struct record *r, struct err *err UNUSED)
{
    mailbox_end(tx, r->object);
    stage(room, tx, r);
    return 0;
}

/* --- messages ------------------------------------------------------------------------------------------------ */

int apply_message_add(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload), check = in;
    struct page_edit e;
    struct store_row row;

    while (check.rest.len > 0 && !check.failed)
        payload_row_read(&check, &row, false);
    if (check.failed)
        return undecodable(r, err);
    page_edit_begin(&e, tx, r->object, r->part, r->seq);
    while (in.rest.len > 0) {
        payload_row_read(&in, &row, false);
        row.modseq = r->seq;
        page_row_put(&e, &row);
    }
    page_edit_end(&e);
    stage(room, tx, r);
    return 0;
}

int apply_message_flags(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload);
    struct page_edit e;
    struct store_row row;
    uint64_t keywords;
    uint32_t uid, system;

    page_edit_begin(&e, tx, r->object, r->part, r->seq);
    while (payload_flags_next(&in, &uid, &system, &keywords)) {
        if (!row_get(e.v, r->object, uid, &row))
            continue;
        row.system = system;
        row.keywords = keywords;
        row.modseq = r->seq;
        page_row_put(&e, &row);
    }
    page_edit_end(&e);
    stage(room, tx, r);
    return in.failed ? undecodable(r, err) : 0;
}

int apply_message_expunge(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload);
    struct uid_range range;
    struct page_edit e;

    page_edit_begin(&e, tx, r->object, r->part, r->seq);
    while (payload_range_next(&in, &range)) {
        struct row_cursor c;
        struct store_row row;

        row_cursor_begin(&c, e.v, r->object, range.first);
        while (row_cursor_next(&c, &row) && row.uid <= range.last && page_part(row.uid) == r->part)
            page_row_del(&e, row.uid);
        row_cursor_end(&c);
    }
    page_edit_end(&e);
    tomb_put(e.v, r->object, r->part, r->seq, r->time_ms, r->payload);
    stage(room, tx, r);
    return in.failed ? undecodable(r, err) : 0;
}

/* What a page image says, front to back; the callbacks may be NULL. False: it does not decode. */
static bool page_image_read(const struct record *r, struct maxima *m, uint64_t *modseq,
                            void (*on_row)(void *arg, const struct store_row *row), tomb_fn *on_tomb, void *arg)
{
    struct reader in = reader_of(r->payload);
    struct store_row row;
    uint64_t n;

    maxima_read(&in, m);
    *modseq = read_le64(&in);
    for (n = read_varint(&in); n > 0 && !in.failed; n--) {
        payload_row_read(&in, &row, true);
        if (!in.failed && on_row != NULL)
            on_row(arg, &row);
    }
    for (n = read_varint(&in); n > 0 && !in.failed; n--) {
        uint64_t at = read_le64(&in), time_ms = read_le64(&in), ranges = read_varint(&in);
        const unsigned char *from = in.rest.ptr;

        for (; ranges > 0 && !in.failed; ranges--) {
            (void)read_varint(&in);
            (void)read_varint(&in);
        }
        if (!in.failed && on_tomb != NULL)
            on_tomb(arg, at, (int64_t)time_ms, slice_of(from, (size_t)(in.rest.ptr - from)));
    }
    return reader_done(&in);
}

static void image_row_ref(void *arg, const struct store_row *row)
{
    journal_body_ref(arg, row->body.body_id, +1);
    journal_body_ref(arg, row->body.header_id, +1);
}

static void image_row_put(void *arg, const struct store_row *row)
{
    struct page_edit *e = arg;

    page_row_put(e, row);
    journal_body_ref(e->tx, row->body.body_id, -1); /* gives back what image_row_ref took */
    journal_body_ref(e->tx, row->body.header_id, -1);
}

static void image_tomb_put(void *arg, uint64_t modseq, int64_t time_ms, slice ranges)
{
    struct page_edit *e = arg;

    tomb_put(e->v, e->mailbox, e->part, modseq, time_ms, ranges);
}

/* The image replaces the page. References are added before the old ones go, so that no count touches zero between. */
int apply_page_image(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct page_edit e;
    struct maxima m;
    uint64_t modseq;

    if (r->part == 0 || !page_image_read(r, &m, &modseq, NULL, NULL, NULL))
        return undecodable(r, err);
    page_image_read(r, &m, &modseq, image_row_ref, NULL, tx);
    mailbox_raise(journal_tx_view(tx), r->object, &m);
    page_edit_begin(&e, tx, r->object, r->part, modseq);
    page_clear(&e);
    page_image_read(r, &m, &modseq, image_row_put, image_tomb_put, &e);
    page_edit_end(&e);
    stage(room, tx, r);
    return 0;
}

/* --- the ledger ---------------------------------------------------------------------------------------------- */

int apply_ledger(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload);
    struct buf value = BUF_INIT;

    while (in.rest.len > 0 && !in.failed)
        (void)read_varint(&in);
    if (in.failed)
        return undecodable(r, err);
    buf_put_le64(&value, r->object);
    buf_put_slice(&value, r->payload);
    journal_put(journal_tx_view(tx), STORE_TABLE_LEDGER, SLICE("ledger"), buf_slice(&value));
    buf_free(&value);
    return 0;
}

/* --- references ---------------------------------------------------------------------------------------------- */

struct ref_to {
    journal_ref_fn *ref;
    void *arg;
};

static void ref_row(void *arg, const struct store_row *row)
{
    const struct ref_to *to = arg;

    to->ref(to->arg, row->body.body_id);
    if (row->body.header_id != 0)
        to->ref(to->arg, row->body.header_id);
}

void refs_message_add(const struct record *r, journal_ref_fn *ref, void *arg)
{
    struct ref_to to = { ref, arg };
    struct reader in = reader_of(r->payload);
    struct store_row row;

    while (in.rest.len > 0) {
        payload_row_read(&in, &row, false);
        if (in.failed)
            break;
        ref_row(&to, &row);
    }
}

void refs_page_image(const struct record *r, journal_ref_fn *ref, void *arg)
{
    struct ref_to to = { ref, arg };
    struct maxima m;
    uint64_t modseq;

    page_image_read(r, &m, &modseq, ref_row, NULL, &to);
}
