/* commit.c - batches, lanes, refusals, bodies: what an operation can rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "journal/internal.h"

/* A room with one table: number -> the octets last noted. */
enum { NOTE = 0x7f80, NOTE_TABLE = 119 };

static int note_apply(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    (void)room;
    (void)err;
    journal_put_u64(journal_tx_view(tx), NOTE_TABLE, r->object, r->payload);
    return 0;
}

static int note_image(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err)
{
    slice value;

    (void)room;
    (void)err;
    if (journal_get_u64(journal_tx_view(tx), NOTE_TABLE, object, &value))
        journal_emit(tx, NOTE, object, part, RECORD_IMAGE, value);
    return 0;
}

static const struct journal_type note_types[] = { { NOTE, 0, "note", note_apply, NULL, NULL, note_image, NULL } };
static const struct journal_table note_tables[] = { { NOTE_TABLE, "test.note", 0 } };
static const struct journal_room note_room = { "note", note_types, 1, note_tables, 1, NULL, NULL, NULL,
                                              NULL, NULL, NULL, NULL, NULL };

struct site {
    char dir[64];
    struct clock clock;
    struct journal_conf conf;
    struct arena mem;
    struct pool *pool;
    struct journal *j;
    struct journal_report report;
};

static void site_open(struct site *s)
{
    static const struct journal_room *const rooms[] = { &note_room };
    struct journal_setup setup = { .dir = s->dir, .conf = &s->conf, .clock = &s->clock, .pool = s->pool,
                                   .rooms = rooms, .room_count = 1, .create = true };
    struct err err = ERR_INIT;

    if (journal_open(&s->j, &setup, &s->report, &err) < 0)
        fail_msg("open: %s", err.text);
}

static int setup(void **state)
{
    struct site *s = mem_alloc(sizeof *s);

    snprintf(s->dir, sizeof s->dir, "/tmp/ph-commit-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    clock_init_real(&s->clock);
    arena_init(&s->mem, 1024);
    keys_default(&journal_keys, &s->conf, &s->mem);
    s->conf.segment_bytes = 262144;
    s->conf.index_ahead_bytes = 1048576;
    s->conf.index_map_bytes = 1073741824;
    s->conf.inline_bytes = 8192;
    s->pool = pool_new("help", 1, 100, NULL);
    site_open(s);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct site *s = *state;
    char command[128];

    journal_close(&s->j);
    pool_destroy(&s->pool);
    arena_free(&s->mem);
    snprintf(command, sizeof command, "rm -rf %s", s->dir);
    assert_int_equal(system(command), 0);
    mem_free(s);
    return 0;
}

/* --- operations -------------------------------------------------------------------------------------------------- */

struct gate { /* holds the committer inside an operation until opened */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_inside, is_open;
};

struct trace {
    struct gate gate;
    unsigned order[4096]; /* tags in order of running */
    unsigned ran, answered;
};

struct op {
    struct journal_op op;
    struct trace *trace;
    unsigned tag;
    uint64_t object;
    slice text;
    int fail_after; /* -1: no; 0: before emitting; 1: after */
    unsigned emits;
};

static int op_run(struct journal_tx *tx, struct journal_op *jop, struct err *err)
{
    struct op *o = CONTAINER_OF(jop, struct op, op);

    if (o->trace != NULL)
        o->trace->order[o->trace->ran++] = o->tag;
    if (o->fail_after == 0)
        return err_set(err, ERR_DENIED, "early");
    for (unsigned i = 0; i < (o->emits == 0 ? 1 : o->emits); i++) {
        uint64_t seq = journal_emit(tx, NOTE, o->object, 0, RECORD_IMAGE, o->text);

        if (o->object == 0)
            o->object = seq;
    }
    if (o->fail_after == 1)
        return err_set(err, ERR_QUOTA, "late");
    return 0;
}

static void op_done(struct journal_op *jop)
{
    struct op *o = CONTAINER_OF(jop, struct op, op);

    pthread_mutex_lock(&o->trace->gate.lock);
    o->trace->answered++;
    pthread_cond_broadcast(&o->trace->gate.cond);
    pthread_mutex_unlock(&o->trace->gate.lock);
}

static int gate_run(struct journal_tx *tx, struct journal_op *jop, struct err *err)
{
    struct gate *g = &CONTAINER_OF(jop, struct op, op)->trace->gate;

    (void)tx;
    (void)err;
    pthread_mutex_lock(&g->lock);
    g->is_inside = true;
    pthread_cond_broadcast(&g->cond);
    while (!g->is_open)
        pthread_cond_wait(&g->cond, &g->lock);
    pthread_mutex_unlock(&g->lock);
    return 0;
}

static void trace_init(struct trace *t)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->gate.lock, NULL);
    pthread_cond_init(&t->gate.cond, NULL);
}

