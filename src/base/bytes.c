#include "base/bytes.h"

#define VARINT_MAX_OCTETS 10

void buf_put_le16(struct buf *b, uint16_t v)
{
    put_le16(buf_extend(b, 2), v);
}

void buf_put_le32(struct buf *b, uint32_t v)
{
    put_le32(buf_extend(b, 4), v);
}

void buf_put_le64(struct buf *b, uint64_t v)
{
    put_le64(buf_extend(b, 8), v);
}

void buf_put_be32(struct buf *b, uint32_t v)
{
    put_be32(buf_extend(b, 4), v);
}

void buf_put_be64(struct buf *b, uint64_t v)
{
    put_be64(buf_extend(b, 8), v);
}

void buf_put_varint(struct buf *b, uint64_t v)
{
    unsigned char octets[VARINT_MAX_OCTETS];
    size_t len = 0;

    while (v > 0x7F) {
        octets[len++] = (unsigned char)(0x80 | (v & 0x7F));
        v >>= 7;
    }
    octets[len++] = (unsigned char)v;
    buf_put(b, octets, len);
}

void buf_put_lenstr(struct buf *b, slice s)
{
    buf_put_varint(b, s.len);
    buf_put_slice(b, s);
}

/* The next len octets, or NULL after an error; the error sticks and empties the rest. */
static const unsigned char *step(struct reader *r, size_t len)
{
    const unsigned char *p = r->rest.ptr;

    if (r->failed || len > r->rest.len) {
        r->failed = true;
        r->rest = SLICE_NONE;
        return NULL;
    }
    r->rest.ptr += len;
    r->rest.len -= len;
    return p;
}

uint8_t read_u8(struct reader *r)
{
    const unsigned char *p = step(r, 1);

    return p == NULL ? 0 : *p;
}

uint16_t read_le16(struct reader *r)
{
    const unsigned char *p = step(r, 2);

    return p == NULL ? 0 : get_le16(p);
}

uint32_t read_le32(struct reader *r)
{
    const unsigned char *p = step(r, 4);

    return p == NULL ? 0 : get_le32(p);
}

uint64_t read_le64(struct reader *r)
{
    const unsigned char *p = step(r, 8);

    return p == NULL ? 0 : get_le64(p);
}

uint32_t read_be32(struct reader *r)
{
    const unsigned char *p = step(r, 4);

    return p == NULL ? 0 : get_be32(p);
}

uint64_t read_be64(struct reader *r)
{
    const unsigned char *p = step(r, 8);

    return p == NULL ? 0 : get_be64(p);
}

uint64_t read_varint(struct reader *r)
{
    uint64_t v = 0;

    for (size_t i = 0; i < VARINT_MAX_OCTETS && i < r->rest.len; i++) {
        uint64_t c = r->rest.ptr[i];

        v |= (c & 0x7F) << (7 * i);
        if (c & 0x80)
            continue;
        /* The tenth octet has room for one bit; a last octet of 0 after others is a longer form of a shorter number. */
        if ((i == VARINT_MAX_OCTETS - 1 && c > 1) || (i > 0 && c == 0))
            break;
        step(r, i + 1);
        return v;
    }
    step(r, SIZE_MAX);
    return 0;
}

slice read_octets(struct reader *r, size_t len)
{
    const unsigned char *p;

    if (len == 0)
        return SLICE_NONE;
    p = step(r, len);
    return p == NULL ? SLICE_NONE : slice_of(p, len);
}

slice read_lenstr(struct reader *r)
{
    uint64_t len = read_varint(r);

    if (len > SIZE_MAX) /* a 32-bit machine */
        len = SIZE_MAX;
    return read_octets(r, (size_t)len);
}

bool reader_done(const struct reader *r)
{
    return !r->failed && r->rest.len == 0;
}
