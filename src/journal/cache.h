/* cache.h - what can be computed again, kept in an LMDB environment of its own that may be dropped at any time.
 *
 * Model:    two generations: puts go to the younger; when it has grown to half of max_bytes the older is emptied and
 *           becomes the younger. A pair found in the older one is not moved: what is used again is put again by those
 *           who
 *           miss it. Puts are queued and written by a helper in batches, never synced; a full queue drops them. It is
 *           trusted by the same rules as the
 *           index (index.h) and thrown away on any doubt.
 * Threads:  any. A reader is as short as one of the index.
 * Errors:   only cache_open; a cache that cannot be opened is NULL, and everything here accepts NULL: nothing is
 *           found.
 */
#ifndef JOURNAL_CACHE_H
#define JOURNAL_CACHE_H

#include "journal/journal.h"

struct cache;

/* dir/cache is made if need be. pool: for writing; NULL: written by the putting thread when the queue is full. */
int cache_open(struct cache **out, struct journal *j, const char *dir, uint64_t max_bytes, struct pool *pool,
               struct err *err);
void cache_close(struct cache **c); /* writes what is queued */

struct cache_reader {
    struct journal_view view;
    bool is_open;
};
void cache_read_begin(struct cache *c, struct cache_reader *r);
/* *value points into the map: valid until cache_read_end. */
bool cache_get(struct cache *c, struct cache_reader *r, slice key, slice *value);
void cache_read_end(struct cache_reader *r);

void cache_put(struct cache *c, slice key, slice value); /* copied; values over 256 KiB are not kept */
void cache_flush(struct cache *c);                       /* for tests: write the queue now */

#endif
