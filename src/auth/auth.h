/* auth.h - who are you: SASL exchanges and plain passwords, on helper threads, for all protocols.
 *
 * Model:    one `struct auth_exchange` per AUTH/AUTHENTICATE/LOGIN/USER+PASS. Mechanisms come from libsasl2 (PLAIN,
 *           LOGIN, SCRAM-SHA-256), verifiers from dir. The
 *           steps run on helpers; `done` is called on the session's reactor.
 *           Unknown users and wrong passwords look the same and take the same time (a dummy hash is checked).
 * Limits:   auth.failures_max per connection is the protocol's; auth.delay_ms grows with failures of a peer address;
 *           more than auth.waiting_max steps waiting
 *           answer AUTH_BUSY.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "base/confset.h"
#include "base/secret.h"
#include "dir/dir.h"
#include "base/net_addr.h"
#include "reactor/pool.h"

struct auth;

enum auth_plaintext { AUTH_PLAINTEXT_LOOPBACK, AUTH_PLAINTEXT_ALWAYS, AUTH_PLAINTEXT_NEVER };
struct auth_conf {
    uint32_t plaintext; /* without TLS: enum auth_plaintext; default loopback */
    struct key_strs mechanisms; /* default SCRAM-SHA-256, PLAIN, LOGIN */
    uint32_t failures_max; /* per connection, default 3 */
    uint32_t delay_ms; /* after a failure, default 1000; doubles by peer up to 8 times */
    uint32_t waiting_max;
    uint32_t scram_iterations; /* 4096..; default 10000 */
};
extern const struct key_table auth_keys;

int auth_new(struct auth **out, struct dir *dir, struct pool *helpers, const struct clock *clock, struct err *err);
void auth_destroy(struct auth **a);

enum auth_result {
    AUTH_CONTINUE,
    AUTH_OK,
    AUTH_FAILED,
    AUTH_DISABLED,
    AUTH_BUSY,
    AUTH_TEMP,
    AUTH_BAD_MECHANISM,
    AUTH_NEEDS_TLS,
    AUTH_BAD_ENCODING
};

struct auth_peer {
    const char *service; /* "smtp" "imap" "pop" */
    struct net_addr addr;
    bool is_tls;
    slice tls_exporter; /* channel binding data, or empty */
};

/* Space-separated mechanisms to offer to this peer; empty when none may be used (plaintext without TLS). */
void auth_mechanisms(struct auth *a, const struct auth_conf *conf, const struct auth_peer *peer, struct buf *out);

struct auth_exchange;
typedef void auth_done_fn(void *arg, uint64_t session, struct auth_exchange *x);

/* mechanism by name; done is called on `reactor` for every step with session as given. The exchange belongs to the
 * caller between done and the next step;
 * auth_exchange_destroy while a step is under way lets it end by itself (done is not called). */
struct auth_exchange *auth_exchange_new(struct auth *a, struct conf_set *conf, const struct auth_peer *peer,
                                        slice mechanism, struct reactor *reactor, uint64_t session, auth_done_fn *done,
                                        void *arg);
void auth_exchange_destroy(struct auth_exchange **x);
/* initial or next response, decoded (not base64). has_response false: the client sent none. */
void auth_exchange_step(struct auth_exchange *x, slice response, bool has_response);
/* user and password in one go (IMAP LOGIN, POP3 USER/PASS). */
void auth_exchange_password(struct auth_exchange *x, slice user, slice password);

enum auth_result auth_exchange_result(const struct auth_exchange *x);
slice auth_exchange_challenge(
    const struct auth_exchange *x); /* AUTH_CONTINUE; also final data with AUTH_OK (SCRAM server-final) */
bool auth_exchange_has_final(const struct auth_exchange *x);
const struct dir_user *auth_exchange_user(const struct auth_exchange *x); /* AUTH_OK; valid while x lives */
slice auth_exchange_mechanism(const struct auth_exchange *x);

/* Make verifiers for a password; burns processor time, not on a reactor. Into mem. */
int auth_secrets_make(slice password, uint32_t scram_iterations, struct arena *mem, struct dir_secrets *out,
                      struct err *err);

#endif
