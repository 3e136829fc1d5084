/* fetch_part.c - parts of a message: which octets an item means, and sending them (RFC 3501 6.4.5, 7.4.2). */
#include "imap/internal.h"

#include "base/mem.h"
#include "mail/header.h"

#define FROM_FILE_BYTES (32u * 1024)          /* larger runs are sent from the segment's file */
#define CACHE_READER_MESSAGES 64u             /* looked at by one reader of the cache on a helper */
#define OCTETS_KEPT_BYTES (4u * 1024 * 1024) /* memory kept from message to message of a command */

/* --- the message under way ---------------------------------------------------------------------------------------- */

void imap_message_init(struct imap_message *m, struct imap_session *s)
{
    *m = (struct imap_message){ .store = imap_service(s)->store, .parse_bytes_max = imap_conf_of(s)->parse_bytes_max };
    arena_init(&m->mem, 4096);
}

void imap_message_set(struct imap_message *m, const struct store_row *row)
{
    arena_reset(&m->mem);
    if (m->octets.cap > OCTETS_KEPT_BYTES)
        buf_free(&m->octets);
    else
        buf_reset(&m->octets);
    if (!m->is_quick && ++m->cached_messages % CACHE_READER_MESSAGES == 0) /* a reader must be short */
        store_cache_end(&m->cache);
    m->row = row;
    m->top = NULL;
    m->header = SLICE_NONE;
    m->has_header = m->has_failed = m->needs_help = false;
}

void imap_message_slice_end(struct imap_message *m)
{
    imap_message_set(m, NULL);
    store_cache_end(&m->cache);
}

void imap_message_free(struct imap_message *m)
{
    for (size_t i = 0; i < m->file_count; i++)
        journal_body_unpin(&m->files[i].range.pin);
    mem_free(m->files);
    store_cache_end(&m->cache);
    buf_free(&m->text);
    buf_free(&m->octets);
    arena_free(&m->mem);
}

bool imap_message_cached(struct imap_message *m, unsigned want, struct store_cached *c)
{
    struct err err = ERR_INIT;

    if (m->cache == NULL)
        m->cache = store_cache_begin(m->store);
    if (store_cache_get(m->cache, &m->row->body, want, c))
        return true;
    if (m->is_quick) {
        m->needs_help = true;
        return false;
    }
    store_cache_end(&m->cache); /* computing writes to it */
    m->octets_read += (size_t)m->row->bytes;
    if (store_message_cached(m->store, &m->row->body, want, &m->mem, c, &err) == 0)
        return true;
    m->has_failed = true;
    return false;
}

slice imap_message_header(struct imap_message *m)
{
    struct store_cached c;

    if (m->has_header)
        return m->header;
    m->has_header = true;
    if (imap_message_cached(m, CACHED_HEADER, &c)) /* of the map, which a later miss would let go of: a copy */
        m->header = slice_dup(&m->mem, c.header);
    m->octets_read += m->header.len;
    return m->header;
}

