#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "journal/format.h"
#include "segment_build.h"

#define SALT 0x89abcdefu

static const struct segment_header segment = {
    .format = 1,
    .kind = SEGMENT_COMPACT,
    .salt = SALT,
    .partition = 3,
    .epoch = 0x0102030405060708,
    .number = 0x1112131415161718,
    .first_seq = 0x2122232425262728,
    .created_ms = 0x3132333435363738,
    .journal_id = { 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x50 },
};

static const struct record_header record = {
    .type = 0x0102,
    .flags = RECORD_MORE | RECORD_BODY,
    .length = 5,
    .part = 0x11121314,
    .seq = 0x2122232425262728,
    .durable_seq = 0x2122232425262727,
    .object = 0x4142434445464748,
    .time_ms = -2,
    .payload_crc = 0x51525354,
};

static void assert_same_record(const struct record_header *a, const struct record_header *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->length, b->length);
    assert_int_equal(a->part, b->part);
    assert_true(a->seq == b->seq && a->durable_seq == b->durable_seq && a->object == b->object);
    assert_true(a->time_ms == b->time_ms);
    assert_int_equal(a->payload_crc, b->payload_crc);
}

/* --- segment header ----------------------------------------------------------------------------------------------- */

/* The octets are written out: format 1 is frozen, whatever becomes of the code. */
static void segment_header__is_frozen(void **state)
{
    static const unsigned char expected[72] = {
        'P', 'H', 'J', 'S', 'E', 'G', '1', '\n',
        1, 0, 0, 0, 3, 0, 0, 0, 0xef, 0xcd, 0xab, 0x89, 3, 0, 0, 0,
        8, 7, 6, 5, 4, 3, 2, 1,
        0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
        0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31,
        0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x50,
    };
    static const unsigned char zeros[SEGMENT_PAGE_BYTES];
    unsigned char page[SEGMENT_PAGE_BYTES];

    (void)state;
    memset(page, 0xff, sizeof(page));
    segment_header_encode(page, &segment);
    assert_memory_equal(page, expected, sizeof(expected));
    assert_memory_equal(page + sizeof(expected), zeros, 124 - sizeof(expected));
    assert_int_equal(get_le32(page + 124), 0xa645b31cu);
    assert_int_equal(get_le32(page + 124), crc32c_portable(0, page, 124));
    assert_memory_equal(page + 128, zeros, 2048 - 128);
    assert_memory_equal(page + 2048, page, 128);
    assert_memory_equal(page + 2048 + 128, zeros, 2048 - 128);
}

static void assert_segment(slice in, int copy)
{
    struct segment_header h;
    struct err err = ERR_INIT;
    int used = -1;

    assert_int_equal(segment_header_decode(in, &h, &used, &err), 0);
    assert_int_equal(used, copy);
    assert_int_equal(h.format, 1);
    assert_int_equal(h.kind, segment.kind);
    assert_int_equal(h.salt, segment.salt);
    assert_int_equal(h.partition, segment.partition);
    assert_true(h.epoch == segment.epoch && h.number == segment.number && h.first_seq == segment.first_seq);
    assert_true(h.created_ms == segment.created_ms);
    assert_memory_equal(h.journal_id, segment.journal_id, JOURNAL_ID_BYTES);
}

static void segment_header__one_copy_suffices(void **state) /* F7 */
{
    unsigned char page[SEGMENT_PAGE_BYTES];
    struct segment_header h;
    struct err err;

    (void)state;
    segment_header_encode(page, &segment);
    assert_segment(slice_of(page, sizeof(page)), 0);
    assert_segment(slice_of(page, 128), 0);
    for (size_t i = 0; i < SEGMENT_PAGE_BYTES; i++) {
        bool in_first = i < 128, in_second = i >= 2048 && i < 2048 + 128;

        page[i] ^= 0x10;
        assert_segment(slice_of(page, sizeof(page)), in_first ? 1 : 0);
        if (in_second) { /* now the same octet of both */
            page[i - 2048] ^= 0x10;
            err = ERR_INIT;
            assert_int_equal(segment_header_decode(slice_of(page, sizeof(page)), &h, NULL, &err), -1);
            assert_int_equal(err.kind, ERR_DAMAGE);
            page[i - 2048] ^= 0x10;
        }
        page[i] ^= 0x10;
    }
}

static void segment_header__cut_at_every_octet(void **state)
{
    unsigned char page[SEGMENT_PAGE_BYTES];
    struct segment_header h;

    (void)state;
    segment_header_encode(page, &segment);
    for (size_t len = 0; len <= SEGMENT_PAGE_BYTES; len++)
        assert_int_equal(segment_header_decode(slice_of(page, len), &h, NULL, NULL), len < 128 ? -1 : 0);
    page[0] = 'Q'; /* only the second copy is left */
    for (size_t len = 0; len <= SEGMENT_PAGE_BYTES; len++)
        assert_int_equal(segment_header_decode(slice_of(page, len), &h, NULL, NULL), len < 2048 + 128 ? -1 : 0);
}

