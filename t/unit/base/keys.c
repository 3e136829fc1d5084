#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/keys.h"

struct conf {
    bool on;
    uint32_t limit;
    uint64_t bytes;
    uint32_t any32;
    uint64_t any64;
    slice host;
    slice word;
    slice least;
    uint32_t tls;
    struct key_strs names;
    struct key_strs codes;
    json_t *extra;
};

#define AT(field) .name = #field, .offset = offsetof(struct conf, field)

static const struct key_row rows[] = {
    { AT(on), .type = KEY_BOOL, .def = 1, .text = "a switch" },
    { AT(limit), .type = KEY_U32, .def = 1000, .min = 1, .max = 100000, .unit = UNIT_COUNT, .legacy = "recipientlimit",
      .text = "accepted recipients" },
    { AT(bytes), .type = KEY_U64, .def = (uint64_t)1 << 40, .min = 4096, .max = UINT64_MAX, .unit = UNIT_BYTES,
      .reload = RELOAD_RESTART },
    { AT(any32), .type = KEY_U32 },
    { AT(any64), .type = KEY_U64, .unit = UNIT_SECONDS },
    { AT(host), .type = KEY_STR, .def_text = "localhost", .min = 1, .max = 255, .reload = RELOAD_LISTENER },
    { AT(word), .type = KEY_STR },
    { AT(least), .type = KEY_STR, .def_text = "x", .min = 1 },
    { AT(tls), .type = KEY_ENUM, .def = 1, .words = "off|opportunistic|required" },
    { AT(names), .type = KEY_STRS, .def_text = "one|two" },
    { AT(codes), .type = KEY_STRS, .min = 2, .max = 3 },
    { AT(extra), .type = KEY_JSON },
};

static const struct key_table table = {
    .section = "smtp", .rows = rows, .count = ARRAY_LEN(rows), .struct_bytes = sizeof(struct conf), .text = "a test",
};

/* Everything reported, one "pointer: message" a line. */
static void collect(void *arg, const char *pointer, const char *message)
{
    buf_printf(arg, "%s: %s\n", pointer, message);
}

static int init_mem(void **state)
{
    static struct arena mem;

    arena_init(&mem, 4096);
    *state = &mem;
    return 0;
}

static int free_mem(void **state)
{
    arena_free(*state);
    return 0;
}

static void keys_default__fills_every_field(void **state)
{
    struct conf c;

    memset(&c, 0xEE, sizeof(c));
    keys_default(&table, &c, *state);
    assert_true(c.on);
    assert_int_equal(c.limit, 1000);
    assert_int_equal(c.bytes, (uint64_t)1 << 40);
    assert_int_equal(c.any32, 0);
    assert_int_equal(c.any64, 0);
    assert_true(slice_eq(c.host, SLICE("localhost")));
    assert_int_equal(c.word.len, 0);
    assert_non_null(c.word.ptr);
    assert_int_equal(c.tls, 1);
    assert_int_equal(c.names.count, 2);
    assert_true(slice_eq(c.names.items[0], SLICE("one")));
    assert_true(slice_eq(c.names.items[1], SLICE("two")));
    assert_int_equal(c.codes.count, 0);
    assert_null(c.extra);
}

static const char everything[] = "{\"on\":false,\"limit\":7,\"bytes\":9223372036854775807,\"any32\":4294967295,"
                                 "\"any64\":1,\"host\":\"mx\",\"word\":\"\",\"least\":\"enough\","
                                 "\"tls\":\"required\","
                                 "\"names\":[],\"codes\":[\"ab\",\"xyz\"],\"extra\":{\"k\":[1]}}";

static void keys_read__takes_every_type(void **state)
{
    json_t *doc = json_parse(SLICE(everything), NULL);
    struct buf said = BUF_INIT;
    struct conf c;

    keys_default(&table, &c, *state);
    assert_int_equal(keys_read(&table, doc, "/smtp", &c, *state, collect, &said), 0);
    assert_string_equal(buf_str(&said), "");
    assert_false(c.on);
    assert_int_equal(c.limit, 7);
    assert_int_equal(c.bytes, INT64_MAX);
    assert_int_equal(c.any32, UINT32_MAX);
    assert_int_equal(c.any64, 1);
    assert_int_equal(c.word.len, 0);
    assert_int_equal(c.tls, 2);
    assert_int_equal(c.names.count, 0);
    assert_ptr_equal(c.extra, json_object_get(doc, "extra"));
    json_decref(doc); /* strings were copied */
    assert_true(slice_eq(c.host, SLICE("mx")));
    assert_int_equal(c.codes.count, 2);
    assert_true(slice_eq(c.codes.items[0], SLICE("ab")));
    assert_true(slice_eq(c.codes.items[1], SLICE("xyz")));
    buf_free(&said);
}

