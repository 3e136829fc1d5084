/* empty.c - emptying segments: what they still say is said again at the tail, then they go.
 *
 * Order for a segment N, each step durable before the next:
 *   1. live bodies into a compaction segment, synced; then their places in the index, and no body lies in N any more
 *   2. an image of every part whose newest state rests on records of N; ADOPT and END records that are still needed
 *   3. the footer into the history
 *   4. DROP: from here on N does not count; a crash leaves a file that the next open removes
 *   5. the file; then rows of the index that nothing needs any more
 * N is sealed, so nothing in it becomes live again: what a step found dead stays dead.
 *
 * Tombstones. An END in N, and the END or PART_END that repeats it, is needed as long as another log segment holds
 * sequence numbers between the object's first record and the end: replay would bring the object back without it. */
#include "journal/empty.h"

#include "base/bytes.h"
#include "base/diag.h"
#include "base/mem.h"

#define BODY_ROUNDS_MAX 5

void care_step(struct journal *j, const char *step)
{
    if (j->care_step != NULL)
        j->care_step(j->care_arg, step);
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

static bool lies_in(struct journal_view *v, const struct emptying *e, const struct body_fact *f, struct body_info *b)
{
    return journal_body_info(v, f->id, b) && b->segment == e->number && b->offset == f->offset;
}

/* Those with references into `live`, those without into `dead`. */
static int bodies_sort(struct emptying *e, struct vec *live, struct vec *dead, struct err *err)
{
    const struct body_fact *f = e->bodies.items;
    struct journal_view v;
    struct body_info b;

    for (size_t i = 0; i < e->bodies.count;) {
        if (journal_read_begin(e->j, &v, err) < 0)
            return -1;
        for (unsigned n = 0; n < CARE_SLICE && i < e->bodies.count; n++, i++)
            if (lies_in(&v, e, &f[i], &b))
                *(struct body_fact *)vec_push(b.refs != 0 ? live : dead, sizeof *f) = f[i];
        journal_read_end(&v);
    }
    return 0;
}

struct chunk { /* of an array, for one operation */
    struct emptying *e;
    const void *items;
    size_t count;
};

/* Cut an array into operations. */
static int chunks_run(struct emptying *e, struct journal *j, const void *items, size_t count, size_t each,
                      uint32_t record_bytes, journal_run_fn *run, struct err *err)
{
    size_t n = (count + CARE_OP_ITEMS - 1) / CARE_OP_ITEMS;
    struct chunk *chunks;
    struct crew crew;
    int rc;

    if (count == 0)
        return 0;
    chunks = mem_alloc_array(n, sizeof *chunks);
    crew_init(&crew, j);
    for (size_t i = 0; i < n; i++) {
        size_t from = i * CARE_OP_ITEMS, len = count - from < CARE_OP_ITEMS ? count - from : CARE_OP_ITEMS;

        chunks[i] = (struct chunk){ e, (const char *)items + from * each, len };
        if (crew_submit(&crew, run, &chunks[i], (uint32_t)len, (uint32_t)len * record_bytes) < 0)
            break;
    }
    rc = crew_wait(&crew, err);
    crew_free(&crew);
    mem_free(chunks);
    return rc;
}

static int move_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    const struct chunk *c = crew_arg(op);
    const struct body_move *m = c->items;
    struct body_info b;

    for (size_t i = 0; i < c->count; i++) {
        if (!journal_body_info(&tx->view, m[i].id, &b) || b.refs == 0 || b.segment != m[i].from_segment ||
            b.offset != m[i].from_offset)
            continue;
        tx_live_add(tx, m[i].from_segment, -(int64_t)b.length);
        tx_live_add(tx, m[i].to_segment, (int64_t)b.length);
        b.segment = m[i].to_segment;
        b.offset = m[i].to_offset;
        body_value_put(tx, m[i].id, &b);
    }
    return 0;
}

static int dead_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    const struct chunk *c = crew_arg(op);
    const struct body_fact *f = c->items;
    struct body_info b;

    for (size_t i = 0; i < c->count; i++)
        if (lies_in(&tx->view, c->e, &f[i], &b) && b.refs == 0)
            journal_del_u64(&tx->view, TABLE_BODY, f[i].id);
    return 0;
}

