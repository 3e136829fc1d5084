#include "reactor/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include "base/mem.h"
#include "reactor/thread.h"

#define THREAD_NAME_BYTES 32

struct helper {
    struct pool *pool;
    struct thread thread;
    char name[THREAD_NAME_BYTES];
    /* Written by the helper. Each stands for itself: who looks in between sees one turn old and one new. */
    _Atomic int64_t turned_ms;
    _Atomic bool is_running, is_long;
};

struct pool {
    unsigned queue_max;      /* immutable */
    unsigned threads;        /* immutable */
    struct clock real_clock; /* immutable */

    pthread_mutex_t lock; /* lock rank 80: queue, waiting, idle, is_closing */
    pthread_cond_t work;
    pthread_cond_t drained; /* nothing waits, all are idle */
    struct list queue;
    _Atomic unsigned waiting; /* length of queue; changed with the lock, read without */
    unsigned idle;            /* helpers that wait for work */
    bool is_closing;

    struct helper helpers[]; /* owner: who made the pool, but for what they do */
};

static void on_done(struct post *post)
{
    struct job *job = CONTAINER_OF(post, struct job, post);

    job->done(job);
}

/* The next job, or NULL when the pool closes and nothing is left. */
static struct job *next_job(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (list_is_empty(&p->queue) && !p->is_closing) {
        if (++p->idle == p->threads)
            pthread_cond_broadcast(&p->drained);
        pthread_cond_wait(&p->work, &p->lock);
        p->idle--;
    }
    struct list *node = list_pop_front(&p->queue);
    if (node != NULL)
        p->waiting--;
    pthread_mutex_unlock(&p->lock);
    return node != NULL ? LIST_ENTRY(node, struct job, link) : NULL;
}

static void *helper_main(void *arg)
{
    struct helper *h = arg;
    struct pool *p = h->pool;

    for (struct job *job; (job = next_job(p)) != NULL;) {
        struct reactor *reactor = job->reactor;
        const struct clock *clock = reactor != NULL ? reactor_clock(reactor) : &p->real_clock;

        atomic_store_explicit(&h->turned_ms, clock_mono_ms(clock), memory_order_relaxed);
        atomic_store_explicit(&h->is_long, job->is_long, memory_order_relaxed);
        atomic_store_explicit(&h->is_running, true, memory_order_release);
        job->run(job);
        atomic_store_explicit(&h->turned_ms, clock_mono_ms(clock), memory_order_relaxed);
        atomic_store_explicit(&h->is_running, false, memory_order_release);
        if (reactor != NULL)
            reactor_post(reactor, &job->post, on_done);
        else
            job->done(job);
    }
    return NULL;
}

struct pool *pool_new(const char *name, unsigned threads, unsigned queue_max, struct err *err)
{
    if (threads < 1 || threads > POOL_THREADS_MAX || queue_max < 1 || queue_max > POOL_QUEUE_MAX) {
        err_set(err, ERR_LIMIT, "pool %s: %u threads, %u waiting jobs: out of range", name, threads, queue_max);
        return NULL;
    }
    struct pool *p = mem_alloc(sizeof *p + threads * sizeof p->helpers[0]);
    p->queue_max = queue_max;
    p->threads = threads;
    clock_init_real(&p->real_clock);
    list_init(&p->queue);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->drained, NULL);
    for (unsigned i = 0; i < threads; i++) {
        struct helper *h = &p->helpers[i];

        h->pool = p;
        atomic_init(&h->turned_ms, clock_mono_ms(&p->real_clock));
        snprintf(h->name, sizeof h->name, "%.11s/%u", name, i);
        if (thread_start(&h->thread, h->name, 0, helper_main, h, err) < 0) {
            pool_destroy(&p);
            return NULL;
        }
    }
    return p;
}

void pool_destroy(struct pool **pp)
{
    struct pool *p = *pp;

    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->is_closing = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->threads; i++)
        thread_join(&p->helpers[i].thread); /* a no-op for those that pool_new did not get to */
    pthread_cond_destroy(&p->drained);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
    *pp = NULL;
}

bool pool_submit(struct pool *p, struct job *job)
{
    ASSERT(job->run != NULL && job->done != NULL);
    pthread_mutex_lock(&p->lock);
    const bool is_taken = !p->is_closing && p->waiting < p->queue_max;
    if (is_taken) {
        list_push_back(&p->queue, &job->link);
        p->waiting++;
        if (p->idle > 0)
            pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return is_taken;
}

void pool_drain(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->idle < p->threads || !list_is_empty(&p->queue))
        pthread_cond_wait(&p->drained, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

unsigned pool_waiting(const struct pool *p)
{
    return p->waiting;
}

unsigned pool_helpers(const struct pool *p)
{
    return p->threads;
}

void pool_helper(const struct pool *p, unsigned i, struct pool_helper *out)
{
    const struct helper *h = &p->helpers[i];

    out->name = h->name;
    out->is_running = atomic_load_explicit(&h->is_running, memory_order_acquire);
    out->is_long = atomic_load_explicit(&h->is_long, memory_order_relaxed);
    out->turned_ms = atomic_load_explicit(&h->turned_ms, memory_order_relaxed);
}
