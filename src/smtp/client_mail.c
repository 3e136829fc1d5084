/* client_mail.c - one transaction: MAIL, RCPT, DATA or BDAT, the message's octets, and the replies behind the dot. */
#include "base/mem.h"
#include "smtp/client_internal.h"

#define WINDOW 200 /* commands sent and not yet answered: what a peer has to keep for us (RFC 2920 3.1) */

static struct smtp_client_mail *mail_of(const struct smtp_conn *conn)
{
    return conn->client->mail;
}

static bool uses_chunks(const struct smtp_conn *conn)
{
    return conn->caps.chunking && (conn->conf.chunking || mail_of(conn)->body == BODY_BINARYMIME);
}

/* --- before MAIL -------------------------------------------------------------------------------------------------- */

static void describe_mail(const struct smtp_conn *conn, struct smtp_client_mail *m)
{
    struct buf text = BUF_INIT;

    smtp_client_where(smtp_client_hop(conn->client), &text);
    m->where = slice_dup(m->mem, buf_slice(&text));
    m->transport = slice_dup(m->mem, conn->transport);
    m->application = slice_dup(m->mem, conn->application);
    buf_reset(&text);
    buf_put_str(&text, conn->is_lmtp ? "L" : conn->caps.is_esmtp ? "E" : "");
    buf_put_str(&text, uses_chunks(conn) ? "C" : "");
    buf_put_str(&text, conn->caps.pipelining ? "Q" : "");
    buf_put_str(&text, conn->base.is_tls ? "S" : "");
    buf_put_str(&text, conn->is_authenticated ? "A" : "");
    m->modifiers = slice_dup(m->mem, buf_slice(&text));
    m->peer_has_dsn = conn->caps.dsn;
    buf_free(&text);
}

/* What the peer need not be asked about. */
static void check_mail(const struct smtp_conn *conn, struct smtp_client_mail *m)
{
    const struct smtp_caps *caps = &conn->caps;

    if (!smtp_is_sendable(m->sender))
        smtp_mail_fate(m, SMTP_FATE_REFUSED, "5.1.7", "the sender's address holds control characters");
    for (unsigned i = 0; i < m->rcpt_count; i++)
        if (m->rcpts[i].fate == SMTP_FATE_NONE && !smtp_is_sendable(m->rcpts[i].address))
            smtp_rcpt_fate(m, &m->rcpts[i], SMTP_FATE_REFUSED, "5.1.3", SLICE("control characters in the address"));
    if (m->is_smtputf8 && !caps->smtputf8) /* RFC 6531 3.2 */
        smtp_mail_fate(m, SMTP_FATE_REFUSED, "5.6.7",
                       "the next host does not take internationalized mail (SMTPUTF8)");
    if (caps->size_max > 0 && m->source.bytes > caps->size_max) /* RFC 1870 6.1 */
        smtp_mail_fate(m, SMTP_FATE_REFUSED, "5.3.4", "the message is larger than the next host takes (SIZE)");
    if (m->body == BODY_BINARYMIME && !(caps->binarymime && caps->chunking)) /* RFC 3030 3 */
        smtp_mail_fate(m, SMTP_FATE_REFUSED, "5.6.3", "the next host does not take binary mail (BINARYMIME)");
}

static enum step transaction_begin(struct smtp_conn *conn)
{
    struct smtp_client_mail *m = mail_of(conn);

    arena_reset(&conn->base.cmd_mem);
    conn->rcpts = arena_alloc_array(&conn->base.cmd_mem, m->rcpt_count, sizeof(struct smtp_client_rcpt *));
    conn->rcpt_count = conn->accepted = conn->next_out = conn->next_in = conn->replies_at = conn->chunks_left = 0;
    conn->is_data_sent = conn->is_mail_refused = conn->is_empty = false;
    for (unsigned i = 0; i < m->rcpt_count; i++)
        if (m->rcpts[i].fate == SMTP_FATE_NONE) {
            m->rcpts[i].is_accepted = false;
            conn->rcpts[conn->rcpt_count++] = &m->rcpts[i];
        }
    conn->had_mail = conn->client->was_tried = true;
    counter_add(&smtp_client_counters[CC_TRANSACTIONS], 1);
    if (conn->mails++ > 0)
        counter_add(&smtp_client_counters[CC_REUSED], 1);
    smtp_conn_enter(conn, CONN_ENVELOPE, conn->conf.mail_s);
    return STEP_AGAIN;
}

