/* young.c - entries that are in memory and in the journal, but not in the tables. */
#include "queue/internal.h"

static const slice version_key = { (const unsigned char *)"v", 1 };

static uint64_t version_read(struct journal_view *v)
{
    slice value;

    return journal_get(v, QT_STATE, version_key, &value) && value.len == 8 ? get_le64(value.ptr) : 0;
}

/* The first change of the memory in this transaction. */
static void stage_begin(struct queue *q, struct journal_tx *tx)
{
    struct journal_view *v = journal_tx_view(tx);
    unsigned char value[8];
    uint64_t version;

    if (q->staged_version != 0)
        return;
    version = version_read(v) + 1;
    pthread_mutex_lock(&q->lock);
    q->staged_version = version;
    pthread_mutex_unlock(&q->lock);
    put_le64(value, version);
    journal_put(v, QT_STATE, version_key, slice_of(value, sizeof value));
}

static void stage_push(struct queue *q, struct young *y)
{
    if (q->staged_count == q->staged_cap) {
        q->staged_cap = q->staged_cap * 2 + 64;
        q->staged = mem_realloc(q->staged, q->staged_cap * sizeof(q->staged[0]));
    }
    q->staged[q->staged_count++] = y;
}

int snapshot_begin(struct queue *q, struct journal_view *v, struct snapshot *s, struct err *err)
{
    *s = (struct snapshot){ .v = v };
    if (v != NULL && v->writable) {
        s->has_staged = true;
        return 0;
    }
    if (v == NULL) {
        if (q->journal == NULL)
            return err_set(err, ERR_TEMP, "the queue is not open");
        if (journal_read_begin(q->journal, &s->own, err) < 0)
            return -1;
        s->v = &s->own;
    }
    s->has_staged = q->staged_version != 0 && version_read(s->v) >= q->staged_version;
    return 0;
}

void snapshot_end(struct snapshot *s)
{
    if (s->v == &s->own)
        journal_read_end(&s->own);
    s->v = NULL;
}

/* --- one entry ---------------------------------------------------------------------------------------------------- */

struct young *young_find(struct queue *q, uint64_t id)
{
    struct young *y = idmap_get(&q->young_ids, id);

    return y != NULL && !y->is_removed ? y : NULL;
}

struct young_dest *young_dest_find(struct queue *q, uint64_t dest)
{
    return idmap_get(&q->young_dests, dest);
}

static struct young_dest *young_dest_get(struct queue *q, const struct queue_head *h)
{
    struct young_dest *d = idmap_get(&q->young_dests, h->dest);

    if (d != NULL)
        return d;
    d = mem_alloc(sizeof *d + h->channel.len + h->host.len + 1);
    d->dest = h->dest;
    for (unsigned p = 0; p < QUEUE_PRIORITIES; p++)
        list_init(&d->entries[p]);
    d->channel_len = (unsigned)h->channel.len;
    d->host_len = (unsigned)h->host.len;
    memcpy(d->name, h->channel.ptr, h->channel.len);
    if (h->host.len != 0)
        memcpy(d->name + h->channel.len, h->host.ptr, h->host.len);
    idmap_put(&q->young_dests, d->dest, d);
    return d;
}

/* Behind those that are due before; that is nearly always the end. */
static void same_insert(struct young_dest *d, struct young *y)
{
    struct list *head = &d->entries[y->priority], *at = head->prev;

    while (at != head && LIST_ENTRY(at, struct young, same)->due_ms > y->due_ms)
        at = at->prev;
    list_insert_before(at->next, &y->same);
}

static void young_unlink(struct queue *q, struct young *y)
{
    struct young_dest *d = y->dest;

    idmap_del(&q->young_ids, y->id);
    list_remove(&y->all);
    list_remove(&y->same);
    if (--d->count == 0) {
        idmap_del(&q->young_dests, d->dest);
        mem_free(d);
    }
    mem_free(y);
}

void young_add(struct queue *q, struct journal_tx *tx, uint64_t id, slice octets, const struct queue_head *h)
{
    struct young *y = mem_alloc(sizeof *y + octets.len);

    y->id = id;
    y->created_ms = h->created_ms;
    y->due_ms = h->due_ms;
    y->notice_ms = h->notice_ms;
    y->born_ms = q->clock != NULL ? clock_mono_ms(q->clock) : 0;
    y->bytes = body_view_bytes(&h->view);
    y->waiting = h->waiting;
    y->state = (uint8_t)h->state;
    y->priority = (uint8_t)h->priority;
    y->is_added = true;
    y->len = (uint32_t)octets.len;
    memcpy(y->octets, octets.ptr, octets.len);
    stage_begin(q, tx);
    pthread_mutex_lock(&q->lock);
    y->dest = young_dest_get(q, h);
    y->dest->count++;
    list_push_back(&q->young, &y->all);
    same_insert(y->dest, y);
    idmap_put(&q->young_ids, id, y);
    q->young_count++;
    pthread_mutex_unlock(&q->lock);
    stage_push(q, y);
}

bool young_take(struct queue *q, struct journal_tx *tx, uint64_t id, slice *octets)
{
    struct young *y = young_find(q, id);

    if (y == NULL)
        return false;
    stage_begin(q, tx);
    if (!y->is_added)
        stage_push(q, y);
    pthread_mutex_lock(&q->lock);
    y->is_removed = true;
    q->young_count--;
    pthread_mutex_unlock(&q->lock);
    if (octets != NULL)
        *octets = young_octets(y);
    return true;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

void young_committed(struct queue *q)
{
    for (unsigned i = 0; i < q->staged_count; i++) {
        if (q->staged[i]->is_removed)
            young_unlink(q, q->staged[i]);
        else
            q->staged[i]->is_added = false;
    }
    q->staged_count = 0;
    q->staged_version = 0;
}

void young_aborted(struct queue *q)
{
    for (unsigned i = 0; i < q->staged_count; i++) {
        struct young *y = q->staged[i];

        if (y->is_removed)
            q->young_count++;
        y->is_removed = false;
        if (!y->is_added)
            continue;
        q->young_count--;
        young_unlink(q, y);
    }
    q->staged_count = 0;
    q->staged_version = 0;
}

uint64_t young_oldest(struct queue *q)
{
    LIST_FOREACH(&q->young, it)
    {
        const struct young *y = LIST_ENTRY(it, struct young, all);

        if (!y->is_removed)
            return y->id;
    }
    return 0;
}

unsigned young_settle(struct queue *q, struct journal_tx *tx, uint64_t upto, int64_t born_before_ms, unsigned max)
{
    unsigned n = 0;

    LIST_FOREACH(&q->young, it)
    {
        struct young *y = LIST_ENTRY(it, struct young, all);
        struct queue_head h;

        if (y->id > upto || y->born_ms > born_before_ms || n == max)
            break;
        if (y->is_removed || !young_take(q, tx, y->id, NULL))
            continue;
        n++;
        if (queue_head_decode(young_octets(y), &h)) /* it did when it was added */
            table_put(journal_tx_view(tx), y->id, young_octets(y), &h);
    }
    return n;
}

void young_free(struct queue *q)
{
    LIST_FOREACH_SAFE(&q->young, it)
        young_unlink(q, LIST_ENTRY(it, struct young, all));
    idmap_free(&q->young_ids);
    idmap_free(&q->young_dests);
    mem_free(q->staged);
}
