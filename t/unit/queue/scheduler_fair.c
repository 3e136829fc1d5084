/* scheduler_fair.c - who gets a job: growth, limits, turns of destinations and of senders, what hangs. */
#include "scheduler_test.h"

static struct dest *only_dest(struct sched_test *t)
{
    size_t at = 0;
    void *d = NULL;

    assert_int_equal(idmap_count(&t->s->dests), 1);
    assert_true(idmap_next(&t->s->dests, &at, NULL, &d));
    return d;
}

static struct fake_job *hanging(struct sched_test *t)
{
    return LIST_ENTRY(t->jobs.next, struct fake_job, link);
}

/* The first entry of a job that hangs is relayed; the job stays. */
static void relay_one(struct sched_test *t, struct fake_job *f, unsigned i)
{
    fake_try(f, f->job->entries[i].id, DOES_OK);
    t->tried_count--; /* it was noted when it began to hang */
    test_quiet(t);
}

/* --- growth ------------------------------------------------------------------------------------------------------- */

static void fair__grows_by_one_per_success(void **state)
{
    struct sched_test *t = *state;
    struct fake_job *f;

    sched_open(t, "{\"tcp_local\": {\"threaddepth\": 2, \"host_jobs\": 4}}");
    test_rule(t, DOES_NOTHING);
    test_many(t, "a.example", 20, "s@x.example");
    test_quiet(t);
    assert_int_equal(t->starts, 1); /* one, though ten times the depth waits */
    f = hanging(t);
    assert_int_equal(f->job->entry_count, 2);
    relay_one(t, f, 0);
    assert_int_equal(t->starts, 2);
    relay_one(t, f, 1);
    assert_int_equal(t->starts, 3);
    f = LIST_ENTRY(t->jobs.prev, struct fake_job, link);
    relay_one(t, f, 0);
    assert_int_equal(t->starts, 4);
    relay_one(t, f, 1);
    assert_int_equal(t->starts, 4); /* host_jobs */
    assert_int_equal(only_dest(t)->concurrency, 4);
}

static void fair__grows_no_further_than_the_backlog(void **state)
{
    struct sched_test *t = *state;

    sched_open(t, "{\"tcp_local\": {\"threaddepth\": 10}}");
    test_rule(t, DOES_NOTHING);
    test_many(t, "a.example", 15, "s@x.example");
    test_quiet(t);
    assert_int_equal(hanging(t)->job->entry_count, 10);
    relay_one(t, hanging(t), 0);
    assert_int_equal(t->starts, 2); /* 14 are more than one is enough for */
    relay_one(t, hanging(t), 1);
    relay_one(t, hanging(t), 2);
    assert_int_equal(t->starts, 2);
    assert_int_equal(only_dest(t)->concurrency, 2);
}

static void fair__limited_takes_back(void **state)
{
    struct sched_test *t = *state;
    struct dest *d;

    sched_open(t, "{\"tcp_local\": {\"threaddepth\": 1, \"host_jobs\": 5}}");
    test_rule(t, DOES_NOTHING);
    test_many(t, "a.example", 30, "s@x.example");
    test_quiet(t);
    for (unsigned i = 0; i < 4; i++)
        relay_one(t, LIST_ENTRY(t->jobs.prev, struct fake_job, link), 0);
    d = only_dest(t);
    assert_int_equal(d->jobs, 5);
    fake_end(hanging(t), JOB_LIMITED);
    test_quiet(t);
    assert_int_equal(d->jobs, 4);
    assert_int_equal(d->concurrency, 4);
    assert_false(d->is_dead);
    fake_end(hanging(t), JOB_LIMITED);
    test_quiet(t);
    assert_int_equal(d->concurrency, 3);
    relay_one(t, LIST_ENTRY(t->jobs.prev, struct fake_job, link), 0);
    assert_int_equal(d->concurrency, 3); /* no growth for a minute */
    test_pass(t, MINUTE);
    t->is_silent = true;
    test_rule(t, DOES_OK);
    fake_let_go(t, JOB_OK);
    test_quiet(t);
    test_pass(t, 1000);
    assert_int_equal(test_total(&t->q, NULL, "queued"), 0);
    assert_true(d->concurrency > 3);
    test_sound(&t->q);
}