/* The committer is held inside `o` when this returns. */
static void gate_close(struct site *s, struct trace *t, struct op *o)
{
    *o = (struct op){ .op = { .run = gate_run, .done = op_done, .session = 999, .lane = LANE_ACCESS }, .trace = t };
    assert_true(journal_submit(s->j, &o->op));
    pthread_mutex_lock(&t->gate.lock);
    while (!t->gate.is_inside)
        pthread_cond_wait(&t->gate.cond, &t->gate.lock);
    pthread_mutex_unlock(&t->gate.lock);
}

static void gate_open_and_wait(struct trace *t, unsigned answers)
{
    pthread_mutex_lock(&t->gate.lock);
    t->gate.is_open = true;
    pthread_cond_broadcast(&t->gate.cond);
    while (t->answered < answers)
        pthread_cond_wait(&t->gate.cond, &t->gate.lock);
    pthread_mutex_unlock(&t->gate.lock);
}

static struct op op_make(struct trace *t, unsigned tag, unsigned lane, uint64_t session)
{
    return (struct op){ .op = { .run = op_run, .done = op_done, .session = session, .lane = (uint8_t)lane,
                                .cost = 1, .bytes = 200 },
                        .trace = t, .tag = tag, .text = SLICE("text"), .fail_after = -1 };
}

