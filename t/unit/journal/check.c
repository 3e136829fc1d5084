/* check.c - journal_check finds each planted fault and names the place; journal_dump. */
#include "care_site.h"

/* --- planting faults ---------------------------------------------------------------------------------------------- */

struct plant {
    struct care *c;
    uint64_t number;        /* segment */
    enum segment_kind kind;
    uint64_t at;            /* octet */
    uint64_t id;            /* body, or sequence number */
};

static void plant_path(const struct plant *p, char path[200])
{
    static const char *const suffixes[] = { "", "seg", "body", "cmp" };

    snprintf(path, 200, "%s/journal/%016llx.%s", p->c->dir, (unsigned long long)p->number, suffixes[p->kind]);
}

static void flip(const struct plant *p, uint64_t at)
{
    char path[200];
    unsigned char octet;
    int fd;

    plant_path(p, path);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &octet, 1, (off_t)at), 1);
    octet ^= 0x20;
    assert_int_equal(pwrite(fd, &octet, 1, (off_t)at), 1);
    close(fd);
}

/* A body with references in a segment of that kind, with more than `longer` octets. */
static void find_body(struct plant *p, uint32_t longer)
{
    struct journal_cursor cursor;
    struct journal_view v;
    struct err err = ERR_INIT;
    struct body_info b;
    slice key, value;
    bool found = false;

    assert_int_equal(journal_read_begin(p->c->k.j, &v, &err), 0);
    journal_cursor_begin(&cursor, &v, TABLE_BODY);
    while (!found && journal_cursor_next(&cursor, &key, &value)) {
        struct segment_info info;

        p->id = get_be64(key.ptr);
        found = journal_body_info(&v, p->id, &b) && b.refs != 0 && b.length > longer &&
                segment_dir_find(p->c->k.j->segments, b.segment, &info) && info.header.kind == p->kind &&
                info.is_sealed;
    }
    journal_cursor_end(&cursor);
    journal_read_end(&v);
    assert_true(found);
    p->number = b.segment;
    p->at = b.offset;
}

static int on_first_record(void *arg, const struct record *r, const struct record_header *h, uint64_t offset,
                           struct err *err)
{
    struct plant *p = arg;

    (void)err;
    if ((r->flags & RECORD_BODY) != 0 || h->length < 8 || p->at != 0)
        return 0;
    p->at = offset;
    p->id = r->seq;
    return 0;
}

/* A record with a payload in a sealed log segment, not the last segment. */
static void find_record(struct plant *p)
{
    struct segment_visit v = { .record = on_first_record, .arg = p };
    struct log_segment *list;
    struct err err = ERR_INIT;
    unsigned n;

    assert_int_equal(log_segments(p->c->k.j, &list, &n, &err), 0);
    assert_true(n >= 2 && list[0].info.is_sealed);
    p->number = list[0].info.header.number;
    p->kind = SEGMENT_LOG;
    assert_int_equal(segment_visit(p->c->k.j, &list[0], 0, &v, NULL, NULL, &err), 0);
    assert_true(p->at != 0);
    mem_free(list);
}

static struct segment_info segment_of(const struct plant *p)
{
    struct segment_info info;

    assert_true(segment_dir_find(p->c->k.j->segments, p->number, &info));
    return info;
}

static void in_body(struct plant *p)
{
    p->kind = SEGMENT_LOG;
    find_body(p, 10);
    flip(p, p->at + 5);
}

static void in_spooled_body(struct plant *p)
{
    p->kind = SEGMENT_BODY;
    find_body(p, 8192);
    flip(p, p->at + 4096);
}

static void in_compacted_body(struct plant *p)
{
    uint64_t numbers[512];
    unsigned n = care_sealed(p->c, numbers);

    for (unsigned i = 0; i < n && i < 3; i++)
        care_empty(p->c, numbers[i]);
    p->kind = SEGMENT_COMPACT;
    find_body(p, 10);
    flip(p, p->at + 1);
}

static void in_body_header(struct plant *p)
{
    p->kind = SEGMENT_LOG;
    find_body(p, 10);
    flip(p, p->at - 20);
}

static void in_record(struct plant *p)
{
    find_record(p);
    flip(p, p->at + RECORD_HEADER_BYTES + 2);
}

