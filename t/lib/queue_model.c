#include "queue_model.h"

#include <stdlib.h>

#include "base/random.h"

#define RETRY_MS 60000
#define NOTICE_MS (int64_t)(3 * 24 * 3600 * INT64_C(1000)) /* the first of "notices" */

static int64_t time_of(uint32_t n)
{
    return QUEUE_SITE_MS + (int64_t)n * 1000;
}

static slice channel_name(struct arena *mem, uint32_t client, unsigned channel)
{
    return arena_printf(mem, "c%u_%u", client, channel);
}

static void body_fill(struct buf *out, uint64_t seed, uint32_t client, uint32_t n, uint32_t part, uint32_t bytes)
{
    struct rng rng;

    rng_init(&rng, seed ^ ((uint64_t)client << 40) ^ ((uint64_t)part << 32) ^ n);
    buf_reset(out);
    while (out->len < bytes)
        buf_put_le64(out, rng_next(&rng));
    out->len = bytes;
}

/* --- the model ---------------------------------------------------------------------------------------------------- */

void qm_init(struct qm *m, uint64_t seed, uint32_t clients)
{
    memset(m, 0, sizeof *m);
    m->seed = seed;
    m->client_count = clients;
    for (uint32_t i = 0; i < clients; i++)
        m->clients[i].client = i;
}

static bool is_waiting(const struct qm_entry *e, unsigned i)
{
    return i < e->rcpt_count && e->rcpts[i] == RCPT_WAITING;
}

static unsigned waiting(const struct qm_entry *e)
{
    unsigned n = 0;

    for (unsigned i = 0; i < e->rcpt_count; i++)
        n += e->rcpts[i] == RCPT_WAITING;
    return n;
}

static void next_put(struct rng *rng, struct qm_step *s)
{
    s->what = QM_PUT;
    s->channel = (uint8_t)rng_below(rng, QM_CHANNELS);
    s->host = (uint8_t)rng_below(rng, QM_HOSTS);
    s->priority = (uint8_t)rng_below(rng, QUEUE_PRIORITIES);
    s->rcpt_count = 1 + (uint32_t)rng_below(rng, QM_RCPTS);
    s->body_bytes = 1 + (uint32_t)rng_below(rng, rng_below(rng, 10) == 0 ? QM_BODY_MAX : 600);
    s->held = rng_below(rng, 10) == 0;
}

static void next_result(struct rng *rng, const struct qm_entry *e, struct qm_step *s)
{
    bool ends = rng_below(rng, 2) == 0;

    s->what = QM_RESULT;
    s->is_attempt = rng_below(rng, 8) != 0;
    for (unsigned i = 0; i < e->rcpt_count; i++)
        s->outcomes[i] = ends || rng_below(rng, 2) == 0 ? (uint8_t)(1 + rng_below(rng, RCPT_STATES - 1)) : RCPT_WAITING;
    s->held = rng_below(rng, 8) == 0;
    s->has_addition = rng_below(rng, 6) == 0;
    s->body_bytes = 1 + (uint32_t)rng_below(rng, rng_below(rng, 10) == 0 ? QM_BODY_MAX : 400);
}

void qm_next(const struct qm *m, uint32_t client, struct qm_step *s)
{
    const struct qm_client *c = &m->clients[client];
    struct rng rng;
    uint64_t what;

    *s = (struct qm_step){ .client = client, .n = c->sent + 1 };
    rng_init(&rng, m->seed ^ ((uint64_t)client << 32) ^ s->n);
    what = rng_below(&rng, 100);
    if (what < 2) {
        s->what = QM_REFUSED;
        return;
    }
    if (what < 5) {
        s->what = QM_PASSED;
        s->channel = (uint8_t)rng_below(&rng, QM_CHANNELS);
        s->end = (uint8_t)(1 + rng_below(&rng, RCPT_STATES - 1));
        s->rcpt_count = 1 + (uint32_t)rng_below(&rng, 3);
        return;
    }
    if (what < 8) {
        s->what = QM_STOP;
        s->channel = (uint8_t)rng_below(&rng, QM_CHANNELS);
        return;
    }
    if (c->count == 0 || (c->count < QM_ENTRIES - 1 && what < 40)) {
        next_put(&rng, s);
        return;
    }
    s->target = (uint32_t)rng_below(&rng, c->count);
    if (what < 75) {
        next_result(&rng, &c->entries[s->target], s);
        s->has_addition = s->has_addition && c->count < QM_ENTRIES - 1;
        return;
    }
    static const enum qm_what hands[] = { QM_WARN, QM_HOLD, QM_RELEASE, QM_RETRY, QM_DELETE, QM_REROUTE };

    s->what = hands[rng_below(&rng, ARRAY_LEN(hands))];
    s->channel = (uint8_t)rng_below(&rng, QM_CHANNELS);
    s->host = (uint8_t)rng_below(&rng, QM_HOSTS);
}

