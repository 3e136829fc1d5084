/* sha256.h - SHA-256 (FIPS 180-4), HMAC (RFC 2104) and PBKDF2 (RFC 8018 5.2) with it, for SCRAM verifiers. Pure. */
#ifndef AUTH_SHA256_H
#define AUTH_SHA256_H

#include <stdint.h>

#include "base/slice.h"

#define SHA256_BYTES 32
#define SHA256_BLOCK_BYTES 64

struct sha256 {
    uint32_t h[8];
    uint64_t bytes;
    unsigned char block[SHA256_BLOCK_BYTES];
};
void sha256_init(struct sha256 *s);
void sha256_put(struct sha256 *s, slice octets);
void sha256_end(struct sha256 *s, unsigned char out[SHA256_BYTES]); /* wipes s */

struct hmac256 {
    struct sha256 inner, outer;
};
void hmac256_init(struct hmac256 *h, slice key);
void hmac256_put(struct hmac256 *h, slice octets);
void hmac256_end(struct hmac256 *h, unsigned char out[SHA256_BYTES]);
void hmac256(slice key, slice text, unsigned char out[SHA256_BYTES]);

/* The first block of PBKDF2, which is the Hi() of RFC 5802 2.2. iterations >= 1. */
void pbkdf2_sha256(slice password, slice salt, uint32_t iterations, unsigned char out[SHA256_BYTES]);

#endif
