/* dir.h - who is here: domains, users, aliases.
 *
 * Model:    questions (struct dir_query) are answered at once by the appliance's own directory, which lives in the
 *           journal, or later by a directory server (a second
 *           implementation of the same calls). Changes are journal operations. Record types 0x0300-, tables 60-.
 *           Names: domains are kept in lower case A-labels; user addresses compare with the local part
 *                  ASCII-caseless.
 *           Store user id: `user` in the default domain and `user@domain` in others (message-store.md 2.1).
 * Threads:  dir_ask: any worker; changes: any thread, through the committer.
 */
#ifndef DIR_DIR_H
#define DIR_DIR_H

#include "base/confset.h"
#include "base/json.h"
#include "journal/journal.h"
#include "mail/address.h"

struct dir;

struct dir_conf {
    slice default_domain; /* "dir.default_domain": the first domain made when empty */
    uint32_t subaddress; /* separator character, '+' by default, 0 none: user+detail reaches user */
};
extern const struct key_table dir_keys;

int dir_new(struct dir **out, const struct clock *clock, struct err *err);
const struct journal_room *dir_room(struct dir *d); /* to be registered before journal_open */
void dir_attach(struct dir *d, struct journal *j); /* after it */
void dir_destroy(struct dir **d);

/* --- questions
 * ------------------------------------------------------------------------------------------------------- */

enum dir_result {
    DIR_USER, /* user is filled */
    DIR_ALIAS, /* targets */
    DIR_NO_USER, /* the domain is ours, the local part is not known */
    DIR_NO_DOMAIN, /* not ours */
    DIR_DISABLED, /* the user or domain exists and is disabled: user.status */
    DIR_TEMP,
};
enum dir_status { DIR_ACTIVE, DIR_INACTIVE /* temporary refusal */, DIR_DELETED };

struct dir_user {
    uint64_t id; /* object id; the account in the store carries the same number as its owner */
    slice address; /* canonical local@domain */
    slice store_id; /* STO-001 */
    uint64_t quota_bytes; /* 0: none */
    enum dir_status status;
    slice name; /* display name */
    bool is_admin;
};

struct dir_query {
    /* in */
    struct address address; /* DIR by address; for logins: local alone means the default domain */
    bool want_secrets;
    struct arena *mem; /* answers are copied here */
    void (*done)(struct dir_query *q); /* called on `reactor` when dir_ask said pending */
    struct reactor *reactor;
    /* out */
    enum dir_result result;
    struct dir_user user;
    struct address *targets;
    unsigned target_count;
    slice detail; /* subaddress */
    struct dir_secrets *secrets;
    struct post post;
};
/* True: answered now. False: done will be called. */
bool dir_ask(struct dir *d, const struct dir_conf *conf, struct dir_query *q);

/* Verifiers stored at password set; the password itself is never kept. */
struct dir_secrets {
    slice crypt; /* crypt(3) hash, yescrypt */
    slice scram_sha256; /* RFC 5803 style: "iterations:salt:StoredKey:ServerKey", base64 */
};

bool dir_domain_is_local(struct dir *d, slice domain);

/* --- changes: fill, submit by dir_change (or dir_change_wait); checked in the transaction
 * ------------------------------------------ */

enum dir_change_kind {
    DIR_DOMAIN_ADD,
    DIR_DOMAIN_DEL,
    DIR_USER_ADD,
    DIR_USER_SET,
    DIR_USER_DEL,
    DIR_ALIAS_SET,
    DIR_ALIAS_DEL
};
struct dir_change {
    struct journal_op op; /* op.done, op.reactor are the submitter's */
    enum dir_change_kind kind;
    struct dir *dir;
    slice name; /* domain, or address */
    const json_t *fields; /* USER_ADD, USER_SET: name, quota, status, admin; ALIAS_SET: targets */
    const struct dir_secrets *secrets; /* USER_ADD, USER_SET; NULL: leave */
    uint64_t id; /* out: of the object */
};
void dir_change_init(struct dir_change *c, struct dir *d, enum dir_change_kind kind, slice name);
int dir_change_wait(
    struct dir_change *c,
    struct err *err); /* ERR_EXISTS, ERR_NOTFOUND, ERR_SYNTAX (names), ERR_CONFLICT (domain has users) */

/* Listings as JSON arrays of objects; never secrets. */
OWNED json_t *dir_list_users(struct dir *d, slice domain /* empty: all */, struct err *err);
OWNED json_t *dir_list_domains(struct dir *d, struct err *err);
OWNED json_t *dir_list_aliases(struct dir *d, struct err *err);
/* Called on the committer after a change of a user became durable; must only post. */
typedef void dir_watch_fn(void *arg, uint64_t user_id, slice address, enum dir_status status);
void dir_watch(struct dir *d, dir_watch_fn *fn, void *arg);

#endif
