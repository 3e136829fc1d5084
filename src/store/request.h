/* request.h - a request and its chain of operations, for the files of the store.
 *
 * Model:    a request runs as one or more operations (*pieces*). `run` may be called more than once for a piece, so
 *           it works on `piece`, which is empty at its start; when the piece is durable, `request_done` makes it part
 *           of what was achieved and submits the next one, or tells the caller.
 *
 *               NEW --submit--> RUNNING --piece durable, piece.more--> RUNNING
 *               RUNNING --last piece durable, or refused with nothing to take back--> DONE
 *               RUNNING --a later piece of a COPY refused--> TAKING_BACK --all copies removed--> DONE
 *
 * Threads:  `run` on the committer; everything else on the request's reactor (without one: on the committer).
 */
#ifndef STORE_REQUEST_H
#define STORE_REQUEST_H

#include "store/emit.h"
#include "store/names.h"
#include "store/view.h"

enum request_state { REQUEST_NEW, REQUEST_RUNNING, REQUEST_TAKING_BACK, REQUEST_DONE };

struct place { /* where the next piece begins in the request's uids */
    unsigned range;
    uint32_t uid;
};

struct piece { /* what the run under way found; becomes true when it is durable */
    struct place next;
    bool more;
    uint64_t source, target;
    uint32_t uid_limit; /* messages that came after the first piece do not belong to the request; 0: not known */
    uint64_t copying; /* object of a COPY that takes several pieces (copying.c), 0: none */
    bool is_moving; /* RENAME of INBOX: the target is made, messages follow */
    unsigned count; /* rows */
    unsigned modified_count;
    uint32_t first_to; /* uid of rows[0] in the target; the others follow */
    uint64_t modseq;
    bool is_doomed; /* the reaper has something to do */
};

struct request {
    struct store_request pub; /* first */
    struct journal_op op;
    struct store *store;
    struct store_limits *limits;
    struct post post; /* for answers that need no operation */
    enum request_state state;
    bool is_orphan; /* destroyed while running: nobody is told */
    unsigned pieces;
    struct piece done, piece;
    unsigned row_max; /* at most STORE_OP_MESSAGES; 0: the request is not about messages */
    struct store_row *rows; /* row_max; of the piece */
    uint32_t *modified; /* row_max; of the piece */
    struct buf from, to, modified_ranges; /* struct uid_range; achieved */
    struct buf copied; /* struct uid_range; as `to`, but as few as possible: for copying.c and taking back */
    struct job warm_job; /* a helper reads the view of a large change, so that no reactor has to */
    struct store_view *warm;
    bool is_back_begun; /* taking back: done.next is a place in `copied` */
    enum store_result failed; /* why it takes back */
};

typedef int request_run_fn(struct request *q, struct journal_tx *tx, struct err *err);
request_run_fn run_account_ensure, run_account_delete, run_quota_set;
request_run_fn run_create, run_delete, run_rename, run_subscribe;
request_run_fn run_append, run_flags, run_copy, run_expunge, run_take_back;

/* Refuse: sets the result and returns -1. Only before anything was emitted. */
int request_refuse(struct request *q, enum store_result result, struct err *err);

/* The source mailbox of the request into q->piece.source and its head; refuses with STORE_NO_MAILBOX. */
int request_source(struct request *q, struct journal_view *v, struct mailbox_head *h, struct err *err);
int request_target(struct request *q, struct journal_view *v, struct mailbox_head *h, struct err *err);
int request_account(struct request *q, struct journal_view *v, struct account_head *h, struct err *err);

/* Missing levels above `name`, as names; how many there are. With `emit` they are made. */
unsigned parents_missing(struct request *q, struct journal_tx *tx, slice name, uint32_t *uidvalidity, bool emit);

#endif