static bool note_get(struct site *s, uint64_t object, char out[64])
{
    struct journal_view v;
    slice value;
    bool found;

    assert_int_equal(journal_read_begin(s->j, &v, NULL), 0);
    found = journal_get_u64(&v, NOTE_TABLE, object, &value);
    if (found)
        snprintf(out, 64, "%.*s", SLICE_ARG(value));
    journal_read_end(&v);
    return found;
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void commit__makes_visible_and_durable(void **state)
{
    struct site *s = *state;
    struct op o = op_make(NULL, 0, LANE_RECEPTION, 1);
    char text[64];

    o.emits = 3;
    assert_int_equal(journal_run(s->j, &o.op, NULL), 0);
    assert_int_equal(o.op.seq, 3);
    assert_int_equal(journal_durable_seq(s->j), 3);
    assert_true(note_get(s, 1, text));
    assert_string_equal(text, "text");
    journal_close(&s->j);
    site_open(s);
    assert_int_equal(journal_durable_seq(s->j), 3);
    assert_false(s->report.index_rebuilt);
    assert_true(note_get(s, 1, text));
}

static void commit__late_failure_leaves_no_trace(void **state)
{
    struct site *s = *state;
    struct trace t;
    struct op held, ops[5];
    char text[64];
    int64_t reruns = counter_get(&journal_counters[JC_RERUN]);

    trace_init(&t);
    gate_close(s, &t, &held);
    for (unsigned i = 0; i < 5; i++) {
        ops[i] = op_make(&t, i, LANE_RECEPTION, 1);
        ops[i].object = 100 + i;
        ops[i].fail_after = i == 2 ? 1 : i == 3 ? 0 : -1;
        assert_true(journal_submit(s->j, &ops[i].op));
    }
    gate_open_and_wait(&t, 6);
    for (unsigned i = 0; i < 5; i++) {
        bool fails = i == 2 || i == 3;

        assert_int_equal(ops[i].op.err.kind, i == 2 ? ERR_QUOTA : i == 3 ? ERR_DENIED : ERR_NONE);
        assert_int_equal(note_get(s, 100 + i, text), !fails);
    }
    assert_int_equal(counter_get(&journal_counters[JC_RERUN]) - reruns, 1);
    assert_int_equal(journal_durable_seq(s->j), 3); /* no gap where the refused one was */
    journal_close(&s->j);
    s->conf.index_readers_max = 64;
    site_open(s);
    assert_false(note_get(s, 102, text));
    assert_true(note_get(s, 104, text));
}

static void commit__gathers_what_waits_into_one_batch(void **state)
{
    struct site *s = *state;
    static struct op ops[200];
    struct trace t;
    struct op held;
    int64_t batches;

    s->conf.batch_prepare_ms = 1000;
    journal_close(&s->j);
    site_open(s);
    batches = counter_get(&journal_counters[JC_BATCHES]);
    trace_init(&t);
    gate_close(s, &t, &held);
    for (unsigned i = 0; i < 200; i++) {
        ops[i] = op_make(&t, i, LANE_RECEPTION, i);
        assert_true(journal_submit(s->j, &ops[i].op));
    }
    gate_open_and_wait(&t, 201);
    assert_int_equal(counter_get(&journal_counters[JC_BATCHES]) - batches, 1); /* the held one wrote nothing */
}

static void commit__lanes_share_four_to_one(void **state)
{
    struct site *s = *state;
    static struct op ops[4000];
    struct trace t;
    struct op held;
    unsigned maintenance = 0;

    trace_init(&t);
    gate_close(s, &t, &held);
    for (unsigned i = 0; i < 4000; i++) {
        bool low = i < 2000;

        ops[i] = op_make(&t, low ? 1 : 0, low ? LANE_MAINTENANCE : LANE_RECEPTION, low ? 7 : i % 10);
        assert_true(journal_submit(s->j, &ops[i].op));
    }
    gate_open_and_wait(&t, 4001);
    assert_int_equal(t.ran, 4000);
    for (unsigned i = 0; i < 2500; i++)
        maintenance += t.order[i];
    assert_int_equal(maintenance, 500); /* 4 : 1 while both wait */
}

static void commit__sessions_share_a_lane(void **state)
{
    struct site *s = *state;
    static struct op ops[1010];
    struct trace t;
    struct op held;
    unsigned last = 0;

    trace_init(&t);
    gate_close(s, &t, &held);
    for (unsigned i = 0; i < 1010; i++) { /* a heavy session first, a light one behind it */
        ops[i] = op_make(&t, i >= 1000, LANE_ACCESS, i >= 1000 ? 2 : 1);
        ops[i].op.cost = i >= 1000 ? 1 : 10;
        assert_true(journal_submit(s->j, &ops[i].op));
    }
    gate_open_and_wait(&t, 1011);
    for (unsigned i = 0; i < t.ran; i++)
        if (t.order[i] == 1)
            last = i;
    assert_in_range(last, 10, 30);
}

static void commit__too_many_waiting_are_refused(void **state)
{
    struct site *s = *state;
    static struct op ops[70];
    struct trace t;
    struct op held;
    unsigned accepted = 0;

    s->conf.waiting_ops_max = 64;
    journal_close(&s->j);
    site_open(s);
    trace_init(&t);
    gate_close(s, &t, &held);
    for (unsigned i = 0; i < 70; i++) {
        ops[i] = op_make(&t, i, LANE_RECEPTION, 1);
        accepted += journal_submit(s->j, &ops[i].op);
    }
    assert_int_equal(accepted, 63); /* the held one counts */
    gate_open_and_wait(&t, 64);
}

/* What journal_configure takes over counts for the next operation; the size of segments does not change. */
static void commit__settings_change_while_it_is_open(void **state)
{
    struct site *s = *state;
    static struct op ops[300];
    struct journal_conf conf = s->conf;
    struct body_writer *w;
    struct trace t;
    struct op held;
    unsigned accepted = 0;
    int64_t batches = counter_get(&journal_counters[JC_BATCHES]);
    static unsigned char octets[3000];

    conf.waiting_ops_max = 201;
    conf.batch_ops = 20;
    conf.inline_bytes = 1000;
    conf.segment_bytes = 65536;
    conf.reserve_segments = 4;
    conf.keep_days = 0;
    conf.batch_prepare_ms = 1000;
    journal_configure(s->j, &conf);
    trace_init(&t);
    gate_close(s, &t, &held);
    for (unsigned i = 0; i < 300; i++) {
        ops[i] = op_make(&t, i, LANE_RECEPTION, i);
        accepted += journal_submit(s->j, &ops[i].op);
    }
    assert_int_equal(accepted, 200); /* the held one counts */
    gate_open_and_wait(&t, 201);
    assert_in_range(counter_get(&journal_counters[JC_BATCHES]) - batches, 10, 12);
    w = body_writer_new(s->j);
    assert_int_equal(body_writer_write(w, slice_of(octets, sizeof octets), NULL), 0);
    assert_int_equal(body_writer_finish(w, NULL), 0);
    assert_true(body_writer_is_spooled(w));
    body_writer_destroy(&w);
    assert_int_equal(journal_roll(s->j, NULL), 0);
    helpers_wait(s->j);
    assert_int_equal(segment_dir_prepare(s->j->segments, NULL), 0);
    assert_int_equal(segment_dir_reserve_count(s->j->segments), 4);
    conf.reserve_segments = 1;
    journal_configure(s->j, &conf);
    assert_int_equal(segment_dir_prepare(s->j->segments, NULL), 0);
    assert_int_equal(segment_dir_reserve_count(s->j->segments), 1);
    assert_int_equal(s->j->conf.segment_bytes, 262144);
    assert_int_equal(s->j->conf.keep_days, 0);
}

static void commit__rolls_and_reopens(void **state)
{
    struct site *s = *state;
    static unsigned char big[6000];
    char text[64];

    memset(big, 'x', sizeof big);
    for (unsigned i = 0; i < 200; i++) { /* 1.2 MB through segments of 256 KiB */
        struct op o = op_make(NULL, 0, LANE_RECEPTION, 1);

        o.object = 1000 + i;
        o.text = slice_of(big, sizeof big);
        o.op.bytes = 6200;
        assert_int_equal(journal_run(s->j, &o.op, NULL), 0);
    }
    journal_close(&s->j);
    site_open(s);
    assert_in_range(s->report.segments, 5, 7);
    assert_int_equal(s->report.records_replayed, 0); /* a clean stop leaves nothing to do */
    for (unsigned i = 0; i < 200; i++)
        assert_true(note_get(s, 1000 + i, text));
    assert_int_equal(journal_durable_seq(s->j), 200);
}

/* --- failures of the disk ---------------------------------------------------------------------------------------- */

/* Calls replaced in this program, below the library. */
static _Atomic bool fail_index_writes, fail_directory_syncs;

static bool fd_ends(int fd, const char *end)
{
    char name[40], path[200];
    ssize_t len;

    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    len = readlink(name, path, sizeof path);
    return len > 0 && slice_ends(slice_of(path, (size_t)len), slice_str(end));
}

ssize_t pwrite(int fd, const void *p, size_t len, off_t at)
{
    if (atomic_load(&fail_index_writes) && fd_ends(fd, "/index.lmdb")) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, p, len, at);
}

