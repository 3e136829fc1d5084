/* Records of DNS: names, MX and their order, addresses, texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/dns_rr.h"

#define L63 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"

static void dns_name__is_of_labels(void **state)
{
    static const struct row {
        const char *text;
        bool is_valid;
    } rows[] = {
        { "example.test", true },
        { "example.test.", true },
        { "_dmarc.example.test", true },
        { "xn--bcher-kva.example", true },
        { "a", true },
        { "127.0.0.1", true },
        { L63 ".test", true },
        { L63 "x.test", false },
        { L63 "." L63 "." L63 "." "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxy", true }, /* 253 */
        { L63 "." L63 "." L63 "." "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz", false },
        { "", false },
        { ".", false },
        { "a..b", false },
        { ".a", false },
        { "a..", false },
        { "a b.test", false },
        { "b\xc3\xbc" "cher.example", false },
        { "a@b", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(dns_name_is_valid(slice_str(rows[i].text)), rows[i].is_valid);
    assert_false(dns_name_is_valid(slice_of("a\0b", 3)));
}

#define WIRE(text) { (const unsigned char *)(text), sizeof(text) - 1 }

static void dns_name__is_read_from_the_wire(void **state)
{
    static const struct row {
        slice wire;
        const char *text; /* NULL: malformed */
    } rows[] = {
        { WIRE("\4Mail\7Example\4test\0"), "mail.example.test" },
        { WIRE("\0"), "" },
        { WIRE("\1a\0"), "a" },
        { WIRE(""), NULL },
        { WIRE("\1a"), NULL },             /* no root at the end */
        { WIRE("\5abc\0"), NULL },         /* the label is shorter */
        { WIRE("\1a\0x"), NULL },          /* something behind it */
        { WIRE("\300\014"), NULL },        /* a pointer: there are none in record data here */
        { WIRE("\3a b\0"), NULL },
        { WIRE("\3a.b\0"), NULL },
        { WIRE("\2a\0\0"), NULL },
    };
    struct arena mem;

    (void)state;
    arena_init(&mem, 512);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        slice name;
        assert_int_equal(dns_name_read(rows[i].wire, &mem, &name), rows[i].text != NULL);
        if (rows[i].text != NULL)
            assert_true(slice_eq(name, slice_str(rows[i].text)));
    }
    struct buf longest = BUF_INIT;
    for (unsigned i = 0; i < 127; i++)
        buf_put(&longest, "\1a", 2); /* 253 octets as text */
    buf_put(&longest, "", 1);
    slice name;
    assert_true(dns_name_read(buf_slice(&longest), &mem, &name));
    assert_int_equal(name.len, 253);
    longest.len--;
    buf_put(&longest, "\1a\0", 3);
    assert_false(dns_name_read(buf_slice(&longest), &mem, &name));
    buf_free(&longest);
    arena_free(&mem);
}

static void dns_mx__is_ordered_by_preference_and_chance(void **state)
{
    static const struct dns_mx all[] = {
        { { (const unsigned char *)"d", 1 }, 20 }, { { (const unsigned char *)"a", 1 }, 10 },
        { { (const unsigned char *)"b", 1 }, 10 }, { { (const unsigned char *)"e", 1 }, 65535 },
        { { (const unsigned char *)"c", 1 }, 10 }, { { (const unsigned char *)"z", 1 }, 0 },
    };
    unsigned first[3] = { 0 };
    struct rng rng;

    (void)state;
    rng_init(&rng, 7);
    for (unsigned n = 0; n < 3000; n++) {
        struct dns_mx mx[6];
        memcpy(mx, all, sizeof mx);
        dns_mx_order(mx, 6, &rng);
        assert_int_equal(mx[0].name.ptr[0], 'z');
        assert_int_equal(mx[4].name.ptr[0], 'd');
        assert_int_equal(mx[5].name.ptr[0], 'e');
        assert_int_equal(mx[1].preference + mx[2].preference + mx[3].preference, 30);
        first[mx[1].name.ptr[0] - 'a']++;
    }
    for (unsigned i = 0; i < 3; i++) /* each of the equal ones comes first about as often */
        assert_in_range(first[i], 900, 1100);
}

static void dns_mx__leaves_out_who_is_not_closer(void **state)
{
    static const struct dns_mx mx[] = {
        { { (const unsigned char *)"a", 1 }, 5 },   { { (const unsigned char *)"b", 1 }, 10 },
        { { (const unsigned char *)"me", 2 }, 10 }, { { (const unsigned char *)"c", 1 }, 10 },
        { { (const unsigned char *)"d", 1 }, 20 },
    };

    (void)state;
    assert_int_equal(dns_mx_before(mx, 5, SLICE("me")), 1);
    assert_int_equal(dns_mx_before(mx, 5, SLICE("ME.")), 1);
    assert_int_equal(dns_mx_before(mx, 5, SLICE("a")), 0);
    assert_int_equal(dns_mx_before(mx, 5, SLICE("d")), 4);
    assert_int_equal(dns_mx_before(mx, 5, SLICE("other")), 5);
    assert_int_equal(dns_mx_before(mx, 5, SLICE("")), 5);
    assert_int_equal(dns_mx_before(mx, 0, SLICE("me")), 0);
}

