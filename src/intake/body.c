/* body.c - the message as it comes: its header is looked at, trace fields go in front, all of it goes to a body writer.
 *
 * Layout of the body: Return-Path: and Delivered-To: of the first target if all are mailboxes, the shared trace fields,
 * the header as it came without older Return-Path: fields, the rest. The first target's view, or that of all who are
 * elsewhere, is the body as it is; the others replace everything up to header_end by a block of their own. */
#include "intake/internal.h"

#include "base/diag.h"
#include "mail/date.h"
#include "mail/header.h"

static void body_spoil(struct intake_tx *tx, enum intake_reply why)
{
    if (tx->phase == BODY_SPOILT)
        return;
    tx->phase = BODY_SPOILT;
    tx->spoilt_by = why;
    buf_free(&tx->head);
    body_writer_destroy(&tx->writer);
}

void body_drop(struct intake_tx *tx)
{
    body_writer_destroy(&tx->writer);
    buf_free(&tx->head);
    tx->phase = BODY_NONE;
    tx->bytes = 0;
    tx->header_end = 0;
    tx->has_blocks = tx->is_held = false;
    tx->message_id = SLICE_NONE;
    tx->priority = QUEUE_NORMAL;
    tx->known = NULL;
}

void intake_body_begin(struct intake_tx *tx)
{
    ASSERT(tx->state == TX_RCPT);
    tx->state = TX_BODY;
    tx->phase = BODY_HEAD;
    tx->bytes = 0;
}

void intake_body_spoil(struct intake_tx *tx, enum intake_reply why)
{
    ASSERT(tx->state == TX_BODY);
    body_spoil(tx, why);
}

/* --- trace fields: RFC 5321 4.4 ----------------------------------------------------------------------------------- */

/* "ESMTPSA" and the like: RFC 3848, RFC 6531 4.3. */
static void put_protocol(const struct intake_tx *tx, struct buf *out)
{
    const struct intake_peer *p = tx->peer;

    if (tx->from.smtputf8)
        buf_put_str(out, p->source == INTAKE_LMTP ? "UTF8LMTP" : "UTF8SMTP");
    else if (p->source == INTAKE_LMTP)
        buf_put_str(out, "LMTP");
    else
        buf_put_str(out, p->is_esmtp ? "ESMTP" : "SMTP");
    if ((p->is_esmtp || p->source == INTAKE_LMTP) && p->is_tls)
        buf_put_byte(out, 'S');
    if ((p->is_esmtp || p->source == INTAKE_LMTP) && p->user != NULL)
        buf_put_byte(out, 'A');
}

static void put_received(const struct intake_tx *tx, struct buf *out)
{
    const struct intake_peer *p = tx->peer;
    int64_t now = clock_wall_ms(tx->in->clock);

    buf_put_str(out, "Received: from ");
    if (p->helo.len != 0)
        buf_put_slice(out, p->helo);
    else
        buf_put_str(out, "unknown");
    buf_put_str(out, " (");
    if (p->addr.sa.sa_family == AF_UNIX || p->addr.len == 0)
        buf_put_str(out, "local socket");
    else
        net_addr_print_literal(&p->addr, out);
    buf_put_byte(out, ')');
    if (p->is_tls && p->tls_version != NULL)
        buf_printf(out, "\r\n\t(using %s with cipher %s)", p->tls_version, p->tls_cipher != NULL ? p->tls_cipher : "?");
    buf_put_str(out, "\r\n\tby ");
    buf_put_slice(out, p->hostname);
    buf_put_str(out, " with ");
    put_protocol(tx, out);
    buf_put_str(out, " id ");
    buf_put(out, tx->id, sizeof tx->id);
    /* With several recipients the clause would tell each about the others. */
    if (tx->accepted_count == 1) {
        buf_put_str(out, "\r\n\tfor <");
        address_print(&tx->first->rcpt.address, out);
        buf_put_byte(out, '>');
    }
    buf_put_str(out, ";\r\n\t");
    date_print(now, date_zone_now_min(now), out);
    buf_put_str(out, "\r\n");
}

/* What a submitted message must have and lacks: RFC 6409 8. */
static void put_missing(struct intake_tx *tx, slice header, struct buf *out)
{
    int64_t now = clock_wall_ms(tx->in->clock);
    slice value;

    if (tx->peer->source != INTAKE_SUBMISSION)
        return;
    if (!header_find(header, SLICE("Date"), &value)) {
        buf_put_str(out, "Date: ");
        date_print(now, date_zone_now_min(now), out);
        buf_put_str(out, "\r\n");
    }
    if (!header_find(header, SLICE("Message-ID"), &value)) {
        size_t at = out->len + strlen("Message-ID: ");

        buf_put_str(out, "Message-ID: <");
        buf_put(out, tx->id, sizeof tx->id);
        buf_put_byte(out, '@');
        buf_put_slice(out, tx->peer->hostname);
        buf_put_byte(out, '>');
        tx->message_id = slice_dup(&tx->mem, slice_from(buf_slice(out), at));
        buf_put_str(out, "\r\n");
    }
}

