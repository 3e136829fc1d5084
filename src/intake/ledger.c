/* ledger.c - the ledger in the journal: one object whose records carry the totals after them, so that the newest says
 * all and the older ones are dead. */
#include <stdarg.h>
#include <stdio.h>

#include "base/bytes.h"
#include "intake/internal.h"

#define RT_LEDGER 0x0600
#define TABLE_LEDGER 90
#define LEDGER_KEY SLICE("L")
#define LEDGER_NUMBERS 8
#define LEDGER_NUMBERS_FIRST 6 /* records made before there was a queue */

static void ledger_encode(struct buf *out, const struct ledger *l)
{
    const uint64_t n[LEDGER_NUMBERS] = { l->messages, l->created, l->delivered, l->refused,
                                         l->expanded, l->merged,  l->queued,    l->passed };

    for (unsigned i = 0; i < LEDGER_NUMBERS; i++)
        buf_put_varint(out, n[i]);
}

static bool ledger_decode(struct reader *r, struct ledger *l)
{
    uint64_t n[LEDGER_NUMBERS] = { 0 };

    for (unsigned i = 0; i < LEDGER_NUMBERS && (i < LEDGER_NUMBERS_FIRST || r->rest.len != 0); i++)
        n[i] = read_varint(r);
    *l = (struct ledger){ n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7] };
    return reader_done(r);
}

/* The table's value: object id, then the numbers. False: no ledger yet. */
static bool ledger_get(struct journal_view *v, uint64_t *object, struct ledger *l)
{
    struct reader r;
    slice value;

    *object = 0;
    *l = (struct ledger){ 0 };
    if (!journal_get(v, TABLE_LEDGER, LEDGER_KEY, &value))
        return false;
    r = reader_of(value);
    *object = read_le64(&r);
    return ledger_decode(&r, l);
}

static int ledger_apply(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct reader in = reader_of(r->payload);
    struct buf value = BUF_INIT;
    struct ledger l;

    (void)room;
    if (!ledger_decode(&in, &l))
        return err_set(err, ERR_DAMAGE, "record %llu: not a ledger", (unsigned long long)r->seq);
    buf_put_le64(&value, r->object);
    ledger_encode(&value, &l);
    journal_put(journal_tx_view(tx), TABLE_LEDGER, LEDGER_KEY, buf_slice(&value));
    buf_free(&value);
    return 0;
}

static int ledger_image(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err)
{
    struct buf payload = BUF_INIT;
    uint64_t present;
    struct ledger l;

    (void)room;
    (void)err;
    if (ledger_get(journal_tx_view(tx), &present, &l) && present == object) {
        ledger_encode(&payload, &l);
        journal_emit(tx, RT_LEDGER, object, part, RECORD_IMAGE, buf_slice(&payload));
    }
    buf_free(&payload);
    return 0;
}

static void ledger_dump(const struct record *r, struct buf *out)
{
    struct reader in = reader_of(r->payload);
    struct ledger l;

    if (!ledger_decode(&in, &l))
        return;
    buf_printf(out, "messages=%llu created=%llu delivered=%llu refused=%llu expanded=%llu merged=%llu queued=%llu "
                    "passed=%llu",
               (unsigned long long)l.messages, (unsigned long long)l.created, (unsigned long long)l.delivered,
               (unsigned long long)l.refused, (unsigned long long)l.expanded, (unsigned long long)l.merged,
               (unsigned long long)l.queued, (unsigned long long)l.passed);
}

static int trace_apply(struct journal_tx *tx UNUSED, void *room UNUSED, const struct record *r UNUSED,
                       struct err *err UNUSED)
{
    return 0; /* it is there to be read */
}

static const struct journal_type types[] = {
    { .type = RT_LEDGER,
      .flags = TYPE_WHOLE,
      .name = "ledger",
      .apply = ledger_apply,
      .dump = ledger_dump,
      .image = ledger_image },
    { .type = TRACE_RECORD, .name = "reception", .apply = trace_apply, .dump = trace_dump, .keys = trace_keys },
};
static const struct journal_table tables[] = { { .number = TABLE_LEDGER, .name = "ledger" } };

const struct journal_room intake_journal_room = {
    .name = "intake",
    .types = types,
    .type_count = ARRAY_LEN(types),
    .tables = tables,
    .table_count = ARRAY_LEN(tables),
};

