/* internal.h - what the files of pop3 share; nobody else includes it.
 *
 *   session.c  driver, states, login        commands.c  the commands of a logged-in session
 *
 *      AUTHORIZATION --USER, PASS, AUTH ok--> OPENING --INBOX seen--> TRANSACTION --QUIT--> UPDATE --expunged--> DONE
 *      AUTHORIZATION --AUTH--> EXCHANGE --each response--> CHECKING --failed--> AUTHORIZATION
 *      TRANSACTION --RETR, TOP--> SENDING --sent--> TRANSACTION
 *      any --QUIT before login, too many errors, timeout--> DONE
 *
 *   CHECKING, OPENING and UPDATE wait for an answer (STEP_WAIT); view is set from TRANSACTION on. */
#ifndef POP3_INTERNAL_H
#define POP3_INTERNAL_H

#include "base/counter.h"
#include "pop3/pop3.h"
#include "pop3/syntax.h"
#include "store/message.h"
#include "store/view.h"

enum pop3_state {
    POP3_AUTHORIZATION, POP3_EXCHANGE, POP3_CHECKING, POP3_OPENING, POP3_TRANSACTION, POP3_SENDING, POP3_UPDATE,
    POP3_DONE, POP3_STATES
};

enum {
    PC_SESSIONS, PC_OPEN, PC_LOGINS, PC_LOGIN_FAILURES, PC_RETRIEVED, PC_DELETED, PC_BAD, PC_TOO_MANY_ERRORS,
    PC_TIMEOUTS, PC_COUNT
};
extern struct counter pop3_counters[PC_COUNT];

/* All fixed replies; RFC 2449 8 and RFC 3206 name the codes in brackets. */
#define POP3_REPLIES(R) \
    R(POP3_R_BYE,           "+OK Bye") \
    R(POP3_R_OK,            "+OK") \
    R(POP3_R_USER_OK,       "+OK Password, please") \
    R(POP3_R_STLS,          "+OK Begin TLS") \
    R(POP3_R_LOGGED_IN,     "+OK Mailbox open") \
    R(POP3_R_UNKNOWN,       "-ERR Unknown command") \
    R(POP3_R_ORDER,         "-ERR Not now") \
    R(POP3_R_SYNTAX,        "-ERR Wrong arguments") \
    R(POP3_R_LONG,          "-ERR Line too long") \
    R(POP3_R_BARE,          "-ERR Line with a bare CR, LF or NUL") \
    R(POP3_R_NO_MESSAGE,    "-ERR No such message") \
    R(POP3_R_DELETED,       "-ERR Message is marked for deletion") \
    R(POP3_R_AUTH_FAILED,   "-ERR [AUTH] Authentication failed") \
    R(POP3_R_AUTH_DISABLED, "-ERR [AUTH] Account disabled") \
    R(POP3_R_AUTH_BUSY,     "-ERR [SYS/TEMP] Too busy, try again later") \
    R(POP3_R_AUTH_TEMP,     "-ERR [SYS/TEMP] Cannot check right now, try again later") \
    R(POP3_R_MECHANISM,     "-ERR Unknown mechanism") \
    R(POP3_R_NEEDS_TLS,     "-ERR [AUTH] Use TLS first") \
    R(POP3_R_BASE64,        "-ERR Not valid Base64") \
    R(POP3_R_CANCELLED,     "-ERR Authentication cancelled") \
    R(POP3_R_NO_STLS,       "-ERR TLS is not available") \
    R(POP3_R_REBUILDING,    "-ERR [SYS/TEMP] The index is being rebuilt, try again soon") \
    R(POP3_R_MAILBOX_TEMP,  "-ERR [SYS/TEMP] Mailbox not available, try again later") \
    R(POP3_R_READ_FAILED,   "-ERR [SYS/PERM] The message cannot be read") \
    R(POP3_R_UPDATE_FAILED, "-ERR [SYS/TEMP] Some deleted messages were not removed") \
    R(POP3_R_TOO_MANY,      "-ERR Too many errors") \
    R(POP3_R_TIMEOUT,       "-ERR [SYS/TEMP] Idle for too long") \
    R(POP3_R_STOPPING,      "-ERR [SYS/TEMP] Server stops")

enum pop3_reply {
#define R(name, text) name,
    POP3_REPLIES(R)
#undef R
    POP3_REPLY_COUNT
};
extern const char *const pop3_reply_text[POP3_REPLY_COUNT];

struct pop3_session {
    struct session s; /* first */
    enum pop3_state state;
    uint8_t errors, login_failures;
    bool is_greeted, has_tried;
    slice user; /* of USER; in s.mem */
    struct auth_exchange *exchange;
    uint64_t owner;   /* of dir */
    uint64_t mailbox;
    struct store_view *view;
    unsigned char *marked; /* bit per message; from mem_alloc */
    uint32_t marked_count;
    /* SENDING */
    uint32_t number;
    uint64_t at;
    uint32_t lines_left;  /* of TOP; UINT32_MAX: all */
    bool in_body, is_line_start;
};

void pop3_reply(struct pop3_session *p, enum pop3_reply r);
void pop3_error(struct pop3_session *p, enum pop3_reply r); /* counts towards pop3.errors_max */
void pop3_enter(struct pop3_session *p, enum pop3_state state);
static inline struct pop3_service *pop3_service(struct pop3_session *p)
{
    return p->s.service;
}
static inline bool pop3_is_marked(const struct pop3_session *p, uint32_t number)
{
    return (p->marked[number / 8] & (1u << (number % 8))) != 0;
}

/* commands.c. Each is called in TRANSACTION with its line. */
typedef enum step pop3_command_fn(struct pop3_session *p, const struct pop3_line *line);
pop3_command_fn pop3_stat, pop3_list, pop3_uidl, pop3_retr, pop3_top, pop3_dele, pop3_rset, pop3_noop, pop3_quit;
enum step pop3_send(struct pop3_session *p);     /* one slice of SENDING */
enum step pop3_open_mailbox(struct pop3_session *p); /* OPENING */

#endif
