#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/net_addr.h"

static void net_addr__reads_and_prints_addresses(void **state)
{
    static const struct {
        const char *text, *full, *host, *literal; /* full NULL: refused */
        unsigned port;
        bool is_loopback;
    } rows[] = {
        { "127.0.0.1:25", "127.0.0.1:25", "127.0.0.1", "[127.0.0.1]", 25, true },
        { "127.9.8.7:25", "127.9.8.7:25", "127.9.8.7", "[127.9.8.7]", 25, true },
        { "192.0.2.1:0", "192.0.2.1:0", "192.0.2.1", "[192.0.2.1]", 0, false },
        { "[::1]:65535", "[::1]:65535", "::1", "[IPv6:::1]", 65535, true },
        { "[2001:DB8::1]:143", "[2001:db8::1]:143", "2001:db8::1", "[IPv6:2001:db8::1]", 143, false },
        { "[::ffff:127.0.0.1]:7", "127.0.0.1:7", "127.0.0.1", "[127.0.0.1]", 7, true },
        { "*:25", "[::]:25", "::", "[IPv6:::]", 25, false },
        { "/run/x", "unix:/run/x", "unix", "[127.0.0.1]", 0, true },
        { "unix:run/x", "unix:run/x", "unix", "[127.0.0.1]", 0, true },
        { "", NULL, NULL, NULL, 0, false },
        { "25", NULL, NULL, NULL, 0, false },
        { ":25", NULL, NULL, NULL, 0, false },
        { "127.0.0.1", NULL, NULL, NULL, 0, false },
        { "127.0.0.1:", NULL, NULL, NULL, 0, false },
        { "127.0.0.1:65536", NULL, NULL, NULL, 0, false },
        { "127.0.0.1:-1", NULL, NULL, NULL, 0, false },
        { "127.0.0.256:25", NULL, NULL, NULL, 0, false },
        { "127.1:25", NULL, NULL, NULL, 0, false },
        { "[127.0.0.1]:25", NULL, NULL, NULL, 0, false },
        { "::1:25", NULL, NULL, NULL, 0, false },
        { "[::1:25", NULL, NULL, NULL, 0, false },
        { "[]:25", NULL, NULL, NULL, 0, false },
        { "localhost:25", NULL, NULL, NULL, 0, false },
        { "unix:", NULL, NULL, NULL, 0, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf full = BUF_INIT, host = BUF_INIT, literal = BUF_INIT;
        struct err err = ERR_INIT;
        struct net_addr a;
        const int rc = net_addr_parse(slice_str(rows[i].text), &a, &err);
        if (rc != (rows[i].full == NULL ? -1 : 0))
            fail_msg("row %zu: \"%s\" gave %d", i, rows[i].text, rc);
        if (rc < 0) {
            assert_int_equal(err.kind, ERR_SYNTAX);
            assert_int_equal(a.len, 0);
            continue;
        }
        net_addr_print(&a, &full);
        net_addr_print_host(&a, &host);
        net_addr_print_literal(&a, &literal);
        assert_string_equal(buf_str(&full), rows[i].full);
        assert_string_equal(buf_str(&host), rows[i].host);
        assert_string_equal(buf_str(&literal), rows[i].literal);
        assert_int_equal(net_addr_port(&a), rows[i].port);
        if (net_addr_is_loopback(&a) != rows[i].is_loopback)
            fail_msg("row %zu: loopback", i);
        buf_free(&full);
        buf_free(&host);
        buf_free(&literal);
    }
}

static void net_addr__refuses_paths_that_do_not_fit(void **state)
{
    unsigned char path[200];
    struct net_addr a;

    (void)state;
    memset(path, 'x', sizeof path);
    path[0] = '/';
    assert_int_equal(net_addr_parse(slice_of(path, 107), &a, NULL), 0);
    assert_int_equal(net_addr_parse(slice_of(path, 108), &a, NULL), -1);
    path[5] = '\0';
    assert_int_equal(net_addr_parse(slice_of(path, 20), &a, NULL), -1);
}

static void net_addr__compares_by_what_is_meant(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } rows[] = {
        { "127.0.0.1:25", "127.0.0.1:25", true },  { "127.0.0.1:25", "[::ffff:127.0.0.1]:25", true },
        { "127.0.0.1:25", "127.0.0.1:26", false }, { "127.0.0.1:25", "127.0.0.2:25", false },
        { "[::1]:25", "[0:0::1]:25", true },       { "[::1]:25", "127.0.0.1:25", false },
        { "/a", "unix:/a", true },                 { "/a", "/b", false },
        { "/a", "127.0.0.1:0", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct net_addr a, b;
        assert_int_equal(net_addr_parse(slice_str(rows[i].a), &a, NULL), 0);
        assert_int_equal(net_addr_parse(slice_str(rows[i].b), &b, NULL), 0);
        if (net_addr_eq(&a, &b) != rows[i].equal || net_addr_eq(&b, &a) != rows[i].equal)
            fail_msg("row %zu", i);
        net_addr_unmap(&b);
        if (net_addr_eq(&a, &b) != rows[i].equal)
            fail_msg("row %zu unmapped", i);
    }
}

static void net_range__has_its_addresses(void **state)
{
    static const struct {
        const char *range, *addr;
        int has; /* -1: no range */
    } rows[] = {
        { "10.0.0.0/8", "10.255.1.2:1", 1 },
        { "10.0.0.0/8", "11.0.0.0:1", 0 },
        { "10.9.9.9/8", "10.0.0.1:1", 1 },
        { "0.0.0.0/0", "200.1.2.3:1", 1 },
        { "0.0.0.0/0", "[2001:db8::1]:1", 0 },
        { "::/0", "[2001:db8::1]:1", 1 },
        { "::/0", "10.0.0.1:1", 0 },
        { "192.0.2.128/25", "192.0.2.127:1", 0 },
        { "192.0.2.128/25", "192.0.2.128:1", 1 },
        { "192.0.2.1", "192.0.2.1:1", 1 },
        { "192.0.2.1", "192.0.2.2:1", 0 },
        { "192.0.2.0/31", "[::ffff:192.0.2.1]:1", 1 },
        { "::ffff:192.0.2.0/120", "192.0.2.9:1", 1 },
        { "::ffff:192.0.2.0/120", "192.0.3.9:1", 0 },
        { "2001:db8::/33", "[2001:db8:7fff::1]:1", 1 },
        { "2001:db8::/33", "[2001:db8:8000::1]:1", 0 },
        { "unix", "/x", 1 },
        { "unix", "127.0.0.1:1", 0 },
        { "127.0.0.0/8", "/x", 0 },
        { "10.0.0.0/33", "", -1 },
        { "::1/129", "", -1 },
        { "10.0.0.0/", "", -1 },
        { "10.0.0/8", "", -1 },
        { "/8", "", -1 },
        { "", "", -1 },
        { "::ffff:1.2.3.4/90", "", -1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct net_range r;
        struct net_addr a;
        const int rc = net_range_parse(slice_str(rows[i].range), &r, NULL);
        if ((rc < 0) != (rows[i].has < 0))
            fail_msg("row %zu gave %d", i, rc);
        if (rc < 0)
            continue;
        assert_int_equal(net_addr_parse(slice_str(rows[i].addr), &a, NULL), 0);
        if (net_range_has(&r, &a) != (rows[i].has == 1))
            fail_msg("row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(net_addr__reads_and_prints_addresses),
        cmocka_unit_test(net_addr__refuses_paths_that_do_not_fit),
        cmocka_unit_test(net_addr__compares_by_what_is_meant),
        cmocka_unit_test(net_range__has_its_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
