#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/own.h"
#include "base/random.h"

struct item {
    struct heap_node node;
    int64_t key;
    unsigned turn; /* of insertion or re-keying: ties come out in this order */
    bool is_in;
};

static int cmp_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->turn < y->turn ? -1 : x->turn > y->turn;
}

static struct item *item_of(struct heap_node *n)
{
    return CONTAINER_OF(n, struct item, node);
}

static void heap__comes_out_sorted(void **state)
{
    enum { COUNT = 2000 };
    static struct item items[COUNT];
    static struct item sorted[COUNT];
    struct heap h;
    struct rng r;

    (void)state;
    rng_init(&r, 11);
    heap_init(&h);
    for (unsigned i = 0; i < COUNT; i++) {
        items[i] = (struct item){ .key = (int64_t)rng_below(&r, 300) - 150, .turn = i };
        sorted[i] = items[i];
        heap_insert(&h, &items[i].node, items[i].key);
    }
    qsort(sorted, COUNT, sizeof(sorted[0]), cmp_items);
    for (size_t i = 0; i < COUNT; i++) {
        struct heap_node *n = heap_min(&h);

        assert_int_equal(item_of(n)->turn, sorted[i].turn);
        assert_true(heap_has(n));
        heap_remove(&h, n);
        assert_false(heap_has(n));
    }
    assert_null(heap_min(&h));
    heap_free(&h);
}

static struct item *naive_min(struct item *items, size_t count)
{
    struct item *min = NULL;

    for (size_t i = 0; i < count; i++)
        if (items[i].is_in && (min == NULL || cmp_items(&items[i], min) < 0))
            min = &items[i];
    return min;
}

static void heap__agrees_with_a_naive_queue_under_random_use(void **state)
{
    enum { COUNT = 60 };
    struct item items[COUNT] = { 0 };
    struct heap h;
    struct rng r;

    (void)state;
    rng_init(&r, 12);
    heap_init(&h);
    for (unsigned turn = 0; turn < 30000; turn++) {
        struct item *it = &items[rng_below(&r, COUNT)], *min;
        int64_t key = (int64_t)rng_below(&r, 40);

        switch (rng_below(&r, 4)) {
        case 0:
            if (it->is_in)
                break;
            heap_insert(&h, &it->node, key);
            *it = (struct item){ it->node, key, turn, true };
            break;
        case 1:
            heap_update(&h, &it->node, key);
            *it = (struct item){ it->node, key, turn, true };
            break;
        default:
            heap_remove(&h, &it->node); /* also those that are not in */
            it->is_in = false;
        }
        min = naive_min(items, COUNT);
        assert_ptr_equal(heap_min(&h), min == NULL ? NULL : &min->node);
        assert_int_equal(heap_has(&it->node), it->is_in);
    }
    heap_free(&h);
}

static void heap__takes_extreme_keys(void **state)
{
    struct heap_node low = { 0 }, high = { 0 }, zero = { 0 };
    struct heap h;

    (void)state;
    heap_init(&h);
    heap_insert(&h, &high, INT64_MAX);
    heap_insert(&h, &low, INT64_MIN);
    heap_insert(&h, &zero, 0);
    assert_ptr_equal(heap_min(&h), &low);
    heap_update(&h, &low, INT64_MAX);
    assert_ptr_equal(heap_min(&h), &zero);
    heap_remove(&h, &zero);
    assert_ptr_equal(heap_min(&h), &high); /* re-keyed ones come after their equals */
    heap_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heap__comes_out_sorted),
        cmocka_unit_test(heap__agrees_with_a_naive_queue_under_random_use),
        cmocka_unit_test(heap__takes_extreme_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
