/* Lines of the transaction log: exact texts, and reading back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "log/txlog.h"

#define AT_MS 1171637653730 /* 16-Feb-2007 14:54:13.73 UTC */

static const struct txlog_record enqueue = {
    .code = 'E',
    .modifiers = SLICE("SE"),
    .session = SLICE("s1"),
    .source = SLICE("tcp_local"),
    .destination = SLICE("ims-ms"),
    .bytes = 1025,
    .sender = SLICE("adam@sesta.com"),
    .orcpt = SLICE("marlowe@siroe.com"),
    .rcpt = SLICE("marlowe@ims-ms-daemon"),
    .notary = 20,
    .entry = SLICE("0000001f"),
    .message_id = SLICE("<m@x>"),
    .user = SLICE("service@siroe.com"),
    .source_system = SLICE("siroe.com (siroe.com [192.160.253.66])"),
};

static const struct {
    struct txlog_record record;
    const char *text, *json;
} rows[] = {
    { { .code = 'E', .modifiers = SLICE("E"), .source = SLICE("tcp_local"), .destination = SLICE("ims-ms"),
        .bytes = 1024, .sender = SLICE("adam@sesta.com"), .orcpt = SLICE("marlowe@siroe.com"),
        .rcpt = SLICE("marlowe@ims-ms-daemon") },
      "16-Feb-2007 14:54:13.73 tcp_local    ims-ms       EE 1 adam@sesta.com rfc822;marlowe@siroe.com "
      "marlowe@ims-ms-daemon",
      "{\"time\":\"2007-02-16T14:54:13.730Z\",\"code\":\"E\",\"modifiers\":\"E\",\"source\":\"tcp_local\","
      "\"destination\":\"ims-ms\",\"bytes\":1024,\"sender\":\"adam@sesta.com\",\"original\":\"marlowe@siroe.com\","
      "\"recipient\":\"marlowe@ims-ms-daemon\"}" },
    /* a notice on its way: no sender; a dequeue: no destination */
    { { .code = 'D', .modifiers = SLICE("SQE"), .source = SLICE("tcp_local"), .bytes = 1, .rcpt = SLICE("a@b"),
        .diagnostic = SLICE("smtp;250 2.1.5 \"ok\""), .has_queue_s = true },
      "16-Feb-2007 14:54:13.73 tcp_local    -            DEQS 1 <> rfc822; a@b di=\"smtp;250 2.1.5 \\\"ok\\\"\" qt=0",
      "{\"time\":\"2007-02-16T14:54:13.730Z\",\"code\":\"D\",\"modifiers\":\"EQS\",\"source\":\"tcp_local\","
      "\"bytes\":1,\"sender\":\"\",\"recipient\":\"a@b\",\"diagnostic\":\"smtp;250 2.1.5 \\\"ok\\\"\",\"seconds\":0}" },
    { { .code = 'C', .direction = '+', .source = SLICE("tcp_local"),
        .transport = SLICE("TCP|206.184.139.12|25|192.160.253.66|1244"), .application = SLICE("SMTP"),
        .has_queue_s = true, .queue_s = 7, .octets_in = 12 },
      "16-Feb-2007 14:54:13.73 tcp_local    + C TCP|206.184.139.12|25|192.160.253.66|1244 SMTP ct=7 in=12",
      "{\"time\":\"2007-02-16T14:54:13.730Z\",\"code\":\"C\",\"source\":\"tcp_local\",\"direction\":\"+\","
      "\"transport\":\"TCP|206.184.139.12|25|192.160.253.66|1244\",\"application\":\"SMTP\",\"seconds\":7,"
      "\"octets_in\":12}" },
    /* what a client sends cannot make lines or fields */
    { { .code = 'B', .source = SLICE("tcp_local"), .rcpt = SLICE("a b\r\nc"), .diagnostic = SLICE("x\ny") },
      "16-Feb-2007 14:54:13.73 tcp_local    -            B 0 <> rfc822; a_b??c di=x?y",
      "{\"time\":\"2007-02-16T14:54:13.730Z\",\"code\":\"B\",\"source\":\"tcp_local\",\"bytes\":0,\"sender\":\"\","
      "\"recipient\":\"a b\\r\\nc\",\"diagnostic\":\"x\\ny\"}" },
};

static void txlog_text__exact(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = BUF_INIT;

        txlog_text(&rows[i].record, AT_MS, 1024, &out);
        if (!slice_eq(buf_slice(&out), slice_str(rows[i].text)))
            fail_msg("row %u: %s", i, buf_str(&out));
        buf_free(&out);
    }
}

static void txlog_json__exact(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = BUF_INIT;

        txlog_json(&rows[i].record, AT_MS, &out);
        if (!slice_eq(buf_slice(&out), slice_str(rows[i].json)))
            fail_msg("row %u: %s", i, buf_str(&out));
        buf_free(&out);
    }
}

static void txlog_text__optional_fields_in_order(void **state)
{
    struct buf out = BUF_INIT;

    (void)state;
    txlog_text(&enqueue, AT_MS, 1024, &out);
    assert_string_equal(buf_str(&out),
                        "16-Feb-2007 14:54:13.73 tcp_local    ims-ms       EES 2 adam@sesta.com "
                        "rfc822;marlowe@siroe.com marlowe@ims-ms-daemon id=s1 rf=20 fi=0000001f mi=<m@x> "
                        "us=*service@siroe.com ss=\"siroe.com (siroe.com [192.160.253.66])\"");
    buf_free(&out);
}

static void txlog_line_read__both_formats(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        for (unsigned json = 0; json < 2; json++) {
            slice line = slice_str(json ? rows[i].json : rows[i].text);
            struct txlog_line l;

            if (!txlog_line_read(line, &l))
                fail_msg("row %u.%u does not read", i, json);
            assert_int_equal(l.time_ms, AT_MS);
            assert_int_equal(l.code, rows[i].record.code);
            assert_true(slice_eq(l.source, rows[i].record.source));
            assert_true(slice_eq(l.destination, rows[i].record.destination));
        }
}

static void txlog_query__filters(void **state)
{
    const slice line = slice_str(rows[0].text);
    static const struct {
        struct txlog_query query;
        bool matches;
    } cases[] = {
        { { .key = SLICE_NONE }, true },
        { { .key = SLICE("MARLOWE@siroe.com") }, true },
        { { .key = SLICE("nobody") }, false },
        { { .codes = SLICE("DE") }, true },
        { { .codes = SLICE("DQ") }, false },
        { { .channel = SLICE("ims-ms") }, true },
        { { .channel = SLICE("tcp_local") }, true },
        { { .channel = SLICE("tcp") }, false },
        { { .since_ms = AT_MS, .until_ms = AT_MS + 1 }, true },
        { { .since_ms = AT_MS + 1 }, false },
        { { .until_ms = AT_MS }, false },
    };
    int64_t ms;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
        if (txlog_query_matches(&cases[i].query, line, &ms) != cases[i].matches)
            fail_msg("case %u", i);
    assert_false(txlog_query_matches(&cases[0].query, SLICE("16-Feb-2007 of something else"), &ms));
    assert_false(txlog_query_matches(&cases[0].query, SLICE(""), &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(txlog_text__exact),
        cmocka_unit_test(txlog_json__exact),
        cmocka_unit_test(txlog_text__optional_fields_in_order),
        cmocka_unit_test(txlog_line_read__both_formats),
        cmocka_unit_test(txlog_query__filters),
    };

    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
