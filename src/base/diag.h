/* diag.h - diagnostics for the operator: what goes wrong, what starts and stops. Mail traffic goes to the transaction
 * log instead.
 *
 * Model:    one line a call: time, level, room, text. The sink is a file descriptor (standard error at first). Lines
 *           over 1,000 octets are cut and end in "..."; control characters and what is no UTF-8 are shown as \xHH, so
 *           that a peer's words cannot forge lines. errno is kept.
 * Threads:  any; one write(2) a line.
 */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H

#include "base/own.h"

enum diag_level { DIAG_ERROR, DIAG_WARN, DIAG_INFO, DIAG_DEBUG };

void diag_at(enum diag_level level, const char *room, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define diag_error(room, ...) diag_at(DIAG_ERROR, room, __VA_ARGS__)
#define diag_warn(room, ...) diag_at(DIAG_WARN, room, __VA_ARGS__)
#define diag_info(room, ...) diag_at(DIAG_INFO, room, __VA_ARGS__)
#define diag_debug(room, ...) diag_at(DIAG_DEBUG, room, __VA_ARGS__)

void diag_set_level(enum diag_level level); /* lines above it are dropped; default DIAG_INFO */
void diag_set_fd(int fd);                   /* borrowed; default 2 */
void diag_set_prefix_time(int on);          /* 0 when a service manager stamps lines itself */

#endif
