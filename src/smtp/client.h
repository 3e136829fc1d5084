/* client.h - the sending side of SMTP (RFC 5321) and LMTP (RFC 2033): one destination, one connection at a time, many
 * messages.
 *
 * Model:    a client belongs to one destination. smtp_client_send gives it one message; it resolves, connects to one
 *           address after the other, greets, STARTTLS, AUTH as far as that is still to be done, then goes through the
 *           transaction, in one flight where the peer allows (MAIL, all RCPT, DATA), and calls `done` when every
 *           recipient has a fate or no connection could be had. Then the next message may follow on the same
 *           connection, or the client rests, or is closed.
 *
 *             RESOLVE -> CONNECT -> GREETING -> HELLO -> (STARTTLS -> TLS -> HELLO) -> (AUTH) -> READY -> ENVELOPE
 *                          ^ next address on failure                     READY <- (RSET) <- FINAL <- BODY <-+
 *
 * Target:   "name": MX if is_mx, else its addresses; "name:port" and "[name]": its addresses; "[192.0.2.1]",
 *           "[IPv6:2001:db8::1]", with ":port" or without; "unix:/path".
 * Rules:    time-outs of RFC 5321 4.5.3.2 by state, from section "smtp_client". 4xx: LATER; 5xx: REFUSED. A 4xx, 421
 *           or time-out before MAIL: the next address; a 5xx there: too, and REFUSED only when all said so. A
 *           connection that breaks in the transaction before the final dot: the next address for recipients without a
 *           fate (the same address once more if it had been used before, for it may just have been idle too long). A
 *           connection that breaks between the final dot and its reply: LATER, and the message may arrive twice
 *           (counted, smtp_client.uncertain). 452 or 552 for a recipient behind accepted ones: a further transaction
 *           (RFC 5321 4.5.3.1.10). What is refused without asking the peer: SMTPUTF8 needed and not offered 5.6.7,
 *           larger than its SIZE 5.3.4, 8-bit octets without 8BITMIME 5.6.3, null MX 5.1.10, no such domain 5.1.2, we
 *           are its best MX 5.4.6.
 * TLS:      maytls: when offered; when the handshake fails, a new connection without. musttls: otherwise the mail waits
 *           with 4.7.5. Never on unix sockets. AUTH: PLAIN or LOGIN, only under TLS or on this host.
 * Threads:  all on the worker's thread. `done` and `gone` never come from within a call.
 * Memory:   a message is read in pieces of 64 KiB; what waits for the peer is bounded by the stream.
 */
#ifndef SMTP_CLIENT_H
#define SMTP_CLIENT_H

#include "base/keys.h"
#include "log/txlog.h"
#include "mail/envelope.h"
#include "net/client.h"
#include "net/dns.h"

#define SMTP_CLIENT_KEYS(K)                                                                                            \
    K(U32, connect_s, 30, 1, 3600, SECONDS, SESSION, NULL, "How long to wait for a connection to one address.")        \
    K(U32, greeting_s, 300, 1, 3600, SECONDS, SESSION, NULL, "For the greeting (RFC 5321 4.5.3.2.1).")                 \
    K(U32, mail_s, 300, 1, 3600, SECONDS, SESSION, NULL,                                                               \
      "For the answer to MAIL (RFC 5321 4.5.3.2.2); also to EHLO, STARTTLS, AUTH and RSET.")                           \
    K(U32, rcpt_s, 300, 1, 3600, SECONDS, SESSION, NULL, "For the answer to RCPT (RFC 5321 4.5.3.2.3).")               \
    K(U32, data_s, 120, 1, 3600, SECONDS, SESSION, NULL, "For the answer to DATA (RFC 5321 4.5.3.2.4).")               \
    K(U32, block_s, 180, 1, 3600, SECONDS, SESSION, NULL,                                                              \
      "How long the peer may take none of the message's octets (RFC 5321 4.5.3.2.5).")                                 \
    K(U32, final_s, 600, 1, 7200, SECONDS, SESSION, NULL, "For the answer to the final dot (RFC 5321 4.5.3.2.6).")     \
    K(U32, quit_s, 10, 1, 300, SECONDS, SESSION, NULL, "For the answer to QUIT.")                                      \
    K(U32, addresses_max, 10, 1, 100, COUNT, SESSION, NULL, "Addresses tried in one attempt.")                         \
    K(U32, reply_lines_max, 100, 1, 10000, COUNT, SESSION, NULL, "Lines of one reply.")                                \
    K(U32, reply_bytes_max, 16384, 512, 1048576, BYTES, SESSION, NULL, "Octets of one reply.")                         \
    K(BOOL, pipelining, 1, 0, 1, NONE, SESSION, NULL, "Use PIPELINING when offered.")                                  \
    K(BOOL, chunking, 0, 0, 1, NONE, SESSION, NULL, "Use CHUNKING (BDAT) when offered.")                               \
    K(STR, hostname, NULL, 0, 255, NONE, SESSION, NULL, "Name given in EHLO; default: server.hostname.")

