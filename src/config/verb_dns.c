#include "config/verb_dns.h"

#include <stdio.h>
#include <sysexits.h>

#include "base/json.h"
#include "config/load.h"
#include "control/verb_rpc.h"
#include "mail/idna.h"
#include "net/conf.h"
#include "net/dns.h"

static void on_done(struct dns_query *q)
{
    reactor_stop(q->reactor);
}

static json_t *hosts_json(const struct dns_query *q)
{
    json_t *rows = json_array();
    struct buf addr = BUF_INIT;

    for (unsigned i = 0; i < q->host_count; i++) {
        const struct dns_host *h = &q->hosts[i];

        buf_reset(&addr);
        net_addr_print_host(&h->addr, &addr);
        json_array_append_new(rows, json_pack("{s:i, s:o, s:o, s:b}", "preference", (int)h->preference, "host",
                                              json_from_slice(h->name), "address", json_from_slice(buf_slice(&addr)),
                                              "secure", h->is_secure));
    }
    buf_free(&addr);
    return rows;
}

static int show(const struct verb_call *call, const struct dns_query *q)
{
    struct err err = ERR_INIT;

    if (q->result == DNS_OK) {
        json_t *rows = hosts_json(q);

        verb_print(call, rows);
        json_decref(rows);
        return EX_OK;
    }
    err_set(&err, q->result == DNS_TEMP ? ERR_TEMP : ERR_NOTFOUND, "%s", q->why);
    verb_fail(call, &err, q->result == DNS_TEMP ? "mail to it would wait and be tried again"
                                                : "mail to it would be returned to its sender");
    return q->result == DNS_TEMP ? EX_TEMPFAIL : EX_UNAVAILABLE;
}

int config_verb_test_mx(const struct verb_call *call)
{
    struct reactor *reactor = NULL;
    struct dns *dns = NULL;
    struct dns_query *q = NULL;
    struct conf_set *set = NULL;
    struct err err = ERR_INIT;
    struct clock clock;
    struct arena mem;
    slice domain;
    int code;

    arena_init(&mem, 512);
    clock_init_real(&clock);
    if (config_open_dir(call->dir, &set, &err) < 0 ||
        idna_to_ascii(slice_str(call->operands[0]), &mem, &domain, &err) < 0 ||
        (reactor = reactor_new("test", &clock, &err)) == NULL || dns_new(&dns, &clock, set, &err) < 0) {
        code = verb_fail(call, &err, NULL);
        goto out;
    }
    q = dns_query_new(DNS_ROUTE, domain);
    q->self = ((const struct server_conf *)conf_section(set, CONF_SERVER))->hostname;
    q->reactor = reactor;
    q->done = on_done;
    dns_ask(dns, q);
    reactor_run(reactor);
    code = show(call, q);
out:
    dns_query_destroy(&q);
    dns_destroy(&dns);
    reactor_destroy(&reactor);
    if (set != NULL)
        snap_unref(&set->snap);
    arena_free(&mem);
    return code;
}
