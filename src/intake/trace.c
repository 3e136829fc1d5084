#include "intake/trace.h"

#include "base/bytes.h"
#include "intake/internal.h"

#define FORMAT 1
#define RCPT_OCTETS_MIN 6u   /* of an encoded recipient */
#define TARGET_OCTETS_MIN 3u /* of an encoded target */

/* --- octets ------------------------------------------------------------------------------------------------------- */

static void put_target(struct buf *out, const struct trace_target *t)
{
    buf_put_byte(out, t->fate);
    buf_put_lenstr(out, t->address);
    switch (t->fate) {
    case TRACE_MAILBOX:
        buf_put_varint(out, t->account);
        buf_put_varint(out, t->uidvalidity);
        buf_put_varint(out, t->uid);
        break;
    case TRACE_QUEUED:
        buf_put_varint(out, t->entry);
        buf_put_lenstr(out, t->channel);
        buf_put_lenstr(out, t->host);
        break;
    default:
        buf_put_lenstr(out, t->status);
        break;
    }
}

static bool read_target(struct reader *r, struct trace_target *t)
{
    *t = (struct trace_target){ .fate = read_u8(r), .address = read_lenstr(r) };
    switch (t->fate) {
    case TRACE_MAILBOX:
        t->account = read_varint(r);
        t->uidvalidity = (uint32_t)read_varint(r);
        t->uid = (uint32_t)read_varint(r);
        return !r->failed;
    case TRACE_QUEUED:
        t->entry = read_varint(r);
        t->channel = read_lenstr(r);
        t->host = read_lenstr(r);
        return !r->failed;
    case TRACE_REFUSED:
        t->status = read_lenstr(r);
        return !r->failed;
    default:
        return false;
    }
}

static void put_rcpt(struct buf *out, const struct trace_rcpt *p)
{
    buf_put_byte(out, p->bits);
    buf_put_varint(out, p->notify);
    buf_put_lenstr(out, p->address);
    buf_put_lenstr(out, p->orcpt);
    buf_put_lenstr(out, p->status);
    buf_put_varint(out, p->target_count);
    for (unsigned i = 0; i < p->target_count; i++)
        put_target(out, &p->targets[i]);
}

/* A number of things of which each takes so many octets at least. */
static bool read_count(struct reader *r, size_t each, unsigned *out)
{
    uint64_t n = read_varint(r);

    if (r->failed || n > r->rest.len / each)
        return false;
    *out = (unsigned)n;
    return true;
}

static bool read_rcpt(struct reader *r, struct arena *mem, struct trace_rcpt *p)
{
    *p = (struct trace_rcpt){ .bits = read_u8(r) };
    p->notify = (uint32_t)read_varint(r);
    p->address = read_lenstr(r);
    p->orcpt = read_lenstr(r);
    p->status = read_lenstr(r);
    if (!read_count(r, TARGET_OCTETS_MIN, &p->target_count))
        return false;
    p->targets = arena_alloc_array(mem, p->target_count + 1, sizeof *p->targets);
    for (unsigned i = 0; i < p->target_count; i++)
        if (!read_target(r, &p->targets[i]))
            return false;
    return true;
}

/* The texts, in the order of the record. */
#define TEXTS(t)                                                                                                       \
    {                                                                                                                  \
        &(t)->id, &(t)->address, &(t)->name, &(t)->helo, &(t)->tls_version, &(t)->tls_cipher, &(t)->user,              \
            &(t)->mechanism, &(t)->channel, &(t)->sender, &(t)->message_id, &(t)->envid                                \
    }

void trace_encode(struct buf *out, const struct trace *t)
{
    const slice *texts[] = TEXTS(t);

    buf_put_byte(out, FORMAT);
    buf_put_byte(out, t->source);
    buf_put_byte(out, t->bits);
    buf_put_byte(out, t->priority);
    buf_put_varint(out, t->bytes);
    buf_put_varint(out, t->body);
    buf_put_varint(out, t->parent);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        buf_put_lenstr(out, *texts[i]);
    buf_put_varint(out, t->rcpt_count);
    for (unsigned i = 0; i < t->rcpt_count; i++)
        put_rcpt(out, &t->rcpts[i]);
}

