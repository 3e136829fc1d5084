/* What an attempt means: states, times, and who is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "queue/outcome.h"

#define DAY_MS 86400000LL
#define MINUTE_MS 60000LL
#define BEGIN_MS 1000000000000LL

static struct channels_conf channels;
static struct arena conf_mem;
static struct queue_conf queue;

static int conf_make(void **state)
{
    (void)state;
    arena_init(&conf_mem, 1024);
    keys_default(&queue_keys, &queue, &conf_mem);
    assert_int_equal(channels_conf_read(NULL, NULL, false, &channels, &conf_mem, NULL, NULL), 0);
    return 0;
}

static int conf_free(void **state)
{
    (void)state;
    arena_free(&conf_mem);
    return 0;
}

/* Notices as "kind:to:recipients ", to 0 sender, 1 postmaster, 2 double. */
static void notices_print(const struct outcome *o, char *out, size_t size)
{
    size_t at = 0;

    out[0] = 0;
    for (const struct outcome_notice *n = o->notices; n != NULL; n = n->next) {
        at += (size_t)snprintf(out + at, size - at, "%s:%u:", dsn_kind_names[n->kind], (unsigned)n->to);
        for (unsigned i = 0; i < n->rcpt_count; i++)
            at += (size_t)snprintf(out + at, size - at, "%u", n->rcpts[i]);
        at += (size_t)snprintf(out + at, size - at, " ");
    }
}

static const struct {
    const char *name;
    const char *sender;
    uint32_t flags, notify, sendpost, warnpost;
    enum outcome_cause cause;
    uint8_t state;     /* of recipient 0, CAUSE_ATTEMPT; recipient 1 gets no outcome */
    int64_t age_ms;
    bool peer_has_dsn;
    unsigned left;
    const char *notices;
} rows[] = {
    { "delivered, nobody asked", "a@b", 0, 0, 0, 0, CAUSE_ATTEMPT, RCPT_DELIVERED, 0, false, 1, "" },
    { "delivered, asked", "a@b", 0, NOTIFY_SUCCESS, 0, 0, CAUSE_ATTEMPT, RCPT_DELIVERED, 0, false, 1,
      "delivered:0:0 " },
    { "relayed, asked, no DSN there", "a@b", 0, NOTIFY_SUCCESS, 0, 0, CAUSE_ATTEMPT, RCPT_RELAYED, 0, false, 1,
      "forwarded:0:0 " },
    { "relayed, asked, DSN there", "a@b", 0, NOTIFY_SUCCESS, 0, 0, CAUSE_ATTEMPT, RCPT_RELAYED, 0, true, 1, "" },
    { "failed", "a@b", 0, 0, 0, 0, CAUSE_ATTEMPT, RCPT_FAILED, 0, false, 1, "failed:0:0 " },
    { "failed, only success asked", "a@b", 0, NOTIFY_SUCCESS, 0, 0, CAUSE_ATTEMPT, RCPT_FAILED, 0, false, 1, "" },
    { "failed, never", "a@b", 0, NOTIFY_NEVER, 0, 0, CAUSE_ATTEMPT, RCPT_FAILED, 0, false, 1, "" },
    { "failed, sendpost", "a@b", 0, NOTIFY_NEVER, 3, 0, CAUSE_ATTEMPT, RCPT_FAILED, 0, false, 1, "failed:1:0 " },
    { "failed, copysendpost", "a@b", 0, 0, 2, 0, CAUSE_ATTEMPT, RCPT_FAILED, 0, false, 1, "failed:0:0 failed:1:0 " },
    { "failed, errsendpost", "a@b", 0, 0, 1, 0, CAUSE_ATTEMPT, RCPT_FAILED, 0, false, 1, "failed:0:0 " },
    { "a notice failed", "", QUEUE_IS_NOTICE, NOTIFY_NEVER, 3, 0, CAUSE_ATTEMPT, RCPT_FAILED, 0, false, 1,
      "failed:2:0 " },
    { "a foreign notice failed", "", 0, 0, 0, 0, CAUSE_ATTEMPT, RCPT_FAILED, 0, false, 1, "failed:2:0 " },
    { "the notice about it failed", "", QUEUE_IS_NOTICE | QUEUE_DOUBLE_BOUNCE, NOTIFY_NEVER, 3, 0, CAUSE_ATTEMPT,
      RCPT_FAILED, 0, false, 1, "" },
    { "a notice was delivered", "", QUEUE_IS_NOTICE, NOTIFY_SUCCESS, 0, 0, CAUSE_ATTEMPT, RCPT_DELIVERED, 0, false, 1,
      "" },
    { "discarded", "a@b", 0, NOTIFY_SUCCESS, 3, 0, CAUSE_ATTEMPT, RCPT_DELETED, 0, false, 1, "" },
    { "routed again", "a@b", 0, NOTIFY_SUCCESS, 0, 0, CAUSE_ATTEMPT, RCPT_EXPANDED, 0, false, 1, "" },
    { "sent to a list", "a@b", QUEUE_EXPANDED, NOTIFY_SUCCESS, 0, 0, CAUSE_ATTEMPT, RCPT_EXPANDED, 0, false, 1,
      "expanded:0:0 " },
    { "tried for the last time", "a@b", 0, 0, 0, 0, CAUSE_ATTEMPT, RCPT_WAITING, 12 * DAY_MS, false, 0,
      "timedout:0:01 " },
    { "not yet too old", "a@b", 0, 0, 0, 0, CAUSE_ATTEMPT, RCPT_WAITING, 12 * DAY_MS - 1, false, 2, "" },
    { "warning", "a@b", 0, 0, 0, 0, CAUSE_AGE, 0, 3 * DAY_MS, false, 2, "delayed:0:01 " },
    { "warning, only failures asked", "a@b", 0, NOTIFY_FAILURE, 0, 0, CAUSE_AGE, 0, 3 * DAY_MS, false, 2, "" },
    { "warning, warnpost", "a@b", 0, NOTIFY_FAILURE, 0, 3, CAUSE_AGE, 0, 3 * DAY_MS, false, 2, "delayed:1:01 " },
    { "warning about a notice", "", QUEUE_IS_NOTICE, 0, 0, 0, CAUSE_AGE, 0, 3 * DAY_MS, false, 2, "" },
    { "too old without an attempt", "a@b", 0, 0, 0, 0, CAUSE_AGE, 0, 12 * DAY_MS, false, 0, "timedout:0:01 " },
    { "returned by hand", "a@b", 0, 0, 0, 0, CAUSE_RETURN_BY_HAND, 0, 0, false, 0, "bounced:0:01 " },
    { "returned by hand, never", "a@b", 0, NOTIFY_NEVER, 0, 0, CAUSE_RETURN_BY_HAND, 0, 0, false, 0, "" },
    { "deleted by hand", "a@b", 0, NOTIFY_FAILURE, 3, 0, CAUSE_DELETE_BY_HAND, 0, 0, false, 0, "" },
};

