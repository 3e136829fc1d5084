/* The buffered stream: framing over the input buffer, and the queue of output. stream_io.c touches the socket. */
#include "net/internal.h"

#include <stdarg.h>
#include <unistd.h>

#include "base/mem.h"

void stream_init(struct stream *st, struct session *s, int fd, io_fn *fn)
{
    *st = (struct stream){ .session = s };
    io_init(&st->io, s->worker->reactor, fd, fn);
}

static void file_drop(struct stream *st)
{
    struct out_file *f = st->files;

    st->files = f->next;
    if (st->files == NULL)
        st->last_file = NULL;
    st->file_bytes -= f->left;
    if (f->release != NULL)
        f->release(f->arg);
    mem_free(f);
}

void stream_free(struct stream *st)
{
    struct worker *w = st->session->worker;

    io_want(&st->io, 0);
    while (st->files != NULL)
        file_drop(st);
    worker_buffer_give(w, &st->in);
    worker_buffer_give(w, &st->out);
    tls_stream_destroy(&st->tls);
    if (st->io.fd >= 0)
        close(st->io.fd);
    st->io.fd = -1;
}

/* --- input -------------------------------------------------------------------------------------------------------- */

slice stream_peek(const struct stream *st)
{
    return slice_from(buf_slice(&st->in), st->in_at);
}

void stream_take(struct stream *st, size_t len)
{
    st->in_at += len;
}

/* What a framing call that found too little answers. */
static enum frame starved(struct stream *st)
{
    st->is_starved = true;
    return st->is_eof || st->is_broken ? FRAME_EOF : FRAME_MORE;
}

enum frame stream_line(struct stream *st, size_t max, bool lf_ok, slice *line)
{
    size_t used;
    const enum frame f = frame_line(&st->line, stream_peek(st), max, lf_ok, line, &used);

    stream_take(st, used);
    return f == FRAME_MORE ? starved(st) : f;
}

enum frame stream_octets(struct stream *st, size_t max, slice *part)
{
    *part = slice_sub(stream_peek(st), 0, max);
    if (part->len == 0)
        return starved(st);
    stream_take(st, part->len);
    return FRAME_OK;
}

enum frame stream_dot(struct stream *st, slice *part, bool *end)
{
    size_t used;
    const enum frame f = frame_dot(&st->dot, stream_peek(st), part, end, &used);

    stream_take(st, used);
    return f == FRAME_MORE ? starved(st) : f;
}

bool stream_has_input(const struct stream *st)
{
    return st->in_at < st->in.len;
}

bool stream_eof(const struct stream *st)
{
    return (st->is_eof || st->is_broken) && !stream_has_input(st);
}

uint64_t stream_in_bytes(const struct stream *st)
{
    return st->in_bytes;
}

/* --- output ------------------------------------------------------------------------------------------------------- */

struct buf *stream_out(struct stream *st)
{
    if (st->out.ptr == NULL)
        st->out = worker_buffer_take(st->session->worker);
    return &st->out;
}

void stream_put(struct stream *st, slice s)
{
    buf_put_slice(stream_out(st), s);
}

void stream_printf(struct stream *st, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(stream_out(st), fmt, ap);
    va_end(ap);
}

/* A small file goes with the text around it in one system call. False: it could not be read as announced. */
static bool file_copy(struct stream *st, int fd, uint64_t at, size_t len)
{
    struct buf *out = stream_out(st);
    unsigned char *to = buf_extend(out, len);
    size_t have = 0;

    while (have < len) {
        const ssize_t n = pread(fd, to + have, len - have, (off_t)(at + have));
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    out->len -= len - have;
    return have == len;
}

void stream_put_file(struct stream *st, int fd, uint64_t at, uint64_t len, void (*release)(void *arg), void *arg)
{
    if (len <= STREAM_FILE_INLINE) {
        if (!file_copy(st, fd, at, (size_t)len)) {
            counter_add(&net_counters[NC_SHORT_FILES], 1);
            st->is_broken = true;
        }
        if (release != NULL)
            release(arg);
        return;
    }
    struct out_file *f = mem_alloc(sizeof *f);
    *f = (struct out_file){ .text_at = st->out_base + st->out.len,
                            .at = at,
                            .left = len,
                            .fd = fd,
                            .release = release,
                            .arg = arg };
    if (st->last_file != NULL)
        st->last_file->next = f;
    else
        st->files = f;
    st->last_file = f;
    st->file_bytes += len;
}

uint64_t stream_out_pending(const struct stream *st)
{
    const size_t wire = st->tls != NULL ? tls_stream_wire_out(st->tls)->len : 0;

    return st->out.len - st->out_at + st->file_bytes + wire;
}

bool stream_out_is_high(const struct stream *st)
{
    return stream_out_pending(st) > STREAM_OUT_HIGH;
}

uint64_t stream_out_bytes(const struct stream *st)
{
    return st->out_bytes;
}

/* Text that goes before the next file. */
static slice out_text(const struct stream *st)
{
    const size_t end = st->files != NULL ? (size_t)(st->files->text_at - st->out_base) : st->out.len;

    return slice_of(st->out.ptr + st->out_at, end - st->out_at);
}

static void out_text_done(struct stream *st, size_t len)
{
    st->out_at += len;
    if (st->out_at == st->out.len || st->out_at > STREAM_OUT_HIGH) {
        st->out_base += st->out_at;
        buf_drop_front(&st->out, st->out_at);
        st->out_at = 0;
    }
}

static void out_count(struct stream *st, size_t len)
{
    st->out_bytes += len;
    counter_add(&net_counters[NC_OUT_BYTES], (int64_t)len);
}

void stream_out_text_done(struct stream *st, size_t len)
{
    out_text_done(st, len);
    out_count(st, len);
}

slice stream_out_text(const struct stream *st)
{
    return st->out.ptr == NULL ? SLICE_NONE : out_text(st);
}

void stream_out_file_done(struct stream *st, size_t len)
{
    struct out_file *f = st->files;

    f->at += len;
    f->left -= len;
    st->file_bytes -= len;
    out_count(st, len);
    if (f->left == 0)
        file_drop(st);
}

void stream_settle(struct stream *st)
{
    struct worker *w = st->session->worker;

    if (!stream_has_input(st) && st->in.ptr != NULL) {
        worker_buffer_give(w, &st->in);
        st->in_at = 0;
    }
    if (st->out.len == st->out_at && st->out.ptr != NULL) {
        st->out_base += st->out.len;
        worker_buffer_give(w, &st->out);
        st->out_at = 0;
    }
}
