#include "journal/internal.h"

#include "base/bytes.h"
#include "base/diag.h"
#include "base/mem.h"

void tx_init(struct journal_tx *tx, struct journal *j)
{
    memset(tx, 0, sizeof *tx);
    tx->journal = j;
    arena_init(&tx->mem, 64 * 1024);
}

void tx_free(struct journal_tx *tx)
{
    arena_free(&tx->mem);
    mem_free(tx->pending);
    tx->pending = NULL;
}

void tx_reset(struct journal_tx *tx)
{
    struct journal *j = tx->journal;

    arena_reset(&tx->mem);
    tx->phase = TX_LIVE;
    tx->now_ms = clock_wall_ms(j->clock);
    tx->next_seq = j->next_seq;
    tx->at = j->has_tail ? j->tail.at : SEGMENT_PAGE_BYTES;
    tx->segment = j->has_tail ? j->tail.header.number : 0;
    tx->pending_count = 0;
    tx->op_begin = 0;
    tx->is_failed = false;
    tx->live_count = 0;
}

void tx_op_begin(struct journal_tx *tx)
{
    tx->op_begin = tx->pending_count;
    tx->is_failed = false;
    tx->err = ERR_INIT;
}

bool tx_op_emitted(const struct journal_tx *tx)
{
    return tx->pending_count > tx->op_begin;
}

void tx_op_end(struct journal_tx *tx)
{
    for (size_t i = tx->op_begin; i + 1 < tx->pending_count; i++)
        tx->pending[i].header.flags |= RECORD_MORE;
}

struct journal_view *journal_tx_view(struct journal_tx *tx)
{
    return &tx->view;
}

int64_t journal_tx_now_ms(const struct journal_tx *tx)
{
    return tx->now_ms;
}

uint64_t journal_next_seq(const struct journal_tx *tx)
{
    return tx->next_seq;
}

bool journal_tx_is_young(const struct journal_tx *tx)
{
    return tx->phase == TX_YOUNG;
}

bool journal_tx_is_replay(const struct journal_tx *tx)
{
    return tx->phase == TX_REPLAY || tx->phase == TX_YOUNG;
}

