/* cmd_store.c - STORE, COPY, MOVE, EXPUNGE, RFC 3501 6.4, RFC 4315, 6851, 7162. */
#include "imap/internal.h"

/* --- STORE -------------------------------------------------------------------------------------------------------- */

struct storing {
    struct imap_set set; /* as numbers */
    struct imap_store args;
    struct imap_set modified; /* numbers that UNCHANGEDSINCE left out */
    struct imap_walk walk;
    bool some_gone; /* of the set, expunged by others meanwhile */
};

static struct storing *storing_of(struct imap_session *s)
{
    return s->run->data;
}

/* The keyword bits in a version that has all names of the command. */
static uint64_t keyword_bits(const struct store_view *v, const struct imap_flags *f)
{
    uint32_t count = store_view_keyword_count(v);
    uint64_t bits = 0;

    for (unsigned i = 0; i < f->keyword_count; i++)
        for (uint32_t k = 0; k < count && k < 64; k++)
            if (slice_eq_nocase(store_view_keyword(v, k), f->keywords[i]))
                bits |= (uint64_t)1 << k;
    return bits;
}

/* Did somebody else change the flags, too? Then a silent client must hear of it (RFC 3501 6.4.6). */
static bool is_unexpected(const struct storing *st, const struct store_row *old, const struct store_row *now,
                          uint64_t keywords)
{
    uint32_t system = st->args.flags.system;

    if (old == NULL)
        return true;
    switch (st->args.mode) {
    case IMAP_STORE_ADD:
        return now->system != (old->system | system) || now->keywords != (old->keywords | keywords);
    case IMAP_STORE_REMOVE:
        return now->system != (old->system & ~system) || now->keywords != (old->keywords & ~keywords);
    case IMAP_STORE_SET:
        break;
    }
    return now->system != system || now->keywords != keywords;
}

static enum imap_next answer_stored(struct imap_session *s)
{
    struct storing *st = storing_of(s);
    struct buf set = BUF_INIT;

    imap_box_sync(s, s->run->is_uid, &st->set);
    if (st->modified.count == 0)
        return imap_answer(s, st->some_gone ? IMAP_R_EXPUNGED_MEANWHILE : IMAP_R_DONE);
    imap_set_print(&st->modified, &set);
    imap_answer_code(s, IMAP_R_DONE, "MODIFIED %.*s", SLICE_ARG(buf_slice(&set)));
    buf_free(&set);
    return NEXT_DONE;
}

/* The new flags of the messages of the command, a slice at a time. */
static enum imap_next stored_slice(struct imap_session *s)
{
    struct storing *st = storing_of(s);
    const struct imap_box *b = s->box;
    uint64_t keywords = keyword_bits(imap_box_now(b), &st->args.flags);
    uint32_t n;

    for (unsigned i = 0; i < IMAP_SLICE_MESSAGES; i++) {
        const struct store_row *row;
        bool tells_flags;

        if (!imap_walk_next(&st->walk, &n))
            return answer_stored(s);
        row = imap_box_row_in(b, imap_box_now(b), n);
        if (row == NULL) {
            st->some_gone = true;
            continue;
        }
        tells_flags = !st->args.silent || is_unexpected(st, imap_box_row_in(b, b->told, n), row, keywords);
        if (tells_flags || s->is_condstore)
            imap_put_flags(s, n, row, tells_flags);
    }
    return NEXT_AGAIN;
}

/* UIDs that UNCHANGEDSINCE left out, in the form the client used. */
static void take_modified(struct imap_session *s, struct storing *st)
{
    const struct store_request *r = s->answer;

    if (r->modified_count == 0)
        return;
    st->modified.ranges = arena_alloc_array(&s->base.cmd_mem, r->modified_count, sizeof *st->modified.ranges);
    for (unsigned i = 0; i < r->modified_count; i++) {
        struct imap_range u = { r->modified[i].first, r->modified[i].last };

        if (!s->run->is_uid) {
            u.first = store_view_find_ge(s->box->view, u.first);
            u.last = u.last == UINT32_MAX ? store_view_count(s->box->view)
                                          : store_view_find_ge(s->box->view, u.last + 1) - 1;
        }
        if (u.first <= u.last)
            st->modified.ranges[st->modified.count++] = u;
    }
    imap_set_resolve(&st->modified, 0);
}

static enum imap_next stored(struct imap_session *s)
{
    struct storing *st = storing_of(s);
    enum store_result result = s->answer->result;

    if (result != STORE_OK)
        return imap_answer(s, imap_reply_of(result, false));
    take_modified(s, st);
    if (!imap_box_refresh(s))
        return imap_answer(s, s->box->is_gone ? IMAP_R_EXPUNGED : IMAP_R_TEMP);
    imap_walk_init(&st->walk, &st->set);
    s->run->resume = stored_slice;
    return NEXT_AGAIN;
}

/* store = "STORE" SP sequence-set SP store-att-flags        RFC 3501 9 */
enum imap_next imap_cmd_store(struct imap_session *s)
{
    static const enum store_flag_mode modes[] = { STORE_FLAGS_SET, STORE_FLAGS_ADD, STORE_FLAGS_REMOVE };
    struct storing *st = arena_alloc(&s->base.cmd_mem, sizeof *st);
    struct imap_in *in = &s->run->in;
    struct store_request *r;
    slice *keywords;

