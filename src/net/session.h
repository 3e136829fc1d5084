/* session.h - what all protocol sessions share: the driver, the buffered stream with framing, waiting, timeouts, TLS.
 *
 * Model:    a protocol gives a `struct protocol` row. The room net accepts, makes the session object (session_bytes,
 *           the protocol's struct begins with
 *           `struct session`), and calls `step` whenever input came, output drained, a wait ended. step works on what
 *           there is and says what
 *           it needs next. Idle sessions hold no buffers: input and output buffers come from the worker when octets
 *           flow and go back when empty.
 *
 *             AGAIN       call me once more
 *             WANT_READ   when more input came (or the peer closed: stream_eof)
 *             WANT_WRITE  when output fell below the low-water mark
 *             WAIT        when session_wake is called; s->wait says for what, in one word, shown by `posthouse
 *                         sessions`
 *             CLOSE       flush output, then close
 *
 * Threads:  a session belongs to one worker (reactor) from accept to close. session_wake from its own thread only;
 *           other threads post.
 *           Answers carry the session id: session_find on the worker, NULL = it is gone, drop the answer.
 * Lifetime: s->mem lives with the session, s->cmd_mem is reset by the protocol when a command or message ends.
 *           `closed` is the last call; what the session
 *           has in flight with other threads must not point into it.
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
#include "reactor/pool.h"
#include "reactor/reactor.h"

enum step { STEP_AGAIN, STEP_WANT_READ, STEP_WANT_WRITE, STEP_WAIT, STEP_CLOSE };

struct session;
struct stream;
struct worker;
struct tls_context;

struct protocol {
    const char *name; /* "imap" */
    size_t session_bytes; /* of the struct that begins with struct session */
    void (*opened)(struct session *s); /* accepted, TLS (if implicit) is up; greet from step */
    enum step (*step)(struct session *s);
    void (*timed_out)(struct session *s); /* put a farewell; the session closes afterwards */
    /* The server stops, or the user was disabled: put a farewell (421, BYE); closes between commands. */
    void (*stopping)(struct session *s);
    /* Put to a peer over the limits, then closed: "421 4.3.2 …", "* BYE …". */
    const char *busy_text;
    void (*closed)(struct session *s); /* release what is held; memory goes afterwards */
    const char *(*describe)(struct session *s, struct buf *out); /* state in one word; user and the like into out */
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
    bool is_draining; /* the server stops: finish the command, then go */
    slice user; /* authenticated as; for display and user_close */
    /* private to net */
    struct list link;
    struct later later;
    struct timer timer;
    uint8_t step_state;
};

/* --- worker: one reactor with its sessions -------------------------------------------------------------------------
 * */

struct worker {
    struct reactor *reactor;
    unsigned index;
    struct pool *helpers;
    struct conf_set *conf; /* current; swapped between callbacks */
    struct idmap sessions; /* id -> struct session */
    void *private;
};

struct session *session_find(struct worker *w, uint64_t id); /* NULL: gone */
void session_wake(struct session *s); /* ends STEP_WAIT: step is called in this turn */
void session_timeout(struct session *s, uint32_t ms); /* from now; 0 is refused: every session has a timeout */
const void *session_conf(struct session *s,
                         enum conf_section section); /* of the current set; hold with conf_ref across waits */
struct conf_set *session_conf_ref(struct session *s); /* snap_unref when the transaction ends */

/* --- input: framing. Only this layer knows about partial input
 * ------------------------------------------------------------ */

enum frame {
    FRAME_OK,
    FRAME_MORE, /* need input: return STEP_WANT_READ */
    FRAME_TOO_LONG, /* the line exceeds max; it has been skipped up to its end, once */
    FRAME_BARE, /* a line with a bare CR or LF, or NUL; skipped */
    FRAME_EOF, /* the peer closed (or reset): nothing more will come */
};

/* One line without its CRLF; valid until the next stream call. A lone LF ends a line only when lf_ok (then it is
 * FRAME_OK), else
 * FRAME_BARE. max: octets without CRLF. */
enum frame stream_line(struct stream *st, size_t max, bool lf_ok, slice *line);
/* Up to max raw octets (literals, BDAT); at least 1. */
enum frame stream_octets(struct stream *st, size_t max, slice *part);
/* Message data of RFC 5321 4.5.2: dots removed, CRLF kept. *end: the final dot was seen (part may be empty).
 * FRAME_BARE: a bare CR or LF was met
 * (smuggling); from then on parts are to be thrown away, the call goes on to the real end. */
enum frame stream_dot(struct stream *st, slice *part, bool *end);
bool stream_has_input(const struct stream *st); /* octets are buffered (pipelining) */
bool stream_eof(const struct stream *st);
uint64_t stream_in_bytes(const struct stream *st);

/* --- output: queued, written when step returns
 * ---------------------------------------------------------------------------- */

#define STREAM_OUT_HIGH (256u * 1024) /* beyond it a step returns WANT_WRITE before producing more */

void stream_put(struct stream *st, slice s);
void stream_printf(struct stream *st, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct buf *stream_out(struct stream *st); /* append directly; valid until the step returns */
/* Queue octets [at, at + len) of an open file (a message body). release(arg) is called once they are sent or the
 * stream ends, also on
 * failure. Short files end the connection: what was announced cannot be taken back. */
void stream_put_file(struct stream *st, int fd, uint64_t at, uint64_t len, void (*release)(void *arg), void *arg);
bool stream_out_is_high(const struct stream *st);
uint64_t stream_out_bytes(const struct stream *st);

/* --- TLS
 * ---------------------------------------------------------------------------------------------------------------------
 * */

/* Flush what is queued (the 220 or OK), drop every buffered input octet (nothing survives STARTTLS; *had_input tells
 * if there was any,
 * which is an injection attempt: RFC 3207, RFC 9051 11), then handshake on a helper. Return STEP_WAIT afterwards;
 * step is called when TLS is up; on failure the session closes. */
void stream_start_tls(struct stream *st, bool *had_input);
const char *stream_tls_version(const struct stream *st); /* "TLSv1.3", NULL when plain */
const char *stream_tls_cipher(const struct stream *st);

#endif
