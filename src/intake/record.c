/* record.c - what came in, for people: records of the transaction log (E, D, S, J, V) and the channels' numbers.
 *
 * Written when the journal has answered, so the log never tells of a message that a crash took back. */
#include "intake/internal.h"

#include "log/txlog.h"
#include "queue/tally.h"

#define CHANNELS_SEEN 16u
#define MODIFIERS_MAX 8u
#define RECORD_ARENA_BYTES 512u

void intake_observe(struct intake *in, struct txlog *log, struct tally *tally)
{
    in->log = log;
    in->tally = tally;
}

slice intake_channel(const struct intake_tx *tx)
{
    return route_source(tx);
}

void intake_count(struct intake_tx *tx, enum intake_count what)
{
    static const enum tally_number numbers[] = {
        [INTAKE_CONNECTED] = TALLY_IN_ASSOCS, [INTAKE_AUTH_OK] = TALLY_AUTH_OK, [INTAKE_AUTH_FAILED] = TALLY_AUTH_FAILED
    };

    tally_add_number(tx->in->tally, route_source(tx), numbers[what], 1);
}

/* --- what all records of a message share -------------------------------------------------------------------------- */

struct words {
    struct buf text;
    struct arena mem;
    bool has_trace; /* only for these records, in mem */
    char modifiers[MODIFIERS_MAX];
};

static slice modifiers(const struct intake_tx *tx, char out[MODIFIERS_MAX])
{
    const struct trace *t = &tx->trace;
    size_t n = 0;

    if (t->source == INTAKE_PROCESS)
        return SLICE_NONE;
    if (t->source == INTAKE_LMTP)
        out[n++] = 'L';
    else if ((t->bits & TRACE_ESMTP) != 0)
        out[n++] = 'E';
    if (tx->is_chunked)
        out[n++] = 'C';
    if (tx->is_pipelined)
        out[n++] = 'Q';
    if ((t->bits & TRACE_TLS) != 0)
        out[n++] = 'S';
    if (t->mechanism.len != 0)
        out[n++] = 'A';
    return slice_of(out, n);
}

/* Of a message that did not come as far as the trace, it is made here, and not in the message's memory: the directory
 * may be writing there. */
static struct txlog_record begin(struct intake_tx *tx, struct words *w)
{
    const struct trace *t = &tx->trace;

    buf_init(&w->text);
    arena_init(&w->mem, RECORD_ARENA_BYTES);
    w->has_trace = t->id.len == 0;
    if (w->has_trace)
        trace_begin(tx, &w->mem);
    return (struct txlog_record){
        .modifiers = modifiers(tx, w->modifiers),
        .session = t->id,
        .source = t->channel,
        .bytes = tx->bytes,
        .sender = t->sender,
        .envid = t->envid,
        .message_id = tx->message_id,
        .user = t->user,
        .source_system = tx->known != NULL ? tx->known->source_host : tx->source_host,
    };
}

static void end(struct intake_tx *tx, struct words *w)
{
    if (w->has_trace) { /* what follows may change it: AUTH, another sender */
        tx->trace = (struct trace){ 0 };
        tx->source_host = SLICE_NONE;
    }
    arena_free(&w->mem);
    buf_free(&w->text);
}

static uint32_t notary(const struct intake_tx *tx, uint32_t notify)
{
    uint32_t n = tx->from.ret == RET_HDRS ? TXLOG_HEADERS : 0;

    if (notify == 0)
        return n | TXLOG_FAILURE | TXLOG_DELAY;
    n |= (notify & NOTIFY_NEVER) != 0 ? TXLOG_NEVER : 0;
    n |= (notify & NOTIFY_SUCCESS) != 0 ? TXLOG_SUCCESS : 0;
    n |= (notify & NOTIFY_FAILURE) != 0 ? TXLOG_FAILURE : 0;
    return n | ((notify & NOTIFY_DELAY) != 0 ? TXLOG_DELAY : 0);
}

/* The recipient as it was named; it holds until the next call. */
static slice rcpt_named(struct words *w, const struct recipient *r)
{
    buf_reset(&w->text);
    address_print(&r->address, &w->text);
    return buf_slice(&w->text);
}

static slice original(const struct recipient *r, slice named)
{
    if (slice_starts_nocase(r->orcpt, SLICE("rfc822;")))
        return slice_from(r->orcpt, 7);
    return r->orcpt.len != 0 ? r->orcpt : named;
}

/* --- refused ------------------------------------------------------------------------------------------------------ */

static void write_refused(struct intake_tx *tx, char code, struct txlog_record *base, struct words *w,
                          const struct recipient *rcpt, enum intake_reply why)
{
    struct txlog_record r = *base;
    char reply[160];
    int len = snprintf(reply, sizeof reply, "%u %s %s", intake_replies[why].code, intake_replies[why].enhanced,
                       intake_replies[why].text);

    r.code = code;
    r.diagnostic = slice_of(reply, (size_t)len);
    if (rcpt != NULL) {
        r.rcpt = rcpt_named(w, rcpt);
        r.orcpt = original(rcpt, r.rcpt);
        r.notary = notary(tx, rcpt->notify);
    }
    txlog_write(tx->in->log, &r);
}

