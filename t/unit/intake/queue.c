/* What becomes of each recipient: mailbox, queue (which channel, which host, with whom) or refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "intake/trace.h"
#include "journal/internal.h"
#include "queue/queue.h"
#include "smtp_site.h"

#define HI "EHLO c.test\r\n"
#define FROM "MAIL FROM:<s@c.test>\r\n"
#define TO(who) "RCPT TO:<" who ">\r\n"
#define DATA "DATA\r\nSubject: x\r\nMessage-ID: <m@c.test>\r\n\r\nx\r\n.\r\n"
#define GOOD "250,250,250,354,250"

/* --- the queue as text: "channel host[!state] rcpt[<original] ...;", in order of ids, from `from` on -------------- */

struct lister {
    struct buf text;
    uint64_t last;
    bool is_verbose;
};

static void put_rcpt(struct lister *l, const struct queue_rcpt *r)
{
    buf_printf(&l->text, " %.*s", SLICE_ARG(r->address));
    if (r->original.len != 0)
        buf_printf(&l->text, "<%.*s", SLICE_ARG(r->original));
    if (l->is_verbose)
        buf_printf(&l->text, "(notify=%u orcpt=%.*s)", r->notify, SLICE_ARG(r->orcpt));
}

static bool list_entry(void *arg, const struct queue_entry *e)
{
    struct lister *l = arg;

    buf_printf(&l->text, "%.*s %.*s%s", SLICE_ARG(e->channel), SLICE_ARG(e->host), e->state == QUEUE_HELD ? "!" : "");
    if (l->is_verbose)
        buf_printf(&l->text, " from=%.*s envid=%.*s ret=%u prio=%u id=%.*s by=%.*s/%.*s", SLICE_ARG(e->sender),
                   SLICE_ARG(e->envid), e->ret, e->priority, SLICE_ARG(e->message_id), SLICE_ARG(e->source),
                   SLICE_ARG(e->source_host));
    for (unsigned i = 0; i < e->rcpt_count; i++)
        put_rcpt(l, &e->rcpts[i]);
    buf_put_str(&l->text, ";");
    l->last = e->id;
    return true;
}

static const char *listed(struct smtp_site *s, struct lister *l)
{
    uint64_t from = l->last + 1;

    buf_reset(&l->text);
    while (from != 0)
        from = queue_each(smtp_site_queue(s), from, 100, list_entry, l);
    return buf_str(&l->text);
}

/* --- sessions ----------------------------------------------------------------------------------------------------- */

static void codes_of(const char *text, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strlen(line) > 3 && line[3] == ' ')
            n += (size_t)snprintf(out + n, size - n, "%s%.3s", n == 0 ? "" : ",", line);
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
}

static const char *session(struct smtp_site *s, const struct protocol *p, const char *peer, const char *send)
{
    int fd = peer != NULL ? smtp_site_connect_from(s, p, peer) : smtp_site_connect(s, p);
    const char *text;

    smtp_site_talk(s, fd, SLICE_NONE, 1);
    text = smtp_site_talk(s, fd, slice_str(send), 0);
    close(fd);
    smtp_site_wait_idle(s);
    return text;
}

struct row {
    const char *peer; /* NULL: a stranger */
    const char *send, *codes;
    const char *queued; /* what is new in the queue */
    int alice; /* messages that are new in her mailbox */
};

static void run_row(struct smtp_site *s, const struct protocol *p, const struct row *r, size_t i, struct lister *l)
{
    int before = (int)smtp_site_inbox(s, "alice");
    const char *text = session(s, p, r->peer, r->send), *seen;
    char codes[512];

    codes_of(text, codes, sizeof codes);
    if (strcmp(codes, r->codes) != 0)
        fail_msg("row %zu: %s instead of %s\n%s", i, codes, r->codes, text);
    seen = listed(s, l);
    if (strcmp(seen, r->queued) != 0)
        fail_msg("row %zu: queued \"%s\" instead of \"%s\"", i, seen, r->queued);
    if ((int)smtp_site_inbox(s, "alice") - before != r->alice)
        fail_msg("row %zu: %d new messages", i, (int)smtp_site_inbox(s, "alice") - before);
    if (smtp_site_check(s) != 0)
        fail_msg("row %zu: the ledger does not close", i);
}

static void run_rows(const char *keys, const struct protocol *p, const struct row *rows, size_t count)
{
    struct smtp_site *s = smtp_site_new(keys);
    struct lister l = { .text = BUF_INIT };

    for (size_t i = 0; i < count; i++)
        run_row(s, p, &rows[i], i, &l);
    buf_free(&l.text);
    smtp_site_destroy(&s);
}

