/* TLS in a session's life: the handshake on a helper. While a helper works the session has no TLS state and its socket
 * is not watched, so nothing is shared; a session that ends meanwhile is simply not found when the answer comes. */
#include <errno.h>
#include <sys/socket.h>

#include "base/diag.h"
#include "base/mem.h"
#include "net/client.h"
#include "net/internal.h"

struct handshake {
    struct job job;
    struct worker *worker;
    uint64_t session;
    struct tls_stream *tls; /* NULL: a client that begins; the helper makes it of what stands below */
    struct tls_trust *trust;
    char *server_name;
    bool must_verify;
    enum tls_result result;
    struct err err;
};

static void handshake_destroy(struct handshake *h)
{
    tls_stream_destroy(&h->tls);
    tls_trust_unref(&h->trust);
    mem_free(h->server_name);
    mem_free(h);
}

/* Its owner hears of it: in step, if the session ran before; and anyway in closed. Nothing is written in plain text. */
static void client_failed(struct session *s, const char *why)
{
    struct stream *st = s->stream;

    st->tls_error = (const char *)arena_printf(&s->mem, "TLS: %s", why).ptr;
    s->failure = st->tls_error; /* also when the socket said something less helpful before */
    tls_stream_destroy(&st->tls);
    st->is_broken = st->is_eof = true;
    if (s->phase == PHASE_RETLS) {
        s->phase = PHASE_RUN;
        s->protocol->step(s);
    }
    session_break(s);
}

void session_tls_failed(struct session *s, const char *why)
{
    struct buf who = BUF_INIT;

    counter_add(&net_counters[NC_TLS_FAILED], 1);
    if (s->is_client) {
        client_failed(s, why);
        return;
    }
    net_addr_print(&s->peer, &who);
    diag_info("net", "%s: TLS handshake failed on %.*s: %s", buf_str(&who), SLICE_ARG(s->listener->name), why);
    buf_free(&who);
    session_break(s);
}

/* Send what the handshake made. False: the session is gone. */
static bool handshake_send(struct session *s)
{
    if (stream_flush(s->stream) != FLUSH_BROKEN)
        return true;
    session_tls_failed(s, "the connection was closed");
    return false;
}

static void handshake_wait(struct session *s)
{
    const bool has_output = tls_stream_wire_out(s->stream->tls)->len > 0;

    io_want(&s->stream->io, has_output ? IO_WRITE : IO_READ);
}

static void handshake_over(struct session *s)
{
    struct stream *st = s->stream;

    counter_add(&net_counters[NC_TLS_OK], 1);
    s->is_tls = true;
    stream_fill(st); /* what came in one packet with the end of the handshake waits in memory */
    session_begin_run(s);
}

static void on_handshake(struct job *job)
{
    struct handshake *h = CONTAINER_OF(job, struct handshake, job);
    struct session *s = session_find(h->worker, h->session);
    const enum tls_result result = h->result;

    if (s == NULL || (s->phase != PHASE_TLS && s->phase != PHASE_RETLS)) {
        handshake_destroy(h);
        return;
    }
    s->stream->tls = h->tls;
    s->is_handshaking = false;
    if (h->tls == NULL) {
        session_tls_failed(s, h->err.text);
        handshake_destroy(h);
        return;
    }
    h->tls = NULL;
    handshake_destroy(h);
    if (result == TLS_BROKEN || result == TLS_CLOSED) {
        if (handshake_send(s)) /* the alert */
            session_tls_failed(s, tls_stream_error(s->stream->tls));
        return;
    }
    if (!handshake_send(s))
        return;
    if (result == TLS_DONE)
        handshake_over(s);
    else
        handshake_wait(s);
}

static void handshake_run(struct job *job)
{
    struct handshake *h = CONTAINER_OF(job, struct handshake, job);

    if (h->tls == NULL)
        h->tls = tls_stream_client(h->trust, slice_str(h->server_name), h->must_verify, &h->err);
    h->result = h->tls != NULL ? tls_stream_handshake(h->tls) : TLS_BROKEN;
}

