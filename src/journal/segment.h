/* segment.h - segment files: finding, making, writing, sealing, pinning, deleting them.
 *
 * Model:    a `struct segment_dir` knows every segment file of the journal's directory and of its partitions. Names:
 *             journal/0000000000000012.seg        log segment 0x12
 *             journal/0000000000000013.body       large body
 *             journal/0000000000000014.cmp        compaction
 *             journal/spare-1, journal/reserve-1  allocated, not in use
 *             NAME.new                            being made; removed at open
 *           A sealed segment never changes; it is only deleted. The directory is synced after create, rename and
 *           unlink.
 * Threads:  the table of segments is protected by one lock (rank 30, held for look-ups only, never across a system call
 *           that may block long); files are written by one thread each.
 * Lifetime: a pinned file keeps its descriptor until unpinned, also after it was deleted or the directory was closed.
 */
#ifndef JOURNAL_SEGMENT_H
#define JOURNAL_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/err.h"
#include "journal/format.h"

struct segment_dir;
struct segment_file; /* an open descriptor with a use count */

struct segment_info {
    struct segment_header header; /* of a damaged one: number, kind and partition by its name, the rest may be 0 */
    uint64_t bytes;       /* file size */
    uint64_t records_end; /* sealed: where records end; else 0 */
    uint64_t last_seq;    /* sealed log segment */
    int64_t newest_ms;    /* sealed */
    bool is_sealed;
    bool is_footless;     /* sealed, but there was no room for the footer: read the records */
    /* Neither header copy valid (then not sealed), or the header contradicts the file's name, or the footer was read
     * and did not validate: then scan the records, and segment_seal replaces the footer. */
    bool is_damaged;
};

struct segment_dir_conf {
    const char *const *roots;  /* roots[0]: the journal's own directory; others: partitions. They must exist. */
    unsigned root_count;
    uint64_t segment_bytes;    /* nominal size of a log segment */
    bool copy_on_write;        /* no pre-writing, no recycling */
    bool read_only;            /* change nothing, not even leftovers: for tools beside a server */
    unsigned reserve_segments; /* 2; at most SEGMENT_RESERVE_MAX */
    const struct clock *clock;
};
#define SEGMENT_RESERVE_MAX 16u

/* Reads the directories and the headers and trailers of all segments; removes what a crash left half made. Files that
 * are no segments are left alone; a segment with unreadable header is listed as damaged. ERR_PERM: a segment of a newer
 * format. */
int segment_dir_open(struct segment_dir **out, const struct segment_dir_conf *conf, struct err *err);
void segment_dir_close(struct segment_dir **d);

/* All segments by number. at starts at 0; false at the end. Segments may come and go meanwhile. A body or compaction
 * segment appears when it is finished. */
bool segment_dir_next(struct segment_dir *d, uint64_t *at, struct segment_info *out);
bool segment_dir_find(struct segment_dir *d, uint64_t number, struct segment_info *out);
uint64_t segment_dir_next_number(struct segment_dir *d); /* takes one above all that there are */
uint64_t segment_dir_bytes(struct segment_dir *d);       /* of all files, spares included */
/* Is there a file of a number that was not handed out yet (then *number), so that somebody else made it? Only the
 * next two are looked for. Used to see a second writer. */
bool segment_dir_foreign(struct segment_dir *d, uint64_t *number);

/* --- spare and reserve -------------------------------------------------------------------------------------------- */

void segment_dir_set_reserve(struct segment_dir *d, unsigned segments); /* from the next segment_dir_prepare on */
/* Fill up the reserve, then make the spare if there is none (pre-written with zeros; on copy-on-write file systems,
 * where that would gain nothing, it is only made sure that there is room). Blocks; called on a helper. ERR_FULL when
 * the disk has no room. */
int segment_dir_prepare(struct segment_dir *d, struct err *err);
/* Can a log segment be had at once? */
bool segment_dir_has_spare(struct segment_dir *d);
unsigned segment_dir_reserve_count(struct segment_dir *d);
/* Give the room of one file of the reserve back to the file system, for a compaction segment that must be written
 * before a segment can go. ERR_FULL: there is none. */
int segment_dir_lend(struct segment_dir *d, struct err *err);

/* --- writing a log segment ---------------------------------------------------------------------------------------- */

