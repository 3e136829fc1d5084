/* replies.h - every reply of the SMTP, submission and LMTP servers that is not a verdict of intake (intake/intake.h).
 *
 * Rows with "" as enhanced code are those that RFC 2034 4 excepts: greeting, HELO and EHLO, and 3yz.
 */
#ifndef SMTP_REPLIES_H
#define SMTP_REPLIES_H

#define SMTP_REPLIES(R)                                                                                                \
    R(SMTP_R_GREETING, 220, "", "ESMTP ready") /* RFC 5321 4.2 */                                                      \
    R(SMTP_R_GREETING_LMTP, 220, "", "LMTP ready") /* RFC 2033 4 */                                                    \
    R(SMTP_R_BYE, 221, "2.0.0", "Closing connection")                                                                  \
    R(SMTP_R_TLS_GO, 220, "2.0.0", "Ready to start TLS") /* RFC 3207 4 */                                              \
    R(SMTP_R_AUTH_OK, 235, "2.7.0", "Authentication successful") /* RFC 4954 4 */                                      \
    R(SMTP_R_OK, 250, "2.0.0", "OK")                                                                                   \
    R(SMTP_R_VRFY, 252, "2.5.0", "Send mail to find out") /* RFC 5321 7.3 */                                           \
    R(SMTP_R_HELP, 214, "2.0.0", "See RFC 5321")                                                                       \
    R(SMTP_R_DATA_GO, 354, "", "End data with <CR><LF>.<CR><LF>")                                                      \
    R(SMTP_R_AUTH_GO, 334, "", "")                                                                                     \
    R(SMTP_R_STOPPING, 421, "4.3.2", "Server is stopping, try again later") /* RFC 5321 3.8 */                         \
    R(SMTP_R_TIMEOUT, 421, "4.4.2", "Timeout, closing connection") /* RFC 5321 4.5.3.2 */                              \
    R(SMTP_R_MANY_ERRORS, 421, "4.7.0", "Too many errors")                                                             \
    R(SMTP_R_MANY_IDLE, 421, "4.7.0", "Too many commands without a message")                                           \
    R(SMTP_R_MANY_MESSAGES, 421, "4.7.0", "Too many messages in one session")                                          \
    R(SMTP_R_EARLY, 554, "5.5.0", "You spoke before the greeting") /* RFC 5321 4.3.1 */                                \
    R(SMTP_R_UNKNOWN, 500, "5.5.2", "Command not known")                                                               \
    R(SMTP_R_TOO_LONG, 500, "5.5.6", "Line too long")                                                                  \
    R(SMTP_R_BARE, 500, "5.5.2", "Line with a bare CR or LF")                                                          \
    R(SMTP_R_SYNTAX, 501, "5.5.4", "Syntax error")                                                                     \
    R(SMTP_R_NO_ARGUMENTS, 501, "5.5.4", "This command takes no arguments")                                            \
    R(SMTP_R_NO_EXPN, 502, "5.5.1", "EXPN is not offered")                                                             \
    R(SMTP_R_NOT_OFFERED, 502, "5.5.1", "Command not offered here")                                                    \
    R(SMTP_R_NEED_HELO, 503, "5.5.1", "EHLO first")                                                                    \
    R(SMTP_R_NEED_LHLO, 503, "5.5.1", "LHLO first")                                                                    \
    R(SMTP_R_NEED_MAIL, 503, "5.5.1", "MAIL first")                                                                    \
    R(SMTP_R_NEED_RCPT, 503, "5.5.1", "RCPT first")                                                                    \
    R(SMTP_R_NESTED, 503, "5.5.1", "A message is under way already")                                                   \
    R(SMTP_R_CHUNKS, 503, "5.5.1", "BDAT is under way, only BDAT or RSET may follow") /* RFC 3030 2 */                 \
    R(SMTP_R_REFUSED, 503, "5.5.1", "You were refused, only QUIT may follow") /* RFC 5321 3.1 */                      \
    R(SMTP_R_NO_RCPT, 554, "5.5.1", "No valid recipients") /* RFC 2920 3.1 */                                          \
    R(SMTP_R_PARAMETER, 555, "5.5.4", "Parameter not known") /* RFC 5321 4.1.1.11 */                                   \
    R(SMTP_R_NEED_UTF8, 553, "5.6.7", "Address needs SMTPUTF8") /* RFC 6531 3.5 */                                     \
    R(SMTP_R_NEED_AUTH, 530, "5.7.0", "Authentication required") /* RFC 4954 6 */                                      \
    R(SMTP_R_NEED_TLS, 538, "5.7.11", "Encryption required for this mechanism") /* RFC 4954 6 */                       \
    R(SMTP_R_TLS_ALREADY, 503, "5.5.1", "TLS is active already")                                                       \
    R(SMTP_R_AUTH_ALREADY, 503, "5.5.1", "Authenticated already") /* RFC 4954 4 */                                     \
    R(SMTP_R_AUTH_MECHANISM, 504, "5.5.4", "Mechanism not offered") /* RFC 4954 4 */                                   \
    R(SMTP_R_AUTH_CANCELLED, 501, "5.0.0", "Authentication cancelled") /* RFC 4954 4 */                                \
    R(SMTP_R_AUTH_BASE64, 501, "5.5.2", "Not base64") /* RFC 4954 4 */                                                 \
    R(SMTP_R_AUTH_LONG, 500, "5.5.6", "Authentication line too long") /* RFC 4954 4 */                                 \
    R(SMTP_R_AUTH_FAILED, 535, "5.7.8", "Authentication failed") /* RFC 4954 6 */                                      \
    R(SMTP_R_AUTH_DISABLED, 525, "5.7.13", "Account disabled") /* RFC 5248 2.4 */                                      \
    R(SMTP_R_AUTH_TEMP, 454, "4.7.0", "Temporary authentication failure") /* RFC 4954 6 */                             \
    R(SMTP_R_AUTH_MANY, 421, "4.7.0", "Too many failed authentications")

enum smtp_reply {
#define R(name, code, enhanced, text) name,
    SMTP_REPLIES(R)
#undef R
        SMTP_REPLY_COUNT
};

struct smtp_reply_row {
    unsigned code;
    const char *enhanced, *text;
};
extern const struct smtp_reply_row smtp_replies[SMTP_REPLY_COUNT];

#endif
