/* kv_model.h - what the key-value test room should hold, computed without the journal.
 *
 * Model:    a *client* owns a few buckets and sends one operation (`struct kv_step`) at a time. What it sends next
 *           follows from the seed, its number, the operation's number and its own model, so that a log of "sent" and
 *           "answered" lines is enough to rebuild the model anywhere. Contents are named by the operation that made
 *           them, never stored: kv_fill makes them again. After a crash a client's state is the model after its last
 *           answered operation, or that plus the one still in flight.
 * Lines:    "S client n" before an operation is sent; "A client n kind" when it was answered (kind: enum err_kind, 0
 *           = success); "V client n" when a reader saw it done before that; "P 0 f" from here on plan.freeing is f.
 * Threads:  plain values; one owner.
 */
#ifndef T_KV_MODEL_H
#define T_KV_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"

#define KV_BUCKETS 4u
#define KV_KEYS 24u
#define KV_ITEMS 12u
#define KV_JOBS 6u
#define KV_CLIENTS_MAX 64u

enum kv_what {
    KV_OP_CREATE,
    KV_OP_SET,        /* value in the record */
    KV_OP_SET_BODY,   /* value in a body of its own */
    KV_OP_SET_OCTETS, /* the same through journal_emit_octets */
    KV_OP_SHARE,      /* a second key refers to the same body */
    KV_OP_DEL,
    KV_OP_PUSH,
    KV_OP_POP,
    KV_OP_MOVE,       /* to another bucket: four records, all or nothing */
    KV_OP_DROP,       /* the bucket with all it holds */
    KV_OP_JOB_ADD,    /* young: only in memory until settled */
    KV_OP_JOB_DONE,
    KV_OP_FAIL_LATE,  /* emits, then refuses: must leave no trace */
    KV_OP_FAIL_EARLY, /* refuses before emitting */
    KV_OP_COUNT
};

struct kv_step {
    uint32_t client, n; /* n counts a client's operations from 1 */
    enum kv_what what;
    uint32_t bucket, key;
    uint32_t to_bucket, to_key;
    uint32_t length;    /* of new content */
    uint32_t job;       /* n of the job that is done */
};

enum kv_kind { KV_NONE, KV_INLINE, KV_BODY };

struct kv_mvalue {
    uint32_t kind;   /* enum kv_kind */
    uint32_t n;      /* the operation that made the content */
    uint32_t length;
};

struct kv_mbucket {
    uint32_t born;  /* n of its creation, 0: does not exist */
    uint32_t moves; /* head counter, changed by moves only */
    struct kv_mvalue values[KV_KEYS];
    uint32_t item_count;
    struct kv_mvalue items[KV_ITEMS];
};

struct kv_client {
    uint32_t client;
    uint32_t answered; /* n of the last answered operation */
    uint32_t sent;     /* answered, or answered + 1 while one is in flight */
    uint32_t seen;     /* n of the last operation that a reader saw done */
    struct kv_mbucket buckets[KV_BUCKETS];
    uint32_t job_count;
    struct kv_mvalue jobs[KV_JOBS];
};

/* How large contents get; the rest follows from the seed. */
struct kv_plan {
    uint64_t seed;
    uint32_t value_max; /* of inline values */
    uint32_t body_max;
    bool freeing;       /* only operations that free space */
};

void kv_client_init(struct kv_client *c, uint32_t number);
/* The operation that follows: a pure function of plan, client and n. */
void kv_client_next(const struct kv_client *c, const struct kv_plan *plan, struct kv_step *step);
/* What the journal should answer to it if no disk fails: ERR_NONE, or the kind of refusal. */
enum err_kind kv_client_expect(const struct kv_client *c, const struct kv_step *step);
/* It was answered with success: change the model. */
void kv_client_apply(struct kv_client *c, const struct kv_step *step);
/* How many values, items and jobs refer to the body made by operation n. */
uint32_t kv_client_refs(const struct kv_client *c, uint32_t n);

/* The content made by operation n, appended. */
void kv_fill(struct buf *out, uint64_t seed, uint32_t client, uint32_t n, uint32_t length);

/* --- the whole ---------------------------------------------------------------------------------------------------- */

struct kv_model {
    struct kv_plan plan;
    uint32_t client_count;
    struct kv_client clients[KV_CLIENTS_MAX];
};
void kv_model_init(struct kv_model *m, const struct kv_plan *plan, uint32_t clients);
/* One line of the log; false when it makes no sense (text says why). */
bool kv_model_line(struct kv_model *m, const char *line, char why[160]);
/* All lines of a file, an incomplete last one left out. */
bool kv_model_lines(struct kv_model *m, const char *path, char why[160]);
/* Whole models as a file, so that rounds of a soak need not replay their past. */
int kv_model_save(const struct kv_model *m, const char *path);
int kv_model_load(struct kv_model *m, const char *path);

#endif
