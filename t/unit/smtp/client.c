/* Dialogues with the real client: every state, every fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/counter.h"
#include "client_site.h"
#include "smtp/client_internal.h"

#define HELLO "> 220 mx\n< EHLO me.test\n> 250 mx\n"
#define HELLO_WITH(caps) "> 220 mx\n< EHLO me.test\n> 250-mx\n" caps
#define MAIL "< MAIL FROM:<s@y.test>\n> 250 ok\n"
#define RCPT(who) "< RCPT TO:<" who "@x.test>\n> 250 ok\n"
#define DATA "< DATA\n> 354 go\n<.\n"

struct row {
    const char *script;
    unsigned rcpts;
    const char *fates;
    const char *diag; /* of the first recipient, or of the attempt: a part of it; or NULL */
    const char *next; /* script of a second connection, or NULL */
};

static void check_row(const char *table, size_t i, const struct row *row, struct client_site *s)
{
    const char *fates;
    slice diag;

    client_site_script(s, row->script);
    if (row->next != NULL)
        client_site_script(s, row->next);
    client_site_send(s, row->rcpts);
    client_site_run(s);
    fates = client_site_fates(s);
    if (strcmp(fates, row->fates) != 0 || s->trouble[0] != '\0')
        fail_msg("%s row %zu: '%s' instead of '%s'; %s", table, i, fates, row->fates, s->trouble);
    diag = s->mail.end == SMTP_END_DONE ? s->rcpts[0].diag : s->mail.diag;
    if (row->diag != NULL && slice_find(diag, slice_str(row->diag)) < 0)
        fail_msg("%s row %zu: diagnostic '%.*s'", table, i, SLICE_ARG(diag));
    if (s->accepted != (row->next != NULL ? 2 : 1))
        fail_msg("%s row %zu: %u connections", table, i, s->accepted);
}

static void run_rows(const char *table, const struct row *rows, size_t count, void (*prepare)(struct client_site *s))
{
    for (size_t i = 0; i < count; i++) {
        struct client_site s;

        client_site_init(&s);
        if (prepare != NULL)
            prepare(&s);
        check_row(table, i, &rows[i], &s);
        client_site_free(&s);
    }
}

/* --- one message ---------------------------------------------------------------------------------------------------
*/

static void smtp_client__sends_one_message(void **state)
{
    static const struct row rows[] = {
        { HELLO MAIL RCPT("a") DATA "> 250 2.6.0 queued as 7\n< QUIT\n> 221 bye\neof", 1, "taken 2.6.0",
          "smtp;250 2.6.0 queued as 7", NULL },
        { "bytes\n> 220-mx\n> 220-who\n> 220 are you\n< EHLO me.test\n> 250-mx\n> 250-X-ODD\n> 250 HELP\n" MAIL
          RCPT("a") RCPT("b") DATA "> 250 ok", 2, "taken 2.0.0, taken 2.0.0", NULL, NULL },
        { "> 220 mx\n< EHLO me.test\n> 502 what\n< HELO me.test\n> 250 mx\n" MAIL RCPT("a") DATA "> 250 ok", 1,
          "taken 2.0.0", NULL, NULL },
        /* without PIPELINING one by one; some refused, some put off */
        { HELLO MAIL "< RCPT TO:<a@x.test>\n> 550 5.1.1 who\n< RCPT TO:<b@x.test>\n> 450 4.2.1 busy\n" RCPT("c") DATA
          "> 250 ok", 3, "refused 5.1.1, later 4.2.1, taken 2.0.0", "smtp;550 5.1.1 who", NULL },
        { HELLO MAIL "< RCPT TO:<a@x.test>\n> 550 a\n< RCPT TO:<b@x.test>\n> 553-5.1.3 b\n> 553 5.1.3 c\n"
          "< RSET\n> 250 ok", 2, "refused 5.0.0, refused 5.1.3", NULL, NULL },
        { HELLO "< MAIL FROM:<s@y.test>\n> 451 4.7.1 greylisted\n< RSET\n> 250 ok", 2, "later 4.7.1, later 4.7.1",
          "greylisted", NULL },
        { HELLO "< MAIL FROM:<s@y.test>\n> 550 5.7.1 not you\n< RSET\n> 250 ok", 1, "refused 5.7.1", NULL, NULL },
        { HELLO MAIL RCPT("a") "< DATA\n> 451 4.3.0 no\n< RSET\n> 250 ok", 1, "later 4.3.0", NULL, NULL },
        { HELLO MAIL RCPT("a") "< DATA\n> 554 5.5.0 no\n< RSET\n> 250 ok", 1, "refused 5.5.0", NULL, NULL },
        { HELLO MAIL RCPT("a") DATA "> 451 4.6.0 try later", 1, "later 4.6.0", NULL, NULL },
        { HELLO MAIL RCPT("a") DATA "> 554 5.7.1 spam", 1, "refused 5.7.1", "smtp;554 5.7.1 spam", NULL },
        { HELLO MAIL RCPT("a") "< RCPT TO:<b@x.test>\n> 550 5.1.1 no\n" DATA "> 452 4.3.1 full", 2,
          "later 4.3.1, refused 5.1.1", NULL, NULL },
        /* RFC 5321 4.5.3.1.10: the rest in a further transaction */
        { HELLO MAIL RCPT("a") "< RCPT TO:<b@x.test>\n> 452 4.5.3 too many\n< RCPT TO:<c@x.test>\n> 552 too many\n" DATA
          "> 250 one\n" MAIL RCPT("b") RCPT("c") DATA "> 250 2.0.0 two", 3, "taken 2.0.0, taken 2.0.0, taken 2.0.0",
          "smtp;250 one", NULL },
        { HELLO MAIL "< RCPT TO:<a@x.test>\n> 452 4.5.3 too many\n< RSET\n> 250 ok", 1, "later 4.5.3", NULL, NULL },
        { HELLO MAIL RCPT("a") "< RCPT TO:<b@x.test>\n> 452 4.2.2 mailbox full\n" DATA "> 250 ok", 2,
          "taken 2.0.0, later 4.2.2", NULL, NULL },
    };

    (void)state;
    run_rows("one", rows, sizeof rows / sizeof rows[0], NULL);
}

