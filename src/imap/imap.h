/* imap.h - the IMAP server: IMAP4rev1 (RFC 3501) with the extensions that its CAPABILITY answer names.
 *
 * Model:    one `struct protocol` row for the room net. A session assembles one command at a time out of lines and
 *           literals, parses it as a whole (syntax.h, pure) and runs it through one table of commands (command.c). The
 *           message of an APPEND goes straight into a body writer. What takes long runs in slices; what waits
 *           (passwords, changes of the store) is resumed by an answer that finds the session by its id.
 * Threads:  sessions live on their worker; imap_register from main.
 * Limits:   the keys below; what a client sends takes memory up to imap.command_bytes_max only.
 */
#ifndef IMAP_IMAP_H
#define IMAP_IMAP_H

#include "auth/auth.h"
#include "base/clock.h"
#include "base/keys.h"
#include "net/session.h"
#include "store/store.h"

#define IMAP_KEYS(K)                                                                                                   \
    K(U32, idle_timeout_s, 1800, 1800, 604800, SECONDS, SESSION, "service.imap.idletimeout",                           \
      "Silence after which a logged-in session ends; RFC 3501 5.4 wants 30 minutes at least.")                         \
    K(U32, login_timeout_s, 60, 5, 3600, SECONDS, SESSION, NULL, "Time a client has before it must be logged in.")     \
    K(U32, line_bytes_max, 65536, 8192, 1048576, BYTES, SESSION, NULL, "Longest line of a command.")                   \
    K(U32, command_bytes_max, 1048576, 65536, 67108864, BYTES, SESSION, NULL,                                          \
      "Longest command with its literals; the message of an APPEND does not count.")                                   \
    K(U64, append_bytes_max, 52428800, 65536, 2147483648, BYTES, SESSION, NULL,                                        \
      "Largest message that APPEND takes; announced as APPENDLIMIT.")                                                  \
    K(U64, parse_bytes_max, 134217728, 1048576, 2147483648, BYTES, SESSION, NULL,                                      \
      "Largest message whose parts and text are looked into; a larger one is only read as a whole.")                   \
    K(U32, errors_max, 20, 1, 10000, COUNT, SESSION, NULL, "Malformed commands before the session ends.")              \
    K(BOOL, id, 1, 0, 1, NONE, SESSION, "service.imap.allowid", "Answer the ID command with name and version.")

struct imap_conf {
    IMAP_KEYS(KEY_FIELD)
};
extern const struct key_table imap_keys;

/* The service of net_server_protocol; lives as long as the server. */
struct txlog;
struct imap_service {
    struct journal *journal;
    struct store *store;
    struct auth *auth;
    struct txlog *log; /* may be NULL: authentications are not recorded */
    const struct clock *clock;
};

extern const struct protocol imap_protocol;
void imap_register(void); /* counters */

#endif
