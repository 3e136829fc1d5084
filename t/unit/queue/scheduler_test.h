/* scheduler_test.h - a scheduler that the test drives, and a channel type that does what it is told.
 *
 * Model:    the reactor is turned by the test, the clock moves when the test says so; only the journal has a thread of
 *           its own, for which test_quiet waits. Every start of a job and every entry tried is written down in `tried`.
 */
#ifndef T_SCHEDULER_TEST_H
#define T_SCHEDULER_TEST_H

#include <sched.h>

#include "queue/scheduler_internal.h"
#include "queue_test.h"

#define MINUTE INT64_C(60000)
#define TRIED_MAX 5000

enum fake_does {
    DOES_OK,      /* relays */
    DOES_DEFER,   /* 450 to all */
    DOES_REFUSE,  /* 550 to all */
    DOES_NOTHING, /* hangs: the job waits for the test */
    DOES_UNREACHABLE,
    DOES_LIMITED,
    DOES_NOT_TRY,   /* puts all back */
    DOES_NOT_TRY_5, /* comes again after 5 s, without an attempt */
    DOES_HALF,      /* the first recipient relayed, the others deferred */
    DOES_STOP,      /* ends without a result */
};

struct fake_rule { /* the first that fits; host NULL: any */
    const char *host;
    enum fake_does does;
};

struct tried {
    int64_t at_ms; /* wall, behind NOW */
    uint64_t id, job;
    char host[40];
};

struct fake_job {
    struct list link;
    struct sched_test *t;
    struct channel_job *job;
    struct post post;
    enum fake_does does;
    unsigned more_max;
};

struct sched_test {
    struct test q;
    struct reactor *reactor;
    struct scheduler *s;
    struct channel_type types[3];
    struct channel_binding bindings[3];
    struct fake_rule rules[8];
    struct tried tried[TRIED_MAX];
    unsigned tried_count, starts, ends;
    struct list jobs; /* struct fake_job: those that hang */
    unsigned done[QUEUE_TEMP + 1];
    int (*deliver)(struct journal_tx *tx, struct queue_request *r, struct err *err);
    bool is_silent; /* no note in `tried` */
    struct txlog *log;
};

static inline enum fake_does fake_rule_of(const struct sched_test *t, slice host)
{
    for (unsigned i = 0; i < ARRAY_LEN(t->rules); i++)
        if (t->rules[i].host == NULL || slice_eq(slice_str(t->rules[i].host), host))
            return t->rules[i].does;
    return DOES_OK;
}

static inline void fake_done(void *arg, enum queue_result result)
{
    struct sched_test *t = arg;

    t->done[result]++;
}

static inline void fake_note(struct fake_job *f, uint64_t id)
{
    struct sched_test *t = f->t;
    struct tried *n = &t->tried[t->tried_count];

    if (t->is_silent)
        return;
    assert_true(t->tried_count < TRIED_MAX);
    n->at_ms = clock_wall_ms(&t->q.site.clock) - NOW;
    n->id = id;
    n->job = f->job->id;
    snprintf(n->host, sizeof n->host, "%.*s", SLICE_ARG(f->job->host));
    t->tried_count++;
}

static inline void fake_try(struct fake_job *f, uint64_t id, enum fake_does does)
{
    struct sched_test *t = f->t;
    struct queue_outcome outcomes[64];
    struct job_result r = { .entry = id, .outcomes = outcomes, .done = fake_done, .arg = t,
                            .where = SLICE("mx.test [192.0.2.1]:25"), .modifiers = SLICE("EQ"),
                            .transport = SLICE("TCP|192.0.2.9|4000|192.0.2.1|25"),
                            .application = SLICE("SMTP/a.example/mx.test"), .deliver = t->deliver };
    struct queue_entry e;

    fake_note(f, id);
    r.not_tried = does == DOES_NOT_TRY || does == DOES_NOT_TRY_5;
    r.retry_ms = does == DOES_NOT_TRY_5 ? 5000 : 0;
    if (!queue_entry_get(t->q.site.queue, NULL, id, &t->q.mem, &e))
        r.not_tried = true;
    for (unsigned i = 0; !r.not_tried && i < e.rcpt_count; i++) {
        unsigned state = does == DOES_OK || (does == DOES_HALF && i == 0) ? RCPT_RELAYED
                         : does == DOES_REFUSE                            ? RCPT_FAILED
                                                                          : RCPT_WAITING;

        if (e.rcpts[i].state != RCPT_WAITING)
            continue;
        outcomes[r.outcome_count++] =
            (struct queue_outcome){ .rcpt = i, .state = (uint8_t)state,
                                    .status = state == RCPT_RELAYED ? SLICE("2.0.0") : SLICE("4.2.0"),
                                    .diag = state == RCPT_RELAYED ? SLICE("smtp;250 ok") : SLICE("smtp;450 later") };
    }
    job_result(f->job, &r);
}

