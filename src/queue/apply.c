/* apply.c - records into memory and tables: live, and the same at replay. */
#include "queue/internal.h"

#include "base/diag.h"

static int undecodable(const struct record *r, struct err *err)
{
    return err_set(err, ERR_DAMAGE, "queue record %llu of entry %llu does not decode", (unsigned long long)r->seq,
                   (unsigned long long)r->object);
}

void entry_damaged(struct queue *q, uint64_t id)
{
    bool is_new;

    if (q->clock == NULL)
        return; /* the room beside which it is checked has said so */
    pthread_mutex_lock(&q->lock);
    is_new = idmap_put(&q->aside, id, q) == NULL;
    pthread_mutex_unlock(&q->lock);
    if (!is_new)
        return;
    counter_add(&queue_counters[QC_DAMAGED], 1);
    diag_error("queue", "entry %llx does not decode and is set aside", (unsigned long long)id);
}

slice entry_octets(struct queue *q, struct journal_view *v, uint64_t id)
{
    const struct young *y = young_find(q, id);

    return y != NULL ? young_octets(y) : table_entry(v, id);
}

static void view_ref(struct journal_tx *tx, const struct body_view *view, int delta)
{
    journal_body_ref(tx, view->header_id, delta);
    journal_body_ref(tx, view->body_id, delta);
}

/* Nobody is told of a replay, nor by a shadow. */
static bool is_told(const struct queue *q, const struct journal_tx *tx)
{
    return q->clock != NULL && !journal_tx_is_replay(tx);
}

int apply_enqueue(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct queue *q = room;
    struct journal_view *v = journal_tx_view(tx);
    bool is_young = journal_tx_is_young(tx);
    struct queue_head h;

    if (!queue_head_decode(r->payload, &h))
        return undecodable(r, err);
    if (young_find(q, r->object) != NULL || table_entry(v, r->object).len != 0)
        return 0;
    if (!is_young)
        view_ref(tx, &h.view, +1);
    if (is_young || q->young_count < q->young_max)
        young_add(q, tx, r->object, r->payload, &h);
    else
        table_put(v, r->object, r->payload, &h);
    if (!is_told(q, tx))
        return 0;
    q->counted_entries++;
    if (h.state != QUEUE_HELD)
        note_ready(q, r->object, &h);
    return 0;
}

int apply_image(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct queue *q = room;
    struct journal_view *v = journal_tx_view(tx);
    struct queue_head h;
    bool is_known;

    if (!queue_head_decode(r->payload, &h))
        return undecodable(r, err);
    is_known = young_take(q, tx, r->object, NULL) || table_entry(v, r->object).len != 0;
    if (!is_known)
        view_ref(tx, &h.view, +1);
    table_put(v, r->object, r->payload, &h);
    return 0;
}

static void change_tell(struct queue *q, uint64_t id, enum queue_what what, uint64_t dest_before,
                        const struct queue_head *now)
{
    if (what == QUEUE_HOLD || what == QUEUE_REROUTE)
        note_gone(q, id, dest_before);
    if ((what == QUEUE_RELEASE || what == QUEUE_RETRY || what == QUEUE_REROUTE) && now->state != QUEUE_HELD)
        note_ready(q, id, now);
}

int apply_change(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct queue *q = room;
    struct journal_view *v = journal_tx_view(tx);
    struct queue_entry e = { .id = r->object };
    struct queue_change c;
    struct queue_head h;
    struct buf now = BUF_INIT;
    uint64_t dest_before;
    slice octets;

    arena_reset(&q->scratch);
    if (!queue_change_decode(r->payload, &q->scratch, &c))
        return undecodable(r, err);
    if (journal_tx_is_young(tx)) { /* since then it is in the tables, as it is now */
        young_take(q, tx, r->object, NULL);
        return 0;
    }
    octets = entry_octets(q, v, r->object);
    if (octets.len == 0)
        return 0;
    if (!queue_entry_decode(octets, &q->scratch, &e)) {
        entry_damaged(q, r->object);
        return 0;
    }
    dest_before = e.dest;
    queue_change_apply(&c, &e);
    queue_entry_encode(&now, &e);
    if (queue_head_decode(buf_slice(&now), &h)) {
        young_take(q, tx, r->object, NULL);
        table_put(v, r->object, buf_slice(&now), &h);
        if (is_told(q, tx))
            change_tell(q, r->object, c.what, dest_before, &h);
    }
    buf_free(&now);
    return 0;
}

int apply_done(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct queue *q = room;
    struct journal_view *v = journal_tx_view(tx);
    struct queue_change c;
    struct queue_head h;
    bool was_young;
    slice octets;

    arena_reset(&q->scratch);
    if (!queue_change_decode(r->payload, &q->scratch, &c))
        return undecodable(r, err);
    was_young = young_take(q, tx, r->object, &octets);
    if (journal_tx_is_young(tx))
        return 0;
    if (!was_young)
        octets = table_entry(v, r->object);
    if (octets.len == 0)
        return 0;
    if (!queue_head_decode(octets, &h)) {
        entry_damaged(q, r->object);
        return 0;
    }
    if (!was_young)
        table_remove(v, r->object, &h);
    else if (is_told(q, tx))
        q->counted_never_stored++;
    view_ref(tx, &h.view, -1);
    if (is_told(q, tx) && c.what != QUEUE_RESULT)
        note_gone(q, r->object, h.dest);
    return 0;
}

int apply_channel(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct queue *q = room;
    struct journal_view *v = journal_tx_view(tx);
    struct queue_channel now, before;
    uint64_t object;

    if (!queue_channel_decode(r->payload, &now))
        return undecodable(r, err);
    table_channel(v, now.name, &object, &before);
    if (before.is_stopped != now.is_stopped)
        note_channel(q, now.name, now.is_stopped);
    table_channel_put(v, r->object, &now);
    return 0;
}

/* --- images ------------------------------------------------------------------------------------------------------- */

int image_entry(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err UNUSED)
{
    slice octets = entry_octets(room, journal_tx_view(tx), object);

    if (octets.len != 0)
        journal_emit(tx, QR_ENTRY_IMAGE, object, part, RECORD_IMAGE, octets);
    return 0;
}

int image_channel(struct journal_tx *tx, void *room UNUSED, uint64_t object, uint32_t part, struct err *err UNUSED)
{
    struct journal_cursor c;
    struct buf payload = BUF_INIT;
    slice key, value;

    journal_cursor_begin(&c, journal_tx_view(tx), QT_CHANNEL);
    while (journal_cursor_next(&c, &key, &value) && payload.len == 0)
        if (value.len > 8 && get_le64(value.ptr) == object)
            buf_put_slice(&payload, slice_from(value, 8));
    journal_cursor_end(&c);
    if (payload.len != 0)
        journal_emit(tx, QR_CHANNEL, object, part, RECORD_IMAGE, buf_slice(&payload));
    buf_free(&payload);
    return 0;
}
