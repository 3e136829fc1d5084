#include "control/rpc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/keys.h"
#include "control/queue_filter.h"

#define NEAR_MAX 3

/* --- parameters --------------------------------------------------------------------------------------------------- */

static const struct rpc_param no_params[] = { { NULL, RPC_STR, false, NULL } };
static const struct rpc_param address_params[] = {
    { "address", RPC_STR, true, "user@domain" },
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param user_params[] = {
    { "address", RPC_STR, true, "user@domain" },
    { "password", RPC_SECRET, false, "only verifiers of it are kept" },
    { "name", RPC_STR, false, "display name" },
    { "quota", RPC_INT, false, "octets; 0: none" },
    { "admin", RPC_BOOL, false, "may administer" },
    { "status", RPC_STR, false, "active, inactive or hold" },
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param passwd_params[] = {
    { "address", RPC_STR, true, "user@domain" },
    { "password", RPC_SECRET, true, "only verifiers of it are kept" },
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param domain_filter_params[] = {
    { "domain", RPC_STR, false, "only of this domain" },
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param domain_params[] = {
    { "domain", RPC_STR, true, "domain name" },
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param alias_params[] = {
    { "address", RPC_STR, true, "alias@domain" },
    { "target", RPC_STRS, true, "where its mail goes" },
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param mailbox_params[] = {
    { "address", RPC_STR, true, "user@domain" },
    { "mailbox", RPC_STR, true, "name, levels separated by /" },
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param quota_params[] = {
    { "address", RPC_STR, true, "user@domain" },
    { "bytes", RPC_INT, true, "octets; 0: none" },
    { NULL, RPC_STR, false, NULL },
};

static const struct rpc_param why_params[] = {
    { "key", RPC_STR, true, "queue entry, reception id, Message-ID, or address" },
    { "since", RPC_INT, false, "wall clock milliseconds: messages that came earlier are left out" },
    { "limit", RPC_INT, false, "messages, the newest; 20" },
    { NULL, RPC_STR, false, NULL },
};

static const struct rpc_param queue_list_params[] = {
    QUEUE_FILTER_PARAMS,
    { "sort", RPC_STR, false, "age, size, next, attempts or sender" },
    { "limit", RPC_INT, false, "rows; 50" },
    { "offset", RPC_INT, false, "rows left out in front" },
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param queue_count_params[] = { QUEUE_FILTER_PARAMS, { NULL, RPC_STR, false, NULL } };
static const struct rpc_param queue_summary_params[] = {
    { "hosts", RPC_BOOL, false, "a row for each destination" },
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param queue_top_params[] = {
    { "limit", RPC_INT, false, "rows; 20" },
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param queue_id_params[] = {
    { "id", RPC_STR, true, "entry" },
    { NULL, RPC_STR, false, NULL },
};
#define QUEUE_HAND_PARAMS                                                                                              \
    { "id", RPC_STRS, false, "entries" }, { "all", RPC_BOOL, false, "every entry" },                                   \
        { "reason", RPC_STR, false, "why: kept with the message, and told to the sender of what is returned" },        \
        QUEUE_FILTER_PARAMS
static const struct rpc_param queue_hand_params[] = { QUEUE_HAND_PARAMS, { NULL, RPC_STR, false, NULL } };
static const struct rpc_param queue_reroute_params[] = {
    { "to_channel", RPC_STR, true, "channel that is to deliver" },
    { "to_host", RPC_STR, true, "host or domain it is to be delivered to" },
    QUEUE_HAND_PARAMS,
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param queue_run_params[] = {
    { "target", RPC_STR, false, "channel, host or domain; without it everything" },
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param file_params[] = {
    { "file", RPC_STR, true, "path that the daemon can open" },
    QUEUE_FILTER_PARAMS,
    { NULL, RPC_STR, false, NULL },
};
static const struct rpc_param channel_params[] = {
    { "channel", RPC_STR, true, "channel" },
    { NULL, RPC_STR, false, NULL },
};

/* --- the table ---------------------------------------------------------------------------------------------------- */

const struct rpc_method rpc_methods[] = {
    { "status", no_params, 0, rpc_status, "How the daemon is: journal, memory, sessions, ledger, counters" },
    { "metrics", no_params, 0, rpc_metrics, "All counters as Prometheus text" },
    { "sessions", no_params, RPC_MAIN, rpc_sessions, "Connections and what each waits for" },
    { "reload", no_params, RPC_LATER, rpc_reload, "Read posthouse.json again" },
    { "stop", no_params, RPC_MAIN, rpc_stop, "Finish what runs, then end" },
    { "check", no_params, RPC_OFFLINE | RPC_LONG, rpc_check, "Verify the journal and its index" },
    { "rebuild", no_params, 0, rpc_rebuild, "Rebuild the index at the next start" },
    { "user.add", user_params, RPC_OFFLINE, rpc_user_add, "Make a user and its mailboxes" },
    { "user.list", domain_filter_params, RPC_OFFLINE, rpc_user_list, "List users" },
    { "user.show", address_params, RPC_OFFLINE, rpc_user_show, "Show one user" },
    { "user.set", user_params, RPC_OFFLINE, rpc_user_set, "Change a user" },
    { "user.delete", address_params, RPC_OFFLINE, rpc_user_delete, "Delete a user with all mail" },
    { "user.passwd", passwd_params, RPC_OFFLINE, rpc_user_passwd, "Set a user's password" },
    { "domain.add", domain_params, RPC_OFFLINE, rpc_domain_add, "Take mail for a domain" },
    { "domain.list", no_params, RPC_OFFLINE, rpc_domain_list, "List domains" },
    { "domain.delete", domain_params, RPC_OFFLINE, rpc_domain_delete, "Take no more mail for a domain" },
    { "alias.set", alias_params, RPC_OFFLINE, rpc_alias_set, "Make or replace an alias" },
    { "alias.list", no_params, RPC_OFFLINE, rpc_alias_list, "List aliases" },
    { "alias.delete", address_params, RPC_OFFLINE, rpc_alias_delete, "Delete an alias" },
    { "mailbox.list", address_params, RPC_OFFLINE, rpc_mailbox_list, "List a user's mailboxes" },
    { "mailbox.create", mailbox_params, RPC_OFFLINE, rpc_mailbox_create, "Make a mailbox" },
    { "mailbox.delete", mailbox_params, RPC_OFFLINE, rpc_mailbox_delete, "Delete a mailbox with its mail" },
    { "quota.get", address_params, RPC_OFFLINE, rpc_quota_get, "Show how much a user stores" },
    { "quota.set", quota_params, RPC_OFFLINE, rpc_quota_set, "Limit how much a user stores" },
    { "queue.list", queue_list_params, RPC_OFFLINE | RPC_LONG, rpc_queue_list, "Entries of the queue" },
    { "queue.count", queue_count_params, RPC_OFFLINE | RPC_LONG, rpc_queue_count, "How many entries" },
    { "queue.summary", queue_summary_params, RPC_OFFLINE, rpc_queue_summary, "Entries by channel or destination" },
    { "queue.top", queue_top_params, RPC_OFFLINE, rpc_queue_top, "Destinations with the most entries" },
    { "queue.show", queue_id_params, RPC_OFFLINE, rpc_queue_show, "One entry with its recipients" },
    { "queue.hold", queue_hand_params, RPC_OFFLINE | RPC_LONG, rpc_queue_hold, "Try no more until released" },
    { "queue.release", queue_hand_params, RPC_OFFLINE | RPC_LONG, rpc_queue_release, "Try what was held" },
    { "queue.retry", queue_hand_params, RPC_OFFLINE | RPC_LONG, rpc_queue_retry, "Try now" },
    { "queue.return", queue_hand_params, RPC_OFFLINE | RPC_LONG, rpc_queue_return, "Give back to the sender" },
    { "queue.delete", queue_hand_params, RPC_OFFLINE | RPC_LONG, rpc_queue_delete, "Remove, and tell nobody" },
    { "queue.reroute", queue_reroute_params, RPC_OFFLINE | RPC_LONG, rpc_queue_reroute, "Another channel and host" },
    { "queue.verify", no_params, RPC_OFFLINE | RPC_LONG, rpc_queue_verify, "Recount the queue" },
    { "queue.run", queue_run_params, 0, rpc_queue_run, "Deliver what waits for a channel or host now" },
    { "queue.export", file_params, RPC_OFFLINE | RPC_LONG, rpc_queue_export, "Write entries into a file" },
    { "queue.import", file_params, RPC_OFFLINE | RPC_LONG, rpc_queue_import, "Take entries from a file" },
    { "channel.list", no_params, RPC_OFFLINE, rpc_channel_list, "Channels, what waits in them, what passed" },
    { "channel.stop", channel_params, RPC_OFFLINE, rpc_channel_stop, "Deliver nothing by it until it is started" },
    { "channel.start", channel_params, RPC_OFFLINE, rpc_channel_start, "Deliver by it again" },
    { "why", why_params, RPC_OFFLINE | RPC_LONG, rpc_why, "The life of a message" },
    { "config.show", no_params, RPC_MAIN, rpc_config_show, "The document the daemon runs with" },
};
const size_t rpc_method_count = ARRAY_LEN(rpc_methods);

const struct rpc_method *rpc_find(slice name)
{
    for (size_t i = 0; i < rpc_method_count; i++)
        if (slice_eq(slice_str(rpc_methods[i].name), name))
            return &rpc_methods[i];
    return NULL;
}

const char *rpc_nearest(slice name)
{
    const char *found = NULL;
    unsigned best = NEAR_MAX + 1;

    for (size_t i = 0; i < rpc_method_count; i++) {
        unsigned d = edit_distance(name, slice_str(rpc_methods[i].name), NEAR_MAX);

        if (d < best && d <= (name.len + 1) / 2) {
            best = d;
            found = rpc_methods[i].name;
        }
    }
    return found;
}

/* --- parameters given --------------------------------------------------------------------------------------------- */

static bool strings_only(const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!json_is_string(json_array_get(array, i)))
            return false;
    return json_is_array(array) && json_array_size(array) > 0;
}

static const char *type_mismatch(const struct rpc_param *p, const json_t *v)
{
    switch (p->type) {
    case RPC_STR:
    case RPC_SECRET:
        return json_is_string(v) ? NULL : "a string";
    case RPC_INT:
        return json_is_integer(v) && json_integer_value(v) >= 0 ? NULL : "a number from 0 on";
    case RPC_BOOL:
        return json_is_boolean(v) ? NULL : "true or false";
    case RPC_STRS:
        return strings_only(v) ? NULL : "an array of strings";
    }
    return "something else";
}

static const struct rpc_param *param_find(const struct rpc_method *m, const char *name)
{
    for (const struct rpc_param *p = m->params; p->name != NULL; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

int rpc_params_check(const struct rpc_method *m, const json_t *params, struct err *err)
{
    const char *name;
    json_t *value;

    if (params != NULL && !json_is_object(params))
        return err_set(err, ERR_SYNTAX, "params: expected an object of named parameters");
    json_object_foreach((json_t *)(uintptr_t)params, name, value) {
        const struct rpc_param *p = param_find(m, name);
        const char *expected;

        if (p == NULL)
            return err_set(err, ERR_SYNTAX, "%s knows no parameter \"%.60s\"", m->name, name);
        if ((expected = type_mismatch(p, value)) != NULL)
            return err_set(err, ERR_SYNTAX, "%s: expected %s", p->name, expected);
    }
    for (const struct rpc_param *p = m->params; p->name != NULL; p++)
        if (p->is_needed && json_object_get(params, p->name) == NULL)
            return err_set(err, ERR_SYNTAX, "%s needs the parameter \"%s\"", m->name, p->name);
    return 0;
}

json_t *rpc_param_value(const struct rpc_param *p, const char *text, struct err *err)
{
    uint64_t n;

    switch (p->type) {
    case RPC_STR:
    case RPC_SECRET:
        return json_from_slice(slice_str(text));
    case RPC_INT:
        if (slice_u64(slice_str(text), &n) && n <= INT64_MAX)
            return json_integer((json_int_t)n);
        err_set(err, ERR_SYNTAX, "%s: found '%.60s', expected a number from 0 on", p->name, text);
        return NULL;
    case RPC_BOOL:
        if (text[0] == '\0' || strcmp(text, "true") == 0 || strcmp(text, "yes") == 0)
            return json_true();
        if (strcmp(text, "false") == 0 || strcmp(text, "no") == 0)
            return json_false();
        err_set(err, ERR_SYNTAX, "%s: found '%.60s', expected true or false", p->name, text);
        return NULL;
    case RPC_STRS:
        return json_pack("[o]", json_from_slice(slice_str(text)));
    }
    return NULL;
}

slice rpc_str(const struct rpc_call *call, const char *name)
{
    return json_get_str(call->params, name);
}

void rpc_hint(struct rpc_call *call, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(call->hint, sizeof call->hint, fmt, ap);
    va_end(ap);
}

void rpc_say(struct rpc_call *call, const char *line)
{
    if (call->event != NULL)
        call->event(call, json_pack("{s:o}", "text", json_from_slice(slice_str(line))));
}

void rpc_answer(struct rpc_call *call)
{
    call->answered(call);
}

enum err_kind rpc_kind(slice name)
{
    for (int kind = ERR_TEMP; kind <= ERR_BUG; kind++)
        if (slice_eq(slice_str(err_kind_name((enum err_kind)kind)), name))
            return (enum err_kind)kind;
    return ERR_TEMP;
}
