/* snap.h - a reference count for immutable things that threads share: configuration snapshots, compiled scripts,
 * mailbox views.
 *
 * Model:    embed `struct snap` first in the object. Whoever can see a published object takes a reference through the
 *           publisher's own lock or message; nothing else in the product is counted.
 * Threads:  any.
 */
#ifndef BASE_SNAP_H
#define BASE_SNAP_H

#include <stdatomic.h>
#include <stdint.h>

struct snap {
    _Atomic uint32_t refs;
    void (*destroy)(struct snap *s);
};

void snap_init(struct snap *s, void (*destroy)(struct snap *)); /* one reference: the caller's */
struct snap *snap_ref(struct snap *s);
void snap_unref(struct snap *s); /* the last one calls destroy; NULL allowed */

#endif
