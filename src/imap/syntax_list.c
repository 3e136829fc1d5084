/* syntax_list.c - LIST, LSUB, STATUS and APPEND, RFC 3501 6.3 with RFC 5258, 5819, 6154, 8438, 8474. */
#include "imap/syntax.h"

struct option {
    const char *word;
    uint32_t bit;
};

static bool options(struct imap_in *in, const struct option *table, size_t count, const char *want, uint32_t *bits)
{
    if (!imap_char(in, '('))
        return false;
    while (!imap_skip(in, ')')) {
        size_t i = 0;

        while (i < count && !imap_word(in, table[i].word))
            i++;
        if (i == count)
            return imap_in_fail(in, want);
        *bits |= table[i].bit;
        if (!imap_skip(in, ' ') && !imap_peek(in, ')'))
            return imap_in_fail(in, "\")\"");
    }
    return true;
}

/* "(" status-att *(SP status-att) ")"        RFC 3501 9 */
bool imap_status_items(struct imap_in *in, uint32_t *items)
{
    static const struct option table[] = {
        { "MESSAGES", STATUS_MESSAGES },   { "RECENT", STATUS_RECENT },
        { "UIDNEXT", STATUS_UIDNEXT },     { "UIDVALIDITY", STATUS_UIDVALIDITY },
        { "UNSEEN", STATUS_UNSEEN },       { "DELETED", STATUS_DELETED },
        { "SIZE", STATUS_SIZE },           { "HIGHESTMODSEQ", STATUS_HIGHESTMODSEQ },
        { "MAILBOXID", STATUS_MAILBOXID }, { "APPENDLIMIT", STATUS_APPENDLIMIT },
    };

    *items = 0;
    return options(in, table, ARRAY_LEN(table), "a status item", items) &&
           (*items != 0 || imap_in_fail(in, "at least one status item"));
}

/* "RETURN" SP "(" [return-option *(SP return-option)] ")"        RFC 5258 6, RFC 5819 3 */
static bool list_returns(struct imap_in *in, struct imap_list *out)
{
    if (!imap_word(in, "RETURN"))
        return imap_in_fail(in, "RETURN");
    if (!imap_sp(in) || !imap_char(in, '('))
        return false;
    while (!imap_skip(in, ')')) {
        if (imap_word(in, "SUBSCRIBED"))
            out->returns |= LIST_RETURN_SUBSCRIBED;
        else if (imap_word(in, "CHILDREN"))
            out->returns |= LIST_RETURN_CHILDREN;
        else if (imap_word(in, "SPECIAL-USE"))
            out->returns |= LIST_RETURN_SPECIAL;
        else if (imap_word(in, "STATUS")) {
            out->returns |= LIST_RETURN_STATUS;
            if (!imap_sp(in) || !imap_status_items(in, &out->status_items))
                return false;
        } else
            return imap_in_fail(in, "SUBSCRIBED, CHILDREN, SPECIAL-USE or STATUS");
        if (!imap_skip(in, ' ') && !imap_peek(in, ')'))
            return imap_in_fail(in, "\")\"");
    }
    return true;
}

static bool patterns(struct imap_in *in, struct imap_list *out)
{
    size_t most = 1;

    if (!imap_skip(in, '(')) {
        out->patterns = arena_alloc(in->mem, sizeof *out->patterns);
        out->pattern_count = 1;
        return imap_list_mailbox(in, &out->patterns[0]);
    }
    out->is_extended = true;
    for (size_t i = 0; i < in->rest.len; i++)
        most += in->rest.ptr[i] == ' ';
    out->patterns = arena_alloc_array(in->mem, most, sizeof *out->patterns);
    do {
        if (!imap_list_mailbox(in, &out->patterns[out->pattern_count]))
            return false;
        out->pattern_count++;
    } while (out->pattern_count < most && imap_skip(in, ' '));
    return imap_char(in, ')');
}

