/* What is parsed prints to what parses to the same; a range has its own address. */
#include "base/net_addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const slice in = slice_of(data, size);
    struct err err = ERR_INIT;
    struct net_addr a, again;
    struct net_range r;

    if (net_addr_parse(in, &a, &err) == 0) {
        struct buf text = BUF_INIT;
        net_addr_print(&a, &text);
        ASSERT(net_addr_parse(buf_slice(&text), &again, NULL) == 0);
        ASSERT(net_addr_eq(&a, &again) && net_addr_is_loopback(&a) == net_addr_is_loopback(&again));
        net_addr_print_literal(&a, &text);
        buf_free(&text);
    } else {
        ASSERT(err.kind == ERR_SYNTAX && a.len == 0);
    }
    if (net_range_parse(in, &r, NULL) == 0 && r.addr.len > 0)
        ASSERT(net_range_has(&r, &r.addr));
    return 0;
}
