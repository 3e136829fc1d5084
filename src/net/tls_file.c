#include "net/tls_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "net/server.h"

static int file_open(struct spawner *sp, const char *path, struct err *err)
{
    if (sp != NULL)
        return spawner_open(sp, path, err);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : err_sys(err, errno, "%s", path);
}

int tls_file_read(struct spawner *sp, const char *dir, slice path, struct buf *out, struct err *err)
{
    struct buf full = BUF_INIT;
    int rc = -1, fd;

    if (dir != NULL && path.len > 0 && path.ptr[0] != '/')
        buf_printf(&full, "%s/", dir);
    buf_put_slice(&full, path);
    fd = file_open(sp, buf_str(&full), err);
    if (fd < 0)
        goto out;
    buf_reserve(out, TLS_FILE_MAX_BYTES / 64);
    for (;;) {
        buf_reserve(out, 4096);
        const ssize_t n = read(fd, out->ptr + out->len, out->cap - out->len - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err_sys(err, errno, "reading %s", buf_str(&full));
            goto out;
        }
        if (n == 0)
            break;
        out->len += (size_t)n;
        if (out->len > TLS_FILE_MAX_BYTES) {
            err_set(err, ERR_LIMIT, "%s is larger than %u octets", buf_str(&full), TLS_FILE_MAX_BYTES);
            goto out;
        }
    }
    rc = 0;
out:
    if (fd >= 0)
        close(fd);
    buf_free(&full);
    return rc;
}
