#include "journal/catchup.h"

#include <time.h>

#include "base/diag.h"
#include "base/mem.h"

#define LANE_QUANTUM 250 /* messages a lane of weight 1 may touch per round */
#define LARGE_COST 250 /* such an operation takes longer to prepare than a message to be written and synced */
#define FLOW_QUANTUM 64 /* messages one session may touch before its neighbour's turn */
#define OP_COST_MAX 1000
#define CATCHUP_PAUSE_MS 20 /* of a rebuild for which there is no room */
#define COPY_MAX_BYTES 8192 /* payloads up to this are gathered into one buffer, larger ones written in place */

struct counter journal_counters[JC_COUNT] = {
    [JC_BATCHES] = { "journal.batches", "batches written and synced", COUNTER_TOTAL, 0 },
    [JC_OPS] = { "journal.operations", "operations made durable", COUNTER_TOTAL, 0 },
    [JC_RECORDS] = { "journal.records", "records written", COUNTER_TOTAL, 0 },
    [JC_BYTES] = { "journal.bytes", "octets written to segments", COUNTER_TOTAL, 0 },
    [JC_SYNC_US] = { "journal.sync_us", "microseconds spent in write and sync", COUNTER_TOTAL, 0 },
    [JC_REFUSED] = { "journal.refused", "operations refused", COUNTER_TOTAL, 0 },
    [JC_RERUN] = { "journal.rerun", "batches run again because an operation failed late", COUNTER_TOTAL, 0 },
    [JC_WRITE_FAILED] = { "journal.write_failed", "batches refused because the disk failed", COUNTER_TOTAL, 0 },
    [JC_ROLLS] = { "journal.rolls", "segments begun", COUNTER_TOTAL, 0 },
    [JC_KEPT] = { "journal.kept_segments", "segments that cannot be emptied because of damage", COUNTER_GAUGE, 0 },
    [JC_EMPTIED] = { "journal.emptied", "segments emptied", COUNTER_TOTAL, 0 },
    [JC_WAITING] = { "journal.waiting", "operations waiting for the committer", COUNTER_GAUGE, 0 },
    [JC_DAMAGED] = { "journal.damaged", "damaged places met", COUNTER_TOTAL, 0 },
    [JC_REBUILD_LEFT] = { "journal.rebuild_left", "records that a rebuild has still to look at", COUNTER_GAUGE, 0 },
    [JC_REBUILT] = { "journal.rebuilt", "rebuilds of the index that were completed", COUNTER_TOTAL, 0 },
    [JC_DEMANDED] = { "journal.demanded", "accounts that a rebuild put in front", COUNTER_TOTAL, 0 },
};

/* --- states ------------------------------------------------------------------------------------------------------- */

void journal_enter(struct journal *j, enum journal_state state, const char *why)
{
    static const char *const names[] = { "normal", "full", "read only" };
    int old = atomic_load(&j->state);

    if (old == (int)state || old == JOURNAL_READ_ONLY)
        return;
    atomic_store(&j->state, (int)state);
    pthread_mutex_lock(&j->lock);
    snprintf(j->why, sizeof j->why, "%s", why);
    pthread_mutex_unlock(&j->lock);
    if (state == JOURNAL_NORMAL)
        diag_info("journal", "state is %s again", names[state]);
    else
        diag_error("journal", "state is %s: %s", names[state], why);
}

enum journal_state journal_state(const struct journal *cj, char why[160])
{
    struct journal *j = (struct journal *)(uintptr_t)cj; /* the lock is not part of the value */
    enum journal_state state = (enum journal_state)atomic_load(&j->state);

    if (why != NULL) {
        pthread_mutex_lock(&j->lock);
        snprintf(why, 160, "%s", state == JOURNAL_NORMAL ? "" : j->why);
        pthread_mutex_unlock(&j->lock);
    }
    return state;
}

