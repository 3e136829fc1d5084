/* box.c - the selected mailbox: numbers, flags, and the news that a client must hear (RFC 3501 5.2, 7.4.1). */
#include "imap/internal.h"

#include "base/mem.h"

int imap_box_open(struct imap_session *s, uint64_t mailbox, bool is_read_only, struct err *err)
{
    struct store_view *view;
    struct imap_box *b;

    if (store_view_open(imap_service(s)->store, mailbox, &view, err) < 0)
        return -1;
    b = mem_alloc(sizeof *b);
    b->view = view;
    b->told = store_view_ref(view);
    b->keywords_told = store_view_keywords_mark(view);
    b->mailbox = mailbox;
    b->is_read_only = is_read_only;
    b->session = s;
    s->box = b;
    s->level = LEVEL_SELECTED;
    return 0;
}

void imap_box_close(struct imap_session *s)
{
    struct imap_box *b = s->box;

    if (b == NULL)
        return;
    imap_watch_stop(s);
    store_view_unref(&b->view);
    store_view_unref(&b->told);
    store_view_unref(&b->fresh);
    store_view_unref(&b->warm);
    mem_free(b);
    s->box = NULL;
    s->level = LEVEL_LOGGED_IN;
}

bool imap_box_is_heavy(const struct imap_session *s)
{
    return s->box != NULL && !s->box->is_gone && store_view_is_heavy(imap_service(s)->store, s->box->mailbox);
}

void imap_box_warm(struct imap_session *s)
{
    struct imap_box *b = s->box;
    struct err err = ERR_INIT;

    store_view_unref(&b->warm);
    if (store_view_open(imap_service(s)->store, b->mailbox, &b->warm, &err) < 0)
        b->warm = NULL; /* the session will find the same */
}

/* --- being told --------------------------------------------------------------------------------------------------- */

static void on_change(struct store_watch *w, uint64_t modseq)
{
    struct imap_box *b = CONTAINER_OF(w, struct imap_box, watch);

    (void)modseq;
    b->is_changed = true;
    session_wake(&b->session->base);
}

void imap_watch_start(struct imap_session *s)
{
    struct imap_box *b = s->box;

    b->is_watched = true;
    b->is_changed = true; /* what happened before the watch began */
    store_watch_start(imap_service(s)->store, &b->watch, s->base.worker->reactor, b->mailbox, on_change);
}

void imap_watch_stop(struct imap_session *s)
{
    if (s->box == NULL || !s->box->is_watched)
        return;
    store_watch_stop(imap_service(s)->store, &s->box->watch);
    s->box->is_watched = false;
}

/* --- flags -------------------------------------------------------------------------------------------------------- */

void imap_flags_print(const struct store_view *v, uint32_t system, uint64_t keywords, struct buf *out)
{
    uint32_t count = store_view_keyword_count(v);
    bool is_first = true;

    buf_put_byte(out, '(');
    imap_system_flags_print(system, &is_first, out);
    for (uint32_t i = 0; i < count && i < 64; i++) {
        slice name = store_view_keyword(v, i);

        if ((keywords >> i & 1) == 0 || name.len == 0)
            continue;
        if (!is_first)
            buf_put_byte(out, ' ');
        is_first = false;
        buf_put_slice(out, name);
    }
    buf_put_byte(out, ')');
}

void imap_put_flags(struct imap_session *s, uint32_t n, const struct store_row *row, bool with_flags)
{
    struct buf *out = stream_out(imap_stream(s));
    const char *space = "";

    buf_printf(out, "* %u FETCH (", n);
    if (s->run != NULL && s->run->is_uid) {
        buf_printf(out, "UID %u", row->uid);
        space = " ";
    }
    if (with_flags) {
        buf_printf(out, "%sFLAGS ", space);
        imap_flags_print(imap_box_now(s->box), row->system, row->keywords, out);
        space = " ";
    }
    if (s->is_condstore)
        buf_printf(out, "%sMODSEQ (%llu)", space, (unsigned long long)row->modseq);
    buf_put_str(out, ")\r\n");
}

