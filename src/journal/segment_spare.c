#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "journal/segment_private.h"

/* Under no lock: EMPTY to BUSY, which makes the slot's name the caller's. */
static bool slot_claim(struct segment_dir *d, struct segment_slot *slot)
{
    bool claimed;

    pthread_mutex_lock(&d->lock);
    claimed = slot->state == SLOT_EMPTY;
    if (claimed)
        slot->state = SLOT_BUSY;
    pthread_mutex_unlock(&d->lock);
    return claimed;
}

static void slot_settle(struct segment_dir *d, struct segment_slot *slot, struct segment_slot value)
{
    pthread_mutex_lock(&d->lock);
    *slot = value;
    pthread_mutex_unlock(&d->lock);
}

/* --- making ------------------------------------------------------------------------------------------------------- */

/* A complete file under its temporary name, then under its own: what a crash leaves is either removed or whole. */
static int slot_fill(struct segment_dir *d, struct segment_slot *slot, struct err *err)
{
    struct segment_path temp, path;
    int fd, rc = -1;

    segment_slot_path(&temp, d, slot, true);
    segment_slot_path(&path, d, slot, false);
    fd = file_open(temp.text, O_RDWR | O_CREAT | O_TRUNC, err);
    if (fd < 0)
        return -1;
    if (file_allocate(fd, 0, d->segment_bytes, true, err) < 0)
        goto out;
    /* Blocks written once need no conversion when a batch is synced: the spare is, the reserve is for bad days. */
    if (slot == &d->spare && file_write_zeros(fd, 0, d->segment_bytes, err) < 0)
        goto out;
    if (file_sync(fd, err) < 0 || file_rename(temp.text, path.text, err) < 0 || segment_root_sync(d, 0, err) < 0)
        goto out;
    rc = 0;
out:
    close(fd);
    if (rc < 0) {
        file_unlink(temp.text, NULL);
        file_unlink(path.text, NULL);
        err_prefix(err, "%s: ", path.text);
    }
    return rc;
}

static int slot_prepare(struct segment_dir *d, struct segment_slot *slot, struct err *err)
{
    struct segment_slot value = { .state = SLOT_EMPTY };
    int rc;

    if (!slot_claim(d, slot))
        return 0;
    rc = slot_fill(d, slot, err);
    if (rc == 0)
        value = (struct segment_slot){ .state = SLOT_READY, .bytes = d->segment_bytes };
    slot_settle(d, slot, value);
    return rc;
}

/* Copy-on-write: a file made ahead would be written elsewhere all the same. */
static int room_prepare(struct segment_dir *d, struct err *err)
{
    struct segment_slot value = { .state = SLOT_EMPTY };
    struct statvfs fs;
    int rc = 0;

    if (!slot_claim(d, &d->spare))
        return 0;
    if (fstatvfs(d->root_fds[0], &fs) < 0)
        rc = err_sys(err, errno, "statvfs of %s", d->roots[0]);
    else if ((uint64_t)fs.f_bavail * fs.f_frsize < d->segment_bytes)
        rc = err_set(err, ERR_FULL, "%s has no room for a segment", d->roots[0]);
    else
        value = (struct segment_slot){ .state = SLOT_READY, .is_virtual = true };
    slot_settle(d, &d->spare, value);
    return rc;
}

void segment_dir_set_reserve(struct segment_dir *d, unsigned segments)
{
    pthread_mutex_lock(&d->lock);
    d->reserve_segments = segments < SEGMENT_RESERVE_MAX ? segments : SEGMENT_RESERVE_MAX;
    pthread_mutex_unlock(&d->lock);
}

int segment_dir_prepare(struct segment_dir *d, struct err *err)
{
    unsigned wanted;

    ASSERT(!d->read_only);
    pthread_mutex_lock(&d->lock);
    wanted = d->reserve_segments;
    pthread_mutex_unlock(&d->lock);
    while (segment_dir_reserve_count(d) > wanted) { /* the configuration wants fewer than it did */
        if (segment_dir_lend(d, err) < 0)
            return -1;
    }
    for (unsigned i = 0; i < wanted; i++) {
        if (slot_prepare(d, &d->reserve[i], err) < 0)
            return -1;
    }
    return d->copy_on_write ? room_prepare(d, err) : slot_prepare(d, &d->spare, err);
}

bool segment_dir_has_spare(struct segment_dir *d)
{
    bool is_ready;

    pthread_mutex_lock(&d->lock);
    is_ready = d->spare.state == SLOT_READY;
    pthread_mutex_unlock(&d->lock);
    return is_ready;
}

unsigned segment_dir_reserve_count(struct segment_dir *d)
{
    unsigned count = 0;

    pthread_mutex_lock(&d->lock);
    for (unsigned i = 0; i < SEGMENT_RESERVE_MAX; i++)
        count += d->reserve[i].state == SLOT_READY;
    pthread_mutex_unlock(&d->lock);
    return count;
}

