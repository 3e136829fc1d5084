#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>

#include <cmocka.h>

#include "base/counter.h"

static struct counter first[] = {
    { "test.one", "the first", COUNTER_TOTAL, 0 },
    { "test.two", "the second", COUNTER_GAUGE, 0 },
};
static struct counter second[] = {
    { "other.three", "the third", COUNTER_TOTAL, 0 },
};

static void counter_next__walks_in_order_of_registration(void **state)
{
    unsigned at = 0;

    (void)state;
    assert_null(counter_next(&at));
    assert_null(counter_find("test.one"));
    counter_register(first, 2);
    counter_register(second, 1);
    counter_register(first, 2); /* again: no change */
    at = 0;
    assert_ptr_equal(counter_next(&at), &first[0]);
    assert_ptr_equal(counter_next(&at), &first[1]);
    assert_ptr_equal(counter_next(&at), &second[0]);
    assert_null(counter_next(&at));
    assert_null(counter_next(&at));
}

static void counter_find__by_whole_name(void **state)
{
    (void)state;
    assert_ptr_equal(counter_find("test.two"), &first[1]);
    assert_ptr_equal(counter_find("other.three"), &second[0]);
    assert_null(counter_find("test"));
    assert_null(counter_find(""));
}

static void *count_up(void *arg)
{
    for (int i = 0; i < 20000; i++)
        counter_add(arg, 1);
    return NULL;
}

static void counter_add__loses_nothing_between_threads(void **state)
{
    pthread_t threads[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, &first[0]), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(counter_get(&first[0]), 60000);
}

static void counter_set__of_a_gauge(void **state)
{
    (void)state;
    counter_set(&first[1], 7);
    counter_add(&first[1], -9);
    assert_int_equal(counter_get(&first[1]), -2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counter_next__walks_in_order_of_registration),
        cmocka_unit_test(counter_find__by_whole_name),
        cmocka_unit_test(counter_add__loses_nothing_between_threads),
        cmocka_unit_test(counter_set__of_a_gauge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
