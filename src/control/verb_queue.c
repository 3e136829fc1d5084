/* verb_queue.c - see verb_queue.h. */
#include "control/verb_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/json.h"
#include "control/verb_rpc.h"

#define COPY_BYTES 65536

/* A file of our own in DIR/run, which belongs to the daemon's user like the directory: the daemon may run as another
 * than who calls. */
static int exchange_make(const struct verb_call *call, struct buf *path, struct err *err)
{
    struct stat st;
    int fd;

    buf_printf(path, "%s/run/queue-XXXXXX", call->dir);
    (void)buf_str(path);
    fd = mkostemp((char *)path->ptr, O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno, "%s", buf_str(path));
    if (stat(call->dir, &st) == 0 && geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) < 0) {
        close(fd);
        unlink(buf_str(path));
        return err_sys(err, errno, "%s", buf_str(path));
    }
    return fd;
}

static int file_copy(int from, int to, const char *name, struct err *err)
{
    unsigned char part[COPY_BYTES];
    ssize_t got;

    while ((got = read(from, part, sizeof part)) > 0)
        for (ssize_t at = 0, n; at < got; at += n)
            if ((n = write(to, part + at, (size_t)(got - at))) <= 0)
                return err_sys(err, errno, "%s", name);
    return got < 0 ? err_sys(err, errno, "%s", name) : 0;
}

static int method_run(const struct verb_call *call, const char *method, const char *file, bool filters,
                      json_t **result)
{
    json_t *params = json_object();
    int code;

    json_object_set_new(params, "file", json_from_slice(slice_str(file)));
    for (const struct verb_option *o = call->verb->options; filters && o != NULL && o->name != NULL; o++) {
        const char *value = verb_option(call, o->name);
        int64_t number;

        if (value == NULL)
            continue;
        if ((slice_eq(slice_str(o->name), SLICE("--larger")) || slice_eq(slice_str(o->name), SLICE("--smaller"))) &&
            slice_i64(slice_str(value), &number))
            json_object_set_new(params, o->name + 2, json_integer(number));
        else
            json_object_set_new(params, o->name + 2, json_from_slice(slice_str(value)));
    }
    code = verb_method(call, method, params, result);
    json_decref(params);
    return code;
}

int verb_run_queue_export(const struct verb_call *call)
{
    struct buf path = BUF_INIT;
    struct err err = ERR_INIT;
    json_t *result = NULL;
    int code, out = -1, fd = exchange_make(call, &path, &err);

    if (fd < 0) {
        buf_free(&path);
        return verb_fail(call, &err, "name the data directory with --dir DIR");
    }
    code = method_run(call, "queue.export", buf_str(&path), true, &result);
    if (code == EX_OK) {
        out = open(call->operands[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (out < 0)
            code = verb_fail(call, err_sys(&err, errno, "%s", call->operands[0]) < 0 ? &err : NULL,
                             "name a file that does not exist yet");
        else if (lseek(fd, 0, SEEK_SET) < 0 || file_copy(fd, out, call->operands[0], &err) < 0 || fsync(out) < 0)
            code = verb_fail(call, &err, NULL);
    }
    if (code == EX_OK)
        verb_print(call, result);
    if (out >= 0)
        close(out);
    close(fd);
    unlink(buf_str(&path));
    json_decref(result);
    buf_free(&path);
    return code;
}

int verb_run_queue_import(const struct verb_call *call)
{
    struct buf path = BUF_INIT;
    struct err err = ERR_INIT;
    json_t *result = NULL;
    int code = EX_OK, fd, in = open(call->operands[0], O_RDONLY | O_CLOEXEC);

    if (in < 0) {
        err_sys(&err, errno, "%s", call->operands[0]);
        return verb_fail(call, &err, NULL);
    }
    fd = exchange_make(call, &path, &err);
    if (fd < 0 || file_copy(in, fd, call->operands[0], &err) < 0)
        code = verb_fail(call, &err, "name the data directory with --dir DIR");
    if (code == EX_OK)
        code = method_run(call, "queue.import", buf_str(&path), false, &result);
    if (code == EX_OK)
        verb_print(call, result);
    if (fd >= 0) {
        close(fd);
        unlink(buf_str(&path));
    }
    close(in);
    json_decref(result);
    buf_free(&path);
    return code;
}
