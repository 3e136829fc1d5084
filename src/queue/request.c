/* request.c - requests: one operation each, from the caller to the journal and back. */
#include "queue/internal.h"

#include "base/diag.h"

#define RECORDS_BYTES 4096u  /* what a request emits without recipients and bodies, generously */
#define OUTCOME_BYTES 640u   /* of an outcome: status, diagnostic, and the recipient's row of an entry of its own */

struct request {
    struct queue_request pub; /* first */
    struct queue *queue;
    struct journal_op op;
    struct post post; /* for answers without an operation */
    struct arena scratch; /* of one run */
};

static struct request *request_of(struct queue_request *r)
{
    return (struct request *)(void *)r;
}

OWNED struct queue_request *queue_request_new(enum queue_what what)
{
    struct request *q = mem_alloc(sizeof *q);

    q->pub.what = what;
    arena_init(&q->pub.mem, 1024);
    arena_init(&q->scratch, 1024);
    return &q->pub;
}

void queue_request_destroy(struct queue_request **r)
{
    struct request *q;

    if (*r == NULL)
        return;
    q = request_of(*r);
    *r = NULL;
    for (struct queue_addition *a = q->pub.additions; a != NULL; a = a->next)
        body_writer_destroy(&a->body);
    arena_free(&q->scratch);
    arena_free(&q->pub.mem);
    mem_free(q);
}

/* --- running ------------------------------------------------------------------------------------------------------ */

/* One run of a request: what it is about, and what it will say. */
struct run {
    struct request *r;
    struct queue_request *pub;
    struct queue *queue;
    struct journal_tx *tx;
    struct queue_entry entry;
    struct queue_change change;
    struct queue_outcome *outcomes;
    uint64_t ended[QUEUE_TOTALS]; /* of the entry's channel */
};

bool queue_is_active(struct queue *q, uint64_t id)
{
    bool found;

    pthread_mutex_lock(&q->lock);
    found = idmap_get(&q->active, id) != NULL;
    pthread_mutex_unlock(&q->lock);
    return found;
}

/* The entry into run->entry. False: it is gone, or cannot be read. */
static bool entry_load(struct run *x)
{
    slice octets = entry_octets(x->queue, journal_tx_view(x->tx), x->pub->entry);

    x->entry = (struct queue_entry){ .id = x->pub->entry };
    if (octets.len == 0)
        return false;
    octets = slice_dup(&x->r->scratch, octets); /* the row moves while we emit */
    if (queue_entry_decode(octets, &x->r->scratch, &x->entry))
        return true;
    entry_damaged(x->queue, x->pub->entry);
    return false;
}

/* A change that changes nothing yet. */
static void change_begin(struct run *x)
{
    const struct queue_entry *e = &x->entry;

    x->change = (struct queue_change){ .what = x->pub->what,
                                       .state = e->state,
                                       .flags = e->flags,
                                       .attempts = e->attempts,
                                       .notices = e->notices,
                                       .due_ms = e->due_ms,
                                       .attempted_ms = e->attempted_ms,
                                       .notice_ms = e->notice_ms,
                                       .by = x->pub->by,
                                       .reason = x->pub->reason };
    x->outcomes = arena_alloc_array(&x->r->scratch, e->rcpt_count + 1, sizeof *x->outcomes);
    x->change.outcomes = x->outcomes;
}

static void outcome_add(struct run *x, const struct queue_outcome *o)
{
    struct queue_rcpt *r;

    if (o->rcpt >= x->entry.rcpt_count || o->state >= RCPT_STATES)
        return;
    r = &x->entry.rcpts[o->rcpt];
    if (r->state != RCPT_WAITING || x->change.outcome_count == x->entry.rcpt_count)
        return;
    x->outcomes[x->change.outcome_count++] = *o;
    r->state = o->state;
    if (o->state != RCPT_WAITING)
        x->ended[o->state]++;
}

static unsigned waiting_count(const struct queue_entry *e)
{
    unsigned n = 0;

    for (unsigned i = 0; i < e->rcpt_count; i++)
        n += e->rcpts[i].state == RCPT_WAITING;
    return n;
}

