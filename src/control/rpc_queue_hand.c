/* rpc_queue_hand.c - methods that change the queue by hand: hold, release, retry, return, delete, reroute; and those of
 * channels. Every change is a request of its own, so that a long one stops nobody. */
#include "base/mem.h"
#include "control/queue_filter.h"
#include "queue/notice.h"
#include "queue/scheduler.h"

#define BATCH 500u /* entries found before they are acted on */

struct hand {
    struct rpc_call *call;
    enum queue_what what;
    bool is_return;
    struct queue_filter filter;
    slice by, reason, channel, host;
    uint64_t matched, done, busy, gone, failed;
    uint64_t ids[BATCH];
    unsigned count;
};

static struct queue *queue_of(const struct hand *h)
{
    return h->call->env->site->queue;
}

/* --- one entry ---------------------------------------------------------------------------------------------------- */

static void answer_count(struct hand *h, const struct queue_request *r)
{
    switch (r->result) {
    case QUEUE_OK:
        h->done++;
        break;
    case QUEUE_BUSY:
        h->busy++;
        break;
    case QUEUE_GONE:
        h->gone++;
        break;
    default:
        h->failed++;
        break;
    }
}

static void act(struct hand *h, uint64_t id)
{
    struct queue_request *r = queue_request_new(h->what);
    struct err err = ERR_INIT;

    r->entry = id;
    r->by = h->by;
    r->reason = h->reason;
    r->channel = h->channel;
    r->host = h->host;
    (void)queue_request_wait(queue_of(h), r, &err);
    answer_count(h, r);
    queue_request_destroy(&r);
}

/* Back to the sender: the notices are made here, and are recorded with the end. */
static void act_return(struct hand *h, uint64_t id)
{
    const struct channels_conf *channels = conf_section(h->call->conf, CONF_CHANNELS);
    struct queue_request *r = queue_request_new(QUEUE_RESULT);
    struct err err = ERR_INIT;
    struct queue_entry e;
    struct outcome out;
    struct outcome_input in = {
        .entry = &e,
        .queue = conf_section(h->call->conf, CONF_QUEUE),
        .cause = CAUSE_RETURN_BY_HAND,
        .reason = h->reason,
        .now_ms = clock_wall_ms(&h->call->env->site->clock),
    };

    r->entry = id;
    r->by = h->by;
    r->reason = h->reason;
    if (queue_is_active(queue_of(h), id)) {
        h->busy++;
    } else if (!queue_entry_get(queue_of(h), NULL, id, &r->mem, &e)) {
        h->gone++;
    } else {
        in.channel = channel_conf_find(channels, e.channel);
        if (in.channel == NULL) /* taken out of the configuration: the rules of the first serve */
            in.channel = &channels->channels[0];
        outcome_decide(&in, &out, &r->mem);
        if (notice_compose(h->call->env->site->journal, h->call->conf, &in, &out, r, &err) < 0) {
            h->failed++;
        } else {
            (void)queue_request_wait(queue_of(h), r, &err);
            answer_count(h, r);
        }
    }
    queue_request_destroy(&r);
}

static void act_all(struct hand *h)
{
    for (unsigned i = 0; i < h->count; i++) {
        h->matched++;
        if (h->is_return)
            act_return(h, h->ids[i]);
        else
            act(h, h->ids[i]);
    }
    h->count = 0;
}

/* --- many --------------------------------------------------------------------------------------------------------- */

static bool gather(void *arg, const struct queue_entry *e)
{
    struct hand *h = arg;

    if (queue_filter_matches(&h->filter, e))
        h->ids[h->count++] = e->id;
    return h->count < BATCH;
}

static int ids_act(struct hand *h, const json_t *ids, struct err *err)
{
    for (size_t i = 0; i < json_array_size(ids); i++) {
        slice text = json_str(json_array_get(ids, i));
        uint64_t id;

        if (!queue_entry_id_parse(text, &id))
            return err_set(err, ERR_SYNTAX, "\"%.*s\" is no id of a queue entry; nothing was changed",
                           SLICE_ARG(slice_sub(text, 0, 40)));
    }
    for (size_t i = 0; i < json_array_size(ids); i++) {
        (void)queue_entry_id_parse(json_str(json_array_get(ids, i)), &h->ids[0]);
        h->count = 1;
        act_all(h);
    }
    return 0;
}