static void in_footer_entry(struct plant *p)
{
    find_record(p);
    flip(p, segment_of(p).records_end + FOOTER_HEAD_BYTES + 20);
}

/* A footer that validates and says something else than the records. */
static void in_footer_with_new_checksums(struct plant *p)
{
    struct segment_info info;
    struct footer old;
    struct footer_writer w;
    struct footer_cursor cursor;
    struct footer_entry e;
    struct buf mem = BUF_INIT, out = BUF_INIT;
    struct err err = ERR_INIT;
    char path[200];
    slice payload;
    int fd;

    find_record(p);
    info = segment_of(p);
    assert_int_equal(segment_read_footer(p->c->k.j->segments, p->number, &old, &mem, &err), 0);
    footer_writer_init(&w, info.header.salt);
    footer_begin(&cursor, &old);
    while (footer_next(&cursor, &e, &payload)) {
        e.header.time_ms += e.offset == p->at;
        footer_writer_add(&w, e.offset, &e.header, payload);
    }
    footer_writer_finish(&w, old.records_end, old.head_at, &out);
    plant_path(p, path);
    fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, out.ptr, out.len, (off_t)old.head_at), (ssize_t)out.len);
    close(fd);
    footer_writer_free(&w);
    buf_free(&mem);
    buf_free(&out);
}

static void in_both_headers(struct plant *p)
{
    find_record(p);
    flip(p, 20);
    flip(p, SEGMENT_HEADER_COPY_AT + 20);
    care_reopen(p->c, false); /* headers are read at the start */
}

static void file_lost(struct plant *p)
{
    char path[200];

    find_record(p);
    plant_path(p, path);
    assert_int_equal(unlink(path), 0);
}

static void file_lost_while_stopped(struct plant *p)
{
    file_lost(p);
    care_reopen(p->c, false);
    p->id = 1; /* the first record */
}

static void whole_segment_lost_and_index_rebuilt(struct plant *p)
{
    file_lost(p);
    care_reopen(p->c, true);
    p->id = 1;
}

/* Operations on the index alone. */
static int index_run(struct care *c, struct plant *p, journal_run_fn *run)
{
    struct {
        struct journal_op op;
        struct plant *plant;
    } o = { .op = { .run = run, .lane = LANE_MAINTENANCE }, .plant = p };
    struct err err = ERR_INIT;

    return journal_run(c->k.j, &o.op, &err);
}

static struct plant *plant_of(struct journal_op *op)
{
    return *(struct plant **)(void *)((char *)op + sizeof(*op));
}

static int refs_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    (void)err;
    journal_body_ref(tx, plant_of(op)->id, +1);
    return 0;
}

static void in_refs(struct plant *p)
{
    p->kind = SEGMENT_LOG;
    find_body(p, 10);
    assert_int_equal(index_run(p->c, p, refs_run), 0);
}

static int place_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct body_info b;

    (void)err;
    assert_true(journal_body_info(journal_tx_view(tx), plant_of(op)->id, &b));
    b.offset += 8;
    body_value_put(tx, plant_of(op)->id, &b);
    return 0;
}

static void in_place(struct plant *p)
{
    p->kind = SEGMENT_LOG;
    find_body(p, 10);
    p->at += 8;
    assert_int_equal(index_run(p->c, p, place_run), 0);
}

static int live_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    (void)err;
    tx_live_add(tx, plant_of(op)->number, 17);
    return 0;
}

static void in_live_octets(struct plant *p)
{
    p->kind = SEGMENT_LOG;
    find_body(p, 10);
    assert_int_equal(index_run(p->c, p, live_run), 0);
}

static int row_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    unsigned char key[8] = { 0, 0, 0, 99, 0, 0, 0, 1 }, value[8] = { 1 };

    (void)err;
    (void)op;
    journal_put(journal_tx_view(tx), KV_TABLE_NAME, slice_of(key, 8), slice_of(value, 8));
    return 0;
}

static void a_row_too_many(struct plant *p)
{
    assert_int_equal(index_run(p->c, p, row_run), 0);
}

static int unrow_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct journal_cursor cursor;
    unsigned char copy[16];
    slice key, value;

    (void)err;
    (void)op;
    journal_cursor_begin(&cursor, journal_tx_view(tx), KV_TABLE_ENTRY);
    assert_true(journal_cursor_next(&cursor, &key, &value));
    memcpy(copy, key.ptr, 16);
    journal_cursor_end(&cursor);
    journal_del(journal_tx_view(tx), KV_TABLE_ENTRY, slice_of(copy, 16));
    return 0;
}

