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

static bool is_skipped(struct pick *p, uint64_t id)
{
    return idmap_get(&p->q->active, id) != NULL || idmap_get(&p->q->aside, id) != NULL ||
           (p->skip != NULL && p->skip(p->arg, id));
}

/* The young ones of one priority, one after the other. */
struct young_walk {
    struct list *head, *at;
};

static const struct young *young_next(struct pick *p, struct young_walk *w)
{
    while (w->head != NULL && w->at != w->head) {
        const struct young *y = LIST_ENTRY(w->at, struct young, same);

        if (y->state != QUEUE_HELD && young_visible(&p->snap, y) && !is_skipped(p, y->id))
            return y;
        w->at = w->at->next;
    }
    return NULL;
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

static void pick_priority(struct pick *p, struct young_dest *d, unsigned priority)
{
    struct young_walk yw = { 0 };
    struct row_walk rw;
    const struct young *y;
    bool goes_on = true;

    if (d != NULL)
        yw = (struct young_walk){ &d->entries[priority], d->entries[priority].next };
    journal_cursor_begin(&rw.c, p->snap.v, QT_DUE);
    row_next(p, &rw, priority, true);
    y = young_next(p, &yw);
    while (goes_on && (rw.has_row || y != NULL)) {
        bool row_first = rw.has_row && (y == NULL || rw.b.due_ms < y->due_ms ||
                                        (rw.b.due_ms == y->due_ms && rw.b.id < y->id));

        if (row_first) {
            goes_on = brief_take(p, &rw.b);
            if (goes_on)
                row_next(p, &rw, priority, false);
            continue;
        }
        goes_on = brief_take(p, &(struct queue_brief){ .id = y->id,
                                                       .dest = p->dest,
                                                       .due_ms = y->due_ms,
                                                       .bytes = y->bytes < UINT32_MAX ? (uint32_t)y->bytes : UINT32_MAX,
                                                       .priority = (uint8_t)priority });
        yw.at = yw.at->next;
        if (goes_on)
            y = young_next(p, &yw);
    }
    journal_cursor_end(&rw.c);
}

unsigned queue_due(struct queue *q, uint64_t dest, int64_t now_ms, bool (*skip)(void *arg, uint64_t id), void *arg,
                   struct queue_brief *out, unsigned max, int64_t *next_due_ms)
{
    struct pick p = { .q = q, .dest = dest, .now_ms = now_ms, .skip = skip, .arg = arg, .out = out, .max = max };

    pthread_mutex_lock(&q->lock);
    if (snapshot_begin(q, NULL, &p.snap, NULL) == 0) {
        for (unsigned i = 0; i < QUEUE_PRIORITIES; i++)
            pick_priority(&p, young_dest_find(q, dest), i);
        snapshot_end(&p.snap);
    } else {
        p.next_ms = now_ms + 1000; /* no reader was to be had: ask again */
    }
    pthread_mutex_unlock(&q->lock);
    if (next_due_ms != NULL)
        *next_due_ms = p.next_ms;
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
    slice key;

    journal_cursor_begin(&c, p->snap.v, QT_NOTICE);
    while (at <= p->now_ms && (p->next_ms == 0 || p->next_ms > p->now_ms) && journal_cursor_next(&c, &key, NULL)) {
        uint64_t id = get_be64(key.ptr + 8);

        at = (int64_t)get_be64(key.ptr);
        if (idmap_get(&p->q->aside, id) == NULL)
            notice_take(p, ids, id, at);
    }
    journal_cursor_end(&c);
}

unsigned queue_notice_due(struct queue *q, int64_t now_ms, uint64_t *ids, unsigned max, int64_t *next_ms)
{
    struct pick p = { .q = q, .now_ms = now_ms, .max = max };

    pthread_mutex_lock(&q->lock);
    if (snapshot_begin(q, NULL, &p.snap, NULL) == 0) {
        notices_of_table(&p, ids);
        LIST_FOREACH(&q->young, it)
        {
            const struct young *y = LIST_ENTRY(it, struct young, all);

            if (y->state != QUEUE_HELD && y->notice_ms != 0 && young_visible(&p.snap, y))
                notice_take(&p, ids, y->id, y->notice_ms);
        }
        snapshot_end(&p.snap);
    } else {
        p.next_ms = now_ms + 1000;
    }
    pthread_mutex_unlock(&q->lock);
    *next_ms = p.next_ms;
    return p.count;
}
