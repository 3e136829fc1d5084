#include "echo.h"

#define ECHO_TIMEOUT_MS 60000

static void echo_opened(struct session *s)
{
    struct echo_service *sv = s->service;

    sv->opened++;
    session_timeout(s, ECHO_TIMEOUT_MS);
}

static void echo_closed(struct session *s)
{
    ((struct echo_service *)s->service)->closed++;
}

static void echo_timed_out(struct session *s)
{
    ((struct echo_service *)s->service)->timed_out++;
    stream_put(s->stream, SLICE("timeout\r\n"));
}

static void echo_stopping(struct session *s)
{
    ((struct echo_service *)s->service)->stopped++;
    stream_put(s->stream, SLICE("stopping\r\n"));
}

static void on_release(void *arg)
{
    ((struct echo_service *)arg)->released++;
}

static enum step command(struct echo_session *e, slice line)
{
    struct stream *st = e->s.stream;
    struct echo_service *sv = e->s.service;
    const slice verb = slice_cut(&line, ' ', NULL);
    uint64_t n = 0;

    slice_u64(line, &n);
    if (slice_eq(verb, SLICE("echo"))) {
        stream_printf(st, "%.*s\r\n", SLICE_ARG(line));
    } else if (slice_eq(verb, SLICE("octets"))) {
        e->left = n;
        e->state = ECHO_OCTETS;
    } else if (slice_eq(verb, SLICE("data"))) {
        e->sum = e->len = 0;
        e->is_bad = false;
        e->state = ECHO_DATA;
    } else if (slice_eq(verb, SLICE("big"))) {
        e->left = n;
        e->state = ECHO_BIG;
    } else if (slice_eq(verb, SLICE("file"))) {
        stream_put(st, SLICE("<"));
        stream_put_file(st, sv->fd, 0, n, on_release, sv);
        stream_put(st, SLICE(">\r\n"));
    } else if (slice_eq(verb, SLICE("wait"))) {
        e->state = ECHO_WAIT;
    } else if (slice_eq(verb, SLICE("busy"))) {
        e->s.is_busy = !e->s.is_busy;
        stream_put(st, SLICE("ok\r\n"));
    } else if (slice_eq(verb, SLICE("tls"))) {
        stream_put(st, SLICE("go\r\n"));
        stream_start_tls(st, &e->had_input);
        e->state = ECHO_TLS;
        e->s.wait = "tls";
        return STEP_WAIT;
    } else if (slice_eq(verb, SLICE("quit"))) {
        stream_put(st, SLICE("bye\r\n"));
        return STEP_CLOSE;
    } else {
        stream_put(st, SLICE("what?\r\n"));
    }
    return STEP_AGAIN;
}

static enum step step_command(struct echo_session *e)
{
    slice line;

    switch (stream_line(e->s.stream, ECHO_LINE_MAX, false, &line)) {
    case FRAME_OK:
        return command(e, line);
    case FRAME_MORE:
        return STEP_WANT_READ;
    case FRAME_TOO_LONG:
        stream_put(e->s.stream, SLICE("long\r\n"));
        return STEP_AGAIN;
    case FRAME_BARE:
        stream_put(e->s.stream, SLICE("bare\r\n"));
        return STEP_AGAIN;
    case FRAME_EOF:
        return STEP_CLOSE;
    }
    return STEP_CLOSE;
}

static enum step step_octets(struct echo_session *e)
{
    slice part;

    if (e->left == 0) {
        stream_put(e->s.stream, SLICE("\r\n"));
        e->state = ECHO_COMMAND;
        return STEP_AGAIN;
    }
    const enum frame f = stream_octets(e->s.stream, e->left, &part);
    if (f != FRAME_OK)
        return f == FRAME_EOF ? STEP_CLOSE : STEP_WANT_READ;
    stream_put(e->s.stream, part);
    e->left -= part.len;
    return STEP_AGAIN;
}

static enum step step_data(struct echo_session *e)
{
    bool end;
    slice part;
    const enum frame f = stream_dot(e->s.stream, &part, &end);

    if (f == FRAME_MORE || f == FRAME_EOF)
        return f == FRAME_EOF ? STEP_CLOSE : STEP_WANT_READ;
    e->is_bad |= f == FRAME_BARE;
    for (size_t i = 0; i < part.len; i++)
        e->sum = e->sum * 31 + part.ptr[i];
    e->len += part.len;
    if (end) {
        stream_printf(e->s.stream, "%s %llu %llu\r\n", e->is_bad ? "bad" : "data", (unsigned long long)e->len,
                      e->is_bad ? 0ULL : (unsigned long long)e->sum);
        e->state = ECHO_COMMAND;
    }
    return STEP_AGAIN;
}

static enum step step_big(struct echo_session *e)
{
    static const unsigned char block[1024] = { 'x' };

    if (stream_out_is_high(e->s.stream))
        return STEP_WANT_WRITE;
    const size_t n = e->left < sizeof block ? e->left : sizeof block;
    stream_put(e->s.stream, slice_of(block, n));
    e->left -= n;
    if (e->left == 0)
        e->state = ECHO_COMMAND;
    return STEP_AGAIN;
}

static enum step echo_step(struct session *s)
{
    struct echo_session *e = (struct echo_session *)s;

    switch (e->state) {
    case ECHO_GREET:
        stream_put(s->stream, SLICE("hello\r\n"));
        e->state = ECHO_COMMAND;
        return STEP_AGAIN;
    case ECHO_COMMAND:
        return step_command(e);
    case ECHO_OCTETS:
        return step_octets(e);
    case ECHO_DATA:
        return step_data(e);
    case ECHO_BIG:
        return step_big(e);
    case ECHO_WAIT:
        if (s->wait == NULL) {
            s->wait = "test";
            return STEP_WAIT;
        }
        s->wait = NULL;
        stream_put(s->stream, SLICE("woken\r\n"));
        e->state = ECHO_COMMAND;
        return STEP_AGAIN;
    case ECHO_TLS:
        stream_printf(s->stream, "tls %s %s\r\n", stream_tls_version(s->stream), e->had_input ? "injected" : "clean");
        e->state = ECHO_COMMAND;
        s->wait = NULL;
        return STEP_AGAIN;
    }
    return STEP_CLOSE;
}

static const char *echo_describe(struct session *s, struct buf *out)
{
    buf_put_str(out, "somebody");
    return ((struct echo_session *)s)->state == ECHO_WAIT ? "waiting" : "ready";
}

const struct protocol echo_protocol = {
    .name = "echo",
    .session_bytes = sizeof(struct echo_session),
    .opened = echo_opened,
    .step = echo_step,
    .timed_out = echo_timed_out,
    .stopping = echo_stopping,
    .busy_text = "busy",
    .closed = echo_closed,
    .describe = echo_describe,
};
