#include "auth/internal.h"

#include <sasl/saslplug.h>
#include <stdio.h>

/* libsasl2 does the mechanisms, and nothing else: it reads no configuration, asks no other database, loads only the
 * plug-ins named below, and logs nothing. Every question it has comes back here with the exchange as context. */

#define AUXPROP_NAME "posthouse"

/* --- threads ------------------------------------------------------------------------------------------------------ */

static void *on_mutex_new(void)
{
    pthread_mutex_t *m = mem_alloc(sizeof(*m));

    pthread_mutex_init(m, NULL);
    return m;
}

static int on_mutex_lock(void *m)
{
    return pthread_mutex_lock(m) == 0 ? SASL_OK : SASL_FAIL;
}

static int on_mutex_unlock(void *m)
{
    return pthread_mutex_unlock(m) == 0 ? SASL_OK : SASL_FAIL;
}

static void on_mutex_free(void *m)
{
    pthread_mutex_destroy(m);
    mem_free(m);
}

/* --- of the process ----------------------------------------------------------------------------------------------- */

static int on_getopt(void *context UNUSED, const char *plugin UNUSED, const char *option, const char **result,
                     unsigned *len)
{
    static const char *const options[][2] = {
        { "auxprop_plugin", AUXPROP_NAME },
        { "pwcheck_method", AUXPROP_NAME }, /* no such method: our call-back has the last word */
        { "canon_user_plugin", "INTERNAL" },
        { "auto_transition", "no" },
    };

    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (strcmp(option, options[i][0]) == 0) {
            *result = options[i][1];
            if (len != NULL)
                *len = (unsigned)strlen(*result);
            return SASL_OK;
        }
    }
    return SASL_FAIL;
}

/* Its messages name users and say why; ours do, once. */
static int on_log(void *context UNUSED, int level UNUSED, const char *message UNUSED)
{
    return SASL_OK;
}

static int on_verifyfile(void *context UNUSED, const char *file, sasl_verify_type_t type)
{
    static const char *const wanted[] = { "libplain.so", "liblogin.so", "libscram.so" };
    const char *slash = strrchr(file, '/');

    if (type != SASL_VRFY_PLUGIN)
        return SASL_FAIL;
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (slice_starts(slice_str(slash == NULL ? file : slash + 1), slice_str(wanted[i])))
            return SASL_OK;
    }
    return SASL_FAIL;
}

/* --- of an exchange ----------------------------------------------------------------------------------------------- */

/* The name in normal form; that of somebody unknown stays as it is and fails later, as late as a wrong password. */
static int on_canon_user(sasl_conn_t *conn UNUSED, void *context, const char *in, unsigned in_len, unsigned flags,
                         const char *realm UNUSED, char *out, unsigned out_max, unsigned *out_len)
{
    struct auth_exchange *x = context;
    slice name = slice_of(in, in_len);
    struct identity *id = flags & SASL_CU_AUTHID ? &x->authc : &x->authz;

    if (id == &x->authc && !id->is_asked)
        snprintf(x->shown, sizeof(x->shown), "%.*s", SLICE_ARG(slice_sub(name, 0, sizeof(x->shown) - 1)));
    login_identify(x, id, name);
    if (id->result == DIR_USER || id->result == DIR_DISABLED)
        name = id->user.address;
    if (name.len > out_max)
        return SASL_BUFOVER;
    memmove(out, name.ptr, name.len); /* may be the same buffer */
    *out_len = (unsigned)name.len;
    return SASL_OK;
}

static int on_checkpass(sasl_conn_t *conn UNUSED, void *context, const char *user UNUSED, const char *password,
                        unsigned password_len, struct propctx *props UNUSED)
{
    return login_password(context, slice_of(password, password_len)) ? SASL_OK : SASL_BADAUTH;
}

/* Called for every success. */
static int on_authorize(sasl_conn_t *conn UNUSED, void *context, const char *wanted, unsigned wanted_len,
                        const char *is, unsigned is_len, const char *realm UNUSED, unsigned realm_len UNUSED,
                        struct propctx *props UNUSED)
{
    struct auth_exchange *x = context;

    if (slice_eq(slice_of(wanted, wanted_len), slice_of(is, is_len)))
        return SASL_OK;
    return login_may_proxy(x) ? SASL_OK : SASL_NOAUTHZ;
}

/* SCRAM asks for "*authPassword" of who logs in: RFC 5803's form of the verifier. A fake one is always made, so that
 * unknown users take no less time. */
