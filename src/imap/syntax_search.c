/* syntax_search.c - the SEARCH program, RFC 3501 6.4.4 with RFC 4731, 5032, 7162, 8474, 8514. */
#include "imap/syntax.h"

enum argument { ARG_NONE, ARG_FLAG, ARG_NOT_FLAG, ARG_TEXT, ARG_FIELD, ARG_DATE, ARG_NUMBER, ARG_KEYWORD,
                ARG_NOT_KEYWORD, ARG_HEADER, ARG_UIDS, ARG_NOT, ARG_OR, ARG_MODSEQ, ARG_NEW, ARG_OLD };

static const struct key {
    const char *word;
    enum argument argument;
    enum imap_search_op op;
    uint32_t flag;
} keys[] = {
    { "ALL", ARG_NONE, SEARCH_ALL, 0 },
    { "ANSWERED", ARG_FLAG, SEARCH_FLAG, IMAP_ANSWERED },
    { "BCC", ARG_FIELD, SEARCH_HEADER, 0 },
    { "BEFORE", ARG_DATE, SEARCH_BEFORE, 0 },
    { "BODY", ARG_TEXT, SEARCH_BODY, 0 },
    { "CC", ARG_FIELD, SEARCH_HEADER, 0 },
    { "DELETED", ARG_FLAG, SEARCH_FLAG, IMAP_DELETED },
    { "DRAFT", ARG_FLAG, SEARCH_FLAG, IMAP_DRAFT },
    { "EMAILID", ARG_TEXT, SEARCH_EMAILID, 0 }, /* RFC 8474 6 */
    { "FLAGGED", ARG_FLAG, SEARCH_FLAG, IMAP_FLAGGED },
    { "FROM", ARG_FIELD, SEARCH_HEADER, 0 },
    { "HEADER", ARG_HEADER, SEARCH_HEADER, 0 },
    { "KEYWORD", ARG_KEYWORD, SEARCH_KEYWORD, 0 },
    { "LARGER", ARG_NUMBER, SEARCH_LARGER, 0 },
    { "MODSEQ", ARG_MODSEQ, SEARCH_MODSEQ, 0 }, /* RFC 7162 3.1.5 */
    { "NEW", ARG_NEW, SEARCH_NONE, 0 },
    { "NOT", ARG_NOT, SEARCH_NOT, 0 },
    { "OLD", ARG_OLD, SEARCH_ALL, 0 },
    { "OLDER", ARG_NUMBER, SEARCH_OLDER, 0 }, /* RFC 5032 */
    { "ON", ARG_DATE, SEARCH_ON, 0 },
    { "OR", ARG_OR, SEARCH_OR, 0 },
    { "RECENT", ARG_NEW, SEARCH_NONE, 0 },
    { "SAVEDATESUPPORTED", ARG_NONE, SEARCH_ALL, 0 }, /* RFC 8514 4.3 */
    { "SAVEDBEFORE", ARG_DATE, SEARCH_SAVEDBEFORE, 0 },
    { "SAVEDON", ARG_DATE, SEARCH_SAVEDON, 0 },
    { "SAVEDSINCE", ARG_DATE, SEARCH_SAVEDSINCE, 0 },
    { "SEEN", ARG_FLAG, SEARCH_FLAG, IMAP_SEEN },
    { "SENTBEFORE", ARG_DATE, SEARCH_SENTBEFORE, 0 },
    { "SENTON", ARG_DATE, SEARCH_SENTON, 0 },
    { "SENTSINCE", ARG_DATE, SEARCH_SENTSINCE, 0 },
    { "SINCE", ARG_DATE, SEARCH_SINCE, 0 },
    { "SMALLER", ARG_NUMBER, SEARCH_SMALLER, 0 },
    { "SUBJECT", ARG_FIELD, SEARCH_HEADER, 0 },
    { "TEXT", ARG_TEXT, SEARCH_TEXT, 0 },
    { "TO", ARG_FIELD, SEARCH_HEADER, 0 },
    { "UID", ARG_UIDS, SEARCH_UIDS, 0 },
    { "UNANSWERED", ARG_NOT_FLAG, SEARCH_FLAG, IMAP_ANSWERED },
    { "UNDELETED", ARG_NOT_FLAG, SEARCH_FLAG, IMAP_DELETED },
    { "UNDRAFT", ARG_NOT_FLAG, SEARCH_FLAG, IMAP_DRAFT },
    { "UNFLAGGED", ARG_NOT_FLAG, SEARCH_FLAG, IMAP_FLAGGED },
    { "UNKEYWORD", ARG_NOT_KEYWORD, SEARCH_KEYWORD, 0 },
    { "UNSEEN", ARG_NOT_FLAG, SEARCH_FLAG, IMAP_SEEN },
    { "YOUNGER", ARG_NUMBER, SEARCH_YOUNGER, 0 }, /* RFC 5032 */
};

struct program {
    struct imap_in *in;
    bool wants_modseq;
};

static struct imap_search *search_key(struct program *p, unsigned depth);

static struct imap_search *node_new(struct program *p, enum imap_search_op op)
{
    struct imap_search *n = arena_alloc(p->in->mem, sizeof *n);

    n->op = op;
    return n;
}

static struct imap_search *negated(struct program *p, struct imap_search *child)
{
    struct imap_search *n = node_new(p, SEARCH_NOT);

    n->child = child;
    return n;
}

