#include "reactor/reactor.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "gate.h"
#include "reactor/thread.h"

#define START_MS 5000

/* A reactor with a fake clock, and what happened on it: callbacks append a letter each. */
struct scene {
    struct clock clock;
    struct reactor *reactor;
    char seen[128];
    size_t seen_len;
};

static void saw(struct scene *s, char what)
{
    if (s->seen_len + 1 < sizeof s->seen)
        s->seen[s->seen_len++] = what;
    s->seen[s->seen_len] = '\0';
}

static void seen_clear(struct scene *s)
{
    s->seen_len = 0;
    s->seen[0] = '\0';
}

static int scene_setup(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    struct err err;

    if (s == NULL)
        return -1;
    clock_init_fake(&s->clock, START_MS, START_MS);
    s->reactor = reactor_new("test", &s->clock, &err);
    *state = s;
    return s->reactor != NULL ? 0 : -1;
}

static int scene_teardown(void **state)
{
    struct scene *s = *state;

    reactor_destroy(&s->reactor);
    free(s);
    return 0;
}

static void run_until_quiet(struct scene *s)
{
    while (reactor_turn(s->reactor))
        continue;
}

static void *reactor_main(void *arg)
{
    reactor_run(arg);
    return NULL;
}

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

struct letter {
    struct post post;
    struct scene *scene;
    struct letter *next; /* posted by this one's function */
    char what;
};

static void on_letter(struct post *p)
{
    struct letter *l = (struct letter *)(void *)p;

    saw(l->scene, l->what);
    if (l->next != NULL)
        reactor_post(l->scene->reactor, &l->next->post, on_letter);
    l->next = NULL;
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

struct deferred {
    struct later later;
    struct scene *scene;
    struct deferred *next; /* deferred by this one's function */
    char what;
};

static void on_later(struct later *l)
{
    struct deferred *d = (struct deferred *)(void *)l;

    saw(d->scene, d->what);
    if (d->next != NULL)
        reactor_later(d->scene->reactor, &d->next->later, on_later);
    d->next = NULL;
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

/* --- file descriptors --------------------------------------------------------------------------------------------- */

/* An object as a session would be: a descriptor, a timer, freed after the batch. */
struct peer {
    struct io io;
    struct timer timer;
    struct later later;
    struct scene *scene;
    int fds[2]; /* ours, the other end */
    unsigned events;
    unsigned calls;
    struct peer *other;
};

static void peer_init(struct peer *p, struct scene *s, io_fn *fn)
{
    memset(p, 0, sizeof *p);
    p->scene = s;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p->fds), 0);
    io_init(&p->io, s->reactor, p->fds[0], fn);
    later_init(&p->later);
}

static void peer_free(struct peer *p)
{
    io_want(&p->io, 0);
    close(p->fds[0]);
    if (p->fds[1] >= 0)
        close(p->fds[1]);
}

static void say(const struct peer *p)
{
    assert_int_equal(write(p->fds[1], "x", 1), 1);
}

static void on_peer(struct io *io, unsigned events)
{
    struct peer *p = (struct peer *)(void *)io;

    p->events = events;
    p->calls++;
}

static void io_want__reports_readiness(void **state)
{
    struct scene *s = *state;
    struct peer p;
    char octet;

    peer_init(&p, s, on_peer);
    assert_false(reactor_turn(s->reactor));
    io_want(&p.io, IO_READ);
    assert_false(reactor_turn(s->reactor));
    say(&p);
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(p.events, IO_READ);
    assert_true(reactor_turn(s->reactor)); /* level-triggered */
    assert_int_equal(p.calls, 2);
    assert_int_equal(read(p.fds[0], &octet, 1), 1);
    assert_false(reactor_turn(s->reactor));
    io_want(&p.io, IO_READ | IO_WRITE);
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(p.events, IO_WRITE);
    say(&p);
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(p.events, IO_READ | IO_WRITE);
    io_want(&p.io, 0);
    assert_false(reactor_turn(s->reactor));
    io_want(&p.io, IO_READ);
    io_want(&p.io, 0);
    io_want(&p.io, IO_READ);
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(p.events, IO_READ);
    peer_free(&p);
}

static void io_want__hang_up_is_readable(void **state)
{
    struct scene *s = *state;
    struct peer p;

    peer_init(&p, s, on_peer);
    io_want(&p.io, IO_READ);
    close(p.fds[1]);
    p.fds[1] = -1;
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(p.events, IO_READ);
    peer_free(&p);
}

static void on_peer_toggle(struct io *io, unsigned events)
{
    struct peer *p = (struct peer *)(void *)io;
    char octet;

    p->calls++;
    if (events & IO_READ) {
        saw(p->scene, 'r');
        assert_int_equal(read(io->fd, &octet, 1), 1);
        io_want(io, IO_WRITE); /* as an answer would */
    } else {
        saw(p->scene, 'w');
        io_want(io, p->calls < 4 ? IO_READ : 0);
    }
}

static void io_want__may_change_inside_the_callback(void **state)
{
    struct scene *s = *state;
    struct peer p;

    peer_init(&p, s, on_peer_toggle);
    io_want(&p.io, IO_READ);
    say(&p);
    run_until_quiet(s);
    assert_string_equal(s->seen, "rw");
    say(&p);
    run_until_quiet(s);
    assert_string_equal(s->seen, "rwrw");
    say(&p);
    assert_false(reactor_turn(s->reactor)); /* stopped by its last callback */
    assert_int_equal(p.io.events, 0);
    peer_free(&p);
}

static void on_peer_stop_other(struct io *io, unsigned events)
{
    struct peer *p = (struct peer *)(void *)io;

    (void)events;
    p->calls++;
    io_want(&p->other->io, 0);
}

