/* server.h - listeners, workers, spawner: the running network side of the process.
 *
 * Model:    net_spawner_start is called first of all in main, before any thread: it forks the small privileged child
 *           that binds addresses and opens
 *           certificate files. net_start makes one worker thread per reactor; every listener has one SO_REUSEPORT
 *           socket per worker. A reload compares listeners by
 *           (name, address): unchanged ones stay open, gone ones close, new ones are bound.
 * Threads:  main thread calls; workers run their own reactors.
 */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#include "net/session.h"

struct spawner;
struct net_server;

/* Forks the child. Sockets passed by systemd (LISTEN_FDS) are adopted: a listener whose address matches takes it.
 * After this the parent may drop privileges
 * (user NULL: keep). */
int spawner_start(struct spawner **out, struct err *err);
int spawner_drop(struct spawner *sp, const char *user,
                 struct err *err); /* the daemon becomes `user`; the child keeps what binding needs */
int spawner_bind(struct spawner *sp, const struct net_addr *addr, unsigned backlog, unsigned unix_mode,
                 struct err *err); /* returns an fd */
int spawner_open(struct spawner *sp, const char *path,
                 struct err *err); /* read-only fd of a file named in the configuration */
void spawner_stop(struct spawner **sp);

struct net_setup {
    struct spawner *spawner;
    struct pool *helpers;
    const struct clock *clock;
    struct conf_set *conf; /* first snapshot; referenced */
    const char *dir; /* DIR */
};
int net_server_new(struct net_server **out, const struct net_setup *setup, struct err *err);
/* Before net_server_start: "listeners with this protocol name are served so". service is given to sessions. */
void net_server_protocol(struct net_server *n, const char *protocol_name, const struct protocol *p, void *service);
int net_server_start(struct net_server *n, struct err *err); /* threads run, sockets listen */
int net_server_reload(struct net_server *n, struct conf_set *conf, struct err *err); /* on failure nothing changed */
void net_server_stop(struct net_server *n, uint32_t grace_ms); /* stop accepting, drain, close, join */
void net_server_destroy(struct net_server **n);

unsigned net_server_workers(const struct net_server *n);
struct worker *net_server_worker(struct net_server *n, unsigned i);
void net_server_user_close(struct net_server *n, slice user); /* sessions of a disabled or deleted user */
/* Rows for `posthouse sessions`: called back on the calling thread with copies. Waits for each worker's answer
 * (bounded, 1 s). */
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

#endif
