/* emit.c - new entries and totals, as records. */
#include "queue/internal.h"

#define TEXT_MAX 1000u                 /* of each text of an entry, and of an address: SMTP's are shorter */
#define ENTRY_BYTES_MAX (960u * 1024u) /* with all diagnostics it may ever get: fits a value of the index */
#define RCPT_BYTES_EXTRA 32u           /* of a recipient, beside its texts */
#define ENTRY_RECORDS_BYTES 16384u     /* of an entry's records, without recipients */

/* --- totals ------------------------------------------------------------------------------------------------------- */

void emit_totals(struct queue *q, struct journal_tx *tx, slice channel, const uint64_t add[QUEUE_TOTALS])
{
    struct buf payload = BUF_INIT;
    struct queue_channel c;
    uint64_t object;

    table_channel(journal_tx_view(tx), channel, &object, &c);
    for (unsigned i = 0; i < QUEUE_TOTALS; i++) {
        c.totals[i] += add[i];
        q->counted[i] += (int64_t)add[i];
    }
    queue_channel_encode(&payload, &c);
    journal_emit(tx, QR_CHANNEL, object, 0, 0, buf_slice(&payload));
    buf_free(&payload);
}

void queue_emit_passed(struct queue *q, struct journal_tx *tx, slice channel, enum queue_rcpt_state end, uint64_t n)
{
    uint64_t add[QUEUE_TOTALS] = { [TOTAL_CREATED] = n };

    ASSERT(end != RCPT_WAITING && end < RCPT_STATES);
    add[end] = n;
    if (n != 0)
        emit_totals(q, tx, slice_sub(channel, 0, CHANNEL_NAME_MAX), add);
}

int emit_stopped(struct queue *q UNUSED, struct journal_tx *tx, slice channel, bool is_stopped, struct err *err)
{
    struct buf payload = BUF_INIT;
    struct queue_channel c;
    uint64_t object;

    if (channel.len == 0 || channel.len > CHANNEL_NAME_MAX)
        return err_set(err, ERR_SYNTAX, "this is no name of a channel");
    table_channel(journal_tx_view(tx), channel, &object, &c);
    if (c.is_stopped == is_stopped)
        return 0;
    c.is_stopped = is_stopped;
    queue_channel_encode(&payload, &c);
    journal_emit(tx, QR_CHANNEL, object, 0, 0, buf_slice(&payload));
    buf_free(&payload);
    return 0;
}

/* --- entries ------------------------------------------------------------------------------------------------------ */

static size_t rcpt_bytes(const struct queue_rcpt *r)
{
    return r->address.len + r->original.len + r->orcpt.len + QUEUE_DIAG_MAX + QUEUE_STATUS_MAX + RCPT_BYTES_EXTRA;
}

static int entry_check(const struct queue_entry *e, struct err *err)
{
    unsigned waiting = 0;

    if (e->channel.len == 0 || e->channel.len > CHANNEL_NAME_MAX || e->host.len > QUEUE_HOST_MAX)
        return err_set(err, ERR_SYNTAX, "the name of the channel or host is missing or too long");
    if (e->sender.len > TEXT_MAX || e->envid.len > TEXT_MAX || e->auth.len > TEXT_MAX)
        return err_set(err, ERR_SYNTAX, "the sender or its parameters are too long");
    for (unsigned i = 0; i < e->rcpt_count; i++) {
        const struct queue_rcpt *r = &e->rcpts[i];

        if (r->address.len > TEXT_MAX || r->original.len > TEXT_MAX || r->orcpt.len > TEXT_MAX)
            return err_set(err, ERR_SYNTAX, "a recipient is too long");
        waiting += r->state == RCPT_WAITING;
    }
    return waiting != 0 ? 0 : err_set(err, ERR_SYNTAX, "a message without a recipient");
}

static int limit_check(struct queue *q, struct journal_view *v, uint32_t max, struct err *err)
{
    if (max == 0 || journal_table_count(v, QT_ENTRY) + q->young_count < max)
        return 0;
    counter_add(&queue_counters[QC_REFUSED], 1);
    return err_set(err, ERR_LIMIT, "the queue is full: queue.entries_max is %u", max);
}

bool queue_has_room(struct queue *q)
{
    struct settings s;
    struct snapshot snap;
    uint32_t max;
    bool has_room = true;

    settings_get(q, &s);
    max = s.queue->entries_max;
    settings_put(&s);
    if (max == 0)
        return true;
    pthread_mutex_lock(&q->lock);
    if (snapshot_begin(q, NULL, &snap, NULL) == 0) {
        has_room = limit_check(q, snap.v, max, NULL) == 0;
        snapshot_end(&snap);
    }
    pthread_mutex_unlock(&q->lock);
    return has_room;
}

