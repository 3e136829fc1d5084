#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/own.h"

static const char *print_back(const char *text, bool pretty, struct buf *out)
{
    struct err e = ERR_INIT;
    json_t *v = json_parse(slice_str(text), &e);

    if (v == NULL)
        fail_msg("%s: %s", text, e.text);
    buf_reset(out);
    json_print(out, v, pretty);
    json_decref(v);
    return buf_str(out);
}

static void json__round_trips(void **state)
{
    static const char *const rows[] = {
        "{}",
        "[]",
        "null",
        "true",
        "-17",
        "9223372036854775807",
        "-9223372036854775808",
        "0.5",
        "-2.25",
        "\"\"",
        "\"\\u0000\"",
        "\"gr\xC3\xBC\xC3\x9F\"",
        "{\"z\":1,\"a\":[1,2,{\"b\":null}],\"m\":{\"y\":false,\"x\":\"s\"}}", /* order is kept */
        "{\"\":1}",
    };
    struct buf out = BUF_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_string_equal(print_back(rows[i], false, &out), rows[i]);
        assert_string_equal(print_back(buf_str(&out), false, &out), rows[i]);
    }
    buf_free(&out);
}

static void json_print__pretty_is_indented_by_two(void **state)
{
    struct buf out = BUF_INIT;

    (void)state;
    assert_string_equal(print_back("{\"b\":[1,{\"c\":2}],\"a\":{}}", true, &out),
                        "{\n  \"b\": [\n    1,\n    {\n      \"c\": 2\n    }\n  ],\n  \"a\": {}\n}");
    buf_free(&out);
}

static void json_print__appends(void **state)
{
    struct buf out = BUF_INIT;

    (void)state;
    buf_put_str(&out, "x=");
    json_print(&out, json_true(), false);
    assert_string_equal(buf_str(&out), "x=true");
    buf_free(&out);
}

static void json_parse__reports_place_and_cause(void **state)
{
    static const struct {
        const char *text;
        enum err_kind kind;
        const char *place, *cause;
    } rows[] = {
        { "{\"a\":1,\n\"b\":2,\n\"a\":3}", ERR_SYNTAX, "line 3, column 3: ", "duplicate object key" },
        { "{\"o\":{\"a\":1,\"a\":1}}", ERR_SYNTAX, "line 1, ", "duplicate object key" },
        { "[1,2] 3", ERR_SYNTAX, "line 1, column 7: ", "end of file expected" },
        { "", ERR_SYNTAX, "line 1, column 0: ", "end of file" },
        { "[1,", ERR_SYNTAX, "line 1, column 3: ", "end of file" },
        { "{\"a\":\n  tru}", ERR_SYNTAX, "line 2, column 5: ", "invalid token" },
        { "{'a':1}", ERR_SYNTAX, "line 1, column 2: ", "string or '}' expected" },
        { "[1,]", ERR_SYNTAX, "line 1, column 4: ", "unexpected token" },
        { "{\"a\" 1}", ERR_SYNTAX, "line 1, ", "':' expected" },
        { "\"a\nb\"", ERR_SYNTAX, "line 1, ", "unexpected newline" },
        { "\"\xFF\"", ERR_SYNTAX, "", "unable to decode byte 0xff" },
        { "\"\xC0\x80\"", ERR_SYNTAX, "", "unable to decode byte 0xc0" },
        { "{\"\\u0000\":1}", ERR_SYNTAX, "line 1, ", "NUL byte in object key" },
        { "9223372036854775808", ERR_SYNTAX, "line 1, ", "too big integer" },
        { "// comment\n1", ERR_SYNTAX, "line 1, column 1: ", "invalid token" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;

        if (json_parse(slice_str(rows[i].text), &e) != NULL)
            fail_msg("row %zu: accepted", i);
        if (e.kind != rows[i].kind || strncmp(e.text, rows[i].place, strlen(rows[i].place)) != 0 ||
            strstr(e.text, rows[i].cause) == NULL)
            fail_msg("row %zu: %s", i, e.text);
        assert_null(json_parse(slice_str(rows[i].text), NULL));
    }
    assert_null(json_parse(SLICE_NONE, NULL));
}

/* An array of the given depth around a string full of brackets, which must not count. */
static void nest(struct buf *b, unsigned depth)
{
    buf_put_str(b, "\n ");
    for (unsigned i = 0; i < depth; i++)
        buf_put_byte(b, '[');
    buf_put_str(b, "\"[[\\\"[[{\\\\\"");
    for (unsigned i = 0; i < depth; i++)
        buf_put_byte(b, ']');
}

static void json_parse__depth_ends_at_64(void **state)
{
    struct err e = ERR_INIT;
    struct buf b = BUF_INIT;
    json_t *v;

    (void)state;
    nest(&b, 64);
    v = json_parse(buf_slice(&b), &e);
    assert_non_null(v);
    json_decref(v);
    buf_reset(&b);
    nest(&b, 65);
    assert_null(json_parse(buf_slice(&b), &e));
    assert_int_equal(e.kind, ERR_LIMIT);
    assert_string_equal(e.text, "line 2, column 66: nested deeper than 64 levels");
    buf_reset(&b);
    for (int i = 0; i < 1000; i++) /* wide is not deep */
        buf_put_str(&b, i == 0 ? "[{}" : ",[],{}");
    buf_put_str(&b, "]");
    v = json_parse(buf_slice(&b), &e);
    assert_non_null(v);
    json_decref(v);
    buf_reset(&b);
    for (int i = 0; i < 1000000; i++)
        buf_put_str(&b, "{\"\":");
    assert_null(json_parse(buf_slice(&b), &e));
    buf_free(&b);
}

static void json_parse_file__names_the_file(void **state)
{
    char path[] = "/tmp/posthouse-test-XXXXXX";
    int fd = mkstemp(path);
    struct err e = ERR_INIT;
    char want[200];
    json_t *v;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "{\"a\": 1}\n", 9), 9);
    v = json_parse_file(path, &e);
    assert_non_null(v);
    assert_int_equal(json_get_int(v, "a", 0), 1);
    json_decref(v);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_null(json_parse_file(path, &e));
    assert_int_equal(e.kind, ERR_SYNTAX);
    snprintf(want, sizeof(want), "%s: line 2, column 1: ", path);
    assert_memory_equal(e.text, want, strlen(want));
    assert_int_equal(ftruncate(fd, 64 * 1024 * 1024 + 1), 0);
    assert_null(json_parse_file(path, &e));
    assert_int_equal(e.kind, ERR_LIMIT);
    close(fd);
    unlink(path);
    assert_null(json_parse_file(path, &e));
    assert_int_equal(e.kind, ERR_NOTFOUND);
    assert_null(json_parse_file("/tmp", &e));
    assert_int_equal(e.kind, ERR_TEMP);
    assert_string_equal(e.text, "/tmp: Is a directory");
}