enum step smtp_conn_begin(struct smtp_conn *conn)
{
    struct smtp_client_mail *m = mail_of(conn);

    describe_mail(conn, m);
    check_mail(conn, m);
    if (smtp_mail_is_decided(m)) {
        smtp_client_finish(conn->client, SMTP_END_DONE);
        return STEP_AGAIN;
    }
    conn->source = m->source;
    conn->body_at = 0;
    conn->is_piece_read = conn->is_piece_bad = false;
    if (m->body == BODY_8BITMIME && !conn->caps.eightbitmime) {
        smtp_conn_enter(conn, CONN_SCAN, conn->conf.block_s);
        return STEP_AGAIN;
    }
    return transaction_begin(conn);
}

/* --- the envelope ------------------------------------------------------------------------------------------------- */

static unsigned command_count(const struct smtp_conn *conn)
{
    return 1 + conn->rcpt_count + (uses_chunks(conn) ? 0 : 1);
}

static bool is_data(const struct smtp_conn *conn, unsigned at)
{
    return at == 1 + conn->rcpt_count;
}

const char *smtp_envelope_word(const struct smtp_conn *conn)
{
    return conn->next_in == 0 ? "MAIL" : is_data(conn, conn->next_in) ? "DATA" : "RCPT";
}

static void expect(struct smtp_conn *conn)
{
    const struct smtp_client_conf *conf = &conn->conf;

    session_timeout(&conn->base, 1000 * (conn->next_in == 0                 ? conf->mail_s
                                         : is_data(conn, conn->next_in) ? conf->data_s
                                                                        : conf->rcpt_s));
}

static void command_write(struct smtp_conn *conn, unsigned at)
{
    const struct smtp_client_mail *m = mail_of(conn);
    struct buf *out = stream_out(conn->base.stream);

    if (at == 0) {
        smtp_mail_write(&(struct smtp_mail_args){ .sender = m->sender,
                                                  .bytes = m->source.bytes,
                                                  .body = m->body,
                                                  .ret = m->ret,
                                                  .is_smtputf8 = m->is_smtputf8,
                                                  .envid = m->envid,
                                                  .auth = conn->is_authenticated ? m->auth : SLICE_NONE },
                        &conn->caps, out);
    } else if (is_data(conn, at)) {
        buf_put_str(out, "DATA\r\n");
        conn->is_data_sent = true;
    } else {
        const struct smtp_client_rcpt *r = conn->rcpts[at - 1];

        smtp_rcpt_write(r->address, r->notify, r->orcpt, &conn->caps, out);
    }
}

/* With PIPELINING all in one flight, DATA included (RFC 2920 3.1); otherwise one by one. */
static void envelope_send(struct smtp_conn *conn)
{
    const unsigned count = command_count(conn), window = conn->caps.pipelining ? WINDOW : 1;

    while (conn->next_out < count && conn->next_out - conn->next_in < window && !conn->is_mail_refused) {
        if (is_data(conn, conn->next_out) && conn->next_in == conn->next_out && conn->accepted == 0)
            return;
        command_write(conn, conn->next_out++);
    }
}

static enum step body_begin(struct smtp_conn *conn)
{
    conn->body_at = 0;
    conn->is_piece_read = conn->is_piece_bad = false;
    conn->dot = (struct smtp_dot){ .is_chunk = uses_chunks(conn) };
    smtp_conn_enter(conn, CONN_BODY, conn->conf.block_s);
    return STEP_AGAIN;
}

static enum step rset(struct smtp_conn *conn)
{
    stream_put(conn->base.stream, SLICE("RSET\r\n"));
    smtp_conn_enter(conn, CONN_RSET, conn->conf.mail_s);
    return STEP_AGAIN;
}

static enum step fault_close(struct smtp_conn *conn, const char *what)
{
    smtp_conn_fault_reply(conn, what);
    return STEP_CLOSE;
}

