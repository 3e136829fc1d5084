#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "segment_build.h"
#include "segment_site.h"

static void assert_names(struct segment_site *s, unsigned root, const char *expected)
{
    struct buf names = BUF_INIT;

    site_names(s, root, &names);
    assert_string_equal(buf_str(&names), expected);
    buf_free(&names);
}

/* --- life of a segment -------------------------------------------------------------------------------------------- */

static void segment__from_open_to_sealed(void **state)
{
    struct segment_site s;
    struct segment_writer w;
    struct segment_info info;
    uint64_t number;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_log(&s, &w, 10, 3, 100);
    number = w.header.number;
    assert_int_equal(number, 1);
    assert_true(w.at == 4096 + 3 * 160 && w.capacity == SITE_SEGMENT_BYTES);
    assert_names(&s, 0, "0000000000000001.seg ");
    assert_true(segment_dir_find(s.dir, 1, &info));
    assert_true(info.header.first_seq == 10 && info.header.created_ms == 1700000000000 && info.header.format == 1);
    assert_true(info.bytes == SITE_SEGMENT_BYTES && !info.is_sealed && !info.is_damaged && info.records_end == 0);
    segment_writer_close(&w);
    segment_writer_close(&w); /* no-op */
    assert_int_equal(segment_seal(s.dir, number, w.at, NULL), 0);
    for (int again = 0; again < 2; again++) {
        assert_true(segment_dir_find(s.dir, 1, &info));
        assert_true(info.is_sealed && !info.is_damaged && info.records_end == w.at);
        assert_true(info.last_seq == 12 && info.newest_ms == 1700000000012 && info.header.salt == w.header.salt);
        assert_true(info.bytes == w.at + 32 + 3 * (64 + 104) + 48);
        assert_true(segment_dir_bytes(s.dir) == info.bytes);
        site_reopen(&s);
    }
    assert_int_equal(segment_dir_next_number(s.dir), 2);
    assert_int_equal(segment_dir_next_number(s.dir), 3);
    site_free(&s);
}

static void segment__header_only(void **state)
{
    struct segment_site s;
    struct segment_writer w;
    struct segment_info info;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_log(&s, &w, 1, 0, 0);
    segment_writer_close(&w);
    site_reopen(&s);
    assert_true(segment_dir_find(s.dir, 1, &info));
    assert_true(!info.is_sealed && !info.is_damaged && info.header.first_seq == 1);
    assert_int_equal(segment_seal(s.dir, 1, 4096, NULL), 0);
    site_reopen(&s);
    assert_true(segment_dir_find(s.dir, 1, &info));
    assert_true(info.is_sealed && info.records_end == 4096 && info.bytes == 4096 + 80 && info.last_seq == 0);
    site_free(&s);
}

static void segment__body_appears_when_finished(void **state)
{
    struct segment_site s;
    struct segment_writer w;
    struct segment_info info;
    struct segment_pin pin;
    uint64_t at = 0;

    (void)state;
    site_init(&s);
    site_open(&s);
    for (unsigned partition = 0; partition < 2; partition++) {
        struct segment_header h = { .kind = partition ? SEGMENT_COMPACT : SEGMENT_BODY, .partition = partition };
        struct buf b = BUF_INIT;
        struct footer_writer footer;
        struct record_header r;

        assert_int_equal(segment_create(&w, s.dir, &h, NULL), 0);
        assert_int_equal(h.number, partition + 1);
        assert_names(&s, partition, partition ? "0000000000000002.cmp.new " : "0000000000000001.body.new ");
        assert_false(segment_dir_find(s.dir, h.number, &info));
        assert_true(segment_pin(s.dir, h.number, &pin));
        segment_unpin(&pin);
        build_simple(&b, h.salt, 5, RECORD_BODY, 1000);
        site_append(&w, buf_slice(&b));
        footer_writer_init(&footer, h.salt);
        record_header_decode(buf_slice(&b), h.salt, &r);
        footer_writer_add(&footer, 4096, &r, SLICE_NONE);
        assert_int_equal(segment_finish(&w, &footer, NULL), 0);
        assert_null(w.file);
        footer_writer_free(&footer);
        buf_free(&b);
        assert_names(&s, partition, partition ? "0000000000000002.cmp " : "0000000000000001.body ");
    }
    for (int again = 0; again < 2; again++) {
        for (uint64_t n = 1; n <= 2; n++) {
            assert_true(segment_dir_find(s.dir, n, &info));
            assert_true(info.is_sealed && info.records_end == 4096 + 1056 && info.bytes == 4096 + 1056 + 32 + 64 + 48);
            assert_int_equal(info.header.partition, n - 1);
            assert_int_equal(info.header.kind, n == 1 ? SEGMENT_BODY : SEGMENT_COMPACT);
        }
        site_reopen(&s);
    }
    while (segment_dir_next(s.dir, &at, &info))
        assert_true(info.header.number == at - 1);
    assert_int_equal(at, 3);
    site_free(&s);
}

