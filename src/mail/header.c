#include "mail/header.h"

#include "base/base64.h"
#include "mail/charset.h"
#include "mail/mime.h"

#define ENCODED_WORD_MAX_OCTETS 1024 /* RFC 2047 says 75; longer ones exist, unbounded ones need not be read */

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t';
}

/* The next line of s with its line end. */
static slice line_of(slice s)
{
    ssize_t lf = slice_find_byte(s, '\n');

    return lf < 0 ? s : slice_sub(s, 0, (size_t)lf + 1);
}

static size_t line_end_bytes(slice line)
{
    if (line.len == 0 || line.ptr[line.len - 1] != '\n')
        return 0;
    return line.len > 1 && line.ptr[line.len - 2] == '\r' ? 2 : 1;
}

/* optional-field = field-name ":" unstructured CRLF        RFC 5322 3.6.8 */
bool header_next(slice *rest, struct header_field *f)
{
    slice line = line_of(*rest), all = line;
    ssize_t colon;

    if (rest->len == 0)
        return false;
    if (line.len == line_end_bytes(line)) {
        *rest = slice_from(*rest, line.len);
        return false;
    }
    for (;;) {
        slice next = slice_from(*rest, all.len);

        if (next.len == 0 || !is_blank(next.ptr[0]))
            break;
        all.len += line_of(next).len;
    }
    *rest = slice_from(*rest, all.len);
    f->raw = all;
    f->name = f->value = SLICE_NONE;
    colon = slice_find_byte(line, ':');
    if (colon <= 0 || is_blank(line.ptr[0]))
        return true;
    f->name = slice_sub(line, 0, (size_t)colon);
    while (f->name.len != 0 && is_blank(f->name.ptr[f->name.len - 1]))
        f->name.len--;
    f->value = slice_from(all, (size_t)colon + 1);
    f->value.len -= line_end_bytes(f->value);
    while (f->value.len != 0 && is_blank(f->value.ptr[0]))
        f->value = slice_from(f->value, 1);
    return true;
}

size_t header_block_bytes(slice message)
{
    slice rest = message;

    while (rest.len != 0) {
        slice line = line_of(rest);

        rest = slice_from(rest, line.len);
        if (line.len == line_end_bytes(line))
            break;
    }
    return message.len - rest.len;
}

bool header_find(slice block, slice name, slice *value)
{
    struct header_field f;

    while (header_next(&block, &f)) {
        if (slice_eq_nocase(f.name, name)) {
            *value = f.value;
            return true;
        }
    }
    return false;
}

unsigned header_count(slice block, slice name)
{
    struct header_field f;
    unsigned n = 0;

    while (header_next(&block, &f))
        n += slice_eq_nocase(f.name, name);
    return n;
}

slice header_unfold(struct arena *mem, slice value)
{
    unsigned char *out;
    size_t n = 0;

    value = slice_trim(value);
    if (slice_find_byte(value, '\n') < 0 && slice_find_byte(value, '\r') < 0)
        return value;
    out = arena_octets(mem, value.len);
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] != '\r' && value.ptr[i] != '\n')
            out[n++] = value.ptr[i];
    return slice_of(out, n);
}

/* --- RFC 2047 ---------------------------------------------------------------------------------------------------- */

static int hex_digit(unsigned char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The "Q" encoding        RFC 2047 4.2 */
static void q_decode(slice in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = in.ptr[i];

        if (c == '_') {
            buf_put_byte(out, ' ');
        } else if (c == '=' && i + 2 < in.len && hex_digit(in.ptr[i + 1]) >= 0 && hex_digit(in.ptr[i + 2]) >= 0) {
            buf_put_byte(out, (unsigned char)(hex_digit(in.ptr[i + 1]) * 16 + hex_digit(in.ptr[i + 2])));
            i += 2;
        } else {
            buf_put_byte(out, c);
        }
    }
}

/* encoded-word = "=?" charset "?" encoding "?" encoded-text "?="        RFC 2047 2
 * At the start of `in`. Returns its length, 0 if there is none that can be decoded. */
static size_t encoded_word(slice in, struct buf *out)
{
    struct buf octets = BUF_INIT;
    slice rest, charset, encoding, text;
    ssize_t end;
    bool found, ok = false;

    if (!slice_starts(in, SLICE("=?")))
        return 0;
    rest = slice_sub(in, 2, ENCODED_WORD_MAX_OCTETS);
    charset = slice_cut(&rest, '?', &found);
    if (!found || charset.len == 0)
        return 0;
    encoding = slice_cut(&rest, '?', &found);
    end = slice_find(rest, SLICE("?="));
    if (!found || encoding.len != 1 || end < 0)
        return 0;
    text = slice_sub(rest, 0, (size_t)end);
    if (slice_find_byte(text, ' ') >= 0 || slice_find_byte(text, '?') >= 0)
        return 0;
    charset = slice_cut(&charset, '*', NULL); /* RFC 2231 5: language behind it */
    if (ascii_lower(encoding.ptr[0]) == 'q') {
        q_decode(text, &octets);
        ok = charset_to_utf8(charset, buf_slice(&octets), out);
    } else if (ascii_lower(encoding.ptr[0]) == 'b') {
        base64_decode_lenient(&octets, text);
        ok = charset_to_utf8(charset, buf_slice(&octets), out);
    }
    buf_free(&octets);
    return ok ? (size_t)(text.ptr + text.len + 2 - in.ptr) : 0;
}

slice header_decode(struct arena *mem, slice value)
{
    struct buf out = BUF_INIT;
    slice result;
    size_t blanks_at = 0; /* where blanks that follow an encoded word begin in out */
    bool after_word = false;

    if (slice_find(value, SLICE("=?")) < 0)
        return value;
    for (size_t i = 0; i < value.len;) {
        size_t before = out.len, n = 0;

        if (value.ptr[i] == '=') {
            struct buf word = BUF_INIT;

            n = encoded_word(slice_from(value, i), &word);
            if (n != 0) {
                if (after_word)
                    out.len = blanks_at; /* blanks between two encoded words are not shown: RFC 2047 6.2 */
                buf_put_slice(&out, buf_slice(&word));
                after_word = true;
                blanks_at = out.len;
                i += n;
            }
            buf_free(&word);
        }
        if (n == 0) {
            if (!is_blank(value.ptr[i]))
                after_word = false;
            else if (!after_word)
                blanks_at = before;
            buf_put_byte(&out, value.ptr[i++]);
        }
    }
    result = slice_dup(mem, buf_slice(&out));
    buf_free(&out);
    return result;
}