static int bodies_copy(struct emptying *e, struct compaction *to, const struct vec *live, struct err *err)
{
    const struct body_fact *f = live->items;
    struct segment_pin pin;
    int rc = 0;

    if (live->count == 0)
        return 0;
    if (!segment_pin(e->j->segments, e->number, &pin))
        return err_set(err, ERR_NOTFOUND, "segment %016llx cannot be opened", (unsigned long long)e->number);
    for (size_t i = 0; i < live->count && rc >= 0; i++) {
        rc = compaction_add(to, &pin, f[i].id, f[i].offset, f[i].length, err);
        if (rc == 0)
            e->has_damaged_body = true;
    }
    segment_unpin(&pin);
    return rc < 0 ? -1 : 0;
}

static uint64_t live_bytes(struct journal *j, uint64_t number)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    uint64_t bytes = 0;
    slice value;

    if (journal_read_begin(j, &v, &err) < 0)
        return UINT64_MAX;
    if (journal_get_u64(&v, TABLE_SEGMENT, number, &value) && value.len == 8)
        bytes = get_le64(value.ptr);
    journal_read_end(&v);
    return bytes;
}

/* One round over all segments of the group. *left: bodies that must be looked at again. A failure of the compaction
 * segment is everybody's. */
static int bodies_round(struct emptying *es, unsigned n, uint32_t partition, size_t *left, struct err *err)
{
    struct journal *j = es[0].j;
    struct compaction to;
    struct vec live = { 0 };
    int rc = -1;

    *left = 0;
    compaction_init(&to, j, partition);
    for (unsigned i = 0; i < n; i++) {
        struct vec dead = { 0 };
        bool ok;

        if (es[i].err.kind != ERR_NONE || es[i].has_damaged_body)
            continue;
        live.count = 0;
        ok = bodies_sort(&es[i], &live, &dead, err) == 0 && bodies_copy(&es[i], &to, &live, err) == 0 &&
             chunks_run(&es[i], j, dead.items, dead.count, sizeof(struct body_fact), 0, dead_run, err) == 0;
        *left += live.count;
        mem_free(dead.items);
        if (!ok)
            goto out;
    }
    care_step(j, "copied");
    if (compaction_finish(&to, err) < 0)
        goto out;
    care_step(j, "compacted");
    rc = chunks_run(NULL, j, to.moves, to.count, sizeof *to.moves, 0, move_run, err);
    care_step(j, "moved");
out:
    mem_free(live.items);
    compaction_free(&to);
    return rc;
}

static int bodies_move(struct emptying *es, unsigned n, uint32_t partition, struct err *err)
{
    size_t left = 1;

    for (unsigned round = 0; round < BODY_ROUNDS_MAX && left != 0; round++)
        if (bodies_round(es, n, partition, &left, err) < 0)
            return -1;
    for (unsigned i = 0; i < n; i++) {
        struct emptying *e = &es[i];

        if (e->err.kind != ERR_NONE)
            continue;
        if (e->has_damaged_body)
            err_set(&e->err, ERR_DAMAGE, "segment %016llx is kept for a damaged body that is still referred to",
                    (unsigned long long)e->number);
        else if (left != 0)
            err_set(&e->err, ERR_BUG, "bodies keep coming back to segment %016llx", (unsigned long long)e->number);
        else if (live_bytes(e->j, e->number) != 0)
            err_set(&e->err, ERR_DAMAGE, "segment %016llx is kept: bodies in it are referred to, but not in its footer",
                    (unsigned long long)e->number);
    }
    return 0;
}

/* --- parts -------------------------------------------------------------------------------------------------------- */

static int want_push(struct emptying *e, struct journal_view *v, struct vec *wants, const struct image_want *w,
                     struct err *err)
{
    const struct type_slot *slot = type_slot_find(e->j, w->type);

    if (part_is_dead(v, w->object, w->part, w->seq))
        return 0;
    if (slot == NULL || slot->row->image == NULL)
        return err_set(err, ERR_BUG, "record %llu of segment %016llx is alive, but type %04x has no image",
                       (unsigned long long)w->seq, (unsigned long long)e->number, w->type);
    *(struct image_want *)vec_push(wants, sizeof *w) = *w;
    return 0;
}

/* Parts that rest on this segment. */
static int wants_parts(struct emptying *e, struct vec *wants, struct err *err)
{
    const struct part_fact *f = e->parts.items;
    struct journal_view v;
    int rc = 0;

    for (size_t i = 0; i < e->parts.count && rc == 0;) {
        if (journal_read_begin(e->j, &v, err) < 0)
            return -1;
        for (unsigned n = 0; n < CARE_SLICE && i < e->parts.count && rc == 0; n++, i++) {
            struct image_want w = { f[i].object, f[i].part, f[i].type, f[i].seq,
                                    emptying_meets(e, f[i].object, f[i].seq) };

            rc = want_push(e, &v, wants, &w, err);
        }
        journal_read_end(&v);
    }
    return rc;
}

