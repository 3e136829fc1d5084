#include "index_left.h"

#include <signal.h>

#include "base/diag.h"

static void index_open__notices_a_cut_file(void **state)
{
    (void)state;
    for (int how = CLEAN; how <= KILLED; how += KILLED - CLEAN) {
        struct index_usage usage;
        slice index, block;
        struct site s;

        site_init(&s);
        leave(&s, (enum left)how);
        index = slurp(&s, "index.lmdb");
        block = slurp(&s, "index.state");
        must_open(&s, INDEX_TRUSTED);
        index_usage(s.index, &usage);
        index_close(&s.index, false);
        assert_int_equal(usage.used_bytes, index.len);
        for (size_t len = 0; len <= index.len; len += len < 300 ? 37 : 2011) {
            size_t at = len + 2011 > index.len && len < index.len && len > 300 ? index.len - 1 : len;

            spill(&s, "index.lmdb", slice_sub(index, 0, at));
            spill(&s, "index.state", block);
            s.conf.read_only = true; /* keeps the inode for the next round */
            assert_int_equal(site_open(&s, NULL), -1);
            if (strstr(s.why, "its file is cut") != s.why)
                fail_msg("cut at %zu: %s", at, s.why);
        }
        spill(&s, "index.lmdb", index);
        spill(&s, "index.state", block);
        cut(&s, "index.lmdb", (off_t)index.len + 12345); /* longer is fine */
        s.conf.read_only = false;
        check_open(&s, NULL, TXNS, 0);
        slurp_free(index);
        slurp_free(block);
        site_free(&s);
    }
}

/* Eight octets at a time. Whatever was not zero before is noticed, also without the checksum of a clean stop. */
static void index_open__notices_zeroed_meta_pages(void **state)
{
    static const unsigned char zeros[8];
    static const unsigned char ones[8] = { 255, 255, 255, 255, 255, 255, 255, 255 };
    unsigned changed = 0;

    (void)state;
    for (int how = CLEAN; how <= KILLED; how += KILLED - CLEAN) {
        slice index, block;
        struct site s;

        site_init(&s);
        leave(&s, (enum left)how);
        index = slurp(&s, "index.lmdb");
        block = slurp(&s, "index.state");
        for (size_t at = 0; at < 2 * page_bytes(); at += 8) {
            bool same = memcmp(index.ptr + at, zeros, 8) == 0;

            if (same && at % 512 >= 152) /* the long rest: now and then is enough */
                continue;
            poke(&s, "index.lmdb", (off_t)at, zeros, 8);
            s.conf.read_only = true;
            if (site_open(&s, NULL) != (same ? 0 : -1))
                fail_msg("zeros at %zu: %s", at, s.why);
            if (!same)
                assert_non_null(strstr(s.why, "meta page"));
            changed += !same;
            index_close(&s.index, false);
            if (how == CLEAN && same) {
                poke(&s, "index.lmdb", (off_t)at, ones, 8);
                assert_int_equal(site_open(&s, NULL), -1);
            }
            spill(&s, "index.lmdb", index);
        }
        s.conf.read_only = false;
        check_open(&s, NULL, TXNS, 0);
        slurp_free(index);
        slurp_free(block);
        site_free(&s);
    }
    assert_true(changed > 40); /* about 15 fields in 2 pages of 2 files: the test did look at meta pages */
}

enum saw { SAW_ALL = 20, SAW_DAMAGE, SAW_NEW, SAW_NONSENSE }; /* exit codes; 1 is the sanitizers' */

/* Opens, reads all, writes more, and dies without closing. */
static void child_meets_damage(struct site *s)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    int null = open("/dev/null", O_WRONLY);

    dup2(null, 2); /* LMDB's last words, and the sanitizer's */
    signal(SIGSEGV, SIG_DFL); /* cmocka would go on with the next test */
    signal(SIGBUS, SIG_DFL);
    if (site_open(s, &err) < 0)
        _exit(SAW_NONSENSE);
    if (s->result == INDEX_NEW)
        _exit(SAW_NEW);
    if (has_content(s, TXNS)) {
        for (int i = 0; i < 20; i++) {
            if (index_begin(s->index, &v, &err) < 0)
                _exit(SAW_DAMAGE);
            journal_put_u64(&v, T_OTHER, (uint64_t)i, SLICE("x"));
            if (index_commit(&v, &(struct index_meta){ TXNS, TXNS - 1 }, &err) < 0)
                _exit(SAW_DAMAGE);
        }
        _exit(SAW_ALL);
    }
    if (index_begin(s->index, &v, &err) == 0)
        _exit(SAW_NONSENSE); /* wrong content, and nobody noticed */
    _exit(err.kind == ERR_DAMAGE && index_read_begin(s->index, &v, &err) < 0 ? SAW_DAMAGE : SAW_NONSENSE);
}

