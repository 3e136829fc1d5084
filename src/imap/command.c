/* command.c - the table of commands, and what surrounds a command: start, answers, requests, names. */
#include "imap/internal.h"

#include <stdarg.h>

#include "mail/utf7.h"

#define GREETED LEVEL_GREETED
#define LOGGED_IN (LEVEL_LOGGED_IN | LEVEL_SELECTED)
#define SELECTED LEVEL_SELECTED
#define ANY (LEVEL_GREETED | LEVEL_LOGGED_IN | LEVEL_SELECTED)

const struct imap_command imap_commands[] = {
    /* name          levels     flags                              handler          source */
    { "APPEND",       LOGGED_IN, 0,                                imap_cmd_append },       /* RFC 3501 6.3.11 */
    { "AUTHENTICATE", GREETED,   0,                                imap_cmd_authenticate }, /* RFC 3501 6.2.2 */
    { "CAPABILITY",   ANY,       0,                                imap_cmd_capability },   /* RFC 3501 6.1.1 */
    { "CHECK",        SELECTED,  0,                                imap_cmd_check },        /* RFC 3501 6.4.1 */
    { "CLOSE",        SELECTED,  0,                                imap_cmd_close },        /* RFC 3501 6.4.2 */
    { "COPY",         SELECTED,  CMD_UID,                          imap_cmd_copy },         /* RFC 3501 6.4.7 */
    { "CREATE",       LOGGED_IN, CMD_MAIL,                         imap_cmd_create },       /* RFC 3501 6.3.3 */
    { "DELETE",       LOGGED_IN, CMD_MAIL,                         imap_cmd_delete },       /* RFC 3501 6.3.4 */
    { "ENABLE",       LOGGED_IN, 0,                                imap_cmd_enable },       /* RFC 5161 */
    { "EXAMINE",      LOGGED_IN, CMD_MAIL,                         imap_cmd_examine },      /* RFC 3501 6.3.2 */
    { "EXPUNGE",      SELECTED,  CMD_UID | CMD_CHANGES,            imap_cmd_expunge },      /* RFC 3501 6.4.3 */
    { "FETCH",        SELECTED,  CMD_UID | CMD_NO_EXPUNGE,         imap_cmd_fetch },        /* RFC 3501 6.4.5 */
    { "GETQUOTA",     LOGGED_IN, CMD_MAIL,                         imap_cmd_getquota },     /* RFC 9208 4.1.2 */
    { "GETQUOTAROOT", LOGGED_IN, CMD_MAIL,                         imap_cmd_getquotaroot }, /* RFC 9208 4.1.3 */
    { "ID",           ANY,       0,                                imap_cmd_id },           /* RFC 2971 3.1 */
    { "IDLE",         LOGGED_IN, 0,                                imap_cmd_idle },         /* RFC 2177 */
    { "LIST",         LOGGED_IN, 0,                                imap_cmd_list },         /* RFC 3501 6.3.8 */
    { "LOGIN",        GREETED,   0,                                imap_cmd_login },        /* RFC 3501 6.2.3 */
    { "LOGOUT",       ANY,       0,                                imap_cmd_logout },       /* RFC 3501 6.1.3 */
    { "LSUB",         LOGGED_IN, 0,                                imap_cmd_lsub },         /* RFC 3501 6.3.9 */
    { "MOVE",         SELECTED,  CMD_UID | CMD_CHANGES,            imap_cmd_move },         /* RFC 6851 3.1 */
    { "NAMESPACE",    LOGGED_IN, 0,                                imap_cmd_namespace },    /* RFC 2342 5 */
    { "NOOP",         ANY,       0,                                imap_cmd_noop },         /* RFC 3501 6.1.2 */
    { "RENAME",       LOGGED_IN, CMD_MAIL,                         imap_cmd_rename },       /* RFC 3501 6.3.5 */
    { "SEARCH",       SELECTED,  CMD_UID | CMD_NO_EXPUNGE,         imap_cmd_search },       /* RFC 3501 6.4.4 */
    { "SELECT",       LOGGED_IN, CMD_MAIL,                         imap_cmd_select },       /* RFC 3501 6.3.1 */
    { "SETQUOTA",     LOGGED_IN, 0,                                imap_cmd_setquota },     /* RFC 9208 4.1.1 */
    { "STARTTLS",     GREETED,   0,                                imap_cmd_starttls },     /* RFC 3501 6.2.1 */
    { "STATUS",       LOGGED_IN, CMD_MAIL,                         imap_cmd_status },       /* RFC 3501 6.3.10 */
    { "STORE",        SELECTED,  CMD_UID | CMD_NO_EXPUNGE | CMD_CHANGES, imap_cmd_store },  /* RFC 3501 6.4.6 */
    { "SUBSCRIBE",    LOGGED_IN, CMD_MAIL,                         imap_cmd_subscribe },    /* RFC 3501 6.3.6 */
    { "UNSELECT",     SELECTED,  0,                                imap_cmd_unselect },     /* RFC 3691 */
    { "UNSUBSCRIBE",  LOGGED_IN, CMD_MAIL,                         imap_cmd_unsubscribe },  /* RFC 3501 6.3.7 */
};

