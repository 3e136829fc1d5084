#include "index_site.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/diag.h"
#include "base/mem.h"

/* --- plain behaviour ---------------------------------------------------------------------------------------------- */

static void index_commit__makes_pairs_and_positions_visible(void **state)
{
    struct index_meta meta;
    struct journal_view v, r;
    struct site s;

    (void)state;
    site_init(&s);
    must_open(&s, INDEX_NEW);
    must_read(&s, &r);
    index_meta_get(&r, &meta);
    assert_int_equal(meta.applied, 0);
    assert_int_equal(meta.young_from, 0);
    index_read_end(&r);

    must_begin(&s, &v);
    journal_put(&v, T_NAMES, SLICE("a"), SLICE("1"));
    journal_put(&v, T_NAMES, SLICE("empty"), SLICE_NONE);
    journal_put_u64(&v, T_NUMBERS, 0x0102030405060708, SLICE("n"));
    must_hold(&v, T_NAMES, "a", "1");
    must_read(&s, &r);
    must_hold(&r, T_NAMES, "a", NULL); /* not before the commit */
    index_read_end(&r);
    must_commit(&v, 77, 55);

    must_read(&s, &r);
    must_hold(&r, T_NAMES, "a", "1");
    must_hold(&r, T_NAMES, "empty", "");
    must_hold(&r, T_OTHER, "a", NULL); /* tables are apart */
    must_hold(&r, T_NUMBERS, "\x01\x02\x03\x04\x05\x06\x07\x08", "n"); /* big-endian: octet order is number order */
    assert_true(journal_get_u64(&r, T_NUMBERS, 0x0102030405060708, NULL));
    assert_int_equal(journal_table_count(&r, T_NAMES), 2);
    index_meta_get(&r, &meta);
    assert_int_equal(meta.applied, 77);
    assert_int_equal(meta.young_from, 55);
    assert_false(r.failed);
    index_read_end(&r);
    index_read_end(&r); /* no-op */
    site_free(&s);
}

static void index_abort__leaves_no_trace(void **state)
{
    struct index_meta meta;
    struct journal_view v;
    struct site s;

    (void)state;
    site_init(&s);
    must_open(&s, INDEX_NEW);
    must_put(&s, "kept", "1", 5);
    must_begin(&s, &v);
    journal_put(&v, T_NAMES, SLICE("a"), SLICE("1"));
    assert_true(journal_del(&v, T_NAMES, SLICE("kept")));
    assert_false(journal_del(&v, T_NAMES, SLICE("kept")));
    index_abort(&v);
    index_abort(&v); /* no-op */
    must_begin(&s, &v);
    must_hold(&v, T_NAMES, "a", NULL);
    must_hold(&v, T_NAMES, "kept", "1");
    index_meta_get(&v, &meta);
    assert_int_equal(meta.applied, 5);
    index_abort(&v);
    site_free(&s);
}

static void journal_put__refuses_forbidden_sizes_for_the_whole_transaction(void **state)
{
    static const struct {
        size_t key, value;
        bool ok;
    } rows[] = {
        { 1, 0, true },   { INDEX_KEY_MAX_BYTES, 10, true },      { INDEX_KEY_MAX_BYTES + 1, 10, false },
        { 0, 10, false }, { 8, INDEX_VALUE_MAX_BYTES, true },     { 8, INDEX_VALUE_MAX_BYTES + 1, false },
    };
    static const struct index_meta meta = { 9, 0 };
    unsigned char *octets = mem_alloc(INDEX_VALUE_MAX_BYTES + 1);
    struct site s;

    (void)state;
    diag_set_level(DIAG_ERROR - 1); /* the failures are wanted */
    memset(octets, 'x', INDEX_VALUE_MAX_BYTES + 1);
    site_init(&s);
    must_open(&s, INDEX_NEW);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct journal_view v;
        struct err err = ERR_INIT;
        slice got;
        int rc;

        must_begin(&s, &v);
        journal_put(&v, T_OTHER, SLICE("before"), SLICE("1"));
        journal_put(&v, T_OTHER, slice_of(octets, rows[i].key), slice_of(octets, rows[i].value));
        if (v.failed == rows[i].ok)
            fail_msg("row %zu", i);
        if (v.failed)
            assert_false(journal_get(&v, T_OTHER, SLICE("before"), NULL)); /* it sticks */
        rc = index_commit(&v, &meta, &err);
        assert_int_equal(rc, rows[i].ok ? 0 : -1);
        assert_int_equal(err.kind, rows[i].ok ? ERR_NONE : ERR_BUG);
        assert_null(v.txn);
        must_begin(&s, &v); /* the next one works */
        assert_int_equal(journal_get(&v, T_OTHER, slice_of(octets, rows[i].key), &got), rows[i].ok);
        if (rows[i].ok)
            assert_int_equal(got.len, rows[i].value);
        journal_del(&v, T_OTHER, SLICE("before"));
        journal_del(&v, T_OTHER, slice_of(octets, rows[i].key));
        assert_false(v.failed);
        must_commit(&v, 1, 0);
    }
    diag_set_level(DIAG_INFO);
    mem_free(octets);
    site_free(&s);
}

