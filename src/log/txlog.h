/* txlog.h - the transaction log: one line for every enqueue, dequeue, deferral, return, refusal, connection and
 * authentication.
 *
 * Model:    whoever knows fills a `struct txlog_record` and calls txlog_write: the line is made on the calling thread
 *           and put into a bounded buffer; a thread of the log's own writes buffers out, so that nobody waits for a
 *           disk. When the buffer is full the record is dropped and counted (log.lost), and the log says how many are
 *           missing as soon as it can write again. The log is for people and their tools; what must not be lost stands
 *           in the journal.
 * Files:    DIR/log/mail.log_current; closed ones are mail.log-20261121T083000 (local time) and, compressed,
 *           ….zst. A current file that somebody moved or deleted is made anew.
 * Formats:  "text": see txlog_text; "json": one object a line, members named as the fields below. posthouse-log(5).
 * Threads:  txlog_write, _configure, _rotate, _flush: any. Open and close: one.
 * Errors:   a log that cannot be written is said once (diag), counted, and tried again every second; mail goes on.
 */
#ifndef LOG_TXLOG_H
#define LOG_TXLOG_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/keys.h"
#include "base/net_addr.h"

#define LOG_KEYS(K)                                                                                                    \
    K(ENUM, format, 0, "text|json|none", 0, NONE, SESSION, "LOG_FORMAT", "How records are written; none: no log.")     \
    K(U64, rotate_bytes, 104857600, 4096, 1099511627776, BYTES, SESSION, NULL, "A file is closed at this size.")       \
    K(U32, rotate_hours, 24, 1, 8760, COUNT, SESSION, NULL, "And at this age, in hours.")                              \
    K(U32, keep_days, 30, 0, 36500, DAYS, SESSION, NULL, "How long closed files are kept; 0: for ever.")               \
    K(BOOL, compress, 1, 0, 1, NONE, SESSION, NULL, "Closed files are compressed with zstd.")                          \
    K(BOOL, connections, 1, 0, 1, NONE, SESSION, "LOG_CONNECTION", "Records of connections and authentications.")      \
    K(U32, buffer_bytes, 1048576, 65536, 268435456, BYTES, SESSION, NULL, "Records that wait to be written, at most.") \
    K(U32, bad_commands_max, 10, 0, 1000, COUNT, SESSION, "MAX_B_ENTRIES", "Records of bad commands of one session.")  \
    K(U32, block_bytes, 1024, 1, 1048576, BYTES, SESSION, "BLOCK_SIZE", "The unit of sizes in the text format.")

struct log_conf {
    LOG_KEYS(KEY_FIELD)
};
extern const struct key_table log_keys;
enum log_format { LOG_TEXT, LOG_JSON, LOG_NONE };

/* What happened; slices are borrowed for the call. Empty slices and zeros are left out of the line. */
struct txlog_record {
    char code;           /* message: E D J B R K Q Z S V W; connection: O C X Y T U I; '!' is the log's own */
    char direction;      /* connections: '+' inbound, '-' outbound; 0: a message record */
    slice modifiers;     /* of "ELCBQSAU" in any order: ESMTP LMTP CHUNKING BINARYMIME PIPELINING TLS AUTH BURL */
    int64_t time_ms;     /* wall; 0: now */
    slice session;       /* id of the session or of the reception */
    slice entry;         /* queue entry, as printed */
    slice source, destination; /* channels; connections: source is the channel */
    uint64_t bytes;
    slice sender;        /* empty: null reverse-path */
    slice orcpt;         /* original recipient, without "rfc822;" */
    slice rcpt;          /* present recipient; code 'B': the command */
    uint32_t notary;     /* enum txlog_notary */
    slice envid, message_id; /* "<…>"; of a notice "<new>,<original>" */
    slice user;          /* authenticated; written with '*' in front */
    slice mechanism;     /* of an authentication */
    slice source_system; /* "helo (name [address])" */
    slice reason, diagnostic;
    slice transport;     /* "TCP|local|port|remote|port" */
    slice application;   /* "SMTP", "SMTP/host/mx" */
    bool has_queue_s;
    uint32_t queue_s;    /* seconds in the queue; connections: their length */
    slice mailbox;
    uint32_t uid;
    uint64_t octets_in, octets_out; /* closed connections */
};
enum txlog_notary { /* project-defined sum, as in the specification's reading of the legacy samples */
                    TXLOG_NEVER = 1,
                    TXLOG_SUCCESS = 2,
                    TXLOG_FAILURE = 4,
                    TXLOG_HEADERS = 8,
                    TXLOG_DELAY = 16,
};

struct txlog;
/* dir: DIR; its log/ is made. conf is copied. */
int txlog_open(struct txlog **out, const char *dir, const struct clock *clock, const struct log_conf *conf,
               struct err *err);
void txlog_configure(struct txlog *l, const struct log_conf *conf);
/* l NULL: nothing happens, so that rooms need not ask. */
void txlog_write(struct txlog *l, const struct txlog_record *r);
bool txlog_wants_connections(const struct txlog *l);
unsigned txlog_bad_commands_max(const struct txlog *l);
void txlog_rotate(struct txlog *l); /* soon */
/* Everything written so far is in the file when it returns (or could not be). Waits. */
void txlog_flush(struct txlog *l);
/* Does its thread write (or rotate, or compress)? *turned_ms, monotonic: since when it does, or has not. Any thread. */
bool txlog_writer(const struct txlog *l, int64_t *turned_ms);
void txlog_close(struct txlog **l);

/* A connection to us, for records O, C, X and U: fills direction, session, source, transport and application of `more`.
 * Nothing without log.connections. */
struct txlog_peer {
    uint64_t session;
    const struct net_addr *local, *remote;
    slice channel;           /* or the protocol, where there is no channel */
    const char *application; /* "SMTP" */
};
void txlog_connection(struct txlog *l, const struct txlog_peer *p, const struct txlog_record *more);

/* --- lines: pure -------------------------------------------------------------------------------------------------- */

/* Message:    date time source destination code[modifiers] blocks sender rfc822;original recipient [name=value ...]
 * Connection: date time channel direction code transport application [name=value ...]
 * The first fields are those of the legacy format 1, channels padded to 12 columns, an absent channel "-", an absent
 * sender "<>"; behind them the optional fields in the legacy order under their legacy two-letter names (and "id" for
 * the session), a value with a blank, a quote or a backslash in double quotes. Control characters become '?'. */
void txlog_text(const struct txlog_record *r, int64_t time_ms, uint32_t block_bytes, struct buf *out);
void txlog_json(const struct txlog_record *r, int64_t time_ms, struct buf *out);

/* What searching needs of a line of either format; slices point into it. False: not a line of this log. */
struct txlog_line {
    int64_t time_ms;
    char code;
    slice source, destination;
};
bool txlog_line_read(slice line, struct txlog_line *out);

/* --- searching ---------------------------------------------------------------------------------------------------- */

struct txlog_query {
    slice key;                  /* occurs in the line, without ASCII case; empty: all */
    slice codes;                /* one of these letters; empty: all */
    slice channel;              /* is source or destination; empty: all */
    int64_t since_ms, until_ms; /* 0: open */
};
typedef bool txlog_line_fn(void *arg, slice line, int64_t time_ms); /* false: stop */
/* Lines that match, in order of files and lines, compressed ones included. From any process, also while the daemon
 * writes. A damaged file is said and left. -1: the directory cannot be read. */
int txlog_find(const char *dir, const struct txlog_query *q, txlog_line_fn *fn, void *arg, struct err *err);
bool txlog_query_matches(const struct txlog_query *q, slice line, int64_t *time_ms);

#endif
