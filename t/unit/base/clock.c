#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static void clock_fake__moves_only_by_hand(void **state)
{
    struct clock c;

    (void)state;
    clock_init_fake(&c, 1000, 5000);
    assert_int_equal(clock_mono_ms(&c), 1000);
    assert_int_equal(clock_wall_ms(&c), 5000);
    assert_int_equal(clock_mono_us(&c), 1000000);
    clock_fake_advance(&c, 250);
    assert_int_equal(clock_mono_ms(&c), 1250);
    assert_int_equal(clock_wall_ms(&c), 5250);
    clock_fake_advance(&c, 0);
    assert_int_equal(clock_mono_us(&c), 1250000);
}

static void clock_real__agrees_with_the_kernel(void **state)
{
    struct timespec ts;
    struct clock c;
    int64_t wall, mono, us;

    (void)state;
    clock_init_real(&c);
    clock_gettime(CLOCK_REALTIME, &ts);
    wall = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
    assert_in_range(clock_wall_ms(&c) - wall + 60000, 0, 120000);
    mono = clock_mono_ms(&c);
    us = clock_mono_us(&c);
    assert_true(us / 1000 >= mono);
    assert_true(clock_mono_us(&c) >= us);
}

static void *advance(void *arg)
{
    for (int i = 0; i < 10000; i++)
        clock_fake_advance(arg, 1);
    return NULL;
}

static void clock_fake__may_be_moved_from_threads(void **state)
{
    pthread_t threads[2];
    struct clock c;

    (void)state;
    clock_init_fake(&c, 0, 100);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, advance, &c), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(clock_mono_ms(&c), 20000);
    assert_int_equal(clock_wall_ms(&c), 20100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clock_fake__moves_only_by_hand),
        cmocka_unit_test(clock_real__agrees_with_the_kernel),
        cmocka_unit_test(clock_fake__may_be_moved_from_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
