/* Methods about mailboxes and quotas. */
#include "control/rpc_dir.h"

#define ANSWER_ARENA_BYTES 1024

struct listing {
    json_t *array;
};

static bool mailbox_row(void *arg, const struct store_mailbox *m)
{
    struct listing *l = arg;
    json_t *o = json_object();

    json_object_set_new(o, "name", json_from_slice(m->name));
    json_object_set_new(o, "messages", json_integer(m->messages));
    json_object_set_new(o, "unseen", json_integer(m->unseen));
    json_object_set_new(o, "bytes", json_integer((json_int_t)m->bytes));
    json_object_set_new(o, "uidnext", json_integer(m->uidnext));
    json_object_set_new(o, "uidvalidity", json_integer(m->uidvalidity));
    json_object_set_new(o, "subscribed", json_boolean(m->is_subscribed));
    json_object_set_new(o, "use", json_string(store_special_names[m->special_use]));
    json_array_append_new(l->array, o);
    return true;
}

/* The account of the user named; 0 when it has none yet. */
static int account_find(struct rpc_call *call, struct arena *mem, struct dir_user *user, struct journal_view *v,
                        uint64_t *account, struct err *err)
{
    struct site *site = call->env->site;

    if (rpc_user_find(call, mem, user, err) < 0 || journal_read_begin(site->journal, v, err) < 0)
        return -1;
    if (!store_account_find(site->store, v, user->id, account))
        *account = 0;
    if (*account == 0 || store_account_ready(site->store, v, *account, err))
        return 0;
    journal_read_end(v); /* counts would be those of a part */
    return -1;
}

int rpc_mailbox_list(struct rpc_call *call, struct err *err)
{
    struct listing listing = { NULL };
    struct journal_view v;
    struct dir_user user = { .id = 0 };
    struct arena mem;
    uint64_t account;
    int rc;

    arena_init(&mem, ANSWER_ARENA_BYTES);
    if ((rc = account_find(call, &mem, &user, &v, &account, err)) == 0) {
        listing.array = json_array();
        if (account != 0)
            store_mailbox_list(call->env->site->store, &v, account, mailbox_row, &listing);
        journal_read_end(&v);
        call->result = listing.array;
    }
    arena_free(&mem);
    return rc;
}

static const char *result_text(enum store_result result)
{
    static const char *const texts[] = {
        [STORE_OK] = "done",
        [STORE_NO_MAILBOX] = "no such mailbox",
        [STORE_EXISTS] = "there is such a mailbox already",
        [STORE_BAD_NAME] = "this is no valid mailbox name",
        [STORE_OVER_QUOTA] = "over quota",
        [STORE_TOO_LARGE] = "larger than the whole quota",
        [STORE_LIMIT] = "a limit is reached",
        [STORE_HAS_CHILDREN] = "it has mailboxes below it",
        [STORE_FULL] = "the disk is full",
        [STORE_TEMP] = "not possible at the moment",
        [STORE_REBUILDING] = "the index is being rebuilt",
    };

    return texts[result];
}

static int request_run(struct rpc_call *call, struct store_request *r, struct err *err)
{
    if (store_request_wait(call->env->site->store, r, err) == 0)
        return 0;
    if (err->kind == ERR_NONE || err->text[0] == '\0')
        err_set(err, r->result == STORE_NO_MAILBOX ? ERR_NOTFOUND : r->result == STORE_EXISTS ? ERR_EXISTS : ERR_PERM,
                "%s", result_text(r->result));
    return -1;
}

static int mailbox_change(struct rpc_call *call, enum store_what what, const char *done, struct err *err)
{
    struct store_request *r = store_request_new(what);
    struct journal_view v;
    struct dir_user user = { .id = 0 };
    struct arena mem;
    int rc = -1;

    arena_init(&mem, ANSWER_ARENA_BYTES);
    if (account_find(call, &mem, &user, &v, &r->account, err) < 0)
        goto out;
    journal_read_end(&v);
    r->name = slice_dup(&r->mem, rpc_str(call, "mailbox"));
    r->lane = LANE_ACCESS;
    if (request_run(call, r, err) < 0) {
        err_prefix(err, "%.*s", SLICE_ARG(rpc_str(call, "mailbox")));
        goto out;
    }
    call->result = json_pack("{s:o}", done, json_from_slice(rpc_str(call, "mailbox")));
    rc = 0;
out:
    store_request_destroy(&r);
    arena_free(&mem);
    return rc;
}

int rpc_mailbox_create(struct rpc_call *call, struct err *err)
{
    return mailbox_change(call, STORE_MAILBOX_CREATE, "created", err);
}

int rpc_mailbox_delete(struct rpc_call *call, struct err *err)
{
    return mailbox_change(call, STORE_MAILBOX_DELETE, "deleted", err);
}

static json_t *quota_object(const struct dir_user *user, const struct store_quota *q)
{
    json_t *o = json_object();

    json_object_set_new(o, "address", json_from_slice(user->address));
    json_object_set_new(o, "used_bytes", json_integer((json_int_t)q->used_bytes));
    json_object_set_new(o, "limit_bytes", json_integer((json_int_t)q->limit_bytes));
    json_object_set_new(o, "messages", json_integer((json_int_t)q->messages));
    return o;
}

int rpc_quota_get(struct rpc_call *call, struct err *err)
{
    struct store_quota quota = { 0 };
    struct journal_view v;
    struct dir_user user = { .id = 0 };
    struct arena mem;
    uint64_t account;
    int rc;

    arena_init(&mem, ANSWER_ARENA_BYTES);
    if ((rc = account_find(call, &mem, &user, &v, &account, err)) == 0) {
        if (account != 0)
            store_account_quota(call->env->site->store, &v, account, &quota);
        journal_read_end(&v);
        call->result = quota_object(&user, &quota);
    }
    arena_free(&mem);
    return rc;
}

/* The directory says what a user may store, the account counts against it: both are told. */
int rpc_quota_set(struct rpc_call *call, struct err *err)
{
    struct store_request *r = store_request_new(STORE_QUOTA_SET);
    json_t *fields = json_pack("{s:O}", "quota", json_object_get(call->params, "bytes"));
    struct dir_change change;
    struct journal_view v;
    struct dir_user user = { .id = 0 };
    struct arena mem;
    int rc = -1;

    arena_init(&mem, ANSWER_ARENA_BYTES);
    if (account_find(call, &mem, &user, &v, &r->account, err) < 0)
        goto out;
    journal_read_end(&v);
    dir_change_init(&change, call->env->site->dir, DIR_USER_SET, user.address);
    change.fields = fields;
    if (dir_change_wait(&change, err) < 0)
        goto out;
    r->quota_bytes = (uint64_t)json_integer_value(json_object_get(call->params, "bytes"));
    r->lane = LANE_ACCESS;
    if (r->account != 0 && request_run(call, r, err) < 0)
        goto out;
    rc = rpc_quota_get(call, err);
out:
    json_decref(fields);
    store_request_destroy(&r);
    arena_free(&mem);
    return rc;
}
