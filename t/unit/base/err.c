#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"

static void err_set__fills_all_fields_and_returns_minus_one(void **state)
{
    struct err e = { .kind = ERR_BUG, .sys = 99 };

    (void)state;
    assert_int_equal(err_set(&e, ERR_QUOTA, "%s has %d", "box", 7), -1);
    assert_int_equal(e.kind, ERR_QUOTA);
    assert_int_equal(e.sys, 0);
    assert_string_equal(e.text, "box has 7");
}

static void err_set__takes_its_own_text_as_argument(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    err_set(&e, ERR_TEMP, "inner");
    err_set(&e, ERR_PERM, "outer (%s)", e.text);
    assert_string_equal(e.text, "outer (inner)");
}

static void err__accepts_null_everywhere(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_TEMP, "x"), -1);
    assert_int_equal(err_sys(NULL, EIO, "x"), -1);
    assert_int_equal(err_prefix(NULL, "x"), -1);
}

static void err_sys__maps_errno_to_kind(void **state)
{
    static const struct {
        int sys;
        enum err_kind kind;
    } rows[] = {
        { ENOSPC, ERR_FULL }, { EDQUOT, ERR_FULL }, { ENOENT, ERR_NOTFOUND }, { EEXIST, ERR_EXISTS },
        { EACCES, ERR_DENIED }, { EPERM, ERR_DENIED }, { EROFS, ERR_DENIED }, { EIO, ERR_TEMP },
        { EINVAL, ERR_TEMP }, { 0, ERR_TEMP },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = ERR_INIT;

        assert_int_equal(err_sys(&e, rows[i].sys, "open %s", "f"), -1);
        if (e.kind != rows[i].kind || e.sys != rows[i].sys)
            fail_msg("row %zu: kind %d, sys %d", i, (int)e.kind, e.sys);
    }
}

static void err_sys__appends_the_reason(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    err_sys(&e, ENOENT, "open %s", "/x");
    assert_string_equal(e.text, "open /x: No such file or directory");
}

static void err_prefix__keeps_kind_and_sys(void **state)
{
    struct err e = ERR_INIT;

    (void)state;
    err_sys(&e, ENOSPC, "write");
    assert_int_equal(err_prefix(&e, "segment %d", 12), -1);
    assert_int_equal(e.kind, ERR_FULL);
    assert_int_equal(e.sys, ENOSPC);
    assert_string_equal(e.text, "segment 12: write: No space left on device");
}

static void err__cuts_long_text_and_terminates_it(void **state)
{
    char word[2 * ERR_TEXT_BYTES];
    struct err e = ERR_INIT;

    (void)state;
    memset(word, 'w', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    err_set(&e, ERR_TEMP, "%s", word);
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
    err_prefix(&e, "abc");
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
    assert_memory_equal(e.text, "abc: www", 8);
    err_sys(&e, EIO, "%s", word);
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
}

static void err_kind_name__has_a_word_for_each_kind(void **state)
{
    static const char *const words[] = { "none",  "temp", "perm",   "notfound", "exists", "denied", "quota",
                                         "limit", "full", "syntax", "conflict", "damage", "bug" };

    (void)state;
    assert_int_equal(ARRAY_LEN(words), ERR_BUG + 1);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        assert_string_equal(err_kind_name((enum err_kind)i), words[i]);
    assert_string_equal(err_kind_name((enum err_kind)99), "unknown");
}

/* Runs a panic in a child and gives back what it wrote to standard error. */
static size_t text_of_panic(char *out, size_t size)
{
    int pipe_fd[2], status;
    size_t used = 0;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(pipe_fd), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int two = 2;

        dup2(pipe_fd[1], 2);
        signal(SIGABRT, SIG_DFL);
        ASSERT(two == 3);
        _exit(0);
    }
    close(pipe_fd[1]);
    while (used < size - 1 && (n = read(pipe_fd[0], out + used, size - 1 - used)) > 0)
        used += (size_t)n;
    out[used] = '\0';
    close(pipe_fd[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    return used;
}

static void panic__names_the_place_and_aborts(void **state)
{
    char text[1024];

    (void)state;
    text_of_panic(text, sizeof(text));
    assert_non_null(strstr(text, "err.c:"));
    assert_non_null(strstr(text, ": assertion failed: two == 3\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_set__fills_all_fields_and_returns_minus_one),
        cmocka_unit_test(err_set__takes_its_own_text_as_argument),
        cmocka_unit_test(err__accepts_null_everywhere),
        cmocka_unit_test(err_sys__maps_errno_to_kind),
        cmocka_unit_test(err_sys__appends_the_reason),
        cmocka_unit_test(err_prefix__keeps_kind_and_sys),
        cmocka_unit_test(err__cuts_long_text_and_terminates_it),
        cmocka_unit_test(err_kind_name__has_a_word_for_each_kind),
        cmocka_unit_test(panic__names_the_place_and_aborts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
