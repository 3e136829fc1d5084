/* model.c - the queue against a model of it, over reopening, rebuilding, emptying and refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"
#include "base/random.h"
#include "queue_model.h"
#include "reactor/thread.h"

struct fixture {
    char dir[64];
    struct queue_site site;
    struct queue_site_setup setup;
    struct qm model;
    char said[4000];
};

static void on_say(void *arg, const char *line)
{
    struct fixture *f = arg;
    size_t len = strlen(f->said);

    snprintf(f->said + len, sizeof f->said - len, "%s\n", line);
}

static void fixture_open(struct fixture *f, bool discard)
{
    struct err err = ERR_INIT;

    f->setup.dir = f->dir;
    f->setup.discard_index = discard;
    if (queue_site_open(&f->site, &f->setup, &err) < 0)
        fail_msg("opening: %s", err.text);
    assert_int_equal(f->site.report.damaged_places, 0);
}

static void fixture_sound(struct fixture *f, const char *when)
{
    struct err err = ERR_INIT;

    if (qm_compare(&f->model, &f->site, true, on_say, f) != 0 ||
        queue_site_check(&f->site, on_say, f, &err) != 0)
        fail_msg("%s: %s%s", when, f->said, err.text);
}

static char *dump_of(struct fixture *f)
{
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;

    if (queue_site_dump(&f->site, &out, &err) < 0)
        fail_msg("dump: %s", err.text);
    return buf_take_str(&out);
}

static int setup(void **state)
{
    struct fixture *f = mem_alloc(sizeof *f);

    diag_set_level(DIAG_ERROR);
    snprintf(f->dir, sizeof f->dir, "/tmp/posthouse-queue-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    qm_init(&f->model, 1, 4);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    pid_t pid;

    queue_site_close(&f->site);
    pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", f->dir, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
    mem_free(f);
    return 0;
}

static void rounds(struct fixture *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(qm_round(&f->model, &f->site, NULL, NULL), 0);
}

static void model__queue_does_what_the_model_says(void **state)
{
    struct fixture *f = *state;

    fixture_open(f, false);
    for (unsigned i = 0; i < 20; i++) {
        rounds(f, 15);
        fixture_sound(f, "after some rounds");
    }
}

/* young_max 16: most entries go into the tables at once. */
static void model__few_may_be_young(void **state)
{
    struct fixture *f = *state;

    f->setup.young_max = 16;
    fixture_open(f, false);
    for (unsigned i = 0; i < 20; i++) {
        rounds(f, 15);
        fixture_sound(f, "after some rounds");
    }
}

static void model__young_ones_grow_old(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;

    fixture_open(f, false);
    for (unsigned i = 0; i < 60; i++) {
        rounds(f, 5);
        clock_fake_advance(&f->site.clock, 2000);
        queue_tick(f->site.queue);
        if (i % 10 == 0)
            assert_int_equal(journal_settle(f->site.j, &err), 0);
        fixture_sound(f, "while growing old");
    }
    assert_true(counter_get(&queue_counters[QC_SETTLED]) > 0);
}

static void model__all_is_there_after_a_restart(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 12; i++) {
        f->setup.with_background = i % 2 == 0; /* the queue is whole at once all the same */
        fixture_open(f, i % 3 == 2);
        fixture_sound(f, i % 3 == 2 ? "after a rebuild" : "after a restart");
        rounds(f, 17);
        fixture_sound(f, "before a restart");
        queue_site_close(&f->site);
    }
}

/* The journal's own check rebuilds beside the running queue; then every other rebuild says the same. */
static void model__rebuilt_index_says_the_same(void **state)
{
    struct fixture *f = *state;
    struct journal_check_result found;
    struct err err = ERR_INIT;
    char *before, *after;

    fixture_open(f, false);
    for (unsigned i = 0; i < 4; i++) {
        rounds(f, 40);
        if (journal_check(f->site.j, on_say, f, &found, &err) != 0)
            fail_msg("%s%s", f->said, err.text);
        before = dump_of(f);
        queue_site_close(&f->site);
        fixture_open(f, true);
        after = dump_of(f);
        assert_string_equal(before, after);
        mem_free(before);
        mem_free(after);
        fixture_sound(f, "after the rebuild");
    }
}

