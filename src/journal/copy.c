/* copy.c - bodies into a compaction segment, verified on the way, in pieces. */
#include "journal/empty.h"

#include <errno.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/diag.h"
#include "base/mem.h"

#define OUT_FLUSH_BYTES (1024u * 1024)

void compaction_init(struct compaction *c, struct journal *j, uint32_t partition)
{
    memset(c, 0, sizeof *c);
    c->journal = j;
    c->partition = partition;
}

void compaction_free(struct compaction *c)
{
    struct err err = ERR_INIT;

    if (c->is_open) {
        uint64_t number = c->writer.header.number;

        segment_writer_close(&c->writer);
        if (segment_drop(c->journal->segments, number, &err) < 0)
            diag_warn("journal", "unfinished compaction segment %016llx stays until the next start: %s",
                      (unsigned long long)number, err.text);
        footer_writer_free(&c->footer);
    }
    buf_free(&c->out);
    mem_free(c->moves);
    compaction_init(c, c->journal, c->partition);
}

/* --- verifying ---------------------------------------------------------------------------------------------------- */

static int read_exact(int fd, uint64_t at, void *out, size_t len, struct err *err)
{
    unsigned char *to = out;
    bool is_repeated = false;

    while (len != 0) {
        ssize_t n = pread(fd, to, len, (off_t)at);

        if (n < 0 && (errno == EINTR || (errno == EIO && !is_repeated))) {
            is_repeated = errno == EIO; /* an error that goes away when asked again is no damage */
            continue;
        }
        if (n < 0)
            return err_sys(err, errno, "reading at %llu", (unsigned long long)at);
        if (n == 0)
            return err_set(err, ERR_DAMAGE, "the file ends at %llu", (unsigned long long)at);
        to += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int place_damaged(struct err *err, uint64_t id, const struct segment_pin *pin, uint64_t offset, const char *what)
{
    return err_set(err, ERR_DAMAGE, "body %llu at %016llx:%llu: %s", (unsigned long long)id,
                   (unsigned long long)pin->number, (unsigned long long)offset, what);
}

int body_header_verify(const struct segment_pin *pin, uint64_t id, uint64_t offset, uint32_t length,
                       struct record_header *h, struct err *err)
{
    unsigned char raw[RECORD_HEADER_BYTES];

    *h = (struct record_header){ 0 };
    if (offset < SEGMENT_PAGE_BYTES + RECORD_HEADER_BYTES)
        return place_damaged(err, id, pin, offset, "no record can lie there");
    if (read_exact(pin->fd, offset - RECORD_HEADER_BYTES, raw, sizeof raw, err) < 0)
        return err_prefix(err, "body %llu in %016llx: ", (unsigned long long)id, (unsigned long long)pin->number);
    if (record_header_decode(slice_of(raw, sizeof raw), pin->salt, h) != RECORD_OK)
        return place_damaged(err, id, pin, offset, "its record header does not validate");
    if (h->type != RT_BODY || (h->object != id && h->object != 0))
        return place_damaged(err, id, pin, offset, "another record lies there");
    if (h->length != length)
        return place_damaged(err, id, pin, offset, "its length is not the one the index has");
    return 0;
}

/* The table of chunk checksums behind a long payload, itself covered by the header. */
static int table_read(const struct segment_pin *pin, uint64_t offset, const struct record_header *h, struct buf *table,
                      struct err *err)
{
    size_t len = record_table_bytes(h->length);

    if (read_exact(pin->fd, offset + h->length, buf_extend(table, len), len, err) < 0)
        return -1;
    if (crc32c(format_seed(pin->salt), table->ptr, len) != h->payload_crc)
        return place_damaged(err, h->object, pin, offset, "its checksums do not validate");
    return 0;
}

/* Chunk n of the payload into `chunk`, checked. */
static int chunk_read(const struct segment_pin *pin, uint64_t id, uint64_t offset, const struct record_header *h,
                      const struct buf *table, uint32_t n, struct buf *chunk, struct err *err)
{
    uint64_t at = (uint64_t)n * RECORD_CHUNK_BYTES;
    size_t len = h->length - at < RECORD_CHUNK_BYTES ? (size_t)(h->length - at) : RECORD_CHUNK_BYTES;
    bool ok;

    buf_reset(chunk);
    if (read_exact(pin->fd, offset + at, buf_extend(chunk, len), len, err) < 0)
        return err_prefix(err, "body %llu in %016llx: ", (unsigned long long)id, (unsigned long long)pin->number);
    if (table->len == 0)
        ok = crc32c(format_seed(pin->salt), chunk->ptr, chunk->len) == h->payload_crc;
    else
        ok = record_chunk_ok(pin->salt, buf_slice(chunk), buf_slice(table), n);
    return ok ? 0 : place_damaged(err, id, pin, offset, "its octets do not match their checksum");
}

static uint32_t chunk_count(uint32_t length)
{
    return length == 0 ? 1 : (uint32_t)(((uint64_t)length + RECORD_CHUNK_BYTES - 1) / RECORD_CHUNK_BYTES);
}

int body_verify(const struct segment_pin *pin, uint64_t id, uint64_t offset, uint32_t length, struct record_header *h,
                struct err *err)
{
    struct buf table = BUF_INIT, chunk = BUF_INIT;
    int rc = -1;

    if (body_header_verify(pin, id, offset, length, h, err) < 0)
        return -1;
    if (length > RECORD_CHUNK_BYTES && table_read(pin, offset, h, &table, err) < 0)
        goto out;
    for (uint32_t n = 0; n < chunk_count(length); n++)
        if (chunk_read(pin, id, offset, h, &table, n, &chunk, err) < 0)
            goto out;
    rc = 0;
out:
    buf_free(&table);
    buf_free(&chunk);
    return rc;
}

/* --- copying ------------------------------------------------------------------------------------------------------ */

static int file_make(struct compaction *c, struct err *err)
{
    struct journal *j = c->journal;
    struct segment_header h = {
        .format = JOURNAL_FORMAT,
        .kind = SEGMENT_COMPACT,
        .partition = c->partition,
        .epoch = j->epoch,
        .created_ms = clock_wall_ms(j->clock),
    };

    if (c->is_open)
        return 0;
    memcpy(h.journal_id, j->id, sizeof h.journal_id);
    if (segment_create(&c->writer, j->segments, &h, err) < 0)
        return -1;
    footer_writer_init(&c->footer, c->writer.header.salt);
    c->is_open = true;
    return 0;
}

static int out_flush(struct compaction *c, struct err *err)
{
    struct iovec iov = { c->out.ptr, c->out.len };

    if (c->out.len == 0)
        return 0;
    if (segment_writer_write(&c->writer, &iov, 1, err) < 0)
        return -1;
    c->writer.at += c->out.len;
    buf_reset(&c->out);
    return 0;
}

/* The record's payload and table go through c->out; its header, which needs their checksum, is put in front at last:
 * in c->out while it is still there, else in the file. */
static int payload_copy(struct compaction *c, const struct segment_pin *from, uint64_t offset, struct record_header *h,
                        uint64_t *header_at, struct err *err)
{
    struct buf table = BUF_INIT, chunk = BUF_INIT, copy = BUF_INIT;
    uint32_t seed = format_seed(c->writer.header.salt), length = h->length, crc = 0;
    bool is_long = length > RECORD_CHUNK_BYTES;
    size_t zeros;
    int rc = -1;

    if (is_long && table_read(from, offset, h, &table, err) < 0)
        goto out;
    *header_at = c->writer.at + c->out.len;
    memset(buf_extend(&c->out, RECORD_HEADER_BYTES), 0, RECORD_HEADER_BYTES);
    for (uint32_t n = 0; n < chunk_count(length); n++) {
        if (chunk_read(from, h->object, offset, h, &table, n, &chunk, err) < 0)
            goto out;
        crc = crc32c(seed, chunk.ptr, chunk.len);
        buf_put_le32(&copy, crc);
        buf_put_slice(&c->out, buf_slice(&chunk));
        if (c->out.len >= OUT_FLUSH_BYTES && is_long && out_flush(c, err) < 0)
            goto out;
    }
    if (is_long)
        buf_put_slice(&c->out, buf_slice(&copy));
    zeros = (size_t)record_disk_bytes(length) - RECORD_HEADER_BYTES - length - record_table_bytes(length);
    if (zeros != 0)
        memset(buf_extend(&c->out, zeros), 0, zeros);
    h->payload_crc = is_long ? crc32c(seed, copy.ptr, copy.len) : crc;
    rc = 0;
out:
    buf_free(&table);
    buf_free(&chunk);
    buf_free(&copy);
    return rc;
}

static int header_put(struct compaction *c, uint64_t at, const struct record_header *h, struct err *err)
{
    unsigned char raw[RECORD_HEADER_BYTES];
    struct iovec iov = { raw, sizeof raw };
    uint64_t end = c->writer.at;
    int rc;

    record_header_encode(raw, c->writer.header.salt, h);
    if (at >= end) {
        memcpy(c->out.ptr + (at - end), raw, sizeof raw);
        return 0;
    }
    c->writer.at = at;
    rc = segment_writer_write(&c->writer, &iov, 1, err);
    c->writer.at = end;
    return rc;
}

static void move_note(struct compaction *c, const struct body_move *m)
{
    if (c->count == c->cap) {
        c->cap = c->cap == 0 ? 256 : c->cap * 2;
        c->moves = mem_realloc(c->moves, c->cap * sizeof *c->moves);
    }
    c->moves[c->count++] = *m;
}

int compaction_add(struct compaction *c, const struct segment_pin *from, uint64_t id, uint64_t offset, uint32_t length,
                   struct err *err)
{
    struct record_header h;
    struct err why = ERR_INIT;
    uint64_t at = 0;

    /* Twice through the octets of a large body: what is in the file cannot be taken back. */
    if (body_verify(from, id, offset, length, &h, &why) < 0) {
        diag_error("journal", "%s; its segment is kept", why.text);
        return 0;
    }
    if (file_make(c, err) < 0)
        return -1;
    h.flags = RECORD_BODY;
    h.seq = h.object = id;
    h.part = 0;
    h.durable_seq = 0;
    if (payload_copy(c, from, offset, &h, &at, err) < 0 || header_put(c, at, &h, err) < 0)
        return -1;
    footer_writer_add(&c->footer, at, &h, SLICE_NONE);
    move_note(c, &(struct body_move){ .id = id,
                                      .from_segment = from->number,
                                      .from_offset = offset,
                                      .to_offset = at + RECORD_HEADER_BYTES,
                                      .length = length });
    return c->out.len >= OUT_FLUSH_BYTES && out_flush(c, err) < 0 ? -1 : 1;
}

int compaction_finish(struct compaction *c, struct err *err)
{
    uint64_t number = c->writer.header.number;

    if (!c->is_open)
        return 0;
    if (out_flush(c, err) < 0 || segment_finish(&c->writer, &c->footer, err) < 0)
        return -1; /* compaction_free discards the file */
    for (size_t i = 0; i < c->count; i++)
        c->moves[i].to_segment = number;
    footer_writer_free(&c->footer);
    c->is_open = false;
    return 0;
}
