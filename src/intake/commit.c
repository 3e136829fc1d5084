/* commit.c - what becomes of a message: decided and recorded in one operation, on the committer.
 *
 * The operation may run more than once, so everything it decides is decided anew each time. */
#include "intake/internal.h"

#include "base/map.h"

#define ROW_BYTES 512u    /* what the store writes for one message row, generously */
#define ENTRY_BYTES 1024u /* an entry of the queue without its recipients, and its totals */
#define RCPT_BYTES 900u   /* a recipient of an entry and of the trace record */

/* --- deciding ----------------------------------------------------------------------------------------------------- */

static bool channel_is_open(const struct intake_tx *tx, slice name)
{
    const struct channels_conf *channels = conf_section(tx->conf, CONF_CHANNELS);
    const struct channel_conf *c = channels != NULL ? channel_conf_find(channels, name) : NULL;

    return (c == NULL || (!c->held && !c->queue_first)) && !queue_channel_is_stopped(tx->in->queue, name);
}

static void decide_queued(struct target *t)
{
    t->fate = FATE_QUEUED;
    t->verdict = INTAKE_R_OK;
}

static void refuse(struct target *t, enum intake_reply why)
{
    t->fate = FATE_REFUSED;
    t->verdict = why;
}

static uint64_t target_bytes(const struct intake_tx *tx, const struct target *t)
{
    uint64_t whole = tx->writer != NULL ? body_writer_bytes(tx->writer) : body_view_bytes(&tx->known_view);
    uint64_t header = tx->writer != NULL ? tx->header_end : tx->header_end + tx->known_view.header_bytes;

    return t->block.len == 0 ? whole : whole - header + t->block.len;
}

static void decide_mailbox(const struct intake_tx *tx, struct journal_view *v, struct target *t, bool is_direct)
{
    switch (store_deliver_check(tx->in->store, v, t->account, SLICE("INBOX"), target_bytes(tx, t))) {
    case STORE_OK:
        /* Behind what waits for this user already, so that its mail keeps its order. Who wants a receipt gets it from
         * the queue, together with the delivery. */
        if (!is_direct || tx->is_held || (t->of->rcpt.notify & NOTIFY_SUCCESS) != 0 ||
            queue_has(v, tx->in->queue, t->channel, t->host)) {
            decide_queued(t);
        } else {
            t->fate = FATE_MAILBOX;
            t->verdict = INTAKE_R_OK;
        }
        break;
    case STORE_OVER_QUOTA:
        if (tx_conf(tx)->quota_grace_hours != 0)
            decide_queued(t);
        else
            refuse(t, INTAKE_R_OVER_QUOTA);
        break;
    case STORE_REBUILDING:
        decide_queued(t);
        break;
    case STORE_TOO_LARGE: /* no grace helps */
        refuse(t, INTAKE_R_BEYOND_QUOTA);
        break;
    case STORE_LIMIT:
        refuse(t, INTAKE_R_OVER_QUOTA);
        break;
    case STORE_FULL:
        refuse(t, INTAKE_R_FULL);
        break;
    default:
        refuse(t, INTAKE_R_TEMP);
        break;
    }
}

/* A recipient stands or falls with all its targets: an alias must not be answered twice. Returns the first refusal. */
static enum intake_reply judge_recipients(struct intake_tx *tx)
{
    enum intake_reply first = INTAKE_R_OK;

    for (struct accepted *a = tx->first; a != NULL; a = a->next) {
        a->verdict = INTAKE_R_OK;
        for (unsigned i = 0; i < a->target_count && a->verdict == INTAKE_R_OK; i++)
            a->verdict = a->targets[i]->verdict;
        for (unsigned i = 0; i < a->target_count && a->verdict == INTAKE_R_OK; i++)
            a->targets[i]->is_wanted = true;
        if (first == INTAKE_R_OK)
            first = a->verdict;
    }
    return first;
}

unsigned commit_decide(struct intake_tx *tx, struct journal_view *v, enum intake_reply *first_refusal)
{
    bool is_direct = tx->mailbox_count <= tx_conf(tx)->direct_recipients_max && channel_is_open(tx, CHANNEL_STORE);
    unsigned left = 0;

    for (struct target *t = tx->targets; t != NULL; t = t->next) {
        t->is_wanted = false;
        t->entry = 0;
        t->uid = t->uidvalidity = 0;
        if (t->is_looping && tx_conf(tx)->looping == LOOPING_REFUSE)
            refuse(t, INTAKE_R_LOOP);
        else if (t->kind == TARGET_MAILBOX && !t->is_looping)
            decide_mailbox(tx, v, t, is_direct);
        else
            decide_queued(t);
    }
    *first_refusal = judge_recipients(tx);
    for (struct target *t = tx->targets; t != NULL; t = t->next) {
        if (t->fate != FATE_REFUSED && !t->is_wanted)
            refuse(t, *first_refusal); /* with the alias it belongs to */
        left += t->fate != FATE_REFUSED;
    }
    return left;
}

