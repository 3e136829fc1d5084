/* apply.h - the callbacks of the store's record types (journal/types.h), for the table in store.c.
 *
 * Model:    apply_* bring the tables from before a record to after it; image_* emit the present state of one part;
 *           refs_* name the bodies, dump_* show a payload to people, keys_* its search keys.
 * Threads:  the committer, or the opening thread.
 */
#ifndef STORE_APPLY_H
#define STORE_APPLY_H

#include "store/internal.h"

int apply_account(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_account_change(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_account_end(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_subscribe(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_subscribe_image(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_mailbox(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_mailbox_change(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_mailbox_end(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_message_add(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_message_flags(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_message_expunge(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_page_image(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_ledger(struct journal_tx *tx, void *room, const struct record *r, struct err *err);

int apply_copying(struct journal_tx *tx, void *room, const struct record *r, struct err *err);
int apply_copying_end(struct journal_tx *tx, void *room, const struct record *r, struct err *err);

int image_account(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err);
int image_mailbox(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err);
int image_ledger(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err);
int image_copying(struct journal_tx *tx, void *room, uint64_t object, uint32_t part, struct err *err);

void refs_message_add(const struct record *r, journal_ref_fn *ref, void *arg);
void refs_page_image(const struct record *r, journal_ref_fn *ref, void *arg);

void dump_name(const struct record *r, struct buf *out); /* accounts, mailboxes, names */
void dump_messages(const struct record *r, struct buf *out);
void keys_name(const struct record *r, journal_key_fn *key, void *arg);

#endif