#define PIPE HELLO_WITH("> 250 PIPELINING\n")
#define FLIGHT(rest) "< MAIL FROM:<s@y.test>\n" rest "< DATA\n"

static void smtp_client__pipelines(void **state)
{
    static const struct row rows[] = {
        { PIPE FLIGHT("< RCPT TO:<a@x.test>\n< RCPT TO:<b@x.test>\n")
          "> 250 m\n> 250 a\n> 250 b\n> 354 go\n<.\n> 250 ok",
          2, "taken 2.0.0, taken 2.0.0", NULL, NULL },
        { PIPE FLIGHT("< RCPT TO:<a@x.test>\n< RCPT TO:<b@x.test>\n")
          "bytes\n> 250-m\n> 250 m\n> 550 a\n> 250 b\n> 354 "
          "go\n<.\n> 250 ok", 2, "refused 5.0.0, taken 2.0.0", NULL, NULL },
        /* nobody is left, DATA refused */
        { PIPE FLIGHT("< RCPT TO:<a@x.test>\n") "> 250 m\n> 550 5.1.1 a\n> 554 5.5.1 no recipients\n< RSET\n> 250 ok",
          1,
          "refused 5.1.1", "smtp;550 5.1.1 a", NULL },
        /* nobody is left, DATA taken all the same: a lone dot, whatever the answer */
        { PIPE FLIGHT("< RCPT TO:<a@x.test>\n") "> 250 m\n> 450 4.1.1 a\n> 354 go\n< .\n> 250 odd", 1, "later 4.1.1",
          NULL,
          NULL },
        { PIPE FLIGHT("< RCPT TO:<a@x.test>\n") "> 250 m\n> 550 5.1.1 a\n> 354 go\n< .\n> 554 none", 1, "refused 5.1.1",
          NULL, NULL },
        { PIPE FLIGHT("< RCPT TO:<a@x.test>\n") "> 550 5.7.1 m\n> 503 5.5.1 a\n> 503 5.5.1 d\n< RSET\n> 250 ok", 1,
          "refused 5.7.1", "smtp;550 5.7.1 m", NULL },
        /* a message without a sender is not sent: the connection ends */
        { PIPE FLIGHT("< RCPT TO:<a@x.test>\n") "> 451 4.7.1 m\n> 250 a\n> 354 go\neof", 1, "later 4.7.1", NULL, NULL },
        { PIPE FLIGHT("< RCPT TO:<a@x.test>\n") "> 250 m\n> 250 a\n> 451 4.3.1 d\n< RSET\n> 250 ok", 1, "later 4.3.1",
          NULL,
          NULL },
        /* a reply for DATA that is none */
        { PIPE FLIGHT("< RCPT TO:<a@x.test>\n") "> 250 m\n> 250 a\n> 250 d\neof", 1, "later 4.5.0", NULL, NULL },
        { PIPE FLIGHT("< RCPT TO:<a@x.test>\n") "> 354 m\neof", 1, "later 4.5.0", NULL, NULL },
    };

    (void)state;
    run_rows("pipelining", rows, sizeof rows / sizeof rows[0], NULL);
}

/* --- before MAIL ---------------------------------------------------------------------------------------------------
*/

