#include "net/client_pool.h"

#include <stdio.h>

#include "base/diag.h"
#include "base/mem.h"
#include "net/server_internal.h"

#define STACK_BYTES (256u * 1024)
#define FAREWELL_MS 1000 /* for the last words after the grace */

/* owner: its thread, but for the thread itself and the posts */
struct pool_worker {
    struct worker worker;
    struct client_pool *pool;
    struct thread thread;
    struct pool_stop {
        struct post post;
        struct pool_worker *pw;
        enum stop_how how;
    } stop[STOP_HOWS];
};

struct client_pool {
    struct client_pool_setup setup;
    struct conf_set *conf;
    struct tls_trust *trust;
    struct pool_worker *workers;
    unsigned count;
    bool is_started;
    pthread_mutex_t lock; /* lock rank 35: idle_count */
    pthread_cond_t cond;
    unsigned idle_count;
};

static void *pool_main(void *arg)
{
    struct pool_worker *pw = arg;

    reactor_run(pw->worker.reactor);
    return NULL;
}

int client_pool_new(struct client_pool **out, const struct client_pool_setup *setup, struct err *err)
{
    struct client_pool *p = mem_alloc(sizeof *p);
    const unsigned threads = setup->threads > 0 ? setup->threads : 1;
    pthread_condattr_t attr;

    p->setup = *setup;
    p->conf = CONTAINER_OF(snap_ref(&setup->conf->snap), struct conf_set, snap);
    p->trust = tls_trust_new(conf_section(p->conf, CONF_TLS));
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->cond, &attr);
    pthread_condattr_destroy(&attr);
    p->workers = mem_alloc_array(threads, sizeof *p->workers);
    for (unsigned i = 0; i < threads && i < CLIENT_POOL_THREADS_MAX; i++) {
        struct pool_worker *pw = &p->workers[i];
        char name[16];
        snprintf(name, sizeof name, "%.11s-%u", setup->name, i);
        struct reactor *r = reactor_new(name, setup->clock, err);
        if (r == NULL) {
            client_pool_destroy(&p);
            *out = NULL;
            return -1;
        }
        pw->pool = p;
        worker_init(&pw->worker, &(struct worker_setup){ .reactor = r,
                                                         .helpers = setup->helpers,
                                                         .conf = p->conf,
                                                         .index = WORKERS_MAX + i });
        worker_trust_set(&pw->worker, p->trust);
        p->count = i + 1;
    }
    *out = p;
    return 0;
}

int client_pool_start(struct client_pool *p, struct err *err)
{
    p->is_started = true;
    for (unsigned i = 0; i < p->count; i++) {
        struct pool_worker *pw = &p->workers[i];
        reactor_heartbeat(pw->worker.reactor, true);
        if (thread_start(&pw->thread, reactor_name(pw->worker.reactor), STACK_BYTES, pool_main, pw, err) < 0)
            return -1; /* client_pool_stop ends those that run */
    }
    return 0;
}

/* --- reload ------------------------------------------------------------------------------------------------------- */

struct conf_post {
    struct post post;
    struct pool_worker *pw;
    struct conf_set *conf;
    struct tls_trust *trust;
};

static void on_conf(struct post *post)
{
    struct conf_post *cp = CONTAINER_OF(post, struct conf_post, post);

    worker_conf_set(&cp->pw->worker, cp->conf, NULL);
    worker_trust_set(&cp->pw->worker, cp->trust);
    tls_trust_unref(&cp->trust);
    snap_unref(&cp->conf->snap);
    mem_free(cp);
}

void client_pool_reload(struct client_pool *p, struct conf_set *conf)
{
    snap_ref(&conf->snap);
    snap_unref(&p->conf->snap);
    p->conf = conf;
    tls_trust_unref(&p->trust);
    p->trust = tls_trust_new(conf_section(conf, CONF_TLS)); /* the file may have changed, too */
    for (unsigned i = 0; i < p->count; i++) {
        struct conf_post *cp = mem_alloc(sizeof *cp);
        cp->pw = &p->workers[i];
        cp->conf = CONTAINER_OF(snap_ref(&conf->snap), struct conf_set, snap);
        cp->trust = tls_trust_ref(p->trust);
        reactor_post(cp->pw->worker.reactor, &cp->post, on_conf);
    }
}

