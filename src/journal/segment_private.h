/* segment_private.h - what the segment_*.c files share; nobody else includes it.
 *
 *   segment.c        opening, the table, pins          segment_spare.c   spare and reserve, deleting
 *   segment_write.c  making and writing                segment_seal.c    putting footers behind them
 *   segment_read.c   footers, whole files              segment_file.c    names and system calls
 *
 * A slot (the spare, each reserve file) is EMPTY, or READY: a file of its name is complete on disk. Who changes that
 * makes it BUSY first, under the lock, and then owns the name:
 *
 *   EMPTY --prepare, drop--> BUSY --file complete and renamed--> READY --writer_open--> BUSY --renamed, or failed-->
 *   EMPTY
 */
#ifndef JOURNAL_SEGMENT_PRIVATE_H
#define JOURNAL_SEGMENT_PRIVATE_H

#include <pthread.h>

#include "base/list.h"
#include "journal/segment.h"

#define SEGMENT_IDLE_MAX 256u         /* descriptors kept open though nobody pins them */
#define SEGMENT_ZERO_BYTES (1u << 20) /* one write of zeros */
#define SEGMENT_PATH_BYTES 4096u

enum slot_state { SLOT_EMPTY, SLOT_BUSY, SLOT_READY };

struct segment_slot {
    enum slot_state state;
    bool is_virtual; /* READY without a file: there is room for a new one (copy-on-write) */
    uint64_t bytes;
};

struct segment_entry {
    struct segment_info info;
    unsigned root;
    bool is_temp;    /* its name still ends in .new */
    bool is_unsure;  /* found sealed, but maybe only in the page cache: segment_harden */
    bool is_leaving; /* being deleted: not found any more, but its name is still ours */
    struct segment_file *file; /* NULL when not open */
};

struct segment_file {
    struct segment_dir *dir;
    struct segment_entry *entry; /* NULL when the segment was dropped */
    int fd;
    unsigned pins;    /* of readers and the writer */
    struct list idle; /* in dir->idle while pins is 0 */
};

struct segment_dir {
    pthread_mutex_t lock; /* lock rank 30: everything below that is not marked constant */
    char **roots;         /* constant, as are the next six */
    int *root_fds;
    unsigned root_count;
    uint64_t segment_bytes;
    bool copy_on_write, read_only;
    unsigned reserve_segments;
    const struct clock *clock;

    struct segment_entry **entries; /* by number */
    size_t count, cap;
    uint64_t next_number;
    struct segment_slot spare;
    struct segment_slot reserve[SEGMENT_RESERVE_MAX];
    struct list idle; /* longest unused first */
    unsigned idle_count, file_count;
    bool is_closed;   /* kept for the last pin only */
};

struct segment_path {
    char text[SEGMENT_PATH_BYTES];
};

/* --- segment_file.c: return -1 and fill err unless said otherwise --- */
enum segment_name_kind { NAME_OTHER, NAME_SEGMENT, NAME_SPARE, NAME_RESERVE };
struct segment_name {
    enum segment_name_kind kind;
    enum segment_kind segment;
    uint64_t number; /* of a segment, or of a reserve file from 1 */
    bool is_new;     /* ends in .new */
};
void segment_name_parse(const char *text, struct segment_name *out);
void segment_file_path(struct segment_path *out, const struct segment_dir *d, unsigned root, const char *name,
                       bool is_temp);
void segment_path(struct segment_path *out, const struct segment_dir *d, unsigned root, uint64_t number,
                  enum segment_kind kind, bool is_temp);
void segment_slot_path(struct segment_path *out, const struct segment_dir *d, const struct segment_slot *slot,
                       bool is_temp);
int file_open(const char *path, int flags, struct err *err); /* O_CLOEXEC */
int file_write(int fd, uint64_t at, const void *octets, size_t len, struct err *err);
int file_writev(int fd, uint64_t at, struct iovec *iov, unsigned count, struct err *err);
int file_write_zeros(int fd, uint64_t from, uint64_t to, struct err *err);
int file_sync(int fd, struct err *err);
/* Blocks up to `bytes`, if the file system can. must: else with zeros from `size` on. */
int file_allocate(int fd, uint64_t size, uint64_t bytes, bool must, struct err *err);
int file_rename(const char *from, const char *to, struct err *err);
int file_unlink(const char *path, struct err *err); /* no failure if it is not there */
int segment_root_sync(const struct segment_dir *d, unsigned root, struct err *err);
/* len octets at `at`; blocks that give EIO twice become zeros. Returns how many octets there were before the end of
 * the file, or -1. */
int64_t file_read(int fd, uint64_t at, unsigned char *out, size_t len, uint64_t *bad_bytes, struct err *err);

/* --- segment_spare.c --- */
/* The spare if it is READY, else with use_reserve a reserve file; NULL if there is none. It becomes BUSY. */
struct segment_slot *segment_slot_take(struct segment_dir *d, bool use_reserve);
void segment_slot_empty(struct segment_dir *d, struct segment_slot *slot);

/* --- segment.c --- */
/* Both under the lock. find: also temporary, not leaving ones. */
struct segment_entry *segment_entry_find(struct segment_dir *d, uint64_t number);
void segment_entry_insert(struct segment_dir *d, OWNED struct segment_entry *e);
/* Frees it. Returns the descriptor to close outside the lock, or -1; a pinned file lives on. */
int segment_entry_remove(struct segment_dir *d, struct segment_entry *e);
/* An open file for a new entry, with one pin. */
OWNED struct segment_file *segment_file_new(struct segment_dir *d, struct segment_entry *e, int fd);

#endif
