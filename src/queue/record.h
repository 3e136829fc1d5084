/* record.h - the records of the queue as octets, and back. Pure; also for `why` and dumps, which read the journal.
 *
 * Format 1. Numbers little-endian, `str` = varint length and octets, `v` = varint; times are wall clock ms.
 *   entry    u8 1, u8 state, u8 priority, u8 ret + 16 * body, u32 flags, u32 attempts, u32 notices, u32 waiting
 *            recipients, u32 recipients, u64 dest, u64 message, u64 created, u64 due, u64 attempted, u64 notice,
 *            view (28), str channel, host, sender, envid, auth, message id, source, session, source host, user,
 *            reason; then each recipient: u8 state + bits, str address, [str original], [str orcpt], v notify,
 *            [str status, str diag]; bit 16: original, 32: orcpt, 64: status and diag, 128: those of the one before
 *   change   u8 1, u8 what, u8 state, u8 bits (1: an attempt, 2: destination), u32 flags, u32 attempts, u32 notices,
 *            u64 due, u64 attempted, u64 notice, str by, str reason, [u64 dest, str channel, str host],
 *            v outcomes, each: v recipient, u8 state + 128 if status and diag are those of the one before, else
 *            str status, str diag
 *   channel  u8 1, u8 bits (1: stopped), str name, v 8 totals
 * Limits:   whatever the octets say, decoding takes memory in proportion to their number.
 */
#ifndef QUEUE_RECORD_H
#define QUEUE_RECORD_H

#include "queue/queue.h"

enum queue_record {
    QR_ENQUEUE = 0x0100,     /* young; a new object: entry */
    QR_ENTRY_IMAGE = 0x0101, /* IMAGE: entry */
    QR_CHANGE = 0x0102,      /* young; the entry goes on: change */
    QR_DONE = 0x0103,        /* young, END; the last recipient ended: change */
    QR_CHANNEL = 0x0108,     /* one object a channel, final values: channel */
};

void queue_entry_encode(struct buf *out, const struct queue_entry *e); /* all but the id */
/* Slices point into octets; recipients lie in mem. id is left alone. */
bool queue_entry_decode(slice octets, struct arena *mem, struct queue_entry *out);

/* What the tables need, read without memory. Checks all of it. */
struct queue_head {
    enum queue_state state;
    enum queue_priority priority;
    uint64_t dest;
    int64_t created_ms, due_ms, notice_ms;
    struct body_view view;
    uint32_t waiting;
    slice channel, host;
};
bool queue_head_decode(slice octets, struct queue_head *out);

struct queue_change { /* what QR_CHANGE and QR_DONE say: final values */
    enum queue_what what;
    enum queue_state state;
    bool is_attempt;
    uint32_t flags, attempts, notices;
    int64_t due_ms, attempted_ms, notice_ms;
    slice by, reason;
    uint64_t dest; /* 0: the destination stays */
    slice channel, host;
    const struct queue_outcome *outcomes;
    unsigned outcome_count;
};
void queue_change_encode(struct buf *out, const struct queue_change *c);
bool queue_change_decode(slice octets, struct arena *mem, struct queue_change *out);
/* The entry as it is afterwards. Outcomes of recipients that it does not have are left out. */
void queue_change_apply(const struct queue_change *c, struct queue_entry *e);

enum queue_total { /* in the order of enum queue_rcpt_state, with "created" in the place of "waiting" */
                   TOTAL_CREATED,
                   QUEUE_TOTALS = RCPT_STATES };
struct queue_channel {
    slice name;
    bool is_stopped;
    uint64_t totals[QUEUE_TOTALS];
};
void queue_channel_encode(struct buf *out, const struct queue_channel *c);
bool queue_channel_decode(slice octets, struct queue_channel *out);

/* One line for people. */
void queue_record_dump(const struct record *r, struct buf *out);

#endif
