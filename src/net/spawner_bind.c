#include "net/spawner_bind.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const struct net_addr *addr, int fd, struct err *err)
{
    const int sys = errno;
    struct buf text = BUF_INIT;

    net_addr_print(addr, &text);
    if (fd >= 0)
        close(fd);
    if (sys == EADDRINUSE)
        err_set(err, ERR_EXISTS, "%s is in use by another program", buf_str(&text));
    else if (sys == EACCES || sys == EPERM)
        err_set(err, ERR_DENIED, "no permission to listen on %s: start as root, or use ports from 1024 on",
                buf_str(&text));
    else
        err_sys(err, sys, "listening on %s", buf_str(&text));
    buf_free(&text);
    return -1;
}

static bool is_any_v6(const struct net_addr *a)
{
    return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

static int inet_socket(const struct net_addr *addr, bool share)
{
    const int one = 1, only = !is_any_v6(addr);
    const int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (share)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (addr->sa.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    if (bind(fd, &addr->sa, addr->len) == 0)
        return fd;
    const int sys = errno;
    close(fd);
    errno = sys;
    return -1;
}

/* A dual-stack socket where there is no IPv6 is an IPv4 one. */
static void without_v6(struct net_addr *addr)
{
    const unsigned port = net_addr_port(addr);

    *addr = (struct net_addr){ .len = sizeof addr->in };
    addr->in.sin_family = AF_INET;
    net_addr_set_port(addr, port);
}

static bool is_any(const struct net_addr *a)
{
    return is_any_v6(a) || (a->sa.sa_family == AF_INET && a->in.sin_addr.s_addr == INADDR_ANY);
}

static bool bound_has(const struct bound *b, const struct net_addr *addr)
{
    for (unsigned i = 0; i < b->count; i++) {
        if (net_addr_eq(&b->addrs[i], addr))
            return true;
    }
    return false;
}

/* A socket of ours, which shares, may be in the way of one that shares with nobody: "*:25" of "127.0.0.1:25". */
static bool bound_overlaps(const struct bound *b, const struct net_addr *addr)
{
    for (unsigned i = 0; i < b->count; i++) {
        if (net_addr_port(&b->addrs[i]) == net_addr_port(addr) && (is_any(&b->addrs[i]) || is_any(addr)))
            return true;
    }
    return bound_has(b, addr);
}

static int bind_inet(struct bound *bound, struct net_addr addr, unsigned backlog, struct err *err)
{
    const bool is_first = !bound_has(bound, &addr);
    int fd;

    if (!bound_overlaps(bound, &addr)) { /* a socket that shares with nobody finds out whether anybody is there */
        fd = inet_socket(&addr, false);
        if (fd < 0 && is_any_v6(&addr) && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
            without_v6(&addr);
            return bind_inet(bound, addr, backlog, err);
        }
        if (fd < 0)
            return failed(&addr, -1, err);
        close(fd);
    }
    fd = inet_socket(&addr, true);
    if (fd < 0 && is_any_v6(&addr) && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
        without_v6(&addr);
        fd = inet_socket(&addr, true);
    }
    if (fd < 0 || listen(fd, backlog > 0 ? (int)backlog : SOMAXCONN) < 0)
        return failed(&addr, fd, err);
    if (is_first && bound->count < BOUND_MAX) {
        struct net_addr own = { .len = sizeof own - offsetof(struct net_addr, sa) };
        if (getsockname(fd, &own.sa, &own.len) == 0)
            net_addr_set_port(&addr, net_addr_port(&own)); /* what the system gave for port 0 */
        bound->addrs[bound->count++] = addr;
    }
    return fd;
}

/* Nobody answers on a socket file that a dead process left. */
static bool is_stale(const struct net_addr *addr)
{
    struct stat st;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool stale = false;

    if (fd < 0)
        return false;
    if (stat(addr->un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
        stale = connect(fd, &addr->sa, addr->len) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static int bind_unix(const struct net_addr *addr, unsigned backlog, unsigned mode, struct err *err)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return failed(addr, fd, err);
    if (is_stale(addr))
        unlink(addr->un.sun_path);
    const mode_t old = umask(0777 & ~mode); /* so that it never has another mode */
    const int rc = bind(fd, &addr->sa, addr->len);
    umask(old);
    if (rc < 0 || listen(fd, backlog > 0 ? (int)backlog : SOMAXCONN) < 0)
        return failed(addr, fd, err);
    return fd;
}

int spawner_bind_here(struct bound *bound, const struct net_addr *addr, unsigned backlog, unsigned unix_mode,
                      struct err *err)
{
    if (addr->len == 0)
        return err_set(err, ERR_BUG, "no address to listen on");
    if (addr->sa.sa_family == AF_UNIX)
        return bind_unix(addr, backlog, unix_mode, err);
    return bind_inet(bound, *addr, backlog, err);
}
