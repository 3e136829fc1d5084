/* why.c - see why.h. */
#include "control/why.h"

#include <string.h>
#include <time.h>

#include "base/map.h"
#include "base/mem.h"
#include "intake/intake.h"
#include "intake/trace.h"
#include "queue/record.h"
#include "store/history.h"

#define EVENTS_MAX 5000u   /* of one message */
#define OBJECT_KEY_BYTES 8
#define ROWS_OF_RANGE_MAX 4096u /* a record is about one page */

/* In an operation the record of the reception stands behind what the reception caused, and a notice in front of the end
 * that it tells of; people read it the other way. */
enum event_kind { EVENT_RECEIVED, EVENT_ENQUEUED, EVENT_NOTICE, EVENT_CHANGED, EVENT_STORED };

struct event {
    enum event_kind kind;
    int64_t time_ms;
    uint64_t id; /* of the entry, or the body that was stored */
    json_t *object;
};

/* What belongs to one message. */
struct life {
    bool is_dropped; /* older than the newest `limit` */
    json_t *object;
    struct buf events; /* of struct event */
    struct life *next;
};

/* A queue entry's recipients, to name them in its changes. */
struct entry {
    struct life *life;
    struct queue_entry value; /* in search.mem */
};

struct search {
    struct site *site;
    const struct why_query *query;
    uint64_t entry_id;    /* the key, if it is one */
    uint64_t from_seq;    /* where the next walks begin */
    struct arena mem, scratch; /* scratch: of one record */
    struct life *first, *last;
    unsigned count;
    bool more;
    bool is_closed; /* no further message is begun */
    struct map receptions;  /* id -> life */
    struct map rows;        /* mailbox, uid -> life */
    struct idmap entries;   /* id -> struct entry */
    struct idmap bodies;    /* id -> life */
    struct idmap mailboxes; /* id -> slice *: its name at this point of the walk, of those that were asked for */
};

/* --- matching ----------------------------------------------------------------------------------------------------- */

static slice bare_id(slice s) /* without angle brackets */
{
    return s.len >= 2 && s.ptr[0] == '<' && s.ptr[s.len - 1] == '>' ? slice_sub(s, 1, s.len - 2) : s;
}

static bool is_key(const struct search *s, slice value)
{
    return value.len != 0 && slice_eq_nocase(bare_id(value), bare_id(s->query->key));
}

static bool trace_matches(const struct search *s, const struct trace *t)
{
    if (is_key(s, t->id) || is_key(s, t->message_id) || is_key(s, t->sender) || is_key(s, t->user))
        return true;
    for (unsigned i = 0; i < t->rcpt_count; i++) {
        const struct trace_rcpt *r = &t->rcpts[i];

        if (is_key(s, r->address))
            return true;
        for (unsigned k = 0; k < r->target_count; k++)
            if (is_key(s, r->targets[k].address) || (s->entry_id != 0 && r->targets[k].entry == s->entry_id))
                return true;
    }
    return false;
}

static bool entry_matches(const struct search *s, uint64_t id, const struct queue_entry *e)
{
    if ((s->entry_id != 0 && id == s->entry_id) || is_key(s, e->session) || is_key(s, e->message_id) ||
        is_key(s, e->sender) || is_key(s, e->user))
        return true;
    for (unsigned i = 0; i < e->rcpt_count; i++)
        if (is_key(s, e->rcpts[i].address) || is_key(s, e->rcpts[i].original))
            return true;
    return false;
}

/* --- the first walk: what belongs together ------------------------------------------------------------------------ */

static struct life *life_make(struct search *s, const struct record *r)
{
    struct life *l = arena_alloc(&s->mem, sizeof *l);

    *l = (struct life){ .events = BUF_INIT };
    if (r->seq < s->from_seq)
        s->from_seq = r->seq;
    if (s->last != NULL)
        s->last->next = l;
    else
        s->first = l;
    s->last = l;
    if (++s->count <= s->query->limit)
        return l;
    for (struct life *old = s->first; old != NULL; old = old->next) /* the oldest that is still there goes */
        if (!old->is_dropped) {
            old->is_dropped = true;
            s->more = true;
            break;
        }
    return l;
}

static struct life *life_of_entry(const struct search *s, uint64_t id)
{
    const struct entry *e = idmap_get(&s->entries, id);

