/* deliver.c - one message into the mailboxes of several recipients, and the ledger that counts recipients. */
#include "store/emit.h"
#include "store/names.h"

/* --- the ledger ----------------------------------------------------------------------------------------------------
 *
 * A recipient is created when its delivery is attempted and ends in the same operation: delivered or refused. The
 * record holds the sums after it, so the newest one is the whole truth. */

static const char *const ledger_names[LEDGER_CAUSES] = {
    [LEDGER_CREATED] = "created",
    [LEDGER_DELIVERED] = "delivered",
    [LEDGER_REFUSED] = "refused",
};

static uint64_t ledger_read(struct journal_view *v, uint64_t sums[LEDGER_CAUSES])
{
    struct reader r;
    uint64_t object;
    slice value;

    memset(sums, 0, LEDGER_CAUSES * sizeof sums[0]);
    if (!journal_get(v, STORE_TABLE_LEDGER, SLICE("ledger"), &value))
        return 0;
    r = reader_of(value);
    object = read_le64(&r);
    for (unsigned i = 0; i < LEDGER_CAUSES && r.rest.len > 0; i++)
        sums[i] = read_varint(&r);
    return object;
}

static void ledger_emit(struct journal_tx *tx, uint64_t delivered, uint64_t refused)
{
    uint64_t sums[LEDGER_CAUSES];
    uint64_t object = ledger_read(journal_tx_view(tx), sums);
    struct buf payload = BUF_INIT;

    sums[LEDGER_CREATED] += delivered + refused;
    sums[LEDGER_DELIVERED] += delivered;
    sums[LEDGER_REFUSED] += refused;
    for (unsigned i = 0; i < LEDGER_CAUSES; i++)
        buf_put_varint(&payload, sums[i]);
    journal_emit(tx, ST_LEDGER, object, 0, 0, buf_slice(&payload));
    buf_free(&payload);
}

OWNED json_t *store_ledger(struct store *s UNUSED, struct journal_view *v)
{
    uint64_t sums[LEDGER_CAUSES], ended = 0;
    json_t *out = json_object(), *causes = json_object();

    ledger_read(v, sums);
    for (unsigned i = LEDGER_CREATED + 1; i < LEDGER_CAUSES; i++) {
        json_object_set_new(causes, ledger_names[i], json_integer((json_int_t)sums[i]));
        ended += sums[i];
    }
    json_object_set_new(out, "created", json_integer((json_int_t)sums[LEDGER_CREATED]));
    json_object_set_new(out, "ended", json_integer((json_int_t)ended));
    json_object_set_new(out, "queued", json_integer(0));
    json_object_set_new(out, "causes", causes);
    return out;
}

/* --- checks -------------------------------------------------------------------------------------------------- */

enum store_result quota_check(const struct store_conf *conf, struct journal_view *v, uint64_t account, uint64_t bytes)
{
    struct account_head h;
    struct usage u;
    uint64_t limit;

    if (!account_head_get(v, account, &h) || (h.flags & HEAD_DOOMED) != 0)
        return STORE_NO_MAILBOX;
    limit = account_limit_bytes(conf, &h);
    usage_get(v, account, &u);
    return limit != 0 && (u.bytes > limit || bytes > limit - u.bytes) ? STORE_OVER_QUOTA : STORE_OK;
}

/* Would it not fit into the empty account either? Then waiting helps nobody. */
static bool is_beyond_quota(const struct store_conf *conf, struct journal_view *v, uint64_t account, uint64_t bytes)
{
    struct account_head h;

    return account_head_get(v, account, &h) && bytes > account_limit_bytes(conf, &h);
}

