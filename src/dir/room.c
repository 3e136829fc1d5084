#include "dir/internal.h"

#include "base/mem.h"

/* --- configuration ------------------------------------------------------------------------------------------------ */

static const struct key_row rows[] = {
    { .name = "default_domain",
      .type = KEY_STR,
      .offset = offsetof(struct dir_conf, default_domain),
      .max = ADDRESS_DOMAIN_MAX_OCTETS,
      .unit = UNIT_NONE,
      .reload = RELOAD_SESSION,
      .legacy = "defaultdomain",
      .text = "Users of this domain log in by their name alone. When empty, the domain that was added first." },
    { .name = "subaddress",
      .type = KEY_STR,
      .offset = offsetof(struct dir_conf, subaddress),
      .def_text = "+",
      .max = 1,
      .unit = UNIT_NONE,
      .reload = RELOAD_SESSION,
      .text = "The character that separates a user's name from a detail of their own: mail to user+detail reaches user."
              " Empty: there are no details." },
};
const struct key_table dir_keys = {
    .section = "dir",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct dir_conf),
    .text = "Domains, users and aliases.",
};

/* --- watching ----------------------------------------------------------------------------------------------------- */

/* Replay tells nobody: who watches reads the present state when it opens. */
static void event_stage(struct journal_tx *tx, struct dir *d, const struct user_entry *e, enum dir_status status,
                        bool is_password_new)
{
    struct dir_user_change *event;
    struct buf address = BUF_INIT;
    struct address a = { e->name.local, e->name.domain };

    if (journal_tx_is_replay(tx) || atomic_load(&d->watcher_count) == 0)
        return;
    if (d->event_count == d->event_cap) {
        d->event_cap = d->event_cap * 2 + 16;
        d->events = mem_realloc(d->events, d->event_cap * sizeof(d->events[0]));
    }
    address_print(&a, &address);
    event = &d->events[d->event_count++];
    event->id = e->id;
    event->status = status;
    event->is_password_new = is_password_new;
    event->address = slice_of(address.ptr, address.len); /* its memory goes along */
}

static void events_drop(struct dir *d)
{
    while (d->event_count > 0) {
        struct buf address = BUF_INIT;

        address.ptr = (unsigned char *)(uintptr_t)d->events[--d->event_count].address.ptr;
        buf_free(&address);
    }
}

static void on_committed(void *room)
{
    struct dir *d = room;
    unsigned watchers = atomic_load(&d->watcher_count);

    for (unsigned i = 0; i < d->event_count; i++) {
        for (unsigned k = 0; k < watchers; k++)
            d->watchers[k].fn(d->watchers[k].arg, &d->events[i]);
    }
    events_drop(d);
}

static void on_aborted(void *room)
{
    events_drop(room);
}

void dir_watch(struct dir *d, dir_watch_fn *fn, void *arg)
{
    unsigned at;

    pthread_mutex_lock(&d->lock);
    at = atomic_load(&d->watcher_count);
    ASSERT(at < DIR_WATCHERS_MAX);
    d->watchers[at] = (struct dir_watcher){ fn, arg };
    atomic_store(&d->watcher_count, at + 1);
    pthread_mutex_unlock(&d->lock);
}

/* --- apply -------------------------------------------------------------------------------------------------------- */

static int undecodable(const struct record *r, struct err *err)
{
    return err_set(err, ERR_DAMAGE, "record %llu of type %x does not decode", (unsigned long long)r->seq, r->type);
}

static void address_put(struct journal_view *v, const struct dir_name *n, enum address_kind kind, uint64_t id)
{
    struct address_key k;
    unsigned char value[9];

    value[0] = (unsigned char)kind;
    put_le64(value + 1, id);
    journal_put(v, TABLE_ADDRESS, address_key(&k, n), slice_of(value, sizeof(value)));
}

/* Only if it is this object's: after damage another may have taken the name. */
static void address_del(struct journal_view *v, const struct dir_name *n, uint64_t id)
{
    struct address_key k;
    enum address_kind kind;
    uint64_t found;

    if (address_find(v, n, &kind, &found) && found == id)
        journal_del(v, TABLE_ADDRESS, address_key(&k, n));
}

