/* metrics.h - everything that is counted, in the Prometheus text format 0.0.4.
 *
 * Model:    every counter of the process; per channel what passed through (queue/tally.h) and what waits, and a few
 *           facts. Families have HELP and TYPE; samples of a family stand together.
 * Threads:  any but a reactor's: the scheduler may be waited for, a second at most.
 */
#ifndef CONTROL_METRICS_H
#define CONTROL_METRICS_H

#include "control/rpc.h"

/* conf: the set that is in effect. */
void metrics_text(const struct rpc_env *env, const struct conf_set *conf, struct buf *out);

#endif
