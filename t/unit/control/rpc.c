/* Parameters of methods: what is accepted, what is refused, and that the rows of methods and verbs agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "config/verbs.h"
#include "control/rpc.h"

static void rpc__params_checked(void **state)
{
    static const struct {
        const char *method, *params;
        bool is_good;
    } cases[] = {
        { "user.add", "{\"address\": \"a@b\"}", true },
        { "user.add", "{\"address\": \"a@b\", \"quota\": 0, \"admin\": true, \"name\": \"x\"}", true },
        { "user.add", "{}", false },
        { "user.add", "{\"address\": 1}", false },
        { "user.add", "{\"address\": \"a@b\", \"quota\": \"1\"}", false },
        { "user.add", "{\"address\": \"a@b\", \"quota\": -1}", false },
        { "user.add", "{\"address\": \"a@b\", \"admin\": 1}", false },
        { "user.add", "{\"address\": \"a@b\", \"adress\": \"x\"}", false },
        { "user.add", "[\"a@b\"]", false },
        { "user.list", "{}", true },
        { "alias.set", "{\"address\": \"a@b\", \"target\": [\"c@d\"]}", true },
        { "alias.set", "{\"address\": \"a@b\", \"target\": []}", false },
        { "alias.set", "{\"address\": \"a@b\", \"target\": \"c@d\"}", false },
        { "alias.set", "{\"address\": \"a@b\", \"target\": [1]}", false },
        { "status", "{\"x\": 1}", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = ERR_INIT;
        json_t *params = json_parse(slice_str(cases[i].params), &err);
        int rc = rpc_params_check(rpc_find(slice_str(cases[i].method)), params, &err);

        if ((rc == 0) != cases[i].is_good || (rc < 0 && err.kind != ERR_SYNTAX))
            fail_msg("case %zu: %s", i, err.text);
        json_decref(params);
    }
}

static void rpc__words_become_values(void **state)
{
    static const struct {
        enum rpc_type type;
        const char *text, *json; /* NULL: refused */
    } cases[] = {
        { RPC_STR, "7", "\"7\"" },    { RPC_INT, "7", "7" },         { RPC_INT, "-7", NULL },
        { RPC_INT, "seven", NULL },   { RPC_INT, "", NULL },         { RPC_INT, "9223372036854775808", NULL },
        { RPC_BOOL, "", "true" },     { RPC_BOOL, "no", "false" },   { RPC_BOOL, "maybe", NULL },
        { RPC_STRS, "a", "[\"a\"]" }, { RPC_SECRET, "s", "\"s\"" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rpc_param p = { "x", cases[i].type, true, "" };
        struct err err = ERR_INIT;
        json_t *v = rpc_param_value(&p, cases[i].text, &err);
        struct buf text = BUF_INIT;

        if ((v == NULL) != (cases[i].json == NULL))
            fail_msg("case %zu: %s", i, err.text);
        if (v != NULL) {
            json_print(&text, v, false);
            assert_string_equal(buf_str(&text), cases[i].json);
        }
        buf_free(&text);
        json_decref(v);
    }
}

/* A word of a usage line names the parameter without ASCII case, '-' standing for '_'. */
static const struct rpc_param *param(const struct rpc_method *m, const char *name, size_t len)
{
    for (const struct rpc_param *p = m->params; p->name != NULL; p++) {
        size_t i = 0;

        while (i < len && p->name[i] != '\0' &&
               ascii_lower((unsigned char)(name[i] == '-' ? '_' : name[i])) == (unsigned char)p->name[i])
            i++;
        if (i == len && p->name[i] == '\0')
            return p;
    }
    return NULL;
}

/* Every method is unique, every verb's method exists, takes its operands and options, and runs where the verb says. */
static void rpc__verbs_and_methods_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < rpc_method_count; i++)
        assert_ptr_equal(rpc_find(slice_str(rpc_methods[i].name)), &rpc_methods[i]);
    for (size_t i = 0; i < posthouse_verbs.count; i++) {
        const struct verb *v = &posthouse_verbs.rows[i];
        const struct rpc_method *m = v->method != NULL ? rpc_find(slice_str(v->method)) : NULL;
        slice rest = slice_str(v->operands), word;

        if (v->method == NULL)
            continue;
        if (m == NULL)
            fail_msg("%s: no method %s", v->name, v->method);
        while ((word = slice_word(&rest)).len != 0) {
            size_t from = word.ptr[0] == '[', len = 0;

            while (from + len < word.len && (ascii_is_alpha(word.ptr[from + len]) || word.ptr[from + len] == '-'))
                len++;
            if (param(m, (const char *)word.ptr + from, len) == NULL)
                fail_msg("%s %s: %.*s is no parameter", v->name, v->sub, SLICE_ARG(word));
        }
        for (const struct verb_option *o = v->options; o != NULL && o->name != NULL; o++)
            if (strcmp(o->name, "--password-stdin") != 0 && strcmp(o->name, "--metrics") != 0 &&
                param(m, o->name + 2, strlen(o->name) - 2) == NULL)
                fail_msg("%s %s: %s is no parameter", v->name, v->sub, o->name);
        if (v->where == VERB_BOTH && v->run != NULL && (m->flags & RPC_OFFLINE) == 0 && strcmp(v->name, "rebuild") != 0)
            fail_msg("%s %s cannot run without a daemon", v->name, v->sub);
    }
}

static void rpc__kinds_both_ways(void **state)
{
    (void)state;
    for (int kind = ERR_TEMP; kind <= ERR_BUG; kind++)
        assert_int_equal(rpc_kind(slice_str(err_kind_name((enum err_kind)kind))), kind);
    assert_int_equal(rpc_kind(SLICE("never heard")), ERR_TEMP);
    assert_string_equal(rpc_nearest(SLICE("usr.add")), "user.add");
    assert_null(rpc_nearest(SLICE("zzzzzz")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rpc__params_checked),
        cmocka_unit_test(rpc__words_become_values),
        cmocka_unit_test(rpc__verbs_and_methods_agree),
        cmocka_unit_test(rpc__kinds_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
