/* request.c - what each request answers: results, chains of operations, trees of names, quota. */
#include "store_site.h"

#include <pthread.h>
#include <semaphore.h>

#include "store/emit.h"
#include "store/names.h"
#include "store/view.h"

/* --- helpers ------------------------------------------------------------------------------------------------------ */

struct fill {
    struct journal_op op;
    uint64_t mailbox;
    unsigned count;
};

/* Up to 1,000 messages that share one body, in one operation. */
static int fill_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct fill *f = CONTAINER_OF(op, struct fill, op);
    struct store_row *rows = mem_alloc_array(f->count, sizeof *rows);
    struct mailbox_count c;
    uint64_t body = journal_emit_octets(tx, SLICE("0123456789"));

    (void)err;
    mailbox_count_get(journal_tx_view(tx), f->mailbox, &c);
    for (unsigned i = 0; i < f->count; i++)
        rows[i] = (struct store_row){ .uid = c.max.uidnext + i, .body = { 0, body, 0, 0, 10 } };
    messages_emit(tx, f->mailbox, rows, f->count);
    mem_free(rows);
    return 0;
}

static uint64_t id_of(struct site *s, uint64_t account, const char *name)
{
    struct store_mailbox m;

    return site_find(s, account, name, &m) ? m.id : 0;
}

static void fill(struct site *s, uint64_t account, const char *name, unsigned count)
{
    struct fill f = { .op = { .run = fill_run, .cost = 1000, .bytes = 100000 }, .mailbox = id_of(s, account, name) };
    struct err err = ERR_INIT;

    for (; count > 0; count -= f.count) {
        f.count = count < 1000 ? count : 1000;
        assert_int_equal(journal_run(s->j, &f.op, &err), 0);
    }
}

static unsigned messages(struct site *s, uint64_t account, const char *name)
{
    struct store_mailbox m;

    return site_find(s, account, name, &m) ? m.messages : UINT32_MAX;
}

static void quota_set(struct site *s, uint64_t account, uint64_t bytes)
{
    struct store_request *r = store_request_new(STORE_QUOTA_SET);

    r->account = account;
    r->quota_bytes = bytes;
    assert_int_equal(site_run(s, r), STORE_OK);
    store_request_destroy(&r);
}

static enum store_result transfer(struct site *s, enum store_what what, uint64_t account, const char *from,
                                  const char *to, struct store_request **out)
{
    struct store_request *r = store_request_new(what);
    enum store_result result;

    r->account = account;
    r->name = slice_str(from);
    r->to_name = slice_str(to);
    result = site_run(s, r);
    if (out != NULL)
        *out = r;
    else
        store_request_destroy(&r);
    return result;
}

/* Deletions end in the background: wait until nothing is doomed. */
static void reaped(struct site *s)
{
    struct err err = ERR_INIT;

    for (unsigned i = 0; i < 1000; i++) {
        struct journal_view v;
        uint64_t left;

        assert_int_equal(journal_settle(s->j, &err), 0); /* lets the committer take a turn */
        assert_int_equal(journal_read_begin(s->j, &v, &err), 0);
        left = journal_table_count(&v, STORE_TABLE_DOOMED);
        journal_read_end(&v);
        if (left == 0)
            return;
    }
    fail_msg("doomed mailboxes stay");
}

/* --- names and results -------------------------------------------------------------------------------------------- */