static void segment_header__refuses_what_it_does_not_know(void **state)
{
    static const struct {
        uint32_t format, kind;
        enum err_kind expected;
    } rows[] = {
        { 2, 1, ERR_PERM }, { 0xffffffff, 99, ERR_PERM }, { 0, 1, ERR_DAMAGE }, { 1, 0, ERR_DAMAGE },
        { 1, 4, ERR_DAMAGE },
    };
    unsigned char page[SEGMENT_PAGE_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct segment_header h = segment;
        struct err err = ERR_INIT;

        h.format = rows[i].format;
        h.kind = (enum segment_kind)rows[i].kind;
        segment_header_encode(page, &h);
        if (segment_header_decode(slice_of(page, sizeof(page)), &h, NULL, &err) != -1 || err.kind != rows[i].expected)
            fail_msg("row %zu: kind %d", i, err.kind);
        if (i == 0)
            assert_string_equal(err.text, "the segment has format 2, but this program knows formats up to 1 only; "
                                          "use the newer Posthouse that wrote it");
    }
}

/* --- records ------------------------------------------------------------------------------------------------------ */

static void record_header__is_frozen(void **state)
{
    static const unsigned char expected[56] = {
        'P', 'H', 'r', '1', 0x02, 0x01, 0x09, 0x00, 5, 0, 0, 0, 0x14, 0x13, 0x12, 0x11,
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
        0x27, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
        0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41,
        0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0x54, 0x53, 0x52, 0x51, 0xb1, 0x89, 0xcc, 0xc9,
    };
    unsigned char out[56];
    struct record_header h;
    uint32_t seed;

    (void)state;
    record_header_encode(out, SALT, &record);
    assert_memory_equal(out, expected, sizeof(expected));
    seed = crc32c_portable(0, "\xef\xcd\xab\x89", 4);
    assert_int_equal(format_seed(SALT), seed);
    assert_int_equal(get_le32(out + 52), crc32c_portable(seed, out, 52));
    assert_int_equal(record_header_decode(slice_of(out, 56), SALT, &h), RECORD_OK);
    assert_same_record(&h, &record);
}

