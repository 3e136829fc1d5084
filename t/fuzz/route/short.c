/* One destination: pattern, a line end, destination. What is accepted lies inside the input and obeys the limits. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "route/short.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice destination = slice_of(data, size), pattern = slice_cut(&destination, '\n', NULL);
    struct err err = ERR_INIT;
    struct route_short r;

    if (route_short_parse(pattern, destination, &r, &err) < 0) {
        ASSERT(err.kind == ERR_SYNTAX && err.text[0] != '\0');
        return 0;
    }
    ASSERT(r.host.len > 0 && r.host.ptr >= data && r.host.ptr + r.host.len <= data + size);
    ASSERT(slice_eq(r.pattern, pattern) && pattern.len > 0);
    ASSERT(!(r.is_path && (r.is_literal || r.port != 0)));
    return 0;
}
