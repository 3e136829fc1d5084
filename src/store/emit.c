/* emit.c - records of messages and mailboxes, cut into pages. */
#include "store/emit.h"

/* --- keywords ------------------------------------------------------------------------------------------------ */

/* Keywords are caseless (RFC 9051 2.3.2); the first spelling stays. */
int keyword_bit(const struct mailbox_head *h, slice name)
{
    for (uint32_t i = 0; i < h->keyword_count; i++)
        if (slice_eq_nocase(h->keyword[i], name))
            return (int)i;
    return -1;
}

/* The bits of those names that the list has. */
static uint64_t bits_present(const struct mailbox_head *h, const slice *names, unsigned count)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < count; i++) {
        int bit = keyword_bit(h, names[i]);

        bits |= bit >= 0 ? UINT64_C(1) << bit : 0;
    }
    return bits;
}

/* Places that a new name may have: behind the list up to the limit, then those that no message uses. `taken` are
 * places that the operation itself is about to use. */
static uint64_t bits_free(struct journal_view *v, uint64_t mailbox, const struct mailbox_head *h, uint32_t limit,
                          uint64_t taken)
{
    struct keyword_counts k;
    uint64_t bits = 0;

    keyword_counts_get(v, mailbox, &k);
    for (uint32_t i = 0; i < limit; i++)
        if ((i >= h->keyword_count || k.messages[i] == 0) && (taken >> i & 1) == 0)
            bits |= UINT64_C(1) << i;
    return bits;
}

/* Clients know the list: names stay in it as long as there is room without them. */
static int bit_choose(const struct mailbox_head *h, uint32_t limit, uint64_t free)
{
    if (h->keyword_count < limit)
        return (int)h->keyword_count;
    return free != 0 ? __builtin_ctzll(free) : -1;
}

bool keywords_fit(struct journal_view *v, const struct store_conf *conf, uint64_t mailbox, const slice *names,
                  unsigned count)
{
    struct mailbox_head h = { 0 };
    int missing = 0;

    mailbox_head_get(v, mailbox, &h);
    for (unsigned i = 0; i < count; i++) {
        bool is_double = false;

        for (unsigned k = 0; k < i; k++)
            is_double = is_double || slice_eq_nocase(names[k], names[i]);
        missing += !is_double && keyword_bit(&h, names[i]) < 0;
    }
    return missing <=
           __builtin_popcountll(bits_free(v, mailbox, &h, conf->keywords_max, bits_present(&h, names, count)));
}

uint64_t keywords_resolve(struct journal_tx *tx, const struct store_conf *conf, uint64_t mailbox, const slice *names,
                          unsigned count, bool add, bool *over)
{
    struct journal_view *v = journal_tx_view(tx);
    struct mailbox_head h = { 0 };
    uint64_t bits, taken;

    mailbox_head_get(v, mailbox, &h);
    bits = taken = bits_present(&h, names, count);
    for (unsigned i = 0; add && i < count; i++) {
        struct buf payload = BUF_INIT;
        int bit;

        mailbox_head_get(v, mailbox, &h); /* anew: the last emit may have moved it */
        if (keyword_bit(&h, names[i]) >= 0)
            continue;
        bit = bit_choose(&h, conf->keywords_max, bits_free(v, mailbox, &h, conf->keywords_max, taken));
        if (bit < 0) {
            if (over != NULL)
                *over = true;
            continue;
        }
        buf_put_byte(&payload, (unsigned char)bit);
        buf_put_lenstr(&payload, names[i]);
        journal_emit(tx, ST_MAILBOX_KEYWORD, mailbox, 0, 0, buf_slice(&payload));
        buf_free(&payload);
        bits |= UINT64_C(1) << bit;
        taken |= UINT64_C(1) << bit;
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