/* --- mailboxes ---------------------------------------------------------------------------------------------------- */

struct commit {
    struct intake_tx *tx;
    struct journal_tx *jtx;
    struct body_view whole; /* as those see it that have no block */
    uint32_t rest_at;       /* in the body: what stands behind a block */
    uint32_t body_bytes;
    struct ledger change;
    uint64_t message; /* id of the first entry */
    slice last_block; /* emitted as last_block_id */
    uint64_t last_block_id;
};

static int deliver_direct(struct commit *c, struct err *err)
{
    struct intake_tx *tx = c->tx;
    struct store_delivery_target *d = arena_alloc_array(&tx->mem, tx->mailbox_count + 1, sizeof *d);
    struct target **of = arena_alloc_array(&tx->mem, tx->mailbox_count + 1, sizeof(struct target *));
    unsigned n = 0;

    for (struct target *t = tx->targets; t != NULL; t = t->next) {
        if (t->fate != FATE_MAILBOX)
            continue;
        d[n] = (struct store_delivery_target){
            .account = t->account, .mailbox = SLICE("INBOX"), .header = t->block, .body_at = c->rest_at
        };
        of[n++] = t;
    }
    if (n == 0)
        return 0;
    store_deliver_emit(tx->in->store, c->jtx, c->whole.body_id, c->body_bytes, d, n);
    for (unsigned i = 0; i < n; i++) {
        if (d[i].result != STORE_OK) { /* after the check only the disk or a bug can do that */
            tx->run_verdict = d[i].result == STORE_FULL ? INTAKE_R_FULL : INTAKE_R_TEMP;
            return err_set(err, ERR_TEMP, "the store took back its word");
        }
        of[i]->uid = d[i].uid;
        of[i]->uidvalidity = d[i].uidvalidity;
    }
    c->change.delivered = c->change.passed = n;
    queue_emit_passed(tx->in->queue, c->jtx, CHANNEL_STORE, RCPT_DELIVERED, n);
    return 0;
}

/* --- the queue ---------------------------------------------------------------------------------------------------- */

static struct body_view target_view(struct commit *c, const struct target *t)
{
    if (t->block.len == 0)
        return c->whole;
    if (t->block.ptr != c->last_block.ptr) {
        c->last_block = t->block;
        c->last_block_id = journal_emit_octets(c->jtx, t->block);
    }
    return (struct body_view){ c->last_block_id, c->whole.body_id, c->rest_at, (uint32_t)t->block.len,
                               c->body_bytes - c->rest_at };
}

static void entry_fill(const struct commit *c, const struct target *t, struct queue_entry *e)
{
    const struct intake_tx *tx = c->tx;
    const struct queue_entry *known = tx->known;

    *e = (struct queue_entry){
        .message = c->message,
        .channel = t->channel,
        .host = t->host,
        .state = tx->is_held || t->is_looping || t->kind == TARGET_HELD ? QUEUE_HELD : QUEUE_READY,
        .priority = tx->priority,
        .flags = tx->from.smtputf8 ? QUEUE_SMTPUTF8 : 0,
        .sender = tx->trace.sender,
        .envid = tx->from.envid,
        .ret = (uint8_t)tx->from.ret,
        .body = (uint8_t)tx->from.body,
        .message_id = tx->message_id,
        .source = tx->trace.channel,
        .session = tx->trace.id,
        .source_host = tx->source_host,
        .user = tx->trace.user,
    };
    if (tx->is_held || t->is_looping)
        e->reason = SLICE("the message is looping");
    else if (t->kind == TARGET_HELD)
        e->reason = SLICE("mail of this user is held");
    if (known == NULL)
        return;
    e->message = known->message;
    e->flags |= known->flags & (QUEUE_IS_NOTICE | QUEUE_SMTPUTF8 | QUEUE_DOUBLE_BOUNCE);
    e->created_ms = known->created_ms;
    e->auth = known->auth;
    e->source_host = known->source_host;
    e->user = known->user;
}

static struct queue_rcpt rcpt_of(struct arena *mem, const struct target *t)
{
    const struct recipient *r = &t->of->rcpt;
    struct queue_rcpt out = { .address = t->address, .orcpt = r->orcpt, .notify = r->notify };
    struct buf text = BUF_INIT;

    address_print(&r->address, &text);
    if (!slice_eq(buf_slice(&text), t->address))
        out.original = slice_dup(mem, buf_slice(&text));
    buf_free(&text);
    return out;
}

