/* Both maps: linear probing over a power of two of slots. A removed entry leaves a marker behind, so that removal moves
 * nothing and is legal while iterating; markers go away when the table is next rebuilt, which only a put does. */
#include "base/map.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/random.h"

#define MAP_FIRST_CAP 16u
#define MAP_SHRINK_CAP 64u /* smaller tables are not worth shrinking */

#define MARK_EMPTY 0u
#define MARK_GONE 1u

/* Slot count after a rebuild: at most half full. */
static size_t cap_for(size_t count)
{
    size_t cap = MAP_FIRST_CAP;

    while (cap / 2 < count) {
        if (cap > SIZE_MAX / 2)
            panic("map size overflows");
        cap *= 2;
    }
    return cap;
}

/* Does one more entry call for a rebuild, because the table is 3/4 full or nearly empty? */
static bool wants_rebuild(size_t cap, size_t used, size_t gone)
{
    return used + gone + 1 > cap / 4 * 3 || (cap > MAP_SHRINK_CAP && used < cap / 8);
}

struct map_slot {
    uint64_t hash; /* of a live entry; else MARK_EMPTY or MARK_GONE */
    unsigned char *key;
    size_t len;
    void *value; /* NULL: no live entry */
};

void map_init(struct map *m)
{
    *m = (struct map){ 0 };
}

void map_init_nocase(struct map *m)
{
    *m = (struct map){ .nocase = true };
}

static void drop_slots(struct map *m)
{
    mem_free(m->slots);
    m->slots = NULL;
    m->cap = m->used = m->gone = 0;
}

void map_free(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        mem_free(m->slots[i].key);
    drop_slots(m);
}

static uint64_t hash_of(const struct map *m, slice key)
{
    return m->nocase ? slice_hash_nocase(key, m->seed) : slice_hash(key, m->seed);
}

static struct map_slot *find(const struct map *m, slice key, uint64_t hash)
{
    if (m->used == 0)
        return NULL;
    for (size_t i = (size_t)hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct map_slot *s = &m->slots[i];
        slice have;

        if (s->value == NULL) {
            if (s->hash == MARK_EMPTY)
                return NULL;
            continue;
        }
        if (s->hash != hash)
            continue;
        have = slice_of(s->key, s->len);
        if (m->nocase ? slice_eq_nocase(have, key) : slice_eq(have, key))
            return s;
    }
}

/* The first slot on the key's path without a live entry. */
static struct map_slot *free_slot(struct map_slot *slots, size_t cap, uint64_t hash)
{
    size_t i = (size_t)hash & (cap - 1);

    while (slots[i].value != NULL)
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static void rebuild(struct map *m)
{
    size_t cap = cap_for(m->used + 1);
    struct map_slot *slots = mem_alloc_array(cap, sizeof(*slots));

    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].value != NULL)
            *free_slot(slots, cap, m->slots[i].hash) = m->slots[i];
    mem_free(m->slots);
    m->slots = slots;
    m->cap = cap;
    m->gone = 0;
}

void *map_get(const struct map *m, slice key)
{
    struct map_slot *s = find(m, key, hash_of(m, key));

    return s == NULL ? NULL : s->value;
}

void *map_put(struct map *m, slice key, void *value)
{
    struct map_slot *s;
    void *old;
    uint64_t hash;

    ASSERT(value != NULL);
    if (m->seed == 0) /* taken late: a map that stays empty costs no system call */
        m->seed = random_u64() | 1;
    hash = hash_of(m, key);
    s = find(m, key, hash);
    if (s != NULL) {
        old = s->value;
        s->value = value;
        return old;
    }
    if (wants_rebuild(m->cap, m->used, m->gone))
        rebuild(m);
    s = free_slot(m->slots, m->cap, hash);
    if (s->hash == MARK_GONE)
        m->gone--;
    s->key = (unsigned char *)mem_slice_str(key);
    s->len = key.len;
    s->hash = hash;
    s->value = value;
    m->used++;
    return NULL;
}

void *map_del(struct map *m, slice key)
{
    struct map_slot *s = find(m, key, hash_of(m, key));
    size_t next;
    void *old;

    if (s == NULL)
        return NULL;
    old = s->value;
    mem_free(s->key);
    /* Nobody's path leads on from here when the next slot is empty. */
    next = ((size_t)(s - m->slots) + 1) & (m->cap - 1);
    *s = (struct map_slot){ .hash = MARK_GONE };
    if (m->slots[next].value == NULL && m->slots[next].hash == MARK_EMPTY)
        s->hash = MARK_EMPTY;
    else
        m->gone++;
    m->used--;
    if (m->used == 0 && m->cap > MAP_FIRST_CAP)
        drop_slots(m);
    return old;
}

