/* client.h - the other end of the status socket: what the command does when a daemon runs.
 *
 * Threads:  one owner; every call waits.
 * Errors:   client_open: ERR_NOTFOUND when no daemon listens in this directory; client_call: what the method said, with
 *           its kind and its hint.
 */
#ifndef CONTROL_CLIENT_H
#define CONTROL_CLIENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

struct client_conn {
    int fd; /* -1: closed */
    struct buf in;
};

typedef void client_event_fn(void *arg, const json_t *params);

int client_open(struct client_conn *c, const char *dir, struct err *err);
/* params: an object or NULL. event may be NULL. hint: may be NULL; what to do next about a failure, or "". */
int client_call(struct client_conn *c, const char *method, json_t *params, client_event_fn *event, void *arg,
                OWNED json_t **result, char hint[200], struct err *err);
/* Wait until the daemon closed its end. 0, or -1 with ERR_TEMP after timeout_ms. */
int client_wait_end(struct client_conn *c, int timeout_ms, struct err *err);
void client_close(struct client_conn *c);

#endif
