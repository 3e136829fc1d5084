/* internal.h - what the files of the queue's core share; the scheduler and its friends do not include it.
 *
 *   record.c  octets <-> values (pure)      young.c   entries in memory, staging      table.c  tables and their sums
 *   apply.c   records -> memory and tables  emit.c    values -> records               queue.c  the room, its life, rows
 *   request.c requests                      read.c    entries, lists                  sum.c    destinations, ledger
 *   due.c     what is due                   check.c   the invariants
 *
 * Facts and sums. Entries and the totals of channels are facts of records. Counts of destinations and channels are sums
 * over the entries in the tables and move by differences; a row whose sum is zero goes. So a rebuilt index comes to the
 * same rows whatever images have replaced.
 *
 * Young entries. A transaction only marks: `is_added`, `is_removed`; when the batch is committed the marks become true,
 * when it is aborted they are taken back. A reader must not mix the memory of one moment with the tables of another:
 * every transaction that changes the memory raises a number in TABLE_STATE (which is no logical content), and a reader
 * that opens its snapshot under the lock sees from it on which side of the commit it stands (snapshot_begin).
 */
#ifndef QUEUE_INTERNAL_H
#define QUEUE_INTERNAL_H

#include <pthread.h>

#include "base/bytes.h"
#include "base/counter.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/snap.h"
#include "queue/record.h"

/* Keys big-endian, values little-endian. */
enum queue_table {
    QT_ENTRY = 10,      /* u64 id -> entry (record.h) */
    QT_DUE = 11,        /* u64 dest, u8 priority, u64 due, u64 id -> u32 octets of the message; not of held entries */
    QT_NOTICE = 12,     /* u64 notice, u64 id -> u8 0; not of held ones, nor without a notice time */
    QT_DEST = 13,       /* u64 dest -> sums, str channel, str host */
    QT_DEST_ENTRY = 14, /* u64 dest, u64 id -> u64 created */
    QT_CHANNEL = 15,    /* name -> u64 object, channel (record.h) */
    QT_SUM = 16,        /* name of a channel -> sums */
    QT_STATE = 17,      /* "v" -> u64 changes of the memory, see above */
};
/* sums = u64 entries, u64 waiting recipients, u64 octets, u64 held entries */

#define DEST_PROBES 4u /* ids that a destination may have: its hash and those behind, where another has it */
#define SLICE_ROWS 200u /* rows read under one snapshot */

/* --- young entries ------------------------------------------------------------------------------------------------ */

struct young_dest {
    uint64_t dest;
    struct list entries[QUEUE_PRIORITIES]; /* struct young.same, by due time and id */
    unsigned count;                        /* in the lists, removed ones included */
    unsigned channel_len, host_len;
    char name[]; /* channel, host */
};

struct young {
    struct list all;  /* queue.young, by id */
    struct list same; /* young_dest.entries */
    struct young_dest *dest;
    uint64_t id;
    int64_t created_ms, due_ms, notice_ms;
    int64_t born_ms; /* monotonic */
    uint64_t bytes;  /* of the message */
    uint32_t waiting;
    uint8_t state, priority;
    bool is_added, is_removed; /* in the open transaction */
    uint32_t len;
    unsigned char octets[]; /* entry (record.h) */
};

struct staged_channel {
    char name[CHANNEL_NAME_MAX + 1];
    bool is_stopped;
};

struct settings { /* a reference to what the queue is configured with */
    struct conf_set *set; /* NULL: the defaults */
    const struct queue_conf *queue;
    const struct channels_conf *channels;
};

struct queue {
    struct journal_room room;
    const struct clock *clock; /* NULL: a shadow, which tells nobody */
    struct journal *_Atomic journal; /* once the queue is attached; the committer may run before */
    _Atomic uint32_t young_max;
    _Atomic int64_t young_ms;
    struct queue_watch watch;
    _Atomic bool has_watch;
    struct arena defaults;
    struct queue_conf default_queue;
    struct channels_conf default_channels;

    pthread_mutex_t lock; /* lock rank 50: everything to the next line; the committer alone changes the young ones */
    struct conf_set *conf;
    struct idmap young_ids;   /* -> struct young */
    struct idmap young_dests; /* -> struct young_dest */
    struct list young;
    unsigned young_count; /* not removed */
    uint64_t staged_version; /* 0: the open transaction has not changed the memory */
    struct idmap active;     /* id -> the queue itself */
    struct idmap aside;      /* ids of entries that do not decode */
    struct staged_channel *stopped;
    unsigned stopped_count;
    bool is_settling;

    /* owner: committer */
    struct young **staged;
    unsigned staged_count, staged_cap;
    struct queue_brief *ready;
    unsigned ready_count, ready_cap;
    struct queue_brief *gone;
    unsigned gone_count, gone_cap;
    struct staged_channel *channels;
    unsigned channels_count, channels_cap;
    int64_t counted[QUEUE_TOTALS], counted_entries, counted_never_stored; /* for the counters, at the commit */
    struct arena scratch;
    struct journal_op settle_op;
};

