/* empty.c - emptying with a room that has nothing to say of a part that is gone, with damaged footers, with a second
 * root, and beside a server at work. */
#include "care_site.h"

/* --- a room whose parts come and go ------------------------------------------------------------------------------- */

/* NOTE_SET: the octets noted in (object, part); NOTE_DEL. No image of a part that is not there. */
enum { NOTE_SET = 0x7f90, NOTE_DEL = 0x7f91, NOTE_TABLE = 118, NOTE_PARTS = 5 };

static slice note_key(unsigned char key[12], uint64_t object, uint32_t part)
{
    put_be64(key, object);
    put_be32(key + 8, part);
    return slice_of(key, 12);
}

static int note_apply(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    unsigned char key[12];

    (void)room;
    (void)err;
    if (r->type == NOTE_SET)
        journal_put(journal_tx_view(tx), NOTE_TABLE, note_key(key, r->object, r->part), r->payload);
    else
        journal_del(journal_tx_view(tx), NOTE_TABLE, note_key(key, r->object, r->part));
    return 0;
}

static int note_image(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err)
{
    unsigned char key[12];
    slice value;

    (void)room;
    (void)err;
    if (journal_get(journal_tx_view(tx), NOTE_TABLE, note_key(key, object, part), &value))
        journal_emit(tx, NOTE_SET, object, part, RECORD_IMAGE, value);
    return 0;
}

static const struct journal_type note_types[] = {
    { .type = NOTE_SET, .name = "note_set", .apply = note_apply, .image = note_image },
    { .type = NOTE_DEL, .name = "note_del", .apply = note_apply, .image = note_image },
};
static const struct journal_table note_tables[] = { { NOTE_TABLE, "test.note", 0 } };
static const struct journal_room note_room = {
    .name = "note", .types = note_types, .type_count = 2, .tables = note_tables, .table_count = 1
};

struct notes {
    char dir[64];
    struct clock clock;
    struct pool *pool;
    struct journal *j;
    uint64_t object;
    unsigned value[NOTE_PARTS]; /* 0: not there */
    unsigned n;
};

static void notes_open(struct notes *s, bool discard_index)
{
    static const struct journal_room *const rooms[] = { &note_room };
    struct journal_conf conf;
    struct arena mem;
    struct journal_setup setup = { .dir = s->dir, .conf = &conf, .clock = &s->clock, .pool = s->pool, .rooms = rooms,
                                   .room_count = 1, .create = true, .discard_index = discard_index };
    struct journal_report report;
    struct err err = ERR_INIT;

    arena_init(&mem, 1024);
    keys_default(&journal_keys, &conf, &mem);
    arena_free(&mem);
    conf.segment_bytes = 65536;
    conf.index_map_bytes = 64 << 20;
    conf.index_ahead_bytes = 1 << 20;
    if (journal_open(&s->j, &setup, &report, &err) < 0)
        fail_msg("opening: %s", err.text);
    assert_int_equal(report.damaged_places, 0);
}

static void notes_begin(struct notes *s)
{
    struct err err = ERR_INIT;

    memset(s, 0, sizeof(*s));
    diag_set_level(DIAG_ERROR);
    snprintf(s->dir, sizeof(s->dir), "%s", "/tmp/posthouse-care-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    clock_init_real(&s->clock);
    s->pool = pool_new("helper", 1, 16, &err);
    notes_open(s, false);
}

static void notes_end(struct notes *s)
{
    journal_close(&s->j);
    pool_destroy(&s->pool);
    care_remove(s->dir);
}

struct note_op {
    struct journal_op op;
    struct notes *notes;
    uint32_t part;
    unsigned value;
};

static int note_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct note_op *o = CONTAINER_OF(op, struct note_op, op);
    unsigned char payload[4];

    (void)err;
    put_le32(payload, o->value);
    op->seq = journal_emit(tx, o->value != 0 ? NOTE_SET : NOTE_DEL, o->notes->object, o->part, 0,
                           slice_of(payload, o->value != 0 ? 4 : 0));
    return 0;
}

static void note(struct notes *s, uint32_t part, unsigned value)
{
    struct note_op o = { .op = { .run = note_run, .lane = LANE_ACCESS, .bytes = 100 }, .notes = s, .part = part,
                         .value = value };
    struct err err = ERR_INIT;

    if (journal_run(s->j, &o.op, &err) < 0)
        fail_msg("noting: %s", err.text);
    if (s->object == 0)
        s->object = o.op.seq;
    s->value[part] = value;
}

