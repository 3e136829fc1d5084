/* internal.h - what the files of the journal share; nobody else includes it.
 *
 *   commit.c   lanes, batches, the committer thread      emit.c     one operation's records, apply, references
 *   open.c     opening, closing, rolling                 replay.c   from segments to the index, visit.c one segment
 *   body.c     body writers, pins, views                 reclaim.c  images, emptying, policy, history.c its footers
 *   catchup.c  the late part of a rebuild, catchup_read.c its reading of footers
 *   check.c    verification, dump
 *
 * The committer's state machine (enum journal_state, changed by journal_enter only):
 *
 *   NORMAL --no room for a segment or for the index--> FULL --spare and reserve are there again--> NORMAL
 *   NORMAL, FULL --write or sync failed and no new segment can be had, or a foreign writer--> READ_ONLY (until
 *   restart)
 */
#ifndef JOURNAL_INTERNAL_H
#define JOURNAL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/counter.h"
#include "base/list.h"
#include "base/map.h"
#include "journal/guard.h"
#include "journal/journal.h"
#include "reactor/thread.h"

/* The journal's own record types. Payloads, little-endian:
 *   BODY        the octets; object = id. In a log segment seq = id; in a body segment seq and object are 0 (see
 *               ADOPT)
 *   ADOPT       u64 body id (0: this record's seq), u64 segment, u64 offset of the payload, u32 length
 *   OBJECT_END  u64 seq of the object's real end; repeats an END whose segment was emptied
 *   DROP        u64 segment, u32 kind, u64 first seq, u64 last seq (0, 0: no log segment); object JOURNAL_SELF
 *   GONE_IMAGE  pairs of u64 first, last: the ranges of sequence numbers whose segments were emptied; image of
 *               JOURNAL_SELF
 *   PART_END    u16 type whose image callback had nothing to say, u64 seq: what (object, part) held up to there does
 *               not
 *               exist any more; an image */
enum {
    RT_BODY = 0x0001,
    RT_ADOPT = 0x0002,
    RT_OBJECT_END = 0x0003,
    RT_DROP = 0x0004,
    RT_GONE_IMAGE = 0x0005,
    RT_PART_END = 0x0006,
};
#define JOURNAL_SELF UINT64_MAX
#define PART_ALL UINT32_MAX /* in TABLE_PART: the whole object ended */

/* The journal's own tables; keys big-endian, values little-endian.
 *   BODY     u64 id                -> u64 segment, u64 offset, u32 length, u32 refs
 *   SEGMENT  u64 number            -> u64 octets of bodies with references
 *   PART     u64 object, u32 part  -> u64 seq of its last image (or END)
 *   GONE     u64 first seq         -> u64 last seq of an emptied range
 *   ADOPT    u64 body segment      -> u64 body id
 *   CHANGES  u64 object, u32 part  -> u64 octets of changes in sealed segments since the last image, u64 octets of
 *            that
 *                                     image (0: not known); lost with the index, so it only steers */
enum { TABLE_BODY = 1, TABLE_SEGMENT = 2, TABLE_PART = 3, TABLE_GONE = 4, TABLE_ADOPT = 5, TABLE_CHANGES = 6 };
#define BODY_VALUE_BYTES 24

extern const struct journal_room journal_own_room_rows; /* types and tables; state is set per journal */

struct pending { /* a record of the batch under construction */
    struct record_header header;
    slice payload;
};

enum tx_phase { TX_LIVE, TX_REPLAY, TX_YOUNG, TX_SETTLE };

#define TX_SEGMENTS_MAX 16
struct journal_tx {
    struct journal_view view; /* first: rooms get it through journal_tx_view */
    struct journal *journal;
    enum tx_phase phase;
    int64_t now_ms;
    uint64_t next_seq;
    uint64_t at; /* offset in the tail segment of the next record */
    uint64_t segment; /* number of the tail segment */
    uint32_t body_length; /* at replay bodies come without payload: their length */
    struct arena mem; /* copies of payloads */
    struct pending *pending;
    size_t pending_count, pending_cap;
    size_t op_begin; /* first record of the operation that runs */
    bool is_failed; /* of the operation that runs; sticks */
    struct err err;
    struct { /* changes of live octets by segment, written once a batch */
        uint64_t segment;
        int64_t delta;
    } live[TX_SEGMENTS_MAX];
    unsigned live_count;
    struct catchup *catchup; /* changes of references go there, to be written in one go; NULL: at once */
};

struct flow { /* the operations of one session in one lane */
    struct list link;
    struct list ops;
    uint64_t session;
    int64_t deficit;
};

struct lane {
    struct list active; /* flows with operations */
    struct idmap flows;
    int64_t credit;
    unsigned weight;
};

struct type_slot {
    uint16_t type;
    const struct journal_type *row;
    const struct journal_room *room;
};

struct journal {
    struct journal_conf conf;
    const struct clock *clock;
    struct pool *pool;
    char *dir;
    char *boot_id; /* NULL: the kernel's */
    int lock_fd;
    unsigned char id[JOURNAL_ID_BYTES];
    uint64_t epoch;
    bool copy_on_write;

