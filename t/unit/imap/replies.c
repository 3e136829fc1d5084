/* The tables: every reply is a possible line, every command has a handler and is found, results have replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "imap/internal.h"

static void replies__are_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < IMAP_REPLY_COUNT; i++) {
        const struct imap_reply_row *r = &imap_replies[i];
        const char *text = r->text;

        print_message("row %zu\n", i);
        assert_true(strcmp(r->word, "OK") == 0 || strcmp(r->word, "NO") == 0 || strcmp(r->word, "BAD") == 0 ||
                    strcmp(r->word, "BYE") == 0);
        assert_true(strlen(text) > 0 && strlen(text) < 80);
        for (; *text != '\0'; text++)
            assert_true(*text >= ' ' && *text <= '~');
        if (r->code != NULL) /* BAD has no code: clients look at the text */
            assert_true(strcmp(r->word, "BAD") != 0 && strpbrk(r->code, "[]\r\n") == NULL);
    }
}

static void replies__follow_results(void **state)
{
    (void)state;
    assert_int_equal(imap_reply_of(STORE_OK, false), IMAP_R_DONE);
    assert_int_equal(imap_reply_of(STORE_NO_MAILBOX, false), IMAP_R_NONEXISTENT);
    assert_int_equal(imap_reply_of(STORE_NO_MAILBOX, true), IMAP_R_TRYCREATE);
    assert_int_equal(imap_reply_of(STORE_OVER_QUOTA, true), IMAP_R_OVER_QUOTA);
    assert_int_equal(imap_reply_of(STORE_TEMP, false), IMAP_R_TEMP);
    for (int r = STORE_OK + 1; r <= STORE_TEMP; r++)
        assert_string_equal(imap_replies[imap_reply_of((enum store_result)r, false)].word, "NO");
}

static void commands__are_found_in_any_case(void **state)
{
    static const char *const names[] = { "append", "FETCH", "Uid", "IDLE", "STORE", "GetQuotaRoot", "FETCHX", "" };
    static const bool wanted[] = { true, true, false, true, true, true, false, false };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(imap_command_find(slice_str(names[i])) != NULL, wanted[i]);
    /* what changes a mailbox, or has a UID form, needs one */
    for (size_t i = 0; i < ARRAY_LEN(names) - 2; i++) {
        const struct imap_command *c = imap_command_find(slice_str(names[i]));

        if (c != NULL && (c->flags & (CMD_UID | CMD_CHANGES)) != 0)
            assert_int_equal(c->levels, LEVEL_SELECTED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies__are_lines),
        cmocka_unit_test(replies__follow_results),
        cmocka_unit_test(commands__are_found_in_any_case),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
