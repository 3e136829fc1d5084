/* check.c - the store's invariants, recounted: for `posthouse check` and the tests. */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "store/emit.h"

struct check {
    struct store *s;
    struct journal_view *v;
    journal_say_fn *say;
    void *arg;
    int faults;
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

static void check_rows(struct check *c, uint64_t mailbox, const struct mailbox_head *h)
{
    struct mailbox_count have, sum = { 0 };
    struct page_sum page = { 0 };
    struct row_cursor rc;
    struct store_row row;
    struct keyword_counts kept, seen = { 0 };
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
        for (uint64_t k = row.keywords; k != 0; k &= k - 1)
            seen.messages[__builtin_ctzll(k)]++;
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
    keyword_counts_get(c->v, mailbox, &kept);
    if (memcmp(&kept, &seen, sizeof kept) != 0)
        fault(c, "S3: mailbox %llu: messages are not counted right by keyword", (unsigned long long)mailbox);
    if (sum.messages != have.messages || sum.unseen != have.unseen || sum.deleted != have.deleted ||
        sum.bytes != have.bytes)
        fault(c, "S3: mailbox %llu counts %u/%u/%u messages, %llu octets; there are %u/%u/%u, %llu",
              (unsigned long long)mailbox, have.messages, have.unseen, have.deleted, (unsigned long long)have.bytes,
              sum.messages, sum.unseen, sum.deleted, (unsigned long long)sum.bytes);
}

struct tomb_check {
    struct check *c;
    uint64_t mailbox, highest;
};

static void check_tomb(void *arg, uint64_t modseq, int64_t time_ms UNUSED, slice ranges UNUSED)
{
    struct tomb_check *t = arg;

    if (modseq > t->highest)
        fault(t->c, "S2: mailbox %llu: a tombstone has modseq %llu, highest %llu", (unsigned long long)t->mailbox,
              (unsigned long long)modseq, (unsigned long long)t->highest);
}

static void check_mailbox(struct check *c, uint64_t id)
{
    struct tomb_check tombs = { c, id, 0 };
    struct mailbox_count count;
    struct mailbox_head h;
    struct account_head a;
    uint64_t found;

    if (!mailbox_head_get(c->v, id, &h))
        return; /* deleted since it was listed */
    if (!account_head_get(c->v, h.account, &a))
        fault(c, "mailbox %llu belongs to account %llu, which is missing", (unsigned long long)id,
              (unsigned long long)h.account);
    else if (h.uidvalidity > a.uidvalidity_last)
        fault(c, "S1: mailbox %llu has uidvalidity %u, its account gave %u at most", (unsigned long long)id,
              h.uidvalidity, a.uidvalidity_last);
    if ((h.flags & HEAD_DOOMED) == 0 && (!name_find(c->v, h.account, h.name, &found) || found != id))
        fault(c, "mailbox %llu is not found by its name", (unsigned long long)id);
    check_rows(c, id, &h);
    mailbox_count_get(c->v, id, &count);
    tombs.highest = count.max.modseq;
    tomb_each(c->v, id, 0, check_tomb, &tombs);
}

/* --- accounts ------------------------------------------------------------------------------------------------ */

struct sum {
    struct check *c;
    struct usage usage;
};

static bool sum_mailbox(void *arg, uint64_t mailbox, slice name UNUSED)
{
    struct sum *s = arg;
    struct mailbox_count count;

    mailbox_count_get(s->c->v, mailbox, &count); /* which check_rows holds against the rows */
    s->usage.bytes += count.bytes;
    s->usage.messages += count.messages;
    s->usage.mailboxes++;
    return true;
}

static bool sum_subscription(void *arg, uint64_t mailbox UNUSED, slice name UNUSED)
{
    struct sum *s = arg;

    s->usage.subscriptions++;
    return true;
}

static void check_account(struct check *c, uint64_t id)
{
    struct sum sum = { .c = c };
    struct account_head h;
    struct usage have;
    uint64_t found;

    if (!account_head_get(c->v, id, &h))
        return;
    name_each(c->v, id, sum_mailbox, &sum);
    subscribed_each(c->v, id, 0, sum_subscription, &sum);
    usage_get(c->v, id, &have);
    if (have.bytes != sum.usage.bytes || have.messages != sum.usage.messages ||
        have.mailboxes != sum.usage.mailboxes || have.subscriptions != sum.usage.subscriptions)
        fault(c, "S3: account %llu uses %llu octets, %llu messages, %u mailboxes, %u subscriptions; "
                 "there are %llu, %llu, %u, %u",
              (unsigned long long)id, (unsigned long long)have.bytes, (unsigned long long)have.messages,
              have.mailboxes, have.subscriptions, (unsigned long long)sum.usage.bytes,
              (unsigned long long)sum.usage.messages, sum.usage.mailboxes, sum.usage.subscriptions);
    if ((h.flags & HEAD_DOOMED) != 0)
        return;
    if (!name_find(c->v, id, SLICE("INBOX"), &found))
        fault(c, "S5: account %llu has no INBOX", (unsigned long long)id);
    if (!store_account_find(c->s, c->v, h.owner, &found) || found != id)
        fault(c, "account %llu is not found by its owner %llu", (unsigned long long)id, (unsigned long long)h.owner);
}

static void check_ledger(struct check *c, uint64_t id UNUSED)
{
    json_t *l = store_ledger(c->s, c->v);
    int64_t created = json_get_int(l, "created", -1), ended = json_get_int(l, "ended", -2);

    if (created != ended + json_get_int(l, "queued", 0))
        fault(c, "S6: the ledger has %lld recipients created, %lld ended", (long long)created, (long long)ended);
    json_decref(l);
}

/* --- the whole ----------------------------------------------------------------------------------------------- */

/* One thing in a read transaction of its own: readers are short, and everything that is compared stands in one. */
static int check_one(struct check *c, struct journal *j, void (*fn)(struct check *c, uint64_t id), uint64_t id,
                     struct err *err)
{
    struct journal_view v;

