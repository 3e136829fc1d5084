#include "store_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/internal.h"

#define MAP_BYTES (256u * 1024 * 1024)
#define AHEAD_BYTES (1024u * 1024)
#define SEGMENTS_MAX 64u

/* --- opening ------------------------------------------------------------------------------------------------------ */

int script_open(struct script *s, const struct script_site *site, struct err *err)
{
    struct journal_conf conf = { 0 };
    const struct journal_room *rooms[1];
    struct journal_setup setup = { .dir = site->dir, .create = true, .room_count = 1, .rooms = rooms };
    struct arena mem;
    int rc = -1;

    memset(s, 0, sizeof(*s));
    s->site = *site;
    arena_init(&mem, 1024);
    keys_default(&journal_keys, &conf, &mem);
    arena_free(&mem);
    conf.segment_bytes = 65536;
    conf.inline_bytes = 4000;
    conf.index_map_bytes = MAP_BYTES;
    conf.index_ahead_bytes = AHEAD_BYTES;
    conf.keep_days = 0;
    clock_init_real(&s->clock);
    if (!site->without_pool) {
        s->pool = pool_new("helper", 2, 64, err);
        if (s->pool == NULL)
            goto out;
    }
    if (store_new(&s->store, &s->clock, err) < 0)
        goto out;
    rooms[0] = store_room(s->store);
    setup.conf = &conf;
    setup.clock = &s->clock;
    setup.pool = s->pool;
    setup.boot_id = site->boot_id;
    setup.discard_index = site->discard_index;
    if (journal_open(&s->j, &setup, &s->report, err) < 0)
        goto out;
    rc = store_attach(s->store, s->j, site->dir, err);
out:
    if (rc < 0)
        script_close(s);
    return rc;
}

void script_close(struct script *s)
{
    journal_close(&s->j);
    store_destroy(&s->store);
    pool_destroy(&s->pool);
}

/* --- the steps ---------------------------------------------------------------------------------------------------- */

enum what { REQUEST, DELIVER, ROLL, SETTLE, EMPTY, REOPEN };

struct step {
    enum what kind;
    enum store_what what; /* of REQUEST */
    unsigned owner;       /* 0, 1; DELIVER: both */
    const char *name, *other;
    struct uid_range uids;
    struct store_flags flags;
    const char *keyword;
    enum store_flag_mode mode;
    unsigned bytes; /* of APPEND and DELIVER; the limit of QUOTA_SET */
    enum store_result want;
};

#define CARE(what_) { .kind = what_ }
#define MAIL(bytes_) { .kind = DELIVER, .name = "INBOX", .bytes = bytes_ }
#define PUT(owner_, name_, bytes_, ...) \
    { .what = STORE_APPEND, .owner = owner_, .name = name_, .bytes = bytes_, __VA_ARGS__ }
#define ON(what_, owner_, name_, ...) { .what = STORE_##what_, .owner = owner_, .name = name_, __VA_ARGS__ }