static int apply_domain(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct domain_entry e;
    unsigned char id[8];

    if (!domain_decode(r->payload, &e))
        return undecodable(r, err);
    put_le64(id, r->object);
    journal_put_u64(v, TABLE_DOMAIN, r->object, r->payload);
    journal_put(v, TABLE_DOMAIN_NAME, e.name, slice_of(id, sizeof(id)));
    return 0;
}

static int apply_domain_del(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err UNUSED)
{
    struct journal_view *v = journal_tx_view(tx);
    struct domain_entry e;
    slice value, found;

    if (!journal_get_u64(v, TABLE_DOMAIN, r->object, &value))
        return 0;
    if (domain_decode(value, &e) && journal_get(v, TABLE_DOMAIN_NAME, e.name, &found) && found.len == 8 &&
        get_le64(found.ptr) == r->object)
        journal_del(v, TABLE_DOMAIN_NAME, e.name);
    journal_del_u64(v, TABLE_DOMAIN, r->object);
    return 0;
}

static int apply_user(struct journal_tx *tx, void *room, const struct record *r, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct user_entry e = { .id = r->object }, before;
    bool is_password_new;

    if (!user_decode(r->payload, &e))
        return undecodable(r, err);
    is_password_new = user_get(v, r->object, &before) && !slice_eq(before.secrets.crypt, e.secrets.crypt);
    journal_put_u64(v, TABLE_USER, r->object, r->payload);
    address_put(v, &e.name, ADDRESS_USER, r->object);
    event_stage(tx, room, &e, e.status, is_password_new);
    return 0;
}

static int apply_user_del(struct journal_tx *tx, void *room, const struct record *r, struct err *err UNUSED)
{
    struct journal_view *v = journal_tx_view(tx);
    struct user_entry e;

    if (user_get(v, r->object, &e)) {
        event_stage(tx, room, &e, DIR_DELETED, false);
        address_del(v, &e.name, r->object);
    }
    journal_del_u64(v, TABLE_USER, r->object);
    return 0;
}

static int apply_alias(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct alias_entry e;

    if (!alias_decode(r->payload, &e))
        return undecodable(r, err);
    journal_put_u64(v, TABLE_ALIAS, r->object, r->payload);
    address_put(v, &e.name, ADDRESS_ALIAS, r->object);
    return 0;
}

static int apply_alias_del(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err UNUSED)
{
    struct journal_view *v = journal_tx_view(tx);
    struct alias_entry e;

    if (alias_get(v, r->object, &e))
        address_del(v, &e.name, r->object);
    journal_del_u64(v, TABLE_ALIAS, r->object);
    return 0;
}

static int apply_secret(struct journal_tx *tx, void *room UNUSED, const struct record *r, struct err *err)
{
    if (r->payload.len != DIR_SERVER_SECRET_BYTES)
        return undecodable(r, err);
    journal_put_u64(journal_tx_view(tx), TABLE_SECRET, r->object, r->payload);
    return 0;
}

/* --- images and dumps --------------------------------------------------------------------------------------------- */

/* Every record is the whole object, so its image is the octets in the table once more. */
static int image_of(struct journal_tx *tx, uint16_t type, unsigned table, uint64_t object)
{
    struct buf copy = BUF_INIT;
    slice found;

    if (journal_get_u64(journal_tx_view(tx), table, object, &found)) {
        buf_put_slice(&copy, found); /* apply writes the table it points into */
        journal_emit(tx, type, object, 0, RECORD_IMAGE, buf_slice(&copy));
    }
    buf_free(&copy);
    return 0;
}

static int image_domain(struct journal_tx *tx, void *room UNUSED, uint64_t object, uint32_t part UNUSED,
                        struct err *err UNUSED)
{
    return image_of(tx, REC_DOMAIN, TABLE_DOMAIN, object);
}

static int image_user(struct journal_tx *tx, void *room UNUSED, uint64_t object, uint32_t part UNUSED,
                      struct err *err UNUSED)
{
    return image_of(tx, REC_USER, TABLE_USER, object);
}

