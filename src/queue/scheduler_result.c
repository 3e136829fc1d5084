/* scheduler_result.c - what became of an entry: decided, recorded, logged; and what age does to it.
 *
 *   job_result --> prepare --(no notices)--> submit --> on_recorded --> finish
 *        |            +--> helper: compose -----^           |
 *        +--> nothing to record: put back --> finish        +--> refused: kept, goes on by the timer
 */
#include "queue/scheduler_internal.h"

#include "base/random.h"
#include "queue/notice.h"

#define RETRY_MS INT64_C(1000)
#define RETRY_MAX_MS INT64_C(30000)
#define TRIES_WITH_NOTICES 5u /* for a reason that is neither load nor a full disk */
#define TRIES_TO_READ 5u      /* of the entry; then it has ended */
#define NOTICES_AT_ONCE 200u
#define NOTICES_WAIT_MS INT64_C(10000) /* after some could not be handled */
#define NOTICES_ASK_MS INT64_C(60000)  /* new entries may have earlier ones */

struct planned { /* a result with what was decided */
    struct result r;
    struct job job; /* composing, on a helper */
    struct outcome_input in;
    struct outcome out;
    const struct queue_outcome *given; /* the worker's outcomes */
    unsigned given_count;
    struct queue_addition *additions; /* the worker's, which come first */
    bool is_prepared, is_composed, is_partial, is_unreached, is_without_notices;
    unsigned tries;
};

static struct planned *planned_of(struct result *r)
{
    return CONTAINER_OF(r, struct planned, r);
}

static void on_recorded(struct queue_request *q);

/* --- making ------------------------------------------------------------------------------------------------------- */

static struct planned *planned_new(struct scheduler *s, enum queue_what what, struct dest *d, uint64_t entry,
                                   struct conf_set *set)
{
    struct queue_request *q = queue_request_new(what);
    struct planned *p = arena_alloc(&q->mem, sizeof *p);

    q->entry = entry;
    q->by = SLICE("scheduler");
    q->reactor = s->reactor;
    q->done = on_recorded;
    q->arg = p;
    p->r = (struct result){ .s = s, .dest = d, .set = set, .request = q };
    if (set != NULL)
        snap_ref(&set->snap);
    list_init(&p->r.link);
    atomic_fetch_add(&s->inflight, 1);
    return p;
}

static const struct queue_conf *queue_conf_of(const struct scheduler *s, const struct conf_set *set)
{
    const struct queue_conf *c = set != NULL ? conf_section(set, CONF_QUEUE) : NULL;

    return c != NULL ? c : &s->default_queue;
}

/* For a part of an entry: those not spoken of are left out of the decision. */
static void others_hide(struct planned *p)
{
    struct queue_entry *e = &p->r.entry;
    bool *is_told = arena_alloc_array(&p->r.request->mem, e->rcpt_count + 1, sizeof *is_told);

    for (unsigned i = 0; i < p->given_count; i++)
        if (p->given[i].rcpt < e->rcpt_count)
            is_told[p->given[i].rcpt] = true;
    for (unsigned i = 0; i < e->rcpt_count; i++)
        if (!is_told[i] && e->rcpts[i].state == RCPT_WAITING)
            e->rcpts[i].state = RCPT_MOVED;
}

static void decide(struct planned *p, enum outcome_cause cause)
{
    struct result *r = &p->r;

    p->in = (struct outcome_input){ .entry = &r->entry, .channel = r->conf, .queue = queue_conf_of(r->s, r->set),
                                    .cause = cause, .outcomes = p->given, .outcome_count = p->given_count,
                                    .now_ms = wall_now(r->s), .retry_ms = r->retry_ms,
                                    .peer_has_dsn = p->in.peer_has_dsn, .random = p->in.random };
    if (p->in.queue->jitter_percent != 0)
        p->in.random = (uint32_t)random_u64();
    outcome_decide(&p->in, &p->out, &r->request->mem);
    if (r->set == NULL || conf_section(r->set, CONF_NOTICES) == NULL)
        p->out.notices = NULL;
}

/* False: the entry cannot be read: it has ended, or there is no reader at the moment. */
static bool prepare(struct planned *p)
{
    struct result *r = &p->r;

    p->is_prepared = queue_entry_get(r->s->queue, NULL, r->request->entry, &r->request->mem, &r->entry);
    if (p->is_prepared && p->is_partial)
        others_hide(p);
    if (p->is_prepared)
        decide(p, CAUSE_ATTEMPT);
    return p->is_prepared;
}

