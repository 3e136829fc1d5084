/* index.h - the LMDB index: tables that the journal keeps up to date and can rebuild at any time.
 *
 * Model:    one environment, DIR/index.lmdb, with MDB_NOSYNC and without MDB_WRITEMAP; it may be lost or distrusted
 *           at any time. What decides about trust stands beside it in DIR/index.state (index_state.h): boot id,
 *           clean-stop mark, identity of the index file (so that a copied one is recognised), the journal's id. The
 *           two positions stand in the index itself and change with its transactions. The file is allocated ahead, so
 *           that a commit never meets a full disk.
 *           Trusted = same journal, same file, sound, and (same boot or clean mark). All else is thrown away.
 * Threads:  one writer (the committer). Readers from any thread; a reader is short: it never crosses a return to the
 *           event loop. Builds with PH_DEBUG abort when a reader older than 50 ms ends.
 * Errors:   get, put and cursors do not report LMDB failures one by one: the first one sticks in the view
 *           (view.failed) and is tested once at the end; reads then answer "absent". An index that turns out to be
 *           damaged begins no further transaction (ERR_DAMAGE) and is rebuilt at the next start.
 */
#ifndef JOURNAL_INDEX_H
#define JOURNAL_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "journal/format.h"
#include "journal/types.h"

/* Raised whenever a room writes other keys or values into a table than before: older indexes are then rebuilt. A
 * table that is new, gone or renamed is noticed without it. */
#define INDEX_FORMAT 1u
#define INDEX_KEY_MAX_BYTES 511 /* LMDB's limit: keys are ids and hashes, names live in values */
#define INDEX_VALUE_MAX_BYTES (1024u * 1024)
#define INDEX_PROVEN_COMMITS 256u /* after so many commits an index is no longer suspected, see INDEX_OPENS_MAX */

struct index;

struct index_conf {
    uint64_t map_bytes;   /* address space reserved; 0: 64 GiB */
    uint64_t ahead_bytes; /* allocated beyond what is used; freeing operations may use it on a full disk */
    unsigned readers_max; /* read transactions at the same time; 0: 256 */
    bool read_only;       /* nothing is written; an index that is not trusted is refused with ERR_NOTFOUND */
    const char *boot_id;  /* for tests: instead of the running kernel's */
};

struct index_meta {
    uint64_t applied;    /* highest sequence applied */
    uint64_t young_from; /* oldest record still only in memory, or 0 */
};

enum index_open_result { INDEX_TRUSTED, INDEX_NEW /* empty: replay from the beginning */ };

/* Opens dir/index.lmdb (a single file, MDB_NOSUBDIR) in an existing directory. When it is not trusted, or discard is
 * set, the file is removed and a new one made; *why says so in words (empty when trusted). tables: rows of all rooms
 * (borrowed for the life of the index). The clean mark is off the disk before it returns. The caller holds the lock
 * of guard.h. */
int index_open(struct index **out, const char *dir, const struct index_conf *conf,
               const unsigned char journal_id[JOURNAL_ID_BYTES], const struct journal_room *const *rooms,
               unsigned room_count, bool discard, enum index_open_result *result, char why[128], struct err *err);
/* clean: sync everything and set the clean mark. All transactions have ended. */
void index_close(struct index **ix, bool clean);
/* The next index_open makes a new one, whatever happens until then; this one goes on. */
void index_distrust(struct index *ix);

/* A transaction as rooms see it; embedded in struct journal_tx and in readers. */
struct journal_view {
    struct index *index;
    void *txn;            /* MDB_txn */
    bool writable;
    bool failed;          /* sticks */
    int fault;            /* LMDB's code of the first failure */
    unsigned changes;     /* puts and dels so far */
    int64_t began_ms;     /* readers of debug builds */
};

