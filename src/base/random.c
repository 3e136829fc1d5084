#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "base/err.h"

void random_octets(void *p, size_t len)
{
    unsigned char *at = p;

    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            panic("the kernel gives no random octets (errno %d)", errno);
        at += n;
        len -= (size_t)n;
    }
}

uint64_t random_u64(void)
{
    uint64_t v;

    random_octets(&v, sizeof(v));
    return v;
}

/* splitmix64: turns any seed, 0 as well, into a good state. */
static uint64_t spread(uint64_t *x)
{
    uint64_t z = (*x += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64 - n));
}

void rng_init(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = spread(&seed);
}

/* xoshiro256** by Blackman and Vigna (public domain). */
uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
    uint64_t v, skip;

    ASSERT(bound > 0);
    /* The lowest 2^64 mod bound values are passed over, so that every result is equally likely. */
    skip = (0 - bound) % bound;
    do
        v = rng_next(r);
    while (v < skip);
    return v % bound;
}
