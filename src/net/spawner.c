/* The small privileged child: it binds addresses and opens certificate files for the daemon, which gives its privileges
 * up. It is forked before any thread, knows nothing of mail, and ends with its parent.
 *
 * Requests and answers are single packets on a SOCK_SEQPACKET pair; a descriptor travels with its answer (SCM_RIGHTS).
 * The lock serialises callers: certificates may be opened while listeners are bound. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/server.h"
#include "net/spawner_bind.h"

#define LISTEN_FDS_START 3 /* sd_listen_fds(3) */
#define LISTEN_FDS_MAX 64
#define PATH_BYTES 4096

enum ask { ASK_BIND, ASK_OPEN };

struct request {
    enum ask ask;
    unsigned backlog, unix_mode;
    struct net_addr addr;
    char path[PATH_BYTES];
};

struct answer {
    int is_ok;
    struct err err;
};

struct spawner {
    int fd;
    pid_t child;
    pthread_mutex_t lock; /* lock rank 30: the conversation with the child */
    int adopted[LISTEN_FDS_MAX];
    unsigned adopted_count;
};

/* --- packets ------------------------------------------------------------------------------------------------------ */

static int packet_send(int sock, const void *data, size_t len, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    if (fd >= 0) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    do {
        n = sendmsg(sock, &m, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)len ? 0 : -1;
}

/* 1: a packet of that length; 0: the other side has gone or talks nonsense. *fd is -1 when none came. */
static int packet_receive(int sock, void *data, size_t len, int *fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov = { .iov_base = data, .iov_len = len };
    struct msghdr m = { .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.bytes,
                        .msg_controllen = sizeof control.bytes };
    ssize_t n;

    *fd = -1;
    do {
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n != (ssize_t)len)
        return 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            memcpy(fd, CMSG_DATA(c), sizeof *fd);
    }
    return 1;
}

/* --- the child ---------------------------------------------------------------------------------------------------- */

static int file_open(const char *path, struct err *err)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return err_sys(err, errno, "%s", path);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return err_set(err, ERR_PERM, "%s is not a regular file", path);
}