static void dns_mx__is_read(void **state)
{
    struct dns_mx mx;
    struct arena mem;

    (void)state;
    arena_init(&mem, 512);
    assert_true(dns_mx_read(slice_of("\1\2\2mx\0", 6), &mem, &mx));
    assert_int_equal(mx.preference, 258);
    assert_true(slice_eq(mx.name, SLICE("mx")));
    assert_true(dns_mx_read(slice_of("\0\0\0", 3), &mem, &mx));
    assert_int_equal(mx.name.len, 0);
    assert_false(dns_mx_read(slice_of("\0\0", 2), &mem, &mx));
    assert_false(dns_mx_read(slice_of("\0", 1), &mem, &mx));
    arena_free(&mem);
}

static void dns_addr__is_of_a_host(void **state)
{
    static const struct row {
        unsigned type;
        slice data;
        const char *text; /* NULL: refused */
    } rows[] = {
        { DNS_TYPE_A, WIRE("\300\0\2\1"), "192.0.2.1" },
        { DNS_TYPE_A, WIRE("\177\0\0\1"), "127.0.0.1" },
        { DNS_TYPE_A, WIRE("\0\0\0\0"), NULL },
        { DNS_TYPE_A, WIRE("\0\1\2\3"), NULL },
        { DNS_TYPE_A, WIRE("\340\0\0\1"), NULL },
        { DNS_TYPE_A, WIRE("\377\377\377\377"), NULL },
        { DNS_TYPE_A, WIRE("\1\2\3"), NULL },
        { DNS_TYPE_A, WIRE("\1\2\3\4\5"), NULL },
        { DNS_TYPE_AAAA, WIRE("\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1"), "2001:db8::1" },
        { DNS_TYPE_AAAA, WIRE("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), NULL },
        { DNS_TYPE_AAAA, WIRE("\xff\2\0\0\0\0\0\0\0\0\0\0\0\0\0\1"), NULL },
        { DNS_TYPE_AAAA, WIRE("\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1"), NULL },
        { DNS_TYPE_AAAA, WIRE("\1\2\3\4"), NULL },
        { DNS_TYPE_MX, WIRE("\1\2\3\4"), NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct net_addr a;
        struct buf text = BUF_INIT;
        assert_int_equal(dns_addr_read(rows[i].type, rows[i].data, &a), rows[i].text != NULL);
        if (rows[i].text != NULL) {
            net_addr_print_host(&a, &text);
            assert_string_equal(buf_str(&text), rows[i].text);
        }
        buf_free(&text);
    }
}

static void dns_text__joins_strings(void **state)
{
    slice text;
    struct arena mem;

    (void)state;
    arena_init(&mem, 512);
    assert_true(dns_text_read(slice_of("\3v=s\2pf", 7), &mem, &text));
    assert_true(slice_eq(text, SLICE("v=spf")));
    assert_true(dns_text_read(slice_of("\0", 1), &mem, &text));
    assert_int_equal(text.len, 0);
    assert_false(dns_text_read(slice_of("\4v=s", 4), &mem, &text));
    arena_free(&mem);
}

static void dns_reverse_name__is_of_either_family(void **state)
{
    static const struct row {
        const char *addr, *name;
    } rows[] = {
        { "192.0.2.1:25", "1.2.0.192.in-addr.arpa" },
        { "[::ffff:192.0.2.1]:25", "1.2.0.192.in-addr.arpa" },
        { "[2001:db8::567:89ab]:25", "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa" },
        { "unix:/x", "" },
    };
    struct arena mem;

    (void)state;
    arena_init(&mem, 512);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct net_addr a;
        assert_int_equal(net_addr_parse(slice_str(rows[i].addr), &a, NULL), 0);
        assert_true(slice_eq(dns_reverse_name(&a, &mem), slice_str(rows[i].name)));
    }
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dns_name__is_of_labels),
        cmocka_unit_test(dns_name__is_read_from_the_wire),
        cmocka_unit_test(dns_mx__is_ordered_by_preference_and_chance),
        cmocka_unit_test(dns_mx__leaves_out_who_is_not_closer),
        cmocka_unit_test(dns_mx__is_read),
        cmocka_unit_test(dns_addr__is_of_a_host),
        cmocka_unit_test(dns_text__joins_strings),
        cmocka_unit_test(dns_reverse_name__is_of_either_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
