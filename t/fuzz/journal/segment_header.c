/* What decodes is encoded to a page that decodes to the same, and either copy of it alone does. The first octet says
 * whose checksums are put right before, so that more than the checksum is tried. */
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "journal/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void copy_mend(unsigned char *copy)
{
    memcpy(copy, SEGMENT_MAGIC, 8);
    put_le32(copy + 124, crc32c(0, copy, 124));
}

static bool is_same(const struct segment_header *a, const struct segment_header *b)
{
    return a->format == b->format && a->kind == b->kind && a->salt == b->salt && a->partition == b->partition &&
           a->epoch == b->epoch && a->number == b->number && a->first_seq == b->first_seq &&
           a->created_ms == b->created_ms && memcmp(a->journal_id, b->journal_id, JOURNAL_ID_BYTES) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char page[SEGMENT_PAGE_BYTES] = { 0 }, out[SEGMENT_PAGE_BYTES];
    struct segment_header h, again;
    struct err err = ERR_INIT;
    unsigned mend = size > 0 ? data[0] : 0;
    size_t len = size > 0 ? size - 1 : 0;
    int copy = -1;

    if (len > sizeof(page))
        len = sizeof(page);
    if (len > 0)
        memcpy(page, data + 1, len);
    if ((mend & 1) && len >= SEGMENT_HEADER_BYTES)
        copy_mend(page);
    if ((mend & 2) && len >= SEGMENT_HEADER_COPY_AT + SEGMENT_HEADER_BYTES)
        copy_mend(page + SEGMENT_HEADER_COPY_AT);
    if (segment_header_decode(slice_of(page, len), &h, &copy, &err) < 0) {
        ASSERT(err.kind == ERR_DAMAGE || err.kind == ERR_PERM);
        return 0;
    }
    ASSERT(copy == 0 || copy == 1);
    ASSERT(h.format == JOURNAL_FORMAT && h.kind >= SEGMENT_LOG && h.kind <= SEGMENT_COMPACT);
    segment_header_encode(out, &h);
    ASSERT(segment_header_decode(slice_of(out, sizeof(out)), &again, &copy, NULL) == 0 && copy == 0);
    ASSERT(is_same(&h, &again));
    memset(out, 0, SEGMENT_HEADER_BYTES);
    ASSERT(segment_header_decode(slice_of(out, sizeof(out)), &again, &copy, NULL) == 0 && copy == 1);
    ASSERT(is_same(&h, &again));
    return 0;
}
