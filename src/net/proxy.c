#include "net/proxy.h"

#include <string.h>

#define V1_MAX_OCTETS 107 /* "PROXY TCP6", two full IPv6 addresses, two ports, CRLF */
#define V2_HEAD_OCTETS 16
#define V2_COMMAND_LOCAL 0x20
#define V2_COMMAND_PROXY 0x21
#define V2_TCP4 0x11
#define V2_TCP6 0x21
#define V2_TCP4_OCTETS 12
#define V2_TCP6_OCTETS 36

static const unsigned char v2_signature[12] = { '\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n' };

static bool port_parse(slice s, unsigned *port)
{
    uint32_t v;

    if (s.len == 0 || s.len > 5 || (s.len > 1 && s.ptr[0] == '0') || !slice_u32(s, &v) || v > UINT16_MAX)
        return false;
    *port = v;
    return true;
}

/* One address of the family announced, with port 0. */
static bool host_parse(slice s, int family, struct net_addr *out)
{
    struct net_range one;

    if (slice_find_byte(s, '/') >= 0 || net_range_parse(s, &one, NULL) < 0 || one.addr.len == 0)
        return false;
    *out = one.addr;
    return out->sa.sa_family == family;
}

/* "PROXY TCP4 192.0.2.1 192.0.2.2 56324 25", "PROXY UNKNOWN …"; single spaces */
static bool v1_parse(slice line, struct net_addr *peer, struct net_addr *local)
{
    unsigned from, to;
    bool more = true;

    slice_cut(&line, ' ', &more);
    const slice family = slice_cut(&line, ' ', &more);
    if (slice_eq(family, SLICE("UNKNOWN")))
        return true;
    const int af = slice_eq(family, SLICE("TCP4")) ? AF_INET : slice_eq(family, SLICE("TCP6")) ? AF_INET6 : -1;
    if (af < 0 || !more)
        return false;
    const slice source = slice_cut(&line, ' ', &more), target = slice_cut(&line, ' ', &more);
    const slice source_port = slice_cut(&line, ' ', &more);
    if (!more || !host_parse(source, af, peer) || !host_parse(target, af, local) || !port_parse(source_port, &from) ||
        !port_parse(line, &to))
        return false;
    return net_addr_set_port(peer, from) && net_addr_set_port(local, to);
}

static enum proxy_result v1_take(slice in, struct net_addr *peer, struct net_addr *local, size_t *used)
{
    const slice head = slice_sub(in, 0, V1_MAX_OCTETS);
    const ssize_t lf = slice_find_byte(head, '\n');

    if (lf < 0)
        return head.len < V1_MAX_OCTETS ? PROXY_MORE : PROXY_BAD;
    if (lf == 0 || head.ptr[lf - 1] != '\r' || !v1_parse(slice_sub(head, 0, (size_t)lf - 1), peer, local))
        return PROXY_BAD;
    *used = (size_t)lf + 1;
    return PROXY_OK;
}

static void v2_addrs(const unsigned char *p, size_t host, struct net_addr *peer, struct net_addr *local)
{
    struct net_addr *const out[2] = { peer, local };

    for (unsigned i = 0; i < 2; i++) {
        const unsigned port = (unsigned)p[2 * host + 2 * i] << 8 | p[2 * host + 2 * i + 1];
        if (host == 4) {
            out[i]->len = sizeof out[i]->in;
            out[i]->in.sin_family = AF_INET;
            memcpy(&out[i]->in.sin_addr, p + i * host, host);
        } else {
            out[i]->len = sizeof out[i]->in6;
            out[i]->in6.sin6_family = AF_INET6;
            memcpy(&out[i]->in6.sin6_addr, p + i * host, host);
        }
        net_addr_set_port(out[i], port);
    }
}

static enum proxy_result v2_take(slice in, struct net_addr *peer, struct net_addr *local, size_t *used)
{
    if (in.len < V2_HEAD_OCTETS)
        return PROXY_MORE;
    const unsigned command = in.ptr[12], family = in.ptr[13];
    const size_t body = (size_t)in.ptr[14] << 8 | in.ptr[15];
    const size_t total = V2_HEAD_OCTETS + body;

    if ((command != V2_COMMAND_LOCAL && command != V2_COMMAND_PROXY) || total > PROXY_HEADER_MAX)
        return PROXY_BAD;
    if (in.len < total)
        return PROXY_MORE;
    *used = total;
    if (command == V2_COMMAND_LOCAL)
        return PROXY_OK;
    if (family == V2_TCP4 && body >= V2_TCP4_OCTETS)
        v2_addrs(in.ptr + V2_HEAD_OCTETS, 4, peer, local);
    else if (family == V2_TCP6 && body >= V2_TCP6_OCTETS)
        v2_addrs(in.ptr + V2_HEAD_OCTETS, 16, peer, local);
    else if (family == V2_TCP4 || family == V2_TCP6)
        return PROXY_BAD;
    return PROXY_OK; /* other families: the receiver goes on with the connection's own addresses */
}

enum proxy_result proxy_parse(slice in, struct net_addr *peer, struct net_addr *local, size_t *used)
{
    static const slice v1 = { (const unsigned char *)"PROXY ", 6 };
    const slice v2 = slice_of(v2_signature, sizeof v2_signature);
    enum proxy_result r = PROXY_BAD;

    *peer = *local = (struct net_addr){ 0 };
    *used = 0;
    if (slice_starts(in, slice_sub(v1, 0, in.len)))
        r = in.len < v1.len ? PROXY_MORE : v1_take(in, peer, local, used);
    else if (slice_starts(in, slice_sub(v2, 0, in.len)))
        r = in.len < v2.len ? PROXY_MORE : v2_take(in, peer, local, used);
    if (r != PROXY_OK) {
        *peer = *local = (struct net_addr){ 0 };
        *used = 0;
    }
    net_addr_unmap(peer);
    net_addr_unmap(local);
    return r;
}
