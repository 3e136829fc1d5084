#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "journal/segment_private.h"

#define READ_BYTES (1u << 20)
#define READ_BLOCK_BYTES 4096u /* what is given up as one when it cannot be read */

/* --- names -------------------------------------------------------------------------------------------------------- */

#define NUMBER_DIGITS 16u
#define NEW_SUFFIX ".new"

static const struct {
    enum segment_kind kind;
    const char *suffix;
} suffixes[] = {
    { SEGMENT_LOG, ".seg" },
    { SEGMENT_BODY, ".body" },
    { SEGMENT_COMPACT, ".cmp" },
};

static bool slot_number(slice digits, uint64_t *out)
{
    return digits.len > 0 && digits.ptr[0] != '0' && slice_u64(digits, out);
}

void segment_name_parse(const char *text, struct segment_name *out)
{
    slice name = slice_str(text);

    *out = (struct segment_name){ .kind = NAME_OTHER };
    if (slice_ends(name, SLICE(NEW_SUFFIX))) {
        out->is_new = true;
        name = slice_sub(name, 0, name.len - (sizeof(NEW_SUFFIX) - 1));
    }
    if (slice_eq(name, SLICE("spare-1"))) {
        out->kind = NAME_SPARE;
    } else if (slice_starts(name, SLICE("reserve-")) && slot_number(slice_from(name, 8), &out->number)) {
        out->kind = NAME_RESERVE;
    } else if (slice_hex64(slice_sub(name, 0, NUMBER_DIGITS), &out->number) && out->number != 0) {
        for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
            struct segment_path exact;

            /* Capitals and the like name another file than the one that we would make. */
            snprintf(exact.text, sizeof(exact.text), "%016" PRIx64 "%s", out->number, suffixes[i].suffix);
            if (slice_eq(name, slice_str(exact.text))) {
                out->kind = NAME_SEGMENT;
                out->segment = suffixes[i].kind;
            }
        }
    }
}

/* The length of roots was checked when they were opened. */
void segment_file_path(struct segment_path *out, const struct segment_dir *d, unsigned root, const char *name,
                       bool is_temp)
{
    int len = snprintf(out->text, sizeof(out->text), "%s/%s%s", d->roots[root], name, is_temp ? NEW_SUFFIX : "");

    ASSERT(len > 0 && (size_t)len < sizeof(out->text));
}

void segment_path(struct segment_path *out, const struct segment_dir *d, unsigned root, uint64_t number,
                  enum segment_kind kind, bool is_temp)
{
    char name[40];

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        if (suffixes[i].kind == kind)
            snprintf(name, sizeof(name), "%016" PRIx64 "%s", number, suffixes[i].suffix);
    }
    segment_file_path(out, d, root, name, is_temp);
}

void segment_slot_path(struct segment_path *out, const struct segment_dir *d, const struct segment_slot *slot,
                       bool is_temp)
{
    char name[40];

    if (slot == &d->spare)
        snprintf(name, sizeof(name), "spare-1");
    else
        snprintf(name, sizeof(name), "reserve-%u", (unsigned)(slot - d->reserve) + 1);
    segment_file_path(out, d, 0, name, is_temp);
}

/* --- system calls ------------------------------------------------------------------------------------------------- */

int file_open(const char *path, int flags, struct err *err)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    return fd >= 0 ? fd : err_sys(err, errno, "open %s", path);
}

int file_writev(int fd, uint64_t at, struct iovec *iov, unsigned count, struct err *err)
{
    while (count > 0) {
        ssize_t n;

        if (iov->iov_len == 0) { /* also keeps a write of nothing from looking like a failure */
            iov++;
            count--;
            continue;
        }
        n = pwritev(fd, iov, count > IOV_MAX ? IOV_MAX : (int)count, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_sys(err, n < 0 ? errno : EIO, "write at %" PRIu64, at);
        at += (uint64_t)n;
        while (count > 0 && (size_t)n >= iov->iov_len) {
            n -= (ssize_t)iov->iov_len;
            iov++;
            count--;
        }
        if (n > 0) {
            iov->iov_base = (char *)iov->iov_base + n;
            iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

int file_write(int fd, uint64_t at, const void *octets, size_t len, struct err *err)
{
    for (const char *p = octets; len > 0;) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_sys(err, n < 0 ? errno : EIO, "write at %" PRIu64, at);
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int file_write_zeros(int fd, uint64_t from, uint64_t to, struct err *err)
{
    unsigned char *zeros;
    int rc = 0;

    if (from >= to)
        return 0;
    zeros = mem_alloc(SEGMENT_ZERO_BYTES);
    while (rc == 0 && from < to) {
        uint64_t len = to - from < SEGMENT_ZERO_BYTES ? to - from : SEGMENT_ZERO_BYTES;

        rc = file_write(fd, from, zeros, len, err);
        from += len;
    }
    mem_free(zeros);
    return rc;
}

int file_sync(int fd, struct err *err)
{
    return fdatasync(fd) == 0 ? 0 : err_sys(err, errno, "fdatasync");
}

int file_allocate(int fd, uint64_t size, uint64_t bytes, bool must, struct err *err)
{
    int rc;

    do {
        rc = fallocate(fd, 0, 0, (off_t)bytes);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return err_sys(err, errno, "allocate %" PRIu64 " octets", bytes);
    return must ? file_write_zeros(fd, size, bytes, err) : 0;
}

int file_rename(const char *from, const char *to, struct err *err)
{
    return rename(from, to) == 0 ? 0 : err_sys(err, errno, "rename %s to %s", from, to);
}

int file_unlink(const char *path, struct err *err)
{
    return unlink(path) == 0 || errno == ENOENT ? 0 : err_sys(err, errno, "unlink %s", path);
}

int segment_root_sync(const struct segment_dir *d, unsigned root, struct err *err)
{
    return fsync(d->root_fds[root]) == 0 ? 0 : err_sys(err, errno, "fsync of %s", d->roots[root]);
}

/* As pread, with the end of the file as a short count only. */
static int64_t read_some(int fd, uint64_t at, unsigned char *out, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(fd, out + done, len - done, (off_t)(at + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int64_t)done;
}

/* The second try, block by block: a failure may pass, and it should cost no more than the block it hits. */
static int64_t read_blocks(int fd, uint64_t at, unsigned char *out, size_t len, uint64_t *bad_bytes)
{
    off_t end = lseek(fd, 0, SEEK_END);
    size_t done = 0;

    if (end < 0)
        return -1;
    if (at >= (uint64_t)end)
        return 0;
    if (len > (uint64_t)end - at)
        len = (size_t)((uint64_t)end - at);
    while (done < len) {
        size_t want = READ_BLOCK_BYTES - (size_t)((at + done) % READ_BLOCK_BYTES);

        if (want > len - done)
            want = len - done;
        if (read_some(fd, at + done, out + done, want) != (int64_t)want) {
            memset(out + done, 0, want);
            *bad_bytes += want;
        }
        done += want;
    }
    return (int64_t)len;
}

int64_t file_read(int fd, uint64_t at, unsigned char *out, size_t len, uint64_t *bad_bytes, struct err *err)
{
    size_t done = 0;

    while (done < len) {
        size_t want = len - done < READ_BYTES ? len - done : READ_BYTES;
        int64_t n = read_some(fd, at + done, out + done, want);

        if (n < 0 && errno == EIO)
            n = read_blocks(fd, at + done, out + done, want, bad_bytes);
        if (n < 0)
            return err_sys(err, errno, "read at %" PRIu64, at + done);
        done += (size_t)n;
        if ((size_t)n < want)
            break;
    }
    return (int64_t)done;
}
