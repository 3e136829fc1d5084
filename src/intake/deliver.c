/* deliver.c - the message into its mailboxes: one operation for all of them, with the ledger's record. */
#include "intake/internal.h"

#include "base/diag.h"

#define RECORD_ESTIMATE_BYTES 512u /* what the store writes for one message row, generously */

/* The index of the recipient's mailboxes is still being rebuilt. Here it is decided what becomes of the mail: it is
 * refused for now, and its sender tries again. With a queue it would be accepted and wait there. */
enum intake_reply deliver_while_rebuilding(void)
{
    return INTAKE_R_TEMP;
}

static enum intake_reply of_result(enum store_result r)
{
    switch (r) {
    case STORE_OK:
        return INTAKE_R_OK;
    case STORE_OVER_QUOTA:
    case STORE_LIMIT:
        return INTAKE_R_OVER_QUOTA;
    case STORE_FULL:
        return INTAKE_R_FULL;
    case STORE_REBUILDING:
        return deliver_while_rebuilding();
    default:
        return INTAKE_R_TEMP;
    }
}

/* --- in the operation, on the committer --------------------------------------------------------------------------- */

/* Each target alone: would the store take it? */
static void check_targets(struct intake_tx *tx, struct journal_tx *jtx, enum intake_reply *verdicts)
{
    uint64_t bytes = body_writer_bytes(tx->writer);
    unsigned i = 0;

    for (const struct target *t = tx->targets; t != NULL; t = t->next, i++) {
        struct store_delivery_target *d = &tx->deliveries[i];
        uint64_t whole = d->header.len == 0 ? bytes : bytes - d->body_at + d->header.len;

        if (t->is_looping)
            verdicts[i] = INTAKE_R_LOOP;
        else
            verdicts[i] = of_result(
                store_deliver_check(tx->in->store, journal_tx_view(jtx), t->account, SLICE("INBOX"), whole));
    }
}

/* A recipient stands or falls with all its targets: an alias must not be answered twice. Returns the first refusal. */
static enum intake_reply judge_recipients(struct intake_tx *tx, const enum intake_reply *verdicts)
{
    enum intake_reply first = INTAKE_R_OK;

    for (struct accepted *a = tx->first; a != NULL; a = a->next) {
        a->verdict = INTAKE_R_OK;
        for (unsigned i = 0; i < a->target_count && a->verdict == INTAKE_R_OK; i++)
            a->verdict = verdicts[a->targets[i]->index];
        if (first == INTAKE_R_OK)
            first = a->verdict;
    }
    return first;
}

/* The targets that some accepted recipient still wants, moved to the front of `chosen`. */
static unsigned choose(struct intake_tx *tx, struct store_delivery_target *chosen)
{
    bool *wanted = arena_alloc_array(&tx->mem, tx->target_count, sizeof *wanted);
    unsigned count = 0;

    for (const struct accepted *a = tx->first; a != NULL; a = a->next)
        for (unsigned i = 0; a->verdict == INTAKE_R_OK && i < a->target_count; i++)
            wanted[a->targets[i]->index] = true;
    for (unsigned i = 0; i < tx->target_count; i++)
        if (wanted[i])
            chosen[count++] = tx->deliveries[i];
    return count;
}

static int deliver_run(struct journal_tx *jtx, struct journal_op *op, struct err *err)
{
    struct intake_tx *tx = CONTAINER_OF(op, struct intake_tx, op);
    enum intake_reply *verdicts = arena_alloc_array(&tx->mem, tx->target_count, sizeof *verdicts);
    struct store_delivery_target *chosen = arena_alloc_array(&tx->mem, tx->target_count, sizeof *chosen);
    struct ledger change = tx->ledger;
    enum intake_reply first;
    uint64_t body;
    unsigned count;

    tx->run_verdict = INTAKE_REPLY_COUNT;
    check_targets(tx, jtx, verdicts);
    first = judge_recipients(tx, verdicts);
    count = choose(tx, chosen);
    if (count == 0 || (tx->is_all_or_nothing && first != INTAKE_R_OK)) {
        tx->run_verdict = first;
        return err_set(err, ERR_PERM, "no mailbox can take the message");
    }
    body = journal_emit_body(jtx, tx->writer);
    store_deliver_emit(tx->in->store, jtx, body, (uint32_t)body_writer_bytes(tx->writer), chosen, count);
    for (unsigned i = 0; i < count; i++)
        if (chosen[i].result != STORE_OK) { /* after the check only the disk or a bug can do that */
            tx->run_verdict = of_result(chosen[i].result);
            return err_set(err, ERR_TEMP, "the store took back its word");
        }
    change.messages = 1;
    change.delivered = count;
    change.refused = tx->target_count - count;
    tx->delivered = count;
    ledger_emit(jtx, &change);
    return 0;
}

