#include "kv_internal.h"

#include <pthread.h>

#include "base/mem.h"

/* --- jobs in memory: changed at once, taken back by `aborted` ----------------------------------------------------- */

struct undo {
    bool was_added;
    struct kv_young young;
};

struct kv_room {
    struct journal_room rows;
    pthread_mutex_t lock; /* lock rank 90: the two arrays; a test reads while the committer idles */
    struct kv_young *young;
    unsigned young_count, young_cap;
    struct undo *undo;
    unsigned undo_count, undo_cap;
};

static void young_push(struct kv_room *r, const struct kv_young *y)
{
    if (r->young_count == r->young_cap) {
        r->young_cap = r->young_cap * 2 + 16;
        r->young = mem_realloc(r->young, r->young_cap * sizeof(r->young[0]));
    }
    r->young[r->young_count++] = *y;
}

static void undo_push(struct kv_room *r, bool was_added, const struct kv_young *y)
{
    if (r->undo_count == r->undo_cap) {
        r->undo_cap = r->undo_cap * 2 + 16;
        r->undo = mem_realloc(r->undo, r->undo_cap * sizeof(r->undo[0]));
    }
    r->undo[r->undo_count++] = (struct undo){ was_added, *y };
}

static struct kv_young *young_find(struct kv_room *r, uint64_t object)
{
    for (unsigned i = 0; i < r->young_count; i++) {
        if (r->young[i].object == object)
            return &r->young[i];
    }
    return NULL;
}

static void young_add(struct kv_room *r, uint64_t object, const struct kv_job *job)
{
    struct kv_young y = { object, *job };

    pthread_mutex_lock(&r->lock);
    if (young_find(r, object) == NULL) {
        young_push(r, &y);
        undo_push(r, true, &y);
    }
    pthread_mutex_unlock(&r->lock);
}

