#include "journal/index.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/mem.h"
#include "journal/index_internal.h"

#define ROOM "journal"
#define META_KEY "position"
#define UNFINISHED_KEY "unfinished"
#define META_BYTES 16u
#define RESERVE_STEP_BYTES (16ull * 1024 * 1024)
#define READER_AGE_MAX_MS 50

/* Codes of our own, next to LMDB's (which are negative from -30799 on) and errno's (positive). */
#define FAULT_BAD_SIZE (-1)  /* key or value of a forbidden size */
#define FAULT_READ_ONLY (-2) /* put or del in a reader */

/* --- failures ----------------------------------------------------------------------------------------------------- */

static const char *fault_text(int code)
{
    switch (code) {
    case FAULT_BAD_SIZE:
        return "a key or value has a size that is not allowed";
    case FAULT_READ_ONLY:
        return "a reader tried to write";
    case MDB_MAP_FULL:
        return "it has reached its reserved size; raise journal.index_map_bytes";
    default:
        return mdb_strerror(code);
    }
}

static enum err_kind fault_kind(int code)
{
    switch (code) {
    case FAULT_BAD_SIZE:
    case FAULT_READ_ONLY:
    case MDB_BAD_VALSIZE:
    case MDB_BAD_DBI:
    case MDB_INCOMPATIBLE:
        return ERR_BUG;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_FULL;
    case MDB_TXN_FULL:
    case MDB_READERS_FULL:
    case MDB_DBS_FULL:
        return ERR_LIMIT;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_CURSOR_FULL:
    case MDB_PAGE_FULL:
    case MDB_PANIC:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return ERR_DAMAGE;
    default:
        return ERR_TEMP;
    }
}

int index_error(int code, const char *what, struct err *err)
{
    err_set(err, fault_kind(code), "index: %s: %s", what, fault_text(code));
    if (err != NULL && code > 0)
        err->sys = code;
    return -1;
}

void index_note(struct index *ix, int code, const char *what)
{
    bool damage = fault_kind(code) == ERR_DAMAGE;

    if (damage && !atomic_exchange(&ix->broken, true))
        index_distrust(ix);
    if (!atomic_exchange(&ix->told, true))
        diag_error(ROOM, "index %s/%s: %s: %s%s", ix->dir, INDEX_FILE, what, fault_text(code),
                   damage ? "; it is rebuilt at the next start" : "");
}

static void view_fail(struct journal_view *v, int code, const char *what)
{
    if (v->failed)
        return;
    v->failed = true;
    v->fault = code;
    if (v->index != NULL)
        index_note(v->index, code, what);
}

static int refuse_broken(struct index *ix, struct err *err)
{
    return err_set(err, ERR_DAMAGE, "the index %s/%s is damaged; it is rebuilt at the next start", ix->dir, INDEX_FILE);
}

static void view_init(struct journal_view *v, struct index *ix, bool writable)
{
    *v = (struct journal_view){ .index = ix, .writable = writable };
}

/* --- the writer --------------------------------------------------------------------------------------------------- */

int index_begin(struct index *ix, struct journal_view *v, struct err *err)
{
    MDB_txn *txn = NULL;
    int rc;

    view_init(v, ix, true);
    v->failed = true; /* until it has begun */
    if (ix->read_only)
        return err_set(err, ERR_DENIED, "the index %s/%s is open for reading only", ix->dir, INDEX_FILE);
    if (atomic_load(&ix->broken))
        return refuse_broken(ix, err);
    if (atomic_exchange(&ix->writing, true))
        panic("a second index writer"); /* LMDB would wait for ever */
    rc = mdb_txn_begin(ix->env, NULL, 0, &txn);
    if (rc != 0) {
        atomic_store(&ix->writing, false);
        index_note(ix, rc, "beginning a transaction");
        return index_error(rc, "beginning a transaction", err);
    }
    v->txn = txn;
    v->failed = false;
    return 0;
}