    return e == NULL ? NULL : e->life;
}

static void entry_keep(struct search *s, struct life *l, uint64_t id, slice payload)
{
    struct entry *e = idmap_get(&s->entries, id);

    if (e == NULL) {
        e = arena_alloc(&s->mem, sizeof *e);
        e->life = l;
        idmap_put(&s->entries, id, e);
    }
    if (payload.len != 0)
        (void)queue_entry_decode(slice_dup(&s->mem, payload), &s->mem, &e->value);
}

/* The body is written in front of all that is said about it. */
static void body_keep(struct search *s, struct life *l, uint64_t body)
{
    if (body == 0)
        return;
    idmap_put(&s->bodies, body, l);
    if (body < s->from_seq)
        s->from_seq = body;
}

static void trace_join(struct search *s, const struct record *r)
{
    struct life *l;
    struct trace t;

    if (!trace_decode(r->payload, &s->scratch, &t))
        return;
    l = map_get(&s->receptions, t.id);
    if (l == NULL && t.parent != 0)
        l = life_of_entry(s, t.parent);
    if (l == NULL && !s->is_closed && r->time_ms >= s->query->since_ms && trace_matches(s, &t))
        l = life_make(s, r);
    if (l == NULL)
        return;
    map_put(&s->receptions, t.id, l);
    body_keep(s, l, t.body);
    for (unsigned i = 0; i < t.rcpt_count; i++)
        for (unsigned k = 0; k < t.rcpts[i].target_count; k++)
            if (t.rcpts[i].targets[k].entry != 0)
                entry_keep(s, l, t.rcpts[i].targets[k].entry, SLICE_NONE);
}

static void entry_join(struct search *s, const struct record *r)
{
    struct queue_entry e = { .id = r->object };
    struct life *l = life_of_entry(s, r->object);

    if (!queue_entry_decode(r->payload, &s->scratch, &e))
        return;
    if (l == NULL && e.session.len != 0)
        l = map_get(&s->receptions, e.session); /* a notice belongs to the message it is about */
    if (l == NULL && !s->is_closed && r->time_ms >= s->query->since_ms && entry_matches(s, r->object, &e))
        l = life_make(s, r);
    if (l == NULL)
        return;
    entry_keep(s, l, r->object, r->payload);
    if (e.session.len != 0)
        map_put(&s->receptions, e.session, l);
    body_keep(s, l, e.view.body_id);
}

static bool join(void *arg, const struct record *r, uint64_t segment UNUSED, uint64_t offset UNUSED)
{
    struct search *s = arg;

    if (r->type == TRACE_RECORD)
        trace_join(s, r);
    else if (r->type == QR_ENQUEUE || r->type == QR_ENTRY_IMAGE)
        entry_join(s, r);
    arena_reset(&s->scratch);
    return true;
}

/* --- the last walk: what happened --------------------------------------------------------------------------------- */

static unsigned event_count(const struct life *l)
{
    return (unsigned)(l->events.len / sizeof(struct event));
}

static struct event *event_at(const struct life *l, unsigned i)
{
    return &((struct event *)(void *)l->events.ptr)[i];
}

/* Makes an event the i-th. */
static void event_insert(struct life *l, unsigned i, const struct record *r, struct event e, const char *what,
                         slice who, const struct buf *text)
{
    unsigned count = event_count(l);

    if (l->is_dropped || count >= EVENTS_MAX)
        return;
    e.time_ms = r->time_ms;
    e.object = json_object();
    json_object_set_new(e.object, "time", json_integer(r->time_ms));
    json_object_set_new(e.object, "what", json_string(what));
    json_object_set_new(e.object, "who", json_from_slice(who));
    json_object_set_new(e.object, "text", json_from_slice(buf_slice(text)));
    buf_put(&l->events, &e, sizeof e);
    if (i >= count)
        return;
    memmove(event_at(l, i + 1), event_at(l, i), (count - i) * sizeof e);
    *event_at(l, i) = e;
}

static void event_add(struct life *l, const struct record *r, struct event e, const char *what, slice who,
                      const struct buf *text)
{
    event_insert(l, event_count(l), r, e, what, who, text);
}

