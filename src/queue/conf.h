/* conf.h - channel blocks and pools: sections "channels", "pools", "queue".
 *
 * Model:    "channels" is an object of named channel blocks; built-in ones exist without being written:
 *             tcp_local  smtp       mail to other hosts, by MX or by the host of a route
 *             tcp_lmtp   lmtp       mail to LMTP servers named by a route
 *             ims-ms     store      the message store (queued when it cannot be direct)
 *             process    process    notices and other mail made here, to be routed
 *             hold       hold       keeps what it is given until it is released
 *             bitbucket  bitbucket  throws away what it is given
 *           A block in the document overrides keys of the built-in one or makes a further channel. "pools" is an
 *           object of named pools with a job_limit: DEFAULT, LOCAL_POOL, IMS_POOL and SMTP_POOL exist without being
 *           written. Keywords keep their legacy names.
 * Times:    durations are ISO 8601 ("PT30M", "P1D") or a number (of JSON or as a string), which counts days in notices
 *           and minutes in backoff. A year has 365 days, a month 30.
 */
#ifndef QUEUE_CONF_H
#define QUEUE_CONF_H

#include "base/confset.h"
#include "base/keys.h"

#define QUEUE_TIMES_MAX 8      /* backoff: the last repeats; notices: warnings, then the return */
#define CHANNEL_NAME_MAX 32    /* octets */
#define CHANNELS_MAX 1000      /* blocks, and pools, of a document */

#define CHANNEL_KEYS(K)                                                                                                \
    K(STR, type, NULL, 0, 32, NONE, SESSION, NULL, "What delivers: smtp, lmtp, store, process, hold or bitbucket.")    \
    K(STR, pool, "DEFAULT", 0, 32, NONE, SESSION, "pool", "Pool whose job_limit its jobs count against.")              \
    K(U32, maxjobs, 0, 0, 10000, COUNT, SESSION, "maxjobs", "Jobs of this channel at once; 0: as many as the pool.")   \
    K(U32, threaddepth, 10, 1, 10000, COUNT, SESSION, "threaddepth",                                                   \
      "Waiting messages of a destination for which one job is enough; each further multiple may start another.")       \
    K(U32, host_jobs, 20, 1, 10000, COUNT, SESSION, NULL, "Jobs to one destination at once, at most.")                 \
    K(STRS, backoff, NULL, 0, 32, NONE, SESSION, "backoff",                                                            \
      "Waits after the first, second, … failed attempt, for all priorities; the last repeats. Without it 60, 120, "    \
      "120, 240, 240, 240 and 480 minutes; half of that for urgent, twice for nonurgent mail.")                        \
    K(STRS, urgentbackoff, NULL, 0, 32, NONE, SESSION, "urgentbackoff", "The same for urgent mail.")                   \
    K(STRS, normalbackoff, NULL, 0, 32, NONE, SESSION, "normalbackoff", "The same for mail of normal priority.")       \
    K(STRS, nonurgentbackoff, NULL, 0, 32, NONE, SESSION, "nonurgentbackoff", "The same for mail that is not urgent.") \
    K(STRS, notices, "3|6|9|12", 1, 32, NONE, SESSION, "notices",                                                      \
      "Ages at which the sender is warned; at the last one the message is returned.")                                  \
    K(STRS, urgentnotices, NULL, 1, 32, NONE, SESSION, "urgentnotices", "The same for urgent mail.")                   \
    K(STRS, normalnotices, NULL, 1, 32, NONE, SESSION, "normalnotices", "The same for mail of normal priority.")       \
    K(STRS, nonurgentnotices, NULL, 1, 32, NONE, SESSION, "nonurgentnotices", "The same for mail that is not urgent.") \
    K(ENUM, sendpost, 0, "nosendpost|errsendpost|copysendpost|sendpost", 0, NONE, SESSION, "sendpost",                 \
      "Copies of failure notices to postmaster: never, when the notice cannot be returned, unless the sender is "      \
      "empty, always.")                                                                                                \
    K(ENUM, warnpost, 0, "nowarnpost|errwarnpost|copywarnpost|warnpost", 0, NONE, SESSION, "warnpost",                 \
      "The same for warnings.")                                                                                        \
    K(STR, daemon, NULL, 0, 255, NONE, SESSION, "daemon",                                                              \
      "Host that gets all mail of the channel: a name, [address], or unix:/path; default: the route's or the "         \
      "domain's.")                                                                                                     \
    K(U32, port, 0, 0, 65535, PORT, SESSION, "port", "Port to connect to; 0: 25, LMTP 24.")                            \
    K(ENUM, mx, 0, "mx|nomx", 0, NONE, SESSION, "mx", "Whether MX records are looked up for the host.")                \
    K(ENUM, tls, 1, "notls|maytls|musttls", 0, NONE, SESSION, "maytlsclient",                                          \
      "STARTTLS never, when offered, or always (mail waits otherwise).")                                               \
    K(BOOL, tls_verify, 0, 0, 1, NONE, SESSION, NULL, "With musttls: the certificate must be valid for the host.")     \
    K(STR, auth_user, NULL, 0, 255, NONE, SESSION, NULL, "User name for AUTH at a smart host.")                        \
    K(STR, auth_password_file, NULL, 0, 4095, PATH, SESSION, NULL, "File whose first line is its password.")           \
    K(STR, interfaceaddress, NULL, 0, 64, NONE, SESSION, "interfaceaddress", "Local address to connect from.")         \
    K(U32, transactions_max, 100, 1, 1000000, COUNT, SESSION, NULL, "Messages on one connection.")                     \
    K(U32, recipients_max, 100, 1, 10000, COUNT, SESSION, NULL,                                                        \
      "Recipients of one transaction; more go in further ones.")                                                       \
    K(U32, cache_s, 2, 0, 300, SECONDS, SESSION, NULL, "How long an idle connection is kept for the next message.")    \
    K(BOOL, logging, 1, 0, 1, NONE, SESSION, "logging", "Whether the transaction log gets records of this channel.")   \
    K(BOOL, held, 0, 0, 1, NONE, SESSION, NULL, "New messages of the channel are held.")                               \
    K(BOOL, queue_first, 0, 0, 1, NONE, SESSION, NULL,                                                                 \
      "Deliveries to the store wait in the queue instead of being made while the client waits.")                       \
    K(U32, content_return_limit, 1048576, 0, 1073741824, BYTES, SESSION, "CONTENT_RETURN_BLOCK_LIMIT",                 \
      "Notices carry the whole message up to this size, else only its header.")

