#include "base/snap.h"

#include <stddef.h>

#include "base/err.h"

void snap_init(struct snap *s, void (*destroy)(struct snap *))
{
    atomic_init(&s->refs, 1);
    s->destroy = destroy;
}

struct snap *snap_ref(struct snap *s)
{
    /* Relaxed: who takes a reference got the object from somebody who holds one. */
    uint32_t before = atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);

    ASSERT(before > 0 && before < UINT32_MAX);
    return s;
}

void snap_unref(struct snap *s)
{
    uint32_t before;

    if (s == NULL)
        return;
    /* Release what this thread did with the object, acquire what the others did, before it is destroyed. */
    before = atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1)
        s->destroy(s);
}
