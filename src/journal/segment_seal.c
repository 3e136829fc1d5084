#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"
#include "journal/segment_private.h"

#define SEAL_WINDOW_BYTES (4u << 20) /* of a segment in memory at a time; more only for a longer record or hole */

static uint64_t footer_at(uint64_t records_end)
{
    return (records_end + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

/* The valid records of a window that starts where a record should. Returns how far the window is done with: up to the
 * record or hole that goes beyond its end. *need: what a window must hold to get further. */
static uint64_t window_scan(slice window, uint64_t at, struct footer_writer *w, uint64_t *need)
{
    struct scan s = { .segment = window, .salt = w->salt };
    struct scan_item item;

    while (scan_next(&s, &item) != SCAN_END) {
        if (item.event == SCAN_RECORD)
            footer_writer_add(w, at + item.from, &item.header, item.payload);
    }
    *need = item.cause == RECORD_CUT ? record_disk_bytes(item.header.length) : 0;
    return item.from;
}

/* All valid records before records_end, window by window. */
static int records_collect(int fd, uint64_t records_end, struct footer_writer *w, struct err *err)
{
    uint64_t at = SEGMENT_PAGE_BYTES, window = SEAL_WINDOW_BYTES, bad_bytes = 0, done, need;
    unsigned char *mem = mem_try(window);
    int rc = -1;

    while (at < records_end && mem != NULL) {
        size_t want = (size_t)(records_end - at < window ? records_end - at : window);
        int64_t n = file_read(fd, at, mem, want, &bad_bytes, err);

        if (n < 0)
            goto out;
        done = window_scan(slice_of(mem, (size_t)n), at, w, &need);
        if ((size_t)n < want || at + want == records_end)
            break;
        at += done;
        if (done == 0) {
            window = need > window * 2 ? need : window * 2;
            if (window > records_end - at)
                window = records_end - at;
            mem_free(mem);
            mem = mem_try((size_t)window);
        }
    }
    rc = mem != NULL ? 0 : err_set(err, ERR_LIMIT, "no memory for %" PRIu64 " octets", window);
out:
    mem_free(mem);
    return rc;
}

/* Neither a failed sync nor a failed cut says whether the trailer is on disk: the page cache may show it until the
 * power goes, so that the next start would take the segment for sealed and drop what voids its end. It is taken back.
 */
static void trailer_void(int fd, uint64_t at)
{
    static const unsigned char zeros[FOOTER_TRAILER_BYTES];

    if (file_write(fd, at, zeros, sizeof(zeros), NULL) < 0 && ftruncate(fd, (off_t)at) < 0)
        diag_error("journal", "a footer that may not be on disk cannot be taken back: %s", strerror(errno));
}

/* The trailer is written after all before it is on disk, and is valid only at the very end of the file: so a segment
 * that a crash caught in here is either not sealed at all or completely. */
static int footer_write(int fd, uint64_t at, slice footer, struct err *err)
{
    size_t front = footer.len - FOOTER_TRAILER_BYTES;
    int rc;

    if (file_write(fd, at, footer.ptr, front, err) < 0 || file_sync(fd, err) < 0)
        return -1;
    rc = file_write(fd, at + front, footer.ptr + front, FOOTER_TRAILER_BYTES, err);
    if (rc == 0 && ftruncate(fd, (off_t)(at + footer.len)) < 0)
        rc = err_sys(err, errno, "truncate");
    if (rc == 0)
        rc = file_sync(fd, err);
    if (rc < 0)
        trailer_void(fd, at + front);
    return rc;
}

static void info_seal(struct segment_info *info, const struct footer_writer *w, uint64_t records_end, uint64_t bytes)
{
    info->bytes = bytes;
    info->records_end = records_end;
    info->last_seq = w->last_seq;
    info->newest_ms = w->newest_ms;
    info->is_sealed = true;
    info->is_footless = false;
    info->is_damaged = false;
}

int segment_seal(struct segment_dir *d, uint64_t number, uint64_t records_end, struct err *err)
{
    struct buf footer = BUF_INIT;
    struct footer_writer w;
    struct segment_entry *e;
    struct segment_info info;
    struct segment_path path;
    struct err why = ERR_INIT;
    int fd = -1, rc = -1;

    ASSERT(!d->read_only && records_end >= SEGMENT_PAGE_BYTES);
    if (!segment_dir_find(d, number, &info))
        return err_set(err, ERR_NOTFOUND, "no segment %016" PRIx64, number);
    if (info.is_sealed && !info.is_damaged)
        return 0;
    if (info.is_damaged && !info.is_sealed)
        return err_set(err, ERR_DAMAGE, "segment %016" PRIx64 " has no valid header and cannot be sealed", number);
    footer_writer_init(&w, info.header.salt);
    segment_path(&path, d, info.header.partition, number, info.header.kind, false);
    fd = file_open(path.text, O_RDWR, err);
    if (fd < 0 || records_collect(fd, records_end, &w, err) < 0)
        goto out;
    footer_writer_finish(&w, records_end, footer_at(records_end), &footer);
    rc = footer_write(fd, footer_at(records_end), buf_slice(&footer), &why);
    if (rc < 0 && why.kind != ERR_FULL)
        goto out;
    if (w.last_seq == 0)
        w.last_seq = info.header.first_seq - 1;
    pthread_mutex_lock(&d->lock);
    e = segment_entry_find(d, number);
    if (e != NULL) {
        info_seal(&e->info, &w, records_end, rc < 0 ? info.bytes : footer_at(records_end) + footer.len);
        e->info.is_footless = rc < 0;
        e->is_unsure = false;
    }
    pthread_mutex_unlock(&d->lock);
out:
    if (rc < 0 && why.kind != ERR_NONE && err != NULL)
        *err = why;
    if (fd >= 0)
        close(fd);
    buf_free(&footer);
    footer_writer_free(&w);
    return rc == 0 ? 0 : err_prefix(err, "sealing segment %016" PRIx64 ": ", number);
}

/* Written again, not just synced: pages of a sync that failed count as clean. What stands before the trailer was synced
 * before there was one. */
static int trailer_again(int fd, const struct segment_info *info, struct err *err)
{
    unsigned char trailer[FOOTER_TRAILER_BYTES];
    uint64_t at = info->bytes - sizeof(trailer), bad_bytes = 0;
    int64_t n = file_read(fd, at, trailer, sizeof(trailer), &bad_bytes, err);
    struct footer footer;

    if (n < 0 || footer_peek(slice_of(trailer, (size_t)n), info->header.salt, info->bytes, &footer, err) < 0)
        return -1;
    return file_write(fd, at, trailer, sizeof(trailer), err) < 0 ? -1 : file_sync(fd, err);
}

int segment_harden(struct segment_dir *d, uint64_t number, struct err *err)
{
    struct segment_info info = { .bytes = 0 };
    struct segment_entry *e;
    struct segment_path path;
    bool is_unsure = false;
    int fd, rc;

    ASSERT(!d->read_only);
    pthread_mutex_lock(&d->lock);
    e = segment_entry_find(d, number);
    if (e != NULL) {
        is_unsure = e->is_unsure;
        info = e->info;
    }
    pthread_mutex_unlock(&d->lock);
    if (!is_unsure)
        return 0;
    segment_path(&path, d, info.header.partition, number, info.header.kind, false);
    fd = file_open(path.text, O_RDWR, err);
    rc = fd < 0 ? -1 : trailer_again(fd, &info, err);
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        return err_prefix(err, "segment %016" PRIx64 ": ", number);
    pthread_mutex_lock(&d->lock);
    e = segment_entry_find(d, number);
    if (e != NULL)
        e->is_unsure = false;
    pthread_mutex_unlock(&d->lock);
    return 0;
}

int segment_finish(struct segment_writer *w, struct footer_writer *footer, struct err *err)
{
    const struct segment_header *h = &w->header;
    struct segment_dir *d = w->dir;
    struct segment_entry *e = w->file->entry;
    struct segment_path from, to;
    struct buf out = BUF_INIT;
    uint64_t head_at = footer_at(w->at);
    bool is_named = false;
    int rc = -1;

    ASSERT(e != NULL && e->is_temp && footer->salt == h->salt);
    segment_path(&from, d, h->partition, h->number, h->kind, true);
    segment_path(&to, d, h->partition, h->number, h->kind, false);
    footer_writer_finish(footer, w->at, head_at, &out);
    if (file_write(w->file->fd, head_at, out.ptr, out.len, err) < 0)
        goto out;
    if (ftruncate(w->file->fd, (off_t)(head_at + out.len)) < 0) {
        err_sys(err, errno, "truncate");
        goto out;
    }
    if (file_sync(w->file->fd, err) < 0 || file_rename(from.text, to.text, err) < 0)
        goto out;
    is_named = true;
    rc = segment_root_sync(d, h->partition, err);
out:
    pthread_mutex_lock(&d->lock);
    e->is_temp = !is_named;
    if (rc == 0)
        info_seal(&e->info, footer, w->at, head_at + out.len);
    pthread_mutex_unlock(&d->lock);
    segment_writer_close(w);
    buf_free(&out);
    return rc == 0 ? 0 : err_prefix(err, "finishing segment %016" PRIx64 ": ", h->number);
}
