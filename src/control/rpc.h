/* rpc.h - what can be asked: the methods of the status socket, as rows, and the running of one call.
 *
 * Model:    a method is a row {name, parameters, where it runs, function}. The daemon runs calls that came over its
 *           socket (control/status.h); a verb whose daemon is down runs the same function on the data it opened itself.
 *           A function fills call->result or err, and call->hint with what to do next.
 * Threads:  RPC_MAIN and RPC_LATER functions: the daemon's main thread, and they do not wait. All others: a helper, so
 *           they may wait for the journal; env is only read there, and what they reach through it has rules of its
 *           own.
 * Errors:   JSON-RPC 2.0 codes on the wire; a function's own failures are code -32000 with {"kind", "hint"} as data.
 */
#ifndef CONTROL_RPC_H
#define CONTROL_RPC_H

#include "base/confset.h"
#include "control/site.h"
#include "net/server.h"

struct channel_service;
struct client_pool;
struct dns;
struct scheduler;
struct txlog;
struct rpc_call;
typedef int rpc_fn(struct rpc_call *call, struct err *err);

enum rpc_flags {
    RPC_MAIN = 1,    /* on the main thread */
    RPC_LATER = 2,   /* on the main thread, and answered later by rpc_answer */
    RPC_OFFLINE = 4, /* works without a daemon */
    RPC_LONG = 8,    /* may take minutes: the watchdog does not count it */
};

enum rpc_type { RPC_STR, RPC_SECRET, RPC_INT, RPC_BOOL, RPC_STRS };

struct rpc_param { /* a row with name NULL ends the list */
    const char *name;
    enum rpc_type type;
    bool is_needed;
    const char *text;
};

struct rpc_method {
    const char *name; /* "user.add" */
    const struct rpc_param *params;
    unsigned flags;
    rpc_fn *run;
    const char *text;
};

/* What calls work on. In the daemon: owner main, changed only there; conf is replaced by a reload. */
struct rpc_env {
    const char *dir;
    struct site *site;
    struct conf_set *conf;
    /* NULL and 0 without a daemon: */
    struct net_server *net;
    struct client_pool *clients; /* connections to others */
    struct reactor *reactor; /* of the main thread */
    struct scheduler *scheduler;
    struct channel_service *channels;
    struct dns *dns;
    struct txlog *log; /* the transaction log */
    int64_t began_ms; /* monotonic */
    void *daemon;
    void (*reload)(void *daemon, struct rpc_call *call); /* answers it later */
    void (*stop)(void *daemon);
};

#define RPC_HINT_BYTES 200

struct rpc_call {
    const struct rpc_env *env;
    struct conf_set *conf; /* the set the call began with */
    const json_t *params;  /* an object that rpc_params_check accepted */
    json_t *result;        /* out */
    struct err err;
    char hint[RPC_HINT_BYTES];
    /* Progress and findings while it runs, from the thread it runs on; NULL: nobody listens. */
    void (*event)(struct rpc_call *call, TAKES json_t *event);
    void (*answered)(struct rpc_call *call); /* RPC_LATER */
};

extern const struct rpc_method rpc_methods[];
extern const size_t rpc_method_count;

const struct rpc_method *rpc_find(slice name);
const char *rpc_nearest(slice name); /* NULL when none is near */

/* Are all needed there, each of its type, none unknown? ERR_SYNTAX. params may be NULL. */
int rpc_params_check(const struct rpc_method *m, const json_t *params, struct err *err);
/* A word of a command line as the parameter's type wants it; NULL with err when it does not fit. */
OWNED json_t *rpc_param_value(const struct rpc_param *p, const char *text, struct err *err);

slice rpc_str(const struct rpc_call *call, const char *name); /* empty when not given */
void rpc_hint(struct rpc_call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);
void rpc_say(struct rpc_call *call, const char *line); /* an event {"text": line} */

/* The result or the error of an RPC_LATER call is in the call: it is answered now. */
void rpc_answer(struct rpc_call *call);

/* err_kind_name backwards; ERR_TEMP for an unknown word. */
enum err_kind rpc_kind(slice name);

/* Methods live with what they are about. */
rpc_fn rpc_status, rpc_metrics, rpc_sessions, rpc_reload, rpc_stop, rpc_check, rpc_rebuild;      /* rpc_server.c */
rpc_fn rpc_user_add, rpc_user_list, rpc_user_show, rpc_user_set, rpc_user_delete, rpc_user_passwd; /* rpc_dir.c */
rpc_fn rpc_domain_add, rpc_domain_list, rpc_domain_delete;
rpc_fn rpc_alias_set, rpc_alias_list, rpc_alias_delete;
rpc_fn rpc_mailbox_list, rpc_mailbox_create, rpc_mailbox_delete, rpc_quota_get, rpc_quota_set; /* rpc_store.c */
rpc_fn rpc_config_show, rpc_why;
/* rpc_queue.c, rpc_queue_hand.c, queue_file.c */
rpc_fn rpc_queue_list, rpc_queue_count, rpc_queue_summary, rpc_queue_top, rpc_queue_show, rpc_queue_verify;
rpc_fn rpc_queue_hold, rpc_queue_release, rpc_queue_retry, rpc_queue_return, rpc_queue_delete, rpc_queue_reroute;
rpc_fn rpc_queue_run, rpc_queue_export, rpc_queue_import;
rpc_fn rpc_channel_list, rpc_channel_stop, rpc_channel_start;

#endif
