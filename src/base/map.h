/* map.h - hash maps: from octets and from 64-bit numbers to pointers.
 *
 * Model:    open addressing, grows at 3/4 full, shrinks at the next put when almost empty; keys of `struct map` are
 *           copied, values borrowed. The seed is random for each map so that peers cannot aim at collisions; the order
 *           of iteration is therefore random as well.
 * Threads:  one owner. Do not change a map while iterating, except by map_del of the current key (its slice then dies).
 * Lifetime: init/free; free does not touch values.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct map_slot;
struct map {
    struct map_slot *slots;
    size_t cap, used, gone;
    uint64_t seed;
    bool nocase;
};

void map_init(struct map *m);
void map_init_nocase(struct map *m);                /* keys equal under ASCII folding are the same key */
void map_free(struct map *m);
void *map_get(const struct map *m, slice key);      /* NULL when absent */
void *map_put(struct map *m, slice key, void *value); /* returns the replaced value or NULL; value != NULL */
void *map_del(struct map *m, slice key);            /* returns the removed value or NULL */
size_t map_count(const struct map *m);
/* Iterate: *at starts at 0. False when done. key and value may be NULL. */
bool map_next(const struct map *m, size_t *at, slice *key, void **value);

struct idmap_slot;
struct idmap {
    struct idmap_slot *slots;
    size_t cap, used, gone;
};

void idmap_init(struct idmap *m);
void idmap_free(struct idmap *m);
void *idmap_get(const struct idmap *m, uint64_t key);
void *idmap_put(struct idmap *m, uint64_t key, void *value);
void *idmap_del(struct idmap *m, uint64_t key);
size_t idmap_count(const struct idmap *m);
bool idmap_next(const struct idmap *m, size_t *at, uint64_t *key, void **value);

#endif
