/* cmd_append.c - APPEND, RFC 3501 6.3.11, RFC 4315: the message's octets go straight into a body writer.
 *
 * The run begins when the literal is announced (imap_append_begins), so that a missing mailbox or a message over the
 * limit is refused before a client that waits sends it. What a client sends without waiting is read and dropped. */
#include "imap/internal.h"

#include "base/mem.h"

#define PART_BYTES 65536u

struct appending {
    struct imap_append args;
    struct job job; /* finishing a spooled body syncs it: on a helper */
    struct worker *worker;
    uint64_t session; /* 0: the session is gone, the job frees */
    struct body_writer *writer;
    uint64_t mailbox;
    uint64_t left;
    enum imap_reply refusal; /* IMAP_R_DONE: none */
    bool is_with_helper;
    struct err err;
};

static struct appending *appending_of(struct imap_session *s)
{
    return s->run->data;
}

static void appending_free(struct appending *a)
{
    body_writer_destroy(&a->writer);
    mem_free(a);
}

static void appending_release(struct imap_session *s)
{
    struct appending *a = appending_of(s);

    s->base.is_busy = false;
    if (a->is_with_helper)
        a->session = 0;
    else
        appending_free(a);
}

static enum imap_reply reply_of(const struct err *err)
{
    return err->kind == ERR_FULL ? IMAP_R_FULL : err->kind == ERR_LIMIT ? IMAP_R_TOO_BIG : IMAP_R_TEMP;
}

/* --- the message is whole ----------------------------------------------------------------------------------------- */

static enum imap_next appended(struct imap_session *s)
{
    const struct store_request *r = s->answer;

    if (r->result != STORE_OK)
        return imap_answer(s, imap_reply_of(r->result, true));
    imap_count(IC_APPENDED);
    if (r->to_count == 0)
        return imap_answer(s, IMAP_R_DONE);
    return imap_answer_code(s, IMAP_R_DONE, "APPENDUID %u %u", r->uidvalidity, r->to_uids[0].first);
}

static enum imap_next submit(struct imap_session *s)
{
    struct appending *a = appending_of(s);
    const struct imap_flags *flags = &a->args.flags;
    struct store_request *r;
    slice *keywords;

    s->run->is_ready = false;
    if (a->err.kind != ERR_NONE)
        return imap_answer(s, reply_of(&a->err));
    r = imap_request_new(s, STORE_APPEND);
    r->mailbox = a->mailbox;
    r->flags.system = flags->system;
    keywords = arena_alloc_array(&r->mem, flags->keyword_count + 1, sizeof *keywords);
    for (unsigned i = 0; i < flags->keyword_count; i++)
        keywords[i] = slice_dup(&r->mem, flags->keywords[i]);
    r->keywords = keywords;
    r->keyword_count = flags->keyword_count;
    r->internal_ms = a->args.has_date ? a->args.internal_ms : 0;
    r->body = a->writer;
    a->writer = NULL;
    return imap_request(s, r, appended);
}

static void finish_run(struct job *job)
{
    struct appending *a = CONTAINER_OF(job, struct appending, job);

    body_writer_finish(a->writer, &a->err);
}

static void finish_done(struct job *job)
{
    struct appending *a = CONTAINER_OF(job, struct appending, job);
    struct session *base = a->session != 0 ? session_find(a->worker, a->session) : NULL;

    a->is_with_helper = false;
    if (base == NULL) {
        appending_free(a);
        return;
    }
    CONTAINER_OF(base, struct imap_session, base)->run->is_ready = true;
    session_wake(base);
}

static enum imap_next message_is_whole(struct imap_session *s)
{
    struct appending *a = appending_of(s);

    if (!body_writer_is_spooled(a->writer)) {
        body_writer_finish(a->writer, &a->err);
        return submit(s);
    }
    a->job = (struct job){ .run = finish_run, .done = finish_done, .reactor = s->base.worker->reactor };
    a->worker = s->base.worker;
    a->session = s->base.id;
    if (!pool_submit(s->base.worker->helpers, &a->job))
        return imap_answer(s, IMAP_R_TEMP);
    a->is_with_helper = true;
    s->run->resume = submit;
    s->run->wait = "disk";
    return NEXT_WAIT;
}

