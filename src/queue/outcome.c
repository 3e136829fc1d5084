/* outcome.c - see outcome.h. */
#include "queue/outcome.h"

#include "base/mem.h"

#define EXPIRED SLICE("4.4.7") /* RFC 3463 3.5: delivery time expired */
#define BY_HAND SLICE("5.0.0")

struct decision {
    const struct outcome_input *in;
    struct outcome *out;
    struct arena *mem;
    bool is_too_old;
    bool is_by_hand;
};

/* --- recipients --------------------------------------------------------------------------------------------------- */

static const struct queue_times *notice_times(const struct outcome_input *in)
{
    return &in->channel->notices_of[in->entry->priority];
}

static int64_t allowed_ms(const struct outcome_input *in)
{
    const struct queue_times *t = notice_times(in);

    return t->count == 0 ? 0 : t->ms[t->count - 1];
}

static const struct queue_outcome *outcome_of(const struct outcome_input *in, unsigned rcpt)
{
    for (unsigned i = 0; i < in->outcome_count; i++)
        if (in->outcomes[i].rcpt == rcpt)
            return &in->outcomes[i];
    return NULL;
}

/* How recipient i stands after all. True: something is to be recorded. */
static bool recipient_decide(const struct decision *d, unsigned i, struct queue_outcome *o)
{
    const struct queue_rcpt *r = &d->in->entry->rcpts[i];
    const struct queue_outcome *given = d->in->cause == CAUSE_ATTEMPT ? outcome_of(d->in, i) : NULL;

    *o = given != NULL ? *given : (struct queue_outcome){ .state = RCPT_WAITING, .status = r->status, .diag = r->diag };
    o->rcpt = i;
    if (o->state != RCPT_WAITING)
        return true;
    if (d->in->cause == CAUSE_DELETE_BY_HAND) {
        *o = (struct queue_outcome){ .rcpt = i, .state = RCPT_DELETED, .diag = d->in->reason };
        return true;
    }
    if (d->in->cause == CAUSE_RETURN_BY_HAND) {
        *o = (struct queue_outcome){ .rcpt = i, .state = RCPT_RETURNED, .status = BY_HAND, .diag = d->in->reason };
        return true;
    }
    if (d->is_too_old) { /* the last diagnostic is the best explanation there is */
        o->state = RCPT_RETURNED;
        o->status = EXPIRED;
        if (o->diag.len == 0)
            o->diag = d->in->entry->reason;
        return true;
    }
    return given != NULL;
}

/* --- notices ------------------------------------------------------------------------------------------------------ */

static struct outcome_notice *notice_for(const struct decision *d, enum dsn_kind kind, enum outcome_to to)
{
    struct outcome_notice **end = &d->out->notices;

    for (; *end != NULL; end = &(*end)->next)
        if ((*end)->kind == kind && (*end)->to == to)
            return *end;
    *end = arena_alloc(d->mem, sizeof **end);
    (*end)->kind = kind;
    (*end)->to = to;
    (*end)->rcpts = arena_alloc_array(d->mem, d->in->entry->rcpt_count, sizeof *(*end)->rcpts);
    return *end;
}

static void tell(const struct decision *d, enum dsn_kind kind, enum outcome_to to, unsigned rcpt)
{
    struct outcome_notice *n = notice_for(d, kind, to);

    n->rcpts[n->rcpt_count++] = rcpt;
}

/* RFC 3461 4.1: without NOTIFY the sender hears of failures and delays. */
static bool wants(const struct queue_rcpt *r, uint32_t what)
{
    uint32_t notify = r->notify == 0 ? NOTIFY_FAILURE | NOTIFY_DELAY : r->notify;

    return (notify & NOTIFY_NEVER) == 0 && (notify & what) != 0;
}

enum post_copy { POST_NEVER, POST_ON_ERROR, POST_WITH_SENDER, POST_ALWAYS }; /* words of sendpost and warnpost */

static bool copies_to_postmaster(const struct decision *d, uint32_t keyword)
{
    bool has_sender = d->in->entry->sender.len != 0;

    switch ((enum post_copy)keyword) {
    case POST_ON_ERROR:
        return !has_sender;
    case POST_WITH_SENDER:
        return has_sender;
    case POST_ALWAYS:
        return true;
    default:
        return false;
    }
}

static void tell_failure(const struct decision *d, enum dsn_kind kind, unsigned i)
{
    const struct queue_entry *e = d->in->entry;

    if ((e->flags & QUEUE_DOUBLE_BOUNCE) != 0)
        return;
    if (e->sender.len == 0 || (e->flags & QUEUE_IS_NOTICE) != 0) {
        tell(d, kind, TO_POSTMASTER_DOUBLE, i);
        return;
    }
    if (wants(&e->rcpts[i], NOTIFY_FAILURE))
        tell(d, kind, TO_SENDER, i);
    if (copies_to_postmaster(d, d->in->channel->sendpost))
        tell(d, kind, TO_POSTMASTER, i);
}

