#include "base/net_addr.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#define HOST_TEXT_BYTES (INET6_ADDRSTRLEN + 1)
#define UNIX_PREFIX SLICE("unix:")
#define MAPPED_PREFIX_BYTES 12 /* ::ffff:0:0/96, RFC 4291 2.5.5.2 */

static int addr_set_v4(struct net_addr *out, struct in_addr host, uint16_t port)
{
    *out = (struct net_addr){ .len = sizeof out->in };
    out->in.sin_family = AF_INET;
    out->in.sin_port = htons(port);
    out->in.sin_addr = host;
    return 0;
}

static int addr_set_v6(struct net_addr *out, const struct in6_addr *host, uint16_t port)
{
    *out = (struct net_addr){ .len = sizeof out->in6 };
    out->in6.sin6_family = AF_INET6;
    out->in6.sin6_port = htons(port);
    out->in6.sin6_addr = *host;
    return 0;
}

static int unix_parse(slice path, struct net_addr *out, struct err *err)
{
    if (path.len == 0 || path.len >= sizeof out->un.sun_path)
        return err_set(err, ERR_SYNTAX, "the path of a unix socket has 1 to %zu octets", sizeof out->un.sun_path - 1);
    if (slice_find_byte(path, '\0') >= 0)
        return err_set(err, ERR_SYNTAX, "NUL in the path of a unix socket");
    *out = (struct net_addr){ .len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1) };
    out->un.sun_family = AF_UNIX;
    memcpy(out->un.sun_path, path.ptr, path.len);
    return 0;
}

/* A bare address, "127.0.0.1" or "::1", with port 0. */
static int host_parse(slice host, struct net_addr *out, struct err *err)
{
    char text[HOST_TEXT_BYTES];
    struct in6_addr six;
    struct in_addr four;

    if (host.len == 0 || host.len >= sizeof text || slice_find_byte(host, '\0') >= 0)
        return err_set(err, ERR_SYNTAX, "\"%.*s\" is no address", (int)(host.len < 60 ? host.len : 60),
                       (const char *)host.ptr);
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (inet_pton(AF_INET, text, &four) == 1)
        return addr_set_v4(out, four, 0);
    if (inet_pton(AF_INET6, text, &six) == 1)
        return addr_set_v6(out, &six, 0);
    return err_set(err, ERR_SYNTAX, "\"%s\" is no IPv4 or IPv6 address", text);
}

int net_addr_parse(slice text, struct net_addr *out, struct err *err)
{
    *out = (struct net_addr){ 0 };
    if (slice_starts(text, UNIX_PREFIX))
        return unix_parse(slice_from(text, UNIX_PREFIX.len), out, err);
    if (text.len > 0 && text.ptr[0] == '/')
        return unix_parse(text, out, err);

    const ssize_t colon = slice_rfind_byte(text, ':');
    uint32_t port;
    if (colon < 0)
        return err_set(err, ERR_SYNTAX, "no port: write \"127.0.0.1:25\", \"[::1]:25\", \"*:25\" or \"unix:/path\"");
    if (!slice_u32(slice_from(text, (size_t)colon + 1), &port) || port > UINT16_MAX)
        return err_set(err, ERR_SYNTAX, "the port is a number from 0 to 65535");

    slice host = slice_sub(text, 0, (size_t)colon);
    if (slice_eq(host, SLICE("*")))
        return addr_set_v6(out, &in6addr_any, (uint16_t)port);
    const bool bracketed = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (bracketed)
        host = slice_sub(host, 1, host.len - 2);
    if (host_parse(host, out, err) < 0)
        return -1;
    if (bracketed != (out->sa.sa_family == AF_INET6)) {
        *out = (struct net_addr){ 0 };
        return err_set(err, ERR_SYNTAX, "IPv6 addresses stand in brackets, others do not: \"[::1]:25\"");
    }
    if (bracketed)
        out->in6.sin6_port = htons((uint16_t)port);
    else
        out->in.sin_port = htons((uint16_t)port);
    return 0;
}