uint64_t journal_durable_seq(const struct journal *j)
{
    return atomic_load_explicit(&j->durable_seq, memory_order_acquire);
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

/* The rows that say SESSION; what the files were laid out by (segment and index sizes) stays until the next start. */
void journal_configure(struct journal *j, const struct journal_conf *conf)
{
#define TAKE(field) __atomic_store_n(&j->conf.field, conf->field, __ATOMIC_RELAXED)
    TAKE(inline_bytes);
    TAKE(reserve_segments);
    TAKE(batch_bytes);
    TAKE(batch_ops);
    TAKE(batch_prepare_ms);
    TAKE(waiting_ops_max);
    TAKE(keep_days);
    TAKE(history_days);
    TAKE(history_bytes);
    TAKE(reclaim_percent);
#undef TAKE
    segment_dir_set_reserve(j->segments, conf->reserve_segments);
}

/* --- lanes: deficit round robin by session in a lane, weighted round robin among lanes ---------------------------- */

static void lanes_init(struct journal *j)
{
    static const unsigned weights[LANE_COUNT] = { 4, 4, 4, 1 };

    for (unsigned i = 0; i < LANE_COUNT; i++) {
        list_init(&j->lanes[i].active);
        idmap_init(&j->lanes[i].flows);
        j->lanes[i].weight = weights[i];
        j->lanes[i].credit = 0;
    }
}

static void lane_add(struct journal *j, struct journal_op *op)
{
    struct lane *lane = &j->lanes[op->lane < LANE_COUNT ? op->lane : LANE_MAINTENANCE];
    struct flow *flow = idmap_get(&lane->flows, op->session);

    if (flow == NULL) {
        flow = mem_alloc(sizeof *flow);
        flow->session = op->session;
        list_init(&flow->ops);
        list_init(&flow->link);
        idmap_put(&lane->flows, op->session, flow);
        list_push_back(&lane->active, &flow->link);
    }
    list_push_back(&flow->ops, &op->link);
}

static struct journal_op *flow_first(struct flow *flow)
{
    return LIST_ENTRY(flow->ops.next, struct journal_op, link);
}

/* The flow whose turn it is in the lane; its first operation may run. */
static struct flow *lane_turn(struct lane *lane)
{
    for (;;) {
        struct flow *flow = LIST_ENTRY(lane->active.next, struct flow, link);

        if (flow->deficit >= (int64_t)flow_first(flow)->cost)
            return flow;
        flow->deficit += FLOW_QUANTUM;
        if (flow->link.next != &lane->active || flow->link.prev != &lane->active) {
            list_remove(&flow->link);
            list_push_back(&lane->active, &flow->link);
        }
    }
}

/* The lane whose turn it is, or NULL when all are empty. */
static struct lane *lanes_turn(struct journal *j)
{
    for (unsigned turns = 0; turns < 16 * LANE_COUNT; turns++) {
        struct lane *lane = &j->lanes[j->lane_at];

        if (!list_is_empty(&lane->active)) {
            if (lane->credit > 0)
                return lane;
            lane->credit += (int64_t)lane->weight * LANE_QUANTUM;
        } else {
            lane->credit = 0;
        }
        j->lane_at = (j->lane_at + 1) % LANE_COUNT;
    }
    return NULL;
}

static struct journal_op *lanes_peek(struct journal *j, struct lane **lane, struct flow **flow)
{
    *lane = lanes_turn(j);
    if (*lane == NULL)
        return NULL;
    *flow = lane_turn(*lane);
    return flow_first(*flow);
}

static void lanes_take(struct lane *lane, struct flow *flow, struct journal_op *op)
{
    list_remove(&op->link);
    lane->credit -= op->cost;
    flow->deficit -= op->cost;
    if (list_is_empty(&flow->ops)) {
        idmap_del(&lane->flows, flow->session);
        list_remove(&flow->link);
        mem_free(flow);
    }
}

static bool lanes_are_empty(const struct journal *j)
{
    for (unsigned i = 0; i < LANE_COUNT; i++)
        if (!list_is_empty(&j->lanes[i].active))
            return false;
    return true;
}

/* --- submitting and answering ------------------------------------------------------------------------------------- */

bool journal_submit(struct journal *j, struct journal_op *op)
{
    bool accepted;

    op->err = ERR_INIT;
    op->seq = 0;
    if (op->cost == 0)
        op->cost = 1;
    if (op->cost > OP_COST_MAX)
        op->cost = OP_COST_MAX;
    pthread_mutex_lock(&j->lock);
    accepted = !j->is_closing && j->waiting < CONF(j, waiting_ops_max);
    if (accepted) {
        if (list_is_empty(&j->inbox))
            pthread_cond_signal(&j->wake);
        list_push_back(&j->inbox, &op->link);
        j->waiting++;
    }
    pthread_mutex_unlock(&j->lock);
    if (accepted)
        counter_add(&journal_counters[JC_WAITING], 1);
    return accepted;
}

static void on_answer(struct post *p)
{
    struct journal_op *op = CONTAINER_OF(p, struct journal_op, post);

    op->done(op);
}

static void answer(struct journal *j, struct journal_op *op)
{
    struct reactor *reactor = op->reactor;

    pthread_mutex_lock(&j->lock);
    j->waiting--;
    pthread_mutex_unlock(&j->lock);
    counter_add(&journal_counters[JC_WAITING], -1);
    counter_add(&journal_counters[op->err.kind == ERR_NONE ? JC_OPS : JC_REFUSED], 1);
    if (reactor != NULL)
        reactor_post(reactor, &op->post, on_answer);
    else
        op->done(op);
}

static void refuse(struct journal *j, struct journal_op *op, enum err_kind kind, const char *text)
{
    err_set(&op->err, kind, "%s", text);
    answer(j, op);
}

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_done;
};

