#include "net/worker.h"

#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/internal.h"

#define SPARE_MAX_BYTES STREAM_IN_BULK_BYTES * 2 /* larger buffers go back to the heap */

struct counter net_counters[NC_COUNT] = {
    [NC_ACCEPTED] = { "net.accepted", "connections accepted", COUNTER_TOTAL, 0 },
    [NC_OPEN] = { "net.open", "connections open now", COUNTER_GAUGE, 0 },
    [NC_BUSY] = { "net.refused_busy", "connections refused: net.connections_max or memory", COUNTER_TOTAL, 0 },
    [NC_BUSY_HOST] = { "net.refused_host", "connections refused: net.connections_per_host", COUNTER_TOTAL, 0 },
    [NC_ACCEPT_FAILED] = { "net.accept_failed", "times that accept failed for want of something", COUNTER_TOTAL, 0 },
    [NC_TIMEOUTS] = { "net.timeouts", "connections closed because the peer was too slow", COUNTER_TOTAL, 0 },
    [NC_IN_BYTES] = { "net.in_bytes", "octets received, TLS removed", COUNTER_TOTAL, 0 },
    [NC_OUT_BYTES] = { "net.out_bytes", "octets sent, before TLS", COUNTER_TOTAL, 0 },
    [NC_BROKEN] = { "net.broken", "connections that failed under way", COUNTER_TOTAL, 0 },
    [NC_PROXY_BAD] = { "net.proxy_bad", "connections of trusted proxies without a valid header", COUNTER_TOTAL, 0 },
    [NC_TLS_OK] = { "net.tls_handshakes", "TLS handshakes completed", COUNTER_TOTAL, 0 },
    [NC_TLS_RESUMED] = { "net.tls_resumed", "tickets of earlier TLS sessions accepted", COUNTER_TOTAL, 0 },
    [NC_TLS_FAILED] = { "net.tls_failed", "TLS handshakes that failed", COUNTER_TOTAL, 0 },
    [NC_TLS_INJECTED] = { "net.tls_injected", "STARTTLS with input behind it, which was dropped", COUNTER_TOTAL, 0 },
    [NC_SHORT_FILES] = { "net.short_files", "connections cut because a file was too short", COUNTER_TOTAL, 0 },
    [NC_USER_CLOSED] = { "net.user_closed", "connections closed because their user was disabled, deleted or got a new "
                                            "password", COUNTER_TOTAL, 0 },
    [NC_OUT_CONNECTED] = { "net.out_connected", "connections made to others", COUNTER_TOTAL, 0 },
    [NC_OUT_FAILED] = { "net.out_failed", "attempts to connect to others that failed", COUNTER_TOTAL, 0 },
    [NC_OUT_OPEN] = { "net.out_open", "connections to others open now, or being made", COUNTER_GAUGE, 0 },
};

/* What a set without the section (tests) gets: the table's defaults that this room reads. */
static const struct net_conf default_conf = {
    .connections_max = 20000,
    .connections_per_host = 200,
    .handshake_timeout_s = 30,
    .close_timeout_s = 15,
    .stop_grace_s = 15,
};

const struct net_conf *worker_net_conf(const struct worker *w)
{
    const struct net_conf *c = w->conf != NULL ? conf_section(w->conf, CONF_NET) : NULL;

    return c != NULL ? c : &default_conf;
}

void worker_init(struct worker *w, const struct worker_setup *setup)
{
    struct worker_private *wp = mem_alloc(sizeof *wp);

    *w = (struct worker){ .reactor = setup->reactor, .index = setup->index, .helpers = setup->helpers, .private = wp };
    idmap_init(&w->sessions);
    list_init(&wp->all);
    list_init(&wp->ready);
    wp->limits = setup->limits;
    worker_conf_set(w, setup->conf, setup->tls);
    counter_register(net_counters, NC_COUNT);
}

void worker_free(struct worker *w)
{
    struct worker_private *wp = worker_private(w);

    if (wp == NULL)
        return;
    ASSERT(list_is_empty(&wp->all));
    worker_conf_set(w, NULL, NULL);
    idmap_free(&w->sessions);
    for (unsigned i = 0; i < wp->spare_count; i++)
        buf_free(&wp->spare[i]);
    mem_free(wp->scratch);
    mem_free(wp);
    *w = (struct worker){ 0 };
}

