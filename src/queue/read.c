/* read.c - entries one by one and in lists, from memory and tables of one moment. */
#include "queue/internal.h"

#include <stdlib.h>

#define SLICE_BYTES (1024u * 1024) /* of entries copied under one snapshot */

/* --- ids ---------------------------------------------------------------------------------------------------------- */

void queue_entry_id_print(uint64_t id, char out[17])
{
    snprintf(out, 17, "%08llx", (unsigned long long)id);
}

bool queue_entry_id_parse(slice text, uint64_t *id)
{
    return text.len <= 16 && slice_hex64(text, id) && *id != 0;
}

/* --- one entry ---------------------------------------------------------------------------------------------------- */

/* DEFERRED until due_ms, then READY: the clock alone makes that change. */
static bool entry_decode(struct queue *q, slice octets, uint64_t id, struct arena *mem, struct queue_entry *out)
{
    *out = (struct queue_entry){ .id = id };
    if (!queue_entry_decode(octets, mem, out)) {
        entry_damaged(q, id);
        return false;
    }
    if (out->state == QUEUE_DEFERRED && q->clock != NULL && out->due_ms <= clock_wall_ms(q->clock))
        out->state = QUEUE_READY;
    return true;
}

static slice young_copy(struct queue *q, uint64_t id, bool in_operation, struct arena *mem)
{
    const struct young *y;
    slice octets = SLICE_NONE;

    pthread_mutex_lock(&q->lock);
    y = idmap_get(&q->young_ids, id);
    if (y != NULL && (in_operation ? !y->is_removed : !y->is_added))
        octets = slice_dup(mem, young_octets(y));
    pthread_mutex_unlock(&q->lock);
    return octets;
}

/* Its octets in mem, or empty. */
static slice entry_copy(struct queue *q, struct journal_view *v, uint64_t id, struct arena *mem)
{
    slice octets = young_copy(q, id, v != NULL && v->writable, mem);
    struct journal_view own;

    if (octets.len != 0)
        return octets;
    if (v != NULL) {
        octets = slice_dup(mem, table_entry(v, id));
        if (octets.len != 0 || v->writable)
            return octets;
    }
    /* It may have come into the tables since the caller's reader began. */
    if (q->journal == NULL || journal_read_begin(q->journal, &own, NULL) < 0)
        return SLICE_NONE;
    octets = slice_dup(mem, table_entry(&own, id));
    journal_read_end(&own);
    return octets;
}

