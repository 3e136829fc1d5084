/* request.c - requests: from the caller through a chain of operations and back. */
#include "store/request.h"

#include <stdlib.h>

#include "base/diag.h"

static const struct {
    request_run_fn *run;
    uint8_t flags; /* enum journal_op_flags */
    bool has_uids; /* needs rows, and all of the mailbox when there is no list */
} kinds[] = {
    [STORE_ACCOUNT_ENSURE] = { run_account_ensure, 0, false },
    [STORE_ACCOUNT_DELETE] = { run_account_delete, OP_FREES, false },
    [STORE_MAILBOX_CREATE] = { run_create, 0, false },
    [STORE_MAILBOX_DELETE] = { run_delete, OP_FREES, true },
    [STORE_MAILBOX_RENAME] = { run_rename, 0, true },
    [STORE_SUBSCRIBE] = { run_subscribe, 0, false },
    [STORE_UNSUBSCRIBE] = { run_subscribe, OP_FREES, false },
    [STORE_APPEND] = { run_append, 0, false },
    [STORE_FLAGS] = { run_flags, 0, true },
    [STORE_COPY] = { run_copy, 0, true },
    [STORE_MOVE] = { run_copy, 0, true },
    [STORE_EXPUNGE] = { run_expunge, OP_FREES, true },
    [STORE_QUOTA_SET] = { run_quota_set, 0, false },
};

static struct request *request_of(struct store_request *r)
{
    return (struct request *)(void *)r;
}

OWNED struct store_request *store_request_new(enum store_what what)
{
    struct request *q = mem_alloc(sizeof *q);

    arena_init(&q->pub.mem, 1024);
    q->pub.what = what;
    q->pub.lane = LANE_ACCESS;
    return &q->pub;
}

static void request_free(struct request *q)
{
    if (q->limits != NULL)
        snap_unref(&q->limits->snap);
    body_writer_destroy(&q->pub.body);
    store_view_unref(&q->warm);
    buf_free(&q->from);
    buf_free(&q->to);
    buf_free(&q->modified_ranges);
    buf_free(&q->copied);
    mem_free(q->rows);
    mem_free(q->modified);
    arena_free(&q->pub.mem);
    mem_free(q);
}

void store_request_destroy(struct store_request **r)
{
    struct request *q;

    if (*r == NULL)
        return;
    q = request_of(*r);
    *r = NULL;
    if (q->state == REQUEST_RUNNING || q->state == REQUEST_TAKING_BACK)
        q->is_orphan = true; /* the committer has it; it goes when the chain ends */
    else
        request_free(q);
}

/* --- results ------------------------------------------------------------------------------------------------- */

static const struct {
    enum err_kind kind;
    const char *text;
} reasons[] = {
    [STORE_OK] = { ERR_NONE, "" },
    [STORE_NO_MAILBOX] = { ERR_NOTFOUND, "no such mailbox" },
    [STORE_EXISTS] = { ERR_EXISTS, "there is a mailbox of this name already" },
    [STORE_BAD_NAME] = { ERR_SYNTAX, "this name is not possible" },
    [STORE_OVER_QUOTA] = { ERR_QUOTA, "over quota" },
    [STORE_TOO_LARGE] = { ERR_QUOTA, "larger than the whole quota" },
    [STORE_LIMIT] = { ERR_LIMIT, "a limit is reached" },
    [STORE_HAS_CHILDREN] = { ERR_CONFLICT, "there are mailboxes below it" },
    [STORE_FULL] = { ERR_FULL, "the disk is full" },
    [STORE_TEMP] = { ERR_TEMP, "not possible at the moment" },
    [STORE_REBUILDING] = { ERR_TEMP, "the index is being rebuilt" },
};

int request_refuse(struct request *q, enum store_result result, struct err *err)
{
    q->pub.result = result;
    return err_set(err, reasons[result].kind, "%s", reasons[result].text);
}

static void count_result(const struct request *q)
{
    switch (q->pub.result) {
    case STORE_OK:
        break;
    case STORE_OVER_QUOTA:
        counter_add(&store_counters[SC_OVER_QUOTA], 1);
        break;
    case STORE_FULL:
    case STORE_TEMP:
    case STORE_REBUILDING:
        counter_add(&store_counters[SC_TEMP_FAILURES], 1);
        break;
    default:
        counter_add(&store_counters[SC_REFUSED], 1);
        break;
    }
}

/* --- the end ------------------------------------------------------------------------------------------------- */

static void ranges_out(const struct buf *b, struct uid_range **ranges, unsigned *count)
{
    *ranges = (struct uid_range *)(void *)b->ptr;
    *count = (unsigned)(b->len / sizeof(struct uid_range));
}

static void request_tell(struct request *q)
{
    q->state = REQUEST_DONE;
    if (q->is_orphan) {
        request_free(q);
        return;
    }
    q->pub.done(&q->pub);
}

