/* store.h - accounts, mailboxes, messages, flags, quota: the message store.
 *
 * Model:    an account (one per user, object id of its own) owns mailboxes; a mailbox is an object with a head (part
 *           0) and pages of 4,096 UIDs (part 1 + uid / 4096); a message row says uid, flags, dates, modseq and the view
 *           of its octets. MODSEQ is the sequence number of the record that changed the row, so it rises in the whole
 *           store and is never used twice. Changes are requests: fill, submit, get the answer on your reactor. Reading
 *           goes through mailbox views (store/view.h) and snapshots.
 *           Record types 0x0200-, tables 30-59.
 *
 * Invariants (numbered, checked by tests):
 *   S1  uidnext > every uid ever given in the mailbox; uids rise with arrival; uidvalidity never falls and changes
 *   when a name is made anew.
 *   S2  highestmodseq >= modseq of every row and tombstone.
 *   S3  account usage = sum over its rows of view sizes; mailbox counts = its rows.
 *   S4  every row's body has at least as many references as rows that name it.
 *   S5  INBOX exists for every account and cannot be deleted.
 *   S6  the ledger: recipients created = ended + queued, at every batch.
 *
 * Threads:  requests from any thread; views are shared, immutable; store_watch callbacks on the watcher's reactor.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/confset.h"
#include "base/json.h"
#include "journal/journal.h"

struct store;

/* --- configuration: section "store"; besides these rows the list "create" ------------------------------------ */

#define STORE_KEYS(K)                                                                                                  \
    K(U64, default_quota_bytes, 0, 0, 1152921504606846976, BYTES, SESSION, "store.defaultmailboxquota",                \
      "Quota of users without one of their own; 0: none.")                                                             \
    K(U32, mailboxes_max, 10000, 1, 100000, COUNT, SESSION, NULL, "Mailboxes, and subscriptions, of one account.")     \
    K(U32, name_max, 1024, 32, 4096, BYTES, SESSION, NULL, "Longest name of a mailbox in UTF-8, all levels together.") \
    K(U32, depth_max, 64, 1, 256, COUNT, SESSION, NULL, "Levels of a mailbox name.")                                   \
    K(U32, keywords_max, 64, 0, 64, COUNT, SESSION, NULL, "Keywords of one mailbox.")                                  \
    K(U32, resync_days, 30, 1, 3650, DAYS, SESSION, NULL,                                                              \
      "How long at least it is remembered which messages were expunged, for clients that come back (QRESYNC).")

struct store_conf {
    STORE_KEYS(KEY_FIELD)
    struct key_strs create; /* mailboxes made with an account; well-known names get their special use */
};
extern const struct key_table store_keys;

int store_new(struct store **out, const struct clock *clock, struct err *err);
const struct journal_room *store_room(struct store *s);
/* The configuration in force from now on; copied. Without it the defaults hold. Any thread. */
void store_configure(struct store *s, const struct store_conf *conf);
int store_attach(struct store *s, struct journal *j, const char *dir,
                 struct err *err); /* after journal_open; opens the cache */
/* The journal is closed, the threads of reactors have ended. The answers that still lie in the reactors come when these
 * are destroyed: requests of several operations then end with what they have, and none reaches the journal. */
void store_detach(struct store *s);
void store_destroy(struct store **s);

/* --- flags ------------------------------------------------------------------------------------------------------- */

enum store_flag {
    STORE_SEEN = 1,
    STORE_ANSWERED = 2,
    STORE_FLAGGED = 4,
    STORE_DELETED = 8,
    STORE_DRAFT = 16,
};
struct store_flags {
    uint32_t system; /* enum store_flag */
    uint64_t keywords; /* bit n: keyword n of the mailbox */
};

/* --- requests ---------------------------------------------------------------------------------------------------- */

enum store_what {
    STORE_ACCOUNT_ENSURE, /* make account and INBOX (and store.create) for owner if missing */
    STORE_ACCOUNT_DELETE,
    STORE_MAILBOX_CREATE,
    STORE_MAILBOX_DELETE,
    STORE_MAILBOX_RENAME,
    STORE_SUBSCRIBE,
    STORE_UNSUBSCRIBE,
    STORE_APPEND, /* one message into one mailbox (APPEND, or delivery of one recipient) */
    STORE_FLAGS, /* set, add or remove flags of uids */
    STORE_COPY,
    STORE_MOVE,
    STORE_EXPUNGE, /* uids; with only_deleted those that carry \Deleted */
    STORE_QUOTA_SET,
};

