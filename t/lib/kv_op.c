#include "kv_internal.h"

#include "base/mem.h"

/* --- making an operation ------------------------------------------------------------------------------------------ */

static bool has_body(const struct kv_step *s)
{
    return s->what == KV_OP_SET_BODY || s->what == KV_OP_JOB_ADD;
}

static bool has_octets(const struct kv_step *s)
{
    return s->what == KV_OP_SET || s->what == KV_OP_SET_OCTETS || s->what == KV_OP_PUSH || s->what == KV_OP_FAIL_LATE;
}

static int body_write(struct kv_op *op, struct journal *j, struct err *err)
{
    slice rest = buf_slice(&op->octets);

    op->writer = body_writer_new(j);
    while (rest.len > 0) { /* in pieces, as it comes from a network */
        slice piece = slice_sub(rest, 0, 8192);

        if (body_writer_write(op->writer, piece, err) < 0)
            return -1;
        rest = slice_from(rest, piece.len);
    }
    return body_writer_finish(op->writer, err);
}

static journal_run_fn run_step;

int kv_op_init(struct kv_op *op, struct kv_room *room, struct journal *j, const struct kv_step *step, uint64_t seed,
               journal_done_fn *done, void *owner, struct err *err)
{
    bool frees = step->what == KV_OP_DEL || step->what == KV_OP_POP || step->what == KV_OP_DROP ||
                 step->what == KV_OP_JOB_DONE;

    memset(op, 0, sizeof(*op));
    op->room = room;
    op->step = *step;
    op->seed = seed;
    op->owner = owner;
    if (has_body(step) || has_octets(step))
        kv_fill(&op->octets, seed, step->client, step->n, step->length);
    op->op.run = run_step;
    op->op.done = done;
    op->op.session = step->client + 1;
    op->op.cost = 1 + step->n % 3;
    op->op.bytes = 1024 + (uint32_t)op->octets.len + (uint32_t)op->octets.len / 64;
    op->op.lane = (uint8_t)(step->client % LANE_COUNT);
    op->op.flags = frees ? OP_FREES : 0;
    return has_body(step) ? body_write(op, j, err) : 0;
}

void kv_op_free(struct kv_op *op)
{
    buf_free(&op->octets);
    body_writer_destroy(&op->writer);
}

int kv_run(struct kv_room *room, struct journal *j, const struct kv_step *step, uint64_t seed, struct err *err)
{
    struct kv_op op;
    int rc = -1;

    if (kv_op_init(&op, room, j, step, seed, NULL, NULL, err) == 0)
        rc = journal_run(j, &op.op, err);
    kv_op_free(&op);
    return rc;
}

/* --- running it: check, then emit --------------------------------------------------------------------------------- */

struct run {
    struct journal_tx *tx;
    struct kv_op *op;
    uint64_t object, to; /* 0: no such bucket */
    struct buf payload;
};

static int refuse(struct err *err, enum err_kind kind)
{
    return err_set(err, kind, "refused by the test room");
}

static void emit_set(struct run *r, uint16_t type, uint64_t object, uint32_t part, uint32_t key,
                     const struct kv_value *value)
{
    buf_reset(&r->payload);
    buf_put_le32(&r->payload, key);
    kv_value_put(&r->payload, value);
    journal_emit(r->tx, type, object, part, 0, buf_slice(&r->payload));
}

static void emit_u32(struct run *r, uint16_t type, uint64_t object, uint32_t part, uint32_t number)
{
    buf_reset(&r->payload);
    buf_put_le32(&r->payload, number);
    journal_emit(r->tx, type, object, part, 0, buf_slice(&r->payload));
}

static void emit_bucket(struct run *r)
{
    const struct kv_step *s = &r->op->step;

    buf_reset(&r->payload);
    buf_put_le32(&r->payload, s->client);
    buf_put_le32(&r->payload, s->bucket);
    buf_put_le32(&r->payload, s->n);
    journal_emit(r->tx, KV_BUCKET, 0, 0, 0, buf_slice(&r->payload));
}

static uint64_t emit_content(struct run *r)
{
    return r->op->writer != NULL ? journal_emit_body(r->tx, r->op->writer)
                                 : journal_emit_octets(r->tx, buf_slice(&r->op->octets));
}

