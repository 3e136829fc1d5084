/* status.h - the status socket: DIR/run/status.sock, JSON-RPC 2.0, one object a line.
 *
 * Model:    a unix socket on the main thread's reactor. Who may speak is decided by the kernel's word about the peer:
 *           root and the daemon's own user. A connection has one call at a time; further lines wait in the socket.
 *           Methods (control/rpc.h) run where their row says; while one runs its events go out as notifications
 *           {"method": "event", "params": {…}}. Connections stay until the end of the process, so that a client sees
 *           by the end of its connection that a stop is complete.
 * Threads:  the main thread; methods on helpers.
 * Limits:   control.clients_max, control.request_bytes.
 */
#ifndef CONTROL_STATUS_H
#define CONTROL_STATUS_H

#include "control/rpc.h"

#define STATUS_SOCKET "run/status.sock"

struct status;

/* env: borrowed for the life of the server. A socket left by a dead daemon is replaced: whoever calls this holds the
 * journal's lock. */
int status_open(struct status **out, struct reactor *reactor, struct rpc_env *env, struct err *err);
/* No new calls; those that run are answered. True when none runs any more: else call again after the reactor turned. */
bool status_quiesce(struct status *s);
void status_close(struct status **s); /* NULL allowed; no call runs */

/* Fill a sun_path that stands for DIR/STATUS_SOCKET however long DIR is; *dir_fd is to be closed after use. */
struct sockaddr_un;
int status_address(const char *dir, struct sockaddr_un *out, int *dir_fd, struct err *err);

#endif
