/* server_internal.h - what server.c, listen.c and listing.c share. */
#ifndef NET_SERVER_INTERNAL_H
#define NET_SERVER_INTERNAL_H

#include <pthread.h>
#include <time.h>

#include "net/internal.h"
#include "net/server.h"
#include "net/spawner_bind.h"
#include "reactor/thread.h"

#define WORKERS_MAX 64 /* indices of the workers; those of a client_pool begin here */

struct served_protocol {
    slice name;
    const struct protocol *protocol;
    void *service;
};

/* shared, immutable: one listener of a configuration, with all that its sessions look at. Kept until the server goes,
 * because sessions outlive reloads; made only for listeners that are new or changed. */
struct served {
    struct served *next;
    struct arena mem;
    struct listener_conf conf;
    const struct protocol *protocol;
    void *service;
};

/* owner: its worker's thread */
struct acceptor {
    struct io io;
    struct timer pause; /* after accept failed for want of descriptors */
    struct list link;   /* in the worker's acceptors */
    struct server_worker *sw;
    const struct served *served;
};

/* owner: main. One address that is listened on. */
struct place {
    struct list link;
    struct net_addr asked, addr; /* as configured, and with the port that the system gave for 0 */
    const struct served *served;
    struct acceptor *acceptors; /* one per worker */
    int *fds;                   /* until they are given to the workers */
    const struct served *next_served; /* of the plan under way; NULL: the place goes */
};

#define STOP_HOWS 3
enum stop_how { STOP_DRAIN, STOP_FAREWELL, STOP_CUT };
struct stop_post {
    struct post post;
    enum stop_how how;
    struct server_worker *sw;
};

struct server_worker {
    struct worker worker; /* owner: its thread */
    struct net_server *server;
    struct thread thread;
    struct list acceptors;
    struct stop_post stop[STOP_HOWS];
};

struct net_server {
    struct net_setup setup;
    char *dir;
    struct conf_set *conf;
    struct tls_context *tls;
    struct net_limits *limits;
    struct served_protocol protocols[16];
    unsigned protocol_count;
    struct server_worker *workers;
    unsigned worker_count;
    struct list places, gone; /* gone: acceptors may still be in use by a worker */
    struct served *served;
    struct bound *bound; /* without a spawner */
    struct timer memory_timer; /* owner: worker 0, as what follows */
    struct job trim_job;
    bool is_trimming, is_memory_short;
    int64_t trimmed_ms;
    uint64_t trimmed_refused; /* refusals when memory was trimmed last */
    bool is_started;
    pthread_mutex_t lock; /* lock rank 35: idle_count */
    pthread_cond_t cond;
    unsigned idle_count;
};

/* What a reload changes, prepared so that nothing can fail any more: new places with bound sockets. Those that stay say
 * so in next_served. */
struct place_plan {
    struct list fresh;
};

int places_plan(struct net_server *n, struct conf_set *conf, struct place_plan *plan, struct err *err);
void places_apply(struct net_server *n, struct place_plan *plan);
void places_unlink(struct net_server *n); /* unix sockets, at a stop */
void places_free(struct net_server *n);
void acceptors_close(struct server_worker *sw);
void task_conf(struct server_worker *sw, struct conf_set *conf, struct tls_context *tls);
void memory_watch_start(struct net_server *n);
void memory_watch_stop(struct net_server *n);
/* Rows of all sessions of these workers, called back on the calling thread. Waits at most 1 s. */
void workers_list(struct worker *const *workers, unsigned count, session_row_fn *fn, void *arg);
void deadline_after(struct timespec *ts, uint32_t ms);

#endif
