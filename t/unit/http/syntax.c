/* Requests of HTTP: what is taken, and with which status everything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/http.h"

static const struct {
    const char *line;
    unsigned status;
    const char *method, *path;
    unsigned minor;
} lines[] = {
    { "GET /metrics HTTP/1.1", 0, "GET", "/metrics", 1 },
    { "GET /metrics HTTP/1.0", 0, "GET", "/metrics", 0 },
    { "GET /metrics?a=b?c HTTP/1.1", 0, "GET", "/metrics", 1 },
    { "GET /? HTTP/1.9", 0, "GET", "/", 9 },
    { "M-SEARCH /%20 HTTP/1.1", 0, "M-SEARCH", "/%20", 1 },
    { "GET / HTTP/2.0", 505, NULL, NULL, 0 },
    { "GET / HTTP/0.9", 505, NULL, NULL, 0 },
    { "GET / HTTP/1.1 ", 400, NULL, NULL, 0 },
    { "GET / HTTP/1.", 400, NULL, NULL, 0 },
    { "GET / HTTP/11", 400, NULL, NULL, 0 },
    { "GET / HTTP/1x1", 400, NULL, NULL, 0 },
    { "GET / http/1.1", 400, NULL, NULL, 0 },
    { "GET /", 400, NULL, NULL, 0 },
    { "GET  / HTTP/1.1", 400, NULL, NULL, 0 },
    { " GET / HTTP/1.1", 400, NULL, NULL, 0 },
    { "GET /a b HTTP/1.1", 400, NULL, NULL, 0 },
    { "GET /a\tb HTTP/1.1", 400, NULL, NULL, 0 },
    { "GET /\x7f HTTP/1.1", 400, NULL, NULL, 0 },
    { "GET /\xc3\xa4 HTTP/1.1", 400, NULL, NULL, 0 },
    { "GET * HTTP/1.1", 400, NULL, NULL, 0 },
    { "GET http://x/ HTTP/1.1", 400, NULL, NULL, 0 },
    { "G(T / HTTP/1.1", 400, NULL, NULL, 0 },
    { "", 400, NULL, NULL, 0 },
};

static void http__request_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct http_request r;

        assert_int_equal(http_request_line(slice_str(lines[i].line), &r), lines[i].status);
        if (lines[i].status != 0)
            continue;
        assert_true(slice_eq(r.method, slice_str(lines[i].method)));
        assert_true(slice_eq(r.path, slice_str(lines[i].path)));
        assert_int_equal(r.minor, lines[i].minor);
    }
}

static const struct {
    const char *line;
    unsigned status;
    unsigned hosts;
    bool has_body;
} fields[] = {
    { "Host: x", 0, 1, false },
    { "HOST:", 0, 1, false },
    { "Accept: text/plain;q=0.5,\t*/*", 0, 0, false },
    { "X: \xc3\xa4", 0, 0, false },
    { "Content-Length: 0", 0, 0, false },
    { "Content-Length: 00", 0, 0, true },
    { "content-length:1", 0, 0, true },
    { "Content-Length: 0, 0", 0, 0, true },
    { "Transfer-Encoding: identity", 0, 0, true },
    { "no colon", 400, 0, false },
    { ": x", 400, 0, false },
    { "Host : x", 400, 0, false },
    { " folded: x", 400, 0, false },
    { "X: a\x01", 400, 0, false },
    { "X: a\x7f", 400, 0, false },
};

static void http__field_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        struct http_request r = { .minor = 1 };

        assert_int_equal(http_field_line(slice_str(fields[i].line), &r), fields[i].status);
        assert_int_equal(r.hosts, fields[i].hosts);
        assert_int_equal(r.has_body, fields[i].has_body);
    }
}

static void http__fields_are_limited(void **state)
{
    struct http_request r = { .minor = 1 };

    (void)state;
    for (unsigned i = 0; i < HTTP_FIELDS_MAX; i++)
        assert_int_equal(http_field_line(SLICE("a: b"), &r), 0);
    assert_int_equal(http_field_line(SLICE("a: b"), &r), 431);
}

static const struct {
    struct http_request r;
    unsigned status;
} ends[] = {
    { { .minor = 1, .hosts = 1 }, 0 },
    { { .minor = 0, .hosts = 0 }, 0 },
    { { .minor = 0, .hosts = 1 }, 0 },
    { { .minor = 1, .hosts = 0 }, 400 },
    { { .minor = 1, .hosts = 2 }, 400 },
    { { .minor = 0, .hosts = 2 }, 400 },
    { { .minor = 1, .hosts = 1, .has_body = true }, 400 },
};

static void http__ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        assert_int_equal(http_request_end(&ends[i].r), ends[i].status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http__request_lines),
        cmocka_unit_test(http__field_lines),
        cmocka_unit_test(http__fields_are_limited),
        cmocka_unit_test(http__ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