static void smtp_client__says_why_there_is_no_connection(void **state)
{
    static const struct row rows[] = {
        { "> 554 5.7.1 go away\n< QUIT\neof", 1, "refused 5.7.1", "smtp;554 5.7.1 go away", NULL },
        { "> 421 4.3.2 busy\neof", 1, "limited 4.3.2", "smtp;421 4.3.2 busy", NULL },
        { "> 450 4.3.2 not now\n< QUIT\neof", 1, "unreachable 4.3.2", NULL, NULL },
        { "close", 1, "unreachable 4.4.2", "]:", NULL },
        { "reset", 1, "unreachable 4.4.2", NULL, NULL },
        { "> hello there\neof", 1, "unreachable 4.5.0", "what is no reply after greeting", NULL },
        { "> 354 what\n< QUIT\neof", 1, "unreachable 4.5.0", NULL, NULL },
        { "> 220-a\n> 250 b\neof", 1, "unreachable 4.5.0", NULL, NULL },
        { "> 220 a\\rb\neof", 1, "unreachable 4.5.0", "bare CR", NULL },
        { "> 220 mx\n< EHLO me.test\n> 421 4.3.2 busy\neof", 1, "limited 4.3.2", NULL, NULL },
        { "> 220 mx\n< EHLO me.test\n> 451 4.3.0 later\n< QUIT\neof", 1, "unreachable 4.3.0", NULL, NULL },
        { "> 220 mx\n< EHLO me.test\nclose", 1, "unreachable 4.4.2", NULL, NULL },
        { "> 220 mx\n< EHLO me.test\n> 550 no\n< HELO me.test\n> 550 5.7.0 no\n< QUIT\neof", 1, "refused 5.7.0", NULL,
          NULL },
    };

    (void)state;
    run_rows("connection", rows, sizeof rows / sizeof rows[0], NULL);
}

static void smtp_client__keeps_limits_of_replies(void **state)
{
    struct client_site s;
    struct buf script = BUF_INIT;

    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        buf_reset(&script);
        buf_put_str(&script, "> 220 mx\n< EHLO me.test\n");
        if (kind == 0) {
            for (unsigned i = 0; i < 101; i++)
                buf_put_str(&script, "> 250-x\n");
        } else {
            buf_put_str(&script, "> 250-");
            for (unsigned i = 0; i < 17000; i++)
                buf_put_byte(&script, 'x');
            buf_put_str(&script, "\n");
        }
        buf_put_str(&script, "eof");
        client_site_init(&s);
        client_site_script(&s, buf_str(&script));
        client_site_send(&s, 1);
        client_site_run(&s);
        assert_string_equal(client_site_fates(&s), "unreachable 4.5.0");
        assert_true(slice_find(s.mail.diag, SLICE("over the limit")) >= 0);
        assert_string_equal(s.trouble, "");
        client_site_free(&s);
    }
    buf_free(&script);
}

static void smtp_client__says_that_nobody_listens(void **state)
{
    struct client_site s;

    (void)state;
    client_site_init(&s);
    s.setup.target = SLICE("unix:/nonexistent/socket");
    client_site_send(&s, 1);
    client_site_run(&s);
    assert_string_equal(client_site_fates(&s), "unreachable 4.4.1");
    assert_true(slice_eq(s.mail.diag, SLICE("unix:/nonexistent/socket: No such file or directory")));
    client_site_free(&s);
    client_site_init(&s);
    s.setup.target = SLICE("mx.example.test");
    client_site_send(&s, 1);
    client_site_run(&s);
    assert_string_equal(client_site_fates(&s), "unreachable 4.4.3");
    client_site_free(&s);
}

/* --- lost connections ----------------------------------------------------------------------------------------------
*/

static void smtp_client__survives_lost_connections(void **state)
{
    static const struct row rows[] = {
        { HELLO "< MAIL FROM:<s@y.test>\nclose", 1, "later 4.4.2", NULL, NULL },
        { HELLO "< MAIL FROM:<s@y.test>\nreset", 1, "later 4.4.2", NULL, NULL },
        { HELLO "< MAIL FROM:<s@y.test>\n> 421 4.3.2 bye\neof", 1, "later 4.3.2", "smtp;421 4.3.2 bye", NULL },
        { HELLO MAIL "< RCPT TO:<a@x.test>\n> 550 5.1.1 no\n< RCPT TO:<b@x.test>\nclose", 2,
          "refused 5.1.1, later 4.4.2",
          NULL, NULL },
        { HELLO MAIL RCPT("a") "< RCPT TO:<b@x.test>\n> 421 4.7.0 bye\neof", 2, "later 4.7.0, later 4.7.0", NULL, NULL
          },
        { HELLO MAIL RCPT("a") "< DATA\n> 421 4.7.0 bye\neof", 1, "later 4.7.0", NULL, NULL },
        { HELLO MAIL RCPT("a") "< DATA\nreset", 1, "later 4.4.2", NULL, NULL },
        { HELLO MAIL RCPT("a") "< DATA\n> 354 go\nclose", 1, "later 4.4.2", NULL, NULL },
        { HELLO MAIL RCPT("a") DATA "> 421 4.3.2 bye\neof", 1, "later 4.3.2", "smtp;421 4.3.2 bye", NULL },
        { HELLO MAIL RCPT("a") "< DATA\n> xyz\neof", 1, "later 4.5.0", NULL, NULL },
    };

    (void)state;
    smtp_client_counters_register();
    run_rows("lost", rows, sizeof rows / sizeof rows[0], NULL);
}

