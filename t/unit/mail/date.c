#include "mail_test.h"

#include "mail/date.h"

static void date_parse__table(void **state)
{
    static const struct {
        const char *in;
        int64_t seconds; /* -1: refused */
        int zone;
    } rows[] = {
        { "Fri, 21 Nov 1997 09:55:06 -0600", 880127706, -360 }, /* RFC 5322 A.1 */
        { "21 Nov 97 09:55:06 GMT", 880106106, 0 }, /* RFC 5322 A.6.2 */
        { "Tue, 1 Jul 2003 10:52:37 +0200", 1057049557, 120 },
        { "Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland "
          "Time)",
          -27723480, -210 }, /* RFC 5322 A.5 */
        { "Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880127706, -360 },
        { "29 Feb 2024 00:00:00 Z", 1709164800, 0 },
        { "29 Feb 2023 00:00:00 Z", -1, 0 },
        { "31 Apr 2023 00:00:00 Z", -1, 0 },
        { "1 Jan 1970 24:00:00 +0000", -1, 0 },
        { "1 Jan 1970 00:60:00 +0000", -1, 0 },
        { "1 Foo 1970 00:00:00 +0000", -1, 0 },
        { "1 Jan 2000 00:00:60 +0000", 946684860, 0 },
        { "1 Jan 100 00:00:00 EST", 946702800, -300 }, /* three digits: 1900 is added */
        { "", -1, 0 },
        { "Mon, ", -1, 0 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t ms = 0;
        int zone = 0;
        bool ok = date_parse(slice_str(rows[i].in), &ms, &zone);

        if (ok != (rows[i].seconds != -1))
            fail_msg("row %u: %s", i, ok ? "was accepted" : "was refused");
        if (!ok)
            continue;
        if (ms != rows[i].seconds * 1000 || zone != rows[i].zone)
            fail_msg("row %u: %lld, %d", i, (long long)ms / 1000, zone);
    }
}

static void date_print__is_read_back(void **state)
{
    (void)state;
    for (int64_t s = -2208988800; s < 4102444800; s += 86399 * 37 + 12345) {
        int zone = (int)((s / 7919) % 27 - 13) * 60 + (int)(s % 2) * 30, z;
        struct buf a = BUF_INIT, b = BUF_INIT;
        int64_t ms;

        date_print(s * 1000, zone, &a);
        assert_true(date_parse(buf_slice(&a), &ms, &z));
        assert_int_equal(ms, s * 1000);
        assert_int_equal(z, zone);
        date_print_imap(s * 1000, zone, &b);
        assert_true(date_parse_imap(slice_sub(buf_slice(&b), 1, b.len - 2), &ms, &z));
        assert_int_equal(ms, s * 1000);
        assert_int_equal(z, zone);
        buf_free(&a);
        buf_free(&b);
    }
}

static void date_print__exact(void **state)
{
    struct buf out = BUF_INIT;
    int64_t day;

    (void)state;
    date_print(880127706000, -360, &out);
    same(0, buf_slice(&out), "Fri, 21 Nov 1997 09:55:06 -0600");
    buf_reset(&out);
    date_print_imap(1057049557000, 120, &out);
    same(1, buf_slice(&out), "\" 1-Jul-2003 10:52:37 +0200\"");
    assert_true(date_parse_imap_day(SLICE("1-Feb-1994"), &day));
    assert_int_equal(day, 8797);
    assert_false(date_parse_imap_day(SLICE("30-Feb-1994"), &day));
    assert_false(date_parse_imap_day(SLICE("1-Feb-94"), &day));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(date_parse__table),
        cmocka_unit_test(date_print__is_read_back),
        cmocka_unit_test(date_print__exact),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