static void a_row_too_few(struct plant *p)
{
    assert_int_equal(index_run(p->c, p, unrow_run), 0);
}

/* --- and finding them --------------------------------------------------------------------------------------------- */

enum { NAMES_SEGMENT = 1, NAMES_ID = 2, NAMES_OFFSET = 4, NAMES_LOST = 8 };

static const struct {
    const char *name;
    void (*plant)(struct plant *p);
    unsigned names;
    const char *says;
} faults[] = {
    { "an octet of a body", in_body, NAMES_SEGMENT | NAMES_LOST, "no valid record" },
    { "an octet of a spooled body", in_spooled_body, NAMES_SEGMENT | NAMES_OFFSET, "do not match their checksum" },
    { "an octet of a compacted body", in_compacted_body, NAMES_SEGMENT | NAMES_ID, "do not match their checksum" },
    { "the header of a body", in_body_header, NAMES_SEGMENT | NAMES_ID, "its record header does not validate" },
    { "an octet of a record", in_record, NAMES_SEGMENT | NAMES_OFFSET | NAMES_LOST, "no valid record" },
    { "the footer", in_footer_entry, NAMES_SEGMENT, "footer" },
    { "a footer that contradicts", in_footer_with_new_checksums, NAMES_SEGMENT | NAMES_ID | NAMES_OFFSET,
      "the footer says something else than record" },
    { "both segment headers", in_both_headers, NAMES_SEGMENT, "neither copy of its header" },
    { "a segment file is gone", file_lost, NAMES_SEGMENT, "its file has been removed" },
    { "it was gone at the start", file_lost_while_stopped, NAMES_ID, "are in no segment before" },
    { "the index was rebuilt without it", whole_segment_lost_and_index_rebuilt, NAMES_ID, "are in no segment before" },
    { "a reference too many", in_refs, NAMES_ID, "the index says body" },
    { "a body elsewhere", in_place, NAMES_SEGMENT | NAMES_ID | NAMES_OFFSET, "its record header does not validate" },
    { "wrong live octets", in_live_octets, NAMES_SEGMENT, "octets of bodies alive" },
    { "a row too many", a_row_too_many, 0, "only in the index: kv.name 0000006300000001 0100000000000000" },
    { "a row too few", a_row_too_few, 0, "only in the log: kv.entry " },
};

static void check__finds_each_planted_fault(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct plant p = { 0 };
        char want[80];
        struct care c;
        int n;

        print_message("%s\n", faults[i].name);
        care_begin(&c, 100 + i);
        c.model.plan.body_max = 30000;
        care_work(&c, 300);
        care_roll(&c);
        care_work(&c, 20);
        assert_int_equal(care_check(&c, NULL), 0);
        p.c = &c;
        diag_set_fd(open("/dev/null", O_WRONLY));
        faults[i].plant(&p);
        n = care_check(&c, NULL);
        diag_set_fd(2);
        if (n < 1 || strstr(c.said, faults[i].says) == NULL)
            fail_msg("%s: %d faults found:\n%s", faults[i].name, n, c.said);
        snprintf(want, sizeof(want), "%016llx", (unsigned long long)p.number);
        if ((faults[i].names & NAMES_SEGMENT) != 0 && strstr(c.said, want) == NULL)
            fail_msg("%s: segment %s is not named:\n%s", faults[i].name, want, c.said);
        snprintf(want, sizeof(want), "%llu", (unsigned long long)p.id);
        if ((faults[i].names & NAMES_ID) != 0 && strstr(c.said, want) == NULL)
            fail_msg("%s: %s is not named:\n%s", faults[i].name, want, c.said);
        snprintf(want, sizeof(want), "records %llu to %llu are lost", (unsigned long long)p.id,
                 (unsigned long long)p.id);
        if ((faults[i].names & NAMES_LOST) != 0 && strstr(c.said, want) == NULL)
            fail_msg("%s: no \"%s\":\n%s", faults[i].name, want, c.said);
        snprintf(want, sizeof(want), "%llu", (unsigned long long)p.at);
        if ((faults[i].names & NAMES_OFFSET) != 0 && strstr(c.said, want) == NULL && p.kind != SEGMENT_BODY)
            fail_msg("%s: octet %s is not named:\n%s", faults[i].name, want, c.said);
        care_end(&c);
    }
}

