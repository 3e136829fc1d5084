#include "auth/internal.h"

#include <stdio.h>

#include "base/diag.h"

/* One step, on a helper thread. What it finds stands in the exchange; the reactor looks at it afterwards. */

/* A name as typed: local@domain, or a local part alone. */
static bool name_split(struct auth_exchange *x, slice name, struct address *out)
{
    ssize_t at = slice_rfind_byte(name, '@');

    *out = (struct address){ name, SLICE_NONE };
    if (name.len == 0 || memchr(name.ptr, 0, name.len) != NULL)
        return false;
    if (at >= 0) {
        out->local = slice_sub(name, 0, (size_t)at);
        out->domain = slice_from(name, (size_t)at + 1);
    }
    out->local = slice_dup(&x->mem, out->local); /* the library's buffers come and go */
    out->domain = slice_dup(&x->mem, out->domain);
    return out->local.len > 0 && (at < 0 || out->domain.len > 0);
}

void login_identify(struct auth_exchange *x, struct identity *id, slice name)
{
    struct dir_query q = { .want_secrets = true, .mem = &x->mem }; /* users only, also for who is acted for */

    id->is_asked = true;
    id->result = DIR_NO_USER;
    id->secrets = NULL;
    id->user = (struct dir_user){ .id = 0 };
    if (!name_split(x, name, &q.address))
        return;
    id->address = q.address;
    if (!dir_ask(x->auth->dir, x->dir_conf, &q))
        q.result = DIR_TEMP; /* our own directory answers at once */
    id->result = q.result;
    id->user = q.user;
    id->secrets = id == &x->authc ? q.secrets : NULL;
}

static bool is_known(const struct identity *id)
{
    return id->result == DIR_USER || id->result == DIR_DISABLED;
}

/* Was this the right password a short while ago? Then mac is known. With an empty hash, too: the same work for all. */
static bool is_cached(struct auth_exchange *x, slice hash, slice password, unsigned char mac[SHA256_BYTES])
{
    struct auth *a = x->auth;
    bool found;

    pthread_mutex_lock(&a->lock);
    if (a->known == NULL)
        a->known = known_new(x->auth_conf->cache_max);
    pthread_mutex_unlock(&a->lock);
    known_mac(a->known, hash, password, mac);
    pthread_mutex_lock(&a->lock);
    found = known_has(a->known, mac, clock_mono_ms(a->clock));
    pthread_mutex_unlock(&a->lock);
    return found;
}

static void remember(struct auth_exchange *x, const unsigned char mac[SHA256_BYTES])
{
    struct auth *a = x->auth;

    pthread_mutex_lock(&a->lock);
    known_put(a->known, mac, clock_mono_ms(a->clock) + (int64_t)x->auth_conf->cache_s * 1000);
    pthread_mutex_unlock(&a->lock);
}

bool login_password(struct auth_exchange *x, slice password)
{
    slice hash = x->authc.secrets != NULL ? x->authc.secrets->crypt : SLICE_NONE;
    bool may_cache = x->auth_conf->cache_s != 0, is_right;
    unsigned char mac[SHA256_BYTES];

    if (may_cache && is_cached(x, hash, password, mac)) {
        auth_count(AUTH_C_CACHED);
        return true;
    }
    is_right = verifier_check(hash, password) && is_known(&x->authc);
    if (may_cache && is_right)
        remember(x, mac);
    return is_right;
}

bool login_may_proxy(struct auth_exchange *x)
{
    if (x->authc.result == DIR_USER && x->authc.user.is_admin && x->authz.result == DIR_USER) {
        x->is_proxied = true;
        return true;
    }
    x->reason = x->authc.user.is_admin ? "there is no such user to act for" : "may not act for another";
    return false;
}

static const char *failure_reason(const struct auth_exchange *x)
{
    if (x->reason != NULL)
        return x->reason;
    if (!is_known(&x->authc))
        return "unknown user";
    return x->authc.secrets == NULL ? "has no password" : "wrong password";
}

const char *auth_exchange_reason(const struct auth_exchange *x)
{
    return x->result == AUTH_FAILED || x->result == AUTH_DISABLED ? failure_reason(x) : NULL;
}

/* Who proved to be somebody: may they come in? */
static enum auth_result welcome(struct auth_exchange *x)
{
    if (x->authc.result == DIR_DISABLED) {
        x->reason = "the account is disabled";
        return AUTH_DISABLED;
    }
    return AUTH_OK;
}

/* A login takes a while, an exchange as long as the client likes. Who was disabled or got another password meanwhile
 * has had their sessions closed already, and would slip in behind that. */
