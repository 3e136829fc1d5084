/* Opening an index: is it trusted, and if not, a new one.
 *
 * Why the order of syncs suffices. LMDB runs with MDB_NOSYNC: after a power loss any subset of its writes may be on
 * the disk, in particular a new meta page whose tree is missing, and LMDB would not notice. So a file that may have
 * unsynced writes must never be opened on another boot, and it is not:
 *
 *   open    1. the state block "not clean, this boot, this file" is written and synced, its directory entry, too
 *           2. only then does LMDB get to write
 *   close   3. mdb_env_sync(1): all writes of the index are on the disk
 *           4. only then "clean" with the checksum of the meta pages is written and synced
 *
 * A power loss before 1 is complete finds the old state block, or a torn one that does not validate, with an index
 * that nobody has touched. From 1 to 4 it finds "not clean" and another boot: thrown away unread. After 4 it finds
 * "clean" and a file that was synced. When only the process dies, the kernel keeps all writes in their order, and
 * LMDB's two meta pages make the last complete commit valid: that is why the same boot suffices.
 *
 * The state block is overwritten in place and not renamed into place: it fits a sector, its checksum tells a torn
 * write (which only costs a rebuild), and it works on a full disk, where a new file would not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"
#include "journal/index_internal.h"

#define ROOM "journal"
#define MAP_BYTES_DEFAULT (64ull << 30)
#define MAP_BYTES_ENOUGH (1ull << 30) /* without so much address space we do not start */
#define READERS_DEFAULT 256u
#define READERS_OTHERS 8u /* slots for tools that look into a running server's index */
#define META_TABLE "meta"
#define TABLE_NAME_BYTES 80

enum trust { DISTRUSTED, TRUSTED, TROUBLE = -1 };

struct opening {
    const struct index_conf *conf;
    const struct journal_room *const *rooms;
    unsigned room_count;
    struct index_state now; /* what the state block of a trusted index says */
    char *why;              /* INDEX_WHY_BYTES */
};

/* --- the state block ---------------------------------------------------------------------------------------------- */

static int write_block(int fd, const struct index_state *s)
{
    unsigned char block[INDEX_STATE_BYTES];

    index_state_encode(block, s);
    errno = EIO; /* for a short write */
    return pwrite(fd, block, sizeof(block), 0) == (ssize_t)sizeof(block) ? 0 : -1;
}

/* Nothing vouches for the index any more. Works on a full disk and while the process is dying. */
static void state_drop(struct index *ix)
{
    if (atomic_exchange(&ix->distrusted, true) || ix->read_only)
        return;
    if (unlinkat(ix->dir_fd, INDEX_STATE_FILE, 0) == 0)
        (void)fsync(ix->dir_fd);
}

/* Write ix->state and make it durable. When the disk has no room for it, dropping it is as safe: the price is a
 * rebuild. */
