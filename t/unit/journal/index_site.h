/* index_site.h - a directory with an index for a test, and shorthands that check what they do. */
#ifndef T_INDEX_SITE_H
#define T_INDEX_SITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "journal/index.h"

enum { T_NUMBERS = 110, T_NAMES = 111, T_OTHER = 112 };

static const struct journal_table site_tables[] = {
    { T_NUMBERS, "numbers", 0 },
    { T_NAMES, "names", 0 },
    { T_OTHER, "other", TABLE_PHYSICAL },
};
static const struct journal_room site_room = { .name = "tests", .tables = site_tables, .table_count = 3 };
static const struct journal_room *const site_rooms[] = { &site_room };
static const unsigned char site_journal[JOURNAL_ID_BYTES] = "journal-of-tests";

#define BOOT_A "11111111-aaaa-4444-8888-000000000001"
#define BOOT_B "22222222-bbbb-4444-8888-000000000002"

struct site {
    char dir[64];
    struct index_conf conf;
    struct index *index;
    enum index_open_result result;
    char why[128];
};

static inline void site_init(struct site *s)
{
    memset(s, 0, sizeof(*s));
    snprintf(s->dir, sizeof(s->dir), "%s", "/tmp/posthouse-index-XXXXXX");
    if (mkdtemp(s->dir) == NULL)
        fail_msg("no directory for the test");
    s->conf = (struct index_conf){ .ahead_bytes = 0, .readers_max = 8, .boot_id = BOOT_A };
}

static inline void site_path(const struct site *s, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", s->dir, name);
}

static inline void site_unlink(const struct site *s, const char *name)
{
    char path[128];

    site_path(s, name, path);
    unlink(path);
}

static inline int site_open(struct site *s, struct err *err)
{
    return index_open(&s->index, s->dir, &s->conf, site_journal, site_rooms, 1, false, &s->result, s->why, err);
}

static inline void must_open_any(struct site *s)
{
    struct err err = ERR_INIT;

    if (site_open(s, &err) < 0)
        fail_msg("index_open: %s", err.text);
}

static inline void must_open(struct site *s, enum index_open_result result)
{
    must_open_any(s);
    if (s->result != result)
        fail_msg("index_open: %s (%s)", s->result == INDEX_TRUSTED ? "trusted" : "new", s->why);
}

static inline void site_free(struct site *s)
{
    static const char *const names[] = { "index.lmdb", "index.lmdb-lock", "index.state", "copy", "lock" };

    index_close(&s->index, false);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        site_unlink(s, names[i]);
    if (rmdir(s->dir) < 0)
        fail_msg("%s is not empty", s->dir);
}

static inline void must_begin(struct site *s, struct journal_view *v)
{
    struct err err = ERR_INIT;

    if (index_begin(s->index, v, &err) < 0)
        fail_msg("index_begin: %s", err.text);
}

static inline void must_commit(struct journal_view *v, uint64_t applied, uint64_t young_from)
{
    struct index_meta meta = { applied, young_from };
    struct err err = ERR_INIT;

    if (index_commit(v, &meta, &err) < 0)
        fail_msg("index_commit: %s", err.text);
}

static inline void must_read(struct site *s, struct journal_view *v)
{
    struct err err = ERR_INIT;

    if (index_read_begin(s->index, v, &err) < 0)
        fail_msg("index_read_begin: %s", err.text);
}

static inline void must_hold(struct journal_view *v, unsigned table, const char *key, const char *value)
{
    slice got;
    bool found = journal_get(v, table, slice_str(key), &got);

    if (value == NULL) {
        assert_false(found);
        assert_int_equal(got.len, 0);
        return;
    }
    if (!found)
        fail_msg("%s is missing", key);
    assert_int_equal(got.len, strlen(value));
    assert_memory_equal(got.ptr, value, got.len);
}

/* One transaction with one pair. */
static inline void must_put(struct site *s, const char *key, const char *value, uint64_t applied)
{
    struct journal_view v;

    must_begin(s, &v);
    journal_put(&v, T_NAMES, slice_str(key), slice_str(value));
    must_commit(&v, applied, 0);
}

#endif
