/* record.c - the octets of format 1, exactly; what was written comes back; what nobody writes is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "queue/record.h"

static struct queue_rcpt sample_rcpts[] = {
    { .address = SLICE("a@b"), .notify = NOTIFY_SUCCESS | NOTIFY_DELAY, .state = RCPT_WAITING },
    { .address = SLICE("c@d"), .original = SLICE("C@d"), .orcpt = SLICE("rfc822;x"), .state = RCPT_FAILED,
      .status = SLICE("5.1.1"), .diag = SLICE("smtp;550 no") },
    { .address = SLICE("e@f"), .state = RCPT_FAILED, .status = SLICE("5.1.1"), .diag = SLICE("smtp;550 no") },
};

static struct queue_entry sample(void)
{
    return (struct queue_entry){
        .message = 7, .dest = 0x1122334455667788, .channel = SLICE("tcp_local"), .host = SLICE("h.example"),
        .state = QUEUE_DEFERRED, .priority = QUEUE_NONURGENT, .flags = QUEUE_SMTPUTF8, .attempts = 3,
        .created_ms = 1000, .due_ms = 2000, .attempted_ms = 1500, .notice_ms = 9000, .notices = 1,
        .view = { 5, 6, 10, 20, 300 }, .sender = SLICE("s@x"), .envid = SLICE("id"), .ret = RET_HDRS,
        .body = BODY_8BITMIME, .auth = SLICE("au"), .message_id = SLICE("<m@x>"), .source = SLICE("tcp_submit"),
        .session = SLICE("abc"), .source_host = SLICE("h (n [1])"), .user = SLICE("u"), .reason = SLICE("why"),
        .rcpts = sample_rcpts, .rcpt_count = 3,
    };
}

static void record__entry_has_these_octets(void **state)
{
    static const unsigned char want[] =
        "\x01\x01\x02\x12" "\x02\0\0\0" "\x03\0\0\0" "\x01\0\0\0" "\x01\0\0\0" "\x03\0\0\0"
        "\x88\x77\x66\x55\x44\x33\x22\x11" "\x07\0\0\0\0\0\0\0" "\xe8\x03\0\0\0\0\0\0" "\xd0\x07\0\0\0\0\0\0"
        "\xdc\x05\0\0\0\0\0\0" "\x28\x23\0\0\0\0\0\0"
        "\x05\0\0\0\0\0\0\0" "\x06\0\0\0\0\0\0\0" "\x0a\0\0\0" "\x14\0\0\0" "\x2c\x01\0\0"
        "\x09tcp_local" "\x09h.example" "\x03s@x" "\x02id" "\x02" "au" "\x05<m@x>" "\x0atcp_submit" "\x03" "abc"
        "\x09h (n [1])" "\x01u" "\x03why"
        "\x00\x03" "a@b\x0a" "\x73\x03" "c@d\x03" "C@d\x08" "rfc822;x\x00" "\x05" "5.1.1\x0b" "smtp;550 no"
        "\x83\x03" "e@f\x00";
    struct queue_entry e = sample();
    struct buf out = BUF_INIT;

    (void)state;
    queue_entry_encode(&out, &e);
    assert_int_equal(out.len, sizeof want - 1);
    assert_memory_equal(out.ptr, want, out.len);
    buf_free(&out);
}

static void assert_slice(slice a, slice b)
{
    if (!slice_eq(a, b))
        fail_msg("\"%.*s\" instead of \"%.*s\"", SLICE_ARG(a), SLICE_ARG(b));
}

static void record__entry_comes_back(void **state)
{
    struct queue_entry e = sample(), back = { .id = 77 };
    struct queue_head h;
    struct buf out = BUF_INIT;
    struct arena mem;

    (void)state;
    arena_init(&mem, 1024);
    queue_entry_encode(&out, &e);
    assert_true(queue_entry_decode(buf_slice(&out), &mem, &back));
    assert_int_equal(back.id, 77);
    assert_int_equal(back.state, QUEUE_DEFERRED);
    assert_int_equal(back.body, BODY_8BITMIME);
    assert_int_equal(back.ret, RET_HDRS);
    assert_int_equal(back.view.body_bytes, 300);
    assert_slice(back.reason, e.reason);
    assert_slice(back.source_host, e.source_host);
    assert_int_equal(back.rcpt_count, 3);
    assert_slice(back.rcpts[1].original, SLICE("C@d"));
    assert_slice(back.rcpts[2].diag, SLICE("smtp;550 no"));
    assert_int_equal(back.rcpts[0].notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
    assert_true(queue_head_decode(buf_slice(&out), &h));
    assert_int_equal(h.waiting, 1);
    assert_int_equal(h.dest, e.dest);
    assert_int_equal(h.due_ms, 2000);
    assert_int_equal(body_view_bytes(&h.view), 320);
    assert_slice(h.host, e.host);
    for (size_t cut = 0; cut < out.len; cut++) { /* shorter or longer is wrong */
        assert_false(queue_entry_decode(slice_of(out.ptr, cut), &mem, &back));
        assert_false(queue_head_decode(slice_of(out.ptr, cut), &h));
    }
    buf_put_byte(&out, 0);
    assert_false(queue_entry_decode(buf_slice(&out), &mem, &back));
    assert_false(queue_head_decode(buf_slice(&out), &h));
    arena_free(&mem);
    buf_free(&out);
}

