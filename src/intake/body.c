/* body.c - the message as it comes: its header is looked at, trace fields go in front, all of it goes to a body writer.
 *
 * Layout of the body: Return-Path: and Delivered-To: of the first target, the shared trace fields, the header as it
 * came without older Return-Path: fields, the rest. The first target's view is the body as it is; the others replace
 * everything up to header_end by a block of their own. */
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
static void put_missing(const struct intake_tx *tx, slice header, struct buf *out)
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
        buf_put_str(out, "Message-ID: <");
        buf_put(out, tx->id, sizeof tx->id);
        buf_put_byte(out, '@');
        buf_put_slice(out, tx->peer->hostname);
        buf_put_str(out, ">\r\n");
    }
}

/* Return-Path: (RFC 5321 4.4) and Delivered-To: (RFC 9228) of one target. */
static void put_own_fields(const struct intake_tx *tx, const struct target *t, struct buf *out)
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

/* Looks for loops, and writes the header without the Return-Path: fields of former deliveries. */
static bool put_header(struct intake_tx *tx, slice header, struct buf *out)
{
    slice rest = header, kept = header;
    struct header_field f;
    unsigned received = 0;

    while (header_next(&rest, &f)) {
        switch (f.name.len) {
        case 8:
            received += slice_eq_nocase(f.name, SLICE("Received"));
            break;
        case 11:
            if (!slice_eq_nocase(f.name, SLICE("Return-Path")))
                break;
            buf_put(out, kept.ptr, (size_t)(f.raw.ptr - kept.ptr));
            kept = slice_from(header, (size_t)(f.raw.ptr + f.raw.len - header.ptr));
            break;
        case 12:
            if (slice_eq_nocase(f.name, SLICE("Delivered-To")))
                mark_looping(tx, f.value);
            break;
        default:
            break;
        }
    }
    buf_put_slice(out, kept);
    if (received <= tx_conf(tx)->received_max)
        return true;
    body_spoil(tx, INTAKE_R_LOOP);
    return false;
}

/* The header is there, with its empty line if there is one. */
static void head_complete(struct intake_tx *tx, slice header)
{
    struct buf out = BUF_INIT;
    size_t own;

    tx->writer = body_writer_new(tx->in->journal);
    buf_reserve(&out, header.len + 1024);
    put_own_fields(tx, tx->targets, &out);
    own = out.len;
    put_received(tx, &out);
    put_missing(tx, header, &out);
    if (!put_header(tx, header, &out))
        goto out;
    tx->phase = BODY_REST;
    tx->header_end = (uint32_t)out.len;
    if (!writer_put(tx, buf_slice(&out)))
        goto out;
    buf_reset(&tx->head);
    if (tx->target_count > 1) /* the others' blocks are made of it */
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

/* Header blocks of all targets but the first. Many recipients of a large header share one without Delivered-To:. */
static void blocks_make(struct intake_tx *tx)
{
    bool is_shared = (uint64_t)tx->head.len * tx->target_count > BLOCKS_MAX_BYTES;
    struct buf block = BUF_INIT;
    unsigned i = 0;

    for (const struct target *t = tx->targets; t != NULL; t = t->next, i++) {
        struct store_delivery_target *d = &tx->deliveries[i];

        d->account = t->account;
        d->mailbox = SLICE("INBOX");
        if (i == 0)
            continue;
        d->body_at = tx->header_end;
        if (is_shared && i > 1) {
            d->header = d[-1].header;
            continue;
        }
        buf_reset(&block);
        put_own_fields(tx, t, &block);
        if (is_shared) { /* only the first of the two fields */
            ssize_t line = slice_find(buf_slice(&block), SLICE("\r\n"));

            block.len = (size_t)line + 2;
        }
        buf_put_slice(&block, buf_slice(&tx->head));
        d->header = slice_dup(&tx->mem, buf_slice(&block));
    }
    buf_free(&block);
}

static enum intake_status refuse(struct intake_tx *tx, enum intake_reply why)
{
    for (struct accepted *a = tx->first; a != NULL; a = a->next)
        a->verdict = why;
    tx->verdict = why;
    tx_count_end(tx, 0);
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
    tx->deliveries = arena_alloc_array(&tx->mem, tx->target_count, sizeof *tx->deliveries);
    blocks_make(tx);
    return deliver_begin(tx);
}
