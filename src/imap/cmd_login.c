/* cmd_login.c - LOGIN, AUTHENTICATE, STARTTLS, RFC 3501 6.2. */
#include "imap/internal.h"

#include "base/base64.h"
#include "base/diag.h"
#include "log/txlog.h"

#define AUTH_LINE_MAX_OCTETS 12288u /* RFC 4422: mechanisms here send far less */

static void describe_peer(struct imap_session *s, struct auth_peer *peer)
{
    *peer = (struct auth_peer){ .service = "imap", .addr = s->base.peer, .is_tls = s->base.is_tls };
}

static bool tls_is_offered(const struct imap_session *s)
{
    return s->base.listener->tls == LISTENER_TLS_STARTTLS && !s->base.is_tls;
}

/* --- capabilities ------------------------------------------------------------------------------------------------- */

void imap_capability(struct imap_session *s, struct buf *out)
{
    struct buf mechanisms = BUF_INIT;
    struct auth_peer peer;
    slice rest, word;

    buf_put_str(out, "IMAP4rev1 LITERAL+ ID ENABLE");
    if (s->level != LEVEL_GREETED) {
        buf_put_str(out, " IDLE NAMESPACE UIDPLUS UNSELECT CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE MOVE"
                         " CONDSTORE ESEARCH WITHIN STATUS=SIZE OBJECTID SAVEDATE QUOTA QUOTA=RES-STORAGE");
        buf_printf(out, " APPENDLIMIT=%llu", (unsigned long long)imap_conf_of(s)->append_bytes_max);
        return;
    }
    buf_put_str(out, " SASL-IR");
    if (tls_is_offered(s))
        buf_put_str(out, " STARTTLS");
    describe_peer(s, &peer);
    auth_mechanisms(imap_service(s)->auth, session_conf(&s->base, CONF_AUTH), &peer, &mechanisms);
    rest = buf_slice(&mechanisms);
    if (slice_find(rest, SLICE("PLAIN")) < 0) /* LOGIN sends the password as it is, like PLAIN */
        buf_put_str(out, " LOGINDISABLED");
    while ((word = slice_word(&rest)).len > 0) {
        buf_put_str(out, " AUTH=");
        buf_put_slice(out, word);
    }
    buf_free(&mechanisms);
}

/* --- the way in --------------------------------------------------------------------------------------------------- */

static enum imap_next welcome(struct imap_session *s)
{
    struct buf *out = stream_out(imap_stream(s));

    s->level = LEVEL_LOGGED_IN;
    imap_count(IC_LOGINS);
    buf_printf(out, "%.*s OK [CAPABILITY ", SLICE_ARG(s->run->tag));
    imap_capability(s, out);
    buf_printf(out, "] %s\r\n", imap_replies[IMAP_R_LOGGED_IN].text);
    return NEXT_DONE;
}

static bool find_account(struct imap_session *s, uint64_t owner)
{
    const struct imap_service *service = imap_service(s);
    struct journal_view v;
    bool found = false;

    if (journal_read_begin(service->journal, &v, NULL) == 0)
        found = store_account_find(service->store, &v, owner, &s->account);
    journal_read_end(&v);
    return found;
}

static enum imap_next account_made(struct imap_session *s)
{
    const struct dir_user *user = auth_exchange_user(s->exchange);

    if (s->answer->result == STORE_OK && find_account(s, user->id))
        return welcome(s);
    diag_error("imap", "no account for a user: %s", s->answer->err.text);
    s->base.user = SLICE_NONE;
    return imap_answer(s, imap_reply_of(s->answer->result, false));
}