static bool has_ended(const struct run *x)
{
    for (unsigned i = 0; i < QUEUE_TOTALS; i++)
        if (x->ended[i] != 0)
            return true;
    return false;
}

static void change_emit(struct run *x)
{
    struct buf payload = BUF_INIT;
    unsigned left = waiting_count(&x->entry);

    x->pub->left = left;
    queue_change_encode(&payload, &x->change);
    journal_emit(x->tx, left == 0 ? QR_DONE : QR_CHANGE, x->entry.id, 0, left == 0 ? RECORD_END : 0,
                 buf_slice(&payload));
    buf_free(&payload);
    if (has_ended(x))
        emit_totals(x->queue, x->tx, x->entry.channel, x->ended);
}

/* What the request brings along. Before the entry ends, so that a body both refer to keeps its octets. */
static int additions_emit(struct run *x, struct err *err)
{
    for (struct queue_addition *a = x->pub->additions; a != NULL; a = a->next)
        if (queue_emit_addition(x->queue, x->tx, a, err) == 0)
            return -1;
    return 0;
}

static int run_result(struct run *x, struct err *err)
{
    struct queue_request *r = x->pub;
    struct queue_change *c = &x->change;

    if (r->deliver != NULL && r->deliver(x->tx, r, err) < 0)
        return -1;
    if (additions_emit(x, err) < 0)
        return -1;
    for (unsigned i = 0; i < r->outcome_count; i++)
        outcome_add(x, &r->outcomes[i]);
    c->is_attempt = r->is_attempt;
    if (r->is_attempt) {
        c->attempts++;
        c->attempted_ms = r->now_ms;
    } else if (c->reason.len == 0) {
        c->reason = x->entry.reason;
    }
    if (r->is_warning) {
        c->notices++;
        c->flags |= QUEUE_WARNED;
    }
    if (r->is_warning || r->notice_ms > 0)
        c->notice_ms = r->notice_ms > 0 ? r->notice_ms : 0;
    if (r->due_ms > 0)
        c->due_ms = r->due_ms;
    if (r->hold)
        c->state = QUEUE_HELD;
    else if (c->state != QUEUE_HELD)
        c->state = c->due_ms > r->now_ms ? QUEUE_DEFERRED : QUEUE_READY;
    change_emit(x);
    return 0;
}

static int run_hold(struct run *x, struct err *err UNUSED)
{
    if (x->entry.state != QUEUE_HELD) {
        x->change.state = QUEUE_HELD;
        change_emit(x);
    }
    return 0;
}

static int run_release(struct run *x, struct err *err UNUSED)
{
    if (x->entry.state == QUEUE_HELD) {
        x->change.state = QUEUE_READY;
        x->change.due_ms = x->pub->now_ms;
        change_emit(x);
    }
    return 0;
}

static int run_retry(struct run *x, struct err *err UNUSED)
{
    if (x->entry.state != QUEUE_HELD && x->entry.due_ms > x->pub->now_ms) {
        x->change.state = QUEUE_READY;
        x->change.due_ms = x->pub->now_ms;
        change_emit(x);
    }
    return 0;
}

static int run_delete(struct run *x, struct err *err)
{
    if (additions_emit(x, err) < 0)
        return -1;
    for (unsigned i = 0; i < x->entry.rcpt_count; i++)
        outcome_add(x, &(struct queue_outcome){ .rcpt = i, .state = RCPT_DELETED });
    change_emit(x);
    return 0;
}