void worker_conf_set(struct worker *w, struct conf_set *conf, struct tls_context *tls)
{
    struct worker_private *wp = worker_private(w);
    struct conf_set *old = w->conf;

    if (conf != NULL)
        snap_ref(&conf->snap);
    w->conf = conf;
    if (old != NULL)
        snap_unref(&old->snap);
    if (tls != NULL)
        tls_context_ref(tls);
    tls_context_unref(&wp->tls);
    wp->tls = tls;
    tls_trust_unref(&wp->trust);
}

void worker_trust_set(struct worker *w, struct tls_trust *trust)
{
    struct worker_private *wp = worker_private(w);

    if (trust != NULL)
        tls_trust_ref(trust);
    tls_trust_unref(&wp->trust);
    wp->trust = trust;
}

struct tls_trust *worker_trust(struct worker *w)
{
    struct worker_private *wp = worker_private(w);

    if (wp->trust == NULL)
        wp->trust = tls_trust_new(w->conf != NULL ? conf_section(w->conf, CONF_TLS) : NULL);
    return wp->trust;
}

/* --- buffers ------------------------------------------------------------------------------------------------------ */

struct buf worker_buffer_take(struct worker *w)
{
    struct worker_private *wp = worker_private(w);
    struct buf b = BUF_INIT;

    if (wp->spare_count > 0)
        return wp->spare[--wp->spare_count];
    buf_reserve(&b, STREAM_IN_BYTES);
    return b;
}

void worker_buffer_give(struct worker *w, struct buf *b)
{
    struct worker_private *wp = worker_private(w);

    if (b->cap < STREAM_IN_BYTES || b->cap > SPARE_MAX_BYTES || wp->spare_count == WORKER_SPARE_BUFFERS) {
        buf_free(b);
        return;
    }
    buf_reset(b);
    wp->spare[wp->spare_count++] = *b;
    *b = BUF_INIT;
}

unsigned char *worker_scratch(struct worker *w)
{
    struct worker_private *wp = worker_private(w);

    if (wp->scratch == NULL)
        wp->scratch = mem_alloc(WORKER_SCRATCH_BYTES);
    return wp->scratch;
}

/* --- sessions ----------------------------------------------------------------------------------------------------- */

static bool is_trusted_proxy(const struct net_conf *conf, const struct net_addr *peer)
{
    for (size_t i = 0; i < conf->proxy_range_count; i++) {
        if (net_range_has(&conf->proxy_ranges[i], peer))
            return true;
    }
    return false;
}

static void addrs_get(struct session *s, int fd, const struct net_addr *peer)
{
    s->local.len = sizeof s->local - offsetof(struct net_addr, sa);
    if (getsockname(fd, &s->local.sa, &s->local.len) < 0)
        s->local.len = 0;
    if (peer != NULL) {
        s->peer = *peer;
    } else {
        s->peer.len = sizeof s->peer - offsetof(struct net_addr, sa);
        if (getpeername(fd, &s->peer.sa, &s->peer.len) < 0)
            s->peer.len = 0;
    }
    net_addr_unmap(&s->local);
    net_addr_unmap(&s->peer);
}

/* Ids are unique in the process although workers do not talk: each takes numbers of its own residue. */
static uint64_t next_id(struct worker *w)
{
    struct worker_private *wp = worker_private(w);

    return ++wp->next_id << 8 | w->index;
}

