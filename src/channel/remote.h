/* remote.h - channels smtp and lmtp: jobs of the scheduler become connections to other hosts.
 *
 * Model:    a job is given to one thread of the client pool, where it stays. Its entries go one after the other through
 *           one client (smtp/client.h), each with the recipients that still wait, at most recipients_max in a
 *           transaction; then it asks for more. When there is no more the job ends and its connection rests for
 *           cache_s, to be taken by the next job of the destination, for which that thread is preferred.
 * Verdicts: no connection: JOB_UNREACHABLE (JOB_LIMITED on 421), and the entry under way has no result. A connection
 *           that is lost twice in a row in a transaction: JOB_UNREACHABLE, too, after results.
 * Threads:  new, stop and destroy: main. Everything else on the pool's.
 * Lifetime: new; client_pool_start; at the end scheduler_stop, stop, client_pool_stop, destroy, client_pool_destroy.
 */
#ifndef CHANNEL_REMOTE_H
#define CHANNEL_REMOTE_H

#include "net/client_pool.h"
#include "net/dns.h"
#include "queue/channel_type.h"

struct txlog;
struct remote; /* the context of both types */

extern const struct channel_type channel_smtp, channel_lmtp;

struct remote_setup { /* all borrowed */
    struct client_pool *pool;
    struct dns *dns;
    struct queue *queue;
    struct journal *journal;
    struct txlog *log; /* may be NULL */
};
int remote_new(struct remote **out, const struct remote_setup *setup, struct err *err);
void remote_stop(struct remote *r); /* connections at rest end, nothing new is begun; does not wait */
void remote_destroy(struct remote **r);

void remote_start(struct remote *r, struct channel_job *job, bool is_lmtp); /* struct channel_type.start */

#endif
