/* auth.h - who are you: SASL exchanges and plain passwords, on helper threads, for all protocols.
 *
 * Model:    one `struct auth_exchange` per AUTH/AUTHENTICATE/LOGIN/USER+PASS. Mechanisms come from libsasl2 (PLAIN,
 *           LOGIN, SCRAM-SHA-256, and SCRAM-SHA-256-PLUS where TLS gave channel binding data), verifiers from dir. The
 *           steps run on helpers; `done` is called on the session's reactor.
 *           Unknown users and wrong passwords look the same and take the same time: a password is always hashed, and
 *           an unknown user has a SCRAM salt of their own, the same at every try and after every restart. That a user
 *           is disabled is said only to who knows the password.
 *           One may act for another (authorization identity) who is an administrator, nobody else.
 *           A right password is not hashed again for auth.cache_s, unless it was changed. A user who was changed or
 *           disabled while a login was under way is not let in.
 * Limits:   auth.failures_max per connection is the protocol's to count. A failure is answered after auth.delay_ms,
 *           twice, four and eight times as late when the peer's address (IPv6: its /64) failed before within
 *           auth.forget_s; auth.peers_max addresses are remembered. More than auth.waiting_max steps waiting answer
 *           AUTH_BUSY.
 * Threads:  exchanges belong to their session's reactor. auth_mechanisms, auth_secrets_make: any.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "base/confset.h"
#include "base/net_addr.h"
#include "base/secret.h"
#include "dir/dir.h"
#include "reactor/pool.h"

struct auth;

enum auth_plaintext { AUTH_PLAINTEXT_LOOPBACK, AUTH_PLAINTEXT_ALWAYS, AUTH_PLAINTEXT_NEVER };
struct auth_conf {
    uint32_t plaintext; /* PLAIN, LOGIN and plain passwords without TLS: enum auth_plaintext */
    struct key_strs mechanisms;
    uint32_t failures_max; /* per connection */
    uint32_t delay_ms;
    uint32_t forget_s;
    uint32_t peers_max;
    uint32_t waiting_max;
    uint32_t scram_iterations;
    uint32_t cache_s; /* 0: no cache */
    uint32_t cache_max;
};
extern const struct key_table auth_keys;

/* Once a process, before any exchange: sets up libsasl2. helpers: borrowed; goes before auth does. */
int auth_new(struct auth **out, struct dir *dir, struct pool *helpers, const struct clock *clock, struct err *err);
void auth_destroy(struct auth **a);
void auth_register(void); /* the counters; auth_new does it, too */

enum auth_result {
    AUTH_CONTINUE,
    AUTH_OK,
    AUTH_FAILED,
    AUTH_DISABLED,
    AUTH_BUSY,
    AUTH_TEMP,
    AUTH_BAD_MECHANISM,
    AUTH_NEEDS_TLS,
    AUTH_BAD_ENCODING /* the response is malformed; nobody was named yet */
};

struct auth_peer {
    const char *service; /* "smtp" "imap" "pop" */
    struct net_addr addr;
    bool is_tls;
    slice tls_exporter; /* channel binding data (RFC 9266), or empty */
};

#define AUTH_RESPONSE_MAX_OCTETS 8192 /* decoded; SCRAM's own limit is 2,048 */

/* Space-separated mechanisms to offer to this peer; empty when none may be used. Without TLS those that show the
 * password are offered as auth.plaintext says. */
void auth_mechanisms(struct auth *a, const struct auth_conf *conf, const struct auth_peer *peer, struct buf *out);
/* May this peer send a password as it is (LOGIN, USER/PASS)? False: LOGINDISABLED and the like. */
bool auth_plaintext_allowed(const struct auth_conf *conf, const struct auth_peer *peer);

struct auth_exchange;
typedef void auth_done_fn(void *arg, uint64_t session, struct auth_exchange *x);

/* mechanism by name (ignored for auth_exchange_password); done is called on `reactor` for every step with session as
 * given, never before the step returned. The exchange belongs to the caller between done and the next step;
 * auth_exchange_destroy while a step is under way lets it end by itself (done is not called). */
struct auth_exchange *auth_exchange_new(struct auth *a, struct conf_set *conf, const struct auth_peer *peer,
                                        slice mechanism, struct reactor *reactor, uint64_t session, auth_done_fn *done,
                                        void *arg);
void auth_exchange_destroy(struct auth_exchange **x);
/* initial or next response, decoded (not base64), copied. has_response false: the client sent none. */
void auth_exchange_step(struct auth_exchange *x, slice response, bool has_response);
/* user and password in one go (IMAP LOGIN, POP3 USER/PASS), copied. */
void auth_exchange_password(struct auth_exchange *x, slice user, slice password);

enum auth_result auth_exchange_result(const struct auth_exchange *x);
/* AUTH_CONTINUE; also final data with AUTH_OK (SCRAM server-final). When the protocol's success reply has no place for
 * final data: send it as a challenge, await an empty response, then succeed; no further step is called. */
slice auth_exchange_challenge(const struct auth_exchange *x);
bool auth_exchange_has_final(const struct auth_exchange *x);
const struct dir_user *auth_exchange_user(const struct auth_exchange *x); /* AUTH_OK; valid while x lives */
/* For logs: the user as the client gave it (perhaps cut, perhaps nobody), and why it failed (NULL: it did not). */
slice auth_exchange_claimed(const struct auth_exchange *x);
const char *auth_exchange_reason(const struct auth_exchange *x);
slice auth_exchange_mechanism(const struct auth_exchange *x); /* "PASSWORD" for auth_exchange_password */

/* Make verifiers for a password; burns processor time, not on a reactor. Into mem. ERR_SYNTAX: empty, over 511 octets,
 * or with a NUL. */
int auth_secrets_make(slice password, uint32_t scram_iterations, struct arena *mem, struct dir_secrets *out,
                      struct err *err);

#endif
