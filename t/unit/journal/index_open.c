#include "index_left.h"

#include <signal.h>

#include "base/bytes.h"
#include "base/crc.h"

/* --- the trust matrix --------------------------------------------------------------------------------------------- */

static void no_index(struct site *s) { site_unlink(s, "index.lmdb"); }
static void no_state(struct site *s) { site_unlink(s, "index.state"); }
static void no_lock(struct site *s) { site_unlink(s, "index.lmdb-lock"); }
static void nothing(struct site *s) { no_index(s), no_state(s), no_lock(s); }
static void boot_b(struct site *s) { s->conf.boot_id = BOOT_B; }
static void copied(struct site *s) { replace_by_copy(s, "index.lmdb"); }
static void state_copied(struct site *s) { replace_by_copy(s, "index.state"); }
static void empty_state(struct site *s) { cut(s, "index.state", 0); }
static void short_state(struct site *s) { cut(s, "index.state", INDEX_STATE_BYTES - 1); }
static void long_state(struct site *s) { cut(s, "index.state", INDEX_STATE_BYTES + 1); }
static void bad_crc(struct site *s) { poke(s, "index.state", 70, "x", 1); }
static void bad_magic(struct site *s) { poke(s, "index.state", 0, "x", 1); }
static void garbage_lock(struct site *s) { poke(s, "index.lmdb-lock", 0, "garbagegarbagegarbagegarbage", 28); }
static void empty_index(struct site *s) { cut(s, "index.lmdb", 0); }

static void set_journal(struct index_state *st) { st->journal_id[15] ^= 1; }
static void set_format(struct index_state *st) { st->format = INDEX_FORMAT + 7; }
static void set_inode(struct index_state *st) { st->inode++; }
static void set_birth(struct index_state *st) { st->birth_ns ^= 1; }
static void set_crc(struct index_state *st) { st->pages_crc ^= 1; }
static void set_clean(struct index_state *st) { st->clean = true; }
static void set_unclean_unknown(struct index_state *st)
{
    st->clean = false;
    memset(st->boot_id, 0, sizeof(st->boot_id));
    memcpy(st->boot_id, "unknown", 7);
}

static void other_journal(struct site *s) { change_state(s, set_journal); }
static void other_format(struct site *s) { change_state(s, set_format); }
static void other_inode(struct site *s) { change_state(s, set_inode); }
static void other_birth(struct site *s) { change_state(s, set_birth); }
static void other_pages(struct site *s) { change_state(s, set_crc); }
static void false_clean(struct site *s) { change_state(s, set_clean); }
static void no_boot_ids(struct site *s)
{
    change_state(s, set_unclean_unknown);
    s->conf.boot_id = "unknown";
}
static void newer_layout(struct site *s)
{
    slice block = slurp(s, "index.state");
    unsigned char *p = (unsigned char *)(uintptr_t)block.ptr;

    put_le32(p + 8, 2);
    put_le32(p + 124, crc32c(0, p, 124));
    spill(s, "index.state", block);
    slurp_free(block);
}
static void garbage(struct site *s)
{
    unsigned char *octets = mem_alloc(200000);

    for (size_t i = 0; i < 200000; i++)
        octets[i] = (unsigned char)(i * 7 + (i >> 8));
    spill(s, "index.lmdb", slice_of(octets, 200000));
    mem_free(octets);
}
static void other_program(struct site *s) /* meta pages as LMDB made them, and nothing else */
{
    slice octets = slurp(s, "index.lmdb");

    spill(s, "index.lmdb", slice_sub(octets, 0, 2 * page_bytes()));
    slurp_free(octets);
}