static bool is_of_reception(const struct event *e, const struct trace *t)
{
    if (e->kind == EVENT_STORED)
        return e->id == t->body;
    if (e->kind == EVENT_CHANGED)
        return e->id == t->parent;
    for (unsigned i = 0; i < t->rcpt_count; i++)
        for (unsigned k = 0; k < t->rcpts[i].target_count; k++)
            if (e->kind == EVENT_ENQUEUED && t->rcpts[i].targets[k].entry == e->id)
                return true;
    return false;
}

static unsigned front_of_reception(const struct life *l, const struct record *r, const struct trace *t)
{
    unsigned at = event_count(l);

    while (at > 0 && event_at(l, at - 1)->time_ms == r->time_ms && is_of_reception(event_at(l, at - 1), t))
        at--;
    return at;
}

static unsigned front_of_notices(const struct life *l, const struct record *r)
{
    unsigned at = event_count(l);

    while (at > 0 && event_at(l, at - 1)->time_ms == r->time_ms && event_at(l, at - 1)->kind == EVENT_NOTICE)
        at--;
    return at;
}

static void life_name(struct life *l, slice id, slice message_id, slice sender, uint64_t bytes)
{
    if (json_object_get(l->object, "id") != NULL)
        return;
    json_object_set_new(l->object, "id", json_from_slice(id));
    json_object_set_new(l->object, "message_id", json_from_slice(message_id));
    json_object_set_new(l->object, "sender", json_from_slice(sender));
    json_object_set_new(l->object, "bytes", json_integer((json_int_t)bytes));
}

static void put_origin(struct buf *out, const struct trace *t)
{
    static const char *const ways[INTAKE_SOURCES] = {
        [INTAKE_SMTP] = "SMTP",
        [INTAKE_SUBMISSION] = "submission",
        [INTAKE_LMTP] = "LMTP",
        [INTAKE_PROCESS] = "routing of a queue entry",
    };

    buf_printf(out, "by %s", t->source < INTAKE_SOURCES ? ways[t->source] : "an unknown way");
    if (t->address.len != 0)
        buf_printf(out, " from %.*s", SLICE_ARG(t->address));
    if (t->name.len != 0)
        buf_printf(out, " (%.*s)", SLICE_ARG(t->name));
    if (t->helo.len != 0)
        buf_printf(out, ", which calls itself %.*s", SLICE_ARG(t->helo));
    if (t->tls_version.len != 0)
        buf_printf(out, ", %.*s", SLICE_ARG(t->tls_version));
    if (t->user.len != 0)
        buf_printf(out, ", logged in as %.*s", SLICE_ARG(t->user));
    if (t->mechanism.len != 0)
        buf_printf(out, " by %.*s", SLICE_ARG(t->mechanism));
    if (t->parent != 0) {
        char id[17];

        queue_entry_id_print(t->parent, id);
        buf_printf(out, " %s", id);
    }
    buf_printf(out, "; %llu octets, id %.*s", (unsigned long long)t->bytes, SLICE_ARG(t->id));
}

static void put_target(struct buf *out, const struct trace_target *t)
{
    char id[17];

    switch ((enum trace_fate)t->fate) {
    case TRACE_MAILBOX:
        buf_printf(out, "local: delivered at once, UID %u", t->uid);
        break;
    case TRACE_QUEUED:
        queue_entry_id_print(t->entry, id);
        buf_printf(out, "queued as %s for channel %.*s, %.*s", id, SLICE_ARG(t->channel), SLICE_ARG(t->host));
        break;
    default:
        buf_printf(out, "refused: %.*s", SLICE_ARG(t->status));
        break;
    }
}