    if (!imap_sp(in) || !imap_set(in, &st->set) || !imap_sp(in) || !imap_store_parse(in, &st->args))
        return imap_bad(s);
    if (!imap_box_resolve(s, &st->set, s->run->is_uid))
        return imap_answer(s, IMAP_R_BAD_NUMBER);
    if (st->args.has_unchanged_since) /* RFC 7162 3.1: enables CONDSTORE */
        s->is_condstore = true;
    if (st->set.count == 0)
        return imap_answer(s, IMAP_R_DONE);
    s->run->data = st;
    r = imap_request_new(s, STORE_FLAGS);
    r->mailbox = s->box->mailbox;
    imap_box_uids(s->box, &st->set, r);
    r->mode = modes[st->args.mode];
    r->flags.system = st->args.flags.system;
    keywords = arena_alloc_array(&r->mem, st->args.flags.keyword_count + 1, sizeof *keywords);
    for (unsigned i = 0; i < st->args.flags.keyword_count; i++)
        keywords[i] = slice_dup(&r->mem, st->args.flags.keywords[i]);
    r->keywords = keywords;
    r->keyword_count = st->args.flags.keyword_count;
    r->has_unchanged_since = st->args.has_unchanged_since;
    r->unchanged_since = st->args.unchanged_since;
    return imap_request(s, r, stored);
}

/* --- COPY and MOVE ------------------------------------------------------------------------------------------------ */

static void put_ranges(struct buf *out, const struct uid_range *ranges, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        buf_printf(out, "%s%u", i > 0 ? "," : "", ranges[i].first);
        if (ranges[i].last != ranges[i].first)
            buf_printf(out, ":%u", ranges[i].last);
    }
}

/* "COPYUID" SP uidvalidity SP from SP to        RFC 4315 3 */
static slice copyuid(struct imap_session *s)
{
    const struct store_request *r = s->answer;
    struct buf out = BUF_INIT;
    slice text;

    buf_printf(&out, "COPYUID %u ", r->uidvalidity);
    put_ranges(&out, r->from_uids, r->from_count);
    buf_put_byte(&out, ' ');
    put_ranges(&out, r->to_uids, r->to_count);
    text = slice_dup(&s->base.cmd_mem, buf_slice(&out));
    buf_free(&out);
    return text;
}

/* The session saw the messages, others have expunged them all: RFC 2180 4.4. Of UIDs that is no error: RFC 3501
 * 6.4.8. */
static enum imap_next none_left(struct imap_session *s)
{
    return imap_answer(s, s->run->is_uid ? IMAP_R_DONE : IMAP_R_EXPUNGED);
}

static enum imap_next copied(struct imap_session *s)
{
    enum store_result result = s->answer->result;
    slice code;

    if (result != STORE_OK)
        return imap_answer(s, imap_reply_of(result, true));
    if (s->answer->to_count == 0)
        return none_left(s);
    code = copyuid(s);
    return imap_answer_code(s, IMAP_R_DONE, "%.*s", SLICE_ARG(code));
}

/* RFC 6851 4.3: COPYUID comes untagged, before the EXPUNGEs. */
static enum imap_next moved(struct imap_session *s)
{
    enum store_result result = s->answer->result;
    slice code;

    if (result != STORE_OK)
        return imap_answer(s, imap_reply_of(result, true));
    if (s->answer->to_count == 0)
        return none_left(s);
    code = copyuid(s);
    stream_printf(imap_stream(s), "* OK [%.*s] moved\r\n", SLICE_ARG(code));
    return imap_answer(s, IMAP_R_DONE);
}

static enum imap_next transfer(struct imap_session *s, enum store_what what, imap_run_fn *done)
{
    struct imap_in *in = &s->run->in;
    struct store_mailbox m;
    struct store_request *r;
    struct imap_set set;
    slice wire, name;

    if (!imap_sp(in) || !imap_set(in, &set) || !imap_sp(in) || !imap_mailbox(in, &wire) || !imap_end(in))
        return imap_bad(s);
    if (!imap_box_resolve(s, &set, s->run->is_uid))
        return imap_answer(s, IMAP_R_BAD_NUMBER);
    if (!imap_name_in(s, wire, &name) || !imap_mailbox_find(s, name, &m))
        return imap_answer(s, IMAP_R_TRYCREATE);
    if (set.count == 0)
        return imap_answer(s, IMAP_R_DONE);
    r = imap_request_new(s, what);
    r->mailbox = s->box->mailbox;
    r->to_mailbox = m.id;
    imap_box_uids(s->box, &set, r);
    return imap_request(s, r, done);
}

enum imap_next imap_cmd_copy(struct imap_session *s)
{
    return transfer(s, STORE_COPY, copied);
}

enum imap_next imap_cmd_move(struct imap_session *s)
{
    return transfer(s, STORE_MOVE, moved);
}

/* --- EXPUNGE ------------------------------------------------------------------------------------------------------ */

static enum imap_next expunged(struct imap_session *s)
{
    return imap_answer(s, imap_reply_of(s->answer->result, false));
}

/* "EXPUNGE" / "UID EXPUNGE" SP sequence-set        RFC 3501 6.4.3, RFC 4315 2.1 */
enum imap_next imap_cmd_expunge(struct imap_session *s)
{
    struct imap_in *in = &s->run->in;
    uint32_t count = store_view_count(s->box->view);
    struct imap_range all = { 1, count };
    struct imap_set set = { &all, count > 0 ? 1 : 0 };
    struct store_request *r;

    if (s->run->is_uid && (!imap_sp(in) || !imap_set(in, &set)))
        return imap_bad(s);
    if (!imap_end(in))
        return imap_bad(s);
    if (s->run->is_uid)
        imap_box_resolve(s, &set, true);
    if (set.count == 0)
        return imap_answer(s, IMAP_R_DONE);
    r = imap_request_new(s, STORE_EXPUNGE);
    r->mailbox = s->box->mailbox;
    r->only_deleted = true;
    imap_box_uids(s->box, &set, r);
    return imap_request(s, r, expunged);
}
