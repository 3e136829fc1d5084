/* conf.h - configuration of the room net: sections "server", "listeners", "net", "tls", "memory".
 *
 * "listeners" is an object of named listeners:
 *   { "smtp": { "protocol": "smtp", "addresses": ["127.0.0.1:25"], "tls": "starttls" } … }
 * A document without it gets the default set on the addresses of net.listen: SMTP 25, submission 587 and 465 (TLS),
 * IMAP 143 and 993 (TLS), POP3 110 and 995 (TLS); and LMTP on 127.0.0.1:24 and the unix socket run/lmtp.sock in DIR.
 * Addresses: see net_addr_parse; "unix:name" without a slash at first is relative to DIR.
 *
 * Order:    keys_read(net_keys) first, then net_conf_read_listeners on the same struct, which also reads the ranges.
 */
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

#define NET_KEYS(K)                                                                                                    \
    K(U32, reactors, 0, 0, 64, COUNT, RESTART, NULL, "Threads that serve connections; 0: one per processor core.")     \
    K(U32, helpers, 4, 1, 64, COUNT, RESTART, NULL,                                                                    \
      "Threads for what burns processor time: password checks, TLS handshakes, parsing.")                              \
    K(STRS, listen, "*", 0, 255, NONE, LISTENER, NULL,                                                                 \
      "Addresses without port of the default listeners; \"*\" is every one of IPv4 and IPv6.")                         \
    K(U32, connections_max, 20000, 1, 1000000, COUNT, SESSION, "MAX_CONNS",                                            \
      "Connections of all protocols together; beyond it new ones are told to come back later.")                        \
    K(U32, connections_per_host, 200, 1, 1000000, COUNT, SESSION, "MAX_CONNS_PER_HOST",                                \
      "Connections from one address (IPv6: one /64). This host itself is not limited.")                                \
    K(U32, handshake_timeout_s, 30, 1, 600, SECONDS, SESSION, NULL,                                                    \
      "How long a TLS handshake or a PROXY header may take.")                                                          \
    K(U32, close_timeout_s, 15, 1, 600, SECONDS, SESSION, NULL,                                                        \
      "How long a peer may take to read the last reply before the connection is cut.")                                 \
    K(U32, stop_grace_s, 15, 0, 3600, SECONDS, SESSION, NULL,                                                          \
      "How long running transactions may finish when the server stops.")                                               \
    K(STRS, proxy_trusted, NULL, 0, 64, NONE, SESSION, NULL,                                                           \
      "Ranges of proxies whose PROXY header is required and believed on listeners with proxy_protocol.")

#define TLS_KEYS(K)                                                                                                    \
    K(STR, certificate, NULL, 0, 4095, PATH, SESSION, NULL,                                                            \
      "PEM file with the certificate and its chain; default: tls/cert.pem in the data directory.")                     \
    K(STR, key, NULL, 0, 4095, PATH, SESSION, NULL,                                                                    \
      "PEM file with its key; default: tls/key.pem in the data directory.")                                            \
    K(STRS, sni, NULL, 0, 8500, NONE, SESSION, NULL,                                                                   \
      "Further certificates by the name that clients ask for: \"name=cert.pem,key.pem\".")                             \
    K(ENUM, min_version, 0, "1.2|1.3", 0, NONE, SESSION, NULL, "Oldest version of TLS that is accepted.")              \
    K(STR, trust_file, "/etc/ssl/certs/ca-certificates.crt", 0, 4095, PATH, SESSION, NULL,                             \
      "PEM file with the authorities whose certificates of other servers are believed; empty: none.")                  \
    K(BOOL, tickets, 1, 0, 1, NONE, SESSION, NULL, "Clients may resume a TLS session; keys change every 12 hours.")

#define MEMORY_KEYS(K)                                                                                                 \
    K(U64, limit_bytes, 0, 0, 1099511627776, BYTES, SESSION, NULL,                                                     \
      "Bound of the anonymous memory of the process; 0: none. When seven eighths are used, new connections are told "  \
      "to come back later and large new work is refused for the moment; what runs goes on. A helper that checks a "    \
      "password takes 16 MiB more for that moment.")

enum listener_tls { LISTENER_TLS_NONE, LISTENER_TLS_STARTTLS, LISTENER_TLS_IMPLICIT };

struct listener_conf {
    slice name;
    slice protocol; /* "smtp" "submission" "lmtp" "imap" "pop3" "metrics" */
    struct net_addr *addrs;
    size_t addr_count;
    uint32_t tls; /* enum listener_tls */
    uint32_t backlog;
    bool proxy_protocol; /* PROXY v1 or v2 is required from peers in net.proxy_trusted */
    uint32_t unix_mode; /* of a unix socket, default 0660 */
};

struct server_conf {
    SERVER_KEYS(KEY_FIELD)
};

struct net_conf {
    NET_KEYS(KEY_FIELD)
    /* filled by net_conf_read_listeners */
    struct net_range *proxy_ranges;
    size_t proxy_range_count;
    struct listener_conf *listeners;
    size_t listener_count;
};

struct tls_conf {
    TLS_KEYS(KEY_FIELD) /* min_version 0: TLS 1.2, 1: TLS 1.3 */
};

struct memory_conf {
    MEMORY_KEYS(KEY_FIELD)
};

/* Key tables and the function that reads "listeners" (NULL or JSON null: the default set). All errors are reported;
 * returns their number. Ports are as written: net_server_start adds server.port_offset. */
extern const struct key_table server_keys, net_keys, tls_keys, memory_keys, listener_keys;
unsigned net_conf_read_listeners(const json_t *listeners, struct net_conf *out, struct arena *mem,
                                 keys_report_fn *report, void *arg);

#endif
