#include "config/server.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/diag.h"
#include "base/mem.h"
#include "config/load.h"
#include "config/outgoing.h"
#include "control/metrics.h"
#include "control/progress.h"
#include "control/status.h"
#include "control/threads.h"
#include "control/verb_rpc.h"
#include "http/http.h"
#include "imap/imap.h"
#include "intake/intake.h"
#include "net/server.h"
#include "pop3/pop3.h"
#include "smtp/smtp.h"

#define QUIESCE_POLL_MS 20
#define CARE_EVERY_MS 60000       /* segments are looked at so often for what can be emptied */
#define USER_ADDRESS_BYTES 320

/* owner: main thread */
struct server {
    const char *dir;
    struct conf_set *conf;
    struct reactor *reactor;
    struct spawner *spawner;
    struct site site;
    struct auth *auth;
    struct intake *intake;
    struct net_server *net;
    struct outgoing out;
    struct status *status;
    struct rpc_env env;
    struct smtp_service smtp;
    struct imap_service imap;
    struct pop3_service pop3;
    struct http_service http;
    struct http_page metrics;
    pthread_mutex_t metrics_lock; /* lock rank 10: held while the page is made; the close waits for that */
    bool has_no_metrics;          /* guarded by it: what the page is made of is going */
    struct signal_watch on_term, on_int, on_hup;
    bool has_signals;
    struct timer quiesce;
    bool is_stopping;
    /* a reload: parsed on a helper, published here */
    struct job reload_job;
    bool is_reloading, reload_again;
    struct rpc_call *reload_call; /* who waits for it, or NULL */
    struct conf_set *reload_set;
    struct buf reload_problems;
    unsigned reload_problem_count;
    /* reclaiming */
    struct timer care;
    struct job care_job;
    bool is_caring;
    /* the service manager's watchdog */
    struct timer watchdog;
    int64_t watchdog_ms;
};

/* --- configuration ------------------------------------------------------------------------------------------------ */

static void log_level_apply(const struct conf_set *conf)
{
    static const char *const names[] = {
        [DIAG_ERROR] = "error", [DIAG_WARN] = "warn", [DIAG_INFO] = "info", [DIAG_DEBUG] = "debug"
    };
    const struct server_conf *server = conf_section(conf, CONF_SERVER);

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq(slice_str(names[i]), server->log_level))
            diag_set_level((enum diag_level)i);
}

static void lines_log(struct buf *lines)
{
    slice rest = buf_slice(lines);

    while (rest.len != 0) {
        slice line = slice_cut(&rest, '\n', NULL);

        diag_error("config", "%s: %.*s", CONFIG_FILE, SLICE_ARG(line));
    }
}

static void reload_start(struct server *s, struct rpc_call *call);

static void restart_key(void *arg, const char *key)
{
    diag_warn("config", "%s takes effect at the next start", key);
    json_array_append_new(arg, json_string(key));
}

/* Main thread: the new set counts from here on. */
static void conf_swap(struct server *s, TAKES struct conf_set *set)
{
    struct conf_set *old = s->conf;

    s->conf = s->env.conf = set;
    log_level_apply(set);
    store_configure(s->site.store, conf_section(set, CONF_STORE));
    journal_configure(s->site.journal, conf_section(set, CONF_JOURNAL));
    queue_configure(s->site.queue, set);
    outgoing_reload(&s->out, set);
    snap_unref(&old->snap);
}

static void reload_answer(struct server *s, const struct err *err, TAKES json_t *restart)
{
    struct rpc_call *call = s->reload_call;

    if (err->kind != ERR_NONE)
        diag_error("config", "reload refused, nothing changed: %s", err->text);
    else
        diag_info("config", "configuration %llu is in effect", (unsigned long long)s->conf->number);
    s->reload_call = NULL;
    s->is_reloading = false;
    if (call != NULL) {
        call->err = *err;
        if (err->kind == ERR_NONE)
            call->result = json_pack("{s:I, s:O}", "configuration", (json_int_t)s->conf->number, "restart_needed",
                                     restart);
        else
            rpc_hint(call, "nothing changed; 'posthouse config check' shows everything that is wrong");
        rpc_answer(call);
    }
    json_decref(restart);
    if (s->reload_again && !s->is_stopping) {
        s->reload_again = false;
        reload_start(s, NULL);
    }
}

