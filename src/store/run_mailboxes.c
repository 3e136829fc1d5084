/* run_mailboxes.c - what requests about accounts and mailboxes do inside the transaction. */
#include "store/request.h"

int request_account(struct request *q, struct journal_view *v, struct account_head *h, struct err *err)
{
    struct mailbox_head m;

    if (q->pub.account == 0 && q->pub.mailbox != 0 && mailbox_head_get(v, q->pub.mailbox, &m))
        q->pub.account = m.account;
    if (q->pub.account == 0 && !store_account_find(q->store, v, q->pub.owner, &q->pub.account))
        return request_refuse(q, STORE_NO_MAILBOX, err);
    if (!account_head_get(v, q->pub.account, h) || (h->flags & HEAD_DOOMED) != 0)
        return request_refuse(q, STORE_NO_MAILBOX, err);
    return 0;
}

/* --- making mailboxes ---------------------------------------------------------------------------------------- */

unsigned parents_missing(struct request *q, struct journal_tx *tx, slice name, uint32_t *uidvalidity, bool emit)
{
    unsigned missing = 0;
    uint64_t id;

    for (size_t i = 1; i < name.len; i++) { /* from the first level down */
        slice level = slice_sub(name, 0, i);

        if (name.ptr[i] != '/' || name_find(journal_tx_view(tx), q->pub.account, level, &id))
            continue;
        missing++;
        if (emit)
            mailbox_emit(tx, q->pub.account, level, 0, (*uidvalidity)++);
    }
    return missing;
}

/* Room for so many more mailboxes, and their buckets not stuffed with colliding names? */
static int room_check(struct request *q, struct journal_view *v, slice name, unsigned more, struct err *err)
{
    struct usage u;

    usage_get(v, q->pub.account, &u);
    if (u.mailboxes + more > q->limits->conf.mailboxes_max ||
        name_bucket_bytes(v, STORE_TABLE_NAME, q->pub.account, name) > STORE_BUCKET_MAX_BYTES)
        return request_refuse(q, STORE_LIMIT, err);
    return 0;
}

static int make_check(struct request *q, struct journal_tx *tx, slice name, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct account_head h;
    uint32_t unused = 0;
    uint64_t id;

    if (request_account(q, v, &h, err) < 0)
        return -1;
    if (name_find(v, q->pub.account, name, &id))
        return request_refuse(q, STORE_EXISTS, err);
    return room_check(q, v, name, 1 + parents_missing(q, tx, name, &unused, false), err);
}

static uint64_t make(struct request *q, struct journal_tx *tx, slice name)
{
    uint32_t uidvalidity = uidvalidity_next(tx, q->pub.account);
    uint64_t id;

    parents_missing(q, tx, name, &uidvalidity, true);
    id = mailbox_emit(tx, q->pub.account, name, 0, uidvalidity);
    q->pub.made_mailbox = id;
    q->pub.uidvalidity = uidvalidity;
    return id;
}

int run_create(struct request *q, struct journal_tx *tx, struct err *err)
{
    if (make_check(q, tx, q->pub.name, err) < 0)
        return -1;
    make(q, tx, q->pub.name);
    return 0;
}

/* --- accounts ------------------------------------------------------------------------------------------------ */

static uint64_t account_emit(struct request *q, struct journal_tx *tx)
{
    struct buf payload = BUF_INIT;
    uint64_t id;

    buf_put_le64(&payload, q->pub.owner);
    buf_put_le64(&payload, q->pub.quota_bytes);
    buf_put_le32(&payload, 0);
    buf_put_lenstr(&payload, q->pub.owner_name);
    id = journal_emit(tx, ST_ACCOUNT_CREATE, 0, 0, 0, buf_slice(&payload));
    buf_free(&payload);
    return id;
}

static void subscribe_emit(struct journal_tx *tx, uint64_t account, slice name, bool is_on)
{
    struct buf payload = BUF_INIT;

    buf_put_byte(&payload, is_on);
    buf_put_lenstr(&payload, name);
    journal_emit(tx, ST_SUBSCRIBE, account, subscribe_part(name), 0, buf_slice(&payload));
    buf_free(&payload);
}

/* One of the mailboxes that an account begins with. */
static void first_mailbox_emit(struct request *q, struct journal_tx *tx, slice name)
{
    uint32_t uidvalidity;
    slice checked;
    uint64_t id;

    if (store_name_check(&q->limits->conf, name, &q->pub.mem, &checked) != STORE_OK ||
        name_find(journal_tx_view(tx), q->pub.account, checked, &id))
        return; /* a bad name in the configuration must not keep anybody from getting mail */
    uidvalidity = uidvalidity_next(tx, q->pub.account);
    parents_missing(q, tx, checked, &uidvalidity, true);
    id = mailbox_emit(tx, q->pub.account, checked, name_special_use(checked), uidvalidity);
    if (name_is_inbox(checked)) {
        q->pub.made_mailbox = id;
        q->pub.uidvalidity = uidvalidity;
    }
    subscribe_emit(tx, q->pub.account, checked, true);
}

