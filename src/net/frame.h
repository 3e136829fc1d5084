/* frame.h - cutting octets into lines and dot-stuffed message data. The only place that knows about partial input.
 *
 * Model:    pure: a call looks at the octets that are there, says how many of them it is done with (*used) and keeps
 *           what it must remember in a small state. The same octets give the same frames however they were cut.
 * Threads:  one owner of a state; no other state.
 */
#ifndef NET_FRAME_H
#define NET_FRAME_H

#include "base/slice.h"

enum frame {
    FRAME_OK,
    FRAME_MORE,     /* need input: return STEP_WANT_READ */
    FRAME_TOO_LONG, /* the line exceeds max; it has been skipped up to its end, once */
    FRAME_BARE,     /* a line with a bare CR, a bare LF at its end, or NUL; it has been skipped */
    FRAME_EOF,      /* the peer closed (or reset): nothing more will come (stream only) */
};

struct line_state {
    size_t scanned;   /* octets of the input known to hold no LF */
    bool is_skipping; /* the line is too long already; its end is awaited */
};

/* One line without its end. Too long is judged first, so that it does not depend on how much is there. */
enum frame frame_line(struct line_state *st, slice in, size_t max, bool lf_ok, slice *line, size_t *used);

/* States of message data (RFC 5321 4.5.2), by what the octets so far end in:
 *
 *   BOL --'.'--> DOT --CR--> DOT_CR --LF--> the end
 *   BOL, DOT, MID: CR -> CR; CR --LF--> BOL; anything else -> MID. A CR or LF out of place sets is_bad for good.
 */
enum dot_at { DOT_BOL, DOT_MID, DOT_CR, DOT_DOT, DOT_DOT_CR };

struct dot_state {
    enum dot_at at;
    bool is_bad;
};

/* The next run of message octets, dots removed; points into in. *end: the final dot was seen, and the state is that of
 * a new message. FRAME_BARE instead of FRAME_OK once a bare CR or LF was met. FRAME_MORE: all of in is used and there
 * is neither a part nor the end. */
enum frame frame_dot(struct dot_state *st, slice in, slice *part, bool *end, size_t *used);

#endif
