/* The first octets choose the mode and how the rest is cut: what comes of it must be what comes of it in one piece. */
#include "base/buf.h"
#include "base/err.h"
#include "net/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINE_MAX_OCTETS 20

/* The next piece's end; cuts come from the seed, the uncut run has seed 0. */
static size_t grow(uint32_t *seed, size_t have, size_t len)
{
    if (*seed == 0)
        return len;
    *seed = *seed * 1103515245u + 12345u;
    const size_t step = 1 + (*seed >> 16) % 7;
    return have + step < len ? have + step : len;
}

static void lines(slice in, uint32_t seed, bool lf_ok, struct buf *out)
{
    struct line_state st = { 0 };
    size_t at = 0, have = grow(&seed, 0, in.len), used;
    slice line;

    for (;;) {
        const enum frame f = frame_line(&st, slice_sub(in, at, have - at), LINE_MAX_OCTETS, lf_ok, &line, &used);
        ASSERT(used <= have - at);
        ASSERT(line.len <= LINE_MAX_OCTETS);
        at += used;
        if (f == FRAME_MORE) {
            ASSERT(have - at <= LINE_MAX_OCTETS + 1); /* what is kept is bounded */
            if (have == in.len)
                return;
            have = grow(&seed, have, in.len);
            continue;
        }
        ASSERT(f == FRAME_OK || line.len == 0);
        buf_printf(out, "%d:", (int)f);
        buf_put_slice(out, line);
        buf_put_byte(out, '\n');
    }
}

static void dots(slice in, uint32_t seed, struct buf *out)
{
    struct dot_state st = { .at = DOT_BOL };
    size_t at = 0, have = grow(&seed, 0, in.len), used;
    bool end;
    slice part;

    for (;;) {
        const enum frame f = frame_dot(&st, slice_sub(in, at, have - at), &part, &end, &used);
        ASSERT(used <= have - at);
        at += used;
        if (f == FRAME_MORE) {
            ASSERT(at == have && !end);
            if (have == in.len)
                break;
            have = grow(&seed, have, in.len);
            continue;
        }
        ASSERT(end ? part.len == 0 : part.len > 0);
        buf_put_slice(out, part);
        if (end)
            buf_put_str(out, f == FRAME_BARE ? "<bad end>" : "<end>");
    }
    buf_printf(out, "%d %d", (int)st.at, (int)st.is_bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = BUF_INIT, cut = BUF_INIT;

    if (size < 3 || size > 4096)
        return 0;
    const slice in = slice_of(data + 3, size - 3);
    const uint32_t seed = ((uint32_t)data[1] << 8 | data[2]) + 1;
    if (data[0] % 3 == 0) {
        dots(in, 0, &whole);
        dots(in, seed, &cut);
    } else {
        lines(in, 0, data[0] % 3 == 1, &whole);
        lines(in, seed, data[0] % 3 == 1, &cut);
    }
    ASSERT(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    buf_free(&whole);
    buf_free(&cut);
    return 0;
}
