/* copying.c - COPY of more than one operation is all or nothing, whatever happens in between (RFC 9051 6.4.7).
 *
 * A COPY under way is an object of its own: each operation but the last says in its batch which copies there are by
 * then (ST_COPY_UNDERWAY), the last one ends the object. So a start that finds such an object knows that the process
 * died in the middle, and which messages must go. A small COPY is one operation, which is atomic anyway, and pays
 * nothing. Removing is repeatable: what is gone already is not looked for, so a crash while it goes on does no harm. */
#include "store/apply.h"
#include "store/emit.h"
#include "store/request.h"

#include "base/diag.h"

/* --- the table --------------------------------------------------------------------------------------------------- */

/* The mailbox and the ranges; false when there is no such object. */
static bool copying_get(struct journal_view *v, uint64_t id, uint64_t *mailbox, slice *ranges)
{
    slice value;

    if (!journal_get_u64(v, STORE_TABLE_COPYING, id, &value) || value.len < 8)
        return false;
    *mailbox = get_le64(value.ptr);
    *ranges = slice_from(value, 8);
    return true;
}

static bool ranges_make_sense(slice ranges)
{
    struct reader r = reader_of(ranges);
    struct uid_range range;

    while (payload_range_next(&r, &range))
        ;
    return !r.failed;
}

int apply_copying(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    if (r->payload.len < 8 || !ranges_make_sense(slice_from(r->payload, 8)))
        return err_set(err, ERR_DAMAGE, "record %llu of type %04x does not decode", (unsigned long long)r->seq,
                       r->type);
    journal_put_u64(journal_tx_view(tx), STORE_TABLE_COPYING, r->object, r->payload);
    return 0;
}

int apply_copying_end(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err UNUSED)
{
    journal_del_u64(journal_tx_view(tx), STORE_TABLE_COPYING, r->object);
    return 0;
}

int image_copying(struct journal_tx *tx, void *room UNUSED, uint64_t object, uint32_t part, struct err *err UNUSED)
{
    slice value;

    if (journal_get_u64(journal_tx_view(tx), STORE_TABLE_COPYING, object, &value))
        journal_emit(tx, ST_COPY_IMAGE, object, part, RECORD_IMAGE, value);
    return 0;
}

/* --- while it goes on -------------------------------------------------------------------------------------------- */

uint64_t copying_emit(struct journal_tx *tx, uint64_t id, uint64_t mailbox, const struct uid_range *ranges,
                      unsigned count, const struct uid_range *more)
{
    struct buf payload = BUF_INIT;

    buf_put_le64(&payload, mailbox);
    payload_ranges_put(&payload, ranges, count);
    payload_ranges_put(&payload, more, 1);
    id = id != 0 ? id : journal_next_seq(tx);
    journal_emit(tx, ST_COPY_UNDERWAY, id == journal_next_seq(tx) ? 0 : id, 0, 0, buf_slice(&payload));
    buf_free(&payload);
    return id;
}

void copying_end_emit(struct journal_tx *tx, uint64_t id)
{
    if (id != 0)
        journal_emit(tx, ST_COPY_END, id, 0, RECORD_END, SLICE_NONE);
}

/* --- after a start ----------------------------------------------------------------------------------------------- */

struct undo {
    struct journal_op op;
    struct store *store;
    struct buf ids; /* u64 of the objects that the last run left; never those of copies that began since */
    size_t at, next; /* the object under way, and where the run that is not durable yet would go on */
    struct store_row rows[STORE_OP_MESSAGES];
};

/* Up to STORE_OP_MESSAGES rows in the ranges. True: there may be more. */
static bool rows_left(struct journal_view *v, uint64_t mailbox, slice ranges, struct store_row *rows, unsigned *count)
{
    struct reader r = reader_of(ranges);
    struct uid_range range;

    *count = 0;
    while (payload_range_next(&r, &range)) {
        struct row_cursor c;
        struct store_row row;

        row_cursor_begin(&c, v, mailbox, range.first);
        while (*count < STORE_OP_MESSAGES && row_cursor_next(&c, &row) && row.uid <= range.last)
            rows[(*count)++] = row;
        row_cursor_end(&c);
        if (*count == STORE_OP_MESSAGES)
            return true;
    }
    return false;
}

static int undo_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    struct undo *u = CONTAINER_OF(op, struct undo, op);
    struct journal_view *v = journal_tx_view(tx);
    uint64_t id = get_le64(u->ids.ptr + u->at), mailbox;
    unsigned count = 0;
    bool more = false;
    slice ranges;

    if (copying_get(v, id, &mailbox, &ranges)) {
        more = rows_left(v, mailbox, ranges, u->rows, &count);
        expunge_emit(tx, mailbox, u->rows, count);
        if (!more)
            copying_end_emit(tx, id);
    }
    u->next = more ? u->at : u->at + 8;
    return 0;
}

static void undo_free(struct undo *u)
{
    buf_free(&u->ids);
    mem_free(u);
}

static void undo_done(struct journal_op *op)
{
    struct undo *u = CONTAINER_OF(op, struct undo, op);

    if (op->err.kind != ERR_NONE) {
        diag_error("store", "copies of the last run are not taken back yet: %s", op->err.text);
        undo_free(u); /* the next start tries again */
        return;
    }
    if (u->next != u->at)
        counter_add(&store_counters[SC_TAKEN_BACK], 1);
    u->at = u->next;
    if (u->at == u->ids.len || !store_submit(u->store, op))
        undo_free(u);
}

static int ids_left(struct store *s, uint64_t upto, struct buf *ids, struct err *err)
{
    struct journal_cursor c;
    struct journal_view v;
    unsigned char le[8];
    slice key;

    if (journal_read_begin(s->journal, &v, err) < 0)
        return -1;
    journal_cursor_begin(&c, &v, STORE_TABLE_COPYING);
    while (journal_cursor_next(&c, &key, NULL) && get_be64(key.ptr) <= upto) {
        put_le64(le, get_be64(key.ptr));
        buf_put(ids, le, sizeof le);
    }
    journal_cursor_end(&c);
    journal_read_end(&v);
    return 0;
}

int store_undo_start(struct store *s, uint64_t upto, struct err *err)
{
    struct buf ids = BUF_INIT;
    struct undo *u;

    if (ids_left(s, upto, &ids, err) < 0)
        return -1;
    if (ids.len == 0) {
        buf_free(&ids);
        return 0;
    }
    diag_info("store", "%zu copies that were under way at the end of the last run are taken back", ids.len / 8);
    u = mem_alloc(sizeof *u);
    u->store = s;
    u->ids = ids;
    u->op = (struct journal_op){
        .run = undo_run,
        .done = undo_done,
        .cost = STORE_OP_MESSAGES,
        .bytes = 16 * STORE_OP_MESSAGES,
        .lane = LANE_ACCESS, /* before the sessions, which are not there yet, and not behind any reclaiming */
        .flags = OP_FREES,
    };
    if (!store_submit(s, &u->op))
        undo_free(u);
    return 0;
}