bool queue_entry_get(struct queue *q, struct journal_view *v, uint64_t id, struct arena *mem, struct queue_entry *out)
{
    slice octets = entry_copy(q, v, id, mem);

    return octets.len != 0 && entry_decode(q, octets, id, mem, out);
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

struct found {
    uint64_t id;
    slice octets;
};

struct gather {
    struct queue *q;
    struct snapshot snap;
    struct arena mem;
    uint64_t dest; /* 0: all */
    uint64_t from;
    unsigned max;
    struct found *items; /* of the tables, then of both */
    unsigned count;
    bool is_end; /* of the tables */
};

/* Rows of the tables; the place behind max belongs to nobody. */
static void gather_tables(struct gather *g)
{
    struct journal_cursor c;
    struct pair_key k;
    unsigned char id_key[8];
    size_t bytes = 0;
    slice key, value, at;
    bool more;

    put_be64(id_key, g->from);
    at = g->dest != 0 ? pair_key(&k, g->dest, g->from) : slice_of(id_key, sizeof id_key);
    journal_cursor_begin(&c, g->snap.v, g->dest != 0 ? QT_DEST_ENTRY : QT_ENTRY);
    for (more = journal_cursor_seek(&c, at, &key, &value); more && g->count < g->max && bytes < SLICE_BYTES;
         more = journal_cursor_next(&c, &key, &value)) {
        uint64_t id = get_be64(key.ptr + key.len - 8);

        if (g->dest != 0 && get_be64(key.ptr) != g->dest)
            break;
        if (g->dest != 0)
            value = table_entry(g->snap.v, id);
        bytes += value.len;
        g->items[g->count++] = (struct found){ id, slice_dup(&g->mem, value) };
    }
    g->is_end = g->count < g->max && bytes < SLICE_BYTES;
    journal_cursor_end(&c);
}

static int found_cmp(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Young ones up to the last row found, or, at the end of the tables, as many as there is room for. */
static void gather_young(struct gather *g)
{
    uint64_t last = g->is_end ? UINT64_MAX : g->items[g->count - 1].id;
    unsigned tables = g->count;

    LIST_FOREACH(&g->q->young, it)
    {
        const struct young *y = LIST_ENTRY(it, struct young, all);

        if (y->id > last || g->count - tables == g->max)
            break;
        if (y->id < g->from || !young_visible(&g->snap, y) || (g->dest != 0 && y->dest->dest != g->dest))
            continue;
        g->items[g->count++] = (struct found){ y->id, slice_dup(&g->mem, young_octets(y)) };
    }
    if (g->count == tables)
        return;
    qsort(g->items, g->count, sizeof *g->items, found_cmp);
    if (g->count > g->max) {
        g->count = g->max;
        g->is_end = false;
    } else if (g->count - tables == g->max) {
        g->is_end = false;
    }
}

/* At most max entries from `from` on. False: no reader was to be had. */
static bool gather_run(struct gather *g)
{
    g->items = arena_alloc_array(&g->mem, 2 * (size_t)g->max, sizeof *g->items);
    g->count = 0;
    pthread_mutex_lock(&g->q->lock);
    if (snapshot_begin(g->q, NULL, &g->snap, NULL) < 0) {
        pthread_mutex_unlock(&g->q->lock);
        return false;
    }
    gather_tables(g);
    gather_young(g);
    pthread_mutex_unlock(&g->q->lock);
    snapshot_end(&g->snap);
    return true;
}

static uint64_t each(struct queue *q, uint64_t dest, uint64_t from, unsigned max, queue_entry_fn *fn, void *arg)
{
    struct gather g = { .q = q, .dest = dest, .from = from };
    bool goes_on = true;

    arena_init(&g.mem, 64 * 1024);
    while (max > 0 && goes_on) {
        arena_reset(&g.mem);
        g.max = max < SLICE_ROWS ? max : SLICE_ROWS;
        if (!gather_run(&g))
            break;
        for (unsigned i = 0; i < g.count && goes_on; i++) {
            struct queue_entry e;

            g.from = g.items[i].id + 1;
            max--;
            if (g.items[i].octets.len != 0 && entry_decode(q, g.items[i].octets, g.items[i].id, &g.mem, &e))
                goes_on = fn(arg, &e);
        }
        if (goes_on && g.is_end)
            g.from = 0;
        goes_on = goes_on && !g.is_end;
    }
    arena_free(&g.mem);
    return g.from;
}

uint64_t queue_each(struct queue *q, uint64_t from, unsigned max, queue_entry_fn *fn, void *arg)
{
    return each(q, 0, from, max, fn, arg);
}

uint64_t queue_each_of(struct queue *q, uint64_t dest, uint64_t from, unsigned max, queue_entry_fn *fn, void *arg)
{
    return dest == 0 ? 0 : each(q, dest, from, max, fn, arg);
}

bool queue_has(struct journal_view *v, struct queue *q, slice channel, slice host)
{
    struct snapshot s;
    struct sums sums;
    slice c, h;
    bool found = false;
    uint64_t dest;

    pthread_mutex_lock(&q->lock);
    if (snapshot_begin(q, v, &s, NULL) < 0) {
        pthread_mutex_unlock(&q->lock);
        return true; /* not known: whoever asks then waits for his turn */
    }
    dest = dest_id(q, s.v, channel, host, &found);
    if (found) {
        const struct young_dest *d = young_dest_find(q, dest);

        found = table_dest(s.v, dest, &sums, &c, &h);
        for (unsigned p = 0; !found && d != NULL && p < QUEUE_PRIORITIES; p++)
            LIST_FOREACH(&d->entries[p], it)
                found = found || young_visible(&s, LIST_ENTRY(it, struct young, same));
    }
    pthread_mutex_unlock(&q->lock);
    snapshot_end(&s);
    return found;
}

bool queue_dest_name(struct queue *q, uint64_t dest, struct arena *mem, slice *channel, slice *host)
{
    struct snapshot s;
    const struct young_dest *d;
    bool found = false;

    pthread_mutex_lock(&q->lock);
    d = young_dest_find(q, dest);
    if (d != NULL) {
        *channel = slice_dup(mem, young_channel(d));
        *host = slice_dup(mem, young_host(d));
        found = true;
    } else if (snapshot_begin(q, NULL, &s, NULL) == 0) {
        found = table_dest(s.v, dest, NULL, channel, host);
        if (found) {
            *channel = slice_dup(mem, *channel);
            *host = slice_dup(mem, *host);
        }
        snapshot_end(&s);
    }
    pthread_mutex_unlock(&q->lock);
    return found;
}
