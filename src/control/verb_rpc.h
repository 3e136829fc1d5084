/* verb_rpc.h - verbs that are a method of the status socket: asked of the daemon, or run here when it is down.
 *
 * Model:    the row names the method; its operands ("ADDRESS [TARGET...]") and options ("--name NAME") become the
 *           method's parameters of the same name in lower case. "--password-stdin" reads the first line of standard
 *           input as "password"; a needed password without it is asked for on the terminal.
 */
#ifndef CONTROL_VERB_RPC_H
#define CONTROL_VERB_RPC_H

#include "base/json.h"
#include "control/client.h"
#include "control/verb.h"

struct site;

verb_fn verb_run_rpc;
verb_fn verb_run_status; /* --metrics */
verb_fn verb_run_reload;
verb_fn verb_run_stop;   /* waits until the daemon is gone */

/* Call a method of the daemon or, with VERB_BOTH and no daemon, here. Failures are said; returns the exit code. */
int verb_method(const struct verb_call *call, const char *name, json_t *params, OWNED json_t **result);

/* Shared with the verbs that look after the journal: */
/* Why a directory could not be opened, with what to do next. Returns the exit code. */
int verb_open_failed(const struct verb_call *call, const struct err *err);
/* Open the data of call->dir with its configuration; on failure it is said and the exit code is returned. */
int verb_site_open(const struct verb_call *call, struct site *site, bool discard_index);
void verb_print(const struct verb_call *call, const json_t *result); /* as table, or JSON */
/* The first line of standard input, or typed without echo when it is a terminal. */
int verb_password(struct buf *out, bool confirm, struct err *err);

#endif
