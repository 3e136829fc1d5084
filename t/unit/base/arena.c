#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/random.h"

static void arena_init__takes_no_memory(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 4096);
    assert_int_equal(arena_bytes(&a), 0);
    arena_reset(&a);
    arena_release(&a);
    arena_free(&a);
}

/* Items of random sizes stay apart, aligned and zeroed, also in memory that was used before. */
static void arena_alloc__is_aligned_zeroed_and_disjoint(void **state)
{
    enum { ITEMS = 400 };
    struct {
        unsigned char *p;
        size_t bytes;
    } items[ITEMS];
    struct arena a;
    struct rng r;

    (void)state;
    rng_init(&r, 3);
    arena_init(&a, 256);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < ITEMS; i++) {
            size_t bytes = 1 + rng_below(&r, rng_below(&r, 20) == 0 ? 5000 : 90);

            if (rng_below(&r, 3) == 0)
                memset(arena_octets(&a, 3), 0xEE, 3);
            items[i].p = arena_alloc(&a, bytes);
            items[i].bytes = bytes;
            assert_int_equal((uintptr_t)items[i].p % _Alignof(max_align_t), 0);
            for (size_t k = 0; k < bytes; k++)
                assert_int_equal(items[i].p[k], 0);
            memset(items[i].p, i & 0xFF, bytes);
        }
        for (int i = 0; i < ITEMS; i++)
            for (size_t k = 0; k < items[i].bytes; k++)
                assert_int_equal(items[i].p[k], i & 0xFF);
        arena_reset(&a);
    }
    arena_free(&a);
}

static void arena_reset__keeps_only_the_first_block(void **state)
{
    struct arena a;
    size_t first;
    void *p;

    (void)state;
    arena_init(&a, 512);
    p = arena_alloc(&a, 8);
    first = arena_bytes(&a);
    assert_in_range(first, 512, 512 + 64);
    for (int i = 0; i < 100; i++)
        arena_alloc(&a, 300);
    arena_alloc(&a, 100000);
    assert_true(arena_bytes(&a) > 130000);
    arena_reset(&a);
    assert_int_equal(arena_bytes(&a), first);
    assert_ptr_equal(arena_alloc(&a, 8), p);
    arena_release(&a);
    assert_int_equal(arena_bytes(&a), 0);
    arena_alloc(&a, 8); /* usable again */
    assert_int_equal(arena_bytes(&a), first);
    arena_free(&a);
    assert_int_equal(arena_bytes(&a), 0);
}

static void arena_reset__drops_a_large_first_item(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 256);
    arena_alloc(&a, 100000);
    arena_reset(&a);
    assert_int_equal(arena_bytes(&a), 0);
    arena_free(&a);
}

/* A large item between small ones must not waste what is left of the current block. */
static void arena_alloc__large_items_leave_the_block_in_use(void **state)
{
    struct arena a;
    unsigned char *before, *after;

    (void)state;
    arena_init(&a, 4096);
    before = arena_alloc(&a, 16);
    memset(arena_octets(&a, 1000000), 1, 1000000);
    after = arena_alloc(&a, 16);
    assert_ptr_equal(after, before + 16);
    arena_free(&a);
}

static void arena_alloc__memory_follows_use(void **state)
{
    struct arena a;
    size_t used = 0;

    (void)state;
    arena_init(&a, 256);
    for (int i = 0; i < 20000; i++) {
        arena_octets(&a, 50);
        used += 50;
        assert_true(arena_bytes(&a) <= 3 * used + 1024);
    }
    arena_free(&a);
}

static void arena_alloc_array__accepts_zero_elements(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 256);
    assert_non_null(arena_alloc_array(&a, 0, 8));
    assert_non_null(arena_alloc_array(&a, 100, 8));
    assert_non_null(arena_octets(&a, 0));
    arena_free(&a);
}

static void slice_dup__copies(void **state)
{
    char text[] = "ab\0cd";
    struct arena a;
    slice s;
    const char *c;

    (void)state;
    arena_init(&a, 256);
    s = slice_dup(&a, slice_of(text, 5));
    c = arena_str(&a, slice_of(text, 5));
    text[0] = 'X';
    assert_true(slice_eq(s, SLICE("ab\0cd")));
    assert_memory_equal(c, "ab\0cd\0", 6);
    assert_int_equal(slice_dup(&a, SLICE_NONE).len, 0);
    assert_string_equal(arena_str(&a, SLICE_NONE), "");
    arena_free(&a);
}

static void arena_printf__fits_at_every_length(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 256);
    for (int len = 0; len < 600; len++) {
        slice s = arena_printf(&a, "%*s|", len, "");

        assert_int_equal(s.len, len + 1);
        assert_int_equal(s.ptr[len], '|');
        assert_int_equal(s.ptr[s.len], '\0');
    }
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_init__takes_no_memory),
        cmocka_unit_test(arena_alloc__is_aligned_zeroed_and_disjoint),
        cmocka_unit_test(arena_reset__keeps_only_the_first_block),
        cmocka_unit_test(arena_reset__drops_a_large_first_item),
        cmocka_unit_test(arena_alloc__large_items_leave_the_block_in_use),
        cmocka_unit_test(arena_alloc__memory_follows_use),
        cmocka_unit_test(arena_alloc_array__accepts_zero_elements),
        cmocka_unit_test(slice_dup__copies),
        cmocka_unit_test(arena_printf__fits_at_every_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