static int enqueue(struct commit *c, struct queue_entry *e, struct target *const *targets, struct err *err)
{
    struct intake_tx *tx = c->tx;
    uint64_t id = queue_emit_enqueue(tx->in->queue, c->jtx, e, err);

    if (id == 0) {
        tx->run_verdict = err->kind == ERR_LIMIT ? INTAKE_R_QUEUE_FULL : INTAKE_R_TEMP;
        return -1;
    }
    if (c->message == 0)
        c->message = id;
    for (unsigned i = 0; i < e->rcpt_count; i++)
        targets[i]->entry = id;
    c->change.queued += e->rcpt_count;
    return 0;
}

/* Targets of one destination; only those without blocks of their own can share an entry. */
struct group {
    struct group *next;
    struct target **targets;
    unsigned count, cap;
};

static void group_add(struct arena *mem, struct group *g, struct target *t)
{
    if (g->count == g->cap) {
        struct target **more = arena_alloc_array(mem, g->cap * 2 + 4, sizeof(struct target *));

        for (unsigned i = 0; i < g->count; i++)
            more[i] = g->targets[i];
        g->targets = more;
        g->cap = g->cap * 2 + 4;
    }
    g->targets[g->count++] = t;
}

/* In the order in which the destinations were named first. */
static struct group *groups_make(struct intake_tx *tx)
{
    struct group *first = NULL, **link = &first;
    struct buf key = BUF_INIT;
    struct map known;

    map_init(&known);
    for (struct target *t = tx->targets; t != NULL; t = t->next) {
        struct group *g;

        if (t->fate != FATE_QUEUED)
            continue;
        buf_reset(&key);
        buf_put_slice(&key, t->channel);
        buf_put_byte(&key, t->kind == TARGET_MAILBOX ? 'M' : t->is_looping ? 'L' : 'R');
        buf_put_slice(&key, t->host);
        g = map_get(&known, buf_slice(&key));
        if (g == NULL) {
            g = arena_alloc(&tx->mem, sizeof *g);
            *g = (struct group){ NULL, NULL, 0, 0 };
            *link = g;
            link = &g->next;
            map_put(&known, buf_slice(&key), g);
        }
        group_add(&tx->mem, g, t);
    }
    map_free(&known);
    buf_free(&key);
    return first;
}

static int enqueue_all(struct commit *c, struct err *err)
{
    struct arena *mem = &c->tx->mem;

    for (const struct group *g = groups_make(c->tx); g != NULL; g = g->next) {
        struct queue_entry e;

        entry_fill(c, g->targets[0], &e);
        e.view = target_view(c, g->targets[0]);
        e.rcpts = arena_alloc_array(mem, g->count, sizeof *e.rcpts);
        for (unsigned i = 0; i < g->count; i++)
            e.rcpts[e.rcpt_count++] = rcpt_of(mem, g->targets[i]);
        if (enqueue(c, &e, g->targets, err) < 0)
            return -1;
    }
    return 0;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static void body_emit(struct commit *c)
{
    struct intake_tx *tx = c->tx;

    c->rest_at = tx->header_end;
    if (tx->writer != NULL) {
        c->body_bytes = (uint32_t)body_writer_bytes(tx->writer);
        c->whole = (struct body_view){ .body_id = journal_emit_body(c->jtx, tx->writer), .body_bytes = c->body_bytes };
        return;
    }
    c->whole = tx->known_view;
    c->rest_at += tx->known_view.body_at;
    c->body_bytes = tx->known_view.body_at + tx->known_view.body_bytes;
}

int commit_emit(struct intake_tx *tx, struct journal_tx *jtx, struct err *err)
{
    struct commit c = { .tx = tx, .jtx = jtx, .change = tx->ledger };
    enum intake_reply first;
    unsigned left;

    tx->run_verdict = INTAKE_REPLY_COUNT;
    left = commit_decide(tx, journal_tx_view(jtx), &first);
    if (left == 0 || (tx->is_all_or_nothing && first != INTAKE_R_OK)) {
        tx->run_verdict = first;
        return err_set(err, ERR_PERM, "nobody can take the message");
    }
    body_emit(&c);
    if (deliver_direct(&c, err) < 0 || enqueue_all(&c, err) < 0)
        return -1;
    c.change.messages = 1;
    c.change.refused = tx->target_count - c.change.delivered - c.change.queued;
    ledger_emit(jtx, &c.change);
    trace_emit(tx, jtx, c.whole.body_id);
    tx->change = c.change;
    return 0;
}

uint32_t commit_bytes(const struct intake_tx *tx)
{
    uint64_t bytes = ENTRY_BYTES;

    for (const struct target *t = tx->targets; t != NULL; t = t->next)
        bytes += t->block.len + ROW_BYTES + ENTRY_BYTES + RCPT_BYTES;
    return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}