/* The end of an exchange, in the transaction log. */
static void tell(struct imap_session *s, enum imap_reply r)
{
    const struct imap_reply_row *row = &imap_replies[r];
    const struct dir_user *user = auth_exchange_user(s->exchange);
    struct txlog_peer peer = {
        .session = s->base.id, .local = &s->base.local, .remote = &s->base.peer, .channel = SLICE("imap"),
        .application = "IMAP",
    };
    struct buf reply = BUF_INIT;

    buf_put_str(&reply, row->word);
    if (row->code != NULL)
        buf_printf(&reply, " [%s]", row->code);
    buf_printf(&reply, " %s", row->text);
    txlog_connection(imap_service(s)->log, &peer,
                     &(struct txlog_record){
                         .code = 'U',
                         .modifiers = s->base.is_tls ? SLICE("S") : SLICE_NONE,
                         .user = user != NULL ? user->address : auth_exchange_claimed(s->exchange),
                         .mechanism = auth_exchange_mechanism(s->exchange),
                         .reason = slice_str(auth_exchange_reason(s->exchange)),
                         .diagnostic = buf_slice(&reply),
                     });
    buf_free(&reply);
}

static enum imap_next logged_in(struct imap_session *s)
{
    const struct dir_user *user = auth_exchange_user(s->exchange);
    struct store_request *r;

    tell(s, IMAP_R_LOGGED_IN);
    s->base.user = slice_dup(&s->base.mem, user->address);
    if (find_account(s, user->id))
        return welcome(s);
    r = imap_request_new(s, STORE_ACCOUNT_ENSURE);
    r->owner = user->id;
    r->owner_name = slice_dup(&r->mem, user->store_id);
    r->quota_bytes = user->quota_bytes;
    return imap_request(s, r, account_made);
}

/* "+" SP base64        RFC 3501 6.2.2 */
static enum imap_next put_challenge(struct imap_session *s, slice challenge)
{
    struct buf *out = stream_out(imap_stream(s));

    buf_put_str(out, "+ ");
    base64_encode(out, challenge);
    buf_put_str(out, "\r\n");
    imap_enter(s, IMAP_AUTH);
    return NEXT_READ;
}

static enum imap_next on_result(struct imap_session *s)
{
    static const enum imap_reply replies[] = {
        [AUTH_FAILED] = IMAP_R_AUTH_FAILED,        [AUTH_DISABLED] = IMAP_R_AUTH_DISABLED,
        [AUTH_BUSY] = IMAP_R_AUTH_BUSY,            [AUTH_TEMP] = IMAP_R_AUTH_TEMP,
        [AUTH_BAD_MECHANISM] = IMAP_R_AUTH_MECHANISM, [AUTH_NEEDS_TLS] = IMAP_R_NEEDS_TLS,
        [AUTH_BAD_ENCODING] = IMAP_R_BAD_BASE64,
    };
    enum auth_result result = auth_exchange_result(s->exchange);
    enum imap_reply reply;

    s->exchange_is_done = false;
    if (result == AUTH_CONTINUE)
        return put_challenge(s, auth_exchange_challenge(s->exchange));
    if (result == AUTH_OK) {
        /* Final data of the server (SCRAM) goes as a challenge that the client answers with nothing, RFC 4422 5 e */
        if (auth_exchange_has_final(s->exchange) && s->run->data == NULL) {
            s->run->data = s;
            return put_challenge(s, auth_exchange_challenge(s->exchange));
        }
        return logged_in(s);
    }
    if (result == AUTH_FAILED || result == AUTH_DISABLED) {
        imap_count(IC_LOGIN_FAILURES);
        s->login_failures++;
    }
    reply = (size_t)result < ARRAY_LEN(replies) ? replies[result] : IMAP_R_AUTH_TEMP;
    tell(s, reply);
    return imap_answer(s, reply);
}

static void on_auth(void *arg, uint64_t session, struct auth_exchange *x)
{
    struct session *base = session_find(arg, session);
    struct imap_session *s;

    if (base == NULL)
        return;
    s = CONTAINER_OF(base, struct imap_session, base);
    if (s->exchange != x)
        return;
    s->exchange_is_done = true;
    session_wake(base);
}

static void exchange_begin(struct imap_session *s, slice mechanism)
{
    struct auth_peer peer;

    describe_peer(s, &peer);
    s->exchange_is_done = false;
    s->exchange_had_secret = true;
    s->exchange = auth_exchange_new(imap_service(s)->auth, s->base.worker->conf, &peer, mechanism,
                                    s->base.worker->reactor, s->base.id, on_auth, s->base.worker);
    s->run->resume = on_result;
    s->run->wait = "password";
}

