#include "base/counter.h"

#include <pthread.h>
#include <string.h>

#include "base/err.h"

#define COUNTER_TABLES_MAX 128u /* one per module that counts; all known at compile time */

struct table {
    struct counter *rows;
    unsigned count;
};

/* The registry. Entries below table_count never change again, so that readers need no lock. */
static struct table tables[COUNTER_TABLES_MAX];
static _Atomic unsigned table_count;
static pthread_mutex_t register_lock = PTHREAD_MUTEX_INITIALIZER; /* lock rank: leaf */

void counter_register(struct counter *table, unsigned count)
{
    unsigned n, i;

    pthread_mutex_lock(&register_lock);
    n = atomic_load_explicit(&table_count, memory_order_relaxed);
    for (i = 0; i < n; i++)
        if (tables[i].rows == table)
            break;
    if (i == n) {
        if (n == COUNTER_TABLES_MAX)
            panic("more than %u counter tables", COUNTER_TABLES_MAX);
        tables[n] = (struct table){ table, count };
        atomic_store_explicit(&table_count, n + 1, memory_order_release);
    }
    pthread_mutex_unlock(&register_lock);
}

struct counter *counter_find(const char *name)
{
    unsigned at = 0;
    struct counter *c;

    while ((c = counter_next(&at)) != NULL)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

struct counter *counter_next(unsigned *at)
{
    unsigned n = atomic_load_explicit(&table_count, memory_order_acquire);
    unsigned skip = *at;

    for (unsigned i = 0; i < n; i++) {
        if (skip < tables[i].count) {
            (*at)++;
            return &tables[i].rows[skip];
        }
        skip -= tables[i].count;
    }
    return NULL;
}