static void reload_done(struct job *job)
{
    struct server *s = CONTAINER_OF(job, struct server, reload_job);
    struct conf_set *set = s->reload_set;
    struct err err = ERR_INIT;
    json_t *restart = json_array();

    s->reload_set = NULL;
    if (set == NULL) {
        slice rest = buf_slice(&s->reload_problems);
        slice first = slice_cut(&rest, '\n', NULL);

        lines_log(&s->reload_problems);
        err_set(&err, ERR_SYNTAX, "%u problems in %s, the first: %.*s", s->reload_problem_count, CONFIG_FILE,
                SLICE_ARG(slice_sub(first, 0, 150)));
    } else if (net_server_reload(s->net, set, &err) < 0) {
        snap_unref(&set->snap);
    } else {
        config_restart_keys(s->conf, set, restart_key, restart);
        conf_swap(s, set);
    }
    buf_free(&s->reload_problems);
    net_notify("READY=1");
    reload_answer(s, &err, restart);
}

static void reload_run(struct job *job)
{
    struct server *s = CONTAINER_OF(job, struct server, reload_job);
    struct buf path = BUF_INIT;

    buf_printf(&path, "%s/" CONFIG_FILE, s->dir);
    s->reload_set = config_load(buf_str(&path), s->conf->number + 1, config_report_line, &s->reload_problems,
                                &s->reload_problem_count);
    buf_free(&path);
}

static void reload_start(struct server *s, struct rpc_call *call)
{
    struct err err = ERR_INIT;

    s->reload_call = call;
    s->is_reloading = true;
    net_notify("RELOADING=1");
    s->reload_job = (struct job){ .run = reload_run, .done = reload_done, .reactor = s->reactor };
    if (!pool_submit(s->site.pool, &s->reload_job)) {
        err_set(&err, ERR_TEMP, "too much work is waiting; try again");
        net_notify("READY=1");
        reload_answer(s, &err, json_array());
    }
}

static void reload_by_call(void *daemon, struct rpc_call *call)
{
    struct server *s = daemon;

    if (s->is_reloading || s->is_stopping) {
        err_set(&call->err, ERR_TEMP, s->is_stopping ? "the daemon is stopping" : "a reload is under way; try again");
        rpc_answer(call);
        return;
    }
    reload_start(s, call);
}

static void on_hup(struct signal_watch *w)
{
    struct server *s = CONTAINER_OF(w, struct server, on_hup);

    if (s->is_reloading)
        s->reload_again = true; /* the file may have changed since it was read */
    else if (!s->is_stopping)
        reload_start(s, NULL);
}

/* --- users that are disabled, deleted, or have a new password ----------------------------------------------------- */

struct user_gone {
    struct post post;
    struct server *server;
    size_t len;
    unsigned char address[USER_ADDRESS_BYTES];
};

static void user_gone(struct post *p)
{
    struct user_gone *u = CONTAINER_OF(p, struct user_gone, post);

    if (u->server->net != NULL)
        net_server_user_close(u->server->net, slice_of(u->address, u->len));
    mem_free(u);
}

/* On the committer. */
static void user_changed(void *arg, const struct dir_user_change *change)
{
    struct server *s = arg;
    struct user_gone *u;

    if ((change->status == DIR_ACTIVE && !change->is_password_new) || change->address.len > USER_ADDRESS_BYTES)
        return;
    u = mem_alloc(sizeof *u);
    u->server = s;
    u->len = change->address.len;
    memcpy(u->address, change->address.ptr, u->len);
    reactor_post(s->reactor, &u->post, user_gone);
}

/* --- care and watchdog -------------------------------------------------------------------------------------------- */

static void care_run(struct job *job)
{
    struct server *s = CONTAINER_OF(job, struct server, care_job);
    struct err err = ERR_INIT;
    int n = journal_reclaim(s->site.journal, &err);

    if (n < 0)
        diag_warn("journal", "nothing was reclaimed: %s", err.text);
    else if (n > 0)
        diag_info("journal", "%d segments emptied", n);
}

static void care_done(struct job *job)
{
    CONTAINER_OF(job, struct server, care_job)->is_caring = false;
}

static void care_due(struct timer *t)
{
    struct server *s = CONTAINER_OF(t, struct server, care);

    timer_start(t, CARE_EVERY_MS);
    if (s->is_caring || s->is_stopping)
        return;
    s->care_job = (struct job){ .run = care_run, .done = care_done, .reactor = s->reactor, .is_long = true };
    s->is_caring = pool_submit(s->site.pool, &s->care_job);
}

static void watchdog_due(struct timer *t)
{
    struct server *s = CONTAINER_OF(t, struct server, watchdog);

    if (threads_turn(&s->env, clock_mono_ms(&s->site.clock)))
        net_notify("WATCHDOG=1");
    timer_start(t, s->watchdog_ms);
}

