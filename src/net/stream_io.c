/* The half of the stream that touches the socket: reading into the input buffer, writing what is queued. */
#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/diag.h"
#include "net/internal.h"

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void broken(struct stream *st, const char *why)
{
    if (!st->is_broken)
        counter_add(&net_counters[NC_BROKEN], 1);
    session_fail(st->session, why);
    st->is_broken = true;
    st->is_eof = true;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Room for another read: used octets go, and a buffer that a transfer filled at one go becomes a large one. */
static void in_make_room(struct stream *st)
{
    if (st->in.ptr == NULL)
        st->in = worker_buffer_take(st->session->worker);
    if (st->in_at > 0) {
        buf_drop_front(&st->in, st->in_at);
        st->in_at = 0;
    }
    if (st->in.cap - st->in.len < STREAM_IN_BYTES / 2)
        buf_reserve(&st->in, STREAM_IN_BULK_BYTES);
}

static void in_count(struct stream *st, size_t len)
{
    st->in_bytes += len;
    counter_add(&net_counters[NC_IN_BYTES], (int64_t)len);
}

/* Octets from the socket; 0: none now, or none any more. */
static size_t receive(struct stream *st, unsigned char *to, size_t room)
{
    const ssize_t n = recv(st->io.fd, to, room, 0);

    if (n > 0)
        return (size_t)n;
    if (n == 0)
        st->is_eof = true;
    else if (!would_block())
        broken(st, strerrordesc_np(errno));
    return 0;
}

static bool fill_plain(struct stream *st)
{
    in_make_room(st);
    const size_t room = st->in.cap - st->in.len;
    const size_t got = receive(st, st->in.ptr + st->in.len, room);

    st->in.len += got;
    in_count(st, got);
    if (got == room && room < STREAM_IN_BULK_BYTES)
        buf_reserve(&st->in, STREAM_IN_BULK_BYTES);
    return got > 0 || st->is_eof;
}

static bool fill_tls(struct stream *st)
{
    unsigned char *scratch = worker_scratch(st->session->worker);
    struct buf *wire = tls_stream_wire_in(st->tls);
    uint64_t plain = 0;

    buf_put(wire, scratch, receive(st, scratch, STREAM_IN_BYTES));
    in_make_room(st);
    switch (tls_stream_read(st->tls, &st->in, &plain)) {
    case TLS_BROKEN:
        broken(st, (const char *)arena_printf(&st->session->mem, "TLS: %s", tls_stream_error(st->tls)).ptr);
        break;
    case TLS_CLOSED:
        st->is_eof = true;
        break;
    case TLS_DONE:
    case TLS_MORE:
        break;
    }
    in_count(st, (size_t)plain);
    return plain > 0 || st->is_eof;
}

bool stream_fill(struct stream *st)
{
    if (st->is_eof || st->is_broken)
        return true;
    return st->tls != NULL ? fill_tls(st) : fill_plain(st);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static enum flush flush_failed(struct stream *st)
{
    const char *why = strerrordesc_np(errno);

    if (would_block())
        return FLUSH_BLOCKED;
    if (st->session->is_client) { /* what the peer said before: session_lost */
        while (!st->is_eof && !st->is_broken && st->in.len - st->in_at < STREAM_IN_MAX && stream_fill(st))
            continue;
    }
    broken(st, why);
    return FLUSH_BROKEN;
}

static enum flush file_is_short(struct stream *st)
{
    counter_add(&net_counters[NC_SHORT_FILES], 1);
    diag_error("net", "session %llu: a file is shorter than what was announced to the peer",
               (unsigned long long)st->session->id);
    broken(st, "a file of ours is too short");
    return FLUSH_BROKEN;
}

/* One write of text or of a part of a file. FLUSH_DONE: go on. */
static enum flush write_plain(struct stream *st, size_t *wrote)
{
    const slice text = stream_out_text(st);
    ssize_t n;

    if (text.len > 0) {
        n = send(st->io.fd, text.ptr, text.len, MSG_NOSIGNAL | (st->files != NULL ? MSG_MORE : 0));
        if (n < 0)
            return flush_failed(st);
        stream_out_text_done(st, (size_t)n);
    } else {
        off_t at = (off_t)st->files->at;
        const size_t want = st->files->left < STREAM_WRITE_BURST ? (size_t)st->files->left : STREAM_WRITE_BURST;
        n = sendfile(st->io.fd, st->files->fd, &at, want);
        if (n < 0)
            return flush_failed(st);
        if (n == 0)
            return file_is_short(st);
        stream_out_file_done(st, (size_t)n);
    }
    *wrote = (size_t)n;
    return FLUSH_DONE;
}

static enum flush send_wire(struct stream *st)
{
    struct buf *wire = tls_stream_wire_out(st->tls);
    size_t at = 0;

    while (at < wire->len) {
        const ssize_t n = send(st->io.fd, wire->ptr + at, wire->len - at, MSG_NOSIGNAL);
        if (n < 0) {
            buf_drop_front(wire, at);
            return flush_failed(st);
        }
        at += (size_t)n;
    }
    buf_free(wire); /* an idle session holds none */
    return FLUSH_DONE;
}

/* Make records of up to WORKER_SCRATCH_BYTES of what is queued, and send them. */
static enum flush write_tls(struct stream *st, size_t *wrote)
{
    slice part = slice_sub(stream_out_text(st), 0, WORKER_SCRATCH_BYTES);
    const bool is_text = part.len > 0;

    if (!is_text) {
        unsigned char *scratch = worker_scratch(st->session->worker);
        const size_t want = st->files->left < WORKER_SCRATCH_BYTES ? (size_t)st->files->left : WORKER_SCRATCH_BYTES;
        const ssize_t n = pread(st->files->fd, scratch, want, (off_t)st->files->at);
        if (n < 0 && errno == EINTR)
            return FLUSH_DONE;
        if (n <= 0)
            return file_is_short(st);
        part = slice_of(scratch, (size_t)n);
    }
    if (tls_stream_write(st->tls, part) != TLS_DONE) {
        broken(st, "TLS failed");
        return FLUSH_BROKEN;
    }
    if (is_text)
        stream_out_text_done(st, part.len);
    else
        stream_out_file_done(st, part.len);
    *wrote = part.len;
    return send_wire(st);
}

enum flush stream_flush(struct stream *st)
{
    size_t total = 0;

    if (st->is_broken)
        return FLUSH_BROKEN;
    if (st->tls != NULL && tls_stream_wire_out(st->tls)->len > 0) {
        const enum flush f = send_wire(st);
        if (f != FLUSH_DONE)
            return f;
    }
    while (st->files != NULL || stream_out_text(st).len > 0) {
        size_t wrote = 0;
        const enum flush f = st->tls != NULL ? write_tls(st, &wrote) : write_plain(st, &wrote);
        if (f != FLUSH_DONE)
            return f;
        total += wrote;
        if (total >= STREAM_WRITE_BURST)
            return stream_out_pending(st) > 0 ? FLUSH_BLOCKED : FLUSH_DONE; /* writable still: the loop comes back */
    }
    return FLUSH_DONE;
}
