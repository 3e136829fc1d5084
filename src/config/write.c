#include "config/write.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#define NEW_FILE_MODE 0640

static int all_write(int fd, slice text)
{
    while (text.len != 0) {
        ssize_t n = write(fd, text.ptr, text.len);

        if (n < 0 && errno != EINTR)
            return -1;
        text = slice_from(text, n > 0 ? (size_t)n : 0);
    }
    return 0;
}

/* A rename is durable when the directory is synced. */
static int parent_sync(const char *path)
{
    struct buf parent = BUF_INIT;
    ssize_t slash = slice_rfind_byte(slice_str(path), '/');
    int fd, rc;

    buf_put_slice(&parent, slash < 0 ? SLICE(".") : slice_of(path, slash == 0 ? 1 : (size_t)slash));
    fd = open(buf_str(&parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    buf_free(&parent);
    return rc;
}

int config_write(const char *path, const json_t *document, struct err *err)
{
    struct buf temporary = BUF_INIT, text = BUF_INIT;
    struct stat st;
    mode_t mode = stat(path, &st) == 0 ? st.st_mode & 0777 : NEW_FILE_MODE;
    int fd, rc = -1;

    buf_printf(&temporary, "%s.new", path);
    json_print(&text, document, true);
    buf_put_byte(&text, '\n');
    fd = open(buf_str(&temporary), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0 || fchmod(fd, mode) < 0 || all_write(fd, buf_slice(&text)) < 0 || fsync(fd) < 0 ||
        rename(buf_str(&temporary), path) < 0 || parent_sync(path) < 0)
        err_sys(err, errno, "writing %s", path);
    else
        rc = 0;
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        unlink(buf_str(&temporary));
    buf_free(&text);
    buf_free(&temporary);
    return rc;
}
