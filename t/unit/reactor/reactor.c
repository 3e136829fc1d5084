#include "reactor/reactor.h"

#include <signal.h>

#include "reactor/thread.h"
#include "scene.h"

/* --- messages ----------------------------------------------------------------------------------------------------- */

#define SENDERS 4u
#define POSTS_EACH 50000u

struct flood_post {
    struct post post;
    struct flood_sender *sender;
    unsigned nth;
};

struct flood_sender {
    struct flood *flood;
    struct thread thread;
    struct flood_post *posts;
    unsigned received; /* owner: reactor */
};

struct flood {
    struct reactor *reactor;
    struct flood_sender senders[SENDERS];
    unsigned received, out_of_order; /* owner: reactor */
};

static void on_flood_post(struct post *p)
{
    struct flood_post *fp = CONTAINER_OF(p, struct flood_post, post);
    struct flood *f = fp->sender->flood;

    if (fp->nth != fp->sender->received++)
        f->out_of_order++;
    if (++f->received == SENDERS * POSTS_EACH)
        reactor_stop(f->reactor);
}

static void *flood_main(void *arg)
{
    struct flood_sender *fs = arg;

    for (unsigned i = 0; i < POSTS_EACH; i++) {
        fs->posts[i] = (struct flood_post){ .sender = fs, .nth = i };
        reactor_post(fs->flood->reactor, &fs->posts[i].post, on_flood_post);
    }
    return NULL;
}

static void reactor_post__keeps_the_order_of_each_sender(void **state)
{
    struct scene *s = *state;
    struct flood f = { .reactor = s->reactor };

    for (unsigned i = 0; i < SENDERS; i++) {
        f.senders[i].flood = &f;
        f.senders[i].posts = calloc(POSTS_EACH, sizeof f.senders[i].posts[0]);
        assert_non_null(f.senders[i].posts);
        assert_int_equal(thread_start(&f.senders[i].thread, "sender", 0, flood_main, &f.senders[i], NULL), 0);
    }
    reactor_run(s->reactor);
    for (unsigned i = 0; i < SENDERS; i++) {
        thread_join(&f.senders[i].thread);
        assert_int_equal(f.senders[i].received, POSTS_EACH);
        free(f.senders[i].posts);
    }
    assert_int_equal(f.out_of_order, 0);
}

static void reactor_post__from_a_message_comes_in_a_later_turn(void **state)
{
    struct scene *s = *state;
    struct letter b = { .scene = s, .what = 'b' };
    struct letter a = { .scene = s, .what = 'a', .next = &b };
    struct letter c = { .scene = s, .what = 'c' };

    c.next = &c; /* posts itself again, once */
    reactor_post(s->reactor, &a.post, on_letter);
    reactor_post(s->reactor, &c.post, on_letter);
    assert_true(reactor_turn(s->reactor));
    assert_string_equal(s->seen, "ac");
    assert_true(reactor_turn(s->reactor));
    assert_string_equal(s->seen, "acbc");
    assert_false(reactor_turn(s->reactor));
}

static void on_free_me(struct post *p)
{
    free(p);
}

static void reactor_post__may_be_freed_by_its_function(void **state)
{
    struct scene *s = *state;

    for (int i = 0; i < 10; i++) {
        struct post *p = malloc(sizeof *p);
        assert_non_null(p);
        reactor_post(s->reactor, p, on_free_me);
    }
    run_until_quiet(s);
}

struct burst {
    struct post post;
    unsigned *count;
    struct reactor *reactor;
    struct burst *last; /* posted by this one's function; stops the reactor */
};

static void on_burst_last(struct post *p)
{
    struct burst *b = (struct burst *)(void *)p;

    ++*b->count;
    reactor_stop(b->reactor);
}

static void on_burst(struct post *p)
{
    struct burst *b = (struct burst *)(void *)p;

    ++*b->count;
    if (b->last != NULL)
        reactor_post(b->reactor, &b->last->post, on_burst_last);
}

static void reactor_post__long_queue_takes_several_turns(void **state)
{
    struct scene *s = *state;
    struct burst *b = calloc(2501, sizeof *b);
    unsigned count = 0;

    assert_non_null(b);
    for (unsigned i = 0; i < 2500; i++) {
        b[i] = (struct burst){ .count = &count, .reactor = s->reactor };
        reactor_post(s->reactor, &b[i].post, on_burst);
    }
    reactor_turn(s->reactor);
    assert_int_equal(count, 1000);
    reactor_turn(s->reactor);
    assert_int_equal(count, 2000);
    reactor_turn(s->reactor);
    assert_int_equal(count, 2500);
    assert_false(reactor_turn(s->reactor));

    /* Turn 2 takes the last one's wake while it still has the rest of turn 1 to do: the loop must not sleep then. */
    b[2500] = (struct burst){ .count = &count, .reactor = s->reactor };
    for (unsigned i = 0; i < 1500; i++) {
        b[i].last = i == 0 ? &b[2500] : NULL;
        reactor_post(s->reactor, &b[i].post, on_burst);
    }
    reactor_run(s->reactor);
    assert_int_equal(count, 2500 + 1501);
    free(b);
}

