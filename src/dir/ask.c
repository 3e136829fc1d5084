#include "dir/internal.h"

#include "mail/idna.h"

/* RFC 5321 4.5.1, RFC 2142 1: these must reach somebody in every domain of ours. */
static const char *const always_reachable[] = { "postmaster", "abuse" };

struct question {
    struct dir_query *q;
    const struct dir_conf *conf;
    struct journal_view view;
    struct dir_name name;
};

/* The configured default domain or, without one, the first made; empty if there is none. */
static slice default_domain(struct question *x)
{
    struct domain_entry first;
    slice name;

    if (x->conf->default_domain.len > 0)
        return idna_to_ascii(x->conf->default_domain, x->q->mem, &name, NULL) < 0 ? SLICE_NONE : name;
    return domain_first(&x->view, &first) ? slice_dup(x->q->mem, first.name) : SLICE_NONE;
}

static void user_answer(struct question *x, const struct user_entry *e)
{
    struct dir_query *q = x->q;
    struct domain_entry domain;
    bool is_active = e->status == DIR_ACTIVE;

    q->user.id = e->id;
    q->user.address = dir_name_print(&e->name, q->mem);
    q->user.store_id = slice_eq(e->name.domain, default_domain(x)) ? slice_dup(q->mem, e->name.local) : q->user.address;
    q->user.quota_bytes = e->quota_bytes;
    q->user.status = e->status;
    q->user.name = slice_dup(q->mem, e->display);
    q->user.is_admin = e->is_admin;
    if (domain_find(&x->view, e->name.domain, &domain) && domain.status != DIR_ACTIVE) {
        q->user.status = is_active ? domain.status : e->status;
        is_active = false;
    }
    q->result = is_active ? DIR_USER : DIR_DISABLED;
    if (q->want_secrets && e->secrets.crypt.len > 0) {
        q->secrets = arena_alloc(q->mem, sizeof(*q->secrets));
        q->secrets->crypt = slice_dup(q->mem, e->secrets.crypt);
        q->secrets->scram_sha256 = slice_dup(q->mem, e->secrets.scram_sha256);
    }
}

/* What was stored is well-formed; a target that is not is left out rather than making the rest unreachable. */
static void alias_answer(struct question *x, const struct alias_entry *e)
{
    struct dir_query *q = x->q;
    struct reader r = reader_of(e->targets);

    q->result = DIR_ALIAS;
    q->target_count = 0;
    q->targets = e->count > 0 ? arena_alloc_array(q->mem, e->count, sizeof(q->targets[0])) : NULL;
    for (uint32_t i = 0; i < e->count; i++) {
        slice text = slice_dup(q->mem, read_lenstr(&r));

        if (address_parse(text, &q->targets[q->target_count], q->mem, NULL) == 0)
            q->target_count++;
    }
}

static bool answer_exact(struct question *x)
{
    struct user_entry user;
    struct alias_entry alias;
    enum address_kind kind;
    uint64_t id;

    if (!address_find(&x->view, &x->name, &kind, &id))
        return false;
    if (kind == ADDRESS_USER && user_get(&x->view, id, &user)) {
        user_answer(x, &user);
        return true;
    }
    if (kind == ADDRESS_ALIAS && !x->q->want_secrets && alias_get(&x->view, id, &alias)) {
        alias_answer(x, &alias);
        return true;
    }
    return false;
}

static bool answer_subaddress(struct question *x)
{
    slice whole = x->name.local, given = x->q->address.local, base;
    bool found = false;

    if (x->conf->subaddress.len != 1)
        return false;
    base = slice_cut(&whole, x->conf->subaddress.ptr[0], &found);
    if (!found || base.len == 0)
        return false;
    x->name.local = base;
    if (!answer_exact(x))
        return false;
    x->q->detail = slice_dup(x->q->mem, slice_from(given, base.len + 1)); /* folders have upper and lower case */
    return true;
}

/* The first active administrator, of the domain if there is one. */
static bool answer_administrator(struct question *x)
{
    struct journal_cursor c;
    struct user_entry user, best = { .id = 0 };
    bool is_ours = false, is_meant = false;
    slice key, value;

    for (size_t i = 0; i < ARRAY_LEN(always_reachable); i++)
        is_meant = is_meant || slice_eq(x->name.local, slice_str(always_reachable[i]));
    if (!is_meant)
        return false;
    journal_cursor_begin(&c, &x->view, TABLE_USER);
    while (!is_ours && journal_cursor_next(&c, &key, &value)) {
        if (key.len != 8 || !user_decode(value, &user) || !user.is_admin || user.status != DIR_ACTIVE)
            continue;
        is_ours = slice_eq(user.name.domain, x->name.domain);
        user.id = get_be64(key.ptr);
        if (best.id == 0 || is_ours)
            best = user;
    }
    journal_cursor_end(&c);
    if (best.id != 0)
        user_answer(x, &best);
    return best.id != 0;
}

static void answer(struct question *x)
{
    struct dir_query *q = x->q;
    struct domain_entry domain;

    q->result = DIR_NO_DOMAIN;
    if (q->address.domain.len == 0)
        x->name.domain = default_domain(x);
    else if (idna_to_ascii(q->address.domain, q->mem, &x->name.domain, NULL) < 0)
        return; /* literals, too */
    if (!domain_find(&x->view, x->name.domain, &domain))
        return;
    q->result = DIR_NO_USER;
    if (q->address.local.len == 0 || q->address.local.len > ADDRESS_LOCAL_MAX_OCTETS)
        return;
    x->name.local = dir_lower(q->address.local, q->mem);
    q->user.address = dir_name_print(&x->name, q->mem); /* also of somebody unknown: the name in normal form */
    if (answer_exact(x) || q->want_secrets)
        return;
    if (answer_subaddress(x))
        return;
    x->name.local = dir_lower(q->address.local, q->mem);
    (void)answer_administrator(x);
}

bool dir_ask(struct dir *d, const struct dir_conf *conf, struct dir_query *q)
{
    struct question x = { .q = q, .conf = conf };
    struct err err = ERR_INIT;

    q->user = (struct dir_user){ .id = 0 };
    q->targets = NULL;
    q->target_count = 0;
    q->detail = SLICE_NONE;
    q->secrets = NULL;
    q->result = DIR_TEMP;
    if (journal_read_begin(d->journal, &x.view, &err) < 0)
        return true;
    answer(&x);
    if (x.view.failed)
        q->result = DIR_TEMP;
    journal_read_end(&x.view);
    return true;
}

bool dir_domain_is_local(struct dir *d, slice domain)
{
    struct domain_entry e;
    struct journal_view v;
    struct arena mem;
    slice name;
    bool is_local = false;

    arena_init(&mem, 512);
    if (idna_to_ascii(domain, &mem, &name, NULL) == 0 && journal_read_begin(d->journal, &v, NULL) == 0) {
        is_local = domain_find(&v, name, &e);
        journal_read_end(&v);
    }
    arena_free(&mem);
    return is_local;
}

bool dir_server_secret(struct dir *d, unsigned char out[DIR_SERVER_SECRET_BYTES])
{
    struct journal_view v;
    struct journal_cursor c;
    slice value;
    bool found = false;

    if (journal_read_begin(d->journal, &v, NULL) < 0)
        return false;
    journal_cursor_begin(&c, &v, TABLE_SECRET);
    if (journal_cursor_next(&c, NULL, &value) && value.len == DIR_SERVER_SECRET_BYTES) {
        memcpy(out, value.ptr, DIR_SERVER_SECRET_BYTES);
        found = true;
    }
    journal_cursor_end(&c);
    journal_read_end(&v);
    return found;
}
