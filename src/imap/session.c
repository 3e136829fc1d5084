/* session.c - the driver of an IMAP session: states, framing of commands, timeouts, farewells. */
#include "imap/internal.h"

#include "base/diag.h"
#include "base/mem.h"

/* Which states a state may lead to; the diagram in internal.h. */
#define TO(state) (1u << (state))
static const struct {
    const char *name;
    unsigned to;
} states[IMAP_STATE_COUNT] = {
    [IMAP_GREETING] = { "greeting", TO(IMAP_COMMAND) },
    [IMAP_COMMAND] = { "command", TO(IMAP_LITERAL) | TO(IMAP_RUNNING) | TO(IMAP_APPENDING) },
    [IMAP_LITERAL] = { "literal", TO(IMAP_COMMAND) },
    [IMAP_RUNNING] = { "running", TO(IMAP_COMMAND) | TO(IMAP_AUTH) | TO(IMAP_IDLING) | TO(IMAP_TLS) },
    [IMAP_AUTH] = { "auth", TO(IMAP_RUNNING) | TO(IMAP_COMMAND) },
    [IMAP_IDLING] = { "idle", TO(IMAP_COMMAND) },
    [IMAP_APPENDING] = { "append", TO(IMAP_RUNNING) | TO(IMAP_COMMAND) },
    [IMAP_TLS] = { "tls", TO(IMAP_COMMAND) },
    [IMAP_BYE] = { "bye", 0 },
};

void imap_enter(struct imap_session *s, enum imap_state state)
{
    if (s->state == state)
        return;
    if (state != IMAP_BYE && (states[s->state].to & TO(state)) == 0)
        panic("imap: %s to %s is not in the diagram", states[s->state].name, states[state].name);
    diag_debug("imap", "session %llu: %s, then %s", (unsigned long long)s->base.id, states[s->state].name,
               states[state].name);
    s->state = state;
}

void imap_touch(struct imap_session *s)
{
    const struct imap_conf *conf = imap_conf_of(s);

    session_timeout(&s->base, 1000u * (s->level == LEVEL_GREETED ? conf->login_timeout_s : conf->idle_timeout_s));
}

/* --- the end of a command ----------------------------------------------------------------------------------------- */

static void release_run(struct imap_session *s)
{
    if (s->run != NULL && s->run->release != NULL)
        s->run->release(s);
    s->run = NULL;
    imap_answer_drop(s);
    auth_exchange_destroy(&s->exchange);
    if (s->exchange_had_secret && s->line.ptr != NULL) /* a password stood in the command */
        mem_wipe(s->line.ptr, s->line.cap);
    s->exchange_had_secret = false;
    buf_free(&s->line);
    s->literal_left = 0;
    s->is_skipping = false;
    arena_release(&s->base.cmd_mem);
}

static enum step farewell(struct imap_session *s, enum imap_reply r)
{
    imap_untagged(s, r);
    imap_enter(s, IMAP_BYE);
    return STEP_CLOSE;
}

/* A command is over, its tagged answer is put. */
static enum step finish(struct imap_session *s)
{
    const struct auth_conf *auth = session_conf(&s->base, CONF_AUTH);

    release_run(s);
    if (s->box != NULL)
        store_view_unref(&s->box->warm);
    if (s->wants_bye) {
        imap_enter(s, IMAP_BYE);
        return STEP_CLOSE;
    }
    if (s->box != NULL && s->box->is_gone)
        return farewell(s, IMAP_R_BYE_MAILBOX);
    if (s->errors >= imap_conf_of(s)->errors_max) {
        imap_count(IC_TOO_MANY_ERRORS);
        return farewell(s, IMAP_R_BYE_ERRORS);
    }
    if (s->login_failures >= auth->failures_max)
        return farewell(s, IMAP_R_BYE_FAILURES);
    if (s->state != IMAP_TLS)
        imap_enter(s, IMAP_COMMAND);
    if (s->level != LEVEL_GREETED) /* before login, the time runs from the first octet */
        imap_touch(s);
    return s->state == IMAP_TLS ? STEP_WAIT : stream_out_is_high(imap_stream(s)) ? STEP_WANT_WRITE : STEP_AGAIN;
}