static void journal_put__refuses_readers(void **state)
{
    struct journal_view r;
    struct site s;

    (void)state;
    site_init(&s);
    must_open(&s, INDEX_NEW);
    diag_set_level(DIAG_ERROR - 1);
    must_read(&s, &r);
    journal_put(&r, T_NAMES, SLICE("a"), SLICE("b"));
    assert_true(r.failed);
    index_read_end(&r);
    must_read(&s, &r);
    assert_false(journal_del(&r, T_NAMES, SLICE("a")));
    assert_true(r.failed);
    index_read_end(&r);
    diag_set_level(DIAG_INFO);
    site_free(&s);
}

/* LMDB shifts octets within the page while it inserts; a value found there must arrive as it was. */
static void journal_put__takes_what_was_found_in_the_same_transaction(void **state)
{
    unsigned char text[300];
    struct journal_view v;
    struct site s;

    (void)state;
    site_init(&s);
    must_open(&s, INDEX_NEW);
    must_begin(&s, &v);
    for (uint64_t i = 0; i < 200; i++) {
        memset(text, (int)i + 1, sizeof(text));
        journal_put_u64(&v, T_NUMBERS, 1000 + 2 * i, slice_of(text, sizeof(text)));
    }
    for (uint64_t i = 0; i < 200; i++) {
        slice got;

        assert_true(journal_get_u64(&v, T_NUMBERS, 1000 + 2 * i, &got));
        journal_put_u64(&v, T_NUMBERS, i * 7 % 1000, got);        /* elsewhere */
        assert_true(journal_get_u64(&v, T_NUMBERS, 1000 + 2 * i, &got));
        journal_put_u64(&v, T_NUMBERS, 1001 + 2 * i, got);        /* right beside it */
        assert_true(journal_get_u64(&v, T_NUMBERS, 1000 + 2 * i, &got));
        journal_put_u64(&v, T_NUMBERS, 1000 + 2 * i, slice_sub(got, 1, 150)); /* over itself */
    }
    for (uint64_t i = 0; i < 200; i++) {
        slice got;

        memset(text, (int)i + 1, sizeof(text));
        assert_true(journal_get_u64(&v, T_NUMBERS, 1001 + 2 * i, &got));
        assert_int_equal(got.len, 300);
        assert_memory_equal(got.ptr, text, 300);
        assert_true(journal_get_u64(&v, T_NUMBERS, i * 7 % 1000, &got));
        assert_memory_equal(got.ptr, text, 300);
        assert_true(journal_get_u64(&v, T_NUMBERS, 1000 + 2 * i, &got));
        assert_int_equal(got.len, 150);
        assert_memory_equal(got.ptr, text, 150);
    }
    must_commit(&v, 1, 0);
    site_free(&s);
}

/* --- cursors ------------------------------------------------------------------------------------------------------ */

enum move { M_NEXT, M_PREV, M_SEEK, M_LAST };