static const struct step steps[] = {
    ON(ACCOUNT_ENSURE, 0, "a"),
    ON(ACCOUNT_ENSURE, 1, "b"),
    ON(MAILBOX_CREATE, 0, "work/now"),
    MAIL(300),
    MAIL(9000),
    PUT(0, "work", 700, .flags = { STORE_SEEN, 0 }, .keyword = "$Forwarded"),
    PUT(0, "work", 20000),
    PUT(1, "INBOX", 100, .flags = { STORE_DELETED, 0 }),
    ON(FLAGS, 0, "INBOX", .uids = { 1, 2 }, .flags = { STORE_FLAGGED, 0 }, .keyword = "Todo", .mode = STORE_FLAGS_ADD),
    ON(COPY, 0, "INBOX", .uids = { 1, 2 }, .other = "work"),
    ON(COPY, 0, "INBOX", .uids = { 1, 2 }, .other = "nowhere", .want = STORE_NO_MAILBOX),
    ON(FLAGS, 0, "work", .uids = { 2, 3 }, .flags = { STORE_DELETED, 0 }, .mode = STORE_FLAGS_SET),
    CARE(ROLL),
    ON(MOVE, 0, "work", .uids = { 3, 4 }, .other = "work/now"),
    ON(EXPUNGE, 0, "work"),
    ON(SUBSCRIBE, 0, "work/now"),
    ON(SUBSCRIBE, 1, "gone"),
    MAIL(5000),
    ON(MAILBOX_RENAME, 0, "work", .other = "play"),
    ON(MAILBOX_RENAME, 0, "play", .other = "INBOX", .want = STORE_EXISTS),
    CARE(SETTLE),
    ON(EXPUNGE, 1, "INBOX"),
    CARE(EMPTY),
    PUT(0, "play/now", 6000),
    ON(MAILBOX_RENAME, 0, "INBOX", .other = "old"),
    MAIL(200),
    ON(QUOTA_SET, 1, "b", .bytes = 40000),
    PUT(1, "INBOX", 30000, .want = STORE_OVER_QUOTA),
    PUT(1, "INBOX", 400, .keyword = "Todo"),
    CARE(REOPEN),
    ON(MAILBOX_DELETE, 0, "INBOX", .want = STORE_BAD_NAME),
    ON(MAILBOX_DELETE, 0, "play", .want = STORE_HAS_CHILDREN),
    ON(MAILBOX_DELETE, 0, "play/now"),
    ON(MAILBOX_CREATE, 0, "play/now"),
    PUT(0, "play/now", 50),
    ON(FLAGS, 1, "INBOX", .uids = { 1, 9 }, .flags = { STORE_SEEN, 0 }, .mode = STORE_FLAGS_ADD),
    ON(FLAGS, 1, "INBOX", .uids = { 2, 3 }, .flags = { STORE_SEEN, 0 }, .mode = STORE_FLAGS_REMOVE),
    CARE(ROLL),
    ON(UNSUBSCRIBE, 1, "gone"),
    MAIL(8000),
    CARE(EMPTY),
    CARE(EMPTY),
    ON(MOVE, 0, "old", .uids = { 1, 9 }, .other = "INBOX"),
    ON(MAILBOX_DELETE, 0, "old"),
    ON(ACCOUNT_DELETE, 1, "b"),
    ON(ACCOUNT_ENSURE, 1, "b"),
    MAIL(900),
    CARE(SETTLE),
    ON(EXPUNGE, 0, "INBOX"),
    PUT(1, "INBOX", 12000, .flags = { STORE_ANSWERED, 0 }),
};

unsigned script_steps(void)
{
    return (unsigned)ARRAY_LEN(steps);
}

static uint64_t account_of(struct script *s, unsigned owner)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    uint64_t account = 0;

    if (journal_read_begin(s->j, &v, &err) < 0)
        return 0;
    if (!store_account_find(s->store, &v, owner + 1, &account))
        account = 0;
    journal_read_end(&v);
    return account;
}

/* A message of that many octets; NULL when the disk does not take it. */
static OWNED struct body_writer *body_make(struct script *s, unsigned bytes, unsigned n, struct err *err)
{
    struct body_writer *w = body_writer_new(s->j);
    struct buf octets = BUF_INIT;
    int rc;

    buf_printf(&octets, "Subject: %u\r\n\r\n", n);
    while (octets.len < bytes)
        buf_printf(&octets, "line of %u at %zu\r\n", n, octets.len);
    rc = body_writer_write(w, buf_slice(&octets), err);
    if (rc == 0)
        rc = body_writer_finish(w, err);
    if (rc < 0)
        body_writer_destroy(&w);
    buf_free(&octets);
    return w;
}

static enum store_result of_err(int rc, const struct err *err)
{
    return rc == 0 ? STORE_OK : err->kind == ERR_FULL ? STORE_FULL : STORE_TEMP;
}