static void smtp_client__counts_what_is_uncertain(void **state)
{
    static const struct row rows[] = {
        { HELLO MAIL RCPT("a") DATA "close", 1, "later 4.4.2", NULL, NULL },
        { HELLO MAIL RCPT("a") DATA "reset", 1, "later 4.4.2", NULL, NULL },
        { HELLO MAIL RCPT("a") DATA "> 2\neof", 1, "later 4.5.0", NULL, NULL },
        { HELLO MAIL RCPT("a") DATA "> 354 again\neof", 1, "later 4.5.0", NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const int64_t before = counter_get(&smtp_client_counters[CC_UNCERTAIN]);

        run_rows("uncertain", &rows[i], 1, NULL);
        assert_int_equal(counter_get(&smtp_client_counters[CC_UNCERTAIN]) - before, 1);
    }
}

/* --- time-outs -----------------------------------------------------------------------------------------------------
*/

static void smtp_client__waits_as_long_as_rfc5321_has_it(void **state)
{
    static const struct {
        const char *script;
        unsigned seconds;
        const char *fates, *word;
    } rows[] = {
        { "silence", 300, "unreachable 4.4.2", "no answer to greeting within 300 s" },
        { "> 220 mx\n< EHLO me.test\nsilence", 300, "unreachable 4.4.2", "no answer to EHLO within 300 s" },
        { "> 220 mx\n< EHLO me.test\n> 250-mx\nsilence", 300, "unreachable 4.4.2", "no answer to EHLO within 300 s" },
        { HELLO "< MAIL FROM:<s@y.test>\nsilence", 300, "later 4.4.2", "no answer to MAIL within 300 s" },
        { HELLO MAIL "< RCPT TO:<a@x.test>\nsilence", 300, "later 4.4.2", "no answer to RCPT within 300 s" },
        { HELLO MAIL RCPT("a") "< DATA\nsilence", 120, "later 4.4.2", "no answer to DATA within 120 s" },
        { HELLO MAIL RCPT("a") DATA "silence", 600, "later 4.4.2", "no answer to final dot within 600 s" },
        { PIPE FLIGHT("< RCPT TO:<a@x.test>\n") "> 250 m\n> 250 a\nsilence", 120, "later 4.4.2",
          "no answer to DATA within 120 s" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct client_site s;
        slice diag;

        client_site_init(&s);
        client_site_script(&s, rows[i].script);
        client_site_send(&s, 1);
        client_site_run(&s);
        client_site_advance(&s, (int64_t)rows[i].seconds * 1000 - 1);
        if (s.is_done || s.trouble[0] != '\0')
            fail_msg("row %zu: too early: %s; %s", i, client_site_fates(&s), s.trouble);
        client_site_advance(&s, 1);
        if (strcmp(client_site_fates(&s), rows[i].fates) != 0)
            fail_msg("row %zu: %s", i, client_site_fates(&s));
        diag = s.mail.end == SMTP_END_DONE ? s.rcpts[0].diag : s.mail.diag;
        if (slice_find(diag, slice_str(rows[i].word)) < 0)
            fail_msg("row %zu: %.*s", i, SLICE_ARG(diag));
        client_site_free(&s);
    }
}

/* The peer takes no octets, and the message is larger than what the system buffers. */
static void smtp_client__gives_up_on_a_peer_that_takes_nothing(void **state)
{
    struct client_site s;
    struct buf text = BUF_INIT;

    (void)state;
    for (unsigned i = 0; i < 400000; i++)
        buf_put_str(&text, "0123456789012345678901234567890123456789\r\n");
    client_site_init(&s);
    s.text = buf_slice(&text);
    client_site_script(&s, HELLO MAIL RCPT("a") "< DATA\n> 354 go\nsilence");
    client_site_send(&s, 1);
    client_site_run(&s);
    client_site_advance(&s, 179999);
    assert_string_equal(client_site_fates(&s), "not done");
    client_site_advance(&s, 1);
    client_site_advance(&s, 15000); /* net.close_timeout_s: what is queued may still go */
    assert_string_equal(client_site_fates(&s), "later 4.4.2");
    assert_true(slice_find(s.rcpts[0].diag, SLICE("the peer took nothing for 180 s")) >= 0);
    client_site_free(&s);
    buf_free(&text);
}

/* --- parameters and refusals of our own ----------------------------------------------------------------------------
*/

static void with_everything(struct client_site *s)
{
    s->mail.envid = SLICE("Q1");
    s->mail.ret = RET_HDRS;
    s->mail.body = BODY_8BITMIME;
    s->mail.auth = SLICE("x");
    s->rcpts[0].notify = NOTIFY_SUCCESS | NOTIFY_FAILURE;
    s->rcpts[0].orcpt = SLICE("rfc822;o@x.test");
}

static void smtp_client__relays_dsn_and_body(void **state)
{
    static const struct row rows[] = {
        { HELLO_WITH("> 250-SIZE\n> 250-8BITMIME\n> 250 DSN\n")
          "< MAIL FROM:<s@y.test> SIZE=21 BODY=8BITMIME RET=HDRS ENVID=Q1\n> 250 ok\n"
          "< RCPT TO:<a@x.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o@x.test\n> 250 ok\n" DATA "> 250 ok", 1,
          "taken 2.0.0",
          NULL, NULL },
        { HELLO MAIL RCPT("a") DATA "> 250 ok", 1, "taken 2.0.0", NULL, NULL }, /* declared 8-bit, but there is none */
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct client_site s;

        client_site_init(&s);
        with_everything(&s);
        check_row("dsn", i, &rows[i], &s);
        assert_int_equal(s.mail.peer_has_dsn, i == 0);
        assert_true(slice_starts(s.mail.where, SLICE("[127.0.0.1]:")));
        assert_true(slice_starts(s.mail.transport, SLICE("TCP|127.0.0.1|")));
        assert_true(slice_starts(s.mail.application, SLICE("SMTP/[127.0.0.1]:")));
        assert_true(slice_eq(s.mail.modifiers, SLICE("E")));
        client_site_free(&s);
    }
}

static void with_8bit(struct client_site *s)
{
    s->mail.body = BODY_8BITMIME;
    s->text = SLICE("Subject: x\r\n\r\nh\xc3\xa9\r\n");
}

static void with_utf8(struct client_site *s)
{
    s->mail.is_smtputf8 = true;
}

static void with_controls(struct client_site *s)
{
    s->rcpts[0].address = SLICE("a@x.test>\r\nRSET");
}

static void smtp_client__refuses_what_the_peer_cannot_take(void **state)
{
    static const struct row eight = { HELLO, 1, "refused 5.6.3", "8BITMIME", NULL },
                            utf8 = { HELLO, 1, "refused 5.6.7", "SMTPUTF8", NULL },
                            utf8_ok = { HELLO_WITH("> 250 SMTPUTF8\n")
                                        "< MAIL FROM:<s@y.test> SMTPUTF8\n> 250 ok\n" RCPT("a") DATA "> 250 ok",
                                        1, "taken 2.0.0", NULL, NULL },
                            size = { HELLO_WITH("> 250 SIZE 20\n"), 2, "refused 5.3.4, refused 5.3.4", "SIZE", NULL },
                            controls = { HELLO MAIL RCPT("b") DATA "> 250 ok", 2, "refused 5.1.3, taken 2.0.0", NULL,
                            NULL };

    (void)state;
    run_rows("8bit", &eight, 1, with_8bit);
    run_rows("utf8", &utf8, 1, with_utf8);
    run_rows("utf8", &utf8_ok, 1, with_utf8);
    run_rows("size", &size, 1, NULL);
    run_rows("controls", &controls, 1, with_controls);
}

/* --- bodies --------------------------------------------------------------------------------------------------------
*/

static void with_large(struct client_site *s)
{
    static unsigned char text[300000];

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)(i % 50 == 48 ? '\r' : i % 50 == 49 ? '\n' : i % 50 == 0 && i % 100 == 0 ? '.' : 'a'
        + i % 26);
    s->text = slice_of(text, sizeof text);
    s->cold = 2;
}

static void smtp_client__streams_and_stuffs_large_messages(void **state)
{
    static const struct row row = { HELLO MAIL RCPT("a") DATA "> 250 ok", 1, "taken 2.0.0", NULL, NULL };
    struct client_site s;
    struct buf want = BUF_INIT;
    struct smtp_dot d = { .is_chunk = false };

    (void)state;
    client_site_init(&s);
    with_large(&s);
    check_row("large", 0, &row, &s);
    smtp_dot_write(&d, s.text, &want);
    assert_int_equal(s.message.len, want.len);
    assert_memory_equal(s.message.ptr, want.ptr, want.len);
    buf_free(&want);
    client_site_free(&s);
}

static void smtp_client__sends_chunks(void **state)
{
    static const struct row small = { HELLO_WITH("> 250 CHUNKING\n") MAIL RCPT("a") "< BDAT 21 LAST\n<= 21\n> 250 ok",
    1,
                                      "taken 2.0.0", NULL, NULL };
    static const struct row large = { HELLO_WITH("> 250 CHUNKING\n") MAIL RCPT("a")
                                      "< BDAT 65536\n<= 65536\n> 250 1\n< BDAT 65536\n<= 65536\n> 250 2\n"
                                      "< BDAT 65536\n<= 65536\n> 250 3\n< BDAT 65536\n<= 65536\n> 250 4\n"
                                      "< BDAT 37856 LAST\n<= 37856\n> 250 ok", 1, "taken 2.0.0", NULL, NULL };
    static const struct row refused = { HELLO_WITH("> 250 CHUNKING\n") MAIL RCPT("a")
                                        "< BDAT 65536\n<= 65536\n> 552 5.3.4 enough\neof", 1, "refused 5.3.4", NULL,
                                        NULL };
    static const struct row flight = { HELLO_WITH("> 250-CHUNKING\n> 250 PIPELINING\n")
                                       "< MAIL FROM:<s@y.test>\n< RCPT TO:<a@x.test>\n> 250 m\n> 250 a\n"
                                       "< BDAT 65536\n<= 65536\n< BDAT 65536\n<= 65536\n< BDAT 65536\n<= 65536\n"
                                       "< BDAT 65536\n<= 65536\n< BDAT 37856 LAST\n<= 37856\n"
                                       "> 250 1\n> 250 2\n> 250 3\n> 250 4\n> 250 ok", 1, "taken 2.0.0", NULL, NULL };
    const struct row *rows[] = { &small, &large, &refused, &flight };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct client_site s;

        client_site_init(&s);
        s.conf.chunking = true;
        if (i > 0)
            with_large(&s);
        check_row("chunks", i, rows[i], &s);
        if (i != 2) {
            assert_int_equal(s.message.len, s.text.len);
            /* CR and LF may have been cut apart: every octet is where it was */
            assert_memory_equal(s.message.ptr, s.text.ptr, s.text.len);
        }
        client_site_free(&s);
    }
}

