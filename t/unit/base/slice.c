#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/own.h"
#include "base/random.h"
#include "base/slice.h"

#define S(lit) { (const unsigned char *)(lit), sizeof(lit) - 1 }

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static void slice_cmp__orders_octets_then_length(void **state)
{
    static const struct {
        slice a, b;
        int octets, folded;
    } rows[] = {
        { S(""), S(""), 0, 0 },
        { S(""), S("a"), -1, -1 },
        { S("a"), S("A"), 1, 0 },
        { S("Abc"), S("aBC"), -1, 0 },
        { S("ab"), S("abc"), -1, -1 },
        { S("b"), S("abc"), 1, 1 },
        { S("\xFF"), S("a"), 1, 1 },
        { S("a\0b"), S("a\0c"), -1, -1 },
        { S("["), S("a"), -1, -1 },
        { S("Z"), S("["), -1, 1 }, /* folded to 'z', which is above '[' */
        { S("\xC4"), S("\xE4"), -1, -1 }, /* no folding outside ASCII */
        { { NULL, 0 }, S(""), 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        slice a = rows[i].a, b = rows[i].b;

        if (sign(slice_cmp(a, b)) != rows[i].octets || sign(slice_cmp(b, a)) != -rows[i].octets)
            fail_msg("row %zu: slice_cmp", i);
        if (sign(slice_cmp_nocase(a, b)) != rows[i].folded || sign(slice_cmp_nocase(b, a)) != -rows[i].folded)
            fail_msg("row %zu: slice_cmp_nocase", i);
        if (slice_eq(a, b) != (rows[i].octets == 0) || slice_eq_nocase(a, b) != (rows[i].folded == 0))
            fail_msg("row %zu: equality", i);
    }
}

static void slice_starts__and_ends(void **state)
{
    static const struct {
        slice s, part;
        bool starts, starts_nocase, ends, ends_nocase;
    } rows[] = {
        { S("abcab"), S("ab"), true, true, true, true },
        { S("abcAB"), S("AB"), false, true, true, true },
        { S("ab"), S("abc"), false, false, false, false },
        { S("ab"), S(""), true, true, true, true },
        { { NULL, 0 }, { NULL, 0 }, true, true, true, true },
        { S("xyz"), S("xyz"), true, true, true, true },
        { S("xyz"), S("yz"), false, false, true, true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        slice s = rows[i].s, p = rows[i].part;

        if (slice_starts(s, p) != rows[i].starts || slice_starts_nocase(s, p) != rows[i].starts_nocase ||
            slice_ends(s, p) != rows[i].ends || slice_ends_nocase(s, p) != rows[i].ends_nocase)
            fail_msg("row %zu", i);
    }
}

static void slice_find__gives_the_first_place(void **state)
{
    static const struct {
        slice s, needle;
        ssize_t at, folded_at;
    } rows[] = {
        { S("hello"), S("l"), 2, 2 },
        { S("hello"), S("L"), -1, 2 },
        { S("hello"), S("lo"), 3, 3 },
        { S("hello"), S(""), 0, 0 },
        { S(""), S(""), 0, 0 },
        { { NULL, 0 }, S("a"), -1, -1 },
        { S("aaab"), S("AAB"), -1, 1 },
        { S("short"), S("longer"), -1, -1 },
        { S("a\0b\0c"), S("\0c"), 3, 3 },
        { S("same"), S("same"), 0, 0 },
        { S("samE"), S("same"), -1, 0 },
        { S("\xC4x"), S("\xE4x"), -1, -1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (slice_find(rows[i].s, rows[i].needle) != rows[i].at)
            fail_msg("row %zu: slice_find", i);
        if (slice_find_nocase(rows[i].s, rows[i].needle) != rows[i].folded_at)
            fail_msg("row %zu: slice_find_nocase", i);
    }
}

static ssize_t naive_find_nocase(slice s, slice needle)
{
    for (size_t at = 0; at + needle.len <= s.len; at++)
        if (slice_eq_nocase(slice_sub(s, at, needle.len), needle))
            return (ssize_t)at;
    return -1;
}

static void slice_find_nocase__agrees_with_naive_search(void **state)
{
    unsigned char text[60], word[6];
    struct rng r;

    (void)state;
    rng_init(&r, 1);
    for (int round = 0; round < 20000; round++) {
        slice s = slice_of(text, rng_below(&r, sizeof(text) + 1));
        slice needle = slice_of(word, rng_below(&r, sizeof(word) + 1));

        for (size_t i = 0; i < s.len; i++)
            text[i] = (unsigned char)"aAbB"[rng_below(&r, 4)];
        for (size_t i = 0; i < needle.len; i++)
            word[i] = (unsigned char)"aAbB"[rng_below(&r, 4)];
        assert_int_equal(slice_find_nocase(s, needle), naive_find_nocase(s, needle));
    }
}

static void slice_find_byte__from_both_ends(void **state)
{
    (void)state;
    assert_int_equal(slice_find_byte(SLICE("a.b.c"), '.'), 1);
    assert_int_equal(slice_rfind_byte(SLICE("a.b.c"), '.'), 3);
    assert_int_equal(slice_find_byte(SLICE("abc"), '.'), -1);
    assert_int_equal(slice_rfind_byte(SLICE("abc"), '.'), -1);
    assert_int_equal(slice_find_byte(SLICE("a\0"), '\0'), 1);
    assert_int_equal(slice_find_byte(SLICE_NONE, 'a'), -1);
    assert_int_equal(slice_rfind_byte(SLICE_NONE, 'a'), -1);
}

static void slice_sub__is_clamped(void **state)
{
    static const struct {
        size_t from, len;
        slice want;
    } rows[] = {
        { 0, 5, S("hello") }, { 0, SIZE_MAX, S("hello") }, { 1, 3, S("ell") },    { 4, 9, S("o") },
        { 5, 1, S("") },      { 6, 1, S("") },             { SIZE_MAX, 1, S("") }, { 2, 0, S("") },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (!slice_eq(slice_sub(SLICE("hello"), rows[i].from, rows[i].len), rows[i].want))
            fail_msg("row %zu", i);
    assert_int_equal(slice_from(SLICE_NONE, 3).len, 0);
}

static void slice_trim__drops_white_space_at_both_ends(void **state)
{
    static const struct {
        slice s, want;
    } rows[] = {
        { S(""), S("") }, { S(" \t\r\n"), S("") }, { S("a"), S("a") }, { S(" \ta b\r\n"), S("a b") },
        { S("\va\v"), S("\va\v") }, { S("\0a\0"), S("\0a\0") },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (!slice_eq(slice_trim(rows[i].s), rows[i].want))
            fail_msg("row %zu", i);
}

static void slice_cut__splits_at_the_first_octet(void **state)
{
    static const struct {
        slice s, part, rest;
        bool found;
    } rows[] = {
        { S("a,b,c"), S("a"), S("b,c"), true }, { S("abc"), S("abc"), S(""), false }, { S(","), S(""), S(""), true },
        { S(""), S(""), S(""), false },         { { NULL, 0 }, S(""), S(""), false }, { S("a,"), S("a"), S(""), true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        slice rest = rows[i].s, again = rows[i].s;
        bool found = !rows[i].found;
        slice part = slice_cut(&rest, ',', &found);

        if (!slice_eq(part, rows[i].part) || !slice_eq(rest, rows[i].rest) || found != rows[i].found)
            fail_msg("row %zu", i);
        assert_true(slice_eq(slice_cut(&again, ',', NULL), rows[i].part));
    }
}

static void slice_word__skips_runs_of_blanks(void **state)
{
    slice s = SLICE(" \tone  two\tthree\r ");

    (void)state;
    assert_true(slice_eq(slice_word(&s), SLICE("one")));
    assert_true(slice_eq(slice_word(&s), SLICE("two")));
    assert_true(slice_eq(slice_word(&s), SLICE("three\r")));
    assert_int_equal(slice_word(&s).len, 0);
    assert_int_equal(s.len, 0);
    assert_int_equal(slice_word(&s).len, 0);
}

static void slice_u64__knows_its_limits(void **state)
{
    static const struct {
        slice s;
        bool ok64, ok32;
        uint64_t value;
    } rows[] = {
        { S("0"), true, true, 0 },
        { S("007"), true, true, 7 },
        { S("4294967295"), true, true, UINT32_MAX },
        { S("4294967296"), true, false, 4294967296u },
        { S("18446744073709551615"), true, false, UINT64_MAX },
        { S("0000000018446744073709551615"), true, false, UINT64_MAX },
        { S("18446744073709551616"), false, false, 0 },
        { S("18446744073709551620"), false, false, 0 },
        { S("28446744073709551615"), false, false, 0 },
        { S("184467440737095516150"), false, false, 0 },
        { S(""), false, false, 0 },
        { { NULL, 0 }, false, false, 0 },
        { S("-1"), false, false, 0 },
        { S("+1"), false, false, 0 },
        { S(" 1"), false, false, 0 },
        { S("1 "), false, false, 0 },
        { S("1\0"), false, false, 0 },
        { S("0x1"), false, false, 0 },
        { S(":"), false, false, 0 },
        { S("/"), false, false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t v64 = 77;
        uint32_t v32 = 77;

        if (slice_u64(rows[i].s, &v64) != rows[i].ok64 || v64 != (rows[i].ok64 ? rows[i].value : 77))
            fail_msg("row %zu: u64 %llu", i, (unsigned long long)v64);
        if (slice_u32(rows[i].s, &v32) != rows[i].ok32 || v32 != (rows[i].ok32 ? (uint32_t)rows[i].value : 77))
            fail_msg("row %zu: u32 %u", i, v32);
    }
}

static void slice_i64__knows_its_limits(void **state)
{
    static const struct {
        slice s;
        bool ok;
        int64_t value;
    } rows[] = {
        { S("0"), true, 0 },
        { S("-0"), true, 0 },
        { S("-1"), true, -1 },
        { S("9223372036854775807"), true, INT64_MAX },
        { S("9223372036854775808"), false, 0 },
        { S("-9223372036854775808"), true, INT64_MIN },
        { S("-9223372036854775809"), false, 0 },
        { S("-"), false, 0 },
        { S("--1"), false, 0 },
        { S(""), false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = 77;

        if (slice_i64(rows[i].s, &v) != rows[i].ok || v != (rows[i].ok ? rows[i].value : 77))
            fail_msg("row %zu: %lld", i, (long long)v);
    }
}

static void slice_hex64__knows_its_limits(void **state)
{
    static const struct {
        slice s;
        bool ok;
        uint64_t value;
    } rows[] = {
        { S("0"), true, 0 },
        { S("fF"), true, 255 },
        { S("ffffffffffffffff"), true, UINT64_MAX },
        { S("00ffffffffffffffff"), true, UINT64_MAX },
        { S("10000000000000000"), false, 0 },
        { S("g"), false, 0 },
        { S("@"), false, 0 },
        { S("0x1"), false, 0 },
        { S(""), false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t v = 77;

        if (slice_hex64(rows[i].s, &v) != rows[i].ok || v != (rows[i].ok ? rows[i].value : 77))
            fail_msg("row %zu: %llx", i, (unsigned long long)v);
    }
}

/* Formats may be built on these: the values must never change. */
static void slice_hash__has_fixed_values(void **state)
{
    static const struct {
        slice s;
        uint64_t seed, hash;
    } rows[] = {
        { S(""), 0, 0xD7EAECC51ACBB88Eu },
        { S("a"), 0, 0x0410DDFAF108BB22u },
        { S("postmaster"), 0, 0x21A34A229F49D0C4u },
        { S("postmaster"), 1, 0x7602D37BFAB57ECCu },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (slice_hash(rows[i].s, rows[i].seed) != rows[i].hash)
            fail_msg("row %zu: 0x%016llX", i, (unsigned long long)slice_hash(rows[i].s, rows[i].seed));
}

static void slice_hash_nocase__folds_ascii_only(void **state)
{
    unsigned char a[40], b[40];

    (void)state;
    for (size_t len = 0; len <= sizeof(a); len++) {
        for (unsigned c = 0; c < 256; c++) { /* every octet in every lane */
            for (size_t i = 0; i < len; i++) {
                a[i] = (unsigned char)(c + i);
                b[i] = ascii_lower(a[i]);
            }
            assert_int_equal(slice_hash_nocase(slice_of(a, len), 5), slice_hash(slice_of(b, len), 5));
        }
    }
}

static int cmp_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void slice_hash__has_no_collision_among_short_words(void **state)
{
    enum { COUNT = 50000 };
    static uint64_t hashes[COUNT];
    unsigned buckets[64] = { 0 };

    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        unsigned char word[4] = { (unsigned char)i, (unsigned char)(i >> 8), (unsigned char)(i >> 16), 0 };

        hashes[i] = slice_hash(slice_of(word, sizeof(word)), 9);
        buckets[hashes[i] & 63]++;
    }
    qsort(hashes, COUNT, sizeof(hashes[0]), cmp_u64);
    for (size_t i = 1; i < COUNT; i++)
        assert_true(hashes[i - 1] != hashes[i]);
    for (size_t i = 0; i < ARRAY_LEN(buckets); i++)
        assert_in_range(buckets[i], COUNT / 64 * 3 / 4, COUNT / 64 * 5 / 4);
}

static void ascii__classes_agree_for_all_octets(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 256; i++) {
        unsigned char c = (unsigned char)i;
        bool upper = i >= 'A' && i <= 'Z', lower = i >= 'a' && i <= 'z', digit = i >= '0' && i <= '9';

        assert_int_equal(ascii_lower(c), upper ? i + 32 : i);
        assert_int_equal(ascii_upper(c), lower ? i - 32 : i);
        assert_int_equal(ascii_is_alpha(c), upper || lower);
        assert_int_equal(ascii_is_digit(c), digit);
        assert_int_equal(ascii_is_alnum(c), upper || lower || digit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slice_cmp__orders_octets_then_length),
        cmocka_unit_test(slice_starts__and_ends),
        cmocka_unit_test(slice_find__gives_the_first_place),
        cmocka_unit_test(slice_find_nocase__agrees_with_naive_search),
        cmocka_unit_test(slice_find_byte__from_both_ends),
        cmocka_unit_test(slice_sub__is_clamped),
        cmocka_unit_test(slice_trim__drops_white_space_at_both_ends),
        cmocka_unit_test(slice_cut__splits_at_the_first_octet),
        cmocka_unit_test(slice_word__skips_runs_of_blanks),
        cmocka_unit_test(slice_u64__knows_its_limits),
        cmocka_unit_test(slice_i64__knows_its_limits),
        cmocka_unit_test(slice_hex64__knows_its_limits),
        cmocka_unit_test(slice_hash__has_fixed_values),
        cmocka_unit_test(slice_hash_nocase__folds_ascii_only),
        cmocka_unit_test(slice_hash__has_no_collision_among_short_words),
        cmocka_unit_test(ascii__classes_agree_for_all_octets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
