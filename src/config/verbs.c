#include "config/verbs.h"

#include "config/init.h"
#include "config/load.h"
#include "config/server.h"
#include "config/verb_config.h"
#include "control/verb_journal.h"
#include "control/verb_log.h"
#include "control/verb_rpc.h"
#include "control/verb_why.h"

#define END { NULL, NULL, NULL }

static const struct verb_option init_options[] = {
    { "--hostname", "NAME", "name of this machine in the world's DNS" },
    { "--domain", "DOMAIN", "first domain whose mail is taken" },
    { "--listen", "ADDRESS", "where to listen (default: every address)" },
    { "--port-offset", "N", "added to every port; 20000: SMTP 20025, IMAP 20143" },
    { "--user", "ADDRESS", "first user; gets mail for postmaster and abuse, too" },
    { "--password-stdin", NULL, "read that user's password from standard input" },
    END,
};
static const struct verb_option run_options[] = {
    { "--foreground", NULL, "the default: the daemon never leaves the terminal by itself" },
    { "--user", "NAME", "give up root for this account once started" },
    END,
};
static const struct verb_option status_options[] = {
    { "--metrics", NULL, "all counters as Prometheus text" },
    END,
};
static const struct verb_option user_add_options[] = {
    { "--password-stdin", NULL, "read the password from standard input" },
    { "--name", "TEXT", "display name" },
    { "--quota", "OCTETS", "how much may be stored; 0: no limit" },
    { "--admin", NULL, "may administer" },
    END,
};
static const struct verb_option user_set_options[] = {
    { "--password-stdin", NULL, "read a new password from standard input" },
    { "--name", "TEXT", "display name" },
    { "--quota", "OCTETS", "how much may be stored; 0: no limit" },
    { "--admin", "YES-NO", "may administer" },
    { "--status", "WORD", "active, inactive or hold" },
    END,
};
static const struct verb_option password_options[] = {
    { "--password-stdin", NULL, "read the password from standard input" },
    END,
};
static const struct verb_option show_options[] = {
    { "--effective", NULL, "with every default filled in" },
    { "--running", NULL, "what the daemon runs with" },
    END,
};
static const struct verb_option log_find_options[] = {
    { "--code", "LETTERS", "only these codes: E enqueued, D delivered, Q deferred, R returned, J refused …" },
    { "--channel", "NAME", "only records from or to this channel" },
    { "--since", "TIME", "2h, 3d, 08:30, 2026-11-21, 2026-11-21T08:30, yesterday" },
    { "--until", "TIME", "the same" },
    { "--limit", "N", "stop after so many" },
    END,
};
static const struct verb_option log_tail_options[] = {
    { "--code", "LETTERS", "only records with one of these codes" },
    { "--channel", "NAME", "only records from or to this channel" },
    { "--since", "TIME", "2h, 3d, 08:30, 2026-11-21, 2026-11-21T08:30, yesterday" },
    { "--lines", "N", "how many (default 10)" },
    { "--follow", NULL, "go on with what is written from now on" },
    END,
};
static const struct verb_option why_options[] = {
    { "--since", "TIME", "only messages that came since: 2h, 3d, 2026-11-21, yesterday" },
    { "--limit", "N", "at most so many messages, the newest (default 20)" },
    END,
};
static const struct verb_option bench_options[] = {
    { "--ms", "N", "how long each row is measured (default 2000)" },
    { "--bytes", "N", "octets of an append (default 4096)" },
    END,
};

