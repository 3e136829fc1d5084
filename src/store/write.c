/* write.c - writing the store's tables, from apply only. Facts are put, sums follow by differences.
 *
 * What was found in a writing transaction dies with its next put: values are encoded before anything is written. */
#include "store/internal.h"

/* Sums never go below zero: after damage a difference may be taken from what was never added. */
static void move64(uint64_t *sum, uint64_t less, uint64_t more)
{
    *sum = *sum + more < less ? 0 : *sum + more - less;
}

static void move32(uint32_t *sum, uint32_t less, uint32_t more)
{
    *sum = *sum + more < less ? 0 : *sum + more - less;
}

static void usage_move(struct journal_view *v, uint64_t account, const struct usage *less, const struct usage *more)
{
    struct buf value = BUF_INIT;
    struct usage u;

    usage_get(v, account, &u);
    move64(&u.bytes, less->bytes, more->bytes);
    move64(&u.messages, less->messages, more->messages);
    move32(&u.mailboxes, less->mailboxes, more->mailboxes);
    move32(&u.subscriptions, less->subscriptions, more->subscriptions);
    usage_encode(&value, &u);
    if (u.bytes == 0 && u.messages == 0 && u.mailboxes == 0 && u.subscriptions == 0)
        journal_del_u64(v, STORE_TABLE_USAGE, account);
    else
        journal_put_u64(v, STORE_TABLE_USAGE, account, buf_slice(&value));
    buf_free(&value);
}

static const struct usage nothing;

/* --- accounts ---------------------------------------------------------------------------------------------------- */

/* The owner's entry goes only if it is this account's. */
static void owner_del(struct journal_view *v, uint64_t owner, uint64_t account)
{
    slice value;

    if (journal_get_u64(v, STORE_TABLE_OWNER, owner, &value) && value.len == 8 && get_le64(value.ptr) == account)
        journal_del_u64(v, STORE_TABLE_OWNER, owner);
}

static void doomed_put(struct journal_view *v, uint64_t account, uint64_t mailbox, bool is_doomed)
{
    struct store_key k;

    if (is_doomed)
        journal_put(v, STORE_TABLE_DOOMED, key_u64_u64(&k, account, mailbox), SLICE("1"));
    else
        journal_del(v, STORE_TABLE_DOOMED, key_u64_u64(&k, account, mailbox));
}

void account_head_put(struct journal_view *v, uint64_t account, const struct account_head *h)
{
    struct buf value = BUF_INIT;
    struct account_head old;
    unsigned char id[8];

    account_head_encode(&value, h);
    if (account_head_get(v, account, &old) && (old.owner != h->owner || (h->flags & HEAD_DOOMED) != 0))
        owner_del(v, old.owner, account);
    put_le64(id, account);
    journal_put_u64(v, STORE_TABLE_ACCOUNT, account, buf_slice(&value));
    if ((h->flags & HEAD_DOOMED) == 0)
        journal_put_u64(v, STORE_TABLE_OWNER, h->owner, slice_of(id, sizeof id));
    doomed_put(v, account, 0, (h->flags & HEAD_DOOMED) != 0);
    buf_free(&value);
}

void account_end(struct journal_view *v, uint64_t account)
{
    struct account_head h;

    if (account_head_get(v, account, &h))
        owner_del(v, h.owner, account);
    subscribed_clear(v, account, 0);
    doomed_put(v, account, 0, false);
    journal_del_u64(v, STORE_TABLE_ACCOUNT, account);
}

/* --- buckets of names -------------------------------------------------------------------------------------------- */

/* A bucket without or with the entry; what comes first is decided by the mailbox id, or by the name where there are
 * none, so that equal contents have equal octets. */
