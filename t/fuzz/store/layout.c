/* By the first octet: a name, a table row or a payload of the store. Whatever decodes is encoded to what decodes to the
 * same again; a name that is accepted is accepted in its canonical form and stays as it is. */
#include "store/internal.h"
#include "store/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_name(slice in)
{
    static const struct store_conf conf = { .name_max = 200, .depth_max = 8 };
    struct arena mem;
    slice once, twice;

    arena_init(&mem, 512);
    if (store_name_check(&conf, in, &mem, &once) == STORE_OK) {
        ASSERT(once.len > 0 && once.len <= in.len && once.ptr[once.len - 1] != '/');
        ASSERT(store_name_check(&conf, once, &mem, &twice) == STORE_OK && slice_eq(once, twice));
        ASSERT(name_parent(once).len == 0 || name_is_below(once, name_parent(once)));
    }
    arena_free(&mem);
}

static void fuzz_row(slice in)
{
    struct buf out = BUF_INIT;
    struct store_row row;

    if (store_row_decode(1, in, &row)) {
        store_row_encode(&out, &row);
        ASSERT(slice_eq(buf_slice(&out), in));
    }
    buf_free(&out);
}

static void fuzz_heads(slice in)
{
    struct buf out = BUF_INIT;
    struct mailbox_head h;
    struct account_head a;
    struct mailbox_count c;

    if (mailbox_head_decode(in, &h)) {
        mailbox_head_encode(&out, &h);
        ASSERT(slice_eq(buf_slice(&out), in));
    }
    buf_reset(&out);
    if (account_head_decode(in, &a)) {
        account_head_encode(&out, &a);
        ASSERT(slice_eq(buf_slice(&out), in));
    }
    buf_reset(&out);
    if (mailbox_count_decode(in, &c)) {
        mailbox_count_encode(&out, &c);
        ASSERT(slice_eq(buf_slice(&out), in));
    }
    buf_free(&out);
}

static void fuzz_payloads(slice in)
{
    struct reader r = reader_of(in);
    struct buf out = BUF_INIT;
    struct uid_range range;
    struct store_row row;
    uint64_t keywords;
    uint32_t uid, system;

    while (payload_range_next(&r, &range)) {
        ASSERT(range.first != 0 && range.last >= range.first);
        payload_ranges_put(&out, &range, 1);
    }
    ASSERT(r.failed || slice_eq(buf_slice(&out), in));
    buf_reset(&out);
    r = reader_of(in);
    while (payload_flags_next(&r, &uid, &system, &keywords))
        payload_flags_put(&out, uid, system, keywords);
    ASSERT(r.failed || slice_eq(buf_slice(&out), in));
    buf_reset(&out);
    for (r = reader_of(in); r.rest.len > 0;) {
        payload_row_read(&r, &row, true);
        if (r.failed)
            break;
        payload_row_put(&out, &row, true);
    }
    ASSERT(r.failed || slice_eq(buf_slice(&out), in));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice in = slice_from(slice_of(data, size), 1);

    if (size == 0)
        return 0;
    switch (data[0] % 4) {
    case 0:
        fuzz_name(in);
        break;
    case 1:
        fuzz_row(in);
        break;
    case 2:
        fuzz_heads(in);
        break;
    default:
        fuzz_payloads(in);
        break;
    }
    return 0;
}
