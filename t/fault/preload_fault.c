/* preload_fault.c - make file calls below a directory fail, or the disk end, at a chosen moment.
 *
 *   PH_FAULT_DIR       the directory, absolute and without symbolic links
 *   PH_FAULT           KIND:N:ACTION[:on], several separated by ','. The N-th call of that kind (from 1; with "on"
 *                      every one from there) is answered with ACTION: EIO, ENOSPC, EDQUOT, SHORT (half of a write is
 *                      done), KILL (the process dies before the call), EIOKEPT (of a sync: it fails although
 *                      everything reached the disk). KIND: open write pwrite pwritev pread ftruncate fallocate
 *                      fsync fdatasync rename unlink mkdir any
 *   PH_FAULT_REPORT    file that gets one line "KIND COUNT" each when the process ends
 *   PH_FAULT_CAPACITY  octets: the disk below the directory holds no more. Blocks of 4,096; writing over what is
 *                      allocated is free; a write that does not fit is cut to what does. statvfs and its kin tell the
 *                      same story. The value may be a path instead: then the number is read from that file at every
 *                      call, so that the disk may grow.
 *
 * A failed sync means what it means on Linux: the pages count as clean although they never reached the disk. They are
 * put back to their last synced content when the process ends, unless they were written again and synced.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK 4096u
#define FILES_MAX 1024
#define RULES_MAX 8
#define FD_FROM 800

enum kind {
    K_OPEN, K_WRITE, K_PWRITE, K_PWRITEV, K_PREAD, K_FTRUNCATE, K_FALLOCATE, K_FSYNC, K_FDATASYNC, K_RENAME, K_UNLINK,
    K_MKDIR, K_ANY, K_COUNT
};
static const char *const kind_names[K_COUNT] = {
    "open",  "write",     "pwrite", "pwritev", "pread", "ftruncate", "fallocate",
    "fsync", "fdatasync", "rename", "unlink",  "mkdir", "any",
};

enum action { DO_IT, FAIL, FAIL_KEPT, CUT_SHORT, DIE };
struct rule {
    enum kind kind;
    unsigned long n;
    bool goes_on;
    enum action action;
    int sys;
};

struct page { /* content at the last sync */
    uint64_t number;
    bool is_lost;
    unsigned char before[BLOCK];
};
struct file {
    ino_t inode; /* 0: free */
    unsigned char *allocated; /* one octet a block */
    size_t blocks;
    int own_fd; /* -1: none; for putting lost pages back */
    struct page *pages;
    size_t page_count, page_cap;
};

static struct {
    pthread_mutex_t lock;
    pthread_once_t once;
    bool is_on, has_sync_faults, is_dead;
    char dir[PATH_MAX], report[PATH_MAX], capacity_path[PATH_MAX];
    struct rule rules[RULES_MAX];
    unsigned rule_count;
    unsigned long counts[K_COUNT];
    uint64_t capacity, used; /* blocks; capacity 0: unlimited */
    struct file files[FILES_MAX];
} fault = { .lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT };

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    void *p = dlsym(RTLD_NEXT, name);

    if (p == NULL)
        abort();
    return p;
}