static void bucket_edit(struct journal_view *v, unsigned table, uint64_t account, uint64_t mailbox, slice name,
                        bool put)
{
    bool with_ids = table == STORE_TABLE_NAME, is_done = !put;
    struct buf value = BUF_INIT;
    struct store_key k;
    slice key = key_u64_u64(&k, account, name_hash(name));
    slice old = SLICE_NONE;
    struct reader r;

    (void)journal_get(v, table, key, &old);
    r = reader_of(old);
    while (r.rest.len > 0) {
        uint64_t id = with_ids ? read_le64(&r) : 0;
        slice each = read_lenstr(&r);
        bool is_same = with_ids ? id == mailbox : slice_eq(each, name);

        if (r.failed)
            break;
        if (is_same)
            continue;
        if (!is_done && (with_ids ? id > mailbox : slice_cmp(each, name) > 0)) {
            if (with_ids)
                buf_put_le64(&value, mailbox);
            buf_put_lenstr(&value, name);
            is_done = true;
        }
        if (with_ids)
            buf_put_le64(&value, id);
        buf_put_lenstr(&value, each);
    }
    if (!is_done) {
        if (with_ids)
            buf_put_le64(&value, mailbox);
        buf_put_lenstr(&value, name);
    }
    if (value.len != 0)
        journal_put(v, table, key, buf_slice(&value));
    else
        journal_del(v, table, key);
    buf_free(&value);
}

static const struct usage one_subscription = { .subscriptions = 1 };

void subscribed_put(struct journal_view *v, uint64_t account, slice name)
{
    if (subscribed_find(v, account, name))
        return;
    bucket_edit(v, STORE_TABLE_SUBSCRIBED, account, 0, name, true);
    usage_move(v, account, &nothing, &one_subscription);
}

void subscribed_del(struct journal_view *v, uint64_t account, slice name)
{
    if (!subscribed_find(v, account, name))
        return;
    bucket_edit(v, STORE_TABLE_SUBSCRIBED, account, 0, name, false);
    usage_move(v, account, &one_subscription, &nothing);
}

static bool name_keep(void *arg, uint64_t mailbox UNUSED, slice name)
{
    buf_put_lenstr(arg, name);
    return true;
}

void subscribed_clear(struct journal_view *v, uint64_t account, uint32_t part)
{
    struct buf names = BUF_INIT;
    struct reader r;

    subscribed_each(v, account, part, name_keep, &names);
    r = reader_of(buf_slice(&names));
    while (r.rest.len > 0)
        subscribed_del(v, account, read_lenstr(&r));
    buf_free(&names);
}

/* --- mailboxes --------------------------------------------------------------------------------------------------- */

static void count_write(struct journal_view *v, uint64_t mailbox, const struct mailbox_count *c)
{
    struct buf value = BUF_INIT;

    mailbox_count_encode(&value, c);
    journal_put_u64(v, STORE_TABLE_COUNT, mailbox, buf_slice(&value));
    buf_free(&value);
}

static bool counts_for(const struct mailbox_head *h)
{
    return (h->flags & HEAD_DOOMED) == 0;
}

static struct usage usage_of(const struct mailbox_count *c)
{
    return (struct usage){ .bytes = c->bytes, .messages = c->messages, .mailboxes = 1 };
}

/* Take what hangs on the head out of the tables: name, usage, doom. */
static void head_detach(struct journal_view *v, uint64_t mailbox)
{
    struct buf name = BUF_INIT;
    struct mailbox_head old;
    struct mailbox_count c;
    struct usage u;

    if (!mailbox_head_get(v, mailbox, &old))
        return;
    buf_put_slice(&name, old.name);
    mailbox_count_get(v, mailbox, &c);
    u = usage_of(&c);
    if (counts_for(&old)) {
        bucket_edit(v, STORE_TABLE_NAME, old.account, mailbox, buf_slice(&name), false);
        usage_move(v, old.account, &u, &nothing);
    } else
        doomed_put(v, old.account, mailbox, false);
    buf_free(&name);
}

void mailbox_head_put(struct journal_view *v, uint64_t mailbox, const struct mailbox_head *h)
{
    struct buf value = BUF_INIT;
    struct mailbox_head put;
    struct mailbox_count c;
    struct usage u;

    mailbox_head_encode(&value, h);
    head_detach(v, mailbox);
    if (!mailbox_count_get(v, mailbox, &c))
        count_write(v, mailbox, &c);
    u = usage_of(&c);
    if (mailbox_head_decode(buf_slice(&value), &put)) {
        if (counts_for(&put)) {
            bucket_edit(v, STORE_TABLE_NAME, put.account, mailbox, put.name, true);
            usage_move(v, put.account, &nothing, &u);
        } else
            doomed_put(v, put.account, mailbox, true);
    }
    journal_put_u64(v, STORE_TABLE_HEAD, mailbox, buf_slice(&value));
    buf_free(&value);
}

