#include "config/outgoing.h"

#include <unistd.h>

#include "net/conf.h"
#include "smtp/client.h"

int outgoing_log_open(struct outgoing *o, const char *dir, struct site *site, struct conf_set *conf, struct err *err)
{
    o->tally = tally_new();
    return txlog_open(&o->log, dir, &site->clock, conf_section(conf, CONF_LOG), err);
}

static unsigned threads_of(const struct queue_conf *conf)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = conf->threads != 0 ? conf->threads : cores > 0 ? (unsigned)cores : 1;

    return n < CLIENT_POOL_THREADS_MAX ? n : CLIENT_POOL_THREADS_MAX;
}

/* Who connects to other hosts; its threads do not run yet. */
static int remote_make(struct outgoing *o, struct site *site, struct conf_set *conf, struct err *err)
{
    struct client_pool_setup pool = {
        .name = "client",
        .threads = threads_of(conf_section(conf, CONF_QUEUE)),
        .helpers = site->pool,
        .clock = &site->clock,
        .conf = conf,
    };
    struct remote_setup remote = { .queue = site->queue, .journal = site->journal, .log = o->log };

    smtp_client_counters_register();
    if (dns_new(&o->dns, &site->clock, conf, err) < 0 || client_pool_new(&o->pool, &pool, err) < 0)
        return -1;
    remote.pool = o->pool;
    remote.dns = o->dns;
    return remote_new(&o->remote, &remote, err);
}

int outgoing_start(struct outgoing *o, struct site *site, struct intake *intake, struct conf_set *conf,
                   struct err *err)
{
    const struct net_conf *net = conf_section(conf, CONF_NET);
    struct channel_setup channels = {
        .journal = site->journal,
        .store = site->store,
        .dir = site->dir,
        .queue = site->queue,
        .intake = intake,
        .helpers = site->pool,
        .clock = &site->clock,
    };
    struct channel_binding others[2] = { { &channel_smtp, NULL }, { &channel_lmtp, NULL } };
    struct scheduler_setup scheduler = {
        .queue = site->queue,
        .journal = site->journal,
        .helpers = site->pool,
        .clock = &site->clock,
        .conf = conf,
        .log = o->log,
        .tally = o->tally,
        .stop_grace_ms = net->stop_grace_s * 1000,
    };

    if (remote_make(o, site, conf, err) < 0)
        return -1;
    others[0].context = others[1].context = o->remote;
    channels.others = others;
    channels.other_count = ARRAY_LEN(others);
    if (channel_service_new(&o->channels, &channels, err) < 0)
        return -1;
    scheduler.types = channel_bindings(o->channels, &scheduler.type_count);
    o->clock = &site->clock;
    if (scheduler_new(&o->scheduler, &scheduler, err) < 0)
        return -1;
    return client_pool_start(o->pool, err);
}

void outgoing_reload(struct outgoing *o, struct conf_set *conf)
{
    txlog_configure(o->log, conf_section(conf, CONF_LOG));
    dns_reload(o->dns, conf);
    client_pool_reload(o->pool, conf);
    scheduler_reload(o->scheduler, conf);
}

void outgoing_stop(struct outgoing *o, uint32_t grace_ms)
{
    int64_t until_ms = o->clock != NULL ? clock_mono_ms(o->clock) + grace_ms : 0, left_ms = 0;

    if (o->remote != NULL)
        remote_stop(o->remote); /* first: else the scheduler would wait for peers that hang */
    if (o->scheduler != NULL)
        scheduler_stop(o->scheduler);
    if (o->clock != NULL)
        left_ms = until_ms - clock_mono_ms(o->clock);
    if (o->pool != NULL)
        client_pool_stop(o->pool, left_ms > 0 ? (uint32_t)left_ms : 0);
    if (o->channels != NULL)
        channel_service_stop(o->channels);
}

void outgoing_settle(struct outgoing *o)
{
    scheduler_destroy(&o->scheduler);
}

void outgoing_destroy(struct outgoing *o)
{
    channel_service_destroy(&o->channels);
    dns_destroy(&o->dns);
    remote_destroy(&o->remote);
    client_pool_destroy(&o->pool);
    txlog_close(&o->log);
    tally_destroy(&o->tally);
}
