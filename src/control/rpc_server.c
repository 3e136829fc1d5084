/* Methods about the daemon itself and its journal. */
#include "control/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/mem.h"
#include "control/metrics.h"
#include "control/threads.h"
#include "control/verb.h"
#include "intake/intake.h"
#include "net/client_pool.h"
#include "queue/scheduler.h"

#define PROC_STATUS_BYTES 4096
#define KIB 1024

static void put(json_t *o, const char *name, TAKES json_t *value)
{
    if (json_object_set_new(o, name, value) < 0)
        panic("JSON member %s cannot be set", name);
}

static void put_u64(json_t *o, const char *name, uint64_t n)
{
    put(o, name, json_integer((json_int_t)n));
}

/* --- status ------------------------------------------------------------------------------------------------------- */

static const char *state_name(enum journal_state state)
{
    static const char *const names[] = {
        [JOURNAL_NORMAL] = "normal", [JOURNAL_FULL] = "full", [JOURNAL_READ_ONLY] = "read-only"
    };

    return names[state];
}

static json_t *journal_object(const struct site *site)
{
    json_t *o = json_object();
    char why[160] = "";
    unsigned percent;

    put(o, "state", json_string(state_name(journal_state(site->journal, why))));
    if (why[0] != '\0')
        put(o, "why", json_from_slice(slice_str(why)));
    put_u64(o, "durable_seq", journal_durable_seq(site->journal));
    put_u64(o, "records_replayed", site->report.records_replayed);
    put_u64(o, "torn_bytes", site->report.torn_bytes);
    put_u64(o, "damaged_places", site->report.damaged_places);
    put_u64(o, "lost_records", site->report.lost_records);
    put(o, "index_rebuilt", json_boolean(site->report.index_rebuilt));
    if (journal_rebuilding(site->journal, &percent))
        put_u64(o, "rebuilding_percent", percent);
    if (site->report.index_why[0] != '\0')
        put(o, "index_why", json_from_slice(slice_str(site->report.index_why)));
    return o;
}

/* "RssAnon:     1234 kB" of /proc/self/status, in octets. */
static uint64_t proc_field(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    unsigned long long kib = 0;

    return at != NULL && sscanf(at + strlen(name), " %llu", &kib) == 1 ? kib * KIB : 0;
}

static json_t *memory_object(void)
{
    json_t *o = json_object();
    char text[PROC_STATUS_BYTES];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = '\0';
    put_u64(o, "rss_anon_bytes", proc_field(text, "RssAnon:"));
    put_u64(o, "rss_bytes", proc_field(text, "VmRSS:"));
    put_u64(o, "threads", proc_field(text, "Threads:") / KIB);
    return o;
}

static void thread_add(void *arg, const struct thread_row *row)
{
    json_t *o = json_object();

    put(o, "name", json_from_slice(slice_str(row->name)));
    put(o, "state", json_string(row->state));
    put_u64(o, "last_turn_ms", (uint64_t)row->ago_ms);
    json_array_append_new(arg, o);
}

static json_t *threads_array(const struct rpc_env *env)
{
    json_t *rows = json_array();

    threads_each(env, clock_mono_ms(&env->site->clock), thread_add, rows);
    return rows;
}

/* Nothing here waits for the scheduler: the status is asked for when something hangs. */
static json_t *queue_object(const struct rpc_env *env)
{
    struct queue_sum sum;
    json_t *o = json_object();

    queue_sum(env->site->queue, SLICE_NONE, &sum);
    put_u64(o, "entries", sum.entries);
    put_u64(o, "recipients", sum.recipients);
    put_u64(o, "bytes", sum.bytes);
    put_u64(o, "held", sum.held);
    put_u64(o, "destinations", queue_dest_count(env->site->queue));
    put_u64(o, "dead", env->scheduler != NULL ? scheduler_dead_count(env->scheduler) : 0);
    put_u64(o, "jobs", env->scheduler != NULL ? scheduler_job_count(env->scheduler) : 0);
    return o;
}

static json_t *counters_object(void)
{
    json_t *o = json_object();
    struct counter *c;

    for (unsigned at = 0; (c = counter_next(&at)) != NULL;)
        put(o, c->name, json_integer(counter_get(c)));
    return o;
}

static json_t *ledger_object(struct site *site)
{
    struct err err = ERR_INIT;
    struct journal_view v;
    json_t *o;

    if (journal_read_begin(site->journal, &v, &err) < 0)
        return json_pack("{s:o}", "error", json_from_slice(slice_str(err.text)));
    o = intake_ledger(&v);
    journal_read_end(&v);
    return o != NULL ? o : json_object();
}