static void notes_same(struct notes *s)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    unsigned char key[12];
    slice value;

    assert_int_equal(journal_read_begin(s->j, &v, &err), 0);
    for (uint32_t part = 0; part < NOTE_PARTS; part++) {
        bool is_there = journal_get(&v, NOTE_TABLE, note_key(key, s->object, part), &value);

        if (is_there != (s->value[part] != 0) || (is_there && get_le32(value.ptr) != s->value[part]))
            fail_msg("part %u: %u instead of %u", part, is_there ? get_le32(value.ptr) : 0, s->value[part]);
    }
    journal_read_end(&v);
}

static void notes_reopen(struct notes *s)
{
    journal_close(&s->j);
    notes_open(s, true);
    notes_same(s);
}

static void notes_roll(struct notes *s)
{
    struct err err = ERR_INIT;

    assert_int_equal(journal_roll(s->j, &err), 0);
}

/* The nth sealed segment, modulo their number. */
static void notes_empty(struct notes *s, uint64_t nth)
{
    struct segment_info info;
    uint64_t numbers[64];
    struct err err = ERR_INIT;
    unsigned n = 0;

    for (uint64_t at = 0; n < 64 && segment_dir_next(s->j->segments, &at, &info);)
        if (info.is_sealed)
            numbers[n++] = info.header.number;
    if (n != 0 && journal_empty_segment(s->j, numbers[nth % n], 0, &err) < 0)
        fail_msg("emptying: %s", err.text);
}

static void part__that_is_gone_stays_gone(void **state)
{
    struct notes s;

    (void)state;
    notes_begin(&s);
    note(&s, 0, 1);
    note(&s, 3, 7);
    notes_roll(&s);
    note(&s, 3, 0);
    notes_roll(&s);
    notes_empty(&s, 1); /* the deletion goes, what it deleted stays */
    notes_reopen(&s);
    note(&s, 3, 8);     /* it comes back behind its tombstone */
    notes_roll(&s);
    notes_empty(&s, 1); /* the tombstone's segment */
    notes_reopen(&s);
    notes_empty(&s, 0);
    notes_reopen(&s);
    notes_end(&s);
}

/* A tombstone kills what lies between its cause and itself, too: it must outlive that. */
static void part__stays_gone_when_its_last_change_goes_first(void **state)
{
    struct notes s;

    (void)state;
    notes_begin(&s);
    note(&s, 3, 1);
    notes_roll(&s);
    note(&s, 3, 0);
    notes_roll(&s);
    note(&s, 3, 2);
    notes_roll(&s);
    note(&s, 3, 0);
    notes_roll(&s);
    notes_empty(&s, 1); /* a tombstone is made: 3 is not there now */
    notes_roll(&s);
    notes_empty(&s, 2); /* the second deletion, dead by the tombstone */
    notes_roll(&s);
    notes_empty(&s, 0); /* the first setting; left: the second setting, and the tombstone */
    notes_roll(&s);
    notes_empty(&s, 1);
    notes_reopen(&s);
    notes_end(&s);
}

static void part__survives_any_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct rng rng;
        struct notes s;

        rng_init(&rng, seed);
        notes_begin(&s);
        note(&s, 0, 1);
        for (unsigned n = 2; n < 120; n++) {
            uint64_t what = rng_below(&rng, 20);

            if (what < 7)
                note(&s, (uint32_t)rng_below(&rng, NOTE_PARTS), n);
            else if (what < 12)
                note(&s, (uint32_t)rng_below(&rng, NOTE_PARTS), 0);
            else if (what < 15)
                notes_roll(&s);
            else if (what < 19)
                notes_empty(&s, rng_next(&rng));
            else
                notes_reopen(&s);
            notes_same(&s);
        }
        notes_reopen(&s);
        notes_end(&s);
    }
}

/* --- footers ------------------------------------------------------------------------------------------------------ */

static void footer__that_is_damaged_is_made_again(void **state)
{
    struct segment_info info;
    struct care c;
    unsigned char octet = 0xff;
    uint64_t numbers[512];
    char path[200];
    int fd;

    (void)state;
    care_begin(&c, 41);
    care_work(&c, 200);
    care_roll(&c);
    care_sealed(&c, numbers);
    assert_true(segment_dir_find(c.k.j->segments, numbers[0], &info));
    assert_int_equal(info.header.kind, SEGMENT_LOG);
    snprintf(path, sizeof(path), "%s/journal/%016llx.seg", c.dir, (unsigned long long)numbers[0]);
    fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, &octet, 1, (off_t)info.records_end + FOOTER_HEAD_BYTES + 30), 1);
    close(fd);
    care_empty(&c, numbers[0]);
    care_same(&c, false);
    care_reopen(&c, true);
    care_same(&c, false);
    care_is_sound(&c);
    care_end(&c);
}

