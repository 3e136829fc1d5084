/* session.c - the driver of a POP3 session: states, lines, login. */
#include "base/base64.h"
#include "base/mem.h"
#include "log/txlog.h"
#include "pop3/internal.h"

const char *const pop3_reply_text[POP3_REPLY_COUNT] = {
#define R(name, text) [name] = text,
    POP3_REPLIES(R)
#undef R
};

static const char *const state_names[POP3_STATES] = {
    [POP3_AUTHORIZATION] = "authorization",
    [POP3_EXCHANGE] = "auth",
    [POP3_CHECKING] = "checking",
    [POP3_OPENING] = "opening",
    [POP3_TRANSACTION] = "transaction",
    [POP3_SENDING] = "sending",
    [POP3_UPDATE] = "update",
    [POP3_DONE] = "done",
};

/* Bits of the states that may follow. */
#define TO(state) (1u << (state))
static const unsigned moves[POP3_STATES] = {
    [POP3_AUTHORIZATION] = TO(POP3_EXCHANGE) | TO(POP3_CHECKING) | TO(POP3_DONE),
    [POP3_EXCHANGE] = TO(POP3_CHECKING) | TO(POP3_AUTHORIZATION) | TO(POP3_DONE),
    [POP3_CHECKING] = TO(POP3_EXCHANGE) | TO(POP3_AUTHORIZATION) | TO(POP3_OPENING) | TO(POP3_DONE),
    [POP3_OPENING] = TO(POP3_TRANSACTION) | TO(POP3_DONE),
    [POP3_TRANSACTION] = TO(POP3_SENDING) | TO(POP3_UPDATE) | TO(POP3_DONE),
    [POP3_SENDING] = TO(POP3_TRANSACTION) | TO(POP3_DONE),
    [POP3_UPDATE] = TO(POP3_DONE),
};

static const struct pop3_conf *conf_of(struct pop3_session *p)
{
    return session_conf(&p->s, CONF_POP3);
}

static const struct auth_conf *auth_conf_of(struct pop3_session *p)
{
    return session_conf(&p->s, CONF_AUTH);
}

static void timeout_set(struct pop3_session *p)
{
    const struct pop3_conf *c = conf_of(p);
    bool is_in = p->state >= POP3_TRANSACTION && p->state < POP3_DONE;

    session_timeout(&p->s, (is_in ? c->idle_timeout_s : c->login_timeout_s) * 1000);
}

void pop3_enter(struct pop3_session *p, enum pop3_state state)
{
    ASSERT((moves[p->state] & TO(state)) != 0 || (p->state == POP3_DONE && state == POP3_DONE));
    p->state = state;
    timeout_set(p);
}

void pop3_reply(struct pop3_session *p, enum pop3_reply r)
{
    stream_printf(p->s.stream, "%s\r\n", pop3_reply_text[r]);
}

void pop3_error(struct pop3_session *p, enum pop3_reply r)
{
    pop3_reply(p, r);
    counter_add(&pop3_counters[PC_BAD], 1);
    p->errors++;
}

static struct auth_peer peer_of(struct pop3_session *p)
{
    return (struct auth_peer){ .service = "pop", .addr = p->s.peer, .is_tls = p->s.is_tls };
}

/* --- login ------------------------------------------------------------------------------------------------------- */

static enum pop3_reply reply_of(enum auth_result result)
{
    switch (result) {
    case AUTH_DISABLED:
        return POP3_R_AUTH_DISABLED;
    case AUTH_BUSY:
        return POP3_R_AUTH_BUSY;
    case AUTH_TEMP:
        return POP3_R_AUTH_TEMP;
    case AUTH_BAD_MECHANISM:
        return POP3_R_MECHANISM;
    case AUTH_NEEDS_TLS:
        return POP3_R_NEEDS_TLS;
    case AUTH_BAD_ENCODING:
        return POP3_R_BASE64;
    default:
        return POP3_R_AUTH_FAILED;
    }
}

static void on_auth(void *arg, uint64_t session, struct auth_exchange *x)
{
    struct pop3_session *p = (struct pop3_session *)session_find(arg, session);

    if (p == NULL || p->exchange != x)
        return;
    session_wake(&p->s);
}

static void challenge_put(struct pop3_session *p)
{
    struct buf text = BUF_INIT;

    base64_encode(&text, auth_exchange_challenge(p->exchange));
    stream_printf(p->s.stream, "+ %.*s\r\n", SLICE_ARG(buf_slice(&text)));
    buf_free(&text);
}

