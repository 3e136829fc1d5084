/* queue.c - the room: what it registers with the journal, its configuration, its life. */
#include "queue/internal.h"

#include "base/diag.h"

#define SETTLE_AT_ONCE 500u /* entries of one operation */
#define SCRATCH_BYTES 4096u

/* --- counters ----------------------------------------------------------------------------------------------------- */

#define C(place, n, words) [place] = { .name = "queue." n, .text = words, .kind = COUNTER_TOTAL }
struct counter queue_counters[QC_COUNT] = {
    C(QC_ENQUEUED, "recipients_created", "Recipients that came into the queue or passed it by."),
    C(QC_ENQUEUED + RCPT_DELIVERED, "recipients_delivered", "Recipients whose message is in a mailbox."),
    C(QC_ENQUEUED + RCPT_RELAYED, "recipients_relayed", "Recipients whose message another host took over."),
    C(QC_ENQUEUED + RCPT_FAILED, "recipients_failed", "Recipients that were refused for good."),
    C(QC_ENQUEUED + RCPT_RETURNED, "recipients_returned", "Recipients given up for age or by hand."),
    C(QC_ENQUEUED + RCPT_DELETED, "recipients_deleted", "Recipients removed by hand or thrown away."),
    C(QC_ENQUEUED + RCPT_EXPANDED, "recipients_expanded", "Recipients that others stand for."),
    C(QC_ENQUEUED + RCPT_MOVED, "recipients_moved", "Recipients moved to another channel."),
    C(QC_ENTRIES, "entries_created", "Entries made."),
    C(QC_ATTEMPTS, "attempts", "Attempts whose outcome was recorded."),
    C(QC_DEFERRED, "deferred", "Attempts after which recipients still wait."),
    C(QC_NEVER_STORED, "never_stored", "Entries that ended before they were written into the index."),
    C(QC_SETTLED, "settled", "Entries written into the index because they waited for queue.young_s."),
    C(QC_REFUSED, "refused", "New messages refused because of queue.entries_max."),
    C(QC_BUSY, "busy", "Requests by hand refused because the message was being delivered."),
    C(QC_GONE, "gone", "Results and requests for entries that had ended."),
    C(QC_TEMP_FAILURES, "temp_failures", "Requests that failed for a reason of ours: disk, load, damage."),
    C(QC_DAMAGED, "damaged", "Stored entries that did not decode and were set aside."),
    [QC_YOUNG] = { .name = "queue.young", .text = "Entries in memory only, now.", .kind = COUNTER_GAUGE },
};
#undef C

/* --- rows of types and tables ------------------------------------------------------------------------------------- */

static void refs_entry(const struct record *r, journal_ref_fn *ref, void *arg)
{
    struct queue_head h;

    if (!queue_head_decode(r->payload, &h))
        return;
    if (h.view.header_id != 0)
        ref(arg, h.view.header_id);
    ref(arg, h.view.body_id);
}

static void key_say(journal_key_fn *key, void *arg, slice s)
{
    if (s.len != 0)
        key(arg, s);
}

static void keys_entry(const struct record *r, journal_key_fn *key, void *arg)
{
    struct queue_entry e = { 0 };
    struct arena mem;

    arena_init(&mem, SCRATCH_BYTES);
    if (queue_entry_decode(r->payload, &mem, &e)) {
        key_say(key, arg, e.sender);
        key_say(key, arg, e.message_id);
        key_say(key, arg, e.session);
        for (unsigned i = 0; i < e.rcpt_count; i++) {
            key_say(key, arg, e.rcpts[i].address);
            key_say(key, arg, e.rcpts[i].original);
        }
    }
    arena_free(&mem);
}

static const struct journal_type types[] = {
    { QR_ENQUEUE, TYPE_YOUNG, "enqueue", apply_enqueue, refs_entry, queue_record_dump, image_entry, keys_entry },
    { QR_ENTRY_IMAGE, 0, "entry_image", apply_image, refs_entry, queue_record_dump, image_entry, keys_entry },
    { QR_CHANGE, TYPE_YOUNG, "entry_change", apply_change, NULL, queue_record_dump, image_entry, NULL },
    { QR_DONE, TYPE_YOUNG, "entry_done", apply_done, NULL, queue_record_dump, NULL, NULL },
    { QR_CHANNEL, TYPE_WHOLE, "channel", apply_channel, NULL, queue_record_dump, image_channel, NULL },
};

