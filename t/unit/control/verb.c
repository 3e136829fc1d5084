/* The reading of command lines, on a small table of its own: what reaches the function, and what is refused how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/verbs.h"
#include "control/verb.h"

#define CODE_SEEN 7 /* what the functions of the table here answer */

/* The call as text, through the environment, because a verb's function gets nothing from its caller. */
static int run_seen(const struct verb_call *call)
{
    struct buf b = BUF_INIT;

    buf_printf(&b, "%s %s dir=%s json=%d", call->verb->name, call->verb->sub != NULL ? call->verb->sub : "-", call->dir,
               call->json);
    for (unsigned i = 0; i < call->operand_count; i++)
        buf_printf(&b, " [%s]", call->operands[i]);
    for (const struct verb_option *o = call->verb->options; o != NULL && o->name != NULL; o++)
        if (verb_option(call, o->name) != NULL)
            buf_printf(&b, " %s=%s", o->name, verb_option(call, o->name));
    setenv("SEEN", buf_str(&b), 1);
    buf_free(&b);
    return CODE_SEEN;
}

static const struct verb_option options[] = {
    { "--name", "NAME", "a name" },
    { "--force", NULL, "no questions" },
    { NULL, NULL, NULL },
};
static const struct verb rows[] = {
    { "plain", NULL, NULL, 0, 0, NULL, VERB_ALONE, "Do nothing", run_seen, NULL },
    { "user", "add", "ADDRESS", 1, 1, options, VERB_BOTH, "Add a user", run_seen, NULL },
    { "user", "list", "[DOMAIN]", 0, 1, NULL, VERB_BOTH, "List users", run_seen, NULL },
    { "help", NULL, "[VERB]", 0, 2, NULL, VERB_ALONE, "Help", verb_run_help, NULL },
};
static const struct verb_table table = { rows, ARRAY_LEN(rows), NULL };

#define ARGS_MAX 8

static int run(const char *const *args)
{
    char *argv[ARGS_MAX + 2] = { mem_strdup("posthouse") };
    int argc = 1, code;

    while (argc <= ARGS_MAX && args[argc - 1] != NULL) {
        argv[argc] = mem_strdup(args[argc - 1]);
        argc++;
    }
    setenv("SEEN", "", 1);
    code = verb_main(&table, argc, argv);
    for (int i = 0; i < argc; i++)
        mem_free(argv[i]);
    return code;
}

static void verb__arguments(void **state)
{
    static const struct {
        const char *args[ARGS_MAX];
        int code;
        const char *seen;
    } cases[] = {
        { { "plain" }, CODE_SEEN, "plain - dir=/env json=0" },
        { { "plain", "--json" }, CODE_SEEN, "plain - dir=/env json=1" },
        { { "--dir", "/d", "plain" }, CODE_SEEN, "plain - dir=/d json=0" },
        { { "plain", "--dir=/d" }, CODE_SEEN, "plain - dir=/d json=0" },
        { { "user", "add", "a@b" }, CODE_SEEN, "user add dir=/env json=0 [a@b]" },
        { { "user", "add", "--name", "N", "a@b" }, CODE_SEEN, "user add dir=/env json=0 [a@b] --name=N" },
        { { "user", "add", "a@b", "--name=N=M", "--force" }, CODE_SEEN,
          "user add dir=/env json=0 [a@b] --name=N=M --force=" },
        { { "user", "add", "--name", "", "a@b" }, CODE_SEEN, "user add dir=/env json=0 [a@b] --name=" },
        { { "user", "add", "--", "--name" }, CODE_SEEN, "user add dir=/env json=0 [--name]" },
        { { "user", "add", "-" }, CODE_SEEN, "user add dir=/env json=0 [-]" },
        { { "user", "list" }, CODE_SEEN, "user list dir=/env json=0" },
        { { "user", "list", "b" }, CODE_SEEN, "user list dir=/env json=0 [b]" },
        /* refused: 64, and the function is not called */
        { { "plain", "x" }, 64, "" },
        { { "user" }, 64, "" },
        { { "user", "ad" }, 64, "" },
        { { "user", "add" }, 64, "" },
        { { "user", "add", "a@b", "--name" }, 64, "" },
        { { "user", "add", "a@b", "--name", "--json" }, 64, "" },
        { { "user", "add", "a@b", "--force=1" }, 64, "" },
        { { "user", "add", "a@b", "--farce" }, 64, "" },
        { { "user", "list", "--name", "x" }, 64, "" },
        { { "plain", "--dir" }, 64, "" },
        { { "plain", "--dir=" }, 64, "" },
        { { "nothing" }, 64, "" },
        { { NULL }, 64, "" },
        /* answered without the function */
        { { "--version" }, 0, "" },
        { { "user", "--help" }, 0, "" },
        { { "user", "add", "--help" }, 0, "" },
        { { "help", "user" }, 0, "" },
        { { "help", "user", "remove" }, 64, "" },
    };

    (void)state;
    setenv("POSTHOUSE_DIR", "/env", 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int code = run(cases[i].args);

        if (code != cases[i].code || strcmp(getenv("SEEN"), cases[i].seen) != 0)
            fail_msg("case %zu: code %d, seen '%s'", i, code, getenv("SEEN"));
    }
    unsetenv("POSTHOUSE_DIR");
    run((const char *const[]){ "plain", NULL });
    assert_string_equal(getenv("SEEN"), "plain - dir=" VERB_DIR_DEFAULT " json=0");
}

