/* model.c - random requests against a model in memory, through reopening, rebuilding and emptying. */
#include "store_site.h"

#define ACCOUNTS 2u
#define NAMES 7u
#define ROWS_MAX 60u

static const char *const pool_names[NAMES] = { "INBOX", "a", "a/b", "a/b/c", "z", "z/\xc3\xa4", "Sent" };
static const char *const keyword_names[3] = { "$Forwarded", "Work", "$Junk" };

struct mrow {
    uint32_t uid, system, bytes;
    unsigned keywords; /* bit n: keyword_names[n] */
};
struct mbox {
    bool exists, subscribed;
    uint32_t uidnext, uidvalidity;
    unsigned count;
    struct mrow rows[ROWS_MAX];
};
struct model {
    uint64_t account[ACCOUNTS];
    struct mbox box[ACCOUNTS][NAMES];
    uint64_t created, delivered; /* of the ledger */
};

/* --- comparing ---------------------------------------------------------------------------------------------------- */

static unsigned keywords_of(struct journal_view *v, uint64_t mailbox, uint64_t bits)
{
    struct mailbox_head h;
    unsigned out = 0;

    assert_true(mailbox_head_get(v, mailbox, &h));
    for (uint32_t i = 0; i < h.keyword_count; i++)
        for (unsigned k = 0; k < 3; k++)
            if ((bits >> i & 1) != 0 && slice_eq(h.keyword[i], slice_str(keyword_names[k])))
                out |= 1u << k;
    return out;
}

static void same_box(struct site *s, struct journal_view *v, uint64_t account, const char *name, struct mbox *b)
{
    struct store_mailbox m;
    struct row_cursor rc;
    struct store_row row;
    unsigned n = 0;

    if (!store_mailbox_find(s->store, v, account, slice_str(name), &m)) {
        assert_false(b->exists);
        return;
    }
    if (!b->exists || m.messages != b->count || m.uidnext != b->uidnext || m.is_subscribed != b->subscribed)
        fail_msg("%s: exists %d/1, messages %u/%u, uidnext %u/%u, subscribed %d/%d", name, b->exists, b->count,
                 m.messages, b->uidnext, m.uidnext, b->subscribed, m.is_subscribed);
    if (b->uidvalidity == 0)
        b->uidvalidity = m.uidvalidity; /* just made */
    assert_int_equal(m.uidvalidity, b->uidvalidity);
    row_cursor_begin(&rc, v, m.id, 0);
    while (row_cursor_next(&rc, &row)) {
        assert_true(n < b->count);
        assert_int_equal(row.uid, b->rows[n].uid);
        assert_int_equal(row.system, b->rows[n].system);
        assert_int_equal(row.bytes, b->rows[n].bytes);
        assert_int_equal(keywords_of(v, m.id, row.keywords), b->rows[n].keywords);
        n++;
    }
    row_cursor_end(&rc);
    assert_int_equal(n, b->count);
}

static void same(struct site *s, struct model *m)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    json_t *ledger;

    assert_int_equal(journal_read_begin(s->j, &v, &err), 0);
    for (unsigned a = 0; a < ACCOUNTS; a++) {
        struct store_quota q;
        uint64_t bytes = 0;

        for (unsigned n = 0; n < NAMES; n++) {
            same_box(s, &v, m->account[a], pool_names[n], &m->box[a][n]);
            for (unsigned i = 0; m->box[a][n].exists && i < m->box[a][n].count; i++)
                bytes += m->box[a][n].rows[i].bytes;
        }
        assert_true(store_account_quota(s->store, &v, m->account[a], &q));
        assert_int_equal(q.used_bytes, bytes);
    }
    ledger = store_ledger(s->store, &v);
    assert_int_equal(json_get_int(ledger, "created", -1), (int64_t)m->created);
    assert_int_equal(json_get_int(ledger, "ended", -1), (int64_t)m->created);
    json_decref(ledger);
    journal_read_end(&v);
    site_sound(s);
}

/* --- the model's own rules ---------------------------------------------------------------------------------------- */

static bool below(unsigned n, unsigned parent)
{
    size_t len = strlen(pool_names[parent]);

    return n != parent && strncmp(pool_names[n], pool_names[parent], len) == 0 && pool_names[n][len] == '/';
}

static void box_make(struct model *m, unsigned a, unsigned n)
{
    bool subscribed = m->box[a][n].subscribed;

    for (unsigned p = 0; p < NAMES; p++)
        if (below(n, p) && !m->box[a][p].exists)
            box_make(m, a, p);
    m->box[a][n] = (struct mbox){ .exists = true, .uidnext = 1, .subscribed = subscribed };
}