static void smtp_client__never_ends_what_it_cannot_read(void **state)
{
    static const struct row row = { HELLO MAIL RCPT("a") "< DATA\n> 354 go\neof", 1, "later 4.3.0", NULL, NULL };
    struct client_site s;

    (void)state;
    client_site_init(&s);
    s.is_unreadable = true;
    check_row("unreadable", 0, &row, &s);
    client_site_free(&s);
}

/* --- more than one message -----------------------------------------------------------------------------------------
*/

static void smtp_client__uses_a_connection_again(void **state)
{
    struct client_site s;

    (void)state;
    client_site_init(&s);
    client_site_script(&s, HELLO MAIL RCPT("a") DATA "> 250 1\n" MAIL
    "< RCPT TO:<a@x.test>\n> 550 no\n< RSET\n> 250 ok\n" MAIL
                       RCPT("a") DATA "> 250 3\n< QUIT\n> 221 bye\neof");
    for (unsigned i = 0; i < 3; i++) {
        client_site_send(&s, 1);
        client_site_run(&s);
        assert_string_equal(client_site_fates(&s), i == 1 ? "refused 5.0.0" : "taken 2.0.0");
        assert_int_equal(smtp_client_sent(s.client), i + 1);
    }
    client_site_close(&s);
    assert_string_equal(s.trouble, "");
    assert_int_equal(s.accepted, 1);
    client_site_free(&s);
}

