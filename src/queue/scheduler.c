#include "queue/scheduler.h"

#include "queue/scheduler_internal.h"

#define BACK_STEP_MS INT64_C(600000) /* of the clock, back: then all is due */
#define STEP_MS INT64_C(2000)        /* what counts as a step */
#define STOP_GRACE_MS 10000u
#define POLL_MS 5 /* while stopping */

#define C(n, what, words) { .name = "queue." n, .text = words, .kind = COUNTER_##what }
struct counter scheduler_counters[SC_COUNT] = {
    [SC_JOBS] = C("jobs", GAUGE, "Jobs that run, now."),
    [SC_JOBS_STARTED] = C("jobs_started", TOTAL, "Jobs started."),
    [SC_STALLED] = C("jobs_stalled", GAUGE, "Jobs whose worker has said nothing for a second, now."),
    [SC_DESTS] = C("dests", GAUGE, "Destinations known to the scheduler, now."),
    [SC_DEAD] = C("dests_dead", GAUGE, "Destinations that cannot be reached, now."),
    [SC_COLLAPSES] = C("collapses", TOTAL, "Destinations that could not be reached any more."),
    [SC_PROBES] = C("probes", TOTAL, "Jobs that probed one of these."),
    [SC_IN_VIEW] = C("in_view", GAUGE, "Due entries in the scheduler's memory, now."),
    [SC_REFUSED] = C("results_refused", TOTAL, "Outcomes of attempts that had to be recorded later: disk, load."),
    [SC_WARNINGS] = C("warnings", TOTAL, "Messages whose senders were warned that they wait."),
    [SC_AGED] = C("aged", TOTAL, "Messages returned for their age without an attempt."),
    [SC_STEPS] = C("clock_steps", TOTAL, "Steps of the clock that were noticed."),
};
#undef C

/* --- the turn ----------------------------------------------------------------------------------------------------- */

static void earlier(int64_t *at, int64_t ms)
{
    if (ms != 0 && ms < *at)
        *at = ms;
}

static void timer_set(struct scheduler *s)
{
    int64_t at = s->tick_ms, now_ms = mono_now(s);
    const struct heap_node *first = heap_min(&s->wakes);

    if (first != NULL)
        earlier(&at, first->key);
    earlier(&at, s->notice_ms);
    earlier(&at, s->retry_ms);
    earlier(&at, jobs_stall(s));
    if (timer_is_active(&s->timer) && s->armed_ms == at)
        return;
    s->armed_ms = at;
    timer_start(&s->timer, at > now_ms ? at - now_ms : 0);
}

static void on_go_on(struct post *p)
{
    struct scheduler *s = CONTAINER_OF(p, struct scheduler, go_on);

    s->goes_on = false;
    scheduler_again(s);
}

static void on_dispatch(struct later *l)
{
    struct scheduler *s = CONTAINER_OF(l, struct scheduler, dispatch);

    jobs_ease(s);
    if (jobs_start(s) && !s->goes_on) {
        s->goes_on = true;
        reactor_post(s->reactor, &s->go_on, on_go_on);
    }
    timer_set(s);
}

void scheduler_again(struct scheduler *s)
{
    reactor_later(s->reactor, &s->dispatch, on_dispatch);
}

/* --- the timer ---------------------------------------------------------------------------------------------------- */

static void wakes_run(struct scheduler *s)
{
    int64_t now_ms = mono_now(s);

    for (unsigned i = 0; i < STARTS_AT_ONCE; i++) {
        struct heap_node *n = heap_min(&s->wakes);

        if (n == NULL || n->key > now_ms)
            return;
        heap_remove(&s->wakes, n);
        dest_woken(s, CONTAINER_OF(n, struct dest, wake));
    }
}