/* --- composing and submitting ------------------------------------------------------------------------------------- */

static int deliver(struct journal_tx *tx, struct queue_request *q, struct err *err)
{
    struct planned *p = q->arg;
    int rc;

    q->arg = p->r.deliver_arg;
    rc = p->r.deliver(tx, q, err);
    q->arg = p;
    return rc;
}

static void submit(struct planned *p)
{
    struct queue_request *q = p->r.request;

    if (p->r.deliver != NULL)
        q->deliver = deliver;
    queue_request_submit(p->r.s->queue, q);
}

static void additions_cut(struct planned *p)
{
    struct queue_addition **end = &p->additions, *a;

    while (*end != NULL)
        end = &(*end)->next;
    if (p->additions == NULL)
        end = &p->r.request->additions;
    for (a = *end; a != NULL; a = a->next)
        body_writer_destroy(&a->body);
    *end = NULL;
    p->r.request->additions = p->additions;
}

/* On a helper when there are notices, which need the message. */
static bool compose(struct planned *p)
{
    struct queue_request *q = p->r.request;
    struct outcome without = p->out;
    struct err err = ERR_INIT;

    ASSERT(p->r.s != NULL); /* for the analyser, which loses it on the way through the embedded job */
    if (p->is_without_notices)
        without.notices = NULL;
    p->is_composed = notice_compose(p->r.s->setup.journal, p->r.set, &p->in, &without, q, &err) == 0;
    if (!p->is_composed) {
        additions_cut(p);
        diag_warn("queue", "entry %llx: its notices could not be made: %s", (unsigned long long)q->entry, err.text);
        return false;
    }
    if (p->is_partial) {
        q->is_attempt = false;
        q->is_partial = true;
        q->due_ms = 0;
    }
    return true;
}

static void refused(struct planned *p, enum err_kind kind);

static void compose_run(struct job *job)
{
    compose(CONTAINER_OF(job, struct planned, job));
}

static void compose_done(struct job *job)
{
    struct planned *p = CONTAINER_OF(job, struct planned, job);

    if (p->is_composed)
        submit(p);
    else
        refused(p, ERR_DAMAGE);
}

static void on_compose_failed(struct post *post)
{
    refused(planned_of(CONTAINER_OF(post, struct result, post)), ERR_DAMAGE);
}

static void on_compose_later(struct post *post)
{
    refused(planned_of(CONTAINER_OF(post, struct result, post)), ERR_LIMIT);
}

/* Any thread. */
static void compose_and_submit(struct planned *p)
{
    struct scheduler *s = p->r.s;

    if (p->out.notices == NULL || p->is_without_notices || s->setup.helpers == NULL) {
        if (compose(p))
            submit(p);
        else
            reactor_post(s->reactor, &p->r.post, on_compose_failed);
        return;
    }
    p->job = (struct job){ .run = compose_run, .done = compose_done, .reactor = s->reactor };
    if (!pool_submit(s->setup.helpers, &p->job))
        reactor_post(s->reactor, &p->r.post, on_compose_later);
}

/* --- the log and the counters ------------------------------------------------------------------------------------- */

static const struct queue_outcome *outcome_of(const struct queue_request *q, unsigned rcpt)
{
    for (unsigned i = 0; i < q->outcome_count; i++)
        if (q->outcomes[i].rcpt == rcpt)
            return &q->outcomes[i];
    return NULL;
}

static bool is_told(const struct planned *p, unsigned rcpt)
{
    if (p->is_without_notices)
        return false;
    for (const struct outcome_notice *n = p->out.notices; n != NULL; n = n->next)
        for (unsigned i = 0; i < n->rcpt_count && n->to != TO_POSTMASTER; i++)
            if (n->rcpts[i] == rcpt)
                return true;
    return false;
}

/* Actions of the transaction log: K ends without a notice to anybody, R with one; Z: others of the attempt ended. */
static char code_of(const struct planned *p, unsigned state, unsigned rcpt, bool has_ended)
{
    static const char codes[RCPT_STATES] = { [RCPT_WAITING] = 'Q', [RCPT_DELIVERED] = 'D', [RCPT_RELAYED] = 'D',
                                             [RCPT_FAILED] = 'R',  [RCPT_RETURNED] = 'R',  [RCPT_DELETED] = 'D',
                                             [RCPT_EXPANDED] = 'D', [RCPT_MOVED] = 'D' };

    if (p->out.is_warning)
        return 'W';
    if (codes[state] == 'R' && !is_told(p, rcpt))
        return 'K';
    return codes[state] == 'Q' && has_ended ? 'Z' : codes[state];
}

