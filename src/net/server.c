/* Workers and what they listen on. The main thread owns struct net_server; what a worker's thread touches (its struct
 * worker, its acceptors) it changes only by posted tasks. */
#include "net/server.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"
#include "net/server_internal.h"

#define FAREWELL_MS 1000 /* for the last words after the grace */
#define STACK_BYTES (256u * 1024)

static unsigned cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* Descriptors are what limits a mail server first: take all that we may have. */
static void raise_files_limit(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
}

static int tls_load(struct net_server *n, struct conf_set *conf, struct tls_context **out, struct err *err)
{
    const struct tls_conf *tc = conf_section(conf, CONF_TLS);
    struct tls_setup setup = { .conf = tc, .dir = n->dir, .spawner = n->setup.spawner, .old = n->tls };
    struct err why = ERR_INIT;

    *out = NULL;
    if (tc == NULL)
        return 0;
    *out = tls_context_new(&setup, &why);
    if (*out != NULL)
        return 0;
    if (why.kind == ERR_NOTFOUND && tc->certificate.len == 0 && tc->key.len == 0 && tc->sni.count == 0) {
        diag_warn("net", "there is no TLS certificate, so TLS is not offered: %s", why.text);
        return 0;
    }
    if (err != NULL)
        *err = why;
    return err_prefix(err, "TLS");
}

int net_server_new(struct net_server **out, const struct net_setup *setup, struct err *err)
{
    const struct net_conf *nc = conf_section(setup->conf, CONF_NET);
    struct net_server *n = mem_alloc(sizeof *n);

    *out = NULL;
    n->setup = *setup;
    n->dir = mem_strdup(setup->dir != NULL ? setup->dir : ".");
    n->conf = setup->conf;
    snap_ref(&n->conf->snap);
    n->limits = net_limits_new();
    list_init(&n->places);
    list_init(&n->gone);
    pthread_mutex_init(&n->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&n->cond, &attr);
    pthread_condattr_destroy(&attr);
    if (tls_load(n, n->conf, &n->tls, err) < 0)
        goto failed;
    unsigned count = nc != NULL && nc->reactors > 0 ? nc->reactors : cores();
    if (count > WORKERS_MAX)
        count = WORKERS_MAX;
    n->workers = mem_alloc_array(count, sizeof *n->workers);
    for (unsigned i = 0; i < count; i++) {
        struct server_worker *sw = &n->workers[i];
        char name[16];
        snprintf(name, sizeof name, "worker-%u", i);
        struct reactor *r = reactor_new(name, setup->clock, err);
        if (r == NULL)
            goto failed;
        sw->server = n;
        list_init(&sw->acceptors);
        worker_init(&sw->worker, &(struct worker_setup){ .reactor = r,
                                                         .helpers = setup->helpers,
                                                         .conf = n->conf,
                                                         .tls = n->tls,
                                                         .limits = n->limits,
                                                         .index = i });
        n->worker_count = i + 1;
    }
    *out = n;
    return 0;
failed:
    net_server_destroy(&n);
    return -1;
}

void net_server_protocol(struct net_server *n, const char *protocol_name, const struct protocol *p, void *service)
{
    ASSERT(n->protocol_count < ARRAY_LEN(n->protocols) && !n->is_started);
    n->protocols[n->protocol_count++] = (struct served_protocol){ slice_str(protocol_name), p, service };
}

static void *worker_main(void *arg)
{
    struct server_worker *sw = arg;

    reactor_run(sw->worker.reactor);
    return NULL;
}

int net_server_start(struct net_server *n, struct err *err)
{
    struct place_plan plan;

    raise_files_limit();
    if (places_plan(n, n->conf, &plan, err) < 0)
        return -1;
    n->is_started = true;
    places_apply(n, &plan); /* tasks wait until the threads run */
    for (unsigned i = 0; i < n->worker_count; i++) {
        struct server_worker *sw = &n->workers[i];
        reactor_heartbeat(sw->worker.reactor, true);
        if (i == 0)
            memory_watch_start(n);
        if (thread_start(&sw->thread, reactor_name(sw->worker.reactor), STACK_BYTES, worker_main, sw, err) < 0)
            return -1; /* net_server_stop ends those that run */
    }
    return 0;
}

int net_server_reload(struct net_server *n, struct conf_set *conf, struct err *err)
{
    struct tls_context *tls = NULL;
    struct place_plan plan;

    if (tls_load(n, conf, &tls, err) < 0)
        return -1;
    if (places_plan(n, conf, &plan, err) < 0) {
        tls_context_unref(&tls);
        return -1;
    }
    snap_ref(&conf->snap);
    snap_unref(&n->conf->snap);
    n->conf = conf;
    tls_context_unref(&n->tls);
    n->tls = tls;
    for (unsigned i = 0; i < n->worker_count; i++)
        task_conf(&n->workers[i], conf, tls);
    places_apply(n, &plan);
    return 0;
}