static void journal_cursor__rows(void **state)
{
    /* pairs b, d, f; every row goes on where the one before stopped, "new" begins a cursor */
    static const struct {
        bool fresh;
        enum move move;
        const char *arg, *found;
    } rows[] = {
        { true, M_NEXT, "", "b" },   { false, M_NEXT, "", "d" },  { false, M_NEXT, "", "f" },
        { false, M_NEXT, "", NULL }, { false, M_NEXT, "", NULL }, { false, M_PREV, "", "f" },
        { false, M_PREV, "", "d" },  { false, M_NEXT, "", "f" },
        { true, M_PREV, "", "f" },   { false, M_PREV, "", "d" },  { false, M_PREV, "", "b" },
        { false, M_PREV, "", NULL }, { false, M_PREV, "", NULL }, { false, M_NEXT, "", "b" },
        { true, M_SEEK, "d", "d" },  { false, M_NEXT, "", "f" },
        { true, M_SEEK, "c", "d" },  { false, M_PREV, "", "b" },
        { true, M_SEEK, "", "b" },   { false, M_NEXT, "", "d" },
        { true, M_SEEK, "g", NULL }, { false, M_NEXT, "", NULL }, { false, M_PREV, "", "f" },
        { true, M_SEEK, "f\x01", NULL },
        { true, M_LAST, "d", "b" },  { false, M_NEXT, "", "d" },
        { true, M_LAST, "e", "d" },  { false, M_PREV, "", "b" },
        { true, M_LAST, "b", NULL }, { false, M_PREV, "", NULL }, { false, M_NEXT, "", "b" },
        { true, M_LAST, "zz", "f" }, { false, M_NEXT, "", NULL },
        { true, M_LAST, "", NULL },  { false, M_NEXT, "", "b" },
        { false, M_SEEK, "f", "f" }, { false, M_LAST, "f", "d" }, { false, M_SEEK, "a", "b" },
    };
    struct journal_cursor c;
    struct journal_view v;
    struct site s;

    (void)state;
    site_init(&s);
    must_open(&s, INDEX_NEW);
    for (int writer = 0; writer < 2; writer++) {
        if (writer) {
            must_begin(&s, &v);
        } else {
            must_put(&s, "b", "B", 1);
            must_put(&s, "f", "F", 1);
            must_put(&s, "d", "D", 1);
            must_read(&s, &v);
        }
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            slice key = SLICE("?"), value = SLICE("?"), arg = slice_str(rows[i].arg);
            bool found = false;

            if (rows[i].fresh) {
                if (i > 0)
                    journal_cursor_end(&c);
                journal_cursor_begin(&c, &v, T_NAMES);
            }
            switch (rows[i].move) {
            case M_NEXT: found = journal_cursor_next(&c, &key, &value); break;
            case M_PREV: found = journal_cursor_prev(&c, &key, &value); break;
            case M_SEEK: found = journal_cursor_seek(&c, arg, &key, &value); break;
            case M_LAST: found = journal_cursor_seek_last(&c, arg, &key, &value); break;
            }
            if (found != (rows[i].found != NULL) || !slice_eq(key, slice_str(rows[i].found)) ||
                (found && value.ptr[0] != key.ptr[0] - 32))
                fail_msg("row %zu: %.*s", i, SLICE_ARG(key));
        }
        journal_cursor_end(&c);
        journal_cursor_end(&c);
        journal_cursor_begin(&c, &v, T_OTHER); /* an empty table */
        assert_false(journal_cursor_next(&c, NULL, NULL));
        assert_false(journal_cursor_prev(&c, NULL, NULL));
        assert_false(journal_cursor_seek(&c, SLICE("a"), NULL, NULL));
        assert_false(journal_cursor_seek_last(&c, SLICE("a"), NULL, NULL));
        journal_cursor_end(&c);
        assert_false(v.failed);
        if (writer)
            index_abort(&v);
        else
            index_read_end(&v);
    }
    site_free(&s);
}

/* --- readers ------------------------------------------------------------------------------------------------------ */