static void watchdog_start(struct server *s)
{
    timer_init(&s->watchdog, s->reactor, watchdog_due);
    s->watchdog_ms = net_watchdog_ms();
    if (s->watchdog_ms > 0)
        timer_start(&s->watchdog, s->watchdog_ms);
}

/* --- stopping ----------------------------------------------------------------------------------------------------- */

static void quiesce_due(struct timer *t)
{
    struct server *s = CONTAINER_OF(t, struct server, quiesce);

    if (status_quiesce(s->status) && !s->is_reloading && !s->is_caring)
        reactor_stop(s->reactor);
    else
        timer_start(t, QUIESCE_POLL_MS);
}

static void stop_begin(void *daemon)
{
    struct server *s = daemon;

    if (s->is_stopping)
        return;
    s->is_stopping = true;
    diag_info("control", "stopping");
    net_notify("STOPPING=1");
    timer_start(&s->quiesce, 0);
}

static void on_term(struct signal_watch *w)
{
    stop_begin(CONTAINER_OF(w, struct server, on_term));
}

static void on_int(struct signal_watch *w)
{
    stop_begin(CONTAINER_OF(w, struct server, on_int));
}

static void signals_start(struct server *s)
{
    signal_start(&s->on_term, s->reactor, SIGTERM, on_term);
    signal_start(&s->on_int, s->reactor, SIGINT, on_int);
    signal_start(&s->on_hup, s->reactor, SIGHUP, on_hup);
    s->has_signals = true;
}

