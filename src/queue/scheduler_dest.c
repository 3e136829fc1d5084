/* scheduler_dest.c - destinations: what of them is in view, when they may run, how many jobs they may have. */
#include "queue/scheduler_internal.h"

#define GROW_PAUSE_MS INT64_C(60000) /* after JOB_LIMITED */
#define PAUSE_MS INT64_C(1000)       /* after a job that did nothing; doubled up to 64 times that */
#define PAUSES_MAX 6u
#define FAILURES_MAX 20u
#define DIAG_KEPT 199u

/* --- life --------------------------------------------------------------------------------------------------------- */

struct dest *dest_get(struct scheduler *s, uint64_t id, slice channel, slice host)
{
    struct dest *d = idmap_get(&s->dests, id);

    if (d != NULL)
        return d;
    host = slice_sub(host, 0, QUEUE_HOST_MAX);
    d = mem_alloc(sizeof *d + host.len + 1);
    d->id = id;
    d->channel = channel_get(s, channel);
    d->concurrency = 1;
    list_init(&d->ring);
    d->host_len = (uint16_t)host.len;
    if (host.len != 0)
        memcpy(d->host, host.ptr, host.len);
    idmap_put(&s->dests, id, d);
    counter_set(&scheduler_counters[SC_DESTS], (int64_t)idmap_count(&s->dests));
    return d;
}

struct dest *dest_of_id(struct scheduler *s, uint64_t id)
{
    struct dest *d = idmap_get(&s->dests, id);
    slice channel, host;

    if (d != NULL)
        return d;
    arena_reset(&s->scratch);
    if (!queue_dest_name(s->queue, id, &s->scratch, &channel, &host))
        return NULL;
    return dest_get(s, id, channel, host);
}

static void view_resize(struct scheduler *s, struct dest *d, unsigned count)
{
    s->view_total = s->view_total - d->count + count;
    d->count = (uint16_t)count;
    counter_set(&scheduler_counters[SC_IN_VIEW], s->view_total);
}

static void view_drop(struct scheduler *s, struct dest *d)
{
    d->has_more = d->has_more || d->count != 0;
    view_resize(s, d, 0);
    mem_free(d->view);
    d->view = NULL;
    d->cap = 0;
}

static void flush_end(struct dest *d)
{
    if (d->flushed == NULL)
        return;
    idmap_free(d->flushed);
    mem_free(d->flushed);
    d->flushed = NULL;
}

static void dead_set(struct dest *d, bool is_dead)
{
    if (d->is_dead != is_dead)
        counter_add(&scheduler_counters[SC_DEAD], is_dead ? 1 : -1);
    d->is_dead = is_dead;
}

void dest_free(struct scheduler *s, struct dest *d)
{
    list_remove(&d->ring);
    heap_remove(&s->wakes, &d->wake);
    idmap_del(&s->dests, d->id);
    counter_set(&scheduler_counters[SC_DESTS], (int64_t)idmap_count(&s->dests));
    view_drop(s, d);
    flush_end(d);
    dead_set(d, false);
    mem_free(d->diag);
    mem_free(d);
}

void dest_diag(struct dest *d, slice diag)
{
    mem_free(d->diag);
    d->diag = diag.len != 0 ? mem_slice_str(slice_sub(diag, 0, DIAG_KEPT)) : NULL;
}

/* --- where it belongs --------------------------------------------------------------------------------------------- */

static bool has_work(const struct dest *d)
{
    return d->count != 0 || d->has_more;
}

static bool is_idle(const struct dest *d)
{
    return !has_work(d) && d->due_ms == 0 && d->jobs == 0 && d->active == 0;
}

static unsigned jobs_limit(const struct dest *d)
{
    const struct channel *c = d->channel;

    if (c->binding->type->one_job_per_host || d->is_dead || d->is_slow)
        return 1;
    return d->concurrency < c->conf->host_jobs ? d->concurrency : c->conf->host_jobs;
}

/* More waits than its jobs are enough for. */
static bool backlog_exceeds(const struct dest *d, unsigned jobs)
{
    return d->has_more || d->count + d->active > (uint64_t)jobs * d->channel->conf->threaddepth;
}

static bool may_run(const struct dest *d, int64_t now_ms)
{
    const struct channel *c = d->channel;

    if (c->binding == NULL || c->conf == NULL || !has_work(d) || d->not_before_ms > now_ms)
        return false;
    return d->jobs == 0 || (d->jobs < jobs_limit(d) && backlog_exceeds(d, d->jobs));
}

