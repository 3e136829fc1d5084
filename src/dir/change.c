#include "dir/internal.h"

#include "base/random.h"
#include "base/utf8.h"
#include "mail/idna.h"

#define USER_ID_MAX_OCTETS 127      /* STO-004 */
#define RECORD_ESTIMATE_BYTES 2048u /* of a change but for an alias's targets */

struct change { /* one run of an operation */
    struct journal_tx *tx;
    struct journal_view *view;
    struct dir_change *c;
    struct arena mem;
    struct dir_name name;
    struct domain_entry domain; /* of the name */
    struct buf payload;
};

/* --- names -------------------------------------------------------------------------------------------------------- */

/* The address of a change, with its domain, which must be ours. */
static int address_read(struct change *x, struct err *err)
{
    struct domain_entry first;

    if (dir_name_parse(x->c->name, &x->mem, &x->name, err) < 0)
        return -1;
    if (x->name.domain.len == 0) {
        if (!domain_first(x->view, &first))
            return err_set(err, ERR_NOTFOUND, "there is no domain yet; add one first: posthouse domain add NAME");
        x->name.domain = slice_dup(&x->mem, first.name);
    }
    if (!domain_find(x->view, x->name.domain, &x->domain))
        return err_set(err, ERR_NOTFOUND, "%.*s is no domain of this server; add it first: posthouse domain add %.*s",
                       SLICE_ARG(x->name.domain), SLICE_ARG(x->name.domain));
    return 0;
}

static int no_such(const struct change *x, const char *what, struct err *err)
{
    return err_set(err, ERR_NOTFOUND, "there is no %s %.*s@%.*s", what, SLICE_ARG(x->name.local),
                   SLICE_ARG(x->name.domain));
}

static int is_taken(const struct change *x, enum address_kind kind, struct err *err)
{
    return err_set(err, ERR_EXISTS, "there is already %s %.*s@%.*s", kind == ADDRESS_USER ? "a user" : "an alias",
                   SLICE_ARG(x->name.local), SLICE_ARG(x->name.domain));
}

/* --- domains ------------------------------------------------------------------------------------------------------ */

static int domain_add(struct change *x, struct err *err)
{
    struct domain_entry e = { .status = DIR_ACTIVE };
    unsigned char secret[DIR_SERVER_SECRET_BYTES];

    if (idna_to_ascii(x->c->name, &x->mem, &e.name, err) < 0)
        return -1;
    if (domain_find(x->view, e.name, &x->domain))
        return err_set(err, ERR_EXISTS, "the domain %.*s is already there", SLICE_ARG(e.name));
    domain_encode(&x->payload, &e);
    x->c->id = journal_emit(x->tx, REC_DOMAIN, 0, 0, RECORD_IMAGE, buf_slice(&x->payload));
    if (journal_table_count(x->view, TABLE_SECRET) == 0) {
        random_octets(secret, sizeof(secret));
        journal_emit(x->tx, REC_SECRET, 0, 0, RECORD_IMAGE, slice_of(secret, sizeof(secret)));
    }
    return 0;
}

static int domain_del(struct change *x, struct err *err)
{
    struct address_key prefix;
    struct journal_cursor c;
    slice name, want, key;
    bool in_use;

    if (idna_to_ascii(x->c->name, &x->mem, &name, err) < 0)
        return -1;
    if (!domain_find(x->view, name, &x->domain))
        return err_set(err, ERR_NOTFOUND, "there is no domain %.*s", SLICE_ARG(name));
    want = address_prefix(&prefix, name);
    journal_cursor_begin(&c, x->view, TABLE_ADDRESS);
    in_use = journal_cursor_seek(&c, want, &key, NULL) && slice_starts(key, want);
    journal_cursor_end(&c);
    if (in_use)
        return err_set(err, ERR_CONFLICT, "%.*s still has users or aliases; delete them first", SLICE_ARG(name));
    x->c->id = x->domain.id;
    journal_emit(x->tx, REC_DOMAIN_DEL, x->domain.id, 0, RECORD_END, SLICE_NONE);
    return 0;
}

/* --- users -------------------------------------------------------------------------------------------------------- */

static int display_read(const json_t *value, slice *out, struct err *err)
{
    slice text = json_str(value);

    if (!json_is_string(value) || text.len > DIR_NAME_MAX_OCTETS)
        return err_set(err, ERR_SYNTAX, "name: text of at most %d octets expected", DIR_NAME_MAX_OCTETS);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
            return err_set(err, ERR_SYNTAX, "name: a control character");
    }
    *out = text;
    return 0;
}

