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

#define SALT 0x1badcafeu

struct row {
    uint64_t seq;
    unsigned flags;
    uint32_t length;
};
static const struct row sample[] = {
    { 10, 0, 13 }, { 11, RECORD_BODY, 70000 }, { 12, RECORD_MORE, 0 }, { 14, RECORD_IMAGE, 8 }, { 15, RECORD_END, 1 },
};

/* The footer of a segment with those records; their offsets go to `offsets`, the records themselves to `segment`. */
static uint64_t footer_make(const struct row *rows, size_t count, struct buf *segment, uint64_t *offsets,
                            struct buf *footer)
{
    struct footer_writer w;

    build_page(segment, SALT, 1, 10);
    footer_writer_init(&w, SALT);
    for (size_t i = 0; i < count; i++) {
        struct record_header h;
        slice payload;

        offsets[i] = build_simple(segment, SALT, rows[i].seq, rows[i].flags, rows[i].length);
        assert_int_equal(record_decode(slice_from(buf_slice(segment), offsets[i]), SALT, &h, &payload), RECORD_OK);
        footer_writer_add(&w, offsets[i], &h, payload);
    }
    footer_writer_finish(&w, segment->len, segment->len, footer);
    footer_writer_free(&w);
    return segment->len;
}

static void footer__round_trip(void **state)
{
    struct buf segment = BUF_INIT, octets = BUF_INIT;
    uint64_t offsets[ARRAY_LEN(sample)], head_at, found = 0;
    struct footer_cursor cursor;
    struct footer_entry e;
    struct footer f;
    slice payload;
    size_t n = 0;

    (void)state;
    head_at = footer_make(sample, ARRAY_LEN(sample), &segment, offsets, &octets);
    assert_int_equal(octets.len, 32 + 5 * 64 + 16 + 0 + 0 + 8 + 8 + 48);
    assert_int_equal(footer_locate(slice_from(buf_slice(&octets), octets.len - 48), SALT, head_at + octets.len, &found,
                                   NULL), 0);
    assert_true(found == head_at);
    assert_int_equal(footer_decode(buf_slice(&octets), head_at, SALT, &f, NULL), 0);
    assert_true(f.count == 5 && f.head_at == head_at && f.records_end == head_at && f.last_seq == 15);
    assert_true(f.newest_ms == 1700000000015);
    footer_begin(&cursor, &f);
    for (; footer_next(&cursor, &e, &payload); n++) {
        unsigned char header[RECORD_HEADER_BYTES];
        struct record_header h;
        slice original;

        assert_true(e.offset == offsets[n]);
        assert_int_equal(record_decode(slice_from(buf_slice(&segment), e.offset), SALT, &h, &original), RECORD_OK);
        record_header_encode(header, SALT, &e.header);
        assert_memory_equal(header, segment.ptr + e.offset, sizeof(header));
        if (sample[n].flags & RECORD_BODY)
            assert_int_equal(payload.len, 0);
        else
            assert_true(slice_eq(payload, original));
    }
    assert_int_equal(n, 5);
    buf_free(&segment);
    buf_free(&octets);
}

static void footer__is_frozen(void **state)
{
    static const struct row one[] = { { 10, RECORD_IMAGE, 3 } };
    static const unsigned char head[28] = { 'P', 'H', 'J', 'F', 'O', 'O', 'T', '1', 1, 0, 0, 0, 0, 0, 0, 0, 8 };
    static const unsigned char entry[20] = {
        0x00, 0x10, 0, 0, 0, 0, 0, 0, 'P', 'H', 'e', '1', 0x01, 0x7f, 2, 0, 3, 0, 0, 0,
    };
    static const unsigned char trailer[40] = {
        'P', 'H', 'J', 'E', 'N', 'D', '1', '\n', 0x40, 0x10, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0,
        0x0a, 0x68, 0xe5, 0xcf, 0x8b, 1, 0, 0, 0x40, 0x10, 0, 0, 0, 0, 0, 0,
    };
    struct buf segment = BUF_INIT, octets = BUF_INIT;
    uint64_t offset;
    uint32_t seed = format_seed(SALT);

    (void)state;
    footer_make(one, 1, &segment, &offset, &octets);
    assert_int_equal(octets.len, 32 + 64 + 8 + 48);
    assert_memory_equal(octets.ptr, head, sizeof(head));
    assert_int_equal(get_le32(octets.ptr + 28), crc32c_portable(seed, octets.ptr, 28));
    assert_memory_equal(octets.ptr + 32, entry, sizeof(entry));
    /* but for the magic an entry repeats the record's header, its checksum included */
    assert_memory_equal(octets.ptr + 32 + 12, segment.ptr + 4096 + 4, 52);
    assert_memory_equal(octets.ptr + 96, segment.ptr + 4096 + 56, 3);
    assert_memory_equal(octets.ptr + 99, "\0\0\0\0\0", 5);
    assert_memory_equal(octets.ptr + 104, trailer, sizeof(trailer));
    assert_int_equal(get_le32(octets.ptr + 144), crc32c_portable(seed, octets.ptr + 32, 72));
    assert_int_equal(get_le32(octets.ptr + 148), crc32c_portable(seed, octets.ptr + 104, 44));
    buf_free(&segment);
    buf_free(&octets);
}

