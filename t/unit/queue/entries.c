/* entries.c - how entries come, change and go: the state diagram of queue.h, splitting, limits, young ones. */
#include "queue_test.h"

static void entries__new_one_is_ready_and_complete(void **state)
{
    struct test *t = *state;
    struct queue_entry e;
    uint64_t id;

    test_open(t);
    id = test_put(t, "tcp_local", "a.example", 2);
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.id, id);
    assert_int_equal(e.message, id);
    assert_int_equal(e.state, QUEUE_READY);
    assert_int_equal(e.created_ms, NOW);
    assert_int_equal(e.due_ms, NOW);
    assert_int_equal(e.notice_ms, NOW + 3 * 24 * 3600 * 1000LL);
    assert_int_equal(e.attempts, 0);
    assert_int_equal(e.rcpt_count, 2);
    assert_true(e.dest != 0);
    assert_true(slice_eq(e.rcpts[1].address, SLICE("r1@a.example")));
    assert_false(test_get(t, id + 1, &e));
    test_sound(t);
}

/* What ends at its first attempt leaves nothing in the tables, and its body has no reference any more. */
static void entries__young_one_never_touches_the_tables(void **state)
{
    struct test *t = *state;
    struct journal_view v;
    struct body_info body;
    struct queue_entry e;
    uint64_t id;
    int64_t before;

    test_open(t);
    before = counter_get(&queue_counters[QC_NEVER_STORED]);
    id = test_put(t, "tcp_local", "a.example", 1);
    assert_true(test_get(t, id, &e));
    assert_int_equal(test_rows(t, QT_ENTRY), 0);
    assert_int_equal(test_attempt(t, id, "r", 0), QUEUE_OK);
    for (unsigned table = QT_ENTRY; table <= QT_DEST_ENTRY; table++)
        assert_int_equal(test_rows(t, table), 0);
    assert_int_equal(test_rows(t, QT_SUM), 0);
    assert_false(test_get(t, id, &e));
    assert_int_equal(counter_get(&queue_counters[QC_NEVER_STORED]), before + 1);
    assert_int_equal(journal_read_begin(t->site.j, &v, NULL), 0);
    assert_true(journal_body_info(&v, e.view.body_id, &body));
    assert_int_equal(body.refs, 0);
    journal_read_end(&v);
    assert_int_equal(test_total(t, "tcp_local", "relayed"), 1);
    assert_int_equal(test_total(t, "tcp_local", "queued"), 0);
    assert_int_equal(test_attempt(t, id, "r", 0), QUEUE_GONE); /* Q5 */
    assert_int_equal(test_total(t, "tcp_local", "relayed"), 1);
    test_sound(t);
}

static void entries__limit_of_young_ones_holds(void **state)
{
    struct test *t = *state;

    t->setup.young_max = 16;
    test_open(t);
    for (unsigned i = 0; i < 20; i++)
        test_put(t, "tcp_local", "a.example", 1);
    assert_int_equal(test_rows(t, QT_ENTRY), 4);
    assert_int_equal(t->site.queue->young_count, 16);
    assert_int_equal(test_total(t, NULL, "queued"), 20);
    test_sound(t);
}

static void entries__old_ones_settle(void **state)
{
    struct test *t = *state;
    struct queue_entry e;
    uint64_t first, second;

    test_open(t);
    first = test_put(t, "tcp_local", "a.example", 1);
    clock_fake_advance(&t->site.clock, 4999);
    second = test_put(t, "tcp_local", "b.example", 1);
    assert_int_equal(test_rows(t, QT_ENTRY), 0);
    clock_fake_advance(&t->site.clock, 1);
    queue_tick(t->site.queue);
    test_hand(t, QUEUE_RETRY, second); /* behind it in the lane: then the first is in the tables */
    assert_int_equal(test_rows(t, QT_ENTRY), 1);
    assert_int_equal(t->site.queue->young_count, 1);
    assert_true(test_get(t, first, &e));
    assert_int_equal(e.due_ms, NOW);
    assert_true(test_get(t, second, &e));
    test_sound(t);
}