const struct imap_command *imap_command_find(slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(imap_commands); i++)
        if (slice_eq_nocase(name, slice_str(imap_commands[i].name)))
            return &imap_commands[i];
    return NULL;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

void imap_put_status(struct imap_session *s, slice tag, enum imap_reply r)
{
    const struct imap_reply_row *row = &imap_replies[r];
    struct buf *out = stream_out(imap_stream(s));

    buf_put_slice(out, tag);
    buf_put_byte(out, ' ');
    buf_put_str(out, row->word);
    if (row->code != NULL)
        buf_printf(out, " [%s]", row->code);
    buf_printf(out, " %s\r\n", row->text);
}

void imap_untagged(struct imap_session *s, enum imap_reply r)
{
    imap_put_status(s, SLICE("*"), r);
}

/* News of the mailbox come before the tagged answer, so that they belong to the command (RFC 3501 5.2). */
static void sync_box(struct imap_session *s)
{
    const struct imap_run *run = s->run;

    if (s->box != NULL)
        imap_box_sync(s, (run->row->flags & CMD_NO_EXPUNGE) == 0 || run->is_uid, NULL);
}

enum imap_next imap_answer(struct imap_session *s, enum imap_reply r)
{
    sync_box(s);
    imap_put_status(s, s->run->tag, r);
    return NEXT_DONE;
}

enum imap_next imap_answer_code(struct imap_session *s, enum imap_reply r, const char *fmt, ...)
{
    struct buf *out;
    va_list ap;

    sync_box(s);
    out = stream_out(imap_stream(s));
    buf_printf(out, "%.*s %s [", SLICE_ARG(s->run->tag), imap_replies[r].word);
    va_start(ap, fmt);
    buf_vprintf(out, fmt, ap);
    va_end(ap);
    buf_printf(out, "] %s\r\n", imap_replies[r].text);
    return NEXT_DONE;
}

enum imap_next imap_bad(struct imap_session *s)
{
    const struct imap_in *in = &s->run->in;

    imap_count(IC_BAD);
    s->errors++;
    stream_printf(imap_stream(s), "%.*s BAD at octet %zu: expected %s\r\n", SLICE_ARG(s->run->tag), imap_in_at(in),
                  in->want != NULL ? in->want : "something else");
    return NEXT_DONE;
}

static enum imap_next wrong(struct imap_session *s, enum imap_reply r)
{
    imap_count(IC_BAD);
    s->errors++;
    imap_put_status(s, s->run->tag, r);
    return NEXT_DONE;
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

/* tag SP [ "UID" SP ] name. Returns false when there is no tag. */
static bool begin_run(struct imap_session *s)
{
    struct imap_run *run = arena_alloc(&s->base.cmd_mem, sizeof *run);
    slice name;

    s->run = run;
    imap_in_init(&run->in, buf_slice(&s->line), &s->base.cmd_mem);
    if (!imap_tag(&run->in, &run->tag)) {
        run->tag = SLICE("*");
        return false;
    }
    if (!imap_sp(&run->in) || !imap_atom(&run->in, &name))
        return true;
    run->is_uid = slice_eq_nocase(name, SLICE("UID")) && imap_sp(&run->in) && imap_atom(&run->in, &name);
    if (run->in.want == NULL)
        run->row = imap_command_find(name);
    return true;
}

/* While the index is rebuilt: are the account's messages there? Asking puts them in front. */
static bool mail_is_ready(struct imap_session *s)
{
    const struct imap_service *service = imap_service(s);
    struct journal_view v;
    bool is_ready = true;

    if (!journal_rebuilding(service->journal, NULL))
        return true;
    if (journal_read_begin(service->journal, &v, NULL) == 0)
        is_ready = store_account_ready(service->store, &v, s->account, NULL);
    journal_read_end(&v);
    return is_ready;
}

static enum imap_next rebuilding(struct imap_session *s)
{
    const struct imap_reply_row *row = &imap_replies[IMAP_R_REBUILDING];
    unsigned percent;

    journal_rebuilding(imap_service(s)->journal, &percent);
    sync_box(s);
    stream_printf(imap_stream(s), "%.*s %s [%s] %s (%u %%)\r\n", SLICE_ARG(s->run->tag), row->word, row->code,
                  row->text, percent);
    return NEXT_DONE;
}

enum imap_next imap_command_start(struct imap_session *s)
{
    bool has_tag = begin_run(s);
    struct imap_run *run = s->run;

