/* Places that are listened on: planning a configuration's set, binding, accepting. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/diag.h"
#include "base/mem.h"
#include "net/server_internal.h"

#define ACCEPTS_PER_EVENT 64 /* then sessions have their turn */
#define ACCEPT_PAUSE_MS 100  /* after accept failed for want of descriptors or memory */
#define MEMORY_WATCH_MS 100
#define MEMORY_IDLE_MS 1000 /* without a limit; how soon a new one is seen */
#define MEMORY_TRIM_MS 2000

/* --- accepting ---------------------------------------------------------------------------------------------------- */

static void on_pause_over(struct timer *t)
{
    struct acceptor *a = CONTAINER_OF(t, struct acceptor, pause);

    io_want(&a->io, IO_READ);
}

static void accept_failed(struct acceptor *a)
{
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
        return;
    counter_add(&net_counters[NC_ACCEPT_FAILED], 1);
    diag_warn("net", "accepting on %.*s failed, pausing: %s", SLICE_ARG(a->served->conf.name), strerror(errno));
    io_want(&a->io, 0);
    timer_start(&a->pause, ACCEPT_PAUSE_MS);
}

static void on_acceptable(struct io *io, unsigned events)
{
    struct acceptor *a = CONTAINER_OF(io, struct acceptor, io);
    const struct served *served = a->served;

    (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_EVENT; i++) {
        struct net_addr peer = { .len = sizeof peer - offsetof(struct net_addr, sa) };
        const int fd = accept4(io->fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            accept_failed(a);
            return;
        }
        worker_adopt(&a->sw->worker, &served->conf, served->protocol, served->service, fd, &peer);
    }
}

static void acceptor_close(struct acceptor *a)
{
    io_want(&a->io, 0);
    timer_stop(&a->pause);
    list_remove(&a->link);
    close(a->io.fd);
}

void acceptors_close(struct server_worker *sw)
{
    LIST_FOREACH_SAFE(&sw->acceptors, node)
        acceptor_close(LIST_ENTRY(node, struct acceptor, link));
}

/* --- tasks: what the main thread has a worker do ------------------------------------------------------------------ */

struct task {
    struct post post;
    struct server_worker *sw;
    struct acceptor *acceptor;
    const struct served *served;
    int fd;
    struct conf_set *conf;
    struct tls_context *tls;
};

static struct task *task_new(struct server_worker *sw)
{
    struct task *t = mem_alloc(sizeof *t);

    t->sw = sw;
    return t;
}

static void on_acceptor_start(struct post *p)
{
    struct task *t = CONTAINER_OF(p, struct task, post);
    struct acceptor *a = t->acceptor;

    a->sw = t->sw;
    a->served = t->served;
    io_init(&a->io, t->sw->worker.reactor, t->fd, on_acceptable);
    timer_init(&a->pause, t->sw->worker.reactor, on_pause_over);
    list_push_back(&t->sw->acceptors, &a->link);
    io_want(&a->io, IO_READ);
    mem_free(t);
}

static void on_acceptor_serve(struct post *p)
{
    struct task *t = CONTAINER_OF(p, struct task, post);

    t->acceptor->served = t->served;
    mem_free(t);
}

static void on_acceptor_stop(struct post *p)
{
    struct task *t = CONTAINER_OF(p, struct task, post);

    if (list_is_linked(&t->acceptor->link)) /* else the server stopped meanwhile */
        acceptor_close(t->acceptor);
    mem_free(t);
}

static void on_conf(struct post *p)
{
    struct task *t = CONTAINER_OF(p, struct task, post);

    worker_conf_set(&t->sw->worker, t->conf, t->tls);
    snap_unref(&t->conf->snap);
    tls_context_unref(&t->tls);
    mem_free(t);
}

void task_conf(struct server_worker *sw, struct conf_set *conf, struct tls_context *tls)
{
    struct task *t = task_new(sw);

    snap_ref(&conf->snap);
    t->conf = conf;
    t->tls = tls != NULL ? tls_context_ref(tls) : NULL;
    reactor_post(sw->worker.reactor, &t->post, on_conf);
}

/* --- planning ----------------------------------------------------------------------------------------------------- */