/* Was it there? Its value goes to *out. */
static bool young_take(struct kv_room *r, uint64_t object, struct kv_job *out)
{
    struct kv_young *y;
    bool found = false;

    pthread_mutex_lock(&r->lock);
    y = young_find(r, object);
    if (y != NULL) {
        *out = y->job;
        undo_push(r, false, y);
        *y = r->young[--r->young_count];
        found = true;
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

unsigned kv_room_young_count(struct kv_room *r)
{
    unsigned n;

    pthread_mutex_lock(&r->lock);
    n = r->young_count;
    pthread_mutex_unlock(&r->lock);
    return n;
}

bool kv_young_at(struct kv_room *r, unsigned i, struct kv_young *out)
{
    bool is_there;

    pthread_mutex_lock(&r->lock);
    is_there = i < r->young_count;
    if (is_there)
        *out = r->young[i];
    pthread_mutex_unlock(&r->lock);
    return is_there;
}

static void on_committed(void *room)
{
    struct kv_room *r = room;

    pthread_mutex_lock(&r->lock);
    r->undo_count = 0;
    pthread_mutex_unlock(&r->lock);
}

static void on_aborted(void *room)
{
    struct kv_room *r = room;

    pthread_mutex_lock(&r->lock);
    while (r->undo_count > 0) {
        struct undo *u = &r->undo[--r->undo_count];
        struct kv_young *y = young_find(r, u->young.object);

        if (!u->was_added)
            young_push(r, &u->young);
        else if (y != NULL)
            *y = r->young[--r->young_count];
    }
    pthread_mutex_unlock(&r->lock);
}

static uint64_t on_young_from(void *room)
{
    struct kv_room *r = room;
    uint64_t oldest = 0;

    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < r->young_count; i++) {
        if (oldest == 0 || r->young[i].object < oldest)
            oldest = r->young[i].object;
    }
    pthread_mutex_unlock(&r->lock);
    return oldest;
}

/* --- values and keys ---------------------------------------------------------------------------------------------- */

void kv_value_put(struct buf *out, const struct kv_value *v)
{
    buf_put_byte(out, (unsigned char)v->kind);
    buf_put_le32(out, v->n);
    buf_put_le32(out, v->length);
    if (v->kind == KV_BODY)
        buf_put_le64(out, v->body);
    else
        buf_put_slice(out, v->octets);
}

struct kv_value kv_value_read(struct reader *r)
{
    struct kv_value v = { 0 };

    v.kind = read_u8(r);
    v.n = read_le32(r);
    v.length = read_le32(r);
    if (v.kind == KV_BODY)
        v.body = read_le64(r);
    else
        v.octets = read_octets(r, v.length);
    if (v.kind != KV_BODY && v.kind != KV_INLINE)
        r->failed = true;
    return v;
}

slice kv_entry_key(struct kv_entry_key *k, uint64_t object, uint32_t part, uint32_t key)
{
    put_be64(k->octets, object);
    put_be32(k->octets + 8, part);
    put_be32(k->octets + 12, key);
    return slice_of(k->octets, sizeof(k->octets));
}

bool kv_name_find(struct journal_view *v, uint32_t client, uint32_t slot, uint64_t *object)
{
    slice found;

    if (!journal_get_u64(v, KV_TABLE_NAME, kv_name_key(client, slot), &found) || found.len != 8)
        return false;
    *object = get_le64(found.ptr);
    return true;
}

bool kv_entry_find(struct journal_view *v, uint64_t object, uint32_t part, uint32_t key, struct kv_value *value)
{
    struct kv_entry_key k;
    struct reader in;
    slice found;

    if (!journal_get(v, KV_TABLE_ENTRY, kv_entry_key(&k, object, part, key), &found))
        return false;
    in = reader_of(found);
    *value = kv_value_read(&in);
    return !in.failed;
}

/* --- apply -------------------------------------------------------------------------------------------------------- */

static int undecodable(const struct record *r, struct err *err)
{
    return err_set(err, ERR_DAMAGE, "record %llu of type %x does not decode", (unsigned long long)r->seq, r->type);
}

static void head_put(struct journal_view *v, uint64_t object, const struct kv_head *h)
{
    unsigned char octets[16], id[8];

    put_le32(octets, h->client);
    put_le32(octets + 4, h->slot);
    put_le32(octets + 8, h->born);
    put_le32(octets + 12, h->moves);
    put_le64(id, object);
    journal_put_u64(v, KV_TABLE_HEAD, object, slice_of(octets, sizeof(octets)));
    journal_put_u64(v, KV_TABLE_NAME, kv_name_key(h->client, h->slot), slice_of(id, sizeof(id)));
}

bool kv_head_get(struct journal_view *v, uint64_t object, struct kv_head *h)
{
    slice found;

    if (!journal_get_u64(v, KV_TABLE_HEAD, object, &found) || found.len != 16)
        return false;
    h->client = get_le32(found.ptr);
    h->slot = get_le32(found.ptr + 4);
    h->born = get_le32(found.ptr + 8);
    h->moves = get_le32(found.ptr + 12);
    return true;
}

static int apply_head(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct reader in = reader_of(r->payload);
    struct kv_head h = { 0 };
    bool is_known;

    if (r->type == KV_HEAD) {
        is_known = kv_head_get(v, r->object, &h);
        h.moves = read_le32(&in);
        if (!reader_done(&in))
            return undecodable(r, err);
        if (is_known)
            head_put(v, r->object, &h);
        return 0;
    }
    h.client = read_le32(&in);
    h.slot = read_le32(&in);
    h.born = read_le32(&in);
    if (r->type == KV_IMAGE_HEAD)
        h.moves = read_le32(&in);
    if (!reader_done(&in))
        return undecodable(r, err);
    head_put(v, r->object, &h);
    return 0;
}

static void entry_del(struct journal_tx *tx, uint64_t object, uint32_t part, uint32_t key)
{
    struct journal_view *v = journal_tx_view(tx);
    struct kv_entry_key k;
    struct kv_value old;

    if (!kv_entry_find(v, object, part, key, &old))
        return;
    if (old.kind == KV_BODY)
        journal_body_ref(tx, old.body, -1);
    journal_del(v, KV_TABLE_ENTRY, kv_entry_key(&k, object, part, key));
}

static void entry_put(struct journal_tx *tx, uint64_t object, uint32_t part, uint32_t key, const struct kv_value *value)
{
    struct kv_entry_key k;
    struct buf octets = BUF_INIT;

    if (value->kind == KV_BODY) /* before the old one goes: it may be the same */
        journal_body_ref(tx, value->body, +1);
    entry_del(tx, object, part, key);
    kv_value_put(&octets, value);
    journal_put(journal_tx_view(tx), KV_TABLE_ENTRY, kv_entry_key(&k, object, part, key), buf_slice(&octets));
    buf_free(&octets);
}

static int apply_entry(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload);
    uint32_t key = read_le32(&in);
    struct kv_value value = { 0 };

    if (r->type == KV_SET || r->type == KV_PUSH)
        value = kv_value_read(&in);
    if (!reader_done(&in))
        return undecodable(r, err);
    if (value.kind != KV_NONE)
        entry_put(tx, r->object, r->part, key, &value);
    else
        entry_del(tx, r->object, r->part, key);
    return 0;
}

