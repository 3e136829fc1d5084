#include "smtp/client_syntax.h"

#define RUN_MAX 1024 /* octets looked at for a line end at a time: the time stays linear whatever the line ends are */

/* --- replies ------------------------------------------------------------------------------------------------------ */

/* Reply-line = Reply-code [ ("-" / SP) textstring ]      RFC 5321 4.2 */
static bool line_parse(slice line, unsigned *code, bool *is_last, slice *text)
{
    if (line.len < 3 || line.ptr[0] < '2' || line.ptr[0] > '5' || !ascii_is_digit(line.ptr[1]) ||
        !ascii_is_digit(line.ptr[2]))
        return false;
    if (line.len > 3 && line.ptr[3] != ' ' && line.ptr[3] != '-')
        return false;
    *code = (unsigned)(line.ptr[0] - '0') * 100 + (unsigned)(line.ptr[1] - '0') * 10 + (unsigned)(line.ptr[2] - '0');
    *is_last = line.len == 3 || line.ptr[3] == ' ';
    *text = slice_from(line, 4);
    return true;
}

static size_t digits(slice s, size_t at)
{
    size_t n = 0;

    while (at + n < s.len && ascii_is_digit(s.ptr[at + n]))
        n++;
    return n;
}

/* status-code = class "." subject "." detail, in front of the text (RFC 2034 4); its class must be the code's. */
static void status_parse(slice text, unsigned code, char out[SMTP_STATUS_MAX_OCTETS + 1])
{
    size_t subject, detail, len;

    out[0] = '\0';
    if (text.len < 5 || text.ptr[0] != '0' + code / 100 || text.ptr[1] != '.')
        return;
    subject = digits(text, 2);
    if (subject == 0 || subject > 3 || 2 + subject >= text.len || text.ptr[2 + subject] != '.')
        return;
    detail = digits(text, 3 + subject);
    len = 3 + subject + detail;
    if (detail == 0 || detail > 3 || (len < text.len && text.ptr[len] != ' '))
        return;
    memcpy(out, text.ptr, len);
    out[len] = '\0';
}

static void text_add(struct buf *out, slice text)
{
    unsigned char *p = text.len > 0 ? buf_extend(out, text.len) : NULL;

    for (size_t i = 0; i < text.len; i++)
        p[i] = text.ptr[i] >= ' ' && text.ptr[i] <= '~' ? text.ptr[i] : text.ptr[i] == '\t' ? ' ' : '?';
}

enum smtp_reply_got smtp_reply_line(struct smtp_reply *r, slice line, unsigned lines_max, size_t bytes_max)
{
    unsigned code;
    bool is_last;
    slice text;

    if (r->is_complete || r->lines == 0) {
        buf_reset(&r->text);
        r->lines = 0;
        r->is_complete = false;
    }
    if (!line_parse(line, &code, &is_last, &text) || (r->lines > 0 && code != r->code))
        return SMTP_REPLY_BAD;
    if (r->lines == lines_max || r->text.len + text.len + 1 > bytes_max)
        return SMTP_REPLY_LONG;
    if (r->lines == 0) {
        r->code = code;
        status_parse(text, code, r->status);
    } else {
        buf_put_byte(&r->text, '\n');
    }
    r->lines++;
    text_add(&r->text, text);
    r->is_complete = is_last;
    return is_last ? SMTP_REPLY_DONE : SMTP_REPLY_MORE;
}

void smtp_reply_free(struct smtp_reply *r)
{
    buf_free(&r->text);
    *r = (struct smtp_reply){ .code = 0 };
}

const char *smtp_reply_status(const struct smtp_reply *r)
{
    static const char *const classes[] = { "2.0.0", "3.0.0", "4.0.0", "5.0.0" };

    if (r->status[0] != '\0')
        return r->status;
    return r->code >= 200 && r->code < 600 ? classes[r->code / 100 - 2] : "4.0.0";
}

void smtp_reply_diag(const struct smtp_reply *r, struct buf *out)
{
    const size_t begin = out->len;

    buf_printf(out, "smtp;%u", r->code);
    if (r->text.len > 0)
        buf_put_byte(out, ' ');
    for (size_t i = 0; i < r->text.len && out->len - begin < SMTP_DIAG_MAX_OCTETS; i++)
        buf_put_byte(out, r->text.ptr[i] == '\n' ? ' ' : r->text.ptr[i]);
}

/* --- what the peer can -------------------------------------------------------------------------------------------- */

static void cap_auth(struct smtp_caps *c, slice words)
{
    c->auth = true;
    for (slice word = slice_word(&words); word.len > 0; word = slice_word(&words)) {
        c->auth_plain |= slice_eq_nocase(word, SLICE("PLAIN"));
        c->auth_login |= slice_eq_nocase(word, SLICE("LOGIN"));
    }
}

static void cap_line(struct smtp_caps *c, slice line)
{
    static const struct {
        const char *word;
        size_t at;
    } flags[] = {
        { "PIPELINING", offsetof(struct smtp_caps, pipelining) },     /* RFC 2920 */
        { "8BITMIME", offsetof(struct smtp_caps, eightbitmime) },     /* RFC 6152 */
        { "SMTPUTF8", offsetof(struct smtp_caps, smtputf8) },         /* RFC 6531 */
        { "DSN", offsetof(struct smtp_caps, dsn) },                   /* RFC 3461 */
        { "CHUNKING", offsetof(struct smtp_caps, chunking) },         /* RFC 3030 */
        { "BINARYMIME", offsetof(struct smtp_caps, binarymime) },     /* RFC 3030 */
        { "STARTTLS", offsetof(struct smtp_caps, starttls) },         /* RFC 3207 */
        { "SIZE", offsetof(struct smtp_caps, size) },                 /* RFC 1870 */
    };
    slice word = slice_word(&line);

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (slice_eq_nocase(word, slice_str(flags[i].word)))
            *(bool *)((char *)c + flags[i].at) = true;
    if (slice_eq_nocase(word, SLICE("SIZE")) && !slice_u64(slice_word(&line), &c->size_max))
        c->size_max = 0;
    if (slice_eq_nocase(word, SLICE("AUTH")))
        cap_auth(c, line);
    else if (slice_starts_nocase(word, SLICE("AUTH="))) { /* of old servers */
        cap_auth(c, slice_from(word, 5));
        cap_auth(c, line);
    }
}

