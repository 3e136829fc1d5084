#include "queue/record.h"

#include "base/bytes.h"

#define FORMAT 1
#define RCPT_STATE_MASK 15u
#define RCPT_ORIGINAL 16u
#define RCPT_ORCPT 32u
#define RCPT_OUTCOME 64u
#define RCPT_SAME 128u
#define RCPT_BYTES_MIN 3 /* a recipient takes at least so many octets */
#define CHANGE_ATTEMPT 1u
#define CHANGE_DEST 2u
#define CHANNEL_STOPPED 1u

const char *const queue_state_names[] = { "ready", "deferred", "held" };
const char *const queue_rcpt_state_names[RCPT_STATES] = { "waiting",  "delivered", "relayed",  "failed",
                                                          "returned", "deleted",   "expanded", "moved" };

static slice cut(slice s, size_t max)
{
    return slice_sub(s, 0, max);
}

/* --- entries ------------------------------------------------------------------------------------------------------ */

static void rcpt_encode(struct buf *out, const struct queue_rcpt *r, const struct queue_rcpt *before)
{
    slice status = cut(r->status, QUEUE_STATUS_MAX), diag = cut(r->diag, QUEUE_DIAG_MAX);
    unsigned bits = r->state;

    bits |= r->original.len != 0 ? RCPT_ORIGINAL : 0;
    bits |= r->orcpt.len != 0 ? RCPT_ORCPT : 0;
    if (status.len != 0 || diag.len != 0)
        bits |= before != NULL && slice_eq(cut(before->status, QUEUE_STATUS_MAX), status) &&
                        slice_eq(cut(before->diag, QUEUE_DIAG_MAX), diag)
                    ? RCPT_SAME
                    : RCPT_OUTCOME;
    buf_put_byte(out, (unsigned char)bits);
    buf_put_lenstr(out, r->address);
    if ((bits & RCPT_ORIGINAL) != 0)
        buf_put_lenstr(out, r->original);
    if ((bits & RCPT_ORCPT) != 0)
        buf_put_lenstr(out, r->orcpt);
    buf_put_varint(out, r->notify);
    if ((bits & RCPT_OUTCOME) == 0)
        return;
    buf_put_lenstr(out, status);
    buf_put_lenstr(out, diag);
}

static bool rcpt_decode(struct reader *in, const struct queue_rcpt *before, struct queue_rcpt *r)
{
    unsigned bits = read_u8(in);
    uint64_t notify;

    *r = (struct queue_rcpt){ .state = (uint8_t)(bits & RCPT_STATE_MASK) };
    r->address = read_lenstr(in);
    if ((bits & RCPT_ORIGINAL) != 0)
        r->original = read_lenstr(in);
    if ((bits & RCPT_ORCPT) != 0)
        r->orcpt = read_lenstr(in);
    notify = read_varint(in);
    r->notify = (uint32_t)notify;
    if ((bits & RCPT_OUTCOME) != 0) {
        r->status = read_lenstr(in);
        r->diag = read_lenstr(in);
    } else if ((bits & RCPT_SAME) != 0 && before != NULL) {
        r->status = before->status;
        r->diag = before->diag;
    }
    return !in->failed && r->state < RCPT_STATES && notify <= UINT32_MAX && r->diag.len <= QUEUE_DIAG_MAX &&
           r->status.len <= QUEUE_STATUS_MAX;
}

/* The texts of an entry, in the order of the format. */
static void texts_of(struct queue_entry *e, slice *texts[11])
{
    slice *const in_order[] = { &e->channel, &e->host,    &e->sender,      &e->envid, &e->auth,  &e->message_id,
                                &e->source,  &e->session, &e->source_host, &e->user,  &e->reason };

    memcpy(texts, in_order, sizeof in_order);
}

void queue_entry_encode(struct buf *out, const struct queue_entry *entry)
{
    struct queue_entry e = *entry;
    slice *texts[11];
    uint32_t waiting = 0;

    for (unsigned i = 0; i < e.rcpt_count; i++)
        waiting += e.rcpts[i].state == RCPT_WAITING;
    buf_put_byte(out, FORMAT);
    buf_put_byte(out, (unsigned char)e.state);
    buf_put_byte(out, (unsigned char)e.priority);
    buf_put_byte(out, (unsigned char)(e.ret | e.body << 4));
    buf_put_le32(out, e.flags);
    buf_put_le32(out, e.attempts);
    buf_put_le32(out, e.notices);
    buf_put_le32(out, waiting);
    buf_put_le32(out, e.rcpt_count);
    buf_put_le64(out, e.dest);
    buf_put_le64(out, e.message);
    buf_put_le64(out, (uint64_t)e.created_ms);
    buf_put_le64(out, (uint64_t)e.due_ms);
    buf_put_le64(out, (uint64_t)e.attempted_ms);
    buf_put_le64(out, (uint64_t)e.notice_ms);
    body_view_encode(out, &e.view);
    e.reason = cut(e.reason, QUEUE_DIAG_MAX);
    texts_of(&e, texts);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        buf_put_lenstr(out, *texts[i]);
    for (unsigned i = 0; i < e.rcpt_count; i++)
        rcpt_encode(out, &e.rcpts[i], i == 0 ? NULL : &e.rcpts[i - 1]);
}