    struct journal_room own;
    const struct journal_room **rooms; /* [0] is our own */
    unsigned room_count;
    struct type_slot *types; /* sorted by type */
    unsigned type_count;

    struct segment_dir *segments;
    struct index *index;
    struct catchup *catchup; /* of a rebuild, until the journal is closed; catchup.h */
    unsigned rebuild_slice; /* of the setup */
    bool rebuild_stands;    /* the committer's; a test wants to be in between for as long as it takes */
    _Atomic bool is_catching_up;
    _Atomic uint64_t catchup_done, catchup_all; /* late records */
    struct journal_report report;

    /* owner: committer (or the opening thread) */
    struct segment_writer tail;
    bool has_tail;
    bool tail_is_fence; /* its first sequence voids records in the segment before: kept, though empty */
    uint64_t next_seq;
    struct journal_tx tx;
    struct buf out; /* encoded records of a batch */
    struct iovec *iov;
    unsigned iov_count, iov_cap;
    struct list batch; /* operations of the batch, in order */
    struct lane lanes[LANE_COUNT];
    unsigned lane_at;
    int64_t prepare_tried_ms;

    _Atomic uint64_t durable_seq;
    _Atomic uint64_t buffered_bytes; /* of body writers in memory */
    _Atomic int state; /* enum journal_state */
    _Atomic bool is_in_round; /* the committer; with the next, which each stand for themselves */
    _Atomic int64_t turned_ms;

    pthread_mutex_t lock; /* lock rank 20: inbox, state text, helpers' bookkeeping below */
    pthread_cond_t wake; /* for the committer */
    pthread_cond_t idle; /* for those who wait for helpers */
    struct list inbox;
    uint64_t waiting; /* operations submitted and not yet answered */
    bool is_closing;
    unsigned helpers; /* jobs under way on the pool */
    bool is_preparing;
    char why[160];

    pthread_mutex_t care; /* lock rank 10: one reclaim, check or roll at a time; held long, taken first */
    /* Segments that damage keeps from being emptied -> 1 + live octets then. They are said once, and tried again when
     * less of them is alive; a restart tries all of them once more. Under lock. */
    struct idmap kept;
    /* Tests: called between the steps of emptying a segment, with the step's name. */
    void (*care_step)(void *arg, const char *step);
    void *care_arg;
    struct thread thread;
};

/* A setting that journal_configure may change while the journal is open: any thread may ask, and each value stands for
 * itself, so no order is needed. Those that need a restart are read as they are. */
#define CONF(j, field) __atomic_load_n(&(j)->conf.field, __ATOMIC_RELAXED)

enum {
    JC_BATCHES,
    JC_OPS,
    JC_RECORDS,
    JC_BYTES,
    JC_SYNC_US,
    JC_REFUSED,
    JC_RERUN,
    JC_WRITE_FAILED,
    JC_ROLLS,
    JC_EMPTIED,
    JC_WAITING,
    JC_DAMAGED,
    JC_KEPT,
    JC_REBUILD_LEFT,
    JC_REBUILT,
    JC_DEMANDED,
    JC_COUNT
};
extern struct counter journal_counters[JC_COUNT];

/* --- emit.c -------------------------------------------------------------------------------------------------------
 * */
void tx_init(struct journal_tx *tx, struct journal *j);
void tx_free(struct journal_tx *tx);
void tx_reset(struct journal_tx *tx); /* nothing pending; next_seq, at, segment from the journal */
void tx_op_begin(struct journal_tx *tx);
void tx_op_end(struct journal_tx *tx); /* sets RECORD_MORE on all but its last record */
bool tx_op_emitted(const struct journal_tx *tx);
int tx_apply(struct journal_tx *tx, const struct record *r,
             struct err *err); /* own bookkeeping, then the room's apply */
void tx_live_flush(struct journal_tx *tx); /* writes TABLE_SEGMENT */
void tx_live_add(struct journal_tx *tx, uint64_t segment, int64_t delta);
uint64_t tx_emit_reference(struct journal_tx *tx, uint16_t type, uint64_t object, uint32_t part, unsigned flags,
                           slice payload); /* like journal_emit, payload not copied */
uint64_t part_seq(struct journal_view *v, uint64_t object, uint32_t part); /* of its last image, or 0 */
/* Is a record of (object, part) with that seq superseded by an image or an end? */
bool part_is_dead(struct journal_view *v, uint64_t object, uint32_t part, uint64_t seq);
void part_note(struct journal_tx *tx, const struct record *r); /* RECORD_IMAGE, RECORD_END into TABLE_PART */
void body_value_put(struct journal_tx *tx, uint64_t id, const struct body_info *b);
const struct type_slot *type_slot_find(const struct journal *j, uint16_t type);

/* --- commit.c -----------------------------------------------------------------------------------------------------
 * */
void *committer_main(void *journal);
void committer_init(struct journal *j);
void committer_free(struct journal *j);
void rooms_committed(struct journal *j); /* what they staged is real, or */
void rooms_aborted(struct journal *j);   /* did not happen */
void journal_enter(struct journal *j, enum journal_state state, const char *why);