bool imap_message_parse(struct imap_message *m)
{
    struct err err = ERR_INIT;

    if (m->top != NULL)
        return true;
    if (m->is_quick) {
        m->needs_help = true;
        return false;
    }
    store_cache_end(&m->cache);
    if (m->has_failed || store_message_load(m->store, &m->row->body, m->parse_bytes_max, &m->octets, &err) < 0) {
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
    struct buf *out = m->out;

    buf_put_slice(out, b->label);
    if (b->has_partial)
        buf_printf(out, "<%llu>", (unsigned long long)b->from);
    buf_put_byte(out, ' ');
}

static void put_nil(struct imap_message *m, const struct imap_body_item *b)
{
    put_label(m, b);
    buf_put_str(m->out, "NIL");
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

static void put_length(struct imap_message *m, uint64_t len)
{
    buf_put_byte(m->out, '{');
    buf_put_u64(m->out, len);
    buf_put_str(m->out, "}\r\n");
}

static void put_octets(struct imap_message *m, const struct imap_body_item *b, slice s)
{
    uint64_t at = 0, len = s.len;

    clamp(b, &at, &len);
    put_label(m, b);
    put_length(m, len);
    buf_put_slice(m->out, slice_sub(s, (size_t)at, (size_t)len));
}

static bool file_add(struct imap_message *m, const struct store_range *r, struct err *err)
{
    if (m->file_count == m->file_cap) {
        m->file_cap = m->file_cap * 2 + 4;
        m->files = mem_realloc(m->files, m->file_cap * sizeof *m->files);
    }
    m->files[m->file_count++] = (struct imap_file){ m->out->len, *r };
    return journal_body_warm(&r->pin, r->at, r->len, err) == 0;
}

/* A long run: from the file. It is read into the system's memory now, so that the reactor does not wait for a disk. */
static bool put_files(struct imap_message *m, const struct imap_body_item *b, uint64_t at, uint64_t len)
{
    size_t text_len = m->out->len, file_count = m->file_count;
    struct store_range ranges[2];
    struct err err = ERR_INIT;
    unsigned count = 0;
    bool ok = true;

    if (store_message_ranges(m->store, &m->row->body, at, len, ranges, &count, &err) < 0)
        return false;
    put_label(m, b);
    put_length(m, len);
    for (unsigned i = 0; i < count; i++)
        ok = file_add(m, &ranges[i], &err) && ok;
    if (ok)
        return true;
    m->out->len = text_len;
    while (m->file_count > file_count)
        journal_body_unpin(&m->files[--m->file_count].range.pin);
    return false;
}

static bool put_read(struct imap_message *m, const struct imap_body_item *b, uint64_t at, uint64_t len)
{
    size_t text_len = m->out->len, want;
    struct err err = ERR_INIT;

    put_label(m, b);
    put_length(m, len);
    want = m->out->len + (size_t)len;
    if (store_message_read_now(m->store, &m->row->body, at, len, m->out) && m->out->len == want)
        return true;
    if (m->is_quick)
        m->needs_help = true;
    else if (store_message_read(m->store, &m->row->body, at, len, m->out, &err) == 0 && m->out->len == want)
        return true;
    m->out->len = text_len;
    return false;
}

static void put_range(struct imap_message *m, const struct imap_body_item *b, uint64_t at, uint64_t len)
{
    bool ok;

    clamp(b, &at, &len);
    if (len > FROM_FILE_BYTES && m->is_quick) {
        m->needs_help = true;
        return;
    }
    ok = len <= FROM_FILE_BYTES ? put_read(m, b, at, len) : put_files(m, b, at, len);
    if (!ok && !m->needs_help) {
        m->has_failed = true;
        put_nil(m, b);
    }
}

static void release_pin(void *arg)
{
    struct body_pin *pin = arg;

    journal_body_unpin(pin);
    mem_free(pin);
}

void imap_message_flush(struct imap_message *m, struct stream *st)
{
    size_t at = 0;

    for (size_t i = 0; i < m->file_count; i++) {
        const struct store_range *r = &m->files[i].range;
        struct body_pin *pin = mem_alloc(sizeof *pin);

        *pin = r->pin;
        stream_put(st, slice_sub(buf_slice(&m->text), at, m->files[i].text_at - at));
        at = m->files[i].text_at;
        stream_put_file(st, pin->pin.fd, pin->offset + r->at, r->len, release_pin, pin);
    }
    m->file_count = 0;
    stream_put(st, slice_from(buf_slice(&m->text), at));
    if (m->text.cap > OCTETS_KEPT_BYTES)
        buf_free(&m->text);
    else
        buf_reset(&m->text);
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

    if (m->needs_help)
        return;
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
    if (m->needs_help)
        return;
    if (m->has_failed)
        put_nil(m, b);
    else if (b->section == SECTION_TEXT)
        put_range(m, b, header.len, m->row->bytes - header.len);
    else
        put_header(m, b, header);
}
