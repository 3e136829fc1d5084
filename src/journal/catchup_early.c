/* catchup_early.c - the first phase of a rebuild: what is small, in sequence. */
#include "journal/catchup.h"

#include "base/bytes.h"
#include "base/mem.h"

#define EARLY_TXN_RECORDS 20000u

/* After the early records: what they refer to. */
static int early_places(struct journal *j, struct catchup *c, struct err *err)
{
    uint64_t *ids = NULL;
    size_t count = 0, cap = 0;
    struct journal_cursor cursor;
    slice key, value;
    int rc;

    journal_cursor_begin(&cursor, &j->tx.view, TABLE_BODY);
    while (journal_cursor_next(&cursor, &key, &value)) {
        if (key.len != 8 || value.len != BODY_VALUE_BYTES || get_le64(value.ptr) != 0)
            continue;
        if (count == cap) {
            cap = cap * 2 + 256;
            ids = mem_realloc(ids, cap * sizeof *ids);
        }
        ids[count++] = get_be64(key.ptr);
    }
    journal_cursor_end(&cursor);
    rc = count == 0 ? 0 : places_find(j, c, ids, count, err);
    mem_free(ids);
    return rc;
}

static int txn_begin(struct journal *j, struct err *err)
{
    if (index_begin(j->index, &j->tx.view, err) < 0)
        return -1;
    tx_reset(&j->tx);
    j->tx.phase = TX_REPLAY;
    return 0;
}

/* A transaction has its bounds; what is half done carries the mark. */
static int txn_pace(struct journal *j, unsigned *in_txn, struct err *err)
{
    bool is_tight;

    if (++*in_txn < EARLY_TXN_RECORDS)
        return 0;
    *in_txn = 0;
    if (replay_commit(j, err) < 0 || catchup_room(j, &is_tight, err) < 0)
        return -1;
    return txn_begin(j, err);
}

static int early_apply(struct journal *j, const struct catchup_segment *s, const struct early_part *p,
                       unsigned *in_txn, struct err *err)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct early_record *e = &p->records[i];

        if (e->is_dead || part_is_dead(&j->tx.view, e->r.object, e->r.part, e->r.seq))
            continue;
        if (txn_pace(j, in_txn, err) < 0)
            return -1;
        j->tx.segment = s->s.info.header.number;
        j->tx.at = e->offset;
        j->tx.body_length = e->length;
        if (replay_record(j, &e->r, err) < 0)
            return -1;
    }
    return 0;
}

static void damage_say(struct journal *j, struct catchup *c, const struct catchup_segment *s,
                       const struct early_part *p)
{
    for (size_t i = 0; i < p->damage_count; i++) {
        const struct early_damage *d = &p->damage[i];

        replay_damage(j, s->s.info.header.number, d->from, d->to, d->first_seq, d->last_seq);
        if (d->last_seq > c->boundary)
            c->boundary = d->last_seq; /* numbers that were answered are never used again */
    }
}

static void notes_put(struct journal *j, const struct early_part *p)
{
    for (size_t i = 0; i < p->note_count; i++) {
        const struct early_note *n = &p->notes[i];
        struct record r = { .object = n->object,
                            .part = n->part,
                            .seq = n->seq,
                            .flags = n->part == PART_ALL ? RECORD_END : RECORD_IMAGE };

        part_note(&j->tx, &r);
    }
}

/* What was emptied, before anything is said to lie there. */
static void drops_note(struct catchup *c, const struct early_part *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct record *r = &p->records[i].r;
        struct reader in = reader_of(r->payload);
        uint64_t number = read_le64(&in);
        uint32_t kind = read_le32(&in);

        if (r->type == RT_DROP && !in.failed && kind == SEGMENT_BODY)
            idmap_put(&c->dropped, number, (void *)(uintptr_t)r->seq); // NOLINT(performance-no-int-to-ptr)
    }
}

/* A number may be given out again: what was adopted later lies in another file. */
bool catchup_is_dropped(const struct catchup *c, uint64_t number, uint64_t seq)
{
    return c != NULL && (uintptr_t)idmap_get(&c->dropped, number) > seq;
}

int early_phase(struct journal *j, struct catchup *c, struct err *err)
{
    struct early_part *parts = mem_alloc_array((size_t)c->count + 1, sizeof *parts);
    unsigned in_txn = 0;
    uint64_t all = 0;
    int rc = -1;

    if (early_read(j, c->segments, parts, c->count, err) < 0 || txn_begin(j, err) < 0)
        goto out;
    index_unfinished_set(&j->tx.view, true);
    for (unsigned i = 0; i < c->count; i++) {
        damage_say(j, c, &c->segments[i], &parts[i]);
        notes_put(j, &parts[i]);
        drops_note(c, &parts[i]);
        all += c->segments[i].late_count;
    }
    for (unsigned i = 0; i < c->count; i++)
        if (early_apply(j, &c->segments[i], &parts[i], &in_txn, err) < 0)
            goto out;
    if (early_places(j, c, err) < 0)
        goto out;
    atomic_store(&j->catchup_all, all);
    j->next_seq = c->boundary + 1 > j->next_seq ? c->boundary + 1 : j->next_seq;
    rc = replay_commit(j, err);
out:
    index_abort(&j->tx.view);
    for (unsigned i = 0; i < c->count; i++)
        early_free(&parts[i]);
    mem_free(parts);
    return rc;
}
