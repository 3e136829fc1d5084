#include "base/heap.h"

#include "base/err.h"
#include "base/mem.h"

#define HEAP_FIRST_CAP 16u

void heap_init(struct heap *h)
{
    *h = (struct heap){ 0 };
}

void heap_free(struct heap *h)
{
    mem_free(h->nodes);
    heap_init(h);
}

static bool is_before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->order < b->order;
}

/* Places are 1-based: children of i are 2i and 2i+1. */
static void set_at(struct heap *h, size_t at, struct heap_node *n)
{
    h->nodes[at - 1] = n;
    n->at = at;
}

static void sift_up(struct heap *h, size_t at, struct heap_node *n)
{
    while (at > 1 && is_before(n, h->nodes[at / 2 - 1])) {
        set_at(h, at, h->nodes[at / 2 - 1]);
        at /= 2;
    }
    set_at(h, at, n);
}

static void sift_down(struct heap *h, size_t at, struct heap_node *n)
{
    size_t child;

    while ((child = at * 2) <= h->count) {
        if (child < h->count && is_before(h->nodes[child], h->nodes[child - 1]))
            child++;
        if (!is_before(h->nodes[child - 1], n))
            break;
        set_at(h, at, h->nodes[child - 1]);
        at = child;
    }
    set_at(h, at, n);
}

static void set_cap(struct heap *h, size_t cap)
{
    size_t bytes;

    if (!mem_mul(cap, sizeof(h->nodes[0]), &bytes))
        panic("heap size overflows");
    h->nodes = mem_realloc(h->nodes, bytes);
    h->cap = cap;
}

void heap_insert(struct heap *h, struct heap_node *n, int64_t key)
{
    ASSERT(n->at == 0);
    if (h->count == h->cap)
        set_cap(h, h->cap == 0 ? HEAP_FIRST_CAP : h->cap * 2);
    n->key = key;
    n->order = h->next_order++;
    h->count++;
    sift_up(h, h->count, n);
}

void heap_update(struct heap *h, struct heap_node *n, int64_t key)
{
    if (n->at == 0) {
        heap_insert(h, n, key);
        return;
    }
    n->key = key;
    n->order = h->next_order++;
    if (n->at > 1 && is_before(n, h->nodes[n->at / 2 - 1]))
        sift_up(h, n->at, n);
    else
        sift_down(h, n->at, n);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    size_t at = n->at;
    struct heap_node *last;

    if (at == 0)
        return;
    ASSERT(at <= h->count && h->nodes[at - 1] == n);
    last = h->nodes[h->count - 1];
    h->count--;
    n->at = 0;
    if (last != n) { /* the last node fills the hole and may have to move either way */
        if (at > 1 && is_before(last, h->nodes[at / 2 - 1]))
            sift_up(h, at, last);
        else
            sift_down(h, at, last);
    }
    if (h->cap > HEAP_FIRST_CAP && h->count < h->cap / 4)
        set_cap(h, h->cap / 2);
}

struct heap_node *heap_min(const struct heap *h)
{
    return h->count == 0 ? NULL : h->nodes[0];
}
