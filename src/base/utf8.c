#include "base/utf8.h"

#include <string.h>

#include "base/err.h"

bool utf8_is_ascii(slice s)
{
    size_t at = 0;
    uint64_t w;

    for (; at + sizeof(w) <= s.len; at += sizeof(w)) {
        memcpy(&w, s.ptr + at, sizeof(w));
        if (w & 0x8080808080808080u)
            return false;
    }
    for (; at < s.len; at++)
        if (s.ptr[at] > 0x7F)
            return false;
    return true;
}

/* Length of a multi-octet character by its first octet, and the range of the second, RFC 3629 4:
 *   UTF8-2 = %xC2-DF UTF8-tail
 *   UTF8-3 = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) / %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
 *   UTF8-4 = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) / %xF4 %x80-8F 2( UTF8-tail )
 * The narrowed second octets keep out overlong forms, surrogates and values above U+10FFFF. */
struct lead {
    size_t len; /* 0: no first octet */
    unsigned char low, high;
};

static struct lead lead_of(unsigned char c)
{
    if (c >= 0xC2 && c <= 0xDF)
        return (struct lead){ 2, 0x80, 0xBF };
    if (c >= 0xE0 && c <= 0xEF)
        return (struct lead){ 3, c == 0xE0 ? 0xA0 : 0x80, c == 0xED ? 0x9F : 0xBF };
    if (c >= 0xF0 && c <= 0xF4)
        return (struct lead){ 4, c == 0xF0 ? 0x90 : 0x80, c == 0xF4 ? 0x8F : 0xBF };
    return (struct lead){ 0, 0, 0 };
}

bool utf8_next(slice *s, uint32_t *cp)
{
    struct lead lead;
    uint32_t v;

    if (s->len == 0)
        return false;
    if (s->ptr[0] <= 0x7F) {
        *cp = s->ptr[0];
        *s = slice_from(*s, 1);
        return true;
    }
    lead = lead_of(s->ptr[0]);
    if (lead.len == 0 || lead.len > s->len || s->ptr[1] < lead.low || s->ptr[1] > lead.high)
        return false;
    v = s->ptr[0] & (0x7Fu >> lead.len);
    for (size_t i = 1; i < lead.len; i++) {
        if ((s->ptr[i] & 0xC0) != 0x80)
            return false;
        v = v << 6 | (s->ptr[i] & 0x3Fu);
    }
    *cp = v;
    *s = slice_from(*s, lead.len);
    return true;
}

bool utf8_valid(slice s)
{
    while (s.len > 0) {
        uint32_t cp;
        uint64_t w;

        if (s.len >= sizeof(w)) { /* most text is ASCII: 8 octets a step */
            memcpy(&w, s.ptr, sizeof(w));
            if ((w & 0x8080808080808080u) == 0) {
                s = slice_from(s, sizeof(w));
                continue;
            }
        }
        if (!utf8_next(&s, &cp))
            return false;
    }
    return true;
}

void utf8_put(struct buf *b, uint32_t cp)
{
    ASSERT(cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF));
    if (cp <= 0x7F) {
        buf_put_byte(b, (unsigned char)cp);
        return;
    }
    if (cp <= 0x7FF) {
        buf_put_byte(b, (unsigned char)(0xC0 | cp >> 6));
    } else {
        if (cp <= 0xFFFF) {
            buf_put_byte(b, (unsigned char)(0xE0 | cp >> 12));
        } else {
            buf_put_byte(b, (unsigned char)(0xF0 | cp >> 18));
            buf_put_byte(b, (unsigned char)(0x80 | (cp >> 12 & 0x3F)));
        }
        buf_put_byte(b, (unsigned char)(0x80 | (cp >> 6 & 0x3F)));
    }
    buf_put_byte(b, (unsigned char)(0x80 | (cp & 0x3F)));
}