/* Due times are wall times in a heap of monotonic ones: after a step each gets its place anew. */
static void clock_look(struct scheduler *s)
{
    int64_t offset_ms = wall_now(s) - mono_now(s), step_ms = offset_ms - s->offset_ms;
    size_t at = 0;
    void *d;

    s->offset_ms = offset_ms;
    if (step_ms < STEP_MS && step_ms > -STEP_MS)
        return;
    counter_add(&scheduler_counters[SC_STEPS], 1);
    diag_warn("queue", "the clock was set by %+lld s", (long long)(step_ms / 1000));
    s->notice_ms = mono_now(s);
    if (step_ms < -BACK_STEP_MS) {
        run_matching(s, SLICE_NONE, SLICE_NONE);
        return;
    }
    while (idmap_next(&s->dests, &at, NULL, &d))
        dest_place(s, d);
}

static void tick(struct scheduler *s)
{
    s->tick_ms = mono_now(s) + TICK_MS;
    clock_look(s);
    if (!atomic_load(&s->is_stopping)) /* the journal may be closed by now */
        queue_tick(s->queue);
    jobs_revive(s);
}

static void on_timer(struct timer *t)
{
    struct scheduler *s = CONTAINER_OF(t, struct scheduler, timer);
    int64_t now_ms = mono_now(s);

    if (now_ms >= s->tick_ms)
        tick(s);
    if (s->retry_ms != 0 && now_ms >= s->retry_ms && !atomic_load(&s->is_over))
        results_retry(s);
    if (s->notice_ms != 0 && now_ms >= s->notice_ms && !is_blocked(s))
        notices_look(s);
    else if (s->notice_ms != 0 && now_ms >= s->notice_ms)
        s->notice_ms = now_ms + TICK_MS;
    wakes_run(s);
    scheduler_again(s);
}

/* --- what the queue tells: on the committer ----------------------------------------------------------------------- */

struct told {
    struct post post;
    struct scheduler *s;
    uint64_t dest, id;
    bool is_stopped;
    char channel[CHANNEL_NAME_MAX + 1];
    unsigned count;
    struct queue_brief briefs[];
};

static OWNED struct told *told_new(struct scheduler *s, unsigned count)
{
    struct told *t = mem_alloc(sizeof *t + count * sizeof t->briefs[0]);

    t->s = s;
    t->count = count;
    return t;
}

static void on_ready(struct post *p)
{
    struct told *t = CONTAINER_OF(p, struct told, post);
    struct dest *d = NULL;

    for (unsigned i = 0; i < t->count && !atomic_load(&t->s->is_stopping); i++) {
        if (d == NULL || d->id != t->briefs[i].dest)
            d = dest_of_id(t->s, t->briefs[i].dest);
        if (d != NULL)
            dest_ready(t->s, d, &t->briefs[i]);
    }
    mem_free(t);
}

static void tell_ready(void *arg, const struct queue_brief *b, unsigned count)
{
    struct told *t = told_new(arg, count);

    memcpy(t->briefs, b, count * sizeof *b);
    reactor_post(t->s->reactor, &t->post, on_ready);
}

static void on_gone(struct post *p)
{
    struct told *t = CONTAINER_OF(p, struct told, post);
    struct dest *d = idmap_get(&t->s->dests, t->dest);

    if (d != NULL)
        dest_gone(t->s, d, t->id);
    mem_free(t);
}

static void tell_gone(void *arg, uint64_t dest, uint64_t id)
{
    struct told *t = told_new(arg, 0);

    t->dest = dest;
    t->id = id;
    reactor_post(t->s->reactor, &t->post, on_gone);
}

static void on_channel(struct post *p)
{
    struct told *t = CONTAINER_OF(p, struct told, post);
    struct channel *c = channel_get(t->s, slice_str(t->channel));

    c->is_stopped = t->is_stopped;
    channel_place(c);
    scheduler_again(t->s);
    mem_free(t);
}

static void tell_channel(void *arg, slice channel, bool stopped)
{
    struct told *t = told_new(arg, 0);

    channel = slice_sub(channel, 0, CHANNEL_NAME_MAX);
    if (channel.len != 0)
        memcpy(t->channel, channel.ptr, channel.len);
    t->is_stopped = stopped;
    reactor_post(t->s->reactor, &t->post, on_channel);
}

/* --- from other threads ------------------------------------------------------------------------------------------- */

struct order {
    struct post post;
    struct scheduler *s;
    struct conf_set *set;
    char *channel, *host;
};

