#include "base/base64.h"

#include <string.h>

/* RFC 4648 4, and RFC 3501 5.1.3 for the modified one. */
static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char modified[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static void encode(struct buf *out, slice in, const char *alphabet, bool pad)
{
    size_t full = in.len / 3, odd = in.len % 3;
    size_t tail = odd == 0 ? 0 : pad ? 4 : odd + 1;
    const unsigned char *p = in.ptr;
    unsigned char *q;

    if (in.len == 0)
        return;
    q = buf_extend(out, full * 4 + tail);
    for (size_t i = 0; i < full; i++, p += 3, q += 4) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

        q[0] = (unsigned char)alphabet[v >> 18];
        q[1] = (unsigned char)alphabet[v >> 12 & 63];
        q[2] = (unsigned char)alphabet[v >> 6 & 63];
        q[3] = (unsigned char)alphabet[v & 63];
    }
    if (odd > 0) {
        uint32_t v = (uint32_t)p[0] << 16 | (odd > 1 ? (uint32_t)p[1] << 8 : 0);

        if (pad)
            memset(q, '=', 4);
        q[0] = (unsigned char)alphabet[v >> 18];
        q[1] = (unsigned char)alphabet[v >> 12 & 63];
        if (odd > 1)
            q[2] = (unsigned char)alphabet[v >> 6 & 63];
    }
}

/* The value of a character, or -1. `last` is the alphabet's last character, the one in which the two differ. */
static int value_of(unsigned char c, unsigned char last)
{
    if (ascii_is_alpha(c))
        return c >= 'a' ? c - 'a' + 26 : c - 'A';
    if (ascii_is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == last ? 63 : -1;
}

/* What has been read of a group of four characters. */
struct group {
    uint32_t bits;
    unsigned chars;
};

/* Write the whole octets of a group. */
static void flush(struct buf *out, const struct group *g)
{
    if (g->chars >= 2)
        buf_put_byte(out, (unsigned char)(g->bits >> (g->chars * 6 - 8)));
    if (g->chars >= 3)
        buf_put_byte(out, (unsigned char)(g->bits >> (g->chars * 6 - 16)));
    if (g->chars == 4)
        buf_put_byte(out, (unsigned char)g->bits);
}

static void take_char(struct buf *out, struct group *g, int value)
{
    g->bits = g->bits << 6 | (uint32_t)value;
    if (++g->chars == 4) {
        flush(out, g);
        *g = (struct group){ 0 };
    }
}

/* `in` without padding: 0, 2 or 3 characters may stand after the last group of four. */
static bool decode(struct buf *out, slice in, unsigned char last)
{
    size_t before = out->len;
    struct group g = { 0 };

    buf_reserve(out, in.len / 4 * 3 + 3);
    for (size_t i = 0; i < in.len; i++) {
        int v = value_of(in.ptr[i], last);

        if (v < 0) {
            out->len = before;
            return false;
        }
        take_char(out, &g, v);
    }
    /* 2 characters carry 4 bits too many, 3 characters 2; with 1 there is no octet at all. */
    if (g.chars == 1 || (g.chars == 2 && (g.bits & 0x0F) != 0) || (g.chars == 3 && (g.bits & 0x03) != 0)) {
        out->len = before;
        return false;
    }
    flush(out, &g);
    return true;
}

void base64_encode(struct buf *out, slice in)
{
    encode(out, in, standard, true);
}

bool base64_decode(struct buf *out, slice in)
{
    if (in.len % 4 != 0)
        return false;
    for (int i = 0; i < 2 && in.len > 0 && in.ptr[in.len - 1] == '='; i++)
        in.len--;
    return decode(out, in, '/');
}

void base64_encode_modified(struct buf *out, slice in)
{
    encode(out, in, modified, false);
}

bool base64_decode_modified(struct buf *out, slice in)
{
    return decode(out, in, ',');
}

void base64_decode_lenient(struct buf *out, slice in)
{
    struct group g = { 0 };

    for (size_t i = 0; i < in.len && in.ptr[i] != '='; i++) {
        int v = value_of(in.ptr[i], '/');

        if (v >= 0)
            take_char(out, &g, v);
    }
    flush(out, &g);
}
