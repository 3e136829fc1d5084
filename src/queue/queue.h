/* queue.h - messages that wait: entries with their recipients, what happened to them, and who is due.
 *
 * Model:    an *entry* is one message for one *destination* (channel and host) with some of its recipients; its id is
 *           the sequence of its first record. States:
 *
 *             (new) --enqueue--> READY --attempt--> (active, in memory only) --+--> gone: every recipient has ended
 *                                  ^                                          +--> DEFERRED until due_ms, then READY
 *             READY, DEFERRED --hold--> HELD --release--> READY               +--> HELD
 *
 *           A new entry is *young*: it lives in memory, and its records in the journal, until its first attempt ended
 *           or queue.young_s passed; only then (or beyond queue.young_max) it is written into the tables. A young entry
 *           never changes: what ends it removes it from memory and touches no entry table, whatever else happens to it
 *           writes it into the tables. Entries in the tables cost no memory. Changes are made inside journal
 *           operations: queue_emit_* by intake and by the requests below. The scheduler is told after each commit.
 *           A destination's id stands in the records of its entries; it is made from channel and host.
 *           Record types 0x0100-, tables 10-29 (record.h, internal.h).
 *
 * Invariants (numbered, checked by tests and queue_check):
 *   Q1  a recipient is created once and ends once (delivered, relayed, failed, returned, discarded, expanded, moved):
 *       created = ended + queued, by channel and in all, at any moment (queue_ledger).
 *   Q2  every entry has a body that is referred to, and at least one recipient that has not ended.
 *   Q3  the tables of due times and notice times hold exactly one row for each entry in the tables that is not held
 *       (of notice times: and that has one); nothing else.
 *   Q4  a destination's counts equal the sums over its entries.
 *   Q5  a result is recorded at most once for an attempt; an entry is attempted by one job at a time.
 *   Q6  the order of entries of one destination and priority is that of their due times, equal ones by id.
 *
 * Damage:   a stored entry that does not decode is left out of all lists, said once with diag_error and counted
 *           (queue.damaged); what is due goes on with the next one. queue_check names it.
 * Threads:  emit and apply: committer. Requests and readers: any thread. Watch callbacks: on the committer, short.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "base/confset.h"
#include "base/json.h"
#include "journal/journal.h"
#include "mail/envelope.h"
#include "queue/conf.h"

struct queue;

int queue_new(struct queue **out, const struct clock *clock, struct err *err);
const struct journal_room *queue_room(struct queue *q);
void queue_configure(struct queue *q, struct conf_set *conf); /* referenced; any thread */
int queue_attach(struct queue *q, struct journal *j, struct err *err); /* after journal_open */
void queue_destroy(struct queue **q); /* after journal_close */
/* Entries that have been young for young_s go into the tables. Called after each commit by itself, and about once a
 * second by the scheduler, for the time when nothing else happens. Any thread. */
void queue_tick(struct queue *q);

/* --- entries ------------------------------------------------------------------------------------------------------ */

enum queue_state { QUEUE_READY, QUEUE_DEFERRED, QUEUE_HELD };
extern const char *const queue_state_names[]; /* "ready" "deferred" "held" */

enum queue_rcpt_state { /* how a recipient stands or ended; shown by `why` and the log */
                        RCPT_WAITING,
                        RCPT_DELIVERED, /* in a mailbox, or handed to an LMTP server */
                        RCPT_RELAYED,   /* taken over by another host */
                        RCPT_FAILED,    /* permanently refused */
                        RCPT_RETURNED,  /* too old, or returned by hand */
                        RCPT_DELETED,   /* removed by hand, or discarded (bitbucket) */
                        RCPT_EXPANDED,  /* routed again: other entries or mailboxes stand for it */
                        RCPT_MOVED,     /* into another entry, or to another channel (reroute) */
                        RCPT_STATES
};
extern const char *const queue_rcpt_state_names[RCPT_STATES]; /* "waiting" "delivered" "relayed" … */