int fsync(int fd)
{
    if (atomic_load(&fail_directory_syncs) && fd_ends(fd, "/journal")) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

/* A segment of somebody else, one behind the next. */
static void foreign_path(const struct site *s, char path[120])
{
    helpers_wait(s->j);
    snprintf(path, 120, "%s/journal/%016llx.seg", s->dir, (unsigned long long)s->j->tail.header.number + 2);
}

static void foreign_put(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

    assert_true(fd >= 0);
    close(fd);
}

static enum err_kind note_put(struct site *s, uint64_t object)
{
    struct op o = op_make(NULL, 0, LANE_RECEPTION, 1);
    struct err err = ERR_INIT;

    o.object = object;
    return journal_run(s->j, &o.op, &err) == 0 ? ERR_NONE : err.kind;
}

/* What was answered is there after the next start, whatever became of the segment that was to follow. */
static void commit__a_failed_roll_voids_nothing(void **state)
{
    struct site *s = *state;

    for (unsigned i = 0; i < 2; i++) {
        bool is_foreign = i == 0;
        uint64_t object = 100 * i;
        enum err_kind later;
        char foreign[120], text[64];

        assert_int_equal(note_put(s, object + 1), ERR_NONE);
        foreign_path(s, foreign);
        if (is_foreign)
            foreign_put(foreign);
        atomic_store(&fail_directory_syncs, !is_foreign);
        assert_int_equal(journal_roll(s->j, NULL), -1);
        atomic_store(&fail_directory_syncs, false);
        later = note_put(s, object + 2);
        journal_close(&s->j);
        unlink(foreign);
        site_open(s);
        assert_true(note_get(s, object + 1, text));
        assert_int_equal(note_get(s, object + 2, text), later == ERR_NONE);
        assert_int_equal(later, ERR_TEMP); /* read only: such a segment may come back */
    }
}

static void commit__a_failed_index_tells_the_truth(void **state)
{
    static const struct {
        bool is_foreign, fail_directory_syncs;
        enum err_kind kind;
    } rows[] = {
        { false, false, ERR_TEMP }, /* void: a new segment was made */
        { true, false, ERR_NONE },  /* none was made, so that the batch stays */
        { false, true, ERR_TEMP },  /* it may come back after a crash */
    };
    struct site *s = *state;

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t object = 100 * (i + 1);
        enum err_kind kind;
        char foreign[120], text[64];

        assert_int_equal(note_put(s, object), ERR_NONE);
        foreign_path(s, foreign);
        if (rows[i].is_foreign)
            foreign_put(foreign);
        atomic_store(&fail_directory_syncs, rows[i].fail_directory_syncs);
        atomic_store(&fail_index_writes, true);
        kind = note_put(s, object + 1);
        atomic_store(&fail_index_writes, false);
        atomic_store(&fail_directory_syncs, false);
        assert_int_equal(note_put(s, object + 2), ERR_TEMP);
        assert_int_equal(journal_state(s->j, NULL), JOURNAL_READ_ONLY);
        journal_close(&s->j);
        unlink(foreign);
        site_open(s);
        assert_true(s->report.index_rebuilt);
        assert_true(note_get(s, object, text));
        assert_int_equal(note_get(s, object + 1, text), kind == ERR_NONE);
        assert_int_equal(kind, rows[i].kind);
        assert_false(note_get(s, object + 2, text));
    }
}