struct last_words {
    struct letter letter;
    struct deferred deferred;
};

static void on_last_words(struct post *p)
{
    struct last_words *w = (struct last_words *)(void *)p;

    reactor_later(w->letter.scene->reactor, &w->deferred.later, on_later);
    on_letter(p);
}

static void reactor_destroy__calls_what_was_posted(void **state)
{
    struct scene *s = *state;
    struct letter b = { .scene = s, .what = 'b' };
    struct last_words a = {
        .letter = { .scene = s, .what = 'a', .next = &b }, .deferred = { .scene = s, .what = 'd' }
    };

    later_init(&a.deferred.later);
    reactor_post(s->reactor, &a.letter.post, on_last_words);
    reactor_destroy(&s->reactor);
    assert_null(s->reactor);
    assert_string_equal(s->seen, "adb");
    reactor_destroy(&s->reactor); /* NULL */
}

/* --- later -------------------------------------------------------------------------------------------------------- */

static void reactor_later__runs_once_and_in_the_same_turn(void **state)
{
    struct scene *s = *state;
    struct deferred c = { .scene = s, .what = 'c' };
    struct deferred a = { .scene = s, .what = 'a', .next = &c };
    struct deferred b = { .scene = s, .what = 'b' };

    b.next = &b;
    later_init(&a.later);
    later_init(&b.later);
    later_init(&c.later);
    reactor_later(s->reactor, &a.later, on_later);
    reactor_later(s->reactor, &b.later, on_later);
    reactor_later(s->reactor, &a.later, on_later); /* waits already */
    assert_string_equal(s->seen, "");
    assert_true(reactor_turn(s->reactor));
    assert_string_equal(s->seen, "abcb");
    assert_false(reactor_turn(s->reactor));
}

static void on_later_stop(struct later *l)
{
    struct deferred *d = (struct deferred *)(void *)l;

    reactor_stop(d->scene->reactor);
}

static void reactor_later__before_the_run_does_not_wait(void **state)
{
    struct scene *s = *state;
    struct deferred a = { .scene = s };

    later_init(&a.later);
    reactor_later(s->reactor, &a.later, on_later_stop);
    reactor_run(s->reactor);
}

/* --- turns, stop, heartbeat --------------------------------------------------------------------------------------- */

struct phases {
    struct peer peer;
    struct alarm alarm;
    struct letter letter;
    struct deferred deferred;
};

static void on_phases_io(struct io *io, unsigned events)
{
    struct phases *p = (struct phases *)(void *)io;
    struct scene *s = p->peer.scene;

    (void)events;
    saw(s, 'i');
    io_want(io, 0);
    reactor_later(s->reactor, &p->deferred.later, on_later);
    reactor_post(s->reactor, &p->letter.post, on_letter);
    timer_start(&p->alarm.timer, 0);
    clock_fake_advance(&s->clock, 1); /* is no matter to what this turn shows */
    assert_int_equal(reactor_now_ms(s->reactor), START_MS);
}

static void reactor_turn__goes_through_its_phases_in_order(void **state)
{
    struct scene *s = *state;
    struct phases p;

    peer_init(&p.peer, s, on_phases_io);
    timer_init_as(&p.alarm, s, 't');
    p.letter = (struct letter){ .scene = s, .what = 'p' };
    p.deferred = (struct deferred){ .scene = s, .what = 'l' };
    later_init(&p.deferred.later);
    say(&p.peer);
    io_want(&p.peer.io, IO_READ);
    assert_true(reactor_turn(s->reactor));
    assert_string_equal(s->seen, "itpl");
    peer_free(&p.peer);
}

static void reactor_stop__from_another_thread(void **state)
{
    struct scene *s = *state;
    struct gate pings;
    struct ping ping = { .gate = &pings };
    struct thread t;

    gate_init(&pings);
    for (unsigned i = 1; i <= 50; i++) {
        assert_int_equal(thread_start(&t, "loop", 0, reactor_main, s->reactor, NULL), 0);
        if (i % 2 == 0) { /* else perhaps before it runs */
            reactor_post(s->reactor, &ping.post, on_ping);
            gate_wait(&pings, i / 2);
            assert_false(reactor_is_current(s->reactor));
        }
        reactor_stop(s->reactor);
        thread_join(&t);
        assert_true(reactor_is_current(s->reactor));
    }
    gate_free(&pings);
}

