/* internal.h - what the files of the store share; nobody else includes it.
 *
 *   store.c     the room: rows of types and tables, staging, attach, keys  names.c  names and their checks
 *   layout.c    encode and decode of rows and payloads (pure)      request.c  requests, chains of operations
 *   rows.c      the tables: heads, counts, pages, rows, tombstones  run_*.c    one file per family of requests
 *   apply.c     records -> tables                image.c  tables -> images    deliver.c  delivery, the ledger
 *   read.c      reading calls of store.h         check.c  the invariants      dump.c     records as text
 *   view*.c     view.h                           message*.c, cache.c          message.h
 *   copying.c   copies under way, taken back after a crash   ready.c   while the index is rebuilt
 *
 * Facts and sums. A record changes facts of its own (object, part) only. Everything else in the tables is a sum over
 * facts and moves by differences: the counts of a mailbox, the usage of an account, the references of bodies. So an
 * index rebuilt from what emptying left (images in the place of histories) comes to the same sums, whatever the order
 * in which the parts appear. uidnext, highest modseq and the tombstone floor are maxima: the head's and every page's
 * image carry them as they are at that moment, so that no image loses what another part's records said.
 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <pthread.h>

#include "base/bytes.h"
#include "base/counter.h"
#include "base/snap.h"
#include "store/store.h"
#include "store/view.h"

/* --- records ------------------------------------------------------------------------------------------------------
 *
 * Numbers little-endian, `str` = varint length and octets, `v` = varint. Parts of an account: 0 its head, 1 to 16 its
 * subscriptions by hash of the name. Parts of a mailbox: 0 its head, 1 + uid / 4096 its pages. The ledger: part 0. */
enum {
    ST_ACCOUNT_CREATE = 0x0200, /* u64 owner, u64 quota, u32 uidvalidity_last, str owner name; a new object */
    ST_ACCOUNT_IMAGE = 0x0201, /* as ACCOUNT_CREATE, u8 flags (enum head_flags) */
    ST_ACCOUNT_QUOTA = 0x0202, /* u64 quota */
    ST_ACCOUNT_STAMP = 0x0203, /* u32 uidvalidity_last: given to a new mailbox */
    ST_ACCOUNT_DOOM = 0x0204, /* empty: the owner has it no more; END follows when its mailboxes are gone */
    ST_ACCOUNT_END = 0x0205, /* empty, END */
    ST_SUBSCRIBE = 0x0208, /* u8 1 = on, 0 = off; str name; part 1 + top 4 bits of name_hash */
    ST_SUBSCRIBE_IMAGE = 0x0209, /* names (str) of the part, to the end */

    ST_MAILBOX_CREATE = 0x0210, /* u64 account, u32 uidvalidity, u8 special use, str name; a new object */
    ST_MAILBOX_IMAGE = 0x0211, /* as MAILBOX_CREATE, u8 flags, maxima, v keyword count, str each keyword in order */
    ST_MAILBOX_RENAME = 0x0212, /* str name */
    ST_MAILBOX_KEYWORD = 0x0213, /* u8 bit, str name */
    ST_MAILBOX_DOOM = 0x0214, /* empty: without a name, its messages go in pieces, END follows */
    ST_MAILBOX_END = 0x0215, /* empty, END: head, pages and rows go */
    ST_MESSAGE_ADD = 0x0218, /* of one page, one or more: v uid, v system, v keywords, u64 internal ms, u64 save ms,
                                view (28). modseq = seq */
    ST_MESSAGE_FLAGS = 0x0219, /* of one page: v uid, v system, v keywords: final values. modseq = seq */
    ST_MESSAGE_EXPUNGE = 0x021a, /* of one page: v first uid, v last - first. modseq = seq, time = the record's */
    ST_PAGE_IMAGE = 0x021b, /* maxima, u64 modseq of the page, v row count, rows as in MESSAGE_ADD with u64 modseq
                               behind the view; v tombstone count, each: u64 modseq, u64 time ms, v range count, ranges
                               as in MESSAGE_EXPUNGE */
    /* maxima = u32 uidnext, u64 highest modseq, u64 tombstone floor of the mailbox */

    ST_COPY_UNDERWAY = 0x0230, /* u64 target mailbox, ranges as in MESSAGE_EXPUNGE: the copies so far; the first makes
                                  the object */
    ST_COPY_IMAGE = 0x0231, /* the same */
    ST_COPY_END = 0x0232, /* empty, END: all copies are there, or none is left */

