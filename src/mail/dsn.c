/* dsn.c - see dsn.h. */
#include "mail/dsn.h"

#include "base/mem.h"
#include "mail/date.h"
#include "mail/header.h"

#define DAY_MS 86400000
#define HOUR_MS 3600000
#define FOLD_AT 76u
#define CRLF "\r\n"

const char *const dsn_kind_names[DSN_KINDS] = {
    [DSN_KIND_FAILED] = "failed",       [DSN_KIND_BOUNCED] = "bounced",     [DSN_KIND_TIMEDOUT] = "timedout",
    [DSN_KIND_DELAYED] = "delayed",     [DSN_KIND_FORWARDED] = "forwarded", [DSN_KIND_DELIVERED] = "delivered",
    [DSN_KIND_EXPANDED] = "expanded",
};

static const char *const action_names[] = {
    [DSN_FAILED] = "failed",   [DSN_DELAYED] = "delayed",   [DSN_DELIVERED] = "delivered",
    [DSN_RELAYED] = "relayed", [DSN_EXPANDED] = "expanded",
};

/* --- the built-in templates --------------------------------------------------------------------------------------- */

#define PREFIX                                                                                                         \
    "Content-Type: text/plain; charset=utf-8\n"                                                                        \
    "Content-Language: en\n"                                                                                           \
    "\n"                                                                                                               \
    "This report is about a message that you sent. Its header was:\n"                                                  \
    "\n"                                                                                                               \
    "%H\n"

#define TEMPLATE(title, words)                                                                                         \
    {                                                                                                                  \
        .subject = { (const unsigned char *)(title), sizeof(title) - 1 },                                              \
        .prefix = { (const unsigned char *)PREFIX, sizeof PREFIX - 1 },                                                \
        .text = { (const unsigned char *)(words), sizeof(words) - 1 },                                                 \
        .day = { (const unsigned char *)"day", 3 },                                                                    \
        .hour = { (const unsigned char *)"hour", 4 },                                                                  \
        .recipient = { (const unsigned char *)"Recipient address:", 18 },                                              \
        .original = { (const unsigned char *)"Original address:", 17 },                                                \
        .reason = { (const unsigned char *)"Reason:", 7 },                                                             \
        .diagnostic = { (const unsigned char *)"Diagnostic code:", 16 },                                               \
    }

static const struct dsn_template defaults[DSN_KINDS] = {
    [DSN_KIND_FAILED] = TEMPLATE("Delivery Notification: Delivery has failed",
                                 "It could not be delivered to these recipients, and will not be tried again:\n\n%R"),
    [DSN_KIND_BOUNCED] = TEMPLATE("Delivery Notification: Message returned by the postmaster",
                                  "The postmaster returned it for these recipients:\n\n%R"),
    [DSN_KIND_TIMEDOUT] = TEMPLATE("Delivery Notification: Delivery has timed out",
                                   "It was tried for %C %u%s without success, and is returned for these "
                                   "recipients:\n\n%R"),
    [DSN_KIND_DELAYED] = TEMPLATE("Delivery Notification: Delivery is delayed",
                                  "It has been waiting for %C %u%s for these recipients. You need not send it again: "
                                  "it will be\ntried for another %L %u%s.\n\n%R"),
    [DSN_KIND_FORWARDED] = TEMPLATE("Delivery Notification: Message was relayed",
                                    "It was handed on for these recipients to a host that sends no receipts, so this "
                                    "is the last report:\n\n%R"),
    [DSN_KIND_DELIVERED] = TEMPLATE("Delivery Notification: Message was delivered",
                                    "It was delivered to these recipients:\n\n%R"),
    [DSN_KIND_EXPANDED] = TEMPLATE("Delivery Notification: Message was sent on to a list",
                                   "It was sent on to the members of these addresses:\n\n%R"),
};

const struct dsn_template *dsn_template_default(enum dsn_kind kind)
{
    return &defaults[kind];
}

/* --- octets ------------------------------------------------------------------------------------------------------- */

static int hex_digit(unsigned char c) /* RFC 3461 4: upper case only; the other is accepted */
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_upper(c);
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

