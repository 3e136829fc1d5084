/* internal.h - the IMAP session from inside: its states, the command under way, the selected mailbox.
 *
 * Model:    session.c drives: it frames commands and steps through the states below. command.c finds the row of a
 *           command and starts it. A handler answers at once (NEXT_DONE), or leaves a `resume` function in the run and
 *           is called again: at once (NEXT_AGAIN, a slice of a long command), when an answer came (NEXT_WAIT), or it
 *           has entered a state that reads from the client (NEXT_READ). What may take longer than a reactor's budget -
 *           octets that are not in memory, parsing, texts - is work for a helper (imap_help).
 * Memory:   a session at rest holds no buffer and no arena block: what a command needs is in s->base.cmd_mem and
 *           s->line, both released when it ends.
 * Threads:  owner: reactor. Answers of the store and of the login come as posts and find the session by its id.
 */
#ifndef IMAP_INTERNAL_H
#define IMAP_INTERNAL_H

#include "base/counter.h"
#include "imap/imap.h"
#include "imap/reply.h"
#include "imap/syntax.h"
#include "mail/mime.h"
#include "store/message.h"
#include "store/view.h"

#define IMAP_SLICE_MESSAGES 500u           /* JOURNAL.md: long FETCH and SEARCH go in slices */
#define IMAP_SLICE_BYTES (2u * 1024 * 1024) /* octets of messages looked into in one slice, on a helper */
#define IMAP_SLICE_OUT_BYTES (512u * 1024)  /* octets of answers that a helper makes in one slice */
#define IMAP_EARLY_BYTES_MAX (16u * 1024)  /* of a command before login */

/* The states of the driver. What a session may do (logged in, selected) is its level; the two are independent.
 *
 *   GREETING ---greet---> COMMAND <--line, literal--> LITERAL        assembling s->line
 *                           |  ^
 *              run_line     |  | finish (tagged answer was put; buffers released)
 *                           v  |
 *                         RUNNING <--> AUTH      waits for a response line of the client
 *                                  --> IDLING    waits for DONE or a change of the mailbox; then COMMAND
 *              COMMAND --> APPENDING --> RUNNING takes the octets of a message
 *                                  --> TLS       handshake; then COMMAND
 *   any -----------------> BYE                   a farewell was put; the session closes
 *
 * In COMMAND, LITERAL there is no run; in RUNNING, AUTH, IDLING, APPENDING there is one.
 */
enum imap_state {
    IMAP_GREETING,
    IMAP_COMMAND,
    IMAP_LITERAL,
    IMAP_RUNNING,
    IMAP_AUTH,
    IMAP_IDLING,
    IMAP_APPENDING,
    IMAP_TLS,
    IMAP_BYE,
    IMAP_STATE_COUNT
};

enum imap_level { LEVEL_GREETED = 1, LEVEL_LOGGED_IN = 2, LEVEL_SELECTED = 4 }; /* bits: rows of commands hold sets */

enum imap_next { NEXT_DONE, NEXT_AGAIN, NEXT_WAIT, NEXT_READ };

struct imap_session;
typedef enum imap_next imap_run_fn(struct imap_session *s);
typedef void imap_work_fn(struct imap_session *s); /* on a helper */

enum imap_command_flags {
    CMD_UID = 1,        /* has a UID form */
    CMD_UID_ONLY = 2,   /* unused without UID */
    CMD_NO_EXPUNGE = 4, /* no EXPUNGE may be sent while it runs, RFC 3501 7.4.1 (the UID forms are free) */
    CMD_CHANGES = 8,    /* needs a mailbox that was selected, not examined */
    CMD_MAIL = 16,      /* needs the messages of the account in the index, which may be under reconstruction */
};
struct imap_command {
    const char *name;
    unsigned levels; /* enum imap_level */
    unsigned flags;
    imap_run_fn *run; /* s->run->in stands behind the name */
};