static int status_read(const json_t *value, enum dir_status *out, struct err *err)
{
    static const enum dir_status may_be[] = { DIR_ACTIVE, DIR_INACTIVE, DIR_ON_HOLD };

    for (size_t i = 0; i < ARRAY_LEN(may_be); i++)
        if (slice_eq(json_str(value), slice_str(dir_status_names[may_be[i]]))) {
            *out = may_be[i];
            return 0;
        }
    return err_set(err, ERR_SYNTAX, "status: \"active\", \"inactive\" or \"hold\" expected");
}

static int user_field_read(const char *key, const json_t *value, struct user_entry *e, struct err *err)
{
    if (strcmp(key, "name") == 0)
        return display_read(value, &e->display, err);
    if (strcmp(key, "status") == 0)
        return status_read(value, &e->status, err);
    if (strcmp(key, "quota") == 0) {
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return err_set(err, ERR_SYNTAX, "quota: a number of octets expected, 0 for none");
        e->quota_bytes = (uint64_t)json_integer_value(value);
        return 0;
    }
    if (strcmp(key, "admin") == 0) {
        if (!json_is_boolean(value))
            return err_set(err, ERR_SYNTAX, "admin: true or false expected");
        e->is_admin = json_is_true(value);
        return 0;
    }
    return err_set(err, ERR_SYNTAX, "\"%.40s\" is no property of a user; there are name, quota, status, admin", key);
}

static int user_fields_read(const struct dir_change *c, struct user_entry *e, struct err *err)
{
    const char *key;
    json_t *value;

    if (c->fields != NULL && !json_is_object(c->fields))
        return err_set(err, ERR_SYNTAX, "the properties of a user are an object");
    json_object_foreach((json_t *)(uintptr_t)c->fields, key, value)
    {
        if (user_field_read(key, value, e, err) < 0)
            return -1;
    }
    if (c->secrets != NULL)
        e->secrets = *c->secrets;
    return 0;
}

static int user_add(struct change *x, struct err *err)
{
    struct user_entry e = { .status = DIR_ACTIVE };
    enum address_kind kind;
    uint64_t id;

    if (address_read(x, err) < 0 || dir_user_name_check(x->name.local, err) < 0)
        return -1;
    if (x->name.local.len + 1 + x->name.domain.len > USER_ID_MAX_OCTETS)
        return err_set(err, ERR_SYNTAX, "a user's address has at most %d octets", USER_ID_MAX_OCTETS);
    if (address_find(x->view, &x->name, &kind, &id))
        return is_taken(x, kind, err);
    e.name = x->name;
    if (user_fields_read(x->c, &e, err) < 0)
        return -1;
    user_encode(&x->payload, &e);
    x->c->id = journal_emit(x->tx, REC_USER, 0, 0, RECORD_IMAGE, buf_slice(&x->payload));
    return 0;
}

static int user_set(struct change *x, struct err *err)
{
    struct user_entry e;
    enum address_kind kind;
    uint64_t id;

    if (address_read(x, err) < 0)
        return -1;
    if (!address_find(x->view, &x->name, &kind, &id) || kind != ADDRESS_USER || !user_get(x->view, id, &e))
        return no_such(x, "user", err);
    if (user_fields_read(x->c, &e, err) < 0)
        return -1;
    user_encode(&x->payload, &e);
    x->c->id = id;
    journal_emit(x->tx, REC_USER, id, 0, RECORD_IMAGE, buf_slice(&x->payload));
    return 0;
}

static int user_del(struct change *x, struct err *err)
{
    enum address_kind kind;
    uint64_t id;

    if (address_read(x, err) < 0)
        return -1;
    if (!address_find(x->view, &x->name, &kind, &id) || kind != ADDRESS_USER)
        return no_such(x, "user", err);
    x->c->id = id;
    journal_emit(x->tx, REC_USER_DEL, id, 0, RECORD_END, SLICE_NONE);
    return 0;
}

/* --- aliases ------------------------------------------------------------------------------------------------------ */

static int target_read(struct change *x, const json_t *value, slice *out, struct err *err)
{
    struct dir_name target;
    struct address a;

    if (!json_is_string(value))
        return err_set(err, ERR_SYNTAX, "targets: addresses expected");
    if (address_parse(json_str(value), &a, &x->mem, err) < 0)
        return err_prefix(err, "targets: \"%.*s\"", SLICE_ARG(slice_sub(json_str(value), 0, 80)));
    target.local = a.local; /* of a stranger: it keeps its case */
    if (idna_to_ascii(a.domain, &x->mem, &target.domain, err) < 0)
        return -1;
    if (slice_eq_nocase(target.local, x->name.local) && slice_eq(target.domain, x->name.domain))
        return err_set(err, ERR_SYNTAX, "targets: an alias cannot lead to itself");
    *out = dir_name_print(&target, &x->mem);
    return 0;
}

