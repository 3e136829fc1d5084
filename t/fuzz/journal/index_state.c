/* The state block and LMDB's meta pages: the two things that are parsed before an index is trusted.
 *
 * Properties: a block that decodes is the only encoding of its value; with a right checksum put in, decoding still
 * refuses or round-trips. Meta pages that pass name no page behind the end of the file, and a state never trusts
 * silently. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "journal/index_state.h"

static void check_block(slice in)
{
    unsigned char again[INDEX_STATE_BYTES];
    char why[INDEX_WHY_BYTES] = "";
    struct index_state s;
    struct err err = ERR_INIT;

    if (index_state_decode(in, &s, &err) < 0) {
        ASSERT(err.kind == ERR_DAMAGE || err.kind == ERR_PERM);
        return;
    }
    index_state_encode(again, &s);
    ASSERT(slice_eq(in, slice_of(again, sizeof(again))));
    if (!index_state_trusts(&s, &s, why))
        ASSERT(!s.clean && why[0] != '\0');
}

static void check_pages(slice in)
{
    char why[INDEX_WHY_BYTES] = "";
    struct index_pages pages;
    uint64_t file_bytes = in.len >= 8 ? get_le64(in.ptr + in.len - 8) % (1ull << 40) : in.len;

    if (file_bytes < in.len)
        file_bytes = in.len;
    if (!index_pages_check(in, file_bytes, &pages, why)) {
        ASSERT(why[0] != '\0');
        return;
    }
    ASSERT(pages.page_bytes >= 512 && 2 * (size_t)pages.page_bytes <= in.len);
    ASSERT(pages.last_page >= 1 && pages.last_page < file_bytes / pages.page_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char block[INDEX_STATE_BYTES];
    slice in = slice_of(data, size);

    if (size >= 512) {
        check_pages(in);
        return 0;
    }
    check_block(in);
    if (size == INDEX_STATE_BYTES) { /* behind the checksum */
        memcpy(block, data, sizeof(block));
        memcpy(block, "PHINDEX\n", 8);
        put_le32(block + 124, crc32c(0, block, 124));
        check_block(slice_of(block, sizeof(block)));
    }
    return 0;
}
