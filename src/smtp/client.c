/* A client's attempt: where to, one address after the other, and the end. */
#include "smtp/client_internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

#define SMTP_PORT 25 /* RFC 5321 4.5.4.2 */
#define LMTP_PORT 24 /* RFC 2033 5: not 25 */
#define ARENA_BYTES 512

static void connect_next(struct smtp_client *c);
static void on_later(struct later *l);

/* --- fates -------------------------------------------------------------------------------------------------------- */

void smtp_rcpt_fate(struct smtp_client_mail *m, struct smtp_client_rcpt *r, enum smtp_fate fate, const char *status,
                    slice diag)
{
    static const enum smtp_client_counter counters[] = { [SMTP_FATE_TAKEN] = CC_TAKEN, [SMTP_FATE_LATER] = CC_LATER,
                                                         [SMTP_FATE_REFUSED] = CC_REFUSED };

    ASSERT(fate != SMTP_FATE_NONE);
    r->fate = fate;
    r->status = slice_dup(m->mem, slice_str(status));
    r->diag = slice_dup(m->mem, diag);
    counter_add(&smtp_client_counters[counters[fate]], 1);
}

void smtp_mail_fate(struct smtp_client_mail *m, enum smtp_fate fate, const char *status, const char *diag)
{
    for (unsigned i = 0; i < m->rcpt_count; i++)
        if (m->rcpts[i].fate == SMTP_FATE_NONE)
            smtp_rcpt_fate(m, &m->rcpts[i], fate, status, slice_str(diag));
}

bool smtp_mail_is_decided(const struct smtp_client_mail *m)
{
    for (unsigned i = 0; i < m->rcpt_count; i++)
        if (m->rcpts[i].fate == SMTP_FATE_NONE)
            return false;
    return true;
}

/* --- faults ------------------------------------------------------------------------------------------------------- */

static void fault_set(struct smtp_client *c, bool is_permanent, const char *status, const char *text)
{
    /* What may pass counts more than what will not: the mail waits because of it. */
    if (!is_permanent || !c->has_temp) {
        snprintf(c->status, sizeof c->status, "%s", status);
        snprintf(c->diag, sizeof c->diag, "%s", text);
    }
    c->has_temp |= !is_permanent;
    c->has_perm |= is_permanent;
}

void smtp_fault(struct smtp_client *c, bool is_permanent, const char *status, const char *fmt, ...)
{
    char text[sizeof c->diag];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fault_set(c, is_permanent, status, text);
}

void smtp_conn_fault(struct smtp_conn *conn, bool is_permanent, const char *status, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;

    if (conn->client == NULL || conn->is_faulted)
        return;
    conn->is_faulted = true;
    smtp_client_where(smtp_client_hop(conn->client), &text);
    buf_put_str(&text, ": ");
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    fault_set(conn->client, is_permanent, status, buf_str(&text));
    buf_free(&text);
}

void smtp_conn_fault_reply(struct smtp_conn *conn, const char *what)
{
    struct buf diag = BUF_INIT;
    const bool is_permanent = conn->reply.code >= 500;
    /* A reply that should not be there at all: its class says nothing about the mail. */
    const bool is_odd = conn->reply.code < 400;

    if (conn->client == NULL || conn->is_faulted)
        return;
    conn->is_faulted = true;
    smtp_reply_diag(&conn->reply, &diag);
    fault_set(conn->client, is_permanent, is_odd ? "4.5.0" : smtp_reply_status(&conn->reply), buf_str(&diag));
    if (is_odd)
        counter_add(&smtp_client_counters[CC_PROTOCOL_ERRORS], 1);
    (void)what;
    buf_free(&diag);
}

/* --- the end of a message ----------------------------------------------------------------------------------------- */

void smtp_client_finish(struct smtp_client *c, enum smtp_end end)
{
    ASSERT(c->mail != NULL && !c->is_done);
    c->mail->end = end;
    c->is_done = true;
    reactor_later(c->setup.worker->reactor, &c->later, on_later);
}