static void conf_use(struct scheduler *s)
{
    const struct queue_conf *q = s->set != NULL ? conf_section(s->set, CONF_QUEUE) : NULL;
    const struct channels_conf *c = s->set != NULL ? conf_section(s->set, CONF_CHANNELS) : NULL;

    s->conf = q != NULL ? q : &s->default_queue;
    s->channels_conf = c != NULL ? c : &s->default_channels;
}

static void on_reload(struct post *p)
{
    struct order *o = CONTAINER_OF(p, struct order, post);
    struct scheduler *s = o->s;
    struct conf_set *old = s->set;

    s->set = o->set;
    conf_use(s);
    channels_configure(s);
    if (old != NULL)
        snap_unref(&old->snap);
    mem_free(o);
}

void scheduler_reload(struct scheduler *s, struct conf_set *conf)
{
    struct order *o = mem_alloc(sizeof *o);

    o->s = s;
    o->set = conf;
    if (conf != NULL)
        snap_ref(&conf->snap);
    reactor_post(s->reactor, &o->post, on_reload);
}

void run_matching(struct scheduler *s, slice channel, slice host)
{
    size_t at = 0;
    void *value;

    /* What is not known yet cannot be compared: then all of it is run. */
    s->run_after_load = s->is_loading;
    while (idmap_next(&s->dests, &at, NULL, &value)) {
        struct dest *d = value;

        if ((channel.len == 0 || slice_eq(slice_str(d->channel->name), channel)) &&
            (host.len == 0 || slice_eq_nocase(dest_host(d), host)))
            dest_flush(s, d);
    }
}

static void on_run(struct post *p)
{
    struct order *o = CONTAINER_OF(p, struct order, post);

    run_matching(o->s, slice_str(o->channel), slice_str(o->host));
    mem_free(o->channel);
    mem_free(o->host);
    mem_free(o);
}

void scheduler_run(struct scheduler *s, slice channel, slice host)
{
    struct order *o = mem_alloc(sizeof *o);

    o->s = s;
    o->channel = mem_slice_str(channel);
    o->host = mem_slice_str(host);
    reactor_post(s->reactor, &o->post, on_run);
}

struct tally *scheduler_tally(struct scheduler *s)
{
    return s->tally;
}

static uint64_t not_negative(int64_t n)
{
    return n > 0 ? (uint64_t)n : 0;
}

uint64_t scheduler_job_count(const struct scheduler *s)
{
    return not_negative(atomic_load(&s->job_count));
}

uint64_t scheduler_dead_count(const struct scheduler *s UNUSED)
{
    return not_negative(counter_get(&scheduler_counters[SC_DEAD]));
}

