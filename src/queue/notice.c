/* notice.c - see notice.h. */
#include "queue/notice.h"

#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "mail/header.h"

#define KEY_CONF struct notices_conf
static const struct key_row rows[] = { NOTICES_KEYS(KEY_ROW) };

const struct key_table notices_keys = {
    .section = "notices",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct notices_conf),
    .text = "Notices: what senders are told about mail that failed, waits, or arrived.",
};

#define CHANNEL_PROCESS SLICE("process")
#define HEADER_READ_BYTES 262144u /* an original's header is looked for in so many octets */
#define COPY_BYTES 65536u

/* --- configuration ------------------------------------------------------------------------------------------------ */

static slice given_or(slice given, slice built_in)
{
    return given.len != 0 ? given : built_in;
}

void notices_conf_complete(struct notices_conf *c, slice hostname, struct arena *mem)
{
    const slice texts[DSN_KINDS] = {
        [DSN_KIND_FAILED] = c->failed,       [DSN_KIND_BOUNCED] = c->bounced,     [DSN_KIND_TIMEDOUT] = c->timedout,
        [DSN_KIND_DELAYED] = c->delayed,     [DSN_KIND_FORWARDED] = c->forwarded, [DSN_KIND_DELIVERED] = c->delivered,
        [DSN_KIND_EXPANDED] = c->expanded,
    };
    const slice subjects[DSN_KINDS] = {
        [DSN_KIND_FAILED] = c->failed_subject,       [DSN_KIND_BOUNCED] = c->bounced_subject,
        [DSN_KIND_TIMEDOUT] = c->timedout_subject,   [DSN_KIND_DELAYED] = c->delayed_subject,
        [DSN_KIND_FORWARDED] = c->forwarded_subject, [DSN_KIND_DELIVERED] = c->delivered_subject,
        [DSN_KIND_EXPANDED] = c->expanded_subject,
    };

    c->hostname = hostname;
    c->postmaster = c->return_address;
    if (c->postmaster.len == 0) {
        unsigned char *text = arena_alloc(mem, sizeof "postmaster@" - 1 + hostname.len);

        memcpy(text, "postmaster@", sizeof "postmaster@" - 1);
        if (hostname.len != 0)
            memcpy(text + sizeof "postmaster@" - 1, hostname.ptr, hostname.len);
        c->postmaster = slice_of(text, sizeof "postmaster@" - 1 + hostname.len);
    }
    for (unsigned k = 0; k < DSN_KINDS; k++) {
        const struct dsn_template *built_in = dsn_template_default((enum dsn_kind)k);

        c->templates[k] = (struct dsn_template){
            .subject = given_or(subjects[k], built_in->subject),
            .prefix = given_or(c->prefix, built_in->prefix),
            .text = given_or(texts[k], built_in->text),
            .suffix = given_or(c->suffix, built_in->suffix),
            .day = given_or(c->day, built_in->day),
            .hour = given_or(c->hour, built_in->hour),
            .recipient = given_or(c->recipient_address, built_in->recipient),
            .original = given_or(c->original_address, built_in->original),
            .reason = given_or(c->reason, built_in->reason),
            .diagnostic = given_or(c->diagnostic_code, built_in->diagnostic),
        };
    }
}

/* --- the original message ----------------------------------------------------------------------------------------- */

struct original {
    struct buf header;      /* without the empty line */
    struct body_pin body;   /* what follows it, from `at` */
    uint64_t at, left;
    bool is_pinned;
};

static void original_free(struct original *o)
{
    buf_free(&o->header);
    if (o->is_pinned)
        journal_body_unpin(&o->body);
}

/* A block with its empty line, or the beginning of a message: its fields alone; returns where they end. */
static size_t header_keep(struct buf *octets)
{
    size_t whole = header_block_bytes(buf_slice(octets)), len = whole;
    slice block = slice_sub(buf_slice(octets), 0, whole);

    if (slice_ends(block, SLICE("\r\n\r\n")))
        len = whole - 2;
    else if (slice_ends(block, SLICE("\n\n")))
        len = whole - 1;
    else if (slice_eq(block, SLICE("\r\n")) || slice_eq(block, SLICE("\n")))
        len = 0;
    octets->len = len;
    return whole;
}

static int body_begin_read(struct original *o, const struct body_view *v, struct err *err)
{
    size_t len = v->body_bytes < HEADER_READ_BYTES ? v->body_bytes : HEADER_READ_BYTES;
    size_t header;

    if (len != 0 && journal_body_read(&o->body, v->body_at, buf_extend(&o->header, len), len, err) < 0)
        return -1;
    header = header_keep(&o->header);
    o->at = v->body_at + header;
    o->left = v->body_bytes - header;
    return 0;
}