/* Rows of one verb stand together, in the order in which help shows them. */
static const struct verb rows[] = {
    /* verb, sub-verb, operands, least, most, options, where, help, function, method */
    { "init", NULL, NULL, 0, 0, init_options, VERB_ALONE, "Make a data directory that can be started at once",
      init_verb_run, NULL },
    { "run", NULL, NULL, 0, 0, run_options, VERB_OFFLINE, "Be the daemon", server_verb_run, NULL },
    { "stop", NULL, NULL, 0, 0, NULL, VERB_ONLINE, "Stop the daemon: what runs is finished first", verb_run_stop,
      "stop" },
    { "reload", NULL, NULL, 0, 0, NULL, VERB_ONLINE, "Take posthouse.json over; a wrong one changes nothing",
      verb_run_reload, "reload" },
    { "status", NULL, NULL, 0, 0, status_options, VERB_ONLINE,
      "Show how the daemon is: journal, memory, ledger, counters", verb_run_status, "status" },
    { "sessions", NULL, NULL, 0, 0, NULL, VERB_ONLINE, "List connections and what each waits for", verb_run_rpc,
      "sessions" },
    { "config", "check", "[FILE]", 0, 1, NULL, VERB_ALONE, "Show everything that is wrong in posthouse.json",
      config_verb_check, NULL },
    { "config", "show", NULL, 0, 0, show_options, VERB_ALONE, "Print the configuration", config_verb_show, NULL },
    { "config", "describe", "[KEY]", 0, 1, NULL, VERB_ALONE, "Say what a key means, or list sections and keys",
      config_verb_describe, NULL },
    { "config", "get", "KEY", 1, 1, NULL, VERB_ALONE, "Print the value of a key", config_verb_get, NULL },
    { "config", "set", "KEY VALUE", 2, 2, NULL, VERB_ALONE, "Change a key in posthouse.json", config_verb_set, NULL },
    { "config", "unset", "KEY", 1, 1, NULL, VERB_ALONE, "Go back to the default of a key", config_verb_unset, NULL },
    { "config", "schema", NULL, 0, 0, NULL, VERB_ALONE, "Print the JSON Schema of posthouse.json", config_verb_schema,
      NULL },
    { "domain", "add", "DOMAIN", 1, 1, NULL, VERB_BOTH, "Take mail for a domain", verb_run_rpc, "domain.add" },
    { "domain", "list", NULL, 0, 0, NULL, VERB_BOTH, "List domains", verb_run_rpc, "domain.list" },
    { "domain", "delete", "DOMAIN", 1, 1, NULL, VERB_BOTH, "Take no more mail for a domain", verb_run_rpc,
      "domain.delete" },
    { "user", "add", "ADDRESS", 1, 1, user_add_options, VERB_BOTH, "Make a user and its mailboxes", verb_run_rpc,
      "user.add" },
    { "user", "list", "[DOMAIN]", 0, 1, NULL, VERB_BOTH, "List users", verb_run_rpc, "user.list" },
    { "user", "show", "ADDRESS", 1, 1, NULL, VERB_BOTH, "Show one user", verb_run_rpc, "user.show" },
    { "user", "set", "ADDRESS", 1, 1, user_set_options, VERB_BOTH, "Change a user; an inactive one is disconnected",
      verb_run_rpc, "user.set" },
    { "user", "passwd", "ADDRESS", 1, 1, password_options, VERB_BOTH, "Set a user's password", verb_run_rpc,
      "user.passwd" },
    { "user", "delete", "ADDRESS", 1, 1, NULL, VERB_BOTH, "Delete a user with all mail", verb_run_rpc,
      "user.delete" },
    { "alias", "set", "ADDRESS TARGET...", 2, VERB_OPERANDS_MAX, NULL, VERB_BOTH, "Make or replace an alias",
      verb_run_rpc, "alias.set" },
    { "alias", "list", NULL, 0, 0, NULL, VERB_BOTH, "List aliases", verb_run_rpc, "alias.list" },
    { "alias", "delete", "ADDRESS", 1, 1, NULL, VERB_BOTH, "Delete an alias", verb_run_rpc, "alias.delete" },
    { "mailbox", "list", "ADDRESS", 1, 1, NULL, VERB_BOTH, "List a user's mailboxes", verb_run_rpc, "mailbox.list" },
    { "mailbox", "create", "ADDRESS MAILBOX", 2, 2, NULL, VERB_BOTH, "Make a mailbox", verb_run_rpc,
      "mailbox.create" },
    { "mailbox", "delete", "ADDRESS MAILBOX", 2, 2, NULL, VERB_BOTH, "Delete a mailbox with its mail", verb_run_rpc,
      "mailbox.delete" },
    { "quota", "get", "ADDRESS", 1, 1, NULL, VERB_BOTH, "Show how much a user stores", verb_run_rpc, "quota.get" },
    { "quota", "set", "ADDRESS BYTES", 2, 2, NULL, VERB_BOTH, "Limit how much a user stores; 0: no limit",
      verb_run_rpc, "quota.set" },
    { "check", NULL, NULL, 0, 0, NULL, VERB_BOTH,
      "Verify every checksum, every reference and the index against a rebuilt one", verb_run_check, "check" },
    { "rebuild", NULL, NULL, 0, 0, NULL, VERB_BOTH,
      "Throw the index away and rebuild it from the journal; a daemon does so at its next start", verb_run_rebuild,
      "rebuild" },
    { "why", NULL, "ID|MESSAGE-ID|ADDRESS", 1, 1, why_options, VERB_BOTH,
      "Tell a message's life: how it came, what was decided, every attempt, where it is", verb_run_why, "why" },
    { "log", "find", "[TEXT]", 0, 1, log_find_options, VERB_ALONE,
      "Records of the transaction log with TEXT in them: an address, a message id, a session, a host",
      verb_run_log_find, NULL },
    { "log", "tail", "[TEXT]", 0, 1, log_tail_options, VERB_ALONE, "The latest records of the transaction log",
      verb_run_log_tail, NULL },
    { "bench", "journal", NULL, 0, 0, bench_options, VERB_ALONE,
      "Measure appends a second beside a raw loop of write and sync", verb_run_bench_journal, NULL },
    { "completion", NULL, "bash", 1, 1, NULL, VERB_ALONE, "Print a completion script for the shell",
      verb_run_completion, NULL },
    { "help", NULL, "[VERB [SUB-VERB]]", 0, 2, NULL, VERB_ALONE, "List the verbs, or say more about one",
      verb_run_help, NULL },
};

const struct verb_table posthouse_verbs = { rows, sizeof rows / sizeof rows[0], config_open_dir };
