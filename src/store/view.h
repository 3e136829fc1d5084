/* view.h - a mailbox as sessions see it: the number-to-UID map and the flags, shared, immutable, and what changed
 * since.
 *
 * Model:    store_view_open gives the present state of a mailbox; all sessions of a process on it share the memory
 *           (chunks of rows are shared between
 *           versions, too). A session keeps the version it has told its client about; when the store tells of a
 *           change it opens a newer one
 *           and asks store_view_diff for what to say: EXISTS, EXPUNGE, FETCH FLAGS. It moves on to the new version
 *           when the command allows it.
 * Threads:  versions are counted and immutable; store_view_open from any thread (it reads the index). When
 *           store_view_is_heavy, a worker lets a helper open it, holds that version, and opens it again itself.
 */
#ifndef STORE_VIEW_H
#define STORE_VIEW_H

#include "store/store.h"

struct store_view; /* counted */

struct store_row {
    uint32_t uid;
    uint32_t system; /* enum store_flag */
    uint64_t keywords;
    uint64_t modseq;
    uint64_t bytes; /* RFC822.SIZE */
    int64_t internal_ms;
    int64_t save_ms;
    struct body_view body;
    uint64_t email_id; /* RFC 8474: the body's id serves */
};

int store_view_open(struct store *s, uint64_t mailbox, struct store_view **out,
                    struct err *err); /* ERR_NOTFOUND: deleted */
/* Would store_view_open read more rows than a reactor has time for? Then a helper should call it. */
bool store_view_is_heavy(struct store *s, uint64_t mailbox);
struct store_view *store_view_ref(struct store_view *v);
void store_view_unref(struct store_view **v);

uint64_t store_view_mailbox(const struct store_view *v);
uint32_t store_view_count(const struct store_view *v);
uint32_t store_view_uidvalidity(const struct store_view *v);
uint32_t store_view_uidnext(const struct store_view *v);
uint64_t store_view_modseq(const struct store_view *v);
uint32_t store_view_first_unseen(const struct store_view *v); /* message number, 0: none */
uint32_t store_view_keyword_count(const struct store_view *v);
uint32_t store_view_keywords_mark(const struct store_view *v); /* another one: the names are others (or more) */
slice store_view_keyword(const struct store_view *v, unsigned bit); /* name, valid while v lives */

/* number 1..count */
const struct store_row *store_view_row(const struct store_view *v, uint32_t number); /* valid while v lives */
uint32_t store_view_uid(const struct store_view *v, uint32_t number);
uint32_t store_view_find(const struct store_view *v, uint32_t uid); /* number, 0: no such uid */
uint32_t store_view_find_ge(const struct store_view *v,
                            uint32_t uid); /* number of the first uid >= it; count + 1 if none */

enum store_diff_kind {
    STORE_DIFF_EXPUNGE /* number in the state reached so far */,
    STORE_DIFF_FLAGS /* number in the new view */
};
typedef void store_diff_fn(void *arg, enum store_diff_kind kind, uint32_t number, uint32_t uid);
/* Expunges first, highest number first, then flag changes by rising number. New messages are not called: the counts
 * tell. */
void store_view_diff(const struct store_view *old, const struct store_view *now, store_diff_fn *fn, void *arg);

/* Uids expunged since a modseq (QRESYNC); false: the tombstones do not reach back so far. */
bool store_expunged_since(struct store *s, struct journal_view *v, uint64_t mailbox, uint64_t modseq, struct arena *mem,
                          struct uid_range **out, unsigned *count);

/* --- being told
 * ------------------------------------------------------------------------------------------------------------- */

/* Embedded in a session. fn is called on the reactor, coalesced: once per loop turn however many batches changed the
 * mailbox. */
struct store_watch {
    struct list link;
    struct reactor *reactor;
    uint64_t mailbox;
    void (*fn)(struct store_watch *w, uint64_t modseq);
    void *impl[4];
};
void store_watch_start(struct store *s, struct store_watch *w, struct reactor *reactor, uint64_t mailbox,
                       void (*fn)(struct store_watch *, uint64_t));
void store_watch_stop(struct store *s, struct store_watch *w); /* on its reactor; fn is not called afterwards */

#endif
