/* layout.c - rows and payloads keep their octets, and what does not decode is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/internal.h"

#define HASH_INBOX UINT64_C(0x5e227664a360901f)

static struct store_row sample(void)
{
    return (struct store_row){ .uid = 300, .system = STORE_SEEN | STORE_DRAFT, .keywords = UINT64_C(1) << 63,
                               .modseq = UINT64_C(0x0102030405060708), .internal_ms = -5, .save_ms = 1700000000000,
                               .body = { 7, 9, 11, 13, 17 } };
}

static void layout__row_has_64_octets_in_this_order(void **state)
{
    static const unsigned char want[] = {
        17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 8, 7, 6, 5, 4, 3, 2, 1, 0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 13, 0, 0,
        0, 17, 0, 0, 0,
    };
    struct store_row row = sample(), back;
    struct buf out = BUF_INIT;

    (void)state;
    store_row_encode(&out, &row);
    assert_int_equal(out.len, STORE_ROW_BYTES);
    assert_memory_equal(out.ptr, want, sizeof want);
    assert_true(store_row_decode(300, buf_slice(&out), &back));
    assert_int_equal(back.bytes, 30);
    assert_int_equal(back.email_id, 9);
    for (size_t cut = 0; cut < out.len; cut++)
        assert_false(store_row_decode(300, slice_of(out.ptr, cut), &back));
    buf_put_byte(&out, 0);
    assert_false(store_row_decode(300, buf_slice(&out), &back)); /* too long is as wrong as too short */
    buf_free(&out);
}

static void layout__payloads_refuse_what_no_writer_makes(void **state)
{
    static const struct {
        slice octets;
        bool is_range; /* else flags */
    } rows[] = {
        { { (const unsigned char *)"\x00\x00", 2 }, true }, /* uid 0 */
        { { (const unsigned char *)"\x01\xff\xff\xff\xff\x0f", 6 }, true }, /* past the last uid */
        { { (const unsigned char *)"\xff\xff\xff\xff\x1f\x00", 6 }, true }, /* over 32 bits */
        { { (const unsigned char *)"\x01", 1 }, true },
        { { (const unsigned char *)"\x00\x01\x01", 3 }, false },
        { { (const unsigned char *)"\x01\x01", 2 }, false },
    };
    struct uid_range range;
    uint64_t keywords;
    uint32_t uid, system;

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reader r = reader_of(rows[i].octets);

        if (rows[i].is_range ? payload_range_next(&r, &range) : payload_flags_next(&r, &uid, &system, &keywords))
            fail_msg("row %u decodes", i);
        assert_true(r.failed);
    }
}

static void layout__heads_come_back_as_they_went(void **state)
{
    struct mailbox_head h = { .account = 5, .uidvalidity = 6, .special = 2, .flags = HEAD_DOOMED, .name = SLICE("a/b"),
                              .keyword_count = 2, .keyword = { SLICE("x"), SLICE("") } }, back;
    struct buf out = BUF_INIT;

    (void)state;
    mailbox_head_encode(&out, &h);
    assert_true(mailbox_head_decode(buf_slice(&out), &back));
    assert_int_equal(back.account, 5);
    assert_int_equal(back.uidvalidity, 6);
    assert_int_equal(back.special, 2);
    assert_int_equal(back.flags, HEAD_DOOMED);
    assert_true(slice_eq(back.name, h.name));
    assert_int_equal(back.keyword_count, 2);
    assert_true(slice_eq(back.keyword[0], h.keyword[0]));
    assert_int_equal(back.keyword[1].len, 0);
    for (size_t cut = 0; cut < out.len; cut++)
        assert_false(mailbox_head_decode(slice_of(out.ptr, cut), &back));
    buf_free(&out);
}

/* The hash stands in keys on disk: it must not change. */
static void layout__name_hash_is_for_ever(void **state)
{
    (void)state;
    assert_int_equal(name_hash(SLICE("INBOX")), HASH_INBOX);
    assert_int_equal(subscribe_part(SLICE("INBOX")), 1 + (HASH_INBOX >> 60));
    assert_int_equal(page_part(0), 1);
    assert_int_equal(page_part(4095), 1);
    assert_int_equal(page_part(4096), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout__row_has_64_octets_in_this_order),
        cmocka_unit_test(layout__payloads_refuse_what_no_writer_makes),
        cmocka_unit_test(layout__heads_come_back_as_they_went),
        cmocka_unit_test(layout__name_hash_is_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
