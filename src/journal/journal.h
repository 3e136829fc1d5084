/* journal.h - the truth: a log of facts, one writer, group commit, and the index it keeps.
 *
 * Model:    whoever wants to change durable state submits an *operation*. The committer thread gathers operations of
 *           all lanes into a batch: each checks
 *           itself against the write transaction, and emits records; emitting appends the record to the batch and
 *           applies it to
 *           the index. The batch is written with one pwritev and one fdatasync, the index transaction is committed
 *           (visible), and only then
 *           is anything answered. If the write or the sync fails nothing happened, and every operation of the batch
 *           is refused.
 *
 * Invariants (checked by the tests under these numbers):
 *   J1  an operation answered with success is on disk: it is there after any crash.
 *   J2  an operation is there whole or not at all.
 *   J3  what a reader sees is on disk already.
 *   J4  an index rebuilt from the segments has the same logical dump as the one it replaces.
 *   J5  every record and body with a reference lies in exactly one place that the index names; both checksums hold.
 *   J6  a refused operation left no trace, in the index or after replay.
 *   J7  sequence numbers rise by one without gaps; no number is used twice for what was answered.
 *   J8  damage in one place does not hide any other record: it is reported with segment and offset, the rest stays
 *       readable.
 *   J9  on a full disk everything that frees space still works.
 *   J10 a body is stored once however many refer to it.
 *
 * Threads:  journal_submit and readers: any. Operation callbacks: `run` on the committer; `done` on the operation's
 *           reactor, or the committer.
 * Errors:   opening: ERR_DENIED (locked, remote file system, higher epoch), ERR_PERM (newer format), ERR_FULL.
 */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include <stdio.h>

#include "base/clock.h"
#include "base/keys.h"
#include "journal/body.h"
#include "journal/index.h"
#include "journal/types.h"
#include "reactor/pool.h"
#include "reactor/reactor.h"

struct journal;
struct journal_tx;

/* --- configuration: section "journal" -----------------------------------------------------------------------------
 * */

#define JOURNAL_KEYS(K)                                                                                                \
    K(U64, segment_bytes, 67108864, 65536, 1073741824, BYTES, RESTART, NULL,                                           \
      "Size of a log segment. Smaller ones are emptied sooner, larger ones need fewer directory operations.")          \
    K(U32, inline_bytes, 131072, 0, 1048576, BYTES, SESSION, NULL,                                                     \
      "A message up to this size is written with its batch; a larger one is spooled into a file of its own first.")    \
    K(U64, index_map_bytes, 68719476736, 16777216, 17592186044416, BYTES, RESTART, NULL,                               \
      "Address space reserved for the index; it costs no memory.")                                                     \
    K(U64, index_ahead_bytes, 67108864, 1048576, 1073741824, BYTES, RESTART, NULL,                                     \
      "Disk space allocated for the index beyond what it uses, so that a full disk can be emptied again.")             \
    K(U32, index_readers_max, 256, 8, 4096, COUNT, RESTART, NULL, "Read transactions on the index at the same time.")  \
    K(U32, reserve_segments, 2, 0, 16, COUNT, SESSION, NULL,                                                           \
      "Segments allocated in advance that only freeing operations may use.")                                           \
    K(U32, batch_bytes, 1048576, 4096, 67108864, BYTES, SESSION, NULL, "A batch is closed at this size.")              \
    K(U32, batch_ops, 512, 1, 65536, COUNT, SESSION, NULL, "A batch is closed at this many operations.")               \
    K(U32, batch_prepare_ms, 2, 1, 1000, MS, SESSION, NULL, "A batch is closed when preparing it took this long.")     \
    K(U32, waiting_ops_max, 50000, 64, 10000000, COUNT, SESSION, NULL,                                                 \
      "Operations waiting for the committer; beyond it new work is refused with a temporary error.")                   \
    K(U32, keep_days, 7, 0, 3650, DAYS, SESSION, "store.keep",                                                         \
      "How long finished changes stay readable in their segments before they may be emptied.")                         \
    K(U32, history_days, 30, 0, 3650, DAYS, SESSION, NULL, "How long the metadata of deleted segments is kept.")       \
    K(U64, history_bytes, 1073741824, 0, 1099511627776, BYTES, SESSION, NULL, "And at most this much of it.")          \
    K(U32, reclaim_percent, 50, 1, 100, PERCENT, SESSION, NULL,                                                        \
      "A sealed segment older than keep_days is emptied when less than this share of it is alive.")                    \
    K(BOOL, allow_remote_fs, 0, 0, 1, NONE, RESTART, NULL,                                                             \
      "Open a journal on NFS, CIFS, 9p or FUSE all the same. Such file systems often lie about syncing.")

struct journal_conf {
    JOURNAL_KEYS(KEY_FIELD)
};
extern const struct key_table journal_keys;

