/* due.c - what is due: the first rows of an order, never a scan. */
#include "queue/internal.h"

struct pick {
    struct queue *q;
    struct snapshot snap;
    uint64_t dest;
    int64_t now_ms;
    bool (*skip)(void *arg, uint64_t id);
    void *arg;
    struct queue_brief *out;
    unsigned count, max;
    int64_t next_ms; /* 0: none */
};

static void next_take(struct pick *p, int64_t due_ms)
{
    if (p->next_ms == 0 || due_ms < p->next_ms)
        p->next_ms = due_ms;
}

static bool is_aside(struct queue *q, uint64_t id, bool or_active)
{
    bool found;

    pthread_mutex_lock(&q->lock);
    found = idmap_get(&q->aside, id) != NULL || (or_active && idmap_get(&q->active, id) != NULL);
    pthread_mutex_unlock(&q->lock);
    return found;
}

static bool is_skipped(struct pick *p, uint64_t id)
{
    return is_aside(p->q, id, true) || (p->skip != NULL && p->skip(p->arg, id));
}

/* The young ones of the destination, copied in their order: the tables are then read without the lock, for they may
 * have to come from the disk. Of each priority no more than can be taken, and one that says that there are more; all,
 * when the caller skips some. */
struct young_copy {
    struct queue_brief *items;
    unsigned count[QUEUE_PRIORITIES];
};

static void young_copy(struct pick *p, struct young_copy *c)
{
    struct young_dest *d = young_dest_find(p->q, p->dest);
    unsigned n = 0, enough;

    if (d == NULL)
        return;
    enough = p->skip == NULL && p->max < d->count ? p->max + 1 : d->count;
    c->items = mem_alloc_array(enough < d->count / QUEUE_PRIORITIES ? enough * QUEUE_PRIORITIES : d->count,
                               sizeof *c->items);
    for (unsigned priority = 0; priority < QUEUE_PRIORITIES; priority++) {
        LIST_FOREACH(&d->entries[priority], it)
        {
            const struct young *y = LIST_ENTRY(it, struct young, same);

            if (c->count[priority] == enough)
                break;
            if (y->state == QUEUE_HELD || !young_visible(&p->snap, y) || idmap_get(&p->q->active, y->id) != NULL)
                continue;
            c->count[priority]++;
            c->items[n++] = (struct queue_brief){ .id = y->id,
                                                  .dest = p->dest,
                                                  .due_ms = y->due_ms,
                                                  .bytes = y->bytes < UINT32_MAX ? (uint32_t)y->bytes : UINT32_MAX,
                                                  .priority = (uint8_t)priority };
        }
    }
}

/* The rows of one priority in the table, one after the other. */
struct row_walk {
    struct journal_cursor c;
    struct queue_brief b;
    bool has_row;
};

static void row_take(struct pick *p, struct row_walk *w, unsigned priority, slice key, slice value)
{
    w->has_row = w->has_row && key.len == 25 && get_be64(key.ptr) == p->dest && key.ptr[8] == priority;
    if (!w->has_row)
        return;
    w->b = (struct queue_brief){ .id = get_be64(key.ptr + 17),
                                 .dest = p->dest,
                                 .due_ms = (int64_t)get_be64(key.ptr + 9),
                                 .bytes = value.len == 4 ? get_le32(value.ptr) : 0,
                                 .priority = (uint8_t)priority };
}

static void row_next(struct pick *p, struct row_walk *w, unsigned priority, bool is_first)
{
    struct due_key k;
    slice key = SLICE_NONE, value = SLICE_NONE;

    do {
        w->has_row = is_first ? journal_cursor_seek(&w->c, due_key(&k, p->dest, priority, 0, 0), &key, &value)
                              : journal_cursor_next(&w->c, &key, &value);
        is_first = false;
        row_take(p, w, priority, key, value);
    } while (w->has_row && is_skipped(p, w->b.id));
}

/* Take b, or learn that there is more. False: no more of this priority is wanted. */
static bool brief_take(struct pick *p, const struct queue_brief *b)
{
    if (b->due_ms > p->now_ms) {
        next_take(p, b->due_ms);
        return false;
    }
    if (p->count == p->max) {
        next_take(p, p->now_ms);
        return false;
    }
    p->out[p->count++] = *b;
    return true;
}

static bool is_before(const struct queue_brief *a, const struct queue_brief *b)
{
    return a->due_ms < b->due_ms || (a->due_ms == b->due_ms && a->id < b->id);
}

