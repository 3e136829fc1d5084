/* record.c - payloads of queue records and rows: whatever decodes is written again to the same value, the short reading
 * agrees with the long one, and a change can be applied to any entry. */
#include "base/bytes.h"
#include "base/mem.h"
#include "queue/record.h"

static void entry(slice octets, struct arena *mem, struct queue_entry *e, bool *good)
{
    struct queue_entry again = { 0 };
    struct queue_head h;
    struct buf out = BUF_INIT, second = BUF_INIT;
    unsigned waiting = 0;

    *e = (struct queue_entry){ 0 };
    *good = queue_entry_decode(octets, mem, e);
    ASSERT(*good == queue_head_decode(octets, &h));
    if (!*good)
        return;
    for (unsigned i = 0; i < e->rcpt_count; i++)
        waiting += e->rcpts[i].state == RCPT_WAITING;
    ASSERT(h.waiting == waiting && h.dest == e->dest && h.due_ms == e->due_ms && slice_eq(h.host, e->host));
    queue_entry_encode(&out, e);
    ASSERT(queue_entry_decode(buf_slice(&out), mem, &again));
    queue_entry_encode(&second, &again);
    ASSERT(slice_eq(buf_slice(&out), buf_slice(&second)));
    ASSERT(again.rcpt_count == e->rcpt_count && slice_eq(again.reason, e->reason));
    for (unsigned i = 0; i < e->rcpt_count; i++)
        ASSERT(again.rcpts[i].state == e->rcpts[i].state && slice_eq(again.rcpts[i].address, e->rcpts[i].address) &&
               slice_eq(again.rcpts[i].diag, e->rcpts[i].diag) && again.rcpts[i].notify == e->rcpts[i].notify);
    buf_free(&out);
    buf_free(&second);
}

static void change(slice octets, struct arena *mem, struct queue_entry *e)
{
    struct queue_change c, again;
    struct buf out = BUF_INIT;

    if (!queue_change_decode(octets, mem, &c))
        return;
    queue_change_encode(&out, &c);
    ASSERT(queue_change_decode(buf_slice(&out), mem, &again));
    ASSERT(again.outcome_count == c.outcome_count && again.due_ms == c.due_ms && slice_eq(again.reason, c.reason));
    buf_free(&out);
    if (e == NULL)
        return;
    queue_change_apply(&c, e);
    queue_entry_encode(&out, e);
    ASSERT(queue_entry_decode(buf_slice(&out), mem, &(struct queue_entry){ 0 }));
    buf_free(&out);
}

static void channel(slice octets)
{
    struct queue_channel c, again;
    struct buf out = BUF_INIT;

    if (!queue_channel_decode(octets, &c))
        return;
    queue_channel_encode(&out, &c);
    ASSERT(queue_channel_decode(buf_slice(&out), &again));
    ASSERT(memcmp(again.totals, c.totals, sizeof c.totals) == 0 && again.is_stopped == c.is_stopped);
    buf_free(&out);
}

/* u16 length, an entry of that length, then a change. */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    static const uint16_t types[] = { QR_ENQUEUE, QR_ENTRY_IMAGE, QR_CHANGE, QR_DONE, QR_CHANNEL };
    slice all = slice_of(data, size), first;
    struct reader in = reader_of(all);
    struct queue_entry e;
    struct arena mem;
    bool good = false;

    arena_init(&mem, 4096);
    first = read_octets(&in, read_le16(&in));
    if (!in.failed) {
        entry(first, &mem, &e, &good);
        change(in.rest, &mem, good ? &e : NULL);
    }
    channel(all);
    for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
        struct record r = { .type = types[i], .payload = i < 2 ? first : i < 4 ? in.rest : all };
        struct buf text = BUF_INIT;

        queue_record_dump(&r, &text);
        buf_free(&text);
    }
    arena_free(&mem);
    return 0;
}