/* A second signal, while what runs is brought to its end, has its default action. */
static void signals_stop(struct server *s)
{
    if (!s->has_signals)
        return;
    s->has_signals = false;
    signal_stop(&s->on_hup);
    signal_stop(&s->on_int);
    signal_stop(&s->on_term);
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

static void metrics_make(void *arg, struct conf_set *conf, struct buf *out)
{
    struct server *s = arg;

    pthread_mutex_lock(&s->metrics_lock);
    if (!s->has_no_metrics)
        metrics_text(&s->env, conf, out);
    pthread_mutex_unlock(&s->metrics_lock);
}

static void protocols_register(struct server *s)
{
    s->smtp = (struct smtp_service){ .intake = s->intake, .auth = s->auth, .log = s->out.log };
    s->imap = (struct imap_service){
        .journal = s->site.journal, .store = s->site.store, .auth = s->auth, .clock = &s->site.clock,
        .log = s->out.log,
    };
    s->pop3 = (struct pop3_service){ .journal = s->site.journal, .store = s->site.store, .auth = s->auth,
                                      .log = s->out.log };
    s->metrics = (struct http_page){ "/metrics", "text/plain; version=0.0.4; charset=utf-8", metrics_make, s };
    s->http = (struct http_service){ &s->metrics, 1 };
    smtp_counters_register();
    http_counters_register();
    imap_register();
    pop3_register();
    net_server_protocol(s->net, "smtp", &smtp_protocol, &s->smtp);
    net_server_protocol(s->net, "submission", &submission_protocol, &s->smtp);
    net_server_protocol(s->net, "lmtp", &lmtp_protocol, &s->smtp);
    net_server_protocol(s->net, "imap", &imap_protocol, &s->imap);
    net_server_protocol(s->net, "pop3", &pop3_protocol, &s->pop3);
    net_server_protocol(s->net, "metrics", &http_metrics_protocol, &s->http);
}

static int data_open(struct server *s, struct err *err)
{
    const struct net_conf *net = conf_section(s->conf, CONF_NET);
    struct progress progress;
    struct clock clock;
    struct buf mark = BUF_INIT;
    struct site_setup setup = {
        .dir = s->dir,
        .conf = s->conf,
        .helpers = net->helpers,
        .background = true,
        .progress = progress_bytes,
        .progress_arg = &progress,
    };
    int rc;

    clock_init_real(&clock);
    buf_printf(&mark, "%s/" SITE_REBUILD_MARK, s->dir);
    setup.discard_index = access(buf_str(&mark), F_OK) == 0;
    progress_begin(&progress, "reading the journal", &clock);
    rc = site_open(&s->site, &setup, err);
    progress_end(&progress);
    if (rc == 0 && setup.discard_index)
        unlink(buf_str(&mark));
    buf_free(&mark);
    return rc;
}

static int server_open(struct server *s, struct err *err)
{
    struct net_setup net = { .clock = &s->site.clock, .conf = s->conf, .dir = s->dir };

    if (data_open(s, err) < 0)
        return -1;
    s->reactor = reactor_new("main", &s->site.clock, err);
    if (s->reactor == NULL || outgoing_log_open(&s->out, s->dir, &s->site, s->conf, err) < 0 ||
        auth_new(&s->auth, s->site.dir, s->site.pool, &s->site.clock, err) < 0 ||
        intake_new(&s->intake, s->site.journal, s->site.store, s->site.dir, s->site.queue, s->site.pool,
                   &s->site.clock, err) < 0)
        return -1;
    intake_observe(s->intake, s->out.log, s->out.tally);
    net.spawner = s->spawner;
    net.helpers = s->site.pool;
    if (net_server_new(&s->net, &net, err) < 0)
        return -1;
    protocols_register(s);
    dir_watch(s->site.dir, user_changed, s);
    s->env = (struct rpc_env){
        .dir = s->dir,
        .site = &s->site,
        .conf = s->conf,
        .net = s->net,
        .reactor = s->reactor,
        .began_ms = clock_mono_ms(&s->site.clock),
        .daemon = s,
        .reload = reload_by_call,
        .stop = stop_begin,
    };
    timer_init(&s->quiesce, s->reactor, quiesce_due);
    timer_init(&s->care, s->reactor, care_due);
    signals_start(s); /* before the first banner: who is told to stop then ends in order, too */
    if (outgoing_start(&s->out, &s->site, s->intake, s->conf, err) < 0)
        return -1;
    s->env.scheduler = s->out.scheduler;
    s->env.clients = s->out.pool;
    s->env.channels = s->out.channels;
    s->env.dns = s->out.dns;
    s->env.log = s->out.log;
    if (status_open(&s->status, s->reactor, &s->env, err) < 0 || net_server_start(s->net, err) < 0)
        return -1;
    watchdog_start(s);
    timer_start(&s->care, CARE_EVERY_MS);
    return 0;
}

static void server_serve(struct server *s)
{
    diag_info("control", "posthouse " POSTHOUSE_VERSION " serves %s", s->dir);
    net_notify("READY=1");
    reactor_heartbeat(s->reactor, true);
    reactor_run(s->reactor);
    reactor_heartbeat(s->reactor, false);
    timer_stop(&s->care);
    timer_stop(&s->watchdog);
}

/* Legal on a half-opened server. Worker loops outlive the journal and the helpers: their last answers are posted there
 * and dropped when the loops go. */
static void server_close(struct server *s)
{
    const struct net_conf *net = conf_section(s->conf, CONF_NET);

    signals_stop(s);
    if (s->net != NULL)
        net_server_stop(s->net, net->stop_grace_s * 1000);
    pthread_mutex_lock(&s->metrics_lock);
    s->has_no_metrics = true;
    pthread_mutex_unlock(&s->metrics_lock);
    outgoing_stop(&s->out, net->stop_grace_s * 1000);
    site_stop_journal(&s->site);
    outgoing_settle(&s->out);
    site_stop(&s->site);
    net_server_destroy(&s->net);
    outgoing_destroy(&s->out);
    intake_destroy(&s->intake);
    auth_destroy(&s->auth);
    site_close(&s->site);
    status_close(&s->status);
    reactor_destroy(&s->reactor);
    spawner_stop(&s->spawner);
    snap_unref(&s->conf->snap);
}

static int start_failed(const struct verb_call *call, const struct err *err)
{
    net_notify("STOPPING=1");
    return verb_open_failed(call, err);
}

int server_verb_run(const struct verb_call *call)
{
    struct server *s = mem_alloc(sizeof *s);
    const char *user = verb_option(call, "--user");
    struct err err = ERR_INIT;
    int code = EX_OK;

    s->dir = call->dir;
    pthread_mutex_init(&s->metrics_lock, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (spawner_start(&s->spawner, &err) < 0 || spawner_drop(s->spawner, user, &err) < 0) {
        spawner_stop(&s->spawner);
        mem_free(s);
        return verb_fail(call, &err, NULL);
    }
    if (site_exists(s->dir, &err) < 0) {
        code = verb_open_failed(call, &err);
    } else if (config_open_dir(s->dir, &s->conf, &err) < 0) {
        verb_fail(call, &err, "'posthouse config check' shows everything that is wrong in " CONFIG_FILE);
        code = EX_CONFIG;
    }
    if (code != EX_OK) {
        spawner_stop(&s->spawner);
        mem_free(s);
        return code;
    }
    log_level_apply(s->conf);
    if (server_open(s, &err) < 0)
        code = start_failed(call, &err);
    else
        server_serve(s);
    server_close(s);
    pthread_mutex_destroy(&s->metrics_lock);
    mem_free(s);
    return code;
}
