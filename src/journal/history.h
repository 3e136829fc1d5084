/* history.h - what deleted segments said: their footers, compressed, each with a Bloom filter over its search keys.
 *
 * A file history/<segment number>.hist, all numbers little-endian:
 *    0 magic "PHJHIST1"   8 segment u64   16 first seq u64   24 last seq u64   32 newest time ms i64
 *   40 salt u32           44 octets of the filter u32 (a power of two)         48 octets compressed u64
 *   56 octets of the footer u64           64 where the footer stood in the segment u64
 *   72 when this file was made i64        80 CRC-32C of filter and compressed footer u32
 *   84 CRC-32C of the 84 octets before u32                 88 filter, then the footer compressed by zstd
 * The filter holds what the rows' keys callbacks name, and every object id as 8 octets, big-endian.
 * Threads:  helpers and tools; nothing here runs on the committer.
 */
#ifndef JOURNAL_HISTORY_H
#define JOURNAL_HISTORY_H

#include "base/buf.h"
#include "base/err.h"
#include "journal/format.h"

struct journal;

#define HISTORY_HEADER_BYTES 88u

struct history_head {
    uint64_t segment, first_seq, last_seq;
    int64_t newest_ms, made_ms;
    uint32_t salt, filter_bytes;
    uint64_t packed_bytes, footer_bytes, head_at;
    uint32_t payload_crc;
};

/* Pure. `in`: at least HISTORY_HEADER_BYTES octets. */
int history_head_decode(slice in, struct history_head *h, struct err *err);

/* May the file hold the key? False positives about 1 in 100. Keys compare without ASCII case. */
bool history_filter_has(slice filter, slice key);
void history_filter_add(unsigned char *filter, size_t bytes, slice key);

/* The file of a deleted segment. filter (may be NULL): its Bloom filter. ERR_NOTFOUND, ERR_DAMAGE. */
int history_head(struct journal *j, uint64_t number, struct history_head *h, struct buf *filter, struct err *err);
/* Its footer, too, in *mem. */
int history_read(struct journal *j, uint64_t number, struct footer *footer, struct buf *mem, struct err *err);

struct history_file {
    uint64_t number; /* of the segment */
    uint64_t bytes;
};
/* All, by number. OWNED array. */
int history_list(struct journal *j, struct history_file **out, unsigned *count, struct err *err);

#endif
