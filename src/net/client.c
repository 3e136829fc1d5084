#include "net/client.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/internal.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* What stands where incoming sessions have theirs. */
static const struct listener_conf outgoing = { .name = { (const unsigned char *)"outgoing", 8 } };
static const struct listener_conf outgoing_tls = { .name = { (const unsigned char *)"outgoing", 8 },
                                                   .tls = LISTENER_TLS_IMPLICIT };

/* Told from the loop, never from within client_connect. */
static void fail_soon(struct session *s, const char *why)
{
    session_fail(s, why);
    timer_start(&s->timer, 0);
}

static bool socket_prepare(struct session *s, int fd, const struct client_setup *c)
{
    const bool is_unix = c->addr.sa.sa_family == AF_UNIX;

    if (!is_unix)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    if (is_unix || c->local.len == 0 || c->local.sa.sa_family != c->addr.sa.sa_family)
        return true;
    /* The port is chosen at connect, when it need only be unique for this peer. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){ 1 }, sizeof(int));
    if (bind(fd, &c->local.sa, c->local.len) == 0)
        return true;
    fail_soon(s, (const char *)arena_printf(&s->mem, "local address: %s", strerrordesc_np(errno)).ptr);
    return false;
}

struct session *client_connect(struct worker *w, const struct client_setup *c)
{
    const int fd = c->addr.len > 0 ? socket(c->addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
    const int sys = c->addr.len > 0 ? errno : EDESTADDRREQ;
    struct session *s = mem_alloc(c->protocol->session_bytes);

    ASSERT(c->connect_timeout_ms > 0);
    s->protocol = c->protocol;
    s->listener = c->is_tls ? &outgoing_tls : &outgoing;
    s->service = c->service;
    s->arg = c->arg;
    s->began_ms = clock_wall_ms(reactor_clock(w->reactor));
    s->is_client = true;
    session_init(s, w, fd);
    s->phase = PHASE_CONNECT;
    s->peer = c->addr;
    s->stream->tls_name = slice_dup(&s->mem, c->server_name);
    s->stream->tls_verify = c->is_verified;
    worker_session_come(w, s);
    session_timeout(s, c->connect_timeout_ms);
    if (fd < 0) {
        fail_soon(s, strerrordesc_np(sys));
        return s;
    }
    if (!socket_prepare(s, fd, c))
        return s;
    if (connect(fd, &c->addr.sa, c->addr.len) == 0 || errno == EINPROGRESS || errno == EINTR)
        io_want(&s->stream->io, IO_WRITE);
    else
        fail_soon(s, strerrordesc_np(errno)); /* a unix socket, no route, no port left */
    return s;
}

void session_connected(struct session *s)
{
    const int fd = s->stream->io.fd;
    int sys = 0;
    socklen_t len = sizeof sys;

    io_want(&s->stream->io, 0);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys, &len) < 0)
        sys = errno;
    if (sys != 0) {
        session_fail(s, strerrordesc_np(sys));
        counter_add(&net_counters[NC_OUT_FAILED], 1);
        session_break(s);
        return;
    }
    counter_add(&net_counters[NC_OUT_CONNECTED], 1);
    s->local.len = sizeof s->local - offsetof(struct net_addr, sa);
    if (getsockname(fd, &s->local.sa, &s->local.len) < 0)
        s->local.len = 0;
    session_timeout(s, worker_net_conf(s->worker)->handshake_timeout_s * 1000);
    if (s->listener->tls == LISTENER_TLS_IMPLICIT) {
        s->phase = PHASE_TLS;
        session_tls_begin(s);
        return;
    }
    session_begin_run(s);
}

bool stream_is_lost(const struct stream *st)
{
    return st->is_broken;
}
