/* catchup_body.c - bodies during a rebuild: their references, gathered and written in order, and their places. */
#include "journal/catchup.h"

#include <stdlib.h>

#include "base/mem.h"

int id_cmp(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

void catchup_body_ref(struct catchup *c, uint64_t body_id, int delta)
{
    if (c->change_count == c->change_cap) {
        c->change_cap = c->change_cap * 2 + 4096;
        c->changes = mem_realloc(c->changes, c->change_cap * sizeof *c->changes);
    }
    c->changes[c->change_count++] = (struct body_change){ body_id, delta };
}

static struct late_place *place_find(struct late_chunk *chunk, uint64_t id)
{
    size_t low = 0, high = chunk->place_count;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (chunk->places[mid].id == id)
            return &chunk->places[mid];
        if (chunk->places[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

void body_merge(struct journal_tx *tx, uint64_t id, int64_t delta, const struct body_info *place)
{
    struct body_info b = { 0 };
    bool is_known = journal_body_info(&tx->view, id, &b);
    int64_t before = b.segment != 0 && b.refs != 0 ? (int64_t)b.length : 0, after, refs;

    if (is_known && delta == 0 && (b.segment != 0 || place == NULL))
        return;
    if (b.segment == 0 && place != NULL) {
        b.segment = place->segment;
        b.offset = place->offset;
        b.length = place->length;
    }
    refs = (int64_t)b.refs + delta;
    b.refs = refs < 0 ? 0 : (uint32_t)refs; /* below: its records were lost with a damaged place */
    after = b.segment != 0 && b.refs != 0 ? (int64_t)b.length : 0;
    if (before != after)
        tx_live_add(tx, b.segment, after - before);
    body_value_put(tx, id, &b);
}

static int change_cmp(const void *a, const void *b)
{
    const struct body_change *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

struct body_info place_info(const struct catchup_segment *segments, const struct late_place *p)
{
    return (struct body_info){
        .segment = segments[p->segment].s.info.header.number, .offset = p->offset, .length = p->length
    };
}

void changes_write(struct journal *j, struct catchup *c)
{
    struct late_chunk *chunk = c->next_compact == c->compact_count ? c->chunk : NULL;
    size_t i = 0, k;

    if (c->change_count > 1)
        qsort(c->changes, c->change_count, sizeof *c->changes, change_cmp);
    for (; i < c->change_count; i = k) {
        struct late_place *p = chunk != NULL ? place_find(chunk, c->changes[i].id) : NULL;
        struct body_info info = { 0 };
        int64_t delta = 0;

        for (k = i; k < c->change_count && c->changes[k].id == c->changes[i].id; k++)
            delta += c->changes[k].delta;
        if (p != NULL) {
            info = place_info(c->segments, p);
            p->is_written = true;
        }
        body_merge(&j->tx, c->changes[i].id, delta, p != NULL ? &info : NULL);
    }
    c->change_count = 0;
}

/* --- bodies whose records were not met yet ------------------------------------------------------------------------ */

struct wanted {
    struct journal *j;
    const struct catchup_segment *segment;
    const uint64_t *ids; /* rising */
    size_t count;
};

static int wanted_record(void *arg, const struct record *r, const struct record_header *h, uint64_t offset,
                         struct err *err UNUSED)
{
    struct wanted *w = arg;
    struct body_info place = { .segment = w->segment->s.info.header.number,
                               .offset = offset + RECORD_HEADER_BYTES,
                               .length = h->length };

    if (r->type == RT_BODY && bsearch(&r->object, w->ids, w->count, sizeof *w->ids, id_cmp) != NULL)
        body_merge(&w->j->tx, r->object, 0, &place);
    return 0;
}

static int wanted_visit(struct wanted *w, const struct catchup_segment *s, struct err *err)
{
    struct segment_visit v = { .record = wanted_record, .arg = w };

    w->segment = s;
    return segment_visit(w->j, &s->s, 0, &v, NULL, NULL, err);
}

/* Those that are not in the log any more lie in compaction segments. */
static int wanted_compact(struct wanted *w, struct catchup *c, struct err *err)
{
    if (c->compact_count == 0)
        return 0;
    if (!c->has_filters && compact_read(w->j, c->compact, c->compact_count, err) < 0)
        return -1;
    c->has_filters = true;
    for (unsigned i = c->next_compact; i < c->compact_count; i++) {
        bool may_hold = false;

        for (size_t k = 0; k < w->count && !may_hold; k++)
            may_hold = filter_has(&c->compact[i].filter, w->ids[k]);
        if (may_hold && wanted_visit(w, &c->compact[i], err) < 0)
            return -1;
    }
    return 0;
}

/* Places of bodies by their ids, rising, wherever they are: an id is the sequence of the body's first record. */
int places_find(struct journal *j, struct catchup *c, uint64_t *ids, size_t count, struct err *err)
{
    struct wanted w = { .j = j };
    size_t i = 0, left = 0;

    for (unsigned s = 0; s < c->count && i < count; s++) {
        uint64_t last = c->segments[s].s.info.last_seq;
        size_t from = i;

        while (i < count && ids[i] < c->segments[s].s.info.header.first_seq)
            i++;
        from = i;
        while (i < count && ids[i] <= last)
            i++;
        w.ids = ids + from;
        w.count = i - from;
        if (w.count != 0 && wanted_visit(&w, &c->segments[s], err) < 0)
            return -1;
    }
    for (i = 0; i < count; i++) {
        struct body_info b;

        if (!journal_body_info(&j->tx.view, ids[i], &b) || b.segment == 0)
            ids[left++] = ids[i];
    }
    w.ids = ids;
    w.count = left;
    return left == 0 ? 0 : wanted_compact(&w, c, err);
}
