/* envelope.h - one message on its way: sender, recipients, what the wire said about them. A plain value in an arena.
 * */
#ifndef MAIL_ENVELOPE_H
#define MAIL_ENVELOPE_H

#include "base/arena.h"
#include "base/slice.h"
#include "mail/address.h"

enum notify_flags { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 }; /* RFC 3461 4.1 */
enum envelope_ret { RET_UNSET, RET_FULL, RET_HDRS };
enum envelope_body { BODY_7BIT, BODY_8BITMIME, BODY_BINARYMIME };

struct recipient {
    struct address address; /* as accepted */
    slice orcpt; /* RFC 3461 4.2, raw xtext after the type, or empty */
    uint32_t notify; /* 0: not given */
    uint32_t index; /* order of RCPT */
    void *route; /* where it goes: struct intake's decision */
    struct recipient *next;
};

struct envelope {
    struct address from; /* both empty: null reverse-path */
    bool is_null_sender;
    struct recipient *first, *last;
    unsigned count;
    uint64_t size_declared; /* SIZE=, 0: none */
    enum envelope_body body;
    bool smtputf8;
    enum envelope_ret ret;
    slice envid;
};

#endif
