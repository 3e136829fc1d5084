/* syntax.c - words of the IMAP grammar: atoms, strings, numbers, dates, names, flags. */
#include "imap/syntax.h"

#include "base/utf8.h"
#include "mail/date.h"

void imap_in_init(struct imap_in *in, slice command, struct arena *mem)
{
    *in = (struct imap_in){ .rest = command, .begin = command.ptr, .mem = mem };
}

size_t imap_in_at(const struct imap_in *in)
{
    return in->rest.ptr == NULL ? 1 : (size_t)(in->rest.ptr - in->begin) + 1;
}

bool imap_in_fail(struct imap_in *in, const char *want)
{
    if (in->want == NULL)
        in->want = want;
    return false;
}

static void advance(struct imap_in *in, size_t octets)
{
    in->rest.ptr += octets;
    in->rest.len -= octets;
}

bool imap_sp(struct imap_in *in)
{
    return imap_char(in, ' ') || imap_in_fail(in, "a space");
}

bool imap_end(struct imap_in *in)
{
    return in->want == NULL && (in->rest.len == 0 || imap_in_fail(in, "the end of the command"));
}

bool imap_peek(const struct imap_in *in, unsigned char c)
{
    return in->want == NULL && in->rest.len > 0 && in->rest.ptr[0] == c;
}

bool imap_skip(struct imap_in *in, unsigned char c)
{
    if (!imap_peek(in, c))
        return false;
    advance(in, 1);
    return true;
}

bool imap_char(struct imap_in *in, unsigned char c)
{
    static const struct {
        unsigned char c;
        const char *want;
    } names[] = { { ' ', "a space" }, { '(', "\"(\"" }, { ')', "\")\"" }, { '[', "\"[\"" },
                  { ']', "\"]\"" },   { '<', "\"<\"" }, { '>', "\">\"" }, { '.', "\".\"" } };

    if (imap_skip(in, c))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].c == c)
            return imap_in_fail(in, names[i].want);
    return imap_in_fail(in, "another character");
}

/* ATOM-CHAR = <any CHAR except atom-specials>; atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards /
 * quoted-specials / resp-specials        RFC 3501 9 */
static bool is_atom_char(unsigned char c)
{
    return c > 0x20 && c < 0x7F && c != '(' && c != ')' && c != '{' && c != '%' && c != '*' && c != '"' && c != '\\' &&
           c != ']';
}

/* ASTRING-CHAR = ATOM-CHAR / resp-specials        RFC 3501 9 */
static bool is_astring_char(unsigned char c)
{
    return is_atom_char(c) || c == ']';
}

/* list-char = ATOM-CHAR / list-wildcards / resp-specials        RFC 3501 9 */
static bool is_list_char(unsigned char c)
{
    return is_astring_char(c) || c == '%' || c == '*';
}

static bool is_tag_char(unsigned char c) /* RFC 3501 9: any ASTRING-CHAR except "+" */
{
    return is_astring_char(c) && c != '+';
}

static bool take(struct imap_in *in, bool (*is_char)(unsigned char), slice *out, const char *want)
{
    size_t n = 0;

    if (in->want != NULL)
        return false;
    while (n < in->rest.len && is_char(in->rest.ptr[n]))
        n++;
    if (n == 0)
        return imap_in_fail(in, want);
    *out = slice_sub(in->rest, 0, n);
    advance(in, n);
    return true;
}

bool imap_tag(struct imap_in *in, slice *out)
{
    slice rest = in->rest;

    if (!take(in, is_tag_char, out, "a tag"))
        return false;
    if (out->len <= IMAP_TAG_MAX_OCTETS)
        return true;
    in->rest = rest;
    return imap_in_fail(in, "a shorter tag");
}

bool imap_atom(struct imap_in *in, slice *out)
{
    return take(in, is_atom_char, out, "an atom");
}

bool imap_word(struct imap_in *in, const char *word)
{
    slice w = slice_str(word);

    if (in->want != NULL || !slice_starts_nocase(in->rest, w))
        return false;
    if (in->rest.len > w.len && is_atom_char(in->rest.ptr[w.len]) && in->rest.ptr[w.len] != '[')
        return false;
    advance(in, w.len);
    return true;
}

