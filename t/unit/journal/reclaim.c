/* reclaim.c - emptying segments in any order, through crashes, and what the policy chooses. */
#include "care_site.h"

#include <sys/wait.h>

/* --- any order ---------------------------------------------------------------------------------------------------- */

/* No row of a body names a segment that is gone. */
static void places_exist(struct care *c)
{
    struct journal_cursor cursor;
    struct journal_view v;
    struct err err = ERR_INIT;
    struct segment_info info;
    slice key, value;

    assert_int_equal(journal_read_begin(c->k.j, &v, &err), 0);
    journal_cursor_begin(&cursor, &v, TABLE_BODY);
    while (journal_cursor_next(&cursor, &key, &value))
        assert_true(segment_dir_find(c->k.j->segments, get_le64(value.ptr), &info));
    journal_cursor_end(&cursor);
    journal_cursor_begin(&cursor, &v, TABLE_SEGMENT);
    while (journal_cursor_next(&cursor, &key, &value))
        assert_true(segment_dir_find(c->k.j->segments, get_be64(key.ptr), &info));
    journal_cursor_end(&cursor);
    journal_read_end(&v);
}

static void empty__any_order_changes_nothing(void **state)
{
    static const uint64_t seeds[] = { 1, 2, 3, 4 };

    (void)state;
    for (unsigned i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        struct buf before = BUF_INIT, after = BUF_INIT;
        struct care c;

        print_message("seed %llu\n", (unsigned long long)seeds[i]);
        care_begin(&c, seeds[i]);
        for (unsigned round = 0; round < 4; round++) {
            uint64_t numbers[512];
            unsigned n;

            care_work(&c, 250);
            care_roll(&c);
            care_dump(&c, &before);
            n = care_sealed(&c, numbers);
            assert_true(n >= 1);
            for (unsigned left = n; left != 0;) {
                unsigned k = (unsigned)rng_below(&c.rng, left);

                care_empty(&c, numbers[k]);
                numbers[k] = numbers[--left];
                care_same(&c, false);
            }
            places_exist(&c);
            care_dump(&c, &after);
            assert_true(slice_eq(buf_slice(&before), buf_slice(&after)));
            care_is_sound(&c);
            care_reopen(&c, round % 2 == 0);
            assert_int_equal(c.k.report.damaged_places, 0);
            assert_int_equal(c.k.report.lost_records, 0);
            care_same(&c, false);
            care_dump(&c, &after);
            assert_true(slice_eq(buf_slice(&before), buf_slice(&after)));
        }
        buf_free(&before);
        buf_free(&after);
        care_end(&c);
    }
}

/* --- what must not be emptied ------------------------------------------------------------------------------------- */

