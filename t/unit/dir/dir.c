#include "dir_site.h"

/* --- names -------------------------------------------------------------------------------------------------------- */

static void dir_names__users(void **state)
{
    static const struct {
        const char *name;
        bool is_good;
    } rows[] = {
        { "user", true },        { "first.last", true },   { "a_b-c", true },     { "o'neill", true },
        { "x|y^z", true },       { "7", true },            { "", false },         { ".a", false },
        { "a.", false },         { "a..b", false },        { "-a", false },       { "a b", false },
        { "a$", false },         { "a~", false },          { "group=x", false },  { "a#b", false },
        { "a*b", false },        { "a+b", false },         { "a%b", false },      { "a!b", false },
        { "a@b", false },        { "a,b", false },         { "a{b", false },      { "a}b", false },
        { "a(b", false },        { "a)b", false },         { "a/b", false },      { "a\\b", false },
        { "a<b", false },        { "a>b", false },         { "a;b", false },      { "a:b", false },
        { "a\"b", false },       { "a`b", false },         { "a[b", false },      { "a]b", false },
        { "a&b", false },        { "a?b", false },         { "a=b", false },      { "anyone", false },
        { "Anybody", false },    { "ANONYMOUS", false },   { "anyone1", true },   { "a\x7f", false },
        { "\xc3\xa4", false },   { "a\tb", false },
        { "0123456789012345678901234567890123456789012345678901234567890123", true },
        { "01234567890123456789012345678901234567890123456789012345678901234", false },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = ERR_INIT;
        int rc = dir_user_name_check(slice_str(rows[i].name), &err);

        if ((rc == 0) != rows[i].is_good || (rc < 0 && (err.kind != ERR_SYNTAX || err.text[0] == '\0')))
            fail_msg("row %zu \"%s\": %d %s", i, rows[i].name, rc, err.text);
    }
    (void)state;
}