/* "MODSEQ" [SP entry-name SP ("priv" / "shared" / "all")] SP number        RFC 7162 3.1.5 */
static bool modseq(struct program *p, struct imap_search *n)
{
    slice entry;

    p->wants_modseq = true;
    if (!imap_sp(p->in))
        return false;
    if (imap_peek(p->in, '"')) {
        if (!imap_string(p->in, &entry) || !imap_sp(p->in))
            return false;
        if (!imap_word(p->in, "priv") && !imap_word(p->in, "shared") && !imap_word(p->in, "all"))
            return imap_in_fail(p->in, "priv, shared or all");
        if (!imap_sp(p->in))
            return false;
    }
    return imap_number64(p->in, &n->number);
}

static bool or_children(struct program *p, struct imap_search *n, unsigned depth)
{
    if (!imap_sp(p->in) || (n->child = search_key(p, depth)) == NULL || !imap_sp(p->in))
        return false;
    n->child->next = search_key(p, depth);
    return n->child->next != NULL;
}

static bool argument(struct program *p, const struct key *k, struct imap_search *n, unsigned depth)
{
    struct imap_in *in = p->in;

    switch (k->argument) {
    case ARG_NONE:
    case ARG_NEW:
    case ARG_OLD:
        return true;
    case ARG_FLAG:
    case ARG_NOT_FLAG:
        n->number = k->flag;
        return true;
    case ARG_FIELD:
        n->name = slice_str(k->word);
        return imap_sp(in) && imap_astring(in, &n->text);
    case ARG_TEXT:
        return imap_sp(in) && imap_astring(in, &n->text);
    case ARG_HEADER:
        return imap_sp(in) && imap_astring(in, &n->name) && imap_sp(in) && imap_astring(in, &n->text);
    case ARG_DATE:
        return imap_sp(in) && imap_date(in, &n->day);
    case ARG_NUMBER:
        return imap_sp(in) && imap_number64(in, &n->number);
    case ARG_KEYWORD:
    case ARG_NOT_KEYWORD:
        return imap_sp(in) && imap_atom(in, &n->name);
    case ARG_UIDS:
        return imap_sp(in) && imap_set(in, &n->set);
    case ARG_NOT:
        return imap_sp(in) && (n->child = search_key(p, depth)) != NULL;
    case ARG_OR:
        return or_children(p, n, depth);
    case ARG_MODSEQ:
        return modseq(p, n);
    }
    return false;
}

/* search-key *(SP search-key), up to ')' or the end: all of them must hold. */
static struct imap_search *search_list(struct program *p, unsigned depth)
{
    struct imap_search *n = node_new(p, SEARCH_AND), **tail = &n->child;

    do {
        if ((*tail = search_key(p, depth)) == NULL)
            return NULL;
        tail = &(*tail)->next;
    } while (imap_skip(p->in, ' '));
    return n;
}

static struct imap_search *named_key(struct program *p, const struct key *k, unsigned depth)
{
    struct imap_search *n = node_new(p, k->op);

    if (!argument(p, k, n, depth))
        return NULL;
    return k->argument == ARG_NOT_FLAG || k->argument == ARG_NOT_KEYWORD ? negated(p, n) : n;
}

static struct imap_search *search_key(struct program *p, unsigned depth)
{
    struct imap_in *in = p->in;
    struct imap_search *n;

    if (depth == 0) {
        imap_in_fail(in, "a search program that is nested less deeply");
        return NULL;
    }
    if (imap_skip(in, '(')) {
        n = search_list(p, depth - 1);
        return n != NULL && imap_char(in, ')') ? n : NULL;
    }
    if (in->rest.len > 0 && (ascii_is_digit(in->rest.ptr[0]) || in->rest.ptr[0] == '*')) {
        n = node_new(p, SEARCH_NUMBERS);
        return imap_set(in, &n->set) ? n : NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (imap_word(in, keys[i].word))
            return named_key(p, &keys[i], depth - 1);
    imap_in_fail(in, "a search key");
    return NULL;
}

/* "RETURN" SP "(" [option *(SP option)] ")" SP        RFC 4731 3.1 */
static bool returns(struct imap_in *in, struct imap_search_command *out)
{
    static const struct {
        const char *word;
        uint32_t bit;
    } options[] = { { "MIN", RETURN_MIN }, { "MAX", RETURN_MAX }, { "ALL", RETURN_ALL }, { "COUNT", RETURN_COUNT } };

    out->has_return = true;
    if (!imap_sp(in) || !imap_char(in, '('))
        return false;
    while (!imap_skip(in, ')')) {
        size_t i = 0;

        while (i < ARRAY_LEN(options) && !imap_word(in, options[i].word))
            i++;
        if (i == ARRAY_LEN(options))
            return imap_in_fail(in, "MIN, MAX, ALL or COUNT");
        out->returns |= options[i].bit;
        if (!imap_skip(in, ' ') && !imap_peek(in, ')'))
            return imap_in_fail(in, "\")\"");
    }
    if (out->returns == 0)
        out->returns = RETURN_ALL;
    return imap_sp(in);
}

bool imap_search_parse(struct imap_in *in, struct imap_search_command *out)
{
    struct program p = { in, false };

    *out = (struct imap_search_command){ .has_return = false };
    if (imap_word(in, "RETURN") && !returns(in, out))
        return false;
    if (imap_word(in, "CHARSET") && (!imap_sp(in) || !imap_astring(in, &out->charset) || !imap_sp(in)))
        return false;
    out->top = search_list(&p, IMAP_DEPTH_MAX);
    out->wants_modseq = p.wants_modseq;
    return out->top != NULL && imap_end(in);
}
