/* server_auth.c - AUTH (RFC 4954): base64 lines to and fro; auth decides on its helpers. */
#include "base/base64.h"
#include "base/mem.h"
#include "smtp/session.h"
#include "smtp/syntax.h"

static struct auth_peer auth_peer_of(struct smtp_session *s)
{
    return (struct auth_peer){ .service = "smtp", .addr = s->base.peer, .is_tls = s->peer.is_tls };
}

bool smtp_auth_is_offered(struct smtp_session *s, struct buf *mechanisms)
{
    const struct smtp_service *service = s->base.service;
    struct auth_peer peer = auth_peer_of(s);

    if (service->auth == NULL || (s->kind != KIND_SUBMISSION && !(s->kind == KIND_SMTP && smtp_conf(s)->auth)))
        return false;
    if (mechanisms != NULL)
        auth_mechanisms(service->auth, session_conf(&s->base, CONF_AUTH), &peer, mechanisms);
    return true;
}

/* --- the exchange ------------------------------------------------------------------------------------------------- */

static void on_auth(void *arg, uint64_t session, struct auth_exchange *x)
{
    struct session *base = session_find(arg, session);

    (void)x;
    if (base == NULL)
        return;
    smtp_of(base)->is_answered = true;
    session_wake(base);
}

static void auth_told(struct smtp_session *s, enum smtp_reply r)
{
    const struct smtp_reply_row *row = &smtp_replies[r];

    s->hides_unknown = row->code >= 400;
    smtp_log_auth(s, row->code, row->enhanced, row->text);
    intake_count(s->tx, row->code < 400 ? INTAKE_AUTH_OK : INTAKE_AUTH_FAILED);
}

static enum step auth_end(struct smtp_session *s, enum smtp_reply r)
{
    if (smtp_replies[r].code >= 400)
        auth_told(s, r);
    auth_exchange_destroy(&s->exchange);
    if (s->state != SMTP_COMMAND)
        smtp_enter(s, SMTP_COMMAND);
    smtp_put(s, r);
    session_timeout(&s->base, smtp_conf(s)->command_timeout_s * 1000);
    return smtp_next(s);
}

static unsigned auth_failures_max(struct smtp_session *s)
{
    const struct auth_conf *conf = session_conf(&s->base, CONF_AUTH);

    return conf->failures_max;
}

static enum step auth_failed(struct smtp_session *s, enum smtp_reply r)
{
    counter_add(&smtp_counters[SC_AUTH_FAILED], 1);
    if (++s->auth_failures < auth_failures_max(s))
        return auth_end(s, r);
    auth_told(s, r);
    auth_exchange_destroy(&s->exchange);
    smtp_put(s, r);
    return smtp_put_last(s, SMTP_R_AUTH_MANY);
}

static enum step auth_succeeded(struct smtp_session *s)
{
    const struct dir_user *u = auth_exchange_user(s->exchange);

    /* The exchange goes now, the session may last: what is needed of the user is copied. */
    s->user = *u;
    s->user.address = slice_dup(&s->base.mem, u->address);
    s->user.store_id = slice_dup(&s->base.mem, u->store_id);
    s->user.name = SLICE_NONE;
    s->peer.auth_mechanism = slice_dup(&s->base.mem, auth_exchange_mechanism(s->exchange));
    s->peer.user = &s->user;
    s->base.user = s->user.address;
    auth_exchange_destroy(&s->exchange);
    s->is_answered = false;
    return smtp_ask(s, ASKED_AUTH, intake_auth(s->tx));
}

enum step smtp_auth_verdict(struct smtp_session *s)
{
    enum intake_reply verdict = intake_verdict(s->tx);

    if (intake_replies[verdict].code < 400) {
        s->idle_commands = 0;
        counter_add(&smtp_counters[SC_AUTH_OK], 1);
        auth_told(s, SMTP_R_AUTH_OK);
        return auth_end(s, SMTP_R_AUTH_OK);
    }
    smtp_log_auth(s, intake_replies[verdict].code, intake_replies[verdict].enhanced, intake_replies[verdict].text);
    intake_count(s->tx, INTAKE_AUTH_FAILED);
    s->peer.user = NULL;
    s->peer.auth_mechanism = SLICE_NONE;
    s->base.user = SLICE_NONE;
    counter_add(&smtp_counters[SC_AUTH_FAILED], 1);
    smtp_put_verdict(s, verdict);
    session_timeout(&s->base, smtp_conf(s)->command_timeout_s * 1000);
    if (intake_replies[verdict].code != 421 && ++s->auth_failures < auth_failures_max(s))
        return smtp_next(s);
    smtp_enter(s, SMTP_CLOSING);
    return STEP_AGAIN;
}

