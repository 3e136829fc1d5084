/* syntax.h - the words of SMTP: octets of one line in, values out. Pure.
 *
 * Errors: ERR_SYNTAX with a sentence that holds nothing of the input, so that it may be sent to the client; on failure
 *         the cursor stays at the offending octet. ERR_PERM: a parameter that is not known (RFC 5321 4.1.1.11).
 */
#ifndef SMTP_SYNTAX_H
#define SMTP_SYNTAX_H

#include "mail/envelope.h"

#include "base/err.h"

#define SMTP_PATH_MAX_OCTETS 256 /* RFC 5321 4.5.3.1.3, with the angle brackets */
#define SMTP_ENVID_MAX_OCTETS 100 /* RFC 3461 4.4 */
#define SMTP_ORCPT_MAX_OCTETS 500 /* RFC 3461 4.2 */
#define SMTP_AUTH_LINE_MAX_OCTETS 12288 /* RFC 4954 4, without CRLF */
#define SMTP_SIZE_MAX_DIGITS 20 /* RFC 1870 3 */

/* The command word off *line, and the blank behind it. What is left has no blanks at its end (RFC 5321 4.1.1). */
slice smtp_verb(slice *line);

/* HELO, EHLO, LHLO: a domain or an address literal, and nothing else. */
int smtp_helo_parse(slice text, slice *out, struct err *err);

enum smtp_path_flags {
    SMTP_PATH_NULL = 1,       /* "<>" is allowed: reverse-path */
    SMTP_PATH_POSTMASTER = 2, /* "<Postmaster>" without a domain is allowed: RFC 5321 4.1.1.3 */
};
/* The path off *in. UTF-8 is accepted (RFC 6531 3.3); the caller looks whether SMTPUTF8 was given. out: both empty for
 * the null path. Source routes are checked and dropped. */
int smtp_path_parse(slice *in, unsigned flags, struct arena *mem, struct address *out, struct err *err);

/* What follows "MAIL": "FROM:" path [SP parameters]; what follows "RCPT": "TO:" path [SP parameters]. */
int smtp_mail_parse(slice args, struct arena *mem, struct envelope *out, struct err *err);
int smtp_rcpt_parse(slice args, struct arena *mem, struct recipient *out, struct err *err);

/* What follows "AUTH": mechanism [SP initial-response]; "=" stands for an empty response (RFC 4954 4). */
int smtp_auth_parse(slice args, slice *mechanism, slice *initial, bool *has_initial, struct err *err);

/* What follows "BDAT": chunk-size [SP "LAST"] (RFC 3030 2). */
int smtp_bdat_parse(slice args, uint64_t *bytes, bool *is_last, struct err *err);

#endif