static void segment__unfinished_body_is_discarded(void **state)
{
    struct segment_header h = { .kind = SEGMENT_BODY };
    struct segment_site s;
    struct segment_writer w;

    (void)state;
    site_init(&s);
    site_open(&s);
    assert_int_equal(segment_create(&w, s.dir, &h, NULL), 0);
    segment_writer_close(&w);
    assert_int_equal(segment_drop(s.dir, h.number, NULL), 0);
    assert_names(&s, 0, "");
    assert_int_equal(segment_create(&w, s.dir, &h, NULL), 0);
    site_append(&w, SLICE("half a message"));
    segment_writer_close(&w);
    site_reopen(&s); /* as after a crash */
    assert_names(&s, 0, "");
    h.partition = 2;
    assert_int_equal(segment_create(&w, s.dir, &h, NULL), -1);
    site_free(&s);
}

/* --- what stands in the directory --------------------------------------------------------------------------------- */

static void segment_dir__lists_by_number(void **state)
{
    struct segment_site s;
    struct segment_info info;
    uint64_t at = 0, bytes = 0;
    unsigned n = 0;

    (void)state;
    site_init(&s);
    site_open(&s);
    for (unsigned i = 0; i < 40; i++)
        site_sealed(&s, i * 10 + 1, 2, 8);
    assert_int_equal(segment_drop(s.dir, 17, NULL), 0);
    assert_int_equal(segment_drop(s.dir, 17, NULL), -1);
    site_reopen(&s);
    for (; segment_dir_next(s.dir, &at, &info); n++) {
        uint64_t number = n + 1 + (n >= 16);

        assert_true(info.header.number == number && info.header.first_seq == (number - 1) * 10 + 1);
        bytes += info.bytes;
        if (number == 20) /* may change meanwhile */
            assert_int_equal(segment_drop(s.dir, 21, NULL), 0);
        if (number == 20)
            n++;
    }
    assert_int_equal(n, 39);
    assert_false(segment_dir_find(s.dir, 17, &info));
    assert_false(segment_dir_find(s.dir, 0, &info));
    assert_false(segment_dir_find(s.dir, 41, &info));
    /* the first dropped became the spare, the second made room */
    assert_true(segment_dir_bytes(s.dir) == bytes + SITE_SEGMENT_BYTES);
    site_free(&s);
}

static void segment_dir__leaves_other_files_alone(void **state)
{
    static const char *const others[] = {
        "notes.txt", "0000000000000001.seg.bak", "000000000000000A.seg", "1.seg", "0000000000000000.seg",
        "00000000000000001.seg", "0000000000000001.segs", "0000000000000001", "spare-2", "spare-01", "spare-",
        "reserve-0", "spare-1x", "reserve-x", "lock", "something.new", "000000000000000a.SEG", "spare-1.new.new",
    };
    struct segment_site s;
    struct segment_info info;
    struct buf before = BUF_INIT, after = BUF_INIT;
    uint64_t at = 0;
    char *path;

    (void)state;
    site_init(&s);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        site_put(&s, 0, others[i], SLICE("mine"));
    path = site_path(&s, 0, "0000000000000002.seg"); /* the right name, but a directory */
    assert_int_equal(mkdir(path, 0700), 0);
    site_names(&s, 0, &before);
    site_open(&s);
    assert_false(segment_dir_next(s.dir, &at, &info));
    assert_int_equal(segment_dir_reserve_count(s.dir), 0);
    assert_false(segment_dir_has_spare(s.dir));
    assert_true(segment_dir_bytes(s.dir) == 0);
    site_names(&s, 0, &after);
    assert_string_equal(buf_str(&before), buf_str(&after));
    free(path);
    buf_free(&before);
    buf_free(&after);
    site_free(&s);
}

