#include "journal/catchup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"
#include "base/random.h"

#define PREPARE_EVERY_MS 1000

#define KEY_CONF struct journal_conf
static const struct key_row rows[] = { JOURNAL_KEYS(KEY_ROW) };

const struct key_table journal_keys = {
    .section = "journal",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct journal_conf),
    .text = "The log that holds all durable state, and its index.",
};

/* --- the tail ----------------------------------------------------------------------------------------------------- */

int tail_open(struct journal *j, bool use_reserve, struct err *err)
{
    struct segment_header h = {
        .format = JOURNAL_FORMAT,
        .kind = SEGMENT_LOG,
        .epoch = j->epoch,
        .first_seq = j->next_seq,
        .created_ms = clock_wall_ms(j->clock),
    };
    uint64_t foreign;

    memcpy(h.journal_id, j->id, sizeof h.journal_id);
    j->tail = (struct segment_writer){ 0 };
    /* Before there is a segment: one that is there voids, by its first sequence, whatever the old tail takes later. */
    if (segment_dir_foreign(j->segments, &foreign)) {
        err_set(err, ERR_DENIED, "somebody else made segment %016llx: another server may write to %s",
                (unsigned long long)foreign, j->dir);
        journal_enter(j, JOURNAL_READ_ONLY, err->text);
        return -1;
    }
    if (segment_writer_open(&j->tail, j->segments, &h, use_reserve, err) < 0) {
        if (err->kind == ERR_EXISTS || j->tail.is_doubtful)
            journal_enter(j, JOURNAL_READ_ONLY, err->text);
        return -1;
    }
    j->has_tail = true;
    j->tail_is_fence = false;
    counter_add(&journal_counters[JC_ROLLS], 1);
    prepare_later(j);
    return 0;
}

uint64_t rooms_young_from(struct journal *j)
{
    uint64_t oldest = 0;

    for (unsigned i = 0; i < j->room_count; i++) {
        uint64_t seq = j->rooms[i]->young_from != NULL ? j->rooms[i]->young_from(j->rooms[i]->state) : 0;

        if (seq != 0 && (oldest == 0 || seq < oldest))
            oldest = seq;
    }
    return oldest;
}

int tail_settle(struct journal *j, uint64_t upto, struct err *err)
{
    struct index_meta meta = { .applied = j->next_seq - 1 };

    if (rooms_young_from(j) == 0)
        return 0;
    if (index_begin(j->index, &j->tx.view, err) < 0)
        return -1;
    tx_reset(&j->tx);
    j->tx.phase = TX_SETTLE;
    for (unsigned i = 0; i < j->room_count; i++) {
        const struct journal_room *room = j->rooms[i];

        if (room->settle != NULL && room->settle(&j->tx, room->state, upto, err) < 0) {
            index_abort(&j->tx.view);
            rooms_aborted(j);
            return -1;
        }
    }
    tx_live_flush(&j->tx);
    meta.young_from = rooms_young_from(j);
    if (index_commit(&j->tx.view, &meta, err) < 0) {
        rooms_aborted(j);
        return -1;
    }
    rooms_committed(j); /* else a later batch that is aborted would bring back what was settled here */
    return 0;
}

/* --- helpers' jobs ------------------------------------------------------------------------------------------------ */

struct seal_job {
    struct job job;
    struct journal *journal;
    uint64_t number;
    uint64_t records_end;
    struct segment_file *file;
};

static void helper_begin(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    j->helpers++;
    pthread_mutex_unlock(&j->lock);
}

static void helper_end(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    if (--j->helpers == 0)
        pthread_cond_broadcast(&j->idle);
    pthread_mutex_unlock(&j->lock);
}

void helpers_wait(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    while (j->helpers != 0)
        pthread_cond_wait(&j->idle, &j->lock);
    pthread_mutex_unlock(&j->lock);
}

static void seal_now(struct journal *j, uint64_t number, uint64_t records_end)
{
    struct err err = ERR_INIT;

    if (segment_seal(j->segments, number, records_end, &err) < 0)
        diag_warn("journal", "segment %llx stays without footer until the next start: %s", (unsigned long long)number,
                  err.text);
}

