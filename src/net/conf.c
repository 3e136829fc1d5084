#include "net/conf.h"

#include "base/mem.h"

#define BACKLOG_DEFAULT 0 /* 0: SOMAXCONN */
#define UNIX_MODE_DEFAULT 0660
#define LISTENERS_MAX 64
#define ADDRESSES_MAX 64

#define KEY_CONF struct server_conf
static const struct key_row server_rows[] = { SERVER_KEYS(KEY_ROW) };
#undef KEY_CONF
#define KEY_CONF struct net_conf
static const struct key_row net_rows[] = { NET_KEYS(KEY_ROW) };
#undef KEY_CONF
#define KEY_CONF struct tls_conf
static const struct key_row tls_rows[] = { TLS_KEYS(KEY_ROW) };
#undef KEY_CONF
#define KEY_CONF struct memory_conf
static const struct key_row memory_rows[] = { MEMORY_KEYS(KEY_ROW) };
#undef KEY_CONF

const struct key_table server_keys = {
    .section = "server",
    .rows = server_rows,
    .count = ARRAY_LEN(server_rows),
    .struct_bytes = sizeof(struct server_conf),
    .text = "This server as a whole.",
};
const struct key_table net_keys = {
    .section = "net",
    .rows = net_rows,
    .count = ARRAY_LEN(net_rows),
    .struct_bytes = sizeof(struct net_conf),
    .text = "Connections: threads, limits, proxies in front.",
};
const struct key_table tls_keys = {
    .section = "tls",
    .rows = tls_rows,
    .count = ARRAY_LEN(tls_rows),
    .struct_bytes = sizeof(struct tls_conf),
    .text = "Certificates and versions of TLS.",
};
const struct key_table memory_keys = {
    .section = "memory",
    .rows = memory_rows,
    .count = ARRAY_LEN(memory_rows),
    .struct_bytes = sizeof(struct memory_conf),
    .text = "Bounds of the process's memory.",
};

/* --- listeners ---------------------------------------------------------------------------------------------------- */

/* A listener as it stands in the document. */
struct listener_raw {
    slice protocol;
    struct key_strs addresses;
    uint32_t tls, backlog;
    slice unix_mode;
    bool proxy_protocol;
};

#define LISTENER_KEYS(K)                                                                                               \
    K(STR, protocol, NULL, 1, 16, NONE, LISTENER, NULL, "smtp, submission, lmtp, imap, pop3 or metrics.")              \
    K(STRS, addresses, NULL, 1, 120, NONE, LISTENER, NULL,                                                             \
      "\"127.0.0.1:25\", \"[::1]:25\", \"*:25\" for all of IPv4 and IPv6, \"unix:/path\" or \"unix:name-in-DIR\".")    \
    K(ENUM, tls, 0, "none|starttls|implicit", 0, NONE, LISTENER, NULL,                                                 \
      "Without TLS, TLS when the client asks for it, or from the first octet.")                                        \
    K(U32, backlog, BACKLOG_DEFAULT, 0, 65535, COUNT, LISTENER, NULL,                                                  \
      "Connections that may wait to be accepted; 0: what the system allows.")                                          \
    K(STR, unix_mode, "0660", 3, 4, NONE, LISTENER, NULL, "Mode of a unix socket, octal.")                             \
    K(BOOL, proxy_protocol, 0, 0, 1, NONE, LISTENER, NULL,                                                             \
      "Peers in net.proxy_trusted begin with a PROXY header, version 1 or 2.")

#define KEY_CONF struct listener_raw
static const struct key_row listener_rows[] = { LISTENER_KEYS(KEY_ROW) };
#undef KEY_CONF

const struct key_table listener_keys = {
    .section = "listeners/*",
    .rows = listener_rows,
    .count = ARRAY_LEN(listener_rows),
    .struct_bytes = sizeof(struct listener_raw),
    .text = "What is listened on, by names of your choice.",
};

struct reader {
    struct arena *mem;
    keys_report_fn *report;
    void *arg;
    unsigned errors;
};

static void complain(struct reader *r, const char *pointer, const char *message)
{
    r->errors++;
    if (r->report != NULL)
        r->report(r->arg, pointer, message);
}

static bool mode_parse(slice s, uint32_t *mode)
{
    *mode = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '7')
            return false;
        *mode = *mode * 8 + (uint32_t)(s.ptr[i] - '0');
    }
    return s.len > 0 && *mode <= 0777;
}

static void listener_fill(struct reader *r, const char *pointer, const struct listener_raw *raw,
                          struct listener_conf *l)
{
    struct err err = ERR_INIT;

    l->protocol = raw->protocol;
    l->tls = raw->tls;
    l->backlog = raw->backlog;
    l->proxy_protocol = raw->proxy_protocol;
    if (!mode_parse(raw->unix_mode, &l->unix_mode))
        complain(r, pointer, "unix_mode: expected an octal number such as \"0660\"");
    if (raw->protocol.len == 0)
        complain(r, pointer, "protocol is missing: smtp, submission, lmtp, imap, pop3 or metrics");
    if (raw->addresses.count == 0 || raw->addresses.count > ADDRESSES_MAX)
        complain(r, pointer, "addresses: expected 1 to 64 of them, such as [\"127.0.0.1:25\"]");
    l->addrs = arena_alloc_array(r->mem, raw->addresses.count + 1, sizeof *l->addrs);
    for (size_t i = 0; i < raw->addresses.count && i < ADDRESSES_MAX; i++) {
        if (net_addr_parse(raw->addresses.items[i], &l->addrs[l->addr_count], &err) == 0)
            l->addr_count++;
        else
            complain(r, (const char *)arena_printf(r->mem, "%s/addresses/%zu", pointer, i).ptr, err.text);
    }
}