/* --- bodies ------------------------------------------------------------------------------------------------------ */

struct body_op {
    struct journal_op op;
    struct body_writer *w;
    uint64_t id;
};

static int body_run(struct journal_tx *tx, struct journal_op *jop, struct err *err)
{
    struct body_op *b = CONTAINER_OF(jop, struct body_op, op);

    (void)err;
    b->id = journal_emit_body(tx, b->w);
    return 0;
}

static void commit__bodies_come_back(void **state)
{
    struct site *s = *state;
    static const size_t sizes[] = { 0, 1, 8191, 8192, 8193, 65535, 65536, 65537, 300000 };

    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        struct body_op b = { .op = { .run = body_run, .lane = LANE_RECEPTION, .bytes = 10000 } };
        unsigned char *octets = mem_alloc(sizes[i] + 1);
        struct buf back = BUF_INIT;
        struct journal_view v;
        struct err err = ERR_INIT;

        for (size_t k = 0; k < sizes[i]; k++)
            octets[k] = (unsigned char)(k * 7 + i);
        b.w = body_writer_new(s->j);
        for (size_t at = 0; at < sizes[i]; at += 5000)
            assert_int_equal(body_writer_write(b.w, slice_sub(slice_of(octets, sizes[i]), at, 5000), &err), 0);
        assert_int_equal(body_writer_is_spooled(b.w), sizes[i] > 8192);
        assert_int_equal(body_writer_finish(b.w, &err), 0);
        assert_int_equal(journal_run(s->j, &b.op, &err), 0);
        body_writer_destroy(&b.w);
        assert_int_equal(journal_read_begin(s->j, &v, &err), 0);
        if (journal_body_load(s->j, &v, b.id, 1 << 20, &back, &err) < 0)
            fail_msg("size %zu: %s", sizes[i], err.text);
        journal_read_end(&v);
        assert_int_equal(back.len, sizes[i]);
        assert_true(slice_eq(buf_slice(&back), slice_of(octets, sizes[i])));
        buf_free(&back);
        mem_free(octets);
    }
}

