#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/own.h"
#include "smtp/syntax.h"

#define A10 "aaaaaaaaaa"
#define A63 A10 A10 A10 A10 A10 A10 "aaa"

static struct arena mem;

static bool eq(slice s, const char *text)
{
    return slice_eq(s, slice_str(text));
}

static void smtp_verb__cuts_the_word_and_the_blanks(void **state)
{
    static const struct {
        const char *line, *word, *rest;
    } rows[] = {
        { "QUIT", "QUIT", "" },
        { "quit  ", "quit", "" },
        { "MAIL FROM:<a@b>", "MAIL", "FROM:<a@b>" },
        { "MAIL   FROM:<a@b> \t", "MAIL", "FROM:<a@b>" },
        { "NOOP\tx y", "NOOP", "x y" },
        { " NOOP", "", "NOOP" },
        { "", "", "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        slice rest = slice_str(rows[i].line), word = smtp_verb(&rest);

        if (!eq(word, rows[i].word) || !eq(rest, rows[i].rest))
            fail_msg("row %zu: '%.*s' '%.*s'", i, SLICE_ARG(word), SLICE_ARG(rest));
    }
}

static void smtp_helo__takes_names_and_literals_only(void **state)
{
    static const struct {
        const char *text;
        bool is_good;
    } rows[] = {
        { "client.test", true },   { "localhost", true },  { "a_b.test", true }, { "[127.0.0.1]", true },
        { "[IPv6:::1]", true },    { "1.2.3.4", true },    { "", false },        { "a b", false },
        { "a..b", false },         { ".a", false },        { "-a.test", false }, { "a-.test", false },
        { "a.test-", false },      { "[1.2.3]", false },   { "[", false },       { "[IPv6:zz]", false },
        { "a@b", false },          { "a;b", false },       { "a\x01", false },   { "<a>", false },
        { A63 "." A63 "." A63 "." A63, true },
        { A63 "." A63 "." A63 "." A63 ".a", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        slice out;
        int rc = smtp_helo_parse(slice_str(rows[i].text), &out, &err);

        if ((rc == 0) != rows[i].is_good)
            fail_msg("row %zu: '%s' gives %d", i, rows[i].text, rc);
        if (rc < 0 && err.kind != ERR_SYNTAX)
            fail_msg("row %zu: kind %d", i, err.kind);
    }
}

/* local NULL: refused, with the cursor at offset `at`. */
static const struct {
    const char *text;
    unsigned flags;
    const char *local, *domain;
    size_t at;
} paths[] = {
    { "<a@b.test>", 0, "a", "b.test", 10 },
    { "<a@b.test> SIZE=1", 0, "a", "b.test", 10 },
    { "<A.B+c@b.test>", 0, "A.B+c", "b.test", 14 },
    { "<!#$%&'*+-/=?^_`{|}~@b.test>", 0, "!#$%&'*+-/=?^_`{|}~", "b.test", 28 },
    { "<\"a b\"@b.test>", 0, "a b", "b.test", 14 },
    { "<\"a@b\"@b.test>", 0, "a@b", "b.test", 14 },
    { "<\"a\\\"b\\\\\"@b.test>", 0, "a\"b\\", "b.test", 17 },
    { "<\">\"@b.test>", 0, ">", "b.test", 12 },
    { "<\"\"@b.test>", 0, "", "b.test", 11 },
    { "<a@[127.0.0.1]>", 0, "a", "[127.0.0.1]", 15 },
    { "<a@[IPv6:::1]>", 0, "a", "[IPv6:::1]", 14 },
    { "<@c.test,@d.test:a@b.test>", 0, "a", "b.test", 26 },
    { "<@c.test:a@b.test>", 0, "a", "b.test", 18 },
    { "<j\xc3\xbcrgen@b\xc3\xbc" "cher.test>", 0, "j\xc3\xbcrgen", "b\xc3\xbc" "cher.test", 22 },
    { "<>", SMTP_PATH_NULL, "", "", 2 },
    { "<Postmaster>", SMTP_PATH_POSTMASTER, "Postmaster", "", 12 },
    { "<" A63 "b@b.test>", 0, A63 "b", "b.test", 73 },
    { "", 0, NULL, NULL, 0 },
    { "a@b.test", 0, NULL, NULL, 0 },
    { "<>", 0, NULL, NULL, 1 },
    { "<", 0, NULL, NULL, 1 },
    { "<a@b.test", 0, NULL, NULL, 9 },
    { "<a@b.test x>", 0, NULL, NULL, 9 },
    { "<a@>", 0, NULL, NULL, 3 },
    { "<@b.test>", 0, NULL, NULL, 8 },
    { "<a>", 0, NULL, NULL, 2 },
    { "<Postmaster>", 0, NULL, NULL, 11 },
    { "<nobody>", SMTP_PATH_POSTMASTER, NULL, NULL, 7 },
    { "<.a@b.test>", 0, NULL, NULL, 1 },
    { "<a.@b.test>", 0, NULL, NULL, 3 },
    { "<a..b@b.test>", 0, NULL, NULL, 3 },
    { "<a b@b.test>", 0, NULL, NULL, 2 },
    { "<\"a\x01\"@b.test>", 0, NULL, NULL, 3 },
    { "<\"a\\\x01\"@b.test>", 0, NULL, NULL, 4 },
    { "<\"a@b.test>", 0, NULL, NULL, 11 },
    { "<\"a\\", 0, NULL, NULL, 4 },
    { "<a@b..test>", 0, NULL, NULL, 3 },
    { "<a@-b.test>", 0, NULL, NULL, 3 },
    { "<a@[127.0.0.1>", 0, NULL, NULL, 3 },
    { "<a@[1.2.3.4.5]>", 0, NULL, NULL, 3 },
    { "<a@b.test@c.test>", 0, NULL, NULL, 3 },
    { "<@c.test a@b.test>", 0, NULL, NULL, 8 },
    { "<@c.test,a@b.test>", 0, NULL, NULL, 8 },
    { "<a\xff@b.test>", 0, NULL, NULL, 3 },
    { "<" A63 "bb@b.test>", 0, NULL, NULL, 66 },
};

static void smtp_path__reads_what_rfc_5321_allows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct err err = ERR_INIT;
        struct address a;
        slice text = slice_str(paths[i].text), in = text;
        int rc = smtp_path_parse(&in, paths[i].flags, &mem, &a, &err);

        if ((rc == 0) != (paths[i].local != NULL))
            fail_msg("row %zu: '%s' gives %d: %s", i, paths[i].text, rc, err.text);
        if (rc == 0 && (!eq(a.local, paths[i].local) || !eq(a.domain, paths[i].domain)))
            fail_msg("row %zu: '%.*s' at '%.*s'", i, SLICE_ARG(a.local), SLICE_ARG(a.domain));
        if (text.len - in.len != paths[i].at)
            fail_msg("row %zu: '%s': cursor at %zu", i, paths[i].text, text.len - in.len);
        if (rc < 0 && (err.kind != ERR_SYNTAX || err.text[0] == '\0'))
            fail_msg("row %zu: no reason", i);
    }
}

