#include "journal/format.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"

/* Offsets in a record header. */
enum {
    AT_MAGIC = 0,
    AT_TYPE = 4,
    AT_FLAGS = 6,
    AT_LENGTH = 8,
    AT_PART = 12,
    AT_SEQ = 16,
    AT_DURABLE_SEQ = 24,
    AT_OBJECT = 32,
    AT_TIME_MS = 40,
    AT_PAYLOAD_CRC = 48,
    AT_HEADER_CRC = 52,
};

/* Offsets in a segment header; everything between them and SEGMENT_AT_CRC is zero. */
enum {
    SEGMENT_AT_FORMAT = 8,
    SEGMENT_AT_KIND = 12,
    SEGMENT_AT_SALT = 16,
    SEGMENT_AT_PARTITION = 20,
    SEGMENT_AT_EPOCH = 24,
    SEGMENT_AT_NUMBER = 32,
    SEGMENT_AT_FIRST_SEQ = 40,
    SEGMENT_AT_CREATED_MS = 48,
    SEGMENT_AT_JOURNAL_ID = 56,
    SEGMENT_AT_CRC = 124,
};

#define CRC_BYTES 4u

uint32_t format_seed(uint32_t salt)
{
    unsigned char octets[4];

    put_le32(octets, salt);
    return crc32c(0, octets, sizeof(octets));
}

/* --- records ------------------------------------------------------------------------------------------------------ */

uint32_t record_table_bytes(uint32_t length)
{
    if (length <= RECORD_CHUNK_BYTES)
        return 0;
    return (length / RECORD_CHUNK_BYTES + (length % RECORD_CHUNK_BYTES != 0)) * CRC_BYTES;
}

