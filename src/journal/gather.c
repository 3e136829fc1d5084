/* gather.c - what a segment says, as far as emptying it is concerned, and whether it may be emptied. */
#include "journal/empty.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/diag.h"
#include "base/mem.h"

void *vec_push(struct vec *v, size_t each)
{
    if (v->count == v->cap) {
        v->cap = v->cap == 0 ? 64 : v->cap * 2;
        v->items = mem_realloc(v->items, v->cap * each);
    }
    return (char *)v->items + each * v->count++;
}

void emptying_free(struct emptying *e)
{
    mem_free(e->parts.items);
    mem_free(e->ends.items);
    mem_free(e->bodies.items);
    mem_free(e->adopts.items);
    mem_free(e->spans.items);
    mem_free(e->forget.items);
}

/* --- what the segment says ---------------------------------------------------------------------------------------- */

static int part_fact_cmp(const void *a, const void *b)
{
    const struct part_fact *x = a, *y = b;

    if (x->object != y->object)
        return x->object < y->object ? -1 : 1;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

/* Sorted, and only the newest of every part. */
static void parts_unique(struct vec *v)
{
    struct part_fact *f = v->items;
    size_t n = 0;

    if (v->count == 0)
        return;
    qsort(f, v->count, sizeof *f, part_fact_cmp);
    for (size_t i = 1; i < v->count; i++) {
        if (f[i].object != f[n].object || f[i].part != f[n].part)
            n++;
        f[n] = f[i];
    }
    v->count = n + 1;
}

static void part_push(struct vec *v, const struct record *r)
{
    if (v->count == v->cap && v->cap >= 4096) {
        parts_unique(v);
        if (v->count > v->cap / 2) {
            v->cap *= 2;
            v->items = mem_realloc(v->items, v->cap * sizeof(struct part_fact));
        }
    }
    *(struct part_fact *)vec_push(v, sizeof(struct part_fact)) =
        (struct part_fact){ r->object, r->seq, r->part, r->type };
}

static int fact_end(struct emptying *e, const struct record *r, struct err *err)
{
    struct end_fact *f;
    struct reader in = reader_of(r->payload);
    struct end_fact found = { .object = r->object, .end = r->seq, .seq = r->seq, .part = PART_ALL, .type = r->type };

    if (r->type == RT_OBJECT_END) {
        found.end = read_le64(&in);
    } else if (r->type == RT_PART_END) {
        found.part = r->part;
        found.type = read_le16(&in);
        found.end = read_le64(&in);
    }
    if (in.failed)
        return err_set(err, ERR_DAMAGE, "record %llu does not decode", (unsigned long long)r->seq);
    f = vec_push(&e->ends, sizeof *f);
    *f = found;
    return 0;
}

static int fact_adopt(struct emptying *e, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload);
    struct adopt_fact *f = vec_push(&e->adopts, sizeof *f);

    f->id = read_le64(&in);
    f->segment = read_le64(&in);
    f->offset = read_le64(&in);
    f->length = read_le32(&in);
    if (f->id == 0)
        f->id = r->seq;
    return in.failed ? err_set(err, ERR_DAMAGE, "record %llu does not decode", (unsigned long long)r->seq) : 0;
}

static int on_record(void *arg, const struct record *r, const struct record_header *h, uint64_t offset, struct err *err)
{
    struct emptying *e = arg;
    struct body_fact *b;

    if (e->seg.void_from != 0 && r->seq >= e->seg.void_from)
        return 0;
    if (type_slot_find(e->j, r->type) == NULL)
        return err_set(err, ERR_PERM, "record %llu has the unknown type %04x: a newer Posthouse wrote it",
                       (unsigned long long)r->seq, r->type);
    if ((r->flags & RECORD_BODY) != 0) {
        b = vec_push(&e->bodies, sizeof *b);
        *b = (struct body_fact){ r->object, offset + RECORD_HEADER_BYTES, h->length };
        return 0;
    }
    if ((r->flags & RECORD_END) != 0 || r->type == RT_PART_END)
        return fact_end(e, r, err);
    if (r->type == RT_ADOPT)
        return fact_adopt(e, r, err);
    part_push(&e->parts, r);
    return 0;
}

/* --- may it be emptied? ------------------------------------------------------------------------------------------- */