struct row {
    const char *what; /* letters: h hold, l release, t retry, D deferral, H result that holds, . nothing */
    enum queue_state want;
    int64_t due_ms; /* behind NOW; the clock stands at NOW + 1000 */
};

static void entries__states_change_as_the_diagram_says(void **state)
{
    static const struct row rows[] = {
        { ".", QUEUE_READY, 0 },        { "h", QUEUE_HELD, 0 },         { "hh", QUEUE_HELD, 0 },
        { "hl", QUEUE_READY, 1000 },    { "l", QUEUE_READY, 0 },        { "D", QUEUE_DEFERRED, 61000 },
        { "Dh", QUEUE_HELD, 61000 },    { "Dhl", QUEUE_READY, 1000 },   { "Dt", QUEUE_READY, 1000 },
        { "t", QUEUE_READY, 0 },        { "ht", QUEUE_HELD, 0 },        { "H", QUEUE_HELD, 61000 },
        { "hD", QUEUE_HELD, 61000 },    { "Hl", QUEUE_READY, 1000 },    { "DtD", QUEUE_DEFERRED, 61000 },
    };
    struct test *t = *state;

    test_open(t);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct queue_entry e;
        uint64_t id;

        atomic_store(&t->site.clock.fake_wall_ms, NOW);
        id = test_put(t, "tcp_local", "a.example", 1);
        atomic_store(&t->site.clock.fake_wall_ms, NOW + 1000);
        for (const char *w = rows[i].what; *w != 0; w++) {
            if (*w == 'D' || *w == 'H') {
                struct queue_request *r = test_result(t, id, "w", NOW + 61000);

                r->hold = *w == 'H';
                assert_int_equal(queue_site_do(&t->site, &r, NULL), QUEUE_OK);
            } else if (*w != '.') {
                assert_int_equal(test_hand(t, *w == 'h'   ? QUEUE_HOLD
                                              : *w == 'l' ? QUEUE_RELEASE
                                                          : QUEUE_RETRY, id), QUEUE_OK);
            }
        }
        assert_true(test_get(t, id, &e));
        if (e.state != rows[i].want || e.due_ms != NOW + rows[i].due_ms)
            fail_msg("\"%s\": %s, due %lld", rows[i].what, queue_state_names[e.state], (long long)(e.due_ms - NOW));
    }
    test_sound(t);
}

static void entries__deferred_one_is_ready_when_its_time_has_come(void **state)
{
    struct test *t = *state;
    struct queue_entry e;
    uint64_t id;

    test_open(t);
    id = test_put(t, "tcp_local", "a.example", 1);
    test_attempt(t, id, "w", NOW + 1000);
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.state, QUEUE_DEFERRED);
    assert_int_equal(e.attempted_ms, NOW);
    clock_fake_advance(&t->site.clock, 1000);
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.state, QUEUE_READY);
    assert_int_equal(e.attempts, 1);
}

static void entries__recipients_end_one_by_one(void **state)
{
    struct test *t = *state;
    struct queue_entry e;
    struct queue_request *r;
    uint64_t id;

    test_open(t);
    id = test_put(t, "tcp_local", "a.example", 6);
    r = test_result(t, id, "drw-f", NOW + 5);
    r->reason = SLICE("mx said so");
    assert_int_equal(queue_site_do(&t->site, &r, NULL), QUEUE_OK);
    assert_true(test_get(t, id, &e));
    assert_true(slice_eq(e.reason, SLICE("mx said so")));
    static const unsigned want[] = { RCPT_DELIVERED, RCPT_RELAYED, RCPT_WAITING, RCPT_WAITING, RCPT_FAILED,
                                     RCPT_WAITING };
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(e.rcpts[i].state, want[i]);
    assert_true(slice_eq(e.rcpts[2].diag, SLICE("smtp;450 x")));
    assert_int_equal(e.rcpts[3].diag.len, 0);
    /* the first has ended: what comes too late about it is left out */
    r = test_result(t, id, "fbxem", NOW + 9);
    assert_int_equal(queue_site_do(&t->site, &r, NULL), QUEUE_OK);
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.rcpts[0].state, RCPT_DELIVERED);
    assert_int_equal(e.rcpts[2].state, RCPT_DELETED);
    assert_int_equal(e.rcpts[3].state, RCPT_EXPANDED);
    assert_int_equal(e.rcpts[4].state, RCPT_FAILED);
    r = test_result(t, id, "-----b", 0);
    r->done = NULL;
    assert_int_equal(queue_site_do(&t->site, &r, NULL), QUEUE_OK);
    assert_false(test_get(t, id, &e));
    static const struct {
        const char *what;
        int n;
    } totals[] = { { "created", 6 }, { "delivered", 1 }, { "relayed", 1 }, { "failed", 1 },   { "returned", 1 },
                   { "deleted", 1 }, { "expanded", 1 },  { "moved", 0 },   { "queued", 0 } };
    for (unsigned i = 0; i < ARRAY_LEN(totals); i++)
        assert_int_equal(test_total(t, "tcp_local", totals[i].what), totals[i].n);
    test_sound(t);
}

