/* visit.c - the records of one segment, sealed or not, and where an unsealed one ends. */
#include "journal/internal.h"

#include "base/diag.h"
#include "base/mem.h"

int log_segments(struct journal *j, OWNED struct log_segment **out, unsigned *count, struct err *err UNUSED)
{
    struct segment_info info;
    unsigned n = 0, cap = 16;
    struct log_segment *list = mem_alloc_array(cap, sizeof *list);

    for (uint64_t at = 0; segment_dir_next(j->segments, &at, &info);) {
        if (info.is_damaged && info.header.kind != SEGMENT_LOG)
            continue;
        if (info.header.kind != SEGMENT_LOG || info.header.salt == 0)
            continue;
        if (n == cap) {
            cap *= 2;
            list = mem_realloc(list, cap * sizeof *list);
        }
        list[n].info = info;
        list[n].void_from = 0;
        if (n != 0)
            list[n - 1].void_from = info.header.first_seq;
        n++;
    }
    *out = list;
    *count = n;
    return 0;
}

static int visit_footer(const struct footer *footer, const struct segment_visit *v, struct err *err)
{
    struct footer_cursor c;
    struct footer_entry e;
    slice payload;

    footer_begin(&c, footer);
    while (footer_next(&c, &e, &payload)) {
        struct record r = { e.header.type,   e.header.flags,   e.header.part, e.header.seq,
                            e.header.object, e.header.time_ms, payload };

        if (v->record != NULL && v->record(v->arg, &r, &e.header, e.offset, err) < 0)
            return -1;
    }
    return 0;
}

/* --- an unsealed segment ------------------------------------------------------------------------------------------
 * */

struct tail_scan {
    const struct log_segment *segment;
    const struct segment_visit *visit;
    uint64_t trusted_seq;
    struct scan_item *items;
    uint64_t *later_durable; /* highest durable_seq in items[i..] */
    size_t count;
    size_t op_begin; /* first item of the operation under way */
    uint64_t expected; /* next sequence */
    uint64_t last_seq; /* of the last record that counts */
    uint64_t cut;
};

static int items_read(struct tail_scan *t, slice octets)
{
    struct scan scan;
    size_t cap = 1024;
    uint64_t later;

    t->items = mem_alloc_array(cap, sizeof *t->items);
    scan_begin(&scan, octets, t->segment->info.header.salt);
    for (;;) {
        if (t->count == cap) {
            cap *= 2;
            t->items = mem_realloc(t->items, cap * sizeof *t->items);
        }
        if (scan_next(&scan, &t->items[t->count++]) == SCAN_END)
            break;
    }
    t->later_durable = mem_alloc_array(t->count + 1, sizeof *t->later_durable);
    later = t->segment->void_from != 0 ? t->segment->void_from - 1 : 0;
    for (size_t i = t->count; i-- > 0;) {
        struct scan_item *it = &t->items[i];

        if (it->event == SCAN_RECORD && it->header.durable_seq > later &&
            (t->segment->void_from == 0 || it->header.seq < t->segment->void_from))
            later = it->header.durable_seq;
        t->later_durable[i] = later;
    }
    return 0;
}

static int op_flush(struct tail_scan *t, size_t end, struct err *err)
{
    for (; t->op_begin < end; t->op_begin++) {
        const struct scan_item *it = &t->items[t->op_begin];
        const struct record_header *h = &it->header;
        struct record r = { h->type, h->flags, h->part, h->seq, h->object, h->time_ms, it->payload };

        if (it->event != SCAN_RECORD)
            continue;
        t->last_seq = h->seq;
        if ((h->flags & RECORD_BODY) != 0)
            r.payload = SLICE_NONE;
        if (t->visit->record != NULL && t->visit->record(t->visit->arg, &r, h, it->from, err) < 0)
            return -1;
    }
    return 0;
}

/* Records from `expected` up to before `next` are missing at item i. True: a torn tail, the scan ends before the
 * operation
 * under way. False: damage, reported; the scan goes on. */
static bool missing(struct tail_scan *t, size_t i, uint64_t from, uint64_t to, uint64_t next)
{
    if (!scan_is_damage(t->expected, t->later_durable[i], t->trusted_seq)) {
        t->cut = t->op_begin < i ? t->items[t->op_begin].from : from;
        return true;
    }
    if (next == 0) {
        next = t->later_durable[i] > t->trusted_seq ? t->later_durable[i] : t->trusted_seq;
        if (t->segment->void_from != 0 && next >= t->segment->void_from)
            next = t->segment->void_from - 1;
        next++;
    }
    if (t->visit->damage != NULL)
        t->visit->damage(t->visit->arg, t->segment->info.header.number, from, to, t->expected, next - 1);
    return false;
}

