#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "segment_build.h"
#include "segment_site.h"

#define IDLE_MAX 256 /* SEGMENT_IDLE_MAX */

static void assert_names(struct segment_site *s, const char *expected)
{
    struct buf names = BUF_INIT;

    site_names(s, 0, &names);
    assert_string_equal(buf_str(&names), expected);
    buf_free(&names);
}

static struct stat file_stat(struct segment_site *s, const char *name)
{
    char *path = site_path(s, 0, name);
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    free(path);
    return st;
}

/* How many valid records a scan of the file with its own salt finds. */
static unsigned records_in(struct segment_site *s, uint64_t number)
{
    struct segment_info info;
    struct buf b = BUF_INIT;
    struct scan_item item;
    uint64_t bad_bytes;
    struct scan scan;
    unsigned n = 0;

    assert_true(segment_dir_find(s->dir, number, &info));
    assert_int_equal(segment_read_all(s->dir, number, &b, &bad_bytes, NULL), 0);
    assert_true(b.len == info.bytes && bad_bytes == 0);
    scan_begin(&scan, buf_slice(&b), info.header.salt);
    while (scan_next(&scan, &item) != SCAN_END)
        n += item.event == SCAN_RECORD;
    buf_free(&b);
    return n;
}

/* --- spare and reserve -------------------------------------------------------------------------------------------- */

static void prepare__makes_spare_and_reserve(void **state)
{
    struct segment_site s;
    struct buf b = BUF_INIT;

    (void)state;
    site_init(&s);
    s.conf.reserve_segments = 2;
    s.conf.segment_bytes = 2 * 1024 * 1024 + 4096; /* more than one write of zeros */
    site_open(&s);
    assert_false(segment_dir_has_spare(s.dir));
    assert_int_equal(segment_dir_reserve_count(s.dir), 0);
    for (int again = 0; again < 3; again++) {
        assert_int_equal(segment_dir_prepare(s.dir, NULL), 0);
        assert_names(&s, "reserve-1 reserve-2 spare-1 ");
        assert_true(segment_dir_has_spare(s.dir));
        assert_int_equal(segment_dir_reserve_count(s.dir), 2);
        assert_true(segment_dir_bytes(s.dir) == 3 * s.conf.segment_bytes);
        if (again == 1)
            site_reopen(&s);
    }
    site_get(&s, 0, "spare-1", &b);
    assert_int_equal(b.len, s.conf.segment_bytes);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.ptr[i], 0);
    assert_true((uint64_t)file_stat(&s, "spare-1").st_blocks * 512 >= s.conf.segment_bytes);
    assert_true((uint64_t)file_stat(&s, "reserve-2").st_blocks * 512 >= s.conf.segment_bytes);
    assert_int_equal(site_descriptors(&s), 2); /* of the directories */
    buf_free(&b);
    site_free(&s);
}

