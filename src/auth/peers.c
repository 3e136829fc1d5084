#include "auth/internal.h"

#include "base/random.h"

/* A table of fixed size: each address may stand in one of WAYS places; the one that failed longest ago makes room. */
#define WAYS 4u
#define KEY_BYTES 9u /* family, then the IPv4 address or the first 64 bits of the IPv6 one */

struct peer {
    unsigned char key[KEY_BYTES];
    unsigned failures; /* 0: free */
    int64_t last_ms;
};
struct peers {
    uint64_t seed;
    unsigned sets;
    struct peer peer[];
};

OWNED struct peers *peers_new(unsigned max)
{
    unsigned sets = (max + WAYS - 1) / WAYS;
    struct peers *p = mem_alloc(sizeof(*p) + (size_t)sets * WAYS * sizeof(p->peer[0]));

    p->sets = sets;
    p->seed = random_u64();
    return p;
}

void peers_destroy(struct peers **p)
{
    mem_free(*p);
    *p = NULL;
}

static void key_make(const struct net_addr *addr, unsigned char key[KEY_BYTES])
{
    memset(key, 0, KEY_BYTES);
    if (addr->len == 0)
        return;
    key[0] = (unsigned char)addr->sa.sa_family;
    if (addr->sa.sa_family == AF_INET) {
        memcpy(key + 1, &addr->in.sin_addr, 4);
    } else if (addr->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&addr->in6.sin6_addr)) {
        key[0] = AF_INET;
        memcpy(key + 1, addr->in6.sin6_addr.s6_addr + 12, 4);
    } else if (addr->sa.sa_family == AF_INET6) {
        memcpy(key + 1, addr->in6.sin6_addr.s6_addr, 8); /* who has one address of a /64 has them all */
    }
}

unsigned peers_failed(struct peers *p, const struct net_addr *addr, int64_t now_ms, int64_t forget_ms)
{
    unsigned char key[KEY_BYTES];
    struct peer *set, *place;
    unsigned before;

    key_make(addr, key);
    set = &p->peer[slice_hash(slice_of(key, KEY_BYTES), p->seed) % p->sets * WAYS];
    place = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].failures > 0 && memcmp(set[i].key, key, KEY_BYTES) == 0) {
            place = &set[i];
            break;
        }
        if (set[i].failures == 0 || (place->failures > 0 && set[i].last_ms < place->last_ms))
            place = &set[i];
    }
    if (place->failures == 0 || memcmp(place->key, key, KEY_BYTES) != 0 || now_ms - place->last_ms > forget_ms)
        place->failures = 0;
    memcpy(place->key, key, KEY_BYTES);
    before = place->failures;
    if (place->failures < UINT16_MAX)
        place->failures++;
    place->last_ms = now_ms;
    return before;
}
