/* read.c - the reading calls of store.h. */
#include <stdlib.h>

#include "base/mem.h"
#include "store/internal.h"
#include "store/names.h"

bool store_account_find(struct store *s UNUSED, struct journal_view *v, uint64_t owner, uint64_t *account)
{
    slice value;

    if (!journal_get_u64(v, STORE_TABLE_OWNER, owner, &value) || value.len != 8)
        return false;
    *account = get_le64(value.ptr);
    return true;
}

uint64_t account_limit_bytes(const struct store_conf *conf, const struct account_head *h)
{
    if (h->quota == UINT64_MAX)
        return 0;
    return h->quota != 0 ? h->quota : conf->default_quota_bytes;
}

bool store_account_quota(struct store *s, struct journal_view *v, uint64_t account, struct store_quota *out)
{
    struct store_limits *l;
    struct account_head h;
    struct usage u;

    if (!account_head_get(v, account, &h))
        return false;
    l = store_limits_ref(s);
    usage_get(v, account, &u);
    *out = (struct store_quota){ u.bytes, account_limit_bytes(&l->conf, &h), u.messages };
    snap_unref(&l->snap);
    return true;
}

static void mailbox_fill(struct journal_view *v, uint64_t id, const struct mailbox_head *h, struct store_mailbox *out)
{
    struct mailbox_count c;

    mailbox_count_get(v, id, &c);
    *out = (struct store_mailbox){
        .id = id,
        .account = h->account,
        .name = h->name,
        .uidvalidity = h->uidvalidity,
        .uidnext = c.max.uidnext,
        .messages = c.messages,
        .unseen = c.unseen,
        .deleted = c.deleted,
        .bytes = c.bytes,
        .highest_modseq = c.max.modseq,
        .special_use = h->special,
        .is_subscribed = subscribed_find(v, h->account, h->name),
    };
}

bool store_mailbox_get(struct store *s UNUSED, struct journal_view *v, uint64_t id, struct store_mailbox *out)
{
    struct mailbox_head h;

    if (!mailbox_head_get(v, id, &h) || (h.flags & HEAD_DOOMED) != 0)
        return false;
    mailbox_fill(v, id, &h, out);
    return true;
}

bool store_mailbox_find(struct store *s, struct journal_view *v, uint64_t account, slice name,
                        struct store_mailbox *out)
{
    struct arena mem;
    uint64_t id;
    bool found;

    arena_init(&mem, 512);
    found = name_find(v, account, name_fold(&mem, name), &id) && store_mailbox_get(s, v, id, out);
    arena_free(&mem);
    return found;
}

/* --- listing ------------------------------------------------------------------------------------------------- */

struct listed {
    slice name;
    uint64_t id; /* 0: only subscribed */
};
struct listing {
    struct listed *items;
    size_t count, cap;
};

static bool listing_add(void *arg, uint64_t id, slice name)
{
    struct listing *l = arg;

    if (l->count == l->cap) {
        l->cap = l->cap * 2 + 32;
        l->items = mem_realloc(l->items, l->cap * sizeof *l->items);
    }
    l->items[l->count++] = (struct listed){ name, id };
    return true;
}

/* By name; of equal names the mailbox stands before the subscription, the newer mailbox before the older. */
static int listed_cmp(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    int d = slice_cmp(x->name, y->name);

    return d != 0 ? d : x->id > y->id ? -1 : x->id < y->id;
}

/* Is there a name below items[i]? Names below it need not follow at once: "a", "a b", "a/b". */
static bool has_children(const struct listing *l, size_t i)
{
    for (size_t k = i + 1; k < l->count && slice_starts(l->items[k].name, l->items[i].name); k++)
        if (l->items[k].id != 0 && name_is_below(l->items[k].name, l->items[i].name))
            return true;
    return false;
}

void store_mailbox_list(struct store *s, struct journal_view *v, uint64_t account, store_mailbox_fn *fn, void *arg)
{
    struct listing l = { 0 };
    bool go_on = true;

    name_each(v, account, listing_add, &l);
    subscribed_each(v, account, 0, listing_add, &l);
    if (l.count != 0)
        qsort(l.items, l.count, sizeof *l.items, listed_cmp);
    for (size_t i = 0; i < l.count && go_on; i++) {
        struct store_mailbox m = { .account = account, .name = l.items[i].name, .is_subscribed = true };

        if (i != 0 && slice_eq(l.items[i].name, l.items[i - 1].name))
            continue;
        if (l.items[i].id != 0 && !store_mailbox_get(s, v, l.items[i].id, &m))
            continue;
        m.has_children = has_children(&l, i);
        go_on = fn(arg, &m);
    }
    mem_free(l.items);
}