static void record__sizes(void **state)
{
    static const struct {
        uint32_t length, table;
        uint64_t disk;
    } rows[] = {
        { 0, 0, 56 }, { 1, 0, 64 }, { 8, 0, 64 }, { 9, 0, 72 }, { 65536, 0, 65592 },
        { 65537, 8, 65608 }, { 131072, 8, 131136 }, { 131073, 12, 131144 },
        { RECORD_MAX_BYTES, 131008, 2146566136 },
        { UINT32_MAX, 262144, 4295229496 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (record_table_bytes(rows[i].length) != rows[i].table)
            fail_msg("row %zu: table of %u", i, record_table_bytes(rows[i].length));
        if (record_disk_bytes(rows[i].length) != rows[i].disk)
            fail_msg("row %zu: disk %llu", i, (unsigned long long)record_disk_bytes(rows[i].length));
    }
}

static void record__every_flipped_octet_is_noticed(void **state)
{
    static const uint32_t lengths[] = { 0, 1, 8, 100 };

    (void)state;
    for (size_t l = 0; l < ARRAY_LEN(lengths); l++) {
        struct buf b = BUF_INIT;
        struct record_header h;
        slice payload;

        build_simple(&b, SALT, 42, 0, lengths[l]);
        for (size_t i = 0; i < b.len; i++) {
            enum record_verdict expected = i < 4 ? RECORD_NO_MAGIC : i < 56 ? RECORD_BAD_HEADER
                                           : i < 56 + lengths[l] ? RECORD_BAD_PAYLOAD : RECORD_OK; /* padding */

            for (unsigned bit = 0; bit < 8; bit++) {
                b.ptr[i] ^= (unsigned char)(1u << bit);
                if (record_decode(buf_slice(&b), SALT, &h, &payload) != expected)
                    fail_msg("length %u, octet %zu, bit %u", lengths[l], i, bit);
                b.ptr[i] ^= (unsigned char)(1u << bit);
            }
        }
        assert_int_equal(record_decode(buf_slice(&b), SALT, &h, &payload), RECORD_OK);
        assert_int_equal(h.length, lengths[l]);
        assert_ptr_equal(payload.ptr, b.ptr + 56);
        assert_int_equal(payload.len, lengths[l]);
        buf_free(&b);
    }
}

static void record__another_salt_never_validates(void **state) /* F2 */
{
    struct record_header h;
    struct buf b = BUF_INIT;
    slice payload;

    (void)state;
    build_simple(&b, SALT, 42, 0, 100);
    for (unsigned bit = 0; bit < 32; bit++)
        assert_int_equal(record_decode(buf_slice(&b), SALT ^ (1u << bit), &h, &payload), RECORD_BAD_HEADER);
    buf_free(&b);
}

static void record__cut(void **state)
{
    struct buf b = BUF_INIT;
    struct record_header h;
    slice payload;

    (void)state;
    build_simple(&b, SALT, 42, 0, 9);
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(record_decode(slice_of(b.ptr, len), SALT, &h, &payload), RECORD_CUT);
    assert_int_equal(record_header_decode(slice_of(b.ptr, 56), SALT, &h), RECORD_OK);
    assert_int_equal(record_decode(buf_slice(&b), SALT, &h, &payload), RECORD_OK);
    buf_free(&b);
}

static void record__too_long_is_no_record(void **state)
{
    struct record_header h = record;
    unsigned char out[56];

    (void)state;
    h.length = RECORD_MAX_BYTES;
    record_header_encode(out, SALT, &h);
    assert_int_equal(record_header_decode(slice_of(out, 56), SALT, &h), RECORD_OK);
    h.length = RECORD_MAX_BYTES + 1;
    record_header_encode(out, SALT, &h);
    assert_int_equal(record_header_decode(slice_of(out, 56), SALT, &h), RECORD_BAD_HEADER);
}

static void record__long_payload_has_a_checksum_per_chunk(void **state)
{
    enum { LENGTH = 3 * 65536 + 17, TABLE_AT = 56 + LENGTH };
    struct buf b = BUF_INIT;
    struct record_header h;
    slice payload, table;

    (void)state;
    build_simple(&b, SALT, 5, RECORD_BODY, LENGTH);
    assert_int_equal(b.len, (TABLE_AT + 16 + 7) / 8 * 8);
    assert_int_equal(record_decode(buf_slice(&b), SALT, &h, &payload), RECORD_OK);
    table = slice_of(b.ptr + TABLE_AT, 16);
    assert_int_equal(h.payload_crc, crc32c_portable(format_seed(SALT), table.ptr, table.len));
    for (uint32_t n = 0; n < 4; n++) {
        slice chunk = slice_sub(payload, (size_t)n * 65536, 65536);

        assert_int_equal(chunk.len, n < 3 ? 65536 : 17);
        assert_true(record_chunk_ok(SALT, chunk, table, n));
        assert_false(record_chunk_ok(SALT ^ 1, chunk, table, n));
        assert_false(record_chunk_ok(SALT, chunk, table, (n + 1) % 4));
        b.ptr[56 + (size_t)n * 65536 + 16] ^= 1;
        assert_false(record_chunk_ok(SALT, chunk, table, n));
        assert_int_equal(record_decode(buf_slice(&b), SALT, &h, &payload), RECORD_BAD_PAYLOAD);
        b.ptr[56 + (size_t)n * 65536 + 16] ^= 1;
    }
    assert_false(record_chunk_ok(SALT, slice_sub(payload, 0, 65536), table, 4));
    assert_false(record_chunk_ok(SALT, slice_sub(payload, 0, 65536), slice_of(table.ptr, 3), 0));
    for (size_t i = 0; i < 16; i++) {
        b.ptr[TABLE_AT + i] ^= 0x80;
        assert_int_equal(record_decode(buf_slice(&b), SALT, &h, &payload), RECORD_BAD_PAYLOAD);
        b.ptr[TABLE_AT + i] ^= 0x80;
    }
    assert_int_equal(record_decode(buf_slice(&b), SALT, &h, &payload), RECORD_OK);
    buf_free(&b);
}

static void record__table_is_appended(void **state)
{
    struct buf table = BUF_INIT, payload = BUF_INIT;
    uint32_t crc;

    (void)state;
    buf_put_str(&table, "before");
    build_payload(&payload, 1, 65536);
    assert_int_equal(record_payload_crc(SALT, buf_slice(&payload), &table),
                     crc32c_portable(format_seed(SALT), payload.ptr, payload.len));
    assert_int_equal(table.len, 6); /* no table up to one chunk */
    buf_put_byte(&payload, 'x');
    crc = record_payload_crc(SALT, buf_slice(&payload), &table);
    assert_int_equal(table.len, 14);
    assert_int_equal(crc, crc32c_portable(format_seed(SALT), table.ptr + 6, 8));
    assert_memory_equal(table.ptr, "before", 6);
    buf_free(&table);
    buf_free(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segment_header__is_frozen),
        cmocka_unit_test(segment_header__one_copy_suffices),
        cmocka_unit_test(segment_header__cut_at_every_octet),
        cmocka_unit_test(segment_header__refuses_what_it_does_not_know),
        cmocka_unit_test(record_header__is_frozen),
        cmocka_unit_test(record__sizes),
        cmocka_unit_test(record__every_flipped_octet_is_noticed),
        cmocka_unit_test(record__another_salt_never_validates),
        cmocka_unit_test(record__cut),
        cmocka_unit_test(record__too_long_is_no_record),
        cmocka_unit_test(record__long_payload_has_a_checksum_per_chunk),
        cmocka_unit_test(record__table_is_appended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
