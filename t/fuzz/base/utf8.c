/* Validity and stepping agree; what is written from the characters read is the input again. */
#include "base/utf8.h"

#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice all = slice_of(data, size), s = all;
    struct buf back = BUF_INIT;
    bool only_ascii = true;
    uint32_t cp;

    while (utf8_next(&s, &cp)) {
        ASSERT(cp <= 0x10FFFF && (cp < 0xD800 || cp > 0xDFFF));
        only_ascii = only_ascii && cp <= 0x7F;
        utf8_put(&back, cp);
    }
    /* the valid front is reproduced octet by octet, and stepping ended where validity does */
    ASSERT(s.len <= size && s.ptr == data + (size - s.len));
    ASSERT(slice_eq(buf_slice(&back), slice_sub(all, 0, size - s.len)));
    ASSERT(utf8_valid(all) == (s.len == 0));
    ASSERT(utf8_valid(buf_slice(&back)));
    ASSERT(utf8_is_ascii(all) == (only_ascii && s.len == 0));
    buf_free(&back);
    return 0;
}