static void model__segments_may_be_emptied_in_any_order(void **state)
{
    struct fixture *f = *state;
    struct journal_check_result found;
    struct err err = ERR_INIT;
    char *before, *after;
    int emptied = 0;

    fixture_open(f, false);
    for (unsigned i = 0; i < 8; i++) {
        rounds(f, 40);
        if (i % 2 == 1)
            assert_int_equal(journal_roll(f->site.j, &err), 0);
        int n = queue_site_empty(&f->site, 77 + i, i == 7 ? UINT32_MAX : 3, &err);

        if (n < 0)
            fail_msg("emptying: %s", err.text);
        emptied += n;
        fixture_sound(f, "after emptying");
        before = dump_of(f);
        queue_site_close(&f->site);
        fixture_open(f, true);
        after = dump_of(f);
        assert_string_equal(before, after);
        mem_free(before);
        mem_free(after);
        fixture_sound(f, "after emptying and a rebuild");
    }
    assert_true(emptied > 10);
    if (journal_check(f->site.j, on_say, f, &found, &err) != 0)
        fail_msg("%s%s", f->said, err.text);
}

/* --- readers meanwhile -------------------------------------------------------------------------------------------- */

struct reader_of_queue {
    struct fixture *f;
    struct thread thread;
    _Atomic bool stop;
    unsigned looks, faults;
    uint64_t last_id;
};

static bool rising(void *arg, const struct queue_entry *e)
{
    struct reader_of_queue *r = arg;

    r->faults += e->id <= r->last_id || e->rcpt_count == 0;
    r->last_id = e->id;
    return true;
}

static bool any_dest(void *arg, const struct queue_dest *d)
{
    struct reader_of_queue *r = arg;

    r->faults += d->entries == 0 || d->recipients < d->entries || d->held > d->entries;
    return true;
}

static void *reader_main(void *arg)
{
    struct reader_of_queue *r = arg;
    struct queue_site *site = &r->f->site;
    struct queue_brief due[16];
    int64_t next;

    while (!atomic_load(&r->stop)) {
        struct err err = ERR_INIT;
        uint64_t ids[4];

        r->faults += queue_site_check(site, on_say, r->f, &err) != 0; /* the ledger closes at any moment */
        r->last_id = 0;
        queue_each(site->queue, 0, UINT32_MAX, rising, r);
        queue_dests(site->queue, any_dest, r);
        queue_notice_due(site->queue, QUEUE_SITE_MS, ids, 4, &next);
        queue_due(site->queue, 4711, QUEUE_SITE_MS, NULL, NULL, due, 16, &next);
        queue_tick(site->queue);
        r->looks++;
    }
    return NULL;
}

static void model__readers_see_one_moment_only(void **state)
{
    struct fixture *f = *state;
    struct reader_of_queue r = { .f = f };
    struct err err = ERR_INIT;

    f->setup.young_max = 40;
    fixture_open(f, false);
    assert_int_equal(thread_start(&r.thread, "reader", 0, reader_main, &r, &err), 0);
    for (unsigned i = 0; i < 60; i++) {
        rounds(f, 10);
        clock_fake_advance(&f->site.clock, 300);
        if (i % 8 == 0)
            assert_int_equal(journal_roll(f->site.j, &err), 0);
    }
    atomic_store(&r.stop, true);
    thread_join(&r.thread);
    assert_true(r.looks > 0);
    if (r.faults != 0)
        fail_msg("%u faults in %u looks: %s", r.faults, r.looks, f->said);
    fixture_sound(f, "after all");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(model__queue_does_what_the_model_says, setup, teardown),
        cmocka_unit_test_setup_teardown(model__few_may_be_young, setup, teardown),
        cmocka_unit_test_setup_teardown(model__young_ones_grow_old, setup, teardown),
        cmocka_unit_test_setup_teardown(model__all_is_there_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(model__rebuilt_index_says_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(model__readers_see_one_moment_only, setup, teardown),
        cmocka_unit_test_setup_teardown(model__segments_may_be_emptied_in_any_order, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
