/* format.h - format 1 of the journal: how segments, records and footers look, octet by octet. Pure.
 *
 * All numbers are little-endian. posthouse-journal(5) describes the same for people; both change together or not at
 * all.
 *
 *   segment = header page (4,096) | records | footer            the footer stands only in a sealed segment
 *   record  = header (56) | payload | CRC table (if payload > 64 KiB) | zeros to a multiple of 8
 *   footer  = footer head (32) | entries (64 each) | payloads of all records that are no bodies | trailer (48)
 *
 * Invariants (checked by the tests under these numbers):
 *   F1  every record starts at a multiple of 8 and lies wholly behind the header page.
 *   F2  both checksums of a record are seeded with the segment's salt: octets of an earlier life of the file never
 *       validate, nor do those of a footer taken for records.
 *   F3  sequence numbers rise by exactly 1 from record to record of a log segment; BODY copies in compaction segments
 *       keep their own.
 *   F4  durable_seq < seq, and it never falls from record to record.
 *   F5  the last record of an operation has no RECORD_MORE: an operation is replayed whole or not at all.
 *   F6  a record with seq >= first_seq of the next log segment is void (its batch was refused).
 *   F7  the header page holds the header twice (at 0 and 2,048); one valid copy suffices.
 *
 * Threads:  pure functions on (pointer, length).
 * Errors:   decoding answers an enum or -1 with err->kind ERR_DAMAGE (ERR_PERM for a newer format).
 */
#ifndef JOURNAL_FORMAT_H
#define JOURNAL_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define JOURNAL_FORMAT 1u
#define SEGMENT_MAGIC "PHJSEG1\n"
#define SEGMENT_HEADER_BYTES 128u      /* one copy */
#define SEGMENT_HEADER_COPY_AT 2048u
#define SEGMENT_PAGE_BYTES 4096u       /* the first record starts here */
#define RECORD_MAGIC 0x31724850u       /* "PHr1" */
#define RECORD_HEADER_BYTES 56u
#define RECORD_ALIGN 8u
#define RECORD_CHUNK_BYTES (64u * 1024) /* a payload longer than this has one CRC per chunk of this size */
#define RECORD_MAX_BYTES (2047u * 1024 * 1024)
#define FOOTER_HEAD_BYTES 32u
#define FOOTER_ENTRY_BYTES 64u
#define FOOTER_TRAILER_BYTES 48u
#define FOOTER_ENTRY_MAGIC 0x31654850u /* "PHe1" */
#define JOURNAL_ID_BYTES 16u

enum segment_kind {
    SEGMENT_LOG = 1,     /* written by the committer, in sequence */
    SEGMENT_BODY = 2,    /* one large body, spooled before the batch that adopts it */
    SEGMENT_COMPACT = 3, /* bodies copied out of emptied segments, under their own ids */
};

struct segment_header {
    uint32_t format;
    enum segment_kind kind;
    uint32_t salt;      /* random, differs from the file's former salt */
    uint32_t partition; /* root directory it belongs to; 0 = the journal's own */
    uint64_t epoch;
    uint64_t number;    /* of the segment; rises with creation, all kinds share the count */
    uint64_t first_seq; /* of a log segment; 0 in the other kinds */
    int64_t created_ms; /* wall time */
    unsigned char journal_id[JOURNAL_ID_BYTES];
};

enum record_flags {
    RECORD_MORE = 1,  /* the operation goes on in the next record */
    RECORD_IMAGE = 2, /* complete state of (object, part): every earlier record of that part is dead */
    RECORD_END = 4,   /* the object ceases: every earlier record of it is dead, and so is this one once they are gone */
    RECORD_BODY = 8,  /* the payload is message octets, not metadata: left out of footers */
};

struct record_header {
    uint16_t type;
    uint16_t flags;
    uint32_t length;      /* of the payload, 0 .. RECORD_MAX_BYTES */
    uint32_t part;        /* which part of the object; 0 = its head */
    uint64_t seq;
    uint64_t durable_seq; /* highest sequence known to be on disk when this was written */
    uint64_t object;      /* id of what the record is about: the seq of its first record */
    int64_t time_ms;      /* wall time */
    uint32_t payload_crc; /* of the payload, or of its CRC table when there is one */
};

/* CRC seed of a segment. */
uint32_t format_seed(uint32_t salt);

/* Octets a record takes on disk, header, table and padding included. */
uint64_t record_disk_bytes(uint32_t length);
/* Octets of the CRC table behind a payload of that length: 0 up to RECORD_CHUNK_BYTES. */
uint32_t record_table_bytes(uint32_t length);

/* The CRC for the header: of the payload, or of the table, which is appended to `table` if the payload is long. */
uint32_t record_payload_crc(uint32_t salt, slice payload, struct buf *table);

void record_header_encode(unsigned char out[RECORD_HEADER_BYTES], uint32_t salt, const struct record_header *h);

enum record_verdict {
    RECORD_OK,
    RECORD_NO_MAGIC,  /* no record starts here: end of the written part, or damage */
    RECORD_BAD_HEADER,
    RECORD_BAD_PAYLOAD,
    RECORD_CUT,       /* header valid, payload goes beyond the end of the octets given */
};

/* The record header at `in`. RECORD_OK or RECORD_NO_MAGIC / RECORD_BAD_HEADER / RECORD_CUT (fewer than 56 octets). */
enum record_verdict record_header_decode(slice in, uint32_t salt, struct record_header *h);

/* Header and payload. `in` starts at the record and reaches at least to its end, else RECORD_CUT.
 * *payload points into `in`. */
