/* progress.h - one line on a terminal that says how far long work has come.
 *
 * Model:    shown on standard error only when that is a terminal, at most ten times a second, and wiped at the end.
 * Threads:  one owner.
 */
#ifndef CONTROL_PROGRESS_H
#define CONTROL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

struct progress {
    const char *what; /* "rebuilding" */
    const struct clock *clock;
    int64_t shown_ms;
    bool is_shown, is_terminal;
};

void progress_begin(struct progress *p, const char *what, const struct clock *clock);
void progress_bytes(void *progress, uint64_t done, uint64_t all); /* fits journal_setup.progress; all 0: unknown */
void progress_text(struct progress *p, const char *text);
void progress_end(struct progress *p); /* before anything else is printed */

#endif
