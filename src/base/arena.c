#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define ARENA_FIRST_MIN 256u
#define ARENA_FIRST_MAX (1024u * 1024)
#define ARENA_GROW_MAX (256u * 1024) /* blocks double up to this; larger items get a block of their own */

/* Under AddressSanitizer memory that is not handed out is poisoned, so that use after a reset is found. */
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

struct arena_block {
    struct arena_block *older;
    size_t cap, used;
    _Alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *a, size_t first_bytes)
{
    ASSERT(first_bytes >= ARENA_FIRST_MIN && first_bytes <= ARENA_FIRST_MAX);
    *a = (struct arena){ .first_bytes = first_bytes };
}

static struct arena_block *block_new(struct arena *a, size_t cap)
{
    struct arena_block *b;
    size_t bytes;

    if (!mem_add(cap, sizeof(*b), &bytes))
        panic("arena block size overflows");
    b = mem_realloc(NULL, bytes);
    b->older = NULL;
    b->cap = cap;
    b->used = 0;
    POISON(b->data, cap);
    a->total_bytes += bytes;
    return b;
}

static void block_destroy(struct arena *a, struct arena_block *b)
{
    a->total_bytes -= sizeof(*b) + b->cap;
    UNPOISON(b->data, b->cap);
    mem_free(b);
}

/* A block with room for `bytes`. It becomes the head, unless the item is large and the head has room for others. */
static struct arena_block *block_for(struct arena *a, size_t bytes)
{
    size_t cap = a->first_bytes;
    struct arena_block *b;

    if (a->head != NULL && a->total_bytes > cap)
        cap = a->total_bytes < ARENA_GROW_MAX ? a->total_bytes : ARENA_GROW_MAX;
    if (bytes <= cap / 2 || (a->head == NULL && bytes <= cap)) {
        b = block_new(a, cap);
    } else {
        b = block_new(a, bytes);
        if (a->head != NULL) {
            b->older = a->head->older;
            a->head->older = b;
            return b;
        }
    }
    b->older = a->head;
    a->head = b;
    return b;
}

static unsigned char *take(struct arena *a, size_t bytes, size_t align)
{
    struct arena_block *b = a->head;
    size_t at = 0;

    if (b != NULL) {
        at = (b->used + align - 1) & ~(align - 1);
        if (at > b->cap || bytes > b->cap - at)
            b = NULL;
    }
    if (b == NULL) {
        b = block_for(a, bytes);
        at = 0;
    }
    b->used = at + bytes;
    UNPOISON(b->data + at, bytes);
    return b->data + at;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    unsigned char *p;

    ASSERT(bytes > 0);
    p = take(a, bytes, _Alignof(max_align_t));
    memset(p, 0, bytes);
    return p;
}

void *arena_alloc_array(struct arena *a, size_t n, size_t each)
{
    size_t bytes;

    if (!mem_mul(n, each, &bytes))
        panic("array size overflows (%zu times %zu)", n, each);
    return arena_alloc(a, bytes > 0 ? bytes : 1);
}

unsigned char *arena_octets(struct arena *a, size_t bytes)
{
    return take(a, bytes, 1);
}

slice slice_dup(struct arena *a, slice s)
{
    unsigned char *p;

    if (s.len == 0)
        return SLICE_NONE;
    p = take(a, s.len, 1);
    memcpy(p, s.ptr, s.len);
    return slice_of(p, s.len);
}

const char *arena_str(struct arena *a, slice s)
{
    unsigned char *p;
    size_t bytes;

    if (!mem_add(s.len, 1, &bytes))
        panic("slice length overflows");
    p = take(a, bytes, 1);
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return (const char *)p;
}

slice arena_printf(struct arena *a, const char *fmt, ...)
{
    char brief[256]; /* most texts fit, and are then formatted once */
    va_list ap;
    unsigned char *p;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(brief, sizeof(brief), fmt, ap);
    va_end(ap);
    if (len < 0)
        panic("format cannot be printed: %s", fmt);
    p = take(a, (size_t)len + 1, 1);
    if ((size_t)len < sizeof(brief)) {
        memcpy(p, brief, (size_t)len + 1);
    } else {
        va_start(ap, fmt);
        vsnprintf((char *)p, (size_t)len + 1, fmt, ap);
        va_end(ap);
    }
    return slice_of(p, (size_t)len);
}

size_t arena_bytes(const struct arena *a)
{
    return a->total_bytes;
}

void arena_reset(struct arena *a)
{
    struct arena_block *kept = NULL, *b = a->head, *older;

    /* The first block is the one of first_bytes; an oversized item that came first does not qualify. */
    for (; b != NULL; b = older) {
        older = b->older;
        if (kept == NULL && b->cap == a->first_bytes)
            kept = b;
        else
            block_destroy(a, b);
    }
    if (kept != NULL) {
        kept->older = NULL;
        kept->used = 0;
        POISON(kept->data, kept->cap);
    }
    a->head = kept;
}

void arena_release(struct arena *a)
{
    struct arena_block *b = a->head, *older;

    for (; b != NULL; b = older) {
        older = b->older;
        block_destroy(a, b);
    }
    a->head = NULL;
}

void arena_free(struct arena *a)
{
    arena_release(a);
}