static void entry_add(struct qm_client *c, const struct qm_entry *e)
{
    ASSERT(c->count < QM_ENTRIES);
    c->entries[c->count++] = *e;
    c->totals[e->channel][TOTAL_CREATED] += e->rcpt_count;
}

static void apply_put(struct qm_client *c, const struct qm_step *s)
{
    entry_add(c, &(struct qm_entry){ .n = s->n, .channel = s->channel, .host = s->host, .priority = s->priority,
                                     .state = s->held ? QUEUE_HELD : QUEUE_READY, .rcpt_count = s->rcpt_count,
                                     .body_bytes = s->body_bytes, .created_ms = time_of(s->n),
                                     .due_ms = time_of(s->n), .notice_ms = time_of(s->n) + NOTICE_MS });
}

static void apply_result(struct qm_client *c, const struct qm_step *s)
{
    struct qm_entry *e = &c->entries[s->target];

    for (unsigned i = 0; i < e->rcpt_count; i++) {
        if (!is_waiting(e, i))
            continue;
        e->rcpts[i] = s->outcomes[i];
        e->diags[i] = s->n;
        if (s->outcomes[i] != RCPT_WAITING)
            c->totals[e->channel][s->outcomes[i]]++;
    }
    e->attempts += s->is_attempt;
    e->due_ms = time_of(s->n) + RETRY_MS;
    if (s->held)
        e->state = QUEUE_HELD;
    else if (e->state != QUEUE_HELD)
        e->state = QUEUE_DEFERRED;
    if (!s->has_addition)
        return;
    entry_add(c, &(struct qm_entry){ .n = s->n, .part = 1, .channel = 0, .host = 0, .priority = QUEUE_NORMAL,
                                     .state = QUEUE_READY, .rcpt_count = 1, .body_bytes = s->body_bytes,
                                     .is_notice = true, .created_ms = time_of(s->n), .due_ms = time_of(s->n),
                                     .notice_ms = time_of(s->n) + NOTICE_MS });
}

static void apply_reroute(struct qm_client *c, const struct qm_step *s)
{
    struct qm_entry *e = &c->entries[s->target];

    if (e->channel == s->channel && e->host == s->host)
        return;
    if (e->channel != s->channel) {
        c->totals[e->channel][RCPT_MOVED] += waiting(e);
        c->totals[s->channel][TOTAL_CREATED] += waiting(e);
    }
    e->channel = s->channel;
    e->host = s->host;
    e->due_ms = time_of(s->n);
    if (e->state != QUEUE_HELD)
        e->state = QUEUE_READY;
}

static void apply_hand(struct qm_client *c, const struct qm_step *s)
{
    struct qm_entry *e = &c->entries[s->target];
    bool releases = s->what == QM_RELEASE && e->state == QUEUE_HELD;
    bool retries = s->what == QM_RETRY && e->state != QUEUE_HELD && e->due_ms > time_of(s->n);

    if (s->what == QM_HOLD)
        e->state = QUEUE_HELD;
    if (s->what == QM_WARN) {
        e->notices++;
        e->notice_ms = time_of(s->n) + NOTICE_MS;
        if (e->state != QUEUE_HELD)
            e->state = e->due_ms > time_of(s->n) ? QUEUE_DEFERRED : QUEUE_READY;
    }
    if (releases || retries) {
        e->state = QUEUE_READY;
        e->due_ms = time_of(s->n);
    }
    if (s->what != QM_DELETE)
        return;
    c->totals[e->channel][RCPT_DELETED] += waiting(e);
    for (unsigned i = 0; i < e->rcpt_count; i++)
        e->rcpts[i] = e->rcpts[i] == RCPT_WAITING ? RCPT_DELETED : e->rcpts[i];
}

