#include "net/dns_context.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unbound.h>

#include "base/diag.h"
#include "base/mem.h"
#include "net/dns_rr.h"

#define DNS_PORT 53
#define PORTS_MAX 256 /* sockets that libunbound opens at a time */

#define KEY_CONF struct dns_conf
static const struct key_row dns_rows[] = { DNS_KEYS(KEY_ROW) };
#undef KEY_CONF

const struct key_table dns_keys = {
    .section = "dns",
    .rows = dns_rows,
    .count = ARRAY_LEN(dns_rows),
    .struct_bytes = sizeof(struct dns_conf),
    .text = "How the hosts of other domains are found.",
};

const struct dns_conf dns_conf_default = {
    .resolv_file = { (const unsigned char *)"/etc/resolv.conf", 16 },
    .hosts_file = { (const unsigned char *)"/etc/hosts", 10 },
    .timeout_s = 30,
    .addresses_max = 20,
    .cache_bytes = 4194304,
    .questions_max = 500,
};

/* "192.0.2.1", "192.0.2.1:53", "2001:db8::1", "[2001:db8::1]:53" */
static bool server_parse(slice text, struct net_addr *out)
{
    const ssize_t colon = slice_find_byte(text, ':');
    const bool is_bare_v6 = colon >= 0 && text.ptr[0] != '[' && slice_rfind_byte(text, ':') != colon;
    struct buf full = BUF_INIT;
    bool is_ok;

    if (is_bare_v6)
        buf_printf(&full, "[%.*s]:%d", SLICE_ARG(text), DNS_PORT);
    else if (colon < 0 || (text.ptr[0] == '[' && text.ptr[text.len - 1] == ']'))
        buf_printf(&full, "%.*s:%d", SLICE_ARG(text), DNS_PORT);
    else
        buf_put_slice(&full, text);
    is_ok = full.ptr[0] != '*' && net_addr_parse(buf_slice(&full), out, NULL) == 0 &&
            out->sa.sa_family != AF_UNIX && net_addr_port(out) != 0;
    buf_free(&full);
    return is_ok;
}

static bool is_root(const struct dns_conf *c)
{
    return c->servers.count == 1 && slice_eq(c->servers.items[0], SLICE("root"));
}

unsigned dns_conf_check(const struct dns_conf *c, keys_report_fn *report, void *arg)
{
    unsigned errors = 0;

    for (size_t i = 0; i < c->servers.count && !is_root(c); i++) {
        struct net_addr addr;
        char pointer[64];
        if (server_parse(c->servers.items[i], &addr))
            continue;
        errors++;
        snprintf(pointer, sizeof pointer, "/dns/servers/%zu", i);
        if (report != NULL)
            report(arg, pointer, "expected \"192.0.2.1\", \"192.0.2.1:53\", \"2001:db8::1\", or \"root\" alone");
    }
    return errors;
}

static void describe_file(const char *what, slice path, struct buf *out)
{
    char *name = mem_slice_str(path);
    struct stat st = { 0 };

    if (stat(name, &st) < 0)
        st = (struct stat){ 0 };
    buf_printf(out, "%s %s %lld.%09ld %lld\n", what, name, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
               (long long)st.st_size);
    mem_free(name);
}

void dns_context_describe(const struct dns_conf *c, struct buf *out)
{
    for (size_t i = 0; i < c->servers.count; i++)
        buf_printf(out, "server %.*s\n", SLICE_ARG(c->servers.items[i]));
    if (c->servers.count == 0)
        describe_file("resolv", c->resolv_file, out);
    describe_file("hosts", c->hosts_file, out);
    describe_file("anchor", c->trust_anchor_file, out);
    buf_printf(out, "cache %llu questions %u off %d\n", (unsigned long long)c->cache_bytes, c->questions_max,
               c->ipv6 == DNS_IPV6_OFF);
}

static void option(struct ub_ctx *ub, const char *name, const char *text)
{
    if (ub_ctx_set_option(ub, name, text) != 0)
        diag_warn("net", "dns: libunbound does not know %s %s", name, text);
}