void index_abort(struct journal_view *v)
{
    if (v->txn == NULL)
        return;
    ASSERT(v->writable);
    mdb_txn_abort(v->txn);
    v->txn = NULL;
    v->failed = true;
    atomic_store(&v->index->writing, false);
}

/* Octets up to the last page of the newest commit. No system call: it is in the map. */
static uint64_t used_bytes(struct index *ix)
{
    MDB_envinfo info;

    mdb_env_info(ix->env, &info);
    return ((uint64_t)info.me_last_pgno + 1) * ix->page_bytes;
}

/* LMDB does not write pages that were taken and freed again, so the file may end before the last page that its meta
 * page names. We take a short file for a cut one: make it long enough, without blocks. */
static void file_cover(struct index *ix)
{
    uint64_t used = used_bytes(ix);
    int fd;

    if (used <= ix->file_bytes)
        return;
    if (mdb_env_get_fd(ix->env, &fd) != 0 || ftruncate(fd, (off_t)used) < 0)
        diag_warn(ROOM, "index %s/%s: cannot set its size: %s", ix->dir, INDEX_FILE, strerror(errno));
    else
        ix->file_bytes = used;
}

int index_commit(struct journal_view *v, const struct index_meta *meta, struct err *err)
{
    struct index *ix = v->index;
    unsigned char value[META_BYTES];
    MDB_val k = { sizeof(META_KEY) - 1, (void *)META_KEY }, d = { sizeof(value), value };
    int rc;

    ASSERT(v->txn != NULL && v->writable);
    put_le64(value, meta->applied);
    put_le64(value + 8, meta->young_from);
    if (!v->failed) {
        rc = mdb_put(v->txn, ix->meta, &k, &d, 0);
        if (rc != 0)
            view_fail(v, rc, "put");
    }
    if (v->failed) {
        rc = v->fault;
        index_abort(v);
        return index_error(rc, "changing it failed", err);
    }
    /* The writer's thread and no other may end it: LMDB holds a lock that belongs to the thread. */
    rc = mdb_txn_commit(v->txn); /* frees the transaction in any case */
    v->txn = NULL;
    v->failed = true;
    atomic_store(&ix->writing, false);
    if (rc != 0) {
        index_note(ix, rc, "commit");
        return index_error(rc, "commit", err);
    }
    atomic_store(&ix->told, false);
    file_cover(ix);
    if (ix->commits < INDEX_PROVEN_COMMITS && ++ix->commits == INDEX_PROVEN_COMMITS)
        index_state_proven(ix);
    return 0;
}

void index_meta_get(struct journal_view *v, struct index_meta *meta)
{
    MDB_val k = { sizeof(META_KEY) - 1, (void *)META_KEY }, d;
    int rc;

    *meta = (struct index_meta){ 0 };
    if (v->failed)
        return;
    rc = mdb_get(v->txn, v->index->meta, &k, &d);
    if (rc == 0 && d.mv_size == META_BYTES) {
        meta->applied = get_le64(d.mv_data);
        meta->young_from = get_le64((const unsigned char *)d.mv_data + 8);
    } else {
        view_fail(v, rc == 0 || rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc, "reading the positions");
    }
}

void index_unfinished_set(struct journal_view *v, bool is_unfinished)
{
    MDB_val k = { sizeof(UNFINISHED_KEY) - 1, (void *)UNFINISHED_KEY }, d = { 1, (void *)"1" };
    int rc;

    ASSERT(v->writable);
    if (v->failed)
        return;
    rc = is_unfinished ? mdb_put(v->txn, v->index->meta, &k, &d, 0) : mdb_del(v->txn, v->index->meta, &k, NULL);
    if (rc != 0 && rc != MDB_NOTFOUND)
        view_fail(v, rc, "marking the rebuild");
}

bool index_unfinished_get(struct journal_view *v)
{
    MDB_val k = { sizeof(UNFINISHED_KEY) - 1, (void *)UNFINISHED_KEY }, d;

    return !v->failed && mdb_get(v->txn, v->index->meta, &k, &d) == 0;
}