struct journal_setup {
    const char *dir; /* DIR: holds journal/, index/, history/, lock */
    const char *const *partitions; /* further roots for compaction segments; [0] is partition 1 */
    unsigned partition_count;
    const struct journal_conf *conf; /* copied */
    const struct clock *clock;
    struct pool *pool; /* for sealing, preparing, reclaiming; NULL: done by the committer in between */
    const struct journal_room *const *rooms;
    unsigned room_count;
    bool create; /* make the directory when it is missing */
    bool discard_index; /* rebuild */
    bool background; /* a rebuild goes on after journal_open: see "while the index is rebuilt" */
    unsigned rebuild_slice; /* tests: late records of one transaction of it; 0: as many as time allows */
    bool promote; /* this is a copy that takes over: raise the epoch */
    const char *boot_id; /* NULL: the running kernel's; tests pretend another boot */
    void (*progress)(void *arg, uint64_t done_bytes, uint64_t all_bytes); /* of a rebuild; may be NULL */
    void *progress_arg;
};

/* What opening found; also kept for `posthouse status`. */
struct journal_report {
    uint64_t segments, segments_bytes;
    uint64_t records_replayed; /* until it was opened */
    uint64_t torn_bytes; /* cut off the tail of the last segment */
    uint64_t damaged_places; /* each was reported with diag_error: segment, offset, length, sequence numbers missing */
    uint64_t lost_records; /* sequence numbers missing because of damage */
    bool index_rebuilt;
    char index_why[128]; /* why the index was rebuilt, or empty */
};

int journal_open(struct journal **out, const struct journal_setup *setup, struct journal_report *report,
                 struct err *err);
/* Finishes what was submitted, settles the rooms, marks the index clean. NULL allowed. */
void journal_close(struct journal **j);

/* Take over the settings whose rows say SESSION; the others stay as they were at opening. Any thread, also while
 * operations run. A changed reserve is made, or given back, with the next segment. */
void journal_configure(struct journal *j, const struct journal_conf *conf);

/* --- changing: operations -----------------------------------------------------------------------------------------
 * */

enum journal_lane { LANE_RECEPTION, LANE_QUEUE, LANE_ACCESS, LANE_MAINTENANCE, LANE_COUNT };

enum journal_op_flags {
    OP_FREES = 1, /* dequeue, expunge, images, compaction: may use the reserve of a full disk */
    OP_SETTLE = 2, /* the journal's own: settle all rooms before it is answered */
    OP_ROLL = 4, /* the journal's own: go on in a new segment before it is answered */
};

struct journal_op;
/* Check, then emit. 0: ok. -1 with err: refused; if nothing was emitted before, the rest of the batch is unaffected,
 * otherwise the
 * batch is run again without this operation. So run has no effect but through tx, may be called more than once, and
 * does not wait. */
typedef int journal_run_fn(struct journal_tx *tx, struct journal_op *op, struct err *err);
/* op->err.kind == ERR_NONE: durable and visible. */
typedef void journal_done_fn(struct journal_op *op);

/* Embedded in what the submitter owns; lives until done was called. */
struct journal_op {
    /* filled by the submitter */
    journal_run_fn *run;
    journal_done_fn *done;
    struct reactor *reactor; /* where done is called; NULL: on the committer */
    uint64_t session; /* fairness within the lane: any stable id of the origin */
    uint32_t cost; /* 1 per message touched, at least 1, at most 1,000 */
    uint32_t bytes; /* an upper estimate of what will be emitted, bodies included */
    uint8_t lane; /* enum journal_lane */
    uint8_t flags; /* enum journal_op_flags */
    /* filled by the journal */
    struct err err;
    uint64_t seq; /* last sequence emitted, 0 if none */
    struct list link;
    struct post post;
    void *waiter; /* of journal_run */
};

/* False: too many wait (or the journal closes): nothing happened; answer "try again". op must stay in place until
 *        done. */
bool journal_submit(struct journal *j, struct journal_op *op) MUST_USE;
/* Submit and wait. For tools and tests, never on a reactor. Returns 0 or -1 with op->err copied to err. */
int journal_run(struct journal *j, struct journal_op *op, struct err *err);

/* Inside run and image: */
struct journal_view *journal_tx_view(struct journal_tx *tx);
int64_t journal_tx_now_ms(const struct journal_tx *tx); /* wall time of the batch; at replay: of the record */
uint64_t journal_next_seq(const struct journal_tx *tx); /* the sequence the next record will get */
/* Append a record about (object, part) and apply it. object 0: a new object whose id is this record's sequence.
 * payload is copied.
 * Returns the sequence. Failures of apply stick in the transaction and refuse the operation. */
uint64_t journal_emit(struct journal_tx *tx, uint16_t type, uint64_t object, uint32_t part, unsigned flags,
                      slice payload);
/* Is apply called for a record that is in the tables already (only memory is to be brought up)? */
bool journal_tx_is_young(const struct journal_tx *tx);
bool journal_tx_is_replay(const struct journal_tx *tx);

/* --- reading ------------------------------------------------------------------------------------------------------
 * */

