/* Lines: what is written of any octets is one line and reads back with the same code and time. */
#include "base/err.h"
#include "log/txlog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice all = slice_of(data, size), rest = all;
    struct txlog_record r = { .code = 'Q', .source = SLICE("tcp_local") };
    struct txlog_line l;
    struct buf out = BUF_INIT;

    txlog_line_read(all, &l);
    r.sender = slice_cut(&rest, 0, NULL);
    r.rcpt = slice_cut(&rest, 0, NULL);
    r.diagnostic = rest;
    for (unsigned json = 0; json < 2; json++) {
        buf_reset(&out);
        if (json)
            txlog_json(&r, 1171637653730, &out);
        else
            txlog_text(&r, 1171637653730, 1024, &out);
        ASSERT(slice_find_byte(buf_slice(&out), '\n') < 0);
        ASSERT(txlog_line_read(buf_slice(&out), &l));
        ASSERT(l.code == 'Q' && l.time_ms == 1171637653730 && slice_eq(l.source, SLICE("tcp_local")));
    }
    buf_free(&out);
    return 0;
}
