/* store_site.h - a store on a journal in a directory of its own, for the tests of the store.
 *
 * Model:    small segments, so that a few hundred requests fill several; site_reopen closes and opens again, with or
 *           without the index; site_dump is the logical dump, store_check and journal_check judge.
 */
#ifndef T_STORE_SITE_H
#define T_STORE_SITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"
#include "base/mem.h"
#include "base/random.h"
#include "journal/internal.h"
#include "store/internal.h"

struct site {
    char dir[64];
    struct clock clock;
    struct pool *pool;
    struct store *store;
    struct journal *j;
    struct journal_report report;
    struct store_conf conf;
    struct arena mem;
    bool background;        /* of the setup */
    unsigned rebuild_slice;
    char said[4000];
};

static inline void site_say(void *arg, const char *line)
{
    struct site *s = arg;
    size_t len = strlen(s->said);

    snprintf(s->said + len, sizeof(s->said) - len, "%s\n", line);
}

static inline void site_open(struct site *s, bool discard)
{
    struct journal_conf conf = { 0 };
    struct journal_setup setup = { .dir = s->dir, .create = true, .discard_index = discard, .room_count = 1 };
    const struct journal_room *rooms[1];
    struct err err = ERR_INIT;
    struct arena mem;

    arena_init(&mem, 1024);
    keys_default(&journal_keys, &conf, &mem);
    arena_free(&mem);
    conf.segment_bytes = 65536;
    conf.index_map_bytes = 256u << 20;
    conf.index_ahead_bytes = 1u << 20;
    conf.keep_days = 0;
    s->pool = pool_new("helper", 2, 64, &err);
    if (s->pool == NULL || store_new(&s->store, &s->clock, &err) < 0)
        fail_msg("making the store: %s", err.text);
    store_configure(s->store, &s->conf);
    rooms[0] = store_room(s->store);
    setup.conf = &conf;
    setup.clock = &s->clock;
    setup.pool = s->pool;
    setup.rooms = rooms;
    setup.background = s->background;
    setup.rebuild_slice = s->rebuild_slice;
    if (journal_open(&s->j, &setup, &s->report, &err) < 0 || store_attach(s->store, s->j, s->dir, &err) < 0)
        fail_msg("opening %s: %s", s->dir, err.text);
    assert_int_equal(s->report.damaged_places, 0);
}

static inline void site_shut(struct site *s)
{
    journal_close(&s->j);
    store_destroy(&s->store);
    pool_destroy(&s->pool);
}

static inline void site_reopen(struct site *s, bool discard)
{
    site_shut(s);
    site_open(s, discard);
}

static inline void site_begin(struct site *s)
{
    memset(s, 0, sizeof(*s));
    diag_set_level(DIAG_ERROR);
    snprintf(s->dir, sizeof(s->dir), "%s", "/tmp/posthouse-store-XXXXXX");
    if (mkdtemp(s->dir) == NULL)
        fail_msg("no directory for the test");
    clock_init_real(&s->clock);
    arena_init(&s->mem, 4096);
    keys_default(&store_keys, &s->conf, &s->mem);
    site_open(s, false);
}

static inline void site_end(struct site *s)
{
    pid_t pid;

    site_shut(s);
    arena_free(&s->mem);
    pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", s->dir, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

/* S1-S6 hold. */
static inline void site_sound(struct site *s)
{
    struct err err = ERR_INIT;
    int n;

    s->said[0] = 0;
    n = store_check(s->store, site_say, s, &err);
    if (n != 0)
        fail_msg("%d faults: %s", n, s->said);
}

/* And the journal finds nothing either: sums, references, the index against a rebuilt one. */
static inline void site_sound_journal(struct site *s)
{
    struct journal_check_result found;
    struct err err = ERR_INIT;
    int n;

    s->said[0] = 0;
    n = journal_check(s->j, site_say, s, &found, &err);
    if (n != 0)
        fail_msg("%d faults: %s%s", n, s->said, err.text);
}

static inline void site_dump(struct site *s, struct buf *out)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    assert_int_equal(journal_settle(s->j, &err), 0);
    assert_int_equal(journal_read_begin(s->j, &v, &err), 0);
    assert_int_equal(journal_dump(s->j, &v, f, &err), 0);
    fclose(f);
    journal_read_end(&v);
    buf_reset(out);
    buf_put(out, text, len);
    free(text);
}

