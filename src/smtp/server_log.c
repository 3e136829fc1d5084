/* server_log.c - a session's connection, authentications and bad commands in the transaction log. Messages are told by
 * intake. */
#include "smtp/session.h"

#include "log/txlog.h"

#define COMMAND_MAX 200u /* octets of a bad command that are kept */
#define REPLY_MAX 400u
#define MODIFIERS_MAX 8u

static const struct smtp_service *service_of(const struct smtp_session *s)
{
    return s->base.service;
}

static slice modifiers(const struct smtp_session *s, char out[MODIFIERS_MAX])
{
    size_t n = 0;

    if (s->kind == KIND_LMTP)
        out[n++] = 'L';
    else if (s->peer.is_esmtp)
        out[n++] = 'E';
    if (s->peer.is_pipelined)
        out[n++] = 'Q';
    if (s->peer.is_tls)
        out[n++] = 'S';
    if (s->peer.user != NULL)
        out[n++] = 'A';
    return slice_of(out, n);
}

static slice print_reply(char out[REPLY_MAX], unsigned code, const char *enhanced, const char *text)
{
    int len = snprintf(out, REPLY_MAX, "%u %s%s%s", code, enhanced, enhanced[0] != '\0' ? " " : "", text);

    return slice_of(out, (size_t)len < REPLY_MAX ? (size_t)len : REPLY_MAX - 1);
}

static void connection_write(struct smtp_session *s, struct txlog_record *r)
{
    char letters[MODIFIERS_MAX];
    struct txlog_peer peer = {
        .session = s->base.id,
        .local = &s->base.local,
        .remote = &s->base.peer,
        .channel = s->tx != NULL ? intake_channel(s->tx) : s->channel,
        .application = s->kind == KIND_LMTP ? "LMTP" : "SMTP",
    };

    r->modifiers = modifiers(s, letters);
    txlog_connection(service_of(s)->log, &peer, r);
}

void smtp_log_opened(struct smtp_session *s)
{
    struct txlog_record r = { .code = 'O' };

    s->is_told = true;
    connection_write(s, &r);
}

void smtp_log_refused(struct smtp_session *s, unsigned code, const char *enhanced, const char *text)
{
    char reply[REPLY_MAX];
    struct txlog_record r = { .code = 'X', .diagnostic = print_reply(reply, code, enhanced, text) };

    connection_write(s, &r);
}

void smtp_log_closed(struct smtp_session *s)
{
    const struct smtp_reply_row *last = &smtp_replies[s->last];
    int64_t age_ms = reactor_now_ms(s->base.worker->reactor) - s->began_ms;
    char reply[REPLY_MAX];
    struct txlog_record r = {
        .code = 'C',
        .has_queue_s = true,
        .queue_s = (uint32_t)(age_ms / 1000),
        .octets_in = stream_in_bytes(s->base.stream),
        .octets_out = stream_out_bytes(s->base.stream),
    };

    if (!s->is_told)
        return;
    if (s->has_last && last->code >= 400)
        r.diagnostic = print_reply(reply, last->code, last->enhanced, last->text);
    else if (s->base.failure != NULL)
        r.diagnostic = slice_str(s->base.failure);
    connection_write(s, &r);
}

void smtp_log_auth(struct smtp_session *s, unsigned code, const char *enhanced, const char *text)
{
    const struct auth_exchange *x = s->exchange;
    char reply[REPLY_MAX];
    struct txlog_record r = {
        .code = 'U',
        .user = x != NULL ? auth_exchange_claimed(x) : s->user.address,
        .mechanism = x != NULL ? auth_exchange_mechanism(x) : s->peer.auth_mechanism,
        .reason = x != NULL ? slice_str(auth_exchange_reason(x)) : SLICE_NONE,
        .diagnostic = print_reply(reply, code, enhanced, text),
    };

    connection_write(s, &r);
}

/* --- bad commands ------------------------------------------------------------------------------------------------- */

/* RFC 5321 4.2.4 and 4.3.2: the server did not understand, or not now. */
static bool is_objection(unsigned code)
{
    return (code >= 500 && code <= 504) || code == 530 || code == 555;
}

bool smtp_log_wants_command(const struct smtp_session *s)
{
    return service_of(s)->log != NULL && s->bad_commands < txlog_bad_commands_max(service_of(s)->log);
}

/* What follows an AUTH that was refused may be the password all the same: nothing of it is shown. */
static slice shown(struct smtp_session *s, slice line, bool is_known)
{
    slice rest = line, word = slice_word(&rest);

    if (slice_eq_nocase(word, SLICE("AUTH"))) {
        s->hides_unknown = true;
        return word;
    }
    if (is_known)
        s->hides_unknown = false;
    return s->hides_unknown ? SLICE("(not shown)") : line.len != 0 ? slice_sub(line, 0, COMMAND_MAX) : SLICE("-");
}

void smtp_log_command(struct smtp_session *s, slice line)
{
    char id[24], letters[MODIFIERS_MAX], reply[REPLY_MAX];
    struct buf system = BUF_INIT;
    slice command;
    int len;

    if (s->bad_code == 0)
        s->hides_unknown = false;
    if (s->bad_code == 0 || !is_objection(s->bad_code))
        return;
    command = shown(s, line, s->bad_code != smtp_replies[SMTP_R_UNKNOWN].code);
    s->bad_commands++;
    len = snprintf(id, sizeof id, "%llu", (unsigned long long)s->base.id);
    buf_printf(&system, "%.*s ([", SLICE_ARG(s->peer.helo));
    net_addr_print_host(&s->base.peer, &system);
    buf_put_str(&system, "])");
    txlog_write(service_of(s)->log, &(struct txlog_record){
                                        .code = 'B',
                                        .modifiers = modifiers(s, letters),
                                        .session = slice_of(id, (size_t)len),
                                        .source = intake_channel(s->tx),
                                        .rcpt = command,
                                        .user = s->user.address,
                                        .source_system = buf_slice(&system),
                                        .diagnostic = print_reply(reply, s->bad_code, s->bad_enhanced, s->bad_text),
                                    });
    buf_free(&system);
}
