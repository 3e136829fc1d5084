/* cmd_fetch.c - FETCH, RFC 3501 6.4.5, 7.4.2, RFC 7162, 8474, 8514. */
#include "imap/internal.h"

#include "mail/date.h"

#define FETCH_TURN_BYTES (256u * 1024) /* of answers in one slice on the reactor */

struct fetching {
    struct imap_set set; /* as numbers */
    struct imap_fetch args;
    struct imap_set marked; /* numbers that became \Seen by this command: their FLAGS are shown */
    struct imap_walk walk;
    struct imap_message message;
    unsigned want; /* enum store_cached_want */
    bool has_failed, has_more;
};

static void fetching_release(struct imap_session *s)
{
    struct fetching *f = s->run->data;

    imap_message_free(&f->message);
}

/* --- one message -------------------------------------------------------------------------------------------------- */

static void put_name(struct buf *out, const char **space, const char *name)
{
    buf_put_str(out, *space);
    buf_put_str(out, name);
    buf_put_byte(out, ' ');
    *space = " ";
}

static void put_row_items(struct imap_session *s, const struct store_row *row, uint32_t items, const char **space,
                          struct buf *out)
{
    if (items & FETCH_UID) {
        put_name(out, space, "UID");
        buf_put_u64(out, row->uid);
    }
    if (items & FETCH_FLAGS) {
        put_name(out, space, "FLAGS");
        imap_flags_print(imap_box_now(s->box), row->system, row->keywords, out);
    }
    if (items & FETCH_INTERNALDATE) {
        put_name(out, space, "INTERNALDATE");
        date_print_imap(row->internal_ms, 0, out);
    }
    if (items & FETCH_SIZE) {
        put_name(out, space, "RFC822.SIZE");
        buf_put_u64(out, row->bytes);
    }
    if (items & FETCH_MODSEQ) {
        put_name(out, space, "MODSEQ");
        buf_printf(out, "(%llu)", (unsigned long long)row->modseq);
    }
    if (items & FETCH_EMAILID) {
        put_name(out, space, "EMAILID");
        buf_printf(out, "(E%llx)", (unsigned long long)row->email_id);
    }
    if (items & FETCH_THREADID) {
        put_name(out, space, "THREADID");
        buf_put_str(out, "NIL");
    }
    if (items & FETCH_SAVEDATE) {
        put_name(out, space, "SAVEDATE");
        date_print_imap(row->save_ms, 0, out);
    }
}

/* What stands for a message that cannot be read: answers must stay well-formed. */
static const struct store_cached unreadable = {
    .envelope = { (const unsigned char *)"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)", 41 },
    .bodystructure = { (const unsigned char *)"(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0)", 38 },
    .body = { (const unsigned char *)"(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0)", 38 },
};

/* ENVELOPE and structures, from the cache if they are there. */
static void put_cached_items(struct fetching *f, const char **space, struct buf *out)
{
    struct store_cached c;

    if (!imap_message_cached(&f->message, f->want, &c))
        c = unreadable;
    if (f->args.items & FETCH_ENVELOPE) {
        put_name(out, space, "ENVELOPE");
        buf_put_slice(out, c.envelope);
    }
    if (f->args.items & FETCH_BODY) {
        put_name(out, space, "BODY");
        buf_put_slice(out, c.body);
    }
    if (f->args.items & FETCH_BODYSTRUCTURE) {
        put_name(out, space, "BODYSTRUCTURE");
        buf_put_slice(out, c.bodystructure);
    }
}

/* False: this needs a helper, and nothing was put. */
static bool put_message(struct imap_session *s, struct fetching *f, uint32_t n, const struct store_row *row)
{
    uint32_t items = f->args.items | (imap_set_has(&f->marked, n) ? FETCH_FLAGS : 0);
    struct buf *out = f->message.out;
    const size_t before = out->len;
    const char *space = "";

    if (s->is_condstore && (items & FETCH_FLAGS) != 0) /* RFC 7162 3.2: MODSEQ goes with every change */
        items |= FETCH_MODSEQ;
    buf_put_str(out, "* ");
    buf_put_u64(out, n);
    buf_put_str(out, " FETCH (");
    put_row_items(s, row, items, &space, out);
    imap_message_set(&f->message, row);
    if (f->want != 0)
        put_cached_items(f, &space, out);
    for (const struct imap_body_item *b = f->args.bodies; b != NULL && !f->message.needs_help; b = b->next) {
        buf_put_str(out, space);
        imap_part_put(&f->message, b);
        space = " ";
    }
    if (f->message.needs_help) {
        out->len = before;
        return false;
    }
    buf_put_str(out, ")\r\n");
    f->has_failed |= f->message.has_failed;
    imap_count(IC_FETCHED);
    return true;
}

/* --- slices ------------------------------------------------------------------------------------------------------- */

static enum imap_next fetched(struct imap_session *s, struct fetching *f)
{
    bool has_told_all = (f->args.items & FETCH_FLAGS) != 0 && !f->args.has_changed_since;
    const struct imap_set *except = has_told_all ? &f->set : &f->marked;

    imap_box_sync(s, s->run->is_uid, except);
    return imap_answer(s, f->has_failed ? IMAP_R_DAMAGED : IMAP_R_DONE);
}

