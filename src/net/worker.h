/* worker.h - one reactor with its sessions: making them from connected sockets, driving and ending them.
 *
 * Model:    struct worker (session.h) is embedded by its owner: net_server, or a test that drives the reactor itself
 *           and hands over one end of a socket pair.
 * Threads:  the reactor's own (or none while it does not run).
 * Lifetime: worker_free when no session is left (worker_stop ... worker_is_idle, or worker_cut).
 */
#ifndef NET_WORKER_H
#define NET_WORKER_H

#include "net/session.h"

struct net_server;
struct tls_trust;

struct worker_setup {
    struct reactor *reactor;
    struct pool *helpers;      /* for TLS handshakes; NULL: they run on the reactor (tests) */
    struct conf_set *conf;     /* referenced */
    struct tls_context *tls;   /* referenced; NULL: no TLS */
    struct net_limits *limits; /* shared by all workers; NULL: none */
    unsigned index;
};

void worker_init(struct worker *w, const struct worker_setup *setup);
void worker_free(struct worker *w);

/* A session on a connected, non-blocking socket, which is taken. listener: borrowed for the life of the worker, or in
 * conf. peer NULL: asked from the socket. NULL when a limit refused it (the peer has been told). */
struct session *worker_adopt(struct worker *w, const struct listener_conf *listener, const struct protocol *protocol,
                             void *service, TAKES int fd, const struct net_addr *peer);

void worker_conf_set(struct worker *w, struct conf_set *conf, struct tls_context *tls); /* both are referenced */
/* Whom clients (net/client.h) believe: referenced, until the next worker_conf_set. Without it one is made of the
 * set. */
void worker_trust_set(struct worker *w, struct tls_trust *trust);
void worker_stop(struct worker *w);                    /* tell sessions to finish */
void worker_cut(struct worker *w, bool with_farewell); /* close them now; memory goes in this turn of the reactor */
bool worker_is_idle(const struct worker *w);           /* no sessions */
void worker_user_close(struct worker *w, slice user);
/* At a stop: called on the reactor's thread when the last session has gone. */
void worker_on_idle(struct worker *w, void (*fn)(void *arg), void *arg);

#endif