/* A time stands in a key as an unsigned number. */
static int64_t read_time(struct reader *in)
{
    int64_t ms = (int64_t)read_le64(in);

    if (ms < 0)
        in->failed = true;
    return ms;
}

/* Everything before the recipients. rcpt_count and *waiting come from the octets. */
static bool front_decode(struct reader *in, struct queue_entry *e, uint32_t *waiting)
{
    slice *texts[11];
    unsigned version, modes;

    *e = (struct queue_entry){ .id = e->id };
    version = read_u8(in);
    e->state = read_u8(in);
    e->priority = read_u8(in);
    modes = read_u8(in);
    e->ret = modes & 15;
    e->body = (uint8_t)(modes >> 4);
    e->flags = read_le32(in);
    e->attempts = read_le32(in);
    e->notices = read_le32(in);
    *waiting = read_le32(in);
    e->rcpt_count = read_le32(in);
    e->dest = read_le64(in);
    e->message = read_le64(in);
    e->created_ms = read_time(in);
    e->due_ms = read_time(in);
    e->attempted_ms = read_time(in);
    e->notice_ms = read_time(in);
    body_view_decode(in, &e->view);
    texts_of(e, texts);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = read_lenstr(in);
    return !in->failed && version == FORMAT && e->state <= QUEUE_HELD && e->priority < QUEUE_PRIORITIES &&
           e->ret <= RET_HDRS && e->body <= BODY_BINARYMIME && e->rcpt_count <= in->rest.len / RCPT_BYTES_MIN &&
           e->channel.len != 0 && e->channel.len <= CHANNEL_NAME_MAX && e->host.len <= QUEUE_HOST_MAX &&
           e->dest != 0 && e->reason.len <= QUEUE_DIAG_MAX;
}

bool queue_entry_decode(slice octets, struct arena *mem, struct queue_entry *out)
{
    struct reader in = reader_of(octets);
    uint32_t waiting, found = 0;

    if (!front_decode(&in, out, &waiting))
        return false;
    out->rcpts = arena_alloc_array(mem, out->rcpt_count + 1, sizeof *out->rcpts);
    for (unsigned i = 0; i < out->rcpt_count; i++) {
        if (!rcpt_decode(&in, i == 0 ? NULL : &out->rcpts[i - 1], &out->rcpts[i]))
            return false;
        found += out->rcpts[i].state == RCPT_WAITING;
    }
    return reader_done(&in) && found == waiting;
}

