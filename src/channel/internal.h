/* internal.h - what the channels that stay in the house share: one reactor, jobs that take their entries in turn. */
#ifndef CHANNEL_INTERNAL_H
#define CHANNEL_INTERNAL_H

#include <stdatomic.h>

#include "base/mem.h"
#include "channel/channel.h"
#include "reactor/thread.h"

struct local_job;
struct local_work;

/* Begin with one entry; ends with local_give or local_skip, from the reactor, perhaps before it returns. */
typedef void local_deliver_fn(struct local_work *w);

struct local_kind {
    local_deliver_fn *deliver;
    void (*recorded)(struct local_work *w, enum queue_result result); /* on the reactor; may be NULL */
    void (*drop)(struct local_work *w); /* frees what the kind has in it; may be NULL */
    size_t work_bytes; /* of the struct that begins with struct local_work */
};
extern const struct local_kind store_kind, process_kind, hold_kind, bitbucket_kind;

struct local_type { /* a context of the scheduler */
    struct channel_service *service;
    const struct local_kind *kind;
};

#define LOCAL_TYPES 4u
#define CHANNEL_TYPES 6u

struct channel_service {
    struct channel_setup setup;
    struct reactor *reactor;
    struct thread thread;
    struct local_type types[LOCAL_TYPES];
    struct channel_binding bindings[CHANNEL_TYPES];
    unsigned binding_count;
    struct post stop;
    struct list jobs; /* owner: reactor */
    atomic_uint job_count; /* started and not ended */
    atomic_bool is_stopping; /* no entry is begun any more */
};

/* owner: the service's reactor */
struct local_job {
    struct post post;
    struct list link;
    struct channel_service *service;
    const struct local_kind *kind;
    struct channel_job *job; /* NULL: it has ended, and answers are still to come */
    unsigned at; /* next entry */
    unsigned open; /* works that live */
    bool is_busy; /* a work has neither been given nor skipped */
    bool is_turning; /* local_turn is below us on the stack */
    bool is_asking; /* job_more is unanswered */
};

/* One entry under way. owner: the reactor; from local_give until `recorded` the scheduler. */
struct local_work {
    struct local_job *of;
    uint64_t id;
    struct arena mem;
    struct queue_entry entry; /* of local_load */
    struct queue_outcome *outcomes;
    unsigned outcome_count;
    bool not_tried;
    int64_t retry_ms;
    int (*deliver)(struct journal_tx *tx, struct queue_request *r, struct err *err); /* r->arg: the work */
    uint32_t deliver_bytes;
    /* private */
    struct post post;
    enum queue_result result;
};

/* The entry into w->entry, and room for outcomes of all its recipients. False: it is gone. Any thread. */
bool local_load(struct local_work *w);
void local_outcome(struct local_work *w, unsigned rcpt, enum queue_rcpt_state state, slice status, slice diag);
/* The work is done: its result goes to the scheduler. */
void local_give(struct local_work *w);
void local_skip(struct local_work *w); /* without a result */

static inline const struct channel_setup *local_setup(const struct local_work *w)
{
    return &w->of->service->setup;
}

#endif
