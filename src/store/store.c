/* store.c - the room: what it registers with the journal, its configuration, its life. */
#include "base/mem.h"
#include "store/apply.h"

#include "base/diag.h"

/* --- configuration ------------------------------------------------------------------------------------------- */

#define KEY_CONF struct store_conf
static const struct key_row key_rows[] = {
    STORE_KEYS(KEY_ROW)
    KEY_ROW(STRS, create, "Drafts|Sent|Trash|Junk|Archive", 0, 255, NONE, SESSION, NULL,
            "Mailboxes made with a new account, besides INBOX. Drafts, Sent, Trash, Junk and Archive get their special "
            "use (RFC 6154).")
};

const struct key_table store_keys = {
    .section = "store",
    .rows = key_rows,
    .count = ARRAY_LEN(key_rows),
    .struct_bytes = sizeof(struct store_conf),
    .text = "Mailboxes: their limits, quota, and what a new account begins with.",
};

static void limits_destroy(struct snap *snap)
{
    struct store_limits *l = (struct store_limits *)(void *)snap;

    arena_free(&l->mem);
    mem_free(l);
}

static OWNED struct store_limits *limits_new(const struct store_conf *conf)
{
    struct store_limits *l = mem_alloc(sizeof *l);
    slice *items;

    snap_init(&l->snap, limits_destroy);
    arena_init(&l->mem, 512);
    if (conf == NULL) {
        keys_default(&store_keys, &l->conf, &l->mem);
        return l;
    }
    l->conf = *conf;
    items = arena_alloc_array(&l->mem, conf->create.count + 1, sizeof *items);
    for (size_t i = 0; i < conf->create.count; i++)
        items[i] = slice_dup(&l->mem, conf->create.items[i]);
    l->conf.create.items = items;
    return l;
}

void store_configure(struct store *s, const struct store_conf *conf)
{
    struct store_limits *fresh = limits_new(conf), *old;

    pthread_mutex_lock(&s->lock);
    old = s->limits;
    s->limits = fresh;
    pthread_mutex_unlock(&s->lock);
    snap_unref(&old->snap);
}

OWNED struct store_limits *store_limits_ref(struct store *s)
{
    struct store_limits *l;

    pthread_mutex_lock(&s->lock);
    l = (struct store_limits *)(void *)snap_ref(&s->limits->snap);
    pthread_mutex_unlock(&s->lock);
    return l;
}

int64_t store_resync_ms(struct store *s)
{
    int64_t days;

    pthread_mutex_lock(&s->lock);
    days = s->limits->conf.resync_days;
    pthread_mutex_unlock(&s->lock);
    return days * 24 * 60 * 60 * 1000;
}

/* --- counters ------------------------------------------------------------------------------------------------ */

#define C(place, n, words) [place] = { .name = "store." n, .text = words, .kind = COUNTER_TOTAL }
struct counter store_counters[STORE_COUNTERS] = {
    C(SC_APPENDS, "appends", "Messages added by clients."),
    C(SC_COPIES, "copies", "Messages copied or moved."),
    C(SC_EXPUNGES, "expunges", "Messages removed."),
    C(SC_FLAG_CHANGES, "flag_changes", "Messages whose flags were changed."),
    C(SC_DELIVERIES, "deliveries", "Messages delivered, one for each recipient."),
    C(SC_OVER_QUOTA, "over_quota", "Requests and deliveries refused because the account is over its quota."),
    C(SC_REFUSED, "refused", "Requests and deliveries refused for another reason of the request."),
    C(SC_TEMP_FAILURES, "temp_failures", "Requests that failed for a reason of ours: disk, load, damage."),
    C(SC_ACCOUNTS_MADE, "accounts_made", "Accounts made."),
    C(SC_MAILBOXES_MADE, "mailboxes_made", "Mailboxes made by clients."),
    C(SC_CHAINS, "chains", "Requests that took more than one operation."),
    C(SC_TAKEN_BACK, "taken_back", "Copies taken back because they could not be completed."),
    C(SC_REAPED, "reaped", "Deleted mailboxes and accounts whose contents were removed piece by piece."),
};
#undef C

/* --- rows of types and tables -------------------------------------------------------------------------------- */