static uint32_t notary_of(const struct queue_entry *e, const struct queue_rcpt *r)
{
    uint32_t n = e->ret == RET_HDRS ? TXLOG_HEADERS : 0;

    if (r->notify == 0)
        return n | TXLOG_FAILURE | TXLOG_DELAY;
    n |= (r->notify & NOTIFY_NEVER) != 0 ? TXLOG_NEVER : 0;
    n |= (r->notify & NOTIFY_SUCCESS) != 0 ? TXLOG_SUCCESS : 0;
    n |= (r->notify & NOTIFY_FAILURE) != 0 ? TXLOG_FAILURE : 0;
    return n | ((r->notify & NOTIFY_DELAY) != 0 ? TXLOG_DELAY : 0);
}

static slice orcpt_of(const struct queue_rcpt *r)
{
    static const slice prefix = { (const unsigned char *)"rfc822;", 7 };

    if (slice_starts_nocase(r->orcpt, prefix))
        return slice_from(r->orcpt, prefix.len);
    if (r->orcpt.len != 0)
        return r->orcpt;
    return r->original.len != 0 ? r->original : r->address;
}

static void record_write(const struct planned *p, unsigned rcpt, char code, slice status, slice diag)
{
    const struct queue_entry *e = &p->r.entry;
    const struct queue_rcpt *r = &e->rcpts[rcpt];
    int64_t wait_ms = wall_now(p->r.s) - e->created_ms;
    char id[17];

    queue_entry_id_print(e->id, id);
    txlog_write(p->r.s->setup.log,
                &(struct txlog_record){ .code = code,
                                        .modifiers = p->r.modifiers,
                                        .session = e->session,
                                        .entry = slice_str(id),
                                        .source = e->channel,
                                        .bytes = body_view_bytes(&e->view),
                                        .sender = e->sender,
                                        .orcpt = orcpt_of(r),
                                        .rcpt = r->address,
                                        .notary = notary_of(e, r),
                                        .envid = e->envid,
                                        .message_id = e->message_id,
                                        .user = e->user,
                                        .source_system = e->source_host,
                                        .reason = p->r.request->reason,
                                        .diagnostic = diag.len != 0 ? diag : status,
                                        .transport = p->r.transport,
                                        .application = p->r.application,
                                        .has_queue_s = true,
                                        .queue_s = wait_ms > 0 ? (uint32_t)(wait_ms / 1000) : 0 });
}

struct sums_of_result {
    unsigned good, bad, waiting;
};

static void result_tally(const struct planned *p, const struct sums_of_result *n)
{
    const struct queue_entry *e = &p->r.entry;
    struct tally *t = p->r.s->tally;
    int64_t bytes = (int64_t)body_view_bytes(&e->view), wait_s = (wall_now(p->r.s) - e->created_ms) / 1000;

    if (n->good != 0) {
        tally_add(t, e->channel, TALLY_DELIVERED, 1, n->good, bytes);
        tally_add_number(t, e->channel, TALLY_QUEUE_S, wait_s);
        tally_add_number(t, e->channel, TALLY_QUEUE_COUNT, 1);
    }
    if (n->good != 0 && e->attempts == 0) {
        tally_add_number(t, e->channel, TALLY_FIRST, 1);
        tally_add_number(t, e->channel, TALLY_QUEUE_FIRST_S, wait_s);
        tally_add_number(t, e->channel, TALLY_QUEUE_FIRST_COUNT, 1);
    }
    if (n->bad != 0)
        tally_add(t, e->channel, TALLY_FAILED, 1, n->bad, bytes);
    if (n->waiting != 0 && !p->r.is_age)
        tally_add(t, e->channel, TALLY_ATTEMPTED, 1, n->waiting, bytes);
}

