/* dns_rr.h - what stands in DNS records, and the order in which mail tries hosts. Pure, for dns.c.
 *
 * Model:    record data come uncompressed (RFC 1035 3.3), as libunbound hands them over, and are not trusted.
 */
#ifndef NET_DNS_RR_H
#define NET_DNS_RR_H

#include "base/arena.h"
#include "base/net_addr.h"
#include "base/random.h"

#define DNS_NAME_MAX_OCTETS 253 /* as text; RFC 1035 2.3.4 */

/* Type numbers, RFC 1035 3.2.2, RFC 3596 2.1 */
enum dns_type { DNS_TYPE_A = 1, DNS_TYPE_PTR = 12, DNS_TYPE_MX = 15, DNS_TYPE_TXT = 16, DNS_TYPE_AAAA = 28 };

/* Labels of letters, digits, hyphen and underscore, at most 63 and 253 octets; a dot at the end is allowed. */
bool dns_name_is_valid(slice text);

/* A name on the wire as text: lower case, no dot at the end, "" for the root. False: malformed, or octets that
 * dns_name_is_valid does not allow. */
bool dns_name_read(slice wire, struct arena *mem, slice *out);

struct dns_mx {
    slice name; /* "": the null MX of RFC 7505 */
    uint16_t preference;
};
bool dns_mx_read(slice data, struct arena *mem, struct dns_mx *out);
/* RFC 5321 5.1: by preference, those of equal preference in random order. */
void dns_mx_order(struct dns_mx *mx, unsigned count, struct rng *rng);
/* RFC 5321 5.1: how many of the ordered list are closer to the destination than self. */
unsigned dns_mx_before(const struct dns_mx *mx, unsigned count, slice self);

/* A or AAAA; false also for what no host can have: any, multicast, broadcast, IPv4-mapped. */
bool dns_addr_read(unsigned type, slice data, struct net_addr *out);
void dns_addr_shuffle(struct net_addr *addrs, unsigned count, struct rng *rng);
bool dns_text_read(slice data, struct arena *mem, slice *out); /* TXT: its strings joined */
/* "1.2.0.192.in-addr.arpa", RFC 1035 3.5, RFC 3596 2.5; empty when it is neither IPv4 nor IPv6 */
slice dns_reverse_name(const struct net_addr *a, struct arena *mem);

#endif
