/* Dialogues with the real session code, and what they leave behind: mailboxes, octets, the ledger. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/counter.h"
#include "smtp_site.h"

#define HI "EHLO c.test\r\n"
#define FROM "MAIL FROM:<s@c.test>\r\n"
#define TO(who) "RCPT TO:<" who "@example.test>\r\n"

/* The codes of all final lines, "250 5.1.1" style words joined by ',': "220,250,...". Enhanced codes are left out. */
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

/* One session: everything is sent at once, as a pipelining client does, and all is read. */
static const char *session(struct smtp_site *s, const struct protocol *p, const char *send)
{
    int fd = smtp_site_connect(s, p);
    const char *text;

    smtp_site_talk(s, fd, SLICE_NONE, 1);
    text = smtp_site_talk(s, fd, slice_str(send), 0);
    close(fd);
    return text;
}

struct row {
    const char *send, *codes, *holds; /* holds: a part of what must be said */
};

static void run_rows(const struct protocol *p, const char *keys, const struct row *rows, size_t count)
{
    struct smtp_site *s = smtp_site_new(keys);

    for (size_t i = 0; i < count; i++) {
        const char *text = session(s, p, rows[i].send);
        char codes[512];

        codes_of(text, codes, sizeof codes);
        if (strcmp(codes, rows[i].codes) != 0)
            fail_msg("row %zu: %s instead of %s\n%s", i, codes, rows[i].codes, text);
        if (rows[i].holds != NULL && strstr(text, rows[i].holds) == NULL)
            fail_msg("row %zu: '%s' is not in\n%s", i, rows[i].holds, text);
    }
    smtp_site_destroy(&s);
}

