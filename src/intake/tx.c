#include "intake/internal.h"

#include "base/mem.h"
#include "base/random.h"

#define TX_ARENA_BYTES 1024u

/* Crockford's alphabet in lower case: no i, l, o, u. */
static const char id_digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* 45 bits of wall time, then 35 random ones: ids of a day sort together and none comes twice. */
static void id_make(struct intake_tx *tx)
{
    uint64_t time = (uint64_t)clock_wall_ms(tx->in->clock), noise = random_u64();

    for (unsigned i = 0; i < 9; i++)
        tx->id[8 - i] = id_digits[(time >> (5 * i)) & 31];
    for (unsigned i = 0; i < INTAKE_ID_OCTETS - 9; i++)
        tx->id[9 + i] = id_digits[(noise >> (5 * i)) & 31];
}

struct intake_tx *intake_tx_new(struct intake *in, struct conf_set *conf, const struct intake_peer *peer,
                                struct reactor *reactor, uint64_t session, intake_done_fn *done, void *arg)
{
    struct intake_tx *tx = mem_alloc(sizeof *tx);

    tx->in = in;
    tx->conf = (struct conf_set *)(void *)snap_ref(&conf->snap);
    tx->peer = peer;
    tx->reactor = reactor;
    tx->session = session;
    tx->done = done;
    tx->arg = arg;
    tx->is_all_or_nothing = peer->source == INTAKE_SMTP || peer->source == INTAKE_SUBMISSION;
    tx->priority = QUEUE_NORMAL;
    arena_init(&tx->mem, TX_ARENA_BYTES);
    return tx;
}

/* Everything of the message under way. */
static void tx_clear(struct intake_tx *tx)
{
    body_drop(tx);
    store_request_destroy(&tx->expansion.ensure);
    tx->expansion = (struct expansion){ 0 };
    tx->from = (struct envelope){ 0 };
    tx->first = tx->last = NULL;
    tx->accepted_count = 0;
    tx->targets = tx->targets_last = NULL;
    tx->target_count = tx->mailbox_count = 0;
    tx->ledger = (struct ledger){ 0 };
    tx->trace = (struct trace){ 0 };
    tx->message_id = tx->source_host = SLICE_NONE;
    arena_release(&tx->mem);
    tx->state = TX_IDLE;
}

static void tx_free(struct intake_tx *tx)
{
    tx_clear(tx);
    arena_free(&tx->mem);
    snap_unref(&tx->conf->snap);
    mem_free(tx);
}

void intake_tx_destroy(struct intake_tx **txp)
{
    struct intake_tx *tx = *txp;

    *txp = NULL;
    if (tx == NULL)
        return;
    if (tx->state == TX_RCPT || tx->state == TX_BODY)
        record_cut_off(tx);
    tx->peer = NULL;
    tx->is_orphan = true;
    if (!tx->is_waiting)
        tx_free(tx);
}

void intake_tx_reset(struct intake_tx *tx, struct conf_set *conf)
{
    ASSERT(!tx->is_waiting);
    tx_clear(tx);
    if (conf == tx->conf)
        return;
    snap_ref(&conf->snap);
    snap_unref(&tx->conf->snap);
    tx->conf = conf;
}

void tx_answer(struct intake_tx *tx)
{
    tx->is_waiting = false;
    if (tx->is_orphan)
        tx_free(tx);
    else
        tx->done(tx->arg, tx->session, tx);
}

void tx_count_end(const struct intake_tx *tx, const struct ledger *change)
{
    const struct ledger *l = &tx->ledger;
    uint64_t gone_on = change != NULL ? change->delivered + change->queued : 0;

    counter_add(&intake_counters[IC_CREATED], (int64_t)l->created);
    counter_add(&intake_counters[IC_EXPANDED], (int64_t)l->expanded);
    counter_add(&intake_counters[IC_MERGED], (int64_t)l->merged);
    counter_add(&intake_counters[IC_REFUSED], (int64_t)(l->created - l->expanded - l->merged - gone_on));
    if (change == NULL)
        return;
    counter_add(&intake_counters[IC_DELIVERED], (int64_t)change->delivered);
    counter_add(&intake_counters[IC_QUEUED], (int64_t)change->queued);
    counter_add(&intake_counters[IC_HELD], tx->is_held ? 1 : 0);
    counter_add(&intake_counters[IC_MESSAGES], 1);
    counter_add(&intake_counters[IC_BYTES], (int64_t)tx->bytes);
}

/* --- phases ------------------------------------------------------------------------------------------------------- */

static enum intake_status answer(struct intake_tx *tx, enum intake_reply verdict)
{
    tx->verdict = verdict;
    return INTAKE_NOW;
}

