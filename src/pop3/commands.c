/* commands.c - the commands of a logged-in session, RFC 1939 5 and 7. */
#include "base/mem.h"
#include "pop3/internal.h"

#define SLICE_BYTES 65536u /* read from the store at a time */

/* --- opening ----------------------------------------------------------------------------------------------------- */

static enum step transaction_begin(struct pop3_session *p)
{
    struct err err = ERR_INIT;
    uint64_t bytes = 0;

    if (store_view_open(pop3_service(p)->store, p->mailbox, &p->view, &err) < 0) {
        pop3_reply(p, journal_rebuilding(pop3_service(p)->journal, NULL) ? POP3_R_REBUILDING : POP3_R_MAILBOX_TEMP);
        pop3_enter(p, POP3_DONE);
        return STEP_CLOSE;
    }
    p->marked = mem_alloc(store_view_count(p->view) / 8 + 1);
    for (uint32_t n = 1; n <= store_view_count(p->view); n++)
        bytes += store_view_row(p->view, n)->bytes;
    stream_printf(p->s.stream, "%s, %u messages (%llu octets)\r\n", pop3_reply_text[POP3_R_LOGGED_IN],
                  store_view_count(p->view), (unsigned long long)bytes);
    pop3_enter(p, POP3_TRANSACTION);
    return STEP_AGAIN;
}

static bool inbox_find(struct pop3_session *p)
{
    struct pop3_service *svc = pop3_service(p);
    struct store_mailbox inbox;
    struct journal_view v;
    uint64_t account;
    bool found;

    if (journal_read_begin(svc->journal, &v, NULL) < 0)
        return false;
    found = store_account_find(svc->store, &v, p->owner, &account) &&
            store_mailbox_find(svc->store, &v, account, SLICE("INBOX"), &inbox);
    if (found)
        p->mailbox = inbox.id;
    journal_read_end(&v);
    return found;
}

static void on_ensured(struct store_request *r)
{
    struct worker *w = r->arg;
    struct pop3_session *p = (struct pop3_session *)session_find(w, r->arg_id);

    if (p != NULL)
        session_wake(&p->s);
    store_request_destroy(&r);
}

/* A user who never had mail has no account yet: it is made on the way. */
enum step pop3_open_mailbox(struct pop3_session *p)
{
    const struct dir_user *user = p->exchange != NULL ? auth_exchange_user(p->exchange) : NULL;
    struct store_request *r;

    if (inbox_find(p)) {
        auth_exchange_destroy(&p->exchange);
        return transaction_begin(p);
    }
    if (p->has_tried || user == NULL) {
        auth_exchange_destroy(&p->exchange);
        pop3_reply(p, POP3_R_MAILBOX_TEMP);
        pop3_enter(p, POP3_DONE);
        return STEP_CLOSE;
    }
    p->has_tried = true;
    r = store_request_new(STORE_ACCOUNT_ENSURE);
    r->owner = user->id;
    r->owner_name = slice_dup(&r->mem, user->store_id);
    r->quota_bytes = user->quota_bytes;
    r->session = p->s.id;
    r->lane = LANE_ACCESS;
    r->reactor = p->s.worker->reactor;
    r->done = on_ensured;
    r->arg = p->s.worker;
    r->arg_id = p->s.id;
    store_request_submit(pop3_service(p)->store, r);
    p->s.wait = "mailbox";
    return STEP_WAIT;
}

/* --- looking ----------------------------------------------------------------------------------------------------- */

/* The message named by the first word; 0 with the reply put. */
static uint32_t message_of(struct pop3_session *p, slice word)
{
    uint32_t number;

    if (!pop3_number(word, &number)) {
        pop3_error(p, POP3_R_SYNTAX);
        return 0;
    }
    if (number == 0 || number > store_view_count(p->view)) {
        pop3_reply(p, POP3_R_NO_MESSAGE);
        return 0;
    }
    if (pop3_is_marked(p, number)) {
        pop3_reply(p, POP3_R_DELETED);
        return 0;
    }
    return number;
}

enum step pop3_stat(struct pop3_session *p, const struct pop3_line *line UNUSED)
{
    uint64_t bytes = 0;

