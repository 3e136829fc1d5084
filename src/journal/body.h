/* body.h - message octets: written once, referred to by many, read from where they lie.
 *
 * Model:    a body is one contiguous range, known by its id. Up to journal.inline_bytes it is buffered in memory and
 *           goes into the log with its batch;
 *           a larger one, or any when memory is short, is spooled into a body segment of its own and synced before
 *           the batch that
 *           adopts it. What refers to a body is a *view*: a replacement header block (a small body of its own) or
 *           none, the
 *           body, and the offset at which the body proper begins. Header edits replace the block; the rest stays
 *           shared.
 *           A body lives as long as its reference count, kept by apply functions, is above zero.
 * Threads:  a writer belongs to one thread at a time. Pins may be used and released on any thread.
 */
#ifndef JOURNAL_BODY_H
#define JOURNAL_BODY_H

#include "base/bytes.h"
#include "base/buf.h"
#include "base/err.h"
#include "journal/index.h"
#include "journal/segment.h"
#include "journal/types.h"

struct journal;
struct body_writer;

OWNED struct body_writer *body_writer_new(struct journal *j);
/* After the operation was answered, or without one. The file of a spooled body that no batch adopted goes, too. */
void body_writer_destroy(struct body_writer **w);
/* ERR_FULL: no room; ERR_LIMIT: over RECORD_MAX_BYTES. After a failure only destroy is legal. */
int body_writer_write(struct body_writer *w, slice octets, struct err *err);
uint64_t body_writer_bytes(const struct body_writer *w);
bool body_writer_is_spooled(const struct body_writer *w);
/* The octets so far if they are in memory; for header work before the batch. Empty if spooled. */
slice body_writer_octets(const struct body_writer *w);
/* No more octets will come. A spooled body is completed and synced: blocks, so call it on a helper when is_spooled.
 * */
int body_writer_finish(struct body_writer *w, struct err *err);

/* In an operation: make the body part of the batch; returns its id. The writer stays the operation's, and must live
 * until it is answered. */
uint64_t journal_emit_body(struct journal_tx *tx, struct body_writer *w);
/* The same for octets in memory (header blocks). They must live until the operation is answered. */
uint64_t journal_emit_octets(struct journal_tx *tx, slice octets);

/* From apply functions: count references. delta +1 or -1. An unknown id gets an entry whose octets are missing. Counted
 * when a record is first applied, also of objects that stay in memory for now (so not when journal_tx_is_young): a body
 * without references may be deleted at any time. */
void journal_body_ref(struct journal_tx *tx, uint64_t body_id, int delta);

struct body_info {
    uint64_t segment; /* 0: octets missing (damage) */
    uint64_t offset; /* of the payload in the file */
    uint32_t length;
    uint32_t refs;
};
bool journal_body_info(struct journal_view *v, uint64_t body_id, struct body_info *out);

struct body_pin {
    struct segment_pin pin;
    uint64_t offset;
    uint64_t length;
};
/* Look it up and hold the file open. ERR_NOTFOUND: no such body; ERR_DAMAGE: its octets are missing. The transaction
 * may end afterwards. */
int journal_body_pin(struct journal *j, struct journal_view *v, uint64_t body_id, struct body_pin *pin,
                     struct err *err);
void journal_body_unpin(struct body_pin *pin);
/* pread; short only on error. */
int journal_body_read(const struct body_pin *pin, uint64_t at, void *out, size_t len, struct err *err);
/* The same if no disk need be waited for. False: it must, or something failed. */
bool journal_body_read_now(const struct body_pin *pin, uint64_t at, void *out, size_t len);
/* Bring octets into the system's memory, so that sending them from the file does not wait for the disk; at most 64 MiB
 * from `at` on. Blocks: for helpers. */
int journal_body_warm(const struct body_pin *pin, uint64_t at, uint64_t len, struct err *err);
/* The whole body, checksum verified. max_bytes: ERR_LIMIT beyond. */
int journal_body_load(struct journal *j, struct journal_view *v, uint64_t body_id, uint64_t max_bytes, struct buf *out,
                      struct err *err);

/* A message as its owner sees it. Plain value; 28 octets stored. */
struct body_view {
    uint64_t header_id; /* replacement header block, or 0 */
    uint64_t body_id;
    uint32_t body_at; /* where in the body the view begins: 0 without a replacement header */
    uint32_t header_bytes; /* of the replacement block, 0 if none */
    uint32_t body_bytes; /* octets of the body from body_at */
};
#define BODY_VIEW_BYTES 28
static inline uint64_t body_view_bytes(const struct body_view *v) /* RFC822.SIZE, quota, signatures */
{
    return (uint64_t)v->header_bytes + v->body_bytes;
}
void body_view_encode(struct buf *out, const struct body_view *v);
void body_view_decode(struct reader *r, struct body_view *v);

#endif