/* No address is left. */
static void attempt_failed(struct smtp_client *c)
{
    struct smtp_client_mail *m = c->mail;

    if (c->has_perm && !c->has_temp) {
        smtp_mail_fate(m, SMTP_FATE_REFUSED, c->status, c->diag);
    } else if (c->was_tried) {
        m->is_lost = true;
        smtp_mail_fate(m, SMTP_FATE_LATER, c->status, c->diag);
    } else {
        m->status = slice_dup(m->mem, slice_str(c->status));
        m->diag = slice_dup(m->mem, slice_str(c->diag));
        smtp_client_finish(c, c->is_limited ? SMTP_END_LIMITED : SMTP_END_UNREACHABLE);
        return;
    }
    smtp_client_finish(c, SMTP_END_DONE);
}

static void client_free(struct smtp_client *c)
{
    ASSERT(c->conn == NULL && c->query == NULL);
    snap_unref(c->setup.set != NULL ? &c->setup.set->snap : NULL);
    arena_free(&c->route_mem);
    arena_free(&c->mem);
    mem_free(c);
}

static void on_later(struct later *l)
{
    struct smtp_client *c = CONTAINER_OF(l, struct smtp_client, later);
    struct smtp_client_mail *m = c->mail;

    if (c->is_closing) {
        client_free(c);
        return;
    }
    if (c->is_done) {
        c->is_done = false;
        c->mail = NULL;
        m->done(m);
    } else if (c->is_gone) {
        c->is_gone = false;
        c->setup.gone(c->setup.arg);
    }
}

void smtp_client_progress(struct smtp_client *c)
{
    if (c->setup.progress != NULL)
        c->setup.progress(c->setup.arg);
}

/* --- where to ----------------------------------------------------------------------------------------------------- */

const struct smtp_hop *smtp_client_hop(const struct smtp_client *c)
{
    return &c->hops[c->hop_at];
}

void smtp_client_where(const struct smtp_hop *hop, struct buf *out)
{
    struct buf addr = BUF_INIT;

    net_addr_print(&hop->addr, &addr);
    if (hop->addr.sa.sa_family == AF_UNIX) {
        if (!slice_starts(buf_slice(&addr), SLICE("unix:")))
            buf_put_str(out, "unix:");
        buf_put_slice(out, buf_slice(&addr));
    } else {
        if (hop->name.len > 0) {
            buf_put_slice(out, hop->name);
            buf_put_byte(out, ' ');
        }
        buf_put_byte(out, '[');
        net_addr_print_host(&hop->addr, out);
        buf_printf(out, "]:%u", net_addr_port(&hop->addr));
    }
    buf_free(&addr);
}

static void hops_from(struct smtp_client *c, const struct dns_query *q)
{
    c->hops = arena_alloc_array(&c->route_mem, q->host_count, sizeof *c->hops);
    for (unsigned i = 0; i < q->host_count; i++) {
        c->hops[i].name = slice_dup(&c->route_mem, q->hosts[i].name);
        c->hops[i].addr = q->hosts[i].addr;
        net_addr_set_port(&c->hops[i].addr, c->target.port);
    }
    c->hop_count = q->host_count;
}

static void on_route(struct dns_query *q)
{
    struct smtp_client *c = q->arg;
    static const struct {
        bool is_permanent;
        const char *status, *words;
    } failures[] = {
        [DNS_NONE] = { true, "5.1.2", "has no mail servers" },                      /* RFC 3463 3.2 */
        [DNS_NULL_MX] = { true, "5.1.10", "does not accept mail (null MX)" },       /* RFC 7505 4.2 */
        [DNS_SELF] = { true, "5.4.6", "is served by this host, which does not know it (mail loop)" },
        [DNS_TEMP] = { false, "4.4.3", "cannot be looked up" },
    };

    c->query = NULL;
    if (q->result == DNS_OK && q->host_count > 0) {
        hops_from(c, q);
        dns_query_destroy(&q);
        connect_next(c);
        return;
    }
    const enum dns_result r = q->result == DNS_OK ? DNS_NONE : q->result;
    /* A host that somebody configured and that is not there is his mistake, not the sender's: the mail waits. */
    const bool is_permanent = failures[r].is_permanent && c->target.kind == TARGET_MX;
    smtp_fault(c, is_permanent, is_permanent || r == DNS_TEMP ? failures[r].status : "4.4.4", "%.*s %s: %s",
               SLICE_ARG(c->target.name), failures[r].words, q->why);
    dns_query_destroy(&q);
    attempt_failed(c);
}