    for (uint32_t n = 1; n <= store_view_count(p->view); n++)
        if (!pop3_is_marked(p, n))
            bytes += store_view_row(p->view, n)->bytes;
    stream_printf(p->s.stream, "+OK %u %llu\r\n", store_view_count(p->view) - p->marked_count,
                  (unsigned long long)bytes);
    return STEP_AGAIN;
}

static void size_put(struct pop3_session *p, const char *before, uint32_t n)
{
    stream_printf(p->s.stream, "%s%u %llu\r\n", before, n, (unsigned long long)store_view_row(p->view, n)->bytes);
}

/* Unique for ever: a uid is never given twice under one uidvalidity. */
static void uid_put(struct pop3_session *p, const char *before, uint32_t n)
{
    stream_printf(p->s.stream, "%s%u %u.%u\r\n", before, n, store_view_uidvalidity(p->view),
                  store_view_uid(p->view, n));
}

static enum step listing(struct pop3_session *p, const struct pop3_line *line,
                         void (*put)(struct pop3_session *, const char *, uint32_t))
{
    if (line->word_count == 1) {
        uint32_t n = message_of(p, line->words[0]);

        if (n != 0)
            put(p, "+OK ", n);
        return STEP_AGAIN;
    }
    stream_printf(p->s.stream, "+OK %u messages\r\n", store_view_count(p->view) - p->marked_count);
    for (uint32_t n = 1; n <= store_view_count(p->view); n++)
        if (!pop3_is_marked(p, n))
            put(p, "", n);
    stream_put(p->s.stream, SLICE(".\r\n"));
    return STEP_AGAIN;
}

enum step pop3_list(struct pop3_session *p, const struct pop3_line *line)
{
    return listing(p, line, size_put);
}

enum step pop3_uidl(struct pop3_session *p, const struct pop3_line *line)
{
    return listing(p, line, uid_put);
}

/* --- sending ----------------------------------------------------------------------------------------------------- */

static enum step send_begin(struct pop3_session *p, uint32_t number, uint32_t lines)
{
    p->number = number;
    p->at = 0;
    p->lines_left = lines;
    p->in_body = lines == UINT32_MAX;
    p->is_line_start = true;
    pop3_enter(p, POP3_SENDING);
    return STEP_AGAIN;
}

enum step pop3_retr(struct pop3_session *p, const struct pop3_line *line)
{
    uint32_t n = message_of(p, line->words[0]);

    return n == 0 ? STEP_AGAIN : send_begin(p, n, UINT32_MAX);
}

enum step pop3_top(struct pop3_session *p, const struct pop3_line *line)
{
    uint32_t n, lines;

    if (!pop3_number(line->words[1], &lines)) {
        pop3_error(p, POP3_R_SYNTAX);
        return STEP_AGAIN;
    }
    n = message_of(p, line->words[0]);
    return n == 0 ? STEP_AGAIN : send_begin(p, n, lines == UINT32_MAX ? lines - 1 : lines);
}

/* One line or piece of a line, with a dot in front of a dot: RFC 1939 3. False when TOP has enough. */
static bool piece_put(struct pop3_session *p, slice piece, bool is_end)
{
    if (p->in_body && p->is_line_start && p->lines_left == 0)
        return false;
    if (!p->in_body && p->is_line_start && (slice_eq(piece, SLICE("\r\n")) || slice_eq(piece, SLICE("\n"))))
        p->in_body = true;
    else if (p->in_body && is_end && p->lines_left != UINT32_MAX)
        p->lines_left--;
    if (p->is_line_start && piece.ptr[0] == '.')
        stream_put(p->s.stream, SLICE("."));
    stream_put(p->s.stream, piece);
    p->is_line_start = is_end;
    return true;
}

static bool octets_put(struct pop3_session *p, slice in)
{
    while (in.len != 0) {
        ssize_t lf = slice_find_byte(in, '\n');
        slice piece = lf < 0 ? in : slice_sub(in, 0, (size_t)lf + 1);

        if (!piece_put(p, piece, lf >= 0))
            return false;
        in = slice_from(in, piece.len);
    }
    return true;
}