static const struct journal_table tables[] = {
    { QT_ENTRY, "queue.entry", 0 },     { QT_DUE, "queue.due", 0 },
    { QT_NOTICE, "queue.notice", 0 },   { QT_DEST, "queue.dest", 0 },
    { QT_DEST_ENTRY, "queue.dest_entry", 0 }, { QT_CHANNEL, "queue.channel", 0 },
    { QT_SUM, "queue.sum", 0 },         { QT_STATE, "queue.state", TABLE_PHYSICAL },
};

/* --- what the scheduler is told ----------------------------------------------------------------------------------- */

static void brief_push(struct queue_brief **items, unsigned *count, unsigned *cap, const struct queue_brief *b)
{
    if (*count == *cap) {
        *cap = *cap * 2 + 64;
        *items = mem_realloc(*items, *cap * sizeof **items);
    }
    (*items)[(*count)++] = *b;
}

void note_ready(struct queue *q, uint64_t id, const struct queue_head *h)
{
    uint64_t bytes = body_view_bytes(&h->view);
    struct queue_brief b = { .id = id,
                             .dest = h->dest,
                             .due_ms = h->due_ms,
                             .bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX,
                             .priority = (uint8_t)h->priority };

    brief_push(&q->ready, &q->ready_count, &q->ready_cap, &b);
}

void note_gone(struct queue *q, uint64_t id, uint64_t dest)
{
    brief_push(&q->gone, &q->gone_count, &q->gone_cap, &(struct queue_brief){ .id = id, .dest = dest });
}

void note_channel(struct queue *q, slice name, bool is_stopped)
{
    struct staged_channel *c;

    if (q->channels_count == q->channels_cap) {
        q->channels_cap = q->channels_cap * 2 + 8;
        q->channels = mem_realloc(q->channels, q->channels_cap * sizeof *q->channels);
    }
    c = &q->channels[q->channels_count++];
    *c = (struct staged_channel){ .is_stopped = is_stopped };
    memcpy(c->name, name.ptr, name.len);
}

static void stopped_change(struct queue *q, const struct staged_channel *c)
{
    unsigned i = 0;

    while (i < q->stopped_count && strcmp(q->stopped[i].name, c->name) != 0)
        i++;
    if (c->is_stopped && i == q->stopped_count) {
        q->stopped = mem_realloc(q->stopped, (i + 1) * sizeof *q->stopped);
        q->stopped[q->stopped_count++] = *c;
    } else if (!c->is_stopped && i < q->stopped_count) {
        q->stopped[i] = q->stopped[--q->stopped_count];
    }
}

static void notes_clear(struct queue *q)
{
    q->ready_count = q->gone_count = q->channels_count = 0;
    memset(q->counted, 0, sizeof q->counted);
    q->counted_entries = q->counted_never_stored = 0;
}

static void notes_tell(struct queue *q)
{
    static const struct queue_watch nobody;
    const struct queue_watch *w = q->has_watch ? &q->watch : &nobody;

    for (unsigned i = 0; i < q->channels_count && w->channel != NULL; i++)
        w->channel(w->arg, slice_str(q->channels[i].name), q->channels[i].is_stopped);
    for (unsigned i = 0; i < q->gone_count && w->gone != NULL; i++)
        w->gone(w->arg, q->gone[i].dest, q->gone[i].id);
    if (q->ready_count != 0 && w->ready != NULL)
        w->ready(w->arg, q->ready, q->ready_count);
    for (unsigned i = 0; i < QUEUE_TOTALS; i++)
        counter_add(&queue_counters[QC_ENQUEUED + i], q->counted[i]);
    counter_add(&queue_counters[QC_ENTRIES], q->counted_entries);
    counter_add(&queue_counters[QC_NEVER_STORED], q->counted_never_stored);
}

void queue_watch_set(struct queue *q, const struct queue_watch *w)
{
    q->watch = *w;
    q->has_watch = true;
}

/* --- the batch ---------------------------------------------------------------------------------------------------- */

