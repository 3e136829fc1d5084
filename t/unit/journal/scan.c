#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/random.h"
#include "journal/format.h"
#include "segment_build.h"

#define SALT 0x5ca11ab1u

struct event {
    enum scan_event event;
    uint64_t from, to;
    enum record_verdict cause; /* not of records */
    uint64_t seq;              /* of records */
};

static void assert_events(slice segment, const struct event *rows, size_t count, const char *what)
{
    struct scan_item item;
    struct scan s;

    scan_begin(&s, segment, SALT);
    for (size_t i = 0; i < count; i++) {
        enum scan_event event = scan_next(&s, &item);

        if (event != rows[i].event || item.event != event || item.from != rows[i].from || item.to != rows[i].to)
            fail_msg("%s, row %zu: event %d from %llu to %llu", what, i, event, (unsigned long long)item.from,
                     (unsigned long long)item.to);
        if (event == SCAN_RECORD ? item.header.seq != rows[i].seq : item.cause != rows[i].cause)
            fail_msg("%s, row %zu: cause %d, seq %llu", what, i, item.cause, (unsigned long long)item.header.seq);
    }
    assert_int_equal(scan_next(&s, &item), SCAN_END);
}

static void scan__whole_segment(void **state)
{
    struct buf b = BUF_INIT;
    struct scan_item item;
    struct scan s;

    (void)state;
    build_page(&b, SALT, 1, 1);
    build_simple(&b, SALT, 1, 0, 0);
    build_simple(&b, SALT, 2, 0, 1);
    build_simple(&b, SALT, 3, RECORD_BODY, 65537);
    assert_events(buf_slice(&b), (const struct event[]){
        { SCAN_RECORD, 4096, 4152, 0, 1 },
        { SCAN_RECORD, 4152, 4216, 0, 2 },
        { SCAN_RECORD, 4216, 69824, 0, 3 },
        { SCAN_END, 69824, 69824, RECORD_NO_MAGIC, 0 },
    }, 4, "exact");
    buf_put(&b, (unsigned char[100]){ 0 }, 100); /* pre-written zeros behind it */
    assert_events(buf_slice(&b), (const struct event[]){
        { SCAN_RECORD, 4096, 4152, 0, 1 },
        { SCAN_RECORD, 4152, 4216, 0, 2 },
        { SCAN_RECORD, 4216, 69824, 0, 3 },
        { SCAN_END, 69824, 69924, RECORD_NO_MAGIC, 0 },
    }, 4, "zeros");
    scan_begin(&s, buf_slice(&b), SALT);
    for (uint64_t seq = 1; scan_next(&s, &item) == SCAN_RECORD; seq++) {
        struct buf payload = BUF_INIT;

        build_payload(&payload, seq, item.header.length);
        assert_true(slice_eq(item.payload, buf_slice(&payload)));
        buf_free(&payload);
    }
    buf_free(&b);
}

static void scan__nothing_to_scan(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    build_page(&b, SALT, 1, 1);
    for (size_t len = 0; len <= 4096; len += 1024)
        assert_events(slice_of(b.ptr, len), (const struct event[]){ { SCAN_END, 4096, 4096, RECORD_NO_MAGIC, 0 } }, 1,
                      "short");
    buf_free(&b);
}

/* Five records of 64, 72, 64, 131144 and 64 octets. */
enum { A = 4096, B = A + 64, C = B + 72, D = C + 64, E = D + 131144, END = E + 64 };
static void five(struct buf *b)
{
    static const uint32_t lengths[] = { 8, 16, 4, 131073, 1 };

    buf_reset(b);
    build_page(b, SALT, 1, 1);
    for (uint64_t i = 0; i < 5; i++)
        build_simple(b, SALT, i + 1, 0, lengths[i]);
    assert_int_equal(b->len, END);
}