static bool is_stale(struct auth_exchange *x)
{
    struct dir_query q = { .address = x->authc.address, .want_secrets = true, .mem = &x->mem };
    const struct dir_secrets *was = x->authc.secrets;

    if (!dir_ask(x->auth->dir, x->dir_conf, &q) || q.result == DIR_TEMP)
        return false; /* cannot be said: what held a moment ago counts */
    if (q.result != DIR_USER || q.user.id != x->authc.user.id || was == NULL || q.secrets == NULL)
        return true;
    return !slice_eq(was->crypt, q.secrets->crypt);
}

static enum auth_result sasl_result(struct auth_exchange *x, int code)
{
    if (code == SASL_CONTINUE)
        return AUTH_CONTINUE;
    if (x->authc.result == DIR_TEMP && x->authc.is_asked)
        return AUTH_TEMP;
    switch (code) {
    case SASL_OK:
        return welcome(x);
    case SASL_NOMECH: /* also when no method of the library's takes a password that our call-back refused */
        return x->authc.is_asked ? AUTH_FAILED : AUTH_BAD_MECHANISM;
    case SASL_NOMEM:
        return AUTH_TEMP;
    case SASL_BADPROT:
    case SASL_BADPARAM:
    case SASL_BUFOVER:
        return x->authc.is_asked ? AUTH_FAILED : AUTH_BAD_ENCODING;
    default:
        return AUTH_FAILED;
    }
}

static void run_sasl(struct auth_exchange *x)
{
    const char *out;
    unsigned out_len;
    int code;

    if (x->input.len > AUTH_RESPONSE_MAX_OCTETS) {
        x->result = AUTH_BAD_ENCODING;
        return;
    }
    /* An empty name or password can only fail; and libsasl2's LOGIN loses the memory of an empty password. */
    if ((x->row->flags & MECH_NEVER_EMPTY) && x->conn != NULL && x->input.len == 0) {
        x->reason = "empty user or password";
        x->result = AUTH_FAILED;
        return;
    }
    code = library_step(x, &out, &out_len);
    x->result = sasl_result(x, code);
    if (out != NULL && (x->result == AUTH_CONTINUE || x->result == AUTH_OK)) {
        buf_put(&x->challenge, out, out_len);
        x->has_final = x->result == AUTH_OK && out_len > 0;
    }
}

static void run_password(struct auth_exchange *x)
{
    snprintf(x->shown, sizeof(x->shown), "%.*s", SLICE_ARG(slice_sub(x->user, 0, sizeof(x->shown) - 1)));
    login_identify(x, &x->authc, x->user);
    if (x->authc.result == DIR_TEMP)
        x->result = AUTH_TEMP;
    else if (login_password(x, secret_slice(&x->input)))
        x->result = welcome(x);
    else
        x->result = AUTH_FAILED;
}

/* After `result`: by service. */
static const struct service_row {
    const char *name;
    enum auth_counter ok, failed;
} services[] = {
    { "smtp", AUTH_C_OK_SMTP, AUTH_C_FAILED_SMTP },
    { "imap", AUTH_C_OK_IMAP, AUTH_C_FAILED_IMAP },
    { "pop", AUTH_C_OK_POP, AUTH_C_FAILED_POP },
    { NULL, AUTH_C_OK_OTHER, AUTH_C_FAILED_OTHER }, /* last */
};

static void tell(struct auth_exchange *x)
{
    const struct service_row *row = services;
    struct buf peer = BUF_INIT;

    while (row->name != NULL && strcmp(row->name, x->peer.service) != 0)
        row++;
    switch (x->result) {
    case AUTH_OK:
        auth_count(row->ok);
        if (x->is_proxied) {
            auth_count(AUTH_C_PROXIED);
            diag_info("auth", "%.*s acts for %.*s by %s", SLICE_ARG(x->authc.user.address),
                      SLICE_ARG(x->authz.user.address), x->peer.service);
        }
        break;
    case AUTH_FAILED:
    case AUTH_DISABLED:
        auth_count(row->failed);
        net_addr_print_host(&x->peer.addr, &peer);
        diag_info("auth", "%s login refused: peer %s, user \"%s\", mechanism %.*s: %s", x->peer.service, buf_str(&peer),
                  x->shown, SLICE_ARG(x->mechanism), failure_reason(x));
        break;
    case AUTH_TEMP:
        auth_count(AUTH_C_TEMP);
        break;
    case AUTH_BAD_ENCODING:
        auth_count(AUTH_C_MALFORMED);
        break;
    default:
        break;
    }
    buf_free(&peer);
}

void login_run(struct auth_exchange *x)
{
    buf_reset(&x->challenge);
    x->has_final = false;
    if (x->kind == EXCHANGE_PASSWORD)
        run_password(x);
    else
        run_sasl(x);
    secret_free(&x->input);
    if (x->result == AUTH_OK && is_stale(x)) {
        auth_count(AUTH_C_STALE);
        x->reason = "the user changed meanwhile";
        x->result = AUTH_FAILED;
        x->has_final = false;
        buf_reset(&x->challenge);
    }
    tell(x);
}
