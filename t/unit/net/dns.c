/* Finding hosts, with libunbound asking a name server of ours (t/lib/dns_stub.py) that answers from a table and
 * misbehaves. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/counter.h"
#include "base/mem.h"
#include "net/dns.h"

static const char table[] =
    "{\"two.test\": {\"MX\": [\"20 b.two.test\", \"10 a.two.test\"]},"
    " \"a.two.test\": {\"A\": [\"127.0.0.2\"], \"AAAA\": [\"2001:db8::2\"]},"
    " \"b.two.test\": {\"A\": [\"127.0.0.3\"]},"
    " \"equal.test\": {\"MX\": [\"10 e1.test\", \"10 e2.test\", \"10 e3.test\"]},"
    " \"e1.test\": {\"A\": [\"127.0.1.1\"]}, \"e2.test\": {\"A\": [\"127.0.1.2\"]},"
    " \"e3.test\": {\"A\": [\"127.0.1.3\"]},"
    " \"null.test\": {\"MX\": [\"0 .\"], \"A\": [\"127.0.0.9\"]},"
    " \"nullandmore.test\": {\"MX\": [\"0 .\", \"5 b.two.test\"]},"
    " \"implicit.test\": {\"A\": [\"127.0.0.4\"]},"
    " \"nothing.test\": {\"TXT\": [\"only\"]},"
    " \"alias.test\": {\"CNAME\": [\"two.test\"]},"
    " \"toalias.test\": {\"MX\": [\"10 mxalias.test\"]},"
    " \"mxalias.test\": {\"CNAME\": [\"b.two.test\"]},"
    " \"hole.test\": {\"MX\": [\"5 gone.test\", \"10 b.two.test\"]},"
    " \"allgone.test\": {\"MX\": [\"5 gone.test\", \"10 gone2.test\"]},"
    " \"broken.test\": \"SERVFAIL\", \"refused.test\": \"REFUSED\", \"silent.test\": \"TIMEOUT\","
    " \"lie.test\": \"LIE\", \"garbage.test\": \"GARBAGE\","
    " \"halfbroken.test\": {\"MX\": [\"5 broken.test\", \"10 b.two.test\"]},"
    " \"onlybroken.test\": {\"MX\": [\"5 broken.test\", \"10 gone.test\"]},"
    " \"noaaaa.test\": {\"MX\": [\"5 slow6.test\"]},"
    " \"slow6.test\": {\"A\": [\"127.0.0.5\"], \"AAAA\": \"TIMEOUT\"},"
    " \"ours.test\": {\"MX\": [\"5 a.two.test\", \"10 me.test\", \"10 e1.test\", \"20 b.two.test\"]},"
    " \"best.test\": {\"MX\": [\"5 me.test\", \"10 a.two.test\"]},"
    " \"me.test\": {\"A\": [\"127.0.0.1\"]},"
    " \"odd.test\": {\"MX\": [\"5 bad!name.test\", \"10 b.two.test\"]},"
    " \"allodd.test\": {\"MX\": [\"5 bad!name.test\"]},"
    " \"zero.test\": {\"A\": [\"0.0.0.0\", \"224.0.0.1\", \"127.0.0.6\"]},"
    " \"same.test\": {\"MX\": [\"5 b.two.test\", \"10 b2.test\"]}, \"b2.test\": {\"A\": [\"127.0.0.3\"]},"
    " \"many.test\": {\"MX\": [\"10 many500.test\"]}, \"many500.test\": {\"A\": %s},"
    " \"hosts200.test\": {\"MX\": %s}, %s"
    " \"1.2.0.192.in-addr.arpa\": {\"PTR\": [\"mail.example.test\"]},"
    " \"texts.test\": {\"TXT\": [\"v=spf1 -all\", \"%s\"]}}";

struct site {
    struct clock clock;
    struct reactor *reactor;
    struct dns *dns;
    struct conf_set set;
    struct dns_conf conf;
    char server[32];
    slice servers[1];
    pid_t pid;
    int input; /* of the name server; it ends with it */
    FILE *output;
    unsigned done;
};

