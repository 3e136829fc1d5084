#include "reactor/reactor.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include <ev.h>

#include "base/diag.h"
#include "base/mem.h"

#define POSTS_PER_TURN 1000 /* so that a flood of messages keeps neither descriptors nor the watchdog waiting */
#define HEARTBEAT_MS 1000
#define NEVER_MS INT64_MAX
#define NAME_BYTES 32
#define FAR_FUTURE_S 1e10 /* the year 2286 */

static_assert((int)IO_READ == EV_READ && (int)IO_WRITE == EV_WRITE, "io_events are passed through");
static_assert(sizeof(ev_io) <= sizeof(((struct io *)0)->impl), "struct io holds an ev_io");
static_assert(sizeof(ev_signal) <= sizeof(((struct signal_watch *)0)->impl), "struct signal_watch holds an ev_signal");
static_assert(_Alignof(ev_io) <= _Alignof(void *) && _Alignof(ev_signal) <= _Alignof(void *), "impl is aligned");

/* owner: the thread that runs it, except where noted */
struct reactor {
    char name[NAME_BYTES];     /* immutable */
    const struct clock *clock; /* immutable */
    struct ev_loop *loop;
    ev_check turn_began;
    ev_timer alarm;     /* ends the wait when the first timer of the heap is due; never set with a fake clock */
    ev_periodic anchor; /* see reactor_new */
    ev_async wake;      /* sent with post_lock held */

    struct heap timers;
    int64_t alarm_ms; /* what alarm is set to, or NEVER_MS */
    struct timer heartbeat;
    struct list batch; /* messages taken from posts, not yet called */
    struct list laters;
    uint64_t calls; /* callbacks called so far */

    _Atomic int64_t turn_ms; /* written by the owner, read by any thread */
    _Atomic bool is_running;
    _Atomic pthread_t runner; /* valid while is_running */
    _Atomic bool is_stopping; /* set by any thread */

    /* lock rank 90 (innermost): posts. Held over each wake, so that reactor_destroy can wait for the sender. */
    pthread_mutex_t post_lock;
    struct list posts;
};

/* --- what every callback goes through ----------------------------------------------------------------------------- */

#ifdef PH_DEBUG
#define ASSERT_CURRENT(r) ASSERT(reactor_is_current(r))
#else
#define ASSERT_CURRENT(r) ((void)0)
#endif

struct call {
    const char *kind;
    uintptr_t fn;
    int64_t began_us;
};

static struct call call_begin(struct reactor *r, const char *kind, uintptr_t fn)
{
    struct call c = { .kind = kind, .fn = fn };

    r->calls++;
#ifdef PH_DEBUG
    c.began_us = clock_mono_us(r->clock);
#endif
    return c;
}

static void call_end(const struct reactor *r, const struct call *c)
{
#ifdef PH_DEBUG
    const int64_t took_us = clock_mono_us(r->clock) - c->began_us;

    if (took_us > REACTOR_BUDGET_MS * 1000 && !r->clock->is_fake)
        diag_warn("reactor", "%s: %s function at %#" PRIxPTR " took %" PRId64 " us", r->name, c->kind, c->fn, took_us);
#else
    (void)r;
    (void)c;
#endif
}

/* --- time --------------------------------------------------------------------------------------------------------- */

static int64_t turn_ms(const struct reactor *r)
{
    return atomic_load_explicit(&r->turn_ms, memory_order_relaxed);
}

static void turn_set_time(struct reactor *r)
{
    atomic_store_explicit(&r->turn_ms, clock_mono_ms(r->clock), memory_order_relaxed);
}

static bool timer_is_due(const struct reactor *r)
{
    const struct heap_node *first = heap_min(&r->timers);

    return first != NULL && first->key <= turn_ms(r);
}

/* Once a turn, so that restarting a timer costs no more than the heap. The delay counts from the turn's start because
 * libev's own cached time was taken at that moment, too. */
