/* Modified UTF-7: what is valid comes back octet for octet. */
#include "base/err.h"
#include "base/utf8.h"
#include "mail/charset.h"
#include "mail/utf7.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf utf8 = BUF_INIT, back = BUF_INIT;
    slice in = slice_of(data, size);

    if (utf7_to_utf8(in, &utf8)) {
        ASSERT(utf8_valid(buf_slice(&utf8)));
        utf7_from_utf8(buf_slice(&utf8), &back);
        ASSERT(slice_eq(in, buf_slice(&back)));
    }
    buf_reset(&utf8);
    charset_to_utf8(SLICE("iso-2022-jp"), in, &utf8);
    ASSERT(utf8_valid(buf_slice(&utf8)));
    buf_reset(&back);
    charset_fold(buf_slice(&utf8), &back);
    ASSERT(utf8_valid(buf_slice(&back)));
    buf_free(&utf8);
    buf_free(&back);
    return 0;
}
