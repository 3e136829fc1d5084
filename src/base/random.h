/* random.h - random octets from the kernel (getrandom), and a seeded generator for tests and for spreading load. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_octets(void *p, size_t len); /* cryptographic; aborts if the kernel has none */
uint64_t random_u64(void);               /* cryptographic */

/* xoshiro-class generator: repeatable, not for secrets. */
struct rng {
    uint64_t s[4];
};
void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t bound); /* 0 .. bound-1, bound > 0 */

#endif