static void request__names_answer_as_they_should(void **state)
{
    static const struct {
        enum store_what what;
        const char *name, *other;
        enum store_result want;
    } rows[] = {
        { STORE_MAILBOX_CREATE, "x/y/z", "", STORE_OK }, /* makes x and x/y */
        { STORE_MAILBOX_CREATE, "x", "", STORE_EXISTS },
        { STORE_MAILBOX_CREATE, "x/", "", STORE_EXISTS },
        { STORE_MAILBOX_CREATE, "inbox", "", STORE_EXISTS },
        { STORE_MAILBOX_CREATE, "iNbOx/below", "", STORE_OK },
        { STORE_MAILBOX_DELETE, "INBOX/below", "", STORE_OK }, /* the same name */
        { STORE_MAILBOX_CREATE, "", "", STORE_BAD_NAME },
        { STORE_MAILBOX_CREATE, "/a", "", STORE_BAD_NAME },
        { STORE_MAILBOX_CREATE, "a//b", "", STORE_BAD_NAME },
        { STORE_MAILBOX_CREATE, "a%", "", STORE_BAD_NAME },
        { STORE_MAILBOX_CREATE, "a*", "", STORE_BAD_NAME },
        { STORE_MAILBOX_CREATE, "a\x01", "", STORE_BAD_NAME },
        { STORE_MAILBOX_CREATE, "a\xff", "", STORE_BAD_NAME },
        { STORE_MAILBOX_CREATE, "1/2/3/4/5", "", STORE_LIMIT }, /* depth_max 4 */
        { STORE_MAILBOX_CREATE, "123456789012345678901234567890123", "", STORE_LIMIT }, /* name_max 32 */
        { STORE_MAILBOX_DELETE, "INBOX", "", STORE_BAD_NAME }, /* S5 */
        { STORE_MAILBOX_DELETE, "none", "", STORE_NO_MAILBOX },
        { STORE_MAILBOX_DELETE, "x/y", "", STORE_HAS_CHILDREN },
        { STORE_MAILBOX_RENAME, "none", "q", STORE_NO_MAILBOX },
        { STORE_MAILBOX_RENAME, "x", "Sent", STORE_EXISTS },
        { STORE_MAILBOX_RENAME, "x", "x/y/w", STORE_BAD_NAME }, /* into itself */
        { STORE_MAILBOX_RENAME, "x", "p/q/r", STORE_LIMIT }, /* p/q/r/y/z would be on level 5 */
        { STORE_MAILBOX_RENAME, "x", "p/q", STORE_OK },
        { STORE_MAILBOX_RENAME, "p/q", "x", STORE_OK },
        { STORE_MAILBOX_DELETE, "p", "", STORE_OK }, /* it was made for p/q */
        { STORE_MAILBOX_RENAME, "x", "p", STORE_OK },
        { STORE_MAILBOX_DELETE, "p/y/z", "", STORE_OK },
        { STORE_MAILBOX_DELETE, "x", "", STORE_NO_MAILBOX },
        { STORE_SUBSCRIBE, "not there", "", STORE_OK },
        { STORE_SUBSCRIBE, "not there", "", STORE_OK },
        { STORE_UNSUBSCRIBE, "never", "", STORE_OK },
        { STORE_SUBSCRIBE, "a//b", "", STORE_BAD_NAME },
        { STORE_EXPUNGE, "none", "", STORE_NO_MAILBOX },
        { STORE_FLAGS, "none", "", STORE_NO_MAILBOX },
        { STORE_COPY, "INBOX", "none", STORE_NO_MAILBOX },
    };
    uint64_t account;
    struct site s;

    (void)state;
    site_begin(&s);
    s.conf.name_max = 32;
    s.conf.depth_max = 4;
    store_configure(s.store, &s.conf);
    account = site_account(&s, 7, "carol");
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum store_result want = rows[i].want;
        enum store_result got = site_name(&s, rows[i].what, account, rows[i].name, rows[i].other);
        if (got != want)
            fail_msg("row %u: %s: %d instead of %d", i, rows[i].name, (int)got, (int)want);
    }
    assert_int_equal(site_name(&s, STORE_MAILBOX_CREATE, account + 12345, "a", ""), STORE_NO_MAILBOX);
    site_sound(&s);
    site_end(&s);
}

struct names {
    char text[400];
};

static bool list_add(void *arg, const struct store_mailbox *m)
{
    struct names *n = arg;
    size_t len = strlen(n->text);

    snprintf(n->text + len, sizeof n->text - len, "%.*s%s%s%s%s\n", SLICE_ARG(m->name), m->has_children ? " +" : "",
             m->is_subscribed ? " s" : "", m->id == 0 ? " none" : "", store_special_names[m->special_use]);
    return true;
}

