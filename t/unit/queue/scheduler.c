/* scheduler.c - when entries are tried: the schedules, dead destinations, the clock, restarts, the hand, the disk. */
#include "scheduler_test.h"

/* --- schedules ---------------------------------------------------------------------------------------------------- */

struct schedule {
    const char *channels;
    enum queue_priority priority;
    enum fake_does does;
    unsigned count;
    unsigned minutes[10];
};

/* 17.5 of the specification: minutes after the first attempt, always failing. */
static const struct schedule schedules[] = {
    { NULL, QUEUE_NORMAL, DOES_DEFER, 9, { 0, 60, 180, 300, 540, 780, 1020, 1500, 1980 } },
    { NULL, QUEUE_URGENT, DOES_DEFER, 9, { 0, 30, 90, 150, 270, 390, 510, 750, 990 } },
    { NULL, QUEUE_NONURGENT, DOES_DEFER, 8, { 0, 120, 360, 600, 1080, 1560, 2040, 3000 } },
    { "{\"tcp_local\": {\"backoff\": [\"pt2m\", \"pt5m\", \"pt10m\", \"pt30m\"]}}", QUEUE_NORMAL, DOES_DEFER, 6,
      { 0, 2, 7, 17, 47, 77 } },
    { "{\"tcp_local\": {\"backoff\": [\"pt2m\"], \"urgentbackoff\": [\"pt1m\", \"pt3m\"]}}", QUEUE_URGENT, DOES_DEFER,
      4, { 0, 1, 4, 7 } },
    { "{\"tcp_local\": {\"backoff\": [\"pt2m\"], \"urgentbackoff\": [\"pt1m\"]}}", QUEUE_NONURGENT, DOES_DEFER, 3,
      { 0, 2, 4 } },
    /* A host that cannot be reached: the one message that waits there keeps its times. */
    { NULL, QUEUE_NORMAL, DOES_UNREACHABLE, 7, { 0, 60, 180, 300, 540, 780, 1020 } },
    { NULL, QUEUE_NORMAL, DOES_LIMITED, 4, { 0, 60, 180, 300 } },
    /* An hour's silence of a dead host is the longest: a probe is not earlier than the message, nor than that. */
    { "{\"tcp_local\": {\"backoff\": [\"pt1m\"]}}", QUEUE_NORMAL, DOES_UNREACHABLE, 9,
      { 0, 1, 3, 7, 15, 31, 63, 123, 183 } },
};

static void schedule_check(struct sched_test *t, const struct schedule *w, unsigned row)
{
    struct queue_entry e = test_entry(&t->q, "tcp_local", "a.example", 2), now;
    uint64_t id;

    e.priority = w->priority;
    test_rule(t, w->does);
    id = test_put_entry(&t->q, &e);
    test_quiet(t);
    for (unsigned i = 1; i < w->count; i++) {
        test_pass(t, (int64_t)(w->minutes[i] - w->minutes[i - 1]) * MINUTE - 1);
        if (t->tried_count != i)
            fail_msg("row %u: attempt %u came early: %u", row, i, t->tried_count);
        test_pass(t, 1);
        if (t->tried_count != i + 1 || t->tried[i].at_ms != (int64_t)w->minutes[i] * MINUTE)
            fail_msg("row %u: attempt %u did not come at %u", row, i, w->minutes[i]);
    }
    assert_true(test_get(&t->q, id, &now));
    assert_int_equal(now.attempts, w->count);
    assert_int_equal(now.attempted_ms, NOW + (int64_t)w->minutes[w->count - 1] * MINUTE);
    if (w->does != DOES_DEFER) {
        assert_true(slice_eq(now.rcpts[1].diag, SLICE("connection refused")));
        assert_true(slice_eq(now.rcpts[1].status, SLICE("4.4.1")));
        assert_true(slice_eq(now.reason, SLICE("connection refused")));
    }
    test_rule(t, DOES_OK);
}

static void scheduler__keeps_the_schedules(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(schedules); i++) {
        void *one;

        sched_setup(&one);
        sched_open(one, schedules[i].channels);
        schedule_check(one, &schedules[i], i);
        test_sound(&((struct sched_test *)one)->q);
        sched_teardown(&one);
    }
}

