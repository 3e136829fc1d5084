#include "mail_test.h"

#include "mail/address.h"

static void address_parse__table(void **state)
{
    static const struct {
        const char *in, *local, *domain; /* local NULL: refused */
    } rows[] = {
        { "user@example.net", "user", "example.net" },
        { "a.b+c@EXAMPLE.net.", "a.b+c", "EXAMPLE.net" },
        { "\"a b\"@example.net", "a b", "example.net" },
        { "\"a\\\"b@c\"@example.net", "a\"b@c", "example.net" },
        { "user@[127.0.0.1]", "user", "[127.0.0.1]" },
        { "user@[IPv6:::1]", "user", "[IPv6:::1]" },
        { "us\xc3\xa9r@ex\xc3\xa4mple.net", "us\xc3\xa9r", "ex\xc3\xa4mple.net" },
        { "a@b@example.net", NULL, NULL },
        { ".user@example.net", NULL, NULL },
        { "us..er@example.net", NULL, NULL },
        { "user.@example.net", NULL, NULL },
        { "user", NULL, NULL },
        { "@example.net", NULL, NULL },
        { "user@", NULL, NULL },
        { "user@-example.net", NULL, NULL },
        { "user@exa mple.net", NULL, NULL },
        { "user@example..net", NULL, NULL },
        { "user@[127.0.0.1", NULL, NULL },
        { "\"user@example.net", NULL, NULL },
        { "us er@example.net", NULL, NULL },
        { "user@ex\xffmple.net", NULL, NULL },
        { "0123456789012345678901234567890123456789012345678901234567890123@x.y",
          "0123456789012345678901234567890123456789012345678901234567890123", "x.y" },
        { "01234567890123456789012345678901234567890123456789012345678901234@x.y", NULL, NULL },
    };
    struct arena mem;

    (void)state;
    arena_init(&mem, 1024);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address a;
        struct err err = ERR_INIT;
        struct buf again = BUF_INIT;
        int rc = address_parse(slice_str(rows[i].in), &a, &mem, &err);

        if (rows[i].local == NULL) {
            if (rc == 0)
                fail_msg("row %u was accepted", i);
            assert_int_equal(err.kind, ERR_SYNTAX);
            continue;
        }
        if (rc < 0)
            fail_msg("row %u: %s", i, err.text);
        same(i, a.local, rows[i].local);
        same(i, a.domain, rows[i].domain);
        address_print(&a, &again); /* what is printed reads as the same */
        struct address b;

        assert_int_equal(address_parse(buf_slice(&again), &b, &mem, NULL), 0);
        assert_true(address_eq(&a, &b));
        buf_free(&again);
    }
    arena_free(&mem);
}

/* "name|route|local|domain;" for each entry; groups as {name; and }; */
static void list_print(const struct mailbox_entry *e, struct buf *out)
{
    for (; e != NULL; e = e->next) {
        if (e->is_group_begin)
            buf_printf(out, "{%.*s;", SLICE_ARG(e->name));
        else if (e->is_group_end)
            buf_put_str(out, "};");
        else
            buf_printf(out, "%.*s|%.*s|%.*s|%.*s;", SLICE_ARG(e->name), SLICE_ARG(e->route), SLICE_ARG(e->local),
                       SLICE_ARG(e->domain));
    }
}

static void address_list_parse__table(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        { "a@b", "||a|b;" },
        { "Joe Q. Public <john.q.public@example.com>", "Joe Q. Public||john.q.public|example.com;" },
        { "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
          "Mary Smith||mary|x.test;||jdoe|example.org;Who?||one|y.test;" },
        { "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
          "||boss|nil.test;Giant; \"Big\" Box||sysservices|example.net;" },
        { "A Group:Ed Jones <joe@where.test>,john@jdoe.test;",
          "{A Group;Ed Jones||joe|where.test;||john|jdoe.test;};" },
        { "Undisclosed recipients:;", "{Undisclosed recipients;};" },
        { "Undisclosed recipients:", "{Undisclosed recipients;};" },
        { "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete||pete|silly.test;" },
        { "john@example.org (John Doe)", "John Doe||john|example.org;" },
        { "Name <@a.test,@b.test:user@c.test>", "Name|@a.test,@b.test|user|c.test;" },
        { "\"quoted local\"@example.net", "||quotedlocal|example.net;" },
        { "local-only", "||local-only|;" },
        { "x <y>", "x||y|;" },
        { ",,a@b,,", "||a|b;" },
        { "=?utf-8?q?J?= <a@b>", "=?utf-8?q?J?=||a|b;" },
        { "a@b.c d@e.f", "||a|b.c;||d|e.f;" },
        { "<a@b", "||a|b;" },
        { "", "" },
    };
    struct arena mem;

    (void)state;
    arena_init(&mem, 4096);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = BUF_INIT;

        list_print(address_list_parse(slice_str(rows[i].in), 100, &mem), &out);
        same(i, buf_slice(&out), rows[i].out);
        buf_free(&out);
    }
    arena_free(&mem);
}

static void address_list_parse__stops_at_max(void **state)
{
    struct arena mem;
    unsigned n = 0;

    (void)state;
    arena_init(&mem, 1024);
    for (const struct mailbox_entry *e = address_list_parse(SLICE("a@a,b@b,c@c,d@d"), 2, &mem); e != NULL; e = e->next)
        n++;
    assert_int_equal(n, 2);
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_parse__table),
        cmocka_unit_test(address_list_parse__table),
        cmocka_unit_test(address_list_parse__stops_at_max),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
