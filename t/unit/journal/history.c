/* history.c - footers of deleted segments: kept, filtered, trimmed; damage in one stays there. */
#include "care_site.h"
#include "journal/history.h"

static unsigned history_count(struct care *c)
{
    struct history_file *list;
    struct err err = ERR_INIT;
    unsigned n;

    assert_int_equal(history_list(c->k.j, &list, &n, &err), 0);
    mem_free(list);
    return n;
}

static uint64_t first_log(struct care *c)
{
    struct segment_info info;

    for (uint64_t at = 0; segment_dir_next(c->k.j->segments, &at, &info);)
        if (info.header.kind == SEGMENT_LOG && info.is_sealed)
            return info.header.number;
    fail_msg("no sealed segment");
    return 0;
}

static void history__keeps_what_the_footer_said(void **state)
{
    struct footer before, after;
    struct buf before_mem = BUF_INIT, after_mem = BUF_INIT, filter = BUF_INIT;
    struct history_head head;
    struct segment_info info;
    struct err err = ERR_INIT;
    uint64_t number;
    struct care c;

    (void)state;
    care_begin(&c, 21);
    care_work(&c, 200);
    care_roll(&c);
    number = first_log(&c);
    assert_true(segment_dir_find(c.k.j->segments, number, &info));
    assert_int_equal(segment_read_footer(c.k.j->segments, number, &before, &before_mem, &err), 0);
    care_empty(&c, number);
    assert_int_equal(history_count(&c), 1);
    assert_int_equal(history_head(c.k.j, number, &head, &filter, &err), 0);
    assert_int_equal(head.segment, number);
    assert_int_equal(head.first_seq, info.header.first_seq);
    assert_int_equal(head.last_seq, info.last_seq);
    assert_int_equal(head.newest_ms, info.newest_ms);
    assert_int_equal(head.filter_bytes, filter.len);
    assert_true(head.packed_bytes < head.footer_bytes);
    assert_int_equal(history_read(c.k.j, number, &after, &after_mem, &err), 0);
    assert_int_equal(after.count, before.count);
    assert_true(slice_eq(after.entries, before.entries));
    assert_true(slice_eq(after.payloads, before.payloads));
    assert_int_equal(history_keep(c.k.j, number, &err), 0); /* gone: nothing to keep */
    assert_int_equal(history_count(&c), 1);
    buf_free(&before_mem);
    buf_free(&after_mem);
    buf_free(&filter);
    care_end(&c);
}

static void history__is_kept_of_log_segments_only(void **state)
{
    struct segment_info info;
    struct care c;
    uint64_t numbers[512];
    unsigned n, logs = 0;

    (void)state;
    care_begin(&c, 22);
    care_work(&c, 250);
    care_roll(&c);
    n = care_sealed(&c, numbers);
    for (unsigned i = 0; i < n; i++) {
        assert_true(segment_dir_find(c.k.j->segments, numbers[i], &info));
        logs += info.header.kind == SEGMENT_LOG;
    }
    assert_true(logs != 0 && logs < n);
    care_empty_all(&c);
    assert_int_equal(history_count(&c), logs);
    care_end(&c);
}

/* --- the filter --------------------------------------------------------------------------------------------------- */

static void filter__has_what_was_added_and_little_else(void **state)
{
    unsigned char filter[2048] = { 0 }; /* ten bits for each of some 1,600 keys */
    unsigned wrong = 0;
    char key[40];

    (void)state;
    for (unsigned i = 0; i < 1600; i++) {
        snprintf(key, sizeof(key), "User%u@example.net", i);
        history_filter_add(filter, sizeof(filter), slice_str(key));
    }
    for (unsigned i = 0; i < 1600; i++) {
        snprintf(key, sizeof(key), "uSER%u@EXAMPLE.net", i); /* without ASCII case */
        assert_true(history_filter_has(slice_of(filter, sizeof(filter)), slice_str(key)));
    }
    for (unsigned i = 1600; i < 11600; i++) {
        snprintf(key, sizeof(key), "user%u@example.net", i);
        wrong += history_filter_has(slice_of(filter, sizeof(filter)), slice_str(key));
    }
    assert_in_range(wrong, 1, 200); /* 1 in 100 expected */
}

/* --- trimming ----------------------------------------------------------------------------------------------------- */

