/* heap.h - priority queue of embedded nodes ordered by a signed 64-bit key, smallest first; ties in order of insertion.
 *
 * Model:    array heap of node pointers; a node knows its place, so removal and re-keying are O(log n).
 * Threads:  one owner.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;
    uint64_t order;  /* set by the heap */
    size_t at;       /* 1-based place; 0 = not in a heap */
};

struct heap {
    struct heap_node **nodes;
    size_t count, cap;
    uint64_t next_order;
};

void heap_init(struct heap *h);
void heap_free(struct heap *h); /* nodes are not touched */
void heap_insert(struct heap *h, struct heap_node *n, int64_t key); /* n must not be in a heap */
void heap_update(struct heap *h, struct heap_node *n, int64_t key); /* inserts when not in it; last among equals */
void heap_remove(struct heap *h, struct heap_node *n);              /* no-op when not in it */
struct heap_node *heap_min(const struct heap *h);                   /* NULL when empty */
static inline bool heap_has(const struct heap_node *n)
{
    return n->at != 0;
}

#endif