/* Messages until a slice is full. False: the next one needs a helper. */
static bool put_messages(struct imap_session *s, struct fetching *f, size_t out_max)
{
    struct imap_walk before = f->walk;
    bool is_done = true;
    unsigned done = 0;
    uint32_t n;

    f->message.octets_read = 0;
    f->has_more = true;
    while (is_done && done++ < IMAP_SLICE_MESSAGES && f->message.octets_read < IMAP_SLICE_BYTES &&
           f->message.out->len < out_max) {
        const struct store_row *row;

        before = f->walk;
        if (!imap_walk_next(&f->walk, &n)) {
            f->has_more = false;
            break;
        }
        row = imap_box_row(s->box, n);
        if (!f->args.has_changed_since || row->modseq > f->args.changed_since)
            is_done = put_message(s, f, n, row);
    }
    if (!is_done)
        f->walk = before;
    imap_message_slice_end(&f->message);
    return is_done;
}

static void fetch_work(struct imap_session *s)
{
    struct fetching *f = s->run->data;

    f->message.out = &f->message.text;
    f->message.is_quick = false;
    put_messages(s, f, IMAP_SLICE_OUT_BYTES);
}

static imap_run_fn fetch_slice;

static enum imap_next fetch_helped(struct imap_session *s)
{
    struct fetching *f = s->run->data;

    imap_message_flush(&f->message, imap_stream(s));
    s->run->resume = fetch_slice;
    return f->has_more ? NEXT_AGAIN : fetched(s, f);
}

/* What is in memory is put at once, from the first message on that is not it goes on with a helper. */
static enum imap_next fetch_slice(struct imap_session *s)
{
    struct fetching *f = s->run->data;
    struct buf *out = stream_out(imap_stream(s));

    f->message.out = out;
    f->message.is_quick = true;
    if (!put_messages(s, f, out->len + FETCH_TURN_BYTES))
        return imap_help(s, fetch_work, fetch_helped);
    return f->has_more ? NEXT_AGAIN : fetched(s, f);
}

static enum imap_next begin_slices(struct imap_session *s)
{
    struct fetching *f = s->run->data;

    imap_walk_init(&f->walk, &f->set);
    s->run->resume = fetch_slice;
    return NEXT_AGAIN;
}

/* --- \Seen -------------------------------------------------------------------------------------------------------- */

static enum imap_next seen_set(struct imap_session *s)
{
    struct fetching *f = s->run->data;

    /* Reading goes on when the flags could not be set (a full disk, say): the messages just stay unseen. */
    if (s->answer->result != STORE_OK || !imap_box_refresh(s))
        f->marked.count = 0;
    return begin_slices(s);
}

/* Numbers of the set that are not \Seen yet. */
static void find_unseen(struct imap_session *s, struct fetching *f)
{
    struct imap_walk walk;
    size_t cap = 16;
    uint32_t n;

    f->marked.ranges = arena_alloc_array(&s->base.cmd_mem, cap, sizeof *f->marked.ranges);
    imap_walk_init(&walk, &f->set);
    while (imap_walk_next(&walk, &n)) {
        struct imap_range *last = f->marked.count > 0 ? &f->marked.ranges[f->marked.count - 1] : NULL;

        if ((imap_box_row(s->box, n)->system & STORE_SEEN) != 0)
            continue;
        if (last != NULL && last->last + 1 == n) {
            last->last = n;
            continue;
        }
        if (f->marked.count == cap) {
            struct imap_range *grown = arena_alloc_array(&s->base.cmd_mem, cap * 2, sizeof *grown);

            memcpy(grown, f->marked.ranges, cap * sizeof *grown);
            f->marked.ranges = grown;
            cap *= 2;
        }
        f->marked.ranges[f->marked.count++] = (struct imap_range){ n, n };
    }
}

static enum imap_next mark_seen(struct imap_session *s, struct fetching *f)
{
    struct store_request *r;

    find_unseen(s, f);
    if (f->marked.count == 0)
        return begin_slices(s);
    r = imap_request_new(s, STORE_FLAGS);
    r->mailbox = s->box->mailbox;
    r->mode = STORE_FLAGS_ADD;
    r->flags.system = STORE_SEEN;
    imap_box_uids(s->box, &f->marked, r);
    return imap_request(s, r, seen_set);
}

/* fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" … ")") [SP modifiers] */
enum imap_next imap_cmd_fetch(struct imap_session *s)
{
    struct fetching *f = arena_alloc(&s->base.cmd_mem, sizeof *f);
    struct imap_in *in = &s->run->in;

    if (!imap_sp(in) || !imap_set(in, &f->set) || !imap_sp(in) || !imap_fetch_parse(in, &f->args))
        return imap_bad(s);
    if (!imap_box_resolve(s, &f->set, s->run->is_uid))
        return imap_answer(s, IMAP_R_BAD_NUMBER);
    if (s->run->is_uid)
        f->args.items |= FETCH_UID; /* RFC 3501 6.4.8 */
    if (f->args.items & FETCH_MODSEQ) /* RFC 7162 3.1: enables CONDSTORE */
        s->is_condstore = true;
    f->want = ((f->args.items & FETCH_ENVELOPE) != 0 ? (unsigned)CACHED_ENVELOPE : 0) |
              ((f->args.items & FETCH_BODY) != 0 ? (unsigned)CACHED_BODY : 0) |
              ((f->args.items & FETCH_BODYSTRUCTURE) != 0 ? (unsigned)CACHED_BODYSTRUCTURE : 0);
    imap_message_init(&f->message, s);
    s->run->data = f;
    s->run->release = fetching_release;
    if (f->args.sets_seen && !s->box->is_read_only && f->set.count > 0)
        return mark_seen(s, f);
    return begin_slices(s);
}
