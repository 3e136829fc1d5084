#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pop3/syntax.h"

static void pop3_line_parse__table(void **state)
{
    static const struct {
        const char *line, *verb, *rest; /* verb NULL: refused */
        unsigned words;
    } rows[] = {
        { "STAT", "STAT", "", 0 },
        { "list 12", "list", "12", 1 },
        { "TOP 1 20", "TOP", "1 20", 2 },
        { "TOP  1   20 ", "TOP", " 1   20 ", 2 },
        { "PASS a b  c d e", "PASS", "a b  c d e", 4 },
        { "ABCDE", NULL, NULL, 0 },
        { "AB", NULL, NULL, 0 },
        { "", NULL, NULL, 0 },
        { "1234", NULL, NULL, 0 },
        { " STAT", NULL, NULL, 0 },
        { "ST\xc3\xa4T", NULL, NULL, 0 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pop3_line line;
        bool ok = pop3_line_parse(slice_str(rows[i].line), &line);

        if (ok != (rows[i].verb != NULL))
            fail_msg("row %u: %s", i, ok ? "was accepted" : "was refused");
        if (!ok)
            continue;
        if (!slice_eq(line.verb, slice_str(rows[i].verb)) || !slice_eq(line.rest, slice_str(rows[i].rest)) ||
            line.word_count != rows[i].words)
            fail_msg("row %u: \"%.*s\" \"%.*s\" %u", i, SLICE_ARG(line.verb), SLICE_ARG(line.rest), line.word_count);
    }
}

static void pop3_number__limits(void **state)
{
    uint32_t n;

    (void)state;
    assert_true(pop3_number(SLICE("4294967295"), &n));
    assert_int_equal(n, UINT32_MAX);
    assert_false(pop3_number(SLICE("4294967296"), &n));
    assert_false(pop3_number(SLICE("00000000001"), &n));
    assert_false(pop3_number(SLICE("-1"), &n));
    assert_false(pop3_number(SLICE(""), &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(pop3_line_parse__table),
                                        cmocka_unit_test(pop3_number__limits) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
