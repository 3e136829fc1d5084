/* A header that is understood is understood at exactly its length: every beginning asks for more, whatever follows is
 * left alone, and its addresses print and parse to themselves. */
#include "net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_addr(const struct net_addr *a)
{
    struct buf text = BUF_INIT;
    struct net_addr again;

    if (a->len == 0)
        return;
    net_addr_print(a, &text);
    ASSERT(net_addr_parse(buf_slice(&text), &again, NULL) == 0);
    ASSERT(net_addr_eq(a, &again));
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const slice in = slice_of(data, size);
    struct net_addr peer, local, p2, l2;
    size_t used, used2;
    const enum proxy_result r = proxy_parse(in, &peer, &local, &used);

    ASSERT(used <= size && (used > 0) == (r == PROXY_OK));
    if (r == PROXY_MORE)
        ASSERT(size < PROXY_HEADER_MAX);
    if (r != PROXY_OK)
        return 0;
    check_addr(&peer);
    check_addr(&local);
    ASSERT(proxy_parse(slice_sub(in, 0, used), &p2, &l2, &used2) == PROXY_OK && used2 == used);
    ASSERT(net_addr_eq(&p2, &peer) && net_addr_eq(&l2, &local));
    for (size_t cut = 0; cut < used; cut++)
        ASSERT(proxy_parse(slice_sub(in, 0, cut), &p2, &l2, &used2) == PROXY_MORE);
    return 0;
}