static void tell_success(const struct decision *d, enum dsn_kind kind, unsigned i)
{
    const struct queue_entry *e = d->in->entry;

    if (e->sender.len != 0 && (e->flags & QUEUE_IS_NOTICE) == 0 && wants(&e->rcpts[i], NOTIFY_SUCCESS))
        tell(d, kind, TO_SENDER, i);
}

static void tell_delay(const struct decision *d, unsigned i)
{
    const struct queue_entry *e = d->in->entry;
    bool can_tell = e->sender.len != 0 && (e->flags & QUEUE_IS_NOTICE) == 0;

    if (can_tell && wants(&e->rcpts[i], NOTIFY_DELAY))
        tell(d, DSN_KIND_DELAYED, TO_SENDER, i);
    if ((e->flags & QUEUE_DOUBLE_BOUNCE) == 0 && copies_to_postmaster(d, d->in->channel->warnpost))
        tell(d, DSN_KIND_DELAYED, TO_POSTMASTER, i);
}

static void recipient_tell(const struct decision *d, const struct queue_outcome *o)
{
    switch ((enum queue_rcpt_state)o->state) {
    case RCPT_FAILED:
        tell_failure(d, DSN_KIND_FAILED, o->rcpt);
        break;
    case RCPT_RETURNED:
        tell_failure(d, d->is_by_hand ? DSN_KIND_BOUNCED : DSN_KIND_TIMEDOUT, o->rcpt);
        break;
    case RCPT_DELIVERED:
        tell_success(d, DSN_KIND_DELIVERED, o->rcpt);
        break;
    case RCPT_RELAYED:
        if (!d->in->peer_has_dsn)
            tell_success(d, DSN_KIND_FORWARDED, o->rcpt);
        break;
    case RCPT_EXPANDED: /* of a list; mail that is only routed again keeps its NOTIFY in the new entries */
        if ((d->in->entry->flags & QUEUE_EXPANDED) != 0)
            tell_success(d, DSN_KIND_EXPANDED, o->rcpt);
        break;
    default:
        break;
    }
}

/* --- times -------------------------------------------------------------------------------------------------------- */

/* The first notice time after now; the return's when all warnings are over. */
static int64_t next_notice_ms(const struct outcome_input *in)
{
    const struct queue_times *t = notice_times(in);

    for (unsigned i = 0; i < t->count; i++)
        if (in->entry->created_ms + t->ms[i] > in->now_ms)
            return in->entry->created_ms + t->ms[i];
    return t->count == 0 ? 0 : in->entry->created_ms + t->ms[t->count - 1];
}

static int64_t next_attempt_ms(const struct outcome_input *in)
{
    int64_t wait = queue_backoff(in->channel, in->entry->priority, in->entry->attempts + 1);
    int64_t spread = wait / 100 * in->queue->jitter_percent;

    if (spread > 0) /* evenly between wait - spread and wait + spread */
        wait += (int64_t)(in->random % (uint64_t)(2 * spread + 1)) - spread;
    if (wait < in->retry_ms)
        wait = in->retry_ms;
    return in->now_ms + wait;
}

void outcome_decide(const struct outcome_input *in, struct outcome *out, struct arena *mem)
{
    const struct queue_entry *e = in->entry;
    struct decision d = { .in = in, .out = out, .mem = mem };

    *out = (struct outcome){ .allowed_ms = allowed_ms(in) };
    out->outcomes = arena_alloc_array(mem, e->rcpt_count, sizeof *out->outcomes);
    d.is_by_hand = in->cause == CAUSE_RETURN_BY_HAND;
    d.is_too_old = out->allowed_ms != 0 && in->now_ms - e->created_ms >= out->allowed_ms;
    out->is_warning = in->cause == CAUSE_AGE && !d.is_too_old;
    for (unsigned i = 0; i < e->rcpt_count; i++) {
        struct queue_outcome o;

        if (e->rcpts[i].state != RCPT_WAITING)
            continue;
        if (recipient_decide(&d, i, &o))
            out->outcomes[out->outcome_count++] = o;
        if (o.state != RCPT_WAITING) {
            recipient_tell(&d, &o);
            continue;
        }
        out->left++;
        if (out->is_warning)
            tell_delay(&d, i);
    }
    if (in->cause == CAUSE_ATTEMPT && out->left != 0)
        out->due_ms = next_attempt_ms(in);
    if (out->is_warning)
        out->notice_ms = next_notice_ms(in);
}
