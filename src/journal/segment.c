#include "journal/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "journal/segment_private.h"

#define ROOT_MAX_BYTES (SEGMENT_PATH_BYTES - 64) /* leaves room for a name */

/* --- the table ---------------------------------------------------------------------------------------------------- */

/* Position of the first entry whose number is at least that. */
static size_t lower_bound(const struct segment_dir *d, uint64_t number)
{
    size_t low = 0, high = d->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (d->entries[middle]->info.header.number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct segment_entry *entry_of(struct segment_dir *d, uint64_t number)
{
    size_t at = lower_bound(d, number);

    return at < d->count && d->entries[at]->info.header.number == number ? d->entries[at] : NULL;
}

struct segment_entry *segment_entry_find(struct segment_dir *d, uint64_t number)
{
    struct segment_entry *e = entry_of(d, number);

    return e != NULL && !e->is_leaving ? e : NULL;
}

void segment_entry_insert(struct segment_dir *d, struct segment_entry *e)
{
    uint64_t number = e->info.header.number;
    size_t at = lower_bound(d, number);

    if (d->count == d->cap) {
        d->cap = d->cap == 0 ? 64 : d->cap * 2;
        d->entries = mem_realloc(d->entries, d->cap * sizeof(struct segment_entry *));
    }
    memmove(d->entries + at + 1, d->entries + at, (d->count - at) * sizeof(struct segment_entry *));
    d->entries[at] = e;
    d->count++;
    if (d->next_number <= number)
        d->next_number = number + 1;
}

/* Under the lock: take an unpinned file apart. Returns the descriptor, to be closed outside. */
static int file_free(struct segment_file *f)
{
    int fd = f->fd;

    if (list_is_linked(&f->idle)) {
        list_remove(&f->idle);
        f->dir->idle_count--;
    }
    if (f->entry != NULL)
        f->entry->file = NULL;
    f->dir->file_count--;
    mem_free(f);
    return fd;
}

int segment_entry_remove(struct segment_dir *d, struct segment_entry *e)
{
    size_t at = lower_bound(d, e->info.header.number);
    struct segment_file *f = e->file;
    int fd = -1;

    d->count--;
    memmove(d->entries + at, d->entries + at + 1, (d->count - at) * sizeof(struct segment_entry *));
    if (f != NULL) {
        f->entry = NULL;
        if (f->pins == 0)
            fd = file_free(f);
    }
    mem_free(e);
    return fd;
}

bool segment_dir_next(struct segment_dir *d, uint64_t *at, struct segment_info *out)
{
    bool found = false;

    pthread_mutex_lock(&d->lock);
    for (size_t i = lower_bound(d, *at); i < d->count && !found; i++) {
        const struct segment_entry *e = d->entries[i];

        if (e->is_temp || e->is_leaving)
            continue;
        *out = e->info;
        *at = e->info.header.number + 1;
        found = true;
    }
    pthread_mutex_unlock(&d->lock);
    return found;
}

bool segment_dir_find(struct segment_dir *d, uint64_t number, struct segment_info *out)
{
    const struct segment_entry *e;
    bool found;

    pthread_mutex_lock(&d->lock);
    e = segment_entry_find(d, number);
    found = e != NULL && !e->is_temp;
    if (found)
        *out = e->info;
    pthread_mutex_unlock(&d->lock);
    return found;
}

uint64_t segment_dir_next_number(struct segment_dir *d)
{
    uint64_t number;

    pthread_mutex_lock(&d->lock);
    number = d->next_number++;
    pthread_mutex_unlock(&d->lock);
    return number;
}

uint64_t segment_dir_bytes(struct segment_dir *d)
{
    uint64_t bytes = 0;

    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->count; i++)
        bytes += d->entries[i]->info.bytes;
    bytes += d->spare.bytes;
    for (unsigned i = 0; i < SEGMENT_RESERVE_MAX; i++)
        bytes += d->reserve[i].bytes;
    pthread_mutex_unlock(&d->lock);
    return bytes;
}

static bool number_is_on_disk(const struct segment_dir *d, uint64_t number)
{
    static const enum segment_kind kinds[] = { SEGMENT_LOG, SEGMENT_BODY, SEGMENT_COMPACT };
    struct segment_path path;

    for (unsigned root = 0; root < d->root_count; root++) {
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
            segment_path(&path, d, root, number, kinds[k], false);
            if (access(path.text, F_OK) == 0)
                return true;
        }
    }
    return false;
}

static uint64_t number_peek(struct segment_dir *d)
{
    uint64_t number;

    pthread_mutex_lock(&d->lock);
    number = d->next_number;
    pthread_mutex_unlock(&d->lock);
    return number;
}

/* Helpers and writers of bodies take numbers meanwhile, and always before there is a file: so the disk is looked at
 * first, and what it shows counts only if the number is free even then. */
bool segment_dir_foreign(struct segment_dir *d, uint64_t *number)
{
    for (;;) {
        uint64_t next = number_peek(d);

        *number = next;
        if (!number_is_on_disk(d, next)) {
            *number = next + 1; /* theirs may be a step ahead */
            if (!number_is_on_disk(d, next + 1))
                return false;
        }
        if (number_peek(d) == next)
            return true;
    }
}