/* Ends that are needed into `again`, PART_ENDs into `wants`; what is not needed any more into e->forget. */
static int wants_ends(struct emptying *e, struct vec *wants, struct vec *again, struct err *err)
{
    const struct end_fact *f = e->ends.items;
    struct journal_view v;
    int rc = 0;

    for (size_t i = 0; i < e->ends.count && rc == 0;) {
        if (journal_read_begin(e->j, &v, err) < 0)
            return -1;
        for (unsigned n = 0; n < CARE_SLICE && i < e->ends.count && rc == 0; n++, i++) {
            bool needed = emptying_meets(e, f[i].object, f[i].end);

            if (part_is_dead(&v, f[i].object, f[i].part, f[i].seq))
                continue;
            if (needed && f[i].part == PART_ALL)
                *(struct end_fact *)vec_push(again, sizeof *f) = f[i];
            else if (needed)
                rc = want_push(e, &v, wants, &(struct image_want){ f[i].object, f[i].part, f[i].type, f[i].seq, true },
                               err);
            else
                *(struct end_fact *)vec_push(&e->forget, sizeof *f) = f[i];
        }
        journal_read_end(&v);
    }
    return rc;
}

static void part_end_emit(struct journal_tx *tx, const struct image_want *w)
{
    unsigned char payload[10];

    put_le16(payload, w->type);
    put_le64(payload + 2, tx->next_seq - 1);
    journal_emit(tx, RT_PART_END, w->object, w->part, RECORD_IMAGE, slice_of(payload, sizeof payload));
}

int image_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    const struct image_want *w = crew_arg(op);
    const struct type_slot *slot = type_slot_find(tx->journal, w->type);

    if (part_is_dead(&tx->view, w->object, w->part, w->seq))
        return 0;
    if (slot->row->image(tx, slot->room->state, w->object, w->part, err) < 0)
        return -1;
    if (!tx_op_emitted(tx)) {
        if (w->has_elders)
            part_end_emit(tx, w);
        return 0;
    }
    if (!tx->is_failed && !part_is_dead(&tx->view, w->object, w->part, w->seq))
        return err_set(err, ERR_BUG, "%s: the image callback of %s emitted no image of object %llu, part %u",
                       slot->room->name, slot->row->name, (unsigned long long)w->object, w->part);
    return 0;
}

void change_key(unsigned char key[12], uint64_t object, uint32_t part)
{
    put_be64(key, object);
    put_be32(key + 8, part);
}

bool change_get(struct journal_view *v, uint64_t object, uint32_t part, struct change_value *out)
{
    unsigned char key[12];
    slice value;

    *out = (struct change_value){ 0 };
    change_key(key, object, part);
    if (!journal_get(v, TABLE_CHANGES, slice_of(key, sizeof key), &value) || value.len != 16)
        return false;
    *out = (struct change_value){ get_le64(value.ptr), get_le64(value.ptr + 8) };
    return true;
}

uint32_t image_bytes(struct journal_view *v, uint64_t object, uint32_t part)
{
    struct change_value c;
    uint64_t bytes;

    change_get(v, object, part, &c);
    bytes = 1024 + c.image + c.changes;
    return bytes < 1024u * 1024 ? (uint32_t)bytes : 1024u * 1024;
}

uint32_t image_cost(uint32_t bytes)
{
    return 1 + bytes / 1024;
}

static int images_emit(struct emptying *e, struct vec *wants, struct err *err)
{
    struct image_want *w = wants->items;
    struct crew crew;
    int rc = 0;

    crew_init(&crew, e->j);
    for (size_t i = 0; i < wants->count && rc == 0;) {
        uint32_t bytes[64];
        struct journal_view v;
        size_t n = wants->count - i < ARRAY_LEN(bytes) ? wants->count - i : ARRAY_LEN(bytes);

        if (journal_read_begin(e->j, &v, err) < 0) {
            rc = -1;
            break;
        }
        for (size_t k = 0; k < n; k++)
            bytes[k] = image_bytes(&v, w[i + k].object, w[i + k].part);
        journal_read_end(&v);
        for (size_t k = 0; k < n && rc == 0; k++)
            rc = crew_submit(&crew, image_run, &w[i + k], image_cost(bytes[k]), bytes[k]);
        i += n;
    }
    if (crew_wait(&crew, err) < 0)
        rc = -1;
    crew_free(&crew);
    return rc;
}

