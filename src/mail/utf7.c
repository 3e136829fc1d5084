#include "mail/utf7.h"

#include "base/utf8.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit(unsigned char c)
{
    const char *at = c == '\0' ? NULL : strchr(alphabet, c);

    return at == NULL ? -1 : (int)(at - alphabet);
}

/* One UTF-16 unit; *high holds a surrogate that waits for its second half. */
static bool unit_put(struct buf *out, uint32_t unit, uint32_t *high)
{
    if (*high != 0) {
        if (unit < 0xDC00 || unit > 0xDFFF)
            return false;
        utf8_put(out, 0x10000 + ((*high - 0xD800) << 10) + (unit - 0xDC00));
        *high = 0;
        return true;
    }
    if (unit >= 0xDC00 && unit <= 0xDFFF)
        return false;
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        *high = unit;
        return true;
    }
    if (unit >= 0x20 && unit < 0x7F)
        return false; /* must stand for itself: RFC 3501 5.1.3 */
    utf8_put(out, unit);
    return true;
}

/* The Base64 text between '&' and '-'. */
static bool shifted_decode(slice text, struct buf *out)
{
    uint32_t bits = 0, count = 0, high = 0;

    for (size_t i = 0; i < text.len; i++) {
        int d = digit(text.ptr[i]);

        if (d < 0)
            return false;
        bits = (bits << 6) | (uint32_t)d;
        count += 6;
        if (count >= 16) {
            count -= 16;
            if (!unit_put(out, (bits >> count) & 0xFFFF, &high))
                return false;
        }
    }
    return high == 0 && count < 6 && (bits & ((1u << count) - 1)) == 0;
}

bool utf7_to_utf8(slice in, struct buf *out)
{
    size_t begin = out->len;
    bool was_shifted = false;

    for (size_t i = 0; i < in.len;) {
        unsigned char c = in.ptr[i];

        if (c != '&') {
            if (c < 0x20 || c > 0x7E)
                goto bad;
            buf_put_byte(out, c);
            was_shifted = false;
            i++;
            continue;
        }
        slice rest = slice_from(in, i + 1);
        ssize_t end = slice_find_byte(rest, '-');

        if (end < 0)
            goto bad;
        if (end == 0) {
            buf_put_byte(out, '&');
            was_shifted = false;
        } else {
            if (was_shifted || !shifted_decode(slice_sub(rest, 0, (size_t)end), out))
                goto bad; /* "&…-&…-" has a shorter form */
            was_shifted = true;
        }
        i += (size_t)end + 2;
    }
    return true;
bad:
    out->len = begin;
    return false;
}

struct shift {
    struct buf *out;
    uint32_t bits, count;
    bool is_on;
};

static void shift_unit(struct shift *s, uint32_t unit)
{
    if (!s->is_on)
        buf_put_byte(s->out, '&');
    s->is_on = true;
    s->bits = (s->bits << 16) | unit;
    s->count += 16;
    while (s->count >= 6) {
        s->count -= 6;
        buf_put_byte(s->out, (unsigned char)alphabet[(s->bits >> s->count) & 63]);
    }
    s->bits &= (1u << s->count) - 1;
}

static void shift_end(struct shift *s)
{
    if (!s->is_on)
        return;
    if (s->count != 0)
        buf_put_byte(s->out, (unsigned char)alphabet[(s->bits << (6 - s->count)) & 63]);
    buf_put_byte(s->out, '-');
    *s = (struct shift){ .out = s->out };
}

void utf7_from_utf8(slice in, struct buf *out)
{
    struct shift s = { .out = out };
    uint32_t cp;

    while (in.len != 0) {
        if (!utf8_next(&in, &cp)) {
            cp = 0xFFFD;
            in = slice_from(in, 1);
        }
        if (cp >= 0x20 && cp < 0x7F) {
            shift_end(&s);
            buf_put_byte(out, (unsigned char)cp);
            if (cp == '&')
                buf_put_byte(out, '-');
        } else if (cp >= 0x10000) {
            shift_unit(&s, 0xD800 + ((cp - 0x10000) >> 10));
            shift_unit(&s, 0xDC00 + ((cp - 0x10000) & 0x3FF));
        } else {
            shift_unit(&s, cp);
        }
    }
    shift_end(&s);
}
