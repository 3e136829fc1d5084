/* What decodes strictly encodes to the same text; what is encoded decodes strictly and leniently to the same octets. */
#include "base/base64.h"

#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef void encode_fn(struct buf *out, slice in);
typedef bool decode_fn(struct buf *out, slice in);

static void check(slice in, encode_fn *encode, decode_fn *decode)
{
    struct buf one = BUF_INIT, two = BUF_INIT;

    if (decode(&one, in)) {
        encode(&two, buf_slice(&one));
        ASSERT(slice_eq(buf_slice(&two), in));
    } else {
        ASSERT(one.len == 0);
    }
    buf_reset(&one);
    buf_reset(&two);
    encode(&one, in);
    ASSERT(decode(&two, buf_slice(&one)));
    ASSERT(slice_eq(buf_slice(&two), in));
    buf_free(&one);
    buf_free(&two);
}

/* Leniency adds texts, it changes none; and its result is never longer than 3 octets for 4. */
static void check_lenient(slice in)
{
    struct buf strict = BUF_INIT, lenient = BUF_INIT;

    base64_decode_lenient(&lenient, in);
    ASSERT(lenient.len <= in.len / 4 * 3 + 2);
    if (base64_decode(&strict, in))
        ASSERT(slice_eq(buf_slice(&strict), buf_slice(&lenient)));
    buf_free(&strict);
    buf_free(&lenient);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice in = slice_of(data, size);

    check(in, base64_encode, base64_decode);
    check(in, base64_encode_modified, base64_decode_modified);
    check_lenient(in);
    return 0;
}