int run_account_ensure(struct request *q, struct journal_tx *tx, struct err *err UNUSED)
{
    struct journal_view *v = journal_tx_view(tx);
    const struct key_strs *create = &q->limits->conf.create;

    if (!store_account_find(q->store, v, q->pub.owner, &q->pub.account)) {
        q->pub.account = account_emit(q, tx);
        first_mailbox_emit(q, tx, SLICE("INBOX"));
        for (size_t i = 0; i < create->count; i++)
            first_mailbox_emit(q, tx, create->items[i]);
    } else if (!name_find(v, q->pub.account, SLICE("INBOX"), &q->pub.made_mailbox))
        first_mailbox_emit(q, tx, SLICE("INBOX")); /* S5, after damage */
    return 0;
}

/* Nobody finds it any more; the reaper removes what is in it. */
int run_account_delete(struct request *q, struct journal_tx *tx, struct err *err)
{
    struct account_head h;

    if (request_account(q, journal_tx_view(tx), &h, err) < 0)
        return -1;
    journal_emit(tx, ST_ACCOUNT_DOOM, q->pub.account, 0, 0, SLICE_NONE);
    q->piece.is_doomed = true;
    return 0;
}

int run_quota_set(struct request *q, struct journal_tx *tx, struct err *err)
{
    struct buf payload = BUF_INIT;
    struct account_head h;

    if (request_account(q, journal_tx_view(tx), &h, err) < 0)
        return -1;
    if (h.quota == q->pub.quota_bytes)
        return 0;
    buf_put_le64(&payload, q->pub.quota_bytes);
    journal_emit(tx, ST_ACCOUNT_QUOTA, q->pub.account, 0, 0, buf_slice(&payload));
    buf_free(&payload);
    return 0;
}

/* A subscription may name what does not exist (RFC 9051 6.3.7); repeating one is no error. */
int run_subscribe(struct request *q, struct journal_tx *tx, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    bool is_on = q->pub.what == STORE_SUBSCRIBE;
    struct account_head h;
    struct usage u;

    if (request_account(q, v, &h, err) < 0)
        return -1;
    if (subscribed_find(v, q->pub.account, q->pub.name) == is_on)
        return 0;
    usage_get(v, q->pub.account, &u);
    if (is_on && (u.subscriptions >= q->limits->conf.mailboxes_max ||
                  name_bucket_bytes(v, STORE_TABLE_SUBSCRIBED, q->pub.account, q->pub.name) > STORE_BUCKET_MAX_BYTES))
        return request_refuse(q, STORE_LIMIT, err);
    subscribe_emit(tx, q->pub.account, q->pub.name, is_on);
    return 0;
}

/* --- DELETE -------------------------------------------------------------------------------------------------- */

struct below {
    struct buf names; /* str each: those below `parent` */
    slice parent;
    unsigned count;
    size_t longest;
    uint32_t deepest;
};

static uint32_t levels(slice name)
{
    uint32_t n = 1;

    for (size_t i = 0; i < name.len; i++)
        n += name.ptr[i] == '/';
    return n;
}

static bool below_add(void *arg, uint64_t mailbox, slice name)
{
    struct below *b = arg;

    if (!name_is_below(name, b->parent))
        return true;
    buf_put_le64(&b->names, mailbox);
    buf_put_lenstr(&b->names, name);
    b->count++;
    b->longest = name.len > b->longest ? name.len : b->longest;
    b->deepest = levels(name) > b->deepest ? levels(name) : b->deepest;
    return true;
}

int run_delete(struct request *q, struct journal_tx *tx, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct below below = { .parent = q->pub.name };
    struct mailbox_count c;
    struct mailbox_head h;

    if (request_source(q, v, &h, err) < 0)
        return -1;
    if (name_is_inbox(h.name))
        return request_refuse(q, STORE_BAD_NAME, err); /* S5 */
    below.parent = h.name;
    name_each(v, h.account, below_add, &below);
    buf_free(&below.names);
    if (below.count != 0)
        return request_refuse(q, STORE_HAS_CHILDREN, err); /* RFC 9051 6.3.5: they stay, so it stays */
    mailbox_count_get(v, q->piece.source, &c);
    if (c.messages <= STORE_OP_MESSAGES) {
        journal_emit(tx, ST_MAILBOX_END, q->piece.source, 0, RECORD_END, SLICE_NONE);
        return 0;
    }
    journal_emit(tx, ST_MAILBOX_DOOM, q->piece.source, 0, 0, SLICE_NONE);
    q->piece.is_doomed = true;
    return 0;
}