/* --- around it, on the reactor ------------------------------------------------------------------------------------ */

static void refuse_all(struct intake_tx *tx, enum intake_reply why)
{
    for (struct accepted *a = tx->first; a != NULL; a = a->next)
        if (a->verdict == INTAKE_R_OK || tx->is_all_or_nothing)
            a->verdict = why;
    tx->verdict = why;
    tx_count_end(tx, 0);
}

static enum intake_reply of_failure(const struct intake_tx *tx, const struct err *err)
{
    if (tx->run_verdict != INTAKE_REPLY_COUNT)
        return tx->run_verdict;
    if (err->kind == ERR_FULL) /* the journal has said so; a line for each message would fill the rest */
        return INTAKE_R_FULL;
    diag_warn("intake", "message %.*s refused: %s", (int)sizeof tx->id, tx->id, err->text);
    return INTAKE_R_TEMP;
}

static void deliver_done(struct journal_op *op)
{
    struct intake_tx *tx = CONTAINER_OF(op, struct intake_tx, op);

    if (op->err.kind != ERR_NONE) {
        refuse_all(tx, of_failure(tx, &op->err));
    } else {
        tx->verdict = INTAKE_R_OK;
        tx_count_end(tx, tx->delivered);
    }
    tx_answer(tx);
}

static bool deliver_submit(struct intake_tx *tx)
{
    uint64_t bytes = body_writer_is_spooled(tx->writer) ? 0 : body_writer_bytes(tx->writer);

    for (unsigned i = 0; i < tx->target_count; i++)
        bytes += tx->deliveries[i].header.len + RECORD_ESTIMATE_BYTES;
    tx->run_verdict = INTAKE_REPLY_COUNT;
    tx->op = (struct journal_op){
        .run = deliver_run,
        .done = deliver_done,
        .reactor = tx->reactor,
        .session = tx->session,
        .cost = tx->target_count,
        .bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX,
        .lane = LANE_RECEPTION,
    };
    return journal_submit(tx->in->journal, &tx->op);
}

static void finish_run(struct job *job)
{
    struct intake_tx *tx = CONTAINER_OF(job, struct intake_tx, finish);

    tx->finish_err = ERR_INIT;
    (void)body_writer_finish(tx->writer, &tx->finish_err);
}

static void finish_done(struct job *job)
{
    struct intake_tx *tx = CONTAINER_OF(job, struct intake_tx, finish);

    if (tx->finish_err.kind != ERR_NONE)
        refuse_all(tx, of_failure(tx, &tx->finish_err));
    else if (tx->is_orphan) /* the client went away before it was told anything: nothing is delivered */
        refuse_all(tx, INTAKE_R_TEMP);
    else if (deliver_submit(tx))
        return;
    else
        refuse_all(tx, INTAKE_R_BUSY);
    tx_answer(tx);
}

enum intake_status deliver_begin(struct intake_tx *tx)
{
    struct err err = ERR_INIT;

    tx->is_waiting = true;
    tx->run_verdict = INTAKE_REPLY_COUNT;
    if (body_writer_is_spooled(tx->writer)) {
        counter_add(&intake_counters[IC_SPOOLED], 1);
        tx->finish = (struct job){ .run = finish_run, .done = finish_done, .reactor = tx->reactor };
        if (pool_submit(tx->in->helpers, &tx->finish))
            return INTAKE_WAIT;
    } else {
        (void)body_writer_finish(tx->writer, &err); /* in memory: only marks it */
        if (deliver_submit(tx))
            return INTAKE_WAIT;
    }
    tx->is_waiting = false;
    refuse_all(tx, INTAKE_R_BUSY);
    return INTAKE_NOW;
}
