#include "reactor/reactor.h"

#include "reactor/thread.h"
#include "scene.h"

/* Turn, and say what fired in it. */
static const char *after(struct scene *s, int64_t ms)
{
    clock_fake_advance(&s->clock, ms);
    seen_clear(s);
    reactor_turn(s->reactor);
    return s->seen;
}

static void timer_start__fires_by_time_then_by_start(void **state)
{
    struct scene *s = *state;
    struct alarm a, b, c, d;

    timer_init_as(&a, s, 'a');
    timer_init_as(&b, s, 'b');
    timer_init_as(&c, s, 'c');
    timer_init_as(&d, s, 'd');
    assert_false(timer_is_active(&a.timer));
    timer_start(&a.timer, 20);
    timer_start(&b.timer, 10);
    timer_start(&c.timer, 20);
    timer_start(&d.timer, 11);
    assert_true(timer_is_active(&a.timer));
    assert_string_equal(after(s, 0), "");
    assert_string_equal(after(s, 9), "");
    assert_string_equal(after(s, 1), "b");
    assert_int_equal(b.fired_ms, START_MS + 10);
    assert_false(timer_is_active(&b.timer));
    assert_string_equal(after(s, 0), "");
    assert_string_equal(after(s, 1), "d");
    assert_string_equal(after(s, 8), "");
    assert_string_equal(after(s, 1), "ac");
    assert_int_equal(a.fired_ms, START_MS + 20);
    assert_string_equal(after(s, 1000), "");
}

static void timer_start__again_moves_it(void **state)
{
    struct scene *s = *state;
    struct alarm a, b, c;

    timer_init_as(&a, s, 'a');
    timer_init_as(&b, s, 'b');
    timer_init_as(&c, s, 'c');
    timer_start(&a.timer, 10);
    timer_start(&b.timer, 10);
    timer_start(&c.timer, 10);
    timer_start(&a.timer, 10); /* behind its equals */
    assert_string_equal(after(s, 10), "bca");
    timer_start(&a.timer, 10);
    timer_start(&b.timer, 10);
    timer_start(&c.timer, 10);
    assert_string_equal(after(s, 5), "");
    timer_start(&a.timer, 1);    /* sooner */
    timer_start(&c.timer, 100);  /* later */
    assert_string_equal(after(s, 1), "a");
    assert_string_equal(after(s, 4), "b");
    assert_string_equal(after(s, 94), "");
    assert_string_equal(after(s, 1), "c");
}

static void timer_stop__inside_callbacks(void **state)
{
    struct scene *s = *state;
    struct alarm a, b, c;

    timer_init_as(&a, s, 'a');
    timer_init_as(&b, s, 'b');
    timer_init_as(&c, s, 'c');
    a.stops = &b.timer;
    c.stops = &c.timer; /* not active: a no-op */
    timer_start(&a.timer, 10);
    timer_start(&b.timer, 10);
    timer_start(&c.timer, 10);
    assert_string_equal(after(s, 10), "ac"); /* b was due, too */
    assert_false(timer_is_active(&b.timer));
    timer_stop(&b.timer);
    assert_string_equal(after(s, 1000), "");
    timer_start(&b.timer, 5);
    timer_stop(&b.timer);
    assert_string_equal(after(s, 1000), "");
}

static void timer_start__inside_callbacks(void **state)
{
    struct scene *s = *state;
    struct alarm a, b, c;

    timer_init_as(&a, s, 'a');
    timer_init_as(&b, s, 'b');
    timer_init_as(&c, s, 'c');
    a.restarts = &a.timer; /* itself, for 7 ms later */
    a.restart_ms = 7;
    b.restarts = &c.timer; /* another one, which is due in the same turn */
    b.restart_ms = 3;
    timer_start(&a.timer, 10);
    timer_start(&b.timer, 10);
    timer_start(&c.timer, 10);
    assert_string_equal(after(s, 10), "ab");
    assert_true(timer_is_active(&a.timer));
    assert_string_equal(after(s, 3), "c");
    assert_string_equal(after(s, 4), "a");
    assert_int_equal(a.fired_ms, START_MS + 17);
    assert_string_equal(after(s, 100), "a"); /* once, however late */
    assert_string_equal(after(s, 7), "a");
    timer_stop(&a.timer);
}

static void timer_start__at_once_is_the_next_turn(void **state)
{
    struct scene *s = *state;
    struct alarm a, b;

    timer_init_as(&a, s, 'a');
    timer_init_as(&b, s, 'b');
    a.restarts = &a.timer;
    a.restart_ms = 0;
    timer_start(&a.timer, 0);
    timer_start(&b.timer, 0);
    assert_string_equal(after(s, 0), "ab");
    assert_string_equal(after(s, 0), "a"); /* once a turn, although no time passes */
    a.restart_ms = -5;                     /* counts as 0 */
    assert_string_equal(after(s, 0), "a");
    assert_string_equal(after(s, 0), "a");
    timer_stop(&a.timer);
    timer_start(&b.timer, INT64_MAX);
    assert_string_equal(after(s, 1000000), "");
    timer_stop(&b.timer);
    assert_string_equal(after(s, 0), "");
}

#define MANY_TIMERS 2000u
#define MANY_MS 500u