static void record__entries_that_nobody_writes_are_refused(void **state)
{
    static const struct {
        size_t at;
        unsigned char octet;
    } rows[] = {
        { 0, 2 },     /* another format */
        { 1, 3 },     /* state */
        { 2, 3 },     /* priority */
        { 3, 0x13 },  /* RET */
        { 3, 0x32 },  /* BODY */
        { 16, 2 },    /* waiting recipients are counted wrong */
        { 20, 4 },    /* more recipients than octets */
        { 23, 0x7f }, /* far more */
        { 47, 0x80 }, /* a negative time */
    };
    struct queue_entry e = sample(), back = { 0 };
    struct queue_head h;
    struct buf out = BUF_INIT;
    struct arena mem;

    (void)state;
    arena_init(&mem, 1024);
    queue_entry_encode(&out, &e);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char old = out.ptr[rows[i].at];

        out.ptr[rows[i].at] = rows[i].octet;
        if (queue_entry_decode(buf_slice(&out), &mem, &back) || queue_head_decode(buf_slice(&out), &h))
            fail_msg("row %u decodes", i);
        out.ptr[rows[i].at] = old;
    }
    memset(out.ptr + 24, 0, 8); /* no destination */
    assert_false(queue_head_decode(buf_slice(&out), &h));
    arena_free(&mem);
    buf_free(&out);
}

static void record__long_texts_are_cut(void **state)
{
    struct queue_entry e = sample(), back = { 0 };
    char text[QUEUE_DIAG_MAX + 100];
    struct buf out = BUF_INIT;
    struct arena mem;

    (void)state;
    memset(text, 'x', sizeof text);
    arena_init(&mem, 1024);
    e.reason = slice_of(text, sizeof text);
    e.rcpt_count = 1;
    e.rcpts = &(struct queue_rcpt){ .address = SLICE("a"), .diag = slice_of(text, sizeof text),
                                    .status = slice_of(text, sizeof text) };
    queue_entry_encode(&out, &e);
    assert_true(queue_entry_decode(buf_slice(&out), &mem, &back));
    assert_int_equal(back.reason.len, QUEUE_DIAG_MAX);
    assert_int_equal(back.rcpts[0].diag.len, QUEUE_DIAG_MAX);
    assert_int_equal(back.rcpts[0].status.len, QUEUE_STATUS_MAX);
    arena_free(&mem);
    buf_free(&out);
}

static void record__change_comes_back_and_applies(void **state)
{
    const struct queue_outcome outcomes[] = {
        { 0, RCPT_WAITING, SLICE("4.2.0"), SLICE("smtp;450 later") },
        { 1, RCPT_RELAYED, SLICE("4.2.0"), SLICE("smtp;450 later") },
        { 9, RCPT_FAILED, SLICE("5.0.0"), SLICE("nobody") }, /* no such recipient */
    };
    struct queue_change c = { .what = QUEUE_REROUTE, .state = QUEUE_HELD, .is_attempt = true, .flags = 9,
                              .attempts = 4, .notices = 2, .due_ms = 11, .attempted_ms = 12, .notice_ms = 13,
                              .by = SLICE("me"), .reason = SLICE("because"), .dest = 5, .channel = SLICE("hold"),
                              .host = SLICE("x"), .outcomes = outcomes, .outcome_count = 3 },
                        back;
    struct queue_entry e = sample();
    struct queue_rcpt rcpts[3];
    struct buf out = BUF_INIT, dump = BUF_INIT;
    struct arena mem;

    (void)state;
    arena_init(&mem, 1024);
    memcpy(rcpts, sample_rcpts, sizeof rcpts);
    e.rcpts = rcpts;
    queue_change_encode(&out, &c);
    assert_true(queue_change_decode(buf_slice(&out), &mem, &back));
    assert_true(back.is_attempt);
    assert_slice(back.by, c.by);
    assert_int_equal(back.outcome_count, 3);
    assert_slice(back.outcomes[1].diag, SLICE("smtp;450 later"));
    queue_change_apply(&back, &e);
    assert_int_equal(e.state, QUEUE_HELD);
    assert_int_equal(e.attempts, 4);
    assert_int_equal(e.dest, 5);
    assert_slice(e.channel, SLICE("hold"));
    assert_slice(e.reason, SLICE("why")); /* of the last attempt: a reroute has its own in the record */
    assert_int_equal(e.rcpts[0].state, RCPT_WAITING);
    assert_slice(e.rcpts[0].diag, SLICE("smtp;450 later"));
    assert_int_equal(e.rcpts[1].state, RCPT_RELAYED);
    assert_int_equal(e.rcpts[2].state, RCPT_FAILED);
    queue_record_dump(&(struct record){ .type = QR_CHANGE, .payload = buf_slice(&out) }, &dump);
    assert_string_equal(buf_str(&dump), "reroute held attempts=4 due=11 to hold x 0=waiting 4.2.0 smtp;450 later "
                                        "1=relayed 4.2.0 smtp;450 later 9=failed 5.0.0 nobody (because)");
    for (size_t cut = 0; cut < out.len; cut++)
        assert_false(queue_change_decode(slice_of(out.ptr, cut), &mem, &back));
    out.ptr[1] = QUEUE_PUT + 1;
    assert_false(queue_change_decode(buf_slice(&out), &mem, &back));
    arena_free(&mem);
    buf_free(&out);
    buf_free(&dump);
}

