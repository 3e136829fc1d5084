/* What decodes is encoded to the same octets (padding apart), and its chunks agree with its table. The first octet says
 * which checksums are put right before, so that more than the checksum is tried. */
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "journal/format.h"
#include "segment_build.h"

#define SALT 0x01020304u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void record_mend(struct buf *b, bool payload)
{
    uint64_t length, table_at;
    struct buf table = BUF_INIT;

    if (b->len < RECORD_HEADER_BYTES)
        return;
    length = get_le32(b->ptr + 8);
    table_at = RECORD_HEADER_BYTES + length;
    if (payload && length <= RECORD_MAX_BYTES && table_at + record_table_bytes((uint32_t)length) <= b->len) {
        put_le32(b->ptr + 48, record_payload_crc(SALT, slice_of(b->ptr + RECORD_HEADER_BYTES, length), &table));
        if (table.len > 0)
            memcpy(b->ptr + table_at, table.ptr, table.len);
    }
    put_le32(b->ptr + 52, crc32c(format_seed(SALT), b->ptr, 52));
    buf_free(&table);
}

static void check_chunks(slice in, slice payload, uint32_t length)
{
    slice table = slice_sub(in, RECORD_HEADER_BYTES + length, record_table_bytes(length));

    for (uint32_t n = 0; n < table.len / 4; n++)
        ASSERT(record_chunk_ok(SALT, slice_sub(payload, (size_t)n * RECORD_CHUNK_BYTES, RECORD_CHUNK_BYTES), table, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf in = BUF_INIT, out = BUF_INIT;
    struct record_header h, first;
    enum record_verdict verdict;
    slice payload;

    if (size == 0)
        return 0;
    buf_put(&in, data + 1, size - 1);
    if ((data[0] & 16) && in.len >= RECORD_HEADER_BYTES) { /* long payloads out of short inputs */
        memset(buf_extend(&in, 140000), data[0], 140000);
        in.ptr[10] = data[0] & 3;
        in.ptr[11] = 0;
    }
    if (data[0] & 4)
        record_mend(&in, (data[0] & 8) != 0);
    verdict = record_decode(buf_slice(&in), SALT, &h, &payload);
    if (verdict == RECORD_OK || verdict == RECORD_BAD_PAYLOAD)
        ASSERT(h.length <= RECORD_MAX_BYTES && record_disk_bytes(h.length) <= in.len);
    if (verdict == RECORD_CUT && in.len >= RECORD_HEADER_BYTES) {
        ASSERT(record_header_decode(buf_slice(&in), SALT, &first) == RECORD_OK);
        ASSERT(record_disk_bytes(first.length) > in.len);
    }
    if (verdict == RECORD_OK) {
        uint64_t used = RECORD_HEADER_BYTES + (uint64_t)h.length + record_table_bytes(h.length);

        ASSERT(payload.ptr == in.ptr + RECORD_HEADER_BYTES && payload.len == h.length);
        build_record(&out, SALT, h, payload);
        ASSERT(out.len == record_disk_bytes(h.length) && out.len % RECORD_ALIGN == 0);
        ASSERT(memcmp(out.ptr, in.ptr, used) == 0);
        check_chunks(buf_slice(&in), payload, h.length);
        /* no shorter input holds the record */
        ASSERT(record_decode(slice_of(in.ptr, out.len - 1), SALT, &first, &payload) == RECORD_CUT);
    }
    buf_free(&in);
    buf_free(&out);
    return 0;
}