/* The command under way; in cmd_mem. */
struct imap_run {
    slice tag;
    const struct imap_command *row;
    bool is_uid;
    struct imap_in in;
    imap_run_fn *resume;
    void *data; /* the handler's own, in cmd_mem */
    void (*release)(struct imap_session *s); /* what data holds beyond memory; also when the session dies */
    const char *wait;
    bool is_waiting; /* NEXT_WAIT was said: resume only when an answer is there */
    bool is_ready;   /* a helper has done its part */
    bool is_helped;  /* a helper is at work (imap_help): nothing else happens until it is done */
    bool is_warm;    /* the mailbox was opened anew by a helper just now */
};

/* The selected mailbox as this client sees it. `view` numbers its messages. `told` says which flags it knows; it runs
 * ahead of `view` only while expunges wait for a command that allows them. `fresh` (or NULL) is newer than both: the
 * state that the answers of the command under way show; imap_box_sync ends it. */
struct imap_box {
    struct store_view *view, *told, *fresh;
    struct store_view *warm; /* made by a helper so that opening it again is quick */
    uint32_t keywords_told;
    uint64_t mailbox;
    bool is_read_only;
    bool is_changed; /* IDLE: the watch fired */
    bool is_watched;
    bool is_gone;    /* deleted under the session */
    struct store_watch watch;
    struct imap_session *session;
};

struct imap_session {
    struct session base; /* first */
    enum imap_state state;
    enum imap_level level;
    struct buf line; /* the command so far: lines and literals */
    uint64_t literal_left;
    bool is_skipping;  /* the command is over a limit: read to its end, then refuse */
    bool is_condstore; /* RFC 7162: MODSEQ goes with every FETCH */
    bool wants_bye;
    uint32_t errors, login_failures;
    uint64_t account;
    struct imap_box *box;
    struct imap_run *run;
    struct store_request *answer; /* of the request that the run waits for */
    struct auth_exchange *exchange;
    bool exchange_is_done;
    bool exchange_had_secret; /* wipe s->line */
    struct job help;
    imap_work_fn *work;
};

enum imap_counter {
    IC_SESSIONS, IC_OPEN, IC_COMMANDS, IC_BAD, IC_LOGINS, IC_LOGIN_FAILURES, IC_TOO_MANY_ERRORS, IC_TOO_BIG,
    IC_TIMEOUTS, IC_FETCHED, IC_APPENDED, IC_IDLING, IC_COUNT
};
extern struct counter imap_counters[IC_COUNT];
static inline void imap_count(enum imap_counter c)
{
    counter_add(&imap_counters[c], 1);
}

static inline const struct imap_service *imap_service(const struct imap_session *s)
{
    return s->base.service;
}
static inline struct stream *imap_stream(struct imap_session *s)
{
    return s->base.stream;
}
static inline const struct imap_conf *imap_conf_of(struct imap_session *s)
{
    return session_conf(&s->base, CONF_IMAP);
}

/* --- session.c ---------------------------------------------------------------------------------------------------- */

void imap_enter(struct imap_session *s, enum imap_state state);
void imap_touch(struct imap_session *s); /* begin the timeout of the level anew */
enum step imap_after(struct imap_session *s, enum imap_next next); /* what a handler said, as a step */

/* --- help.c ------------------------------------------------------------------------------------------------------- */

/* `work` is called on a helper while the session waits, then `resume` as ever. The session stays even when the
 * connection ends. work may use the run, its data, cmd_mem and the views of the box; not the stream, not the
 * configuration. */
enum imap_next imap_help(struct imap_session *s, imap_work_fn *work, imap_run_fn *resume);

/* --- answers: put, and NEXT_DONE ---------------------------------------------------------------------------------- */

/* The untagged news of the mailbox, then the tagged answer. */
enum imap_next imap_answer(struct imap_session *s, enum imap_reply r);
/* The same with a response code of its own instead of the row's. */
enum imap_next imap_answer_code(struct imap_session *s, enum imap_reply r, const char *fmt, ...) PRINTF_LIKE(3, 4);
enum imap_next imap_bad(struct imap_session *s); /* syntax: where s->run->in stands and what it wanted */
void imap_untagged(struct imap_session *s, enum imap_reply r);
void imap_put_status(struct imap_session *s, slice tag, enum imap_reply r);
void imap_capability(struct imap_session *s, struct buf *out); /* names, separated by spaces */

