#include "mail_test.h"

#include "mail/dsn.h"

static const char header[] = "From: joe@x.org\r\nSubject: =?utf-8?Q?hello?=\r\n world\r\n";

static void write_both(const struct dsn *d, struct buf *all)
{
    struct buf tail = BUF_INIT;

    dsn_write(d, all, &tail);
    buf_put_slice(all, buf_slice(&tail));
    buf_free(&tail);
}

/* The reference of the specification, 19.8. */
static struct dsn reference(const struct dsn_rcpt *r)
{
    return (struct dsn){
        .kind = DSN_KIND_FAILED,
        .from_name = SLICE("MTA e-Mail Interconnect"),
        .from = SLICE("postmaster@local-host"),
        .to = SLICE("joe@x.org"),
        .reporting_mta = SLICE("local-host"),
        .envid = SLICE("E+2B1"),
        .message_id = SLICE("<n1@local-host>"),
        .original_message_id = SLICE("<m1@x.org>"),
        .boundary = SLICE("B"),
        .now_ms = 880106106000,
        .arrival_ms = 880106106000 - 2 * 86400000,
        .allowed_ms = 3 * 86400000LL,
        .show_final = true,
        .rcpts = r,
        .rcpt_count = 1,
        .header = SLICE(header),
    };
}

static const struct dsn_rcpt dan = {
    .final = SLICE("dan%siroe.com@ims-ms-daemon"),
    .original = SLICE("dan@siroe.com"),
    .orcpt = SLICE("rfc822;dan+40siroe.com"),
    .action = DSN_FAILED,
    .status = SLICE("5.1.1"),
    .diag_type = SLICE("smtp"),
    .diag = SLICE("550 5.1.1 unknown or\r\n illegal alias"),
    .reason = SLICE("unknown or illegal alias"),
    .remote_mta = SLICE("mx.siroe.com"),
};

static void dsn_write__reference(void **state)
{
    static const char expected[] = "Date: Fri, 21 Nov 1997 09:55:06 +0000\r\n"
                                   "From: MTA e-Mail Interconnect <postmaster@local-host>\r\n"
                                   "To: joe@x.org\r\n"
                                   "Message-ID: <n1@local-host>\r\n"
                                   "References: <m1@x.org>\r\n"
                                   "Subject: Delivery Notification: Delivery has failed\r\n"
                                   "Auto-Submitted: auto-replied\r\n"
                                   "MIME-Version: 1.0\r\n"
                                   "Content-Type: multipart/report; report-type=delivery-status;\r\n"
                                   " boundary=\"B\"\r\n"
                                   "\r\n--B\r\n"
                                   "Content-Type: text/plain; charset=utf-8\r\n"
                                   "Content-Language: en\r\n"
                                   "\r\n"
                                   "This report is about a message that you sent. Its header was:\r\n"
                                   "\r\n"
                                   "From: joe@x.org\r\nSubject: =?utf-8?Q?hello?=\r\n world\r\n"
                                   "\r\n"
                                   "It could not be delivered to these recipients, and will not be tried again:\r\n"
                                   "\r\n"
                                   "  Recipient address: dan%siroe.com@ims-ms-daemon\r\n"
                                   "  Original address: dan@siroe.com\r\n"
                                   "  Reason: unknown or illegal alias\r\n"
                                   "  Diagnostic code: smtp;550 5.1.1 unknown or illegal alias\r\n"
                                   "\r\n"
                                   "\r\n--B\r\n"
                                   "Content-Type: message/delivery-status\r\n"
                                   "\r\n"
                                   "Original-Envelope-Id: E+1\r\n"
                                   "Reporting-MTA: dns;local-host\r\n"
                                   "Arrival-Date: Wed, 19 Nov 1997 09:55:06 +0000\r\n"
                                   "\r\n"
                                   "Original-Recipient: rfc822;dan@siroe.com\r\n"
                                   "Final-Recipient: rfc822;dan%siroe.com@ims-ms-daemon\r\n"
                                   "Action: failed\r\n"
                                   "Status: 5.1.1\r\n"
                                   "Remote-MTA: dns;mx.siroe.com\r\n"
                                   "Diagnostic-Code: smtp;550 5.1.1 unknown or illegal alias\r\n"
                                   "\r\n--B\r\n"
                                   "Content-Type: text/rfc822-headers\r\n"
                                   "\r\n"
                                   "From: joe@x.org\r\nSubject: =?utf-8?Q?hello?=\r\n world\r\n"
                                   "\r\n--B--\r\n";
    struct dsn d = reference(&dan);
    struct buf all = BUF_INIT;

    (void)state;
    write_both(&d, &all);
    assert_string_equal(buf_str(&all), expected);
    buf_free(&all);
}

