/* net_addr.h - socket addresses as values: IPv4, IPv6 and unix sockets.
 *
 * Model:    a net_addr holds what the kernel takes and gives. IPv4-mapped IPv6 addresses (RFC 4291 2.5.5.2) print and
 *           compare as the IPv4 address they stand for.
 * Threads:  pure functions on values.
 * Errors:   parsers fill err (ERR_SYNTAX) and leave *out empty.
 */
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

/* "127.0.0.1:25", "[::1]:25", "*:25" (IPv6 any; as a listener it takes IPv4 as well), "/path" or "unix:path". */
int net_addr_parse(slice text, struct net_addr *out, struct err *err);
void net_addr_print(const struct net_addr *a, struct buf *out);      /* with port; parses again */
void net_addr_print_host(const struct net_addr *a, struct buf *out); /* "127.0.0.1", "::1", "unix", else "unknown" */
unsigned net_addr_port(const struct net_addr *a);                    /* 0: has none */
bool net_addr_set_port(struct net_addr *a, unsigned port);           /* false: over 65535; no-op for unix sockets */
bool net_addr_is_loopback(const struct net_addr *a);                 /* unix sockets count */
bool net_addr_eq(const struct net_addr *a, const struct net_addr *b); /* address and port, or path */
void net_addr_unmap(struct net_addr *a); /* an IPv4-mapped address becomes the IPv4 one */
/* RFC 5321 4.1.3: [127.0.0.1] or [IPv6:::1] */
void net_addr_print_literal(const struct net_addr *a, struct buf *out);

/* "10.0.0.0/8", "::1" (one address), "unix" (every peer on a unix socket). Bits behind the length are ignored. */
struct net_range {
    struct net_addr addr; /* len 0: unix */
    unsigned bits;
};
int net_range_parse(slice text, struct net_range *out, struct err *err);
bool net_range_has(const struct net_range *r, const struct net_addr *a);

#endif