/* --- stopping ----------------------------------------------------------------------------------------------------- */

static void on_worker_idle(void *arg)
{
    struct server_worker *sw = arg;
    struct net_server *n = sw->server;

    worker_on_idle(&sw->worker, NULL, NULL);
    pthread_mutex_lock(&n->lock);
    n->idle_count++;
    pthread_cond_signal(&n->cond);
    pthread_mutex_unlock(&n->lock);
}

static void on_stop(struct post *p)
{
    struct stop_post *sp = CONTAINER_OF(p, struct stop_post, post);
    struct server_worker *sw = sp->sw;

    switch (sp->how) {
    case STOP_DRAIN:
        acceptors_close(sw);
        if (sw->worker.index == 0)
            memory_watch_stop(sw->server);
        worker_stop(&sw->worker);
        worker_on_idle(&sw->worker, on_worker_idle, sw);
        break;
    case STOP_FAREWELL:
        worker_cut(&sw->worker, true);
        break;
    case STOP_CUT:
        worker_cut(&sw->worker, false);
        break;
    }
}

static void stop_post_all(struct net_server *n, enum stop_how how)
{
    for (unsigned i = 0; i < n->worker_count; i++) {
        struct server_worker *sw = &n->workers[i];
        if (!sw->thread.started)
            continue;
        sw->stop[how].how = how;
        sw->stop[how].sw = sw;
        reactor_post(sw->worker.reactor, &sw->stop[how].post, on_stop);
    }
}

static unsigned running_count(const struct net_server *n)
{
    unsigned count = 0;

    for (unsigned i = 0; i < n->worker_count; i++)
        count += n->workers[i].thread.started != 0;
    return count;
}

void deadline_after(struct timespec *ts, uint32_t ms)
{
    clock_gettime(CLOCK_MONOTONIC, ts);
    ts->tv_sec += ms / 1000;
    ts->tv_nsec += (long)(ms % 1000) * 1000000;
    if (ts->tv_nsec >= 1000000000) {
        ts->tv_sec++;
        ts->tv_nsec -= 1000000000;
    }
}

static bool wait_idle(struct net_server *n, uint32_t ms)
{
    struct timespec until;
    bool is_idle;

    deadline_after(&until, ms);
    pthread_mutex_lock(&n->lock);
    while (n->idle_count < running_count(n)) {
        if (pthread_cond_timedwait(&n->cond, &n->lock, &until) != 0)
            break;
    }
    is_idle = n->idle_count >= running_count(n);
    pthread_mutex_unlock(&n->lock);
    return is_idle;
}

void net_server_stop(struct net_server *n, uint32_t grace_ms)
{
    if (!n->is_started)
        return;
    n->is_started = false;
    stop_post_all(n, STOP_DRAIN);
    if (!wait_idle(n, grace_ms)) {
        diag_info("net", "closing %u connections at the end of the grace", net_limits_count(n->limits));
        stop_post_all(n, STOP_FAREWELL);
        if (!wait_idle(n, FAREWELL_MS))
            stop_post_all(n, STOP_CUT);
        wait_idle(n, FAREWELL_MS);
    }
    for (unsigned i = 0; i < n->worker_count; i++) {
        if (n->workers[i].thread.started)
            reactor_stop(n->workers[i].worker.reactor);
        thread_join(&n->workers[i].thread);
    }
    places_unlink(n);
}

void net_server_destroy(struct net_server **np)
{
    struct net_server *n = *np;

    if (n == NULL)
        return;
    net_server_stop(n, 0);
    for (unsigned i = 0; i < n->worker_count; i++) {
        acceptors_close(&n->workers[i]); /* of a start that failed half-way */
        reactor_destroy(&n->workers[i].worker.reactor);
        worker_free(&n->workers[i].worker);
    }
    places_free(n);
    mem_free(n->workers);
    tls_context_unref(&n->tls);
    if (n->conf != NULL)
        snap_unref(&n->conf->snap);
    net_limits_destroy(&n->limits);
    pthread_cond_destroy(&n->cond);
    pthread_mutex_destroy(&n->lock);
    mem_free(n->bound);
    mem_free(n->dir);
    mem_free(n);
    *np = NULL;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

unsigned net_server_workers(const struct net_server *n)
{
    return n->worker_count;
}

struct worker *net_server_worker(struct net_server *n, unsigned i)
{
    return &n->workers[i].worker;
}

unsigned net_server_sessions_open(const struct net_server *n)
{
    return net_limits_count(n->limits);
}

int64_t net_server_stalled_ms(const struct net_server *n)
{
    const int64_t now = clock_mono_ms(n->setup.clock);
    int64_t most = 0;

    for (unsigned i = 0; i < n->worker_count; i++) {
        const int64_t ago = now - reactor_last_turn_ms(n->workers[i].worker.reactor);
        if (ago > most)
            most = ago;
    }
    return most;
}
