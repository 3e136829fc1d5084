/* reap.c - what deleted accounts and large mailboxes leave behind, removed piece by piece.
 *
 * A deletion is answered when the name is gone (DOOM). The contents follow in the maintenance lane, at most about 1,000
 * messages an operation. The table of doomed objects says what is left, so a restart simply goes on. An account ends
 * after its last mailbox: nothing is ever left that belongs to nobody. */
#include "store/request.h"

struct reaper {
    struct journal_op op;
    struct store *store;
    bool found; /* the run under way did something */
};

struct doomed {
    uint64_t account, mailbox; /* mailbox 0: the account itself */
};

/* Doomed things in order; those at or behind `from`. */
static bool doomed_next(struct journal_view *v, const struct doomed *from, struct doomed *out)
{
    struct journal_cursor c;
    struct store_key k;
    bool found;
    slice key;

    journal_cursor_begin(&c, v, STORE_TABLE_DOOMED);
    found = journal_cursor_seek(&c, key_u64_u64(&k, from->account, from->mailbox), &key, NULL) && key.len == 16;
    if (found)
        *out = (struct doomed){ get_be64(key.ptr), get_be64(key.ptr + 8) };
    journal_cursor_end(&c);
    return found;
}

static bool first_name(void *arg, uint64_t mailbox, slice name UNUSED)
{
    *(uint64_t *)arg = mailbox;
    return false;
}

/* Remove up to `budget` messages of a mailbox; with the last ones the mailbox. Returns what it cost. */
static unsigned mailbox_reap(struct journal_tx *tx, uint64_t mailbox, unsigned budget)
{
    struct journal_view *v = journal_tx_view(tx);
    struct mailbox_count c;
    struct store_row *rows;
    struct row_cursor rc;
    unsigned n = 0;

    mailbox_count_get(v, mailbox, &c);
    if (c.messages <= budget) {
        journal_emit(tx, ST_MAILBOX_END, mailbox, 0, RECORD_END, SLICE_NONE);
        counter_add(&store_counters[SC_REAPED], 1);
        return c.messages + 1;
    }
    rows = mem_alloc_array(budget, sizeof *rows);
    row_cursor_begin(&rc, v, mailbox, 0);
    while (n < budget && row_cursor_next(&rc, &rows[n]))
        n++;
    row_cursor_end(&rc);
    expunge_emit(tx, mailbox, rows, n);
    mem_free(rows);
    return budget;
}

/* One thing of the account: a mailbox with a name, then one without, then the account. */
static unsigned account_reap(struct journal_tx *tx, uint64_t account, unsigned budget)
{
    struct journal_view *v = journal_tx_view(tx);
    struct doomed next;
    uint64_t mailbox = 0;

    name_each(v, account, first_name, &mailbox);
    if (mailbox == 0 && doomed_next(v, &(struct doomed){ account, 1 }, &next) && next.account == account)
        mailbox = next.mailbox;
    if (mailbox != 0)
        return mailbox_reap(tx, mailbox, budget);
    journal_emit(tx, ST_ACCOUNT_END, account, 0, RECORD_END, SLICE_NONE);
    return 1;
}

static int on_run(struct journal_tx *tx, struct journal_op *op, struct err *err UNUSED)
{
    struct reaper *r = CONTAINER_OF(op, struct reaper, op);
    unsigned budget = STORE_OP_MESSAGES;
    struct doomed next;

    r->found = false;
    if (journal_rebuilding(r->store->journal, NULL))
        return 0; /* store_complete starts it again */
    while (budget > 0 && doomed_next(journal_tx_view(tx), &(struct doomed){ 0, 0 }, &next)) {
        unsigned cost = next.mailbox == 0 ? account_reap(tx, next.account, budget)
                                          : mailbox_reap(tx, next.mailbox, budget);

        r->found = true;
        budget -= cost < budget ? cost : budget;
    }
    return 0;
}

static void on_done(struct journal_op *op)
{
    struct reaper *r = CONTAINER_OF(op, struct reaper, op);
    struct store *s = r->store;
    bool again;

    pthread_mutex_lock(&s->lock);
    again = op->err.kind == ERR_NONE && (r->found || s->reap_again);
    s->reap_again = false;
    s->is_reaping = again;
    pthread_mutex_unlock(&s->lock);
    if (again && store_submit(s, op))
        return;
    pthread_mutex_lock(&s->lock);
    s->is_reaping = false; /* after a failure the next deletion or start tries again */
    pthread_mutex_unlock(&s->lock);
    mem_free(r);
}

void store_reap_start(struct store *s)
{
    struct reaper *r;
    bool is_running;

    pthread_mutex_lock(&s->lock);
    is_running = s->is_reaping;
    s->reap_again = is_running;
    s->is_reaping = true;
    pthread_mutex_unlock(&s->lock);
    if (is_running)
        return;
    r = mem_alloc(sizeof *r);
    r->store = s;
    r->op = (struct journal_op){
        .run = on_run,
        .done = on_done,
        .cost = STORE_OP_MESSAGES,
        .bytes = 16 * STORE_OP_MESSAGES,
        .lane = LANE_MAINTENANCE,
        .flags = OP_FREES,
    };
    if (store_submit(s, &r->op))
        return;
    pthread_mutex_lock(&s->lock);
    s->is_reaping = false;
    pthread_mutex_unlock(&s->lock);
    mem_free(r);
}
