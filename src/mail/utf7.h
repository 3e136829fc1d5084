/* utf7.h - mailbox names between UTF-8 and modified UTF-7, RFC 3501 5.1.3. Pure. */
#ifndef MAIL_UTF7_H
#define MAIL_UTF7_H

#include "base/buf.h"
#include "base/slice.h"

bool utf7_to_utf8(slice in, struct buf *out); /* false: not valid modified UTF-7 */
void utf7_from_utf8(slice in, struct buf *out);

#endif
