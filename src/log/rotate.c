/* rotate.c - closing, packing and forgetting files of the log. All on the writer's thread. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"
#include "log/internal.h"

#define HOUR_MS 3600000LL
#define DAY_MS (24 * HOUR_MS)
#define ZSTD_LEVEL 3
#define NAMES_MAX 1000u /* closed files with one time of closing */

int log_current_open(struct txlog *l, struct err *err)
{
    struct stat st;

    if (l->fd >= 0)
        close(l->fd);
    l->fd = openat(l->dir, LOG_CURRENT, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (l->fd < 0)
        return err_sys(err, errno, "%s/%s", LOG_DIR, LOG_CURRENT);
    if (fstat(l->fd, &st) < 0)
        return err_sys(err, errno, "%s/%s", LOG_DIR, LOG_CURRENT);
    l->inode = st.st_ino;
    l->file_bytes = (uint64_t)st.st_size;
    /* of a file found here, the change of its content is the nearest thing to its birth that every system knows */
    l->began_ms = st.st_size == 0 ? clock_wall_ms(l->clock) : (int64_t)st.st_mtim.tv_sec * 1000;
    return 0;
}

bool log_current_is_ours(const struct txlog *l)
{
    struct stat st;

    return l->fd >= 0 && fstatat(l->dir, LOG_CURRENT, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == l->inode;
}

bool log_rotate_is_due(const struct txlog *l, const struct log_conf *conf)
{
    return l->fd >= 0 && l->file_bytes != 0 &&
           (l->file_bytes >= conf->rotate_bytes ||
            clock_wall_ms(l->clock) - l->began_ms >= (int64_t)conf->rotate_hours * HOUR_MS);
}

/* --- packing ------------------------------------------------------------------------------------------------------ */

static void pack_end(struct txlog *l, bool ok)
{
    struct packing *p = &l->packing;

    ZSTD_freeCCtx(p->context);
    close(p->in);
    close(p->out);
    if (ok && renameat(l->dir, p->part, l->dir, p->to) == 0)
        unlinkat(l->dir, p->from, 0);
    else
        unlinkat(l->dir, p->part, 0);
    p->is_active = false;
}

static void pack_begin(struct txlog *l, const char *name)
{
    struct packing *p = &l->packing;

    snprintf(p->from, sizeof p->from, "%s", name);
    snprintf(p->to, sizeof p->to, "%s" LOG_PACKED, p->from);
    snprintf(p->part, sizeof p->part, "%s.part", p->to);
    p->in = openat(l->dir, p->from, O_RDONLY | O_CLOEXEC);
    p->out = openat(l->dir, p->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    p->context = ZSTD_createCCtx();
    if (p->in < 0 || p->out < 0 || p->context == NULL) {
        diag_warn("log", "%s stays uncompressed: %s", p->from, strerror(errno));
        pack_end(l, false);
        return;
    }
    ZSTD_CCtx_setParameter(p->context, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    ZSTD_CCtx_setParameter(p->context, ZSTD_c_checksumFlag, 1);
    p->is_active = true;
}

static bool write_whole(int fd, const unsigned char *ptr, size_t len)
{
    while (len != 0) {
        ssize_t n = write(fd, ptr, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        ptr += n;
        len -= (size_t)n;
    }
    return true;
}

void log_pack_step(struct txlog *l)
{
    struct packing *p = &l->packing;
    unsigned char *in = mem_alloc(LOG_CHUNK_BYTES), *out = mem_alloc(LOG_CHUNK_BYTES);
    ssize_t got = read(p->in, in, LOG_CHUNK_BYTES);
    ZSTD_inBuffer from = { in, got < 0 ? 0 : (size_t)got, 0 };
    bool ok = got >= 0;
    size_t left;

    do {
        ZSTD_outBuffer to = { out, LOG_CHUNK_BYTES, 0 };

        left = ZSTD_compressStream2(p->context, &to, &from, got == 0 ? ZSTD_e_end : ZSTD_e_continue);
        ok = ok && !ZSTD_isError(left) && write_whole(p->out, out, to.pos);
    } while (ok && (from.pos < from.size || (got == 0 && left != 0)));
    mem_free(in);
    mem_free(out);
    if (got == 0 && ok)
        ok = fsync(p->out) == 0;
    if (got == 0 || !ok)
        pack_end(l, ok);
}

/* --- closed files ------------------------------------------------------------------------------------------------- */

static bool is_closed_name(const char *name)
{
    return strncmp(name, LOG_CLOSED, sizeof LOG_CLOSED - 1) == 0 && strlen(name) < 60;
}

typedef bool closed_fn(struct txlog *l, const char *name, void *arg); /* false: enough */

static void each_closed(struct txlog *l, closed_fn *fn, void *arg)
{
    int fd = openat(l->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (d == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (is_closed_name(e->d_name) && !fn(l, e->d_name, arg))
            break;
    closedir(d);
}

static bool expire_one(struct txlog *l, const char *name, void *arg)
{
    const int64_t *before_ms = arg;
    struct stat st;

    if (fstatat(l->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (int64_t)st.st_mtim.tv_sec * 1000 < *before_ms &&
        unlinkat(l->dir, name, 0) == 0)
        diag_info("log", "%s was kept long enough and is gone", name);
    return true;
}

void log_expire(struct txlog *l, const struct log_conf *conf)
{
    int64_t before_ms = clock_wall_ms(l->clock) - (int64_t)conf->keep_days * DAY_MS;

    if (conf->keep_days != 0)
        each_closed(l, expire_one, &before_ms);
}

static bool pack_one(struct txlog *l, const char *name, void *arg)
{
    (void)arg;
    if (slice_ends(slice_str(name), SLICE(LOG_PACKED)))
        return true;
    if (slice_ends(slice_str(name), SLICE(".part"))) { /* of a packing that a crash cut off */
        unlinkat(l->dir, name, 0);
        return true;
    }
    pack_begin(l, name);
    return false;
}

void log_pack_rest(struct txlog *l, const struct log_conf *conf)
{
    if (conf->compress && !l->packing.is_active)
        each_closed(l, pack_one, NULL);
}

/* A name that no closed file has, packed or not. */
static bool closed_name(struct txlog *l, char out[64])
{
    time_t now = (time_t)(clock_wall_ms(l->clock) / 1000);
    char stamp[24], packed[72];
    struct stat st;
    struct tm tm;

    localtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%S", &tm);
    for (unsigned n = 0; n < NAMES_MAX; n++) {
        snprintf(out, 64, n == 0 ? LOG_CLOSED "%s" : LOG_CLOSED "%s-%03u", stamp, n);
        snprintf(packed, sizeof packed, "%s" LOG_PACKED, out);
        if (fstatat(l->dir, out, &st, 0) < 0 && fstatat(l->dir, packed, &st, 0) < 0)
            return true;
    }
    return false;
}

void log_rotate(struct txlog *l, const struct log_conf *conf)
{
    struct err err = ERR_INIT;
    char name[64];

    if (l->fd < 0 || l->file_bytes == 0 || !closed_name(l, name))
        return;
    if (renameat(l->dir, LOG_CURRENT, l->dir, name) < 0) {
        diag_error("log", "%s cannot be closed: %s", LOG_CURRENT, strerror(errno));
        return;
    }
    counter_add(&log_counters[LC_ROTATED], 1);
    if (log_current_open(l, &err) < 0)
        diag_error("log", "%s", err.text);
    log_expire(l, conf);
    log_pack_rest(l, conf);
}
