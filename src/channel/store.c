/* store.c - channel type store: an entry into the mailbox of its user. */
#include "channel/internal.h"

#define ROW_BYTES 1024u          /* what the store emits for a recipient, generously */
#define REBUILDING_RETRY_MS 1000 /* the account is asked for and comes next */
#define FULL_RETRY_MS 10000
#define HOUR_MS 3600000

struct store_target {
    unsigned outcome; /* whose diagnostic says where it lies */
    uint64_t account;
};

/* Recipients are looked up one after the other; then one result for all. */
struct store_work {
    struct local_work base; /* first */
    unsigned at; /* recipient under way */
    struct dir_query query;
    struct store_request *ensure;
    bool was_ensured;
    struct store_target *targets;
    unsigned target_count;
};

static struct store_work *work_of(struct local_work *w)
{
    return (struct store_work *)(void *)w;
}

static void outcome(struct store_work *w, enum queue_rcpt_state state, const char *status, const char *diag)
{
    local_outcome(&w->base, w->at, state, slice_str(status), slice_str(diag));
}

/* --- in the operation --------------------------------------------------------------------------------------------- */

static int store_deliver(struct journal_tx *tx, struct queue_request *r, struct err *err)
{
    struct store_work *w = r->arg;
    const struct body_view *v = &w->base.entry.view;
    struct store_delivery_target *d = mem_alloc_array(w->target_count + 1, sizeof *d);
    struct buf where = BUF_INIT;
    int rc = 0;

    for (unsigned i = 0; i < w->target_count; i++)
        d[i] = (struct store_delivery_target){ .account = w->targets[i].account,
                                               .mailbox = SLICE("INBOX"),
                                               .header_id = v->header_id,
                                               .header_bytes = v->header_bytes,
                                               .body_at = v->body_at };
    store_deliver_emit(local_setup(&w->base)->store, tx, v->body_id, v->body_at + v->body_bytes, d, w->target_count);
    for (unsigned i = 0; i < w->target_count; i++) {
        if (d[i].result != STORE_OK) {
            rc = err_set(err, d[i].result == STORE_FULL ? ERR_FULL : ERR_TEMP, "the mailbox takes no message any more");
            break;
        }
        buf_reset(&where);
        buf_printf(&where, "INBOX, uid %u, uidvalidity %u", d[i].uid, d[i].uidvalidity);
        if (w->targets[i].outcome < r->outcome_count)
            r->outcomes[w->targets[i].outcome].diag = slice_dup(&r->mem, buf_slice(&where));
    }
    buf_free(&where);
    mem_free(d);
    return rc;
}

/* --- before it ---------------------------------------------------------------------------------------------------- */

static void wait_for(struct store_work *w, int64_t ms)
{
    w->base.not_tried = true;
    w->base.retry_ms = ms;
}

static void over_quota(struct store_work *w)
{
    const struct channel_setup *setup = local_setup(&w->base);
    const struct intake_conf *conf = conf_section(w->base.of->job->set, CONF_INTAKE);
    int64_t age = clock_wall_ms(setup->clock) - w->base.entry.created_ms;

    if (age < (int64_t)conf->quota_grace_hours * HOUR_MS)
        outcome(w, RCPT_WAITING, "4.2.2", "Mailbox full");
    else
        outcome(w, RCPT_FAILED, "5.2.2", "Mailbox full");
}

static void judge(struct store_work *w, uint64_t account, enum store_result result)
{
    switch (result) {
    case STORE_OK:
        w->targets[w->target_count++] = (struct store_target){ w->base.outcome_count, account };
        outcome(w, RCPT_DELIVERED, "2.1.5", "");
        break;
    case STORE_OVER_QUOTA:
        over_quota(w);
        break;
    case STORE_TOO_LARGE:
        outcome(w, RCPT_FAILED, "5.2.2", "Message is larger than the whole quota of the mailbox");
        break;
    case STORE_LIMIT:
        outcome(w, RCPT_FAILED, "5.2.2", "Mailbox cannot take more messages");
        break;
    case STORE_REBUILDING:
        wait_for(w, REBUILDING_RETRY_MS);
        break;
    case STORE_FULL:
        wait_for(w, FULL_RETRY_MS);
        break;
    default:
        outcome(w, RCPT_WAITING, "4.3.0", "Mailbox not available");
        break;
    }
}

static bool rcpts_ask(struct store_work *w);

/* What was waited for is there. */
static void go_on(struct store_work *w)
{
    if (rcpts_ask(w))
        local_give(&w->base);
}

