/* Methods about users, domains and aliases. A user's directory entry and account in the store are made together. */
#include "control/rpc_dir.h"

#include "auth/auth.h"
#include "base/mem.h"

#define ANSWER_ARENA_BYTES 1024
#define PASSWORD_OCTETS_MAX 1024

/* --- help for others ---------------------------------------------------------------------------------------------- */

/* The domain that a local part alone means, as for logins: the configured one, else the first made. Empty: there is
 * none yet. */
static slice default_domain(struct rpc_call *call, struct arena *mem)
{
    const struct dir_conf *conf = conf_section(call->conf, CONF_DIR);
    struct err err = ERR_INIT;
    json_t *domains;
    slice found = SLICE_NONE;

    if (conf->default_domain.len != 0)
        return slice_dup(mem, conf->default_domain);
    domains = dir_list_domains(call->env->site->dir, &err);
    for (size_t i = 0; i < json_array_size(domains); i++)
        if (json_get_bool(json_array_get(domains, i), "default", false))
            found = slice_dup(mem, json_get_str(json_array_get(domains, i), "domain"));
    json_decref(domains);
    return found;
}

/* The parameter "address" with its domain. */
static slice address_of(struct rpc_call *call, struct arena *mem)
{
    slice text = rpc_str(call, "address");
    slice domain;

    if (slice_find_byte(text, '@') >= 0)
        return slice_dup(mem, text);
    domain = default_domain(call, mem);
    return domain.len == 0 ? slice_dup(mem, text) : arena_printf(mem, "%.*s@%.*s", SLICE_ARG(text), SLICE_ARG(domain));
}

int rpc_user_find(struct rpc_call *call, struct arena *mem, struct dir_user *user, struct err *err)
{
    /* With secrets the question is about exactly this user: no subaddress, no one who gets postmaster's mail. */
    struct dir_query q = { .mem = mem, .want_secrets = true };
    slice address = address_of(call, mem);

    if (address_parse(address, &q.address, mem, err) < 0)
        return -1;
    /* The appliance's own directory answers at once; a directory server's users are not kept by these methods. */
    if (!dir_ask(call->env->site->dir, conf_section(call->conf, CONF_DIR), &q))
        return err_set(err, ERR_TEMP, "the directory does not answer at once");
    if (q.result == DIR_USER || q.result == DIR_DISABLED) {
        *user = q.user;
        return 0;
    }
    if (q.result == DIR_NO_DOMAIN) {
        rpc_hint(call, "'posthouse domain list' shows the domains there are");
        return err_set(err, ERR_NOTFOUND, "%.*s: no such domain here", SLICE_ARG(address));
    }
    rpc_hint(call, "'posthouse user list' shows the users there are");
    if (q.result == DIR_ALIAS)
        return err_set(err, ERR_NOTFOUND, "%.*s is an alias", SLICE_ARG(address));
    return err_set(err, q.result == DIR_TEMP ? ERR_TEMP : ERR_NOTFOUND, "%.*s: no such user", SLICE_ARG(address));
}

static int change(struct rpc_call *call, enum dir_change_kind kind, slice name, const json_t *fields,
                  const struct dir_secrets *secrets, struct err *err)
{
    struct dir_change c;

    dir_change_init(&c, call->env->site->dir, kind, name);
    c.fields = fields;
    c.secrets = secrets;
    if (dir_change_wait(&c, err) == 0)
        return 0;
    return err_prefix(err, "%.*s", SLICE_ARG(name));
}

static int quota_tell(struct rpc_call *call, const struct dir_user *user, struct err *err)
{
    struct site *site = call->env->site;
    struct store_request *r;
    struct journal_view v;
    uint64_t account = 0;
    int rc;

    if (journal_read_begin(site->journal, &v, err) < 0)
        return -1;
    if (!store_account_find(site->store, &v, user->id, &account))
        account = 0;
    journal_read_end(&v);
    if (account == 0)
        return 0; /* it is made with this quota at the first delivery or login */
    r = store_request_new(STORE_QUOTA_SET);
    r->account = account;
    r->quota_bytes = user->quota_bytes;
    r->lane = LANE_ACCESS;
    rc = store_request_wait(site->store, r, err);
    store_request_destroy(&r);
    return rc;
}

