#include "control/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/diag.h"
#include "base/mem.h"
#include "control/conf.h"

#define BACKLOG 16
#define READ_BYTES 16384
#define OUT_BYTES_MAX (64u * 1024 * 1024) /* a client that does not read is let go */

enum { CC_CALLS, CC_REFUSED, CC_COUNT };
static struct counter counters[CC_COUNT] = {
    [CC_CALLS] = { "control.calls", "Calls over the status socket.", COUNTER_TOTAL, 0 },
    [CC_REFUSED] = { "control.refused", "Connections to the status socket that were refused.", COUNTER_TOTAL, 0 },
};

/* owner: main thread. While a call runs `call` belongs to it; a client that goes meanwhile is freed when it ends. */
struct client {
    struct list link;
    struct status *status;
    struct io io;
    struct buf in, out;
    size_t scanned;    /* octets of in without a line end */
    bool is_busy;      /* a call runs */
    bool is_gone;      /* the peer left */
    bool is_queued;    /* later is set */
    struct later later;
    struct job job;
    struct rpc_call call;
    const struct rpc_method *method;
    json_t *id;        /* of the request; NULL: a notification, nothing is answered */
    json_t *params;
    int rc;
};

/* From a helper to the main thread. */
struct event {
    struct post post;
    struct client *client;
    json_t *params;
};

struct status {
    struct reactor *reactor;
    struct rpc_env *env;
    struct io listener;
    struct list clients;
    unsigned count, busy;
    bool is_closing;
};

static void client_work(struct client *c);

/* --- the end of a client ------------------------------------------------------------------------------------------ */

static void client_free(struct client *c)
{
    int fd = c->io.fd;

    io_want(&c->io, 0);
    close(fd);
    list_remove(&c->link);
    c->status->count--;
    buf_free(&c->in);
    buf_free(&c->out);
    mem_free(c);
}

static void client_later(struct later *l)
{
    client_free(CONTAINER_OF(l, struct client, later));
}

static void client_drop(struct client *c)
{
    io_want(&c->io, 0);
    c->is_gone = true;
    if (c->is_busy || c->is_queued)
        return;
    c->is_queued = true;
    reactor_later(c->status->reactor, &c->later, client_later);
}

/* --- output ------------------------------------------------------------------------------------------------------- */

static void events_want(struct client *c)
{
    unsigned events = c->is_busy ? 0 : IO_READ; /* one call at a time: further lines wait in the socket */

    if (!c->is_gone)
        io_want(&c->io, events | (c->out.len != 0 ? IO_WRITE : 0));
}

static void client_flush(struct client *c)
{
    while (c->out.len != 0 && !c->is_gone) {
        ssize_t n = send(c->io.fd, c->out.ptr, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0)
            buf_drop_front(&c->out, (size_t)n);
        else if (n < 0 && errno == EINTR)
            continue;
        else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        else
            client_drop(c);
    }
    if (c->out.len > OUT_BYTES_MAX)
        client_drop(c);
    events_want(c);
}

static void object_send(struct client *c, TAKES json_t *o)
{
    if (!c->is_gone) {
        json_print(&c->out, o, false);
        buf_put_byte(&c->out, '\n');
    }
    json_decref(o);
    client_flush(c);
}

static json_t *envelope(json_t *id)
{
    json_t *o = json_pack("{s:s}", "jsonrpc", "2.0");

    json_object_set(o, "id", id != NULL ? id : json_null());
    return o;
}

static void error_send(struct client *c, json_t *id, int code, const char *text, const char *kind, const char *hint)
{
    json_t *o = envelope(id);
    json_t *error = json_pack("{s:i, s:o}", "code", code, "message", json_from_slice(slice_str(text)));
    json_t *data = json_object();

    if (kind != NULL)
        json_object_set_new(data, "kind", json_string(kind));
    if (hint != NULL && hint[0] != '\0')
        json_object_set_new(data, "hint", json_from_slice(slice_str(hint)));
    json_object_set_new(error, "data", data);
    json_object_set_new(o, "error", error);
    object_send(c, o);
}

/* --- a call ------------------------------------------------------------------------------------------------------- */

static void call_finish(struct client *c)
{
    struct rpc_call *call = &c->call;

    c->is_busy = false;
    c->status->busy--;
    if (call->err.kind != ERR_NONE && c->id != NULL) {
        error_send(c, c->id, -32000, call->err.text, err_kind_name(call->err.kind), call->hint);
    } else if (c->id != NULL) {
        json_t *o = envelope(c->id);

        json_object_set(o, "result", call->result != NULL ? call->result : json_null());
        object_send(c, o);
    }
    json_decref(call->result);
    json_decref(c->params);
    json_decref(c->id);
    snap_unref(&call->conf->snap);
    if (c->is_gone)
        client_drop(c);
    else
        client_work(c);
}

