/* verb.h - the command line: one table of verbs, from which parsing, help, usage errors and completion come.
 *
 * Model:    a verb is a row: name, perhaps a sub-verb, operands, options, where it can run, a line of help, a function.
 *           The table itself stands in the top room (config/verbs.c), because rows name functions of every room.
 *           verb_main reads the arguments, finds the row, checks what was given against it and calls the function,
 *           whose value is the exit code.
 * Options:  --dir DIR (else POSTHOUSE_DIR, else VERB_DIR_DEFAULT) and --json and --help go with every verb and may
 *           stand anywhere; "--name=value" and "--name value" are the same; "--" ends the options.
 * Errors:   usage: exit code 64 (EX_USAGE) and the nearest valid word. Other exit codes by kind: verb_exit_code.
 * Threads:  the main one of a process that does nothing else.
 */
#ifndef CONTROL_VERB_H
#define CONTROL_VERB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"

#define POSTHOUSE_VERSION "0.1.0"
#define VERB_DIR_DEFAULT "/var/lib/posthouse"
#define VERB_OPTIONS_MAX 12  /* of one verb */
#define VERB_OPERANDS_MAX 16

enum verb_where {
    VERB_ALONE,   /* needs no data directory */
    VERB_OFFLINE, /* works on the data while the daemon is down */
    VERB_ONLINE,  /* asks the daemon through the status socket */
    VERB_BOTH,    /* asks the daemon, or works on the data when it is down */
};

struct verb_option {
    const char *name;  /* "--hostname"; a row with NULL ends the list */
    const char *value; /* what its value is called: "NAME"; NULL: it takes none */
    const char *text;
};

struct verb_call;
typedef int verb_fn(const struct verb_call *call); /* returns the exit code */

struct verb {
    const char *name;
    const char *sub;      /* "add" of "user add", or NULL */
    const char *operands; /* as usage shows them: "ADDRESS", "[VERB [SUB-VERB]]"; NULL: none */
    unsigned operands_min, operands_max;
    const struct verb_option *options; /* NULL: none but the common ones */
    enum verb_where where;
    const char *help;     /* one line, no final full stop */
    verb_fn *run;
    const char *method;   /* of the status socket that it calls, or NULL */
};

struct conf_set;
struct verb_table {
    const struct verb *rows;
    size_t count;
    /* Reads DIR/posthouse.json for verbs that work on the data; given by the room on top, which alone knows it all. */
    int (*conf_open)(const char *dir, struct conf_set **out, struct err *err);
};

struct verb_call {
    const struct verb_table *table;
    const struct verb *verb;
    const char *program; /* path of this binary as it was called */
    const char *dir;
    bool json;           /* the answer for programs: one JSON value on standard output */
    const char *values[VERB_OPTIONS_MAX]; /* by position in verb->options; "" for a given option without value */
    const char *operands[VERB_OPERANDS_MAX];
    unsigned operand_count;
};

/* The whole command line. Returns the exit code. */
int verb_main(const struct verb_table *t, int argc, char **argv);

const char *verb_option(const struct verb_call *call, const char *name); /* "--hostname"; NULL when not given */

/* sysexits(3): usage and syntax 64, data 65, not found 66, unavailable 69, bug 70, full 73, temporary 75, denied 77. */
int verb_exit_code(enum err_kind kind);

/* Say on standard error (with --json: on standard output as {"error": …}) what failed and, when hint is not NULL, what
 * to do next. Returns the exit code. */
int verb_fail(const struct verb_call *call, const struct err *err, const char *hint, ...) PRINTF_LIKE(3, 4);

/* --- made from the table; pure ------------------------------------------------------------------------------------ */

void verb_help_all(const struct verb_table *t, struct buf *out);
/* Help of a verb, or of all rows with that name; false when there is none. */
bool verb_help(const struct verb_table *t, slice name, slice sub, struct buf *out);
void verb_usage(const struct verb *v, struct buf *out); /* "posthouse user add ADDRESS [--name NAME]", no newline */
/* The nearest name (or sub-verb of `name`), NULL when none is near. */
const char *verb_nearest(const struct verb_table *t, slice word);
const char *verb_nearest_sub(const struct verb_table *t, slice name, slice word);
void verb_completion_bash(const struct verb_table *t, struct buf *out);

/* Rows of the table that say something about the table. */
verb_fn verb_run_help, verb_run_completion;

#endif