static void waiter_done(struct journal_op *op)
{
    struct waiter *w = op->waiter;

    pthread_mutex_lock(&w->lock);
    w->is_done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

int journal_run(struct journal *j, struct journal_op *op, struct err *err)
{
    struct waiter w = { .is_done = false };
    bool accepted;

    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.cond, NULL);
    op->done = waiter_done;
    op->reactor = NULL;
    op->waiter = &w;
    accepted = journal_submit(j, op);
    if (accepted) {
        pthread_mutex_lock(&w.lock);
        while (!w.is_done)
            pthread_cond_wait(&w.cond, &w.lock);
        pthread_mutex_unlock(&w.lock);
    } else {
        err_set(&op->err, ERR_TEMP, "too many operations wait for the journal");
    }
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.lock);
    if (op->err.kind == ERR_NONE)
        return 0;
    if (err != NULL)
        *err = op->err;
    return -1;
}

/* --- a batch ------------------------------------------------------------------------------------------------------ */

void rooms_committed(struct journal *j)
{
    for (unsigned i = 0; i < j->room_count; i++)
        if (j->rooms[i]->committed != NULL)
            j->rooms[i]->committed(j->rooms[i]->state);
}

void rooms_aborted(struct journal *j)
{
    for (unsigned i = 0; i < j->room_count; i++)
        if (j->rooms[i]->aborted != NULL)
            j->rooms[i]->aborted(j->rooms[i]->state);
}

static void batch_abort(struct journal *j)
{
    index_abort(&j->tx.view);
    rooms_aborted(j);
}

/* Refuse every operation of the batch. */
static void batch_refuse(struct journal *j, enum err_kind kind, const char *text)
{
    struct list *node;

    while ((node = list_pop_front(&j->batch)) != NULL)
        refuse(j, LIST_ENTRY(node, struct journal_op, link), kind, text);
}

/* Run one operation in the open transaction. 0: part of the batch. -1: it failed, op->err says why; *spoilt tells
 * whether it left something behind, so that the transaction must go. */
static int op_run(struct journal *j, struct journal_op *op, bool *spoilt)
{
    struct journal_tx *tx = &j->tx;
    int rc;

    tx_op_begin(tx);
    op->err = ERR_INIT;
    rc = op->run(tx, op, &op->err);
    if (rc == 0 && tx->is_failed) {
        op->err = tx->err;
        rc = -1;
    }
    if (rc == 0 && tx->view.failed) {
        err_set(&op->err, ERR_TEMP, "the index failed");
        rc = -1;
    }
    *spoilt = rc < 0 && (tx_op_emitted(tx) || tx->view.failed);
    if (rc < 0 && op->err.kind == ERR_NONE)
        err_set(&op->err, ERR_BUG, "the operation failed without a reason");
    if (rc < 0)
        return -1;
    tx_op_end(tx);
    op->seq = tx_op_emitted(tx) ? tx->next_seq - 1 : 0;
    return 0;
}

