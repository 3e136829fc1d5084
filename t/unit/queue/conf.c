/* conf.c - durations, channel blocks and pools as they stand in the document. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "queue/conf.h"

#define MIN INT64_C(60000)
#define DAY (24 * 60 * MIN)

static void conf__durations_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t unit, want; /* -1: an error */
    } rows[] = {
        { "90", 1000, 90000 },       { "0", MIN, 0 },           { "PT30M", 1, 30 * MIN },   { "pt2m", 1, 2 * MIN },
        { "P1D", 1, DAY },           { "P1DT2H", 1, DAY + 120 * MIN }, { "P1W", 1, 7 * DAY },
        { "P1Y", 1, 365 * DAY },     { "P2M", 1, 60 * DAY },    { "P1Y2M3W4DT5H6M7S", 1,
                                                                  (365 + 60 + 21 + 4) * DAY + 306 * MIN + 7000 },
        { "PT0S", 1, 0 },            { "P10Y", 1, 3650 * DAY },
        { "", 1, -1 },               { "P", 1, -1 },            { "PT", 1, -1 },            { "P1DT", 1, -1 },
        { "1D", 1, -1 },             { "P1H", 1, -1 },          { "PT1D", 1, -1 },          { "PT1", 1, -1 },
        { "PTM", 1, -1 },            { "P1D1D", 1, -1 },        { "PT1S1M", 1, -1 },        { "P-1D", 1, -1 },
        { "PT1.5M", 1, -1 },         { " PT1M", 1, -1 },        { "PT1M ", 1, -1 },         { "PT1MT1S", 1, -1 },
        { "P11Y", 1, -1 },           { "3651", DAY, -1 },       { "3650", DAY, 3650 * DAY },
        { "99999999999999999999", 1, -1 }, { "PT99999999999999999999S", 1, -1 }, { "P9Y400D", 1, -1 }, { "-1", 1, -1 },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = ERR_INIT;
        int64_t ms = -7;
        int rc = queue_duration_parse(slice_str(rows[i].text), rows[i].unit, &ms, &err);

        if (rc != (rows[i].want < 0 ? -1 : 0) || (rc == 0 && ms != rows[i].want))
            fail_msg("row %u \"%s\": %d, %lld", i, rows[i].text, rc, (long long)ms);
        if (rc < 0 && err.kind != ERR_SYNTAX)
            fail_msg("row %u: kind %d", i, (int)err.kind);
    }
}

struct heard {
    unsigned count;
    char first[300];
};

static void on_report(void *arg, const char *pointer, const char *message)
{
    struct heard *h = arg;

    if (h->count++ == 0)
        snprintf(h->first, sizeof h->first, "%s: %s", pointer, message);
}

static unsigned read_conf(const char *channels, const char *pools, bool hours, struct channels_conf *out,
                          struct arena *mem, struct heard *heard)
{
    json_t *c = channels != NULL ? json_loads(channels, 0, NULL) : NULL;
    json_t *p = pools != NULL ? json_loads(pools, 0, NULL) : NULL;
    unsigned errors;

    assert_true((channels == NULL || c != NULL) && (pools == NULL || p != NULL));
    memset(heard, 0, sizeof *heard);
    errors = channels_conf_read(c, p, hours, out, mem, on_report, heard);
    json_decref(c);
    json_decref(p);
    assert_int_equal(errors, heard->count);
    return errors;
}