static void wake_set(struct scheduler *s, struct dest *d, int64_t now_ms)
{
    int64_t at = 0;

    if (has_work(d) && d->not_before_ms > now_ms) {
        at = d->not_before_ms;
    } else if (!d->has_more && d->due_ms != 0) {
        at = now_ms + (d->due_ms - wall_now(s));
        at = at > now_ms ? at : now_ms;
        at = at > d->not_before_ms ? at : d->not_before_ms;
    } else if (is_idle(d)) {
        at = now_ms + IDLE_MS;
    }
    if (at != 0)
        heap_update(&s->wakes, &d->wake, at);
    else
        heap_remove(&s->wakes, &d->wake);
}

void dest_place(struct scheduler *s, struct dest *d)
{
    int64_t now_ms = mono_now(s);
    bool runs = may_run(d, now_ms);

    if (runs && !list_is_linked(&d->ring))
        list_push_back(&d->channel->ready[d->is_slow], &d->ring);
    else if (!runs)
        list_remove(&d->ring);
    if (d->count == 0 && d->jobs == 0 && d->cap != 0)
        view_drop(s, d);
    channel_place(d->channel);
    wake_set(s, d, now_ms);
    scheduler_again(s);
}

void dest_woken(struct scheduler *s, struct dest *d)
{
    if (is_idle(d)) {
        dest_free(s, d);
        return;
    }
    if (d->due_ms != 0 && d->due_ms <= wall_now(s)) {
        d->due_ms = 0;
        d->has_more = true;
    }
    dest_place(s, d);
}

void dest_due(struct scheduler *s, struct dest *d, int64_t due_ms)
{
    if (due_ms <= wall_now(s))
        d->has_more = true;
    else if (d->due_ms == 0 || due_ms < d->due_ms)
        d->due_ms = due_ms;
    dest_place(s, d);
}

void dest_flush(struct scheduler *s, struct dest *d)
{
    if (d->flushed == NULL) {
        d->flushed = mem_alloc(sizeof *d->flushed);
        idmap_init(d->flushed);
    }
    d->has_more = true;
    d->not_before_ms = 0;
    d->pauses = 0;
    dest_place(s, d);
}

/* --- senders ------------------------------------------------------------------------------------------------------ */

static uint32_t sender_hash(struct scheduler *s, uint64_t id)
{
    struct queue_entry e = { 0 };
    ssize_t at;
    slice key;

    arena_reset(&s->scratch);
    if (!queue_entry_get(s->queue, NULL, id, &s->scratch, &e))
        return 1;
    key = e.sender;
    at = slice_rfind_byte(key, '@');
    if (e.user.len != 0)
        key = e.user;
    else if (at >= 0)
        key = slice_from(key, (size_t)at + 1);
    return (uint32_t)slice_hash_nocase(key, 0) | 1u;
}

/* Whether a comes before b. */
static bool comes_before(const struct waiting *a, const struct waiting *b)
{
    if (a->priority != b->priority)
        return a->priority < b->priority;
    if (a->turn != b->turn)
        return (int32_t)(a->turn - b->turn) < 0;
    if (a->due_ms != b->due_ms)
        return a->due_ms < b->due_ms;
    return a->id < b->id;
}

/* One turn behind the last entry in view of the same sender; of a sender without any: the present turn. */
static void turn_set(struct scheduler *s, const struct dest *d, unsigned from, struct waiting *w)
{
    w->turn = d->turn;
    if (w->sender == 0)
        w->sender = sender_hash(s, w->id);
    for (unsigned i = from; i < d->count; i++) {
        const struct waiting *o = &d->view[i];

        if (o->sender == w->sender && o->priority == w->priority && (int32_t)(o->turn + 1 - w->turn) > 0)
            w->turn = o->turn + 1;
    }
}

/* The view has grown so long that senders take turns: give all of them theirs, from the next one on. */
static void turns_begin(struct scheduler *s, struct dest *d)
{
    for (unsigned i = d->count; i-- > 0;)
        turn_set(s, d, i + 1, &d->view[i]);
    for (unsigned i = 1; i < d->count; i++) { /* nearly sorted: insertion */
        struct waiting w = d->view[i];
        unsigned k = i;

        for (; k > 0 && comes_before(&d->view[k - 1], &w); k--)
            d->view[k] = d->view[k - 1];
        d->view[k] = w;
    }
}