static enum store_result request(struct script *s, const struct step *step, unsigned n, struct err *err)
{
    struct store_request *r;
    struct body_writer *body = NULL;
    slice keyword = slice_str(step->keyword != NULL ? step->keyword : "");
    enum store_result result;

    if (step->what == STORE_APPEND && (body = body_make(s, step->bytes, n, err)) == NULL)
        return of_err(-1, err);
    r = store_request_new(step->what);
    r->body = body;
    r->owner = step->owner + 1;
    if (step->what == STORE_ACCOUNT_ENSURE || step->what == STORE_ACCOUNT_DELETE)
        r->owner_name = slice_str(step->name);
    else
        r->account = account_of(s, step->owner);
    r->name = slice_str(step->name);
    r->new_name = r->to_name = slice_str(step->other != NULL ? step->other : "");
    r->uids = &step->uids;
    r->uid_count = step->uids.last != 0 ? 1 : 0;
    r->only_deleted = step->what == STORE_EXPUNGE;
    r->flags = step->flags;
    r->keywords = &keyword;
    r->keyword_count = keyword.len != 0 ? 1 : 0;
    r->mode = step->mode;
    r->quota_bytes = step->what == STORE_QUOTA_SET ? step->bytes : 0;
    (void)store_request_wait(s->store, r, err);
    result = r->result;
    store_request_destroy(&r);
    return result;
}

struct delivery {
    struct journal_op op;
    struct store *store;
    struct body_writer *w;
    struct store_delivery_target targets[SCRIPT_ACCOUNTS];
};

static int deliver_run(struct journal_tx *tx, struct journal_op *op, struct err *err)
{
    struct delivery *d = CONTAINER_OF(op, struct delivery, op);
    uint64_t id = journal_emit_body(tx, d->w);

    (void)err;
    store_deliver_emit(d->store, tx, id, (uint32_t)body_writer_bytes(d->w), d->targets, SCRIPT_ACCOUNTS);
    return 0;
}

static enum store_result deliver(struct script *s, const struct step *step, unsigned n, struct err *err)
{
    struct delivery d = { .op = { .run = deliver_run, .cost = 1, .bytes = step->bytes, .lane = LANE_RECEPTION },
                          .store = s->store };
    enum store_result result;

    d.w = body_make(s, step->bytes, n, err);
    if (d.w == NULL)
        return of_err(-1, err);
    for (unsigned i = 0; i < SCRIPT_ACCOUNTS; i++) {
        d.targets[i].account = account_of(s, i);
        d.targets[i].mailbox = slice_str(step->name);
    }
    result = of_err(journal_run(s->j, &d.op, err), err);
    for (unsigned i = 0; i < SCRIPT_ACCOUNTS && result == STORE_OK; i++)
        result = d.targets[i].result;
    body_writer_destroy(&d.w);
    return result;
}

/* The oldest sealed segment; none is fine. */
static int empty_one(struct script *s, struct err *err)
{
    for (uint64_t number = 1; number <= SEGMENTS_MAX; number++) {
        if (journal_empty_segment(s->j, number, 0, err) == 0)
            return 0;
        if (err->kind != ERR_NOTFOUND && err->kind != ERR_EXISTS)
            return -1;
    }
    *err = ERR_INIT;
    return 0;
}

static int reopen(struct script *s, struct err *err)
{
    struct script_site site = s->site;

    script_close(s);
    return script_open(s, &site, err);
}

enum store_result script_step(struct script *s, unsigned n, bool *is_wanted, struct err *err)
{
    const struct step *step = &steps[n];
    enum store_result result = STORE_TEMP;

    switch (step->kind) {
    case REQUEST:
        result = request(s, step, n, err);
        break;
    case DELIVER:
        result = deliver(s, step, n, err);
        break;
    case ROLL:
        result = of_err(journal_roll(s->j, err), err);
        break;
    case SETTLE:
        result = of_err(journal_settle(s->j, err), err);
        break;
    case EMPTY:
        result = of_err(empty_one(s, err), err);
        break;
    case REOPEN:
        result = of_err(reopen(s, err), err);
        break;
    }
    *is_wanted = result == step->want;
    return result;
}

