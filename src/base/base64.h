/* base64.h - Base64, RFC 4648 4 (standard alphabet, padding), and the modified alphabet of RFC 3501 5.1.3.
 *
 * Model:    every call appends to `out`. Nothing is kept between calls.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

void base64_encode(struct buf *out, slice in);            /* one line, padded */
/* Strict: false on any octet outside the alphabet, bad padding, bad length or bits behind the last octet
 * (RFC 4648 3.5); out is then as before. */
bool base64_decode(struct buf *out, slice in);
/* The alphabet with ',' for '/' and without padding, of modified UTF-7 (RFC 3501 5.1.3); decoding is as strict. */
void base64_encode_modified(struct buf *out, slice in);
bool base64_decode_modified(struct buf *out, slice in);
/* For MIME (RFC 2045 6.8): octets outside the alphabet are skipped, decoding stops at padding or the end; an incomplete
 * last group gives the whole octets in it. */
void base64_decode_lenient(struct buf *out, slice in);

#endif
