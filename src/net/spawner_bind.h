/* spawner_bind.h - making listening sockets; runs in the spawner. */
#ifndef NET_SPAWNER_BIND_H
#define NET_SPAWNER_BIND_H

#include "base/err.h"
#include "base/net_addr.h"

#define BOUND_MAX 512

/* Addresses bound before: further sockets for them are for further workers, or after a reload. */
struct bound {
    struct net_addr addrs[BOUND_MAX];
    unsigned count;
};

/* A listening, non-blocking socket. The first for an address fails when anybody else listens there, although sockets
 * with SO_REUSEPORT would share it in silence. A stale unix socket is replaced. Returns the descriptor or -1. */
int spawner_bind_here(struct bound *bound, const struct net_addr *addr, unsigned backlog, unsigned unix_mode,
                      struct err *err);

#endif
