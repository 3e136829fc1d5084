/* TLS in a session's life: the handshake on a helper. While a helper works the session has no TLS state and its socket
 * is not watched, so nothing is shared; a session that ends meanwhile is simply not found when the answer comes. */
#include <errno.h>
#include <sys/socket.h>

#include "base/diag.h"
#include "base/mem.h"
#include "net/internal.h"

struct handshake {
    struct job job;
    struct worker *worker;
    uint64_t session;
    struct tls_stream *tls;
    enum tls_result result;
};

static void handshake_failed(struct session *s, const char *why)
{
    struct buf who = BUF_INIT;

    counter_add(&net_counters[NC_TLS_FAILED], 1);
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
    handshake_failed(s, "the connection was closed");
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
        tls_stream_destroy(&h->tls);
        mem_free(h);
        return;
    }
    s->stream->tls = h->tls;
    s->is_handshaking = false;
    mem_free(h);
    if (result == TLS_BROKEN || result == TLS_CLOSED) {
        if (handshake_send(s)) /* the alert */
            handshake_failed(s, tls_stream_error(s->stream->tls));
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

    h->result = tls_stream_handshake(h->tls);
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
    if (s->worker->helpers == NULL) {
        handshake_run(&h->job);
        on_handshake(&h->job);
    } else if (!pool_submit(s->worker->helpers, &h->job)) {
        s->stream->tls = h->tls;
        s->is_handshaking = false;
        mem_free(h);
        handshake_failed(s, "too many handshakes wait for a helper");
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
        handshake_failed(s, "the peer closed the connection");
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
    st->tls = wp->tls != NULL ? tls_stream_new(wp->tls) : NULL;
    if (st->tls == NULL) {
        handshake_failed(s, wp->tls == NULL ? "there is no certificate" : "out of memory");
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

void stream_start_tls(struct stream *st, bool *had_input)
{
    struct session *s = st->session;

    ASSERT(!s->is_tls && st->tls == NULL && s->phase == PHASE_RUN);
    /* Also what lies in the kernel by now was sent before our answer, but it cannot be told from an eager handshake; it
     * is read as TLS and fails there. */
    *had_input = stream_has_input(st);
    if (*had_input)
        counter_add(&net_counters[NC_TLS_INJECTED], 1);
    stream_take(st, stream_peek(st).len);
    st->line = (struct line_state){ 0 };
    st->dot = (struct dot_state){ .at = DOT_BOL };
    s->phase = PHASE_RETLS;
}

const char *stream_tls_version(const struct stream *st)
{
    return st->tls != NULL ? tls_stream_version(st->tls) : NULL;
}

const char *stream_tls_cipher(const struct stream *st)
{
    return st->tls != NULL ? tls_stream_cipher(st->tls) : NULL;
}