static int state_save(struct index *ix, struct err *err)
{
    bool made = false;

    if (atomic_load(&ix->distrusted))
        return 0;
    if (ix->state_fd < 0) {
        ix->state_fd = openat(ix->dir_fd, INDEX_STATE_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        made = true;
    }
    if (ix->state_fd >= 0 && write_block(ix->state_fd, &ix->state) == 0 &&
        ftruncate(ix->state_fd, INDEX_STATE_BYTES) == 0 && fsync(ix->state_fd) == 0 &&
        (!made || fsync(ix->dir_fd) == 0))
        return 0;
    if (errno == ENOSPC || errno == EDQUOT) {
        diag_warn(ROOM, "no room for %s/%s: the index is rebuilt at the next start", ix->dir, INDEX_STATE_FILE);
        if (unlinkat(ix->dir_fd, INDEX_STATE_FILE, 0) == 0 || errno == ENOENT) {
            atomic_store(&ix->distrusted, true);
            if (fsync(ix->dir_fd) == 0)
                return 0;
        }
    }
    return err_sys(err, errno, "writing %s/%s", ix->dir, INDEX_STATE_FILE);
}

void index_state_proven(struct index *ix)
{
    /* Not synced: the number of opens counts within one boot only, and for that the page cache will do. */
    ix->state.opens = 0;
    if (ix->state_fd >= 0 && !atomic_load(&ix->distrusted))
        (void)write_block(ix->state_fd, &ix->state);
}

void index_distrust(struct index *ix)
{
    state_drop(ix);
}

/* --- judging what lies there -------------------------------------------------------------------------------------- */

static enum trust distrust(struct opening *o, const char *text)
{
    snprintf(o->why, INDEX_WHY_BYTES, "%s", text);
    return DISTRUSTED;
}

static int identify(int fd, struct index_state *now)
{
    struct statx sx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &sx) < 0)
        return -1;
    now->inode = sx.stx_ino;
    now->birth_s = 0;
    now->birth_ns = 0;
    if ((sx.stx_mask & STATX_BTIME) != 0) {
        now->birth_s = sx.stx_btime.tv_sec;
        now->birth_ns = sx.stx_btime.tv_nsec;
    }
    return 0;
}

