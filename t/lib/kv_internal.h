/* kv_internal.h - what the files of the key-value test room share. */
#ifndef T_KV_INTERNAL_H
#define T_KV_INTERNAL_H

#include "kv_room.h"

struct kv_value {
    uint32_t kind, n, length;
    slice octets;
    uint64_t body;
};
void kv_value_put(struct buf *out, const struct kv_value *v);
struct kv_value kv_value_read(struct reader *r);

struct kv_head {
    uint32_t client, slot, born, moves;
};
bool kv_head_get(struct journal_view *v, uint64_t object, struct kv_head *h);

static inline uint64_t kv_name_key(uint32_t client, uint32_t slot)
{
    return (uint64_t)client << 32 | slot;
}
bool kv_name_find(struct journal_view *v, uint32_t client, uint32_t slot, uint64_t *object);

struct kv_entry_key {
    unsigned char octets[16]; /* object, part, key: big-endian */
};
slice kv_entry_key(struct kv_entry_key *k, uint64_t object, uint32_t part, uint32_t key);
bool kv_entry_find(struct journal_view *v, uint64_t object, uint32_t part, uint32_t key, struct kv_value *value);
/* The next entry of (object, part), or of the whole object if part is 0. *at: 0 at first, moves behind what was
 * found. */
bool kv_entry_next(struct journal_view *v, uint64_t object, uint32_t part, uint64_t *at, uint32_t *found_part,
                   uint32_t *key, struct kv_value *value);

struct kv_job {
    uint32_t client, n, length;
    uint64_t body;
};
void kv_job_encode(struct buf *out, const struct kv_job *job);
bool kv_job_decode(slice octets, struct kv_job *job);

struct kv_young {
    uint64_t object;
    struct kv_job job;
};
bool kv_young_at(struct kv_room *r, unsigned i, struct kv_young *out); /* false behind the last */

static inline uint32_t kv_part_of(uint32_t key)
{
    return 1 + key * 2654435761u % KV_PARTS;
}

#endif
