#include "net/dns_rr.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/buf.h"

#define LABEL_MAX_OCTETS 63 /* RFC 1035 2.3.4 */
#define MX_HEAD_OCTETS 2

static bool is_name_octet(unsigned char c)
{
    return ascii_is_alnum(c) || c == '-' || c == '_';
}

bool dns_name_is_valid(slice text)
{
    bool more = true;

    if (text.len > 0 && text.ptr[text.len - 1] == '.')
        text.len--;
    if (text.len == 0 || text.len > DNS_NAME_MAX_OCTETS)
        return false;
    while (more) {
        const slice label = slice_cut(&text, '.', &more);
        if (label.len == 0 || label.len > LABEL_MAX_OCTETS)
            return false;
        for (size_t i = 0; i < label.len; i++) {
            if (!is_name_octet(label.ptr[i]))
                return false;
        }
    }
    return true;
}

bool dns_name_read(slice wire, struct arena *mem, slice *out)
{
    unsigned char text[DNS_NAME_MAX_OCTETS + 1];
    size_t len = 0, at = 0;

    for (;;) {
        if (at >= wire.len)
            return false;
        const size_t label = wire.ptr[at++];
        if (label == 0)
            break;
        if (label > LABEL_MAX_OCTETS || label > wire.len - at || len + label + 1 > sizeof text)
            return false;
        for (size_t i = 0; i < label; i++) {
            const unsigned char c = wire.ptr[at + i];
            if (!is_name_octet(c))
                return false;
            text[len++] = ascii_lower(c);
        }
        text[len++] = '.';
        at += label;
    }
    *out = len == 0 ? SLICE("") : slice_dup(mem, slice_of(text, len - 1));
    return at == wire.len;
}

bool dns_mx_read(slice data, struct arena *mem, struct dns_mx *out)
{
    if (data.len < MX_HEAD_OCTETS)
        return false;
    out->preference = (uint16_t)(data.ptr[0] << 8 | data.ptr[1]);
    return dns_name_read(slice_from(data, MX_HEAD_OCTETS), mem, &out->name);
}

static int mx_compare(const void *a, const void *b)
{
    const struct dns_mx *x = a, *y = b;

    return (int)x->preference - (int)y->preference;
}

void dns_mx_order(struct dns_mx *mx, unsigned count, struct rng *rng)
{
    if (count < 2)
        return;
    qsort(mx, count, sizeof *mx, mx_compare);
    for (unsigned from = 0; from < count;) {
        unsigned to = from + 1;
        while (to < count && mx[to].preference == mx[from].preference)
            to++;
        for (unsigned i = to - 1; i > from; i--) {
            const unsigned j = from + (unsigned)rng_below(rng, i - from + 1);
            const struct dns_mx one = mx[i];
            mx[i] = mx[j];
            mx[j] = one;
        }
        from = to;
    }
}

unsigned dns_mx_before(const struct dns_mx *mx, unsigned count, slice self)
{
    if (self.len > 0 && self.ptr[self.len - 1] == '.')
        self.len--;
    for (unsigned i = 0; i < count; i++) {
        if (self.len == 0 || !slice_eq_nocase(mx[i].name, self))
            continue;
        while (i > 0 && mx[i - 1].preference == mx[i].preference)
            i--;
        return i;
    }
    return count;
}

static bool v4_is_host(uint32_t a)
{
    return a >> 24 != 0 && a >> 28 < 0xe; /* "this network"; multicast, reserved and broadcast */
}

bool dns_addr_read(unsigned type, slice data, struct net_addr *out)
{
    *out = (struct net_addr){ 0 };
    if (type == DNS_TYPE_A && data.len == sizeof out->in.sin_addr) {
        out->len = sizeof out->in;
        out->in.sin_family = AF_INET;
        memcpy(&out->in.sin_addr, data.ptr, data.len);
        return v4_is_host(ntohl(out->in.sin_addr.s_addr));
    }
    if (type == DNS_TYPE_AAAA && data.len == sizeof out->in6.sin6_addr) {
        out->len = sizeof out->in6;
        out->in6.sin6_family = AF_INET6;
        memcpy(&out->in6.sin6_addr, data.ptr, data.len);
        return !IN6_IS_ADDR_UNSPECIFIED(&out->in6.sin6_addr) && !IN6_IS_ADDR_MULTICAST(&out->in6.sin6_addr) &&
               !IN6_IS_ADDR_V4MAPPED(&out->in6.sin6_addr);
    }
    return false;
}

void dns_addr_shuffle(struct net_addr *addrs, unsigned count, struct rng *rng)
{
    for (unsigned i = count; i > 1; i--) {
        const unsigned j = (unsigned)rng_below(rng, i);
        const struct net_addr one = addrs[i - 1];
        addrs[i - 1] = addrs[j];
        addrs[j] = one;
    }
}

bool dns_text_read(slice data, struct arena *mem, slice *out)
{
    unsigned char *text = arena_octets(mem, data.len + 1);
    size_t len = 0;

    while (data.len > 0) {
        const size_t part = data.ptr[0];
        if (part > data.len - 1)
            return false;
        if (part > 0)
            memcpy(text + len, data.ptr + 1, part);
        len += part;
        data = slice_from(data, part + 1);
    }
    *out = slice_of(text, len);
    return true;
}

slice dns_reverse_name(const struct net_addr *a, struct arena *mem)
{
    static const char hex[] = "0123456789abcdef";
    struct net_addr plain = *a;
    struct buf text = BUF_INIT;
    const unsigned char *o;

    net_addr_unmap(&plain);
    if (plain.len > 0 && plain.sa.sa_family == AF_INET) {
        o = (const unsigned char *)&plain.in.sin_addr;
        buf_printf(&text, "%u.%u.%u.%u.in-addr.arpa", o[3], o[2], o[1], o[0]);
    } else if (plain.len > 0 && plain.sa.sa_family == AF_INET6) {
        o = plain.in6.sin6_addr.s6_addr;
        for (unsigned i = 16; i-- > 0;)
            buf_printf(&text, "%c.%c.", hex[o[i] & 15], hex[o[i] >> 4]);
        buf_put_str(&text, "ip6.arpa");
    }
    const slice name = text.len > 0 ? slice_dup(mem, buf_slice(&text)) : SLICE_NONE;
    buf_free(&text);
    return name;
}
