#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"

struct sink {
    int fds[2];
    char text[4096];
};

static int open_sink(void **state)
{
    static struct sink s;

    if (pipe(s.fds) < 0 || fcntl(s.fds[0], F_SETFL, O_NONBLOCK) < 0)
        return -1;
    diag_set_fd(s.fds[1]);
    diag_set_prefix_time(0);
    diag_set_level(DIAG_INFO);
    *state = &s;
    return 0;
}

static int close_sink(void **state)
{
    struct sink *s = *state;

    diag_set_fd(2);
    close(s->fds[0]);
    close(s->fds[1]);
    return 0;
}

/* What one write left in the pipe. */
static const char *line(struct sink *s)
{
    ssize_t n = read(s->fds[0], s->text, sizeof(s->text) - 1);

    s->text[n > 0 ? n : 0] = '\0';
    return s->text;
}

static void diag__writes_level_room_and_text(void **state)
{
    struct sink *s = *state;

    diag_error("journal", "segment %d is gone", 7);
    assert_string_equal(line(s), "error journal: segment 7 is gone\n");
    diag_warn("net", "w");
    assert_string_equal(line(s), "warn net: w\n");
    diag_info("net", "%s", "");
    assert_string_equal(line(s), "info net: \n");
}

static void diag__drops_what_is_above_the_level(void **state)
{
    struct sink *s = *state;

    diag_debug("net", "no");
    assert_string_equal(line(s), "");
    diag_set_level(DIAG_DEBUG);
    diag_debug("net", "yes");
    assert_string_equal(line(s), "debug net: yes\n");
    diag_set_level(DIAG_ERROR);
    diag_warn("net", "no");
    assert_string_equal(line(s), "");
}

static void diag__puts_the_time_in_front(void **state)
{
    struct sink *s = *state;
    int year, month, day, hour, minute, second, ms, end = 0;

    diag_set_prefix_time(1);
    diag_info("net", "x");
    sscanf(line(s), "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ info net: x\n%n", &year, &month, &day, &hour, &minute, &second, &ms,
           &end);
    assert_int_equal(end, 37);
    assert_true(year >= 2024);
}

static void diag__shows_control_characters(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "a\nerror fake: b\r\n", "info t: a\\x0aerror fake: b\\x0d\\x0a\n" },
        { "\x1B[2J\x7F\t", "info t: \\x1b[2J\\x7f\\x09\n" },
        { "gr\xC3\xBC\xC3\x9F", "info t: gr\xC3\xBC\xC3\x9F\n" },
        { "c1 \xC2\x9B", "info t: c1 \\xc2\\x9b\n" },
        { "bad \xFF\xC3", "info t: bad \\xff\\xc3\n" },
    };
    struct sink *s = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        diag_info("t", "%s", rows[i].text);
        assert_string_equal(line(s), rows[i].want);
    }
}

static void diag__cuts_long_lines(void **state)
{
    struct sink *s = *state;

    for (int len = 960; len < 2200; len++) { /* around the limit and far beyond */
        const char *text;
        size_t octets;

        diag_info("t", "%*s", len, "x");
        text = line(s);
        octets = strlen(text);
        assert_true(octets <= 1000);
        assert_int_equal(text[octets - 1], '\n');
        if (len + 8 <= 996) /* room is kept for the dots */
            assert_int_equal(text[octets - 2], 'x');
        else
            assert_memory_equal(text + octets - 4, "...", 3);
    }
    for (int len = 230; len < 260; len++) { /* escapes are not cut in the middle */
        char text[300];

        memset(text, 1, sizeof(text));
        text[len] = '\0';
        diag_info("t", "%s", text);
        assert_true(strlen(line(s)) <= 1000);
        assert_int_equal(strspn(s->text + 8, "\\x01"), strcspn(s->text + 8, ".\n"));
        assert_int_equal(strcspn(s->text + 8, ".\n") % 4, 0);
    }
}

static void diag__keeps_errno(void **state)
{
    (void)state;
    diag_set_fd(-1); /* the write fails */
    errno = ERANGE;
    diag_info("t", "x");
    assert_int_equal(errno, ERANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(diag__writes_level_room_and_text, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(diag__drops_what_is_above_the_level, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(diag__puts_the_time_in_front, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(diag__shows_control_characters, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(diag__cuts_long_lines, open_sink, close_sink),
        cmocka_unit_test_setup_teardown(diag__keeps_errno, open_sink, close_sink),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