static struct mrow *row_add(struct mbox *b, const struct mrow *from)
{
    struct mrow *r = &b->rows[b->count++];

    *r = *from;
    r->uid = b->uidnext++;
    return r;
}

static void row_del(struct mbox *b, unsigned i)
{
    memmove(&b->rows[i], &b->rows[i + 1], (b->count - i - 1) * sizeof b->rows[0]);
    b->count--;
}

/* --- steps: random request, same answer, same change -------------------------------------------------------------- */

struct step {
    struct site *s;
    struct model *m;
    struct rng *rng;
    unsigned a, n, k; /* account, mailbox, another mailbox */
};

static unsigned below_rng(struct step *t, unsigned n)
{
    return (unsigned)rng_below(t->rng, n);
}

static void flags_pick(struct step *t, struct mrow *row, slice names[3], unsigned *count)
{
    row->system = below_rng(t, 32);
    row->keywords = below_rng(t, 8);
    *count = 0;
    for (unsigned k = 0; k < 3; k++)
        if ((row->keywords >> k & 1) != 0)
            names[(*count)++] = slice_str(keyword_names[k]);
}

static void step_append(struct step *t)
{
    struct mbox *b = &t->m->box[t->a][t->n];
    unsigned char octets[3000];
    struct mrow row = { .bytes = 1 + below_rng(t, sizeof octets - 1) };
    struct store_request *r;
    slice names[3];
    bool with_header = below_rng(t, 2) == 0;

    if (b->exists && b->count == ROWS_MAX)
        return;
    memset(octets, (int)below_rng(t, 256), sizeof octets);
    r = site_append(t->s, t->m->account[t->a], pool_names[t->n], slice_of(octets, row.bytes));
    flags_pick(t, &row, names, &r->keyword_count);
    r->keywords = names;
    r->flags.system = row.system;
    if (with_header) { /* "Return-Path: x" stands in the place of the first octet */
        r->header = SLICE("Return-Path: x\r\n");
        r->body_at = 1;
        row.bytes += 15;
    }
    assert_int_equal(site_run(t->s, r), b->exists ? STORE_OK : STORE_NO_MAILBOX);
    if (b->exists) {
        row_add(b, &row);
        assert_int_equal(r->to_count, 1);
        assert_int_equal(r->to_uids[0].first, b->uidnext - 1);
    }
    store_request_destroy(&r);
}

struct delivery {
    struct journal_op op;
    struct store *store;
    struct body_writer *w;
    struct store_delivery_target targets[ACCOUNTS];
};

static int deliver_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct delivery *d = CONTAINER_OF(op, struct delivery, op);
    uint64_t id = journal_emit_body(tx, d->w);

    (void)err;
    store_deliver_emit(d->store, tx, id, (uint32_t)body_writer_bytes(d->w), d->targets, ACCOUNTS);
    return 0;
}

static void step_deliver(struct step *t)
{
    struct delivery d = { .op = { .run = deliver_run, .cost = 1, .lane = LANE_RECEPTION }, .store = t->s->store };
    struct err err = ERR_INIT;

    for (unsigned a = 0; a < ACCOUNTS; a++)
        if (t->m->box[a][t->n].count == ROWS_MAX)
            return;
    d.w = body_writer_new(t->s->j);
    assert_int_equal(body_writer_write(d.w, SLICE("Subject: x\r\n\r\nbody\r\n"), &err), 0);
    assert_int_equal(body_writer_finish(d.w, &err), 0);
    for (unsigned a = 0; a < ACCOUNTS; a++)
        d.targets[a] = (struct store_delivery_target){ .account = t->m->account[a],
                                                       .mailbox = slice_str(pool_names[t->n]) };
    d.targets[1].header = SLICE("X: y\r\n");
    d.targets[1].body_at = 12;
    assert_int_equal(journal_run(t->s->j, &d.op, &err), 0);
    for (unsigned a = 0; a < ACCOUNTS; a++) {
        struct mbox *b = &t->m->box[a][t->n];

        assert_int_equal(d.targets[a].result, b->exists ? STORE_OK : STORE_NO_MAILBOX);
        if (b->exists)
            assert_int_equal(d.targets[a].uid,
                             row_add(b, &(struct mrow){ .bytes = a == 0 ? 20 : 14 })->uid);
        t->m->delivered += b->exists;
        t->m->created++;
    }
    body_writer_destroy(&d.w);
}

