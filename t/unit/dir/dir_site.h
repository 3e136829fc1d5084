/* dir_site.h - a journal with the directory alone, for the tests of dir and auth. */
#ifndef T_DIR_SITE_H
#define T_DIR_SITE_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"
#include "base/mem.h"
#include "base/random.h"
#include "dir/dir.h"

#define INDEX_MAP_BYTES (64u * 1024 * 1024)

struct dir_site {
    char path[64];
    struct clock clock;
    struct dir *dir;
    struct journal *journal;
    struct dir_conf conf;
    struct arena mem; /* of answers */
};

static inline void dir_site_open(struct dir_site *s, bool discard_index)
{
    struct journal_conf conf = { 0 };
    const struct journal_room *rooms[1];
    struct journal_setup setup = { .dir = s->path, .conf = &conf, .clock = &s->clock, .rooms = rooms, .room_count = 1 };
    struct journal_report report;
    struct err err = ERR_INIT;

    keys_default(&journal_keys, &conf, &s->mem);
    conf.segment_bytes = 65536;
    conf.index_map_bytes = INDEX_MAP_BYTES;
    conf.index_ahead_bytes = 1048576;
    conf.keep_days = 0;
    setup.create = true;
    setup.discard_index = discard_index;
    assert_int_equal(dir_new(&s->dir, &s->clock, &err), 0);
    rooms[0] = dir_room(s->dir);
    if (journal_open(&s->journal, &setup, &report, &err) < 0)
        fail_msg("opening %s: %s", s->path, err.text);
    dir_attach(s->dir, s->journal);
}

static inline void dir_site_close(struct dir_site *s)
{
    journal_close(&s->journal);
    dir_destroy(&s->dir);
}

/* The clock stands from the beginning or runs: the journal's thread reads it as soon as there is one. */
static inline void dir_site_begin_at(struct dir_site *s, bool is_fake)
{
    memset(s, 0, sizeof(*s));
    diag_set_level(DIAG_ERROR);
    snprintf(s->path, sizeof(s->path), "%s", "/tmp/posthouse-dir-XXXXXX");
    assert_non_null(mkdtemp(s->path));
    if (is_fake)
        clock_init_fake(&s->clock, 1000000, 1000000);
    else
        clock_init_real(&s->clock);
    arena_init(&s->mem, 4096);
    keys_default(&dir_keys, &s->conf, &s->mem);
    dir_site_open(s, false);
}

static inline void dir_site_begin(struct dir_site *s)
{
    dir_site_begin_at(s, false);
}

static inline void dir_site_remove(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *entry;
    char name[4096];

    if (d == NULL)
        return;
    while ((entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        assert_true((size_t)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name) < sizeof(name));
        if (unlink(name) < 0)
            dir_site_remove(name);
    }
    closedir(d);
    rmdir(path);
}

static inline void dir_site_end(struct dir_site *s)
{
    dir_site_close(s);
    arena_free(&s->mem);
    dir_site_remove(s->path);
}

/* The kind of the refusal, ERR_NONE when done. fields: JSON or NULL. */
static inline enum err_kind dir_site_do(struct dir_site *s, enum dir_change_kind kind, const char *name,
                                        const char *fields, const struct dir_secrets *secrets)
{
    struct dir_change c;
    struct err err = ERR_INIT;
    json_t *object = fields == NULL ? NULL : json_parse(slice_str(fields), &err);

    if (err.kind != ERR_NONE)
        fail_msg("%s: %s", fields, err.text);
    dir_change_init(&c, s->dir, kind, slice_str(name));
    c.fields = object;
    c.secrets = secrets;
    if (dir_change_wait(&c, &err) == 0)
        assert_int_not_equal(c.id, 0);
    else
        assert_true(err.text[0] != '\0');
    json_decref(object);
    return err.kind;
}

/* An address, or a local part alone. */
static inline void dir_site_ask(struct dir_site *s, const char *address, bool is_login, struct dir_query *q)
{
    const char *at = strrchr(address, '@');

    memset(q, 0, sizeof(*q));
    q->mem = &s->mem;
    q->want_secrets = is_login;
    q->address.local = at == NULL ? slice_str(address) : slice_of(address, (size_t)(at - address));
    q->address.domain = at == NULL ? SLICE_NONE : slice_str(at + 1);
    assert_true(dir_ask(s->dir, &s->conf, q));
}

static inline const char *dir_site_text(struct dir_site *s, slice text)
{
    return arena_str(&s->mem, text);
}

static inline char *dir_site_dump(struct dir_site *s)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    assert_int_equal(journal_settle(s->journal, &err), 0);
    assert_int_equal(journal_read_begin(s->journal, &v, &err), 0);
    assert_int_equal(journal_dump(s->journal, &v, f, &err), 0);
    journal_read_end(&v);
    fclose(f);
    return text;
}

#endif