void ledger_emit(struct journal_tx *tx, const struct ledger *change)
{
    struct buf payload = BUF_INIT;
    uint64_t object;
    struct ledger l;

    ledger_get(journal_tx_view(tx), &object, &l);
    l.messages += change->messages;
    l.created += change->created;
    l.delivered += change->delivered;
    l.refused += change->refused;
    l.expanded += change->expanded;
    l.merged += change->merged;
    l.queued += change->queued;
    l.passed += change->passed;
    ledger_encode(&payload, &l);
    journal_emit(tx, RT_LEDGER, object, 0, RECORD_IMAGE, buf_slice(&payload));
    buf_free(&payload);
}

json_t *intake_ledger(struct journal_view *v)
{
    uint64_t object;
    struct ledger l;

    ledger_get(v, &object, &l);
    return json_pack("{sI sI sI sI sI sI sI sI}", "messages", (json_int_t)l.messages, "created", (json_int_t)l.created,
                     "delivered", (json_int_t)l.delivered, "refused", (json_int_t)l.refused, "expanded",
                     (json_int_t)l.expanded, "merged", (json_int_t)l.merged, "queued", (json_int_t)l.queued, "passed",
                     (json_int_t)l.passed);
}

/* --- the check ---------------------------------------------------------------------------------------------------- */

struct check {
    struct journal_op op;
    struct store *store;
    struct queue *queue;
    const struct channels_conf *channels;
    journal_say_fn *say;
    void *arg;
    int faults;
};

static void fault(struct check *c, const char *fmt, ...)
{
    char line[200];
    va_list args;

    c->faults++;
    if (c->say == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    c->say(c->arg, line);
}

static uint64_t number(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

/* What came out of the queue, and past it, into mailboxes. */
static uint64_t store_channels_delivered(const struct check *c, const json_t *queue)
{
    const json_t *channel;
    uint64_t sum = 0;
    const char *name;

    json_object_foreach(json_object_get(queue, "channels"), name, channel)
    {
        const struct channel_conf *conf = channel_conf_find(c->channels, slice_str(name));

        if (slice_eq(slice_str(name), CHANNEL_STORE) || (conf != NULL && slice_eq(conf->type, SLICE("store"))))
            sum += number(channel, "delivered");
    }
    return sum;
}

/* In an operation that emits nothing: all three ledgers as of one moment. */
static int check_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    struct check *c = CONTAINER_OF(op, struct check, op);
    json_t *queue = queue_ledger(c->queue, journal_tx_view(tx)), *total = json_object_get(queue, "total");
    json_t *store = store_ledger(c->store, journal_tx_view(tx)), *causes = json_object_get(store, "causes");
    uint64_t object, ended, taken, handed;
    struct ledger l;

    c->faults = 0;
    ledger_get(journal_tx_view(tx), &object, &l);
    ended = l.delivered + l.queued + l.refused + l.expanded + l.merged;
    if (l.created != ended)
        fault(c, "intake: L1: %llu recipients were created, %llu have ended or were queued",
              (unsigned long long)l.created, (unsigned long long)ended);
    taken = number(causes, "delivered") + l.passed;
    ended = l.delivered + store_channels_delivered(c, queue);
    if (taken != ended)
        fault(c, "intake: L2: %llu deliveries stand in the store's ledger, %llu in those of intake and queue",
              (unsigned long long)(taken - l.passed), (unsigned long long)(ended - l.passed));
    handed = number(total, "created") - number(total, "moved");
    if (handed < l.queued + l.passed)
        fault(c, "intake: L3: %llu recipients were handed to the queue, which knows of %llu",
              (unsigned long long)(l.queued + l.passed), (unsigned long long)handed);
    json_decref(queue);
    json_decref(store);
    return 0;
}

int intake_check(struct journal *j, struct store *s, struct queue *q, struct conf_set *conf, journal_say_fn *say,
                 void *arg, struct err *err)
{
    struct check c = { .store = s, .queue = q, .channels = conf_section(conf, CONF_CHANNELS), .say = say, .arg = arg };

    c.op = (struct journal_op){ .run = check_run, .cost = 1, .lane = LANE_MAINTENANCE };
    return journal_run(j, &c.op, err) < 0 ? -1 : c.faults;
}