static void smtp_session__answers_commands(void **state)
{
    static const struct row rows[] = {
        { "QUIT\r\n", "221", "221 2.0.0 Closing connection" },
        { "FOO\r\n\r\nQUIT\r\n", "500,500,221", "500 5.5.2 Command not known" },
        { "quit\r\n", "221", NULL },
        { "QUIT now\r\nQUIT\r\n", "501,221", "501 5.5.4 This command takes no arguments" },
        { "HELO c.test\r\nQUIT\r\n", "250,221", "250 mail.example.test\r\n" },
        { "EHLO c.test\r\nQUIT\r\n", "250,221", "250-SIZE 65536\r\n" },
        { "EHLO c.test\r\nQUIT\r\n", "250,221",
          "250-PIPELINING\r\n250-SIZE 65536\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n" },
        { "EHLO [127.0.0.1]\r\nQUIT\r\n", "250,221", NULL },
        { "EHLO\r\nEHLO a b\r\nHELO a..b\r\nQUIT\r\n", "501,501,501,221", "501 5.5.4 Not a host name" },
        { "LHLO c.test\r\nQUIT\r\n", "500,221", NULL },
        { FROM "QUIT\r\n", "503,221", "503 5.5.1 EHLO first" },
        { TO("alice") "DATA\r\nQUIT\r\n", "503,503,221", NULL },
        { HI TO("alice") "DATA\r\nQUIT\r\n", "250,503,503,221", "503 5.5.1 MAIL first" },
        { HI FROM FROM "QUIT\r\n", "250,250,503,221", "503 5.5.1 A message is under way" },
        { HI FROM TO("alice") "DATA x\r\nRSET x\r\nQUIT\r\n", "250,250,250,501,501,221", NULL },
        { HI FROM "DATA\r\nQUIT\r\n", "250,250,503,221", "503 5.5.1 RCPT first" },
        { HI FROM TO("nobody") "DATA\r\nQUIT\r\n", "250,250,550,554,221", "550 5.1.1 No such user here" },
        { HI FROM "RCPT TO:<x@other.test>\r\nQUIT\r\n", "250,250,550,221", "550 5.7.1 Relaying denied" },
        { HI FROM "RCPT TO:<x@[127.0.0.1]>\r\nQUIT\r\n", "250,250,550,221", "550 5.7.1 Relaying denied" },
        { HI FROM "RCPT TO:<x%other.test@example.test>\r\nQUIT\r\n", "250,250,550,221", "5.1.1" },
        { HI FROM TO("asleep") "QUIT\r\n", "250,250,450,221", "450 4.2.1" },
        { HI FROM TO("away") "QUIT\r\n", "250,250,250,221", "250 2.1.5" },
        { HI FROM TO("ring") "QUIT\r\n", "250,250,550,221", "5.1.1" },
        { HI FROM TO("partly") "QUIT\r\n", "250,250,250,221", NULL },
        { HI "MAIL FROM:<> SIZE=65536\r\nQUIT\r\n", "250,250,221", "250 2.1.0 Sender OK" },
        { HI "MAIL FROM:<> SIZE=65537\r\nQUIT\r\n", "250,552,221", "552 5.3.4 Message too large" },
        { HI "MAIL FROM:<a@b> WHAT=1\r\nQUIT\r\n", "250,555,221", "555 5.5.4 Parameter not known" },
        { HI "MAIL FROM:a@b\r\nQUIT\r\n", "250,501,221", "501 5.5.4 Address not in angle brackets" },
        { HI "MAIL FROM:<j\xc3\xbc@b.test>\r\nQUIT\r\n", "250,553,221", "553 5.6.7 Address needs SMTPUTF8" },
        { HI "MAIL FROM:<j\xc3\xbc@b.test> SMTPUTF8\r\nQUIT\r\n", "250,250,221", NULL },
        { HI FROM "RCPT TO:<j\xc3\xbc@example.test>\r\nQUIT\r\n", "250,250,553,221", NULL },
        { HI FROM "RSET\r\n" FROM "QUIT\r\n", "250,250,250,250,221", NULL },
        { HI FROM "EHLO d.test\r\n" FROM "QUIT\r\n", "250,250,250,250,221", NULL },
        { "NOOP x\r\nVRFY a\r\nVRFY\r\nEXPN a\r\nHELP\r\nQUIT\r\n", "250,252,501,502,214,221", NULL },
        { HI "AUTH PLAIN AGEAYg==\r\nSTARTTLS\r\nQUIT\r\n", "250,502,502,221", "502 5.5.1 Command not offered here" },
        { "NOOP\nQUIT\r\nQUIT\r\n", "500,221", "500 5.5.2 Line with a bare CR or LF" },
        { "NO\rOP\r\nQUIT\r\n", "500,221", NULL },
    };

    (void)state;
    run_rows(&smtp_protocol, "{\"intake\": {\"message_bytes_max\": 65536}}", rows, ARRAY_LEN(rows));
}

static void smtp_session__keeps_limits(void **state)
{
    static const struct row rows[] = {
        { "A\r\nB\r\nC\r\nNOOP\r\n", "500,500,500,421", "421 4.7.0 Too many errors" },
        { "NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n",
          "250,250,250,250,250,250,250,250,250,250,421", "421 4.7.0 Too many commands without a message" },
        { HI FROM TO("alice") "DATA\r\n\r\n.\r\n" FROM "NOOP\r\n", "250,250,250,354,250,421",
          "421 4.7.0 Too many messages in one session" },
    };

    (void)state;
    run_rows(&smtp_protocol, "{\"smtp\": {\"errors_max\": 3, \"idle_commands_max\": 10, \"messages_max\": 1}}", rows,
             ARRAY_LEN(rows));
}

static void smtp_session__refuses_long_lines_once(void **state)
{
    struct smtp_site *s = smtp_site_new(NULL);
    struct buf send = BUF_INIT;
    char codes[128];

    (void)state;
    for (unsigned i = 0; i < 100000; i++)
        buf_put_byte(&send, 'x');
    buf_put_str(&send, "\r\nNOOP\r\nQUIT\r\n");
    codes_of(session(s, &smtp_protocol, buf_str(&send)), codes, sizeof codes);
    assert_string_equal(codes, "500,250,221");
    buf_free(&send);
    smtp_site_destroy(&s);
}