static void keys_value__prints_what_was_read(void **state)
{
    json_t *doc = json_parse(SLICE(everything), NULL), *back = json_object();
    struct buf text = BUF_INIT;
    struct conf c;

    keys_default(&table, &c, *state);
    assert_int_equal(keys_read(&table, doc, "", &c, *state, NULL, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        json_object_set_new(back, rows[i].name, keys_value(&rows[i], &c));
    json_print(&text, back, false);
    assert_string_equal(buf_str(&text), everything);
    keys_default(&table, &c, *state);
    c.any64 = UINT64_MAX;
    json_decref(back);
    back = json_object();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        json_object_set_new(back, rows[i].name, keys_value(&rows[i], &c));
    buf_reset(&text);
    json_print(&text, back, false);
    assert_string_equal(buf_str(&text),
                        "{\"on\":true,\"limit\":1000,\"bytes\":1099511627776,\"any32\":0,"
                        "\"any64\":1.8446744073709552e19,\"host\":\"localhost\",\"word\":\"\",\"least\":\"x\","
                        "\"tls\":\"opportunistic\",\"names\":[\"one\",\"two\"],\"codes\":[],\"extra\":null}");
    json_decref(back);
    json_decref(doc);
    buf_free(&text);
}

/* Each document has one mistake; the struct must stay as it was. */
static void keys_read__reports_each_mistake(void **state)
{
    static const struct {
        const char *doc, *want;
    } mistakes[] = {
        { "[]", "/smtp: expected an object, found an array\n" },
        { "null", "/smtp: expected an object, found null\n" },
        { "{\"on\":1}", "/smtp/on: expected true or false, found a number\n" },
        { "{\"on\":null}", "/smtp/on: expected true or false, found null\n" },
        { "{\"limit\":\"7\"}", "/smtp/limit: expected a whole number, found a string\n" },
        { "{\"limit\":true}", "/smtp/limit: expected a whole number, found true or false\n" },
        { "{\"limit\":7.0}", "/smtp/limit: expected a whole number, found a number with a fraction\n" },
        { "{\"limit\":0}", "/smtp/limit: expected a whole number from 1 to 100000, found 0\n" },
        { "{\"limit\":-1}", "/smtp/limit: expected a whole number from 1 to 100000, found -1\n" },
        { "{\"limit\":100001}", "/smtp/limit: expected a whole number from 1 to 100000, found 100001\n" },
        { "{\"limit\":4294967297}", "/smtp/limit: expected a whole number from 1 to 100000, found 4294967297\n" },
        { "{\"bytes\":4095}", "/smtp/bytes: expected a whole number of at least 4096 bytes, found 4095\n" },
        { "{\"any32\":4294967296}",
          "/smtp/any32: expected a whole number from 0 to 4294967295, found 4294967296\n" },
        { "{\"any64\":-1}", "/smtp/any64: expected a whole number of at least 0 seconds, found -1\n" },
        { "{\"host\":[\"a\"]}", "/smtp/host: expected a string, found an array\n" },
        { "{\"host\":\"\"}", "/smtp/host: expected a string of 1 to 255 octets, found one of 0\n" },
        { "{\"least\":\"\"}", "/smtp/least: expected a string of at least 1 octets, found one of 0\n" },
        { "{\"word\":\"a\\u0000b\"}", "/smtp/word: expected a string without NUL, found one with it\n" },
        { "{\"tls\":2}", "/smtp/tls: expected a string, found a number\n" },
        { "{\"tls\":\"require\"}", "/smtp/tls: expected one of \"off\", \"opportunistic\", \"required\"; "
                                   "found \"require\"; did you mean \"required\"?\n" },
        { "{\"tls\":\"OFF\"}",
          "/smtp/tls: expected one of \"off\", \"opportunistic\", \"required\"; found \"OFF\"\n" },
        { "{\"names\":\"one\"}", "/smtp/names: expected an array of strings, found a string\n" },
        { "{\"names\":[\"a\",2]}", "/smtp/names/1: expected a string, found a number\n" },
        { "{\"names\":[{}]}", "/smtp/names/0: expected a string, found an object\n" },
        { "{\"codes\":[\"ab\",\"abc\",\"a\"]}",
          "/smtp/codes/2: expected a string of 2 to 3 octets, found one of 1\n" },
        { "{\"limt\":1}", "/smtp/limt: unknown key \"limt\"; did you mean \"limit\"?\n" },
        { "{\"RecipientLimit\":1}", "/smtp/RecipientLimit: unknown key \"RecipientLimit\"; did you mean \"limit\"?\n" },
        { "{\"nothing like it\":1}", "/smtp/nothing like it: unknown key \"nothing like it\"\n" },
        { "{\"a/b~c\":1}", "/smtp/a~1b~0c: unknown key \"a/b~c\"\n" },
        { "{\"\":1}", "/smtp/: unknown key \"\"\n" },
    };
    struct conf before, c;

    keys_default(&table, &before, *state);
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        json_t *doc = json_parse(slice_str(mistakes[i].doc), NULL);
        struct buf said = BUF_INIT;

        assert_non_null(doc);
        memcpy(&c, &before, sizeof(c));
        if (keys_read(&table, doc, "/smtp", &c, *state, collect, &said) != 1)
            fail_msg("row %zu: not one error: %s", i, buf_str(&said));
        if (strcmp(buf_str(&said), mistakes[i].want) != 0)
            fail_msg("row %zu: %s", i, buf_str(&said));
        if (memcmp(&c, &before, sizeof(c)) != 0)
            fail_msg("row %zu: a field was changed", i);
        json_decref(doc);
        buf_free(&said);
    }
}

static void keys_read__reports_all_mistakes_and_keeps_the_good(void **state)
{
    json_t *doc = json_parse(SLICE("{\"limit\":0,\"host\":\"mx\",\"hots\":1,\"names\":[1,\"a\",null]}"), NULL);
    struct buf said = BUF_INIT;
    struct conf c;

    keys_default(&table, &c, *state);
    assert_int_equal(keys_read(&table, doc, "", &c, *state, collect, &said), 4);
    assert_string_equal(buf_str(&said), "/limit: expected a whole number from 1 to 100000, found 0\n"
                                        "/hots: unknown key \"hots\"; did you mean \"host\"?\n"
                                        "/names/0: expected a string, found a number\n"
                                        "/names/2: expected a string, found null\n");
    assert_true(slice_eq(c.host, SLICE("mx")));
    assert_int_equal(c.limit, 1000);
    assert_int_equal(c.names.count, 2);
    assert_int_equal(keys_read(&table, doc, NULL, &c, *state, NULL, NULL), 4); /* nobody listens */
    assert_int_equal(keys_read(&table, NULL, NULL, &c, *state, NULL, NULL), 1);
    json_decref(doc);
    buf_free(&said);
}

/* A hostile document must not fill the operator's screen. */
static void keys_read__shortens_what_it_quotes(void **state)
{
    json_t *doc = json_object();
    struct buf name = BUF_INIT, said = BUF_INIT;
    struct conf c;

    keys_default(&table, &c, *state);
    for (int i = 0; i < 5000; i++)
        buf_put_byte(&name, 'x');
    json_object_set_new(doc, "tls", json_from_slice(buf_slice(&name)));
    assert_int_equal(keys_read(&table, doc, "", &c, *state, collect, &said), 1);
    assert_in_range(said.len, 100, 200);
    assert_non_null(strstr(buf_str(&said), "xxx\"..."));
    json_decref(doc);
    buf_free(&name);
    buf_free(&said);
}

static void keys_find__by_exact_name(void **state)
{
    (void)state;
    assert_ptr_equal(keys_find(&table, SLICE("limit")), &rows[1]);
    assert_null(keys_find(&table, SLICE("Limit")));
    assert_null(keys_find(&table, SLICE("recipientlimit")));
    assert_null(keys_find(&table, SLICE_NONE));
}

static void keys_nearest__by_distance_or_legacy_name(void **state)
{
    static const struct {
        const char *name, *want;
    } words[] = {
        { "limit", "limit" }, { "limits", "limit" },   { "ilmit", "limit" },  { "bites", "bytes" }, { "any", "any32" },
        { "codec", "codes" }, { "hst", "host" },       { "zz", NULL },        { "", NULL },         { "of", "on" },
        { "recipientlimit", "limit" },                 { "namings", "names" },   { "extar", "extra" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        const struct key_row *row = keys_nearest(&table, slice_str(words[i].name));

        if ((row == NULL) != (words[i].want == NULL) || (row != NULL && strcmp(row->name, words[i].want) != 0))
            fail_msg("row %zu: %s", i, row == NULL ? "none" : row->name);
    }
}

static void keys_schema__describes_each_type(void **state)
{
    static const char *const want[] = {
        "{\"type\":\"boolean\",\"default\":true,\"description\":\"a switch\",\"x-reload\":\"session\"}",
        "{\"type\":\"integer\",\"minimum\":1,\"maximum\":100000,\"default\":1000,"
        "\"description\":\"accepted recipients\",\"x-reload\":\"session\",\"x-legacy\":\"recipientlimit\"}",
        "{\"type\":\"integer\",\"minimum\":4096,\"default\":1099511627776,\"x-unit\":\"bytes\","
        "\"x-reload\":\"restart\"}",
        "{\"type\":\"integer\",\"minimum\":0,\"maximum\":4294967295,\"default\":0,\"x-reload\":\"session\"}",
        "{\"type\":\"integer\",\"minimum\":0,\"default\":0,\"x-unit\":\"seconds\",\"x-reload\":\"session\"}",
        "{\"type\":\"string\",\"minLength\":1,\"maxLength\":255,\"default\":\"localhost\","
        "\"x-reload\":\"listener\"}",
        "{\"type\":\"string\",\"default\":\"\",\"x-reload\":\"session\"}",
        "{\"type\":\"string\",\"minLength\":1,\"default\":\"x\",\"x-reload\":\"session\"}",
        "{\"type\":\"string\",\"enum\":[\"off\",\"opportunistic\",\"required\"],"
        "\"default\":\"opportunistic\",\"x-reload\":\"session\"}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"default\":[\"one\",\"two\"],"
        "\"x-reload\":\"session\"}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":3},\"default\":[],"
        "\"x-reload\":\"session\"}",
        "{\"x-reload\":\"session\"}",
    };

    (void)state;
    assert_int_equal(ARRAY_LEN(want), ARRAY_LEN(rows));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *schema = keys_schema(&rows[i]);
        struct buf b = BUF_INIT;

        json_print(&b, schema, false);
        if (strcmp(buf_str(&b), want[i]) != 0)
            fail_msg("row %zu: %s", i, buf_str(&b));
        json_decref(schema);
        buf_free(&b);
    }
}