static void dir_names__domains_in_one_form(void **state)
{
    static const struct {
        const char *given, *kept; /* NULL: refused */
    } rows[] = {
        { "Example.ORG", "example.org" },
        { "b\xc3\xbc" "cher.example", "xn--bcher-kva.example" },
        { "B\xc3\x9c" "CHER.example", "xn--bcher-kva.example" },
        { "xn--BCHER-kva.example", "xn--bcher-kva.example" },
        { "dot.example.", "dot.example" },
        { "localhost", "localhost" },
        { "", NULL },
        { ".", NULL },
        { "a..b", NULL },
        { "-a.example", NULL },
        { "[127.0.0.1]", NULL },
        { "a b.example", NULL },
        { "\xff.example", NULL },
        { "0123456789012345678901234567890123456789012345678901234567890123.example", NULL },
    };
    struct dir_site s;

    dir_site_begin(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum err_kind kind = dir_site_do(&s, DIR_DOMAIN_ADD, rows[i].given, NULL, NULL);
        enum err_kind want = rows[i].kept == NULL ? ERR_SYNTAX : ERR_NONE;

        if (rows[i].kept != NULL && (i == 2 || i == 3)) /* the same as row 1 */
            want = ERR_EXISTS;
        if (kind != want)
            fail_msg("row %zu %s: %s", i, rows[i].given, err_kind_name(kind));
        assert_int_equal(dir_domain_is_local(s.dir, slice_str(rows[i].given)), rows[i].kept != NULL);
        if (rows[i].kept != NULL)
            assert_true(dir_domain_is_local(s.dir, slice_str(rows[i].kept)));
    }
    assert_false(dir_domain_is_local(s.dir, SLICE("other.example")));
    dir_site_end(&s);
    (void)state;
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

static void dir_change__refusals(void **state)
{
    static const struct {
        enum dir_change_kind kind;
        const char *name, *fields;
        enum err_kind want;
    } rows[] = {
        { DIR_USER_ADD, "alice", NULL, ERR_NOTFOUND }, /* no domain at all */
        { DIR_DOMAIN_ADD, "one.example", NULL, ERR_NONE },
        { DIR_DOMAIN_ADD, "ONE.example.", NULL, ERR_EXISTS },
        { DIR_DOMAIN_DEL, "two.example", NULL, ERR_NOTFOUND },
        { DIR_USER_ADD, "alice@two.example", NULL, ERR_NOTFOUND },
        { DIR_USER_ADD, "al ice@one.example", NULL, ERR_SYNTAX },
        { DIR_USER_ADD, "al+ice@one.example", NULL, ERR_SYNTAX },
        { DIR_USER_ADD, "", NULL, ERR_SYNTAX },
        { DIR_USER_ADD, "alice", "{\"quota\": -1}", ERR_SYNTAX },
        { DIR_USER_ADD, "alice", "{\"quota\": \"1G\"}", ERR_SYNTAX },
        { DIR_USER_ADD, "alice", "{\"admin\": 1}", ERR_SYNTAX },
        { DIR_USER_ADD, "alice", "{\"status\": \"dead\"}", ERR_SYNTAX },
        { DIR_USER_ADD, "alice", "{\"colour\": 1}", ERR_SYNTAX },
        { DIR_USER_ADD, "alice", "{\"name\": \"a\\nb\"}", ERR_SYNTAX },
        { DIR_USER_ADD, "alice", "[]", ERR_SYNTAX },
        { DIR_USER_SET, "alice", "{}", ERR_NOTFOUND },
        { DIR_USER_ADD, "Alice", "{\"name\": \"Alice A.\", \"quota\": 1000, \"admin\": true}", ERR_NONE },
        { DIR_USER_ADD, "ALICE@one.example", NULL, ERR_EXISTS },
        { DIR_ALIAS_SET, "alice", "{\"targets\": [\"x@y.example\"]}", ERR_EXISTS },
        { DIR_DOMAIN_DEL, "one.example", NULL, ERR_CONFLICT },
        { DIR_ALIAS_SET, "info", "{\"targets\": []}", ERR_SYNTAX },
        { DIR_ALIAS_SET, "info", "{\"targets\": [\"x\"]}", ERR_SYNTAX },
        { DIR_ALIAS_SET, "info", "{\"targets\": [1]}", ERR_SYNTAX },
        { DIR_ALIAS_SET, "info", "{\"targets\": [\"INFO@one.example\"]}", ERR_SYNTAX },
        { DIR_ALIAS_SET, "info", "{\"targets\": [\"a@b.example\"], \"more\": 1}", ERR_SYNTAX },
        { DIR_ALIAS_SET, "info", NULL, ERR_SYNTAX },
        { DIR_ALIAS_SET, "in fo@one.example", "{\"targets\": [\"a@b.example\"]}", ERR_SYNTAX },
        { DIR_ALIAS_SET, "info+x", "{\"targets\": [\"a@b.example\"]}", ERR_NONE },
        { DIR_USER_ADD, "info", NULL, ERR_NONE },
        { DIR_USER_DEL, "info+x", NULL, ERR_NOTFOUND },
        { DIR_ALIAS_DEL, "info", NULL, ERR_NOTFOUND },
        { DIR_ALIAS_DEL, "info+x", NULL, ERR_NONE },
        { DIR_USER_DEL, "info", NULL, ERR_NONE },
        { DIR_USER_DEL, "alice", NULL, ERR_NONE },
        { DIR_USER_DEL, "alice", NULL, ERR_NOTFOUND },
        { DIR_DOMAIN_DEL, "one.example", NULL, ERR_NONE },
    };
    struct dir_site s;

    dir_site_begin(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum err_kind kind = dir_site_do(&s, rows[i].kind, rows[i].name, rows[i].fields, NULL);

        if (kind != rows[i].want)
            fail_msg("row %zu %s: %s", i, rows[i].name, err_kind_name(kind));
    }
    dir_site_end(&s);
    (void)state;
}

static void dir_change__set_leaves_the_rest(void **state)
{
    struct dir_secrets secrets = { SLICE("$y$hash"), SLICE("4096:c2FsdA==$x:y") };
    struct dir_query q;
    struct dir_site s;
    uint64_t id;

    dir_site_begin(&s);
    dir_site_do(&s, DIR_DOMAIN_ADD, "one.example", NULL, NULL);
    dir_site_do(&s, DIR_USER_ADD, "alice", "{\"name\": \"Al\", \"quota\": 77, \"admin\": true}", &secrets);
    dir_site_ask(&s, "alice", true, &q);
    id = q.user.id;
    dir_site_do(&s, DIR_USER_SET, "alice", "{\"quota\": 78}", NULL);
    dir_site_ask(&s, "alice", true, &q);
    assert_int_equal(q.result, DIR_USER);
    assert_int_equal(q.user.id, id);
    assert_int_equal(q.user.quota_bytes, 78);
    assert_true(q.user.is_admin);
    assert_string_equal(dir_site_text(&s, q.user.name), "Al");
    assert_string_equal(dir_site_text(&s, q.secrets->crypt), "$y$hash");
    assert_string_equal(dir_site_text(&s, q.secrets->scram_sha256), "4096:c2FsdA==$x:y");
    dir_site_do(&s, DIR_USER_SET, "alice", "{\"status\": \"inactive\"}", NULL);
    dir_site_ask(&s, "alice", true, &q);
    assert_int_equal(q.result, DIR_DISABLED);
    assert_non_null(q.secrets);
    /* deleted and made again: another object, so another mailbox */
    dir_site_do(&s, DIR_USER_DEL, "alice", NULL, NULL);
    dir_site_do(&s, DIR_USER_ADD, "alice", NULL, NULL);
    dir_site_ask(&s, "alice", true, &q);
    assert_int_equal(q.result, DIR_USER);
    assert_true(q.user.id > id);
    assert_null(q.secrets);
    assert_int_equal(q.user.quota_bytes, 0);
    dir_site_end(&s);
    (void)state;
}

/* STO-004: with its domain a user id has 127 octets at most */
static void dir_change__longest_user_id(void **state)
{
    static const char domain[] = "d23456789.d23456789.d23456789.d23456789.d23456789.d23456789.d23.example";
    struct dir_site s;
    char name[200];

    dir_site_begin(&s);
    assert_int_equal(dir_site_do(&s, DIR_DOMAIN_ADD, domain, NULL, NULL), ERR_NONE);
    for (unsigned more = 0; more < 2; more++) {
        int local = 127 - 1 - (int)strlen(domain) + (int)more;

        snprintf(name, sizeof(name), "%0*d@%s", local, 0, domain);
        assert_int_equal(strlen(name), 127 + more);
        assert_int_equal(dir_site_do(&s, DIR_USER_ADD, name, NULL, NULL), more == 0 ? ERR_NONE : ERR_SYNTAX);
    }
    dir_site_end(&s);
    (void)state;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void town_make(struct dir_site *s)
{
    dir_site_begin(s);
    dir_site_do(s, DIR_DOMAIN_ADD, "one.example", NULL, NULL);
    dir_site_do(s, DIR_DOMAIN_ADD, "b\xc3\xbc" "cher.example", NULL, NULL);
    dir_site_do(s, DIR_DOMAIN_ADD, "three.example", NULL, NULL);
    dir_site_do(s, DIR_USER_ADD, "user", NULL, NULL);
    dir_site_do(s, DIR_USER_ADD, "boss", "{\"admin\": true}", NULL);
    dir_site_do(s, DIR_USER_ADD, "chief@b\xc3\xbc" "cher.example", "{\"admin\": true}", NULL);
    dir_site_do(s, DIR_USER_ADD, "gone", "{\"status\": \"inactive\"}", NULL);
    dir_site_do(s, DIR_ALIAS_SET, "team",
                "{\"targets\": [\"User@One.example\", \"x@b\xc3\xbc" "cher.example\"]}", NULL);
    dir_site_do(s, DIR_ALIAS_SET, "user+fixed", "{\"targets\": [\"boss@one.example\"]}", NULL);
    dir_site_do(s, DIR_ALIAS_SET, "abuse@one.example", "{\"targets\": [\"user@one.example\"]}", NULL);
}

static void dir_ask__answers(void **state)
{
    static const struct {
        const char *address;
        bool is_login;
        enum dir_result want;
        const char *user, *detail;
    } rows[] = {
        { "user@one.example", false, DIR_USER, "user@one.example", "" },
        { "USER@ONE.EXAMPLE", false, DIR_USER, "user@one.example", "" },
        { "User@one.example.", false, DIR_USER, "user@one.example", "" },
        { "user", true, DIR_USER, "user@one.example", "" },
        { "user", false, DIR_USER, "user@one.example", "" },
        { "user+Lists.X@one.example", false, DIR_USER, "user@one.example", "Lists.X" },
        { "user+a+b@one.example", false, DIR_USER, "user@one.example", "a+b" },
        { "user+@one.example", false, DIR_USER, "user@one.example", "" },
        { "user+x", true, DIR_NO_USER, "user+x@one.example", "" },
        { "user+fixed@one.example", false, DIR_ALIAS, NULL, "" },
        { "team@one.example", false, DIR_ALIAS, NULL, "" },
        { "team+x@one.example", false, DIR_ALIAS, NULL, "x" },
        { "team", true, DIR_NO_USER, "team@one.example", "" },
        { "gone@one.example", false, DIR_DISABLED, "gone@one.example", "" },
        { "gone", true, DIR_DISABLED, "gone@one.example", "" },
        { "nobody@one.example", false, DIR_NO_USER, "nobody@one.example", "" },
        { "+x@one.example", false, DIR_NO_USER, "+x@one.example", "" },
        { "@one.example", false, DIR_NO_USER, NULL, "" },
        { "user@other.example", false, DIR_NO_DOMAIN, NULL, "" },
        { "user@[127.0.0.1]", false, DIR_NO_DOMAIN, NULL, "" },
        { "chief@b\xc3\xbc" "cher.example", false, DIR_USER, "chief@xn--bcher-kva.example", "" },
        { "chief@xn--bcher-kva.example", true, DIR_USER, "chief@xn--bcher-kva.example", "" },
        { "postmaster@one.example", false, DIR_USER, "boss@one.example", "" },
        { "Postmaster", false, DIR_USER, "boss@one.example", "" },
        { "postmaster", true, DIR_NO_USER, "postmaster@one.example", "" },
        { "abuse@one.example", false, DIR_ALIAS, NULL, "" },
        { "abuse@xn--bcher-kva.example", false, DIR_USER, "chief@xn--bcher-kva.example", "" },
        { "ABUSE@three.example", false, DIR_USER, "boss@one.example", "" }, /* has no administrator of its own */
        { "postmaster@other.example", false, DIR_NO_DOMAIN, NULL, "" },
    };
    struct dir_query q;
    struct dir_site s;

    town_make(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        dir_site_ask(&s, rows[i].address, rows[i].is_login, &q);
        if (q.result != rows[i].want || strcmp(dir_site_text(&s, q.detail), rows[i].detail) != 0 ||
            (rows[i].user != NULL && strcmp(dir_site_text(&s, q.user.address), rows[i].user) != 0))
            fail_msg("row %zu %s: %d, %.*s, %.*s", i, rows[i].address, (int)q.result, SLICE_ARG(q.user.address),
                     SLICE_ARG(q.detail));
    }
    dir_site_ask(&s, "team@one.example", false, &q);
    assert_int_equal(q.target_count, 2);
    assert_string_equal(dir_site_text(&s, q.targets[0].local), "User");
    assert_string_equal(dir_site_text(&s, q.targets[0].domain), "one.example");
    assert_string_equal(dir_site_text(&s, q.targets[1].domain), "xn--bcher-kva.example");
    dir_site_end(&s);
    (void)state;
}

/* STO-001 */
static void dir_ask__default_domain(void **state)
{
    struct dir_query q;
    struct dir_site s;

    town_make(&s);
    dir_site_ask(&s, "user@one.example", false, &q);
    assert_string_equal(dir_site_text(&s, q.user.store_id), "user");
    dir_site_ask(&s, "chief@xn--bcher-kva.example", false, &q);
    assert_string_equal(dir_site_text(&s, q.user.store_id), "chief@xn--bcher-kva.example");
    s.conf.default_domain = SLICE("B\xc3\xbc" "cher.example");
    dir_site_ask(&s, "chief", true, &q);
    assert_int_equal(q.result, DIR_USER);
    assert_string_equal(dir_site_text(&s, q.user.store_id), "chief");
    dir_site_ask(&s, "user", true, &q);
    assert_int_equal(q.result, DIR_NO_USER);
    s.conf.subaddress = SLICE_NONE;
    dir_site_ask(&s, "user+x@one.example", false, &q);
    assert_int_equal(q.result, DIR_NO_USER);
    s.conf.subaddress = SLICE("-");
    dir_site_ask(&s, "user-x@one.example", false, &q);
    assert_int_equal(q.result, DIR_USER);
    dir_site_end(&s);
    (void)state;
}

static void dir_ask__no_administrator(void **state)
{
    struct dir_query q;
    struct dir_site s;
    unsigned char one[DIR_SERVER_SECRET_BYTES], two[DIR_SERVER_SECRET_BYTES];

    dir_site_begin(&s);
    assert_false(dir_server_secret(s.dir, one));
    dir_site_do(&s, DIR_DOMAIN_ADD, "one.example", NULL, NULL);
    assert_true(dir_server_secret(s.dir, one));
    dir_site_do(&s, DIR_DOMAIN_ADD, "two.example", NULL, NULL);
    dir_site_do(&s, DIR_USER_ADD, "user", "{\"admin\": true, \"status\": \"inactive\"}", NULL);
    dir_site_ask(&s, "postmaster@one.example", false, &q);
    assert_int_equal(q.result, DIR_NO_USER);
    dir_site_close(&s);
    dir_site_open(&s, true);
    assert_true(dir_server_secret(s.dir, two));
    assert_memory_equal(one, two, sizeof(one));
    dir_site_end(&s);
    (void)state;
}

/* --- listings and watching ---------------------------------------------------------------------------------------- */

static void list_is(OWNED json_t *got, const char *want)
{
    struct buf text = BUF_INIT;
    json_t *o;
    size_t i;

    assert_non_null(got);
    json_array_foreach(got, i, o)
    {
        assert_true(json_get_int(o, "id", 0) > 0);
        json_object_del(o, "id");
    }
    json_print(&text, got, false);
    assert_string_equal(buf_str(&text), want);
    buf_free(&text);
    json_decref(got);
}

static void dir_list__all(void **state)
{
    struct dir_secrets secrets = { SLICE("hash"), SLICE("scram") };
    struct err err = ERR_INIT;
    struct dir_site s;

    dir_site_begin(&s);
    list_is(dir_list_domains(s.dir, &err), "[]");
    dir_site_do(&s, DIR_DOMAIN_ADD, "one.example", NULL, NULL);
    dir_site_do(&s, DIR_DOMAIN_ADD, "one.example.org", NULL, NULL); /* begins like the other */
    dir_site_do(&s, DIR_USER_ADD, "zoe@one.example", "{\"quota\": 5}", NULL);
    dir_site_do(&s, DIR_USER_ADD, "bob@one.example", "{\"name\": \"B\"}", &secrets);
    dir_site_do(&s, DIR_USER_ADD, "amy@one.example.org", "{\"status\": \"inactive\", \"admin\": true}", NULL);
    dir_site_do(&s, DIR_ALIAS_SET, "info@one.example", "{\"targets\": [\"bob@one.example\"]}", NULL);
    list_is(dir_list_users(s.dir, SLICE("ONE.example"), &err),
            "[{\"address\":\"bob@one.example\",\"name\":\"B\",\"quota\":0,\"status\":\"active\",\"admin\":false,"
            "\"has_password\":true},{\"address\":\"zoe@one.example\",\"name\":\"\",\"quota\":5,\"status\":\"active\","
            "\"admin\":false,\"has_password\":false}]");
    list_is(dir_list_users(s.dir, SLICE("one.example.org"), &err),
            "[{\"address\":\"amy@one.example.org\",\"name\":\"\",\"quota\":0,\"status\":\"inactive\",\"admin\":true,"
            "\"has_password\":false}]");
    list_is(dir_list_aliases(s.dir, &err), "[{\"alias\":\"info@one.example\",\"targets\":[\"bob@one.example\"]}]");
    list_is(dir_list_domains(s.dir, &err),
            "[{\"domain\":\"one.example\",\"default\":true,\"users\":2,\"aliases\":1},"
            "{\"domain\":\"one.example.org\",\"default\":false,\"users\":1,\"aliases\":0}]");
    assert_null(dir_list_users(s.dir, SLICE("two.example"), &err));
    assert_int_equal(err.kind, ERR_NOTFOUND);
    dir_site_end(&s);
    (void)state;
}

static void dir_list__longer_than_a_slice(void **state)
{
    struct err err = ERR_INIT;
    struct dir_site s;
    char name[32];
    json_t *list;

    dir_site_begin(&s);
    dir_site_do(&s, DIR_DOMAIN_ADD, "one.example", NULL, NULL);
    for (unsigned i = 0; i < 1103; i++) {
        snprintf(name, sizeof(name), "u%05u", i);
        assert_int_equal(dir_site_do(&s, DIR_USER_ADD, name, NULL, NULL), ERR_NONE);
    }
    list = dir_list_users(s.dir, SLICE_NONE, &err);
    assert_int_equal(json_array_size(list), 1103);
    for (unsigned i = 0; i < 1103; i++) {
        snprintf(name, sizeof(name), "u%05u@one.example", i);
        assert_string_equal(json_string_value(json_object_get(json_array_get(list, i), "address")), name);
    }
    json_decref(list);
    dir_site_end(&s);
    (void)state;
}

struct watch {
    char text[400];
};

static void on_watch(void *arg, const struct dir_user_change *change)
{
    struct watch *w = arg;
    size_t len = strlen(w->text);

    assert_int_not_equal(change->id, 0);
    snprintf(w->text + len, sizeof(w->text) - len, "%.*s=%d%s ", SLICE_ARG(change->address), (int)change->status,
             change->is_password_new ? "p" : "");
}

static void dir_watch__tells_after_the_change(void **state)
{
    struct watch one = { "" }, two = { "" };
    struct dir_secrets first = { SLICE("$y$1"), SLICE("s1") }, second = { SLICE("$y$2"), SLICE("s2") };
    struct dir_site s;

    dir_site_begin(&s);
    dir_watch(s.dir, on_watch, &one);
    dir_watch(s.dir, on_watch, &two);
    dir_site_do(&s, DIR_DOMAIN_ADD, "one.example", NULL, NULL);
    dir_site_do(&s, DIR_USER_ADD, "a", NULL, NULL);
    dir_site_do(&s, DIR_USER_ADD, "a", NULL, NULL); /* refused */
    dir_site_do(&s, DIR_USER_SET, "a", NULL, &first);
    dir_site_do(&s, DIR_USER_SET, "a", "{\"quota\": 7}", NULL);
    dir_site_do(&s, DIR_USER_SET, "a", NULL, &second);
    dir_site_do(&s, DIR_USER_SET, "a", NULL, &second);
    dir_site_do(&s, DIR_USER_SET, "a", "{\"status\": \"inactive\"}", NULL);
    dir_site_do(&s, DIR_ALIAS_SET, "b", "{\"targets\": [\"a@one.example\"]}", NULL);
    dir_site_do(&s, DIR_USER_DEL, "a", NULL, NULL);
    assert_string_equal(one.text, "a@one.example=0 a@one.example=0p a@one.example=0 a@one.example=0p a@one.example=0 "
                                  "a@one.example=1 a@one.example=2 ");
    assert_string_equal(two.text, one.text);
    dir_site_end(&s);
    (void)state;
}

/* --- against a model ---------------------------------------------------------------------------------------------- */

#define DOMAINS 3u
#define NAMES 8u
struct model {
    bool domain[DOMAINS];
    struct {
        enum { FREE, USER, ALIAS } what;
        unsigned quota;
    } name[DOMAINS][NAMES];
};

static bool in_use(const struct model *m, unsigned d)
{
    for (unsigned n = 0; n < NAMES; n++) {
        if (m->name[d][n].what != FREE)
            return true;
    }
    return false;
}

static enum err_kind model_do(struct model *m, enum dir_change_kind kind, unsigned d, unsigned n, unsigned quota)
{
    bool is_user = m->name[d][n].what == USER, is_alias = m->name[d][n].what == ALIAS;

    if (kind == DIR_DOMAIN_ADD || kind == DIR_DOMAIN_DEL) {
        if (m->domain[d] == (kind == DIR_DOMAIN_ADD))
            return kind == DIR_DOMAIN_ADD ? ERR_EXISTS : ERR_NOTFOUND;
        if (kind == DIR_DOMAIN_DEL && in_use(m, d))
            return ERR_CONFLICT;
        m->domain[d] = kind == DIR_DOMAIN_ADD;
        return ERR_NONE;
    }
    if (!m->domain[d])
        return ERR_NOTFOUND;
    switch (kind) {
    case DIR_USER_ADD:
        if (is_user || is_alias)
            return ERR_EXISTS;
        m->name[d][n].what = USER;
        break;
    case DIR_ALIAS_SET:
        if (is_user)
            return ERR_EXISTS;
        m->name[d][n].what = ALIAS;
        break;
    case DIR_USER_SET:
        if (!is_user)
            return ERR_NOTFOUND;
        break;
    default:
        if (kind == DIR_USER_DEL ? !is_user : !is_alias)
            return ERR_NOTFOUND;
        m->name[d][n].what = FREE;
        break;
    }
    m->name[d][n].quota = quota;
    return ERR_NONE;
}

static void step(struct dir_site *s, struct model *m, struct rng *rng)
{
    enum dir_change_kind kind = (enum dir_change_kind)rng_below(rng, DIR_ALIAS_DEL + 1);
    unsigned d = (unsigned)rng_below(rng, DOMAINS), n = (unsigned)rng_below(rng, NAMES);
    unsigned quota = (unsigned)rng_below(rng, 1000);
    char name[64], fields[100];
    bool has_fields;
    enum err_kind want, got;

    if ((kind == DIR_DOMAIN_DEL || kind == DIR_USER_DEL || kind == DIR_ALIAS_DEL) && rng_below(rng, 3) != 0)
        kind = DIR_USER_SET;
    has_fields = kind == DIR_USER_ADD || kind == DIR_USER_SET || kind == DIR_ALIAS_SET;
    snprintf(name, sizeof(name), "d%u.example", d);
    if (kind != DIR_DOMAIN_ADD && kind != DIR_DOMAIN_DEL)
        snprintf(name, sizeof(name), "n%u@d%u.example", n, d);
    if (kind == DIR_ALIAS_SET)
        snprintf(fields, sizeof(fields), "{\"targets\": [\"t%u@far.example\"]}", quota);
    else
        snprintf(fields, sizeof(fields), "{\"quota\": %u}", quota);
    want = model_do(m, kind, d, n, quota);
    got = dir_site_do(s, kind, name, has_fields ? fields : NULL, NULL);
    if (want != got)
        fail_msg("kind %d %s: %s instead of %s", (int)kind, name, err_kind_name(got), err_kind_name(want));
}

static void same(struct dir_site *s, const struct model *m)
{
    struct dir_query q;
    char name[64], target[64];

    for (unsigned d = 0; d < DOMAINS; d++) {
        for (unsigned n = 0; n < NAMES; n++) {
            static const enum dir_result of[] = { [FREE] = DIR_NO_USER, [USER] = DIR_USER, [ALIAS] = DIR_ALIAS };
            enum dir_result want = m->domain[d] ? of[m->name[d][n].what] : DIR_NO_DOMAIN;

            snprintf(name, sizeof(name), "N%u@D%u.example", n, d);
            dir_site_ask(s, name, false, &q);
            if (q.result != want)
                fail_msg("%s: %d instead of %d", name, (int)q.result, (int)want);
            if (want == DIR_USER)
                assert_int_equal(q.user.quota_bytes, m->name[d][n].quota);
            snprintf(target, sizeof(target), "t%u", m->name[d][n].quota);
            if (want == DIR_ALIAS)
                assert_string_equal(dir_site_text(s, q.targets[0].local), target);
        }
    }
    arena_reset(&s->mem);
}

static void empty_all(struct dir_site *s)
{
    struct err err = ERR_INIT;

    assert_int_equal(journal_roll(s->journal, &err), 0);
    for (uint64_t number = 1; number < 200; number++) {
        err = ERR_INIT;
        if (journal_empty_segment(s->journal, number, 0, &err) < 0 && err.kind != ERR_NOTFOUND &&
            err.kind != ERR_EXISTS)
            fail_msg("emptying segment %llu: %s", (unsigned long long)number, err.text);
    }
}

static void dir__model(void **state)
{
    struct model m = { 0 };
    struct dir_site s;
    struct rng rng;
    char *before, *after;

    rng_init(&rng, 20260314);
    dir_site_begin(&s);
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned i = 0; i < 150; i++)
            step(&s, &m, &rng);
        same(&s, &m);
        if (round % 3 == 2)
            empty_all(&s);
        same(&s, &m);
        before = dir_site_dump(&s);
        dir_site_close(&s);
        keys_default(&dir_keys, &s.conf, &s.mem);
        dir_site_open(&s, round % 2 == 1); /* rebuilt, or as it was */
        after = dir_site_dump(&s);
        assert_string_equal(before, after);
        free(before);
        free(after);
        same(&s, &m);
        keys_default(&dir_keys, &s.conf, &s.mem);
    }
    dir_site_end(&s);
    (void)state;
}

static void on_say(void *arg, const char *line)
{
    (void)arg;
    print_message("# %s\n", line);
}

static void dir__check_is_clean(void **state)
{
    struct journal_check_result result;
    struct err err = ERR_INIT;
    struct dir_site s;

    town_make(&s);
    dir_site_do(&s, DIR_USER_DEL, "user", NULL, NULL);
    assert_int_equal(journal_check(s.journal, on_say, NULL, &result, &err), 0);
    dir_site_end(&s);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dir_names__users),
        cmocka_unit_test(dir_names__domains_in_one_form),
        cmocka_unit_test(dir_change__refusals),
        cmocka_unit_test(dir_change__set_leaves_the_rest),
        cmocka_unit_test(dir_change__longest_user_id),
        cmocka_unit_test(dir_ask__answers),
        cmocka_unit_test(dir_ask__default_domain),
        cmocka_unit_test(dir_ask__no_administrator),
        cmocka_unit_test(dir_list__all),
        cmocka_unit_test(dir_list__longer_than_a_slice),
        cmocka_unit_test(dir_watch__tells_after_the_change),
        cmocka_unit_test(dir__model),
        cmocka_unit_test(dir__check_is_clean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