static void entries__left_says_how_many_wait(void **state)
{
    struct test *t = *state;
    struct queue_request *r;
    uint64_t id;

    test_open(t);
    id = test_put(t, "tcp_local", "a.example", 3);
    r = test_result(t, id, "dw", NOW + 5);
    assert_int_equal(queue_request_wait(t->site.queue, r, NULL), 0);
    assert_int_equal(r->left, 2);
    assert_int_equal(r->now_ms, NOW);
    queue_request_destroy(&r);
    r = test_result(t, id, "-dd", NOW + 5);
    assert_int_equal(queue_request_wait(t->site.queue, r, NULL), 0);
    assert_int_equal(r->left, 0);
    queue_request_destroy(&r);
}

static void entries__many_recipients_are_split(void **state)
{
    struct test *t = *state;
    struct queue_entry e, piece;
    struct queue_sum sum;
    uint64_t id;

    t->setup.rcpts_max = 4;
    test_open(t);
    e = test_entry(t, "tcp_local", "a.example", 10);
    e.rcpts[5].state = RCPT_FAILED; /* ended ones do not come in */
    id = test_put_entry(t, &e);
    queue_sum(t->site.queue, SLICE("tcp_local"), &sum);
    assert_int_equal(sum.entries, 3);
    assert_int_equal(sum.recipients, 9);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(test_get(t, id + i, &piece));
        assert_int_equal(piece.message, id);
        assert_int_equal(piece.rcpt_count, i == 2 ? 1 : 4);
    }
    assert_true(slice_eq(piece.rcpts[0].address, SLICE("r9@a.example")));
    assert_int_equal(test_total(t, NULL, "created"), 9);
    test_sound(t);
}

/* The longest recipients there may be: the entry still fits a value of the index with all its diagnostics. */
static void entries__long_recipients_are_split_earlier(void **state)
{
    struct test *t = *state;
    struct queue_entry e, piece;
    struct queue_sum sum;
    char text[1000];
    uint64_t id;

    test_open(t);
    memset(text, 'x', sizeof text);
    e = test_entry(t, "tcp_local", "a.example", 1000);
    for (unsigned i = 0; i < 1000; i++)
        e.rcpts[i].address = e.rcpts[i].original = e.rcpts[i].orcpt = slice_of(text, sizeof text);
    id = test_put_entry(t, &e);
    queue_sum(t->site.queue, SLICE_NONE, &sum);
    assert_int_equal(sum.recipients, 1000);
    assert_int_equal(sum.entries, 4);
    for (unsigned i = 0; i < 4; i++) {
        struct queue_request *r = queue_request_new(QUEUE_RESULT);
        char diag[QUEUE_DIAG_MAX];

        assert_true(test_get(t, id + i, &piece));
        r->entry = id + i;
        r->is_attempt = true;
        r->due_ms = NOW + 1;
        r->outcome_count = piece.rcpt_count;
        r->outcomes = arena_alloc_array(&r->mem, piece.rcpt_count, sizeof *r->outcomes);
        for (unsigned k = 0; k < piece.rcpt_count; k++) {
            memset(diag, 'a' + (int)(k % 26), sizeof diag);
            r->outcomes[k] = (struct queue_outcome){ k, RCPT_WAITING, SLICE("4.0.0"),
                                                     slice_dup(&r->mem, slice_of(diag, sizeof diag)) };
        }
        assert_int_equal(queue_site_do(&t->site, &r, NULL), QUEUE_OK);
        assert_true(test_get(t, id + i, &piece));
        assert_int_equal(piece.rcpts[1].diag.len, QUEUE_DIAG_MAX);
        assert_int_equal(piece.rcpts[1].diag.ptr[0], 'b');
    }
    test_sound(t);
}