static void smtp_mail__reads_parameters(void **state)
{
    static const struct {
        const char *args;
        int kind; /* of the error, ERR_NONE: good */
        uint64_t size;
        enum envelope_body body;
        bool utf8;
        enum envelope_ret ret;
        const char *envid;
    } rows[] = {
        { "FROM:<a@b.test>", ERR_NONE, 0, BODY_7BIT, false, RET_UNSET, "" },
        { "from: <a@b.test>", ERR_NONE, 0, BODY_7BIT, false, RET_UNSET, "" },
        { "FROM:<a@b.test> size=1000 body=8bitmime", ERR_NONE, 1000, BODY_8BITMIME, false, RET_UNSET, "" },
        { "FROM:<a@b.test>  SMTPUTF8   RET=HDRS ENVID=a+2Bb", ERR_NONE, 0, BODY_7BIT, true, RET_HDRS, "a+2Bb" },
        { "FROM:<> RET=full BODY=7BIT AUTH=<>", ERR_NONE, 0, BODY_7BIT, false, RET_FULL, "" },
        { "FROM:<> SIZE=18446744073709551615", ERR_NONE, UINT64_MAX, BODY_7BIT, false, RET_UNSET, "" },
        { "FROM:<> SIZE=99999999999999999999", ERR_NONE, UINT64_MAX, BODY_7BIT, false, RET_UNSET, "" },
        { "FROM <a@b.test>", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "TO:<a@b.test>", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<a@b.test>SIZE=1", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> SIZE", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> SIZE=", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> SIZE=-1", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> SIZE=1x", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> SIZE=100000000000000000000", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> SIZE=1 SIZE=1", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> BODY=BINARYMIME", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> SMTPUTF8=1", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> SMTPUTF8=", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> RET=BODY", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> ENVID=a+2", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> ENVID=" A63 A63, ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> AUTH", ERR_SYNTAX, 0, 0, 0, 0, "" },
        { "FROM:<> WHAT=1", ERR_PERM, 0, 0, 0, 0, "" },
        { "FROM:<> NOTIFY=NEVER", ERR_PERM, 0, 0, 0, 0, "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        struct envelope e;
        int rc = smtp_mail_parse(slice_str(rows[i].args), &mem, &e, &err);

        if ((rc == 0) != (rows[i].kind == ERR_NONE) || (rc < 0 && (int)err.kind != rows[i].kind))
            fail_msg("row %zu: '%s' gives %d, kind %d: %s", i, rows[i].args, rc, err.kind, err.text);
        if (rc == 0 && (e.size_declared != rows[i].size || e.body != rows[i].body || e.smtputf8 != rows[i].utf8 ||
                        e.ret != rows[i].ret || !eq(e.envid, rows[i].envid)))
            fail_msg("row %zu: '%s': values", i, rows[i].args);
        if (rc == 0 && e.is_null_sender != (strstr(rows[i].args, "<>") != NULL && strstr(rows[i].args, "@") == NULL))
            fail_msg("row %zu: null sender", i);
    }
}

static void smtp_rcpt__reads_parameters(void **state)
{
    static const struct {
        const char *args;
        int kind;
        uint32_t notify;
        const char *orcpt;
    } rows[] = {
        { "TO:<a@b.test>", ERR_NONE, 0, "" },
        { "to: <postmaster>", ERR_NONE, 0, "" },
        { "TO:<a@b.test> NOTIFY=NEVER", ERR_NONE, NOTIFY_NEVER, "" },
        { "TO:<a@b.test> NOTIFY=success,delay", ERR_NONE, NOTIFY_SUCCESS | NOTIFY_DELAY, "" },
        { "TO:<a@b.test> NOTIFY=FAILURE ORCPT=rfc822;a+40b", ERR_NONE, NOTIFY_FAILURE, "rfc822;a+40b" },
        { "TO:<>", ERR_SYNTAX, 0, "" },
        { "TO:<a@b.test> NOTIFY=", ERR_SYNTAX, 0, "" },
        { "TO:<a@b.test> NOTIFY=SUCCESS,", ERR_SYNTAX, 0, "" },
        { "TO:<a@b.test> NOTIFY=NEVER,DELAY", ERR_SYNTAX, 0, "" },
        { "TO:<a@b.test> NOTIFY=ALWAYS", ERR_SYNTAX, 0, "" },
        { "TO:<a@b.test> ORCPT=a@b", ERR_SYNTAX, 0, "" },
        { "TO:<a@b.test> ORCPT=;a", ERR_SYNTAX, 0, "" },
        { "TO:<a@b.test> ORCPT=rf c;a", ERR_SYNTAX, 0, "" },
        { "TO:<a@b.test> ORCPT=rfc822;a=b", ERR_SYNTAX, 0, "" },
        { "TO:<a@b.test> SIZE=1", ERR_PERM, 0, "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        struct recipient r;
        int rc = smtp_rcpt_parse(slice_str(rows[i].args), &mem, &r, &err);

        if ((rc == 0) != (rows[i].kind == ERR_NONE) || (rc < 0 && (int)err.kind != rows[i].kind))
            fail_msg("row %zu: '%s' gives %d, kind %d: %s", i, rows[i].args, rc, err.kind, err.text);
        if (rc == 0 && (r.notify != rows[i].notify || !eq(r.orcpt, rows[i].orcpt)))
            fail_msg("row %zu: '%s': values", i, rows[i].args);
    }
}

static void smtp_auth__reads_mechanism_and_response(void **state)
{
    static const struct {
        const char *args, *mechanism;
        bool has_initial;
        const char *initial;
    } rows[] = {
        { "PLAIN", "PLAIN", false, "" },
        { "SCRAM-SHA-256 biws", "SCRAM-SHA-256", true, "biws" },
        { "EXTERNAL =", "EXTERNAL", true, "" },
        { "", NULL, false, "" },
        { "PLAIN a b", NULL, false, "" },
        { "PL,AIN", NULL, false, "" },
        { "AAAAAAAAAAAAAAAAAAAAA", NULL, false, "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        slice mechanism, initial;
        bool has_initial;
        int rc = smtp_auth_parse(slice_str(rows[i].args), &mechanism, &initial, &has_initial, &err);

        if ((rc == 0) != (rows[i].mechanism != NULL))
            fail_msg("row %zu: '%s' gives %d", i, rows[i].args, rc);
        if (rc == 0 && (!eq(mechanism, rows[i].mechanism) || has_initial != rows[i].has_initial ||
                        !eq(initial, rows[i].initial)))
            fail_msg("row %zu: '%s': values", i, rows[i].args);
    }
}

static void smtp_bdat__reads_size_and_last(void **state)
{
    static const struct {
        const char *args;
        int rc;
        uint64_t bytes;
        bool is_last;
    } rows[] = {
        { "0", 0, 0, false },       { "12 LAST", 0, 12, true }, { "12 last", 0, 12, true }, { "", -1, 0, false },
        { "12 FIRST", -1, 0, false }, { "-1", -1, 0, false },   { "LAST", -1, 0, false },
        { "1 LAST x", -1, 0, false },
        { "99999999999999999999", -1, 0, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        uint64_t bytes = 0;
        bool is_last = false;

        if (smtp_bdat_parse(slice_str(rows[i].args), &bytes, &is_last, &err) != rows[i].rc)
            fail_msg("row %zu: '%s'", i, rows[i].args);
        if (rows[i].rc == 0 && (bytes != rows[i].bytes || is_last != rows[i].is_last))
            fail_msg("row %zu: '%s': values", i, rows[i].args);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smtp_verb__cuts_the_word_and_the_blanks),
        cmocka_unit_test(smtp_helo__takes_names_and_literals_only),
        cmocka_unit_test(smtp_path__reads_what_rfc_5321_allows),
        cmocka_unit_test(smtp_mail__reads_parameters),
        cmocka_unit_test(smtp_rcpt__reads_parameters),
        cmocka_unit_test(smtp_auth__reads_mechanism_and_response),
        cmocka_unit_test(smtp_bdat__reads_size_and_last),
    };
    int failed;

    arena_init(&mem, 1024);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(&mem);
    return failed;
}