/* --- stopping ----------------------------------------------------------------------------------------------------- */

static void on_worker_idle(void *arg)
{
    struct pool_worker *pw = arg;
    struct client_pool *p = pw->pool;

    worker_on_idle(&pw->worker, NULL, NULL);
    pthread_mutex_lock(&p->lock);
    p->idle_count++;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->lock);
}

static void on_stop(struct post *post)
{
    struct pool_stop *ps = CONTAINER_OF(post, struct pool_stop, post);

    switch (ps->how) {
    case STOP_DRAIN:
        worker_stop(&ps->pw->worker);
        worker_on_idle(&ps->pw->worker, on_worker_idle, ps->pw);
        break;
    case STOP_FAREWELL:
        worker_cut(&ps->pw->worker, true);
        break;
    case STOP_CUT:
        worker_cut(&ps->pw->worker, false);
        break;
    }
}

static void stop_post_all(struct client_pool *p, enum stop_how how)
{
    for (unsigned i = 0; i < p->count; i++) {
        struct pool_worker *pw = &p->workers[i];
        if (!pw->thread.started)
            continue;
        pw->stop[how].how = how;
        pw->stop[how].pw = pw;
        reactor_post(pw->worker.reactor, &pw->stop[how].post, on_stop);
    }
}

static bool wait_idle(struct client_pool *p, uint32_t ms)
{
    struct timespec until;
    unsigned running = 0;

    for (unsigned i = 0; i < p->count; i++)
        running += p->workers[i].thread.started != 0;
    deadline_after(&until, ms);
    pthread_mutex_lock(&p->lock);
    while (p->idle_count < running && pthread_cond_timedwait(&p->cond, &p->lock, &until) == 0)
        continue;
    const bool is_idle = p->idle_count >= running;
    pthread_mutex_unlock(&p->lock);
    return is_idle;
}

void client_pool_stop(struct client_pool *p, uint32_t grace_ms)
{
    if (!p->is_started)
        return;
    p->is_started = false;
    stop_post_all(p, STOP_DRAIN);
    if (!wait_idle(p, grace_ms)) {
        diag_info("net", "closing outgoing connections at the end of the grace");
        stop_post_all(p, STOP_FAREWELL);
        if (!wait_idle(p, FAREWELL_MS))
            stop_post_all(p, STOP_CUT);
        wait_idle(p, FAREWELL_MS);
    }
    for (unsigned i = 0; i < p->count; i++) {
        if (p->workers[i].thread.started)
            reactor_stop(p->workers[i].worker.reactor);
        thread_join(&p->workers[i].thread);
    }
}

void client_pool_destroy(struct client_pool **pp)
{
    struct client_pool *p = *pp;

    if (p == NULL)
        return;
    client_pool_stop(p, 0);
    for (unsigned i = 0; i < p->count; i++) {
        /* What was posted and not called yet is called by it, and may still make sessions. */
        struct worker *w = &p->workers[i].worker;
        struct reactor *r = w->reactor;
        while (reactor_turn(r))
            continue;
        worker_cut(w, false);
        while (reactor_turn(r))
            continue;
        reactor_destroy(&r);
        worker_free(w);
    }
    mem_free(p->workers);
    tls_trust_unref(&p->trust);
    snap_unref(&p->conf->snap);
    pthread_cond_destroy(&p->cond);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
    *pp = NULL;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

unsigned client_pool_workers(const struct client_pool *p)
{
    return p->count;
}

struct worker *client_pool_worker(struct client_pool *p, unsigned i)
{
    return &p->workers[i].worker;
}

void client_pool_sessions(struct client_pool *p, session_row_fn *row, void *arg)
{
    struct worker *workers[CLIENT_POOL_THREADS_MAX];

    if (!p->is_started)
        return;
    for (unsigned i = 0; i < p->count; i++)
        workers[i] = &p->workers[i].worker;
    workers_list(workers, p->count, row, arg);
}

int64_t client_pool_stalled_ms(const struct client_pool *p)
{
    const int64_t now = clock_mono_ms(p->setup.clock);
    int64_t most = 0;

    for (unsigned i = 0; i < p->count; i++) {
        const int64_t ago = now - reactor_last_turn_ms(p->workers[i].worker.reactor);
        if (ago > most)
            most = ago;
    }
    return most;
}