static inline void fake_end(struct fake_job *f, enum job_verdict v)
{
    bool is_bad = v == JOB_UNREACHABLE || v == JOB_LIMITED;

    f->t->ends++;
    job_end(f->job, v, is_bad ? SLICE("4.4.1") : SLICE_NONE, is_bad ? SLICE("connection refused") : SLICE_NONE);
    list_remove(&f->link);
    mem_free(f);
}

static inline void fake_run(struct fake_job *f, enum fake_does does);

static inline void fake_more(void *arg, unsigned count)
{
    struct fake_job *f = arg;

    if (count == 0)
        fake_end(f, JOB_OK);
    else
        fake_run(f, fake_rule_of(f->t, f->job->host));
}

static inline void fake_run(struct fake_job *f, enum fake_does does)
{
    struct sched_test *t = f->t;
    unsigned n = f->job->entry_count;

    if (does == DOES_UNREACHABLE || does == DOES_LIMITED) {
        fake_note(f, f->job->entries[0].id);
        fake_end(f, does == DOES_LIMITED ? JOB_LIMITED : JOB_UNREACHABLE);
        return;
    }
    if (does == DOES_STOP) {
        fake_note(f, f->job->entries[0].id);
        fake_end(f, JOB_OK);
        return;
    }
    if (does == DOES_NOTHING) {
        for (unsigned i = 0; i < n; i++)
            fake_note(f, f->job->entries[i].id);
        list_push_back(&t->jobs, &f->link);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        fake_try(f, f->job->entries[i].id, does);
    if (does == DOES_NOT_TRY || does == DOES_NOT_TRY_5)
        fake_end(f, JOB_OK);
    else
        job_more(f->job, f->more_max, t->reactor, fake_more, f);
}

static inline void fake_begin(struct post *p)
{
    struct fake_job *f = CONTAINER_OF(p, struct fake_job, post);

    fake_run(f, f->does);
}

static inline void fake_start(void *context, struct channel_job *job)
{
    struct sched_test *t = context;
    struct fake_job *f = mem_alloc(sizeof *f);

    t->starts++;
    f->t = t;
    f->job = job;
    f->more_max = 10;
    f->does = fake_rule_of(t, job->host);
    list_init(&f->link);
    reactor_post(t->reactor, &f->post, fake_begin);
}

/* Until nothing moves any more. */
static inline void test_quiet(struct sched_test *t)
{
    for (unsigned i = 0; i < 2000000; i++) {
        bool moved = false;

        while (reactor_turn(t->reactor))
            moved = true;
        if (!moved && (t->s == NULL || atomic_load(&t->s->inflight) == 0 || !list_is_empty(&t->s->refused)))
            return;
        sched_yield();
    }
    fail_msg("it does not come to rest");
}

static inline void test_pass(struct sched_test *t, int64_t ms)
{
    clock_fake_advance(&t->q.site.clock, ms);
    reactor_kick(t->reactor);
    test_quiet(t);
}

static inline void sched_open(struct sched_test *t, const char *channels)
{
    struct scheduler_setup setup = { .types = t->bindings, .type_count = ARRAY_LEN(t->bindings) };
    struct err err = ERR_INIT;

    t->q.setup.channels = channels;
    test_open(&t->q);
    t->reactor = reactor_new("test", &t->q.site.clock, &err);
    setup.queue = t->q.site.queue;
    setup.journal = t->q.site.j;
    setup.clock = &t->q.site.clock;
    setup.conf = t->q.site.queue->conf;
    setup.reactor = t->reactor;
    setup.log = t->log;
    assert_int_equal(scheduler_new(&t->s, &setup, &err), 0);
    test_quiet(t);
}

static inline void fake_let_go(struct sched_test *t, enum job_verdict v)
{
    while (!list_is_empty(&t->jobs))
        fake_end(LIST_ENTRY(t->jobs.next, struct fake_job, link), v);
}

static inline void sched_close(struct sched_test *t)
{
    if (t->s == NULL)
        return;
    scheduler_stop(t->s);
    fake_let_go(t, JOB_STOPPED);
    test_quiet(t);
    journal_close(&t->q.site.j);
    scheduler_destroy(&t->s);
    reactor_destroy(&t->reactor);
    queue_site_close(&t->q.site);
}

static inline int sched_setup(void **state)
{
    static const char *const names[] = { "smtp", "store", "hold" };
    struct sched_test *t = mem_alloc(sizeof *t);

    diag_set_level(DIAG_ERROR);
    arena_init(&t->q.mem, 1024);
    snprintf(t->q.dir, sizeof t->q.dir, "/tmp/posthouse-sched-XXXXXX");
    assert_non_null(mkdtemp(t->q.dir));
    list_init(&t->jobs);
    for (unsigned i = 0; i < 3; i++) {
        t->types[i] = (struct channel_type){ .name = names[i], .start = fake_start };
        t->bindings[i] = (struct channel_binding){ &t->types[i], t };
    }
    t->types[1].one_job_per_host = true;
    t->types[2].needs_no_host = true;
    *state = t;
    return 0;
}

static inline int sched_teardown(void **state)
{
    struct sched_test *t = *state;
    void *q = &t->q;

    sched_close(t);
    return test_teardown(&q); /* frees t: q is its first member */
}

static inline void test_rule(struct sched_test *t, enum fake_does does)
{
    memset(t->rules, 0, sizeof t->rules);
    t->rules[0].does = does;
}

/* n entries in one operation, for hosts that `host` prints with their number ("h%u"), each from `sender`. */
struct many_op {
    struct journal_op op;
    struct sched_test *t;
    const char *host, *sender;
    unsigned n, base;
    enum queue_priority priority;
    uint64_t first;
};

static inline int many_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct many_op *m = CONTAINER_OF(op, struct many_op, op);

    for (unsigned i = 0; i < m->n; i++) {
        struct queue_rcpt rcpt = { .address = SLICE("r@a.example") };
        struct queue_entry e = { .channel = SLICE("tcp_local"), .sender = slice_str(m->sender), .rcpts = &rcpt,
                                 .rcpt_count = 1, .priority = m->priority };
        char host[64];
        uint64_t id;

        snprintf(host, sizeof host, m->host, m->base + i);
        e.host = slice_str(host);
        e.view = (struct body_view){ .body_id = journal_emit_octets(tx, SLICE("x\r\n")), .body_bytes = 3 };
        id = queue_emit_enqueue(m->t->q.site.queue, tx, &e, err);
        if (id == 0)
            return -1;
        m->first = m->first == 0 ? id : m->first;
    }
    return 0;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static inline uint64_t test_many(struct sched_test *t, const char *host, unsigned n, const char *sender)
{
    struct many_op m = { .op = { .run = many_run, .session = 1, .cost = 1, .lane = LANE_RECEPTION, .bytes = 4096 },
                         .t = t, .host = host, .sender = sender, .priority = QUEUE_NORMAL };
    uint64_t first = 0;

    while (n > 0) { /* an operation's size has a limit */
        struct err err = ERR_INIT;

        m.n = n < 20 ? n : 20;
        m.op.bytes = 20 * 700;
        m.first = 0;
        if (journal_run(t->q.site.j, &m.op, &err) < 0)
            fail_msg("many: %s", err.text);
        first = first == 0 ? m.first : first;
        n -= m.n;
        m.base += m.n;
    }
    return first;
}
#pragma GCC diagnostic pop

#endif