static int account_request(struct rpc_call *call, enum store_what what, const struct dir_user *user, struct err *err)
{
    struct store_request *r = store_request_new(what);
    int rc;

    r->owner = user->id;
    r->owner_name = slice_dup(&r->mem, user->store_id);
    r->quota_bytes = user->quota_bytes;
    r->lane = LANE_ACCESS;
    rc = store_request_wait(call->env->site->store, r, err);
    store_request_destroy(&r);
    return rc;
}

/* Parameters that the directory keeps, as it names them. */
static json_t *fields_of(const struct rpc_call *call)
{
    static const char *const names[] = { "name", "quota", "admin", "status" };
    json_t *fields = json_object();

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        json_t *v = json_object_get(call->params, names[i]);

        if (v != NULL)
            json_object_set(fields, names[i], v);
    }
    return fields;
}

/* 1: there is a password, secrets are made; 0: none was given; -1. */
static int secrets_of(struct rpc_call *call, struct arena *mem, struct dir_secrets *out, struct err *err)
{
    const struct auth_conf *conf = conf_section(call->conf, CONF_AUTH);
    slice password = rpc_str(call, "password");

    if (json_object_get(call->params, "password") == NULL)
        return 0;
    if (password.len == 0)
        return err_set(err, ERR_SYNTAX, "the password is empty");
    if (password.len > PASSWORD_OCTETS_MAX)
        return err_set(err, ERR_SYNTAX, "the password is longer than %d octets", PASSWORD_OCTETS_MAX);
    return auth_secrets_make(password, conf->scram_iterations, mem, out, err) < 0 ? -1 : 1;
}

static json_t *user_object(const struct dir_user *u)
{
    json_t *o = json_object();

    json_object_set_new(o, "address", json_from_slice(u->address));
    json_object_set_new(o, "name", json_from_slice(u->name));
    json_object_set_new(o, "status", json_string(dir_status_names[u->status]));
    json_object_set_new(o, "quota", json_integer((json_int_t)u->quota_bytes));
    json_object_set_new(o, "admin", json_boolean(u->is_admin));
    json_object_set_new(o, "store_id", json_from_slice(u->store_id));
    return o;
}

/* --- users -------------------------------------------------------------------------------------------------------- */

int rpc_user_add(struct rpc_call *call, struct err *err)
{
    struct arena mem;
    struct dir_secrets secrets;
    struct dir_user user = { .id = 0 };
    json_t *fields = fields_of(call);
    int has_secrets, rc = -1;

    arena_init(&mem, ANSWER_ARENA_BYTES);
    if ((has_secrets = secrets_of(call, &mem, &secrets, err)) < 0)
        goto out;
    if (change(call, DIR_USER_ADD, address_of(call, &mem), fields, has_secrets ? &secrets : NULL, err) < 0) {
        if (err->kind == ERR_NOTFOUND)
            rpc_hint(call, "make the domain first: posthouse domain add DOMAIN");
        if (err->kind == ERR_EXISTS)
            rpc_hint(call, "change what exists with 'posthouse user set' or 'posthouse user passwd'");
        goto out;
    }
    if (rpc_user_find(call, &mem, &user, err) < 0 || account_request(call, STORE_ACCOUNT_ENSURE, &user, err) < 0)
        goto out;
    call->result = user_object(&user);
    rc = 0;
out:
    json_decref(fields);
    arena_free(&mem);
    return rc;
}

int rpc_user_list(struct rpc_call *call, struct err *err)
{
    call->result = dir_list_users(call->env->site->dir, rpc_str(call, "domain"), err);
    return call->result == NULL ? -1 : 0;
}

int rpc_user_show(struct rpc_call *call, struct err *err)
{
    struct arena mem;
    struct dir_user user = { .id = 0 };
    int rc;

    arena_init(&mem, ANSWER_ARENA_BYTES);
    if ((rc = rpc_user_find(call, &mem, &user, err)) == 0)
        call->result = user_object(&user);
    arena_free(&mem);
    return rc;
}