bool trace_decode(slice octets, struct arena *mem, struct trace *out)
{
    struct reader r = reader_of(octets);
    slice *texts[] = TEXTS(out);

    if (read_u8(&r) != FORMAT)
        return false;
    *out = (struct trace){ .source = read_u8(&r) };
    out->bits = read_u8(&r);
    out->priority = read_u8(&r);
    out->bytes = read_varint(&r);
    out->body = read_varint(&r);
    out->parent = read_varint(&r);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = read_lenstr(&r);
    if (out->source >= INTAKE_SOURCES || !read_count(&r, RCPT_OCTETS_MIN, &out->rcpt_count))
        return false;
    out->rcpts = arena_alloc_array(mem, out->rcpt_count + 1, sizeof *out->rcpts);
    for (unsigned i = 0; i < out->rcpt_count; i++)
        if (!read_rcpt(&r, mem, &out->rcpts[i]))
            return false;
    return reader_done(&r);
}

/* --- rows of the record type -------------------------------------------------------------------------------------- */

void trace_dump(const struct record *r, struct buf *out)
{
    struct arena mem;
    struct trace t;

    arena_init(&mem, 1024);
    if (trace_decode(r->payload, &mem, &t)) {
        buf_printf(out, "id=%.*s client=%.*s sender=<%.*s> message_id=%.*s recipients=%u", SLICE_ARG(t.id),
                   SLICE_ARG(t.address), SLICE_ARG(t.sender), SLICE_ARG(t.message_id), t.rcpt_count);
        for (unsigned i = 0; i < t.rcpt_count; i++)
            buf_printf(out, " %.*s", SLICE_ARG(t.rcpts[i].address));
    }
    arena_free(&mem);
}

static void key_put(slice key, journal_key_fn *fn, void *arg)
{
    if (key.len != 0)
        fn(arg, key);
}

void trace_keys(const struct record *r, journal_key_fn *key, void *arg)
{
    struct arena mem;
    struct trace t;
    slice id;

    arena_init(&mem, 1024);
    if (trace_decode(r->payload, &mem, &t)) {
        id = t.message_id;
        if (id.len > 2 && id.ptr[0] == '<' && id.ptr[id.len - 1] == '>')
            id = slice_sub(id, 1, id.len - 2);
        key_put(id, key, arg);
        key_put(t.id, key, arg);
        key_put(t.sender, key, arg);
        for (unsigned i = 0; i < t.rcpt_count; i++) {
            const struct trace_rcpt *p = &t.rcpts[i];

            key_put(p->address, key, arg);
            for (unsigned k = 0; k < p->target_count; k++)
                if (!slice_eq(p->targets[k].address, p->address))
                    key_put(p->targets[k].address, key, arg);
        }
    }
    arena_free(&mem);
}

/* --- of a transaction --------------------------------------------------------------------------------------------- */

static slice reply_text(struct arena *mem, enum intake_reply reply)
{
    struct buf text = BUF_INIT;
    slice out;

    buf_printf(&text, "%s %s", intake_replies[reply].enhanced, intake_replies[reply].text);
    out = slice_dup(mem, buf_slice(&text));
    buf_free(&text);
    return out;
}

static void target_fill(struct trace_target *to, const struct target *t, struct arena *mem)
{
    static const uint8_t fates[] = {
        [FATE_REFUSED] = TRACE_REFUSED, [FATE_MAILBOX] = TRACE_MAILBOX, [FATE_QUEUED] = TRACE_QUEUED
    };

    *to = (struct trace_target){ .fate = fates[t->fate],
                                 .address = t->address,
                                 .account = t->account,
                                 .entry = t->entry,
                                 .uidvalidity = t->uidvalidity,
                                 .uid = t->uid,
                                 .channel = t->channel,
                                 .host = t->host };
    if (t->fate == FATE_REFUSED)
        to->status = reply_text(mem, t->verdict);
}

