/* segment_build.h - journal records and segments in memory, made octet by octet for tests. */
#ifndef T_SEGMENT_BUILD_H
#define T_SEGMENT_BUILD_H

#include "base/buf.h"
#include "journal/format.h"

/* Append the whole record: header (length and payload_crc are filled in), payload, CRC table, padding. Returns its
 * offset in `out`. */
size_t build_record(struct buf *out, uint32_t salt, struct record_header h, slice payload);
/* The same with what does not matter chosen: type 0x7f01, object 7, durable_seq seq - 1, payload of `length` octets
 * that depend on seq. */
size_t build_simple(struct buf *out, uint32_t salt, uint64_t seq, unsigned flags, uint32_t length);
/* The octets of build_simple's payload. */
void build_payload(struct buf *out, uint64_t seq, uint32_t length);
/* Header page of a log segment into an empty `out`. */
void build_page(struct buf *out, uint32_t salt, uint64_t number, uint64_t first_seq);

#endif
