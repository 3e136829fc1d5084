/* table.c - entries in the tables, and the rows that follow from them. */
#include "queue/internal.h"

#define DEST_SEED UINT64_C(0x7175657565) /* part of what stands in records: never changes */

slice due_key(struct due_key *k, uint64_t dest, unsigned priority, int64_t due_ms, uint64_t id)
{
    put_be64(k->octets, dest);
    k->octets[8] = (unsigned char)priority;
    put_be64(k->octets + 9, (uint64_t)due_ms);
    put_be64(k->octets + 17, id);
    return slice_of(k->octets, sizeof k->octets);
}

slice pair_key(struct pair_key *k, uint64_t first, uint64_t second)
{
    put_be64(k->octets, first);
    put_be64(k->octets + 8, second);
    return slice_of(k->octets, sizeof k->octets);
}

/* --- sums --------------------------------------------------------------------------------------------------------- */

bool sums_read(slice value, struct sums *out, slice *rest)
{
    struct reader in = reader_of(value);

    out->entries = read_le64(&in);
    out->recipients = read_le64(&in);
    out->bytes = read_le64(&in);
    out->held = read_le64(&in);
    if (rest != NULL)
        *rest = in.rest;
    return !in.failed;
}

static struct sums sums_of(const struct queue_head *h)
{
    return (struct sums){ 1, h->waiting, body_view_bytes(&h->view), h->state == QUEUE_HELD };
}

static uint64_t moved(uint64_t n, uint64_t minus, uint64_t plus)
{
    n += plus;
    return n < minus ? 0 : n - minus; /* less than nothing only after damage */
}

/* The row of a destination or channel, by differences. name: what follows the sums; used when the row is new. */
static void sums_move(struct journal_view *v, unsigned table, slice key, slice name, const struct sums *minus,
                      const struct sums *plus)
{
    struct sums s = { 0 };
    struct buf row = BUF_INIT;
    slice value, rest = name;

    if (journal_get(v, table, key, &value) && !sums_read(value, &s, &rest))
        rest = name;
    s.entries = moved(s.entries, minus->entries, plus->entries);
    s.recipients = moved(s.recipients, minus->recipients, plus->recipients);
    s.bytes = moved(s.bytes, minus->bytes, plus->bytes);
    s.held = moved(s.held, minus->held, plus->held);
    if (s.entries == 0) {
        journal_del(v, table, key);
        return;
    }
    buf_put_le64(&row, s.entries);
    buf_put_le64(&row, s.recipients);
    buf_put_le64(&row, s.bytes);
    buf_put_le64(&row, s.held);
    buf_put_slice(&row, rest);
    journal_put(v, table, key, buf_slice(&row));
    buf_free(&row);
}

static void dest_sums_move(struct journal_view *v, const struct queue_head *h, const struct sums *minus,
                           const struct sums *plus)
{
    unsigned char key[8];
    struct buf name = BUF_INIT;

    put_be64(key, h->dest);
    buf_put_lenstr(&name, h->channel);
    buf_put_lenstr(&name, h->host);
    sums_move(v, QT_DEST, slice_of(key, sizeof key), buf_slice(&name), minus, plus);
    sums_move(v, QT_SUM, h->channel, SLICE_NONE, minus, plus);
    buf_free(&name);
}

static void sums_change(struct journal_view *v, const struct queue_head *old, const struct queue_head *new)
{
    static const struct sums none;
    struct sums minus = none, plus = none;

    if (old != NULL)
        minus = sums_of(old);
    if (new != NULL)
        plus = sums_of(new);
    if (old != NULL && new != NULL && old->dest == new->dest) {
        if (memcmp(&minus, &plus, sizeof minus) != 0)
            dest_sums_move(v, new, &minus, &plus);
        return;
    }
    if (old != NULL)
        dest_sums_move(v, old, &minus, &none);
    if (new != NULL)
        dest_sums_move(v, new, &none, &plus);
}

/* --- rows that follow from an entry ------------------------------------------------------------------------------- */

static bool has_notice(const struct queue_head *h)
{
    return h != NULL && h->state != QUEUE_HELD && h->notice_ms != 0;
}

static void due_change(struct journal_view *v, uint64_t id, const struct queue_head *old, const struct queue_head *new)
{
    bool was = old != NULL && old->state != QUEUE_HELD, is = new != NULL && new->state != QUEUE_HELD;
    struct due_key a, b;
    unsigned char value[4];
    uint64_t bytes;

    if (was && is && old->dest == new->dest && old->priority == new->priority && old->due_ms == new->due_ms)
        return;
    if (was)
        journal_del(v, QT_DUE, due_key(&a, old->dest, old->priority, old->due_ms, id));
    if (!is)
        return;
    bytes = body_view_bytes(&new->view);
    put_le32(value, bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX);
    journal_put(v, QT_DUE, due_key(&b, new->dest, new->priority, new->due_ms, id), slice_of(value, sizeof value));
}