static void entries__refusals_leave_no_trace(void **state)
{
    char long_name[400];
    struct test *t = *state;
    struct queue_entry e[6];
    static const enum err_kind want[6] = { ERR_SYNTAX, ERR_SYNTAX, ERR_SYNTAX, ERR_SYNTAX, ERR_SYNTAX, ERR_SYNTAX };

    memset(long_name, 'x', sizeof long_name);
    test_open(t);
    for (unsigned i = 0; i < 6; i++)
        e[i] = test_entry(t, "tcp_local", "a.example", 1);
    e[0].rcpt_count = 0;
    e[1].channel = SLICE_NONE;
    e[2].channel = slice_of(long_name, CHANNEL_NAME_MAX + 1);
    e[3].host = slice_of(long_name, QUEUE_HOST_MAX + 1);
    e[4].rcpts[0].state = RCPT_DELIVERED;
    e[5].sender = arena_printf(&t->mem, "%01001d", 0);
    for (unsigned i = 0; i < 6; i++) {
        struct err err = ERR_INIT;

        if (queue_site_put(&t->site, &e[i], SLICE("x"), NULL, &err) == 0 || err.kind != want[i])
            fail_msg("row %u: kind %d", i, (int)err.kind);
    }
    assert_int_equal(test_total(t, NULL, "created"), 0);
    assert_int_equal(t->site.queue->young_count, 0);
    test_sound(t);
}

static void entries__limit_of_entries_counts_all(void **state)
{
    struct test *t = *state;
    struct queue_entry e;
    struct queue_request *r;
    struct err err = ERR_INIT;
    uint64_t id;

    t->setup.entries_max = 3;
    test_open(t);
    id = test_put(t, "tcp_local", "a.example", 1);
    test_settle(t);
    test_put(t, "tcp_local", "a.example", 1);
    test_put(t, "tcp_local", "a.example", 1);
    e = test_entry(t, "tcp_local", "a.example", 1);
    assert_int_equal(queue_site_put(&t->site, &e, SLICE("x"), NULL, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    /* a notice is no new mail: it comes with the end of another */
    r = test_result(t, id, "w", NOW + 60000);
    r->additions = arena_alloc(&r->mem, sizeof *r->additions);
    r->additions->entry = e;
    r->additions->entry.view.body_id = 1;
    assert_int_equal(queue_site_do(&t->site, &r, &err), QUEUE_OK);
    assert_int_equal(test_total(t, NULL, "queued"), 4);
}

static void entries__held_channel_holds(void **state)
{
    struct test *t = *state;
    struct queue_entry e;
    uint64_t id;

    t->setup.channels = "{ \"tcp_local\": { \"held\": true } }";
    test_open(t);
    id = test_put(t, "tcp_local", "a.example", 1);
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.state, QUEUE_HELD);
    assert_int_equal(test_hand(t, QUEUE_RELEASE, id), QUEUE_OK);
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.state, QUEUE_READY);
    id = test_put(t, "hold", "", 1);
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.state, QUEUE_HELD);
    id = test_put(t, "tcp_lmtp", "b.example", 1);
    assert_int_equal(test_reroute(t, id, "hold", ""), QUEUE_OK);
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.state, QUEUE_HELD);
    assert_int_equal(test_reroute(t, id, "tcp_lmtp", "b.example"), QUEUE_OK); /* stays so until it is released */
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.state, QUEUE_HELD);
    e = test_entry(t, "ims-ms", "u", 1);
    e.state = QUEUE_HELD;
    id = test_put_entry(t, &e);
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.state, QUEUE_HELD);
    test_sound(t);
}