static void refuse_busy(const struct listener_conf *listener, const struct protocol *protocol, int fd)
{
    counter_add(&net_counters[NC_BUSY], 1);
    if (protocol->busy_text != NULL && listener->tls != LISTENER_TLS_IMPLICIT) {
        struct buf text = BUF_INIT;
        buf_printf(&text, "%s\r\n", protocol->busy_text);
        if (send(fd, text.ptr, text.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            counter_add(&net_counters[NC_BROKEN], 1);
        buf_free(&text);
    }
    close(fd);
}

struct session *worker_adopt(struct worker *w, const struct listener_conf *listener, const struct protocol *protocol,
                             void *service, int fd, const struct net_addr *peer)
{
    struct worker_private *wp = worker_private(w);
    const struct net_conf *conf = worker_net_conf(w);

    if (wp->limits != NULL && !net_limits_enter(wp->limits, conf->connections_max)) {
        refuse_busy(listener, protocol, fd);
        return NULL;
    }
    struct session *s = mem_alloc(protocol->session_bytes);
    s->protocol = protocol;
    s->listener = listener;
    s->service = service;
    s->began_ms = clock_wall_ms(reactor_clock(w->reactor));
    s->is_counted = wp->limits != NULL;
    session_init(s, w, fd);
    addrs_get(s, fd, peer);
    if (s->local.len > 0 && s->local.sa.sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)); /* replies are whole when we write */
    worker_session_come(w, s);
    counter_add(&net_counters[NC_ACCEPTED], 1);
    session_timeout(s, conf->handshake_timeout_s * 1000);
    if (listener->proxy_protocol && is_trusted_proxy(conf, &s->peer)) {
        s->phase = PHASE_PROXY;
        session_io_update(s);
    } else {
        session_open(s);
    }
    return s->phase == PHASE_DEAD ? NULL : s;
}

void worker_session_come(struct worker *w, struct session *s)
{
    struct worker_private *wp = worker_private(w);

    s->id = next_id(w);
    list_push_back(&wp->all, &s->link);
    idmap_put(&w->sessions, s->id, s);
    counter_add(&net_counters[s->is_client ? NC_OUT_OPEN : NC_OPEN], 1);
}

void worker_session_gone(struct worker *w, struct session *s)
{
    struct worker_private *wp = worker_private(w);

    list_remove(&s->link);
    list_remove(&s->ready_link);
    idmap_del(&w->sessions, s->id);
    counter_add(&net_counters[s->is_client ? NC_OUT_OPEN : NC_OPEN], -1);
    if (s->is_host_counted)
        net_limits_host_leave(wp->limits, &s->peer);
    if (s->is_counted)
        net_limits_leave(wp->limits);
    if (wp->on_idle != NULL && list_is_empty(&wp->all))
        wp->on_idle(wp->on_idle_arg);
}

static void on_ready(struct post *p)
{
    struct worker_private *wp = CONTAINER_OF(p, struct worker_private, ready_post);
    struct list now;

    wp->is_ready_posted = false;
    list_init(&now);
    list_splice(&now, &wp->ready);
    for (struct list *node; (node = list_pop_front(&now)) != NULL;) {
        struct session *s = LIST_ENTRY(node, struct session, ready_link);
        if (s->step_state == STEP_AGAIN)
            session_run(s);
    }
}

void worker_ready(struct worker *w, struct session *s)
{
    struct worker_private *wp = worker_private(w);

    s->step_state = STEP_AGAIN;
    if (!list_is_linked(&s->ready_link))
        list_push_back(&wp->ready, &s->ready_link);
    if (!wp->is_ready_posted) {
        wp->is_ready_posted = true;
        reactor_post(w->reactor, &wp->ready_post, on_ready);
    }
}

/* --- stopping ----------------------------------------------------------------------------------------------------- */

void worker_on_idle(struct worker *w, void (*fn)(void *arg), void *arg)
{
    struct worker_private *wp = worker_private(w);

    wp->on_idle = fn;
    wp->on_idle_arg = arg;
    if (fn != NULL && list_is_empty(&wp->all))
        fn(arg);
}

/* A session may only end itself while we walk: each ends no other. */
void worker_stop(struct worker *w)
{
    LIST_FOREACH_SAFE(&worker_private(w)->all, node) {
        struct session *s = LIST_ENTRY(node, struct session, link);
        s->is_draining = true;
        session_stop(s);
    }
}

void worker_cut(struct worker *w, bool with_farewell)
{
    LIST_FOREACH_SAFE(&worker_private(w)->all, node) {
        struct session *s = LIST_ENTRY(node, struct session, link);
        session_fail(s, "stopped");
        if (with_farewell)
            session_farewell(s, s->protocol->stopping);
        else
            session_break(s);
    }
}

void worker_user_close(struct worker *w, slice user)
{
    LIST_FOREACH_SAFE(&worker_private(w)->all, node) {
        struct session *s = LIST_ENTRY(node, struct session, link);
        if (s->user.len > 0 && slice_eq_nocase(s->user, user)) {
            if (!s->is_draining)
                counter_add(&net_counters[NC_USER_CLOSED], 1);
            s->is_draining = true;
            session_stop(s);
        }
    }
}

bool worker_is_idle(const struct worker *w)
{
    return list_is_empty(&worker_private(w)->all);
}
