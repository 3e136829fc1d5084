/* conf.h - configuration of the room net: sections "server", "listeners", "net", "tls", "memory".
 *
 * "listeners" is an object of named listeners: { "smtp": { "protocol": "smtp", "addresses": ["127.0.0.1:25"], "tls":
 * "starttls" } … }.
 * A document without "listeners" gets the default set on all addresses (25, 587, 465, 143, 993, 110, 995, and LMTP on
 * a unix socket). */
#ifndef NET_CONF_H
#define NET_CONF_H

#include "base/keys.h"
#include "base/net_addr.h"

#define SERVER_KEYS(K)                                                                                                 \
    K(STR, hostname, NULL, 0, 255, NONE, SESSION, "local_host_alias",                                                  \
      "Name of this host in greetings and trace headers; default: the system's.")                                      \
    K(STR, log_level, "info", 0, 16, NONE, SESSION, NULL, "error, warn, info or debug.")                               \
    K(U32, port_offset, 0, 0, 65000, PORT, RESTART, NULL,                                                              \
      "Added to the port of every listener; for tests and second instances.")

enum listener_tls { LISTENER_TLS_NONE, LISTENER_TLS_STARTTLS, LISTENER_TLS_IMPLICIT };

struct listener_conf {
    slice name;
    slice protocol; /* "smtp" "submission" "lmtp" "imap" "pop3" "status" "metrics" */
    struct net_addr *addrs;
    size_t addr_count;
    uint32_t tls; /* enum listener_tls */
    uint32_t backlog;
    bool proxy_protocol; /* PROXY v1 or v2 is required from peers in net.proxy_trusted */
    uint32_t unix_mode; /* of a unix socket, default 0660 */
};

struct server_conf {
    slice hostname;
    slice log_level;
    uint32_t port_offset;
};

struct net_conf {
    uint32_t reactors; /* 0: one per core */
    uint32_t helpers; /* threads for SASL, TLS handshakes, parsing; default 4 */
    uint32_t connections_max; /* all protocols */
    uint32_t connections_per_host;
    struct key_strs proxy_trusted; /* ranges */
    struct net_range *proxy_ranges;
    size_t proxy_range_count;
    struct listener_conf *listeners;
    size_t listener_count;
    uint32_t stop_grace_s; /* how long running transactions may finish at a stop */
};

struct tls_conf {
    slice certificate, key; /* PEM files; empty: DIR/tls/cert.pem, key.pem made by init */
    struct key_strs sni; /* "name=cert.pem,key.pem" */
    uint32_t min_version; /* 0: TLS 1.2, 1: TLS 1.3 */
    bool tickets;
};

/* Key tables and the function that reads "listeners". All errors are reported; returns their number. */
extern const struct key_table server_keys, net_keys, tls_keys, listener_keys;
unsigned net_conf_read_listeners(const json_t *listeners, struct net_conf *out, struct arena *mem,
                                 keys_report_fn *report, void *arg);

#endif
