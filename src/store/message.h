/* message.h - the octets of a message as its owner sees them, and what was computed from them once.
 *
 * Model:    a view is a header block (a replacement or the body's own) followed by the body proper. Reading joins
 *           them. ENVELOPE, BODYSTRUCTURE and the header
 *           block are cached in a second LMDB environment keyed by (header id, body id); it may be dropped at any
 *           time.
 * Threads:  any; reads of large bodies belong on helpers when not in the page cache.
 */
#ifndef STORE_MESSAGE_H
#define STORE_MESSAGE_H

#include "store/view.h"

/* Octets [at, at+len) of the message, clamped; appended to out. */
int store_message_read(struct store *s, const struct body_view *b, uint64_t at, uint64_t len, struct buf *out,
                       struct err *err);
/* The same when no disk need be waited for; false: nothing was appended. */
bool store_message_read_now(struct store *s, const struct body_view *b, uint64_t at, uint64_t len, struct buf *out);
/* All of it, at most max octets (ERR_LIMIT). */
int store_message_load(struct store *s, const struct body_view *b, uint64_t max, struct buf *out, struct err *err);

/* The one or two file ranges that make up octets [at, at+len): for sending from the file. Fills ranges[0..*count);
 * each pin is the caller's to release. `at` counts from pin.offset: the place in the file is pin.offset + at. */
struct store_range {
    struct body_pin pin;
    uint64_t at, len;
};
int store_message_ranges(struct store *s, const struct body_view *b, uint64_t at, uint64_t len,
                         struct store_range ranges[2], unsigned *count, struct err *err);

struct store_cached {
    slice envelope; /* RFC 9051 ENVELOPE text */
    slice bodystructure; /* BODYSTRUCTURE */
    slice body; /* BODY */
    slice header; /* the complete header block */
    uint32_t header_bytes;
};
/* From the cache, or computed and put there (put is batched, not synced). The slices are copied into mem; want: bit
 * set of what is asked. */
enum store_cached_want { CACHED_ENVELOPE = 1, CACHED_BODYSTRUCTURE = 2, CACHED_BODY = 4, CACHED_HEADER = 8 };
int store_message_cached(struct store *s, const struct body_view *b, unsigned want, struct arena *mem,
                         struct store_cached *out, struct err *err);
/* Several in one read transaction of the cache (FETCH 1:* ENVELOPE): begin, get…, end within one loop turn. */
struct store_cache_reader;
struct store_cache_reader *store_cache_begin(struct store *s);
bool store_cache_get(struct store_cache_reader *c, const struct body_view *b, unsigned want,
                     struct store_cached *out); /* no copy; false: not cached */
void store_cache_end(struct store_cache_reader **c);

#endif