/* Each against what it must do by arithmetic alone; a third is restarted or stopped before. */
static void timer_start__many(void **state)
{
    struct scene *s = *state;
    struct alarm *a = calloc(MANY_TIMERS, sizeof *a);
    int64_t *due_ms = calloc(MANY_TIMERS, sizeof *due_ms);
    uint32_t random = 1;

    assert_non_null(a);
    assert_non_null(due_ms);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < MANY_TIMERS; i++) {
            if (round == 0)
                timer_init_as(&a[i], s, '.');
            else if (i % 3 != 0)
                continue;
            random = random * 1664525u + 1013904223u;
            due_ms[i] = START_MS + (random >> 16) % MANY_MS;
            timer_start(&a[i].timer, due_ms[i] - START_MS);
            if (round == 1 && i % 2 == 0) {
                timer_stop(&a[i].timer);
                due_ms[i] = 0;
            }
        }
    }
    for (unsigned ms = 0; ms < MANY_MS; ms++)
        after(s, ms > 0);
    for (unsigned i = 0; i < MANY_TIMERS; i++)
        if (a[i].fired != (due_ms[i] != 0) || a[i].fired_ms != due_ms[i])
            fail_msg("timer %u: fired %u times, at %lld instead of %lld", i, a[i].fired, (long long)a[i].fired_ms,
                     (long long)due_ms[i]);
    free(due_ms);
    free(a);
}

struct rung {
    struct timer timer;
    struct gate *gate;
    int64_t fired_ms;
};

static void on_rung(struct timer *t)
{
    struct rung *r = (struct rung *)(void *)t;

    r->fired_ms = reactor_now_ms(t->reactor);
    gate_add(r->gate, 1);
}

static void reactor_kick__fires_timers_of_a_fake_clock(void **state)
{
    struct scene *s = *state;
    struct gate timers, pings;
    struct rung a = { .gate = &timers }, b = { .gate = &timers };
    struct ping ping = { .gate = &pings };
    struct thread t;

    gate_init(&timers);
    gate_init(&pings);
    timer_init(&a.timer, s->reactor, on_rung);
    timer_init(&b.timer, s->reactor, on_rung);
    timer_start(&a.timer, 10);
    timer_start(&b.timer, 25);
    assert_int_equal(thread_start(&t, "loop", 0, reactor_main, s->reactor, NULL), 0);
    clock_fake_advance(&s->clock, 9);
    reactor_kick(s->reactor);
    reactor_post(s->reactor, &ping.post, on_ping);
    gate_wait(&pings, 1);
    assert_int_equal(gate_count(&timers), 0); /* not yet */
    clock_fake_advance(&s->clock, 3);
    reactor_kick(s->reactor);
    gate_wait(&timers, 1);
    clock_fake_advance(&s->clock, 50);
    reactor_post(s->reactor, &ping.post, on_ping);
    gate_wait(&pings, 2);
    assert_int_equal(gate_count(&timers), 2); /* before the message, which was posted after the clock was moved */
    reactor_stop(s->reactor);
    thread_join(&t);
    assert_int_equal(a.fired_ms, START_MS + 12);
    assert_int_equal(b.fired_ms, START_MS + 62);
    gate_free(&timers);
    gate_free(&pings);
}

struct metronome {
    struct timer timer;
    struct clock *clock;
    int64_t due_ms;
    unsigned left, early;
};

static void on_metronome(struct timer *t)
{
    struct metronome *m = (struct metronome *)(void *)t;

    if (reactor_now_ms(t->reactor) < m->due_ms)
        m->early++;
    if (--m->left == 0) {
        reactor_stop(t->reactor);
        return;
    }
    const int64_t after_ms = m->left % 5;
    timer_start(t, after_ms);
    m->due_ms = reactor_now_ms(t->reactor) + after_ms;
}

static void timer_start__with_the_real_clock(void **state)
{
    struct clock clock;

    (void)state;
    clock_init_real(&clock);
    struct reactor *r = reactor_new("real", &clock, NULL);
    struct metronome m = { .clock = &clock, .left = 30 };
    struct metronome far = { .clock = &clock, .left = 1 };
    assert_non_null(r);
    timer_init(&m.timer, r, on_metronome);
    timer_init(&far.timer, r, on_metronome);
    const int64_t began_ms = clock_mono_ms(&clock);
    timer_start(&far.timer, 3600 * 1000);
    timer_start(&m.timer, 5);
    m.due_ms = began_ms + 5;
    reactor_run(r);
    const int64_t took_ms = clock_mono_ms(&clock) - began_ms;
    assert_int_equal(m.early, 0);
    assert_int_equal(far.left, 1);
    assert_true(took_ms >= 5 + 30 / 5 * (0 + 1 + 2 + 3 + 4) - 10);
    assert_true(took_ms < 60 * 1000); /* only that it does not wait for the far one */
    timer_stop(&far.timer);
    reactor_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(timer_start__fires_by_time_then_by_start),
        SCENE_TEST(timer_start__again_moves_it),
        SCENE_TEST(timer_stop__inside_callbacks),
        SCENE_TEST(timer_start__inside_callbacks),
        SCENE_TEST(timer_start__at_once_is_the_next_turn),
        SCENE_TEST(timer_start__many),
        SCENE_TEST(reactor_kick__fires_timers_of_a_fake_clock),
        cmocka_unit_test(timer_start__with_the_real_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
