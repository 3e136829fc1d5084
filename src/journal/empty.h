/* empty.h - what the files that empty segments share; nobody else includes it.
 *
 *   crew.c   many small operations on the maintenance lane    copy.c    bodies into a compaction segment
 *   gather.c what a segment says                              empty.c   emptying one or a group
 *   reclaim.c which, and images of what changed much
 *
 * Threads:  all of it on a helper's or a tool's thread that holds journal.care, except the operations' run.
 */
#ifndef JOURNAL_EMPTY_H
#define JOURNAL_EMPTY_H

#include "journal/internal.h"

#define CARE_OP_ITEMS 1000u /* an operation touches at most so many bodies, rows or ended objects */
#define CARE_SLICE 500u     /* look-ups in one read transaction: readers are short */

/* --- crew: operations under way, a bounded number of them --------------------------------------------------------- */

#define CREW_SLOTS 32u

struct crew;
struct crew_slot {
    struct journal_op op;
    struct crew *crew;
    void *arg;
    bool is_busy;
};
struct crew {
    struct journal *journal;
    pthread_mutex_t lock; /* lock rank 90: the slots */
    pthread_cond_t freed;
    unsigned busy;
    struct err err;       /* the first failure; later ones are not begun */
    struct crew_slot slots[CREW_SLOTS];
};
void crew_init(struct crew *c, struct journal *j);
void crew_free(struct crew *c); /* waits for what is under way */
/* Submit as soon as a slot is free. -1: it, or an earlier one, failed (crew_wait says why). arg lives until the crew
 * waited; run gets it with crew_arg. */
int crew_submit(struct crew *c, journal_run_fn *run, void *arg, uint32_t cost, uint32_t bytes);
int crew_wait(struct crew *c, struct err *err);
void *crew_arg(struct journal_op *op);

/* --- bodies ------------------------------------------------------------------------------------------------------- */

struct body_move {
    uint64_t id;
    uint64_t from_segment, from_offset; /* of the payload */
    uint64_t to_segment, to_offset;     /* 0: not copied */
    uint32_t length;
};

/* A compaction segment under construction; the file is made by the first copy. */
struct compaction {
    struct journal *journal;
    uint32_t partition;
    bool is_open;
    struct segment_writer writer;
    struct footer_writer footer;
    struct buf out;             /* encoded records not yet written */
    struct body_move *moves;
    size_t count, cap;
};
void compaction_init(struct compaction *c, struct journal *j, uint32_t partition);
/* Copy a body behind the others. 1: done. 0: its octets are damaged (said with diag_error), nothing was copied.
 * -1: writing failed. */
int compaction_add(struct compaction *c, const struct segment_pin *from, uint64_t id, uint64_t offset, uint32_t length,
                   struct err *err);
int compaction_finish(struct compaction *c, struct err *err); /* on disk, whole; fills in to_segment of the moves */
void compaction_free(struct compaction *c);                   /* a file that was not finished is discarded */

/* Header and payload of the body whose payload lies at `offset`, in pieces, so that large ones need no memory. 0, or -1
 * with what is wrong (ERR_DAMAGE, or the read error). */
int body_verify(const struct segment_pin *pin, uint64_t id, uint64_t offset, uint32_t length, struct record_header *h,
                struct err *err);
/* Only the header. */
int body_header_verify(const struct segment_pin *pin, uint64_t id, uint64_t offset, uint32_t length,
                       struct record_header *h, struct err *err);

/* --- what a segment says ------------------------------------------------------------------------------------------ */

struct vec { /* a growing array */
    void *items;
    size_t count, cap;
};

struct part_fact { /* the newest record of a part in the segment */
    uint64_t object, seq;
    uint32_t part;
    uint16_t type;
};
struct end_fact { /* END, or (part != PART_ALL) PART_END */
    uint64_t object, end, seq;
    uint32_t part;
    uint16_t type;
};
struct body_fact {
    uint64_t id, offset;
    uint32_t length;
};
struct adopt_fact {
    uint64_t id, segment, offset;
    uint32_t length;
};
struct span { /* of sequence numbers in a log segment */
    uint64_t first, last;
};

struct emptying {
    struct journal *j;
    uint64_t number;
    struct log_segment seg;
    struct err err;       /* why it is not emptied */
    struct vec parts;     /* part_fact */
    struct vec ends;      /* end_fact */
    struct vec bodies;    /* body_fact */
    struct vec adopts;    /* adopt_fact */
    struct vec spans;     /* of the other log segments, rising */
    struct vec forget;    /* end_fact: rows to delete afterwards */
    unsigned damaged;     /* places; only met when there is no footer */
    bool has_damaged_body;
};

void *vec_push(struct vec *v, size_t each); /* room for one more item, not zeroed */

/* e->j and e->number are set. ERR_EXISTS: being written, or a body that nobody adopted yet; ERR_NOTFOUND; ERR_DAMAGE;
 * ERR_PERM: records of unknown types. Seals a log segment that is written no more and has no valid footer. */
int emptying_load(struct emptying *e, struct err *err);
int emptying_spans(struct emptying *e, struct err *err); /* again, after other segments have gone */
void emptying_free(struct emptying *e);
/* Does another log segment hold sequence numbers of [first, last]? */
bool emptying_meets(const struct emptying *e, uint64_t first, uint64_t last);

/* --- emptying ----------------------------------------------------------------------------------------------------- */

/* Empty segments whose live bodies go into one compaction segment. care is held. *emptied counts those that are gone;
 * -1 with the first failure, the others are tried all the same. */
int empty_group(struct journal *j, const uint64_t *numbers, unsigned count, uint32_t partition, unsigned *emptied,
                struct err *err);
void care_step(struct journal *j, const char *step); /* the tests' hook */
/* Was it kept for damage, and has nothing of it died since? Then there is no point in trying, nor in saying it
 * again. */
bool is_kept(struct journal *j, uint64_t number, uint64_t live);

/* The image of (object, part) through the room, or a PART_END if the room has nothing to say. For a crew. */
struct image_want {
    uint64_t object;
    uint32_t part;
    uint16_t type;
    uint64_t seq;          /* newest record that the image replaces: nothing is done if a newer image exists */
    bool has_elders;       /* other log segments may hold older records of it */
};
int image_run(struct journal_tx *tx, struct journal_op *op, struct err *err);
uint32_t image_bytes(struct journal_view *v, uint64_t object, uint32_t part); /* an estimate */
uint32_t image_cost(uint32_t bytes);

struct change_value {
    uint64_t changes, image;
};
void change_key(unsigned char key[12], uint64_t object, uint32_t part);
bool change_get(struct journal_view *v, uint64_t object, uint32_t part, struct change_value *out);

#endif