/* quoted = DQUOTE *QUOTED-CHAR DQUOTE        RFC 3501 9
 * Octets above 0x7F are let through: names and search strings of many clients hold them. */
static bool quoted(struct imap_in *in, slice *out)
{
    slice s = slice_from(in->rest, 1);
    unsigned char *copy = NULL;
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = s.ptr[i];

        if (c == '"') {
            *out = copy == NULL ? slice_sub(s, 0, i) : slice_of(copy, n);
            advance(in, i + 2);
            return true;
        }
        if (c == '\\') {
            if (copy == NULL) {
                copy = arena_octets(in->mem, s.len);
                memcpy(copy, s.ptr, i);
                n = i;
            }
            i++;
            if (i == s.len || (s.ptr[i] != '"' && s.ptr[i] != '\\')) {
                advance(in, i + 1);
                return imap_in_fail(in, "a quote or a backslash behind the backslash");
            }
            c = s.ptr[i];
        } else if (c == '\r' || c == '\n' || c == '\0') {
            advance(in, i + 1);
            return imap_in_fail(in, "a closing quote");
        }
        if (copy != NULL)
            copy[n++] = c;
    }
    advance(in, in->rest.len);
    return imap_in_fail(in, "a closing quote");
}

/* literal = "{" number64 ["+"] "}" CRLF *CHAR8        RFC 9051 9, RFC 7888 */
static bool literal(struct imap_in *in, slice *out)
{
    ssize_t close = slice_find_byte(in->rest, '}');
    struct imap_literal l;

    if (close < 0 || !imap_literal_at_end(slice_sub(in->rest, 0, (size_t)close + 1), &l))
        return imap_in_fail(in, "a literal");
    if (!slice_starts(slice_from(in->rest, (size_t)close + 1), SLICE("\r\n")) ||
        l.octets > in->rest.len - (size_t)close - 3)
        return imap_in_fail(in, "the octets of the literal");
    *out = slice_sub(in->rest, (size_t)close + 3, (size_t)l.octets);
    if (slice_find_byte(*out, '\0') >= 0)
        return imap_in_fail(in, "a literal without NUL");
    advance(in, (size_t)close + 3 + (size_t)l.octets);
    return true;
}

bool imap_literal_at_end(slice line, struct imap_literal *out)
{
    ssize_t open = slice_rfind_byte(line, '{');
    slice digits;

    if (open < 0 || line.ptr[line.len - 1] != '}')
        return false;
    digits = slice_sub(line, (size_t)open + 1, line.len - (size_t)open - 2);
    out->waits = !slice_ends(digits, SLICE("+"));
    if (!out->waits)
        digits.len--;
    return slice_u64(digits, &out->octets) && out->octets <= INT64_MAX;
}

bool imap_string(struct imap_in *in, slice *out)
{
    if (imap_peek(in, '"'))
        return quoted(in, out);
    if (imap_peek(in, '{'))
        return literal(in, out);
    return imap_in_fail(in, "a string");
}

bool imap_astring(struct imap_in *in, slice *out)
{
    if (imap_peek(in, '"') || imap_peek(in, '{'))
        return imap_string(in, out);
    return take(in, is_astring_char, out, "an atom or a string");
}

bool imap_nstring(struct imap_in *in, slice *out, bool *is_nil)
{
    *is_nil = imap_word(in, "NIL");
    if (*is_nil)
        *out = SLICE_NONE;
    return *is_nil || imap_string(in, out);
}

bool imap_number64(struct imap_in *in, uint64_t *out)
{
    size_t n = 0;

    if (in->want != NULL)
        return false;
    while (n < in->rest.len && ascii_is_digit(in->rest.ptr[n]))
        n++;
    if (n == 0 || !slice_u64(slice_sub(in->rest, 0, n), out) || *out > INT64_MAX)
        return imap_in_fail(in, n == 0 ? "a number" : "a smaller number");
    advance(in, n);
    return true;
}

