/* index_left.h - an index with content that was left behind in some way, and what a file can suffer meanwhile. */
#ifndef T_INDEX_LEFT_H
#define T_INDEX_LEFT_H

#include "index_site.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "journal/index_state.h"

/* LMDB takes the system's page size up to 32 KiB. */
static inline size_t page_bytes(void)
{
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);

    return bytes > 32768 ? 32768 : bytes;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static inline slice slurp(const struct site *s, const char *name)
{
    unsigned char *octets;
    char path[128];
    struct stat st;
    int fd;

    site_path(s, name, path);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    octets = mem_alloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, octets, (size_t)st.st_size), st.st_size);
    close(fd);
    return slice_of(octets, (size_t)st.st_size);
}

static inline void slurp_free(slice octets)
{
    mem_free((void *)(uintptr_t)octets.ptr);
}

/* In place: the inode stays. */
static inline void spill(const struct site *s, const char *name, slice octets)
{
    char path[128];
    int fd;

    site_path(s, name, path);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, octets.ptr, octets.len, 0), octets.len);
    assert_int_equal(ftruncate(fd, (off_t)octets.len), 0);
    close(fd);
}

static inline void poke(const struct site *s, const char *name, off_t at, const void *octets, size_t len)
{
    char path[128];
    int fd;

    site_path(s, name, path);
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, octets, len, at), len);
    close(fd);
}

static inline void cut(const struct site *s, const char *name, off_t len)
{
    char path[128];

    site_path(s, name, path);
    assert_int_equal(truncate(path, len), 0);
}

static inline void replace_by_copy(const struct site *s, const char *name)
{
    char from[128], to[128];
    slice octets = slurp(s, name);

    spill(s, "copy", octets);
    slurp_free(octets);
    site_path(s, "copy", from);
    site_path(s, name, to);
    assert_int_equal(rename(from, to), 0);
}

static inline void change_state(const struct site *s, void (*change)(struct index_state *))
{
    unsigned char block[INDEX_STATE_BYTES];
    slice octets = slurp(s, "index.state");
    struct index_state st;

    assert_int_equal(index_state_decode(octets, &st, NULL), 0);
    slurp_free(octets);
    change(&st);
    index_state_encode(block, &st);
    spill(s, "index.state", slice_of(block, sizeof(block)));
}

/* --- an index with content, left behind in some way --------------------------------------------------------------- */

#define TXNS 5u

static inline void write_content(struct site *s, unsigned txns)
{
    for (unsigned n = 1; n <= txns; n++) {
        struct journal_view v;

        must_begin(s, &v);
        for (uint64_t k = 0; k < 30; k++)
            journal_put_u64(&v, T_NUMBERS, n * 100 + k, SLICE("some value that takes a little room in its page"));
        journal_put(&v, T_NAMES, SLICE("last"), slice_of(&n, sizeof(n)));
        must_commit(&v, n, n - 1);
    }
}

static inline bool has_content(struct site *s, unsigned txns)
{
    struct journal_cursor c;
    struct index_meta meta;
    struct journal_view v;
    uint64_t pairs = 0;
    slice last;
    bool ok;

    must_read(s, &v);
    index_meta_get(&v, &meta);
    journal_cursor_begin(&c, &v, T_NUMBERS);
    while (journal_cursor_next(&c, NULL, NULL))
        pairs++;
    journal_cursor_end(&c);
    ok = journal_get(&v, T_NAMES, SLICE("last"), &last) && last.len == sizeof(txns) &&
         memcmp(last.ptr, &txns, sizeof(txns)) == 0;
    ok = ok && meta.applied == txns && meta.young_from == txns - 1 && pairs == 30 * txns && !v.failed;
    if (txns == 0)
        ok = meta.applied == 0 && meta.young_from == 0 && pairs == 0 && journal_table_count(&v, T_NAMES) == 0;
    index_read_end(&v);
    return ok;
}

/* A process that opens the index, does something and dies without closing. */
static inline void in_child(struct site *s, void (*work)(struct site *), int expected_status)
{
    int status;
    pid_t child;

    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        work(s);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != expected_status)
        fail_msg("the child ended with status %x", (unsigned)status);
}

static inline void child_writes(struct site *s)
{
    struct err err = ERR_INIT;

    if (site_open(s, &err) < 0)
        _exit(1);
    write_content(s, TXNS);
}

static inline void child_writes_and_leaves_a_transaction(struct site *s)
{
    struct journal_view v;

    child_writes(s);
    must_begin(s, &v);
    for (uint64_t k = 0; k < 3000; k++)
        journal_put_u64(&v, T_NUMBERS, k, SLICE("this must not be there afterwards"));
}

/* The large value's pages are taken, given back, and never written: the file would end before the last page. */
static inline void child_writes_and_takes_back(struct site *s)
{
    unsigned char *octets = mem_alloc(INDEX_VALUE_MAX_BYTES);
    struct journal_view v;

    child_writes(s);
    must_begin(s, &v);
    journal_put(&v, T_OTHER, SLICE("large"), slice_of(octets, INDEX_VALUE_MAX_BYTES));
    journal_del(&v, T_OTHER, SLICE("large"));
    must_commit(&v, TXNS, TXNS - 1);
    mem_free(octets);
}

enum left { CLEAN, CLOSED /* without the mark */, KILLED, KILLED_WITHIN, KILLED_AFTER_LARGE };

static inline void leave(struct site *s, enum left how)
{
    if (how == CLEAN || how == CLOSED) {
        must_open(s, INDEX_NEW);
        write_content(s, TXNS);
        index_close(&s->index, how == CLEAN);
    } else {
        in_child(s, how == KILLED ? child_writes :
                    how == KILLED_WITHIN ? child_writes_and_leaves_a_transaction : child_writes_and_takes_back, 0);
    }
}

/* A text, exactly, or up to a '*'. */
static inline bool says(const char *text, const char *expected)
{
    size_t len = strcspn(expected, "*");

    return strncmp(text, expected, len) == 0 && (expected[len] == '*' || text[len] == '\0');
}

/* Opens as expected; then works, closes clean and is trusted once more. */
static inline void check_open(struct site *s, const char *why, unsigned txns, size_t row)
{
    struct err err = ERR_INIT;

    if (site_open(s, &err) < 0)
        fail_msg("row %zu: %s", row, err.text);
    if (s->result != (why == NULL ? INDEX_TRUSTED : INDEX_NEW) || !says(s->why, why == NULL ? "" : why))
        fail_msg("row %zu: %s, why: \"%s\"", row, s->result == INDEX_NEW ? "new" : "trusted", s->why);
    if (!has_content(s, why == NULL ? txns : 0))
        fail_msg("row %zu: wrong content", row);
    write_content(s, txns + 1);
    index_close(&s->index, true);
    must_open(s, INDEX_TRUSTED);
    if (!has_content(s, txns + 1))
        fail_msg("row %zu: wrong content after reopening", row);
}

#endif