bool queue_head_decode(slice octets, struct queue_head *out)
{
    struct reader in = reader_of(octets);
    struct queue_rcpt rcpts[2] = { 0 };
    struct queue_entry e = { 0 };
    uint32_t waiting, found = 0;

    if (!front_decode(&in, &e, &waiting))
        return false;
    for (unsigned i = 0; i < e.rcpt_count; i++) {
        if (!rcpt_decode(&in, i == 0 ? NULL : &rcpts[(i - 1) % 2], &rcpts[i % 2]))
            return false;
        found += rcpts[i % 2].state == RCPT_WAITING;
    }
    *out = (struct queue_head){ .state = e.state,
                                .priority = e.priority,
                                .dest = e.dest,
                                .created_ms = e.created_ms,
                                .due_ms = e.due_ms,
                                .notice_ms = e.notice_ms,
                                .view = e.view,
                                .waiting = waiting,
                                .channel = e.channel,
                                .host = e.host };
    return reader_done(&in) && found == waiting;
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

void queue_change_encode(struct buf *out, const struct queue_change *c)
{
    buf_put_byte(out, FORMAT);
    buf_put_byte(out, (unsigned char)c->what);
    buf_put_byte(out, (unsigned char)c->state);
    buf_put_byte(out, (unsigned char)((c->is_attempt ? CHANGE_ATTEMPT : 0) | (c->dest != 0 ? CHANGE_DEST : 0)));
    buf_put_le32(out, c->flags);
    buf_put_le32(out, c->attempts);
    buf_put_le32(out, c->notices);
    buf_put_le64(out, (uint64_t)c->due_ms);
    buf_put_le64(out, (uint64_t)c->attempted_ms);
    buf_put_le64(out, (uint64_t)c->notice_ms);
    buf_put_lenstr(out, cut(c->by, QUEUE_DIAG_MAX));
    buf_put_lenstr(out, cut(c->reason, QUEUE_DIAG_MAX));
    if (c->dest != 0) {
        buf_put_le64(out, c->dest);
        buf_put_lenstr(out, c->channel);
        buf_put_lenstr(out, c->host);
    }
    buf_put_varint(out, c->outcome_count);
    for (unsigned i = 0; i < c->outcome_count; i++) {
        const struct queue_outcome *o = &c->outcomes[i];
        slice status = cut(o->status, QUEUE_STATUS_MAX), diag = cut(o->diag, QUEUE_DIAG_MAX);
        bool is_same = i != 0 && slice_eq(cut(o[-1].status, QUEUE_STATUS_MAX), status) &&
                       slice_eq(cut(o[-1].diag, QUEUE_DIAG_MAX), diag);

        buf_put_varint(out, o->rcpt);
        buf_put_byte(out, (unsigned char)(o->state | (is_same ? RCPT_SAME : 0)));
        if (is_same)
            continue;
        buf_put_lenstr(out, status);
        buf_put_lenstr(out, diag);
    }
}

static bool outcomes_decode(struct reader *in, struct arena *mem, struct queue_change *c)
{
    uint64_t n = read_varint(in);
    struct queue_outcome *o;

    if (in->failed || n > in->rest.len / 2)
        return false;
    o = arena_alloc_array(mem, (size_t)n + 1, sizeof *o);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t rcpt = read_varint(in);
        unsigned bits = read_u8(in);

        o[i].rcpt = (unsigned)rcpt;
        o[i].state = (uint8_t)(bits & ~RCPT_SAME);
        if ((bits & RCPT_SAME) == 0) {
            o[i].status = read_lenstr(in);
            o[i].diag = read_lenstr(in);
        } else if (i != 0) {
            o[i].status = o[i - 1].status;
            o[i].diag = o[i - 1].diag;
        }
        if (in->failed || rcpt > UINT32_MAX || o[i].state >= RCPT_STATES || o[i].status.len > QUEUE_STATUS_MAX ||
            o[i].diag.len > QUEUE_DIAG_MAX)
            return false;
    }
    c->outcomes = o;
    c->outcome_count = (unsigned)n;
    return true;
}

bool queue_change_decode(slice octets, struct arena *mem, struct queue_change *out)
{
    struct reader in = reader_of(octets);
    unsigned version = read_u8(&in), bits;

    *out = (struct queue_change){ .what = read_u8(&in) };
    out->state = read_u8(&in);
    bits = read_u8(&in);
    out->is_attempt = (bits & CHANGE_ATTEMPT) != 0;
    out->flags = read_le32(&in);
    out->attempts = read_le32(&in);
    out->notices = read_le32(&in);
    out->due_ms = read_time(&in);
    out->attempted_ms = read_time(&in);
    out->notice_ms = read_time(&in);
    out->by = read_lenstr(&in);
    out->reason = read_lenstr(&in);
    if ((bits & CHANGE_DEST) != 0) {
        out->dest = read_le64(&in);
        out->channel = read_lenstr(&in);
        out->host = read_lenstr(&in);
        if (out->dest == 0 || out->channel.len == 0 || out->channel.len > CHANNEL_NAME_MAX ||
            out->host.len > QUEUE_HOST_MAX)
            return false;
    }
    return !in.failed && version == FORMAT && out->what <= QUEUE_PUT && out->state <= QUEUE_HELD &&
           out->by.len <= QUEUE_DIAG_MAX && out->reason.len <= QUEUE_DIAG_MAX && outcomes_decode(&in, mem, out) &&
           reader_done(&in);
}

void queue_change_apply(const struct queue_change *c, struct queue_entry *e)
{
    e->state = c->state;
    e->flags = c->flags;
    e->attempts = c->attempts;
    e->notices = c->notices;
    e->due_ms = c->due_ms;
    e->attempted_ms = c->attempted_ms;
    e->notice_ms = c->notice_ms;
    if (c->what == QUEUE_RELEASE)
        e->reason = SLICE_NONE;
    else if (c->what == QUEUE_HOLD || c->what == QUEUE_RESULT)
        e->reason = c->reason;
    if (c->dest != 0) {
        e->dest = c->dest;
        e->channel = c->channel;
        e->host = c->host;
    }
    for (unsigned i = 0; i < c->outcome_count; i++) {
        const struct queue_outcome *o = &c->outcomes[i];

        if (o->rcpt >= e->rcpt_count)
            continue;
        e->rcpts[o->rcpt].state = o->state;
        e->rcpts[o->rcpt].status = o->status;
        e->rcpts[o->rcpt].diag = o->diag;
    }
}