void qm_apply(struct qm *m, const struct qm_step *s)
{
    struct qm_client *c = &m->clients[s->client];

    switch (s->what) {
    case QM_PUT:
        apply_put(c, s);
        break;
    case QM_RESULT:
        apply_result(c, s);
        break;
    case QM_REROUTE:
        apply_reroute(c, s);
        break;
    case QM_STOP:
        c->stopped[s->channel] = !c->stopped[s->channel];
        break;
    case QM_PASSED:
        c->totals[s->channel][TOTAL_CREATED] += s->rcpt_count;
        c->totals[s->channel][s->end] += s->rcpt_count;
        break;
    case QM_REFUSED:
        break;
    default:
        apply_hand(c, s);
        break;
    }
    for (uint32_t i = 0; i < c->count;) { /* the order of the others stays: the next step depends on it */
        if (waiting(&c->entries[i]) != 0) {
            i++;
            continue;
        }
        memmove(&c->entries[i], &c->entries[i + 1], (c->count - i - 1) * sizeof c->entries[0]);
        c->count--;
    }
}

bool qm_line(struct qm *m, const char *line, char why[160])
{
    unsigned client, n, happened;
    struct qm_client *c;
    struct qm_step s;

    if (sscanf(line, "S %u %u", &client, &n) == 2 && client < m->client_count) {
        c = &m->clients[client];
        if (n == c->sent + 1 && c->sent == c->answered) {
            c->sent = n;
            return true;
        }
    } else if (sscanf(line, "A %u %u %u", &client, &n, &happened) == 3 && client < m->client_count) {
        c = &m->clients[client];
        if (n == c->sent && c->sent == c->answered + 1) {
            c->sent--;
            qm_next(m, client, &s);
            c->sent = c->answered = n;
            if (happened != 0)
                qm_apply(m, &s);
            return true;
        }
    }
    snprintf(why, 160, "the line \"%.60s\" does not follow", line);
    return false;
}

