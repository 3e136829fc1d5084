/* walk.c - everything the log still says, in order, from history, segments and the tail. */
#include "care_site.h"
#include "journal/history.h"

struct seen {
    uint64_t first, last, count;
    uint64_t stop_at;      /* 0: do not stop */
    uint64_t hash;         /* of everything given */
    unsigned disorder;
    uint64_t jobs;         /* KV_JOB_ADD records */
    uint64_t bodies_with_payload;
};

static bool on_record(void *arg, const struct record *r, uint64_t segment, uint64_t offset)
{
    struct seen *s = arg;

    if (s->count++ == 0)
        s->first = r->seq;
    else if (r->seq != s->last + 1)
        s->disorder++;
    s->last = r->seq;
    s->hash = s->hash * 31 + slice_hash(r->payload, r->seq + r->type + r->object + r->part);
    s->hash = s->hash * 31 + (uint64_t)r->time_ms + segment * 7 + offset;
    s->jobs += r->type == KV_JOB_ADD;
    s->bodies_with_payload += (r->flags & RECORD_BODY) != 0 && r->payload.len != 0;
    return s->stop_at == 0 || r->seq < s->stop_at;
}

static struct seen walk(struct care *c, uint64_t from_seq)
{
    struct seen s = { 0 };
    struct err err = ERR_INIT;

    if (journal_walk(c->k.j, from_seq, on_record, &s, &err) < 0)
        fail_msg("walking: %s", err.text);
    return s;
}

static uint64_t hash_upto(struct care *c, uint64_t last)
{
    struct seen s = { .stop_at = last };
    struct err err = ERR_INIT;

    assert_int_equal(journal_walk(c->k.j, 0, on_record, &s, &err), 0);
    assert_int_equal(s.last, last);
    return s.hash;
}

static void walk__gives_every_record_once_and_in_order(void **state)
{
    struct seen s;
    struct care c;

    (void)state;
    care_begin(&c, 31);
    s = walk(&c, 0);
    assert_int_equal(s.count, 0);
    care_work(&c, 200);
    s = walk(&c, 0);
    assert_int_equal(s.first, 1);
    assert_int_equal(s.last, journal_durable_seq(c.k.j));
    assert_int_equal(s.count, s.last);
    assert_int_equal(s.disorder, 0);
    assert_int_equal(s.bodies_with_payload, 0);
    s = walk(&c, 100);
    assert_int_equal(s.first, 100);
    assert_int_equal(s.count, s.last - 99);
    s = walk(&c, s.last + 1);
    assert_int_equal(s.count, 0);
    care_end(&c);
}

/* Emptied in any order: the same records, from the same places, as before. */
static void walk__finds_records_of_deleted_segments(void **state)
{
    uint64_t last, before, numbers[512];
    struct seen s;
    struct care c;
    unsigned n;

    (void)state;
    care_begin(&c, 32);
    care_work(&c, 250);
    care_roll(&c);
    care_work(&c, 10);
    last = journal_durable_seq(c.k.j);
    before = hash_upto(&c, last);
    n = care_sealed(&c, numbers);
    assert_true(n >= 2);
    while (n != 0) {
        unsigned i = (unsigned)rng_below(&c.rng, n);

        care_empty(&c, numbers[i]);
        numbers[i] = numbers[--n];
        assert_int_equal(hash_upto(&c, last), before);
    }
    s = walk(&c, 0);
    assert_int_equal(s.disorder, 0);
    assert_int_equal(s.count, journal_durable_seq(c.k.j));
    care_reopen(&c, true);
    assert_int_equal(hash_upto(&c, last), before);
    care_end(&c);
}

static void walk__skips_what_history_and_segment_both_hold(void **state)
{
    struct segment_info info;
    struct err err = ERR_INIT;
    struct seen before, after;
    struct care c;

    (void)state;
    care_begin(&c, 33);
    care_work(&c, 150);
    care_roll(&c);
    before = walk(&c, 0);
    for (uint64_t at = 0; segment_dir_next(c.k.j->segments, &at, &info);)
        if (info.is_sealed)
            assert_int_equal(history_keep(c.k.j, info.header.number, &err), 0); /* then it crashed */
    after = walk(&c, 0);
    assert_int_equal(after.count, before.count);
    assert_int_equal(after.hash, before.hash);
    care_end(&c);
}

static void walk__stops_when_told(void **state)
{
    struct seen s = { .stop_at = 20 };
    struct err err = ERR_INIT;
    struct care c;

    (void)state;
    care_begin(&c, 34);
    care_work(&c, 100);
    care_roll(&c);
    care_empty_all(&c);
    assert_int_equal(journal_walk(c.k.j, 5, on_record, &s, &err), 0);
    assert_int_equal(s.first, 5);
    assert_int_equal(s.count, 16);
    care_end(&c);
}