/* A notice that was enqueued with the result; its id and the original's stand in one field. */
static void notice_say(const struct planned *p, const struct queue_addition *a)
{
    const struct queue_entry *e = &a->entry;
    uint64_t bytes = a->body != NULL ? body_writer_bytes(a->body) : body_view_bytes(&e->view);
    struct buf ids = BUF_INIT;
    char id[17];

    queue_entry_id_print(a->id, id);
    buf_put_slice(&ids, e->message_id);
    if (p->r.entry.message_id.len != 0)
        buf_printf(&ids, ",%.*s", SLICE_ARG(p->r.entry.message_id));
    for (unsigned i = 0; i < e->rcpt_count; i++)
        txlog_write(p->r.s->setup.log, &(struct txlog_record){ .code = 'E',
                                                               .session = e->session,
                                                               .entry = slice_str(id),
                                                               .source = e->source,
                                                               .destination = e->channel,
                                                               .bytes = bytes,
                                                               .sender = e->sender,
                                                               .orcpt = orcpt_of(&e->rcpts[i]),
                                                               .rcpt = e->rcpts[i].address,
                                                               .notary = notary_of(e, &e->rcpts[i]),
                                                               .message_id = buf_slice(&ids),
                                                               .source_system = e->source_host });
    tally_add(p->r.s->tally, e->channel, TALLY_RECEIVED, 1, e->rcpt_count, (int64_t)bytes);
    tally_add(p->r.s->tally, e->source, TALLY_SUBMITTED, 1, e->rcpt_count, (int64_t)bytes);
    buf_free(&ids);
}

/* What was recorded, as people and counters see it. */
static struct sums_of_result result_say(const struct planned *p)
{
    const struct queue_request *q = p->r.request;
    const struct queue_entry *e = &p->r.entry;
    bool logs = p->r.conf == NULL || p->r.conf->logging, has_ended = false;
    struct sums_of_result n = { 0 };

