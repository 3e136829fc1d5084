#include "mail/imapform.h"

#include "mail/address.h"
#include "mail/header.h"

#define QUOTED_MAX_OCTETS 900 /* longer strings are literals, so that no line of ours becomes unreadable for clients */
#define LIST_MAX 2000         /* addresses of one field */

static bool is_quotable(slice s)
{
    if (s.len > QUOTED_MAX_OCTETS)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x20 || s.ptr[i] >= 0x7F)
            return false;
    return true;
}

/* string = quoted / literal        RFC 3501 9. NUL cannot be sent in either and is left out. */
void imapform_string(struct buf *out, slice s)
{
    size_t nuls = 0;

    if (is_quotable(s)) {
        buf_put_byte(out, '"');
        for (size_t i = 0; i < s.len; i++) {
            if (s.ptr[i] == '"' || s.ptr[i] == '\\')
                buf_put_byte(out, '\\');
            buf_put_byte(out, s.ptr[i]);
        }
        buf_put_byte(out, '"');
        return;
    }
    for (size_t i = 0; i < s.len; i++)
        nuls += s.ptr[i] == '\0';
    buf_printf(out, "{%zu}\r\n", s.len - nuls);
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != '\0')
            buf_put_byte(out, s.ptr[i]);
}

void imapform_nstring(struct buf *out, slice s, bool is_nil)
{
    if (is_nil)
        buf_put_str(out, "NIL");
    else
        imapform_string(out, s);
}

/* --- ENVELOPE ---------------------------------------------------------------------------------------------------- */

enum { E_DATE, E_SUBJECT, E_FROM, E_SENDER, E_REPLY_TO, E_TO, E_CC, E_BCC, E_IN_REPLY_TO, E_MESSAGE_ID, E_COUNT };
static const char *const fields[E_COUNT] = { "date", "subject", "from", "sender",      "reply-to",
                                             "to",   "cc",      "bcc",  "in-reply-to", "message-id" };

struct envelope_values {
    slice value[E_COUNT];
    bool found[E_COUNT];
};

static void values_read(slice block, struct envelope_values *v)
{
    struct header_field f;

    while (header_next(&block, &f)) {
        for (unsigned i = 0; i < E_COUNT; i++) {
            if (v->found[i] || !slice_eq_nocase(f.name, slice_str(fields[i])))
                continue;
            v->found[i] = true;
            v->value[i] = f.value;
        }
    }
}

static void entry_put(const struct mailbox_entry *e, struct buf *out)
{
    buf_put_byte(out, '(');
    if (e->is_group_begin || e->is_group_end) { /* RFC 9051 7.5.2: host NIL; mailbox is the name, or NIL at the end */
        buf_put_str(out, "NIL NIL ");
        imapform_nstring(out, e->name, e->is_group_end);
        buf_put_str(out, " NIL)");
        return;
    }
    imapform_nstring(out, e->name, e->name.len == 0);
    buf_put_byte(out, ' ');
    imapform_nstring(out, e->route, e->route.len == 0);
    buf_put_byte(out, ' ');
    imapform_string(out, e->local);
    buf_put_byte(out, ' ');
    imapform_string(out, e->domain); /* empty, not NIL, where it is missing: NIL would begin a group */
    buf_put_byte(out, ')');
}

static void list_put(slice value, struct arena *mem, struct buf *out)
{
    struct mailbox_entry *e = address_list_parse(value, LIST_MAX, mem);

    if (e == NULL) {
        buf_put_str(out, "NIL");
        return;
    }
    buf_put_byte(out, '(');
    for (; e != NULL; e = e->next)
        entry_put(e, out);
    buf_put_byte(out, ')');
}

static bool is_empty_list(slice value, struct arena *mem)
{
    return address_list_parse(value, 1, mem) == NULL;
}

void imapform_envelope(slice header_block, struct buf *out)
{
    struct envelope_values v = { 0 };
    struct arena mem;

    arena_init(&mem, 4096);
    values_read(header_block, &v);
    for (unsigned i = E_SENDER; i <= E_REPLY_TO; i++)
        if (!v.found[i] || is_empty_list(v.value[i], &mem)) /* absent or empty: as From. RFC 9051 7.5.2 */
            v.value[i] = v.value[E_FROM];
    buf_put_byte(out, '(');
    for (unsigned i = 0; i < E_COUNT; i++) {
        if (i != 0)
            buf_put_byte(out, ' ');
        if (i >= E_FROM && i <= E_BCC)
            list_put(v.value[i], &mem, out);
        else
            imapform_nstring(out, header_unfold(&mem, v.value[i]), !v.found[i]);
    }
    buf_put_byte(out, ')');
    arena_free(&mem);
}