/* --- ends and adoptions ------------------------------------------------------------------------------------------- */

static int ends_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    const struct chunk *c = crew_arg(op);
    const struct end_fact *f = c->items;
    unsigned char payload[8];

    for (size_t i = 0; i < c->count; i++) {
        if (part_is_dead(&tx->view, f[i].object, PART_ALL, f[i].seq))
            continue;
        put_le64(payload, f[i].end);
        journal_emit(tx, RT_OBJECT_END, f[i].object, 0, RECORD_END, slice_of(payload, sizeof payload));
    }
    return 0;
}

static int adopts_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    const struct chunk *c = crew_arg(op);
    const struct adopt_fact *f = c->items;
    unsigned char payload[28];
    struct body_info b;

    for (size_t i = 0; i < c->count; i++) {
        if (!journal_body_info(&tx->view, f[i].id, &b) || b.refs == 0 || b.segment != f[i].segment)
            continue;
        put_le64(payload, f[i].id);
        put_le64(payload + 8, f[i].segment);
        put_le64(payload + 16, f[i].offset);
        put_le32(payload + 24, f[i].length);
        journal_emit(tx, RT_ADOPT, f[i].id, 0, 0, slice_of(payload, sizeof payload));
    }
    return 0;
}

static int say_again(struct emptying *e, struct err *err)
{
    struct vec wants = { 0 }, again = { 0 };
    int rc = -1;

    if (wants_parts(e, &wants, err) < 0 || wants_ends(e, &wants, &again, err) < 0)
        goto out;
    if (images_emit(e, &wants, err) < 0)
        goto out;
    care_step(e->j, "imaged");
    if (chunks_run(e, e->j, again.items, again.count, sizeof(struct end_fact), RECORD_HEADER_BYTES + 8, ends_run,
                   err) < 0)
        goto out;
    rc = chunks_run(e, e->j, e->adopts.items, e->adopts.count, sizeof(struct adopt_fact), RECORD_HEADER_BYTES + 32,
                    adopts_run, err);
    care_step(e->j, "ended");
out:
    mem_free(wants.items);
    mem_free(again.items);
    return rc;
}

/* --- the end of the segment --------------------------------------------------------------------------------------- */

static int drop_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    const struct emptying *e = crew_arg(op);
    const struct segment_header *h = &e->seg.info.header;
    uint64_t first = 0, last = 0;
    unsigned char payload[28];

    if (h->kind == SEGMENT_LOG && e->seg.info.last_seq >= h->first_seq) {
        first = h->first_seq;
        last = e->seg.info.last_seq;
        if (e->seg.void_from != 0 && last >= e->seg.void_from)
            last = e->seg.void_from - 1;
    }
    put_le64(payload, e->number);
    put_le32(payload + 8, (uint32_t)h->kind);
    put_le64(payload + 12, first);
    put_le64(payload + 20, last);
    journal_emit(tx, RT_DROP, JOURNAL_SELF, 0, 0, slice_of(payload, sizeof payload));
    return 0;
}

static void rows_forget(struct journal_view *v, unsigned table, uint64_t object)
{
    unsigned char key[12], found_key[12];
    struct journal_cursor c;
    slice found, value;
    bool is_his;

    change_key(key, object, 0);
    do {
        journal_cursor_begin(&c, v, table);
        is_his = journal_cursor_seek(&c, slice_of(key, sizeof key), &found, &value) && found.len == sizeof found_key &&
                 get_be64(found.ptr) == object;
        if (is_his)
            memcpy(found_key, found.ptr, sizeof found_key);
        journal_cursor_end(&c);
        if (is_his)
            journal_del(v, table, slice_of(found_key, sizeof found_key));
    } while (is_his);
}

static int forget_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    const struct chunk *c = crew_arg(op);
    const struct end_fact *f = c->items;
    unsigned char key[12];

    for (size_t i = 0; i < c->count; i++) {
        if (part_seq(&tx->view, f[i].object, f[i].part) > f[i].seq)
            continue;
        if (f[i].part != PART_ALL) {
            change_key(key, f[i].object, f[i].part);
            journal_del(&tx->view, TABLE_PART, slice_of(key, sizeof key));
            continue;
        }
        rows_forget(&tx->view, TABLE_PART, f[i].object);
        rows_forget(&tx->view, TABLE_CHANGES, f[i].object);
    }
    return 0;
}