static void scan__holes_have_exact_borders(void **state)
{
    static const struct {
        const char *what;
        struct {
            size_t at, len; /* these octets are inverted */
        } damage[2];
        struct event events[7];
    } rows[] = {
        { "none", { { 0, 0 } },
          { { SCAN_RECORD, A, B, 0, 1 }, { SCAN_RECORD, B, C, 0, 2 }, { SCAN_RECORD, C, D, 0, 3 },
            { SCAN_RECORD, D, E, 0, 4 }, { SCAN_RECORD, E, END, 0, 5 }, { SCAN_END, END, END, RECORD_NO_MAGIC, 0 } } },
        { "first magic", { { A, 1 } },
          { { SCAN_HOLE, A, B, RECORD_NO_MAGIC, 0 }, { SCAN_RECORD, B, C, 0, 2 }, { SCAN_RECORD, C, D, 0, 3 },
            { SCAN_RECORD, D, E, 0, 4 }, { SCAN_RECORD, E, END, 0, 5 }, { SCAN_END, END, END, RECORD_NO_MAGIC, 0 } } },
        { "header", { { B + 20, 1 } },
          { { SCAN_RECORD, A, B, 0, 1 }, { SCAN_HOLE, B, C, RECORD_BAD_HEADER, 0 }, { SCAN_RECORD, C, D, 0, 3 },
            { SCAN_RECORD, D, E, 0, 4 }, { SCAN_RECORD, E, END, 0, 5 }, { SCAN_END, END, END, RECORD_NO_MAGIC, 0 } } },
        { "payload", { { B + 60, 1 } },
          { { SCAN_RECORD, A, B, 0, 1 }, { SCAN_HOLE, B, C, RECORD_BAD_PAYLOAD, 0 }, { SCAN_RECORD, C, D, 0, 3 },
            { SCAN_RECORD, D, E, 0, 4 }, { SCAN_RECORD, E, END, 0, 5 }, { SCAN_END, END, END, RECORD_NO_MAGIC, 0 } } },
        { "two neighbours", { { B + 60, 1 }, { C + 57, 1 } },
          { { SCAN_RECORD, A, B, 0, 1 }, { SCAN_HOLE, B, D, RECORD_BAD_PAYLOAD, 0 }, { SCAN_RECORD, D, E, 0, 4 },
            { SCAN_RECORD, E, END, 0, 5 }, { SCAN_END, END, END, RECORD_NO_MAGIC, 0 } } },
        { "across three", { { B + 10, D + 8 - B } },
          { { SCAN_RECORD, A, B, 0, 1 }, { SCAN_HOLE, B, E, RECORD_BAD_HEADER, 0 }, { SCAN_RECORD, E, END, 0, 5 },
            { SCAN_END, END, END, RECORD_NO_MAGIC, 0 } } },
        { "two places", { { A + 56, 1 }, { D + 70000, 1 } },
          { { SCAN_HOLE, A, B, RECORD_BAD_PAYLOAD, 0 }, { SCAN_RECORD, B, C, 0, 2 }, { SCAN_RECORD, C, D, 0, 3 },
            { SCAN_HOLE, D, E, RECORD_BAD_PAYLOAD, 0 }, { SCAN_RECORD, E, END, 0, 5 },
            { SCAN_END, END, END, RECORD_NO_MAGIC, 0 } } },
        { "table of checksums", { { D + 56 + 131073, 1 } },
          { { SCAN_RECORD, A, B, 0, 1 }, { SCAN_RECORD, B, C, 0, 2 }, { SCAN_RECORD, C, D, 0, 3 },
            { SCAN_HOLE, D, E, RECORD_BAD_PAYLOAD, 0 }, { SCAN_RECORD, E, END, 0, 5 },
            { SCAN_END, END, END, RECORD_NO_MAGIC, 0 } } },
        { "last", { { E + 56, 1 } },
          { { SCAN_RECORD, A, B, 0, 1 }, { SCAN_RECORD, B, C, 0, 2 }, { SCAN_RECORD, C, D, 0, 3 },
            { SCAN_RECORD, D, E, 0, 4 }, { SCAN_END, E, END, RECORD_BAD_PAYLOAD, 0 } } },
        { "all", { { A, END - A } }, { { SCAN_END, A, END, RECORD_NO_MAGIC, 0 } } },
    };
    struct buf b = BUF_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t count = 0;

        five(&b);
        for (size_t d = 0; d < 2; d++) {
            for (size_t k = 0; k < rows[i].damage[d].len; k++)
                b.ptr[rows[i].damage[d].at + k] ^= 0xff;
        }
        while (rows[i].events[count].event != SCAN_END)
            count++;
        assert_events(buf_slice(&b), rows[i].events, count + 1, rows[i].what);
    }
    buf_free(&b);
}

