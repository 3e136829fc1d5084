/* reply.c - the table of replies, and which one a result of the store leads to. */
#include "imap/reply.h"

const struct imap_reply_row imap_replies[IMAP_REPLY_COUNT] = {
#define R(name, word, code, text) [name] = { word, code, text },
    IMAP_REPLIES(R)
#undef R
};

static const enum imap_reply of_result[] = {
    [STORE_OK] = IMAP_R_DONE,
    [STORE_NO_MAILBOX] = IMAP_R_NONEXISTENT,
    [STORE_EXISTS] = IMAP_R_EXISTS,
    [STORE_BAD_NAME] = IMAP_R_BAD_NAME,
    [STORE_OVER_QUOTA] = IMAP_R_OVER_QUOTA,
    [STORE_TOO_LARGE] = IMAP_R_OVER_QUOTA,
    [STORE_LIMIT] = IMAP_R_LIMIT,
    [STORE_HAS_CHILDREN] = IMAP_R_HAS_CHILDREN,
    [STORE_FULL] = IMAP_R_FULL,
    [STORE_TEMP] = IMAP_R_TEMP,
    [STORE_REBUILDING] = IMAP_R_REBUILDING,
};

enum imap_reply imap_reply_of(enum store_result result, bool is_target)
{
    if ((size_t)result >= ARRAY_LEN(of_result))
        return IMAP_R_TEMP;
    return is_target && result == STORE_NO_MAILBOX ? IMAP_R_TRYCREATE : of_result[result];
}