static void request__list_is_in_order_with_children_and_subscriptions(void **state)
{
    struct names n = { "" };
    struct journal_view v;
    struct err err = ERR_INIT;
    uint64_t account;
    struct site s;

    (void)state;
    site_begin(&s);
    account = site_account(&s, 7, "carol");
    assert_int_equal(site_name(&s, STORE_MAILBOX_CREATE, account, "a/b", ""), STORE_OK);
    assert_int_equal(site_name(&s, STORE_MAILBOX_CREATE, account, "a b", ""), STORE_OK);
    assert_int_equal(site_name(&s, STORE_SUBSCRIBE, account, "gone", ""), STORE_OK);
    assert_int_equal(site_name(&s, STORE_UNSUBSCRIBE, account, "Sent", ""), STORE_OK);
    assert_int_equal(journal_read_begin(s.j, &v, &err), 0);
    store_mailbox_list(s.store, &v, account, list_add, &n);
    journal_read_end(&v);
    assert_string_equal(n.text, "Archive s\\Archive\nDrafts s\\Drafts\nINBOX s\nJunk s\\Junk\nSent\\Sent\n"
                                "Trash s\\Trash\na +\na b\na/b\ngone s none\n");
    site_end(&s);
}

static void request__a_name_made_anew_has_another_uidvalidity(void **state)
{
    struct store_mailbox m;
    uint32_t last = 0;
    uint64_t account;
    struct site s;

    (void)state;
    site_begin(&s);
    account = site_account(&s, 7, "carol");
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(site_name(&s, STORE_MAILBOX_CREATE, account, "x", ""), STORE_OK);
        assert_true(site_find(&s, account, "x", &m));
        assert_true(m.uidvalidity > last);
        last = m.uidvalidity;
        assert_int_equal(site_name(&s, STORE_MAILBOX_DELETE, account, "x", ""), STORE_OK);
        site_reopen(&s, i % 2 == 0);
    }
    site_end(&s);
}

static void request__rename_takes_the_tree_along_and_inbox_stays(void **state)
{
    uint64_t account, id;
    struct site s;

    (void)state;
    site_begin(&s);
    account = site_account(&s, 7, "carol");
    assert_int_equal(site_name(&s, STORE_MAILBOX_CREATE, account, "a/b/c", ""), STORE_OK);
    fill(&s, account, "a/b/c", 3);
    id = id_of(&s, account, "a/b/c");
    assert_int_equal(site_name(&s, STORE_MAILBOX_RENAME, account, "a", "n/m"), STORE_OK);
    assert_int_equal(id_of(&s, account, "a"), 0);
    assert_int_equal(id_of(&s, account, "n/m/b/c"), id);
    assert_int_equal(messages(&s, account, "n/m/b/c"), 3);
    assert_int_equal(messages(&s, account, "n"), 0);
    fill(&s, account, "INBOX", 2345); /* three pieces */
    assert_int_equal(site_name(&s, STORE_MAILBOX_CREATE, account, "INBOX/sub", ""), STORE_OK);
    assert_int_equal(site_name(&s, STORE_MAILBOX_RENAME, account, "inbox", "old/mail"), STORE_OK);
    assert_int_equal(messages(&s, account, "INBOX"), 0);
    assert_int_equal(messages(&s, account, "INBOX/sub"), 0);
    assert_int_equal(messages(&s, account, "old/mail"), 2345);
    site_sound(&s);
    site_end(&s);
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static void request__large_copies_run_in_pieces_and_are_all_or_nothing(void **state)
{
    struct store_request *r;
    uint64_t account;
    struct site s;

    (void)state;
    site_begin(&s);
    account = site_account(&s, 7, "carol");
    fill(&s, account, "INBOX", 4200); /* beyond one page */
    assert_int_equal(transfer(&s, STORE_COPY, account, "INBOX", "Sent", &r), STORE_OK);
    assert_int_equal(r->from_count, 1);
    assert_int_equal(r->from_uids[0].last, 4200);
    assert_int_equal(r->to_uids[0].last, 4200);
    store_request_destroy(&r);
    assert_int_equal(messages(&s, account, "Sent"), 4200);
    site_sound(&s);

    quota_set(&s, account, (8400 + 2500) * 10); /* room for 2,500 more */
    assert_int_equal(transfer(&s, STORE_COPY, account, "INBOX", "Archive", &r), STORE_OVER_QUOTA);
    assert_int_equal(r->to_count, 0);
    store_request_destroy(&r);
    assert_int_equal(messages(&s, account, "Archive"), 0);
    assert_int_equal(messages(&s, account, "INBOX"), 4200);
    site_sound(&s);

    assert_int_equal(transfer(&s, STORE_MOVE, account, "INBOX", "INBOX", &r), STORE_OK); /* onto itself: once each */
    assert_int_equal(r->to_uids[0].first, 4201);
    assert_int_equal(r->to_uids[r->to_count - 1].last, 8400);
    store_request_destroy(&r);
    assert_int_equal(messages(&s, account, "INBOX"), 4200);
    assert_int_equal(transfer(&s, STORE_MOVE, account, "INBOX", "Trash", NULL), STORE_OK); /* needs no quota */
    assert_int_equal(messages(&s, account, "INBOX"), 0);
    assert_int_equal(messages(&s, account, "Trash"), 4200);
    site_sound(&s);
    site_reopen(&s, true);
    site_sound(&s);
    site_end(&s);
}

/* The committer stands in front of the COPY until the journal takes no more: it then does the first piece, and no other
 * is taken, so the copies stay as if the process had died there. */
struct gate {
    struct journal_op op;
    sem_t reached, open;
};

static int gate_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct gate *g = CONTAINER_OF(op, struct gate, op);

    (void)tx;
    (void)err;
    sem_post(&g->reached);
    sem_wait(&g->open);
    return 0;
}