static void io_want__stops_what_was_ready_in_the_same_turn(void **state)
{
    struct scene *s = *state;
    struct peer a, b;

    peer_init(&a, s, on_peer_stop_other);
    peer_init(&b, s, on_peer_stop_other);
    a.other = &b;
    b.other = &a;
    io_want(&a.io, IO_READ);
    io_want(&b.io, IO_READ);
    say(&a);
    say(&b);
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(a.calls + b.calls, 1); /* whichever came first */
    peer_free(&a);
    peer_free(&b);
}

static void on_peer_later(struct later *l)
{
    struct peer *p = CONTAINER_OF(l, struct peer, later);

    saw(p->scene, 'f');
    peer_free(p);
    free(p);
}

static void on_peer_timer(struct timer *t)
{
    struct peer *p = CONTAINER_OF(t, struct peer, timer);

    saw(p->scene, 't');
}

static void on_peer_close(struct io *io, unsigned events)
{
    struct peer *p = (struct peer *)(void *)io;

    (void)events;
    saw(p->scene, 'c');
    io_want(io, 0);
    timer_stop(&p->timer);
    reactor_later(io->reactor, &p->later, on_peer_later);
}

static void io__is_closed_after_the_batch(void **state)
{
    struct scene *s = *state;

    for (int i = 0; i < 3; i++) {
        struct peer *p = malloc(sizeof *p);
        assert_non_null(p);
        peer_init(p, s, on_peer_close);
        timer_init(&p->timer, s->reactor, on_peer_timer);
        timer_start(&p->timer, 10);
        io_want(&p->io, IO_READ | IO_WRITE);
        say(p);
    }
    clock_fake_advance(&s->clock, 10);
    assert_true(reactor_turn(s->reactor));
    assert_string_equal(s->seen, "cccfff");
    assert_false(reactor_turn(s->reactor));
}

static void io_init__again_for_a_descriptor_of_the_same_number(void **state)
{
    struct scene *s = *state;
    struct peer a, b;

    for (int i = 0; i < 3; i++) {
        peer_init(&a, s, on_peer);
        io_want(&a.io, IO_READ);
        say(&a);
        assert_true(reactor_turn(s->reactor));
        assert_int_equal(a.calls, 1);
        peer_free(&a); /* no turn in between: the loop has not told the kernel */
        peer_init(&b, s, on_peer);
        assert_int_equal(b.io.fd, a.io.fd);
        io_want(&b.io, IO_READ);
        assert_false(reactor_turn(s->reactor));
        say(&b);
        assert_true(reactor_turn(s->reactor));
        assert_int_equal(b.calls, 1);
        peer_free(&b);
    }
}

static void io_want__a_plain_file_is_always_ready(void **state)
{
    struct scene *s = *state;
    FILE *file = tmpfile();
    struct peer p;

    assert_non_null(file);
    peer_init(&p, s, on_peer);
    io_init(&p.io, s->reactor, fileno(file), on_peer);
    io_want(&p.io, IO_READ);
    for (unsigned i = 1; i <= 3; i++) {
        assert_true(reactor_turn(s->reactor));
        assert_int_equal(p.events, IO_READ);
        assert_int_equal(p.calls, i);
    }
    peer_free(&p);
    fclose(file);
}

/* --- timers ------------------------------------------------------------------------------------------------------- */

struct alarm {
    struct timer timer;
    struct scene *scene;
    struct timer *stops, *restarts; /* by its function */
    int64_t restart_ms;
    int64_t fired_ms; /* the last time */
    unsigned fired;
    char what;
};

static void on_timer(struct timer *t)
{
    struct alarm *a = (struct alarm *)(void *)t;

    saw(a->scene, a->what);
    a->fired++;
    a->fired_ms = reactor_now_ms(t->reactor);
    if (a->stops != NULL)
        timer_stop(a->stops);
    if (a->restarts != NULL)
        timer_start(a->restarts, a->restart_ms);
}

static void timer_init_as(struct alarm *a, struct scene *s, char what)
{
    *a = (struct alarm){ .scene = s, .what = what };
    timer_init(&a->timer, s->reactor, on_timer);
}

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

struct ping {
    struct post post;
    struct gate *gate;
};

static void on_ping(struct post *p)
{
    gate_add(((struct ping *)(void *)p)->gate, 1);
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

#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

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
        SCENE_TEST(io_want__reports_readiness),
        SCENE_TEST(io_want__hang_up_is_readable),
        SCENE_TEST(io_want__may_change_inside_the_callback),
        SCENE_TEST(io_want__stops_what_was_ready_in_the_same_turn),
        SCENE_TEST(io__is_closed_after_the_batch),
        SCENE_TEST(io_init__again_for_a_descriptor_of_the_same_number),
        SCENE_TEST(io_want__a_plain_file_is_always_ready),
        SCENE_TEST(timer_start__fires_by_time_then_by_start),
        SCENE_TEST(timer_start__again_moves_it),
        SCENE_TEST(timer_stop__inside_callbacks),
        SCENE_TEST(timer_start__inside_callbacks),
        SCENE_TEST(timer_start__at_once_is_the_next_turn),
        SCENE_TEST(timer_start__many),
        SCENE_TEST(reactor_kick__fires_timers_of_a_fake_clock),
        cmocka_unit_test(timer_start__with_the_real_clock),
        SCENE_TEST(reactor_turn__goes_through_its_phases_in_order),
        SCENE_TEST(reactor_stop__from_another_thread),
        SCENE_TEST(reactor_stop__finishes_the_batch),
        SCENE_TEST(reactor_heartbeat__turns_every_second),
        SCENE_TEST(reactor_new__keeps_name_and_clock),
        SCENE_TEST(signal_start__calls_on_the_reactor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