/* --- BODY, BODYSTRUCTURE ----------------------------------------------------------------------------------------- */

struct former {
    slice message;
    struct buf *out;
    bool extended;
};

static void params_put(const struct mime_param *p, struct buf *out)
{
    if (p == NULL) {
        buf_put_str(out, "NIL");
        return;
    }
    buf_put_byte(out, '(');
    for (const struct mime_param *first = p; p != NULL; p = p->next) {
        if (p != first)
            buf_put_byte(out, ' ');
        imapform_string(out, p->name);
        buf_put_byte(out, ' ');
        imapform_string(out, p->value);
    }
    buf_put_byte(out, ')');
}

static void disposition_put(const struct mime_part *p, struct buf *out)
{
    if (p->disposition.len == 0) {
        buf_put_str(out, "NIL");
        return;
    }
    buf_put_byte(out, '(');
    imapform_string(out, p->disposition);
    buf_put_byte(out, ' ');
    params_put(p->disposition_params, out);
    buf_put_byte(out, ')');
}

/* body-ext-1part, body-ext-mpart behind their first field        RFC 9051 9 */
static void extension_put(const struct mime_part *p, struct buf *out)
{
    buf_put_byte(out, ' ');
    disposition_put(p, out);
    buf_put_byte(out, ' ');
    imapform_nstring(out, p->language, p->language.len == 0);
    buf_put_byte(out, ' ');
    imapform_nstring(out, p->location, p->location.len == 0);
}

static void part_put(struct former *f, const struct mime_part *p);

static void multipart_put(struct former *f, const struct mime_part *p)
{
    if (p->first_child == NULL) /* the grammar wants one part at least */
        buf_put_str(f->out, "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0)");
    for (const struct mime_part *c = p->first_child; c != NULL; c = c->next)
        part_put(f, c);
    buf_put_byte(f->out, ' ');
    imapform_string(f->out, p->subtype);
    if (f->extended) {
        buf_put_byte(f->out, ' ');
        params_put(p->params, f->out);
        extension_put(p, f->out);
    }
}

static void message_put(struct former *f, const struct mime_part *p)
{
    const struct mime_part *inner = p->first_child;

    buf_put_byte(f->out, ' ');
    if (inner == NULL) { /* encoded, or nested too deep: nothing is known of it */
        buf_put_str(f->out, "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) "
                            "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0)");
    } else {
        imapform_envelope(slice_sub(f->message, (size_t)inner->at, (size_t)inner->header_bytes), f->out);
        buf_put_byte(f->out, ' ');
        part_put(f, inner);
    }
    buf_printf(f->out, " %llu", (unsigned long long)p->body_lines);
}

static void single_put(struct former *f, const struct mime_part *p)
{
    imapform_string(f->out, p->type);
    buf_put_byte(f->out, ' ');
    imapform_string(f->out, p->subtype);
    buf_put_byte(f->out, ' ');
    params_put(p->params, f->out);
    buf_put_byte(f->out, ' ');
    imapform_nstring(f->out, p->id, p->id.len == 0);
    buf_put_byte(f->out, ' ');
    imapform_nstring(f->out, p->description, p->description.len == 0);
    buf_put_byte(f->out, ' ');
    imapform_string(f->out, p->encoding.len == 0 ? SLICE("7bit") : p->encoding);
    buf_printf(f->out, " %llu", (unsigned long long)p->body_bytes);
    if (slice_eq_nocase(p->type, SLICE("text")))
        buf_printf(f->out, " %llu", (unsigned long long)p->body_lines);
    else if (slice_eq_nocase(p->type, SLICE("message")) &&
             (slice_eq_nocase(p->subtype, SLICE("rfc822")) || slice_eq_nocase(p->subtype, SLICE("global"))))
        message_put(f, p);
    if (f->extended) {
        buf_put_byte(f->out, ' ');
        imapform_nstring(f->out, p->md5, p->md5.len == 0);
        extension_put(p, f->out);
    }
}

static void part_put(struct former *f, const struct mime_part *p)
{
    buf_put_byte(f->out, '(');
    if (p->is_multipart)
        multipart_put(f, p);
    else
        single_put(f, p);
    buf_put_byte(f->out, ')');
}

void imapform_body(slice message, const struct mime_part *top, bool extended, struct buf *out)
{
    struct former f = { message, out, extended };

    part_put(&f, top);
}
