/* record_log.h - the log that t/fault/preload_record.c writes and crash_sim.c reads. Header only: the preloaded
 * object has no library.
 *
 * Model:    one event after the other in the order in which the calls took effect: struct record_event, then len1 +
 *           len2 octets, padded to 8. A handle is one open file description; files themselves are known by their
 *           paths at the time, and the reader follows renames and unlinks.
 */
#ifndef T_RECORD_LOG_H
#define T_RECORD_LOG_H

#include <stdint.h>

#define RECORD_EVENT_MAGIC 0x56454850u /* "PHEV" */

enum record_kind {
    REC_OPEN = 1,     /* handle, path, a = inode number; flags: enum record_open */
    REC_CLOSE,        /* handle; the last descriptor of it */
    REC_WRITE,        /* handle, a = offset, data */
    REC_TRUNCATE,     /* handle, a = size */
    REC_FALLOCATE,    /* handle, a = offset, b = length, flags = mode */
    REC_SYNC,         /* handle (file or directory); flags 1: fdatasync */
    REC_SYNC_FAILED,
    REC_RENAME,       /* path, path */
    REC_LINK,         /* path, path */
    REC_UNLINK,       /* path */
    REC_MKDIR,        /* path */
    REC_RMDIR,        /* path */
    REC_SYNC_ALL,     /* sync, syncfs */
    REC_MSYNC,        /* a = length; what was written through the map is unknown */
    REC_REPLY,        /* data: something was answered. Marker descriptor or socket (handle = descriptor) */
    REC_KIND_COUNT
};

enum record_open { REC_OPEN_CREATED = 1, REC_OPEN_TRUNC = 2, REC_OPEN_DIR = 4 };

struct record_event {
    uint32_t magic;
    uint16_t kind;
    uint16_t flags;
    uint32_t handle;
    uint32_t thread; /* kernel's number, for people */
    uint64_t a, b;
    uint32_t len1, len2;
};

#endif