struct queue_rcpt {
    slice address;  /* as it goes on the wire */
    slice original; /* as accepted, when different; else empty */
    slice orcpt;    /* RFC 3461: "rfc822;…" raw xtext, or empty */
    uint32_t notify; /* enum notify_flags; 0: not given */
    uint8_t state;  /* enum queue_rcpt_state */
    slice status;   /* last enhanced status, "4.4.1", or empty */
    slice diag;     /* last diagnostic: "smtp;450 4.2.0 …" or our own words; at most QUEUE_DIAG_MAX octets */
};
#define QUEUE_DIAG_MAX 500 /* longer ones, and reasons, are cut */
#define QUEUE_STATUS_MAX 16

enum queue_entry_flags {
    QUEUE_IS_NOTICE = 1,   /* a notification of ours: never causes another */
    QUEUE_SMTPUTF8 = 2,    /* the envelope or header needs it */
    QUEUE_EXPANDED = 4,
    QUEUE_WARNED = 8,      /* a delay notice was sent */
    QUEUE_DOUBLE_BOUNCE = 16, /* a notice to postmaster: its failure ends silently */
};

#define QUEUE_HOST_MAX 300

struct queue_entry { /* a plain value; slices point into the arena it was decoded into */
    uint64_t id;
    uint64_t message; /* the same for all entries of one reception: id of the first one */
    uint64_t dest;    /* id of the destination, set by the call */
    slice channel, host; /* destination; host: domain, route host ("[10.0.0.9]:25", "unix:/path"), or user for ims-ms;
                            at most CHANNEL_NAME_MAX and QUEUE_HOST_MAX octets */
    enum queue_state state;
    enum queue_priority priority;
    uint32_t flags;    /* enum queue_entry_flags */
    uint32_t attempts; /* ended ones */
    int64_t created_ms, due_ms, attempted_ms, notice_ms; /* wall; notice_ms: of the next warning or return, 0: none */
    uint32_t notices;  /* warnings given */
    struct body_view view;
    slice sender;      /* empty: null reverse-path */
    slice envid;       /* raw xtext or empty */
    uint8_t ret, body; /* enum envelope_ret, enum envelope_body */
    slice auth;        /* MAIL AUTH=, or empty */
    slice message_id;  /* with angle brackets, or empty */
    slice source;      /* channel it came in by: "tcp_local", "tcp_submit", "process" … */
    slice session;     /* id of the reception (intake_message_id) */
    slice source_host; /* "helo (name [addr])" of the transaction log */
    slice user;        /* authenticated sender, or empty */
    slice reason;      /* why it is held; or the last diagnostic of the whole attempt (connection failed) */
    struct queue_rcpt *rcpts;
    unsigned rcpt_count;
};

/* Inside an operation: make the entry (id, dest, message if 0, created_ms if 0, state, due_ms, notice_ms are set by the
 * call). HELD when state says so or the channel holds (held, or of type hold); DEFERRED with a due_ms in the future
 * keeps both; attempts, attempted_ms and notices are 0 but for an import, which keeps them. Reference counts of the
 * view are taken here; every recipient counts as created in the ledger, so ended ones (state other than RCPT_WAITING)
 * are left out. More than entry_recipients_max recipients: several entries. Returns the id of the first; 0 with err,
 * nothing emitted: refused (ERR_LIMIT: entries_max, say 452 4.3.1; ERR_SYNTAX: no recipient, name too long). */
uint64_t queue_emit_enqueue(struct queue *q, struct journal_tx *tx, const struct queue_entry *e, struct err *err);

/* Is there room for one more entry (entries_max) at this moment? False is counted as a refusal. For who can say so
 * early; only queue_emit_enqueue is sure. Any thread. */
bool queue_has_room(struct queue *q);

/* Inside an operation: n recipients that came and ended in one, without an entry (direct delivery to the store; a
 * recipient expanded into others): created and ended, by channel. */
void queue_emit_passed(struct queue *q, struct journal_tx *tx, slice channel, enum queue_rcpt_state end, uint64_t n);

/* What an attempt or a hand did to one recipient. */
struct queue_outcome {
    unsigned rcpt; /* index in the entry */
    uint8_t state; /* RCPT_WAITING: still to be tried */
    slice status, diag;
};

/* --- requests ----------------------------------------------------------------------------------------------------- */

