/* scheduler_threads.c - the scheduler on a thread of its own, workers on another, the journal on its: nothing is lost,
 * nothing is tried twice, and a stop ends.
 *
 * What the worker does with an entry is drawn from a seed; the clock goes faster than the real one.
 */
#include "scheduler_test.h"

#include "base/random.h"

#define ENTRIES 2000u

struct worker {
    struct reactor *reactor;
    struct thread thread;
    struct rng rng; /* owner: worker's thread */
    struct queue *queue;
    _Atomic unsigned tried, done, twice;
    struct idmap under_way; /* owner: worker's thread */
};

struct work {
    struct post post;
    struct worker *w;
    struct channel_job *job;
};

static void *worker_main(void *arg)
{
    reactor_run(((struct worker *)arg)->reactor);
    return NULL;
}

static void on_recorded(void *arg, enum queue_result result)
{
    struct worker *w = arg;

    (void)result;
    atomic_fetch_add(&w->done, 1);
}

static void entry_try(struct work *k, uint64_t id)
{
    struct worker *w = k->w;
    struct queue_outcome o = { .state = RCPT_RELAYED, .status = SLICE("2.0.0") };
    struct job_result r = { .entry = id, .outcomes = &o, .outcome_count = 1, .done = on_recorded, .arg = w };
    uint64_t draw = rng_below(&w->rng, 100);

    atomic_fetch_add(&w->tried, 1);
    if (draw < 5)
        r.not_tried = true;
    else if (draw < 10)
        r.not_tried = true, r.retry_ms = 5;
    else if (draw < 20)
        o.state = RCPT_FAILED;
    else if (draw < 25)
        o.state = RCPT_WAITING;
    /* Relayed ones are final: seeing one again is a second sending. */
    if (!r.not_tried && o.state == RCPT_RELAYED && idmap_put(&w->under_way, id, w) != NULL)
        atomic_fetch_add(&w->twice, 1);
    job_result(k->job, &r);
}

static void on_more(void *arg, unsigned count);

static void entries_try(struct work *k)
{
    unsigned n = k->job->entry_count;
    bool stops = rng_below(&k->w->rng, 20) == 0;

    for (unsigned i = 0; i < n; i++)
        if (!stops || i < n / 2)
            entry_try(k, k->job->entries[i].id);
    if (!stops) {
        job_more(k->job, 7, k->w->reactor, on_more, k);
        return;
    }
    job_end(k->job, rng_below(&k->w->rng, 2) == 0 ? JOB_OK : JOB_LIMITED, SLICE("4.3.2"), SLICE("421 busy"));
    mem_free(k);
}

static void on_more(void *arg, unsigned count)
{
    struct work *k = arg;

    if (count != 0) {
        entries_try(k);
        return;
    }
    job_end(k->job, JOB_OK, SLICE_NONE, SLICE_NONE);
    mem_free(k);
}

static void on_work(struct post *p)
{
    entries_try(CONTAINER_OF(p, struct work, post));
}

static void worker_start(void *context, struct channel_job *job)
{
    struct work *k = mem_alloc(sizeof *k);

    k->w = context;
    k->job = job;
    reactor_post(k->w->reactor, &k->post, on_work);
}

static void row_count(void *arg, const struct dest_row *row)
{
    *(unsigned *)arg += row->waiting + row->active + row->deferred <= ENTRIES;
}

static void threads__nothing_is_lost_or_sent_twice(void **state)
{
    static const struct channel_type type = { .name = "smtp", .start = worker_start };
    struct sched_test *t = *state;
    struct worker w = { .queue = NULL };
    struct channel_binding binding = { &type, &w };
    struct scheduler_setup setup = { .types = &binding, .type_count = 1, .stop_grace_ms = 5000 };
    struct err err = ERR_INIT;
    unsigned rows = 0;

    rng_init(&w.rng, 7);
    idmap_init(&w.under_way);
    t->q.setup.channels = "{\"tcp_local\": {\"backoff\": [\"PT1S\"], \"threaddepth\": 3}}";
    test_open(&t->q);
    w.reactor = reactor_new("worker", &t->q.site.clock, &err);
    assert_int_equal(thread_start(&w.thread, "worker", 0, worker_main, &w, &err), 0);
    setup.queue = t->q.site.queue;
    setup.journal = t->q.site.j;
    setup.helpers = t->q.site.pool;
    setup.clock = &t->q.site.clock;
    setup.conf = t->q.site.queue->conf;
    assert_int_equal(scheduler_new(&t->s, &setup, &err), 0);
    test_many(t, "d%u.example", ENTRIES / 2, "s@x.example");
    test_many(t, "one.example", ENTRIES / 2, "s@x.example");
    for (unsigned i = 0; i < 3000; i++) {
        if (test_total(&t->q, NULL, "queued") == 0)
            break;
        if (i % 50 == 0) {
            assert_int_equal(scheduler_dests(t->s, row_count, &rows), 0);
            scheduler_run(t->s, SLICE("tcp_local"), SLICE_NONE);
            scheduler_reload(t->s, t->q.site.queue->conf);
        }
        clock_fake_advance(&t->q.site.clock, 100);
        reactor_kick(t->s->reactor);
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    assert_int_equal(test_total(&t->q, NULL, "queued"), 0);
    assert_int_equal(test_total(&t->q, NULL, "created"), ENTRIES);
    scheduler_stop(t->s);
    assert_int_equal(atomic_load(&t->s->job_count), 0);
    assert_int_equal(atomic_load(&w.tried), atomic_load(&w.done));
    assert_int_equal(atomic_load(&w.twice), 0);
    test_sound(&t->q);
    reactor_stop(w.reactor);
    thread_join(&w.thread);
    journal_close(&t->q.site.j);
    scheduler_destroy(&t->s);
    reactor_destroy(&w.reactor);
    idmap_free(&w.under_way);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(threads__nothing_is_lost_or_sent_twice, sched_setup, sched_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