static void key_names__are_words(void **state)
{
    (void)state;
    assert_string_equal(key_unit_name(UNIT_NONE), "");
    assert_string_equal(key_unit_name(UNIT_COUNT), "");
    assert_string_equal(key_unit_name(UNIT_BYTES), "bytes");
    assert_string_equal(key_unit_name(UNIT_SECONDS), "seconds");
    assert_string_equal(key_unit_name(UNIT_MS), "milliseconds");
    assert_string_equal(key_unit_name(UNIT_DAYS), "days");
    assert_string_equal(key_unit_name(UNIT_PERCENT), "percent");
    assert_string_equal(key_unit_name(UNIT_PATH), "path");
    assert_string_equal(key_unit_name(UNIT_PORT), "port");
    assert_string_equal(key_reload_name(RELOAD_SESSION), "session");
    assert_string_equal(key_reload_name(RELOAD_LISTENER), "listener");
    assert_string_equal(key_reload_name(RELOAD_RESTART), "restart");
}

static void edit_distance__counts_up_to_the_limit(void **state)
{
    static char long_word[301];
    static const struct {
        const char *a, *b;
        unsigned limit, want;
    } words[] = {
        { "", "", 3, 0 },           { "a", "", 3, 1 },        { "", "abc", 3, 3 },     { "", "abcd", 3, 4 },
        { "abc", "abc", 0, 0 },     { "abc", "abd", 0, 1 },   { "abc", "acb", 3, 1 },  { "kitten", "sitting", 3, 3 },
        { "kitten", "sitting", 2, 3 }, { "abcdef", "badcfe", 3, 3 }, { "recieve", "receive", 3, 1 },
        { "abcdefgh", "stuvwxyz", 3, 4 }, { "abcdefgh", "stuvwxyz", 20, 8 }, { "ca", "abc", 3, 3 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        unsigned d = edit_distance(slice_str(words[i].a), slice_str(words[i].b), words[i].limit);

        if (d != words[i].want || edit_distance(slice_str(words[i].b), slice_str(words[i].a), words[i].limit) != d)
            fail_msg("row %zu: %u", i, d);
    }
    memset(long_word, 'x', 300);
    assert_int_equal(edit_distance(slice_str(long_word), slice_str(long_word), 3), 0);
    assert_int_equal(edit_distance(slice_str(long_word), slice_str(long_word + 1), 3), 4);
    assert_int_equal(edit_distance(slice_str(long_word + 45), slice_str(long_word + 46), 3), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_default__fills_every_field, init_mem, free_mem),
        cmocka_unit_test_setup_teardown(keys_read__takes_every_type, init_mem, free_mem),
        cmocka_unit_test_setup_teardown(keys_value__prints_what_was_read, init_mem, free_mem),
        cmocka_unit_test_setup_teardown(keys_read__reports_each_mistake, init_mem, free_mem),
        cmocka_unit_test_setup_teardown(keys_read__reports_all_mistakes_and_keeps_the_good, init_mem, free_mem),
        cmocka_unit_test_setup_teardown(keys_read__shortens_what_it_quotes, init_mem, free_mem),
        cmocka_unit_test(keys_find__by_exact_name),
        cmocka_unit_test(keys_nearest__by_distance_or_legacy_name),
        cmocka_unit_test(keys_schema__describes_each_type),
        cmocka_unit_test(key_names__are_words),
        cmocka_unit_test(edit_distance__counts_up_to_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
