/* What the threads of a site are said to do: idle, at work, for too long. The clock is moved, nobody waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/keys.h"
#include "base/mem.h"
#include "control/threads.h"
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

#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(threads__a_loop_that_does_not_turn_is_stuck),
        SCENE_TEST(threads__a_committer_that_does_not_come_back_is_stuck),
        SCENE_TEST(threads__a_helper_may_take_long_if_its_job_says_so),
        SCENE_TEST(threads__rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
