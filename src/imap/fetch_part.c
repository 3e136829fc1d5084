/* fetch_part.c - parts of a message: which octets an item means, and sending them (RFC 3501 6.4.5, 7.4.2). */
#include "imap/internal.h"

#include "base/mem.h"
#include "mail/header.h"

#define FROM_FILE_BYTES (32u * 1024) /* larger runs are sent from the segment's file */

/* --- the message under way ---------------------------------------------------------------------------------------- */

void imap_message_init(struct imap_message *m, struct imap_session *s)
{
    *m = (struct imap_message){ .session = s };
    arena_init(&m->mem, 4096);
}

void imap_message_set(struct imap_message *m, const struct store_row *row)
{
    arena_reset(&m->mem);
    buf_free(&m->octets);
    m->row = row;
    m->top = NULL;
    m->header = SLICE_NONE;
    m->has_header = m->has_failed = false;
}

void imap_message_free(struct imap_message *m)
{
    buf_free(&m->octets);
    arena_free(&m->mem);
}

slice imap_message_header(struct imap_message *m)
{
    struct err err = ERR_INIT;
    struct store_cached c;

    if (m->has_header)
        return m->header;
    m->has_header = true;
    if (store_message_cached(imap_service(m->session)->store, &m->row->body, CACHED_HEADER, &m->mem, &c, &err) < 0)
        m->has_failed = true;
    else
        m->header = c.header;
    m->octets_read += m->header.len;
    return m->header;
}

bool imap_message_parse(struct imap_message *m)
{
    struct err err = ERR_INIT;

    if (m->top != NULL)
        return true;
    if (m->has_failed || store_message_load(imap_service(m->session)->store, &m->row->body,
                                            imap_conf_of(m->session)->parse_bytes_max, &m->octets, &err) < 0) {
        m->has_failed = true;
        return false;
    }
    m->octets_read += m->octets.len;
    m->top = mime_parse(buf_slice(&m->octets), &m->mem);
    return true;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void put_label(struct imap_message *m, const struct imap_body_item *b)
{
    struct buf *out = stream_out(imap_stream(m->session));

    buf_put_slice(out, b->label);
    if (b->has_partial)
        buf_printf(out, "<%llu>", (unsigned long long)b->from);
    buf_put_byte(out, ' ');
}

static void put_nil(struct imap_message *m, const struct imap_body_item *b)
{
    put_label(m, b);
    stream_put(imap_stream(m->session), SLICE("NIL"));
}

/* <from.octets>: beyond the end there is nothing, RFC 3501 6.4.5. */
static void clamp(const struct imap_body_item *b, uint64_t *at, uint64_t *len)
{
    uint64_t from = b->from < *len ? b->from : *len;

    if (!b->has_partial)
        return;
    *at += from;
    *len -= from;
    if (*len > b->octets)
        *len = b->octets;
}

static void put_octets(struct imap_message *m, const struct imap_body_item *b, slice s)
{
    uint64_t at = 0, len = s.len;

    clamp(b, &at, &len);
    put_label(m, b);
    stream_printf(imap_stream(m->session), "{%llu}\r\n", (unsigned long long)len);
    stream_put(imap_stream(m->session), slice_sub(s, (size_t)at, (size_t)len));
}

static void release_pin(void *arg)
{
    struct body_pin *pin = arg;

    journal_body_unpin(pin);
    mem_free(pin);
}

static void put_range(struct imap_message *m, const struct imap_body_item *b, uint64_t at, uint64_t len)
{
    struct store *store = imap_service(m->session)->store;
    struct store_range ranges[2];
    struct buf octets = BUF_INIT;
    struct err err = ERR_INIT;
    unsigned count = 0;

    clamp(b, &at, &len);
    if (len <= FROM_FILE_BYTES) {
        if (store_message_read(store, &m->row->body, at, len, &octets, &err) < 0 || octets.len != len)
            m->has_failed = true;
    } else if (store_message_ranges(store, &m->row->body, at, len, ranges, &count, &err) < 0)
        m->has_failed = true;
    if (m->has_failed) {
        buf_free(&octets);
        put_nil(m, b);
        return;
    }
    put_label(m, b);
    stream_printf(imap_stream(m->session), "{%llu}\r\n", (unsigned long long)len);
    stream_put(imap_stream(m->session), buf_slice(&octets));
    buf_free(&octets);
    for (unsigned i = 0; i < count; i++) {
        struct body_pin *pin = mem_alloc(sizeof *pin);

        *pin = ranges[i].pin;
        stream_put_file(imap_stream(m->session), pin->pin.fd, pin->offset + ranges[i].at, ranges[i].len, release_pin,
                        pin);
    }
}

/* --- header fields ------------------------------------------------------------------------------------------------ */

/* The fields named, or all others, and the empty line; RFC 3501 6.4.5. */
static slice filter_fields(struct imap_message *m, const struct imap_body_item *b, slice block)
{
    struct buf out = BUF_INIT;
    struct header_field f;
    slice rest = block, text;

    while (header_next(&rest, &f)) {
        bool is_named = false;

        for (unsigned i = 0; i < b->field_count && !is_named; i++)
            is_named = slice_eq_nocase(f.name, b->fields[i]);
        if (f.name.len > 0 && is_named == (b->section == SECTION_FIELDS))
            buf_put_slice(&out, f.raw);
    }
    buf_put_str(&out, "\r\n");
    text = slice_dup(&m->mem, buf_slice(&out));
    buf_free(&out);
    return text;
}

static void put_header(struct imap_message *m, const struct imap_body_item *b, slice block)
{
    put_octets(m, b, b->section == SECTION_HEADER ? block : filter_fields(m, b, block));
}

/* --- which octets ------------------------------------------------------------------------------------------------- */

static slice part_slice(const struct imap_message *m, uint64_t at, uint64_t len)
{
    return slice_sub(buf_slice(&m->octets), (size_t)at, (size_t)len);
}

/* BODY[2.1…]: the structure is needed. */
static void put_nested(struct imap_message *m, const struct imap_body_item *b)
{
    const struct mime_part *p = imap_message_parse(m) ? mime_find(m->top, b->path, b->depth) : NULL;

    if (p != NULL && b->section != SECTION_ALL && b->section != SECTION_MIME) /* of the message inside */
        p = p->is_message ? p->first_child : NULL;
    if (p == NULL) {
        put_nil(m, b);
        return;
    }
    switch (b->section) {
    case SECTION_ALL:
    case SECTION_TEXT:
        put_octets(m, b, part_slice(m, p->at + p->header_bytes, p->body_bytes));
        break;
    case SECTION_MIME:
        put_octets(m, b, part_slice(m, p->at, p->header_bytes));
        break;
    case SECTION_HEADER:
    case SECTION_FIELDS:
    case SECTION_FIELDS_NOT:
        put_header(m, b, part_slice(m, p->at, p->header_bytes));
        break;
    }
}

void imap_part_put(struct imap_message *m, const struct imap_body_item *b)
{
    slice header;

    if (b->depth > 0) {
        put_nested(m, b);
        return;
    }
    if (b->section == SECTION_ALL) {
        put_range(m, b, 0, m->row->bytes);
        return;
    }
    header = imap_message_header(m);
    if (m->has_failed)
        put_nil(m, b);
    else if (b->section == SECTION_TEXT)
        put_range(m, b, header.len, m->row->bytes - header.len);
    else
        put_header(m, b, header);
}