enum store_result { /* closed list; each protocol has one table result -> reply */
                    STORE_OK,
                    STORE_NO_MAILBOX, /* NO [NONEXISTENT] / [TRYCREATE] */
                    STORE_EXISTS, /* [ALREADYEXISTS] */
                    STORE_BAD_NAME, /* [CANNOT] */
                    STORE_OVER_QUOTA, /* [OVERQUOTA], 452 4.2.2 / 552 5.2.2 */
                    STORE_TOO_LARGE, /* of a delivery: larger than the whole quota, never possible; 552 5.2.2 */
                    STORE_LIMIT, /* [LIMIT] */
                    STORE_HAS_CHILDREN,
                    STORE_FULL, /* disk: 452 4.3.1, NO [UNAVAILABLE] */
                    STORE_TEMP,
                    STORE_REBUILDING, /* store_account_ready says when: 451 4.3.0, NO [UNAVAILABLE] */
};

enum store_flag_mode { STORE_FLAGS_SET, STORE_FLAGS_ADD, STORE_FLAGS_REMOVE };

struct uid_range {
    uint32_t first, last;
};

/* A request is allocated by store_request_new and owns its memory (mem); submitting copies what it points to. Large
 * ones (copy of 100,000 messages) run as several operations of at most 1,000 messages; done comes once, at the end.
 * COPY is all or nothing as RFC 9051 6.4.7 wants: on failure midway the copies are taken back. MOVE and EXPUNGE that
 * fail midway have done what from_uids says. Messages that arrive while a request runs do not belong to it.
 *
 * account 0: that of `owner`. uid_count 0: all messages. ENSURE answers account and made_mailbox (INBOX); quota_bytes
 * counts only when the account is made. Quota of an account: 0 is the default, UINT64_MAX none. CREATE and RENAME make
 * missing levels; DELETE of a name with others below it answers STORE_HAS_CHILDREN, of INBOX STORE_BAD_NAME. A large
 * mailbox or an account is gone for everybody when its deletion is answered; its octets follow in the background. */
struct store_request {
    enum store_what what;
    struct arena mem;
    /* in */
    uint64_t account; /* object id of the account */
    uint64_t mailbox; /* object id; 0 with `name` */
    slice name, new_name; /* UTF-8, '/' as separator */
    const struct uid_range *uids;
    unsigned uid_count;
    struct store_flags flags;
    const slice *keywords; /* names to be added to the mailbox's list as needed; bits are resolved in the transaction */
    unsigned keyword_count;
    enum store_flag_mode mode;
    bool silent_recent;
    bool has_unchanged_since;
    uint64_t unchanged_since; /* MODSEQ; rows changed since go to `modified` */
    bool only_deleted;
    struct body_writer *body; /* APPEND: finished; taken over by the request */
    slice header; /* APPEND: replacement header block (Return-Path, Received, Delivered-To in front), empty: none */
    uint32_t body_at; /* with header: where in the body the view begins */
    int64_t internal_ms; /* 0: now */
    bool ignore_quota;
    uint64_t quota_bytes; /* QUOTA_SET, ACCOUNT_ENSURE */
    uint64_t to_mailbox; /* COPY, MOVE */
    slice to_name;
    uint64_t owner; /* ACCOUNT_*: user id of dir */
    slice owner_name; /* store user id */
    uint64_t session; /* fairness */
    uint8_t lane;
    struct reactor *reactor;
    void (*done)(struct store_request *r);
    void *arg;
    uint64_t arg_id; /* session id for the answer */
    /* out */
    enum store_result result;
    struct err err;
    uint64_t made_mailbox;
    uint32_t uidvalidity; /* of the target */
    struct uid_range *from_uids, *to_uids; /* COPYUID, in pairs of equal length; APPENDUID: to_uids[0] */
    unsigned from_count, to_count;
    struct uid_range *modified; /* UNCHANGEDSINCE failures */
    unsigned modified_count;
    uint64_t modseq; /* highest given */
    uint64_t durable_seq; /* views at or beyond it show the change */
};

OWNED struct store_request *store_request_new(enum store_what what);
/* done is always called, also on refusal and never before submit returned if there is a reactor; then the caller
 * destroys r. */