int segment_dir_lend(struct segment_dir *d, struct err *err)
{
    struct segment_slot *slot = NULL;
    struct segment_path path;
    int rc;

    pthread_mutex_lock(&d->lock);
    for (unsigned i = SEGMENT_RESERVE_MAX; i-- > 0 && slot == NULL;)
        slot = d->reserve[i].state == SLOT_READY ? &d->reserve[i] : NULL;
    if (slot != NULL)
        slot->state = SLOT_BUSY;
    pthread_mutex_unlock(&d->lock);
    if (slot == NULL)
        return err_set(err, ERR_FULL, "nothing is left of the reserve");
    segment_slot_path(&path, d, slot, false);
    rc = file_unlink(path.text, err);
    if (rc == 0)
        rc = segment_root_sync(d, 0, err);
    slot_settle(d, slot, (struct segment_slot){ .state = SLOT_EMPTY });
    return rc;
}

/* --- taking ------------------------------------------------------------------------------------------------------- */

struct segment_slot *segment_slot_take(struct segment_dir *d, bool use_reserve)
{
    struct segment_slot *slot = NULL;

    pthread_mutex_lock(&d->lock);
    if (d->spare.state == SLOT_READY) {
        slot = &d->spare;
    } else if (use_reserve) {
        for (unsigned i = SEGMENT_RESERVE_MAX; i-- > 0 && slot == NULL;)
            slot = d->reserve[i].state == SLOT_READY ? &d->reserve[i] : NULL;
    }
    if (slot != NULL) {
        slot->state = SLOT_BUSY;
        slot->bytes = 0;
    }
    pthread_mutex_unlock(&d->lock);
    return slot;
}

void segment_slot_empty(struct segment_dir *d, struct segment_slot *slot)
{
    slot_settle(d, slot, (struct segment_slot){ .state = SLOT_EMPTY });
}

/* --- deleting ----------------------------------------------------------------------------------------------------- */

/* Under the temporary name first: while the file grows to its full size it is neither a segment nor a spare. */
static int file_recycle(struct segment_dir *d, const char *from, uint64_t bytes, struct err *err)
{
    struct segment_path temp, path;
    int fd, rc = -1;

    segment_slot_path(&temp, d, &d->spare, true);
    segment_slot_path(&path, d, &d->spare, false);
    if (file_rename(from, temp.text, err) < 0)
        return -1;
    fd = file_open(temp.text, O_RDWR, err);
    if (fd >= 0 && segment_root_sync(d, 0, err) == 0 && file_allocate(fd, bytes, d->segment_bytes, false, err) == 0 &&
        file_write_zeros(fd, bytes, d->segment_bytes, err) == 0 && file_sync(fd, err) == 0 &&
        file_rename(temp.text, path.text, err) == 0 && segment_root_sync(d, 0, err) == 0)
        rc = 0;
    if (fd >= 0)
        close(fd);
    if (rc < 0) {
        file_unlink(temp.text, NULL);
        file_unlink(path.text, NULL);
    }
    return rc;
}

/* May the file of that entry become the spare? If so the spare's slot is the caller's. Under the lock. */
static bool recycle_claim(struct segment_dir *d, const struct segment_entry *e)
{
    if (d->copy_on_write || d->spare.state != SLOT_EMPTY || e->info.header.kind != SEGMENT_LOG || e->root != 0 ||
        (e->file != NULL && e->file->pins > 0))
        return false;
    d->spare.state = SLOT_BUSY;
    return true;
}

/* Whether or not its file could be kept as the spare, *is_gone says if the name is free; 0: durably so. */
static int entry_delete(struct segment_dir *d, const struct segment_entry *e, bool recycle, bool *is_gone,
                        struct err *err)
{
    struct segment_slot value = { .state = SLOT_EMPTY };
    struct segment_path path;
    int rc;

    segment_path(&path, d, e->root, e->info.header.number, e->info.header.kind, e->is_temp);
    if (recycle) {
        rc = file_recycle(d, path.text, e->info.bytes, NULL);
        if (rc == 0)
            value = (struct segment_slot){
                .state = SLOT_READY,
                .bytes = e->info.bytes > d->segment_bytes ? e->info.bytes : d->segment_bytes,
            };
        slot_settle(d, &d->spare, value);
        if (rc == 0) {
            *is_gone = true;
            return 0;
        }
    }
    if (file_unlink(path.text, err) < 0)
        return -1;
    *is_gone = true;
    /* A temporary name may come back after a crash: the next open removes it. */
    return e->is_temp ? 0 : segment_root_sync(d, e->root, err);
}

int segment_drop(struct segment_dir *d, uint64_t number, struct err *err)
{
    struct segment_entry *e;
    bool recycle = false, is_gone = false;
    int fd = -1, rc;

    ASSERT(!d->read_only);
    pthread_mutex_lock(&d->lock);
    e = segment_entry_find(d, number);
    if (e != NULL) {
        recycle = recycle_claim(d, e);
        e->is_leaving = true; /* no new pins from here on */
    }
    pthread_mutex_unlock(&d->lock);
    if (e == NULL)
        return err_set(err, ERR_NOTFOUND, "no segment %016" PRIx64, number);
    rc = entry_delete(d, e, recycle, &is_gone, err);
    pthread_mutex_lock(&d->lock);
    if (is_gone)
        fd = segment_entry_remove(d, e);
    else
        e->is_leaving = false;
    pthread_mutex_unlock(&d->lock);
    if (fd >= 0)
        close(fd);
    return rc;
}