static void json_get__falls_back(void **state)
{
    json_t *v = json_parse(SLICE("{\"s\":\"a\\u0000b\",\"i\":-5,\"t\":true,\"f\":false,\"n\":null,\"r\":1.5}"), NULL);

    (void)state;
    assert_non_null(v);
    assert_true(slice_eq(json_get_str(v, "s"), SLICE("a\0b")));
    assert_int_equal(json_get_str(v, "i").len, 0);
    assert_int_equal(json_get_str(v, "none").len, 0);
    assert_int_equal(json_get_int(v, "i", 9), -5);
    assert_int_equal(json_get_int(v, "r", 9), 9);
    assert_int_equal(json_get_int(v, "s", 9), 9);
    assert_int_equal(json_get_int(NULL, "i", 9), 9);
    assert_true(json_get_bool(v, "t", false));
    assert_false(json_get_bool(v, "f", true));
    assert_true(json_get_bool(v, "n", true));
    assert_false(json_get_bool(v, "none", false));
    assert_int_equal(json_str(NULL).len, 0);
    assert_int_equal(json_str(v).len, 0);
    json_decref(v);
}

static void json_from_slice__replaces_what_is_no_utf8(void **state)
{
    static const struct {
        slice in;
        const char *out;
    } rows[] = {
        { { (const unsigned char *)"abc", 3 }, "\"abc\"" },
        { { NULL, 0 }, "\"\"" },
        { { (const unsigned char *)"a\xFF\xFEz", 4 }, "\"a\xEF\xBF\xBD\xEF\xBF\xBDz\"" },
        { { (const unsigned char *)"\xC3\xBC\xC3", 3 }, "\"\xC3\xBC\xEF\xBF\xBD\"" },
        { { (const unsigned char *)"\0\n\"", 3 }, "\"\\u0000\\n\\\"\"" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = BUF_INIT;
        json_t *v = json_from_slice(rows[i].in);

        json_print(&b, v, false);
        assert_string_equal(buf_str(&b), rows[i].out);
        json_decref(v);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json__round_trips),
        cmocka_unit_test(json_print__pretty_is_indented_by_two),
        cmocka_unit_test(json_print__appends),
        cmocka_unit_test(json_parse__reports_place_and_cause),
        cmocka_unit_test(json_parse__depth_ends_at_64),
        cmocka_unit_test(json_parse_file__names_the_file),
        cmocka_unit_test(json_get__falls_back),
        cmocka_unit_test(json_from_slice__replaces_what_is_no_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
