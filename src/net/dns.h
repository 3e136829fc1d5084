/* dns.h - names to addresses for who connects out: MX, A, AAAA, PTR, TXT by libunbound, which caches and validates.
 *
 * Model:    one thread owns libunbound; a question is posted to it and the answer posted back to the asker's reactor.
 *           dns_route asks for where mail of a domain goes (DNS_ROUTE): MX records by preference (equal ones in random
 *           order), then the addresses of each host (random order within a family, the families interleaved), at most
 *           dns.addresses_max in all. No MX: the domain's own addresses (RFC 5321 5.1), preference 0. Null MX (RFC
 *           7505) is said. We in the list: hosts of equal or higher preference value are left out (RFC 5321 5.1):
 *           when nobody is left, DNS_SELF. A host whose addresses cannot be had is passed over while others are left.
 *           CNAMEs are followed. Names are A-labels: a domain in UTF-8 is DNS_NONE.
 * Config:   section "dns", see DNS_KEYS. A reload that changes it begins with an empty cache; questions under way end
 *           in the old one.
 * Errors:   DNS_TEMP (time-out, SERVFAIL, bogus, stopping), DNS_NONE (NXDOMAIN, no record, no name), DNS_NULL_MX,
 *           DNS_SELF. `why` says it for people.
 * Threads:  dns_ask from any. The rest: main.
 * Lifetime: dns_destroy answers what is under way (DNS_TEMP); the reactors of queries outlive it.
 */
#ifndef NET_DNS_H
#define NET_DNS_H

#include "base/arena.h"
#include "base/confset.h"
#include "base/keys.h"
#include "base/net_addr.h"
#include "reactor/reactor.h"

#define DNS_KEYS(K)                                                                                                    \
    K(STRS, servers, NULL, 1, 80, NONE, SESSION, NULL,                                                                 \
      "Name servers to ask, \"192.0.2.1\" or \"127.0.0.1:5353\"; none: those of resolv_file; \"root\": nobody but "    \
      "the name servers of the Internet itself.")                                                                      \
    K(STR, resolv_file, "/etc/resolv.conf", 0, 4095, PATH, SESSION, NULL, "Where the system's name servers stand.")    \
    K(STR, hosts_file, "/etc/hosts", 0, 4095, PATH, SESSION, NULL,                                                     \
      "Addresses of hosts that are known without asking; empty: none.")                                                \
    K(STR, trust_anchor_file, NULL, 0, 4095, PATH, SESSION, NULL,                                                      \
      "Keys to validate answers with (DNSSEC), such as /usr/share/dns/root.key; empty: nothing is validated.")         \
    K(U32, timeout_s, 30, 1, 600, SECONDS, SESSION, NULL, "How long a question may take, with all that it needs.")     \
    K(U32, addresses_max, 20, 1, 500, COUNT, SESSION, NULL, "Addresses of one destination that are kept.")             \
    K(ENUM, ipv6, 0, "auto|off|only|prefer", 0, NONE, SESSION, NULL,                                                   \
      "Use of IPv6: auto tries it first where this host has a route to it, and last where it has none.")               \
    K(U64, cache_bytes, 4194304, 65536, 4294967296, BYTES, SESSION, NULL, "Memory for answers that are kept.")         \
    K(U32, questions_max, 500, 1, 10000, COUNT, SESSION, NULL, "Questions under way at a time; others wait.")

enum dns_ipv6 { DNS_IPV6_AUTO, DNS_IPV6_OFF, DNS_IPV6_ONLY, DNS_IPV6_PREFER };

struct dns_conf {
    DNS_KEYS(KEY_FIELD)
};
extern const struct key_table dns_keys;
unsigned dns_conf_check(const struct dns_conf *c, keys_report_fn *report, void *arg); /* number of errors */

struct dns;
int dns_new(struct dns **out, const struct clock *clock, struct conf_set *conf, struct err *err);
void dns_reload(struct dns *d, struct conf_set *conf);
void dns_destroy(struct dns **d);
const struct reactor *dns_reactor(const struct dns *d); /* turns at least once a second: for the watchdog */

enum dns_result { DNS_OK, DNS_NONE, DNS_NULL_MX, DNS_SELF, DNS_TEMP };
enum dns_kind { DNS_ROUTE, DNS_ADDRESS, DNS_PTR, DNS_TXT };

struct dns_host {          /* in order of trial */
    slice name;            /* lower case, no dot at the end */
    uint16_t preference;   /* DNS_ADDRESS: 0 */
    bool is_secure;        /* MX and address validated by DNSSEC */
    struct net_addr addr;  /* port 0 */
};

struct dns_query {
    enum dns_kind kind;
    slice name;            /* A-label domain, in mem; PTR: unused, addr counts */
    struct net_addr addr;
    slice self;            /* our host name, for the loop rule; may be empty. Copied by dns_ask */
    struct reactor *reactor;
    void (*done)(struct dns_query *q); /* on reactor */
    void *arg;
    /* out, in mem */
    enum dns_result result;
    struct arena mem;
    struct dns_host *hosts;
    unsigned host_count;
    slice *texts;          /* TXT, PTR */
    unsigned text_count;
    char why[160];         /* of failures, for people */
    /* private */
    struct post post;
    void *job;
    bool is_dropped;
};

/* name is copied. Then fill self, reactor, done, arg; addr for PTR. */
OWNED struct dns_query *dns_query_new(enum dns_kind kind, slice name);
void dns_ask(struct dns *d, struct dns_query *q); /* done always comes, never before this returns */
/* The asker went away: done does not come any more, and q goes with its answer. On q's reactor; *q becomes NULL. */
void dns_query_drop(struct dns_query **q);
void dns_query_destroy(struct dns_query **q);     /* after done (also within), or never asked; NULL allowed */

const char *dns_result_name(enum dns_result r); /* "ok", "none", "null MX", … */

#endif
