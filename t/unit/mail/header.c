#include "mail_test.h"

#include "mail/header.h"

static void header_next__cuts_fields(void **state)
{
    slice block = SLICE("From: a@b\r\nSubject : one\r\n two\r\n\tthree\r\nno colon here\r\nX:\r\n\r\nbody");
    static const char *const want[][2] = {
        { "From", "a@b" }, { "Subject", "one\r\n two\r\n\tthree" }, { "", "" }, { "X", "" }
    };
    struct header_field f;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_true(header_next(&block, &f));
        same(i, f.name, want[i][0]);
        same(i, f.value, want[i][1]);
    }
    assert_false(header_next(&block, &f));
    same(9, block, "body");
}

static void header_block_bytes__ends_behind_the_empty_line(void **state)
{
    static const struct {
        const char *message;
        size_t bytes;
    } rows[] = {
        { "A: b\r\n\r\nbody", 8 }, { "A: b\n\nbody", 6 }, { "A: b\r\n", 6 }, { "\r\nbody", 2 }, { "", 0 }, { "A: b", 4 }
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(header_block_bytes(slice_str(rows[i].message)), rows[i].bytes);
}

static void header_find__takes_the_first_and_ignores_case(void **state)
{
    slice block = SLICE("Received: 1\r\nreceived: 2\r\nRECEIVED: 3\r\n\r\nReceived: 4\r\n"), value;

    (void)state;
    assert_true(header_find(block, SLICE("ReCeIvEd"), &value));
    same(0, value, "1");
    assert_int_equal(header_count(block, SLICE("received")), 3);
    assert_false(header_find(block, SLICE("X"), &value));
}

static void header_decode__reads_encoded_words(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        /* RFC 2047 8 */
        { "=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>" },
        { "=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=", "Keld J\xc3\xb8rn Simonsen" },
        { "=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard" },
        { "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
          "If you can read this you understand the example." },
        { "(=?ISO-8859-1?Q?a?= b)", "(a b)" },
        { "(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)" },
        { "(=?ISO-8859-1?Q?a?=  \t =?ISO-8859-1?Q?b?=)", "(ab)" },
        { "(=?ISO-8859-1?Q?a_b?=)", "(a b)" },
        { "=?utf-8*en?q?x?=", "x" },
        /* left as they are */
        { "=?no-such-set?Q?a?=", "=?no-such-set?Q?a?=" },
        { "=?utf-8?X?a?=", "=?utf-8?X?a?=" },
        { "=?utf-8?Q?a", "=?utf-8?Q?a" },
        { "plain", "plain" },
    };
    struct arena mem;

    (void)state;
    arena_init(&mem, 1024);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        same(i, header_decode(&mem, slice_str(rows[i].in)), rows[i].out);
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_next__cuts_fields),
        cmocka_unit_test(header_block_bytes__ends_behind_the_empty_line),
        cmocka_unit_test(header_find__takes_the_first_and_ignores_case),
        cmocka_unit_test(header_decode__reads_encoded_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
