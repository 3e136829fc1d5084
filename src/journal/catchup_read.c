#include "journal/catchup.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

#define READERS_MAX 8
#define RECENT 1024u               /* parts of a segment that are remembered to drop what a later record replaces */
#define CHUNK_RECORDS (256u * 1024) /* late records and bodies of a chunk, about */
#define CHUNK_BYTES (32u << 20)

/* --- filters ------------------------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t h)
{
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    return h ^ (h >> 31);
}

static void filter_init(struct catchup_filter *f, size_t objects)
{
    uint64_t bits = 64;

    if (objects == 0)
        return;
    while (bits < objects * 8)
        bits *= 2;
    f->bits = mem_alloc_array((size_t)(bits / 64), sizeof *f->bits);
    f->mask = bits - 1;
}

static void filter_add(struct catchup_filter *f, uint64_t object)
{
    uint64_t h = mix(object);

    for (unsigned i = 0; i < 4; i++, h = (h >> 16) | (h << 48))
        f->bits[(h & f->mask) / 64] |= UINT64_C(1) << (h & f->mask) % 64;
}

bool filter_has(const struct catchup_filter *f, uint64_t object)
{
    uint64_t h = mix(object);

    for (unsigned i = 0; i < 4; i++, h = (h >> 16) | (h << 48))
        if (f->bits == NULL || (f->bits[(h & f->mask) / 64] >> (h & f->mask) % 64 & 1) == 0)
            return false;
    return true;
}

struct objects { /* to build a filter from */
    uint64_t *ids;
    size_t count, cap;
};

static void objects_add(struct objects *o, uint64_t id)
{
    if (o->count != 0 && o->ids[o->count - 1] == id)
        return;
    if (o->count == o->cap) {
        o->cap = o->cap * 2 + 1024;
        o->ids = mem_realloc(o->ids, o->cap * sizeof *o->ids);
    }
    o->ids[o->count++] = id;
}

static void objects_end(struct objects *o, struct catchup_filter *f)
{
    filter_init(f, o->count);
    for (size_t i = 0; i < o->count; i++)
        filter_add(f, o->ids[i]);
    mem_free(o->ids);
}

/* --- early: one segment ------------------------------------------------------------------------------------------- */

struct recent {
    size_t record, note; /* place + 1 of the newest of a part */
};

struct early_reader {
    struct journal *j;
    struct catchup_segment *segment;
    struct early_part *part;
    struct objects objects;
    struct recent *recent;
};

static struct recent *recent_of(struct early_reader *e, uint64_t object, uint32_t part)
{
    return &e->recent[mix(object * 31 + part) % RECENT];
}

static void note_add(struct early_reader *e, const struct record *r)
{
    struct early_part *p = e->part;
    struct early_note note = { r->object, r->seq, (r->flags & RECORD_END) != 0 ? PART_ALL : r->part };
    struct recent *recent = recent_of(e, note.object, note.part);

    if (recent->note != 0 && p->notes[recent->note - 1].object == note.object &&
        p->notes[recent->note - 1].part == note.part) {
        p->notes[recent->note - 1].seq = note.seq;
        return;
    }
    if (p->note_count == p->note_cap) {
        p->note_cap = p->note_cap * 2 + 64;
        p->notes = mem_realloc(p->notes, p->note_cap * sizeof *p->notes);
    }
    p->notes[p->note_count++] = note;
    recent->note = p->note_count;
}

static void early_add(struct early_reader *e, const struct record *r, const struct record_header *h, uint64_t offset,
                      bool is_whole)
{
    struct early_part *p = e->part;
    struct recent *recent = recent_of(e, r->object, r->part);

    if (is_whole && recent->record != 0) {
        struct early_record *old = &p->records[recent->record - 1];

        if (old->r.object == r->object && old->r.part == r->part)
            old->is_dead = true;
    }
    if (p->count == p->cap) {
        p->cap = p->cap * 2 + 64;
        p->records = mem_realloc(p->records, p->cap * sizeof *p->records);
    }
    p->records[p->count] = (struct early_record){ .r = *r, .offset = offset, .length = h->length };
    p->records[p->count].r.payload = slice_dup(&p->mem, r->payload);
    /* only what is whole itself may be dropped: whatever else it follows counts, too */
    recent->record = is_whole ? p->count + 1 : 0;
    p->count++;
}

