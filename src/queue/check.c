/* check.c - the invariants, counted anew from the entries. */
#include "queue/internal.h"

struct copy {
    uint64_t id;
    slice octets;
};
struct check {
    struct queue *q;
    struct snapshot snap;
    journal_say_fn *say;
    void *arg;
    int faults;
    struct arena mem;
    struct idmap dests; /* -> struct sums */
    struct map channels; /* -> struct sums */
    struct map young;    /* channel -> struct sums */
    uint64_t entries, due, notices;
    struct copy *copies; /* of young entries */
    unsigned copy_count;
};

static void fault(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void fault(struct check *c, const char *fmt, ...)
{
    struct buf line = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    c->faults++;
    if (c->say != NULL)
        c->say(c->arg, buf_str(&line));
    buf_free(&line);
}

static struct sums *of_channel(struct check *c, struct map *m, slice name)
{
    struct sums *s = map_get(m, name);

    if (s == NULL) {
        s = arena_alloc(&c->mem, sizeof *s);
        map_put(m, name, s);
    }
    return s;
}

static struct sums *of_dest(struct check *c, uint64_t dest)
{
    struct sums *s = idmap_get(&c->dests, dest);

    if (s == NULL) {
        s = arena_alloc(&c->mem, sizeof *s);
        idmap_put(&c->dests, dest, s);
    }
    return s;
}

static void sums_count(struct sums *s, const struct queue_head *h)
{
    s->entries++;
    s->recipients += h->waiting;
    s->bytes += body_view_bytes(&h->view);
    s->held += h->state == QUEUE_HELD;
}

/* Q2 */
static void body_check(struct check *c, uint64_t id, uint64_t body)
{
    struct body_info info;

    if (body != 0 && (!journal_body_info(c->snap.v, body, &info) || info.refs == 0))
        fault(c, "entry %llx: nobody refers to its body %llu", (unsigned long long)id, (unsigned long long)body);
}

static void entry_check(struct check *c, uint64_t id, slice octets)
{
    struct journal_view *v = c->snap.v;
    struct queue_head h;
    struct due_key dk;
    struct pair_key pk;
    slice created;

    if (!queue_head_decode(octets, &h)) {
        fault(c, "entry %llx does not decode", (unsigned long long)id);
        return;
    }
    c->entries++;
    if (h.waiting == 0)
        fault(c, "entry %llx: all its recipients have ended", (unsigned long long)id);
    body_check(c, id, h.view.header_id);
    body_check(c, id, h.view.body_id);
    sums_count(of_dest(c, h.dest), &h);
    sums_count(of_channel(c, &c->channels, h.channel), &h);
    if (!journal_get(v, QT_DEST_ENTRY, pair_key(&pk, h.dest, id), &created) || created.len != 8 ||
        (int64_t)get_le64(created.ptr) != h.created_ms)
        fault(c, "entry %llx is not listed under its destination", (unsigned long long)id);
    if (h.state == QUEUE_HELD)
        return;
    c->due++; /* Q3 */
    if (!journal_get(v, QT_DUE, due_key(&dk, h.dest, h.priority, h.due_ms, id), NULL))
        fault(c, "entry %llx is not in the order of due times", (unsigned long long)id);
    if (h.notice_ms == 0)
        return;
    c->notices++;
    if (!journal_get(v, QT_NOTICE, pair_key(&pk, (uint64_t)h.notice_ms, id), NULL))
        fault(c, "entry %llx is not in the order of notice times", (unsigned long long)id);
}

static void entries_check(struct check *c)
{
    struct journal_cursor cursor;
    slice key, value;

    journal_cursor_begin(&cursor, c->snap.v, QT_ENTRY);
    while (journal_cursor_next(&cursor, &key, &value))
        entry_check(c, get_be64(key.ptr), value);
    journal_cursor_end(&cursor);
}

static void count_check(struct check *c, unsigned table, uint64_t want, const char *what)
{
    uint64_t have = journal_table_count(c->snap.v, table);

    if (have != want)
        fault(c, "%llu rows of %s, %llu expected", (unsigned long long)have, what, (unsigned long long)want);
}

static bool sums_same(const struct sums *a, const struct sums *b)
{
    return a->entries == b->entries && a->recipients == b->recipients && a->bytes == b->bytes && a->held == b->held;
}

/* Q4 */
static void sums_check(struct check *c)
{
    struct journal_cursor cursor;
    static const struct sums none;
    struct sums stored;
    slice key, value;

    journal_cursor_begin(&cursor, c->snap.v, QT_DEST);
    while (journal_cursor_next(&cursor, &key, &value)) {
        const struct sums *want = idmap_get(&c->dests, get_be64(key.ptr));

        if (!sums_read(value, &stored, NULL) || !sums_same(&stored, want != NULL ? want : &none))
            fault(c, "destination %llx: its counts are wrong", (unsigned long long)get_be64(key.ptr));
    }
    journal_cursor_end(&cursor);
    count_check(c, QT_DEST, idmap_count(&c->dests), "destinations");
    journal_cursor_begin(&cursor, c->snap.v, QT_SUM);
    while (journal_cursor_next(&cursor, &key, &value)) {
        const struct sums *want = map_get(&c->channels, key);

        if (!sums_read(value, &stored, NULL) || !sums_same(&stored, want != NULL ? want : &none))
            fault(c, "channel %.*s: its counts are wrong", SLICE_ARG(key));
    }
    journal_cursor_end(&cursor);
    count_check(c, QT_SUM, map_count(&c->channels), "channels");
}

/* Q1 */
static void ledger_check(struct check *c)
{
    struct journal_cursor cursor;
    slice key, value, name;
    size_t at = 0;

    while (map_next(&c->channels, &at, &name, NULL))
        if (!journal_get(c->snap.v, QT_CHANNEL, name, NULL))
            fault(c, "channel %.*s has entries, but no totals", SLICE_ARG(name));
    journal_cursor_begin(&cursor, c->snap.v, QT_CHANNEL);
    while (journal_cursor_next(&cursor, &key, &value)) {
        const struct sums *old = map_get(&c->channels, key), *young = map_get(&c->young, key);
        uint64_t queued = (old != NULL ? old->recipients : 0) + (young != NULL ? young->recipients : 0), ended = 0;
        struct queue_channel channel;

        if (!queue_channel_decode(slice_from(value, 8), &channel)) {
            fault(c, "channel %.*s: its totals do not decode", SLICE_ARG(key));
            continue;
        }
        for (unsigned i = TOTAL_CREATED + 1; i < QUEUE_TOTALS; i++)
            ended += channel.totals[i];
        if (channel.totals[TOTAL_CREATED] != ended + queued)
            fault(c, "channel %.*s: %llu recipients created, %llu ended, %llu queued", SLICE_ARG(key),
                  (unsigned long long)channel.totals[TOTAL_CREATED], (unsigned long long)ended,
                  (unsigned long long)queued);
    }
    journal_cursor_end(&cursor);
}

/* Under the lock: the young ones of the moment, copied. */
static void young_copy(struct check *c)
{
    unsigned there = 0;

    c->copies = arena_alloc_array(&c->mem, idmap_count(&c->q->young_ids) + 1, sizeof *c->copies);
    LIST_FOREACH(&c->q->young, it)
    {
        const struct young *y = LIST_ENTRY(it, struct young, all);

        there += !y->is_removed;
        if (young_visible(&c->snap, y))
            c->copies[c->copy_count++] = (struct copy){ y->id, slice_dup(&c->mem, young_octets(y)) };
    }
    if (there != c->q->young_count)
        fault(c, "%u entries in memory, %u counted", there, c->q->young_count);
}

static void young_check(struct check *c)
{
    for (unsigned i = 0; i < c->copy_count; i++) {
        uint64_t id = c->copies[i].id;
        struct queue_head h;

        if (!queue_head_decode(c->copies[i].octets, &h)) {
            fault(c, "entry %llx does not decode", (unsigned long long)id);
            continue;
        }
        sums_count(of_channel(c, &c->young, h.channel), &h);
        body_check(c, id, h.view.header_id);
        body_check(c, id, h.view.body_id);
        if (table_entry(c->snap.v, id).len != 0)
            fault(c, "entry %llx is in memory and in the tables", (unsigned long long)id);
    }
}

int queue_check(struct queue *q, journal_say_fn *say, void *arg, struct err *err)
{
    struct check c = { .q = q, .say = say, .arg = arg };
    int rc = -1;

    arena_init(&c.mem, 16 * 1024);
    idmap_init(&c.dests);
    map_init(&c.channels);
    map_init(&c.young);
    pthread_mutex_lock(&q->lock);
    if (snapshot_begin(q, NULL, &c.snap, err) < 0) {
        pthread_mutex_unlock(&q->lock);
        goto out;
    }
    c.snap.own.began_ms = INT64_MAX; /* this one reads long, and knows it */
    young_copy(&c);
    pthread_mutex_unlock(&q->lock);
    young_check(&c);
    entries_check(&c);
    sums_check(&c);
    count_check(&c, QT_DUE, c.due, "due times");
    count_check(&c, QT_NOTICE, c.notices, "notice times");
    count_check(&c, QT_DEST_ENTRY, c.entries, "entries by destination");
    ledger_check(&c);
    snapshot_end(&c.snap);
    rc = c.faults;
out:
    idmap_free(&c.dests);
    map_free(&c.channels);
    map_free(&c.young);
    arena_free(&c.mem);
    return rc;
}
