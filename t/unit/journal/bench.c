/* bench.c - posthouse bench journal: the rows are there, the numbers are numbers, nothing stays behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "journal/bench.h"

static void bench__measures_all_rows(void **state)
{
    static const char *const methods[] = { "raw", "journal", "raw_growing" };
    static const int writers[] = { 1, 10, 50 };
    char dir[] = "/tmp/posthouse-bench-test-XXXXXX", *text = NULL;
    struct journal_bench bench = { .dir = dir, .row_ms = 20, .bytes = 512, .json = true };
    struct err err = ERR_INIT;
    size_t len = 0;
    json_t *rows;
    FILE *out;

    (void)state;
    assert_non_null(mkdtemp(dir));
    out = open_memstream(&text, &len);
    if (journal_bench(&bench, out, &err) < 0)
        fail_msg("%s", err.text);
    fclose(out);
    rows = json_parse(slice_of(text, len), &err);
    assert_non_null(rows);
    assert_int_equal(json_array_size(rows), 9);
    for (size_t i = 0; i < 9; i++) {
        const json_t *row = json_array_get(rows, i);

        assert_true(slice_eq(json_get_str(row, "method"), slice_str(methods[i % 3])));
        assert_int_equal(json_get_int(row, "writers", 0), writers[i / 3]);
        assert_int_equal(json_get_int(row, "bytes", 0), 512);
        assert_true(json_get_int(row, "appends", 0) >= writers[i / 3]);
        assert_true(json_get_int(row, "p99_us", 0) >= json_get_int(row, "p50_us", 0));
        assert_true(json_get_int(row, "p50_us", 0) > 0);
    }
    json_decref(rows);
    free(text);
    assert_int_equal(rmdir(dir), 0); /* nothing is left in it */
}

static void bench__refuses_what_makes_no_sense(void **state)
{
    struct journal_bench zero = { .dir = "/tmp" }, missing = { .dir = "/nonexistent/x", .row_ms = 1 };
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(journal_bench(&zero, stdout, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    err = ERR_INIT;
    assert_int_equal(journal_bench(&missing, stdout, &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bench__measures_all_rows),
        cmocka_unit_test(bench__refuses_what_makes_no_sense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