static void nothing_more(struct journal_op *op)
{
    (void)op;
}

/* As journal_close does it, but at once: a helper that empties a segment may stand behind the gate, and closing waits
 * for helpers first. */
static void submits_end(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    j->is_closing = true;
    pthread_mutex_unlock(&j->lock);
}

static void on_told(struct store_request *r)
{
    (void)r;
}

/* COPY of INBOX to `name`, of which only the first piece is done; the store is shut. */
static void copy_interrupted(struct site *s, uint64_t account, const char *name)
{
    struct gate g = { .op = { .run = gate_run, .done = nothing_more, .cost = 1 } };
    struct store_request *r = store_request_new(STORE_COPY);

    sem_init(&g.reached, 0, 0);
    sem_init(&g.open, 0, 0);
    assert_true(journal_submit(s->j, &g.op));
    sem_wait(&g.reached);
    r->account = account;
    r->name = SLICE("INBOX");
    r->to_name = slice_str(name);
    r->done = on_told;
    store_request_submit(s->store, r);
    submits_end(s->j);
    sem_post(&g.open);
    journal_close(&s->j);
    assert_int_equal(r->result, STORE_TEMP);
    store_request_destroy(&r);
    site_shut(s);
    sem_destroy(&g.reached);
    sem_destroy(&g.open);
}

static uint64_t copies_underway(struct site *s)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    uint64_t n;

    assert_int_equal(journal_read_begin(s->j, &v, &err), 0);
    n = journal_table_count(&v, STORE_TABLE_COPYING);
    journal_read_end(&v);
    return n;
}

static void request__copies_cut_off_are_taken_back_by_the_next_start(void **state)
{
    struct rng rng;
    uint64_t account;
    struct site s;

    (void)state;
    rng_init(&rng, 7);
    for (unsigned discard = 0; discard < 2; discard++) { /* by the index as it stands, and by a rebuilt one */
        site_begin(&s);
        account = site_account(&s, 7, "carol");
        fill(&s, account, "INBOX", 3500);
        fill(&s, account, "Archive", 10);
        copy_interrupted(&s, account, "Archive");
        site_open(&s, discard != 0);
        for (unsigned i = 0; i < 1000 && copies_underway(&s) != 0; i++) { /* each waits for one more operation */
            struct err err = ERR_INIT;

            assert_int_equal(journal_settle(s.j, &err), 0);
        }
        assert_int_equal(copies_underway(&s), 0);
        assert_int_equal(messages(&s, account, "Archive"), 10);
        assert_int_equal(messages(&s, account, "INBOX"), 3500);
        site_sound(&s);
        site_empty(&s, &rng); /* the ended object leaves nothing that a rebuild would bring back */
        site_reopen(&s, true);
        assert_int_equal(copies_underway(&s), 0);
        assert_int_equal(messages(&s, account, "Archive"), 10);
        site_sound_journal(&s);
        site_end(&s);
    }
}

