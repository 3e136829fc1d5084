/* image.c - the present state of one part as one record, so that the segments that told its history may go. */
#include "store/apply.h"

/* --- accounts ------------------------------------------------------------------------------------------------ */

static bool name_put(void *arg, uint64_t mailbox UNUSED, slice name)
{
    buf_put_lenstr(arg, name);
    return true;
}

int image_account(struct journal_tx *tx, void *room UNUSED, uint64_t object, uint32_t part, struct err *err UNUSED)
{
    struct journal_view *v = journal_tx_view(tx);
    struct buf payload = BUF_INIT;
    struct account_head h;
    bool is_known = account_head_get(v, object, &h);

    if (part == 0 && is_known) {
        buf_put_le64(&payload, h.owner);
        buf_put_le64(&payload, h.quota);
        buf_put_le32(&payload, h.uidvalidity_last);
        buf_put_byte(&payload, h.flags);
        buf_put_lenstr(&payload, h.owner_name);
        journal_emit(tx, ST_ACCOUNT_IMAGE, object, 0, RECORD_IMAGE, buf_slice(&payload));
    }
    if (part != 0) { /* an empty list has an image, too: it says that older ones are gone */
        subscribed_each(v, object, part, name_put, &payload);
        if (is_known || payload.len != 0)
            journal_emit(tx, ST_SUBSCRIBE_IMAGE, object, part, RECORD_IMAGE, buf_slice(&payload));
    }
    buf_free(&payload);
    return 0;
}

/* --- mailboxes ----------------------------------------------------------------------------------------------- */

static void image_head(struct journal_tx *tx, uint64_t mailbox)
{
    struct journal_view *v = journal_tx_view(tx);
    struct buf payload = BUF_INIT;
    struct mailbox_count c;
    struct mailbox_head h;

    if (!mailbox_head_get(v, mailbox, &h))
        return;
    mailbox_count_get(v, mailbox, &c);
    buf_put_le64(&payload, h.account);
    buf_put_le32(&payload, h.uidvalidity);
    buf_put_byte(&payload, h.special);
    buf_put_lenstr(&payload, h.name);
    buf_put_byte(&payload, h.flags);
    maxima_put(&payload, &c.max);
    buf_put_varint(&payload, h.keyword_count);
    for (uint32_t i = 0; i < h.keyword_count; i++)
        buf_put_lenstr(&payload, h.keyword[i]);
    journal_emit(tx, ST_MAILBOX_IMAGE, mailbox, 0, RECORD_IMAGE, buf_slice(&payload));
    buf_free(&payload);
}

struct tombs {
    struct buf out;
    unsigned count;
    int64_t oldest_ms; /* older ones are dropped */
    uint64_t floor; /* highest modseq of a dropped one */
};

static void tomb_collect(void *arg, uint64_t modseq, int64_t time_ms, slice ranges)
{
    struct tombs *t = arg;
    struct reader r = reader_of(ranges);
    struct uid_range range;
    unsigned n = 0;

    if (time_ms < t->oldest_ms) {
        t->floor = modseq > t->floor ? modseq : t->floor;
        return;
    }
    while (payload_range_next(&r, &range))
        n++;
    if (r.failed)
        return;
    buf_put_le64(&t->out, modseq);
    buf_put_le64(&t->out, (uint64_t)time_ms);
    buf_put_varint(&t->out, n);
    buf_put_slice(&t->out, ranges);
    t->count++;
}

static void image_page(struct journal_tx *tx, struct store *s, uint64_t mailbox, uint32_t part)
{
    struct journal_view *v = journal_tx_view(tx);
    struct tombs t = { .oldest_ms = journal_tx_now_ms(tx) - store_resync_ms(s) };
    struct buf payload = BUF_INIT, rows = BUF_INIT;
    struct mailbox_count c;
    struct page_count p;
    struct row_cursor rc;
    struct store_row row;
    unsigned n = 0;

    if (!mailbox_count_get(v, mailbox, &c))
        return;
    page_count_get(v, mailbox, part, &p);
    row_cursor_begin(&rc, v, mailbox, (part - 1) * STORE_PAGE_ROWS);
    for (; row_cursor_next(&rc, &row) && page_part(row.uid) == part; n++)
        payload_row_put(&rows, &row, true);
    row_cursor_end(&rc);
    tomb_each(v, mailbox, part, tomb_collect, &t);
    c.max.floor = t.floor > c.max.floor ? t.floor : c.max.floor;
    maxima_put(&payload, &c.max);
    buf_put_le64(&payload, p.modseq);
    buf_put_varint(&payload, n);
    buf_put_slice(&payload, buf_slice(&rows));
    buf_put_varint(&payload, t.count);
    buf_put_slice(&payload, buf_slice(&t.out));
    journal_emit(tx, ST_PAGE_IMAGE, mailbox, part, RECORD_IMAGE, buf_slice(&payload));
    buf_free(&payload);
    buf_free(&rows);
    buf_free(&t.out);
}

int image_mailbox(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err UNUSED)
{
    if (part == 0)
        image_head(tx, object);
    else
        image_page(tx, room, object, part);
    return 0;
}

/* --- the ledger ---------------------------------------------------------------------------------------------- */

int image_ledger(struct journal_tx *tx, void *room UNUSED, uint64_t object, uint32_t part, struct err *err UNUSED)
{
    slice value;

    if (journal_get(journal_tx_view(tx), STORE_TABLE_LEDGER, SLICE("ledger"), &value) && value.len >= 8 &&
        get_le64(value.ptr) == object)
        journal_emit(tx, ST_LEDGER_IMAGE, object, part, RECORD_IMAGE, slice_from(value, 8));
    return 0;
}
