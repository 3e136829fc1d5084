/* internal.h - what the files of dir share; nobody else includes it.
 *
 *   name.c    names: rules, normal form        entry.c  domains, users, aliases as octets and in the tables
 *   room.c    records: apply, image, watching  change.c operations
 *   ask.c     questions                        list.c   listings
 */
#ifndef DIR_INTERNAL_H
#define DIR_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/bytes.h"
#include "dir/dir.h"

enum {
    REC_DOMAIN = 0x0301, /* struct domain_entry; an image */
    REC_USER = 0x0302,   /* struct user_entry; an image */
    REC_ALIAS = 0x0303,  /* struct alias_entry; an image */
    REC_SECRET = 0x0304, /* 32 octets; an image */
    REC_DOMAIN_DEL = 0x0311, /* END, as are the next two; no payload */
    REC_USER_DEL = 0x0312,
    REC_ALIAS_DEL = 0x0313,
};
enum {
    TABLE_DOMAIN = 60,      /* id -> domain_entry */
    TABLE_USER = 61,        /* id -> user_entry */
    TABLE_ALIAS = 62,       /* id -> alias_entry */
    TABLE_DOMAIN_NAME = 63, /* name -> le64 id */
    TABLE_ADDRESS = 64,     /* domain, 0, local -> u8 kind, le64 id */
    TABLE_SECRET = 65,      /* id -> 32 octets; one pair */
};
enum address_kind { ADDRESS_USER = 1, ADDRESS_ALIAS = 2 };

#define ENTRY_FORMAT 1 /* first octet of each entry */
#define ADDRESS_KEY_MAX_OCTETS 320
#define LIST_SLICE 500u /* pairs in one read transaction: readers are short */

/* --- name.c: pure --- */

struct dir_name { /* normal form: lower case, A-labels */
    slice local, domain;
};
/* An address or, when it holds no '@', a local part; then domain is empty. ERR_SYNTAX. */
int dir_name_parse(slice text, struct arena *mem, struct dir_name *out, struct err *err);
/* local@domain, quoted where needed */
slice dir_name_print(const struct dir_name *n, struct arena *mem);
int dir_alias_name_check(slice local, struct err *err);
slice dir_lower(slice text, struct arena *mem);

/* --- entry.c --- */

struct domain_entry {
    uint64_t id;
    enum dir_status status;
    slice name;
};
struct user_entry {
    uint64_t id;
    struct dir_name name;
    enum dir_status status;
    bool is_admin;
    uint64_t quota_bytes;
    slice display;
    struct dir_secrets secrets;
};
struct alias_entry {
    uint64_t id;
    struct dir_name name;
    uint32_t count;
    slice targets; /* lenstr each */
};
/* Without the id. Decoding borrows from the octets; false when they are not what encode writes. */
void domain_encode(struct buf *out, const struct domain_entry *e);
bool domain_decode(slice octets, struct domain_entry *e);
void user_encode(struct buf *out, const struct user_entry *e);
bool user_decode(slice octets, struct user_entry *e);
void alias_encode(struct buf *out, const struct alias_entry *e);
bool alias_decode(slice octets, struct alias_entry *e);

struct address_key {
    unsigned char octets[ADDRESS_KEY_MAX_OCTETS];
};
slice address_key(struct address_key *k, const struct dir_name *n);
slice address_prefix(struct address_key *k, slice domain); /* of all addresses of a domain */

/* Look-ups; what they fill in borrows from the transaction. */
bool domain_find(struct journal_view *v, slice name, struct domain_entry *e);
bool domain_first(struct journal_view *v, struct domain_entry *e); /* the one made first */
bool address_find(struct journal_view *v, const struct dir_name *n, enum address_kind *kind, uint64_t *id);
bool user_get(struct journal_view *v, uint64_t id, struct user_entry *e);
bool alias_get(struct journal_view *v, uint64_t id, struct alias_entry *e);

/* --- room.c --- */

struct dir_watcher {
    dir_watch_fn *fn;
    void *arg;
};
struct dir {
    struct journal_room room;
    struct journal *journal; /* set before other threads ask */
    struct dir_user_change *events; /* staged until their batch is durable; addresses on the heap. owner: committer */
    unsigned event_count, event_cap;
    pthread_mutex_t lock; /* lock rank 40: adding a watcher */
    struct dir_watcher watchers[DIR_WATCHERS_MAX];
    _Atomic unsigned watcher_count; /* those below it stay as they are */
};

#endif