static void index_read_begin__pins_a_snapshot(void **state)
{
    struct journal_view pinned[4];
    struct index_usage usage;
    char value[16];
    struct site s;

    (void)state;
    site_init(&s);
    must_open(&s, INDEX_NEW);
    for (int i = 0; i < 40; i++) {
        snprintf(value, sizeof(value), "%d", i);
        must_put(&s, "n", value, (uint64_t)i);
        if (i % 10 == 9)
            must_read(&s, &pinned[i / 10]);
        if (i == 35) {
            index_usage(s.index, &usage);
            assert_int_equal(usage.readers, 3);
            assert_true(usage.used_bytes >= 5 * 4096 && usage.allocated_bytes >= usage.used_bytes);
        }
    }
    for (int i = 0; i < 4; i++) {
        struct index_meta meta;

        snprintf(value, sizeof(value), "%d", 10 * i + 9);
        must_hold(&pinned[i], T_NAMES, "n", value);
        index_meta_get(&pinned[i], &meta);
        assert_int_equal(meta.applied, 10 * i + 9);
        index_read_end(&pinned[i]);
    }
    must_read(&s, &pinned[0]); /* a used transaction begins anew: it sees the present */
    must_hold(&pinned[0], T_NAMES, "n", "39");
    index_read_end(&pinned[0]);
    site_free(&s);
}

static void index_read_begin__has_a_limit(void **state)
{
    struct journal_view v[8], more;
    struct index_usage usage;
    struct err err = ERR_INIT;
    struct site s;

    (void)state;
    site_init(&s);
    must_open(&s, INDEX_NEW);
    must_put(&s, "a", "1", 1);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++)
            must_read(&s, &v[i]);
        assert_int_equal(index_read_begin(s.index, &more, &err), -1);
        assert_int_equal(err.kind, ERR_LIMIT);
        assert_true(more.failed);
        must_hold(&more, T_NAMES, "a", NULL);
        index_read_end(&more);
        for (int i = 0; i < 8; i++)
            index_read_end(&v[i]);
        index_usage(s.index, &usage);
        assert_int_equal(usage.readers, 0);
    }
    site_free(&s);
}

struct race {
    struct site *site;
    atomic_bool stop;
    atomic_int rounds;
};

/* Every transaction of the writer sets all keys to the same value: a reader that sees two values saw no snapshot. */
static void *race_reader(void *arg)
{
    struct race *race = arg;

    while (!atomic_load(&race->stop)) {
        struct journal_view v;
        slice first, other;

        must_read(race->site, &v);
        if (journal_get_u64(&v, T_NUMBERS, 0, &first)) {
            for (uint64_t k = 1; k < 50; k++) {
                if (!journal_get_u64(&v, T_NUMBERS, k, &other) || !slice_eq(first, other))
                    panic("a reader saw half a transaction");
            }
        }
        index_read_end(&v);
        atomic_fetch_add(&race->rounds, 1);
    }
    return NULL;
}

static void index_read_begin__sees_whole_transactions_from_other_threads(void **state)
{
    struct race race = { 0 };
    pthread_t threads[3];
    struct site s;
    uint64_t n = 0;

    (void)state;
    site_init(&s);
    must_open(&s, INDEX_NEW);
    race.site = &s;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race_reader, &race), 0);
    while (n < 300 || (atomic_load(&race.rounds) < 300 && n < 1000000)) {
        unsigned char octets[200];
        struct journal_view v;

        memset(octets, (int)(n & 0xff), sizeof(octets));
        must_begin(&s, &v);
        for (uint64_t k = 0; k < 50; k++)
            journal_put_u64(&v, T_NUMBERS, k, slice_of(octets, sizeof(octets)));
        must_commit(&v, ++n, 0);
    }
    atomic_store(&race.stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    site_free(&s);
}

/* --- space -------------------------------------------------------------------------------------------------------- */

#define MIB (1024 * 1024ull)