static void handshake_submit(struct session *s)
{
    struct handshake *h = mem_alloc(sizeof *h);

    io_want(&s->stream->io, 0);
    h->job.run = handshake_run;
    h->job.done = on_handshake;
    h->job.reactor = s->worker->reactor;
    h->worker = s->worker;
    h->session = s->id;
    h->tls = s->stream->tls;
    s->stream->tls = NULL;
    s->is_handshaking = true;
    if (h->tls == NULL) {
        h->trust = tls_trust_ref(worker_trust(s->worker));
        h->server_name = mem_slice_str(s->stream->tls_name);
        h->must_verify = s->stream->tls_verify;
    }
    if (s->worker->helpers == NULL) {
        handshake_run(&h->job);
        on_handshake(&h->job);
    } else if (!pool_submit(s->worker->helpers, &h->job)) {
        s->stream->tls = h->tls;
        s->is_handshaking = false;
        h->tls = NULL;
        handshake_destroy(h);
        session_tls_failed(s, "too many handshakes wait for a helper");
    }
}

void session_tls_io(struct session *s)
{
    struct stream *st = s->stream;
    unsigned char *scratch = worker_scratch(s->worker);

    if (s->is_handshaking || st->tls == NULL || !handshake_send(s))
        return;
    if (tls_stream_wire_out(st->tls)->len > 0) {
        handshake_wait(s);
        return;
    }
    const ssize_t n = recv(st->io.fd, scratch, STREAM_IN_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        handshake_wait(s);
        return;
    }
    if (n <= 0) {
        session_tls_failed(s, "the peer closed the connection");
        return;
    }
    buf_put(tls_stream_wire_in(st->tls), scratch, (size_t)n);
    handshake_submit(s);
}

void session_tls_begin(struct session *s)
{
    struct stream *st = s->stream;
    struct worker_private *wp = worker_private(s->worker);

    session_timeout(s, worker_net_conf(s->worker)->handshake_timeout_s * 1000);
    if (s->is_client) { /* it speaks first */
        stream_settle(st);
        handshake_submit(s);
        return;
    }
    st->tls = wp->tls != NULL ? tls_stream_new(wp->tls) : NULL;
    if (st->tls == NULL) {
        session_tls_failed(s, wp->tls == NULL ? "there is no certificate" : "out of memory");
        return;
    }
    if (stream_has_input(st)) { /* the beginning of a handshake that came with a PROXY header */
        buf_put_slice(tls_stream_wire_in(st->tls), stream_peek(st));
        stream_take(st, stream_peek(st).len);
        stream_settle(st);
        handshake_submit(s);
        return;
    }
    stream_settle(st);
    handshake_wait(s);
}

bool stream_can_tls(const struct stream *st)
{
    const struct session *s = st->session;

    return st->tls == NULL && !s->is_tls && s->listener->tls == LISTENER_TLS_STARTTLS &&
           worker_private(s->worker)->tls != NULL;
}

/* Also what lies in the kernel by now was sent before the go-ahead, but it cannot be told from an eager handshake; it
 * is read as TLS and fails there. */
static void start(struct stream *st)
{
    if (stream_has_input(st))
        counter_add(&net_counters[NC_TLS_INJECTED], 1);
    stream_take(st, stream_peek(st).len);
    st->line = (struct line_state){ 0 };
    st->dot = (struct dot_state){ .at = DOT_BOL };
    st->session->phase = PHASE_RETLS;
}

void stream_start_tls(struct stream *st, bool *had_input)
{
    struct session *s = st->session;

    ASSERT(!s->is_tls && st->tls == NULL && s->phase == PHASE_RUN);
    *had_input = stream_has_input(st);
    start(st);
}

void client_start_tls(struct session *s, slice server_name, bool verify)
{
    struct stream *st = s->stream;

    ASSERT(s->is_client && !s->is_tls && st->tls == NULL && s->phase == PHASE_RUN);
    st->tls_name = slice_dup(&s->mem, server_name);
    st->tls_verify = verify;
    start(st);
}

const char *stream_tls_error(const struct stream *st)
{
    return st->tls_error;
}

const char *stream_tls_doubt(const struct stream *st)
{
    return st->tls != NULL ? tls_stream_doubt(st->tls) : NULL;
}

bool stream_tls_is_verified(const struct stream *st)
{
    return st->tls != NULL && st->session->is_client && tls_stream_doubt(st->tls) == NULL;
}

const char *stream_tls_version(const struct stream *st)
{
    return st->tls != NULL ? tls_stream_version(st->tls) : NULL;
}

const char *stream_tls_cipher(const struct stream *st)
{
    return st->tls != NULL ? tls_stream_cipher(st->tls) : NULL;
}
