#include "journal/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/slice.h"

#define LOCK_FILE "lock"
#define LOCK_TEXT_BYTES 320 /* host up to 64 (Linux), process id, boot id; more is cut */

void guard_boot_id(char out[BOOT_ID_BYTES])
{
    char text[BOOT_ID_BYTES];
    ssize_t got = -1;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        got = read(fd, text, sizeof(text));
        close(fd);
    }
    snprintf(out, BOOT_ID_BYTES, "unknown");
    if (got < BOOT_ID_BYTES - 1)
        return;
    for (int i = 0; i < BOOT_ID_BYTES - 1; i++) {
        if (!ascii_is_alnum((unsigned char)text[i]) && text[i] != '-')
            return;
    }
    memcpy(out, text, BOOT_ID_BYTES - 1);
    out[BOOT_ID_BYTES - 1] = '\0';
}

/* --- the lock ----------------------------------------------------------------------------------------------------- */

static int open_lock(const char *dir, int flags)
{
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd, sys;

    if (dir_fd < 0)
        return -1;
    fd = openat(dir_fd, LOCK_FILE, flags | O_CLOEXEC, 0600);
    sys = errno;
    close(dir_fd);
    errno = sys;
    return fd;
}

/* "process PID on HOST (boot ID)" from the text in the file, which is information and may be anything: a word that
 * does not look right becomes "?". */
static void describe_holder(int fd, char *out, size_t size)
{
    static const char *const shape[3] = { "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_",
                                          "0123456789", "abcdefghijklmnopqrstuvwxyz0123456789-" };
    static const size_t longest[3] = { 64, 20, BOOT_ID_BYTES - 1 };
    char text[LOCK_TEXT_BYTES], word[3][65];
    ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
    size_t at = 0;

    text[got > 0 ? got : 0] = '\0';
    for (int i = 0; i < 3; i++) {
        size_t len = strcspn(text + at, " \n"), good = strspn(text + at, shape[i]);

        if (len == 0 || len != good || len > longest[i])
            snprintf(word[i], sizeof(word[i]), "?");
        else
            snprintf(word[i], sizeof(word[i]), "%.*s", (int)len, text + at);
        at += len;
        if (text[at] != '\0')
            at++;
    }
    snprintf(out, size, "process %.20s on %.64s (boot %.36s)", word[1], word[0], word[2]);
}

static void write_holder(int fd)
{
    char host[65], boot[BOOT_ID_BYTES], text[LOCK_TEXT_BYTES];
    int len;

    if (gethostname(host, sizeof(host)) < 0)
        snprintf(host, sizeof(host), "?");
    host[sizeof(host) - 1] = '\0';
    guard_boot_id(boot);
    len = snprintf(text, sizeof(text), "%s %ld %s\n", host, (long)getpid(), boot);
    /* For people only: without it (a full disk) the lock holds all the same. */
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) < 0)
        diag_warn("journal", "the lock of %.80s carries no holder's name", host);
}

int guard_lock(const char *dir, struct err *err)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    char holder[200];
    int fd = open_lock(dir, O_RDWR | O_CREAT);

    if (fd < 0)
        return err_sys(err, errno, "locking directory %.120s", dir);
    /* Of the open file, not of the process: closing another descriptor of the file does not lose it. */
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
        write_holder(fd);
        return fd;
    }
    if (errno == EAGAIN || errno == EACCES) {
        describe_holder(fd, holder, sizeof(holder));
        err_set(err, ERR_DENIED, "directory %.80s is in use by %s; stop it first, or name another directory",
                dir, holder);
    } else {
        err_sys(err, errno, "locking directory %.120s", dir);
    }
    close(fd);
    return -1;
}

bool guard_is_locked(const char *dir, char holder[200])
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = open_lock(dir, O_RDONLY);
    bool locked;

    holder[0] = '\0';
    if (fd < 0)
        return false;
    locked = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (locked)
        describe_holder(fd, holder, 200);
    close(fd);
    return locked;
}

/* --- the file system ---------------------------------------------------------------------------------------------- */

struct fs_row {
    uint32_t magic; /* statfs f_type; names as in the kernel's magic.h and the file systems' own sources */
    enum guard_fs kind;
    const char *name;
};

static const struct fs_row file_systems[] = {
    { 0x00006969, GUARD_FS_REMOTE, "NFS" },
    { 0x0000517B, GUARD_FS_REMOTE, "SMB" },
    { 0xFF534D42, GUARD_FS_REMOTE, "CIFS" },
    { 0xFE534D42, GUARD_FS_REMOTE, "SMB2" },
    { 0x01021997, GUARD_FS_REMOTE, "9p" },
    { 0x65735546, GUARD_FS_REMOTE, "FUSE" },
    { 0x00C36400, GUARD_FS_REMOTE, "Ceph" },
    { 0x5346414F, GUARD_FS_REMOTE, "AFS" },
    { 0x73757245, GUARD_FS_REMOTE, "Coda" },
    { 0x0BD00BD0, GUARD_FS_REMOTE, "Lustre" },
    { 0x01021994, GUARD_FS_NOT_DURABLE, "tmpfs" },
    { 0x858458F6, GUARD_FS_NOT_DURABLE, "ramfs" },
    { 0x9123683E, GUARD_FS_COPY_ON_WRITE, "btrfs" },
    { 0x2FC12FC1, GUARD_FS_COPY_ON_WRITE, "ZFS" },
    { 0xCA451A4E, GUARD_FS_COPY_ON_WRITE, "bcachefs" },
    { 0x00003434, GUARD_FS_COPY_ON_WRITE, "NILFS2" },
    { 0x0000EF53, GUARD_FS_OK, "ext4" },
    { 0x58465342, GUARD_FS_OK, "XFS" },
    { 0xF2F52010, GUARD_FS_OK, "F2FS" },
    { 0x3153464A, GUARD_FS_OK, "JFS" },
    { 0x794C7630, GUARD_FS_OK, "overlay" },
};

enum guard_fs guard_fs_of_magic(uint32_t magic, const char **name)
{
    for (size_t i = 0; i < sizeof(file_systems) / sizeof(file_systems[0]); i++) {
        if (file_systems[i].magic == magic) {
            *name = file_systems[i].name;
            return file_systems[i].kind;
        }
    }
    *name = "unknown";
    return GUARD_FS_OK;
}

int guard_fs_kind(const char *dir, enum guard_fs *kind, const char **name, struct err *err)
{
    struct statfs fs;

    while (statfs(dir, &fs) < 0) {
        if (errno != EINTR)
            return err_sys(err, errno, "looking at the file system of %.120s", dir);
    }
    *kind = guard_fs_of_magic((uint32_t)fs.f_type, name);
    return 0;
}
