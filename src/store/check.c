/* check.c - the store's invariants, recounted: for `posthouse check` and the tests. */
#include <stdarg.h>
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "store/emit.h"

struct check {
    struct store *s;
    struct journal_view *v;
    journal_say_fn *say;
    void *arg;
    int faults;
    struct idmap usage; /* account -> struct usage, counted */
};

static void PRINTF_LIKE(2, 3) fault(struct check *c, const char *fmt, ...)
{
    char line[240];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    c->faults++;
    if (c->say != NULL)
        c->say(c->arg, line);
}

static struct usage *usage_of(struct check *c, uint64_t account)
{
    struct usage *u = idmap_get(&c->usage, account);

    if (u == NULL) {
        u = mem_alloc(sizeof *u);
        idmap_put(&c->usage, account, u);
    }
    return u;
}

/* S4: the body is known and counted. */
static void check_body(struct check *c, uint64_t mailbox, uint32_t uid, uint64_t id)
{
    struct body_info b;

    if (id == 0)
        return;
    if (!journal_body_info(c->v, id, &b) || b.refs == 0)
        fault(c, "S4: mailbox %llu, uid %u: body %llu has no reference", (unsigned long long)mailbox, uid,
              (unsigned long long)id);
}

/* One page: its rows against its count. */
struct page_sum {
    uint32_t part, messages;
    uint64_t modseq;
};

static void check_page(struct check *c, uint64_t mailbox, const struct page_sum *sum)
{
    struct page_count p;

    if (sum->messages == 0)
        return;
    if (!page_count_get(c->v, mailbox, sum->part, &p) || p.messages != sum->messages || p.modseq < sum->modseq)
        fault(c, "S3: mailbox %llu, page %u: %u messages counted, there are %u; modseq %llu, a row has %llu",
              (unsigned long long)mailbox, sum->part, p.messages, sum->messages, (unsigned long long)p.modseq,
              (unsigned long long)sum->modseq);
}

static void check_mailbox(struct check *c, uint64_t mailbox, const struct mailbox_head *h)
{
    struct mailbox_count have, sum = { 0 };
    struct page_sum page = { 0 };
    struct row_cursor rc;
    struct store_row row;
    uint64_t mask = h->keyword_count >= 64 ? UINT64_MAX : (UINT64_C(1) << h->keyword_count) - 1;

    mailbox_count_get(c->v, mailbox, &have);
    row_cursor_begin(&rc, c->v, mailbox, 0);
    while (row_cursor_next(&rc, &row)) {
        if (page.part != page_part(row.uid)) {
            check_page(c, mailbox, &page);
            page = (struct page_sum){ .part = page_part(row.uid) };
        }
        page.messages++;
        page.modseq = row.modseq > page.modseq ? row.modseq : page.modseq;
        sum.messages++;
        sum.unseen += (row.system & STORE_SEEN) == 0;
        sum.deleted += (row.system & STORE_DELETED) != 0;
        sum.bytes += row.bytes;
        if (row.uid == 0 || row.uid >= have.max.uidnext)
            fault(c, "S1: mailbox %llu: uid %u, uidnext %u", (unsigned long long)mailbox, row.uid, have.max.uidnext);
        if (row.modseq > have.max.modseq)
            fault(c, "S2: mailbox %llu, uid %u: modseq %llu, highest %llu", (unsigned long long)mailbox, row.uid,
                  (unsigned long long)row.modseq, (unsigned long long)have.max.modseq);
        if ((row.keywords & ~mask) != 0)
            fault(c, "mailbox %llu, uid %u: keywords without names", (unsigned long long)mailbox, row.uid);
        check_body(c, mailbox, row.uid, row.body.body_id);
        check_body(c, mailbox, row.uid, row.body.header_id);
    }
    row_cursor_end(&rc);
    check_page(c, mailbox, &page);
    if (sum.messages != have.messages || sum.unseen != have.unseen || sum.deleted != have.deleted ||
        sum.bytes != have.bytes)
        fault(c, "S3: mailbox %llu counts %u/%u/%u messages, %llu octets; there are %u/%u/%u, %llu",
              (unsigned long long)mailbox, have.messages, have.unseen, have.deleted, (unsigned long long)have.bytes,
              sum.messages, sum.unseen, sum.deleted, (unsigned long long)sum.bytes);
    if ((h->flags & HEAD_DOOMED) == 0) {
        struct usage *u = usage_of(c, h->account);

        u->bytes += sum.bytes;
        u->messages += sum.messages;
        u->mailboxes++;
    }
}

