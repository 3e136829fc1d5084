#include "config/outgoing.h"

#include "net/conf.h"

int outgoing_log_open(struct outgoing *o, const char *dir, struct site *site, struct conf_set *conf, struct err *err)
{
    return txlog_open(&o->log, dir, &site->clock, conf_section(conf, CONF_LOG), err);
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
    struct scheduler_setup scheduler = {
        .queue = site->queue,
        .journal = site->journal,
        .helpers = site->pool,
        .clock = &site->clock,
        .conf = conf,
        .log = o->log,
        .stop_grace_ms = net->stop_grace_s * 1000,
    };

    if (channel_service_new(&o->channels, &channels, err) < 0)
        return -1;
    scheduler.types = channel_bindings(o->channels, &scheduler.type_count);
    return scheduler_new(&o->scheduler, &scheduler, err);
}

void outgoing_reload(struct outgoing *o, struct conf_set *conf)
{
    txlog_configure(o->log, conf_section(conf, CONF_LOG));
    scheduler_reload(o->scheduler, conf);
}

void outgoing_stop(struct outgoing *o, uint32_t grace_ms UNUSED)
{
    if (o->scheduler != NULL)
        scheduler_stop(o->scheduler);
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
    txlog_close(&o->log);
}
