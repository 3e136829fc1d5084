/* client_session.c - a connection to another host: greeting, EHLO, STARTTLS, AUTH, rest and QUIT. */
#include <stdio.h>

#include "base/base64.h"
#include "base/mem.h"
#include "smtp/client_internal.h"

typedef enum step conn_step_fn(struct smtp_conn *conn);

static struct smtp_conn *conn_of(struct session *s)
{
    return CONTAINER_OF(s, struct smtp_conn, base);
}

/* What is waited for, in words for people. */
static const char *const state_names[CONN_STATES] = {
    [CONN_GREETING] = "greeting", [CONN_EHLO] = "EHLO",          [CONN_HELO] = "HELO",
    [CONN_STARTTLS] = "STARTTLS", [CONN_TLS] = "TLS handshake",  [CONN_AUTH] = "AUTH",
    [CONN_AUTH_USER] = "AUTH",    [CONN_AUTH_PASSWORD] = "AUTH", [CONN_READY] = "ready",
    [CONN_SCAN] = "reading",      [CONN_ENVELOPE] = "envelope",  [CONN_BODY] = "message",
    [CONN_CHUNK] = "BDAT",        [CONN_FINAL] = "final dot",    [CONN_RSET] = "RSET",
    [CONN_QUIT] = "QUIT",
};