bool qm_lines(struct qm *m, const char *path, char why[160])
{
    FILE *f = fopen(path, "r");
    char line[80];
    bool good = true;

    while (f != NULL && good && fgets(line, sizeof line, f) != NULL)
        good = qm_line(m, line, why);
    if (f != NULL)
        fclose(f);
    return good;
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static void op_done(struct qm_op *op, const struct err *err, bool happened)
{
    op->err = *err;
    op->happened = happened;
    op->done(op);
}

static void entry_make(struct qm_op *op, uint32_t part)
{
    const struct qm_step *s = &op->step;
    struct queue_entry *e = &op->entry;

    e->channel = channel_name(&op->mem, s->client, part == 0 ? s->channel : 0);
    e->host = arena_printf(&op->mem, "h%u", part == 0 ? s->host : 0);
    e->priority = part == 0 ? s->priority : QUEUE_NORMAL;
    e->state = part == 0 && s->held ? QUEUE_HELD : QUEUE_READY;
    e->flags = part == 0 ? 0 : QUEUE_IS_NOTICE;
    e->sender = part == 0 ? SLICE("sender@example.org") : SLICE_NONE;
    e->session = arena_printf(&op->mem, "%u.%u.%u", s->client, s->n, part);
    e->rcpt_count = part == 0 ? s->rcpt_count : 1;
    e->rcpts = arena_alloc_array(&op->mem, e->rcpt_count, sizeof *e->rcpts);
    for (unsigned i = 0; i < e->rcpt_count; i++)
        e->rcpts[i].address = arena_printf(&op->mem, "r%u@h.example", i);
}

static int put_run(struct journal_tx *tx, struct journal_op *jop, struct err *err)
{
    struct qm_op *op = CONTAINER_OF(jop, struct qm_op, op);
    struct queue_entry e = op->entry;

    if (op->step.what == QM_PASSED) {
        queue_emit_passed(op->site->queue, tx, op->entry.channel, op->step.end, op->step.rcpt_count);
        return 0;
    }
    e.view = (struct body_view){ .body_id = journal_emit_body(tx, op->writer),
                                 .body_bytes = (uint32_t)op->octets.len };
    op->id = queue_emit_enqueue(op->site->queue, tx, &e, err);
    if (op->step.what == QM_REFUSED)
        return err_set(err, ERR_CONFLICT, "refused by the test"); /* after it has emitted */
    return op->id != 0 ? 0 : -1;
}

static void put_done(struct journal_op *jop)
{
    struct qm_op *op = CONTAINER_OF(jop, struct qm_op, op);

    op_done(op, &jop->err, jop->err.kind == ERR_NONE);
}

static struct body_writer *writer_make(struct qm_op *op, uint32_t part, struct err *err)
{
    struct body_writer *w = body_writer_new(op->site->j);

    body_fill(&op->octets, op->model->seed, op->step.client, op->step.n, part, op->step.body_bytes);
    if (body_writer_write(w, buf_slice(&op->octets), err) == 0 && body_writer_finish(w, err) == 0)
        return w;
    body_writer_destroy(&w);
    return NULL;
}

static void put_submit(struct qm_op *op)
{
    struct err err = ERR_INIT;

    if (op->step.what == QM_REFUSED) {
        op->step.body_bytes = 100;
        op->step.rcpt_count = 2;
    }
    if (op->step.what != QM_PASSED)
        op->writer = writer_make(op, 0, &err);
    entry_make(op, 0);
    op->op = (struct journal_op){ .run = put_run, .done = put_done, .session = op->step.client + 1, .cost = 1,
                                  .lane = LANE_RECEPTION, .bytes = (uint32_t)op->octets.len + 8192 };
    if (err.kind == ERR_NONE && journal_submit(op->site->j, &op->op))
        return;
    if (err.kind == ERR_NONE)
        err_set(&err, ERR_TEMP, "not accepted");
    op_done(op, &err, false);
}

static void request_done(struct queue_request *r)
{
    struct qm_op *op = r->arg;

    if (r->result != QUEUE_OK && r->err.kind == ERR_NONE)
        err_set(&r->err, ERR_NOTFOUND, "the queue answered %d", (int)r->result);
    op_done(op, &r->err, r->result == QUEUE_OK);
}

static int result_fill(struct qm_op *op, struct queue_request *r, const struct qm_entry *e, struct err *err)
{
    const struct qm_step *s = &op->step;
    struct queue_addition *a;

    r->outcomes = arena_alloc_array(&r->mem, QM_RCPTS, sizeof *r->outcomes);
    for (unsigned i = 0; i < e->rcpt_count; i++)
        r->outcomes[r->outcome_count++] = (struct queue_outcome){
            .rcpt = i, .state = s->outcomes[i], .status = SLICE("4.0.0"), .diag = arena_printf(&r->mem, "step %u", s->n)
        };
    r->is_attempt = s->is_attempt;
    r->hold = s->held;
    r->due_ms = time_of(s->n) + RETRY_MS;
    if (!s->has_addition)
        return 0;
    a = arena_alloc(&r->mem, sizeof *a);
    entry_make(op, 1);
    a->entry = op->entry;
    a->body = writer_make(op, 1, err);
    r->additions = a;
    return a->body == NULL ? -1 : 0;
}

static void request_submit(struct qm_op *op)
{
    static const enum queue_what whats[] = { [QM_RESULT] = QUEUE_RESULT,   [QM_WARN] = QUEUE_RESULT,
                                             [QM_HOLD] = QUEUE_HOLD,       [QM_RELEASE] = QUEUE_RELEASE,
                                             [QM_RETRY] = QUEUE_RETRY,     [QM_DELETE] = QUEUE_DELETE,
                                             [QM_REROUTE] = QUEUE_REROUTE, [QM_STOP] = QUEUE_CHANNEL_STOP };
    const struct qm_step *s = &op->step;
    const struct qm_client *c = &op->model->clients[s->client];
    const struct qm_entry *e = s->what != QM_STOP ? &c->entries[s->target] : NULL;
    struct err err = ERR_INIT;
    struct queue_request *r;

    op->request = r = queue_request_new(s->what == QM_STOP && c->stopped[s->channel] ? QUEUE_CHANNEL_START
                                                                                      : whats[s->what]);
    r->entry = e != NULL ? e->id : 0;
    r->channel = channel_name(&r->mem, s->client, s->channel);
    r->host = arena_printf(&r->mem, "h%u", s->host);
    r->reason = SLICE("the model");
    r->is_warning = s->what == QM_WARN;
    r->notice_ms = s->what == QM_WARN ? time_of(s->n) + NOTICE_MS : 0;
    r->lane_session = s->client + 1;
    r->done = request_done;
    r->arg = op;
    if (s->what == QM_RESULT && result_fill(op, r, e, &err) < 0)
        op_done(op, &err, false);
    else
        queue_request_submit(op->site->queue, r);
}

void qm_op_submit(struct qm_op *op, struct queue_site *site, const struct qm *m)
{
    op->site = site;
    op->model = m;
    arena_init(&op->mem, 1024);
    if (op->step.what == QM_PUT || op->step.what == QM_PASSED || op->step.what == QM_REFUSED)
        put_submit(op);
    else
        request_submit(op);
}

void qm_op_free(struct qm_op *op)
{
    queue_request_destroy(&op->request);
    body_writer_destroy(&op->writer);
    buf_free(&op->octets);
    arena_free(&op->mem);
}

/* --- rounds ------------------------------------------------------------------------------------------------------- */

struct round {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned under_way;
    qm_mark_fn *mark;
    void *arg;
};

static void round_done(struct qm_op *op)
{
    struct round *r = op->arg;
    char line[80];

    snprintf(line, sizeof line, "A %u %u %d\n", op->step.client, op->step.n, op->happened);
    pthread_mutex_lock(&r->lock);
    if (r->mark != NULL)
        r->mark(r->arg, line);
    r->under_way--;
    pthread_cond_signal(&r->cond);
    pthread_mutex_unlock(&r->lock);
}

static uint64_t addition_id(const struct qm_op *op)
{
    return op->request != NULL && op->request->additions != NULL ? op->request->additions->id : op->id;
}

/* What happened, with the ids that the queue gave. */
static void round_apply(struct qm *m, struct qm_op *op)
{
    struct qm_client *c = &m->clients[op->step.client];

    c->answered = op->step.n;
    if (!op->happened)
        return;
    qm_apply(m, &op->step);
    for (uint32_t i = 0; i < c->count; i++)
        if (c->entries[i].n == op->step.n)
            c->entries[i].id = addition_id(op);
}

void qm_clock(const struct qm *m, struct queue_site *site)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->client_count; i++)
        n = m->clients[i].sent > n ? m->clients[i].sent : n;
    atomic_store(&site->clock.fake_wall_ms, time_of(n));
}

