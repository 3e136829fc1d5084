#include "journal/catchup.h"

#include <stdlib.h>
#include <time.h>

#include "base/diag.h"
#include "base/mem.h"

#define HURRY_US 3000    /* of a slice when operations wait */
#define IDLE_US 250000   /* and when none does: what comes then waits at most so long */
#define LOOK_EVERY 32    /* records between two looks at the clock */
#define LOADER_WAIT_MS 2

/* --- asking ------------------------------------------------------------------------------------------------------- */

bool catchup_pending(const struct journal *j)
{
    return j->catchup != NULL && !j->catchup->is_done && !j->catchup->is_broken;
}

bool journal_rebuilding(const struct journal *j, unsigned *percent)
{
    uint64_t all, done;

    if (!atomic_load_explicit(&j->is_catching_up, memory_order_acquire)) {
        if (percent != NULL)
            *percent = 100;
        return false;
    }
    all = atomic_load(&j->catchup_all);
    done = atomic_load(&j->catchup_done);
    if (percent != NULL)
        *percent = all == 0 ? 0 : done >= all ? 99 : (unsigned)(done * 100 / all);
    return true;
}

bool journal_object_ready(const struct journal *cj, uint64_t object)
{
    struct journal *j = (struct journal *)(uintptr_t)cj; /* the lock is not part of the value */
    bool is_ready;

    if (!atomic_load_explicit(&j->is_catching_up, memory_order_acquire) || object > j->catchup->boundary)
        return true;
    pthread_mutex_lock(&j->lock);
    is_ready = idmap_get(&j->catchup->ready, object) != NULL;
    pthread_mutex_unlock(&j->lock);
    return is_ready;
}

bool journal_demand_wanted(const struct journal *cj, uint64_t group)
{
    struct journal *j = (struct journal *)(uintptr_t)cj;
    bool is_wanted;

    if (journal_object_ready(j, group))
        return false;
    pthread_mutex_lock(&j->lock);
    is_wanted = idmap_get(&j->catchup->asked, group) == NULL;
    pthread_mutex_unlock(&j->lock);
    return is_wanted;
}

void journal_demand(struct journal *j, uint64_t group, const uint64_t *objects, unsigned count)
{
    struct demand *d;

    if (!journal_demand_wanted(j, group))
        return;
    d = mem_alloc(sizeof *d);
    d->objects = mem_alloc_array((size_t)count + 1, sizeof *d->objects);
    d->objects[0] = group;
    if (count != 0)
        memcpy(d->objects + 1, objects, count * sizeof *objects);
    d->count = count + 1;
    qsort(d->objects, d->count, sizeof *d->objects, id_cmp);
    list_init(&d->link);
    pthread_mutex_lock(&j->lock);
    if (idmap_get(&j->catchup->asked, group) == NULL) {
        idmap_put(&j->catchup->asked, group, j->catchup);
        list_push_back(&j->catchup->demands, &d->link);
        d = NULL;
    }
    pthread_mutex_unlock(&j->lock);
    if (d != NULL) {
        mem_free(d->objects);
        mem_free(d);
    }
}

int catchup_refuse(const struct journal *j, struct err *err)
{
    unsigned percent;

    if (!journal_rebuilding(j, &percent))
        return 0;
    return err_set(err, ERR_TEMP, "the index is being rebuilt, %u %% are done", percent);
}

/* --- the loader --------------------------------------------------------------------------------------------------- */

