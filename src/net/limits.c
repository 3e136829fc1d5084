#include "net/limits.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/budget.h"
#include "base/map.h"
#include "base/mem.h"

#define CONNECTION_BYTES (32u * 1024) /* of a busy session: object, arenas, buffers; TLS takes as much */

struct net_limits {
    _Atomic unsigned count;
    _Atomic bool is_closed;
    pthread_mutex_t lock; /* lock rank 40: hosts */
    struct map hosts;     /* host octets -> count, as a pointer that is never followed */
};

struct net_limits *net_limits_new(void)
{
    struct net_limits *l = mem_alloc(sizeof *l);

    pthread_mutex_init(&l->lock, NULL);
    map_init(&l->hosts);
    return l;
}

void net_limits_destroy(struct net_limits **lp)
{
    struct net_limits *l = *lp;

    if (l == NULL)
        return;
    map_free(&l->hosts);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
    *lp = NULL;
}

bool net_limits_enter(struct net_limits *l, unsigned max)
{
    if (atomic_fetch_add(&l->count, 1) < max && !atomic_load(&l->is_closed) && budget_allows(CONNECTION_BYTES))
        return true;
    atomic_fetch_sub(&l->count, 1);
    return false;
}

void net_limits_leave(struct net_limits *l)
{
    atomic_fetch_sub(&l->count, 1);
}

void net_limits_close(struct net_limits *l, bool is_closed)
{
    atomic_store(&l->is_closed, is_closed);
}

unsigned net_limits_count(struct net_limits *l)
{
    return atomic_load(&l->count);
}

/* What counts as one host; empty: not counted. A peer has a /64 of IPv6 for itself, so that is one (RFC 6177). */
static slice host_key(const struct net_addr *a)
{
    if (a->len == 0 || net_addr_is_loopback(a))
        return SLICE_NONE;
    if (a->sa.sa_family == AF_INET)
        return slice_of(&a->in.sin_addr, sizeof a->in.sin_addr);
    return slice_of(&a->in6.sin6_addr, 8);
}

bool net_limits_host_enter(struct net_limits *l, const struct net_addr *host, unsigned max)
{
    const slice key = host_key(host);

    if (key.len == 0)
        return true;
    pthread_mutex_lock(&l->lock);
    const uintptr_t now = (uintptr_t)map_get(&l->hosts, key);
    const bool may = now < max;
    if (may)
        map_put(&l->hosts, key, (void *)(now + 1)); // NOLINT(performance-no-int-to-ptr)
    pthread_mutex_unlock(&l->lock);
    return may;
}

void net_limits_host_leave(struct net_limits *l, const struct net_addr *host)
{
    const slice key = host_key(host);

    if (key.len == 0)
        return;
    pthread_mutex_lock(&l->lock);
    const uintptr_t now = (uintptr_t)map_get(&l->hosts, key);
    if (now > 1)
        map_put(&l->hosts, key, (void *)(now - 1)); // NOLINT(performance-no-int-to-ptr)
    else
        map_del(&l->hosts, key);
    pthread_mutex_unlock(&l->lock);
}