/* Nothing that is no CRLF.CRLF ends a message, and a message with such a thing is refused. */
static void smtp_session__is_not_smuggled(void **state)
{
    static const char *const ends[] = {
        "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n\n.\r\n", "\r\n\x00.\r\n", "\r\r\n.\r\r\n",
    };
    struct smtp_site *s = smtp_site_new(NULL);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct buf send = BUF_INIT;
        const char *text;
        char codes[256];
        size_t len = i == 7 ? 6 : strlen(ends[i]);
        int fd = smtp_site_connect(s, &smtp_protocol);

        smtp_site_talk(s, fd, SLICE_NONE, 1);
        buf_put_str(&send, HI FROM TO("alice") "DATA\r\nSubject: x\r\n\r\nfirst");
        buf_put(&send, ends[i], len);
        buf_put_str(&send, FROM TO("bob") "DATA\r\n\r\nsmuggled\r\n.\r\nQUIT\r\n");
        text = smtp_site_talk(s, fd, buf_slice(&send), 0);
        codes_of(text, codes, sizeof codes);
        /* One message, refused; a NUL alone is an octet like any other and passes. */
        if (strcmp(codes, i == 7 ? "250,250,250,354,250,221" : "250,250,250,354,554,221") != 0)
            fail_msg("row %zu: %s\n%s", i, codes, text);
        close(fd);
        buf_free(&send);
    }
    assert_int_equal(smtp_site_inbox(s, "alice"), 1);
    assert_int_equal(smtp_site_inbox(s, "bob"), 0);
    smtp_site_destroy(&s);
}

static void check_ledger(struct smtp_site *s, const char *what, int created, int delivered, int refused, int expanded,
                         int merged)
{
    json_t *l = smtp_site_ledger(s);
    int64_t seen[5] = { json_get_int(l, "created", -1), json_get_int(l, "delivered", -1),
                        json_get_int(l, "refused", -1),
                        json_get_int(l, "expanded", -1), json_get_int(l, "merged", -1) };
    int64_t want[5] = { created, delivered, refused, expanded, merged };

    json_decref(l);
    for (unsigned i = 0; i < 5; i++)
        if (seen[i] != want[i])
            fail_msg("%s: number %u of the ledger is %lld, not %lld", what, i, (long long)seen[i], (long long)want[i]);
}

static int64_t count(const char *name)
{
    return counter_get(counter_find(name));
}

