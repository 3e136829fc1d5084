#include "journal/index_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/crc.h"

static const struct index_state sample = {
    .format = 3,
    .opens = 2,
    .pages_crc = 0xA1B2C3D4,
    .clean = true,
    .inode = 0x1122334455667788,
    .birth_s = -5,
    .birth_ns = 999999999,
    .journal_id = "0123456789abcdef",
    .boot_id = "a0b1c2d3-e4f5-4678-9abc-def012345678",
};

static void index_state_encode__has_the_written_layout(void **state)
{
    unsigned char out[INDEX_STATE_BYTES];

    (void)state;
    index_state_encode(out, &sample);
    assert_memory_equal(out,
                        "PHINDEX\n"
                        "\x01\0\0\0"
                        "\x03\0\0\0"
                        "0123456789abcdef"
                        "\x88\x77\x66\x55\x44\x33\x22\x11"
                        "\xFB\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
                        "\xFF\xC9\x9A\x3B"
                        "\x01\0\0\0"
                        "\xD4\xC3\xB2\xA1"
                        "\x02\0\0\0"
                        "a0b1c2d3-e4f5-4678-9abc-def012345678\0\0\0\0",
                        104);
    for (int i = 104; i < 124; i++)
        assert_int_equal(out[i], 0);
    assert_int_equal(get_le32(out + 124), crc32c(0, out, 124));
}

static void index_state_decode__gives_back_what_was_encoded(void **state)
{
    unsigned char out[INDEX_STATE_BYTES], again[INDEX_STATE_BYTES];
    struct index_state s;
    struct err err = ERR_INIT;

    (void)state;
    index_state_encode(out, &sample);
    assert_int_equal(index_state_decode(slice_of(out, sizeof(out)), &s, &err), 0);
    assert_int_equal(s.format, 3);
    assert_int_equal(s.opens, 2);
    assert_int_equal(s.pages_crc, 0xA1B2C3D4);
    assert_true(s.clean);
    assert_int_equal(s.inode, 0x1122334455667788);
    assert_int_equal(s.birth_s, -5);
    assert_int_equal(s.birth_ns, 999999999);
    assert_memory_equal(s.journal_id, "0123456789abcdef", 16);
    assert_string_equal(s.boot_id, sample.boot_id);
    index_state_encode(again, &s);
    assert_memory_equal(out, again, sizeof(out));
}