static void on_damage(void *arg, uint64_t segment, uint64_t from, uint64_t to, uint64_t first_seq, uint64_t last_seq)
{
    unsigned *places = arg;

    ++*places;
    diag_error("journal", "segment %016llx is kept: damage at octets %llu to %llu, records %llu to %llu",
               (unsigned long long)segment, (unsigned long long)from, (unsigned long long)to,
               (unsigned long long)first_seq, (unsigned long long)last_seq);
}

static void on_own_damage(void *arg, uint64_t segment, uint64_t from, uint64_t to, uint64_t first_seq,
                          uint64_t last_seq)
{
    struct emptying *e = arg;

    on_damage(&e->damaged, segment, from, to, first_seq, last_seq);
}

/* A log segment that is written no more and has no valid footer gets one, unless records in it are damaged. */
static int log_seal(struct journal *j, const struct log_segment *s, struct err *err)
{
    unsigned damaged = 0;
    struct segment_visit v = { .damage = on_damage, .arg = &damaged };
    struct log_segment open = *s;
    uint64_t trusted = s->info.is_sealed ? s->info.last_seq : journal_durable_seq(j), cut;

    open.info.is_sealed = false;
    if (segment_visit(j, &open, trusted, &v, &cut, NULL, err) < 0)
        return -1;
    if (damaged != 0)
        return err_set(err, ERR_DAMAGE, "segment %016llx has %u damaged places",
                       (unsigned long long)s->info.header.number, damaged);
    return segment_seal(j->segments, s->info.header.number, cut, err);
}

/* Are there valid records behind the end of an earlier segment, which only a later segment voids? */
static int void_check(struct journal *j, uint64_t number, struct err *err)
{
    struct buf mem = BUF_INIT;
    struct segment_info info;
    struct scan scan;
    struct scan_item item;
    uint64_t bad_bytes;
    int rc = -1;

    if (!segment_dir_find(j->segments, number, &info))
        return 0;
    if (segment_read_all(j->segments, number, &mem, &bad_bytes, err) < 0)
        goto out;
    scan_begin(&scan, buf_slice(&mem), info.header.salt);
    scan.at = info.records_end;
    if (scan_next(&scan, &item) != SCAN_END)
        err_set(err, ERR_FULL, "segment %016llx could not be sealed yet, and what follows it voids its end",
                (unsigned long long)number);
    else
        rc = 0;
out:
    buf_free(&mem);
    return rc;
}

/* Void records of an earlier segment that failed must not come back when the one that voids them is gone: all earlier
 * ones have to be sealed, which cuts them. On a full disk there may be no room for that. */
static int log_ready(struct journal *j, uint64_t number, struct err *err)
{
    struct log_segment *list;
    unsigned n;
    int rc = 0;

    if (log_segments(j, &list, &n, err) < 0)
        return -1;
    for (unsigned i = 0; i < n && rc == 0 && list[i].info.header.number <= number; i++) {
        uint64_t earlier = list[i].info.header.number;
        bool is_footless = list[i].info.is_footless;

        if (!list[i].info.is_sealed && i + 1 == n) {
            rc = err_set(err, ERR_EXISTS, "segment %016llx is being written", (unsigned long long)number);
        } else if (!list[i].info.is_sealed && (rc = log_seal(j, &list[i], err)) < 0 && err->kind == ERR_FULL) {
            *err = ERR_INIT;
            rc = 0;
            is_footless = true;
        }
        /* of the last one before it, so that nothing else voids its end afterwards */
        if (rc == 0 && i + 1 < n && list[i + 1].info.header.number == number &&
            (rc = segment_harden(j->segments, earlier, err)) < 0 && err->kind == ERR_FULL) {
            *err = ERR_INIT;
            rc = 0;
            is_footless = true;
        }
        if (rc == 0 && is_footless && earlier != number)
            rc = void_check(j, earlier, err);
    }
    mem_free(list);
    return rc;
}

static bool is_unsealed(struct journal *j, uint64_t number)
{
    struct segment_info info;

    for (uint64_t at = 0; segment_dir_next(j->segments, &at, &info) && info.header.number <= number;)
        if (info.header.kind == SEGMENT_LOG && !info.is_sealed)
            return true;
    return false;
}