/* Nonsense in each page of the trees, one at a time. Who meets it says so or dies of it (LMDB aborts on some kinds),
 * and the program does not die of it at every start: the next open, or a late one for the worst kind, makes a new
 * index. */
static void index__outlives_nonsense_in_its_pages(void **state)
{
    static const struct {
        const char *name;
        unsigned char fill;
        unsigned char head[8]; /* flags, lower and upper bound of free space, behind the page number */
        int opens_max;
    } rows[] = {
        { "zeros", 0, { 0 }, 2 },
        { "branch without keys", 0, { 0, 0, 1, 0, 16, 0, 0, 16 }, 2 },
        { "leaf without keys", 0, { 0, 0, 2, 0, 16, 0, 0, 16 }, 2 },
        { "ones", 255, { 255, 255, 255, 255, 255, 255, 255, 255 }, INDEX_OPENS_MAX + 2 },
    };
    unsigned met = 0, died = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t page = 2; page < 21; page++) {
            unsigned char *octets = mem_alloc(page_bytes());
            int status = -1, opens = 0;
            struct site s;

            memset(octets, rows[i].fill, page_bytes());
            memcpy(octets + 8, rows[i].head, 8);
            site_init(&s);
            leave(&s, CLEAN);
            poke(&s, "index.lmdb", (off_t)(page * page_bytes()), octets, page_bytes());
            mem_free(octets);
            while (opens < rows[i].opens_max && status != SAW_ALL << 8 && status != SAW_NEW << 8) {
                pid_t child;

                fflush(NULL);
                child = fork();
                assert_true(child >= 0);
                if (child == 0)
                    child_meets_damage(&s);
                assert_int_equal(waitpid(child, &status, 0), child);
                opens++;
                met += status == SAW_DAMAGE << 8;
                died += WIFSIGNALED(status) || status == 1 << 8;
                if (status == SAW_NONSENSE << 8 && rows[i].fill == 0 && rows[i].head[2] != 2)
                    fail_msg("%s in page %zu: wrong content and no failure", rows[i].name, page);
                if (status == SAW_NONSENSE << 8)
                    break;
            }
            if (status != SAW_ALL << 8 && status != SAW_NEW << 8 && status != SAW_NONSENSE << 8)
                fail_msg("%s in page %zu: status %x after %d opens", rows[i].name, page, (unsigned)status, opens);
            site_free(&s);
        }
    }
    assert_true(met >= 3 && died + met >= 6);
}

/* The same within one process: an index that saw damage begins nothing any more, and cannot be closed clean. */
static void index_begin__is_refused_after_damage(void **state)
{
    unsigned char *zeros = mem_alloc(page_bytes());
    unsigned met = 0;

    (void)state;
    diag_set_level(DIAG_ERROR - 1);
    for (size_t page = 2; page < 21; page++) {
        struct err err = ERR_INIT;
        struct journal_view v;
        struct site s;

        site_init(&s);
        leave(&s, CLEAN);
        poke(&s, "index.lmdb", (off_t)(page * page_bytes()), zeros, page_bytes());
        must_open_any(&s);
        if (s.result == INDEX_NEW) {
            assert_true(says(s.why, "LMDB cannot open it: *") || says(s.why, "its positions cannot be read"));
            site_free(&s);
            continue;
        }
        must_read(&s, &v);
        for (unsigned n = 1; n <= TXNS; n++)
            journal_get_u64(&v, T_NUMBERS, n * 100, NULL);
        if (v.failed) {
            index_read_end(&v);
            assert_int_equal(index_begin(s.index, &v, &err), -1);
            assert_int_equal(err.kind, ERR_DAMAGE);
            assert_int_equal(index_read_begin(s.index, &v, &err), -1);
            assert_int_equal(err.kind, ERR_DAMAGE);
            index_close(&s.index, true);
            check_open(&s, "it has no state file", TXNS, page);
            met++;
        }
        index_read_end(&v);
        site_free(&s);
    }
    diag_set_level(DIAG_INFO);
    mem_free(zeros);
    assert_true(met >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_open__notices_a_cut_file),
        cmocka_unit_test(index_open__notices_zeroed_meta_pages),
        cmocka_unit_test(index__outlives_nonsense_in_its_pages),
        cmocka_unit_test(index_begin__is_refused_after_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
