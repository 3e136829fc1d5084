/* Settings of the SMTP client, and where a target leads. */
#include "smtp/client_internal.h"

#define PORT_MAX 65535

#define KEY_CONF struct smtp_client_conf
static const struct key_row rows[] = { SMTP_CLIENT_KEYS(KEY_ROW) };

const struct key_table smtp_client_keys = {
    .section = "smtp_client",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .struct_bytes = sizeof(struct smtp_client_conf),
    .text = "How mail is sent to other hosts by SMTP and LMTP.",
};

struct counter smtp_client_counters[CC_COUNT] = {
    [CC_CONNECTIONS] = { .name = "smtp_client.connections", .text = "Connections made to other hosts" },
    [CC_OPEN] = { .name = "smtp_client.open", .text = "Connections to other hosts now", .kind = COUNTER_GAUGE },
    [CC_CONNECT_FAILED] = { .name = "smtp_client.connect_failed", .text = "Addresses that could not be connected to" },
    [CC_FAILED] = { .name = "smtp_client.failed", .text = "Connections that were lost or were of no use" },
    [CC_TLS] = { .name = "smtp_client.tls", .text = "Connections that went over to TLS" },
    [CC_TLS_FAILED] = { .name = "smtp_client.tls_failed", .text = "TLS handshakes with other hosts that failed" },
    [CC_REUSED] = { .name = "smtp_client.reused", .text = "Transactions on a connection that had had one" },
    [CC_TRANSACTIONS] = { .name = "smtp_client.transactions", .text = "Transactions begun with other hosts" },
    [CC_TAKEN] = { .name = "smtp_client.taken", .text = "Recipients that other hosts took over" },
    [CC_LATER] = { .name = "smtp_client.later", .text = "Recipients put off by other hosts" },
    [CC_REFUSED] = { .name = "smtp_client.refused", .text = "Recipients refused for good" },
    [CC_UNCERTAIN] = { .name = "smtp_client.uncertain",
                       .text = "Messages whose final reply did not come: they may arrive twice" },
    [CC_PROTOCOL_ERRORS] = { .name = "smtp_client.protocol_errors", .text = "Replies that were none" },
};

void smtp_client_counters_register(void)
{
    counter_register(smtp_client_counters, CC_COUNT);
}

/* --- targets ------------------------------------------------------------------------------------------------------ */

/* [":" port] */
static bool port_parse(slice rest, unsigned *port, bool *has_port)
{
    uint32_t n;

    *has_port = rest.len > 0;
    if (rest.len == 0)
        return true;
    if (rest.ptr[0] != ':' || !slice_u32(slice_from(rest, 1), &n) || n == 0 || n > PORT_MAX)
        return false;
    *port = n;
    return true;
}

/* What stands between brackets: an address (RFC 5321 4.1.3, or as people write it), or a name whose MX do not count. */
static bool bracket_parse(slice inside, struct smtp_target *out)
{
    struct buf text = BUF_INIT;

    if (slice_starts_nocase(inside, SLICE("IPv6:")))
        inside = slice_from(inside, 5);
    buf_printf(&text, slice_find_byte(inside, ':') >= 0 ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(inside), out->port);
    if (net_addr_parse(buf_slice(&text), &out->addr, NULL) == 0 && out->addr.sa.sa_family != AF_UNIX &&
        slice_find_byte(inside, '*') < 0) {
        out->kind = TARGET_ADDRESS;
    } else {
        out->kind = TARGET_HOST;
        out->name = inside;
    }
    buf_free(&text);
    return out->kind == TARGET_ADDRESS || address_domain_valid(inside, false);
}

int smtp_target_parse(slice text, bool is_mx, unsigned port, struct smtp_target *out, struct err *err)
{
    ssize_t end;
    bool has_port = false, is_good;

    *out = (struct smtp_target){ .port = port };
    if (slice_starts(text, SLICE("unix:"))) {
        out->kind = TARGET_UNIX;
        is_good = text.len > 6 && text.ptr[5] == '/' && net_addr_parse(text, &out->addr, NULL) == 0;
    } else if (text.len > 0 && text.ptr[0] == '[') {
        end = slice_find_byte(text, ']');
        is_good = end > 1 && port_parse(slice_from(text, (size_t)end + 1), &out->port, &has_port) &&
                  bracket_parse(slice_sub(text, 1, (size_t)end - 1), out);
    } else {
        end = slice_find_byte(text, ':');
        out->name = end < 0 ? text : slice_sub(text, 0, (size_t)end);
        is_good = port_parse(slice_from(text, out->name.len), &out->port, &has_port) && out->name.len > 0 &&
                  out->name.len <= ADDRESS_DOMAIN_MAX_OCTETS && smtp_is_sendable(out->name);
        out->kind = is_mx && !has_port ? TARGET_MX : TARGET_HOST;
    }
    if (!is_good)
        return err_set(err, ERR_SYNTAX, "\"%.*s\" is no host: expected a name, name:port, [address]:port or unix:/path",
                       SLICE_ARG(slice_sub(text, 0, 80)));
    return 0;
}