void put_own_fields(const struct intake_tx *tx, const struct target *t, struct buf *out)
{
    buf_put_str(out, "Return-Path: <");
    if (!tx->from.is_null_sender)
        address_print(&tx->from.from, out);
    buf_put_str(out, ">\r\nDelivered-To: ");
    buf_put_slice(out, t->address);
    buf_put_str(out, "\r\n");
}

/* --- the header --------------------------------------------------------------------------------------------------- */

static void mark_looping(struct intake_tx *tx, slice value)
{
    slice address = slice_trim(value);

    for (struct target *t = tx->targets; t != NULL; t = t->next)
        if (slice_eq_nocase(t->address, address))
            t->is_looping = true;
}

static bool writer_put(struct intake_tx *tx, slice s)
{
    struct err err = ERR_INIT;

    if (s.len == 0 || body_writer_write(tx->writer, s, &err) == 0)
        return true;
    if (err.kind != ERR_FULL)
        diag_warn("intake", "message %.*s: %s", (int)sizeof tx->id, tx->id, err.text);
    body_spoil(tx, err.kind == ERR_FULL    ? INTAKE_R_FULL
                   : err.kind == ERR_LIMIT ? INTAKE_R_TOO_LARGE
                                           : INTAKE_R_TEMP);
    return false;
}

/* Priority: urgent, X-Priority: 1 (Highest), Importance: high, and their opposites. */
static enum queue_priority priority_read(slice value)
{
    static const struct {
        const char *word;
        enum queue_priority priority;
    } words[] = { { "urgent", QUEUE_URGENT },       { "high", QUEUE_URGENT },     { "1", QUEUE_URGENT },
                  { "2", QUEUE_URGENT },            { "low", QUEUE_NONURGENT },   { "non-urgent", QUEUE_NONURGENT },
                  { "nonurgent", QUEUE_NONURGENT }, { "4", QUEUE_NONURGENT },     { "5", QUEUE_NONURGENT } };
    slice rest = slice_trim(value), word = slice_word(&rest);

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (slice_eq_nocase(word, slice_str(words[i].word)))
            return words[i].priority;
    return QUEUE_NORMAL;
}

#define MESSAGE_ID_MAX_OCTETS 998u /* a line: RFC 5322 2.1.1 */

/* One field; the first of several counts. */
static void field_look(struct intake_tx *tx, const struct header_field *f, unsigned *received)
{
    bool is_priority = false;

    switch (f->name.len) {
    case 8:
        *received += slice_eq_nocase(f->name, SLICE("Received"));
        is_priority = slice_eq_nocase(f->name, SLICE("Priority"));
        break;
    case 10:
        is_priority = slice_eq_nocase(f->name, SLICE("X-Priority")) || slice_eq_nocase(f->name, SLICE("Importance"));
        if (slice_eq_nocase(f->name, SLICE("Message-ID")) && tx->message_id.len == 0)
            tx->message_id = slice_dup(&tx->mem, slice_sub(slice_trim(f->value), 0, MESSAGE_ID_MAX_OCTETS));
        break;
    case 12:
        if (slice_eq_nocase(f->name, SLICE("Delivered-To")))
            mark_looping(tx, f->value);
        break;
    default:
        break;
    }
    if (is_priority && tx->priority == QUEUE_NORMAL)
        tx->priority = priority_read(f->value);
}

bool header_take(struct intake_tx *tx, slice header, struct buf *out)
{
    slice rest = header, kept = header;
    struct header_field f;
    unsigned received = 0;

    while (header_next(&rest, &f)) {
        field_look(tx, &f, &received);
        if (out == NULL || f.name.len != 11 || !slice_eq_nocase(f.name, SLICE("Return-Path")))
            continue;
        buf_put(out, kept.ptr, (size_t)(f.raw.ptr - kept.ptr));
        kept = slice_from(header, (size_t)(f.raw.ptr + f.raw.len - header.ptr));
    }
    if (out != NULL)
        buf_put_slice(out, kept);
    if (received <= tx_conf(tx)->received_max)
        return true;
    tx->is_held = tx_conf(tx)->looping == LOOPING_HOLD;
    return tx->is_held;
}

/* The header is there, with its empty line if there is one. */
static void head_complete(struct intake_tx *tx, slice header)
{
    struct buf out = BUF_INIT;
    size_t own;

    tx->writer = body_writer_new(tx->in->journal);
    tx->has_blocks = tx->mailbox_count != tx->target_count;
    buf_reserve(&out, header.len + 1024);
    if (!tx->has_blocks)
        put_own_fields(tx, tx->targets, &out);
    own = out.len;
    put_received(tx, &out);
    put_missing(tx, header, &out);
    if (!header_take(tx, header, &out)) {
        body_spoil(tx, INTAKE_R_LOOP);
        goto out;
    }
    tx->phase = BODY_REST;
    tx->header_end = (uint32_t)out.len;
    if (!writer_put(tx, buf_slice(&out)))
        goto out;
    buf_reset(&tx->head);
    if (tx->mailbox_count > (tx->has_blocks ? 0 : 1)) /* blocks are made of it */
        buf_put_slice(&tx->head, slice_from(buf_slice(&out), own));
    else
        buf_free(&tx->head);
out:
    buf_free(&out);
}