/* The first line in which two dumps differ. */
static inline void dumps_same(const struct buf *a, const struct buf *b, const char *what)
{
    size_t i = 0, from;

    if (slice_eq(buf_slice(a), buf_slice(b)))
        return;
    while (i < a->len && i < b->len && a->ptr[i] == b->ptr[i])
        i++;
    for (from = i; from > 0 && a->ptr[from - 1] != '\n';)
        from--;
    fail_msg("%s: dumps of %zu and %zu octets differ: %.200s | %.200s", what, a->len, b->len, (char *)a->ptr + from,
             (char *)b->ptr + from);
}

/* Empty every sealed segment, in random order. */
static inline void site_empty(struct site *s, struct rng *rng)
{
    struct err err = ERR_INIT;
    uint64_t numbers[512];
    struct log_segment *list;
    unsigned n = 0, count;

    assert_int_equal(journal_roll(s->j, &err), 0);
    assert_int_equal(log_segments(s->j, &list, &count, &err), 0);
    for (unsigned i = 0; i + 1 < count && n < 512; i++)
        numbers[n++] = list[i].info.header.number;
    mem_free(list);
    while (n != 0) {
        unsigned k = (unsigned)rng_below(rng, n);

        if (journal_empty_segment(s->j, numbers[k], 0, &err) < 0)
            fail_msg("emptying segment %llx: %s", (unsigned long long)numbers[k], err.text);
        numbers[k] = numbers[--n];
    }
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static inline enum store_result site_run(struct site *s, struct store_request *r)
{
    struct err err = ERR_INIT;
    int rc = store_request_wait(s->store, r, &err);

    assert_int_equal(rc, r->result == STORE_OK ? 0 : -1);
    if (r->result == STORE_TEMP || r->result == STORE_FULL)
        print_message("request %d: %s\n", (int)r->what, err.text);
    return r->result;
}

static inline uint64_t site_account(struct site *s, uint64_t owner, const char *name)
{
    struct store_request *r = store_request_new(STORE_ACCOUNT_ENSURE);
    uint64_t account;

    r->owner = owner;
    r->owner_name = slice_str(name);
    assert_int_equal(site_run(s, r), STORE_OK);
    account = r->account;
    assert_true(account != 0 && r->made_mailbox != 0);
    store_request_destroy(&r);
    return account;
}

/* Requests that name a mailbox, and perhaps a second name. */
static inline enum store_result site_name(struct site *s, enum store_what what, uint64_t account, const char *name,
                                          const char *other)
{
    struct store_request *r = store_request_new(what);
    enum store_result result;

    r->account = account;
    r->name = slice_str(name);
    r->new_name = r->to_name = slice_str(other);
    result = site_run(s, r);
    store_request_destroy(&r);
    return result;
}

static inline OWNED struct store_request *site_append(struct site *s, uint64_t account, const char *name, slice octets)
{
    struct store_request *r = store_request_new(STORE_APPEND);
    struct err err = ERR_INIT;

    r->account = account;
    r->name = slice_str(name);
    r->body = body_writer_new(s->j);
    assert_int_equal(body_writer_write(r->body, octets, &err), 0);
    assert_int_equal(body_writer_finish(r->body, &err), 0);
    return r;
}

static inline bool site_find(struct site *s, uint64_t account, const char *name, struct store_mailbox *out)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    bool found;

    assert_int_equal(journal_read_begin(s->j, &v, &err), 0);
    found = store_mailbox_find(s->store, &v, account, slice_str(name), out);
    journal_read_end(&v);
    out->name = SLICE_NONE; /* died with the view */
    return found;
}

#endif