static enum store_result keywords_change(struct site *s, uint64_t account, uint32_t uid, enum store_flag_mode mode,
                                         const slice *names, unsigned count)
{
    struct store_request *r = store_request_new(STORE_FLAGS);
    struct uid_range one = { uid, uid };
    enum store_result result;

    r->account = account;
    r->name = SLICE("INBOX");
    r->uids = &one;
    r->uid_count = 1;
    r->mode = mode;
    r->keywords = names;
    r->keyword_count = count;
    result = site_run(s, r);
    store_request_destroy(&r);
    return result;
}

/* "a c d" of uid, by the view's names. */
static void keywords_are(struct site *s, uint64_t account, uint32_t uid, const char *expected)
{
    struct store_view *v;
    struct err err = ERR_INIT;
    struct buf text = BUF_INIT;
    const struct store_row *row;

    assert_int_equal(store_view_open(s->store, id_of(s, account, "INBOX"), &v, &err), 0);
    row = store_view_row(v, store_view_find(v, uid));
    assert_non_null(row);
    for (unsigned i = 0; i < 64; i++)
        if ((row->keywords >> i & 1) != 0)
            buf_printf(&text, "%s%.*s", text.len == 0 ? "" : " ", SLICE_ARG(store_view_keyword(v, i)));
    assert_string_equal(buf_str(&text), expected);
    buf_free(&text);
    store_view_unref(&v);
}

static void request__a_keyword_that_no_message_has_makes_room(void **state)
{
    const slice first[] = { SLICE("a"), SLICE("b"), SLICE("c"), SLICE("d") };
    const slice e = SLICE("e"), f = SLICE("f"), b = SLICE("B");
    const slice both[] = { SLICE("e"), SLICE("f") };
    struct store_view *held;
    struct err err = ERR_INIT;
    uint64_t account;
    struct site s;

    (void)state;
    site_begin(&s);
    s.conf.keywords_max = 4;
    store_configure(s.store, &s.conf);
    account = site_account(&s, 7, "carol");
    fill(&s, account, "INBOX", 10);
    assert_int_equal(keywords_change(&s, account, 1, STORE_FLAGS_ADD, first, 4), STORE_OK);
    assert_int_equal(store_view_open(s.store, id_of(&s, account, "INBOX"), &held, &err), 0); /* of before */
    assert_int_equal(keywords_change(&s, account, 2, STORE_FLAGS_ADD, &e, 1), STORE_LIMIT);
    assert_int_equal(keywords_change(&s, account, 1, STORE_FLAGS_REMOVE, &b, 1), STORE_OK); /* caseless */
    assert_int_equal(keywords_change(&s, account, 2, STORE_FLAGS_ADD, both, 2), STORE_LIMIT); /* one is free */
    assert_int_equal(keywords_change(&s, account, 2, STORE_FLAGS_ADD, &e, 1), STORE_OK);
    keywords_are(&s, account, 1, "a c d");
    keywords_are(&s, account, 2, "e");
    assert_true(slice_eq(store_view_keyword(held, 1), SLICE("b"))); /* a version is what it was */
    store_view_unref(&held);
    assert_int_equal(keywords_change(&s, account, 3, STORE_FLAGS_ADD, &f, 1), STORE_LIMIT);
    {
        struct store_request *r = store_request_new(STORE_EXPUNGE);
        struct uid_range two = { 2, 2 };

        r->account = account;
        r->name = SLICE("INBOX");
        r->uids = &two;
        r->uid_count = 1;
        assert_int_equal(site_run(&s, r), STORE_OK);
        store_request_destroy(&r);
    }
    assert_int_equal(keywords_change(&s, account, 3, STORE_FLAGS_SET, &f, 1), STORE_OK);
    keywords_are(&s, account, 3, "f");
    assert_int_equal(keywords_change(&s, account, 1, STORE_FLAGS_SET, NULL, 0), STORE_OK);
    /* f is known, e takes a place */
    assert_int_equal(keywords_change(&s, account, 4, STORE_FLAGS_ADD, both, 2), STORE_OK);
    keywords_are(&s, account, 4, "e f");
    site_sound(&s);
    site_reopen(&s, true);
    keywords_are(&s, account, 4, "e f");
    keywords_are(&s, account, 3, "f");
    site_sound(&s);
    site_sound_journal(&s);
    site_end(&s);
}