void smtp_caps_read(struct smtp_caps *c, slice text)
{
    bool more = true;

    *c = (struct smtp_caps){ .is_esmtp = true };
    slice_cut(&text, '\n', &more);
    while (more)
        cap_line(c, slice_cut(&text, '\n', &more));
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

bool smtp_is_sendable(slice address)
{
    for (size_t i = 0; i < address.len; i++)
        if (address.ptr[i] < ' ' || address.ptr[i] == 0x7f)
            return false;
    return true;
}

/* One word: no blank could be told from the next parameter. */
static bool is_word(slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return false;
    return s.len > 0;
}

static bool is_ascii(slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] >= 0x80)
            return false;
    return true;
}

void smtp_mail_write(const struct smtp_mail_args *args, const struct smtp_caps *caps, struct buf *out)
{
    static const char *const bodies[] = { NULL, "8BITMIME", "BINARYMIME" };

    buf_put_str(out, "MAIL FROM:<");
    buf_put_slice(out, args->sender);
    buf_put_byte(out, '>');
    if (caps->size)
        buf_printf(out, " SIZE=%llu", (unsigned long long)args->bytes);
    if ((args->body == BODY_8BITMIME && caps->eightbitmime) || (args->body == BODY_BINARYMIME && caps->binarymime))
        buf_printf(out, " BODY=%s", bodies[args->body]);
    if (args->is_smtputf8 && caps->smtputf8)
        buf_put_str(out, " SMTPUTF8");
    if (caps->dsn && args->ret != RET_UNSET)
        buf_put_str(out, args->ret == RET_FULL ? " RET=FULL" : " RET=HDRS");
    if (caps->dsn && is_word(args->envid) && is_ascii(args->envid)) {
        buf_put_str(out, " ENVID=");
        buf_put_slice(out, args->envid);
    }
    if (caps->auth && is_word(args->auth) && is_ascii(args->auth)) {
        buf_put_str(out, " AUTH=");
        buf_put_slice(out, args->auth);
    }
    buf_put_str(out, "\r\n");
}

void smtp_rcpt_write(slice address, uint32_t notify, slice orcpt, const struct smtp_caps *caps, struct buf *out)
{
    static const struct {
        uint32_t flag;
        const char *word;
    } words[] = { { NOTIFY_SUCCESS, "SUCCESS" }, { NOTIFY_FAILURE, "FAILURE" }, { NOTIFY_DELAY, "DELAY" } };
    const char *before = " NOTIFY=";

    buf_put_str(out, "RCPT TO:<");
    buf_put_slice(out, address);
    buf_put_byte(out, '>');
    if (caps->dsn && (notify & NOTIFY_NEVER) != 0)
        buf_put_str(out, " NOTIFY=NEVER");
    else if (caps->dsn)
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if ((notify & words[i].flag) != 0) {
                buf_printf(out, "%s%s", before, words[i].word);
                before = ",";
            }
    if (caps->dsn && is_word(orcpt) && (caps->smtputf8 || is_ascii(orcpt))) {
        buf_put_str(out, " ORCPT=");
        buf_put_slice(out, orcpt);
    }
    buf_put_str(out, "\r\n");
}

/* --- message data ------------------------------------------------------------------------------------------------- */

/* Octets up to the next CR or LF. */
static size_t run_length(const unsigned char *p, size_t len)
{
    const unsigned char *lf, *cr;

    if (len > RUN_MAX)
        len = RUN_MAX;
    lf = memchr(p, '\n', len);
    if (lf != NULL)
        len = (size_t)(lf - p);
    cr = memchr(p, '\r', len);
    return cr != NULL ? (size_t)(cr - p) : len;
}

void smtp_dot_write(struct smtp_dot *d, slice in, struct buf *out)
{
    const unsigned char *p = in.ptr, *end = in.ptr + in.len;

    buf_reserve(out, in.len + 16);
    while (p < end) {
        if (d->at == SMTP_DOT_CR) {
            buf_put(out, "\r\n", 2);
            d->at = SMTP_DOT_BOL;
            if (*p == '\n')
                p++;
            continue;
        }
        const size_t run = run_length(p, (size_t)(end - p));
        if (run > 0) {
            if (d->at == SMTP_DOT_BOL && *p == '.' && !d->is_chunk)
                buf_put_byte(out, '.');
            buf_put(out, p, run);
            d->at = SMTP_DOT_MID;
            p += run;
        } else if (*p++ == '\r') {
            d->at = SMTP_DOT_CR;
        } else {
            buf_put(out, "\r\n", 2);
            d->at = SMTP_DOT_BOL;
        }
    }
}

void smtp_dot_end(struct smtp_dot *d, struct buf *out)
{
    if (d->at != SMTP_DOT_BOL)
        buf_put(out, "\r\n", 2);
    if (!d->is_chunk)
        buf_put(out, ".\r\n", 3);
    d->at = SMTP_DOT_BOL;
}