bool script_step_is_whole(unsigned n)
{
    const struct step *step = &steps[n];

    return step->kind != REQUEST || step->what != STORE_MAILBOX_RENAME || strcmp(step->name, "INBOX") != 0;
}

/* --- the state ---------------------------------------------------------------------------------------------------- */

struct state {
    struct script *script;
    struct journal_view *v;
    enum script_detail detail;
    struct buf *out;
};

static bool one_mailbox(void *arg, const struct store_mailbox *m)
{
    struct state *st = arg;
    struct mailbox_head h;
    struct row_cursor c;
    struct store_row row;

    buf_printf(st->out, " %.*s%s", (int)m->name.len, (const char *)m->name.ptr, m->is_subscribed ? " subscribed" : "");
    if (m->id == 0 || !mailbox_head_get(st->v, m->id, &h)) {
        buf_printf(st->out, "\n");
        return true;
    }
    buf_printf(st->out, ": next %u, %u messages, %u unseen, %u deleted, %llu octets", m->uidnext, m->messages,
               m->unseen, m->deleted, (unsigned long long)m->bytes);
    if (st->detail == SCRIPT_EXACT)
        buf_printf(st->out, ", validity %u, modseq %llu", m->uidvalidity, (unsigned long long)m->highest_modseq);
    buf_printf(st->out, "\n");
    row_cursor_begin(&c, st->v, m->id, 0);
    while (row_cursor_next(&c, &row)) {
        buf_printf(st->out, "  %u: %llu octets, flags %x", row.uid, (unsigned long long)row.bytes, row.system);
        for (uint32_t i = 0; i < h.keyword_count; i++) {
            if ((row.keywords >> i & 1) != 0)
                buf_printf(st->out, " %.*s", (int)h.keyword[i].len, (const char *)h.keyword[i].ptr);
        }
        if (st->detail == SCRIPT_EXACT)
            buf_printf(st->out, " modseq %llu body %llu", (unsigned long long)row.modseq,
                       (unsigned long long)row.email_id);
        buf_printf(st->out, "\n");
    }
    row_cursor_end(&c);
    return true;
}

int script_state(struct script *s, enum script_detail detail, struct buf *out, struct err *err)
{
    struct journal_view v;
    struct state st = { s, &v, detail, out };

    if (journal_read_begin(s->j, &v, err) < 0)
        return -1;
    buf_reset(out);
    for (unsigned i = 0; i < SCRIPT_ACCOUNTS; i++) {
        struct store_quota q;
        uint64_t account;

        if (!store_account_find(s->store, &v, i + 1, &account) || !store_account_quota(s->store, &v, account, &q)) {
            buf_printf(out, "no account %u\n", i);
            continue;
        }
        buf_printf(out, "account %u: %llu octets of %llu, %llu messages\n", i, (unsigned long long)q.used_bytes,
                   (unsigned long long)q.limit_bytes, (unsigned long long)q.messages);
        store_mailbox_list(s->store, &v, account, one_mailbox, &st);
    }
    journal_read_end(&v);
    return 0;
}

int script_dump(struct script *s, struct buf *out, struct err *err)
{
    struct journal_view v;
    char *text = NULL;
    size_t len = 0;
    FILE *f;
    int rc = -1;

    if (journal_settle(s->j, err) < 0 || journal_read_begin(s->j, &v, err) < 0)
        return -1;
    f = open_memstream(&text, &len);
    if (f != NULL) {
        rc = journal_dump(s->j, &v, f, err);
        fclose(f);
        buf_reset(out);
        buf_put(out, text, len);
        free(text);
    }
    journal_read_end(&v);
    return rc;
}
