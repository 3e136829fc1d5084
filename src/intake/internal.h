/* internal.h - what the files of intake share: the transaction and the steps that one file calls in another. */
#ifndef INTAKE_INTERNAL_H
#define INTAKE_INTERNAL_H

#include "base/counter.h"
#include "intake/intake.h"

#define INTAKE_ID_OCTETS 16u

struct intake {
    struct journal *journal;
    struct store *store;
    struct dir *dir;
    struct pool *helpers;
    const struct clock *clock;
};

enum intake_counter {
    IC_MESSAGES,
    IC_BYTES,
    IC_CREATED,
    IC_DELIVERED,
    IC_REFUSED,
    IC_EXPANDED,
    IC_MERGED,
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
    uint64_t messages, created, delivered, refused, expanded, merged;
};
/* Inside an operation: emit the ledger as it stands after `change`. */
void ledger_emit(struct journal_tx *tx, const struct ledger *change);

/* A mailbox that the message is to reach. owner: reactor, while committing: committer. */
struct target {
    struct target *next;
    uint64_t user_id, account;
    slice address; /* canonical, for Delivered-To: */
    unsigned index; /* in the message's list */
    bool is_looping; /* the message says that it was there already */
};

/* An accepted RCPT and the targets it stands for. */
struct accepted {
    struct accepted *next;
    struct recipient rcpt;
    struct target **targets;
    unsigned target_count;
    enum intake_reply verdict;
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
    struct question *todo;
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
    unsigned target_count;
    struct ledger ledger; /* of this message */
    struct expansion expansion;

    enum body_phase phase;
    enum intake_reply spoilt_by;
    uint64_t bytes; /* octets from the client */
    struct buf head; /* the header while it is incomplete; with several targets: trace fields and header */
    struct body_writer *writer;
    uint32_t header_end; /* in the body: where the message proper begins */

    /* committing */
    struct journal_op op;
    struct job finish; /* of a spooled body */
    struct err finish_err;
    struct store_delivery_target *deliveries;
    unsigned delivered; /* targets in the operation, once it is answered */
    enum intake_reply run_verdict; /* why run refused; INTAKE_REPLY_COUNT: it did not */
};

static inline const struct intake_conf *tx_conf(const struct intake_tx *tx)
{
    return conf_section(tx->conf, CONF_INTAKE);
}

/* A wait ends: frees an orphan, else says so to the protocol. */
void tx_answer(struct intake_tx *tx);
/* An accepted recipient or the whole message ends without delivery. */
void tx_count_end(const struct intake_tx *tx, unsigned delivered);

/* expand.c: ask for rcpt (or the sender, rcpt NULL). The verdict is set when it answers INTAKE_NOW. */
enum intake_status expand_begin(struct intake_tx *tx, const struct recipient *rcpt);

/* body.c */
void body_drop(struct intake_tx *tx); /* everything of the message; legal in any state */

/* deliver.c */
enum intake_status deliver_begin(struct intake_tx *tx);
enum intake_reply deliver_while_rebuilding(void); /* for recipients whose mailboxes are not ready yet */

#endif
