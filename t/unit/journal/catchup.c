/* catchup.c - rebuilding the index from what a crash may leave: files that were emptied but came back. */
#include "care_site.h"

#include <poll.h>

/* --- images of a crash -------------------------------------------------------------------------------------------- */

static void path_of(char out[200], const char *dir, const struct segment_info *info)
{
    static const char *const suffixes[] = { [SEGMENT_LOG] = "seg", [SEGMENT_BODY] = "body", [SEGMENT_COMPACT] = "cmp" };

    snprintf(out, 200, "%s/journal/%016llx.%s", dir, (unsigned long long)info->header.number,
             suffixes[info->header.kind]);
}

static bool exists(const char *dir, const struct segment_info *info)
{
    char path[200];

    path_of(path, dir, info);
    return access(path, F_OK) == 0;
}

static void dir_new(char dir[64])
{
    snprintf(dir, 64, "%s", "/tmp/posthouse-image-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

/* Open with a new index and, in the background, wait for its end. */
static void image_open(struct care *m, unsigned step)
{
    m->site.background = step != 0;
    m->site.rebuild_slice = step;
    m->site.discard_index = true;
    care_open(m);
    while (journal_rebuilding(m->k.j, NULL))
        poll(NULL, 0, 1);
}

/* The directory of `c` with that file beside it, opened twice: everything is there, and the file is gone if nothing
 * lies in it. */
static void file_comes_back(struct care *c, const char *before, const struct segment_info *info, unsigned step)
{
    struct care m = *c;
    char from[200], to[200];

    dir_new(m.dir);
    m.site.dir = m.dir;
    care_copy(c->dir, m.dir);
    path_of(from, before, info);
    path_of(to, m.dir, info);
    care_file_copy(from, to);
    for (unsigned i = 0; i < 2; i++) {
        image_open(&m, step);
        assert_int_equal(m.k.report.damaged_places, 0);
        assert_int_equal(m.k.report.lost_records, 0);
        care_same(&m, false);
        care_is_sound(&m);
        if (info->header.kind == SEGMENT_BODY)
            assert_false(exists(m.dir, info));
        kv_journal_close(&m.k);
    }
    care_remove(m.dir);
}

/* Every segment is emptied, and its file is there again after a crash: its removal had not reached the disk. Jobs hold
 * bodies by early records, entries by late ones. */
static void catchup__a_file_that_was_emptied_may_come_back(void **state)
{
    static const struct {
        uint64_t seed;
        unsigned step; /* of the rebuild; 0: all before opening */
    } rows[] = { { 1, 0 }, { 2, 7 } };

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned kinds[SEGMENT_COMPACT + 1] = { 0 };
        struct care c;

        print_message("seed %llu\n", (unsigned long long)rows[i].seed);
        care_begin(&c, rows[i].seed);
        c.site.inline_bytes = 2000; /* many bodies have files of their own */
        care_reopen(&c, false);
        for (unsigned round = 0; round < 2; round++) {
            uint64_t numbers[512];
            unsigned n;

            care_work(&c, 100);
            care_roll(&c);
            n = care_sealed(&c, numbers);
            for (unsigned k = 0; k < n; k++) {
                struct segment_info info;
                char before[64];

                assert_true(segment_dir_find(c.k.j->segments, numbers[k], &info));
                dir_new(before);
                care_copy(c.dir, before);
                care_empty(&c, numbers[k]);
                file_comes_back(&c, before, &info, rows[i].step);
                care_remove(before);
                kinds[info.header.kind]++;
            }
        }
        assert_true(kinds[SEGMENT_LOG] != 0 && kinds[SEGMENT_BODY] != 0 && kinds[SEGMENT_COMPACT] != 0);
        care_end(&c);
    }
}

/* --- very many early records -------------------------------------------------------------------------------------- */

/* MANY_SET: part n of the object has the value n. */
enum { MANY_SET = 0x7f80, MANY_TABLE = 119, MANY_OPS = 45, MANY_EACH = 1000 };

static int many_apply(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    (void)room;
    (void)err;
    journal_put_u64(journal_tx_view(tx), MANY_TABLE, r->part, r->payload);
    return 0;
}

static int many_image(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err)
{
    slice value;

    (void)room;
    (void)err;
    if (journal_get_u64(journal_tx_view(tx), MANY_TABLE, part, &value))
        journal_emit(tx, MANY_SET, object, part, RECORD_IMAGE, value);
    return 0;
}

static int many_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    unsigned char payload[8];

    (void)err;
    for (uint32_t i = 0; i < MANY_EACH; i++) {
        put_le64(payload, op->session + i);
        journal_emit(tx, MANY_SET, 1, (uint32_t)op->session + i, 0, slice_of(payload, sizeof(payload)));
    }
    return 0;
}

static struct journal *many_open(const char *dir, const struct clock *clock, bool discard_index)
{
    static const struct journal_type types[] = {
        { .type = MANY_SET, .name = "many_set", .apply = many_apply, .image = many_image },
    };
    static const struct journal_table tables[] = { { MANY_TABLE, "test.many", 0 } };
    static const struct journal_room room = {
        .name = "many", .types = types, .type_count = 1, .tables = tables, .table_count = 1
    };
    static const struct journal_room *const rooms[] = { &room };
    struct journal_conf conf;
    struct arena mem;
    struct journal_setup setup = { .dir = dir, .conf = &conf, .clock = clock, .rooms = rooms, .room_count = 1,
                                   .create = true, .discard_index = discard_index };
    struct journal_report report;
    struct err err = ERR_INIT;
    struct journal *j;

    arena_init(&mem, 1024);
    keys_default(&journal_keys, &conf, &mem);
    arena_free(&mem);
    conf.index_map_bytes = 64 << 20;
    conf.index_ahead_bytes = 1 << 20;
    if (journal_open(&j, &setup, &report, &err) < 0)
        fail_msg("opening: %s", err.text);
    assert_int_equal(report.damaged_places, 0);
    return j;
}

/* More than a transaction of the first phase takes. */
static void catchup__early_records_need_several_transactions(void **state)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    struct clock clock;
    struct journal *j;
    char dir[64];
    slice value;

    (void)state;
    clock_init_real(&clock);
    dir_new(dir);
    j = many_open(dir, &clock, false);
    for (uint64_t i = 0; i < MANY_OPS; i++) {
        struct journal_op op = { .run = many_run, .session = i * MANY_EACH, .cost = MANY_EACH,
                                 .lane = LANE_MAINTENANCE, .bytes = MANY_EACH * 80 };

        assert_int_equal(journal_run(j, &op, &err), 0);
    }
    journal_close(&j);
    j = many_open(dir, &clock, true);
    assert_int_equal(journal_read_begin(j, &v, &err), 0);
    v.began_ms = INT64_MAX;
    assert_int_equal(journal_table_count(&v, MANY_TABLE), MANY_OPS * MANY_EACH);
    for (uint64_t n = 0; n < MANY_OPS * MANY_EACH; n++) {
        assert_true(journal_get_u64(&v, MANY_TABLE, n, &value));
        assert_int_equal(get_le64(value.ptr), n);
    }
    journal_read_end(&v);
    journal_close(&j);
    care_remove(dir);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(catchup__a_file_that_was_emptied_may_come_back),
        cmocka_unit_test(catchup__early_records_need_several_transactions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
