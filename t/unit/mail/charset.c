/* charset: folding and cleaning take eight octets at a time; every octet at every place must come out as one by one. */
#include "mail_test.h"

#include "mail/charset.h"

#define LENGTH 27

static void charset_fold__same_at_every_place(void **state)
{
    (void)state;
    for (unsigned octet = 0; octet < 0x80; octet++) {
        for (size_t at = 0; at < LENGTH; at++) {
            unsigned char in[LENGTH], want[LENGTH];
            struct buf out = BUF_INIT;

            memset(in, 'Q', sizeof in);
            memset(want, 'q', sizeof want);
            in[at] = (unsigned char)octet;
            want[at] = octet >= 'A' && octet <= 'Z' ? (unsigned char)(octet + 32) : (unsigned char)octet;
            charset_fold(slice_of(in, sizeof in), &out);
            assert_int_equal(out.len, LENGTH);
            assert_memory_equal(out.ptr, want, LENGTH);
            buf_free(&out);
        }
    }
}

static void charset_fold__other_scripts_between(void **state)
{
    struct buf out = BUF_INIT;

    (void)state;
    charset_fold(SLICE("ABCDEFGHI\xC3\x84JKLMNOPQR\xFF@[`{Z\xCE\xA9"), &out);
    assert_true(slice_eq(buf_slice(&out), SLICE("abcdefghi\xC3\xA4jklmnopqr\xFF@[`{z\xCF\x89")));
    buf_free(&out);
}

static void charset_to_utf8__wrong_octets_at_every_place(void **state)
{
    (void)state;
    for (size_t at = 0; at < LENGTH; at++) {
        unsigned char in[LENGTH];
        struct buf out = BUF_INIT;

        memset(in, 'x', sizeof in);
        in[at] = 0xFF;
        assert_true(charset_to_utf8(SLICE("utf-8"), slice_of(in, sizeof in), &out));
        assert_int_equal(out.len, LENGTH + 2);
        assert_memory_equal(out.ptr, in, at);
        assert_memory_equal(out.ptr + at, "\xEF\xBF\xBD", 3);
        assert_memory_equal(out.ptr + at + 3, in + at + 1, LENGTH - at - 1);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(charset_fold__same_at_every_place),
        cmocka_unit_test(charset_fold__other_scripts_between),
        cmocka_unit_test(charset_to_utf8__wrong_octets_at_every_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
