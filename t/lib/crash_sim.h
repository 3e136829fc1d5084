/* crash_sim.h - a directory as a power loss may leave it, computed from the log of preload_record.
 *
 * Model:    the simulation follows the log. For each file it keeps what is certainly on disk and, in order, what was
 *           done since the last sync of that file; for names likewise. An *image* is one legal outcome of a crash at
 *           the present place: all that is certain, plus a seeded choice of the rest, writes torn at 512-byte
 *           sectors.
 *             CRASH_POSIX    a file's octets are certain after fsync of the file, a name after fsync of its
 *                            directory; every other name operation may have happened or not, in any combination
 *             CRASH_ORDERED  as journaling file systems do it: name operations happen in order, and any sync makes
 *                            all earlier ones certain
 *             CRASH_KILL     the process died, the machine did not: everything is there
 *           A sync can be left out (crash_sim_skip): then the images are those of a program that forgot it.
 * Threads:  one owner.
 * Errors:   a log that contradicts itself aborts: the recorder is wrong, or a call goes past it.
 */
#ifndef T_CRASH_SIM_H
#define T_CRASH_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/own.h"
#include "record_log.h"

/* --- the log ------------------------------------------------------------------------------------------------------ */

struct crash_log {
    unsigned char *octets;
    size_t bytes;
    size_t *events; /* offsets */
    size_t count;
};
int crash_log_open(struct crash_log *log, const char *path); /* an incomplete last event is dropped */
void crash_log_free(struct crash_log *log);                  /* after every simulation that was fed from it */
const struct record_event *crash_log_event(const struct crash_log *log, size_t n, const unsigned char **data1,
                                           const unsigned char **data2);

/* --- the simulation ----------------------------------------------------------------------------------------------- */

struct crash_sim;

/* Kinds of syncs, by what they make certain. */
enum crash_sync {
    CRASH_SYNC_HEADER,    /* of a log segment's first page */
    CRASH_SYNC_DATA,      /* of records in a log segment */
    CRASH_SYNC_BODY,      /* of a body or compaction segment */
    CRASH_SYNC_DIRECTORY,
    CRASH_SYNC_INDEX,     /* of LMDB's file */
    CRASH_SYNC_STATE,     /* of what says whether the index may be trusted */
    CRASH_SYNC_OTHER,
    CRASH_SYNC_COUNT
};
const char *crash_sync_name(enum crash_sync kind);

OWNED struct crash_sim *crash_sim_new(const char *dir); /* the recorded directory, which is empty at first */
OWNED struct crash_sim *crash_sim_copy(const struct crash_sim *s);
void crash_sim_destroy(struct crash_sim **s);

/* Instead of an empty directory: what lies below `from` is there, all of it certain. */
void crash_sim_base(struct crash_sim *s, const char *from);
/* Leave out the n-th sync of that kind; 0: all. */
void crash_sim_skip(struct crash_sim *s, enum crash_sync kind, uint64_t n);
void crash_sim_rewind(struct crash_sim *s); /* a new process: handles start again; names and octets stay */
/* Follow one event. The log must outlive the simulation. Returns the kind of sync, or -1 if it was none. */
int crash_sim_step(struct crash_sim *s, const struct crash_log *log, size_t n);
/* Is that event a write of records to a log segment? Then what comes next is a sync, and between them all is open. */
bool crash_sim_is_record_write(const struct crash_sim *s, const struct record_event *e);
uint64_t crash_sim_sync_count(const struct crash_sim *s, enum crash_sync kind);
uint64_t crash_sim_unsynced(const struct crash_sim *s); /* operations whose outcome is open */

enum crash_model { CRASH_KILL, CRASH_POSIX, CRASH_ORDERED };
struct crash_choice {
    enum crash_model model;
    uint64_t seed; /* 0: nothing uncertain happened; 1: all of it; else at random */
};
/* Write the image into `out`, which is emptied first. Returns the octets written or -1. */
int64_t crash_sim_image(const struct crash_sim *s, const struct crash_choice *choice, const char *out);
/* The inode number that the file of that name, relative to the directory, had when it was recorded; 0 if it is not in
 * the present names. */
uint64_t crash_sim_inode(const struct crash_sim *s, const char *name);

/* An image's files are new ones: let its index.state name the new index file, if it named the one with the recorded
 * inode, so that trust hangs on nothing but boot and clean mark. Returns whether it did. */
bool crash_index_adopt(const char *image, uint64_t recorded_inode);

/* rm -r of what is in dir, or of dir, too */
void crash_dir_empty(const char *dir, bool also_itself);

#endif