static void die(const char *what, const char *arg)
{
    fprintf(stderr, "preload_fault: %s: %s\n", what, arg);
    abort();
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

static void parse_rule(char *text)
{
    char *save = NULL, *kind = strtok_r(text, ":", &save), *n = strtok_r(NULL, ":", &save);
    char *action = strtok_r(NULL, ":", &save), *on = strtok_r(NULL, ":", &save);
    struct rule *r = &fault.rules[fault.rule_count++];
    unsigned i = 0;

    if (fault.rule_count == RULES_MAX || action == NULL)
        die("bad rule", text);
    while (i < K_COUNT && strcmp(kind_names[i], kind) != 0)
        i++;
    if (i == K_COUNT)
        die("no such kind", kind);
    *r = (struct rule){ .kind = (enum kind)i, .n = strtoul(n, NULL, 10), .goes_on = on != NULL, .action = FAIL };
    if (strcmp(action, "SHORT") == 0)
        r->action = CUT_SHORT;
    else if (strcmp(action, "KILL") == 0)
        r->action = DIE;
    else if (strcmp(action, "EIOKEPT") == 0)
        r->action = FAIL_KEPT, r->sys = EIO;
    else
        r->sys = strcmp(action, "EIO") == 0 ? EIO : strcmp(action, "ENOSPC") == 0 ? ENOSPC : EDQUOT;
    if (r->action == FAIL && (i == K_FSYNC || i == K_FDATASYNC || i == K_ANY))
        fault.has_sync_faults = true;
}

static void capacity_read(void)
{
    char text[40] = "";
    int fd;

    if (fault.capacity_path[0] == 0)
        return;
    fd = (int)syscall(SYS_openat, AT_FDCWD, fault.capacity_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || syscall(SYS_read, fd, text, sizeof(text) - 1) < 0)
        die("cannot read", fault.capacity_path);
    syscall(SYS_close, fd);
    fault.capacity = strtoull(text, NULL, 10) / BLOCK;
}

static struct file *file_of(const struct stat *st);

static int scan_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (flag == FTW_F)
        file_of(st);
    return 0;
}

static void start(void)
{
    const char *dir = getenv("PH_FAULT_DIR"), *rules = getenv("PH_FAULT"), *report = getenv("PH_FAULT_REPORT");
    const char *capacity = getenv("PH_FAULT_CAPACITY");
    char *copy, *save = NULL;

    if (dir == NULL)
        return;
    snprintf(fault.dir, sizeof(fault.dir), "%s", dir);
    snprintf(fault.report, sizeof(fault.report), "%s", report != NULL ? report : "");
    copy = strdup(rules != NULL ? rules : "");
    for (char *r = strtok_r(copy, ",", &save); r != NULL; r = strtok_r(NULL, ",", &save))
        parse_rule(r);
    free(copy);
    if (capacity != NULL && capacity[0] == '/')
        snprintf(fault.capacity_path, sizeof(fault.capacity_path), "%s", capacity);
    else if (capacity != NULL)
        fault.capacity = strtoull(capacity, NULL, 10) / BLOCK;
    capacity_read();
    if (capacity != NULL)
        nftw(dir, scan_one, 16, FTW_PHYS);
    fault.is_on = true;
}

static bool enter(void)
{
    pthread_once(&fault.once, start);
    if (!fault.is_on)
        return false;
    pthread_mutex_lock(&fault.lock);
    return true;
}

static void leave(void)
{
    int sys = errno;

    pthread_mutex_unlock(&fault.lock);
    errno = sys;
}

static bool is_below(const char *path)
{
    size_t len = strlen(fault.dir);

    return strncmp(path, fault.dir, len) == 0 && (path[len] == '/' || path[len] == 0);
}

static bool fd_is_ours(int fd)
{
    char link[64], path[PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0)
        return false;
    path[n] = 0;
    return is_below(path);
}

/* Relative names are taken to be in the directory of `at`, or the working directory. */
static bool path_is_ours(int at, const char *path)
{
    if (path == NULL || path[0] == 0)
        return false;
    if (path[0] == '/')
        return is_below(path);
    if (at == AT_FDCWD) {
        char cwd[PATH_MAX];

        return getcwd(cwd, sizeof(cwd)) != NULL && is_below(cwd);
    }
    return fd_is_ours(at);
}

/* --- allocation --------------------------------------------------------------------------------------------------- */

static struct file *file_of(const struct stat *st)
{
    struct file *spare = NULL;
    size_t blocks;

    for (unsigned i = 0; i < FILES_MAX; i++) {
        if (fault.files[i].inode == st->st_ino)
            return &fault.files[i];
        if (fault.files[i].inode == 0 && spare == NULL)
            spare = &fault.files[i];
    }
    if (spare == NULL)
        die("too many files", fault.dir);
    blocks = ((size_t)st->st_blocks * 512 + BLOCK - 1) / BLOCK;
    if (blocks < ((size_t)st->st_size + BLOCK - 1) / BLOCK)
        blocks = ((size_t)st->st_size + BLOCK - 1) / BLOCK;
    *spare = (struct file){ .inode = st->st_ino, .own_fd = -1, .blocks = blocks };
    spare->allocated = blocks == 0 ? NULL : malloc(blocks);
    if (blocks > 0)
        memset(spare->allocated, 1, blocks);
    fault.used += blocks;
    return spare;
}

