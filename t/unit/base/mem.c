#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

static void mem_alloc__is_zeroed(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes < 5000; bytes = bytes * 3 + 1) {
        unsigned char *p = mem_alloc(bytes);

        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xA5, bytes);
        mem_free(p);
    }
}

static void mem_alloc_array__accepts_zero_elements(void **state)
{
    void *p = mem_alloc_array(0, 100);

    (void)state;
    assert_non_null(p);
    mem_free(p);
}

static void mem_realloc__keeps_content(void **state)
{
    char *p = mem_realloc(NULL, 4);

    (void)state;
    memcpy(p, "abc", 4);
    p = mem_realloc(p, 100000);
    assert_string_equal(p, "abc");
    mem_free(p);
}

static void mem_try__gives_memory_even_for_nothing(void **state)
{
    void *p = mem_try(0);

    (void)state;
    assert_non_null(p);
    mem_free(p);
    mem_free(NULL);
}

static void mem_slice_str__keeps_inner_nul(void **state)
{
    char *p = mem_slice_str(SLICE("a\0b"));

    (void)state;
    assert_memory_equal(p, "a\0b\0", 4);
    mem_free(p);
    p = mem_slice_str(SLICE_NONE);
    assert_string_equal(p, "");
    mem_free(p);
    p = mem_strdup("copy");
    assert_string_equal(p, "copy");
    mem_free(p);
}

static void mem_add__tells_overflow(void **state)
{
    static const struct {
        size_t a, b;
        bool ok;
        size_t sum;
    } rows[] = {
        { 0, 0, true, 0 },
        { 1, 2, true, 3 },
        { SIZE_MAX, 0, true, SIZE_MAX },
        { SIZE_MAX, 1, false, 0 },
        { SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 1, false, 0 },
        { SIZE_MAX / 2, SIZE_MAX / 2 + 1, true, SIZE_MAX },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t out = 0;
        bool ok = mem_add(rows[i].a, rows[i].b, &out);

        if (ok != rows[i].ok || (ok && out != rows[i].sum))
            fail_msg("row %zu", i);
    }
}

static void mem_mul__tells_overflow(void **state)
{
    static const struct {
        size_t a, b;
        bool ok;
        size_t product;
    } rows[] = {
        { 0, SIZE_MAX, true, 0 },
        { 6, 7, true, 42 },
        { SIZE_MAX, 1, true, SIZE_MAX },
        { SIZE_MAX, 2, false, 0 },
        { SIZE_MAX / 2 + 1, 2, false, 0 },
        { SIZE_MAX / 3, 3, true, SIZE_MAX / 3 * 3 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t out = 0;
        bool ok = mem_mul(rows[i].a, rows[i].b, &out);

        if (ok != rows[i].ok || (ok && out != rows[i].product))
            fail_msg("row %zu", i);
    }
}

static void mem_wipe__zeroes(void **state)
{
    unsigned char p[5] = { 1, 2, 3, 4, 5 };

    (void)state;
    mem_wipe(p + 1, 3);
    assert_memory_equal(p, ((unsigned char[]){ 1, 0, 0, 0, 5 }), 5);
    mem_wipe(NULL, 0);
}

static void overflow_array(void)
{
    mem_free(mem_alloc_array(SIZE_MAX / 2, 3));
}

static void allocate_nothing(void)
{
    mem_free(mem_alloc(0));
}

static bool aborts(void (*act)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        close(2);
        act();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void mem__aborts_on_misuse(void **state)
{
    (void)state;
    assert_true(aborts(overflow_array));
    assert_true(aborts(allocate_nothing));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mem_alloc__is_zeroed),
        cmocka_unit_test(mem_alloc_array__accepts_zero_elements),
        cmocka_unit_test(mem_realloc__keeps_content),
        cmocka_unit_test(mem_try__gives_memory_even_for_nothing),
        cmocka_unit_test(mem_slice_str__keeps_inner_nul),
        cmocka_unit_test(mem_add__tells_overflow),
        cmocka_unit_test(mem_mul__tells_overflow),
        cmocka_unit_test(mem_wipe__zeroes),
        cmocka_unit_test(mem__aborts_on_misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
