/* pop3.h - the POP3 server: RFC 1939 with CAPA (2449), STLS (2595), AUTH (5034), response codes (2449, 3206).
 *
 * Model:    one `struct protocol` row for the room net. A session sees the INBOX as it was at login (a store view);
 *           DELE marks are carried out by
 *           one request at QUIT.
 * Threads:  sessions live on their worker.
 * Limits:   the keys below.
 */
#ifndef POP3_POP3_H
#define POP3_POP3_H

#include "auth/auth.h"
#include "base/keys.h"
#include "net/session.h"
#include "store/store.h"

#define POP3_KEYS(K) \
    K(U32, idle_timeout_s, 600, 600, 86400, SECONDS, SESSION, "service.pop.idletimeout", \
      "Silence after which a session ends without deleting anything; RFC 1939 3 wants ten minutes at least.") \
    K(U32, login_timeout_s, 60, 5, 3600, SECONDS, SESSION, NULL, "Time a client has before it must be logged in.") \
    K(U32, errors_max, 20, 1, 10000, COUNT, SESSION, NULL, "Malformed or refused commands before the session ends.")

struct pop3_conf {
    POP3_KEYS(KEY_FIELD)
};
extern const struct key_table pop3_keys;

/* The service of net_server_protocol; lives as long as the server. */
struct txlog;
struct pop3_service {
    struct journal *journal;
    struct store *store;
    struct auth *auth;
    struct txlog *log; /* may be NULL: authentications are not recorded */
};

extern const struct protocol pop3_protocol;
void pop3_register(void); /* counters */

#endif