static enum store_result target_check(const struct store_conf *conf, struct journal_view *v, uint64_t account,
                                      slice name, uint64_t bytes, uint64_t *mailbox)
{
    enum store_result result = quota_check(conf, v, account, bytes);
    struct mailbox_count c;
    struct arena mem;

    if (result == STORE_NO_MAILBOX)
        return result; /* a missing mailbox is said before a full account */
    if (result == STORE_OVER_QUOTA && is_beyond_quota(conf, v, account, bytes))
        result = STORE_TOO_LARGE;
    arena_init(&mem, 512);
    if (!name_find(v, account, name_fold(&mem, name), mailbox))
        result = STORE_NO_MAILBOX;
    arena_free(&mem);
    if (result != STORE_OK)
        return result;
    mailbox_count_get(v, *mailbox, &c);
    return c.max.uidnext == UINT32_MAX ? STORE_LIMIT : STORE_OK;
}

enum store_result store_deliver_check(struct store *s, struct journal_view *v, uint64_t account, slice mailbox,
                                      uint64_t bytes)
{
    struct store_limits *l = store_limits_ref(s);
    uint64_t id;
    enum store_result result = store_account_ready(s, v, account, NULL)
                                   ? target_check(&l->conf, v, account, mailbox, bytes, &id)
                                   : STORE_REBUILDING;

    snap_unref(&l->snap);
    return result;
}

/* --- delivery ------------------------------------------------------------------------------------------------ */

static struct body_view target_view(const struct store_delivery_target *t, uint64_t body_id, uint32_t body_bytes)
{
    bool has_header = t->header.len != 0 || t->header_id != 0;
    uint32_t at = has_header ? t->body_at : 0;

    return (struct body_view){ t->header_id, body_id, at,
                               t->header_id != 0 ? t->header_bytes : (uint32_t)t->header.len, body_bytes - at };
}

/* Recipients whose header block lies at the same place share one stored block. */
static uint64_t header_id(struct journal_tx *tx, const struct store_delivery_target *targets, const uint64_t *ids,
                          unsigned i)
{
    if (targets[i].header_id != 0 || targets[i].header.len == 0)
        return targets[i].header_id;
    for (unsigned k = i; k > 0 && i - k < 64; k--)
        if (ids[k - 1] != 0 && targets[k - 1].header.ptr == targets[i].header.ptr &&
            targets[k - 1].header.len == targets[i].header.len)
            return ids[k - 1];
    return journal_emit_octets(tx, targets[i].header);
}

void store_deliver_emit(struct store *s, struct journal_tx *tx, uint64_t body_id, uint32_t body_bytes,
                        struct store_delivery_target *targets, unsigned count)
{
    struct journal_view *v = journal_tx_view(tx);
    struct store_limits *l = store_limits_ref(s);
    uint64_t delivered = 0, mailbox;
    uint64_t *ids = mem_alloc_array(count + 1, sizeof *ids);

    for (unsigned i = 0; i < count; i++) {
        struct store_delivery_target *t = &targets[i];
        struct store_row row = { .system = t->flags.system, .internal_ms = journal_tx_now_ms(tx) };

        row.body = target_view(t, body_id, body_bytes);
        t->uid = t->uidvalidity = 0;
        t->result = store_account_ready(s, v, t->account, NULL)
                        ? target_check(&l->conf, v, t->account, t->mailbox, body_view_bytes(&row.body), &mailbox)
                        : STORE_REBUILDING;
        if (t->result != STORE_OK) {
            bool is_full = t->result == STORE_OVER_QUOTA || t->result == STORE_TOO_LARGE;

            counter_add(&store_counters[is_full ? SC_OVER_QUOTA : SC_REFUSED], 1);
            continue;
        }
        row.body.header_id = ids[i] = header_id(tx, targets, ids, i);
        row.keywords = keywords_resolve(tx, &l->conf, mailbox, t->keywords, t->keyword_count, true, NULL);
        row.save_ms = row.internal_ms;
        t->uid = message_emit(tx, mailbox, &row, &t->uidvalidity);
        delivered++;
    }
    if (count != 0)
        ledger_emit(tx, delivered, count - delivered);
    counter_add(&store_counters[SC_DELIVERIES], (int64_t)delivered);
    mem_free(ids);
    snap_unref(&l->snap);
}