static void conf__built_in_channels_are_there(void **state)
{
    static const struct {
        const char *name, *type, *pool;
    } rows[] = { { "tcp_local", "smtp", "SMTP_POOL" },   { "tcp_lmtp", "lmtp", "LOCAL_POOL" },
                 { "ims-ms", "store", "IMS_POOL" },      { "process", "process", "LOCAL_POOL" },
                 { "hold", "hold", "DEFAULT" },          { "bitbucket", "bitbucket", "DEFAULT" } };
    struct channels_conf conf;
    struct heard heard;
    struct arena mem;

    (void)state;
    arena_init(&mem, 1024);
    assert_int_equal(read_conf(NULL, NULL, false, &conf, &mem, &heard), 0);
    assert_int_equal(conf.channel_count, 6);
    assert_int_equal(conf.pool_count, 4);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct channel_conf *c = channel_conf_find(&conf, slice_str(rows[i].name));

        assert_non_null(c);
        assert_true(slice_eq(c->type, slice_str(rows[i].type)));
        assert_true(slice_eq(c->pool, slice_str(rows[i].pool)));
        assert_non_null(pool_conf_find(&conf, c->pool));
        assert_int_equal(c->notices_of[QUEUE_NORMAL].count, 4);
        assert_int_equal(c->notices_of[QUEUE_URGENT].ms[3], 12 * DAY);
    }
    assert_null(channel_conf_find(&conf, SLICE("tcp_loca")));
    arena_free(&mem);
}

/* Minutes after the first attempt of what always fails. mta-core 17.5. */
static void conf__default_backoff_gives_the_times_of_the_legacy_product(void **state)
{
    static const struct {
        enum queue_priority p;
        unsigned at[9], count;
    } rows[] = { { QUEUE_NORMAL, { 0, 60, 180, 300, 540, 780, 1020, 1500, 1980 }, 9 },
                 { QUEUE_URGENT, { 0, 30, 90, 150, 270, 390, 510, 750, 990 }, 9 },
                 { QUEUE_NONURGENT, { 0, 120, 360, 600, 1080, 1560, 2040, 3000 }, 8 } };
    struct channels_conf conf;
    struct heard heard;
    struct arena mem;

    (void)state;
    arena_init(&mem, 1024);
    read_conf(NULL, NULL, false, &conf, &mem, &heard);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t at = 0;

        for (unsigned n = 1; n < rows[i].count; n++) {
            at += queue_backoff(channel_conf_find(&conf, SLICE("tcp_local")), rows[i].p, n);
            assert_int_equal(at, rows[i].at[n] * MIN);
        }
    }
    arena_free(&mem);
}

static void conf__blocks_override_and_add(void **state)
{
    struct channels_conf conf;
    const struct channel_conf *c;
    struct heard heard;
    struct arena mem;

    (void)state;
    arena_init(&mem, 1024);
    assert_int_equal(read_conf("{ \"tcp_local\": { \"backoff\": [\"pt2m\", \"pt5m\", \"pt10m\", \"pt30m\"],"
                               "                  \"urgentbackoff\": [1], \"notices\": [1, 2, \"P3D\"],"
                               "                  \"nonurgentnotices\": [\"P9D\"], \"maxjobs\": 7 },"
                               "  \"tcp_slow\": { \"type\": \"smtp\", \"pool\": \"SLOW\", \"held\": true } }",
                               "{ \"SLOW\": { \"job_limit\": 1 }, \"DEFAULT\": { \"job_limit\": 33 } }", false, &conf,
                               &mem, &heard),
                     0);
    assert_int_equal(conf.channel_count, 7);
    c = channel_conf_find(&conf, SLICE("tcp_local"));
    assert_true(slice_eq(c->type, SLICE("smtp")));
    assert_true(slice_eq(c->pool, SLICE("SMTP_POOL")));
    assert_int_equal(c->maxjobs, 7);
    assert_int_equal(queue_backoff(c, QUEUE_NORMAL, 0), 2 * MIN);
    assert_int_equal(queue_backoff(c, QUEUE_NORMAL, 1), 2 * MIN);
    assert_int_equal(queue_backoff(c, QUEUE_NONURGENT, 3), 10 * MIN);
    assert_int_equal(queue_backoff(c, QUEUE_NORMAL, 4), 30 * MIN);
    assert_int_equal(queue_backoff(c, QUEUE_NORMAL, 400), 30 * MIN);
    assert_int_equal(queue_backoff(c, QUEUE_URGENT, 9), MIN);
    assert_int_equal(c->notices_of[QUEUE_NORMAL].count, 3);
    assert_int_equal(c->notices_of[QUEUE_NORMAL].ms[0], DAY);
    assert_int_equal(c->notices_of[QUEUE_NORMAL].ms[2], 3 * DAY);
    assert_int_equal(c->notices_of[QUEUE_NONURGENT].count, 1);
    assert_int_equal(c->notices_of[QUEUE_NONURGENT].ms[0], 9 * DAY);
    c = channel_conf_find(&conf, SLICE("tcp_slow"));
    assert_true(c->held);
    assert_int_equal(pool_conf_find(&conf, c->pool)->job_limit, 1);
    assert_int_equal(pool_conf_find(&conf, SLICE("DEFAULT"))->job_limit, 33);
    assert_int_equal(read_conf("{ \"tcp_local\": { \"notices\": [1, 2] } }", NULL, true, &conf, &mem, &heard), 0);
    c = channel_conf_find(&conf, SLICE("tcp_local"));
    assert_int_equal(c->notices_of[QUEUE_NORMAL].ms[1], 120 * MIN);
    arena_free(&mem);
}