static void trace_tell(struct search *s, const struct record *r)
{
    const struct event received = { .kind = EVENT_RECEIVED };
    struct buf text = BUF_INIT;
    struct life *l;
    struct trace t;
    unsigned at;

    if (!trace_decode(r->payload, &s->scratch, &t) || (l = map_get(&s->receptions, t.id)) == NULL || l->is_dropped)
        return;
    life_name(l, t.id, t.message_id, t.sender, t.bytes);
    if (slice_eq(json_str(json_object_get(l->object, "id")), t.id)) /* an entry is longer: it has a Received: */
        json_object_set_new(l->object, "bytes", json_integer((json_int_t)t.bytes));
    put_origin(&text, &t);
    at = front_of_reception(l, r, &t);
    event_insert(l, at++, r, received, t.parent != 0 ? "routed" : "received", t.sender, &text);
    for (unsigned i = 0; i < t.rcpt_count; i++) {
        const struct trace_rcpt *rcpt = &t.rcpts[i];

        if (rcpt->target_count == 0) {
            buf_reset(&text);
            buf_printf(&text, "%.*s", SLICE_ARG(rcpt->status));
            event_insert(l, at++, r, received, "recipient", rcpt->address, &text);
        }
        for (unsigned k = 0; k < rcpt->target_count; k++) {
            buf_reset(&text);
            if ((rcpt->bits & TRACE_ALIAS) != 0)
                buf_printf(&text, "alias for %.*s, ", SLICE_ARG(rcpt->targets[k].address));
            put_target(&text, &rcpt->targets[k]);
            event_insert(l, at++, r, received, "recipient", rcpt->address, &text);
        }
    }
    buf_free(&text);
}

static void put_time(struct buf *out, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    char text[32];
    struct tm tm;

    localtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    buf_put_str(out, text);
}

static void outcome_tell(struct entry *e, const struct record *r, const struct queue_change *c,
                         const struct queue_outcome *o)
{
    slice address = o->rcpt < e->value.rcpt_count ? e->value.rcpts[o->rcpt].address : SLICE_NONE;
    const struct event changed = { .kind = EVENT_CHANGED, .id = r->object };
    slice diag = o->diag.len != 0 ? o->diag : c->what == QUEUE_DELETE ? c->reason : SLICE_NONE;
    const char *what = o->state == RCPT_WAITING ? "deferred" : queue_rcpt_state_names[o->state % RCPT_STATES];
    struct buf text = BUF_INIT;
    char id[17];

    queue_entry_id_print(r->object, id);
    buf_printf(&text, "entry %s", id);
    if (c->is_attempt)
        buf_printf(&text, ", attempt %u", c->attempts);
    if (c->by.len != 0 && !slice_eq(c->by, SLICE("scheduler")))
        buf_printf(&text, ", %s %.*s", c->is_attempt ? "at" : "by", SLICE_ARG(c->by));
    if (o->status.len != 0)
        buf_printf(&text, ": %.*s", SLICE_ARG(o->status));
    if (diag.len != 0)
        buf_printf(&text, "%s%.*s", o->status.len != 0 ? " " : ": ", SLICE_ARG(diag));
    if (o->state == RCPT_WAITING && r->type != QR_DONE && c->due_ms != 0) {
        buf_put_str(&text, "; next attempt ");
        put_time(&text, c->due_ms);
    }
    event_insert(e->life, front_of_notices(e->life, r), r, changed, what, address, &text);
    buf_free(&text);
}

static void hand_tell(struct entry *e, const struct record *r, const struct queue_change *c)
{
    static const char *const words[] = {
        [QUEUE_RESULT] = "attempt", [QUEUE_HOLD] = "held",      [QUEUE_RELEASE] = "released",
        [QUEUE_RETRY] = "retried",  [QUEUE_DELETE] = "deleted", [QUEUE_REROUTE] = "rerouted",
    };
    struct buf text = BUF_INIT;
    char id[17];

    queue_entry_id_print(r->object, id);
    buf_printf(&text, "entry %s", id);
    if (c->dest != 0)
        buf_printf(&text, " to channel %.*s, %.*s", SLICE_ARG(c->channel), SLICE_ARG(c->host));
    if (c->reason.len != 0)
        buf_printf(&text, ": %.*s", SLICE_ARG(c->reason));
    event_add(e->life, r, (struct event){ .kind = EVENT_CHANGED, .id = r->object },
              (size_t)c->what < ARRAY_LEN(words) ? words[c->what] : "changed", c->by, &text);
    buf_free(&text);
}

static void change_tell(struct search *s, const struct record *r)
{
    struct entry *e = idmap_get(&s->entries, r->object);
    struct queue_change c;

    if (e == NULL || e->life->is_dropped || !queue_change_decode(r->payload, &s->scratch, &c))
        return;
    if (c.outcome_count == 0)
        hand_tell(e, r, &c);
    for (unsigned i = 0; i < c.outcome_count; i++)
        outcome_tell(e, r, &c, &c.outcomes[i]);
    if (c.what == QUEUE_REROUTE)
        e->value.channel = slice_dup(&s->mem, c.channel);
}

