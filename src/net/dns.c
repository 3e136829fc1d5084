/* The thread that asks. A query is worked on as a job: one question, or MX and then addresses in waves of hosts. */
#include "net/dns.h"

#include <stdio.h>
#include <unbound.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/diag.h"
#include "base/mem.h"
#include "net/dns_context.h"
#include "net/dns_rr.h"
#include "reactor/thread.h"

#define HOSTS_MAX 64       /* of one destination; a reply may hold thousands */
#define WAVE_HOSTS 4       /* whose addresses are asked at the same time */
#define ADDRESSES_READ 1000 /* of one host and family, of which some are chosen */
#define TEXTS_MAX 200
#define ROUTE_CHECK_MS 60000 /* how long what we know of IPv6 holds */
#define STACK_BYTES (2048u * 1024) /* libunbound has frames of 128 KiB, one in the other */

enum dns_counter { DC_QUERIES, DC_QUESTIONS, DC_FAILURES, DC_TIMEOUTS, DC_BOGUS, DC_OPEN, DC_WAITING, DC_COUNT };

static struct counter dns_counters[DC_COUNT] = {
    [DC_QUERIES] = { "dns.queries", "routes, addresses, names and texts asked for", COUNTER_TOTAL, 0 },
    [DC_QUESTIONS] = { "dns.questions", "questions to libunbound, which may know the answer", COUNTER_TOTAL, 0 },
    [DC_FAILURES] = { "dns.failures", "queries that failed for the time being", COUNTER_TOTAL, 0 },
    [DC_TIMEOUTS] = { "dns.timeouts", "queries that were given up after dns.timeout_s", COUNTER_TOTAL, 0 },
    [DC_BOGUS] = { "dns.bogus", "answers that DNSSEC showed to be false", COUNTER_TOTAL, 0 },
    [DC_OPEN] = { "dns.open", "queries under way", COUNTER_GAUGE, 0 },
    [DC_WAITING] = { "dns.waiting", "questions that wait for dns.questions_max", COUNTER_GAUGE, 0 },
};

/* owner: the thread */
struct dns_context {
    struct dns *dns;
    struct ub_ctx *ub;
    struct io io;
    struct buf description;
    unsigned in_flight;
    bool is_old; /* goes when nothing is in flight */
    struct later later;
};

struct dns {
    struct reactor *reactor;
    struct thread thread;
    /* owner: the thread */
    struct conf_set *conf;
    struct dns_context *context; /* NULL until something is asked */
    struct list jobs, waiting, unasked; /* asks: waiting for room; refused by libunbound */
    struct later later;
    struct rng rng;
    unsigned in_flight, olds;
    int64_t route_until_ms;
    bool has_ipv6, is_stopping;
};

/* One host of a job: what came for it. */
struct target {
    slice name;
    uint16_t preference;
    bool is_secure; /* the MX record */
    bool is_secure_of[2];
    struct net_addr *addrs[2]; /* IPv4, IPv6 */
    unsigned count[2];
};

/* One question to libunbound. */
struct ask {
    struct list link; /* in waiting or unasked */
    struct list of_job;
    struct dns_job *job;
    struct dns_context *context; /* NULL: not asked yet */
    int id;
    unsigned type, target;
    const char *name;
    int error;
};

struct dns_job {
    struct list link;
    struct dns *dns;
    struct dns_query *query;
    struct timer timer;
    struct arena mem;
    struct list asks;
    uint32_t addresses_max, ipv6;
    struct target *targets;
    unsigned target_count, next_target, placed; /* before them: exist, are asked, stand in the answer */
    bool has_temp;
    bool is_decided; /* nothing more is to be asked */
    enum dns_result verdict;
};

static const struct dns_conf *dns_conf(const struct dns *d)
{
    const struct dns_conf *c = conf_section(d->conf, CONF_DNS);

    return c != NULL ? c : &dns_conf_default;
}

