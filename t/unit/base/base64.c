#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/own.h"
#include "base/random.h"

#define S(lit) { (const unsigned char *)(lit), sizeof(lit) - 1 }

/* RFC 4648 10, and octets that reach the last characters of the alphabet. */
static const struct {
    slice plain, coded, modified;
} pairs[] = {
    { S(""), S(""), S("") },
    { S("f"), S("Zg=="), S("Zg") },
    { S("fo"), S("Zm8="), S("Zm8") },
    { S("foo"), S("Zm9v"), S("Zm9v") },
    { S("foob"), S("Zm9vYg=="), S("Zm9vYg") },
    { S("fooba"), S("Zm9vYmE="), S("Zm9vYmE") },
    { S("foobar"), S("Zm9vYmFy"), S("Zm9vYmFy") },
    { S("\0"), S("AA=="), S("AA") },
    { S("\xFF"), S("/w=="), S(",w") },
    { S("\xFB\xEF\xBE"), S("++++"), S("++++") },
    { S("\xFF\xFF\xFF"), S("////"), S(",,,,") },
};

static void base64__gives_the_values_of_rfc_4648(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct buf b = BUF_INIT;

        base64_encode(&b, pairs[i].plain);
        if (!slice_eq(buf_slice(&b), pairs[i].coded))
            fail_msg("row %zu: encoded", i);
        buf_reset(&b);
        if (!base64_decode(&b, pairs[i].coded) || !slice_eq(buf_slice(&b), pairs[i].plain))
            fail_msg("row %zu: decoded", i);
        buf_reset(&b);
        base64_decode_lenient(&b, pairs[i].coded);
        if (!slice_eq(buf_slice(&b), pairs[i].plain))
            fail_msg("row %zu: decoded leniently", i);
        buf_free(&b);
    }
}

static void base64_modified__has_comma_and_no_padding(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct buf b = BUF_INIT;

        base64_encode_modified(&b, pairs[i].plain);
        if (!slice_eq(buf_slice(&b), pairs[i].modified))
            fail_msg("row %zu: encoded", i);
        buf_reset(&b);
        if (!base64_decode_modified(&b, pairs[i].modified) || !slice_eq(buf_slice(&b), pairs[i].plain))
            fail_msg("row %zu: decoded", i);
        buf_free(&b);
    }
}

static void base64_decode__is_strict(void **state)
{
    static const slice rows[] = {
        S("Zg"),       S("Zg="),       S("Z"),        S("Z==="),  S("===="),     S("="),      S("=="),
        S("Zm8"),      S("Zm9v="),     S("Zg==Zg=="), S("Zm=v"),  S("Z=9v"),     S("Zm9v\n"), S("Zm9v\r\n\r\n"),
        S(" Zm9"),     S("Zm9v Zm9"),  S("Zm9,"),     S("Zm9-"),  S("Zm9_"),     S("Zm9\0"),  S("Zm9\xC3"),
        S("Zh=="),     S("Zm9="),      S("Zm9vYh=="), S("ZmA@"),  S("Zm[v"),     S("Zm`v"),   S("Zm{v"),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT;

        buf_put_str(&b, "kept");
        if (base64_decode(&b, rows[i]) || !slice_eq(buf_slice(&b), SLICE("kept")))
            fail_msg("row %zu", i);
        buf_free(&b);
    }
}

static void base64_decode_modified__is_strict(void **state)
{
    static const slice rows[] = { S("Z"), S("Zg=="), S("Zh"), S("Zm9"), S("Zm9v/w"), S("Zm9v Zg") };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT;

        if (base64_decode_modified(&b, rows[i]) || b.len != 0)
            fail_msg("row %zu", i);
        buf_free(&b);
    }
}

static void base64_decode_lenient__skips_and_stops(void **state)
{
    static const struct {
        slice coded, plain;
    } rows[] = {
        { S("Zm9v\r\nYmFy\r\n"), S("foobar") },
        { S("Z m*9\0v\xFF"), S("foo") },
        { S("Zg==Zm9v"), S("f") },     /* ends at padding */
        { S("Zm9vYg"), S("foob") },    /* padding is missing */
        { S("Zm9vY"), S("foo") },      /* six bits are no octet */
        { S("Zh=="), S("f") },         /* bits behind the last octet */
        { S("===="), S("") },
        { S("Zm9v=garbage"), S("foo") },
        { S(""), S("") },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT;

        base64_decode_lenient(&b, rows[i].coded);
        if (!slice_eq(buf_slice(&b), rows[i].plain))
            fail_msg("row %zu: \"%.*s\"", i, SLICE_ARG(buf_slice(&b)));
        buf_free(&b);
    }
}

static void base64__round_trips_random_octets(void **state)
{
    unsigned char data[200];
    struct rng r;

    (void)state;
    rng_init(&r, 61);
    for (int round = 0; round < 3000; round++) {
        slice plain = slice_of(data, rng_below(&r, sizeof(data) + 1));
        struct buf coded = BUF_INIT, back = BUF_INIT;

        for (size_t i = 0; i < plain.len; i++)
            data[i] = (unsigned char)rng_next(&r);
        base64_encode(&coded, plain);
        assert_int_equal(coded.len, (plain.len + 2) / 3 * 4);
        assert_true(base64_decode(&back, buf_slice(&coded)));
        assert_true(slice_eq(buf_slice(&back), plain));
        buf_reset(&coded);
        buf_reset(&back);
        base64_encode_modified(&coded, plain);
        assert_true(base64_decode_modified(&back, buf_slice(&coded)));
        assert_true(slice_eq(buf_slice(&back), plain));
        buf_free(&coded);
        buf_free(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64__gives_the_values_of_rfc_4648),
        cmocka_unit_test(base64_modified__has_comma_and_no_padding),
        cmocka_unit_test(base64_decode__is_strict),
        cmocka_unit_test(base64_decode_modified__is_strict),
        cmocka_unit_test(base64_decode_lenient__skips_and_stops),
        cmocka_unit_test(base64__round_trips_random_octets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