/* An entry whose reception the log no longer holds, or never had. */
static void entry_tell(struct search *s, const struct record *r)
{
    struct entry *e = idmap_get(&s->entries, r->object);
    struct queue_entry q = { .id = r->object };
    struct event made = { .kind = EVENT_ENQUEUED, .id = r->object };
    struct buf text = BUF_INIT;
    char id[17];

    if (e == NULL || e->life->is_dropped || !queue_entry_decode(r->payload, &s->scratch, &q))
        return;
    entry_keep(s, e->life, r->object, r->payload);
    life_name(e->life, q.session, q.message_id, q.sender, body_view_bytes(&q.view));
    if ((q.flags & QUEUE_IS_NOTICE) != 0 && !slice_eq(q.source, SLICE("process")))
        made.kind = EVENT_NOTICE;
    queue_entry_id_print(r->object, id);
    buf_printf(&text, "entry %s for channel %.*s, %.*s; %u recipient%s, from channel %.*s%s", id, SLICE_ARG(q.channel),
               SLICE_ARG(q.host), q.rcpt_count, q.rcpt_count == 1 ? "" : "s", SLICE_ARG(q.source),
               (q.flags & QUEUE_IS_NOTICE) != 0 ? "; a notice of ours" : "");
    if (r->type == QR_ENQUEUE)
        event_add(e->life, r, made, q.state == QUEUE_HELD ? "held" : "enqueued", q.sender, &text);
    buf_free(&text);
}

/* --- in the store ------------------------------------------------------------------------------------------------- */

struct stored {
    struct search *search;
    const struct record *record;
};

static slice row_key(uint64_t mailbox, uint32_t uid, unsigned char out[12])
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (unsigned char)(mailbox >> (8 * i));
    for (unsigned i = 0; i < 4; i++)
        out[8 + i] = (unsigned char)(uid >> (8 * i));
    return slice_of(out, 12);
}

/* As it is called now, or was called last. */
static void put_mailbox(struct search *s, uint64_t id, struct buf *out)
{
    const slice *seen = idmap_get(&s->mailboxes, id);
    struct err err = ERR_INIT;
    struct store_mailbox m;
    struct journal_view v;

    if (seen != NULL) {
        buf_put_slice(out, *seen);
        return;
    }
    if (journal_read_begin(s->site->journal, &v, &err) == 0) {
        if (store_mailbox_get(s->site->store, &v, id, &m)) {
            slice *name = arena_alloc(&s->mem, sizeof *name);

            *name = slice_dup(&s->mem, m.name);
            idmap_put(&s->mailboxes, id, name);
            buf_put_slice(out, *name);
        } else {
            buf_put_str(out, "a mailbox that is gone");
        }
        journal_read_end(&v);
    }
}

static void row_tell(struct stored *st, const struct store_history *h, struct life *l)
{
    static const char *const words[] = {
        [STORE_EVENT_ADDED] = "stored", [STORE_EVENT_FLAGS] = "flags", [STORE_EVENT_EXPUNGED] = "expunged"
    };
    struct buf text = BUF_INIT, mailbox = BUF_INIT;

    put_mailbox(st->search, h->mailbox, &mailbox);
    buf_printf(&text, "UID %u", h->uid);
    if (h->event == STORE_EVENT_FLAGS || (h->event == STORE_EVENT_ADDED && h->system != 0)) {
        buf_put_str(&text, ", flags ");
        store_flags_print(h->system, &text);
    }
    event_add(l, st->record, (struct event){ .kind = EVENT_STORED, .id = h->body }, words[h->event],
              buf_slice(&mailbox), &text);
    buf_free(&text);
    buf_free(&mailbox);
}

