/* server_command.c - command lines: the table, the checks that its columns name, and the short handlers. */
#include "base/utf8.h"
#include "smtp/session.h"
#include "smtp/syntax.h"

#define KEPT_MAX 200 /* octets of a command for the log */

/* How far the session is: exactly one of these at a time. */
enum smtp_stage {
    IN_NEW = 1,     /* before HELO */
    IN_GREETED = 2, /* no message under way */
    IN_MAIL = 4,    /* MAIL was accepted */
    IN_RCPT = 8,    /* and a RCPT, too */
    IN_CHUNKS = 16, /* BDAT without LAST was accepted */
    IN_REFUSED = 32, /* the client got 554 for a greeting */
    IN_ANY = 15,
    IN_HELLO = 14,
};

enum smtp_command_flags {
    NO_ARGUMENTS = 1,
    IS_IDLE = 2,    /* brings no message nearer: counted against smtp.idle_commands_max */
    NEEDS_AUTH = 4, /* on submission */
};

struct smtp_command {
    const char *word;
    unsigned kinds; /* enum smtp_kind: who offers it */
    unsigned allowed;
    unsigned flags;
    enum smtp_reply otherwise; /* the reply in other stages than allowed, after HELO */
    smtp_command_fn *run;
};

/* --- the message under way ---------------------------------------------------------------------------------------- */

void smtp_reset(struct smtp_session *s)
{
    struct conf_set *conf = session_conf_ref(&s->base);

    intake_tx_reset(s->tx, conf);
    snap_unref(&conf->snap);
    s->has_mail = s->had_rcpt = s->has_chunks = s->smtputf8 = false;
}

void smtp_on_intake(void *arg, uint64_t session, struct intake_tx *tx)
{
    struct session *base = session_find(arg, session);

    (void)tx;
    if (base == NULL)
        return;
    smtp_of(base)->is_answered = true;
    session_wake(base);
}

static void put_hello(struct smtp_session *s);

static enum step put_asked(struct smtp_session *s)
{
    enum intake_reply verdict = intake_verdict(s->tx);
    bool is_good = intake_replies[verdict].code < 400;

    if (s->asked == ASKED_AUTH)
        return smtp_auth_verdict(s);
    if (s->asked == ASKED_HELO && is_good) {
        s->greeted = true;
        put_hello(s);
        return STEP_AGAIN;
    }
    if (s->asked == ASKED_HELO)
        smtp_log_refused(s, intake_replies[verdict].code, intake_replies[verdict].enhanced,
                         intake_replies[verdict].text);
    if (s->asked == ASKED_MAIL)
        s->has_mail = is_good;
    smtp_put_verdict(s, verdict);
    if (s->asked == ASKED_RCPT && !is_good) {
        counter_add(&smtp_counters[SC_RCPT_REFUSED], 1);
        if (s->kind == KIND_LMTP)
            s->errors--; /* a neighbour's list may well hold twenty who are gone */
    }
    if (intake_replies[verdict].code != 421)
        return smtp_next(s);
    smtp_enter(s, SMTP_CLOSING);
    return STEP_AGAIN;
}

enum step smtp_step_asking(struct smtp_session *s)
{
    if (!s->is_answered) {
        s->base.wait = "intake";
        return STEP_WAIT;
    }
    smtp_enter(s, SMTP_COMMAND);
    return put_asked(s);
}

enum step smtp_ask(struct smtp_session *s, enum smtp_asked asked, enum intake_status status)
{
    s->asked = asked;
    if (status == INTAKE_NOW) {
        if (s->state != SMTP_COMMAND)
            smtp_enter(s, SMTP_COMMAND);
        return put_asked(s);
    }
    smtp_enter(s, SMTP_ASKING);
    return STEP_AGAIN;
}

/* --- greeting the server ------------------------------------------------------------------------------------------ */

static void ehlo_line(struct buf *out, const char *text)
{
    buf_put_str(out, "250-");
    buf_put_str(out, text);
    buf_put_str(out, "\r\n");
}

