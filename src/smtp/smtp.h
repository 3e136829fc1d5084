/* smtp.h - the SMTP, submission and LMTP servers: one session, three protocols.
 *
 * Model:    RFC 5321 strict, RFC 6409 for submission, RFC 2033 for LMTP. Lines come from net's stream, syntax.c turns
 *           them into values, intake decides. The three protocols are rows for net: register each with
 *           net_server_protocol and one `struct smtp_service`, which lives as long as the net server.
 * Limits:   every one has a key in section "smtp" or "lmtp".
 */
#ifndef SMTP_SMTP_H
#define SMTP_SMTP_H

#include "auth/auth.h"
#include "base/keys.h"
#include "intake/intake.h"
#include "net/session.h"

#define SMTP_KEYS(K)                                                                                                   \
    K(U32, command_timeout_s, 300, 1, 86400, SECONDS, SESSION, NULL,                                                   \
      "How long a session waits for the next command (RFC 5321 4.5.3.2.7).")                                           \
    K(U32, data_timeout_s, 180, 1, 86400, SECONDS, SESSION, NULL,                                                      \
      "How long a session waits for more of a message (RFC 5321 4.5.3.2.5).")                                          \
    K(U32, line_max, 2048, 512, 65536, BYTES, SESSION, NULL, "Longest command line, without its line end.")            \
    K(U32, errors_max, 20, 1, 100000, COUNT, SESSION, NULL,                                                            \
      "Refused commands and recipients in one session; then it is closed with 421.")                                   \
    K(U32, idle_commands_max, 100, 10, 1000000, COUNT, SESSION, NULL,                                                  \
      "Commands in a row that bring no message nearer (NOOP, RSET, VRFY, EHLO ...); then the session is closed.")      \
    K(U32, messages_max, 0, 0, 100000000, COUNT, SESSION, NULL, "Messages in one session; 0: no limit.")               \
    K(BOOL, auth, 0, 0, 1, NONE, SESSION, NULL,                                                                        \
      "Offer AUTH on port 25, too. Users belong on the submission ports; guessers of passwords do not come there.")    \
    K(U32, greeting_delay_ms, 0, 0, 30000, MS, SESSION, NULL,                                                          \
      "Wait before the greeting; who speaks meanwhile is refused. Not for loopback and unix sockets.")

struct smtp_conf {
    SMTP_KEYS(KEY_FIELD)
};
/* The same keys for both sections; struct smtp_conf in each. */
extern const struct key_table smtp_keys, lmtp_keys;

struct txlog;
struct smtp_service {
    struct intake *intake;
    struct auth *auth; /* may be NULL: AUTH is not offered, submission refuses all */
    struct txlog *log; /* may be NULL: connections, authentications and bad commands are not recorded */
};

extern const struct protocol smtp_protocol; /* "smtp": mail for us from anybody */
extern const struct protocol submission_protocol; /* "submission": mail from our users, after AUTH */
extern const struct protocol lmtp_protocol; /* "lmtp": mail for us from trusted neighbours, an answer per recipient */

/* Counters "smtp.…"; once at start. */
void smtp_counters_register(void);

#endif
