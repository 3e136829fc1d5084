/* reclaim.c - which segments are emptied, and which parts are imaged because they changed much.
 *
 * A page is imaged when the changes since its last image exceed half that image's size, so that a replay reads at most
 * about three times the live metadata. The accounting is done when a segment was sealed, off the hot path, and kept in
 * TABLE_CHANGES; it is lost with the index and only steers. */
#include "journal/empty.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/diag.h"
#include "base/mem.h"

#define CHANGES_MIN_BYTES 4096u /* fewer are not worth an image */
#define GROUP_MAX 16u           /* segments emptied into one compaction segment */
#define DAY_MS (24 * 60 * 60 * INT64_C(1000))

/* --- the image of the journal itself ------------------------------------------------------------------------------ */

/* The first range at or behind `from`, and what follows it without a gap. False: none. */
static bool gone_next(struct journal_view *v, uint64_t from, uint64_t *first, uint64_t *last)
{
    struct journal_cursor c;
    unsigned char key[8];
    slice found, value;
    bool more;

    put_be64(key, from);
    journal_cursor_begin(&c, v, TABLE_GONE);
    more = journal_cursor_seek(&c, slice_of(key, sizeof key), &found, &value);
    if (more) {
        *first = get_be64(found.ptr);
        *last = get_le64(value.ptr);
    }
    while (more && (more = journal_cursor_next(&c, &found, &value)) && get_be64(found.ptr) <= *last + 1)
        if (get_le64(value.ptr) > *last)
            *last = get_le64(value.ptr);
    journal_cursor_end(&c);
    return more || *last != 0;
}

int own_image(struct journal_tx *tx, void *room UNUSED, uint64_t object, uint32_t part, struct err *err UNUSED)
{
    struct journal_view *v = &tx->view;
    struct buf payload = BUF_INIT;
    uint64_t first, last = 0;

    for (uint64_t from = 0; last = 0, gone_next(v, from, &first, &last); from = last + 1) {
        buf_put_le64(&payload, first);
        buf_put_le64(&payload, last);
    }
    /* The rows that a merged range swallows go; the record's apply writes the merged ones. */
    for (size_t i = 0; i < payload.len; i += 16) {
        first = get_le64(payload.ptr + i);
        last = get_le64(payload.ptr + i + 8);
        for (;;) {
            struct journal_cursor c;
            unsigned char key[8];
            slice found, value;
            uint64_t row = 0;

            put_be64(key, first + 1);
            journal_cursor_begin(&c, v, TABLE_GONE);
            if (journal_cursor_seek(&c, slice_of(key, sizeof key), &found, &value))
                row = get_be64(found.ptr);
            journal_cursor_end(&c);
            if (row == 0 || row > last)
                break;
            journal_del_u64(v, TABLE_GONE, row);
        }
    }
    journal_emit(tx, RT_GONE_IMAGE, object, part, RECORD_IMAGE, buf_slice(&payload));
    buf_free(&payload);
    return 0;
}

/* --- changes since the last image --------------------------------------------------------------------------------- */

struct change {
    uint64_t object;
    uint32_t part;
    uint16_t type;
    bool is_imaged;   /* the segment holds an image: what was counted before does not matter */
    uint64_t changes; /* octets, behind the image if there is one */
    uint64_t image;   /* octets of the image */
    uint64_t seq;     /* newest record */
    bool is_wanted;
};

struct changes {
    struct journal *j;
    struct change *items;
    size_t count, cap;
    struct map index; /* key -> 1 + place */
};

static struct change *change_of(struct changes *cs, uint64_t object, uint32_t part)
{
    unsigned char key[12];
    uintptr_t at;

    change_key(key, object, part);
    at = (uintptr_t)map_get(&cs->index, slice_of(key, sizeof key));
    if (at != 0)
        return &cs->items[at - 1];
    if (cs->count == cs->cap) {
        cs->cap = cs->cap == 0 ? 256 : cs->cap * 2;
        cs->items = mem_realloc(cs->items, cs->cap * sizeof *cs->items);
    }
    cs->items[cs->count] = (struct change){ .object = object, .part = part };
    map_put(&cs->index, slice_of(key, sizeof key), (void *)(uintptr_t)(cs->count + 1));
    return &cs->items[cs->count++];
}

