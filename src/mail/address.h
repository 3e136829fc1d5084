/* address.h - addresses: RFC 5322 3.4 lists in headers, RFC 5321 4.1.2 paths on the wire. Pure. */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct address {
    slice local; /* unquoted; may hold any octet */
    slice domain; /* without trailing dot, as written; "[…]" for literals; empty: none */
};

#define ADDRESS_LOCAL_MAX_OCTETS 64 /* RFC 5321 4.5.3.1.1 */
#define ADDRESS_DOMAIN_MAX_OCTETS 255 /* RFC 5321 4.5.3.1.2 */

/* local@domain as typed by an administrator or a user; no angle brackets. */
int address_parse(slice text, struct address *out, struct arena *mem, struct err *err);
void address_print(const struct address *a, struct buf *out); /* quotes the local part where needed (RFC 5321) */
bool address_eq(const struct address *a, const struct address *b); /* local octet-wise, domain ASCII-nocase */
bool address_domain_valid(slice domain, bool utf8); /* dot-atom of LDH labels (U-labels when utf8) or a literal */

/* One entry of a header list. Groups: a row with is_group_begin (name = group's name) … is_group_end. */
struct mailbox_entry {
    slice
        name; /* display name, raw words joined, unquoted; encoded words left as they are (IMAP ENVELOPE wants them) */
    slice route; /* obsolete source route "@a,@b", or empty */
    slice local, domain;
    bool is_group_begin, is_group_end;
    struct mailbox_entry *next;
};
/* Lenient: never fails; what cannot be read is skipped up to the next comma. At most max entries. */
struct mailbox_entry *address_list_parse(slice value, unsigned max, struct arena *mem);

#endif