/* Each bit of the block counts, and so does its length. */
static void index_state_decode__refuses_every_changed_bit_and_length(void **state)
{
    unsigned char out[INDEX_STATE_BYTES + 1];
    struct index_state s;

    (void)state;
    memset(out, 0, sizeof(out));
    index_state_encode(out, &sample);
    for (unsigned bit = 0; bit < INDEX_STATE_BYTES * 8; bit++) {
        struct err err = ERR_INIT;

        out[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (index_state_decode(slice_of(out, INDEX_STATE_BYTES), &s, &err) == 0 || err.kind != ERR_DAMAGE)
            fail_msg("bit %u", bit);
        out[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    for (size_t len = 0; len <= sizeof(out); len++)
        assert_int_equal(index_state_decode(slice_of(out, len), &s, NULL), len == INDEX_STATE_BYTES ? 0 : -1);
}

/* What a checksum cannot catch: a writer of another kind. */
static void index_state_decode__refuses_unknown_content(void **state)
{
    static const struct {
        unsigned at;
        unsigned char octet;
        enum err_kind kind;
    } rows[] = {
        { 8, 1, ERR_NONE },       { 8, 2, ERR_PERM },       { 11, 1, ERR_PERM },      { 52, 0, ERR_NONE },
        { 52, 2, ERR_DAMAGE },    { 55, 128, ERR_DAMAGE },  { 100, 'x', ERR_DAMAGE }, { 103, 'x', ERR_DAMAGE },
        { 104, 1, ERR_DAMAGE },   { 123, 1, ERR_DAMAGE },   { 70, 0, ERR_DAMAGE },    { 99, 0, ERR_NONE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned char out[INDEX_STATE_BYTES];
        struct err err = ERR_INIT;
        struct index_state s;

        index_state_encode(out, &sample);
        out[rows[i].at] = rows[i].octet;
        put_le32(out + 124, crc32c(0, out, 124));
        index_state_decode(slice_of(out, sizeof(out)), &s, &err);
        if (err.kind != rows[i].kind)
            fail_msg("row %zu: %s", i, err.text);
    }
}

static void index_state_trusts__rows(void **state)
{
    enum { SAME, FORMAT, JOURNAL, INODE, BIRTH_S, BIRTH_NS };
    static const struct {
        int differs;
        bool clean, same_boot;
        uint32_t opens;
        const char *boot, *why;
    } rows[] = {
        { SAME, true, true, 0, "b", "" },
        { SAME, true, false, 9, "b", "" }, /* opens count only while not clean */
        { SAME, false, true, 0, "b", "" },
        { SAME, false, true, INDEX_OPENS_MAX - 1, "b", "" },
        { SAME, false, true, INDEX_OPENS_MAX, "b", "the program died 5 times soon after opening it" },
        { SAME, false, false, 0, "b", "it was in use when the machine stopped" },
        { SAME, false, true, 0, "unknown", "it was in use when the machine stopped" },
        { SAME, true, true, 0, "unknown", "" },
        { FORMAT, true, true, 0, "b", "it has format 4, this program writes 3" },
        { JOURNAL, true, true, 0, "b", "it belongs to another journal" },
        { INODE, true, true, 0, "b", "its file was copied or restored" },
        { BIRTH_S, true, true, 0, "b", "its file was copied or restored" },
        { BIRTH_NS, false, true, 0, "b", "its file was copied or restored" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct index_state found = sample, now = sample;
        char why[INDEX_WHY_BYTES] = "";
        bool trusted;

        memset(found.boot_id, 0, sizeof(found.boot_id));
        snprintf(found.boot_id, sizeof(found.boot_id), "%s", rows[i].boot);
        memcpy(now.boot_id, found.boot_id, sizeof(now.boot_id));
        if (!rows[i].same_boot)
            now.boot_id[0] ^= 1;
        found.clean = rows[i].clean;
        found.opens = rows[i].opens;
        found.format += rows[i].differs == FORMAT;
        found.journal_id[0] ^= rows[i].differs == JOURNAL;
        found.inode += rows[i].differs == INODE;
        found.birth_s += rows[i].differs == BIRTH_S;
        found.birth_ns -= rows[i].differs == BIRTH_NS;
        trusted = index_state_trusts(&found, &now, why);
        if (trusted != (rows[i].why[0] == '\0') || strcmp(why, rows[i].why) != 0)
            fail_msg("row %zu: %s", i, why);
    }
}

/* --- meta pages --------------------------------------------------------------------------------------------------- */

#define PAGE 4096u
#define FILE_PAGES 100u

static void put16(unsigned char *p, uint16_t v) { memcpy(p, &v, sizeof(v)); }
static void put32(unsigned char *p, uint32_t v) { memcpy(p, &v, sizeof(v)); }
static void put64(unsigned char *p, uint64_t v) { memcpy(p, &v, sizeof(v)); }

static void put_tree(unsigned char *p, uint32_t pad, uint16_t flags, const uint64_t tree[6])
{
    put32(p, pad);
    put16(p + 4, flags);
    put16(p + 6, (uint16_t)tree[0]);
    for (int i = 1; i < 6; i++)
        put64(p + 8 * i, tree[i]);
}

/* depth, branch pages, leaf pages, overflow pages, entries, root */
static const uint64_t no_tree[6] = { 0, 0, 0, 0, 0, UINT64_MAX };
static const uint64_t small_tree[6] = { 1, 0, 1, 0, 4, 9 };
static const uint64_t deep_tree[6] = { 2, 1, 20, 3, 300, 50 };

static void put_meta(unsigned char *p, uint64_t number, uint64_t last_page, uint64_t transaction)
{
    memset(p, 0, PAGE);
    put64(p, number);
    put16(p + 10, 8);
    put32(p + 16, 0xBEEFC0DE);
    put32(p + 20, 1);
    put64(p + 32, 1 << 20);
    put_tree(p + 40, PAGE, 0x4008, transaction == 0 ? no_tree : small_tree);
    put_tree(p + 88, 0, 0, transaction == 0 ? no_tree : deep_tree);
    put64(p + 136, last_page);
    put64(p + 144, transaction);
}

static void put_head(unsigned char head[2 * PAGE])
{
    put_meta(head, 0, 98, 42);
    put_meta(head + PAGE, 1, 99, 43);
}

static void index_pages_check__accepts_what_lmdb_writes(void **state)
{
    unsigned char head[3 * PAGE] = { 0 };
    char why[INDEX_WHY_BYTES] = "";
    struct index_pages pages;

    (void)state;
    put_head(head);
    assert_true(index_pages_check(slice_of(head, sizeof(head)), FILE_PAGES * PAGE, &pages, why));
    assert_int_equal(pages.page_bytes, PAGE);
    assert_int_equal(pages.last_page, 99);
    assert_int_equal(pages.transaction, 43);
    assert_int_equal(pages.crc, crc32c(0, head, 2 * PAGE));
    put_meta(head, 0, 97, 44); /* the other one is newer; its predecessor still names page 99 */
    assert_true(index_pages_check(slice_of(head, sizeof(head)), FILE_PAGES * PAGE, &pages, why));
    assert_int_equal(pages.last_page, 99);
    assert_int_equal(pages.transaction, 44);
    put_meta(head, 0, 1, 0); /* the first commit of all */
    put_meta(head + PAGE, 1, 60, 1);
    assert_true(index_pages_check(slice_of(head, sizeof(head)), FILE_PAGES * PAGE, &pages, why));
    assert_string_equal(why, "");
}

static void index_pages_check__rows(void **state)
{
    static const struct {
        unsigned at, width;
        uint64_t value;
        const char *why;
    } rows[] = {
        { 0, 8, 1, "its meta page 0 is none" },
        { PAGE, 8, 0, "its meta page 1 is none" },
        { 10, 2, 2, "its meta page 0 is none" },
        { PAGE + 16, 4, 0xBEEFC0DF, "its meta page 1 is none" },
        { 20, 4, 999, "its meta page 0 has another version" },
        { PAGE + 20, 4, 2, "its meta page 1 has another version" },
        { 24, 8, 0x7f0000000000, "its meta page 0 is damaged" },
        { 32, 8, 99 * PAGE - 1, "its meta page 0 is damaged" },
        { 32, 8, 99 * PAGE, NULL },
        { 40, 4, 0, "its meta page 0 has no page size" },
        { 40, 4, 4095, "its meta page 0 has no page size" },
        { 40, 4, 256, "its meta page 0 has no page size" },
        { 40, 4, 65536, "its meta page 0 has no page size" },
        { 40, 4, 32768, "its file is cut within the meta pages" },
        { PAGE + 40, 4, 8192, "its meta page 1 has another page size" },
        { 44, 2, 0x0008, "its meta page 0 is damaged" },
        { 46, 2, 0, "its meta page 0 is damaged" },
        { 46, 2, 33, "its meta page 0 is damaged" },
        { 56, 8, 0, "its meta page 0 is damaged" },
        { 56, 8, 99, "its meta page 0 is damaged" },
        { 56, 8, 98, NULL },
        { 72, 8, 0, "its meta page 0 is damaged" },
        { 80, 8, 1, "its meta page 0 is damaged" },
        { 80, 8, 99, "its meta page 0 is damaged" },
        { 80, 8, UINT64_MAX, "its meta page 0 is damaged" },
        { 88, 4, 1, "its meta page 0 is damaged" },
        { 92, 2, 4, "its meta page 0 is damaged" },
        { 94, 2, 1, "its meta page 0 is damaged" },
        { 96, 8, 0, "its meta page 0 is damaged" },
        { 96, 8, 99, "its meta page 0 is damaged" },
        { 112, 8, 99, "its meta page 0 is damaged" },
        { 136, 8, 0, "its meta page 0 has a wrong last page" },
        { 136, 8, UINT64_MAX, "its meta page 0 has a wrong last page" },
        { 136, 8, 100, "its file is cut: 409600 octets, 413696 are in use" },
        { PAGE + 136, 8, 100, "its file is cut: 409600 octets, 413696 are in use" },
        { 144, 8, 43, "its meta page 0 has a wrong transaction number" },
        { 144, 8, 46, "its meta pages do not follow each other" },
        { 144, 8, 40, "its meta pages do not follow each other" },
        { PAGE + 144, 8, 45, "its meta pages do not follow each other" },
        { 200, 8, 1, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned char head[2 * PAGE];
        char why[INDEX_WHY_BYTES] = "";
        struct index_pages pages;
        bool ok;

        put_head(head);
        if (rows[i].width == 8)
            put64(head + rows[i].at, rows[i].value);
        else if (rows[i].width == 4)
            put32(head + rows[i].at, (uint32_t)rows[i].value);
        else
            put16(head + rows[i].at, (uint16_t)rows[i].value);
        ok = index_pages_check(slice_of(head, sizeof(head)), FILE_PAGES * PAGE, &pages, why);
        if (ok != (rows[i].why == NULL) || strcmp(why, ok ? "" : rows[i].why) != 0)
            fail_msg("row %zu: %s", i, why);
    }
}

static void index_pages_check__notices_every_cut(void **state)
{
    unsigned char head[2 * PAGE];
    struct index_pages pages;

    (void)state;
    put_head(head);
    for (size_t len = 0; len < sizeof(head); len++) {
        char why[INDEX_WHY_BYTES] = "";

        assert_false(index_pages_check(slice_of(head, len), len, &pages, why));
        assert_non_null(strstr(why, "its file is cut"));
    }
    for (uint64_t bytes = sizeof(head); bytes <= FILE_PAGES * PAGE; bytes += 512) {
        char why[INDEX_WHY_BYTES] = "";

        assert_int_equal(index_pages_check(slice_of(head, sizeof(head)), bytes, &pages, why),
                         bytes == FILE_PAGES * PAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_state_encode__has_the_written_layout),
        cmocka_unit_test(index_state_decode__gives_back_what_was_encoded),
        cmocka_unit_test(index_state_decode__refuses_every_changed_bit_and_length),
        cmocka_unit_test(index_state_decode__refuses_unknown_content),
        cmocka_unit_test(index_state_trusts__rows),
        cmocka_unit_test(index_pages_check__accepts_what_lmdb_writes),
        cmocka_unit_test(index_pages_check__rows),
        cmocka_unit_test(index_pages_check__notices_every_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
