/* channel.h - the kinds of channels, as the scheduler needs them: what delivers an entry of the queue.
 *
 * Model:    a row of struct channel_type for each type of the configuration:
 *             smtp, lmtp   connections to other hosts, on threads of their own (remote.h)
 *             store        into the mailbox of the user that is the entry's host, inside the operation that ends it
 *             process      routed by intake like mail that comes in, the body shared, not copied: its recipients end
 *                          expanded, and what they became is in the same operation
 *             hold         keeps what it is given (intake makes it held); what is released is routed like that, and its
 *                          recipients end moved
 *             bitbucket    throws away
 *           Everything but smtp and lmtp works on one reactor, on a thread of its own; a job takes its entries in turn,
 *           and up to LOCAL_OPEN_MAX of them may be on their way to disk.
 * Threads:  the functions below: main.
 * Lifetime: new; scheduler_new with the bindings; at the end scheduler_stop, stop, scheduler_destroy, journal_close,
 *           helpers gone, destroy. Queue, intake and journal outlive the last answer.
 */
#ifndef CHANNEL_CHANNEL_H
#define CHANNEL_CHANNEL_H

#include "intake/intake.h"
#include "queue/channel_type.h"

#define LOCAL_OPEN_MAX 64u

struct channel_service;

struct channel_setup {
    struct journal *journal;
    struct store *store;
    struct dir *dir;
    struct queue *queue;
    struct intake *intake;
    struct pool *helpers;
    const struct clock *clock;
    const struct channel_binding *others; /* of smtp and lmtp; copied */
    unsigned other_count;
};

int channel_service_new(struct channel_service **out, const struct channel_setup *setup, struct err *err);
/* They live as long as the service. */
const struct channel_binding *channel_bindings(const struct channel_service *s, unsigned *count);
/* It turns at least once a second: for the watchdog. */
const struct reactor *channel_service_reactor(const struct channel_service *s);
void channel_service_stop(struct channel_service *s); /* after scheduler_stop */
void channel_service_destroy(struct channel_service **s);

#endif