static void walk__leaves_out_a_damaged_history_file(void **state)
{
    struct history_file *list;
    struct err err = ERR_INIT;
    struct history_head head;
    struct seen before, after;
    char path[200];
    struct care c;
    unsigned n;

    (void)state;
    care_begin(&c, 35);
    for (unsigned i = 0; i < 3; i++) {
        care_work(&c, 40);
        care_roll(&c);
    }
    care_empty_all(&c);
    before = walk(&c, 0);
    assert_int_equal(history_list(c.k.j, &list, &n, &err), 0);
    assert_true(n >= 3);
    assert_int_equal(history_head(c.k.j, list[1].number, &head, NULL, &err), 0);
    snprintf(path, sizeof(path), "%s/history/%016llx.hist", c.dir, (unsigned long long)list[1].number);
    assert_int_equal(truncate(path, 100), 0);
    diag_set_fd(open("/dev/null", O_WRONLY));
    after = walk(&c, 0);
    diag_set_fd(2);
    assert_int_equal(after.count, before.count - (head.last_seq - head.first_seq + 1));
    mem_free(list);
    care_end(&c);
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static void job(struct care *c, enum kv_what what)
{
    struct kv_client *client = &c->model.clients[0];
    struct kv_step step = { .client = 0, .n = client->sent + 1, .what = what, .length = 50, .job = client->sent };
    struct err err = ERR_INIT;

    if (kv_run(c->k.room, c->k.j, &step, c->model.plan.seed, &err) < 0)
        fail_msg("operation %u: %s", step.n, err.text);
    kv_client_apply(client, &step);
    client->sent = client->answered = step.n;
}

static void walk_keys__opens_only_files_that_may_have_them(void **state)
{
    slice first = SLICE("job-0-1"), third = SLICE("JOB-0-5"), nobody = SLICE("job-0-77"); /* made by operation 1, 5 */
    unsigned char object[8];
    slice by_id = slice_of(object, sizeof(object));
    const slice two[] = { third, first };
    struct err err = ERR_INIT;
    uint64_t numbers[512];
    struct seen s;
    struct care c;

    (void)state;
    care_begin(&c, 36);
    for (unsigned i = 0; i < 3; i++) { /* three segments with one job each: added and done */
        job(&c, KV_OP_JOB_ADD);
        job(&c, KV_OP_JOB_DONE);
        care_roll(&c);
    }
    assert_int_equal(care_sealed(&c, numbers), 3);
    for (unsigned i = 0; i < 3; i++)
        care_empty(&c, numbers[i]);
    care_roll(&c);
    s = walk(&c, 0);
    assert_int_equal(s.jobs, 3);

    s = (struct seen){ 0 };
    assert_int_equal(journal_walk_keys(c.k.j, 0, &first, 1, on_record, &s, &err), 0);
    assert_int_equal(s.jobs, 1);
    assert_int_equal(s.first, 1);
    s = (struct seen){ 0 };
    assert_int_equal(journal_walk_keys(c.k.j, 0, &third, 1, on_record, &s, &err), 0);
    assert_int_equal(s.jobs, 1);
    assert_true(s.first > 3);
    s = (struct seen){ 0 };
    assert_int_equal(journal_walk_keys(c.k.j, 0, two, 2, on_record, &s, &err), 0);
    assert_int_equal(s.jobs, 2);
    s = (struct seen){ 0 };
    assert_int_equal(journal_walk_keys(c.k.j, 0, &nobody, 1, on_record, &s, &err), 0);
    assert_int_equal(s.jobs, 0);
    assert_true(s.count > 0); /* segments that still exist are not filtered */
    s = (struct seen){ 0 };
    put_be64(object, 2); /* the job is the object: its id is the record behind its body */
    assert_int_equal(journal_walk_keys(c.k.j, 0, &by_id, 1, on_record, &s, &err), 0);
    assert_int_equal(s.jobs, 1);
    assert_int_equal(s.first, 1);
    care_end(&c);
}

/* A segment that tells of one object only. */
static void walk_keys__finds_a_single_object(void **state)
{
    struct kv_step steps[] = { { .n = 1, .what = KV_OP_CREATE }, { .n = 2, .what = KV_OP_SET, .key = 1, .length = 9 } };
    unsigned char object[8] = { 0, 0, 0, 0, 0, 0, 0, 1 };
    slice by_id = slice_of(object, sizeof(object));
    struct seen s = { 0 };
    struct err err = ERR_INIT;
    struct care c;

    (void)state;
    care_begin(&c, 37);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(kv_run(c.k.room, c.k.j, &steps[i], 37, &err), 0);
    care_roll(&c);
    care_empty_all(&c);
    assert_int_equal(journal_walk_keys(c.k.j, 0, &by_id, 1, on_record, &s, &err), 0);
    assert_int_equal(s.first, 1);
    care_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walk__gives_every_record_once_and_in_order),
        cmocka_unit_test(walk__finds_records_of_deleted_segments),
        cmocka_unit_test(walk__skips_what_history_and_segment_both_hold),
        cmocka_unit_test(walk__stops_when_told),
        cmocka_unit_test(walk__leaves_out_a_damaged_history_file),
        cmocka_unit_test(walk_keys__opens_only_files_that_may_have_them),
        cmocka_unit_test(walk_keys__finds_a_single_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