static void entries__import_keeps_times(void **state)
{
    struct test *t = *state;
    struct queue_entry e = { 0 }, got;
    uint64_t id;

    test_open(t);
    e = test_entry(t, "tcp_local", "a.example", 1);
    e.created_ms = NOW - 5000;
    e.state = QUEUE_DEFERRED;
    e.due_ms = NOW + 7000;
    e.attempts = 3;
    e.attempted_ms = NOW - 100;
    id = test_put_entry(t, &e);
    assert_true(test_get(t, id, &got));
    assert_int_equal(got.created_ms, NOW - 5000);
    assert_int_equal(got.due_ms, NOW + 7000);
    assert_int_equal(got.attempts, 3);
    assert_int_equal(got.state, QUEUE_DEFERRED);
    assert_int_equal(got.notice_ms, NOW - 5000 + 3 * 24 * 3600 * 1000LL);
    e.due_ms = NOW - 1; /* in the past: at once */
    e.created_ms = NOW + 1;
    e.attempted_ms = NOW + 1;
    e.notices = 2; /* two warnings have gone out */
    id = test_put_entry(t, &e);
    assert_true(test_get(t, id, &got));
    assert_int_equal(got.created_ms, NOW);
    assert_int_equal(got.due_ms, NOW);
    assert_int_equal(got.attempts, 3);
    assert_int_equal(got.attempted_ms, NOW);
    assert_int_equal(got.state, QUEUE_READY);
    assert_int_equal(got.notice_ms, NOW + 9 * 24 * 3600 * 1000LL);
    e.notices = 99;
    id = test_put_entry(t, &e);
    assert_true(test_get(t, id, &got));
    assert_int_equal(got.notice_ms, NOW + 12 * 24 * 3600 * 1000LL);
}

static void entries__reroute_moves_recipients(void **state)
{
    struct test *t = *state;
    struct queue_entry e, other;
    uint64_t id;

    test_open(t);
    id = test_put(t, "tcp_local", "a.example", 3);
    test_attempt(t, id, "dw", NOW + 60000);
    clock_fake_advance(&t->site.clock, 10);
    assert_true(test_get(t, id, &e));
    assert_int_equal(test_reroute(t, id, "tcp_lmtp", "unix:/x"), QUEUE_OK);
    assert_true(test_get(t, id, &other));
    assert_true(slice_eq(other.channel, SLICE("tcp_lmtp")));
    assert_true(slice_eq(other.host, SLICE("unix:/x")));
    assert_int_not_equal(other.dest, e.dest);
    assert_int_equal(other.state, QUEUE_READY);
    assert_int_equal(other.due_ms, NOW + 10);
    assert_int_equal(test_total(t, "tcp_local", "moved"), 2);
    assert_int_equal(test_total(t, "tcp_local", "queued"), 0);
    assert_int_equal(test_total(t, "tcp_lmtp", "created"), 2);
    assert_int_equal(test_total(t, "tcp_lmtp", "queued"), 2);
    assert_int_equal(test_reroute(t, id, "tcp_lmtp", "unix:/y"), QUEUE_OK); /* another host only */
    assert_int_equal(test_total(t, "tcp_lmtp", "created"), 2);
    assert_int_equal(test_reroute(t, id, "", "y"), QUEUE_TEMP);
    test_sound(t);
}

