/* mime.c - one pass over the lines of a message with a stack of open multiparts.
 *
 * A line that begins with "--" is held against the boundaries of all open multiparts, innermost first; the one it
 * matches ends
 * everything inside. So every line is looked at once, whatever the nesting. */
#include "mail/mime.h"

#include "base/base64.h"
#include "mail/charset.h"
#include "mail/header.h"

#define BOUNDARY_MAX_OCTETS 200 /* RFC 2046 5.1.1 says 70 */
#define PARAMS_MAX 100

struct open_part {
    struct mime_part *part;
    slice boundary; /* empty: a message/rfc822, or a leaf */
    bool is_closed; /* its last delimiter was seen: an epilogue follows */
    uint64_t body_line; /* number of the first line of its body */
};

struct parser {
    slice message;
    struct arena *mem;
    struct mime_part *top;
    struct open_part open[MIME_DEPTH_MAX + 2];
    unsigned depth, parts;
    uint64_t at, line;
    uint64_t line_end_bytes; /* of the line before `at` */
};

/* --- Content-Type and its like -----------------------------------------------------------------------------------
 * */

static bool is_token(unsigned char c) /* RFC 2045 5.1 */
{
    return c > 0x20 && c != 0x7F && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

static void cfws_skip(slice *in)
{
    unsigned depth = 0;

    while (in->len != 0) {
        unsigned char c = in->ptr[0];

        if (depth != 0 && c == '\\' && in->len > 1)
            *in = slice_from(*in, 1);
        else if (c == '(')
            depth++;
        else if (depth != 0 && c == ')')
            depth--;
        else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n')
            return;
        *in = slice_from(*in, 1);
    }
}

static slice token(slice *in)
{
    slice t;

    cfws_skip(in);
    t = slice_sub(*in, 0, 0);
    t.ptr = in->ptr;
    while (t.len < in->len && is_token(in->ptr[t.len]))
        t.len++;
    *in = slice_from(*in, t.len);
    return t;
}

static slice quoted(slice *in, struct arena *mem)
{
    unsigned char *to = arena_octets(mem, in->len);
    size_t n = 0, i = 1;

    for (; i < in->len && in->ptr[i] != '"'; i++) {
        if (in->ptr[i] == '\\' && i + 1 < in->len)
            i++;
        if (in->ptr[i] != '\r' && in->ptr[i] != '\n')
            to[n++] = in->ptr[i];
    }
    *in = slice_from(*in, i + 1);
    return slice_of(to, n);
}

/* *( ";" attribute "=" value )        RFC 2045 5.1; what cannot be read is skipped up to the next ";" */
static struct mime_param *params_parse(slice in, struct arena *mem)
{
    struct mime_param *first = NULL, **tail = &first;

    for (unsigned n = 0; n < PARAMS_MAX && in.len != 0;) {
        slice name, value;

        cfws_skip(&in);
        if (in.len == 0)
            break;
        if (in.ptr[0] != ';') {
            in = slice_from(in, 1);
            continue;
        }
        in = slice_from(in, 1);
        name = token(&in);
        cfws_skip(&in);
        if (name.len == 0 || in.len == 0 || in.ptr[0] != '=')
            continue;
        in = slice_from(in, 1);
        cfws_skip(&in);
        if (in.len != 0 && in.ptr[0] == '"') {
            value = quoted(&in, mem);
        } else {
            value = slice_sub(in, 0, 0);
            value.ptr = in.ptr;
            while (value.len < in.len && in.ptr[value.len] != ';' && in.ptr[value.len] > 0x20)
                value.len++;
            in = slice_from(in, value.len);
        }
        *tail = arena_alloc(mem, sizeof **tail);
        (*tail)->name = name;
        (*tail)->value = value;
        tail = &(*tail)->next;
        n++;
    }
    return first;
}

static slice param_find(const struct mime_param *p, slice name)
{
    for (; p != NULL; p = p->next)
        if (slice_eq_nocase(p->name, name))
            return p->value;
    return SLICE_NONE;
}

static void content_type(struct mime_part *p, slice value, struct arena *mem)
{
    slice type = token(&value), subtype;

    if (type.len == 0 || value.len == 0 || value.ptr[0] != '/')
        return;
    value = slice_from(value, 1);
    subtype = token(&value);
    if (subtype.len == 0)
        return;
    p->type = type;
    p->subtype = subtype;
    p->params = params_parse(value, mem);
}

static void disposition(struct mime_part *p, slice value, struct arena *mem)
{
    p->disposition = token(&value);
    if (p->disposition.len != 0)
        p->disposition_params = params_parse(value, mem);
}

static void header_read(struct parser *ps, struct mime_part *p, slice block)
{
    struct header_field f;
    bool has_type = false;

    while (header_next(&block, &f)) {
        slice value;

        if (!slice_starts_nocase(f.name, SLICE("content-")))
            continue;
        value = header_unfold(ps->mem, f.value);
        if (slice_eq_nocase(f.name, SLICE("content-type")) && !has_type) {
            has_type = true;
            content_type(p, value, ps->mem);
        } else if (slice_eq_nocase(f.name, SLICE("content-transfer-encoding")) && p->encoding.len == 0) {
            p->encoding = token(&value);
        } else if (slice_eq_nocase(f.name, SLICE("content-id")) && p->id.len == 0) {
            p->id = value;
        } else if (slice_eq_nocase(f.name, SLICE("content-description")) && p->description.len == 0) {
            p->description = value;
        } else if (slice_eq_nocase(f.name, SLICE("content-md5")) && p->md5.len == 0) {
            p->md5 = value;
        } else if (slice_eq_nocase(f.name, SLICE("content-language")) && p->language.len == 0) {
            p->language = value;
        } else if (slice_eq_nocase(f.name, SLICE("content-location")) && p->location.len == 0) {
            p->location = value;
        } else if (slice_eq_nocase(f.name, SLICE("content-disposition")) && p->disposition.len == 0) {
            disposition(p, value, ps->mem);
        }
    }
}

/* --- entities ----------------------------------------------------------------------------------------------------
 * */

static bool is_identity(slice encoding)
{
    return encoding.len == 0 || slice_eq_nocase(encoding, SLICE("7bit")) || slice_eq_nocase(encoding, SLICE("8bit")) ||
           slice_eq_nocase(encoding, SLICE("binary"));
}

static uint64_t lines_in(slice s)
{
    uint64_t n = 0;
    ssize_t lf;

    while ((lf = slice_find_byte(s, '\n')) >= 0) {
        n++;
        s = slice_from(s, (size_t)lf + 1);
    }
    return n;
}

/* Does the line at `at` end what encloses us? Header blocks of broken messages may run into a delimiter. */
static slice header_of(struct parser *ps)
{
    slice rest = slice_from(ps->message, ps->at), block;

    block = slice_sub(rest, 0, header_block_bytes(rest));
    for (slice look = block; ps->depth != 0;) {
        ssize_t at = slice_find(look, SLICE("--"));
        size_t from;

        if (at < 0)
            break;
        from = (size_t)(look.ptr - block.ptr) + (size_t)at;
        for (unsigned i = 0; i < ps->depth; i++)
            if (ps->open[i].boundary.len != 0 && (from == 0 || block.ptr[from - 1] == '\n') &&
                slice_starts(slice_from(block, from + 2), ps->open[i].boundary))
                return slice_sub(block, 0, from);
        look = slice_from(block, from + 2);
    }
    return block;
}

static struct mime_part *part_new(struct parser *ps)
{
    struct mime_part *p = arena_alloc(ps->mem, sizeof *p);

    p->at = ps->at;
    p->type = SLICE("text");
    p->subtype = SLICE("plain");
    ps->parts++;
    if (ps->top == NULL) {
        ps->top = p;
    } else {
        struct mime_part *parent = ps->open[ps->depth - 1].part, **tail = &parent->first_child;

        p->parent = parent;
        if (parent->is_multipart && slice_eq_nocase(parent->subtype, SLICE("digest"))) {
            p->type = SLICE("message"); /* RFC 2046 5.1.5 */
            p->subtype = SLICE("rfc822");
        }
        if (parent->last_child != NULL)
            tail = &parent->last_child->next;
        *tail = p;
        parent->last_child = p;
        parent->child_count++;
    }
    return p;
}

/* The entity that begins at ps->at: its header, and for a message the inner one's, too. */
static void entity_begin(struct parser *ps)
{
    for (;;) {
        struct mime_part *p = part_new(ps);
        slice block = header_of(ps), boundary = SLICE_NONE;
        bool may_nest;

        header_read(ps, p, block);
        p->header_bytes = block.len;
        ps->at += block.len;
        ps->line += lines_in(block);
        may_nest = ps->depth < MIME_DEPTH_MAX && ps->parts < MIME_PARTS_MAX;
        if (may_nest && slice_eq_nocase(p->type, SLICE("multipart"))) {
            boundary = slice_sub(param_find(p->params, SLICE("boundary")), 0, BOUNDARY_MAX_OCTETS);
            p->is_multipart = boundary.len != 0;
        } else if (may_nest && slice_eq_nocase(p->type, SLICE("message")) && is_identity(p->encoding) &&
                   (slice_eq_nocase(p->subtype, SLICE("rfc822")) || slice_eq_nocase(p->subtype, SLICE("global")))) {
            p->is_message = true;
        }
        ps->open[ps->depth++] = (struct open_part){ p, boundary, false, ps->line };
        ps->line_end_bytes = 0;
        if (!p->is_message)
            return;
    }
}

/* Parts above `level` end before the line end in front of ps->at. */
static void parts_end(struct parser *ps, unsigned level, bool at_delimiter)
{
    uint64_t end = ps->at, line = ps->line;

    if (at_delimiter && ps->line_end_bytes != 0) {
        end -= ps->line_end_bytes;
        line--;
    }
    while (ps->depth > level) {
        struct open_part *o = &ps->open[--ps->depth];
        uint64_t body_at = o->part->at + o->part->header_bytes;

        if (end < body_at) { /* an empty body: the line end in front is the header's */
            o->part->body_bytes = 0;
            continue;
        }
        o->part->body_bytes = end - body_at;
        o->part->body_lines = line > o->body_line ? line - o->body_line : 0;
    }
}

/* delimiter := "--" boundary; close-delimiter := delimiter "--"        RFC 2046 5.1.1 */
static bool delimiter(struct parser *ps, slice line)
{
    slice text = slice_from(line, 2);

    for (unsigned i = ps->depth; i-- > 0;) {
        struct open_part *o = &ps->open[i];
        slice rest;
        bool is_last;

        if (o->boundary.len == 0 || o->is_closed || !slice_starts(text, o->boundary))
            continue;
        rest = slice_from(text, o->boundary.len);
        is_last = slice_starts(rest, SLICE("--"));
        if (!is_last && slice_trim(rest).len != 0)
            continue; /* a longer boundary that begins like ours */
        parts_end(ps, i + 1, true);
        ps->at += line.len;
        ps->line += line.ptr[line.len - 1] == '\n';
        ps->line_end_bytes = 0;
        if (is_last) {
            o->is_closed = true;
            ps->line_end_bytes = line.ptr[line.len - 1] != '\n'                   ? 0
                                 : line.len > 1 && line.ptr[line.len - 2] == '\r' ? 2
                                                                                  : 1;
        } else if (ps->parts < MIME_PARTS_MAX) {
            entity_begin(ps);
        }
        return true;
    }
    return false;
}

struct mime_part *mime_parse(slice message, struct arena *mem)
{
    struct parser ps = { .message = message, .mem = mem };

    entity_begin(&ps);
    while (ps.at < message.len) {
        slice rest = slice_from(message, ps.at);
        ssize_t lf = slice_find_byte(rest, '\n');
        slice line = lf < 0 ? rest : slice_sub(rest, 0, (size_t)lf + 1);

        if (line.len > 2 && line.ptr[0] == '-' && line.ptr[1] == '-' && delimiter(&ps, line))
            continue;
        ps.at += line.len;
        ps.line += lf >= 0;
        ps.line_end_bytes = lf < 0 ? 0 : lf > 0 && line.ptr[lf - 1] == '\r' ? 2 : 1;
    }
    parts_end(&ps, 0, false);
    return ps.top;
}

/* --- finding -----------------------------------------------------------------------------------------------------
 * */

struct mime_part *mime_find(struct mime_part *top, const uint32_t *path, unsigned depth)
{
    struct mime_part *p = top;

    for (unsigned i = 0; i < depth; i++) {
        struct mime_part *holder = p; /* whose parts are counted */
        uint32_t n = path[i];

        if (i != 0 && p->is_message && p->first_child != NULL)
            holder = p->first_child;
        else if (i != 0 && !p->is_multipart)
            return NULL;
        if (holder->is_multipart) {
            p = n == 0 ? NULL : holder->first_child;
            while (p != NULL && --n > 0)
                p = p->next;
            if (p == NULL)
                return NULL;
        } else if (n == 1) {
            p = holder; /* what is no multipart has one part, number 1: RFC 9051 6.4.5.1 */
        } else {
            return NULL;
        }
    }
    return p;
}

/* --- decoding ----------------------------------------------------------------------------------------------------
 * */

static int hex_digit(unsigned char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void qp_decode(slice in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        unsigned char c = in.ptr[i];
        size_t k = i + 1;

        if (c != '=') {
            buf_put_byte(out, c);
            continue;
        }
        while (k < in.len && (in.ptr[k] == ' ' || in.ptr[k] == '\t'))
            k++;
        if (k < in.len && in.ptr[k] == '\r')
            k++;
        if (k < in.len && in.ptr[k] == '\n') {
            i = k; /* soft line break */
        } else if (i + 2 < in.len && hex_digit(in.ptr[i + 1]) >= 0 && hex_digit(in.ptr[i + 2]) >= 0) {
            buf_put_byte(out, (unsigned char)(hex_digit(in.ptr[i + 1]) * 16 + hex_digit(in.ptr[i + 2])));
            i += 2;
        } else {
            buf_put_byte(out, c);
        }
    }
}

void mime_decode_octets(slice message, const struct mime_part *p, struct buf *out)
{
    slice body = slice_sub(message, (size_t)(p->at + p->header_bytes), (size_t)p->body_bytes);

    if (slice_eq_nocase(p->encoding, SLICE("base64")))
        base64_decode_lenient(out, body);
    else if (slice_eq_nocase(p->encoding, SLICE("quoted-printable")))
        qp_decode(body, out);
    else
        buf_put_slice(out, body);
}

bool mime_decode_text(slice message, const struct mime_part *p, struct buf *out)
{
    struct buf octets = BUF_INIT;
    bool known;

    mime_decode_octets(message, p, &octets);
    known = charset_to_utf8(param_find(p->params, SLICE("charset")), buf_slice(&octets), out);
    if (!known)
        buf_put_slice(out, buf_slice(&octets));
    buf_free(&octets);
    return known;
}
