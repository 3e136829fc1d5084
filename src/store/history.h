/* history.h - what a record of the store says about messages, for who reads the journal back (`why`). Pure.
 *
 * Records of damaged content say nothing. Images are no events: they repeat what others said.
 */
#ifndef STORE_HISTORY_H
#define STORE_HISTORY_H

#include "journal/types.h"
#include "store/store.h"

enum store_event {
    STORE_EVENT_ADDED,   /* a row was made: delivered, appended, copied; body, flags */
    STORE_EVENT_SEEN_IN_IMAGE, /* a row that was made before what the log still holds; body, flags */
    STORE_EVENT_FLAGS,   /* final flags */
    STORE_EVENT_EXPUNGED, /* uid to last_uid */
    STORE_EVENT_MAILBOX, /* the mailbox's name from here on; account, 0 when the record does not say */
};
struct store_history {
    enum store_event event;
    uint64_t mailbox;
    uint32_t uid, last_uid;
    uint64_t body, account;
    uint32_t system; /* enum store_flag */
    slice name;
};
typedef void store_history_fn(void *arg, const struct store_history *h);
void store_history_read(const struct record *r, store_history_fn *fn, void *arg);

/* "\Seen \Flagged", or "none". */
void store_flags_print(uint32_t system, struct buf *out);

#endif