enum record_verdict record_decode(slice in, uint32_t salt, struct record_header *h, slice *payload);

/* One chunk of a long payload against its table entry: chunk `n` covers octets n * 64 KiB .. of the payload. */
bool record_chunk_ok(uint32_t salt, slice chunk, slice table, uint32_t n);

void segment_header_encode(unsigned char page[SEGMENT_PAGE_BYTES], const struct segment_header *h); /* both copies */
/* `in`: the first SEGMENT_PAGE_BYTES octets, or fewer of a cut file. ERR_PERM: format newer than this program;
 * ERR_DAMAGE: no valid copy. *used_copy (may be NULL): 0 or 1. */
int segment_header_decode(slice in, struct segment_header *h, int *used_copy, struct err *err);

/* --- footer --------------------------------------------------------------------------------------------------------
 * head    0 magic "PHJFOOT1"  8 entry count u64  16 payload octets u64, padding included  24 zero u32
 *         28 CRC of the 28 octets before
 * entry   0 offset of the record in the segment u64  8 the record's header, 56 octets, as in the segment but for the
 *         magic, which is FOOTER_ENTRY_MAGIC: a scan that runs into a footer must not take the header of a record
 *         without payload for a record
 * trailer 0 magic "PHJEND1\n"  8 offset of the head u64  16 highest seq u64 (0 if none)  24 newest time ms i64 (0 if
 *         none)  32 records end u64  40 CRC of entries and payloads  44 CRC of the 44 octets before
 * Payloads stand in the order of the entries, without CRC table, each padded to 8; entries with RECORD_BODY have none.
 * All CRCs are seeded with the salt. */

struct footer_entry {
    uint64_t offset;
    struct record_header header;
};

struct footer {
    uint64_t count;
    uint64_t head_at;     /* offset in the segment */
    uint64_t records_end; /* where the records end */
    uint64_t last_seq;
    int64_t newest_ms;
    slice entries;        /* raw */
    slice payloads;       /* raw */
    uint32_t salt;
};

/* Builds a footer incrementally: add every record in order, then finish. */
struct footer_writer {
    struct buf entries;
    struct buf payloads;
    uint64_t count, last_seq;
    int64_t newest_ms;
    uint32_t salt;
};
void footer_writer_init(struct footer_writer *w, uint32_t salt);
void footer_writer_free(struct footer_writer *w);
void footer_writer_add(struct footer_writer *w, uint64_t offset, const struct record_header *h, slice payload);
/* Appends the complete footer to `out`; head_at is a multiple of 8 and >= records_end. */
void footer_writer_finish(struct footer_writer *w, uint64_t records_end, uint64_t head_at, struct buf *out);

/* Where does the footer start? `tail`: the last FOOTER_TRAILER_BYTES octets of the file. -1: not sealed or damaged. */
int footer_locate(slice tail, uint32_t salt, uint64_t file_bytes, uint64_t *head_at, struct err *err);
/* The same, and everything else the trailer says: head_at, records_end, last_seq, newest_ms, salt. */
int footer_peek(slice tail, uint32_t salt, uint64_t file_bytes, struct footer *f, struct err *err);
/* `in`: the octets from head_at to the end of the file; it must live as long as f. Checks every octet, and that entries
 * lie in order, do not overlap, and end before records_end. */
int footer_decode(slice in, uint64_t head_at, uint32_t salt, struct footer *f, struct err *err);

struct footer_cursor {
    const struct footer *footer;
    uint64_t at, payload_at;
};
void footer_begin(struct footer_cursor *c, const struct footer *f);
/* False at the end. *payload is empty for bodies. The entry was validated by footer_decode. */
bool footer_next(struct footer_cursor *c, struct footer_entry *e, slice *payload);

/* --- scanning a segment without footer ------------------------------------------------------------------------------
 * Linear in the length of the segment, whatever it holds: the header checksum is tried before the payload's, each
 * candidate once, and candidates that fail may cost SCAN_BUDGET times the segment in all. Without the salt, a forged
 * header validates once in 2^32, so that only who reads the disk could spend that budget; then candidates are passed
 * over. */

#define SCAN_BUDGET 64u

enum scan_event {
    SCAN_RECORD,  /* a valid record */
    SCAN_HOLE,    /* octets [from, to) hold no valid record, but a valid one follows at `to` */
    SCAN_END,     /* no valid record from `from` on */
};

struct scan {
    slice segment; /* the whole file, or its written part */
    uint32_t salt;
    uint64_t at;
    uint64_t spent; /* payload octets checked in vain */
};
struct scan_item {
    enum scan_event event;
    uint64_t from, to;         /* offsets: the record with its padding, the hole, or what is left at the end */
    enum record_verdict cause; /* of a hole or the end: what was wrong at `from`; RECORD_NO_MAGIC if nothing is left */
    struct record_header header;
    slice payload;
};
void scan_begin(struct scan *s, slice segment, uint32_t salt); /* starts at SEGMENT_PAGE_BYTES */
enum scan_event scan_next(struct scan *s, struct scan_item *item); /* SCAN_END from then on */

/* What ends a log segment. Torn: cut there, nothing answered is lost. Damage: a record that was known to be durable is
 * missing. `seq` is the first missing one; later_durable the highest durable_seq of any valid record behind;
 * trusted_seq the position of a trusted index, or 0. */
static inline bool scan_is_damage(uint64_t seq, uint64_t later_durable, uint64_t trusted_seq)
{
    return later_durable >= seq || trusted_seq >= seq;
}

#endif