const struct type_slot *type_slot_find(const struct journal *j, uint16_t type)
{
    unsigned low = 0, high = j->type_count;

    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (j->types[mid].type == type)
            return &j->types[mid];
        if (j->types[mid].type < type)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const struct journal_type *journal_type_find(const struct journal *j, uint16_t type)
{
    const struct type_slot *slot = type_slot_find(j, type);

    return slot == NULL ? NULL : slot->row;
}

/* --- emitting ----------------------------------------------------------------------------------------------------- */

static void pending_add(struct journal_tx *tx, const struct record_header *h, slice payload)
{
    if (tx->pending_count == tx->pending_cap) {
        tx->pending_cap = tx->pending_cap == 0 ? 64 : tx->pending_cap * 2;
        tx->pending = mem_realloc(tx->pending, tx->pending_cap * sizeof *tx->pending);
    }
    tx->pending[tx->pending_count++] = (struct pending){ *h, payload };
}

uint64_t tx_emit_reference(struct journal_tx *tx, uint16_t type, uint64_t object, uint32_t part, unsigned flags,
                           slice payload)
{
    struct record_header h = {
        .type = type,
        .flags = (uint16_t)flags,
        .length = (uint32_t)payload.len,
        .part = part,
        .seq = tx->next_seq,
        .durable_seq = atomic_load_explicit(&tx->journal->durable_seq, memory_order_relaxed),
        .object = object != 0 ? object : tx->next_seq,
        .time_ms = tx->now_ms,
    };
    struct record r;

    ASSERT(tx->phase == TX_LIVE);
    ASSERT(payload.len <= RECORD_MAX_BYTES);
    if (tx->is_failed)
        return 0;
    pending_add(tx, &h, payload);
    tx->next_seq++;
    r = (struct record){ h.type, h.flags, h.part, h.seq, h.object, h.time_ms, payload };
    if (tx_apply(tx, &r, &tx->err) < 0) {
        tx->is_failed = true;
        if (tx->err.kind == ERR_NONE)
            err_set(&tx->err, ERR_BUG, "record type %04x cannot be applied", type);
    }
    tx->at += record_disk_bytes(h.length);
    return h.seq;
}

uint64_t journal_emit(struct journal_tx *tx, uint16_t type, uint64_t object, uint32_t part, unsigned flags,
                      slice payload)
{
    return tx_emit_reference(tx, type, object, part, flags, slice_dup(&tx->mem, payload));
}

uint64_t journal_emit_octets(struct journal_tx *tx, slice octets)
{
    return tx_emit_reference(tx, RT_BODY, 0, 0, RECORD_BODY, octets);
}

/* --- applying ----------------------------------------------------------------------------------------------------- */

int tx_apply(struct journal_tx *tx, const struct record *r, struct err *err)
{
    const struct type_slot *slot = type_slot_find(tx->journal, r->type);

    if (slot == NULL)
        return err_set(err, ERR_DAMAGE, "record %llu has the unknown type %04x", (unsigned long long)r->seq, r->type);
    if (tx->phase != TX_YOUNG)
        part_note(tx, r);
    if (slot->row->apply == NULL)
        return 0;
    if (slot->row->apply(tx, slot->room->state, r, err) < 0)
        return -1;
    if (tx->view.failed)
        return err_set(err, ERR_TEMP, "the index failed");
    return 0;
}

static void part_key(unsigned char key[12], uint64_t object, uint32_t part)
{
    put_be64(key, object);
    put_be32(key + 8, part);
}

void part_note(struct journal_tx *tx, const struct record *r)
{
    unsigned char key[12], value[8];

    if ((r->flags & (RECORD_IMAGE | RECORD_END)) == 0)
        return;
    part_key(key, r->object, (r->flags & RECORD_END) != 0 ? PART_ALL : r->part);
    put_le64(value, r->seq);
    journal_put(&tx->view, TABLE_PART, slice_of(key, sizeof key), slice_of(value, sizeof value));
}

uint64_t part_seq(struct journal_view *v, uint64_t object, uint32_t part)
{
    unsigned char key[12];
    slice value;

    part_key(key, object, part);
    if (!journal_get(v, TABLE_PART, slice_of(key, sizeof key), &value) || value.len < 8)
        return 0;
    return get_le64(value.ptr);
}

bool part_is_dead(struct journal_view *v, uint64_t object, uint32_t part, uint64_t seq)
{
    return seq < part_seq(v, object, part) || seq < part_seq(v, object, PART_ALL);
}

/* --- bodies in the index ------------------------------------------------------------------------------------------ */

void body_value_put(struct journal_tx *tx, uint64_t id, const struct body_info *b)
{
    unsigned char value[BODY_VALUE_BYTES];

    put_le64(value, b->segment);
    put_le64(value + 8, b->offset);
    put_le32(value + 16, b->length);
    put_le32(value + 20, b->refs);
    journal_put_u64(&tx->view, TABLE_BODY, id, slice_of(value, sizeof value));
}

bool journal_body_info(struct journal_view *v, uint64_t body_id, struct body_info *out)
{
    slice value;

    if (!journal_get_u64(v, TABLE_BODY, body_id, &value) || value.len != BODY_VALUE_BYTES)
        return false;
    out->segment = get_le64(value.ptr);
    out->offset = get_le64(value.ptr + 8);
    out->length = get_le32(value.ptr + 16);
    out->refs = get_le32(value.ptr + 20);
    return true;
}

void tx_live_add(struct journal_tx *tx, uint64_t segment, int64_t delta)
{
    if (segment == 0)
        return;
    for (unsigned i = 0; i < tx->live_count; i++) {
        if (tx->live[i].segment == segment) {
            tx->live[i].delta += delta;
            return;
        }
    }
    if (tx->live_count == TX_SEGMENTS_MAX)
        tx_live_flush(tx);
    tx->live[tx->live_count].segment = segment;
    tx->live[tx->live_count++].delta = delta;
}

void tx_live_flush(struct journal_tx *tx)
{
    for (unsigned i = 0; i < tx->live_count; i++) {
        unsigned char value[8];
        int64_t live = 0;
        slice old;

        if (tx->live[i].delta == 0)
            continue;
        if (journal_get_u64(&tx->view, TABLE_SEGMENT, tx->live[i].segment, &old) && old.len == 8)
            live = (int64_t)get_le64(old.ptr);
        live += tx->live[i].delta;
        put_le64(value, live < 0 ? 0 : (uint64_t)live);
        journal_put_u64(&tx->view, TABLE_SEGMENT, tx->live[i].segment, slice_of(value, sizeof value));
    }
    tx->live_count = 0;
}

void journal_body_ref(struct journal_tx *tx, uint64_t body_id, int delta)
{
    struct body_info b = { 0 };

    if (body_id == 0)
        return;
    if (tx->catchup != NULL) {
        catchup_body_ref(tx->catchup, body_id, delta);
        return;
    }
    journal_body_info(&tx->view, body_id, &b); /* unknown: an entry without octets, so that counts stay true */
    if (delta > 0) {
        if (b.refs == 0)
            tx_live_add(tx, b.segment, (int64_t)b.length);
        b.refs += (uint32_t)delta;
    } else {
        uint32_t n = (uint32_t)-delta;

        if (b.refs == 0)
            return; /* its records were lost with a damaged place */
        b.refs = n > b.refs ? 0 : b.refs - n;
        if (b.refs == 0)
            tx_live_add(tx, b.segment, -(int64_t)b.length);
    }
    body_value_put(tx, body_id, &b);
}

/* A body becomes known at a place. Its references, if replay met them before, stay. */
static void body_place(struct journal_tx *tx, uint64_t id, uint64_t segment, uint64_t offset, uint32_t length)
{
    struct body_info b = { 0 };

    if (journal_body_info(&tx->view, id, &b) && b.segment != 0)
        return; /* found in a compaction segment already: either copy serves */
    b.segment = segment;
    b.offset = offset;
    b.length = length;
    if (b.refs != 0)
        tx_live_add(tx, segment, (int64_t)length);
    body_value_put(tx, id, &b);
}

/* --- our own record types ----------------------------------------------------------------------------------------- */

static int apply_body(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err UNUSED)
{
    uint32_t length = tx->phase == TX_LIVE ? (uint32_t)r->payload.len : tx->body_length;

    body_place(tx, r->object, tx->segment, tx->at + RECORD_HEADER_BYTES, length);
    return 0;
}

static int apply_adopt(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload);
    uint64_t id = read_le64(&in);
    uint64_t segment = read_le64(&in);
    uint64_t offset = read_le64(&in);
    uint32_t length = read_le32(&in);
    struct segment_info info;
    unsigned char value[8];

    if (!reader_done(&in))
        return err_set(err, ERR_DAMAGE, "adoption record %llu does not decode", (unsigned long long)r->seq);
    if (id == 0)
        id = r->seq;
    /* A rebuild meets it before it knows the compaction segment where the body lies since its own file was emptied,
     * be that file gone or, after a crash, still there: it goes when the rebuild ends. */
    if (tx->phase == TX_REPLAY && (!segment_dir_find(tx->journal->segments, segment, &info) ||
                                   catchup_is_dropped(tx->journal->catchup, segment, r->seq)))
        return 0;
    put_le64(value, id);
    journal_put_u64(&tx->view, TABLE_ADOPT, segment, slice_of(value, sizeof value));
    body_place(tx, id, segment, offset, length);
    return 0;
}

