#include "reactor/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gate.h"
#include "reactor/thread.h"

#define MANY_JOBS 20000u
#define MANY_THREADS 4u

/* One job of a test, and what was seen of it. */
struct work {
    struct job job;
    struct gate *begun, *go; /* NULL: does not wait */
    struct scene *scene;
    pthread_t ran_on, done_on;
    unsigned runs, dones;
    unsigned nth; /* its place among all that ran */
};

struct scene {
    struct clock clock;
    struct reactor *reactor;
    struct gate begun, go;
    struct gate ran;
    unsigned dones; /* owner: reactor */
    unsigned dones_wanted;
};

static void work_run(struct job *job)
{
    struct work *w = (struct work *)(void *)job;

    if (w->begun != NULL)
        gate_add(w->begun, 1);
    if (w->go != NULL)
        gate_wait(w->go, 1);
    w->ran_on = pthread_self();
    w->runs++;
    gate_add(&w->scene->ran, 1);
    w->nth = gate_count(&w->scene->ran); /* exact when one helper runs all */
}

static void work_done(struct job *job)
{
    struct work *w = (struct work *)(void *)job;
    struct scene *s = w->scene;

    w->done_on = pthread_self();
    w->dones++;
    if (job->reactor != NULL && ++s->dones == s->dones_wanted)
        reactor_stop(s->reactor);
}

static void work_init(struct work *w, struct scene *s)
{
    *w = (struct work){ .job = { .run = work_run, .done = work_done, .reactor = s->reactor }, .scene = s };
}

static void work_init_gated(struct work *w, struct scene *s)
{
    work_init(w, s);
    w->begun = &s->begun;
    w->go = &s->go;
}

static int scene_setup(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    struct err err;

    if (s == NULL)
        return -1;
    clock_init_fake(&s->clock, 1000, 1000);
    gate_init(&s->begun);
    gate_init(&s->go);
    gate_init(&s->ran);
    s->reactor = reactor_new("test", &s->clock, &err);
    *state = s;
    return s->reactor != NULL ? 0 : -1;
}

static int scene_teardown(void **state)
{
    struct scene *s = *state;

    reactor_destroy(&s->reactor);
    gate_free(&s->begun);
    gate_free(&s->go);
    gate_free(&s->ran);
    free(s);
    return 0;
}

/* Call what the pool has answered, until n are done. */
static void run_until_done(struct scene *s, unsigned n)
{
    s->dones_wanted = n;
    if (s->dones < n)
        reactor_run(s->reactor);
    assert_int_equal(s->dones, n);
}

static void *reactor_main(void *arg)
{
    reactor_run(arg);
    return NULL;
}

static void pool_submit__answers_on_the_reactor(void **state)
{
    struct scene *s = *state;
    struct pool *p = pool_new("test", 1, 10, NULL);
    struct thread t;
    struct work w;

    work_init(&w, s);
    s->dones_wanted = 1;
    assert_true(pool_submit(p, &w.job));
    assert_int_equal(thread_start(&t, "loop", 0, reactor_main, s->reactor, NULL), 0);
    const pthread_t loop = t.id;
    thread_join(&t);
    pool_destroy(&p);
    assert_null(p);
    assert_int_equal(w.runs, 1);
    assert_int_equal(w.dones, 1);
    assert_true(pthread_equal(w.done_on, loop));
    assert_false(pthread_equal(w.ran_on, loop));
    assert_false(pthread_equal(w.ran_on, pthread_self()));
}

static void pool_submit__without_reactor_is_done_on_the_helper(void **state)
{
    struct pool *p = pool_new("test", 1, 10, NULL);
    struct work w;

    work_init(&w, *state);
    w.job.reactor = NULL;
    assert_true(pool_submit(p, &w.job));
    pool_destroy(&p);
    assert_int_equal(w.dones, 1);
    assert_true(pthread_equal(w.done_on, w.ran_on));
    assert_false(pthread_equal(w.done_on, pthread_self()));
}

