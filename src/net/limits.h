/* limits.h - how many connections there are, in all and from each host.
 *
 * Model:    one object for all workers. Hosts are counted by IPv4 address or IPv6 /64; loopback and unix peers are not.
 * Threads:  any; lock rank 40: hosts.
 */
#ifndef NET_LIMITS_H
#define NET_LIMITS_H

#include "base/net_addr.h"

struct net_limits;

OWNED struct net_limits *net_limits_new(void);
void net_limits_destroy(struct net_limits **l);
bool net_limits_enter(struct net_limits *l, unsigned max); /* false: there are max already */
void net_limits_leave(struct net_limits *l);
bool net_limits_host_enter(struct net_limits *l, const struct net_addr *host, unsigned max);
void net_limits_host_leave(struct net_limits *l, const struct net_addr *host);
void net_limits_close(struct net_limits *l, bool is_closed); /* memory is short: nobody may enter */
unsigned net_limits_count(struct net_limits *l);

#endif