static int run_set(struct run *r, struct err *err)
{
    const struct kv_step *s = &r->op->step;
    struct kv_value value = { KV_INLINE, s->n, s->length, buf_slice(&r->op->octets), 0 };

    if (r->object == 0)
        return refuse(err, ERR_NOTFOUND);
    if (s->what != KV_OP_SET) {
        value.kind = KV_BODY;
        value.body = emit_content(r);
    }
    emit_set(r, KV_SET, r->object, kv_part_of(s->key), s->key, &value);
    return 0;
}

static int run_share(struct run *r, struct err *err)
{
    const struct kv_step *s = &r->op->step;
    struct kv_value value;

    if (r->object == 0 || r->to == 0)
        return refuse(err, ERR_NOTFOUND);
    if (!kv_entry_find(journal_tx_view(r->tx), r->object, kv_part_of(s->key), s->key, &value) || value.kind != KV_BODY)
        return refuse(err, ERR_NOTFOUND);
    emit_set(r, KV_SET, r->to, kv_part_of(s->to_key), s->to_key, &value);
    return 0;
}

static int run_del(struct run *r, struct err *err)
{
    const struct kv_step *s = &r->op->step;
    struct kv_value value;

    if (r->object == 0 || !kv_entry_find(journal_tx_view(r->tx), r->object, kv_part_of(s->key), s->key, &value))
        return refuse(err, ERR_NOTFOUND);
    emit_u32(r, KV_DEL, r->object, kv_part_of(s->key), s->key);
    return 0;
}

/* Two parts and two heads: a crash must never show some of it. */
static int run_move(struct run *r, struct err *err)
{
    const struct kv_step *s = &r->op->step;
    struct journal_view *v = journal_tx_view(r->tx);
    struct kv_value value;
    struct kv_head from, to;

    if (r->object == 0 || r->to == 0 || !kv_entry_find(v, r->object, kv_part_of(s->key), s->key, &value))
        return refuse(err, ERR_NOTFOUND);
    if (r->object == r->to)
        return refuse(err, ERR_EXISTS);
    if (!kv_head_get(v, r->object, &from) || !kv_head_get(v, r->to, &to))
        return refuse(err, ERR_BUG);
    emit_set(r, KV_SET, r->to, kv_part_of(s->to_key), s->to_key, &value);
    emit_u32(r, KV_DEL, r->object, kv_part_of(s->key), s->key);
    emit_u32(r, KV_HEAD, r->object, 0, from.moves + 1);
    emit_u32(r, KV_HEAD, r->to, 0, to.moves + 1);
    return 0;
}

/* First index and number of the list's items. */
static uint32_t list_span(struct journal_view *v, uint64_t object, uint32_t *first)
{
    uint64_t at = 0;
    uint32_t part, key, count = 0;
    struct kv_value value;

    *first = 0;
    while (kv_entry_next(v, object, KV_PART_LIST, &at, &part, &key, &value)) {
        if (count++ == 0)
            *first = key;
    }
    return count;
}

static int run_list(struct run *r, struct err *err)
{
    const struct kv_step *s = &r->op->step;
    struct kv_value value = { KV_INLINE, s->n, s->length, buf_slice(&r->op->octets), 0 };
    uint32_t first, count;

    if (r->object == 0)
        return refuse(err, ERR_NOTFOUND);
    count = list_span(journal_tx_view(r->tx), r->object, &first);
    if (s->what == KV_OP_PUSH) {
        if (count == KV_ITEMS)
            return refuse(err, ERR_LIMIT);
        emit_set(r, KV_PUSH, r->object, KV_PART_LIST, first + count, &value);
        return 0;
    }
    if (count == 0)
        return refuse(err, ERR_NOTFOUND);
    emit_u32(r, KV_POP, r->object, KV_PART_LIST, first);
    return 0;
}

/* The client's job of that number, or of any number if n is 0; *count: how many it has. */
static uint64_t job_find(struct kv_room *room, struct journal_view *v, uint32_t client, uint32_t n, unsigned *count)
{
    struct journal_cursor c;
    struct kv_young y;
    struct kv_job job;
    uint64_t object = 0;
    slice key, octets;

    *count = 0;
    for (unsigned i = 0; kv_young_at(room, i, &y); i++) {
        *count += y.job.client == client;
        if (y.job.client == client && y.job.n == n)
            object = y.object;
    }
    journal_cursor_begin(&c, v, KV_TABLE_JOB);
    while (journal_cursor_next(&c, &key, &octets)) {
        if (!kv_job_decode(octets, &job) || job.client != client)
            continue;
        *count += 1;
        if (job.n == n && key.len == 8)
            object = get_be64(key.ptr);
    }
    journal_cursor_end(&c);
    return object;
}

