/* What a service manager gives and takes: sockets, and words about our state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/server.h"

static void notify__sends_the_state(void **state)
{
    char path[] = "/tmp/ph-notify-XXXXXX", got[64] = "";
    struct sockaddr_un own = { .sun_family = AF_UNIX };
    const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    (void)state;
    close(mkstemp(path));
    unlink(path);
    memcpy(own.sun_path, path, sizeof path);
    assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    unsetenv("NOTIFY_SOCKET");
    net_notify("READY=1"); /* nobody asked */
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), -1);
    setenv("NOTIFY_SOCKET", path, 1);
    net_notify("READY=1\nSTATUS=here");
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), 19);
    assert_memory_equal(got, "READY=1\nSTATUS=here", 19);
    close(fd);
    unlink(path);
    net_notify("STOPPING=1"); /* nobody listens any more: no harm */
    unsetenv("NOTIFY_SOCKET");
}

static void notify__knows_how_often_the_watchdog_wants_a_word(void **state)
{
    char pid[32];

    (void)state;
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    assert_int_equal(net_watchdog_ms(), 0);
    setenv("WATCHDOG_USEC", "60000000", 1);
    assert_int_equal(net_watchdog_ms(), 30000);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(net_watchdog_ms(), 0);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(net_watchdog_ms(), 30000);
    setenv("WATCHDOG_USEC", "soon", 1);
    assert_int_equal(net_watchdog_ms(), 0);
}

/* In a process of its own, because the socket must be descriptor 3. Returns 0, or the step that failed. */
static int adopt(void)
{
    struct net_addr addr, got = { .len = sizeof got.in6 }, other;
    struct spawner *sp;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    char pid[32];

    net_addr_parse(SLICE("127.0.0.1:0"), &addr, NULL);
    if (bind(fd, &addr.sa, addr.len) < 0 || listen(fd, 5) < 0 || getsockname(fd, &addr.sa, &addr.len) < 0 ||
        dup2(fd, 3) != 3)
        return 1;
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    if (spawner_start(&sp, NULL) < 0)
        return 2;
    const int adopted = spawner_bind(sp, &addr, 0, 0, NULL);
    if (adopted < 0 || getsockname(adopted, &got.sa, &got.len) < 0 || !net_addr_eq(&got, &addr))
        return 3;
    if (getenv("LISTEN_FDS") != NULL)
        return 4;
    net_addr_parse(SLICE("127.0.0.1:0"), &other, NULL);
    const int fresh = spawner_bind(sp, &other, 0, 0, NULL); /* no match: bound anew */
    if (fresh < 0 || getsockname(fresh, &got.sa, &got.len) < 0 || net_addr_eq(&got, &addr))
        return 5;
    spawner_stop(&sp);
    return 0;
}

static void spawner__adopts_sockets_by_address(void **state)
{
    int status = 0;

    (void)state;
    const pid_t child = fork();
    if (child == 0)
        _exit(adopt());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notify__sends_the_state),
        cmocka_unit_test(notify__knows_how_often_the_watchdog_wants_a_word),
        cmocka_unit_test(spawner__adopts_sockets_by_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
