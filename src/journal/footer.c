#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "journal/format.h"

#define MAGIC_BYTES 8u
static const unsigned char head_magic[MAGIC_BYTES] = { 'P', 'H', 'J', 'F', 'O', 'O', 'T', '1' };
static const unsigned char trailer_magic[MAGIC_BYTES] = { 'P', 'H', 'J', 'E', 'N', 'D', '1', '\n' };

enum { HEAD_AT_COUNT = 8, HEAD_AT_PAYLOADS = 16, HEAD_AT_ZERO = 24, HEAD_AT_CRC = 28 };
enum {
    TRAILER_AT_HEAD = 8,
    TRAILER_AT_LAST_SEQ = 16,
    TRAILER_AT_NEWEST_MS = 24,
    TRAILER_AT_RECORDS_END = 32,
    TRAILER_AT_BODY_CRC = 40,
    TRAILER_AT_CRC = 44,
};
enum { ENTRY_AT_OFFSET = 0, ENTRY_AT_HEADER = 8 };

static uint64_t padded(uint64_t bytes)
{
    return (bytes + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

/* Octets of the payload that stand in the footer, padding included. */
static uint64_t kept_bytes(const struct record_header *h)
{
    return h->flags & RECORD_BODY ? 0 : padded(h->length);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

void footer_writer_init(struct footer_writer *w, uint32_t salt)
{
    *w = (struct footer_writer){ .salt = salt };
}

void footer_writer_free(struct footer_writer *w)
{
    buf_free(&w->entries);
    buf_free(&w->payloads);
}

void footer_writer_add(struct footer_writer *w, uint64_t offset, const struct record_header *h, slice payload)
{
    static const unsigned char zeros[RECORD_ALIGN];
    unsigned char *entry = buf_extend(&w->entries, FOOTER_ENTRY_BYTES);

    put_le64(entry + ENTRY_AT_OFFSET, offset);
    record_header_encode(entry + ENTRY_AT_HEADER, w->salt, h);
    put_le32(entry + ENTRY_AT_HEADER, FOOTER_ENTRY_MAGIC);
    if (!(h->flags & RECORD_BODY)) {
        ASSERT(payload.len == h->length);
        buf_put_slice(&w->payloads, payload);
        buf_put(&w->payloads, zeros, padded(payload.len) - payload.len);
    }
    if (h->seq > w->last_seq)
        w->last_seq = h->seq;
    if (w->count == 0 || h->time_ms > w->newest_ms)
        w->newest_ms = h->time_ms;
    w->count++;
}

void footer_writer_finish(struct footer_writer *w, uint64_t records_end, uint64_t head_at, struct buf *out)
{
    uint32_t seed = format_seed(w->salt), crc;
    unsigned char *p;

    ASSERT(head_at % RECORD_ALIGN == 0 && head_at >= records_end);
    p = buf_extend(out, FOOTER_HEAD_BYTES);
    memcpy(p, head_magic, MAGIC_BYTES);
    put_le64(p + HEAD_AT_COUNT, w->count);
    put_le64(p + HEAD_AT_PAYLOADS, w->payloads.len);
    put_le32(p + HEAD_AT_ZERO, 0);
    put_le32(p + HEAD_AT_CRC, crc32c(seed, p, HEAD_AT_CRC));

    buf_put_slice(out, buf_slice(&w->entries));
    buf_put_slice(out, buf_slice(&w->payloads));
    crc = crc32c(seed, w->entries.ptr, w->entries.len);
    crc = crc32c(crc, w->payloads.ptr, w->payloads.len);

    p = buf_extend(out, FOOTER_TRAILER_BYTES);
    memcpy(p, trailer_magic, MAGIC_BYTES);
    put_le64(p + TRAILER_AT_HEAD, head_at);
    put_le64(p + TRAILER_AT_LAST_SEQ, w->last_seq);
    put_le64(p + TRAILER_AT_NEWEST_MS, (uint64_t)w->newest_ms);
    put_le64(p + TRAILER_AT_RECORDS_END, records_end);
    put_le32(p + TRAILER_AT_BODY_CRC, crc);
    put_le32(p + TRAILER_AT_CRC, crc32c(seed, p, TRAILER_AT_CRC));
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

int footer_peek(slice tail, uint32_t salt, uint64_t file_bytes, struct footer *f, struct err *err)
{
    const unsigned char *p = tail.ptr;

    if (tail.len != FOOTER_TRAILER_BYTES || memcmp(p, trailer_magic, MAGIC_BYTES) != 0)
        return err_set(err, ERR_DAMAGE, "the file does not end with a footer");
    if (get_le32(p + TRAILER_AT_CRC) != crc32c(format_seed(salt), p, TRAILER_AT_CRC))
        return err_set(err, ERR_DAMAGE, "the footer's trailer has a wrong checksum");
    *f = (struct footer){
        .head_at = get_le64(p + TRAILER_AT_HEAD),
        .records_end = get_le64(p + TRAILER_AT_RECORDS_END),
        .last_seq = get_le64(p + TRAILER_AT_LAST_SEQ),
        .newest_ms = (int64_t)get_le64(p + TRAILER_AT_NEWEST_MS),
        .salt = salt,
    };
    if (f->head_at % RECORD_ALIGN != 0 || f->records_end < SEGMENT_PAGE_BYTES || f->head_at < f->records_end ||
        file_bytes < FOOTER_HEAD_BYTES + FOOTER_TRAILER_BYTES ||
        f->head_at > file_bytes - FOOTER_HEAD_BYTES - FOOTER_TRAILER_BYTES)
        return err_set(err, ERR_DAMAGE, "the footer's trailer names impossible offsets");
    return 0;
}

int footer_locate(slice tail, uint32_t salt, uint64_t file_bytes, uint64_t *head_at, struct err *err)
{
    struct footer f = { 0 };

    if (footer_peek(tail, salt, file_bytes, &f, err) < 0)
        return -1;
    *head_at = f.head_at;
    return 0;
}

static bool entry_decode(slice in, uint32_t salt, struct footer_entry *e)
{
    unsigned char header[RECORD_HEADER_BYTES];

    e->offset = get_le64(in.ptr + ENTRY_AT_OFFSET);
    memcpy(header, in.ptr + ENTRY_AT_HEADER, sizeof(header));
    if (get_le32(header) != FOOTER_ENTRY_MAGIC)
        return false;
    put_le32(header, RECORD_MAGIC); /* the checksum is the record's */
    return record_header_decode(slice_of(header, sizeof(header)), salt, &e->header) == RECORD_OK;
}

/* Head and length: afterwards f->entries and f->payloads are known. */
static int head_decode(slice in, struct footer *f, struct err *err)
{
    const unsigned char *p = in.ptr;
    uint64_t payload_bytes, body_bytes = in.len - FOOTER_HEAD_BYTES - FOOTER_TRAILER_BYTES;

    if (memcmp(p, head_magic, MAGIC_BYTES) != 0 ||
        get_le32(p + HEAD_AT_CRC) != crc32c(format_seed(f->salt), p, HEAD_AT_CRC))
        return err_set(err, ERR_DAMAGE, "the head of the footer is not valid");
    f->count = get_le64(p + HEAD_AT_COUNT);
    payload_bytes = get_le64(p + HEAD_AT_PAYLOADS);
    if (f->count > body_bytes / FOOTER_ENTRY_BYTES || payload_bytes != body_bytes - f->count * FOOTER_ENTRY_BYTES)
        return err_set(err, ERR_DAMAGE, "the footer's head does not agree with its length");
    f->entries = slice_sub(in, FOOTER_HEAD_BYTES, f->count * FOOTER_ENTRY_BYTES);
    f->payloads = slice_sub(in, FOOTER_HEAD_BYTES + f->entries.len, payload_bytes);
    return 0;
}

/* Entries say where records are: nothing of them is used before all of them are plausible. */
static int entries_check(const struct footer *f, struct err *err)
{
    uint64_t end = SEGMENT_PAGE_BYTES, payload_bytes = 0;

    for (uint64_t i = 0; i < f->count; i++) {
        struct footer_entry e;

        if (!entry_decode(slice_from(f->entries, i * FOOTER_ENTRY_BYTES), f->salt, &e))
            return err_set(err, ERR_DAMAGE, "footer entry %llu is not valid", (unsigned long long)i);
        if (e.offset % RECORD_ALIGN != 0 || e.offset < end || e.offset > f->records_end ||
            record_disk_bytes(e.header.length) > f->records_end - e.offset)
            return err_set(err, ERR_DAMAGE, "footer entry %llu lies outside the records", (unsigned long long)i);
        end = e.offset + record_disk_bytes(e.header.length);
        payload_bytes += kept_bytes(&e.header);
    }
    if (payload_bytes != f->payloads.len)
        return err_set(err, ERR_DAMAGE, "the footer's entries do not agree with its payloads");
    return 0;
}

int footer_decode(slice in, uint64_t head_at, uint32_t salt, struct footer *f, struct err *err)
{
    slice tail;
    uint32_t crc;

    if (in.len < FOOTER_HEAD_BYTES + FOOTER_TRAILER_BYTES)
        return err_set(err, ERR_DAMAGE, "the footer is too short");
    tail = slice_from(in, in.len - FOOTER_TRAILER_BYTES);
    if (footer_peek(tail, salt, head_at + in.len, f, err) < 0)
        return -1;
    if (f->head_at != head_at)
        return err_set(err, ERR_DAMAGE, "the footer is not where its trailer says");
    if (head_decode(in, f, err) < 0)
        return -1;
    crc = crc32c(format_seed(salt), f->entries.ptr, f->entries.len);
    crc = crc32c(crc, f->payloads.ptr, f->payloads.len);
    if (crc != get_le32(tail.ptr + TRAILER_AT_BODY_CRC))
        return err_set(err, ERR_DAMAGE, "the footer has a wrong checksum");
    return entries_check(f, err);
}

void footer_begin(struct footer_cursor *c, const struct footer *f)
{
    *c = (struct footer_cursor){ .footer = f };
}

bool footer_next(struct footer_cursor *c, struct footer_entry *e, slice *payload)
{
    const struct footer *f = c->footer;

    if (c->at >= f->count)
        return false;
    if (!entry_decode(slice_from(f->entries, c->at * FOOTER_ENTRY_BYTES), f->salt, e))
        panic("footer entry %llu changed after it was checked", (unsigned long long)c->at);
    *payload = e->header.flags & RECORD_BODY ? SLICE_NONE : slice_sub(f->payloads, c->payload_at, e->header.length);
    c->payload_at += kept_bytes(&e->header);
    c->at++;
    return true;
}