/* The recipients leave one channel and are created in the other. */
static int run_reroute(struct run *x, struct err *err)
{
    const struct queue_request *r = x->pub;
    uint64_t out[QUEUE_TOTALS] = { 0 }, in[QUEUE_TOTALS] = { 0 };
    struct settings s;

    if (r->channel.len == 0 || r->channel.len > CHANNEL_NAME_MAX || r->host.len > QUEUE_HOST_MAX)
        return err_set(err, ERR_SYNTAX, "the name of the channel or host is missing or too long");
    if (slice_eq(r->channel, x->entry.channel) && slice_eq(r->host, x->entry.host))
        return 0;
    x->change.dest = dest_id(x->queue, journal_tx_view(x->tx), r->channel, r->host);
    if (x->change.dest == 0)
        return err_set(err, ERR_TEMP, "no id is free for the destination %.*s", SLICE_ARG(r->host));
    x->change.channel = r->channel;
    x->change.host = r->host;
    settings_get(x->queue, &s);
    if (channel_holds(settings_channel(&s, r->channel)))
        x->change.state = QUEUE_HELD;
    else if (x->entry.state != QUEUE_HELD)
        x->change.state = QUEUE_READY;
    settings_put(&s);
    x->change.due_ms = r->now_ms;
    change_emit(x);
    if (slice_eq(r->channel, x->entry.channel))
        return 0;
    out[RCPT_MOVED] = in[TOTAL_CREATED] = x->pub->left;
    emit_totals(x->queue, x->tx, x->entry.channel, out);
    emit_totals(x->queue, x->tx, r->channel, in);
    return 0;
}

static int run_channel(struct run *x, struct err *err)
{
    return emit_stopped(x->queue, x->tx, x->pub->channel, x->pub->what == QUEUE_CHANNEL_STOP, err);
}

static const struct {
    int (*run)(struct run *x, struct err *err);
    bool has_entry;
    uint8_t flags; /* enum journal_op_flags */
} kinds[] = {
    [QUEUE_RESULT] = { run_result, true, OP_FREES },
    [QUEUE_HOLD] = { run_hold, true, 0 },
    [QUEUE_RELEASE] = { run_release, true, 0 },
    [QUEUE_RETRY] = { run_retry, true, 0 },
    [QUEUE_DELETE] = { run_delete, true, OP_FREES },
    [QUEUE_REROUTE] = { run_reroute, true, 0 },
    [QUEUE_CHANNEL_STOP] = { run_channel, false, 0 },
    [QUEUE_CHANNEL_START] = { run_channel, false, OP_FREES },
    [QUEUE_PUT] = { additions_emit, false, 0 },
};

/* By hand, or because of its age, nobody ends what is being delivered: the attempt's outcome would come too late. */
static bool must_wait(const struct queue_request *r)
{
    return r->what == QUEUE_DELETE || r->what == QUEUE_REROUTE ||
           (r->what == QUEUE_RESULT && !r->is_attempt && !r->is_partial && r->outcome_count != 0);
}

static int request_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct request *q = CONTAINER_OF(op, struct request, op);
    struct run x = { .r = q, .pub = &q->pub, .queue = q->queue, .tx = tx };

    arena_reset(&q->scratch);
    q->pub.result = QUEUE_OK;
    q->pub.left = 0;
    q->pub.now_ms = journal_tx_now_ms(tx);
    if (!kinds[q->pub.what].has_entry)
        return kinds[q->pub.what].run(&x, err);
    if (!entry_load(&x)) {
        q->pub.result = QUEUE_GONE;
        return 0;
    }
    if (must_wait(&q->pub) && queue_is_active(q->queue, q->pub.entry)) {
        q->pub.result = QUEUE_BUSY;
        return 0;
    }
    q->pub.left = waiting_count(&x.entry);
    change_begin(&x);
    return kinds[q->pub.what].run(&x, err);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static void request_count(const struct queue_request *r)
{
    static const unsigned of_result[] = { [QUEUE_GONE] = QC_GONE,
                                          [QUEUE_BUSY] = QC_BUSY,
                                          [QUEUE_FULL] = QC_TEMP_FAILURES,
                                          [QUEUE_TEMP] = QC_TEMP_FAILURES };

    if (r->result != QUEUE_OK)
        counter_add(&queue_counters[of_result[r->result]], 1);
    if (r->result == QUEUE_OK && r->what == QUEUE_RESULT && r->is_attempt) {
        counter_add(&queue_counters[QC_ATTEMPTS], 1);
        counter_add(&queue_counters[QC_DEFERRED], r->left != 0);
    }
}

static void request_tell(struct request *q)
{
    request_count(&q->pub);
    q->pub.done(&q->pub);
}

static void on_tell(struct post *p)
{
    request_tell(CONTAINER_OF(p, struct request, post));
}