slice dsn_xtext_decode(struct arena *mem, slice xtext)
{
    unsigned char *out = arena_alloc(mem, xtext.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < xtext.len; i++) {
        int high = i + 2 < xtext.len && xtext.ptr[i] == '+' ? hex_digit(xtext.ptr[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(xtext.ptr[i + 2]) : -1;

        if (low >= 0) {
            out[len++] = (unsigned char)(high * 16 + low);
            i += 2;
        } else {
            out[len++] = xtext.ptr[i];
        }
    }
    return slice_of(out, len);
}

void dsn_xtext_encode(slice octets, struct buf *out)
{
    for (size_t i = 0; i < octets.len; i++) {
        unsigned char c = octets.ptr[i];

        if (c >= '!' && c <= '~' && c != '+' && c != '=')
            buf_put_byte(out, c);
        else
            buf_printf(out, "+%02X", c);
    }
}

/* Text of a peer or a user on its way into a header field: control characters become blanks, and the line is folded in
 * front of words. at: the column where it begins. */
static void put_folded(struct buf *out, slice text, size_t at)
{
    slice rest = slice_trim(text);

    while (rest.len != 0) {
        size_t word = 0;

        while (word < rest.len && rest.ptr[word] > ' ' && rest.ptr[word] != 127)
            word++;
        if (at + word > FOLD_AT && at > 1) {
            buf_put_str(out, CRLF " ");
            at = 1;
        }
        buf_put_slice(out, slice_sub(rest, 0, word));
        at += word;
        rest = slice_from(rest, word);
        while (rest.len != 0 && (rest.ptr[0] <= ' ' || rest.ptr[0] == 127))
            rest = slice_from(rest, 1);
        if (rest.len != 0) {
            buf_put_byte(out, ' ');
            at++;
        }
    }
}

/* "Name: value" when there is a value. */
static void put_field(struct buf *out, const char *name, const char *type, slice value)
{
    size_t begin = out->len;

    if (value.len == 0)
        return;
    buf_printf(out, "%s: %s", name, type);
    put_folded(out, value, out->len - begin);
    buf_put_str(out, CRLF);
}

static void put_date(struct buf *out, const char *name, int64_t ms)
{
    if (ms == 0)
        return;
    buf_printf(out, "%s: ", name);
    date_print(ms, 0, out);
    buf_put_str(out, CRLF);
}

static bool has_8bit(slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] >= 0x80)
            return true;
    return false;
}

/* With CRLF, whatever the line ends were. */
static void put_lines(struct buf *out, slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\n')
            buf_put_str(out, CRLF);
        else if (text.ptr[i] != '\r')
            buf_put_byte(out, text.ptr[i]);
    }
}

/* --- the part for people ------------------------------------------------------------------------------------------ */

static slice shown_final(const struct dsn *d, const struct dsn_rcpt *r)
{
    return d->show_final || r->original.len == 0 ? r->final : r->original;
}

static void put_label(struct buf *out, slice label, slice value)
{
    size_t begin = out->len;

    if (label.len == 0 || value.len == 0)
        return;
    buf_put_str(out, "  ");
    buf_put_slice(out, label);
    buf_put_byte(out, ' ');
    put_folded(out, value, out->len - begin);
    buf_put_str(out, CRLF);
}

static void put_recipients(const struct dsn *d, const struct dsn_template *t, struct buf *out)
{
    for (unsigned i = 0; i < d->rcpt_count; i++) {
        const struct dsn_rcpt *r = &d->rcpts[i];
        struct buf code = BUF_INIT;

        put_label(out, t->recipient, shown_final(d, r));
        if (!slice_eq(shown_final(d, r), r->original))
            put_label(out, t->original, r->original);
        put_label(out, t->reason, r->reason);
        if (r->diag_type.len != 0) {
            buf_put_slice(&code, r->diag_type);
            buf_put_byte(&code, ';');
            buf_put_slice(&code, r->diag);
        }
        put_label(out, t->diagnostic, buf_slice(&code));
        buf_put_str(out, CRLF);
        buf_free(&code);
    }
}

static slice unit_word(const struct dsn *d, const struct dsn_template *t)
{
    return d->units_are_hours ? t->hour : t->day;
}

static uint64_t units(const struct dsn *d, int64_t ms)
{
    int64_t unit = d->units_are_hours ? HOUR_MS : DAY_MS;

    return ms <= 0 ? 0 : (uint64_t)((ms + unit / 2) / unit);
}

/* One substitution; *number: the last number written. False: c means nothing. */
static bool put_substitute(const struct dsn *d, const struct dsn_template *t, unsigned char c, uint64_t *number,
                           struct buf *out)
{
    int64_t age = d->now_ms - d->arrival_ms;
    slice word = unit_word(d, t);

    switch (c) {
    case 'H':
        put_lines(out, slice_sub(d->header, 0, DSN_HEADER_MAX_OCTETS));
        return true;
    case 'R':
        put_recipients(d, t, out);
        return true;
    case 'C':
    case 'L':
    case 'F':
        *number = units(d, c == 'C' ? age : c == 'L' ? d->allowed_ms - age : d->allowed_ms);
        buf_put_u64(out, *number);
        return true;
    case 'S':
    case 's':
        if (*number != 1)
            buf_put_byte(out, c);
        return true;
    case 'U':
        if (word.len != 0)
            buf_put_byte(out, ascii_upper(word.ptr[0]));
        buf_put_slice(out, slice_from(word, 1));
        return true;
    case 'u':
        buf_put_slice(out, word);
        return true;
    case '%':
        buf_put_byte(out, '%');
        return true;
    default:
        return false;
    }
}