static void request__unchanged_since_names_what_changed(void **state)
{
    struct uid_range all = { 1, 10 }, one = { 4, 4 };
    struct store_request *r;
    uint64_t account, modseq;
    struct site s;

    (void)state;
    site_begin(&s);
    account = site_account(&s, 7, "carol");
    fill(&s, account, "INBOX", 10);
    r = store_request_new(STORE_FLAGS);
    r->account = account;
    r->name = SLICE("INBOX");
    r->uids = &one;
    r->uid_count = 1;
    r->mode = STORE_FLAGS_ADD;
    r->flags.system = STORE_SEEN;
    assert_int_equal(site_run(&s, r), STORE_OK);
    modseq = r->modseq;
    assert_true(modseq != 0);
    store_request_destroy(&r);
    for (unsigned i = 0; i < 2; i++) {
        r = store_request_new(STORE_FLAGS);
        r->account = account;
        r->name = SLICE("INBOX");
        r->uids = &all;
        r->uid_count = 1;
        r->mode = STORE_FLAGS_ADD;
        r->flags.system = STORE_FLAGGED;
        r->has_unchanged_since = true;
        r->unchanged_since = modseq - 1;
        assert_int_equal(site_run(&s, r), STORE_OK);
        assert_int_equal(r->modified_count, i == 0 ? 1 : 1);
        assert_int_equal(r->modified[0].first, i == 0 ? 4 : 1);
        assert_int_equal(r->modified[0].last, i == 0 ? 4 : 10);
        store_request_destroy(&r);
    }
    r = store_request_new(STORE_FLAGS); /* the same flags again: no change, no modseq */
    r->account = account;
    r->name = SLICE("INBOX");
    r->uids = &one;
    r->uid_count = 1;
    r->mode = STORE_FLAGS_ADD;
    r->flags.system = STORE_SEEN;
    assert_int_equal(site_run(&s, r), STORE_OK);
    assert_int_equal(r->modseq, 0);
    assert_int_equal(r->from_count, 0);
    store_request_destroy(&r);
    site_end(&s);
}

static void request__limits_refuse_without_a_trace(void **state)
{
    slice three[3] = { SLICE("k1"), SLICE("k2"), SLICE("K1") };
    struct store_request *r;
    struct buf before = BUF_INIT, after = BUF_INIT;
    struct journal_view v;
    struct err err = ERR_INIT;
    uint64_t account;
    struct site s;

    (void)state;
    site_begin(&s);
    account = site_account(&s, 7, "carol");
    s.conf.keywords_max = 1;
    s.conf.mailboxes_max = 6; /* INBOX and the five of store.create */
    store_configure(s.store, &s.conf);
    site_dump(&s, &before);
    assert_int_equal(site_name(&s, STORE_MAILBOX_CREATE, account, "more", ""), STORE_LIMIT);
    r = site_append(&s, account, "INBOX", SLICE("x"));
    r->keywords = three;
    r->keyword_count = 3; /* two names */
    assert_int_equal(site_run(&s, r), STORE_LIMIT);
    store_request_destroy(&r);
    quota_set(&s, account, 10);
    r = site_append(&s, account, "INBOX", SLICE("12345678901"));
    assert_int_equal(site_run(&s, r), STORE_OVER_QUOTA);
    store_request_destroy(&r);
    assert_int_equal(journal_read_begin(s.j, &v, &err), 0);
    assert_int_equal(store_deliver_check(s.store, &v, account, SLICE("inbox"), 11), STORE_TOO_LARGE);
    assert_int_equal(store_deliver_check(s.store, &v, account, SLICE("inbox"), 10), STORE_OK);
    assert_int_equal(store_deliver_check(s.store, &v, account, SLICE("none"), 11), STORE_NO_MAILBOX);
    assert_int_equal(store_deliver_check(s.store, &v, account + 999, SLICE("INBOX"), 1), STORE_NO_MAILBOX);
    journal_read_end(&v);
    quota_set(&s, account, 0);
    site_dump(&s, &after);
    dumps_same(&before, &after, "refusals");
    r = site_append(&s, account, "INBOX", SLICE("x"));
    r->keywords = &three[1];
    r->keyword_count = 1;
    assert_int_equal(site_run(&s, r), STORE_OK);
    store_request_destroy(&r);
    buf_free(&before);
    buf_free(&after);
    site_end(&s);
}