/* It rests, then says QUIT; or the peer leaves first. */
static void smtp_client__rests(void **state)
{
    struct client_site s;

    (void)state;
    client_site_init(&s);
    client_site_script(&s, HELLO MAIL RCPT("a") DATA "> 250 1\n< QUIT\neof");
    client_site_send(&s, 1);
    client_site_run(&s);
    smtp_client_rest(s.client, 2000);
    client_site_run(&s);
    client_site_advance(&s, 1999);
    assert_int_equal(s.gone, 0);
    client_site_advance(&s, 1);
    assert_int_equal(s.gone, 1);
    assert_string_equal(s.trouble, "");
    client_site_script(&s, HELLO MAIL RCPT("a") DATA "> 250 1\n> 421 4.4.2 idle\nclose");
    client_site_send(&s, 1);
    client_site_run(&s);
    assert_string_equal(client_site_fates(&s), "taken 2.0.0");
    smtp_client_rest(s.client, 2000);
    client_site_run(&s);
    assert_int_equal(s.gone, 2);
    client_site_free(&s);
}

/* A connection that had been used and is gone: the message goes through a new one, at once, and arrives once. */
static void smtp_client__replaces_a_stale_connection(void **state)
{
    static const char *const lasts[] = { "> 421 4.4.2 idle\nclose", "close", "reset", "< MAIL FROM:<s@y.test>\nclose",
                                         "< MAIL FROM:<s@y.test>\n> 421 bye\nclose",
                                         MAIL RCPT("a") "< DATA\nreset" };

    (void)state;
    for (size_t i = 0; i < sizeof lasts / sizeof lasts[0]; i++) {
        struct client_site s;
        char script[400];

        client_site_init(&s);
        snprintf(script, sizeof script, "%s%s", HELLO MAIL RCPT("a") DATA "> 250 1\n", lasts[i]);
        client_site_script(&s, script);
        client_site_script(&s, HELLO MAIL RCPT("a") DATA "> 250 2.0.1 two");
        client_site_send(&s, 1);
        while (!s.is_done) /* the peer may be faster than `done` */
            client_site_run(&s);
        client_site_send(&s, 1);
        client_site_run(&s);
        if (strcmp(client_site_fates(&s), "taken 2.0.1") != 0 || s.accepted != 2 || s.trouble[0] != '\0')
            fail_msg("row %zu: %s, %u connections; %s", i, client_site_fates(&s), s.accepted, s.trouble);
        client_site_free(&s);
    }
}