static enum step auth_challenge(struct smtp_session *s)
{
    struct buf *out = stream_out(s->base.stream);

    buf_put_str(out, "334 ");
    base64_encode(out, auth_exchange_challenge(s->exchange));
    buf_put_str(out, "\r\n");
    smtp_enter(s, SMTP_AUTH_LINE);
    session_timeout(&s->base, smtp_conf(s)->command_timeout_s * 1000);
    return STEP_AGAIN;
}

enum step smtp_step_auth(struct smtp_session *s)
{
    if (!s->is_answered) {
        s->base.wait = "auth";
        return STEP_WAIT;
    }
    switch (auth_exchange_result(s->exchange)) {
    case AUTH_OK:
        /* A mechanism's last word travels in a challenge that the client answers with an empty line (RFC 4954 4). */
        if (auth_exchange_has_final(s->exchange) && !s->is_auth_final) {
            s->is_auth_final = true;
            return auth_challenge(s);
        }
        return auth_succeeded(s);
    case AUTH_CONTINUE:
        return auth_challenge(s);
    case AUTH_FAILED:
        return auth_failed(s, SMTP_R_AUTH_FAILED);
    case AUTH_DISABLED:
        return auth_failed(s, SMTP_R_AUTH_DISABLED);
    case AUTH_BAD_MECHANISM:
        return auth_end(s, SMTP_R_AUTH_MECHANISM);
    case AUTH_NEEDS_TLS:
        return auth_end(s, SMTP_R_NEED_TLS);
    case AUTH_BAD_ENCODING:
        return auth_end(s, SMTP_R_AUTH_BASE64);
    case AUTH_BUSY:
    case AUTH_TEMP:
        break;
    }
    return auth_end(s, SMTP_R_AUTH_TEMP);
}

/* One response, still in base64. */
static enum step auth_response(struct smtp_session *s, slice text, bool has_response)
{
    struct buf response = BUF_INIT;
    bool is_good = base64_decode(&response, text);

    if (is_good && s->is_auth_final) { /* the client has seen the server's proof */
        buf_free(&response);
        smtp_enter(s, SMTP_AUTH_STEP);
        return auth_succeeded(s);
    }
    if (is_good) {
        smtp_enter(s, SMTP_AUTH_STEP);
        s->is_answered = false;
        auth_exchange_step(s->exchange, buf_slice(&response), has_response);
    }
    if (response.len != 0)
        mem_wipe(response.ptr, response.len);
    buf_free(&response);
    return is_good ? STEP_AGAIN : auth_end(s, SMTP_R_AUTH_BASE64);
}

enum step smtp_step_auth_line(struct smtp_session *s)
{
    slice line;

    switch (stream_line(s->base.stream, SMTP_AUTH_LINE_MAX_OCTETS, false, &line)) {
    case FRAME_OK:
        if (slice_eq(line, SLICE("*")))
            return auth_end(s, SMTP_R_AUTH_CANCELLED);
        return auth_response(s, line, true);
    case FRAME_MORE:
        return STEP_WANT_READ;
    case FRAME_TOO_LONG:
        return auth_end(s, SMTP_R_AUTH_LONG);
    case FRAME_BARE:
        return auth_end(s, SMTP_R_AUTH_BASE64);
    case FRAME_EOF:
        break;
    }
    return STEP_CLOSE;
}

enum step smtp_do_auth(struct smtp_session *s, slice args)
{
    const struct smtp_service *service = s->base.service;
    struct auth_peer peer = auth_peer_of(s);
    struct err err = ERR_INIT;
    struct conf_set *conf;
    slice mechanism, initial;
    bool has_initial;

    if (!smtp_auth_is_offered(s, NULL) || s->peer.user != NULL) {
        smtp_put(s, s->peer.user != NULL ? SMTP_R_AUTH_ALREADY : SMTP_R_NOT_OFFERED);
        return smtp_next(s);
    }
    if (smtp_auth_parse(args, &mechanism, &initial, &has_initial, &err) < 0) {
        smtp_put_text(s, SMTP_R_SYNTAX, err.text);
        return smtp_next(s);
    }
    conf = session_conf_ref(&s->base);
    s->is_auth_final = false;
    s->exchange = auth_exchange_new(service->auth, conf, &peer, mechanism, s->base.worker->reactor, s->base.id, on_auth,
                                    s->base.worker);
    snap_unref(&conf->snap);
    return auth_response(s, initial, has_initial);
}
