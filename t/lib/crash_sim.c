/* size: one model of a disk and its crash images */
#include "crash_sim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/random.h"

#define SECTOR_BYTES 512u
#define NONE UINT32_MAX

struct change { /* of a file's octets */
    uint16_t kind; /* enum record_kind */
    uint16_t mode;
    uint64_t at, len;
    const unsigned char *data;
};

struct file {
    bool is_dir;
    uint64_t inode;
    char *path; /* the last one it had, for telling kinds apart */
    struct buf certain;
    struct change *changes;
    size_t change_count, change_cap;
};

struct name {
    char *path;
    uint32_t file;
};

struct name_change {
    uint16_t kind;
    bool is_certain;
    uint32_t file;
    char *path, *to; /* to: of rename and link */
};

struct crash_sim {
    char *dir;
    struct file *files;
    size_t file_count, file_cap;
    struct name *names; /* as the running program sees them */
    size_t name_count, name_cap;
    struct name *base;  /* as they were at first */
    size_t base_count, base_cap;
    struct name_change *name_changes;
    size_t name_change_count, name_change_cap;
    size_t ordered_upto; /* name changes before it are certain under CRASH_ORDERED */
    uint32_t *handles;   /* handle -> file */
    size_t handle_cap;
    uint64_t syncs[CRASH_SYNC_COUNT];
    uint64_t skip[CRASH_SYNC_COUNT]; /* UINT64_MAX: none */
};

static void *grow(void *array, size_t *cap, size_t need, size_t each)
{
    if (need <= *cap)
        return array;
    *cap = need * 2 + 16;
    return mem_realloc(array, *cap * each);
}

/* --- the log ------------------------------------------------------------------------------------------------------ */

int crash_log_open(struct crash_log *log, const char *path)
{
    struct stat st;
    size_t at = 0, cap = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    memset(log, 0, sizeof(*log));
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    log->bytes = (size_t)st.st_size;
    log->octets = log->bytes == 0 ? NULL : mmap(NULL, log->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (log->octets == MAP_FAILED)
        return -1;
    while (at + sizeof(struct record_event) <= log->bytes) {
        const struct record_event *e = (const void *)(log->octets + at);
        size_t len = sizeof(*e) + (((size_t)e->len1 + e->len2 + 7) & ~(size_t)7);

        if (e->magic != RECORD_EVENT_MAGIC || at + len > log->bytes)
            break;
        log->events = grow(log->events, &cap, log->count + 1, sizeof(*log->events));
        log->events[log->count++] = at;
        at += len;
    }
    return 0;
}

void crash_log_free(struct crash_log *log)
{
    if (log->octets != NULL)
        munmap(log->octets, log->bytes);
    mem_free(log->events);
    memset(log, 0, sizeof(*log));
}

const struct record_event *crash_log_event(const struct crash_log *log, size_t n, const unsigned char **data1,
                                           const unsigned char **data2)
{
    const struct record_event *e = (const void *)(log->octets + log->events[n]);

    *data1 = (const unsigned char *)(e + 1);
    if (data2 != NULL)
        *data2 = *data1 + e->len1;
    return e;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static uint32_t name_find(const struct name *names, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i].path, path) == 0)
            return (uint32_t)i;
    }
    return NONE;
}

static void name_set(struct name **names, size_t *count, size_t *cap, const char *path, uint32_t file)
{
    uint32_t i = name_find(*names, *count, path);

    if (i == NONE) {
        *names = grow(*names, cap, *count + 1, sizeof(**names));
        i = (uint32_t)(*count)++;
        (*names)[i].path = mem_strdup(path);
    }
    (*names)[i].file = file;
}

static void name_clear(struct name *names, size_t *count, const char *path, uint32_t file)
{
    uint32_t i = name_find(names, *count, path);

    if (i == NONE || names[i].file != file)
        return;
    mem_free(names[i].path);
    names[i] = names[--*count];
}

static void names_change(struct name **names, size_t *count, size_t *cap, const struct name_change *c)
{
    switch (c->kind) {
    case REC_OPEN:
    case REC_MKDIR:
        name_set(names, count, cap, c->path, c->file);
        break;
    case REC_RENAME:
        name_clear(*names, count, c->path, c->file);
        name_set(names, count, cap, c->to, c->file);
        break;
    case REC_LINK:
        name_set(names, count, cap, c->to, c->file);
        break;
    default: /* REC_UNLINK, REC_RMDIR */
        name_clear(*names, count, c->path, c->file);
        break;
    }
}