/* Octets read, up to `size`, or -1. */
static ssize_t read_head(int fd, unsigned char *out, size_t size)
{
    size_t got = 0;

    while (got < size) {
        ssize_t n = pread(fd, out + got, size - got, (off_t)got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

static bool read_pages(int fd, struct index_pages *pages, char why[INDEX_WHY_BYTES])
{
    unsigned char *head = mem_alloc(INDEX_HEAD_BYTES);
    ssize_t got = read_head(fd, head, INDEX_HEAD_BYTES);
    struct stat st;
    bool ok = false;

    if (got < 0 || fstat(fd, &st) < 0)
        snprintf(why, INDEX_WHY_BYTES, "its file cannot be read: %s", strerror(errno));
    else
        ok = index_pages_check(slice_of(head, (size_t)got), (uint64_t)st.st_size, pages, why);
    mem_free(head);
    return ok;
}

static enum trust judge_state(struct index *ix, struct opening *o, struct index_state *found)
{
    unsigned char block[INDEX_STATE_BYTES + 1]; /* one more, to notice a longer file */
    struct err err = ERR_INIT;
    ssize_t got;
    int fd = openat(ix->dir_fd, INDEX_STATE_FILE, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return distrust(o, errno == ENOENT ? "it has no state file" : "its state file cannot be read");
    got = read_head(fd, block, sizeof(block));
    close(fd);
    if (got < 0)
        return distrust(o, "its state file cannot be read");
    if (index_state_decode(slice_of(block, (size_t)got), found, &err) < 0) {
        snprintf(o->why, INDEX_WHY_BYTES, "its state file is damaged: %.60s", err.text);
        return DISTRUSTED;
    }
    return index_state_trusts(found, &o->now, o->why) ? TRUSTED : DISTRUSTED;
}

/* The file itself, without LMDB. On TRUSTED ix->state is what was found. */
static enum trust judge(struct index *ix, struct opening *o)
{
    struct index_state found;
    struct index_pages pages;
    struct stat st;
    enum trust trust;
    int fd = openat(ix->dir_fd, INDEX_FILE, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return distrust(o, errno == ENOENT ? "there is none" : "its file cannot be read");
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || identify(fd, &o->now) < 0) {
        trust = distrust(o, "its file cannot be read");
        goto out;
    }
    trust = judge_state(ix, o, &found);
    if (trust != TRUSTED)
        goto out;
    if (!read_pages(fd, &pages, o->why)) {
        trust = DISTRUSTED;
    } else if (found.clean && found.pages_crc != pages.crc) {
        trust = distrust(o, "its meta pages changed since it was closed");
    } else {
        ix->state = found;
        ix->file_bytes = (uint64_t)st.st_size;
        /* No holes: then everything has blocks already. */
        if ((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size)
            atomic_store(&ix->allocated, (uint64_t)st.st_size);
    }
out:
    close(fd);
    return trust;
}

/* --- the environment ---------------------------------------------------------------------------------------------- */

static void on_lmdb_assert(MDB_env *env, const char *text)
{
    struct index *ix = mdb_env_get_userctx(env);

    /* LMDB aborts when this returns. The next start must not run into the same page. */
    if (ix != NULL)
        state_drop(ix);
    diag_error(ROOM, "index: LMDB stopped: %s", text);
}

static unsigned count_tables(const struct opening *o)
{
    unsigned n = 1; /* meta */

    for (unsigned i = 0; i < o->room_count; i++)
        n += o->rooms[i]->table_count;
    return n;
}

/* LMDB maps its lock file for writing. A hole in it would be filled on a write to memory, which a full disk answers
 * with a signal: give it its blocks now. */
static void lock_file_cover(struct index *ix)
{
    off_t bytes = (off_t)(ix->readers_max + READERS_OTHERS + 4) * 64;
    int fd = openat(ix->dir_fd, INDEX_LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return;
    if (fallocate(fd, 0, 0, bytes) < 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        diag_warn(ROOM, "cannot allocate %s/%s: %s", ix->dir, INDEX_LOCK_FILE, strerror(errno));
    close(fd);
}

/* One attempt with one size of map. 0 or LMDB's code; what was made is in *env. */
static int env_try(struct index *ix, const struct opening *o, const char *path, uint64_t map_bytes, MDB_env **env)
{
    unsigned flags = MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOTLS;
    int rc;

    /* Readahead would pull in neighbours of pages at random places and push out the mail that is being read. */
    flags |= MDB_NORDAHEAD;
    if (ix->read_only)
        flags |= MDB_RDONLY;
    rc = mdb_env_create(env);
    if (rc != 0)
        return rc;
    mdb_env_set_userctx(*env, ix);
    mdb_env_set_assert(*env, on_lmdb_assert);
    if ((rc = mdb_env_set_mapsize(*env, map_bytes)) != 0 ||
        (rc = mdb_env_set_maxdbs(*env, count_tables(o))) != 0 ||
        (rc = mdb_env_set_maxreaders(*env, ix->readers_max + READERS_OTHERS)) != 0)
        return rc;
    return mdb_env_open(*env, path, flags, 0600);
}

static int env_open(struct index *ix, const struct opening *o)
{
    uint64_t wanted = o->conf->map_bytes == 0 ? MAP_BYTES_DEFAULT : o->conf->map_bytes;
    size_t path_bytes = strlen(ix->dir) + sizeof("/" INDEX_FILE);
    char *path = mem_alloc(path_bytes);
    MDB_envinfo info;
    MDB_stat stat;
    int rc, fd;

    snprintf(path, path_bytes, "%s/%s", ix->dir, INDEX_FILE);
    if (!ix->read_only)
        lock_file_cover(ix);
    for (uint64_t map = wanted;; map /= 2) {
        MDB_env *env = NULL;

        rc = env_try(ix, o, path, map, &env);
        if (rc == 0) {
            ix->env = env;
            if (map != wanted)
                diag_warn(ROOM, "index %s: only %llu instead of %llu octets of address space", path,
                          (unsigned long long)map, (unsigned long long)wanted);
            break;
        }
        if (env != NULL)
            mdb_env_close(env);
        if (rc != ENOMEM || map / 2 < MAP_BYTES_ENOUGH)
            break;
    }
    mem_free(path);
    if (rc != 0)
        return rc;
    /* LMDB leaves this one open for programs that are executed. */
    if (mdb_env_get_fd(ix->env, &fd) == 0)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    mdb_env_info(ix->env, &info);
    mdb_env_stat(ix->env, &stat);
    ix->map_bytes = info.me_mapsize;
    ix->page_bytes = stat.ms_psize;
    /* A small map keeps room for mail. */
    if (ix->ahead_bytes > ix->map_bytes / 4)
        ix->ahead_bytes = ix->map_bytes / 4;
    /* No longer value than half a page lies in a page with others. */
    ix->scratch_bytes = INDEX_KEY_MAX_BYTES + ix->page_bytes / 2;
    ix->scratch = mem_alloc(ix->scratch_bytes);
    return 0;
}

static void env_close(struct index *ix)
{
    if (ix->env != NULL) {
        while (ix->idle_count > 0)
            mdb_txn_abort(ix->idle[--ix->idle_count]);
        mdb_env_close(ix->env);
    }
    ix->env = NULL;
    mem_free(ix->scratch);
    ix->scratch = NULL;
    memset(ix->tables, 0, sizeof(ix->tables));
}

static void table_name(char out[TABLE_NAME_BYTES], const struct journal_table *t)
{
    snprintf(out, TABLE_NAME_BYTES, "%03u %s", t->number, t->name);
}

static int open_table(struct index *ix, MDB_txn *txn, const struct journal_table *t, unsigned flags)
{
    char name[TABLE_NAME_BYTES];

    if (t->number < 1 || t->number > JOURNAL_TABLES_MAX || ix->tables[t->number] != 0)
        panic("index table %u (%s) is there twice or out of range", t->number, t->name);
    table_name(name, t);
    return mdb_dbi_open(txn, name, flags, &ix->tables[t->number]);
}

/* Handles of all tables. 0 or LMDB's code; MDB_NOTFOUND when one is missing and flags do not create it. */
static int open_tables(struct index *ix, struct opening *o, MDB_txn *txn, unsigned flags)
{
    int rc = mdb_dbi_open(txn, META_TABLE, flags, &ix->meta);

    if (rc == MDB_NOTFOUND)
        distrust(o, "it has no positions");
    for (unsigned i = 0; rc == 0 && i < o->room_count; i++) {
        for (unsigned k = 0; rc == 0 && k < o->rooms[i]->table_count; k++) {
            const struct journal_table *t = &o->rooms[i]->tables[k];

            rc = open_table(ix, txn, t, flags);
            if (rc == MDB_NOTFOUND)
                snprintf(o->why, INDEX_WHY_BYTES, "it has no table %u %.60s", t->number, t->name);
        }
    }
    return rc;
}

/* A table that this program does not know was kept up to date by another version only: the index as a whole is not
 * ours. */
static bool knows_all_tables(MDB_txn *txn, const struct opening *o)
{
    MDB_dbi names;
    MDB_stat stat;

    return mdb_dbi_open(txn, NULL, 0, &names) == 0 && mdb_stat(txn, names, &stat) == 0 &&
           stat.ms_entries == count_tables(o);
}

/* Open an index that passed judge(). TROUBLE: it may be all right, but cannot be opened now. */
static enum trust attach(struct index *ix, struct opening *o, struct err *err)
{
    struct journal_view view = { .index = ix };
    struct index_meta meta;
    enum trust trust = DISTRUSTED;
    MDB_txn *txn = NULL;
    int rc = env_open(ix, o);

    if (rc == ENOMEM || rc == EACCES || rc == EMFILE || rc == ENFILE || rc == EAGAIN)
        return index_error(rc, "opening", err), TROUBLE;
    if (rc == 0)
        rc = mdb_txn_begin(ix->env, NULL, MDB_RDONLY, &txn);
    if (rc == 0)
        rc = open_tables(ix, o, txn, 0);
    if (rc == MDB_NOTFOUND)
        goto out;
    if (rc != 0) {
        snprintf(o->why, INDEX_WHY_BYTES, "LMDB cannot open it: %s", mdb_strerror(rc));
        goto out;
    }
    if (!knows_all_tables(txn, o)) {
        distrust(o, "it has a table that this program does not know");
        goto out;
    }
    view.txn = txn;
    index_meta_get(&view, &meta);
    if (view.failed) {
        distrust(o, "its positions cannot be read");
        goto out;
    }
    if (index_unfinished_get(&view)) {
        distrust(o, "its rebuild was not finished");
        goto out;
    }
    rc = mdb_txn_commit(txn); /* keeps the handles */
    txn = NULL;
    if (rc == 0)
        trust = TRUSTED;
    else
        snprintf(o->why, INDEX_WHY_BYTES, "LMDB cannot open it: %s", mdb_strerror(rc));
out:
    if (txn != NULL)
        mdb_txn_abort(txn);
    if (trust != TRUSTED)
        env_close(ix);
    return trust;
}

/* --- making a new one --------------------------------------------------------------------------------------------- */

static int remove_old(struct index *ix, struct err *err)
{
    /* The state first: a new file never stands beside an old one's. */
    static const char *const names[] = { INDEX_STATE_FILE, INDEX_FILE, INDEX_LOCK_FILE };

    if (ix->state_fd >= 0)
        close(ix->state_fd);
    ix->state_fd = -1;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (unlinkat(ix->dir_fd, names[i], 0) < 0 && errno != ENOENT)
            return err_sys(err, errno, "removing %s/%s", ix->dir, names[i]);
        if (i == 0 && fsync(ix->dir_fd) < 0)
            return err_sys(err, errno, "syncing %s", ix->dir);
    }
    return 0;
}

/* An empty file, and the state that speaks of it. LMDB makes its meta pages when it opens it. */
static int make_file(struct index *ix, struct opening *o, struct err *err)
{
    int fd = openat(ix->dir_fd, INDEX_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc;

    if (fd < 0)
        return err_sys(err, errno, "making %s/%s", ix->dir, INDEX_FILE);
    rc = identify(fd, &o->now);
    close(fd);
    if (rc < 0)
        return err_sys(err, errno, "reading %s/%s", ix->dir, INDEX_FILE);
    ix->state = o->now;
    ix->state.opens = 1;
    ix->file_bytes = 0;
    atomic_store(&ix->allocated, 0);
    atomic_store(&ix->distrusted, false);
    atomic_store(&ix->broken, false);
    atomic_store(&ix->told, false);
    return state_save(ix, err);
}

static int create(struct index *ix, struct opening *o, struct err *err)
{
    static const struct index_meta zero;
    struct journal_view view;
    int rc;

    if (remove_old(ix, err) < 0 || make_file(ix, o, err) < 0)
        return -1;
    rc = env_open(ix, o);
    if (rc != 0)
        return index_error(rc, "making a new one", err);
    if (index_begin(ix, &view, err) < 0)
        return -1;
    rc = open_tables(ix, o, view.txn, MDB_CREATE);
    if (rc != 0) {
        index_abort(&view);
        return index_error(rc, "making its tables", err);
    }
    return index_commit(&view, &zero, err);
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

static void destroy(struct index **out)
{
    struct index *ix = *out;

    if (ix == NULL)
        return;
    env_close(ix);
    if (ix->state_fd >= 0)
        close(ix->state_fd);
    if (ix->dir_fd >= 0)
        close(ix->dir_fd);
    pthread_mutex_destroy(&ix->lock);
    mem_free(ix->idle);
    mem_free(ix->dir);
    mem_free(ix);
    *out = NULL;
}

static struct index *index_new(const char *dir, const struct index_conf *conf)
{
    struct index *ix = mem_alloc(sizeof(*ix));

    pthread_mutex_init(&ix->lock, NULL);
    ix->dir = mem_strdup(dir);
    ix->state_fd = -1;
    ix->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ix->read_only = conf->read_only;
    ix->ahead_bytes = conf->ahead_bytes;
    ix->readers_max = conf->readers_max == 0 ? READERS_DEFAULT : conf->readers_max;
    ix->idle = mem_alloc_array(ix->readers_max, sizeof(ix->idle[0]));
    return ix;
}

static void describe_now(struct index_state *now, const struct index_conf *conf,
                         const unsigned char journal_id[JOURNAL_ID_BYTES])
{
    memset(now, 0, sizeof(*now));
    now->format = INDEX_FORMAT;
    memcpy(now->journal_id, journal_id, JOURNAL_ID_BYTES);
    if (conf->boot_id == NULL)
        guard_boot_id(now->boot_id);
    else
        snprintf(now->boot_id, sizeof(now->boot_id), "%s", conf->boot_id);
}

/* Take a trusted index into use. */
static enum trust take_over(struct index *ix, struct opening *o, struct err *err)
{
    if (!ix->read_only) {
        ix->state.opens = ix->state.clean ? 1 : ix->state.opens + 1;
        ix->state.clean = false;
        ix->state.pages_crc = 0;
        memcpy(ix->state.boot_id, o->now.boot_id, sizeof(ix->state.boot_id));
        if (state_save(ix, err) < 0)
            return TROUBLE;
    }
    return attach(ix, o, err);
}

int index_open(struct index **out, const char *dir, const struct index_conf *conf,
               const unsigned char journal_id[JOURNAL_ID_BYTES], const struct journal_room *const *rooms,
               unsigned room_count, bool discard, enum index_open_result *result, char why[128], struct err *err)
{
    struct index *ix = index_new(dir, conf);
    struct opening o = { .conf = conf, .rooms = rooms, .room_count = room_count, .why = why };
    enum trust trust;
    int rc = -1;

    *out = NULL;
    why[0] = '\0';
    if (ix->dir_fd < 0) {
        err_sys(err, errno, "opening %s", dir);
        goto out;
    }
    describe_now(&o.now, conf, journal_id);
    trust = discard ? distrust(&o, "a rebuild was asked for") : judge(ix, &o);
    if (trust == TRUSTED)
        trust = take_over(ix, &o, err);
    if (trust == TROUBLE)
        goto out;
    *result = trust == TRUSTED ? INDEX_TRUSTED : INDEX_NEW;
    if (trust == DISTRUSTED) {
        if (ix->read_only) {
            err_set(err, ERR_NOTFOUND, "the index %s/%s cannot be used: %s", dir, INDEX_FILE, why);
            goto out;
        }
        if (create(ix, &o, err) < 0)
            goto out;
    }
    *out = ix;
    ix = NULL;
    rc = 0;
out:
    destroy(&ix);
    return rc;
}

/* Everything is synced: say so. A failure costs a rebuild at the next start, nothing else. */
static void mark_clean(struct index *ix)
{
    struct index_pages pages;
    char why[INDEX_WHY_BYTES];
    struct err err = ERR_INIT;
    int fd = -1, rc = mdb_env_sync(ix->env, 1);

    if (rc != 0 || (rc = mdb_env_get_fd(ix->env, &fd)) != 0) {
        diag_error(ROOM, "index %s/%s cannot be synced: %s", ix->dir, INDEX_FILE, mdb_strerror(rc));
        state_drop(ix);
        return;
    }
    if (!read_pages(fd, &pages, why)) {
        diag_error(ROOM, "index %s/%s: after closing, %s", ix->dir, INDEX_FILE, why);
        state_drop(ix);
        return;
    }
    ix->state.clean = true;
    ix->state.pages_crc = pages.crc;
    ix->state.opens = 0;
    if (state_save(ix, &err) < 0) {
        diag_error(ROOM, "%s", err.text);
        state_drop(ix);
    }
}

void index_close(struct index **ix, bool clean)
{
    struct index *it = *ix;

    if (it == NULL)
        return;
    ASSERT(atomic_load(&it->readers) == 0 && !atomic_load(&it->writing));
    if (!it->read_only && !atomic_load(&it->distrusted)) {
        if (clean)
            mark_clean(it);
        else
            index_state_proven(it); /* nobody died of it */
    }
    destroy(ix);
}