enum {
    QC_ENQUEUED, /* recipients, as enum queue_rcpt_state from here on */
    QC_ENTRIES = QC_ENQUEUED + QUEUE_TOTALS,
    QC_ATTEMPTS,
    QC_DEFERRED,
    QC_NEVER_STORED,
    QC_SETTLED,
    QC_REFUSED,
    QC_BUSY,
    QC_GONE,
    QC_TEMP_FAILURES,
    QC_DAMAGED,
    QC_YOUNG,
    QC_COUNT
};
extern struct counter queue_counters[QC_COUNT];

/* The committer finds what its transaction sees. */
struct young *young_find(struct queue *q, uint64_t id);
/* octets must have decoded into h. */
void young_add(struct queue *q, struct journal_tx *tx, uint64_t id, slice octets, const struct queue_head *h);
/* True: it was there, and is removed with the transaction. Its octets live until then. */
bool young_take(struct queue *q, struct journal_tx *tx, uint64_t id, slice *octets);
struct young_dest *young_dest_find(struct queue *q, uint64_t dest);
static inline slice young_octets(const struct young *y)
{
    return slice_of(y->octets, y->len);
}
static inline slice young_channel(const struct young_dest *d)
{
    return slice_of(d->name, d->channel_len);
}
static inline slice young_host(const struct young_dest *d)
{
    return slice_of(d->name + d->channel_len, d->host_len);
}
void young_committed(struct queue *q); /* under the lock */
void young_aborted(struct queue *q);   /* under the lock */
uint64_t young_oldest(struct queue *q);
void young_free(struct queue *q);
/* Into the tables: those with id <= upto and born before, at most max. Returns how many. */
unsigned young_settle(struct queue *q, struct journal_tx *tx, uint64_t upto, int64_t born_before_ms, unsigned max);

/* Tables and memory of one moment. `begin` under the lock; afterwards young_visible until the lock is let go. */
struct snapshot {
    struct journal_view own;
    struct journal_view *v;
    bool has_staged;
};
/* v: of an operation (then on the committer), or NULL: begins a reader. */
int snapshot_begin(struct queue *q, struct journal_view *v, struct snapshot *s, struct err *err);
void snapshot_end(struct snapshot *s);
static inline bool young_visible(const struct snapshot *s, const struct young *y)
{
    return s->has_staged ? !y->is_removed : !y->is_added;
}

/* --- tables ------------------------------------------------------------------------------------------------------- */

struct sums {
    uint64_t entries, recipients, bytes, held;
};
bool sums_read(slice value, struct sums *out, slice *rest);
slice table_entry(struct journal_view *v, uint64_t id); /* empty: none */
/* Store, replace, remove an entry with all that depends on it. */
void table_put(struct journal_view *v, uint64_t id, slice octets, const struct queue_head *h);
void table_remove(struct journal_view *v, uint64_t id, const struct queue_head *h);
struct due_key {
    unsigned char octets[25];
};
slice due_key(struct due_key *k, uint64_t dest, unsigned priority, int64_t due_ms, uint64_t id);
struct pair_key {
    unsigned char octets[16];
};
slice pair_key(struct pair_key *k, uint64_t first, uint64_t second);
bool table_dest(struct journal_view *v, uint64_t dest, struct sums *sums, slice *channel, slice *host);
bool table_channel(struct journal_view *v, slice name, uint64_t *object, struct queue_channel *c);
void table_channel_put(struct journal_view *v, uint64_t object, const struct queue_channel *c);
/* The first of the DEST_PROBES ids that a destination may have. */
uint64_t dest_first(slice channel, slice host);
/* On the committer: the id it has already (in memory or tables), or else a free one. 0: none is free. */
uint64_t dest_id(struct queue *q, struct journal_view *v, slice channel, slice host);

/* --- the rest ----------------------------------------------------------------------------------------------------- */

void settings_get(struct queue *q, struct settings *s);
void settings_put(struct settings *s);
/* The channel's block, or that of tcp_local when the configuration has it no more. */
const struct channel_conf *settings_channel(const struct settings *s, slice name);
/* What comes into such a channel is held: it is configured so, or of type hold. */
bool channel_holds(const struct channel_conf *c);

int apply_enqueue(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_image(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_change(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_done(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_channel(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int image_entry(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err);
int image_channel(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err);

void note_ready(struct queue *q, uint64_t id, const struct queue_head *h);
void note_gone(struct queue *q, uint64_t id, uint64_t dest);
void note_channel(struct queue *q, slice name, bool is_stopped);

/* Octets of an entry as a transaction sees it; empty: gone. Valid until its next change. */
slice entry_octets(struct queue *q, struct journal_view *v, uint64_t id);
void entry_damaged(struct queue *q, uint64_t id);

/* Add to a channel's totals. */
void emit_totals(struct queue *q, struct journal_tx *tx, slice channel, const uint64_t add[QUEUE_TOTALS]);
/* is_ours: notices and copies, which entries_max does not stop. */
uint64_t emit_entry(struct queue *q, struct journal_tx *tx, const struct queue_entry *e, bool is_ours, struct err *err);
int emit_stopped(struct queue *q, struct journal_tx *tx, slice channel, bool is_stopped, struct err *err);

#endif
