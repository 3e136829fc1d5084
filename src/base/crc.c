#include "base/crc.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

/* Slicing by 8: row k holds the CRC of an octet that is followed by k zero octets. A CRC is linear, so each row follows
 * from its eight single-bit entries, and the compiler does the sums. */
#define E(i, k0, k1, k2, k3, k4, k5, k6, k7) \
    (((i) & 1 ? (k0) : 0) ^ ((i) & 2 ? (k1) : 0) ^ ((i) & 4 ? (k2) : 0) ^ ((i) & 8 ? (k3) : 0) ^ \
     ((i) & 16 ? (k4) : 0) ^ ((i) & 32 ? (k5) : 0) ^ ((i) & 64 ? (k6) : 0) ^ ((i) & 128 ? (k7) : 0))
#define E4(i, ...) E(i, __VA_ARGS__), E((i) + 1, __VA_ARGS__), E((i) + 2, __VA_ARGS__), E((i) + 3, __VA_ARGS__)
#define E16(i, ...) E4(i, __VA_ARGS__), E4((i) + 4, __VA_ARGS__), E4((i) + 8, __VA_ARGS__), E4((i) + 12, __VA_ARGS__)
#define E64(i, ...) \
    E16(i, __VA_ARGS__), E16((i) + 16, __VA_ARGS__), E16((i) + 32, __VA_ARGS__), E16((i) + 48, __VA_ARGS__)
#define ROW(...) \
    { E64(0, __VA_ARGS__), E64(64, __VA_ARGS__), E64(128, __VA_ARGS__), E64(192, __VA_ARGS__) }

/* Entry 0x80 of row 0 is the polynomial 0x1EDC6F41 with its bits reversed, RFC 3720 12.1. */
static const uint32_t tables[8][256] = {
    ROW(0xF26B8303u, 0xE13B70F7u, 0xC79A971Fu, 0x8AD958CFu, 0x105EC76Fu, 0x20BD8EDEu, 0x417B1DBCu, 0x82F63B78u),
    ROW(0x13A29877u, 0x274530EEu, 0x4E8A61DCu, 0x9D14C3B8u, 0x3FC5F181u, 0x7F8BE302u, 0xFF17C604u, 0xFBC3FAF9u),
    ROW(0xA541927Eu, 0x4F6F520Du, 0x9EDEA41Au, 0x38513EC5u, 0x70A27D8Au, 0xE144FB14u, 0xC76580D9u, 0x8B277743u),
    ROW(0xDD45AAB8u, 0xBF672381u, 0x7B2231F3u, 0xF64463E6u, 0xE964B13Du, 0xD725148Bu, 0xABA65FE7u, 0x52A0C93Fu),
    ROW(0x38116FACu, 0x7022DF58u, 0xE045BEB0u, 0xC5670B91u, 0x8F2261D3u, 0x1BA8B557u, 0x37516AAEu, 0x6EA2D55Cu),
    ROW(0xEF306B19u, 0xDB8CA0C3u, 0xB2F53777u, 0x6006181Fu, 0xC00C303Eu, 0x85F4168Du, 0x0E045BEBu, 0x1C08B7D6u),
    ROW(0x68032CC8u, 0xD0065990u, 0xA5E0C5D1u, 0x4E2DFD53u, 0x9C5BFAA6u, 0x3D5B83BDu, 0x7AB7077Au, 0xF56E0EF4u),
    ROW(0x493C7D27u, 0x9278FA4Eu, 0x211D826Du, 0x423B04DAu, 0x847609B4u, 0x0D006599u, 0x1A00CB32u, 0x34019664u),
};

