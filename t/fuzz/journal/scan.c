/* A segment made of what the input describes: records, garbage, damaged records, forged headers with right checksums.
 * The scan's events join without a gap, what it calls a record is one, sound records between records are found, and
 * what was checked in vain stays within the budget. */
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "journal/format.h"
#include "segment_build.h"

#define SALT 0x0badf00du
#define RECORDS_MAX 2000
#define SEGMENT_MAX_BYTES (256 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct made {
    uint64_t at[RECORDS_MAX]; /* of sound records, if is_plain */
    size_t count;
    bool is_plain; /* nothing forged, no garbage: every sound record must be found */
    bool is_cut;
};

/* Two octets a piece. */
static void make(struct buf *b, struct made *m, slice script)
{
    build_page(b, SALT, 1, 1);
    for (uint64_t seq = 1; script.len >= 2; script = slice_from(script, 2), seq++) {
        unsigned what = script.ptr[0] & 7, n = script.ptr[1];
        size_t at = b->len;

        if (m->count == RECORDS_MAX || at > SEGMENT_MAX_BYTES)
            break;
        if (what <= 3) { /* sound, of lengths without padding too */
            build_simple(b, SALT, seq, n & 3, what == 3 ? n * 300 : n);
            m->at[m->count++] = at;
        } else if (what == 4) { /* damaged in one octet that counts */
            build_simple(b, SALT, seq, 0, n);
            b->ptr[at + (script.ptr[0] >> 3) * (RECORD_HEADER_BYTES + n - 1) / 31] ^= 0x40;
        } else if (what == 5) { /* the input itself, in units of 8 */
            buf_put(b, script.ptr, script.len < (size_t)n * 8 ? script.len / 8 * 8 : (size_t)n * 8);
            m->is_plain = false;
        } else if (what == 6) { /* a header that claims the n * 32 octets behind it */
            struct record_header h = { .seq = seq, .length = n * 32, .payload_crc = n };

            record_header_encode(buf_extend(b, RECORD_HEADER_BYTES), SALT, &h);
            m->is_plain = false;
        } else if (script.len == 3) { /* the last octet: a cut */
            b->len -= n < b->len - SEGMENT_PAGE_BYTES ? n : 0;
            m->is_cut = true;
        }
    }
}

static void check(slice segment, const struct made *m)
{
    uint64_t here = SEGMENT_PAGE_BYTES;
    struct scan_item item;
    struct scan s;
    size_t found = 0;

    scan_begin(&s, segment, SALT);
    while (scan_next(&s, &item) != SCAN_END) {
        struct record_header h;
        slice payload;

        ASSERT(item.from == here && item.to > item.from && item.to % RECORD_ALIGN == 0 && item.to <= segment.len);
        here = item.to;
        if (item.event == SCAN_HOLE) {
            ASSERT(item.cause != RECORD_OK);
            continue;
        }
        ASSERT(record_decode(slice_sub(segment, item.from, item.to - item.from), SALT, &h, &payload) == RECORD_OK);
        ASSERT(payload.ptr == item.payload.ptr && payload.len == item.payload.len && h.seq == item.header.seq);
        if (m->is_plain)
            ASSERT(item.from == m->at[found]);
        found++;
    }
    ASSERT(item.from == here && item.to == segment.len);
    ASSERT(scan_next(&s, &item) == SCAN_END && item.from == here);
    ASSERT(s.spent <= (uint64_t)segment.len * (2 * SCAN_BUDGET + 2));
    if (m->is_plain && !m->is_cut)
        ASSERT(found == m->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct made m = { .is_plain = true };
    struct buf b = BUF_INIT;

    if (size > 4096)
        size = 4096;
    make(&b, &m, slice_of(data, size));
    check(buf_slice(&b), &m);
    buf_free(&b);
    return 0;
}