static void verb__nearest(void **state)
{
    static const struct {
        const char *word, *verb, *sub;
    } cases[] = {
        { "plian", "plain", NULL }, { "usr", "user", NULL },    { "x", NULL, NULL },
        { "hepl", "help", NULL },   { "lsit", NULL, "list" },   { "addd", NULL, "add" },
        { "zzzzzzzz", NULL, NULL }, { "", NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *verb = verb_nearest(&table, slice_str(cases[i].word));
        const char *sub = verb_nearest_sub(&table, SLICE("user"), slice_str(cases[i].word));

        if (cases[i].sub == NULL && (verb == NULL) != (cases[i].verb == NULL))
            fail_msg("case %zu: %s", i, verb != NULL ? verb : "none");
        if (cases[i].verb != NULL)
            assert_string_equal(verb, cases[i].verb);
        if (cases[i].sub != NULL)
            assert_string_equal(sub, cases[i].sub);
    }
}

static void verb__usage_from_row(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    verb_usage(&rows[1], &b);
    assert_string_equal(buf_str(&b), "posthouse user add ADDRESS [--name NAME] [--force]");
    buf_free(&b);
}

static void verb__exit_codes(void **state)
{
    (void)state;
    assert_int_equal(verb_exit_code(ERR_NONE), 0);
    assert_int_equal(verb_exit_code(ERR_SYNTAX), 64);
    assert_int_equal(verb_exit_code(ERR_NOTFOUND), 66);
    assert_int_equal(verb_exit_code(ERR_TEMP), 75);
    assert_int_equal(verb_exit_code(ERR_DENIED), 77);
    for (int kind = ERR_TEMP; kind <= ERR_BUG; kind++)
        assert_true(verb_exit_code((enum err_kind)kind) >= 64);
}

/* The rows of the product: what help, completion and the reading of arguments rely on. */
static void verbs__rows_are_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < posthouse_verbs.count; i++) {
        const struct verb *v = &posthouse_verbs.rows[i];
        size_t options_count = 0;

        if (v->run == NULL || v->help == NULL || v->help[strlen(v->help) - 1] == '.')
            fail_msg("%s: function, or help that ends in a full stop", v->name);
        if (v->operands_max > VERB_OPERANDS_MAX || v->operands_min > v->operands_max ||
            (v->operands_max != 0) != (v->operands != NULL))
            fail_msg("%s: operands", v->name);
        for (const struct verb_option *o = v->options; o != NULL && o->name != NULL; o++, options_count++)
            if (strncmp(o->name, "--", 2) != 0 || o->text == NULL)
                fail_msg("%s %s", v->name, o->name);
        assert_true(options_count <= VERB_OPTIONS_MAX);
        for (size_t k = 0; k < i; k++) {
            const struct verb *w = &posthouse_verbs.rows[k];

            if (strcmp(v->name, w->name) == 0 && (v->sub == NULL || w->sub == NULL || strcmp(v->sub, w->sub) == 0))
                fail_msg("%s stands twice", v->name);
            if (strcmp(v->name, w->name) == 0 && strcmp(v->name, posthouse_verbs.rows[i - 1].name) != 0)
                fail_msg("%s: its rows do not stand together", v->name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verb__arguments),        cmocka_unit_test(verb__nearest),
        cmocka_unit_test(verb__usage_from_row),   cmocka_unit_test(verb__exit_codes),
        cmocka_unit_test(verbs__rows_are_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