/* --- deleting much ------------------------------------------------------------------------------------------------ */

static void request__deletions_leave_nothing_behind(void **state)
{
    struct store_request *r;
    struct journal_view v;
    struct err err = ERR_INIT;
    uint64_t account, found;
    struct site s;

    (void)state;
    site_begin(&s);
    account = site_account(&s, 7, "carol");
    assert_int_equal(site_name(&s, STORE_MAILBOX_CREATE, account, "big", ""), STORE_OK);
    fill(&s, account, "big", 2500);
    fill(&s, account, "INBOX", 1200);
    assert_int_equal(site_name(&s, STORE_MAILBOX_DELETE, account, "big", ""), STORE_OK);
    assert_int_equal(id_of(&s, account, "big"), 0);
    assert_int_equal(site_name(&s, STORE_MAILBOX_CREATE, account, "big", ""), STORE_OK); /* at once, another one */
    assert_int_equal(messages(&s, account, "big"), 0);
    site_reopen(&s, false); /* what was left half done goes on */
    reaped(&s);
    site_sound(&s);

    r = store_request_new(STORE_ACCOUNT_DELETE);
    r->owner = 7;
    assert_int_equal(site_run(&s, r), STORE_OK);
    store_request_destroy(&r);
    reaped(&s);
    assert_int_equal(journal_read_begin(s.j, &v, &err), 0);
    assert_false(store_account_find(s.store, &v, 7, &found));
    for (unsigned table = STORE_TABLE_ACCOUNT; table <= STORE_TABLE_DOOMED; table++)
        assert_int_equal(journal_table_count(&v, table), 0);
    journal_read_end(&v);
    site_sound_journal(&s);
    site_reopen(&s, true);
    assert_int_equal(journal_read_begin(s.j, &v, &err), 0);
    for (unsigned table = STORE_TABLE_ACCOUNT; table <= STORE_TABLE_DOOMED; table++)
        assert_int_equal(journal_table_count(&v, table), 0);
    journal_read_end(&v);
    assert_true(site_account(&s, 7, "carol") != account);
    site_end(&s);
}

/* A session that goes while its request is under way. */
static void on_never(struct store_request *r)
{
    (void)r;
    fail_msg("done was called for a request that was destroyed");
}

static void request__destroyed_under_way_it_ends_by_itself(void **state)
{
    struct store_request *r;
    struct reactor *reactor;
    struct err err = ERR_INIT;
    uint64_t account;
    struct site s;

    (void)state;
    site_begin(&s);
    account = site_account(&s, 7, "carol");
    reactor = reactor_new("test", &s.clock, &err);
    r = store_request_new(STORE_MAILBOX_CREATE);
    r->account = account;
    r->name = SLICE("x");
    r->reactor = reactor;
    r->done = on_never;
    store_request_submit(s.store, r);
    store_request_destroy(&r);
    assert_null(r);
    for (unsigned i = 0; i < 1000 && id_of(&s, account, "x") == 0; i++)
        assert_int_equal(journal_settle(s.j, &err), 0); /* another lane may come first */
    assert_true(id_of(&s, account, "x") != 0);
    journal_close(&s.j); /* what was answered is posted now */
    store_detach(s.store);
    reactor_destroy(&reactor); /* calls it, which reads the store */
    site_shut(&s);
    site_open(&s, false);
    site_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request__names_answer_as_they_should),
        cmocka_unit_test(request__list_is_in_order_with_children_and_subscriptions),
        cmocka_unit_test(request__a_name_made_anew_has_another_uidvalidity),
        cmocka_unit_test(request__rename_takes_the_tree_along_and_inbox_stays),
        cmocka_unit_test(request__large_copies_run_in_pieces_and_are_all_or_nothing),
        cmocka_unit_test(request__copies_cut_off_are_taken_back_by_the_next_start),
        cmocka_unit_test(request__a_keyword_that_no_message_has_makes_room),
        cmocka_unit_test(request__unchanged_since_names_what_changed),
        cmocka_unit_test(request__limits_refuse_without_a_trace),
        cmocka_unit_test(request__deletions_leave_nothing_behind),
        cmocka_unit_test(request__destroyed_under_way_it_ends_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