static void check_mailboxes(struct check *c)
{
    struct journal_cursor cur;
    slice key, value;

    journal_cursor_begin(&cur, c->v, STORE_TABLE_HEAD);
    while (journal_cursor_next(&cur, &key, &value)) {
        uint64_t id = get_be64(key.ptr), found;
        struct mailbox_head h;
        struct account_head a;

        if (!mailbox_head_decode(value, &h)) {
            fault(c, "mailbox %llu does not decode", (unsigned long long)id);
            continue;
        }
        if (!account_head_get(c->v, h.account, &a))
            fault(c, "mailbox %llu belongs to account %llu, which is missing", (unsigned long long)id,
                  (unsigned long long)h.account);
        else if (h.uidvalidity > a.uidvalidity_last)
            fault(c, "S1: mailbox %llu has uidvalidity %u, its account gave %u at most", (unsigned long long)id,
                  h.uidvalidity, a.uidvalidity_last);
        if ((h.flags & HEAD_DOOMED) == 0 && (!name_find(c->v, h.account, h.name, &found) || found != id))
            fault(c, "mailbox %llu is not found by its name", (unsigned long long)id);
        check_mailbox(c, id, &h);
    }
    journal_cursor_end(&cur);
}

/* S2 for tombstones. */
static void check_tombs(struct check *c)
{
    struct journal_cursor cur;
    slice key;

    journal_cursor_begin(&cur, c->v, STORE_TABLE_TOMB);
    while (journal_cursor_next(&cur, &key, NULL)) {
        struct mailbox_count count;

        if (key.len != 20 || !mailbox_count_get(c->v, get_be64(key.ptr), &count) ||
            count.max.modseq < get_be64(key.ptr + 12))
            fault(c, "S2: a tombstone of mailbox %llu has modseq %llu", (unsigned long long)get_be64(key.ptr),
                  (unsigned long long)get_be64(key.ptr + 12));
    }
    journal_cursor_end(&cur);
}

static bool count_name(void *arg, uint64_t mailbox UNUSED, slice name UNUSED)
{
    ++*(uint32_t *)arg;
    return true;
}

static void check_accounts(struct check *c)
{
    struct journal_cursor cur;
    slice key, value;

    journal_cursor_begin(&cur, c->v, STORE_TABLE_ACCOUNT);
    while (journal_cursor_next(&cur, &key, &value)) {
        uint64_t id = get_be64(key.ptr), found;
        struct account_head h;
        struct usage have, *sum = usage_of(c, id);

        if (!account_head_decode(value, &h)) {
            fault(c, "account %llu does not decode", (unsigned long long)id);
            continue;
        }
        subscribed_each(c->v, id, 0, count_name, &sum->subscriptions);
        usage_get(c->v, id, &have);
        if (have.bytes != sum->bytes || have.messages != sum->messages || have.mailboxes != sum->mailboxes ||
            have.subscriptions != sum->subscriptions)
            fault(c, "S3: account %llu uses %llu octets, %llu messages, %u mailboxes, %u subscriptions; "
                     "there are %llu, %llu, %u, %u",
                  (unsigned long long)id, (unsigned long long)have.bytes, (unsigned long long)have.messages,
                  have.mailboxes, have.subscriptions, (unsigned long long)sum->bytes,
                  (unsigned long long)sum->messages, sum->mailboxes, sum->subscriptions);
        if ((h.flags & HEAD_DOOMED) == 0 && !name_find(c->v, id, SLICE("INBOX"), &found))
            fault(c, "S5: account %llu has no INBOX", (unsigned long long)id);
        if ((h.flags & HEAD_DOOMED) == 0 && (!store_account_find(c->s, c->v, h.owner, &found) || found != id))
            fault(c, "account %llu is not found by its owner %llu", (unsigned long long)id,
                  (unsigned long long)h.owner);
    }
    journal_cursor_end(&cur);
}

static void check_ledger(struct check *c)
{
    json_t *l = store_ledger(c->s, c->v);
    int64_t created = json_get_int(l, "created", -1), ended = json_get_int(l, "ended", -2);

    if (created != ended + json_get_int(l, "queued", 0))
        fault(c, "S6: the ledger has %lld recipients created, %lld ended", (long long)created, (long long)ended);
    json_decref(l);
}

int store_check(struct store *s, struct journal_view *v, journal_say_fn *say, void *arg)
{
    struct check c = { .s = s, .v = v, .say = say, .arg = arg };
    size_t at = 0;
    void *u;

    idmap_init(&c.usage);
    check_mailboxes(&c);
    check_accounts(&c);
    check_tombs(&c);
    check_ledger(&c);
    while (idmap_next(&c.usage, &at, NULL, &u))
        mem_free(u);
    idmap_free(&c.usage);
    return c.faults;
}