static int run_job(struct run *r, struct err *err)
{
    const struct kv_step *s = &r->op->step;
    struct kv_job job = { s->client, s->n, s->length, 0 };
    unsigned count;
    uint64_t object = job_find(r->op->room, journal_tx_view(r->tx), s->client, s->job, &count);

    buf_reset(&r->payload);
    if (s->what == KV_OP_JOB_ADD) {
        if (count >= KV_JOBS)
            return refuse(err, ERR_LIMIT);
        job.body = emit_content(r);
        kv_job_encode(&r->payload, &job);
        journal_emit(r->tx, KV_JOB_ADD, 0, 0, 0, buf_slice(&r->payload));
        return 0;
    }
    if (object == 0)
        return refuse(err, ERR_NOTFOUND);
    journal_emit(r->tx, KV_JOB_DONE, object, 0, RECORD_END, buf_slice(&r->payload));
    return 0;
}

/* Emits a bucket or a value with a body, then changes its mind. */
static int run_fail(struct run *r, struct err *err)
{
    const struct kv_step *s = &r->op->step;
    struct kv_value value = { KV_BODY, s->n, s->length, SLICE_NONE, 0 };

    if (s->what == KV_OP_FAIL_EARLY)
        return refuse(err, ERR_DENIED);
    if (r->object == 0) {
        emit_bucket(r);
    } else {
        value.body = emit_content(r);
        emit_set(r, KV_SET, r->object, kv_part_of(s->key), s->key, &value);
    }
    return refuse(err, ERR_CONFLICT);
}

static int run_bucket(struct run *r, struct err *err)
{
    if (r->op->step.what == KV_OP_CREATE) {
        if (r->object != 0)
            return refuse(err, ERR_EXISTS);
        emit_bucket(r);
        return 0;
    }
    if (r->object == 0)
        return refuse(err, ERR_NOTFOUND);
    journal_emit(r->tx, KV_DROP, r->object, 0, RECORD_END, SLICE_NONE);
    return 0;
}

typedef int run_fn(struct run *r, struct err *err);
static run_fn *const run_of[KV_OP_COUNT] = {
    [KV_OP_CREATE] = run_bucket,  [KV_OP_SET] = run_set,          [KV_OP_SET_BODY] = run_set,
    [KV_OP_SET_OCTETS] = run_set, [KV_OP_SHARE] = run_share,      [KV_OP_DEL] = run_del,
    [KV_OP_PUSH] = run_list,      [KV_OP_POP] = run_list,         [KV_OP_MOVE] = run_move,
    [KV_OP_DROP] = run_bucket,    [KV_OP_JOB_ADD] = run_job,      [KV_OP_JOB_DONE] = run_job,
    [KV_OP_FAIL_LATE] = run_fail, [KV_OP_FAIL_EARLY] = run_fail,
};