void mailbox_raise(struct journal_view *v, uint64_t mailbox, const struct maxima *m)
{
    struct mailbox_count c;

    mailbox_count_get(v, mailbox, &c);
    c.max.uidnext = m->uidnext > c.max.uidnext ? m->uidnext : c.max.uidnext;
    c.max.modseq = m->modseq > c.max.modseq ? m->modseq : c.max.modseq;
    c.max.floor = m->floor > c.max.floor ? m->floor : c.max.floor;
    count_write(v, mailbox, &c);
}

/* --- pages ------------------------------------------------------------------------------------------------------- */

void page_edit_begin(struct page_edit *e, struct journal_tx *tx, uint64_t mailbox, uint32_t part, uint64_t modseq)
{
    struct mailbox_head h;

    e->tx = tx;
    e->v = journal_tx_view(tx);
    e->mailbox = mailbox;
    e->part = part;
    e->account = mailbox_head_get(e->v, mailbox, &h) && counts_for(&h) ? h.account : 0;
    mailbox_count_get(e->v, mailbox, &e->count);
    e->before = e->count;
    e->keywords = 0;
    page_count_get(e->v, mailbox, part, &e->page);
    if (modseq > e->page.modseq)
        e->page.modseq = modseq;
    if (modseq > e->count.max.modseq)
        e->count.max.modseq = modseq;
}

static void count_row(struct page_edit *e, const struct store_row *row, bool is_more)
{
    uint32_t unseen = (row->system & STORE_SEEN) == 0, deleted = (row->system & STORE_DELETED) != 0;

    move64(&e->count.bytes, is_more ? 0 : row->bytes, is_more ? row->bytes : 0);
    move32(&e->count.messages, !is_more, is_more);
    move32(&e->page.messages, !is_more, is_more);
    move32(&e->count.unseen, is_more ? 0 : unseen, is_more ? unseen : 0);
    move32(&e->count.deleted, is_more ? 0 : deleted, is_more ? deleted : 0);
}

/* By keyword: what a bit of the list is used for no more may be given to another name (keywords_resolve). */
static void count_keywords(struct page_edit *e, uint64_t keywords, int32_t by)
{
    for (; keywords != 0; keywords &= keywords - 1) {
        unsigned bit = (unsigned)__builtin_ctzll(keywords);

        if ((e->keywords >> bit & 1) == 0)
            e->keyword_delta[bit] = 0;
        e->keywords |= UINT64_C(1) << bit;
        e->keyword_delta[bit] += by;
    }
}

static void keyword_counts_write(struct page_edit *e)
{
    struct keyword_counts k;
    struct buf value = BUF_INIT;
    size_t used = 0;

    keyword_counts_get(e->v, e->mailbox, &k);
    for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++) {
        if ((e->keywords >> i & 1) != 0)
            move32(&k.messages[i], e->keyword_delta[i] < 0 ? (uint32_t)-e->keyword_delta[i] : 0,
                   e->keyword_delta[i] > 0 ? (uint32_t)e->keyword_delta[i] : 0);
        buf_put_varint(&value, k.messages[i]);
        if (k.messages[i] != 0)
            used = value.len; /* zeros behind the last are left out, so that equal counts have equal octets */
    }
    if (used != 0)
        journal_put_u64(e->v, STORE_TABLE_KEYWORDS, e->mailbox, slice_sub(buf_slice(&value), 0, used));
    else
        journal_del_u64(e->v, STORE_TABLE_KEYWORDS, e->mailbox);
    buf_free(&value);
}

static void row_refs(struct journal_tx *tx, const struct store_row *row, int delta)
{
    journal_body_ref(tx, row->body.body_id, delta);
    journal_body_ref(tx, row->body.header_id, delta);
}

void page_row_put(struct page_edit *e, const struct store_row *row)
{
    struct buf value = BUF_INIT;
    struct store_row old;
    struct store_key k;
    bool is_same = false;

    if (row_get(e->v, e->mailbox, row->uid, &old)) {
        count_row(e, &old, false);
        count_keywords(e, old.keywords & ~row->keywords, -1);
        count_keywords(e, row->keywords & ~old.keywords, +1);
        is_same = old.body.body_id == row->body.body_id && old.body.header_id == row->body.header_id;
        if (!is_same) {
            row_refs(e->tx, row, +1); /* first: no count may touch zero in between */
            row_refs(e->tx, &old, -1);
        }
    } else {
        row_refs(e->tx, row, +1);
        count_keywords(e, row->keywords, +1);
    }
    count_row(e, row, true);
    if (row->uid >= e->count.max.uidnext)
        e->count.max.uidnext = row->uid == UINT32_MAX ? UINT32_MAX : row->uid + 1;
    if (row->modseq > e->count.max.modseq)
        e->count.max.modseq = row->modseq;
    if (row->modseq > e->page.modseq)
        e->page.modseq = row->modseq;
    store_row_encode(&value, row);
    journal_put(e->v, STORE_TABLE_ROW, key_u64_u32(&k, e->mailbox, row->uid), buf_slice(&value));
    buf_free(&value);
}