uint64_t record_disk_bytes(uint32_t length)
{
    uint64_t bytes = RECORD_HEADER_BYTES + (uint64_t)length + record_table_bytes(length);

    return (bytes + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

uint32_t record_payload_crc(uint32_t salt, slice payload, struct buf *table)
{
    uint32_t seed = format_seed(salt);
    size_t table_at;

    if (payload.len <= RECORD_CHUNK_BYTES)
        return crc32c(seed, payload.ptr, payload.len);
    table_at = table->len;
    for (slice rest = payload; rest.len > 0; rest = slice_from(rest, RECORD_CHUNK_BYTES)) {
        slice chunk = slice_sub(rest, 0, RECORD_CHUNK_BYTES);

        buf_put_le32(table, crc32c(seed, chunk.ptr, chunk.len));
    }
    return crc32c(seed, table->ptr + table_at, table->len - table_at);
}

void record_header_encode(unsigned char out[RECORD_HEADER_BYTES], uint32_t salt, const struct record_header *h)
{
    put_le32(out + AT_MAGIC, RECORD_MAGIC);
    put_le16(out + AT_TYPE, h->type);
    put_le16(out + AT_FLAGS, h->flags);
    put_le32(out + AT_LENGTH, h->length);
    put_le32(out + AT_PART, h->part);
    put_le64(out + AT_SEQ, h->seq);
    put_le64(out + AT_DURABLE_SEQ, h->durable_seq);
    put_le64(out + AT_OBJECT, h->object);
    put_le64(out + AT_TIME_MS, (uint64_t)h->time_ms);
    put_le32(out + AT_PAYLOAD_CRC, h->payload_crc);
    put_le32(out + AT_HEADER_CRC, crc32c(format_seed(salt), out, AT_HEADER_CRC));
}

enum record_verdict record_header_decode(slice in, uint32_t salt, struct record_header *h)
{
    const unsigned char *p = in.ptr;

    if (in.len < RECORD_HEADER_BYTES)
        return RECORD_CUT;
    if (get_le32(p + AT_MAGIC) != RECORD_MAGIC)
        return RECORD_NO_MAGIC;
    if (get_le32(p + AT_HEADER_CRC) != crc32c(format_seed(salt), p, AT_HEADER_CRC))
        return RECORD_BAD_HEADER;
    h->type = get_le16(p + AT_TYPE);
    h->flags = get_le16(p + AT_FLAGS);
    h->length = get_le32(p + AT_LENGTH);
    h->part = get_le32(p + AT_PART);
    h->seq = get_le64(p + AT_SEQ);
    h->durable_seq = get_le64(p + AT_DURABLE_SEQ);
    h->object = get_le64(p + AT_OBJECT);
    h->time_ms = (int64_t)get_le64(p + AT_TIME_MS);
    h->payload_crc = get_le32(p + AT_PAYLOAD_CRC);
    return h->length <= RECORD_MAX_BYTES ? RECORD_OK : RECORD_BAD_HEADER;
}

bool record_chunk_ok(uint32_t salt, slice chunk, slice table, uint32_t n)
{
    size_t at = (size_t)n * CRC_BYTES;

    if (table.len < CRC_BYTES || at > table.len - CRC_BYTES)
        return false;
    return crc32c(format_seed(salt), chunk.ptr, chunk.len) == get_le32(table.ptr + at);
}

/* The table is checked first: it is short, and covers nothing unless it is sound itself. */
static bool payload_ok(slice payload, slice table, uint32_t salt, uint32_t crc)
{
    slice covered = table.len > 0 ? table : payload;
    uint32_t n = 0;

    if (crc32c(format_seed(salt), covered.ptr, covered.len) != crc)
        return false;
    if (table.len == 0)
        return true;
    for (slice rest = payload; rest.len > 0; rest = slice_from(rest, RECORD_CHUNK_BYTES)) {
        if (!record_chunk_ok(salt, slice_sub(rest, 0, RECORD_CHUNK_BYTES), table, n++))
            return false;
    }
    return true;
}

enum record_verdict record_decode(slice in, uint32_t salt, struct record_header *h, slice *payload)
{
    enum record_verdict verdict = record_header_decode(in, salt, h);
    slice table;

    if (verdict != RECORD_OK)
        return verdict;
    if (record_disk_bytes(h->length) > in.len)
        return RECORD_CUT;
    *payload = slice_sub(in, RECORD_HEADER_BYTES, h->length);
    table = slice_sub(in, (size_t)RECORD_HEADER_BYTES + h->length, record_table_bytes(h->length));
    return payload_ok(*payload, table, salt, h->payload_crc) ? RECORD_OK : RECORD_BAD_PAYLOAD;
}

/* --- segment header ----------------------------------------------------------------------------------------------- */

void segment_header_encode(unsigned char page[SEGMENT_PAGE_BYTES], const struct segment_header *h)
{
    memset(page, 0, SEGMENT_PAGE_BYTES);
    memcpy(page, SEGMENT_MAGIC, sizeof(SEGMENT_MAGIC) - 1);
    put_le32(page + SEGMENT_AT_FORMAT, h->format);
    put_le32(page + SEGMENT_AT_KIND, (uint32_t)h->kind);
    put_le32(page + SEGMENT_AT_SALT, h->salt);
    put_le32(page + SEGMENT_AT_PARTITION, h->partition);
    put_le64(page + SEGMENT_AT_EPOCH, h->epoch);
    put_le64(page + SEGMENT_AT_NUMBER, h->number);
    put_le64(page + SEGMENT_AT_FIRST_SEQ, h->first_seq);
    put_le64(page + SEGMENT_AT_CREATED_MS, (uint64_t)h->created_ms);
    memcpy(page + SEGMENT_AT_JOURNAL_ID, h->journal_id, JOURNAL_ID_BYTES);
    put_le32(page + SEGMENT_AT_CRC, crc32c(0, page, SEGMENT_AT_CRC));
    memcpy(page + SEGMENT_HEADER_COPY_AT, page, SEGMENT_HEADER_BYTES);
}

/* Is there a whole header with the right checksum at that offset? Its position and the checksum's are the same in every
 * format, so that a newer format is recognised as such. */
static bool header_copy_ok(slice in, size_t at)
{
    const unsigned char *p;

    if (in.len < at + SEGMENT_HEADER_BYTES)
        return false;
    p = in.ptr + at;
    return memcmp(p, SEGMENT_MAGIC, sizeof(SEGMENT_MAGIC) - 1) == 0 &&
           get_le32(p + SEGMENT_AT_CRC) == crc32c(0, p, SEGMENT_AT_CRC);
}

int segment_header_decode(slice in, struct segment_header *h, int *used_copy, struct err *err)
{
    const unsigned char *p;
    uint32_t kind;
    int copy;

    if (header_copy_ok(in, 0))
        copy = 0;
    else if (header_copy_ok(in, SEGMENT_HEADER_COPY_AT))
        copy = 1;
    else
        return err_set(err, ERR_DAMAGE, "neither copy of the segment header is valid");
    p = in.ptr + (copy == 0 ? 0 : SEGMENT_HEADER_COPY_AT);
    h->format = get_le32(p + SEGMENT_AT_FORMAT);
    if (h->format > JOURNAL_FORMAT)
        return err_set(err, ERR_PERM, "the segment has format %u, but this program knows formats up to %u only; "
                       "use the newer Posthouse that wrote it", h->format, JOURNAL_FORMAT);
    kind = get_le32(p + SEGMENT_AT_KIND);
    if (h->format == 0 || kind < SEGMENT_LOG || kind > SEGMENT_COMPACT)
        return err_set(err, ERR_DAMAGE, "segment header with impossible values: format %u, kind %u", h->format, kind);
    h->kind = (enum segment_kind)kind;
    h->salt = get_le32(p + SEGMENT_AT_SALT);
    h->partition = get_le32(p + SEGMENT_AT_PARTITION);
    h->epoch = get_le64(p + SEGMENT_AT_EPOCH);
    h->number = get_le64(p + SEGMENT_AT_NUMBER);
    h->first_seq = get_le64(p + SEGMENT_AT_FIRST_SEQ);
    h->created_ms = (int64_t)get_le64(p + SEGMENT_AT_CREATED_MS);
    memcpy(h->journal_id, p + SEGMENT_AT_JOURNAL_ID, JOURNAL_ID_BYTES);
    if (used_copy != NULL)
        *used_copy = copy;
    return 0;
}