static void segment_dir__removes_what_a_crash_left(void **state)
{
    static const char *const halves[] = {
        "spare-1.new", "reserve-1.new", "reserve-9.new", "0000000000000007.seg.new", "0000000000000008.body.new",
        "0000000000000009.cmp.new",
    };
    struct segment_site s;
    struct segment_info info;
    uint64_t at = 0;

    (void)state;
    site_init(&s);
    for (unsigned root = 0; root < 2; root++) {
        for (size_t i = 0; i < ARRAY_LEN(halves); i++)
            site_put(&s, root, halves[i], SLICE("half"));
    }
    s.conf.read_only = true;
    site_open(&s);
    assert_false(segment_dir_next(s.dir, &at, &info));
    assert_true(site_exists(&s, 0, "spare-1.new"));
    assert_true(site_exists(&s, 1, "0000000000000009.cmp.new"));
    s.conf.read_only = false;
    site_reopen(&s);
    assert_false(segment_dir_next(s.dir, &at, &info));
    assert_names(&s, 0, "");
    assert_names(&s, 1, "");
    site_free(&s);
}

/* Octets of the header page changed in place. */
static void page_change(struct segment_site *s, const char *name, size_t at, unsigned char with)
{
    struct buf b = BUF_INIT;

    site_get(s, 0, name, &b);
    b.ptr[at] ^= with;
    site_put(s, 0, name, buf_slice(&b));
    buf_free(&b);
}

static void segment_dir__lists_damaged_headers(void **state)
{
    struct segment_site s;
    struct segment_info info;
    struct segment_pin pin;
    uint64_t number;

    (void)state;
    site_init(&s);
    site_open(&s);
    number = site_sealed(&s, 1, 2, 8);
    site_close(&s);
    page_change(&s, "0000000000000001.seg", 30, 1); /* one copy: no matter */
    site_open(&s);
    assert_true(segment_dir_find(s.dir, number, &info));
    assert_true(info.is_sealed && !info.is_damaged && info.header.first_seq == 1);
    site_close(&s);
    page_change(&s, "0000000000000001.seg", 2048 + 30, 1);
    site_put(&s, 0, "0000000000000005.cmp", SLICE("PHJSEG1\n")); /* cut */
    site_put(&s, 0, "0000000000000006.seg", SLICE_NONE);
    site_open(&s);
    for (number = 1; number <= 6; number++) {
        if (number >= 2 && number <= 4)
            continue;
        assert_true(segment_dir_find(s.dir, number, &info));
        assert_true(!info.is_sealed && info.is_damaged && info.header.number == number && info.header.salt == 0);
        assert_int_equal(info.header.kind, number == 5 ? SEGMENT_COMPACT : SEGMENT_LOG);
        assert_int_equal(segment_seal(s.dir, number, 4096, NULL), -1);
        assert_true(segment_pin(s.dir, number, &pin)); /* what is left of it can be read */
        segment_unpin(&pin);
    }
    assert_int_equal(segment_dir_next_number(s.dir), 7);
    site_free(&s);
}