static void number(struct ub_ctx *ub, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    option(ub, name, text);
}

/* Zones that libunbound would answer by itself, with "there is none". Whoever runs a private network may have them. */
static const char *const own_zones[] = { "test. transparent", "home.arpa. transparent" };

static void options_set(struct ub_ctx *ub, const struct dns_conf *c)
{
    const unsigned ports = c->questions_max < PORTS_MAX ? c->questions_max : PORTS_MAX;

    number(ub, "msg-cache-size:", c->cache_bytes / 4);
    number(ub, "rrset-cache-size:", c->cache_bytes / 2);
    number(ub, "key-cache-size:", c->cache_bytes / 8);
    number(ub, "neg-cache-size:", c->cache_bytes / 8);
    number(ub, "num-queries-per-thread:", c->questions_max);
    number(ub, "outgoing-range:", ports > 16 ? ports : 16);
    number(ub, "outgoing-num-tcp:", 10);
    option(ub, "do-not-query-localhost:", "no"); /* a resolver on this host is usual */
    option(ub, "unblock-lan-zones:", "yes");
    option(ub, "infra-keep-probing:", "yes"); /* a forwarder that was away is asked again soon */
    if (c->ipv6 == DNS_IPV6_OFF)
        option(ub, "do-ip6:", "no");
    for (size_t i = 0; i < ARRAY_LEN(own_zones); i++)
        option(ub, "local-zone:", own_zones[i]);
}

static void servers_set(struct ub_ctx *ub, const struct dns_conf *c)
{
    struct buf text = BUF_INIT;
    char *file = mem_slice_str(c->resolv_file);
    struct net_addr addr;
    int rc = 0;

    for (size_t i = 0; i < c->servers.count && !is_root(c); i++) {
        if (!server_parse(c->servers.items[i], &addr))
            continue; /* dns_conf_check has said so */
        buf_reset(&text);
        net_addr_print_host(&addr, &text);
        buf_printf(&text, "@%u", net_addr_port(&addr));
        if (ub_ctx_set_fwd(ub, buf_str(&text)) != 0)
            diag_warn("net", "dns: libunbound does not take the server %s", buf_str(&text));
    }
    if (c->servers.count == 0) {
        rc = ub_ctx_resolvconf(ub, file);
        if (rc != 0) { /* as resolv.conf(5) has it */
            diag_warn("net", "dns: %s cannot be used (%s); asking 127.0.0.1", file, ub_strerror(rc));
            ub_ctx_set_fwd(ub, "127.0.0.1");
        }
    }
    mem_free(file);
    buf_free(&text);
}

static void file_set(struct ub_ctx *ub, int (*set)(struct ub_ctx *, const char *), const char *key, slice path)
{
    char *file = mem_slice_str(path);

    if (path.len > 0) {
        const int rc = set(ub, file);
        if (rc != 0)
            diag_warn("net", "dns.%s: %s: %s", key, file, ub_strerror(rc));
    }
    mem_free(file);
}

struct ub_ctx *dns_context_new(const struct dns_conf *c, struct err *err)
{
    struct ub_ctx *ub = ub_ctx_create();

    if (ub == NULL) {
        err_set(err, ERR_TEMP, "libunbound cannot begin");
        return NULL;
    }
    ub_ctx_debugout(ub, NULL); /* its own words would go to standard error */
    options_set(ub, c);
    servers_set(ub, c);
    file_set(ub, ub_ctx_hosts, "hosts_file", c->hosts_file);
    file_set(ub, ub_ctx_add_ta_file, "trust_anchor_file", c->trust_anchor_file);
    const int rc = ub_ctx_async(ub, 1); /* a thread, not a process */
    if (rc == 0)
        return ub;
    err_set(err, ERR_TEMP, "libunbound: %s", ub_strerror(rc));
    ub_ctx_delete(ub);
    return NULL;
}