/* --- space -------------------------------------------------------------------------------------------------------- */

/* Give blocks to everything from what has them up to `to`. 0 or errno. */
static int allocate(struct index *ix, uint64_t to)
{
    uint64_t from = atomic_load(&ix->allocated);
    int fd, tries = 0;

    if (mdb_env_get_fd(ix->env, &fd) != 0)
        return EINVAL;
    while (fallocate(fd, 0, (off_t)from, (off_t)(to - from)) < 0) {
        if (errno != EINTR || ++tries == 16)
            return errno;
    }
    atomic_store(&ix->allocated, to);
    if (to > ix->file_bytes)
        ix->file_bytes = to;
    return 0;
}

int index_reserve(struct index *ix, struct err *err)
{
    uint64_t used = used_bytes(ix), need = used + ix->ahead_bytes, step, target;
    int dead, sys;

    if (ix->read_only)
        return 0;
    if (need > ix->map_bytes)
        return err_set(err, ERR_FULL, "the index uses %llu of the %llu octets reserved for it; raise "
                       "journal.index_map_bytes", (unsigned long long)used, (unsigned long long)ix->map_bytes);
    if (ix->no_allocate || need <= atomic_load(&ix->allocated))
        return 0;
    /* It grows: the moment to look for slots of readers that were killed, whose snapshots keep pages from being used
     * again. */
    mdb_reader_check(ix->env, &dead);
    step = ix->ahead_bytes / 4 > RESERVE_STEP_BYTES ? ix->ahead_bytes / 4 : RESERVE_STEP_BYTES;
    if (step > ix->ahead_bytes)
        step = ix->ahead_bytes;
    target = need + step;
    if (target > ix->map_bytes)
        target = ix->map_bytes;
    target = target / ix->page_bytes * ix->page_bytes;
    if (target < need)
        target = need;
    sys = allocate(ix, target);
    if (sys == ENOSPC || sys == EDQUOT || sys == EFBIG)
        sys = allocate(ix, need);
    if (sys == 0)
        return 0;
    if (sys == EOPNOTSUPP || sys == ENOSYS || sys == EINVAL) {
        ix->no_allocate = true;
        diag_warn(ROOM, "index %s/%s: this file system cannot allocate ahead: a full disk may stop freeing, too",
                  ix->dir, INDEX_FILE);
        return 0;
    }
    if (sys == ENOSPC || sys == EDQUOT || sys == EFBIG) {
        err_set(err, ERR_FULL, "no room to allocate %llu octets for the index %s/%s: %s",
                (unsigned long long)ix->ahead_bytes, ix->dir, INDEX_FILE, strerror(sys));
        if (err != NULL)
            err->sys = sys;
        return -1;
    }
    return err_sys(err, sys, "allocating space for the index %s/%s", ix->dir, INDEX_FILE);
}

void index_usage(struct index *ix, struct index_usage *out)
{
    out->used_bytes = used_bytes(ix);
    out->allocated_bytes = atomic_load(&ix->allocated);
    if (out->allocated_bytes < out->used_bytes)
        out->allocated_bytes = out->used_bytes;
    out->readers = atomic_load(&ix->readers);
}

/* --- readers ------------------------------------------------------------------------------------------------------ */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW_BUILD 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SLOW_BUILD 1
#endif
#endif

#ifdef PH_DEBUG
static int64_t now_ms(void)
{
    struct clock clock;

    clock_init_real(&clock);
    return clock_mono_ms(&clock);
}

/* A reader that waits keeps the pages of its snapshot from being used again: the file grows with every commit. */
static void check_age(const struct journal_view *v)
{
    int64_t age = now_ms() - v->began_ms;

    if (age <= READER_AGE_MAX_MS)
        return;
#ifdef SLOW_BUILD
    diag_warn(ROOM, "an index reader lived %lld ms", (long long)age);
#else
    panic("an index reader lived %lld ms", (long long)age);
#endif
}
#else
static int64_t now_ms(void)
{
    return 0;
}

