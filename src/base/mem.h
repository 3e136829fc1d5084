/* mem.h - memory from the heap, with two attitudes.
 *
 * Model:    mem_alloc and friends are for small sizes of our own choosing: out of memory aborts. mem_try is for sizes
 *           that come from outside (after a named limit has been applied): it may fail and the caller must handle NULL.
 * Threads:  as malloc.
 * Lifetime: free with mem_free (NULL allowed).
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/own.h"
#include "base/slice.h"

#define MEM_SMALL_BYTES (64u * 1024) /* above this, use mem_try for sizes that come from input */

OWNED void *mem_alloc(size_t bytes);             /* zeroed; bytes > 0; aborts when there is none */
OWNED void *mem_alloc_array(size_t n, size_t each); /* zeroed; aborts on overflow of n * each */
OWNED void *mem_realloc(TAKES void *p, size_t bytes); /* new part not zeroed; aborts when there is none */
OWNED void *mem_try(size_t bytes) MUST_USE;      /* not zeroed; NULL when there is none */
OWNED char *mem_strdup(const char *text);
OWNED char *mem_slice_str(slice s);              /* NUL-terminated copy for system calls; an inner NUL stays */
void mem_free(TAKES void *p);

bool mem_add(size_t a, size_t b, size_t *out); /* false on overflow */
bool mem_mul(size_t a, size_t b, size_t *out); /* false on overflow */

void mem_wipe(void *p, size_t bytes); /* zero that the compiler may not drop */

#endif
