/* Lines: words lie in the rest of the line, in order, without blanks. */
#include "base/err.h"
#include "pop3/syntax.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice text = slice_of(data, size);
    struct pop3_line line;
    uint32_t n;

    if (!pop3_line_parse(text, &line))
        return 0;
    ASSERT(line.verb.len == 3 || line.verb.len == 4);
    ASSERT(line.word_count <= 4);
    for (unsigned i = 0; i < line.word_count && i < 3; i++) {
        ASSERT(line.words[i].len != 0 && slice_find_byte(line.words[i], ' ') < 0);
        ASSERT(line.words[i].ptr >= line.rest.ptr);
        if (pop3_number(line.words[i], &n))
            ASSERT(line.words[i].len <= 10);
    }
    return 0;
}