static void matching_act(struct hand *h)
{
    uint64_t at = 0;

    do {
        at = queue_each(queue_of(h), at, 4 * BATCH, gather, h);
        act_all(h);
    } while (at != 0);
}

static int hand_run(struct rpc_call *call, struct hand *h, struct err *err)
{
    const json_t *ids = json_object_get(call->params, "id");
    bool all = json_get_bool(call->params, "all", false);

    h->call = call;
    h->by = SLICE("operator");
    h->reason = json_get_str(call->params, "reason");
    if (queue_filter_read(&h->filter, queue_of(h), call->params, clock_wall_ms(&call->env->site->clock), err) < 0)
        return -1;
    if (json_array_size(ids) != 0 && (all || !queue_filter_is_empty(&h->filter)))
        return err_set(err, ERR_SYNTAX, "name entries or describe them, not both");
    if (json_array_size(ids) == 0 && !all && queue_filter_is_empty(&h->filter)) {
        snprintf(call->hint, sizeof call->hint, "name entries, describe them (--channel, --sender ...), or say --all");
        return err_set(err, ERR_SYNTAX, "which entries?");
    }
    if (json_array_size(ids) != 0 && ids_act(h, ids, err) < 0)
        return -1;
    if (json_array_size(ids) == 0)
        matching_act(h);
    call->result = json_pack("{s:I, s:I, s:I, s:I, s:I}", "matched", (json_int_t)h->matched, "done",
                             (json_int_t)h->done, "busy", (json_int_t)h->busy, "gone", (json_int_t)h->gone, "failed",
                             (json_int_t)h->failed);
    if (h->busy != 0)
        snprintf(call->hint, sizeof call->hint, "busy ones are being delivered just now; try again");
    return 0;
}

int rpc_queue_hold(struct rpc_call *call, struct err *err)
{
    struct hand h = { .what = QUEUE_HOLD };

    return hand_run(call, &h, err);
}

int rpc_queue_release(struct rpc_call *call, struct err *err)
{
    struct hand h = { .what = QUEUE_RELEASE };

    return hand_run(call, &h, err);
}

int rpc_queue_retry(struct rpc_call *call, struct err *err)
{
    struct hand h = { .what = QUEUE_RETRY };

    return hand_run(call, &h, err);
}

int rpc_queue_return(struct rpc_call *call, struct err *err)
{
    struct hand h = { .what = QUEUE_RESULT, .is_return = true };

    return hand_run(call, &h, err);
}

int rpc_queue_delete(struct rpc_call *call, struct err *err)
{
    struct hand h = { .what = QUEUE_DELETE };

    return hand_run(call, &h, err);
}

int rpc_queue_reroute(struct rpc_call *call, struct err *err)
{
    struct hand h = { .what = QUEUE_REROUTE, .channel = json_get_str(call->params, "to_channel"),
                      .host = json_get_str(call->params, "to_host") };
    const struct channels_conf *channels = conf_section(call->conf, CONF_CHANNELS);

    if (h.host.len == 0 || h.host.len > QUEUE_HOST_MAX)
        return err_set(err, ERR_SYNTAX, "to_host: expected a host of at most %u octets", QUEUE_HOST_MAX);
    if (channel_conf_find(channels, h.channel) == NULL)
        return err_set(err, ERR_NOTFOUND, "there is no channel \"%.*s\"", SLICE_ARG(slice_sub(h.channel, 0, 40)));
    return hand_run(call, &h, err);
}

/* --- channels ----------------------------------------------------------------------------------------------------- */

struct channel_list {
    struct rpc_call *call;
    json_t *array;
};

static void tally_find(void *arg, const struct tally_row *row)
{
    struct channel_list *l = arg;

    for (size_t i = 0; i < json_array_size(l->array); i++) {
        json_t *o = json_array_get(l->array, i);

        if (!slice_eq(json_get_str(o, "channel"), row->channel))
            continue;
        for (unsigned k = 0; k < TALLY_KINDS; k++)
            json_object_set_new(o, tally_kind_names[k], json_integer(row->counts[k].messages));
    }
}

