/* server_data.c - the message: DATA up to the final dot, BDAT chunk by chunk, and the answer after it. */
#include "smtp/session.h"
#include "smtp/syntax.h"

#define PARTS_A_STEP 16 /* then other sessions have their turn */
#define PART_MAX_BYTES 65536u

static const struct smtp_reply_row *ok_row(void)
{
    return &smtp_replies[SMTP_R_OK];
}

static void put_accepted(struct smtp_session *s)
{
    slice id = intake_message_id(s->tx);

    stream_printf(s->base.stream, "%u %s OK id=%.*s\r\n", ok_row()->code, ok_row()->enhanced, SLICE_ARG(id));
}

/* One reply for all (RFC 5321 4.1.1.4), or one for each accepted recipient (RFC 2033 4.2). */
static enum step put_final(struct smtp_session *s)
{
    unsigned count = s->kind == KIND_LMTP ? intake_rcpt_count(s->tx) : 1;
    bool is_any_accepted = false;

    for (unsigned i = 0; i < count; i++) {
        enum intake_reply r = s->kind == KIND_LMTP ? intake_rcpt_verdict(s->tx, i) : intake_verdict(s->tx);

        if (r == INTAKE_R_OK) {
            put_accepted(s);
            is_any_accepted = true;
        } else {
            smtp_put_verdict(s, r);
        }
    }
    counter_add(&smtp_counters[is_any_accepted ? SC_ACCEPTED : SC_MESSAGES_REFUSED], 1);
    if (is_any_accepted) {
        s->messages++;
        s->idle_commands = 0;
    }
    smtp_reset(s);
    smtp_enter(s, SMTP_COMMAND);
    session_timeout(&s->base, smtp_conf(s)->command_timeout_s * 1000);
    return smtp_next(s);
}

enum step smtp_step_committing(struct smtp_session *s)
{
    if (s->is_answered)
        return put_final(s);
    s->base.wait = "commit";
    return STEP_WAIT;
}

static enum step message_complete(struct smtp_session *s)
{
    s->is_answered = false;
    if (intake_body_end(s->tx) == INTAKE_NOW)
        return put_final(s);
    smtp_enter(s, SMTP_COMMITTING);
    return STEP_AGAIN;
}

/* --- DATA --------------------------------------------------------------------------------------------------------- */

enum step smtp_do_data(struct smtp_session *s, slice args)
{
    (void)args;
    if (intake_rcpt_count(s->tx) == 0) {
        smtp_put(s, s->had_rcpt ? SMTP_R_NO_RCPT : SMTP_R_NEED_RCPT);
        return smtp_next(s);
    }
    smtp_put(s, SMTP_R_DATA_GO);
    s->peer.is_chunked = false;
    intake_body_begin(s->tx);
    smtp_enter(s, SMTP_DATA);
    session_timeout(&s->base, smtp_conf(s)->data_timeout_s * 1000);
    return STEP_AGAIN;
}

static void spoil_bare(struct smtp_session *s)
{
    counter_add(&smtp_counters[SC_BARE], 1);
    intake_body_spoil(s->tx, INTAKE_R_BARE_LINE_END);
}

enum step smtp_step_data(struct smtp_session *s)
{
    for (unsigned i = 0; i < PARTS_A_STEP; i++) {
        slice part = SLICE_NONE;
        bool end = false;

        switch (stream_dot(s->base.stream, &part, &end)) {
        case FRAME_OK:
            intake_body_part(s->tx, part);
            break;
        case FRAME_BARE:
            spoil_bare(s);
            break;
        case FRAME_MORE:
            session_timeout(&s->base, smtp_conf(s)->data_timeout_s * 1000);
            return STEP_WANT_READ;
        case FRAME_TOO_LONG: /* lines of a message have no limit here */
        case FRAME_EOF:
            return STEP_CLOSE;
        }
        if (end)
            return message_complete(s);
    }
    return STEP_AGAIN;
}

