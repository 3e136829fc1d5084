/* Two ways, chosen by the first octet: a footer made of records that the input describes gives them back; and octets,
 * with their checksums put right or not, either are refused or describe records within the segment, which make a
 * footer that says the same. */
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "journal/format.h"

#define SALT 0x0a0b0c0du
#define TAIL (FOOTER_HEAD_BYTES + FOOTER_TRAILER_BYTES)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_all(const struct footer *f, struct footer_writer *w)
{
    uint64_t end = SEGMENT_PAGE_BYTES, n = 0;
    struct footer_cursor c;
    struct footer_entry e;
    slice payload;

    footer_begin(&c, f);
    while (footer_next(&c, &e, &payload)) {
        n++;
        ASSERT(e.offset >= end && e.offset % RECORD_ALIGN == 0);
        end = e.offset + record_disk_bytes(e.header.length);
        ASSERT(end <= f->records_end && f->records_end <= f->head_at);
        ASSERT(payload.len == (e.header.flags & RECORD_BODY ? 0 : e.header.length));
        ASSERT(payload.len == 0 ||
               (payload.ptr >= f->payloads.ptr && payload.ptr + payload.len <= f->payloads.ptr + f->payloads.len));
        footer_writer_add(w, e.offset, &e.header, payload);
    }
    ASSERT(n == f->count);
}

static void check_octets(slice in, uint64_t head_at)
{
    struct buf out = BUF_INIT;
    struct footer f, again;
    struct footer_writer w;
    uint64_t found;

    if (footer_decode(in, head_at, SALT, &f, NULL) < 0)
        return;
    ASSERT(footer_locate(slice_from(in, in.len - FOOTER_TRAILER_BYTES), SALT, head_at + in.len, &found, NULL) == 0);
    ASSERT(found == head_at);
    footer_writer_init(&w, SALT);
    add_all(&f, &w);
    footer_writer_finish(&w, f.records_end, head_at, &out);
    ASSERT(footer_decode(buf_slice(&out), head_at, SALT, &again, NULL) == 0);
    ASSERT(again.count == f.count && slice_eq(again.entries, f.entries) && again.payloads.len == f.payloads.len);
    footer_writer_free(&w);
    buf_free(&out);
}

/* Magics and checksums, from the inside outwards. */
static void footer_mend(struct buf *b, uint64_t head_at)
{
    unsigned char *trailer = b->ptr + b->len - FOOTER_TRAILER_BYTES;
    uint32_t seed = format_seed(SALT);
    uint64_t body = b->len - TAIL, count = body / FOOTER_ENTRY_BYTES;

    if (b->ptr[8] < count)
        count = b->ptr[8];
    memcpy(b->ptr, "PHJFOOT1", 8);
    put_le64(b->ptr + 8, count);
    put_le64(b->ptr + 16, body - count * FOOTER_ENTRY_BYTES);
    put_le32(b->ptr + 28, crc32c(seed, b->ptr, 28));
    for (uint64_t i = 0; i < count; i++) {
        unsigned char *header = b->ptr + FOOTER_HEAD_BYTES + i * FOOTER_ENTRY_BYTES + 8;

        put_le32(header, RECORD_MAGIC);
        put_le32(header + 52, crc32c(seed, header, 52));
        put_le32(header, FOOTER_ENTRY_MAGIC);
    }
    memcpy(trailer, "PHJEND1\n", 8);
    put_le64(trailer + 8, head_at);
    put_le32(trailer + 40, crc32c(seed, b->ptr + FOOTER_HEAD_BYTES, body));
    put_le32(trailer + 44, crc32c(seed, trailer, 44));
}

/* Three octets a record: flags, length, gap before it in units of 8. */
static void check_script(slice script)
{
    uint64_t at = SEGMENT_PAGE_BYTES, seq = 0;
    struct footer_writer w, again;
    struct buf out = BUF_INIT;
    struct footer f;

    footer_writer_init(&w, SALT);
    footer_writer_init(&again, SALT);
    for (; script.len >= 3; script = slice_from(script, 3)) {
        struct record_header h = { .type = 1, .flags = script.ptr[0], .length = script.ptr[1], .seq = ++seq };

        at += (uint64_t)script.ptr[2] * 8;
        if (h.length > script.len)
            h.length = (uint32_t)script.len;
        footer_writer_add(&w, at, &h, slice_sub(script, 0, h.length));
        at += record_disk_bytes(h.length);
    }
    footer_writer_finish(&w, at, at + 8, &out);
    ASSERT(footer_decode(buf_slice(&out), at + 8, SALT, &f, NULL) == 0);
    ASSERT(f.count == seq && f.last_seq == seq && f.records_end == at);
    add_all(&f, &again);
    ASSERT(slice_eq(buf_slice(&w.entries), buf_slice(&again.entries)));
    ASSERT(slice_eq(buf_slice(&w.payloads), buf_slice(&again.payloads)));
    footer_writer_free(&w);
    footer_writer_free(&again);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t head_at = 8192;
    struct buf b = BUF_INIT;

    if (size == 0)
        return 0;
    if (data[0] & 1) {
        check_script(slice_of(data + 1, size - 1));
        return 0;
    }
    buf_put(&b, data + 1, size - 1);
    if ((data[0] & 2) && b.len >= TAIL)
        footer_mend(&b, head_at);
    check_octets(buf_slice(&b), head_at);
    buf_free(&b);
    return 0;
}
