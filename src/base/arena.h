/* arena.h - memory that is freed all at once.
 *
 * Model:    a chain of blocks; allocation moves a pointer; reset keeps the first block unless an item larger than
 *           first_bytes made it, and frees the others.
 *           Nothing is allocated before the first arena_alloc, so an idle session costs nothing.
 * Threads:  one owner thread, no locks.
 * Lifetime: everything handed out dies at arena_reset() or arena_free(); single items are never freed.
 * Errors:   none; out of memory aborts. arena_bytes() lets the owner enforce a limit.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/own.h"
#include "base/slice.h"

struct arena_block;

struct arena {
    struct arena_block *head;
    size_t first_bytes;
    size_t total_bytes; /* memory taken from the heap */
};

void arena_init(struct arena *a, size_t first_bytes);      /* size of the first block: 256 .. 1 MiB */
void *arena_alloc(struct arena *a, size_t bytes);          /* zeroed, aligned for any type, bytes > 0 */
void *arena_alloc_array(struct arena *a, size_t n, size_t each);
unsigned char *arena_octets(struct arena *a, size_t bytes); /* not zeroed, not aligned */
slice slice_dup(struct arena *a, slice s);
const char *arena_str(struct arena *a, slice s);           /* NUL-terminated copy */
slice arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3); /* NUL follows the slice */
size_t arena_bytes(const struct arena *a);                 /* heap memory held */
void arena_reset(struct arena *a);                         /* keeps at most the first block */
void arena_release(struct arena *a);                       /* like reset, but holds no memory at all afterwards */
void arena_free(struct arena *a);

#endif