static void put_extensions(struct smtp_session *s)
{
    const struct intake_conf *intake = session_conf(&s->base, CONF_INTAKE);
    struct buf *out = stream_out(s->base.stream);
    struct buf mechanisms = BUF_INIT;

    buf_put_str(out, "250-");
    buf_put_slice(out, s->peer.hostname);
    buf_put_str(out, "\r\n");
    ehlo_line(out, "PIPELINING");
    buf_put_str(out, "250-SIZE ");
    buf_put_u64(out, intake->message_bytes_max);
    buf_put_str(out, "\r\n");
    ehlo_line(out, "8BITMIME");
    ehlo_line(out, "SMTPUTF8");
    ehlo_line(out, "CHUNKING");
    ehlo_line(out, "DSN");
    if (!s->peer.is_tls && s->base.listener->tls == LISTENER_TLS_STARTTLS)
        ehlo_line(out, "STARTTLS");
    if (smtp_auth_is_offered(s, &mechanisms) && mechanisms.len != 0) {
        buf_put_str(out, "250-AUTH ");
        buf_put_slice(out, buf_slice(&mechanisms));
        buf_put_str(out, "\r\n");
    }
    buf_put_str(out, "250 ENHANCEDSTATUSCODES\r\n");
    buf_free(&mechanisms);
}

static enum step hello(struct smtp_session *s, slice args, bool is_esmtp)
{
    struct err err = ERR_INIT;
    slice name;

    if (smtp_helo_parse(args, &name, &err) < 0) {
        smtp_put_text(s, SMTP_R_SYNTAX, err.text);
        return smtp_next(s);
    }
    smtp_reset(s);
    buf_reset(&s->helo);
    buf_put_slice(&s->helo, name);
    s->peer.helo = buf_slice(&s->helo);
    s->peer.is_esmtp = is_esmtp;
    s->greeted = false;
    s->is_answered = false;
    return smtp_ask(s, ASKED_HELO, intake_helo(s->tx));
}

static void put_hello(struct smtp_session *s)
{
    if (s->peer.is_esmtp)
        put_extensions(s);
    else
        stream_printf(s->base.stream, "250 %.*s\r\n", SLICE_ARG(s->peer.hostname));
}

static enum step do_helo(struct smtp_session *s, slice args)
{
    return hello(s, args, false);
}

static enum step do_ehlo(struct smtp_session *s, slice args)
{
    return hello(s, args, true);
}

static enum step do_starttls(struct smtp_session *s, slice args)
{
    bool had_input = false;

    (void)args;
    if (s->base.listener->tls != LISTENER_TLS_STARTTLS) {
        smtp_put(s, s->peer.is_tls ? SMTP_R_TLS_ALREADY : SMTP_R_NOT_OFFERED);
        return smtp_next(s);
    }
    if (s->peer.is_tls) {
        smtp_put(s, SMTP_R_TLS_ALREADY);
        return smtp_next(s);
    }
    smtp_put(s, SMTP_R_TLS_GO);
    smtp_reset(s);
    s->greeted = false;
    buf_free(&s->helo);
    s->peer.helo = SLICE_NONE;
    s->peer.user = NULL; /* who came in the clear says it once more */
    s->base.user = SLICE_NONE;
    smtp_enter(s, SMTP_TLS);
    s->base.wait = "tls";
    stream_start_tls(s->base.stream, &had_input);
    if (had_input)
        counter_add(&smtp_counters[SC_TLS_INJECTED], 1);
    return STEP_WAIT;
}

/* --- the envelope ------------------------------------------------------------------------------------------------- */

static bool needs_utf8(const struct address *a)
{
    return !utf8_is_ascii(a->local) || !utf8_is_ascii(a->domain);
}

static enum step refuse_syntax(struct smtp_session *s, const struct err *err)
{
    smtp_put_text(s, err->kind == ERR_PERM ? SMTP_R_PARAMETER : SMTP_R_SYNTAX, err->text);
    return smtp_next(s);
}

static enum step do_mail(struct smtp_session *s, slice args)
{
    const struct smtp_conf *conf = smtp_conf(s);
    struct err err = ERR_INIT;
    struct envelope from;

    if (smtp_mail_parse(args, &s->base.cmd_mem, &from, &err) < 0)
        return refuse_syntax(s, &err);
    if (needs_utf8(&from.from) && !from.smtputf8) {
        smtp_put(s, SMTP_R_NEED_UTF8);
        return smtp_next(s);
    }
    if (conf->messages_max != 0 && s->messages >= conf->messages_max) {
        counter_add(&smtp_counters[SC_LIMITS], 1);
        return smtp_put_last(s, SMTP_R_MANY_MESSAGES);
    }
    smtp_reset(s); /* this message lives by the configuration of now */
    s->smtputf8 = from.smtputf8;
    s->is_answered = false;
    return smtp_ask(s, ASKED_MAIL, intake_mail(s->tx, &from));
}

static enum step do_rcpt(struct smtp_session *s, slice args)
{
    struct err err = ERR_INIT;
    struct recipient rcpt;