/* An operation failed after it had emitted: throw the transaction away and run the others again. Operations that now
 * fail leave, too, until a run goes through. */
static int batch_rerun(struct journal *j, struct err *err)
{
    for (;;) {
        bool again = false;

        counter_add(&journal_counters[JC_RERUN], 1);
        batch_abort(j);
        if (index_begin(j->index, &j->tx.view, err) < 0)
            return -1;
        tx_reset(&j->tx);
        LIST_FOREACH_SAFE(&j->batch, it)
        {
            struct journal_op *op = LIST_ENTRY(it, struct journal_op, link);
            bool spoilt;

            if (op_run(j, op, &spoilt) == 0)
                continue;
            list_remove(&op->link);
            answer(j, op);
            if (spoilt) {
                again = true;
                break;
            }
        }
        if (!again)
            return 0;
    }
}

static bool op_is_refused(struct journal *j, struct journal_op *op)
{
    char why[160];

    switch (journal_state(j, why)) {
    case JOURNAL_NORMAL:
        return false;
    case JOURNAL_FULL:
        if ((op->flags & OP_FREES) != 0)
            return false;
        refuse(j, op, ERR_FULL, why);
        return true;
    case JOURNAL_READ_ONLY:
        refuse(j, op, ERR_TEMP, why);
        return true;
    }
    return true;
}

/* Room for `op` in the tail? Otherwise the batch must be closed and the tail rolled first. */
static bool op_fits(const struct journal *j, const struct journal_op *op)
{
    if (!j->has_tail)
        return false;
    if (j->tx.at == SEGMENT_PAGE_BYTES)
        return true; /* an empty segment takes anything; it grows if it must */
    return j->tx.at + op->bytes + 4 * RECORD_HEADER_BYTES <= j->tail.capacity;
}

/* Gather and run operations until the batch is large enough or the next one needs a new tail. */
static int batch_gather(struct journal *j, struct err *err)
{
    uint32_t ops_max = CONF(j, batch_ops), bytes_max = CONF(j, batch_bytes);
    int64_t deadline_us = clock_mono_us(j->clock) + (int64_t)CONF(j, batch_prepare_ms) * 1000;
    uint64_t first_at = j->tx.at;
    bool has_reception = false;
    struct journal_op *op;
    struct lane *lane;
    struct flow *flow;

    for (unsigned n = 0; n < ops_max && (op = lanes_peek(j, &lane, &flow)) != NULL; n++) {
        bool spoilt;

        if ((op->flags & (OP_SETTLE | OP_ROLL)) != 0 || !op_fits(j, op))
            break;
        if (has_reception && op->cost >= LARGE_COST)
            break; /* a final reply does not wait for it; it opens a batch when its lane's turn comes */
        has_reception = has_reception || op->lane == LANE_RECEPTION;
        lanes_take(lane, flow, op);
        if (op_is_refused(j, op))
            continue;
        if (op_run(j, op, &spoilt) == 0) {
            list_push_back(&j->batch, &op->link);
        } else {
            answer(j, op);
            if (spoilt && batch_rerun(j, err) < 0)
                return -1;
        }
        if (j->tx.at - first_at >= bytes_max || clock_mono_us(j->clock) >= deadline_us)
            break;
    }
    return 0;
}

static void iov_add(struct journal *j, const void *ptr, size_t len)
{
    if (j->iov_count == j->iov_cap) {
        j->iov_cap = j->iov_cap == 0 ? 64 : j->iov_cap * 2;
        j->iov = mem_realloc(j->iov, j->iov_cap * sizeof *j->iov);
    }
    j->iov[j->iov_count++] = (struct iovec){ (void *)(uintptr_t)ptr, len };
}

