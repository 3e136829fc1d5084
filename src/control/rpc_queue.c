/* rpc_queue.c - methods that look at the queue: list, count, top, show, verify. They change nothing. */
#include <stdlib.h>

#include "base/mem.h"
#include "control/queue_filter.h"
#include "control/when.h"
#include "queue/scheduler.h"

#define LIST_LIMIT 50
#define LIST_LIMIT_MAX 10000
#define SLICE_ENTRIES 1000u /* looked at between two looks at the rest of the world */
#define TOP_LIMIT 20

static void put(json_t *o, const char *name, TAKES json_t *v)
{
    json_object_set_new(o, name, v);
}

static void put_u64(json_t *o, const char *name, uint64_t v)
{
    put(o, name, json_integer((json_int_t)v));
}

static void put_slice(json_t *o, const char *name, slice v)
{
    put(o, name, json_from_slice(v));
}

/* A length of time for people; its moment stands beside it as NAME_ms for programs. */
static void put_length(json_t *o, const char *name, int64_t ms)
{
    struct buf text = BUF_INIT;

    when_length_print(ms, &text);
    put_slice(o, name, buf_slice(&text));
    buf_free(&text);
}

static void put_id(json_t *o, const char *name, uint64_t id)
{
    char text[17];

    queue_entry_id_print(id, text);
    put(o, name, json_string(text));
}

static int64_t now_of(const struct rpc_call *call)
{
    return clock_wall_ms(&call->env->site->clock);
}

static const char *state_of(const struct rpc_call *call, const struct queue_entry *e)
{
    return queue_is_active(call->env->site->queue, e->id) ? "active" : queue_state_names[e->state];
}

/* Why it is still here: the last words about it. */
static slice trouble_of(const struct queue_entry *e)
{
    if (e->reason.len != 0)
        return e->reason;
    for (unsigned i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].state == RCPT_WAITING && e->rcpts[i].diag.len != 0)
            return e->rcpts[i].diag;
    return SLICE_NONE;
}

static unsigned waiting_of(const struct queue_entry *e, slice *first)
{
    unsigned n = 0;

    *first = SLICE_NONE;
    for (unsigned i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].state == RCPT_WAITING && n++ == 0)
            *first = e->rcpts[i].address;
    return n;
}

static json_t *entry_row(const struct rpc_call *call, const struct queue_entry *e, int64_t now_ms)
{
    json_t *o = json_object();
    unsigned waiting;
    slice first;

    waiting = waiting_of(e, &first);
    put_id(o, "id", e->id);
    put(o, "state", json_string(state_of(call, e)));
    put_slice(o, "channel", e->channel);
    put_slice(o, "host", e->host);
    put_slice(o, "sender", e->sender);
    put_slice(o, "recipient", first);
    put_u64(o, "recipients", waiting);
    put_u64(o, "bytes", body_view_bytes(&e->view));
    put_length(o, "age", now_ms - e->created_ms);
    put_u64(o, "attempts", e->attempts);
    if (e->state == QUEUE_DEFERRED)
        put_length(o, "next", e->due_ms - now_ms);
    else
        put(o, "next", json_string(""));
    put_slice(o, "trouble", trouble_of(e));
    put(o, "created_ms", json_integer(e->created_ms));
    put(o, "due_ms", json_integer(e->due_ms));
    return o;
}

/* --- list -------------------------------------------------------------------------------------------------------- */

enum sort_key { SORT_ID, SORT_SIZE, SORT_NEXT, SORT_ATTEMPTS, SORT_SENDER };
static const char *const sort_names[] = { "age", "size", "next", "attempts", "sender" };

struct found {
    uint64_t key, id;
};

struct listing {
    struct rpc_call *call;
    struct queue_filter filter;
    int64_t now_ms;
    enum sort_key sort;
    uint64_t limit, offset, seen;
    json_t *array;    /* SORT_ID */
    struct buf found; /* else: of struct found, all that match */
};

static uint64_t sort_key_of(const struct listing *l, const struct queue_entry *e)
{
    switch (l->sort) {
    case SORT_SIZE:
        return UINT64_MAX - body_view_bytes(&e->view); /* the largest first */
    case SORT_NEXT:
        return e->state == QUEUE_HELD ? UINT64_MAX : (uint64_t)e->due_ms;
    case SORT_ATTEMPTS:
        return UINT64_MAX - e->attempts;
    case SORT_SENDER: { /* by its first octets; equal ones stay together by age */
        uint64_t key = 0;

        for (unsigned i = 0; i < 8; i++)
            key = key << 8 | (i < e->sender.len ? ascii_lower(e->sender.ptr[i]) : 0);
        return key;
    }
    default:
        return e->id;
    }
}