static void on_tell(struct post *p)
{
    request_tell(CONTAINER_OF(p, struct request, post));
}

/* A session looks at its mailbox as soon as it is told. After a change of thousands of rows, reading them takes longer
 * than a reactor may be held up, and others on it (a final reply of SMTP) would wait: a helper reads them first, and
 * the session finds the view made. Held until the request goes. */
static void warm_run(struct job *job)
{
    struct request *q = CONTAINER_OF(job, struct request, warm_job);
    struct err ignored = ERR_INIT; /* then the session sees the same */

    if (store_view_open(q->store, q->done.source, &q->warm, &ignored) < 0)
        q->warm = NULL;
}

static void warm_done(struct job *job)
{
    request_tell(CONTAINER_OF(job, struct request, warm_job));
}

static bool warm_start(struct request *q)
{
    struct pool *pool = q->store->journal == NULL ? NULL : journal_pool(q->store->journal);

    if (q->pieces < 2 || q->is_orphan || q->pub.reactor == NULL || pool == NULL || q->done.source == 0)
        return false;
    q->warm_job = (struct job){ .run = warm_run, .done = warm_done, .reactor = q->pub.reactor };
    return pool_submit(pool, &q->warm_job);
}

/* Everything is known: fill what the caller reads. */
static void request_close(struct request *q)
{
    ranges_out(&q->from, &q->pub.from_uids, &q->pub.from_count);
    ranges_out(&q->to, &q->pub.to_uids, &q->pub.to_count);
    ranges_out(&q->modified_ranges, &q->pub.modified, &q->pub.modified_count);
    q->pub.modseq = q->done.modseq;
    q->pub.durable_seq = q->op.seq;
    if (q->pub.durable_seq == 0 && q->store->journal != NULL)
        q->pub.durable_seq = journal_durable_seq(q->store->journal);
    count_result(q);
    if (q->done.is_doomed)
        store_reap_start(q->store);
}

/* Answer without an operation: never inside the caller's submit. */
static void request_answer(struct request *q, enum store_result result)
{
    request_refuse(q, result, &q->pub.err);
    request_close(q);
    if (q->pub.reactor != NULL)
        reactor_post(q->pub.reactor, &q->post, on_tell);
    else
        request_tell(q);
}

/* --- pieces -------------------------------------------------------------------------------------------------- */

/* While the index is rebuilt: is all of it there that the request may touch? */
static bool is_ready(struct request *q, struct journal_view *v, struct err *err)
{
    uint64_t account = q->pub.account;

    if (!journal_rebuilding(q->store->journal, NULL) || q->pub.what == STORE_ACCOUNT_ENSURE)
        return true;
    if (account == 0 && q->pub.owner != 0 && !store_account_find(q->store, v, q->pub.owner, &account))
        account = 0;
    if ((account == 0 || store_account_ready(q->store, v, account, err)) &&
        store_mailbox_ready(q->store, v, q->pub.mailbox, err) &&
        store_mailbox_ready(q->store, v, q->pub.to_mailbox, err))
        return true;
    q->pub.result = STORE_REBUILDING;
    return false;
}

static int on_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct request *q = CONTAINER_OF(op, struct request, op);

    q->piece = q->done;
    q->piece.more = false;
    q->piece.count = q->piece.modified_count = 0;
    if (q->state == REQUEST_TAKING_BACK)
        return run_take_back(q, tx, err);
    q->pub.result = STORE_OK;
    if (!is_ready(q, journal_tx_view(tx), err))
        return -1;
    return kinds[q->pub.what].run(q, tx, err);
}

static void on_done(struct journal_op *op);

static bool piece_submit(struct request *q)
{
    bool frees = (kinds[q->pub.what].flags & OP_FREES) != 0 || q->state == REQUEST_TAKING_BACK;
    uint64_t bytes = 4096 + UINT64_C(96) * q->row_max + 2 * q->copied.len;

    if (q->pub.body != NULL)
        bytes += body_writer_bytes(q->pub.body) + q->pub.header.len;
    q->op = (struct journal_op){
        .run = on_run,
        .done = on_done,
        .reactor = q->pub.reactor,
        .session = q->pub.session,
        .cost = q->row_max != 0 ? q->row_max : 1,
        .bytes = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes,
        .lane = q->pub.lane,
        .flags = frees ? OP_FREES : 0,
    };
    return store_submit(q->store, &q->op);
}

/* Append uid to ranges of which the last may be continued. */
static void range_push(struct buf *b, uint32_t uid, bool joins)
{
    struct uid_range *last = b->len == 0 ? NULL : (struct uid_range *)(void *)(b->ptr + b->len) - 1;

    if (joins && last != NULL && last->last + 1 == uid)
        last->last = uid;
    else
        buf_put(b, &(struct uid_range){ uid, uid }, sizeof(struct uid_range));
}

