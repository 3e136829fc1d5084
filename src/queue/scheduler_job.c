/* scheduler_job.c - pools and channels, which take turns, and the jobs that they start. */
#include "queue/scheduler_internal.h"

/* --- pools -------------------------------------------------------------------------------------------------------- */

static struct pool_state *pool_get(struct scheduler *s, slice name)
{
    struct pool_state *p;

    name = slice_sub(name, 0, CHANNEL_NAME_MAX);
    LIST_FOREACH(&s->pools, it)
    {
        p = LIST_ENTRY(it, struct pool_state, link);
        if (slice_eq(slice_str(p->name), name))
            return p;
    }
    p = mem_alloc(sizeof *p);
    if (name.len != 0)
        memcpy(p->name, name.ptr, name.len);
    p->limit = 1;
    list_init(&p->channels[0]);
    list_init(&p->channels[1]);
    list_push_back(&s->pools, &p->link);
    return p;
}

static uint32_t half_of(const struct pool_state *p)
{
    return p->limit > 1 ? p->limit / 2 : 1;
}

/* Stalled jobs count for half of the limit at most, see scheduler.h. */
static bool has_room(const struct pool_state *p)
{
    uint32_t stalled = p->stalled < half_of(p) ? p->stalled : half_of(p);
    uint64_t most = p->limit > 1 ? (uint64_t)p->limit * SCHEDULER_STALL_FACTOR : 1;

    return p->jobs - p->stalled + stalled < p->limit && p->jobs < most;
}

/* Which ring may start a job: 0, 1, or -1. */
static int ring_choose(struct pool_state *p)
{
    bool can[2] = { !list_is_empty(&p->channels[0]), !list_is_empty(&p->channels[1]) && p->slow < half_of(p) };
    int which;

    if (!has_room(p) || (!can[0] && !can[1]))
        return -1;
    which = can[0] && can[1] ? p->slow_first : can[1];
    p->slow_first = which == 0;
    return which;
}

/* --- channels ----------------------------------------------------------------------------------------------------- */

void channel_place(struct channel *c)
{
    bool can = !c->is_stopped && c->jobs < c->jobs_max;

    for (unsigned k = 0; k < 2; k++) {
        bool wants = can && !list_is_empty(&c->ready[k]);

        if (!wants)
            list_remove(&c->in_pool[k]);
        else if (!list_is_linked(&c->in_pool[k]))
            list_push_back(&c->pool->channels[k], &c->in_pool[k]);
    }
}

static const struct channel_binding *binding_of(const struct scheduler *s, const struct channel_conf *c)
{
    for (unsigned i = 0; c != NULL && i < s->setup.type_count; i++)
        if (slice_eq(slice_str(s->types[i].type->name), c->type))
            return &s->types[i];
    return NULL;
}

/* The pool of the jobs that run is changed with the channel's, so that its numbers stay sums over its channels. */
static void pool_change(struct channel *c, struct pool_state *p)
{
    list_remove(&c->in_pool[0]);
    list_remove(&c->in_pool[1]);
    c->pool = p;
}

static void channel_configure(struct scheduler *s, struct channel *c)
{
    slice pool = SLICE("DEFAULT");

    c->conf = channel_conf_find(s->channels_conf, slice_str(c->name));
    c->binding = binding_of(s, c->conf);
    c->jobs_max = c->conf != NULL && c->conf->maxjobs != 0 ? c->conf->maxjobs : UINT32_MAX;
    c->is_stopped = queue_channel_is_stopped(s->queue, slice_str(c->name));
    if (c->conf != NULL && c->conf->pool.len != 0)
        pool = c->conf->pool;
    if (c->conf == NULL)
        diag_warn("queue", "channel %s is not configured; its messages wait", c->name);
    pool_change(c, pool_get(s, pool));
    channel_place(c);
}

struct channel *channel_get(struct scheduler *s, slice name)
{
    struct channel *c;

    LIST_FOREACH(&s->channels, it)
    {
        c = LIST_ENTRY(it, struct channel, link);
        if (slice_eq(slice_str(c->name), name))
            return c;
    }
    c = mem_alloc(sizeof *c);
    name = slice_sub(name, 0, CHANNEL_NAME_MAX);
    if (name.len != 0)
        memcpy(c->name, name.ptr, name.len);
    for (unsigned k = 0; k < 2; k++) {
        list_init(&c->ready[k]);
        list_init(&c->in_pool[k]);
    }
    list_push_back(&s->channels, &c->link);
    channel_configure(s, c);
    return c;
}