static void dsn_write__suppressfinal(void **state)
{
    struct dsn d = reference(&dan);
    struct buf all = BUF_INIT;

    (void)state;
    d.show_final = false;
    write_both(&d, &all);
    assert_int_equal(slice_find(buf_slice(&all), SLICE("ims-ms-daemon")), -1);
    assert_true(slice_find(buf_slice(&all), SLICE("Final-Recipient: rfc822;dan@siroe.com\r\n")) > 0);
    assert_true(slice_find(buf_slice(&all), SLICE("  Recipient address: dan@siroe.com\r\n  Reason")) > 0);
    buf_free(&all);
}

/* The specification's table, 19.2. */
static void dsn_template__units(void **state)
{
    static const struct {
        int64_t age_ms;
        bool hours;
        const char *text, *expected;
    } rows[] = {
        { 86400000, false, "%C %u%s", "1 day" },
        { 2 * 86400000, false, "%C %U%S", "2 DayS" },
        { 3600000, true, "%C %u%s", "1 hour" },
        { 3600000, true, "%C %U%S", "1 Hour" },
        { 2 * 3600000, true, "%C %u%s of %F", "2 hours of 72" },
        { 86400000, false, "%L %u%s left, 100%% %x %", "2 days left, 100% %x %" },
        { 0, false, "a\nb\r\nc", "a\r\nb\r\nc" },
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct dsn d = reference(&dan);
        struct dsn_template t = *dsn_template_default(DSN_KIND_DELAYED);
        struct buf all = BUF_INIT, want = BUF_INIT;

        t.prefix = SLICE("Content-Type: text/plain\n\n");
        t.text = slice_str(rows[i].text);
        d.template = &t;
        d.arrival_ms = d.now_ms - rows[i].age_ms;
        d.units_are_hours = rows[i].hours;
        write_both(&d, &all);
        buf_printf(&want, "\r\n--B\r\nContent-Type: text/plain\r\n\r\n%s\r\n--B\r\n", rows[i].expected);
        if (slice_find(buf_slice(&all), buf_slice(&want)) < 0)
            fail_msg("row %u: %s", i, buf_str(&all));
        buf_free(&want);
        buf_free(&all);
    }
}

/* What a peer said cannot make header fields, nor end the part. */
static void dsn_write__peer_text_is_tame(void **state)
{
    struct dsn_rcpt r = dan;
    struct dsn d = reference(&r);
    struct buf all = BUF_INIT;

    (void)state;
    r.diag = SLICE("550 a\r\nAction: delivered\r\n\r\n--B--\r\n\x01"
                   "b");
    write_both(&d, &all);
    assert_true(slice_find(buf_slice(&all),
                           SLICE("Diagnostic-Code: smtp;550 a Action: delivered --B-- b\r\n")) > 0);
    buf_free(&all);
}

static void dsn_write__whole_message_and_8bit(void **state)
{
    struct dsn d = reference(&dan);
    struct buf head = BUF_INIT, tail = BUF_INIT;

    (void)state;
    d.has_body = true;
    d.is_utf8 = true;
    d.header = SLICE("Subject: gr\xc3\xbc\xc3\x9f\n");
    dsn_write(&d, &head, &tail);
    assert_true(slice_ends(buf_slice(&head), SLICE("Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n"
                                                   "\r\nSubject: gr\xc3\xbc\xc3\x9f\r\n\r\n")));
    assert_string_equal(buf_str(&tail), "\r\n--B--\r\n");
    assert_true(slice_find(buf_slice(&head), SLICE("report-type=global-delivery-status")) > 0);
    assert_true(slice_find(buf_slice(&head), SLICE("Content-Language: en\r\nContent-Transfer-Encoding: 8bit\r\n")) > 0);
    buf_free(&head);
    buf_free(&tail);
}