static void pool_submit__runs_every_job_once(void **state)
{
    struct scene *s = *state;
    struct pool *p = pool_new("test", MANY_THREADS, MANY_JOBS, NULL);
    struct work *w = calloc(MANY_JOBS, sizeof *w);

    assert_non_null(w);
    for (unsigned i = 0; i < MANY_JOBS; i++) {
        work_init(&w[i], s);
        assert_true(pool_submit(p, &w[i].job));
    }
    run_until_done(s, MANY_JOBS);
    assert_int_equal(pool_waiting(p), 0);
    pool_destroy(&p);
    for (unsigned i = 0; i < MANY_JOBS; i++)
        if (w[i].runs != 1 || w[i].dones != 1)
            fail_msg("job %u: %u, %u", i, w[i].runs, w[i].dones);
    free(w);
}

static void pool_submit__full_refuses(void **state)
{
    struct scene *s = *state;
    struct pool *p = pool_new("test", 1, 2, NULL);
    struct work w[4];

    for (size_t i = 0; i < ARRAY_LEN(w); i++)
        work_init_gated(&w[i], s);
    assert_true(pool_submit(p, &w[0].job));
    gate_wait(&s->begun, 1); /* it runs, so it waits no more */
    assert_int_equal(pool_waiting(p), 0);
    assert_true(pool_submit(p, &w[1].job));
    assert_true(pool_submit(p, &w[2].job));
    assert_int_equal(pool_waiting(p), 2);
    assert_false(pool_submit(p, &w[3].job));
    assert_false(pool_submit(p, &w[3].job));
    assert_int_equal(pool_waiting(p), 2);
    gate_add(&s->go, 1);
    run_until_done(s, 3);
    assert_int_equal(w[3].runs, 0);
    assert_true(pool_submit(p, &w[3].job)); /* the refused one can come again */
    run_until_done(s, 4);
    for (unsigned i = 0; i < ARRAY_LEN(w); i++)
        assert_int_equal(w[i].nth, i + 1); /* one helper: in order of submission */
    pool_destroy(&p);
}

static void pool_submit__uses_all_helpers(void **state)
{
    struct scene *s = *state;
    struct pool *p = pool_new("test", 3, 10, NULL);
    struct work w[3];

    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        work_init_gated(&w[i], s);
        assert_true(pool_submit(p, &w[i].job));
    }
    gate_wait(&s->begun, 3); /* all at the same time: none goes on before the gate opens */
    gate_add(&s->go, 1);
    run_until_done(s, 3);
    pool_destroy(&p);
}

struct again {
    struct job job;
    struct pool *pool;
    unsigned runs, left;
    bool is_refused;
};

static void again_run(struct job *job)
{
    ((struct again *)(void *)job)->runs++;
}

static void again_done(struct job *job)
{
    struct again *a = (struct again *)(void *)job;

    if (a->left > 0 && --a->left == 0)
        reactor_stop(job->reactor);
    else if (!pool_submit(a->pool, job))
        a->is_refused = true;
}

static void pool_submit__from_done(void **state)
{
    struct scene *s = *state;
    struct pool *p = pool_new("test", 2, 1, NULL);
    struct again a = {
        .job = { .run = again_run, .done = again_done, .reactor = s->reactor }, .pool = p, .left = 1000
    };

    assert_true(pool_submit(p, &a.job));
    reactor_run(s->reactor);
    pool_destroy(&p);
    assert_int_equal(a.runs, 1000);
    assert_false(a.is_refused);
}

/* A job that submits itself again for ever ends with its pool. */
static void pool_destroy__refuses_new_jobs(void **state)
{
    struct pool *p = pool_new("test", 2, 10, NULL);
    struct again a = { .job = { .run = again_run, .done = again_done }, .pool = p };

    (void)state;
    assert_true(pool_submit(p, &a.job));
    pool_destroy(&p);
    assert_true(a.is_refused);
    assert_true(a.runs >= 1);
}

