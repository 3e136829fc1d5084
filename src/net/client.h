/* client.h - outgoing connections: the same sessions, streams and step functions as for incoming ones.
 *
 * Model:    client_connect makes a session of a protocol on a worker (net/worker.h, net/client_pool.h) for an address.
 *           `opened` is called when the connection stands (and TLS, if is_tls): s->is_opened. From then on it is a
 *           session like any other: step, timeouts, TLS by client_start_tls.
 * Ends:     `closed` is the last call, always, and s->failure says in words of people why the session ended other than
 *           by STEP_CLOSE: "Connection refused", "no connection within 30 s", "TLS: …", "Connection reset by peer",
 *           "the peer closed the connection", "timed out", "stopped". NULL: it ended itself. With !s->is_opened the
 *           address could not be reached, and the owner tries the next one. `timed_out` and `stopping` may put a
 *           farewell, as for incoming ones.
 * Threads:  the worker's.
 * Lifetime: a client session is not counted by net.connections_max and not by host. `opened` and `closed` never come
 *           before client_connect has returned, not even for what fails at once, so that there is one path only.
 */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include "net/session.h"

struct client_setup {
    const struct protocol *protocol;
    void *service;
    struct net_addr addr;        /* with port; or a unix socket */
    struct net_addr local;       /* len 0, or of another family than addr: the system chooses */
    uint32_t connect_timeout_ms; /* > 0; then the session's own begins, which at first is net.handshake_timeout_s */
    void *arg;                   /* s->arg, also of the session that is returned */
    bool is_tls;                 /* TLS from the first octet (RFC 8314 3.3) */
    bool is_verified;            /* with is_tls: as verify below */
    slice server_name;           /* with is_tls: as below */
};

/* The worker owns it; never NULL. */
struct session *client_connect(struct worker *w, const struct client_setup *c);

/* Nothing can be written any more, but what the peer said before (a reply, then a reset) may lie in the input: step is
 * called while it takes of it, and then the session ends. To be asked by steps that write without reading. */
bool stream_is_lost(const struct stream *st);

/* STARTTLS from our side, after the peer's go-ahead: input that is there already is dropped (RFC 3207 6: it was not
 * protected), queued output is flushed, then the handshake runs on a helper. Return STEP_WAIT afterwards; step is
 * called when TLS is up (s->is_tls), or once with stream_tls_error(st) != NULL, after which the session closes
 * whatever step returns. verify: the certificate must be valid for server_name under tls.trust_file; otherwise any
 * is taken and the result only recorded. server_name: empty for a peer known by address only, which gets no SNI and
 * is never valid. */
void client_start_tls(struct session *s, slice server_name, bool verify);
const char *stream_tls_error(const struct stream *st);   /* NULL: none */
bool stream_tls_is_verified(const struct stream *st);    /* valid for the name, whether that was required or not */
const char *stream_tls_doubt(const struct stream *st);   /* why not verified, for people; NULL: verified, or plain */

#endif
