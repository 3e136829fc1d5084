#include "control/verb_rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "control/progress.h"
#include "control/render.h"
#include "control/rpc.h"

#define STOP_WAIT_MS 120000
#define PASSWORD_OCTETS_MAX 1024
#define PARAM_NAME_MAX 32

void verb_print(const struct verb_call *call, const json_t *result)
{
    struct buf text = BUF_INIT;

    if (call->json) {
        json_print(&text, result, true);
        buf_put_byte(&text, '\n');
    } else {
        render_value(&text, result);
    }
    if (text.len > 0)
        fwrite(text.ptr, 1, text.len, stdout);
    buf_free(&text);
}

/* --- the data, when no daemon runs -------------------------------------------------------------------------------- */

int verb_open_failed(const struct verb_call *call, const struct err *err)
{
    switch (err->kind) {
    case ERR_NOTFOUND:
        return verb_fail(call, err,
                         "name the data directory with --dir DIR or POSTHOUSE_DIR; 'posthouse init' makes one");
    case ERR_DENIED:
        if (err->sys != 0)
            return verb_fail(call, err, "run this as the user who owns %s", call->dir);
        return verb_fail(call, err, "stop what uses %s first; nothing was changed", call->dir);
    case ERR_FULL:
        return verb_fail(call, err, "free some space on the disk that holds %s", call->dir);
    case ERR_PERM:
        return verb_fail(call, err, "nothing was changed");
    default:
        return verb_fail(call, err, NULL);
    }
}

int verb_site_open(const struct verb_call *call, struct site *site, bool discard_index)
{
    struct progress progress;
    struct clock clock;
    struct conf_set *conf = NULL;
    struct err err = ERR_INIT;
    struct site_setup setup = {
        .dir = call->dir,
        .discard_index = discard_index,
        .progress = progress_bytes,
        .progress_arg = &progress,
    };
    int rc;

    if (call->table->conf_open(call->dir, &conf, &err) < 0) {
        verb_fail(call, &err, "'posthouse config check' shows everything that is wrong in posthouse.json");
        return EX_CONFIG;
    }
    setup.conf = conf;
    clock_init_real(&clock);
    progress_begin(&progress, "reading the journal", &clock);
    rc = site_open(site, &setup, &err);
    progress_end(&progress);
    snap_unref(&conf->snap);
    return rc < 0 ? verb_open_failed(call, &err) : 0;
}

/* --- passwords ---------------------------------------------------------------------------------------------------- */

static int line_read(struct buf *out, struct err *err)
{
    int c;

    buf_reset(out);
    while ((c = getchar()) != EOF && c != '\n') {
        if (out->len == PASSWORD_OCTETS_MAX)
            return err_set(err, ERR_SYNTAX, "the password is longer than %d octets", PASSWORD_OCTETS_MAX);
        buf_put_byte(out, (unsigned char)c);
    }
    if (out->len > 0 && out->ptr[out->len - 1] == '\r')
        out->len--;
    return out->len == 0 ? err_set(err, ERR_SYNTAX, "the password is empty") : 0;
}

static int line_ask(struct buf *out, const char *prompt, struct err *err)
{
    struct termios before, quiet;
    int rc;

    fputs(prompt, stderr);
    if (tcgetattr(0, &before) < 0)
        return err_sys(err, errno, "asking for the password");
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(0, TCSAFLUSH, &quiet);
    rc = line_read(out, err);
    tcsetattr(0, TCSAFLUSH, &before);
    fputc('\n', stderr);
    return rc;
}

int verb_password(struct buf *out, bool confirm, struct err *err)
{
    struct buf again = BUF_INIT;
    int rc;

    if (isatty(0) != 1)
        return line_read(out, err);
    if (line_ask(out, "Password: ", err) < 0)
        return -1;
    if (!confirm)
        return 0;
    rc = line_ask(&again, "The same again: ", err);
    if (rc == 0 && !slice_eq(buf_slice(out), buf_slice(&again)))
        rc = err_set(err, ERR_SYNTAX, "the two are not the same");
    if (again.len > 0)
        mem_wipe(again.ptr, again.len);
    buf_free(&again);
    return rc;
}

