/* server.h - listeners, workers, spawner: the running network side of the process.
 *
 * Model:    spawner_start is called first of all in main, before any thread: it forks the small privileged child that
 *           binds addresses and opens certificate files. net_server_start makes one worker thread per reactor; every
 *           listener has one SO_REUSEPORT socket per worker (unix sockets: one, shared). A reload compares listeners by
 *           address: those that stay keep their sockets, gone ones close, new ones are bound.
 * Threads:  main thread calls; workers run their own reactors.
 * Lifetime: helpers and everything else that posts to workers is destroyed between net_server_stop and
 *           net_server_destroy.
 */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#include "net/session.h"

struct spawner;
struct net_server;

/* Forks the child. Sockets passed by systemd (LISTEN_FDS) are adopted: a listener whose address matches takes it. */
int spawner_start(struct spawner **out, struct err *err);
/* The daemon becomes `user` (NULL or empty: stays who it is) for good; the child keeps what binding needs. */
int spawner_drop(struct spawner *sp, const char *user, struct err *err);
/* A listening descriptor. unix_mode: of a unix socket. backlog 0: SOMAXCONN. */
int spawner_bind(struct spawner *sp, const struct net_addr *addr, unsigned backlog, unsigned unix_mode,
                 struct err *err);
int spawner_open(struct spawner *sp, const char *path, struct err *err); /* a read-only descriptor of a regular file */
void spawner_stop(struct spawner **sp);

struct net_setup {
    struct spawner *spawner; /* NULL: sockets and files are opened here */
    struct pool *helpers;
    const struct clock *clock;
    struct conf_set *conf; /* first snapshot; referenced */
    const char *dir; /* DIR: for relative paths; copied */
};
int net_server_new(struct net_server **out, const struct net_setup *setup, struct err *err);
/* Before net_server_start: "listeners with this protocol name are served so". service is given to sessions. Listeners
 * of a protocol that nobody registered are an error at start. */
void net_server_protocol(struct net_server *n, const char *protocol_name, const struct protocol *p, void *service);
int net_server_start(struct net_server *n, struct err *err); /* threads run, sockets listen */
int net_server_reload(struct net_server *n, struct conf_set *conf, struct err *err); /* on failure nothing changed */
void net_server_stop(struct net_server *n, uint32_t grace_ms); /* stop accepting, drain, close, join */
void net_server_destroy(struct net_server **n);

unsigned net_server_port(const struct net_server *n, slice listener); /* of its first address; 0: none */
unsigned net_server_sessions_open(const struct net_server *n);
/* How long ago the most stalled worker began its last turn, which an idle one does every second. */
int64_t net_server_stalled_ms(const struct net_server *n);
unsigned net_server_workers(const struct net_server *n);
struct worker *net_server_worker(struct net_server *n, unsigned i);
void net_server_user_close(struct net_server *n, slice user); /* sessions of a disabled or deleted user */
/* Rows for `posthouse sessions`: called back on the calling thread with copies. Waits at most 1 s for the workers. */
struct session_row {
    uint64_t id;
    char protocol[12], peer[64], user[128], state[32], wait[24], tls[12];
    int64_t began_ms;
    uint64_t in_bytes, out_bytes;
};
typedef void session_row_fn(void *arg, const struct session_row *row);
void net_server_sessions(struct net_server *n, session_row_fn *row, void *arg);

/* sd_notify(3) without the library: READY=1, RELOADING=1, STOPPING=1, STATUS=…; no-op without NOTIFY_SOCKET. */
void net_notify(const char *state);
int64_t net_watchdog_ms(void); /* how often WATCHDOG=1 is wanted (half of WatchdogSec); 0: never */

#endif