/* Encode all pending records: small payloads side by side in j->out, large ones by reference. */
static void batch_encode(struct journal *j)
{
    static const unsigned char zeros[RECORD_ALIGN];
    size_t room = 0, begin = 0;
    uint32_t salt = j->tail.header.salt;

    for (size_t i = 0; i < j->tx.pending_count; i++) {
        uint32_t length = j->tx.pending[i].header.length;

        room += RECORD_HEADER_BYTES + record_table_bytes(length) + RECORD_ALIGN;
        room += length <= COPY_MAX_BYTES ? length : 0;
    }
    buf_reset(&j->out);
    buf_reserve(&j->out, room); /* so that it does not move while the vector points into it */
    j->iov_count = 0;
    for (size_t i = 0; i < j->tx.pending_count; i++) {
        struct pending *p = &j->tx.pending[i];
        size_t tail = (size_t)(record_disk_bytes(p->header.length) - RECORD_HEADER_BYTES - p->header.length -
                               record_table_bytes(p->header.length));
        struct buf table = BUF_INIT;

        p->header.payload_crc = record_payload_crc(salt, p->payload, &table);
        record_header_encode(buf_extend(&j->out, RECORD_HEADER_BYTES), salt, &p->header);
        if (p->header.length <= COPY_MAX_BYTES) {
            buf_put_slice(&j->out, p->payload);
        } else {
            iov_add(j, j->out.ptr + begin, j->out.len - begin);
            iov_add(j, p->payload.ptr, p->payload.len);
            begin = j->out.len;
            buf_put_slice(&j->out, buf_slice(&table));
        }
        buf_put(&j->out, zeros, tail);
        buf_free(&table);
    }
    if (j->out.len > begin)
        iov_add(j, j->out.ptr + begin, j->out.len - begin);
}

/* Is the segment there whose first sequence voids the records of a batch? IN_DOUBT: a crash may bring it back. */
enum fence { FENCE_NONE, FENCE_MADE, FENCE_IN_DOUBT };

/* Records of a refused batch may be on disk. A new segment whose first sequence is the batch's voids them. Where none
 * can be had for certain, and `wipe` is set or it may come back, the first record loses its header: no power loss is
 * held off by that, but a restart is. */
static enum fence batch_void(struct journal *j, bool use_reserve, bool wipe)
{
    static const unsigned char zeros[RECORD_HEADER_BYTES];
    struct segment_writer old = j->tail;
    struct iovec iov = { (void *)(uintptr_t)zeros, sizeof zeros };
    struct err err = ERR_INIT;
    enum fence fence = FENCE_MADE;

    j->has_tail = false;
    if (tail_open(j, use_reserve, &err) < 0) {
        fence = j->tail.is_doubtful ? FENCE_IN_DOUBT : FENCE_NONE;
        diag_error("journal", "no new segment after one that failed: %s", err.text);
        if (wipe || fence == FENCE_IN_DOUBT)
            segment_writer_write(&old, &iov, 1, &err);
    }
    j->tail_is_fence = fence == FENCE_MADE;
    segment_writer_close(&old);
    return fence;
}

/* The disk refused the batch. The segment is never written or synced again; go on in a new one. */
static void batch_disk_failed(struct journal *j, struct err *err)
{
    bool is_full = err->kind == ERR_FULL;

    counter_add(&journal_counters[JC_WRITE_FAILED], 1);
    diag_error("journal", "batch refused: %s", err->text);
    batch_abort(j);
    if (is_full)
        journal_enter(j, JOURNAL_FULL, err->text);
    if (batch_void(j, is_full, true) != FENCE_MADE)
        journal_enter(j, JOURNAL_READ_ONLY, err->text);
    batch_refuse(j, is_full ? ERR_FULL : ERR_TEMP, err->text);
}

/* The records are on disk, the index is behind: it cannot be trusted to serve, and is rebuilt at the next start. The
 * batch is refused if it can be voided. If it certainly is not, it will be there after that start, so that success is
 * the true answer. In doubt it is refused: to do it again does less harm than to have lost it. */
static void batch_index_failed(struct journal *j, const struct err *err)
{
    enum fence fence = FENCE_MADE;
    struct list *node;

    rooms_aborted(j);
    index_distrust(j->index);
    if (j->tx.pending_count != 0)
        fence = batch_void(j, true, false);
    journal_enter(j, JOURNAL_READ_ONLY, "the index failed; restart to rebuild it");
    while (fence == FENCE_NONE && (node = list_pop_front(&j->batch)) != NULL)
        answer(j, LIST_ENTRY(node, struct journal_op, link));
    batch_refuse(j, ERR_TEMP, err->text);
}

