/* The input is read as a run of items, each chosen by an octet; writing what was read gives the octets that were read.
 * An error sticks. */
#include "base/bytes.h"

#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_u8(struct buf *b, uint8_t v)
{
    buf_put_byte(b, v);
}

/* Read one item and write it to `back`, if it could be read. */
static void copy_item(struct reader *r, uint8_t kind, struct buf *back)
{
    struct buf item = BUF_INIT;

    switch (kind % 9) {
    case 0:
        put_u8(&item, read_u8(r));
        break;
    case 1:
        buf_put_le16(&item, read_le16(r));
        break;
    case 2:
        buf_put_le32(&item, read_le32(r));
        break;
    case 3:
        buf_put_le64(&item, read_le64(r));
        break;
    case 4:
        buf_put_be32(&item, read_be32(r));
        break;
    case 5:
        buf_put_be64(&item, read_be64(r));
        break;
    case 6:
        buf_put_varint(&item, read_varint(r));
        break;
    case 7:
        buf_put_slice(&item, read_octets(r, kind / 9));
        break;
    default:
        buf_put_lenstr(&item, read_lenstr(r));
    }
    if (!r->failed)
        buf_put_slice(back, buf_slice(&item));
    buf_free(&item);
}

static void check_stuck(struct reader *r)
{
    ASSERT(read_u8(r) == 0 && read_le16(r) == 0 && read_le32(r) == 0 && read_le64(r) == 0);
    ASSERT(read_be32(r) == 0 && read_be64(r) == 0 && read_varint(r) == 0);
    ASSERT(read_octets(r, 1).len == 0 && read_lenstr(r).len == 0);
    ASSERT(r->failed && !reader_done(r));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(slice_of(data, size));
    struct buf back = BUF_INIT;

    while (!r.failed && r.rest.len > 0) {
        uint8_t kind = read_u8(&r);

        put_u8(&back, kind);
        copy_item(&r, kind, &back);
        ASSERT(r.failed || back.len + r.rest.len == size);
    }
    ASSERT(slice_starts(slice_of(data, size), buf_slice(&back)));
    if (r.failed)
        check_stuck(&r);
    else
        ASSERT(reader_done(&r) && back.len == size);
    buf_free(&back);
    return 0;
}
