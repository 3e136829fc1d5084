/* internal.h - what the files of intake share: the transaction and the steps that one file calls in another. */
#ifndef INTAKE_INTERNAL_H
#define INTAKE_INTERNAL_H

#include "base/counter.h"
#include "intake/intake.h"
#include "intake/trace.h"

#define INTAKE_ID_OCTETS 16u

struct intake {
    struct journal *journal;
    struct store *store;
    struct dir *dir;
    struct queue *queue;
    struct pool *helpers;
    const struct clock *clock;
    struct txlog *log;   /* may be NULL */
    struct tally *tally; /* may be NULL */
};

enum intake_counter {
    IC_MESSAGES,
    IC_BYTES,
    IC_CREATED,
    IC_DELIVERED,
    IC_REFUSED,
    IC_EXPANDED,
    IC_MERGED,
    IC_QUEUED,
    IC_HELD,
    IC_RCPT_REFUSED,
    IC_TARGETS_LOST,
    IC_SPOOLED,
    IC_CLIENTS_REFUSED,
    IC_HELO_REFUSED,
    IC_USERS_REFUSED,
    IC_COUNT
};
extern struct counter intake_counters[IC_COUNT];

/* Totals of the ledger; also how one message changes them. */
struct ledger {
    uint64_t messages, created, delivered, refused, expanded, merged, queued, passed;
};
/* Inside an operation: emit the ledger as it stands after `change`. */
void ledger_emit(struct journal_tx *tx, const struct ledger *change);

#define CHANNEL_STORE SLICE("ims-ms")
#define CHANNEL_HOLD SLICE("hold")

enum looping { LOOPING_REFUSE, LOOPING_HOLD }; /* words of the key */

enum target_kind {
    TARGET_MAILBOX, /* of ours */
    TARGET_HELD,    /* a user whose mail is kept back: routed again when it is released */
    TARGET_REMOTE,
};
enum target_fate { FATE_REFUSED, FATE_MAILBOX, FATE_QUEUED };

/* Where the message is to go. owner: reactor, while committing: committer. */
struct target {
    struct target *next;
    enum target_kind kind;
    uint64_t user_id, account; /* of ours */
    uint64_t key;              /* equal for equal targets, and seldom else */
    slice address;             /* canonical, for Delivered-To:; remote: as it goes on the wire */
    slice channel, host;       /* of the queue */
    const struct accepted *of; /* the recipient that brought it first */
    unsigned index;            /* in the message's list */
    bool is_looping;           /* the message says that it was there already */
    slice block;               /* its own header, empty: the body's */
    /* as decided, anew in every run of the operation */
    enum target_fate fate;
    enum intake_reply verdict;
    bool is_wanted;
    uint64_t entry;
    uint32_t uid, uidvalidity;
};

/* An accepted RCPT and the targets it stands for. */
struct accepted {
    struct accepted *next;
    struct recipient rcpt;
    struct target **targets;
    unsigned target_count;
    bool is_alias;
    enum intake_reply verdict;
    enum intake_reply checked; /* channel process: the verdict that the entry's recipient is to end with */
};

/* An address that waits to be asked for in an expansion. */
struct question {
    struct question *next;
    struct address address;
    unsigned depth; /* 0: the RCPT itself */
};

/* What a RCPT, or a MAIL whose sender must be the user's, is asking the directory. */
struct expansion {
    bool is_sender_check;
    struct question *unasked;
    struct question *seen; /* every address asked, so that circles end */
    unsigned depth; /* of the question under way */
    struct target *found; /* newest first */
    unsigned found_count, extra, merged; /* extra: targets beyond the RCPT itself, as the ledger counts */
    bool is_alias;
    struct dir_user user; /* the one whose account is being made */
    struct store_request *ensure;
    struct dir_query query;
    const struct recipient *rcpt;
};

/*            BODY_HEAD --header complete--> BODY_REST
 *   BODY_HEAD, BODY_REST --intake_body_spoil, too large, no room--> BODY_SPOILT
 * In BODY_SPOILT there is no writer any more. */
enum body_phase { BODY_NONE, BODY_HEAD, BODY_REST, BODY_SPOILT };

/* The states of intake.h's diagram. */
enum tx_state { TX_IDLE, TX_MAIL, TX_RCPT, TX_BODY, TX_COMMITTING };

struct intake_tx {
    struct intake *in;
    struct conf_set *conf;
    const struct intake_peer *peer; /* borrowed: not to be looked at once is_orphan */
    struct reactor *reactor;
    uint64_t session;
    intake_done_fn *done;
    void *arg;

