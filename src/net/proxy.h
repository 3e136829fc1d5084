/* proxy.h - the header that a proxy sends before the client's octets (the PROXY protocol, versions 1 and 2).
 *
 * Model:    a pure parser over what came so far.
 * Threads:  values.
 */
#ifndef NET_PROXY_H
#define NET_PROXY_H

#include "base/net_addr.h"

#define PROXY_HEADER_MAX 2048 /* version 2 with TLVs; longer ones are refused. Version 1 has at most 107 octets */

enum proxy_result {
    PROXY_OK,    /* peer and local are set, or empty (LOCAL, UNKNOWN: the connection speaks for itself) */
    PROXY_MORE,  /* a beginning of a header */
    PROXY_BAD,   /* anything else */
};

enum proxy_result proxy_parse(slice in, struct net_addr *peer, struct net_addr *local, size_t *used);

#endif
