/* scene.h - what the tests of the reactor share: a reactor with a fake clock, callbacks that leave a letter each. */
#ifndef UNIT_REACTOR_SCENE_H
#define UNIT_REACTOR_SCENE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "gate.h"
#include "reactor/reactor.h"

#define START_MS 5000

struct scene {
    struct clock clock;
    struct reactor *reactor;
    char seen[128]; /* one letter for each callback */
    size_t seen_len;
};

static inline void saw(struct scene *s, char what)
{
    if (s->seen_len + 1 < sizeof s->seen)
        s->seen[s->seen_len++] = what;
    s->seen[s->seen_len] = '\0';
}

static inline void seen_clear(struct scene *s)
{
    s->seen_len = 0;
    s->seen[0] = '\0';
}

static inline int scene_setup(void **state)
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

static inline int scene_teardown(void **state)
{
    struct scene *s = *state;

    reactor_destroy(&s->reactor);
    free(s);
    return 0;
}

static inline void run_until_quiet(struct scene *s)
{
    while (reactor_turn(s->reactor))
        continue;
}

static inline void *reactor_main(void *arg)
{
    reactor_run(arg);
    return NULL;
}

struct letter {
    struct post post;
    struct scene *scene;
    struct letter *next; /* posted by this one's function */
    char what;
};

static inline void on_letter(struct post *p)
{
    struct letter *l = (struct letter *)(void *)p;

    saw(l->scene, l->what);
    if (l->next != NULL)
        reactor_post(l->scene->reactor, &l->next->post, on_letter);
    l->next = NULL;
}

struct deferred {
    struct later later;
    struct scene *scene;
    struct deferred *next; /* deferred by this one's function */
    char what;
};

static inline void on_later(struct later *l)
{
    struct deferred *d = (struct deferred *)(void *)l;

    saw(d->scene, d->what);
    if (d->next != NULL)
        reactor_later(d->scene->reactor, &d->next->later, on_later);
    d->next = NULL;
}

struct ping {
    struct post post;
    struct gate *gate;
};

static inline void on_ping(struct post *p)
{
    gate_add(((struct ping *)(void *)p)->gate, 1);
}

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

static inline void peer_init(struct peer *p, struct scene *s, io_fn *fn)
{
    memset(p, 0, sizeof *p);
    p->scene = s;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p->fds), 0);
    io_init(&p->io, s->reactor, p->fds[0], fn);
    later_init(&p->later);
}

static inline void peer_free(struct peer *p)
{
    io_want(&p->io, 0);
    close(p->fds[0]);
    if (p->fds[1] >= 0)
        close(p->fds[1]);
}

static inline void say(const struct peer *p)
{
    assert_int_equal(write(p->fds[1], "x", 1), 1);
}

static inline void on_peer(struct io *io, unsigned events)
{
    struct peer *p = (struct peer *)(void *)io;

    p->events = events;
    p->calls++;
}

struct alarm {
    struct timer timer;
    struct scene *scene;
    struct timer *stops, *restarts; /* by its function */
    int64_t restart_ms;
    int64_t fired_ms; /* the last time */
    unsigned fired;
    char what;
};

static inline void on_timer(struct timer *t)
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

static inline void timer_init_as(struct alarm *a, struct scene *s, char what)
{
    *a = (struct alarm){ .scene = s, .what = what };
    timer_init(&a->timer, s->reactor, on_timer);
}

#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

#endif
