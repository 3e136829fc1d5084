/* net_addr.h - socket addresses as values: IPv4, IPv6 and unix sockets. */
#ifndef BASE_NET_ADDR_H
#define BASE_NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct net_addr {
    socklen_t len; /* 0: none */
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
};

/* "127.0.0.1:25", "[::1]:25", "*:25" (all IPv4 and IPv6), "/path" or "unix:/path". Pure. */
int net_addr_parse(slice text, struct net_addr *out, struct err *err);
void net_addr_print(const struct net_addr *a, struct buf *out); /* with port */
void net_addr_print_host(const struct net_addr *a, struct buf *out); /* address only: "127.0.0.1", "::1", "unix" */
unsigned net_addr_port(const struct net_addr *a);
bool net_addr_is_loopback(const struct net_addr *a); /* unix sockets count */
/* RFC 5321 4.1.3: [127.0.0.1] or [IPv6:::1] */
void net_addr_print_literal(const struct net_addr *a, struct buf *out);
/* "10.0.0.0/8", "::1", one address without length. */
struct net_range {
    struct net_addr addr;
    unsigned bits;
};
int net_range_parse(slice text, struct net_range *out, struct err *err);
bool net_range_has(const struct net_range *r, const struct net_addr *a); /* IPv4-mapped IPv6 compares as IPv4 */

#endif