static bool list_entry(void *arg, const struct queue_entry *e)
{
    struct listing *l = arg;

    if (!queue_filter_matches(&l->filter, e))
        return true;
    if (l->sort != SORT_ID) {
        struct found f = { sort_key_of(l, e), e->id };

        buf_put(&l->found, &f, sizeof f);
        return true;
    }
    if (l->seen++ >= l->offset)
        json_array_append_new(l->array, entry_row(l->call, e, l->now_ms));
    return json_array_size(l->array) < l->limit;
}

static int found_order(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void list_sorted(struct listing *l)
{
    struct found *f = (struct found *)(void *)l->found.ptr;
    uint64_t count = l->found.len / sizeof *f;
    struct arena mem;

    if (count == 0)
        return;
    qsort(f, count, sizeof *f, found_order);
    arena_init(&mem, 4096);
    for (uint64_t i = l->offset; i < count && json_array_size(l->array) < l->limit; i++) {
        struct queue_entry e;

        if (queue_entry_get(l->call->env->site->queue, NULL, f[i].id, &mem, &e))
            json_array_append_new(l->array, entry_row(l->call, &e, l->now_ms));
        arena_reset(&mem);
    }
    arena_free(&mem);
}

static int sort_read(struct listing *l, slice word, struct err *err)
{
    if (word.len == 0)
        return 0;
    for (unsigned i = 0; i < ARRAY_LEN(sort_names); i++)
        if (slice_eq(word, slice_str(sort_names[i]))) {
            l->sort = (enum sort_key)i;
            return 0;
        }
    return err_set(err, ERR_SYNTAX, "sort: found \"%.*s\", expected age, size, next, attempts or sender",
                   SLICE_ARG(slice_sub(word, 0, 40)));
}

int rpc_queue_list(struct rpc_call *call, struct err *err)
{
    struct listing l = { .call = call, .now_ms = now_of(call), .found = BUF_INIT };
    int64_t limit = json_get_int(call->params, "limit", LIST_LIMIT);
    int64_t offset = json_get_int(call->params, "offset", 0);
    uint64_t at = 0;

    if (limit < 1 || limit > LIST_LIMIT_MAX || offset < 0)
        return err_set(err, ERR_SYNTAX, "limit: expected 1 to %u; offset: 0 or more", LIST_LIMIT_MAX);
    l.limit = (uint64_t)limit;
    l.offset = (uint64_t)offset;
    if (sort_read(&l, json_get_str(call->params, "sort"), err) < 0 ||
        queue_filter_read(&l.filter, call->env->site->queue, call->params, l.now_ms, err) < 0)
        return -1;
    l.array = json_array();
    do
        at = queue_each(call->env->site->queue, at, SLICE_ENTRIES, list_entry, &l);
    while (at != 0 && json_array_size(l.array) < l.limit);
    if (l.sort != SORT_ID)
        list_sorted(&l);
    buf_free(&l.found);
    call->result = l.array;
    return 0;
}

/* --- count, summary ---------------------------------------------------------------------------------------------- */

struct counting {
    struct queue_filter filter;
    uint64_t entries, recipients, bytes;
};

static bool count_entry(void *arg, const struct queue_entry *e)
{
    struct counting *c = arg;
    slice first;

    if (queue_filter_matches(&c->filter, e)) {
        c->entries++;
        c->recipients += waiting_of(e, &first);
        c->bytes += body_view_bytes(&e->view);
    }
    return true;
}

int rpc_queue_count(struct rpc_call *call, struct err *err)
{
    struct queue *q = call->env->site->queue;
    struct counting c = { .entries = 0 };
    struct queue_sum sum;
    uint64_t at = 0;

    if (queue_filter_read(&c.filter, q, call->params, now_of(call), err) < 0)
        return -1;
    if (queue_filter_is_empty(&c.filter)) { /* known without looking */
        queue_sum(q, SLICE_NONE, &sum);
        c.entries = sum.entries;
        c.recipients = sum.recipients;
        c.bytes = sum.bytes;
    } else {
        do
            at = queue_each(q, at, SLICE_ENTRIES, count_entry, &c);
        while (at != 0);
    }
    call->result = json_object();
    put_u64(call->result, "entries", c.entries);
    put_u64(call->result, "recipients", c.recipients);
    put_u64(call->result, "bytes", c.bytes);
    return 0;
}

struct summary {
    struct rpc_call *call;
    bool by_host;
    int64_t now_ms;
    json_t *array, *total;
    uint64_t active, waiting, deferred;
};

static void summary_row(struct summary *s, slice channel, slice host, const struct queue_sum *sum)
{
    json_t *o = json_object();

    put_slice(o, "channel", channel);
    if (s->by_host)
        put_slice(o, "host", host);
    put_u64(o, "entries", sum->entries);
    put_u64(o, "recipients", sum->recipients);
    put_u64(o, "bytes", sum->bytes);
    put_u64(o, "held", sum->held);
    if (!s->by_host && channel.len != 0)
        put(o, "stopped", json_boolean(queue_channel_is_stopped(s->call->env->site->queue, channel)));
    json_array_append_new(s->array, o);
}

static bool summary_dest(void *arg, const struct queue_dest *d)
{
    struct summary *s = arg;
    struct queue_sum sum = { .entries = d->entries, .recipients = d->recipients, .bytes = d->bytes, .held = d->held };

    summary_row(s, d->channel, d->host, &sum);
    return true;
}

int rpc_queue_summary(struct rpc_call *call, struct err *err UNUSED)
{
    const struct channels_conf *channels = conf_section(call->conf, CONF_CHANNELS);
    struct queue *q = call->env->site->queue;
    struct summary s = { .call = call, .now_ms = now_of(call), .array = json_array() };
    struct queue_sum sum;

    s.by_host = json_get_bool(call->params, "hosts", false);
    if (s.by_host) {
        queue_dests(q, summary_dest, &s);
    } else {
        for (size_t i = 0; i < channels->channel_count; i++) {
            queue_sum(q, channels->channels[i].name, &sum);
            summary_row(&s, channels->channels[i].name, SLICE_NONE, &sum);
        }
    }
    queue_sum(q, SLICE_NONE, &sum);
    summary_row(&s, SLICE("total"), SLICE_NONE, &sum);
    call->result = s.array;
    return 0;
}

/* --- top: destinations by what waits for them --------------------------------------------------------------------- */

struct top {
    json_t *array;
    int64_t now_ms;
};

static void top_row(void *arg, const struct dest_row *r)
{
    struct top *t = arg;
    json_t *o = json_object();

    put(o, "channel", json_string(r->channel));
    put(o, "host", json_string(r->host));
    put_u64(o, "entries", r->waiting + r->active + r->deferred + r->held);
    put_u64(o, "active", r->active);
    put_u64(o, "waiting", r->waiting);
    put_u64(o, "deferred", r->deferred);
    put_u64(o, "held", r->held);
    put_u64(o, "jobs", r->jobs);
    put(o, "state", json_string(r->is_dead ? "dead" : r->is_slow ? "slow" : "open"));
    put_length(o, "oldest", r->oldest_ms == 0 ? 0 : t->now_ms - r->oldest_ms);
    put_length(o, "next", r->next_ms == 0 ? 0 : r->next_ms - t->now_ms);
    put(o, "trouble", json_from_slice(slice_str(r->diag)));
    json_array_append_new(t->array, o);
}

/* Without a daemon nobody tries anything: only the counts. */
static bool top_dest(void *arg, const struct queue_dest *d)
{
    struct top *t = arg;
    json_t *o = json_object();

    put_slice(o, "channel", d->channel);
    put_slice(o, "host", d->host);
    put_u64(o, "entries", d->entries);
    put_u64(o, "held", d->held);
    put_length(o, "oldest", d->oldest_ms == 0 ? 0 : t->now_ms - d->oldest_ms);
    json_array_append_new(t->array, o);
    return true;
}

static int top_order(const void *a, const void *b)
{
    int64_t x = json_get_int(*(json_t *const *)a, "entries", 0), y = json_get_int(*(json_t *const *)b, "entries", 0);

    return x > y ? -1 : x < y;
}

static json_t *top_cut(TAKES json_t *array, uint64_t limit)
{
    size_t count = json_array_size(array);
    json_t **rows = mem_alloc_array(count + 1, sizeof *rows), *out = json_array();

    for (size_t i = 0; i < count; i++)
        rows[i] = json_array_get(array, i);
    qsort(rows, count, sizeof(json_t *), top_order);
    for (size_t i = 0; i < count && i < limit; i++)
        json_array_append(out, rows[i]);
    mem_free(rows);
    json_decref(array);
    return out;
}

int rpc_queue_top(struct rpc_call *call, struct err *err)
{
    int64_t limit = json_get_int(call->params, "limit", TOP_LIMIT);
    struct top t = { .array = json_array(), .now_ms = now_of(call) };

    if (limit < 1 || limit > LIST_LIMIT_MAX) {
        json_decref(t.array);
        return err_set(err, ERR_SYNTAX, "limit: expected 1 to %u", LIST_LIMIT_MAX);
    }
    if (call->env->scheduler == NULL) {
        queue_dests(call->env->site->queue, top_dest, &t);
    } else if (scheduler_dests(call->env->scheduler, top_row, &t) < 0) {
        json_decref(t.array);
        return err_set(err, ERR_TEMP, "the scheduler did not answer within a second");
    }
    call->result = top_cut(t.array, (uint64_t)limit);
    return 0;
}

/* --- show -------------------------------------------------------------------------------------------------------- */

static json_t *rcpt_object(const struct queue_rcpt *r)
{
    json_t *o = json_object();

    put_slice(o, "address", r->address);
    put(o, "state", json_string(queue_rcpt_state_names[r->state % RCPT_STATES]));
    put_slice(o, "original", r->original);
    put_slice(o, "status", r->status);
    put_slice(o, "diagnostic", r->diag);
    return o;
}

static json_t *entry_object(const struct rpc_call *call, const struct queue_entry *e)
{
    static const char *const priorities[QUEUE_PRIORITIES] = { "urgent", "normal", "nonurgent" };
    int64_t now_ms = now_of(call);
    json_t *o = entry_row(call, e, now_ms), *rcpts = json_array();

    json_object_del(o, "recipient");
    put_slice(o, "message_id", e->message_id);
    put_slice(o, "reception", e->session);
    put(o, "priority", json_string(priorities[e->priority % QUEUE_PRIORITIES]));
    put_slice(o, "source", e->source);
    put_slice(o, "source_system", e->source_host);
    put_slice(o, "user", e->user);
    put_slice(o, "envelope_id", e->envid);
    put(o, "notice", json_boolean((e->flags & QUEUE_IS_NOTICE) != 0));
    put_u64(o, "warnings", e->notices);
    put_length(o, "last_attempt", e->attempted_ms == 0 ? 0 : now_ms - e->attempted_ms);
    put_length(o, "next_notice", e->notice_ms == 0 ? 0 : e->notice_ms - now_ms);
    for (unsigned i = 0; i < e->rcpt_count; i++)
        json_array_append_new(rcpts, rcpt_object(&e->rcpts[i]));
    put(o, "recipients", rcpts);
    return o;
}

int rpc_queue_show(struct rpc_call *call, struct err *err)
{
    slice text = json_get_str(call->params, "id");
    struct queue_entry e;
    struct arena mem;
    uint64_t id;

    if (!queue_entry_id_parse(text, &id))
        return err_set(err, ERR_SYNTAX, "\"%.*s\" is no id of a queue entry", SLICE_ARG(slice_sub(text, 0, 40)));
    arena_init(&mem, 4096);
    if (queue_entry_get(call->env->site->queue, NULL, id, &mem, &e)) {
        call->result = entry_object(call, &e);
    } else {
        err_set(err, ERR_NOTFOUND, "there is no entry %.*s in the queue", SLICE_ARG(text));
        snprintf(call->hint, sizeof call->hint, "'posthouse why %.*s' tells what became of it", SLICE_ARG(text));
    }
    arena_free(&mem);
    return call->result == NULL ? -1 : 0;
}

/* --- verify ------------------------------------------------------------------------------------------------------- */

static void verify_say(void *arg, const char *line)
{
    json_array_append_new(arg, json_string(line));
}

int rpc_queue_verify(struct rpc_call *call, struct err *err)
{
    json_t *findings = json_array();
    int faults = queue_check(call->env->site->queue, verify_say, findings, err);

    if (faults < 0) {
        json_decref(findings);
        return -1;
    }
    call->result = json_object();
    put(call->result, "faults", json_integer(faults));
    put(call->result, "findings", findings);
    put(call->result, "ledger", queue_ledger(call->env->site->queue, NULL));
    return 0;
}
