/* crew.c - many small operations on the maintenance lane, some of them under way at the same time. */
#include "journal/empty.h"

#include <time.h>

#define REFUSED_WAIT_MS 20      /* the journal's queue is full: others go first */
#define REFUSED_WAITS_MAX 1500u

void crew_init(struct crew *c, struct journal *j)
{
    memset(c, 0, sizeof *c);
    c->journal = j;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->freed, NULL);
}

void crew_free(struct crew *c)
{
    crew_wait(c, NULL);
    pthread_cond_destroy(&c->freed);
    pthread_mutex_destroy(&c->lock);
}

void *crew_arg(struct journal_op *op)
{
    return CONTAINER_OF(op, struct crew_slot, op)->arg;
}

static void on_done(struct journal_op *op)
{
    struct crew_slot *slot = CONTAINER_OF(op, struct crew_slot, op);
    struct crew *c = slot->crew;

    pthread_mutex_lock(&c->lock);
    if (op->err.kind != ERR_NONE && c->err.kind == ERR_NONE)
        c->err = op->err;
    slot->is_busy = false;
    c->busy--;
    pthread_cond_signal(&c->freed);
    pthread_mutex_unlock(&c->lock);
}

static struct crew_slot *slot_take(struct crew *c)
{
    struct crew_slot *slot = NULL;

    pthread_mutex_lock(&c->lock);
    while (c->busy == CREW_SLOTS)
        pthread_cond_wait(&c->freed, &c->lock);
    for (unsigned i = 0; i < CREW_SLOTS && slot == NULL; i++)
        if (!c->slots[i].is_busy)
            slot = &c->slots[i];
    slot->is_busy = true;
    c->busy++;
    pthread_mutex_unlock(&c->lock);
    return slot;
}

static void wait_ms(struct crew *c, long ms)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&c->lock);
    pthread_cond_timedwait(&c->freed, &c->lock, &until);
    pthread_mutex_unlock(&c->lock);
}

static bool is_closing(struct journal *j)
{
    bool closing;

    pthread_mutex_lock(&j->lock);
    closing = j->is_closing;
    pthread_mutex_unlock(&j->lock);
    return closing;
}

static bool has_failed(struct crew *c)
{
    bool failed;

    pthread_mutex_lock(&c->lock);
    failed = c->err.kind != ERR_NONE;
    pthread_mutex_unlock(&c->lock);
    return failed;
}

static bool submit(struct crew *c, struct journal_op *op)
{
    for (unsigned n = 0; n < REFUSED_WAITS_MAX; n++) {
        if (journal_submit(c->journal, op))
            return true;
        if (is_closing(c->journal))
            return false;
        wait_ms(c, REFUSED_WAIT_MS);
    }
    return false;
}

int crew_submit(struct crew *c, journal_run_fn *run, void *arg, uint32_t cost, uint32_t bytes)
{
    struct crew_slot *slot;

    if (has_failed(c))
        return -1;
    slot = slot_take(c);
    slot->crew = c;
    slot->arg = arg;
    slot->op = (struct journal_op){ .run = run,
                                    .done = on_done,
                                    .session = (uint64_t)(uintptr_t)c,
                                    .cost = cost,
                                    .bytes = bytes,
                                    .lane = LANE_MAINTENANCE,
                                    .flags = OP_FREES };
    if (submit(c, &slot->op))
        return 0;
    err_set(&slot->op.err, ERR_TEMP, "the journal takes no operations now");
    on_done(&slot->op);
    return -1;
}

int crew_wait(struct crew *c, struct err *err)
{
    struct err failure;

    pthread_mutex_lock(&c->lock);
    while (c->busy != 0)
        pthread_cond_wait(&c->freed, &c->lock);
    failure = c->err;
    c->err = ERR_INIT;
    pthread_mutex_unlock(&c->lock);
    if (failure.kind == ERR_NONE)
        return 0;
    if (err != NULL)
        *err = failure;
    return -1;
}
