#include "reactor/thread.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gate.h"

struct seen {
    struct gate go;
    char name[32];
    sigset_t mask;
    size_t stack_bytes;
    int calls;
};

static void *look(void *arg)
{
    struct seen *s = arg;
    pthread_attr_t attr;

    gate_wait(&s->go, 1); /* the name is set once thread_start has returned */
    s->calls++;
    pthread_getname_np(pthread_self(), s->name, sizeof s->name);
    pthread_sigmask(SIG_BLOCK, NULL, &s->mask);
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstacksize(&attr, &s->stack_bytes);
    pthread_attr_destroy(&attr);
    return NULL;
}

static void run_and_look(struct seen *s, const char *name, size_t stack_bytes)
{
    struct thread t;
    struct err err = ERR_INIT;

    memset(s, 0, sizeof *s);
    gate_init(&s->go);
    assert_int_equal(thread_start(&t, name, stack_bytes, look, s, &err), 0);
    gate_add(&s->go, 1);
    thread_join(&t);
    assert_int_equal(t.started, 0);
    assert_int_equal(s->calls, 1);
    gate_free(&s->go);
}

static void thread_start__names_the_thread(void **state)
{
    static const struct {
        const char *name, *want;
    } rows[] = {
        { "committer", "committer" },
        { "fifteen-octets-", "fifteen-octets-" },
        { "longer-than-fifteen", "longer-than-fif" },
        { "", "" },
    };
    struct seen s;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        run_and_look(&s, rows[i].name, 0);
        if (strcmp(s.name, rows[i].want) != 0)
            fail_msg("row %zu: %s", i, s.name);
    }
}

static void thread_start__blocks_signals_of_others(void **state)
{
    static const struct {
        int signo, is_blocked;
    } rows[] = {
        { SIGTERM, 1 }, { SIGINT, 1 }, { SIGHUP, 1 },  { SIGCHLD, 1 }, { SIGUSR1, 1 }, { SIGPIPE, 1 }, { SIGALRM, 1 },
        { SIGSEGV, 0 }, { SIGBUS, 0 }, { SIGABRT, 0 }, { SIGFPE, 0 },  { SIGILL, 0 },
    };
    struct seen s;
    sigset_t own;

    (void)state;
    run_and_look(&s, "mask", 0);
    pthread_sigmask(SIG_BLOCK, NULL, &own);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (sigismember(&s.mask, rows[i].signo) != rows[i].is_blocked)
            fail_msg("row %zu: signal %d", i, rows[i].signo);
        if (sigismember(&own, rows[i].signo) != 0)
            fail_msg("row %zu: signal %d is blocked in the caller", i, rows[i].signo);
    }
}

static void thread_start__gives_the_stack_asked_for(void **state)
{
    static const struct {
        size_t asked, least;
    } rows[] = {
        { 0, 512u * 1024 }, { 1, 4096 }, { 100001, 100001 }, { 2u * 1024 * 1024, 2u * 1024 * 1024 },
    };
    struct seen s;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        run_and_look(&s, "stack", rows[i].asked);
        if (s.stack_bytes < rows[i].least)
            fail_msg("row %zu: %zu", i, s.stack_bytes);
    }
}

static void thread_start__reports_failure(void **state)
{
    struct thread t = { .started = 1 };
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(thread_start(&t, "too-big", (size_t)1 << 60, look, NULL, &err), -1);
    assert_int_equal(t.started, 0);
    assert_int_not_equal(err.kind, ERR_NONE);
    assert_int_not_equal(err.sys, 0);
    assert_non_null(strstr(err.text, "too-big"));
    assert_int_equal(thread_start(&t, "too-big", (size_t)1 << 60, look, NULL, NULL), -1);
    thread_join(&t); /* not started */
}

static void thread_join__twice_is_a_no_op(void **state)
{
    struct thread t = { .started = 0 };
    struct seen s;

    (void)state;
    thread_join(&t);
    memset(&s, 0, sizeof s);
    gate_init(&s.go);
    gate_add(&s.go, 1);
    assert_int_equal(thread_start(&t, "twice", 0, look, &s, NULL), 0);
    thread_join(&t);
    thread_join(&t);
    gate_free(&s.go);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thread_start__names_the_thread),
        cmocka_unit_test(thread_start__blocks_signals_of_others),
        cmocka_unit_test(thread_start__gives_the_stack_asked_for),
        cmocka_unit_test(thread_start__reports_failure),
        cmocka_unit_test(thread_join__twice_is_a_no_op),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