static void on_committed(void *room)
{
    struct queue *q = room;

    pthread_mutex_lock(&q->lock);
    young_committed(q);
    for (unsigned i = 0; i < q->channels_count; i++)
        stopped_change(q, &q->channels[i]);
    pthread_mutex_unlock(&q->lock);
    if (q->clock == NULL) {
        notes_clear(q);
        return;
    }
    counter_set(&queue_counters[QC_YOUNG], q->young_count);
    notes_tell(q);
    notes_clear(q);
    queue_tick(q);
}

static void on_aborted(void *room)
{
    struct queue *q = room;

    pthread_mutex_lock(&q->lock);
    young_aborted(q);
    pthread_mutex_unlock(&q->lock);
    notes_clear(q);
}

static uint64_t on_young_from(void *room)
{
    return young_oldest(room);
}

static int on_settle(struct journal_tx *tx, void *room, uint64_t upto, struct err *err UNUSED)
{
    young_settle(room, tx, upto, INT64_MAX, UINT32_MAX);
    return 0;
}

/* --- growing old -------------------------------------------------------------------------------------------------- */

static int64_t born_limit(struct queue *q)
{
    return clock_mono_ms(q->clock) - q->young_ms;
}

/* Changes only the index: there is nothing to record. */
static int settle_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    struct queue *q = CONTAINER_OF(op, struct queue, settle_op);
    unsigned n = young_settle(q, tx, UINT64_MAX, born_limit(q), SETTLE_AT_ONCE);

    counter_add(&queue_counters[QC_SETTLED], n);
    return 0;
}

static void settle_done(struct journal_op *op)
{
    struct queue *q = CONTAINER_OF(op, struct queue, settle_op);

    pthread_mutex_lock(&q->lock);
    q->is_settling = false;
    pthread_mutex_unlock(&q->lock);
    if (op->err.kind == ERR_NONE)
        queue_tick(q); /* if there are more */
}

void queue_tick(struct queue *q)
{
    bool is_time = false;

    if (q->journal == NULL)
        return;
    pthread_mutex_lock(&q->lock);
    if (!q->is_settling && !list_is_empty(&q->young))
        is_time = LIST_ENTRY(q->young.next, struct young, all)->born_ms <= born_limit(q);
    q->is_settling = q->is_settling || is_time;
    pthread_mutex_unlock(&q->lock);
    if (!is_time)
        return;
    q->settle_op = (struct journal_op){ .run = settle_run,
                                        .done = settle_done,
                                        .session = UINT64_MAX,
                                        .cost = SETTLE_AT_ONCE / 10,
                                        .lane = LANE_QUEUE,
                                        .flags = OP_FREES };
    if (journal_submit(q->journal, &q->settle_op))
        return;
    pthread_mutex_lock(&q->lock);
    q->is_settling = false;
    pthread_mutex_unlock(&q->lock);
}

/* --- configuration ------------------------------------------------------------------------------------------------ */

void settings_get(struct queue *q, struct settings *s)
{
    pthread_mutex_lock(&q->lock);
    s->set = q->conf;
    if (s->set != NULL)
        snap_ref(&s->set->snap);
    pthread_mutex_unlock(&q->lock);
    s->queue = s->set != NULL ? conf_section(s->set, CONF_QUEUE) : NULL;
    s->channels = s->set != NULL ? conf_section(s->set, CONF_CHANNELS) : NULL;
    if (s->queue == NULL)
        s->queue = &q->default_queue;
    if (s->channels == NULL)
        s->channels = &q->default_channels;
}

void settings_put(struct settings *s)
{
    if (s->set != NULL)
        snap_unref(&s->set->snap);
    s->set = NULL;
}

const struct channel_conf *settings_channel(const struct settings *s, slice name)
{
    const struct channel_conf *c = channel_conf_find(s->channels, name);

    return c != NULL ? c : &s->channels->channels[0];
}

bool channel_holds(const struct channel_conf *c)
{
    return c->held || slice_eq(c->type, SLICE("hold"));
}