/* login = "LOGIN" SP userid SP password        RFC 3501 6.2.3 */
enum imap_next imap_cmd_login(struct imap_session *s)
{
    struct imap_in *in = &s->run->in;
    slice user, password;

    if (!imap_sp(in) || !imap_astring(in, &user) || !imap_sp(in) || !imap_astring(in, &password) || !imap_end(in))
        return imap_bad(s);
    exchange_begin(s, SLICE("PLAIN"));
    auth_exchange_password(s->exchange, user, password);
    return NEXT_WAIT;
}

/* "AUTHENTICATE" SP auth-type [SP (base64 / "=")]        RFC 3501 6.2.2, RFC 4959 */
enum imap_next imap_cmd_authenticate(struct imap_session *s)
{
    struct imap_in *in = &s->run->in;
    struct buf response = BUF_INIT;
    slice mechanism, initial = SLICE_NONE;
    bool has_initial, ok = true;

    if (!imap_sp(in) || !imap_atom(in, &mechanism))
        return imap_bad(s);
    has_initial = imap_skip(in, ' ');
    if (has_initial && !imap_skip(in, '=')) {
        initial = in->rest;
        ok = base64_decode(&response, initial);
        if (!ok)
            imap_in_fail(in, "base64");
    } else if (!imap_end(in))
        ok = false;
    if (!ok) {
        buf_free(&response);
        return imap_bad(s);
    }
    exchange_begin(s, mechanism);
    auth_exchange_step(s->exchange, buf_slice(&response), has_initial);
    buf_free(&response);
    return NEXT_WAIT;
}

/* A response of the client, or "*" to give up. */
static enum imap_next on_line(struct imap_session *s, slice line)
{
    struct buf response = BUF_INIT;
    bool ok;

    if (slice_eq(line, SLICE("*")))
        return imap_answer(s, IMAP_R_CANCELLED);
    ok = base64_decode(&response, line);
    if (ok && s->run->data != NULL) { /* the empty answer to the final data */
        buf_free(&response);
        imap_enter(s, IMAP_RUNNING);
        return logged_in(s);
    }
    if (ok) {
        imap_enter(s, IMAP_RUNNING);
        auth_exchange_step(s->exchange, buf_slice(&response), true);
    }
    buf_free(&response);
    if (ok)
        return NEXT_WAIT;
    s->errors++;
    return imap_answer(s, IMAP_R_BAD_BASE64);
}

enum step imap_step_auth(struct imap_session *s)
{
    slice line;

    switch (stream_line(imap_stream(s), AUTH_LINE_MAX_OCTETS, false, &line)) {
    case FRAME_OK:
        return imap_after(s, on_line(s, line));
    case FRAME_MORE:
        return STEP_WANT_READ;
    case FRAME_TOO_LONG:
    case FRAME_BARE:
        s->errors++;
        return imap_after(s, imap_answer(s, IMAP_R_BAD_BASE64));
    case FRAME_EOF:
        break;
    }
    return STEP_CLOSE;
}

enum imap_next imap_cmd_starttls(struct imap_session *s)
{
    bool had_input;

    if (!imap_end(&s->run->in))
        return imap_bad(s);
    if (s->base.is_tls)
        return imap_answer(s, IMAP_R_HAS_TLS);
    if (!tls_is_offered(s))
        return imap_answer(s, IMAP_R_NO_TLS);
    imap_answer(s, IMAP_R_BEGIN_TLS);
    stream_start_tls(imap_stream(s), &had_input);
    if (had_input) /* RFC 9051 11.1: what was sent before the handshake is dropped, unread */
        diag_warn("imap", "session %llu: dropped input sent behind STARTTLS", (unsigned long long)s->base.id);
    imap_enter(s, IMAP_TLS);
    return NEXT_DONE;
}
