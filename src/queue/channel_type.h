/* channel_type.h - what a kind of channel is to the scheduler: a row of functions; and the jobs it gives them.
 *
 * Model:    a *job* is one worker busy with one destination: one connection of the SMTP client, one run of the store
 *           channel. It carries entries and asks for more while the destination has some (job_more), so that a
 *           connection is reused. For every entry the worker says what became of each recipient (job_result); when it
 *           has none left it ends (job_end), saying how the destination as a whole behaved.
 * Rules:    an entry is *open* from being given to the job until its job_result; it is given to nobody else until its
 *           result is durable. An entry that queue_entry_get does not know any more gets no result (or one with
 *           not_tried). A result that the disk refuses is kept and tried again, so that nothing is sent twice; what
 *           delivers inside the operation (job_result.deliver) happened only if that was recorded, and is put back.
 *           A job whose worker says nothing for a second counts as *stalled*, see scheduler.h.
 * Threads:  start is called on the scheduler's thread and must not block: it hands the job to a thread of the channel.
 *           job_more, job_result and job_end from any one thread at a time.
 */
#ifndef QUEUE_CHANNEL_TYPE_H
#define QUEUE_CHANNEL_TYPE_H

#include "queue/queue.h"

struct channel_job;

struct channel_type {
    const char *name;      /* "smtp" */
    bool one_job_per_host; /* order within a destination is kept (store) */
    bool needs_no_host;    /* hold: entries are held at once, no job is started */
    void (*start)(void *context, struct channel_job *job);
};
struct channel_binding { /* made by the room on top */
    const struct channel_type *type;
    void *context;
};

#define JOB_ENTRIES_MAX 100u /* entries that a job holds at once */

struct channel_job { /* lives until job_end; the scheduler's part is around it */
    uint64_t id;
    uint64_t dest;
    slice channel, host;
    const struct channel_conf *conf; /* of set */
    struct conf_set *set;            /* referenced for the job's life */
    bool is_probe;                   /* of a dead destination: one message only */
    const struct queue_brief *entries; /* at first at most threaddepth; what job_more brought replaces them */
    unsigned entry_count;
    void *worker;                    /* of the channel type */
};

/* What the worker found out about one entry; copied. Recipients without an outcome are still waiting. */
struct job_result {
    uint64_t entry;
    const struct queue_outcome *outcomes;
    unsigned outcome_count;
    bool not_tried;    /* put back as it was: no attempt is counted (stop, connection lost before MAIL) */
    int64_t retry_ms;  /* a wait of at least so long was asked for, with not_tried, too; 0: by backoff, or at once */
    slice where;       /* "mx.example.net [192.0.2.1]:25", for log and `why` */
    slice reason;      /* of the attempt as a whole, when no recipient says more; or empty */
    bool is_partial;   /* more of this entry follows: these are recorded, no attempt is counted, it stays open */
    bool peer_has_dsn; /* it took over responsibility for notices */
    /* of the connection, for the log's fields */
    slice transport, application; /* "TCP|ip|port|ip|port", "SMTP/host/mx" */
    slice modifiers;   /* "EQS" … */
    /* Deliver into the store inside the operation, see queue_request.deliver; `deliver_arg` is in r->arg then. The
     * notices are made before: when it finds that somebody ends otherwise than `outcomes` say it answers -1, and the
     * entry comes again. */
    int (*deliver)(struct journal_tx *tx, struct queue_request *r, struct err *err);
    void *deliver_arg;
    uint32_t deliver_bytes;
    struct queue_addition *additions; /* routed copies (process channel): in memory that lives until `done`; the body
                                         writers are taken over */
    /* On the scheduler's thread, once, perhaps after job_end; may be NULL. QUEUE_OK: durable. QUEUE_GONE: the entry had
     * ended. QUEUE_TEMP, QUEUE_FULL: only with deliver or not_tried, or when the scheduler stops: not recorded. */
    void (*done)(void *arg, enum queue_result result);
    void *arg;
};
/* The result is composed (backoff, notices), recorded, logged. */
void job_result(struct channel_job *job, const struct job_result *r);

/* More entries of the same destination for this job, at most max (and JOB_ENTRIES_MAX): they replace job->entries.
 * Answered on `reactor` by done(arg, count); 0: none, the job should end (or wait in its connection cache without a
 * job). One at a time; job_result may be called meanwhile, job_end not. */
void job_more(struct channel_job *job, unsigned max, struct reactor *reactor, void (*done)(void *arg, unsigned count),
              void *arg);

enum job_verdict {
    JOB_OK,          /* the destination works */
    JOB_UNREACHABLE, /* no connection, greeting refused, DNS temporary: entries wait, one probe at a time. When the job
                        had no result at all its first entry counts as attempted, with status and diag. */
    JOB_LIMITED,     /* it refused another connection (421 at greeting): fewer at once; the only one: as unreachable */
    JOB_STOPPED,     /* we stop */
};
/* The job is gone after this. Entries without result become ready again. diag: why, at most QUEUE_DIAG_MAX. */
void job_end(struct channel_job *job, enum job_verdict v, slice status, slice diag);
/* It goes on, though nothing ended yet (octets move): not stalled. */
void job_progress(struct channel_job *job);

#endif
