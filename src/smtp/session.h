/* session.h - one SMTP, submission or LMTP session, as the files of the server share it.
 *
 *                opened
 *                  |
 *              GREETING --early talker--------------------------------------------> CLOSING
 *                  | greeted                                                           ^
 *                  v                                                                   | QUIT, too many
 *   +-----------COMMAND--------------+-----------------+----------------+-----------> -+ errors
 *   |              ^  |              |                 |                |
 *   | MAIL, RCPT   |  | STARTTLS     | AUTH            | DATA           | BDAT
 *   v              |  v              v                 v                v
 *  ASKING -------->+ TLS ---->+  AUTH_STEP <--> AUTH_LINE   DATA      CHUNK --> (COMMAND, or with LAST)
 *                                    |                 |                |
 *                                    +--> COMMAND      +--> COMMITTING <+ --> COMMAND
 *
 * GREETING    nothing was sent yet; intake is asked whether the client may come in.
 * COMMAND     between commands; what was said so far stands in greeted, has_mail and intake's transaction.
 * ASKING      intake works on an EHLO, AUTH, MAIL or RCPT; wake comes from its answer. (On the connection itself in
 *             GREETING.)
 * AUTH_STEP   a helper works on the client's response; AUTH_LINE: the next response is awaited.
 * TLS         the handshake runs; all knowledge of the client is forgotten (RFC 3207 4.2).
 * DATA        message octets up to the final dot; CHUNK: octets of one BDAT.
 * COMMITTING  the message is complete and on its way to disk.
 * CLOSING     the last reply is queued.
 */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H

#include "base/counter.h"
#include "smtp/replies.h"
#include "smtp/smtp.h"

enum smtp_state {
    SMTP_GREETING,
    SMTP_COMMAND,
    SMTP_ASKING,
    SMTP_AUTH_STEP,
    SMTP_AUTH_LINE,
    SMTP_TLS,
    SMTP_DATA,
    SMTP_CHUNK,
    SMTP_COMMITTING,
    SMTP_CLOSING,
    SMTP_STATE_COUNT
};

enum smtp_asked { ASKED_CONNECT, ASKED_HELO, ASKED_AUTH, ASKED_MAIL, ASKED_RCPT }; /* which phase of intake */

enum smtp_kind { KIND_SMTP = 1, KIND_SUBMISSION = 2, KIND_LMTP = 4, KIND_ANY = 7 };

enum smtp_counter {
    SC_SESSIONS,
    SC_COMMANDS,
    SC_ACCEPTED,
    SC_MESSAGES_REFUSED,
    SC_RCPT_REFUSED,
    SC_ERRORS,
    SC_EARLY,
    SC_BARE,
    SC_TLS_INJECTED,
    SC_AUTH_OK,
    SC_AUTH_FAILED,
    SC_TIMEOUTS,
    SC_LIMITS,
    SC_COUNT
};
extern struct counter smtp_counters[SC_COUNT];

struct smtp_session {
    struct session base; /* first */
    enum smtp_kind kind;
    enum smtp_state state;
    enum smtp_asked asked; /* last */
    bool is_refused; /* the client: it may QUIT (RFC 5321 3.1) */
    bool greeted; /* HELO, EHLO or LHLO was accepted */
    bool has_mail; /* MAIL was accepted */
    bool had_rcpt; /* a RCPT was tried: with all refused DATA gets 554, else 503 */
    bool has_chunks; /* BDAT is under way */
    bool smtputf8; /* of this message */
    bool is_answered; /* what ASKING, AUTH_STEP or COMMITTING waits for came */
    bool is_auth_final; /* the server's proof was sent, an empty line is awaited */
    bool is_greeting_due; /* the delay is over */
    bool is_chunk_last;
    bool is_after_cr; /* the last octet of the chunks so far */
    uint64_t chunk_left;
    unsigned errors, idle_commands, auth_failures;
    uint64_t messages;
    struct buf helo;
    struct timer delay;
    struct intake_peer peer;
    struct intake_tx *tx;
    struct auth_exchange *exchange;
    struct dir_user user; /* in base.mem, once authenticated */
    /* for the log */
    bool is_told, has_last, hides_unknown;
    enum smtp_reply last; /* of the session */
    unsigned bad_commands, bad_code; /* the last reply of class 5 to a command, and its words */
    const char *bad_enhanced;
    char bad_text[160];
    int64_t began_ms;
    slice channel; /* once tx has gone; static text */
};

typedef enum step smtp_step_fn(struct smtp_session *s);

static inline struct smtp_session *smtp_of(struct session *s)
{
    return (struct smtp_session *)(void *)s;
}
static inline const struct smtp_conf *smtp_conf(struct smtp_session *s)
{
    return session_conf(&s->base, s->kind == KIND_LMTP ? CONF_LMTP : CONF_SMTP);
}

void smtp_enter(struct smtp_session *s, enum smtp_state state); /* asserts that the diagram allows it */

/* Replies. Those of class 4 and 5 count as errors. */
void smtp_put(struct smtp_session *s, enum smtp_reply r);
void smtp_put_text(struct smtp_session *s, enum smtp_reply r, const char *text); /* the row's codes, another text */
/* The last reply of the session; returns STEP_AGAIN. */
enum step smtp_put_last(struct smtp_session *s, enum smtp_reply r);
void smtp_put_verdict(struct smtp_session *s, enum intake_reply r);
/* After every command: STEP_AGAIN, or 421 when there were too many errors. */
enum step smtp_next(struct smtp_session *s);
void smtp_count_error(struct smtp_session *s);

/* The message under way is forgotten. */
void smtp_reset(struct smtp_session *s);
bool smtp_auth_is_offered(struct smtp_session *s, struct buf *mechanisms); /* may be NULL */

/* server_log.c */
void smtp_log_opened(struct smtp_session *s);
void smtp_log_refused(struct smtp_session *s, unsigned code, const char *enhanced, const char *text);
void smtp_log_closed(struct smtp_session *s);
/* Of s->exchange while there is one, else of s->user. */
void smtp_log_auth(struct smtp_session *s, unsigned code, const char *enhanced, const char *text);
/* A line was answered: if the reply in bad_… objects to it, that is told. Before it is run: is it worth keeping? */
bool smtp_log_wants_command(const struct smtp_session *s);
void smtp_log_command(struct smtp_session *s, slice line);

smtp_step_fn smtp_step_command; /* server_command.c */
smtp_step_fn smtp_step_asking;
/* A phase of intake was called, after is_answered was cleared: its verdict is put now, or from ASKING. */
enum step smtp_ask(struct smtp_session *s, enum smtp_asked asked, enum intake_status status);
/* The verdict on the user of s->peer. server_auth.c */
enum step smtp_auth_verdict(struct smtp_session *s);
smtp_step_fn smtp_step_auth, smtp_step_auth_line; /* server_auth.c */
smtp_step_fn smtp_step_data, smtp_step_chunk, smtp_step_committing; /* server_data.c */

/* Handlers of commands; args: what follows the word. They put the reply or enter a waiting state. */
typedef enum step smtp_command_fn(struct smtp_session *s, slice args);
smtp_command_fn smtp_do_auth, smtp_do_data, smtp_do_bdat;

void smtp_on_intake(void *arg, uint64_t session, struct intake_tx *tx); /* intake_done_fn */

#endif
