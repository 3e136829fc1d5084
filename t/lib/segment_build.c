#include "segment_build.h"

#include <string.h>

size_t build_record(struct buf *out, uint32_t salt, struct record_header h, slice payload)
{
    static const unsigned char zeros[RECORD_ALIGN];
    struct buf table = BUF_INIT;
    size_t at = out->len;

    h.length = (uint32_t)payload.len;
    h.payload_crc = record_payload_crc(salt, payload, &table);
    record_header_encode(buf_extend(out, RECORD_HEADER_BYTES), salt, &h);
    buf_put_slice(out, payload);
    buf_put_slice(out, buf_slice(&table));
    buf_put(out, zeros, (size_t)record_disk_bytes(h.length) - (out->len - at));
    buf_free(&table);
    return at;
}

void build_payload(struct buf *out, uint64_t seq, uint32_t length)
{
    unsigned char *p = buf_extend(out, length);

    for (uint32_t i = 0; i < length; i++)
        p[i] = (unsigned char)(seq * 31 + i * 7 + (i >> 8) + (i >> 16) * 3);
}

size_t build_simple(struct buf *out, uint32_t salt, uint64_t seq, unsigned flags, uint32_t length)
{
    struct record_header h = {
        .type = 0x7f01,
        .flags = (uint16_t)flags,
        .seq = seq,
        .durable_seq = seq - 1,
        .object = 7,
        .time_ms = 1700000000000 + (int64_t)seq,
    };
    struct buf payload = BUF_INIT;
    size_t at;

    build_payload(&payload, seq, length);
    at = build_record(out, salt, h, buf_slice(&payload));
    buf_free(&payload);
    return at;
}

void build_page(struct buf *out, uint32_t salt, uint64_t number, uint64_t first_seq)
{
    struct segment_header h = {
        .format = JOURNAL_FORMAT,
        .kind = SEGMENT_LOG,
        .salt = salt,
        .number = number,
        .first_seq = first_seq,
        .created_ms = 1700000000000,
    };

    segment_header_encode(buf_extend(out, SEGMENT_PAGE_BYTES), &h);
}