/* --- octets ------------------------------------------------------------------------------------------------------- */

/* The literal is complete; the rest of the line must be empty. */
static enum step end_of_command(struct imap_session *s, slice line)
{
    struct appending *a = appending_of(s);

    imap_enter(s, IMAP_RUNNING);
    if (line.len > 0) { /* MULTIAPPEND is not offered */
        imap_in_init(&s->run->in, line, &s->base.cmd_mem);
        imap_in_fail(&s->run->in, "the end of the command behind the message");
        return imap_after(s, imap_bad(s));
    }
    if (a->refusal != IMAP_R_DONE)
        return imap_after(s, imap_answer(s, a->refusal));
    return imap_after(s, message_is_whole(s));
}

enum step imap_step_appending(struct imap_session *s)
{
    struct appending *a = appending_of(s);
    enum frame frame;
    slice part;

    for (unsigned parts = 0; a->left > 0; parts++) {
        if (parts == 32) /* other sessions go first */
            return STEP_AGAIN;
        frame = stream_octets(imap_stream(s), a->left < PART_BYTES ? (size_t)a->left : PART_BYTES, &part);
        if (frame == FRAME_MORE)
            return STEP_WANT_READ;
        if (frame != FRAME_OK)
            return STEP_CLOSE;
        a->left -= part.len;
        imap_touch(s);
        if (a->refusal == IMAP_R_DONE && body_writer_write(a->writer, part, &a->err) < 0) {
            a->refusal = reply_of(&a->err);
            body_writer_destroy(&a->writer);
        }
    }
    frame = stream_line(imap_stream(s), imap_conf_of(s)->line_bytes_max, false, &part);
    if (frame == FRAME_MORE)
        return STEP_WANT_READ;
    if (frame == FRAME_EOF)
        return STEP_CLOSE;
    return end_of_command(s, frame == FRAME_OK ? part : SLICE("?"));
}

/* --- the beginning ------------------------------------------------------------------------------------------------ */

static enum imap_reply check(struct imap_session *s, struct appending *a)
{
    struct store_mailbox m;
    slice name;

    if (a->args.octets == 0)
        return IMAP_R_EMPTY_MESSAGE;
    if (a->args.octets > imap_conf_of(s)->append_bytes_max)
        return IMAP_R_TOO_BIG;
    if (!imap_name_in(s, a->args.mailbox, &name) || !imap_mailbox_find(s, name, &m))
        return IMAP_R_TRYCREATE;
    a->mailbox = m.id;
    return IMAP_R_DONE;
}

/* append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal        RFC 3501 9 */
enum imap_next imap_cmd_append(struct imap_session *s)
{
    struct imap_in *in = &s->run->in;
    struct appending *a;
    struct imap_append args;

    if (!imap_sp(in) || !imap_append_parse(in, &args))
        return imap_bad(s);
    if (s->state == IMAP_RUNNING) { /* the literal was taken as part of a command that is something else */
        imap_in_fail(in, "the message as a literal");
        return imap_bad(s);
    }
    a = mem_alloc(sizeof *a);
    a->args = args;
    a->left = args.octets;
    a->refusal = check(s, a);
    s->run->data = a;
    s->run->release = appending_release;
    if (a->refusal != IMAP_R_DONE && args.waits && args.octets > 0) {
        imap_enter(s, IMAP_RUNNING);
        return imap_answer(s, a->refusal);
    }
    if (args.waits)
        stream_put(imap_stream(s), SLICE("+ go on\r\n"));
    if (a->refusal == IMAP_R_DONE)
        a->writer = body_writer_new(imap_service(s)->journal);
    s->base.is_busy = true;
    imap_enter(s, IMAP_APPENDING);
    return NEXT_READ;
}