enum queue_what {
    QUEUE_RESULT,  /* an attempt ended: outcomes, next due time; further entries (notices, routed copies) with it */
    QUEUE_HOLD,
    QUEUE_RELEASE,
    QUEUE_RETRY,   /* due now */
    QUEUE_DELETE,  /* remaining recipients RCPT_DELETED */
    QUEUE_REROUTE, /* other channel and host, due now; the id stays; a channel that holds holds it */
    QUEUE_CHANNEL_STOP,
    QUEUE_CHANNEL_START, /* persistent; `channel` */
    QUEUE_PUT,     /* only the further entries: import, a notice without an entry */
};
enum queue_result { QUEUE_OK, QUEUE_GONE /* ended or unknown meanwhile */, QUEUE_BUSY /* active: try again */,
                    QUEUE_FULL, QUEUE_TEMP };

/* A further entry that comes with a request: body octets (a notice) or a view (a routed copy). */
struct queue_addition {
    struct queue_addition *next;
    struct queue_entry entry; /* id 0; slices in the request's mem */
    struct body_writer *body; /* finished, taken over by the request; NULL: entry.view counts */
    slice header;             /* without body: a replacement header block for entry.view (a routed copy), or empty */
    uint64_t id;              /* out: of the entry made */
};
/* Inside another room's operation (a notice about a direct delivery): the same for one addition. Its body and header
 * must live until the operation is answered; the body stays the caller's. 0 with err: refused. */
uint64_t queue_emit_addition(struct queue *q, struct journal_tx *tx, struct queue_addition *a, struct err *err);
/* An upper estimate of what it emits, for journal_op.bytes. */
uint64_t queue_addition_bytes(const struct queue_addition *a);

struct queue_request {
    enum queue_what what;
    struct arena mem; /* all slices given to the request are copied here by submit; additions: before */
    uint64_t entry;
    slice by, reason;  /* who and why: shown by `why` */
    slice channel, host; /* REROUTE, CHANNEL_* */
    struct queue_outcome *outcomes;
    unsigned outcome_count;
    int64_t due_ms;    /* RESULT: next attempt, if recipients are left; 0: stays */
    bool hold;         /* RESULT: hold what is left */
    bool is_attempt;   /* RESULT: counts as an attempt */
    bool is_partial;   /* RESULT: of an attempt that goes on: not counted, and its own mark is not in its way */
    bool is_warning;   /* RESULT: a delay notice went out: notices + 1, notice_ms anew (0: none any more) */
    int64_t notice_ms; /* RESULT: 0 without is_warning: stays */
    struct queue_addition *additions;
    /* Called on the committer inside the operation, before the result is emitted, if the entry is still there: deliver
     * into other rooms' tables (the store channel). May change outcomes and their count, within what was allocated, and
     * may be called again with the changed ones when the batch is run again. -1 with err: the request is refused. NULL:
     * nothing. */
    int (*deliver)(struct journal_tx *tx, struct queue_request *r, struct err *err);
    uint32_t deliver_bytes; /* an upper estimate of what deliver emits */
    uint64_t lane_session; /* fairness: any stable id of the origin; 0: the entry */
    struct reactor *reactor; /* where done is called; NULL: on the committer */
    void (*done)(struct queue_request *r);
    void *arg;
    /* out */
    enum queue_result result;
    struct err err;
    unsigned left; /* recipients still waiting */
    int64_t now_ms; /* wall time of the operation */
};
/* Results are about recipients that still wait: outcomes of others are left out, so that a fact is recorded even when a
 * hand came in between. What goes on: READY, DEFERRED with due_ms; HELD stays HELD. */
OWNED struct queue_request *queue_request_new(enum queue_what what);
void queue_request_submit(struct queue *q, struct queue_request *r); /* done is always called, also on refusal */
void queue_request_destroy(struct queue_request **r);
int queue_request_wait(struct queue *q, struct queue_request *r, struct err *err); /* tools; never on a reactor */

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* The entry, young or not, decoded into mem. False: unknown or ended. Any thread; opens its own short reader when v is
 * NULL. v: a reader that was just begun, or the view of an operation, which then sees what was emitted before. */
bool queue_entry_get(struct queue *q, struct journal_view *v, uint64_t id, struct arena *mem, struct queue_entry *out);
void queue_entry_id_print(uint64_t id, char out[17]); /* as people see it: hex, at least 8 digits */
bool queue_entry_id_parse(slice text, uint64_t *id);

