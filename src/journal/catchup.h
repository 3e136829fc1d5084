/* catchup.h - a rebuild in two phases: what is small before opening, the messages behind the back of a running server.
 *
 * Model:    record types are early or late (TYPE_LATE, bodies). catchup_begin reads the footers of all log segments on
 *           several threads, notes the newest image of every part, applies the early records in sequence and returns:
 *           directory, queue, accounts and mailboxes are there. The late records follow in slices, one transaction
 *           each, between the batches of live operations. A loader thread reads the next footers and sorts their late
 *           records by object and part, so that a slice writes the pages of one mailbox together; that is allowed
 *           because late records change facts of their own (object, part) and sums only. Changes to body references are
 *           gathered and written once a slice, in the order of the ids.
 *
 *           Somebody may ask for a group of objects (an account's mailboxes): then their records are found next, in the
 *           rest of the present chunk and in the segments behind it whose filter may hold them, and the general pass
 *           leaves them out when it gets there.
 *
 * Invariants:
 *   C1  an index under construction carries a mark (index_unfinished), set in its first transaction and taken away in
 *       its last: one that was interrupted is never trusted, but begun anew.
 *   C2  every late record is applied once: by the general pass, or by a demand for its object, never by both.
 *   C3  an object is said to be ready only after the transaction with its last late record was committed, with the
 *       places of all bodies it refers to.
 *   C4  nothing is emptied, imaged by policy or checked before the end: until then reference counts are partial sums.
 *   C5  no body gets its place in a body file that was emptied: a crash may have left the file, but it goes at the end.
 *
 * Threads:  catchup_begin: the opening thread. catchup_slice: the committer, or the opening thread when nothing serves
 *           yet. Asking (journal_object_ready, journal_demand, journal_rebuilding): any.
 * Errors:   ERR_FULL: no room in the index now, nothing was begun, try the slice again later. All else is final: what
 *           a slice took is lost with its transaction, and another one would leave a hole.
 */
#ifndef JOURNAL_CATCHUP_H
#define JOURNAL_CATCHUP_H

#include "journal/internal.h"

/* Takes `list`, the log segments, all sealed. Leaves j->catchup. */
int catchup_begin(struct journal *j, TAKES struct log_segment *list, unsigned count, struct err *err);
/* Is there anything left for catchup_slice? */
bool catchup_pending(const struct journal *j);
/* One transaction: short when operations wait, longer when the journal is idle. The last one finishes the rebuild:
 * gaps, leftovers, the mark, the rooms' `complete`. */
int catchup_slice(struct journal *j, struct err *err);
void catchup_free(struct journal *j); /* any state; joins the loader */
/* Room in the index for some more. What is kept for freeing operations may be used up to its half, *is_tight: without
 * the index they cannot free anything either. ERR_FULL. */
int catchup_room(struct journal *j, bool *is_tight, struct err *err);

/* catchup_read.c: what early and late need from one segment. ------------------------------------------------------- */

struct catchup_filter { /* may hold an object? Bloom, 4 probes */
    uint64_t *bits;
    uint64_t mask; /* of bit numbers; 0 with bits NULL: holds none */
};
bool filter_has(const struct catchup_filter *f, uint64_t object);

struct catchup_segment {
    struct log_segment s;
    struct catchup_filter filter; /* log: objects with late records; compaction: body ids */
    uint64_t late_count;
};

struct early_record {
    struct record r;
    uint64_t offset;
    uint32_t length;
    bool is_dead; /* a later one of the segment says it all */
};
struct early_note { /* of an image or an end */
    uint64_t object, seq;
    uint32_t part;
};
struct early_part { /* from one segment */
    struct arena mem;
    struct early_record *records;
    size_t count, cap;
    struct early_note *notes;
    size_t note_count, note_cap;
    struct early_damage {
        uint64_t from, to, first_seq, last_seq;
    } *damage;
    size_t damage_count;
};
/* Fills parts[count] and the segments' filters, on several threads. */
int early_read(struct journal *j, struct catchup_segment *segments, struct early_part *parts, unsigned count,
               struct err *err);
void early_free(struct early_part *p);
/* Filters of compaction segments. */
int compact_read(struct journal *j, struct catchup_segment *segments, unsigned count, struct err *err);

struct late_record {
    uint64_t object, seq, offset;
    int64_t time_ms;
    const unsigned char *payload;
    uint32_t payload_len, part, segment; /* segment: place in the list */
    uint16_t type, flags;
};
struct late_place {
    uint64_t id, offset;
    uint32_t length, segment;
    bool is_written;
};
struct late_chunk { /* the late records of some segments, by object, part, sequence */
    struct arena mem;
    struct late_record *records;
    size_t count, cap, at;
    struct late_place *places; /* by id */
    size_t place_count, place_cap, place_at;
    unsigned end; /* first segment behind it */
};
/* From segments[from] on until enough; NULL with err on failure. */
OWNED struct late_chunk *chunk_read(struct journal *j, const struct catchup_segment *segments, unsigned from,
                                    unsigned count, struct err *err);
void chunk_destroy(struct late_chunk **c);

/* What catchup*.c share. ------------------------------------------------------------------------------------------- */

struct demand {
    struct list link;
    uint64_t *objects; /* rising; the group first asked for is among them */
    unsigned count;
    unsigned next; /* segment; valid once begun */
    bool is_begun;
};

struct body_change {
    uint64_t id;
    int64_t delta;
};

struct catchup {
    uint64_t boundary; /* sequence of the last record of the history */
    uint64_t number_max; /* of the last segment of the history, of any kind */
    struct log_segment *list;
    struct catchup_segment *segments, *compact;
    unsigned count, compact_count;
    bool has_filters; /* of compact */
    struct idmap dropped; /* number of a body file -> sequence of its last DROP */
    bool is_done;
    bool is_broken; /* a slice failed: only a new start can begin the rebuild anew */
    int64_t began_ms;

    /* owner: committer */
    unsigned next_compact, next; /* to be taken by the general pass */
    struct late_chunk *chunk;
    struct demand *now;
    struct body_change *changes; /* of references, to be written at the end of the slice */
    size_t change_count, change_cap;

    /* j->lock */
    struct idmap ready; /* objects */
    struct idmap asked;
    struct list demands;

    struct thread loader;
    pthread_mutex_t lock; /* lock rank 94: what the loader hands over */
    pthread_cond_t cond;
    struct late_chunk *loaded;
    unsigned load_next;
    bool is_stopping, has_failed;
    struct err err;
};

/* catchup_body.c: references and places of bodies. In j->tx. */
int id_cmp(const void *a, const void *b); /* uint64_t */
/* Write a body's place, if it has none yet, and the change of its references. */
void body_merge(struct journal_tx *tx, uint64_t id, int64_t delta, const struct body_info *place);
struct body_info place_info(const struct catchup_segment *segments, const struct late_place *p);
void changes_write(struct journal *j, struct catchup *c); /* all that catchup_body_ref gathered */
/* Places of bodies by their ids, rising, wherever they are; the array is used up. */
int places_find(struct journal *j, struct catchup *c, uint64_t *ids, size_t count, struct err *err);

/* catchup_early.c: the first phase, on the opening thread; sets the boundary and j->next_seq. */
int early_phase(struct journal *j, struct catchup *c, struct err *err);

#endif
