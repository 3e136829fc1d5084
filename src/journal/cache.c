#include "journal/cache.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/diag.h"
#include "base/mem.h"
#include "journal/internal.h"

#define VALUE_MAX_BYTES (256u * 1024)
#define QUEUE_MAX_BYTES (8u * 1024 * 1024)
#define QUEUE_FLUSH_BYTES (256u * 1024)
#define QUEUE_FLUSH_MS 1000

enum { TABLE_A = 1, TABLE_B = 2 };

struct queued {
    struct list link;
    size_t key_len, value_len;
    unsigned char octets[];
};

struct cache {
    struct index *index;
    struct journal_room room;
    const struct journal_room *rooms[1];
    struct pool *pool;
    const struct clock *clock;
    int64_t flushed_ms;
    uint64_t max_bytes;
    pthread_mutex_t lock; /* lock rank 60: queue and the two flags */
    pthread_mutex_t write_lock; /* lock rank 15: one writer; held for a batch */
    pthread_cond_t idle;
    struct list queue;
    size_t queue_bytes;
    bool is_flushing;
    unsigned young; /* table that takes puts; owner: the writer */
    uint64_t young_bytes;
    struct job job;
};

static const struct journal_table tables[] = { { TABLE_A, "cache.a", TABLE_PHYSICAL },
                                               { TABLE_B, "cache.b", TABLE_PHYSICAL } };

int cache_open(struct cache **out, struct journal *j, const char *dir, uint64_t max_bytes, struct pool *pool,
               struct err *err)
{
    struct index_conf conf = {
        .map_bytes = max_bytes * 4 + (64u << 20), .ahead_bytes = 0, .readers_max = 256, .boot_id = j->boot_id
    };
    struct cache *c = mem_alloc(sizeof *c);
    enum index_open_result trust;
    struct buf path = BUF_INIT;
    char why[128];
    int rc;

    *out = NULL;
    c->room = (struct journal_room){ .name = "cache", .tables = tables, .table_count = ARRAY_LEN(tables) };
    c->rooms[0] = &c->room;
    c->pool = pool;
    c->clock = j->clock;
    c->max_bytes = max_bytes;
    c->young = TABLE_A;
    list_init(&c->queue);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->write_lock, NULL);
    pthread_cond_init(&c->idle, NULL);
    buf_printf(&path, "%s/cache", dir);
    if (mkdir(buf_str(&path), 0700) < 0 && errno != EEXIST)
        rc = err_sys(err, errno, "making %s", buf_str(&path));
    else
        rc = index_open(&c->index, buf_str(&path), &conf, j->id, c->rooms, 1, false, &trust, why, err);
    buf_free(&path);
    if (rc == 0) {
        *out = c;
        return 0;
    }
    cache_close(&c);
    return -1;
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

static void generation_turn(struct cache *c, struct journal_view *v)
{
    unsigned old = c->young == TABLE_A ? TABLE_B : TABLE_A;

    journal_table_clear(v, old);
    c->young = old;
    c->young_bytes = 0;
}

static void queue_write(struct cache *c, struct list *work)
{
    struct index_meta meta = { 0 };
    struct journal_view v;
    struct err err = ERR_INIT;
    bool ok;

    pthread_mutex_lock(&c->write_lock);
    ok = index_begin(c->index, &v, &err) == 0;
    for (struct list *node; (node = list_pop_front(work)) != NULL;) {
        struct queued *q = LIST_ENTRY(node, struct queued, link);

        if (ok) {
            journal_put(&v, c->young, slice_of(q->octets, q->key_len), slice_of(q->octets + q->key_len, q->value_len));
            c->young_bytes += q->key_len + q->value_len + 64;
            if (c->young_bytes > c->max_bytes / 2)
                generation_turn(c, &v);
        }
        mem_free(q);
    }
    if (ok && index_commit(&v, &meta, &err) < 0)
        diag_warn("store", "the cache was not written: %s", err.text);
    pthread_mutex_unlock(&c->write_lock);
}

static void queue_take(struct cache *c, struct list *work)
{
    list_init(work);
    pthread_mutex_lock(&c->lock);
    list_splice(work, &c->queue);
    c->queue_bytes = 0;
    pthread_mutex_unlock(&c->lock);
}

static void flush_run(struct job *job)
{
    struct cache *c = CONTAINER_OF(job, struct cache, job);
    struct list work;

    queue_take(c, &work);
    queue_write(c, &work);
}

static void flush_done(struct job *job)
{
    struct cache *c = CONTAINER_OF(job, struct cache, job);

    pthread_mutex_lock(&c->lock);
    c->is_flushing = false;
    pthread_cond_broadcast(&c->idle);
    pthread_mutex_unlock(&c->lock);
}

void cache_flush(struct cache *c)
{
    struct list work;

    if (c == NULL)
        return;
    queue_take(c, &work);
    if (!list_is_empty(&work))
        queue_write(c, &work);
}

void cache_put(struct cache *c, slice key, slice value)
{
    bool start = false;
    struct queued *q;

    if (c == NULL || key.len == 0 || key.len > INDEX_KEY_MAX_BYTES || value.len > VALUE_MAX_BYTES)
        return;
    q = mem_alloc(sizeof *q + key.len + value.len);
    q->key_len = key.len;
    q->value_len = value.len;
    memcpy(q->octets, key.ptr, key.len);
    if (value.len != 0)
        memcpy(q->octets + key.len, value.ptr, value.len);
    pthread_mutex_lock(&c->lock);
    if (c->queue_bytes > QUEUE_MAX_BYTES) {
        mem_free(q); /* the writer is behind: it will be computed again */
    } else {
        list_push_back(&c->queue, &q->link);
        c->queue_bytes += key.len + value.len;
        start = !c->is_flushing && (c->queue_bytes >= QUEUE_FLUSH_BYTES ||
                                    clock_mono_ms(c->clock) - c->flushed_ms >= QUEUE_FLUSH_MS);
        if (start) {
            c->is_flushing = true;
            c->flushed_ms = clock_mono_ms(c->clock);
        }
    }
    pthread_mutex_unlock(&c->lock);
    if (!start)
        return;
    c->job.run = flush_run;
    c->job.done = flush_done;
    c->job.reactor = NULL;
    if (c->pool == NULL || !pool_submit(c->pool, &c->job)) {
        flush_run(&c->job);
        flush_done(&c->job);
    }
}

void cache_close(struct cache **cp)
{
    struct cache *c = *cp;

    *cp = NULL;
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    while (c->is_flushing)
        pthread_cond_wait(&c->idle, &c->lock);
    pthread_mutex_unlock(&c->lock);
    if (c->index != NULL)
        cache_flush(c);
    index_close(&c->index, true);
    pthread_cond_destroy(&c->idle);
    pthread_mutex_destroy(&c->write_lock);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

void cache_read_begin(struct cache *c, struct cache_reader *r)
{
    r->is_open = c != NULL && index_read_begin(c->index, &r->view, NULL) == 0;
}

bool cache_get(struct cache *c, struct cache_reader *r, slice key, slice *value)
{
    if (c == NULL || !r->is_open)
        return false;
    return journal_get(&r->view, TABLE_A, key, value) || journal_get(&r->view, TABLE_B, key, value);
}

void cache_read_end(struct cache_reader *r)
{
    if (r->is_open)
        index_read_end(&r->view);
    r->is_open = false;
}
