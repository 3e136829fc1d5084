/* Answers as tables: columns, widths, inner objects, and words of strangers that try to write lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "control/render.h"

static void render__values(void **state)
{
    static const struct {
        const char *json, *text;
    } cases[] = {
        { "\"done\"", "done\n" },
        { "\"two\\nlines\\n\"", "two\nlines\n" },
        { "\"bell\\u0007\"", "bell?\n" },
        { "7", "7\n" },
        { "true", "yes\n" },
        { "null", "\n" },
        { "[]", "" },
        { "[\"a\", \"b\"]", "a\nb\n" },
        { "{}", "" },
        { "{\"a\": 1, \"long\": false}", "a     1\nlong  no\n" },
        { "{\"in\": {\"a\": \"x\", \"bc\": 2}, \"z\": [1, 2]}", "in.a   x\nin.bc  2\nz      1, 2\n" },
        { "{\"a\": 1, \"rows\": [{\"n\": \"x\", \"m\": 22}], \"z\": 2}", "a  1\nz  2\n\nrows:\nn   m\nx  22\n" },
        { "[{\"name\": \"INBOX\", \"n\": 5}, {\"name\": \"a\", \"n\": 1000}]",
          "name      n\nINBOX     5\na      1000\n" },
        { "[{\"a\": \"x\\ny\", \"b\": null}, {\"b\": \"z\"}]", "a    b\nx?y  \n     z\n" },
        { "[{\"a\": \"\xc3\xa9\xc3\xa9\", \"b\": 1}, {\"a\": \"xyz\", \"b\": 2}]",
          "a    b\n\xc3\xa9\xc3\xa9   1\nxyz  2\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = ERR_INIT;
        json_t *v = json_parse(slice_str(cases[i].json), &err);
        struct buf out = BUF_INIT;

        assert_non_null(v);
        render_value(&out, v);
        if (!slice_eq(buf_slice(&out), slice_str(cases[i].text)))
            fail_msg("case %zu:\n%s", i, buf_str(&out));
        buf_free(&out);
        json_decref(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(render__values) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