static void names_free(struct name *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free(names[i].path);
    mem_free(names);
}

static uint32_t file_new(struct crash_sim *s, const char *path, bool is_dir, uint64_t inode)
{
    struct file *f;

    s->files = grow(s->files, &s->file_cap, s->file_count + 1, sizeof(*s->files));
    f = &s->files[s->file_count];
    memset(f, 0, sizeof(*f));
    f->is_dir = is_dir;
    f->inode = inode;
    f->path = mem_strdup(path);
    return (uint32_t)s->file_count++;
}

static void name_event(struct crash_sim *s, uint16_t kind, uint32_t file, const char *path, const char *to)
{
    struct name_change *c;

    s->name_changes = grow(s->name_changes, &s->name_change_cap, s->name_change_count + 1, sizeof(*s->name_changes));
    c = &s->name_changes[s->name_change_count++];
    *c = (struct name_change){ kind, false, file, mem_strdup(path), to != NULL ? mem_strdup(to) : NULL };
    names_change(&s->names, &s->name_count, &s->name_cap, c);
    if (kind == REC_RENAME) {
        mem_free(s->files[file].path);
        s->files[file].path = mem_strdup(to);
    }
}

static bool is_in(const char *dir, const char *path)
{
    size_t len = strlen(dir);

    return path != NULL && strncmp(path, dir, len) == 0 && path[len] == '/' && strchr(path + len + 1, '/') == NULL;
}

/* --- making and destroying ---------------------------------------------------------------------------------------- */

OWNED struct crash_sim *crash_sim_new(const char *dir)
{
    struct crash_sim *s = mem_alloc(sizeof(*s));

    s->dir = mem_strdup(dir);
    for (unsigned i = 0; i < CRASH_SYNC_COUNT; i++)
        s->skip[i] = UINT64_MAX;
    name_set(&s->base, &s->base_count, &s->base_cap, dir, file_new(s, dir, true, 0));
    name_set(&s->names, &s->name_count, &s->name_cap, dir, 0);
    return s;
}

OWNED struct crash_sim *crash_sim_copy(const struct crash_sim *from)
{
    struct crash_sim *s = mem_alloc(sizeof(*s));

    *s = *from;
    s->dir = mem_strdup(from->dir);
    s->files = mem_alloc_array(s->file_cap, sizeof(*s->files));
    for (size_t i = 0; i < s->file_count; i++) {
        struct file *f = &s->files[i];

        *f = from->files[i];
        f->path = mem_strdup(f->path);
        f->certain = BUF_INIT;
        buf_put_slice(&f->certain, buf_slice(&from->files[i].certain));
        f->changes = f->change_cap == 0 ? NULL : mem_alloc_array(f->change_cap, sizeof(*f->changes));
        if (f->change_count > 0)
            memcpy(f->changes, from->files[i].changes, f->change_count * sizeof(*f->changes));
    }
    s->names = s->base = NULL;
    s->name_count = s->name_cap = s->base_count = s->base_cap = 0;
    for (size_t i = 0; i < from->name_count; i++)
        name_set(&s->names, &s->name_count, &s->name_cap, from->names[i].path, from->names[i].file);
    for (size_t i = 0; i < from->base_count; i++)
        name_set(&s->base, &s->base_count, &s->base_cap, from->base[i].path, from->base[i].file);
    s->name_changes = mem_alloc_array(s->name_change_cap + 1, sizeof(*s->name_changes));
    for (size_t i = 0; i < s->name_change_count; i++) {
        s->name_changes[i] = from->name_changes[i];
        s->name_changes[i].path = mem_strdup(from->name_changes[i].path);
        s->name_changes[i].to = from->name_changes[i].to != NULL ? mem_strdup(from->name_changes[i].to) : NULL;
    }
    s->handles = NULL;
    s->handle_cap = 0;
    return s;
}

void crash_sim_destroy(struct crash_sim **sp)
{
    struct crash_sim *s = *sp;

    if (s == NULL)
        return;
    for (size_t i = 0; i < s->file_count; i++) {
        mem_free(s->files[i].path);
        mem_free(s->files[i].changes);
        buf_free(&s->files[i].certain);
    }
    for (size_t i = 0; i < s->name_change_count; i++) {
        mem_free(s->name_changes[i].path);
        mem_free(s->name_changes[i].to);
    }
    names_free(s->names, s->name_count);
    names_free(s->base, s->base_count);
    mem_free(s->files);
    mem_free(s->name_changes);
    mem_free(s->handles);
    mem_free(s->dir);
    mem_free(s);
    *sp = NULL;
}