/* The counters of the process close after every kind of message; the index knows those that were delivered. */
static void intake_ledger__closes_after_every_kind(void **state)
{
    static const struct {
        const struct protocol *protocol;
        const char *send, *codes;
        int created, delivered, refused, expanded, merged; /* in the counters */
        bool is_recorded;
    } rows[] = {
        { &smtp_protocol, HI FROM TO("alice") "DATA\r\n\r\nx\r\n.\r\n", "250,250,250,354,250", 1, 1, 0, 0, 0, true },
        { &smtp_protocol, HI FROM TO("alice") TO("ALICE") TO("alice+tag") "DATA\r\n\r\nx\r\n.\r\n",
          "250,250,250,250,250,354,250", 3, 1, 0, 0, 2, true },
        { &smtp_protocol, HI FROM TO("team") "DATA\r\n\r\nx\r\n.\r\n", "250,250,250,354,250", 3, 2, 0, 1, 0, true },
        { &smtp_protocol, HI FROM TO("team") TO("bob") "DATA\r\n\r\nx\r\n.\r\n",
          "250,250,250,250,354,250", 4, 2, 0, 1, 1, true },
        { &smtp_protocol, HI FROM TO("nested") "DATA\r\n\r\nx\r\n.\r\n", "250,250,250,354,250", 4, 3, 0, 1, 0, true },
        { &smtp_protocol, HI FROM TO("partly") "DATA\r\n\r\nx\r\n.\r\n", "250,250,250,354,250", 2, 1, 0, 1, 0, true },
        /* refused after the octets */
        { &smtp_protocol, HI FROM TO("alice") "DATA\r\na\nb\r\n.\r\n", "250,250,250,354,554", 1, 0, 1, 0, 0, false },
        { &smtp_protocol, HI FROM TO("alice") TO("full") "DATA\r\n\r\nx\r\n.\r\n",
          "250,250,250,250,354,452", 2, 0, 2, 0, 0, false },
        { &smtp_protocol, HI FROM TO("team") "DATA\r\nDelivered-To: bob@example.test\r\n\r\n.\r\n",
          "250,250,250,354,554", 3, 0, 2, 1, 0, false },
        /* not begun, or not finished: no recipient was ever taken */
        { &smtp_protocol, HI FROM TO("alice") "RSET\r\n", "250,250,250,250", 0, 0, 0, 0, 0, false },
        { &smtp_protocol, HI FROM TO("nobody") "DATA\r\n", "250,250,550,554", 0, 0, 0, 0, 0, false },
        { &smtp_protocol, HI FROM TO("alice") "DATA\r\nSubject: cut\r\n\r\nx",
          "250,250,250,354", 0, 0, 0, 0, 0, false },
        { &smtp_protocol, HI FROM TO("alice") "BDAT 3\r\n\r\nx", "250,250,250,250", 0, 0, 0, 0, 0, false },
        /* LMTP: one answer each; an alias stands or falls as a whole */
        { &lmtp_protocol, "LHLO c.test\r\n" FROM TO("alice") TO("full") TO("bob") "DATA\r\n\r\nx\r\n.\r\n",
          "250,250,250,250,250,354,250,452,250", 3, 2, 1, 0, 0, true },
        { &lmtp_protocol, "LHLO c.test\r\n" FROM TO("mixed") TO("bob") "DATA\r\n\r\nx\r\n.\r\n",
          "250,250,250,250,354,452,250", 4, 1, 2, 1, 0, true },
        { &lmtp_protocol, "LHLO c.test\r\n" FROM TO("full") "DATA\r\n\r\nx\r\n.\r\n", "250,250,250,354,452", 1, 0, 1, 0,
          0, false },
    };
    static const char *const names[] = { "intake.created", "intake.delivered", "intake.refused", "intake.expanded",
                                         "intake.merged" };
    struct smtp_site *s = smtp_site_new("{\"intake\": {\"quota_grace_hours\": 0}}");
    int sums[5] = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int want[5] = { rows[i].created, rows[i].delivered, rows[i].refused, rows[i].expanded, rows[i].merged };
        int64_t before[5];
        char codes[256], what[32];
        const char *text;

        for (unsigned k = 0; k < 5; k++)
            before[k] = count(names[k]);
        text = session(s, rows[i].protocol, rows[i].send);
        codes_of(text, codes, sizeof codes);
        if (strcmp(codes, rows[i].codes) != 0)
            fail_msg("row %zu: %s\n%s", i, codes, text);
        smtp_site_wait_idle(s);
        for (unsigned k = 0; k < 5; k++) {
            if (count(names[k]) - before[k] != want[k])
                fail_msg("row %zu: %s rose by %lld, not %d", i, names[k], (long long)(count(names[k]) - before[k]),
                         want[k]);
            sums[k] += rows[i].is_recorded ? want[k] : 0;
        }
        snprintf(what, sizeof what, "row %zu", i);
        check_ledger(s, what, sums[0], sums[1], sums[2], sums[3], sums[4]);
        assert_int_equal(want[0], want[1] + want[2] + want[3] + want[4]);
    }
    smtp_site_destroy(&s);
}

