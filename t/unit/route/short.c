/* The short form of routes: what each destination means, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "route/short.h"

static void route_short__parses(void **state)
{
    static const struct {
        const char *pattern, *destination, *host;
        enum route_channel channel;
        bool is_literal, is_path;
        unsigned port;
    } cases[] = {
        { "example.net", "smtp:[10.0.0.9]:25", "10.0.0.9", ROUTE_SMTP, true, false, 25 },
        { "example.net", "smtp:[10.0.0.9]", "10.0.0.9", ROUTE_SMTP, true, false, 0 },
        { "example.net", "smtp:[2001:db8::1]:2525", "2001:db8::1", ROUTE_SMTP, true, false, 2525 },
        { "*.example.net", "smtp:mx.example.org", "mx.example.org", ROUTE_SMTP, false, false, 0 },
        { "*", "smtp:relay:587", "relay", ROUTE_SMTP, false, false, 587 },
        { "a", "lmtp:h:65535", "h", ROUTE_LMTP, false, false, 65535 },
        { "a", "lmtp:/run/x.sock", "/run/x.sock", ROUTE_LMTP, false, true, 0 },
        { "a_b.c-d", "smtp:h", "h", ROUTE_SMTP, false, false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route_short r;
        struct err err = ERR_INIT;

        if (route_short_parse(slice_str(cases[i].pattern), slice_str(cases[i].destination), &r, &err) < 0)
            fail_msg("case %zu: %s", i, err.text);
        if (!slice_eq(r.host, slice_str(cases[i].host)) || r.channel != cases[i].channel ||
            r.is_literal != cases[i].is_literal || r.is_path != cases[i].is_path || r.port != cases[i].port ||
            !slice_eq(r.pattern, slice_str(cases[i].pattern)))
            fail_msg("case %zu: host %.*s, port %u", i, SLICE_ARG(r.host), r.port);
    }
}

static void route_short__refuses(void **state)
{
    static const struct {
        const char *pattern, *destination;
    } cases[] = {
        { "", "smtp:h" },          { "-a", "smtp:h" },       { "a-", "smtp:h" },        { "a..b", "smtp:h" },
        { "a.", "smtp:h" },        { "*a", "smtp:h" },       { "*.", "smtp:h" },        { "a.*", "smtp:h" },
        { "a b", "smtp:h" },       { "a", "smtp" },          { "a", "smtp:" },          { "a", ":h" },
        { "a", "uucp:h" },         { "a", "SMTP:h" },        { "a", "smtp:h:" },        { "a", "smtp:h:0" },
        { "a", "smtp:h:65536" },   { "a", "smtp:h:25x" },    { "a", "smtp:[10.0.0.9" }, { "a", "smtp:[]" },
        { "a", "smtp:[h.example]" }, { "a", "smtp:[1.2.3.4]25" }, { "a", "smtp:/path" }, { "a", "smtp:h h" },
        { "a", "" },
    };
    char label[80];
    struct route_short r;
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (route_short_parse(slice_str(cases[i].pattern), slice_str(cases[i].destination), &r, &err) == 0)
            fail_msg("case %zu is accepted", i);
    memset(label, 'a', sizeof label);
    assert_int_equal(route_short_parse(slice_of(label, 63), SLICE("smtp:h"), &r, &err), 0);
    assert_int_equal(route_short_parse(slice_of(label, 64), SLICE("smtp:h"), &r, &err), -1);
    assert_int_equal(err.kind, ERR_SYNTAX);
}

static void problem(void *arg, const char *pointer, const char *message)
{
    (void)message;
    buf_printf(arg, "%s ", pointer);
}

static void route_short__reads_what_is_good(void **state)
{
    json_t *rows = json_loads("[[\"a\", \"smtp:h\"], 1, [\"b\"], [\"c\", 2], [\"d\", \"x\"], [\"*\", \"lmtp:h\"]]", 0,
                              NULL);
    struct routes_conf conf;
    struct buf pointers = BUF_INIT;
    struct arena mem;

    (void)state;
    arena_init(&mem, 256);
    assert_int_equal(route_short_read(rows, &conf, &mem, problem, &pointers), 4);
    assert_string_equal(buf_str(&pointers), "/routes/1 /routes/2 /routes/3 /routes/4 ");
    assert_int_equal(conf.count, 2);
    assert_true(slice_eq(conf.rows[1].pattern, SLICE("*")));
    assert_int_equal(route_short_read(NULL, &conf, &mem, NULL, NULL), 0);
    assert_int_equal(conf.count, 0);
    buf_free(&pointers);
    arena_free(&mem);
    json_decref(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(route_short__parses),
        cmocka_unit_test(route_short__refuses),
        cmocka_unit_test(route_short__reads_what_is_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
