#include "mail/address.h"

#include "base/utf8.h"

#define LIST_DEPTH_MAX 32 /* of comments */

static bool is_atext(unsigned char c) /* RFC 5322 3.2.3, and UTF-8 (RFC 6532 3.2) */
{
    return ascii_is_alnum(c) || c >= 0x80 || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Dot-string        RFC 5321 4.1.2 */
static bool is_dot_string(slice s)
{
    bool dot = true;

    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '.') {
            if (dot)
                return false;
            dot = true;
        } else if (is_atext(s.ptr[i])) {
            dot = false;
        } else {
            return false;
        }
    }
    return !dot;
}

/* sub-domain = Let-dig [Ldh-str]        RFC 5321 4.1.2; U-labels only with utf8 */
static bool label_valid(slice s, bool utf8)
{
    if (s.len == 0 || s.len > 63 || s.ptr[0] == '-' || s.ptr[s.len - 1] == '-')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alnum(s.ptr[i]) && s.ptr[i] != '-' && s.ptr[i] != '_' && !(utf8 && s.ptr[i] >= 0x80))
            return false;
    return true;
}

bool address_domain_valid(slice domain, bool utf8)
{
    bool found = true;

    if (domain.len == 0 || domain.len > ADDRESS_DOMAIN_MAX_OCTETS)
        return false;
    if (domain.ptr[0] == '[') {
        if (domain.len < 3 || domain.ptr[domain.len - 1] != ']')
            return false;
        for (size_t i = 1; i + 1 < domain.len; i++)
            if (domain.ptr[i] <= 0x20 || domain.ptr[i] > 0x7E || strchr("[]\\", domain.ptr[i]) != NULL)
                return false;
        return true;
    }
    if (utf8 && !utf8_valid(domain))
        return false;
    while (found)
        if (!label_valid(slice_cut(&domain, '.', &found), utf8))
            return false;
    return true;
}

/* Quoted-string off *in, unquoted into mem. */
static bool quoted_string(slice *in, struct arena *mem, slice *out)
{
    unsigned char *to = arena_octets(mem, in->len);
    size_t n = 0;

    for (size_t i = 1; i < in->len; i++) {
        unsigned char c = in->ptr[i];

        if (c == '"') {
            *out = slice_of(to, n);
            *in = slice_from(*in, i + 1);
            return true;
        }
        if (c == '\\' && ++i == in->len)
            return false;
        c = in->ptr[i];
        if (c < 0x20 || c == 0x7F)
            return false;
        to[n++] = c;
    }
    return false;
}

int address_parse(slice text, struct address *out, struct arena *mem, struct err *err)
{
    bool utf8 = !utf8_is_ascii(text);

    *out = (struct address){ SLICE_NONE, SLICE_NONE };
    if (utf8 && !utf8_valid(text))
        return err_set(err, ERR_SYNTAX, "an address is not UTF-8");
    if (text.len != 0 && text.ptr[0] == '"') {
        if (!quoted_string(&text, mem, &out->local))
            return err_set(err, ERR_SYNTAX, "the quoted local part does not end");
        if (text.len == 0 || text.ptr[0] != '@')
            return err_set(err, ERR_SYNTAX, "\"@\" expected behind the local part");
        text = slice_from(text, 1);
    } else {
        ssize_t at = slice_rfind_byte(text, '@');

        if (at < 0)
            return err_set(err, ERR_SYNTAX, "no \"@\" in the address");
        out->local = slice_sub(text, 0, (size_t)at);
        if (!is_dot_string(out->local))
            return err_set(err, ERR_SYNTAX, "local part with characters that must be quoted");
        text = slice_from(text, (size_t)at + 1);
    }
    if (out->local.len > ADDRESS_LOCAL_MAX_OCTETS)
        return err_set(err, ERR_SYNTAX, "local part of more than %d octets", ADDRESS_LOCAL_MAX_OCTETS);
    if (text.len > 1 && text.ptr[text.len - 1] == '.')
        text.len--;
    if (!address_domain_valid(text, utf8))
        return err_set(err, ERR_SYNTAX, "not a valid domain");
    out->domain = text;
    return 0;
}