/* --- pins --------------------------------------------------------------------------------------------------------- */

struct segment_file *segment_file_new(struct segment_dir *d, struct segment_entry *e, int fd)
{
    struct segment_file *f = mem_alloc(sizeof(*f));

    f->dir = d;
    f->entry = e;
    f->fd = fd;
    f->pins = 1;
    list_init(&f->idle);
    e->file = f;
    d->file_count++;
    return f;
}

static void file_pin(struct segment_file *f)
{
    if (f->pins++ == 0) {
        list_remove(&f->idle);
        f->dir->idle_count--;
    }
}

bool segment_pin(struct segment_dir *d, uint64_t number, struct segment_pin *pin)
{
    struct segment_entry *e;
    struct segment_path path;
    int fd = -1;

    *pin = (struct segment_pin){ .fd = -1 };
    pthread_mutex_lock(&d->lock);
    e = segment_entry_find(d, number);
    if (e != NULL && e->file == NULL) {
        segment_path(&path, d, e->root, number, e->info.header.kind, e->is_temp);
        pthread_mutex_unlock(&d->lock);
        fd = file_open(path.text, O_RDONLY, NULL);
        pthread_mutex_lock(&d->lock);
        e = segment_entry_find(d, number); /* it may be gone, or open, by now */
    }
    if (e != NULL && e->file != NULL) {
        file_pin(e->file);
        pin->file = e->file;
    } else if (e != NULL && fd >= 0) {
        pin->file = segment_file_new(d, e, fd);
        fd = -1;
    }
    if (pin->file != NULL) {
        pin->fd = pin->file->fd;
        pin->number = number;
        pin->salt = e->info.header.salt;
    }
    pthread_mutex_unlock(&d->lock);
    if (fd >= 0)
        close(fd);
    return pin->file != NULL;
}

static void dir_free(struct segment_dir *d)
{
    pthread_mutex_destroy(&d->lock);
    mem_free(d);
}