static void expand(const struct dsn *d, const struct dsn_template *t, slice text, uint64_t *number, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = text.ptr[i];

        if (c == '%' && i + 1 < text.len && put_substitute(d, t, text.ptr[i + 1], number, out))
            i++;
        else if (c == '\n')
            buf_put_str(out, CRLF);
        else if (c != '\r')
            buf_put_byte(out, c);
    }
}

static void put_people_part(const struct dsn *d, const struct dsn_template *t, struct buf *out)
{
    struct buf text = BUF_INIT;
    slice rest = t->prefix;
    uint64_t number = 0;

    /* the fields that begin the prefix; a prefix without them begins with its empty line */
    while (rest.len != 0) {
        slice line = slice_cut(&rest, '\n', NULL);

        if (line.len != 0 && line.ptr[line.len - 1] == '\r')
            line.len--;
        if (line.len == 0)
            break;
        buf_put_slice(out, line);
        buf_put_str(out, CRLF);
    }
    expand(d, t, rest, &number, &text);
    expand(d, t, t->text, &number, &text);
    expand(d, t, t->suffix, &number, &text);
    if (has_8bit(buf_slice(&text)))
        buf_put_str(out, "Content-Transfer-Encoding: 8bit" CRLF);
    buf_put_str(out, CRLF);
    buf_put_slice(out, buf_slice(&text));
    buf_free(&text);
}

/* --- the part for machines ---------------------------------------------------------------------------------------- */

/* RFC 3464 2.3.1: what ORCPT said, or the address that came in. RFC 6533 3 has the type utf-8 for others than ASCII. */
static void put_original(const struct dsn_rcpt *r, struct buf *out)
{
    struct arena mem;
    slice rest = r->orcpt, type;
    bool found;

    arena_init(&mem, 512);
    type = slice_cut(&rest, ';', &found);
    if (found && type.len != 0) {
        slice decoded = slice_eq_nocase(type, SLICE("rfc822")) ? dsn_xtext_decode(&mem, rest) : rest;
        struct buf prefix = BUF_INIT;

        buf_put_slice(&prefix, type);
        buf_put_byte(&prefix, ';');
        put_field(out, "Original-Recipient", buf_str(&prefix), decoded);
        buf_free(&prefix);
    } else if (r->original.len != 0) {
        put_field(out, "Original-Recipient", has_8bit(r->original) ? "utf-8;" : "rfc822;", r->original);
    }
    arena_free(&mem);
}