static void rows_change(struct journal_view *v, uint64_t id, const struct queue_head *old, const struct queue_head *new)
{
    static const unsigned char zero[1];
    unsigned char created[8];
    struct pair_key k;
    bool same_notice = has_notice(old) && has_notice(new) && old->notice_ms == new->notice_ms;
    bool same_dest = old != NULL && new != NULL && old->dest == new->dest;

    due_change(v, id, old, new);
    if (has_notice(old) && !same_notice)
        journal_del(v, QT_NOTICE, pair_key(&k, (uint64_t)old->notice_ms, id));
    if (has_notice(new) && !same_notice)
        journal_put(v, QT_NOTICE, pair_key(&k, (uint64_t)new->notice_ms, id), slice_of(zero, 1));
    if (old != NULL && !same_dest)
        journal_del(v, QT_DEST_ENTRY, pair_key(&k, old->dest, id));
    if (new != NULL && !same_dest) {
        put_le64(created, (uint64_t)new->created_ms);
        journal_put(v, QT_DEST_ENTRY, pair_key(&k, new->dest, id), slice_of(created, sizeof created));
    }
    sums_change(v, old, new);
}

slice table_entry(struct journal_view *v, uint64_t id)
{
    slice value;

    return journal_get_u64(v, QT_ENTRY, id, &value) ? value : SLICE_NONE;
}

void table_put(struct journal_view *v, uint64_t id, slice octets, const struct queue_head *h)
{
    unsigned char names[CHANNEL_NAME_MAX + QUEUE_HOST_MAX];
    slice present = table_entry(v, id);
    struct queue_head old;
    bool has_old = present.len != 0 && queue_head_decode(present, &old);

    if (has_old) { /* its names lie in the row that is replaced */
        memcpy(names, old.channel.ptr, old.channel.len);
        if (old.host.len != 0)
            memcpy(names + old.channel.len, old.host.ptr, old.host.len);
        old.host = slice_of(names + old.channel.len, old.host.len);
        old.channel = slice_of(names, old.channel.len);
    }
    journal_put_u64(v, QT_ENTRY, id, octets);
    rows_change(v, id, has_old ? &old : NULL, h);
}

void table_remove(struct journal_view *v, uint64_t id, const struct queue_head *h)
{
    unsigned char names[CHANNEL_NAME_MAX + QUEUE_HOST_MAX];
    struct queue_head old = *h;

    memcpy(names, h->channel.ptr, h->channel.len);
    if (h->host.len != 0)
        memcpy(names + h->channel.len, h->host.ptr, h->host.len);
    old.channel = slice_of(names, h->channel.len);
    old.host = slice_of(names + h->channel.len, h->host.len);
    journal_del_u64(v, QT_ENTRY, id);
    rows_change(v, id, &old, NULL);
}

/* --- destinations and channels ------------------------------------------------------------------------------------ */

bool table_dest(struct journal_view *v, uint64_t dest, struct sums *sums, slice *channel, slice *host)
{
    struct sums unwanted;
    struct reader in;
    slice value, rest;

    if (!journal_get_u64(v, QT_DEST, dest, &value) || !sums_read(value, sums != NULL ? sums : &unwanted, &rest))
        return false;
    in = reader_of(rest);
    *channel = read_lenstr(&in);
    *host = read_lenstr(&in);
    return reader_done(&in);
}

bool table_channel(struct journal_view *v, slice name, uint64_t *object, struct queue_channel *c)
{
    slice value;

    *object = 0;
    *c = (struct queue_channel){ .name = name };
    if (!journal_get(v, QT_CHANNEL, name, &value) || value.len < 8 || !queue_channel_decode(slice_from(value, 8), c)) {
        *c = (struct queue_channel){ .name = name };
        return false;
    }
    *object = get_le64(value.ptr);
    return true;
}

void table_channel_put(struct journal_view *v, uint64_t object, const struct queue_channel *c)
{
    struct buf row = BUF_INIT;

    buf_put_le64(&row, object);
    queue_channel_encode(&row, c);
    journal_put(v, QT_CHANNEL, c->name, buf_slice(&row));
    buf_free(&row);
}

/* Who has that id? False: nobody. */
static bool dest_holder(struct queue *q, struct journal_view *v, uint64_t dest, slice *channel, slice *host)
{
    const struct young_dest *d = young_dest_find(q, dest);

    if (d == NULL)
        return table_dest(v, dest, NULL, channel, host);
    *channel = young_channel(d);
    *host = young_host(d);
    return true;
}

uint64_t dest_first(slice channel, slice host)
{
    struct buf name = BUF_INIT;
    uint64_t hash;

    buf_put_lenstr(&name, channel);
    buf_put_slice(&name, host);
    hash = slice_hash(buf_slice(&name), DEST_SEED);
    buf_free(&name);
    return hash;
}

uint64_t dest_id(struct queue *q, struct journal_view *v, slice channel, slice host)
{
    uint64_t first = dest_first(channel, host), free_id = 0;
    slice c, h;

    for (unsigned i = 0; i < DEST_PROBES; i++) {
        uint64_t id = first + i;

        if (id == 0)
            continue;
        if (!dest_holder(q, v, id, &c, &h)) {
            free_id = free_id == 0 ? id : free_id;
            continue;
        }
        if (slice_eq(c, channel) && slice_eq(h, host))
            return id;
    }
    return free_id;
}
