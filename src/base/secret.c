#include "base/secret.h"

#include <string.h>

#include "base/mem.h"

void secret_set(struct secret *s, slice value)
{
    struct secret next = SECRET_INIT;

    if (value.len > 0) {
        next.ptr = mem_alloc(value.len);
        memcpy(next.ptr, value.ptr, value.len);
        next.len = value.len;
    }
    secret_free(s); /* after the copy: value may be the former one */
    *s = next;
}

void secret_free(struct secret *s)
{
    if (s->ptr != NULL)
        mem_wipe(s->ptr, s->len);
    mem_free(s->ptr);
    *s = SECRET_INIT;
}

bool secret_eq(slice a, slice b)
{
    unsigned char diff = 0;

    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        diff |= (unsigned char)(a.ptr[i] ^ b.ptr[i]);
    /* The compiler must not learn the outcome early and leave the loop. */
    __asm__("" : "+r"(diff));
    return diff == 0;
}
