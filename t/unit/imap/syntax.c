/* Words, sets, FETCH, SEARCH, LIST and APPEND as values; malformed ones with the position of the fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "imap/syntax.h"

static struct arena mem;

static struct imap_in in_of(const char *text)
{
    struct imap_in in;

    imap_in_init(&in, slice_str(text), &mem);
    return in;
}

static void set__is_resolved(void **state)
{
    static const struct {
        const char *text;
        uint32_t max;
        const char *wanted;
    } rows[] = {
        { "1", 10, "1" },          { "3,1,2", 10, "1:3" },     { "5:3", 10, "3:5" },   { "*", 10, "10" },
        { "7:*", 5, "5:7" },       { "1:*", 0, "" },           { "2,*", 0, "2" },      { "1:4,2:3,6", 9, "1:4,6" },
        { "4294967295,1", 9, "1,4294967295" }, { "4294967294:*", 4294967295u, "4294967294:4294967295" },
        { "*:*", 3, "3" },         { "1:2,3:4,9", 9, "1:4,9" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct imap_in in = in_of(rows[i].text);
        struct buf out = BUF_INIT;
        struct imap_set set;

        print_message("row %zu\n", i);
        assert_true(imap_set(&in, &set) && imap_end(&in));
        imap_set_resolve(&set, rows[i].max);
        imap_set_print(&set, &out);
        assert_string_equal(buf_str(&out), rows[i].wanted);
        buf_free(&out);
    }
}

static void set__finds_members(void **state)
{
    struct imap_in in = in_of("2,5:7,9");
    struct imap_set set;

    (void)state;
    assert_true(imap_set(&in, &set));
    imap_set_resolve(&set, 20);
    for (uint32_t n = 0; n < 12; n++)
        assert_int_equal(imap_set_has(&set, n), n == 2 || (n >= 5 && n <= 7) || n == 9);
}

/* What each parser refuses, at which octet, and what it says it wanted. */
static void parsers__say_where_they_fail(void **state)
{
    static const struct {
        char what;
        const char *text;
        size_t at;
        const char *want;
    } rows[] = {
        { 's', "0", 1, "a number above 0" },
        { 's', "1,", 3, "a number" },
        { 's', "1:x", 3, "a number" },
        { 's', "4294967296", 1, "a number of 32 bits" },
        { 'f', "FLOGS", 1, "an item to fetch" },
        { 'f', "(FLAGS", 7, "\")\"" },
        { 'f', "(FLAGS  UID)", 8, "an item to fetch" },
        { 'f', "(ALL)", 2, "an item to fetch" },
        { 'f', "BODY[", 6, "HEADER, HEADER.FIELDS, TEXT or a part" },
        { 'f', "BODY[0]", 7, "a part number above 0" },
        { 'f', "BODY[1.]", 8, "a part number or TEXT, HEADER, MIME" },
        { 'f', "BODY[MIME]", 6, "HEADER, HEADER.FIELDS, TEXT or a part" },
        { 'f', "BODY[]<0.0>", 11, "a number above 0" },
        { 'f', "BODY[HEADER.FIELDS ()]", 21, "an atom or a string" },
        { 'f', "FLAGS (VANISHED)", 8, "CHANGEDSINCE" },
        { 'q', "", 1, "a search key" },
        { 'q', "SUBJECT", 8, "a space" },
        { 'q', "OR ALL", 7, "a space" },
        { 'q', "SINCE 1-Foo-2000", 7, "a date like 1-Feb-1994" },
        { 'q', "(ALL", 5, "\")\"" },
        { 'q', "RETURN (FOO) ALL", 9, "MIN, MAX, ALL or COUNT" },
        { 'l', "\"\"", 3, "a space" },
        { 'l', "(RECURSIVEMATCH) \"\" *", 1, "another option beside RECURSIVEMATCH" },
        { 'l', "\"\" * RETURN (X)", 14, "SUBSCRIBED, CHILDREN, SPECIAL-USE or STATUS" },
        { 't', "FLAGS \\Nope", 7, "a system flag of RFC 3501" },
        { 't', "+FLAG \\Seen", 2, "FLAGS or FLAGS.SILENT" },
        { 't', "FLAGS (\\Seen", 13, "\")\"" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct imap_in in = in_of(rows[i].text);
        struct imap_search_command search;
        struct imap_fetch fetch;
        struct imap_store store;
        struct imap_list list;
        struct imap_set set;
        bool ok = rows[i].what == 's'   ? imap_set(&in, &set) && imap_end(&in)
                  : rows[i].what == 'f' ? imap_fetch_parse(&in, &fetch)
                  : rows[i].what == 'q' ? imap_search_parse(&in, &search)
                  : rows[i].what == 'l' ? imap_list_parse(&in, false, &list)
                                        : imap_store_parse(&in, &store);

        print_message("row %zu: %s\n", i, rows[i].text);
        assert_false(ok);
        assert_string_equal(in.want, rows[i].want);
        assert_int_equal(imap_in_at(&in), rows[i].at);
    }
}

static void fetch__labels_sections(void **state)
{
    static const struct {
        const char *text, *label;
        enum imap_section section;
        bool sets_seen;
    } rows[] = {
        { "BODY[]", "BODY[]", SECTION_ALL, true },
        { "body.peek[1.2.text]", "BODY[1.2.TEXT]", SECTION_TEXT, false },
        { "BODY[3.MIME]", "BODY[3.MIME]", SECTION_MIME, true },
        { "BODY.PEEK[HEADER.FIELDS (From \"X y\")]", "BODY[HEADER.FIELDS (From \"X y\")]", SECTION_FIELDS, false },
        { "BODY[4.HEADER.FIELDS.NOT (a)]<2.9>", "BODY[4.HEADER.FIELDS.NOT (a)]", SECTION_FIELDS_NOT, true },
        { "RFC822.HEADER", "RFC822.HEADER", SECTION_HEADER, false },
        { "RFC822", "RFC822", SECTION_ALL, true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct imap_in in = in_of(rows[i].text);
        struct imap_fetch f;

        print_message("row %zu\n", i);
        assert_true(imap_fetch_parse(&in, &f));
        assert_true(slice_eq(f.bodies->label, slice_str(rows[i].label)));
        assert_int_equal(f.bodies->section, rows[i].section);
        assert_int_equal(f.sets_seen, rows[i].sets_seen);
    }
}

static void list__matches(void **state)
{
    static const struct {
        const char *pattern, *name;
        bool wanted;
    } rows[] = {
        { "*", "a/b", true },        { "%", "a/b", false },      { "%", "a", true },          { "%/%", "a/b", true },
        { "a*", "b", false },        { "*b", "a/b/b", true },    { "%b", "a/b", false },
        { "inbox", "INBOX", true },
        { "InBox/%", "INBOX/x", true }, { "*/%", "a/b/c", true }, { "", "", true },           { "a%c", "abc", true },
        { "a%c", "a/c", false },     { "*a%c", "xa/aac", true }, { "abc", "ab", false },      { "ab", "abc", false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("row %zu\n", i);
        assert_int_equal(imap_list_match(slice_str(rows[i].pattern), slice_str(rows[i].name)), rows[i].wanted);
    }
}

static void append__is_known_by_its_line(void **state)
{
    struct imap_in in = in_of("INBOX (\\Seen $x) \"17-Jul-1996 02:44:25 -0700\" {310+}");
    struct imap_append a;

    (void)state;
    assert_true(imap_append_parse(&in, &a));
    assert_int_equal(a.octets, 310);
    assert_false(a.waits);
    assert_int_equal(a.flags.system, IMAP_SEEN);
    assert_int_equal(a.flags.keyword_count, 1);
    assert_true(a.has_date);
    assert_int_equal(a.internal_ms, 837596665000);
    in = in_of("{5}"); /* the name is still to come */
    assert_false(imap_append_parse(&in, &a));
    assert_null(in.want);
    in = in_of("{5}\r\nINBOX {7}");
    assert_true(imap_append_parse(&in, &a));
    assert_int_equal(a.octets, 7);
    assert_true(a.waits);
}

static void literal__is_announced_at_the_end(void **state)
{
    static const struct {
        const char *line;
        bool found, waits;
        uint64_t octets;
    } rows[] = {
        { "a {5}", true, true, 5 }, { "a {5+}", true, false, 5 }, { "a {5} ", false, false, 0 },
        { "a {}", false, false, 0 }, { "a {+}", false, false, 0 }, { "a {99999999999999999999}", false, false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct imap_literal l;

        print_message("row %zu\n", i);
        assert_int_equal(imap_literal_at_end(slice_str(rows[i].line), &l), rows[i].found);
        if (rows[i].found) {
            assert_int_equal(l.octets, rows[i].octets);
            assert_int_equal(l.waits, rows[i].waits);
        }
    }
}

static void search__is_nested_to_a_limit(void **state)
{
    struct imap_search_command c;
    struct buf text = BUF_INIT;
    struct imap_in in;

    (void)state;
    for (int i = 0; i < 100; i++)
        buf_put_str(&text, "NOT ");
    buf_put_str(&text, "ALL");
    imap_in_init(&in, buf_slice(&text), &mem);
    assert_false(imap_search_parse(&in, &c));
    assert_string_equal(in.want, "a search program that is nested less deeply");
    in = in_of("NOT NOT NOT (OR SEEN (DELETED NOT UNSEEN))");
    assert_true(imap_search_parse(&in, &c));
    buf_free(&text);
}

static int begin(void **state)
{
    (void)state;
    arena_init(&mem, 4096);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(&mem);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set__is_resolved),
        cmocka_unit_test(set__finds_members),
        cmocka_unit_test(parsers__say_where_they_fail),
        cmocka_unit_test(fetch__labels_sections),
        cmocka_unit_test(list__matches),
        cmocka_unit_test(append__is_known_by_its_line),
        cmocka_unit_test(literal__is_announced_at_the_end),
        cmocka_unit_test(search__is_nested_to_a_limit),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