static int apply_drop(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload);
    uint64_t number = read_le64(&in);
    uint32_t kind = read_le32(&in);
    uint64_t first = read_le64(&in);
    uint64_t last = read_le64(&in);
    unsigned char value[8];

    if (!reader_done(&in))
        return err_set(err, ERR_DAMAGE, "drop record %llu does not decode", (unsigned long long)r->seq);
    journal_del_u64(&tx->view, TABLE_SEGMENT, number);
    if (kind == SEGMENT_BODY)
        journal_del_u64(&tx->view, TABLE_ADOPT, number);
    if (kind == SEGMENT_LOG && last >= first && first != 0) {
        put_le64(value, last);
        journal_put_u64(&tx->view, TABLE_GONE, first, slice_of(value, sizeof value));
    }
    return 0;
}

static int apply_gone_image(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload);

    if (r->payload.len % 16 != 0)
        return err_set(err, ERR_DAMAGE, "image record %llu does not decode", (unsigned long long)r->seq);
    while (in.rest.len != 0) {
        uint64_t first = read_le64(&in);
        unsigned char value[8];

        put_le64(value, read_le64(&in));
        journal_put_u64(&tx->view, TABLE_GONE, first, slice_of(value, sizeof value));
    }
    return 0;
}

static void dump_adopt(const struct record *r, struct buf *out)
{
    struct reader in = reader_of(r->payload);
    uint64_t id = read_le64(&in);
    uint64_t segment = read_le64(&in);

    buf_printf(out, "body %llu lies in segment %llx", (unsigned long long)(id != 0 ? id : r->seq),
               (unsigned long long)segment);
}

static void dump_drop(const struct record *r, struct buf *out)
{
    struct reader in = reader_of(r->payload);
    uint64_t number = read_le64(&in);

    (void)read_le32(&in);
    buf_printf(out, "segment %llx emptied", (unsigned long long)number);
    buf_printf(out, ", records %llu", (unsigned long long)read_le64(&in));
    buf_printf(out, " to %llu", (unsigned long long)read_le64(&in));
}

static void refs_adopt(const struct record *r, journal_ref_fn *ref, void *arg)
{
    struct reader in = reader_of(r->payload);
    uint64_t id = read_le64(&in);

    ref(arg, id != 0 ? id : r->seq);
}

static const struct journal_type own_types[] = {
    { .type = RT_BODY, .name = "body", .apply = apply_body },
    { .type = RT_ADOPT, .name = "adopt", .apply = apply_adopt, .refs = refs_adopt, .dump = dump_adopt },
    { .type = RT_OBJECT_END, .name = "object_end" },
    { .type = RT_DROP, .name = "drop", .apply = apply_drop, .dump = dump_drop, .image = own_image },
    { .type = RT_GONE_IMAGE, .name = "gone_image", .apply = apply_gone_image, .image = own_image },
    { .type = RT_PART_END, .name = "part_end" },
};

static const struct journal_table own_tables[] = {
    { TABLE_BODY, "journal.body", TABLE_PHYSICAL },   { TABLE_SEGMENT, "journal.segment", TABLE_PHYSICAL },
    { TABLE_PART, "journal.part", TABLE_PHYSICAL },   { TABLE_GONE, "journal.gone", TABLE_PHYSICAL },
    { TABLE_ADOPT, "journal.adopt", TABLE_PHYSICAL },          { TABLE_CHANGES, "journal.changes", TABLE_PHYSICAL },
};

const struct journal_room journal_own_room_rows = {
    .name = "journal",
    .types = own_types,
    .type_count = ARRAY_LEN(own_types),
    .tables = own_tables,
    .table_count = ARRAY_LEN(own_tables),
};
