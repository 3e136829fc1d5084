/* server.c - a session's life from greeting to closing, its replies and its configuration. */
#include "smtp/session.h"

#include "base/diag.h"
#include "base/mem.h"
#include "base/random.h"

/* --- configuration and counters ----------------------------------------------------------------------------------- */

#define KEY_CONF struct smtp_conf
static const struct key_row rows[] = { SMTP_KEYS(KEY_ROW) };

const struct key_table smtp_keys = {
    .section = "smtp",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct smtp_conf),
    .text = "The SMTP and submission servers.",
};
const struct key_table lmtp_keys = {
    .section = "lmtp",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct smtp_conf),
    .text = "The LMTP server.",
};

struct counter smtp_counters[SC_COUNT] = {
    [SC_SESSIONS] = { "smtp.sessions", "Sessions of SMTP, submission and LMTP.", COUNTER_TOTAL, 0 },
    [SC_COMMANDS] = { "smtp.commands", "Commands read.", COUNTER_TOTAL, 0 },
    [SC_ACCEPTED] = { "smtp.messages", "Messages answered with success.", COUNTER_TOTAL, 0 },
    [SC_MESSAGES_REFUSED] = { "smtp.messages_refused", "Messages refused after their octets.", COUNTER_TOTAL, 0 },
    [SC_RCPT_REFUSED] = { "smtp.rcpt_refused", "Recipients refused.", COUNTER_TOTAL, 0 },
    [SC_ERRORS] = { "smtp.errors", "Replies of class 4 and 5.", COUNTER_TOTAL, 0 },
    [SC_EARLY] = { "smtp.early_talkers", "Clients that spoke before the greeting.", COUNTER_TOTAL, 0 },
    [SC_BARE] = { "smtp.bare_line_ends", "Lines and messages with a bare CR or LF.", COUNTER_TOTAL, 0 },
    [SC_TLS_INJECTED] = { "smtp.tls_injections", "Sessions with plaintext behind STARTTLS.", COUNTER_TOTAL, 0 },
    [SC_AUTH_OK] = { "smtp.auth_ok", "Successful authentications.", COUNTER_TOTAL, 0 },
    [SC_AUTH_FAILED] = { "smtp.auth_failed", "Failed authentications.", COUNTER_TOTAL, 0 },
    [SC_TIMEOUTS] = { "smtp.timeouts", "Sessions that were idle too long.", COUNTER_TOTAL, 0 },
    [SC_LIMITS] = { "smtp.limits", "Sessions closed for errors, idle commands or messages.", COUNTER_TOTAL, 0 },
};

void smtp_counters_register(void)
{
    counter_register(smtp_counters, SC_COUNT);
}

/* --- states ------------------------------------------------------------------------------------------------------- */

static const char *const state_names[SMTP_STATE_COUNT] = {
    [SMTP_GREETING] = "greeting", [SMTP_COMMAND] = "command", [SMTP_ASKING] = "asking",
    [SMTP_AUTH_STEP] = "auth",    [SMTP_AUTH_LINE] = "auth",  [SMTP_TLS] = "tls",
    [SMTP_DATA] = "data",         [SMTP_CHUNK] = "chunk",     [SMTP_COMMITTING] = "committing",
    [SMTP_CLOSING] = "closing",
};

#define TO(state) (1u << SMTP_##state)
static const unsigned allowed_moves[SMTP_STATE_COUNT] = {
    [SMTP_GREETING] = TO(COMMAND) | TO(CLOSING),
    [SMTP_COMMAND] = TO(ASKING) | TO(AUTH_STEP) | TO(AUTH_LINE) | TO(TLS) | TO(DATA) | TO(CHUNK) | TO(CLOSING),
    [SMTP_ASKING] = TO(COMMAND) | TO(CLOSING),
    [SMTP_AUTH_STEP] = TO(COMMAND) | TO(AUTH_LINE) | TO(ASKING) | TO(CLOSING),
    [SMTP_AUTH_LINE] = TO(COMMAND) | TO(AUTH_STEP) | TO(CLOSING),
    [SMTP_TLS] = TO(COMMAND) | TO(CLOSING),
    [SMTP_DATA] = TO(COMMAND) | TO(COMMITTING) | TO(CLOSING),
    [SMTP_CHUNK] = TO(COMMAND) | TO(COMMITTING) | TO(CLOSING),
    [SMTP_COMMITTING] = TO(COMMAND) | TO(CLOSING),
    [SMTP_CLOSING] = 0,
};

