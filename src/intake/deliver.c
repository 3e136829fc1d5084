/* deliver.c - a complete message on its way to the committer and back. */
#include "intake/internal.h"

#include "base/diag.h"

#define COST_MAX 1000u /* of an operation, journal.h */

static int deliver_run(struct journal_tx *jtx, struct journal_op *op, struct err *err)
{
    return commit_emit(CONTAINER_OF(op, struct intake_tx, op), jtx, err);
}

static void refuse_all(struct intake_tx *tx, enum intake_reply why)
{
    for (struct accepted *a = tx->first; a != NULL; a = a->next)
        if (a->verdict == INTAKE_R_OK || tx->is_all_or_nothing)
            a->verdict = why;
    tx->verdict = why;
    tx_count_end(tx, NULL);
    record_refused(tx);
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
        tx_count_end(tx, &tx->change);
        record_taken(tx);
    }
    tx_answer(tx);
}

static bool deliver_submit(struct intake_tx *tx)
{
    uint64_t bytes = (body_writer_is_spooled(tx->writer) ? 0 : body_writer_bytes(tx->writer)) + commit_bytes(tx);

    tx->run_verdict = INTAKE_REPLY_COUNT;
    tx->op = (struct journal_op){
        .run = deliver_run,
        .done = deliver_done,
        .reactor = tx->reactor,
        .session = tx->session,
        .cost = tx->target_count < COST_MAX ? tx->target_count : COST_MAX,
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

    trace_begin(tx, &tx->mem);
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