static int on_change(void *arg, const struct record *r, const struct record_header *h, uint64_t offset UNUSED,
                     struct err *err UNUSED)
{
    struct changes *cs = arg;
    const struct type_slot *slot = type_slot_find(cs->j, r->type);
    struct change *c;

    if (slot == NULL || slot->row->image == NULL || (r->flags & (RECORD_BODY | RECORD_END)) != 0)
        return 0;
    c = change_of(cs, r->object, r->part);
    c->type = r->type;
    c->seq = r->seq;
    if ((r->flags & RECORD_IMAGE) != 0) {
        c->is_imaged = true;
        c->changes = 0;
        c->image = record_disk_bytes(h->length);
    } else {
        c->changes += record_disk_bytes(h->length);
    }
    return 0;
}

struct change_chunk {
    struct change *items;
    size_t count;
};

static int account_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    struct change_chunk *chunk = crew_arg(op);

    for (size_t i = 0; i < chunk->count; i++) {
        struct change *c = &chunk->items[i];
        unsigned char key[12], value[16];
        struct change_value old;
        uint64_t changes = c->changes, image = c->image;

        c->is_wanted = false;
        /* An object that has ended since was short-lived: no row for it. */
        if (part_is_dead(&tx->view, c->object, PART_ALL, c->seq))
            continue;
        if (!c->is_imaged) {
            change_get(&tx->view, c->object, c->part, &old);
            changes += old.changes;
            image = old.image;
        }
        /* imaged again already, behind this segment */
        if (part_is_dead(&tx->view, c->object, c->part, c->seq))
            changes = 0;
        change_key(key, c->object, c->part);
        put_le64(value, changes);
        put_le64(value + 8, image);
        journal_put(&tx->view, TABLE_CHANGES, slice_of(key, sizeof key), slice_of(value, sizeof value));
        c->is_wanted = changes > CHANGES_MIN_BYTES && changes > image / 2;
    }
    return 0;
}

static int changes_account(struct changes *cs, struct err *err)
{
    size_t n = (cs->count + CARE_OP_ITEMS - 1) / CARE_OP_ITEMS;
    struct change_chunk *chunks = mem_alloc_array(n + 1, sizeof *chunks);
    struct crew crew;
    int rc;

    crew_init(&crew, cs->j);
    for (size_t i = 0; i < n; i++) {
        size_t from = i * CARE_OP_ITEMS;

        chunks[i].items = cs->items + from;
        chunks[i].count = cs->count - from < CARE_OP_ITEMS ? cs->count - from : CARE_OP_ITEMS;
        if (crew_submit(&crew, account_run, &chunks[i], (uint32_t)chunks[i].count, 0) < 0)
            break;
    }
    rc = crew_wait(&crew, err);
    crew_free(&crew);
    mem_free(chunks);
    return rc;
}

static int changes_image(struct changes *cs, struct err *err)
{
    struct image_want *wants = mem_alloc_array(cs->count + 1, sizeof *wants);
    struct crew crew;
    size_t n = 0;
    int rc;

    crew_init(&crew, cs->j);
    for (size_t i = 0; i < cs->count; i++) {
        const struct change *c = &cs->items[i];
        uint64_t bytes = 1024 + c->image + c->changes;

        if (!c->is_wanted)
            continue;
        if (bytes > 1024u * 1024)
            bytes = 1024u * 1024;
        wants[n] = (struct image_want){ c->object, c->part, c->type, c->seq, false };
        if (crew_submit(&crew, image_run, &wants[n++], image_cost((uint32_t)bytes), (uint32_t)bytes) < 0)
            break;
    }
    rc = crew_wait(&crew, err);
    crew_free(&crew);
    mem_free(wants);
    return rc;
}