static void on_stop_letter(struct post *p)
{
    struct letter *l = (struct letter *)(void *)p;

    reactor_stop(l->scene->reactor);
    assert_true(reactor_is_current(l->scene->reactor));
    on_letter(p);
}

static void reactor_stop__finishes_the_batch(void **state)
{
    struct scene *s = *state;
    struct letter c = { .scene = s, .what = 'c' };
    struct letter a = { .scene = s, .what = 'a', .next = &c };
    struct letter b = { .scene = s, .what = 'b' };

    reactor_post(s->reactor, &a.post, on_stop_letter);
    reactor_post(s->reactor, &b.post, on_letter);
    reactor_run(s->reactor);
    assert_string_equal(s->seen, "ab");
    reactor_stop(s->reactor);
    reactor_run(s->reactor); /* returns at once */
    assert_string_equal(s->seen, "ab");
    reactor_post(s->reactor, &a.post, on_stop_letter);
    reactor_run(s->reactor);
    assert_string_equal(s->seen, "abca");
}

static void reactor_heartbeat__turns_every_second(void **state)
{
    struct scene *s = *state;

    reactor_heartbeat(s->reactor, true);
    reactor_heartbeat(s->reactor, true);
    clock_fake_advance(&s->clock, 999);
    assert_false(reactor_turn(s->reactor));
    for (int i = 0; i < 3; i++) {
        clock_fake_advance(&s->clock, 1000);
        assert_true(reactor_turn(s->reactor));
        assert_int_equal(reactor_last_turn_ms(s->reactor), START_MS + 1999 + i * 1000);
        assert_false(reactor_turn(s->reactor));
    }
    reactor_heartbeat(s->reactor, false);
    clock_fake_advance(&s->clock, 10000);
    assert_false(reactor_turn(s->reactor));
    reactor_heartbeat(s->reactor, true); /* destroyed while it is on */
}

static void reactor_new__keeps_name_and_clock(void **state)
{
    struct scene *s = *state;
    struct reactor *r = reactor_new("a name of more than thirty-one octets", &s->clock, NULL);

    assert_string_equal(reactor_name(s->reactor), "test");
    assert_string_equal(reactor_name(r), "a name of more than thirty-one ");
    assert_ptr_equal(reactor_clock(r), &s->clock);
    assert_int_equal(reactor_now_ms(r), START_MS);
    clock_fake_advance(&s->clock, 5);
    assert_int_equal(reactor_now_ms(r), START_MS + 5); /* not running: no turn to read it in */
    assert_int_equal(reactor_last_turn_ms(r), START_MS);
    reactor_destroy(&r);
}

/* --- signals ------------------------------------------------------------------------------------------------------ */

struct watched {
    struct signal_watch watch;
    unsigned calls;
};

static void on_watched(struct signal_watch *w)
{
    ((struct watched *)(void *)w)->calls++;
}

static void signal_start__calls_on_the_reactor(void **state)
{
    struct scene *s = *state;
    struct watched a = { .calls = 0 }, b = { .calls = 0 };

    signal_start(&a.watch, s->reactor, SIGURG, on_watched); /* one that is ignored by default */
    signal_start(&b.watch, s->reactor, SIGWINCH, on_watched);
    raise(SIGURG);
    assert_int_equal(a.calls, 0);
    run_until_quiet(s);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 0);
    assert_int_equal(a.watch.signo, SIGURG);
    raise(SIGWINCH);
    raise(SIGURG);
    run_until_quiet(s);
    assert_int_equal(a.calls, 2);
    assert_int_equal(b.calls, 1);
    signal_stop(&a.watch);
    raise(SIGURG);
    run_until_quiet(s);
    assert_int_equal(a.calls, 2);
    signal_stop(&b.watch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(reactor_post__keeps_the_order_of_each_sender),
        SCENE_TEST(reactor_post__from_a_message_comes_in_a_later_turn),
        SCENE_TEST(reactor_post__may_be_freed_by_its_function),
        SCENE_TEST(reactor_post__long_queue_takes_several_turns),
        SCENE_TEST(reactor_destroy__calls_what_was_posted),
        SCENE_TEST(reactor_later__runs_once_and_in_the_same_turn),
        SCENE_TEST(reactor_later__before_the_run_does_not_wait),
        SCENE_TEST(reactor_turn__goes_through_its_phases_in_order),
        SCENE_TEST(reactor_stop__from_another_thread),
        SCENE_TEST(reactor_stop__finishes_the_batch),
        SCENE_TEST(reactor_heartbeat__turns_every_second),
        SCENE_TEST(reactor_new__keeps_name_and_clock),
        SCENE_TEST(signal_start__calls_on_the_reactor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