/* One item. 1: the scan ended; 0: go on; -1: the visitor failed. */
static int item_step(struct tail_scan *t, size_t i, struct err *err)
{
    struct scan_item *it = &t->items[i];
    bool was_hole = i != 0 && t->items[i - 1].event == SCAN_HOLE;
    uint64_t from = was_hole ? t->items[i - 1].from : it->from;

    if (it->event == SCAN_HOLE)
        return 0; /* judged at the record behind it */
    if (it->event == SCAN_END) {
        uint64_t last = t->segment->void_from != 0 ? t->segment->void_from : 0;

        if (last != 0 && t->expected >= last) {
            t->cut = it->from;
            return 1;
        }
        if (missing(t, i, it->from, it->to, 0))
            return 1;
        t->cut = it->from;
        return op_flush(t, i, err) < 0 ? -1 : 1;
    }
    if (t->segment->void_from != 0 && it->header.seq >= t->segment->void_from) {
        t->cut = t->op_begin < i ? t->items[t->op_begin].from : from;
        return 1;
    }
    if (it->header.seq != t->expected) {
        if (it->header.seq < t->expected) {
            it->event = SCAN_HOLE; /* says nothing new */
            return 0;
        }
        if (missing(t, i, from, it->from, it->header.seq))
            return 1;
        if (op_flush(t, i, err) < 0)
            return -1;
    }
    t->expected = it->header.seq + 1;
    if ((it->header.flags & RECORD_MORE) == 0)
        return op_flush(t, i + 1, err);
    return 0;
}

/* Bodies know no order: what validates counts. */
static int bodies_scan(struct tail_scan *t, struct err *err)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct scan_item *it = &t->items[i];

        if (it->event == SCAN_HOLE && t->visit->damage != NULL)
            t->visit->damage(t->visit->arg, t->segment->info.header.number, it->from, it->to, 0, 0);
        if (it->event == SCAN_END && it->from < t->segment->info.records_end && t->visit->damage != NULL)
            t->visit->damage(t->visit->arg, t->segment->info.header.number, it->from, t->segment->info.records_end, 0,
                             0);
    }
    t->op_begin = 0;
    return op_flush(t, t->count, err);
}

static int visit_scan(struct journal *j, const struct log_segment *s, uint64_t trusted_seq,
                      const struct segment_visit *v, uint64_t *cut, uint64_t *last_seq, struct err *err)
{
    struct tail_scan t = { .segment = s,
                           .visit = v,
                           .trusted_seq = trusted_seq,
                           .expected = s->info.header.first_seq,
                           .last_seq = s->info.header.first_seq - 1 };
    struct buf mem = BUF_INIT;
    uint64_t bad_bytes = 0;
    int rc = -1;

    if (segment_read_all(j->segments, s->info.header.number, &mem, &bad_bytes, err) < 0)
        goto out;
    if (bad_bytes != 0)
        diag_error("journal", "segment %llx: %llu octets cannot be read", (unsigned long long)s->info.header.number,
                   (unsigned long long)bad_bytes);
    /* copies of record headers in a footer that does not validate are no records */
    items_read(&t, slice_sub(buf_slice(&mem), 0, s->info.is_sealed ? s->info.records_end : mem.len));
    rc = s->info.header.kind != SEGMENT_LOG ? bodies_scan(&t, err) : 0;
    for (size_t i = 0; i < t.count && rc == 0 && s->info.header.kind == SEGMENT_LOG; i++)
        rc = item_step(&t, i, err);
    if (rc < 0)
        goto out;
    rc = 0;
    *cut = t.cut;
    *last_seq = t.last_seq;
out:
    mem_free(t.items);
    mem_free(t.later_durable);
    buf_free(&mem);
    return rc;
}

int segment_visit(struct journal *j, const struct log_segment *s, uint64_t trusted_seq, const struct segment_visit *v,
                  uint64_t *cut, uint64_t *last_seq, struct err *err)
{
    struct footer footer;
    struct buf mem = BUF_INIT;
    struct err why = ERR_INIT;
    uint64_t ignored;
    int rc;

    if (cut == NULL)
        cut = &ignored;
    if (last_seq == NULL)
        last_seq = &ignored;
    if (!s->info.is_sealed)
        return visit_scan(j, s, trusted_seq, v, cut, last_seq, err);
    if (!s->info.is_footless && segment_read_footer(j->segments, s->info.header.number, &footer, &mem, &why) == 0) {
        rc = visit_footer(&footer, v, err);
    } else {
        /* the records themselves are still there, all of them: it was sealed */
        if (!s->info.is_footless)
            diag_warn("journal", "%s; reading the records themselves", why.text);
        rc = visit_scan(j, s, s->info.last_seq, v, &ignored, last_seq, err);
    }
    buf_free(&mem);
    *cut = 0;
    *last_seq = s->info.last_seq;
    return rc;
}
