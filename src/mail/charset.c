#include "mail/charset.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

#include "base/utf8.h"

#define CHARSET_NAME_MAX_OCTETS 40
#define REPLACEMENT 0xFFFDu

static bool is_utf8_name(slice name)
{
    return slice_eq_nocase(name, SLICE("utf-8")) || slice_eq_nocase(name, SLICE("utf8"));
}

static bool is_ascii_name(slice name)
{
    return name.len == 0 || slice_eq_nocase(name, SLICE("us-ascii")) || slice_eq_nocase(name, SLICE("ascii"));
}

/* iconv takes options behind slashes; a peer's name must be a plain one. */
static bool name_copy(slice name, char out[CHARSET_NAME_MAX_OCTETS + 1])
{
    if (name.len == 0 || name.len > CHARSET_NAME_MAX_OCTETS)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = name.ptr[i];

        if (!ascii_is_alnum(c) && c != '-' && c != '_' && c != '.' && c != ':' && c != '+')
            return false;
    }
    memcpy(out, name.ptr, name.len);
    out[name.len] = '\0';
    return true;
}

/* Most texts are ASCII: eight octets at a time. */
#define EIGHT(octet) (0x0101010101010101u * (uint64_t)(octet))

static uint64_t eight_get(const unsigned char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof w);
    return w;
}

static size_t ascii_bytes(slice s)
{
    size_t n = 0;

    while (n + 8 <= s.len && (eight_get(s.ptr + n) & EIGHT(0x80)) == 0)
        n += 8;
    while (n < s.len && s.ptr[n] < 0x80)
        n++;
    return n;
}

/* Octets below 0x80, in lower case. */
static void ascii_fold(const unsigned char *from, unsigned char *to, size_t len)
{
    size_t n = 0;

    for (; n + 8 <= len; n += 8) {
        uint64_t w = eight_get(from + n);
        uint64_t not_below_a = w + EIGHT(0x80 - 'A'), above_z = w + EIGHT(0x7F - 'Z'); /* bit 7 says it of each */

        w |= ((not_below_a ^ above_z) & EIGHT(0x80)) >> 2; /* 0x20 makes a letter small */
        memcpy(to + n, &w, sizeof w);
    }
    for (; n < len; n++)
        to[n] = ascii_lower(from[n]);
}

static void utf8_clean(slice in, struct buf *out)
{
    while (in.len != 0) {
        size_t plain = ascii_bytes(in);
        slice before;
        uint32_t cp;

        buf_put(out, in.ptr, plain);
        before = in = slice_from(in, plain);
        if (in.len == 0)
            break;
        if (utf8_next(&in, &cp)) {
            buf_put(out, before.ptr, before.len - in.len);
        } else {
            utf8_put(out, REPLACEMENT);
            in = slice_from(before, 1);
        }
    }
}

static void convert(iconv_t cd, slice in, struct buf *out)
{
    char *from = (char *)(uintptr_t)in.ptr;
    size_t left = in.len;

    while (left != 0) {
        char chunk[1024];
        char *to = chunk;
        size_t room = sizeof chunk;
        size_t rc = iconv(cd, &from, &left, &to, &room);

        buf_put(out, chunk, sizeof chunk - room);
        if (rc != (size_t)-1)
            break;
        if (errno == E2BIG)
            continue;
        utf8_put(out, REPLACEMENT); /* EILSEQ, or EINVAL at the end: one octet is given up */
        if (left == 0)
            break;
        from++;
        left--;
    }
}

bool charset_known(slice name)
{
    char text[CHARSET_NAME_MAX_OCTETS + 1];
    iconv_t cd;

    if (is_utf8_name(name) || is_ascii_name(name))
        return true;
    if (!name_copy(name, text) || (cd = iconv_open("UTF-8", text)) == (iconv_t)-1)
        return false;
    iconv_close(cd);
    return true;
}

bool charset_to_utf8(slice name, slice in, struct buf *out)
{
    char text[CHARSET_NAME_MAX_OCTETS + 1];
    iconv_t cd;

    if (is_utf8_name(name) || is_ascii_name(name)) {
        utf8_clean(in, out);
        return true;
    }
    if (!name_copy(name, text) || (cd = iconv_open("UTF-8", text)) == (iconv_t)-1)
        return false;
    convert(cd, in, out);
    iconv_close(cd);
    return true;
}

/* --- folding ----------------------------------------------------------------------------------------------------- */

/* Runs of characters whose lower-case form lies at a fixed distance, or (step 2) is the next odd one. */
struct fold_run {
    uint32_t first, last;
    int32_t delta;
    uint32_t step;
};
static const struct fold_run folds[] = {
    { 0x41, 0x5A, 32, 1 },      { 0xC0, 0xD6, 32, 1 },      { 0xD8, 0xDE, 32, 1 },     { 0x100, 0x12E, 1, 2 },
    { 0x132, 0x136, 1, 2 },     { 0x139, 0x147, 1, 2 },     { 0x14A, 0x176, 1, 2 },    { 0x178, 0x178, -121, 1 },
    { 0x179, 0x17D, 1, 2 },     { 0x386, 0x386, 38, 1 },    { 0x388, 0x38A, 37, 1 },   { 0x38C, 0x38C, 64, 1 },
    { 0x38E, 0x38F, 63, 1 },    { 0x391, 0x3A1, 32, 1 },    { 0x3A3, 0x3AB, 32, 1 },   { 0x3C2, 0x3C2, 1, 1 },
    { 0x400, 0x40F, 80, 1 },    { 0x410, 0x42F, 32, 1 },    { 0x460, 0x480, 1, 2 },    { 0x48A, 0x4BE, 1, 2 },
    { 0x4C1, 0x4CD, 1, 2 },     { 0x4D0, 0x52E, 1, 2 },     { 0x531, 0x556, 48, 1 },   { 0x1E00, 0x1E94, 1, 2 },
    { 0x1E9E, 0x1E9E, -7615, 1 }, { 0x1EA0, 0x1EFE, 1, 2 },
};

static uint32_t fold(uint32_t cp)
{
    if (cp < 0x80)
        return ascii_lower((unsigned char)cp);
    for (size_t i = 0; i < sizeof folds / sizeof folds[0]; i++)
        if (cp >= folds[i].first && cp <= folds[i].last && (cp - folds[i].first) % folds[i].step == 0)
            return (uint32_t)((int32_t)cp + folds[i].delta);
    return cp;
}

void charset_fold(slice utf8, struct buf *out)
{
    while (utf8.len != 0) {
        uint32_t cp;

        if (utf8.ptr[0] < 0x80) {
            size_t plain = ascii_bytes(utf8);

            ascii_fold(utf8.ptr, buf_extend(out, plain), plain);
            utf8 = slice_from(utf8, plain);
        } else if (utf8_next(&utf8, &cp)) {
            utf8_put(out, fold(cp));
        } else {
            buf_put_byte(out, utf8.ptr[0]);
            utf8 = slice_from(utf8, 1);
        }
    }
}