/* Where the header ends in `part`, given the last octets before it: behind the first empty line. -1: not here. */
static ssize_t head_end(const struct intake_tx *tx, slice part)
{
    unsigned char seam[6];
    size_t before = tx->head.len < 3 ? tx->head.len : 3, n = part.len < 3 ? part.len : 3;
    ssize_t at;

    if (tx->head.len == 0 && slice_starts(part, SLICE("\r\n")))
        return 2;
    if (before != 0) {
        memcpy(seam, tx->head.ptr + tx->head.len - before, before);
        memcpy(seam + before, part.ptr, n);
        at = slice_find(slice_of(seam, before + n), SLICE("\r\n\r\n"));
        if (at >= 0)
            return at + 4 - (ssize_t)before;
        if (tx->head.len == 1 && tx->head.ptr[0] == '\r' && part.ptr[0] == '\n')
            return 1;
    }
    at = slice_find(part, SLICE("\r\n\r\n"));
    return at < 0 ? -1 : at + 4;
}

static slice head_part(struct intake_tx *tx, slice part)
{
    ssize_t end = head_end(tx, part);
    size_t more = end < 0 ? part.len : (size_t)end;

    if (tx->head.len + more > tx_conf(tx)->header_bytes_max) {
        body_spoil(tx, INTAKE_R_HEADER_TOO_LARGE);
        return SLICE_NONE;
    }
    if (end >= 0 && tx->head.len == 0) { /* the usual case: nothing is copied */
        head_complete(tx, slice_sub(part, 0, more));
        return slice_from(part, more);
    }
    buf_put_slice(&tx->head, slice_sub(part, 0, more));
    if (end >= 0) {
        struct buf header = tx->head;

        tx->head = BUF_INIT;
        head_complete(tx, buf_slice(&header));
        buf_free(&header);
    }
    return slice_from(part, more);
}

void intake_body_part(struct intake_tx *tx, slice octets)
{
    ASSERT(tx->state == TX_BODY);
    if (octets.len == 0)
        return;
    tx->bytes += octets.len;
    if (tx->phase != BODY_SPOILT && tx->bytes > tx_conf(tx)->message_bytes_max)
        body_spoil(tx, INTAKE_R_TOO_LARGE);
    if (tx->phase == BODY_HEAD)
        octets = head_part(tx, octets);
    if (tx->phase == BODY_REST)
        writer_put(tx, octets);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

#define BLOCKS_MAX_BYTES (8u * 1024 * 1024)

void blocks_make(struct intake_tx *tx, slice header)
{
    /* Many recipients of a large header share one block without Delivered-To:. */
    bool is_shared = (uint64_t)header.len * tx->mailbox_count > BLOCKS_MAX_BYTES;
    struct buf block = BUF_INIT;
    slice shared = SLICE_NONE;

    for (struct target *t = tx->targets; t != NULL; t = t->next) {
        if (t->kind != TARGET_MAILBOX || (t->index == 0 && !tx->has_blocks))
            continue;
        if (shared.len != 0) {
            t->block = shared;
            continue;
        }
        buf_reset(&block);
        put_own_fields(tx, t, &block);
        if (is_shared) { /* only the first of the two fields */
            ssize_t line = slice_find(buf_slice(&block), SLICE("\r\n"));

            block.len = (size_t)line + 2;
        }
        buf_put_slice(&block, header);
        t->block = slice_dup(&tx->mem, buf_slice(&block));
        if (is_shared)
            shared = t->block;
    }
    buf_free(&block);
}

static enum intake_status refuse(struct intake_tx *tx, enum intake_reply why)
{
    for (struct accepted *a = tx->first; a != NULL; a = a->next)
        a->verdict = why;
    tx->verdict = why;
    tx_count_end(tx, NULL);
    record_refused(tx);
    return INTAKE_NOW;
}

enum intake_status intake_body_end(struct intake_tx *tx)
{
    ASSERT(tx->state == TX_BODY);
    tx->state = TX_COMMITTING;
    if (tx->phase == BODY_HEAD) { /* a message without an empty line is all header */
        struct buf header = tx->head;

        tx->head = BUF_INIT;
        head_complete(tx, buf_slice(&header));
        buf_free(&header);
    }
    if (tx->phase == BODY_SPOILT)
        return refuse(tx, tx->spoilt_by);
    blocks_make(tx, buf_slice(&tx->head));
    return deliver_begin(tx);
}