static struct file *file_of_fd(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? file_of(&st) : NULL;
}

static void file_forget(struct file *f)
{
    for (size_t i = 0; i < f->blocks; i++)
        fault.used -= f->allocated[i];
    free(f->allocated);
    free(f->pages);
    if (f->own_fd >= 0)
        syscall(SYS_close, f->own_fd);
    memset(f, 0, sizeof(*f));
}

static void blocks_free(struct file *f, uint64_t from, uint64_t to)
{
    for (uint64_t i = (from + BLOCK - 1) / BLOCK; i < to / BLOCK && i < f->blocks; i++) {
        fault.used -= f->allocated[i];
        f->allocated[i] = 0;
    }
}

/* Allocate what [at, at + len) needs. Returns how many of the octets fit, from the front. */
static uint64_t blocks_take(struct file *f, uint64_t at, uint64_t len)
{
    capacity_read();
    for (uint64_t i = at / BLOCK; len > 0 && i <= (at + len - 1) / BLOCK; i++) {
        if (i >= f->blocks) {
            size_t more = (size_t)i + 64;

            f->allocated = realloc(f->allocated, more);
            memset(f->allocated + f->blocks, 0, more - f->blocks);
            f->blocks = more;
        }
        if (f->allocated[i])
            continue;
        if (fault.capacity != 0 && fault.used >= fault.capacity)
            return i * BLOCK > at ? i * BLOCK - at : 0;
        f->allocated[i] = 1;
        fault.used++;
    }
    return len;
}

/* --- pages that a failed sync loses ------------------------------------------------------------------------------- */

static struct page *page_find(struct file *f, uint64_t number)
{
    for (size_t i = 0; i < f->page_count; i++) {
        if (f->pages[i].number == number)
            return &f->pages[i];
    }
    return NULL;
}

/* Before [at, at + len) is written: keep what was there. A lost page that is written again gets another chance. */
static void pages_touch(struct file *f, int fd, uint64_t at, uint64_t len)
{
    char link[64];

    if (!fault.has_sync_faults || len == 0)
        return;
    if (f->own_fd < 0) {
        int own;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        own = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDWR | O_CLOEXEC);
        f->own_fd = fcntl(own, F_DUPFD_CLOEXEC, FD_FROM);
        syscall(SYS_close, own);
    }
    for (uint64_t i = at / BLOCK; i <= (at + len - 1) / BLOCK; i++) {
        struct page *p = page_find(f, i);

        if (p != NULL) {
            p->is_lost = false;
            continue;
        }
        if (f->page_count == f->page_cap) {
            f->page_cap = f->page_cap * 2 + 16;
            f->pages = realloc(f->pages, f->page_cap * sizeof(*f->pages));
        }
        p = &f->pages[f->page_count++];
        memset(p, 0, sizeof(*p));
        p->number = i;
        if (syscall(SYS_pread64, f->own_fd, p->before, BLOCK, (off_t)(i * BLOCK)) < 0)
            die("cannot read before writing", link);
    }
}

static void pages_synced(struct file *f, bool well)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->page_count; i++) {
        if (!well)
            f->pages[i].is_lost = true;
        if (f->pages[i].is_lost)
            f->pages[kept++] = f->pages[i];
    }
    f->page_count = kept;
}

static void pages_put_back(void)
{
    for (unsigned i = 0; i < FILES_MAX; i++) {
        struct file *f = &fault.files[i];
        struct stat st;

        if (f->page_count == 0 || fstat(f->own_fd, &st) < 0)
            continue;
        for (size_t k = 0; k < f->page_count; k++) {
            uint64_t at = f->pages[k].number * BLOCK;
            uint64_t len = (uint64_t)st.st_size > at ? (uint64_t)st.st_size - at : 0;

            if (f->pages[k].is_lost && syscall(SYS_pwrite64, f->own_fd, f->pages[k].before, len < BLOCK ? len : BLOCK,
                                               (off_t)at) < 0)
                die("cannot put back", "a page");
        }
    }
}