/* --- open.c -------------------------------------------------------------------------------------------------------
 * */
struct journal *journal_new(const struct journal_setup *setup); /* half built: nothing opened */
void rooms_register(struct journal *j, const struct journal_setup *setup);
void journal_free(struct journal *j);
/* A new tail whose first sequence is next_seq. The old one must be closed. ERR_FULL when there is no room. After a
 * failure no segment of that first sequence is there; where that is not certain (tail.is_doubtful), or when somebody
 * else makes segments, the state is READ_ONLY: nothing may be answered any more that such a segment would void. */
int tail_open(struct journal *j, bool use_reserve, struct err *err);
/* Settle the rooms, open a new tail, have the old one sealed on a helper (or here when there is no pool). On failure
 * the old tail stays. */
int tail_roll(struct journal *j, bool use_reserve, struct err *err);
/* Room states into the tables up to `upto`, in a transaction of its own. Committer only. */
int tail_settle(struct journal *j, uint64_t upto, struct err *err);
uint64_t rooms_young_from(struct journal *j);
/* Ask a helper for spare and reserve, at most once a second. */
void prepare_later(struct journal *j);
void helpers_wait(struct journal *j); /* until no job of ours is under way */

struct log_segment;
struct catchup;

/* --- replay.c -----------------------------------------------------------------------------------------------------
 * */
/* Seal what an unclean stop left open, bring the index up to the log, remove files that no longer count; sets
 * next_seq. ERR_DAMAGE: the trusted index
 * is ahead of the log. */
int replay_all(struct journal *j, enum index_open_result trust, const struct journal_setup *setup, struct err *err);
/* For checking: bring the index of `beside`, which shares the segments of a running journal, up to the records with
 * seq <= upto; nothing else is touched. May be called again with a higher position. Rooms are settled when `settle`
 * is set, and then it may not be called again. */
int replay_beside(struct journal *beside, uint64_t upto, bool settle, struct err *err);
bool range_is_gone(struct journal_view *v, uint64_t first, uint64_t last); /* by TABLE_GONE */
/* Steps that a rebuild in phases shares. Apply one record in j->tx; a damaged one is said and left out. */
int replay_record(struct journal *j, const struct record *rec, struct err *err);
void replay_damage(struct journal *j, uint64_t segment, uint64_t from, uint64_t to, uint64_t first_seq,
                   uint64_t last_seq);
int replay_commit(struct journal *j, struct err *err); /* j->tx: everything below j->next_seq is applied */
/* All records are applied: look for gaps, remove files up to number_max that no longer count. In j->tx. */
int replay_finish(struct journal *j, const struct log_segment *list, unsigned count, uint64_t number_max,
                  struct err *err);

/* --- catchup.c ----------------------------------------------------------------------------------------------------
 * */
void catchup_body_ref(struct catchup *c, uint64_t body_id, int delta);
int catchup_refuse(const struct journal *j, struct err *err); /* -1 with ERR_TEMP while the index is rebuilt */
/* Was that body file emptied later than at `seq`? c: NULL when the index was not made anew. */
bool catchup_is_dropped(const struct catchup *c, uint64_t number, uint64_t seq);

/* --- visit.c ------------------------------------------------------------------------------------------------------
 * */
/* All log segments with ranges, by number. OWNED array. `void_from`: sequences from here on are void in it (0: none).
 * */
struct log_segment {
    struct segment_info info;
    uint64_t void_from;
};
int log_segments(struct journal *j, OWNED struct log_segment **out, unsigned *count, struct err *err);
/* Visit the records of one log, body or compaction segment, sealed or not, without void ones. visit returns -1 to
 * stop. For unsealed log segments:
 * trusted_seq and *cut as replay needs them; *cut = 0 if it is sealed. */
struct segment_visit {
    int (*record)(void *arg, const struct record *r, const struct record_header *h, uint64_t offset, struct err *err);
    void (*damage)(void *arg, uint64_t segment, uint64_t from, uint64_t to, uint64_t first_seq, uint64_t last_seq);
    void *arg;
};
int segment_visit(struct journal *j, const struct log_segment *s, uint64_t trusted_seq, const struct segment_visit *v,
                  uint64_t *cut, uint64_t *last_seq, struct err *err);

/* --- reclaim.c ----------------------------------------------------------------------------------------------------
 * */
/* Image of JOURNAL_SELF: the emptied ranges of sequence numbers, neighbours merged. */
int own_image(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err);
/* A log segment was sealed: account its change records, image parts that changed much. On a helper. */
void reclaim_sealed(struct journal *j, uint64_t number);

/* --- history.c ----------------------------------------------------------------------------------------------------
 * */
/* Keep the footer of a log segment that is about to be deleted, compressed, with a Bloom filter over its keys. */
int history_keep(struct journal *j, uint64_t number, struct err *err);
int history_trim(struct journal *j, struct err *err); /* conf.history_days, conf.history_bytes */

#endif