/* The tail cut at every octet: all records that are whole, and nothing else. */
static void scan__cut_anywhere(void **state)
{
    static const uint32_t lengths[] = { 0, 8, 3, 200, 64, 1 };
    uint64_t ends[ARRAY_LEN(lengths) + 1] = { SEGMENT_PAGE_BYTES };
    struct buf b = BUF_INIT;

    (void)state;
    build_page(&b, SALT, 1, 1);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        build_simple(&b, SALT, i + 1, 0, lengths[i]);
        ends[i + 1] = b.len;
    }
    for (size_t len = SEGMENT_PAGE_BYTES; len <= b.len; len++) {
        struct event events[ARRAY_LEN(lengths) + 1];
        size_t n = 0;

        for (; n < ARRAY_LEN(lengths) && ends[n + 1] <= len; n++)
            events[n] = (struct event){ SCAN_RECORD, ends[n], ends[n + 1], 0, n + 1 };
        events[n] = (struct event){ SCAN_END, ends[n], len, len == ends[n] ? RECORD_NO_MAGIC : RECORD_CUT, 0 };
        assert_events(slice_of(b.ptr, len), events, n + 1, "cut");
    }
    buf_free(&b);
}

/* The same with zeros or octets of an earlier life behind the cut, as in a recycled file. */
static void scan__torn_anywhere(void **state)
{
    struct buf b = BUF_INIT, torn = BUF_INIT, old = BUF_INIT;
    uint64_t ends[5] = { SEGMENT_PAGE_BYTES };

    (void)state;
    build_page(&b, SALT, 1, 1);
    build_page(&old, SALT + 1, 1, 1);
    for (uint64_t i = 0; i < 4; i++) {
        build_simple(&b, SALT, i + 1, 0, (uint32_t)(i * 5));
        build_simple(&old, SALT + 1, i + 1, 0, (uint32_t)(i * 5));
        ends[i + 1] = b.len;
    }
    for (int recycled = 0; recycled < 2; recycled++) {
        for (size_t len = SEGMENT_PAGE_BYTES; len <= b.len; len++) {
            struct scan_item item;
            struct scan s;
            size_t n = 0;

            buf_reset(&torn);
            buf_put(&torn, b.ptr, len);
            if (recycled)
                buf_put(&torn, old.ptr + len, old.len - len);
            else
                memset(buf_extend(&torn, b.len - len), 0, b.len - len);
            scan_begin(&s, buf_slice(&torn), SALT);
            while (scan_next(&s, &item) == SCAN_RECORD) {
                assert_true(item.to == ends[n + 1]);
                n++;
            }
            assert_int_equal(item.event, SCAN_END);
            /* Octets that happen to be right, padding above all, make a record whole that was cut. */
            assert_true(ends[n] >= len || n == 4 || memcmp(torn.ptr + ends[n], b.ptr + ends[n], ends[n + 1] - ends[n]));
            assert_true(n == 0 || ends[n - 1] < len);
        }
    }
    buf_free(&b);
    buf_free(&torn);
    buf_free(&old);
}

