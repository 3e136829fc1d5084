/* verb_queue.h - queue export and import: through a file in DIR/run that the daemon and its caller can both open.
 *
 * Format:  one JSON object a line. The first is {"posthouse_queue": 1}; each further one an entry: "channel", "host",
 *          "state", "priority", "created" and "due" (wall clock ms), "attempts", "sender", "recipients" ({"address",
 *          "original", "orcpt", "notify", "status", "diagnostic"}), "message_id", ... and "octets", the message in
 *          Base64.
 *          Recipients that have ended are not in it. An imported entry is a new one: its age and its attempts go on.
 */
#ifndef CONTROL_VERB_QUEUE_H
#define CONTROL_VERB_QUEUE_H

#include "control/verb.h"

verb_fn verb_run_queue_export, verb_run_queue_import;

#endif