/* The end of an exchange, in the transaction log. */
static void tell(struct pop3_session *p, enum pop3_reply r)
{
    const struct dir_user *user = auth_exchange_user(p->exchange);
    struct txlog_peer peer = {
        .session = p->s.id, .local = &p->s.local, .remote = &p->s.peer, .channel = SLICE("pop3"), .application = "POP3",
    };

    txlog_connection(pop3_service(p)->log, &peer,
                     &(struct txlog_record){
                         .code = 'U',
                         .modifiers = p->s.is_tls ? SLICE("S") : SLICE_NONE,
                         .user = user != NULL ? user->address : auth_exchange_claimed(p->exchange),
                         .mechanism = auth_exchange_mechanism(p->exchange),
                         .reason = slice_str(auth_exchange_reason(p->exchange)),
                         .diagnostic = slice_str(pop3_reply_text[r]),
                     });
}

/* The answer of a helper. */
static enum step step_checking(struct pop3_session *p)
{
    enum auth_result result = auth_exchange_result(p->exchange);

    if (result == AUTH_CONTINUE) {
        challenge_put(p);
        pop3_enter(p, POP3_EXCHANGE);
        return STEP_AGAIN;
    }
    if (result == AUTH_OK) {
        const struct dir_user *user = auth_exchange_user(p->exchange);

        counter_add(&pop3_counters[PC_LOGINS], 1);
        tell(p, POP3_R_LOGGED_IN);
        p->owner = user->id;
        p->s.user = slice_dup(&p->s.mem, user->address);
        pop3_enter(p, POP3_OPENING);
        return STEP_AGAIN;
    }
    tell(p, reply_of(result));
    auth_exchange_destroy(&p->exchange);
    counter_add(&pop3_counters[PC_LOGIN_FAILURES], 1);
    pop3_reply(p, reply_of(result));
    if (++p->login_failures >= auth_conf_of(p)->failures_max) {
        pop3_enter(p, POP3_DONE);
        return STEP_CLOSE;
    }
    pop3_enter(p, POP3_AUTHORIZATION);
    return STEP_AGAIN;
}

static enum step exchange_begin(struct pop3_session *p, slice mechanism)
{
    struct auth_peer peer = peer_of(p);

    p->exchange = auth_exchange_new(pop3_service(p)->auth, p->s.worker->conf, &peer, mechanism, p->s.worker->reactor,
                                    p->s.id, on_auth, p->s.worker);
    pop3_enter(p, POP3_CHECKING);
    p->s.wait = "auth";
    return STEP_WAIT;
}

static enum step do_user(struct pop3_session *p, const struct pop3_line *line)
{
    arena_reset(&p->s.mem);
    p->user = slice_dup(&p->s.mem, slice_trim(line->rest));
    pop3_reply(p, POP3_R_USER_OK); /* the same for users that do not exist */
    return STEP_AGAIN;
}

/* PASS string: the rest of the line, blanks included        RFC 1939 7 */
static enum step do_pass(struct pop3_session *p, const struct pop3_line *line)
{
    enum step step;

    if (p->user.len == 0) {
        pop3_error(p, POP3_R_ORDER);
        return STEP_AGAIN;
    }
    step = exchange_begin(p, SLICE_NONE);
    auth_exchange_password(p->exchange, p->user, line->rest);
    p->user = SLICE_NONE;
    return step;
}

/* AUTH mechanism [initial-response]        RFC 5034 4; "=" is an empty response */
static enum step do_auth(struct pop3_session *p, const struct pop3_line *line)
{
    bool has_initial = line->word_count == 2;
    struct buf initial = BUF_INIT;
    enum step step;

    if (line->word_count == 0) { /* RFC 1734's listing, which older clients ask for */
        struct auth_peer peer = peer_of(p);

        auth_mechanisms(pop3_service(p)->auth, auth_conf_of(p), &peer, &initial);
        pop3_reply(p, POP3_R_OK);
        for (slice rest = buf_slice(&initial), word = slice_word(&rest); word.len != 0; word = slice_word(&rest))
            stream_printf(p->s.stream, "%.*s\r\n", SLICE_ARG(word));
        stream_put(p->s.stream, SLICE(".\r\n"));
        buf_free(&initial);
        return STEP_AGAIN;
    }
    if (has_initial && !slice_eq(line->words[1], SLICE("=")) && !base64_decode(&initial, line->words[1])) {
        buf_free(&initial);
        pop3_error(p, POP3_R_BASE64);
        return STEP_AGAIN;
    }
    step = exchange_begin(p, line->words[0]);
    auth_exchange_step(p->exchange, buf_slice(&initial), has_initial);
    if (initial.ptr != NULL)
        mem_wipe(initial.ptr, initial.len);
    buf_free(&initial);
    return step;
}

static enum step step_exchange(struct pop3_session *p)
{
    struct buf response = BUF_INIT;
    slice line;