static void conf__errors_say_where_and_what(void **state)
{
    static const struct {
        const char *channels, *pools, *want;
    } rows[] = {
        { "[]", NULL, "/channels: expected an object of at most 1000 named blocks" },
        { "{ \"a b\": {} }", NULL,
          "/channels: \"a b\" is no good name: 1 to 32 letters, digits, '-', '_', '.', '+'" },
        { "{ \"x\": {} }", NULL, "/channels/x: type is missing: smtp, lmtp, store, process, hold or bitbucket" },
        { "{ \"x\": { \"type\": \"stmp\" } }", NULL,
          "/channels/x/type: expected smtp, lmtp, store, process, hold or bitbucket, found \"stmp\"" },
        { "{ \"tcp_local\": { \"pool\": \"NONE\" } }", NULL, "/channels/tcp_local/pool: there is no pool \"NONE\"" },
        { "{ \"tcp_local\": { \"bakoff\": [] } }", NULL,
          "/channels/tcp_local/bakoff: unknown key \"bakoff\"; did you mean \"backoff\"?" },
        { "{ \"tcp_local\": { \"backoff\": [\"PT5\"] } }", NULL,
          "/channels/tcp_local/backoff/0: \"PT5\" is no duration: octet 4; expected one such as \"PT30M\" or "
          "\"P1DT12H\"" },
        { "{ \"tcp_local\": { \"backoff\": [0] } }", NULL,
          "/channels/tcp_local/backoff/0: expected a duration of at least a second" },
        { "{ \"tcp_local\": { \"notices\": [2, 2] } }", NULL,
          "/channels/tcp_local/notices/1: expected ages that rise" },
        { "{ \"tcp_local\": { \"notices\": [] } }", NULL,
          "/channels/tcp_local: notices: expected at least the age at which messages are returned" },
        { "{ \"tcp_local\": { \"backoff\": [1,1,1,1,1,1,1,1,1] } }", NULL,
          "/channels/tcp_local: backoff: expected at most 8 durations, found 9" },
        { "{ \"tcp_local\": 5 }", NULL, "/channels/tcp_local: expected an object, found a number" },
        { NULL, "{ \"P\": { \"job_limit\": 0 } }",
          "/pools/P/job_limit: expected a whole number from 1 to 100000, found 0" },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct channels_conf conf;
        struct heard heard;
        struct arena mem;

        arena_init(&mem, 1024);
        if (read_conf(rows[i].channels, rows[i].pools, false, &conf, &mem, &heard) != 1 ||
            strcmp(heard.first, rows[i].want) != 0)
            fail_msg("row %u: %u errors, \"%s\"", i, heard.count, heard.first);
        arena_free(&mem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conf__durations_are_read),
        cmocka_unit_test(conf__built_in_channels_are_there),
        cmocka_unit_test(conf__default_backoff_gives_the_times_of_the_legacy_product),
        cmocka_unit_test(conf__blocks_override_and_add),
        cmocka_unit_test(conf__errors_say_where_and_what),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
