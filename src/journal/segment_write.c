#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "journal/segment_private.h"

static void header_fill(struct segment_header *h, const struct segment_dir *d, uint64_t number, uint32_t old_salt)
{
    h->format = JOURNAL_FORMAT;
    h->number = number;
    do {
        h->salt = (uint32_t)random_u64();
    } while (h->salt == old_salt || h->salt == 0);
    if (h->created_ms == 0)
        h->created_ms = clock_wall_ms(d->clock);
}

static int header_write(int fd, const struct segment_header *h, struct err *err)
{
    unsigned char page[SEGMENT_PAGE_BYTES];

    segment_header_encode(page, h);
    return file_write(fd, 0, page, sizeof(page), err);
}

/* The salt of the file's former life; 0 if it had none, and no segment has that. */
static uint32_t former_salt(int fd)
{
    unsigned char page[SEGMENT_PAGE_BYTES];
    struct segment_header h;
    uint64_t bad_bytes = 0;
    int64_t n = file_read(fd, 0, page, sizeof(page), &bad_bytes, NULL);

    return n > 0 && segment_header_decode(slice_of(page, (size_t)n), &h, NULL, NULL) == 0 ? h.salt : 0;
}

/* The writer and the table's entry for a file under its name. */
static void writer_begin(struct segment_writer *w, struct segment_dir *d, const struct segment_header *h, int fd,
                         bool is_temp)
{
    struct segment_entry *e = mem_alloc(sizeof(*e));
    struct stat st;

    e->info.header = *h;
    e->info.bytes = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : SEGMENT_PAGE_BYTES;
    e->root = h->partition;
    e->is_temp = is_temp;
    *w = (struct segment_writer){
        .dir = d,
        .header = *h,
        .at = SEGMENT_PAGE_BYTES,
        .capacity = h->kind == SEGMENT_LOG ? d->segment_bytes : e->info.bytes,
    };
    pthread_mutex_lock(&d->lock);
    segment_entry_insert(d, e);
    w->file = segment_file_new(d, e, fd);
    pthread_mutex_unlock(&d->lock);
}

/* A file with the header of log segment h, not yet under its name: *path is what it is called now. */
static int log_begin(struct segment_dir *d, struct segment_slot *slot, struct segment_header *h,
                     struct segment_path *path, struct err *err)
{
    uint64_t number = h->number;
    bool is_new = slot == NULL || slot->is_virtual;
    struct stat st;
    int fd;

    if (is_new)
        segment_path(path, d, 0, number, SEGMENT_LOG, true);
    else
        segment_slot_path(path, d, slot, false);
    fd = file_open(path->text, O_RDWR | (is_new ? O_CREAT | O_EXCL : 0), err);
    if (fd < 0)
        return -1;
    header_fill(h, d, number, is_new ? 0 : former_salt(fd));
    if (is_new && !d->copy_on_write && file_allocate(fd, 0, d->segment_bytes, false, err) < 0)
        goto fail;
    /* A spare from the time of a smaller segment_bytes; if it cannot grow now, then later or never. */
    if (!is_new && fstat(fd, &st) == 0 && (uint64_t)st.st_size < d->segment_bytes)
        file_allocate(fd, (uint64_t)st.st_size, d->segment_bytes, false, NULL);
    if (header_write(fd, h, err) < 0 || file_sync(fd, err) < 0)
        goto fail;
    return fd;
fail:
    close(fd);
    file_unlink(path->text, NULL);
    return -1;
}

int segment_writer_open(struct segment_writer *w, struct segment_dir *d, struct segment_header *h, bool use_reserve,
                        struct err *err)
{
    struct segment_slot *slot = segment_slot_take(d, use_reserve);
    struct segment_path from, to;
    int fd;

    ASSERT(!d->read_only);
    *w = (struct segment_writer){ .dir = d };
    h->kind = SEGMENT_LOG;
    h->partition = 0;
    h->number = segment_dir_next_number(d);
    segment_path(&to, d, 0, h->number, SEGMENT_LOG, false);
    fd = log_begin(d, slot, h, &from, err);
    if (fd < 0 && slot != NULL) { /* somebody's hand, or a bad block in the spare */
        segment_slot_empty(d, slot);
        slot = NULL;
        fd = log_begin(d, slot, h, &from, err);
    }
    if (fd < 0)
        goto fail;
    /* Nobody but a second server makes a file of that number; its file stays untouched. */
    if (access(to.text, F_OK) == 0) {
        err_set(err, ERR_EXISTS, "somebody else made %s: another server may write there", to.text);
        file_unlink(from.text, NULL);
        goto fail;
    }
    if (file_rename(from.text, to.text, err) < 0) {
        file_unlink(from.text, NULL);
        w->is_doubtful = access(to.text, F_OK) == 0;
        goto fail;
    }
    /* A failed sync says neither that the new name is on disk nor that it is not. */
    if (segment_root_sync(d, 0, err) < 0) {
        file_unlink(to.text, NULL);
        segment_root_sync(d, 0, NULL);
        w->is_doubtful = true;
        goto fail;
    }
    writer_begin(w, d, h, fd, false);
    if (slot != NULL)
        segment_slot_empty(d, slot);
    return 0;
fail:
    if (fd >= 0)
        close(fd);
    if (slot != NULL)
        segment_slot_empty(d, slot);
    return err_prefix(err, "new log segment: ");
}

int segment_create(struct segment_writer *w, struct segment_dir *d, struct segment_header *h, struct err *err)
{
    struct segment_path path;
    int fd;

    ASSERT(!d->read_only && (h->kind == SEGMENT_BODY || h->kind == SEGMENT_COMPACT));
    *w = (struct segment_writer){ .dir = d };
    if (h->partition >= d->root_count)
        return err_set(err, ERR_NOTFOUND, "there is no partition %u", h->partition);
    header_fill(h, d, segment_dir_next_number(d), 0);
    segment_path(&path, d, h->partition, h->number, h->kind, true);
    fd = file_open(path.text, O_RDWR | O_CREAT | O_EXCL, err);
    if (fd < 0)
        return -1;
    if (header_write(fd, h, err) < 0) {
        close(fd);
        file_unlink(path.text, NULL);
        return err_prefix(err, "%s: ", path.text);
    }
    writer_begin(w, d, h, fd, true);
    return 0;
}

int segment_writer_write(struct segment_writer *w, struct iovec *iov, unsigned count, struct err *err)
{
    uint64_t end = w->at;

    for (unsigned i = 0; i < count; i++)
        end += iov[i].iov_len;
    if (file_writev(w->file->fd, w->at, iov, count, err) < 0)
        return err_prefix(err, "segment %016" PRIx64 ": ", w->header.number);
    pthread_mutex_lock(&w->dir->lock);
    if (w->file->entry != NULL && w->file->entry->info.bytes < end)
        w->file->entry->info.bytes = end;
    pthread_mutex_unlock(&w->dir->lock);
    return 0;
}

int segment_writer_sync(struct segment_writer *w, struct err *err)
{
    if (file_sync(w->file->fd, err) < 0)
        return err_prefix(err, "segment %016" PRIx64 ": ", w->header.number);
    return 0;
}

void segment_writer_close(struct segment_writer *w)
{
    struct segment_pin pin = { .file = w->file };

    w->file = NULL;
    segment_unpin(&pin);
}