const struct reactor *scheduler_reactor(const struct scheduler *s)
{
    return s->reactor;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static void *thread_main(void *arg)
{
    struct scheduler *s = arg;

    reactor_run(s->reactor);
    return NULL;
}

static void on_begin(struct post *p)
{
    struct order *o = CONTAINER_OF(p, struct order, post);
    struct scheduler *s = o->s;

    mem_free(o);
    if (atomic_load(&s->is_stopping))
        return;
    load_start(s);
    scheduler_again(s);
}

static void state_init(struct scheduler *s)
{
    idmap_init(&s->dests);
    heap_init(&s->wakes);
    list_init(&s->channels);
    list_init(&s->pools);
    list_init(&s->jobs);
    list_init(&s->lively);
    list_init(&s->stalled);
    list_init(&s->pressed);
    list_init(&s->refused);
    later_init(&s->dispatch);
    arena_init(&s->scratch, 4096);
    arena_init(&s->defaults, 4096);
    keys_default(&queue_keys, &s->default_queue, &s->defaults);
    channels_conf_read(NULL, NULL, false, &s->default_channels, &s->defaults, NULL, NULL);
    s->retry_wait_ms = TICK_MS;
}

int scheduler_new(struct scheduler **out, const struct scheduler_setup *setup, struct err *err)
{
    struct scheduler *s = mem_alloc(sizeof *s);
    struct queue_watch watch = { .ready = tell_ready, .gone = tell_gone, .channel = tell_channel, .arg = s };
    struct order *begin;

    counter_register(scheduler_counters, SC_COUNT);
    s->setup = *setup;
    s->queue = setup->queue;
    s->clock = setup->clock;
    state_init(s);
    s->types = mem_alloc_array(setup->type_count + 1u, sizeof *s->types);
    if (setup->type_count != 0)
        memcpy(s->types, setup->types, setup->type_count * sizeof *s->types);
    s->reactor = setup->reactor;
    if (s->reactor == NULL)
        s->reactor = s->own_reactor = reactor_new("scheduler", s->clock, err);
    if (s->reactor == NULL)
        goto failed;
    s->tally = setup->tally != NULL ? setup->tally : tally_new();
    s->set = setup->conf;
    if (s->set != NULL)
        snap_ref(&s->set->snap);
    conf_use(s);
    channels_configure(s);
    timer_init(&s->timer, s->reactor, on_timer);
    s->offset_ms = wall_now(s) - mono_now(s);
    s->tick_ms = mono_now(s) + TICK_MS;
    s->notice_ms = mono_now(s);
    queue_watch_set(s->queue, &watch);
    begin = mem_alloc(sizeof *begin);
    begin->s = s;
    reactor_post(s->reactor, &begin->post, on_begin);
    if (s->own_reactor != NULL && thread_start(&s->thread, "scheduler", 0, thread_main, s, err) < 0)
        goto failed;
    *out = s;
    return 0;
failed:
    queue_watch_set(s->queue, &(struct queue_watch){ 0 });
    scheduler_destroy(&s);
    return -1;
}

/* Nothing else would wake this thread: a stop is rare, and short. */
static void wait_a_little(struct scheduler *s)
{
    const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };

    if (s->thread.started == 0)
        while (reactor_turn(s->reactor))
            ;
    nanosleep(&pause, NULL);
}

struct ending {
    struct post post;
    struct scheduler *s;
    _Atomic bool is_done;
};

static void on_give_up(struct post *p)
{
    struct ending *e = CONTAINER_OF(p, struct ending, post);

    results_give_up(e->s);
    atomic_store(&e->is_done, true);
}

/* From here on nothing is asked of the journal. Results that it has, it answers. */
static void over(struct scheduler *s)
{
    struct ending e = { .s = s };

    atomic_store(&s->is_over, true);
    reactor_post(s->reactor, &e.post, on_give_up);
    while (!atomic_load(&e.is_done))
        wait_a_little(s);
}

void scheduler_stop(struct scheduler *s)
{
    uint32_t grace_ms = s->setup.stop_grace_ms != 0 ? s->setup.stop_grace_ms : STOP_GRACE_MS;

    atomic_store(&s->is_stopping, true);
    for (uint32_t waited = 0; s->own_reactor != NULL && waited < grace_ms; waited += POLL_MS) {
        if (atomic_load(&s->job_count) == 0 && atomic_load(&s->inflight) == 0)
            break;
        wait_a_little(s);
    }
    over(s);
}

static void dests_free(struct scheduler *s)
{
    size_t at = 0;
    void *d;

    while (idmap_next(&s->dests, &at, NULL, &d))
        dest_free(s, d);
    idmap_free(&s->dests);
    heap_free(&s->wakes);
}

void scheduler_destroy(struct scheduler **out)
{
    struct scheduler *s = *out;

    if (s == NULL)
        return;
    *out = NULL;
    atomic_store(&s->is_stopping, true);
    if (s->tally != NULL) { /* it was begun */
        if (s->own_reactor == NULL || s->thread.started != 0)
            over(s);
        while (atomic_load(&s->inflight) != 0)
            wait_a_little(s);
        if (s->thread.started != 0)
            reactor_stop(s->reactor);
        thread_join(&s->thread);
        timer_stop(&s->timer);
    }
    reactor_destroy(&s->own_reactor);
    ASSERT(list_is_empty(&s->jobs)); /* the channels' threads end before */
    dests_free(s);
    channels_free(s);
    arena_free(&s->scratch);
    arena_free(&s->defaults);
    if (s->set != NULL)
        snap_unref(&s->set->snap);
    if (s->setup.tally == NULL)
        tally_destroy(&s->tally);
    mem_free(s->types);
    mem_free(s);
}
