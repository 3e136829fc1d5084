/* echo.h - a tiny protocol that uses all that net/session.h offers; for the tests of the room net.
 *
 * Commands, one a line: "echo TEXT", "octets N" + N octets, "data" + a dot-stuffed body (answers its length and
 * checksum), "big N" (N octets of output), "file N" (N octets of the service's file), "wait" (until session_wake),
 * "tls", "busy", "quit". Lines of at most ECHO_LINE_MAX octets.
 */
#ifndef T_LIB_ECHO_H
#define T_LIB_ECHO_H

#include "net/session.h"

#define ECHO_LINE_MAX 100

enum echo_state { ECHO_GREET, ECHO_COMMAND, ECHO_OCTETS, ECHO_DATA, ECHO_BIG, ECHO_WAIT, ECHO_TLS };

struct echo_service {
    int fd; /* of the file */
    _Atomic unsigned released, opened, closed, timed_out, stopped; /* workers share it */
};

struct echo_session {
    struct session s; /* first */
    enum echo_state state;
    size_t left;
    uint64_t sum, len;
    bool is_bad, had_input;
};

extern const struct protocol echo_protocol;

#endif
