/* Header blocks: fields cover the block without gaps, decoding ends, folding is undone. */
#include "base/arena.h"
#include "base/err.h"
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice block = slice_of(data, size), rest = block;
    struct header_field f;
    struct arena mem;

    arena_init(&mem, 1024);
    while (header_next(&rest, &f)) {
        ASSERT(f.raw.len > 0 && f.raw.ptr + f.raw.len == rest.ptr);
        ASSERT(f.name.len + f.value.len < f.raw.len);
        header_decode(&mem, header_unfold(&mem, f.value));
        arena_reset(&mem);
    }
    ASSERT(header_block_bytes(block) <= size);
    ASSERT((size_t)(rest.ptr - data) == header_block_bytes(block) || size == 0 || rest.len == 0);
    arena_free(&mem);
    return 0;
}
