/* emit.c - records of messages and mailboxes, cut into pages. */
#include "store/emit.h"

/* --- keywords ------------------------------------------------------------------------------------------------ */

/* Keywords are caseless (RFC 9051 2.3.2); the first spelling stays. -1: not there. */
static int keyword_bit(const struct mailbox_head *h, slice name)
{
    for (uint32_t i = 0; i < h->keyword_count; i++)
        if (slice_eq_nocase(h->keyword[i], name))
            return (int)i;
    return -1;
}

unsigned keywords_missing(struct journal_view *v, uint64_t mailbox, const slice *names, unsigned count,
                          unsigned *present)
{
    struct mailbox_head h = { 0 };
    unsigned missing = 0;

    mailbox_head_get(v, mailbox, &h);
    *present = h.keyword_count;
    for (unsigned i = 0; i < count; i++) {
        bool is_double = false;

        for (unsigned k = 0; k < i; k++)
            is_double = is_double || slice_eq_nocase(names[k], names[i]);
        missing += !is_double && keyword_bit(&h, names[i]) < 0;
    }
    return missing;
}

uint64_t keywords_resolve(struct journal_tx *tx, const struct store_conf *conf, uint64_t mailbox, const slice *names,
                          unsigned count, bool add, bool *over)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < count; i++) {
        struct mailbox_head h = { 0 };
        int bit;

        mailbox_head_get(journal_tx_view(tx), mailbox, &h); /* anew: the last emit may have moved it */
        bit = keyword_bit(&h, names[i]);
        if (bit < 0 && add && h.keyword_count < conf->keywords_max) {
            struct buf payload = BUF_INIT;

            bit = (int)h.keyword_count;
            buf_put_byte(&payload, (unsigned char)bit);
            buf_put_lenstr(&payload, names[i]);
            journal_emit(tx, ST_MAILBOX_KEYWORD, mailbox, 0, 0, buf_slice(&payload));
            buf_free(&payload);
        }
        if (bit >= 0)
            bits |= UINT64_C(1) << bit;
        else if (add && over != NULL)
            *over = true;
    }
    return bits;
}

/* --- messages ------------------------------------------------------------------------------------------------ */

static unsigned same_page(const struct store_row *rows, unsigned from, unsigned count)
{
    unsigned n = from;

    while (n < count && page_part(rows[n].uid) == page_part(rows[from].uid))
        n++;
    return n;
}

static void ranges_of(struct buf *out, const struct store_row *rows, unsigned count)
{
    for (unsigned i = 0; i < count;) {
        struct uid_range range = { rows[i].uid, rows[i].uid };

        for (i++; i < count && rows[i].uid == range.last + 1; i++)
            range.last++;
        payload_ranges_put(out, &range, 1);
    }
}

static uint64_t pages_emit(struct journal_tx *tx, uint16_t type, uint64_t mailbox, const struct store_row *rows,
                           unsigned count)
{
    struct buf payload = BUF_INIT;
    uint64_t seq = 0;

    for (unsigned from = 0, to; from < count; from = to) {
        to = same_page(rows, from, count);
        buf_reset(&payload);
        for (unsigned i = from; i < to && type != ST_MESSAGE_EXPUNGE; i++) {
            if (type == ST_MESSAGE_ADD)
                payload_row_put(&payload, &rows[i], false);
            else
                payload_flags_put(&payload, rows[i].uid, rows[i].system, rows[i].keywords);
        }
        if (type == ST_MESSAGE_EXPUNGE)
            ranges_of(&payload, rows + from, to - from);
        seq = journal_emit(tx, type, mailbox, page_part(rows[from].uid), 0, buf_slice(&payload));
    }
    buf_free(&payload);
    return seq;
}

uint64_t messages_emit(struct journal_tx *tx, uint64_t mailbox, const struct store_row *rows, unsigned count)
{
    return pages_emit(tx, ST_MESSAGE_ADD, mailbox, rows, count);
}

uint64_t flags_emit(struct journal_tx *tx, uint64_t mailbox, const struct store_row *rows, unsigned count)
{
    return pages_emit(tx, ST_MESSAGE_FLAGS, mailbox, rows, count);
}

uint64_t expunge_emit(struct journal_tx *tx, uint64_t mailbox, const struct store_row *rows, unsigned count)
{
    return pages_emit(tx, ST_MESSAGE_EXPUNGE, mailbox, rows, count);
}

uint32_t message_emit(struct journal_tx *tx, uint64_t mailbox, struct store_row *row, uint32_t *uidvalidity)
{
    struct journal_view *v = journal_tx_view(tx);
    struct mailbox_head h = { 0 };
    struct mailbox_count c;

    mailbox_head_get(v, mailbox, &h);
    mailbox_count_get(v, mailbox, &c);
    row->uid = c.max.uidnext;
    *uidvalidity = h.uidvalidity;
    messages_emit(tx, mailbox, row, 1);
    return row->uid;
}

/* --- mailboxes ----------------------------------------------------------------------------------------------- */

/* Seconds since 1970, as most servers do, but never one that this account has seen: a clock that was set back or two
 * mailboxes in one second make no difference. */
uint32_t uidvalidity_next(struct journal_tx *tx, uint64_t account)
{
    uint32_t now = (uint32_t)(journal_tx_now_ms(tx) / 1000);
    struct account_head h;

    if (account_head_get(journal_tx_view(tx), account, &h) && h.uidvalidity_last >= now)
        return h.uidvalidity_last == UINT32_MAX ? UINT32_MAX : h.uidvalidity_last + 1;
    return now == 0 ? 1 : now;
}

uint64_t mailbox_emit(struct journal_tx *tx, uint64_t account, slice name, uint8_t special, uint32_t uidvalidity)
{
    struct buf payload = BUF_INIT;
    uint64_t id;

    buf_put_le32(&payload, uidvalidity);
    journal_emit(tx, ST_ACCOUNT_STAMP, account, 0, 0, buf_slice(&payload));
    buf_reset(&payload);
    buf_put_le64(&payload, account);
    buf_put_le32(&payload, uidvalidity);
    buf_put_byte(&payload, special);
    buf_put_lenstr(&payload, name);
    id = journal_emit(tx, ST_MAILBOX_CREATE, 0, 0, 0, buf_slice(&payload));
    buf_free(&payload);
    return id;
}
