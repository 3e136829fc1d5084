#include "auth/sha256.h"

#include "base/bytes.h"
#include "base/mem.h"

/* FIPS 180-4 4.2.2 */
static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t ror(uint32_t v, unsigned n)
{
    return v >> n | v << (32 - n);
}

/* FIPS 180-4 6.2.2 */
static void compress(uint32_t h[8], const unsigned char block[SHA256_BLOCK_BYTES])
{
    uint32_t w[64], v[8];

    for (unsigned i = 0; i < 16; i++)
        w[i] = get_be32(block + 4 * i);
    for (unsigned i = 16; i < 64; i++) {
        uint32_t s0 = ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10;

        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(v, h, sizeof(v));
    for (unsigned i = 0; i < 64; i++) {
        uint32_t s1 = ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25);
        uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
        uint32_t s0 = ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22);
        uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        h[i] += v[i];
}

void sha256_init(struct sha256 *s)
{
    static const uint32_t first[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

    memcpy(s->h, first, sizeof(first));
    s->bytes = 0;
}

void sha256_put(struct sha256 *s, slice octets)
{
    while (octets.len > 0) {
        size_t at = s->bytes % SHA256_BLOCK_BYTES, n = SHA256_BLOCK_BYTES - at;

        if (n > octets.len)
            n = octets.len;
        memcpy(s->block + at, octets.ptr, n);
        s->bytes += n;
        octets = slice_from(octets, n);
        if (at + n == SHA256_BLOCK_BYTES)
            compress(s->h, s->block);
    }
}

void sha256_end(struct sha256 *s, unsigned char out[SHA256_BYTES])
{
    static const unsigned char padding[SHA256_BLOCK_BYTES] = { 0x80 };
    unsigned char bits[8];
    size_t at = s->bytes % SHA256_BLOCK_BYTES;

    put_be64(bits, s->bytes * 8);
    sha256_put(s, slice_of(padding, at < 56 ? 56 - at : 120 - at));
    sha256_put(s, slice_of(bits, sizeof(bits)));
    for (unsigned i = 0; i < 8; i++)
        put_be32(out + 4 * i, s->h[i]);
    mem_wipe(s, sizeof(*s));
}

void hmac256_init(struct hmac256 *h, slice key)
{
    unsigned char pad[SHA256_BLOCK_BYTES] = { 0 };
    struct sha256 s;

    if (key.len > sizeof(pad)) {
        sha256_init(&s);
        sha256_put(&s, key);
        sha256_end(&s, pad);
    } else if (key.len > 0) {
        memcpy(pad, key.ptr, key.len);
    }
    for (unsigned i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36;
    sha256_init(&h->inner);
    sha256_put(&h->inner, slice_of(pad, sizeof(pad)));
    for (unsigned i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36 ^ 0x5c;
    sha256_init(&h->outer);
    sha256_put(&h->outer, slice_of(pad, sizeof(pad)));
    mem_wipe(pad, sizeof(pad));
}

void hmac256_put(struct hmac256 *h, slice octets)
{
    sha256_put(&h->inner, octets);
}

void hmac256_end(struct hmac256 *h, unsigned char out[SHA256_BYTES])
{
    unsigned char inner[SHA256_BYTES];

    sha256_end(&h->inner, inner);
    sha256_put(&h->outer, slice_of(inner, sizeof(inner)));
    sha256_end(&h->outer, out);
    mem_wipe(inner, sizeof(inner));
}

void hmac256(slice key, slice text, unsigned char out[SHA256_BYTES])
{
    struct hmac256 h;

    hmac256_init(&h, key);
    hmac256_put(&h, text);
    hmac256_end(&h, out);
}

void pbkdf2_sha256(slice password, slice salt, uint32_t iterations, unsigned char out[SHA256_BYTES])
{
    static const unsigned char one[4] = { 0, 0, 0, 1 };
    unsigned char u[SHA256_BYTES];
    struct hmac256 keyed, h;

    hmac256_init(&keyed, password);
    h = keyed;
    hmac256_put(&h, salt);
    hmac256_put(&h, slice_of(one, sizeof(one)));
    hmac256_end(&h, u);
    memcpy(out, u, sizeof(u));
    while (--iterations > 0) {
        h = keyed;
        hmac256_put(&h, slice_of(u, sizeof(u)));
        hmac256_end(&h, u);
        for (unsigned i = 0; i < sizeof(u); i++)
            out[i] ^= u[i];
    }
    mem_wipe(&keyed, sizeof(keyed));
    mem_wipe(u, sizeof(u));
}