/* --- contexts ----------------------------------------------------------------------------------------------------- */

static void context_free(struct dns_context *c)
{
    io_want(&c->io, 0);
    ub_ctx_delete(c->ub);
    buf_free(&c->description);
    c->dns->olds--;
    mem_free(c);
}

static void on_context_later(struct later *l)
{
    context_free(CONTAINER_OF(l, struct dns_context, later));
}

static void context_leave(struct dns_context *c)
{
    c->in_flight--;
    c->dns->in_flight--;
    if (c->is_old && c->in_flight == 0) /* perhaps from within ub_process */
        reactor_later(c->dns->reactor, &c->later, on_context_later);
}

static void context_retire(struct dns *d)
{
    struct dns_context *c = d->context;

    if (c == NULL)
        return;
    d->context = NULL;
    d->olds++;
    c->is_old = true;
    if (c->in_flight == 0)
        reactor_later(d->reactor, &c->later, on_context_later);
}

static void on_answers(struct io *io, unsigned events UNUSED)
{
    struct dns_context *c = CONTAINER_OF(io, struct dns_context, io);
    const int rc = ub_process(c->ub);

    if (rc != 0)
        diag_warn("net", "dns: libunbound: %s", ub_strerror(rc));
}

static struct dns_context *context_get(struct dns *d)
{
    struct dns_context *c = d->context;
    struct err err = ERR_INIT;
    struct ub_ctx *ub;

    if (c != NULL)
        return c;
    ub = dns_context_new(dns_conf(d), &err);
    if (ub == NULL) {
        diag_error("net", "dns: %s", err.text);
        return NULL;
    }
    c = mem_alloc(sizeof *c);
    c->dns = d;
    c->ub = ub;
    dns_context_describe(dns_conf(d), &c->description);
    later_init(&c->later);
    io_init(&c->io, d->reactor, ub_fd(ub), on_answers);
    io_want(&c->io, IO_READ);
    d->context = c;
    return c;
}