enum step imap_after(struct imap_session *s, enum imap_next next)
{
    switch (next) {
    case NEXT_DONE:
        return finish(s);
    case NEXT_AGAIN:
        return stream_out_is_high(imap_stream(s)) ? STEP_WANT_WRITE : STEP_AGAIN;
    case NEXT_WAIT:
        s->base.wait = s->run->wait;
        s->run->is_waiting = true;
        return STEP_WAIT;
    case NEXT_READ:
        break;
    }
    return STEP_AGAIN;
}

/* --- framing: lines and literals into s->line --------------------------------------------------------------------- */

static enum step malformed(struct imap_session *s, enum imap_reply r)
{
    imap_untagged(s, r);
    imap_count(IC_BAD);
    s->errors++;
    return finish(s);
}

/* The tag of a command that is not run. */
static void refuse_too_big(struct imap_session *s)
{
    struct imap_in in;
    slice tag = SLICE_NONE;

    imap_count(IC_TOO_BIG);
    imap_in_init(&in, buf_slice(&s->line), &s->base.cmd_mem);
    if (!imap_tag(&in, &tag))
        tag = SLICE("*");
    imap_put_status(s, tag, IMAP_R_TOO_BIG);
}

/* Another literal is announced at the end of s->line. */
static enum step begin_literal(struct imap_session *s, const struct imap_literal *l)
{
    uint32_t most = s->level == LEVEL_GREETED ? IMAP_EARLY_BYTES_MAX : imap_conf_of(s)->command_bytes_max;

    if (s->is_skipping || l->octets > most || s->line.len + l->octets > most) {
        if (l->waits) { /* refused without "+": the client sends no octets, the command is over */
            refuse_too_big(s);
            return finish(s);
        }
        s->is_skipping = true;
    }
    if (l->waits)
        stream_put(imap_stream(s), SLICE("+ go on\r\n"));
    if (!s->is_skipping)
        buf_put_str(&s->line, "\r\n");
    s->literal_left = l->octets;
    imap_enter(s, IMAP_LITERAL);
    return STEP_AGAIN;
}

static enum step run_line(struct imap_session *s)
{
    if (s->is_skipping) {
        refuse_too_big(s);
        return finish(s);
    }
    imap_enter(s, IMAP_RUNNING);
    return imap_after(s, imap_command_start(s));
}

static enum step got_line(struct imap_session *s, slice line)
{
    struct imap_literal literal;
    enum imap_next next;

    if (s->is_skipping) {
        if (imap_literal_at_end(line, &literal))
            return begin_literal(s, &literal);
        return run_line(s);
    }
    if (s->line.len + line.len > imap_conf_of(s)->command_bytes_max)
        s->is_skipping = true;
    else
        buf_put_slice(&s->line, line);
    if (!imap_literal_at_end(line, &literal))
        return run_line(s);
    if (!s->is_skipping && imap_append_begins(s, &next))
        return imap_after(s, next);
    return begin_literal(s, &literal);
}

static enum step step_command(struct imap_session *s)
{
    const struct imap_conf *conf = imap_conf_of(s);
    slice line;

    if (s->base.is_draining && s->line.len == 0)
        return farewell(s, IMAP_R_BYE_STOPPING);
    switch (stream_line(imap_stream(s), s->level == LEVEL_GREETED ? IMAP_EARLY_BYTES_MAX : conf->line_bytes_max, false,
                        &line)) {
    case FRAME_OK:
        return got_line(s, line);
    case FRAME_MORE:
        return STEP_WANT_READ;
    case FRAME_TOO_LONG:
        imap_count(IC_TOO_BIG);
        return malformed(s, IMAP_R_LONG_LINE);
    case FRAME_BARE:
        return malformed(s, IMAP_R_BARE);
    case FRAME_EOF:
        break;
    }
    return STEP_CLOSE;
}

static enum step step_literal(struct imap_session *s)
{
    slice part;

    while (s->literal_left > 0) {
        switch (stream_octets(imap_stream(s), s->literal_left < 65536 ? (size_t)s->literal_left : 65536, &part)) {
        case FRAME_OK:
            break;
        case FRAME_MORE:
            return STEP_WANT_READ;
        default:
            return STEP_CLOSE;
        }
        if (!s->is_skipping)
            buf_put_slice(&s->line, part);
        s->literal_left -= part.len;
    }
    imap_enter(s, IMAP_COMMAND);
    return STEP_AGAIN;
}

