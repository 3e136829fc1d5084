/* reactor.h - one event loop on one thread: file descriptors, timers, posted messages.
 *
 * Model:    handles (`struct io`, `struct timer`, `struct post`, `struct later`) are embedded in the object that owns
 *           them; the reactor allocates nothing per handle. Callbacks run on the reactor's thread only, do a bounded
 *           amount of work, never block, never run the loop, and never free the object they were called with: they
 *           hand it to reactor_later, which runs after the current batch of events, when no callback of it can come
 *           any more.
 * Turn:     wait; ready descriptors; due timers; messages (1,000 at most, the rest in the next turn); what was deferred
 *           with reactor_later. The wait is skipped while anything of that is left. An idle reactor sleeps until it
 *           has something to do.
 * Threads:  reactor_post, reactor_stop, reactor_kick, reactor_last_turn_ms, reactor_name, reactor_clock and
 *           reactor_is_current from any thread; everything else from the reactor's own thread (or while it is not
 *           running). Debug builds (-DPH_DEBUG) assert it, and report callbacks that took over REACTOR_BUDGET_MS.
 * Lifetime: a handle is stopped before the memory that holds it goes, and before its reactor goes. A posted message is
 *           owned by the reactor until its function is called; what was posted before reactor_destroy is called then,
 *           on the destroying thread.
 * Errors:   only reactor_new can fail.
 */
#ifndef REACTOR_REACTOR_H
#define REACTOR_REACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"

#define REACTOR_BUDGET_MS 5

struct reactor;

/* name: for diagnostics, at most 31 octets are kept. clock: borrowed for the reactor's life. */
OWNED struct reactor *reactor_new(const char *name, const struct clock *clock, struct err *err);
void reactor_destroy(struct reactor **r); /* not running any more; NULL allowed */

/* Run on the calling thread until reactor_stop. May be called again afterwards. */
void reactor_run(struct reactor *r);

/* One turn on the calling thread without waiting, for tests that drive a reactor themselves. Returns whether any
 * callback was called, so that `while (reactor_turn(r)) ;` runs until nothing is left to do. */
bool reactor_turn(struct reactor *r);

/* End reactor_run; the turn under way is finished. Any thread, signal handlers excluded. When the reactor does not run,
 * the next reactor_run returns at once. Messages not called by then stay for the next run or reactor_destroy. */
void reactor_stop(struct reactor *r);

const char *reactor_name(const struct reactor *r);
const struct clock *reactor_clock(const struct reactor *r);
int64_t reactor_now_ms(const struct reactor *r);  /* monotonic, read once per loop turn */
bool reactor_is_current(const struct reactor *r); /* is the caller on its thread (or is it not running)? */

/* Monotonic time of the last loop turn's start, for the watchdog. Any thread. An idle reactor turns at least once a
 * second while reactor_heartbeat(r, true). */
int64_t reactor_last_turn_ms(const struct reactor *r);
void reactor_heartbeat(struct reactor *r, bool on);

/* --- file descriptors --------------------------------------------------------------------------------------------- */

enum io_events { IO_READ = 1, IO_WRITE = 2 };

struct io;
typedef void io_fn(struct io *io, unsigned events); /* events: what is ready of what is waited for; never 0 */

struct io {
    struct reactor *reactor;
    io_fn *fn;
    int fd;
    unsigned events; /* what is being waited for; 0 = stopped */
    _Alignas(void *) unsigned char impl[48];
};

/* fd: open, borrowed; nothing is waited for yet. Stop before closing it (else the process aborts); init again for a new
 * descriptor. */
void io_init(struct io *io, struct reactor *r, int fd, io_fn *fn);

/* Level-triggered: fn is called in every turn in which one of `events` is ready; errors and hang-up count as both.
 * 0 stops: fn is not called any more, even if readiness was already seen in this turn. A no-op when nothing changes. */
void io_want(struct io *io, unsigned events);

/* --- timers ------------------------------------------------------------------------------------------------------- */

struct timer;
typedef void timer_fn(struct timer *t);

struct timer {
    struct reactor *reactor;
    timer_fn *fn;
    struct heap_node node; /* do not touch */
};

void timer_init(struct timer *t, struct reactor *r, timer_fn *fn);

/* (Re)start: fires once, in the first turn that begins after_ms or more from now (the clock's now, not the turn's; 1 ms
 * resolution). Less than 0 counts as 0. Due timers fire by time, equal ones in the order in which they were started;
 * one started by a timer's function fires in the next turn at the earliest. */
void timer_start(struct timer *t, int64_t after_ms);
void timer_stop(struct timer *t);
bool timer_is_active(const struct timer *t); /* false inside its own function, unless started again */

/* Reactors with a fake clock fire timers when the clock was moved and reactor_kick was called (any thread). A message
 * posted after the clock was moved comes after the timers that thereby fell due. */
void reactor_kick(struct reactor *r);

/* --- messages ----------------------------------------------------------------------------------------------------- */

struct post;
typedef void post_fn(struct post *p);

/* Embedded in what is sent, so that posting never allocates and never fails: bounds are kept where work is accepted. */
struct post {
    struct list link;
    post_fn *fn;
};

/* Any thread, the reactor's own included; in order per sender; p needs no initialisation and must not be pending. fn
 * may free it or post it again. What a message's function posts to its own reactor comes in a later turn. */
void reactor_post(struct reactor *r, struct post *p, post_fn *fn);

/* --- later: after the current batch of events --------------------------------------------------------------------- */

struct later {
    struct list link;
    void (*fn)(struct later *l);
};

void later_init(struct later *l);

/* A no-op when already waiting. fn may free what holds l; what it defers itself is called in the same turn. */
void reactor_later(struct reactor *r, struct later *l, void (*fn)(struct later *l));

/* --- signals, on one reactor of the process ----------------------------------------------------------------------- */

struct signal_watch;
typedef void signal_fn(struct signal_watch *w); /* on the reactor's thread, not in signal context */

struct signal_watch {
    struct reactor *reactor;
    signal_fn *fn;
    int signo;
    _Alignas(void *) unsigned char impl[48];
};

void signal_start(struct signal_watch *w, struct reactor *r, int signo, signal_fn *fn);
void signal_stop(struct signal_watch *w); /* back to the signal's default action */

#endif