void queue_configure(struct queue *q, struct conf_set *conf)
{
    const struct queue_conf *c = conf != NULL ? conf_section(conf, CONF_QUEUE) : NULL;
    struct conf_set *old;

    if (c == NULL)
        c = &q->default_queue;
    if (conf != NULL)
        snap_ref(&conf->snap);
    pthread_mutex_lock(&q->lock);
    old = q->conf;
    q->conf = conf;
    q->young_max = c->young_max;
    q->young_ms = (int64_t)c->young_s * 1000;
    pthread_mutex_unlock(&q->lock);
    if (old != NULL)
        snap_unref(&old->snap);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static OWNED struct queue *bare_new(void)
{
    struct queue *q = mem_alloc(sizeof *q);

    pthread_mutex_init(&q->lock, NULL);
    list_init(&q->young);
    idmap_init(&q->young_ids);
    idmap_init(&q->young_dests);
    idmap_init(&q->active);
    idmap_init(&q->aside);
    arena_init(&q->scratch, SCRATCH_BYTES);
    arena_init(&q->defaults, SCRATCH_BYTES);
    keys_default(&queue_keys, &q->default_queue, &q->defaults);
    channels_conf_read(NULL, NULL, false, &q->default_channels, &q->defaults, NULL, NULL);
    queue_configure(q, NULL);
    q->room = (struct journal_room){
        .name = "queue",
        .types = types,
        .type_count = ARRAY_LEN(types),
        .tables = tables,
        .table_count = ARRAY_LEN(tables),
        .state = q,
        .committed = on_committed,
        .aborted = on_aborted,
        .young_from = on_young_from,
        .settle = on_settle,
    };
    return q;
}

static void bare_destroy(struct queue *q)
{
    if (q->conf != NULL)
        snap_unref(&q->conf->snap);
    young_free(q);
    idmap_free(&q->active);
    idmap_free(&q->aside);
    mem_free(q->stopped);
    mem_free(q->ready);
    mem_free(q->gone);
    mem_free(q->channels);
    arena_free(&q->scratch);
    arena_free(&q->defaults);
    pthread_mutex_destroy(&q->lock);
    mem_free(q);
}

/* For journal_check: a room beside the real one. */
static void *state_new(void)
{
    return bare_new();
}

static void state_destroy(void *state)
{
    bare_destroy(state);
}

int queue_new(struct queue **out, const struct clock *clock, struct err *err UNUSED)
{
    struct queue *q = bare_new();

    counter_register(queue_counters, QC_COUNT);
    q->clock = clock;
    q->room.state_new = state_new;
    q->room.state_destroy = state_destroy;
    *out = q;
    return 0;
}

const struct journal_room *queue_room(struct queue *q)
{
    return &q->room;
}

int queue_attach(struct queue *q, struct journal *j, struct err *err)
{
    struct journal_view v;
    struct journal_cursor c;
    struct queue_channel channel;
    slice key, value;

    if (journal_read_begin(j, &v, err) < 0)
        return -1;
    journal_cursor_begin(&c, &v, QT_CHANNEL);
    pthread_mutex_lock(&q->lock);
    while (journal_cursor_next(&c, &key, &value)) {
        struct staged_channel s = { .is_stopped = true };

        if (!queue_channel_decode(slice_from(value, 8), &channel) || !channel.is_stopped)
            continue;
        memcpy(s.name, channel.name.ptr, channel.name.len);
        stopped_change(q, &s);
    }
    q->journal = j;
    pthread_mutex_unlock(&q->lock);
    journal_cursor_end(&c);
    journal_read_end(&v);
    return 0;
}

void queue_destroy(struct queue **q)
{
    if (*q == NULL)
        return;
    bare_destroy(*q);
    *q = NULL;
}

bool queue_channel_is_stopped(struct queue *q, slice channel)
{
    bool found = false;

    pthread_mutex_lock(&q->lock);
    for (unsigned i = 0; i < q->stopped_count && !found; i++)
        found = slice_eq(slice_str(q->stopped[i].name), channel);
    pthread_mutex_unlock(&q->lock);
    return found;
}

bool queue_mark_active(struct queue *q, uint64_t id, bool is_active)
{
    bool was;

    pthread_mutex_lock(&q->lock);
    was = is_active ? idmap_put(&q->active, id, q) != NULL : idmap_del(&q->active, id) != NULL;
    pthread_mutex_unlock(&q->lock);
    return is_active && !was;
}