static void finish(void)
{
    char line[64];
    int fd;

    if (fault.is_dead)
        return;
    fault.is_dead = true;
    pages_put_back();
    if (fault.report[0] == 0)
        return;
    fd = (int)syscall(SYS_openat, AT_FDCWD, fault.report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (unsigned i = 0; i < K_COUNT; i++) {
        int n = snprintf(line, sizeof(line), "%s %lu\n", kind_names[i], fault.counts[i]);

        if (syscall(SYS_write, fd, line, n) != n)
            die("cannot write", fault.report);
    }
    syscall(SYS_close, fd);
}

__attribute__((destructor)) static void at_end(void)
{
    if (enter()) {
        finish();
        leave();
    }
}

/* --- deciding ----------------------------------------------------------------------------------------------------- */

static enum action decide(enum kind kind)
{
    fault.counts[kind]++;
    fault.counts[K_ANY]++;
    for (unsigned i = 0; i < fault.rule_count; i++) {
        const struct rule *r = &fault.rules[i];
        unsigned long n = fault.counts[r->kind];

        if ((r->kind != kind && r->kind != K_ANY) || (r->goes_on ? n < r->n : n != r->n))
            continue;
        if (r->action == DIE) {
            finish();
            raise(SIGKILL);
        }
        if (r->action == CUT_SHORT && kind != K_WRITE && kind != K_PWRITE && kind != K_PWRITEV)
            continue;
        errno = r->sys;
        return r->action;
    }
    return DO_IT;
}

/* --- writes ------------------------------------------------------------------------------------------------------- */

static uint64_t position(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    off_t at = lseek(fd, 0, SEEK_CUR);

    if ((flags & O_APPEND) != 0 && fstat(fd, &st) == 0)
        return (uint64_t)st.st_size;
    return at < 0 ? 0 : (uint64_t)at;
}

/* How much of a write may happen; -1 with errno for none. */
static ssize_t allowed(int fd, enum kind kind, uint64_t at, uint64_t len)
{
    struct file *f = file_of_fd(fd);
    enum action action = decide(kind);

    if (action == FAIL)
        return -1;
    if (action == CUT_SHORT)
        len /= 2;
    if (f == NULL)
        return (ssize_t)len;
    pages_touch(f, fd, at, len);
    if (len > 0 && blocks_take(f, at, len) < len) {
        len = blocks_take(f, at, len);
        if (len == 0) {
            errno = ENOSPC;
            return -1;
        }
    }
    return (ssize_t)len;
}

static uint64_t iov_bytes(const struct iovec *iov, int count)
{
    uint64_t n = 0;

    for (int i = 0; i < count; i++)
        n += iov[i].iov_len;
    return n;
}

/* The first `len` octets of iov; to be freed. */
static struct iovec *iov_front(const struct iovec *iov, int count, uint64_t len)
{
    struct iovec *out = calloc((size_t)count + 1, sizeof(*out));

    for (int i = 0; i < count; i++) {
        out[i] = iov[i];
        if (out[i].iov_len > len)
            out[i].iov_len = (size_t)len;
        len -= out[i].iov_len;
    }
    return out;
}

ssize_t write(int fd, const void *p, size_t len)
{
    ssize_t n;

    if (!enter())
        return REAL(write)(fd, p, len);
    n = fd_is_ours(fd) ? allowed(fd, K_WRITE, position(fd), len) : (ssize_t)len;
    if (n >= 0)
        n = REAL(write)(fd, p, (size_t)n);
    leave();
    return n;
}

#define WRITEV(name, params, pass, kind, where) \
    ssize_t name params \
    { \
        struct iovec *front; \
        ssize_t n; \
        if (!enter()) \
            return REAL(name) pass; \
        if (!fd_is_ours(fd)) { \
            leave(); \
            return REAL(name) pass; \
        } \
        n = allowed(fd, kind, where, iov_bytes(iov, count)); \
        if (n >= 0) { \
            front = iov_front(iov, count, (uint64_t)n); \
            iov = front; \
            n = REAL(name) pass; \
            free(front); \
        } \
        leave(); \
        return n; \
    }
WRITEV(writev, (int fd, const struct iovec *iov, int count), (fd, iov, count), K_WRITE, position(fd))
WRITEV(pwritev, (int fd, const struct iovec *iov, int count, off_t at), (fd, iov, count, at), K_PWRITEV, (uint64_t)at)
WRITEV(pwritev64, (int fd, const struct iovec *iov, int count, off_t at), (fd, iov, count, at), K_PWRITEV, (uint64_t)at)

#define PWRITE(name) \
    ssize_t name(int fd, const void *p, size_t len, off_t at) \
    { \
        ssize_t n; \
        if (!enter()) \
            return REAL(name)(fd, p, len, at); \
        n = fd_is_ours(fd) ? allowed(fd, K_PWRITE, (uint64_t)at, len) : (ssize_t)len; \
        if (n >= 0) \
            n = REAL(name)(fd, p, (size_t)n, at); \
        leave(); \
        return n; \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PREAD(name) \
    ssize_t name(int fd, void *p, size_t len, off_t at) \
    { \
        enum action action; \
        if (!enter()) \
            return REAL(name)(fd, p, len, at); \
        action = fd_is_ours(fd) ? decide(K_PREAD) : DO_IT; \
        leave(); \
        return action == FAIL ? -1 : REAL(name)(fd, p, len, at); \
    }
PREAD(pread)
PREAD(pread64)

/* --- sizes and syncs ---------------------------------------------------------------------------------------------- */

static int truncate_common(int fd, off_t size)
{
    struct stat st;
    struct file *f;
    int rc;

    if (!enter())
        return REAL(ftruncate)(fd, size);
    if (fd_is_ours(fd)) {
        if (decide(K_FTRUNCATE) == FAIL) {
            leave();
            return -1;
        }
        f = file_of_fd(fd);
        if (f != NULL && fstat(fd, &st) == 0 && st.st_size > size)
            blocks_free(f, (uint64_t)size, UINT64_MAX);
    }
    rc = REAL(ftruncate)(fd, size);
    leave();
    return rc;
}
int ftruncate(int fd, off_t size)
{
    return truncate_common(fd, size);
}
int ftruncate64(int fd, off_t size)
{
    return truncate_common(fd, size);
}

static int fallocate_common(int fd, int mode, off_t at, off_t len)
{
    struct file *f;
    int rc = 0;

    if (!enter())
        return REAL(fallocate)(fd, mode, at, len);
    if (fd_is_ours(fd)) {
        f = file_of_fd(fd);
        if (decide(K_FALLOCATE) == FAIL) {
            rc = -1;
        } else if (f != NULL && (mode & FALLOC_FL_PUNCH_HOLE) != 0) {
            blocks_free(f, (uint64_t)at, (uint64_t)(at + len));
        } else if (f != NULL && blocks_take(f, (uint64_t)at, (uint64_t)len) < (uint64_t)len) {
            errno = ENOSPC; /* what was taken stays taken, as on some file systems */
            rc = -1;
        }
    }
    if (rc == 0)
        rc = REAL(fallocate)(fd, mode, at, len);
    leave();
    return rc;
}
int fallocate(int fd, int mode, off_t at, off_t len)
{
    return fallocate_common(fd, mode, at, len);
}
int fallocate64(int fd, int mode, off_t at, off_t len)
{
    return fallocate_common(fd, mode, at, len);
}
int posix_fallocate(int fd, off_t at, off_t len)
{
    return fallocate_common(fd, 0, at, len) < 0 ? errno : 0;
}
int posix_fallocate64(int fd, off_t at, off_t len)
{
    return fallocate_common(fd, 0, at, len) < 0 ? errno : 0;
}

static int sync_common(int fd, enum kind kind)
{
    enum action action;
    struct file *f;
    int rc;

    if (!enter())
        return kind == K_FSYNC ? REAL(fsync)(fd) : REAL(fdatasync)(fd);
    if (!fd_is_ours(fd)) {
        leave();
        return kind == K_FSYNC ? REAL(fsync)(fd) : REAL(fdatasync)(fd);
    }
    f = fault.has_sync_faults ? file_of_fd(fd) : NULL;
    action = decide(kind);
    rc = action == DO_IT ? 0 : -1;
    if (f != NULL)
        pages_synced(f, action != FAIL);
    if (rc == 0)
        rc = kind == K_FSYNC ? REAL(fsync)(fd) : REAL(fdatasync)(fd);
    leave();
    return rc;
}
int fsync(int fd)
{
    return sync_common(fd, K_FSYNC);
}
int fdatasync(int fd)
{
    return sync_common(fd, K_FDATASYNC);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static int open_common(int at, const char *path, int flags, mode_t mode)
{
    struct stat st;
    int fd = -1;

    if (!enter())
        return REAL(openat)(at, path, flags, mode);
    if (!path_is_ours(at, path) || decide(K_OPEN) != FAIL)
        fd = REAL(openat)(at, path, flags, mode);
    if (fd >= 0 && (flags & O_TRUNC) != 0 && fault.capacity != 0 && path_is_ours(at, path) && fstat(fd, &st) == 0)
        blocks_free(file_of(&st), 0, UINT64_MAX);
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

/* The file of that name is about to lose a link. */
static bool last_link(int at, const char *path, struct stat *st)
{
    return fstatat(at, path, st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st->st_mode) && st->st_nlink == 1;
}

#define NAME_CALL(name, params, pass, kind, at, ours, gone) \
    int name params \
    { \
        struct stat st; \
        bool is_gone; \
        int rc = -1; \
        if (!enter()) \
            return REAL(name) pass; \
        is_gone = path_is_ours(at, gone) && last_link(at, gone, &st); \
        if (!path_is_ours(at, ours) || decide(kind) != FAIL) { \
            rc = REAL(name) pass; \
            if (rc == 0 && is_gone) \
                file_forget(file_of(&st)); \
        } \
        leave(); \
        return rc; \
    }
#define NO_NAME ((const char *)NULL)
NAME_CALL(rename, (const char *a, const char *b), (a, b), K_RENAME, AT_FDCWD, a, b)
NAME_CALL(renameat, (int x, const char *a, int y, const char *b), (x, a, y, b), K_RENAME, y, b, b)
NAME_CALL(renameat2, (int x, const char *a, int y, const char *b, unsigned f), (x, a, y, b, f), K_RENAME, y, b, b)
NAME_CALL(unlink, (const char *a), (a), K_UNLINK, AT_FDCWD, a, a)
NAME_CALL(unlinkat, (int x, const char *a, int f), (x, a, f), K_UNLINK, x, a, a)
NAME_CALL(mkdir, (const char *a, mode_t m), (a, m), K_MKDIR, AT_FDCWD, a, NO_NAME)
NAME_CALL(mkdirat, (int x, const char *a, mode_t m), (x, a, m), K_MKDIR, x, a, NO_NAME)

/* --- how full is it? ---------------------------------------------------------------------------------------------- */

#define STATFS(name, type, first, ours) \
    int name(first, struct type *out) \
    { \
        int rc; \
        if (!enter()) \
            return REAL(name)(x, out); \
        capacity_read(); \
        rc = REAL(name)(x, out); \
        if (rc == 0 && fault.capacity != 0 && (ours)) { \
            uint64_t left = fault.used < fault.capacity ? fault.capacity - fault.used : 0; \
            uint64_t unit = (uint64_t)out->f_bsize / BLOCK > 0 ? (uint64_t)out->f_bsize / BLOCK : 1; \
            out->f_blocks = fault.capacity / unit; \
            out->f_bfree = out->f_bavail = left / unit; \
        } \
        leave(); \
        return rc; \
    }
STATFS(statfs, statfs, const char *x, path_is_ours(AT_FDCWD, x))
STATFS(statfs64, statfs64, const char *x, path_is_ours(AT_FDCWD, x))
STATFS(fstatfs, statfs, int x, fd_is_ours(x))
STATFS(fstatfs64, statfs64, int x, fd_is_ours(x))
STATFS(statvfs, statvfs, const char *x, path_is_ours(AT_FDCWD, x))
STATFS(statvfs64, statvfs64, const char *x, path_is_ours(AT_FDCWD, x))
STATFS(fstatvfs, statvfs, int x, fd_is_ours(x))
STATFS(fstatvfs64, statvfs64, int x, fd_is_ours(x))