static void footer__every_flipped_octet_is_noticed(void **state)
{
    struct buf segment = BUF_INIT, octets = BUF_INIT;
    uint64_t offsets[ARRAY_LEN(sample)], head_at;
    struct footer f;

    (void)state;
    head_at = footer_make(sample, ARRAY_LEN(sample), &segment, offsets, &octets);
    for (size_t i = 0; i < octets.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct err err = ERR_INIT;

            octets.ptr[i] ^= (unsigned char)(1u << bit);
            if (footer_decode(buf_slice(&octets), head_at, SALT, &f, &err) != -1 || err.kind != ERR_DAMAGE)
                fail_msg("octet %zu, bit %u", i, bit);
            octets.ptr[i] ^= (unsigned char)(1u << bit);
        }
    }
    assert_int_equal(footer_decode(buf_slice(&octets), head_at, SALT, &f, NULL), 0);
    assert_int_equal(footer_decode(buf_slice(&octets), head_at, SALT + 1, &f, NULL), -1);
    assert_int_equal(footer_decode(buf_slice(&octets), head_at + 8, SALT, &f, NULL), -1);
    for (size_t len = 0; len < octets.len; len++)
        assert_int_equal(footer_decode(slice_of(octets.ptr, len), head_at, SALT, &f, NULL), -1);
    buf_free(&segment);
    buf_free(&octets);
}

static void footer_locate__every_flipped_octet_is_noticed(void **state)
{
    struct buf segment = BUF_INIT, octets = BUF_INIT;
    uint64_t offsets[ARRAY_LEN(sample)], head_at, found;
    unsigned char *tail;

    (void)state;
    head_at = footer_make(sample, ARRAY_LEN(sample), &segment, offsets, &octets);
    tail = octets.ptr + octets.len - 48;
    for (size_t i = 0; i < 48; i++) {
        struct err err = ERR_INIT;

        tail[i] ^= 4;
        assert_int_equal(footer_locate(slice_of(tail, 48), SALT, head_at + octets.len, &found, &err), -1);
        assert_int_equal(err.kind, ERR_DAMAGE);
        tail[i] ^= 4;
        assert_int_equal(footer_locate(slice_of(tail, i), SALT, head_at + octets.len, &found, NULL), -1);
    }
    buf_free(&segment);
    buf_free(&octets);
}