/* The next entry of (object, part), or of the whole object if part is 0. *key: start here; points behind the found
 * one. */
bool kv_entry_next(struct journal_view *v, uint64_t object, uint32_t part, uint64_t *at, uint32_t *found_part,
                       uint32_t *key, struct kv_value *value)
{
    struct journal_cursor c;
    struct kv_entry_key k;
    slice found, octets;
    bool is_ours;

    if (*at == 0)
        *at = (uint64_t)part << 32;
    journal_cursor_begin(&c, v, KV_TABLE_ENTRY);
    is_ours = journal_cursor_seek(&c, kv_entry_key(&k, object, (uint32_t)(*at >> 32), (uint32_t)*at), &found, &octets);
    is_ours = is_ours && found.len == 16 && get_be64(found.ptr) == object;
    if (is_ours) {
        struct reader in = reader_of(octets);

        *found_part = get_be32(found.ptr + 8);
        *key = get_be32(found.ptr + 12);
        *value = kv_value_read(&in);
        is_ours = !in.failed && (part == 0 || *found_part == part);
        *at = ((uint64_t)*found_part << 32 | *key) + 1;
    }
    journal_cursor_end(&c);
    return is_ours;
}

static void part_clear(struct journal_tx *tx, uint64_t object, uint32_t part)
{
    uint64_t at = 0;
    uint32_t found_part, key;
    struct kv_value value;

    while (kv_entry_next(journal_tx_view(tx), object, part, &at, &found_part, &key, &value))
        entry_del(tx, object, found_part, key);
}

/* The image replaces the part. References are added before old ones go, so that no count touches zero in between. */
static int apply_image_part(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload), again = in;

    while (in.rest.len > 0 && !in.failed) {
        struct kv_value value;

        (void)read_le32(&in);
        value = kv_value_read(&in);
        if (!in.failed && value.kind == KV_BODY)
            journal_body_ref(tx, value.body, +1);
    }
    part_clear(tx, r->object, r->part);
    while (again.rest.len > 0 && !again.failed) {
        uint32_t key = read_le32(&again);
        struct kv_value value = kv_value_read(&again);

        if (again.failed)
            break;
        entry_put(tx, r->object, r->part, key, &value);
        if (value.kind == KV_BODY)
            journal_body_ref(tx, value.body, -1);
    }
    return again.failed ? undecodable(r, err) : 0;
}

static int apply_drop(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err UNUSED)
{
    struct journal_view *v = journal_tx_view(tx);
    struct kv_head h;
    uint64_t object;

    part_clear(tx, r->object, 0);
    if (!kv_head_get(v, r->object, &h))
        return 0;
    if (kv_name_find(v, h.client, h.slot, &object) && object == r->object)
        journal_del_u64(v, KV_TABLE_NAME, kv_name_key(h.client, h.slot));
    journal_del_u64(v, KV_TABLE_HEAD, r->object);
    return 0;
}

/* --- jobs --------------------------------------------------------------------------------------------------------- */

void kv_job_encode(struct buf *out, const struct kv_job *job)
{
    buf_put_le32(out, job->client);
    buf_put_le32(out, job->n);
    buf_put_le32(out, job->length);
    buf_put_le64(out, job->body);
}

bool kv_job_decode(slice octets, struct kv_job *job)
{
    struct reader in = reader_of(octets);

    job->client = read_le32(&in);
    job->n = read_le32(&in);
    job->length = read_le32(&in);
    job->body = read_le64(&in);
    return reader_done(&in);
}