struct queue_times {
    unsigned count;
    int64_t ms[QUEUE_TIMES_MAX];
};
enum queue_priority { QUEUE_URGENT, QUEUE_NORMAL, QUEUE_NONURGENT, QUEUE_PRIORITIES };

struct channel_conf {
    CHANNEL_KEYS(KEY_FIELD)
    slice name;
    /* read from the lists above: the priority's own, else the common one, else the defaults of the specification */
    struct queue_times backoff_of[QUEUE_PRIORITIES], notices_of[QUEUE_PRIORITIES];
};

#define POOL_KEYS(K)                                                                                                   \
    K(U32, job_limit, 10, 1, 100000, COUNT, SESSION, "job_limit",                                                      \
      "Jobs of all channels of the pool at once; a job is one connection, or one delivery to the store.")

struct pool_conf {
    POOL_KEYS(KEY_FIELD)
    slice name;
};

#define QUEUE_KEYS(K)                                                                                                  \
    K(U32, young_s, 5, 1, 3600, SECONDS, SESSION, NULL, "A message that waits so long is entered in the index.")       \
    K(U32, young_max, 10000, 16, 1000000, COUNT, SESSION, NULL, "Messages at most that are known to memory only.")     \
    K(U32, entry_recipients_max, 1000, 1, 10000, COUNT, SESSION, NULL,                                                 \
      "Recipients of one queue entry; more are split. Very long addresses may split it earlier.")                      \
    K(U32, entries_max, 0, 0, 100000000, COUNT, SESSION, NULL,                                                         \
      "Entries at most, then new mail gets 452 4.3.1; 0: no limit.")                                                   \
    K(U32, jitter_percent, 0, 0, 50, PERCENT, SESSION, NULL, "Retry times are spread by so much.")                     \
    K(U32, dead_retry_min_s, 60, 1, 86400, SECONDS, SESSION, NULL,                                                     \
      "First wait before a destination that cannot be reached is probed again; doubled with each failure.")            \
    K(U32, dead_retry_max_s, 3600, 1, 86400, SECONDS, SESSION, NULL, "Longest such wait.")                             \
    K(U32, threads, 0, 0, 64, COUNT, RESTART, NULL,                                                                    \
      "Threads that deliver by SMTP and LMTP; 0: one per processor core.")                                             \
    K(BOOL, notices_in_hours, 0, 0, 1, NONE, SESSION, "RETURN_UNITS", "Numbers in notices count hours, not days.")

struct queue_conf {
    QUEUE_KEYS(KEY_FIELD)
};

/* section CONF_CHANNELS */
struct channels_conf {
    struct channel_conf *channels; /* built-in ones first, in the order above */
    size_t channel_count;
    struct pool_conf *pools;
    size_t pool_count;
};

extern const struct key_table queue_keys;   /* "queue" */
extern const struct key_table channel_keys; /* "channels/" and '*' */
extern const struct key_table pool_keys;    /* "pools/" and '*' */

/* channels, pools: members of the document or NULL. Unknown pools and types, bad durations and notices that do not rise
 * are errors. Returns their number. What `out` holds lives in mem. */
unsigned channels_conf_read(const json_t *channels, const json_t *pools, bool hours, struct channels_conf *out,
                            struct arena *mem, keys_report_fn *report, void *arg);
const struct channel_conf *channel_conf_find(const struct channels_conf *c, slice name); /* NULL: none */
const struct pool_conf *pool_conf_find(const struct channels_conf *c, slice name);       /* NULL: none */
/* "PT30M", "P1DT2H", "90" (times unit_ms). -1 with ERR_SYNTAX; err->text says at which octet. At most 10 years. */
int queue_duration_parse(slice text, int64_t unit_ms, int64_t *ms, struct err *err);
/* Wait after the n-th failed attempt (n >= 1). */
int64_t queue_backoff(const struct channel_conf *c, enum queue_priority p, unsigned failed_attempts);

#endif