/* All entries in order of id from `from` on, young ones included: at most max callbacks; returns the id to go on from,
 * 0 at the end. The callback may take its time, and returns false to stop. */
typedef bool queue_entry_fn(void *arg, const struct queue_entry *e);
uint64_t queue_each(struct queue *q, uint64_t from, unsigned max, queue_entry_fn *fn, void *arg);
/* Entries of one destination, held ones included, in order of id; as queue_each. */
uint64_t queue_each_of(struct queue *q, uint64_t dest, uint64_t from, unsigned max, queue_entry_fn *fn, void *arg);

struct queue_dest { /* counts of one destination, young entries included */
    uint64_t dest; /* id */
    slice channel, host;
    uint64_t entries, recipients, bytes, held; /* recipients: waiting ones; held: entries */
    int64_t oldest_ms, next_due_ms; /* created, of the entry with the lowest id; 0: none */
};
typedef bool queue_dest_fn(void *arg, const struct queue_dest *d);
/* All destinations that have entries, in order of their ids; the callback may take its time, and returns false to stop.
 * After opening, the scheduler learns from it what there is. */
void queue_dests(struct queue *q, queue_dest_fn *fn, void *arg);
/* Is anything queued there? v: the view of an operation, or NULL. */
bool queue_has(struct journal_view *v, struct queue *q, slice channel, slice host);
bool queue_channel_is_stopped(struct queue *q, slice channel); /* any thread, cheap */

/* Counts of one channel, or of all when it is empty. Any thread. */
struct queue_sum {
    uint64_t entries, recipients, bytes, held;
};
void queue_sum(struct queue *q, slice channel, struct queue_sum *out);
uint64_t queue_dest_count(struct queue *q); /* destinations that have entries; without reading them. Any thread */

/* Per channel and in all: {"channels": {"tcp_local": {"created", "delivered", "relayed", "failed", "returned",
 * "deleted", "expanded", "moved", "queued"}}, "total": …}: Q1. v: the view of an operation, or NULL. */
OWNED json_t *queue_ledger(struct queue *q, struct journal_view *v);
/* Recount Q1-Q4, one line a fault; their number, or -1. */
int queue_check(struct queue *q, journal_say_fn *say, void *arg, struct err *err);

/* --- for the scheduler -------------------------------------------------------------------------------------------- */

struct queue_brief { /* what the scheduler must know of an entry */
    uint64_t id, dest;
    int64_t due_ms; /* may lie in the future (import) */
    uint32_t bytes;
    uint8_t priority;
};
/* The scheduler marks what it attempts (true: it was not marked before; Q5). By hand, a marked entry is not deleted,
 * returned or rerouted (QUEUE_BUSY): the outcome of the attempt decides. In memory only; any thread. */
bool queue_mark_active(struct queue *q, uint64_t id, bool is_active);
bool queue_is_active(struct queue *q, uint64_t id); /* any thread */
/* Told on the committer after each commit; handlers post. */
struct queue_watch {
    void (*ready)(void *arg, const struct queue_brief *b, unsigned count); /* new, released, retried or rerouted */
    void (*gone)(void *arg, uint64_t dest, uint64_t id); /* held, deleted, moved by hand (not by a result) */
    void (*channel)(void *arg, slice channel, bool stopped);
    void *arg;
};
void queue_watch_set(struct queue *q, const struct queue_watch *w); /* one; before work begins */
bool queue_dest_name(struct queue *q, uint64_t dest, struct arena *mem, slice *channel, slice *host);
/* Up to max entries of the destination that are due by now_ms, by priority and due time, after skipping those for which
 * skip() says so (they are active) and those that are marked active. *next_due_ms: when to ask again (now_ms: at once,
 * there are more; 0: nothing else waits). 1,000 in under 5 ms cold. */
unsigned queue_due(struct queue *q, uint64_t dest, int64_t now_ms, bool (*skip)(void *arg, uint64_t id), void *arg,
                   struct queue_brief *out, unsigned max, int64_t *next_due_ms);
/* Up to max entries whose notice time has come; *next_ms as above. */
unsigned queue_notice_due(struct queue *q, int64_t now_ms, uint64_t *ids, unsigned max, int64_t *next_ms);

#endif