void reclaim_sealed(struct journal *j, uint64_t number)
{
    struct changes cs = { .j = j };
    struct segment_visit v = { .record = on_change, .arg = &cs };
    struct log_segment s = { .void_from = 0 };
    struct err err = ERR_INIT;

    /* Without helpers the committer seals: it cannot wait for itself. */
    if (!j->thread.started || pthread_equal(pthread_self(), j->thread.id))
        return;
    if (journal_rebuilding(j, NULL)) /* what a part held before is not known yet; it only steers */
        return;
    if (!segment_dir_find(j->segments, number, &s.info) || !s.info.is_sealed)
        return;
    map_init(&cs.index);
    if (segment_visit(j, &s, 0, &v, NULL, NULL, &err) < 0 || changes_account(&cs, &err) < 0 ||
        changes_image(&cs, &err) < 0)
        diag_debug("journal", "changes in segment %016llx are not accounted: %s", (unsigned long long)number, err.text);
    map_free(&cs.index);
    mem_free(cs.items);
}

/* --- policy ------------------------------------------------------------------------------------------------------- */

struct candidate {
    uint64_t number;
    uint64_t live;  /* octets of bodies */
    uint64_t share; /* live, in 1/1000 */
    enum segment_kind kind;
};

static int by_share(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->share != y->share)
        return x->share < y->share ? -1 : 1;
    if (x->live != y->live)
        return x->live < y->live ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* A log segment rolled early counts as a full one, so that small ones are merged; the others would only be copied
 * again and again, and are judged by their own size. */
static uint64_t share_of(const struct journal *j, const struct segment_info *info, uint64_t live)
{
    uint64_t bytes = info->bytes;

    if (info->header.kind == SEGMENT_LOG && bytes < j->conf.segment_bytes)
        bytes = j->conf.segment_bytes;
    return bytes == 0 ? 0 : live * 1000 / bytes;
}

/* Sealed segments that may be emptied now, the emptiest first. OWNED array. */
static int candidates(struct journal *j, bool is_full, struct candidate **out, unsigned *count, struct err *err)
{
    int64_t before_ms = clock_wall_ms(j->clock) - (int64_t)CONF(j, keep_days) * DAY_MS;
    struct vec_candidates {
        struct candidate *items;
        unsigned count, cap;
    } list = { 0 };
    struct segment_info info;
    struct journal_view v;

    *out = NULL;
    if (journal_read_begin(j, &v, err) < 0)
        return -1;
    for (uint64_t at = 0; segment_dir_next(j->segments, &at, &info);) {
        struct candidate c = { .number = info.header.number, .kind = info.header.kind };
        slice value;

        if (!info.is_sealed || info.header.salt == 0)
            continue;
        if (c.kind == SEGMENT_BODY && !journal_get_u64(&v, TABLE_ADOPT, c.number, &value))
            continue; /* not yet taken by a batch */
        if (journal_get_u64(&v, TABLE_SEGMENT, c.number, &value) && value.len == 8)
            c.live = get_le64(value.ptr);
        if (is_kept(j, c.number, c.live))
            continue;
        c.share = share_of(j, &info, c.live);
        if (!is_full && (info.newest_ms > before_ms || c.share >= (uint64_t)CONF(j, reclaim_percent) * 10))
            continue;
        if (list.count == list.cap) {
            list.cap = list.cap == 0 ? 64 : list.cap * 2;
            list.items = mem_realloc(list.items, list.cap * sizeof *list.items);
        }
        list.items[list.count++] = c;
    }
    journal_read_end(&v);
    if (list.count != 0)
        qsort(list.items, list.count, sizeof *list.items, by_share);
    *out = list.items;
    *count = list.count;
    return 0;
}

static bool has_room(struct journal *j)
{
    return segment_dir_has_spare(j->segments) && segment_dir_reserve_count(j->segments) >= CONF(j, reserve_segments);
}

static int group_empty(struct journal *j, const uint64_t *numbers, unsigned n, unsigned *emptied, struct err *err)
{
    int rc;

    pthread_mutex_lock(&j->care); /* for one group, so that others who wait get their turn */
    rc = empty_group(j, numbers, n, 0, emptied, err);
    pthread_mutex_unlock(&j->care);
    return rc;
}

