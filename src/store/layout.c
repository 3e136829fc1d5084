/* layout.c - octets of rows and payloads. Pure: what does not decode is answered with false, never with a guess. */
#include "store/internal.h"

/* --- keys -------------------------------------------------------------------------------------------------------- */

slice key_u64_u32(struct store_key *k, uint64_t a, uint32_t b)
{
    put_be64(k->octets, a);
    put_be32(k->octets + 8, b);
    return slice_of(k->octets, 12);
}

slice key_u64_u64(struct store_key *k, uint64_t a, uint64_t b)
{
    put_be64(k->octets, a);
    put_be64(k->octets + 8, b);
    return slice_of(k->octets, 16);
}

slice key_tomb(struct store_key *k, uint64_t mailbox, uint32_t part, uint64_t modseq)
{
    put_be64(k->octets, mailbox);
    put_be32(k->octets + 8, part);
    put_be64(k->octets + 12, modseq);
    return slice_of(k->octets, 20);
}

/* --- rows of tables ---------------------------------------------------------------------------------------------- */

void account_head_encode(struct buf *out, const struct account_head *h)
{
    buf_put_le64(out, h->owner);
    buf_put_le64(out, h->quota);
    buf_put_le32(out, h->uidvalidity_last);
    buf_put_byte(out, h->flags);
    buf_put_lenstr(out, h->owner_name);
}

bool account_head_decode(slice in, struct account_head *h)
{
    struct reader r = reader_of(in);

    h->owner = read_le64(&r);
    h->quota = read_le64(&r);
    h->uidvalidity_last = read_le32(&r);
    h->flags = read_u8(&r);
    h->owner_name = read_lenstr(&r);
    return reader_done(&r);
}

void usage_encode(struct buf *out, const struct usage *u)
{
    buf_put_le64(out, u->bytes);
    buf_put_le64(out, u->messages);
    buf_put_le32(out, u->mailboxes);
    buf_put_le32(out, u->subscriptions);
}

bool usage_decode(slice in, struct usage *u)
{
    struct reader r = reader_of(in);

    u->bytes = read_le64(&r);
    u->messages = read_le64(&r);
    u->mailboxes = read_le32(&r);
    u->subscriptions = read_le32(&r);
    return reader_done(&r);
}

void mailbox_head_encode(struct buf *out, const struct mailbox_head *h)
{
    buf_put_le64(out, h->account);
    buf_put_le32(out, h->uidvalidity);
    buf_put_byte(out, h->special);
    buf_put_byte(out, h->flags);
    buf_put_lenstr(out, h->name);
    buf_put_varint(out, h->keyword_count);
    for (uint32_t i = 0; i < h->keyword_count; i++)
        buf_put_lenstr(out, h->keyword[i]);
}

bool mailbox_head_decode(slice in, struct mailbox_head *h)
{
    struct reader r = reader_of(in);
    uint64_t n;

    h->account = read_le64(&r);
    h->uidvalidity = read_le32(&r);
    h->special = read_u8(&r);
    h->flags = read_u8(&r);
    h->name = read_lenstr(&r);
    n = read_varint(&r);
    if (n > STORE_KEYWORDS_MAX)
        return false;
    h->keyword_count = (uint32_t)n;
    for (uint32_t i = 0; i < h->keyword_count; i++)
        h->keyword[i] = read_lenstr(&r);
    return reader_done(&r);
}

void maxima_put(struct buf *out, const struct maxima *m)
{
    buf_put_le32(out, m->uidnext);
    buf_put_le64(out, m->modseq);
    buf_put_le64(out, m->floor);
}

void maxima_read(struct reader *r, struct maxima *m)
{
    m->uidnext = read_le32(r);
    m->modseq = read_le64(r);
    m->floor = read_le64(r);
    if (m->uidnext == 0)
        r->failed = true;
}

void mailbox_count_encode(struct buf *out, const struct mailbox_count *c)
{
    maxima_put(out, &c->max);
    buf_put_le32(out, c->messages);
    buf_put_le32(out, c->unseen);
    buf_put_le32(out, c->deleted);
    buf_put_le64(out, c->bytes);
}

