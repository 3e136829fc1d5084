/* client_syntax.h - SMTP seen from the sending side: replies in, commands and message data out. Pure.
 *
 * Model:    a reply is fed line by line (net's stream cuts lines). Commands are appended to a buffer, with those
 *           parameters only that the peer knows. Message data goes through a small state, so that it may come in pieces
 *           cut anywhere.
 * Errors:   what a peer sends is never trusted: a line that is no reply line, codes that change within a reply and
 *           replies over the limits are SMTP_REPLY_BAD and SMTP_REPLY_LONG, after which the connection is of no use.
 */
#ifndef SMTP_CLIENT_SYNTAX_H
#define SMTP_CLIENT_SYNTAX_H

#include "base/buf.h"
#include "mail/envelope.h"

#define SMTP_STATUS_MAX_OCTETS 9 /* "5.999.999" RFC 3463 2 */
#define SMTP_DIAG_MAX_OCTETS 500

/* --- replies: RFC 5321 4.2, RFC 2034 ------------------------------------------------------------------------------ */

struct smtp_reply {
    unsigned code; /* 200 … 599 */
    char status[SMTP_STATUS_MAX_OCTETS + 1]; /* enhanced code of the first line if it goes with the code, or "" */
    struct buf text; /* of all lines, without codes, joined by LF; control characters and non-ASCII are '?' */
    unsigned lines;
    bool is_complete;
};
enum smtp_reply_got { SMTP_REPLY_MORE, SMTP_REPLY_DONE, SMTP_REPLY_BAD, SMTP_REPLY_LONG };

/* The next line, without its end. After DONE the next one begins a new reply. bytes_max: of all its lines together. */
enum smtp_reply_got smtp_reply_line(struct smtp_reply *r, slice line, unsigned lines_max, size_t bytes_max);
void smtp_reply_free(struct smtp_reply *r);
/* "5.1.1": the enhanced code, or class and ".0.0". Static or in r. */
const char *smtp_reply_status(const struct smtp_reply *r);
/* "smtp;550 5.1.1 no such user", lines joined by blanks, at most SMTP_DIAG_MAX_OCTETS. */
void smtp_reply_diag(const struct smtp_reply *r, struct buf *out);

/* --- what the peer can: RFC 5321 4.1.1.1 -------------------------------------------------------------------------- */

struct smtp_caps {
    bool is_esmtp; /* EHLO or LHLO was answered */
    bool pipelining, size, eightbitmime, smtputf8, dsn, chunking, binarymime, starttls, auth_plain, auth_login, auth;
    uint64_t size_max; /* 0: no limit said */
};
/* text: of the reply to EHLO, as in struct smtp_reply. Its first line is the greeting. What is not known is passed
 * over. */
void smtp_caps_read(struct smtp_caps *c, slice text);

/* --- commands ----------------------------------------------------------------------------------------------------- */

/* No control characters, so that it cannot become another command. */
bool smtp_is_sendable(slice address);

struct smtp_mail_args {
    slice sender; /* empty: "<>" */
    uint64_t bytes;
    uint8_t body, ret; /* enum envelope_body, envelope_ret */
    bool is_smtputf8;
    slice envid, auth; /* xtext, or empty */
};
/* RFC 5321 4.1.1.2, 1870 3, 6152 2, 6531 3.4, 3461 4.3 4.4. AUTH= (RFC 4954 5) only when args->auth is not empty. */
void smtp_mail_write(const struct smtp_mail_args *args, const struct smtp_caps *caps, struct buf *out);
/* RFC 3461 4.1 4.2 */
void smtp_rcpt_write(slice address, uint32_t notify, slice orcpt, const struct smtp_caps *caps, struct buf *out);

/* --- message data ------------------------------------------------------------------------------------------------- */

enum smtp_dot_at { SMTP_DOT_BOL, SMTP_DOT_MID, SMTP_DOT_CR };
struct smtp_dot {
    enum smtp_dot_at at; /* CR: one is kept back until it is known what follows */
    bool is_chunk;       /* BDAT: dots stay as they are */
};
/* Dots at the beginning of lines are doubled (RFC 5321 4.5.2); a bare CR or LF becomes CRLF (2.3.8). */
void smtp_dot_write(struct smtp_dot *d, slice in, struct buf *out);
/* The rest: the last line's end if it has none, and the final dot unless is_chunk. */
void smtp_dot_end(struct smtp_dot *d, struct buf *out);

#endif
