#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/random.h"

static void put_le__lays_out_the_low_octet_first(void **state)
{
    struct buf b = BUF_INIT;
    struct reader r;

    (void)state;
    buf_put_le16(&b, 0x0102);
    buf_put_le32(&b, 0x03040506);
    buf_put_le64(&b, 0x0708090A0B0C0D0Eu);
    assert_int_equal(b.len, 14);
    assert_memory_equal(b.ptr, "\x02\x01\x06\x05\x04\x03\x0E\x0D\x0C\x0B\x0A\x09\x08\x07", 14);
    r = reader_of(buf_slice(&b));
    assert_int_equal(read_le16(&r), 0x0102);
    assert_int_equal(read_le32(&r), 0x03040506);
    assert_int_equal(read_le64(&r), 0x0708090A0B0C0D0Eu);
    assert_true(reader_done(&r));
    buf_free(&b);
}

static void put_be__lays_out_the_high_octet_first(void **state)
{
    struct buf b = BUF_INIT;
    struct reader r;

    (void)state;
    buf_put_be32(&b, 0x01020304);
    buf_put_be64(&b, 0x05060708090A0B0Cu);
    assert_int_equal(b.len, 12);
    assert_memory_equal(b.ptr, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C", 12);
    r = reader_of(buf_slice(&b));
    assert_int_equal(read_be32(&r), 0x01020304);
    assert_int_equal(read_be64(&r), 0x05060708090A0B0Cu);
    assert_true(reader_done(&r));
    buf_free(&b);
}

static void put_be64__octet_order_is_number_order(void **state)
{
    unsigned char a[8], b[8];
    struct rng r;

    (void)state;
    rng_init(&r, 41);
    for (int i = 0; i < 5000; i++) {
        uint64_t x = rng_next(&r) >> rng_below(&r, 64), y = rng_next(&r) >> rng_below(&r, 64);
        int d;

        put_be64(a, x);
        put_be64(b, y);
        d = memcmp(a, b, 8);
        assert_int_equal((d > 0) - (d < 0), (x > y) - (x < y));
        assert_int_equal(get_be64(a), x);
    }
}

static void fixed_width__round_trips_at_odd_addresses(void **state)
{
    unsigned char room[16];
    struct rng r;

    (void)state;
    rng_init(&r, 42);
    for (int i = 0; i < 2000; i++) {
        unsigned char *p = room + rng_below(&r, 8);
        uint64_t v = rng_next(&r);

        put_le64(p, v);
        assert_int_equal(get_le64(p), v);
        put_le32(p, (uint32_t)v);
        assert_int_equal(get_le32(p), (uint32_t)v);
        put_le16(p, (uint16_t)v);
        assert_int_equal(get_le16(p), (uint16_t)v);
        put_be32(p, (uint32_t)v);
        assert_int_equal(get_be32(p), (uint32_t)v);
    }
}

static void varint__has_one_form_for_each_number(void **state)
{
    static const struct {
        uint64_t v;
        size_t len;
        const char *octets;
    } rows[] = {
        { 0, 1, "\x00" },
        { 1, 1, "\x01" },
        { 127, 1, "\x7F" },
        { 128, 2, "\x80\x01" },
        { 300, 2, "\xAC\x02" },
        { 16383, 2, "\xFF\x7F" },
        { 16384, 3, "\x80\x80\x01" },
        { UINT32_MAX, 5, "\xFF\xFF\xFF\xFF\x0F" },
        { (uint64_t)1 << 63, 10, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01" },
        { UINT64_MAX, 10, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT;
        struct reader r;

        buf_put_varint(&b, rows[i].v);
        if (b.len != rows[i].len || memcmp(b.ptr, rows[i].octets, b.len) != 0)
            fail_msg("row %zu: written form", i);
        r = reader_of(buf_slice(&b));
        if (read_varint(&r) != rows[i].v || !reader_done(&r))
            fail_msg("row %zu: read back", i);
        for (size_t cut = 0; cut < b.len; cut++) { /* every truncation fails */
            r = reader_of(slice_of(b.ptr, cut));
            if (read_varint(&r) != 0 || !r.failed)
                fail_msg("row %zu: cut at %zu", i, cut);
        }
        buf_free(&b);
    }
}

static void read_varint__refuses_other_forms(void **state)
{
    static const slice rows[] = {
        { (const unsigned char *)"\x80\x00", 2 },                                     /* 0 in two octets */
        { (const unsigned char *)"\x81\x80\x00", 3 },                                 /* 1 in three */
        { (const unsigned char *)"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 10 },      /* bit 64 */
        { (const unsigned char *)"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11 }, /* eleven octets */
        { (const unsigned char *)"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 10 },
        { (const unsigned char *)"", 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reader r = reader_of(rows[i]);

        if (read_varint(&r) != 0 || !r.failed)
            fail_msg("row %zu", i);
    }
}

static void reader__error_sticks(void **state)
{
    struct reader r = reader_of(SLICE("\x01\x02\x03"));

    (void)state;
    assert_int_equal(read_u8(&r), 1);
    assert_int_equal(read_le32(&r), 0); /* two octets are left */
    assert_true(r.failed);
    assert_int_equal(read_u8(&r), 0);
    assert_int_equal(read_le16(&r), 0);
    assert_int_equal(read_le64(&r), 0);
    assert_int_equal(read_be32(&r), 0);
    assert_int_equal(read_be64(&r), 0);
    assert_int_equal(read_varint(&r), 0);
    assert_int_equal(read_octets(&r, 1).len, 0);
    assert_int_equal(read_octets(&r, 0).len, 0);
    assert_int_equal(read_lenstr(&r).len, 0);
    assert_false(reader_done(&r));
}

static void reader_done__wants_everything_read(void **state)
{
    struct reader r = reader_of(SLICE("ab"));

    (void)state;
    assert_false(reader_done(&r));
    assert_true(slice_eq(read_octets(&r, 2), SLICE("ab")));
    assert_true(reader_done(&r));
    assert_int_equal(read_octets(&r, 0).len, 0);
    assert_true(reader_done(&r));
    read_u8(&r);
    assert_false(reader_done(&r));
    r = reader_of(SLICE_NONE);
    assert_true(reader_done(&r));
}

static void lenstr__round_trips_and_checks_its_length(void **state)
{
    struct buf b = BUF_INIT;
    struct reader r;

    (void)state;
    buf_put_lenstr(&b, SLICE("a\0b"));
    buf_put_lenstr(&b, SLICE_NONE);
    assert_int_equal(b.len, 5);
    r = reader_of(buf_slice(&b));
    assert_true(slice_eq(read_lenstr(&r), SLICE("a\0b")));
    assert_int_equal(read_lenstr(&r).len, 0);
    assert_true(reader_done(&r));
    r = reader_of(SLICE("\x04" "abc"));
    assert_int_equal(read_lenstr(&r).len, 0);
    assert_true(r.failed);
    r = reader_of(SLICE("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01" "abc"));
    assert_int_equal(read_lenstr(&r).len, 0);
    assert_true(r.failed);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_le__lays_out_the_low_octet_first),
        cmocka_unit_test(put_be__lays_out_the_high_octet_first),
        cmocka_unit_test(put_be64__octet_order_is_number_order),
        cmocka_unit_test(fixed_width__round_trips_at_odd_addresses),
        cmocka_unit_test(varint__has_one_form_for_each_number),
        cmocka_unit_test(read_varint__refuses_other_forms),
        cmocka_unit_test(reader__error_sticks),
        cmocka_unit_test(reader_done__wants_everything_read),
        cmocka_unit_test(lenstr__round_trips_and_checks_its_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