static void alarm_set(struct reactor *r)
{
    const struct heap_node *first = heap_min(&r->timers);
    const int64_t due_ms = first != NULL && !r->clock->is_fake ? first->key : NEVER_MS;

    if (due_ms == r->alarm_ms)
        return;
    ev_timer_stop(r->loop, &r->alarm);
    r->alarm_ms = due_ms;
    if (due_ms == NEVER_MS)
        return;
    const int64_t after_ms = due_ms - turn_ms(r);
    ev_timer_set(&r->alarm, after_ms > 0 ? (double)after_ms / 1000.0 : 0.0, 0.0);
    ev_timer_start(r->loop, &r->alarm);
}

static void run_timers(struct reactor *r)
{
    const int64_t now_ms = turn_ms(r);
    const uint64_t order_end = r->timers.next_order; /* what is started from here on waits for the next turn */

    for (;;) {
        struct heap_node *n = heap_min(&r->timers);
        if (n == NULL || n->key > now_ms || n->order >= order_end)
            return;
        struct timer *t = CONTAINER_OF(n, struct timer, node);
        heap_remove(&r->timers, n);
        const struct call c = call_begin(r, "timer", (uintptr_t)t->fn);
        t->fn(t);
        call_end(r, &c);
    }
}

/* --- messages and deferred calls ---------------------------------------------------------------------------------- */

static void take_posts(struct reactor *r)
{
    pthread_mutex_lock(&r->post_lock);
    list_splice(&r->batch, &r->posts);
    pthread_mutex_unlock(&r->post_lock);
}

static void run_posts(struct reactor *r, unsigned max)
{
    for (unsigned i = 0; i < max; i++) {
        struct list *node = list_pop_front(&r->batch);
        if (node == NULL)
            return;
        struct post *p = LIST_ENTRY(node, struct post, link);
        const struct call c = call_begin(r, "post", (uintptr_t)p->fn);
        p->fn(p); /* p may be gone now */
        call_end(r, &c);
    }
}

static void run_laters(struct reactor *r)
{
    for (struct list *node; (node = list_pop_front(&r->laters)) != NULL;) {
        struct later *l = LIST_ENTRY(node, struct later, link);
        const struct call c = call_begin(r, "later", (uintptr_t)l->fn);
        l->fn(l); /* l may be gone now */
        call_end(r, &c);
    }
}

void reactor_post(struct reactor *r, struct post *p, post_fn *fn)
{
    p->fn = fn;
    pthread_mutex_lock(&r->post_lock);
    const bool was_empty = list_is_empty(&r->posts);
    list_push_back(&r->posts, &p->link);
    if (was_empty)
        ev_async_send(r->loop, &r->wake); /* a system call only if the reactor sleeps */
    pthread_mutex_unlock(&r->post_lock);
}

void reactor_kick(struct reactor *r)
{
    pthread_mutex_lock(&r->post_lock);
    ev_async_send(r->loop, &r->wake);
    pthread_mutex_unlock(&r->post_lock);
}

void later_init(struct later *l)
{
    list_init(&l->link);
    l->fn = NULL;
}

