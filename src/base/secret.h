/* secret.h - a password or key in memory: wiped when freed, never logged, printed or dumped. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stdbool.h>

#include "base/slice.h"

struct secret {
    unsigned char *ptr;
    size_t len;
};

#define SECRET_INIT ((struct secret){ NULL, 0 })

void secret_set(struct secret *s, slice value); /* copies; a former value is wiped */
void secret_free(struct secret *s);             /* wipes */
static inline slice secret_slice(const struct secret *s)
{
    return slice_of(s->ptr, s->len);
}
bool secret_eq(slice a, slice b); /* time depends on the lengths only */

#endif