static void list_500(struct buf *out)
{
    for (unsigned i = 0; i < 500; i++)
        buf_printf(out, "%s\"10.1.%u.%u\"", i == 0 ? "[" : ", ", i / 250, i % 250 + 1);
    buf_put_str(out, "]");
}

static void write_table(const char *path)
{
    struct buf many = BUF_INIT, mx = BUF_INIT, hosts = BUF_INIT, text = BUF_INIT;
    FILE *f = fopen(path, "w");

    list_500(&many);
    for (unsigned i = 0; i < 200; i++) {
        buf_printf(&mx, "%s\"%u h%u.test\"", i == 0 ? "[" : ", ", i, i);
        if (i >= 7) /* the first seven have no address */
            buf_printf(&hosts, "\"h%u.test\": {\"A\": [\"10.2.0.%u\"]}, ", i, i);
    }
    buf_put_str(&mx, "]");
    for (unsigned i = 0; i < 700; i++)
        buf_put_byte(&text, (unsigned char)('a' + i % 26));
    fprintf(f, table, buf_str(&many), buf_str(&mx), buf_str(&hosts), buf_str(&text));
    fclose(f);
    buf_free(&many);
    buf_free(&mx);
    buf_free(&hosts);
    buf_free(&text);
}

static void server_start(struct site *t)
{
    char path[] = "/tmp/ph-dns-XXXXXX", script[512], line[64];
    const char *top = getenv("TOP");
    int in[2], out[2];
    unsigned port = 0;

    close(mkstemp(path));
    write_table(path);
    snprintf(script, sizeof script, "%s/t/lib/dns_stub.py", top != NULL ? top : ".");
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    t->pid = fork();
    if (t->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        execlp("python3", "python3", script, path, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    t->input = in[1];
    t->output = fdopen(out[0], "r");
    assert_non_null(fgets(line, sizeof line, t->output));
    assert_int_equal(sscanf(line, "port %u", &port), 1);
    unlink(path);
    snprintf(t->server, sizeof t->server, "127.0.0.1:%u", port);
}

static void site_up(struct site *t)
{
    struct err err = ERR_INIT;

    *t = (struct site){ 0 };
    server_start(t);
    clock_init_real(&t->clock);
    t->reactor = reactor_new("test", &t->clock, &err);
    snap_init(&t->set.snap, NULL);
    arena_init(&t->set.mem, 512);
    keys_default(&dns_keys, &t->conf, &t->set.mem);
    t->servers[0] = slice_str(t->server);
    t->conf.servers = (struct key_strs){ t->servers, 1 };
    t->conf.hosts_file = SLICE("");
    t->conf.ipv6 = DNS_IPV6_OFF;
    t->set.section[CONF_DNS] = &t->conf;
    assert_int_equal(dns_conf_check(&t->conf, NULL, NULL), 0);
    assert_int_equal(dns_new(&t->dns, &t->clock, &t->set, &err), 0);
}

static void site_down(struct site *t)
{
    dns_destroy(&t->dns);
    while (reactor_turn(t->reactor))
        continue;
    assert_int_equal(counter_get(counter_find("dns.open")), 0);
    assert_int_equal(counter_get(counter_find("dns.waiting")), 0);
    reactor_destroy(&t->reactor);
    arena_free(&t->set.mem);
    close(t->input);
    fclose(t->output);
    waitpid(t->pid, NULL, 0);
}

static void on_done(struct dns_query *q)
{
    struct site *t = q->arg;

    t->done--;
    if (t->done == 0)
        reactor_stop(q->reactor);
}

static struct dns_query *ask(struct site *t, enum dns_kind kind, const char *name)
{
    struct dns_query *q = dns_query_new(kind, slice_str(name));

    q->reactor = t->reactor;
    q->done = on_done;
    q->arg = t;
    q->self = SLICE("Me.Test");
    t->done++;
    dns_ask(t->dns, q);
    return q;
}

static struct dns_query *answer(struct site *t, enum dns_kind kind, const char *name)
{
    struct dns_query *q = ask(t, kind, name);

    reactor_run(t->reactor);
    return q;
}

static void print(const struct dns_query *q, struct buf *out)
{
    buf_put_str(out, dns_result_name(q->result));
    for (unsigned i = 0; i < q->host_count; i++) {
        buf_printf(out, "; %u %.*s ", q->hosts[i].preference, SLICE_ARG(q->hosts[i].name));
        net_addr_print_host(&q->hosts[i].addr, out);
    }
    if (q->why[0] != '\0')
        buf_printf(out, "; %s", q->why);
}

/* --- routes ------------------------------------------------------------------------------------------------------- */

static void dns__finds_the_route_of_a_domain(void **state)
{
    static const struct row {
        enum dns_kind kind;
        const char *name, *answer;
    } rows[] = {
        { DNS_ROUTE, "two.test", "found; 10 a.two.test 127.0.0.2; 20 b.two.test 127.0.0.3" },
        { DNS_ROUTE, "TWO.test.", "found; 10 a.two.test 127.0.0.2; 20 b.two.test 127.0.0.3" },
        { DNS_ROUTE, "null.test", "null MX; null.test takes no mail (null MX)" },
        { DNS_ROUTE, "nullandmore.test", "found; 5 b.two.test 127.0.0.3" },
        { DNS_ROUTE, "implicit.test", "found; 0 implicit.test 127.0.0.4" },
        { DNS_ROUTE, "nothing.test", "none; nothing.test: there is no address" },
        { DNS_ROUTE, "gone.test", "none; gone.test does not exist" },
        { DNS_ROUTE, "alias.test", "found; 10 a.two.test 127.0.0.2; 20 b.two.test 127.0.0.3" },
        { DNS_ROUTE, "toalias.test", "found; 10 mxalias.test 127.0.0.3" },
        { DNS_ROUTE, "hole.test", "found; 10 b.two.test 127.0.0.3" },
        { DNS_ROUTE, "allgone.test", "none; gone.test does not exist" },
        { DNS_ROUTE, "broken.test", "failed for now; MX of broken.test: SERVFAIL" },
        { DNS_ROUTE, "refused.test", "failed for now; MX of refused.test: SERVFAIL" },
        { DNS_ROUTE, "halfbroken.test", "found; 10 b.two.test 127.0.0.3" },
        { DNS_ROUTE, "onlybroken.test", "failed for now; A of broken.test: SERVFAIL" },
        { DNS_ROUTE, "ours.test", "found; 5 a.two.test 127.0.0.2" },
        { DNS_ROUTE, "best.test", "this host; this host is the best MX of best.test" },
        { DNS_ROUTE, "me.test", "this host; me.test has no MX and is this host" },
        { DNS_ROUTE, "odd.test", "found; 10 b.two.test 127.0.0.3" },
        { DNS_ROUTE, "allodd.test", "none; no MX record of allodd.test names a host" },
        { DNS_ROUTE, "zero.test", "found; 0 zero.test 127.0.0.6" },
        { DNS_ROUTE, "same.test", "found; 5 b.two.test 127.0.0.3" },
        { DNS_ROUTE, "b\xc3\xbc" "cher.test", "none; this is no name of a domain" },
        { DNS_ROUTE, "", "none; this is no name of a domain" },
        { DNS_ROUTE, "a..b", "none; this is no name of a domain" },
        { DNS_ADDRESS, "me.test", "found; 0 me.test 127.0.0.1" },
        { DNS_ADDRESS, "mxalias.test", "found; 0 mxalias.test 127.0.0.3" },
        { DNS_ADDRESS, "two.test", "none; two.test: there is no address" },
        { DNS_ADDRESS, "gone.test", "none; gone.test does not exist" },
        { DNS_ADDRESS, "broken.test", "failed for now; A of broken.test: SERVFAIL" },
        { DNS_TXT, "gone.test", "none; gone.test does not exist" },
        { DNS_TXT, "two.test", "none; two.test has no TXT record" },
    };
    struct site t;

    (void)state;
    site_up(&t);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf text = BUF_INIT;
        struct dns_query *q = answer(&t, rows[i].kind, rows[i].name);
        print(q, &text);
        assert_string_equal(buf_str(&text), rows[i].answer);
        buf_free(&text);
        dns_query_destroy(&q);
    }
    site_down(&t);
}

static void dns__changes_the_order_of_equal_hosts(void **state)
{
    unsigned first[4] = { 0 };
    struct site t;

    (void)state;
    site_up(&t);
    for (unsigned n = 0; n < 60; n++) {
        struct dns_query *q = answer(&t, DNS_ROUTE, "equal.test");
        assert_int_equal(q->host_count, 3);
        first[q->hosts[0].name.ptr[1] - '0']++;
        dns_query_destroy(&q);
    }
    for (unsigned i = 1; i <= 3; i++) /* one of them never coming first: 1 in 10^10 */
        assert_true(first[i] > 0);
    site_down(&t);
}

static void dns__bounds_what_a_domain_may_cost(void **state)
{
    struct site t;

    (void)state;
    site_up(&t);
    struct dns_query *q = answer(&t, DNS_ROUTE, "many.test"); /* 500 addresses; truncated over UDP */
    assert_int_equal(q->result, DNS_OK);
    assert_int_equal(q->host_count, 20);
    dns_query_destroy(&q);
    const int64_t asked = counter_get(counter_find("dns.questions"));
    q = answer(&t, DNS_ROUTE, "hosts200.test");
    assert_int_equal(q->host_count, 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(q->hosts[i].preference, 7 + i);
    assert_in_range(counter_get(counter_find("dns.questions")) - asked, 28, 29); /* MX, and 28 hosts in waves of 4 */
    dns_query_destroy(&q);
    t.conf.addresses_max = 3;
    q = answer(&t, DNS_ROUTE, "many.test");
    assert_int_equal(q->host_count, 3);
    dns_query_destroy(&q);
    site_down(&t);
}

static void dns__prefers_the_family_that_is_configured(void **state)
{
    static const struct row {
        uint32_t ipv6;
        const char *answer;
    } rows[] = {
        { DNS_IPV6_OFF, "found; 10 a.two.test 127.0.0.2; 20 b.two.test 127.0.0.3" },
        { DNS_IPV6_ONLY, "found; 10 a.two.test 2001:db8::2" },
        { DNS_IPV6_PREFER, "found; 10 a.two.test 2001:db8::2; 10 a.two.test 127.0.0.2; 20 b.two.test 127.0.0.3" },
    };
    struct site t;

    (void)state;
    site_up(&t);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf text = BUF_INIT;
        t.conf.ipv6 = rows[i].ipv6;
        struct dns_query *q = answer(&t, DNS_ROUTE, "two.test");
        print(q, &text);
        assert_string_equal(buf_str(&text), rows[i].answer);
        buf_free(&text);
        dns_query_destroy(&q);
    }
    t.conf.ipv6 = DNS_IPV6_AUTO; /* both, in an order that depends on this machine */
    struct dns_query *q = answer(&t, DNS_ROUTE, "two.test");
    assert_int_equal(q->host_count, 3);
    assert_int_equal(q->hosts[0].preference + q->hosts[1].preference, 20);
    dns_query_destroy(&q);
    site_down(&t);
}

/* --- time-outs and ends ------------------------------------------------------------------------------------------- */

static void dns__gives_up_in_time(void **state)
{
    struct site t;

    (void)state;
    site_up(&t);
    t.conf.timeout_s = 1;
    const int64_t before = counter_get(counter_find("dns.timeouts"));
    static const char *const names[] = { "silent.test", "garbage.test" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const int64_t began = clock_mono_ms(&t.clock);
        struct dns_query *q = answer(&t, DNS_ROUTE, names[i]);
        assert_int_equal(q->result, DNS_TEMP);
        assert_in_range(clock_mono_ms(&t.clock) - began, 0, 8000);
        if (i == 0)
            assert_string_equal(q->why, "no answer for silent.test within 1 s");
        dns_query_destroy(&q);
    }
    assert_true(counter_get(counter_find("dns.timeouts")) > before);
    t.conf.ipv6 = DNS_IPV6_PREFER; /* what has come by then is used */
    struct buf text = BUF_INIT;
    struct dns_query *q = answer(&t, DNS_ROUTE, "noaaaa.test");
    print(q, &text);
    assert_string_equal(buf_str(&text), "found; 5 slow6.test 127.0.0.5");
    buf_free(&text);
    dns_query_destroy(&q);
    site_down(&t);
}

static void dns__does_not_believe_answers_to_other_questions(void **state)
{
    struct site t;

    (void)state;
    site_up(&t);
    t.conf.timeout_s = 2;
    struct dns_query *q = answer(&t, DNS_ROUTE, "lie.test");
    assert_int_not_equal(q->result, DNS_OK);
    assert_int_equal(q->host_count, 0);
    dns_query_destroy(&q);
    q = answer(&t, DNS_ROUTE, "bank.test");
    assert_int_equal(q->result, DNS_NONE);
    dns_query_destroy(&q);
    site_down(&t);
}

static void dns__keeps_a_bound_of_questions_under_way(void **state)
{
    enum { COUNT = 40 };
    struct dns_query *q[COUNT];
    struct site t;

    (void)state;
    site_up(&t);
    t.conf.questions_max = 2;
    for (unsigned i = 0; i < COUNT; i++)
        q[i] = ask(&t, DNS_ROUTE, i % 2 == 0 ? "two.test" : "equal.test");
    reactor_run(t.reactor);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(q[i]->host_count, i % 2 == 0 ? 2 : 3);
        dns_query_destroy(&q[i]);
    }
    site_down(&t);
}