/* The reply that just came, as the fate of a recipient, or (r NULL) of all that have none. */
static void fate_by_reply(struct smtp_conn *conn, struct smtp_client_rcpt *r)
{
    const unsigned klass = conn->reply.code / 100;
    const enum smtp_fate fate = klass == 2 ? SMTP_FATE_TAKEN : klass == 4 ? SMTP_FATE_LATER : SMTP_FATE_REFUSED;
    struct buf diag = BUF_INIT;

    smtp_reply_diag(&conn->reply, &diag);
    if (r != NULL)
        smtp_rcpt_fate(mail_of(conn), r, fate, smtp_reply_status(&conn->reply), buf_slice(&diag));
    else
        smtp_mail_fate(mail_of(conn), fate, smtp_reply_status(&conn->reply), buf_str(&diag));
    buf_free(&diag);
}

/* RFC 5321 4.5.3.1.10: so many at a time and no more; 552 is what older ones say. */
static bool is_too_many(const struct smtp_conn *conn)
{
    const char *status = conn->reply.status;

    return conn->accepted > 0 && (conn->reply.code == 452 || conn->reply.code == 552) &&
           (status[0] == '\0' || strcmp(status + 1, ".5.3") == 0);
}

static void rcpt_reply(struct smtp_conn *conn, struct smtp_client_rcpt *r)
{
    if (conn->is_mail_refused)
        return;
    if (conn->reply.code / 100 == 2) {
        r->is_accepted = true;
        conn->accepted++;
    } else if (!is_too_many(conn)) {
        fate_by_reply(conn, r);
    }
}

static enum step data_reply(struct smtp_conn *conn)
{
    if (conn->reply.code / 100 >= 4) {
        if (conn->accepted > 0)
            fate_by_reply(conn, NULL);
        smtp_client_finish(conn->client, SMTP_END_DONE);
        return rset(conn);
    }
    if (conn->reply.code != 354 || conn->is_mail_refused) /* a message without a sender: rather none at all */
        return fault_close(conn, "DATA");
    if (conn->accepted > 0)
        return body_begin(conn);
    /* Everybody was refused, but DATA had been sent: RFC 2920 3.1 has us send nothing but the dot. */
    conn->is_empty = true;
    stream_put(conn->base.stream, SLICE(".\r\n"));
    smtp_conn_enter(conn, CONN_FINAL, conn->conf.final_s);
    return STEP_AGAIN;
}

static enum step envelope_reply(struct smtp_conn *conn)
{
    const unsigned at = conn->next_in++, klass = conn->reply.code / 100;

    expect(conn);
    if (conn->reply.code == 421) /* it leaves; for those without a fate the next address is asked */
        return fault_close(conn, "envelope");
    if (is_data(conn, at))
        return data_reply(conn);
    if (klass == 3)
        return fault_close(conn, "envelope");
    if (at > 0) {
        rcpt_reply(conn, conn->rcpts[at - 1]);
    } else if (klass != 2) {
        conn->is_mail_refused = true;
        fate_by_reply(conn, NULL);
    }
    return STEP_AGAIN;
}

enum step smtp_step_envelope(struct smtp_conn *conn)
{
    for (;;) {
        envelope_send(conn);
        if (conn->next_in == conn->next_out) { /* nothing is awaited, and nothing more is to be said */
            if (uses_chunks(conn) && conn->accepted > 0 && !conn->is_mail_refused)
                return body_begin(conn);
            smtp_client_finish(conn->client, SMTP_END_DONE);
            return rset(conn);
        }
        switch (smtp_conn_reply(conn)) {
        case GOT_MORE:
            return STEP_WANT_READ;
        case GOT_BAD:
            return STEP_CLOSE;
        case GOT_REPLY:
            break;
        }
        const enum step step = envelope_reply(conn);
        if (step != STEP_AGAIN || conn->state != CONN_ENVELOPE)
            return step;
    }
}

/* --- reading the message ------------------------------------------------------------------------------------------ */

static size_t piece_wanted(const struct smtp_conn *conn)
{
    const uint64_t left = conn->source.bytes - conn->body_at;

    return left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
}

static void piece_read(struct smtp_conn *conn)
{
    struct err err = ERR_INIT;

    conn->is_piece_bad = conn->source.wait(conn->source.arg, conn->body_at, conn->piece, conn->piece_bytes, &err) < 0;
    conn->is_piece_read = !conn->is_piece_bad;
}

static void piece_run(struct job *job) /* on a helper */
{
    piece_read(CONTAINER_OF(job, struct smtp_conn, job));
}

static void piece_done(struct job *job)
{
    struct smtp_conn *conn = CONTAINER_OF(job, struct smtp_conn, job);

    if (!session_release(&conn->base))
        return;
    conn->is_reading = false;
    session_wake(&conn->base);
}