#define RELAY "10.1.2.3:5000"

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void intake_route__finds_channel_and_host(void **state)
{
    static const struct row rows[] = {
        { NULL, HI FROM TO("x@other.test") "QUIT\r\n", "250,250,550,221", "", 0 },
        { "10.2.0.1:1", HI FROM TO("x@other.test") "QUIT\r\n", "250,250,550,221", "", 0 },
        { RELAY, HI FROM TO("x@other.test") DATA, GOOD, "tcp_local other.test x@other.test;", 0 },
        { RELAY, HI FROM TO("X.y@OTHER.Test") DATA, GOOD, "tcp_local other.test X.y@other.test<X.y@OTHER.Test;", 0 },
        { RELAY, HI FROM TO("x@routed.test") DATA, GOOD, "tcp_local [10.0.0.9]:2525 x@routed.test;", 0 },
        { RELAY, HI FROM TO("x@a.sub.test") DATA, GOOD, "tcp_lmtp unix:/run/lmtp x@a.sub.test;", 0 },
        { RELAY, HI FROM TO("x@sub.test") DATA, GOOD, "tcp_local sub.test x@sub.test;", 0 },
        { RELAY, HI FROM TO("x@named.test") DATA, GOOD, "tcp_local relay.test:26 x@named.test;", 0 },
        { RELAY, HI FROM TO("x@[192.0.2.7]") DATA, GOOD, "tcp_local [192.0.2.7] x@[192.0.2.7];", 0 },
        { RELAY, HI FROM TO("x@[IPv6:2001:db8::7]") DATA, GOOD,
          "tcp_local [ipv6:2001:db8::7] x@[IPv6:2001:db8::7];", 0 },
        { RELAY, HI FROM TO("@a.test,@b.test:x@other.test") DATA, GOOD, "tcp_local other.test x@other.test;", 0 },
        { RELAY, HI FROM TO("\\\"a b\\\"@other.test") "QUIT\r\n", "250,250,501,221", "", 0 },
        { RELAY, HI FROM TO("\"a b\"@other.test") DATA, GOOD, "tcp_local other.test \"a b\"@other.test;", 0 },
        { NULL, HI FROM TO("alice@example.test") DATA, GOOD, "", 1 },
        { NULL, HI FROM TO("Postmaster") "QUIT\r\n", "250,250,550,221", "", 0 }, /* nobody is administrator here */
    };

    (void)state;
    run_rows("{\"intake\": {\"relay_networks\": [\"10.1.0.0/16\"]}, \"routes\": [[\"routed.test\", "
             "\"smtp:[10.0.0.9]:2525\"], [\"*.sub.test\", \"lmtp:/run/lmtp\"], "
             "[\"named.test\", \"smtp:relay.test:26\"]]}",
             &smtp_protocol, rows, ARRAY_LEN(rows));
}

static void intake_commit__groups_by_destination(void **state)
{
    static const struct row rows[] = {
        { RELAY, HI FROM TO("b@x.test") TO("a@y.test") TO("a@X.test") TO("b@x.test") TO("alice@example.test") DATA,
          "250,250,250,250,250,250,250,354,250",
          "tcp_local x.test b@x.test a@x.test<a@X.test;tcp_local y.test a@y.test;",
          1 },
        { NULL, HI FROM TO("away@example.test") DATA, GOOD,
          "tcp_local other.test x@other.test<away@example.test;", 1 },
        { NULL, HI FROM TO("away@example.test") TO("alice@example.test") DATA, "250,250,250,250,354,250",
          "tcp_local other.test x@other.test<away@example.test;", 1 },
        { NULL, HI FROM TO("held@example.test") TO("alice@example.test") DATA, "250,250,250,250,354,250",
          "hold held@example.test! held@example.test;", 1 },
        /* a full mailbox inside the grace, and what comes after it */
        { NULL, HI FROM TO("full@example.test") DATA, GOOD, "ims-ms full@example.test full@example.test;", 0 },
        { NULL, HI FROM TO("mixed@example.test") DATA, GOOD,
          "ims-ms full@example.test full@example.test<mixed@example.test;", 1 },
        /* who wants a receipt gets it from the queue */
        { NULL, HI FROM "RCPT TO:<alice@example.test> NOTIFY=SUCCESS\r\n" DATA, GOOD,
          "ims-ms alice@example.test alice@example.test;", 0 },
        /* something waits for her now, so this waits behind it */
        { NULL, HI FROM TO("alice@example.test") DATA, GOOD, "ims-ms alice@example.test alice@example.test;", 0 },
    };

    (void)state;
    run_rows("{\"intake\": {\"relay_networks\": [\"10.1.0.0/16\"]}}", &smtp_protocol, rows, ARRAY_LEN(rows));
}

