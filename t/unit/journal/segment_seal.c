#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "segment_build.h"
#include "segment_site.h"

#define NAME "0000000000000001.seg"

/* What the footer says against the records that a scan of the octets finds before records_end. */
static void assert_footer_matches(struct segment_site *s, uint64_t number, slice octets, uint64_t records_end)
{
    struct segment_info info;
    struct footer_cursor cursor;
    struct footer_entry e;
    struct footer f;
    struct buf mem = BUF_INIT;
    struct scan_item item;
    struct scan scan;
    slice payload;
    struct err err = ERR_INIT;

    assert_true(segment_dir_find(s->dir, number, &info));
    assert_true(info.is_sealed && info.records_end == records_end);
    if (segment_read_footer(s->dir, number, &f, &mem, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(f.records_end == records_end);
    footer_begin(&cursor, &f);
    scan_begin(&scan, slice_sub(octets, 0, records_end), info.header.salt);
    while (scan_next(&scan, &item) != SCAN_END) {
        if (item.event == SCAN_HOLE)
            continue;
        assert_true(footer_next(&cursor, &e, &payload));
        assert_true(e.offset == item.from && e.header.seq == item.header.seq);
        if (!(item.header.flags & RECORD_BODY))
            assert_true(slice_eq(payload, item.payload));
    }
    assert_false(footer_next(&cursor, &e, &payload));
    buf_free(&mem);
}

/* A sealed segment found again: its records are the octets that were there before, then the footer, then nothing. */
static void assert_sealed_file(struct segment_site *s, slice before, uint64_t records_end)
{
    struct buf after = BUF_INIT;
    struct segment_info info;
    struct scan_item item;
    struct scan scan;
    uint64_t last = SEGMENT_PAGE_BYTES;

    site_reopen(s);
    site_get(s, 0, NAME, &after);
    assert_true(segment_dir_find(s->dir, 1, &info));
    assert_true(info.bytes == after.len);
    assert_memory_equal(after.ptr, before.ptr, records_end);
    assert_footer_matches(s, 1, before, records_end);
    scan_begin(&scan, buf_slice(&after), info.header.salt);
    while (scan_next(&scan, &item) != SCAN_END) {
        if (item.event == SCAN_RECORD)
            last = item.to;
    }
    assert_true(last <= records_end);
    buf_free(&after);
}

static void seal__cuts_a_torn_tail(void **state)
{
    struct segment_site s;
    struct segment_writer w;
    struct buf before = BUF_INIT, tail = BUF_INIT;
    uint64_t end;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_log(&s, &w, 1, 10, 100);
    end = w.at;
    /* half a record, then many whole ones that were never answered: more than the footer covers */
    build_simple(&tail, w.header.salt, 11, 0, 100);
    tail.ptr[80] ^= 1;
    for (uint64_t seq = 12; seq < 80; seq++)
        build_simple(&tail, w.header.salt, seq, 0, 100);
    site_append(&w, buf_slice(&tail));
    segment_writer_close(&w);
    site_get(&s, 0, NAME, &before);
    assert_int_equal(segment_seal(s.dir, 1, end, NULL), 0);
    assert_sealed_file(&s, buf_slice(&before), end);
    buf_free(&before);
    buf_free(&tail);
    site_free(&s);
}

static void seal__keeps_damaged_octets(void **state)
{
    struct segment_site s;
    struct segment_writer w;
    struct buf file = BUF_INIT;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_log(&s, &w, 1, 10, 100);
    segment_writer_close(&w);
    site_get(&s, 0, NAME, &file);
    for (unsigned i = 2; i < 5; i++)
        file.ptr[4096 + i * 160 + 70 + i] ^= 0xff; /* records 3 to 5 */
    file.ptr[w.at - 20] ^= 0xff;                   /* and the last */
    site_put(&s, 0, NAME, buf_slice(&file));
    assert_int_equal(segment_seal(s.dir, 1, w.at, NULL), 0);
    assert_sealed_file(&s, buf_slice(&file), w.at);
    buf_free(&file);
    site_free(&s);
}

/* Windows of 4 MiB: records, holes and a record longer than that lie across their borders. */
static void seal__of_a_long_segment(void **state)
{
    static const uint32_t lengths[] = {
        1048576, 1000001, 3000000, 17, 6000000, 0, 1048576, 1048576, 5000000, 900000, 70000, 4000000, 8,
    };
    static const struct {
        size_t from, len;
    } damage[] = { { 0, 0 }, { 5049000, 1 }, { 9000000, 5000000 }, { 4096, 9000000 }, { 4096, 20000000 } };
    struct segment_site s;
    struct segment_writer w;
    struct buf records = BUF_INIT, before = BUF_INIT;

    (void)state;
    for (size_t d = 0; d < ARRAY_LEN(damage); d++) {
        site_init(&s);
        s.conf.copy_on_write = true;
        site_open(&s);
        site_log(&s, &w, 1, 0, 0);
        buf_reset(&records);
        for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
            build_simple(&records, w.header.salt, i + 1, i % 2 ? RECORD_BODY : 0, lengths[i]);
        for (size_t i = 0; i < damage[d].len; i++)
            records.ptr[damage[d].from - 4096 + i] = 0x55;
        site_append(&w, buf_slice(&records));
        segment_writer_close(&w);
        site_get(&s, 0, NAME, &before);
        assert_int_equal(segment_seal(s.dir, 1, w.at, NULL), 0);
        assert_footer_matches(&s, 1, buf_slice(&before), w.at);
        site_free(&s);
    }
    buf_free(&records);
    buf_free(&before);
}

/* A crash while the footer was written: any part of it may have reached the disk. It is not sealed, and sealing again
 * gives the same. */
static void seal__after_a_crash_in_sealing(void **state)
{
    struct segment_site s;
    struct segment_writer w;
    struct segment_info info;
    struct buf open_file = BUF_INIT, sealed = BUF_INIT, torn = BUF_INIT, again = BUF_INIT;
    uint64_t end;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_log(&s, &w, 1, 4, 0); /* records without payload: their headers stand in the footer */
    end = w.at;
    segment_writer_close(&w);
    site_get(&s, 0, NAME, &open_file);
    assert_int_equal(segment_seal(s.dir, 1, end, NULL), 0);
    site_get(&s, 0, NAME, &sealed);
    for (unsigned cut = 0; cut < 2; cut++) {
        for (size_t written = end; written < sealed.len; written++) {
            struct scan_item item;
            struct scan scan;
            unsigned n = 0;

            buf_reset(&torn);
            buf_put(&torn, sealed.ptr, written);
            if (!cut)
                buf_put(&torn, open_file.ptr + written, open_file.len - written);
            site_close(&s);
            site_put(&s, 0, NAME, buf_slice(&torn));
            site_open(&s);
            assert_true(segment_dir_find(s.dir, 1, &info));
            assert_false(info.is_sealed || info.is_damaged);
            scan_begin(&scan, buf_slice(&torn), info.header.salt);
            while (scan_next(&scan, &item) == SCAN_RECORD)
                n++;
            assert_true(n == 4 && item.event == SCAN_END && item.from == end);
            assert_int_equal(segment_seal(s.dir, 1, end, NULL), 0);
            site_get(&s, 0, NAME, &again);
            assert_true(slice_eq(buf_slice(&again), buf_slice(&sealed)));
        }
    }
    /* everything but the cut */
    buf_reset(&torn);
    buf_put_slice(&torn, buf_slice(&sealed));
    buf_put(&torn, open_file.ptr + sealed.len, open_file.len - sealed.len);
    site_close(&s);
    site_put(&s, 0, NAME, buf_slice(&torn));
    site_open(&s);
    assert_true(segment_dir_find(s.dir, 1, &info));
    assert_false(info.is_sealed);
    buf_free(&open_file);
    buf_free(&sealed);
    buf_free(&torn);
    buf_free(&again);
    site_free(&s);
}

static void seal__is_done_once(void **state)
{
    struct segment_site s;
    struct buf one = BUF_INIT, two = BUF_INIT;
    struct err err = ERR_INIT;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_sealed(&s, 1, 10, 8);
    site_get(&s, 0, NAME, &one);
    assert_int_equal(segment_seal(s.dir, 1, 4096, NULL), 0);
    site_get(&s, 0, NAME, &two);
    assert_true(slice_eq(buf_slice(&one), buf_slice(&two)));
    assert_int_equal(segment_seal(s.dir, 2, 4096, &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
    buf_free(&one);
    buf_free(&two);
    site_free(&s);
}

/* A footer that rotted is noticed when it is read, and can be made again from the records. */
static void footer__that_rotted_is_replaced(void **state)
{
    struct segment_site s;
    struct segment_info info;
    struct buf good = BUF_INIT, bad = BUF_INIT, mem = BUF_INIT, again = BUF_INIT;
    uint64_t end;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_sealed(&s, 1, 10, 8);
    assert_true(segment_dir_find(s.dir, 1, &info));
    end = info.records_end;
    site_get(&s, 0, NAME, &good);
    for (size_t at = end; at < good.len; at += 7) {
        struct err err = ERR_INIT;
        struct footer f;
        bool in_trailer = at >= good.len - FOOTER_TRAILER_BYTES;

        buf_reset(&bad);
        buf_put_slice(&bad, buf_slice(&good));
        bad.ptr[at] ^= 0x20;
        site_close(&s);
        site_put(&s, 0, NAME, buf_slice(&bad));
        site_open(&s);
        assert_true(segment_dir_find(s.dir, 1, &info));
        assert_int_equal(info.is_sealed, in_trailer ? 0 : 1);
        assert_int_equal(segment_read_footer(s.dir, 1, &f, &mem, &err), -1);
        assert_int_equal(err.kind, in_trailer ? ERR_NOTFOUND : ERR_DAMAGE);
        assert_true(segment_dir_find(s.dir, 1, &info));
        assert_int_equal(info.is_damaged, in_trailer ? 0 : 1);
        assert_int_equal(segment_seal(s.dir, 1, end, NULL), 0);
        site_get(&s, 0, NAME, &again);
        assert_true(slice_eq(buf_slice(&again), buf_slice(&good)));
        assert_int_equal(segment_read_footer(s.dir, 1, &f, &mem, &err), 0);
        assert_true(segment_dir_find(s.dir, 1, &info));
        assert_true(info.is_sealed && !info.is_damaged);
    }
    buf_free(&good);
    buf_free(&bad);
    buf_free(&mem);
    buf_free(&again);
    site_free(&s);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void writer_write__more_than_one_call_takes(void **state)
{
    enum { COUNT = IOV_MAX * 2 + 100 };
    struct iovec *iov = mem_alloc_array(COUNT, sizeof(*iov));
    struct segment_site s;
    struct segment_writer w;
    struct buf octets = BUF_INIT, file = BUF_INIT;
    size_t at = 0;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_log(&s, &w, 1, 0, 0);
    for (unsigned i = 0; i < COUNT; i++)
        buf_put_le32(&octets, i);
    for (unsigned i = 0; i < COUNT; i++) { /* of 0 to 8 octets */
        size_t len = i % 3 == 0 ? 0 : i % 3 == 1 ? 8 : 4;

        if (len > octets.len - at)
            len = octets.len - at;
        iov[i] = (struct iovec){ octets.ptr + at, len };
        at += len;
    }
    assert_int_equal(at, octets.len);
    assert_int_equal(segment_writer_write(&w, iov, COUNT, NULL), 0);
    assert_true(w.at == 4096);
    site_get(&s, 0, NAME, &file);
    assert_memory_equal(file.ptr + 4096, octets.ptr, octets.len);
    assert_int_equal(file.len, SITE_SEGMENT_BYTES);
    segment_writer_close(&w);
    mem_free(iov);
    buf_free(&octets);
    buf_free(&file);
    site_free(&s);
}

static void writer_write__beyond_the_capacity(void **state)
{
    unsigned char octets[SITE_SEGMENT_BYTES];
    struct segment_site s;
    struct segment_writer w;
    struct segment_info info;

    (void)state;
    site_init(&s);
    site_open(&s);
    site_log(&s, &w, 1, 0, 0);
    memset(octets, 'x', sizeof(octets));
    site_append(&w, slice_of(octets, sizeof(octets)));
    assert_true(segment_dir_find(s.dir, 1, &info));
    assert_true(info.bytes == 4096 + sizeof(octets) && segment_dir_bytes(s.dir) == info.bytes);
    segment_writer_close(&w);
    site_free(&s);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void read__of_what_is_not_there(void **state)
{
    struct segment_site s;
    struct segment_writer w;
    struct err err = ERR_INIT;
    struct buf mem = BUF_INIT;
    uint64_t bad_bytes;
    struct footer f;
    char *path;

    (void)state;
    site_init(&s);
    site_open(&s);
    assert_int_equal(segment_read_all(s.dir, 1, &mem, &bad_bytes, &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
    site_log(&s, &w, 1, 1, 8);
    segment_writer_close(&w);
    err = ERR_INIT;
    assert_int_equal(segment_read_footer(s.dir, 1, &f, &mem, &err), -1); /* not sealed */
    assert_int_equal(err.kind, ERR_NOTFOUND);
    assert_int_equal(segment_seal(s.dir, 1, w.at, NULL), 0);
    path = site_path(&s, 0, NAME);
    assert_int_equal(truncate(path, 20), 0); /* behind our back */
    err = ERR_INIT;
    assert_int_equal(segment_read_footer(s.dir, 1, &f, &mem, &err), -1);
    assert_int_equal(err.kind, ERR_DAMAGE);
    assert_int_equal(segment_read_all(s.dir, 1, &mem, &bad_bytes, NULL), 0);
    assert_int_equal(mem.len, 20);
    free(path);
    buf_free(&mem);
    site_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seal__cuts_a_torn_tail),
        cmocka_unit_test(seal__keeps_damaged_octets),
        cmocka_unit_test(seal__of_a_long_segment),
        cmocka_unit_test(seal__after_a_crash_in_sealing),
        cmocka_unit_test(seal__is_done_once),
        cmocka_unit_test(footer__that_rotted_is_replaced),
        cmocka_unit_test(writer_write__more_than_one_call_takes),
        cmocka_unit_test(writer_write__beyond_the_capacity),
        cmocka_unit_test(read__of_what_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