    switch (stream_line(p->s.stream, POP3_AUTH_MAX_OCTETS, false, &line)) {
    case FRAME_MORE:
        return STEP_WANT_READ;
    case FRAME_EOF:
        return STEP_CLOSE;
    case FRAME_OK:
        break;
    default:
        line = SLICE("*");
        break;
    }
    if (slice_eq(line, SLICE("*")) || !base64_decode(&response, line)) {
        pop3_error(p, slice_eq(line, SLICE("*")) ? POP3_R_CANCELLED : POP3_R_BASE64);
        auth_exchange_destroy(&p->exchange);
        buf_free(&response);
        pop3_enter(p, POP3_AUTHORIZATION);
        return STEP_AGAIN;
    }
    pop3_enter(p, POP3_CHECKING);
    auth_exchange_step(p->exchange, buf_slice(&response), true);
    if (response.ptr != NULL)
        mem_wipe(response.ptr, response.len);
    buf_free(&response);
    p->s.wait = "auth";
    return STEP_WAIT;
}

/* --- commands ---------------------------------------------------------------------------------------------------- */

static bool may_stls(const struct pop3_session *p)
{
    return !p->s.is_tls && p->s.listener->tls == LISTENER_TLS_STARTTLS;
}

static enum step do_capa(struct pop3_session *p, const struct pop3_line *line UNUSED)
{
    struct auth_peer peer = peer_of(p);
    struct buf mechanisms = BUF_INIT;

    auth_mechanisms(pop3_service(p)->auth, auth_conf_of(p), &peer, &mechanisms);
    stream_put(p->s.stream, SLICE("+OK Capabilities\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n"
                                  "EXPIRE NEVER\r\nIMPLEMENTATION Posthouse\r\n"));
    if (mechanisms.len != 0)
        stream_printf(p->s.stream, "SASL %.*s\r\n", SLICE_ARG(buf_slice(&mechanisms)));
    if (slice_find(buf_slice(&mechanisms), SLICE("PLAIN")) >= 0)
        stream_put(p->s.stream, SLICE("USER\r\n"));
    if (may_stls(p))
        stream_put(p->s.stream, SLICE("STLS\r\n"));
    stream_put(p->s.stream, SLICE(".\r\n"));
    buf_free(&mechanisms);
    return STEP_AGAIN;
}

static enum step do_stls(struct pop3_session *p, const struct pop3_line *line UNUSED)
{
    bool had_input;

    if (!may_stls(p)) {
        pop3_error(p, POP3_R_NO_STLS);
        return STEP_AGAIN;
    }
    p->user = SLICE_NONE;
    pop3_reply(p, POP3_R_STLS);
    stream_start_tls(p->s.stream, &had_input);
    p->s.wait = "tls";
    return STEP_WAIT;
}

static enum step do_quit(struct pop3_session *p, const struct pop3_line *line UNUSED)
{
    pop3_reply(p, POP3_R_BYE);
    pop3_enter(p, POP3_DONE);
    return STEP_CLOSE;
}

struct command {
    const char *verb;
    enum pop3_state state;
    unsigned min_words, max_words;
    bool takes_line; /* the rest of the line is one argument */
    pop3_command_fn *run;
};
static const struct command commands[] = {
    { "USER", POP3_AUTHORIZATION, 1, 4, true, do_user }, /* RFC 1939 7 */
    { "PASS", POP3_AUTHORIZATION, 0, 4, true, do_pass }, /* RFC 1939 7 */
    { "AUTH", POP3_AUTHORIZATION, 0, 2, false, do_auth }, /* RFC 5034 4 */
    { "STLS", POP3_AUTHORIZATION, 0, 0, false, do_stls }, /* RFC 2595 4 */
    { "CAPA", POP3_AUTHORIZATION, 0, 0, false, do_capa }, /* RFC 2449 5 */
    { "QUIT", POP3_AUTHORIZATION, 0, 0, false, do_quit }, /* RFC 1939 4 */
    { "CAPA", POP3_TRANSACTION, 0, 0, false, do_capa },
    { "STAT", POP3_TRANSACTION, 0, 0, false, pop3_stat }, /* RFC 1939 5 */
    { "LIST", POP3_TRANSACTION, 0, 1, false, pop3_list }, /* RFC 1939 5 */
    { "UIDL", POP3_TRANSACTION, 0, 1, false, pop3_uidl }, /* RFC 1939 7 */
    { "RETR", POP3_TRANSACTION, 1, 1, false, pop3_retr }, /* RFC 1939 5 */
    { "TOP", POP3_TRANSACTION, 2, 2, false, pop3_top }, /* RFC 1939 7 */
    { "DELE", POP3_TRANSACTION, 1, 1, false, pop3_dele }, /* RFC 1939 5 */
    { "RSET", POP3_TRANSACTION, 0, 0, false, pop3_rset }, /* RFC 1939 5 */
    { "NOOP", POP3_TRANSACTION, 0, 0, false, pop3_noop }, /* RFC 1939 5 */
    { "QUIT", POP3_TRANSACTION, 0, 0, false, pop3_quit }, /* RFC 1939 6 */
};