static const struct journal_type types[] = {
    { ST_ACCOUNT_CREATE, 0, "account_create", apply_account, NULL, dump_name, image_account, keys_name },
    { ST_ACCOUNT_IMAGE, 0, "account_image", apply_account, NULL, dump_name, image_account, keys_name },
    { ST_ACCOUNT_QUOTA, 0, "account_quota", apply_account_change, NULL, NULL, image_account, NULL },
    { ST_ACCOUNT_STAMP, 0, "account_stamp", apply_account_change, NULL, NULL, image_account, NULL },
    { ST_ACCOUNT_DOOM, 0, "account_doom", apply_account_change, NULL, NULL, image_account, NULL },
    { ST_ACCOUNT_END, 0, "account_end", apply_account_end, NULL, NULL, NULL, NULL },
    { ST_SUBSCRIBE, 0, "subscribe", apply_subscribe, NULL, dump_name, image_account, NULL },
    { ST_SUBSCRIBE_IMAGE, 0, "subscribe_image", apply_subscribe_image, NULL, NULL, image_account, NULL },
    { ST_MAILBOX_CREATE, 0, "mailbox_create", apply_mailbox, NULL, dump_name, image_mailbox, NULL },
    { ST_MAILBOX_IMAGE, 0, "mailbox_image", apply_mailbox, NULL, dump_name, image_mailbox, NULL },
    { ST_MAILBOX_RENAME, 0, "mailbox_rename", apply_mailbox_change, NULL, dump_name, image_mailbox, NULL },
    { ST_MAILBOX_KEYWORD, 0, "mailbox_keyword", apply_mailbox_change, NULL, dump_name, image_mailbox, NULL },
    { ST_MAILBOX_DOOM, 0, "mailbox_doom", apply_mailbox_change, NULL, NULL, image_mailbox, NULL },
    { ST_MAILBOX_END, 0, "mailbox_end", apply_mailbox_end, NULL, NULL, NULL, NULL },
    { ST_MESSAGE_ADD, TYPE_LATE, "message_add", apply_message_add, refs_message_add, dump_messages, image_mailbox,
      NULL },
    { ST_MESSAGE_FLAGS, TYPE_LATE, "message_flags", apply_message_flags, NULL, dump_messages, image_mailbox, NULL },
    { ST_MESSAGE_EXPUNGE, TYPE_LATE, "message_expunge", apply_message_expunge, NULL, dump_messages, image_mailbox,
      NULL },
    { ST_PAGE_IMAGE, TYPE_LATE, "page_image", apply_page_image, refs_page_image, NULL, image_mailbox, NULL },
    { ST_LEDGER, TYPE_WHOLE, "ledger", apply_ledger, NULL, NULL, image_ledger, NULL },
    { ST_LEDGER_IMAGE, TYPE_WHOLE, "ledger_image", apply_ledger, NULL, NULL, image_ledger, NULL },
    { ST_COPY_UNDERWAY, 0, "copy_underway", apply_copying, NULL, NULL, image_copying, NULL },
    { ST_COPY_IMAGE, 0, "copy_image", apply_copying, NULL, NULL, image_copying, NULL },
    { ST_COPY_END, 0, "copy_end", apply_copying_end, NULL, NULL, NULL, NULL },
};

static const struct journal_table tables[] = {
    { STORE_TABLE_ACCOUNT, "store.account", 0 },       { STORE_TABLE_OWNER, "store.owner", 0 },
    { STORE_TABLE_USAGE, "store.usage", 0 },           { STORE_TABLE_NAME, "store.name", 0 },
    { STORE_TABLE_SUBSCRIBED, "store.subscribed", 0 }, { STORE_TABLE_HEAD, "store.head", 0 },
    { STORE_TABLE_COUNT, "store.count", 0 },           { STORE_TABLE_PAGE, "store.page", 0 },
    { STORE_TABLE_ROW, "store.row", 0 },               { STORE_TABLE_TOMB, "store.tomb", 0 },
    { STORE_TABLE_DOOMED, "store.doomed", 0 },         { STORE_TABLE_LEDGER, "store.ledger", 0 },
    { STORE_TABLE_COPYING, "store.copying", 0 },       { STORE_TABLE_KEYWORDS, "store.keywords", 0 },
};

/* --- the batch ----------------------------------------------------------------------------------------------- */

static void on_committed(void *room)
{
    struct store *s = room;

    for (unsigned i = 0; i < s->staged_count; i++)
        store_watch_notify(s, s->staged[i].mailbox, s->staged[i].modseq);
    s->staged_count = 0;
}

static void on_aborted(void *room)
{
    struct store *s = room;

    s->staged_count = 0;
}

/* --- life ---------------------------------------------------------------------------------------------------- */

static OWNED struct store *bare_new(void)
{
    struct store *s = mem_alloc(sizeof *s);

    pthread_mutex_init(&s->lock, NULL);
    s->limits = limits_new(NULL);
    s->room = (struct journal_room){
        .name = "store",
        .types = types,
        .type_count = ARRAY_LEN(types),
        .tables = tables,
        .table_count = ARRAY_LEN(tables),
        .state = s,
        .committed = on_committed,
        .aborted = on_aborted,
        .complete = store_complete,
    };
    return s;
}

static void bare_destroy(struct store *s)
{
    snap_unref(&s->limits->snap);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->staged);
    mem_free(s);
}

/* For journal_check: a room beside the real one that tells nobody. */
static void *state_new(void)
{
    struct store *s = bare_new();

    s->is_shadow = true;
    return s;
}

static void state_destroy(void *state)
{
    bare_destroy(state);
}

int store_new(struct store **out, const struct clock *clock, struct err *err)
{
    struct store *s = bare_new();

    counter_register(store_counters, STORE_COUNTERS);
    s->clock = clock;
    s->room.state_new = state_new;
    s->room.state_destroy = state_destroy;
    if (store_views_new(s, err) < 0) {
        bare_destroy(s);
        return -1;
    }
    *out = s;
    return 0;
}

const struct journal_room *store_room(struct store *s)
{
    return &s->room;
}

int store_attach(struct store *s, struct journal *j, const char *dir, struct err *err)
{
    uint64_t upto = journal_durable_seq(j);
    bool is_rebuilding;

    pthread_mutex_lock(&s->lock);
    s->journal = j;
    is_rebuilding = journal_rebuilding(j, NULL); /* if so, store_complete comes after this lock */
    s->undo_upto = is_rebuilding ? upto : 0;
    pthread_mutex_unlock(&s->lock);
    if (store_cache_open(s, dir, err) < 0)
        return -1;
    if (is_rebuilding)
        return 0;
    if (store_undo_start(s, upto, err) < 0)
        return -1;
    store_reap_start(s);
    return 0;
}

void store_detach(struct store *s)
{
    s->journal = NULL;
}

bool store_submit(struct store *s, struct journal_op *op)
{
    return s->journal != NULL && journal_submit(s->journal, op);
}

void store_destroy(struct store **s)
{
    if (*s == NULL)
        return;
    store_cache_close(*s);
    store_views_destroy(*s);
    bare_destroy(*s);
    *s = NULL;
}