static void intake_commit__queues_what_may_not_be_direct(void **state)
{
    static const struct row direct[] = {
        { NULL, HI FROM TO("team@example.test") DATA, GOOD, "", 1 },
        { NULL, HI FROM TO("nested@example.test") DATA, GOOD,
          "ims-ms alice@example.test alice@example.test<nested@example.test;"
          "ims-ms bob@example.test bob@example.test<nested@example.test;"
          "ims-ms carol@example.test carol@example.test<nested@example.test;", 0 },
    };
    static const struct row first[] = {
        { NULL, HI FROM TO("alice@example.test") DATA, GOOD, "ims-ms alice@example.test alice@example.test;", 0 },
    };
    static const struct row held[] = {
        { NULL, HI FROM TO("alice@example.test") DATA, GOOD, "ims-ms alice@example.test! alice@example.test;", 0 },
    };
    struct lister l = { .text = BUF_INIT };
    struct smtp_site *s;

    (void)state;
    run_rows("{\"intake\": {\"direct_recipients_max\": 2}}", &smtp_protocol, direct, ARRAY_LEN(direct));
    run_rows("{\"channels\": {\"ims-ms\": {\"queue_first\": true}}}", &smtp_protocol, first, ARRAY_LEN(first));
    run_rows("{\"channels\": {\"ims-ms\": {\"held\": true}}}", &smtp_protocol, held, ARRAY_LEN(held));
    s = smtp_site_new(NULL);
    smtp_site_channel(s, "ims-ms", true);
    run_row(s, &smtp_protocol, &first[0], 100, &l);
    buf_free(&l.text);
    smtp_site_destroy(&s);
}

static void intake_commit__refuses_when_the_queue_is_full(void **state)
{
    static const struct row rows[] = {
        /* room for one entry: at RCPT for each of them, and the end of data knows better */
        { RELAY, HI FROM TO("a@x.test") TO("b@y.test") DATA, "250,250,250,250,354,452", "", 0 },
        { RELAY, HI FROM TO("a@x.test") DATA, GOOD, "tcp_local x.test a@x.test;", 0 },
        { RELAY, HI FROM TO("a@x.test") TO("alice@example.test") DATA, "250,250,452,250,354,250", "", 1 },
        { RELAY, HI FROM TO("a@x.test") "DATA\r\n", "250,250,452,554", "", 0 },
        { NULL, HI FROM TO("alice@example.test") DATA, GOOD, "", 1 },
    };

    (void)state;
    run_rows("{\"intake\": {\"relay_networks\": [\"10.1.0.0/16\"]}, \"queue\": {\"entries_max\": 1}}", &smtp_protocol,
             rows, ARRAY_LEN(rows));
}

#define HOPS "Received: a\r\nReceived: b\r\nReceived: c\r\nReceived: d\r\nReceived: e\r\nReceived: f\r\n"
#define LOOP "DATA\r\n" HOPS HOPS "\r\nx\r\n.\r\n"

static void intake_loops__are_refused_or_held(void **state)
{
    static const struct row refused[] = {
        { NULL, HI FROM TO("alice@example.test") LOOP, "250,250,250,354,554", "", 0 },
        { NULL, HI FROM TO("alice@example.test") "DATA\r\nDelivered-To: alice@example.test\r\n\r\n.\r\n",
          "250,250,250,354,554", "", 0 },
    };
    static const struct row held[] = {
        { NULL, HI FROM TO("alice@example.test") LOOP, GOOD, "ims-ms alice@example.test! alice@example.test;", 0 },
        { NULL, HI FROM TO("bob@example.test") "DATA\r\nDelivered-To: bob@example.test\r\n\r\n.\r\n", GOOD,
          "ims-ms bob@example.test! bob@example.test;", 0 },
    };

    (void)state;
    run_rows("{\"intake\": {\"received_max\": 10}}", &smtp_protocol, refused, ARRAY_LEN(refused));
    run_rows("{\"intake\": {\"received_max\": 10, \"looping\": \"hold\"}}", &smtp_protocol, held, ARRAY_LEN(held));
}

