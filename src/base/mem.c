#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

void *mem_alloc(size_t bytes)
{
    void *p;

    ASSERT(bytes > 0);
    p = calloc(1, bytes);
    if (p == NULL)
        panic("out of memory (%zu octets)", bytes);
    return p;
}

void *mem_alloc_array(size_t n, size_t each)
{
    size_t bytes;

    if (!mem_mul(n, each, &bytes))
        panic("array size overflows (%zu times %zu)", n, each);
    return mem_alloc(bytes > 0 ? bytes : 1);
}

void *mem_realloc(void *p, size_t bytes)
{
    void *q;

    ASSERT(bytes > 0);
    q = realloc(p, bytes);
    if (q == NULL)
        panic("out of memory (%zu octets)", bytes);
    return q;
}

void *mem_try(size_t bytes)
{
    return malloc(bytes > 0 ? bytes : 1);
}

char *mem_strdup(const char *text)
{
    return mem_slice_str(slice_str(text));
}

char *mem_slice_str(slice s)
{
    size_t bytes;
    char *p;

    if (!mem_add(s.len, 1, &bytes))
        panic("slice length overflows");
    p = mem_realloc(NULL, bytes);
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return p;
}

void mem_free(void *p)
{
    free(p);
}

bool mem_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

bool mem_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

void mem_wipe(void *p, size_t bytes)
{
    if (bytes > 0)
        explicit_bzero(p, bytes);
}
