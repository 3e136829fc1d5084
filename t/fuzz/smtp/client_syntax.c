/* Whatever a peer says: a reply has a code between 200 and 599 and stays within its limits; whatever a message holds:
 * what is sent has no bare line ends and reads back, through the server's own framing, as the same lines, however it
 * was cut; whatever an envelope holds: one command, one line, which the server's parser takes back. */
#include "net/frame.h"
#include "smtp/client_internal.h"
#include "smtp/syntax.h"

#define LINES_MAX 20
#define BYTES_MAX 2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replies(slice in)
{
    struct smtp_reply r = { .code = 0 };
    struct smtp_caps caps;
    struct buf diag = BUF_INIT;
    bool more = true;

    while (more) {
        const enum smtp_reply_got got = smtp_reply_line(&r, slice_cut(&in, '\n', &more), LINES_MAX, BYTES_MAX);

        ASSERT(r.lines <= LINES_MAX && r.text.len <= BYTES_MAX);
        if (got == SMTP_REPLY_BAD || got == SMTP_REPLY_LONG)
            break;
        ASSERT(r.code >= 200 && r.code < 600);
        if (got != SMTP_REPLY_DONE)
            continue;
        ASSERT(smtp_reply_status(&r)[0] == (char)('0' + r.code / 100));
        buf_reset(&diag);
        smtp_reply_diag(&r, &diag);
        ASSERT(diag.len <= SMTP_DIAG_MAX_OCTETS + 1);
        for (size_t i = 0; i < diag.len; i++)
            ASSERT(diag.ptr[i] >= ' ' && diag.ptr[i] <= '~');
        smtp_caps_read(&caps, buf_slice(&r.text));
    }
    smtp_reply_free(&r);
    buf_free(&diag);
}

static void stuff(slice in, size_t step, bool is_chunk, struct buf *out)
{
    struct smtp_dot d = { .is_chunk = is_chunk };

    for (; in.len > 0; in = slice_from(in, step))
        smtp_dot_write(&d, slice_sub(in, 0, step), out);
    smtp_dot_end(&d, out);
}

static void dots(slice in, size_t step)
{
    struct buf one = BUF_INIT, cut = BUF_INIT, plain = BUF_INIT, back = BUF_INIT;
    struct dot_state st = { .at = DOT_BOL };
    bool end = false;

    stuff(in, in.len + 1, false, &one);
    stuff(in, step, false, &cut);
    ASSERT(slice_eq(buf_slice(&one), buf_slice(&cut)));
    stuff(in, step, true, &plain);
    for (slice rest = buf_slice(&one); !end;) {
        slice part = SLICE_NONE;
        size_t used = 0;

        ASSERT(rest.len > 0);
        ASSERT(frame_dot(&st, rest, &part, &end, &used) == FRAME_OK);
        buf_put_slice(&back, part);
        rest = slice_from(rest, used);
        ASSERT(!end || rest.len == 0);
    }
    ASSERT(slice_eq(buf_slice(&back), buf_slice(&plain)));
    buf_free(&one);
    buf_free(&cut);
    buf_free(&plain);
    buf_free(&back);
}

static void one_line(const struct buf *b)
{
    ASSERT(slice_find_byte(buf_slice(b), '\n') == (ssize_t)b->len - 1 && b->ptr[b->len - 2] == '\r');
}

static void commands(slice in)
{
    static const struct smtp_caps all = { .is_esmtp = true, .size = true, .eightbitmime = true, .smtputf8 = true,
                                          .dsn = true, .auth = true };
    const size_t third = in.len / 3;
    const slice a = slice_sub(in, 0, third), b = slice_sub(in, third, third), c = slice_from(in, 2 * third);
    const uint32_t bits = in.len > 0 ? in.ptr[0] : 0;
    struct buf out = BUF_INIT;
    struct arena mem;
    struct recipient rcpt;
    struct envelope env;
    struct err err = ERR_INIT;

    if (!smtp_is_sendable(a))
        return;
    arena_init(&mem, 1024);
    smtp_mail_write(&(struct smtp_mail_args){ .sender = a, .bytes = in.len, .body = bits & 1, .ret = bits % 3,
                                              .is_smtputf8 = (bits & 8) != 0, .envid = b, .auth = c },
                    &all, &out);
    one_line(&out);
    (void)smtp_mail_parse(slice_sub(buf_slice(&out), 5, out.len - 7), &mem, &env, &err);
    buf_reset(&out);
    smtp_rcpt_write(a, bits & 15, b, &all, &out);
    one_line(&out);
    (void)smtp_rcpt_parse(slice_sub(buf_slice(&out), 5, out.len - 7), &mem, &rcpt, &err);
    buf_free(&out);
    arena_free(&mem);
}

static void targets(slice in)
{
    struct smtp_target t;
    struct err err = ERR_INIT;

    if (smtp_target_parse(in, true, 25, &t, &err) < 0)
        ASSERT(err.kind == ERR_SYNTAX);
    else
        ASSERT(t.port > 0 && t.port <= 65535);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const slice in = slice_of(data, size);

    replies(in);
    dots(in, size > 0 ? 1 + data[0] % 7 : 1);
    commands(in);
    targets(in);
    return 0;
}