/* --- a sound journal ---------------------------------------------------------------------------------------------- */

static void check__counts_what_it_looked_at(void **state)
{
    struct journal_check_result r;
    struct segment_info info;
    unsigned segments = 0;
    struct care c;

    (void)state;
    care_begin(&c, 1);
    care_work(&c, 200);
    assert_int_equal(care_check(&c, &r), 0);
    assert_string_equal(c.said, "");
    for (uint64_t at = 0; segment_dir_next(c.k.j->segments, &at, &info);)
        segments++;
    assert_int_equal(r.segments, segments);
    assert_int_equal(r.faults, 0);
    assert_true(r.records >= journal_durable_seq(c.k.j)); /* nothing was emptied; spooled bodies count once more */
    assert_true(r.bodies > 10);
    assert_true(r.bytes > 10000);
    care_end(&c);
}

static void check__of_an_empty_journal(void **state)
{
    struct journal_check_result r;
    struct care c;

    (void)state;
    care_begin(&c, 1);
    assert_int_equal(care_check(&c, &r), 0);
    assert_int_equal(r.records, 0);
    care_end(&c);
}

struct busy {
    struct care *c;
    _Atomic bool stop;
    _Atomic unsigned done;
};

static void *busy_main(void *arg)
{
    struct busy *b = arg;

    while (!atomic_load(&b->stop)) {
        care_work(b->c, 1);
        atomic_fetch_add(&b->done, 1);
    }
    return NULL;
}

/* Beside a server that goes on writing. */
static void check__runs_on_a_busy_journal(void **state)
{
    struct busy b = { 0 };
    struct err err = ERR_INIT;
    struct thread thread = { 0 };
    struct care c, checker;

    (void)state;
    care_begin(&c, 2);
    care_work(&c, 150);
    checker = c; /* its own place for what is said */
    b.c = &c;
    assert_int_equal(thread_start(&thread, "busy", 0, busy_main, &b, &err), 0);
    for (unsigned i = 0; i < 6; i++) {
        int n = care_check(&checker, NULL);

        if (n != 0)
            fail_msg("%d faults in round %u:\n%s", n, i, checker.said);
        if (i == 3)
            care_roll(&checker);
    }
    atomic_store(&b.stop, true);
    thread_join(&thread);
    assert_true(atomic_load(&b.done) > 0);
    care_same(&c, false);
    care_is_sound(&c);
    care_end(&c);
}

/* --- the dump ----------------------------------------------------------------------------------------------------- */

static void dump__is_tables_in_order_then_bodies(void **state)
{
    static const char want[] = "kv.name 0000000000000000 0100000000000000\n"
                               "kv.head 0000000000000001 ";
    static const struct kv_step steps[] = {
        { .n = 1, .what = KV_OP_CREATE },
        { .n = 2, .what = KV_OP_SET_BODY, .key = 3, .length = 123 },
        { .n = 3, .what = KV_OP_SHARE, .key = 3, .to_key = 4 },
        { .n = 4, .what = KV_OP_SET_BODY, .key = 5, .length = 77 },
        { .n = 5, .what = KV_OP_DEL, .key = 5 },
    };
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    struct care c;
    const char *text;

    (void)state;
    care_begin(&c, 3);
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        if (kv_run(c.k.room, c.k.j, &steps[i], 3, &err) < 0)
            fail_msg("step %u: %s", steps[i].n, err.text);
    care_dump(&c, &out);
    text = buf_str(&out);
    assert_memory_equal(text, want, sizeof(want) - 1);
    assert_non_null(strstr(text, "\nbody 2 123 2\n")); /* shared; the other body has no references left */
    assert_null(strstr(text, " 77 "));
    assert_null(strstr(text, "journal."));
    assert_string_equal(text + out.len - strlen("body 2 123 2\n"), "body 2 123 2\n");
    buf_free(&out);
    care_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check__finds_each_planted_fault), cmocka_unit_test(check__counts_what_it_looked_at),
        cmocka_unit_test(check__of_an_empty_journal),      cmocka_unit_test(check__runs_on_a_busy_journal),
        cmocka_unit_test(dump__is_tables_in_order_then_bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