/* The four octets of an IPv4 or IPv4-mapped address, else NULL. */
static const unsigned char *v4_octets(const struct net_addr *a)
{
    if (a->len == 0)
        return NULL;
    if (a->sa.sa_family == AF_INET)
        return (const unsigned char *)&a->in.sin_addr;
    if (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
        return a->in6.sin6_addr.s6_addr + MAPPED_PREFIX_BYTES;
    return NULL;
}

void net_addr_unmap(struct net_addr *a)
{
    const unsigned char *four = a->len > 0 && a->sa.sa_family == AF_INET6 ? v4_octets(a) : NULL;
    struct in_addr host;

    if (four == NULL)
        return;
    memcpy(&host, four, sizeof host);
    addr_set_v4(a, host, ntohs(a->in6.sin6_port));
}

static bool is_v6(const struct net_addr *a)
{
    return a->len > 0 && a->sa.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
}

static bool is_unix(const struct net_addr *a)
{
    return a->len > 0 && a->sa.sa_family == AF_UNIX;
}

static slice unix_path(const struct net_addr *a)
{
    const size_t head = offsetof(struct sockaddr_un, sun_path);
    const size_t room = a->len > head ? a->len - head : 0; /* an unnamed peer has none */

    return slice_of(a->un.sun_path, strnlen(a->un.sun_path, room));
}

void net_addr_print_host(const struct net_addr *a, struct buf *out)
{
    char text[INET6_ADDRSTRLEN];
    const unsigned char *four = v4_octets(a);

    if (four != NULL)
        buf_put_str(out, inet_ntop(AF_INET, four, text, sizeof text));
    else if (is_v6(a))
        buf_put_str(out, inet_ntop(AF_INET6, &a->in6.sin6_addr, text, sizeof text));
    else
        buf_put_str(out, is_unix(a) ? "unix" : "unknown");
}

void net_addr_print(const struct net_addr *a, struct buf *out)
{
    if (is_unix(a)) {
        buf_put_str(out, "unix:");
        buf_put_slice(out, unix_path(a));
        return;
    }
    if (is_v6(a))
        buf_put_byte(out, '[');
    net_addr_print_host(a, out);
    if (is_v6(a))
        buf_put_byte(out, ']');
    if (a->len > 0)
        buf_printf(out, ":%u", net_addr_port(a));
}

unsigned net_addr_port(const struct net_addr *a)
{
    if (a->len == 0 || a->sa.sa_family == AF_UNIX)
        return 0;
    return ntohs(a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

bool net_addr_set_port(struct net_addr *a, unsigned port)
{
    if (port > UINT16_MAX)
        return false;
    if (a->len > 0 && a->sa.sa_family == AF_INET)
        a->in.sin_port = htons((uint16_t)port);
    else if (a->len > 0 && a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = htons((uint16_t)port);
    return true;
}

bool net_addr_is_loopback(const struct net_addr *a)
{
    const unsigned char *four = v4_octets(a);

    if (four != NULL)
        return four[0] == 127; /* 127.0.0.0/8, RFC 1122 3.2.1.3 */
    if (is_v6(a))
        return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
    return is_unix(a);
}

/* RFC 5321 4.1.3. A unix socket has no literal; its peer is this host. */
void net_addr_print_literal(const struct net_addr *a, struct buf *out)
{
    buf_put_str(out, is_v6(a) ? "[IPv6:" : "[");
    if (is_v6(a) || v4_octets(a) != NULL)
        net_addr_print_host(a, out);
    else
        buf_put_str(out, "127.0.0.1");
    buf_put_byte(out, ']');
}

bool net_addr_eq(const struct net_addr *a, const struct net_addr *b)
{
    const unsigned char *fa = v4_octets(a), *fb = v4_octets(b);

    if (a->len == 0 || b->len == 0)
        return a->len == b->len;
    if (is_unix(a) || is_unix(b))
        return is_unix(a) && is_unix(b) && slice_eq(unix_path(a), unix_path(b));
    if (net_addr_port(a) != net_addr_port(b) || (fa == NULL) != (fb == NULL))
        return false;
    return fa != NULL ? memcmp(fa, fb, 4) == 0
                      : memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr) == 0;
}

/* The octets of the address, IPv4 when it can be. *len 0: neither IPv4 nor IPv6. */
static const unsigned char *addr_octets(const struct net_addr *a, size_t *len)
{
    const unsigned char *four = v4_octets(a);

    *len = four != NULL ? 4 : is_v6(a) ? 16 : 0;
    return four != NULL ? four : a->in6.sin6_addr.s6_addr;
}

static bool bits_equal(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    const unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

int net_range_parse(slice text, struct net_range *out, struct err *err)
{
    bool has_bits;
    slice rest = text;
    const slice host = slice_cut(&rest, '/', &has_bits);
    uint32_t bits = 0;
    size_t len;

    *out = (struct net_range){ 0 };
    if (slice_eq(text, SLICE("unix")))
        return 0; /* addr.len 0: every unix peer */
    if (host_parse(host, &out->addr, err) < 0)
        return -1;
    const unsigned char mapped = out->addr.sa.sa_family == AF_INET6 && v4_octets(&out->addr) != NULL;
    addr_octets(&out->addr, &len);
    const unsigned extra = mapped ? MAPPED_PREFIX_BYTES * 8 : 0;
    if (!has_bits)
        bits = (uint32_t)len * 8 + extra;
    else if (!slice_u32(rest, &bits) || bits > len * 8 + extra || bits < extra) {
        *out = (struct net_range){ 0 };
        return err_set(err, ERR_SYNTAX, "the length of a range of this family is a number from 0 to %zu", len * 8);
    }
    out->bits = bits - extra;
    return 0;
}

bool net_range_has(const struct net_range *r, const struct net_addr *a)
{
    size_t rlen, alen;

    if (r->addr.len == 0)
        return is_unix(a);
    const unsigned char *ro = addr_octets(&r->addr, &rlen);
    const unsigned char *ao = addr_octets(a, &alen);
    return alen > 0 && rlen == alen && bits_equal(ro, ao, r->bits);
}
