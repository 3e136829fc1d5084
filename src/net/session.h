/* session.h - what all protocol sessions share: the driver, the buffered stream with framing, waiting, timeouts, TLS.
 *
 * Model:    a protocol gives a `struct protocol` row. The room net accepts, makes the session object (session_bytes,
 *           the protocol's struct begins with `struct session`), and calls `step` whenever input came, output drained,
 *           a wait ended. step works on what there is and says what it needs next. Idle sessions hold no buffers: input
 *           and output buffers come from the worker when octets flow and go back when empty.
 *
 *             AGAIN       call me once more
 *             WANT_READ   when more input came (or the peer closed: stream_eof); session_wake calls step, too (IDLE)
 *             WANT_WRITE  when output fell below the low-water mark
 *             WAIT        when session_wake is called; s->wait says for what, in one word, shown by `posthouse
 *                         sessions`. Nothing is read meanwhile, and slices of lines stay valid.
 *             CLOSE       flush output, then close
 *
 * Stopping: when the server stops or the user is disabled, net sets s->is_draining. A session that rests in WANT_READ
 *           and has not set s->is_busy gets `stopping` (put a farewell) and is closed; others when they come to rest,
 *           or at the end of the grace. So a protocol sets is_busy only while a stop should wait for its peer's next
 *           input (a message under way), and needs to do nothing else.
 * Threads:  a session belongs to one worker (reactor) from accept to close. session_wake from its own thread only;
 *           other threads post. Answers carry the session id: session_find on the worker, NULL = it is gone, drop the
 *           answer.
 * Lifetime: s->mem lives with the session, s->cmd_mem is reset by the protocol when a command or message ends. `closed`
 *           is the last call; what the session has in flight with other threads must not point into it, but for what
 *           session_hold covers.
 * Limits:   net.connections_max, net.connections_per_host; output above STREAM_OUT_HIGH stops step until drained.
 */
#ifndef NET_SESSION_H
#define NET_SESSION_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/confset.h"
#include "base/map.h"
#include "base/net_addr.h"
#include "net/conf.h"
#include "net/frame.h"
#include "reactor/pool.h"
#include "reactor/reactor.h"

enum step { STEP_AGAIN, STEP_WANT_READ, STEP_WANT_WRITE, STEP_WAIT, STEP_CLOSE };

struct session;
struct stream;
struct worker;
struct tls_context;

struct protocol {
    const char *name;     /* "imap" */
    size_t session_bytes; /* of the struct that begins with struct session; it is zeroed */
    void (*opened)(struct session *s); /* accepted, TLS (if implicit) is up; greet from step. May be NULL */
    enum step (*step)(struct session *s);
    void (*timed_out)(struct session *s); /* put a farewell; the session closes afterwards. May be NULL */
    void (*stopping)(struct session *s);  /* put a farewell (421, BYE); the session closes afterwards. May be NULL */
    /* Put to a peer over the limits, then closed: "421 4.3.2 …", "* BYE …"; without CRLF. NULL: closed silently. */
    const char *busy_text;
    void (*closed)(struct session *s); /* release what is held; memory goes afterwards. May be NULL */
    /* state in one word (static text); user and the like into out. May be NULL */
    const char *(*describe)(struct session *s, struct buf *out);
};

struct session {
    const struct protocol *protocol;
    const struct listener_conf *listener;
    void *service; /* the protocol's own context, from service_add */
    struct worker *worker;
    struct stream *stream;
    uint64_t id; /* unique in the process's life */
    struct net_addr peer, local;
    struct arena mem, cmd_mem;
    const char *wait; /* reason of STEP_WAIT, static text */
    int64_t began_ms; /* wall */
    bool is_tls;
    bool is_draining; /* the server stops, or the user was disabled */
    bool is_busy;     /* set by the protocol: a stop waits, see above */
    slice user; /* authenticated as; for display and user_close */
    void *arg;           /* of client_connect */
    const char *failure; /* why it ended, if not by itself; lives as long as the session. See net/client.h */
    /* private to net */
    struct list link, ready_link;
    struct later later;
    struct timer timer;
    uint32_t timeout_ms; /* as last set */
    uint8_t phase;
    uint8_t step_state;
    bool is_woken, is_opened, is_counted, is_host_counted;
    bool is_client; /* made by client_connect */
    bool is_refused; /* over the limits: told so, never opened */
    bool is_handshaking; /* a helper has the TLS state */
    unsigned holds;
};