int rpc_user_set(struct rpc_call *call, struct err *err)
{
    struct arena mem;
    struct dir_secrets secrets;
    struct dir_user user = { .id = 0 };
    json_t *fields = fields_of(call);
    int has_secrets, rc = -1;

    arena_init(&mem, ANSWER_ARENA_BYTES);
    if ((has_secrets = secrets_of(call, &mem, &secrets, err)) < 0 || rpc_user_find(call, &mem, &user, err) < 0 ||
        change(call, DIR_USER_SET, user.address, fields, has_secrets ? &secrets : NULL, err) < 0 ||
        rpc_user_find(call, &mem, &user, err) < 0)
        goto out;
    if (json_object_get(fields, "quota") != NULL && quota_tell(call, &user, err) < 0)
        goto out;
    call->result = user_object(&user);
    rc = 0;
out:
    json_decref(fields);
    arena_free(&mem);
    return rc;
}

int rpc_user_passwd(struct rpc_call *call, struct err *err)
{
    return rpc_user_set(call, err);
}

int rpc_user_delete(struct rpc_call *call, struct err *err)
{
    struct arena mem;
    struct dir_user user = { .id = 0 };
    int rc = -1;

    arena_init(&mem, ANSWER_ARENA_BYTES);
    if (rpc_user_find(call, &mem, &user, err) == 0 && change(call, DIR_USER_DEL, user.address, NULL, NULL, err) == 0)
        rc = account_request(call, STORE_ACCOUNT_DELETE, &user, err);
    if (rc == 0)
        call->result = json_pack("{s:o}", "deleted", json_from_slice(user.address));
    arena_free(&mem);
    return rc;
}

/* --- domains ------------------------------------------------------------------------------------------------------ */

int rpc_domain_add(struct rpc_call *call, struct err *err)
{
    if (change(call, DIR_DOMAIN_ADD, rpc_str(call, "domain"), NULL, NULL, err) < 0)
        return -1;
    call->result = json_pack("{s:o}", "domain", json_from_slice(rpc_str(call, "domain")));
    return 0;
}

int rpc_domain_list(struct rpc_call *call, struct err *err)
{
    call->result = dir_list_domains(call->env->site->dir, err);
    return call->result == NULL ? -1 : 0;
}

int rpc_domain_delete(struct rpc_call *call, struct err *err)
{
    if (change(call, DIR_DOMAIN_DEL, rpc_str(call, "domain"), NULL, NULL, err) < 0) {
        if (err->kind == ERR_CONFLICT)
            rpc_hint(call, "delete its users and aliases first: posthouse user list DOMAIN, posthouse alias list");
        return -1;
    }
    call->result = json_pack("{s:o}", "deleted", json_from_slice(rpc_str(call, "domain")));
    return 0;
}

/* --- aliases ------------------------------------------------------------------------------------------------------ */

int rpc_alias_set(struct rpc_call *call, struct err *err)
{
    struct arena mem;
    json_t *fields = json_pack("{s:O}", "targets", json_object_get(call->params, "target"));
    slice address;
    int rc;

    arena_init(&mem, ANSWER_ARENA_BYTES);
    address = address_of(call, &mem);
    rc = change(call, DIR_ALIAS_SET, address, fields, NULL, err);
    if (rc == 0)
        call->result = json_pack("{s:o, s:O}", "address", json_from_slice(address), "targets",
                                 json_object_get(fields, "targets"));
    arena_free(&mem);
    json_decref(fields);
    return rc;
}

int rpc_alias_list(struct rpc_call *call, struct err *err)
{
    call->result = dir_list_aliases(call->env->site->dir, err);
    return call->result == NULL ? -1 : 0;
}

int rpc_alias_delete(struct rpc_call *call, struct err *err)
{
    struct arena mem;
    slice address;
    int rc;

    arena_init(&mem, ANSWER_ARENA_BYTES);
    address = address_of(call, &mem);
    rc = change(call, DIR_ALIAS_DEL, address, NULL, NULL, err);
    if (rc == 0)
        call->result = json_pack("{s:o}", "deleted", json_from_slice(address));
    arena_free(&mem);
    return rc;
}
