#include "queue/tally.h"

#include <pthread.h>

#include "base/err.h"
#include "base/mem.h"

const char *const tally_kind_names[TALLY_KINDS] = { "received",  "delivered", "submitted",
                                                    "attempted", "rejected",  "failed" };
const char *const tally_number_names[TALLY_NUMBERS] = {
    "delivered_first",   "queue_seconds", "queue_count", "queue_first_seconds", "queue_first_count",
    "in_associations", "out_associations", "auth_ok",     "auth_failed",
};

struct one {
    char name[CHANNEL_NAME_MAX];
    size_t len;
    struct tally_count counts[TALLY_KINDS];
    int64_t numbers[TALLY_NUMBERS];
};

struct tally {
    pthread_mutex_t lock; /* lock rank 60: all; held for a few additions */
    struct one *items;
    unsigned count, cap;
};

OWNED struct tally *tally_new(void)
{
    struct tally *t = mem_alloc(sizeof *t);

    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void tally_destroy(struct tally **t)
{
    if (*t == NULL)
        return;
    pthread_mutex_destroy(&(*t)->lock);
    mem_free((*t)->items);
    mem_free(*t);
    *t = NULL;
}

/* A site has a handful of channels: the list is short. */
static struct one *one_of(struct tally *t, slice channel)
{
    struct one *one;

    channel = slice_sub(channel, 0, CHANNEL_NAME_MAX);
    for (unsigned i = 0; i < t->count; i++)
        if (slice_eq(slice_of(t->items[i].name, t->items[i].len), channel))
            return &t->items[i];
    if (t->count == CHANNELS_MAX)
        return NULL;
    if (t->count == t->cap) {
        t->cap = t->cap * 2 + 16;
        t->items = mem_realloc(t->items, t->cap * sizeof *t->items);
    }
    one = &t->items[t->count++];
    *one = (struct one){ .len = channel.len };
    if (channel.len != 0)
        memcpy(one->name, channel.ptr, channel.len);
    return one;
}

void tally_add(struct tally *t, slice channel, enum tally_kind kind, int64_t messages, int64_t recipients,
               int64_t bytes)
{
    struct one *one;

    if (t == NULL)
        return;
    ASSERT(kind < TALLY_KINDS);
    pthread_mutex_lock(&t->lock);
    one = one_of(t, channel);
    if (one != NULL) {
        one->counts[kind].messages += messages;
        one->counts[kind].recipients += recipients;
        one->counts[kind].bytes += bytes;
    }
    pthread_mutex_unlock(&t->lock);
}

void tally_add_number(struct tally *t, slice channel, enum tally_number n, int64_t add)
{
    struct one *one;

    if (t == NULL)
        return;
    ASSERT(n < TALLY_NUMBERS);
    pthread_mutex_lock(&t->lock);
    one = one_of(t, channel);
    if (one != NULL)
        one->numbers[n] += add;
    pthread_mutex_unlock(&t->lock);
}

void tally_each(struct tally *t, tally_row_fn *fn, void *arg)
{
    struct one *copy;
    unsigned count;

    /* A copy, so that the caller may take its time. */
    pthread_mutex_lock(&t->lock);
    count = t->count;
    copy = mem_alloc_array((size_t)count + 1, sizeof *copy);
    if (count != 0)
        memcpy(copy, t->items, count * sizeof *copy);
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < count; i++) {
        struct tally_row row = { .channel = slice_of(copy[i].name, copy[i].len) };

        memcpy(row.counts, copy[i].counts, sizeof row.counts);
        memcpy(row.numbers, copy[i].numbers, sizeof row.numbers);
        fn(arg, &row);
    }
    mem_free(copy);
}

void tally_clear(struct tally *t)
{
    pthread_mutex_lock(&t->lock);
    t->count = 0;
    pthread_mutex_unlock(&t->lock);
}
