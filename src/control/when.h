/* when.h - times as people type them on a command line. Pure.
 *
 *   "90s" "15m" "2h" "3d" "1w"          so long before now
 *   "PT15M" "P3D"                       the same, ISO 8601
 *   "2026-11-21" "2026-11-21T08:30[:00]"  local time; with "Z" at the end UTC
 *   "08:30[:00]"                        today, local time
 *   "today" "yesterday"                 the beginning of the day, local time
 */
#ifndef CONTROL_WHEN_H
#define CONTROL_WHEN_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* now_ms and *ms: wall time. -1 with ERR_SYNTAX and what was expected. */
int when_parse(slice text, int64_t now_ms, int64_t *ms, struct err *err);
/* A length of time of the first two forms. */
int when_length_parse(slice text, int64_t *ms, struct err *err);
/* The two largest units of it: "12s", "5m", "1h55m", "3d4h"; less than a second, and less than none, is "0s". */
void when_length_print(int64_t ms, struct buf *out);

#endif
