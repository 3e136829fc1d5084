#include "config/verbs.h"

#include "control/verb_journal.h"

static const struct verb_option bench_options[] = {
    { "--ms", "N", "how long each row is measured (default 2000)" },
    { "--bytes", "N", "octets of an append (default 4096)" },
    { NULL, NULL, NULL },
};

/* Rows of one verb stand together, in the order in which help shows them. */
static const struct verb rows[] = {
    { "check", NULL, NULL, 0, 0, NULL, VERB_OFFLINE,
      "Verify every checksum, every reference and the index against a rebuilt one", verb_run_check, NULL },
    { "rebuild", NULL, NULL, 0, 0, NULL, VERB_OFFLINE, "Throw the index away and rebuild it from the journal",
      verb_run_rebuild, NULL },
    { "bench", "journal", NULL, 0, 0, bench_options, VERB_ALONE,
      "Measure appends a second beside a raw loop of write and sync", verb_run_bench_journal, NULL },
    { "completion", NULL, "bash", 1, 1, NULL, VERB_ALONE, "Print a completion script for the shell",
      verb_run_completion, NULL },
    { "help", NULL, "[VERB [SUB-VERB]]", 0, 2, NULL, VERB_ALONE, "List the verbs, or say more about one",
      verb_run_help, NULL },
};

const struct verb_table posthouse_verbs = { rows, sizeof rows / sizeof rows[0] };
