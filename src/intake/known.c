/* known.c - a message that lies in the journal already is routed: its body is shared, not copied. */
#include "intake/internal.h"

void intake_known(struct intake_tx *tx, const struct intake_known *k)
{
    ASSERT(tx->state == TX_RCPT && tx->writer == NULL);
    tx->state = TX_COMMITTING;
    tx->known = k->entry;
    tx->known_view = k->view;
    tx->bytes = body_view_bytes(&k->view);
    tx->has_blocks = true;
    /* A block replaces the header, whether it lies in a block of its own or in the body. */
    tx->header_end = k->view.header_id != 0 ? 0 : (uint32_t)k->header.len;
    tx->run_verdict = INTAKE_REPLY_COUNT;
    if (!header_take(tx, k->header, NULL))
        for (struct target *t = tx->targets; t != NULL; t = t->next)
            t->is_looping = true;
    tx->priority = k->entry->priority;
    tx->message_id = k->entry->message_id.len != 0 ? slice_dup(&tx->mem, k->entry->message_id) : tx->message_id;
    blocks_make(tx, k->header);
    trace_begin(tx, &tx->mem);
}

bool intake_known_check(struct intake_tx *tx, struct err *err)
{
    enum intake_reply first;
    struct journal_view v;
    unsigned left;

    if (journal_read_begin(tx->in->journal, &v, err) < 0)
        return false;
    left = commit_decide(tx, &v, &first);
    journal_read_end(&v);
    for (struct accepted *a = tx->first; a != NULL; a = a->next)
        a->checked = a->verdict;
    return left != 0;
}

uint32_t intake_known_bytes(const struct intake_tx *tx)
{
    return commit_bytes(tx);
}

int intake_known_emit(struct intake_tx *tx, struct journal_tx *jtx, struct err *err)
{
    if (commit_emit(tx, jtx, err) < 0)
        return -1;
    for (const struct accepted *a = tx->first; a != NULL; a = a->next)
        if ((a->checked == INTAKE_R_OK) != (a->verdict == INTAKE_R_OK))
            return err_set(err, ERR_TEMP, "a recipient cannot be reached any more as it could a moment ago");
    return 0;
}

void intake_known_done(struct intake_tx *tx, bool is_durable)
{
    tx_count_end(tx, is_durable ? &tx->change : NULL);
    if (is_durable)
        record_taken(tx);
}
