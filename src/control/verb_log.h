/* verb_log.h - reading the transaction log from the command line; works on the files, with or without a daemon. */
#ifndef CONTROL_VERB_LOG_H
#define CONTROL_VERB_LOG_H

#include "control/verb.h"

verb_fn verb_run_log_find; /* exit code 1 when nothing matches, as grep has it */
verb_fn verb_run_log_tail; /* --lines, --follow: until a signal ends it */

#endif