int rpc_status(struct rpc_call *call, struct err *err UNUSED)
{
    const struct rpc_env *env = call->env;
    const struct server_conf *server = conf_section(call->conf, CONF_SERVER);
    json_t *o = json_object();

    put(o, "version", json_string(POSTHOUSE_VERSION));
    put_u64(o, "pid", (uint64_t)getpid());
    put(o, "dir", json_from_slice(slice_str(env->dir)));
    put(o, "hostname", json_from_slice(server->hostname));
    put_u64(o, "uptime_s", (uint64_t)(clock_mono_ms(&env->site->clock) - env->began_ms) / 1000);
    put_u64(o, "configuration", call->conf->number);
    put(o, "journal", journal_object(env->site));
    put(o, "memory", memory_object());
    put(o, "threads", threads_array(env));
    put(o, "ledger", ledger_object(env->site));
    put(o, "queue", queue_object(env));
    put(o, "counters", counters_object());
    call->result = o;
    return 0;
}

int rpc_metrics(struct rpc_call *call, struct err *err UNUSED)
{
    struct buf text = BUF_INIT;

    metrics_text(call->env, call->conf, &text);
    call->result = json_from_slice(buf_slice(&text));
    buf_free(&text);
    return 0;
}

/* --- sessions, reload, stop --------------------------------------------------------------------------------------- */

struct rows {
    json_t *array;
    int64_t now_ms;
};

static void session_row(void *arg, const struct session_row *row)
{
    struct rows *rows = arg;
    json_t *o = json_object();

    put_u64(o, "id", row->id);
    put(o, "protocol", json_from_slice(slice_str(row->protocol)));
    put(o, "peer", json_from_slice(slice_str(row->peer)));
    put(o, "user", json_from_slice(slice_str(row->user)));
    put(o, "state", json_from_slice(slice_str(row->state)));
    put(o, "wait", json_from_slice(slice_str(row->wait)));
    put(o, "tls", json_from_slice(slice_str(row->tls)));
    put_u64(o, "seconds", rows->now_ms > row->began_ms ? (uint64_t)(rows->now_ms - row->began_ms) / 1000 : 0);
    put_u64(o, "in", row->in_bytes);
    put_u64(o, "out", row->out_bytes);
    json_array_append_new(rows->array, o);
}

int rpc_sessions(struct rpc_call *call, struct err *err UNUSED)
{
    struct rows rows = { json_array(), clock_wall_ms(&call->env->site->clock) };

    net_server_sessions(call->env->net, session_row, &rows);
    if (call->env->clients != NULL)
        client_pool_sessions(call->env->clients, session_row, &rows);
    call->result = rows.array;
    return 0;
}

int rpc_reload(struct rpc_call *call, struct err *err UNUSED)
{
    call->env->reload(call->env->daemon, call);
    return 0;
}

int rpc_stop(struct rpc_call *call, struct err *err UNUSED)
{
    call->env->stop(call->env->daemon);
    call->result = json_string("stopping");
    return 0;
}

int rpc_config_show(struct rpc_call *call, struct err *err UNUSED)
{
    call->result = json_deep_copy(call->conf->document);
    return 0;
}

/* --- check, rebuild ----------------------------------------------------------------------------------------------- */

struct findings {
    struct rpc_call *call;
    json_t *lines;
};

static void finding_say(void *arg, const char *line)
{
    struct findings *f = arg;

    json_array_append_new(f->lines, json_from_slice(slice_str(line)));
    rpc_say(f->call, line);
}

int rpc_check(struct rpc_call *call, struct err *err)
{
    struct journal_check_result r = { .faults = 0 };
    struct findings f = { call, json_array() };
    struct site *site = call->env->site;
    int store_faults, queue_faults = 0, ledger_faults = 0;
    json_t *o;

    if (journal_check(site->journal, finding_say, &f, &r, err) < 0) {
        json_decref(f.lines);
        return -1;
    }
    store_faults = store_check(site->store, finding_say, &f, err);
    if (store_faults >= 0)
        queue_faults = queue_check(site->queue, finding_say, &f, err);
    if (store_faults >= 0 && queue_faults >= 0)
        ledger_faults = intake_check(site->journal, site->store, site->queue, call->conf, finding_say, &f, err);
    if (store_faults < 0 || queue_faults < 0 || ledger_faults < 0) {
        json_decref(f.lines);
        return -1;
    }
    o = json_object();
    put_u64(o, "faults", r.faults + (uint64_t)store_faults + (uint64_t)queue_faults + (uint64_t)ledger_faults);
    put_u64(o, "segments", r.segments);
    put_u64(o, "records", r.records);
    put_u64(o, "bodies", r.bodies);
    put_u64(o, "bytes", r.bytes);
    put(o, "findings", f.lines);
    put(o, "opening", journal_object(call->env->site));
    call->result = o;
    return 0;
}

/* The index of a running daemon is in use, so the next start is told to make a new one: the file is its order. */
int rpc_rebuild(struct rpc_call *call, struct err *err)
{
    struct buf path = BUF_INIT;
    int fd, rc = 0;

    buf_printf(&path, "%s/" SITE_REBUILD_MARK, call->env->dir);
    fd = open(buf_str(&path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        rc = err_sys(err, errno, "making %s", buf_str(&path));
    else
        close(fd);
    buf_free(&path);
    if (rc == 0)
        call->result = json_string("the index will be rebuilt at the next start of the daemon");
    return rc;
}