static void step_flags(struct step *t)
{
    struct mbox *b = &t->m->box[t->a][t->n];
    struct store_request *r = store_request_new(STORE_FLAGS);
    struct uid_range range = { 1 + below_rng(t, b->uidnext + 1), 1 + below_rng(t, b->uidnext + 1) };
    uint32_t low = range.first < range.last ? range.first : range.last;
    uint32_t high = range.first < range.last ? range.last : range.first;
    struct mrow set = { 0 };
    slice names[3];

    r->account = t->m->account[t->a];
    r->name = slice_str(pool_names[t->n]);
    r->uids = &range;
    r->uid_count = 1;
    r->mode = (enum store_flag_mode)below_rng(t, 3);
    flags_pick(t, &set, names, &r->keyword_count);
    r->keywords = names;
    r->flags.system = set.system;
    assert_int_equal(site_run(t->s, r), b->exists ? STORE_OK : STORE_NO_MAILBOX);
    for (unsigned i = 0; b->exists && i < b->count; i++) {
        struct mrow *row = &b->rows[i];

        if (row->uid < low || row->uid > high)
            continue;
        row->system = r->mode == STORE_FLAGS_SET   ? set.system
                      : r->mode == STORE_FLAGS_ADD ? row->system | set.system
                                                   : row->system & ~set.system;
        row->keywords = r->mode == STORE_FLAGS_SET   ? set.keywords
                        : r->mode == STORE_FLAGS_ADD ? row->keywords | set.keywords
                                                     : row->keywords & ~set.keywords;
    }
    store_request_destroy(&r);
}

static void step_copy(struct step *t, bool moves)
{
    struct mbox *from = &t->m->box[t->a][t->n], *to = &t->m->box[t->a][t->k];
    struct store_request *r = store_request_new(moves ? STORE_MOVE : STORE_COPY);
    struct uid_range range = { 1 + below_rng(t, from->uidnext + 1), UINT32_MAX };
    bool works = from->exists && to->exists;
    unsigned total = from->count, want = 0, done = 0;

    for (unsigned i = 0; i < total; i++)
        want += from->rows[i].uid >= range.first;
    r->account = t->m->account[t->a];
    r->name = slice_str(pool_names[t->n]);
    r->to_name = slice_str(pool_names[t->k]);
    r->uids = &range;
    r->uid_count = 1;
    if (works && to->count + want > ROWS_MAX)
        goto out;
    assert_int_equal(site_run(t->s, r), works ? STORE_OK : STORE_NO_MAILBOX);
    for (unsigned i = 0, seen = 0; works && seen < total; seen++) {
        if (from->rows[i].uid < range.first) {
            i++;
            continue;
        }
        row_add(to, &from->rows[i]);
        done++;
        if (moves)
            row_del(from, i);
        else
            i++;
    }
    for (unsigned i = 0; i < r->from_count; i++) {
        assert_int_equal(r->from_uids[i].last - r->from_uids[i].first, r->to_uids[i].last - r->to_uids[i].first);
        done -= r->from_uids[i].last - r->from_uids[i].first + 1;
    }
    assert_int_equal(done, 0);
    assert_int_equal(r->from_count, r->to_count);
out:
    store_request_destroy(&r);
}

static void step_expunge(struct step *t)
{
    struct mbox *b = &t->m->box[t->a][t->n];
    struct store_request *r = store_request_new(STORE_EXPUNGE);

    r->account = t->m->account[t->a];
    r->name = slice_str(pool_names[t->n]);
    r->only_deleted = true;
    assert_int_equal(site_run(t->s, r), b->exists ? STORE_OK : STORE_NO_MAILBOX);
    for (unsigned i = 0; b->exists && i < b->count;)
        if ((b->rows[i].system & STORE_DELETED) != 0)
            row_del(b, i);
        else
            i++;
    store_request_destroy(&r);
}

static void step_create(struct step *t)
{
    bool exists = t->m->box[t->a][t->n].exists;

    assert_int_equal(site_name(t->s, STORE_MAILBOX_CREATE, t->m->account[t->a], pool_names[t->n], ""),
                     exists ? STORE_EXISTS : STORE_OK);
    if (!exists)
        box_make(t->m, t->a, t->n);
}