static const struct {
    enum left left;
    void (*change)(struct site *);
    const char *why; /* NULL: trusted */
} trust_rows[] = {
    { CLEAN, NULL, NULL },
    { KILLED, NULL, NULL },
    { KILLED_WITHIN, NULL, NULL },
    { KILLED_AFTER_LARGE, NULL, NULL },
    { CLOSED, NULL, NULL },
    { CLOSED, boot_b, "it was in use when the machine stopped" },
    { CLEAN, boot_b, NULL },
    { KILLED, boot_b, "it was in use when the machine stopped" },
    { CLEAN, no_boot_ids, "it was in use when the machine stopped" },
    { CLEAN, copied, "its file was copied or restored" },
    { KILLED, copied, "its file was copied or restored" },
    { CLEAN, other_inode, "its file was copied or restored" },
    { CLEAN, other_birth, "its file was copied or restored" },
    { CLEAN, state_copied, NULL },
    { CLEAN, other_journal, "it belongs to another journal" },
    { KILLED, other_journal, "it belongs to another journal" },
    { CLEAN, other_format, "it has format 8, this program writes 1" },
    { CLEAN, nothing, "there is none" },
    { CLEAN, no_index, "there is none" },
    { CLEAN, no_state, "it has no state file" },
    { KILLED, no_state, "it has no state file" },
    { CLEAN, empty_state, "its state file is damaged: it has 0 octets instead of 128" },
    { CLEAN, short_state, "its state file is damaged: it has 127 octets instead of 128" },
    { CLEAN, long_state, "its state file is damaged: it has 129 octets instead of 128" },
    { CLEAN, bad_crc, "its state file is damaged: bad checksum" },
    { KILLED, bad_crc, "its state file is damaged: bad checksum" },
    { CLEAN, bad_magic, "its state file is damaged: bad magic" },
    { CLEAN, newer_layout, "its state file is damaged: unknown layout 2" },
    { CLEAN, other_pages, "its meta pages changed since it was closed" },
    { KILLED, false_clean, "its meta pages changed since it was closed" },
    { CLEAN, garbage, "its meta page 0 has no page size" },
    { KILLED, garbage, "its meta page 0 has no page size" },
    { CLEAN, empty_index, "its file is cut within the first page" },
    { KILLED, empty_index, "its file is cut within the first page" },
    { CLEAN, other_program, "its file is cut: *" },
    { CLEAN, no_lock, NULL },
    { KILLED, no_lock, NULL },
    { CLEAN, garbage_lock, NULL },
    { KILLED, garbage_lock, NULL },
};

static void index_open__trusts_exactly_what_it_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(trust_rows) / sizeof(trust_rows[0]); i++) {
        struct site s;

        site_init(&s);
        leave(&s, trust_rows[i].left);
        if (trust_rows[i].change != NULL)
            trust_rows[i].change(&s);
        check_open(&s, trust_rows[i].why, TXNS, i);
        site_free(&s);
    }
}

/* Read-only never makes anything: the same rows, refused instead of made new. */
static void index_open__read_only_changes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(trust_rows) / sizeof(trust_rows[0]); i++) {
        struct err err = ERR_INIT;
        struct journal_view v;
        slice before, after;
        struct site s;
        int rc;

        if (trust_rows[i].change == no_state || trust_rows[i].change == nothing)
            continue;
        site_init(&s);
        leave(&s, trust_rows[i].left);
        if (trust_rows[i].change != NULL)
            trust_rows[i].change(&s);
        before = slurp(&s, "index.state");
        s.conf.read_only = true;
        rc = site_open(&s, &err);
        if (rc != (trust_rows[i].why == NULL ? 0 : -1) || (rc < 0 && err.kind != ERR_NOTFOUND) ||
            (rc < 0 && !says(s.why, trust_rows[i].why)))
            fail_msg("row %zu: %d %s", i, rc, err.text);
        if (rc == 0) {
            assert_true(has_content(&s, TXNS));
            assert_int_equal(index_begin(s.index, &v, &err), -1);
            assert_int_equal(err.kind, ERR_DENIED);
            index_close(&s.index, true);
        }
        after = slurp(&s, "index.state");
        assert_true(slice_eq(before, after));
        slurp_free(before);
        slurp_free(after);
        site_free(&s);
    }
}

static void index_open__discards_when_asked(void **state)
{
    struct err err = ERR_INIT;
    struct site s;

    (void)state;
    site_init(&s);
    leave(&s, CLEAN);
    assert_int_equal(index_open(&s.index, s.dir, &s.conf, site_journal, site_rooms, 1, true, &s.result, s.why, &err),
                     0);
    assert_int_equal(s.result, INDEX_NEW);
    assert_string_equal(s.why, "a rebuild was asked for");
    assert_true(has_content(&s, 0));
    site_free(&s);
}

