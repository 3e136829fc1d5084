/* intake.h - the only way in: one transaction object with phases, driven alike by SMTP, LMTP and everything that
 * brings messages; and where each message goes.
 *
 * Model:    connect, helo, auth, mail, rcpt (per recipient), body, commit. Each phase is a call that answers at once
 *           or later (INTAKE_WAIT: `done` is called on the transaction's reactor). A verdict names a row of the reply
 *           table below; the protocol writes it. The phases are the places where access rules, filters, rewriting and
 *           Sieve hook in. What a phase may look at stands in intake_peer: address and TLS from connect on, the name
 *           from helo on, the user from auth on. Connect, helo and auth know the lists intake.refuse_*, mail checks
 *           size and sender, rcpt asks the directory and the routes, body checks the header, commit delivers.
 *           A verdict with code 421 ends the session, whatever the phase.
 *
 *               IDLE --mail--> MAIL --rcpt--> RCPT --body_begin--> BODY --body_end--> COMMITTING --> IDLE
 *               reset from any state but COMMITTING leads to IDLE.
 *
 * Routing:  every address, after aliases, is a mailbox of ours (channel ims-ms, host: the user), a user whose mail is
 *           kept back (channel hold), or remote: the first row of "routes" that fits, else channel tcp_local with the
 *           domain as host. Who may send to others: users who logged in, clients in intake.relay_networks, and aliases
 *           of ours, whoever writes to them.
 * Commit:   one operation: the body once, a view for each recipient. A mailbox gets its message at once if the channel
 *           ims-ms is neither stopped, held nor queue_first, not more than direct_recipients_max mailboxes are meant,
 *           nothing is queued for that user, no receipt is asked for (NOTIFY=SUCCESS: the queue makes it), and the
 *           store takes it. Over quota (inside the grace) and while the account is being rebuilt it waits in the queue,
 *           and so does all mail for others, grouped by channel and host. SMTP has one answer for all recipients, so
 *           one that is refused refuses all, and a repeated message reaches nobody twice; LMTP answers for each. A
 *           record (intake/trace.h) says what was decided.
 * Ledger:   a recipient is created when it is accepted, and for each target of an alias, and ends with the message:
 *             L1  created = delivered + queued + refused + expanded + merged           (intake_ledger; counters)
 *           `delivered` went into a mailbox within the operation and is told to the queue's ledger as created and ended
 *           at ims-ms (`passed`, the same number but for what was delivered before there was a queue); `queued` became
 *           recipients of the queue, whose ledger closes by itself (queue.h Q1); what comes out of it for mailboxes
 *           ends in the store's ledger (store.h S6):
 *             L2  store.delivered + passed = delivered + queue.delivered of all channels of type store
 *             L3  queue.created - queue.moved >= queued + passed                       (the rest: notices, imports)
 *           intake_check recounts L1 to L3 within one operation, so they hold at any moment.
 * Threads:  a transaction belongs to a session's reactor.
 * Limits:   intake.recipients_max, intake.message_bytes_max, intake.received_max (loops, RFC 5321 6.3).
 */
#ifndef INTAKE_INTAKE_H
#define INTAKE_INTAKE_H

#include "base/confset.h"
#include "base/json.h"
#include "base/keys.h"
#include "base/net_addr.h"
#include "dir/dir.h"
#include "journal/journal.h"
#include "mail/envelope.h"
#include "queue/queue.h"
#include "reactor/pool.h"
#include "store/store.h"

struct intake;
struct txlog;
struct tally;