static int run_step(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct kv_op *self = CONTAINER_OF(op, struct kv_op, op);
    struct run r = { .tx = tx, .op = self, .payload = BUF_INIT };
    int rc;

    kv_name_find(journal_tx_view(tx), self->step.client, self->step.bucket, &r.object);
    kv_name_find(journal_tx_view(tx), self->step.client, self->step.to_bucket, &r.to);
    rc = run_of[self->step.what](&r, err);
    buf_free(&r.payload);
    return rc;
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

struct compare {
    struct kv_room *room;
    struct journal *j;
    struct journal_view *v;
    const struct kv_client *c;
    uint64_t seed;
    bool quick;
    char *why; /* 200 octets */
};

static bool differs(struct compare *x, const char *what, uint32_t bucket, uint32_t key, const char *how)
{
    snprintf(x->why, 200, "client %u (%u answered) bucket %u %s %u: %s", x->c->client, x->c->answered, bucket, what,
             key, how);
    return false;
}

static bool content_same(struct compare *x, uint32_t n, uint32_t length, slice octets)
{
    struct buf want = BUF_INIT;
    bool is_same;

    kv_fill(&want, x->seed, x->c->client, n, length);
    is_same = slice_eq(buf_slice(&want), octets);
    buf_free(&want);
    return is_same;
}

static const char *body_fault(struct compare *x, uint64_t body, uint32_t n, uint32_t length, char text[120])
{
    struct body_info info;
    struct buf octets = BUF_INIT;
    struct err err = ERR_INIT;
    const char *fault = NULL;

    if (!journal_body_info(x->v, body, &info))
        return "its body is not known";
    if (info.refs != kv_client_refs(x->c, n))
        return "its body's references are miscounted";
    if (info.length != length)
        return "its body has another length";
    if (x->quick)
        return NULL;
    if (journal_body_load(x->j, x->v, body, UINT32_MAX, &octets, &err) < 0) {
        snprintf(text, 120, "its body cannot be read: %.90s", err.text);
        fault = text;
    } else if (!content_same(x, n, length, buf_slice(&octets))) {
        fault = "its body has other octets";
    }
    buf_free(&octets);
    return fault;
}

static bool value_same(struct compare *x, uint32_t bucket, const char *what, uint32_t key, const struct kv_value *have,
                       const struct kv_mvalue *want)
{
    const char *fault = NULL;
    char text[120];

    if (want->kind == KV_NONE)
        return differs(x, what, bucket, key, "should not be there");
    if (have->kind != want->kind || have->n != want->n || have->length != want->length)
        return differs(x, what, bucket, key, "another value than was set");
    if (have->kind == KV_BODY)
        fault = body_fault(x, have->body, have->n, have->length, text);
    else if (!content_same(x, have->n, have->length, have->octets))
        fault = "its octets changed";
    return fault == NULL || differs(x, what, bucket, key, fault);
}

static bool bucket_same(struct compare *x, uint32_t slot)
{
    const struct kv_mbucket *b = &x->c->buckets[slot];
    uint32_t wanted = b->item_count, found = 0, items = 0, part, key;
    struct kv_value value;
    struct kv_head h;
    uint64_t object, at = 0;

    if (!kv_name_find(x->v, x->c->client, slot, &object))
        return b->born == 0 || differs(x, "born", slot, b->born, "the bucket is missing");
    if (b->born == 0)
        return differs(x, "born", slot, 0, "the bucket should not be there");
    if (!kv_head_get(x->v, object, &h) || h.born != b->born || h.client != x->c->client || h.slot != slot)
        return differs(x, "born", slot, b->born, "its head is missing or another's");
    if (h.moves != b->moves)
        return differs(x, "moves", slot, b->moves, "the counter differs");
    for (uint32_t i = 0; i < KV_KEYS; i++)
        wanted += b->values[i].kind != KV_NONE;
    while (kv_entry_next(x->v, object, 0, &at, &part, &key, &value)) {
        const struct kv_mvalue *want = part == KV_PART_LIST ? &b->items[items] : &b->values[key];
        bool is_known = part == KV_PART_LIST ? items < b->item_count : key < KV_KEYS && part == kv_part_of(key);

        if (!is_known)
            return differs(x, part == KV_PART_LIST ? "item" : "key", slot, key, "should not be there");
        if (!value_same(x, slot, part == KV_PART_LIST ? "item" : "key", key, &value, want))
            return false;
        items += part == KV_PART_LIST;
        found++;
    }
    return found == wanted || differs(x, "values", slot, wanted, "some are missing");
}

static bool job_same(struct compare *x, const struct kv_job *have)
{
    const char *fault;
    char text[120];

    for (uint32_t i = 0; i < x->c->job_count; i++) {
        if (x->c->jobs[i].n != have->n)
            continue;
        fault = have->length != x->c->jobs[i].length ? "another length"
                                                     : body_fault(x, have->body, have->n, have->length, text);
        return fault == NULL || differs(x, "job", 0, have->n, fault);
    }
    return differs(x, "job", 0, have->n, "should not be there");
}

static bool jobs_same(struct compare *x)
{
    struct journal_cursor c;
    struct kv_young y;
    struct kv_job job;
    slice key, octets;
    unsigned count = 0;
    bool is_same = true;

    for (unsigned i = 0; is_same && kv_young_at(x->room, i, &y); i++) {
        if (y.job.client != x->c->client)
            continue;
        count++;
        is_same = job_same(x, &y.job);
    }
    journal_cursor_begin(&c, x->v, KV_TABLE_JOB);
    while (is_same && journal_cursor_next(&c, &key, &octets)) {
        if (!kv_job_decode(octets, &job) || job.client != x->c->client)
            continue;
        count++;
        is_same = job_same(x, &job);
    }
    journal_cursor_end(&c);
    if (is_same && count != x->c->job_count)
        return differs(x, "jobs", 0, x->c->job_count, "some are missing or twice there");
    return is_same;
}

bool kv_client_same(struct kv_room *room, struct journal *j, struct journal_view *v, const struct kv_client *c,
                    uint64_t seed, bool quick, char why[200])
{
    struct compare x = { room, j, v, c, seed, quick, why };

    why[0] = 0;
    for (uint32_t i = 0; i < KV_BUCKETS; i++) {
        if (!bucket_same(&x, i))
            return false;
    }
    return jobs_same(&x);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

struct totals {
    uint64_t buckets, entries, jobs;
};

static void totals_add(struct totals *t, const struct kv_client *c)
{
    t->jobs += c->job_count;
    for (uint32_t i = 0; i < KV_BUCKETS; i++) {
        t->buckets += c->buckets[i].born != 0;
        t->entries += c->buckets[i].item_count;
        for (uint32_t k = 0; k < KV_KEYS; k++)
            t->entries += c->buckets[i].values[k].kind != KV_NONE;
    }
}

bool kv_client_is_done(struct kv_room *room, struct journal *j, struct journal_view *v, const struct kv_client *c,
                       const struct kv_plan *plan)
{
    struct kv_client *after;
    struct kv_step step;
    char why[200];
    bool is_done;

    kv_client_next(c, plan, &step);
    if (c->sent == c->answered || kv_client_expect(c, &step) != ERR_NONE)
        return false;
    if (step.what == KV_OP_JOB_ADD || step.what == KV_OP_JOB_DONE)
        return false; /* the room's memory changes before the batch is durable */
    after = mem_alloc(sizeof(*after));
    *after = *c;
    kv_client_apply(after, &step);
    is_done = !kv_client_same(room, j, v, c, plan->seed, true, why) &&
              kv_client_same(room, j, v, after, plan->seed, true, why);
    mem_free(after);
    return is_done;
}

/* With an operation in flight either state is right, unless a reader saw it done; the model becomes the one found. */
static bool client_settle(struct kv_room *room, struct journal *j, struct journal_view *v, struct kv_model *m,
                          uint32_t number, bool quick, char why[200])
{
    struct kv_client *c = &m->clients[number], *after;
    struct kv_step step;
    char other[200];
    bool is_same;

    snprintf(why, 200, "client %u operation %u was seen by a reader and is gone", number, c->seen);
    if (c->seen <= c->answered && kv_client_same(room, j, v, c, m->plan.seed, quick, why)) {
        c->answered = c->sent; /* whatever it was: it did not happen, or changes nothing */
        return true;
    }
    kv_client_next(c, &m->plan, &step);
    if (c->sent == c->answered || kv_client_expect(c, &step) != ERR_NONE)
        return false;
    after = mem_alloc(sizeof(*after));
    *after = *c;
    kv_client_apply(after, &step);
    after->answered = c->sent;
    is_same = kv_client_same(room, j, v, after, m->plan.seed, quick, other);
    if (is_same)
        *c = *after;
    mem_free(after);
    return is_same;
}

int kv_compare(struct kv_room *room, struct journal *j, struct kv_model *m, bool quick, journal_say_fn *say, void *arg)
{
    struct totals t = { 0 };
    struct journal_view v;
    struct err err = ERR_INIT;
    char why[200];
    int faults = 0;

    if (journal_read_begin(j, &v, &err) < 0) {
        say(arg, err.text);
        return 1;
    }
    for (uint32_t i = 0; i < m->client_count; i++) {
        if (!client_settle(room, j, &v, m, i, quick, why)) {
            say(arg, why);
            faults++;
        }
        totals_add(&t, &m->clients[i]);
    }
    if (faults == 0 && (journal_table_count(&v, KV_TABLE_NAME) != t.buckets ||
                        journal_table_count(&v, KV_TABLE_HEAD) != t.buckets ||
                        journal_table_count(&v, KV_TABLE_ENTRY) != t.entries ||
                        journal_table_count(&v, KV_TABLE_JOB) + kv_room_young_count(room) != t.jobs)) {
        say(arg, "there are buckets, entries or jobs that belong to nobody");
        faults++;
    }
    journal_read_end(&v);
    return faults;
}