static void check_age(const struct journal_view *v)
{
    (void)v;
}
#endif

static MDB_txn *take_idle(struct index *ix)
{
    MDB_txn *txn = NULL;

    pthread_mutex_lock(&ix->lock);
    if (ix->idle_count > 0)
        txn = ix->idle[--ix->idle_count];
    pthread_mutex_unlock(&ix->lock);
    return txn;
}

int index_read_begin(struct index *ix, struct journal_view *v, struct err *err)
{
    MDB_txn *txn;
    int rc;

    view_init(v, ix, false);
    v->failed = true; /* until it has begun */
    if (atomic_load(&ix->broken))
        return refuse_broken(ix, err);
    if (atomic_fetch_add(&ix->readers, 1) >= ix->readers_max) {
        atomic_fetch_sub(&ix->readers, 1);
        return err_set(err, ERR_LIMIT, "%u index readers at the same time; journal.index_readers_max allows no more",
                       ix->readers_max);
    }
    /* A used transaction keeps its slot in LMDB's reader table: renewing it takes neither lock nor memory. */
    txn = take_idle(ix);
    if (txn != NULL) {
        rc = mdb_txn_renew(txn);
        if (rc != 0)
            mdb_txn_abort(txn);
    } else {
        rc = mdb_txn_begin(ix->env, NULL, MDB_RDONLY, &txn);
    }
    if (rc != 0) {
        atomic_fetch_sub(&ix->readers, 1);
        index_note(ix, rc, "beginning to read");
        return index_error(rc, "beginning to read", err);
    }
    v->txn = txn;
    v->failed = false;
    v->began_ms = now_ms();
    return 0;
}

void index_read_end(struct journal_view *v)
{
    struct index *ix = v->index;

    if (v->txn == NULL)
        return;
    ASSERT(!v->writable);
    check_age(v);
    mdb_txn_reset(v->txn);
    pthread_mutex_lock(&ix->lock);
    ix->idle[ix->idle_count++] = v->txn; /* there are never more than readers_max */
    pthread_mutex_unlock(&ix->lock);
    atomic_fetch_sub(&ix->readers, 1);
    v->txn = NULL;
    v->failed = true;
}

/* --- tables ------------------------------------------------------------------------------------------------------- */

static MDB_dbi table_of(const struct journal_view *v, unsigned table)
{
    if (table > JOURNAL_TABLES_MAX || v->index->tables[table] == 0)
        panic("index table %u is in no room", table);
    return v->index->tables[table];
}

static bool is_key(slice key)
{
    return key.len >= 1 && key.len <= INDEX_KEY_MAX_BYTES;
}

static MDB_val val_of(slice s)
{
    return (MDB_val){ s.len, s.len == 0 ? (void *)"" : (void *)(uintptr_t)s.ptr };
}

static void give(slice *out, const MDB_val *val)
{
    if (out != NULL)
        *out = slice_of(val->mv_data, val->mv_size);
}

bool journal_get(struct journal_view *v, unsigned table, slice key, slice *value)
{
    MDB_val k = val_of(key), d;
    int rc;

    if (value != NULL)
        *value = SLICE_NONE;
    if (v->failed || !is_key(key))
        return false;
    rc = mdb_get(v->txn, table_of(v, table), &k, &d);
    if (rc == 0) {
        give(value, &d);
        return true;
    }
    if (rc != MDB_NOTFOUND)
        view_fail(v, rc, "get");
    return false;
}

bool journal_get_u64(struct journal_view *v, unsigned table, uint64_t key, slice *value)
{
    unsigned char k[8];

    put_be64(k, key);
    return journal_get(v, table, slice_of(k, sizeof(k)), value);
}

void journal_table_clear(struct journal_view *v, unsigned table)
{
    int rc;

    ASSERT(v->writable);
    if (v->failed)
        return;
    if ((rc = mdb_drop(v->txn, table_of(v, table), 0)) != 0)
        view_fail(v, rc, "drop");
}