/* Nobody makes spare or reserve anew while we need their room. False: somebody does just now. */
static bool prepare_stop(struct journal *j, bool stop)
{
    bool ok;

    pthread_mutex_lock(&j->lock);
    ok = !stop || !j->is_preparing;
    if (ok)
        j->is_preparing = stop;
    pthread_mutex_unlock(&j->lock);
    return ok;
}

/* The copies of live bodies need room before the segment can go: the reserve lends it. */
static int empty_with_reserve(struct journal *j, uint64_t number, unsigned *emptied, struct err *err)
{
    int rc = group_empty(j, &number, 1, emptied, err);
    struct err why = ERR_INIT;

    if (rc == 0 || err->kind != ERR_FULL || !prepare_stop(j, true))
        return rc;
    if (segment_dir_lend(j->segments, &why) == 0) {
        *err = ERR_INIT;
        rc = group_empty(j, &number, 1, emptied, err);
    }
    prepare_stop(j, false);
    return rc;
}

/* One segment, and what is free then becomes reserve and spare again; the committer sees it with its next operation. */
static unsigned empty_one(struct journal *j, uint64_t number, struct err *err)
{
    struct err why = ERR_INIT;
    unsigned emptied;

    if (empty_with_reserve(j, number, &emptied, &why) < 0) {
        diag_warn("journal", "segment %016llx was not emptied: %s", (unsigned long long)number, why.text);
        *err = why;
    }
    why = ERR_INIT;
    if (segment_dir_prepare(j->segments, &why) < 0 && why.kind != ERR_FULL)
        diag_warn("journal", "no spare: %s", why.text);
    return emptied;
}

/* One at a time, until there is room again: the copies of a group would need more room first. */
static int reclaim_full(struct journal *j, const struct candidate *list, unsigned n, struct err *err)
{
    int done = 0;

    for (unsigned i = 0; i < n && !has_room(j); i++) {
        diag_warn("journal", "the disk is full: segment %016llx is emptied before its time",
                  (unsigned long long)list[i].number);
        done += (int)empty_one(j, list[i].number, err);
    }
    return done;
}

static int reclaim_old(struct journal *j, const struct candidate *list, unsigned n, struct err *err)
{
    int done = 0;

    for (unsigned i = 0; i < n;) {
        uint64_t numbers[GROUP_MAX], live = 0;
        unsigned k = 0, emptied;
        struct err why = ERR_INIT;

        do {
            live += list[i].live;
            numbers[k++] = list[i++].number;
        } while (i < n && k < GROUP_MAX && live + list[i].live <= j->conf.segment_bytes);
        if (group_empty(j, numbers, k, &emptied, &why) < 0 && why.kind == ERR_FULL) {
            /* No room for the copies of all of them. */
            why = ERR_INIT;
            for (unsigned one = 0; one < k && why.kind != ERR_FULL; one++)
                emptied += empty_one(j, numbers[one], &why);
        } else if (why.kind != ERR_NONE) {
            diag_warn("journal", "emptying segments: %s", why.text);
        }
        if (why.kind != ERR_NONE)
            *err = why;
        if (why.kind == ERR_TEMP || why.kind == ERR_FULL)
            i = n;
        done += (int)emptied;
    }
    return done;
}

int journal_reclaim(struct journal *j, struct err *err)
{
    struct candidate *list = NULL;
    struct err why = ERR_INIT;
    unsigned n = 0;
    bool is_full = journal_state(j, NULL) == JOURNAL_FULL;
    int done;

    if (journal_rebuilding(j, NULL))
        return 0;
    if (candidates(j, is_full, &list, &n, err) < 0)
        return -1;
    done = is_full ? reclaim_full(j, list, n, &why) : reclaim_old(j, list, n, &why);
    mem_free(list);
    if (done == 0 && why.kind != ERR_NONE) {
        *err = why;
        done = -1;
    }
    why = ERR_INIT;
    if (history_trim(j, &why) < 0)
        diag_warn("journal", "trimming the history: %s", why.text);
    return done;
}