static void base_file(struct crash_sim *s, const char *from, const char *path)
{
    struct stat st;
    char to[PATH_MAX];
    uint32_t id;
    int fd = open(from, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0)
        panic("cannot open %s", from);
    snprintf(to, sizeof(to), "%s", path);
    id = file_new(s, to, S_ISDIR(st.st_mode), st.st_ino);
    if (S_ISREG(st.st_mode) && st.st_size > 0) {
        unsigned char *p = buf_extend(&s->files[id].certain, (size_t)st.st_size);

        if (pread(fd, p, (size_t)st.st_size, 0) != st.st_size)
            panic("cannot read %s", from);
    }
    close(fd);
    name_set(&s->base, &s->base_count, &s->base_cap, to, id);
    name_set(&s->names, &s->name_count, &s->name_cap, to, id);
}

static void base_dir(struct crash_sim *s, const char *from, const char *path)
{
    DIR *d = opendir(from);

    if (d == NULL)
        panic("cannot open %s", from);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        char below[PATH_MAX], to[PATH_MAX];

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof(below), "%s/%s", from, e->d_name);
        snprintf(to, sizeof(to), "%s/%s", path, e->d_name);
        base_file(s, below, to);
        if (e->d_type == DT_DIR)
            base_dir(s, below, to);
    }
    closedir(d);
}

void crash_sim_base(struct crash_sim *s, const char *from)
{
    base_dir(s, from, s->dir);
}

void crash_sim_rewind(struct crash_sim *s)
{
    mem_free(s->handles);
    s->handles = NULL;
    s->handle_cap = 0;
}

/* --- syncs -------------------------------------------------------------------------------------------------------- */

const char *crash_sync_name(enum crash_sync kind)
{
    static const char *const names[] = { "header", "data", "body", "directory", "index", "state", "other" };

    return names[kind];
}

void crash_sim_skip(struct crash_sim *s, enum crash_sync kind, uint64_t n)
{
    s->skip[kind] = n;
}

uint64_t crash_sim_sync_count(const struct crash_sim *s, enum crash_sync kind)
{
    return s->syncs[kind];
}

/* A file is made under a name with ".new" behind it. */
static bool ends(const char *path, const char *end)
{
    slice name = slice_str(path);

    if (slice_ends(name, SLICE(".new")))
        name.len -= 4;
    return slice_ends(name, slice_str(end));
}

static enum crash_sync sync_kind(const struct file *f)
{
    const char *last = strrchr(f->path, '/') + 1;

    if (f->is_dir)
        return CRASH_SYNC_DIRECTORY;
    if (strncmp(last, "index.", 6) == 0)
        return ends(last, ".lmdb") ? CRASH_SYNC_INDEX : CRASH_SYNC_STATE;
    if (ends(last, ".body") || ends(last, ".cmp"))
        return CRASH_SYNC_BODY;
    if (!ends(last, ".seg") && strncmp(last, "spare", 5) != 0 && strncmp(last, "reserve", 7) != 0)
        return CRASH_SYNC_OTHER;
    for (size_t i = 0; i < f->change_count; i++) {
        if (f->changes[i].kind == REC_WRITE && f->changes[i].at < 4096)
            return CRASH_SYNC_HEADER;
    }
    return CRASH_SYNC_DATA;
}

/* --- octets ------------------------------------------------------------------------------------------------------- */

static void set_size(struct buf *b, uint64_t size)
{
    size_t old = b->len;

    if (size > old)
        memset(buf_extend(b, (size_t)size - old), 0, (size_t)size - old);
    b->len = (size_t)size;
}

static void put_octets(struct buf *b, uint64_t at, const unsigned char *data, uint64_t len)
{
    if (at + len > b->len)
        set_size(b, at + len);
    memcpy(b->ptr + at, data, (size_t)len);
}

static uint64_t size_after(const struct change *c, uint64_t size)
{
    uint64_t end = c->at + c->len;

    if (c->kind == REC_TRUNCATE)
        return c->at;
    if (c->kind == REC_FALLOCATE && (c->mode & FALLOC_FL_KEEP_SIZE) != 0)
        return size;
    return end > size ? end : size;
}

