/* read.c - entries one by one and in lists, from memory and tables of one moment. */
#include "queue/internal.h"

#include <stdlib.h>

#include "base/diag.h"

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
    struct found *items; /* of the memory, then of the tables; then the first of both */
    unsigned count;
    bool is_end;
};

static bool room_is_left(struct gather *g, size_t *bytes, slice octets, unsigned before)
{
    *bytes += octets.len;
    return g->count - before < g->max && *bytes < SLICE_BYTES;
}

/* The first ones; under the lock. The tables are then read without it, for they may have to come from the disk. */
static void gather_young(struct gather *g)
{
    size_t bytes = 0;
    bool has_room = true;

    LIST_FOREACH(&g->q->young, it)
    {
        const struct young *y = LIST_ENTRY(it, struct young, all);

        if (y->id < g->from || !young_visible(&g->snap, y) || (g->dest != 0 && y->dest->dest != g->dest))
            continue;
        if (!has_room) {
            g->is_end = false;
            return;
        }
        g->items[g->count++] = (struct found){ y->id, slice_dup(&g->mem, young_octets(y)) };
        has_room = room_is_left(g, &bytes, young_octets(y), 0);
    }
}

static void gather_tables(struct gather *g)
{
    struct journal_cursor c;
    struct pair_key k;
    unsigned char id_key[8];
    unsigned before = g->count;
    size_t bytes = 0;
    slice key, value, at;
    bool more, has_room = true;

    put_be64(id_key, g->from);
    at = g->dest != 0 ? pair_key(&k, g->dest, g->from) : slice_of(id_key, sizeof id_key);
    journal_cursor_begin(&c, g->snap.v, g->dest != 0 ? QT_DEST_ENTRY : QT_ENTRY);
    for (more = journal_cursor_seek(&c, at, &key, &value); more && has_room;
         more = journal_cursor_next(&c, &key, &value)) {
        uint64_t id = get_be64(key.ptr + key.len - 8);

        if (g->dest != 0 && get_be64(key.ptr) != g->dest)
            break;
        if (g->dest != 0)
            value = table_entry(g->snap.v, id);
        g->items[g->count++] = (struct found){ id, slice_dup(&g->mem, value) };
        has_room = room_is_left(g, &bytes, value, before);
    }
    g->is_end = g->is_end && has_room;
    journal_cursor_end(&c);
}

static int found_cmp(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Of either kind there may be more behind its last one: nothing behind the lower of these may be told yet. */
static void gather_cut(struct gather *g, unsigned young)
{
    uint64_t last_young = young != 0 ? g->items[young - 1].id : UINT64_MAX;
    uint64_t last_row = g->count > young ? g->items[g->count - 1].id : UINT64_MAX;
    uint64_t last = last_young < last_row ? last_young : last_row;

    qsort(g->items, g->count, sizeof *g->items, found_cmp);
    if (!g->is_end)
        while (g->count > 0 && g->items[g->count - 1].id > last)
            g->count--;
    if (g->count > g->max) {
        g->count = g->max;
        g->is_end = false;
    }
}

/* At most max entries from `from` on. False: no reader was to be had. */
static bool gather_run(struct gather *g)
{
    unsigned young;

    g->items = arena_alloc_array(&g->mem, 2 * (size_t)g->max, sizeof *g->items);
    g->count = 0;
    g->is_end = true;
    pthread_mutex_lock(&g->q->lock);
    if (snapshot_begin(g->q, NULL, &g->snap, NULL) < 0) {
        pthread_mutex_unlock(&g->q->lock);
        return false;
    }
    gather_young(g);
    pthread_mutex_unlock(&g->q->lock);
    young = g->count;
    gather_tables(g);
    snapshot_end(&g->snap);
    gather_cut(g, young);
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
        if (!gather_run(&g)) {
            diag_warn("queue", "a list of entries ends early: the index cannot be read");
            g.from = 0;
            break;
        }
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

/* One that is visible is enough. */
static bool young_has(struct queue *q, const struct snapshot *s, uint64_t dest, slice channel, slice host)
{
    const struct young_dest *d = young_dest_find(q, dest);

    if (d == NULL || !slice_eq(young_channel(d), channel) || !slice_eq(young_host(d), host))
        return false;
    for (unsigned p = 0; p < QUEUE_PRIORITIES; p++)
        LIST_FOREACH(&d->entries[p], it)
            if (young_visible(s, LIST_ENTRY(it, struct young, same)))
                return true;
    return false;
}

bool queue_has(struct journal_view *v, struct queue *q, slice channel, slice host)
{
    uint64_t first = dest_first(channel, host);
    struct snapshot s;
    slice c, h;
    bool is_open, found = false, locks = v == NULL || !v->writable;

    if (locks)
        pthread_mutex_lock(&q->lock);
    is_open = snapshot_begin(q, v, &s, NULL) == 0;
    for (unsigned i = 0; is_open && i < DEST_PROBES && !found; i++)
        found = young_has(q, &s, first + i, channel, host);
    if (locks)
        pthread_mutex_unlock(&q->lock);
    if (!is_open)
        return true; /* not known: whoever asks then waits for his turn */
    for (unsigned i = 0; i < DEST_PROBES && !found; i++)
        found = table_dest(s.v, first + i, NULL, &c, &h) && slice_eq(c, channel) && slice_eq(h, host);
    snapshot_end(&s);
    return found;
}

bool queue_dest_name(struct queue *q, uint64_t dest, struct arena *mem, slice *channel, slice *host)
{
    struct journal_view v;
    const struct young_dest *d;
    bool found;

    pthread_mutex_lock(&q->lock);
    d = young_dest_find(q, dest);
    found = d != NULL;
    if (found) {
        *channel = slice_dup(mem, young_channel(d));
        *host = slice_dup(mem, young_host(d));
    }
    pthread_mutex_unlock(&q->lock);
    if (found || q->journal == NULL || journal_read_begin(q->journal, &v, NULL) < 0)
        return found;
    found = table_dest(&v, dest, NULL, channel, host);
    if (found) {
        *channel = slice_dup(mem, *channel);
        *host = slice_dup(mem, *host);
    }
    journal_read_end(&v);
    return found;
}