/* --- command.c ---------------------------------------------------------------------------------------------------- */

extern const struct imap_command imap_commands[];
const struct imap_command *imap_command_find(slice name); /* NULL: unknown */
enum imap_next imap_command_start(struct imap_session *s); /* parse s->line, make s->run, call the handler */
/* Is s->line, which ends in a literal's announcement, an APPEND whose message comes now? Then its run is begun. */
bool imap_append_begins(struct imap_session *s, enum imap_next *next);

/* --- requests to the store ---------------------------------------------------------------------------------------- */

OWNED struct store_request *imap_request_new(struct imap_session *s, enum store_what what);
/* Submit; resume is called with s->answer set. */
enum imap_next imap_request(struct imap_session *s, TAKES struct store_request *r, imap_run_fn *resume);
void imap_answer_drop(struct imap_session *s); /* destroys s->answer */

/* --- names -------------------------------------------------------------------------------------------------------- */

/* A name of the wire (modified UTF-7) in the store's form, into cmd_mem. False: not a possible name. */
bool imap_name_in(struct imap_session *s, slice wire, slice *name);
void imap_name_out(slice name, struct buf *out); /* as an astring of the wire */
/* Look a mailbox up in the session's account; the name in *out is not kept. */
bool imap_mailbox_find(struct imap_session *s, slice name, struct store_mailbox *out);

/* --- box.c: the selected mailbox ---------------------------------------------------------------------------------- */

int imap_box_open(struct imap_session *s, uint64_t mailbox, bool is_read_only, struct err *err);
void imap_box_close(struct imap_session *s); /* no-op when none is selected */
/* Tell the client what changed: EXPUNGE (unless forbidden), EXISTS, FETCH FLAGS. `except`: message numbers whose flags
 * the command has answered from `fresh` (or `told`) already, or NULL. */
void imap_box_sync(struct imap_session *s, bool may_expunge, const struct imap_set *except);
/* Where flags are read from now: fresh or told. */
const struct store_view *imap_box_now(const struct imap_box *b);
/* The row that message n has now. */
const struct store_row *imap_box_row(const struct imap_box *b, uint32_t n);
/* The row of the same message in a version; NULL: it is not there. */
const struct store_row *imap_box_row_in(const struct imap_box *b, const struct store_view *v, uint32_t n);
/* Take the newest version as `fresh`. False: the mailbox is gone, or cannot be read now. */
bool imap_box_refresh(struct imap_session *s);
/* A set of the command as numbers in the view, rising. False: a number beyond the mailbox. */
bool imap_box_resolve(struct imap_session *s, struct imap_set *set, bool is_uid);
/* Numbers as UID ranges for a request, in its memory. */
void imap_box_uids(const struct imap_box *b, const struct imap_set *numbers, struct store_request *r);
void imap_flags_print(const struct store_view *v, uint32_t system, uint64_t keywords, struct buf *out); /* "(…)" */
void imap_put_flags(struct imap_session *s, uint32_t n, const struct store_row *row, bool with_flags);
/* Many rows changed: let a helper read them before something asks for the newest version. */
bool imap_box_is_heavy(const struct imap_session *s);
imap_work_fn imap_box_warm;
void imap_watch_start(struct imap_session *s);
void imap_watch_stop(struct imap_session *s);

/* Walk the numbers of a resolved set: *at is the position, false at the end. */
struct imap_walk {
    const struct imap_set *set;
    unsigned range;
    uint32_t next;
};
void imap_walk_init(struct imap_walk *w, const struct imap_set *set);
bool imap_walk_next(struct imap_walk *w, uint32_t *n);