    s->had_rcpt = true;
    if (smtp_rcpt_parse(args, &s->base.cmd_mem, &rcpt, &err) < 0)
        return refuse_syntax(s, &err);
    if (needs_utf8(&rcpt.address) && !s->smtputf8) {
        smtp_put(s, SMTP_R_NEED_UTF8);
        return smtp_next(s);
    }
    s->is_answered = false;
    return smtp_ask(s, ASKED_RCPT, intake_rcpt(s->tx, &rcpt));
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

static enum step do_rset(struct smtp_session *s, slice args)
{
    (void)args;
    smtp_reset(s);
    smtp_put(s, SMTP_R_OK);
    return STEP_AGAIN;
}

static enum step do_noop(struct smtp_session *s, slice args)
{
    (void)args; /* RFC 5321 4.1.1.9: a string may follow, and means nothing */
    smtp_put(s, SMTP_R_OK);
    return STEP_AGAIN;
}

static enum step do_vrfy(struct smtp_session *s, slice args)
{
    /* The same answer for all: nobody learns here who exists. */
    if (args.len == 0)
        smtp_put_text(s, SMTP_R_SYNTAX, "Address or name missing");
    else
        smtp_put(s, SMTP_R_VRFY);
    return smtp_next(s);
}

static enum step do_expn(struct smtp_session *s, slice args)
{
    (void)args;
    smtp_put(s, SMTP_R_NO_EXPN);
    return smtp_next(s);
}

static enum step do_help(struct smtp_session *s, slice args)
{
    (void)args;
    smtp_put(s, SMTP_R_HELP);
    return STEP_AGAIN;
}

static enum step do_quit(struct smtp_session *s, slice args)
{
    (void)args;
    return smtp_put_last(s, SMTP_R_BYE);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

#define KIND_ESMTP (KIND_SMTP | KIND_SUBMISSION)
static const struct smtp_command commands[] = {
    { "MAIL", KIND_ANY, IN_GREETED, NEEDS_AUTH, SMTP_R_NESTED, do_mail }, /* RFC 5321 4.1.1.2 */
    { "RCPT", KIND_ANY, IN_MAIL | IN_RCPT, NEEDS_AUTH, SMTP_R_NEED_MAIL, do_rcpt }, /* RFC 5321 4.1.1.3 */
    /* The handler tells "no RCPT" from "all refused". */
    { "DATA", KIND_ANY, IN_MAIL | IN_RCPT, NEEDS_AUTH | NO_ARGUMENTS, SMTP_R_NEED_MAIL, smtp_do_data }, /* 4.1.1.4 */
    /* Its octets come whatever the order was, so the handler objects after reading them. */
    { "BDAT", KIND_ANY, IN_ANY | IN_CHUNKS, 0, SMTP_R_NEED_MAIL, smtp_do_bdat }, /* RFC 3030 2 */
    { "EHLO", KIND_ESMTP, IN_ANY, IS_IDLE, SMTP_R_NESTED, do_ehlo }, /* RFC 5321 4.1.1.1 */
    { "HELO", KIND_ESMTP, IN_ANY, IS_IDLE, SMTP_R_NESTED, do_helo },
    { "LHLO", KIND_LMTP, IN_ANY, IS_IDLE, SMTP_R_NESTED, do_ehlo }, /* RFC 2033 4.1 */
    { "AUTH", KIND_ESMTP, IN_GREETED, IS_IDLE, SMTP_R_NESTED, smtp_do_auth }, /* RFC 4954 4 */
    { "STARTTLS", KIND_ANY, IN_GREETED, IS_IDLE | NO_ARGUMENTS, SMTP_R_NESTED, do_starttls }, /* RFC 3207 4 */
    { "RSET", KIND_ANY, IN_ANY | IN_CHUNKS, IS_IDLE | NO_ARGUMENTS, SMTP_R_NESTED, do_rset }, /* RFC 5321 4.1.1.5 */
    { "NOOP", KIND_ANY, IN_ANY, IS_IDLE, SMTP_R_NESTED, do_noop }, /* RFC 5321 4.1.1.9 */
    { "QUIT", KIND_ANY, IN_ANY | IN_CHUNKS | IN_REFUSED, NO_ARGUMENTS, SMTP_R_NESTED, do_quit }, /* RFC 5321 4.1.1.10 */
    { "VRFY", KIND_ANY, IN_ANY, IS_IDLE, SMTP_R_NESTED, do_vrfy }, /* RFC 5321 4.1.1.6 */
    { "EXPN", KIND_ANY, IN_ANY, IS_IDLE, SMTP_R_NESTED, do_expn }, /* RFC 5321 4.1.1.7 */
    { "HELP", KIND_ANY, IN_ANY, IS_IDLE, SMTP_R_NESTED, do_help }, /* RFC 5321 4.1.1.8 */
};

static enum smtp_stage stage_of(const struct smtp_session *s)
{
    if (s->is_refused)
        return IN_REFUSED;
    if (s->has_chunks)
        return IN_CHUNKS;
    if (!s->greeted)
        return IN_NEW;
    if (!s->has_mail)
        return IN_GREETED;
    return intake_rcpt_count(s->tx) == 0 ? IN_MAIL : IN_RCPT;
}

static const struct smtp_command *command_find(const struct smtp_session *s, slice word)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if ((commands[i].kinds & s->kind) != 0 && slice_eq_nocase(word, slice_str(commands[i].word)))
            return &commands[i];
    return NULL;
}

/* What the columns of the row forbid now. SMTP_REPLY_COUNT: nothing. */
static enum smtp_reply objection(const struct smtp_session *s, const struct smtp_command *c, slice args)
{
    enum smtp_stage stage = stage_of(s);