/* --- channels ----------------------------------------------------------------------------------------------------- */

void queue_channel_encode(struct buf *out, const struct queue_channel *c)
{
    buf_put_byte(out, FORMAT);
    buf_put_byte(out, c->is_stopped ? CHANNEL_STOPPED : 0);
    buf_put_lenstr(out, c->name);
    for (unsigned i = 0; i < QUEUE_TOTALS; i++)
        buf_put_varint(out, c->totals[i]);
}

bool queue_channel_decode(slice octets, struct queue_channel *out)
{
    struct reader in = reader_of(octets);
    unsigned version = read_u8(&in), bits = read_u8(&in);

    *out = (struct queue_channel){ .name = read_lenstr(&in), .is_stopped = (bits & CHANNEL_STOPPED) != 0 };
    for (unsigned i = 0; i < QUEUE_TOTALS; i++)
        out->totals[i] = read_varint(&in);
    return reader_done(&in) && version == FORMAT && out->name.len != 0 && out->name.len <= CHANNEL_NAME_MAX;
}

/* --- for people --------------------------------------------------------------------------------------------------- */

static const char *const what_names[] = { "result", "hold",         "release",       "retry", "delete",
                                          "reroute", "channel_stop", "channel_start", "put" };

static void dump_entry(slice octets, struct arena *mem, struct buf *out)
{
    struct queue_entry e = { 0 };

    if (!queue_entry_decode(octets, mem, &e)) {
        buf_put_str(out, "does not decode");
        return;
    }
    buf_printf(out, "%s %.*s %.*s from=<%.*s> body=%llu", queue_state_names[e.state], SLICE_ARG(e.channel),
               SLICE_ARG(e.host), SLICE_ARG(e.sender), (unsigned long long)e.view.body_id);
    for (unsigned i = 0; i < e.rcpt_count && i < 10; i++)
        buf_printf(out, " to=<%.*s>%s", SLICE_ARG(e.rcpts[i].address),
                   e.rcpts[i].state == RCPT_WAITING ? "" : queue_rcpt_state_names[e.rcpts[i].state]);
    if (e.rcpt_count > 10)
        buf_printf(out, " and %u more", e.rcpt_count - 10);
}

static void dump_change(slice octets, struct arena *mem, struct buf *out)
{
    struct queue_change c;

    if (!queue_change_decode(octets, mem, &c)) {
        buf_put_str(out, "does not decode");
        return;
    }
    buf_printf(out, "%s %s attempts=%u due=%lld", what_names[c.what], queue_state_names[c.state], c.attempts,
               (long long)c.due_ms);
    if (c.dest != 0)
        buf_printf(out, " to %.*s %.*s", SLICE_ARG(c.channel), SLICE_ARG(c.host));
    for (unsigned i = 0; i < c.outcome_count && i < 10; i++)
        buf_printf(out, " %u=%s %.*s %.*s", c.outcomes[i].rcpt, queue_rcpt_state_names[c.outcomes[i].state],
                   SLICE_ARG(c.outcomes[i].status), SLICE_ARG(c.outcomes[i].diag));
    if (c.outcome_count > 10)
        buf_printf(out, " and %u more", c.outcome_count - 10);
    if (c.reason.len != 0)
        buf_printf(out, " (%.*s)", SLICE_ARG(c.reason));
}

void queue_record_dump(const struct record *r, struct buf *out)
{
    struct queue_channel c;
    struct arena mem;

    arena_init(&mem, 1024);
    if (r->type == QR_ENQUEUE || r->type == QR_ENTRY_IMAGE) {
        dump_entry(r->payload, &mem, out);
    } else if (r->type == QR_CHANGE || r->type == QR_DONE) {
        dump_change(r->payload, &mem, out);
    } else if (queue_channel_decode(r->payload, &c)) {
        buf_printf(out, "%.*s%s created=%llu", SLICE_ARG(c.name), c.is_stopped ? " stopped" : "",
                   (unsigned long long)c.totals[TOTAL_CREATED]);
        for (unsigned i = TOTAL_CREATED + 1; i < QUEUE_TOTALS; i++)
            buf_printf(out, " %s=%llu", queue_rcpt_state_names[i], (unsigned long long)c.totals[i]);
    }
    arena_free(&mem);
}
