/* queue_filter.h - which queue entries a command is about: parameters of the status socket, and their test.
 *
 * Parameters: channel, host, state, sender, recipient, older, younger (a length of time: "2h"), larger, smaller
 * (octets). A sender or recipient is a whole address, or "@domain", without ASCII case; "<>" is the null sender.
 */
#ifndef CONTROL_QUEUE_FILTER_H
#define CONTROL_QUEUE_FILTER_H

#include "base/json.h"
#include "control/rpc.h"
#include "queue/queue.h"

#define QUEUE_FILTER_PARAMS                                                                                            \
    { "channel", RPC_STR, false, "entries of this channel" }, { "host", RPC_STR, false, "to this host or domain" },    \
        { "state", RPC_STR, false, "ready, deferred, held or active" },                                                \
        { "sender", RPC_STR, false, "address, @domain, or <>" },                                                       \
        { "recipient", RPC_STR, false, "address or @domain" },                                                         \
        { "older", RPC_STR, false, "so long in the queue at least: 2h" },                                              \
        { "younger", RPC_STR, false, "so long at most" }, { "larger", RPC_INT, false, "octets at least" },             \
        { "smaller", RPC_INT, false, "octets at most" }

struct queue_filter {
    slice channel, host, sender, recipient;
    bool has_state, is_active; /* is_active: of those marked; state counts otherwise */
    enum queue_state state;
    int64_t created_before_ms, created_after_ms; /* 0: open */
    uint64_t bytes_min, bytes_max;               /* 0: open */
    struct queue *queue;
};
/* Slices point into params. ERR_SYNTAX says what was expected. */
int queue_filter_read(struct queue_filter *f, struct queue *q, const json_t *params, int64_t now_ms, struct err *err);
bool queue_filter_is_empty(const struct queue_filter *f);
bool queue_filter_matches(const struct queue_filter *f, const struct queue_entry *e);

#endif