static void outcome__who_is_told(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct channel_conf channel = *channel_conf_find(&channels, SLICE("tcp_local"));
        struct queue_rcpt rcpts[2] = { { .address = SLICE("x@y"), .notify = rows[i].notify },
                                       { .address = SLICE("z@y"), .notify = rows[i].notify } };
        struct queue_entry e = { .sender = slice_str(rows[i].sender), .flags = rows[i].flags, .created_ms = BEGIN_MS,
                                 .priority = QUEUE_NORMAL, .rcpts = rcpts, .rcpt_count = 2 };
        struct queue_outcome given = { .rcpt = 0, .state = rows[i].state, .status = SLICE("5.1.1") };
        struct outcome_input in = { .entry = &e, .channel = &channel, .queue = &queue, .cause = rows[i].cause,
                                    .outcomes = &given, .outcome_count = rows[i].cause == CAUSE_ATTEMPT,
                                    .now_ms = BEGIN_MS + rows[i].age_ms, .peer_has_dsn = rows[i].peer_has_dsn };
        struct outcome out;
        struct arena mem;
        char told[200];

        channel.sendpost = rows[i].sendpost;
        channel.warnpost = rows[i].warnpost;
        arena_init(&mem, 1024);
        outcome_decide(&in, &out, &mem);
        notices_print(&out, told, sizeof told);
        if (strcmp(told, rows[i].notices) != 0 || out.left != rows[i].left)
            fail_msg("%s: left %u, told \"%s\"", rows[i].name, out.left, told);
        arena_free(&mem);
    }
}

/* The specification's table, 17.5: minutes after the first attempt, each failing at once. */
static void outcome__schedule(void **state)
{
    static const struct {
        enum queue_priority priority;
        int at[9];
    } schedules[] = {
        { QUEUE_NORMAL, { 0, 60, 180, 300, 540, 780, 1020, 1500, 1980 } },
        { QUEUE_URGENT, { 0, 30, 90, 150, 270, 390, 510, 750, 990 } },
        { QUEUE_NONURGENT, { 0, 120, 360, 600, 1080, 1560, 2040, 3000, 3960 } },
    };

    (void)state;
    for (unsigned s = 0; s < ARRAY_LEN(schedules); s++) {
        int64_t now_ms = BEGIN_MS;

        for (unsigned k = 0; k + 1 < ARRAY_LEN(schedules[s].at); k++) {
            struct queue_rcpt rcpt = { .address = SLICE("x@y") };
            struct queue_entry e = { .sender = SLICE("a@b"), .created_ms = BEGIN_MS, .attempts = k,
                                     .priority = schedules[s].priority, .rcpts = &rcpt, .rcpt_count = 1 };
            struct outcome_input in = { .entry = &e, .channel = channel_conf_find(&channels, SLICE("tcp_local")),
                                        .queue = &queue, .cause = CAUSE_ATTEMPT, .now_ms = now_ms };
            struct outcome out;
            struct arena mem;

            arena_init(&mem, 1024);
            outcome_decide(&in, &out, &mem);
            assert_int_equal(out.due_ms, BEGIN_MS + schedules[s].at[k + 1] * MINUTE_MS);
            now_ms = out.due_ms;
            arena_free(&mem);
        }
    }
}