static int early_record(void *arg, const struct record *r, const struct record_header *h, uint64_t offset,
                        struct err *err UNUSED)
{
    struct early_reader *e = arg;
    const struct type_slot *slot;

    if ((r->flags & (RECORD_IMAGE | RECORD_END)) != 0)
        note_add(e, r);
    if (r->type == RT_BODY) {
        e->segment->late_count++;
        return 0;
    }
    slot = type_slot_find(e->j, r->type);
    if (slot != NULL && (slot->row->flags & TYPE_LATE) != 0) {
        objects_add(&e->objects, r->object);
        e->segment->late_count++;
        return 0;
    }
    early_add(e, r, h, offset, slot != NULL && (slot->row->flags & TYPE_WHOLE) != 0);
    return 0;
}

static void early_damage(void *arg, uint64_t segment UNUSED, uint64_t from, uint64_t to, uint64_t first_seq,
                         uint64_t last_seq)
{
    struct early_part *p = ((struct early_reader *)arg)->part;

    p->damage = mem_realloc(p->damage, (p->damage_count + 1) * sizeof *p->damage);
    p->damage[p->damage_count++] = (struct early_damage){ from, to, first_seq, last_seq };
}

static int early_segment(struct journal *j, struct catchup_segment *s, struct early_part *p, struct err *err)
{
    struct early_reader e = { .j = j, .segment = s, .part = p };
    struct segment_visit v = { .record = early_record, .damage = early_damage, .arg = &e };
    int rc;

    arena_init(&p->mem, 4096);
    e.recent = mem_alloc_array(RECENT, sizeof *e.recent);
    rc = segment_visit(j, &s->s, 0, &v, NULL, NULL, err);
    objects_end(&e.objects, &s->filter);
    mem_free(e.recent);
    return rc;
}

void early_free(struct early_part *p)
{
    arena_free(&p->mem);
    mem_free(p->records);
    mem_free(p->notes);
    mem_free(p->damage);
    *p = (struct early_part){ 0 };
}

/* --- early: all segments, several at a time ----------------------------------------------------------------------- */

struct early_work {
    struct journal *j;
    struct catchup_segment *segments;
    struct early_part *parts;
    unsigned count;
    _Atomic unsigned next;
    pthread_mutex_t lock; /* lock rank 95: err */
    struct err err;
};

