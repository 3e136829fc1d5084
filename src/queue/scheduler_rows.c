/* scheduler_rows.c - the list of destinations after a start, and rows for people. */
#include <errno.h>
#include <time.h>

#include "queue/scheduler_internal.h"

#define BATCH_DESTS 100u
#define ASK_WAIT_S 1
#define COUNT_DUE_MAX 1000u  /* of one destination */
#define COUNT_DUE_DESTS 100u /* destinations for which the tables are asked */

/* --- after a start ------------------------------------------------------------------------------------------------ */

struct batch { /* from the helper to the scheduler */
    struct post post;
    struct scheduler *s;
    struct arena mem;
    unsigned count;
    struct queue_dest dests[BATCH_DESTS];
};

static void on_batch(struct post *p)
{
    struct batch *b = CONTAINER_OF(p, struct batch, post);

    for (unsigned i = 0; i < b->count; i++) {
        const struct queue_dest *d = &b->dests[i];

        dest_due(b->s, dest_get(b->s, d->dest, d->channel, d->host), d->next_due_ms);
    }
    arena_free(&b->mem);
    mem_free(b);
}

struct loading {
    struct scheduler *s;
    struct batch *batch;
};

static void batch_send(struct loading *l)
{
    if (l->batch != NULL)
        reactor_post(l->s->reactor, &l->batch->post, on_batch);
    l->batch = NULL;
}

static bool load_dest(void *arg, const struct queue_dest *d)
{
    struct loading *l = arg;
    struct queue_dest *out;

    if (d->next_due_ms == 0)
        return !atomic_load(&l->s->is_stopping); /* all is held */
    if (l->batch == NULL) {
        l->batch = mem_alloc(sizeof *l->batch);
        l->batch->s = l->s;
        arena_init(&l->batch->mem, 4096);
    }
    out = &l->batch->dests[l->batch->count++];
    *out = *d;
    out->channel = slice_dup(&l->batch->mem, d->channel);
    out->host = slice_dup(&l->batch->mem, d->host);
    if (l->batch->count == BATCH_DESTS)
        batch_send(l);
    return !atomic_load(&l->s->is_stopping);
}

static void load_run(struct job *job)
{
    struct loading l = { .s = CONTAINER_OF(job, struct scheduler, load) };

    queue_dests(l.s->queue, load_dest, &l);
    batch_send(&l);
}

static void load_done(struct job *job)
{
    struct scheduler *s = CONTAINER_OF(job, struct scheduler, load);

    s->is_loading = false;
    if (s->run_after_load)
        run_matching(s, SLICE_NONE, SLICE_NONE);
    atomic_fetch_sub(&s->inflight, 1);
}

void load_start(struct scheduler *s)
{
    s->is_loading = true;
    atomic_fetch_add(&s->inflight, 1);
    s->load = (struct job){ .run = load_run, .done = load_done, .reactor = s->reactor };
    if (s->setup.helpers != NULL && pool_submit(s->setup.helpers, &s->load))
        return;
    load_run(&s->load);
    load_done(&s->load);
}

/* --- asking the scheduler's thread -------------------------------------------------------------------------------- */

struct ask {
    struct post post;
    pthread_mutex_t lock; /* lock rank 55: refs, is_done */
    pthread_cond_t cond;
    unsigned refs; /* asker and scheduler */
    bool is_done;
    struct scheduler *s;
    void (*fill)(struct scheduler *s, struct ask *a);
    void *rows;
    size_t count;
};

static void ask_unref(struct ask *a)
{
    bool is_last;

    pthread_mutex_lock(&a->lock);
    is_last = --a->refs == 0;
    pthread_mutex_unlock(&a->lock);
    if (!is_last)
        return;
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->cond);
    mem_free(a->rows);
    mem_free(a);
}

static void on_ask(struct post *p)
{
    struct ask *a = CONTAINER_OF(p, struct ask, post);

    a->fill(a->s, a);
    pthread_mutex_lock(&a->lock);
    a->is_done = true;
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->lock);
    ask_unref(a);
}

static bool ask_wait(struct ask *a)
{
    struct timespec until;
    bool is_done;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &until); /* of the machine: a test's clock stands still */
    until.tv_sec += ASK_WAIT_S;
    pthread_mutex_lock(&a->lock);
    while (!a->is_done && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&a->cond, &a->lock, &until);
    is_done = a->is_done;
    pthread_mutex_unlock(&a->lock);
    return is_done;
}

/* The answer, to be given back with ask_unref, or NULL. */
static struct ask *ask(struct scheduler *s, void (*fill)(struct scheduler *s, struct ask *a))
{
    struct ask *a = mem_alloc(sizeof *a);
    pthread_condattr_t attr;

    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->cond, &attr);
    pthread_condattr_destroy(&attr);
    a->refs = 2;
    a->s = s;
    a->fill = fill;
    if (reactor_is_current(s->reactor))
        on_ask(&a->post);
    else
        reactor_post(s->reactor, &a->post, on_ask);
    if (ask_wait(a))
        return a;
    ask_unref(a);
    return NULL;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

struct dest_shot {
    uint64_t id;
    uint32_t delivered, failed, active;
    uint16_t count, jobs, concurrency;
    bool is_dead, is_slow, has_more, is_flushed;
    int64_t not_before_ms; /* wall */
    char diag[200];
};