static void dns__answers_all_when_it_stops(void **state)
{
    enum { COUNT = 10 };
    struct dns_query *q[COUNT], *dropped;
    struct site t;

    (void)state;
    site_up(&t);
    t.conf.questions_max = 4;
    for (unsigned i = 0; i < COUNT; i++)
        q[i] = ask(&t, DNS_ROUTE, "silent.test");
    dropped = ask(&t, DNS_ROUTE, "silent.test");
    dns_query_drop(&dropped);
    assert_null(dropped);
    t.done--;
    for (unsigned n = 0; n < 10000 && counter_get(counter_find("dns.waiting")) != COUNT + 1 - 4; n++)
        poll(NULL, 0, 1);
    assert_int_equal(counter_get(counter_find("dns.waiting")), COUNT + 1 - 4);
    dns_destroy(&t.dns);
    while (reactor_turn(t.reactor))
        continue;
    assert_int_equal(t.done, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(q[i]->result, DNS_TEMP);
        assert_string_equal(q[i]->why, "the server stops");
        dns_query_destroy(&q[i]);
    }
    site_down(&t);
}

static void dns__asks_others_after_a_reload(void **state)
{
    struct site t, other;

    (void)state;
    site_up(&t);
    server_start(&other);
    struct dns_query *q = answer(&t, DNS_ROUTE, "two.test");
    assert_int_equal(q->host_count, 2);
    dns_query_destroy(&q);
    struct dns_query *pending = ask(&t, DNS_ROUTE, "silent.test");
    kill(t.pid, SIGKILL); /* so that an answer can only come from the other */
    struct dns_conf conf = t.conf;
    struct conf_set set = { .section = { [CONF_DNS] = &conf } };
    const slice server = slice_str(other.server);
    snap_init(&set.snap, NULL);
    conf.servers = (struct key_strs){ &server, 1 };
    dns_reload(t.dns, &set);
    t.done--;
    dns_query_drop(&pending);
    q = answer(&t, DNS_ROUTE, "implicit.test");
    assert_int_equal(q->host_count, 1);
    dns_query_destroy(&q);
    close(other.input);
    fclose(other.output);
    waitpid(other.pid, NULL, 0);
    site_down(&t);
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

static void dns__finds_names_and_texts(void **state)
{
    struct site t;

    (void)state;
    site_up(&t);
    struct dns_query *q = dns_query_new(DNS_PTR, SLICE_NONE);
    assert_int_equal(net_addr_parse(SLICE("192.0.2.1:25"), &q->addr, NULL), 0);
    q->reactor = t.reactor;
    q->done = on_done;
    q->arg = &t;
    t.done++;
    dns_ask(t.dns, q);
    reactor_run(t.reactor);
    assert_int_equal(q->result, DNS_OK);
    assert_int_equal(q->text_count, 1);
    assert_true(slice_eq(q->texts[0], SLICE("mail.example.test")));
    dns_query_destroy(&q);

    q = answer(&t, DNS_TXT, "texts.test");
    assert_int_equal(q->text_count, 2);
    assert_int_equal(q->texts[0].len + q->texts[1].len, 11 + 700);
    dns_query_destroy(&q);
    site_down(&t);
}

static void dns__reads_the_hosts_file(void **state)
{
    char path[] = "/tmp/ph-hosts-XXXXXX";
    struct site t;
    const int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, "192.0.2.33 inside.example\n", 26), 26);
    close(fd);
    site_up(&t);
    t.conf.hosts_file = slice_str(path); /* nothing was asked before, so that it is read yet */
    struct buf text = BUF_INIT;
    struct dns_query *q = answer(&t, DNS_ROUTE, "inside.example");
    print(q, &text);
    assert_string_equal(buf_str(&text), "found; 0 inside.example 192.0.2.33");
    buf_free(&text);
    dns_query_destroy(&q);
    unlink(path);
    site_down(&t);
}