static void smtp_client__stops(void **state)
{
    struct client_site s;

    (void)state;
    client_site_init(&s);
    client_site_script(&s, "> 220 mx\n< EHLO me.test\nsilence");
    client_site_send(&s, 1);
    client_site_run(&s);
    smtp_client_stop(s.client);
    client_site_advance(&s, 1);
    assert_string_equal(client_site_fates(&s), "stopped ");
    client_site_send(&s, 1);
    client_site_run(&s);
    assert_string_equal(client_site_fates(&s), "stopped ");
    client_site_free(&s);
    /* what is in a transaction goes on */
    client_site_init(&s);
    client_site_script(&s, HELLO MAIL RCPT("a") "< DATA\n> 354 go\n<.\n> 250 ok");
    client_site_send(&s, 1);
    while (smtp_client_sent(s.client) == 0) {
        reactor_turn(s.reactor);
        client_site_run(&s);
    }
    smtp_client_stop(s.client);
    client_site_run(&s);
    assert_string_equal(client_site_fates(&s), "taken 2.0.0");
    client_site_free(&s);
}

/* --- LMTP, AUTH, STARTTLS ------------------------------------------------------------------------------------------
*/

static void with_lmtp(struct client_site *s)
{
    s->setup.is_lmtp = true;
}

#define LHLO "> 220 mx\n< LHLO me.test\n> 250 mx\n"

static void smtp_client__reads_lmtp_replies_for_each_recipient(void **state)
{
    static const struct row rows[] = {
        { LHLO MAIL RCPT("a") "< RCPT TO:<b@x.test>\n> 550 5.1.1 no\n" RCPT("c") RCPT("d") DATA
          "> 250 2.1.5 a\n> 452 4.2.2 full\n> 552 5.2.2 d", 4, "taken 2.1.5, refused 5.1.1, later 4.2.2, refused 5.2.2",
          "smtp;250 2.1.5 a", NULL },
        { LHLO MAIL RCPT("a") RCPT("b") DATA "> 250 a\nclose", 2, "taken 2.0.0, later 4.4.2", NULL, NULL },
        { LHLO MAIL RCPT("a") RCPT("b") DATA "> 250 a\n> 421 4.3.2 b\neof", 2, "taken 2.0.0, later 4.3.2", NULL, NULL },
        { "> 220 mx\n< LHLO me.test\n> 500 what\n< QUIT\neof", 1, "refused 5.0.0", NULL, NULL },
    };

    (void)state;
    run_rows("lmtp", rows, sizeof rows / sizeof rows[0], with_lmtp);
}

static void with_auth(struct client_site *s)
{
    s->setup.auth_user = SLICE("user");
    s->setup.auth_password = SLICE("pass");
    s->mail.auth = SLICE("x");
}

