/* why.h - a message's whole life, read back from the journal: how it came, what was decided, every attempt, where it
 * went, and what became of it there.
 *
 * Model:    two walks through what the log still holds, segments and the history of deleted ones. The first finds the
 *           messages asked for and everything that belongs to them: receptions (intake/trace.h), queue entries, bodies,
 *           and the notices they caused. The second gathers what happened to them, in order. So it also works for mail
 *           that ended long ago, as long as journal.history_days keeps its metadata, and needs no table of its own.
 * Key:      a queue entry ("0000001f"), a reception ("id=" of the reply to the final dot and of the log), a Message-ID
 *           with or without angle brackets, or an address, which finds every message from or to it.
 * Threads:  a helper or a tool: it reads as much as the log's metadata is long.
 */
#ifndef CONTROL_WHY_H
#define CONTROL_WHY_H

#include "base/json.h"
#include "control/site.h"

#define WHY_MESSAGES_MAX 100u

struct why_query {
    slice key;
    int64_t since_ms; /* messages that came earlier are left out; 0: none */
    unsigned limit;   /* messages, the newest; 1 to WHY_MESSAGES_MAX */
};

/* {"messages": [{"id", "message_id", "sender", "bytes", "events": [{"time" (ms), "what", "who", "text"}]}],
 *  "more": whether older ones were left out}. NULL with err. */
OWNED json_t *why_find(struct site *site, const struct why_query *q, struct err *err);

#endif