/* Right checksums do not make impossible offsets possible. */
static void footer_locate__checks_offsets(void **state)
{
    static const struct {
        uint64_t head_at, records_end, file_bytes;
        int expected;
    } rows[] = {
        { 8192, 8192, 8192 + 80, 0 },
        { 8192, 4096, 8192 + 80, 0 },
        { 4096, 4096, 4096 + 80, 0 },
        { 8192, 8192, 8192 + 79, -1 },      /* goes beyond the file */
        { 8192, 8200, 9000, -1 },           /* begins inside the records */
        { 8196, 8192, 9000, -1 },           /* not aligned */
        { 4096, 4095, 9000, -1 },           /* records end inside the header page */
        { UINT64_MAX - 7, 8192, 9000, -1 },
        { 8, 8, 88, -1 },
        { 0, 0, 48, -1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned char t[48] = { 'P', 'H', 'J', 'E', 'N', 'D', '1', '\n' };
        uint64_t at = 0;

        put_le64(t + 8, rows[i].head_at);
        put_le64(t + 32, rows[i].records_end);
        put_le32(t + 44, crc32c(format_seed(SALT), t, 44));
        if (footer_locate(slice_of(t, 48), SALT, rows[i].file_bytes, &at, NULL) != rows[i].expected ||
            (rows[i].expected == 0 && at != rows[i].head_at))
            fail_msg("row %zu", i);
    }
}

/* Entries with right checksums that do not describe a segment. */
static void footer__checks_entries(void **state)
{
    static const struct {
        uint64_t offset[2], records_end;
        int expected;
    } rows[] = {
        { { 4096, 4160 }, 4224, 0 },
        { { 4096, 4168 }, 4232, 0 },      /* a hole between them */
        { { 4096, 4160 }, 4216, -1 },     /* the second goes beyond the end */
        { { 4096, 4152 }, 4224, -1 },     /* they overlap */
        { { 4160, 4096 }, 4224, -1 },     /* out of order */
        { { 4088, 4160 }, 4224, -1 },     /* in the header page */
        { { 4100, 4168 }, 4232, -1 },     /* not aligned */
        { { 4096, UINT64_MAX - 7 }, 4224, -1 },
    };
    struct record_header h = { .type = 1, .seq = 1, .length = 8 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = BUF_INIT;
        struct footer_writer w;
        struct footer f;

        footer_writer_init(&w, SALT);
        footer_writer_add(&w, rows[i].offset[0], &h, SLICE("12345678"));
        footer_writer_add(&w, rows[i].offset[1], &h, SLICE("12345678"));
        footer_writer_finish(&w, rows[i].records_end, 8192, &out);
        if (footer_decode(buf_slice(&out), 8192, SALT, &f, NULL) != rows[i].expected)
            fail_msg("row %zu", i);
        footer_writer_free(&w);
        buf_free(&out);
    }
}

static void footer__counts_must_agree(void **state)
{
    static const struct {
        uint64_t count, payloads;
    } rows[] = {
        { 0, 72 }, { 2, 0 }, { 1, 0 }, { 1, 16 }, { 0x0400000000000001, 8 }, { UINT64_MAX, 8 }, { 1, UINT64_MAX },
    };
    struct record_header h = { .type = 1, .seq = 1, .length = 8 };
    struct footer_writer w;
    struct buf out = BUF_INIT;
    struct footer f;

    (void)state;
    footer_writer_init(&w, SALT);
    footer_writer_add(&w, 4096, &h, SLICE("12345678"));
    footer_writer_finish(&w, 4160, 4160, &out);
    assert_int_equal(footer_decode(buf_slice(&out), 4160, SALT, &f, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        put_le64(out.ptr + 8, rows[i].count);
        put_le64(out.ptr + 16, rows[i].payloads);
        put_le32(out.ptr + 28, crc32c(format_seed(SALT), out.ptr, 28));
        if (footer_decode(buf_slice(&out), 4160, SALT, &f, NULL) != -1)
            fail_msg("row %zu", i);
    }
    footer_writer_free(&w);
    buf_free(&out);
}

static void footer__of_nothing(void **state)
{
    struct footer_cursor cursor;
    struct footer_writer w;
    struct footer_entry e;
    struct buf out = BUF_INIT;
    struct footer f;
    slice payload;

    (void)state;
    footer_writer_init(&w, SALT);
    footer_writer_finish(&w, 4096, 4096, &out);
    assert_int_equal(out.len, 80);
    assert_int_equal(footer_decode(buf_slice(&out), 4096, SALT, &f, NULL), 0);
    assert_true(f.count == 0 && f.last_seq == 0 && f.newest_ms == 0);
    footer_begin(&cursor, &f);
    assert_false(footer_next(&cursor, &e, &payload));
    footer_writer_free(&w);
    buf_free(&out);
}

/* Compaction segments hold bodies in any order, and clocks go back. */
static void footer__keeps_the_highest_of_each(void **state)
{
    struct record_header h = { .type = 1, .flags = RECORD_BODY };
    struct footer_writer w;

    (void)state;
    footer_writer_init(&w, SALT);
    h.seq = 9;
    h.time_ms = -5;
    footer_writer_add(&w, 4096, &h, SLICE_NONE);
    assert_true(w.newest_ms == -5);
    h.seq = 3;
    h.time_ms = -7;
    footer_writer_add(&w, 4160, &h, SLICE_NONE);
    assert_true(w.last_seq == 9 && w.newest_ms == -5);
    footer_writer_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(footer__round_trip),
        cmocka_unit_test(footer__is_frozen),
        cmocka_unit_test(footer__every_flipped_octet_is_noticed),
        cmocka_unit_test(footer_locate__every_flipped_octet_is_noticed),
        cmocka_unit_test(footer_locate__checks_offsets),
        cmocka_unit_test(footer__checks_entries),
        cmocka_unit_test(footer__counts_must_agree),
        cmocka_unit_test(footer__of_nothing),
        cmocka_unit_test(footer__keeps_the_highest_of_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