enum piece { PIECE_HERE, PIECE_AWAITED, PIECE_BAD };

static enum piece piece_get(struct smtp_conn *conn)
{
    if (conn->is_reading)
        return PIECE_AWAITED;
    if (conn->is_piece_read || conn->is_piece_bad)
        return conn->is_piece_bad ? PIECE_BAD : PIECE_HERE;
    if (conn->piece == NULL)
        conn->piece = mem_alloc(PIECE_BYTES);
    conn->piece_bytes = piece_wanted(conn);
    conn->is_piece_read = conn->source.now(conn->source.arg, conn->body_at, conn->piece, conn->piece_bytes);
    if (conn->is_piece_read)
        return PIECE_HERE;
    if (conn->base.worker->helpers == NULL) { /* tests */
        piece_read(conn);
        return conn->is_piece_bad ? PIECE_BAD : PIECE_HERE;
    }
    conn->job = (struct job){ .run = piece_run, .done = piece_done, .reactor = conn->base.worker->reactor };
    session_hold(&conn->base);
    conn->is_reading = pool_submit(conn->base.worker->helpers, &conn->job);
    if (conn->is_reading)
        return PIECE_AWAITED;
    session_release(&conn->base);
    return PIECE_BAD;
}

static void piece_used(struct smtp_conn *conn)
{
    conn->body_at += conn->piece_bytes;
    conn->is_piece_read = false;
    if (conn->body_at == conn->source.bytes) {
        mem_free(conn->piece);
        conn->piece = NULL;
    }
    session_timeout(&conn->base, conn->conf.block_s * 1000);
    smtp_client_progress(conn->client);
}

/* Our own disk fails: the peer gets no final dot, so that it drops what it has. */
static enum step unreadable(struct smtp_conn *conn)
{
    smtp_mail_fate(mail_of(conn), SMTP_FATE_LATER, "4.3.0", "the message cannot be read at the moment");
    return STEP_CLOSE;
}

static enum step await_piece(struct smtp_conn *conn)
{
    conn->base.wait = "disk";
    return STEP_WAIT;
}

static bool has_8bit(const unsigned char *p, size_t len)
{
    unsigned char seen = 0;

    for (size_t i = 0; i < len; i++)
        seen |= p[i];
    return seen >= 0x80;
}

enum step smtp_step_scan(struct smtp_conn *conn)
{
    if (conn->body_at < conn->source.bytes) {
        switch (piece_get(conn)) {
        case PIECE_AWAITED:
            return await_piece(conn);
        case PIECE_BAD:
            return unreadable(conn);
        case PIECE_HERE:
            break;
        }
        if (has_8bit(conn->piece, conn->piece_bytes)) { /* RFC 6152 3 */
            smtp_mail_fate(mail_of(conn), SMTP_FATE_REFUSED, "5.6.3",
                           "the message has 8-bit characters, which the next host does not take (8BITMIME)");
            smtp_client_finish(conn->client, SMTP_END_DONE);
            conn->is_piece_read = false;
            return smtp_conn_ready(conn);
        }
        piece_used(conn);
        return STEP_AGAIN;
    }
    return transaction_begin(conn);
}

/* --- sending it --------------------------------------------------------------------------------------------------- */

static enum step body_sent(struct smtp_conn *conn)
{
    smtp_conn_enter(conn, CONN_FINAL, conn->conf.final_s);
    return STEP_AGAIN;
}

/* RFC 3030 2: length, octets; the last one says so. */
static void chunk_put(struct smtp_conn *conn, slice part, bool is_last)
{
    struct buf text = BUF_INIT;

    if (mail_of(conn)->body == BODY_BINARYMIME)
        buf_put_slice(&text, part);
    else
        smtp_dot_write(&conn->dot, part, &text);
    if (is_last && mail_of(conn)->body != BODY_BINARYMIME)
        smtp_dot_end(&conn->dot, &text);
    stream_printf(conn->base.stream, "BDAT %zu%s\r\n", text.len, is_last ? " LAST" : "");
    stream_put(conn->base.stream, buf_slice(&text));
    conn->chunks_left++;
    buf_free(&text);
}

enum step smtp_step_body(struct smtp_conn *conn)
{
    const bool is_chunk = conn->dot.is_chunk;