void reactor_later(struct reactor *r, struct later *l, void (*fn)(struct later *l))
{
    ASSERT_CURRENT(r);
    if (list_is_linked(&l->link))
        return;
    l->fn = fn;
    list_push_back(&r->laters, &l->link);
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

/* First of a turn's callbacks, directly after the wait. */
static void on_turn_began(struct ev_loop *loop, ev_check *w, int revents)
{
    (void)w;
    (void)revents;
    turn_set_time(ev_userdata(loop));
}

/* Only there to end the wait: what it was about is found by turn(). */
static void on_wake(struct ev_loop *loop, ev_async *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static void on_alarm(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct reactor *r = ev_userdata(loop);

    (void)w;
    (void)revents;
    r->alarm_ms = NEVER_MS; /* it fires once */
}

static void on_anchor(struct ev_loop *loop, ev_periodic *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static void on_heartbeat(struct timer *t)
{
    timer_start(t, HEARTBEAT_MS);
}

static void turn(struct reactor *r, bool may_wait)
{
    const bool is_busy = !list_is_empty(&r->batch) || !list_is_empty(&r->laters) || timer_is_due(r);

    alarm_set(r);
    ev_run(r->loop, may_wait && !is_busy ? EVRUN_ONCE : EVRUN_NOWAIT);
    take_posts(r); /* always: the wake for them may just have been used up */
    if (r->clock->is_fake) /* it may have moved since the wait: its timers go before the messages just taken */
        turn_set_time(r);
    run_timers(r);
    run_posts(r, POSTS_PER_TURN);
    run_laters(r);
}

static void run_begin(struct reactor *r)
{
    ASSERT(!atomic_load(&r->is_running)); /* a callback must not run the loop */
    atomic_store(&r->runner, pthread_self());
    atomic_store(&r->is_running, true);
}

static void run_end(struct reactor *r)
{
    atomic_store(&r->is_running, false);
}

void reactor_run(struct reactor *r)
{
    run_begin(r);
    while (!atomic_load(&r->is_stopping))
        turn(r, true);
    atomic_store(&r->is_stopping, false);
    run_end(r);
}

bool reactor_turn(struct reactor *r)
{
    const uint64_t calls = r->calls;

    run_begin(r);
    turn(r, false);
    run_end(r);
    return r->calls != calls;
}

void reactor_stop(struct reactor *r)
{
    pthread_mutex_lock(&r->post_lock);
    atomic_store(&r->is_stopping, true);
    ev_async_send(r->loop, &r->wake);
    pthread_mutex_unlock(&r->post_lock);
}

static void watchers_start(struct reactor *r)
{
    ev_set_userdata(r->loop, r);
    ev_check_init(&r->turn_began, on_turn_began);
    ev_set_priority(&r->turn_began, EV_MAXPRI);
    ev_check_start(r->loop, &r->turn_began);
    ev_timer_init(&r->alarm, on_alarm, 0.0, 0.0);
    r->alarm_ms = NEVER_MS;
    /* libev wakes every minute to look for jumps of the wall clock, unless it has a periodic watcher: then it lets the
     * kernel tell. So this one, which never fires, lets an idle reactor sleep. */
    ev_periodic_init(&r->anchor, on_anchor, FAR_FUTURE_S, 0.0, NULL);
    ev_periodic_start(r->loop, &r->anchor);
    ev_async_init(&r->wake, on_wake);
    ev_async_start(r->loop, &r->wake);
}

struct reactor *reactor_new(const char *name, const struct clock *clock, struct err *err)
{
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);

    if (loop == NULL)
        loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (loop == NULL) {
        err_sys(err, errno, "event loop of %s", name);
        return NULL;
    }
    struct reactor *r = mem_alloc(sizeof *r);
    snprintf(r->name, sizeof r->name, "%s", name);
    r->clock = clock;
    r->loop = loop;
    heap_init(&r->timers);
    list_init(&r->batch);
    list_init(&r->laters);
    list_init(&r->posts);
    pthread_mutex_init(&r->post_lock, NULL);
    timer_init(&r->heartbeat, r, on_heartbeat);
    ev_now_update(loop);
    turn_set_time(r);
    watchers_start(r);
    return r;
}

void reactor_destroy(struct reactor **rp)
{
    struct reactor *r = *rp;

    if (r == NULL)
        return;
    ASSERT(!atomic_load(&r->is_running));
    for (;;) {
        take_posts(r); /* and, by the lock, wait for the sender of what was taken to be out of reactor_post */
        if (list_is_empty(&r->batch) && list_is_empty(&r->laters))
            break;
        run_posts(r, POSTS_PER_TURN);
        run_laters(r);
    }
    timer_stop(&r->heartbeat);
    ev_loop_destroy(r->loop);
    heap_free(&r->timers);
    pthread_mutex_destroy(&r->post_lock);
    mem_free(r);
    *rp = NULL;
}

const char *reactor_name(const struct reactor *r)
{
    return r->name;
}

const struct clock *reactor_clock(const struct reactor *r)
{
    return r->clock;
}

int64_t reactor_now_ms(const struct reactor *r)
{
    return atomic_load(&r->is_running) ? turn_ms(r) : clock_mono_ms(r->clock);
}

int64_t reactor_last_turn_ms(const struct reactor *r)
{
    return turn_ms(r);
}

bool reactor_is_current(const struct reactor *r)
{
    return !atomic_load(&r->is_running) || pthread_equal(atomic_load(&r->runner), pthread_self());
}

void reactor_heartbeat(struct reactor *r, bool on)
{
    ASSERT_CURRENT(r);
    if (!on)
        timer_stop(&r->heartbeat);
    else if (!timer_is_active(&r->heartbeat))
        timer_start(&r->heartbeat, HEARTBEAT_MS);
}

/* --- handles ------------------------------------------------------------------------------------------------------ */

static ev_io *io_watcher(struct io *io)
{
    return (ev_io *)(void *)io->impl;
}

static void on_io(struct ev_loop *loop, ev_io *w, int revents)
{
    struct reactor *r = ev_userdata(loop);
    struct io *io = CONTAINER_OF(w, struct io, impl);
    unsigned ready = (unsigned)revents & io->events;

    if (revents & EV_ERROR) { /* the kernel cannot watch it, libev has stopped: let the caller try what it waits for */
        ready = io->events;
        io->events = 0;
    }
    const struct call c = call_begin(r, "io", (uintptr_t)io->fn);
    io->fn(io, ready);
    call_end(r, &c);
}

void io_init(struct io *io, struct reactor *r, int fd, io_fn *fn)
{
    *io = (struct io){ .reactor = r, .fn = fn, .fd = fd };
    ev_io_init(io_watcher(io), on_io, fd, 0);
}

void io_want(struct io *io, unsigned events)
{
    ev_io *w = io_watcher(io);

    ASSERT_CURRENT(io->reactor);
    if (events == io->events)
        return;
    ev_io_stop(io->reactor->loop, w);
    io->events = events;
    if (events == 0)
        return;
    ev_io_modify(w, (int)events); /* unlike ev_io_set, tells the kernel only if the end of the turn finds a change */
    ev_io_start(io->reactor->loop, w);
}

void timer_init(struct timer *t, struct reactor *r, timer_fn *fn)
{
    *t = (struct timer){ .reactor = r, .fn = fn };
}

void timer_start(struct timer *t, int64_t after_ms)
{
    struct reactor *r = t->reactor;
    const int64_t now_ms = clock_mono_ms(r->clock);

    ASSERT_CURRENT(r);
    if (after_ms < 0)
        after_ms = 0;
    if (after_ms > NEVER_MS - 1 - now_ms)
        after_ms = NEVER_MS - 1 - now_ms;
    heap_update(&r->timers, &t->node, now_ms + after_ms);
}

void timer_stop(struct timer *t)
{
    ASSERT_CURRENT(t->reactor);
    heap_remove(&t->reactor->timers, &t->node);
}

bool timer_is_active(const struct timer *t)
{
    return heap_has(&t->node);
}

static ev_signal *signal_watcher(struct signal_watch *w)
{
    return (ev_signal *)(void *)w->impl;
}

static void on_signal(struct ev_loop *loop, ev_signal *ev, int revents)
{
    struct reactor *r = ev_userdata(loop);
    struct signal_watch *w = CONTAINER_OF(ev, struct signal_watch, impl);

    (void)revents;
    const struct call c = call_begin(r, "signal", (uintptr_t)w->fn);
    w->fn(w);
    call_end(r, &c);
}

void signal_start(struct signal_watch *w, struct reactor *r, int signo, signal_fn *fn)
{
    ASSERT_CURRENT(r);
    *w = (struct signal_watch){ .reactor = r, .fn = fn, .signo = signo };
    ev_signal_init(signal_watcher(w), on_signal, signo);
    ev_signal_start(r->loop, signal_watcher(w));
}

void signal_stop(struct signal_watch *w)
{
    ASSERT_CURRENT(w->reactor);
    ev_signal_stop(w->reactor->loop, signal_watcher(w));
}
