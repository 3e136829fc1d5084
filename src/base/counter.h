/* counter.h - named numbers that anyone may read at any moment.
 *
 * Model:    a module declares its counters as a static table of rows and registers it once at start; a count is one
 *           relaxed atomic add. `posthouse status` and the metrics page read them all. Kinds: TOTAL only rises, GAUGE
 *           moves both ways.
 * Threads:  any.
 */
#ifndef BASE_COUNTER_H
#define BASE_COUNTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum counter_kind { COUNTER_TOTAL, COUNTER_GAUGE };

struct counter {
    const char *name; /* "journal.batches": room, dot, words joined by '_' */
    const char *text; /* one line for the manual */
    enum counter_kind kind;
    _Atomic int64_t value;
};

static inline void counter_add(struct counter *c, int64_t n)
{
    atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}
static inline void counter_set(struct counter *c, int64_t n)
{
    atomic_store_explicit(&c->value, n, memory_order_relaxed);
}
static inline int64_t counter_get(const struct counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

void counter_register(struct counter *table, unsigned count); /* lives for the process; registering again is a no-op */
struct counter *counter_find(const char *name);               /* NULL when there is none */
/* Walk all, in order of registration. at starts at 0; NULL when done. */
struct counter *counter_next(unsigned *at);

#endif