size_t map_count(const struct map *m)
{
    return m->used;
}

bool map_next(const struct map *m, size_t *at, slice *key, void **value)
{
    while (*at < m->cap) {
        const struct map_slot *s = &m->slots[(*at)++];

        if (s->value == NULL)
            continue;
        if (key != NULL)
            *key = slice_of(s->key, s->len);
        if (value != NULL)
            *value = s->value;
        return true;
    }
    return false;
}

struct idmap_slot {
    uint64_t key; /* of a live entry; else MARK_EMPTY or MARK_GONE */
    void *value;  /* NULL: no live entry */
};

void idmap_init(struct idmap *m)
{
    *m = (struct idmap){ 0 };
}

void idmap_free(struct idmap *m)
{
    mem_free(m->slots);
    idmap_init(m);
}

/* The keys are our own numbers, often in sequence; they are spread over all bits. */
static size_t id_start(uint64_t key, size_t cap)
{
    key ^= key >> 33;
    key *= 0xFF51AFD7ED558CCDu;
    key ^= key >> 33;
    key *= 0xC4CEB9FE1A85EC53u;
    key ^= key >> 33;
    return (size_t)key & (cap - 1);
}

static struct idmap_slot *id_find(const struct idmap *m, uint64_t key)
{
    if (m->used == 0)
        return NULL;
    for (size_t i = id_start(key, m->cap);; i = (i + 1) & (m->cap - 1)) {
        struct idmap_slot *s = &m->slots[i];

        if (s->value == NULL && s->key == MARK_EMPTY)
            return NULL;
        if (s->value != NULL && s->key == key)
            return s;
    }
}

static struct idmap_slot *id_free_slot(struct idmap_slot *slots, size_t cap, uint64_t key)
{
    size_t i = id_start(key, cap);

    while (slots[i].value != NULL)
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static void id_rebuild(struct idmap *m)
{
    size_t cap = cap_for(m->used + 1);
    struct idmap_slot *slots = mem_alloc_array(cap, sizeof(*slots));

    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].value != NULL)
            *id_free_slot(slots, cap, m->slots[i].key) = m->slots[i];
    mem_free(m->slots);
    m->slots = slots;
    m->cap = cap;
    m->gone = 0;
}

void *idmap_get(const struct idmap *m, uint64_t key)
{
    struct idmap_slot *s = id_find(m, key);

    return s == NULL ? NULL : s->value;
}

void *idmap_put(struct idmap *m, uint64_t key, void *value)
{
    struct idmap_slot *s = id_find(m, key);
    void *old;

    ASSERT(value != NULL);
    if (s != NULL) {
        old = s->value;
        s->value = value;
        return old;
    }
    if (wants_rebuild(m->cap, m->used, m->gone))
        id_rebuild(m);
    s = id_free_slot(m->slots, m->cap, key);
    if (s->key == MARK_GONE)
        m->gone--;
    s->key = key;
    s->value = value;
    m->used++;
    return NULL;
}

void *idmap_del(struct idmap *m, uint64_t key)
{
    struct idmap_slot *s = id_find(m, key);
    size_t next;
    void *old;

    if (s == NULL)
        return NULL;
    old = s->value;
    next = ((size_t)(s - m->slots) + 1) & (m->cap - 1);
    *s = (struct idmap_slot){ .key = MARK_GONE };
    if (m->slots[next].value == NULL && m->slots[next].key == MARK_EMPTY)
        s->key = MARK_EMPTY;
    else
        m->gone++;
    m->used--;
    if (m->used == 0 && m->cap > MAP_FIRST_CAP)
        idmap_free(m);
    return old;
}

size_t idmap_count(const struct idmap *m)
{
    return m->used;
}

bool idmap_next(const struct idmap *m, size_t *at, uint64_t *key, void **value)
{
    while (*at < m->cap) {
        const struct idmap_slot *s = &m->slots[(*at)++];

        if (s->value == NULL)
            continue;
        if (key != NULL)
            *key = s->key;
        if (value != NULL)
            *value = s->value;
        return true;
    }
    return false;
}