static void on_done(struct journal_op *op)
{
    struct request *q = CONTAINER_OF(op, struct request, op);

    q->pub.err = op->err;
    if (op->err.kind != ERR_NONE)
        q->pub.result = op->err.kind == ERR_FULL ? QUEUE_FULL : QUEUE_TEMP;
    request_tell(q);
}

/* --- submitting --------------------------------------------------------------------------------------------------- */

static uint32_t request_bytes(const struct queue_request *r)
{
    uint64_t bytes = RECORDS_BYTES + (uint64_t)r->outcome_count * OUTCOME_BYTES + r->deliver_bytes;

    for (const struct queue_addition *a = r->additions; a != NULL; a = a->next)
        bytes += queue_addition_bytes(a);
    return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

static void keep_inputs(struct queue_request *r)
{
    struct queue_outcome *outcomes = arena_alloc_array(&r->mem, r->outcome_count + 1, sizeof *outcomes);

    r->by = slice_dup(&r->mem, slice_sub(r->by, 0, QUEUE_DIAG_MAX));
    r->reason = slice_dup(&r->mem, slice_sub(r->reason, 0, QUEUE_DIAG_MAX));
    r->channel = slice_dup(&r->mem, r->channel);
    r->host = slice_dup(&r->mem, r->host);
    for (unsigned i = 0; i < r->outcome_count; i++) {
        outcomes[i] = r->outcomes[i];
        outcomes[i].status = slice_dup(&r->mem, slice_sub(outcomes[i].status, 0, QUEUE_STATUS_MAX));
        outcomes[i].diag = slice_dup(&r->mem, slice_sub(outcomes[i].diag, 0, QUEUE_DIAG_MAX));
    }
    r->outcomes = outcomes;
}

void queue_request_submit(struct queue *queue, struct queue_request *r)
{
    struct request *q = request_of(r);

    q->queue = queue;
    keep_inputs(r);
    q->op = (struct journal_op){
        .run = request_run,
        .done = on_done,
        .reactor = r->reactor,
        .session = r->lane_session != 0 ? r->lane_session : r->entry,
        .cost = 1 + r->outcome_count / 10,
        .bytes = request_bytes(r),
        .lane = LANE_QUEUE,
        .flags = kinds[r->what].flags,
    };
    if (queue->journal != NULL && journal_submit(queue->journal, &q->op))
        return;
    r->result = QUEUE_TEMP;
    err_set(&r->err, ERR_TEMP, "too many operations wait for the journal");
    if (r->reactor != NULL)
        reactor_post(r->reactor, &q->post, on_tell);
    else
        request_tell(q);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

struct waiter {
    pthread_mutex_t lock; /* lock rank 51 */
    pthread_cond_t cond;
    bool is_done;
};

static void on_waited(struct queue_request *r)
{
    struct waiter *w = r->arg;

    pthread_mutex_lock(&w->lock);
    w->is_done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static const struct {
    enum err_kind kind;
    const char *text;
} reasons[] = {
    [QUEUE_OK] = { ERR_NONE, "" },
    [QUEUE_GONE] = { ERR_NOTFOUND, "there is no such message in the queue any more" },
    [QUEUE_BUSY] = { ERR_CONFLICT, "the message is being delivered; try again" },
    [QUEUE_FULL] = { ERR_FULL, "the disk is full" },
    [QUEUE_TEMP] = { ERR_TEMP, "not possible at the moment" },
};

int queue_request_wait(struct queue *q, struct queue_request *r, struct err *err)
{
    struct waiter w = { .is_done = false };

    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.cond, NULL);
    r->done = on_waited;
    r->arg = &w;
    r->reactor = NULL;
    queue_request_submit(q, r);
    pthread_mutex_lock(&w.lock);
    while (!w.is_done)
        pthread_cond_wait(&w.cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.lock);
    if (r->result == QUEUE_OK)
        return 0;
    if (err != NULL && r->err.kind != ERR_NONE)
        *err = r->err;
    else
        err_set(err, reasons[r->result].kind, "%s", reasons[r->result].text);
    return -1;
}