static void on_ensured(struct store_request *r)
{
    struct store_work *w = r->arg;

    store_request_destroy(&w->ensure);
    w->was_ensured = true;
    go_on(w); /* the same recipient again: its account is there now, or something is wrong */
}

static void ensure(struct store_work *w)
{
    const struct channel_setup *setup = local_setup(&w->base);
    const struct dir_user *user = &w->query.user;
    struct store_request *r = store_request_new(STORE_ACCOUNT_ENSURE);

    r->owner = user->id;
    r->owner_name = slice_dup(&r->mem, user->store_id);
    r->quota_bytes = user->quota_bytes;
    r->session = w->base.id;
    r->lane = LANE_QUEUE;
    r->reactor = w->base.of->service->reactor;
    r->done = on_ensured;
    r->arg = w;
    w->ensure = r;
    store_request_submit(setup->store, r);
}

/* False: the account is being made. */
static bool on_user(struct store_work *w)
{
    const struct channel_setup *setup = local_setup(&w->base);
    enum store_result result = STORE_TEMP;
    struct err err = ERR_INIT;
    struct journal_view v;
    uint64_t account = 0;
    bool is_known = false;

    if (journal_read_begin(setup->journal, &v, &err) == 0) {
        is_known = store_account_find(setup->store, &v, w->query.user.id, &account);
        if (is_known)
            result = store_deliver_check(setup->store, &v, account, SLICE("INBOX"),
                                         body_view_bytes(&w->base.entry.view));
        journal_read_end(&v);
        if (!is_known && !w->was_ensured) {
            ensure(w);
            return false;
        }
    }
    judge(w, account, result);
    return true;
}

/* False: a wait began. */
static bool on_answer(struct store_work *w)
{
    switch (w->query.result) {
    case DIR_USER:
        return on_user(w);
    case DIR_DISABLED:
        if (w->query.user.status == DIR_DELETED)
            outcome(w, RCPT_FAILED, "5.2.1", "Mailbox disabled");
        else
            outcome(w, RCPT_WAITING, "4.2.1", "Mailbox temporarily disabled");
        return true;
    case DIR_TEMP:
        outcome(w, RCPT_WAITING, "4.3.0", "The directory cannot be asked");
        return true;
    case DIR_ALIAS:
    case DIR_NO_USER:
    case DIR_NO_DOMAIN:
        break;
    }
    outcome(w, RCPT_FAILED, "5.1.1", "No such user here");
    return true;
}

static void on_dir(struct dir_query *q)
{
    struct store_work *w = CONTAINER_OF(q, struct store_work, query);

    if (!on_answer(w))
        return;
    w->at++;
    w->was_ensured = false;
    go_on(w);
}

/* True: all recipients were judged. */
static bool rcpts_ask(struct store_work *w)
{
    const struct channel_setup *setup = local_setup(&w->base);
    const struct dir_conf *conf = conf_section(w->base.of->job->set, CONF_DIR);

    for (; w->at < w->base.entry.rcpt_count && !w->base.not_tried; w->at++, w->was_ensured = false) {
        const struct queue_rcpt *r = &w->base.entry.rcpts[w->at];

        if (r->state != RCPT_WAITING)
            continue;
        w->query = (struct dir_query){
            .mem = &w->base.mem, .done = on_dir, .reactor = w->base.of->service->reactor
        };
        if (address_parse(r->address, &w->query.address, &w->base.mem, NULL) < 0) {
            outcome(w, RCPT_FAILED, "5.1.3", "This is no address");
            continue;
        }
        if (!dir_ask(setup->dir, conf, &w->query) || !on_answer(w))
            return false;
    }
    if (w->base.not_tried) { /* for one all wait: the next attempt comes soon */
        w->base.outcome_count = 0;
    } else if (w->target_count != 0) {
        w->base.deliver = store_deliver;
        w->base.deliver_bytes = w->target_count * ROW_BYTES;
    }
    return true;
}

static void store_begin(struct local_work *base)
{
    struct store_work *w = work_of(base);

    if (!local_load(base)) {
        local_skip(base);
        return;
    }
    w->targets = arena_alloc_array(&base->mem, base->entry.rcpt_count + 1, sizeof *w->targets);
    go_on(w);
}

static void store_drop(struct local_work *base)
{
    store_request_destroy(&work_of(base)->ensure);
}

const struct local_kind store_kind = { .deliver = store_begin, .drop = store_drop,
                                       .work_bytes = sizeof(struct store_work) };
