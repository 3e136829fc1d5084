#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/sha256.h"
#include "base/buf.h"

static const char *hex(const unsigned char octets[SHA256_BYTES], char out[65])
{
    for (unsigned i = 0; i < SHA256_BYTES; i++) {
        out[2 * i] = "0123456789abcdef"[octets[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[octets[i] & 15];
    }
    out[64] = '\0';
    return out;
}

/* FIPS 180-4 examples, and a million times 'a'; put in pieces of each length up to a block and one. */
static void sha256__vectors(void **state)
{
    static const struct {
        const char *text;
        unsigned times;
        const char *want;
    } rows[] = {
        { "", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
        { "aaaaaaaaaa", 100000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t piece = 1; piece <= (rows[i].times == 1 ? 65 : 1); piece++) {
            unsigned char out[SHA256_BYTES];
            char text[65];
            struct sha256 s;

            sha256_init(&s);
            for (unsigned n = 0; n < rows[i].times; n++) {
                slice rest = slice_str(rows[i].text);

                for (; rest.len > 0; rest = slice_from(rest, piece))
                    sha256_put(&s, slice_sub(rest, 0, piece));
            }
            sha256_end(&s, out);
            assert_string_equal(hex(out, text), rows[i].want);
        }
    }
    (void)state;
}

/* RFC 4231 4.2, 4.3, 4.7 (a key longer than a block) */
static void hmac256__vectors(void **state)
{
    unsigned char key[131], out[SHA256_BYTES];
    char text[65];

    memset(key, 0x0b, 20);
    hmac256(slice_of(key, 20), SLICE("Hi There"), out);
    assert_string_equal(hex(out, text), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac256(SLICE("Jefe"), SLICE("what do ya want for nothing?"), out);
    assert_string_equal(hex(out, text), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    hmac256(slice_of(key, sizeof(key)), SLICE("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    assert_string_equal(hex(out, text), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    (void)state;
}

/* RFC 7914 11 (first 32 octets) */
static void pbkdf2__vectors(void **state)
{
    unsigned char out[SHA256_BYTES];
    char text[65];

    pbkdf2_sha256(SLICE("passwd"), SLICE("salt"), 1, out);
    assert_string_equal(hex(out, text), "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
    pbkdf2_sha256(SLICE("Password"), SLICE("NaCl"), 80000, out);
    assert_string_equal(hex(out, text), "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56");
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256__vectors),
        cmocka_unit_test(hmac256__vectors),
        cmocka_unit_test(pbkdf2__vectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
