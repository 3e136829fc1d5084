#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "intake/intake.h"
#include "smtp/replies.h"

static void check_row(const char *table, unsigned i, unsigned code, const char *enhanced, const char *text)
{
    unsigned klass, subject, detail;
    char end;

    if (code < 200 || code > 599)
        fail_msg("%s row %u: code %u", table, i, code);
    /* RFC 2034 4: none in the greeting, in HELO and EHLO and in 3yz; else its class is the code's first digit. */
    if (enhanced[0] == '\0') {
        if (code != 220 && code / 100 != 3)
            fail_msg("%s row %u: enhanced code missing", table, i);
    } else {
        if (sscanf(enhanced, "%1u.%3u.%3u%c", &klass, &subject, &detail, &end) != 3)
            fail_msg("%s row %u: '%s' is no enhanced code", table, i, enhanced);
        if (klass != code / 100 || subject > 7)
            fail_msg("%s row %u: %u with %s", table, i, code, enhanced);
    }
    if (strlen(text) > 100) /* RFC 5321 4.5.3.1.5 allows 512 with everything */
        fail_msg("%s row %u: text too long", table, i);
    for (const char *c = text; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            fail_msg("%s row %u: octet %02x", table, i, (unsigned char)*c);
}

static void smtp_replies__agree_with_their_codes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SMTP_REPLY_COUNT; i++)
        check_row("smtp", i, smtp_replies[i].code, smtp_replies[i].enhanced, smtp_replies[i].text);
}

static void intake_replies__agree_with_their_codes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < INTAKE_REPLY_COUNT; i++)
        check_row("intake", i, intake_replies[i].code, intake_replies[i].enhanced, intake_replies[i].text);
}

/* What RFC 5321, the house's specification and other programs rely on, letter for letter. */
static void smtp_replies__keep_the_codes_of_the_standard(void **state)
{
    static const struct {
        enum smtp_reply reply;
        unsigned code;
        const char *enhanced;
    } rows[] = {
        { SMTP_R_UNKNOWN, 500, "5.5.2" },     { SMTP_R_TOO_LONG, 500, "5.5.6" },    { SMTP_R_SYNTAX, 501, "5.5.4" },
        { SMTP_R_NO_EXPN, 502, "5.5.1" },     { SMTP_R_NEED_HELO, 503, "5.5.1" },   { SMTP_R_NEED_MAIL, 503, "5.5.1" },
        { SMTP_R_NEED_RCPT, 503, "5.5.1" },   { SMTP_R_MANY_ERRORS, 421, "4.7.0" }, { SMTP_R_VRFY, 252, "2.5.0" },
        { SMTP_R_NEED_AUTH, 530, "5.7.0" },   { SMTP_R_AUTH_OK, 235, "2.7.0" },
        { SMTP_R_AUTH_FAILED, 535, "5.7.8" },
        { SMTP_R_AUTH_TEMP, 454, "4.7.0" },   { SMTP_R_DATA_GO, 354, "" },          { SMTP_R_PARAMETER, 555, "5.5.4" },
        { SMTP_R_NEED_UTF8, 553, "5.6.7" },   { SMTP_R_BYE, 221, "2.0.0" },         { SMTP_R_TIMEOUT, 421, "4.4.2" },
        { SMTP_R_AUTH_MECHANISM, 504, "5.5.4" }, { SMTP_R_AUTH_LONG, 500, "5.5.6" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct smtp_reply_row *r = &smtp_replies[rows[i].reply];

        if (r->code != rows[i].code || strcmp(r->enhanced, rows[i].enhanced) != 0)
            fail_msg("row %zu: %u %s", i, r->code, r->enhanced);
    }
}

static void intake_replies__keep_the_codes_of_the_standard(void **state)
{
    static const struct {
        enum intake_reply reply;
        unsigned code;
        const char *enhanced;
    } rows[] = {
        { INTAKE_R_NO_USER, 550, "5.1.1" },    { INTAKE_R_NO_RELAY, 550, "5.7.1" },
        { INTAKE_R_QUEUE_FULL, 452, "4.3.1" }, { INTAKE_R_TOO_LARGE, 552, "5.3.4" },
        { INTAKE_R_FULL, 452, "4.3.1" },       { INTAKE_R_BARE_LINE_END, 554, "5.6.0" },
        { INTAKE_R_NOT_OWNER, 550, "5.7.1" },  { INTAKE_R_TOO_MANY_RCPT, 452, "4.5.3" },
        { INTAKE_R_LOOP, 554, "5.4.6" },       { INTAKE_R_OVER_QUOTA, 452, "4.2.2" },
        { INTAKE_R_BEYOND_QUOTA, 552, "5.2.2" },
        { INTAKE_R_USER_INACTIVE, 450, "4.2.1" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct intake_reply_row *r = &intake_replies[rows[i].reply];

        if (r->code != rows[i].code || strcmp(r->enhanced, rows[i].enhanced) != 0)
            fail_msg("row %zu: %u %s", i, r->code, r->enhanced);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smtp_replies__agree_with_their_codes),
        cmocka_unit_test(intake_replies__agree_with_their_codes),
        cmocka_unit_test(smtp_replies__keep_the_codes_of_the_standard),
        cmocka_unit_test(intake_replies__keep_the_codes_of_the_standard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