/* --- RENAME -------------------------------------------------------------------------------------------------- */

/* RFC 9051 6.3.6: the messages of INBOX go to a new mailbox, INBOX stays, and so do the names below it. */
static int rename_inbox(struct request *q, struct journal_tx *tx, struct err *err)
{
    struct mailbox_head h;

    if (q->done.is_moving)
        return run_copy(q, tx, err);
    if (request_source(q, journal_tx_view(tx), &h, err) < 0)
        return -1;
    if (make_check(q, tx, q->pub.new_name, err) < 0)
        return -1;
    q->piece.target = make(q, tx, q->pub.new_name);
    q->piece.is_moving = true;
    q->piece.more = true;
    return 0;
}

static void rename_emit(struct journal_tx *tx, uint64_t mailbox, slice name)
{
    struct buf payload = BUF_INIT;

    buf_put_lenstr(&payload, name);
    journal_emit(tx, ST_MAILBOX_RENAME, mailbox, 0, 0, buf_slice(&payload));
    buf_free(&payload);
}

/* Do the names below fit behind the new one, and are they free? */
static int below_check(struct request *q, struct journal_view *v, const struct below *b, slice old, struct err *err)
{
    const struct store_conf *conf = &q->limits->conf;
    struct reader r = reader_of(buf_slice(&b->names));
    struct buf name = BUF_INIT;
    bool is_taken = false;

    if (b->count != 0 && (b->longest - old.len + q->pub.new_name.len > conf->name_max ||
                          b->deepest - levels(old) + levels(q->pub.new_name) > conf->depth_max))
        return request_refuse(q, STORE_LIMIT, err);
    while (r.rest.len > 0 && !is_taken) {
        uint64_t id;

        (void)read_le64(&r);
        buf_reset(&name);
        buf_put_slice(&name, q->pub.new_name);
        buf_put_slice(&name, slice_from(read_lenstr(&r), old.len));
        is_taken = name_find(v, q->pub.account, buf_slice(&name), &id);
    }
    buf_free(&name);
    return is_taken ? request_refuse(q, STORE_EXISTS, err) : 0;
}

static void below_emit(struct request *q, struct journal_tx *tx, const struct below *b, slice old)
{
    struct reader r = reader_of(buf_slice(&b->names));
    struct buf name = BUF_INIT;

    while (r.rest.len > 0) {
        uint64_t id = read_le64(&r);

        buf_reset(&name);
        buf_put_slice(&name, q->pub.new_name);
        buf_put_slice(&name, slice_from(read_lenstr(&r), old.len));
        rename_emit(tx, id, buf_slice(&name));
    }
    buf_free(&name);
}

/* All names below move in the same operation, however many: a tree that is half renamed would be a worse evil. */
int run_rename(struct request *q, struct journal_tx *tx, struct err *err)
{
    struct journal_view *v = journal_tx_view(tx);
    struct below below = { 0 };
    struct account_head account;
    struct mailbox_head h;
    struct arena mem;
    uint32_t uidvalidity;
    slice old;
    int rc = -1;

    if (request_account(q, v, &account, err) < 0)
        return -1;
    if (q->done.is_moving || (q->pub.mailbox == 0 && name_is_inbox(q->pub.name)))
        return rename_inbox(q, tx, err);
    if (request_source(q, v, &h, err) < 0)
        return -1;
    if (name_is_inbox(h.name))
        return rename_inbox(q, tx, err);
    arena_init(&mem, 1024);
    old = slice_dup(&mem, h.name);
    q->pub.made_mailbox = q->piece.source;
    if (name_is_below(q->pub.new_name, old)) {
        request_refuse(q, STORE_BAD_NAME, err);
        goto out;
    }
    if (make_check(q, tx, q->pub.new_name, err) < 0)
        goto out;
    below.parent = old;
    name_each(v, q->pub.account, below_add, &below);
    if (below_check(q, v, &below, old, err) < 0)
        goto out;
    uidvalidity = uidvalidity_next(tx, q->pub.account);
    parents_missing(q, tx, q->pub.new_name, &uidvalidity, true);
    rename_emit(tx, q->piece.source, q->pub.new_name);
    below_emit(q, tx, &below, old);
    rc = 0;
out:
    buf_free(&below.names);
    arena_free(&mem);
    return rc;
}