static unsigned body_files(struct site *s)
{
    char path[80];
    struct dirent *e;
    unsigned n = 0;
    DIR *dir;

    snprintf(path, sizeof path, "%s/journal", s->dir);
    assert_non_null(dir = opendir(path));
    while ((e = readdir(dir)) != NULL)
        n += strstr(e->d_name, ".body") != NULL;
    closedir(dir);
    return n;
}

static void commit__unadopted_spool_goes(void **state)
{
    struct site *s = *state;
    static unsigned char octets[20000];
    struct body_writer *w = body_writer_new(s->j);
    struct err err = ERR_INIT;

    assert_int_equal(body_writer_write(w, slice_of(octets, sizeof octets), &err), 0);
    assert_int_equal(body_files(s), 1);
    body_writer_destroy(&w);
    assert_int_equal(body_files(s), 0);
    w = body_writer_new(s->j);
    assert_int_equal(body_writer_write(w, slice_of(octets, sizeof octets), &err), 0);
    assert_int_equal(body_writer_finish(w, &err), 0);
    body_writer_destroy(&w);
    assert_int_equal(body_files(s), 0);
}

static void open__is_refused_while_another_holds_it(void **state)
{
    struct site *s = *state;
    static const struct journal_room *const rooms[] = { &note_room };
    struct journal_setup second = { .dir = s->dir, .conf = &s->conf, .clock = &s->clock, .rooms = rooms,
                                    .room_count = 1 };
    struct journal *j = NULL;
    struct err err = ERR_INIT;
    char pid[32];

    assert_int_equal(journal_open(&j, &second, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_DENIED);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(err.text, pid));
}

static void open__raises_the_epoch_on_promotion(void **state)
{
    struct site *s = *state;
    static const struct journal_room *const rooms[] = { &note_room };
    struct journal_setup up = { .dir = s->dir, .conf = &s->conf, .clock = &s->clock, .rooms = rooms, .room_count = 1,
                                .promote = true };
    struct op o = op_make(NULL, 0, LANE_RECEPTION, 1);
    struct segment_info info = { 0 };

    assert_int_equal(journal_run(s->j, &o.op, NULL), 0);
    journal_close(&s->j);
    assert_int_equal(journal_open(&s->j, &up, NULL, NULL), 0);
    assert_int_equal(journal_run(s->j, &o.op, NULL), 0);
    for (uint64_t at = 0; segment_dir_next(s->j->segments, &at, &info);)
        ;
    assert_int_equal(info.header.epoch, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(commit__makes_visible_and_durable),
        T(commit__late_failure_leaves_no_trace),
        T(commit__gathers_what_waits_into_one_batch),
        T(commit__lanes_share_four_to_one),
        T(commit__sessions_share_a_lane),
        T(commit__too_many_waiting_are_refused),
        T(commit__settings_change_while_it_is_open),
        T(commit__rolls_and_reopens),
        T(commit__a_failed_roll_voids_nothing),
        T(commit__a_failed_index_tells_the_truth),
        T(commit__bodies_come_back),
        T(commit__unadopted_spool_goes),
        T(open__is_refused_while_another_holds_it),
        T(open__raises_the_epoch_on_promotion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