static void index_open__needs_the_directory(void **state)
{
    struct err err = ERR_INIT;
    struct index *ix = (struct index *)&err;
    struct index_conf conf = { 0 };
    enum index_open_result result;
    char why[128];

    (void)state;
    assert_int_equal(index_open(&ix, "/tmp/posthouse-no-such", &conf, site_journal, site_rooms, 1, false, &result, why,
                                &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
    assert_null(ix);
}

static void index_open__compares_the_tables(void **state)
{
    static const struct journal_table tables[] = {
        { T_NUMBERS, "numbers", 0 }, { T_NAMES, "names", 0 }, { T_OTHER, "other", 0 }, { 113, "extra", 0 },
        { T_NAMES, "renamed", 0 },
    };
    static const struct {
        unsigned from, count;
        const char *why;
    } rows[] = {
        { 0, 4, "it has no table 113 extra" },
        { 0, 2, "it has a table that this program does not know" },
        { 4, 1, "it has no table 111 renamed" },
        { 0, 3, "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct journal_room room = { .name = "t", .tables = tables + rows[i].from, .table_count = rows[i].count };
        const struct journal_room *rooms[] = { &room };
        struct err err = ERR_INIT;
        struct site s;

        site_init(&s);
        leave(&s, CLEAN);
        assert_int_equal(index_open(&s.index, s.dir, &s.conf, site_journal, rooms, 1, false, &s.result, s.why, &err),
                         0);
        if (strcmp(s.why, rows[i].why) != 0 || s.result != (rows[i].why[0] == '\0' ? INDEX_TRUSTED : INDEX_NEW))
            fail_msg("row %zu: %s", i, s.why);
        site_free(&s);
    }
}

static void child_opens(struct site *s)
{
    struct err err = ERR_INIT;

    if (site_open(s, &err) < 0 || s->result != INDEX_TRUSTED)
        _exit(1);
}

static void child_commits(struct site *s)
{
    child_opens(s);
    for (unsigned i = 0; i < INDEX_PROVEN_COMMITS; i++)
        must_put(s, "k", "v", i);
}

static void index_open__gives_up_on_an_index_that_kills_the_program(void **state)
{
    struct site s;

    (void)state;
    site_init(&s);
    leave(&s, KILLED);                  /* 1 */
    for (int i = 2; i <= 4; i++)
        in_child(&s, child_opens, 0);   /* 2, 3, 4 */
    must_open(&s, INDEX_TRUSTED);       /* 5, but closed in order: counted anew */
    index_close(&s.index, false);
    for (int i = 1; i <= 4; i++)
        in_child(&s, child_opens, 0);
    in_child(&s, child_commits, 0);     /* lived long enough: anew */
    for (int i = 1; i <= 5; i++)
        in_child(&s, child_opens, 0);
    must_open(&s, INDEX_NEW);
    assert_string_equal(s.why, "the program died 5 times soon after opening it");
    site_free(&s);
}

/* It is the last boot that counts, not the one it was made in. */
static void index_open__notes_the_present_boot(void **state)
{
    struct site s;

    (void)state;
    site_init(&s);
    leave(&s, CLEAN);
    s.conf.boot_id = BOOT_B;
    in_child(&s, child_opens, 0);
    must_open(&s, INDEX_TRUSTED);
    index_close(&s.index, false);
    s.conf.boot_id = BOOT_A;
    must_open(&s, INDEX_NEW);
    assert_string_equal(s.why, "it was in use when the machine stopped");
    site_free(&s);
}

/* A hole in it would be a SIGBUS on a full disk: LMDB writes to the mapped file. */
static void index_open__allocates_the_lock_file(void **state)
{
    char path[128];
    struct stat st;
    struct site s;

    (void)state;
    site_init(&s);
    s.conf.readers_max = 4000;
    must_open(&s, INDEX_NEW);
    site_path(&s, "index.lmdb-lock", path);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size >= 4000 * 64);
    assert_true(st.st_blocks * 512 >= st.st_size);
    site_free(&s);
}

/* No program that is executed later inherits a descriptor. */
static void index_open__leaves_no_descriptor_to_programs(void **state)
{
    struct site s;
    int seen = 0;

    (void)state;
    site_init(&s);
    must_open(&s, INDEX_NEW);
    for (int fd = 3; fd < 200; fd++) {
        char link[64], path[256];
        ssize_t len;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        len = readlink(link, path, sizeof(path) - 1);
        if (len < 0)
            continue;
        path[len] = '\0';
        if (strncmp(path, s.dir, strlen(s.dir)) != 0)
            continue;
        if ((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0)
            fail_msg("%s", path);
        seen++;
    }
    assert_true(seen >= 4); /* directory, state, index, lock */
    site_free(&s);
}

static void index_distrust__lasts(void **state)
{
    struct site s;

    (void)state;
    site_init(&s);
    must_open(&s, INDEX_NEW);
    write_content(&s, 2);
    index_distrust(s.index);
    write_content(&s, TXNS); /* it goes on */
    assert_true(has_content(&s, TXNS));
    index_close(&s.index, true);
    check_open(&s, "it has no state file", TXNS, 0);
    site_free(&s);
}

/* --- kill -9 ------------------------------------------------------------------------------------------------------ */

static void child_counts(struct site *s, int fd)
{
    struct index_meta meta;
    struct journal_view v;
    unsigned char octets[300];

    must_open(s, s->result);
    must_read(s, &v);
    index_meta_get(&v, &meta);
    index_read_end(&v);
    for (uint64_t n = meta.applied + 1;; n++) {
        memset(octets, (int)(n & 0xff), sizeof(octets));
        must_begin(s, &v);
        for (uint64_t k = 0; k < 40; k++)
            journal_put_u64(&v, T_NUMBERS, k * k, slice_of(octets, sizeof(octets) - (size_t)(n % 100)));
        must_commit(&v, n, 0);
        if (write(fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
            _exit(1);
    }
}

/* Everything that was committed is there, whole, when the process is killed at any moment. */
static void index__survives_kill(void **state)
{
    uint64_t last = 0;
    struct site s;

    (void)state;
    site_init(&s);
    s.result = INDEX_NEW;
    for (int round = 0; round < 12; round++) {
        uint64_t until = last + INDEX_PROVEN_COMMITS + (uint64_t)round;
        unsigned char octets[300];
        struct index_meta meta;
        struct journal_view v;
        int fds[2], status;
        pid_t child;
        slice value;

        assert_int_equal(pipe(fds), 0);
        fflush(NULL);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(fds[0]);
            child_counts(&s, fds[1]);
        }
        close(fds[1]);
        while (last < until && read(fds[0], &last, sizeof(last)) == (ssize_t)sizeof(last))
            ;
        assert_true(last >= until);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        while (read(fds[0], &last, sizeof(last)) == (ssize_t)sizeof(last))
            ;
        close(fds[0]);

        must_open(&s, INDEX_TRUSTED);
        must_read(&s, &v);
        index_meta_get(&v, &meta);
        assert_true(meta.applied == last || meta.applied == last + 1); /* killed before it could say so */
        last = meta.applied;
        memset(octets, (int)(last & 0xff), sizeof(octets));
        for (uint64_t k = 0; k < 40; k++) {
            assert_true(journal_get_u64(&v, T_NUMBERS, k * k, &value));
            assert_int_equal(value.len, sizeof(octets) - (size_t)(last % 100));
            assert_memory_equal(value.ptr, octets, value.len);
        }
        index_read_end(&v);
        index_close(&s.index, round % 3 == 0);
        s.result = INDEX_TRUSTED;
    }
    site_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_open__trusts_exactly_what_it_should),
        cmocka_unit_test(index_open__read_only_changes_nothing),
        cmocka_unit_test(index_open__discards_when_asked),
        cmocka_unit_test(index_open__needs_the_directory),
        cmocka_unit_test(index_open__compares_the_tables),
        cmocka_unit_test(index_open__gives_up_on_an_index_that_kills_the_program),
        cmocka_unit_test(index_open__notes_the_present_boot),
        cmocka_unit_test(index_open__allocates_the_lock_file),
        cmocka_unit_test(index_open__leaves_no_descriptor_to_programs),
        cmocka_unit_test(index_distrust__lasts),
        cmocka_unit_test(index__survives_kill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
