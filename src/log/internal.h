/* internal.h - what the files of the log share. */
#ifndef LOG_INTERNAL_H
#define LOG_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <zstd.h>

#include "base/counter.h"
#include "log/txlog.h"
#include "reactor/thread.h"

#define LOG_DIR "log"
#define LOG_CURRENT "mail.log_current"
#define LOG_CLOSED "mail.log-" /* and the local time of closing */
#define LOG_PACKED ".zst"
#define LOG_CHUNK_BYTES (256u * 1024)

enum log_counter { LC_RECORDS, LC_BYTES, LC_LOST, LC_FAILURES, LC_ROTATED, LC_COUNT };
extern struct counter log_counters[LC_COUNT];

/* A closed file on its way to its compressed form, chunk by chunk, so that the writer is never away for long. */
struct packing {
    bool is_active;
    char from[64], to[72], part[80]; /* names in the directory; part: while it is incomplete */
    int in, out;
    ZSTD_CCtx *context;
};

struct txlog {
    const struct clock *clock;
    int dir; /* DIR/log */
    struct thread thread;

    pthread_mutex_t lock; /* lock rank 70: conf, front, lost, the flags */
    pthread_cond_t wake, flushed;
    struct log_conf conf;
    struct buf front;    /* what was written and waits */
    uint64_t lost;       /* records dropped since the last line that said so */
    bool wants_rotation, is_closing;
    uint64_t asked, answered; /* flushes */

    /* owner: the writer's thread */
    struct buf back;
    int fd;              /* of the current file, -1: none */
    uint64_t inode, file_bytes;
    int64_t began_ms;    /* wall: when the current file was made */
    bool is_failing;
    struct packing packing;

    /* written by it, read by any thread */
    _Atomic bool works;
    _Atomic int64_t turned_ms; /* monotonic */
};

/* rotate.c, on the writer's thread */
int log_current_open(struct txlog *l, struct err *err);
bool log_current_is_ours(const struct txlog *l); /* false: moved, deleted, or none is open */
void log_rotate(struct txlog *l, const struct log_conf *conf);
bool log_rotate_is_due(const struct txlog *l, const struct log_conf *conf);
void log_pack_step(struct txlog *l); /* one chunk of the packing under way */
void log_pack_rest(struct txlog *l, const struct log_conf *conf); /* begin with a closed file that is not packed yet */
void log_expire(struct txlog *l, const struct log_conf *conf);

#endif
