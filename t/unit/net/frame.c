#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/frame.h"

#define LIT(s) { (const unsigned char *)(s), sizeof(s) - 1 }

/* Feed all of in, `step` octets more at a time, and write what comes down: lines as "text|", TOO_LONG as "L|", BARE as
 * "B|". */
static void lines_read(slice in, size_t step, size_t max, bool lf_ok, struct buf *out)
{
    struct line_state st = { 0 };
    size_t at = 0, have = 0;

    for (;;) {
        slice line;
        size_t used;
        const enum frame f = frame_line(&st, slice_sub(in, at, have - at), max, lf_ok, &line, &used);
        at += used;
        if (f == FRAME_MORE && have == in.len)
            return;
        if (f == FRAME_MORE) {
            have = have + step < in.len ? have + step : in.len;
            continue;
        }
        if (f == FRAME_OK)
            buf_put_slice(out, line);
        buf_put_str(out, f == FRAME_OK ? "|" : f == FRAME_BARE ? "B|" : "L|");
    }
}

static void frame_line__gives_the_same_however_cut(void **state)
{
    static const struct {
        slice in;
        bool lf_ok;
        const char *out; /* with max 5 */
    } rows[] = {
        { LIT("a\r\nbc\r\n\r\nrest"), false, "a|bc||" },
        { LIT("a\nb\r\n"), false, "B|b|" },
        { LIT("a\nb\r\n\n"), true, "a|b||" },
        { LIT("12345\r\n123456\r\n12345\r\n"), false, "12345|L|12345|" },
        { LIT("12345\n123456\n1\n"), true, "12345|L|1|" },
        { LIT("12345\n123456\n1\n"), false, "B|L|B|" },
        { LIT("1\r2\r\n1\r\r\n\r\r\nx\r\n"), false, "B|B|B|x|" },
        { LIT("1\0002\r\n\0\r\nx\r\n"), false, "B|B|x|" },
        { LIT("1\r2\r\n"), true, "B|" },
        { LIT("12345678901234567890123456789012345\r\r\r\0\r\nx\r\n"), false, "L|x|" },
        { LIT("\r\n\r\n"), false, "||" },
        { LIT("12345\r"), false, "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = 1; step <= rows[i].in.len; step++) {
            struct buf out = BUF_INIT;
            lines_read(rows[i].in, step, 5, rows[i].lf_ok, &out);
            if (strcmp(buf_str(&out), rows[i].out) != 0)
                fail_msg("row %zu, %zu octets at a time: \"%s\"", i, step, buf_str(&out));
            buf_free(&out);
        }
    }
}

static void frame_line__keeps_no_more_than_a_line(void **state)
{
    static unsigned char big[10000];
    struct line_state st = { 0 };
    slice line;
    size_t used;

    (void)state;
    memset(big, 'x', sizeof big);
    assert_int_equal(frame_line(&st, slice_of(big, 101), 100, false, &line, &used), FRAME_MORE);
    assert_int_equal(used, 0); /* it may be 100 octets and a CR */
    assert_int_equal(frame_line(&st, slice_of(big, 102), 100, false, &line, &used), FRAME_MORE);
    assert_int_equal(used, 102);
    assert_int_equal(frame_line(&st, slice_of(big, sizeof big), 100, false, &line, &used), FRAME_MORE);
    assert_int_equal(used, sizeof big);
    assert_int_equal(frame_line(&st, slice_of("y\n", 2), 100, false, &line, &used), FRAME_TOO_LONG);
}

/* The message's octets; "!" once something bare was met; "$" at its end; then what follows. */
static void dots_read(slice in, size_t step, struct buf *out)
{
    struct dot_state st = { .at = DOT_BOL };
    size_t at = 0, have = 0;
    bool is_bad = false;

    for (;;) {
        slice part;
        size_t used;
        bool end;
        const enum frame f = frame_dot(&st, slice_sub(in, at, have - at), &part, &end, &used);
        at += used;
        if (f == FRAME_MORE && have == in.len)
            break;
        if (f == FRAME_MORE) {
            have = have + step < in.len ? have + step : in.len;
            continue;
        }
        is_bad |= f == FRAME_BARE;
        buf_put_slice(out, part);
        if (end) {
            buf_put_str(out, is_bad ? "!$" : "$");
            buf_put_slice(out, slice_from(in, at));
            return;
        }
    }
    if (st.is_bad)
        buf_put_str(out, "!");
}

static void frame_dot__gives_the_same_however_cut(void **state)
{
    static const struct {
        slice in;
        const char *out;
    } rows[] = {
        { LIT(".\r\nQUIT"), "$QUIT" },
        { LIT("a\r\n.\r\n"), "a\r\n$" },
        { LIT("a\r\n..\r\n...b\r\n.c\r\n.\r\n"), "a\r\n.\r\n..b\r\nc\r\n$" },
        { LIT("..\r\n.\r\n"), ".\r\n$" },
        { LIT("\r\n\r\n.\r\n.\r\n"), "\r\n\r\n$.\r\n" },
        { LIT("a.\r\n.\r\n"), "a.\r\n$" },
        { LIT("a\r\n.x.\r\n.\r\n"), "a\r\nx.\r\n$" },
        /* the ways to smuggle: none of these is an end */
        { LIT("a\r\n.\nMAIL\r\n.\r\n"), "a\r\n\nMAIL\r\n!$" },
        { LIT("a\n.\r\nMAIL\r\n.\r\n"), "a\n.\r\nMAIL\r\n!$" },
        { LIT("a\n.\nMAIL\r\n.\r\n"), "a\n.\nMAIL\r\n!$" },
        { LIT("a\r.\r\nMAIL\r\n.\r\n"), "a\r.\r\nMAIL\r\n!$" },
        { LIT("a\r.\rMAIL\r\n.\r\n"), "a\r.\rMAIL\r\n!$" },
        { LIT("a\r\n.\r.\nMAIL\r\n.\r\n"), "a\r\n.\nMAIL\r\n!$" },
        { LIT("a\r\n.\r\r\nMAIL\r\n.\r\n"), "a\r\n\r\nMAIL\r\n!$" },
        { LIT("a\r\r\n.\r\n"), "a\r\r\n!$" },
        { LIT(".\n.\r\n"), "\n.\r\n!" },
        { LIT("\n.\r\n\r\n.\r\nx"), "\n.\r\n\r\n!$x" },
        { LIT("a\r\n\n.\r\n\r\n.\r\n"), "a\r\n\n.\r\n\r\n!$" },
        { LIT("a\r\n."), "a\r\n" },
        { LIT("a\r\n.\r"), "a\r\n" },
        { LIT(""), "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t step = 1; step <= rows[i].in.len; step++) {
            struct buf out = BUF_INIT;
            dots_read(rows[i].in, step, &out);
            if (strcmp(buf_str(&out), rows[i].out) != 0)
                fail_msg("row %zu, %zu octets at a time: \"%s\"", i, step, buf_str(&out));
            buf_free(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_line__gives_the_same_however_cut),
        cmocka_unit_test(frame_line__keeps_no_more_than_a_line),
        cmocka_unit_test(frame_dot__gives_the_same_however_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
