/* sum.c - destinations and channels: what they hold, and the ledger. */
#include "queue/internal.h"

#include <stdlib.h>

/* --- sums by channel ---------------------------------------------------------------------------------------------- */

struct channel_sums {
    slice name;
    struct sums sums;
    struct queue_channel totals;
};
struct channel_list {
    struct arena *mem;
    struct channel_sums *items;
    unsigned count, cap;
};

static struct channel_sums *channel_of(struct channel_list *l, slice name)
{
    for (unsigned i = 0; i < l->count; i++)
        if (slice_eq(l->items[i].name, name))
            return &l->items[i];
    if (l->count == l->cap) {
        l->cap = l->cap * 2 + 16;
        l->items = mem_realloc(l->items, l->cap * sizeof *l->items);
    }
    l->items[l->count] = (struct channel_sums){ .name = slice_dup(l->mem, name) };
    return &l->items[l->count++];
}

static void sums_add(struct sums *s, const struct sums *more)
{
    s->entries += more->entries;
    s->recipients += more->recipients;
    s->bytes += more->bytes;
    s->held += more->held;
}

static struct sums young_sums(const struct young *y)
{
    return (struct sums){ 1, y->waiting, y->bytes, y->state == QUEUE_HELD };
}

static void young_sum(struct queue *q, const struct snapshot *s, struct channel_list *l)
{
    struct channel_sums *c = NULL;

    LIST_FOREACH(&q->young, it)
    {
        const struct young *y = LIST_ENTRY(it, struct young, all);
        struct sums one = young_sums(y);

        if (!young_visible(s, y))
            continue;
        if (c == NULL || !slice_eq(c->name, young_channel(y->dest)))
            c = channel_of(l, young_channel(y->dest));
        sums_add(&c->sums, &one);
    }
}

/* Everything by channel, of one moment. */
static int channels_sum(struct queue *q, struct journal_view *v, struct channel_list *l, struct err *err)
{
    struct journal_cursor c;
    struct snapshot s;
    slice key, value;
    bool locks = v == NULL || !v->writable; /* the committer sums inside its operation */

    if (locks)
        pthread_mutex_lock(&q->lock);
    if (snapshot_begin(q, v, &s, err) < 0) {
        pthread_mutex_unlock(&q->lock);
        return -1;
    }
    young_sum(q, &s, l);
    if (locks)
        pthread_mutex_unlock(&q->lock);
    journal_cursor_begin(&c, s.v, QT_SUM);
    while (journal_cursor_next(&c, &key, &value)) {
        struct sums more;

        if (sums_read(value, &more, NULL))
            sums_add(&channel_of(l, key)->sums, &more);
    }
    journal_cursor_end(&c);
    journal_cursor_begin(&c, s.v, QT_CHANNEL);
    while (journal_cursor_next(&c, &key, &value)) {
        struct channel_sums *one = channel_of(l, key);

        if (value.len > 8 && queue_channel_decode(slice_from(value, 8), &one->totals))
            one->totals.name = one->name;
    }
    journal_cursor_end(&c);
    snapshot_end(&s);
    return 0;
}

void queue_sum(struct queue *q, slice channel, struct queue_sum *out)
{
    struct arena mem;
    struct channel_list l = { .mem = &mem };
    struct sums all = { 0 };

    arena_init(&mem, 1024);
    if (channels_sum(q, NULL, &l, NULL) == 0)
        for (unsigned i = 0; i < l.count; i++)
            if (channel.len == 0 || slice_eq(channel, l.items[i].name))
                sums_add(&all, &l.items[i].sums);
    *out = (struct queue_sum){ all.entries, all.recipients, all.bytes, all.held };
    mem_free(l.items);
    arena_free(&mem);
}

static json_t *totals_json(const uint64_t totals[QUEUE_TOTALS], uint64_t queued)
{
    json_t *o = json_object();

    json_object_set_new(o, "created", json_integer((json_int_t)totals[TOTAL_CREATED]));
    for (unsigned i = TOTAL_CREATED + 1; i < QUEUE_TOTALS; i++)
        json_object_set_new(o, queue_rcpt_state_names[i], json_integer((json_int_t)totals[i]));
    json_object_set_new(o, "queued", json_integer((json_int_t)queued));
    return o;
}