static NORETURN void child_main(int sock, pid_t parent)
{
    struct bound bound = { 0 };
    struct request q;
    int extra;

    /* A terminal's interrupt goes to the whole group; the parent decides what comes of it, and we end with it. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    prctl(PR_SET_NAME, "ph-spawner");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (getppid() != parent)
        _exit(0);
    while (packet_receive(sock, &q, sizeof q, &extra)) {
        struct answer a = { .err = ERR_INIT };
        q.path[PATH_BYTES - 1] = '\0';
        const int fd = q.ask == ASK_BIND ? spawner_bind_here(&bound, &q.addr, q.backlog, q.unix_mode, &a.err)
                                         : file_open(q.path, &a.err);
        a.is_ok = fd >= 0;
        const int rc = packet_send(sock, &a, sizeof a, fd);
        if (fd >= 0)
            close(fd);
        if (rc < 0)
            break;
    }
    _exit(0);
}

/* --- the parent --------------------------------------------------------------------------------------------------- */

static void adopt_sockets(struct spawner *sp)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t owner = 0, count = 0;

    if (pid != NULL && fds != NULL && slice_u64(slice_str(pid), &owner) && owner == (uint64_t)getpid() &&
        slice_u64(slice_str(fds), &count)) {
        for (int fd = LISTEN_FDS_START; count > 0 && sp->adopted_count < LISTEN_FDS_MAX; fd++, count--) {
            fcntl(fd, F_SETFD, FD_CLOEXEC);
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
            sp->adopted[sp->adopted_count++] = fd;
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

int spawner_start(struct spawner **out, struct err *err)
{
    const pid_t parent = getpid();
    int pair[2];

    *out = NULL;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_sys(err, errno, "socket pair of the spawner");
    const pid_t child = fork();
    if (child < 0) {
        err_sys(err, errno, "forking the spawner");
        close(pair[0]);
        close(pair[1]);
        return -1;
    }
    if (child == 0) {
        close_range(3, (unsigned)pair[1] - 1, 0); /* listening sockets of the service manager are not for us */
        close_range((unsigned)pair[1] + 1, ~0u, 0);
        child_main(pair[1], parent);
    }
    close(pair[1]);
    struct spawner *sp = mem_alloc(sizeof *sp);
    sp->fd = pair[0];
    sp->child = child;
    pthread_mutex_init(&sp->lock, NULL);
    adopt_sockets(sp);
    *out = sp;
    return 0;
}

void spawner_stop(struct spawner **spp)
{
    struct spawner *sp = *spp;

    if (sp == NULL)
        return;
    close(sp->fd); /* the child ends */
    while (waitpid(sp->child, NULL, 0) < 0 && errno == EINTR)
        continue;
    for (unsigned i = 0; i < sp->adopted_count; i++)
        close(sp->adopted[i]);
    pthread_mutex_destroy(&sp->lock);
    mem_free(sp);
    *spp = NULL;
}

/* Without user 0 the kernel has taken them already; what a service manager gave in addition goes here. */
static int capabilities_drop(struct err *err)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { 0 };

    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    /* The kernel always allows fewer; a filter of system calls may not, and nobody would notice. */
    return syscall(SYS_capset, &head, none) < 0 ? err_sys(err, errno, "giving up capabilities") : 0;
}

int spawner_drop(struct spawner *sp, const char *user, struct err *err)
{
    (void)sp;
    if (user != NULL && user[0] != '\0') {
        errno = 0;
        const struct passwd *pw = getpwnam(user); // NOLINT(concurrency-mt-unsafe): before any thread
        if (pw == NULL)
            return errno != 0 ? err_sys(err, errno, "looking up the user %s", user)
                              : err_set(err, ERR_NOTFOUND, "there is no user %s on this system", user);
        const uid_t uid = pw->pw_uid;
        const gid_t gid = pw->pw_gid;
        if (uid != geteuid() && (initgroups(user, gid) < 0 || setresgid(gid, gid, gid) < 0 ||
                                 setresuid(uid, uid, uid) < 0))
            return err_sys(err, errno, "becoming the user %s", user);
        if (uid != 0 && setuid(0) == 0)
            return err_set(err, ERR_BUG, "privileges were not given up");
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_sys(err, errno, "giving up new privileges");
    return geteuid() != 0 ? capabilities_drop(err) : 0;
}

static int ask(struct spawner *sp, const struct request *q, struct err *err)
{
    struct answer a;
    int fd = -1, is_ok;

    pthread_mutex_lock(&sp->lock);
    is_ok = packet_send(sp->fd, q, sizeof *q, -1) == 0 && packet_receive(sp->fd, &a, sizeof a, &fd);
    pthread_mutex_unlock(&sp->lock);
    if (!is_ok)
        return err_set(err, ERR_TEMP, "the spawner, which binds addresses and opens files, has gone; restart");
    if (a.is_ok && fd >= 0)
        return fd;
    if (fd >= 0)
        close(fd);
    if (err != NULL)
        *err = a.err;
    return -1;
}

/* A socket that systemd passed and that listens on this address. */
static int adopted_find(const struct spawner *sp, const struct net_addr *addr)
{
    for (unsigned i = 0; i < sp->adopted_count; i++) {
        struct net_addr own = { .len = sizeof own - offsetof(struct net_addr, sa) };
        if (getsockname(sp->adopted[i], &own.sa, &own.len) == 0 && net_addr_eq(&own, addr))
            return fcntl(sp->adopted[i], F_DUPFD_CLOEXEC, 0);
    }
    return -1;
}

int spawner_bind(struct spawner *sp, const struct net_addr *addr, unsigned backlog, unsigned unix_mode,
                 struct err *err)
{
    const int adopted = adopted_find(sp, addr);
    struct request *q;
    int fd;

    if (adopted >= 0)
        return adopted;
    q = mem_alloc(sizeof *q);
    q->ask = ASK_BIND;
    q->addr = *addr;
    q->backlog = backlog;
    q->unix_mode = unix_mode;
    fd = ask(sp, q, err);
    mem_free(q);
    return fd;
}

int spawner_open(struct spawner *sp, const char *path, struct err *err)
{
    struct request *q;
    int fd;

    if (strlen(path) >= PATH_BYTES)
        return err_set(err, ERR_LIMIT, "the path of a file is longer than %d octets", PATH_BYTES - 1);
    q = mem_alloc(sizeof *q);
    q->ask = ASK_OPEN;
    memcpy(q->path, path, strlen(path));
    fd = ask(sp, q, err);
    mem_free(q);
    return fd;
}
