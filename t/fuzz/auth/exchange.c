/* Steps of an exchange with any octets: nobody gets in who does not know a password (none is set), every step is
 * answered, and only a step to be continued has a challenge. The first octet chooses the mechanism, \001 parts the
 * steps.
 * The directory is empty, so that an input costs no hash but one of an unknown user. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/diag.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 6u

struct world {
    struct clock clock;
    struct reactor *reactor;
    struct pool *pool;
    struct dir *dir;
    struct journal *journal;
    struct auth *auth;
    struct conf_set conf;
    struct auth_conf auth_conf;
    struct dir_conf dir_conf;
    struct arena mem;
    char path[64];
    unsigned answers;
};

static void on_conf_destroy(struct snap *s UNUSED)
{
}

static void on_done(void *arg, uint64_t session UNUSED, struct auth_exchange *x UNUSED)
{
    struct world *w = arg;

    w->answers++;
    reactor_stop(w->reactor);
}

static struct world *world; /* made with the first input, ends with the process */

static int on_entry(const char *path, const struct stat *st UNUSED, int type UNUSED, struct FTW *at UNUSED)
{
    return remove(path);
}

static void world_end(void)
{
    pool_destroy(&world->pool);
    auth_destroy(&world->auth);
    reactor_destroy(&world->reactor);
    journal_close(&world->journal);
    dir_destroy(&world->dir);
    nftw(world->path, on_entry, 8, FTW_DEPTH | FTW_PHYS);
    arena_free(&world->mem);
    mem_free(world);
}

static struct world *world_make(void)
{
    struct world *w = mem_alloc(sizeof(*w));
    struct journal_conf conf = { 0 };
    const struct journal_room *rooms[1];
    struct journal_setup setup = { .dir = w->path, .conf = &conf, .rooms = rooms, .room_count = 1, .create = true };
    struct journal_report report;
    struct err err = ERR_INIT;

    diag_set_level(DIAG_ERROR);
    arena_init(&w->mem, 4096);
    clock_init_real(&w->clock);
    setup.clock = &w->clock;
    snprintf(w->path, sizeof(w->path), "%s", "/tmp/posthouse-fuzz-XXXXXX");
    ASSERT(mkdtemp(w->path) != NULL);
    keys_default(&journal_keys, &conf, &w->mem);
    keys_default(&auth_keys, &w->auth_conf, &w->mem);
    keys_default(&dir_keys, &w->dir_conf, &w->mem);
    w->auth_conf.delay_ms = 0;
    conf.segment_bytes = 65536;
    conf.index_map_bytes = 16777216;
    conf.index_ahead_bytes = 1048576;
    snap_init(&w->conf.snap, on_conf_destroy);
    w->conf.section[CONF_AUTH] = &w->auth_conf;
    w->conf.section[CONF_DIR] = &w->dir_conf;
    ASSERT(dir_new(&w->dir, &w->clock, &err) == 0);
    rooms[0] = dir_room(w->dir);
    if (journal_open(&w->journal, &setup, &report, &err) < 0)
        panic("%s", err.text);
    dir_attach(w->dir, w->journal);
    w->reactor = reactor_new("fuzz", &w->clock, &err);
    w->pool = pool_new("fuzz", 1, 10, &err);
    ASSERT(w->reactor != NULL && w->pool != NULL && auth_new(&w->auth, w->dir, w->pool, &w->clock, &err) == 0);
    atexit(world_end);
    return w;
}

static enum auth_result await(struct world *w, struct auth_exchange *x)
{
    unsigned before = w->answers;

    while (w->answers == before)
        reactor_run(w->reactor);
    return auth_exchange_result(x);
}

static void check(const struct auth_exchange *x)
{
    enum auth_result r = auth_exchange_result(x);

    ASSERT(r != AUTH_OK && r != AUTH_DISABLED && r != AUTH_TEMP && r != AUTH_BUSY && r != AUTH_NEEDS_TLS);
    ASSERT(auth_exchange_user(x) == NULL && !auth_exchange_has_final(x));
    ASSERT(r == AUTH_CONTINUE || auth_exchange_challenge(x).len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const mechanisms[] = { "PLAIN", "LOGIN", "SCRAM-SHA-256", "" };
    struct auth_peer peer = { .service = "imap", .is_tls = true };
    struct auth_exchange *x;
    slice in = slice_of(data, size), part;
    unsigned kind, steps = 0;
    bool more = true;

    if (world == NULL)
        world = world_make();
    if (size == 0)
        return 0;
    kind = data[0] & 3;
    if (data[0] & 4)
        peer.tls_exporter = SLICE("0123456789abcdef");
    in = slice_from(in, 1);
    x = auth_exchange_new(world->auth, &world->conf, &peer, slice_str(mechanisms[kind]), world->reactor, 1, on_done,
                          world);
    part = slice_cut(&in, 1, &more);
    if (kind == 3) {
        auth_exchange_password(x, part, in);
        (void)await(world, x);
        more = false;
    } else {
        auth_exchange_step(x, part, (data[0] & 8) == 0);
        more = await(world, x) == AUTH_CONTINUE;
    }
    check(x);
    while (more && steps++ < STEPS_MAX) {
        auth_exchange_step(x, slice_cut(&in, 1, &more), true);
        more = await(world, x) == AUTH_CONTINUE;
        check(x);
    }
    auth_exchange_destroy(&x);
    return 0;
}
