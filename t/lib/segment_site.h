/* segment_site.h - temporary directories with segments for tests. Every failure of a helper aborts the test program. */
#ifndef T_SEGMENT_SITE_H
#define T_SEGMENT_SITE_H

#include "base/buf.h"
#include "journal/segment.h"

#define SITE_SEGMENT_BYTES (64u * 1024)

struct segment_site {
    char root[2][256]; /* [1] is partition 1 */
    struct clock clock;
    struct segment_dir_conf conf; /* may be changed before site_open */
    const char *roots[2];
    struct segment_dir *dir;
};

/* Two empty directories and a configuration: no reserve, segments of SITE_SEGMENT_BYTES, a fake clock at
 * 1,700,000,000 s. */
void site_init(struct segment_site *s);
void site_free(struct segment_site *s); /* closes, and removes the directories */
void site_open(struct segment_site *s);
void site_close(struct segment_site *s);
void site_reopen(struct segment_site *s);

/* "root/name"; free() it. */
OWNED char *site_path(struct segment_site *s, unsigned root, const char *name);
bool site_exists(struct segment_site *s, unsigned root, const char *name);
void site_put(struct segment_site *s, unsigned root, const char *name, slice octets); /* make or replace a file */
void site_get(struct segment_site *s, unsigned root, const char *name, struct buf *out);
/* All names in the root, sorted, each followed by a blank. */
void site_names(struct segment_site *s, unsigned root, struct buf *out);

/* A new log segment with `count` records (build_simple) of `length` octets from first_seq on, synced. */
void site_log(struct segment_site *s, struct segment_writer *w, uint64_t first_seq, unsigned count, uint32_t length);
/* Append octets to the writer's segment and move w->at. */
void site_append(struct segment_writer *w, slice octets);
/* site_log, closed and sealed. Returns the number. */
uint64_t site_sealed(struct segment_site *s, uint64_t first_seq, unsigned count, uint32_t length);

/* Descriptors of this process that name something in the site's directories; all of them must be close-on-exec. */
unsigned site_descriptors(struct segment_site *s);

#endif