    imap_count(IC_COMMANDS);
    if (!has_tag)
        return wrong(s, IMAP_R_NO_TAG);
    if (run->in.want != NULL)
        return imap_bad(s);
    if (run->row == NULL || (run->is_uid && (run->row->flags & CMD_UID) == 0))
        return wrong(s, IMAP_R_UNKNOWN);
    if ((run->row->levels & s->level) == 0)
        return wrong(s, IMAP_R_NOT_NOW);
    if ((run->row->flags & CMD_CHANGES) != 0 && s->box->is_read_only)
        return imap_answer(s, IMAP_R_READ_ONLY);
    if ((run->row->flags & CMD_MAIL) != 0 && !mail_is_ready(s))
        return rebuilding(s);
    if (imap_box_is_heavy(s)) { /* its answer tells of all that is new */
        run->is_warm = true;
        return imap_help(s, imap_box_warm, run->row->run);
    }
    return run->row->run(s);
}

bool imap_append_begins(struct imap_session *s, enum imap_next *next)
{
    struct imap_append append;
    struct imap_in in;

    if (!begin_run(s) || s->run->row == NULL || s->run->row->run != imap_cmd_append ||
        (s->run->row->levels & s->level) == 0 || s->run->is_uid)
        goto not_now;
    in = s->run->in;
    if (!imap_sp(&in) || !imap_append_parse(&in, &append))
        goto not_now; /* malformed: the octets are framed, then the whole is refused by the parser */
    imap_count(IC_COMMANDS);
    *next = imap_cmd_append(s);
    return true;
not_now:
    s->run = NULL;
    arena_reset(&s->base.cmd_mem);
    return false;
}

/* --- requests to the store ---------------------------------------------------------------------------------------- */

struct store_request *imap_request_new(struct imap_session *s, enum store_what what)
{
    struct store_request *r = store_request_new(what);

    r->account = s->account;
    r->session = s->base.id;
    r->lane = LANE_ACCESS;
    return r;
}

static void on_answer(struct store_request *r)
{
    struct session *base = session_find(r->arg, r->arg_id);
    struct imap_session *s;

    if (base == NULL) {
        store_request_destroy(&r);
        return;
    }
    s = CONTAINER_OF(base, struct imap_session, base);
    if (s->run == NULL) {
        store_request_destroy(&r);
        return;
    }
    s->answer = r;
    session_wake(base);
}

enum imap_next imap_request(struct imap_session *s, TAKES struct store_request *r, imap_run_fn *resume)
{
    imap_answer_drop(s);
    r->reactor = s->base.worker->reactor;
    r->done = on_answer;
    r->arg = s->base.worker;
    r->arg_id = s->base.id;
    s->run->resume = resume;
    s->run->wait = "store";
    store_request_submit(imap_service(s)->store, r);
    return NEXT_WAIT;
}

void imap_answer_drop(struct imap_session *s)
{
    store_request_destroy(&s->answer);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

bool imap_name_in(struct imap_session *s, slice wire, slice *name)
{
    const struct store_conf *conf = session_conf(&s->base, CONF_STORE);
    struct buf utf8 = BUF_INIT;
    bool ok;

    /* RFC 3501 6.3.3: a trailing separator says that inferior names will be made; our mailboxes all can have them */
    if (wire.len > 1 && wire.ptr[wire.len - 1] == '/')
        wire.len--;
    ok = wire.len > 0 && wire.len <= 4 * (size_t)conf->name_max && utf7_to_utf8(wire, &utf8) &&
         store_name_check(conf, buf_slice(&utf8), &s->base.cmd_mem, name) == STORE_OK;
    buf_free(&utf8);
    return ok;
}

void imap_name_out(slice name, struct buf *out)
{
    struct buf wire = BUF_INIT;
    bool is_plain;

    utf7_from_utf8(name, &wire);
    is_plain = wire.len > 0 && !slice_eq_nocase(buf_slice(&wire), SLICE("NIL"));
    for (size_t i = 0; i < wire.len && is_plain; i++)
        is_plain = ascii_is_alnum(wire.ptr[i]) || memchr("/.-_+,&=@", wire.ptr[i], 9) != NULL;
    if (is_plain) {
        buf_put(out, wire.ptr, wire.len);
    } else { /* no octet of modified UTF-7 needs a literal */
        buf_put_byte(out, '"');
        for (size_t i = 0; i < wire.len; i++) {
            if (wire.ptr[i] == '"' || wire.ptr[i] == '\\')
                buf_put_byte(out, '\\');
            buf_put_byte(out, wire.ptr[i]);
        }
        buf_put_byte(out, '"');
    }
    buf_free(&wire);
}

bool imap_mailbox_find(struct imap_session *s, slice name, struct store_mailbox *out)
{
    const struct imap_service *service = imap_service(s);
    struct journal_view v;
    bool found = false;

    if (journal_read_begin(service->journal, &v, NULL) == 0)
        found = store_mailbox_find(service->store, &v, s->account, name, out) && out->id != 0;
    journal_read_end(&v);
    out->name = name;
    return found;
}
