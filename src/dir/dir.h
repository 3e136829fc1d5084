/* dir.h - who is here: domains, users, aliases.
 *
 * Model:    questions (struct dir_query) are answered at once by the appliance's own directory, which lives in the
 *           journal, or later by a directory server (a second implementation of the same calls). Changes are journal
 *           operations. Record types 0x0300-, tables 60-; every record but an ending one is the whole object.
 * Names:    domains are kept as lower-case A-labels, whichever form they come in; local parts in lower case, and they
 *           compare ASCII-caseless. A name is a user or an alias, never both. Names of users: STO-002 .. STO-005.
 *           Store user id: `user` in the default domain and `user@domain` in others (STO-001).
 * Order:    the exact address; without the subaddress; postmaster and abuse: the first active administrator, of the
 *           domain if it has one. A login (want_secrets) is the exact address of a user, nothing else.
 * Threads:  dir_ask, listings: any worker; changes: any thread, through the committer.
 */
#ifndef DIR_DIR_H
#define DIR_DIR_H

#include "base/confset.h"
#include "base/json.h"
#include "journal/journal.h"
#include "mail/address.h"

struct dir;

struct dir_conf {
    slice default_domain; /* the first domain made when empty */
    slice subaddress;     /* separator character, "+" by default, empty: none; user+detail reaches user */
};
extern const struct key_table dir_keys;

int dir_new(struct dir **out, const struct clock *clock, struct err *err);
const struct journal_room *dir_room(struct dir *d); /* to be registered before journal_open */
void dir_attach(struct dir *d, struct journal *j); /* after it */
void dir_destroy(struct dir **d);

/* --- questions ---------------------------------------------------------------------------------------------------- */

enum dir_result {
    DIR_USER,      /* user is filled */
    DIR_ALIAS,     /* targets */
    DIR_NO_USER,   /* the domain is ours, the local part is not known; user.address is its normal form */
    DIR_NO_DOMAIN, /* not ours */
    DIR_DISABLED,  /* the user or domain exists and is disabled: user is filled, see user.status */
    DIR_TEMP,      /* cannot be said now */
};
enum dir_status {
    DIR_ACTIVE,
    DIR_INACTIVE, /* mail is refused for the time being, no login */
    DIR_DELETED,
    DIR_ON_HOLD, /* mail is kept back in the queue, no login */
    DIR_STATUSES
};
extern const char *const dir_status_names[DIR_STATUSES]; /* "active" "inactive" "deleted" "hold" */

struct dir_user {
    uint64_t id;          /* object id; the account in the store carries the same number as its owner */
    slice address;        /* canonical local@domain */
    slice store_id;       /* STO-001 */
    uint64_t quota_bytes; /* 0: none */
    enum dir_status status;
    slice name;           /* display name, UTF-8 */
    bool is_admin;
};

struct dir_query {
    /* in */
    struct address address; /* no domain: the default domain (logins, <Postmaster> of RFC 5321 4.5.1) */
    bool want_secrets;      /* a login */
    struct arena *mem;      /* answers are copied here */
    void (*done)(struct dir_query *q); /* called on `reactor` when dir_ask said pending */
    struct reactor *reactor;
    /* out */
    enum dir_result result;
    struct dir_user user;
    struct address *targets;
    unsigned target_count;
    slice detail; /* subaddress */
    struct dir_secrets *secrets; /* with want_secrets, for a user, also a disabled one; NULL: has no password */
    struct post post;
};
/* True: answered now. False: done will be called. */
bool dir_ask(struct dir *d, const struct dir_conf *conf, struct dir_query *q);

/* Verifiers stored at password set; the password itself is never kept. */
struct dir_secrets {
    slice crypt;        /* crypt(3) hash, yescrypt; empty: no password */
    slice scram_sha256; /* RFC 5803: "iterations:salt$StoredKey:ServerKey", base64; empty: none */
};

bool dir_domain_is_local(struct dir *d, slice domain);

/* 32 octets that never leave this server, made with the first domain: what must look random to others and stay the
 * same over restarts is derived from it. False when there is no domain yet. */
#define DIR_SERVER_SECRET_BYTES 32
bool dir_server_secret(struct dir *d, unsigned char out[DIR_SERVER_SECRET_BYTES]);

/* May a user of the appliance have this local part? STO-002, STO-003, STO-005. ERR_SYNTAX says what is wrong. Pure. */
int dir_user_name_check(slice local, struct err *err);

/* --- changes: fill, journal_submit(&c->op) or dir_change_wait; checked in the transaction ------------------------- */

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
    slice name; /* domain, or address; no domain: the first one */
    /* Borrowed until answered; NULL: nothing. USER_ADD, USER_SET: {"name": string, "quota": octets, "status":
     * "active"|"inactive"|"hold", "admin": bool}; ALIAS_SET: {"targets": [address, ...]}. Other members are refused. */
    const json_t *fields;
    const struct dir_secrets *secrets; /* USER_ADD, USER_SET; NULL: leave */
    uint64_t id; /* out: of the object */
};
#define DIR_ALIAS_TARGETS_MAX 1000
#define DIR_NAME_MAX_OCTETS 256 /* of display names */
void dir_change_init(struct dir_change *c, struct dir *d, enum dir_change_kind kind, slice name);
/* ERR_EXISTS; ERR_NOTFOUND; ERR_SYNTAX (names, fields); ERR_LIMIT (targets); ERR_CONFLICT (the domain has users or
 * aliases). The text says what to do. */
int dir_change_wait(struct dir_change *c, struct err *err);

/* Listings as JSON arrays of objects, in order of names; never secrets.
 *   users    {"address", "name", "quota", "status", "admin", "has_password", "id"}
 *   domains  {"domain", "users", "aliases", "default" (the first made), "id"}
 *   aliases  {"alias", "targets": [...], "id"} */
OWNED json_t *dir_list_users(struct dir *d, slice domain /* empty: all */, struct err *err);
OWNED json_t *dir_list_domains(struct dir *d, struct err *err);
OWNED json_t *dir_list_aliases(struct dir *d, struct err *err);
/* Called on the committer after a change of a user became durable; must only post. At most DIR_WATCHERS_MAX, for the
 * life of dir; not for what is replayed at opening. */
#define DIR_WATCHERS_MAX 16
struct dir_user_change {
    uint64_t id;
    slice address;
    enum dir_status status;
    bool is_password_new; /* there was another one, or none, before */
};
typedef void dir_watch_fn(void *arg, const struct dir_user_change *change);
void dir_watch(struct dir *d, dir_watch_fn *fn, void *arg);

#endif