static void empty__refuses_the_tail_and_strangers(void **state)
{
    struct log_segment *list;
    struct err err = ERR_INIT;
    struct care c;
    unsigned n;

    (void)state;
    care_begin(&c, 5);
    care_work(&c, 20);
    assert_int_equal(log_segments(c.k.j, &list, &n, &err), 0);
    assert_int_equal(journal_empty_segment(c.k.j, list[n - 1].info.header.number, 0, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    assert_int_equal(journal_empty_segment(c.k.j, 0x7777, 0, &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
    mem_free(list);
    care_same(&c, false);
    care_end(&c);
}

/* A spooled body that no batch has taken yet must stay. */
static void empty__leaves_a_spooled_body_to_its_writer(void **state)
{
    static const unsigned char octets[20000] = "From: somebody";
    uint64_t numbers[512];
    struct body_writer *w;
    struct err err = ERR_INIT;
    struct care c;

    (void)state;
    care_begin(&c, 6);
    w = body_writer_new(c.k.j);
    assert_int_equal(body_writer_write(w, slice_of(octets, sizeof(octets)), &err), 0);
    assert_int_equal(body_writer_finish(w, &err), 0);
    assert_int_equal(care_sealed(&c, numbers), 1);
    assert_int_equal(journal_empty_segment(c.k.j, numbers[0], 0, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    assert_int_equal(journal_reclaim(c.k.j, &err), 0);
    assert_int_equal(care_sealed(&c, numbers), 1);
    body_writer_destroy(&w);
    assert_int_equal(care_sealed(&c, numbers), 0);
    care_end(&c);
}

/* How many bodies with references lie in the segment; the last of them. */
static unsigned bodies_in(struct care *c, uint64_t number, uint64_t *id, struct body_info *b)
{
    struct journal_cursor cursor;
    struct journal_view v;
    struct err err = ERR_INIT;
    struct body_info found;
    slice key, value;
    unsigned n = 0;

    assert_int_equal(journal_read_begin(c->k.j, &v, &err), 0);
    journal_cursor_begin(&cursor, &v, TABLE_BODY);
    while (journal_cursor_next(&cursor, &key, &value)) {
        if (!journal_body_info(&v, get_be64(key.ptr), &found) || found.segment != number || found.refs == 0 ||
            found.length == 0)
            continue;
        *id = get_be64(key.ptr);
        *b = found;
        n++;
    }
    journal_cursor_end(&cursor);
    journal_read_end(&v);
    return n;
}

static void flip(struct care *c, uint64_t number, const char *suffix, uint64_t at)
{
    char path[200];
    unsigned char octet;
    int fd;

    snprintf(path, sizeof(path), "%s/journal/%016llx.%s", c->dir, (unsigned long long)number, suffix);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &octet, 1, (off_t)at), 1);
    octet ^= 0x40;
    assert_int_equal(pwrite(fd, &octet, 1, (off_t)at), 1);
    close(fd);
}

/* Reclaims everything that may go; how often the segment is spoken of. */
static unsigned reclaim_says(struct care *c, uint64_t number)
{
    struct journal_conf conf = c->k.j->conf;
    struct err err = ERR_INIT;
    FILE *log = tmpfile();
    char line[400], word[40];
    unsigned n = 0;

    conf.keep_days = 0;
    conf.reclaim_percent = 100;
    journal_configure(c->k.j, &conf);
    snprintf(word, sizeof(word), "segment %016llx is kept", (unsigned long long)number);
    assert_non_null(log);
    diag_set_fd(fileno(log));
    diag_set_level(DIAG_WARN);
    journal_reclaim(c->k.j, &err);
    diag_set_fd(2);
    diag_set_level(DIAG_ERROR);
    rewind(log);
    while (fgets(line, sizeof(line), log) != NULL)
        n += strstr(line, word) != NULL;
    fclose(log);
    return n;
}

static void empty__keeps_a_damaged_body(void **state)
{
    int64_t kept = counter_get(&journal_counters[JC_KEPT]);
    uint64_t numbers[512], id = 0, other;
    struct journal_view v;
    struct err err = ERR_INIT;
    struct body_info b, now;
    struct buf out = BUF_INIT;
    struct care c;
    unsigned n, at = 0;

    (void)state;
    care_begin(&c, 7);
    care_work(&c, 250);
    care_roll(&c);
    n = care_sealed(&c, numbers);
    while (at < n && bodies_in(&c, numbers[at], &id, &b) < 3)
        at++;
    assert_true(at < n);
    flip(&c, numbers[at], "seg", b.offset + b.length / 2);
    diag_set_fd(open("/dev/null", O_WRONLY));
    for (unsigned i = 0; i < 2; i++) { /* the second time it is the only one left */
        err = ERR_INIT;
        assert_int_equal(journal_empty_segment(c.k.j, numbers[at], 0, &err), -1);
        assert_int_equal(err.kind, ERR_DAMAGE);
    }
    diag_set_fd(2);
    assert_int_equal(journal_read_begin(c.k.j, &v, &err), 0);
    assert_true(journal_body_info(&v, id, &now));
    assert_int_equal(now.segment, b.segment);
    assert_int_equal(now.offset, b.offset);
    err = ERR_INIT;
    assert_int_equal(journal_body_load(c.k.j, &v, id, 1 << 20, &out, &err), -1);
    assert_int_equal(err.kind, ERR_DAMAGE);
    journal_read_end(&v);
    assert_int_equal(bodies_in(&c, numbers[at], &other, &b), 1); /* every other body has left */
    assert_int_equal(other, id);
    assert_int_equal(care_check(&c, NULL), 1);
    assert_int_equal(counter_get(&journal_counters[JC_KEPT]), kept + 1);
    assert_int_equal(reclaim_says(&c, numbers[at]), 0); /* it is known */
    pthread_mutex_lock(&c.k.j->lock);
    idmap_put(&c.k.j->kept, numbers[at], (void *)1); /* as if more had been alive at the last attempt */
    pthread_mutex_unlock(&c.k.j->lock);
    assert_int_equal(reclaim_says(&c, numbers[at]), 1);
    assert_int_equal(reclaim_says(&c, numbers[at]), 0);
    assert_int_equal(counter_get(&journal_counters[JC_KEPT]), kept + 1);
    buf_free(&out);
    care_end(&c);
}

/* --- pins --------------------------------------------------------------------------------------------------------- */

static void empty__leaves_pinned_bodies_readable(void **state)
{
    struct body_pin pins[64];
    struct buf before[64];
    uint64_t ids[64], numbers[512];
    unsigned n = 0;
    struct journal_cursor cursor;
    struct journal_view v;
    struct err err = ERR_INIT;
    slice key, value;
    struct care c;

    (void)state;
    care_begin(&c, 8);
    care_work(&c, 300);
    care_roll(&c);
    assert_int_equal(journal_read_begin(c.k.j, &v, &err), 0);
    journal_cursor_begin(&cursor, &v, TABLE_BODY);
    while (n < 64 && journal_cursor_next(&cursor, &key, &value)) {
        if (get_le32(value.ptr + 20) == 0)
            continue;
        ids[n] = get_be64(key.ptr);
        assert_int_equal(journal_body_pin(c.k.j, &v, ids[n], &pins[n], &err), 0);
        buf_init(&before[n]);
        assert_int_equal(journal_body_load(c.k.j, &v, ids[n], 1 << 20, &before[n], &err), 0);
        n++;
    }
    journal_cursor_end(&cursor);
    assert_true(n >= 10);
    assert_true(care_empty_all(&c) >= 2);
    (void)numbers;
    for (unsigned i = 0; i < n; i++) {
        struct buf now = BUF_INIT;
        unsigned char *octets = buf_extend(&now, pins[i].length);

        /* the old place, and through the old snapshot the new one */
        assert_int_equal(journal_body_read(&pins[i], 0, octets, pins[i].length, &err), 0);
        assert_true(slice_eq(buf_slice(&now), buf_slice(&before[i])));
        buf_reset(&now);
        assert_int_equal(journal_body_load(c.k.j, &v, ids[i], 1 << 20, &now, &err), 0);
        assert_true(slice_eq(buf_slice(&now), buf_slice(&before[i])));
        journal_body_unpin(&pins[i]);
        buf_free(&now);
        buf_free(&before[i]);
    }
    journal_read_end(&v);
    care_end(&c);
}

/* --- crashes ------------------------------------------------------------------------------------------------------ */

struct stop {
    unsigned at, now;
};

static void on_step(void *arg, const char *step)
{
    struct stop *s = arg;

    (void)step;
    if (s->now++ == s->at)
        _exit(7);
}

/* A child opens the directory, empties segments and dies at a step. Its exit status: 7 when it died there. */
static int die_while_emptying(const struct care *from, const char *dir, unsigned at)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct care c = *from;
        struct stop stop = { .at = at };
        struct err err = ERR_INIT;
        uint64_t numbers[512];
        unsigned n;

        c.site.dir = dir;
        if (kv_journal_open(&c.k, &c.site, &err) < 0)
            _exit(1);
        n = care_sealed(&c, numbers);
        c.k.j->care_arg = &stop;
        c.k.j->care_step = on_step;
        for (unsigned i = 0; i < n; i++) /* the newest first: then ends must be said again */
            if (journal_empty_segment(c.k.j, numbers[n - 1 - i], 0, &err) < 0)
                _exit(2);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void empty__survives_a_kill_between_its_steps(void **state)
{
    struct care c;
    unsigned at, kills = 0;
    char dir[100];

    (void)state;
    care_begin(&c, 9);
    care_work(&c, 160);
    care_roll(&c);
    kv_journal_close(&c.k);
    for (at = 0; at < 200; at++) {
        struct kv_site site = c.site;
        struct kv_result *r = kv_result_new();
        int status;

        snprintf(dir, sizeof(dir), "%s-crash", c.dir);
        care_copy(c.dir, dir);
        status = die_while_emptying(&c, dir, at);
        assert_true(status == 7 || status == 0);
        kills += status == 7;
        site.dir = dir;
        r->model = c.model;
        kv_verify(&site, KV_CHECK | KV_TRUSTED | KV_REBUILD, r);
        if (r->faults != 0)
            fail_msg("killed at step %u:\n%s", at, r->text);
        /* and once more without the index that died */
        care_remove(dir);
        care_copy(c.dir, dir);
        assert_int_equal(die_while_emptying(&c, dir, at), status);
        site.discard_index = true;
        r->model = c.model;
        kv_verify(&site, KV_CHECK | KV_GO_ON, r);
        if (r->faults != 0)
            fail_msg("killed at step %u, index lost:\n%s", at, r->text);
        kv_result_destroy(&r);
        care_remove(dir);
        if (status == 0)
            break;
    }
    assert_true(kills >= 12);
    care_remove(c.dir);
}

/* --- tombstones --------------------------------------------------------------------------------------------------- */

struct counts {
    unsigned ends, part_ends, drops, images;
};

static bool on_count(void *arg, const struct record *r, uint64_t segment, uint64_t offset)
{
    struct counts *n = arg;

    (void)segment;
    (void)offset;
    n->ends += r->type == RT_OBJECT_END;
    n->part_ends += r->type == RT_PART_END;
    n->drops += r->type == RT_DROP;
    n->images += (r->flags & RECORD_IMAGE) != 0;
    return true;
}

static struct counts counts_of(struct care *c)
{
    struct counts n = { 0 };
    struct err err = ERR_INIT;

    assert_int_equal(journal_walk(c->k.j, 0, on_count, &n, &err), 0);
    return n;
}

static void step_run(struct care *c, enum kv_what what, uint32_t key, uint32_t length)
{
    struct kv_client *client = &c->model.clients[0];
    struct kv_step step = { .n = client->sent + 1, .what = what, .key = key, .length = length };
    struct err err = ERR_INIT;

    if (kv_run(c->k.room, c->k.j, &step, c->model.plan.seed, &err) < 0)
        fail_msg("operation %u: %s", step.n, err.text);
    kv_client_apply(client, &step);
    client->sent = client->answered = step.n;
}

static uint64_t rows(struct care *c, unsigned table)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    uint64_t n;

    assert_int_equal(journal_read_begin(c->k.j, &v, &err), 0);
    n = journal_table_count(&v, table);
    journal_read_end(&v);
    return n;
}

static void empty__keeps_a_tombstone_while_it_is_needed(void **state)
{
    uint64_t numbers[512];
    struct counts n;
    struct care c;

    (void)state;
    care_begin(&c, 10);
    c.k.j->conf.history_days = 0; /* count only what the segments say */
    step_run(&c, KV_OP_CREATE, 0, 0);
    step_run(&c, KV_OP_SET, 3, 100);
    care_roll(&c);
    step_run(&c, KV_OP_DROP, 0, 0);
    care_roll(&c);
    assert_int_equal(care_sealed(&c, numbers), 2);
    care_empty(&c, numbers[1]); /* the end goes, the beginning stays: the bucket must not come back */
    n = counts_of(&c);
    assert_int_equal(n.ends, 1);
    care_reopen(&c, true);
    c.k.j->conf.history_days = 0;
    care_same(&c, false);
    assert_true(rows(&c, TABLE_PART) >= 1);
    care_empty(&c, numbers[0]);
    care_roll(&c);
    for (unsigned i = 0; i < 3; i++) { /* the tombstone's segment, then those of what was said since */
        care_empty_all(&c);
        care_roll(&c);
    }
    n = counts_of(&c);
    assert_int_equal(n.ends, 0);
    assert_int_equal(rows(&c, KV_TABLE_HEAD), 0);
    assert_int_equal(rows(&c, TABLE_PART), 1); /* of the journal itself: its GONE_IMAGE */
    assert_true(rows(&c, TABLE_CHANGES) <= 1); /* the same */
    assert_true(rows(&c, TABLE_GONE) <= 3);
    care_reopen(&c, true);
    care_same(&c, false);
    assert_int_equal(c.k.report.damaged_places, 0);
    care_end(&c);
}

/* --- policy ------------------------------------------------------------------------------------------------------- */

static void reclaim__keeps_what_is_young_or_alive(void **state)
{
    uint64_t before[512], after[512];
    struct err err = ERR_INIT;
    struct care c;
    unsigned n;

    (void)state;
    care_begin(&c, 11);
    care_work(&c, 300);
    care_roll(&c);
    n = care_sealed(&c, before);
    c.k.j->conf.keep_days = 1;
    assert_int_equal(journal_reclaim(c.k.j, &err), 0);
    assert_int_equal(care_sealed(&c, after), n);
    c.k.j->conf.keep_days = 0;
    c.k.j->conf.reclaim_percent = 1;
    usleep(2000); /* the newest record is older than now */
    assert_true(journal_reclaim(c.k.j, &err) < (int)n);
    care_same(&c, false);
    care_is_sound(&c);
    care_end(&c);
}

/* Segments of little go together into one compaction segment, and what was compacted is not copied again. */
static void reclaim__comes_to_rest(void **state)
{
    struct segment_info info;
    struct err err = ERR_INIT;
    struct care c;
    unsigned compact = 0;
    int n;

    (void)state;
    care_begin(&c, 12);
    for (unsigned i = 0; i < 6; i++) {
        care_work(&c, 40);
        care_roll(&c);
    }
    c.k.j->conf.reclaim_percent = 50;
    usleep(2000);
    n = journal_reclaim(c.k.j, &err);
    assert_true(n >= 4);
    for (uint64_t at = 0; segment_dir_next(c.k.j->segments, &at, &info);)
        compact += info.header.kind == SEGMENT_COMPACT;
    assert_in_range(compact, 1, 3);
    care_same(&c, false);
    for (unsigned i = 0; i < 6 && n != 0; i++) { /* images of images, until nothing but bodies is left */
        care_roll(&c);
        usleep(2000);
        n = journal_reclaim(c.k.j, &err);
        assert_true(n >= 0);
        assert_true(n <= 2); /* the segment just rolled, and at most one compaction segment */
    }
    care_same(&c, false);
    care_is_sound(&c);
    care_end(&c);
}

static void reclaim__on_a_full_disk_does_not_wait_for_keep_days(void **state)
{
    uint64_t numbers[512];
    struct err err = ERR_INIT;
    struct care c;
    unsigned n;

    (void)state;
    care_begin(&c, 13);
    care_work(&c, 300);
    care_roll(&c);
    n = care_sealed(&c, numbers);
    c.k.j->conf.keep_days = 365;
    c.k.j->conf.reserve_segments = SEGMENT_RESERVE_MAX + 1; /* never enough: stays full */
    diag_set_fd(open("/dev/null", O_WRONLY));
    journal_enter(c.k.j, JOURNAL_FULL, "for the test");
    assert_int_equal(journal_reclaim(c.k.j, &err), n);
    assert_int_equal(journal_state(c.k.j, NULL), JOURNAL_FULL);
    /* with a spare and the reserve it comes back, and stops there */
    c.k.j->conf.reserve_segments = 2;
    assert_int_equal(journal_settle(c.k.j, &err), 0);
    diag_set_fd(2);
    assert_int_equal(journal_state(c.k.j, NULL), JOURNAL_NORMAL);
    assert_true(segment_dir_has_spare(c.k.j->segments));
    care_same(&c, false);
    care_is_sound(&c);
    care_end(&c);
}

static void lend__gives_room_of_the_reserve_and_prepare_takes_it_back(void **state)
{
    struct err err = ERR_INIT;
    struct care c;
    uint64_t bytes;

    (void)state;
    care_begin(&c, 16);
    helpers_wait(c.k.j);
    assert_int_equal(segment_dir_reserve_count(c.k.j->segments), 2);
    bytes = segment_dir_bytes(c.k.j->segments);
    assert_int_equal(segment_dir_lend(c.k.j->segments, &err), 0);
    assert_int_equal(segment_dir_reserve_count(c.k.j->segments), 1);
    assert_int_equal(segment_dir_bytes(c.k.j->segments), bytes - 65536);
    assert_int_equal(segment_dir_lend(c.k.j->segments, &err), 0);
    assert_int_equal(segment_dir_lend(c.k.j->segments, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
    assert_int_equal(segment_dir_prepare(c.k.j->segments, &err), 0);
    assert_int_equal(segment_dir_reserve_count(c.k.j->segments), 2);
    assert_int_equal(segment_dir_bytes(c.k.j->segments), bytes);
    care_end(&c);
}

/* --- images of what changed much ---------------------------------------------------------------------------------- */

static uint64_t image_seq(struct care *c, uint32_t key)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    struct journal_cursor cursor;
    uint64_t object, seq;
    slice found, value;

    (void)key;
    assert_int_equal(journal_read_begin(c->k.j, &v, &err), 0);
    journal_cursor_begin(&cursor, &v, KV_TABLE_HEAD);
    assert_true(journal_cursor_next(&cursor, &found, &value));
    object = get_be64(found.ptr);
    journal_cursor_end(&cursor);
    seq = part_seq(&v, object, 1 + key * 2654435761u % KV_PARTS);
    journal_read_end(&v);
    return seq;
}

static void sealed__images_a_part_that_changed_much(void **state)
{
    uint64_t first, second;
    struct care c;

    (void)state;
    care_begin(&c, 14);
    step_run(&c, KV_OP_CREATE, 0, 0);
    for (unsigned i = 0; i < 3; i++)
        step_run(&c, KV_OP_SET, 5, 1000);
    care_roll(&c);
    assert_int_equal(image_seq(&c, 5), 0); /* 3 KiB are too little */
    for (unsigned i = 0; i < 3; i++)
        step_run(&c, KV_OP_SET, 5, 1000);
    care_roll(&c);
    first = image_seq(&c, 5);
    assert_true(first != 0); /* both segments together are enough */
    for (unsigned i = 0; i < 3; i++)
        step_run(&c, KV_OP_SET, 5, 1000);
    care_roll(&c);
    assert_int_equal(image_seq(&c, 5), first); /* counted from the image on */
    for (unsigned i = 0; i < 3; i++)
        step_run(&c, KV_OP_SET, 5, 1000);
    care_roll(&c);
    second = image_seq(&c, 5);
    assert_true(second > first);
    care_same(&c, false);
    care_reopen(&c, true);
    care_same(&c, false);
    care_end(&c);
}

/* Changes before an image in the same segment do not count either. */
static void sealed__counts_from_the_last_image_on(void **state)
{
    uint64_t numbers[512], imaged;
    struct care c;

    (void)state;
    care_begin(&c, 15);
    step_run(&c, KV_OP_CREATE, 0, 0);
    step_run(&c, KV_OP_SET, 5, 100);
    care_roll(&c);
    for (unsigned i = 0; i < 5; i++)
        step_run(&c, KV_OP_SET, 5, 1000);
    assert_int_equal(care_sealed(&c, numbers), 1);
    care_empty(&c, numbers[0]); /* makes the image */
    imaged = image_seq(&c, 5);
    assert_true(imaged != 0);
    care_roll(&c);
    assert_int_equal(image_seq(&c, 5), imaged);
    care_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty__any_order_changes_nothing),
        cmocka_unit_test(empty__refuses_the_tail_and_strangers),
        cmocka_unit_test(empty__leaves_a_spooled_body_to_its_writer),
        cmocka_unit_test(empty__keeps_a_damaged_body),
        cmocka_unit_test(empty__leaves_pinned_bodies_readable),
        cmocka_unit_test(empty__survives_a_kill_between_its_steps),
        cmocka_unit_test(empty__keeps_a_tombstone_while_it_is_needed),
        cmocka_unit_test(reclaim__keeps_what_is_young_or_alive),
        cmocka_unit_test(reclaim__comes_to_rest),
        cmocka_unit_test(reclaim__on_a_full_disk_does_not_wait_for_keep_days),
        cmocka_unit_test(lend__gives_room_of_the_reserve_and_prepare_takes_it_back),
        cmocka_unit_test(sealed__images_a_part_that_changed_much),
        cmocka_unit_test(sealed__counts_from_the_last_image_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
