#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "journal/segment_private.h"

/* Room for exactly that much: its size comes from a file, so that it may fail. */
static int mem_for(struct buf *mem, uint64_t bytes, struct err *err)
{
    buf_free(mem);
    mem->ptr = bytes <= SIZE_MAX - 1 ? mem_try((size_t)bytes + 1) : NULL; /* never empty */
    if (mem->ptr == NULL)
        return err_set(err, ERR_LIMIT, "no memory for %" PRIu64 " octets of a segment", bytes);
    mem->cap = (size_t)bytes + 1;
    return 0;
}

static int fd_bytes(int fd, uint64_t *bytes, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_sys(err, errno, "stat");
    *bytes = (uint64_t)st.st_size;
    return 0;
}

/* From `at` to the end of the file. */
static int read_rest(int fd, uint64_t at, uint64_t file_bytes, struct buf *mem, uint64_t *bad_bytes, struct err *err)
{
    int64_t n;

    if (mem_for(mem, file_bytes - at, err) < 0)
        return -1;
    n = file_read(fd, at, mem->ptr, (size_t)(file_bytes - at), bad_bytes, err);
    if (n < 0)
        return -1;
    mem->len = (size_t)n;
    return 0;
}

int segment_read_all(struct segment_dir *d, uint64_t number, struct buf *mem, uint64_t *bad_bytes, struct err *err)
{
    struct segment_pin pin;
    uint64_t bytes = 0;
    int rc = -1;

    *bad_bytes = 0;
    if (!segment_pin(d, number, &pin))
        return err_set(err, ERR_NOTFOUND, "no segment %016" PRIx64, number);
    if (fd_bytes(pin.fd, &bytes, err) < 0 || read_rest(pin.fd, 0, bytes, mem, bad_bytes, err) < 0)
        err_prefix(err, "segment %016" PRIx64 ": ", number);
    else
        rc = 0;
    segment_unpin(&pin);
    return rc;
}

static int footer_read(int fd, uint32_t salt, struct footer *f, struct buf *mem, struct err *err)
{
    unsigned char tail[FOOTER_TRAILER_BYTES];
    uint64_t bytes = 0, head_at, bad_bytes = 0;
    int64_t n;

    if (fd_bytes(fd, &bytes, err) < 0)
        return -1;
    if (bytes < sizeof(tail))
        return err_set(err, ERR_DAMAGE, "the file is too short for a footer");
    n = file_read(fd, bytes - sizeof(tail), tail, sizeof(tail), &bad_bytes, err);
    if (n < 0)
        return -1;
    if (footer_locate(slice_of(tail, (size_t)n), salt, bytes, &head_at, err) < 0)
        return -1;
    if (read_rest(fd, head_at, bytes, mem, &bad_bytes, err) < 0)
        return -1;
    if (bad_bytes > 0)
        return err_set(err, ERR_DAMAGE, "%" PRIu64 " octets of the footer cannot be read", bad_bytes);
    return footer_decode(buf_slice(mem), head_at, salt, f, err);
}

int segment_read_footer(struct segment_dir *d, uint64_t number, struct footer *f, struct buf *mem, struct err *err)
{
    struct err why = ERR_INIT;
    struct segment_entry *e;
    struct segment_info info;
    struct segment_pin pin;

    if (!segment_dir_find(d, number, &info) || !info.is_sealed || !segment_pin(d, number, &pin))
        return err_set(err, ERR_NOTFOUND, "no sealed segment %016" PRIx64, number);
    if (footer_read(pin.fd, info.header.salt, f, mem, &why) == 0) {
        segment_unpin(&pin);
        return 0;
    }
    segment_unpin(&pin);
    if (why.kind == ERR_DAMAGE) {
        pthread_mutex_lock(&d->lock);
        e = segment_entry_find(d, number);
        if (e != NULL)
            e->info.is_damaged = true;
        pthread_mutex_unlock(&d->lock);
    }
    err_prefix(&why, "segment %016" PRIx64 ": ", number);
    if (err != NULL)
        *err = why;
    return -1;
}