OWNED json_t *queue_ledger(struct queue *q, struct journal_view *v)
{
    struct arena mem;
    struct channel_list l = { .mem = &mem };
    json_t *channels = json_object(), *all = json_object();
    uint64_t totals[QUEUE_TOTALS] = { 0 }, queued = 0;

    arena_init(&mem, 1024);
    (void)channels_sum(q, v, &l, NULL); /* without a reader: nothing, which nobody takes for a ledger of mail */
    for (unsigned i = 0; i < l.count; i++) {
        const struct channel_sums *c = &l.items[i];

        for (unsigned k = 0; k < QUEUE_TOTALS; k++)
            totals[k] += c->totals.totals[k];
        queued += c->sums.recipients;
        json_object_setn_new(channels, (const char *)c->name.ptr, c->name.len,
                             totals_json(c->totals.totals, c->sums.recipients));
    }
    json_object_set_new(all, "channels", channels);
    json_object_set_new(all, "total", totals_json(totals, queued));
    mem_free(l.items);
    arena_free(&mem);
    return all;
}

/* --- destinations ------------------------------------------------------------------------------------------------- */

struct dest_row {
    struct queue_dest pub;
    struct sums sums;
    bool in_tables;
};
struct dest_gather {
    struct queue *q;
    struct snapshot snap;
    struct arena mem;
    uint64_t from, last; /* ids of this slice */
    struct dest_row *rows;
    size_t count, cap;
};

static struct dest_row *dest_push(struct dest_gather *g, uint64_t dest, slice channel, slice host)
{
    struct dest_row *r;

    if (g->count == g->cap) {
        g->cap = g->cap * 2 + SLICE_ROWS;
        g->rows = mem_realloc(g->rows, g->cap * sizeof *g->rows);
    }
    r = &g->rows[g->count++];
    *r = (struct dest_row){ .pub = { .dest = dest,
                                     .channel = slice_dup(&g->mem, channel),
                                     .host = slice_dup(&g->mem, host) } };
    return r;
}

/* How far this slice goes: so many rows, seen with a reader of its own, before the lock is taken. It also fetches what
 * lies on the disk. */
static bool dests_limit(struct dest_gather *g)
{
    struct journal_view v;
    struct journal_cursor c;
    unsigned char at[8];
    unsigned n = 0;
    slice key;
    bool more;

    if (g->q->journal == NULL || journal_read_begin(g->q->journal, &v, NULL) < 0)
        return false;
    g->last = UINT64_MAX;
    put_be64(at, g->from);
    journal_cursor_begin(&c, &v, QT_DEST);
    for (more = journal_cursor_seek(&c, slice_of(at, sizeof at), &key, NULL); more && ++n < SLICE_ROWS;)
        more = journal_cursor_next(&c, &key, NULL);
    if (more)
        g->last = get_be64(key.ptr);
    journal_cursor_end(&c);
    journal_read_end(&v);
    return true;
}

static void dests_of_tables(struct dest_gather *g)
{
    struct journal_cursor c;
    unsigned char at[8];
    slice key, value, channel, host;
    bool more;

    put_be64(at, g->from);
    journal_cursor_begin(&c, g->snap.v, QT_DEST);
    more = journal_cursor_seek(&c, slice_of(at, sizeof at), &key, &value);
    for (; more && get_be64(key.ptr) <= g->last; more = journal_cursor_next(&c, &key, &value)) {
        uint64_t dest = get_be64(key.ptr);
        struct dest_row *r;
        struct sums sums;

        if (!table_dest(g->snap.v, dest, &sums, &channel, &host))
            continue;
        r = dest_push(g, dest, channel, host);
        r->sums = sums;
        r->in_tables = true;
    }
    journal_cursor_end(&c);
}

static void earliest(int64_t *ms, int64_t other)
{
    if (*ms == 0 || (other != 0 && other < *ms))
        *ms = other;
}

/* The young ones of a destination, as a row of their own. */
static void dest_of_young(struct dest_gather *g, const struct young_dest *d)
{
    struct dest_row *r = NULL;

    for (unsigned p = 0; p < QUEUE_PRIORITIES; p++) {
        LIST_FOREACH(&d->entries[p], it)
        {
            const struct young *y = LIST_ENTRY(it, struct young, same);
            struct sums one = young_sums(y);

            if (!young_visible(&g->snap, y))
                continue;
            if (r == NULL)
                r = dest_push(g, d->dest, young_channel(d), young_host(d));
            sums_add(&r->sums, &one);
            earliest(&r->pub.oldest_ms, y->created_ms);
            if (y->state != QUEUE_HELD)
                earliest(&r->pub.next_due_ms, y->due_ms);
        }
    }
}

/* Under the lock. */
static void dests_of_young(struct dest_gather *g)
{
    size_t at = 0;
    uint64_t dest;
    void *d;

    while (idmap_next(&g->q->young_dests, &at, &dest, &d))
        if (dest >= g->from && dest <= g->last)
            dest_of_young(g, d);
}

