/* pool.h - helper threads for what blocks or burns processor time.
 *
 * Model:    a job is embedded in what it works on. `run` is called on a helper; afterwards `done` is posted to the
 *           reactor named in the job (or called on the helper itself when reactor is NULL). Jobs begin in the order of
 *           submission. The queue is bounded: a full pool refuses, and the caller stops reading from its peer or
 *           answers 451.
 * Threads:  pool_submit, pool_waiting and pool_helper from any thread.
 * Lifetime: pool_destroy runs what is queued, then joins; a job's memory must live until done, and a reactor until
 *           every pool is destroyed that has jobs for it.
 */
#ifndef REACTOR_POOL_H
#define REACTOR_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "reactor/reactor.h"

#define POOL_THREADS_MAX 64
#define POOL_QUEUE_MAX 1000000

struct pool;
struct job {
    struct post post; /* used for the answer; do not touch */
    struct list link; /* do not touch */
    void (*run)(struct job *job);
    void (*done)(struct job *job); /* may free the job or submit it again */
    struct reactor *reactor;
    bool is_long; /* may take minutes in order: the watchdog does not count it */
};

/* threads 1..POOL_THREADS_MAX, queue_max 1..POOL_QUEUE_MAX waiting jobs. NULL on failure. */
OWNED struct pool *pool_new(const char *name, unsigned threads, unsigned queue_max, struct err *err);
void pool_destroy(struct pool **p); /* NULL allowed; not from one of its own jobs */

/* False when the queue is full or the pool is being destroyed: nothing happened, the job is still the caller's. run and
 * done must be set. */
bool pool_submit(struct pool *p, struct job *job) MUST_USE;

/* Wait until nothing waits and nothing runs, for whoever is about to take away what jobs use and sees to it that no job
 * comes that needs it. Not from one of its own jobs. */
void pool_drain(struct pool *p);

unsigned pool_waiting(const struct pool *p); /* jobs not yet begun */

/* For the watchdog and for people: what the i-th helper does, i < pool_helpers. Times are counted by the clock of the
 * job's reactor, or the real one if it has none. */
struct pool_helper {
    const char *name; /* lives as long as the pool */
    int64_t turned_ms; /* its job began or, when it waits, the last one ended; that of its start before the first */
    bool is_running, is_long;
};
unsigned pool_helpers(const struct pool *p);
void pool_helper(const struct pool *p, unsigned i, struct pool_helper *out);

#endif
