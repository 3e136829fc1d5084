/* scheduler_internal.h - what the files of the scheduler share.
 *
 *   scheduler.c       life, what the queue tells, the timer     scheduler_dest.c    destinations: view, waits, growth
 *   scheduler_job.c   pools and channels, jobs                  scheduler_result.c  results, ages, their records
 *   scheduler_rows.c  the list after a start, rows for people
 *
 * Everything belongs to the scheduler's thread unless it says otherwise.
 *
 * A destination is in one of these conditions; dest_place, called after every change, puts it where it belongs:
 *
 *   has work, may run          in its channel's ring ready[is_slow]; the channel, unless full or stopped, in its pool's
 *   has work, must wait        in the heap until not_before_ms (dead, paused)
 *   has work, has enough jobs  nowhere: job_more, job_end and results come back to it
 *   waits for a due time       in the heap until then
 *   has nothing                in the heap until it is forgotten
 *
 * "Has work": entries in view, or has_more: perhaps the tables have due ones that are not in view. An entry in view is
 * due, not active and not held; queue_mark_active settles what the view learned too late.
 */
#ifndef QUEUE_SCHEDULER_INTERNAL_H
#define QUEUE_SCHEDULER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/counter.h"
#include "base/diag.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "log/txlog.h"
#include "queue/scheduler.h"
#include "reactor/thread.h"

#define FLUSH_HORIZON (INT64_MAX / 2) /* "now" when everything is due */
#define FLUSHED_MAX 100000u           /* deferred again during one flush of a destination, then it ends */
#define IDLE_MS INT64_C(600000)       /* a destination without entries is remembered so long */
#define TICK_MS 1000
#define VIEW_TOTAL_MAX 100000u        /* entries in all views; beyond, tables are asked */
#define INFLIGHT_MAX 4096             /* results that the journal has yet to record; beyond, nobody gets more work */
#define STARTS_AT_ONCE 256u           /* jobs, and destinations woken, in one turn of the reactor */

struct waiting { /* an entry in view */
    uint64_t id;
    int64_t due_ms;
    uint32_t bytes;
    uint32_t sender; /* hash; 0: not known yet */
    uint32_t turn;
    uint8_t priority;
};

struct dest {
    uint64_t id;
    struct channel *channel;
    struct heap_node wake;
    struct list ring;
    struct waiting *view; /* the next one last */
    struct idmap *flushed; /* deferred again during the flush; NULL: no flush */
    char *diag;
    uint64_t seen_id;       /* highest id that was in view */
    int64_t due_ms;         /* wall: the tables are asked then; 0: not */
    int64_t not_before_ms;  /* monotonic */
    int64_t grow_after_ms;  /* monotonic */
    uint32_t active;        /* given to jobs, result not durable */
    uint32_t turn;
    uint32_t delivered, failed;
    uint16_t count, cap;    /* of the view */
    uint16_t jobs, concurrency;
    uint8_t failures, pauses;
    bool is_dead, is_slow, has_more;
    uint16_t host_len;
    char host[];
};

struct channel {
    struct list link;
    char name[CHANNEL_NAME_MAX + 1];
    const struct channel_conf *conf; /* of the scheduler's set; NULL: not configured any more */
    const struct channel_binding *binding; /* NULL: none for its type */
    struct pool_state *pool;
    uint32_t jobs, jobs_max;
    bool is_stopped;
    struct list ready[2];   /* struct dest.ring: others, slow ones */
    struct list in_pool[2]; /* struct pool_state.channels */
};

struct pool_state {
    struct list link;
    char name[CHANNEL_NAME_MAX + 1];
    uint32_t limit, jobs, stalled, slow;
    struct list channels[2];
    bool slow_first; /* whose turn it is when both could start */
};

struct job_state {
    struct channel_job pub;
    struct scheduler *s;
    struct dest *dest;
    struct list link, lively; /* lively: also of stalled ones, in another list */
    struct list pressed;      /* its job_more waits until the journal has caught up */
    int64_t began_ms;         /* wall */
    int64_t checked_ms;       /* monotonic: heard of by then */
    bool is_stalled, is_slow;
    unsigned taken;
    struct queue_brief *given; /* pub.entries */
    struct queue_brief *incoming;
    unsigned incoming_count;
    struct post post;
    unsigned more_max;
    struct reactor *more_reactor;
    void (*more_done)(void *arg, unsigned count);
    void *more_arg;
    enum job_verdict verdict;
    char status[QUEUE_STATUS_MAX], diag[QUEUE_DIAG_MAX];
    unsigned status_len, diag_len;
    /* owner: the worker's thread until job_end is taken in */
    uint64_t *open;
    unsigned open_count, open_cap, results, put_back;
    /* any thread */
    _Atomic int64_t heard_ms;
    _Atomic uint64_t current;
    _Atomic unsigned open_shown;
    _Atomic uint64_t processed, requeued;
};

struct result { /* in the memory of its request */
    struct post post;
    struct list link;
    struct scheduler *s;
    struct dest *dest;
    struct conf_set *set;
    const struct channel_conf *conf;
    struct queue_request *request;
    struct queue_entry entry; /* as it was before */
    bool not_tried, is_age;
    int64_t retry_ms;
    slice where, transport, application, modifiers;
    int (*deliver)(struct journal_tx *tx, struct queue_request *r, struct err *err);
    void *deliver_arg;
    void (*done)(void *arg, enum queue_result result);
    void *arg;
};