static enum step line_run(struct pop3_session *p, slice text)
{
    struct pop3_line line;
    bool is_known = false;

    if (pop3_line_parse(text, &line)) {
        for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
            const struct command *c = &commands[i];

            if (!slice_eq_nocase(line.verb, slice_str(c->verb)))
                continue;
            is_known = true;
            if (c->state != p->state)
                continue;
            if (!c->takes_line && (line.word_count < c->min_words || line.word_count > c->max_words)) {
                pop3_error(p, POP3_R_SYNTAX);
                return STEP_AGAIN;
            }
            return c->run(p, &line);
        }
    }
    pop3_error(p, is_known ? POP3_R_ORDER : POP3_R_UNKNOWN);
    return STEP_AGAIN;
}

static enum step step_command(struct pop3_session *p)
{
    slice line;

    if (p->s.is_draining) {
        pop3_enter(p, POP3_DONE);
        return STEP_CLOSE;
    }
    if (p->errors >= conf_of(p)->errors_max) {
        counter_add(&pop3_counters[PC_TOO_MANY_ERRORS], 1);
        pop3_reply(p, POP3_R_TOO_MANY);
        pop3_enter(p, POP3_DONE);
        return STEP_CLOSE;
    }
    if (stream_out_is_high(p->s.stream))
        return STEP_WANT_WRITE;
    switch (stream_line(p->s.stream, p->state == POP3_AUTHORIZATION ? POP3_AUTH_MAX_OCTETS : POP3_LINE_MAX_OCTETS, true,
                        &line)) {
    case FRAME_MORE:
        return STEP_WANT_READ;
    case FRAME_EOF:
        return STEP_CLOSE;
    case FRAME_TOO_LONG:
        pop3_error(p, POP3_R_LONG);
        return STEP_AGAIN;
    case FRAME_BARE:
        pop3_error(p, POP3_R_BARE);
        return STEP_AGAIN;
    case FRAME_OK:
        break;
    }
    timeout_set(p);
    return line_run(p, line);
}

/* --- the protocol row -------------------------------------------------------------------------------------------- */

static void opened(struct session *s)
{
    struct pop3_session *p = (struct pop3_session *)s;

    counter_add(&pop3_counters[PC_SESSIONS], 1);
    counter_add(&pop3_counters[PC_OPEN], 1);
    p->state = POP3_AUTHORIZATION;
    timeout_set(p);
}

static enum step step(struct session *s)
{
    struct pop3_session *p = (struct pop3_session *)s;

    if (!p->is_greeted) {
        const struct server_conf *server = session_conf(s, CONF_SERVER);

        p->is_greeted = true;
        stream_printf(s->stream, "+OK %.*s POP3 ready\r\n", SLICE_ARG(server->hostname));
    }
    switch (p->state) {
    case POP3_AUTHORIZATION:
    case POP3_TRANSACTION:
        return step_command(p);
    case POP3_EXCHANGE:
        return step_exchange(p);
    case POP3_CHECKING:
        return step_checking(p);
    case POP3_OPENING:
        return pop3_open_mailbox(p);
    case POP3_SENDING:
        return pop3_send(p);
    case POP3_UPDATE:
        return STEP_WAIT;
    default:
        return STEP_CLOSE;
    }
}

static void timed_out(struct session *s)
{
    counter_add(&pop3_counters[PC_TIMEOUTS], 1);
    pop3_reply((struct pop3_session *)s, POP3_R_TIMEOUT); /* no UPDATE: RFC 1939 3 */
}

static void stopping(struct session *s)
{
    struct pop3_session *p = (struct pop3_session *)s;

    if (p->state == POP3_AUTHORIZATION || p->state == POP3_TRANSACTION)
        pop3_reply(p, POP3_R_STOPPING);
}

static void closed(struct session *s)
{
    struct pop3_session *p = (struct pop3_session *)s;

    counter_add(&pop3_counters[PC_OPEN], -1);
    auth_exchange_destroy(&p->exchange);
    store_view_unref(&p->view);
    mem_free(p->marked);
    p->marked = NULL;
}

static const char *describe(struct session *s, struct buf *out)
{
    buf_put_slice(out, s->user);
    return state_names[((struct pop3_session *)s)->state];
}

const struct protocol pop3_protocol = {
    .name = "pop3",
    .session_bytes = sizeof(struct pop3_session),
    .opened = opened,
    .step = step,
    .timed_out = timed_out,
    .stopping = stopping,
    .busy_text = "-ERR [SYS/TEMP] Too many connections, try again later\r\n",
    .closed = closed,
    .describe = describe,
};
