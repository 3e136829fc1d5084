/* process.c - channel types process and hold: an entry is routed as mail that comes in is. */
#include "channel/internal.h"

#include "net/conf.h"
#include "store/message.h"

#define HEADER_PIECE_BYTES 8192u

struct route_work {
    struct local_work base; /* first */
    struct job load;
    bool is_there;
    struct err err;
    struct buf header; /* of the message, with its empty line */
    struct intake_peer peer;
    struct intake_tx *tx;
    unsigned at;        /* recipient under way */
    unsigned *accepted; /* recipients that intake took, in its order */
    unsigned accepted_count;
    enum queue_rcpt_state end; /* how a recipient ends that goes on elsewhere */
};

static struct route_work *work_of(struct local_work *w)
{
    return (struct route_work *)(void *)w;
}

/* --- reading: on a helper ----------------------------------------------------------------------------------------- */

/* The header of the message; all of it when it has no empty line. */
static int header_load(struct route_work *w)
{
    const struct channel_setup *setup = local_setup(&w->base);
    const struct intake_conf *conf = conf_section(w->base.of->job->set, CONF_INTAKE);
    const struct body_view *v = &w->base.entry.view;
    uint64_t whole = body_view_bytes(v), seen = 0;

    while (w->header.len < whole && w->header.len < conf->header_bytes_max + HEADER_PIECE_BYTES) {
        ssize_t end;

        if (store_message_read(setup->store, v, w->header.len, HEADER_PIECE_BYTES, &w->header, &w->err) < 0)
            return -1;
        end = slice_find(slice_from(buf_slice(&w->header), seen), SLICE("\r\n\r\n"));
        if (end >= 0) {
            w->header.len = seen + (size_t)end + 4;
            return 0;
        }
        seen = w->header.len > 3 ? w->header.len - 3 : 0;
    }
    return 0;
}

static void load_run(struct job *job)
{
    struct route_work *w = CONTAINER_OF(job, struct route_work, load);

    w->err = ERR_INIT;
    w->is_there = local_load(&w->base) && header_load(w) == 0;
}

/* --- in the operation --------------------------------------------------------------------------------------------- */

static int route_deliver(struct journal_tx *tx, struct queue_request *r, struct err *err)
{
    struct route_work *w = r->arg;

    return intake_known_emit(w->tx, tx, err);
}

static void route_recorded(struct local_work *base, enum queue_result result)
{
    struct route_work *w = work_of(base);

    if (w->tx != NULL && base->deliver != NULL)
        intake_known_done(w->tx, result == QUEUE_OK);
}

/* --- routing: on the reactor -------------------------------------------------------------------------------------- */

static slice reply_text(struct arena *mem, enum intake_reply reply)
{
    struct buf text = BUF_INIT;
    slice out;

    buf_printf(&text, "%u %s %s", intake_replies[reply].code, intake_replies[reply].enhanced,
               intake_replies[reply].text);
    out = slice_dup(mem, buf_slice(&text));
    buf_free(&text);
    return out;
}

static void refused(struct route_work *w, unsigned rcpt, enum intake_reply reply)
{
    local_outcome(&w->base, rcpt, intake_replies[reply].code >= 500 ? RCPT_FAILED : RCPT_WAITING,
                  slice_str(intake_replies[reply].enhanced), reply_text(&w->base.mem, reply));
}

/* Every recipient was asked for. */
static void route_end(struct route_work *w)
{
    struct err err = ERR_INIT;
    bool is_any = false;

    if (w->accepted_count != 0) {
        intake_known(w->tx, &(struct intake_known){ .view = w->base.entry.view,
                                                    .header = buf_slice(&w->header),
                                                    .entry = &w->base.entry });
        is_any = intake_known_check(w->tx, &err);
        if (err.kind != ERR_NONE)
            w->base.not_tried = true;
    }
    for (unsigned i = 0; i < w->accepted_count && !w->base.not_tried; i++) {
        enum intake_reply verdict = intake_rcpt_verdict(w->tx, i);

        if (verdict == INTAKE_R_OK)
            local_outcome(&w->base, w->accepted[i], w->end, SLICE("2.0.0"), SLICE("routed again"));
        else
            refused(w, w->accepted[i], verdict);
    }
    if (is_any && !w->base.not_tried) {
        w->base.deliver = route_deliver;
        w->base.deliver_bytes = intake_known_bytes(w->tx);
    }
    local_give(&w->base);
}