/* Does the pair (from, to) continue the last pair of ranges? Then both grow, so that the lists stay in step. */
static bool pair_joins(const struct request *q, uint32_t from, uint32_t to)
{
    const struct uid_range *f, *t;

    if (q->from.len == 0)
        return false;
    f = (const struct uid_range *)(const void *)(q->from.ptr + q->from.len) - 1;
    t = (const struct uid_range *)(const void *)(q->to.ptr + q->to.len) - 1;
    return f->last + 1 == from && t->last + 1 == to;
}

/* The piece's copies, as one range with what was copied before where nothing came in between. */
static void copied_push(struct buf *b, uint32_t first, uint32_t last)
{
    struct uid_range *end = b->len == 0 ? NULL : (struct uid_range *)(void *)(b->ptr + b->len) - 1;

    if (end != NULL && end->last + 1 == first)
        end->last = last;
    else
        buf_put(b, &(struct uid_range){ first, last }, sizeof(struct uid_range));
}

static void count_done(const struct request *q, const struct piece *p)
{
    switch (q->pub.what) {
    case STORE_APPEND:
        counter_add(&store_counters[SC_APPENDS], 1);
        break;
    case STORE_FLAGS:
        counter_add(&store_counters[SC_FLAG_CHANGES], p->count);
        break;
    case STORE_EXPUNGE:
        counter_add(&store_counters[SC_EXPUNGES], p->count);
        break;
    case STORE_MAILBOX_CREATE:
        counter_add(&store_counters[SC_MAILBOXES_MADE], 1);
        break;
    case STORE_ACCOUNT_ENSURE:
        counter_add(&store_counters[SC_ACCOUNTS_MADE], 1);
        break;
    default:
        counter_add(&store_counters[SC_COPIES], p->count);
        break;
    }
}

/* The piece is durable. */
static void piece_take(struct request *q)
{
    const struct piece *p = &q->piece;
    bool has_target = q->pub.what == STORE_COPY || q->pub.what == STORE_MOVE ||
                      q->pub.what == STORE_MAILBOX_RENAME;

    for (unsigned i = 0; i < p->count; i++) {
        bool joins = !has_target || pair_joins(q, q->rows[i].uid, p->first_to + i);

        range_push(&q->from, q->rows[i].uid, joins);
        if (has_target)
            range_push(&q->to, p->first_to + i, joins);
    }
    if (q->pub.what == STORE_COPY && p->count != 0)
        copied_push(&q->copied, p->first_to, p->first_to + (p->count - 1));
    if (q->pub.what == STORE_APPEND)
        range_push(&q->to, p->first_to, false);
    for (unsigned i = 0; i < p->modified_count; i++)
        range_push(&q->modified_ranges, q->modified[i], true);
    q->done = *p;
    q->pieces++;
    count_done(q, p);
    if (q->pieces == 2)
        counter_add(&store_counters[SC_CHAINS], 1);
}

static void piece_failed(struct request *q)
{
    const struct err *err = &q->op.err;

    if (q->pub.result == STORE_OK)
        q->pub.result = err->kind == ERR_FULL ? STORE_FULL : STORE_TEMP;
    q->pub.err = *err;
    if (q->state == REQUEST_RUNNING && q->pub.what == STORE_COPY && q->to.len != 0) {
        /* RFC 9051 6.4.7: the target is restored to its state before the COPY */
        q->state = REQUEST_TAKING_BACK;
        q->failed = q->pub.result;
        q->is_back_begun = false;
        counter_add(&store_counters[SC_TAKEN_BACK], 1);
        if (piece_submit(q))
            return;
    }
    if (q->state == REQUEST_TAKING_BACK)
        diag_error("store", "copies that could not be completed stay in mailbox %llu until the next start: %s",
                   (unsigned long long)q->done.target, err->text);
    request_close(q);
    request_tell(q);
}

static void on_done(struct journal_op *op)
{
    struct request *q = CONTAINER_OF(op, struct request, op);

    if (op->err.kind != ERR_NONE) {
        piece_failed(q);
        return;
    }
    if (q->state == REQUEST_RUNNING)
        piece_take(q);
    else {
        q->done = q->piece;
        q->is_back_begun = true;
    }
    if (q->done.more) {
        if (piece_submit(q))
            return;
        q->pub.result = STORE_TEMP;
        err_set(&q->op.err, ERR_TEMP, "too many operations wait for the journal");
        piece_failed(q);
        return;
    }
    if (q->state == REQUEST_TAKING_BACK) {
        q->pub.result = q->failed;
        buf_reset(&q->from);
        buf_reset(&q->to);
    }
    request_close(q);
    if (!warm_start(q))
        request_tell(q);
}

/* --- submitting ---------------------------------------------------------------------------------------------- */

