/* fault_run.h - what the fault programs have in common: options, a place to work in, cases, child processes, a result.
 *
 * Options:  --soak (the long form), --seed N, --keep (leave the files of a failed case behind), --filter WORD (only
 *           such cases)
 * Environment: BUILD (where kvwork and the preloaded objects are), SAN (a sanitizer: limits are longer), TMPDIR.
 * Output:   "ok NAME" and "not ok NAME" lines with details behind '#'; in the long form BUILD/soak/PROGRAM.txt, too.
 */
#ifndef T_FAULT_RUN_H
#define T_FAULT_RUN_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/own.h"

struct fault_run {
    const char *program;
    const char *filter;
    char build[PATH_MAX];
    char work[PATH_MAX]; /* an empty directory of our own, in memory where possible */
    uint64_t seed;
    bool soak, keep;
    unsigned slow;       /* 1, or more under a sanitizer: for time limits ... */
    unsigned thin;       /* ... and so many times fewer samples are taken in the short form */
    unsigned passed, failed;
    int64_t began_ms;
    FILE *result;        /* NULL in the short form */
};

void fault_begin(struct fault_run *r, const char *program, int argc, char **argv);
int fault_end(struct fault_run *r); /* the exit status */
bool fault_wanted(const struct fault_run *r, const char *name);
/* One case is over; fmt: details for people. Returns `good`. */
bool fault_case(struct fault_run *r, const char *name, bool good, const char *fmt, ...) PRINTF_LIKE(4, 5);
void fault_note(struct fault_run *r, const char *fmt, ...) PRINTF_LIKE(2, 3); /* "# …" */
/* work/NAME; `out` is returned. fresh: an empty directory is made there. */
char *fault_path(const struct fault_run *r, char out[PATH_MAX], const char *name, bool fresh);
/* A failed case: keep its files, or say nothing. */
void fault_keep(struct fault_run *r, const char *path, const char *name);

struct fault_spawn {
    const char *program;     /* NULL: kvwork */
    const char *preload;     /* "record", "fault", or NULL */
    const char *environment[8]; /* NAME=VALUE, NULL at the end */
    const char *const *args; /* of kvwork, NULL at the end */
    int mark_fd;             /* passed on under the same number; -1: none */
    unsigned timeout_s;
};
/* Start the program; its standard error goes to work/stderr. Returns its process id. */
int fault_start(struct fault_run *r, const struct fault_spawn *s);
/* Start and wait: the wait status, or -1 after the limit. */
int fault_spawn(struct fault_run *r, const struct fault_spawn *s);
/* The last octets of work/stderr, for a failed case. Static memory. */
const char *fault_stderr(struct fault_run *r, char out[2000]);

#endif