/* From this word on, or fails. */
static const char *after(const char *text, const char *word)
{
    const char *at = strstr(text, word);

    if (at == NULL)
        fail_msg("'%s' is not in\n%s", word, text);
    return at + strlen(word);
}

static void intake_body__gets_trace_fields(void **state)
{
    struct smtp_site *s = smtp_site_new(NULL);
    struct buf m = BUF_INIT;
    const char *text;

    (void)state;
    session(s, &smtp_protocol,
            HI "MAIL FROM:<\"a b\"@c.test>\r\n" TO("Alice+x")
               "DATA\r\nReturn-Path: <old@c.test>\r\nSubject: one\r\n\r\n..dotted\r\nend\r\n.\r\n");
    smtp_site_message(s, "alice", 1, &m);
    text = buf_str(&m);
    assert_ptr_equal(strstr(text, "Return-Path: <\"a b\"@c.test>\r\nDelivered-To: alice@example.test\r\nReceived: from "
                                  "c.test (local socket)\r\n\tby mail.example.test with ESMTP id "),
                     text);
    text = after(text, "\r\n\tfor <Alice+x@example.test>;\r\n\t");
    text = after(text, "\r\n");
    assert_string_equal(text, "Subject: one\r\n\r\n.dotted\r\nend\r\n");
    /* Several recipients: each its own Delivered-To, the same rest, and nobody named in Received. */
    session(s, &smtp_protocol, HI FROM TO("team") TO("carol") "DATA\r\nSubject: two\r\n\r\nbody\r\n.\r\n");
    for (unsigned i = 0; i < 3; i++) {
        static const char *const users[] = { "alice", "bob", "carol" };
        char own[128];

        buf_reset(&m);
        smtp_site_message(s, users[i], i == 0 ? 2 : 1, &m);
        snprintf(own, sizeof own, "Return-Path: <s@c.test>\r\nDelivered-To: %s@example.test\r\nReceived: ", users[i]);
        text = buf_str(&m);
        assert_ptr_equal(strstr(text, own), text);
        assert_null(strstr(text, " for "));
        assert_null(strstr(after(text, "Delivered-To: "), "Delivered-To: "));
        assert_string_equal(after(text, "Subject: two"), "\r\n\r\nbody\r\n");
    }
    buf_free(&m);
    smtp_site_destroy(&s);
}

/* Large ones are spooled; chunks and DATA give the same octets; headers may come in pieces of any size. */
static void intake_body__is_the_same_however_it_comes(void **state)
{
    struct smtp_site *s = smtp_site_new(NULL);
    struct buf message = BUF_INIT, send = BUF_INIT, seen = BUF_INIT;
    char line[64];
    unsigned number = 0;

    (void)state;
    buf_put_str(&message, "Subject: large\r\nX-Field: one\r\n two\r\n\r\n");
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(line, sizeof line, "line %u of a body without dots\r\n", i);
        buf_put_str(&message, line);
    }
    for (unsigned way = 0; way < 3; way++) {
        static const size_t sizes[] = { 0, 7, 30000 };
        size_t at = 0, chunk = sizes[way];
        const char *text;

        buf_reset(&send);
        buf_put_str(&send, HI FROM TO("bob"));
        if (chunk == 0) {
            buf_put_str(&send, "DATA\r\n");
            buf_put_slice(&send, buf_slice(&message));
            buf_put_str(&send, ".\r\n");
        }
        while (chunk != 0 && at < message.len) {
            size_t n = at > 200 ? 100000 : chunk;

            n = n < message.len - at ? n : message.len - at;
            buf_printf(&send, "BDAT %zu%s\r\n", n, at + n == message.len ? " LAST" : "");
            buf_put(&send, message.ptr + at, n);
            at += n;
        }
        buf_put_str(&send, "QUIT\r\n");
        text = session(s, &smtp_protocol, buf_str(&send));
        after(text, "OK id=");
        buf_reset(&seen);
        smtp_site_message(s, "bob", ++number, &seen);
        if (seen.len < message.len ||
            memcmp(seen.ptr + seen.len - message.len, message.ptr, message.len) != 0)
            fail_msg("way %u: other octets", way);
    }
    assert_true(count("intake.spooled") >= 3);
    buf_free(&message);
    buf_free(&send);
    buf_free(&seen);
    smtp_site_destroy(&s);
}

