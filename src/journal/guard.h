/* guard.h - may we write here? Lock, boot id and kind of file system.
 *
 * Model:    one daemon per directory: an open-file-description lock on DIR/lock whose text names host, process and
 *           boot. A crashed holder's lock is released by the kernel; the text is information only. A child that was
 *           forked while the lock was held shares it, and keeps it until it closes the descriptor or executes another
 *           program.
 * Threads:  any.
 */
#ifndef JOURNAL_GUARD_H
#define JOURNAL_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define BOOT_ID_BYTES 37 /* text of a UUID and NUL */

void guard_boot_id(char out[BOOT_ID_BYTES]); /* of the running kernel; "unknown" if there is none */

/* Returns an fd to close when done, or -1: ERR_DENIED with the holder's host, pid and boot in the text when it is
 * held. */
int guard_lock(const char *dir, struct err *err);
/* Is it held by somebody? Fills holder with "process PID on HOST (boot ID)", or "" when it is not. */
bool guard_is_locked(const char *dir, char holder[200]);

enum guard_fs {
    GUARD_FS_OK,
    GUARD_FS_COPY_ON_WRITE, /* allocating ahead promises nothing: btrfs, ZFS, bcachefs */
    GUARD_FS_NOT_DURABLE,   /* tmpfs */
    GUARD_FS_REMOTE,        /* NFS, CIFS, 9p, FUSE */
};
/* name: the file system's name for messages, static text. */
int guard_fs_kind(const char *dir, enum guard_fs *kind, const char **name, struct err *err);
enum guard_fs guard_fs_of_magic(uint32_t magic, const char **name); /* f_type of statfs(2); pure */

#endif