/* --- view --------------------------------------------------------------------------------------------------------- */

static void view_room(struct dest *d, unsigned cap)
{
    if (cap <= d->cap)
        return;
    cap = cap < 4 ? 4 : cap;
    cap = cap < d->cap * 2u ? d->cap * 2u : cap;
    cap = cap < SCHEDULER_VIEW ? cap : SCHEDULER_VIEW;
    d->view = mem_realloc(d->view, cap * sizeof *d->view);
    d->cap = (uint16_t)cap;
}

static struct waiting waiting_of(const struct dest *d, const struct queue_brief *b)
{
    return (struct waiting){ .id = b->id, .due_ms = b->due_ms, .bytes = b->bytes, .turn = d->turn,
                             .priority = b->priority };
}

static void view_put(struct scheduler *s, struct dest *d, const struct waiting *w)
{
    unsigned at = 0;

    view_room(d, d->count + 1u);
    while (at < d->count && comes_before(w, &d->view[at]))
        at++; /* those that come later stand in front; a new one is nearly always the first of them */
    memmove(&d->view[at + 1], &d->view[at], (d->count - at) * sizeof *d->view);
    d->view[at] = *w;
    view_resize(s, d, d->count + 1u);
}

/* One more that came while others wait that are not in view, or too many: only if its turn is before the last one's. */
static void view_press(struct scheduler *s, struct dest *d, struct waiting *w)
{
    d->has_more = true;
    if (d->count == 0)
        return;
    if (d->view[0].sender == 0)
        turns_begin(s, d);
    turn_set(s, d, 0, w);
    if (!comes_before(w, &d->view[0]))
        return;
    if (d->count == SCHEDULER_VIEW) {
        memmove(d->view, d->view + 1, (d->count - 1u) * sizeof *d->view);
        view_resize(s, d, d->count - 1u);
    }
    view_put(s, d, w);
}

/* One more behind the others, none of which waits out of view. Either all in view have their turns, or none. */
static void view_add(struct scheduler *s, struct dest *d, struct waiting *w)
{
    if (d->count >= SCHEDULER_FAIR_AT && d->view[0].sender == 0)
        turns_begin(s, d);
    if (d->count != 0 && d->view[0].sender != 0)
        turn_set(s, d, 0, w);
    view_put(s, d, w);
}

static bool is_in_view(const struct dest *d, uint64_t id)
{
    for (unsigned i = 0; i < d->count; i++)
        if (d->view[i].id == id)
            return true;
    return false;
}

void dest_ready(struct scheduler *s, struct dest *d, const struct queue_brief *b)
{
    struct waiting w = waiting_of(d, b);

    if (b->due_ms > wall_now(s)) {
        dest_due(s, d, b->due_ms);
        return;
    }
    /* What was in view once may be on its way, or already be there: the tables know better. */
    if (b->id <= d->seen_id && !is_in_view(d, b->id))
        d->has_more = true;
    else if (d->is_dead || s->view_total >= VIEW_TOTAL_MAX)
        d->has_more = true;
    else if (b->id > d->seen_id && (d->has_more || d->count == SCHEDULER_VIEW))
        view_press(s, d, &w);
    else if (b->id > d->seen_id)
        view_add(s, d, &w);
    if (b->id > d->seen_id)
        d->seen_id = b->id;
    dest_place(s, d);
}

void dest_gone(struct scheduler *s, struct dest *d, uint64_t id)
{
    for (unsigned i = 0; i < d->count; i++) {
        if (d->view[i].id != id)
            continue;
        memmove(&d->view[i], &d->view[i + 1], (d->count - i - 1u) * sizeof *d->view);
        view_resize(s, d, d->count - 1u);
        break;
    }
    dest_place(s, d);
}

static bool was_flushed(void *arg, uint64_t id)
{
    const struct dest *d = arg;

    return idmap_get(d->flushed, id) != NULL;
}