#define INTAKE_KEYS(K)                                                                                                 \
    K(U32, recipients_max, 1000, 100, 100000, COUNT, SESSION, "recipientlimit",                                        \
      "Recipients of one message (RFC 5321 4.5.3.1.8 asks for 100 at least); more get 452.")                           \
    K(U64, message_bytes_max, 52428800, 65536, 2146435072, BYTES, SESSION, "blocklimit",                               \
      "Largest message accepted; announced by SIZE.")                                                                  \
    K(U32, header_bytes_max, 262144, 4096, 1048576, BYTES, SESSION, "maxheaderblocklimit",                             \
      "Largest header of a message; a larger one gets 552.")                                                           \
    K(U32, received_max, 100, 10, 1000, COUNT, SESSION, "maxreceivedlines",                                            \
      "A message with more Received: fields is looping (RFC 5321 6.3).")                                               \
    K(U32, direct_recipients_max, 20, 0, 1000, COUNT, SESSION, NULL,                                                   \
      "A message for more mailboxes than this goes to all of them through the queue.")                                 \
    K(U32, expanded_max, 10000, 100, 100000, COUNT, SESSION, NULL,                                                     \
      "Recipients that one message may have once aliases are expanded; more get 452.")                                 \
    K(U32, alias_depth_max, 10, 1, 100, COUNT, SESSION, "maxaliaslevels", "Aliases within aliases.")                   \
    K(ENUM, looping, 0, "refuse|hold", 0, NONE, SESSION, NULL,                                                         \
      "What is done with a message that is looping: 554, or it is accepted and held in the queue.")                    \
    K(U32, quota_grace_hours, 120, 0, 8760, COUNT, SESSION, "store.quotagraceperiod",                                  \
      "How long mail for a full mailbox waits in the queue before it is returned; 0: it is refused at once.")          \
    K(STRS, relay_networks, NULL, 1, 64, NONE, SESSION, "INTERNAL_IP",                                                 \
      "Clients that may send to any domain without logging in: addresses and ranges.")                                 \
    K(STRS, refuse_clients, NULL, 1, 64, NONE, SESSION, NULL,                                                          \
      "Clients that get 554 in place of a greeting: addresses and ranges, such as \"192.0.2.0/24\" or "                \
      "\"2001:db8::/32\".")                                                                                            \
    K(STRS, refuse_helo, NULL, 1, 255, NONE, SESSION, NULL,                                                            \
      "Names in EHLO, HELO and LHLO that get 550; \"*.example.net\" stands for all names below example.net.")          \
    K(STRS, refuse_users, NULL, 1, 320, NONE, SESSION, NULL,                                                           \
      "Addresses of users who may log in elsewhere but not to send mail: their AUTH gets 535.")

struct intake_conf {
    INTAKE_KEYS(KEY_FIELD)
};
extern const struct key_table intake_keys;
/* What the rows cannot say: are refuse_clients and relay_networks ranges? Returns the number of errors. */
unsigned intake_conf_check(const struct intake_conf *conf, keys_report_fn *report, void *arg);

enum intake_source { INTAKE_SMTP, INTAKE_SUBMISSION, INTAKE_LMTP, INTAKE_PROCESS, INTAKE_SOURCES };