/* A function that returns -1 has filled err; one that forgot is a temporary failure, not a success. */
static void call_settle(struct client *c, int rc)
{
    if (rc < 0 && c->call.err.kind == ERR_NONE)
        err_set(&c->call.err, ERR_TEMP, "%s failed without saying why", c->method->name);
    if (rc == 0)
        c->call.err.kind = ERR_NONE;
}

static void job_run(struct job *job)
{
    struct client *c = CONTAINER_OF(job, struct client, job);

    call_settle(c, c->method->run(&c->call, &c->call.err));
}

static void job_done(struct job *job)
{
    call_finish(CONTAINER_OF(job, struct client, job));
}

static void call_answered(struct rpc_call *call)
{
    call_finish(CONTAINER_OF(call, struct client, call));
}

static void event_arrived(struct post *p)
{
    struct event *e = CONTAINER_OF(p, struct event, post);

    object_send(e->client,
                json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", "event", "params", e->params));
    mem_free(e);
}

/* Posts keep their order, so every event arrives before its call is done. */
static void call_event(struct rpc_call *call, TAKES json_t *params)
{
    struct client *c = CONTAINER_OF(call, struct client, call);
    struct event *e = mem_alloc(sizeof *e);

    e->client = c;
    e->params = params;
    reactor_post(c->status->reactor, &e->post, event_arrived);
}

static void call_start(struct client *c, TAKES json_t *id, TAKES json_t *params)
{
    c->is_busy = true;
    c->status->busy++;
    c->id = id;
    c->params = params;
    c->call = (struct rpc_call){
        .env = c->status->env,
        .conf = CONTAINER_OF(snap_ref(&c->status->env->conf->snap), struct conf_set, snap),
        .params = params,
        .event = call_event,
        .answered = call_answered,
    };
    counter_add(&counters[CC_CALLS], 1);
    events_want(c);
    if ((c->method->flags & RPC_LATER) != 0) {
        int rc = c->method->run(&c->call, &c->call.err);

        ASSERT(rc == 0);
        (void)rc;
    } else if ((c->method->flags & RPC_MAIN) != 0) {
        call_settle(c, c->method->run(&c->call, &c->call.err));
        call_finish(c);
    } else {
        c->job = (struct job){ .run = job_run, .done = job_done, .reactor = c->status->reactor };
        c->job.is_long = (c->method->flags & RPC_LONG) != 0;
        if (!pool_submit(c->status->env->site->pool, &c->job)) {
            err_set(&c->call.err, ERR_TEMP, "too much work is waiting; try again");
            call_finish(c);
        }
    }
}

static void request_read(struct client *c, slice line)
{
    struct err err = ERR_INIT;
    json_t *o = json_parse(line, &err), *id, *params;
    slice name = json_get_str(o, "method");
    const char *near;
    char text[160];

    if (o == NULL) {
        error_send(c, NULL, -32700, err.text, "syntax", "one JSON object a line");
        return;
    }
    id = json_incref(json_object_get(o, "id"));
    params = json_incref(json_object_get(o, "params"));
    if (params == NULL)
        params = json_object();
    c->method = rpc_find(name);
    near = rpc_nearest(name);
    snprintf(text, sizeof text, "unknown method \"%.60s\"%s%s%s", name.len != 0 ? (const char *)name.ptr : "",
             near != NULL ? "; did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"?" : "");
    if (!json_is_object(o) || !slice_eq(json_get_str(o, "jsonrpc"), SLICE("2.0")) || name.len == 0)
        error_send(c, id, -32600, "expected {\"jsonrpc\": \"2.0\", \"id\": …, \"method\": …, \"params\": {…}}",
                   "syntax", NULL);
    else if (c->method == NULL)
        error_send(c, id, -32601, text, "notfound", NULL);
    else if (rpc_params_check(c->method, params, &err) < 0)
        error_send(c, id, -32602, err.text, "syntax", NULL);
    else if (c->status->is_closing)
        error_send(c, id, -32000, "the daemon is stopping", "temp", NULL);
    else {
        json_decref(o);
        call_start(c, id, params);
        return;
    }
    json_decref(params);
    json_decref(id);
    json_decref(o);
}

/* --- input -------------------------------------------------------------------------------------------------------- */

static void client_work(struct client *c)
{
    const struct control_conf *conf = conf_section(c->status->env->conf, CONF_CONTROL);

    while (!c->is_busy && !c->is_gone) {
        slice all = buf_slice(&c->in);
        ssize_t end = slice_find_byte(slice_from(all, c->scanned), '\n');
        struct buf line = BUF_INIT;
        size_t length;

        if (end < 0) {
            c->scanned = all.len;
            if (all.len > conf->request_bytes) {
                error_send(c, NULL, -32600, "the request is longer than control.request_bytes", "limit", NULL);
                client_drop(c);
            }
            break;
        }
        length = c->scanned + (size_t)end;
        buf_put(&line, all.ptr, length);
        buf_drop_front(&c->in, length + 1);
        c->scanned = 0;
        if (slice_trim(buf_slice(&line)).len != 0)
            request_read(c, buf_slice(&line));
        buf_free(&line);
    }
    events_want(c);
}

static void client_ready(struct io *io, unsigned events)
{
    struct client *c = CONTAINER_OF(io, struct client, io);
    unsigned char part[READ_BYTES];
    ssize_t n;

    if ((events & IO_WRITE) != 0)
        client_flush(c);
    if ((events & IO_READ) == 0 || c->is_gone)
        return;
    n = recv(io->fd, part, sizeof part, MSG_DONTWAIT);
    if (n > 0) {
        buf_put(&c->in, part, (size_t)n);
        client_work(c);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        client_drop(c);
    }
}

/* Root and the user the daemon runs as: they can do all of this to the files anyway. */
static bool peer_may(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

static void refuse(int fd, const char *text)
{
    struct buf line = BUF_INIT;

    counter_add(&counters[CC_REFUSED], 1);
    buf_printf(&line, "{\"jsonrpc\": \"2.0\", \"id\": null, \"error\": {\"code\": -32000, \"message\": \"%s\"}}\n",
               text);
    if (send(fd, line.ptr, line.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        diag_debug("control", "a refused peer of the status socket left");
    buf_free(&line);
    close(fd);
}

static void listener_ready(struct io *io, unsigned events UNUSED)
{
    struct status *s = CONTAINER_OF(io, struct status, listener);
    const struct control_conf *conf = conf_section(s->env->conf, CONF_CONTROL);
    int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *c;

    if (fd < 0)
        return;
    if (!peer_may(fd)) {
        refuse(fd, "only root and the user of the daemon may use the status socket");
        return;
    }
    if (s->count >= conf->clients_max) {
        refuse(fd, "too many connections to the status socket (control.clients_max)");
        return;
    }
    c = mem_alloc(sizeof *c);
    c->status = s;
    later_init(&c->later);
    io_init(&c->io, s->reactor, fd, client_ready);
    list_push_back(&s->clients, &c->link);
    s->count++;
    io_want(&c->io, IO_READ);
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

int status_address(const char *dir, struct sockaddr_un *out, int *dir_fd, struct err *err)
{
    int len;

    *out = (struct sockaddr_un){ .sun_family = AF_UNIX };
    *dir_fd = -1;
    len = snprintf(out->sun_path, sizeof out->sun_path, "%s/" STATUS_SOCKET, dir);
    if (len > 0 && (size_t)len < sizeof out->sun_path)
        return 0;
    /* Too long for an address: go through a descriptor of the directory. */
    *dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*dir_fd < 0)
        return err_sys(err, errno, "opening %s", dir);
    snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/" STATUS_SOCKET, *dir_fd);
    return 0;
}

static int listener_open(const char *dir, struct err *err)
{
    struct sockaddr_un address;
    struct buf path = BUF_INIT;
    int dir_fd = -1, fd = -1, rc = -1;

    buf_printf(&path, "%s/run", dir);
    if (mkdir(buf_str(&path), 0755) < 0 && errno != EEXIST) {
        err_sys(err, errno, "making %s", buf_str(&path));
        goto out;
    }
    if (status_address(dir, &address, &dir_fd, err) < 0)
        goto out;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        err_sys(err, errno, "making the status socket");
        goto out;
    }
    unlink(address.sun_path);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || chmod(address.sun_path, 0600) < 0 ||
        listen(fd, BACKLOG) < 0) {
        err_sys(err, errno, "listening on %s", address.sun_path);
        goto out;
    }
    rc = 0;
out:
    if (rc < 0 && fd >= 0)
        close(fd);
    if (dir_fd >= 0)
        close(dir_fd);
    buf_free(&path);
    return rc < 0 ? -1 : fd;
}

int status_open(struct status **out, struct reactor *reactor, struct rpc_env *env, struct err *err)
{
    struct status *s;
    int fd = listener_open(env->dir, err);

    *out = NULL;
    if (fd < 0)
        return -1;
    counter_register(counters, CC_COUNT);
    s = mem_alloc(sizeof *s);
    s->reactor = reactor;
    s->env = env;
    list_init(&s->clients);
    io_init(&s->listener, reactor, fd, listener_ready);
    io_want(&s->listener, IO_READ);
    *out = s;
    return 0;
}

bool status_quiesce(struct status *s)
{
    if (s == NULL)
        return true;
    s->is_closing = true;
    return s->busy == 0;
}

void status_close(struct status **sp)
{
    struct status *s = *sp;
    int fd;

    *sp = NULL;
    if (s == NULL)
        return;
    fd = s->listener.fd;
    io_want(&s->listener, 0);
    close(fd);
    LIST_FOREACH_SAFE(&s->clients, it)
        client_free(CONTAINER_OF(it, struct client, link));
    mem_free(s);
}