static void pick_priority(struct pick *p, const struct queue_brief *young, unsigned count, unsigned priority)
{
    struct row_walk rows;
    bool goes_on = true;
    unsigned i = 0;

    journal_cursor_begin(&rows.c, p->snap.v, QT_DUE);
    row_next(p, &rows, priority, true);
    while (goes_on) {
        while (i < count && is_skipped(p, young[i].id))
            i++;
        if (rows.has_row && (i == count || is_before(&rows.b, &young[i]))) {
            goes_on = brief_take(p, &rows.b);
            if (goes_on)
                row_next(p, &rows, priority, false);
        } else {
            goes_on = i < count && brief_take(p, &young[i++]);
        }
    }
    journal_cursor_end(&rows.c);
}

unsigned queue_due(struct queue *q, uint64_t dest, int64_t now_ms, bool (*skip)(void *arg, uint64_t id), void *arg,
                   struct queue_brief *out, unsigned max, int64_t *next_due_ms)
{
    struct pick p = { .q = q, .dest = dest, .now_ms = now_ms, .skip = skip, .arg = arg, .out = out, .max = max };
    struct young_copy young = { .items = NULL };
    bool is_open;

    pthread_mutex_lock(&q->lock);
    is_open = snapshot_begin(q, NULL, &p.snap, NULL) == 0;
    if (is_open)
        young_copy(&p, &young);
    pthread_mutex_unlock(&q->lock);
    for (unsigned i = 0, from = 0; is_open && i < QUEUE_PRIORITIES; from += young.count[i++])
        pick_priority(&p, young.items + from, young.count[i], i);
    if (is_open)
        snapshot_end(&p.snap);
    else
        p.next_ms = now_ms + 1000; /* no reader was to be had: ask again */
    if (next_due_ms != NULL)
        *next_due_ms = p.next_ms;
    mem_free(young.items);
    return p.count;
}

/* --- notices ------------------------------------------------------------------------------------------------------ */

static void notice_take(struct pick *p, uint64_t *ids, uint64_t id, int64_t notice_ms)
{
    if (notice_ms > p->now_ms)
        next_take(p, notice_ms);
    else if (p->count == p->max)
        next_take(p, p->now_ms);
    else
        ids[p->count++] = id;
}

static void notices_of_table(struct pick *p, uint64_t *ids)
{
    struct journal_cursor c;
    int64_t at = 0;
    bool is_full = false;
    slice key;

    journal_cursor_begin(&c, p->snap.v, QT_NOTICE);
    while (at <= p->now_ms && !is_full && journal_cursor_next(&c, &key, NULL)) {
        uint64_t id = get_be64(key.ptr + 8);

        at = (int64_t)get_be64(key.ptr);
        if (is_aside(p->q, id, false))
            continue;
        is_full = p->count == p->max;
        notice_take(p, ids, id, at);
    }
    journal_cursor_end(&c);
}

/* The young ones whose time has come, at most max; seldom one, for they are a few seconds old. Under the lock. */
static unsigned notices_of_young(struct pick *p, uint64_t *ids)
{
    unsigned n = 0;

    LIST_FOREACH(&p->q->young, it)
    {
        const struct young *y = LIST_ENTRY(it, struct young, all);

        if (y->state == QUEUE_HELD || y->notice_ms == 0 || !young_visible(&p->snap, y))
            continue;
        if (y->notice_ms > p->now_ms)
            next_take(p, y->notice_ms);
        else if (n < p->max)
            ids[n++] = y->id;
    }
    return n;
}

unsigned queue_notice_due(struct queue *q, int64_t now_ms, uint64_t *ids, unsigned max, int64_t *next_ms)
{
    struct pick p = { .q = q, .now_ms = now_ms, .max = max };
    uint64_t *young = mem_alloc_array(max + 1, sizeof *young);
    unsigned young_count = 0;
    bool is_open;

    pthread_mutex_lock(&q->lock);
    is_open = snapshot_begin(q, NULL, &p.snap, NULL) == 0;
    if (is_open)
        young_count = notices_of_young(&p, young);
    pthread_mutex_unlock(&q->lock);
    if (is_open) {
        notices_of_table(&p, ids);
        for (unsigned i = 0; i < young_count; i++)
            notice_take(&p, ids, young[i], now_ms);
        snapshot_end(&p.snap);
    } else {
        p.next_ms = now_ms + 1000;
    }
    *next_ms = p.next_ms;
    mem_free(young);
    return p.count;
}