static void put_status_part(const struct dsn *d, struct buf *out)
{
    struct arena mem;

    arena_init(&mem, 512);
    put_field(out, "Original-Envelope-Id", "", dsn_xtext_decode(&mem, d->envid));
    put_field(out, "Reporting-MTA", "dns;", d->reporting_mta);
    put_date(out, "Arrival-Date", d->arrival_ms);
    for (unsigned i = 0; i < d->rcpt_count; i++) {
        const struct dsn_rcpt *r = &d->rcpts[i];
        slice final = shown_final(d, r);

        buf_put_str(out, CRLF);
        put_original(r, out);
        put_field(out, "Final-Recipient", has_8bit(final) ? "utf-8;" : "rfc822;", final);
        buf_printf(out, "Action: %s" CRLF, action_names[r->action]);
        put_field(out, "Status", "", r->status);
        put_field(out, "Remote-MTA", "dns;", r->remote_mta);
        if (r->diag_type.len != 0) {
            struct buf type = BUF_INIT;

            buf_put_slice(&type, r->diag_type);
            buf_put_byte(&type, ';');
            put_field(out, "Diagnostic-Code", buf_str(&type), r->diag);
            buf_free(&type);
        }
        put_date(out, "Last-Attempt-Date", r->last_attempt_ms);
        put_date(out, "Will-Retry-Until", r->retry_until_ms);
    }
    arena_free(&mem);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static void put_boundary(const struct dsn *d, struct buf *out, const char *end)
{
    buf_printf(out, CRLF "--%.*s%s" CRLF, SLICE_ARG(d->boundary), end);
}

/* Up to the limit, and then whole fields only. */
static slice cut_header(slice header)
{
    slice rest = header;
    struct header_field f;
    size_t len = 0;

    if (header.len <= DSN_HEADER_MAX_OCTETS)
        return header;
    while (header_next(&rest, &f) && len + f.raw.len <= DSN_HEADER_MAX_OCTETS)
        len += f.raw.len;
    return slice_sub(header, 0, len);
}

static void put_head(const struct dsn *d, const struct dsn_template *t, struct buf *out)
{
    put_date(out, "Date", d->now_ms);
    buf_put_str(out, "From: ");
    if (d->from_name.len != 0)
        buf_printf(out, "%.*s <%.*s>" CRLF, SLICE_ARG(d->from_name), SLICE_ARG(d->from));
    else
        buf_printf(out, "%.*s" CRLF, SLICE_ARG(d->from));
    put_field(out, "To", "", d->to);
    put_field(out, "Message-ID", "", d->message_id);
    put_field(out, "References", "", d->original_message_id);
    put_field(out, "Subject", "", t->subject);
    buf_put_str(out, "Auto-Submitted: auto-replied" CRLF); /* RFC 3834 5.1 */
    buf_put_str(out, "MIME-Version: 1.0" CRLF);
    buf_printf(out, "Content-Type: multipart/report; report-type=%s;" CRLF " boundary=\"%.*s\"" CRLF,
               d->is_utf8 ? "global-delivery-status" : "delivery-status", SLICE_ARG(d->boundary));
}

void dsn_write(const struct dsn *d, struct buf *out, struct buf *tail)
{
    const struct dsn_template *t = d->template != NULL ? d->template : &defaults[d->kind];
    struct buf status = BUF_INIT;
    slice header = cut_header(d->header);
    const char *type;

    put_head(d, t, out);
    put_boundary(d, out, "");
    put_people_part(d, t, out);
    put_boundary(d, out, "");
    put_status_part(d, &status);
    type = d->is_utf8 ? "message/global-delivery-status" : "message/delivery-status";
    buf_printf(out, "Content-Type: %s" CRLF, type);
    if (has_8bit(buf_slice(&status)))
        buf_put_str(out, "Content-Transfer-Encoding: 8bit" CRLF);
    buf_put_str(out, CRLF);
    buf_put_slice(out, buf_slice(&status));
    put_boundary(d, out, "");
    if (d->has_body)
        type = d->is_utf8 ? "message/global" : "message/rfc822";
    else
        type = d->is_utf8 ? "message/global-headers" : "text/rfc822-headers";
    buf_printf(out, "Content-Type: %s" CRLF, type);
    if (d->has_body || has_8bit(header))
        buf_put_str(out, "Content-Transfer-Encoding: 8bit" CRLF);
    buf_put_str(out, CRLF);
    put_lines(out, header);
    if (d->has_body)
        buf_put_str(out, CRLF);
    put_boundary(d, tail, "--");
    buf_free(&status);
}

/* --- reading back ------------------------------------------------------------------------------------------------- */

static slice after_type(struct arena *mem, slice value)
{
    slice rest = header_unfold(mem, value), all = rest;
    bool found;

    slice_cut(&rest, ';', &found);
    return found ? slice_trim(rest) : all;
}

static void read_field(struct dsn_group *g, const struct header_field *f, struct arena *mem)
{
    if (slice_eq_nocase(f->name, SLICE("Final-Recipient")))
        g->final_recipient = after_type(mem, f->value);
    else if (slice_eq_nocase(f->name, SLICE("Original-Recipient")))
        g->original_recipient = after_type(mem, f->value);
    else if (slice_eq_nocase(f->name, SLICE("Action")))
        g->action = header_unfold(mem, f->value);
    else if (slice_eq_nocase(f->name, SLICE("Status")))
        g->status = header_unfold(mem, f->value);
    else if (slice_eq_nocase(f->name, SLICE("Diagnostic-Code")))
        g->diagnostic = header_unfold(mem, f->value);
    else if (slice_eq_nocase(f->name, SLICE("Remote-MTA")))
        g->remote_mta = after_type(mem, f->value);
}

struct dsn_group *dsn_parse(slice status_part, slice *reporting_mta, slice *envid, struct arena *mem)
{
    struct dsn_group *first = NULL, **end = &first;
    slice rest = status_part;
    struct header_field f;

    *reporting_mta = *envid = SLICE_NONE;
    while (header_next(&rest, &f)) { /* the fields of the whole message stand in front */
        if (slice_eq_nocase(f.name, SLICE("Reporting-MTA")))
            *reporting_mta = after_type(mem, f.value);
        else if (slice_eq_nocase(f.name, SLICE("Original-Envelope-Id")))
            *envid = header_unfold(mem, f.value);
    }
    while (rest.len != 0) {
        struct dsn_group *g = arena_alloc(mem, sizeof *g);
        size_t before = rest.len;

        while (header_next(&rest, &f))
            read_field(g, &f, mem);
        if (g->final_recipient.len != 0) {
            *end = g;
            end = &g->next;
        }
        if (rest.len == before) /* header_next always consumes, but a loop must not hang on it */
            break;
    }
    return first;
}