    ST_LEDGER = 0x0220, /* varints, one per enum ledger_cause: the sums after it; the first makes the object */
    ST_LEDGER_IMAGE = 0x0221, /* the same */
};

#define STORE_PAGE_ROWS 4096u
#define STORE_SUBSCRIBE_PARTS 16u
#define STORE_KEYWORDS_MAX 64u
#define STORE_OP_MESSAGES 1000u /* most messages of one operation */
#define STORE_OP_SCAN 20000u /* most rows looked at by one operation that searches */

static inline uint32_t page_part(uint32_t uid)
{
    return 1 + uid / STORE_PAGE_ROWS;
}

/* --- tables: keys big-endian, values little-endian ----------------------------------------------------------------
 */
enum {
    STORE_TABLE_ACCOUNT = 30, /* u64 account -> struct account_head */
    STORE_TABLE_OWNER = 31, /* u64 owner -> u64 account; doomed ones are not here */
    STORE_TABLE_USAGE = 32, /* u64 account -> struct usage; sums; absent when all zero */
    STORE_TABLE_NAME = 33, /* u64 account, u64 name_hash -> bucket: {u64 mailbox, str name}… by mailbox id */
    STORE_TABLE_SUBSCRIBED = 34, /* u64 account, u64 name_hash -> bucket: {str name}… in octet order */
    STORE_TABLE_HEAD = 35, /* u64 mailbox -> struct mailbox_head */
    STORE_TABLE_COUNT = 36, /* u64 mailbox -> struct mailbox_count; sums and maxima */
    STORE_TABLE_PAGE = 37, /* u64 mailbox, u32 part -> struct page_count: what changed since? */
    STORE_TABLE_ROW = 38, /* u64 mailbox, u32 uid -> row (STORE_ROW_BYTES) */
    STORE_TABLE_TOMB = 39, /* u64 mailbox, u32 part, u64 modseq -> u64 time ms, ranges as in MESSAGE_EXPUNGE */
    STORE_TABLE_DOOMED = 40, /* u64 account, u64 mailbox or 0 for the account itself -> empty */
    STORE_TABLE_LEDGER = 41, /* "ledger" -> u64 object, varints */
    STORE_TABLE_COPYING = 42, /* u64 copy -> as ST_COPY_UNDERWAY */
    STORE_TABLE_KEYWORDS = 43, /* u64 mailbox -> varints, messages by keyword bit; sums; absent when all zero */
};

struct store_key {
    unsigned char octets[20];
};
slice key_u64_u32(struct store_key *k, uint64_t a, uint32_t b); /* ROW, PAGE */
slice key_u64_u64(struct store_key *k, uint64_t a, uint64_t b); /* NAME, SUBSCRIBED, DOOMED */
slice key_tomb(struct store_key *k, uint64_t mailbox, uint32_t part, uint64_t modseq);

enum head_flags { HEAD_DOOMED = 1 };

struct account_head {
    uint64_t owner, quota; /* quota: 0 the default, UINT64_MAX none */
    uint32_t uidvalidity_last; /* highest given in this account */
    uint8_t flags;
    slice owner_name; /* points into what was decoded, as all slices here */
};
struct usage {
    uint64_t bytes, messages;
    uint32_t mailboxes, subscriptions;
};
struct mailbox_head {
    uint64_t account;
    uint32_t uidvalidity;
    uint8_t special;
    uint8_t flags;
    slice name;
    uint32_t keyword_count;
    slice keyword[STORE_KEYWORDS_MAX];
};
struct maxima {
    uint32_t uidnext; /* 1 when nothing was added */
    uint64_t modseq; /* highest */
    uint64_t floor; /* highest modseq of a tombstone that was dropped; 0: none */
};
struct mailbox_count {
    struct maxima max;
    uint32_t messages, unseen, deleted;
    uint64_t bytes;
};
struct keyword_counts {
    uint32_t messages[STORE_KEYWORDS_MAX];
};
struct page_count {
    uint64_t modseq; /* of the newest change of the page; kept when it is empty */
    uint32_t messages;
};
#define STORE_ROW_BYTES 64u