const struct store_view *imap_box_now(const struct imap_box *b)
{
    return b->fresh != NULL ? b->fresh : b->told;
}

const struct store_row *imap_box_row_in(const struct imap_box *b, const struct store_view *v, uint32_t n)
{
    uint32_t there = v == b->view ? n : store_view_find(v, store_view_uid(b->view, n));

    return there != 0 ? store_view_row(v, there) : NULL;
}

const struct store_row *imap_box_row(const struct imap_box *b, uint32_t n)
{
    const struct store_row *row = imap_box_row_in(b, imap_box_now(b), n);

    return row != NULL ? row : store_view_row(b->view, n); /* expunged: the last we knew */
}

/* --- news --------------------------------------------------------------------------------------------------------- */

struct news {
    struct imap_session *session;
    const struct imap_set *except;
    const struct store_view *now, *base; /* base: what the command's own answers were read from */
    const struct store_view *numbers;    /* what `except` counts in */
    uint32_t expunged;
};

static void count_news(void *arg, enum store_diff_kind kind, uint32_t number, uint32_t uid)
{
    struct news *n = arg;

    (void)number;
    (void)uid;
    n->expunged += kind == STORE_DIFF_EXPUNGE;
}

static void put_expunge(void *arg, enum store_diff_kind kind, uint32_t number, uint32_t uid)
{
    struct news *n = arg;

    (void)uid;
    if (kind == STORE_DIFF_EXPUNGE)
        stream_printf(imap_stream(n->session), "* %u EXPUNGE\r\n", number);
}

/* Flags of a message, under the number that the client has for it. */
static void put_flags(void *arg, enum store_diff_kind kind, uint32_t number, uint32_t uid)
{
    struct news *n = arg;
    const struct imap_box *b = n->session->box;
    const struct store_row *row;
    uint32_t mine = store_view_find(b->view, uid), answered;

    if (kind != STORE_DIFF_FLAGS || mine == 0)
        return;
    row = store_view_row(n->now, number);
    if (n->except != NULL && imap_set_has(n->except, store_view_find(n->numbers, uid))) {
        answered = store_view_find(n->base, uid);
        if (answered != 0 && store_view_row(n->base, answered)->modseq == row->modseq)
            return;
    }
    imap_put_flags(n->session, mine, row, true);
}

/* The keywords of the mailbox are more, or others: FLAGS comes before the first FETCH that shows a new one (RFC 3501
 * 7.2.6). */
static void put_new_keywords(struct imap_session *s, const struct store_view *now)
{
    struct imap_box *b = s->box;
    struct buf *out;

    if (store_view_keywords_mark(now) == b->keywords_told)
        return;
    b->keywords_told = store_view_keywords_mark(now);
    out = stream_out(imap_stream(s));
    buf_put_str(out, "* FLAGS ");
    imap_flags_print(now, IMAP_ANSWERED | IMAP_FLAGGED | IMAP_DELETED | IMAP_SEEN | IMAP_DRAFT, UINT64_MAX, out);
    buf_put_str(out, "\r\n");
}

static void swap(struct store_view **slot, struct store_view *v)
{
    struct store_view *old = *slot;

    *slot = store_view_ref(v);
    store_view_unref(&old);
}

bool imap_box_refresh(struct imap_session *s)
{
    struct imap_box *b = s->box;
    struct err err = ERR_INIT;

    store_view_unref(&b->fresh);
    if (store_view_open(imap_service(s)->store, b->mailbox, &b->fresh, &err) < 0) {
        b->fresh = NULL;
        b->is_gone = err.kind == ERR_NOTFOUND;
        return false;
    }
    put_new_keywords(s, b->fresh);
    return true;
}