static uint32_t load_le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t crc32c_portable(uint32_t start, const void *ptr, size_t len)
{
    const unsigned char *p = ptr;
    uint32_t c = ~start;

    for (; len >= 8; p += 8, len -= 8) {
        uint32_t a = c ^ load_le32(p), b = load_le32(p + 4);

        c = tables[7][a & 0xFF] ^ tables[6][a >> 8 & 0xFF] ^ tables[5][a >> 16 & 0xFF] ^ tables[4][a >> 24] ^
            tables[3][b & 0xFF] ^ tables[2][b >> 8 & 0xFF] ^ tables[1][b >> 16 & 0xFF] ^ tables[0][b >> 24];
    }
    for (; len > 0; p++, len--)
        c = c >> 8 ^ tables[0][(c ^ *p) & 0xFF];
    return ~c;
}

#if defined(__x86_64__)

#define WITH_CRC __attribute__((target("sse4.2,pclmul")))

static bool has_hardware(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

/* The CRC instruction takes 3 cycles but a new one may start in each: three runs side by side keep it busy. */
#define RUN_OCTETS 256
#define SHIFT_ONE_RUN 0xB9E02B86 /* x^(8 * RUN_OCTETS - 33) mod P, bits reversed */
#define SHIFT_TWO_RUNS 0xDD7E3B0C /* x^(16 * RUN_OCTETS - 33) mod P, bits reversed */

/* Move a CRC over the zero octets of one or two runs: the carry-less product with x^(n - 33) brings one more x, because
 * the bits are reversed, and the CRC instruction multiplies by x^32 and reduces. */
WITH_CRC static inline uint64_t shift_runs(uint64_t c, long long by)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)c), _mm_cvtsi64_si128(by), 0);

    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

WITH_CRC static uint32_t crc_hardware(uint32_t start, const unsigned char *p, size_t len)
{
    uint64_t c = (uint32_t)~start;
    uint64_t w0, w1, w2;

    for (; len >= 3 * RUN_OCTETS; p += 3 * RUN_OCTETS, len -= 3 * RUN_OCTETS) {
        uint64_t c1 = 0, c2 = 0;

        for (size_t i = 0; i < RUN_OCTETS; i += 8) {
            memcpy(&w0, p + i, 8);
            memcpy(&w1, p + RUN_OCTETS + i, 8);
            memcpy(&w2, p + (size_t)2 * RUN_OCTETS + i, 8);
            c = _mm_crc32_u64(c, w0);
            c1 = _mm_crc32_u64(c1, w1);
            c2 = _mm_crc32_u64(c2, w2);
        }
        c = shift_runs(c, SHIFT_TWO_RUNS) ^ shift_runs(c1, SHIFT_ONE_RUN) ^ c2;
    }
    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&w0, p, 8);
        c = _mm_crc32_u64(c, w0);
    }
    for (; len > 0; p++, len--)
        c = _mm_crc32_u8((uint32_t)c, *p);
    return ~(uint32_t)c;
}

#elif defined(__aarch64__)

#define HWCAP_CRC32_BIT (1ul << 7) /* HWCAP_CRC32 of the kernel's interface */

static bool has_hardware(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32_BIT) != 0;
}

/* Written as assembly because gcc and clang disagree on how to enable the intrinsics for one function. */
static inline uint32_t crc_octet(uint32_t c, uint32_t v)
{
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(c) : "r"(v));
    return c;
}

static inline uint32_t crc_word(uint32_t c, uint64_t v)
{
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(c) : "r"(v));
    return c;
}

static uint32_t crc_hardware(uint32_t start, const unsigned char *p, size_t len)
{
    uint32_t c = ~start;
    uint64_t w;

    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&w, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        w = __builtin_bswap64(w);
#endif
        c = crc_word(c, w);
    }
    for (; len > 0; p++, len--)
        c = crc_octet(c, *p);
    return ~c;
}

#else

static bool has_hardware(void)
{
    return false;
}

static uint32_t crc_hardware(uint32_t start, const unsigned char *p, size_t len)
{
    return crc32c_portable(start, p, len);
}

#endif

uint32_t crc32c(uint32_t start, const void *ptr, size_t len)
{
    return has_hardware() ? crc_hardware(start, ptr, len) : crc32c_portable(start, ptr, len);
}