static void entries__hands_are_refused_while_an_attempt_goes_on(void **state)
{
    struct test *t = *state;
    struct queue_request *r;
    struct queue_entry e;
    uint64_t id;

    test_open(t);
    id = test_put(t, "tcp_local", "a.example", 2);
    assert_true(queue_mark_active(t->site.queue, id, true));
    assert_false(queue_mark_active(t->site.queue, id, true)); /* Q5 */
    assert_int_equal(test_hand(t, QUEUE_DELETE, id), QUEUE_BUSY);
    assert_int_equal(test_reroute(t, id, "hold", ""), QUEUE_BUSY);
    r = test_result(t, id, "bb", 0);
    r->is_attempt = false; /* returned by hand or for its age */
    assert_int_equal(queue_site_do(&t->site, &r, NULL), QUEUE_BUSY);
    assert_int_equal(test_hand(t, QUEUE_HOLD, id), QUEUE_OK); /* takes effect when the attempt has ended */
    assert_int_equal(test_attempt(t, id, "dw", NOW + 9), QUEUE_OK);
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.state, QUEUE_HELD);
    queue_mark_active(t->site.queue, id, false);
    assert_int_equal(test_hand(t, QUEUE_DELETE, id), QUEUE_OK);
    assert_int_equal(test_hand(t, QUEUE_DELETE, id), QUEUE_GONE);
    assert_int_equal(test_total(t, NULL, "deleted"), 1);
    test_sound(t);
}

static void entries__warning_moves_the_notice_time(void **state)
{
    struct test *t = *state;
    struct queue_request *r;
    struct queue_entry e;
    uint64_t id;

    test_open(t);
    id = test_put(t, "tcp_local", "a.example", 1);
    r = queue_request_new(QUEUE_RESULT);
    r->entry = id;
    r->is_warning = true;
    r->notice_ms = NOW + 777;
    assert_int_equal(queue_site_do(&t->site, &r, NULL), QUEUE_OK);
    assert_true(test_get(t, id, &e));
    assert_int_equal(e.notices, 1);
    assert_int_equal(e.notice_ms, NOW + 777);
    assert_int_equal(e.flags, QUEUE_WARNED);
    assert_int_equal(e.attempts, 0);
    assert_int_equal(test_rows(t, QT_NOTICE), 1);
    r = queue_request_new(QUEUE_RESULT);
    r->entry = id;
    r->is_warning = true; /* none any more */
    assert_int_equal(queue_site_do(&t->site, &r, NULL), QUEUE_OK);
    assert_int_equal(test_rows(t, QT_NOTICE), 0);
    test_sound(t);
}

/* The notice and the end of the recipient are one operation, and a routed copy shares the body. */
static void entries__additions_come_with_the_result(void **state)
{
    struct test *t = *state;
    struct queue_request *r;
    struct queue_addition *copy, *notice;
    struct queue_entry e, got;
    struct journal_view v;
    struct body_info body;
    uint64_t id, copy_id, notice_id;

    test_open(t);
    id = test_put(t, "process", "x", 1);
    assert_true(test_get(t, id, &e));
    r = test_result(t, id, "e", 0);
    copy = arena_alloc(&r->mem, sizeof *copy);
    notice = arena_alloc(&r->mem, sizeof *notice);
    copy->next = notice;
    copy->entry = test_entry(t, "tcp_local", "a.example", 2);
    copy->entry.view = e.view;
    copy->entry.view.body_at = 12;
    copy->header = SLICE("Subject: other\r\n\r\n");
    notice->entry = test_entry(t, "process", "", 1);
    notice->body = body_writer_new(t->site.j);
    assert_int_equal(body_writer_write(notice->body, SLICE("notice"), NULL), 0);
    assert_int_equal(body_writer_finish(notice->body, NULL), 0);
    r->additions = copy;
    assert_int_equal(queue_request_wait(t->site.queue, r, NULL), 0);
    copy_id = copy->id;
    notice_id = notice->id;
    queue_request_destroy(&r);
    assert_false(test_get(t, id, &got));
    assert_true(test_get(t, copy_id, &got));
    assert_int_equal(got.view.body_id, e.view.body_id);
    assert_int_equal(got.view.header_bytes, 18);
    assert_true(got.view.header_id != 0);
    assert_int_equal(journal_read_begin(t->site.j, &v, NULL), 0);
    assert_true(journal_body_info(&v, e.view.body_id, &body));
    assert_int_equal(body.refs, 1);
    journal_read_end(&v);
    assert_true(test_get(t, notice_id, &got));
    assert_int_equal(got.view.body_bytes, 6);
    assert_int_equal(test_total(t, "process", "expanded"), 1);
    assert_int_equal(test_total(t, "process", "queued"), 1);
    assert_int_equal(test_total(t, "tcp_local", "created"), 2);
    test_sound(t);
}