/* layout.c: pure. Decoding answers false when the octets make no sense. */
void account_head_encode(struct buf *out, const struct account_head *h);
bool account_head_decode(slice in, struct account_head *h);
void usage_encode(struct buf *out, const struct usage *u);
bool usage_decode(slice in, struct usage *u);
void mailbox_head_encode(struct buf *out, const struct mailbox_head *h);
bool mailbox_head_decode(slice in, struct mailbox_head *h);
void mailbox_count_encode(struct buf *out, const struct mailbox_count *c);
bool mailbox_count_decode(slice in, struct mailbox_count *c);
void page_count_encode(struct buf *out, const struct page_count *p);
bool page_count_decode(slice in, struct page_count *p);
void store_row_encode(struct buf *out, const struct store_row *row); /* STORE_ROW_BYTES; without the uid */
bool store_row_decode(uint32_t uid, slice in, struct store_row *row); /* email_id and bytes filled, too */

/* In payloads. */
void payload_row_put(struct buf *out, const struct store_row *row, bool with_modseq);
void payload_row_read(struct reader *r, struct store_row *row, bool with_modseq);
void payload_flags_put(struct buf *out, uint32_t uid, uint32_t system, uint64_t keywords);
bool payload_flags_next(struct reader *r, uint32_t *uid, uint32_t *system, uint64_t *keywords); /* as range_next */
void payload_ranges_put(struct buf *out, const struct uid_range *ranges, unsigned count);
bool payload_range_next(struct reader *r, struct uid_range *range); /* false at the end or when r->failed */
void maxima_put(struct buf *out, const struct maxima *m);
void maxima_read(struct reader *r, struct maxima *m);

/* --- tables, read (rows.c): false when absent; slices point into the transaction --------------------------- */

bool account_head_get(struct journal_view *v, uint64_t account, struct account_head *h);
void usage_get(struct journal_view *v, uint64_t account, struct usage *u); /* zeros when absent */
bool mailbox_head_get(struct journal_view *v, uint64_t mailbox, struct mailbox_head *h);
bool mailbox_count_get(struct journal_view *v, uint64_t mailbox, struct mailbox_count *c); /* absent: uidnext 1 */
void keyword_counts_get(struct journal_view *v, uint64_t mailbox, struct keyword_counts *k); /* zeros when absent */
bool page_count_get(struct journal_view *v, uint64_t mailbox, uint32_t part, struct page_count *p);
bool row_get(struct journal_view *v, uint64_t mailbox, uint32_t uid, struct store_row *row);

/* Rows of a mailbox by rising uid. The writer may change rows in between. Ended before the transaction. */
struct row_cursor {
    struct journal_cursor c;
    uint64_t mailbox;
    uint32_t from;
    bool is_begun;
};
void row_cursor_begin(struct row_cursor *c, struct journal_view *v, uint64_t mailbox, uint32_t from_uid);
bool row_cursor_next(struct row_cursor *c, struct store_row *row);
void row_cursor_end(struct row_cursor *c);

uint64_t name_hash(slice name); /* the same on every machine, for ever */
bool name_find(struct journal_view *v, uint64_t account, slice name, uint64_t *mailbox);
/* All names of an account, in the order of the table. fn answers false to stop; the table must not change meanwhile. */
typedef bool name_fn(void *arg, uint64_t mailbox, slice name);
void name_each(struct journal_view *v, uint64_t account, name_fn *fn, void *arg);
bool subscribed_find(struct journal_view *v, uint64_t account, slice name);
void subscribed_each(struct journal_view *v, uint64_t account, uint32_t part, name_fn *fn, void *arg); /* part 0: all */
uint32_t subscribe_part(slice name);
/* Octets of the bucket that the name belongs to: against names made to collide. */
size_t name_bucket_bytes(struct journal_view *v, unsigned table, uint64_t account, slice name);
#define STORE_BUCKET_MAX_BYTES (256u * 1024)

/* --- tables, written: from apply only (write.c) ------------------------------------------------------------------- */

void account_head_put(struct journal_view *v, uint64_t account, const struct account_head *h);
void account_end(struct journal_view *v, uint64_t account);
void subscribed_put(struct journal_view *v, uint64_t account, slice name);
void subscribed_del(struct journal_view *v, uint64_t account, slice name);
void subscribed_clear(struct journal_view *v, uint64_t account, uint32_t part); /* part 0: all */
/* The head becomes *h (its slices may point into the old one's value): name, usage and doomed table follow. */
void mailbox_head_put(struct journal_view *v, uint64_t mailbox, const struct mailbox_head *h);
void mailbox_end(struct journal_tx *tx, uint64_t mailbox);
void mailbox_raise(struct journal_view *v, uint64_t mailbox, const struct maxima *m);

