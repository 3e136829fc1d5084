/* ledger.c - the ledger in the journal: one object whose records carry the totals after them, so that the newest says
 * all and the older ones are dead. */
#include "base/bytes.h"
#include "intake/internal.h"

#define RT_LEDGER 0x0600
#define TABLE_LEDGER 90
#define LEDGER_KEY SLICE("L")
#define LEDGER_NUMBERS 6

static void ledger_encode(struct buf *out, const struct ledger *l)
{
    const uint64_t n[LEDGER_NUMBERS] = { l->messages, l->created, l->delivered, l->refused, l->expanded, l->merged };

    for (unsigned i = 0; i < LEDGER_NUMBERS; i++)
        buf_put_varint(out, n[i]);
}

static bool ledger_decode(struct reader *r, struct ledger *l)
{
    uint64_t n[LEDGER_NUMBERS];

    for (unsigned i = 0; i < LEDGER_NUMBERS; i++)
        n[i] = read_varint(r);
    *l = (struct ledger){ n[0], n[1], n[2], n[3], n[4], n[5] };
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
    buf_printf(out, "messages=%llu created=%llu delivered=%llu refused=%llu expanded=%llu merged=%llu",
               (unsigned long long)l.messages, (unsigned long long)l.created, (unsigned long long)l.delivered,
               (unsigned long long)l.refused, (unsigned long long)l.expanded, (unsigned long long)l.merged);
}

static const struct journal_type types[] = {
    { .type = RT_LEDGER,
      .flags = TYPE_WHOLE,
      .name = "ledger",
      .apply = ledger_apply,
      .dump = ledger_dump,
      .image = ledger_image },
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
    ledger_encode(&payload, &l);
    journal_emit(tx, RT_LEDGER, object, 0, RECORD_IMAGE, buf_slice(&payload));
    buf_free(&payload);
}

json_t *intake_ledger(struct journal_view *v)
{
    uint64_t object;
    struct ledger l;

    ledger_get(v, &object, &l);
    return json_pack("{sI sI sI sI sI sI}", "messages", (json_int_t)l.messages, "created", (json_int_t)l.created,
                     "delivered", (json_int_t)l.delivered, "refused", (json_int_t)l.refused, "expanded",
                     (json_int_t)l.expanded, "merged", (json_int_t)l.merged);
}