static void dest_shoot(const struct dest *d, int64_t offset_ms, struct dest_shot *shot)
{
    *shot = (struct dest_shot){ .id = d->id, .delivered = d->delivered, .failed = d->failed, .active = d->active,
                                .count = d->count, .jobs = d->jobs, .concurrency = d->concurrency,
                                .is_dead = d->is_dead, .is_slow = d->is_slow, .has_more = d->has_more,
                                .is_flushed = d->flushed != NULL,
                                .not_before_ms = d->not_before_ms != 0 ? d->not_before_ms + offset_ms : 0 };
    if (d->diag != NULL)
        snprintf(shot->diag, sizeof shot->diag, "%s", d->diag);
}

static void dests_fill(struct scheduler *s, struct ask *a)
{
    struct dest_shot *shots = mem_alloc_array(idmap_count(&s->dests) + 1, sizeof *shots);
    int64_t offset_ms = wall_now(s) - mono_now(s);
    size_t at = 0;
    void *d;

    while (idmap_next(&s->dests, &at, NULL, &d))
        dest_shoot(d, offset_ms, &shots[a->count++]);
    a->rows = shots;
}

static void name_copy(char *out, size_t bytes, slice name)
{
    snprintf(out, bytes, "%.*s", SLICE_ARG(name));
}

struct merging {
    struct scheduler *s;
    struct idmap shots;
    dest_row_fn *fn;
    void *arg;
    unsigned asked;
    struct queue_brief *due; /* only counted */
};

/* Entries that wait, of those neither held nor active: in view, or else due in the tables. */
static uint64_t waiting_count(struct merging *m, const struct queue_dest *q, const struct dest_shot *shot,
                              uint64_t free)
{
    int64_t now_ms = wall_now(m->s);
    unsigned n;

    if (shot == NULL)
        return q->next_due_ms != 0 && q->next_due_ms <= now_ms ? free : 0;
    if (shot->is_flushed)
        return free;
    if (!shot->has_more)
        return shot->count < free ? shot->count : free;
    if (m->asked == COUNT_DUE_DESTS)
        return free;
    m->asked++;
    n = queue_due(m->s->queue, q->dest, now_ms, NULL, NULL, m->due, COUNT_DUE_MAX, NULL);
    return n < free ? n : free;
}

static bool dest_merge(void *arg, const struct queue_dest *q)
{
    struct merging *m = arg;
    const struct dest_shot *shot = idmap_get(&m->shots, q->dest);
    struct dest_row row = { .dest = q->dest, .held = q->held, .oldest_ms = q->oldest_ms, .next_ms = q->next_due_ms };
    uint64_t rest;

    name_copy(row.channel, sizeof row.channel, q->channel);
    name_copy(row.host, sizeof row.host, q->host);
    rest = q->entries - q->held;
    if (shot != NULL) {
        row.active = shot->active < rest ? shot->active : rest;
        row.jobs = shot->jobs;
        row.concurrency = shot->concurrency;
        row.is_dead = shot->is_dead;
        row.is_slow = shot->is_slow;
        row.delivered = shot->delivered;
        row.failed = shot->failed;
        if (row.next_ms != 0 && shot->not_before_ms > row.next_ms)
            row.next_ms = shot->not_before_ms;
        memcpy(row.diag, shot->diag, sizeof row.diag);
    }
    rest -= row.active;
    row.waiting = waiting_count(m, q, shot, rest);
    row.deferred = rest - row.waiting;
    m->fn(m->arg, &row);
    return true;
}

int scheduler_dests(struct scheduler *s, dest_row_fn *fn, void *arg)
{
    struct merging m = { .s = s, .fn = fn, .arg = arg };
    struct ask *a = ask(s, dests_fill);
    struct dest_shot *shots;

    if (a == NULL)
        return -1;
    shots = a->rows;
    idmap_init(&m.shots);
    for (size_t i = 0; i < a->count; i++)
        idmap_put(&m.shots, shots[i].id, &shots[i]);
    m.due = mem_alloc_array(COUNT_DUE_MAX, sizeof *m.due);
    queue_dests(s->queue, dest_merge, &m);
    mem_free(m.due);
    idmap_free(&m.shots);
    ask_unref(a);
    return 0;
}

static void jobs_fill(struct scheduler *s, struct ask *a)
{
    struct job_row *rows = mem_alloc_array((size_t)atomic_load(&s->job_count) + 1, sizeof *rows);

    LIST_FOREACH(&s->jobs, it)
    {
        struct job_state *j = LIST_ENTRY(it, struct job_state, link);
        struct job_row *row = &rows[a->count++];

        *row = (struct job_row){ .id = j->pub.id, .dest = j->pub.dest, .began_ms = j->began_ms,
                                 .entry = atomic_load(&j->current), .entries = atomic_load(&j->open_shown),
                                 .processed = atomic_load(&j->processed), .requeued = atomic_load(&j->requeued),
                                 .is_probe = j->pub.is_probe, .is_stalled = j->is_stalled };
        name_copy(row->channel, sizeof row->channel, j->pub.channel);
        name_copy(row->host, sizeof row->host, j->pub.host);
    }
    a->rows = rows;
}

int scheduler_jobs(struct scheduler *s, job_row_fn *fn, void *arg)
{
    struct ask *a = ask(s, jobs_fill);
    const struct job_row *rows;

    if (a == NULL)
        return -1;
    rows = a->rows;
    for (size_t i = 0; i < a->count; i++)
        fn(arg, &rows[i]);
    ask_unref(a);
    return 0;
}

bool scheduler_is_active(struct scheduler *s, uint64_t entry)
{
    return queue_is_active(s->queue, entry);
}
