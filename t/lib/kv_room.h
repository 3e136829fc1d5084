/* kv_room.h - a small room for testing the journal: named buckets with keys, a list, and jobs that live in memory at
 * first.
 *
 * Model:    an object is a bucket: part 0 its head (name, counters), parts 1 .. 16 its entries by hash of the key,
 *           part 17 its list. A record changes its own part only, so that an image of a part replaces every earlier
 *           record of it. Moving an entry is therefore four records. A job is an object of its own (a queue entry in
 *           small): its records are TYPE_YOUNG, it is kept in memory and written to its table by settle. Operations
 *           come from kv_model.h; kv_room_compare holds the journal's state against the model.
 * Threads:  callbacks on the committer. kv_op_* from the thread that owns the operation; comparing from any thread
 *           while nothing is being changed.
 * Lifetime: the room lives longer than its journal. A kv_op lives until it is answered; kv_op_free afterwards.
 */
#ifndef T_KV_ROOM_H
#define T_KV_ROOM_H

#include "journal/journal.h"
#include "kv_model.h"

enum {
    KV_BUCKET = 0x7f01,     /* u32 client, u32 slot, u32 born; a new object */
    KV_HEAD = 0x7f02,       /* u32 moves */
    KV_SET = 0x7f03,        /* u32 key, value */
    KV_DEL = 0x7f04,        /* u32 key */
    KV_PUSH = 0x7f05,       /* u32 index, value */
    KV_POP = 0x7f06,        /* u32 index */
    KV_DROP = 0x7f07,       /* END */
    KV_IMAGE_HEAD = 0x7f08, /* as KV_BUCKET, u32 moves */
    KV_IMAGE_PART = 0x7f09, /* pairs: u32 key or index, value; possibly none */
    KV_JOB_ADD = 0x7f0a,    /* young: u32 client, u32 n, u32 length, u64 body */
    KV_JOB_DONE = 0x7f0b,   /* young, END */
    KV_IMAGE_JOB = 0x7f0c,  /* as KV_JOB_ADD */
};
/* value = u8 kind, u32 n (who made it), u32 length, then the octets or u64 body id */

enum { KV_TABLE_NAME = 110, KV_TABLE_HEAD = 111, KV_TABLE_ENTRY = 112, KV_TABLE_JOB = 113 };
#define KV_PARTS 16u
#define KV_PART_LIST 17u

struct kv_room;

OWNED struct kv_room *kv_room_new(void);
void kv_room_destroy(struct kv_room **r);
const struct journal_room *kv_room_rows(struct kv_room *r);
unsigned kv_room_young_count(struct kv_room *r); /* jobs only in memory */

struct kv_op {
    struct journal_op op;
    struct kv_room *room;
    struct kv_step step;
    uint64_t seed;
    struct buf octets;          /* of inline values and journal_emit_octets */
    struct body_writer *writer; /* of bodies */
    void *owner;                /* the submitter's, for done */
};
/* Fill op for a step: content, body writer and journal_op. May fail for want of disk space: then the operation counts
 * as refused. A spooled body is finished here, on the calling thread. done: NULL when journal_run is used. */
int kv_op_init(struct kv_op *op, struct kv_room *room, struct journal *j, const struct kv_step *step, uint64_t seed,
               journal_done_fn *done, void *owner, struct err *err);
void kv_op_free(struct kv_op *op);

/* Submit and wait: 0, or -1 with err. */
int kv_run(struct kv_room *room, struct journal *j, const struct kv_step *step, uint64_t seed, struct err *err);

/* Does the journal hold exactly what the client's model says? `quick` leaves the octets of bodies unread. */
bool kv_client_same(struct kv_room *room, struct journal *j, struct journal_view *v, const struct kv_client *c,
                    uint64_t seed, bool quick, char why[200]);
/* Does a reader see the client's operation in flight done? Lengths and counts only. */
bool kv_client_is_done(struct kv_room *room, struct journal *j, struct journal_view *v, const struct kv_client *c,
                       const struct kv_plan *plan);
/* All clients, and nothing else. A client with an operation in flight may hold it or not; the model is brought in
 * line with what was found (answered = sent). Returns the number of differences, each said in one line. */
int kv_compare(struct kv_room *room, struct journal *j, struct kv_model *m, bool quick, journal_say_fn *say, void *arg);

#endif