static int original_open(struct journal *j, const struct body_view *v, struct original *o, struct err *err)
{
    struct journal_view reader;
    int rc = -1;

    *o = (struct original){ .header = BUF_INIT };
    if (journal_read_begin(j, &reader, err) < 0)
        return -1;
    if (journal_body_pin(j, &reader, v->body_id, &o->body, err) < 0)
        goto out;
    o->is_pinned = true;
    if (v->header_id != 0 &&
        journal_body_load(j, &reader, v->header_id, HEADER_READ_BYTES + v->header_bytes, &o->header, err) < 0)
        goto out;
    rc = 0;
out:
    journal_read_end(&reader);
    if (rc < 0)
        return -1;
    if (v->header_id == 0)
        return body_begin_read(o, v, err);
    header_keep(&o->header);
    o->at = v->body_at;
    o->left = v->body_bytes;
    return 0;
}

static int original_copy(struct original *o, struct body_writer *to, struct err *err)
{
    unsigned char *part = mem_alloc(COPY_BYTES);
    int rc = 0;

    while (rc == 0 && o->left != 0) {
        size_t len = o->left < COPY_BYTES ? (size_t)o->left : COPY_BYTES;

        rc = journal_body_read(&o->body, o->at, part, len, err);
        if (rc == 0)
            rc = body_writer_write(to, slice_of(part, len), err);
        o->at += len;
        o->left -= len;
    }
    mem_free(part);
    return rc;
}

/* --- one notice --------------------------------------------------------------------------------------------------- */

struct making {
    const struct notices_conf *conf;
    const struct outcome_input *in;
    const struct outcome *out;
    const struct outcome_notice *notice;
    struct arena *mem;
};

static enum dsn_action action_of(enum dsn_kind k)
{
    static const enum dsn_action actions[DSN_KINDS] = {
        [DSN_KIND_FAILED] = DSN_FAILED,       [DSN_KIND_BOUNCED] = DSN_FAILED,   [DSN_KIND_TIMEDOUT] = DSN_FAILED,
        [DSN_KIND_DELAYED] = DSN_DELAYED,     [DSN_KIND_FORWARDED] = DSN_RELAYED,
        [DSN_KIND_DELIVERED] = DSN_DELIVERED, [DSN_KIND_EXPANDED] = DSN_EXPANDED,
    };

    return actions[k];
}

/* Status when nobody gave one: RFC 3463. */
static slice status_of(enum dsn_kind k, slice given)
{
    switch (k) {
    case DSN_KIND_DELAYED:
        return given.len != 0 && given.ptr[0] == '4' ? given : SLICE("4.4.7");
    case DSN_KIND_FORWARDED:
    case DSN_KIND_DELIVERED:
    case DSN_KIND_EXPANDED:
        return given.len != 0 && given.ptr[0] == '2' ? given : SLICE("2.0.0");
    case DSN_KIND_TIMEDOUT:
        return SLICE("4.4.7");
    default:
        return given.len != 0 && given.ptr[0] == '5' ? given : SLICE("5.0.0");
    }
}

/* "smtp;550 5.1.1 no" is a peer's word; anything else is ours. */
static void diag_split(struct dsn_rcpt *r, slice diag)
{
    bool found;
    slice rest = diag, type = slice_cut(&rest, ';', &found);

    if (found && (slice_eq_nocase(type, SLICE("smtp")) || slice_eq_nocase(type, SLICE("lmtp")))) {
        r->diag_type = SLICE("smtp"); /* the registered type; LMTP replies are SMTP replies */
        r->diag = r->reason = slice_trim(rest);
    } else {
        r->reason = diag;
    }
}

static struct dsn_rcpt *recipients_make(const struct making *m)
{
    const struct queue_entry *e = m->in->entry;
    struct dsn_rcpt *list = arena_alloc_array(m->mem, m->notice->rcpt_count, sizeof *list);

    for (unsigned i = 0; i < m->notice->rcpt_count; i++) {
        const struct queue_rcpt *q = &e->rcpts[m->notice->rcpts[i]];
        slice status = q->status, diag = q->diag.len != 0 ? q->diag : e->reason;

        for (unsigned k = 0; k < m->out->outcome_count; k++)
            if (m->out->outcomes[k].rcpt == m->notice->rcpts[i]) {
                status = m->out->outcomes[k].status;
                diag = m->out->outcomes[k].diag;
            }
        list[i] = (struct dsn_rcpt){
            .final = q->address,
            .original = q->original,
            .orcpt = q->orcpt,
            .action = action_of(m->notice->kind),
            .status = status_of(m->notice->kind, status),
            .last_attempt_ms = m->in->cause == CAUSE_ATTEMPT ? m->in->now_ms : e->attempted_ms,
            .retry_until_ms = m->notice->kind == DSN_KIND_DELAYED ? e->created_ms + m->out->allowed_ms : 0,
        };
        diag_split(&list[i], diag);
    }
    return list;
}

static slice unique(struct arena *mem, const char *before, const char *after, slice host)
{
    struct buf text = BUF_INIT;
    slice s;

    buf_printf(&text, "%s%016llx%016llx%s%.*s", before, (unsigned long long)random_u64(),
               (unsigned long long)random_u64(), after, SLICE_ARG(host));
    if (before[0] == '<')
        buf_put_byte(&text, '>');
    s = slice_dup(mem, buf_slice(&text));
    buf_free(&text);
    return s;
}