static void dsn_write__large_header_is_cut_at_a_field(void **state)
{
    struct dsn d = reference(&dan);
    struct buf big = BUF_INIT, all = BUF_INIT;

    (void)state;
    for (unsigned i = 0; i < 5000; i++)
        buf_printf(&big, "X-%04u: aaaaaaaaaaaaaaaa\r\n", i);
    d.header = buf_slice(&big);
    write_both(&d, &all);
    assert_true(slice_find(buf_slice(&all), SLICE("aaaaaaaaaaaaaaaa\r\n\r\n--B--\r\n")) > 0);
    assert_true(all.len < 3 * DSN_HEADER_MAX_OCTETS);
    buf_free(&big);
    buf_free(&all);
}

static void dsn_parse__reads_what_was_written(void **state)
{
    struct dsn_rcpt rows[2] = { dan, dan };
    struct dsn d = reference(rows);
    struct buf all = BUF_INIT;
    struct dsn_group *g;
    struct arena mem;
    slice mta, envid;
    ssize_t at, end;

    (void)state;
    rows[1].final = SLICE("eve@example.net");
    rows[1].original = rows[1].orcpt = SLICE_NONE;
    rows[1].action = DSN_RELAYED;
    rows[1].status = SLICE("2.1.9");
    rows[1].diag_type = SLICE_NONE;
    d.rcpt_count = 2;
    write_both(&d, &all);
    at = slice_find(buf_slice(&all), SLICE("Original-Envelope-Id:"));
    assert_true(at > 0);
    arena_init(&mem, 1024);
    end = slice_find(buf_slice(&all), SLICE("text/rfc822-h"));
    g = dsn_parse(slice_sub(buf_slice(&all), (size_t)at, (size_t)(end - at)), &mta, &envid, &mem);
    assert_true(slice_eq(mta, SLICE("local-host")));
    assert_true(slice_eq(envid, SLICE("E+1")));
    assert_non_null(g);
    assert_true(slice_eq(g->final_recipient, SLICE("dan%siroe.com@ims-ms-daemon")));
    assert_true(slice_eq(g->original_recipient, SLICE("dan@siroe.com")));
    assert_true(slice_eq(g->action, SLICE("failed")));
    assert_true(slice_eq(g->diagnostic, SLICE("smtp;550 5.1.1 unknown or illegal alias")));
    assert_non_null(g->next);
    assert_true(slice_eq(g->next->final_recipient, SLICE("eve@example.net")));
    assert_true(slice_eq(g->next->action, SLICE("relayed")));
    assert_true(slice_eq(g->next->status, SLICE("2.1.9")));
    assert_int_equal(g->next->diagnostic.len, 0);
    assert_null(g->next->next);
    arena_free(&mem);
    buf_free(&all);
}

static void dsn_xtext__round_trip(void **state)
{
    static const struct {
        slice octets;
        const char *xtext;
    } rows[] = {
        { SLICE("bob@example.net"), "bob@example.net" },
        { SLICE("a+b=c d"), "a+2Bb+3Dc+20d" },
        { SLICE("\0\xff"), "+00+FF" },
        { SLICE(""), "" },
    };
    struct arena mem;

    (void)state;
    arena_init(&mem, 256);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = BUF_INIT;

        dsn_xtext_encode(rows[i].octets, &out);
        assert_string_equal(buf_str(&out), rows[i].xtext);
        assert_true(slice_eq(dsn_xtext_decode(&mem, buf_slice(&out)), rows[i].octets));
        buf_free(&out);
    }
    assert_true(slice_eq(dsn_xtext_decode(&mem, SLICE("a+2")), SLICE("a+2")));
    assert_true(slice_eq(dsn_xtext_decode(&mem, SLICE("+zz+")), SLICE("+zz+")));
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dsn_write__reference),
        cmocka_unit_test(dsn_write__suppressfinal),
        cmocka_unit_test(dsn_template__units),
        cmocka_unit_test(dsn_write__peer_text_is_tame),
        cmocka_unit_test(dsn_write__whole_message_and_8bit),
        cmocka_unit_test(dsn_write__large_header_is_cut_at_a_field),
        cmocka_unit_test(dsn_parse__reads_what_was_written),
        cmocka_unit_test(dsn_xtext__round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
