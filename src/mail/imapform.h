/* imapform.h - ENVELOPE and BODYSTRUCTURE texts of a message, RFC 9051 7.5.2, made once and cached by the store.
 * Pure. */
#ifndef MAIL_IMAPFORM_H
#define MAIL_IMAPFORM_H

#include "base/buf.h"
#include "mail/mime.h"

void imapform_envelope(slice header_block, struct buf *out); /* "(…)" */
void imapform_body(slice message, const struct mime_part *top, bool extended,
                   struct buf *out); /* BODYSTRUCTURE (extended) or BODY */
void imapform_string(struct buf *out, slice s); /* nstring-safe: quoted if short and plain, else literal {n} */
void imapform_nstring(struct buf *out, slice s, bool is_nil);

#endif