/* --- worker: one reactor with its sessions ------------------------------------------------------------------------ */

struct worker {
    struct reactor *reactor;
    unsigned index;
    struct pool *helpers;
    struct conf_set *conf; /* current; swapped between callbacks */
    struct idmap sessions; /* id -> struct session */
    void *private;
};

struct session *session_find(struct worker *w, uint64_t id); /* NULL: gone */
void session_wake(struct session *s); /* ends STEP_WAIT: step is called in this turn, or again if it runs just now */
/* A helper works on what the session holds: `closed` and the end of its memory wait for session_release, on the worker,
 * by whoever took the hold. The stream and the configuration do not wait: the helper must touch neither. */
void session_hold(struct session *s);
bool session_release(struct session *s); /* false: the session is gone, and s must not be used any more */
/* From now; 0 is refused: every session has a timeout. Starts anew by itself only while output drains. At first it is
 * net.handshake_timeout_s. */
void session_timeout(struct session *s, uint32_t ms);
/* Of the current set; hold with session_conf_ref across waits. NULL when the set has no such section (tests). */
const void *session_conf(struct session *s, enum conf_section section);
struct conf_set *session_conf_ref(struct session *s); /* snap_unref when the transaction ends */

/* --- input: framing (net/frame.h). Only this layer knows about partial input ------------------------------------- */

/* One line without its CRLF; valid until the next stream call, and over a WAIT. A lone LF ends a line, too: with lf_ok
 * it is FRAME_OK, else FRAME_BARE (so that a peer without CR is answered and not left waiting). max: octets without
 * CRLF. */
enum frame stream_line(struct stream *st, size_t max, bool lf_ok, slice *line);
/* Up to max raw octets (literals, BDAT); at least 1. */
enum frame stream_octets(struct stream *st, size_t max, slice *part);
/* Message data of RFC 5321 4.5.2: dots removed, CRLF kept. *end: the final dot was seen (part is empty then).
 * FRAME_BARE: a bare CR or LF was met (smuggling); from then on parts are to be thrown away, the call goes on to the
 * real end. */
enum frame stream_dot(struct stream *st, slice *part, bool *end);
bool stream_has_input(const struct stream *st); /* octets are buffered (pipelining) */
bool stream_eof(const struct stream *st);
uint64_t stream_in_bytes(const struct stream *st);

/* --- output: queued, written when step returns -------------------------------------------------------------------- */

#define STREAM_OUT_HIGH (256u * 1024) /* beyond it a step returns WANT_WRITE before producing more */

void stream_put(struct stream *st, slice s);
void stream_printf(struct stream *st, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct buf *stream_out(struct stream *st); /* append directly; valid until the step returns */
/* Queue octets [at, at + len) of an open file (a message body). release(arg) (may be NULL) is called once they are sent
 * or the stream ends, also on failure, and perhaps before this returns. Short files end the connection: what was
 * announced cannot be taken back. */
void stream_put_file(struct stream *st, int fd, uint64_t at, uint64_t len, void (*release)(void *arg), void *arg);
bool stream_out_is_high(const struct stream *st);
uint64_t stream_out_bytes(const struct stream *st);

/* --- TLS ---------------------------------------------------------------------------------------------------------- */

bool stream_can_tls(const struct stream *st); /* plain now, the listener is "starttls", and there is a certificate */
/* Flush what is queued (the 220 or OK), drop every buffered input octet (nothing survives STARTTLS; *had_input tells if
 * there was any, which is an injection attempt: RFC 3207, RFC 9051 11), then handshake on a helper. Return STEP_WAIT
 * afterwards; step is called when TLS is up; on failure the session closes. */
void stream_start_tls(struct stream *st, bool *had_input);
const char *stream_tls_version(const struct stream *st); /* "TLSv1.3", NULL when plain */
const char *stream_tls_cipher(const struct stream *st);

#endif
