#include "auth/internal.h"

#define DELAY_DOUBLINGS 3u /* once, twice, four and eight times auth.delay_ms */

static void exchange_free(struct auth_exchange *x)
{
    if (x->conn != NULL)
        sasl_dispose(&x->conn);
    secret_free(&x->input);
    buf_free(&x->challenge);
    arena_free(&x->mem);
    snap_unref(&x->conf->snap);
    mem_free(x);
}

/* --- the end of a step, on the reactor ---------------------------------------------------------------------------- */

static void answer(struct auth_exchange *x)
{
    x->is_running = false;
    if (x->is_abandoned) {
        exchange_free(x);
        return;
    }
    x->is_over = x->result != AUTH_CONTINUE;
    x->done(x->arg, x->session, x); /* may destroy x */
}

static void on_timer(struct timer *t)
{
    answer(CONTAINER_OF(t, struct auth_exchange, timer));
}

static void on_post(struct post *p)
{
    answer(CONTAINER_OF(p, struct auth_exchange, post));
}

static int64_t failure_delay_ms(struct auth_exchange *x)
{
    const struct auth_conf *c = x->auth_conf;
    struct auth *a = x->auth;
    unsigned before;

    pthread_mutex_lock(&a->lock);
    if (a->peers == NULL)
        a->peers = peers_new(c->peers_max);
    before = peers_failed(a->peers, &x->peer.addr, clock_mono_ms(a->clock), (int64_t)c->forget_s * 1000);
    pthread_mutex_unlock(&a->lock);
    return (int64_t)c->delay_ms << (before < DELAY_DOUBLINGS ? before : DELAY_DOUBLINGS);
}

static void on_job_done(struct job *job)
{
    struct auth_exchange *x = CONTAINER_OF(job, struct auth_exchange, job);
    int64_t delay_ms = 0;

    if (x->result == AUTH_FAILED || x->result == AUTH_DISABLED)
        delay_ms = failure_delay_ms(x);
    if (delay_ms == 0 || x->is_abandoned) {
        answer(x);
        return;
    }
    auth_count(AUTH_C_DELAYED);
    timer_start(&x->timer, delay_ms);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static void on_job_run(struct job *job)
{
    struct auth_exchange *x = CONTAINER_OF(job, struct auth_exchange, job);

    atomic_fetch_sub(&x->auth->waiting, 1);
    login_run(x);
}

static void answer_now(struct auth_exchange *x, enum auth_result result)
{
    x->result = result;
    reactor_post(x->reactor, &x->post, on_post);
}

static void submit(struct auth_exchange *x)
{
    x->job.run = on_job_run;
    x->job.done = on_job_done;
    x->job.reactor = x->reactor;
    if (atomic_fetch_add(&x->auth->waiting, 1) < x->auth_conf->waiting_max && pool_submit(x->auth->helpers, &x->job))
        return;
    atomic_fetch_sub(&x->auth->waiting, 1);
    auth_count(AUTH_C_BUSY);
    secret_free(&x->input);
    answer_now(x, AUTH_BUSY);
}

void auth_exchange_step(struct auth_exchange *x, slice response, bool has_response)
{
    ASSERT(!x->is_running && !x->is_over);
    x->is_running = true;
    x->kind = EXCHANGE_SASL;
    x->row = mechanism_find(x->auth_conf, &x->peer, x->mechanism);
    if (x->row == NULL) {
        answer_now(x, AUTH_BAD_MECHANISM);
    } else if ((x->row->flags & MECH_SHOWS_PASSWORD) && !auth_plaintext_allowed(x->auth_conf, &x->peer)) {
        answer_now(x, AUTH_NEEDS_TLS);
    } else if (response.len > AUTH_RESPONSE_MAX_OCTETS) {
        auth_count(AUTH_C_MALFORMED);
        answer_now(x, AUTH_BAD_ENCODING);
    } else {
        x->has_input = has_response;
        secret_set(&x->input, has_response ? response : SLICE_NONE);
        submit(x);
    }
}

void auth_exchange_password(struct auth_exchange *x, slice user, slice password)
{
    ASSERT(!x->is_running && !x->is_over);
    x->is_running = true;
    x->kind = EXCHANGE_PASSWORD;
    x->mechanism = SLICE("PASSWORD");
    if (!auth_plaintext_allowed(x->auth_conf, &x->peer)) {
        answer_now(x, AUTH_NEEDS_TLS);
    } else if (user.len > AUTH_RESPONSE_MAX_OCTETS || password.len > AUTH_RESPONSE_MAX_OCTETS) {
        auth_count(AUTH_C_MALFORMED);
        answer_now(x, AUTH_BAD_ENCODING);
    } else {
        x->user = slice_dup(&x->mem, user);
        secret_set(&x->input, password);
        submit(x);
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct auth_exchange *auth_exchange_new(struct auth *a, struct conf_set *conf, const struct auth_peer *peer,
                                        slice mechanism, struct reactor *reactor, uint64_t session, auth_done_fn *done,
                                        void *arg)
{
    struct auth_exchange *x = mem_alloc(sizeof(*x));

    arena_init(&x->mem, 1024);
    x->auth = a;
    snap_ref(&conf->snap);
    x->conf = conf;
    x->auth_conf = conf_section(conf, CONF_AUTH);
    x->dir_conf = conf_section(conf, CONF_DIR);
    x->peer = *peer;
    x->peer.service = arena_str(&x->mem, slice_str(peer->service));
    x->peer.tls_exporter = slice_dup(&x->mem, peer->tls_exporter);
    x->mechanism = slice_dup(&x->mem, mechanism);
    x->reactor = reactor;
    x->session = session;
    x->done = done;
    x->arg = arg;
    timer_init(&x->timer, reactor, on_timer);
    return x;
}

void auth_exchange_destroy(struct auth_exchange **x)
{
    struct auth_exchange *old = *x;

    *x = NULL;
    if (old == NULL)
        return;
    if (timer_is_active(&old->timer)) {
        timer_stop(&old->timer);
        old->is_running = false;
    }
    if (old->is_running)
        old->is_abandoned = true; /* the helper or the message has it; answer() frees */
    else
        exchange_free(old);
}

enum auth_result auth_exchange_result(const struct auth_exchange *x)
{
    return x->result;
}

slice auth_exchange_challenge(const struct auth_exchange *x)
{
    return buf_slice(&x->challenge);
}

bool auth_exchange_has_final(const struct auth_exchange *x)
{
    return x->has_final;
}

const struct dir_user *auth_exchange_user(const struct auth_exchange *x)
{
    if (x->result != AUTH_OK)
        return NULL;
    return x->is_proxied ? &x->authz.user : &x->authc.user;
}

slice auth_exchange_claimed(const struct auth_exchange *x)
{
    return slice_str(x->shown);
}

slice auth_exchange_mechanism(const struct auth_exchange *x)
{
    return x->row != NULL ? x->row->name : x->mechanism;
}
