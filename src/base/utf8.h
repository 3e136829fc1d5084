/* utf8.h - UTF-8 validation and steps, RFC 3629. Overlong forms, surrogates and values above U+10FFFF are invalid. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

bool utf8_valid(slice s);
bool utf8_is_ascii(slice s);                       /* no octet above 0x7F */
/* Decode one character off *s. False at the end or on an invalid octet (then *s is left there). */
bool utf8_next(slice *s, uint32_t *cp);
void utf8_put(struct buf *b, uint32_t cp);         /* cp <= 0x10FFFF, no surrogate */

#endif