static void *loader_main(void *arg)
{
    struct journal *j = arg;
    struct catchup *c = j->catchup;

    pthread_mutex_lock(&c->lock);
    while (!c->is_stopping && c->load_next < c->count && !c->has_failed) {
        struct err err = ERR_INIT;
        struct late_chunk *chunk;

        if (c->loaded != NULL) {
            pthread_cond_wait(&c->cond, &c->lock);
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        chunk = chunk_read(j, c->segments, c->load_next, c->count, &err);
        pthread_mutex_lock(&c->lock);
        if (chunk == NULL) {
            c->has_failed = true;
            c->err = err;
        } else {
            c->load_next = chunk->end;
            c->loaded = chunk;
        }
        pthread_cond_broadcast(&c->cond);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* The next chunk of the general pass becomes the present one, unless the loader is not ready yet. */
static int chunk_take(struct catchup *c, struct err *err)
{
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOADER_WAIT_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_mutex_lock(&c->lock);
    while (c->loaded == NULL && !c->has_failed && rc == 0)
        rc = pthread_cond_timedwait(&c->cond, &c->lock, &until);
    rc = 0;
    if (c->has_failed) {
        *err = c->err;
        rc = -1;
    } else if (c->loaded != NULL) {
        c->chunk = c->loaded;
        c->next = c->chunk->end;
        c->loaded = NULL;
        pthread_cond_broadcast(&c->cond);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

/* --- beginning and end of life ------------------------------------------------------------------------------------ */

static void compact_list(struct journal *j, struct catchup *c)
{
    struct segment_info info;
    unsigned cap = 0;

    for (uint64_t at = 0; segment_dir_next(j->segments, &at, &info);) {
        if (info.header.number > c->number_max)
            c->number_max = info.header.number;
        if (info.header.kind != SEGMENT_COMPACT || !info.is_sealed)
            continue;
        if (c->compact_count == cap) {
            cap = cap * 2 + 16;
            c->compact = mem_realloc(c->compact, cap * sizeof *c->compact);
        }
        c->compact[c->compact_count++] = (struct catchup_segment){ .s.info = info, .late_count = 1 };
    }
}

static struct catchup *catchup_new(struct journal *j, TAKES struct log_segment *list, unsigned count)
{
    struct catchup *c = mem_alloc(sizeof *c);

    c->began_ms = clock_mono_ms(j->clock);
    c->list = list;
    c->count = count;
    c->segments = mem_alloc_array((size_t)count + 1, sizeof *c->segments);
    for (unsigned i = 0; i < count; i++) {
        c->segments[i].s = list[i];
        if (list[i].info.last_seq > c->boundary)
            c->boundary = list[i].info.last_seq;
    }
    idmap_init(&c->dropped);
    idmap_init(&c->ready);
    idmap_init(&c->asked);
    list_init(&c->demands);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->cond, NULL);
    c->err = ERR_INIT;
    compact_list(j, c);
    return c;
}

int catchup_begin(struct journal *j, TAKES struct log_segment *list, unsigned count, struct err *err)
{
    struct catchup *c = catchup_new(j, list, count);

    j->catchup = c;
    atomic_store(&j->is_catching_up, true);
    if (early_phase(j, c, err) < 0)
        return -1;
    if (count == 0)
        return 0;
    counter_add(&journal_counters[JC_REBUILD_LEFT], (int64_t)atomic_load(&j->catchup_all));
    diag_info("journal", "the index is being rebuilt: %s; %llu records are left after %lld ms", j->report.index_why,
              (unsigned long long)atomic_load(&j->catchup_all), (long long)(clock_mono_ms(j->clock) - c->began_ms));
    return thread_start(&c->loader, "loader", 0, loader_main, j, err);
}

static void loader_stop(struct catchup *c)
{
    pthread_mutex_lock(&c->lock);
    c->is_stopping = true;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->lock);
    thread_join(&c->loader);
    chunk_destroy(&c->loaded);
    chunk_destroy(&c->chunk);
}

static void filters_free(struct catchup *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        mem_free(c->segments[i].filter.bits);
        c->segments[i].filter.bits = NULL;
    }
    for (unsigned i = 0; i < c->compact_count; i++) {
        mem_free(c->compact[i].filter.bits);
        c->compact[i].filter.bits = NULL;
    }
}

static void demand_free(struct demand *d)
{
    if (d == NULL)
        return;
    mem_free(d->objects);
    mem_free(d);
}

void catchup_free(struct journal *j)
{
    struct catchup *c = j->catchup;

    if (c == NULL)
        return;
    loader_stop(c);
    demand_free(c->now);
    for (struct list *node; (node = list_pop_front(&c->demands)) != NULL;)
        demand_free(LIST_ENTRY(node, struct demand, link));
    filters_free(c);
    mem_free(c->segments);
    mem_free(c->compact);
    mem_free(c->list);
    mem_free(c->changes);
    idmap_free(&c->dropped);
    idmap_free(&c->ready);
    idmap_free(&c->asked);
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
    j->catchup = NULL;
}

int catchup_room(struct journal *j, bool *is_tight, struct err *err)
{
    struct err why = ERR_INIT;
    struct index_usage u;

    *is_tight = false;
    if (index_reserve(j->index, &why) == 0)
        return 0;
    index_usage(j->index, &u);
    if (why.kind == ERR_FULL && u.allocated_bytes - u.used_bytes >= j->conf.index_ahead_bytes / 2) {
        *is_tight = true;
        return 0;
    }
    *err = why;
    return -1;
}

/* --- a slice ------------------------------------------------------------------------------------------------------ */

struct slice_run {
    struct journal *j;
    struct catchup *c;
    int64_t began_us;
    unsigned until_look, looks;
    bool is_over;
    bool is_tight; /* little room: a short slice, whose commit fits */
    /* of the part at hand */
    uint64_t object, dead_below;
    uint32_t part;
    bool is_left_out;
};

static bool ops_wait(struct journal *j)
{
    bool some;

    pthread_mutex_lock(&j->lock);
    some = j->waiting != 0 || j->is_closing;
    pthread_mutex_unlock(&j->lock);
    return some;
}

/* Is the time over? Looked at now and then only. */
static bool is_over(struct slice_run *r)
{
    int64_t age_us;

    r->looks++;
    if (r->j->rebuild_slice != 0)
        return r->is_over = r->is_over || r->looks > r->j->rebuild_slice + 3; /* so many before anything is done */
    if (r->is_over || r->until_look-- != 0)
        return r->is_over;
    r->until_look = LOOK_EVERY;
    age_us = clock_mono_us(r->j->clock) - r->began_us;
    r->is_over = age_us >= IDLE_US || (age_us >= HURRY_US && (r->is_tight || ops_wait(r->j)));
    return r->is_over;
}

/* One late record of the history, unless a later image or end says it all. */
static int late_apply(struct slice_run *r, const struct late_record *l, bool is_demanded, struct err *err)
{
    struct journal *j = r->j;
    struct record rec = { l->type, l->flags, l->part, l->seq, l->object, l->time_ms,
                          slice_of(l->payload, l->payload_len) };

    if (l->object != r->object || l->part != r->part) {
        uint64_t image = part_seq(&j->tx.view, l->object, l->part), end = part_seq(&j->tx.view, l->object, PART_ALL);

        r->object = l->object;
        r->part = l->part;
        r->dead_below = image > end ? image : end;
        r->is_left_out = !is_demanded && idmap_get(&r->c->ready, l->object) != NULL;
    }
    if (r->is_left_out || l->seq < r->dead_below)
        return 0;
    j->tx.segment = r->c->segments[l->segment].s.info.header.number;
    j->tx.at = l->offset;
    return replay_record(j, &rec, err);
}

static void forget_part(struct slice_run *r)
{
    r->object = 0;
    r->part = PART_ALL;
}

/* Bodies of the chunk that nothing refers to: they are known, too. */
static void places_rest(struct slice_run *r, const struct catchup_segment *segments)
{
    struct late_chunk *k = r->c->chunk;

    while (k->place_at < k->place_count && !is_over(r)) {
        const struct late_place *p = &k->places[k->place_at++];
        struct body_info info = place_info(segments, p);

        if (!p->is_written)
            body_merge(&r->j->tx, p->id, 0, &info);
    }
}

static void done_add(struct journal *j, uint64_t records)
{
    atomic_fetch_add_explicit(&j->catchup_done, records, memory_order_relaxed);
    counter_add(&journal_counters[JC_REBUILD_LEFT], -(int64_t)records);
}

static int general_step(struct slice_run *r, struct err *err)
{
    struct late_chunk *k = r->c->chunk;

    while (k->at < k->count && !is_over(r)) {
        if (late_apply(r, &k->records[k->at++], false, err) < 0)
            return -1;
        done_add(r->j, 1);
    }
    if (k->at < k->count || is_over(r))
        return 0;
    if (k->place_at == 0)
        changes_write(r->j, r->c); /* then only those without references are left */
    places_rest(r, r->c->segments);
    if (k->place_at < k->place_count)
        return 0;
    done_add(r->j, k->place_count);
    chunk_destroy(&r->c->chunk);
    return 0;
}

static int compact_step(struct slice_run *r, struct err *err)
{
    struct catchup *c = r->c;

    if (c->chunk == NULL)
        c->chunk = chunk_read(r->j, c->compact, c->next_compact, c->compact_count, err);
    if (c->chunk == NULL)
        return -1;
    places_rest(r, c->compact);
    if (c->chunk->place_at < c->chunk->place_count)
        return 0;
    c->next_compact = c->chunk->end;
    chunk_destroy(&c->chunk);
    return 0;
}

/* --- demand ------------------------------------------------------------------------------------------------------- */

static bool demand_has(const struct demand *d, uint64_t object)
{
    return bsearch(&object, d->objects, d->count, sizeof *d->objects, id_cmp) != NULL;
}

struct demand_visit {
    struct slice_run *run;
    const struct demand *demand;
};

static int demand_record(void *arg, const struct record *rec, const struct record_header *h UNUSED, uint64_t offset,
                         struct err *err)
{
    struct demand_visit *v = arg;
    const struct type_slot *slot;
    struct late_record l = {
        rec->object, rec->seq, offset, rec->time_ms, rec->payload.ptr, (uint32_t)rec->payload.len, rec->part,
        v->demand->next, rec->type, rec->flags,
    };

    if (rec->type == RT_BODY || !demand_has(v->demand, rec->object))
        return 0;
    slot = type_slot_find(v->run->j, rec->type);
    if (slot == NULL || (slot->row->flags & TYPE_LATE) == 0)
        return 0;
    return late_apply(v->run, &l, true, err);
}

/* What the present chunk still has of the objects. */
static int demand_chunk(struct slice_run *r, struct demand *d, struct err *err)
{
    const struct late_chunk *k = r->c->next_compact == r->c->compact_count ? r->c->chunk : NULL;

    unsigned n = 0;

    d->is_begun = true;
    d->next = r->c->next;
    for (unsigned i = 0; i < d->count; i++) /* C2: what another group had is left out */
        if (idmap_get(&r->c->ready, d->objects[i]) == NULL)
            d->objects[n++] = d->objects[i];
    d->count = n;
    for (size_t i = k != NULL ? k->at : 0; k != NULL && i < k->count; i++)
        if (demand_has(d, k->records[i].object) && late_apply(r, &k->records[i], true, err) < 0)
            return -1;
    return 0;
}

static int demand_segment(struct slice_run *r, struct demand *d, struct err *err)
{
    const struct catchup_segment *s = &r->c->segments[d->next];
    struct demand_visit dv = { r, d };
    struct segment_visit v = { .record = demand_record, .arg = &dv };
    bool may_hold = false;

    for (unsigned i = 0; i < d->count && !may_hold; i++)
        may_hold = filter_has(&s->filter, d->objects[i]);
    if (may_hold && segment_visit(r->j, &s->s, 0, &v, NULL, NULL, err) < 0)
        return -1;
    d->next++;
    return 0;
}

/* Bodies that the changes of this slice refer to get their places: the account is read as soon as it is ready. */
static int demand_places(struct slice_run *r, struct err *err)
{
    struct catchup *c = r->c;
    uint64_t *ids = mem_alloc_array(c->change_count + 1, sizeof *ids);
    size_t count = 0;
    int rc;

    for (size_t i = 0; i < c->change_count; i++)
        ids[count++] = c->changes[i].id;
    changes_write(r->j, c);
    qsort(ids, count, sizeof *ids, id_cmp);
    for (size_t i = 0, n = count, last = 0; i < n; i++) {
        struct body_info b;

        if (i == 0)
            count = 0;
        if ((count != 0 && ids[i] == last) || (journal_body_info(&r->j->tx.view, ids[i], &b) && b.segment != 0))
            continue;
        last = ids[i];
        ids[count++] = ids[i];
    }
    rc = count == 0 ? 0 : places_find(r->j, c, ids, count, err);
    mem_free(ids);
    return rc;
}

static int demand_step(struct slice_run *r, struct err *err)
{
    struct demand *d = r->c->now;

    forget_part(r);
    if (!d->is_begun && demand_chunk(r, d, err) < 0)
        return -1;
    while (d->next < r->c->count && !is_over(r)) {
        r->until_look = 0;
        if (demand_segment(r, d, err) < 0)
            return -1;
    }
    forget_part(r);
    return demand_places(r, err);
}

static bool demand_next(struct journal *j, struct catchup *c)
{
    struct list *node = NULL;

    if (c->now == NULL) {
        pthread_mutex_lock(&j->lock);
        node = list_pop_front(&c->demands);
        pthread_mutex_unlock(&j->lock);
        if (node != NULL)
            c->now = LIST_ENTRY(node, struct demand, link);
    }
    return c->now != NULL;
}

/* Its last records are committed. */
static void demand_end(struct journal *j, struct catchup *c)
{
    struct demand *d = c->now;

    c->now = NULL;
    pthread_mutex_lock(&j->lock);
    for (unsigned i = 0; i < d->count; i++)
        idmap_put(&c->ready, d->objects[i], c);
    pthread_mutex_unlock(&j->lock);
    counter_add(&journal_counters[JC_DEMANDED], 1);
    demand_free(d);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static void catchup_end(struct journal *j)
{
    struct catchup *c = j->catchup;

    c->is_done = true;
    loader_stop(c);
    filters_free(c);
    if (c->count != 0) { /* not a new journal */
        counter_add(&journal_counters[JC_REBUILT], 1);
        diag_info("journal", "the index is rebuilt: %llu records in %lld ms",
                  (unsigned long long)j->report.records_replayed, (long long)(clock_mono_ms(j->clock) - c->began_ms));
    }
    atomic_store_explicit(&j->is_catching_up, false, memory_order_release);
    for (unsigned i = 0; i < j->room_count; i++)
        if (j->rooms[i]->complete != NULL)
            j->rooms[i]->complete(j->rooms[i]->state);
}

/* Work until the time is over or a demand is complete. *at_end: nothing is left. */
static int slice_work(struct slice_run *r, bool *demand_done, bool *at_end, struct err *err)
{
    struct catchup *c = r->c;

    while (!is_over(r) && !*demand_done && !*at_end) {
        int rc = 0;

        if (demand_next(r->j, c)) {
            rc = demand_step(r, err);
            *demand_done = c->now->next == c->count;
        } else if (c->next_compact < c->compact_count) {
            rc = compact_step(r, err);
        } else if (c->chunk != NULL) {
            rc = general_step(r, err);
        } else if (c->next < c->count) {
            rc = chunk_take(c, err);
            r->is_over = rc == 0 && c->chunk == NULL; /* operations go first */
        } else {
            *at_end = true;
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}

int catchup_slice(struct journal *j, struct err *err)
{
    struct catchup *c = j->catchup;
    struct slice_run r = { .j = j, .c = c, .began_us = clock_mono_us(j->clock), .until_look = LOOK_EVERY };
    bool demand_done = false, at_end = false;

    if (catchup_room(j, &r.is_tight, err) < 0 || index_begin(j->index, &j->tx.view, err) < 0)
        return -1;
    tx_reset(&j->tx);
    j->tx.phase = TX_REPLAY;
    j->tx.catchup = c;
    forget_part(&r);
    if (slice_work(&r, &demand_done, &at_end, err) < 0)
        goto fail;
    changes_write(j, c);
    j->tx.catchup = NULL;
    if (at_end) {
        if (replay_finish(j, c->list, c->count, c->number_max, err) < 0)
            goto fail;
        index_unfinished_set(&j->tx.view, false);
    }
    if (replay_commit(j, err) < 0)
        goto fail;
    if (demand_done)
        demand_end(j, c);
    if (at_end)
        catchup_end(j);
    return 0;
fail:
    c->is_broken = true;
    if (err->kind == ERR_FULL)
        err->kind = ERR_TEMP;
    j->tx.catchup = NULL;
    index_abort(&j->tx.view);
    return -1;
}