uint64_t journal_table_count(struct journal_view *v, unsigned table)
{
    MDB_stat stat;
    int rc;

    if (v->failed)
        return 0;
    rc = mdb_stat(v->txn, table_of(v, table), &stat);
    if (rc == 0)
        return stat.ms_entries;
    view_fail(v, rc, "stat");
    return 0;
}

/* LMDB moves octets within a page while it inserts, so a key or value that lies in the index must not be handed to it.
 * What fits a page is copied first, which costs next to nothing; longer values lie in pages of their own that stay. */
void journal_put(struct journal_view *v, unsigned table, slice key, slice value)
{
    struct index *ix = v->index;
    MDB_val k = val_of(key), d = val_of(value);
    int rc;

    if (v->failed)
        return;
    if (!v->writable) {
        view_fail(v, FAULT_READ_ONLY, "put");
        return;
    }
    if (!is_key(key) || value.len > INDEX_VALUE_MAX_BYTES) {
        view_fail(v, FAULT_BAD_SIZE, "put");
        return;
    }
    memcpy(ix->scratch, key.ptr, key.len);
    k.mv_data = ix->scratch;
    if (value.len > 0 && value.len <= ix->scratch_bytes - INDEX_KEY_MAX_BYTES) {
        d.mv_data = ix->scratch + INDEX_KEY_MAX_BYTES;
        memcpy(d.mv_data, value.ptr, value.len);
    }
    v->changes++;
    rc = mdb_put(v->txn, table_of(v, table), &k, &d, 0);
    if (rc != 0)
        view_fail(v, rc, "put");
}

void journal_put_u64(struct journal_view *v, unsigned table, uint64_t key, slice value)
{
    unsigned char k[8];

    put_be64(k, key);
    journal_put(v, table, slice_of(k, sizeof(k)), value);
}

bool journal_del(struct journal_view *v, unsigned table, slice key)
{
    MDB_val k;
    int rc;

    if (v->failed || !is_key(key))
        return false;
    if (!v->writable) {
        view_fail(v, FAULT_READ_ONLY, "del");
        return false;
    }
    memcpy(v->index->scratch, key.ptr, key.len);
    k = (MDB_val){ key.len, v->index->scratch };
    v->changes++;
    rc = mdb_del(v->txn, table_of(v, table), &k, NULL);
    if (rc != 0 && rc != MDB_NOTFOUND)
        view_fail(v, rc, "del");
    return rc == 0;
}

bool journal_del_u64(struct journal_view *v, unsigned table, uint64_t key)
{
    unsigned char k[8];

    put_be64(k, key);
    return journal_del(v, table, slice_of(k, sizeof(k)));
}

/* --- cursors ------------------------------------------------------------------------------------------------------ */

void journal_cursor_begin(struct journal_cursor *c, struct journal_view *v, unsigned table)
{
    MDB_cursor *cursor = NULL;
    int rc;

    c->cursor = NULL;
    c->view = v;
    c->at = CURSOR_FRESH;
    c->changes = 0;
    c->key_len = 0;
    if (v->failed)
        return;
    rc = mdb_cursor_open(v->txn, table_of(v, table), &cursor);
    if (rc == 0)
        c->cursor = cursor;
    else
        view_fail(v, rc, "opening a cursor");
}

void journal_cursor_end(struct journal_cursor *c)
{
    if (c->cursor != NULL)
        mdb_cursor_close(c->cursor);
    c->cursor = NULL;
}