static void on_verdict(struct route_work *w)
{
    enum intake_reply verdict = intake_verdict(w->tx);

    if (intake_replies[verdict].code >= 400)
        refused(w, w->at, verdict);
    else
        w->accepted[w->accepted_count++] = w->at;
    w->at++;
}

static void rcpts_ask(struct route_work *w)
{
    for (; w->at < w->base.entry.rcpt_count; ) {
        const struct queue_rcpt *r = &w->base.entry.rcpts[w->at];
        struct recipient rcpt = { .orcpt = r->orcpt, .notify = r->notify };

        if (r->state != RCPT_WAITING) {
            w->at++;
        } else if (address_parse(r->address, &rcpt.address, &w->base.mem, NULL) < 0) {
            local_outcome(&w->base, w->at++, RCPT_FAILED, SLICE("5.1.3"), SLICE("This is no address"));
        } else {
            if (intake_rcpt(w->tx, &rcpt) == INTAKE_WAIT)
                return;
            on_verdict(w);
        }
    }
    route_end(w);
}

static void on_intake(void *arg, uint64_t session UNUSED, struct intake_tx *tx UNUSED)
{
    struct route_work *w = arg;

    on_verdict(w);
    rcpts_ask(w);
}

static void route_begin(struct route_work *w)
{
    const struct channel_setup *setup = local_setup(&w->base);
    struct conf_set *set = w->base.of->job->set;
    const struct server_conf *server = conf_section(set, CONF_SERVER);
    const struct queue_entry *e = &w->base.entry;
    struct envelope from = { .is_null_sender = e->sender.len == 0,
                             .body = e->body,
                             .ret = e->ret,
                             .envid = e->envid,
                             .smtputf8 = (e->flags & QUEUE_SMTPUTF8) != 0 };

    w->peer = (struct intake_peer){ .source = INTAKE_PROCESS, .hostname = server->hostname };
    w->accepted = arena_alloc_array(&w->base.mem, e->rcpt_count + 1, sizeof *w->accepted);
    w->tx = intake_tx_new(setup->intake, set, &w->peer, w->base.of->service->reactor, w->base.id, on_intake, w);
    if (e->sender.len != 0)
        (void)address_parse(e->sender, &from.from, &w->base.mem, NULL);
    (void)intake_mail(w->tx, &from); /* for this source it is answered at once, and never refused */
    rcpts_ask(w);
}

static void load_done(struct job *job)
{
    struct route_work *w = CONTAINER_OF(job, struct route_work, load);

    if (w->is_there) {
        route_begin(w);
    } else if (w->err.kind == ERR_NONE) {
        local_skip(&w->base);
    } else {
        /* Its octets cannot be read: it stays, and whoever looks at the queue sees why. */
        for (unsigned i = 0; i < w->base.entry.rcpt_count; i++)
            if (w->base.entry.rcpts[i].state == RCPT_WAITING)
                local_outcome(&w->base, i, RCPT_WAITING, SLICE("4.3.0"),
                              slice_dup(&w->base.mem, slice_str(w->err.text)));
        local_give(&w->base);
    }
}

static void route_start(struct local_work *base, enum queue_rcpt_state end)
{
    struct route_work *w = work_of(base);

    w->end = end;
    w->load = (struct job){ .run = load_run, .done = load_done, .reactor = base->of->service->reactor };
    if (!pool_submit(local_setup(base)->helpers, &w->load)) {
        base->not_tried = true;
        base->retry_ms = 1000;
        local_give(base);
    }
}

static void process_deliver(struct local_work *base)
{
    route_start(base, RCPT_EXPANDED);
}

static void hold_deliver(struct local_work *base)
{
    route_start(base, RCPT_MOVED);
}

static void route_drop(struct local_work *base)
{
    struct route_work *w = work_of(base);

    intake_tx_destroy(&w->tx);
    buf_free(&w->header);
}

const struct local_kind process_kind = { .deliver = process_deliver, .recorded = route_recorded, .drop = route_drop,
                                         .work_bytes = sizeof(struct route_work) };
const struct local_kind hold_kind = { .deliver = hold_deliver, .recorded = route_recorded, .drop = route_drop,
                                      .work_bytes = sizeof(struct route_work) };