static void *early_main(void *arg)
{
    struct early_work *w = arg;

    for (unsigned i; (i = atomic_fetch_add(&w->next, 1)) < w->count;) {
        struct err err = ERR_INIT;

        if (early_segment(w->j, &w->segments[i], &w->parts[i], &err) == 0)
            continue;
        pthread_mutex_lock(&w->lock);
        if (w->err.kind == ERR_NONE)
            w->err = err;
        pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

int early_read(struct journal *j, struct catchup_segment *segments, struct early_part *parts, unsigned count,
               struct err *err)
{
    struct early_work w = { .j = j, .segments = segments, .parts = parts, .count = count, .err = ERR_INIT };
    struct thread threads[READERS_MAX] = { { .started = 0 } };
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct err ignored = ERR_INIT;

    pthread_mutex_init(&w.lock, NULL);
    for (long i = 1; i < cpus && i < READERS_MAX && i < (long)count; i++) /* this thread reads, too */
        (void)thread_start(&threads[i], "reader", 0, early_main, &w, &ignored);
    early_main(&w);
    for (unsigned i = 0; i < READERS_MAX; i++)
        thread_join(&threads[i]);
    pthread_mutex_destroy(&w.lock);
    if (w.err.kind == ERR_NONE)
        return 0;
    *err = w.err;
    return -1;
}

static int compact_record(void *arg, const struct record *r, const struct record_header *h UNUSED,
                          uint64_t offset UNUSED, struct err *err UNUSED)
{
    if (r->type == RT_BODY)
        objects_add(arg, r->object);
    return 0;
}

int compact_read(struct journal *j, struct catchup_segment *segments, unsigned count, struct err *err)
{
    for (unsigned i = 0; i < count; i++) {
        struct objects o = { .ids = NULL };
        struct segment_visit v = { .record = compact_record, .arg = &o };
        int rc = segment_visit(j, &segments[i].s, 0, &v, NULL, NULL, err);

        segments[i].late_count = o.count;
        objects_end(&o, &segments[i].filter);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* --- late --------------------------------------------------------------------------------------------------------- */

struct chunk_reader {
    struct journal *j;
    struct late_chunk *chunk;
    unsigned segment;
    uint64_t bytes;
    uint16_t type; /* looked up last */
    bool is_late;
};

static void place_add(struct late_chunk *c, const struct late_place *p)
{
    if (c->place_count == c->place_cap) {
        c->place_cap = c->place_cap * 2 + 4096;
        c->places = mem_realloc(c->places, c->place_cap * sizeof *c->places);
    }
    c->places[c->place_count++] = *p;
}

static int chunk_record(void *arg, const struct record *r, const struct record_header *h, uint64_t offset,
                        struct err *err UNUSED)
{
    struct chunk_reader *k = arg;
    struct late_chunk *c = k->chunk;
    slice payload;

    if (r->type == RT_BODY) {
        place_add(c, &(struct late_place){ r->object, offset + RECORD_HEADER_BYTES, h->length, k->segment, false });
        return 0;
    }
    if (r->type != k->type) {
        const struct type_slot *slot = type_slot_find(k->j, r->type);

        k->type = r->type;
        k->is_late = slot != NULL && (slot->row->flags & TYPE_LATE) != 0;
    }
    if (!k->is_late)
        return 0;
    if (c->count == c->cap) {
        c->cap = c->cap * 2 + 4096;
        c->records = mem_realloc(c->records, c->cap * sizeof *c->records);
    }
    payload = slice_dup(&c->mem, r->payload);
    k->bytes += payload.len;
    c->records[c->count++] = (struct late_record){
        r->object, r->seq, offset, r->time_ms, payload.ptr, (uint32_t)payload.len, r->part, k->segment, r->type,
        r->flags,
    };
    return 0;
}

static int late_cmp(const void *a, const void *b)
{
    const struct late_record *x = a, *y = b;

    if (x->object != y->object)
        return x->object < y->object ? -1 : 1;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int place_cmp(const void *a, const void *b)
{
    const struct late_place *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

OWNED struct late_chunk *chunk_read(struct journal *j, const struct catchup_segment *segments, unsigned from,
                                    unsigned count, struct err *err)
{
    struct late_chunk *c = mem_alloc(sizeof *c);
    struct chunk_reader k = { .j = j, .chunk = c };
    struct segment_visit v = { .record = chunk_record, .arg = &k };
    bool is_sorted = true;

    arena_init(&c->mem, 1u << 20);
    for (c->end = from; c->end < count && c->count + c->place_count < CHUNK_RECORDS && k.bytes < CHUNK_BYTES;
         c->end++) {
        k.segment = c->end;
        if (segments[c->end].late_count != 0 &&
            segment_visit(j, &segments[c->end].s, 0, &v, NULL, NULL, err) < 0) {
            chunk_destroy(&c);
            return NULL;
        }
    }
    if (c->count > 1)
        qsort(c->records, c->count, sizeof *c->records, late_cmp);
    for (size_t i = 1; i < c->place_count && is_sorted; i++)
        is_sorted = c->places[i - 1].id < c->places[i].id;
    if (!is_sorted) /* a log holds them in order, a compaction segment need not */
        qsort(c->places, c->place_count, sizeof *c->places, place_cmp);
    return c;
}

void chunk_destroy(struct late_chunk **cp)
{
    struct late_chunk *c = *cp;

    *cp = NULL;
    if (c == NULL)
        return;
    arena_free(&c->mem);
    mem_free(c->records);
    mem_free(c->places);
    mem_free(c);
}
