#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>

#include <cmocka.h>

#include "base/snap.h"

struct thing {
    struct snap snap;
    int destroyed;
};

static void destroy(struct snap *s)
{
    struct thing *t = (struct thing *)s; /* snap is its first member */

    t->destroyed++;
}

static void snap__last_reference_destroys(void **state)
{
    struct thing t = { .destroyed = 0 };

    (void)state;
    snap_init(&t.snap, destroy);
    assert_ptr_equal(snap_ref(&t.snap), &t.snap);
    snap_unref(&t.snap);
    assert_int_equal(t.destroyed, 0);
    snap_unref(&t.snap);
    assert_int_equal(t.destroyed, 1);
    snap_unref(NULL);
}

static void *ref_and_unref(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        snap_ref(arg);
        snap_unref(arg);
    }
    snap_unref(arg);
    return NULL;
}

static void snap__is_destroyed_once_whichever_thread_is_last(void **state)
{
    struct thing t = { .destroyed = 0 };
    pthread_t threads[3];

    (void)state;
    snap_init(&t.snap, destroy);
    for (int i = 0; i < 3; i++) {
        snap_ref(&t.snap); /* the thread's own */
        assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, &t.snap), 0);
    }
    snap_unref(&t.snap);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(t.destroyed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(snap__last_reference_destroys),
        cmocka_unit_test(snap__is_destroyed_once_whichever_thread_is_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
