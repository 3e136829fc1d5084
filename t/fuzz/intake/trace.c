/* trace.c - payloads of the record of a reception: whatever decodes is written again to the same octets' value. */
#include "base/mem.h"
#include "intake/trace.h"

static void key_seen(void *arg, slice key)
{
    unsigned *n = arg;

    ASSERT(key.len != 0);
    ++*n;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct record r = { .type = TRACE_RECORD, .payload = slice_of(data, size) };
    struct buf out = BUF_INIT, second = BUF_INIT, text = BUF_INIT;
    struct trace t, again;
    struct arena mem;
    unsigned keys = 0;

    arena_init(&mem, 1024);
    if (trace_decode(r.payload, &mem, &t)) {
        trace_encode(&out, &t);
        ASSERT(trace_decode(buf_slice(&out), &mem, &again));
        trace_encode(&second, &again);
        ASSERT(slice_eq(buf_slice(&out), buf_slice(&second)));
        ASSERT(again.rcpt_count == t.rcpt_count && slice_eq(again.message_id, t.message_id));
    }
    trace_dump(&r, &text);
    trace_keys(&r, key_seen, &keys);
    buf_free(&text);
    buf_free(&out);
    buf_free(&second);
    arena_free(&mem);
    return 0;
}
