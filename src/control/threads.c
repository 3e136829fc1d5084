#include "control/threads.h"

#include "base/diag.h"
#include "channel/channel.h"
#include "log/txlog.h"
#include "net/client_pool.h"
#include "net/dns.h"
#include "queue/scheduler.h"

static const char stuck[] = "stuck";

static void row_say(thread_row_fn *fn, void *arg, const char *name, const char *state, int64_t ago_ms,
                    int64_t limit_ms)
{
    struct thread_row row = { .name = name, .state = state, .ago_ms = ago_ms > 0 ? ago_ms : 0 };

    if (limit_ms != 0 && ago_ms > limit_ms)
        row.state = stuck;
    fn(arg, &row);
}

static void loop_say(thread_row_fn *fn, void *arg, const struct reactor *r, int64_t now_ms)
{
    row_say(fn, arg, reactor_name(r), "turns", now_ms - reactor_last_turn_ms(r), LOOP_STUCK_MS);
}

/* Those of the queue: who picks, who delivers here, who asks for names, who writes the log. */
static void queue_say(const struct rpc_env *env, int64_t now_ms, thread_row_fn *fn, void *arg)
{
    int64_t turned_ms;
    bool works;

    if (env->scheduler != NULL)
        loop_say(fn, arg, scheduler_reactor(env->scheduler), now_ms);
    if (env->channels != NULL)
        loop_say(fn, arg, channel_service_reactor(env->channels), now_ms);
    if (env->dns != NULL)
        loop_say(fn, arg, dns_reactor(env->dns), now_ms);
    if (env->log == NULL)
        return;
    works = txlog_writer(env->log, &turned_ms);
    row_say(fn, arg, "log", works ? "works" : "waits", now_ms - turned_ms, works ? LOG_STUCK_MS : 0);
}

void threads_each(const struct rpc_env *env, int64_t now_ms, thread_row_fn *fn, void *arg)
{
    const struct site *site = env->site;
    struct pool_helper h;
    int64_t turned_ms;
    bool works;

    if (env->reactor != NULL)
        loop_say(fn, arg, env->reactor, now_ms);
    for (unsigned i = 0; env->net != NULL && i < net_server_workers(env->net); i++)
        loop_say(fn, arg, net_server_worker(env->net, i)->reactor, now_ms);
    for (unsigned i = 0; env->clients != NULL && i < client_pool_workers(env->clients); i++)
        loop_say(fn, arg, client_pool_worker(env->clients, i)->reactor, now_ms);
    queue_say(env, now_ms, fn, arg);
    works = journal_committer(site->journal, &turned_ms);
    row_say(fn, arg, "committer", works ? "works" : "waits", now_ms - turned_ms, works ? COMMITTER_STUCK_MS : 0);
    for (unsigned i = 0; i < pool_helpers(site->pool); i++) {
        pool_helper(site->pool, i, &h);
        if (!h.is_running)
            row_say(fn, arg, h.name, "waits", now_ms - h.turned_ms, 0);
        else
            row_say(fn, arg, h.name, h.is_long ? "works long" : "works", now_ms - h.turned_ms,
                    h.is_long ? 0 : HELPER_STUCK_MS);
    }
}

static void stuck_say(void *arg, const struct thread_row *row)
{
    bool *all_turn = arg;

    if (row->state != stuck)
        return;
    diag_error("control", "the thread %s has not turned for %lld s", row->name, (long long)row->ago_ms / 1000);
    *all_turn = false;
}

bool threads_turn(const struct rpc_env *env, int64_t now_ms)
{
    bool all_turn = true;

    threads_each(env, now_ms, stuck_say, &all_turn);
    return all_turn;
}
