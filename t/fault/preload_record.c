/* preload_record.c - log every call that changes files below a directory, and every answer given, in their legal order.
 *
 *   PH_RECORD_DIR      the directory, absolute and without symbolic links
 *   PH_RECORD_LOG      the log, see t/lib/record_log.h; appended to
 *   PH_RECORD_MARK     a descriptor: what is written to it counts as an answer
 *   PH_RECORD_SYNC_US  a sync takes so long before it takes effect, as on a disk
 *   PH_RECORD_SOCKETS  set: what is written to any socket counts as an answer, too
 *
 * One mutex is held over the call and its log entry, so that the order of the log is an order in which the calls took
 * effect. stdio writes past us: opening a file below the directory for writing with fopen aborts, so that nobody is
 * deceived.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../lib/record_log.h"

#define FD_MAX 65536
#define LOG_FD_FROM 900 /* out of the way of programs that count on low numbers */

struct open_file {
    uint32_t handle; /* 0: not ours */
    bool is_dir;
};

static struct {
    pthread_mutex_t lock;
    pthread_once_t once;
    char dir[PATH_MAX];
    size_t dir_len;
    int log_fd, mark_fd;
    bool has_sockets;
    unsigned sync_us;
    uint32_t last_handle;
    struct open_file fds[FD_MAX];
} rec = { .lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT, .log_fd = -1, .mark_fd = -1 };

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    void *p = dlsym(RTLD_NEXT, name);

    if (p == NULL)
        abort();
    return p;
}

static void die(const char *what, const char *path)
{
    fprintf(stderr, "preload_record: %s: %s\n", what, path);
    abort();
}

static void start(void)
{
    const char *dir = getenv("PH_RECORD_DIR"), *log = getenv("PH_RECORD_LOG"), *mark = getenv("PH_RECORD_MARK");
    int fd;

    if (dir == NULL || log == NULL || strlen(dir) >= sizeof(rec.dir))
        return;
    fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    rec.log_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, LOG_FD_FROM);
    if (rec.log_fd < 0)
        die("cannot open the log", log);
    syscall(SYS_close, fd);
    rec.dir_len = strlen(dir);
    memcpy(rec.dir, dir, rec.dir_len + 1);
    rec.mark_fd = mark != NULL ? (int)strtol(mark, NULL, 10) : -1;
    rec.has_sockets = getenv("PH_RECORD_SOCKETS") != NULL;
    rec.sync_us = getenv("PH_RECORD_SYNC_US") != NULL ? (unsigned)strtoul(getenv("PH_RECORD_SYNC_US"), NULL, 10) : 0;
}

static bool enter(void)
{
    pthread_once(&rec.once, start);
    if (rec.log_fd < 0)
        return false;
    pthread_mutex_lock(&rec.lock);
    return true;
}

static void leave(void)
{
    int sys = errno;

    pthread_mutex_unlock(&rec.lock);
    errno = sys;
}

static void put(struct record_event e, const void *p1, size_t len1, const void *p2, size_t len2)
{
    static const char zeros[8];
    int sys = errno;
    struct iovec iov[4] = {
        { &e, sizeof(e) }, { (void *)p1, len1 }, { (void *)p2, len2 }, { (void *)zeros, (8 - (len1 + len2) % 8) % 8 }
    };
    size_t all = sizeof(e) + len1 + len2 + iov[3].iov_len;

    e.magic = RECORD_EVENT_MAGIC;
    e.thread = (uint32_t)syscall(SYS_gettid);
    e.len1 = (uint32_t)len1;
    e.len2 = (uint32_t)len2;
    if (syscall(SYS_writev, rec.log_fd, iov, 4) != (long)all)
        die("the log is full", "");
    errno = sys;
}

#define EVENT(k, ...) ((struct record_event){ .kind = (k), __VA_ARGS__ })

/* --- paths -------------------------------------------------------------------------------------------------------- */

static bool is_below(const char *path)
{
    return strncmp(path, rec.dir, rec.dir_len) == 0 && (path[rec.dir_len] == '/' || path[rec.dir_len] == 0);
}

static bool is_live(int fd)
{
    return fd >= 0 && fd < FD_MAX && rec.fds[fd].handle != 0;
}