static bool job_in_table(struct journal_view *v, uint64_t object, struct kv_job *job)
{
    slice found;

    return journal_get_u64(v, KV_TABLE_JOB, object, &found) && kv_job_decode(found, job);
}

static void job_write(struct journal_view *v, uint64_t object, const struct kv_job *job)
{
    struct buf octets = BUF_INIT;

    kv_job_encode(&octets, job);
    journal_put_u64(v, KV_TABLE_JOB, object, buf_slice(&octets));
    buf_free(&octets);
}

/* A body's reference is counted when the record is applied, also while the job is only in memory. */
static int apply_job(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct kv_room *self = room;
    struct journal_view *v = journal_tx_view(tx);
    struct kv_job job = { 0 }, old = { 0 };
    bool is_young = journal_tx_is_young(tx), in_table = job_in_table(v, r->object, &old);
    bool is_known;

    if (r->type == KV_JOB_DONE) {
        is_known = young_take(self, r->object, &old) || in_table;
        if (in_table && !is_young)
            journal_del_u64(v, KV_TABLE_JOB, r->object);
        if (is_known && !is_young)
            journal_body_ref(tx, old.body, -1);
        return 0;
    }
    if (!kv_job_decode(r->payload, &job))
        return undecodable(r, err);
    if (r->type == KV_JOB_ADD) {
        if (!in_table)
            young_add(self, r->object, &job);
        if (!in_table && !is_young)
            journal_body_ref(tx, job.body, +1);
        return 0;
    }
    is_known = young_take(self, r->object, &old) || in_table;
    job_write(v, r->object, &job);
    if (!is_known)
        journal_body_ref(tx, job.body, +1);
    return 0;
}

static int on_settle(struct journal_tx *tx, void *room, uint64_t upto, struct err *err UNUSED)
{
    struct kv_room *r = room;
    unsigned i = 0;

    while (i < r->young_count) {
        struct kv_young y = r->young[i];
        struct kv_job job;

        if (y.object > upto) {
            i++;
            continue;
        }
        job_write(journal_tx_view(tx), y.object, &y.job);
        young_take(r, y.object, &job); /* the last one takes its place */
    }
    return 0;
}

/* --- images ------------------------------------------------------------------------------------------------------- */

static void head_encode(struct buf *out, const struct kv_head *h)
{
    buf_put_le32(out, h->client);
    buf_put_le32(out, h->slot);
    buf_put_le32(out, h->born);
}

static int image_bucket(struct journal_tx *tx, void *room UNUSED, uint64_t object, uint32_t part,
                        struct err *err UNUSED)
{
    struct journal_view *v = journal_tx_view(tx);
    struct buf payload = BUF_INIT;
    struct kv_head h;
    bool is_there = kv_head_get(v, object, &h);
    uint64_t at = 0;
    uint32_t found_part, key;
    struct kv_value value;

    if (part == 0 && is_there) {
        head_encode(&payload, &h);
        buf_put_le32(&payload, h.moves);
        journal_emit(tx, KV_IMAGE_HEAD, object, 0, RECORD_IMAGE, buf_slice(&payload));
    }
    /* an empty part has an image too: it says that what older segments set is gone */
    while (part != 0 && kv_entry_next(v, object, part, &at, &found_part, &key, &value)) {
        is_there = true;
        buf_put_le32(&payload, key);
        kv_value_put(&payload, &value);
    }
    if (part != 0 && is_there)
        journal_emit(tx, KV_IMAGE_PART, object, part, RECORD_IMAGE, buf_slice(&payload));
    buf_free(&payload);
    return 0;
}