/* Is there a way to the IPv6 Internet? Connecting a datagram socket asks the routing table and sends nothing. */
static bool has_ipv6(struct dns *d)
{
    struct net_addr far;
    const int64_t now = reactor_now_ms(d->reactor);

    if (now < d->route_until_ms)
        return d->has_ipv6;
    d->route_until_ms = now + ROUTE_CHECK_MS;
    const int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    d->has_ipv6 = fd >= 0 && net_addr_parse(SLICE("[2001:4860:4860::8888]:53"), &far, NULL) == 0 &&
                  connect(fd, &far.sa, far.len) == 0;
    if (fd >= 0)
        close(fd);
    return d->has_ipv6;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void asks_start(struct dns *d);
static void job_step(struct dns_job *j);
static void job_answer(struct dns_job *j, const struct ask *a, const struct ub_result *r);

static void ask_free(struct ask *a)
{
    list_remove(&a->link);
    list_remove(&a->of_job);
    if (a->context != NULL)
        context_leave(a->context);
    mem_free(a);
}

static void ask_over(struct ask *a, const struct ub_result *r)
{
    struct dns_job *j = a->job;
    struct dns *d = j->dns;

    job_answer(j, a, r);
    ask_free(a);
    if (list_is_empty(&j->asks))
        job_step(j);
    asks_start(d);
}

static void on_result(void *arg, int error, struct ub_result *r)
{
    struct ask *a = arg;

    a->error = error;
    ask_over(a, error == 0 ? r : NULL);
    ub_resolve_free(r);
}

/* What libunbound did not take is over, but not from within what asked. */
static void on_unasked(struct later *l)
{
    struct dns *d = CONTAINER_OF(l, struct dns, later);

    while (!list_is_empty(&d->unasked))
        ask_over(LIST_ENTRY(d->unasked.next, struct ask, link), NULL);
}

static void asks_start(struct dns *d)
{
    const struct dns_conf *conf = dns_conf(d);

    while (d->in_flight < conf->questions_max && !list_is_empty(&d->waiting)) {
        struct ask *a = LIST_ENTRY(d->waiting.next, struct ask, link);
        struct dns_context *c = context_get(d);

        list_remove(&a->link);
        counter_add(&dns_counters[DC_WAITING], -1);
        counter_add(&dns_counters[DC_QUESTIONS], 1);
        a->error = c != NULL ? ub_resolve_async(c->ub, a->name, (int)a->type, 1, a, on_result, &a->id) : UB_NOMEM;
        if (a->error != 0) {
            list_push_back(&d->unasked, &a->link);
            reactor_later(d->reactor, &d->later, on_unasked);
            continue;
        }
        a->context = c;
        c->in_flight++;
        d->in_flight++;
    }
}

static void job_ask(struct dns_job *j, slice name, unsigned type, unsigned target)
{
    struct ask *a = mem_alloc(sizeof *a);

    a->job = j;
    a->type = type;
    a->target = target;
    a->name = arena_str(&j->mem, name);
    list_init(&a->link);
    list_push_back(&j->asks, &a->of_job);
    list_push_back(&j->dns->waiting, &a->link);
    counter_add(&dns_counters[DC_WAITING], 1);
}

/* --- the end of a job --------------------------------------------------------------------------------------------- */

static void on_answer(struct post *p)
{
    struct dns_query *q = CONTAINER_OF(p, struct dns_query, post);

    if (q->is_dropped)
        dns_query_destroy(&q);
    else
        q->done(q);
}

static void asks_drop(struct dns_job *j)
{
    LIST_FOREACH_SAFE(&j->asks, node) {
        struct ask *a = LIST_ENTRY(node, struct ask, of_job);
        if (a->context != NULL)
            ub_cancel(a->context->ub, a->id); /* no answer comes any more */
        else if (a->error == 0)
            counter_add(&dns_counters[DC_WAITING], -1);
        ask_free(a);
    }
}

static void job_free(struct dns_job *j)
{
    asks_drop(j);
    timer_stop(&j->timer);
    list_remove(&j->link);
    arena_free(&j->mem);
    mem_free(j);
}

static void job_end(struct dns_job *j, enum dns_result result)
{
    struct dns_query *q = j->query;

    q->result = result;
    counter_add(&dns_counters[DC_OPEN], -1);
    if (result == DNS_TEMP)
        counter_add(&dns_counters[DC_FAILURES], 1);
    job_free(j);
    reactor_post(q->reactor, &q->post, on_answer);
}

/* The first reason given stays. */
#define WHY(j, ...)                                                                                                    \
    do {                                                                                                               \
        if ((j)->query->why[0] == '\0')                                                                                \
            snprintf((j)->query->why, sizeof(j)->query->why, __VA_ARGS__);                                             \
    } while (0)

static bool host_has(const struct dns_query *q, const struct net_addr *a)
{
    for (unsigned i = 0; i < q->host_count; i++) {
        if (net_addr_eq(&q->hosts[i].addr, a))
            return true;
    }
    return false;
}

static void host_put(struct dns_job *j, const struct target *t, unsigned family, unsigned at)
{
    struct dns_query *q = j->query;

    if (at >= t->count[family] || q->host_count == j->addresses_max || host_has(q, &t->addrs[family][at]))
        return; /* two names for one address need one attempt */
    q->hosts[q->host_count++] = (struct dns_host){ .name = slice_dup(&q->mem, t->name),
                                                   .preference = t->preference,
                                                   .is_secure = t->is_secure && t->is_secure_of[family],
                                                   .addr = t->addrs[family][at] };
}

/* IPv6 and IPv4 of one host in turn, or one after the other. */
static void hosts_put(struct dns_job *j, struct target *t)
{
    const unsigned most = t->count[0] > t->count[1] ? t->count[0] : t->count[1];
    const bool in_turn = j->ipv6 == DNS_IPV6_AUTO && t->count[1] > 0 && has_ipv6(j->dns);
    const unsigned first = in_turn || j->ipv6 == DNS_IPV6_PREFER;

    dns_addr_shuffle(t->addrs[0], t->count[0], &j->dns->rng);
    dns_addr_shuffle(t->addrs[1], t->count[1], &j->dns->rng);
    for (unsigned i = 0; in_turn && i < most; i++) {
        host_put(j, t, 1, i);
        host_put(j, t, 0, i);
    }
    for (unsigned i = 0; !in_turn && i < most; i++)
        host_put(j, t, first, i);
    for (unsigned i = 0; !in_turn && i < most; i++)
        host_put(j, t, !first, i);
}

static void job_over(struct dns_job *j)
{
    struct dns_query *q = j->query;

    while (j->placed < j->next_target && q->host_count < j->addresses_max)
        hosts_put(j, &j->targets[j->placed++]);
    if (q->host_count > 0 || q->text_count > 0) {
        q->why[0] = '\0';
        job_end(j, DNS_OK);
        return;
    }
    WHY(j, "%.*s: there is no address", SLICE_ARG(q->name));
    job_end(j, j->has_temp ? DNS_TEMP : DNS_NONE);
}

/* All asks are answered: what next? */
static void job_step(struct dns_job *j)
{
    const struct dns_query *q = j->query;

    if (j->is_decided) {
        job_end(j, j->verdict);
        return;
    }
    while (j->placed < j->next_target && q->host_count < j->addresses_max)
        hosts_put(j, &j->targets[j->placed++]);
    for (unsigned n = 0; n < WAVE_HOSTS && j->next_target < j->target_count && q->host_count < j->addresses_max; n++) {
        const unsigned i = j->next_target++;
        if (j->ipv6 != DNS_IPV6_ONLY)
            job_ask(j, j->targets[i].name, DNS_TYPE_A, i);
        if (j->ipv6 != DNS_IPV6_OFF)
            job_ask(j, j->targets[i].name, DNS_TYPE_AAAA, i);
    }
    if (list_is_empty(&j->asks))
        job_over(j);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static const char *type_name(unsigned type)
{
    switch (type) {
    case DNS_TYPE_A:
        return "A";
    case DNS_TYPE_AAAA:
        return "AAAA";
    case DNS_TYPE_MX:
        return "MX";
    case DNS_TYPE_PTR:
        return "PTR";
    default:
        return "TXT";
    }
}

static const char *rcode_name(int rcode)
{
    static const char *const names[] = { "no error", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED" };

    return rcode >= 0 && rcode < (int)ARRAY_LEN(names) ? names[rcode] : "an error";
}

static void answer_failed(struct dns_job *j, const struct ask *a, const struct ub_result *r)
{
    j->has_temp = true;
    j->query->why[0] = '\0'; /* says more than that another host does not exist */
    if (r == NULL) {
        WHY(j, "%s of %s: %s", type_name(a->type), a->name, ub_strerror(a->error));
    } else if (r->bogus) {
        counter_add(&dns_counters[DC_BOGUS], 1);
        WHY(j, "%s of %s: not valid by DNSSEC: %s", type_name(a->type), a->name,
            r->why_bogus != NULL ? r->why_bogus : "?");
    } else {
        WHY(j, "%s of %s: %s", type_name(a->type), a->name, rcode_name(r->rcode));
    }
}

static void job_decide(struct dns_job *j, enum dns_result verdict)
{
    j->is_decided = true;
    j->verdict = verdict;
}

static slice record(const struct ub_result *r, unsigned i)
{
    return slice_of(r->data[i], r->len[i] > 0 ? (size_t)r->len[i] : 0);
}

static void target_put(struct dns_job *j, slice name, unsigned preference, bool is_secure)
{
    j->targets[j->target_count++] = (struct target){ .name = name,
                                                     .preference = (uint16_t)preference,
                                                     .is_secure = is_secure };
}

/* The domain itself, RFC 5321 5.1 */
static void route_implicit(struct dns_job *j, bool is_secure)
{
    const struct dns_query *q = j->query;
    const struct dns_mx own = { .name = q->name };

    if (dns_mx_before(&own, 1, q->self) == 0) {
        WHY(j, "%.*s has no MX and is this host", SLICE_ARG(q->name));
        job_decide(j, DNS_SELF);
        return;
    }
    target_put(j, q->name, 0, is_secure);
}

/* The answer to the first question of a route. */
static void route_answer(struct dns_job *j, const struct ub_result *r)
{
    const struct dns_query *q = j->query;
    unsigned count = 0, all = 0;
    struct dns_mx *mx;

    if (!r->havedata) {
        route_implicit(j, r->secure != 0);
        return;
    }
    while (r->data[all] != NULL)
        all++;
    mx = arena_alloc_array(&j->mem, all, sizeof *mx);
    for (unsigned i = 0; i < all; i++) {
        if (!dns_mx_read(record(r, i), &j->mem, &mx[count]))
            continue; /* its name cannot be that of a host */
        count += mx[count].name.len > 0;
    }
    if (count == 0 && all == 1 && r->len[0] == 3) { /* preference and the root, RFC 7505 3 */
        WHY(j, "%.*s takes no mail (null MX)", SLICE_ARG(q->name));
        job_decide(j, DNS_NULL_MX);
        return;
    }
    dns_mx_order(mx, count, &j->dns->rng);
    const unsigned before = dns_mx_before(mx, count, q->self);
    if (count > 0 && before == 0) {
        WHY(j, "this host is the best MX of %.*s", SLICE_ARG(q->name));
        job_decide(j, DNS_SELF);
        return;
    }
    for (unsigned i = 0; i < before && i < HOSTS_MAX; i++)
        target_put(j, mx[i].name, mx[i].preference, r->secure != 0);
    if (count == 0)
        WHY(j, "no MX record of %.*s names a host", SLICE_ARG(q->name));
}

static void addresses_answer(struct dns_job *j, const struct ask *a, const struct ub_result *r)
{
    struct target *t = &j->targets[a->target];
    const unsigned family = a->type == DNS_TYPE_AAAA;
    unsigned all = 0;

    while (r->data[all] != NULL && all < ADDRESSES_READ)
        all++;
    t->is_secure_of[family] = r->secure != 0;
    t->addrs[family] = arena_alloc_array(&j->mem, all, sizeof *t->addrs[family]);
    for (unsigned i = 0; i < all; i++)
        t->count[family] += dns_addr_read(a->type, record(r, i), &t->addrs[family][t->count[family]]);
}

static void texts_answer(struct dns_job *j, const struct ask *a, const struct ub_result *r)
{
    struct dns_query *q = j->query;
    unsigned all = 0;

    while (r->data[all] != NULL && all < TEXTS_MAX)
        all++;
    q->texts = arena_alloc_array(&q->mem, all, sizeof *q->texts);
    for (unsigned i = 0; i < all; i++) {
        slice *text = &q->texts[q->text_count];
        q->text_count += a->type == DNS_TYPE_PTR ? dns_name_read(record(r, i), &q->mem, text) && text->len > 0
                                                 : dns_text_read(record(r, i), &q->mem, text);
    }
    if (q->text_count == 0)
        WHY(j, "%s of %s: malformed", type_name(a->type), a->name);
}

/* r NULL: there is none; a->error says why. The job goes on in job_step. */
static void job_answer(struct dns_job *j, const struct ask *a, const struct ub_result *r)
{
    if (r == NULL || r->bogus || (!r->havedata && !r->nxdomain && r->rcode != 0)) {
        answer_failed(j, a, r);
        return;
    }
    if (r->nxdomain) {
        WHY(j, "%s does not exist", a->name);
        return;
    }
    if (a->type == DNS_TYPE_MX) {
        route_answer(j, r);
        return;
    }
    if (!r->havedata) {
        if (a->type != DNS_TYPE_A && a->type != DNS_TYPE_AAAA)
            WHY(j, "%s has no %s record", a->name, type_name(a->type));
        return;
    }
    if (a->type == DNS_TYPE_A || a->type == DNS_TYPE_AAAA)
        addresses_answer(j, a, r);
    else
        texts_answer(j, a, r);
}

/* --- queries ------------------------------------------------------------------------------------------------------ */

/* What is known by now is used: a host whose IPv6 addresses nobody can tell may have others. */
static void on_timer(struct timer *t)
{
    struct dns_job *j = CONTAINER_OF(t, struct dns_job, timer);
    struct dns *d = j->dns;

    counter_add(&dns_counters[DC_TIMEOUTS], 1);
    j->has_temp = true;
    j->query->why[0] = '\0';
    WHY(j, "no answer for %.*s within %u s", SLICE_ARG(j->query->name), dns_conf(d)->timeout_s);
    asks_drop(j);
    job_over(j);
    asks_start(d);
}

static void query_refuse(struct dns_query *q, enum dns_result result, const char *why)
{
    q->result = result;
    snprintf(q->why, sizeof q->why, "%s", why);
    if (result == DNS_TEMP)
        counter_add(&dns_counters[DC_FAILURES], 1);
    counter_add(&dns_counters[DC_OPEN], -1);
    reactor_post(q->reactor, &q->post, on_answer);
}

static void job_begin(struct dns *d, struct dns_query *q)
{
    const struct dns_conf *conf = dns_conf(d);
    struct dns_job *j = mem_alloc(sizeof *j);

    j->dns = d;
    j->query = q;
    j->addresses_max = conf->addresses_max;
    j->ipv6 = conf->ipv6;
    arena_init(&j->mem, 1024);
    list_init(&j->asks);
    list_push_back(&d->jobs, &j->link);
    timer_init(&j->timer, d->reactor, on_timer);
    timer_start(&j->timer, (int64_t)conf->timeout_s * 1000);
    j->targets = arena_alloc_array(&j->mem, HOSTS_MAX, sizeof *j->targets);
    q->hosts = arena_alloc_array(&q->mem, j->addresses_max, sizeof *q->hosts);
    switch (q->kind) {
    case DNS_ROUTE:
        job_ask(j, q->name, DNS_TYPE_MX, 0);
        break;
    case DNS_ADDRESS:
        target_put(j, q->name, 0, true);
        job_step(j);
        break;
    case DNS_PTR:
        job_ask(j, q->name, DNS_TYPE_PTR, 0);
        break;
    case DNS_TXT:
        job_ask(j, q->name, DNS_TYPE_TXT, 0);
        break;
    }
    asks_start(d);
}

static void on_ask(struct post *p)
{
    struct dns_query *q = CONTAINER_OF(p, struct dns_query, post);
    struct dns *d = q->job;

    q->job = NULL;
    if (q->kind == DNS_PTR)
        q->name = dns_reverse_name(&q->addr, &q->mem);
    if (q->name.len > 1 && q->name.ptr[q->name.len - 1] == '.')
        q->name.len--;
    if (d->is_stopping)
        query_refuse(q, DNS_TEMP, "the server stops");
    else if (!dns_name_is_valid(q->name))
        query_refuse(q, DNS_NONE, "this is no name of a domain");
    else
        job_begin(d, q);
}

void dns_ask(struct dns *d, struct dns_query *q)
{
    q->self = slice_dup(&q->mem, q->self);
    q->job = d;
    counter_add(&dns_counters[DC_QUERIES], 1);
    counter_add(&dns_counters[DC_OPEN], 1);
    reactor_post(d->reactor, &q->post, on_ask);
}

struct dns_query *dns_query_new(enum dns_kind kind, slice name)
{
    struct dns_query *q = mem_alloc(sizeof *q);

    q->kind = kind;
    arena_init(&q->mem, 1024);
    q->name = slice_dup(&q->mem, name);
    return q;
}

void dns_query_drop(struct dns_query **q)
{
    if (*q != NULL)
        (*q)->is_dropped = true;
    *q = NULL;
}

void dns_query_destroy(struct dns_query **q)
{
    if (*q == NULL)
        return;
    arena_free(&(*q)->mem);
    mem_free(*q);
    *q = NULL;
}

const char *dns_result_name(enum dns_result r)
{
    static const char *const names[] = { "found", "none", "null MX", "this host", "failed for now" };

    return names[r];
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void *dns_main(void *arg)
{
    struct dns *d = arg;

    reactor_run(d->reactor);
    return NULL;
}

struct dns_post {
    struct post post;
    struct dns *dns;
    struct conf_set *conf; /* NULL: stop */
};

static void on_stop(struct dns *d)
{
    d->is_stopping = true;
    LIST_FOREACH_SAFE(&d->jobs, node) {
        struct dns_job *j = LIST_ENTRY(node, struct dns_job, link);
        j->query->why[0] = '\0';
        WHY(j, "the server stops");
        j->query->host_count = j->query->text_count = 0;
        job_end(j, DNS_TEMP);
    }
    context_retire(d);
}

static void on_post(struct post *p)
{
    struct dns_post *dp = CONTAINER_OF(p, struct dns_post, post);
    struct dns *d = dp->dns;
    struct buf now = BUF_INIT;

    if (dp->conf == NULL) {
        on_stop(d);
    } else {
        snap_unref(&d->conf->snap);
        d->conf = dp->conf;
        dns_context_describe(dns_conf(d), &now);
        if (d->context != NULL && !slice_eq(buf_slice(&now), buf_slice(&d->context->description)))
            context_retire(d);
        buf_free(&now);
    }
    mem_free(dp);
}

static void tell(struct dns *d, struct conf_set *conf)
{
    struct dns_post *dp = mem_alloc(sizeof *dp);

    dp->dns = d;
    dp->conf = conf;
    reactor_post(d->reactor, &dp->post, on_post);
}

int dns_new(struct dns **out, const struct clock *clock, struct conf_set *conf, struct err *err)
{
    struct dns *d = mem_alloc(sizeof *d);

    *out = NULL;
    counter_register(dns_counters, DC_COUNT);
    list_init(&d->jobs);
    list_init(&d->waiting);
    list_init(&d->unasked);
    later_init(&d->later);
    rng_init(&d->rng, random_u64());
    d->conf = CONTAINER_OF(snap_ref(&conf->snap), struct conf_set, snap);
    d->reactor = reactor_new("dns", clock, err);
    if (d->reactor != NULL)
        reactor_heartbeat(d->reactor, true);
    if (d->reactor == NULL || thread_start(&d->thread, "dns", STACK_BYTES, dns_main, d, err) < 0) {
        dns_destroy(&d);
        return -1;
    }
    *out = d;
    return 0;
}

const struct reactor *dns_reactor(const struct dns *d)
{
    return d->reactor;
}

void dns_reload(struct dns *d, struct conf_set *conf)
{
    tell(d, CONTAINER_OF(snap_ref(&conf->snap), struct conf_set, snap));
}

void dns_destroy(struct dns **dp)
{
    struct dns *d = *dp;

    if (d == NULL)
        return;
    if (d->thread.started) {
        tell(d, NULL);
        reactor_stop(d->reactor);
        thread_join(&d->thread);
    }
    if (d->reactor != NULL) {
        while (reactor_turn(d->reactor)) /* what was posted meanwhile; the last contexts */
            continue;
        ASSERT(d->olds == 0 && d->context == NULL);
        reactor_destroy(&d->reactor);
    }
    snap_unref(&d->conf->snap);
    mem_free(d);
    *dp = NULL;
}
