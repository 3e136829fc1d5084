/* Documents and sets: problems are counted, what is good is there, restart keys are found, defaults are complete. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <unistd.h>

#include "base/buf.h"
#include "config/load.h"
#include "config/tables.h"
#include "config/write.h"
#include "net/conf.h"
#include "route/short.h"

static struct conf_set *parse(const char *text, unsigned *problems)
{
    return config_parse(slice_str(text), 7, NULL, NULL, problems);
}

static void config__parse(void **state)
{
    static const struct {
        const char *text;
        unsigned problems;
    } cases[] = {
        { "{}", 0 },
        { "", 1 },
        { "{", 1 },
        { "[]", 1 },
        { "{\"description\": \"x\", \"$schema\": \"y\"}", 0 },
        { "{\"nothing\": 1}", 1 },
        { "{\"net\": {\"helpers\": 0, \"no\": 1}, \"nothing\": 1}", 3 },
        { "{\"net\": {\"helpers\": 2}}", 0 },
        { "{\"net\": {\"helpers\": 2}, \"net\": {}}", 1 },
        { "{\"listeners\": {\"a\": {\"protocol\": \"gopher\", \"addresses\": [\"127.0.0.1:70\"]}}}", 1 },
        { "{\"routes\": [[\"a\", \"b\"], [\"c\", \"d\"]]}", 2 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned problems;
        struct conf_set *set = parse(cases[i].text, &problems);

        if (problems != cases[i].problems || (set == NULL) != (problems != 0))
            fail_msg("case %zu: %u problems", i, problems);
        if (set != NULL)
            snap_unref(&set->snap);
    }
}

static void config__set_has_every_section(void **state)
{
    unsigned problems;
    struct conf_set *set = parse("{\"net\": {\"helpers\": 9}, \"routes\": [[\"*\", \"smtp:h\"]]}", &problems);

    (void)state;
    assert_non_null(set);
    assert_int_equal(set->number, 7);
    for (size_t i = 0; i < config_section_count; i++)
        if (set->section[config_sections[i].number] == NULL)
            fail_msg("section %s is missing", config_sections[i].name);
    assert_int_equal(((const struct net_conf *)conf_section(set, CONF_NET))->helpers, 9);
    assert_true(((const struct net_conf *)conf_section(set, CONF_NET))->listener_count > 0);
    assert_int_equal(((const struct routes_conf *)conf_section(set, CONF_ROUTES))->count, 1);
    snap_unref(&set->snap);
}

static void key_note(void *arg, const char *key)
{
    buf_printf(arg, "%s ", key);
}

static void config__restart_keys(void **state)
{
    unsigned problems;
    struct conf_set *old = parse("{\"net\": {\"helpers\": 4, \"connections_max\": 5}}", &problems);
    struct conf_set *new = parse("{\"net\": {\"helpers\": 5, \"connections_max\": 6}, "
                                 "\"journal\": {\"keep_days\": 1, \"segment_bytes\": 65536}}", &problems);
    struct buf keys = BUF_INIT;

    (void)state;
    config_restart_keys(old, new, key_note, &keys);
    assert_string_equal(buf_str(&keys), "net.helpers journal.segment_bytes ");
    buf_reset(&keys);
    config_restart_keys(old, old, key_note, &keys);
    assert_int_equal(keys.len, 0);
    buf_free(&keys);
    snap_unref(&old->snap);
    snap_unref(&new->snap);
}

static void config__keys_found(void **state)
{
    static const struct {
        const char *key, *section, *row; /* section NULL: not found */
    } cases[] = {
        { "net", "net", NULL }, { "net.helpers", "net", "helpers" }, { "routes", "routes", NULL },
        { "routes.x", NULL, NULL }, { "net.x", NULL, NULL }, { "", NULL, NULL }, { "nte", NULL, NULL },
        { "channels", "channels", NULL }, { "channels.tcp_local", "channels", NULL },
        { "channels.*.port", "channels", "port" }, { "channels.x.port", "channels", "port" },
        { "channels.x.prt", NULL, NULL }, { "channels.x.port.y", NULL, NULL },
        { "pools.x.job_limit", "pools", "job_limit" },
        { "listeners.smtp.tls", "listeners", "tls" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = ERR_INIT;
        struct config_key key;
        int rc = config_key_find(slice_str(cases[i].key), &key, &err);

        if ((rc == 0) != (cases[i].section != NULL) || (rc < 0 && err.kind != ERR_NOTFOUND))
            fail_msg("case %zu", i);
        if (rc == 0)
            assert_string_equal(key.section->name, cases[i].section);
        if (rc == 0 && cases[i].row != NULL)
            assert_string_equal(key.row->name, cases[i].row);
    }
}

static void config__file_replaced_whole(void **state)
{
    struct buf path = BUF_INIT, temporary = BUF_INIT;
    struct err err = ERR_INIT;
    struct conf_set *set;
    json_t *o = json_pack("{s:{s:i}}", "net", "helpers", 3);

    (void)state;
    buf_printf(&path, "%s/ph-config-%d.json", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp", getpid());
    buf_printf(&temporary, "%s.new", buf_str(&path));
    assert_int_equal(config_write(buf_str(&path), o, &err), 0);
    assert_int_equal(config_load_err(buf_str(&path), 1, &set, &err), 0);
    assert_int_equal(((const struct net_conf *)conf_section(set, CONF_NET))->helpers, 3);
    assert_int_equal(access(buf_str(&temporary), F_OK), -1);
    snap_unref(&set->snap);
    json_object_set_new(json_object_get(o, "net"), "helpers", json_integer(0));
    assert_int_equal(config_write(buf_str(&path), o, &err), 0);
    assert_int_equal(config_load_err(buf_str(&path), 1, &set, &err), -1);
    assert_null(set);
    unlink(buf_str(&path));
    assert_int_equal(config_write("/nowhere/x.json", o, &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
    json_decref(o);
    buf_free(&path);
    buf_free(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config__parse),        cmocka_unit_test(config__set_has_every_section),
        cmocka_unit_test(config__restart_keys), cmocka_unit_test(config__keys_found),
        cmocka_unit_test(config__file_replaced_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
