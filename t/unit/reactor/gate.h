/* gate.h - a counter that threads of a test wait for, instead of sleeping. */
#ifndef UNIT_REACTOR_GATE_H
#define UNIT_REACTOR_GATE_H

#include <pthread.h>

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    unsigned count;
};

static inline void gate_init(struct gate *g)
{
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->moved, NULL);
    g->count = 0;
}

static inline void gate_free(struct gate *g)
{
    pthread_cond_destroy(&g->moved);
    pthread_mutex_destroy(&g->lock);
}

static inline void gate_add(struct gate *g, unsigned n)
{
    pthread_mutex_lock(&g->lock);
    g->count += n;
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}

static inline void gate_wait(struct gate *g, unsigned n) /* until count >= n */
{
    pthread_mutex_lock(&g->lock);
    while (g->count < n)
        pthread_cond_wait(&g->moved, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static inline unsigned gate_count(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    const unsigned n = g->count;
    pthread_mutex_unlock(&g->lock);
    return n;
}

#endif