void smtp_enter(struct smtp_session *s, enum smtp_state state)
{
    ASSERT((allowed_moves[s->state] & 1u << state) != 0);
    s->state = state;
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

const struct smtp_reply_row smtp_replies[SMTP_REPLY_COUNT] = {
#define R(name, number, status, words) [name] = { .code = number, .enhanced = status, .text = words },
    SMTP_REPLIES(R)
#undef R
};

static void put_line(struct smtp_session *s, unsigned code, const char *enhanced, const char *text)
{
    struct buf *out = stream_out(s->base.stream);

    buf_put_u64(out, code);
    buf_put_byte(out, ' ');
    if (enhanced[0] != '\0') {
        buf_put_str(out, enhanced);
        buf_put_byte(out, ' ');
    }
    buf_put_str(out, text);
    buf_put_str(out, "\r\n");
    if (code >= 400)
        smtp_count_error(s);
    if (code >= 500) {
        s->bad_code = code;
        s->bad_enhanced = enhanced;
        snprintf(s->bad_text, sizeof s->bad_text, "%s", text);
    }
}

void smtp_count_error(struct smtp_session *s)
{
    s->errors++;
    counter_add(&smtp_counters[SC_ERRORS], 1);
}

void smtp_put(struct smtp_session *s, enum smtp_reply r)
{
    put_line(s, smtp_replies[r].code, smtp_replies[r].enhanced, smtp_replies[r].text);
}

void smtp_put_text(struct smtp_session *s, enum smtp_reply r, const char *text)
{
    put_line(s, smtp_replies[r].code, smtp_replies[r].enhanced, text);
}

void smtp_put_verdict(struct smtp_session *s, enum intake_reply r)
{
    put_line(s, intake_replies[r].code, intake_replies[r].enhanced, intake_replies[r].text);
    s->bad_code = 0; /* a decision: intake tells of it */
}

enum step smtp_put_last(struct smtp_session *s, enum smtp_reply r)
{
    smtp_put(s, r);
    s->last = r;
    s->has_last = true;
    smtp_enter(s, SMTP_CLOSING);
    return STEP_AGAIN;
}

enum step smtp_next(struct smtp_session *s)
{
    if (s->errors < smtp_conf(s)->errors_max)
        return STEP_AGAIN;
    counter_add(&smtp_counters[SC_LIMITS], 1);
    return smtp_put_last(s, SMTP_R_MANY_ERRORS);
}

/* --- greeting ----------------------------------------------------------------------------------------------------- */

static slice hostname(struct smtp_session *s)
{
    const struct server_conf *c = session_conf(&s->base, CONF_SERVER);

    return c->hostname;
}

static void on_delay(struct timer *t)
{
    struct smtp_session *s = CONTAINER_OF(t, struct smtp_session, delay);

    s->is_greeting_due = true;
    session_wake(&s->base);
}

/* RFC 5321 3.1: who gets 554 for a greeting may still say QUIT, and nothing else. */
static enum step client_refused(struct smtp_session *s)
{
    enum intake_reply verdict = intake_verdict(s->tx);

    smtp_put_verdict(s, verdict);
    smtp_log_refused(s, intake_replies[verdict].code, intake_replies[verdict].enhanced, intake_replies[verdict].text);
    s->is_refused = true;
    smtp_enter(s, intake_replies[verdict].code == 421 ? SMTP_CLOSING : SMTP_COMMAND);
    return STEP_AGAIN;
}

static enum step step_greeting(struct smtp_session *s)
{
    struct buf *out;

    if (!s->is_answered) {
        s->base.wait = "intake";
        return STEP_WAIT;
    }
    /* RFC 5321 3.1: the client waits for the greeting. Who does not reads no replies either. */
    if (stream_has_input(s->base.stream)) {
        const struct smtp_reply_row *row = &smtp_replies[SMTP_R_EARLY];

        counter_add(&smtp_counters[SC_EARLY], 1);
        smtp_log_refused(s, row->code, row->enhanced, row->text);
        return smtp_put_last(s, SMTP_R_EARLY);
    }
    if (stream_eof(s->base.stream))
        return STEP_CLOSE;
    if (!s->is_greeting_due) {
        if (!timer_is_active(&s->delay))
            timer_start(&s->delay, smtp_conf(s)->greeting_delay_ms);
        return STEP_WANT_READ;
    }
    if (intake_replies[intake_verdict(s->tx)].code >= 400)
        return client_refused(s);
    smtp_log_opened(s);
    out = stream_out(s->base.stream);
    buf_put_str(out, "220 ");
    buf_put_slice(out, hostname(s));
    buf_put_byte(out, ' ');
    buf_put_str(out, smtp_replies[s->kind == KIND_LMTP ? SMTP_R_GREETING_LMTP : SMTP_R_GREETING].text);
    buf_put_str(out, "\r\n");
    smtp_enter(s, SMTP_COMMAND);
    return STEP_AGAIN;
}

/* Called when the handshake is over; net closes the session when it failed. */
static enum step step_tls(struct smtp_session *s)
{
    if (stream_tls_version(s->base.stream) == NULL)
        return STEP_WAIT;
    s->peer.is_tls = true;
    s->peer.tls_version = stream_tls_version(s->base.stream);
    s->peer.tls_cipher = stream_tls_cipher(s->base.stream);
    smtp_enter(s, SMTP_COMMAND);
    return STEP_AGAIN;
}

static enum step step_closing(struct smtp_session *s)
{
    (void)s;
    return STEP_CLOSE;
}

/* --- what net calls ----------------------------------------------------------------------------------------------- */

static smtp_step_fn *const step_of[SMTP_STATE_COUNT] = {
    [SMTP_GREETING] = step_greeting,
    [SMTP_COMMAND] = smtp_step_command,
    [SMTP_ASKING] = smtp_step_asking,
    [SMTP_AUTH_STEP] = smtp_step_auth,
    [SMTP_AUTH_LINE] = smtp_step_auth_line,
    [SMTP_TLS] = step_tls,
    [SMTP_DATA] = smtp_step_data,
    [SMTP_CHUNK] = smtp_step_chunk,
    [SMTP_COMMITTING] = smtp_step_committing,
    [SMTP_CLOSING] = step_closing,
};

static enum step smtp_step(struct session *base)
{
    struct smtp_session *s = smtp_of(base);

    if (stream_out_is_high(base->stream))
        return STEP_WANT_WRITE;
    return step_of[s->state](s);
}

static void opened_as(struct session *base, enum smtp_kind kind, enum intake_source source)
{
    struct smtp_session *s = smtp_of(base);
    const struct smtp_service *service = base->service;
    struct conf_set *conf = session_conf_ref(base);

    s->kind = kind;
    s->state = SMTP_GREETING;
    buf_init(&s->helo);
    s->peer = (struct intake_peer){
        .source = source,
        .addr = base->peer,
        .local = base->local,
        .hostname = slice_dup(&base->mem, hostname(s)),
        .is_tls = base->is_tls,
    };
    if (base->is_tls) {
        s->peer.tls_version = stream_tls_version(base->stream);
        s->peer.tls_cipher = stream_tls_cipher(base->stream);
    }
    s->tx = intake_tx_new(service->intake, conf, &s->peer, base->worker->reactor, base->id, smtp_on_intake,
                          base->worker);
    snap_unref(&conf->snap);
    s->asked = ASKED_CONNECT;
    s->is_answered = intake_connect(s->tx) == INTAKE_NOW;
    timer_init(&s->delay, base->worker->reactor, on_delay);
    s->is_greeting_due = smtp_conf(s)->greeting_delay_ms == 0 || net_addr_is_loopback(&base->peer);
    session_timeout(base, smtp_conf(s)->command_timeout_s * 1000);
    s->began_ms = reactor_now_ms(base->worker->reactor);
    counter_add(&smtp_counters[SC_SESSIONS], 1);
    intake_count(s->tx, INTAKE_CONNECTED);
}

static void smtp_opened(struct session *base)
{
    opened_as(base, KIND_SMTP, INTAKE_SMTP);
}

static void submission_opened(struct session *base)
{
    opened_as(base, KIND_SUBMISSION, INTAKE_SUBMISSION);
}

static void lmtp_opened(struct session *base)
{
    opened_as(base, KIND_LMTP, INTAKE_LMTP);
}

static void last_words(struct smtp_session *s, enum smtp_reply r)
{
    smtp_put(s, r);
    s->last = r;
    s->has_last = true;
}

static void smtp_timed_out(struct session *base)
{
    counter_add(&smtp_counters[SC_TIMEOUTS], 1);
    last_words(smtp_of(base), SMTP_R_TIMEOUT);
}

static void smtp_stopping(struct session *base)
{
    last_words(smtp_of(base), SMTP_R_STOPPING);
}

static void smtp_closed(struct session *base)
{
    struct smtp_session *s = smtp_of(base);

    timer_stop(&s->delay);
    auth_exchange_destroy(&s->exchange);
    s->channel = intake_channel(s->tx);
    intake_tx_destroy(&s->tx); /* which may have something to tell before the end */
    smtp_log_closed(s);
    buf_free(&s->helo);
}

static const char *smtp_describe(struct session *base, struct buf *out)
{
    struct smtp_session *s = smtp_of(base);

    buf_put_slice(out, s->user.address);
    return s->state == SMTP_COMMAND && s->has_mail ? "envelope" : state_names[s->state];
}

#define PROTOCOL(word, on_opened)                                                                                      \
    {                                                                                                                  \
        .name = word, .session_bytes = sizeof(struct smtp_session), .opened = on_opened, .step = smtp_step,            \
        .timed_out = smtp_timed_out, .stopping = smtp_stopping,                                                        \
        .busy_text = "421 4.3.2 Too many connections, try again later", .closed = smtp_closed,                     \
        .describe = smtp_describe,                                                                                     \
    }
const struct protocol smtp_protocol = PROTOCOL("smtp", smtp_opened);
const struct protocol submission_protocol = PROTOCOL("submission", submission_opened);
const struct protocol lmtp_protocol = PROTOCOL("lmtp", lmtp_opened);