    if (conn->body_at < conn->source.bytes) {
        switch (piece_get(conn)) {
        case PIECE_AWAITED:
            return await_piece(conn);
        case PIECE_BAD:
            return unreadable(conn);
        case PIECE_HERE:
            break;
        }
        const bool is_last = conn->body_at + conn->piece_bytes == conn->source.bytes;

        if (is_chunk)
            chunk_put(conn, slice_of(conn->piece, conn->piece_bytes), is_last);
        else
            smtp_dot_write(&conn->dot, slice_of(conn->piece, conn->piece_bytes), stream_out(conn->base.stream));
        piece_used(conn);
        if (is_chunk && !is_last && !conn->caps.pipelining) {
            smtp_conn_enter(conn, CONN_CHUNK, conn->conf.block_s);
            return STEP_AGAIN;
        }
        if (!is_last)
            return STEP_AGAIN;
    } else if (is_chunk) {
        chunk_put(conn, SLICE_NONE, true);
    }
    if (!is_chunk)
        smtp_dot_end(&conn->dot, stream_out(conn->base.stream));
    return body_sent(conn);
}

/* A part was refused, and so is the message. What stands behind it in the pipeline is of no use to anybody. */
static enum step chunk_refused(struct smtp_conn *conn)
{
    if (conn->reply.code / 100 < 4)
        return fault_close(conn, "BDAT");
    fate_by_reply(conn, NULL);
    return STEP_CLOSE;
}

enum step smtp_step_chunks(struct smtp_conn *conn)
{
    switch (smtp_conn_reply(conn)) {
    case GOT_MORE:
        return STEP_WANT_READ;
    case GOT_BAD:
        return STEP_CLOSE;
    case GOT_REPLY:
        break;
    }
    conn->chunks_left--;
    if (conn->reply.code / 100 != 2)
        return chunk_refused(conn);
    smtp_conn_enter(conn, CONN_BODY, conn->conf.block_s);
    return STEP_AGAIN;
}

/* --- behind the dot ----------------------------------------------------------------------------------------------- */

static enum step transaction_over(struct smtp_conn *conn)
{
    if (!smtp_mail_is_decided(mail_of(conn))) /* those that were too many at a time */
        return transaction_begin(conn);
    smtp_client_finish(conn->client, SMTP_END_DONE);
    return smtp_conn_ready(conn);
}

/* LMTP: one reply for each accepted recipient, in order (RFC 2033 4.2). */
static bool lmtp_reply(struct smtp_conn *conn)
{
    while (!conn->rcpts[conn->replies_at]->is_accepted)
        conn->replies_at++;
    fate_by_reply(conn, conn->rcpts[conn->replies_at++]);
    return --conn->accepted == 0;
}

static void final_reply(struct smtp_conn *conn)
{
    for (unsigned i = 0; i < conn->rcpt_count; i++)
        if (conn->rcpts[i]->is_accepted)
            fate_by_reply(conn, conn->rcpts[i]);
}

enum step smtp_step_final(struct smtp_conn *conn)
{
    for (;;) {
        switch (smtp_conn_reply(conn)) {
        case GOT_MORE:
            return STEP_WANT_READ;
        case GOT_BAD:
            return STEP_CLOSE;
        case GOT_REPLY:
            break;
        }
        const unsigned code = conn->reply.code;

        if (conn->is_empty) {
            if (code == 421)
                return STEP_CLOSE;
            return transaction_over(conn);
        }
        if (conn->chunks_left > 1) {
            conn->chunks_left--;
            if (code / 100 != 2)
                return chunk_refused(conn);
        } else if (code / 100 == 3) {
            return fault_close(conn, "final dot");
        } else if (code == 421) { /* an answer: it did not take the message */
            fate_by_reply(conn, NULL);
            return STEP_CLOSE;
        } else if (!conn->is_lmtp) {
            final_reply(conn);
            return transaction_over(conn);
        } else if (lmtp_reply(conn)) {
            return transaction_over(conn);
        }
        session_timeout(&conn->base, conn->conf.final_s * 1000);
    }
}

enum step smtp_step_rset(struct smtp_conn *conn)
{
    switch (smtp_conn_reply(conn)) {
    case GOT_MORE:
        return STEP_WANT_READ;
    case GOT_BAD:
        return STEP_CLOSE;
    case GOT_REPLY:
        break;
    }
    return conn->reply.code / 100 == 2 ? smtp_conn_ready(conn) : STEP_CLOSE;
}