static int batch_write(struct journal *j, struct err *err)
{
    struct journal_tx *tx = &j->tx;
    int64_t began_us = clock_mono_us(j->clock);

    batch_encode(j);
    if (segment_writer_write(&j->tail, j->iov, j->iov_count, err) < 0)
        return -1;
    if (segment_writer_sync(&j->tail, err) < 0)
        return -1;
    counter_add(&journal_counters[JC_BYTES], (int64_t)(tx->at - j->tail.at));
    counter_add(&journal_counters[JC_RECORDS], (int64_t)tx->pending_count);
    counter_add(&journal_counters[JC_BATCHES], 1);
    counter_add(&journal_counters[JC_SYNC_US], clock_mono_us(j->clock) - began_us);
    return 0;
}

/* The batch counts: the next one goes behind it. Until then the tail ends before it, where it would be wiped. */
static void tail_advance(struct journal *j, const struct journal_tx *tx)
{
    j->tail.at = tx->at;
    j->tail.last_seq = tx->next_seq - 1;
    if (tx->now_ms > j->tail.newest_ms)
        j->tail.newest_ms = tx->now_ms;
}

static void batch_answer(struct journal *j)
{
    struct list *node;

    rooms_committed(j);
    while ((node = list_pop_front(&j->batch)) != NULL)
        answer(j, LIST_ENTRY(node, struct journal_op, link));
}

/* Write, sync, commit, answer what was gathered. */
static void batch_finish(struct journal *j)
{
    struct journal_tx *tx = &j->tx;
    struct index_meta meta = { 0 };
    struct err err = ERR_INIT;

    if (tx->pending_count != 0 && batch_write(j, &err) < 0) {
        batch_disk_failed(j, &err);
        return;
    }
    tx_live_flush(tx);
    meta.applied = tx->next_seq - 1;
    meta.young_from = rooms_young_from(j);
    if (index_commit(&tx->view, &meta, &err) < 0) {
        batch_index_failed(j, &err);
        return;
    }
    if (tx->pending_count != 0)
        tail_advance(j, tx);
    j->next_seq = tx->next_seq;
    atomic_store_explicit(&j->durable_seq, tx->next_seq - 1, memory_order_release);
    batch_answer(j);
}

/* A new tail is needed before the next operation can run. False: there is none, and the operation was refused. */
static bool batch_roll(struct journal *j)
{
    struct err err = ERR_INIT;
    struct journal_op *op;
    struct lane *lane;
    struct flow *flow;

    if (tail_roll(j, false, &err) == 0)
        return true;
    op = lanes_peek(j, &lane, &flow);
    if (op == NULL)
        return false;
    if (err.kind == ERR_FULL) {
        journal_enter(j, JOURNAL_FULL, err.text);
        if ((op->flags & OP_FREES) != 0 && tail_roll(j, true, &err) == 0)
            return true;
    } else {
        journal_enter(j, JOURNAL_READ_ONLY, err.text);
    }
    lanes_take(lane, flow, op);
    refuse(j, op, err.kind == ERR_FULL ? ERR_FULL : ERR_TEMP, err.text);
    return false;
}

/* In the full state: is there room again? */
static void state_review(struct journal *j)
{
    struct err err = ERR_INIT;
    bool index_ok = index_reserve(j->index, &err) == 0;

    if (!index_ok)
        journal_enter(j, JOURNAL_FULL, err.text);
    if (journal_state(j, NULL) != JOURNAL_FULL)
        return;
    if (index_ok && segment_dir_has_spare(j->segments) &&
        segment_dir_reserve_count(j->segments) >= CONF(j, reserve_segments))
        journal_enter(j, JOURNAL_NORMAL, "");
    else
        prepare_later(j);
}

/* Operations of the journal about itself stand between batches. */
static void special_run(struct journal *j, struct journal_op *op)
{
    struct err err = ERR_INIT;

    if ((op->flags & OP_ROLL) != 0) {
        if (j->has_tail && j->tail.at > SEGMENT_PAGE_BYTES && tail_roll(j, false, &err) < 0 &&
            (err.kind != ERR_FULL || tail_roll(j, true, &err) < 0))
            op->err = err;
    } else if (tail_settle(j, j->next_seq - 1, &err) < 0) {
        op->err = err;
    }
    answer(j, op);
}

