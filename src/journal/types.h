/* types.h - what a room gives the journal: record types and index tables, as rows.
 *
 * Model:    the journal knows no mail. A room (queue, store, dir, …) registers one `struct journal_room`: rows of
 *           record types with the functions that apply, image and show them, and rows of index tables. Record types
 *           and table numbers are unique in the product and never reused:
 *
 *             room      record types      tables
 *             journal   0x0001-0x00ff     1-9
 *             queue     0x0100-0x01ff     10-29
 *             store     0x0200-0x02ff     30-59
 *             dir       0x0300-0x03ff     60-69
 *             log       0x0400-0x04ff     70-79
 *             policy    0x0500-0x05ff     80-89
 *             intake    0x0600-0x06ff     90-94
 *             tests     0x7f00-0x7fff     110-119
 *
 *           A record is a fact about one *part* of one *object* with its final values. Object ids are sequence
 *           numbers of the object's first record. Applying is the same code live and at replay; checks are made
 *           before a record is emitted, never in apply. Apply is idempotent: a record at or below the index position
 *           is not applied again, and apply tolerates an object that is unknown (its earlier records may lie in a
 *           damaged place).
 * Threads:  all callbacks run on the committer (or on the opening thread, before there is one).
 */
#ifndef JOURNAL_TYPES_H
#define JOURNAL_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct journal_tx;
struct journal_view;

struct record {
    uint16_t type;
    uint16_t flags; /* enum record_flags */
    uint32_t part;
    uint64_t seq;
    uint64_t object;
    int64_t time_ms;
    slice payload; /* empty for bodies during replay */
};

typedef void journal_ref_fn(void *arg, uint64_t body_id);
typedef void journal_key_fn(void *arg, slice key);

enum journal_type_flags {
    TYPE_YOUNG = 1, /* may live in memory only: replayed from young_from, see journal_room.young_from */
    /* The many: at a rebuild these records are applied behind a server that runs already (journal/catchup.h), after all
     * early records, by rising (object, part, sequence) in pieces. So apply changes facts of its own (object, part),
     * sums and maxima only, in tables only, and reads no more than that and what early records made. */
    TYPE_LATE = 2,
    /* Each record says all about its (object, part) and nothing about anything else: of several in a row a rebuild
     * applies only the newest. Not together with TYPE_YOUNG or TYPE_LATE. */
    TYPE_WHOLE = 4,
};

struct journal_type {
    uint16_t type;
    uint16_t flags;
    const char *name; /* "message_add": shown by dumps, lower case with '_' */

    /* Bring the index (and the room's memory) from before the record to after it. -1 only for a broken index or a
     * payload that does not decode (ERR_DAMAGE): at replay such a record is reported, counted and left out. */
    int (*apply)(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
    /* Body ids that the payload names, for checking. NULL: none. */
    void (*refs)(const struct record *r, journal_ref_fn *ref, void *arg);
    /* The payload as one line of text for people, appended. NULL: its length is shown. */
    void (*dump)(const struct record *r, struct buf *out);
    /* Emit (journal_emit with RECORD_IMAGE, one record) the complete present state of (object, part), or nothing if it
     * does not exist any more. Records of types that carry RECORD_IMAGE are imaged again when their segment is emptied:
     * NULL only for types whose records always carry RECORD_END or RECORD_BODY. */
    int (*image)(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err);
    /* Search keys of the record (addresses, message ids) for the history of finished mail. NULL: none. */
    void (*keys)(const struct record *r, journal_key_fn *key, void *arg);
};

enum journal_table_flags {
    TABLE_PHYSICAL = 1, /* says where things lie, not what they are: left out of the logical dump */
};

struct journal_table {
    unsigned number; /* 1 .. JOURNAL_TABLES_MAX */
    const char *name;
    unsigned flags;
};
#define JOURNAL_TABLES_MAX 127

struct journal_room {
    const char *name;
    const struct journal_type *types;
    unsigned type_count;
    const struct journal_table *tables;
    unsigned table_count;
    void *state; /* passed to callbacks as `room` */

    /* Each may be NULL.
     * committed: the batch is durable and visible; memory changes staged by apply become real, watchers may be told.
     * aborted:   the batch did not happen; drop what apply staged.
     * young_from: sequence of the oldest record that is still only in memory, or 0; what apply staged counts, too.
     * settle:    write everything in memory with seq <= upto into the tables (journal_put is allowed).
     * complete:  the rebuild that went on since the journal was opened has ended. */
    void (*committed)(void *room);
    void (*aborted)(void *room);
    uint64_t (*young_from)(void *room);
    int (*settle)(struct journal_tx *tx, void *room, uint64_t upto, struct err *err);
    void (*complete)(void *room);

    /* A second `state`, empty, and its end: journal_check rebuilds an index beside the running one, so the callbacks
     * above are called with either. On the checking thread. NULL if there is no state: a room that has one and lacks
     * these cannot be compared with its rebuild. */
    void *(*state_new)(void);
    void (*state_destroy)(void *state);
};

#endif