static int image_alias(struct journal_tx *tx, void *room UNUSED, uint64_t object, uint32_t part UNUSED,
                       struct err *err UNUSED)
{
    return image_of(tx, REC_ALIAS, TABLE_ALIAS, object);
}

static int image_secret(struct journal_tx *tx, void *room UNUSED, uint64_t object, uint32_t part UNUSED,
                        struct err *err UNUSED)
{
    return image_of(tx, REC_SECRET, TABLE_SECRET, object);
}

static void dump_domain(const struct record *r, struct buf *out)
{
    struct domain_entry e;

    if (domain_decode(r->payload, &e))
        buf_put_slice(out, e.name);
}

static void dump_user(const struct record *r, struct buf *out)
{
    struct user_entry e;

    if (user_decode(r->payload, &e)) /* no verifiers: a dump may be shown around */
        buf_printf(out, "%.*s@%.*s%s%s", SLICE_ARG(e.name.local), SLICE_ARG(e.name.domain),
                   e.status == DIR_ACTIVE    ? ""
                   : e.status == DIR_ON_HOLD ? ", on hold"
                                             : ", inactive", e.is_admin ? ", administrator" : "");
}

static void dump_alias(const struct record *r, struct buf *out)
{
    struct alias_entry e;

    if (alias_decode(r->payload, &e))
        buf_printf(out, "%.*s@%.*s, %u targets", SLICE_ARG(e.name.local), SLICE_ARG(e.name.domain), e.count);
}

static void dump_secret(const struct record *r UNUSED, struct buf *out)
{
    buf_put_str(out, "(secret)");
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static const struct journal_type types[] = {
    { REC_DOMAIN, 0, "domain", apply_domain, NULL, dump_domain, image_domain, NULL },
    { REC_USER, 0, "user", apply_user, NULL, dump_user, image_user, NULL },
    { REC_ALIAS, 0, "alias", apply_alias, NULL, dump_alias, image_alias, NULL },
    { REC_SECRET, 0, "server_secret", apply_secret, NULL, dump_secret, image_secret, NULL },
    { REC_DOMAIN_DEL, 0, "domain_del", apply_domain_del, NULL, NULL, NULL, NULL },
    { REC_USER_DEL, 0, "user_del", apply_user_del, NULL, NULL, NULL, NULL },
    { REC_ALIAS_DEL, 0, "alias_del", apply_alias_del, NULL, NULL, NULL, NULL },
};

static const struct journal_table tables[] = {
    { TABLE_DOMAIN, "dir.domain", 0 },           { TABLE_USER, "dir.user", 0 },
    { TABLE_ALIAS, "dir.alias", 0 },             { TABLE_DOMAIN_NAME, "dir.domain_name", 0 },
    { TABLE_ADDRESS, "dir.address", 0 },         { TABLE_SECRET, "dir.secret", 0 },
};

static void *state_new(void)
{
    struct dir *d = NULL;

    (void)dir_new(&d, NULL, NULL);
    return d;
}

static void state_destroy(void *state)
{
    struct dir *d = state;

    dir_destroy(&d);
}

int dir_new(struct dir **out, const struct clock *clock UNUSED, struct err *err UNUSED)
{
    struct dir *d = mem_alloc(sizeof(*d));

    pthread_mutex_init(&d->lock, NULL);
    d->room = (struct journal_room){
        .name = "dir",
        .types = types,
        .type_count = ARRAY_LEN(types),
        .tables = tables,
        .table_count = ARRAY_LEN(tables),
        .state = d,
        .committed = on_committed,
        .aborted = on_aborted,
        .state_new = state_new,
        .state_destroy = state_destroy,
    };
    *out = d;
    return 0;
}

const struct journal_room *dir_room(struct dir *d)
{
    return &d->room;
}

void dir_attach(struct dir *d, struct journal *j)
{
    d->journal = j;
}

void dir_destroy(struct dir **d)
{
    if (*d == NULL)
        return;
    events_drop(*d);
    mem_free((*d)->events);
    pthread_mutex_destroy(&(*d)->lock);
    mem_free(*d);
    *d = NULL;
}