static void job_count(void *arg, const struct job_row *row)
{
    struct channel_list *l = arg;

    for (size_t i = 0; i < json_array_size(l->array); i++) {
        json_t *o = json_array_get(l->array, i);

        if (slice_eq(json_get_str(o, "channel"), slice_str(row->channel)))
            json_object_set_new(o, "jobs", json_integer(json_get_int(o, "jobs", 0) + 1));
    }
}

int rpc_channel_list(struct rpc_call *call, struct err *err UNUSED)
{
    const struct channels_conf *channels = conf_section(call->conf, CONF_CHANNELS);
    struct channel_list l = { .call = call, .array = json_array() };

    for (size_t i = 0; i < channels->channel_count; i++) {
        const struct channel_conf *c = &channels->channels[i];
        json_t *o = json_object();
        struct queue_sum sum;

        queue_sum(call->env->site->queue, c->name, &sum);
        json_object_set_new(o, "channel", json_from_slice(c->name));
        json_object_set_new(o, "type", json_from_slice(c->type));
        json_object_set_new(o, "state",
                            json_string(queue_channel_is_stopped(call->env->site->queue, c->name) ? "stopped"
                                        : c->held                                                 ? "held"
                                                                                                  : "open"));
        json_object_set_new(o, "pool", json_from_slice(c->pool));
        json_object_set_new(o, "jobs", json_integer(0));
        json_object_set_new(o, "queued", json_integer((json_int_t)sum.entries));
        json_object_set_new(o, "held", json_integer((json_int_t)sum.held));
        for (unsigned k = 0; k < TALLY_KINDS; k++)
            json_object_set_new(o, tally_kind_names[k], json_integer(0));
        json_array_append_new(l.array, o);
    }
    if (call->env->scheduler != NULL) {
        tally_each(scheduler_tally(call->env->scheduler), tally_find, &l);
        (void)scheduler_jobs(call->env->scheduler, job_count, &l);
    }
    call->result = l.array;
    return 0;
}

static int channel_check(const struct rpc_call *call, slice name, struct err *err)
{
    if (channel_conf_find(conf_section(call->conf, CONF_CHANNELS), name) != NULL)
        return 0;
    return err_set(err, ERR_NOTFOUND, "there is no channel \"%.*s\"", SLICE_ARG(slice_sub(name, 0, 40)));
}

static int channel_change(struct rpc_call *call, enum queue_what what, struct err *err)
{
    struct queue_request *r;
    slice name = json_get_str(call->params, "channel");
    int rc;

    if (channel_check(call, name, err) < 0) {
        snprintf(call->hint, sizeof call->hint, "'posthouse channel list' lists them");
        return -1;
    }
    r = queue_request_new(what);
    r->channel = name;
    r->by = SLICE("operator");
    rc = queue_request_wait(call->env->site->queue, r, err);
    queue_request_destroy(&r);
    if (rc == 0)
        call->result = json_pack("{s:o, s:s}", "channel", json_from_slice(name), "state",
                                 what == QUEUE_CHANNEL_STOP ? "stopped" : "open");
    return rc;
}

int rpc_channel_stop(struct rpc_call *call, struct err *err)
{
    return channel_change(call, QUEUE_CHANNEL_STOP, err);
}

int rpc_channel_start(struct rpc_call *call, struct err *err)
{
    return channel_change(call, QUEUE_CHANNEL_START, err);
}

/* A channel, or a destination: everything that waits is due now. `target` empty: all of it. */
int rpc_queue_run(struct rpc_call *call, struct err *err)
{
    slice target = json_get_str(call->params, "target");
    bool is_channel = channel_conf_find(conf_section(call->conf, CONF_CHANNELS), target) != NULL;

    if (call->env->scheduler == NULL)
        return err_set(err, ERR_TEMP, "the daemon delivers nothing just now");
    scheduler_run(call->env->scheduler, is_channel ? target : SLICE_NONE, is_channel ? SLICE_NONE : target);
    call->result = json_pack("{s:o, s:s}", "target", json_from_slice(target), "kind",
                             target.len == 0 ? "everything" : is_channel ? "channel" : "host");
    return 0;
}