/* All its jobs find it unreachable: one collapse, all entries but the probe's untouched. */
static void fair__collapses_once(void **state)
{
    struct sched_test *t = *state;
    int64_t before = counter_get(&scheduler_counters[SC_COLLAPSES]);
    struct dest *d;

    sched_open(t, "{\"tcp_local\": {\"threaddepth\": 1, \"host_jobs\": 3}}");
    test_rule(t, DOES_NOTHING);
    test_many(t, "a.example", 10, "s@x.example");
    test_quiet(t);
    relay_one(t, hanging(t), 0);
    relay_one(t, LIST_ENTRY(t->jobs.prev, struct fake_job, link), 0);
    d = only_dest(t);
    assert_int_equal(d->jobs, 3);
    fake_let_go(t, JOB_UNREACHABLE);
    test_quiet(t);
    assert_true(d->is_dead);
    assert_int_equal(d->failures, 1);
    assert_int_equal(d->jobs, 0);
    assert_int_equal(d->active, 0);
    assert_int_equal(d->count, 0);
    assert_int_equal(counter_get(&scheduler_counters[SC_COLLAPSES]), before + 1);
    assert_string_equal(d->diag, "connection refused");
    test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    assert_int_equal(t->starts, 3);
    test_sound(&t->q);
}

static void fair__store_keeps_order(void **state)
{
    struct sched_test *t = *state;

    sched_open(t, "{\"ims-ms\": {\"threaddepth\": 1}}");
    test_rule(t, DOES_NOTHING);
    for (unsigned i = 0; i < 5; i++)
        test_put(&t->q, "ims-ms", "alice", 1);
    test_quiet(t);
    relay_one(t, hanging(t), 0);
    test_quiet(t);
    assert_int_equal(t->starts, 1);
    assert_int_equal(only_dest(t)->jobs, 1);
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

struct limit {
    const char *pools, *channels;
    unsigned starts;
};

static void fair__limits_hold(void **state)
{
    static const struct limit rows[] = {
        { "{\"SMTP_POOL\": {\"job_limit\": 4}}", NULL, 4 },
        { "{\"SMTP_POOL\": {\"job_limit\": 4}}", "{\"tcp_local\": {\"maxjobs\": 3}}", 3 },
        { "{\"SMTP_POOL\": {\"job_limit\": 1}}", NULL, 1 },
        { "{\"SLOW\": {\"job_limit\": 2}}", "{\"tcp_local\": {\"pool\": \"SLOW\"}}", 2 },
        { NULL, NULL, 12 },
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct sched_test *t;
        void *one;

        sched_setup(&one);
        t = one;
        t->q.setup.pools = rows[i].pools;
        sched_open(t, rows[i].channels);
        test_rule(t, DOES_NOTHING);
        test_many(t, "h%u.example", 12, "s@x.example");
        test_quiet(t);
        if (t->starts != rows[i].starts)
            fail_msg("row %u: %u jobs", i, t->starts);
        test_rule(t, DOES_OK);
        fake_let_go(t, JOB_OK);
        test_quiet(t);
        test_pass(t, 1000);
        assert_int_equal(test_total(&t->q, NULL, "queued"), 0);
        assert_int_equal(counter_get(&scheduler_counters[SC_JOBS]), 0);
        sched_teardown(&one);
    }
}

/* What hangs gives room after a second, and from then on has half of the pool at most. */
static void fair__hanging_hosts_leave_room(void **state)
{
    struct sched_test *t = *state;
    unsigned before;

    t->q.setup.pools = "{\"SMTP_POOL\": {\"job_limit\": 4}}";
    sched_open(t, NULL);
    memset(t->rules, 0, sizeof t->rules);
    t->rules[0] = (struct fake_rule){ "good.example", DOES_OK };
    t->rules[1] = (struct fake_rule){ NULL, DOES_NOTHING };
    test_many(t, "h%u.example", 100, "s@x.example");
    test_quiet(t);
    assert_int_equal(t->starts, 4);
    test_pass(t, 1000);
    assert_int_equal(t->starts, 6); /* four are stalled and count for two */
    for (unsigned i = 0; i < 30; i++)
        test_pass(t, 1000);
    assert_int_equal(t->starts, 40); /* ten times the limit, never more */
    assert_int_equal(counter_get(&scheduler_counters[SC_STALLED]), 40);
    fake_let_go(t, JOB_OK); /* their destinations are known as slow now */
    test_quiet(t);
    for (unsigned i = 0; i < 70; i++)
        test_pass(t, 1000);
    fake_let_go(t, JOB_OK);
    test_quiet(t);
    for (unsigned i = 0; i < 70; i++)
        test_pass(t, 1000);
    fake_let_go(t, JOB_OK);
    test_quiet(t); /* all 100 hung at least once, now: at most half */
    test_pass(t, 70000);
    test_pass(t, 1000);
    test_pass(t, 1000);
    assert_in_range(counter_get(&scheduler_counters[SC_JOBS]), 1, 2);
    before = t->tried_count;
    test_put(&t->q, "tcp_local", "good.example", 1);
    test_quiet(t); /* no time passes */
    assert_int_equal(t->tried_count, before + 1);
    assert_int_equal(test_total(&t->q, NULL, "relayed"), 1);
    test_sound(&t->q);
}

static void fair__progress_is_no_stall(void **state)
{
    struct sched_test *t = *state;

    sched_open(t, NULL);
    test_rule(t, DOES_NOTHING);
    test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    for (unsigned i = 0; i < 5; i++) {
        test_pass(t, 900);
        job_progress(hanging(t)->job);
    }
    assert_int_equal(counter_get(&scheduler_counters[SC_STALLED]), 0);
    test_pass(t, 1000);
    test_pass(t, 1000);
    assert_int_equal(counter_get(&scheduler_counters[SC_STALLED]), 1);
    assert_true(only_dest(t)->is_slow);
    job_progress(hanging(t)->job);
    test_pass(t, 999);
    test_pass(t, 0);
    job_progress(hanging(t)->job);
    test_pass(t, 1);
    assert_int_equal(counter_get(&scheduler_counters[SC_STALLED]), 0);
    relay_one(t, hanging(t), 0);
    assert_false(only_dest(t)->is_slow); /* a success */
}

/* --- turns -------------------------------------------------------------------------------------------------------- */

/* One destination with thousands, a hundred with one each, four jobs: the hundred do not wait for the thousands. */
static void fair__small_ones_do_not_wait_for_a_large_one(void **state)
{
    struct sched_test *t = *state;
    unsigned last = 0;

    t->q.setup.pools = "{\"SMTP_POOL\": {\"job_limit\": 4}}";
    sched_open(t, "{\"tcp_local\": {\"maxjobs\": 4}}");
    test_rule(t, DOES_NOTHING);
    test_many(t, "large.example", 2000, "s@x.example");
    test_quiet(t);
    test_many(t, "h%u.example", 100, "s@x.example");
    test_rule(t, DOES_OK);
    while (!list_is_empty(&t->jobs)) {
        struct fake_job *f = hanging(t);

        for (unsigned i = 0; i < f->job->entry_count; i++)
            fake_try(f, f->job->entries[i].id, DOES_OK);
        fake_end(f, JOB_OK);
    }
    test_quiet(t);
    assert_int_equal(test_total(&t->q, NULL, "relayed"), 2100);
    for (unsigned i = 0; i < t->tried_count; i++)
        if (strcmp(t->tried[i].host, "large.example") != 0)
            last = i;
    assert_true(last < 500); /* of 2,100 */
    test_sound(&t->q);
}

/* A connection is kept while nobody else waits, and given away after its share when somebody does. */
static void fair__jobs_give_way_only_to_others(void **state)
{
    struct sched_test *t = *state;

    t->q.setup.pools = "{\"SMTP_POOL\": {\"job_limit\": 1}}";
    sched_open(t, "{\"tcp_local\": {\"threaddepth\": 5}}");
    test_rule(t, DOES_NOTHING);
    test_many(t, "a.example", 100, "s@x.example");
    test_quiet(t);
    test_rule(t, DOES_OK);
    fake_let_go(t, JOB_OK);
    test_quiet(t);
    t->tried_count = 0;
    test_pass(t, 1000);
    assert_int_equal(test_total(&t->q, NULL, "relayed"), 100);
    assert_int_equal(t->starts, 2); /* one of them hung */
    test_rule(t, DOES_NOTHING);
    test_many(t, "a.example", 50, "s@x.example");
    test_quiet(t);
    test_many(t, "b.example", 50, "s@x.example");
    test_quiet(t);
    test_rule(t, DOES_OK);
    fake_run(hanging(t), DOES_OK);
    test_quiet(t);
    assert_int_equal(test_total(&t->q, NULL, "relayed"), 200);
    assert_in_range(t->starts, 7, 25);
    test_sound(&t->q);
}

static void fair__senders_take_turns(void **state)
{
    struct sched_test *t = *state;
    uint64_t small;
    unsigned place = 0;

    sched_open(t, "{\"tcp_local\": {\"threaddepth\": 1}}");
    test_rule(t, DOES_NOTHING);
    test_many(t, "a.example", 300, "news@bulk.example"); /* more than are in view */
    test_quiet(t);
    small = test_many(t, "a.example", 2, "alice@small.example");
    test_quiet(t);
    test_rule(t, DOES_OK);
    t->tried_count = 0;
    relay_one(t, hanging(t), 0);
    fake_let_go(t, JOB_OK);
    test_quiet(t);
    assert_int_equal(test_total(&t->q, NULL, "relayed"), 302);
    while (t->tried[place].id != small)
        place++;
    assert_true(place <= 4);
    while (t->tried[place].id != small + 1 && t->tried[place].host[0] != 0 && place < 20)
        place++;
    test_sound(&t->q);
}

/* Few in view: strictly by priority and time. */
static void fair__order_is_priority_and_time(void **state)
{
    static const enum queue_priority given[] = { QUEUE_NORMAL, QUEUE_NONURGENT, QUEUE_NORMAL, QUEUE_URGENT,
                                                 QUEUE_NONURGENT, QUEUE_URGENT, QUEUE_NORMAL };
    static const unsigned want[] = { 3, 5, 0, 2, 6, 1, 4 };
    struct sched_test *t = *state;
    uint64_t ids[ARRAY_LEN(given)];

    sched_open(t, "{\"tcp_local\": {\"maxjobs\": 1}}");
    memset(t->rules, 0, sizeof t->rules);
    t->rules[0] = (struct fake_rule){ "hang.example", DOES_NOTHING };
    test_put(&t->q, "tcp_local", "hang.example", 1);
    test_quiet(t);
    t->tried_count = 0;
    for (unsigned i = 0; i < ARRAY_LEN(given); i++) {
        struct queue_entry e = test_entry(&t->q, "tcp_local", "a.example", 1);

        e.priority = given[i];
        ids[i] = test_put_entry(&t->q, &e);
        test_quiet(t);
    }
    fake_let_go(t, JOB_OK);
    test_quiet(t);
    for (unsigned i = 0; i < ARRAY_LEN(want); i++)
        if (t->tried[i].id != ids[want[i]])
            fail_msg("place %u", i);
}

/* --- results in parts, records, rows ------------------------------------------------------------------------------ */

static void fair__partial_results_keep_it_open(void **state)
{
    struct sched_test *t = *state;
    struct queue_outcome o[2] = { { .rcpt = 0, .state = RCPT_RELAYED, .status = SLICE("2.0.0") },
                                  { .rcpt = 1, .state = RCPT_WAITING, .status = SLICE("4.2.2") } };
    struct queue_entry e;
    struct fake_job *f;
    uint64_t id;

    sched_open(t, NULL);
    test_rule(t, DOES_NOTHING);
    id = test_put(&t->q, "tcp_local", "a.example", 4);
    test_quiet(t);
    f = hanging(t);
    job_result(f->job, &(struct job_result){ .entry = id, .outcomes = o, .outcome_count = 2, .is_partial = true });
    test_quiet(t);
    assert_true(test_get(&t->q, id, &e));
    assert_int_equal(e.attempts, 0);
    assert_int_equal(e.rcpts[0].state, RCPT_RELAYED);
    assert_true(scheduler_is_active(t->s, id));
    assert_int_equal(t->starts, 1);
    o[0].rcpt = 2;
    o[1].rcpt = 3;
    job_result(f->job, &(struct job_result){ .entry = id, .outcomes = o, .outcome_count = 2 });
    fake_let_go(t, JOB_OK);
    test_quiet(t);
    assert_true(test_get(&t->q, id, &e));
    assert_int_equal(e.attempts, 1);
    assert_int_equal(e.due_ms, NOW + 60 * MINUTE);
    assert_int_equal(test_total(&t->q, NULL, "relayed"), 2);
    assert_int_equal(test_total(&t->q, NULL, "queued"), 2);
    assert_false(scheduler_is_active(t->s, id));
    test_sound(&t->q);
}

/* In a message that is too old, those that the part does not speak of are not given up with it. */
static void fair__partial_results_spare_the_others(void **state)
{
    struct sched_test *t = *state;
    struct queue_outcome o = { .rcpt = 1, .state = RCPT_WAITING, .status = SLICE("4.2.2") };
    struct queue_entry e;
    uint64_t id;

    sched_open(t, NULL);
    test_rule(t, DOES_NOTHING);
    id = test_put(&t->q, "tcp_local", "a.example", 3);
    test_quiet(t);
    test_pass(t, 13 * 24 * 60 * MINUTE);
    job_result(hanging(t)->job,
               &(struct job_result){ .entry = id, .outcomes = &o, .outcome_count = 1, .is_partial = true });
    test_quiet(t);
    assert_true(test_get(&t->q, id, &e));
    assert_int_equal(e.rcpts[0].state, RCPT_WAITING);
    assert_int_equal(e.rcpts[1].state, RCPT_RETURNED);
    assert_int_equal(e.rcpts[2].state, RCPT_WAITING);
}

/* While the journal is far behind nobody gets more; a connection waits for its answer, it does not end. */
static void fair__the_journal_catches_up(void **state)
{
    struct sched_test *t = *state;
    struct fake_job *f;

    sched_open(t, "{\"tcp_local\": {\"host_jobs\": 1}}");
    test_rule(t, DOES_NOTHING);
    test_many(t, "a.example", 15, "s@x.example");
    test_quiet(t);
    test_rule(t, DOES_OK);
    f = hanging(t);
    for (unsigned i = 0; i < 10; i++)
        relay_one(t, f, i);
    atomic_fetch_add(&t->s->inflight, INFLIGHT_MAX + 1);
    list_remove(&f->link);
    job_more(f->job, 10, t->reactor, fake_more, f);
    test_put(&t->q, "tcp_local", "b.example", 1);
    while (reactor_turn(t->reactor))
        ;
    assert_int_equal(t->ends, 0);
    assert_int_equal(t->starts, 1);
    atomic_fetch_sub(&t->s->inflight, INFLIGHT_MAX + 1);
    scheduler_again(t->s);
    test_quiet(t);
    assert_int_equal(t->starts, 2);
    assert_int_equal(t->ends, 2);
    assert_int_equal(test_total(&t->q, NULL, "relayed"), 16);
}

/* What another has marked meanwhile is not given to a job, though it is in view. */
static void fair__active_entries_are_left_alone(void **state)
{
    struct sched_test *t = *state;
    uint64_t id;

    sched_open(t, "{\"tcp_local\": {\"maxjobs\": 1}}");
    memset(t->rules, 0, sizeof t->rules);
    t->rules[0] = (struct fake_rule){ "hang.example", DOES_NOTHING };
    test_put(&t->q, "tcp_local", "hang.example", 1);
    test_quiet(t);
    id = test_put(&t->q, "tcp_local", "a.example", 1);
    test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    assert_true(queue_mark_active(t->q.site.queue, id, true));
    fake_let_go(t, JOB_STOPPED);
    test_quiet(t);
    for (unsigned i = 0; i < t->tried_count; i++)
        assert_true(t->tried[i].id != id);
    assert_int_equal(test_total(&t->q, NULL, "relayed"), 1);
}

static void tally_find(void *arg, const struct tally_row *row)
{
    if (slice_eq(row->channel, SLICE("tcp_local")))
        *(struct tally_row *)arg = *row;
}

static void fair__channels_are_counted(void **state)
{
    struct sched_test *t = *state;
    struct tally_row row = { 0 };

    sched_open(t, NULL);
    memset(t->rules, 0, sizeof t->rules);
    t->rules[0] = (struct fake_rule){ "half.example", DOES_HALF };
    t->rules[1] = (struct fake_rule){ "bad.example", DOES_REFUSE };
    test_put(&t->q, "tcp_local", "half.example", 3);
    test_put(&t->q, "tcp_local", "bad.example", 2);
    test_put(&t->q, "tcp_local", "a.example", 1);
    test_quiet(t);
    test_rule(t, DOES_OK);
    test_pass(t, 60 * MINUTE);
    tally_each(scheduler_tally(t->s), tally_find, &row);
    assert_int_equal(row.counts[TALLY_DELIVERED].messages, 3);
    assert_int_equal(row.counts[TALLY_DELIVERED].recipients, 4);
    assert_int_equal(row.counts[TALLY_ATTEMPTED].messages, 1);
    assert_int_equal(row.counts[TALLY_ATTEMPTED].recipients, 2);
    assert_int_equal(row.counts[TALLY_FAILED].messages, 1);
    assert_int_equal(row.counts[TALLY_FAILED].recipients, 2);
    assert_int_equal(row.numbers[TALLY_FIRST], 2);
    assert_int_equal(row.numbers[TALLY_QUEUE_S], 3600);
    assert_int_equal(row.numbers[TALLY_QUEUE_COUNT], 3);
    assert_int_equal(row.numbers[TALLY_QUEUE_FIRST_S], 0);
    assert_int_equal(row.numbers[TALLY_OUT_ASSOCS], 4);
    tally_clear(scheduler_tally(t->s));
    row = (struct tally_row){ 0 };
    tally_each(scheduler_tally(t->s), tally_find, &row);
    assert_int_equal(row.channel.len, 0);
}

struct rows_seen {
    struct dest_row dests[4];
    struct job_row jobs[4];
    unsigned dest_count, job_count;
};

static void on_dest_row(void *arg, const struct dest_row *row)
{
    struct rows_seen *r = arg;

    r->dests[r->dest_count++] = *row;
}

static void on_job_row(void *arg, const struct job_row *row)
{
    struct rows_seen *r = arg;

    r->jobs[r->job_count++] = *row;
}

static const struct dest_row *row_of(const struct rows_seen *r, const char *host)
{
    for (unsigned i = 0; i < r->dest_count; i++)
        if (strcmp(r->dests[i].host, host) == 0)
            return &r->dests[i];
    fail_msg("no row of %s", host);
    return NULL;
}

static void fair__rows_show_it(void **state)
{
    struct sched_test *t = *state;
    struct rows_seen seen = { 0 };
    const struct dest_row *row;
    uint64_t hung;

    sched_open(t, NULL);
    memset(t->rules, 0, sizeof t->rules);
    t->rules[0] = (struct fake_rule){ "dead.example", DOES_UNREACHABLE };
    t->rules[1] = (struct fake_rule){ "hang.example", DOES_NOTHING };
    t->rules[2] = (struct fake_rule){ "late.example", DOES_DEFER };
    hung = test_many(t, "hang.example", 15, "s@x.example");
    test_many(t, "dead.example", 4, "s@x.example");
    test_put(&t->q, "tcp_local", "late.example", 1);
    test_hand(&t->q, QUEUE_HOLD, test_put(&t->q, "tcp_local", "late.example", 1));
    test_quiet(t);
    assert_int_equal(scheduler_dests(t->s, on_dest_row, &seen), 0);
    assert_int_equal(scheduler_jobs(t->s, on_job_row, &seen), 0);
    assert_int_equal(seen.dest_count, 3);
    row = row_of(&seen, "dead.example");
    assert_true(row->is_dead);
    assert_string_equal(row->diag, "connection refused");
    assert_int_equal(row->waiting, 3);
    assert_int_equal(row->deferred, 1);
    assert_int_equal(row->active, 0);
    assert_int_equal(row->next_ms, NOW + MINUTE);
    assert_int_equal(row->oldest_ms, NOW);
    row = row_of(&seen, "hang.example");
    assert_int_equal(row->active, 10);
    assert_int_equal(row->waiting, 5);
    assert_int_equal(row->jobs, 1);
    assert_int_equal(row->concurrency, 1);
    row = row_of(&seen, "late.example");
    assert_int_equal(row->held, 1);
    assert_int_equal(row->deferred, 1);
    assert_int_equal(row->waiting, 0);
    assert_string_equal(row->diag, "smtp;450 later");
    assert_int_equal(seen.job_count, 1);
    assert_int_equal(seen.jobs[0].entry, hung);
    assert_int_equal(seen.jobs[0].entries, 10);
    assert_string_equal(seen.jobs[0].host, "hang.example");
}

/* A reload changes limits of what waits; jobs keep the rules they began with. */
static void fair__reload_changes_limits(void **state)
{
    struct sched_test *t = *state;

    sched_open(t, "{\"tcp_local\": {\"maxjobs\": 2}}");
    test_rule(t, DOES_NOTHING);
    test_many(t, "h%u.example", 6, "s@x.example");
    test_quiet(t);
    assert_int_equal(t->starts, 2);
    t->q.site.setup.channels = "{\"tcp_local\": {\"maxjobs\": 5}}";
    queue_site_configure(&t->q.site);
    scheduler_reload(t->s, t->q.site.queue->conf);
    test_quiet(t);
    assert_int_equal(t->starts, 5);
    assert_int_equal(hanging(t)->job->conf->maxjobs, 2);
    t->q.site.setup.channels = NULL;
}

/* Failed recipients and their notices are one batch. */
static void fair__failures_make_notices(void **state)
{
    struct sched_test *t = *state;

    t->q.setup.with_notices = true;
    sched_open(t, NULL);
    memset(t->rules, 0, sizeof t->rules);
    t->rules[0] = (struct fake_rule){ "bad.example", DOES_REFUSE };
    test_put(&t->q, "tcp_local", "bad.example", 2);
    test_quiet(t);
    assert_int_equal(test_total(&t->q, "tcp_local", "failed"), 2);
    assert_int_equal(test_total(&t->q, "process", "created"), 1);
    test_sound(&t->q);
}

/* 10,000 destinations, half of them dead: memory of each, and nobody looks at them while nothing is due. */
static void fair__many_destinations_are_cheap(void **state)
{
    struct sched_test *t = *state;
    size_t at = 0, bytes = 0;
    void *value;

    t->is_silent = true;
    sched_open(t, NULL);
    test_rule(t, DOES_UNREACHABLE);
    test_many(t, "d%u.example.org", 2000, "s@x.example");
    test_rule(t, DOES_UNREACHABLE);
    test_quiet(t);
    assert_int_equal(counter_get(&scheduler_counters[SC_DEAD]), 2000);
    while (idmap_next(&t->s->dests, &at, NULL, &value)) {
        const struct dest *d = value;

        bytes += sizeof *d + d->host_len + 1 + d->cap * sizeof *d->view + (d->diag != NULL ? strlen(d->diag) + 1 : 0);
        assert_null(d->view);
    }
    bytes += t->s->wakes.cap * sizeof(void *) + t->s->dests.cap * 16;
    assert_true(bytes / 2000 < 300);
    test_sound(&t->q);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, sched_setup, sched_teardown)
    const struct CMUnitTest tests[] = {
        T(fair__grows_by_one_per_success),
        T(fair__grows_no_further_than_the_backlog),
        T(fair__limited_takes_back),
        T(fair__collapses_once),
        T(fair__store_keeps_order),
        cmocka_unit_test(fair__limits_hold),
        T(fair__hanging_hosts_leave_room),
        T(fair__progress_is_no_stall),
        T(fair__small_ones_do_not_wait_for_a_large_one),
        T(fair__jobs_give_way_only_to_others),
        T(fair__senders_take_turns),
        T(fair__order_is_priority_and_time),
        T(fair__partial_results_keep_it_open),
        T(fair__partial_results_spare_the_others),
        T(fair__active_entries_are_left_alone),
        T(fair__the_journal_catches_up),
        T(fair__channels_are_counted),
        T(fair__rows_show_it),
        T(fair__reload_changes_limits),
        T(fair__failures_make_notices),
        T(fair__many_destinations_are_cheap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