/* What the queue decides about a new entry. */
static void entry_complete(struct queue_entry *e, const struct settings *s, int64_t now_ms)
{
    const struct channel_conf *c = settings_channel(s, e->channel);
    const struct queue_times *notices;

    if (e->priority >= QUEUE_PRIORITIES)
        e->priority = QUEUE_NORMAL;
    if (e->created_ms <= 0 || e->created_ms > now_ms)
        e->created_ms = now_ms;
    if (e->state != QUEUE_DEFERRED || e->due_ms <= now_ms) {
        e->due_ms = now_ms;
        if (e->state == QUEUE_DEFERRED)
            e->state = QUEUE_READY;
    }
    if (e->attempted_ms < 0 || e->attempted_ms > now_ms)
        e->attempted_ms = now_ms;
    if (channel_holds(c))
        e->state = QUEUE_HELD;
    notices = &c->notices_of[e->priority];
    e->notice_ms = e->created_ms + notices->ms[e->notices < notices->count ? e->notices : notices->count - 1];
    e->message_id = slice_sub(e->message_id, 0, TEXT_MAX);
    e->source = slice_sub(e->source, 0, TEXT_MAX);
    e->session = slice_sub(e->session, 0, TEXT_MAX);
    e->source_host = slice_sub(e->source_host, 0, TEXT_MAX);
    e->user = slice_sub(e->user, 0, TEXT_MAX);
}

/* One record from recipient *at on, as many as fit. */
static uint64_t piece_emit(struct journal_tx *tx, struct queue_entry *piece, const struct queue_entry *e, unsigned *at,
                           uint32_t rcpts_max)
{
    struct buf payload = BUF_INIT;
    size_t bytes = 0;
    uint64_t id;

    piece->rcpt_count = 0;
    for (; *at < e->rcpt_count && piece->rcpt_count < rcpts_max; ++*at) {
        const struct queue_rcpt *r = &e->rcpts[*at];

        if (r->state != RCPT_WAITING)
            continue;
        bytes += rcpt_bytes(r);
        if (bytes > ENTRY_BYTES_MAX)
            break;
        piece->rcpts[piece->rcpt_count++] = *r;
    }
    if (piece->rcpt_count == 0)
        return 0; /* only ended ones were left */
    if (piece->message == 0)
        piece->message = journal_next_seq(tx);
    queue_entry_encode(&payload, piece);
    id = journal_emit(tx, QR_ENQUEUE, 0, 0, 0, buf_slice(&payload));
    buf_free(&payload);
    return id;
}

uint64_t emit_entry(struct queue *q, struct journal_tx *tx, const struct queue_entry *e, bool is_ours, struct err *err)
{
    uint64_t add[QUEUE_TOTALS] = { 0 }, first = 0;
    struct queue_entry piece = *e;
    struct settings s;
    uint32_t entries_max, rcpts_max;

    if (entry_check(e, err) < 0)
        return 0;
    settings_get(q, &s);
    entries_max = s.queue->entries_max;
    rcpts_max = s.queue->entry_recipients_max;
    entry_complete(&piece, &s, journal_tx_now_ms(tx));
    settings_put(&s);
    if (!is_ours && limit_check(q, journal_tx_view(tx), entries_max, err) < 0)
        return 0;
    piece.dest = dest_id(q, journal_tx_view(tx), e->channel, e->host);
    if (piece.dest == 0) {
        err_set(err, ERR_TEMP, "no id is free for the destination %.*s", SLICE_ARG(e->host));
        return 0;
    }
    piece.rcpts = mem_alloc_array(e->rcpt_count, sizeof *piece.rcpts);
    for (unsigned at = 0; at < e->rcpt_count;) {
        uint64_t id = piece_emit(tx, &piece, e, &at, rcpts_max);

        first = first == 0 ? id : first;
        add[TOTAL_CREATED] += piece.rcpt_count;
    }
    mem_free(piece.rcpts);
    emit_totals(q, tx, e->channel, add);
    return first;
}

uint64_t queue_emit_addition(struct queue *q, struct journal_tx *tx, struct queue_addition *a, struct err *err)
{
    struct queue_entry e = a->entry;

    if (a->body != NULL)
        e.view = (struct body_view){ .body_id = journal_emit_body(tx, a->body),
                                     .body_bytes = (uint32_t)body_writer_bytes(a->body) };
    if (a->body == NULL && a->header.len != 0) {
        e.view.header_id = journal_emit_octets(tx, a->header);
        e.view.header_bytes = (uint32_t)a->header.len;
    }
    a->id = emit_entry(q, tx, &e, true, err);
    return a->id;
}

uint64_t queue_addition_bytes(const struct queue_addition *a)
{
    uint64_t bytes = ENTRY_RECORDS_BYTES + a->header.len;

    for (unsigned i = 0; i < a->entry.rcpt_count; i++)
        bytes += rcpt_bytes(&a->entry.rcpts[i]);
    if (a->body != NULL && !body_writer_is_spooled(a->body))
        bytes += body_writer_bytes(a->body);
    return bytes;
}

uint64_t queue_emit_enqueue(struct queue *q, struct journal_tx *tx, const struct queue_entry *e, struct err *err)
{
    return emit_entry(q, tx, e, false, err);
}
