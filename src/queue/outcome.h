/* outcome.h - what an attempt means: who has ended, when the rest is tried again, who must be told.
 *
 * Model:    outcome_decide takes an entry, what an attempt, a hand, or age did to it, and the channel's settings. It
 *           says which recipients end and how, when the rest is due, and which notices are to be made. It does nothing
 *           itself; queue/notice.h makes the notices, and a request of queue.h records all of it at once.
 * Notices:  RFC 3461 4.1: NOTIFY decides, and without it failures and delays are told. Nobody is told of
 *           what happened to a notice or to any other message with a null reverse-path: their failure goes to
 *           postmaster, once; the failure of that ends silently. A recipient relayed to a host that takes over DSN
 *           (RFC 3461 5.2.2) is that host's affair. sendpost and warnpost give postmaster copies.
 * Age:      notices n1 ... nk of the channel: warnings at the ages n1 to nk-1, the return at nk, with 4.4.7.
 * Pure.
 */
#ifndef QUEUE_OUTCOME_H
#define QUEUE_OUTCOME_H

#include "mail/dsn.h"
#include "queue/queue.h"

enum outcome_cause {
    CAUSE_ATTEMPT,        /* outcomes: what became of each recipient; those without one are waiting */
    CAUSE_AGE,            /* a notice time has come: warn, or return */
    CAUSE_RETURN_BY_HAND, /* waiting recipients go back to the sender; reason: why */
    CAUSE_DELETE_BY_HAND, /* waiting recipients end, nobody is told */
};

struct outcome_input {
    const struct queue_entry *entry;
    const struct channel_conf *channel;
    const struct queue_conf *queue;
    enum outcome_cause cause;
    const struct queue_outcome *outcomes;
    unsigned outcome_count;
    slice reason;      /* by hand: what the sender reads */
    int64_t now_ms;    /* wall */
    int64_t retry_ms;  /* the peer asked for a wait at least so long; 0: it did not */
    bool peer_has_dsn; /* the host that took relayed recipients offers DSN */
    uint32_t random;   /* for queue.jitter_percent */
};

enum outcome_to {
    TO_SENDER,
    TO_POSTMASTER,        /* a copy */
    TO_POSTMASTER_DOUBLE, /* what nobody else can be told */
};
struct outcome_notice {
    enum dsn_kind kind;
    enum outcome_to to;
    unsigned *rcpts; /* indexes in the entry */
    unsigned rcpt_count;
    struct outcome_notice *next;
};

struct outcome {
    struct queue_outcome *outcomes; /* of every recipient about which something is to be recorded */
    unsigned outcome_count;
    unsigned left;     /* recipients that go on waiting */
    int64_t due_ms;    /* CAUSE_ATTEMPT: of the rest; else 0: it stays */
    bool is_warning;
    int64_t notice_ms; /* with is_warning: the next notice time */
    int64_t allowed_ms; /* age at which the message is returned, for the texts */
    struct outcome_notice *notices;
};

/* Everything in out lives in mem; slices of the input are borrowed. */
void outcome_decide(const struct outcome_input *in, struct outcome *out, struct arena *mem);

#endif