static void listeners_read(struct reader *r, const json_t *doc, struct net_conf *out)
{
    const char *name;
    json_t *value;

    if (!json_is_object(doc)) {
        complain(r, "/listeners", "expected an object of named listeners");
        return;
    }
    const size_t count = json_object_size(doc);
    if (count > LISTENERS_MAX) {
        complain(r, "/listeners", "expected at most 64 listeners");
        return;
    }
    out->listeners = arena_alloc_array(r->mem, count + 1, sizeof *out->listeners);
    json_object_foreach((json_t *)(uintptr_t)doc, name, value)
    {
        struct listener_conf *l = &out->listeners[out->listener_count];
        struct listener_raw raw = { 0 };
        const char *pointer = (const char *)arena_printf(r->mem, "/listeners/%s", name).ptr;
        keys_default(&listener_keys, &raw, r->mem);
        l->name = slice_dup(r->mem, slice_str(name));
        const unsigned errors = keys_read(&listener_keys, value, pointer, &raw, r->mem, r->report, r->arg);
        r->errors += errors;
        if (errors == 0)
            listener_fill(r, pointer, &raw, l);
        out->listener_count++;
    }
}

/* --- the default set ---------------------------------------------------------------------------------------------- */

static const struct listener_default {
    const char *name, *protocol;
    unsigned port;
    uint32_t tls;
    const char *addresses[2]; /* instead of net.listen with the port */
} defaults[] = {
    { "smtp", "smtp", 25, LISTENER_TLS_STARTTLS, { NULL } },
    { "submission", "submission", 587, LISTENER_TLS_STARTTLS, { NULL } },
    { "submissions", "submission", 465, LISTENER_TLS_IMPLICIT, { NULL } }, /* RFC 8314 3.3 */
    { "imap", "imap", 143, LISTENER_TLS_STARTTLS, { NULL } },
    { "imaps", "imap", 993, LISTENER_TLS_IMPLICIT, { NULL } },
    { "pop3", "pop3", 110, LISTENER_TLS_STARTTLS, { NULL } },
    { "pop3s", "pop3", 995, LISTENER_TLS_IMPLICIT, { NULL } },
    { "lmtp", "lmtp", 24, LISTENER_TLS_NONE, { "127.0.0.1:24", "unix:run/lmtp.sock" } },
};

static void default_address(struct reader *r, struct listener_conf *l, slice host, unsigned port)
{
    const bool is_v6 = slice_find_byte(host, ':') >= 0 && !slice_starts(host, SLICE("["));
    const slice text = arena_printf(r->mem, is_v6 ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(host), port);
    struct err err = ERR_INIT;

    if (net_addr_parse(text, &l->addrs[l->addr_count], &err) == 0)
        l->addr_count++;
    else
        complain(r, "/net/listen", err.text);
}

static void listeners_default(struct reader *r, struct net_conf *out)
{
    const slice any = SLICE("*");
    const slice *hosts = out->listen.count > 0 ? out->listen.items : &any;
    const size_t host_count = out->listen.count > 0 ? out->listen.count : 1;

    out->listeners = arena_alloc_array(r->mem, ARRAY_LEN(defaults), sizeof *out->listeners);
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
        const struct listener_default *d = &defaults[i];
        struct listener_conf *l = &out->listeners[out->listener_count++];
        *l = (struct listener_conf){ .name = slice_str(d->name),
                                     .protocol = slice_str(d->protocol),
                                     .tls = d->tls,
                                     .unix_mode = UNIX_MODE_DEFAULT };
        l->addrs = arena_alloc_array(r->mem, host_count + ARRAY_LEN(d->addresses), sizeof *l->addrs);
        for (size_t a = 0; a < ARRAY_LEN(d->addresses) && d->addresses[a] != NULL; a++) {
            if (net_addr_parse(slice_str(d->addresses[a]), &l->addrs[l->addr_count], NULL) == 0)
                l->addr_count++;
        }
        for (size_t h = 0; d->addresses[0] == NULL && h < host_count; h++)
            default_address(r, l, hosts[h], d->port);
    }
}

static void ranges_read(struct reader *r, struct net_conf *out)
{
    struct err err = ERR_INIT;

    out->proxy_range_count = 0;
    out->proxy_ranges = arena_alloc_array(r->mem, out->proxy_trusted.count + 1, sizeof *out->proxy_ranges);
    for (size_t i = 0; i < out->proxy_trusted.count; i++) {
        if (net_range_parse(out->proxy_trusted.items[i], &out->proxy_ranges[out->proxy_range_count], &err) == 0)
            out->proxy_range_count++;
        else
            complain(r, (const char *)arena_printf(r->mem, "/net/proxy_trusted/%zu", i).ptr, err.text);
    }
}

unsigned net_conf_read_listeners(const json_t *listeners, struct net_conf *out, struct arena *mem,
                                 keys_report_fn *report, void *arg)
{
    struct reader r = { .mem = mem, .report = report, .arg = arg };

    out->listeners = NULL;
    out->listener_count = 0;
    ranges_read(&r, out);
    if (listeners == NULL || json_is_null(listeners))
        listeners_default(&r, out);
    else
        listeners_read(&r, listeners, out);
    return r.errors;
}
