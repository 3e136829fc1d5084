#include "base/bytes.h"
#include "journal/format.h"

void scan_begin(struct scan *s, slice segment, uint32_t salt)
{
    s->segment = segment;
    s->salt = salt;
    s->at = SEGMENT_PAGE_BYTES;
    s->spent = 0;
}

/* Is there a whole valid record at `at`, which is no place where one must be? */
static bool candidate_ok(struct scan *s, uint64_t at)
{
    slice in = slice_from(s->segment, at), payload;
    struct record_header h;

    if (in.len < RECORD_HEADER_BYTES || get_le32(in.ptr) != RECORD_MAGIC)
        return false;
    if (record_header_decode(in, s->salt, &h) != RECORD_OK || record_disk_bytes(h.length) > in.len)
        return false;
    /* Headers that overlap each other's payloads could make this quadratic: see SCAN_BUDGET. */
    if (s->spent / SCAN_BUDGET >= s->segment.len)
        return false;
    if (record_decode(in, s->salt, &h, &payload) == RECORD_OK)
        return true;
    s->spent += h.length;
    return false;
}

/* The next valid record behind the invalid one at `at`, or the end of the segment. */
static uint64_t scan_search(struct scan *s, uint64_t at, enum record_verdict cause, uint32_t length)
{
    /* A sound header says where its neighbour is. To go there first is quicker than through a damaged payload, and
     * what a stranger wrote into a message is not even looked at. */
    if (cause == RECORD_BAD_PAYLOAD && candidate_ok(s, at + record_disk_bytes(length)))
        return at + record_disk_bytes(length);
    for (at += RECORD_ALIGN; at < s->segment.len; at += RECORD_ALIGN) {
        if (candidate_ok(s, at))
            return at;
    }
    return s->segment.len;
}

enum scan_event scan_next(struct scan *s, struct scan_item *item)
{
    slice in = slice_from(s->segment, s->at);

    item->from = s->at;
    item->payload = SLICE_NONE;
    item->header = (struct record_header){ 0 };
    if (in.len == 0) {
        item->to = s->at;
        item->cause = RECORD_NO_MAGIC;
        return item->event = SCAN_END;
    }
    item->cause = record_decode(in, s->salt, &item->header, &item->payload);
    if (item->cause == RECORD_OK) {
        item->to = s->at + record_disk_bytes(item->header.length);
        s->at = item->to;
        return item->event = SCAN_RECORD;
    }
    item->to = scan_search(s, s->at, item->cause, item->header.length);
    if (item->to >= s->segment.len)
        return item->event = SCAN_END;
    s->at = item->to;
    return item->event = SCAN_HOLE;
}
