/* syntax_fetch.c - FETCH items and sections, RFC 3501 6.4.5, and STORE, RFC 3501 6.4.6 with RFC 7162. */
#include "imap/syntax.h"

static const struct {
    const char *word;
    uint32_t items;
} plain_items[] = {
    { "ALL", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE },
    { "FULL", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE | FETCH_ENVELOPE | FETCH_BODY },
    { "FAST", FETCH_FLAGS | FETCH_INTERNALDATE | FETCH_SIZE },
    { "UID", FETCH_UID },
    { "FLAGS", FETCH_FLAGS },
    { "INTERNALDATE", FETCH_INTERNALDATE },
    { "RFC822.SIZE", FETCH_SIZE },
    { "ENVELOPE", FETCH_ENVELOPE },
    { "BODYSTRUCTURE", FETCH_BODYSTRUCTURE },
    { "MODSEQ", FETCH_MODSEQ },     /* RFC 7162 3.1.5 */
    { "EMAILID", FETCH_EMAILID },   /* RFC 8474 5 */
    { "THREADID", FETCH_THREADID }, /* RFC 8474 5 */
    { "SAVEDATE", FETCH_SAVEDATE }, /* RFC 8514 4.2 */
};
#define MACROS 3 /* rows that stand alone, not in a list */

static const struct {
    const char *word;
    enum imap_section section;
    bool sets_seen;
} legacy_bodies[] = {
    { "RFC822.HEADER", SECTION_HEADER, false },
    { "RFC822.TEXT", SECTION_TEXT, true },
    { "RFC822", SECTION_ALL, true },
};

/* header-list = "(" header-fld-name *(SP header-fld-name) ")" */
static bool header_list(struct imap_in *in, struct imap_body_item *b)
{
    size_t most = 1;

    if (!imap_sp(in) || !imap_char(in, '('))
        return false;
    for (size_t i = 0; i < in->rest.len && in->rest.ptr[i] != ')'; i++)
        most += in->rest.ptr[i] == ' ';
    b->fields = arena_alloc_array(in->mem, most, sizeof *b->fields);
    do {
        if (b->field_count == most) /* a space inside a quoted name cannot make more names than spaces */
            return imap_in_fail(in, "\")\"");
        if (!imap_astring(in, &b->fields[b->field_count]))
            return false;
        b->field_count++;
    } while (imap_skip(in, ' '));
    return imap_char(in, ')');
}

/* section-spec = section-msgtext / (section-part ["." section-text]); section-part = nz-number *("." nz-number) */
static bool section(struct imap_in *in, struct imap_body_item *b)
{
    uint32_t path[IMAP_DEPTH_MAX * 2];

    while (in->rest.len > 0 && ascii_is_digit(in->rest.ptr[0])) {
        if (b->depth == ARRAY_LEN(path))
            return imap_in_fail(in, "fewer part numbers");
        if (!imap_number(in, &path[b->depth]))
            return false;
        if (path[b->depth++] == 0)
            return imap_in_fail(in, "a part number above 0");
        if (!imap_skip(in, '.'))
            break;
        if (imap_peek(in, ']'))
            return imap_in_fail(in, "a part number or TEXT, HEADER, MIME");
    }
    if (b->depth > 0) {
        b->path = arena_alloc_array(in->mem, b->depth, sizeof *b->path);
        memcpy(b->path, path, b->depth * sizeof *path);
    }
    if (imap_peek(in, ']'))
        return true;
    if (b->depth > 0 && in->rest.ptr[-1] != '.')
        return imap_in_fail(in, "\"]\"");
    if (imap_word(in, "HEADER.FIELDS.NOT")) {
        b->section = SECTION_FIELDS_NOT;
        return header_list(in, b);
    }
    if (imap_word(in, "HEADER.FIELDS")) {
        b->section = SECTION_FIELDS;
        return header_list(in, b);
    }
    if (imap_word(in, "HEADER"))
        b->section = SECTION_HEADER;
    else if (imap_word(in, "TEXT"))
        b->section = SECTION_TEXT;
    else if (b->depth > 0 && imap_word(in, "MIME"))
        b->section = SECTION_MIME;
    else
        return imap_in_fail(in, "HEADER, HEADER.FIELDS, TEXT or a part");
    return true;
}

static bool is_plain_name(slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!ascii_is_alnum(name.ptr[i]) && name.ptr[i] != '-' && name.ptr[i] != '_' && name.ptr[i] != '.')
            return false;
    return name.len > 0;
}