static void segment_dir__notices_a_wrong_name(void **state)
{
    static const char *const names[] = { "0000000000000002.seg", "0000000000000001.body" };
    struct segment_site s;
    struct segment_info info;
    struct buf b = BUF_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        site_init(&s);
        site_open(&s);
        site_sealed(&s, 1, 2, 8);
        site_close(&s);
        site_get(&s, 0, "0000000000000001.seg", &b);
        site_put(&s, 0, names[i], buf_slice(&b));
        if (i == 1) {
            char *path = site_path(&s, 0, "0000000000000001.seg");

            unlink(path);
            free(path);
        }
        site_open(&s);
        assert_true(segment_dir_find(s.dir, i == 0 ? 2 : 1, &info));
        assert_true(info.is_damaged && !info.is_sealed);
        assert_true(info.header.number == (i == 0 ? 2 : 1) && info.header.salt != 0);
        site_free(&s);
    }
    buf_free(&b);
}

static void segment_dir__refuses_a_newer_format(void **state)
{
    struct segment_header h = { .format = 2, .kind = SEGMENT_LOG, .number = 3 };
    unsigned char page[SEGMENT_PAGE_BYTES];
    struct err err = ERR_INIT;
    struct segment_site s;
    char *path;

    (void)state;
    site_init(&s);
    segment_header_encode(page, &h);
    site_put(&s, 0, "0000000000000003.seg", slice_of(page, sizeof(page)));
    assert_int_equal(segment_dir_open(&s.dir, &s.conf, &err), -1);
    assert_int_equal(err.kind, ERR_PERM);
    assert_non_null(strstr(err.text, "format 2"));
    path = site_path(&s, 0, "0000000000000003.seg");
    assert_non_null(strstr(err.text, path));
    free(path);
    assert_null(s.dir);
    assert_int_equal(site_descriptors(&s), 0);
    site_free(&s);
}

static void segment_dir__needs_its_roots(void **state)
{
    struct err err = ERR_INIT;
    struct segment_site s;

    (void)state;
    site_init(&s);
    s.roots[1] = "/nonexistent/partition";
    assert_int_equal(segment_dir_open(&s.dir, &s.conf, &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
    assert_int_equal(site_descriptors(&s), 0);
    site_free(&s);
}

static void segment_dir__sees_a_second_writer(void **state)
{
    struct segment_header h = { .first_seq = 1 };
    struct segment_site s, other;
    struct segment_writer w, theirs;
    struct err err = ERR_INIT;
    struct buf before = BUF_INIT, after = BUF_INIT;
    uint64_t number;

    (void)state;
    site_init(&s);
    site_open(&s);
    other = s;
    site_open(&other);
    site_log(&s, &w, 1, 1, 8);
    assert_false(segment_dir_foreign(s.dir, &number));
    assert_true(segment_dir_foreign(other.dir, &number));
    assert_int_equal(number, 1);
    site_get(&s, 0, "0000000000000001.seg", &before);
    assert_int_equal(segment_writer_open(&theirs, other.dir, &h, false, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    segment_writer_close(&theirs);
    site_get(&s, 0, "0000000000000001.seg", &after);
    assert_true(slice_eq(buf_slice(&before), buf_slice(&after)));
    assert_names(&s, 0, "0000000000000001.seg ");
    segment_writer_close(&w);
    site_put(&s, 1, "0000000000000004.cmp", SLICE_NONE);
    assert_false(segment_dir_foreign(s.dir, &number));
    segment_dir_next_number(s.dir); /* 2 */
    assert_true(segment_dir_foreign(s.dir, &number));
    assert_int_equal(number, 4);
    site_close(&other);
    buf_free(&before);
    buf_free(&after);
    site_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segment__from_open_to_sealed),
        cmocka_unit_test(segment__header_only),
        cmocka_unit_test(segment__body_appears_when_finished),
        cmocka_unit_test(segment__unfinished_body_is_discarded),
        cmocka_unit_test(segment_dir__lists_by_number),
        cmocka_unit_test(segment_dir__leaves_other_files_alone),
        cmocka_unit_test(segment_dir__removes_what_a_crash_left),
        cmocka_unit_test(segment_dir__lists_damaged_headers),
        cmocka_unit_test(segment_dir__notices_a_wrong_name),
        cmocka_unit_test(segment_dir__refuses_a_newer_format),
        cmocka_unit_test(segment_dir__needs_its_roots),
        cmocka_unit_test(segment_dir__sees_a_second_writer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