static void attempt_begin(struct smtp_client *c)
{
    arena_reset(&c->route_mem);
    c->hops = NULL;
    c->hop_count = c->hop_at = c->tries = 0;
    if (c->target.kind == TARGET_UNIX || c->target.kind == TARGET_ADDRESS) {
        c->hops = arena_alloc(&c->route_mem, sizeof *c->hops);
        c->hops[0].addr = c->target.addr;
        c->hop_count = 1;
        connect_next(c);
    } else if (c->setup.dns == NULL) {
        smtp_fault(c, false, "4.4.3", "%.*s cannot be looked up: no name service", SLICE_ARG(c->target.name));
        attempt_failed(c);
    } else {
        const struct server_conf *server = c->setup.set != NULL ? conf_section(c->setup.set, CONF_SERVER) : NULL;

        c->query = dns_query_new(c->target.kind == TARGET_MX ? DNS_ROUTE : DNS_ADDRESS, c->target.name);
        c->query->self = server != NULL ? server->hostname : SLICE_NONE;
        c->query->reactor = c->setup.worker->reactor;
        c->query->done = on_route;
        c->query->arg = c;
        dns_ask(c->setup.dns, c->query);
    }
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void connect_next(struct smtp_client *c)
{
    struct smtp_conn *conn;

    if (c->hop_at >= c->hop_count || c->tries >= c->conf->addresses_max) {
        attempt_failed(c);
        return;
    }
    c->tries++;
    conn = (struct smtp_conn *)(void *)client_connect(
        c->setup.worker, &(struct client_setup){
                             .protocol = c->setup.is_lmtp ? &lmtp_client_protocol : &smtp_client_protocol,
                             .addr = c->hops[c->hop_at].addr,
                             .local = c->hops[c->hop_at].addr.sa.sa_family == c->setup.local.sa.sa_family
                                          ? c->setup.local
                                          : (struct net_addr){ .len = 0 },
                             .connect_timeout_ms = c->conf->connect_s * 1000,
                             .arg = c,
                         });
    conn->client = c;
    conn->is_lmtp = c->setup.is_lmtp;
    conn->conf = *c->conf;
    conn->log = c->setup.log;
    conn->channel = slice_dup(&conn->base.mem, c->setup.channel);
    c->conn = conn;
}

static void connect_other(struct smtp_client *c)
{
    c->hop_at++;
    c->is_tls_off = false;
    connect_next(c);
}

/* The same address anew, which does not count as another one. */
static void connect_again(struct smtp_client *c)
{
    if (c->tries > 0)
        c->tries--;
    connect_next(c);
}

/* The connection broke in the middle of the present message. */
static void mail_lost(struct smtp_client *c, struct smtp_conn *conn)
{
    if (conn->state == CONN_FINAL && !conn->is_empty && !smtp_mail_is_decided(c->mail)) {
        counter_add(&smtp_client_counters[CC_UNCERTAIN], 1);
        c->mail->is_lost = true;
        smtp_mail_fate(c->mail, SMTP_FATE_LATER, c->status, c->diag);
        smtp_client_finish(c, SMTP_END_DONE);
        return;
    }
    for (unsigned i = 0; i < c->mail->rcpt_count; i++)
        c->mail->rcpts[i].is_accepted = false;
    if (smtp_mail_is_decided(c->mail)) {
        smtp_client_finish(c, SMTP_END_DONE);
    } else if (conn->mails > 1 && !c->is_retried) {
        c->is_retried = true;
        connect_again(c);
    } else {
        connect_other(c);
    }
}

void smtp_client_closed(struct smtp_client *c, struct smtp_conn *conn)
{
    const bool is_stopped = conn->base.is_draining || c->is_stopping;

    c->conn = NULL;
    if (c->mail == NULL || c->is_done) {
        if (c->mail == NULL) {
            c->is_gone = true;
            reactor_later(c->setup.worker->reactor, &c->later, on_later);
        }
        return;
    }
    if (!conn->base.is_opened)
        smtp_conn_fault(conn, false, "4.4.1", "%s", conn->base.failure != NULL ? conn->base.failure : "no connection");
    else
        smtp_conn_fault(conn, false, "4.4.2", "%s",
                        conn->base.failure != NULL ? conn->base.failure : "the connection was lost");
    if (is_stopped && !(conn->had_mail && conn->state == CONN_FINAL)) {
        smtp_client_finish(c, SMTP_END_STOPPED);
    } else if (conn->had_mail) {
        mail_lost(c, conn);
    } else if (conn->is_again || (conn->mails > 0 && !c->is_retried)) {
        c->is_retried |= !conn->is_again;
        connect_again(c);
    } else {
        connect_other(c);
    }
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

int smtp_client_new(struct smtp_client **out, const struct smtp_client_setup *setup, struct err *err)
{
    struct smtp_client *c = mem_alloc(sizeof *c);
    const unsigned port = setup->port != 0 ? setup->port : setup->is_lmtp ? LMTP_PORT : SMTP_PORT;

    *out = NULL;
    arena_init(&c->mem, ARENA_BYTES);
    arena_init(&c->route_mem, ARENA_BYTES);
    later_init(&c->later);
    c->setup = *setup;
    c->setup.channel = slice_dup(&c->mem, setup->channel);
    c->setup.target = slice_dup(&c->mem, setup->target);
    c->setup.auth_user = slice_dup(&c->mem, setup->auth_user);
    c->setup.auth_password = slice_dup(&c->mem, setup->auth_password);
    if (setup->set != NULL)
        snap_ref(&setup->set->snap);
    c->conf = setup->conf != NULL  ? setup->conf
              : setup->set != NULL ? conf_section(setup->set, CONF_SMTP_CLIENT)
                                   : NULL;
    if (c->conf == NULL) {
        keys_default(&smtp_client_keys, &c->defaults, &c->mem);
        c->conf = &c->defaults;
    }
    if (smtp_target_parse(c->setup.target, setup->is_mx && !setup->is_lmtp, port, &c->target, err) < 0) {
        client_free(c);
        return -1;
    }
    *out = c;
    return 0;
}

void smtp_client_send(struct smtp_client *c, struct smtp_client_mail *m)
{
    ASSERT(c->mail == NULL && !c->is_closing && m->rcpt_count > 0);
    c->mail = m;
    m->status = m->diag = m->where = m->transport = m->application = m->modifiers = SLICE_NONE;
    m->peer_has_dsn = m->is_lost = false;
    for (unsigned i = 0; i < m->rcpt_count; i++) {
        m->rcpts[i].fate = SMTP_FATE_NONE;
        m->rcpts[i].is_accepted = false;
    }
    c->is_gone = c->was_tried = c->is_retried = c->is_limited = c->has_temp = c->has_perm = false;
    c->tries = c->rest_ms = 0;
    if (c->is_stopping) {
        smtp_client_finish(c, SMTP_END_STOPPED);
    } else if (c->conn == NULL) {
        c->is_tls_off = false;
        attempt_begin(c);
    } else {
        c->conn->had_mail = false;
        if (c->conn->state == CONN_READY)
            session_wake(&c->conn->base);
    }
}

void smtp_client_rest(struct smtp_client *c, uint32_t ms)
{
    ASSERT(c->mail == NULL);
    if (c->conn == NULL) {
        c->is_gone = true;
        reactor_later(c->setup.worker->reactor, &c->later, on_later);
    } else {
        c->rest_ms = ms > 0 ? ms : 1;
        if (c->conn->state == CONN_READY)
            session_wake(&c->conn->base);
    }
}

void smtp_client_wake(struct smtp_client *c, void *arg)
{
    c->setup.arg = arg;
    c->is_gone = false;
}

unsigned smtp_client_sent(const struct smtp_client *c)
{
    return c->conn != NULL ? c->conn->mails : 0;
}

void smtp_client_stop(struct smtp_client *c)
{
    c->is_stopping = true;
    if (c->query != NULL) {
        dns_query_drop(&c->query);
        smtp_client_finish(c, SMTP_END_STOPPED);
    } else if (c->mail != NULL && !c->is_done && c->conn != NULL && !c->conn->had_mail) {
        session_timeout(&c->conn->base, 1); /* it is over at once, and `closed` says the rest */
    }
}

void smtp_client_close(struct smtp_client **cp)
{
    struct smtp_client *c = *cp;

    *cp = NULL;
    if (c == NULL)
        return;
    ASSERT(c->mail == NULL);
    if (c->conn != NULL) {
        c->conn->client = NULL;
        if (c->conn->state == CONN_READY)
            session_wake(&c->conn->base);
        c->conn = NULL;
    }
    c->is_closing = true;
    reactor_later(c->setup.worker->reactor, &c->later, on_later);
}
