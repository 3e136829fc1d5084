#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "net/frame.h"
#include "smtp/client_internal.h"

/* Feed text line by line; the result of the last one. */
static enum smtp_reply_got feed(struct smtp_reply *r, const char *text, unsigned lines, size_t bytes)
{
    slice in = slice_str(text);
    enum smtp_reply_got got = SMTP_REPLY_MORE;
    bool more = true;

    while (more && got == SMTP_REPLY_MORE)
        got = smtp_reply_line(r, slice_cut(&in, '\n', &more), lines, bytes);
    return got;
}

static void smtp_reply_line__reads_replies(void **state)
{
    static const struct {
        const char *text;
        enum smtp_reply_got got;
        unsigned code;
        const char *status, *diag;
    } rows[] = {
        { "250 OK", SMTP_REPLY_DONE, 250, "2.0.0", "smtp;250 OK" },
        { "250", SMTP_REPLY_DONE, 250, "2.0.0", "smtp;250" },
        { "250 ", SMTP_REPLY_DONE, 250, "2.0.0", "smtp;250" },
        { "550 5.1.1 no such user", SMTP_REPLY_DONE, 550, "5.1.1", "smtp;550 5.1.1 no such user" },
        { "550-5.1.1 no\n550 5.1.1 user", SMTP_REPLY_DONE, 550, "5.1.1", "smtp;550 5.1.1 no 5.1.1 user" },
        { "450 4.200.300 x", SMTP_REPLY_DONE, 450, "4.200.300", "smtp;450 4.200.300 x" },
        { "450 4.2000.3 x", SMTP_REPLY_DONE, 450, "4.0.0", "smtp;450 4.2000.3 x" },
        { "450 5.1.1 x", SMTP_REPLY_DONE, 450, "4.0.0", "smtp;450 5.1.1 x" },
        { "550 5.1.1", SMTP_REPLY_DONE, 550, "5.1.1", "smtp;550 5.1.1" },
        { "550 5.1.1x", SMTP_REPLY_DONE, 550, "5.0.0", "smtp;550 5.1.1x" },
        { "354 go", SMTP_REPLY_DONE, 354, "3.0.0", "smtp;354 go" },
        { "550 a\x01\x7f\xc3\xbc\tb", SMTP_REPLY_DONE, 550, "5.0.0", "smtp;550 a???? b" },
        { "250-a\n250-b", SMTP_REPLY_MORE, 250, NULL, NULL },
        { "250-a\n251 b", SMTP_REPLY_BAD, 250, NULL, NULL },
        { "", SMTP_REPLY_BAD, 0, NULL, NULL },
        { "25", SMTP_REPLY_BAD, 0, NULL, NULL },
        { "25x y", SMTP_REPLY_BAD, 0, NULL, NULL },
        { "150 y", SMTP_REPLY_BAD, 0, NULL, NULL },
        { "650 y", SMTP_REPLY_BAD, 0, NULL, NULL },
        { "250OK", SMTP_REPLY_BAD, 0, NULL, NULL },
        { "HTTP/1.1 400 Bad Request", SMTP_REPLY_BAD, 0, NULL, NULL },
        { "250-1\n250-2\n250-3\n250 4", SMTP_REPLY_LONG, 250, NULL, NULL },
        { "250 0123456789012345678901234567890123456789", SMTP_REPLY_LONG, 0, NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct smtp_reply r = { .code = 0 };
        struct buf diag = BUF_INIT;
        const enum smtp_reply_got got = feed(&r, rows[i].text, 3, 40);

        if (got != rows[i].got || r.code != rows[i].code)
            fail_msg("row %zu: %d, code %u", i, (int)got, r.code);
        if (got == SMTP_REPLY_DONE) {
            smtp_reply_diag(&r, &diag);
            if (strcmp(smtp_reply_status(&r), rows[i].status) != 0 || strcmp(buf_str(&diag), rows[i].diag) != 0)
                fail_msg("row %zu: %s '%s'", i, smtp_reply_status(&r), buf_str(&diag));
        }
        buf_free(&diag);
        smtp_reply_free(&r);
    }
}

static void smtp_reply_line__begins_anew_after_a_reply(void **state)
{
    struct smtp_reply r = { .code = 0 };

    (void)state;
    assert_int_equal(feed(&r, "550-5.7.1 a\n550 b", 9, 99), SMTP_REPLY_DONE);
    assert_int_equal(feed(&r, "250 c", 9, 99), SMTP_REPLY_DONE);
    assert_int_equal(r.code, 250);
    assert_string_equal(smtp_reply_status(&r), "2.0.0");
    assert_string_equal(buf_str(&r.text), "c");
    smtp_reply_free(&r);
}

static void smtp_reply_diag__is_cut(void **state)
{
    struct smtp_reply r = { .code = 0 };
    struct buf line = BUF_INIT, diag = BUF_INIT;

    (void)state;
    buf_put_str(&line, "550 ");
    for (unsigned i = 0; i < 2000; i++)
        buf_put_byte(&line, 'x');
    assert_int_equal(smtp_reply_line(&r, buf_slice(&line), 9, 4096), SMTP_REPLY_DONE);
    smtp_reply_diag(&r, &diag);
    assert_int_equal(diag.len, SMTP_DIAG_MAX_OCTETS);
    buf_free(&line);
    buf_free(&diag);
    smtp_reply_free(&r);
}

static void smtp_caps_read__knows_the_extensions(void **state)
{
    struct smtp_caps c;

    (void)state;
    smtp_caps_read(&c, SLICE("PIPELINING SIZE DSN"));
    assert_true(c.is_esmtp && !c.pipelining && !c.size && !c.dsn);
    smtp_caps_read(&c, SLICE("mx\npipelining\nSIZE 1000\n8BITMIME\nSMTPUTF8\nDSN\nCHUNKING\nBINARYMIME\nSTARTTLS\n"
                             "AUTH plain CRAM-MD5\nAUTH=LOGIN\nX-WHAT"));
    assert_true(c.pipelining && c.size && c.eightbitmime && c.smtputf8 && c.dsn && c.chunking && c.binarymime);
    assert_true(c.starttls && c.auth && c.auth_plain && c.auth_login);
    assert_int_equal(c.size_max, 1000);
    smtp_caps_read(&c, SLICE("mx\nSIZE\nAUTH GSSAPI\n8BITMIMEX\n STARTTLS"));
    assert_true(c.size && c.auth && !c.auth_plain && !c.auth_login && !c.eightbitmime);
    assert_int_equal(c.size_max, 0);
    smtp_caps_read(&c, SLICE("mx\nSIZE 99999999999999999999999"));
    assert_int_equal(c.size_max, 0);
}

static void smtp_mail_write__gives_what_the_peer_knows(void **state)
{
    static const struct smtp_caps none = { .is_esmtp = false },
                                  all = { .is_esmtp = true, .size = true, .eightbitmime = true, .smtputf8 = true,
                                          .dsn = true, .binarymime = true, .auth = true };
    static const struct {
        struct smtp_mail_args args;
        const struct smtp_caps *caps;
        const char *text;
    } rows[] = {
        { { .bytes = 5 }, &none, "MAIL FROM:<>\r\n" },
        { { .bytes = 5 }, &all, "MAIL FROM:<> SIZE=5\r\n" },
        { { .body = BODY_8BITMIME, .ret = RET_HDRS }, &none, "MAIL FROM:<>\r\n" },
        { { .body = BODY_8BITMIME, .ret = RET_HDRS }, &all, "MAIL FROM:<> SIZE=0 BODY=8BITMIME RET=HDRS\r\n" },
        { { .body = BODY_BINARYMIME, .ret = RET_FULL, .is_smtputf8 = true }, &all,
          "MAIL FROM:<> SIZE=0 BODY=BINARYMIME SMTPUTF8 RET=FULL\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = BUF_INIT;

        smtp_mail_write(&rows[i].args, rows[i].caps, &out);
        if (strcmp(buf_str(&out), rows[i].text) != 0)
            fail_msg("row %zu: %s", i, buf_str(&out));
        buf_free(&out);
    }
    struct buf out = BUF_INIT;
    struct smtp_mail_args args = { .sender = SLICE("a@b.test"), .envid = SLICE("Q+2B"), .auth = SLICE("a+40b") };

    smtp_mail_write(&args, &all, &out);
    assert_string_equal(buf_str(&out), "MAIL FROM:<a@b.test> SIZE=0 ENVID=Q+2B AUTH=a+40b\r\n");
    buf_reset(&out);
    args.envid = SLICE("a b\r\nRSET");
    args.auth = SLICE("x\xc3\xbc");
    smtp_mail_write(&args, &all, &out);
    assert_string_equal(buf_str(&out), "MAIL FROM:<a@b.test> SIZE=0\r\n");
    buf_free(&out);
}

static void smtp_rcpt_write__relays_what_was_asked_for(void **state)
{
    static const struct smtp_caps none = { .is_esmtp = true }, dsn = { .dsn = true };
    static const struct {
        uint32_t notify;
        const char *orcpt;
        const struct smtp_caps *caps;
        const char *text;
    } rows[] = {
        { 0, "", &dsn, "RCPT TO:<a@b.test>\r\n" },
        { NOTIFY_NEVER, "rfc822;x", &none, "RCPT TO:<a@b.test>\r\n" },
        { NOTIFY_NEVER, "", &dsn, "RCPT TO:<a@b.test> NOTIFY=NEVER\r\n" },
        { NOTIFY_SUCCESS | NOTIFY_DELAY, "rfc822;a+40b", &dsn,
          "RCPT TO:<a@b.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b\r\n" },
        { NOTIFY_FAILURE, "rfc822;a b", &dsn, "RCPT TO:<a@b.test> NOTIFY=FAILURE\r\n" },
        { NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, "", &dsn,
          "RCPT TO:<a@b.test> NOTIFY=SUCCESS,FAILURE,DELAY\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = BUF_INIT;

        smtp_rcpt_write(SLICE("a@b.test"), rows[i].notify, slice_str(rows[i].orcpt), rows[i].caps, &out);
        if (strcmp(buf_str(&out), rows[i].text) != 0)
            fail_msg("row %zu: %s", i, buf_str(&out));
        buf_free(&out);
    }
}

static void smtp_dot_write__stuffs_however_it_is_cut(void **state)
{
    static const struct {
        const char *in, *out, *chunk;
    } rows[] = {
        { "", ".\r\n", "" },
        { "a\r\n", "a\r\n.\r\n", "a\r\n" },
        { "a", "a\r\n.\r\n", "a\r\n" },
        { ".", "..\r\n.\r\n", ".\r\n" },
        { ".\r\n..\r\n.a\r\n", "..\r\n...\r\n..a\r\n.\r\n", ".\r\n..\r\n.a\r\n" },
        { "a.\r\n.", "a.\r\n..\r\n.\r\n", "a.\r\n.\r\n" },
        { "a\n.b\n", "a\r\n..b\r\n.\r\n", "a\r\n.b\r\n" },
        { "a\rb", "a\r\nb\r\n.\r\n", "a\r\nb\r\n" },
        { "a\r.\rb\r", "a\r\n..\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n" },
        { "\r\r\n\n", "\r\n\r\n\r\n.\r\n", "\r\n\r\n\r\n" },
        { "a\r\n.\r\nMAIL FROM:<x>\r\n", "a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n", "a\r\n.\r\nMAIL FROM:<x>\r\n" },
        { "a\n.\nb", "a\r\n..\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t step = 1; step < 8; step++)
            for (int chunk = 0; chunk < 2; chunk++) {
                const char *want = chunk ? rows[i].chunk : rows[i].out;
                struct smtp_dot d = { .is_chunk = chunk };
                slice in = slice_str(rows[i].in);
                struct buf out = BUF_INIT;

                for (; in.len > 0; in = slice_from(in, step))
                    smtp_dot_write(&d, slice_sub(in, 0, step), &out);
                smtp_dot_end(&d, &out);
                if (strcmp(buf_str(&out), want) != 0)
                    fail_msg("row %zu, step %zu, chunk %d: '%s'", i, step, chunk, buf_str(&out));
                buf_free(&out);
            }
}

static void smtp_target_parse__reads_every_form(void **state)
{
    static const struct {
        const char *text;
        bool is_mx;
        int kind; /* -1: no target */
        const char *name, *addr;
        unsigned port;
    } rows[] = {
        { "example.net", true, TARGET_MX, "example.net", NULL, 25 },
        { "example.net", false, TARGET_HOST, "example.net", NULL, 25 },
        { "example.net:26", true, TARGET_HOST, "example.net", NULL, 26 },
        { "[mx.example.net]", true, TARGET_HOST, "mx.example.net", NULL, 25 },
        { "[10.0.0.9]", true, TARGET_ADDRESS, "", "10.0.0.9:25", 25 },
        { "[10.0.0.9]:2525", true, TARGET_ADDRESS, "", "10.0.0.9:2525", 2525 },
        { "[IPv6:2001:db8::1]", true, TARGET_ADDRESS, "", "[2001:db8::1]:25", 25 },
        { "[2001:db8::1]:24", true, TARGET_ADDRESS, "", "[2001:db8::1]:24", 24 },
        { "unix:/run/lmtp", true, TARGET_UNIX, "", "unix:/run/lmtp", 25 },
        { "unix:", true, -1, NULL, NULL, 0 },
        { "unix:rel", true, -1, NULL, NULL, 0 },
        { "", true, -1, NULL, NULL, 0 },
        { "[]", true, -1, NULL, NULL, 0 },
        { "[*]", true, -1, NULL, NULL, 0 },
        { "[10.0.0.9", true, -1, NULL, NULL, 0 },
        { "[10.0.0.9]:0", true, -1, NULL, NULL, 0 },
        { "[10.0.0.9]:65536", true, -1, NULL, NULL, 0 },
        { "[10.0.0.9]x", true, -1, NULL, NULL, 0 },
        { "a:b", true, -1, NULL, NULL, 0 },
        { ":25", true, -1, NULL, NULL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct smtp_target t;
        struct buf addr = BUF_INIT;
        const int rc = smtp_target_parse(slice_str(rows[i].text), rows[i].is_mx, 25, &t, NULL);

        if ((rc < 0) != (rows[i].kind < 0))
            fail_msg("row %zu: %d", i, rc);
        if (rc == 0) {
            net_addr_print(&t.addr, &addr);
            if ((int)t.kind != rows[i].kind || !slice_eq(t.name, slice_str(rows[i].name)) || t.port != rows[i].port ||
                (rows[i].addr != NULL && strcmp(buf_str(&addr), rows[i].addr) != 0))
                fail_msg("row %zu: kind %d, '%.*s', %s, %u", i, (int)t.kind, SLICE_ARG(t.name), buf_str(&addr), t.port);
        }
        buf_free(&addr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smtp_reply_line__reads_replies),
        cmocka_unit_test(smtp_reply_line__begins_anew_after_a_reply),
        cmocka_unit_test(smtp_reply_diag__is_cut),
        cmocka_unit_test(smtp_caps_read__knows_the_extensions),
        cmocka_unit_test(smtp_mail_write__gives_what_the_peer_knows),
        cmocka_unit_test(smtp_rcpt_write__relays_what_was_asked_for),
        cmocka_unit_test(smtp_dot_write__stuffs_however_it_is_cut),
        cmocka_unit_test(smtp_target_parse__reads_every_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