/* e->seg and the spans of the others. */
int emptying_spans(struct emptying *e, struct err *err)
{
    struct log_segment *list;
    unsigned n;

    if (log_segments(e->j, &list, &n, err) < 0)
        return -1;
    e->spans.count = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct segment_info *info = &list[i].info;
        struct span *s;

        if (info->header.number == e->number) {
            e->seg = list[i];
            continue;
        }
        if (info->is_sealed && info->last_seq < info->header.first_seq)
            continue;
        s = vec_push(&e->spans, sizeof *s);
        *s = (struct span){ info->header.first_seq, info->is_sealed ? info->last_seq : UINT64_MAX };
    }
    mem_free(list);
    return 0;
}

bool emptying_meets(const struct emptying *e, uint64_t first, uint64_t last)
{
    const struct span *s = e->spans.items;
    size_t low = 0, high = e->spans.count;

    while (low < high) { /* the first span that ends at or behind `first` */
        size_t mid = (low + high) / 2;

        if (s[mid].last >= first)
            high = mid;
        else
            low = mid + 1;
    }
    return low < e->spans.count && s[low].first <= last;
}

/* The body of a spool file is named by whoever adopted it. */
static int body_adopted(struct emptying *e, struct err *err)
{
    struct body_fact *b = e->bodies.items;
    struct journal_view v;
    slice value;

    if (e->seg.info.header.kind != SEGMENT_BODY)
        return 0;
    if (journal_read_begin(e->j, &v, err) < 0)
        return -1;
    if (!journal_get_u64(&v, TABLE_ADOPT, e->number, &value) || value.len != 8)
        err_set(err, ERR_EXISTS, "body segment %016llx belongs to nobody yet", (unsigned long long)e->number);
    else if (e->bodies.count == 1)
        b->id = get_le64(value.ptr);
    else
        err_set(err, ERR_DAMAGE, "body segment %016llx holds %zu bodies", (unsigned long long)e->number,
                e->bodies.count);
    journal_read_end(&v);
    return err->kind == ERR_NONE ? 0 : -1;
}

/* A damaged footer of a log segment is written again, if no record is damaged. The bodies of other segments stand
 * nowhere else: they stay for a person to look at. */
static int footer_ready(struct emptying *e, struct err *err)
{
    struct footer footer;
    struct buf mem = BUF_INIT;
    int rc;

    if (e->seg.info.is_footless)
        return 0; /* the records are read themselves */
    rc = segment_read_footer(e->j->segments, e->number, &footer, &mem, err);
    buf_free(&mem);
    if (rc == 0 || err->kind != ERR_DAMAGE || e->seg.info.header.kind != SEGMENT_LOG)
        return rc;
    diag_warn("journal", "segment %016llx gets a new footer: %s", (unsigned long long)e->number, err->text);
    *err = ERR_INIT;
    return log_seal(e->j, &e->seg, err);
}

int emptying_load(struct emptying *e, struct err *err)
{
    struct segment_visit v = { .record = on_record, .damage = on_own_damage, .arg = e };
    struct segment_info info;

    if (!segment_dir_find(e->j->segments, e->number, &info))
        return err_set(err, ERR_NOTFOUND, "there is no segment %016llx", (unsigned long long)e->number);
    if (info.header.salt == 0)
        return err_set(err, ERR_DAMAGE, "the header of segment %016llx is damaged", (unsigned long long)e->number);
    e->seg = (struct log_segment){ .info = info };
    if (info.header.kind == SEGMENT_LOG) {
        if (is_unsealed(e->j, e->number))
            helpers_wait(e->j);
        if (log_ready(e->j, e->number, err) < 0)
            return -1;
    } else if (!info.is_sealed) {
        return err_set(err, ERR_EXISTS, "segment %016llx is being written", (unsigned long long)e->number);
    }
    segment_dir_find(e->j->segments, e->number, &e->seg.info);
    if (footer_ready(e, err) < 0 || emptying_spans(e, err) < 0)
        return -1;
    if (segment_visit(e->j, &e->seg, 0, &v, NULL, NULL, err) < 0)
        return -1;
    if (e->damaged != 0)
        return err_set(err, ERR_DAMAGE, "segment %016llx has %u damaged places", (unsigned long long)e->number,
                       e->damaged);
    parts_unique(&e->parts);
    return body_adopted(e, err);
}