static void footer__damaged_with_a_record_keeps_the_segment(void **state)
{
    struct segment_info info;
    struct care c;
    struct err err = ERR_INIT;
    unsigned char octet = 0xff;
    uint64_t numbers[512];
    char path[200];
    int fd;

    (void)state;
    care_begin(&c, 42);
    care_work(&c, 200);
    care_roll(&c);
    care_sealed(&c, numbers);
    assert_true(segment_dir_find(c.k.j->segments, numbers[0], &info));
    snprintf(path, sizeof(path), "%s/journal/%016llx.seg", c.dir, (unsigned long long)numbers[0]);
    fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, &octet, 1, (off_t)info.records_end + FOOTER_HEAD_BYTES + 30), 1);
    assert_int_equal(pwrite(fd, &octet, 1, SEGMENT_PAGE_BYTES + 20), 1);
    close(fd);
    diag_set_fd(open("/dev/null", O_WRONLY));
    assert_int_equal(journal_empty_segment(c.k.j, numbers[0], 0, &err), -1);
    diag_set_fd(2);
    assert_int_equal(err.kind, ERR_DAMAGE);
    assert_true(segment_dir_find(c.k.j->segments, numbers[0], &info));
    care_same(&c, true);
    care_end(&c);
}

/* The bodies of several segments in one, out of order; found again without the footer. */
static void footer__of_a_compaction_segment_is_not_needed(void **state)
{
    struct segment_info info;
    struct care c;
    struct err err = ERR_INIT;
    unsigned char octet = 0xff;
    unsigned flipped = 0;
    char path[200];

    (void)state;
    care_begin(&c, 45);
    for (unsigned i = 0; i < 5; i++) {
        care_work(&c, 40);
        care_roll(&c);
    }
    usleep(2000); /* older than now */
    assert_true(journal_reclaim(c.k.j, &err) >= 4);
    for (uint64_t at = 0; segment_dir_next(c.k.j->segments, &at, &info);) {
        int fd;

        if (info.header.kind != SEGMENT_COMPACT)
            continue;
        snprintf(path, sizeof(path), "%s/journal/%016llx.cmp", c.dir, (unsigned long long)info.header.number);
        fd = open(path, O_RDWR);
        assert_int_equal(pwrite(fd, &octet, 1, (off_t)info.records_end + FOOTER_HEAD_BYTES + 30), 1);
        close(fd);
        flipped++;
    }
    assert_true(flipped >= 1);
    care_reopen(&c, true);
    care_same(&c, false);
    care_end(&c);
}

/* --- another root ------------------------------------------------------------------------------------------------- */

static void empty__moves_bodies_to_another_root(void **state)
{
    struct segment_info info;
    struct err err = ERR_INIT;
    char root[100];
    uint64_t numbers[512];
    unsigned n, there = 0;
    struct care c;

    (void)state;
    care_begin(&c, 43);
    snprintf(root, sizeof(root), "%s-root", c.dir);
    assert_int_equal(mkdir(root, 0700), 0);
    c.site.partition = root;
    care_reopen(&c, false);
    care_work(&c, 200);
    care_roll(&c);
    n = care_sealed(&c, numbers);
    for (unsigned i = 0; i < n; i++)
        if (journal_empty_segment(c.k.j, numbers[i], 1, &err) < 0)
            fail_msg("emptying: %s", err.text);
    for (uint64_t at = 0; segment_dir_next(c.k.j->segments, &at, &info);) {
        there += info.header.partition == 1;
        if (info.header.kind == SEGMENT_COMPACT)
            assert_int_equal(info.header.partition, 1);
    }
    assert_true(there >= 1);
    assert_int_equal(journal_empty_segment(c.k.j, info.header.number, 2, &err), -1); /* there is no such root */
    care_same(&c, false);
    care_reopen(&c, true);
    care_same(&c, false);
    care_is_sound(&c);
    care_end(&c);
    care_remove(root);
}

/* --- beside a server at work -------------------------------------------------------------------------------------- */

