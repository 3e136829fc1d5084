/* Asking all workers about their sessions, and having them close a user's. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/mem.h"
#include "net/server_internal.h"

#define LISTING_WAIT_MS 1000

/* Shared by the asker and the workers: whoever is last frees it, since the asker does not wait for ever. */
struct listing {
    _Atomic unsigned refs;
    pthread_mutex_t lock; /* lock rank 36: rows, waiting */
    pthread_cond_t cond;
    unsigned waiting;
    struct buf rows; /* struct session_row, one after the other */
};

struct listing_ask {
    struct post post;
    struct worker *worker;
    struct listing *listing;
};

static void listing_unref(struct listing *l)
{
    if (atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    buf_free(&l->rows);
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

static const char *phase_name(const struct session *s)
{
    static const char *const names[] = { "proxy", "handshake", "running", "handshake", "closing", "closed",
                                        "connecting" };

    return s->phase < ARRAY_LEN(names) ? names[s->phase] : "?";
}

static void row_fill(struct session *s, struct session_row *row)
{
    struct buf text = BUF_INIT;
    const char *state = NULL;

    *row = (struct session_row){ .id = s->id,
                                 .began_ms = s->began_ms,
                                 .in_bytes = stream_in_bytes(s->stream),
                                 .out_bytes = stream_out_bytes(s->stream) };
    if (s->is_opened && s->phase == PHASE_RUN && s->protocol->describe != NULL)
        state = s->protocol->describe(s, &text);
    if (s->user.len > 0 || text.len == 0)
        snprintf(row->user, sizeof row->user, "%.*s", SLICE_ARG(s->user));
    else
        snprintf(row->user, sizeof row->user, "%s", buf_str(&text));
    snprintf(row->protocol, sizeof row->protocol, "%s", s->protocol->name);
    snprintf(row->state, sizeof row->state, "%s", state != NULL ? state : phase_name(s));
    buf_reset(&text);
    net_addr_print(&s->peer, &text);
    snprintf(row->peer, sizeof row->peer, "%s", buf_str(&text));
    if (s->phase == PHASE_RUN && s->step_state == STEP_WAIT)
        snprintf(row->wait, sizeof row->wait, "%s", s->wait != NULL ? s->wait : "?");
    if (s->is_tls && stream_tls_version(s->stream) != NULL)
        snprintf(row->tls, sizeof row->tls, "%s", stream_tls_version(s->stream));
    buf_free(&text);
}

static void on_listing(struct post *p)
{
    struct listing_ask *ask = CONTAINER_OF(p, struct listing_ask, post);
    struct listing *l = ask->listing;
    struct buf rows = BUF_INIT;

    LIST_FOREACH(&worker_private(ask->worker)->all, node)
    {
        struct session_row row;
        row_fill(LIST_ENTRY(node, struct session, link), &row);
        buf_put(&rows, &row, sizeof row);
    }
    pthread_mutex_lock(&l->lock);
    buf_put_slice(&l->rows, buf_slice(&rows));
    l->waiting--;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
    buf_free(&rows);
    listing_unref(l);
    mem_free(ask);
}

static struct listing *listing_new(unsigned workers)
{
    struct listing *l = mem_alloc(sizeof *l);
    pthread_condattr_t attr;

    atomic_init(&l->refs, workers + 1);
    l->waiting = workers;
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->cond, &attr);
    pthread_condattr_destroy(&attr);
    return l;
}

void workers_list(struct worker *const *workers, unsigned count, session_row_fn *fn, void *arg)
{
    struct listing *l = listing_new(count);
    struct timespec until;
    struct buf rows;

    for (unsigned i = 0; i < count; i++) {
        struct listing_ask *ask = mem_alloc(sizeof *ask);
        ask->worker = workers[i];
        ask->listing = l;
        reactor_post(ask->worker->reactor, &ask->post, on_listing);
    }
    deadline_after(&until, LISTING_WAIT_MS);
    pthread_mutex_lock(&l->lock);
    while (l->waiting > 0 && pthread_cond_timedwait(&l->cond, &l->lock, &until) == 0)
        continue;
    rows = l->rows;
    l->rows = BUF_INIT;
    pthread_mutex_unlock(&l->lock);
    listing_unref(l);
    for (size_t at = 0; at + sizeof(struct session_row) <= rows.len; at += sizeof(struct session_row)) {
        struct session_row row;
        memcpy(&row, rows.ptr + at, sizeof row);
        fn(arg, &row);
    }
    buf_free(&rows);
}

void net_server_sessions(struct net_server *n, session_row_fn *fn, void *arg)
{
    struct worker *workers[WORKERS_MAX];

    if (!n->is_started)
        return;
    for (unsigned i = 0; i < n->worker_count; i++)
        workers[i] = &n->workers[i].worker;
    workers_list(workers, n->worker_count, fn, arg);
}

/* --- a user's sessions -------------------------------------------------------------------------------------------- */

struct user_ask {
    struct post post;
    struct server_worker *sw;
    size_t len;
    char user[];
};

static void on_user_close(struct post *p)
{
    struct user_ask *ask = CONTAINER_OF(p, struct user_ask, post);

    worker_user_close(&ask->sw->worker, slice_of(ask->user, ask->len));
    mem_free(ask);
}

void net_server_user_close(struct net_server *n, slice user)
{
    if (!n->is_started || user.len == 0)
        return;
    for (unsigned i = 0; i < n->worker_count; i++) {
        struct user_ask *ask = mem_alloc(sizeof *ask + user.len);
        ask->sw = &n->workers[i];
        ask->len = user.len;
        memcpy(ask->user, user.ptr, user.len);
        reactor_post(ask->sw->worker.reactor, &ask->post, on_user_close);
    }
}