static void pools_recount(struct scheduler *s)
{
    LIST_FOREACH(&s->pools, it)
    {
        struct pool_state *p = LIST_ENTRY(it, struct pool_state, link);
        const struct pool_conf *conf = pool_conf_find(s->channels_conf, slice_str(p->name));

        p->jobs = p->stalled = p->slow = 0;
        p->limit = conf != NULL ? conf->job_limit : 1;
    }
    LIST_FOREACH(&s->jobs, it)
    {
        const struct job_state *j = LIST_ENTRY(it, struct job_state, link);
        struct pool_state *p = j->dest->channel->pool;

        p->jobs++;
        p->stalled += j->is_stalled;
        p->slow += j->is_slow;
    }
}

void channels_configure(struct scheduler *s)
{
    size_t at = 0;
    void *d;

    for (size_t i = 0; i < s->channels_conf->pool_count; i++)
        pool_get(s, s->channels_conf->pools[i].name);
    LIST_FOREACH(&s->channels, it)
        channel_configure(s, LIST_ENTRY(it, struct channel, link));
    pools_recount(s);
    while (idmap_next(&s->dests, &at, NULL, &d))
        dest_place(s, d);
}

void channels_free(struct scheduler *s)
{
    LIST_FOREACH_SAFE(&s->channels, it)
        mem_free(LIST_ENTRY(it, struct channel, link));
    LIST_FOREACH_SAFE(&s->pools, it)
        mem_free(LIST_ENTRY(it, struct pool_state, link));
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

/* As many as there are, up to max. */
static unsigned entries_take(struct scheduler *s, struct dest *d, struct queue_brief **out, unsigned max)
{
    struct queue_brief b;
    unsigned n = 0, cap = 0;

    while (n < max && dest_take(s, d, &b)) {
        if (n == cap) {
            cap = cap * 2 + 1;
            *out = mem_realloc(*out, cap * sizeof **out);
        }
        (*out)[n++] = b;
    }
    return n;
}

static void open_add(struct job_state *j, const struct queue_brief *b, unsigned n)
{
    if (j->open_count + n > j->open_cap) {
        j->open_cap = j->open_count + n;
        j->open = mem_realloc(j->open, j->open_cap * sizeof *j->open);
    }
    for (unsigned i = 0; i < n; i++)
        j->open[j->open_count++] = b[i].id;
    atomic_store(&j->open_shown, j->open_count);
    if (j->open_count != 0)
        atomic_store(&j->current, j->open[0]);
}

static void job_count(struct scheduler *s, struct job_state *j, int delta)
{
    struct channel *c = j->dest->channel;

    j->dest->jobs = (uint16_t)(j->dest->jobs + delta);
    c->jobs += (uint32_t)delta;
    c->pool->jobs += (uint32_t)delta;
    c->pool->slow += j->is_slow ? (uint32_t)delta : 0;
    atomic_fetch_add(&s->job_count, delta);
    counter_add(&scheduler_counters[SC_JOBS], delta);
}

static void job_start(struct scheduler *s, struct dest *d)
{
    struct channel *c = d->channel;
    uint32_t max = c->conf->threaddepth < JOB_ENTRIES_MAX ? c->conf->threaddepth : JOB_ENTRIES_MAX;
    struct queue_brief *entries = NULL;
    struct job_state *j;
    unsigned n = entries_take(s, d, &entries, d->is_dead ? 1 : max);

    if (n == 0)
        return;
    j = mem_alloc(sizeof *j);
    j->pub = (struct channel_job){ .id = ++s->next_job, .dest = d->id, .channel = slice_str(c->name),
                                   .host = dest_host(d), .conf = c->conf, .set = s->set, .is_probe = d->is_dead,
                                   .entries = entries, .entry_count = n };
    if (s->set != NULL)
        snap_ref(&s->set->snap);
    j->s = s;
    j->dest = d;
    j->given = entries;
    j->taken = n;
    j->is_slow = d->is_slow;
    j->began_ms = wall_now(s);
    j->checked_ms = mono_now(s);
    atomic_store(&j->heard_ms, j->checked_ms);
    list_push_back(&s->jobs, &j->link);
    list_push_back(&s->lively, &j->lively);
    list_init(&j->pressed);
    open_add(j, entries, n);
    job_count(s, j, +1);
    counter_add(&scheduler_counters[SC_JOBS_STARTED], 1);
    counter_add(&scheduler_counters[SC_PROBES], d->is_dead);
    tally_add_number(s->tally, slice_str(c->name), TALLY_OUT_ASSOCS, 1);
    c->binding->type->start(c->binding->context, &j->pub);
}

/* A channel that only holds. */
static void all_hold(struct scheduler *s, struct dest *d)
{
    struct queue_brief b;

    for (unsigned i = 0; i < JOB_ENTRIES_MAX && dest_take(s, d, &b); i++)
        entry_hold(s, d, b.id);
}

static void pool_start(struct scheduler *s, struct pool_state *p, unsigned *budget)
{
    int k;

    while (*budget > 0 && (k = ring_choose(p)) >= 0) {
        struct list *in_pool = list_pop_front(&p->channels[k]);
        struct channel *c = LIST_ENTRY(in_pool - k, struct channel, in_pool[0]);
        struct dest *d = LIST_ENTRY(list_pop_front(&c->ready[k]), struct dest, ring);

        --*budget;
        if (c->binding->type->needs_no_host)
            all_hold(s, d);
        else
            job_start(s, d);
        dest_place(s, d); /* to the end of its ring, if it wants more; so does the channel */
    }
}

bool jobs_start(struct scheduler *s)
{
    unsigned budget = STARTS_AT_ONCE;

    if (is_blocked(s) || is_pressed(s))
        return false;
    LIST_FOREACH(&s->pools, it)
        pool_start(s, LIST_ENTRY(it, struct pool_state, link), &budget);
    return budget == 0;
}

/* --- stalling ----------------------------------------------------------------------------------------------------- */

static void stalled_set(struct scheduler *s, struct job_state *j, bool is_stalled)
{
    struct pool_state *p = j->dest->channel->pool;
    uint32_t delta = is_stalled ? 1 : UINT32_MAX;

    if (j->is_stalled == is_stalled)
        return;
    j->is_stalled = is_stalled;
    p->stalled += delta;
    counter_add(&scheduler_counters[SC_STALLED], is_stalled ? 1 : -1);
    list_remove(&j->lively);
    list_push_back(is_stalled ? &s->stalled : &s->lively, &j->lively);
    if (!is_stalled)
        return;
    if (!j->is_slow)
        p->slow++;
    j->is_slow = true;
    dest_slow(s, j->dest, true);
    dest_place(s, j->dest);
}

/* `lively` is in order of checked_ms. A job that was heard since goes to its end; each is looked at once a second. */
int64_t jobs_stall(struct scheduler *s)
{
    int64_t now_ms = mono_now(s);

    while (!list_is_empty(&s->lively)) {
        struct job_state *j = LIST_ENTRY(s->lively.next, struct job_state, lively);
        int64_t heard_ms = atomic_load(&j->heard_ms);

        if (j->checked_ms + SCHEDULER_STALL_MS > now_ms)
            return j->checked_ms + SCHEDULER_STALL_MS;
        if (heard_ms + SCHEDULER_STALL_MS <= now_ms) {
            stalled_set(s, j, true);
            continue;
        }
        j->checked_ms = now_ms;
        list_remove(&j->lively);
        list_push_back(&s->lively, &j->lively);
    }
    return 0;
}

void jobs_revive(struct scheduler *s)
{
    int64_t now_ms = mono_now(s);

    LIST_FOREACH_SAFE(&s->stalled, it)
    {
        struct job_state *j = LIST_ENTRY(it, struct job_state, lively);

        if (atomic_load(&j->heard_ms) + SCHEDULER_STALL_MS <= now_ms)
            continue;
        j->checked_ms = now_ms;
        stalled_set(s, j, false);
    }
}

void job_progress(struct channel_job *job)
{
    struct job_state *j = CONTAINER_OF(job, struct job_state, pub);

    atomic_store_explicit(&j->heard_ms, mono_now(j->s), memory_order_relaxed);
}

/* --- more --------------------------------------------------------------------------------------------------------- */

static void on_more_answer(struct post *p)
{
    struct job_state *j = CONTAINER_OF(p, struct job_state, post);

    mem_free(j->given);
    j->given = j->incoming;
    j->incoming = NULL;
    j->pub.entries = j->given;
    j->pub.entry_count = j->incoming_count;
    open_add(j, j->given, j->incoming_count);
    job_progress(&j->pub);
    j->more_done(j->more_arg, j->incoming_count);
}

/* Whether another destination than d stands there. */
static bool has_other(const struct list *ready, const struct dest *d)
{
    return !list_is_empty(ready) && (ready->next != &d->ring || ready->next->next != ready);
}

static bool others_wait(const struct dest *d, unsigned k)
{
    const struct channel *c = d->channel;
    const struct list *channels = &c->pool->channels[k];

    if (c->jobs >= c->jobs_max)
        return has_other(&c->ready[k], d);
    if (has_room(c->pool) || list_is_empty(channels))
        return false;
    return channels->next != &c->in_pool[k] || channels->next->next != channels || has_other(&c->ready[k], d);
}

/* After its share a job gives way when others wait for one. */
static bool must_give_way(const struct job_state *j)
{
    const struct channel *c = j->dest->channel;

    return c->conf == NULL || c->is_stopped ||
           (j->taken >= c->conf->threaddepth &&
            (others_wait(j->dest, 0) || (c->pool->slow < half_of(c->pool) && others_wait(j->dest, 1))));
}

static void more_answer(struct job_state *j)
{
    struct scheduler *s = j->s;
    unsigned max = j->more_max < JOB_ENTRIES_MAX ? j->more_max : JOB_ENTRIES_MAX;

    j->incoming_count = 0;
    if (!is_blocked(s) && !must_give_way(j) && !j->dest->is_dead && j->dest->not_before_ms <= mono_now(s))
        j->incoming_count = entries_take(s, j->dest, &j->incoming, max);
    j->taken += j->incoming_count;
    dest_place(s, j->dest);
    reactor_post(j->more_reactor, &j->post, on_more_answer);
}

static void on_more(struct post *p)
{
    struct job_state *j = CONTAINER_OF(p, struct job_state, post);

    if (is_pressed(j->s))
        list_push_back(&j->s->pressed, &j->pressed);
    else
        more_answer(j);
}

void jobs_ease(struct scheduler *s)
{
    while (!list_is_empty(&s->pressed) && !is_pressed(s))
        more_answer(LIST_ENTRY(list_pop_front(&s->pressed), struct job_state, pressed));
}

void job_more(struct channel_job *job, unsigned max, struct reactor *reactor, void (*done)(void *arg, unsigned count),
              void *arg)
{
    struct job_state *j = CONTAINER_OF(job, struct job_state, pub);

    job_progress(job);
    j->more_max = max;
    j->more_reactor = reactor;
    j->more_done = done;
    j->more_arg = arg;
    reactor_post(j->s->reactor, &j->post, on_more);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static void verdict_take(struct scheduler *s, struct job_state *j, bool did_nothing)
{
    struct dest *d = j->dest;
    slice diag = slice_of(j->diag, j->diag_len);
    bool is_alone = d->jobs == 0 && j->results == 0;
    bool is_refused = j->verdict == JOB_UNREACHABLE || (j->verdict == JOB_LIMITED && is_alone);

    if (j->verdict != JOB_OK && diag.len != 0)
        dest_diag(d, diag);
    if (is_refused)
        dest_unreachable(s, d, j->pub.is_probe);
    else if (j->verdict == JOB_LIMITED)
        dest_limited(s, d);
    if (is_refused || j->verdict == JOB_STOPPED)
        return;
    if (j->verdict == JOB_OK && !did_nothing)
        dest_alive(s, d);
    else if (d->jobs == 0)
        dest_pause(s, d);
}

static void on_end(struct post *p)
{
    struct job_state *j = CONTAINER_OF(p, struct job_state, post);
    struct scheduler *s = j->s;
    struct dest *d = j->dest;
    bool did_nothing = j->results == 0 && (j->open_count != 0 || j->put_back != 0);
    unsigned i = 0;

    stalled_set(s, j, false);
    list_remove(&j->lively);
    list_remove(&j->link);
    job_count(s, j, -1);
    verdict_take(s, j, did_nothing);
    if (d->is_dead && j->results == 0 && j->open_count != 0 && j->verdict != JOB_STOPPED && j->verdict != JOB_OK)
        result_unreached(s, d, j, j->open[i++]);
    for (; i < j->open_count; i++)
        dest_released(s, d, j->open[i], true);
    dest_place(s, d);
    if (j->pub.set != NULL)
        snap_unref(&j->pub.set->snap);
    mem_free(j->given);
    mem_free(j->open);
    mem_free(j);
}

void job_end(struct channel_job *job, enum job_verdict v, slice status, slice diag)
{
    struct job_state *j = CONTAINER_OF(job, struct job_state, pub);

    status = slice_sub(status, 0, sizeof j->status);
    diag = slice_sub(diag, 0, sizeof j->diag);
    j->verdict = v;
    if (status.len != 0)
        memcpy(j->status, status.ptr, status.len);
    if (diag.len != 0)
        memcpy(j->diag, diag.ptr, diag.len);
    j->status_len = (unsigned)status.len;
    j->diag_len = (unsigned)diag.len;
    reactor_post(j->s->reactor, &j->post, on_end);
}