/* --- message parts: fetch_part.c ---------------------------------------------------------------------------------- */

/* A run of octets that goes from its file to the client, behind the first text_at octets of the text. */
struct imap_file {
    size_t text_at;
    struct store_range range;
};

/* The message under way; its octets and structure are read when a part needs them. Answers go to `out`: the stream's
 * buffer on the reactor, `text` and `files` on a helper. On the reactor is_quick is set: what may take long is not done
 * then, needs_help says so, and the answer must be thrown away. */
struct imap_message {
    struct store *store;
    uint64_t parse_bytes_max;
    const struct store_row *row;
    struct store_cache_reader *cache; /* within a slice only */
    struct buf *out, text;
    struct imap_file *files;
    size_t file_count, file_cap;
    bool is_quick, needs_help;
    unsigned cached_messages;
    struct arena mem;
    struct buf octets;
    struct mime_part *top;
    slice header;
    bool has_header, has_failed;
    size_t octets_read; /* counted up over messages */
};
void imap_message_init(struct imap_message *m, struct imap_session *s);
void imap_message_set(struct imap_message *m, const struct store_row *row); /* the next one */
void imap_message_free(struct imap_message *m);
/* Texts from the cache, or computed; they are valid until the next message is set or the slice ends. False: unreadable,
 * or needs_help. */
bool imap_message_cached(struct imap_message *m, unsigned want, struct store_cached *c);
void imap_message_slice_end(struct imap_message *m); /* let go of the cache */
/* Put what a helper made into the stream. */
void imap_message_flush(struct imap_message *m, struct stream *st);
slice imap_message_header(struct imap_message *m); /* the complete header block */
/* Octets and structure into m->octets, m->top. False: unreadable or over imap.parse_bytes_max. */
bool imap_message_parse(struct imap_message *m);
/* Put `LABEL literal` (or NIL) for one body item. */
void imap_part_put(struct imap_message *m, const struct imap_body_item *b);

/* --- search_match.c ----------------------------------------------------------------------------------------------- */

struct imap_match {
    struct imap_message message;
    const struct imap_box *box;
    struct buf text, folded; /* scratch */
    int64_t now_ms;
    uint32_t number;
};
enum imap_prepared { PREPARED, BAD_CHARSET, BAD_NUMBER };
/* Strings of the program to folded UTF-8, sets to numbers of the view. */
enum imap_prepared imap_match_prepare(struct imap_session *s, struct imap_search *top, slice charset);
bool imap_match_needs_text(const struct imap_search *top); /* rows do not tell: octets of messages are read */
/* Is the message found? m->message is set to it. */
bool imap_match(struct imap_match *m, const struct imap_search *top);

/* --- handlers: cmd_*.c -------------------------------------------------------------------------------------------- */

imap_run_fn imap_cmd_append, imap_cmd_authenticate, imap_cmd_capability, imap_cmd_check, imap_cmd_close,
    imap_cmd_copy, imap_cmd_create, imap_cmd_delete, imap_cmd_enable, imap_cmd_examine, imap_cmd_expunge,
    imap_cmd_fetch, imap_cmd_getquota, imap_cmd_getquotaroot, imap_cmd_id, imap_cmd_idle, imap_cmd_list,
    imap_cmd_login, imap_cmd_logout, imap_cmd_lsub, imap_cmd_move, imap_cmd_namespace, imap_cmd_noop,
    imap_cmd_rename, imap_cmd_search, imap_cmd_select, imap_cmd_setquota, imap_cmd_starttls, imap_cmd_status,
    imap_cmd_store, imap_cmd_subscribe, imap_cmd_unselect, imap_cmd_unsubscribe;

/* STATUS of one mailbox as an untagged answer. */
void imap_status_put(struct imap_session *s, const struct store_mailbox *m, uint32_t items);
/* Steps of the states that read from the client. */
enum step imap_step_auth(struct imap_session *s);
enum step imap_step_idling(struct imap_session *s);
enum step imap_step_appending(struct imap_session *s);

#endif