static enum intake_status refuse(struct intake_tx *tx, enum intake_counter counter, enum intake_reply verdict)
{
    counter_add(&intake_counters[counter], 1);
    return answer(tx, verdict);
}

enum intake_status intake_connect(struct intake_tx *tx)
{
    const struct key_strs *list = &tx_conf(tx)->refuse_clients;
    struct net_range range;

    for (size_t i = 0; i < list->count; i++)
        if (net_range_parse(list->items[i], &range, NULL) == 0 && net_range_has(&range, &tx->peer->addr))
            return refuse(tx, IC_CLIENTS_REFUSED, INTAKE_R_CLIENT_REFUSED);
    return answer(tx, INTAKE_R_OK);
}

/* "*.example.net": all names below it. */
static bool name_fits(slice pattern, slice name)
{
    slice end;

    if (!slice_starts(pattern, SLICE("*.")))
        return slice_eq_nocase(pattern, name);
    end = slice_from(pattern, 1);
    return name.len > end.len && slice_eq_nocase(slice_from(name, name.len - end.len), end);
}

enum intake_status intake_helo(struct intake_tx *tx)
{
    const struct key_strs *list = &tx_conf(tx)->refuse_helo;

    for (size_t i = 0; i < list->count; i++)
        if (name_fits(list->items[i], tx->peer->helo))
            return refuse(tx, IC_HELO_REFUSED, INTAKE_R_HELO_REFUSED);
    return answer(tx, INTAKE_R_OK);
}

enum intake_status intake_auth(struct intake_tx *tx)
{
    const struct key_strs *list = &tx_conf(tx)->refuse_users;

    for (size_t i = 0; i < list->count; i++)
        if (slice_eq_nocase(list->items[i], tx->peer->user->address))
            return refuse(tx, IC_USERS_REFUSED, INTAKE_R_USER_REFUSED);
    return answer(tx, INTAKE_R_OK);
}

static struct address address_dup(struct arena *mem, const struct address *a)
{
    return (struct address){ slice_dup(mem, a->local), slice_dup(mem, a->domain) };
}

enum intake_status intake_mail(struct intake_tx *tx, const struct envelope *from)
{
    ASSERT(tx->state == TX_IDLE);
    tx->from = *from;
    tx->from.first = tx->from.last = NULL;
    tx->from.count = 0;
    tx->from.from = address_dup(&tx->mem, &from->from);
    tx->from.envid = slice_dup(&tx->mem, from->envid);
    id_make(tx);
    if (from->size_declared > tx_conf(tx)->message_bytes_max) {
        record_refused_one(tx, NULL, INTAKE_R_TOO_LARGE);
        return answer(tx, INTAKE_R_TOO_LARGE);
    }
    tx->state = TX_MAIL;
    /* A null sender is legal for our users, too: receipts are sent with it. */
    if (tx->peer->user == NULL || from->is_null_sender)
        return answer(tx, INTAKE_R_MAIL_OK);
    return expand_begin(tx, NULL);
}

enum intake_status intake_rcpt(struct intake_tx *tx, const struct recipient *rcpt)
{
    const struct intake_conf *conf = tx_conf(tx);
    struct recipient *own;

    ASSERT(tx->state == TX_MAIL || tx->state == TX_RCPT);
    if (tx->accepted_count >= conf->recipients_max) {
        counter_add(&intake_counters[IC_RCPT_REFUSED], 1);
        record_refused_one(tx, rcpt, INTAKE_R_TOO_MANY_RCPT);
        return answer(tx, INTAKE_R_TOO_MANY_RCPT);
    }
    own = arena_alloc(&tx->mem, sizeof *own);
    *own = *rcpt;
    own->address = address_dup(&tx->mem, &rcpt->address);
    own->orcpt = slice_dup(&tx->mem, rcpt->orcpt);
    own->next = NULL;
    return expand_begin(tx, own);
}

unsigned intake_rcpt_count(const struct intake_tx *tx)
{
    return tx->accepted_count;
}

enum intake_reply intake_verdict(const struct intake_tx *tx)
{
    return tx->verdict;
}

slice intake_verdict_text(const struct intake_tx *tx)
{
    (void)tx;
    return SLICE_NONE;
}

enum intake_reply intake_rcpt_verdict(const struct intake_tx *tx, unsigned accepted_index)
{
    const struct accepted *a = tx->first;

    while (a != NULL && accepted_index-- != 0)
        a = a->next;
    ASSERT(a != NULL);
    return a->verdict;
}

slice intake_message_id(const struct intake_tx *tx)
{
    return slice_of(tx->id, sizeof tx->id);
}
