/* search_match.c - does a message match a SEARCH program? RFC 3501 6.4.4. */
#include "imap/internal.h"

#include "mail/charset.h"
#include "mail/date.h"
#include "mail/header.h"

#define DAY_MS 86400000

/* --- before: strings folded, sets resolved ------------------------------------------------------------------------ */

static bool fold_text(struct imap_session *s, struct imap_search *k, slice charset)
{
    struct buf utf8 = BUF_INIT, folded = BUF_INIT;
    bool ok = charset_to_utf8(charset.len == 0 ? SLICE("UTF-8") : charset, k->text, &utf8);

    if (ok) {
        charset_fold(buf_slice(&utf8), &folded);
        k->text = slice_dup(&s->base.cmd_mem, buf_slice(&folded));
    }
    buf_free(&utf8);
    buf_free(&folded);
    return ok;
}

enum imap_prepared imap_match_prepare(struct imap_session *s, struct imap_search *top, slice charset)
{
    enum imap_prepared prepared;

    if (charset.len > 0 && !charset_known(charset))
        return BAD_CHARSET;
    if ((top->op == SEARCH_HEADER || top->op == SEARCH_BODY || top->op == SEARCH_TEXT) && !fold_text(s, top, charset))
        return BAD_CHARSET;
    if ((top->op == SEARCH_NUMBERS || top->op == SEARCH_UIDS) &&
        !imap_box_resolve(s, &top->set, top->op == SEARCH_UIDS))
        return BAD_NUMBER;
    for (struct imap_search *k = top->child; k != NULL; k = k->next)
        if ((prepared = imap_match_prepare(s, k, charset)) != PREPARED)
            return prepared;
    return PREPARED;
}

/* --- texts -------------------------------------------------------------------------------------------------------- */

static bool holds(struct imap_match *m, slice utf8, slice folded_needle)
{
    buf_reset(&m->folded);
    charset_fold(utf8, &m->folded);
    return slice_find(buf_slice(&m->folded), folded_needle) >= 0;
}

/* Scratch memory of one message; what decoding a field needs is given back with the next message. */
static bool field_holds(struct imap_match *m, const struct header_field *f, slice needle)
{
    struct arena *mem = &m->message.mem;

    return needle.len == 0 || holds(m, header_decode(mem, header_unfold(mem, f->value)), needle);
}

static bool header_matches(struct imap_match *m, slice block, slice name, slice needle)
{
    struct header_field f;

    while (header_next(&block, &f))
        if ((name.len == 0 || slice_eq_nocase(f.name, name)) && field_holds(m, &f, needle))
            return true;
    return false;
}

static bool part_holds(struct imap_match *m, const struct mime_part *p, slice needle)
{
    if (!slice_eq_nocase(p->type, SLICE("text")))
        return false;
    buf_reset(&m->text);
    mime_decode_text(buf_slice(&m->message.octets), p, &m->text);
    return holds(m, buf_slice(&m->text), needle);
}

/* The next part in reading order; the depth of parts is bounded by the parser. */
static const struct mime_part *next_part(const struct mime_part *p)
{
    if (p->first_child != NULL)
        return p->first_child;
    while (p != NULL && p->next == NULL)
        p = p->parent;
    return p == NULL ? NULL : p->next;
}

/* Texts of all parts and headers of messages inside; with_header: the message's own header, too. */
static bool text_matches(struct imap_match *m, slice needle, bool with_header)
{
    slice message;

    if (needle.len == 0)
        return true;
    if (with_header && header_matches(m, imap_message_header(&m->message), SLICE_NONE, needle))
        return true;
    if (with_header) { /* a needle that begins at a name or spans the colon: the header as it is */
        if (holds(m, imap_message_header(&m->message), needle))
            return true;
    }
    if (!imap_message_parse(&m->message))
        return false;
    message = buf_slice(&m->message.octets);
    for (const struct mime_part *p = m->message.top; p != NULL; p = next_part(p)) {
        if (part_holds(m, p, needle))
            return true;
        if (p->parent != NULL && p->parent->is_message &&
            header_matches(m, slice_sub(message, (size_t)p->at, (size_t)p->header_bytes), SLICE_NONE, needle))
            return true;
    }
    return false;
}

/* --- dates -------------------------------------------------------------------------------------------------------- */

static int64_t day_of(int64_t ms)
{
    return ms >= 0 ? ms / DAY_MS : -((-ms + DAY_MS - 1) / DAY_MS);
}

