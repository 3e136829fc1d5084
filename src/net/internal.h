/* internal.h - what the files of the room net share and nobody else sees: the stream's inside, the worker's inside,
 * the phases of a session, counters. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include "base/counter.h"
#include "net/limits.h"
#include "net/tls.h"
#include "net/worker.h"

#define STREAM_IN_BYTES (16u * 1024)        /* first input buffer */
#define STREAM_IN_BULK_BYTES (64u * 1024)   /* when the first was filled at one go: a transfer */
#define STREAM_IN_MAX (256u * 1024)         /* what a protocol leaves lying in the input stops reading */
#define STREAM_OUT_LOW (64u * 1024)         /* WANT_WRITE ends below it */
#define STREAM_WRITE_BURST (1024u * 1024)   /* octets written in one go, so that one fast peer does not hold the loop */
#define STREAM_FILE_INLINE (16u * 1024)     /* files up to this are copied into the output at once */
#define WORKER_SCRATCH_BYTES (64u * 1024)   /* for records of TLS and parts of files, within one callback */
#define WORKER_SPARE_BUFFERS 64u

enum net_counter {
    NC_ACCEPTED,
    NC_OPEN,
    NC_BUSY,
    NC_BUSY_HOST,
    NC_ACCEPT_FAILED,
    NC_TIMEOUTS,
    NC_IN_BYTES,
    NC_OUT_BYTES,
    NC_BROKEN,
    NC_PROXY_BAD,
    NC_TLS_OK,
    NC_TLS_RESUMED,
    NC_TLS_FAILED,
    NC_TLS_INJECTED,
    NC_SHORT_FILES,
    NC_USER_CLOSED,
    NC_OUT_CONNECTED,
    NC_OUT_FAILED,
    NC_OUT_OPEN,
    NC_COUNT
};
extern struct counter net_counters[NC_COUNT];

/* --- a session's phases -------------------------------------------------------------------------------------------
 *
 *   PROXY --header--> TLS --done--> RUN --CLOSE, timeout, stop--> CLOSING --flushed--> DEAD
 *     \____ plain ____________________^ \--start_tls--> RETLS --done--> RUN
 *   CONNECT --connected--> TLS or RUN        (net/client.h)
 *   any --failure--> DEAD
 *
 * PROXY    a PROXY header is awaited, nothing else is known of the peer
 * TLS      implicit TLS: the protocol has not been told of the session
 * RUN      step is called
 * RETLS    STARTTLS: output is flushed, then the handshake runs
 * CLOSING  the output is flushed; step is not called any more
 * DEAD     out of every list; its memory goes with the later
 * CONNECT  of ours: the peer has not answered, or the failure is about to be told */
enum phase { PHASE_PROXY, PHASE_TLS, PHASE_RUN, PHASE_RETLS, PHASE_CLOSING, PHASE_DEAD, PHASE_CONNECT };

/* --- stream --- */

struct out_file {
    struct out_file *next;
    uint64_t text_at; /* position in the stream of queued text before which the file goes */
    uint64_t at, left;
    int fd;
    void (*release)(void *arg);
    void *arg;
};

struct stream {
    struct session *session;
    struct io io;
    struct tls_stream *tls; /* NULL: plain */
    struct buf in;
    size_t in_at; /* octets before it are used */
    struct line_state line;
    struct dot_state dot;
    struct buf out;
    size_t out_at;      /* octets before it are written */
    uint64_t out_base;  /* position of out.ptr[0] in the stream of text */
    struct out_file *files, *last_file;
    uint64_t file_bytes; /* of all files queued, still to be written */
    uint64_t in_bytes, out_bytes;
    bool is_eof;      /* nothing more will be read */
    bool is_broken;   /* nothing can be read or written */
    bool is_starved;  /* a framing call found too little since the step began */
    /* of clients: what TLS is asked for, and how it ended */
    slice tls_name; /* in the session's memory */
    bool tls_verify;
    const char *tls_error;
};

enum flush { FLUSH_DONE, FLUSH_BLOCKED, FLUSH_BROKEN };

void stream_init(struct stream *st, struct session *s, int fd, io_fn *fn);
void stream_free(struct stream *st);      /* closes the descriptor */
bool stream_fill(struct stream *st);      /* read what is there; false: nothing new (would block) */
enum flush stream_flush(struct stream *st);
void stream_settle(struct stream *st);    /* give empty buffers back */
uint64_t stream_out_pending(const struct stream *st);
slice stream_out_text(const struct stream *st); /* to be written before the next file */
void stream_out_text_done(struct stream *st, size_t len);
void stream_out_file_done(struct stream *st, size_t len);
slice stream_peek(const struct stream *st);
void stream_take(struct stream *st, size_t len);

/* --- session --- */

void session_init(struct session *s, struct worker *w, int fd);
void session_io_update(struct session *s); /* wait for what the phase and state need */
void session_run(struct session *s);       /* the driver */
void session_open(struct session *s);      /* accepted: PROXY header, limits, TLS, RUN, in this order */
void session_begin_run(struct session *s); /* TLS is up or not wanted */
void session_stop(struct session *s);      /* is_draining was set: close now if it rests */
void session_farewell(struct session *s, void (*put)(struct session *s)); /* put (may be NULL), flush, close */
void session_break(struct session *s);     /* close at once, nothing is flushed; memory goes later in this turn */
void session_tls_begin(struct session *s); /* phase TLS or RETLS, everything is flushed: handshake */
void session_tls_io(struct session *s);    /* the socket is ready in these phases */
void session_tls_failed(struct session *s, const char *why);
void session_connected(struct session *s); /* phase CONNECT: the socket is ready; client.c */
void session_fail(struct session *s, const char *why); /* keep the first reason of its end; static text, or in mem */
void session_print_peer(const struct session *s, struct buf *out);
const struct net_conf *worker_net_conf(const struct worker *w); /* defaults when the set has none */

/* --- worker --- */

struct worker_private {
    struct list all;   /* sessions by link */
    struct list ready; /* sessions by ready_link: to be stepped in the next turn */
    struct post ready_post;
    uint64_t next_id;
    bool is_ready_posted;
    struct tls_context *tls;
    struct tls_trust *trust; /* of clients; NULL until one is needed or set */
    struct net_limits *limits;
    struct buf spare[WORKER_SPARE_BUFFERS];
    unsigned spare_count;
    unsigned char *scratch; /* made at first use */
    void (*on_idle)(void *arg);
    void *on_idle_arg;
};

static inline struct worker_private *worker_private(const struct worker *w)
{
    return w->private;
}
void worker_ready(struct worker *w, struct session *s); /* step again, but let others go first */
struct buf worker_buffer_take(struct worker *w);
void worker_buffer_give(struct worker *w, struct buf *b); /* b becomes empty */
unsigned char *worker_scratch(struct worker *w);
void worker_session_come(struct worker *w, struct session *s); /* id, lists, counts */
void worker_session_gone(struct worker *w, struct session *s); /* out of lists and counts */
struct tls_trust *worker_trust(struct worker *w);

#endif