/* Replies that decisions lead to. The text is what the client reads after the enhanced code. */
#define INTAKE_REPLIES(R)                                                                                              \
    R(INTAKE_R_OK, 250, "2.0.0", "OK")                                                                                 \
    R(INTAKE_R_MAIL_OK, 250, "2.1.0", "Sender OK")                                                                     \
    R(INTAKE_R_RCPT_OK, 250, "2.1.5", "Recipient OK")                                                                  \
    R(INTAKE_R_NO_USER, 550, "5.1.1", "No such user here")                                                             \
    R(INTAKE_R_NO_RELAY, 550, "5.7.1", "Relaying denied")                                                              \
    R(INTAKE_R_USER_INACTIVE, 450, "4.2.1", "Mailbox temporarily disabled")                                            \
    R(INTAKE_R_USER_GONE, 550, "5.2.1", "Mailbox disabled")                                                            \
    R(INTAKE_R_OVER_QUOTA, 452, "4.2.2", "Mailbox full")                                                               \
    R(INTAKE_R_BEYOND_QUOTA, 552, "5.2.2", "Message is larger than the whole quota of the mailbox")                    \
    R(INTAKE_R_TOO_MANY_RCPT, 452, "4.5.3", "Too many recipients")                                                     \
    R(INTAKE_R_TOO_LARGE, 552, "5.3.4", "Message too large")                                                           \
    R(INTAKE_R_HEADER_TOO_LARGE, 552, "5.3.4", "Message header too large")                                             \
    R(INTAKE_R_ALIAS_LOOP, 451, "4.4.6", "Alias does not end")                                                         \
    R(INTAKE_R_LOOP, 554, "5.4.6", "Too many hops, this message is looping")                                           \
    R(INTAKE_R_FULL, 452, "4.3.1", "Insufficient system storage")                                                      \
    R(INTAKE_R_QUEUE_FULL, 452, "4.3.1", "Mail queue full")                                                            \
    R(INTAKE_R_BAD_DOMAIN, 550, "5.1.2", "Bad destination domain")                                                     \
    R(INTAKE_R_TEMP, 451, "4.3.0", "Temporary failure, try again later")                                               \
    R(INTAKE_R_BUSY, 451, "4.3.2", "System busy, try again later")                                                     \
    R(INTAKE_R_NOT_OWNER, 550, "5.7.1", "Sender address not allowed for this user")                                    \
    R(INTAKE_R_BARE_LINE_END, 554, "5.6.0", "Message contains a bare CR or LF")                                        \
    R(INTAKE_R_CLIENT_REFUSED, 554, "5.7.1", "Client address refused")                                                 \
    R(INTAKE_R_HELO_REFUSED, 550, "5.7.1", "Client name refused")                                                      \
    R(INTAKE_R_USER_REFUSED, 535, "5.7.1", "This user may not send mail")

enum intake_reply {
#define R(name, code, enhanced, text) name,
    INTAKE_REPLIES(R)
#undef R
        INTAKE_REPLY_COUNT
};
struct intake_reply_row {
    unsigned code;
    const char *enhanced, *text;
};
extern const struct intake_reply_row intake_replies[INTAKE_REPLY_COUNT];

/* The record types and the table, to be registered before journal_open; it keeps nothing in memory. */
extern const struct journal_room intake_journal_room;

int intake_new(struct intake **out, struct journal *j, struct store *s, struct dir *d, struct queue *q,
               struct pool *helpers, const struct clock *clock, struct err *err);
void intake_destroy(struct intake **in);
/* Who hears what came in (NULL: nobody): the transaction log its records E, D, S, J and V, the channels' numbers what
 * was received, submitted and rejected. Before the first transaction; both outlive the last one. */
void intake_observe(struct intake *in, struct txlog *log, struct tally *tally);

/* Totals since the journal was made: {"messages", "created", "delivered", "refused", "expanded", "merged", "queued",
 * "passed"}. */
OWNED json_t *intake_ledger(struct journal_view *v);
/* Recount L1-L3, one line a fault; their number, or -1. Waits: not on a reactor. conf says which channels are of type
 * store. */
int intake_check(struct journal *j, struct store *s, struct queue *q, struct conf_set *conf, journal_say_fn *say,
                 void *arg, struct err *err);

struct intake_tx;
typedef void intake_done_fn(void *arg, uint64_t session, struct intake_tx *tx);

struct intake_peer { /* filled by the protocol; borrowed for the transaction's life */
    enum intake_source source;
    struct net_addr addr, local;
    slice hostname; /* ours, for trace fields */
    slice helo;
    bool is_esmtp, is_tls;
    bool is_pipelined, is_chunked; /* commands came in groups; the message came by BDAT. For the log */
    const char *tls_version, *tls_cipher;
    const struct dir_user *user; /* authenticated, or NULL */
    slice auth_mechanism;
};