static void record__reasons_follow_the_request(void **state)
{
    static const struct {
        enum queue_what what;
        const char *want;
    } rows[] = { { QUEUE_RESULT, "new" }, { QUEUE_HOLD, "new" }, { QUEUE_RELEASE, "" }, { QUEUE_RETRY, "why" } };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct queue_entry e = sample();

        queue_change_apply(&(struct queue_change){ .what = rows[i].what, .reason = SLICE("new") }, &e);
        assert_slice(e.reason, slice_str(rows[i].want));
    }
}

static void record__channel_comes_back(void **state)
{
    struct queue_channel c = { .name = SLICE("tcp_local"), .is_stopped = true, .totals = { 1, 2, 3, 4, 5, 6, 7, 300 } },
                         back;
    static const unsigned char want[] = "\x01\x01\x09tcp_local\x01\x02\x03\x04\x05\x06\x07\xac\x02";
    struct buf out = BUF_INIT, dump = BUF_INIT;

    (void)state;
    queue_channel_encode(&out, &c);
    assert_int_equal(out.len, sizeof want - 1);
    assert_memory_equal(out.ptr, want, out.len);
    assert_true(queue_channel_decode(buf_slice(&out), &back));
    assert_true(back.is_stopped);
    assert_int_equal(back.totals[RCPT_MOVED], 300);
    queue_record_dump(&(struct record){ .type = QR_CHANNEL, .payload = buf_slice(&out) }, &dump);
    assert_string_equal(buf_str(&dump), "tcp_local stopped created=1 delivered=2 relayed=3 failed=4 returned=5 "
                                        "deleted=6 expanded=7 moved=300");
    for (size_t cut = 0; cut < out.len; cut++)
        assert_false(queue_channel_decode(slice_of(out.ptr, cut), &back));
    buf_free(&out);
    buf_free(&dump);
}

static void record__ids_are_printed_and_read(void **state)
{
    static const struct {
        uint64_t id;
        const char *text;
    } rows[] = { { 1, "00000001" }, { 0xabcdef12, "abcdef12" }, { UINT64_MAX, "ffffffffffffffff" },
                 { UINT64_C(0x123456789a), "123456789a" } };
    char text[17];
    uint64_t id;

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        queue_entry_id_print(rows[i].id, text);
        assert_string_equal(text, rows[i].text);
        assert_true(queue_entry_id_parse(slice_str(text), &id));
        assert_int_equal(id, rows[i].id);
    }
    assert_false(queue_entry_id_parse(SLICE("0"), &id));
    assert_false(queue_entry_id_parse(SLICE(""), &id));
    assert_false(queue_entry_id_parse(SLICE("xyz"), &id));
    assert_false(queue_entry_id_parse(SLICE("00000000000000001"), &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record__entry_has_these_octets),
        cmocka_unit_test(record__entry_comes_back),
        cmocka_unit_test(record__entries_that_nobody_writes_are_refused),
        cmocka_unit_test(record__long_texts_are_cut),
        cmocka_unit_test(record__change_comes_back_and_applies),
        cmocka_unit_test(record__reasons_follow_the_request),
        cmocka_unit_test(record__channel_comes_back),
        cmocka_unit_test(record__ids_are_printed_and_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