static void seal_run(struct job *job)
{
    struct seal_job *s = CONTAINER_OF(job, struct seal_job, job);

    seal_now(s->journal, s->number, s->records_end);
    reclaim_sealed(s->journal, s->number);
}

static void seal_done(struct job *job)
{
    struct seal_job *s = CONTAINER_OF(job, struct seal_job, job);
    struct journal *j = s->journal;

    mem_free(s);
    helper_end(j);
}

static void seal_later(struct journal *j, uint64_t number, uint64_t records_end)
{
    struct seal_job *s;

    if (j->pool != NULL) {
        s = mem_alloc(sizeof *s);
        s->job.run = seal_run;
        s->job.done = seal_done;
        s->journal = j;
        s->number = number;
        s->records_end = records_end;
        helper_begin(j);
        if (pool_submit(j->pool, &s->job))
            return;
        mem_free(s);
        helper_end(j);
    }
    seal_now(j, number, records_end);
}

struct prepare_job {
    struct job job;
    struct journal *journal;
};

static void prepare_run(struct job *job)
{
    struct journal *j = CONTAINER_OF(job, struct prepare_job, job)->journal;
    struct err err = ERR_INIT;

    if (segment_dir_prepare(j->segments, &err) < 0)
        diag_warn("journal", "no room for the next segment: %s", err.text);
}

static void prepare_done(struct job *job)
{
    struct prepare_job *p = CONTAINER_OF(job, struct prepare_job, job);
    struct journal *j = p->journal;

    pthread_mutex_lock(&j->lock);
    j->is_preparing = false;
    pthread_mutex_unlock(&j->lock);
    mem_free(p);
    helper_end(j);
}

void prepare_later(struct journal *j)
{
    int64_t now_ms = clock_mono_ms(j->clock);
    struct prepare_job *p;
    bool busy;

    if (segment_dir_has_spare(j->segments) && segment_dir_reserve_count(j->segments) >= CONF(j, reserve_segments))
        return;
    if (j->prepare_tried_ms != 0 && journal_state(j, NULL) != JOURNAL_NORMAL &&
        now_ms - j->prepare_tried_ms < PREPARE_EVERY_MS)
        return;
    pthread_mutex_lock(&j->lock);
    busy = j->is_preparing || j->is_closing;
    if (!busy)
        j->is_preparing = true;
    pthread_mutex_unlock(&j->lock);
    if (busy)
        return;
    j->prepare_tried_ms = now_ms;
    p = mem_alloc(sizeof *p);
    p->job.run = prepare_run;
    p->job.done = prepare_done;
    p->journal = j;
    helper_begin(j);
    if (j->pool == NULL || !pool_submit(j->pool, &p->job)) {
        prepare_run(&p->job);
        prepare_done(&p->job);
    }
}

int tail_roll(struct journal *j, bool use_reserve, struct err *err)
{
    struct segment_writer old = j->tail;
    bool had_tail = j->has_tail;

    if (tail_settle(j, j->next_seq - 1, err) < 0)
        return -1;
    if (tail_open(j, use_reserve, err) < 0) {
        j->tail = old;
        j->has_tail = had_tail;
        return -1;
    }
    if (had_tail) {
        uint64_t records_end = old.at, number = old.header.number;

        segment_writer_close(&old);
        seal_later(j, number, records_end);
    }
    return 0;
}

static int settle_run(struct journal_tx *tx UNUSED, struct journal_op *op UNUSED, struct err *err UNUSED)
{
    return 0;
}

int journal_settle(struct journal *j, struct err *err)
{
    struct journal_op op = {
        .run = settle_run, .session = UINT64_MAX, .lane = LANE_MAINTENANCE, .flags = OP_FREES | OP_SETTLE
    };

    return journal_run(j, &op, err);
}