static int on_lookup(void *global UNUSED, sasl_server_params_t *params, unsigned flags, const char *user UNUSED,
                     unsigned user_len UNUSED)
{
    sasl_callback_ft proc = NULL;
    void *context = NULL;
    struct auth_exchange *x;
    const struct propval *p;
    unsigned char secret[DIR_SERVER_SECRET_BYTES];
    slice name, fake;
    struct buf value = BUF_INIT;

    if ((flags & SASL_AUXPROP_AUTHZID) ||
        params->utils->getcallback(params->utils->conn, SASL_CB_CANON_USER, &proc, &context) != SASL_OK)
        return SASL_OK;
    x = context;
    p = params->utils->prop_get(params->propctx);
    while (p != NULL && p->name != NULL && strcmp(p->name, "*authPassword") != 0)
        p++;
    if (p == NULL || p->name == NULL)
        return SASL_OK;
    if (!dir_server_secret(x->auth->dir, secret))
        memcpy(secret, x->auth->secret, sizeof(secret));
    name = x->authc.user.address.len > 0 ? x->authc.user.address : slice_str(x->shown);
    fake = verifier_fake(slice_of(secret, sizeof(secret)), name, x->auth_conf->scram_iterations, &x->mem);
    if (x->authc.secrets != NULL && x->authc.secrets->scram_sha256.len > 0)
        fake = x->authc.secrets->scram_sha256;
    buf_put_str(&value, "SCRAM-SHA-256$");
    buf_put_slice(&value, fake);
    params->utils->prop_set(params->propctx, "*authPassword", (const char *)value.ptr, (int)value.len);
    buf_free(&value);
    mem_wipe(secret, sizeof(secret));
    return SASL_OK;
}

static int on_auxprop_init(const sasl_utils_t *utils UNUSED, int max_version, int *version, sasl_auxprop_plug_t **plug,
                           const char *name UNUSED)
{
    static const sasl_auxprop_plug_t ours = { .auxprop_lookup = on_lookup, .name = (char *)(uintptr_t)AUXPROP_NAME };

    if (max_version < SASL_AUXPROP_PLUG_VERSION)
        return SASL_BADVERS;
    *version = SASL_AUXPROP_PLUG_VERSION;
    *plug = (sasl_auxprop_plug_t *)(uintptr_t)&ours; /* the library only reads it */
    return SASL_OK;
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

#define PROC(fn) ((sasl_callback_ft)(void (*)(void))(fn))

int library_init(struct err *err)
{
    static const sasl_callback_t callbacks[] = {
        { SASL_CB_GETOPT, PROC(on_getopt), NULL },
        { SASL_CB_LOG, PROC(on_log), NULL },
        { SASL_CB_VERIFYFILE, PROC(on_verifyfile), NULL },
        { SASL_CB_LIST_END, NULL, NULL },
    };
    int code;

    sasl_set_mutex(on_mutex_new, on_mutex_lock, on_mutex_unlock, on_mutex_free);
    code = sasl_server_init(callbacks, NULL); /* no name: no configuration file is looked for */
    if (code == SASL_OK)
        code = sasl_auxprop_add_plugin(AUXPROP_NAME, on_auxprop_init);
    if (code != SASL_OK)
        return err_set(err, ERR_PERM, "libsasl2 cannot be set up: %s", sasl_errstring(code, NULL, NULL));
    return 0;
}

void library_done(void)
{
    sasl_server_done();
}

static int begin(struct auth_exchange *x)
{
    const sasl_callback_t callbacks[] = {
        { SASL_CB_CANON_USER, PROC(on_canon_user), x },
        { SASL_CB_SERVER_USERDB_CHECKPASS, PROC(on_checkpass), x },
        { SASL_CB_PROXY_POLICY, PROC(on_authorize), x },
        { SASL_CB_LIST_END, NULL, NULL },
    };
    int code;

    _Static_assert(sizeof(callbacks) == sizeof(x->callbacks), "the library keeps a pointer to them");
    memcpy(x->callbacks, callbacks, sizeof(callbacks));
    /* A host name of its own would be looked up in the network; none of our mechanisms uses it. */
    code = sasl_server_new(x->peer.service, "localhost", NULL, NULL, NULL, x->callbacks, SASL_SUCCESS_DATA, &x->conn);
    if (code != SASL_OK || x->peer.tls_exporter.len == 0)
        return code;
    x->binding = (sasl_channel_binding_t){ .name = "tls-exporter",
                                           .len = x->peer.tls_exporter.len,
                                           .data = x->peer.tls_exporter.ptr };
    return sasl_setprop(x->conn, SASL_CHANNEL_BINDING, &x->binding);
}

int library_step(struct auth_exchange *x, const char **out, unsigned *out_len)
{
    slice in = secret_slice(&x->input);
    const char *ptr = in.len > 0 ? (const char *)in.ptr : "";
    int code;

    *out = NULL;
    *out_len = 0;
    if (x->conn != NULL)
        return sasl_server_step(x->conn, ptr, (unsigned)in.len, out, out_len);
    code = begin(x);
    if (code != SASL_OK)
        return code;
    return sasl_server_start(x->conn, arena_str(&x->mem, x->row->name), x->has_input ? ptr : NULL, (unsigned)in.len,
                             out, out_len);
}