/* After a crash some may be a step behind: they come first, so that all of a round have the same time. */
static uint32_t round_begin(const struct qm *m, struct queue_site *site, struct round *r)
{
    uint32_t n = UINT32_MAX;

    for (uint32_t i = 0; i < m->client_count; i++)
        n = m->clients[i].sent < n ? m->clients[i].sent : n;
    for (uint32_t i = 0; i < m->client_count; i++)
        r->under_way += m->clients[i].sent == n;
    atomic_store(&site->clock.fake_wall_ms, time_of(n + 1));
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->cond, NULL);
    return n;
}

unsigned qm_round(struct qm *m, struct queue_site *site, qm_mark_fn *mark, void *arg)
{
    struct round r = { .mark = mark, .arg = arg };
    struct qm_op *ops = mem_alloc_array(m->client_count, sizeof *ops);
    uint32_t n = round_begin(m, site, &r);
    unsigned refused = 0;

    for (uint32_t i = 0; i < m->client_count; i++) {
        char line[80];

        if (m->clients[i].sent != n)
            continue;
        qm_next(m, i, &ops[i].step);
        m->clients[i].sent++;
        ops[i].done = round_done;
        ops[i].arg = &r;
        snprintf(line, sizeof line, "S %u %u\n", i, ops[i].step.n);
        pthread_mutex_lock(&r.lock);
        if (mark != NULL)
            mark(arg, line);
        pthread_mutex_unlock(&r.lock);
        qm_op_submit(&ops[i], site, m);
    }
    pthread_mutex_lock(&r.lock);
    while (r.under_way > 0)
        pthread_cond_wait(&r.cond, &r.lock);
    pthread_mutex_unlock(&r.lock);
    for (uint32_t i = 0; i < m->client_count; i++) {
        if (ops[i].site == NULL)
            continue;
        refused += !ops[i].happened && ops[i].step.what != QM_REFUSED;
        round_apply(m, &ops[i]);
        qm_op_free(&ops[i]);
    }
    mem_free(ops);
    return refused;
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

struct compare {
    struct qm *m;
    struct queue_site *site;
    const struct qm_client *c; /* the client as it is held against the queue */
    bool bodies;
    unsigned found; /* of this client */
    char why[200];  /* first difference */
};

static bool PRINTF_LIKE(2, 3) differs(struct compare *x, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (x->why[0] == 0)
        vsnprintf(x->why, sizeof x->why, fmt, ap);
    va_end(ap);
    return false;
}

static bool body_same(struct compare *x, const struct qm_entry *want, const struct queue_entry *e)
{
    struct buf have = BUF_INIT, octets = BUF_INIT;
    struct journal_view v;
    struct err err = ERR_INIT;
    bool same = true;

    if (e->view.body_bytes != want->body_bytes)
        return differs(x, "another length of the body");
    if (!x->bodies)
        return true;
    if (journal_read_begin(x->site->j, &v, &err) < 0)
        return differs(x, "%.100s", err.text);
    body_fill(&octets, x->m->seed, x->c->client, want->n, want->part, want->body_bytes);
    if (journal_body_load(x->site->j, &v, e->view.body_id, UINT32_MAX, &have, &err) < 0)
        same = differs(x, "its body cannot be read: %.100s", err.text);
    else if (!slice_eq(buf_slice(&have), buf_slice(&octets)))
        same = differs(x, "its body has other octets");
    journal_read_end(&v);
    buf_free(&have);
    buf_free(&octets);
    return same;
}

static bool entry_same(struct compare *x, const struct qm_entry *want, const struct queue_entry *e)
{
    struct arena mem;
    enum queue_state state = want->state;
    bool same;

    if (state == QUEUE_DEFERRED && want->due_ms <= clock_wall_ms(&x->site->clock))
        state = QUEUE_READY;
    arena_init(&mem, 256);
    same = slice_eq(e->channel, channel_name(&mem, x->c->client, want->channel)) &&
           slice_eq(e->host, arena_printf(&mem, "h%u", want->host));
    if (!same)
        differs(x, "%.*s is in %.*s %.*s", SLICE_ARG(e->session), SLICE_ARG(e->channel), SLICE_ARG(e->host));
    if (e->state != state || e->attempts != want->attempts || e->notices != want->notices)
        same = differs(x, "%.*s: state %d, attempts %u, notices %u instead of %d, %u, %u", SLICE_ARG(e->session),
                       (int)e->state, e->attempts, e->notices, (int)state, want->attempts, want->notices);
    if (e->due_ms != want->due_ms || e->created_ms != want->created_ms || e->notice_ms != want->notice_ms ||
        e->priority != want->priority)
        same = differs(x, "%.*s: times or priority differ (due %lld, not %lld)", SLICE_ARG(e->session),
                       (long long)e->due_ms, (long long)want->due_ms);
    if (e->rcpt_count != want->rcpt_count)
        same = differs(x, "%.*s: %u recipients", SLICE_ARG(e->session), e->rcpt_count);
    for (unsigned i = 0; same && i < want->rcpt_count; i++) {
        slice diag = want->diags[i] != 0 ? arena_printf(&mem, "step %u", want->diags[i]) : SLICE_NONE;

        if (e->rcpts[i].state != want->rcpts[i] || !slice_eq(e->rcpts[i].diag, diag) ||
            !slice_eq(e->rcpts[i].address, arena_printf(&mem, "r%u@h.example", i)))
            same = differs(x, "%.*s: recipient %u differs", SLICE_ARG(e->session), i);
    }
    arena_free(&mem);
    return same && body_same(x, want, e);
}

static bool on_entry(void *arg, const struct queue_entry *e)
{
    struct compare *x = arg;
    unsigned client, n, part;
    char session[40];

    snprintf(session, sizeof session, "%.*s", SLICE_ARG(e->session));
    if (sscanf(session, "%u.%u.%u", &client, &n, &part) != 3 || client >= x->m->client_count)
        return differs(x, "%s should not be there", session);
    if (client != x->c->client)
        return true;
    for (uint32_t i = 0; i < x->c->count; i++) {
        struct qm_entry *want = (struct qm_entry *)(uintptr_t)&x->c->entries[i];

        if (want->n != n || want->part != part)
            continue;
        want->id = e->id;
        x->found++;
        return entry_same(x, want, e);
    }
    return differs(x, "%s should not be there", session);
}

static void ledger_same(struct compare *x, json_t *ledger)
{
    for (unsigned i = 0; i < QM_CHANNELS; i++) {
        char name[20];
        json_t *one;
        uint64_t queued = 0, created;

        snprintf(name, sizeof name, "c%u_%u", x->c->client, i);
        one = json_object_get(json_object_get(ledger, "channels"), name);
        created = (uint64_t)json_get_int(one, "created", 0);
        if (created != x->c->totals[i][TOTAL_CREATED])
            differs(x, "%s: %llu created, not %llu", name, (unsigned long long)created,
                    (unsigned long long)x->c->totals[i][TOTAL_CREATED]);
        for (unsigned k = 1; k < QUEUE_TOTALS; k++)
            if ((uint64_t)json_get_int(one, queue_rcpt_state_names[k], 0) != x->c->totals[i][k])
                differs(x, "%s: another total %s", name, queue_rcpt_state_names[k]);
        for (uint32_t k = 0; k < x->c->count; k++)
            queued += x->c->entries[k].channel == i ? waiting(&x->c->entries[k]) : 0;
        if ((uint64_t)json_get_int(one, "queued", 0) != queued)
            differs(x, "%s: queued is not %llu", name, (unsigned long long)queued);
        if (queue_channel_is_stopped(x->site->queue, slice_str(name)) != x->c->stopped[i])
            differs(x, "%s: stopped or not", name);
    }
}

static bool client_same(struct compare *x)
{
    json_t *ledger = queue_ledger(x->site->queue, NULL);

    x->found = 0;
    x->why[0] = 0;
    queue_each(x->site->queue, 0, UINT32_MAX, on_entry, x);
    if (x->why[0] == 0 && x->found != x->c->count)
        differs(x, "%u entries are missing", x->c->count - x->found);
    ledger_same(x, ledger);
    json_decref(ledger);
    return x->why[0] == 0;
}

int qm_compare(struct qm *m, struct queue_site *site, bool bodies, journal_say_fn *say, void *arg)
{
    struct qm *other = mem_alloc(sizeof *other);
    struct compare x = { .m = m, .site = site, .bodies = bodies };
    int faults = 0;

    qm_clock(m, site);
    for (uint32_t i = 0; i < m->client_count; i++) {
        struct qm_client *c = &m->clients[i];
        char line[300];
        struct qm_step s;

        x.c = c;
        if (client_same(&x)) {
            c->answered = c->sent; /* what was in flight did not happen */
            continue;
        }
        snprintf(line, sizeof line, "client %u after %u steps (%u sent): %s", i, c->answered, c->sent, x.why);
        if (c->sent != c->answered) { /* or it did */
            *other = *m;
            other->clients[i].sent--;
            qm_next(other, i, &s);
            other->clients[i].sent = other->clients[i].answered = s.n;
            qm_apply(other, &s);
            x.c = &other->clients[i];
            if (client_same(&x)) {
                *c = other->clients[i];
                continue;
            }
        }
        faults++;
        say(arg, line);
        c->answered = c->sent;
    }
    mem_free(other);
    return faults;
}
