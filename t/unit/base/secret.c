#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "base/secret.h"

static void secret_set__copies_and_replaces(void **state)
{
    struct secret s = SECRET_INIT;
    char word[] = "hunter2";

    (void)state;
    secret_set(&s, slice_str(word));
    word[0] = 'X';
    assert_true(slice_eq(secret_slice(&s), SLICE("hunter2")));
    secret_set(&s, slice_from(secret_slice(&s), 6)); /* from itself */
    assert_true(slice_eq(secret_slice(&s), SLICE("2")));
    secret_set(&s, SLICE_NONE);
    assert_null(s.ptr);
    assert_int_equal(s.len, 0);
    secret_free(&s);
    secret_free(&s);
}

static void secret_eq__compares_all_octets(void **state)
{
    static const struct {
        slice a, b;
        bool equal;
    } rows[] = {
        { { (const unsigned char *)"abc", 3 }, { (const unsigned char *)"abc", 3 }, true },
        { { (const unsigned char *)"abc", 3 }, { (const unsigned char *)"abd", 3 }, false },
        { { (const unsigned char *)"abc", 3 }, { (const unsigned char *)"xbc", 3 }, false },
        { { (const unsigned char *)"abc", 3 }, { (const unsigned char *)"abcd", 4 }, false },
        { { (const unsigned char *)"a\0b", 3 }, { (const unsigned char *)"a\0c", 3 }, false },
        { { NULL, 0 }, { NULL, 0 }, true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (secret_eq(rows[i].a, rows[i].b) != rows[i].equal)
            fail_msg("row %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secret_set__copies_and_replaces),
        cmocka_unit_test(secret_eq__compares_all_octets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