void address_print(const struct address *a, struct buf *out)
{
    if (is_dot_string(a->local)) {
        buf_put_slice(out, a->local);
    } else {
        buf_put_byte(out, '"');
        for (size_t i = 0; i < a->local.len; i++) {
            if (a->local.ptr[i] == '"' || a->local.ptr[i] == '\\')
                buf_put_byte(out, '\\');
            buf_put_byte(out, a->local.ptr[i]);
        }
        buf_put_byte(out, '"');
    }
    if (a->domain.len != 0) {
        buf_put_byte(out, '@');
        buf_put_slice(out, a->domain);
    }
}

bool address_eq(const struct address *a, const struct address *b)
{
    return slice_eq(a->local, b->local) && slice_eq_nocase(a->domain, b->domain);
}

/* --- lists in headers -------------------------------------------------------------------------------------------- */

/* Words are collected as they come; what they mean shows at "<", ":", "," or ";". */
struct list_parser {
    slice in;
    struct arena *mem;
    struct mailbox_entry **tail;
    unsigned left;
    struct buf phrase; /* words, joined by one blank */
    struct buf comment; /* last comment: an old form of the display name */
    bool in_group;
};

static bool is_space(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void comment_read(struct list_parser *p)
{
    unsigned depth = 0;

    buf_reset(&p->comment);
    for (; p->in.len != 0; p->in = slice_from(p->in, 1)) {
        unsigned char c = p->in.ptr[0];

        if (c == '(' && depth++ == 0)
            continue;
        if (c == ')' && --depth == 0) {
            p->in = slice_from(p->in, 1);
            return;
        }
        if (depth > LIST_DEPTH_MAX)
            depth = LIST_DEPTH_MAX;
        if (c == '\\' && p->in.len > 1) {
            p->in = slice_from(p->in, 1);
            c = p->in.ptr[0];
        }
        if (c != '\r' && c != '\n')
            buf_put_byte(&p->comment, c);
    }
}

static void cfws_skip(struct list_parser *p)
{
    while (p->in.len != 0) {
        if (p->in.ptr[0] == '(')
            comment_read(p);
        else if (is_space(p->in.ptr[0]))
            p->in = slice_from(p->in, 1);
        else
            return;
    }
}

/* A quoted string's content, or an atom; appended to out. False: something else stands here. */
static bool word_read(struct list_parser *p, struct buf *out)
{
    bool any = false;

    if (p->in.len != 0 && p->in.ptr[0] == '"') {
        size_t i = 1;

        for (; i < p->in.len && p->in.ptr[i] != '"'; i++) {
            if (p->in.ptr[i] == '\\' && i + 1 < p->in.len)
                i++;
            if (p->in.ptr[i] != '\r' && p->in.ptr[i] != '\n')
                buf_put_byte(out, p->in.ptr[i]);
        }
        p->in = slice_from(p->in, i + 1);
        return true;
    }
    while (p->in.len != 0) {
        unsigned char c = p->in.ptr[0];

        if (is_space(c) || strchr("()<>@,;:\"", c) != NULL)
            break;
        buf_put_byte(out, c);
        p->in = slice_from(p->in, 1);
        any = true;
    }
    return any;
}

static void entry_add(struct list_parser *p, slice name, slice route, slice local, slice domain, int group)
{
    struct mailbox_entry *e;

    if (p->left == 0)
        return;
    p->left--;
    e = arena_alloc(p->mem, sizeof *e);
    e->name = slice_dup(p->mem, name);
    e->route = slice_dup(p->mem, route);
    e->local = slice_dup(p->mem, local);
    e->domain = slice_dup(p->mem, domain);
    e->is_group_begin = group == 1;
    e->is_group_end = group == 2;
    *p->tail = e;
    p->tail = &e->next;
}

static void domain_read(struct list_parser *p, struct buf *out)
{
    cfws_skip(p);
    if (p->in.len != 0 && p->in.ptr[0] == '[') {
        while (p->in.len != 0) {
            unsigned char c = p->in.ptr[0];

            p->in = slice_from(p->in, 1);
            if (!is_space(c))
                buf_put_byte(out, c);
            if (c == ']')
                return;
        }
        return;
    }
    for (;;) { /* obs-domain: blanks around the dots */
        slice before = p->in;

        if (!word_read(p, out))
            break;
        cfws_skip(p);
        if (p->in.len == 0 || slice_eq(before, p->in) ||
            (out->len != 0 && out->ptr[out->len - 1] != '.' && p->in.ptr[0] != '.'))
            break;
    }
}

/* angle-addr = "<" [obs-route] addr-spec ">" */
static void angle_read(struct list_parser *p)
{
    struct buf route = BUF_INIT, local = BUF_INIT, domain = BUF_INIT;

    p->in = slice_from(p->in, 1);
    cfws_skip(p);
    if (p->in.len != 0 && p->in.ptr[0] == '@') {
        while (p->in.len != 0 && p->in.ptr[0] != ':' && p->in.ptr[0] != '>') {
            if (!is_space(p->in.ptr[0]))
                buf_put_byte(&route, p->in.ptr[0]);
            p->in = slice_from(p->in, 1);
        }
        if (p->in.len != 0 && p->in.ptr[0] == ':')
            p->in = slice_from(p->in, 1);
    }
    for (cfws_skip(p); word_read(p, &local); cfws_skip(p))
        ;
    if (p->in.len != 0 && p->in.ptr[0] == '@') {
        p->in = slice_from(p->in, 1);
        domain_read(p, &domain);
    }
    while (p->in.len != 0 && p->in.ptr[0] != '>' && p->in.ptr[0] != ',')
        p->in = slice_from(p->in, 1);
    if (p->in.len != 0 && p->in.ptr[0] == '>')
        p->in = slice_from(p->in, 1);
    if (local.len != 0 || domain.len != 0)
        entry_add(p, buf_slice(&p->phrase), buf_slice(&route), buf_slice(&local), buf_slice(&domain), 0);
    buf_reset(&p->phrase);
    buf_free(&route);
    buf_free(&local);
    buf_free(&domain);
}

/* addr-spec without angle brackets: the words so far are the local part. */
static void bare_read(struct list_parser *p)
{
    struct buf domain = BUF_INIT, local = BUF_INIT;

    for (size_t i = 0; i < p->phrase.len; i++)
        if (p->phrase.ptr[i] != ' ')
            buf_put_byte(&local, p->phrase.ptr[i]);
    p->in = slice_from(p->in, 1);
    buf_reset(&p->comment);
    domain_read(p, &domain);
    cfws_skip(p);
    entry_add(p, buf_slice(&p->comment), SLICE_NONE, buf_slice(&local), buf_slice(&domain), 0);
    buf_reset(&p->phrase);
    buf_free(&local);
    buf_free(&domain);
}

static void item_end(struct list_parser *p)
{
    if (p->phrase.len != 0) /* a name without a host: local mail of old */
        entry_add(p, SLICE_NONE, SLICE_NONE, buf_slice(&p->phrase), SLICE_NONE, 0);
    buf_reset(&p->phrase);
}

static void item_read(struct list_parser *p)
{
    unsigned char c = p->in.ptr[0];

    switch (c) {
    case '<':
        angle_read(p);
        return;
    case '@':
        bare_read(p);
        return;
    case ':':
        if (!p->in_group)
            entry_add(p, buf_slice(&p->phrase), SLICE_NONE, SLICE_NONE, SLICE_NONE, 1);
        p->in_group = true;
        buf_reset(&p->phrase);
        break;
    case ';':
        item_end(p);
        if (p->in_group)
            entry_add(p, SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE, 2);
        p->in_group = false;
        break;
    case ',':
        item_end(p);
        break;
    case '>':
    case ')':
        break;
    default: {
        size_t before = p->phrase.len;

        if (before != 0)
            buf_put_byte(&p->phrase, ' ');
        if (word_read(p, &p->phrase))
            return;
        p->phrase.len = before;
    }
    }
    p->in = slice_from(p->in, 1);
}

struct mailbox_entry *address_list_parse(slice value, unsigned max, struct arena *mem)
{
    struct mailbox_entry *first = NULL;
    struct list_parser p = { .in = value, .mem = mem, .tail = &first, .left = max };

    for (cfws_skip(&p); p.in.len != 0; cfws_skip(&p))
        item_read(&p);
    item_end(&p);
    if (p.in_group) {
        p.left += p.left == 0; /* a group that was begun is always ended */
        entry_add(&p, SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE, 2);
    }
    buf_free(&p.phrase);
    buf_free(&p.comment);
    return first;
}