/* A plain value: may be copied, if one copy is closed. */
struct segment_writer {
    struct segment_dir *dir;
    struct segment_file *file;
    struct segment_header header;
    uint64_t at;        /* next record goes here */
    uint64_t capacity;  /* nominal size; writing beyond grows the file */
    uint64_t last_seq;
    int64_t newest_ms;
    bool is_doubtful;   /* set by an open that failed: a crash may bring the segment back */
};

/* Turn the spare (or, with use_reserve, a reserve file; or a new file) into log segment `h`: header written and synced,
 * renamed, directory synced. h's format, kind, partition, number and salt are filled in, created_ms if it is 0. After a
 * failure there is no such segment; but if w->is_doubtful is set then its name could not be removed durably, and no
 * record that its first_seq would void may be written any more. ERR_FULL: no spare, and no room; ERR_EXISTS: somebody
 * else made that number. */
int segment_writer_open(struct segment_writer *w, struct segment_dir *d, struct segment_header *h, bool use_reserve,
                        struct err *err);
/* One pwritev (more only beyond IOV_MAX or after a short write), at w->at; does not move w->at. iov may be modified. */
int segment_writer_write(struct segment_writer *w, struct iovec *iov, unsigned count, struct err *err);
int segment_writer_sync(struct segment_writer *w, struct err *err); /* fdatasync */
void segment_writer_close(struct segment_writer *w); /* the segment stays open (not sealed); no-op when closed */

/* Write the footer behind `records_end` of a log segment that nobody writes any more, sync, cut the file behind it.
 * Reads the records from the file; what is damaged stays as it is and is left out of the footer. Blocks; called on a
 * helper or at open. Octets behind records_end (a torn tail) are overwritten or cut. A crash leaves the segment as it
 * was: not sealed. Nothing is done if it is sealed and not damaged. ERR_DAMAGE: header unreadable, or it cannot be.
 * ERR_FULL: there is no room for the footer. Until the end of the process the segment then counts as sealed all the
 * same (so it can be emptied, which makes room), but its footer cannot be read. */
int segment_seal(struct segment_dir *d, uint64_t number, uint64_t records_end, struct err *err);
/* A segment that was found sealed at open is so on disk when this returns 0: a process that died over its last sync
 * leaves a trailer that stands in the page cache only. To be called before what follows the segment goes, which says
 * until then where its records end. Nothing is done for others, or again. ERR_FULL as above. Blocks. */
int segment_harden(struct segment_dir *d, uint64_t number, struct err *err);

/* --- writing body and compaction segments ------------------------------------------------------------------------- */

/* A new file of that kind in the root h->partition; records are appended with segment_writer_write. Not yet synced. h's
 * format, number and salt are filled in, created_ms if it is 0. It is listed once it is finished; until then it can be
 * pinned, and is discarded with close and segment_drop. */
int segment_create(struct segment_writer *w, struct segment_dir *d, struct segment_header *h, struct err *err);
/* Footer behind w->at, sync of file and directory: from here on it is sealed. Closes w, also on failure; then drop
 * it. */
int segment_finish(struct segment_writer *w, struct footer_writer *footer, struct err *err);

/* --- reading ------------------------------------------------------------------------------------------------------ */

struct segment_pin {
    struct segment_file *file;
    int fd;
    uint32_t salt;   /* of the segment, for checking records */
    uint64_t number;
};
bool segment_pin(struct segment_dir *d, uint64_t number, struct segment_pin *pin); /* false: no such segment */
void segment_unpin(struct segment_pin *pin);                                       /* any thread; no-op when empty */

/* The footer of a sealed segment; *mem (initialized) gets its octets (buf_free). ERR_NOTFOUND: no such segment, or not
 * sealed; ERR_DAMAGE: it does not validate or cannot be read (then the segment becomes is_damaged). */
int segment_read_footer(struct segment_dir *d, uint64_t number, struct footer *f, struct buf *mem, struct err *err);
/* The whole file into *mem (initialized, its content is replaced). Unreadable blocks (EIO) come as zeros and are
 * counted in *bad_bytes. ERR_LIMIT: not enough memory. */
int segment_read_all(struct segment_dir *d, uint64_t number, struct buf *mem, uint64_t *bad_bytes, struct err *err);

/* --- deleting ----------------------------------------------------------------------------------------------------- */

/* Forget the segment; its file becomes the spare when there is none, it is a log segment and nobody pins it, else it is
 * unlinked. ERR_NOTFOUND: no such segment. After another failure it may be there again at the next open. Blocks. */
int segment_drop(struct segment_dir *d, uint64_t number, struct err *err);

#endif