/* One round: as many operations as fit a batch. */
static void batch_round(struct journal *j)
{
    struct err err = ERR_INIT;
    struct journal_op *op;
    struct lane *lane;
    struct flow *flow;

    state_review(j);
    op = lanes_peek(j, &lane, &flow);
    if (op == NULL)
        return;
    if (journal_state(j, NULL) == JOURNAL_READ_ONLY) {
        lanes_take(lane, flow, op);
        op_is_refused(j, op);
        return;
    }
    if ((op->flags & (OP_SETTLE | OP_ROLL)) != 0) {
        lanes_take(lane, flow, op);
        special_run(j, op);
        return;
    }
    tx_reset(&j->tx);
    if (!op_fits(j, op) && !batch_roll(j))
        return;
    if (index_begin(j->index, &j->tx.view, &err) < 0) {
        lanes_take(lane, flow, op);
        refuse(j, op, ERR_TEMP, err.text);
        return;
    }
    tx_reset(&j->tx);
    if (batch_gather(j, &err) < 0) {
        batch_abort(j);
        batch_refuse(j, ERR_TEMP, err.text);
        return;
    }
    if (list_is_empty(&j->batch)) {
        batch_abort(j);
        return;
    }
    batch_finish(j);
}

static void inbox_take(struct journal *j, bool wait, bool *closing)
{
    struct list in;

    list_init(&in);
    pthread_mutex_lock(&j->lock);
    while (wait && list_is_empty(&j->inbox) && !j->is_closing)
        pthread_cond_wait(&j->wake, &j->lock);
    list_splice(&in, &j->inbox);
    *closing = j->is_closing;
    pthread_mutex_unlock(&j->lock);
    for (struct list *node; (node = list_pop_front(&in)) != NULL;)
        lane_add(j, LIST_ENTRY(node, struct journal_op, link));
}

/* Is there a rebuild to go on with? */
static bool catchup_turn(const struct journal *j)
{
    return catchup_pending(j) && !j->rebuild_stands && journal_state(j, NULL) != JOURNAL_READ_ONLY;
}

static void catchup_round(struct journal *j)
{
    struct err err = ERR_INIT;
    struct timespec pause = { .tv_nsec = CATCHUP_PAUSE_MS * 1000000L };

    if (j->rebuild_slice != 0)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL); /* a test wants to be in between */
    if (catchup_slice(j, &err) == 0)
        return;
    if (err.kind == ERR_FULL) {
        journal_enter(j, JOURNAL_FULL, err.text);
        nanosleep(&pause, NULL);
        return;
    }
    diag_error("journal", "the rebuild of the index failed: %s", err.text);
    journal_enter(j, JOURNAL_READ_ONLY, "the rebuild of the index failed; restart to begin it anew");
}

static void turn_mark(struct journal *j, bool is_in_round)
{
    atomic_store_explicit(&j->turned_ms, clock_mono_ms(j->clock), memory_order_relaxed);
    atomic_store_explicit(&j->is_in_round, is_in_round, memory_order_release);
}

void *committer_main(void *arg)
{
    struct journal *j = arg;
    bool closing = false;

    while (!closing || !lanes_are_empty(j)) {
        turn_mark(j, false);
        inbox_take(j, lanes_are_empty(j) && !catchup_turn(j), &closing);
        turn_mark(j, true);
        if (!lanes_are_empty(j))
            batch_round(j);
        if (!closing && catchup_turn(j))
            catchup_round(j);
    }
    turn_mark(j, false);
    return NULL;
}

void committer_init(struct journal *j)
{
    lanes_init(j);
    list_init(&j->batch);
    idmap_init(&j->kept);
    tx_init(&j->tx, j);
    turn_mark(j, false);
    counter_register(journal_counters, JC_COUNT);
}

void committer_free(struct journal *j)
{
    for (unsigned i = 0; i < LANE_COUNT; i++)
        idmap_free(&j->lanes[i].flows);
    counter_add(&journal_counters[JC_KEPT], -(int64_t)idmap_count(&j->kept));
    idmap_free(&j->kept);
    tx_free(&j->tx);
    buf_free(&j->out);
    mem_free(j->iov);
    j->iov = NULL;
}