/* The address as it is listened on: ports moved by server.port_offset, unix paths in DIR. */
static int place_addr(const struct net_server *n, const struct net_addr *conf, unsigned offset, struct net_addr *out,
                      struct err *err)
{
    struct buf path = BUF_INIT;
    int rc = 0;

    *out = *conf;
    if (conf->sa.sa_family == AF_UNIX) {
        if (conf->un.sun_path[0] != '/') {
            buf_printf(&path, "unix:%s/%s", n->dir, conf->un.sun_path);
            rc = net_addr_parse(buf_slice(&path), out, err);
            if (rc < 0)
                err_prefix(err, "%s", buf_str(&path));
        }
    } else if (net_addr_port(conf) != 0 && !net_addr_set_port(out, net_addr_port(conf) + offset)) {
        rc = err_set(err, ERR_LIMIT, "port %u plus server.port_offset %u is over 65535", net_addr_port(conf), offset);
    }
    buf_free(&path);
    return rc;
}

static const struct served_protocol *protocol_find(const struct net_server *n, slice name)
{
    for (unsigned i = 0; i < n->protocol_count; i++) {
        if (slice_eq(n->protocols[i].name, name))
            return &n->protocols[i];
    }
    return NULL;
}

static bool is_same_listener(const struct listener_conf *a, const struct listener_conf *b)
{
    return slice_eq(a->name, b->name) && slice_eq(a->protocol, b->protocol) && a->tls == b->tls &&
           a->proxy_protocol == b->proxy_protocol;
}

static const struct served *served_get(struct net_server *n, const struct listener_conf *l, struct err *err)
{
    const struct served_protocol *p = protocol_find(n, l->protocol);
    struct arena mem;
    struct served *s;

    if (p == NULL) {
        err_set(err, ERR_PERM, "listener %.*s: there is no protocol \"%.*s\"", SLICE_ARG(l->name),
                SLICE_ARG(l->protocol));
        return NULL;
    }
    for (s = n->served; s != NULL; s = s->next) {
        if (is_same_listener(&s->conf, l))
            return s;
    }
    arena_init(&mem, 512);
    s = arena_alloc(&mem, sizeof *s);
    s->conf = *l;
    s->conf.name = slice_dup(&mem, l->name);
    s->conf.protocol = slice_dup(&mem, l->protocol);
    s->conf.addrs = NULL;
    s->conf.addr_count = 0;
    s->protocol = p->protocol;
    s->service = p->service;
    s->mem = mem;
    s->next = n->served;
    n->served = s;
    return s;
}

static int bind_one(struct net_server *n, const struct net_addr *addr, const struct listener_conf *l, struct err *err)
{
    if (n->setup.spawner != NULL)
        return spawner_bind(n->setup.spawner, addr, l->backlog, l->unix_mode, err);
    if (n->bound == NULL)
        n->bound = mem_alloc(sizeof *n->bound);
    return spawner_bind_here(n->bound, addr, l->backlog, l->unix_mode, err);
}

static void place_destroy(struct net_server *n, struct place *p)
{
    for (unsigned i = 0; i < n->worker_count; i++) {
        if (p->fds[i] >= 0)
            close(p->fds[i]);
    }
    list_remove(&p->link);
    mem_free(p->fds);
    mem_free(p->acceptors);
    mem_free(p);
}

/* One socket per worker, so that the kernel spreads connections; a unix socket cannot be and is duplicated. */
static int place_bind(struct net_server *n, struct place *p, const struct listener_conf *l, struct err *err)
{
    for (unsigned i = 0; i < n->worker_count; i++) {
        if (i > 0 && p->addr.sa.sa_family == AF_UNIX)
            p->fds[i] = fcntl(p->fds[0], F_DUPFD_CLOEXEC, 0);
        else
            p->fds[i] = bind_one(n, &p->addr, l, err);
        if (p->fds[i] < 0)
            return -1;
        struct net_addr own = { .len = sizeof own - offsetof(struct net_addr, sa) };
        if (net_addr_port(&p->addr) == 0 && p->addr.sa.sa_family != AF_UNIX &&
            getsockname(p->fds[i], &own.sa, &own.len) == 0)
            net_addr_set_port(&p->addr, net_addr_port(&own));
    }
    return 0;
}