enum intake_status { INTAKE_NOW, INTAKE_WAIT }; /* NOW: read intake_reply; WAIT: done will be called */

/* One per session; reused for its messages. done is called on reactor with arg and session. */
struct intake_tx *intake_tx_new(struct intake *in, struct conf_set *conf, const struct intake_peer *peer,
                                struct reactor *reactor, uint64_t session, intake_done_fn *done, void *arg);
/* Also while a wait is under way: it ends by itself, done is not called. */
void intake_tx_destroy(struct intake_tx **tx);
void intake_tx_reset(struct intake_tx *tx, struct conf_set *conf);

/* Once at accept (TLS from the first octet is up); at each EHLO, HELO, LHLO, which STARTTLS makes anew; after each
 * successful AUTH. A verdict of class 4 or 5 refuses: the connection, the name, the user. */
enum intake_status intake_connect(struct intake_tx *tx);
enum intake_status intake_helo(struct intake_tx *tx);
enum intake_status intake_auth(struct intake_tx *tx);
/* Path values are copied. */
enum intake_status intake_mail(struct intake_tx *tx, const struct envelope *from);
enum intake_status intake_rcpt(struct intake_tx *tx, const struct recipient *rcpt);
unsigned intake_rcpt_count(const struct intake_tx *tx); /* accepted so far */
enum intake_reply intake_verdict(const struct intake_tx *tx); /* of the last phase */
slice intake_verdict_text(const struct intake_tx *tx); /* in place of the row's text; usually empty */

/* The message; at least one recipient was accepted. After a refusal (too large, disk) further parts are accepted and
 * thrown away; body_end tells. */
void intake_body_begin(struct intake_tx *tx);
void intake_body_part(struct intake_tx *tx, slice octets);
void intake_body_spoil(struct intake_tx *tx, enum intake_reply why); /* the protocol found it unacceptable (bare LF) */
/* Complete: delivery begins; INTAKE_WAIT normally. Afterwards intake_verdict (SMTP: one for all) or
 * intake_rcpt_verdict (LMTP); then intake_tx_reset. */
enum intake_status intake_body_end(struct intake_tx *tx);
enum intake_reply intake_rcpt_verdict(const struct intake_tx *tx, unsigned accepted_index);
/* Our id of the transaction, for "250 2.0.0 OK id=..." and Received:. */
slice intake_message_id(const struct intake_tx *tx);
/* The channel by which mail of this peer comes in, as things stand; what the protocol counts of it. */
slice intake_channel(const struct intake_tx *tx);
enum intake_count { INTAKE_CONNECTED, INTAKE_AUTH_OK, INTAKE_AUTH_FAILED };
void intake_count(struct intake_tx *tx, enum intake_count what);

/* --- a message that lies in the journal already: an entry of channel process or hold ------------------------------
 *
 * mail and rcpt as above, with a peer whose source is INTAKE_PROCESS (nobody is refused for relaying); then, in place
 * of the body phases, intake_known, intake_known_check, and intake_known_emit inside the operation that ends the
 * entry's recipients; each stands or falls by itself. At the end intake_known_done, then reset. */
struct intake_known {
    struct body_view view;
    slice header;                 /* of the message, as the view has it; copied */
    const struct queue_entry *entry; /* session, source, message and the like go on; borrowed until the end */
};
void intake_known(struct intake_tx *tx, const struct intake_known *k);
/* The verdicts as they would be now: intake_rcpt_verdict. False: nothing of it could be delivered or queued. */
bool intake_known_check(struct intake_tx *tx, struct err *err);
uint32_t intake_known_bytes(const struct intake_tx *tx); /* an estimate of what the next one emits */
/* On the committer. -1: a verdict has become worse since the check (ERR_TEMP), or the queue is full. */
int intake_known_emit(struct intake_tx *tx, struct journal_tx *jtx, struct err *err);
void intake_known_done(struct intake_tx *tx, bool is_durable);

#endif