static void index_reserve__allocates_ahead_and_keeps_ahead(void **state)
{
    static unsigned char octets[1000];
    struct index_usage usage, after;
    struct err err = ERR_INIT;
    struct journal_view v;
    char path[128];
    struct stat st;
    struct site s;

    (void)state;
    site_init(&s);
    s.conf.ahead_bytes = 2 * MIB;
    must_open(&s, INDEX_NEW);
    assert_int_equal(index_reserve(s.index, &err), 0);
    index_usage(s.index, &usage);
    assert_true(usage.allocated_bytes >= usage.used_bytes + 2 * MIB);
    assert_true(usage.allocated_bytes <= usage.used_bytes + 4 * MIB);
    site_path(&s, "index.lmdb", path);
    assert_int_equal(stat(path, &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 >= usage.allocated_bytes);
    assert_true((uint64_t)st.st_size >= usage.allocated_bytes);

    assert_int_equal(index_reserve(s.index, &err), 0); /* nothing to do */
    index_usage(s.index, &after);
    assert_int_equal(after.allocated_bytes, usage.allocated_bytes);

    for (int round = 0; round < 12; round++) {
        must_begin(&s, &v);
        for (uint64_t i = 0; i < 1000; i++)
            journal_put_u64(&v, T_NUMBERS, (uint64_t)round * 1000 + i, slice_of(octets, sizeof(octets)));
        must_commit(&v, 1, 0);
        index_usage(s.index, &after);
        assert_true(after.used_bytes <= after.allocated_bytes); /* it never left what was reserved */
        assert_int_equal(index_reserve(s.index, &err), 0);
        index_usage(s.index, &after);
        assert_true(after.allocated_bytes >= after.used_bytes + 2 * MIB);
        assert_int_equal(stat(path, &st), 0);
        assert_true((uint64_t)st.st_blocks * 512 >= after.allocated_bytes);
    }
    assert_true(after.used_bytes > 12 * MIB);

    index_close(&s.index, true); /* a file that is longer than its pages is all right, and known to be allocated */
    must_open(&s, INDEX_TRUSTED);
    index_usage(s.index, &usage);
    assert_int_equal(usage.allocated_bytes, after.allocated_bytes);
    must_read(&s, &v);
    assert_int_equal(journal_table_count(&v, T_NUMBERS), 12000);
    index_read_end(&v);
    site_free(&s);
}

/* RLIMIT_FSIZE stands for the full disk: the kernel refuses to allocate, and what is allocated stays usable. */
static void index_reserve__says_full_and_leaves_the_reserve_usable(void **state)
{
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0) {
        static unsigned char octets[1000];
        struct rlimit limit = { 8 * MIB, 8 * MIB };
        struct index_usage usage;
        struct err err = ERR_INIT;
        struct journal_view v;
        struct site s;
        uint64_t n = 0;

        signal(SIGXFSZ, SIG_IGN);
        site_init(&s);
        s.conf.ahead_bytes = 2 * MIB;
        must_open(&s, INDEX_NEW);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        while (index_reserve(s.index, &err) == 0 && n < 100000) {
            must_begin(&s, &v);
            for (int i = 0; i < 50; i++)
                journal_put_u64(&v, T_NUMBERS, n++, slice_of(octets, sizeof(octets)));
            must_commit(&v, n, 0);
        }
        assert_int_equal(err.kind, ERR_FULL);
        index_usage(s.index, &usage);
        assert_true(usage.used_bytes > 5 * MIB && usage.allocated_bytes >= usage.used_bytes + 2 * MIB - 200000);
        for (uint64_t i = 0; i < n; i += 50) { /* freeing goes on, in pages of the reserve */
            must_begin(&s, &v);
            for (uint64_t k = i; k < i + 50; k++)
                assert_true(journal_del_u64(&v, T_NUMBERS, k));
            must_commit(&v, n, 0);
        }
        index_usage(s.index, &usage);
        assert_true(usage.used_bytes <= usage.allocated_bytes);
        site_free(&s);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* A file system of our own, visible to this process only. False where the system does not allow it. */
static bool mount_small(const char *dir, const char *options)
{
    if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("none", dir, "tmpfs", 0, options) == 0;
}

static void fill_disk(const char *dir)
{
    static char octets[65536];
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/mail", dir);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    for (size_t size = sizeof(octets); size > 0; size /= 2) {
        while (write(fd, octets, size) == (ssize_t)size)
            ;
    }
    close(fd);
}

/* Everything frees, commits, reads, closes clean and opens again on a disk without one free octet. */
static void child_on_a_full_disk(struct site *s)
{
    static unsigned char octets[1000];
    struct journal_view v, readers[200];
    struct err err = ERR_INIT;
    uint64_t n = 0;

    s->conf.ahead_bytes = 4 * MIB;
    s->conf.readers_max = 200;
    must_open(s, INDEX_NEW);
    while (n < 8000) {
        assert_int_equal(index_reserve(s->index, &err), 0);
        must_begin(s, &v);
        for (int i = 0; i < 100; i++)
            journal_put_u64(&v, T_NUMBERS, n++, slice_of(octets, sizeof(octets)));
        must_commit(&v, n, 0);
    }
    fill_disk(s->dir);
    for (uint64_t i = 0; i < n; i += 100) {
        must_begin(s, &v);
        for (uint64_t k = i; k < i + 100; k++)
            assert_true(journal_del_u64(&v, T_NUMBERS, k));
        must_commit(&v, n + i, 0);
        if (i == n / 2) {
            for (int k = 0; k < 200; k++)
                must_read(s, &readers[k]); /* touches all of the lock file */
            for (int k = 0; k < 200; k++)
                index_read_end(&readers[k]);
            index_close(&s->index, true);
            must_open(s, INDEX_TRUSTED);
        }
    }
    while (index_reserve(s->index, &err) == 0 && n < 100000) { /* the reserve is not for this */
        must_begin(s, &v);
        for (int i = 0; i < 100; i++)
            journal_put_u64(&v, T_NUMBERS, n++, slice_of(octets, sizeof(octets)));
        must_commit(&v, n, 0);
    }
    assert_int_equal(err.kind, ERR_FULL);
    index_close(&s->index, true);
    must_open(s, INDEX_TRUSTED);
    must_begin(s, &v);
    assert_true(journal_del_u64(&v, T_NUMBERS, n - 1));
    must_commit(&v, n, 0);
    index_close(&s->index, true);
}

static void index__works_on_a_full_disk(void **state)
{
    struct site s;
    pid_t child;
    int status;

    (void)state;
    site_init(&s);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        if (!mount_small(s.dir, "size=40m"))
            _exit(77);
        child_on_a_full_disk(&s);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    site_free(&s);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

static void index_reserve__minds_the_reserved_addresses(void **state)
{
    static unsigned char octets[1000];
    struct index_meta meta = { 0 };
    struct err err = ERR_INIT;
    struct journal_view v;
    struct site s;

    (void)state;
    site_init(&s);
    s.conf.map_bytes = 4 * MIB;
    s.conf.ahead_bytes = 64 * MIB; /* cut to a quarter of the map */
    must_open(&s, INDEX_NEW);
    assert_int_equal(index_reserve(s.index, &err), 0);
    must_begin(&s, &v);
    for (uint64_t i = 0; i < 2700; i++)
        journal_put_u64(&v, T_NUMBERS, i, slice_of(octets, sizeof(octets)));
    must_commit(&v, 1, 0);
    assert_int_equal(index_reserve(s.index, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
    assert_non_null(strstr(err.text, "index_map_bytes"));

    diag_set_level(DIAG_ERROR - 1);
    must_begin(&s, &v); /* and past it: the transaction fails, the index does not */
    for (uint64_t i = 0; i < 4000; i++)
        journal_put_u64(&v, T_NUMBERS, 10000 + i, slice_of(octets, sizeof(octets)));
    assert_true(v.failed);
    err = ERR_INIT;
    assert_int_equal(index_commit(&v, &meta, &err), -1);
    assert_int_equal(err.kind, ERR_FULL);
    diag_set_level(DIAG_INFO);
    must_begin(&s, &v);
    assert_int_equal(journal_table_count(&v, T_NUMBERS), 2700);
    assert_true(journal_del_u64(&v, T_NUMBERS, 5));
    must_commit(&v, 2, 0);
    site_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_commit__makes_pairs_and_positions_visible),
        cmocka_unit_test(index_abort__leaves_no_trace),
        cmocka_unit_test(journal_put__refuses_forbidden_sizes_for_the_whole_transaction),
        cmocka_unit_test(journal_put__refuses_readers),
        cmocka_unit_test(journal_put__takes_what_was_found_in_the_same_transaction),
        cmocka_unit_test(journal_cursor__rows),
        cmocka_unit_test(index_read_begin__pins_a_snapshot),
        cmocka_unit_test(index_read_begin__has_a_limit),
        cmocka_unit_test(index_read_begin__sees_whole_transactions_from_other_threads),
        cmocka_unit_test(index_reserve__allocates_ahead_and_keeps_ahead),
        cmocka_unit_test(index_reserve__says_full_and_leaves_the_reserve_usable),
        cmocka_unit_test(index__works_on_a_full_disk),
        cmocka_unit_test(index_reserve__minds_the_reserved_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