struct scheduler {
    struct scheduler_setup setup;
    struct channel_binding *types;
    struct queue *queue;
    const struct clock *clock;
    struct reactor *reactor, *own_reactor;
    struct thread thread;
    struct tally *tally;
    struct conf_set *set;
    const struct queue_conf *conf;
    const struct channels_conf *channels_conf;
    struct arena defaults, scratch;
    struct queue_conf default_queue;
    struct channels_conf default_channels;

    struct idmap dests;
    struct heap wakes;
    struct list channels, pools, jobs, lively, stalled, pressed;
    uint64_t next_job;
    unsigned view_total;
    struct later dispatch;
    struct post go_on; /* the rest of the work in the next turn */
    bool goes_on;
    struct timer timer;
    int64_t armed_ms, tick_ms, notice_ms, retry_ms; /* monotonic; 0: never */
    int64_t offset_ms; /* wall minus monotonic at the last tick */
    int64_t retry_wait_ms;
    struct list refused; /* results that could not be recorded yet */
    bool disk_refuses;
    unsigned notices_pending;
    bool notices_go_on;
    bool is_loading, run_after_load;
    struct job load;

    _Atomic bool is_stopping; /* no new jobs */
    _Atomic bool is_over;     /* nothing for the journal any more */
    _Atomic int64_t inflight; /* results and requests under way */
    _Atomic int64_t job_count;
};

enum {
    SC_JOBS,
    SC_JOBS_STARTED,
    SC_STALLED,
    SC_DESTS,
    SC_DEAD,
    SC_COLLAPSES,
    SC_PROBES,
    SC_IN_VIEW,
    SC_REFUSED,
    SC_WARNINGS,
    SC_AGED,
    SC_STEPS,
    SC_COUNT
};
extern struct counter scheduler_counters[SC_COUNT];

static inline int64_t mono_now(const struct scheduler *s)
{
    return clock_mono_ms(s->clock);
}
static inline int64_t wall_now(const struct scheduler *s)
{
    return clock_wall_ms(s->clock);
}
static inline bool is_pressed(const struct scheduler *s)
{
    return atomic_load(&s->inflight) > INFLIGHT_MAX && !atomic_load(&s->is_stopping);
}
static inline bool is_blocked(const struct scheduler *s)
{
    return s->disk_refuses || atomic_load(&s->is_stopping);
}
/* Soon, once for all that happens in this turn: start what can start, and set the timer. */
void scheduler_again(struct scheduler *s);

/* --- scheduler_dest.c --------------------------------------------------------------------------------------------- */

struct dest *dest_get(struct scheduler *s, uint64_t id, slice channel, slice host);
struct dest *dest_of_id(struct scheduler *s, uint64_t id); /* made when there is none; NULL: nothing is queued there */
void dest_free(struct scheduler *s, struct dest *d);
void dest_place(struct scheduler *s, struct dest *d);
void dest_woken(struct scheduler *s, struct dest *d); /* may free it */
void dest_ready(struct scheduler *s, struct dest *d, const struct queue_brief *b);
void dest_gone(struct scheduler *s, struct dest *d, uint64_t id);
void dest_due(struct scheduler *s, struct dest *d, int64_t due_ms);
void dest_flush(struct scheduler *s, struct dest *d);
/* The next one, marked as active. False: none is due. */
bool dest_take(struct scheduler *s, struct dest *d, struct queue_brief *out);
/* Not active any more; put_back: without a result, so that it is still due. */
void dest_released(struct scheduler *s, struct dest *d, uint64_t id, bool put_back);
void dest_alive(struct scheduler *s, struct dest *d);
void dest_success(struct scheduler *s, struct dest *d);
void dest_unreachable(struct scheduler *s, struct dest *d, bool was_probe);
void dest_limited(struct scheduler *s, struct dest *d);
void dest_pause(struct scheduler *s, struct dest *d);
void dest_slow(struct scheduler *s, struct dest *d, bool is_slow);
void dest_diag(struct dest *d, slice diag);
static inline slice dest_host(const struct dest *d)
{
    return slice_of(d->host, d->host_len);
}

/* --- scheduler_job.c ---------------------------------------------------------------------------------------------- */

struct channel *channel_get(struct scheduler *s, slice name);
void channel_place(struct channel *c); /* after a change of its rings, jobs or state */
void channels_configure(struct scheduler *s);
void channels_free(struct scheduler *s);
bool jobs_start(struct scheduler *s); /* true: there is more to start */
void jobs_ease(struct scheduler *s);  /* answers those that wait for the journal */
int64_t jobs_stall(struct scheduler *s); /* the monotonic time of the next check; 0: none */
void jobs_revive(struct scheduler *s);   /* stalled ones that were heard */

/* --- scheduler_result.c ------------------------------------------------------------------------------------------- */

/* Any thread. `job`'s entry `id` was tried: nobody got anything. */
void result_unreached(struct scheduler *s, struct dest *d, struct job_state *j, uint64_t id);
void results_retry(struct scheduler *s);
void results_give_up(struct scheduler *s);
void notices_look(struct scheduler *s);
void entry_hold(struct scheduler *s, struct dest *d, uint64_t id);

/* --- scheduler_rows.c --------------------------------------------------------------------------------------------- */

void load_start(struct scheduler *s);
void run_matching(struct scheduler *s, slice channel, slice host);

#endif