/* Wherever a part ends, the header's end is found, and both recipients see the same message behind their own fields. */
static void intake_body__finds_the_header_in_pieces(void **state)
{
    static const char *const messages[] = { "A: b\r\nC: d\r\n\r\nbody\r\n\r\nmore\r\n", "\r\nno header\r\n", "A: b\r\n",
                                            "A: b\r\n\r\n" };
    struct smtp_site *s = smtp_site_new(NULL);
    struct buf send = BUF_INIT, seen = BUF_INIT;
    unsigned number = 0;

    (void)state;
    for (size_t m = 0; m < ARRAY_LEN(messages); m++) {
        size_t len = strlen(messages[m]);

        for (size_t at = 0; at <= len; at++) { /* at == 0: octet by octet */
            buf_reset(&send);
            buf_put_str(&send, HI FROM TO("team"));
            for (size_t i = 0; at == 0 && i < len; i++)
                buf_printf(&send, "BDAT 1\r\n%c", messages[m][i]);
            if (at != 0)
                buf_printf(&send, "BDAT %zu\r\n%.*s", at, (int)at, messages[m]);
            buf_printf(&send, "BDAT %zu LAST\r\n%s", at == 0 ? 0 : len - at, at == 0 ? "" : messages[m] + at);
            after(session(s, &smtp_protocol, buf_str(&send)), "OK id=");
            number++;
            for (unsigned u = 0; u < 2; u++) {
                const char *text;

                buf_reset(&seen);
                smtp_site_message(s, u == 0 ? "alice" : "bob", number, &seen);
                text = after(buf_str(&seen), u == 0 ? "Delivered-To: alice" : "Delivered-To: bob");
                text = after(after(text, ";\r\n\t"), "\r\n");
                if (strcmp(text, messages[m]) != 0)
                    fail_msg("message %zu cut at %zu, user %u: '%s'", m, at, u, text);
            }
        }
    }
    buf_free(&send);
    buf_free(&seen);
    smtp_site_destroy(&s);
}

static void intake_body__keeps_its_limits(void **state)
{
    static const struct row rows[] = {
        { HI FROM TO("bob") "DATA\r\nReceived: 1\r\nReceived: 2\r\nReceived: 3\r\nReceived: 4\r\nReceived: 5\r\n"
                            "Received: 6\r\nReceived: 7\r\nReceived: 8\r\nReceived: 9\r\nReceived: 10\r\n"
                            "\r\n.\r\nQUIT\r\n",
          "250,250,250,354,250,221", NULL },
        { HI FROM TO("bob") "DATA\r\nReceived: 1\r\nReceived: 2\r\nReceived: 3\r\nReceived: 4\r\nReceived: 5\r\n"
                            "Received: 6\r\nReceived: 7\r\nReceived: 8\r\nReceived: 9\r\nReceived: 10\r\n"
                            "RECEIVED: 11\r\n\r\n.\r\nQUIT\r\n",
          "250,250,250,354,554,221", "554 5.4.6" },
        { HI FROM TO("bob") "BDAT 2\r\na\nBDAT 2 LAST\r\n\r\nQUIT\r\n", "250,250,250,250,554,221", "554 5.6.0" },
        { HI FROM TO("bob") "BDAT 5\r\nNOOP\nDATA\r\nRSET\r\nBDAT 6 LAST\r\nNOOP\r\nBDAT x\r\nNOOP\r\n",
          "250,250,250,250,503,250,503,501", "503 5.5.1 BDAT is under way" },
    };
    struct smtp_site *s;
    struct buf send = BUF_INIT;
    char codes[128];

    (void)state;
    run_rows(&smtp_protocol, "{\"intake\": {\"received_max\": 10}}", rows, ARRAY_LEN(rows));
    s = smtp_site_new("{\"intake\": {\"message_bytes_max\": 65536, \"header_bytes_max\": 4096}}");
    for (unsigned way = 0; way < 2; way++) { /* too large a body; too large a header */
        buf_reset(&send);
        buf_put_str(&send, HI FROM TO("bob") "DATA\r\n");
        buf_put_str(&send, way == 0 ? "\r\n" : "X: y\r\n");
        for (unsigned i = 0; i < (way == 0 ? 70u : 5u); i++) {
            buf_put_str(&send, " ");
            for (unsigned k = 0; k < 1000; k++)
                buf_put_byte(&send, 'x');
            buf_put_str(&send, "\r\n");
        }
        buf_put_str(&send, ".\r\nQUIT\r\n");
        codes_of(session(s, &smtp_protocol, buf_str(&send)), codes, sizeof codes);
        assert_string_equal(codes, "250,250,250,354,552,221");
    }
    assert_int_equal(smtp_site_inbox(s, "bob"), 0);
    buf_free(&send);
    smtp_site_destroy(&s);
}