static int deliver_ok(struct journal_tx *tx, struct queue_request *r, struct err *err)
{
    (void)tx;
    (void)err;
    r->outcomes[0].state = RCPT_DELIVERED;
    ++*(unsigned *)(uintptr_t)r->arg;
    return 0;
}

static int deliver_refused(struct journal_tx *tx, struct queue_request *r, struct err *err)
{
    (void)tx;
    (void)r;
    return err_set(err, ERR_FULL, "no room");
}

static void answer(struct queue_request *r)
{
    *(volatile bool *)&r->hold = true; /* nothing reads it any more: a mark for the test */
}

static void entries__deliver_runs_inside_the_operation(void **state)
{
    struct test *t = *state;
    struct queue_request *r;
    struct err err = ERR_INIT;
    unsigned calls = 0;
    uint64_t id;

    test_open(t);
    id = test_put(t, "ims-ms", "u", 1);
    r = test_result(t, id, "w", NOW + 60);
    r->deliver = deliver_refused;
    assert_int_equal(queue_site_do(&t->site, &r, &err), QUEUE_FULL);
    assert_int_equal(test_total(t, "ims-ms", "queued"), 1);
    r = test_result(t, id, "w", NOW + 60);
    r->deliver = deliver_ok;
    r->arg = &calls;
    r->done = answer;
    queue_request_submit(t->site.queue, r);
    assert_int_equal(journal_settle(t->site.j, &err), 0); /* behind it: it is answered */
    assert_true(r->hold);
    assert_int_equal(r->result, QUEUE_OK);
    assert_int_equal(r->left, 0);
    assert_int_equal(calls, 1);
    queue_request_destroy(&r);
    assert_int_equal(test_total(t, "ims-ms", "delivered"), 1);
    /* not for an entry that is gone */
    r = test_result(t, id, "w", 0);
    r->deliver = deliver_refused;
    assert_int_equal(queue_site_do(&t->site, &r, &err), QUEUE_GONE);
}

/* An operation sees what it emitted before, and what is in the tables; others see neither until it is durable. */
struct inside {
    struct journal_op op;
    struct test *t;
    uint64_t old, new;
    bool sees_old, sees_new, has_new, had_new, outside_sees;
    int64_t queued;
};

static int inside_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct inside *x = CONTAINER_OF(op, struct inside, op);
    struct queue *q = x->t->site.queue;
    struct journal_view *v = journal_tx_view(tx);
    struct queue_entry e = test_entry(x->t, "tcp_local", "inside", 2), got;
    json_t *ledger;

    x->had_new = queue_has(v, q, SLICE("tcp_local"), SLICE("inside"));
    e.view = (struct body_view){ .body_id = journal_emit_octets(tx, SLICE("x")), .body_bytes = 1 };
    x->new = queue_emit_enqueue(q, tx, &e, err);
    x->sees_old = queue_entry_get(q, v, x->old, &x->t->mem, &got);
    x->sees_new = queue_entry_get(q, v, x->new, &x->t->mem, &got);
    x->has_new = queue_has(v, q, SLICE("tcp_local"), SLICE("inside"));
    x->outside_sees = queue_entry_get(q, NULL, x->new, &x->t->mem, &got) ||
                      queue_has(NULL, q, SLICE("tcp_local"), SLICE("inside"));
    ledger = queue_ledger(q, v);
    x->queued = json_get_int(json_object_get(ledger, "total"), "queued", -1);
    json_decref(ledger);
    return x->new != 0 ? 0 : -1;
}

static void entries__operations_see_what_they_did(void **state)
{
    struct test *t = *state;
    struct inside x = { .op = { .run = inside_run, .cost = 1, .bytes = 4096, .lane = LANE_RECEPTION }, .t = t };
    struct err err = ERR_INIT;

    test_open(t);
    x.old = test_put(t, "tcp_local", "old", 1);
    test_settle(t);
    assert_int_equal(journal_run(t->site.j, &x.op, &err), 0);
    assert_true(x.sees_old);
    assert_true(x.sees_new);
    assert_false(x.had_new);
    assert_true(x.has_new);
    assert_false(x.outside_sees);
    assert_int_equal(x.queued, 3);
    assert_true(queue_has(NULL, t->site.queue, SLICE("tcp_local"), SLICE("inside")));
    test_sound(t);
}