void segment_unpin(struct segment_pin *pin)
{
    struct segment_file *f = pin->file;
    struct segment_dir *d;
    bool is_last = false;
    int fd = -1;

    *pin = (struct segment_pin){ .fd = -1 };
    if (f == NULL)
        return;
    d = f->dir;
    pthread_mutex_lock(&d->lock);
    ASSERT(f->pins > 0);
    if (--f->pins == 0) {
        if (f->entry == NULL) {
            fd = file_free(f);
        } else {
            list_push_back(&d->idle, &f->idle);
            if (++d->idle_count > SEGMENT_IDLE_MAX)
                fd = file_free(LIST_ENTRY(d->idle.next, struct segment_file, idle));
        }
        is_last = d->is_closed && d->file_count == 0;
    }
    pthread_mutex_unlock(&d->lock);
    if (fd >= 0)
        close(fd);
    if (is_last)
        dir_free(d);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* Header and trailer. -1 only for a newer format; what cannot be read is damage. */
static int info_read(int fd, const struct segment_name *name, unsigned root, struct segment_info *info, struct err *err)
{
    unsigned char octets[SEGMENT_PAGE_BYTES];
    struct err why = ERR_INIT;
    struct footer footer;
    uint64_t bad_bytes = 0;
    int64_t n = file_read(fd, 0, octets, sizeof(octets), &bad_bytes, &why);

    if (n < 0 || segment_header_decode(slice_of(octets, (size_t)n), &info->header, NULL, &why) < 0) {
        if (why.kind == ERR_PERM) {
            if (err != NULL)
                *err = why;
            return -1;
        }
        info->header = (struct segment_header){ .format = JOURNAL_FORMAT };
        info->is_damaged = true;
    } else if (info->header.number != name->number || info->header.kind != name->segment) {
        info->is_damaged = true;
    }
    info->header.number = name->number;
    info->header.kind = name->segment;
    info->header.partition = root;
    if (info->bytes < SEGMENT_PAGE_BYTES + FOOTER_HEAD_BYTES + FOOTER_TRAILER_BYTES || info->is_damaged)
        return 0;
    n = file_read(fd, info->bytes - FOOTER_TRAILER_BYTES, octets, FOOTER_TRAILER_BYTES, &bad_bytes, &why);
    if (n < 0 || footer_peek(slice_of(octets, (size_t)n), info->header.salt, info->bytes, &footer, &why) < 0)
        return 0;
    info->is_sealed = true;
    info->records_end = footer.records_end;
    info->last_seq = footer.last_seq;
    info->newest_ms = footer.newest_ms;
    return 0;
}

static int segment_found(struct segment_dir *d, unsigned root, const char *path, const struct segment_name *name,
                         const struct stat *st, struct err *err)
{
    struct segment_entry *e;
    int fd;

    /* Twice the same number can only be somebody's copy; the journal's own directory comes first. */
    if (entry_of(d, name->number) != NULL)
        return 0;
    e = mem_alloc(sizeof(*e));
    e->root = root;
    e->info.bytes = (uint64_t)st->st_size;
    fd = file_open(path, O_RDONLY, err);
    if (fd < 0 || info_read(fd, name, root, &e->info, err) < 0) {
        if (fd >= 0)
            close(fd);
        mem_free(e);
        return err_prefix(err, "%s: ", path);
    }
    close(fd);
    e->is_unsure = e->info.is_sealed;
    segment_entry_insert(d, e);
    return 0;
}

static struct segment_slot *slot_of(struct segment_dir *d, const struct segment_name *name)
{
    if (name->kind == NAME_SPARE)
        return &d->spare;
    return name->number <= d->reserve_segments ? &d->reserve[name->number - 1] : NULL;
}

/* One name of a directory. */
static int name_found(struct segment_dir *d, unsigned root, const char *text, struct err *err)
{
    struct segment_name name;
    struct segment_path path;
    struct segment_slot *slot;
    struct stat st;

    segment_name_parse(text, &name);
    if (name.kind == NAME_OTHER || strlen(text) > 40)
        return 0;
    segment_file_path(&path, d, root, text, false);
    if (lstat(path.text, &st) < 0)
        return errno == ENOENT ? 0 : err_sys(err, errno, "stat %s", path.text);
    if (!S_ISREG(st.st_mode))
        return 0;
    if (name.is_new)
        return d->read_only ? 0 : file_unlink(path.text, err);
    if (name.kind == NAME_SEGMENT)
        return segment_found(d, root, path.text, &name, &st, err);
    if (root != 0)
        return 0;
    slot = slot_of(d, &name);
    /* A reserve file of another size than configured, or beyond the configured number, is made anew or not at all. */
    if (slot == NULL || (name.kind == NAME_RESERVE && (uint64_t)st.st_size < d->segment_bytes))
        return d->read_only ? 0 : file_unlink(path.text, err);
    slot->state = SLOT_READY;
    slot->bytes = (uint64_t)st.st_size;
    return 0;
}

static int root_list(struct segment_dir *d, unsigned root, struct err *err)
{
    DIR *dir = opendir(d->roots[root]);
    struct dirent *name;
    int rc = 0;

    if (dir == NULL)
        return err_sys(err, errno, "read directory %s", d->roots[root]);
    while (rc == 0 && (errno = 0, name = readdir(dir)) != NULL)
        rc = name_found(d, root, name->d_name, err);
    if (rc == 0 && errno != 0)
        rc = err_sys(err, errno, "read directory %s", d->roots[root]);
    closedir(dir);
    return rc;
}

static int roots_open(struct segment_dir *d, const struct segment_dir_conf *conf, struct err *err)
{
    d->roots = mem_alloc_array(conf->root_count, sizeof(char *));
    d->root_fds = mem_alloc_array(conf->root_count, sizeof(int));
    for (unsigned i = 0; i < conf->root_count; i++) {
        if (strlen(conf->roots[i]) > ROOT_MAX_BYTES)
            return err_set(err, ERR_LIMIT, "the name of a journal directory is longer than %u octets", ROOT_MAX_BYTES);
        d->root_fds[i] = file_open(conf->roots[i], O_RDONLY | O_DIRECTORY, err);
        if (d->root_fds[i] < 0)
            return -1;
        d->roots[i] = mem_strdup(conf->roots[i]);
        d->root_count = i + 1;
    }
    return 0;
}

int segment_dir_open(struct segment_dir **out, const struct segment_dir_conf *conf, struct err *err)
{
    struct segment_dir *d = mem_alloc(sizeof(*d));
    int rc = -1;

    ASSERT(conf->root_count > 0 && conf->reserve_segments <= SEGMENT_RESERVE_MAX);
    pthread_mutex_init(&d->lock, NULL);
    list_init(&d->idle);
    d->segment_bytes = conf->segment_bytes;
    d->copy_on_write = conf->copy_on_write;
    d->read_only = conf->read_only;
    d->reserve_segments = conf->reserve_segments;
    d->clock = conf->clock;
    d->next_number = 1;
    *out = NULL;
    if (roots_open(d, conf, err) < 0)
        goto out;
    for (unsigned i = 0; i < d->root_count; i++) {
        if (root_list(d, i, err) < 0)
            goto out;
    }
    *out = d;
    rc = 0;
out:
    if (rc < 0)
        segment_dir_close(&d);
    return rc;
}

void segment_dir_close(struct segment_dir **dp)
{
    struct segment_dir *d = *dp;
    bool is_last;

    *dp = NULL;
    if (d == NULL)
        return;
    pthread_mutex_lock(&d->lock);
    while (d->count > 0) {
        int fd = segment_entry_remove(d, d->entries[d->count - 1]);

        if (fd >= 0)
            close(fd);
    }
    mem_free(d->entries);
    d->entries = NULL;
    for (unsigned i = 0; i < d->root_count; i++) {
        close(d->root_fds[i]);
        mem_free(d->roots[i]);
    }
    mem_free(d->root_fds);
    mem_free(d->roots);
    d->is_closed = true;
    is_last = d->file_count == 0;
    pthread_mutex_unlock(&d->lock);
    if (is_last)
        dir_free(d);
}
