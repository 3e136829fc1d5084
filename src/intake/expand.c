/* expand.c - from an address to where its mail goes: the directory is asked, aliases are followed, also out of the
 * house, accounts are made when they are missing.
 *
 * One expansion runs at a time. It asks until nothing is left to ask; a question that is answered later (the directory,
 * or the store making an account) ends the turn, and the answer goes on where it stood. */
#include "intake/internal.h"

#include "base/diag.h"
#include "base/mem.h"

#define GOES_ON INTAKE_REPLY_COUNT /* no verdict yet */

/* --- questions ---------------------------------------------------------------------------------------------------- */

static bool is_same(const struct address *a, const struct address *b)
{
    return slice_eq_nocase(a->local, b->local) && slice_eq_nocase(a->domain, b->domain);
}

/* Each address is asked once an expansion, so circles and diamonds of aliases end. */
static bool was_asked(const struct expansion *x, const struct address *a)
{
    for (const struct question *q = x->seen; q != NULL; q = q->next)
        if (is_same(&q->address, a))
            return true;
    for (const struct question *q = x->unasked; q != NULL; q = q->next)
        if (is_same(&q->address, a))
            return true;
    return false;
}

static void ask_later(struct intake_tx *tx, const struct address *a, unsigned depth)
{
    struct question *q = arena_alloc(&tx->mem, sizeof *q);

    q->address = *a;
    q->depth = depth;
    q->next = tx->expansion.unasked;
    tx->expansion.unasked = q;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static struct target *target_find(struct target *list, const struct target *like)
{
    for (struct target *t = list; t != NULL; t = t->next)
        if (t->key == like->key && t->kind == like->kind && t->user_id == like->user_id &&
            (like->kind != TARGET_REMOTE || slice_eq(t->address, like->address)))
            return t;
    return NULL;
}

/* like: copied; its slices are in the message's memory. */
static enum intake_reply found_target(struct intake_tx *tx, const struct target *like)
{
    struct expansion *x = &tx->expansion;
    struct target *t;

    if (target_find(x->found, like) != NULL) {
        x->merged++;
        return GOES_ON;
    }
    if (tx->target_count + x->found_count >= tx_conf(tx)->expanded_max)
        return INTAKE_R_TOO_MANY_RCPT;
    /* Sure to be queued: the client need not send its message for nothing. The queue's own mail must go on. */
    if (like->kind != TARGET_MAILBOX && tx->peer->source != INTAKE_PROCESS && !queue_has_room(tx->in->queue))
        return INTAKE_R_QUEUE_FULL;
    t = arena_alloc(&tx->mem, sizeof *t);
    *t = *like;
    t->next = x->found;
    x->found = t;
    x->found_count++;
    return GOES_ON;
}

static enum intake_reply found_user(struct intake_tx *tx, const struct dir_user *user, uint64_t account)
{
    struct target t = { .kind = TARGET_MAILBOX, .user_id = user->id, .account = account, .key = user->id };

    t.address = slice_dup(&tx->mem, user->address);
    t.channel = CHANNEL_STORE;
    t.host = slice_sub(t.address, 0, QUEUE_HOST_MAX);
    return found_target(tx, &t);
}

/* Its mail is kept back, and not looked at before it is released. */
static enum intake_reply found_held(struct intake_tx *tx, const struct dir_user *user)
{
    struct target t = { .kind = TARGET_HELD, .user_id = user->id, .key = user->id };

    t.address = slice_dup(&tx->mem, user->address);
    t.channel = CHANNEL_HOLD;
    t.host = slice_sub(t.address, 0, QUEUE_HOST_MAX);
    return found_target(tx, &t);
}

static enum intake_reply found_remote(struct intake_tx *tx, const struct address *a)
{
    struct target t = { .kind = TARGET_REMOTE };
    enum intake_reply verdict = route_find(tx, a, &t);

    return verdict == INTAKE_REPLY_COUNT ? found_target(tx, &t) : verdict;
}

/* What waits in the queue does not matter here: a full mailbox inside the grace, one that is being rebuilt. */
static enum intake_reply of_store(const struct intake_tx *tx, enum store_result r)
{
    switch (r) {
    case STORE_OK:
    case STORE_REBUILDING:
        return GOES_ON;
    case STORE_OVER_QUOTA:
        return tx_conf(tx)->quota_grace_hours != 0 ? GOES_ON : INTAKE_R_OVER_QUOTA;
    case STORE_TOO_LARGE:
        return INTAKE_R_BEYOND_QUOTA;
    case STORE_LIMIT:
        return INTAKE_R_OVER_QUOTA;
    case STORE_FULL:
        return INTAKE_R_FULL;
    default:
        return INTAKE_R_TEMP;
    }
}

static void expand_go(struct intake_tx *tx, enum intake_reply verdict);

static void on_ensured(struct store_request *r)
{
    struct intake_tx *tx = r->arg;
    enum store_result result = r->result;

    store_request_destroy(&tx->expansion.ensure);
    if (result != STORE_OK && result != STORE_EXISTS) {
        diag_warn("intake", "no account for %.*s", SLICE_ARG(tx->expansion.user.address));
        expand_go(tx, result == STORE_FULL ? INTAKE_R_FULL : INTAKE_R_TEMP);
        return;
    }
    expand_go(tx, GOES_ON); /* asks again: the account is there now */
}

/* False: the account is being made. */
static bool on_user(struct intake_tx *tx, const struct dir_user *user, enum intake_reply *verdict)
{
    struct expansion *x = &tx->expansion;
    struct err err = ERR_INIT;
    struct journal_view v;
    uint64_t account = 0;
    bool is_known;

    if (journal_read_begin(tx->in->journal, &v, &err) < 0) {
        *verdict = INTAKE_R_TEMP;
        return true;
    }
    is_known = store_account_find(tx->in->store, &v, user->id, &account);
    if (is_known)
        *verdict = of_store(
            tx, store_deliver_check(tx->in->store, &v, account, SLICE("INBOX"), tx->from.size_declared));
    journal_read_end(&v);
    if (is_known) {
        if (*verdict == GOES_ON)
            *verdict = found_user(tx, user, account);
        return true;
    }
    if (x->ensure != NULL || x->user.id == user->id) { /* made a moment ago and gone again */
        *verdict = INTAKE_R_TEMP;
        return true;
    }
    x->user = *user;
    x->ensure = store_request_new(STORE_ACCOUNT_ENSURE);
    x->ensure->owner = user->id;
    x->ensure->owner_name = slice_dup(&x->ensure->mem, user->store_id);
    x->ensure->quota_bytes = user->quota_bytes;
    x->ensure->session = tx->session;
    x->ensure->lane = LANE_RECEPTION;
    x->ensure->reactor = tx->reactor;
    x->ensure->done = on_ensured;
    x->ensure->arg = tx;
    tx->is_waiting = true;
    store_request_submit(tx->in->store, x->ensure);
    return false;
}

static enum intake_reply on_alias(struct intake_tx *tx, const struct dir_query *q)
{
    struct expansion *x = &tx->expansion;

    if (x->depth >= tx_conf(tx)->alias_depth_max) {
        diag_warn("intake", "alias %.*s@%.*s is more than %u levels deep", SLICE_ARG(q->address.local),
                  SLICE_ARG(q->address.domain), tx_conf(tx)->alias_depth_max);
        return INTAKE_R_ALIAS_LOOP;
    }
    x->is_alias = true;
    for (unsigned i = 0; i < q->target_count; i++) {
        if (was_asked(x, &q->targets[i]))
            continue;
        if (++x->extra > tx_conf(tx)->expanded_max)
            return INTAKE_R_TOO_MANY_RCPT;
        ask_later(tx, &q->targets[i], x->depth + 1);
    }
    return GOES_ON;
}

/* What an alias names and is not there is left out, so that one gone colleague does not stop the mail of the others. */
static enum intake_reply missing(struct intake_tx *tx, const struct dir_query *q, enum intake_reply if_direct)
{
    if (tx->expansion.depth == 0)
        return if_direct;
    counter_add(&intake_counters[IC_TARGETS_LOST], 1);
    diag_warn("intake", "an alias of %.*s names %.*s@%.*s, which does not exist",
              SLICE_ARG(tx->expansion.rcpt->address.local), SLICE_ARG(q->address.local), SLICE_ARG(q->address.domain));
    tx->expansion.extra--;
    return GOES_ON;
}

/* Not a domain of ours. Strangers reach it through aliases of ours only. */
static enum intake_reply foreign(struct intake_tx *tx, const struct address *a)
{
    if (tx->expansion.depth == 0 && !route_may_relay(tx))
        return INTAKE_R_NO_RELAY;
    return found_remote(tx, a);
}

/* RFC 5321 4.5.1: of this host, whose name need not be a domain with users; notices of ours say it, too. */
static bool is_our_postmaster(const struct intake_tx *tx, const struct address *a)
{
    return tx->peer != NULL && slice_eq_nocase(a->local, SLICE("postmaster")) && a->domain.len != 0 &&
           slice_eq_nocase(a->domain, tx->peer->hostname);
}

static enum intake_reply no_domain(struct intake_tx *tx, const struct address *a)
{
    if (!is_our_postmaster(tx, a))
        return foreign(tx, a);
    ask_later(tx, &(struct address){ a->local, SLICE_NONE }, tx->expansion.depth);
    return GOES_ON;
}

/* False: a wait began. */
static bool on_rcpt_answer(struct intake_tx *tx, struct dir_query *q, enum intake_reply *verdict)
{
    switch (q->result) {
    case DIR_USER:
        return on_user(tx, &q->user, verdict);
    case DIR_ALIAS:
        *verdict = on_alias(tx, q);
        return true;
    case DIR_NO_USER:
        *verdict = missing(tx, q, INTAKE_R_NO_USER);
        return true;
    case DIR_NO_DOMAIN:
        *verdict = no_domain(tx, &q->address);
        return true;
    case DIR_DISABLED:
        *verdict = q->user.status == DIR_ON_HOLD   ? found_held(tx, &q->user)
                   : q->user.status == DIR_DELETED ? missing(tx, q, INTAKE_R_USER_GONE)
                                                   : INTAKE_R_USER_INACTIVE;
        return true;
    case DIR_TEMP:
        break;
    }
    *verdict = INTAKE_R_TEMP;
    return true;
}

/* A user may send as itself and as the aliases that lead to it. */
static enum intake_reply on_sender_answer(struct intake_tx *tx, const struct dir_query *q)
{
    const struct dir_user *user = tx->peer != NULL ? tx->peer->user : NULL;
    struct buf address = BUF_INIT;
    bool is_owner = false;

    if (user == NULL)
        return INTAKE_R_TEMP;
    if (q->result == DIR_USER)
        is_owner = q->user.id == user->id;
    for (unsigned i = 0; q->result == DIR_ALIAS && i < q->target_count && !is_owner; i++) {
        buf_reset(&address);
        address_print(&q->targets[i], &address);
        is_owner = slice_eq_nocase(buf_slice(&address), user->address);
    }
    buf_free(&address);
    if (q->result == DIR_TEMP)
        return INTAKE_R_TEMP;
    return is_owner ? INTAKE_R_MAIL_OK : INTAKE_R_NOT_OWNER;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

/* The recipient is accepted: what was found joins the message. */
static void accept_rcpt(struct intake_tx *tx)
{
    struct expansion *x = &tx->expansion;
    struct accepted *a = arena_alloc(&tx->mem, sizeof *a);

    a->rcpt = *x->rcpt;
    a->rcpt.index = tx->accepted_count;
    a->verdict = INTAKE_R_OK;
    a->is_alias = x->is_alias;
    a->targets = arena_alloc_array(&tx->mem, x->found_count, sizeof(struct target *));
    while (x->found != NULL) {
        struct target *t = x->found, *known = target_find(tx->targets, t);

        x->found = t->next;
        t->next = NULL;
        if (known != NULL) {
            tx->ledger.merged++;
        } else {
            if (tx->targets_last != NULL)
                tx->targets_last->next = t;
            else
                tx->targets = t;
            tx->targets_last = t;
            t->of = a;
            t->index = tx->target_count++;
            tx->mailbox_count += t->kind == TARGET_MAILBOX;
        }
        a->targets[a->target_count++] = known != NULL ? known : t;
    }
    /* An alias within an alias was created by the outer one and ends expanded, too. */
    tx->ledger.created += x->is_alias ? 1u + x->found_count + x->merged : 1u;
    tx->ledger.expanded += x->is_alias ? 1u : 0u;
    tx->ledger.merged += x->merged;
    if (tx->last != NULL)
        tx->last->next = a;
    else
        tx->first = a;
    tx->last = a;
    tx->accepted_count++;
    tx->state = TX_RCPT;
}

static void expand_end(struct intake_tx *tx, enum intake_reply verdict)
{
    struct expansion *x = &tx->expansion;

    if (x->is_sender_check) {
        if (verdict != INTAKE_R_MAIL_OK) {
            record_refused_one(tx, NULL, verdict);
            tx->state = TX_IDLE;
        }
    } else if (verdict == INTAKE_R_RCPT_OK) {
        accept_rcpt(tx);
    } else {
        counter_add(&intake_counters[IC_RCPT_REFUSED], 1);
        record_refused_one(tx, x->rcpt, verdict);
    }
    tx->verdict = verdict;
    tx->expansion = (struct expansion){ 0 };
}

/* --- the turn ----------------------------------------------------------------------------------------------------- */

/* What the directory said about the question under way. False: a wait began, and the question will be asked again. */
static bool answer_take(struct intake_tx *tx, enum intake_reply *verdict)
{
    struct expansion *x = &tx->expansion;
    struct question *q = x->seen;

    if (x->is_sender_check) {
        *verdict = on_sender_answer(tx, &x->query);
        return true;
    }
    if (on_rcpt_answer(tx, &x->query, verdict))
        return true;
    x->seen = q->next;
    q->next = x->unasked;
    x->unasked = q;
    return false;
}

/* The domain of a literal that is our own address is the default one. */
static struct address asked(const struct intake_tx *tx, const struct address *a)
{
    return (struct address){ a->local, route_is_ours(tx, a) ? SLICE_NONE : a->domain };
}

static void on_dir_answer(struct dir_query *query);

/* Ask what is left. False: a wait began. */
static bool expand_turn(struct intake_tx *tx, enum intake_reply verdict)
{
    struct expansion *x = &tx->expansion;

    while (verdict == GOES_ON && x->unasked != NULL) {
        struct question *q = x->unasked;

        x->unasked = q->next;
        q->next = x->seen;
        x->seen = q;
        x->depth = q->depth;
        x->query = (struct dir_query){
            .address = asked(tx, &q->address), .mem = &tx->mem, .done = on_dir_answer, .reactor = tx->reactor
        };
        tx->is_waiting = true;
        if (!dir_ask(tx->in->dir, conf_section(tx->conf, CONF_DIR), &x->query))
            return false;
        tx->is_waiting = false;
        if (!answer_take(tx, &verdict))
            return false;
    }
    if (verdict == GOES_ON)
        verdict = x->found != NULL ? INTAKE_R_RCPT_OK : INTAKE_R_NO_USER;
    expand_end(tx, verdict);
    return true;
}

static void on_dir_answer(struct dir_query *query)
{
    struct intake_tx *tx = CONTAINER_OF(query, struct intake_tx, expansion.query);
    enum intake_reply verdict = GOES_ON;

    tx->is_waiting = false;
    if (tx->is_orphan) {
        tx_answer(tx);
        return;
    }
    if (answer_take(tx, &verdict))
        expand_go(tx, verdict);
}

static void expand_go(struct intake_tx *tx, enum intake_reply verdict)
{
    if (tx->is_orphan || expand_turn(tx, verdict))
        tx_answer(tx);
}

enum intake_status expand_begin(struct intake_tx *tx, const struct recipient *rcpt)
{
    struct expansion *x = &tx->expansion;

    *x = (struct expansion){ .rcpt = rcpt, .is_sender_check = rcpt == NULL };
    ask_later(tx, rcpt != NULL ? &rcpt->address : &tx->from.from, 0);
    return expand_turn(tx, GOES_ON) ? INTAKE_NOW : INTAKE_WAIT;
}
