/* internal.h - what the files of auth share; nobody else includes it.
 *
 *   auth.c      configuration, counters, mechanisms      exchange.c  life of an exchange, on its reactor
 *   login.c     one step, on a helper                    library.c   libsasl2: set-up and call-backs
 *   verifier.c  hashes                                   peers.c     addresses that failed
 *   known.c     passwords that were right lately
 */
#ifndef AUTH_INTERNAL_H
#define AUTH_INTERNAL_H

#include <pthread.h>
#include <sasl/sasl.h>
#include <stdatomic.h>

#include "auth/auth.h"
#include "auth/sha256.h"
#include "base/counter.h"
#include "base/mem.h"

/* --- peers.c --- */
struct peers;
OWNED struct peers *peers_new(unsigned max);
void peers_destroy(struct peers **p);
/* Count a failure of the address; returns how often it failed before within forget_ms. Not thread-safe. */
unsigned peers_failed(struct peers *p, const struct net_addr *addr, int64_t now_ms, int64_t forget_ms);

/* --- verifier.c --- */
#define PASSWORD_MAX_OCTETS 511 /* crypt(5): CRYPT_MAX_PASSPHRASE_SIZE - 1 */
#define SCRAM_SALT_BYTES 16
/* Is it the password of the hash? An empty hash: false, after the same work. Counts auth.hashes. */
bool verifier_check(slice hash, slice password);
/* RFC 5803 verifier that no password fits, always the same for a name. */
slice verifier_fake(slice secret, slice name, uint32_t iterations, struct arena *mem);

/* --- known.c: nothing here is thread-safe but known_mac --- */
struct known;
OWNED struct known *known_new(unsigned max);
void known_destroy(struct known **c);
void known_mac(const struct known *c, slice verifier, slice password, unsigned char mac[SHA256_BYTES]);
bool known_has(struct known *c, const unsigned char mac[SHA256_BYTES], int64_t now_ms);
void known_put(struct known *c, const unsigned char mac[SHA256_BYTES], int64_t until_ms);

/* --- auth.c --- */
#define AUTH_COUNTERS(C)                                                   \
    C(OK_SMTP, "ok_smtp", "Successful logins by SMTP.")                    \
    C(OK_IMAP, "ok_imap", "Successful logins by IMAP.")                    \
    C(OK_POP, "ok_pop", "Successful logins by POP3.")                      \
    C(OK_OTHER, "ok_other", "Successful logins elsewhere.")                \
    C(FAILED_SMTP, "failed_smtp", "Refused logins by SMTP.")               \
    C(FAILED_IMAP, "failed_imap", "Refused logins by IMAP.")               \
    C(FAILED_POP, "failed_pop", "Refused logins by POP3.")                 \
    C(FAILED_OTHER, "failed_other", "Refused logins elsewhere.")           \
    C(BUSY, "busy", "Logins put off because too many were waiting.")       \
    C(TEMP, "temp_errors", "Logins that could not be decided.")            \
    C(MALFORMED, "malformed", "Malformed responses.")                      \
    C(DELAYED, "delayed", "Refusals that were answered late on purpose.")  \
    C(PROXIED, "proxied", "Administrators who logged in for another.")     \
    C(HASHES, "hashes", "Passwords hashed.")                               \
    C(CACHED, "cached", "Passwords known to be right from a login shortly before.") \
    C(STALE, "stale", "Logins refused because the user changed meanwhile.")
enum auth_counter {
#define C(id, name, text) AUTH_C_##id,
    AUTH_COUNTERS(C)
#undef C
    AUTH_C_COUNT
};
void auth_count(enum auth_counter c);

struct auth {
    struct dir *dir;
    struct pool *helpers;
    const struct clock *clock;
    unsigned char secret[DIR_SERVER_SECRET_BYTES]; /* used while dir has none */
    _Atomic unsigned waiting;                      /* steps submitted and not yet run */
    pthread_mutex_t lock;                          /* lock rank 50: peers, known */
    struct peers *peers;                           /* NULL until the first failure */
    struct known *known;                           /* NULL until the first password; stays, its key too */
};

enum mechanism_flags { MECH_SHOWS_PASSWORD = 1, MECH_BINDS_CHANNEL = 2, MECH_NEVER_EMPTY = 4 };
struct mechanism {
    slice name;
    unsigned flags;
};
/* The mechanism if the configuration allows it and, for -PLUS, the peer's TLS gives binding data. */
const struct mechanism *mechanism_find(const struct auth_conf *conf, const struct auth_peer *peer, slice name);

/* --- exchange.c, login.c --- */

struct identity {
    bool is_asked;
    struct address address; /* as asked for */
    enum dir_result result;
    struct dir_user user;
    struct dir_secrets *secrets;
};
enum exchange_kind { EXCHANGE_SASL, EXCHANGE_PASSWORD };

/* owner: the reactor; while is_running the helper or the timer */
struct auth_exchange {
    struct auth *auth;
    struct conf_set *conf;
    const struct auth_conf *auth_conf;
    const struct dir_conf *dir_conf;
    struct auth_peer peer;
    struct reactor *reactor;
    uint64_t session;
    auth_done_fn *done;
    void *arg;
    struct arena mem;
    slice mechanism;
    enum exchange_kind kind;
    const struct mechanism *row; /* NULL for passwords */

    struct job job;
    struct post post;
    struct timer timer;
    bool is_running, is_abandoned, is_over;

    struct secret input; /* response, or password */
    bool has_input;
    slice user; /* of a password */

    sasl_conn_t *conn;
    sasl_callback_t callbacks[4];
    sasl_channel_binding_t binding;
    struct identity authc, authz;
    bool is_proxied;
    char shown[64 + 1]; /* the user as given, for diagnostics */
    const char *reason;

    enum auth_result result;
    struct buf challenge;
    bool has_final;
};

void login_run(struct auth_exchange *x);              /* on a helper */
void login_identify(struct auth_exchange *x, struct identity *id, slice name);
bool login_password(struct auth_exchange *x, slice password);
bool login_may_proxy(struct auth_exchange *x);

/* --- library.c --- */
int library_init(struct err *err);
void library_done(void);
int library_step(struct auth_exchange *x, const char **out, unsigned *out_len); /* SASL_ code */

#endif
