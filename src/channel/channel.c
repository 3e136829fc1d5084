#include "channel/internal.h"

/* --- works -------------------------------------------------------------------------------------------------------- */

bool local_load(struct local_work *w)
{
    if (!queue_entry_get(local_setup(w)->queue, NULL, w->id, &w->mem, &w->entry))
        return false;
    w->outcomes = arena_alloc_array(&w->mem, w->entry.rcpt_count + 1, sizeof *w->outcomes);
    return true;
}

void local_outcome(struct local_work *w, unsigned rcpt, enum queue_rcpt_state state, slice status, slice diag)
{
    ASSERT(w->outcome_count < w->entry.rcpt_count);
    w->outcomes[w->outcome_count++] =
        (struct queue_outcome){ .rcpt = rcpt, .state = (uint8_t)state, .status = status, .diag = diag };
}

static void job_free_if_over(struct local_job *j)
{
    if (j->job == NULL && j->open == 0)
        mem_free(j);
}

static void work_free(struct local_work *w)
{
    struct local_job *j = w->of;

    if (j->kind->drop != NULL)
        j->kind->drop(w);
    arena_free(&w->mem);
    mem_free(w);
    j->open--;
}

static void local_turn(struct local_job *j);

static void on_recorded(struct post *p)
{
    struct local_work *w = CONTAINER_OF(p, struct local_work, post);
    struct local_job *j = w->of;

    if (j->kind->recorded != NULL)
        j->kind->recorded(w, w->result);
    work_free(w);
    if (j->job != NULL)
        local_turn(j);
    else
        job_free_if_over(j);
}

/* On the scheduler's thread. */
static void on_result(void *arg, enum queue_result result)
{
    struct local_work *w = arg;

    w->result = result;
    reactor_post(w->of->service->reactor, &w->post, on_recorded);
}

void local_give(struct local_work *w)
{
    struct local_job *j = w->of;
    struct job_result r = {
        .entry = w->id,
        .outcomes = w->outcomes,
        .outcome_count = w->outcome_count,
        .not_tried = w->not_tried,
        .retry_ms = w->retry_ms,
        .where = j->job->channel,
        .deliver = w->deliver,
        .deliver_arg = w,
        .deliver_bytes = w->deliver_bytes,
        .done = on_result,
        .arg = w,
    };

    j->is_busy = false;
    job_result(j->job, &r);
    local_turn(j);
}

void local_skip(struct local_work *w)
{
    struct local_job *j = w->of;

    j->is_busy = false;
    work_free(w);
    local_turn(j);
}

/* --- jobs --------------------------------------------------------------------------------------------------------- */

static void work_begin(struct local_job *j)
{
    struct local_work *w = mem_alloc(j->kind->work_bytes);

    w->of = j;
    w->id = j->job->entries[j->at++].id;
    arena_init(&w->mem, 1024);
    j->open++;
    j->is_busy = true;
    j->kind->deliver(w);
}


static void job_over(struct local_job *j, enum job_verdict verdict)
{
    struct channel_service *s = j->service;

    job_end(j->job, verdict, SLICE_NONE, SLICE_NONE);
    j->job = NULL;
    list_remove(&j->link);
    if (atomic_fetch_sub(&s->job_count, 1) == 1 && atomic_load(&s->is_stopping))
        reactor_stop(s->reactor);
}

static void on_more(void *arg, unsigned count)
{
    struct local_job *j = arg;

    j->is_asking = false;
    j->at = 0;
    if (count == 0)
        job_over(j, JOB_OK);
    if (j->job != NULL)
        local_turn(j);
    else
        job_free_if_over(j);
}

/* Go on as far as possible. Works that end at once come back here: then the loop below us goes on. */
static void local_turn(struct local_job *j)
{
    if (j->is_turning)
        return;
    j->is_turning = true;
    while (j->job != NULL && !j->is_busy && !j->is_asking && j->open < LOCAL_OPEN_MAX) {
        if (atomic_load(&j->service->is_stopping)) {
            job_over(j, JOB_STOPPED);
        } else if (j->at < j->job->entry_count) {
            work_begin(j);
        } else {
            j->is_asking = true;
            job_more(j->job, LOCAL_OPEN_MAX, j->service->reactor, on_more, j);
        }
    }
    j->is_turning = false;
    job_free_if_over(j);
}

