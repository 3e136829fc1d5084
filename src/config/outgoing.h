/* outgoing.h - the queue's machinery in one process: log, names, connections, channels and the scheduler; their order
 * of start and stop in one place.
 *
 * Stop:     no new attempt begins, and those that run have net.stop_grace_s; then connections are cut, and what they
 *           have not answered stays in the queue. What was answered is recorded before the journal closes.
 * Threads:  main.
 */
#ifndef CONFIG_OUTGOING_H
#define CONFIG_OUTGOING_H

#include "channel/channel.h"
#include "channel/remote.h"
#include "control/site.h"
#include "log/txlog.h"
#include "queue/scheduler.h"

struct outgoing {
    const struct clock *clock;
    struct txlog *log;
    struct tally *tally;
    struct dns *dns;
    struct client_pool *pool;
    struct remote *remote;
    struct channel_service *channels;
    struct scheduler *scheduler;
};

int outgoing_log_open(struct outgoing *o, const char *dir, struct site *site, struct conf_set *conf, struct err *err);
int outgoing_start(struct outgoing *o, struct site *site, struct intake *intake, struct conf_set *conf,
                   struct err *err);
void outgoing_reload(struct outgoing *o, struct conf_set *conf);
/* Each is legal on what was not started. */
void outgoing_stop(struct outgoing *o, uint32_t grace_ms);
void outgoing_settle(struct outgoing *o);  /* after the journal was closed, before the helpers go */
void outgoing_destroy(struct outgoing *o); /* after the helpers have gone */

#endif