/* Zeros that a change makes: behind a new end, or in a punched or zeroed range. */
static void put_zeros(struct buf *b, const struct change *c)
{
    uint64_t from = c->at, to = c->kind == REC_TRUNCATE ? b->len : c->at + c->len;

    if (c->kind == REC_FALLOCATE && (c->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == 0)
        return;
    if (to > b->len)
        to = b->len;
    if (from < to)
        memset(b->ptr + from, 0, (size_t)(to - from));
}

static void change_all(struct buf *b, const struct change *c)
{
    if (c->kind == REC_WRITE) {
        put_octets(b, c->at, c->data, c->len);
        return;
    }
    put_zeros(b, c);
    set_size(b, size_after(c, b->len));
}

static void file_sync(struct file *f)
{
    for (size_t i = 0; i < f->change_count; i++)
        change_all(&f->certain, &f->changes[i]);
    f->change_count = 0;
}

static void file_change(struct crash_sim *s, uint32_t file, const struct change *c)
{
    struct file *f = &s->files[file];

    f->changes = grow(f->changes, &f->change_cap, f->change_count + 1, sizeof(*f->changes));
    f->changes[f->change_count++] = *c;
}

static int do_sync(struct crash_sim *s, uint32_t file)
{
    struct file *f = &s->files[file];
    enum crash_sync kind = sync_kind(f);
    uint64_t n = ++s->syncs[kind];

    if (s->skip[kind] == 0 || s->skip[kind] == n)
        return (int)kind;
    s->ordered_upto = s->name_change_count;
    if (f->is_dir) {
        for (size_t i = 0; i < s->name_change_count; i++) {
            struct name_change *c = &s->name_changes[i];

            if (is_in(f->path, c->path) || is_in(f->path, c->to))
                c->is_certain = true;
        }
    } else {
        file_sync(f);
    }
    return (int)kind;
}

/* --- following the log -------------------------------------------------------------------------------------------- */

static uint32_t handle_file(const struct crash_sim *s, uint32_t handle)
{
    if (handle >= s->handle_cap || s->handles[handle] == NONE)
        panic("handle %u of the log was never opened", handle);
    return s->handles[handle];
}

static void do_open(struct crash_sim *s, const struct record_event *e, const char *path)
{
    uint32_t at = name_find(s->names, s->name_count, path), file;
    size_t old = s->handle_cap;

    if ((at == NONE) != ((e->flags & REC_OPEN_CREATED) != 0))
        panic("%s: the log and the simulation disagree on whether it exists", path);
    if (at == NONE) {
        file = file_new(s, path, false, e->a);
        name_event(s, REC_OPEN, file, path, NULL);
    } else {
        file = s->names[at].file;
        s->files[file].inode = e->a; /* of the recorded file; that of crash_sim_base is a copy's */
        if ((e->flags & REC_OPEN_TRUNC) != 0)
            file_change(s, file, &(struct change){ .kind = REC_TRUNCATE });
    }
    s->handles = grow(s->handles, &s->handle_cap, (size_t)e->handle + 1, sizeof(*s->handles));
    for (size_t i = old; i < s->handle_cap; i++)
        s->handles[i] = NONE;
    s->handles[e->handle] = file;
}

static void do_names(struct crash_sim *s, const struct record_event *e, const char *path, const char *to)
{
    uint32_t at = name_find(s->names, s->name_count, path);

    if (e->kind == REC_MKDIR) {
        name_event(s, REC_MKDIR, file_new(s, path, true, 0), path, NULL);
        return;
    }
    if (at == NONE)
        panic("%s: the log changes a name that the simulation does not know", path);
    name_event(s, e->kind, s->names[at].file, path, to);
}

int crash_sim_step(struct crash_sim *s, const struct crash_log *log, size_t n)
{
    const unsigned char *data1, *data2;
    const struct record_event *e = crash_log_event(log, n, &data1, &data2);
    char path[PATH_MAX], to[PATH_MAX];

    snprintf(path, sizeof(path), "%.*s", (int)(e->len1 < PATH_MAX ? e->len1 : 0), (const char *)data1);
    snprintf(to, sizeof(to), "%.*s", (int)(e->len2 < PATH_MAX ? e->len2 : 0), (const char *)data2);
    switch (e->kind) {
    case REC_OPEN:
        do_open(s, e, path);
        break;
    case REC_WRITE:
        file_change(s, handle_file(s, e->handle),
                    &(struct change){ .kind = REC_WRITE, .at = e->a, .len = e->len1, .data = data1 });
        break;
    case REC_TRUNCATE:
    case REC_FALLOCATE:
        file_change(s, handle_file(s, e->handle),
                    &(struct change){ .kind = e->kind, .mode = e->flags, .at = e->a, .len = e->b });
        break;
    case REC_SYNC:
        return do_sync(s, handle_file(s, e->handle));
    case REC_SYNC_ALL:
        panic("sync and syncfs are not modelled");
    case REC_RENAME:
    case REC_LINK:
    case REC_UNLINK:
    case REC_MKDIR:
    case REC_RMDIR:
        do_names(s, e, path, e->len2 > 0 ? to : NULL);
        break;
    default: /* replies, closes, failed syncs */
        break;
    }
    return -1;
}

bool crash_sim_is_record_write(const struct crash_sim *s, const struct record_event *e)
{
    return e->kind == REC_WRITE && e->a >= 4096 && ends(s->files[handle_file(s, e->handle)].path, ".seg");
}

uint64_t crash_sim_unsynced(const struct crash_sim *s)
{
    uint64_t n = 0;

    for (size_t i = 0; i < s->file_count; i++)
        n += s->files[i].change_count;
    for (size_t i = 0; i < s->name_change_count; i++)
        n += !s->name_changes[i].is_certain;
    return n;
}

uint64_t crash_sim_inode(const struct crash_sim *s, const char *name)
{
    char path[PATH_MAX];
    uint32_t at;

    snprintf(path, sizeof(path), "%s/%s", s->dir, name);
    at = name_find(s->names, s->name_count, path);
    return at == NONE ? 0 : s->files[s->names[at].file].inode;
}

/* --- images ------------------------------------------------------------------------------------------------------- */

/* What becomes of the uncertain changes of one file, or of the names. */
struct fate {
    struct rng *rng;
    uint64_t percent; /* how likely each happened, of 100 */
    bool in_order;    /* instead: the first `left` octets happened, the rest did not */
    uint64_t left;
};

/* Often none or all, or the beginning, else something in between. */
static struct fate draw_fate(struct rng *rng, const struct crash_choice *choice)
{
    struct fate f = { .rng = rng, .percent = 100 };

    if (choice->model == CRASH_KILL || choice->seed == 1)
        return f;
    if (choice->seed == 0) {
        f.percent = 0;
        return f;
    }
    switch (rng_below(rng, 8)) {
    case 0:
        f.percent = 0;
        break;
    case 1:
        break;
    case 2:
    case 3:
    case 4:
        f.in_order = true;
        break;
    default:
        f.percent = 5 + rng_below(rng, 91);
        break;
    }
    return f;
}

static bool happens(struct fate *f, uint64_t bytes)
{
    if (f->in_order) {
        bool is_in = f->left >= bytes;

        f->left = is_in ? f->left - bytes : 0;
        return is_in;
    }
    return f->percent == 100 || (f->percent != 0 && rng_below(f->rng, 100) < f->percent);
}

/* Pieces of a write that lie in one sector happen together. */
static void write_torn(struct buf *b, const struct change *c, struct fate *f)
{
    uint64_t done = 0;

    while (done < c->len) {
        uint64_t at = c->at + done, piece = SECTOR_BYTES - at % SECTOR_BYTES;

        if (piece > c->len - done)
            piece = c->len - done;
        if (happens(f, piece))
            put_octets(b, at, c->data + done, piece);
        done += piece;
    }
}

/* The size is metadata of its own: it is that after one of the changes, whichever octets made it. */
static uint64_t draw_size(const struct file *f, const struct fate *fate)
{
    uint64_t size = f->certain.len;
    size_t upto = f->change_count;

    if (!fate->in_order && fate->percent == 0)
        upto = 0;
    else if (fate->in_order || fate->percent != 100)
        upto = (size_t)rng_below(fate->rng, f->change_count + 1);
    for (size_t i = 0; i < upto; i++)
        size = size_after(&f->changes[i], size);
    return size;
}

static void file_octets(const struct file *f, const struct crash_choice *choice, struct rng *rng, struct buf *out)
{
    struct fate fate = draw_fate(rng, choice);
    uint64_t size, bytes = 0;

    buf_reset(out);
    buf_put_slice(out, buf_slice(&f->certain));
    if (!fate.in_order && fate.percent == 100) {
        for (size_t i = 0; i < f->change_count; i++)
            change_all(out, &f->changes[i]);
        return;
    }
    size = draw_size(f, &fate);
    for (size_t i = 0; i < f->change_count; i++)
        bytes += f->changes[i].kind == REC_WRITE ? f->changes[i].len : 1;
    fate.left = rng_below(rng, bytes + 1);
    for (size_t i = 0; i < f->change_count; i++) {
        if (f->changes[i].kind == REC_WRITE)
            write_torn(out, &f->changes[i], &fate);
        else if (happens(&fate, 1))
            put_zeros(out, &f->changes[i]);
    }
    set_size(out, size);
}

static size_t ordered_cut(const struct crash_sim *s, const struct crash_choice *choice, struct rng *rng)
{
    size_t open_changes = s->name_change_count - s->ordered_upto;

    if (choice->seed == 0)
        return s->ordered_upto;
    if (choice->seed == 1)
        return s->name_change_count;
    return s->ordered_upto + (size_t)rng_below(rng, open_changes + 1);
}

static struct name *draw_names(const struct crash_sim *s, const struct crash_choice *choice, struct rng *rng,
                               size_t *count)
{
    struct name *names = NULL;
    size_t cap = 0, cut = ordered_cut(s, choice, rng);
    struct fate fate = draw_fate(rng, choice);

    fate.left = rng_below(rng, s->name_change_count + 1);
    *count = 0;
    for (size_t i = 0; i < s->base_count; i++)
        name_set(&names, count, &cap, s->base[i].path, s->base[i].file);
    for (size_t i = 0; i < s->name_change_count; i++) {
        const struct name_change *c = &s->name_changes[i];
        bool happened;

        if (choice->model == CRASH_ORDERED)
            happened = i < cut;
        else
            happened = choice->model == CRASH_KILL || c->is_certain || happens(&fate, 1);
        if (happened)
            names_change(&names, count, &cap, c);
    }
    return names;
}

static int remove_one(const char *path, const struct stat *st UNUSED, int flag UNUSED, struct FTW *ftw)
{
    return ftw->level == 0 ? 0 : remove(path);
}

void crash_dir_empty(const char *dir, bool also_itself)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (also_itself)
        rmdir(dir);
}