void record_refused_one(struct intake_tx *tx, const struct recipient *rcpt, enum intake_reply why)
{
    struct words w;

    if (tx->peer == NULL || tx->peer->source == INTAKE_PROCESS)
        return;
    tally_add(tx->in->tally, route_source(tx), TALLY_REJECTED, rcpt == NULL, rcpt != NULL, 0);
    if (tx->in->log != NULL) {
        struct txlog_record base = begin(tx, &w);

        base.bytes = 0;
        write_refused(tx, 'J', &base, &w, rcpt, why);
        end(tx, &w);
    }
}

void record_refused(struct intake_tx *tx)
{
    struct words w;
    struct txlog_record base;
    unsigned n = 0;

    if (tx->known != NULL || (tx->in->log == NULL && tx->in->tally == NULL))
        return;
    base = begin(tx, &w);
    for (const struct accepted *a = tx->first; a != NULL; a = a->next) {
        if (a->verdict == INTAKE_R_OK)
            continue;
        write_refused(tx, tx->is_orphan ? 'V' : 'J', &base, &w, &a->rcpt, a->verdict);
        n++;
    }
    if (n != 0 && !tx->is_orphan)
        tally_add(tx->in->tally, base.source, TALLY_REJECTED, 1, n, (int64_t)tx->bytes);
    end(tx, &w);
}

void record_cut_off(struct intake_tx *tx)
{
    struct words w;
    struct txlog_record base;

    if (tx->in->log == NULL || tx->first == NULL || tx->peer->source == INTAKE_PROCESS)
        return;
    base = begin(tx, &w);
    base.reason = tx->state == TX_BODY ? SLICE("the connection ended within the message")
                                       : SLICE("the connection ended before the message");
    base.code = 'V';
    for (const struct accepted *a = tx->first; a != NULL; a = a->next) {
        base.rcpt = rcpt_named(&w, &a->rcpt);
        base.orcpt = original(&a->rcpt, base.rcpt);
        base.notary = notary(tx, a->rcpt.notify);
        txlog_write(tx->in->log, &base);
    }
    end(tx, &w);
}

/* --- taken -------------------------------------------------------------------------------------------------------- */

static void write_mailbox(struct intake_tx *tx, struct txlog_record *r, const struct target *t)
{
    bool is_lmtp = tx->trace.source == INTAKE_LMTP;

    if (!is_lmtp) { /* enqueued and dequeued in one: two records, as of mail that went through the queue */
        r->code = 'E';
        txlog_write(tx->in->log, r);
        r->source = r->destination;
        r->destination = SLICE_NONE;
    }
    r->code = is_lmtp ? 'S' : 'D';
    r->mailbox = SLICE("INBOX");
    r->uid = t->uid;
    r->has_queue_s = !is_lmtp;
    txlog_write(tx->in->log, r);
}

static void write_target(struct intake_tx *tx, const struct txlog_record *base, struct words *w, const struct target *t)
{
    struct txlog_record r = *base;
    char id[17];

    r.destination = t->channel;
    r.orcpt = original(&t->of->rcpt, rcpt_named(w, &t->of->rcpt));
    r.rcpt = t->address;
    r.notary = notary(tx, t->of->rcpt.notify);
    if (t->fate == FATE_MAILBOX) {
        write_mailbox(tx, &r, t);
        return;
    }
    queue_entry_id_print(t->entry, id);
    r.code = 'E';
    r.entry = slice_str(id);
    txlog_write(tx->in->log, &r);
}

/* Per channel: the message once, its recipients; what went into mailboxes is delivered, too. */
static void count_taken(struct intake_tx *tx, slice source)
{
    struct {
        slice name;
        unsigned received, delivered;
    } seen[CHANNELS_SEEN];
    struct tally *tally = tx->in->tally;
    int64_t bytes = (int64_t)tx->bytes;
    unsigned n = 0, all = 0;

    for (const struct target *t = tx->targets; t != NULL; t = t->next) {
        unsigned i = 0;

        if (t->fate == FATE_REFUSED)
            continue;
        all++;
        while (i < n && !slice_eq(seen[i].name, t->channel))
            i++;
        if (i == CHANNELS_SEEN)
            continue;
        if (i == n) {
            seen[n].name = t->channel;
            seen[n].received = seen[n].delivered = 0;
            n++;
        }
        seen[i].received++;
        seen[i].delivered += t->fate == FATE_MAILBOX;
    }
    tally_add(tally, source, TALLY_SUBMITTED, 1, all, bytes);
    for (unsigned i = 0; i < n; i++) {
        tally_add(tally, seen[i].name, TALLY_RECEIVED, 1, seen[i].received, bytes);
        if (seen[i].delivered == 0)
            continue;
        tally_add(tally, seen[i].name, TALLY_DELIVERED, 1, seen[i].delivered, bytes);
        tally_add_number(tally, seen[i].name, TALLY_FIRST, 1);
        tally_add_number(tally, seen[i].name, TALLY_QUEUE_COUNT, 1);
        tally_add_number(tally, seen[i].name, TALLY_QUEUE_FIRST_COUNT, 1);
    }
}

void record_taken(struct intake_tx *tx)
{
    struct words w;
    struct txlog_record base;

    if (tx->in->log == NULL && tx->in->tally == NULL)
        return;
    base = begin(tx, &w);
    if (tx->in->log != NULL)
        for (const struct target *t = tx->targets; t != NULL; t = t->next)
            if (t->fate != FATE_REFUSED)
                write_target(tx, &base, &w, t);
    if (tx->in->tally != NULL)
        count_taken(tx, base.source);
    end(tx, &w);
    record_refused(tx); /* LMTP: some may be */
}