    if (journal_read_begin(j, &v, err) < 0)
        return -1;
    c->v = &v;
    fn(c, id);
    journal_read_end(&v);
    return 0;
}

/* The next object of a table behind `after`. */
static int next_id(struct journal *j, unsigned table, uint64_t after, uint64_t *id, struct err *err)
{
    struct journal_cursor cur;
    struct journal_view v;
    unsigned char key[8];
    slice found;

    if (journal_read_begin(j, &v, err) < 0)
        return -1;
    put_be64(key, after + 1);
    journal_cursor_begin(&cur, &v, table);
    *id = 0;
    if (journal_cursor_seek(&cur, slice_of(key, sizeof key), &found, NULL) && found.len == 8)
        *id = get_be64(found.ptr);
    journal_cursor_end(&cur);
    journal_read_end(&v);
    return 0;
}

static int check_table(struct check *c, struct journal *j, unsigned table, void (*fn)(struct check *c, uint64_t id),
                       struct err *err)
{
    uint64_t id = 0;

    do {
        if (next_id(j, table, id, &id, err) < 0 || (id != 0 && check_one(c, j, fn, id, err) < 0))
            return -1;
    } while (id != 0);
    return 0;
}

int store_check(struct store *s, journal_say_fn *say, void *arg, struct err *err)
{
    struct check c = { .s = s, .say = say, .arg = arg };
    unsigned percent;

    if (journal_rebuilding(s->journal, &percent))
        return err_set(err, ERR_TEMP, "the index is being rebuilt, %u %% are done", percent);
    if (check_table(&c, s->journal, STORE_TABLE_HEAD, check_mailbox, err) < 0 ||
        check_table(&c, s->journal, STORE_TABLE_ACCOUNT, check_account, err) < 0 ||
        check_one(&c, s->journal, check_ledger, 0, err) < 0)
        return -1;
    return c.faults;
}