static void rcpt_fill(struct trace_rcpt *to, const struct accepted *a, struct arena *mem)
{
    struct buf address = BUF_INIT;

    address_print(&a->rcpt.address, &address);
    *to = (struct trace_rcpt){ .bits = (uint8_t)((a->is_alias ? TRACE_ALIAS : 0) |
                                                 (a->verdict == INTAKE_R_OK ? TRACE_ACCEPTED : 0)),
                               .notify = a->rcpt.notify,
                               .address = slice_dup(mem, buf_slice(&address)),
                               .orcpt = a->rcpt.orcpt,
                               .target_count = a->target_count };
    buf_free(&address);
    to->status = reply_text(mem, a->verdict == INTAKE_R_OK ? INTAKE_R_RCPT_OK : a->verdict);
    to->targets = arena_alloc_array(mem, a->target_count + 1, sizeof *to->targets);
    for (unsigned i = 0; i < a->target_count; i++)
        target_fill(&to->targets[i], a->targets[i], mem);
}

static slice text_dup(struct arena *mem, struct buf *text)
{
    slice out = slice_dup(mem, buf_slice(text));

    buf_reset(text);
    return out;
}

void trace_begin(struct intake_tx *tx, struct arena *mem)
{
    const struct intake_peer *p = tx->peer;
    struct buf text = BUF_INIT;
    struct trace *t = &tx->trace;

    *t = (struct trace){
        .source = (uint8_t)p->source,
        .bits = (uint8_t)((p->is_esmtp ? TRACE_ESMTP : 0) | (p->is_tls ? TRACE_TLS : 0) |
                          (tx->from.is_null_sender ? TRACE_NULL_SENDER : 0) |
                          (tx->from.smtputf8 ? TRACE_SMTPUTF8 : 0) | (tx->is_held ? TRACE_HELD : 0)),
        .priority = (uint8_t)tx->priority,
        .bytes = tx->bytes,
        .parent = tx->known != NULL ? tx->known->id : 0,
        .id = slice_of(tx->id, sizeof tx->id),
        .helo = slice_dup(mem, p->helo),
        .tls_version = slice_dup(mem, slice_str(p->tls_version)),
        .tls_cipher = slice_dup(mem, slice_str(p->tls_cipher)),
        .user = p->user != NULL ? slice_dup(mem, p->user->address) : SLICE_NONE,
        .mechanism = slice_dup(mem, p->auth_mechanism),
        .channel = route_source(tx),
        .message_id = tx->message_id,
        .envid = tx->from.envid,
    };
    tx->is_chunked = p->is_chunked;
    tx->is_pipelined = p->is_pipelined;
    if (p->source != INTAKE_PROCESS) {
        net_addr_print_host(&p->addr, &text);
        t->address = text_dup(mem, &text);
        buf_printf(&text, "%.*s ([%.*s])", SLICE_ARG(t->helo), SLICE_ARG(t->address));
        tx->source_host = text_dup(mem, &text);
    }
    if (!tx->from.is_null_sender)
        address_print(&tx->from.from, &text);
    t->sender = text_dup(mem, &text);
    buf_free(&text);
}

void trace_emit(struct intake_tx *tx, struct journal_tx *jtx, uint64_t body)
{
    struct trace *t = &tx->trace;
    struct buf payload = BUF_INIT;
    struct arena mem;
    unsigned i = 0;

    arena_init(&mem, 2048);
    t->body = body;
    t->rcpt_count = tx->accepted_count;
    t->rcpts = arena_alloc_array(&mem, tx->accepted_count + 1, sizeof *t->rcpts);
    for (const struct accepted *a = tx->first; a != NULL; a = a->next)
        rcpt_fill(&t->rcpts[i++], a, &mem);
    trace_encode(&payload, t);
    t->rcpts = NULL;
    t->rcpt_count = 0;
    journal_emit(jtx, TRACE_RECORD, 0, 0, RECORD_END, buf_slice(&payload));
    buf_free(&payload);
    arena_free(&mem);
}
