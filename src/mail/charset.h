/* charset.h - octets of a named charset to UTF-8 by iconv. Invalid sequences become U+FFFD. */
#ifndef MAIL_CHARSET_H
#define MAIL_CHARSET_H

#include "base/buf.h"
#include "base/slice.h"

bool charset_known(slice name);
bool charset_to_utf8(slice name, slice in, struct buf *out); /* false: unknown charset, nothing appended */
/* Case folding for searching (RFC 5051 i;unicode-casemap, simplified to simple case folding of the Latin, Greek,
 * Cyrillic and Armenian scripts). */
void charset_fold(slice utf8, struct buf *out);

#endif