static void entries__stopped_channels_stay_stopped(void **state)
{
    struct test *t = *state;
    struct queue_request *r;

    test_open(t);
    for (unsigned i = 0; i < 2; i++) { /* twice is once */
        r = queue_request_new(QUEUE_CHANNEL_STOP);
        r->channel = SLICE("tcp_local");
        assert_int_equal(queue_site_do(&t->site, &r, NULL), QUEUE_OK);
    }
    assert_true(queue_channel_is_stopped(t->site.queue, SLICE("tcp_local")));
    assert_false(queue_channel_is_stopped(t->site.queue, SLICE("tcp_loca")));
    for (unsigned i = 0; i < 2; i++) {
        queue_site_close(&t->site);
        t->setup.discard_index = i == 1;
        test_open(t);
        assert_true(queue_channel_is_stopped(t->site.queue, SLICE("tcp_local")));
    }
    r = queue_request_new(QUEUE_CHANNEL_START);
    r->channel = SLICE("tcp_local");
    assert_int_equal(queue_site_do(&t->site, &r, NULL), QUEUE_OK);
    assert_false(queue_channel_is_stopped(t->site.queue, SLICE("tcp_local")));
    test_sound(t);
}

static void entries__passing_by_closes_the_ledger(void **state)
{
    struct test *t = *state;
    struct err err = ERR_INIT;

    test_open(t);
    assert_int_equal(queue_site_passed(&t->site, SLICE("ims-ms"), RCPT_DELIVERED, 3, &err), 0);
    assert_int_equal(queue_site_passed(&t->site, SLICE("ims-ms"), RCPT_EXPANDED, 0, &err), 0);
    assert_int_equal(test_total(t, "ims-ms", "created"), 3);
    assert_int_equal(test_total(t, "ims-ms", "delivered"), 3);
    test_sound(t);
}

static void entries__requests_before_opening_are_answered(void **state)
{
    struct queue_request *r = queue_request_new(QUEUE_HOLD);
    struct clock clock;
    struct queue *q;
    struct err err = ERR_INIT;

    (void)state;
    clock_init_fake(&clock, 0, NOW);
    assert_int_equal(queue_new(&q, &clock, &err), 0);
    assert_int_equal(queue_request_wait(q, r, &err), -1);
    assert_int_equal(r->result, QUEUE_TEMP);
    assert_int_equal(err.kind, ERR_TEMP);
    queue_request_destroy(&r);
    queue_tick(q);
    queue_destroy(&q);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, test_setup, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(entries__new_one_is_ready_and_complete),
        TEST(entries__young_one_never_touches_the_tables),
        TEST(entries__limit_of_young_ones_holds),
        TEST(entries__old_ones_settle),
        TEST(entries__states_change_as_the_diagram_says),
        TEST(entries__deferred_one_is_ready_when_its_time_has_come),
        TEST(entries__recipients_end_one_by_one),
        TEST(entries__left_says_how_many_wait),
        TEST(entries__many_recipients_are_split),
        TEST(entries__long_recipients_are_split_earlier),
        TEST(entries__refusals_leave_no_trace),
        TEST(entries__limit_of_entries_counts_all),
        TEST(entries__held_channel_holds),
        TEST(entries__import_keeps_times),
        TEST(entries__reroute_moves_recipients),
        TEST(entries__hands_are_refused_while_an_attempt_goes_on),
        TEST(entries__warning_moves_the_notice_time),
        TEST(entries__additions_come_with_the_result),
        TEST(entries__deliver_runs_inside_the_operation),
        TEST(entries__operations_see_what_they_did),
        TEST(entries__stopped_channels_stay_stopped),
        TEST(entries__passing_by_closes_the_ledger),
        cmocka_unit_test(entries__requests_before_opening_are_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