void smtp_conn_enter(struct smtp_conn *conn, enum conn_state state, uint32_t timeout_s)
{
    conn->state = state;
    conn->base.is_busy = state != CONN_READY && state != CONN_QUIT && state != CONN_RSET;
    session_timeout(&conn->base, timeout_s * 1000);
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

static enum got reply_bad(struct smtp_conn *conn, const char *why)
{
    counter_add(&smtp_client_counters[CC_PROTOCOL_ERRORS], 1);
    smtp_conn_fault(conn, false, "4.5.0", "%s after %s", why, state_names[conn->state]);
    return GOT_BAD;
}

enum got smtp_conn_reply(struct smtp_conn *conn)
{
    for (;;) {
        slice line;

        switch (stream_line(conn->base.stream, conn->conf.reply_bytes_max, true, &line)) {
        case FRAME_OK:
            break;
        case FRAME_MORE:
            return GOT_MORE;
        case FRAME_TOO_LONG:
            return reply_bad(conn, "a reply over the limit");
        case FRAME_BARE:
            return reply_bad(conn, "a reply with a bare CR or NUL");
        case FRAME_EOF:
            smtp_conn_fault(conn, false, "4.4.2", "the peer closed the connection (%s)", state_names[conn->state]);
            return GOT_BAD;
        }
        switch (smtp_reply_line(&conn->reply, line, conn->conf.reply_lines_max, conn->conf.reply_bytes_max)) {
        case SMTP_REPLY_MORE:
            break;
        case SMTP_REPLY_DONE:
            if (conn->client != NULL)
                smtp_client_progress(conn->client);
            return GOT_REPLY;
        case SMTP_REPLY_BAD:
            return reply_bad(conn, "what is no reply");
        case SMTP_REPLY_LONG:
            return reply_bad(conn, "a reply over the limit");
        }
    }
}

/* A reply that ends the connection before any mail. */
static enum step refused(struct smtp_conn *conn)
{
    if (conn->reply.code == 421 && conn->client != NULL && conn->mails == 0 &&
        (conn->state == CONN_GREETING || conn->state == CONN_EHLO))
        conn->client->is_limited = true;
    smtp_conn_fault_reply(conn, state_names[conn->state]);
    if (conn->reply.code != 421)
        stream_put(conn->base.stream, SLICE("QUIT\r\n"));
    return STEP_CLOSE;
}

/* --- greeting and EHLO -------------------------------------------------------------------------------------------- */

static enum step hello_send(struct smtp_conn *conn, const char *verb, enum conn_state state)
{
    const struct server_conf *server = session_conf(&conn->base, CONF_SERVER);
    struct buf *out = stream_out(conn->base.stream);

    buf_printf(out, "%s ", verb);
    if (conn->conf.hostname.len > 0)
        buf_put_slice(out, conn->conf.hostname);
    else if (server != NULL && server->hostname.len > 0)
        buf_put_slice(out, server->hostname);
    else if (conn->base.local.sa.sa_family != AF_UNIX && conn->base.local.len > 0)
        net_addr_print_literal(&conn->base.local, out); /* RFC 5321 4.1.4 */
    else
        buf_put_str(out, "localhost");
    buf_put_str(out, "\r\n");
    smtp_conn_enter(conn, state, conn->conf.mail_s);
    return STEP_AGAIN;
}

static enum step step_greeting(struct smtp_conn *conn)
{
    if (conn->reply.code / 100 != 2)
        return refused(conn);
    return hello_send(conn, conn->is_lmtp ? "LHLO" : "EHLO", CONN_EHLO);
}

static enum step after_hello(struct smtp_conn *conn);

static enum step step_ehlo(struct smtp_conn *conn)
{
    const unsigned klass = conn->reply.code / 100;

    if (klass == 5 && !conn->is_lmtp) { /* RFC 5321 3.2: an old one */
        conn->caps = (struct smtp_caps){ .is_esmtp = false };
        return hello_send(conn, "HELO", CONN_HELO);
    }
    if (klass != 2)
        return refused(conn);
    smtp_caps_read(&conn->caps, buf_slice(&conn->reply.text));
    if (!conn->conf.pipelining)
        conn->caps.pipelining = false;
    return after_hello(conn);
}

static enum step step_helo(struct smtp_conn *conn)
{
    return conn->reply.code / 100 == 2 ? after_hello(conn) : refused(conn);
}

/* --- STARTTLS: RFC 3207 ------------------------------------------------------------------------------------------- */

static enum step no_tls(struct smtp_conn *conn, const char *why)
{
    smtp_conn_fault(conn, false, "4.7.5", "TLS is required: %s", why);
    stream_put(conn->base.stream, SLICE("QUIT\r\n"));
    return STEP_CLOSE;
}

static enum step auth_begin(struct smtp_conn *conn);

static enum step after_hello(struct smtp_conn *conn)
{
    const struct smtp_client *c = conn->client;

    if (conn->base.is_tls || c->setup.tls == SMTP_CLIENT_NOTLS || conn->base.peer.sa.sa_family == AF_UNIX)
        return auth_begin(conn);
    if (conn->caps.starttls && !c->is_tls_off) {
        stream_put(conn->base.stream, SLICE("STARTTLS\r\n"));
        smtp_conn_enter(conn, CONN_STARTTLS, conn->conf.mail_s);
        return STEP_AGAIN;
    }
    return c->setup.tls == SMTP_CLIENT_MUSTTLS ? no_tls(conn, "the peer does not offer it") : auth_begin(conn);
}

static enum step step_starttls(struct smtp_conn *conn)
{
    const struct smtp_client *c = conn->client;

    if (conn->reply.code == 421)
        return refused(conn);
    if (conn->reply.code != 220) {
        if (c->setup.tls == SMTP_CLIENT_MUSTTLS)
            return no_tls(conn, "the peer refuses STARTTLS");
        return auth_begin(conn);
    }
    smtp_conn_enter(conn, CONN_TLS, conn->conf.mail_s);
    client_start_tls(&conn->base, smtp_client_hop(c)->name, c->setup.tls == SMTP_CLIENT_MUSTTLS && c->setup.tls_verify);
    conn->base.wait = "TLS";
    return STEP_WAIT;
}

static enum step step_tls(struct smtp_conn *conn)
{
    const char *error = stream_tls_error(conn->base.stream);
    struct smtp_client *c = conn->client;

    if (error == NULL && !conn->base.is_tls)
        return STEP_WAIT;
    if (error != NULL || c == NULL) {
        counter_add(&smtp_client_counters[CC_TLS_FAILED], 1);
        smtp_conn_fault(conn, false, "4.7.5", "TLS: %s", error != NULL ? error : "not wanted any more");
        if (c != NULL && c->setup.tls == SMTP_CLIENT_MAYTLS)
            conn->is_again = c->is_tls_off = true; /* what was said so far cannot be trusted: a new connection */
        return STEP_CLOSE;
    }
    counter_add(&smtp_client_counters[CC_TLS], 1);
    return hello_send(conn, conn->is_lmtp ? "LHLO" : "EHLO", CONN_EHLO); /* RFC 3207 4.2: forget what was said */
}

/* --- AUTH: RFC 4954, RFC 4616 ------------------------------------------------------------------------------------- */

static enum step auth_begin(struct smtp_conn *conn)
{
    const struct smtp_client *c = conn->client;
    struct buf *out = stream_out(conn->base.stream);
    struct buf plain = BUF_INIT;

    if (c->setup.auth_user.len == 0)
        return smtp_conn_ready(conn);
    if (!conn->base.is_tls && !net_addr_is_loopback(&conn->base.peer)) {
        smtp_conn_fault(conn, false, "4.7.0", "the password is not sent without TLS");
        buf_put_str(out, "QUIT\r\n");
        return STEP_CLOSE;
    }
    if (!conn->caps.auth_plain && !conn->caps.auth_login) {
        smtp_conn_fault(conn, false, "4.7.0", "neither AUTH PLAIN nor LOGIN is offered");
        buf_put_str(out, "QUIT\r\n");
        return STEP_CLOSE;
    }
    if (conn->caps.auth_plain) {
        buf_put_byte(&plain, '\0');
        buf_put_slice(&plain, c->setup.auth_user);
        buf_put_byte(&plain, '\0');
        buf_put_slice(&plain, c->setup.auth_password);
        buf_put_str(out, "AUTH PLAIN ");
        base64_encode(out, buf_slice(&plain));
        explicit_bzero(plain.ptr, plain.len);
    } else {
        buf_put_str(out, "AUTH LOGIN");
    }
    buf_put_str(out, "\r\n");
    buf_free(&plain);
    smtp_conn_enter(conn, conn->caps.auth_plain ? CONN_AUTH : CONN_AUTH_USER, conn->conf.mail_s);
    return STEP_AGAIN;
}

static enum step auth_refused(struct smtp_conn *conn)
{
    struct buf diag = BUF_INIT;

    /* Our password is wrong, not the mail: it waits. */
    smtp_reply_diag(&conn->reply, &diag);
    smtp_conn_fault(conn, false, "4.7.8", "AUTH: %s", buf_str(&diag));
    stream_put(conn->base.stream, SLICE("QUIT\r\n"));
    buf_free(&diag);
    return STEP_CLOSE;
}

static enum step step_auth(struct smtp_conn *conn)
{
    if (conn->reply.code / 100 != 2)
        return auth_refused(conn);
    conn->is_authenticated = true;
    return smtp_conn_ready(conn);
}

/* AUTH LOGIN: "334 Username:", then "334 Password:". */
static enum step auth_answer(struct smtp_conn *conn, slice word, enum conn_state next)
{
    if (conn->reply.code != 334)
        return auth_refused(conn);
    base64_encode(stream_out(conn->base.stream), word);
    stream_put(conn->base.stream, SLICE("\r\n"));
    smtp_conn_enter(conn, next, conn->conf.mail_s);
    return STEP_AGAIN;
}

static enum step step_auth_user(struct smtp_conn *conn)
{
    return auth_answer(conn, conn->client->setup.auth_user, CONN_AUTH_PASSWORD);
}

static enum step step_auth_password(struct smtp_conn *conn)
{
    return auth_answer(conn, conn->client->setup.auth_password, CONN_AUTH);
}

/* --- rest --------------------------------------------------------------------------------------------------------- */

enum step smtp_conn_ready(struct smtp_conn *conn)
{
    smtp_conn_enter(conn, CONN_READY, conn->conf.mail_s);
    return STEP_AGAIN;
}

static enum step quit(struct smtp_conn *conn)
{
    stream_put(conn->base.stream, SLICE("QUIT\r\n"));
    conn->is_quit_sent = true;
    smtp_conn_enter(conn, CONN_QUIT, conn->conf.quit_s);
    return STEP_AGAIN;
}

static enum step step_ready(struct smtp_conn *conn)
{
    struct smtp_client *c = conn->client;

    if (c == NULL)
        return quit(conn);
    if (c->mail != NULL && !c->is_done) {
        /* What it says between messages can only be a farewell; the message goes through a new connection. */
        if (stream_has_input(conn->base.stream) || stream_eof(conn->base.stream) || c->is_stopping)
            return STEP_CLOSE;
        return smtp_conn_begin(conn);
    }
    if (stream_has_input(conn->base.stream) || stream_eof(conn->base.stream))
        return STEP_CLOSE;
    if (c->rest_ms > 0)
        session_timeout(&conn->base, c->rest_ms);
    c->rest_ms = 0;
    return STEP_WANT_READ;
}

static enum step step_quit(struct smtp_conn *conn)
{
    return smtp_conn_reply(conn) == GOT_MORE ? STEP_WANT_READ : STEP_CLOSE;
}

/* --- the protocol ------------------------------------------------------------------------------------------------- */

/* What to do when a reply has come; the other states are asked without one. */
static conn_step_fn *const on_reply[CONN_STATES] = {
    [CONN_GREETING] = step_greeting, [CONN_EHLO] = step_ehlo,           [CONN_HELO] = step_helo,
    [CONN_STARTTLS] = step_starttls, [CONN_AUTH] = step_auth,           [CONN_AUTH_USER] = step_auth_user,
    [CONN_AUTH_PASSWORD] = step_auth_password,
};
static conn_step_fn *const on_step[CONN_STATES] = {
    [CONN_TLS] = step_tls,           [CONN_READY] = step_ready,         [CONN_SCAN] = smtp_step_scan,
    [CONN_ENVELOPE] = smtp_step_envelope, [CONN_BODY] = smtp_step_body, [CONN_CHUNK] = smtp_step_chunks,
    [CONN_FINAL] = smtp_step_final,  [CONN_RSET] = smtp_step_rset,      [CONN_QUIT] = step_quit,
};

static enum step conn_step(struct session *s)
{
    struct smtp_conn *conn = conn_of(s);

    if (on_step[conn->state] != NULL)
        return on_step[conn->state](conn);
    if (conn->client == NULL)
        return STEP_CLOSE;
    switch (smtp_conn_reply(conn)) {
    case GOT_REPLY:
        return on_reply[conn->state](conn);
    case GOT_MORE:
        return STEP_WANT_READ;
    case GOT_BAD:
        break;
    }
    return STEP_CLOSE;
}

static void log_conn(const struct smtp_conn *conn, char code, slice reason)
{
    const struct session *s = &conn->base;
    char id[24];

    if (conn->log == NULL || !txlog_wants_connections(conn->log))
        return;
    snprintf(id, sizeof id, "%llu", (unsigned long long)s->id);
    txlog_write(conn->log,
                &(struct txlog_record){
                    .code = code,
                    .direction = '-',
                    .modifiers = s->is_tls ? SLICE("S") : SLICE_NONE,
                    .session = slice_str(id),
                    .source = conn->channel,
                    .transport = conn->transport,
                    .application = conn->application,
                    .reason = reason,
                    .has_queue_s = code == 'C',
                    .queue_s = (uint32_t)((reactor_now_ms(s->worker->reactor) - conn->opened_ms) / 1000),
                    .octets_in = code == 'C' ? stream_in_bytes(s->stream) : 0,
                    .octets_out = code == 'C' ? stream_out_bytes(s->stream) : 0,
                });
}

static void print_end(struct buf *out, const struct net_addr *a)
{
    buf_put_byte(out, '|');
    if (a->len > 0)
        net_addr_print_host(a, out);
    buf_printf(out, "|%u", a->len > 0 ? net_addr_port(a) : 0);
}

/* "TCP|local|port|remote|port", "SMTP/host/mx" */
static void describe_ends(struct smtp_conn *conn)
{
    struct session *s = &conn->base;
    const struct smtp_hop *hop = smtp_client_hop(conn->client);
    struct buf text = BUF_INIT;

    if (hop->addr.sa.sa_family == AF_UNIX) {
        buf_put_str(&text, "UNIX|");
        smtp_client_where(hop, &text);
    } else {
        buf_put_str(&text, "TCP");
        print_end(&text, &s->local);
        print_end(&text, &hop->addr);
    }
    conn->transport = slice_dup(&s->mem, buf_slice(&text));
    buf_reset(&text);
    buf_printf(&text, "%s/%.*s", conn->is_lmtp ? "LMTP" : "SMTP", SLICE_ARG(conn->client->setup.target));
    if (hop->name.len > 0 && !slice_eq(hop->name, conn->client->setup.target))
        buf_printf(&text, "/%.*s", SLICE_ARG(hop->name));
    conn->application = slice_dup(&s->mem, buf_slice(&text));
    buf_free(&text);
}

static void conn_opened(struct session *s)
{
    struct smtp_conn *conn = conn_of(s);

    counter_add(&smtp_client_counters[CC_CONNECTIONS], 1);
    counter_add(&smtp_client_counters[CC_OPEN], 1);
    conn->opened_ms = reactor_now_ms(s->worker->reactor);
    if (conn->client != NULL) {
        describe_ends(conn);
        smtp_client_progress(conn->client);
    }
    log_conn(conn, 'O', SLICE_NONE);
    smtp_conn_enter(conn, CONN_GREETING, conn->conf.greeting_s);
}

static void conn_closed(struct session *s)
{
    struct smtp_conn *conn = conn_of(s);
    struct smtp_client *c = conn->client;

    if (s->is_opened) {
        counter_add(&smtp_client_counters[CC_OPEN], -1);
    } else {
        counter_add(&smtp_client_counters[CC_CONNECT_FAILED], 1);
        if (c != NULL)
            describe_ends(conn);
    }
    if (conn->is_faulted || (s->is_opened && s->failure != NULL))
        counter_add(&smtp_client_counters[CC_FAILED], 1);
    if (c != NULL)
        smtp_client_closed(c, conn);
    if (s->is_opened)
        log_conn(conn, 'C', slice_str(s->failure));
    else
        log_conn(conn, 'Y', slice_str(s->failure));
    mem_free(conn->piece);
    smtp_reply_free(&conn->reply);
}

static void conn_timed_out(struct session *s)
{
    struct smtp_conn *conn = conn_of(s);

    if (conn->state == CONN_READY || conn->state == CONN_RSET) /* rested long enough */
        stream_put(s->stream, SLICE("QUIT\r\n"));
    else if (conn->state == CONN_BODY)
        smtp_conn_fault(conn, false, "4.4.2", "the peer took nothing for %u s", s->timeout_ms / 1000);
    else
        smtp_conn_fault(conn, false, "4.4.2", "no answer to %s within %u s",
                        conn->state == CONN_ENVELOPE ? smtp_envelope_word(conn) : state_names[conn->state],
                        s->timeout_ms / 1000);
}

static void conn_stopping(struct session *s)
{
    stream_put(s->stream, SLICE("QUIT\r\n"));
}

static const char *conn_describe(struct session *s, struct buf *out)
{
    const struct smtp_conn *conn = conn_of(s);

    if (conn->client != NULL)
        buf_put_slice(out, conn->client->setup.target);
    return state_names[conn->state];
}

#define CLIENT_PROTOCOL(word)                                                                                          \
    {                                                                                                                  \
        .name = word, .session_bytes = sizeof(struct smtp_conn), .opened = conn_opened, .step = conn_step,             \
        .timed_out = conn_timed_out, .stopping = conn_stopping, .closed = conn_closed, .describe = conn_describe,      \
    }
const struct protocol smtp_client_protocol = CLIENT_PROTOCOL("smtp-client");
const struct protocol lmtp_client_protocol = CLIENT_PROTOCOL("lmtp-client");
