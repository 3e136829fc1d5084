/* client_pool.h - threads for outgoing connections: workers without listeners.
 *
 * Model:    `threads` workers, each with a reactor on a thread of its own. What has to be done on a worker is posted to
 *           its reactor (client_pool_worker(p, i)->reactor), and there client_connect makes sessions. All share one
 *           trust store, which is read when it is first needed.
 * Threads:  the owner's (main) calls; posting to a worker's reactor from any.
 * Lifetime: like net_server: helpers and all that posts to the workers go between client_pool_stop and
 *           client_pool_destroy. One pool a process: its sessions' ids are unique among those of net_server, too.
 */
#ifndef NET_CLIENT_POOL_H
#define NET_CLIENT_POOL_H

#include "net/client.h"
#include "net/server.h"

#define CLIENT_POOL_THREADS_MAX 64

struct client_pool;

struct client_pool_setup {
    const char *name;     /* of the threads: "NAME-0" …; at most 11 octets */
    unsigned threads;     /* 1 .. CLIENT_POOL_THREADS_MAX; 0: one */
    struct pool *helpers; /* for TLS handshakes; NULL: they run on the reactors */
    const struct clock *clock;
    struct conf_set *conf; /* referenced */
};
int client_pool_new(struct client_pool **out, const struct client_pool_setup *setup, struct err *err);
int client_pool_start(struct client_pool *p, struct err *err);
void client_pool_reload(struct client_pool *p, struct conf_set *conf);
/* Sessions at rest end at once (`stopping`), busy ones have the grace, then all are cut; the threads are joined. */
void client_pool_stop(struct client_pool *p, uint32_t grace_ms);
void client_pool_destroy(struct client_pool **p);

unsigned client_pool_workers(const struct client_pool *p);
struct worker *client_pool_worker(struct client_pool *p, unsigned i);
void client_pool_sessions(struct client_pool *p, session_row_fn *row, void *arg); /* as net_server_sessions */
int64_t client_pool_stalled_ms(const struct client_pool *p);                      /* as net_server_stalled_ms */

#endif