static void pool_destroy__runs_what_is_queued(void **state)
{
    struct scene *s = *state;
    struct pool *p = pool_new("test", 2, 100, NULL);
    struct work w[100];

    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        work_init(&w[i], s);
        assert_true(pool_submit(p, &w[i].job));
    }
    pool_destroy(&p);
    assert_int_equal(gate_count(&s->ran), ARRAY_LEN(w));
    assert_int_equal(s->dones, 0); /* posted, not yet called */
    reactor_destroy(&s->reactor);
    assert_int_equal(s->dones, ARRAY_LEN(w));
    pool_destroy(&p); /* NULL */
}

static void pool_drain__waits_for_what_waits_and_runs(void **state)
{
    struct scene *s = *state;
    struct err err = ERR_INIT;
    struct pool *p = pool_new("drain", 2, 100, &err);
    struct work w[20];

    pool_drain(p); /* nothing to wait for */
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
            work_init(&w[i], s);
            w[i].job.reactor = NULL;
            assert_true(pool_submit(p, &w[i].job));
        }
        pool_drain(p);
        for (unsigned i = 0; i < ARRAY_LEN(w); i++)
            assert_int_equal(w[i].dones, 1);
    }
    pool_destroy(&p);
}

static void pool_helper__says_what_runs_and_since_when(void **state)
{
    struct scene *s = *state;
    struct pool *p = pool_new("test", 2, 10, NULL);
    struct pool_helper seen[2];
    struct work w[2];

    assert_int_equal(pool_helpers(p), 2);
    for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
        work_init_gated(&w[i], s);
        w[i].job.is_long = i == 1;
        assert_true(pool_submit(p, &w[i].job));
        gate_wait(&s->begun, i + 1);
        clock_fake_advance(&s->clock, 700);
    }
    for (unsigned i = 0; i < ARRAY_LEN(seen); i++)
        pool_helper(p, i, &seen[i]);
    assert_string_equal(seen[0].name, "test/0");
    assert_string_equal(seen[1].name, "test/1");
    const unsigned first = seen[0].is_long ? 1 : 0; /* which of them got the first job */
    assert_true(seen[first].is_running && !seen[first].is_long);
    assert_true(seen[1 - first].is_running && seen[1 - first].is_long);
    assert_int_equal(clock_mono_ms(&s->clock) - seen[first].turned_ms, 1400);
    assert_int_equal(clock_mono_ms(&s->clock) - seen[1 - first].turned_ms, 700);
    gate_add(&s->go, 1);
    run_until_done(s, 2);
    for (unsigned i = 0; i < ARRAY_LEN(seen); i++) {
        pool_helper(p, i, &seen[i]);
        assert_false(seen[i].is_running);
        assert_int_equal(seen[i].turned_ms, clock_mono_ms(&s->clock)); /* their jobs' ends */
    }
    pool_destroy(&p);
}

static void pool_new__checks_its_range(void **state)
{
    static const struct {
        unsigned threads, queue_max;
    } rows[] = { { 0, 10 }, { POOL_THREADS_MAX + 1, 10 }, { 1, 0 }, { 1, POOL_QUEUE_MAX + 1 } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        if (pool_new("bad", rows[i].threads, rows[i].queue_max, &err) != NULL || err.kind != ERR_LIMIT)
            fail_msg("row %zu: %s", i, err.text);
    }
    struct pool *p = pool_new("a-name-of-more-than-fifteen-octets", POOL_THREADS_MAX, POOL_QUEUE_MAX, NULL);
    assert_non_null(p);
    pool_destroy(&p);
}

#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(pool_submit__answers_on_the_reactor),
        SCENE_TEST(pool_submit__without_reactor_is_done_on_the_helper),
        SCENE_TEST(pool_submit__runs_every_job_once),
        SCENE_TEST(pool_submit__full_refuses),
        SCENE_TEST(pool_submit__uses_all_helpers),
        SCENE_TEST(pool_submit__from_done),
        cmocka_unit_test(pool_destroy__refuses_new_jobs),
        SCENE_TEST(pool_destroy__runs_what_is_queued),
        SCENE_TEST(pool_helper__says_what_runs_and_since_when),
        SCENE_TEST(pool_drain__waits_for_what_waits_and_runs),
        cmocka_unit_test(pool_new__checks_its_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
