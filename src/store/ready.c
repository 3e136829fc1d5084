/* ready.c - the store while its index is rebuilt: which accounts are complete, and asking for those that are not. */
#include "store/internal.h"

#include "base/diag.h"
#include "base/mem.h"

struct ids {
    uint64_t *items;
    unsigned count, cap;
};

static bool id_add(void *arg, uint64_t mailbox, slice name UNUSED)
{
    struct ids *ids = arg;

    if (ids->count == ids->cap) {
        ids->cap = ids->cap * 2 + 16;
        ids->items = mem_realloc(ids->items, ids->cap * sizeof *ids->items);
    }
    ids->items[ids->count++] = mailbox;
    return true;
}

bool store_account_ready(struct store *s, struct journal_view *v, uint64_t account, struct err *err)
{
    unsigned percent;

    if (journal_object_ready(s->journal, account))
        return true;
    if (journal_demand_wanted(s->journal, account)) {
        struct ids ids = { .items = NULL };

        name_each(v, account, id_add, &ids); /* heads are early records: all are there */
        journal_demand(s->journal, account, ids.items, ids.count);
        mem_free(ids.items);
    }
    journal_rebuilding(s->journal, &percent);
    err_set(err, ERR_TEMP, "the index is being rebuilt, %u %% are done", percent);
    return false;
}

bool store_mailbox_ready(struct store *s, struct journal_view *v, uint64_t mailbox, struct err *err)
{
    struct mailbox_head h;

    if (mailbox == 0 || !journal_rebuilding(s->journal, NULL))
        return true;
    return !mailbox_head_get(v, mailbox, &h) || store_account_ready(s, v, h.account, err);
}

void store_complete(void *room)
{
    struct store *s = room;
    struct err err = ERR_INIT;
    uint64_t upto;

    pthread_mutex_lock(&s->lock);
    upto = s->undo_upto;
    s->undo_upto = 0;
    pthread_mutex_unlock(&s->lock);
    if (upto == 0)
        return; /* not attached yet: store_attach will find a complete index */
    if (store_undo_start(s, upto, &err) < 0)
        diag_error("store", "copies of the last run are not taken back yet: %s", err.text);
    store_reap_start(s);
}