static int drop(struct emptying *e, struct err *err)
{
    struct journal *j = e->j;
    struct crew crew;
    struct err ignored = ERR_INIT;
    int rc;

    if (e->seg.info.header.kind == SEGMENT_LOG && history_keep(j, e->number, &ignored) < 0)
        diag_warn("journal", "no history of segment %016llx is kept: %s", (unsigned long long)e->number, ignored.text);
    care_step(j, "kept");
    crew_init(&crew, j);
    crew_submit(&crew, drop_run, e, 1, RECORD_HEADER_BYTES + 32);
    rc = crew_wait(&crew, err);
    crew_free(&crew);
    if (rc < 0)
        return -1;
    care_step(j, "dropped");
    if (segment_drop(j->segments, e->number, err) < 0)
        return -1;
    counter_add(&journal_counters[JC_EMPTIED], 1);
    care_step(j, "gone");
    /* Rows left by a crash here are lost with the next rebuild; they do no harm. */
    if (chunks_run(e, j, e->forget.items, e->forget.count, sizeof(struct end_fact), 0, forget_run, &ignored) < 0)
        diag_warn("journal", "rows of ended objects stay in the index: %s", ignored.text);
    return 0;
}

/* --- kept for damage ---------------------------------------------------------------------------------------------- */

bool is_kept(struct journal *j, uint64_t number, uint64_t live)
{
    uintptr_t was;

    pthread_mutex_lock(&j->lock);
    was = (uintptr_t)idmap_get(&j->kept, number);
    pthread_mutex_unlock(&j->lock);
    return was != 0 && was == (uintptr_t)live + 1;
}

/* How the attempt ended: gone segments are forgotten, damaged ones remembered with what is alive in them now. */
static void kept_note(struct emptying *e, bool is_gone)
{
    bool is_damaged = !is_gone && (e->err.kind == ERR_DAMAGE || e->err.kind == ERR_PERM), was;
    uint64_t live = is_damaged ? live_bytes(e->j, e->number) : 0;

    if (live >= UINTPTR_MAX)
        is_damaged = false; /* not to be known just now: it is tried again */
    pthread_mutex_lock(&e->j->lock);
    was = idmap_get(&e->j->kept, e->number) != NULL;
    if (is_damaged)
        idmap_put(&e->j->kept, e->number, (void *)((uintptr_t)live + 1)); // NOLINT(performance-no-int-to-ptr)
    else if (is_gone)
        idmap_del(&e->j->kept, e->number);
    pthread_mutex_unlock(&e->j->lock);
    if (is_damaged != was && (is_damaged || is_gone))
        counter_add(&journal_counters[JC_KEPT], is_damaged ? 1 : -1);
}

int empty_group(struct journal *j, const uint64_t *numbers, unsigned count, uint32_t partition, unsigned *emptied,
                struct err *err)
{
    struct emptying *es = mem_alloc_array(count, sizeof *es);
    struct err why = ERR_INIT;
    int rc = 0;

    *emptied = 0;
    for (unsigned i = 0; i < count; i++) {
        es[i].j = j;
        es[i].number = numbers[i];
        if (emptying_load(&es[i], &why) < 0) {
            es[i].err = why;
            why = ERR_INIT;
        }
    }
    care_step(j, "loaded");
    if (bodies_move(es, count, partition, err) < 0) {
        rc = -1;
        goto out;
    }
    for (unsigned i = 0; i < count; i++) {
        struct emptying *e = &es[i];

        /* the others' spans change as the group goes */
        if (e->err.kind == ERR_NONE && e->seg.info.header.kind == SEGMENT_LOG)
            emptying_spans(e, &e->err);
        if (e->err.kind == ERR_NONE && say_again(e, &e->err) == 0 && drop(e, &e->err) == 0) {
            ++*emptied;
            kept_note(e, true);
            continue;
        }
        kept_note(e, false);
        if (rc == 0)
            *err = e->err;
        rc = -1;
    }
out:
    for (unsigned i = 0; i < count; i++)
        emptying_free(&es[i]);
    mem_free(es);
    return rc;
}

int journal_empty_segment(struct journal *j, uint64_t number, uint32_t partition, struct err *err)
{
    unsigned emptied;
    int rc;

    if (catchup_refuse(j, err) < 0)
        return -1;
    pthread_mutex_lock(&j->care);
    rc = empty_group(j, &number, 1, partition, &emptied, err);
    pthread_mutex_unlock(&j->care);
    return rc;
}
