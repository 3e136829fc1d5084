#include "pop3/syntax.h"

/* command = keyword *(SP arg)        RFC 1939 3, RFC 2449 4 */
bool pop3_line_parse(slice line, struct pop3_line *out)
{
    slice rest;
    bool found;

    *out = (struct pop3_line){ 0 };
    out->verb = slice_cut(&line, ' ', &found);
    out->rest = line;
    if (out->verb.len < 3 || out->verb.len > 4)
        return false;
    for (size_t i = 0; i < out->verb.len; i++)
        if (!ascii_is_alpha(out->verb.ptr[i]))
            return false;
    rest = line;
    for (slice word = slice_word(&rest); word.len != 0; word = slice_word(&rest)) {
        if (out->word_count == 3) {
            out->word_count = 4;
            break;
        }
        out->words[out->word_count++] = word;
    }
    return true;
}

bool pop3_number(slice word, uint32_t *out)
{
    return word.len <= 10 && slice_u32(word, out);
}