static bool has_visible(const struct young_dest *d, const struct snapshot *s)
{
    for (unsigned p = 0; p < QUEUE_PRIORITIES; p++)
        LIST_FOREACH(&d->entries[p], it)
            if (young_visible(s, LIST_ENTRY(it, struct young, same)))
                return true;
    return false;
}

uint64_t queue_dest_count(struct queue *q)
{
    struct sums sums;
    struct snapshot s;
    slice channel, host;
    uint64_t n = 0, dest;
    size_t at = 0;
    void *d;

    pthread_mutex_lock(&q->lock);
    if (snapshot_begin(q, NULL, &s, NULL) == 0) {
        n = journal_table_count(s.v, QT_DEST);
        while (idmap_next(&q->young_dests, &at, &dest, &d))
            n += !table_dest(s.v, dest, &sums, &channel, &host) && has_visible(d, &s);
        snapshot_end(&s);
    }
    pthread_mutex_unlock(&q->lock);
    return n;
}

static int dest_cmp(const void *a, const void *b)
{
    const struct dest_row *x = a, *y = b;

    return (x->pub.dest > y->pub.dest) - (x->pub.dest < y->pub.dest);
}

/* Rows of one destination become one. */
static void dests_merge(struct dest_gather *g)
{
    size_t n = 0;

    for (size_t i = 0; i < g->count; i++) {
        struct dest_row *r = &g->rows[i], *before = n != 0 ? &g->rows[n - 1] : NULL;

        if (before == NULL || before->pub.dest != r->pub.dest) {
            g->rows[n++] = *r;
            continue;
        }
        sums_add(&before->sums, &r->sums);
        earliest(&before->pub.oldest_ms, r->pub.oldest_ms);
        earliest(&before->pub.next_due_ms, r->pub.next_due_ms);
    }
    g->count = n;
}

/* Oldest and next, where the sums do not say it. Rows come in the order of both tables. The lowest id is taken for the
 * oldest. */
static void dests_times(struct dest_gather *g)
{
    struct journal_cursor entries, due;
    struct pair_key pk;
    struct due_key dk;
    slice key, value;

    journal_cursor_begin(&entries, g->snap.v, QT_DEST_ENTRY);
    journal_cursor_begin(&due, g->snap.v, QT_DUE);
    for (size_t i = 0; i < g->count; i++) {
        struct queue_dest *d = &g->rows[i].pub;

        if (!g->rows[i].in_tables)
            continue;
        if (journal_cursor_seek(&entries, pair_key(&pk, d->dest, 0), &key, &value) && get_be64(key.ptr) == d->dest &&
            value.len == 8)
            d->oldest_ms = (int64_t)get_le64(value.ptr); /* those in the tables are older than the young ones */
        for (unsigned p = 0; p < QUEUE_PRIORITIES; p++)
            if (journal_cursor_seek(&due, due_key(&dk, d->dest, p, 0, 0), &key, NULL) &&
                get_be64(key.ptr) == d->dest && key.ptr[8] == p)
                earliest(&d->next_due_ms, (int64_t)get_be64(key.ptr + 9));
    }
    journal_cursor_end(&entries);
    journal_cursor_end(&due);
}

static bool dests_gather(struct dest_gather *g)
{
    bool is_open;

    g->count = 0;
    if (!dests_limit(g))
        return false;
    pthread_mutex_lock(&g->q->lock);
    is_open = snapshot_begin(g->q, NULL, &g->snap, NULL) == 0;
    if (is_open)
        dests_of_young(g);
    pthread_mutex_unlock(&g->q->lock);
    if (!is_open)
        return false;
    dests_of_tables(g);
    if (g->count != 0)
        qsort(g->rows, g->count, sizeof *g->rows, dest_cmp);
    dests_times(g);
    snapshot_end(&g->snap);
    dests_merge(g);
    return true;
}

void queue_dests(struct queue *q, queue_dest_fn *fn, void *arg)
{
    struct dest_gather g = { .q = q };
    bool goes_on = true;

    arena_init(&g.mem, 16 * 1024);
    while (goes_on) {
        arena_reset(&g.mem);
        if (!dests_gather(&g))
            break;
        for (size_t i = 0; i < g.count && goes_on; i++) {
            struct queue_dest *d = &g.rows[i].pub;

            d->entries = g.rows[i].sums.entries;
            d->recipients = g.rows[i].sums.recipients;
            d->bytes = g.rows[i].sums.bytes;
            d->held = g.rows[i].sums.held;
            goes_on = fn(arg, d);
        }
        goes_on = goes_on && g.last != UINT64_MAX;
        g.from = g.last + 1;
    }
    mem_free(g.rows);
    arena_free(&g.mem);
}
