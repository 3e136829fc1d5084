#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int value;
    struct list link;
};

/* The values as digits of one number, front first; checks the links both ways. */
static int digits(const struct list *l)
{
    int n = 0;

    LIST_FOREACH((struct list *)l, it) {
        assert_ptr_equal(it->next->prev, it);
        assert_ptr_equal(it->prev->next, it);
        n = n * 10 + LIST_ENTRY(it, struct item, link)->value;
    }
    return n;
}

static void fill(struct item *items, int n)
{
    for (int i = 0; i < n; i++) {
        items[i].value = i + 1;
        list_init(&items[i].link);
    }
}

static void list__pushes_at_both_ends(void **state)
{
    struct item items[4];
    struct list l;

    (void)state;
    list_init(&l);
    fill(items, 4);
    assert_true(list_is_empty(&l));
    list_push_back(&l, &items[0].link);
    list_push_back(&l, &items[1].link);
    list_push_front(&l, &items[2].link);
    list_insert_before(&items[1].link, &items[3].link);
    assert_int_equal(digits(&l), 3142);
    assert_false(list_is_empty(&l));
    assert_true(list_is_linked(&items[0].link));
}

static void list_remove__is_legal_twice(void **state)
{
    struct item items[3];
    struct list l;

    (void)state;
    list_init(&l);
    fill(items, 3);
    for (int i = 0; i < 3; i++)
        list_push_back(&l, &items[i].link);
    list_remove(&items[1].link);
    assert_false(list_is_linked(&items[1].link));
    list_remove(&items[1].link);
    assert_int_equal(digits(&l), 13);
}

static void list_pop_front__until_empty(void **state)
{
    struct item items[2];
    struct list l;

    (void)state;
    list_init(&l);
    fill(items, 2);
    list_push_back(&l, &items[0].link);
    list_push_back(&l, &items[1].link);
    assert_ptr_equal(list_pop_front(&l), &items[0].link);
    assert_ptr_equal(list_pop_front(&l), &items[1].link);
    assert_null(list_pop_front(&l));
    assert_false(list_is_linked(&items[0].link));
}

static void list_splice__moves_all(void **state)
{
    struct item items[4];
    struct list a, b;

    (void)state;
    list_init(&a);
    list_init(&b);
    fill(items, 4);
    list_splice(&a, &b);
    assert_true(list_is_empty(&a));
    list_push_back(&b, &items[0].link);
    list_push_back(&b, &items[1].link);
    list_splice(&a, &b);
    assert_int_equal(digits(&a), 12);
    assert_true(list_is_empty(&b));
    list_push_back(&b, &items[2].link);
    list_push_back(&b, &items[3].link);
    list_splice(&a, &b);
    assert_int_equal(digits(&a), 1234);
    list_splice(&a, &b);
    assert_int_equal(digits(&a), 1234);
}

static void list_foreach_safe__survives_removal(void **state)
{
    struct item items[5];
    struct list l;

    (void)state;
    list_init(&l);
    fill(items, 5);
    for (int i = 0; i < 5; i++)
        list_push_back(&l, &items[i].link);
    LIST_FOREACH_SAFE(&l, it)
        if (LIST_ENTRY(it, struct item, link)->value % 2 == 1)
            list_remove(it);
    assert_int_equal(digits(&l), 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list__pushes_at_both_ends),
        cmocka_unit_test(list_remove__is_legal_twice),
        cmocka_unit_test(list_pop_front__until_empty),
        cmocka_unit_test(list_splice__moves_all),
        cmocka_unit_test(list_foreach_safe__survives_removal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