bool mailbox_count_decode(slice in, struct mailbox_count *c)
{
    struct reader r = reader_of(in);

    maxima_read(&r, &c->max);
    c->messages = read_le32(&r);
    c->unseen = read_le32(&r);
    c->deleted = read_le32(&r);
    c->bytes = read_le64(&r);
    return reader_done(&r);
}

void page_count_encode(struct buf *out, const struct page_count *p)
{
    buf_put_le64(out, p->modseq);
    buf_put_le32(out, p->messages);
}

bool page_count_decode(slice in, struct page_count *p)
{
    struct reader r = reader_of(in);

    p->modseq = read_le64(&r);
    p->messages = read_le32(&r);
    return reader_done(&r);
}

void store_row_encode(struct buf *out, const struct store_row *row)
{
    buf_put_le32(out, row->system);
    buf_put_le64(out, row->keywords);
    buf_put_le64(out, row->modseq);
    buf_put_le64(out, (uint64_t)row->internal_ms);
    buf_put_le64(out, (uint64_t)row->save_ms);
    body_view_encode(out, &row->body);
}

/* What follows from the rest. */
static void row_derive(struct store_row *row)
{
    row->bytes = body_view_bytes(&row->body);
    row->email_id = row->body.body_id;
}

bool store_row_decode(uint32_t uid, slice in, struct store_row *row)
{
    struct reader r = reader_of(in);

    row->uid = uid;
    row->system = read_le32(&r);
    row->keywords = read_le64(&r);
    row->modseq = read_le64(&r);
    row->internal_ms = (int64_t)read_le64(&r);
    row->save_ms = (int64_t)read_le64(&r);
    body_view_decode(&r, &row->body);
    row_derive(row);
    return reader_done(&r);
}

/* --- payloads ---------------------------------------------------------------------------------------------------- */

void payload_row_put(struct buf *out, const struct store_row *row, bool with_modseq)
{
    buf_put_varint(out, row->uid);
    buf_put_varint(out, row->system);
    buf_put_varint(out, row->keywords);
    buf_put_le64(out, (uint64_t)row->internal_ms);
    buf_put_le64(out, (uint64_t)row->save_ms);
    body_view_encode(out, &row->body);
    if (with_modseq)
        buf_put_le64(out, row->modseq);
}

static uint32_t read_varint32(struct reader *r)
{
    uint64_t v = read_varint(r);

    if (v > UINT32_MAX)
        r->failed = true;
    return (uint32_t)v;
}

static uint32_t read_uid(struct reader *r)
{
    uint32_t uid = read_varint32(r);

    if (uid == 0)
        r->failed = true;
    return uid;
}

void payload_row_read(struct reader *r, struct store_row *row, bool with_modseq)
{
    memset(row, 0, sizeof *row);
    row->uid = read_uid(r);
    row->system = read_varint32(r);
    row->keywords = read_varint(r);
    row->internal_ms = (int64_t)read_le64(r);
    row->save_ms = (int64_t)read_le64(r);
    body_view_decode(r, &row->body);
    if (with_modseq)
        row->modseq = read_le64(r);
    row_derive(row);
}

void payload_flags_put(struct buf *out, uint32_t uid, uint32_t system, uint64_t keywords)
{
    buf_put_varint(out, uid);
    buf_put_varint(out, system);
    buf_put_varint(out, keywords);
}

bool payload_flags_next(struct reader *r, uint32_t *uid, uint32_t *system, uint64_t *keywords)
{
    if (r->failed || r->rest.len == 0)
        return false;
    *uid = read_uid(r);
    *system = read_varint32(r);
    *keywords = read_varint(r);
    return !r->failed;
}

void payload_ranges_put(struct buf *out, const struct uid_range *ranges, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        buf_put_varint(out, ranges[i].first);
        buf_put_varint(out, ranges[i].last - ranges[i].first);
    }
}

bool payload_range_next(struct reader *r, struct uid_range *range)
{
    uint32_t more;

    if (r->failed || r->rest.len == 0)
        return false;
    range->first = read_uid(r);
    more = read_varint32(r);
    if (more > UINT32_MAX - range->first)
        r->failed = true;
    range->last = range->first + more;
    return !r->failed;
}
