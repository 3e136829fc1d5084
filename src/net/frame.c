#include "net/frame.h"

#include <string.h>

enum frame frame_line(struct line_state *st, slice in, size_t max, bool lf_ok, slice *line, size_t *used)
{
    const ssize_t found = slice_find_byte(slice_from(in, st->scanned), '\n');

    *line = SLICE_NONE;
    *used = 0;
    if (found < 0) {
        /* max octets and a CR may still be a line; more cannot. What is known to be too long is not kept. */
        if (st->is_skipping || (in.len > 1 && in.len - 1 > max)) {
            st->is_skipping = true;
            *used = in.len;
        }
        st->scanned = in.len - *used;
        return FRAME_MORE;
    }
    const size_t lf = st->scanned + (size_t)found;
    const bool has_cr = lf > 0 && in.ptr[lf - 1] == '\r';
    const slice text = slice_sub(in, 0, has_cr ? lf - 1 : lf);
    const bool is_too_long = st->is_skipping || text.len > max;

    *used = lf + 1;
    *st = (struct line_state){ 0 };
    if (is_too_long)
        return FRAME_TOO_LONG;
    if ((!has_cr && !lf_ok) || slice_find_byte(text, '\r') >= 0 || slice_find_byte(text, '\0') >= 0)
        return FRAME_BARE;
    *line = text;
    return FRAME_OK;
}

/* One octet in any state but MID, where runs are taken at once. */
static void dot_advance(struct dot_state *st, unsigned char c)
{
    if (c == '\n') {
        st->is_bad |= st->at != DOT_CR;
        st->at = st->at == DOT_CR ? DOT_BOL : DOT_MID;
        return;
    }
    st->is_bad |= st->at == DOT_CR || st->at == DOT_DOT_CR;
    if (c == '\r')
        st->at = st->at == DOT_DOT ? DOT_DOT_CR : DOT_CR;
    else
        st->at = DOT_MID;
}

/* In MID: the number of octets up to and with the next CR or LF, the state moved on over them. */
static size_t dot_run(struct dot_state *st, slice in)
{
    const ssize_t lf = slice_find_byte(in, '\n');
    const slice line = slice_sub(in, 0, lf < 0 ? in.len : (size_t)lf + 1);
    const ssize_t cr = slice_find_byte(line, '\r');

    if (cr < 0 && lf < 0)
        return in.len;
    const size_t at = cr < 0 ? (size_t)lf : (size_t)cr;
    dot_advance(st, in.ptr[at]);
    return at + 1;
}

enum frame frame_dot(struct dot_state *st, slice in, slice *part, bool *end, size_t *used)
{
    size_t from = 0, at = 0;

    *end = false;
    while (at < in.len) {
        if (st->at == DOT_MID) {
            at += dot_run(st, slice_from(in, at));
            continue;
        }
        const unsigned char c = in.ptr[at];
        if (st->at == DOT_BOL && c == '.') {
            if (at > from)
                break; /* the dot is for the next call: this part ends before it */
            st->at = DOT_DOT;
            from = ++at;
            continue;
        }
        if (st->at == DOT_DOT_CR && c == '\n') {
            const bool was_bad = st->is_bad;
            *st = (struct dot_state){ .at = DOT_BOL };
            *part = SLICE_NONE;
            *end = true;
            *used = at + 1;
            return was_bad ? FRAME_BARE : FRAME_OK;
        }
        dot_advance(st, c);
        if (st->at == DOT_DOT_CR) { /* not known yet whether it is content; if it is, the message is bad anyway */
            from = ++at;
            continue;
        }
        at++;
    }
    *part = slice_sub(in, from, at - from);
    *used = at;
    if (part->len == 0)
        return FRAME_MORE;
    return st->is_bad ? FRAME_BARE : FRAME_OK;
}