struct smtp_client_conf {
    SMTP_CLIENT_KEYS(KEY_FIELD)
};
extern const struct key_table smtp_client_keys; /* "smtp_client" */
void smtp_client_counters_register(void);

/* --- a message ---------------------------------------------------------------------------------------------------- */

/* Where its octets come from. Must stay until `done`. */
struct smtp_source {
    uint64_t bytes;
    bool (*now)(void *arg, uint64_t at, void *out, size_t len); /* false: would wait for a disk, or failed */
    int (*wait)(void *arg, uint64_t at, void *out, size_t len, struct err *err); /* on a helper thread */
    void *arg;
};

enum smtp_fate { SMTP_FATE_NONE, SMTP_FATE_TAKEN, SMTP_FATE_LATER, SMTP_FATE_REFUSED };

struct smtp_client_rcpt {
    slice address, orcpt; /* as on the wire; orcpt may be empty */
    uint32_t notify;      /* enum notify_flags */
    /* out, in the message's mem */
    enum smtp_fate fate;
    slice status, diag;
    /* private */
    bool is_accepted;
};

enum smtp_end {
    SMTP_END_DONE,        /* every recipient has a fate */
    SMTP_END_UNREACHABLE, /* no connection, or none that goes as far as MAIL: nothing was tried */
    SMTP_END_LIMITED,     /* the same, and one of them said 421 */
    SMTP_END_STOPPED,     /* we stop; fates that are there count */
};

struct smtp_client_mail {
    slice sender; /* empty: null reverse-path */
    slice envid, auth; /* xtext or empty */
    uint8_t ret, body; /* enum envelope_ret, envelope_body */
    bool is_smtputf8;  /* envelope or header need it */
    struct smtp_client_rcpt *rcpts;
    unsigned rcpt_count;
    struct smtp_source source;
    struct arena *mem; /* for what comes out */
    void (*done)(struct smtp_client_mail *m);
    void *arg;
    /* out */
    enum smtp_end end;
    slice status, diag;    /* of the attempt: why there is no connection; else empty */
    slice where;           /* "mx.example.net [192.0.2.1]:25" */
    slice transport, application, modifiers; /* for the transaction log */
    bool peer_has_dsn;
    bool is_lost;          /* the connection broke in the transaction, and no other address was left */
};

/* --- a client ----------------------------------------------------------------------------------------------------- */

enum smtp_client_tls { SMTP_CLIENT_NOTLS, SMTP_CLIENT_MAYTLS, SMTP_CLIENT_MUSTTLS }; /* as channel_conf.tls */

struct smtp_client_setup { /* slices are copied */
    struct worker *worker;
    struct dns *dns;       /* NULL: addresses and unix sockets only */
    struct txlog *log;     /* NULL: none */
    struct conf_set *set;  /* referenced; NULL: defaults (tests) */
    const struct smtp_client_conf *conf; /* of set; NULL: looked up there */
    bool is_lmtp, is_mx;
    slice channel;         /* for the log */
    slice target;
    unsigned port;         /* 0: 25, LMTP 24 */
    enum smtp_client_tls tls;
    bool tls_verify;
    slice auth_user, auth_password; /* empty: no AUTH */
    struct net_addr local; /* len 0: the system's choice */
    void (*gone)(void *arg);     /* a resting client lost its connection, or rested long enough */
    void (*progress)(void *arg); /* something came or went; may be NULL */
    void *arg;
};

struct smtp_client;

/* -1, ERR_SYNTAX: the target is none. */
int smtp_client_new(struct smtp_client **out, const struct smtp_client_setup *setup, struct err *err);
/* One at a time: not before `done` of the one before was called (within it is fine). */
void smtp_client_send(struct smtp_client *c, struct smtp_client_mail *m);
/* Keep the connection for that long without a message; then `gone`, which comes at once when there is no connection. */
void smtp_client_rest(struct smtp_client *c, uint32_t ms);
/* A resting client, or one that was given nothing yet: whose, and when it is `gone`. */
void smtp_client_wake(struct smtp_client *c, void *arg);
unsigned smtp_client_sent(const struct smtp_client *c); /* messages on this connection; 0: none yet, or no connection */
/* What has not reached MAIL ends with SMTP_END_STOPPED, the rest goes on as long as the pool allows. */
void smtp_client_stop(struct smtp_client *c);
/* No message is under way: QUIT, and the client is gone; *c becomes NULL. The QUIT goes on by itself. */
void smtp_client_close(struct smtp_client **c);

#endif
