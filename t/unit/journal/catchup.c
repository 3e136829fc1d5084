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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(catchup__a_file_that_was_emptied_may_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