static void dns_conf__checks_servers(void **state)
{
    static const struct row {
        const char *server;
        unsigned errors;
    } rows[] = {
        { "192.0.2.1", 0 },   { "192.0.2.1:5353", 0 }, { "2001:db8::1", 0 }, { "[2001:db8::1]:53", 0 },
        { "[2001:db8::1]", 0 }, { "::1", 0 },          { "root", 0 },        { "ns.example.test", 1 },
        { "192.0.2.1:x", 1 }, { "*:53", 1 },           { "unix:/x", 1 },     { "/x", 1 },
        { "192.0.2.1:0", 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const slice item = slice_str(rows[i].server);
        const struct dns_conf conf = { .servers = { &item, 1 } };
        if (dns_conf_check(&conf, NULL, NULL) != rows[i].errors)
            fail_msg("%s", rows[i].server);
    }
    const slice both[] = { SLICE("root"), SLICE("192.0.2.1") };
    const struct dns_conf conf = { .servers = { both, 2 } };
    assert_int_equal(dns_conf_check(&conf, NULL, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dns__finds_the_route_of_a_domain),
        cmocka_unit_test(dns__changes_the_order_of_equal_hosts),
        cmocka_unit_test(dns__bounds_what_a_domain_may_cost),
        cmocka_unit_test(dns__prefers_the_family_that_is_configured),
        cmocka_unit_test(dns__gives_up_in_time),
        cmocka_unit_test(dns__does_not_believe_answers_to_other_questions),
        cmocka_unit_test(dns__keeps_a_bound_of_questions_under_way),
        cmocka_unit_test(dns__answers_all_when_it_stops),
        cmocka_unit_test(dns__asks_others_after_a_reload),
        cmocka_unit_test(dns__finds_names_and_texts),
        cmocka_unit_test(dns__reads_the_hosts_file),
        cmocka_unit_test(dns_conf__checks_servers),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
