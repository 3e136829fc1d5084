/* Times as people type them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "control/when.h"

#define NOW_MS 1795249801000LL /* 2026-11-21 08:30:01 UTC */

static void when_parse__table(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } rows[] = {
        { "90s", NOW_MS - 90000 },
        { "15m", NOW_MS - 900000 },
        { "2h", NOW_MS - 7200000 },
        { "3d", NOW_MS - 3 * 86400000LL },
        { "1w", NOW_MS - 7 * 86400000LL },
        { "PT15M", NOW_MS - 900000 },
        { "p1d", NOW_MS - 86400000 },
        { "2026-11-21", NOW_MS - 8 * 3600000 - 30 * 60000 - 1000 },
        { "2026-11-21T08:30", NOW_MS - 1000 },
        { "2026-11-21 08:30:01", NOW_MS },
        { "2026-11-21T08:30:01Z", NOW_MS },
        { "08:30", NOW_MS - 1000 },
        { "08:30:59", NOW_MS + 58000 },
        { "today", NOW_MS - 8 * 3600000 - 30 * 60000 - 1000 },
        { "yesterday", NOW_MS - 32 * 3600000 - 30 * 60000 - 1000 },
        { "", -1 },
        { "s", -1 },
        { "5", -1 },
        { "5y", -1 },
        { "-5m", -1 },
        { "2026-13-01", -1 },
        { "2026-11-21T", -1 },
        { "2026-11-21T24:00", -1 },
        { "2026-11-21x", -1 },
        { "25:00", -1 },
        { "tomorrow", -1 },
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        int64_t ms = -1;
        int rc = when_parse(slice_str(rows[i].text), NOW_MS, &ms, &err);

        if ((rc == 0) != (rows[i].ms != -1) || (rc == 0 && ms != rows[i].ms))
            fail_msg("row %u \"%s\": %d, %lld", i, rows[i].text, rc, (long long)ms);
        if (rc < 0)
            assert_int_equal(err.kind, ERR_SYNTAX);
    }
}

static void when_length_print__table(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        { -5, "0s" },           { 999, "0s" },           { 12000, "12s" },        { 5 * 60000, "5m" },
        { 59 * 60000 + 59000, "59m" }, { 115 * 60000, "1h55m" }, { 3600000, "1h00m" }, { 76 * 3600000LL, "3d4h" },
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = BUF_INIT;

        when_length_print(rows[i].ms, &out);
        assert_string_equal(buf_str(&out), rows[i].text);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_parse__table),
        cmocka_unit_test(when_length_print__table),
    };

    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