static int targets_read(struct change *x, struct buf *out, uint32_t *count, struct err *err)
{
    const json_t *list = json_object_get(x->c->fields, "targets");
    size_t n = json_array_size(list);
    slice target = SLICE_NONE;

    if (json_object_size(x->c->fields) != 1 || n == 0)
        return err_set(err, ERR_SYNTAX, "targets: a list of at least one address expected, and nothing else");
    if (n > DIR_ALIAS_TARGETS_MAX)
        return err_set(err, ERR_LIMIT, "targets: at most %d", DIR_ALIAS_TARGETS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (target_read(x, json_array_get(list, i), &target, err) < 0)
            return -1;
        buf_put_lenstr(out, target);
    }
    *count = (uint32_t)n;
    return 0;
}

static int alias_set(struct change *x, struct err *err)
{
    struct alias_entry e = { .id = 0 };
    struct buf targets = BUF_INIT;
    enum address_kind kind;
    uint64_t id = 0;
    int rc = -1;

    if (address_read(x, err) < 0 || dir_alias_name_check(x->name.local, err) < 0)
        goto out;
    if (address_find(x->view, &x->name, &kind, &id) && kind != ADDRESS_ALIAS) {
        (void)is_taken(x, kind, err);
        goto out;
    }
    if (targets_read(x, &targets, &e.count, err) < 0)
        goto out;
    e.name = x->name;
    e.targets = buf_slice(&targets);
    alias_encode(&x->payload, &e);
    x->c->id = id;
    if (id == 0)
        x->c->id = journal_emit(x->tx, REC_ALIAS, 0, 0, RECORD_IMAGE, buf_slice(&x->payload));
    else
        journal_emit(x->tx, REC_ALIAS, id, 0, RECORD_IMAGE, buf_slice(&x->payload));
    rc = 0;
out:
    buf_free(&targets);
    return rc;
}

static int alias_del(struct change *x, struct err *err)
{
    enum address_kind kind;
    uint64_t id;

    if (address_read(x, err) < 0)
        return -1;
    if (!address_find(x->view, &x->name, &kind, &id) || kind != ADDRESS_ALIAS)
        return no_such(x, "alias", err);
    x->c->id = id;
    journal_emit(x->tx, REC_ALIAS_DEL, id, 0, RECORD_END, SLICE_NONE);
    return 0;
}

/* --- operations --------------------------------------------------------------------------------------------------- */

static const struct change_row {
    int (*run)(struct change *x, struct err *err);
    uint8_t flags;
} change_rows[] = {
    [DIR_DOMAIN_ADD] = { domain_add, 0 },    [DIR_DOMAIN_DEL] = { domain_del, OP_FREES },
    [DIR_USER_ADD] = { user_add, 0 },        [DIR_USER_SET] = { user_set, 0 },
    [DIR_USER_DEL] = { user_del, OP_FREES }, [DIR_ALIAS_SET] = { alias_set, 0 },
    [DIR_ALIAS_DEL] = { alias_del, OP_FREES },
};

static int change_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct change x = { .tx = tx, .view = journal_tx_view(tx), .c = CONTAINER_OF(op, struct dir_change, op) };
    int rc;

    arena_init(&x.mem, 1024);
    rc = change_rows[x.c->kind].run(&x, err);
    buf_free(&x.payload);
    arena_free(&x.mem);
    return rc;
}

void dir_change_init(struct dir_change *c, struct dir *d, enum dir_change_kind kind, slice name)
{
    memset(c, 0, sizeof(*c));
    c->kind = kind;
    c->dir = d;
    c->name = name;
    c->op.run = change_run;
    c->op.cost = 1;
    c->op.bytes = RECORD_ESTIMATE_BYTES;
    if (kind == DIR_ALIAS_SET)
        c->op.bytes += DIR_ALIAS_TARGETS_MAX * ADDRESS_KEY_MAX_OCTETS;
    c->op.lane = LANE_ACCESS;
    c->op.flags = change_rows[kind].flags;
}

int dir_change_wait(struct dir_change *c, struct err *err)
{
    return journal_run(c->dir->journal, &c->op, err);
}
