/* Whatever is sent: a request line that is taken has a method, an absolute path without blanks and a version 1.x, and a
 * refusal has a status of its own. */
#include "base/err.h"
#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_request r;
    slice rest = slice_of(data, size);
    unsigned status = http_request_line(slice_cut(&rest, '\n', NULL), &r);

    ASSERT(status == 0 || status == 400 || status == 505);
    if (status != 0)
        return 0;
    ASSERT(r.method.len != 0 && r.path.len != 0 && r.path.ptr[0] == '/' && r.minor <= 9);
    ASSERT(slice_find_byte(r.path, ' ') < 0 && slice_find_byte(r.path, '?') < 0);
    while (status == 0 && rest.len != 0)
        status = http_field_line(slice_cut(&rest, '\n', NULL), &r);
    ASSERT(status == 0 || status == 400 || status == 431);
    ASSERT(r.fields <= HTTP_FIELDS_MAX + 1 && r.hosts <= r.fields);
    status = http_request_end(&r);
    ASSERT(status == 0 || status == 400);
    return 0;
}