struct worker {
    struct care *c;
    uint32_t client;
    unsigned ops;
    struct thread thread;
    char why[300];
};

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct kv_client *client = &w->c->model.clients[w->client];

    for (unsigned i = 0; i < w->ops && w->why[0] == 0; i++) {
        struct err err = ERR_INIT;
        struct kv_step step;
        enum err_kind want;

        kv_client_next(client, &w->c->model.plan, &step);
        want = kv_client_expect(client, &step);
        kv_run(w->c->k.room, w->c->k.j, &step, w->c->model.plan.seed, &err);
        if (err.kind != want)
            snprintf(w->why, sizeof(w->why), "operation %u of client %u: %s", step.n, step.client, err.text);
        if (err.kind == ERR_NONE)
            kv_client_apply(client, &step);
        client->answered = client->sent = step.n;
    }
    return NULL;
}

static void empty__does_not_disturb_a_server_at_work(void **state)
{
    struct worker workers[CARE_CLIENTS];
    struct err err = ERR_INIT;
    unsigned emptied = 0;
    struct care c;

    (void)state;
    care_begin(&c, 44);
    memset(workers, 0, sizeof(workers));
    for (uint32_t i = 0; i < CARE_CLIENTS; i++) {
        workers[i].c = &c;
        workers[i].client = i;
        workers[i].ops = 250;
        assert_int_equal(thread_start(&workers[i].thread, "worker", 0, worker_main, &workers[i], &err), 0);
    }
    for (unsigned round = 0; round < 12; round++) {
        uint64_t numbers[512];
        unsigned n = care_sealed(&c, numbers);
        bool ok;

        if (n == 0) {
            care_roll(&c);
            continue;
        }
        n = (unsigned)rng_below(&c.rng, n);
        ok = journal_empty_segment(c.k.j, numbers[n], 0, &err) == 0;
        emptied += ok;
        if (!ok && err.kind != ERR_EXISTS && err.kind != ERR_NOTFOUND) /* a spooled body may be on its way */
            fail_msg("emptying: %s", err.text);
        err = ERR_INIT;
        if (round % 4 == 3)
            care_roll(&c);
    }
    for (uint32_t i = 0; i < CARE_CLIENTS; i++) {
        thread_join(&workers[i].thread);
        assert_string_equal(workers[i].why, "");
    }
    assert_true(emptied >= 4);
    care_same(&c, false);
    care_is_sound(&c);
    care_reopen(&c, true);
    care_same(&c, false);
    care_end(&c);
}

/* Has the first segment been written to since it was made to look old? Looks old afterwards. */
static bool first_was_written(const char *dir)
{
    static const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
    char path[128];
    struct stat st;

    snprintf(path, sizeof(path), "%s/journal/0000000000000001.seg", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    return st.st_mtim.tv_sec != 1000;
}

/* What voids the end of a segment goes only when the footer that cuts this end is on disk. One that was found at the
 * start may be in the page cache alone: it is written again. */
static void empty__makes_the_footer_before_it_certain(void **state)
{
    struct notes s, copy;

    (void)state;
    notes_begin(&s);
    note(&s, 1, 1);
    notes_roll(&s);
    copy = s;
    memcpy(copy.dir, "/tmp/posthouse-copy", 19); /* as long as before */
    care_copy(s.dir, copy.dir); /* a crash: an empty segment is last */
    note(&s, 1, 2);
    notes_roll(&s);
    note(&s, 1, 3);
    journal_close(&s.j);
    notes_open(&s, false);
    first_was_written(s.dir);
    notes_empty(&s, 2); /* not the one behind it */
    assert_false(first_was_written(s.dir));
    notes_empty(&s, 1);
    assert_true(first_was_written(s.dir));
    notes_same(&s);

    first_was_written(copy.dir);
    notes_open(&copy, false);
    assert_true(first_was_written(copy.dir));
    notes_same(&copy);
    journal_close(&copy.j);
    care_remove(copy.dir);
    notes_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(part__that_is_gone_stays_gone),
        cmocka_unit_test(part__stays_gone_when_its_last_change_goes_first),
        cmocka_unit_test(part__survives_any_order),
        cmocka_unit_test(footer__that_is_damaged_is_made_again),
        cmocka_unit_test(footer__damaged_with_a_record_keeps_the_segment),
        cmocka_unit_test(footer__of_a_compaction_segment_is_not_needed),
        cmocka_unit_test(empty__moves_bodies_to_another_root),
        cmocka_unit_test(empty__makes_the_footer_before_it_certain),
        cmocka_unit_test(empty__does_not_disturb_a_server_at_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
