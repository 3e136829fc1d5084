/* route.c - who may send to others, and where mail for others goes. */
#include "intake/internal.h"

#include "mail/idna.h"
#include "route/short.h"

#define GOES_ON INTAKE_REPLY_COUNT

bool route_may_relay(const struct intake_tx *tx)
{
    const struct intake_peer *p = tx->peer;
    const struct key_strs *list = &tx_conf(tx)->relay_networks;
    struct net_range range;

    if (p == NULL)
        return false;
    if (p->user != NULL || p->source == INTAKE_PROCESS)
        return true;
    for (size_t i = 0; i < list->count; i++)
        if (net_range_parse(list->items[i], &range, NULL) == 0 && net_range_has(&range, &p->addr))
            return true;
    return false;
}

slice route_source(const struct intake_tx *tx)
{
    const struct intake_peer *p = tx->peer;

    if (tx->known != NULL)
        return tx->known->channel;
    switch (p->source) {
    case INTAKE_SUBMISSION:
        return SLICE("tcp_submit");
    case INTAKE_LMTP:
        return SLICE("tcp_lmtp");
    case INTAKE_PROCESS:
        return SLICE("process");
    default:
        break;
    }
    return p->user != NULL ? SLICE("tcp_auth") : route_may_relay(tx) ? SLICE("tcp_intranet") : SLICE("tcp_local");
}

/* --- domains ------------------------------------------------------------------------------------------------------ */

static bool is_literal(slice domain)
{
    return domain.len > 2 && domain.ptr[0] == '[' && domain.ptr[domain.len - 1] == ']';
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]": RFC 5321 4.1.3 */
static bool literal_read(slice domain, struct net_range *out)
{
    slice inner = slice_sub(domain, 1, domain.len - 2);

    if (slice_starts_nocase(inner, SLICE("IPv6:")))
        inner = slice_from(inner, 5);
    return !slice_eq(inner, SLICE("unix")) && slice_find_byte(inner, '/') < 0 &&
           net_range_parse(inner, out, NULL) == 0;
}

bool route_is_ours(const struct intake_tx *tx, const struct address *a)
{
    struct net_range range;

    return tx->peer != NULL && tx->peer->local.len != 0 && is_literal(a->domain) && literal_read(a->domain, &range) &&
           net_range_has(&range, &tx->peer->local);
}

static slice lower_dup(struct arena *mem, slice s)
{
    unsigned char *out = arena_alloc(mem, s.len + 1);

    for (size_t i = 0; i < s.len; i++)
        out[i] = ascii_lower(s.ptr[i]);
    return slice_of(out, s.len);
}

/* The form in which destinations are told apart. */
static bool domain_host(struct intake_tx *tx, slice domain, slice *host)
{
    struct err err = ERR_INIT;
    struct net_range range;

    if (!is_literal(domain))
        return idna_to_ascii(domain, &tx->mem, host, &err) == 0 && host->len != 0 && host->len <= QUEUE_HOST_MAX;
    if (!literal_read(domain, &range))
        return false;
    *host = lower_dup(&tx->mem, domain);
    return true;
}

/* --- routes ------------------------------------------------------------------------------------------------------- */

static bool pattern_fits(slice pattern, slice host)
{
    slice end;

    if (slice_eq(pattern, SLICE("*")))
        return true;
    if (!slice_starts(pattern, SLICE("*.")))
        return slice_eq_nocase(pattern, host);
    end = slice_from(pattern, 1);
    return host.len > end.len && slice_eq_nocase(slice_from(host, host.len - end.len), end);
}

/* "name", "name:port", "[address]:port", "unix:/path" */
static slice row_host(struct arena *mem, const struct route_short *r)
{
    struct buf text = BUF_INIT;
    slice out;

    buf_put_str(&text, r->is_path ? "unix:" : r->is_literal ? "[" : "");
    buf_put_slice(&text, r->host);
    if (r->is_literal)
        buf_put_byte(&text, ']');
    if (r->port != 0)
        buf_printf(&text, ":%u", r->port);
    out = slice_dup(mem, buf_slice(&text));
    buf_free(&text);
    return out;
}

static uint64_t address_hash(slice s)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a: only tells most apart quickly */

    for (size_t i = 0; i < s.len; i++)
        h = (h ^ s.ptr[i]) * 1099511628211u;
    return h;
}

/* The local part as it came; the domain in its one form, so that equal addresses are equal octets and a next host
 * without SMTPUTF8 understands it if it can. */
static slice wire_address(struct intake_tx *tx, const struct address *a, slice host)
{
    struct address on_wire = { a->local, is_literal(a->domain) ? a->domain : host };
    struct buf text = BUF_INIT;
    slice out;

    address_print(&on_wire, &text);
    out = slice_dup(&tx->mem, buf_slice(&text));
    buf_free(&text);
    return out;
}

enum intake_reply route_find(struct intake_tx *tx, const struct address *a, struct target *t)
{
    const struct routes_conf *routes = conf_section(tx->conf, CONF_ROUTES);
    slice host;

    if (!domain_host(tx, a->domain, &host))
        return INTAKE_R_BAD_DOMAIN;
    t->address = wire_address(tx, a, host);
    t->key = address_hash(t->address);
    t->channel = SLICE("tcp_local");
    t->host = host;
    for (size_t i = 0; routes != NULL && i < routes->count; i++) {
        const struct route_short *r = &routes->rows[i];

        if (!pattern_fits(r->pattern, host))
            continue;
        t->channel = r->channel == ROUTE_LMTP ? SLICE("tcp_lmtp") : SLICE("tcp_local");
        t->host = row_host(&tx->mem, r);
        break;
    }
    return GOES_ON;
}
