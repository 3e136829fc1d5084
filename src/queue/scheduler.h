/* scheduler.h - who is due, and who may run: the Job Controller.
 *
 * Model:    one thread. Each destination with entries has a small record in memory (under 300 octets); those that wait
 *           for a time stand in a heap, those that may run in rings: channels in their pool, destinations in their
 *           channel, served in turn, so that none waits for another. New entries come from queue's watch and are run at
 *           once, without reading a table; deferred ones are looked up when due (queue_due), never by scanning; what is
 *           looked up is what a job is about to take. Warnings and returns are looked up by notice time.
 * Growth:   a destination starts with one job; each success lets it have one more, up to one per threaddepth waiting
 *           messages, host_jobs, maxjobs and job_limit. JOB_LIMITED takes it back to what ran besides, without growth
 *           for a minute. JOB_UNREACHABLE makes it *dead*: its entries stay untouched, one job with one message probes
 *           it after dead_retry_min_s, doubled up to dead_retry_max_s, if something is due then; the first answer opens
 *           it again.
 * Slowness: a job whose worker says nothing for SCHEDULER_STALL_MS is *stalled*, its destination *slow* until a
 *           success: one job at a time, and all slow destinations together use at most half of the pool. Stalled jobs
 *           count for at most half of job_limit, so that the other half turns over whatever hangs; all together never
 *           more than SCHEDULER_STALL_FACTOR times job_limit. (A job_limit of 1 stays 1.)
 * Order:    within a destination by priority and due time; when more than SCHEDULER_FAIR_AT wait, senders (user, else
 *           domain, else address) take turns among those in view: the first SCHEDULER_VIEW due ones and new arrivals.
 * Times:    wall clock for due times, monotonic for waits. A step of the clock is noticed within a second, and the heap
 *           made anew; after one of more than ten minutes back everything is due, since nothing should wait for a time
 *           that came from a wrong clock.
 * Results:  one that the disk refuses is tried again every second, later every half minute; meanwhile no job starts.
 * Threads:  its own; the calls below from any thread. Locks: none held while calling out.
 * Lifetime: scheduler_stop, then the channels' threads end (and with them the last job), then journal_close, then
 *           scheduler_destroy, then the helpers and the queue: its watch points here until the journal is closed.
 */
#ifndef QUEUE_SCHEDULER_H
#define QUEUE_SCHEDULER_H

#include "queue/channel_type.h"
#include "queue/tally.h"
#include "reactor/pool.h"

#define SCHEDULER_STALL_MS 1000
#define SCHEDULER_STALL_FACTOR 10u
#define SCHEDULER_FAIR_AT 20u
#define SCHEDULER_VIEW 200u /* entries of a destination in memory */

struct txlog;
struct scheduler;

struct scheduler_setup {
    struct queue *queue; /* attached; its watch is set */
    struct journal *journal;
    struct pool *helpers;      /* composing notices, reading the list of destinations; NULL: on the thread itself */
    const struct clock *clock;
    struct conf_set *conf;     /* referenced */
    struct txlog *log;         /* may be NULL */
    struct tally *tally;       /* shared with intake, outlives it; NULL: one of its own */
    const struct channel_binding *types; /* copied */
    unsigned type_count;
    struct reactor *reactor;   /* tests drive it; NULL: a thread of its own */
    uint32_t stop_grace_ms;    /* 0: 10 s */
};
/* Jobs may start before it returns. */
int scheduler_new(struct scheduler **out, const struct scheduler_setup *s, struct err *err);
void scheduler_reload(struct scheduler *s, struct conf_set *conf);
/* No more jobs; waits at most stop_grace_ms for those that run (a driven one does not wait). */
void scheduler_stop(struct scheduler *s);
void scheduler_destroy(struct scheduler **out); /* waits for what the journal has answered */
/* At this moment, without asking the scheduler: jobs that run; destinations that cannot be reached (by any scheduler of
 * the process). Any thread. */
uint64_t scheduler_job_count(const struct scheduler *s);
uint64_t scheduler_dead_count(const struct scheduler *s);
/* It turns at least once a second: for the watchdog. */
const struct reactor *scheduler_reactor(const struct scheduler *s);

/* Everything of the channel, of the destination, or (both empty) of all is due now; dead destinations are probed. */
void scheduler_run(struct scheduler *s, slice channel, slice host);

/* For `queue top` and `channel list`: copies, on the calling thread; waits at most 1 s for the scheduler, then -1.
 * Destinations that have entries, in order of ids. */
struct dest_row {
    uint64_t dest;
    char channel[CHANNEL_NAME_MAX + 1], host[QUEUE_HOST_MAX + 1];
    uint64_t waiting, active, deferred, held; /* entries; waiting: due, counted up to 1,000 unless in view */
    unsigned jobs, concurrency;
    bool is_dead, is_slow;
    int64_t next_ms, oldest_ms; /* wall; 0: none, or now */
    uint64_t delivered, failed; /* recipients, since the record was made */
    char diag[200];             /* last trouble */
};
typedef void dest_row_fn(void *arg, const struct dest_row *row);
int scheduler_dests(struct scheduler *s, dest_row_fn *fn, void *arg);
struct job_row {
    uint64_t id, dest;
    char channel[CHANNEL_NAME_MAX + 1], host[QUEUE_HOST_MAX + 1];
    int64_t began_ms; /* wall */
    uint64_t entry;   /* under way; 0: none */
    unsigned entries; /* given and without result */
    uint64_t processed, requeued;
    bool is_probe, is_stalled;
};
typedef void job_row_fn(void *arg, const struct job_row *row);
int scheduler_jobs(struct scheduler *s, job_row_fn *fn, void *arg);
bool scheduler_is_active(struct scheduler *s, uint64_t entry);
/* The channels' counters, for whoever counts (intake: received, rejected, connections) or shows them. */
struct tally *scheduler_tally(struct scheduler *s);

#endif