void imap_box_sync(struct imap_session *s, bool may_expunge, const struct imap_set *except)
{
    struct imap_box *b = s->box;
    struct news n = { .session = s, .except = except };
    struct store_view *was_told, *base, *numbers;

    /* What the command has shown up to now becomes the base of comparison, the newest state the goal. */
    base = store_view_ref(b->fresh != NULL ? b->fresh : b->told);
    if (b->is_gone || !imap_box_refresh(s)) {
        store_view_unref(&base);
        return;
    }
    n.base = base;
    n.now = b->fresh;
    if (n.now != b->view || n.now != b->told) {
        uint32_t old_count = store_view_count(b->view);

        store_view_diff(b->view, n.now, count_news, &n);
        was_told = store_view_ref(b->told);
        numbers = store_view_ref(b->view);
        n.numbers = numbers;
        swap(&b->told, b->fresh);
        if (n.expunged == 0 || may_expunge) {
            if (n.expunged > 0)
                store_view_diff(b->view, n.now, put_expunge, &n);
            swap(&b->view, b->fresh);
            if (store_view_count(n.now) != old_count - n.expunged)
                stream_printf(imap_stream(s), "* %u EXISTS\r\n", store_view_count(n.now));
        }
        /* STORE of all messages has just told their flags: nothing is left, and 100,000 look-ups are saved. */
        if (except == NULL || base != n.now || was_told != numbers || except->count != 1 ||
            except->ranges[0].first > 1 || except->ranges[0].last < store_view_count(numbers))
            store_view_diff(was_told, n.now, put_flags, &n);
        store_view_unref(&was_told);
        store_view_unref(&numbers);
    }
    store_view_unref(&b->fresh);
    store_view_unref(&base);
}

/* --- sets of messages --------------------------------------------------------------------------------------------- */

/* UIDs as the numbers of those messages that are there. */
static void uids_to_numbers(const struct store_view *v, struct imap_set *set)
{
    uint32_t count = store_view_count(v);
    unsigned kept = 0;

    for (unsigned i = 0; i < set->count; i++) {
        struct imap_range r = set->ranges[i];
        uint32_t first = store_view_find_ge(v, r.first);
        uint32_t last = r.last == UINT32_MAX ? count : store_view_find_ge(v, r.last + 1) - 1;

        if (first > last || first == 0)
            continue;
        if (kept > 0 && set->ranges[kept - 1].last + 1 == first)
            set->ranges[kept - 1].last = last;
        else
            set->ranges[kept++] = (struct imap_range){ first, last };
    }
    set->count = kept;
}

bool imap_box_resolve(struct imap_session *s, struct imap_set *set, bool is_uid)
{
    const struct store_view *v = s->box->view;
    uint32_t count = store_view_count(v);
    bool has_star = false;

    for (unsigned i = 0; i < set->count; i++)
        has_star |= set->ranges[i].first == IMAP_STAR || set->ranges[i].last == IMAP_STAR;
    if (is_uid) {
        imap_set_resolve(set, count == 0 ? 0 : store_view_uid(v, count));
        uids_to_numbers(v, set);
        return true;
    }
    imap_set_resolve(set, count);
    if (count == 0 && has_star) { /* "1:*" of an empty mailbox: nothing, as clients expect */
        set->count = 0;
        return true;
    }
    return set->count == 0 || set->ranges[set->count - 1].last <= count;
}

void imap_box_uids(const struct imap_box *b, const struct imap_set *numbers, struct store_request *r)
{
    struct uid_range *uids = arena_alloc_array(&r->mem, numbers->count + 1, sizeof *uids);

    for (unsigned i = 0; i < numbers->count; i++)
        uids[i] = (struct uid_range){ store_view_uid(b->view, numbers->ranges[i].first),
                                      store_view_uid(b->view, numbers->ranges[i].last) };
    r->uids = uids;
    r->uid_count = numbers->count;
}

void imap_walk_init(struct imap_walk *w, const struct imap_set *set)
{
    *w = (struct imap_walk){ set, 0, set->count > 0 ? set->ranges[0].first : 0 };
}

bool imap_walk_next(struct imap_walk *w, uint32_t *n)
{
    if (w->range == w->set->count)
        return false;
    *n = w->next++;
    if (*n == w->set->ranges[w->range].last && ++w->range < w->set->count)
        w->next = w->set->ranges[w->range].first;
    return true;
}