static unsigned fill(struct care *c, unsigned segments)
{
    unsigned n = 0;

    for (unsigned i = 0; i < segments; i++) {
        care_work(c, 30);
        care_roll(c);
    }
    while (history_count(c) < segments && n++ < 2 * segments)
        care_empty(c, first_log(c));
    return history_count(c);
}

static void trim__by_age(void **state)
{
    struct err err = ERR_INIT;
    struct clock clock;
    struct care c;

    (void)state;
    care_begin(&c, 23);
    assert_int_equal(fill(&c, 3), 3);
    kv_journal_close(&c.k);
    clock_init_fake(&clock, 0, clock_wall_ms(&c.k.clock));
    c.site.clock = &clock;
    care_open(&c);
    assert_int_equal(history_count(&c), 3);
    clock_fake_advance(&clock, 29 * INT64_C(86400000));
    assert_int_equal(history_trim(c.k.j, &err), 0);
    assert_int_equal(history_count(&c), 3);
    clock_fake_advance(&clock, 2 * INT64_C(86400000));
    assert_int_equal(history_trim(c.k.j, &err), 0);
    assert_int_equal(history_count(&c), 0);
    care_end(&c);
}

static void trim__by_octets_keeps_the_newest(void **state)
{
    struct history_file *list;
    struct err err = ERR_INIT;
    struct care c;
    uint64_t newest;
    unsigned n;

    (void)state;
    care_begin(&c, 24);
    assert_int_equal(fill(&c, 4), 4);
    assert_int_equal(history_list(c.k.j, &list, &n, &err), 0);
    newest = list[3].number;
    c.k.j->conf.history_bytes = list[3].bytes + list[2].bytes - 1;
    mem_free(list);
    assert_int_equal(history_trim(c.k.j, &err), 0);
    assert_int_equal(history_list(c.k.j, &list, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(list[0].number, newest);
    mem_free(list);
    c.k.j->conf.history_bytes = 0;
    assert_int_equal(history_trim(c.k.j, &err), 0);
    assert_int_equal(history_count(&c), 0);
    care_end(&c);
}

static void history__is_not_kept_for_zero_days(void **state)
{
    struct care c;

    (void)state;
    care_begin(&c, 25);
    c.k.j->conf.history_days = 0;
    care_work(&c, 50);
    care_roll(&c);
    care_empty_all(&c);
    assert_int_equal(history_count(&c), 0);
    care_end(&c);
}

/* --- damage ------------------------------------------------------------------------------------------------------- */

static void read__refuses_any_flipped_octet(void **state)
{
    struct footer footer;
    struct buf mem = BUF_INIT;
    struct err err = ERR_INIT;
    char path[200];
    struct stat st;
    uint64_t number;
    struct care c;
    int fd;

    (void)state;
    care_begin(&c, 26);
    care_work(&c, 12);
    care_roll(&c);
    number = first_log(&c);
    care_empty(&c, number);
    snprintf(path, sizeof(path), "%s/history/%016llx.hist", c.dir, (unsigned long long)number);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(st.st_size > (off_t)HISTORY_HEADER_BYTES);
    for (off_t at = 0; at < st.st_size; at++) {
        unsigned char octet;

        assert_int_equal(pread(fd, &octet, 1, at), 1);
        octet ^= 1;
        assert_int_equal(pwrite(fd, &octet, 1, at), 1);
        err = ERR_INIT;
        if (history_read(c.k.j, number, &footer, &mem, &err) == 0 || err.kind != ERR_DAMAGE)
            fail_msg("octet %lld may change", (long long)at);
        octet ^= 1;
        assert_int_equal(pwrite(fd, &octet, 1, at), 1);
    }
    err = ERR_INIT;
    assert_int_equal(history_read(c.k.j, number, &footer, &mem, &err), 0);
    assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
    assert_int_equal(history_read(c.k.j, number, &footer, &mem, &err), -1);
    assert_int_equal(err.kind, ERR_DAMAGE);
    err = ERR_INIT;
    assert_int_equal(history_read(c.k.j, number + 1, &footer, &mem, &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
    close(fd);
    buf_free(&mem);
    care_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(history__keeps_what_the_footer_said), cmocka_unit_test(history__is_kept_of_log_segments_only),
        cmocka_unit_test(filter__has_what_was_added_and_little_else),
        cmocka_unit_test(trim__by_age),                        cmocka_unit_test(trim__by_octets_keeps_the_newest),
        cmocka_unit_test(history__is_not_kept_for_zero_days),  cmocka_unit_test(read__refuses_any_flipped_octet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
