/* care_site.h - a journal full of the key-value room's work, for the tests of reclaiming, history, walking, checking.
 *
 * Model:    clients of kv_model.h do random operations; care_same holds the journal against their models, care_dump
 *           is the logical dump. Directories are copied to play a crash.
 */
#ifndef T_CARE_SITE_H
#define T_CARE_SITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/diag.h"
#include "base/mem.h"
#include "base/random.h"
#include "journal/internal.h"
#include "kv_site.h"

#define CARE_CLIENTS 6u

struct care {
    char dir[64];
    struct kv_site site;
    struct kv_journal k;
    struct kv_model model;
    struct rng rng;
    char said[4000]; /* by comparing or checking */
};

static inline void care_say(void *arg, const char *line)
{
    struct care *c = arg;
    size_t len = strlen(c->said);

    snprintf(c->said + len, sizeof(c->said) - len, "%s\n", line);
}

static inline void care_open(struct care *c)
{
    struct err err = ERR_INIT;

    if (kv_journal_open(&c->k, &c->site, &err) < 0)
        fail_msg("opening %s: %s", c->dir, err.text);
}

static inline void care_begin(struct care *c, uint64_t seed)
{
    struct kv_plan plan = { .seed = seed, .value_max = 600, .body_max = 12000 };

    memset(c, 0, sizeof(*c));
    diag_set_level(DIAG_ERROR);
    snprintf(c->dir, sizeof(c->dir), "%s", "/tmp/posthouse-care-XXXXXX");
    if (mkdtemp(c->dir) == NULL)
        fail_msg("no directory for the test");
    c->site.dir = c->dir;
    rng_init(&c->rng, seed);
    kv_model_init(&c->model, &plan, CARE_CLIENTS);
    care_open(c);
}

/* Remove a tree two levels deep: DIR/{journal,index,history,check}/FILE. */
static inline void care_remove(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    char path[4096];

    if (d == NULL)
        return;
    while ((entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        assert_true((size_t)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) < sizeof(path));
        if (unlink(path) < 0)
            care_remove(path);
    }
    closedir(d);
    rmdir(dir);
}

static inline void care_end(struct care *c)
{
    kv_journal_close(&c->k);
    care_remove(c->dir);
}

static inline void care_file_copy(const char *from, const char *to)
{
    static char octets[65536];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n;

    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, octets, sizeof(octets))) > 0)
        assert_int_equal(write(out, octets, (size_t)n), n);
    close(in);
    close(out);
}

static inline void care_copy(const char *from, const char *to)
{
    char a[4096], b[4096];
    struct dirent *entry;
    struct stat st;
    DIR *d = opendir(from);

    assert_non_null(d);
    mkdir(to, 0700);
    while ((entry = readdir(d)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        assert_true((size_t)snprintf(a, sizeof(a), "%s/%s", from, entry->d_name) < sizeof(a));
        assert_true((size_t)snprintf(b, sizeof(b), "%s/%s", to, entry->d_name) < sizeof(b));
        assert_int_equal(stat(a, &st), 0);
        if (S_ISDIR(st.st_mode))
            care_copy(a, b);
        else
            care_file_copy(a, b);
    }
    closedir(d);
}

/* n operations of random clients. */
static inline void care_work(struct care *c, unsigned n)
{
    while (n-- > 0) {
        struct kv_client *client = &c->model.clients[rng_below(&c->rng, CARE_CLIENTS)];
        struct err err = ERR_INIT;
        struct kv_step step;
        enum err_kind want;

        kv_client_next(client, &c->model.plan, &step);
        want = kv_client_expect(client, &step);
        kv_run(c->k.room, c->k.j, &step, c->model.plan.seed, &err);
        if (err.kind != want)
            fail_msg("operation %u of client %u: %s", step.n, step.client, err.text);
        if (err.kind == ERR_NONE)
            kv_client_apply(client, &step);
        client->answered = client->sent = step.n;
    }
}

static inline void care_roll(struct care *c)
{
    struct err err = ERR_INIT;

    if (journal_roll(c->k.j, &err) < 0)
        fail_msg("rolling: %s", err.text);
}

static inline void care_same(struct care *c, bool quick)
{
    c->said[0] = 0;
    if (kv_compare(c->k.room, c->k.j, &c->model, quick, care_say, c) != 0)
        fail_msg("the journal differs from the model:\n%s", c->said);
}

static inline void care_dump(struct care *c, struct buf *out)
{
    struct err err = ERR_INIT;

    buf_reset(out);
    if (kv_journal_dump(&c->k, out, &err) < 0)
        fail_msg("dumping: %s", err.text);
    assert_true(out->len > 0);
}

/* The number of faults; c->said tells which. */
static inline int care_check(struct care *c, struct journal_check_result *result)
{
    struct err err = ERR_INIT;
    int n;

    c->said[0] = 0;
    n = journal_check(c->k.j, care_say, c, result, &err);
    if (n < 0)
        fail_msg("checking: %s", err.text);
    return n;
}

static inline void care_is_sound(struct care *c)
{
    if (care_check(c, NULL) != 0)
        fail_msg("%s", c->said);
}

/* Sealed segments, oldest first. */
static inline unsigned care_sealed(struct care *c, uint64_t numbers[512])
{
    struct segment_info info;
    unsigned n = 0;

    for (uint64_t at = 0; segment_dir_next(c->k.j->segments, &at, &info) && n < 512;)
        if (info.is_sealed)
            numbers[n++] = info.header.number;
    return n;
}

static inline void care_empty(struct care *c, uint64_t number)
{
    struct err err = ERR_INIT;
    struct segment_info info;

    if (journal_empty_segment(c->k.j, number, 0, &err) < 0)
        fail_msg("emptying %llx: %s", (unsigned long long)number, err.text);
    assert_false(segment_dir_find(c->k.j->segments, number, &info));
}

/* All that are sealed now, in random order. Returns how many. */
static inline unsigned care_empty_all(struct care *c)
{
    uint64_t numbers[512];
    unsigned n = care_sealed(c, numbers), all = n;

    while (n != 0) {
        unsigned i = (unsigned)rng_below(&c->rng, n);

        care_empty(c, numbers[i]);
        numbers[i] = numbers[--n];
    }
    return all;
}

static inline void care_reopen(struct care *c, bool discard_index)
{
    kv_journal_close(&c->k);
    c->site.discard_index = discard_index;
    care_open(c);
    c->site.discard_index = false;
}

#endif
