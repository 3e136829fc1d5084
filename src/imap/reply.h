/* reply.h - every tagged or untagged status answer of the IMAP server, as one table (RFC 3501 7.1, RFC 5530). */
#ifndef IMAP_REPLY_H
#define IMAP_REPLY_H

#include "store/store.h"

#define IMAP_REPLIES(R)                                                                                                \
    /* done */                                                                                                         \
    R(IMAP_R_DONE, "OK", NULL, "done")                                                                                 \
    R(IMAP_R_LOGGED_IN, "OK", NULL, "logged in")                                                                       \
    R(IMAP_R_BEGIN_TLS, "OK", NULL, "begin TLS now")                        /* RFC 3501 6.2.1 */                       \
    R(IMAP_R_SELECTED, "OK", "READ-WRITE", "selected")                      /* RFC 3501 6.3.1 */                       \
    R(IMAP_R_EXAMINED, "OK", "READ-ONLY", "examined")                       /* RFC 3501 6.3.2 */                       \
    R(IMAP_R_EXPUNGED_MEANWHILE, "OK", "EXPUNGEISSUED", "done, but some messages are gone") /* RFC 2180, RFC 5530 */   \
    /* refused */                                                                                                      \
    R(IMAP_R_AUTH_FAILED, "NO", "AUTHENTICATIONFAILED", "wrong name or password")                                      \
    R(IMAP_R_AUTH_DISABLED, "NO", "AUTHORIZATIONFAILED", "this account is disabled")                                   \
    R(IMAP_R_AUTH_BUSY, "NO", "UNAVAILABLE", "too many logins under way, try again later")                             \
    R(IMAP_R_AUTH_TEMP, "NO", "UNAVAILABLE", "passwords cannot be checked now, try again later")                       \
    R(IMAP_R_AUTH_MECHANISM, "NO", "CANNOT", "no such mechanism here")                                                 \
    R(IMAP_R_NEEDS_TLS, "NO", "PRIVACYREQUIRED", "encryption is required first: STARTTLS")                             \
    R(IMAP_R_NONEXISTENT, "NO", "NONEXISTENT", "no such mailbox")                                                      \
    R(IMAP_R_TRYCREATE, "NO", "TRYCREATE", "no such mailbox")               /* RFC 3501 6.3.11, 6.4.7 */               \
    R(IMAP_R_EXISTS, "NO", "ALREADYEXISTS", "the mailbox exists already")                                              \
    R(IMAP_R_BAD_NAME, "NO", "CANNOT", "not a possible mailbox name")                                                  \
    R(IMAP_R_OVER_QUOTA, "NO", "OVERQUOTA", "the quota is used up")                                                    \
    R(IMAP_R_LIMIT, "NO", "LIMIT", "a limit of the server is reached")                                                 \
    R(IMAP_R_HAS_CHILDREN, "NO", "HASCHILDREN", "the mailbox has inferior names") /* RFC 9051 6.3.5 */                 \
    R(IMAP_R_EXPUNGED, "NO", "EXPUNGEISSUED", "the messages are gone")                                                 \
    R(IMAP_R_FULL, "NO", "UNAVAILABLE", "the disk is full")                                                            \
    R(IMAP_R_TEMP, "NO", "UNAVAILABLE", "temporary failure, try again later")                                          \
    R(IMAP_R_REBUILDING, "NO", "UNAVAILABLE", "the index is being rebuilt, try again soon")                            \
    R(IMAP_R_READ_ONLY, "NO", "READ-ONLY", "the mailbox was examined, not selected")                                   \
    R(IMAP_R_TOO_BIG, "NO", "TOOBIG", "larger than this server accepts")    /* RFC 4469 */                             \
    R(IMAP_R_EMPTY_MESSAGE, "NO", "CANNOT", "a message needs at least one octet")                                      \
    R(IMAP_R_BAD_CHARSET, "NO", "BADCHARSET (US-ASCII UTF-8)", "unknown charset") /* RFC 3501 7.1 */                   \
    R(IMAP_R_DAMAGED, "NO", "CORRUPTION", "some messages could not be read")                                           \
    R(IMAP_R_NO_QUOTA_ROOT, "NO", "NONEXISTENT", "no such quota root")                                                 \
    R(IMAP_R_NO_SETQUOTA, "NO", "NOPERM", "quotas are set by the administrator")                                       \
    /* wrong */                                                                                                        \
    R(IMAP_R_UNKNOWN, "BAD", NULL, "unknown command")                                                                  \
    R(IMAP_R_NOT_NOW, "BAD", NULL, "not in this state")                                                                \
    R(IMAP_R_NO_TLS, "BAD", NULL, "TLS is not offered here")                                                           \
    R(IMAP_R_HAS_TLS, "BAD", NULL, "TLS is active already")                                                            \
    R(IMAP_R_CANCELLED, "BAD", NULL, "authentication cancelled")            /* RFC 3501 6.2.2 */                       \
    R(IMAP_R_BAD_BASE64, "BAD", NULL, "not valid base64")                                                              \
    R(IMAP_R_BAD_NUMBER, "BAD", NULL, "a message number is larger than the mailbox")                                   \
    R(IMAP_R_NOT_DONE, "BAD", NULL, "expected DONE")                        /* RFC 2177 */                             \
    R(IMAP_R_LONG_LINE, "BAD", NULL, "line too long")                                                                  \
    R(IMAP_R_BARE, "BAD", NULL, "bare CR, bare LF or NUL in the line")                                                 \
    R(IMAP_R_NO_TAG, "BAD", NULL, "a command begins with a tag")                                                       \
    /* farewells */                                                                                                    \
    R(IMAP_R_LOGOUT, "BYE", NULL, "logging out")                                                                       \
    R(IMAP_R_BYE_ERRORS, "BYE", NULL, "too many errors")                                                               \
    R(IMAP_R_BYE_FAILURES, "BYE", NULL, "too many failed logins")                                                      \
    R(IMAP_R_BYE_IDLE, "BYE", NULL, "idle for too long")                                                               \
    R(IMAP_R_BYE_LOGIN_TIME, "BYE", NULL, "login took too long")                                                       \
    R(IMAP_R_BYE_STOPPING, "BYE", "UNAVAILABLE", "the server is stopping")                                             \
    R(IMAP_R_BYE_MAILBOX, "BYE", NULL, "the selected mailbox was deleted")

enum imap_reply {
#define R(name, word, code, text) name,
    IMAP_REPLIES(R)
#undef R
        IMAP_REPLY_COUNT
};
struct imap_reply_row {
    const char *word; /* OK, NO, BAD, BYE */
    const char *code; /* response code without brackets, or NULL */
    const char *text;
};
extern const struct imap_reply_row imap_replies[IMAP_REPLY_COUNT];

/* What the store said, as a reply. The target of COPY, MOVE and APPEND is missing: is_target gives [TRYCREATE]. */
enum imap_reply imap_reply_of(enum store_result result, bool is_target);

#endif