/* Writer. One at a time; begun and ended on the same thread. */
int index_begin(struct index *ix, struct journal_view *v, struct err *err);
/* Writes meta, too. Aborts on failure: ERR_FULL (disk, map), ERR_LIMIT (too many changes at once: some 100,000 pages),
 * ERR_DAMAGE, ERR_BUG, else ERR_TEMP. */
int index_commit(struct journal_view *v, const struct index_meta *meta, struct err *err);
void index_abort(struct journal_view *v); /* no-op when ended */
void index_meta_get(struct journal_view *v, struct index_meta *meta);
/* With the transaction: the index lacks part of the log before `applied`. One that carries this mark is never trusted
 * by index_open. */
void index_unfinished_set(struct journal_view *v, bool is_unfinished);
bool index_unfinished_get(struct journal_view *v);

/* Make sure that ahead_bytes are allocated beyond the used part. 0, or -1 with ERR_FULL: only freeing operations now.
 * Called by the writer between transactions; no system call when nothing is to do. Where the file system cannot
 * allocate it answers 0. */
int index_reserve(struct index *ix, struct err *err);

/* Reader. Fails with ERR_LIMIT when readers_max are under way; the view may then be used and ended, all is absent. */
int index_read_begin(struct index *ix, struct journal_view *v, struct err *err);
void index_read_end(struct journal_view *v); /* no-op when ended */

/* Found values point into the map: valid until the transaction ends (a writer's: until its next put or del). value
 * may be NULL. */
bool journal_get(struct journal_view *v, unsigned table, slice key, slice *value);
bool journal_get_u64(struct journal_view *v, unsigned table, uint64_t key, slice *value); /* as 8 octets, big-endian */
uint64_t journal_table_count(struct journal_view *v, unsigned table);
void journal_table_clear(struct journal_view *v, unsigned table); /* writers only */

/* Stands before the first pair, on a pair, or behind the last. Moving off either end stands there: next behind the
 * last and prev before the first go on to answer false, the opposite direction comes back. In a writer, pairs may be
 * put and deleted meanwhile, the present one too: next is then the first key above it, prev the last below it. */
struct journal_cursor {
    void *cursor; /* MDB_cursor */
    struct journal_view *view;
    enum { CURSOR_FRESH, CURSOR_BEFORE, CURSOR_ON, CURSOR_BEHIND } at;
    unsigned changes;                            /* of the view, when the cursor moved last */
    unsigned key_len;                            /* writers: the present key, to find the place again */
    unsigned char key[INDEX_KEY_MAX_BYTES + 1];
};
/* A cursor is ended before its transaction. */
void journal_cursor_begin(struct journal_cursor *c, struct journal_view *v, unsigned table);
void journal_cursor_end(struct journal_cursor *c);
/* found and value may be NULL in all of these. */
bool journal_cursor_seek(struct journal_cursor *c, slice key, slice *found, slice *value); /* first key >= key */
bool journal_cursor_next(struct journal_cursor *c, slice *key, slice *value); /* first call: the first pair */
bool journal_cursor_prev(struct journal_cursor *c, slice *key, slice *value); /* first call: the last pair */
bool journal_cursor_seek_last(struct journal_cursor *c, slice below, slice *key, slice *value); /* last key < below */

/* Writers only, from apply, settle and the journal itself. Keys of 1 to 511 octets, values up to 1 MiB; anything else
 * fails the view (ERR_BUG). Key and value may be what was found in this transaction, but a value above 2,000 octets
 * must not be the one it replaces. */
void journal_put(struct journal_view *v, unsigned table, slice key, slice value);
void journal_put_u64(struct journal_view *v, unsigned table, uint64_t key, slice value);
bool journal_del(struct journal_view *v, unsigned table, slice key); /* was it there? */
bool journal_del_u64(struct journal_view *v, unsigned table, uint64_t key);

/* Pages used and allocated, in octets, and readers now. */
struct index_usage {
    uint64_t used_bytes, allocated_bytes;
    unsigned readers;
};
void index_usage(struct index *ix, struct index_usage *out);

#endif