int journal_read_begin(struct journal *j, struct journal_view *v, struct err *err);
void journal_read_end(struct journal_view *v);
uint64_t journal_durable_seq(const struct journal *j); /* everything up to here is on disk and visible */

/* --- while the index is rebuilt -----------------------------------------------------------------------------------
 *
 * With setup.background journal_open returns as soon as the early records (types.h) are applied; the committer goes on
 * with the late ones between the batches. Rooms without late types are complete then. An object with late types is
 * incomplete until it is ready: neither its late tables may be read nor operations be run on it; who needs it demands
 * it, which puts it in front, and refuses with ERR_TEMP meanwhile. What began to exist since is ready. Emptying,
 * reclaiming and checking are refused (ERR_TEMP). A journal closed or killed meanwhile begins the rebuild anew. */

/* Is a rebuild going on? *percent (may be NULL): how much of it is done, 100 when none is. Any thread, cheap. */
bool journal_rebuilding(const struct journal *j, unsigned *percent);
/* Any thread; cheap when no rebuild goes on. */
bool journal_object_ready(const struct journal *j, uint64_t object);
/* These objects, and `group`, which stands for them, become ready next, and together. Once asked for a group, further
 * calls do nothing. Any thread. */
void journal_demand(struct journal *j, uint64_t group, const uint64_t *objects, unsigned count);
bool journal_demand_wanted(const struct journal *j, uint64_t group); /* neither ready nor asked for yet */

/* --- care ---------------------------------------------------------------------------------------------------------
 * */

enum journal_state {
    JOURNAL_NORMAL,
    JOURNAL_FULL, /* only freeing operations; others get ERR_FULL */
    JOURNAL_READ_ONLY, /* the disk fails or another writer took over: everything is refused with ERR_TEMP */
};
enum journal_state journal_state(const struct journal *j, char why[160]);

/* For the watchdog: is the committer in a round? When it began, else when the last one ended (monotonic). Any
 * thread. */
bool journal_committer(const struct journal *j, int64_t *turned_ms);

/* The logical content as text, one line a pair, tables and keys in order: equal dumps mean equal state. Settles
 * nothing itself; run
 * journal_settle first. */
int journal_dump(struct journal *j, struct journal_view *v, FILE *out, struct err *err);
int journal_settle(struct journal *j, struct err *err); /* all rooms write their memory into the tables; waits */
struct pool *journal_pool(const struct journal *j); /* the helpers given at opening, or NULL */
const struct journal_type *journal_type_find(const struct journal *j, uint16_t type);

/* Verify everything: every checksum of every segment, sequence numbers, the index against a second one rebuilt beside
 * it, reference
 * counts, body places. Findings go to `say`, one line each. Returns the number of faults, or -1 when it could not
 * run. From any thread
 * but the committer. */
typedef void journal_say_fn(void *arg, const char *line);
struct journal_check_result {
    uint64_t segments, records, bodies, bytes, faults;
};
int journal_check(struct journal *j, journal_say_fn *say, void *arg, struct journal_check_result *result,
                  struct err *err);

/* Empty one sealed segment: copy its live bodies to a compaction segment in `partition`, image what it still says,
 * delete it. Waits; never on the committer, nor in a helper's job that the journal itself waits for. ERR_EXISTS: it is
 * being written, or a spooled body that no batch has taken yet; ERR_NOTFOUND; ERR_DAMAGE: a record is damaged, or a
 * body that is referred to: the segment is kept, and only sound bodies have left it; ERR_PERM: records of unknown
 * types; ERR_FULL. After any failure it may be tried again. */
int journal_empty_segment(struct journal *j, uint64_t number, uint32_t partition, struct err *err);
/* Empty what the policy (keep_days, reclaim_percent, full disk) says; returns the number of segments emptied or -1.
 * Waits. */
int journal_reclaim(struct journal *j, struct err *err);
/* Close the tail and go on in a new segment. Waits for the seal. */
int journal_roll(struct journal *j, struct err *err);

/* Everything the log still holds, in order, each record once, from the segments and from the history of deleted ones:
 * for `why`, dumps, and point-in-time. The callback returns false to stop. Bodies come without payload. A damaged file
 * of the history is said and left out. Waits for a segment that is being emptied, and holds up the next: the callback
 * must not empty, check or walk. Not on the committer. */
typedef bool journal_visit_fn(void *arg, const struct record *r, uint64_t segment, uint64_t offset);
int journal_walk(struct journal *j, uint64_t from_seq, journal_visit_fn *visit, void *arg, struct err *err);
/* The same, but history files that hold none of the keys are left out: what the rows' `keys` callbacks name, without
 * ASCII case, or an object id as 8 octets, big-endian. Segments that still exist are given whole. */
int journal_walk_keys(struct journal *j, uint64_t from_seq, const slice *keys, unsigned key_count,
                      journal_visit_fn *visit, void *arg, struct err *err);

#endif
