/* queue_filter.c - see queue_filter.h. */
#include "control/queue_filter.h"

#include "control/when.h"

static int state_read(struct queue_filter *f, slice word, struct err *err)
{
    f->has_state = word.len != 0;
    f->is_active = slice_eq(word, SLICE("active"));
    if (!f->has_state || f->is_active)
        return 0;
    for (unsigned i = 0; i <= QUEUE_HELD; i++)
        if (slice_eq(word, slice_str(queue_state_names[i]))) {
            f->state = (enum queue_state)i;
            return 0;
        }
    return err_set(err, ERR_SYNTAX, "state: found \"%.*s\", expected ready, deferred, held or active",
                   SLICE_ARG(slice_sub(word, 0, 40)));
}

/* "2h" as the moment so long before now; 0 when it is not given. */
static int moment_read(const json_t *params, const char *name, int64_t now_ms, int64_t *ms, struct err *err)
{
    slice text = json_get_str(params, name);
    int64_t length;

    *ms = 0;
    if (text.len == 0)
        return 0;
    if (when_length_parse(text, &length, err) < 0)
        return -1;
    *ms = now_ms - length;
    return 0;
}

int queue_filter_read(struct queue_filter *f, struct queue *q, const json_t *params, int64_t now_ms, struct err *err)
{
    int64_t larger = json_get_int(params, "larger", 0), smaller = json_get_int(params, "smaller", 0);

    *f = (struct queue_filter){
        .channel = json_get_str(params, "channel"),
        .host = json_get_str(params, "host"),
        .sender = json_get_str(params, "sender"),
        .recipient = json_get_str(params, "recipient"),
        .queue = q,
    };
    if (larger < 0 || smaller < 0)
        return err_set(err, ERR_SYNTAX, "larger, smaller: expected octets");
    f->bytes_min = (uint64_t)larger;
    f->bytes_max = (uint64_t)smaller;
    if (state_read(f, json_get_str(params, "state"), err) < 0 ||
        moment_read(params, "older", now_ms, &f->created_before_ms, err) < 0)
        return -1;
    return moment_read(params, "younger", now_ms, &f->created_after_ms, err);
}

bool queue_filter_is_empty(const struct queue_filter *f)
{
    return f->channel.len == 0 && f->host.len == 0 && f->sender.len == 0 && f->recipient.len == 0 && !f->has_state &&
           f->created_before_ms == 0 && f->created_after_ms == 0 && f->bytes_min == 0 && f->bytes_max == 0;
}

static bool address_matches(slice pattern, slice address)
{
    if (slice_eq(pattern, SLICE("<>")))
        return address.len == 0;
    if (pattern.ptr[0] == '@')
        return slice_ends_nocase(address, pattern);
    return slice_eq_nocase(pattern, address);
}

static bool recipient_matches(slice pattern, const struct queue_entry *e)
{
    for (unsigned i = 0; i < e->rcpt_count; i++)
        if (address_matches(pattern, e->rcpts[i].address) ||
            (e->rcpts[i].original.len != 0 && address_matches(pattern, e->rcpts[i].original)))
            return true;
    return false;
}

bool queue_filter_matches(const struct queue_filter *f, const struct queue_entry *e)
{
    uint64_t bytes = body_view_bytes(&e->view);

    if ((f->channel.len != 0 && !slice_eq(f->channel, e->channel)) ||
        (f->host.len != 0 && !slice_eq_nocase(f->host, e->host)) ||
        (f->has_state && !f->is_active && f->state != e->state) ||
        (f->is_active && !queue_is_active(f->queue, e->id)))
        return false;
    if ((f->created_before_ms != 0 && e->created_ms > f->created_before_ms) ||
        (f->created_after_ms != 0 && e->created_ms < f->created_after_ms) || bytes < f->bytes_min ||
        (f->bytes_max != 0 && bytes > f->bytes_max))
        return false;
    return (f->sender.len == 0 || address_matches(f->sender, e->sender)) &&
           (f->recipient.len == 0 || recipient_matches(f->recipient, e));
}
