/* auth_site.h - a directory with a few users, helpers, a reactor, and exchanges on it. */
#ifndef AUTH_SITE_H
#define AUTH_SITE_H

#include "../dir/dir_site.h"

#include "auth/auth.h"
#include "base/counter.h"

#define ITERATIONS 4096u

struct site {
    struct dir_site dir;
    struct pool *pool;
    struct reactor *reactor;
    struct auth *auth;
    struct conf_set conf;
    struct auth_conf auth_conf;
    struct auth_peer peer;
    struct auth_exchange *x; /* the one that answered last */
    unsigned answers;
    struct dir_secrets *change; /* given to user in the middle of the next dialogue */
};

static inline void on_conf_destroy(struct snap *s)
{
    (void)s;
}

static inline struct dir_secrets secrets_of(struct site *s, const char *password)
{
    struct dir_secrets made = { SLICE_NONE, SLICE_NONE };
    struct err err = ERR_INIT;

    if (auth_secrets_make(slice_str(password), ITERATIONS, &s->dir.mem, &made, &err) < 0)
        fail_msg("%s", err.text);
    return made;
}

static inline void site_begin_at(struct site *s, bool is_fake)
{
    struct dir_secrets secrets;
    struct err err = ERR_INIT;

    memset(s, 0, sizeof(*s));
    dir_site_begin_at(&s->dir, is_fake);
    keys_default(&auth_keys, &s->auth_conf, &s->dir.mem);
    s->auth_conf.delay_ms = 0;
    s->auth_conf.cache_s = 0; /* every hash is counted */
    s->auth_conf.scram_iterations = ITERATIONS;
    snap_init(&s->conf.snap, on_conf_destroy);
    s->conf.section[CONF_AUTH] = &s->auth_conf;
    s->conf.section[CONF_DIR] = &s->dir.conf;
    assert_int_equal(net_addr_parse(SLICE("127.0.0.1:40000"), &s->peer.addr, &err), 0);
    s->peer.service = "imap";
    s->pool = pool_new("helper", 2, 100, &err);
    s->reactor = reactor_new("test", &s->dir.clock, &err);
    assert_non_null(s->pool);
    assert_non_null(s->reactor);
    if (auth_new(&s->auth, s->dir.dir, s->pool, &s->dir.clock, &err) < 0)
        fail_msg("%s", err.text);
    dir_site_do(&s->dir, DIR_DOMAIN_ADD, "one.example", NULL, NULL);
    secrets = secrets_of(s, "pencil");
    dir_site_do(&s->dir, DIR_USER_ADD, "user", NULL, &secrets);
    dir_site_do(&s->dir, DIR_USER_ADD, "gone", "{\"status\": \"inactive\"}", &secrets);
    dir_site_do(&s->dir, DIR_USER_ADD, "empty", NULL, NULL);
    secrets = secrets_of(s, "master");
    dir_site_do(&s->dir, DIR_USER_ADD, "boss", "{\"admin\": true}", &secrets);
}

static inline void site_begin(struct site *s)
{
    site_begin_at(s, false);
}

static inline void site_end(struct site *s)
{
    auth_exchange_destroy(&s->x);
    pool_destroy(&s->pool);
    while (reactor_turn(s->reactor))
        ;
    reactor_destroy(&s->reactor);
    auth_destroy(&s->auth);
    assert_int_equal(atomic_load(&s->conf.snap.refs), 1);
    dir_site_end(&s->dir);
}

static inline void on_done(void *arg, uint64_t session, struct auth_exchange *x)
{
    struct site *s = arg;

    assert_int_equal(session, 77);
    assert_ptr_equal(x, s->x);
    s->answers++;
    reactor_stop(s->reactor);
}

static inline enum auth_result await(struct site *s)
{
    unsigned before = s->answers;

    while (s->answers == before)
        reactor_run(s->reactor);
    return auth_exchange_result(s->x);
}

static inline void begin(struct site *s, const char *mechanism)
{
    auth_exchange_destroy(&s->x);
    s->x = auth_exchange_new(s->auth, &s->conf, &s->peer, slice_str(mechanism), s->reactor, 77, on_done, s);
}

static inline enum auth_result step(struct site *s, slice response)
{
    auth_exchange_step(s->x, response, true);
    return await(s);
}

static inline enum auth_result password(struct site *s, const char *user, const char *text)
{
    begin(s, "");
    auth_exchange_password(s->x, slice_str(user), slice_str(text));
    return await(s);
}

static inline int64_t count(const char *name)
{
    struct counter *c = counter_find(name);

    assert_non_null(c);
    return counter_get(c);
}

static inline const char *who(struct site *s)
{
    const struct dir_user *u = auth_exchange_user(s->x);

    return u == NULL ? "" : dir_site_text(&s->dir, u->address);
}

#endif