    enum tx_state state;
    bool is_waiting; /* somebody else holds a part of this object and will call */
    bool is_orphan; /* destroyed while waiting: freed by that call */
    bool is_all_or_nothing; /* one answer for all recipients: not LMTP */
    enum intake_reply verdict;
    struct arena mem; /* of one message */
    char id[INTAKE_ID_OCTETS];

    struct envelope from;
    struct accepted *first, *last;
    unsigned accepted_count;
    struct target *targets; /* of all accepted ones, without duplicates */
    struct target *targets_last;
    unsigned target_count, mailbox_count;
    struct ledger ledger; /* of this message */
    struct expansion expansion;

    enum body_phase phase;
    enum intake_reply spoilt_by;
    uint64_t bytes; /* octets from the client */
    struct buf head; /* the header while it is incomplete; with several targets: trace fields and header */
    struct body_writer *writer;
    uint32_t header_end; /* in the body: where the message proper begins */
    bool has_blocks; /* the body begins with what all share; else with the first target's own fields */
    bool is_held; /* it is looping, and waits in the queue until somebody looks */
    slice message_id;
    enum queue_priority priority;
    const struct queue_entry *known; /* channel process: the entry it comes from; no writer then */
    struct body_view known_view;

    /* committing */
    struct journal_op op;
    struct job finish; /* of a spooled body */
    struct err finish_err;
    struct ledger change; /* of the operation, once it is answered */
    struct trace trace; /* without recipients; also what entries of the queue say about the origin */
    slice source_host; /* "helo ([addr])" */
    bool is_chunked, is_pipelined; /* with the trace */
    enum intake_reply run_verdict; /* why run refused; INTAKE_REPLY_COUNT: it did not */
};

static inline const struct intake_conf *tx_conf(const struct intake_tx *tx)
{
    return conf_section(tx->conf, CONF_INTAKE);
}

/* A wait ends: frees an orphan, else says so to the protocol. */
void tx_answer(struct intake_tx *tx);
/* The message ends: what the counters get. change: what the operation did; NULL: nothing was delivered. */
void tx_count_end(const struct intake_tx *tx, const struct ledger *change);

/* expand.c: ask for rcpt (or the sender, rcpt NULL). The verdict is set when it answers INTAKE_NOW. */
enum intake_status expand_begin(struct intake_tx *tx, const struct recipient *rcpt);

/* body.c */
void body_drop(struct intake_tx *tx); /* everything of the message; legal in any state */

/* The header without Return-Path: fields of former deliveries into out (may be NULL); notes Message-ID, priority and
 * who was reached already. False: the message was spoilt. */
bool header_take(struct intake_tx *tx, slice header, struct buf *out);
/* Return-Path: (RFC 5321 4.4) and Delivered-To: (RFC 9228) of one target. */
void put_own_fields(const struct intake_tx *tx, const struct target *t, struct buf *out);
/* Header blocks of the mailboxes that need one; header: what all share. */
void blocks_make(struct intake_tx *tx, slice header);

/* route.c */
bool route_may_relay(const struct intake_tx *tx);
bool route_is_ours(const struct intake_tx *tx, const struct address *a); /* a literal of the address it came to */
/* Channel and host of an address that is not ours. INTAKE_REPLY_COUNT: found. */
enum intake_reply route_find(struct intake_tx *tx, const struct address *a, struct target *t);
slice route_source(const struct intake_tx *tx); /* the channel by which the message came in */

/* commit.c: in the operation, on the committer */
/* What becomes of each target, as far as the view tells; the recipients' verdicts. Returns how many targets go on. */
unsigned commit_decide(struct intake_tx *tx, struct journal_view *v, enum intake_reply *first_refusal);
int commit_emit(struct intake_tx *tx, struct journal_tx *jtx, struct err *err);
uint32_t commit_bytes(const struct intake_tx *tx); /* an upper estimate, without the body */

/* trace.c */
/* On the reactor: who brought it, which the committer may not ask any more. Texts into mem. */
void trace_begin(struct intake_tx *tx, struct arena *mem);
void trace_emit(struct intake_tx *tx, struct journal_tx *jtx, uint64_t body);

/* record.c: the log and the channels' numbers */
void record_taken(struct intake_tx *tx);
void record_refused(struct intake_tx *tx); /* the accepted recipients whose verdict is a refusal */
/* MAIL (rcpt NULL) or a RCPT was refused. */
void record_refused_one(struct intake_tx *tx, const struct recipient *rcpt, enum intake_reply why);
void record_cut_off(struct intake_tx *tx); /* by the end of the connection */

/* deliver.c */
enum intake_status deliver_begin(struct intake_tx *tx);

#endif