static struct place *place_find(const struct list *places, const struct net_addr *asked)
{
    LIST_FOREACH(places, node)
    {
        struct place *p = LIST_ENTRY(node, struct place, link);
        if (net_addr_eq(&p->asked, asked))
            return p;
    }
    return NULL;
}

static int plan_address(struct net_server *n, struct place_plan *plan, const struct listener_conf *l,
                        const struct net_addr *addr, const struct served *served, struct err *err)
{
    const bool any_port = addr->sa.sa_family != AF_UNIX && net_addr_port(addr) == 0;
    struct place *p = any_port ? NULL : place_find(&n->places, addr);

    if ((p != NULL && p->next_served != NULL) || (!any_port && place_find(&plan->fresh, addr) != NULL)) {
        struct buf text = BUF_INIT;
        net_addr_print(addr, &text);
        err_set(err, ERR_EXISTS, "two listeners have the address %s", buf_str(&text));
        buf_free(&text);
        return -1;
    }
    if (p != NULL) {
        p->next_served = served;
        return 0;
    }
    p = mem_alloc(sizeof *p);
    p->asked = p->addr = *addr;
    p->served = served;
    p->acceptors = mem_alloc_array(n->worker_count, sizeof *p->acceptors);
    p->fds = mem_alloc_array(n->worker_count, sizeof *p->fds);
    for (unsigned i = 0; i < n->worker_count; i++) {
        p->fds[i] = -1;
        list_init(&p->acceptors[i].link);
    }
    list_push_back(&plan->fresh, &p->link);
    return place_bind(n, p, l, err);
}

static void plan_drop(struct net_server *n, struct place_plan *plan)
{
    LIST_FOREACH_SAFE(&plan->fresh, node)
        place_destroy(n, LIST_ENTRY(node, struct place, link));
}

int places_plan(struct net_server *n, struct conf_set *conf, struct place_plan *plan, struct err *err)
{
    const struct net_conf *nc = conf_section(conf, CONF_NET);
    const struct server_conf *sc = conf_section(conf, CONF_SERVER);

    list_init(&plan->fresh);
    LIST_FOREACH(&n->places, node)
        LIST_ENTRY(node, struct place, link)->next_served = NULL;
    for (size_t i = 0; nc != NULL && i < nc->listener_count; i++) {
        const struct listener_conf *l = &nc->listeners[i];
        const struct served *served = served_get(n, l, err);
        if (served == NULL)
            goto failed;
        for (size_t a = 0; a < l->addr_count; a++) {
            struct net_addr addr;
            if (place_addr(n, &l->addrs[a], sc != NULL ? sc->port_offset : 0, &addr, err) < 0 ||
                plan_address(n, plan, l, &addr, served, err) < 0) {
                err_prefix(err, "listener %.*s", SLICE_ARG(l->name));
                goto failed;
            }
        }
    }
    return 0;
failed:
    plan_drop(n, plan);
    return -1;
}

/* --- applying ----------------------------------------------------------------------------------------------------- */

static void place_print(const struct place *p, const char *what)
{
    struct buf text = BUF_INIT;

    net_addr_print(&p->addr, &text);
    diag_info("net", "%s %s (%.*s)", what, buf_str(&text), SLICE_ARG(p->served->conf.name));
    buf_free(&text);
}

static void place_start(struct net_server *n, struct place *p)
{
    for (unsigned i = 0; i < n->worker_count; i++) {
        struct task *t = task_new(&n->workers[i]);
        t->acceptor = &p->acceptors[i];
        t->served = p->served;
        t->fd = p->fds[i];
        p->fds[i] = -1;
        reactor_post(t->sw->worker.reactor, &t->post, on_acceptor_start);
    }
    place_print(p, "listening on");
}

static void place_post(struct net_server *n, struct place *p, post_fn *fn)
{
    for (unsigned i = 0; i < n->worker_count; i++) {
        struct task *t = task_new(&n->workers[i]);
        t->acceptor = &p->acceptors[i];
        t->served = p->served;
        reactor_post(t->sw->worker.reactor, &t->post, fn);
    }
}