/* What the tables have; the view is empty. */
static void view_fill(struct scheduler *s, struct dest *d)
{
    struct queue_brief found[SCHEDULER_VIEW];
    unsigned max = d->is_dead ? 1 : SCHEDULER_VIEW, n = 0;
    int64_t now_ms, next_ms = 0;

    if (d->flushed != NULL) {
        n = queue_due(s->queue, d->id, FLUSH_HORIZON, was_flushed, d, found, max, &next_ms);
        if (n == 0 && next_ms <= FLUSH_HORIZON)
            flush_end(d);
    }
    if (d->flushed == NULL) {
        now_ms = wall_now(s);
        n = queue_due(s->queue, d->id, now_ms, NULL, NULL, found, max, &next_ms);
        d->has_more = next_ms != 0 && next_ms <= now_ms;
        d->due_ms = d->has_more ? 0 : next_ms;
    } else if (n == 0) { /* no reader */
        d->has_more = false;
        d->due_ms = wall_now(s) + PAUSE_MS;
    }
    if (n == 0)
        return;
    view_room(d, n);
    for (unsigned i = 0; i < n; i++) {
        d->view[n - 1 - i] = waiting_of(d, &found[i]);
        if (found[i].id > d->seen_id)
            d->seen_id = found[i].id;
    }
    view_resize(s, d, n);
    if (n > SCHEDULER_FAIR_AT)
        turns_begin(s, d);
}

bool dest_take(struct scheduler *s, struct dest *d, struct queue_brief *out)
{
    bool may_look = true;

    for (;;) {
        struct waiting w;

        if (d->count == 0 && d->has_more && may_look) {
            view_fill(s, d);
            may_look = false;
        }
        if (d->count == 0)
            return false;
        w = d->view[d->count - 1];
        view_resize(s, d, d->count - 1u);
        if ((int32_t)(w.turn - d->turn) > 0)
            d->turn = w.turn;
        if (!queue_mark_active(s->queue, w.id, true))
            continue; /* it is under way */
        d->active++;
        *out = (struct queue_brief){ w.id, d->id, w.due_ms, w.bytes, w.priority };
        return true;
    }
}

void dest_released(struct scheduler *s, struct dest *d, uint64_t id, bool put_back)
{
    queue_mark_active(s->queue, id, false);
    ASSERT(d->active > 0);
    d->active--;
    if (put_back)
        d->has_more = true;
    else if (d->flushed != NULL && idmap_count(d->flushed) < FLUSHED_MAX)
        idmap_put(d->flushed, id, d);
    else
        flush_end(d);
}

/* --- how it behaves ----------------------------------------------------------------------------------------------- */

void dest_slow(struct scheduler *s UNUSED, struct dest *d, bool is_slow)
{
    if (d->is_slow == is_slow)
        return;
    list_remove(&d->ring); /* it goes into the other one */
    d->is_slow = is_slow;
}

void dest_alive(struct scheduler *s, struct dest *d)
{
    d->pauses = 0;
    if (!d->is_dead)
        return;
    dead_set(d, false);
    d->failures = 0;
    d->not_before_ms = 0;
    dest_diag(d, SLICE_NONE);
    diag_info("queue", "%s: %.*s can be reached again", d->channel->name, SLICE_ARG(dest_host(d)));
    dest_place(s, d);
}

void dest_success(struct scheduler *s, struct dest *d)
{
    dest_alive(s, d);
    dest_slow(s, d, false);
    if (d->channel->conf == NULL || mono_now(s) < d->grow_after_ms)
        return;
    if (d->concurrency < d->channel->conf->host_jobs && backlog_exceeds(d, d->concurrency))
        d->concurrency++;
}

void dest_unreachable(struct scheduler *s, struct dest *d, bool was_probe)
{
    int64_t wait_s, max_s = s->conf->dead_retry_max_s;

    flush_end(d);
    d->concurrency = 1;
    view_drop(s, d);
    if (d->is_dead && !was_probe) /* another job of before found the same */
        return;
    if (!d->is_dead)
        counter_add(&scheduler_counters[SC_COLLAPSES], 1);
    dead_set(d, true);
    wait_s = (int64_t)s->conf->dead_retry_min_s << d->failures;
    d->failures = (uint8_t)(d->failures < FAILURES_MAX ? d->failures + 1u : FAILURES_MAX);
    d->not_before_ms = mono_now(s) + (wait_s < max_s ? wait_s : max_s) * 1000;
}

void dest_limited(struct scheduler *s, struct dest *d)
{
    d->concurrency = d->jobs > 1 ? d->jobs : 1;
    d->grow_after_ms = mono_now(s) + GROW_PAUSE_MS;
}

void dest_pause(struct scheduler *s, struct dest *d)
{
    int64_t until_ms = mono_now(s) + (PAUSE_MS << d->pauses);

    d->pauses = (uint8_t)(d->pauses < PAUSES_MAX ? d->pauses + 1u : PAUSES_MAX);
    if (until_ms > d->not_before_ms)
        d->not_before_ms = until_ms;
}