static int range_cmp(const void *a, const void *b)
{
    const struct uid_range *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

/* The uids in rising order without doubles; without a list: all. */
static void uids_normalise(struct store_request *r)
{
    struct uid_range *list = arena_alloc_array(&r->mem, r->uid_count + 1, sizeof *list);
    unsigned n = 0;

    for (unsigned i = 0; i < r->uid_count; i++) {
        struct uid_range in = r->uids[i];

        list[i] = in.first <= in.last ? in : (struct uid_range){ in.last, in.first };
    }
    if (r->uid_count == 0)
        list[r->uid_count++] = (struct uid_range){ 1, UINT32_MAX };
    qsort(list, r->uid_count, sizeof *list, range_cmp);
    for (unsigned i = 1; i < r->uid_count; i++) {
        if (list[i].first <= list[n].last || list[i].first == list[n].last + 1)
            list[n].last = list[i].last > list[n].last ? list[i].last : list[n].last;
        else
            list[++n] = list[i];
    }
    r->uids = list;
    r->uid_count = n + 1;
}

/* How many messages a piece can have at most. */
static unsigned uids_count(const struct store_request *r)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < r->uid_count && n < STORE_OP_MESSAGES; i++)
        n += (uint64_t)r->uids[i].last - r->uids[i].first + 1;
    return n < STORE_OP_MESSAGES ? (unsigned)n : STORE_OP_MESSAGES;
}

static void keep_inputs(struct request *q)
{
    struct store_request *r = &q->pub;
    slice *keywords = arena_alloc_array(&r->mem, r->keyword_count + 1, sizeof *keywords);

    r->name = name_fold(&r->mem, r->name);
    r->new_name = name_fold(&r->mem, r->new_name);
    r->to_name = name_fold(&r->mem, r->to_name);
    r->owner_name = slice_dup(&r->mem, r->owner_name);
    r->header = slice_dup(&r->mem, r->header);
    for (unsigned i = 0; i < r->keyword_count; i++)
        keywords[i] = slice_dup(&r->mem, r->keywords[i]);
    r->keywords = keywords;
    if (kinds[r->what].has_uids) {
        uids_normalise(r);
        q->row_max = uids_count(r);
        q->rows = mem_alloc_array(q->row_max, sizeof *q->rows);
        q->modified = mem_alloc_array(q->row_max, sizeof *q->modified);
    }
}

/* New names are checked before the committer is bothered. */
static enum store_result names_check(struct request *q)
{
    struct store_request *r = &q->pub;

    if (r->what == STORE_MAILBOX_CREATE || r->what == STORE_SUBSCRIBE)
        return store_name_check(&q->limits->conf, r->name, &r->mem, &r->name);
    if (r->what == STORE_MAILBOX_RENAME)
        return store_name_check(&q->limits->conf, r->new_name, &r->mem, &r->new_name);
    return STORE_OK;
}

/* Most accounts are there already: no need to ask the committer. */
static bool is_ensured(struct request *q)
{
    struct journal_view v;
    bool found;

    if (q->pub.what != STORE_ACCOUNT_ENSURE || journal_read_begin(q->store->journal, &v, NULL) < 0)
        return false;
    found = store_account_find(q->store, &v, q->pub.owner, &q->pub.account) &&
            name_find(&v, q->pub.account, SLICE("INBOX"), &q->pub.made_mailbox);
    journal_read_end(&v);
    return found;
}

void store_request_submit(struct store *s, struct store_request *r)
{
    struct request *q = request_of(r);
    enum store_result result;

    q->store = s;
    q->limits = store_limits_ref(s);
    q->state = REQUEST_RUNNING;
    keep_inputs(q);
    result = names_check(q);
    if (result != STORE_OK)
        request_answer(q, result);
    else if (is_ensured(q))
        request_answer(q, STORE_OK);
    else if (!piece_submit(q))
        request_answer(q, STORE_TEMP);
}

/* --- waiting ------------------------------------------------------------------------------------------------- */

struct waiter {
    pthread_mutex_t lock; /* lock rank 41 */
    pthread_cond_t cond;
    bool is_done;
};

static void on_waited(struct store_request *r)
{
    struct waiter *w = r->arg;

    pthread_mutex_lock(&w->lock);
    w->is_done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

int store_request_wait(struct store *s, struct store_request *r, struct err *err)
{
    struct waiter w = { .is_done = false };

    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.cond, NULL);
    r->done = on_waited;
    r->arg = &w;
    r->reactor = NULL;
    store_request_submit(s, r);
    pthread_mutex_lock(&w.lock);
    while (!w.is_done)
        pthread_cond_wait(&w.cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.lock);
    if (r->result == STORE_OK)
        return 0;
    if (err != NULL)
        *err = r->err.kind != ERR_NONE ? r->err : ERR_INIT;
    return -1;
}
