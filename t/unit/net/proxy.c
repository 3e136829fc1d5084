#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/proxy.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define LIT(s) { (const unsigned char *)(s), sizeof(s) - 1 }

static const struct {
    slice in;
    enum proxy_result result;
    size_t used;
    const char *peer, *local;
} rows[] = {
    { LIT("PROXY TCP4 192.0.2.1 192.0.2.2 56324 25\r\nEHLO"), PROXY_OK, 41, "192.0.2.1:56324", "192.0.2.2:25" },
    { LIT("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"), PROXY_OK, 36, "[2001:db8::1]:1", "[::1]:65535" },
    { LIT("PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n"), PROXY_OK, 35, "1.2.3.4:1", "[::1]:2" },
    { LIT("PROXY UNKNOWN\r\n"), PROXY_OK, 15, "unknown", "unknown" },
    { LIT("PROXY UNKNOWN what ever stands here\r\nx"), PROXY_OK, 37, "unknown", "unknown" },
    { LIT("PROXY TCP4 192.0.2.1 192.0.2.2 56324 25\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY TCP4 192.0.2.1  192.0.2.2 56324 25\r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY TCP4 192.0.2.1 192.0.2.2 56324 25 \r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY TCP4 ::1 ::1 1 2\r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY TCP4 192.0.2.1/8 192.0.2.2 1 2\r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY TCP4 unix unix 1 2\r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY \r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXX"), PROXY_BAD, 0, NULL, NULL },
    { LIT("EHLO x\r\n"), PROXY_BAD, 0, NULL, NULL },
    { LIT("PROXY UNKNOWN 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
          "123456789\r\n"),
      PROXY_BAD, 0, NULL, NULL },
    { LIT(V2 "\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\0\x19x"), PROXY_OK, 28, "192.0.2.1:56324",
      "192.0.2.2:25" },
    { LIT(V2 "\x21\x11\0\x0f\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\0\x19\x04\0\0x"), PROXY_OK, 31, "192.0.2.1:56324",
      "192.0.2.2:25" },
    { LIT(V2 "\x21\x21\0\x24 \1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\7\0\x19"), PROXY_OK, 52,
      "[2001:db8::1]:7", "[::1]:25" },
    { LIT(V2 "\x20\0\0\0"), PROXY_OK, 16, "unknown", "unknown" },
    { LIT(V2 "\x20\x11\0\x02\1\2"), PROXY_OK, 18, "unknown", "unknown" },
    { LIT(V2 "\x21\x31\0\x02\1\2"), PROXY_OK, 18, "unknown", "unknown" },
    { LIT(V2 "\x21\x11\0\x0b\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\0"), PROXY_BAD, 0, NULL, NULL },
    { LIT(V2 "\x22\x11\0\x0c"), PROXY_BAD, 0, NULL, NULL },
    { LIT(V2 "\x11\x11\0\x0c"), PROXY_BAD, 0, NULL, NULL },
    { LIT(V2 "\x21\x11\xff\xff"), PROXY_BAD, 0, NULL, NULL },
};

static void proxy__reads_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf text = BUF_INIT;
        struct net_addr peer, local;
        size_t used;
        const enum proxy_result r = proxy_parse(rows[i].in, &peer, &local, &used);
        if (r != rows[i].result || used != rows[i].used)
            fail_msg("row %zu gave %d, used %zu", i, (int)r, used);
        if (r != PROXY_OK) {
            assert_int_equal(peer.len + local.len, 0);
            continue;
        }
        net_addr_print(&peer, &text);
        assert_string_equal(buf_str(&text), rows[i].peer);
        buf_reset(&text);
        net_addr_print(&local, &text);
        assert_string_equal(buf_str(&text), rows[i].local);
        buf_free(&text);
    }
}

static void proxy__asks_for_more_of_every_beginning(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t cut = 0; rows[i].result == PROXY_OK && cut < rows[i].used; cut++) {
            struct net_addr peer, local;
            size_t used;
            if (proxy_parse(slice_sub(rows[i].in, 0, cut), &peer, &local, &used) != PROXY_MORE || used != 0)
                fail_msg("row %zu cut at %zu", i, cut);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proxy__reads_headers),
        cmocka_unit_test(proxy__asks_for_more_of_every_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
