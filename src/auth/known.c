/* known.c - passwords that were right a short while ago.
 *
 * A client that polls logs in every minute; hashing each time would cost more than all the rest of its session. What
 * is kept is HMAC-SHA-256 over the verifier that the password fitted and the password, with a key that is made at the
 * start and never leaves the process. With the verifier in it an entry dies by itself when the password changes, since
 * every new verifier has a salt of its own; nobody has to be told.
 * Entries stand in sets of four: of each the one that ends first makes room. */
#include "auth/internal.h"

#include "base/random.h"

#define WAYS 4u

struct entry {
    unsigned char mac[SHA256_BYTES];
    int64_t until_ms; /* monotonic; 0: free */
};
struct known {
    unsigned char key[SHA256_BYTES];
    unsigned sets;
    struct entry entry[];
};

OWNED struct known *known_new(unsigned max)
{
    unsigned sets = (max + WAYS - 1) / WAYS;
    struct known *c = mem_alloc(sizeof(*c) + (size_t)sets * WAYS * sizeof(c->entry[0]));

    c->sets = sets;
    random_octets(c->key, sizeof(c->key));
    return c;
}

void known_destroy(struct known **c)
{
    if (*c != NULL)
        mem_wipe(*c, sizeof(**c) + (size_t)(*c)->sets * WAYS * sizeof((*c)->entry[0]));
    mem_free(*c);
    *c = NULL;
}

void known_mac(const struct known *c, slice verifier, slice password, unsigned char mac[SHA256_BYTES])
{
    struct hmac256 h;

    hmac256_init(&h, slice_of(c->key, sizeof(c->key)));
    hmac256_put(&h, verifier);
    hmac256_put(&h, slice_of("", 1)); /* no verifier holds a NUL */
    hmac256_put(&h, password);
    hmac256_end(&h, mac);
}

static struct entry *set_of(struct known *c, const unsigned char mac[SHA256_BYTES])
{
    uint32_t at;

    memcpy(&at, mac, sizeof(at));
    return &c->entry[(size_t)(at % c->sets) * WAYS];
}

bool known_has(struct known *c, const unsigned char mac[SHA256_BYTES], int64_t now_ms)
{
    struct entry *set = set_of(c, mac);

    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].until_ms > now_ms &&
            secret_eq(slice_of(set[i].mac, SHA256_BYTES), slice_of(mac, SHA256_BYTES)))
            return true;
    return false;
}

void known_put(struct known *c, const unsigned char mac[SHA256_BYTES], int64_t until_ms)
{
    struct entry *set = set_of(c, mac), *place = set;

    for (unsigned i = 0; i < WAYS; i++) {
        if (memcmp(set[i].mac, mac, SHA256_BYTES) == 0) { /* two logins at once */
            place = &set[i];
            break;
        }
        if (set[i].until_ms < place->until_ms)
            place = &set[i];
    }
    memcpy(place->mac, mac, SHA256_BYTES);
    place->until_ms = until_ms;
}