static void place_unlink(const struct place *p)
{
    if (p->addr.sa.sa_family == AF_UNIX)
        unlink(p->addr.un.sun_path);
}

void places_apply(struct net_server *n, struct place_plan *plan)
{
    LIST_FOREACH_SAFE(&n->places, node)
    {
        struct place *p = LIST_ENTRY(node, struct place, link);
        if (p->next_served == NULL) {
            place_print(p, "no longer listening on");
            place_post(n, p, on_acceptor_stop);
            place_unlink(p);
            list_remove(&p->link);
            list_push_back(&n->gone, &p->link); /* its acceptors are the workers' until they have closed them */
        } else if (p->next_served != p->served) {
            p->served = p->next_served;
            place_post(n, p, on_acceptor_serve);
        }
    }
    LIST_FOREACH(&plan->fresh, node)
        place_start(n, LIST_ENTRY(node, struct place, link));
    list_splice(&n->places, &plan->fresh);
}

void places_unlink(struct net_server *n)
{
    LIST_FOREACH(&n->places, node)
        place_unlink(LIST_ENTRY(node, struct place, link));
}

void places_free(struct net_server *n)
{
    list_splice(&n->places, &n->gone);
    LIST_FOREACH_SAFE(&n->places, node)
        place_destroy(n, LIST_ENTRY(node, struct place, link));
    while (n->served != NULL) {
        struct served *s = n->served;
        struct arena mem = s->mem; /* s lies in it */
        n->served = s->next;
        arena_free(&mem);
    }
}

unsigned net_server_port(const struct net_server *n, slice listener)
{
    LIST_FOREACH(&n->places, node)
    {
        const struct place *p = LIST_ENTRY(node, struct place, link);
        if (slice_eq(p->served->conf.name, listener) && net_addr_port(&p->addr) != 0)
            return net_addr_port(&p->addr);
    }
    return 0;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* The allocator keeps freed memory: given back, or we would refuse for what nobody holds any more. */
static void trim_run(struct job *job UNUSED)
{
    malloc_trim(0);
}

static void trim_done(struct job *job)
{
    CONTAINER_OF(job, struct net_server, trim_job)->is_trimming = false;
}

static void memory_trim(struct net_server *n, int64_t now_ms)
{
    if (n->is_trimming || n->setup.helpers == NULL || now_ms - n->trimmed_ms < MEMORY_TRIM_MS)
        return;
    n->trimmed_ms = now_ms;
    n->trimmed_refused = budget_refused();
    n->trim_job = (struct job){ .run = trim_run, .done = trim_done, .reactor = n->workers[0].worker.reactor };
    n->is_trimming = pool_submit(n->setup.helpers, &n->trim_job);
}

static void memory_gate(struct net_server *n, bool is_short)
{
    if (is_short && !n->is_memory_short)
        diag_warn("net", "memory is short (memory.limit_bytes): new connections are told to come back later");
    else if (!is_short && n->is_memory_short)
        diag_info("net", "memory is enough again");
    n->is_memory_short = is_short;
    net_limits_close(n->limits, is_short);
}

static void on_memory_watch(struct timer *t)
{
    struct net_server *n = CONTAINER_OF(t, struct net_server, memory_timer);
    const struct worker *w = &n->workers[0].worker;
    const struct memory_conf *mc = w->conf != NULL ? conf_section(w->conf, CONF_MEMORY) : NULL;
    uint64_t limit = mc != NULL ? mc->limit_bytes : 0;

    budget_limit(limit);
    if (limit != 0) {
        budget_look();
        memory_gate(n, budget_is_short());
        if (n->is_memory_short || budget_refused() != n->trimmed_refused)
            memory_trim(n, clock_mono_ms(reactor_clock(w->reactor)));
    } else {
        memory_gate(n, false);
    }
    timer_start(t, limit != 0 ? MEMORY_WATCH_MS : MEMORY_IDLE_MS);
}

void memory_watch_start(struct net_server *n)
{
    budget_register();
    timer_init(&n->memory_timer, n->workers[0].worker.reactor, on_memory_watch);
    timer_start(&n->memory_timer, 0);
}

void memory_watch_stop(struct net_server *n)
{
    timer_stop(&n->memory_timer);
}
