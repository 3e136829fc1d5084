/* trace.h - the record that says how a message came in and what was decided: for `why`, also weeks later. Pure.
 *
 * Record type 0x0601, one for every message that was taken, in the batch that takes it; an object of its own that ends
 * with itself (RECORD_END), so that it stays in the segments and then in the history, and in no table. Its sequence is
 * in the batch of the message's rows and entries. Format 1; numbers little-endian, `str` = varint length and octets,
 * `v` = varint:
 *   u8 1, u8 source, u8 bits, u8 priority, v octets, v body, v parent entry, str id, address, name, helo, TLS version,
 *   TLS cipher, user, mechanism, channel, sender, message id, envid, v recipients, each:
 *     u8 bits (1: an alias, 2: accepted), v notify, str address, orcpt, status, v targets, each:
 *       u8 fate, str address, then
 *         mailbox: v account, v uidvalidity, v uid      queued: v entry, str channel, host      refused: str status
 * Keys:     id, sender, addresses of recipients and targets, message id without its angle brackets.
 * Limits:   whatever the octets say, decoding takes memory in proportion to their number.
 */
#ifndef INTAKE_TRACE_H
#define INTAKE_TRACE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"
#include "journal/types.h"

#define TRACE_RECORD 0x0601

enum trace_bits { TRACE_ESMTP = 1, TRACE_TLS = 2, TRACE_NULL_SENDER = 4, TRACE_SMTPUTF8 = 8, TRACE_HELD = 16 };
enum trace_rcpt_bits { TRACE_ALIAS = 1, TRACE_ACCEPTED = 2 };
enum trace_fate { TRACE_REFUSED, TRACE_MAILBOX, TRACE_QUEUED };

struct trace_target {
    uint8_t fate; /* enum trace_fate */
    slice address;
    uint64_t account, entry;
    uint32_t uidvalidity, uid;
    slice channel, host;
    slice status; /* "5.2.2 Mailbox full" */
};
struct trace_rcpt {
    uint8_t bits; /* enum trace_rcpt_bits */
    uint32_t notify;
    slice address; /* as it was accepted */
    slice orcpt;
    slice status; /* "2.1.5 Recipient OK", or why it was refused at the end */
    struct trace_target *targets;
    unsigned target_count;
};
struct trace {
    uint8_t source; /* enum intake_source */
    uint8_t bits;   /* enum trace_bits */
    uint8_t priority;
    uint64_t bytes, body; /* as the client sent it; id of the body */
    uint64_t parent; /* the queue entry that it came from, or 0 */
    slice id; /* of the reception */
    slice address, name; /* of the client: "192.0.2.1", name by DNS if it is known */
    slice helo, tls_version, tls_cipher;
    slice user, mechanism;
    slice channel; /* by which it came in */
    slice sender, message_id, envid;
    struct trace_rcpt *rcpts;
    unsigned rcpt_count;
};

void trace_encode(struct buf *out, const struct trace *t);
/* Slices point into octets; lists lie in mem. */
bool trace_decode(slice octets, struct arena *mem, struct trace *out);

/* Rows of the record type. */
void trace_dump(const struct record *r, struct buf *out); /* one line for people */
void trace_keys(const struct record *r, journal_key_fn *key, void *arg);

#endif
