/* verb_journal.h - the verbs that look after the journal itself: check, rebuild, bench journal.
 *
 * Model:    each opens the directory as the daemon would, which mends what may be mended (a torn tail, a stale index),
 *           says what it found, works, and closes in order.
 * Exit:     0; 1 when check found faults or opening found damage; else verb_exit_code.
 */
#ifndef CONTROL_VERB_JOURNAL_H
#define CONTROL_VERB_JOURNAL_H

#include "control/verb.h"

verb_fn verb_run_check, verb_run_rebuild, verb_run_bench_journal;

#endif