/* The day that the Date: field names, in its own zone; without one, the internal date (RFC 5256 2.2 does so, too). */
static int64_t sent_day(struct imap_match *m)
{
    slice value;
    int64_t ms;
    int zone;

    if (header_find(imap_message_header(&m->message), SLICE("Date"), &value) &&
        date_parse(header_unfold(&m->message.mem, value), &ms, &zone))
        return day_of(ms + (int64_t)zone * 60000);
    return day_of(m->message.row->internal_ms);
}

static bool day_matches(enum imap_search_op op, int64_t day, int64_t wanted)
{
    switch (op) {
    case SEARCH_BEFORE:
    case SEARCH_SENTBEFORE:
    case SEARCH_SAVEDBEFORE:
        return day < wanted;
    case SEARCH_ON:
    case SEARCH_SENTON:
    case SEARCH_SAVEDON:
        return day == wanted;
    default:
        return day >= wanted;
    }
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

static bool has_keyword(const struct imap_match *m, slice name)
{
    const struct store_view *v = imap_box_now(m->box);
    uint32_t count = store_view_keyword_count(v);

    for (uint32_t i = 0; i < count && i < 64; i++)
        if ((m->message.row->keywords >> i & 1) != 0 && slice_eq_nocase(store_view_keyword(v, i), name))
            return true;
    return false;
}

static bool has_email_id(const struct store_row *row, slice id)
{
    uint64_t n;

    return id.len > 1 && id.ptr[0] == 'E' && slice_hex64(slice_from(id, 1), &n) && n == row->email_id;
}

/* Keys that the row alone decides. */
static bool row_matches(struct imap_match *m, const struct imap_search *k)
{
    const struct store_row *row = m->message.row;

    switch (k->op) {
    case SEARCH_ALL:
        return true;
    case SEARCH_NUMBERS:
    case SEARCH_UIDS:
        return imap_set_has(&k->set, m->number);
    case SEARCH_FLAG:
        return (row->system & k->number) != 0;
    case SEARCH_KEYWORD:
        return has_keyword(m, k->name);
    case SEARCH_BEFORE:
    case SEARCH_ON:
    case SEARCH_SINCE:
        return day_matches(k->op, day_of(row->internal_ms), k->day);
    case SEARCH_SAVEDBEFORE:
    case SEARCH_SAVEDON:
    case SEARCH_SAVEDSINCE:
        return day_matches(k->op, day_of(row->save_ms), k->day);
    case SEARCH_LARGER:
        return row->bytes > k->number;
    case SEARCH_SMALLER:
        return row->bytes < k->number;
    case SEARCH_OLDER: /* RFC 5032 2: by whole seconds */
        return m->now_ms / 1000 - row->internal_ms / 1000 >= (int64_t)k->number;
    case SEARCH_YOUNGER:
        return m->now_ms / 1000 - row->internal_ms / 1000 <= (int64_t)k->number;
    case SEARCH_MODSEQ:
        return row->modseq >= k->number;
    case SEARCH_EMAILID:
        return has_email_id(row, k->text);
    default: /* SEARCH_NONE */
        return false;
    }
}

static bool needs_text(const struct imap_search *k)
{
    return k->op >= SEARCH_HEADER || (k->op >= SEARCH_SENTBEFORE && k->op <= SEARCH_SENTSINCE) || k->child != NULL;
}

bool imap_match_needs_text(const struct imap_search *top)
{
    if (top->child == NULL)
        return needs_text(top);
    for (const struct imap_search *k = top->child; k != NULL; k = k->next)
        if (imap_match_needs_text(k))
            return true;
    return false;
}

/* Keys that cost nothing are asked first, so that texts are only read where they decide. */
static bool all_match(struct imap_match *m, const struct imap_search *children)
{
    for (int texts = 0; texts < 2; texts++)
        for (const struct imap_search *k = children; k != NULL; k = k->next)
            if (needs_text(k) == (texts == 1) && !imap_match(m, k))
                return false;
    return true;
}

bool imap_match(struct imap_match *m, const struct imap_search *k)
{
    switch (k->op) {
    case SEARCH_AND:
        return all_match(m, k->child);
    case SEARCH_OR:
        return imap_match(m, k->child) || imap_match(m, k->child->next);
    case SEARCH_NOT:
        return !imap_match(m, k->child);
    case SEARCH_SENTBEFORE:
    case SEARCH_SENTON:
    case SEARCH_SENTSINCE:
        return day_matches(k->op, sent_day(m), k->day);
    case SEARCH_HEADER:
        return header_matches(m, imap_message_header(&m->message), k->name, k->text);
    case SEARCH_BODY:
        return text_matches(m, k->text, false);
    case SEARCH_TEXT:
        return text_matches(m, k->text, true);
    default:
        return row_matches(m, k);
    }
}
