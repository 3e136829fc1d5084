#include "auth/internal.h"

#include "base/random.h"

/* --- configuration ------------------------------------------------------------------------------------------------ */

#define NUMBER(field_, def_, min_, max_, unit_, reload_, legacy_, text_)                                               \
    { .name = #field_, .type = KEY_U32, .offset = offsetof(struct auth_conf, field_), .def = def_, .min = min_,        \
      .max = max_, .unit = UNIT_##unit_, .reload = RELOAD_##reload_, .legacy = legacy_, .text = text_ }

static const struct key_row rows[] = {
    { .name = "plaintext",
      .type = KEY_ENUM,
      .offset = offsetof(struct auth_conf, plaintext),
      .def = AUTH_PLAINTEXT_LOOPBACK,
      .words = "loopback|always|never",
      .unit = UNIT_NONE,
      .reload = RELOAD_SESSION,
      .legacy = "plaintextmincipher",
      .text = "Where passwords may be sent without TLS: from this machine only, from anywhere, or not at all." },
    { .name = "mechanisms",
      .type = KEY_STRS,
      .offset = offsetof(struct auth_conf, mechanisms),
      .def_text = "SCRAM-SHA-256|PLAIN|LOGIN",
      .min = 1,
      .max = 20,
      .unit = UNIT_NONE,
      .reload = RELOAD_SESSION,
      .text = "SASL mechanisms to offer, in this order: SCRAM-SHA-256, PLAIN, LOGIN. With SCRAM-SHA-256 comes "
              "SCRAM-SHA-256-PLUS where TLS gives what it needs." },
    NUMBER(failures_max, 3, 1, 100, COUNT, SESSION, NULL, "Failed logins after which a connection is closed."),
    NUMBER(delay_ms, 1000, 0, 60000, MS, SESSION, NULL,
           "A failed login is answered so much later; up to eight times as late when the same address fails on."),
    NUMBER(forget_s, 600, 1, 86400, SECONDS, SESSION, NULL, "Failures of an address are forgotten after this time."),
    NUMBER(peers_max, 4096, 4, 1000000, COUNT, RESTART, NULL, "Addresses whose failures are remembered."),
    NUMBER(waiting_max, 500, 1, 100000, COUNT, SESSION, NULL,
           "Logins that may wait for a helper thread; beyond it they get a temporary error."),
    NUMBER(scram_iterations, 10000, 4096, 65536, COUNT, SESSION, NULL,
           "Iterations of SCRAM verifiers made from now on; RFC 7677 4 wants at least 4,096."),
    NUMBER(cache_s, 300, 0, 86400, SECONDS, SESSION, NULL,
           "So long a right password is not hashed again at the next login; only a keyed hash of it is kept, in memory."
           " A changed password counts at once. 0: every login is hashed."),
    NUMBER(cache_max, 4096, 4, 1000000, COUNT, RESTART, NULL, "Passwords remembered for auth.cache_s."),
};
#undef NUMBER

const struct key_table auth_keys = {
    .section = "auth",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct auth_conf),
    .text = "How users show who they are.",
};

/* --- counters ----------------------------------------------------------------------------------------------------- */

static struct counter auth_counters[] = {
#define C(id, name_, text_) { .name = "auth." name_, .text = text_, .kind = COUNTER_TOTAL },
    AUTH_COUNTERS(C)
#undef C
};

void auth_register(void)
{
    counter_register(auth_counters, ARRAY_LEN(auth_counters));
}

void auth_count(enum auth_counter c)
{
    counter_add(&auth_counters[c], 1);
}

/* --- mechanisms --------------------------------------------------------------------------------------------------- */

static const struct mechanism mechanisms[] = {
    { { (const unsigned char *)"SCRAM-SHA-256-PLUS", 18 }, MECH_BINDS_CHANNEL }, /* RFC 7677, RFC 9266 */
    { { (const unsigned char *)"SCRAM-SHA-256", 13 }, 0 },                       /* RFC 7677 */
    { { (const unsigned char *)"PLAIN", 5 }, MECH_SHOWS_PASSWORD },              /* RFC 4616 */
    /* draft-murchison-sasl-login */
    { { (const unsigned char *)"LOGIN", 5 }, MECH_SHOWS_PASSWORD | MECH_NEVER_EMPTY },
};

bool auth_plaintext_allowed(const struct auth_conf *conf, const struct auth_peer *peer)
{
    if (peer->is_tls || conf->plaintext == AUTH_PLAINTEXT_ALWAYS)
        return true;
    return conf->plaintext == AUTH_PLAINTEXT_LOOPBACK && net_addr_is_loopback(&peer->addr);
}

static bool is_configured(const struct auth_conf *conf, slice name)
{
    for (size_t i = 0; i < conf->mechanisms.count; i++) {
        if (slice_eq_nocase(conf->mechanisms.items[i], name))
            return true;
    }
    return false;
}

const struct mechanism *mechanism_find(const struct auth_conf *conf, const struct auth_peer *peer, slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
        const struct mechanism *m = &mechanisms[i];
        slice base = m->name;

        if (!slice_eq_nocase(m->name, name))
            continue;
        if (m->flags & MECH_BINDS_CHANNEL)
            base.len -= SLICE("-PLUS").len;
        if ((m->flags & MECH_BINDS_CHANNEL) && peer->tls_exporter.len == 0)
            return NULL;
        return is_configured(conf, base) || is_configured(conf, m->name) ? m : NULL;
    }
    return NULL;
}

static void offer(struct buf *out, slice name)
{
    if (out->len > 0)
        buf_put_byte(out, ' ');
    buf_put_slice(out, name);
}

void auth_mechanisms(struct auth *a UNUSED, const struct auth_conf *conf, const struct auth_peer *peer, struct buf *out)
{
    struct buf list = BUF_INIT;

    for (size_t i = 0; i < conf->mechanisms.count; i++) {
        const struct mechanism *m = mechanism_find(conf, peer, conf->mechanisms.items[i]);

        if (m == NULL || ((m->flags & MECH_SHOWS_PASSWORD) && !auth_plaintext_allowed(conf, peer)))
            continue;
        if (slice_eq(m->name, SLICE("SCRAM-SHA-256")) && mechanism_find(conf, peer, SLICE("SCRAM-SHA-256-PLUS")))
            offer(&list, SLICE("SCRAM-SHA-256-PLUS"));
        if (!(m->flags & MECH_BINDS_CHANNEL))
            offer(&list, m->name);
    }
    buf_put_slice(out, buf_slice(&list));
    buf_free(&list);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

int auth_new(struct auth **out, struct dir *dir, struct pool *helpers, const struct clock *clock, struct err *err)
{
    struct auth *a;

    *out = NULL;
    auth_register();
    if (library_init(err) < 0)
        return -1;
    a = mem_alloc(sizeof(*a));
    a->dir = dir;
    a->helpers = helpers;
    a->clock = clock;
    random_octets(a->secret, sizeof(a->secret));
    pthread_mutex_init(&a->lock, NULL);
    *out = a;
    return 0;
}

void auth_destroy(struct auth **a)
{
    if (*a == NULL)
        return;
    library_done();
    peers_destroy(&(*a)->peers);
    known_destroy(&(*a)->known);
    pthread_mutex_destroy(&(*a)->lock);
    mem_wipe((*a)->secret, sizeof((*a)->secret));
    mem_free(*a);
    *a = NULL;
}
