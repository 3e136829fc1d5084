/* What the threads of a site are said to do: idle, at work, for too long. The clock is moved, nobody waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "base/keys.h"
#include "base/mem.h"
#include "channel/channel.h"
#include "control/threads.h"
#include "log/txlog.h"
#include "net/dns.h"
#include "queue/scheduler.h"
#include "unit/reactor/gate.h"

struct scene {
    char dir[64];
    struct journal_conf conf;
    struct arena mem;
    struct site site;
    struct rpc_env env;
    struct gate begun, go;
    struct journal_op op;
    struct job job;
    bool is_wrong;
};

static int setup(void **state)
{
    struct scene *s = mem_alloc(sizeof *s);
    struct journal_setup js = { .dir = s->dir, .conf = &s->conf, .clock = &s->site.clock, .create = true };
    struct err err = ERR_INIT;

    snprintf(s->dir, sizeof s->dir, "%s/ph-threads-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(s->dir));
    clock_init_fake(&s->site.clock, 1000000, 1700000000000);
    arena_init(&s->mem, 1024);
    keys_default(&journal_keys, &s->conf, &s->mem);
    s->conf.segment_bytes = 262144;
    s->conf.index_map_bytes = 1073741824;
    s->site.pool = pool_new("helper", 1, 100, &err);
    if (journal_open(&s->site.journal, &js, NULL, &err) < 0)
        fail_msg("%s", err.text);
    s->env.site = &s->site;
    s->env.reactor = reactor_new("main", &s->site.clock, &err);
    gate_init(&s->begun);
    gate_init(&s->go);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    char command[128];

    journal_close(&s->site.journal);
    pool_destroy(&s->site.pool);
    reactor_destroy(&s->env.reactor);
    gate_free(&s->begun);
    gate_free(&s->go);
    arena_free(&s->mem);
    snprintf(command, sizeof command, "rm -rf %s", s->dir);
    assert_int_equal(system(command), 0);
    mem_free(s);
    return 0;
}

static void row_note(void *arg, const struct thread_row *row)
{
    buf_printf(arg, "%s %s %lld\n", row->name, row->state, (long long)row->ago_ms);
}

/* The rows, after the clock was moved by ms. */
static void rows_are(struct scene *s, int64_t ms, const char *expected)
{
    struct buf rows = BUF_INIT;

    threads_each(&s->env, clock_mono_ms(&s->site.clock) + ms, row_note, &rows);
    if (!slice_eq(buf_slice(&rows), slice_str(expected))) {
        print_error("%s instead of\n%s", buf_str(&rows), expected);
        s->is_wrong = true; /* no jump now: a helper waits */
    }
    buf_free(&rows);
}

static int op_run(struct journal_tx *tx UNUSED, struct journal_op *op, struct err *err UNUSED)
{
    struct scene *s = CONTAINER_OF(op, struct scene, op);

    gate_add(&s->begun, 1);
    gate_wait(&s->go, 1);
    return 0;
}

static void op_done(struct journal_op *op)
{
    gate_add(&CONTAINER_OF(op, struct scene, op)->begun, 1);
}

static void job_run(struct job *job)
{
    struct scene *s = CONTAINER_OF(job, struct scene, job);

    gate_add(&s->begun, 1);
    gate_wait(&s->go, 1);
}

static void job_done(struct job *job UNUSED)
{
}

static bool turns(struct scene *s, int64_t ms)
{
    return threads_turn(&s->env, clock_mono_ms(&s->site.clock) + ms);
}

static void threads__a_loop_that_does_not_turn_is_stuck(void **state)
{
    struct scene *s = *state;

    assert_true(turns(s, LOOP_STUCK_MS));
    assert_false(turns(s, LOOP_STUCK_MS + 1));
    clock_fake_advance(&s->site.clock, LOOP_STUCK_MS + 1);
    while (reactor_turn(s->env.reactor))
        ;
    assert_true(turns(s, 0));
}

static void threads__a_committer_that_does_not_come_back_is_stuck(void **state)
{
    struct scene *s = *state;

    s->env.reactor = (reactor_destroy(&s->env.reactor), NULL);
    assert_true(turns(s, 10 * COMMITTER_STUCK_MS)); /* it waits for work */
    s->op = (struct journal_op){ .run = op_run, .done = op_done, .cost = 1, .lane = LANE_RECEPTION };
    assert_true(journal_submit(s->site.journal, &s->op));
    gate_wait(&s->begun, 1);
    assert_true(turns(s, COMMITTER_STUCK_MS));
    assert_false(turns(s, COMMITTER_STUCK_MS + 1));
    gate_add(&s->go, 1);
    gate_wait(&s->begun, 2);
}

static void threads__a_helper_may_take_long_if_its_job_says_so(void **state)
{
    struct scene *s = *state;

    s->env.reactor = (reactor_destroy(&s->env.reactor), NULL);
    for (unsigned is_long = 0; is_long < 2; is_long++) {
        s->job = (struct job){ .run = job_run, .done = job_done, .is_long = is_long == 1 };
        gate_free(&s->go);
        gate_init(&s->go);
        assert_true(pool_submit(s->site.pool, &s->job));
        gate_wait(&s->begun, is_long + 1);
        struct pool_helper h;
        pool_helper(s->site.pool, 0, &h);
        const int64_t began_ms = h.turned_ms; /* by the real clock: a job without a reactor */
        assert_true(threads_turn(&s->env, began_ms + HELPER_STUCK_MS));
        assert_int_equal(threads_turn(&s->env, began_ms + HELPER_STUCK_MS + 1), is_long == 1);
        gate_add(&s->go, 1);
        pool_drain(s->site.pool);
    }
}