    if ((stage & c->allowed) == 0) {
        if (stage == IN_NEW)
            return s->kind == KIND_LMTP ? SMTP_R_NEED_LHLO : SMTP_R_NEED_HELO;
        return stage == IN_CHUNKS ? SMTP_R_CHUNKS : stage == IN_REFUSED ? SMTP_R_REFUSED : c->otherwise;
    }
    if ((c->flags & NEEDS_AUTH) != 0 && s->kind == KIND_SUBMISSION && s->peer.user == NULL)
        return SMTP_R_NEED_AUTH;
    if ((c->flags & NO_ARGUMENTS) != 0 && args.len != 0)
        return SMTP_R_NO_ARGUMENTS;
    return SMTP_REPLY_COUNT;
}

static enum step command_run(struct smtp_session *s, slice line)
{
    slice args = line, word = smtp_verb(&args);
    const struct smtp_command *c = command_find(s, word);
    enum smtp_reply no;

    counter_add(&smtp_counters[SC_COMMANDS], 1);
    if (c == NULL) {
        smtp_put(s, SMTP_R_UNKNOWN);
        return smtp_next(s);
    }
    if ((c->flags & IS_IDLE) != 0 && ++s->idle_commands > smtp_conf(s)->idle_commands_max) {
        counter_add(&smtp_counters[SC_LIMITS], 1);
        return smtp_put_last(s, SMTP_R_MANY_IDLE);
    }
    no = objection(s, c, args);
    if (no != SMTP_REPLY_COUNT) {
        smtp_put(s, no);
        return smtp_next(s);
    }
    return c->run(s, args);
}

/* A line that is objected to is told to the log; running it may end the life of its octets. */
static enum step command_tell(struct smtp_session *s, slice line)
{
    unsigned char kept[KEPT_MAX];
    enum step next;
    size_t len;

    /* Behind BDAT there may stand its octets. */
    if (stream_has_input(s->base.stream) && !slice_starts_nocase(line, SLICE("BDAT")))
        s->peer.is_pipelined = true;
    if (!smtp_log_wants_command(s))
        return command_run(s, line);
    len = line.len < sizeof kept ? line.len : sizeof kept;
    if (len != 0)
        memcpy(kept, line.ptr, len);
    s->bad_code = 0;
    next = command_run(s, line);
    smtp_log_command(s, slice_of(kept, len));
    return next;
}

static enum step line_refused(struct smtp_session *s, enum smtp_reply r)
{
    s->bad_code = 0;
    smtp_put(s, r);
    if (smtp_log_wants_command(s))
        smtp_log_command(s, SLICE_NONE);
    return smtp_next(s);
}

enum step smtp_step_command(struct smtp_session *s)
{
    enum step next;
    slice line;

    if (s->base.is_draining)
        return smtp_put_last(s, SMTP_R_STOPPING);
    switch (stream_line(s->base.stream, smtp_conf(s)->line_max, false, &line)) {
    case FRAME_OK:
        next = command_tell(s, line);
        arena_reset(&s->base.cmd_mem);
        return next;
    case FRAME_MORE:
        arena_release(&s->base.cmd_mem);
        session_timeout(&s->base, smtp_conf(s)->command_timeout_s * 1000);
        return STEP_WANT_READ;
    case FRAME_TOO_LONG:
        return line_refused(s, SMTP_R_TOO_LONG);
    case FRAME_BARE:
        counter_add(&smtp_counters[SC_BARE], 1);
        return line_refused(s, SMTP_R_BARE);
    case FRAME_EOF:
        break;
    }
    return STEP_CLOSE;
}
