#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

static void buf__collects_all_kinds_of_pieces(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    buf_put(&b, "ab", 2);
    buf_put(&b, NULL, 0);
    buf_put_slice(&b, SLICE("c\0"));
    buf_put_slice(&b, SLICE_NONE);
    buf_put_str(&b, "de");
    buf_put_byte(&b, 0xFF);
    memcpy(buf_extend(&b, 2), "xy", 2);
    assert_int_equal(b.len, 9);
    assert_memory_equal(b.ptr, "abc\0de\xFFxy", 9);
    assert_true(slice_eq(buf_slice(&b), SLICE("abc\0de\xFFxy")));
    buf_free(&b);
    assert_null(b.ptr);
    assert_int_equal(b.cap, 0);
}

static void buf__growth_doubles(void **state)
{
    struct buf b;
    size_t grown = 0, cap = 0;

    (void)state;
    buf_init(&b);
    for (size_t i = 0; i < 100000; i++) {
        buf_put_byte(&b, (unsigned char)i);
        if (b.cap != cap) {
            assert_true(cap == 0 || b.cap >= 2 * cap);
            cap = b.cap;
            grown++;
        }
    }
    assert_in_range(grown, 1, 17);
    for (size_t i = 0; i < 100000; i++)
        assert_int_equal(b.ptr[i], (unsigned char)i);
    buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, cap);
    buf_free(&b);
}

static void buf_reserve__makes_room_without_length(void **state)
{
    struct buf b = BUF_INIT;
    unsigned char *p;

    (void)state;
    buf_put_str(&b, "x");
    buf_reserve(&b, 1000);
    p = b.ptr;
    assert_int_equal(b.len, 1);
    memset(buf_extend(&b, 1000), 'y', 1000);
    assert_ptr_equal(b.ptr, p);
    buf_free(&b);
}

static void buf_put_u64__writes_decimal(void **state)
{
    static const struct {
        uint64_t v;
        const char *text;
    } rows[] = { { 0, "0" }, { 9, "9" }, { 10, "10" }, { 4294967296u, "4294967296" },
                 { UINT64_MAX, "18446744073709551615" } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT;

        buf_put_u64(&b, rows[i].v);
        assert_string_equal(buf_str(&b), rows[i].text);
        buf_free(&b);
    }
}

/* Lengths around every capacity: the text may or may not fit, with or without its NUL. */
static void buf_printf__fits_at_every_length(void **state)
{
    (void)state;
    for (int len = 0; len < 300; len++) {
        struct buf b = BUF_INIT;

        buf_put_byte(&b, '<');
        buf_printf(&b, "%*s>", len, "");
        assert_int_equal(b.len, len + 2);
        assert_int_equal(b.ptr[0], '<');
        assert_int_equal(b.ptr[b.len - 1], '>');
        assert_true(b.len <= b.cap);
        buf_free(&b);
    }
}

static void buf_drop_front__moves_the_rest(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    buf_drop_front(&b, 0);
    buf_put_str(&b, "abcdef");
    buf_drop_front(&b, 0);
    buf_drop_front(&b, 2);
    assert_string_equal(buf_str(&b), "cdef");
    buf_drop_front(&b, 4);
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

static void buf_str__adds_no_length(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    assert_string_equal(buf_str(&b), "");
    assert_int_equal(b.len, 0);
    while (b.len < b.cap || b.cap < 64)
        buf_put_byte(&b, 'x'); /* full: the NUL needs growth */
    assert_int_equal(strlen(buf_str(&b)), b.len);
    buf_free(&b);
}

static void buf_take_str__empties_the_buffer(void **state)
{
    struct buf b = BUF_INIT;
    char *text;

    (void)state;
    buf_put_str(&b, "mine");
    text = buf_take_str(&b);
    assert_string_equal(text, "mine");
    assert_null(b.ptr);
    assert_int_equal(b.len, 0);
    mem_free(text);
    text = buf_take_str(&b);
    assert_string_equal(text, "");
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf__collects_all_kinds_of_pieces),
        cmocka_unit_test(buf__growth_doubles),
        cmocka_unit_test(buf_reserve__makes_room_without_length),
        cmocka_unit_test(buf_put_u64__writes_decimal),
        cmocka_unit_test(buf_printf__fits_at_every_length),
        cmocka_unit_test(buf_drop_front__moves_the_rest),
        cmocka_unit_test(buf_str__adds_no_length),
        cmocka_unit_test(buf_take_str__empties_the_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