/* list = [list-select-opts SP] mailbox SP mbox-or-pat [SP list-return-opts]        RFC 5258 6 */
bool imap_list_parse(struct imap_in *in, bool is_lsub, struct imap_list *out)
{
    static const struct option table[] = {
        { "SUBSCRIBED", LIST_SUBSCRIBED },
        { "REMOTE", LIST_REMOTE },
        { "RECURSIVEMATCH", LIST_RECURSIVE },
        { "SPECIAL-USE", LIST_SPECIAL },
    };

    *out = (struct imap_list){ .is_extended = false };
    if (!is_lsub && imap_peek(in, '(')) {
        slice at = in->rest;

        out->is_extended = true;
        if (!options(in, table, ARRAY_LEN(table), "SUBSCRIBED, REMOTE, RECURSIVEMATCH or SPECIAL-USE", &out->select) ||
            !imap_sp(in))
            return false;
        if (out->select == LIST_RECURSIVE) { /* RFC 5258 3.1: not alone */
            in->rest = at;
            return imap_in_fail(in, "another option beside RECURSIVEMATCH");
        }
    }
    if (!imap_astring(in, &out->reference) || !imap_sp(in))
        return false;
    if (is_lsub) {
        out->patterns = arena_alloc(in->mem, sizeof *out->patterns);
        out->pattern_count = 1;
        return imap_list_mailbox(in, &out->patterns[0]) && imap_end(in);
    }
    if (!patterns(in, out))
        return false;
    if (imap_skip(in, ' ')) {
        out->is_extended = true;
        if (!list_returns(in, out))
            return false;
    }
    return imap_end(in);
}

bool imap_append_parse(struct imap_in *in, struct imap_append *out)
{
    struct imap_literal l;

    *out = (struct imap_append){ .octets = 0 };
    /* A mailbox name that is a literal still to come: nothing follows its announcement yet. */
    if (imap_peek(in, '{') && slice_find(in->rest, SLICE("\r\n")) < 0)
        return false;
    if (!imap_mailbox(in, &out->mailbox) || !imap_sp(in))
        return false;
    if (imap_peek(in, '(') && (!imap_flag_list(in, false, &out->flags) || !imap_sp(in)))
        return false;
    if (imap_peek(in, '"')) {
        out->has_date = true;
        if (!imap_date_time(in, &out->internal_ms) || !imap_sp(in))
            return false;
    }
    if (!imap_peek(in, '{') || !imap_literal_at_end(in->rest, &l) ||
        slice_find_byte(in->rest, '}') != (ssize_t)in->rest.len - 1)
        return imap_in_fail(in, "the message as a literal");
    out->octets = l.octets;
    out->waits = l.waits;
    return true;
}

bool imap_list_match(slice pattern, slice name)
{
    size_t p = 0, n = 0;
    size_t star = SIZE_MAX, star_name = 0; /* the last '*' or '%', and how far it reaches now */
    size_t wide = SIZE_MAX, wide_name = 0; /* the last '*' alone: where to go back when '%' meets a '/' */

    if (name.len >= 5 && slice_eq_nocase(slice_sub(name, 0, 5), SLICE("INBOX")) &&
        (name.len == 5 || name.ptr[5] == '/') && slice_starts_nocase(pattern, SLICE("INBOX")))
        p = n = 5; /* RFC 3501 5.1: INBOX in any case */
    while (n < name.len) {
        if (p < pattern.len && (pattern.ptr[p] == '*' || pattern.ptr[p] == '%')) {
            star = p;
            star_name = n;
            if (pattern.ptr[p] == '*') {
                wide = p;
                wide_name = n;
            }
            p++;
        } else if (p < pattern.len && pattern.ptr[p] == name.ptr[n]) {
            p++;
            n++;
        } else if (star != SIZE_MAX && (pattern.ptr[star] == '*' || name.ptr[star_name] != '/')) {
            p = star + 1;
            n = ++star_name;
            if (star == wide)
                wide_name = star_name;
        } else if (wide != SIZE_MAX) {
            star = wide;
            p = wide + 1;
            n = star_name = ++wide_name;
        } else
            return false;
    }
    while (p < pattern.len && (pattern.ptr[p] == '*' || pattern.ptr[p] == '%'))
        p++;
    return p == pattern.len;
}