static void writer_open__takes_spare_then_reserve_then_new(void **state)
{
    static const struct {
        bool use_reserve;
        const char *names;
    } rows[] = {
        { true, "0000000000000001.seg reserve-1 reserve-2 " }, /* the spare first */
        { false, "0000000000000001.seg 0000000000000002.seg reserve-1 reserve-2 " },
        { true, "0000000000000001.seg 0000000000000002.seg 0000000000000003.seg reserve-1 " },
        { true, "0000000000000001.seg 0000000000000002.seg 0000000000000003.seg 0000000000000004.seg " },
        { true, "0000000000000001.seg 0000000000000002.seg 0000000000000003.seg 0000000000000004.seg "
                "0000000000000005.seg " },
    };
    struct segment_site s;

    (void)state;
    site_init(&s);
    s.conf.reserve_segments = 2;
    site_open(&s);
    assert_int_equal(segment_dir_prepare(s.dir, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct segment_header h = { .first_seq = i + 1 };
        struct segment_writer w;

        assert_int_equal(segment_writer_open(&w, s.dir, &h, rows[i].use_reserve, NULL), 0);
        assert_int_equal(h.number, i + 1);
        assert_int_equal(h.kind, SEGMENT_LOG);
        assert_names(&s, rows[i].names);
        assert_true(w.capacity == SITE_SEGMENT_BYTES && w.at == 4096);
        segment_writer_close(&w);
    }
    assert_false(segment_dir_has_spare(s.dir));
    assert_int_equal(segment_dir_prepare(s.dir, NULL), 0);
    assert_int_equal(segment_dir_reserve_count(s.dir), 2);
    site_free(&s);
}

static void prepare__follows_the_configuration(void **state)
{
    struct segment_site s;
    struct segment_writer w;

    (void)state;
    site_init(&s);
    s.conf.reserve_segments = 3;
    site_open(&s);
    assert_int_equal(segment_dir_prepare(s.dir, NULL), 0);
    s.conf.reserve_segments = 1;
    site_reopen(&s);
    assert_names(&s, "reserve-1 spare-1 ");
    s.conf.segment_bytes *= 2;
    site_reopen(&s);
    assert_int_equal(segment_dir_reserve_count(s.dir), 0); /* too small: made anew */
    assert_true(segment_dir_has_spare(s.dir));
    site_log(&s, &w, 1, 1, 8); /* a small spare grows */
    assert_int_equal(file_stat(&s, "0000000000000001.seg").st_size, s.conf.segment_bytes);
    segment_writer_close(&w);
    assert_int_equal(segment_dir_prepare(s.dir, NULL), 0);
    assert_int_equal(file_stat(&s, "reserve-1").st_size, s.conf.segment_bytes);
    site_free(&s);
}

static void writer_open__survives_a_missing_spare(void **state)
{
    struct segment_site s;
    struct segment_writer w;
    char *path;

    (void)state;
    site_init(&s);
    site_open(&s);
    assert_int_equal(segment_dir_prepare(s.dir, NULL), 0);
    path = site_path(&s, 0, "spare-1");
    assert_int_equal(unlink(path), 0);
    site_log(&s, &w, 1, 1, 8);
    segment_writer_close(&w);
    assert_false(segment_dir_has_spare(s.dir));
    assert_names(&s, "0000000000000001.seg ");
    free(path);
    site_free(&s);
}

static void copy_on_write__makes_nothing_ahead(void **state)
{
    struct err err = ERR_INIT;
    struct segment_site s;
    struct segment_writer w;

    (void)state;
    site_init(&s);
    s.conf.copy_on_write = true;
    site_open(&s);
    assert_int_equal(segment_dir_prepare(s.dir, NULL), 0);
    assert_names(&s, "");
    assert_true(segment_dir_has_spare(s.dir)); /* there is room */
    site_log(&s, &w, 1, 2, 8);
    assert_false(segment_dir_has_spare(s.dir));
    assert_int_equal(file_stat(&s, "0000000000000001.seg").st_size, w.at); /* nothing allocated */
    assert_true(w.capacity == SITE_SEGMENT_BYTES);
    segment_writer_close(&w);
    assert_int_equal(segment_drop(s.dir, 1, NULL), 0); /* nor recycled */
    assert_names(&s, "");
    s.conf.segment_bytes = UINT64_MAX;
    site_reopen(&s);
    assert_int_equal(segment_dir_prepare(s.dir, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
    assert_false(segment_dir_has_spare(s.dir));
    site_free(&s);
}

/* --- recycling ---------------------------------------------------------------------------------------------------- */

static void drop__makes_the_spare(void **state)
{
    struct segment_site s;
    struct segment_writer w;
    uint32_t old_salt;
    struct segment_info info;
    ino_t inode;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_sealed(&s, 1, 20, 500);
    assert_true(segment_dir_find(s.dir, 1, &info));
    old_salt = info.header.salt;
    inode = file_stat(&s, "0000000000000001.seg").st_ino;
    assert_int_equal(segment_drop(s.dir, 1, NULL), 0);
    assert_names(&s, "spare-1 ");
    assert_true(segment_dir_has_spare(s.dir));
    assert_true(segment_dir_bytes(s.dir) == SITE_SEGMENT_BYTES);
    assert_false(segment_dir_find(s.dir, 1, &info));
    assert_int_equal(file_stat(&s, "spare-1").st_ino, inode);
    assert_int_equal(file_stat(&s, "spare-1").st_size, SITE_SEGMENT_BYTES);
    assert_int_equal(segment_dir_prepare(s.dir, NULL), 0); /* there is one already */
    assert_int_equal(file_stat(&s, "spare-1").st_ino, inode);
    site_reopen(&s);

    /* the next life: other records of the same shape, fewer; the old ones behind them are not seen */
    site_log(&s, &w, 1, 3, 500);
    segment_writer_close(&w);
    assert_int_equal(file_stat(&s, "0000000000000001.seg").st_ino, inode);
    assert_true(w.header.salt != old_salt);
    assert_int_equal(records_in(&s, 1), 3);
    site_reopen(&s);
    assert_true(segment_dir_find(s.dir, 1, &info));
    assert_false(info.is_sealed);
    assert_int_equal(records_in(&s, 1), 3);
    site_free(&s);
}

static void drop__recycles_one_log_segment_only(void **state)
{
    struct segment_header h = { .kind = SEGMENT_BODY };
    struct footer_writer footer;
    struct segment_site s;
    struct segment_writer w;

    (void)state;
    site_init(&s);
    site_open(&s);
    assert_int_equal(segment_create(&w, s.dir, &h, NULL), 0);
    footer_writer_init(&footer, h.salt);
    assert_int_equal(segment_finish(&w, &footer, NULL), 0);
    footer_writer_free(&footer);
    site_sealed(&s, 1, 1, 8);
    site_sealed(&s, 2, 1, 8);
    assert_int_equal(segment_drop(s.dir, 1, NULL), 0);
    assert_names(&s, "0000000000000002.seg 0000000000000003.seg ");
    assert_int_equal(segment_drop(s.dir, 2, NULL), 0);
    assert_names(&s, "0000000000000003.seg spare-1 ");
    assert_int_equal(segment_drop(s.dir, 3, NULL), 0);
    assert_names(&s, "spare-1 ");
    site_free(&s);
}

/* A header that a crash left in the spare is no segment, and its salt is not used again. */
static void spare__with_half_a_header(void **state)
{
    struct segment_site s;
    struct segment_writer w;
    struct segment_info info;
    struct buf page = BUF_INIT, file = BUF_INIT;
    uint64_t at = 0;

    (void)state;
    for (size_t len = 0; len <= SEGMENT_PAGE_BYTES; len += 512) {
        site_init(&s);
        buf_reset(&page);
        buf_reset(&file);
        build_page(&page, 77, 1, 1);
        buf_put(&file, page.ptr, len);
        memset(buf_extend(&file, SITE_SEGMENT_BYTES - len), 0, SITE_SEGMENT_BYTES - len);
        site_put(&s, 0, "spare-1", buf_slice(&file));
        site_open(&s);
        at = 0;
        assert_false(segment_dir_next(s.dir, &at, &info));
        assert_true(segment_dir_has_spare(s.dir));
        site_log(&s, &w, 1, 2, 8);
        segment_writer_close(&w);
        assert_int_equal(w.header.number, 1);
        assert_true(w.header.salt != 77 && w.header.salt != 0);
        assert_int_equal(records_in(&s, 1), 2);
        site_free(&s);
    }
    buf_free(&page);
    buf_free(&file);
}

/* --- pins --------------------------------------------------------------------------------------------------------- */

static void pin__outlives_the_segment(void **state)
{
    unsigned char before[3000], after[3000];
    struct segment_site s;
    struct segment_info info;
    struct segment_pin pin, second;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_sealed(&s, 1, 20, 500);
    assert_true(segment_pin(s.dir, 1, &pin));
    assert_true(segment_pin(s.dir, 1, &second));
    assert_int_equal(pin.fd, second.fd);
    segment_unpin(&second);
    segment_unpin(&second); /* no-op */
    assert_int_equal(pread(pin.fd, before, sizeof(before), 4096), sizeof(before));
    assert_int_equal(segment_drop(s.dir, 1, NULL), 0);
    assert_names(&s, ""); /* not recycled */
    assert_false(segment_dir_has_spare(s.dir));
    assert_false(segment_dir_find(s.dir, 1, &info));
    assert_false(segment_pin(s.dir, 1, &second));
    assert_null(second.file);
    site_sealed(&s, 100, 20, 500); /* nobody writes over it */
    assert_int_equal(pread(pin.fd, after, sizeof(after), 4096), sizeof(after));
    assert_memory_equal(before, after, sizeof(before));
    assert_int_equal(site_descriptors(&s), 2 + 1 + 1); /* directories, the pinned one, the idle new one */
    segment_unpin(&pin);
    assert_int_equal(site_descriptors(&s), 2 + 1);
    site_free(&s);
}

static void pin__of_the_tail(void **state)
{
    unsigned char octets[64];
    struct segment_site s;
    struct segment_writer w;
    struct segment_pin pin;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_log(&s, &w, 1, 1, 8);
    assert_true(segment_pin(s.dir, 1, &pin));
    site_append(&w, SLICE("written after it was pinned"));
    assert_int_equal(pread(pin.fd, octets, 27, 4096 + 64), 27);
    assert_memory_equal(octets, "written after it was pinned", 27);
    segment_writer_close(&w);
    assert_int_equal(pread(pin.fd, octets, 27, 4096 + 64), 27);
    segment_unpin(&pin);
    site_free(&s);
}

static void pin__outlives_the_directory(void **state)
{
    struct segment_site s;
    struct segment_pin pin[2];
    unsigned char octet;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_sealed(&s, 1, 1, 8);
    site_sealed(&s, 2, 1, 8);
    assert_true(segment_pin(s.dir, 1, &pin[0]));
    assert_true(segment_pin(s.dir, 2, &pin[1]));
    site_close(&s);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pread(pin[i].fd, &octet, 1, 0), 1);
        assert_int_equal(octet, 'P');
        segment_unpin(&pin[i]);
    }
    assert_int_equal(site_descriptors(&s), 0);
    site_free(&s);
}

static void pin__keeps_few_descriptors(void **state)
{
    enum { COUNT = IDLE_MAX + 50 };
    struct segment_site s;
    struct segment_pin *pins = mem_alloc_array(COUNT, sizeof(*pins));
    int fd;

    (void)state;
    site_init(&s);
    s.conf.segment_bytes = 8192;
    s.conf.copy_on_write = true; /* small files */
    site_open(&s);
    for (unsigned i = 0; i < COUNT; i++)
        site_sealed(&s, i + 1, 1, 8);
    site_reopen(&s);
    assert_int_equal(site_descriptors(&s), 2); /* none is opened before it is needed */
    for (unsigned i = 0; i < COUNT; i++)
        assert_true(segment_pin(s.dir, i + 1, &pins[i]));
    assert_int_equal(site_descriptors(&s), 2 + COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        segment_unpin(&pins[i]);
    assert_int_equal(site_descriptors(&s), 2 + IDLE_MAX);
    /* those that were used last are still open: pinning one opens none, pinning the first one does */
    assert_true(segment_pin(s.dir, COUNT, &pins[0]));
    assert_int_equal(site_descriptors(&s), 2 + IDLE_MAX);
    fd = pins[0].fd;
    segment_unpin(&pins[0]);
    assert_true(segment_pin(s.dir, COUNT, &pins[0]));
    assert_int_equal(pins[0].fd, fd);
    segment_unpin(&pins[0]);
    assert_true(segment_pin(s.dir, 1, &pins[0]));
    assert_int_equal(site_descriptors(&s), 2 + IDLE_MAX + 1);
    segment_unpin(&pins[0]);
    assert_int_equal(site_descriptors(&s), 2 + IDLE_MAX);
    assert_int_equal(segment_drop(s.dir, COUNT, NULL), 0);
    assert_int_equal(site_descriptors(&s), 2 + IDLE_MAX - 1);
    mem_free(pins);
    site_free(&s);
}

/* Readers pin whatever there is while segments are made, sealed and dropped; each finds its own segment's header. */
struct churn {
    struct segment_site *site;
    _Atomic uint64_t newest;
    _Atomic bool is_over;
    _Atomic uint64_t seen;
};

static void *churn_read(void *arg)
{
    struct churn *c = arg;

    for (uint64_t i = 0; !c->is_over; i++) {
        uint64_t newest = c->newest, number = newest > i % 6 ? newest - i % 6 : 1;
        unsigned char page[SEGMENT_PAGE_BYTES];
        struct segment_header h;
        struct segment_info info;
        struct segment_pin pin;
        uint64_t at = 0;

        if (segment_pin(c->site->dir, number, &pin)) {
            if (pread(pin.fd, page, sizeof(page), 0) != sizeof(page) ||
                segment_header_decode(slice_of(page, sizeof(page)), &h, NULL, NULL) < 0 || h.number != number)
                panic("segment %llu: wrong octets", (unsigned long long)number);
            segment_unpin(&pin);
            c->seen++;
        }
        segment_dir_find(c->site->dir, number, &info);
        while (segment_dir_next(c->site->dir, &at, &info))
            ;
        segment_dir_has_spare(c->site->dir);
        segment_dir_bytes(c->site->dir);
    }
    return NULL;
}

static void pins__from_many_threads(void **state)
{
    struct segment_site s;
    pthread_t threads[3];
    struct churn c = { .site = &s };

    (void)state;
    site_init(&s);
    s.conf.segment_bytes = 8192;
    site_open(&s);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn_read, &c), 0);
    for (uint64_t n = 1; n <= 150 || (c.seen < 300 && n < 3000); n++) {
        assert_int_equal(site_sealed(&s, n, 1, 8), n);
        c.newest = n;
        if (n > 4)
            assert_int_equal(segment_drop(s.dir, n - 4, NULL), 0);
        if (n % 8 == 0)
            assert_int_equal(segment_dir_prepare(s.dir, NULL), 0);
    }
    c.is_over = true;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_true(c.seen > 0);
    site_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prepare__makes_spare_and_reserve),
        cmocka_unit_test(writer_open__takes_spare_then_reserve_then_new),
        cmocka_unit_test(prepare__follows_the_configuration),
        cmocka_unit_test(writer_open__survives_a_missing_spare),
        cmocka_unit_test(copy_on_write__makes_nothing_ahead),
        cmocka_unit_test(drop__makes_the_spare),
        cmocka_unit_test(drop__recycles_one_log_segment_only),
        cmocka_unit_test(spare__with_half_a_header),
        cmocka_unit_test(pin__outlives_the_segment),
        cmocka_unit_test(pin__of_the_tail),
        cmocka_unit_test(pin__outlives_the_directory),
        cmocka_unit_test(pin__keeps_few_descriptors),
        cmocka_unit_test(pins__from_many_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