static void stored_tell(void *arg, const struct store_history *h)
{
    struct stored *st = arg;
    struct search *s = st->search;
    unsigned char key[12];
    struct life *l;

    if (h->event == STORE_EVENT_MAILBOX) {
        slice *name = idmap_get(&s->mailboxes, h->mailbox);

        if (name != NULL) /* only those that were asked for; the name as it was at the time */
            *name = slice_dup(&s->mem, h->name);
        return;
    }
    if (h->event == STORE_EVENT_ADDED || h->event == STORE_EVENT_SEEN_IN_IMAGE) {
        l = idmap_get(&s->bodies, h->body);
        if (l == NULL || l->is_dropped)
            return;
        map_put(&s->rows, row_key(h->mailbox, h->uid, key), l);
        if (h->event == STORE_EVENT_ADDED)
            row_tell(st, h, l);
        return;
    }
    if (map_count(&s->rows) == 0)
        return;
    for (uint32_t uid = h->uid; uid <= h->last_uid && uid - h->uid < ROWS_OF_RANGE_MAX; uid++) {
        struct store_history one = *h;

        one.uid = uid;
        l = map_get(&s->rows, row_key(h->mailbox, uid, key));
        if (l != NULL)
            row_tell(st, &one, l);
    }
}

static bool tell(void *arg, const struct record *r, uint64_t segment UNUSED, uint64_t offset UNUSED)
{
    struct search *s = arg;
    struct stored st = { s, r };

    switch (r->type) {
    case TRACE_RECORD:
        trace_tell(s, r);
        break;
    case QR_ENQUEUE:
    case QR_ENTRY_IMAGE:
        entry_tell(s, r);
        break;
    case QR_CHANGE:
    case QR_DONE:
        change_tell(s, r);
        break;
    default:
        store_history_read(r, stored_tell, &st);
        break;
    }
    arena_reset(&s->scratch);
    return true;
}

/* --- both --------------------------------------------------------------------------------------------------------- */

static void search_init(struct search *s, struct site *site, const struct why_query *q)
{
    *s = (struct search){ .site = site, .query = q, .from_seq = UINT64_MAX };
    arena_init(&s->mem, 4096);
    arena_init(&s->scratch, 4096);
    map_init(&s->receptions);
    map_init(&s->rows);
    idmap_init(&s->entries);
    idmap_init(&s->bodies);
    idmap_init(&s->mailboxes);
    if (!queue_entry_id_parse(q->key, &s->entry_id))
        s->entry_id = 0;
}

static void search_free(struct search *s)
{
    for (struct life *l = s->first; l != NULL; l = l->next) {
        for (unsigned i = 0; i < event_count(l); i++)
            json_decref(event_at(l, i)->object);
        buf_free(&l->events);
        json_decref(l->object);
    }
    map_free(&s->receptions);
    map_free(&s->rows);
    idmap_free(&s->entries);
    idmap_free(&s->bodies);
    idmap_free(&s->mailboxes);
    arena_free(&s->scratch);
    arena_free(&s->mem);
}

static json_t *events_make(const struct life *l)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < event_count(l); i++)
        json_array_append(array, event_at(l, i)->object);
    return array;
}

static json_t *answer_make(struct search *s)
{
    json_t *messages = json_array();

    for (struct life *l = s->first; l != NULL; l = l->next) {
        if (l->is_dropped)
            continue;
        json_object_set_new(l->object, "events", events_make(l));
        json_array_append(messages, l->object);
    }
    return json_pack("{s:o, s:b}", "messages", messages, "more", s->more);
}

json_t *why_find(struct site *site, const struct why_query *q, struct err *err)
{
    unsigned char object[OBJECT_KEY_BYTES];
    slice keys[2] = { bare_id(q->key) };
    unsigned key_count = 1;
    struct search s;
    json_t *answer = NULL;

    search_init(&s, site, q);
    if (s.entry_id != 0) {
        for (unsigned i = 0; i < sizeof object; i++)
            object[i] = (unsigned char)(s.entry_id >> (8 * (sizeof object - 1 - i)));
        keys[key_count++] = slice_of(object, sizeof object);
    }
    if (journal_walk_keys(site->journal, 0, keys, key_count, join, &s, err) < 0)
        goto out;
    for (struct life *l = s.first; l != NULL; l = l->next)
        l->object = json_object();
    s.is_closed = true;
    /* Once more for what belongs to them and stands in parts of the history that do not name the key: notices. */
    if (s.first != NULL && (journal_walk(site->journal, s.from_seq, join, &s, err) < 0 ||
                            journal_walk(site->journal, s.from_seq, tell, &s, err) < 0))
        goto out;
    answer = answer_make(&s);
out:
    search_free(&s);
    return answer;
}