    for (unsigned i = 0; i < q->outcome_count; i++)
        has_ended = has_ended || q->outcomes[i].state != RCPT_WAITING;
    for (unsigned i = 0; i < e->rcpt_count; i++) {
        const struct queue_outcome *o = outcome_of(q, i);
        unsigned state = o != NULL ? o->state : RCPT_WAITING;

        if (e->rcpts[i].state != RCPT_WAITING || (o == NULL && p->r.is_age && !is_told(p, i)))
            continue;
        n.waiting += state == RCPT_WAITING;
        n.bad += state == RCPT_FAILED || state == RCPT_RETURNED;
        n.good += state != RCPT_WAITING && state != RCPT_FAILED && state != RCPT_RETURNED;
        if (logs)
            record_write(p, i, code_of(p, state, i, has_ended), o != NULL ? o->status : SLICE_NONE,
                         o != NULL ? o->diag : SLICE_NONE);
    }
    result_tally(p, &n);
    for (const struct queue_addition *a = q->additions; a != NULL; a = a->next)
        if ((a->entry.flags & QUEUE_IS_NOTICE) != 0 && a->id != 0)
            notice_say(p, a);
    return n;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static void finish(struct planned *p, enum queue_result result)
{
    struct scheduler *s = p->r.s;
    struct queue_request *q = p->r.request;
    struct conf_set *set = p->r.set;
    void (*done)(void *arg, enum queue_result result) = p->r.done;
    void *arg = p->r.arg;

    queue_request_destroy(&q); /* p goes with it */
    if (set != NULL)
        snap_unref(&set->snap);
    if (done != NULL)
        done(arg, result);
    atomic_fetch_sub(&s->inflight, 1);
    scheduler_again(s);
}

/* The entry is nobody's any more, and due as before. */
static void put_back(struct planned *p, enum queue_result result)
{
    struct dest *d = p->r.dest;

    if (p->r.deliver != NULL || p->r.retry_ms != 0)
        dest_pause(p->r.s, d);
    if (!p->is_partial)
        dest_released(p->r.s, d, p->r.request->entry, true);
    dest_place(p->r.s, d);
    finish(p, result);
}

static void gone(struct planned *p)
{
    if (!p->is_partial)
        dest_released(p->r.s, p->r.dest, p->r.request->entry, false);
    dest_place(p->r.s, p->r.dest);
    finish(p, QUEUE_GONE);
}

static void on_put_back(struct post *post)
{
    put_back(planned_of(CONTAINER_OF(post, struct result, post)), QUEUE_TEMP);
}

static void dest_learn(struct planned *p, const struct sums_of_result *n)
{
    struct scheduler *s = p->r.s;
    struct dest *d = p->r.dest;
    const struct queue_request *q = p->r.request;

    d->delivered += n->good;
    d->failed += n->bad;
    if (p->r.not_tried || p->is_unreached)
        return;
    if (n->good + n->bad != 0)
        dest_success(s, d);
    else
        dest_alive(s, d);
    if (n->waiting != 0 && q->outcome_count != 0)
        dest_diag(d, q->outcomes[0].diag);
}

static void recorded(struct planned *p)
{
    struct scheduler *s = p->r.s;
    struct dest *d = p->r.dest;
    const struct queue_request *q = p->r.request;
    struct sums_of_result n = { 0 };

    if (!p->r.not_tried)
        n = result_say(p);
    dest_learn(p, &n);
    if (!p->is_partial) {
        dest_released(s, d, q->entry, false);
        if (q->left != 0)
            dest_due(s, d, q->due_ms);
    }
    dest_place(s, d);
    finish(p, QUEUE_OK);
}

/* --- what the disk refuses ---------------------------------------------------------------------------------------- */

/* Kept until it can be recorded: what was sent is not sent again. Load and a full disk stop new jobs. */
static void refused(struct planned *p, enum err_kind kind)
{
    struct scheduler *s = p->r.s;

    counter_add(&scheduler_counters[SC_REFUSED], 1);
    if (atomic_load(&s->is_over)) {
        diag_error("queue", "entry %llx: the outcome of an attempt is not recorded: %s",
                   (unsigned long long)p->r.request->entry, p->r.request->err.text);
        put_back(p, QUEUE_TEMP);
        return;
    }
    s->disk_refuses = s->disk_refuses || kind == ERR_TEMP || kind == ERR_FULL;
    if (kind != ERR_TEMP && kind != ERR_FULL && kind != ERR_LIMIT && ++p->tries == TRIES_WITH_NOTICES) {
        diag_error("queue", "entry %llx: recorded without its notices: %s", (unsigned long long)p->r.request->entry,
                   p->r.request->err.text);
        p->is_without_notices = true;
        p->is_composed = false;
        additions_cut(p);
    }
    if (list_is_empty(&s->refused))
        s->retry_ms = mono_now(s) + s->retry_wait_ms;
    list_push_back(&s->refused, &p->r.link);
    scheduler_again(s);
}

void results_retry(struct scheduler *s)
{
    struct list now;

    s->retry_ms = 0;
    s->retry_wait_ms = s->retry_wait_ms * 2 < RETRY_MAX_MS ? s->retry_wait_ms * 2 : RETRY_MAX_MS;
    list_init(&now);
    list_splice(&now, &s->refused);
    for (struct list *it; (it = list_pop_front(&now)) != NULL;) {
        struct planned *p = planned_of(LIST_ENTRY(it, struct result, link));

        if (p->is_composed)
            submit(p);
        else if (p->is_prepared || prepare(p))
            compose_and_submit(p);
        else if (++p->tries >= TRIES_TO_READ)
            gone(p);
        else
            refused(p, ERR_LIMIT);
    }
}

void results_give_up(struct scheduler *s)
{
    while (!list_is_empty(&s->refused))
        refused(planned_of(LIST_ENTRY(list_pop_front(&s->refused), struct result, link)), ERR_TEMP);
}

static void age_recorded(struct planned *p);

static void on_recorded(struct queue_request *q)
{
    struct planned *p = q->arg;
    struct scheduler *s = p->r.s;

    if (q->result == QUEUE_OK || q->result == QUEUE_GONE) {
        s->retry_wait_ms = RETRY_MS;
        s->disk_refuses = false;
    }
    if (p->r.is_age)
        age_recorded(p);
    else if (q->result == QUEUE_OK)
        recorded(p);
    else if (q->result == QUEUE_GONE)
        gone(p);
    else if (p->r.deliver != NULL || p->r.not_tried)
        put_back(p, q->result);
    else
        refused(p, q->err.kind);
}

/* --- from the worker ---------------------------------------------------------------------------------------------- */

static void open_close(struct job_state *j, uint64_t entry, bool stays)
{
    unsigned i = 0;

    while (i < j->open_count && j->open[i] != entry)
        i++;
    ASSERT(i < j->open_count); /* an entry that the job does not have, or a second result */
    if (stays)
        return;
    memmove(&j->open[i], &j->open[i + 1], (j->open_count - i - 1) * sizeof *j->open);
    j->open_count--;
    atomic_store(&j->open_shown, j->open_count);
    atomic_store(&j->current, j->open_count != 0 ? j->open[0] : 0);
}

static void outcomes_keep(struct planned *p, const struct job_result *r)
{
    struct arena *mem = &p->r.request->mem;
    struct queue_outcome *o = arena_alloc_array(mem, r->outcome_count + 1, sizeof *o);

    for (unsigned i = 0; i < r->outcome_count; i++) {
        o[i] = r->outcomes[i];
        o[i].status = slice_dup(mem, slice_sub(o[i].status, 0, QUEUE_STATUS_MAX));
        o[i].diag = slice_dup(mem, slice_sub(o[i].diag, 0, QUEUE_DIAG_MAX));
    }
    p->given = o;
    p->given_count = r->outcome_count;
}

static void inputs_keep(struct planned *p, const struct job_result *r)
{
    struct queue_request *q = p->r.request;
    struct arena *mem = &q->mem;

    p->r.where = slice_dup(mem, r->where);
    p->r.transport = slice_dup(mem, r->transport);
    p->r.application = slice_dup(mem, r->application);
    p->r.modifiers = slice_dup(mem, r->modifiers);
    p->r.not_tried = r->not_tried;
    p->r.retry_ms = r->retry_ms;
    p->r.deliver = r->deliver;
    p->r.deliver_arg = r->deliver_arg;
    p->r.done = r->done;
    p->r.arg = r->arg;
    p->is_partial = r->is_partial;
    p->in.peer_has_dsn = r->peer_has_dsn;
    p->additions = r->additions;
    q->additions = r->additions;
    q->deliver_bytes = r->deliver_bytes;
    q->reason = slice_dup(mem, r->reason);
    if (r->where.len != 0)
        q->by = p->r.where;
}

void job_result(struct channel_job *job, const struct job_result *r)
{
    struct job_state *j = CONTAINER_OF(job, struct job_state, pub);
    struct scheduler *s = j->s;
    struct planned *p = planned_new(s, QUEUE_RESULT, j->dest, r->entry, j->pub.set);

    job_progress(job);
    open_close(j, r->entry, r->is_partial);
    p->r.conf = j->pub.conf;
    inputs_keep(p, r);
    outcomes_keep(p, r);
    j->put_back += r->not_tried;
    j->results += !r->not_tried;
    if (r->not_tried && r->retry_ms <= 0) {
        reactor_post(s->reactor, &p->r.post, on_put_back);
        return;
    }
    if (r->not_tried) {
        p->r.request->due_ms = wall_now(s) + r->retry_ms;
        submit(p);
        return;
    }
    atomic_fetch_add(&j->processed, 1);
    if (!prepare(p)) {
        reactor_post(s->reactor, &p->r.post, on_compose_later);
        return;
    }
    atomic_fetch_add(&j->requeued, p->out.left != 0);
    compose_and_submit(p);
}

void result_unreached(struct scheduler *s, struct dest *d, struct job_state *j, uint64_t id)
{
    struct planned *p = planned_new(s, QUEUE_RESULT, d, id, j->pub.set);
    struct queue_request *q = p->r.request;
    struct queue_outcome *o;

    p->is_unreached = true;
    p->r.conf = j->pub.conf;
    q->reason = slice_dup(&q->mem, slice_of(j->diag, j->diag_len));
    if (!queue_entry_get(s->queue, NULL, id, &q->mem, &p->r.entry)) {
        put_back(p, QUEUE_TEMP); /* nothing was sent: whoever looks for it next will know */
        return;
    }
    o = arena_alloc_array(&q->mem, p->r.entry.rcpt_count + 1, sizeof *o);
    for (unsigned i = 0; i < p->r.entry.rcpt_count; i++)
        o[i] = (struct queue_outcome){ .rcpt = i, .state = RCPT_WAITING, .diag = q->reason,
                                       .status = slice_dup(&q->mem, slice_of(j->status, j->status_len)) };
    p->given = o;
    p->given_count = p->r.entry.rcpt_count;
    p->is_prepared = true;
    decide(p, CAUSE_ATTEMPT);
    compose_and_submit(p);
}

/* --- what only waits ---------------------------------------------------------------------------------------------- */

static void on_held(struct queue_request *q)
{
    struct planned *p = q->arg;

    if (q->result == QUEUE_OK || q->result == QUEUE_GONE)
        gone(p);
    else
        put_back(p, q->result);
}

void entry_hold(struct scheduler *s, struct dest *d, uint64_t id)
{
    struct planned *p = planned_new(s, QUEUE_HOLD, d, id, s->set);

    p->r.request->done = on_held;
    p->r.request->reason = SLICE("the channel holds its mail");
    p->r.retry_ms = RETRY_MS; /* pause when it is refused */
    queue_request_submit(s->queue, p->r.request);
}

/* --- age ---------------------------------------------------------------------------------------------------------- */

static void notices_next(struct scheduler *s, int64_t after_ms)
{
    s->notice_ms = mono_now(s) + after_ms;
    scheduler_again(s);
}

static void age_recorded(struct planned *p)
{
    struct scheduler *s = p->r.s;
    const struct queue_request *q = p->r.request;
    struct dest *d = idmap_get(&s->dests, p->r.entry.dest);

    if (q->result == QUEUE_OK) {
        counter_add(&scheduler_counters[p->out.is_warning ? SC_WARNINGS : SC_AGED], 1);
        result_say(p);
        if (q->left == 0 && d != NULL)
            dest_gone(s, d, q->entry);
    } else if (q->result != QUEUE_GONE) {
        s->notices_go_on = false; /* active, or the disk fails: later */
    }
    if (--s->notices_pending == 0)
        notices_next(s, s->notices_go_on ? 0 : NOTICES_WAIT_MS);
    finish(p, q->result);
}

static void on_age_failed(struct post *post)
{
    struct planned *p = planned_of(CONTAINER_OF(post, struct result, post));

    p->r.request->result = QUEUE_TEMP;
    age_recorded(p);
}

static void age_run(struct job *job)
{
    struct planned *p = CONTAINER_OF(job, struct planned, job);

    /* What cannot be composed again and again would stop all others: it goes on without its notice next time. */
    if (!compose(p)) {
        p->is_without_notices = true;
        compose(p);
    }
}

static void age_submit(struct job *job)
{
    submit(CONTAINER_OF(job, struct planned, job));
}

/* What was never tried, because its host cannot be reached, waits for what the others were told. */
static void reason_borrow(struct scheduler *s, struct planned *p)
{
    const struct dest *d = idmap_get(&s->dests, p->r.entry.dest);

    if (p->r.entry.attempts == 0 && p->r.entry.reason.len == 0 && d != NULL && d->is_dead && d->diag != NULL)
        p->r.entry.reason = slice_dup(&p->r.request->mem, slice_str(d->diag));
}

static void age_look(struct scheduler *s, uint64_t id)
{
    struct planned *p = planned_new(s, QUEUE_RESULT, NULL, id, s->set);

    p->r.is_age = true;
    s->notices_pending++;
    if (!queue_entry_get(s->queue, NULL, id, &p->r.request->mem, &p->r.entry)) {
        reactor_post(s->reactor, &p->r.post, on_age_failed);
        return;
    }
    p->r.conf = channel_conf_find(s->channels_conf, p->r.entry.channel);
    if (p->r.conf == NULL)
        p->r.conf = &s->channels_conf->channels[0];
    reason_borrow(s, p);
    decide(p, CAUSE_AGE);
    p->job = (struct job){ .run = age_run, .done = age_submit, .reactor = s->reactor };
    if (p->out.notices == NULL || s->setup.helpers == NULL) {
        age_run(&p->job);
        age_submit(&p->job);
    } else if (!pool_submit(s->setup.helpers, &p->job)) {
        reactor_post(s->reactor, &p->r.post, on_age_failed);
    }
}

void notices_look(struct scheduler *s)
{
    uint64_t ids[NOTICES_AT_ONCE];
    int64_t next_ms = 0, now_ms = wall_now(s);
    unsigned n;

    if (s->notices_pending != 0)
        return;
    n = queue_notice_due(s->queue, now_ms, ids, NOTICES_AT_ONCE, &next_ms);
    next_ms = next_ms != 0 && next_ms - now_ms < NOTICES_ASK_MS ? next_ms - now_ms : NOTICES_ASK_MS;
    notices_next(s, next_ms > 0 ? next_ms : TICK_MS);
    s->notices_go_on = true;
    for (unsigned i = 0; i < n; i++)
        age_look(s, ids[i]);
}