/* The answer repeats the section in our own spelling; names that are no plain words are quoted. */
static slice body_label(struct arena *mem, const struct imap_body_item *b)
{
    static const char *const words[] = { "", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME" };
    struct buf out = BUF_INIT;
    slice label;

    buf_put_str(&out, "BODY[");
    for (unsigned i = 0; i < b->depth; i++) {
        buf_put_u64(&out, b->path[i]);
        if (i + 1 < b->depth || b->section != SECTION_ALL)
            buf_put_byte(&out, '.');
    }
    buf_put_str(&out, words[b->section]);
    for (unsigned i = 0; i < b->field_count; i++) {
        slice name = b->fields[i];

        buf_put_str(&out, i == 0 ? " (" : " ");
        if (!is_plain_name(name))
            buf_put_byte(&out, '"');
        for (size_t k = 0; k < name.len; k++) {
            if (name.ptr[k] == '"' || name.ptr[k] == '\\')
                buf_put_byte(&out, '\\');
            buf_put_byte(&out, name.ptr[k] < ' ' ? '?' : name.ptr[k]);
        }
        if (!is_plain_name(name))
            buf_put_byte(&out, '"');
    }
    buf_put_str(&out, b->field_count > 0 ? ")]" : "]");
    label = slice_dup(mem, buf_slice(&out));
    buf_free(&out);
    return label;
}

/* "BODY" section ["<" number "." nz-number ">"] / "BODY.PEEK" section … */
static bool body_item(struct imap_in *in, bool is_peek, struct imap_body_item *b)
{
    b->sets_seen = !is_peek;
    if (!imap_char(in, '[') || !section(in, b) || !imap_char(in, ']'))
        return false;
    b->label = body_label(in->mem, b);
    if (!imap_skip(in, '<'))
        return true;
    b->has_partial = true;
    if (!imap_number64(in, &b->from) || !imap_char(in, '.') || !imap_number64(in, &b->octets))
        return false;
    if (b->octets == 0)
        return imap_in_fail(in, "a number above 0");
    return imap_char(in, '>');
}

/* Returns 1: taken, 0: no such item, -1: malformed. */
static int one_body(struct imap_in *in, struct imap_fetch *out, struct imap_body_item ***tail)
{
    struct imap_body_item *b = arena_alloc(in->mem, sizeof *b);
    size_t i = 0;

    while (i < ARRAY_LEN(legacy_bodies) && !imap_word(in, legacy_bodies[i].word))
        i++;
    if (i < ARRAY_LEN(legacy_bodies)) {
        b->section = legacy_bodies[i].section;
        b->sets_seen = legacy_bodies[i].sets_seen;
        b->label = slice_str(legacy_bodies[i].word);
    } else if (imap_word(in, "BODY.PEEK")) {
        if (!body_item(in, true, b))
            return -1;
    } else if (imap_word(in, "BODY")) {
        if (!imap_peek(in, '[')) {
            out->items |= FETCH_BODY;
            return 1;
        }
        if (!body_item(in, false, b))
            return -1;
    } else
        return 0;
    out->sets_seen |= b->sets_seen;
    **tail = b;
    *tail = &b->next;
    return 1;
}

static bool item(struct imap_in *in, struct imap_fetch *out, bool in_list, struct imap_body_item ***tail)
{
    for (size_t i = in_list ? MACROS : 0; i < ARRAY_LEN(plain_items); i++)
        if (imap_word(in, plain_items[i].word)) {
            out->items |= plain_items[i].items;
            return true;
        }
    return one_body(in, out, tail) > 0 || imap_in_fail(in, "an item to fetch");
}

/* fetch-modifier = "CHANGEDSINCE" SP mod-sequence-value        RFC 7162 3.1.4 */
static bool fetch_modifiers(struct imap_in *in, struct imap_fetch *out)
{
    if (!imap_skip(in, ' '))
        return imap_end(in);
    if (!imap_char(in, '('))
        return false;
    if (!imap_word(in, "CHANGEDSINCE"))
        return imap_in_fail(in, "CHANGEDSINCE");
    out->has_changed_since = true;
    out->items |= FETCH_MODSEQ;
    return imap_sp(in) && imap_number64(in, &out->changed_since) && imap_char(in, ')') && imap_end(in);
}

bool imap_fetch_parse(struct imap_in *in, struct imap_fetch *out)
{
    struct imap_body_item **tail = &out->bodies;

    *out = (struct imap_fetch){ .items = 0 };
    if (!imap_skip(in, '('))
        return item(in, out, false, &tail) && fetch_modifiers(in, out);
    do {
        if (!item(in, out, true, &tail))
            return false;
    } while (imap_skip(in, ' '));
    return imap_char(in, ')') && fetch_modifiers(in, out);
}

/* store = [SP "(UNCHANGEDSINCE" SP n ")"] SP ["+" / "-"] "FLAGS" [".SILENT"] SP (flag-list / flags) */
bool imap_store_parse(struct imap_in *in, struct imap_store *out)
{
    *out = (struct imap_store){ .mode = IMAP_STORE_SET };
    if (imap_skip(in, '(')) {
        if (!imap_word(in, "UNCHANGEDSINCE"))
            return imap_in_fail(in, "UNCHANGEDSINCE");
        out->has_unchanged_since = true;
        if (!imap_sp(in) || !imap_number64(in, &out->unchanged_since) || !imap_char(in, ')') || !imap_sp(in))
            return false;
    }
    if (imap_skip(in, '+'))
        out->mode = IMAP_STORE_ADD;
    else if (imap_skip(in, '-'))
        out->mode = IMAP_STORE_REMOVE;
    if (imap_word(in, "FLAGS.SILENT"))
        out->silent = true;
    else if (!imap_word(in, "FLAGS"))
        return imap_in_fail(in, "FLAGS or FLAGS.SILENT");
    return imap_sp(in) && imap_flag_list(in, true, &out->flags) && imap_end(in);
}
