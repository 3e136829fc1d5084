#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/own.h"
#include "base/utf8.h"

#define S(lit) { (const unsigned char *)(lit), sizeof(lit) - 1 }

/* The first and last character of each length, and the neighbours of every gap. */
static void utf8__steps_over_the_edges_of_each_length(void **state)
{
    static const struct {
        uint32_t cp;
        slice octets;
    } rows[] = {
        { 0x00, S("\0") },
        { 0x7F, S("\x7F") },
        { 0x80, S("\xC2\x80") },
        { 0x7FF, S("\xDF\xBF") },
        { 0x800, S("\xE0\xA0\x80") },
        { 0xFFF, S("\xE0\xBF\xBF") },
        { 0x1000, S("\xE1\x80\x80") },
        { 0xCFFF, S("\xEC\xBF\xBF") },
        { 0xD7FF, S("\xED\x9F\xBF") },
        { 0xE000, S("\xEE\x80\x80") },
        { 0xFFFD, S("\xEF\xBF\xBD") },
        { 0xFFFF, S("\xEF\xBF\xBF") },
        { 0x10000, S("\xF0\x90\x80\x80") },
        { 0x3FFFF, S("\xF0\xBF\xBF\xBF") },
        { 0x40000, S("\xF1\x80\x80\x80") },
        { 0xFFFFF, S("\xF3\xBF\xBF\xBF") },
        { 0x100000, S("\xF4\x80\x80\x80") },
        { 0x10FFFF, S("\xF4\x8F\xBF\xBF") },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT;
        slice s = rows[i].octets;
        uint32_t cp = 77;

        utf8_put(&b, rows[i].cp);
        if (!slice_eq(buf_slice(&b), rows[i].octets) || !utf8_valid(rows[i].octets))
            fail_msg("row %zu: written form", i);
        if (!utf8_next(&s, &cp) || cp != rows[i].cp || s.len != 0)
            fail_msg("row %zu: read as U+%04X", i, cp);
        for (size_t cut = 1; cut < rows[i].octets.len; cut++)
            if (utf8_valid(slice_sub(rows[i].octets, 0, cut)))
                fail_msg("row %zu: valid when cut at %zu", i, cut);
        buf_free(&b);
    }
}

static void utf8__refuses_what_rfc_3629_forbids(void **state)
{
    static const slice rows[] = {
        S("\x80"),             /* a tail alone */
        S("\xBF"),
        S("\xC0\x80"),         /* overlong in two */
        S("\xC1\xBF"),
        S("\xE0\x80\x80"),     /* overlong in three */
        S("\xE0\x9F\xBF"),
        S("\xF0\x80\x80\x80"), /* overlong in four */
        S("\xF0\x8F\xBF\xBF"),
        S("\xED\xA0\x80"),     /* surrogates */
        S("\xED\xBF\xBF"),
        S("\xED\xA0\x80\xED\xB0\x80"),
        S("\xF4\x90\x80\x80"), /* above U+10FFFF */
        S("\xF5\x80\x80\x80"),
        S("\xF8\x88\x80\x80\x80"),
        S("\xFC\x84\x80\x80\x80\x80"),
        S("\xFE"),
        S("\xFF"),
        S("\xC2\x41"),         /* no tail */
        S("\xC2\xC2"),
        S("\xE1\x80\x41"),
        S("\xE1\xC0\x80"),
        S("\xF1\x80\x80\xC0"),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        slice s = rows[i];
        uint32_t cp = 77;

        if (utf8_valid(s) || utf8_next(&s, &cp) || cp != 77 || s.ptr != rows[i].ptr || s.len != rows[i].len)
            fail_msg("row %zu", i);
    }
}

/* All characters: written and read back, and nothing but them is read. */
static void utf8__round_trips_every_character(void **state)
{
    struct buf b = BUF_INIT;
    uint32_t cp = 0, want = 0;
    slice s;

    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c = c == 0xD7FF ? 0xE000 : c + 1)
        utf8_put(&b, c);
    assert_int_equal(b.len, 128 + 1920 * 2 + (63488 - 2048) * 3 + 1048576 * 4);
    s = buf_slice(&b);
    assert_true(utf8_valid(s));
    while (utf8_next(&s, &cp)) {
        assert_int_equal(cp, want);
        want = want == 0xD7FF ? 0xE000 : want + 1;
    }
    assert_int_equal(s.len, 0);
    assert_int_equal(want, 0x110000);
    buf_free(&b);
}

/* Every pair of octets: validity follows the grammar. */
static void utf8__pairs_follow_the_grammar(void **state)
{
    (void)state;
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            unsigned char pair[2] = { (unsigned char)a, (unsigned char)b };
            bool want = (a < 0x80 && b < 0x80) || (a >= 0xC2 && a <= 0xDF && b >= 0x80 && b <= 0xBF);

            assert_int_equal(utf8_valid(slice_of(pair, 2)), want);
        }
    }
}

/* The steps of eight octets must see a bad octet in any lane, and a character across two steps. */
static void utf8_valid__sees_every_place(void **state)
{
    unsigned char text[40];

    (void)state;
    for (size_t len = 1; len <= sizeof(text); len++) {
        for (size_t at = 0; at < len; at++) {
            memset(text, 'a', len);
            assert_true(utf8_valid(slice_of(text, len)));
            assert_true(utf8_is_ascii(slice_of(text, len)));
            text[at] = 0xFF;
            assert_false(utf8_valid(slice_of(text, len)));
            assert_false(utf8_is_ascii(slice_of(text, len)));
            if (at + 1 < len) {
                memcpy(text + at, "\xC3\xBC", 2);
                assert_true(utf8_valid(slice_of(text, len)));
                assert_false(utf8_is_ascii(slice_of(text, len)));
            }
        }
    }
}

static void utf8__empty_is_valid_and_has_no_character(void **state)
{
    slice s = SLICE_NONE;
    uint32_t cp = 77;

    (void)state;
    assert_true(utf8_valid(s));
    assert_true(utf8_is_ascii(s));
    assert_false(utf8_next(&s, &cp));
    assert_int_equal(cp, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8__steps_over_the_edges_of_each_length),
        cmocka_unit_test(utf8__refuses_what_rfc_3629_forbids),
        cmocka_unit_test(utf8__round_trips_every_character),
        cmocka_unit_test(utf8__pairs_follow_the_grammar),
        cmocka_unit_test(utf8_valid__sees_every_place),
        cmocka_unit_test(utf8__empty_is_valid_and_has_no_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