static int image_job(struct journal_tx *tx, void *room, uint64_t object, uint32_t part UNUSED, struct err *err UNUSED)
{
    struct kv_room *r = room;
    struct buf payload = BUF_INIT;
    struct kv_young *y = young_find(r, object);
    struct kv_job job;

    if (y != NULL)
        job = y->job;
    else if (!job_in_table(journal_tx_view(tx), object, &job))
        return 0;
    kv_job_encode(&payload, &job);
    journal_emit(tx, KV_IMAGE_JOB, object, 0, RECORD_IMAGE, buf_slice(&payload));
    buf_free(&payload);
    return 0;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static void refs_entry(const struct record *r, journal_ref_fn *ref, void *arg)
{
    struct reader in = reader_of(r->payload);

    while (in.rest.len > 0 && !in.failed) { /* one pair, or all of an image */
        struct kv_value value;

        (void)read_le32(&in);
        value = kv_value_read(&in);
        if (!in.failed && value.kind == KV_BODY)
            ref(arg, value.body);
    }
}

static void refs_job(const struct record *r, journal_ref_fn *ref, void *arg)
{
    struct kv_job job;

    if (kv_job_decode(r->payload, &job))
        ref(arg, job.body);
}

static void keys_job(const struct record *r, journal_key_fn *key, void *arg)
{
    struct kv_job job;
    struct buf text = BUF_INIT;

    if (kv_job_decode(r->payload, &job)) {
        buf_printf(&text, "job-%u-%u", job.client, job.n);
        key(arg, buf_slice(&text));
    }
    buf_free(&text);
}

static void dump_entry(const struct record *r, struct buf *out)
{
    struct reader in = reader_of(r->payload);

    buf_printf(out, "%s %u, %zu octets", r->part == KV_PART_LIST ? "item" : "key", read_le32(&in), r->payload.len);
}

static const struct journal_type types[] = {
    { KV_BUCKET, 0, "kv_bucket", apply_head, NULL, NULL, image_bucket, NULL },
    { KV_HEAD, 0, "kv_head", apply_head, NULL, NULL, image_bucket, NULL },
    { KV_SET, TYPE_LATE, "kv_set", apply_entry, refs_entry, dump_entry, image_bucket, NULL },
    { KV_DEL, TYPE_LATE, "kv_del", apply_entry, NULL, dump_entry, image_bucket, NULL },
    { KV_PUSH, TYPE_LATE, "kv_push", apply_entry, refs_entry, dump_entry, image_bucket, NULL },
    { KV_POP, TYPE_LATE, "kv_pop", apply_entry, NULL, dump_entry, image_bucket, NULL },
    { KV_DROP, 0, "kv_drop", apply_drop, NULL, NULL, NULL, NULL },
    { KV_IMAGE_HEAD, 0, "kv_image_head", apply_head, NULL, NULL, image_bucket, NULL },
    { KV_IMAGE_PART, TYPE_LATE, "kv_image_part", apply_image_part, refs_entry, NULL, image_bucket, NULL },
    { KV_JOB_ADD, TYPE_YOUNG, "kv_job_add", apply_job, refs_job, NULL, image_job, keys_job },
    { KV_JOB_DONE, TYPE_YOUNG, "kv_job_done", apply_job, NULL, NULL, NULL, NULL },
    { KV_IMAGE_JOB, 0, "kv_image_job", apply_job, refs_job, NULL, image_job, keys_job },
};

static const struct journal_table tables[] = {
    { KV_TABLE_NAME, "kv.name", 0 },
    { KV_TABLE_HEAD, "kv.head", 0 },
    { KV_TABLE_ENTRY, "kv.entry", 0 },
    { KV_TABLE_JOB, "kv.job", 0 },
};

static void *state_new(void)
{
    return kv_room_new();
}

static void state_destroy(void *state)
{
    struct kv_room *r = state;

    kv_room_destroy(&r);
}

OWNED struct kv_room *kv_room_new(void)
{
    struct kv_room *r = mem_alloc(sizeof(*r));

    pthread_mutex_init(&r->lock, NULL);
    r->rows = (struct journal_room){
        .name = "kv",
        .types = types,
        .type_count = ARRAY_LEN(types),
        .tables = tables,
        .table_count = ARRAY_LEN(tables),
        .state = r,
        .committed = on_committed,
        .aborted = on_aborted,
        .young_from = on_young_from,
        .settle = on_settle,
        .state_new = state_new,
        .state_destroy = state_destroy,
    };
    return r;
}

void kv_room_destroy(struct kv_room **r)
{
    if (*r == NULL)
        return;
    pthread_mutex_destroy(&(*r)->lock);
    mem_free((*r)->young);
    mem_free((*r)->undo);
    mem_free(*r);
    *r = NULL;
}

const struct journal_room *kv_room_rows(struct kv_room *r)
{
    return &r->rows;
}
