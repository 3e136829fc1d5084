#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc.h"
#include "base/own.h"
#include "base/random.h"

typedef uint32_t crc_fn(uint32_t start, const void *ptr, size_t len);

static crc_fn *const both[] = { crc32c, crc32c_portable };

/* RFC 3720 B.4; the RFC prints the octets in the order of transmission. */
static void crc32c__gives_the_values_of_rfc_3720(void **state)
{
    static const unsigned char read_pdu[48] = {
        0x01, 0xC0, 0, 0, 0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0,
        0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0,    0,
    };
    unsigned char zeros[32], ones[32], rising[32], falling[32];

    (void)state;
    memset(zeros, 0, 32);
    memset(ones, 0xFF, 32);
    for (int i = 0; i < 32; i++) {
        rising[i] = (unsigned char)i;
        falling[i] = (unsigned char)(31 - i);
    }
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        assert_int_equal(both[i](0, zeros, 32), 0x8A9136AAu);
        assert_int_equal(both[i](0, ones, 32), 0x62A8AB43u);
        assert_int_equal(both[i](0, rising, 32), 0x46DD794Eu);
        assert_int_equal(both[i](0, falling, 32), 0x113FDB5Cu);
        assert_int_equal(both[i](0, read_pdu, 48), 0xD9963A56u);
        assert_int_equal(both[i](0, "123456789", 9), 0xE3069283u);
        assert_int_equal(both[i](0, "", 0), 0);
        assert_int_equal(both[i](0, NULL, 0), 0);
    }
}

/* The definition, bit by bit: the judge of the two fast ones. */
static uint32_t crc_by_bits(uint32_t start, const unsigned char *p, size_t len)
{
    uint32_t c = ~start;

    for (size_t i = 0; i < len; i++) {
        c ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (c & 1 ? 0x82F63B78u : 0);
    }
    return ~c;
}

static void crc32c__all_ways_agree_at_every_length_and_place(void **state)
{
    static unsigned char data[2400];
    struct rng r;

    (void)state;
    rng_init(&r, 31);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)rng_next(&r);
    for (size_t len = 0; len <= 2300; len += len < 80 || (len > 700 && len < 860) ? 1 : 37) {
        const unsigned char *p = data + rng_below(&r, 64);
        uint32_t start = (uint32_t)rng_next(&r);
        uint32_t want = crc_by_bits(start, p, len);

        assert_int_equal(crc32c_portable(start, p, len), want);
        assert_int_equal(crc32c(start, p, len), want);
    }
}

static void crc32c__goes_on_from_an_earlier_result(void **state)
{
    static unsigned char data[5000];
    struct rng r;

    (void)state;
    rng_init(&r, 32);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)rng_next(&r);
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        uint32_t whole = both[i](7, data, sizeof(data));

        for (int round = 0; round < 200; round++) {
            size_t cut = rng_below(&r, sizeof(data) + 1);

            assert_int_equal(both[i](both[i](7, data, cut), data + cut, sizeof(data) - cut), whole);
        }
    }
}

static void crc32c__sees_every_flipped_bit(void **state)
{
    unsigned char data[100];
    uint32_t good;

    (void)state;
    memset(data, 0x5A, sizeof(data));
    good = crc32c(0, data, sizeof(data));
    for (size_t bit = 0; bit < sizeof(data) * 8; bit++) {
        data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_int_not_equal(crc32c(0, data, sizeof(data)), good);
        data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c__gives_the_values_of_rfc_3720),
        cmocka_unit_test(crc32c__all_ways_agree_at_every_length_and_place),
        cmocka_unit_test(crc32c__goes_on_from_an_earlier_result),
        cmocka_unit_test(crc32c__sees_every_flipped_bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