static void intake_entry__carries_the_envelope(void **state)
{
    static const struct {
        const char *send, *want;
    } rows[] = {
        { HI "MAIL FROM:<s@c.test> RET=HDRS ENVID=q+2B1 BODY=8BITMIME\r\n"
             "RCPT TO:<a@x.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@x.test\r\nRCPT TO:<b@x.test> NOTIFY=NEVER\r\n"
             "DATA\r\nPriority: urgent\r\nMessage-ID: <m@c.test>\r\n\r\nx\r\n.\r\n",
          "tcp_local x.test from=s@c.test envid=q+2B1 ret=2 prio=0 id=<m@c.test> by=tcp_intranet/c.test ([10.1.2.3]) "
          "a@x.test(notify=10 orcpt=rfc822;o@x.test) b@x.test(notify=1 orcpt=);" },
        { HI "MAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\nDATA\r\nX-Priority: 5 (lowest)\r\n\r\nx\r\n.\r\n",
          "tcp_local x.test from= envid= ret=0 prio=2 id= by=tcp_intranet/c.test ([10.1.2.3]) "
          "a@x.test(notify=0 orcpt=);" },
        { HI "MAIL FROM:<s@c.test>\r\nRCPT TO:<a@x.test>\r\nDATA\r\nImportance: high\r\n\r\nx\r\n.\r\n",
          "tcp_local x.test from=s@c.test envid= ret=0 prio=0 id= by=tcp_intranet/c.test ([10.1.2.3]) "
          "a@x.test(notify=0 orcpt=);" },
    };
    struct smtp_site *s = smtp_site_new("{\"intake\": {\"relay_networks\": [\"10.1.0.0/16\"]}}");
    struct lister l = { .text = BUF_INIT, .is_verbose = true };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        session(s, &smtp_protocol, RELAY, rows[i].send);
        if (strcmp(listed(s, &l), rows[i].want) != 0)
            fail_msg("row %zu: %s", i, buf_str(&l.text));
    }
    buf_free(&l.text);
    smtp_site_destroy(&s);
}

/* LMTP answers for each; one that is refused does not keep the others from the queue. */
static void intake_lmtp__queues_for_some(void **state)
{
    static const struct row rows[] = {
        { "10.1.2.3:24", "LHLO c.test\r\n" FROM TO("full@example.test") TO("a@x.test") TO("alice@example.test") DATA,
          "250,250,250,250,250,354,452,250,250", "tcp_local x.test a@x.test;", 1 },
    };

    (void)state;
    run_rows("{\"intake\": {\"relay_networks\": [\"10.1.0.0/16\"], \"quota_grace_hours\": 0}}", &lmtp_protocol, rows,
             ARRAY_LEN(rows));
}

/* On the committer: the rebuild stands still or goes on. However slow the machine is, a message then comes while the
 * mailbox is not there. */
struct halt {
    struct journal_op op;
    bool stands;
};

static int halt_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    (void)err;
    tx->journal->rebuild_stands = CONTAINER_OF(op, struct halt, op)->stands;
    return 0;
}

static void halt(struct smtp_site *s, bool stands)
{
    struct halt h = { .op = { .run = halt_run, .cost = 1 }, .stands = stands };
    struct err err = ERR_INIT;

    assert_int_equal(journal_run(smtp_site_journal(s), &h.op, &err), 0);
}

/* While the index is rebuilt behind the server mail for what is not there yet waits in the queue, behind it what comes
 * later; nothing is refused, nothing is lost. */
static void intake_commit__queues_while_rebuilding(void **state)
{
    struct smtp_site *s = smtp_site_new(NULL);
    struct lister l = { .text = BUF_INIT };
    unsigned sent = 0, queued = 0;
    struct buf many = BUF_INIT;

    (void)state;
    for (unsigned i = 0; i < 200; i++)
        buf_put_str(&many, i == 0 ? HI FROM TO("alice@example.test") DATA : FROM TO("alice@example.test") DATA);
    session(s, &smtp_protocol, NULL, buf_str(&many));
    for (unsigned round = 0; round < 5 && queued == 0; round++) {
        char codes[64];

        smtp_site_rebuild(s, 1);
        halt(s, true);
        codes_of(session(s, &smtp_protocol, NULL, HI FROM TO("alice@example.test") DATA), codes, sizeof codes);
        assert_string_equal(codes, GOOD);
        sent++;
        queued += listed(s, &l)[0] != '\0';
    }
    assert_int_equal(queued, 1);
    assert_string_equal(buf_str(&l.text), "ims-ms alice@example.test alice@example.test;");
    halt(s, false);
    while (journal_rebuilding(smtp_site_journal(s), NULL))
        usleep(1000);
    assert_int_equal(smtp_site_inbox(s, "alice"), 200 + sent - 1);
    session(s, &smtp_protocol, NULL, HI FROM TO("alice@example.test") DATA);
    assert_string_equal(listed(s, &l), "ims-ms alice@example.test alice@example.test;");
    assert_int_equal(smtp_site_check(s), 0);
    buf_free(&l.text);
    buf_free(&many);
    smtp_site_destroy(&s);
}

