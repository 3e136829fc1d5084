/* threads.h - what each thread of the daemon does, for the service manager's watchdog and for people.
 *
 * Model:    loops turn at least once a second, the committer and the log's writer once a round, helpers once a job.
 *           Who has not turned for longer than its kind may is stuck: the watchdog is not fed any more and the service
 *           manager restarts the daemon. A thread that waits for work is never stuck, nor is a helper whose job may
 *           take long in order.
 * Threads:  any; each row is a moment of its own.
 */
#ifndef CONTROL_THREADS_H
#define CONTROL_THREADS_H

#include "control/rpc.h"

#define LOOP_STUCK_MS 30000
#define COMMITTER_STUCK_MS 120000 /* a sync of a disk that others keep busy may take very long */
#define LOG_STUCK_MS 120000       /* it writes to a disk, too, and never syncs */
#define HELPER_STUCK_MS 600000    /* reads of very many messages */

struct thread_row {
    const char *name;
    const char *state; /* "turns", "waits", "works", "works long", "stuck" */
    int64_t ago_ms;    /* since its last turn began or, when it waits, ended */
};
typedef void thread_row_fn(void *arg, const struct thread_row *row);

/* now_ms: monotonic. The reactors that env names, the log's writer, the committer, the helpers. */
void threads_each(const struct rpc_env *env, int64_t now_ms, thread_row_fn *fn, void *arg);

/* Is none stuck? Those that are get a line in the log. */
bool threads_turn(const struct rpc_env *env, int64_t now_ms);

#endif
