#include "control/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "control/rpc.h"
#include "control/status.h"

#define READ_BYTES 16384
#define HINT_BYTES 200

int client_open(struct client_conn *c, const char *dir, struct err *err)
{
    struct sockaddr_un address;
    struct err why = ERR_INIT;
    int dir_fd = -1;

    *c = (struct client_conn){ .fd = -1 };
    if (status_address(dir, &address, &dir_fd, &why) < 0)
        return err_set(err, ERR_NOTFOUND, "no daemon runs on %s", dir);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        err_sys(err, errno, "making a socket");
    } else if (connect(c->fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
            err_set(err, ERR_NOTFOUND, "no daemon runs on %s", dir);
        else
            err_sys(err, errno, "asking the daemon of %s", dir);
        close(c->fd);
        c->fd = -1;
    }
    if (dir_fd >= 0)
        close(dir_fd);
    return c->fd < 0 ? -1 : 0;
}

static int request_send(struct client_conn *c, const char *method, json_t *params, struct err *err)
{
    json_t *o = json_pack("{s:s, s:i, s:s}", "jsonrpc", "2.0", "id", 1, "method", method);
    struct buf text = BUF_INIT;
    size_t at = 0;
    int rc = 0;

    if (params != NULL)
        json_object_set(o, "params", params);
    json_print(&text, o, false);
    buf_put_byte(&text, '\n');
    while (at < text.len && rc == 0) {
        ssize_t n = send(c->fd, text.ptr + at, text.len - at, MSG_NOSIGNAL);

        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR)
            rc = err_sys(err, errno, "asking the daemon");
    }
    mem_wipe(text.ptr, text.len); /* it may hold a password */
    buf_free(&text);
    json_decref(o);
    return rc;
}

/* The next line as an object. */
static json_t *object_read(struct client_conn *c, struct err *err)
{
    unsigned char part[READ_BYTES];
    ssize_t end, n;
    json_t *o;

    while ((end = slice_find_byte(buf_slice(&c->in), '\n')) < 0) {
        n = recv(c->fd, part, sizeof part, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            err_set(err, ERR_TEMP, "the daemon closed the connection before it answered");
            return NULL;
        }
        buf_put(&c->in, part, (size_t)n);
    }
    o = json_parse(slice_sub(buf_slice(&c->in), 0, (size_t)end), err);
    buf_drop_front(&c->in, (size_t)end + 1);
    return o;
}

int client_call(struct client_conn *c, const char *method, json_t *params, client_event_fn *event, void *arg,
                json_t **result, char hint[200], struct err *err)
{
    json_t *o, *error, *data;

    *result = NULL;
    if (hint != NULL)
        hint[0] = '\0';
    if (request_send(c, method, params, err) < 0)
        return -1;
    for (;;) {
        if ((o = object_read(c, err)) == NULL)
            return -1;
        if (json_object_get(o, "method") == NULL)
            break;
        if (event != NULL)
            event(arg, json_object_get(o, "params"));
        json_decref(o);
    }
    error = json_object_get(o, "error");
    if (error == NULL) {
        *result = json_incref(json_object_get(o, "result"));
        json_decref(o);
        return 0;
    }
    data = json_object_get(error, "data");
    err_set(err, json_object_get(data, "kind") != NULL ? rpc_kind(json_get_str(data, "kind")) : ERR_DENIED, "%.*s",
            SLICE_ARG(json_get_str(error, "message")));
    if (hint != NULL)
        snprintf(hint, HINT_BYTES, "%.*s", SLICE_ARG(json_get_str(data, "hint")));
    json_decref(o);
    return -1;
}

int client_wait_end(struct client_conn *c, int timeout_ms, struct err *err)
{
    struct pollfd p = { .fd = c->fd, .events = POLLIN };
    unsigned char part[READ_BYTES];

    while (poll(&p, 1, timeout_ms) > 0)
        if (recv(c->fd, part, sizeof part, 0) <= 0)
            return 0;
    return err_set(err, ERR_TEMP, "the daemon did not end within %d s", timeout_ms / 1000);
}

void client_close(struct client_conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_free(&c->in);
}