/* Changes to one page; counts, page and usage are written by page_edit_end. */
struct page_edit {
    struct journal_tx *tx;
    struct journal_view *v;
    uint64_t mailbox, account; /* account 0: its usage is not concerned */
    uint32_t part;
    struct mailbox_count count, before;
    struct page_count page;
    uint64_t keywords; /* bits whose counts change */
    int32_t keyword_delta[STORE_KEYWORDS_MAX];
};
void page_edit_begin(struct page_edit *e, struct journal_tx *tx, uint64_t mailbox, uint32_t part, uint64_t modseq);
void page_row_put(struct page_edit *e, const struct store_row *row);
bool page_row_del(struct page_edit *e, uint32_t uid);
void page_clear(struct page_edit *e); /* rows and tombstones */
void page_edit_end(struct page_edit *e);
void tomb_put(struct journal_view *v, uint64_t mailbox, uint32_t part, uint64_t modseq, int64_t time_ms, slice ranges);
typedef void tomb_fn(void *arg, uint64_t modseq, int64_t time_ms, slice ranges);
void tomb_each(struct journal_view *v, uint64_t mailbox, uint32_t part, tomb_fn *fn, void *arg);

/* --- the room ----------------------------------------------------------------------------------------------------- */

struct store_views; /* view.c */
struct store_cache; /* cache.c */

struct store_limits { /* immutable */
    struct snap snap; /* first */
    struct store_conf conf;
    struct arena mem;
};
OWNED struct store_limits *store_limits_ref(struct store *s); /* snap_unref(&l->snap) */
int64_t store_resync_ms(struct store *s);
bool store_submit(struct store *s, struct journal_op *op); /* journal_submit; false after store_detach */
void store_reap_start(struct store *s); /* go on with deletions that the last run left half done */
/* Take back copies that it left half done: objects up to `upto`. */
int store_undo_start(struct store *s, uint64_t upto, struct err *err);
/* ready.c: -1 with STORE_REBUILDING's err when an account of the request is not ready. */
bool store_mailbox_ready(struct store *s, struct journal_view *v, uint64_t mailbox, struct err *err);
void store_complete(void *room); /* the rebuild ended: on the committer */

struct staged { /* a mailbox changed in the batch under way; part: PAGE or 0 */
    uint64_t mailbox, modseq;
};

struct store {
    struct journal_room room; /* first */
    const struct clock *clock;
    struct journal *journal; /* after store_attach */
    struct store_views *views;
    struct store_cache *cache;
    pthread_mutex_t lock; /* lock rank 40: limits, is_reaping, reap_again, undo_upto; journal until it is attached */
    uint64_t undo_upto; /* where the last run ended; 0: nothing is put off until the rebuild ends */
    struct store_limits *limits;
    bool is_reaping, reap_again;
    struct staged *staged; /* owner: committer */
    unsigned staged_count, staged_cap;
    bool is_shadow; /* made by the journal to compare a rebuild: tells nobody */
};

/* Made and ended with the store: view.c, cache.c. Called by store_new / store_attach / store_destroy. */
int store_views_new(struct store *s, struct err *err);
void store_views_destroy(struct store *s);
int store_cache_open(struct store *s, const char *dir, struct err *err);
void store_cache_close(struct store *s);
/* On the committer, after the batch that changed the mailbox is visible; must only post. Once per mailbox and batch. */
void store_watch_notify(struct store *s, uint64_t mailbox, uint64_t modseq);

enum store_counter {
    SC_APPENDS,
    SC_COPIES,
    SC_EXPUNGES,
    SC_FLAG_CHANGES,
    SC_DELIVERIES,
    SC_OVER_QUOTA,
    SC_REFUSED,
    SC_TEMP_FAILURES,
    SC_ACCOUNTS_MADE,
    SC_MAILBOXES_MADE,
    SC_CHAINS, /* requests that took more than one operation */
    SC_TAKEN_BACK, /* copies undone because a later piece failed, or the process ended before it */
    SC_REAPED, /* mailboxes whose messages went after their name */
    STORE_COUNTERS
};
extern struct counter store_counters[STORE_COUNTERS];

#endif