/* --- the other states --------------------------------------------------------------------------------------------- */

static enum step step_greeting(struct imap_session *s)
{
    const struct server_conf *server = session_conf(&s->base, CONF_SERVER);
    struct buf *out = stream_out(imap_stream(s));

    buf_put_str(out, "* OK [CAPABILITY ");
    imap_capability(s, out);
    buf_printf(out, "] %.*s Posthouse\r\n", SLICE_ARG(server->hostname));
    imap_enter(s, IMAP_COMMAND);
    return STEP_AGAIN;
}

static enum step step_running(struct imap_session *s)
{
    if (s->run->is_helped || (s->run->is_waiting && s->answer == NULL && !s->exchange_is_done && !s->run->is_ready)) {
        s->base.wait = s->run->wait;
        return STEP_WAIT; /* woken by something else */
    }
    s->run->is_waiting = false;
    if (!s->run->is_warm && s->answer != NULL && imap_box_is_heavy(s)) {
        s->run->is_warm = true;
        return imap_after(s, imap_help(s, imap_box_warm, s->run->resume));
    }
    s->run->is_warm = false;
    return imap_after(s, s->run->resume(s));
}

static enum step step_tls(struct imap_session *s)
{
    if (!s->base.is_tls)
        return STEP_WAIT;
    imap_enter(s, IMAP_COMMAND);
    return STEP_AGAIN;
}

static enum step step_bye(struct imap_session *s)
{
    (void)s;
    return STEP_CLOSE;
}

typedef enum step imap_step_fn(struct imap_session *s);

static imap_step_fn *const step_of[IMAP_STATE_COUNT] = {
    [IMAP_GREETING] = step_greeting, [IMAP_COMMAND] = step_command,
    [IMAP_LITERAL] = step_literal,   [IMAP_RUNNING] = step_running,
    [IMAP_AUTH] = imap_step_auth,    [IMAP_IDLING] = imap_step_idling,
    [IMAP_TLS] = step_tls,           [IMAP_APPENDING] = imap_step_appending,
    [IMAP_BYE] = step_bye,
};

/* --- the row for the room net ------------------------------------------------------------------------------------- */

static void opened(struct session *base)
{
    struct imap_session *s = CONTAINER_OF(base, struct imap_session, base);

    s->state = IMAP_GREETING;
    s->level = LEVEL_GREETED;
    buf_init(&s->line);
    imap_count(IC_SESSIONS);
    imap_count(IC_OPEN);
    imap_touch(s);
}

static enum step step(struct session *base)
{
    struct imap_session *s = CONTAINER_OF(base, struct imap_session, base);

    return step_of[s->state](s);
}

static void timed_out(struct session *base)
{
    struct imap_session *s = CONTAINER_OF(base, struct imap_session, base);

    imap_count(IC_TIMEOUTS);
    farewell(s, s->level == LEVEL_GREETED ? IMAP_R_BYE_LOGIN_TIME : IMAP_R_BYE_IDLE);
}

static void stopping(struct session *base)
{
    struct imap_session *s = CONTAINER_OF(base, struct imap_session, base);

    farewell(s, IMAP_R_BYE_STOPPING);
}

static void closed(struct session *base)
{
    struct imap_session *s = CONTAINER_OF(base, struct imap_session, base);

    imap_box_close(s);
    release_run(s);
    counter_add(&imap_counters[IC_OPEN], -1);
}

static const char *describe(struct session *base, struct buf *out)
{
    struct imap_session *s = CONTAINER_OF(base, struct imap_session, base);

    if (s->run != NULL)
        buf_put_str(out, s->run->row->name);
    return s->state != IMAP_COMMAND ? states[s->state].name
           : s->level == LEVEL_GREETED ? "login"
           : s->level == LEVEL_LOGGED_IN ? "authenticated"
                                         : "selected";
}

const struct protocol imap_protocol = {
    .name = "imap",
    .session_bytes = sizeof(struct imap_session),
    .opened = opened,
    .step = step,
    .timed_out = timed_out,
    .stopping = stopping,
    .busy_text = "* BYE [UNAVAILABLE] too many connections\r\n",
    .closed = closed,
    .describe = describe,
};