static void on_begin(struct post *p)
{
    struct local_job *j = CONTAINER_OF(p, struct local_job, post);

    list_push_back(&j->service->jobs, &j->link);
    local_turn(j);
}

/* On the scheduler's thread. */
static void local_start(void *context, struct channel_job *job)
{
    const struct local_type *type = context;
    struct local_job *j = mem_alloc(sizeof *j);

    *j = (struct local_job){ .service = type->service, .kind = type->kind, .job = job };
    job->worker = j;
    atomic_fetch_add(&type->service->job_count, 1);
    reactor_post(type->service->reactor, &j->post, on_begin);
}

/* --- bitbucket ---------------------------------------------------------------------------------------------------- */

static void bitbucket_deliver(struct local_work *w)
{
    if (!local_load(w)) {
        local_skip(w);
        return;
    }
    for (unsigned i = 0; i < w->entry.rcpt_count; i++)
        if (w->entry.rcpts[i].state == RCPT_WAITING)
            local_outcome(w, i, RCPT_DELETED, SLICE("2.0.0"), SLICE("thrown away, as the channel says"));
    local_give(w);
}

const struct local_kind bitbucket_kind = { .deliver = bitbucket_deliver, .work_bytes = sizeof(struct local_work) };

/* --- the service -------------------------------------------------------------------------------------------------- */

static const struct channel_type local_types[LOCAL_TYPES] = {
    { .name = "store", .one_job_per_host = true, .start = local_start },
    { .name = "process", .start = local_start },
    { .name = "hold", .start = local_start },
    { .name = "bitbucket", .start = local_start },
};

static void *service_main(void *arg)
{
    reactor_run(arg);
    return NULL;
}

int channel_service_new(struct channel_service **out, const struct channel_setup *setup, struct err *err)
{
    static const struct local_kind *const kinds[LOCAL_TYPES] = { &store_kind, &process_kind, &hold_kind,
                                                                 &bitbucket_kind };
    struct channel_service *s = mem_alloc(sizeof *s);

    s->setup = *setup;
    list_init(&s->jobs);
    for (unsigned i = 0; i < LOCAL_TYPES; i++) {
        s->types[i] = (struct local_type){ s, kinds[i] };
        s->bindings[s->binding_count++] = (struct channel_binding){ &local_types[i], &s->types[i] };
    }
    for (unsigned i = 0; i < setup->other_count && s->binding_count < CHANNEL_TYPES; i++)
        s->bindings[s->binding_count++] = setup->others[i];
    s->reactor = reactor_new("channel", setup->clock, err);
    if (s->reactor != NULL)
        reactor_heartbeat(s->reactor, true);
    if (s->reactor == NULL || thread_start(&s->thread, "channel", 0, service_main, s->reactor, err) < 0) {
        channel_service_destroy(&s);
        return -1;
    }
    *out = s;
    return 0;
}

const struct channel_binding *channel_bindings(const struct channel_service *s, unsigned *count)
{
    *count = s->binding_count;
    return s->bindings;
}

const struct reactor *channel_service_reactor(const struct channel_service *s)
{
    return s->reactor;
}

/* Jobs that wait for something (directory, helpers, the scheduler) end with its answer; the last one stops the loop. */
static void on_stop(struct post *p)
{
    struct channel_service *s = CONTAINER_OF(p, struct channel_service, stop);

    LIST_FOREACH_SAFE(&s->jobs, it)
        local_turn(LIST_ENTRY(it, struct local_job, link));
    if (atomic_load(&s->job_count) == 0)
        reactor_stop(s->reactor);
}

/* What the scheduler still says about results waits in the reactor until it is destroyed. */
void channel_service_stop(struct channel_service *s)
{
    atomic_store(&s->is_stopping, true);
    reactor_post(s->reactor, &s->stop, on_stop);
    thread_join(&s->thread);
}

void channel_service_destroy(struct channel_service **sp)
{
    struct channel_service *s = *sp;

    *sp = NULL;
    if (s == NULL)
        return;
    reactor_destroy(&s->reactor);
    mem_free(s);
}