bool imap_number(struct imap_in *in, uint32_t *out)
{
    slice rest = in->rest;
    uint64_t n;

    if (!imap_number64(in, &n))
        return false;
    if (n > UINT32_MAX) {
        in->rest = rest;
        return imap_in_fail(in, "a number of 32 bits");
    }
    *out = (uint32_t)n;
    return true;
}

/* date = date-text / DQUOTE date-text DQUOTE        RFC 3501 9 */
bool imap_date(struct imap_in *in, int64_t *day)
{
    slice rest = in->rest, text;
    bool ok = imap_peek(in, '"') ? imap_string(in, &text) : imap_atom(in, &text);

    if (ok && date_parse_imap_day(text, day))
        return true;
    in->rest = rest;
    in->want = NULL;
    return imap_in_fail(in, "a date like 1-Feb-1994");
}

bool imap_date_time(struct imap_in *in, int64_t *ms)
{
    slice rest = in->rest, text;
    int zone;

    if (imap_peek(in, '"') && imap_string(in, &text) && date_parse_imap(text, ms, &zone))
        return true;
    in->rest = rest;
    in->want = NULL;
    return imap_in_fail(in, "a date and time like \"17-Jul-1996 02:44:25 -0700\"");
}

bool imap_mailbox(struct imap_in *in, slice *out)
{
    if (!imap_astring(in, out))
        return false;
    if (slice_eq_nocase(*out, SLICE("INBOX")))
        *out = SLICE("INBOX");
    return true;
}

bool imap_list_mailbox(struct imap_in *in, slice *out)
{
    if (imap_peek(in, '"') || imap_peek(in, '{'))
        return imap_string(in, out);
    return take(in, is_list_char, out, "a name or a pattern");
}

/* --- flags -------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t bit;
} system_flags[] = {
    { "\\Answered", IMAP_ANSWERED }, { "\\Flagged", IMAP_FLAGGED }, { "\\Deleted", IMAP_DELETED },
    { "\\Seen", IMAP_SEEN },         { "\\Draft", IMAP_DRAFT },
};

void imap_system_flags_print(uint32_t system, bool *first, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(system_flags); i++) {
        if ((system & system_flags[i].bit) == 0)
            continue;
        if (!*first)
            buf_put_byte(out, ' ');
        *first = false;
        buf_put_str(out, system_flags[i].name);
    }
}

/* flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword        RFC 3501 9 */
static bool flag(struct imap_in *in, struct imap_flags *out, slice *keywords)
{
    slice rest = in->rest, word;

    if (!imap_skip(in, '\\')) {
        if (!imap_atom(in, &word))
            return imap_in_fail(in, "a flag");
        for (unsigned i = 0; i < out->keyword_count; i++)
            if (slice_eq_nocase(keywords[i], word))
                return true;
        keywords[out->keyword_count++] = word;
        return true;
    }
    if (imap_atom(in, &word)) {
        for (size_t i = 0; i < ARRAY_LEN(system_flags); i++)
            if (slice_eq_nocase(word, slice_str(system_flags[i].name + 1))) {
                out->system |= system_flags[i].bit;
                return true;
            }
        if (slice_eq_nocase(word, SLICE("Recent")))
            return true;
    }
    in->rest = rest;
    in->want = NULL;
    return imap_in_fail(in, "a system flag of RFC 3501");
}

/* A command holds at most so many flags; a mailbox has no more keywords than 64 anyway. */
#define FLAGS_MAX 256u

bool imap_flag_list(struct imap_in *in, bool bare_ok, struct imap_flags *out)
{
    slice *keywords = arena_alloc_array(in->mem, FLAGS_MAX, sizeof *keywords);
    bool has_open = imap_skip(in, '(');

    *out = (struct imap_flags){ .keywords = keywords };
    if (!has_open && !bare_ok)
        return imap_in_fail(in, "\"(\"");
    if (has_open && imap_skip(in, ')'))
        return true;
    do {
        if (out->keyword_count == FLAGS_MAX)
            return imap_in_fail(in, "fewer flags");
        if (!flag(in, out, keywords))
            return false;
    } while (imap_skip(in, ' '));
    return !has_open || imap_char(in, ')');
}