/* One LMDB step; the place becomes ON or, when there is no such pair, `at_end`. */
static bool cursor_step(struct journal_cursor *c, MDB_val *k, MDB_val *d, MDB_cursor_op op, int at_end)
{
    int rc;

    if (c->cursor == NULL || c->view->failed)
        return false;
    rc = mdb_cursor_get(c->cursor, k, d, op);
    c->changes = c->view->changes;
    c->at = rc == 0 ? CURSOR_ON : (unsigned)at_end;
    if (rc == 0 && c->view->writable && k->mv_size <= sizeof(c->key)) {
        memcpy(c->key, k->mv_data, k->mv_size);
        c->key_len = (unsigned)k->mv_size;
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        view_fail(c->view, rc, "moving a cursor");
    return rc == 0;
}

static bool cursor_give(bool found, const MDB_val *k, const MDB_val *d, slice *key, slice *value)
{
    const MDB_val none = { 0, NULL };

    give(key, found ? k : &none);
    give(value, found ? d : &none);
    return found;
}

/* The first pair whose key is >= key. An empty key is below all. */
static bool cursor_from(struct journal_cursor *c, slice key, MDB_val *k, MDB_val *d)
{
    *k = val_of(key);
    return cursor_step(c, k, d, key.len == 0 ? MDB_FIRST : MDB_SET_RANGE, CURSOR_BEHIND);
}

/* The last pair whose key is below `key`. */
static bool cursor_below(struct journal_cursor *c, slice key, MDB_val *k, MDB_val *d)
{
    bool above = cursor_from(c, key, k, d);

    return cursor_step(c, k, d, above ? MDB_PREV : MDB_LAST, CURSOR_BEFORE);
}

bool journal_cursor_seek(struct journal_cursor *c, slice key, slice *found, slice *value)
{
    MDB_val k, d;
    bool ok = cursor_from(c, key, &k, &d);

    return cursor_give(ok, &k, &d, found, value);
}

bool journal_cursor_seek_last(struct journal_cursor *c, slice below, slice *key, slice *value)
{
    MDB_val k, d;
    bool ok = cursor_below(c, below, &k, &d);

    return cursor_give(ok, &k, &d, key, value);
}

/* The present key, when pairs were put or deleted since the cursor moved: LMDB's own place is not relied on then. */
static bool cursor_is_stale(const struct journal_cursor *c, unsigned char key[INDEX_KEY_MAX_BYTES + 1], slice *present)
{
    if (!c->view->writable || c->changes == c->view->changes)
        return false;
    memcpy(key, c->key, c->key_len);
    *present = slice_of(key, c->key_len);
    return true;
}

bool journal_cursor_next(struct journal_cursor *c, slice *key, slice *value)
{
    unsigned char saved[INDEX_KEY_MAX_BYTES + 1];
    slice present;
    MDB_val k, d;
    bool ok = false;

    switch (c->at) {
    case CURSOR_FRESH:
    case CURSOR_BEFORE:
        ok = cursor_step(c, &k, &d, MDB_FIRST, CURSOR_BEHIND);
        break;
    case CURSOR_ON:
        if (!cursor_is_stale(c, saved, &present)) {
            ok = cursor_step(c, &k, &d, MDB_NEXT, CURSOR_BEHIND);
        } else {
            ok = cursor_from(c, present, &k, &d);
            if (ok && slice_eq(slice_of(k.mv_data, k.mv_size), present))
                ok = cursor_step(c, &k, &d, MDB_NEXT, CURSOR_BEHIND);
        }
        break;
    case CURSOR_BEHIND:
        break;
    }
    return cursor_give(ok, &k, &d, key, value);
}

bool journal_cursor_prev(struct journal_cursor *c, slice *key, slice *value)
{
    unsigned char saved[INDEX_KEY_MAX_BYTES + 1];
    slice present;
    MDB_val k, d;
    bool ok = false;

    switch (c->at) {
    case CURSOR_FRESH:
    case CURSOR_BEHIND:
        ok = cursor_step(c, &k, &d, MDB_LAST, CURSOR_BEFORE);
        break;
    case CURSOR_ON:
        if (cursor_is_stale(c, saved, &present))
            ok = cursor_below(c, present, &k, &d);
        else
            ok = cursor_step(c, &k, &d, MDB_PREV, CURSOR_BEFORE);
        break;
    case CURSOR_BEFORE:
        break;
    }
    return cursor_give(ok, &k, &d, key, value);
}
