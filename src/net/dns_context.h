/* dns_context.h - a libunbound context of the configuration. For dns.c. */
#ifndef NET_DNS_CONTEXT_H
#define NET_DNS_CONTEXT_H

#include "net/dns.h"

struct ub_ctx;

/* Never fails for want of a file: it warns and goes on without. NULL and err: no memory, no threads. */
OWNED struct ub_ctx *dns_context_new(const struct dns_conf *c, struct err *err);
/* All that a context is made of, files by their time of change: equal texts, equal contexts. */
void dns_context_describe(const struct dns_conf *c, struct buf *out);
extern const struct dns_conf dns_conf_default; /* of a set without the section */

#endif