static void outcome__waits(void **state)
{
    struct queue_rcpt rcpt = { .address = SLICE("x@y") };
    struct queue_entry e = { .created_ms = BEGIN_MS, .priority = QUEUE_NORMAL, .rcpts = &rcpt, .rcpt_count = 1 };
    struct queue_conf spread = queue;
    struct outcome_input in = { .entry = &e, .channel = channel_conf_find(&channels, SLICE("tcp_local")),
                                .queue = &spread, .cause = CAUSE_ATTEMPT, .now_ms = BEGIN_MS };
    struct outcome out;
    struct arena mem;

    (void)state;
    arena_init(&mem, 1024);
    in.retry_ms = 90 * MINUTE_MS; /* longer than the backoff of 60 minutes */
    outcome_decide(&in, &out, &mem);
    assert_int_equal(out.due_ms, BEGIN_MS + 90 * MINUTE_MS);
    in.retry_ms = 5 * MINUTE_MS;
    outcome_decide(&in, &out, &mem);
    assert_int_equal(out.due_ms, BEGIN_MS + 60 * MINUTE_MS);
    spread.jitter_percent = 10; /* from 54 to 66 minutes */
    outcome_decide(&in, &out, &mem);
    assert_int_equal(out.due_ms, BEGIN_MS + 54 * MINUTE_MS);
    in.random = 12 * MINUTE_MS;
    outcome_decide(&in, &out, &mem);
    assert_int_equal(out.due_ms, BEGIN_MS + 66 * MINUTE_MS);
    in.random = 12 * MINUTE_MS + 1;
    outcome_decide(&in, &out, &mem);
    assert_int_equal(out.due_ms, BEGIN_MS + 54 * MINUTE_MS);
    arena_free(&mem);
}

/* notices 3 6 9 12: each warning names the next time, and a long standstill gives one warning, not three. */
static void outcome__notice_times(void **state)
{
    static const struct {
        int age_days, next_days;
    } cases[] = { { 3, 6 }, { 6, 9 }, { 9, 12 }, { 10, 12 }, { 11, 12 } };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct queue_rcpt rcpt = { .address = SLICE("x@y") };
        struct queue_entry e = { .sender = SLICE("a@b"), .created_ms = BEGIN_MS, .priority = QUEUE_NORMAL,
                                 .rcpts = &rcpt, .rcpt_count = 1 };
        struct outcome_input in = { .entry = &e, .channel = channel_conf_find(&channels, SLICE("tcp_local")),
                                    .queue = &queue, .cause = CAUSE_AGE,
                                    .now_ms = BEGIN_MS + cases[i].age_days * DAY_MS };
        struct outcome out;
        struct arena mem;

        arena_init(&mem, 1024);
        outcome_decide(&in, &out, &mem);
        assert_true(out.is_warning);
        assert_int_equal(out.notice_ms, BEGIN_MS + cases[i].next_days * DAY_MS);
        assert_int_equal(out.due_ms, 0);
        assert_int_equal(out.outcome_count, 0);
        arena_free(&mem);
    }
}

/* Returned mail says why it could not be delivered, not only that it is old. */
static void outcome__expired_keeps_the_last_diagnostic(void **state)
{
    struct queue_rcpt rcpts[2] = {
        { .address = SLICE("x@y"), .status = SLICE("4.2.0"), .diag = SLICE("smtp;450 busy") },
        { .address = SLICE("z@y") },
    };
    struct queue_entry e = { .sender = SLICE("a@b"), .created_ms = BEGIN_MS, .priority = QUEUE_NORMAL,
                             .reason = SLICE("connection refused"), .rcpts = rcpts, .rcpt_count = 2 };
    struct outcome_input in = { .entry = &e, .channel = channel_conf_find(&channels, SLICE("tcp_local")),
                                .queue = &queue, .cause = CAUSE_AGE, .now_ms = BEGIN_MS + 12 * DAY_MS };
    struct outcome out;
    struct arena mem;

    (void)state;
    arena_init(&mem, 1024);
    outcome_decide(&in, &out, &mem);
    assert_int_equal(out.outcome_count, 2);
    assert_int_equal(out.outcomes[0].state, RCPT_RETURNED);
    assert_true(slice_eq(out.outcomes[0].status, SLICE("4.4.7")));
    assert_true(slice_eq(out.outcomes[0].diag, SLICE("smtp;450 busy")));
    assert_true(slice_eq(out.outcomes[1].diag, SLICE("connection refused")));
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcome__who_is_told),
        cmocka_unit_test(outcome__schedule),
        cmocka_unit_test(outcome__waits),
        cmocka_unit_test(outcome__notice_times),
        cmocka_unit_test(outcome__expired_keeps_the_last_diagnostic),
    };

    return cmocka_run_group_tests(tests, conf_make, conf_free);
}