static bool returns_body(const struct making *m)
{
    const struct queue_entry *e = m->in->entry;
    bool is_failure = action_of(m->notice->kind) == DSN_FAILED;

    return is_failure && m->notice->to != TO_POSTMASTER && e->ret != RET_HDRS &&
           body_view_bytes(&e->view) <= m->in->channel->content_return_limit;
}

static int octets_make(struct journal *j, const struct making *m, slice message_id, struct body_writer **out,
                       struct err *err)
{
    const struct queue_entry *e = m->in->entry;
    struct body_writer *w = body_writer_new(j);
    struct buf head = BUF_INIT, tail = BUF_INIT;
    struct original original;
    struct dsn d = {
        .kind = m->notice->kind,
        .template = &m->conf->templates[m->notice->kind],
        .from_name = m->conf->return_personal,
        .from = m->conf->postmaster,
        .to = m->notice->to == TO_SENDER ? e->sender : m->conf->postmaster,
        .reporting_mta = m->conf->hostname,
        .envid = e->envid,
        .message_id = message_id,
        .original_message_id = e->message_id,
        .boundary = unique(m->mem, "=_", "", SLICE_NONE),
        .now_ms = m->in->now_ms,
        .arrival_ms = e->created_ms,
        .allowed_ms = m->out->allowed_ms,
        .units_are_hours = m->in->queue->notices_in_hours,
        .show_final = m->conf->final == 0,
        .is_utf8 = (e->flags & QUEUE_SMTPUTF8) != 0,
        .has_body = returns_body(m),
        .rcpts = recipients_make(m),
        .rcpt_count = m->notice->rcpt_count,
    };
    int rc = -1;

    /* a message that cannot be read any more must not keep its sender from being told */
    if (original_open(j, &e->view, &original, err) < 0) {
        d.has_body = false;
        buf_reset(&original.header);
    }
    d.header = buf_slice(&original.header);
    dsn_write(&d, &head, &tail);
    if (body_writer_write(w, buf_slice(&head), err) == 0 && (!d.has_body || original_copy(&original, w, err) == 0) &&
        body_writer_write(w, buf_slice(&tail), err) == 0 && body_writer_finish(w, err) == 0)
        rc = 0;
    if (rc < 0)
        body_writer_destroy(&w);
    original_free(&original);
    buf_free(&head);
    buf_free(&tail);
    *out = w;
    return rc;
}

int notice_addition(struct journal *j, const struct conf_set *conf, const struct outcome_input *in,
                    const struct outcome *out, const struct outcome_notice *n, struct arena *mem,
                    struct queue_addition **addition, struct err *err)
{
    const struct notices_conf *c = conf_section(conf, CONF_NOTICES);
    struct making m = { .conf = c, .in = in, .out = out, .notice = n, .mem = mem };
    struct queue_addition *a = arena_alloc(mem, sizeof *a);
    struct queue_rcpt *rcpt = arena_alloc(mem, sizeof *rcpt);
    slice message_id = unique(mem, "<", "@", c->hostname);

    if (octets_make(j, &m, message_id, &a->body, err) < 0)
        return -1;
    rcpt->address = n->to == TO_SENDER ? in->entry->sender : c->postmaster;
    rcpt->notify = NOTIFY_NEVER;
    a->entry = (struct queue_entry){
        .channel = CHANNEL_PROCESS,
        .host = c->hostname,
        .priority = QUEUE_NORMAL,
        .flags = QUEUE_IS_NOTICE | (n->to != TO_SENDER ? QUEUE_DOUBLE_BOUNCE : 0) |
                 (in->entry->flags & QUEUE_SMTPUTF8),
        .message_id = message_id,
        .body = BODY_8BITMIME,
        .source = in->entry->channel,
        .session = in->entry->session,
        .source_host = c->hostname,
        .rcpts = rcpt,
        .rcpt_count = 1,
    };
    *addition = a;
    return 0;
}

int notice_compose(struct journal *j, const struct conf_set *conf, const struct outcome_input *in,
                   const struct outcome *out, struct queue_request *r, struct err *err)
{
    struct queue_addition **end = &r->additions;

    while (*end != NULL)
        end = &(*end)->next;
    r->entry = in->entry->id;
    r->outcomes = out->outcomes;
    r->outcome_count = out->outcome_count;
    r->due_ms = out->due_ms;
    r->is_attempt = in->cause == CAUSE_ATTEMPT;
    r->is_warning = out->is_warning;
    r->notice_ms = out->notice_ms;
    for (const struct outcome_notice *n = out->notices; n != NULL; n = n->next) {
        if (notice_addition(j, conf, in, out, n, &r->mem, end, err) < 0)
            return -1;
        end = &(*end)->next;
    }
    return 0;
}