bool page_row_del(struct page_edit *e, uint32_t uid)
{
    struct store_row old;
    struct store_key k;

    if (!row_get(e->v, e->mailbox, uid, &old))
        return false;
    count_row(e, &old, false);
    count_keywords(e, old.keywords, -1);
    row_refs(e->tx, &old, -1);
    journal_del(e->v, STORE_TABLE_ROW, key_u64_u32(&k, e->mailbox, uid));
    return true;
}

/* All pairs of a table whose keys begin as `prefix`. */
static void prefix_del(struct journal_view *v, unsigned table, slice prefix)
{
    struct journal_cursor c;
    slice key;
    bool more;

    journal_cursor_begin(&c, v, table);
    more = journal_cursor_seek(&c, prefix, &key, NULL);
    while (more && slice_starts(key, prefix)) {
        unsigned char copy[24];
        size_t len = key.len < sizeof copy ? key.len : sizeof copy;

        memcpy(copy, key.ptr, len);
        journal_del(v, table, slice_of(copy, len));
        more = journal_cursor_next(&c, &key, NULL);
    }
    journal_cursor_end(&c);
}

static void rows_del(struct page_edit *e, uint32_t first, uint32_t last)
{
    struct row_cursor c;
    struct store_row row;

    row_cursor_begin(&c, e->v, e->mailbox, first);
    while (row_cursor_next(&c, &row) && row.uid <= last)
        page_row_del(e, row.uid);
    row_cursor_end(&c);
}

void page_clear(struct page_edit *e)
{
    uint32_t first = (e->part - 1) * STORE_PAGE_ROWS;
    struct store_key k;

    rows_del(e, first, first + (STORE_PAGE_ROWS - 1));
    prefix_del(e->v, STORE_TABLE_TOMB, key_u64_u32(&k, e->mailbox, e->part));
}

void page_edit_end(struct page_edit *e)
{
    struct buf value = BUF_INIT;
    struct store_key k;
    struct usage less = usage_of(&e->before), more = usage_of(&e->count);

    count_write(e->v, e->mailbox, &e->count);
    if (e->keywords != 0)
        keyword_counts_write(e);
    page_count_encode(&value, &e->page);
    journal_put(e->v, STORE_TABLE_PAGE, key_u64_u32(&k, e->mailbox, e->part), buf_slice(&value));
    if (e->account != 0 && (less.bytes != more.bytes || less.messages != more.messages))
        usage_move(e->v, e->account, &less, &more);
    buf_free(&value);
}

void tomb_put(struct journal_view *v, uint64_t mailbox, uint32_t part, uint64_t modseq, int64_t time_ms, slice ranges)
{
    struct buf value = BUF_INIT;
    struct store_key k;

    buf_put_le64(&value, (uint64_t)time_ms);
    buf_put_slice(&value, ranges);
    journal_put(v, STORE_TABLE_TOMB, key_tomb(&k, mailbox, part, modseq), buf_slice(&value));
    buf_free(&value);
}

void mailbox_end(struct journal_tx *tx, uint64_t mailbox)
{
    struct journal_view *v = journal_tx_view(tx);
    unsigned char id[8];
    struct page_edit e;

    head_detach(v, mailbox);
    journal_del_u64(v, STORE_TABLE_HEAD, mailbox); /* from here on the rows concern no usage */
    page_edit_begin(&e, tx, mailbox, 0, 0);
    rows_del(&e, 0, UINT32_MAX);
    put_be64(id, mailbox);
    prefix_del(v, STORE_TABLE_TOMB, slice_of(id, sizeof id));
    prefix_del(v, STORE_TABLE_PAGE, slice_of(id, sizeof id));
    journal_del_u64(v, STORE_TABLE_COUNT, mailbox);
    journal_del_u64(v, STORE_TABLE_KEYWORDS, mailbox);
}
