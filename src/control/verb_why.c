/* verb_why.c - see verb_why.h. */
#include "control/verb_why.h"

#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "base/clock.h"
#include "control/rpc.h"
#include "control/verb_rpc.h"
#include "control/when.h"
#include "control/why.h"

#define EXIT_NOTHING 1
#define LIMIT_DEFAULT 20
#define WHAT_COLUMNS 10

int rpc_why(struct rpc_call *call, struct err *err)
{
    struct why_query q = {
        .key = json_get_str(call->params, "key"),
        .since_ms = json_get_int(call->params, "since", 0),
    };
    int64_t limit = json_get_int(call->params, "limit", LIMIT_DEFAULT);

    if (q.key.len == 0)
        return err_set(err, ERR_SYNTAX, "the key is empty");
    if (limit < 1 || limit > WHY_MESSAGES_MAX)
        return err_set(err, ERR_SYNTAX, "limit: expected 1 to %u", WHY_MESSAGES_MAX);
    q.limit = (unsigned)limit;
    call->result = why_find(call->env->site, &q, err);
    return call->result == NULL ? -1 : 0;
}

/* --- for people --------------------------------------------------------------------------------------------------- */

/* What strangers wrote must not steer a terminal. */
static void put_tame(slice s)
{
    for (size_t i = 0; i < s.len; i++)
        putchar(s.ptr[i] < ' ' || s.ptr[i] == 127 ? '?' : s.ptr[i]);
}

static void event_print(const json_t *e)
{
    int64_t ms = json_get_int(e, "time", 0);
    time_t seconds = (time_t)(ms / 1000);
    slice who = json_get_str(e, "who");
    char text[32];
    struct tm tm;

    localtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    printf("  %s.%03d  %-*s ", text, (int)(ms % 1000), WHAT_COLUMNS, json_string_value(json_object_get(e, "what")));
    put_tame(who.len == 0 ? SLICE("<>") : who);
    printf("  ");
    put_tame(json_get_str(e, "text"));
    putchar('\n');
}

static void message_print(const json_t *m)
{
    const json_t *events = json_object_get(m, "events");
    slice sender = json_get_str(m, "sender");

    printf("message ");
    put_tame(json_get_str(m, "id"));
    printf("  ");
    put_tame(json_get_str(m, "message_id"));
    printf("  from ");
    put_tame(sender.len == 0 ? SLICE("<>") : sender);
    printf(", %lld octets\n", (long long)json_get_int(m, "bytes", 0));
    for (size_t i = 0; i < json_array_size(events); i++)
        event_print(json_array_get(events, i));
}

static int params_read(const struct verb_call *call, json_t *params, struct err *err)
{
    const char *since = verb_option(call, "--since"), *limit = verb_option(call, "--limit");
    struct clock clock;
    int64_t ms;

    clock_init_real(&clock);
    json_object_set_new(params, "key", json_from_slice(slice_str(call->operands[0])));
    if (since != NULL) {
        if (when_parse(slice_str(since), clock_wall_ms(&clock), &ms, err) < 0)
            return -1;
        json_object_set_new(params, "since", json_integer(ms));
    }
    if (limit != NULL) {
        if (!slice_i64(slice_str(limit), &ms))
            return err_set(err, ERR_SYNTAX, "--limit: \"%.20s\" is no number", limit);
        json_object_set_new(params, "limit", json_integer(ms));
    }
    return 0;
}

int verb_run_why(const struct verb_call *call)
{
    json_t *params = json_object(), *result = NULL;
    const json_t *messages;
    struct err err = ERR_INIT;
    int code;

    tzset();
    if (params_read(call, params, &err) < 0) {
        json_decref(params);
        return verb_fail(call, &err, NULL);
    }
    code = verb_method(call, "why", params, &result);
    if (code == EX_OK) {
        messages = json_object_get(result, "messages");
        if (call->json)
            verb_print(call, result);
        for (size_t i = 0; !call->json && i < json_array_size(messages); i++)
            message_print(json_array_get(messages, i));
        if (!call->json && json_get_bool(result, "more", false))
            printf("there are older ones; --limit N shows more, up to %u\n", WHY_MESSAGES_MAX);
        if (json_array_size(messages) == 0) {
            if (!call->json)
                fprintf(stderr, "posthouse: nothing is known of %s; 'posthouse log find %s' looks into the log, too\n",
                        call->operands[0], call->operands[0]);
            code = EXIT_NOTHING;
        }
    }
    json_decref(result);
    json_decref(params);
    return code;
}