static void scheduler__relays_at_once_and_leaves_nothing(void **state)
{
    struct sched_test *t = *state;
    uint64_t ids[3];

    sched_open(t, NULL);
    for (unsigned i = 0; i < 3; i++)
        ids[i] = test_put(&t->q, "tcp_local", "a.example", 2);
    test_quiet(t);
    assert_int_equal(t->tried_count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(t->tried[i].id, ids[i]);
    assert_int_equal(t->done[QUEUE_OK], 3);
    assert_int_equal(t->starts, t->ends);
    assert_int_equal(test_total(&t->q, "tcp_local", "relayed"), 6);
    assert_int_equal(test_total(&t->q, NULL, "queued"), 0);
    assert_int_equal(test_rows(&t->q, QT_ENTRY), 0); /* young ones never touch the tables */
    test_sound(&t->q);
    test_pass(t, IDLE_MS - 1);
    assert_int_equal(idmap_count(&t->s->dests), 1);
    test_pass(t, 1);
    assert_int_equal(idmap_count(&t->s->dests), 0); /* forgotten */
}

static void scheduler__wishes_of_the_peer_and_no_attempt(void **state)
{
    struct sched_test *t = *state;
    struct queue_entry e;
    uint64_t id;

    sched_open(t, NULL);
    test_rule(t, DOES_NOT_TRY_5);
    id = test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    assert_int_equal(t->tried_count, 1);
    test_pass(t, 4999);
    assert_int_equal(t->tried_count, 1);
    test_rule(t, DOES_DEFER);
    test_pass(t, 1);
    assert_int_equal(t->tried_count, 2);
    assert_true(test_get(&t->q, id, &e));
    assert_int_equal(e.attempts, 1);
    assert_int_equal(e.state, QUEUE_DEFERRED);
    assert_int_equal(e.due_ms, NOW + 5000 + 60 * MINUTE);
}

/* A job that does nothing is not started again and again: 1 s, 2 s, 4 s … */
static void scheduler__put_back_entries_pause(void **state)
{
    static const enum fake_does kinds[] = { DOES_NOT_TRY, DOES_STOP };
    static const int64_t at[] = { 0, 1000, 3000, 7000, 15000, 31000, 63000, 127000, 191000 };
    struct sched_test *t = *state;
    struct queue_entry e;

    sched_open(t, NULL);
    for (unsigned k = 0; k < ARRAY_LEN(kinds); k++) {
        int64_t base = clock_wall_ms(&t->q.site.clock) - NOW;
        uint64_t id;

        t->tried_count = 0;
        test_rule(t, kinds[k]);
        id = test_put(&t->q, "tcp_local", k == 0 ? "a.example" : "b.example", 1);
        test_quiet(t);
        for (unsigned i = 1; i < ARRAY_LEN(at); i++)
            test_pass(t, at[i] - at[i - 1]);
        assert_int_equal(t->tried_count, ARRAY_LEN(at));
        for (unsigned i = 0; i < ARRAY_LEN(at); i++)
            assert_int_equal(t->tried[i].at_ms - base, at[i]);
        assert_true(test_get(&t->q, id, &e));
        assert_int_equal(e.attempts, 0);
        test_rule(t, DOES_OK);
        test_pass(t, 64000);
        assert_false(test_get(&t->q, id, &e));
    }
    test_sound(&t->q);
}

/* --- dead destinations -------------------------------------------------------------------------------------------- */

/* Many wait: each probe takes one, the others stay untouched; the first success lets all go. */
static void scheduler__probes_a_dead_destination(void **state)
{
    static const int64_t at[] = { 0, 1, 3, 7, 15, 31 };
    struct sched_test *t = *state;
    struct queue_entry e;
    uint64_t first;

    sched_open(t, NULL);
    test_rule(t, DOES_UNREACHABLE);
    first = test_many(t, "a.example", 20, "s@x.example");
    test_quiet(t);
    for (unsigned i = 1; i < ARRAY_LEN(at); i++) {
        test_pass(t, (at[i] - at[i - 1]) * MINUTE - 1);
        assert_int_equal(t->tried_count, i);
        test_pass(t, 1);
        assert_int_equal(t->tried_count, i + 1);
    }
    assert_int_equal(counter_get(&scheduler_counters[SC_DEAD]), 1);
    assert_true(test_get(&t->q, first, &e));
    assert_int_equal(e.attempts, 1);
    test_rule(t, DOES_OK);
    test_pass(t, 32 * MINUTE); /* 63: of those tried before, the one of minute 0 and that of 1 and 3 are due, too */
    assert_int_equal(counter_get(&scheduler_counters[SC_DEAD]), 0);
    assert_int_equal(test_total(&t->q, NULL, "relayed"), 14 + 3);
    assert_int_equal(test_total(&t->q, NULL, "queued"), 3);
    test_pass(t, 60 * MINUTE);
    assert_int_equal(test_total(&t->q, NULL, "queued"), 0);
    test_sound(&t->q);
}

/* What comes for a dead destination waits for the probe; `run` probes at once and takes the deferred ones, too. */
static void scheduler__run_probes_at_once(void **state)
{
    struct sched_test *t = *state;

    sched_open(t, NULL);
    test_rule(t, DOES_UNREACHABLE);
    test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    for (unsigned i = 0; i < 5; i++)
        test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    assert_int_equal(t->tried_count, 1);
    scheduler_run(t->s, SLICE_NONE, SLICE("b.example"));
    test_quiet(t);
    assert_int_equal(t->tried_count, 1); /* of another */
    scheduler_run(t->s, SLICE("tcp_local"), SLICE("A.example"));
    test_quiet(t);
    assert_int_equal(t->tried_count, 2); /* one probe; it failed, and the run is over */
    test_rule(t, DOES_OK);
    scheduler_run(t->s, SLICE_NONE, SLICE_NONE);
    test_quiet(t);
    assert_int_equal(test_total(&t->q, NULL, "relayed"), 6);
    assert_int_equal(test_total(&t->q, NULL, "queued"), 0);
    test_sound(&t->q);
}

/* Each deferred entry is tried once in a run, whatever becomes of it. */
static void scheduler__run_ends(void **state)
{
    struct sched_test *t = *state;

    sched_open(t, NULL);
    test_rule(t, DOES_DEFER);
    test_many(t, "a.example", 500, "s@x.example");
    test_quiet(t);
    assert_int_equal(t->tried_count, 500);
    test_pass(t, MINUTE);
    assert_int_equal(t->tried_count, 500);
    scheduler_run(t->s, SLICE_NONE, SLICE_NONE);
    test_quiet(t);
    assert_int_equal(t->tried_count, 1000);
    test_pass(t, 60 * MINUTE - 1);
    assert_int_equal(t->tried_count, 1000);
    t->is_silent = true;
    test_rule(t, DOES_OK);
    test_pass(t, 60 * MINUTE + 1);
    assert_int_equal(test_total(&t->q, NULL, "queued"), 0);
    test_sound(&t->q);
}

/* --- the clock ---------------------------------------------------------------------------------------------------- */

static void clock_set(struct sched_test *t, int64_t step_ms)
{
    atomic_fetch_add(&t->q.site.clock.fake_wall_ms, step_ms);
    reactor_kick(t->reactor);
    test_pass(t, 1000); /* it is noticed within a second */
}

static void scheduler__clock_steps(void **state)
{
    struct sched_test *t = *state;

    sched_open(t, NULL);
    test_rule(t, DOES_DEFER);
    test_put(&t->q, "tcp_local", "a.example", 1); /* due at 60 min */
    test_quiet(t);
    clock_set(t, 59 * MINUTE); /* forward: a minute less a second is left */
    assert_int_equal(t->tried_count, 1);
    test_pass(t, 59000);
    assert_int_equal(t->tried_count, 2); /* due again after 120 min */
    clock_set(t, 24 * 60 * MINUTE);
    assert_int_equal(t->tried_count, 3); /* after 120 min more */
    clock_set(t, -5 * MINUTE); /* a little back: five minutes longer */
    test_pass(t, 124 * MINUTE);
    assert_int_equal(t->tried_count, 3);
    test_pass(t, MINUTE);
    assert_int_equal(t->tried_count, 4);
    clock_set(t, -24 * 60 * MINUTE); /* far back: at once, instead of a day later */
    assert_int_equal(t->tried_count, 5);
    test_sound(&t->q);
}

/* --- restart ------------------------------------------------------------------------------------------------------ */

static void scheduler__goes_on_after_a_restart(void **state)
{
    struct sched_test *t = *state;
    uint64_t ready;

    sched_open(t, NULL);
    test_rule(t, DOES_DEFER);
    test_many(t, "d%u.example", 300, "s@x.example");
    test_quiet(t);
    test_rule(t, DOES_NOTHING);
    ready = test_put(&t->q, "tcp_local", "hang.example", 1);
    test_quiet(t);
    sched_close(t); /* the one that hung is put back */
    t->tried_count = 0;
    test_rule(t, DOES_OK);
    sched_open(t, NULL);
    assert_int_equal(t->tried_count, 1);
    assert_int_equal(t->tried[0].id, ready);
    assert_int_equal(idmap_count(&t->s->dests), 301);
    test_pass(t, 60 * MINUTE - 1);
    assert_int_equal(t->tried_count, 1);
    test_pass(t, 1);
    assert_int_equal(t->tried_count, 301);
    assert_int_equal(test_total(&t->q, NULL, "queued"), 0);
    test_sound(&t->q);
}

/* --- the hand ----------------------------------------------------------------------------------------------------- */

static void scheduler__hand_while_it_waits(void **state)
{
    struct sched_test *t = *state;
    uint64_t hung, held, deleted, moved;
    struct queue_entry e;

    sched_open(t, "{\"tcp_local\": {\"maxjobs\": 1}}");
    test_rule(t, DOES_OK);
    t->rules[0] = (struct fake_rule){ "hang.example", DOES_NOTHING };
    hung = test_put(&t->q, "tcp_local", "hang.example", 1);
    test_quiet(t);
    held = test_put(&t->q, "tcp_local", "a.example", 1);
    deleted = test_put(&t->q, "tcp_local", "a.example", 1);
    moved = test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    assert_int_equal(t->tried_count, 1);
    assert_int_equal(test_hand(&t->q, QUEUE_HOLD, held), QUEUE_OK);
    assert_int_equal(test_hand(&t->q, QUEUE_DELETE, deleted), QUEUE_OK);
    assert_int_equal(test_reroute(&t->q, moved, "tcp_lmtp", "[10.0.0.1]"), QUEUE_OK);
    assert_int_equal(test_hand(&t->q, QUEUE_DELETE, hung), QUEUE_BUSY);
    test_quiet(t);
    fake_let_go(t, JOB_OK);
    test_rule(t, DOES_OK);
    test_quiet(t);
    test_pass(t, 1000); /* it did nothing: a pause */
    assert_int_equal(test_total(&t->q, "tcp_local", "relayed"), 1); /* the one that hung */
    assert_true(test_get(&t->q, held, &e));
    assert_true(test_get(&t->q, moved, &e)); /* its type has no worker here */
    assert_int_equal(test_reroute(&t->q, moved, "tcp_local", "c.example"), QUEUE_OK);
    assert_int_equal(test_hand(&t->q, QUEUE_RELEASE, held), QUEUE_OK);
    test_quiet(t);
    assert_int_equal(test_total(&t->q, NULL, "queued"), 0);
    assert_int_equal(test_total(&t->q, NULL, "deleted"), 1);
    assert_int_equal(test_total(&t->q, "tcp_local", "relayed"), 3);
    test_sound(&t->q);
}

static void scheduler__hand_while_it_is_active(void **state)
{
    struct sched_test *t = *state;
    struct queue_entry e;
    uint64_t id;

    sched_open(t, NULL);
    test_rule(t, DOES_NOTHING);
    id = test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    assert_true(scheduler_is_active(t->s, id));
    assert_int_equal(test_hand(&t->q, QUEUE_DELETE, id), QUEUE_BUSY);
    assert_int_equal(test_reroute(&t->q, id, "tcp_local", "b.example"), QUEUE_BUSY);
    assert_int_equal(test_hand(&t->q, QUEUE_RETRY, id), QUEUE_OK);
    assert_int_equal(test_hand(&t->q, QUEUE_HOLD, id), QUEUE_OK);
    assert_int_equal(test_hand(&t->q, QUEUE_RELEASE, id), QUEUE_OK);
    test_quiet(t);
    assert_int_equal(t->tried_count, 1); /* released, but it is on its way */
    assert_int_equal(test_hand(&t->q, QUEUE_HOLD, id), QUEUE_OK);
    fake_try(LIST_ENTRY(t->jobs.next, struct fake_job, link), id, DOES_DEFER);
    fake_let_go(t, JOB_OK);
    test_quiet(t);
    assert_false(scheduler_is_active(t->s, id));
    assert_true(test_get(&t->q, id, &e));
    assert_int_equal(e.state, QUEUE_HELD);
    assert_int_equal(e.attempts, 1);
    test_rule(t, DOES_OK);
    test_pass(t, 3 * 60 * MINUTE);
    assert_int_equal(t->tried_count, 2); /* held */
    assert_int_equal(test_hand(&t->q, QUEUE_RELEASE, id), QUEUE_OK);
    test_quiet(t);
    assert_int_equal(t->tried_count, 3);
    assert_false(test_get(&t->q, id, &e));
    test_sound(&t->q);
}

static void scheduler__retry_by_hand(void **state)
{
    struct sched_test *t = *state;
    struct queue_entry e;
    uint64_t id;

    sched_open(t, NULL);
    test_rule(t, DOES_DEFER);
    id = test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    test_rule(t, DOES_OK);
    test_pass(t, MINUTE);
    assert_int_equal(t->tried_count, 1);
    assert_int_equal(test_hand(&t->q, QUEUE_RETRY, id), QUEUE_OK);
    test_quiet(t);
    assert_int_equal(t->tried_count, 2);
    assert_false(test_get(&t->q, id, &e));
}

static void scheduler__channel_stops_and_starts(void **state)
{
    struct sched_test *t = *state;
    struct queue_request *r;

    sched_open(t, NULL);
    for (unsigned round = 0; round < 2; round++) {
        unsigned before = t->tried_count;

        r = queue_request_new(QUEUE_CHANNEL_STOP);
        r->channel = SLICE("tcp_local");
        assert_int_equal(queue_site_do(&t->q.site, &r, NULL), QUEUE_OK);
        test_put(&t->q, "tcp_local", "a.example", 1);
        test_quiet(t);
        assert_int_equal(t->tried_count, before);
        if (round == 1) { /* it stays stopped over a restart */
            sched_close(t);
            sched_open(t, NULL);
            test_pass(t, 60 * MINUTE);
            assert_int_equal(t->tried_count, before);
        }
        r = queue_request_new(QUEUE_CHANNEL_START);
        r->channel = SLICE("tcp_local");
        assert_int_equal(queue_site_do(&t->q.site, &r, NULL), QUEUE_OK);
        test_quiet(t);
        assert_int_equal(t->tried_count, before + 1);
    }
    test_sound(&t->q);
}

/* --- results that cannot be recorded ------------------------------------------------------------------------------ */

/* The journal is away for a while: what was sent is recorded when it is back, and not sent again. */
static void scheduler__refused_results_are_kept(void **state)
{
    struct sched_test *t = *state;
    struct journal *j;
    struct queue_entry e;
    uint64_t id, other;

    sched_open(t, NULL);
    test_rule(t, DOES_NOTHING);
    id = test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    test_rule(t, DOES_OK);
    j = t->q.site.queue->journal;
    t->q.site.queue->journal = NULL;
    {
        struct fake_job *f = LIST_ENTRY(t->jobs.next, struct fake_job, link);
        struct queue_outcome o = { .state = RCPT_RELAYED, .status = SLICE("2.0.0") };

        job_result(f->job, &(struct job_result){ .entry = id, .outcomes = &o, .outcome_count = 1, .done = fake_done,
                                                 .arg = t });
        fake_end(f, JOB_OK);
    }
    test_quiet(t);
    assert_int_equal(t->done[QUEUE_OK] + t->done[QUEUE_GONE] + t->done[QUEUE_TEMP], 0);
    test_pass(t, 1500);
    assert_int_equal(t->done[QUEUE_OK], 0);
    t->q.site.queue->journal = j;
    assert_true(queue_is_active(t->q.site.queue, id));
    test_pass(t, 4000);
    assert_int_equal(t->done[QUEUE_OK], 1);
    assert_int_equal(t->tried_count, 1);
    assert_false(test_get(&t->q, id, &e));
    assert_int_equal(test_total(&t->q, NULL, "relayed"), 1);
    other = test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    assert_int_equal(t->tried[1].id, other);
    test_sound(&t->q);
}

static int deliver_fails(struct journal_tx *tx, struct queue_request *r, struct err *err)
{
    (void)tx;
    (void)r;
    return err_set(err, ERR_TEMP, "not now");
}

/* What delivers inside the operation did not happen: it comes again after a pause. */
static void scheduler__refused_deliveries_come_again(void **state)
{
    struct sched_test *t = *state;

    sched_open(t, NULL);
    t->deliver = deliver_fails;
    test_put(&t->q, "ims-ms", "alice", 1);
    test_quiet(t);
    assert_int_equal(t->tried_count, 1);
    assert_int_equal(t->done[QUEUE_TEMP], 1);
    test_pass(t, 1000);
    assert_int_equal(t->tried_count, 2);
    t->deliver = NULL;
    test_pass(t, 2000);
    assert_int_equal(t->tried_count, 3);
    assert_int_equal(t->done[QUEUE_OK], 1);
    assert_int_equal(test_total(&t->q, NULL, "queued"), 0);
    test_sound(&t->q);
}

/* --- age ---------------------------------------------------------------------------------------------------------- */

static void scheduler__warns_and_returns(void **state)
{
    struct sched_test *t = *state;
    struct queue_entry e;
    uint64_t id;

    sched_open(t, "{\"tcp_local\": {\"notices\": [\"PT1H\", \"PT2H\"], \"backoff\": [\"P1D\"]}}");
    test_rule(t, DOES_DEFER);
    id = test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    test_pass(t, 59 * MINUTE);
    assert_true(test_get(&t->q, id, &e));
    assert_int_equal(e.notices, 0);
    test_pass(t, MINUTE);
    test_pass(t, MINUTE); /* asked at least once a minute */
    assert_true(test_get(&t->q, id, &e));
    assert_int_equal(e.notices, 1);
    assert_int_equal(e.attempts, 1);
    test_pass(t, 58 * MINUTE);
    assert_true(test_get(&t->q, id, &e));
    test_pass(t, 2 * MINUTE);
    assert_false(test_get(&t->q, id, &e));
    assert_int_equal(test_total(&t->q, NULL, "returned"), 1);
    assert_int_equal(t->tried_count, 1);
    test_sound(&t->q);
}

/* What a notice says of each recipient, of the notices in the queue, in order. */
static bool notice_note(void *arg, const struct queue_entry *e)
{
    struct sched_test *t = ((void **)arg)[0];
    char octets[8192] = "";
    struct journal_view v;
    struct body_pin pin;

    if ((e->flags & QUEUE_IS_NOTICE) == 0)
        return true;
    assert_true(e->view.body_bytes < sizeof octets);
    assert_int_equal(journal_read_begin(t->q.site.j, &v, NULL), 0);
    assert_int_equal(journal_body_pin(t->q.site.j, &v, e->view.body_id, &pin, NULL), 0);
    journal_read_end(&v);
    assert_int_equal(journal_body_read(&pin, 0, octets, e->view.body_bytes, NULL), 0);
    journal_body_unpin(&pin);
    buf_printf(((void **)arg)[1], "%s%s;", strstr(octets, "Action: delayed") != NULL ? "delayed" : "failed",
               strstr(octets, "connection refused") != NULL ? " refused" : "");
    return true;
}

/* Few of 20 are probes of the dead host; the senders of the others hear why, too. */
static void scheduler__notices_of_what_was_never_tried_say_why(void **state)
{
    struct sched_test *t = *state;
    struct buf seen = BUF_INIT, want = BUF_INIT;
    struct queue_entry e;
    uint64_t last = 0;

    t->q.setup.with_notices = true;
    sched_open(t, "{\"tcp_local\": {\"notices\": [\"PT1H\", \"PT2H\"], \"backoff\": [\"P1D\"]}}");
    test_rule(t, DOES_UNREACHABLE);
    for (unsigned i = 0; i < 20; i++)
        last = test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    for (unsigned i = 0; i < 62; i++)
        test_pass(t, MINUTE);
    assert_true(test_get(&t->q, last, &e));
    assert_int_equal(e.attempts, 0);
    assert_int_equal(e.notices, 1);
    for (unsigned i = 0; i < 60; i++)
        test_pass(t, MINUTE);
    assert_int_equal(test_total(&t->q, "tcp_local", "returned"), 20);
    assert_true(t->tried_count < 20);
    queue_each(t->q.site.queue, 0, 100, notice_note, (void *[]){ t, &seen });
    for (unsigned i = 0; i < 40; i++)
        buf_put_str(&want, i < 20 ? "delayed refused;" : "failed refused;");
    assert_string_equal(buf_str(&seen), buf_str(&want));
    buf_free(&seen);
    buf_free(&want);
    test_sound(&t->q);
}

/* Returned while it waits for a stopped channel: nobody tries it afterwards. */
static void scheduler__returned_ones_leave_the_view(void **state)
{
    struct sched_test *t = *state;
    struct queue_request *r = queue_request_new(QUEUE_CHANNEL_STOP);

    sched_open(t, "{\"tcp_local\": {\"notices\": [\"PT1H\", \"PT2H\"]}}");
    r->channel = SLICE("tcp_local");
    assert_int_equal(queue_site_do(&t->q.site, &r, NULL), QUEUE_OK);
    test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    for (unsigned i = 0; i < 122; i++)
        test_pass(t, MINUTE);
    assert_int_equal(test_total(&t->q, NULL, "returned"), 1);
    r = queue_request_new(QUEUE_CHANNEL_START);
    r->channel = SLICE("tcp_local");
    assert_int_equal(queue_site_do(&t->q.site, &r, NULL), QUEUE_OK);
    test_quiet(t);
    assert_int_equal(t->starts, 0);
    test_sound(&t->q);
}

static void scheduler__hold_channel_holds(void **state)
{
    struct sched_test *t = *state;
    struct queue_entry e;
    uint64_t id;

    sched_open(t, NULL);
    id = test_put(&t->q, "hold", "alice", 1);
    test_quiet(t);
    assert_true(test_get(&t->q, id, &e));
    assert_int_equal(e.state, QUEUE_HELD);
    assert_int_equal(t->starts, 0);
    test_sound(&t->q);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, sched_setup, sched_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scheduler__keeps_the_schedules),
        T(scheduler__relays_at_once_and_leaves_nothing),
        T(scheduler__wishes_of_the_peer_and_no_attempt),
        T(scheduler__put_back_entries_pause),
        T(scheduler__probes_a_dead_destination),
        T(scheduler__run_probes_at_once),
        T(scheduler__run_ends),
        T(scheduler__clock_steps),
        T(scheduler__goes_on_after_a_restart),
        T(scheduler__hand_while_it_waits),
        T(scheduler__hand_while_it_is_active),
        T(scheduler__retry_by_hand),
        T(scheduler__channel_stops_and_starts),
        T(scheduler__refused_results_are_kept),
        T(scheduler__refused_deliveries_come_again),
        T(scheduler__warns_and_returns),
        T(scheduler__notices_of_what_was_never_tried_say_why),
        T(scheduler__returned_ones_leave_the_view),
        T(scheduler__hold_channel_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
