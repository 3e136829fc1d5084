#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/server.h"

void net_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET"); // NOLINT(concurrency-mt-unsafe): nobody sets variables
    struct sockaddr_un to = { .sun_family = AF_UNIX };

    if (path == NULL || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (path[0] == '@') /* an abstract socket */
        to.sun_path[0] = '\0';
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    /* Nothing can be done when the manager does not listen. */
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to, len);
    close(fd);
}

int64_t net_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"); // NOLINT(concurrency-mt-unsafe)
    const char *pid = getenv("WATCHDOG_PID");   // NOLINT(concurrency-mt-unsafe)
    uint64_t us, owner;

    if (usec == NULL || !slice_u64(slice_str(usec), &us) || us / 2000 > INT64_MAX)
        return 0;
    if (pid != NULL && (!slice_u64(slice_str(pid), &owner) || owner != (uint64_t)getpid()))
        return 0;
    return (int64_t)(us / 2000);
}