/* Only pages with something in them: segments are mostly allocated, not written. */
static int64_t write_sparse(int fd, slice octets)
{
    static const unsigned char zeros[4096];
    int64_t written = 0;

    for (size_t at = 0; at < octets.len; at += sizeof(zeros)) {
        slice page = slice_sub(octets, at, sizeof(zeros));

        if (memcmp(page.ptr, zeros, page.len) == 0)
            continue;
        if (pwrite(fd, page.ptr, page.len, (off_t)at) != (ssize_t)page.len)
            return -1;
        written += (int64_t)page.len;
    }
    return ftruncate(fd, (off_t)octets.len) < 0 ? -1 : written;
}

static int name_order(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

int64_t crash_sim_image(const struct crash_sim *s, const struct crash_choice *choice, const char *out)
{
    struct buf octets = BUF_INIT;
    struct rng rng;
    size_t count, skip = strlen(s->dir);
    struct name *names;
    int64_t total = 0;

    rng_init(&rng, choice->seed);
    crash_dir_empty(out, false);
    names = draw_names(s, choice, &rng, &count);
    qsort(names, count, sizeof(*names), name_order); /* directories before what is in them */
    for (size_t i = 0; i < count && total >= 0; i++) {
        const struct file *f = &s->files[names[i].file];
        char path[PATH_MAX];
        int64_t written;
        int fd;

        if (strcmp(names[i].path, s->dir) == 0)
            continue;
        snprintf(path, sizeof(path), "%s%s", out, names[i].path + skip);
        if (f->is_dir) {
            mkdir(path, 0700);
            continue;
        }
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 && errno == ENOENT)
            continue; /* its directory did not survive */
        file_octets(f, choice, &rng, &octets);
        written = fd < 0 ? -1 : write_sparse(fd, buf_slice(&octets));
        total = written < 0 ? -1 : total + written;
        if (fd >= 0)
            close(fd);
    }
    names_free(names, count);
    buf_free(&octets);
    return total;
}
