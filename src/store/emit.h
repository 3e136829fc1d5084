/* emit.h - what requests and deliveries emit, for the files of the store. On the committer, inside `run`.
 *
 * Nothing here checks what the caller must have checked before: once something was emitted, refusing costs the whole
 * batch a second run.
 */
#ifndef STORE_EMIT_H
#define STORE_EMIT_H

#include "base/mem.h"
#include "store/internal.h"

enum ledger_cause { LEDGER_CREATED, LEDGER_DELIVERED, LEDGER_REFUSED, LEDGER_CAUSES }; /* order of the record */

uint64_t account_limit_bytes(const struct store_conf *conf, const struct account_head *h); /* 0: none */
/* STORE_OK, STORE_OVER_QUOTA, or STORE_NO_MAILBOX: no such account. */
enum store_result quota_check(const struct store_conf *conf, struct journal_view *v, uint64_t account, uint64_t bytes);

/* The bits of keywords in a mailbox; what is to have them is emitted before the next call, or the places of new ones
 * may be given away again. They are added to its list where `add`; *over says whether some did not fit (NULL: drop
 * them silently). */
uint64_t keywords_resolve(struct journal_tx *tx, const struct store_conf *conf, uint64_t mailbox, const slice *names,
                          unsigned count, bool add, bool *over);
/* Would all of them fit? A place in the list that no message uses may be given to another name. */
bool keywords_fit(struct journal_view *v, const struct store_conf *conf, uint64_t mailbox, const slice *names,
                  unsigned count);
int keyword_bit(const struct mailbox_head *h, slice name); /* -1: not there */

/* One row at the mailbox's uidnext. Returns the uid. */
uint32_t message_emit(struct journal_tx *tx, uint64_t mailbox, struct store_row *row, uint32_t *uidvalidity);
/* Rows (uids set, rising) as records of one page each. Returns the last sequence. */
uint64_t messages_emit(struct journal_tx *tx, uint64_t mailbox, const struct store_row *rows, unsigned count);
uint64_t flags_emit(struct journal_tx *tx, uint64_t mailbox, const struct store_row *rows, unsigned count);
uint64_t expunge_emit(struct journal_tx *tx, uint64_t mailbox, const struct store_row *rows, unsigned count);

/* A COPY of several operations has made these copies so far, and with this operation `more` (copying.c). id 0: its
 * first operation. Returns the id of the copy as an object. */
uint64_t copying_emit(struct journal_tx *tx, uint64_t id, uint64_t mailbox, const struct uid_range *ranges,
                      unsigned count, const struct uid_range *more);
void copying_end_emit(struct journal_tx *tx, uint64_t id); /* it is complete, or taken back; 0: nothing to do */

/* A new mailbox; the stamp raises the account's highest uidvalidity. Returns its id. */
uint64_t mailbox_emit(struct journal_tx *tx, uint64_t account, slice name, uint8_t special, uint32_t uidvalidity);
uint32_t uidvalidity_next(struct journal_tx *tx, uint64_t account); /* the next to give */

#endif