void store_request_submit(struct store *s, struct store_request *r);
/* NULL allowed. Under way (on its reactor only): it ends by itself and done is not called any more. */
void store_request_destroy(struct store_request **r);
/* For tools; never on a reactor. 0: STORE_OK; -1: r->result says which, err why. */
int store_request_wait(struct store *s, struct store_request *r, struct err *err);

/* --- delivery to several local recipients in one batch: intake's direct delivery --------------------------------- */

struct store_delivery_target {
    uint64_t account;
    slice mailbox; /* "INBOX", or a folder named by a filter */
    struct store_flags flags;
    const slice *keywords;
    unsigned keyword_count;
    slice header; /* replacement header block of this recipient, or empty */
    uint32_t body_at;
    uint64_t header_id; /* in place of header: a block that the journal has already, or 0 */
    uint32_t header_bytes;
    /* out */
    enum store_result result;
    uint32_t uid, uidvalidity;
};
/* Emit one message to all targets inside the caller's operation; body was emitted once. A target that fails is
 * reported in its result and leaves nothing; the
 * others go on. */
void store_deliver_emit(struct store *s, struct journal_tx *tx, uint64_t body_id, uint32_t body_bytes,
                        struct store_delivery_target *targets, unsigned count);
/* Would they succeed (exists, quota, limits)? For RCPT and for the check phase; from a reader's or the writer's view.
 * */
enum store_result store_deliver_check(struct store *s, struct journal_view *v, uint64_t account, slice mailbox,
                                      uint64_t bytes);

/* --- while the index is rebuilt (journal.h) ----------------------------------------------------------------------
 *
 * Accounts, mailbox names and subscriptions are there at once, messages and all counts follow account by account. An
 * account that is not ready is asked for by everything that needs it: requests (but not ENSURE) and deliveries answer
 * STORE_REBUILDING, store_view_open ERR_TEMP; who reads counts, quota or check results asks here first. Deletions and
 * copies that the last run left half done are gone on with at the end of the rebuild. */

/* Are the account's messages all there? If not they come next, and err (may be NULL) says how far the rebuild is. */
bool store_account_ready(struct store *s, struct journal_view *v, uint64_t account, struct err *err);

/* --- reading ---------------------------------------------------------------------- */

bool store_account_find(struct store *s, struct journal_view *v, uint64_t owner, uint64_t *account);
struct store_quota {
    uint64_t used_bytes, limit_bytes, messages;
};
bool store_account_quota(struct store *s, struct journal_view *v, uint64_t account, struct store_quota *out);

struct store_mailbox {
    uint64_t id, account;
    slice name; /* UTF-8, points into the transaction */
    uint32_t uidvalidity, uidnext;
    uint32_t messages, unseen, deleted;
    uint64_t bytes, highest_modseq;
    bool is_subscribed, has_children;
    uint8_t special_use; /* 0 none, else index into store_special_names */
};
extern const char *const store_special_names[]; /* "", "\\Drafts", "\\Sent", … RFC 6154 */
bool store_mailbox_find(struct store *s, struct journal_view *v, uint64_t account, slice name,
                        struct store_mailbox *out);
bool store_mailbox_get(struct store *s, struct journal_view *v, uint64_t id, struct store_mailbox *out);
/* All of an account, by name in octet order, subscriptions to names that do not exist included with id 0. */
typedef bool store_mailbox_fn(void *arg, const struct store_mailbox *m);
void store_mailbox_list(struct store *s, struct journal_view *v, uint64_t account, store_mailbox_fn *fn, void *arg);

/* Names: valid UTF-8, no control characters, no empty level, no '%' '*'; "inbox" in any case is INBOX. Into mem. */
enum store_result store_name_check(const struct store_conf *c, slice name, struct arena *mem, slice *canonical);

/* Counters for the ledger (S6): created and ended by cause, as they stand in the store's own records. */
OWNED json_t *store_ledger(struct store *s, struct journal_view *v);

/* Recount S1-S6, one line a fault; the number of faults, or -1 when the index could not be read. Any thread but a
 * reactor's; each mailbox and each account is looked at in a short read of its own, so the store may go on meanwhile.
 * say may be NULL. */
int store_check(struct store *s, journal_say_fn *say, void *arg, struct err *err);

#endif
