/* client_internal.h - what the files of the SMTP client share: the client, its connection, its attempt's faults. */
#ifndef SMTP_CLIENT_INTERNAL_H
#define SMTP_CLIENT_INTERNAL_H

#include "base/counter.h"
#include "smtp/client.h"
#include "smtp/client_syntax.h"

enum smtp_client_counter {
    CC_CONNECTIONS,
    CC_OPEN,
    CC_CONNECT_FAILED,
    CC_FAILED,
    CC_TLS,
    CC_TLS_FAILED,
    CC_REUSED,
    CC_TRANSACTIONS,
    CC_TAKEN,
    CC_LATER,
    CC_REFUSED,
    CC_UNCERTAIN,
    CC_PROTOCOL_ERRORS,
    CC_COUNT
};
extern struct counter smtp_client_counters[CC_COUNT];

/* --- where to ----------------------------------------------------------------------------------------------------- */

enum smtp_target_kind { TARGET_UNIX, TARGET_ADDRESS, TARGET_HOST, TARGET_MX };
struct smtp_target {
    enum smtp_target_kind kind;
    slice name;           /* HOST, MX */
    struct net_addr addr; /* UNIX, ADDRESS */
    unsigned port;
};
/* Pure. */
int smtp_target_parse(slice text, bool is_mx, unsigned port, struct smtp_target *out, struct err *err);

struct smtp_hop { /* one address to try */
    slice name;   /* empty: known by address only */
    struct net_addr addr;
};

/* --- the connection ------------------------------------------------------------------------------------------------
 *
 *   GREETING -> EHLO -> (HELO) -> READY <---------------------------------------------+
 *                |  \-> STARTTLS -> TLS -> EHLO                                       |
 *                \--> AUTH -> (AUTH_USER -> AUTH_PASSWORD) -> READY                   |
 *   READY -> (SCAN) -> ENVELOPE --354--> BODY (-> CHUNK) -> FINAL --+---------------->+
 *                         \--nobody is left--> RSET ----------------+ (RSET) -------->+
 *   READY -> QUIT; any -> closed
 *
 * SCAN: an 8-bit body and a peer without 8BITMIME: are there such octets at all? CHUNK: the answer to a BDAT is awaited
 * (peers without PIPELINING). */
enum conn_state {
    CONN_GREETING,
    CONN_EHLO,
    CONN_HELO,
    CONN_STARTTLS,
    CONN_TLS,
    CONN_AUTH,
    CONN_AUTH_USER,
    CONN_AUTH_PASSWORD,
    CONN_READY,
    CONN_SCAN,
    CONN_ENVELOPE,
    CONN_BODY,
    CONN_CHUNK,
    CONN_FINAL,
    CONN_RSET,
    CONN_QUIT,
    CONN_STATES
};

#define PIECE_BYTES (64u * 1024)

struct smtp_conn {
    struct session base; /* first */
    struct smtp_client *client; /* NULL: closed by its client, or over */
    enum conn_state state;
    struct smtp_client_conf conf; /* a copy: the client may be gone before */
    struct txlog *log;
    slice channel, transport, application; /* in base.mem */
    struct smtp_caps caps;
    struct smtp_reply reply;
    bool is_authenticated, is_lmtp, is_quit_sent;
    bool is_faulted;  /* the attempt's fault has been said */
    bool is_again;    /* try the same address anew (without TLS) */
    bool had_mail;    /* the present message's MAIL was sent here */
    unsigned mails;   /* transactions begun */
    int64_t opened_ms; /* monotonic */
    /* the transaction; memory: base.cmd_mem */
    struct smtp_client_rcpt **rcpts; /* those it is about */
    unsigned rcpt_count, accepted;
    unsigned next_out, next_in; /* commands: 0 MAIL, then each RCPT, then DATA */
    bool is_data_sent, is_mail_refused, is_empty; /* empty: a lone dot was sent */
    unsigned replies_at; /* LMTP: recipients answered after the dot */
    unsigned chunks_left; /* BDATs not yet answered */
    /* the body */
    uint64_t body_at;
    struct smtp_dot dot;
    unsigned char *piece;
    size_t piece_bytes;
    bool is_piece_read, is_piece_bad, is_reading;
    struct job job;
    struct smtp_source source; /* as the helper sees it */
};

extern const struct protocol smtp_client_protocol, lmtp_client_protocol;

struct smtp_client {
    struct smtp_client_setup setup; /* slices in mem */
    const struct smtp_client_conf *conf;
    struct smtp_client_conf defaults;
    struct arena mem, route_mem;
    struct smtp_target target;
    struct dns_query *query;
    struct smtp_hop *hops;
    unsigned hop_count, hop_at, tries;
    uint32_t rest_ms; /* asked for and not yet begun */
    struct smtp_conn *conn;
    struct smtp_client_mail *mail;
    struct later later;
    bool is_done, is_gone;       /* to be said by later */
    bool is_stopping, is_closing;
    bool is_tls_off;             /* for this hop: the handshake failed */
    bool was_tried;              /* MAIL was sent for this message somewhere */
    bool is_retried;             /* the connection had been used before and was lost: once more */
    bool is_limited, has_temp, has_perm; /* faults of this attempt */
    char status[SMTP_STATUS_MAX_OCTETS + 1];
    char diag[SMTP_DIAG_MAX_OCTETS + 1];
};

void smtp_client_closed(struct smtp_client *c, struct smtp_conn *conn); /* the connection is over */
void smtp_client_finish(struct smtp_client *c, enum smtp_end end);      /* `done` comes */
void smtp_client_where(const struct smtp_hop *hop, struct buf *out);
const struct smtp_hop *smtp_client_hop(const struct smtp_client *c);
void smtp_client_progress(struct smtp_client *c);

/* Why this connection, or the attempt, is of no use. The first fault of a connection counts. */
void smtp_fault(struct smtp_client *c, bool is_permanent, const char *status, const char *fmt, ...) PRINTF_LIKE(4, 5);
void smtp_conn_fault(struct smtp_conn *conn, bool is_permanent, const char *status, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void smtp_conn_fault_reply(struct smtp_conn *conn, const char *what); /* by the reply that just came */

/* Every recipient without a fate gets this one. */
void smtp_mail_fate(struct smtp_client_mail *m, enum smtp_fate fate, const char *status, const char *diag);
void smtp_rcpt_fate(struct smtp_client_mail *m, struct smtp_client_rcpt *r, enum smtp_fate fate, const char *status,
                    slice diag);
bool smtp_mail_is_decided(const struct smtp_client_mail *m);

/* --- steps shared by client_session.c and client_mail.c ----------------------------------------------------------- */

enum got { GOT_REPLY, GOT_MORE, GOT_BAD };
enum got smtp_conn_reply(struct smtp_conn *conn); /* MORE: WANT_READ; BAD: a fault was said, CLOSE */
void smtp_conn_enter(struct smtp_conn *conn, enum conn_state state, uint32_t timeout_s);
enum step smtp_conn_ready(struct smtp_conn *conn); /* -> READY */
enum step smtp_conn_begin(struct smtp_conn *conn); /* READY: a message is there */
const char *smtp_envelope_word(const struct smtp_conn *conn); /* "MAIL", "RCPT", "DATA": what is awaited */
enum step smtp_step_scan(struct smtp_conn *conn);
enum step smtp_step_envelope(struct smtp_conn *conn);
enum step smtp_step_body(struct smtp_conn *conn);
enum step smtp_step_chunks(struct smtp_conn *conn);
enum step smtp_step_final(struct smtp_conn *conn);
enum step smtp_step_rset(struct smtp_conn *conn);

#endif
