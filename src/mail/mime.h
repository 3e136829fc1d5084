/* mime.h - the structure of a MIME message, RFC 2045, 2046, 2231. Pure.
 *
 * Model:    one pass over the octets gives a tree of parts with offsets into the message; nothing is decoded.
 *           Deterministic and total: every
 *           input has a structure, broken ones degrade to text/plain leaves. Limits: MIME_PARTS_MAX, MIME_DEPTH_MAX;
 *           beyond them the rest of an entity is one leaf.
 */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

#define MIME_PARTS_MAX 2000
#define MIME_DEPTH_MAX 64

struct mime_param {
    slice name, value; /* as written, unquoted; RFC 2231 continuations stand as they are ("filename*0*") */
    struct mime_param *next;
};

struct mime_part {
    uint64_t at; /* offset of its header in the message */
    uint64_t header_bytes; /* with the empty line */
    uint64_t body_bytes; /* body starts at at + header_bytes */
    uint64_t body_lines; /* line ends in the body */
    slice type, subtype; /* as written; "text","plain" by default */
    struct mime_param *params;
    slice id, description, encoding, md5, disposition, language, location; /* unfolded; empty when absent */
    struct mime_param *disposition_params;
    bool is_multipart,
        is_message; /* message/rfc822 or message/global: its only child is the inner message's top part */
    unsigned child_count;
    struct mime_part *first_child, *last_child, *next, *parent;
};

struct mime_part *mime_parse(slice message, struct arena *mem);
/* Part "2.1.3" as IMAP numbers them (RFC 9051 6.4.5); path empty: the top. NULL: no such part. */
struct mime_part *mime_find(struct mime_part *top, const uint32_t *path, unsigned depth);
/* Decode a leaf's body by its Content-Transfer-Encoding, and text to UTF-8 by its charset (false: charset unknown,
 * octets as they are). */
bool mime_decode_text(slice message, const struct mime_part *p, struct buf *out);
void mime_decode_octets(slice message, const struct mime_part *p, struct buf *out);
void qp_decode(slice in, struct buf *out); /* RFC 2045 6.7, lenient */

#endif