int journal_roll(struct journal *j, struct err *err)
{
    struct journal_op op = {
        .run = settle_run, .session = UINT64_MAX, .lane = LANE_MAINTENANCE, .flags = OP_FREES | OP_ROLL
    };

    if (journal_run(j, &op, err) < 0)
        return -1;
    helpers_wait(j);
    return 0;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static int dir_make(const char *path, bool create, struct err *err)
{
    struct stat st;

    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return 0;
        return err_set(err, ERR_PERM, "%s is not a directory", path);
    }
    if (!create)
        return err_set(err, ERR_NOTFOUND, "there is no journal in %s: posthouse init makes one", path);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_sys(err, errno, "making %s", path);
    return 0;
}

static int dir_sync(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0)
        return err_sys(err, errno, "opening %s", path);
    if (fsync(fd) < 0)
        rc = err_sys(err, errno, "syncing %s", path);
    close(fd);
    return rc;
}

static int dirs_make(struct journal *j, bool create, struct err *err)
{
    static const char *const names[] = { "journal", "index", "history" };

    if (dir_make(j->dir, create, err) < 0)
        return -1;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        struct buf path = BUF_INIT;
        int rc;

        buf_printf(&path, "%s/%s", j->dir, names[i]);
        rc = dir_make(buf_str(&path), create || i != 0, err);
        buf_free(&path);
        if (rc < 0)
            return -1;
    }
    return dir_sync(j->dir, err);
}

static int fs_check(struct journal *j, struct err *err)
{
    enum guard_fs kind;
    const char *name;

    if (guard_fs_kind(j->dir, &kind, &name, err) < 0)
        return -1;
    if (kind == GUARD_FS_REMOTE && !j->conf.allow_remote_fs)
        return err_set(err, ERR_DENIED,
                       "%s lies on %s, which may lie about syncing; set journal.allow_remote_fs to use it all the same",
                       j->dir, name);
    if (kind == GUARD_FS_NOT_DURABLE)
        diag_warn("journal", "%s lies on %s: it is gone when the machine restarts", j->dir, name);
    j->copy_on_write = kind == GUARD_FS_COPY_ON_WRITE;
    return 0;
}

static int type_slot_cmp(const void *a, const void *b)
{
    const struct type_slot *x = a, *y = b;

    return (x->type > y->type) - (x->type < y->type);
}

void rooms_register(struct journal *j, const struct journal_setup *setup)
{
    unsigned n = 0;

    j->own = journal_own_room_rows;
    j->own.state = j;
    j->room_count = setup->room_count + 1;
    j->rooms = mem_alloc_array(j->room_count, sizeof(struct journal_room *));
    j->rooms[0] = &j->own;
    for (unsigned i = 0; i < setup->room_count; i++)
        j->rooms[i + 1] = setup->rooms[i];
    for (unsigned i = 0; i < j->room_count; i++)
        j->type_count += j->rooms[i]->type_count;
    j->types = mem_alloc_array(j->type_count, sizeof *j->types);
    for (unsigned i = 0; i < j->room_count; i++)
        for (unsigned k = 0; k < j->rooms[i]->type_count; k++)
            j->types[n++] = (struct type_slot){ j->rooms[i]->types[k].type, &j->rooms[i]->types[k], j->rooms[i] };
    qsort(j->types, j->type_count, sizeof *j->types, type_slot_cmp);
    for (unsigned i = 1; i < j->type_count; i++)
        if (j->types[i - 1].type == j->types[i].type)
            panic("record type %04x is registered twice", j->types[i].type);
}