/* Octets of a footer, even of records without payload, are no records. */
static void scan__does_not_mistake_a_footer(void **state)
{
    struct buf b = BUF_INIT, footer = BUF_INIT;
    struct footer_writer w;
    struct event events[9];

    (void)state;
    build_page(&b, SALT, 1, 1);
    footer_writer_init(&w, SALT);
    for (uint64_t i = 0; i < 8; i++) {
        size_t at = build_simple(&b, SALT, i + 1, 0, 0);
        struct record_header h;

        record_header_decode(slice_from(buf_slice(&b), at), SALT, &h);
        footer_writer_add(&w, at, &h, SLICE_NONE);
        events[i] = (struct event){ SCAN_RECORD, at, b.len, 0, i + 1 };
    }
    footer_writer_finish(&w, b.len, b.len, &footer);
    events[8] = (struct event){ SCAN_END, b.len, b.len + footer.len, RECORD_NO_MAGIC, 0 };
    buf_put_slice(&b, buf_slice(&footer));
    assert_events(buf_slice(&b), events, 9, "with footer");
    footer_writer_free(&w);
    buf_free(&b);
    buf_free(&footer);
}

/* A damaged message that is itself a segment of ours: its records are a stranger's as long as the header before it is
 * sound. */
static void scan__passes_over_a_damaged_payload(void **state)
{
    struct buf b = BUF_INIT, inner = BUF_INIT;
    size_t at, next;

    (void)state;
    build_page(&b, SALT, 1, 1);
    build_simple(&inner, SALT, 99, 0, 3);
    at = build_record(&b, SALT, (struct record_header){ .seq = 1 }, buf_slice(&inner));
    next = build_simple(&b, SALT, 2, 0, 8);
    b.ptr[at + 56 + 63] ^= 1; /* padding of the inner record: that would still be valid */
    assert_events(buf_slice(&b), (const struct event[]){
        { SCAN_HOLE, at, next, RECORD_BAD_PAYLOAD, 0 },
        { SCAN_RECORD, next, next + 64, 0, 2 },
        { SCAN_END, next + 64, next + 64, RECORD_NO_MAGIC, 0 },
    }, 3, "damaged payload");
    buf_free(&b);
    buf_free(&inner);
}

static uint64_t scan_all(slice segment, struct scan *s, unsigned *records, uint64_t *last_seq)
{
    struct scan_item item;
    uint64_t events = 0;

    *records = 0;
    scan_begin(s, segment, SALT);
    while (scan_next(s, &item) != SCAN_END) {
        events++;
        if (item.event == SCAN_RECORD) {
            ++*records;
            *last_seq = item.header.seq;
        }
    }
    return events;
}

/* 8 MiB of forged magics in a damaged message cost one checksum of a header each. */
static void scan__is_linear_with_forged_magics(void **state)
{
    struct buf b = BUF_INIT;
    uint64_t last_seq = 0;
    unsigned records;
    size_t from;
    struct scan s;

    (void)state;
    build_page(&b, SALT, 1, 1);
    from = b.len;
    for (size_t i = 0; i < 1024 * 1024; i++)
        buf_put(&b, "PHr1\xff\xff\xff\x00", 8);
    b.ptr[from] = 'x';
    build_simple(&b, SALT, 7, 0, 8);
    assert_int_equal(scan_all(buf_slice(&b), &s, &records, &last_seq), 2);
    assert_int_equal(records, 1);
    assert_true(last_seq == 7);
    assert_true(s.spent == 0);
    buf_free(&b);
}

/* Even who knows the salt cannot make it quadratic: sound headers, each claiming all octets behind it. */
static void scan__is_linear_with_forged_headers(void **state)
{
    enum { COUNT = 2000 };
    struct buf b = BUF_INIT;
    uint64_t last_seq = 0;
    unsigned records;
    size_t real;
    struct scan s;

    (void)state;
    build_page(&b, SALT, 1, 1);
    buf_put(&b, "damaged.", 8);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct record_header h = { .seq = 5, .length = (COUNT - 1 - i) * RECORD_HEADER_BYTES, .payload_crc = 1 };

        record_header_encode(buf_extend(&b, RECORD_HEADER_BYTES), SALT, &h);
    }
    real = build_simple(&b, SALT, 7, 0, 8);
    scan_all(buf_slice(&b), &s, &records, &last_seq);
    /* without a limit: COUNT / 2 times the length */
    assert_true(s.spent > 60 * (uint64_t)b.len);
    assert_true(s.spent <= (SCAN_BUDGET + 1) * (uint64_t)b.len);
    assert_true(real < b.len);

    /* a few such headers hide nothing */
    buf_reset(&b);
    build_page(&b, SALT, 1, 1);
    buf_put(&b, "damaged.", 8);
    for (uint32_t i = 0; i < 100; i++) {
        struct record_header h = { .seq = 5, .length = (99 - i) * RECORD_HEADER_BYTES, .payload_crc = 1 };

        record_header_encode(buf_extend(&b, RECORD_HEADER_BYTES), SALT, &h);
    }
    build_simple(&b, SALT, 7, 0, 8);
    scan_all(buf_slice(&b), &s, &records, &last_seq);
    assert_int_equal(records, 1);
    assert_true(last_seq == 7);
    buf_free(&b);
}

