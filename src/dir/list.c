#include "dir/internal.h"

#include "mail/idna.h"

/* One listing: a table is walked in slices, so that no read transaction is long; a row that changes meanwhile is shown
 * as it was before or after. */
struct listing {
    struct dir *dir;
    unsigned table;
    slice prefix;                                             /* only keys that begin so */
    void (*row)(struct listing *l, struct journal_view *v, slice key, slice value);
    json_t *out;
    uint64_t first_domain;
};

static int walk(struct listing *l, struct err *err)
{
    struct journal_cursor c;
    struct journal_view v;
    struct buf from = BUF_INIT;
    slice key, value;
    bool more = true;
    int rc = 0;

    buf_put_slice(&from, l->prefix);
    while (more && rc == 0) {
        if (journal_read_begin(l->dir->journal, &v, err) < 0) {
            rc = -1;
            break;
        }
        journal_cursor_begin(&c, &v, l->table);
        more = from.len > 0 ? journal_cursor_seek(&c, buf_slice(&from), &key, &value)
                            : journal_cursor_next(&c, &key, &value);
        for (unsigned i = 0; more && i < LIST_SLICE; i++) {
            more = slice_starts(key, l->prefix);
            if (!more)
                break;
            l->row(l, &v, key, value);
            more = journal_cursor_next(&c, &key, &value);
        }
        buf_reset(&from);
        if (more)
            buf_put_slice(&from, key);
        journal_cursor_end(&c);
        if (v.failed)
            rc = err_set(err, ERR_TEMP, "the index cannot be read");
        journal_read_end(&v);
    }
    buf_free(&from);
    return rc;
}

static OWNED json_t *list(struct listing *l, struct err *err)
{
    l->out = json_array();
    if (walk(l, err) < 0) {
        json_decref(l->out);
        return NULL;
    }
    return l->out;
}

static OWNED json_t *name_json(const struct dir_name *n)
{
    struct address a = { n->local, n->domain };
    struct buf text = BUF_INIT;
    json_t *out;

    address_print(&a, &text);
    out = json_from_slice(buf_slice(&text));
    buf_free(&text);
    return out;
}

/* Rows of TABLE_ADDRESS come in order of domain and name, users and aliases mixed. */
static bool address_row(slice value, enum address_kind want, uint64_t *id)
{
    if (value.len != 9 || value.ptr[0] != want)
        return false;
    *id = get_le64(value.ptr + 1);
    return true;
}

static void user_row(struct listing *l, struct journal_view *v, slice key UNUSED, slice value)
{
    struct user_entry e;
    json_t *o;
    uint64_t id;

    if (!address_row(value, ADDRESS_USER, &id) || !user_get(v, id, &e))
        return;
    o = json_object();
    json_object_set_new(o, "address", name_json(&e.name));
    json_object_set_new(o, "name", json_from_slice(e.display));
    json_object_set_new(o, "quota", json_integer((json_int_t)e.quota_bytes));
    json_object_set_new(o, "status", json_string(dir_status_names[e.status]));
    json_object_set_new(o, "admin", json_boolean(e.is_admin));
    json_object_set_new(o, "has_password", json_boolean(e.secrets.crypt.len > 0));
    json_object_set_new(o, "id", json_integer((json_int_t)e.id));
    json_array_append_new(l->out, o);
}

static void alias_row(struct listing *l, struct journal_view *v, slice key UNUSED, slice value)
{
    struct alias_entry e;
    struct reader r;
    json_t *o, *targets;
    uint64_t id;

    if (!address_row(value, ADDRESS_ALIAS, &id) || !alias_get(v, id, &e))
        return;
    o = json_object();
    targets = json_array();
    r = reader_of(e.targets);
    for (uint32_t i = 0; i < e.count; i++)
        json_array_append_new(targets, json_from_slice(read_lenstr(&r)));
    json_object_set_new(o, "alias", name_json(&e.name));
    json_object_set_new(o, "targets", targets);
    json_object_set_new(o, "id", json_integer((json_int_t)e.id));
    json_array_append_new(l->out, o);
}

static void domain_row(struct listing *l, struct journal_view *v, slice key, slice value)
{
    struct domain_entry e;
    json_t *o;

    if (value.len != 8 || !domain_find(v, key, &e))
        return;
    o = json_object();
    json_object_set_new(o, "domain", json_from_slice(e.name));
    json_object_set_new(o, "default", json_boolean(e.id == l->first_domain));
    json_object_set_new(o, "id", json_integer((json_int_t)e.id));
    json_array_append_new(l->out, o);
}

static void count_row(struct listing *l, struct journal_view *v UNUSED, slice key UNUSED, slice value)
{
    const char *what = value.len == 9 && value.ptr[0] == ADDRESS_USER ? "users" : "aliases";

    json_object_set_new(l->out, what, json_integer(json_get_int(l->out, what, 0) + 1));
}

OWNED json_t *dir_list_users(struct dir *d, slice domain, struct err *err)
{
    struct listing l = { .dir = d, .table = TABLE_ADDRESS, .row = user_row };
    struct address_key k;
    struct arena mem;
    json_t *out = NULL;
    slice name;

    arena_init(&mem, 512);
    if (domain.len == 0) {
        out = list(&l, err);
    } else if (idna_to_ascii(domain, &mem, &name, err) == 0) {
        if (dir_domain_is_local(d, name)) {
            l.prefix = address_prefix(&k, name);
            out = list(&l, err);
        } else {
            err_set(err, ERR_NOTFOUND, "there is no domain %.*s", SLICE_ARG(name));
        }
    }
    arena_free(&mem);
    return out;
}

OWNED json_t *dir_list_aliases(struct dir *d, struct err *err)
{
    struct listing l = { .dir = d, .table = TABLE_ADDRESS, .row = alias_row };

    return list(&l, err);
}

OWNED json_t *dir_list_domains(struct dir *d, struct err *err)
{
    struct listing l = { .dir = d, .table = TABLE_DOMAIN_NAME, .row = domain_row };
    struct listing count = { .dir = d, .table = TABLE_ADDRESS, .row = count_row };
    struct domain_entry first = { .id = 0 };
    struct journal_view v;
    struct address_key k;
    json_t *out, *o;
    size_t i;

    if (journal_read_begin(d->journal, &v, err) < 0)
        return NULL;
    l.first_domain = domain_first(&v, &first) ? first.id : 0;
    journal_read_end(&v);
    out = list(&l, err);
    json_array_foreach(out, i, o)
    {
        json_object_set_new(o, "users", json_integer(0));
        json_object_set_new(o, "aliases", json_integer(0));
        count.out = o;
        count.prefix = address_prefix(&k, json_get_str(o, "domain"));
        if (walk(&count, err) < 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}