/* --- BDAT: RFC 3030 ----------------------------------------------------------------------------------------------- */

/* A chunk that cannot be used is read all the same, for its octets are no commands. */
enum step smtp_do_bdat(struct smtp_session *s, slice args)
{
    const struct intake_conf *intake = session_conf(&s->base, CONF_INTAKE);
    struct err err = ERR_INIT;

    if (smtp_bdat_parse(args, &s->chunk_left, &s->is_chunk_last, &err) < 0) {
        /* The chunk's end is not known: what follows cannot be told from commands. */
        smtp_put_text(s, SMTP_R_SYNTAX, err.text);
        smtp_enter(s, SMTP_CLOSING);
        return STEP_AGAIN;
    }
    if (!s->has_chunks && intake_rcpt_count(s->tx) != 0) {
        s->peer.is_chunked = true;
        intake_body_begin(s->tx);
        s->has_chunks = true;
        s->is_after_cr = false;
    }
    if (!s->has_chunks && s->chunk_left > intake->message_bytes_max) { /* nothing is gained by reading that */
        smtp_put_verdict(s, INTAKE_R_TOO_LARGE);
        smtp_enter(s, SMTP_CLOSING);
        return STEP_AGAIN;
    }
    smtp_enter(s, SMTP_CHUNK);
    session_timeout(&s->base, smtp_conf(s)->data_timeout_s * 1000);
    return STEP_AGAIN;
}

/* BINARYMIME is not offered, so a message consists of lines in chunks, too: RFC 3030 3. */
static bool has_bare_line_end(struct smtp_session *s, slice part)
{
    const unsigned char *p = part.ptr, *end = part.ptr + part.len;

    if (s->is_after_cr && p[0] != '\n')
        return true;
    for (const unsigned char *nl; (nl = memchr(p, '\n', (size_t)(end - p))) != NULL; p = nl + 1) {
        bool is_after_cr = nl == part.ptr ? s->is_after_cr : nl[-1] == '\r';

        if (!is_after_cr || (nl - p > 1 && memchr(p, '\r', (size_t)(nl - p - 1)) != NULL))
            return true;
    }
    s->is_after_cr = end[-1] == '\r';
    return end - p > 1 && memchr(p, '\r', (size_t)(end - p - 1)) != NULL;
}

static enum step chunk_complete(struct smtp_session *s)
{
    if (!s->has_chunks) {
        smtp_enter(s, SMTP_COMMAND);
        smtp_put(s, !s->has_mail ? SMTP_R_NEED_MAIL : s->had_rcpt ? SMTP_R_NO_RCPT : SMTP_R_NEED_RCPT);
        return smtp_next(s);
    }
    if (s->is_chunk_last && s->is_after_cr)
        spoil_bare(s);
    if (s->is_chunk_last)
        return message_complete(s);
    smtp_enter(s, SMTP_COMMAND);
    smtp_put(s, SMTP_R_OK);
    return STEP_AGAIN;
}

enum step smtp_step_chunk(struct smtp_session *s)
{
    for (unsigned i = 0; i < PARTS_A_STEP; i++) {
        slice part;

        if (s->chunk_left == 0)
            return chunk_complete(s);
        switch (stream_octets(s->base.stream, s->chunk_left < PART_MAX_BYTES ? (size_t)s->chunk_left : PART_MAX_BYTES,
                              &part)) {
        case FRAME_OK:
            s->chunk_left -= part.len;
            if (s->has_chunks && has_bare_line_end(s, part))
                spoil_bare(s);
            if (s->has_chunks)
                intake_body_part(s->tx, part);
            break;
        case FRAME_MORE:
            session_timeout(&s->base, smtp_conf(s)->data_timeout_s * 1000);
            return STEP_WANT_READ;
        default:
            return STEP_CLOSE;
        }
    }
    return STEP_AGAIN;
}