/* Whatever is damaged, events join without gap, and a record is reported if and only if none of its octets was hit. */
static void scan__random_damage(void **state)
{
    enum { RECORDS = 40 };
    struct buf b = BUF_INIT;
    struct rng rng;

    (void)state;
    rng_init(&rng, 20240607);
    for (unsigned round = 0; round < 300; round++) {
        uint64_t at[RECORDS + 1], here = SEGMENT_PAGE_BYTES;
        bool hit[RECORDS] = { false };
        struct scan_item item;
        struct scan s;
        size_t n = 0;

        buf_reset(&b);
        build_page(&b, SALT, 1, 1);
        for (size_t i = 0; i < RECORDS; i++)
            at[i] = build_simple(&b, SALT, i + 1, 0, (uint32_t)rng_below(&rng, 100) * 8);
        at[RECORDS] = b.len;
        for (uint64_t k = rng_below(&rng, 20); k > 0; k--) {
            size_t i = rng_below(&rng, RECORDS);

            if (!hit[i]) /* lengths are multiples of 8: no padding, every octet counts */
                b.ptr[at[i] + rng_below(&rng, at[i + 1] - at[i])] ^= (unsigned char)(1 + rng_below(&rng, 255));
            hit[i] = true;
        }
        scan_begin(&s, buf_slice(&b), SALT);
        while (scan_next(&s, &item) != SCAN_END) {
            assert_true(item.from == here && item.to > here);
            here = item.to;
            if (item.event == SCAN_HOLE) {
                while (at[n] < item.to)
                    assert_true(hit[n++]);
                continue;
            }
            assert_true(at[n] == item.from && at[n + 1] == item.to && !hit[n] && item.header.seq == n + 1);
            n++;
        }
        assert_true(item.from == here && item.to == b.len);
        while (n < RECORDS)
            assert_true(hit[n++]);
    }
    buf_free(&b);
}

static void scan_is_damage__table(void **state)
{
    static const struct {
        uint64_t seq, later_durable, trusted_seq;
        bool expected;
    } rows[] = {
        { 10, 0, 0, false }, /* nothing follows: torn */
        { 10, 9, 0, false }, /* what follows was written when 10 was not known to be durable */
        { 10, 9, 9, false },
        { 10, 10, 0, true },
        { 10, 11, 0, true },
        { 10, 0, 10, true }, /* an index on the same disk had it */
        { 10, 0, 9, false },
        { 10, 3, 12, true },
        { 1, 0, 0, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (scan_is_damage(rows[i].seq, rows[i].later_durable, rows[i].trusted_seq) != rows[i].expected)
            fail_msg("row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan__whole_segment),
        cmocka_unit_test(scan__nothing_to_scan),
        cmocka_unit_test(scan__holes_have_exact_borders),
        cmocka_unit_test(scan__cut_anywhere),
        cmocka_unit_test(scan__torn_anywhere),
        cmocka_unit_test(scan__does_not_mistake_a_footer),
        cmocka_unit_test(scan__passes_over_a_damaged_payload),
        cmocka_unit_test(scan__is_linear_with_forged_magics),
        cmocka_unit_test(scan__is_linear_with_forged_headers),
        cmocka_unit_test(scan__random_damage),
        cmocka_unit_test(scan_is_damage__table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