/* --- the trace record --------------------------------------------------------------------------------------------- */

struct found {
    struct arena mem;
    struct trace trace;
    struct buf payload, keys;
    unsigned count;
};

static void on_key(void *arg, slice key)
{
    struct found *f = arg;

    buf_printf(&f->keys, "%.*s,", SLICE_ARG(key));
}

static bool on_record(void *arg, const struct record *r, uint64_t segment, uint64_t offset)
{
    struct found *f = arg;

    (void)segment;
    (void)offset;
    if (r->type != TRACE_RECORD)
        return true;
    f->count++;
    buf_put_slice(&f->payload, r->payload);
    assert_int_equal(r->flags & RECORD_END, RECORD_END);
    buf_reset(&f->keys);
    trace_keys(r, on_key, f);
    return true;
}

static void intake_trace__says_what_was_decided(void **state)
{
    struct smtp_site *s = smtp_site_new("{\"intake\": {\"quota_grace_hours\": 0}}");
    struct found f = { .payload = BUF_INIT, .keys = BUF_INIT };
    struct err err = ERR_INIT;
    const struct trace_rcpt *r;

    (void)state;
    session(s, &lmtp_protocol, "10.1.2.3:24",
            "LHLO c.test\r\n" FROM TO("away@example.test") TO("full@example.test") DATA);
    assert_int_equal(journal_walk(smtp_site_journal(s), 1, on_record, &f, &err), 0);
    assert_int_equal(f.count, 1);
    arena_init(&f.mem, 1024);
    assert_true(trace_decode(buf_slice(&f.payload), &f.mem, &f.trace));
    assert_int_equal(f.trace.source, INTAKE_LMTP);
    assert_true(slice_eq(f.trace.address, SLICE("10.1.2.3")) && slice_eq(f.trace.helo, SLICE("c.test")));
    assert_true(slice_eq(f.trace.sender, SLICE("s@c.test")) && slice_eq(f.trace.message_id, SLICE("<m@c.test>")));
    assert_int_equal(f.trace.rcpt_count, 2);
    r = &f.trace.rcpts[0];
    assert_int_equal(r->bits, TRACE_ALIAS | TRACE_ACCEPTED);
    assert_int_equal(r->target_count, 2);
    assert_int_equal(r->targets[0].fate, TRACE_MAILBOX);
    assert_int_equal(r->targets[0].uid, 1);
    assert_true(r->targets[0].uidvalidity != 0 && r->targets[0].account != 0);
    assert_int_equal(r->targets[1].fate, TRACE_QUEUED);
    assert_true(r->targets[1].entry != 0 && slice_eq(r->targets[1].host, SLICE("other.test")));
    r = &f.trace.rcpts[1];
    assert_int_equal(r->bits, 0);
    assert_true(slice_eq(r->status, SLICE("4.2.2 Mailbox full")));
    assert_int_equal(r->targets[0].fate, TRACE_REFUSED);
    assert_non_null(strstr(buf_str(&f.keys), "m@c.test,"));
    assert_non_null(strstr(buf_str(&f.keys), "s@c.test,away@example.test,alice@example.test,x@other.test,"));
    arena_free(&f.mem);
    buf_free(&f.payload);
    buf_free(&f.keys);
    smtp_site_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intake_route__finds_channel_and_host),
        cmocka_unit_test(intake_commit__groups_by_destination),
        cmocka_unit_test(intake_commit__queues_what_may_not_be_direct),
        cmocka_unit_test(intake_commit__refuses_when_the_queue_is_full),
        cmocka_unit_test(intake_loops__are_refused_or_held),
        cmocka_unit_test(intake_entry__carries_the_envelope),
        cmocka_unit_test(intake_lmtp__queues_for_some),
        cmocka_unit_test(intake_commit__queues_while_rebuilding),
        cmocka_unit_test(intake_trace__says_what_was_decided),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