/* Who speaks before the greeting is refused at once; who waits gets it when the delay is over; neighbours do not
 * wait. */
static void smtp_session__refuses_early_talkers(void **state)
{
    struct smtp_site *s = smtp_site_new("{\"smtp\": {\"greeting_delay_ms\": 30000}}");
    int fd = smtp_site_connect_from(s, &smtp_protocol, "192.0.2.1:4000");
    int64_t early = count("smtp.early_talkers");

    (void)state;
    assert_string_equal(smtp_site_talk(s, fd, SLICE("EHLO c.test\r\nQUIT\r\n"), 0),
                        "554 5.5.0 You spoke before the greeting\r\n");
    assert_int_equal(count("smtp.early_talkers"), early + 1);
    close(fd);
    fd = smtp_site_connect(s, &smtp_protocol); /* a local socket */
    assert_string_equal(smtp_site_talk(s, fd, SLICE_NONE, 1), "220 mail.example.test ESMTP ready\r\n");
    close(fd);
    smtp_site_destroy(&s);
    s = smtp_site_new("{\"smtp\": {\"greeting_delay_ms\": 20}}");
    fd = smtp_site_connect_from(s, &smtp_protocol, "192.0.2.1:4000");
    assert_string_equal(smtp_site_talk(s, fd, SLICE_NONE, 1), "220 mail.example.test ESMTP ready\r\n");
    close(fd);
    smtp_site_destroy(&s);
}

static void submission_session__wants_authentication(void **state)
{
    static const struct row rows[] = {
        { HI FROM TO("alice") "DATA\r\nRSET\r\nQUIT\r\n", "250,530,503,503,250,221",
          "530 5.7.0 Authentication required" },
        { FROM "QUIT\r\n", "503,221", NULL },
    };

    (void)state;
    run_rows(&submission_protocol, NULL, rows, ARRAY_LEN(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smtp_session__answers_commands),
        cmocka_unit_test(smtp_session__keeps_limits),
        cmocka_unit_test(smtp_session__refuses_long_lines_once),
        cmocka_unit_test(smtp_session__is_not_smuggled),
        cmocka_unit_test(intake_ledger__closes_after_every_kind),
        cmocka_unit_test(intake_body__gets_trace_fields),
        cmocka_unit_test(intake_body__is_the_same_however_it_comes),
        cmocka_unit_test(intake_body__finds_the_header_in_pieces),
        cmocka_unit_test(intake_body__keeps_its_limits),
        cmocka_unit_test(smtp_session__refuses_early_talkers),
        cmocka_unit_test(submission_session__wants_authentication),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