static void smtp_client__authenticates(void **state)
{
    static const struct row rows[] = {
        { HELLO_WITH("> 250 AUTH PLAIN LOGIN\n") "< AUTH PLAIN AHVzZXIAcGFzcw==\n> 235 2.7.0 ok\n"
          "< MAIL FROM:<s@y.test> AUTH=x\n> 250 ok\n" RCPT("a") DATA "> 250 ok", 1, "taken 2.0.0", NULL, NULL },
        { HELLO_WITH("> 250 AUTH LOGIN\n")
          "< AUTH LOGIN\n> 334 VXNlcm5hbWU6\n< dXNlcg==\n> 334 UGFzc3dvcmQ6\n< cGFzcw==\n"
          "> 235 ok\n< MAIL FROM:<s@y.test> AUTH=x\n> 250 ok\n" RCPT("a") DATA "> 250 ok", 1, "taken 2.0.0", NULL,
          NULL },
        { HELLO_WITH("> 250 AUTH PLAIN\n") "<\n> 535 5.7.8 no\n< QUIT\neof", 1, "unreachable 4.7.8", "535 5.7.8 no",
          NULL },
        { HELLO_WITH("> 250 AUTH LOGIN\n") "<\n> 535 no\n< QUIT\neof", 1, "unreachable 4.7.8", NULL, NULL },
        { HELLO_WITH("> 250 AUTH GSSAPI\n") "< QUIT\neof", 1, "unreachable 4.7.0", "neither", NULL },
        { HELLO "< QUIT\neof", 1, "unreachable 4.7.0", NULL, NULL },
    };

    (void)state;
    run_rows("auth", rows, sizeof rows / sizeof rows[0], with_auth);
}

static void with_maytls(struct client_site *s)
{
    s->conf.addresses_max = 1; /* a second connection to the same address is not another one */
    s->setup.tls = SMTP_CLIENT_MAYTLS;
}

static void with_musttls(struct client_site *s)
{
    s->setup.tls = SMTP_CLIENT_MUSTTLS;
}

static void smtp_client__falls_back_from_tls_only_if_it_may(void **state)
{
    static const struct row may[] = {
        { HELLO MAIL RCPT("a") DATA "> 250 ok", 1, "taken 2.0.0", NULL, NULL },
        { HELLO_WITH("> 250 STARTTLS\n") "< STARTTLS\n> 454 not now\n" MAIL RCPT("a") DATA "> 250 ok", 1,
          "taken 2.0.0", NULL,
          NULL },
        /* the handshake fails: a new connection, in the clear */
        { HELLO_WITH("> 250 STARTTLS\n") "< STARTTLS\n> 220 go\n> 500 what is this\nclose", 1, "taken 2.0.0", NULL,
          HELLO_WITH("> 250 STARTTLS\n") MAIL RCPT("a") DATA "> 250 ok" },
    };
    static const struct row must[] = {
        { HELLO "< QUIT\neof", 1, "unreachable 4.7.5", "does not offer", NULL },
        { HELLO_WITH("> 250 STARTTLS\n") "< STARTTLS\n> 454 not now\n< QUIT\neof", 1, "unreachable 4.7.5", "refuses",
          NULL },
        { HELLO_WITH("> 250 STARTTLS\n") "< STARTTLS\n> 220 go\n> 500 what is this\nclose", 1, "unreachable 4.7.5",
          "TLS: ",
          NULL },
        { "> 220 mx\n< EHLO me.test\n> 502 no\n< HELO me.test\n> 250 mx\n< QUIT\neof", 1, "unreachable 4.7.5", NULL,
          NULL },
    };

    (void)state;
    run_rows("maytls", may, sizeof may / sizeof may[0], with_maytls);
    run_rows("musttls", must, sizeof must / sizeof must[0], with_musttls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smtp_client__sends_one_message),
        cmocka_unit_test(smtp_client__pipelines),
        cmocka_unit_test(smtp_client__says_why_there_is_no_connection),
        cmocka_unit_test(smtp_client__keeps_limits_of_replies),
        cmocka_unit_test(smtp_client__says_that_nobody_listens),
        cmocka_unit_test(smtp_client__survives_lost_connections),
        cmocka_unit_test(smtp_client__counts_what_is_uncertain),
        cmocka_unit_test(smtp_client__waits_as_long_as_rfc5321_has_it),
        cmocka_unit_test(smtp_client__gives_up_on_a_peer_that_takes_nothing),
        cmocka_unit_test(smtp_client__relays_dsn_and_body),
        cmocka_unit_test(smtp_client__refuses_what_the_peer_cannot_take),
        cmocka_unit_test(smtp_client__streams_and_stuffs_large_messages),
        cmocka_unit_test(smtp_client__sends_chunks),
        cmocka_unit_test(smtp_client__never_ends_what_it_cannot_read),
        cmocka_unit_test(smtp_client__uses_a_connection_again),
        cmocka_unit_test(smtp_client__rests),
        cmocka_unit_test(smtp_client__replaces_a_stale_connection),
        cmocka_unit_test(smtp_client__stops),
        cmocka_unit_test(smtp_client__reads_lmtp_replies_for_each_recipient),
        cmocka_unit_test(smtp_client__authenticates),
        cmocka_unit_test(smtp_client__falls_back_from_tls_only_if_it_may),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