/* --- parameters from words ---------------------------------------------------------------------------------------- */

/* "--dry-run" or "[ADDRESS]" -> "dry_run", "address" */
static void param_name(const char *word, size_t len, char out[PARAM_NAME_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < len && n + 1 < PARAM_NAME_MAX; i++) {
        unsigned char c = (unsigned char)word[i];

        if (ascii_is_alnum(c))
            out[n++] = (char)ascii_lower(c);
        else if (c == '-' && n != 0)
            out[n++] = '_';
    }
    out[n] = '\0';
}

static const struct rpc_param *param_find(const struct rpc_method *m, const char *name)
{
    for (const struct rpc_param *p = m->params; p->name != NULL; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static int param_put(const struct rpc_method *m, const char *name, const char *text, json_t *params, struct err *err)
{
    const struct rpc_param *p = param_find(m, name);
    json_t *value, *have;

    if (p == NULL)
        return err_set(err, ERR_BUG, "%s has no parameter %s", m->name, name);
    value = rpc_param_value(p, text, err);
    if (value == NULL)
        return -1;
    have = json_object_get(params, name);
    if (p->type == RPC_STRS && have != NULL) { /* one operand more of a list */
        json_array_extend(have, value);
        json_decref(value);
    } else {
        json_object_set_new(params, name, value);
    }
    return 0;
}

/* The i-th word of "ADDRESS TARGET..."; the last one counts for all that follow. */
static void operand_name(const char *operands, unsigned i, char out[PARAM_NAME_MAX])
{
    slice rest = slice_str(operands), word = slice_word(&rest);

    for (unsigned k = 0; k < i && rest.len != 0; k++)
        word = slice_word(&rest);
    param_name((const char *)word.ptr, word.len, out);
}

static int password_put(const struct verb_call *call, const struct rpc_method *m, json_t *params, struct err *err)
{
    const struct rpc_param *p = param_find(m, "password");
    bool is_given = verb_option(call, "--password-stdin") != NULL;
    struct buf password = BUF_INIT;
    int rc = 0;

    if (p == NULL || (!is_given && (!p->is_needed || isatty(0) != 1)))
        return 0;
    if ((rc = verb_password(&password, !is_given, err)) == 0)
        json_object_set_new(params, "password", json_from_slice(buf_slice(&password)));
    if (password.len > 0)
        mem_wipe(password.ptr, password.len);
    buf_free(&password);
    return rc;
}

static int params_make(const struct verb_call *call, const struct rpc_method *m, json_t *params, struct err *err)
{
    char name[PARAM_NAME_MAX];

    for (unsigned i = 0; i < call->operand_count; i++) {
        operand_name(call->verb->operands, i, name);
        if (param_put(m, name, call->operands[i], params, err) < 0)
            return -1;
    }
    for (const struct verb_option *o = call->verb->options; o != NULL && o->name != NULL; o++) {
        const char *value = verb_option(call, o->name);

        if (value == NULL || strcmp(o->name, "--password-stdin") == 0)
            continue;
        param_name(o->name, strlen(o->name), name);
        if (param_put(m, name, value, params, err) < 0)
            return -1;
    }
    if (password_put(call, m, params, err) < 0)
        return -1;
    return rpc_params_check(m, params, err);
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static void event_show(void *arg, const json_t *params)
{
    const struct verb_call *call = arg;

    if (!call->json && json_get_str(params, "text").len != 0)
        fprintf(stderr, "%.*s\n", SLICE_ARG(json_get_str(params, "text")));
}

static int run_here(const struct verb_call *call, const struct rpc_method *m, json_t *params, json_t **result)
{
    struct site site;
    struct conf_set *conf = NULL;
    struct rpc_env env = { .dir = call->dir, .site = &site };
    struct rpc_call rc = { .env = &env, .params = params };
    int code = verb_site_open(call, &site, false);

    if (code != 0)
        return code;
    if (call->table->conf_open(call->dir, &conf, &rc.err) < 0) {
        code = verb_fail(call, &rc.err, NULL);
    } else {
        env.conf = rc.conf = conf;
        if (m->run(&rc, &rc.err) < 0)
            code = verb_fail(call, &rc.err, rc.hint[0] != '\0' ? "%s" : NULL, rc.hint);
        snap_unref(&conf->snap);
    }
    *result = rc.result;
    site_close(&site);
    return code;
}

int verb_method(const struct verb_call *call, const char *name, json_t *params, json_t **result)
{
    const struct rpc_method *m = rpc_find(slice_str(name));
    struct client_conn conn;
    struct err err = ERR_INIT;
    char hint[200];
    int code = EX_OK;

    *result = NULL;
    if (client_open(&conn, call->dir, &err) < 0) {
        if (err.kind != ERR_NOTFOUND)
            return verb_fail(call, &err, "run this as root or as the user the daemon runs as");
        if (call->verb->where == VERB_BOTH)
            return run_here(call, m, params, result);
        verb_fail(call, &err, "start it with: posthouse run --dir %s", call->dir);
        return EX_UNAVAILABLE;
    }
    if (client_call(&conn, m->name, params, event_show, (void *)(uintptr_t)call, result, hint, &err) < 0)
        code = verb_fail(call, &err, hint[0] != '\0' ? "%s" : NULL, hint);
    client_close(&conn);
    return code;
}

static int run_method(const struct verb_call *call, const char *name, json_t *params)
{
    json_t *result;
    int code = verb_method(call, name, params, &result);

    if (code == EX_OK)
        verb_print(call, result);
    json_decref(result);
    return code;
}

int verb_run_rpc(const struct verb_call *call)
{
    const struct rpc_method *m = rpc_find(slice_str(call->verb->method));
    json_t *params = json_object();
    struct err err = ERR_INIT;
    struct buf usage = BUF_INIT;
    int code;

    if (params_make(call, m, params, &err) == 0) {
        code = run_method(call, m->name, params);
    } else {
        verb_usage(call->verb, &usage);
        code = verb_fail(call, &err, "usage: %s", buf_str(&usage));
        buf_free(&usage);
    }
    json_decref(params);
    return code;
}

int verb_run_status(const struct verb_call *call)
{
    return run_method(call, verb_option(call, "--metrics") != NULL ? "metrics" : "status", NULL);
}

int verb_run_stop(const struct verb_call *call)
{
    struct client_conn conn;
    struct err err = ERR_INIT;
    json_t *result = NULL;
    char hint[200];
    int code = EX_OK;

    if (client_open(&conn, call->dir, &err) < 0) {
        if (err.kind != ERR_NOTFOUND)
            return verb_fail(call, &err, "run this as root or as the user the daemon runs as");
        verb_fail(call, &err, "there is nothing to stop");
        return EX_UNAVAILABLE;
    }
    if (client_call(&conn, "stop", NULL, NULL, NULL, &result, hint, &err) < 0 ||
        client_wait_end(&conn, STOP_WAIT_MS, &err) < 0) {
        code = verb_fail(call, &err, "'posthouse sessions' shows what it waits for");
    } else {
        json_t *stopped = json_string("stopped");

        verb_print(call, stopped);
        json_decref(stopped);
    }
    json_decref(result);
    client_close(&conn);
    return code;
}

/* A refused document is a configuration error, whatever the daemon found wrong with it. */
int verb_run_reload(const struct verb_call *call)
{
    int code = run_method(call, "reload", NULL);

    return code == EX_USAGE ? EX_CONFIG : code;
}