static enum step send_end(struct pop3_session *p)
{
    if (!p->is_line_start)
        stream_put(p->s.stream, SLICE("\r\n"));
    stream_put(p->s.stream, SLICE(".\r\n"));
    if (p->lines_left == UINT32_MAX)
        counter_add(&pop3_counters[PC_RETRIEVED], 1);
    pop3_enter(p, POP3_TRANSACTION);
    return STEP_AGAIN;
}

enum step pop3_send(struct pop3_session *p)
{
    const struct store_row *row = store_view_row(p->view, p->number);
    struct buf octets = BUF_INIT;
    struct err err = ERR_INIT;
    bool more;

    if (stream_out_is_high(p->s.stream))
        return STEP_WANT_WRITE;
    if (store_message_read(pop3_service(p)->store, &row->body, p->at, SLICE_BYTES, &octets, &err) < 0) {
        buf_free(&octets);
        if (p->at == 0) {
            pop3_reply(p, POP3_R_READ_FAILED);
            pop3_enter(p, POP3_TRANSACTION);
            return STEP_AGAIN;
        }
        pop3_enter(p, POP3_DONE); /* what was announced cannot be taken back */
        return STEP_CLOSE;
    }
    if (p->at == 0)
        stream_printf(p->s.stream, "+OK %llu octets\r\n", (unsigned long long)row->bytes);
    p->at += octets.len;
    more = octets_put(p, buf_slice(&octets)) && p->at < row->bytes && octets.len != 0;
    buf_free(&octets);
    return more ? STEP_AGAIN : send_end(p);
}

/* --- changing ---------------------------------------------------------------------------------------------------- */

enum step pop3_dele(struct pop3_session *p, const struct pop3_line *line)
{
    uint32_t n = message_of(p, line->words[0]);

    if (n == 0)
        return STEP_AGAIN;
    p->marked[n / 8] |= (unsigned char)(1u << (n % 8));
    p->marked_count++;
    pop3_reply(p, POP3_R_OK);
    return STEP_AGAIN;
}

enum step pop3_rset(struct pop3_session *p, const struct pop3_line *line UNUSED)
{
    memset(p->marked, 0, store_view_count(p->view) / 8 + 1);
    p->marked_count = 0;
    pop3_reply(p, POP3_R_OK);
    return STEP_AGAIN;
}

enum step pop3_noop(struct pop3_session *p, const struct pop3_line *line UNUSED)
{
    pop3_reply(p, POP3_R_OK);
    return STEP_AGAIN;
}

static void on_expunged(struct store_request *r)
{
    struct worker *w = r->arg;
    struct pop3_session *p = (struct pop3_session *)session_find(w, r->arg_id);

    if (r->result == STORE_OK)
        counter_add(&pop3_counters[PC_DELETED], r->uid_count);
    if (p != NULL) {
        pop3_reply(p, r->result == STORE_OK ? POP3_R_BYE : POP3_R_UPDATE_FAILED);
        pop3_enter(p, POP3_DONE);
        session_wake(&p->s);
    }
    store_request_destroy(&r);
}

enum step pop3_quit(struct pop3_session *p, const struct pop3_line *line UNUSED)
{
    struct store_request *r;
    struct uid_range *uids;

    if (p->marked_count == 0) {
        pop3_reply(p, POP3_R_BYE);
        pop3_enter(p, POP3_DONE);
        return STEP_CLOSE;
    }
    r = store_request_new(STORE_EXPUNGE);
    uids = arena_alloc_array(&r->mem, p->marked_count, sizeof *uids);
    for (uint32_t n = 1; n <= store_view_count(p->view); n++) {
        uint32_t uid = store_view_uid(p->view, n);

        if (pop3_is_marked(p, n))
            uids[r->uid_count++] = (struct uid_range){ uid, uid };
    }
    r->uids = uids;
    r->mailbox = p->mailbox;
    r->session = p->s.id;
    r->lane = LANE_ACCESS;
    r->reactor = p->s.worker->reactor;
    r->done = on_expunged;
    r->arg = p->s.worker;
    r->arg_id = p->s.id;
    pop3_enter(p, POP3_UPDATE);
    store_request_submit(pop3_service(p)->store, r);
    p->s.wait = "store";
    return STEP_WAIT;
}