static void step_delete(struct step *t)
{
    struct mbox *b = &t->m->box[t->a][t->n];
    enum store_result want = !b->exists ? STORE_NO_MAILBOX : t->n == 0 ? STORE_BAD_NAME : STORE_OK;

    for (unsigned n = 0; n < NAMES && want == STORE_OK; n++)
        if (below(n, t->n) && t->m->box[t->a][n].exists)
            want = STORE_HAS_CHILDREN;
    assert_int_equal(site_name(t->s, STORE_MAILBOX_DELETE, t->m->account[t->a], pool_names[t->n], ""), want);
    if (want == STORE_OK)
        *b = (struct mbox){ .subscribed = b->subscribed };
}

/* Only between names without others below them in the pool; trees are tested by name in request.c. */
static void step_rename(struct step *t)
{
    struct mbox *from = &t->m->box[t->a][t->n], *to = &t->m->box[t->a][t->k], was = *from;
    bool to_subscribed = to->subscribed;
    enum store_result want = !from->exists ? STORE_NO_MAILBOX : to->exists ? STORE_EXISTS : STORE_OK;

    for (unsigned n = 0; n < NAMES; n++)
        if (t->n != 0 && below(n, t->n))
            return;
    assert_int_equal(site_name(t->s, STORE_MAILBOX_RENAME, t->m->account[t->a], pool_names[t->n], pool_names[t->k]),
                     want);
    if (want != STORE_OK)
        return;
    box_make(t->m, t->a, t->k);
    if (t->n == 0) { /* INBOX: the messages get new numbers */
        from->count = 0;
        for (unsigned i = 0; i < was.count; i++)
            row_add(to, &was.rows[i]);
        return;
    }
    *to = was;
    to->subscribed = to_subscribed;
    *from = (struct mbox){ .subscribed = was.subscribed };
}

static void step_subscribe(struct step *t)
{
    bool on = below_rng(t, 2) == 0;

    assert_int_equal(site_name(t->s, on ? STORE_SUBSCRIBE : STORE_UNSUBSCRIBE, t->m->account[t->a], pool_names[t->n],
                               ""),
                     STORE_OK);
    t->m->box[t->a][t->n].subscribed = on;
}

static void step(struct site *s, struct model *m, struct rng *rng)
{
    struct step t = { .s = s, .m = m, .rng = rng };

    t.a = below_rng(&t, ACCOUNTS);
    t.n = below_rng(&t, 3) == 0 ? 0 : below_rng(&t, NAMES);
    t.k = below_rng(&t, NAMES);
    switch (below_rng(&t, 16)) {
    case 0: case 1: case 2: case 3:
        step_append(&t);
        break;
    case 4: case 5:
        step_deliver(&t);
        break;
    case 6: case 7: case 8:
        step_flags(&t);
        break;
    case 9:
        step_copy(&t, false);
        break;
    case 10:
        step_copy(&t, true);
        break;
    case 11:
        step_expunge(&t);
        break;
    case 12:
        step_create(&t);
        break;
    case 13:
        step_delete(&t);
        break;
    case 14:
        step_rename(&t);
        break;
    default:
        step_subscribe(&t);
        break;
    }
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void store__random_requests_match_a_model_through_rebuilds(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct buf before = BUF_INIT, after = BUF_INIT;
        struct model *m = mem_alloc(sizeof *m);
        struct site s;
        struct rng rng;

        print_message("seed %llu\n", (unsigned long long)seed);
        site_begin(&s);
        rng_init(&rng, seed);
        for (unsigned a = 0; a < ACCOUNTS; a++) {
            m->account[a] = site_account(&s, 100 + a, a == 0 ? "alice" : "bob");
            box_make(m, a, 0);
            box_make(m, a, 6);
            m->box[a][0].subscribed = m->box[a][6].subscribed = true;
        }
        for (unsigned round = 0; round < 6; round++) {
            for (unsigned i = 0; i < 150; i++)
                step(&s, m, &rng);
            same(&s, m);
            site_dump(&s, &before);
            if (round % 3 == 1) {
                site_empty(&s, &rng);
                site_dump(&s, &after);
                dumps_same(&before, &after, "emptying");
            }
            site_reopen(&s, round % 3 != 0);
            assert_int_equal(s.report.index_rebuilt, round % 3 != 0);
            site_dump(&s, &after);
            dumps_same(&before, &after, round % 3 != 0 ? "rebuilding" : "reopening");
            same(&s, m);
        }
        site_sound_journal(&s);
        site_end(&s);
        buf_free(&before);
        buf_free(&after);
        mem_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store__random_requests_match_a_model_through_rebuilds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