/* Absolute, without doubled slashes, "." and ".."; false if it is not ours. */
static bool resolve(int at, const char *path, char out[PATH_MAX])
{
    char all[2 * PATH_MAX], link[64];
    size_t len = 0;
    ssize_t n = 0;

    if (path == NULL)
        return false;
    if (path[0] != '/') {
        snprintf(link, sizeof(link), at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
        n = readlink(link, all, PATH_MAX);
        if (n <= 0)
            return false;
    }
    snprintf(all + n, sizeof(all) - (size_t)n, "/%s", path);
    for (char *save = NULL, *p = strtok_r(all, "/", &save); p != NULL; p = strtok_r(NULL, "/", &save)) {
        if (strcmp(p, ".") == 0)
            continue;
        if (strcmp(p, "..") == 0) {
            while (len > 0 && out[--len] != '/')
                ;
            continue;
        }
        if (len + strlen(p) + 2 > PATH_MAX)
            return false;
        out[len++] = '/';
        memcpy(out + len, p, strlen(p));
        len += strlen(p);
    }
    out[len] = 0;
    return is_below(out);
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static void forget(int fd)
{
    uint32_t handle;

    if (!is_live(fd))
        return;
    handle = rec.fds[fd].handle;
    rec.fds[fd].handle = 0;
    for (int i = 0; i < FD_MAX; i++) {
        if (rec.fds[i].handle == handle)
            return;
        if (i > LOG_FD_FROM + 200 && i > fd)
            break;
    }
    put(EVENT(REC_CLOSE, .handle = handle), NULL, 0, NULL, 0);
}

static int open_common(int at, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    struct stat st;
    bool is_ours, was_there = true;
    int fd;

    if (!enter())
        return REAL(openat)(at, path, flags, mode);
    is_ours = resolve(at, path, full);
    if (is_ours && (flags & O_CREAT) != 0)
        was_there = fstatat(at, path, &st, 0) == 0;
    fd = REAL(openat)(at, path, flags, mode);
    if (fd >= 0 && fd < FD_MAX && is_ours && fstat(fd, &st) == 0) {
        unsigned how = (S_ISDIR(st.st_mode) ? REC_OPEN_DIR : 0u) | (was_there ? 0u : REC_OPEN_CREATED) |
                       ((flags & O_TRUNC) != 0 ? REC_OPEN_TRUNC : 0u);

        rec.fds[fd].handle = ++rec.last_handle;
        rec.fds[fd].is_dir = S_ISDIR(st.st_mode);
        put(EVENT(REC_OPEN, .handle = rec.fds[fd].handle, .a = st.st_ino, .flags = (uint16_t)how), full, strlen(full),
            NULL, 0);
    }
    leave();
    return fd;
}

#define OPEN_MODE(flags, mode) \
    mode_t mode = 0; \
    if (((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE) { \
        va_list ap; \
        va_start(ap, flags); \
        mode = va_arg(ap, mode_t); \
        va_end(ap); \
    }

int open(const char *path, int flags, ...)
{
    OPEN_MODE(flags, mode)
    return open_common(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...)
{
    OPEN_MODE(flags, mode)
    return open_common(AT_FDCWD, path, flags, mode);
}
int openat(int at, const char *path, int flags, ...)
{
    OPEN_MODE(flags, mode)
    return open_common(at, path, flags, mode);
}
int openat64(int at, const char *path, int flags, ...)
{
    OPEN_MODE(flags, mode)
    return open_common(at, path, flags, mode);
}
int creat(const char *path, mode_t mode)
{
    return open_common(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
/* The names that fortified programs call */
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
    return open_common(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char *path, int flags);
int __open64_2(const char *path, int flags)
{
    return open_common(AT_FDCWD, path, flags, 0);
}
int __openat_2(int at, const char *path, int flags);
int __openat_2(int at, const char *path, int flags)
{
    return open_common(at, path, flags, 0);
}
int __openat64_2(int at, const char *path, int flags);
int __openat64_2(int at, const char *path, int flags)
{
    return open_common(at, path, flags, 0);
}

static void no_stdio(const char *path, const char *mode)
{
    char full[PATH_MAX];

    if (!enter())
        return;
    if (mode[strcspn(mode, "wa+")] != 0 && resolve(AT_FDCWD, path, full))
        die("stdio writes past the recorder", full);
    leave();
}
FILE *fopen(const char *restrict path, const char *restrict mode)
{
    no_stdio(path, mode);
    return REAL(fopen)(path, mode);
}
FILE *fopen64(const char *restrict path, const char *restrict mode)
{
    no_stdio(path, mode);
    return REAL(fopen64)(path, mode);
}

int close(int fd)
{
    int rc;

    if (!enter())
        return REAL(close)(fd);
    forget(fd);
    rc = REAL(close)(fd);
    leave();
    return rc;
}

static int adopt(int fd, int copy)
{
    if (copy >= 0 && copy < FD_MAX && copy != fd) {
        forget(copy);
        if (is_live(fd))
            rec.fds[copy] = rec.fds[fd];
    }
    return copy;
}
int dup(int fd)
{
    int copy;

    if (!enter())
        return REAL(dup)(fd);
    copy = adopt(fd, REAL(dup)(fd));
    leave();
    return copy;
}
int dup2(int fd, int copy)
{
    if (!enter())
        return REAL(dup2)(fd, copy);
    copy = adopt(fd, REAL(dup2)(fd, copy));
    leave();
    return copy;
}
int dup3(int fd, int copy, int flags)
{
    if (!enter())
        return REAL(dup3)(fd, copy, flags);
    copy = adopt(fd, REAL(dup3)(fd, copy, flags));
    leave();
    return copy;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static bool is_answer(int fd)
{
    struct stat st;

    if (fd == rec.mark_fd)
        return true;
    return rec.has_sockets && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* Before the call: whoever reads the answer may act on it at once. */
static void put_answer(int fd, const struct iovec *iov, int count)
{
    char *all = NULL;
    size_t len = 0;

    for (int i = 0; i < count; i++) {
        all = realloc(all, len + iov[i].iov_len + 1);
        memcpy(all + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    put(EVENT(REC_REPLY, .handle = (uint32_t)fd), all, len, NULL, 0);
    free(all);
}

static void put_write(int fd, uint64_t at, const struct iovec *iov, int count, ssize_t done)
{
    for (int i = 0; i < count && done > 0; i++) {
        size_t len = iov[i].iov_len < (size_t)done ? iov[i].iov_len : (size_t)done;

        if (len > 0)
            put(EVENT(REC_WRITE, .handle = rec.fds[fd].handle, .a = at), iov[i].iov_base, len, NULL, 0);
        at += len;
        done -= (ssize_t)len;
    }
}

/* Where write(2) without an offset will go. */
static uint64_t position(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    off_t at = lseek(fd, 0, SEEK_CUR);

    if ((flags & O_APPEND) != 0 && fstat(fd, &st) == 0)
        return (uint64_t)st.st_size;
    return at < 0 ? 0 : (uint64_t)at;
}

ssize_t write(int fd, const void *p, size_t len)
{
    struct iovec iov = { (void *)p, len };
    uint64_t at;
    ssize_t n;

    if (!enter())
        return REAL(write)(fd, p, len);
    at = is_live(fd) ? position(fd) : 0;
    if (!is_live(fd) && is_answer(fd))
        put_answer(fd, &iov, 1);
    n = REAL(write)(fd, p, len);
    if (is_live(fd))
        put_write(fd, at, &iov, 1, n);
    leave();
    return n;
}
ssize_t writev(int fd, const struct iovec *iov, int count)
{
    uint64_t at;
    ssize_t n;

    if (!enter())
        return REAL(writev)(fd, iov, count);
    at = is_live(fd) ? position(fd) : 0;
    if (!is_live(fd) && is_answer(fd))
        put_answer(fd, iov, count);
    n = REAL(writev)(fd, iov, count);
    if (is_live(fd))
        put_write(fd, at, iov, count, n);
    leave();
    return n;
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *p, size_t len, off_t at) \
    { \
        struct iovec iov = { (void *)p, len }; \
        ssize_t n; \
        if (!enter()) \
            return REAL(name)(fd, p, len, at); \
        n = REAL(name)(fd, p, len, at); \
        if (is_live(fd)) \
            put_write(fd, (uint64_t)at, &iov, 1, n); \
        leave(); \
        return n; \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name) \
    ssize_t name(int fd, const struct iovec *iov, int count, off_t at) \
    { \
        ssize_t n; \
        if (!enter()) \
            return REAL(name)(fd, iov, count, at); \
        n = REAL(name)(fd, iov, count, at); \
        if (is_live(fd)) \
            put_write(fd, (uint64_t)at, iov, count, n); \
        leave(); \
        return n; \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define PWRITEV2(name) \
    ssize_t name(int fd, const struct iovec *iov, int count, off_t at, int flags) \
    { \
        ssize_t n; \
        if (!enter()) \
            return REAL(name)(fd, iov, count, at, flags); \
        if (is_live(fd) && flags != 0) \
            die("flags of pwritev2 are not modelled", ""); \
        n = REAL(name)(fd, iov, count, at, flags); \
        if (is_live(fd)) \
            put_write(fd, (uint64_t)at, iov, count, n); \
        leave(); \
        return n; \
    }
PWRITEV2(pwritev2)
PWRITEV2(pwritev64v2)

/* Octets that the kernel moved itself are read back. */
static void put_copied(int fd, uint64_t at, ssize_t n)
{
    char block[4096];

    while (n > 0) {
        ssize_t got = pread(fd, block, n < 4096 ? (size_t)n : 4096, (off_t)at);
        struct iovec iov = { block, got > 0 ? (size_t)got : 0 };

        if (got <= 0)
            die("cannot read back what was copied (is the file write-only?)", "");
        put_write(fd, at, &iov, 1, got);
        at += (uint64_t)got;
        n -= got;
    }
}
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t len, unsigned flags)
{
    uint64_t at;
    ssize_t n;

    if (!enter())
        return REAL(copy_file_range)(in, in_at, out, out_at, len, flags);
    at = out_at != NULL ? (uint64_t)*out_at : is_live(out) ? position(out) : 0;
    n = REAL(copy_file_range)(in, in_at, out, out_at, len, flags);
    if (is_live(out))
        put_copied(out, at, n);
    leave();
    return n;
}
#define SENDFILE(name) \
    ssize_t name(int out, int in, off_t *in_at, size_t len) \
    { \
        uint64_t at; \
        ssize_t n; \
        if (!enter()) \
            return REAL(name)(out, in, in_at, len); \
        at = is_live(out) ? position(out) : 0; \
        if (!is_live(out) && is_answer(out)) \
            put_answer(out, NULL, 0); \
        n = REAL(name)(out, in, in_at, len); \
        if (is_live(out)) \
            put_copied(out, at, n); \
        leave(); \
        return n; \
    }
SENDFILE(sendfile)
SENDFILE(sendfile64)

/* --- sockets ------------------------------------------------------------------------------------------------------ */

static void note_answer(int fd, const struct iovec *iov, int count)
{
    if (!enter())
        return;
    if (is_answer(fd))
        put_answer(fd, iov, count);
    leave();
}
ssize_t send(int fd, const void *p, size_t len, int flags)
{
    note_answer(fd, &(struct iovec){ (void *)p, len }, 1);
    return REAL(send)(fd, p, len, flags);
}
ssize_t sendto(int fd, const void *p, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
    note_answer(fd, &(struct iovec){ (void *)p, len }, 1);
    return REAL(sendto)(fd, p, len, flags, to, to_len);
}
ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    note_answer(fd, m->msg_iov, (int)m->msg_iovlen);
    return REAL(sendmsg)(fd, m, flags);
}

/* --- sizes, syncs ------------------------------------------------------------------------------------------------- */

/* A call on a descriptor that is logged when it succeeded. */
#define FD_CALL(ret, name, params, args, event) \
    ret name params \
    { \
        ret rc; \
        if (!enter()) \
            return REAL(name) args; \
        rc = REAL(name) args; \
        if (rc == 0 && is_live(fd)) \
            put(event, NULL, 0, NULL, 0); \
        leave(); \
        return rc; \
    }
#define HANDLE .handle = rec.fds[fd].handle
FD_CALL(int, ftruncate, (int fd, off_t size), (fd, size), EVENT(REC_TRUNCATE, HANDLE, .a = (uint64_t)size))
FD_CALL(int, ftruncate64, (int fd, off_t size), (fd, size), EVENT(REC_TRUNCATE, HANDLE, .a = (uint64_t)size))
FD_CALL(int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len),
        EVENT(REC_FALLOCATE, HANDLE, .a = (uint64_t)at, .b = (uint64_t)len, .flags = (uint16_t)mode))
FD_CALL(int, fallocate64, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len),
        EVENT(REC_FALLOCATE, HANDLE, .a = (uint64_t)at, .b = (uint64_t)len, .flags = (uint16_t)mode))
FD_CALL(int, posix_fallocate, (int fd, off_t at, off_t len), (fd, at, len),
        EVENT(REC_FALLOCATE, HANDLE, .a = (uint64_t)at, .b = (uint64_t)len))
FD_CALL(int, posix_fallocate64, (int fd, off_t at, off_t len), (fd, at, len),
        EVENT(REC_FALLOCATE, HANDLE, .a = (uint64_t)at, .b = (uint64_t)len))
FD_CALL(int, syncfs, (int fd), (fd), EVENT(REC_SYNC_ALL, HANDLE))

static int sync_common(int fd, int (*call)(int), uint16_t flags)
{
    int rc;

    pthread_once(&rec.once, start);
    if (rec.sync_us != 0)
        usleep(rec.sync_us);
    if (!enter())
        return call(fd);
    rc = call(fd);
    if (is_live(fd))
        put(EVENT(rc == 0 ? REC_SYNC : REC_SYNC_FAILED, HANDLE, .flags = flags), NULL, 0, NULL, 0);
    leave();
    return rc;
}
int fsync(int fd)
{
    return sync_common(fd, REAL(fsync), 0);
}
int fdatasync(int fd)
{
    return sync_common(fd, REAL(fdatasync), 1);
}
void sync(void)
{
    bool is_on = enter();

    REAL(sync)();
    if (is_on) {
        put(EVENT(REC_SYNC_ALL), NULL, 0, NULL, 0);
        leave();
    }
}
int msync(void *p, size_t len, int flags)
{
    if (enter()) {
        put(EVENT(REC_MSYNC, .a = len, .flags = (uint16_t)flags), NULL, 0, NULL, 0);
        leave();
    }
    return REAL(msync)(p, len, flags);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static int truncate_common(const char *path, off_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : ftruncate(fd, size);
    int sys = errno;

    if (fd >= 0)
        close(fd);
    errno = sys;
    return rc;
}
int truncate(const char *path, off_t size)
{
    return truncate_common(path, size);
}
int truncate64(const char *path, off_t size)
{
    return truncate_common(path, size);
}

/* A call on one or two paths that is logged when it succeeded. */
static bool begin_names(int at1, const char *p1, int at2, const char *p2, char full[2][PATH_MAX], bool *is_ours)
{
    if (!enter())
        return false;
    full[1][0] = 0;
    *is_ours = resolve(at1, p1, full[0]);
    if (p2 != NULL && resolve(at2, p2, full[1]) != *is_ours)
        die("a name crosses the border of the recorded directory", p2);
    return true;
}
static void end_names(enum record_kind kind, int rc, char full[2][PATH_MAX], bool is_ours)
{
    if (rc == 0 && is_ours)
        put(EVENT((uint16_t)kind), full[0], strlen(full[0]), full[1], strlen(full[1]));
    leave();
}
#define NAME_CALL(name, params, args, at1, p1, at2, p2, what) \
    int name params \
    { \
        char full[2][PATH_MAX]; \
        bool is_ours; \
        int rc; \
        if (!begin_names(at1, p1, at2, p2, full, &is_ours)) \
            return REAL(name) args; \
        rc = REAL(name) args; \
        end_names(what, rc, full, is_ours); \
        return rc; \
    }
#define CWD AT_FDCWD
NAME_CALL(rename, (const char *a, const char *b), (a, b), CWD, a, CWD, b, REC_RENAME)
NAME_CALL(renameat, (int x, const char *a, int y, const char *b), (x, a, y, b), x, a, y, b, REC_RENAME)
NAME_CALL(renameat2, (int x, const char *a, int y, const char *b, unsigned f), (x, a, y, b, f), x, a, y, b, REC_RENAME)
NAME_CALL(link, (const char *a, const char *b), (a, b), CWD, a, CWD, b, REC_LINK)
NAME_CALL(linkat, (int x, const char *a, int y, const char *b, int f), (x, a, y, b, f), x, a, y, b, REC_LINK)
NAME_CALL(unlink, (const char *a), (a), CWD, a, 0, NULL, REC_UNLINK)
NAME_CALL(unlinkat, (int x, const char *a, int f), (x, a, f), x, a, 0, NULL,
          (f & AT_REMOVEDIR) != 0 ? REC_RMDIR : REC_UNLINK)
NAME_CALL(mkdir, (const char *a, mode_t m), (a, m), CWD, a, 0, NULL, REC_MKDIR)
NAME_CALL(mkdirat, (int x, const char *a, mode_t m), (x, a, m), x, a, 0, NULL, REC_MKDIR)
NAME_CALL(rmdir, (const char *a), (a), CWD, a, 0, NULL, REC_RMDIR)

int remove(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) ? rmdir(path) : unlink(path);
}
