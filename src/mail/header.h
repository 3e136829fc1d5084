/* header.h - header fields of a message, RFC 5322 2.2. Pure.
 *
 * Model:    a cursor over the octets of a header block; nothing is copied. Lines end in CRLF (a lone LF is accepted
 *           when reading). A block ends at
 *           the first empty line or at the end of the octets.
 */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H

#include "base/arena.h"
#include "base/slice.h"

struct header_field {
    slice name; /* without the colon and blanks before it */
    slice value; /* raw, folded, without the final line end; leading blank included in `raw` only */
    slice raw; /* the whole field with its line ends */
};

/* The next field off *rest. False at the end of the block (*rest then starts at the body, behind the empty line).
 * Lines that are no
 * fields (no colon) come with an empty name. */
bool header_next(slice *rest, struct header_field *f);
size_t header_block_bytes(slice message); /* header block with the empty line; all of it when there is no body */
bool header_find(slice block, slice name, slice *value); /* first field of that name, raw value */
unsigned header_count(slice block, slice name);
slice header_unfold(struct arena *mem, slice value); /* line ends removed, leading and trailing blanks trimmed */
/* RFC 2047 encoded words to UTF-8, by iconv; unknown charsets and broken words stay as they are. Input is unfolded.
 * */
slice header_decode(struct arena *mem, slice value);

#endif
