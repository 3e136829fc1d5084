#include "config/verbs.h"

#include "config/init.h"
#include "config/load.h"
#include "config/server.h"
#include "config/verb_config.h"
#include "config/verb_dns.h"
#include "control/verb_journal.h"
#include "control/verb_log.h"
#include "control/verb_queue.h"
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
#define FILTER_OPTIONS                                                                                                 \
    { "--channel", "NAME", "entries of this channel" }, { "--host", "HOST", "to this host or domain" },                \
        { "--state", "WORD", "ready, deferred, held or active" },                                                      \
        { "--sender", "ADDRESS", "an address, @domain, or <>" },                                                       \
        { "--recipient", "ADDRESS", "an address or @domain" },                                                         \
        { "--older", "TIME", "so long in the queue at least: 2h" }, { "--younger", "TIME", "so long at most" },        \
        { "--larger", "OCTETS", "so large at least" }, { "--smaller", "OCTETS", "so large at most" }
static const struct verb_option queue_list_options[] = {
    FILTER_OPTIONS,
    { "--sort", "WORD", "age (the default), size, next, attempts or sender" },
    { "--limit", "N", "rows (default 50)" },
    { "--offset", "N", "rows left out in front" },
    END,
};
static const struct verb_option queue_filter_options[] = { FILTER_OPTIONS, END };
static const struct verb_option queue_hand_options[] = {
    FILTER_OPTIONS,
    { "--all", NULL, "every entry" },
    { "--reason", "TEXT", "why: kept with the message; the sender of what is returned reads it" },
    END,
};
static const struct verb_option queue_summary_options[] = {
    { "--hosts", NULL, "a row for each destination" },
    END,
};
static const struct verb_option queue_top_options[] = {
    { "--limit", "N", "rows (default 20)" },
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
    { "queue", "list", NULL, 0, 0, queue_list_options, VERB_BOTH, "Entries of the queue", verb_run_rpc, "queue.list" },
    { "queue", "summary", NULL, 0, 0, queue_summary_options, VERB_BOTH, "How much waits, by channel", verb_run_rpc,
      "queue.summary" },
    { "queue", "count", NULL, 0, 0, queue_filter_options, VERB_BOTH, "How many entries there are", verb_run_rpc,
      "queue.count" },
    { "queue", "top", NULL, 0, 0, queue_top_options, VERB_BOTH, "Destinations with the most entries", verb_run_rpc,
      "queue.top" },
    { "queue", "show", "ID", 1, 1, NULL, VERB_BOTH, "One entry with its recipients", verb_run_rpc, "queue.show" },
    { "queue", "hold", "[ID...]", 0, VERB_OPERANDS_MAX, queue_hand_options, VERB_BOTH,
      "Try entries no more until they are released", verb_run_rpc, "queue.hold" },
    { "queue", "release", "[ID...]", 0, VERB_OPERANDS_MAX, queue_hand_options, VERB_BOTH,
      "Try held entries again", verb_run_rpc, "queue.release" },
    { "queue", "retry", "[ID...]", 0, VERB_OPERANDS_MAX, queue_hand_options, VERB_BOTH,
      "Try entries now", verb_run_rpc, "queue.retry" },
    { "queue", "return", "[ID...]", 0, VERB_OPERANDS_MAX, queue_hand_options, VERB_BOTH,
      "Give entries back to their senders", verb_run_rpc, "queue.return" },
    { "queue", "delete", "[ID...]", 0, VERB_OPERANDS_MAX, queue_hand_options, VERB_BOTH,
      "Remove entries and tell nobody", verb_run_rpc, "queue.delete" },
    { "queue", "reroute", "TO-CHANNEL TO-HOST [ID...]", 2, VERB_OPERANDS_MAX, queue_hand_options, VERB_BOTH,
      "Deliver entries by another channel, to another host", verb_run_rpc, "queue.reroute" },
    { "queue", "run", "[TARGET]", 0, 1, NULL, VERB_ONLINE, "Deliver what waits for a channel, a host, or all of it now",
      verb_run_rpc, "queue.run" },
    { "queue", "verify", NULL, 0, 0, NULL, VERB_BOTH, "Recount the queue and its ledger", verb_run_rpc,
      "queue.verify" },
    { "queue", "export", "FILE", 1, 1, queue_filter_options, VERB_BOTH, "Write entries with their messages into a file",
      verb_run_queue_export, "queue.export" },
    { "queue", "import", "FILE", 1, 1, NULL, VERB_BOTH, "Take entries from such a file into the queue",
      verb_run_queue_import, "queue.import" },
    { "channel", "list", NULL, 0, 0, NULL, VERB_BOTH, "Channels, what waits in them and what passed", verb_run_rpc,
      "channel.list" },
    { "channel", "stop", "CHANNEL", 1, 1, NULL, VERB_BOTH, "Deliver nothing by a channel until it is started again",
      verb_run_rpc, "channel.stop" },
    { "channel", "start", "CHANNEL", 1, 1, NULL, VERB_BOTH, "Deliver by a stopped channel again", verb_run_rpc,
      "channel.start" },
    { "channel", "run", "TARGET", 1, 1, NULL, VERB_ONLINE, "Deliver what waits for a channel or a host now",
      verb_run_rpc, "queue.run" },
    { "qm", "summarize", NULL, 0, 0, queue_summary_options, VERB_BOTH, "Legacy word for queue summary", verb_run_rpc,
      "queue.summary" },
    { "qm", "directory", NULL, 0, 0, queue_list_options, VERB_BOTH, "Legacy word for queue list", verb_run_rpc,
      "queue.list" },
    { "qm", "top", NULL, 0, 0, queue_top_options, VERB_BOTH, "Legacy word for queue top", verb_run_rpc, "queue.top" },
    { "qm", "hold", "[ID...]", 0, VERB_OPERANDS_MAX, queue_hand_options, VERB_BOTH, "Legacy word for queue hold",
      verb_run_rpc, "queue.hold" },
    { "qm", "release", "[ID...]", 0, VERB_OPERANDS_MAX, queue_hand_options, VERB_BOTH, "Legacy word for queue release",
      verb_run_rpc, "queue.release" },
    { "qm", "return", "[ID...]", 0, VERB_OPERANDS_MAX, queue_hand_options, VERB_BOTH, "Legacy word for queue return",
      verb_run_rpc, "queue.return" },
    { "qm", "delete", "[ID...]", 0, VERB_OPERANDS_MAX, queue_hand_options, VERB_BOTH, "Legacy word for queue delete",
      verb_run_rpc, "queue.delete" },
    { "qm", "counters", NULL, 0, 0, NULL, VERB_BOTH, "Legacy word for channel list", verb_run_rpc, "channel.list" },
    { "qm", "start", "CHANNEL", 1, 1, NULL, VERB_BOTH, "Legacy word for channel start", verb_run_rpc,
      "channel.start" },
    { "qm", "stop", "CHANNEL", 1, 1, NULL, VERB_BOTH, "Legacy word for channel stop", verb_run_rpc, "channel.stop" },
    { "qm", "run", "TARGET", 1, 1, NULL, VERB_ONLINE, "Legacy word for channel run", verb_run_rpc, "queue.run" },
    { "qm", "history", "KEY", 1, 1, why_options, VERB_BOTH, "Legacy word for why", verb_run_why,
      "why" },
    { "why", NULL, "KEY", 1, 1, why_options, VERB_BOTH,
      "Tell the life of a message: KEY is a queue entry, reception id, Message-ID or address", verb_run_why, "why" },
    { "log", "find", "[TEXT]", 0, 1, log_find_options, VERB_ALONE,
      "Records of the transaction log with TEXT in them: an address, a message id, a session, a host",
      verb_run_log_find, NULL },
    { "log", "tail", "[TEXT]", 0, 1, log_tail_options, VERB_ALONE, "The latest records of the transaction log",
      verb_run_log_tail, NULL },
    { "test", "mx", "DOMAIN", 1, 1, NULL, VERB_ALONE, "Show the hosts that mail for a domain would be given to",
      config_verb_test_mx, NULL },
    { "bench", "journal", NULL, 0, 0, bench_options, VERB_ALONE,
      "Measure appends a second beside a raw loop of write and sync", verb_run_bench_journal, NULL },
    { "completion", NULL, "bash", 1, 1, NULL, VERB_ALONE, "Print a completion script for the shell",
      verb_run_completion, NULL },
    { "help", NULL, "[VERB [SUB-VERB]]", 0, 2, NULL, VERB_ALONE, "List the verbs, or say more about one",
      verb_run_help, NULL },
};

const struct verb_table posthouse_verbs = { rows, sizeof rows / sizeof rows[0], config_open_dir };