static void threads__rows(void **state)
{
    struct scene *s = *state;

    s->job = (struct job){ .run = job_run, .done = job_done, .reactor = s->env.reactor };
    assert_true(pool_submit(s->site.pool, &s->job));
    gate_wait(&s->begun, 1);
    rows_are(s, 5, "main turns 5\ncommitter waits 5\nhelper/0 works 5\n");
    rows_are(s, LOOP_STUCK_MS, "main turns 30000\ncommitter waits 30000\nhelper/0 works 30000\n");
    rows_are(s, LOOP_STUCK_MS + 1, "main stuck 30001\ncommitter waits 30001\nhelper/0 works 30001\n");
    gate_add(&s->go, 1);
    pool_drain(s->site.pool);
    rows_are(s, 3, "main turns 3\ncommitter waits 3\nhelper/0 waits 3\n");
    assert_false(s->is_wrong);
}

/* The threads of the queue's machinery, on a clock of their own. The scheduler's loop is turned by nobody. */
struct queue_scene {
    struct clock clock;
    struct conf_set set;
    struct dns_conf dns_conf;
    struct log_conf log_conf;
    struct queue *queue;
    struct reactor *loop;
};

static void queue_begin(struct scene *s, struct queue_scene *q, bool is_real)
{
    struct channel_setup channels = { .clock = &q->clock };
    struct scheduler_setup scheduler = { .clock = &q->clock };
    struct err err = ERR_INIT;

    *q = (struct queue_scene){ 0 };
    if (is_real)
        clock_init_real(&q->clock);
    else
        clock_init_fake(&q->clock, clock_mono_ms(&s->site.clock), 1700000000000);
    snap_init(&q->set.snap, NULL);
    keys_default(&dns_keys, &q->dns_conf, &s->mem);
    keys_default(&log_keys, &q->log_conf, &s->mem);
    q->set.section[CONF_DNS] = &q->dns_conf;
    assert_int_equal(queue_new(&q->queue, &q->clock, &err), 0);
    q->loop = is_real ? NULL : reactor_new("scheduler", &q->clock, &err);
    scheduler.queue = q->queue;
    scheduler.reactor = q->loop;
    assert_int_equal(scheduler_new(&s->env.scheduler, &scheduler, &err), 0);
    assert_int_equal(channel_service_new(&s->env.channels, &channels, &err), 0);
    assert_int_equal(dns_new(&s->env.dns, &q->clock, &q->set, &err), 0);
    assert_int_equal(txlog_open(&s->env.log, s->dir, &q->clock, &q->log_conf, &err), 0);
}

static void queue_end(struct scene *s, struct queue_scene *q)
{
    txlog_close(&s->env.log);
    dns_destroy(&s->env.dns);
    channel_service_stop(s->env.channels);
    scheduler_stop(s->env.scheduler);
    scheduler_destroy(&s->env.scheduler);
    channel_service_destroy(&s->env.channels);
    reactor_destroy(&q->loop);
    queue_destroy(&q->queue);
}

static void threads__those_of_the_queue(void **state)
{
    struct scene *s = *state;
    struct queue_scene q;
    int64_t since_ms;

    s->job = (struct job){ .run = job_run, .done = job_done, .reactor = s->env.reactor };
    gate_add(&s->go, 1);
    assert_true(pool_submit(s->site.pool, &s->job)); /* so that the helper has turned, by this clock */
    pool_drain(s->site.pool);
    queue_begin(s, &q, false);
    while (txlog_writer(s->env.log, &since_ms)) /* it begins with a look around */
        sched_yield();
    rows_are(s, LOOP_STUCK_MS, "main turns 30000\nscheduler turns 30000\nchannel turns 30000\ndns turns 30000\n"
                               "log waits 30000\ncommitter waits 30000\nhelper/0 waits 30000\n");
    rows_are(s, LOOP_STUCK_MS + 1, "main stuck 30001\nscheduler stuck 30001\nchannel stuck 30001\ndns stuck 30001\n"
                                   "log waits 30001\ncommitter waits 30001\nhelper/0 waits 30001\n");
    queue_end(s, &q);
    assert_false(s->is_wrong);
}

/* Each beats by itself: within seconds, with nothing to do. */
static void threads__those_of_the_queue_turn(void **state)
{
    struct scene *s = *state;
    struct queue_scene q;
    const struct reactor *loops[3];

    queue_begin(s, &q, true);
    loops[0] = scheduler_reactor(s->env.scheduler);
    loops[1] = channel_service_reactor(s->env.channels);
    loops[2] = dns_reactor(s->env.dns);
    for (unsigned i = 0; i < ARRAY_LEN(loops); i++) {
        const int64_t began_ms = clock_mono_ms(&q.clock);

        while (reactor_last_turn_ms(loops[i]) <= began_ms)
            if (clock_mono_ms(&q.clock) > began_ms + 20000)
                fail_msg("%s does not turn", reactor_name(loops[i]));
            else
                nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    queue_end(s, &q);
}

#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(threads__a_loop_that_does_not_turn_is_stuck),
        SCENE_TEST(threads__a_committer_that_does_not_come_back_is_stuck),
        SCENE_TEST(threads__a_helper_may_take_long_if_its_job_says_so),
        SCENE_TEST(threads__rows),
        SCENE_TEST(threads__those_of_the_queue),
        SCENE_TEST(threads__those_of_the_queue_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
