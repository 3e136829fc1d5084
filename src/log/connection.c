/* connection.c - records of connections to us and of the authentications over them, as all protocols write them. */
#include "log/txlog.h"

static void put_end(struct buf *out, const struct net_addr *a)
{
    buf_put_byte(out, '|');
    if (a->len != 0)
        net_addr_print_host(a, out);
    buf_printf(out, "|%u", a->len != 0 ? net_addr_port(a) : 0);
}

void txlog_connection(struct txlog *l, const struct txlog_peer *p, const struct txlog_record *more)
{
    struct txlog_record r = *more;
    struct buf transport = BUF_INIT;
    char id[24];
    int len;

    if (l == NULL || !txlog_wants_connections(l))
        return;
    if (p->remote->len != 0 && p->remote->sa.sa_family == AF_UNIX) {
        buf_put_str(&transport, "UNIX");
    } else {
        buf_put_str(&transport, "TCP");
        put_end(&transport, p->local);
        put_end(&transport, p->remote);
    }
    len = snprintf(id, sizeof id, "%llu", (unsigned long long)p->session);
    r.direction = '+';
    r.session = slice_of(id, (size_t)len);
    r.source = p->channel;
    r.transport = buf_slice(&transport);
    r.application = slice_str(p->application);
    txlog_write(l, &r);
    buf_free(&transport);
}