/* The identity of a journal that has no segment yet stands in a file of its own, so that its index is known again. */
static int id_load(struct journal *j, struct err *err)
{
    struct buf path = BUF_INIT;
    int fd = -1, rc = -1;

    buf_printf(&path, "%s/journal/id", j->dir);
    fd = open(buf_str(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_sys(err, errno, "opening %s", buf_str(&path));
        goto out;
    }
    if (pread(fd, j->id, sizeof j->id, 0) == (ssize_t)sizeof j->id) {
        rc = 0;
        goto out;
    }
    random_octets(j->id, sizeof j->id);
    if (pwrite(fd, j->id, sizeof j->id, 0) != (ssize_t)sizeof j->id || fdatasync(fd) < 0) {
        err_sys(err, errno, "writing %s", buf_str(&path));
        goto out;
    }
    rc = 0;
out:
    if (fd >= 0)
        close(fd);
    buf_free(&path);
    return rc;
}

static int segments_open(struct journal *j, const struct journal_setup *setup, struct err *err)
{
    const char **roots = mem_alloc_array(setup->partition_count + 1, sizeof *roots);
    struct segment_dir_conf conf = {
        .roots = roots,
        .root_count = setup->partition_count + 1,
        .segment_bytes = j->conf.segment_bytes,
        .copy_on_write = j->copy_on_write,
        .reserve_segments = j->conf.reserve_segments,
        .clock = j->clock,
    };
    struct segment_info info;
    struct buf own = BUF_INIT;
    bool found = false;
    int rc;

    buf_printf(&own, "%s/journal", j->dir);
    roots[0] = buf_str(&own);
    for (unsigned i = 0; i < setup->partition_count; i++)
        roots[i + 1] = setup->partitions[i];
    rc = segment_dir_open(&j->segments, &conf, err);
    buf_free(&own);
    mem_free(roots);
    if (rc < 0)
        return -1;
    for (uint64_t at = 0; segment_dir_next(j->segments, &at, &info);) {
        if (info.is_damaged && info.header.salt == 0) { /* without header nothing in it can be told from chance */
            j->report.damaged_places++;
            counter_add(&journal_counters[JC_DAMAGED], 1);
            diag_error("journal", "damage in segment %016llx, octets 0 to %u: it has no valid header and is left alone",
                       (unsigned long long)info.header.number, SEGMENT_PAGE_BYTES);
        }
        if (info.is_damaged)
            continue;
        if (!found)
            memcpy(j->id, info.header.journal_id, sizeof j->id);
        found = true;
        if (info.header.epoch > j->epoch)
            j->epoch = info.header.epoch;
    }
    if (!found)
        j->epoch = 1;
    if (setup->promote)
        j->epoch++;
    return found ? 0 : id_load(j, err);
}

static int index_start(struct journal *j, bool discard, enum index_open_result *trust, struct err *err)
{
    struct index_conf conf = {
        .map_bytes = j->conf.index_map_bytes,
        .ahead_bytes = j->conf.index_ahead_bytes,
        .readers_max = j->conf.index_readers_max,
        .boot_id = j->boot_id,
    };
    struct buf dir = BUF_INIT;
    int rc;

    buf_printf(&dir, "%s/index", j->dir);
    rc = index_open(&j->index, buf_str(&dir), &conf, j->id, j->rooms, j->room_count, discard, trust,
                    j->report.index_why, err);
    buf_free(&dir);
    return rc;
}

struct journal *journal_new(const struct journal_setup *setup)
{
    struct journal *j = mem_alloc(sizeof *j);

    j->conf = *setup->conf;
    j->clock = setup->clock;
    j->pool = setup->pool;
    j->dir = mem_strdup(setup->dir);
    j->boot_id = setup->boot_id != NULL ? mem_strdup(setup->boot_id) : NULL;
    j->lock_fd = -1;
    j->rebuild_slice = setup->rebuild_slice;
    j->next_seq = 1;
    list_init(&j->inbox);
    pthread_mutex_init(&j->lock, NULL);
    pthread_mutex_init(&j->care, NULL);
    pthread_cond_init(&j->wake, NULL);
    pthread_cond_init(&j->idle, NULL);
    return j;
}

void journal_free(struct journal *j)
{
    catchup_free(j);
    committer_free(j);
    index_close(&j->index, false);
    segment_dir_close(&j->segments);
    if (j->lock_fd >= 0)
        close(j->lock_fd);
    pthread_cond_destroy(&j->idle);
    pthread_cond_destroy(&j->wake);
    pthread_mutex_destroy(&j->care);
    pthread_mutex_destroy(&j->lock);
    mem_free(j->types);
    mem_free(j->rooms);
    mem_free(j->boot_id);
    mem_free(j->dir);
    mem_free(j);
}

/* All of a rebuild before anything else. */
static int catchup_finish(struct journal *j, const struct journal_setup *setup, struct err *err)
{
    while (catchup_pending(j)) {
        if (catchup_slice(j, err) < 0)
            return -1;
        if (setup->progress != NULL && atomic_load(&j->catchup_all) != 0)
            setup->progress(setup->progress_arg, atomic_load(&j->catchup_done), atomic_load(&j->catchup_all));
    }
    return 0;
}

/* Index and segments to one state; a trusted index that is ahead of the log means that the log lost records: it is
 * rebuilt from what is there. */
static int journal_replay(struct journal *j, const struct journal_setup *setup, struct err *err)
{
    enum index_open_result trust;

    if (index_start(j, setup->discard_index, &trust, err) < 0)
        return -1;
    for (int attempt = 0;; attempt++) {
        j->report.index_rebuilt = trust == INDEX_NEW;
        if (replay_all(j, trust, setup, err) == 0)
            return setup->background ? 0 : catchup_finish(j, setup, err);
        if (err->kind != ERR_DAMAGE || attempt != 0)
            return -1;
        diag_error("journal", "%s; rebuilding the index", err->text);
        catchup_free(j);
        index_close(&j->index, false);
        if (index_start(j, true, &trust, err) < 0)
            return -1;
    }
}

int journal_open(struct journal **out, const struct journal_setup *setup, struct journal_report *report,
                 struct err *err)
{
    struct journal *j = journal_new(setup);

    *out = NULL;
    committer_init(j);
    if (dirs_make(j, setup->create, err) < 0 || fs_check(j, err) < 0)
        goto fail;
    if ((j->lock_fd = guard_lock(j->dir, err)) < 0)
        goto fail;
    if (segments_open(j, setup, err) < 0)
        goto fail;
    rooms_register(j, setup);
    if (journal_replay(j, setup, err) < 0)
        goto fail;
    if (index_reserve(j->index, err) < 0)
        journal_enter(j, JOURNAL_FULL, err->text);
    prepare_later(j);
    if (report != NULL)
        *report = j->report; /* before the committer goes on with a rebuild and counts in it */
    if (thread_start(&j->thread, "committer", 0, committer_main, j, err) < 0)
        goto fail;
    *out = j;
    return 0;
fail:
    helpers_wait(j);
    journal_free(j);
    return -1;
}

void journal_close(struct journal **jp)
{
    struct journal *j = *jp;
    struct err err = ERR_INIT;
    bool clean;

    *jp = NULL;
    if (j == NULL)
        return;
    helpers_wait(j);
    pthread_mutex_lock(&j->lock);
    j->is_closing = true;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
    thread_join(&j->thread);
    helpers_wait(j);
    clean = journal_state(j, NULL) != JOURNAL_READ_ONLY;
    if (clean && tail_settle(j, j->next_seq - 1, &err) < 0) {
        diag_warn("journal", "not everything settled at the stop: %s", err.text);
        clean = false;
    }
    if (j->has_tail) {
        uint64_t number = j->tail.header.number, records_end = j->tail.at;

        segment_writer_close(&j->tail);
        if (records_end == SEGMENT_PAGE_BYTES) {
            if (!j->tail_is_fence)
                segment_drop(j->segments, number, &err);
        } else if (clean) {
            seal_now(j, number, records_end);
        }
    }
    index_close(&j->index, clean);
    journal_free(j);
}

int journal_read_begin(struct journal *j, struct journal_view *v, struct err *err)
{
    return index_read_begin(j->index, v, err);
}

void journal_read_end(struct journal_view *v)
{
    index_read_end(v);
}

struct pool *journal_pool(const struct journal *j)
{
    return j->pool;
}

/* In this order: a round that is seen has its own beginning, not the end of the one before. */
bool journal_committer(const struct journal *j, int64_t *turned_ms)
{
    bool is_in_round = atomic_load_explicit(&j->is_in_round, memory_order_acquire);

    *turned_ms = atomic_load_explicit(&j->turned_ms, memory_order_relaxed);
    return is_in_round;
}
