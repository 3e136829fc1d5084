/* syntax.h - octets of a whole IMAP command to values, RFC 3501 9 and the grammars of its extensions. Pure.
 *
 * Model:    a command is one run of octets in which literals stand in place: "{3}" CRLF "abc". A cursor walks it; every
 *           parser takes from its front or fails. The first failure sticks: `want` says in words what was expected, and
 *           imap_in_at() at which octet (from 1), for the BAD answer.
 * Lifetime: slices point into the command or into the arena given at the start.
 * Limits:   nesting IMAP_DEPTH_MAX; all else is bounded by the length of the command. Time is linear in it.
 */
#ifndef IMAP_SYNTAX_H
#define IMAP_SYNTAX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

#define IMAP_DEPTH_MAX 32
#define IMAP_TAG_MAX_OCTETS 256

struct imap_in {
    slice rest;
    const unsigned char *begin;
    struct arena *mem;
    const char *want; /* NULL: nothing failed */
};

void imap_in_init(struct imap_in *in, slice command, struct arena *mem);
size_t imap_in_at(const struct imap_in *in);
bool imap_in_fail(struct imap_in *in, const char *want); /* false, always */

/* --- words -------------------------------------------------------------------------------------------------------- */

bool imap_sp(struct imap_in *in);                       /* exactly one space */
bool imap_end(struct imap_in *in);                      /* nothing is left */
bool imap_char(struct imap_in *in, unsigned char c);    /* exactly c */
bool imap_peek(const struct imap_in *in, unsigned char c);
bool imap_skip(struct imap_in *in, unsigned char c);    /* c if it is there; never fails */
bool imap_word(struct imap_in *in, const char *word);   /* caseless, if it is there and ends there; never fails */
bool imap_tag(struct imap_in *in, slice *out);
bool imap_atom(struct imap_in *in, slice *out);
bool imap_string(struct imap_in *in, slice *out);       /* quoted or literal */
bool imap_astring(struct imap_in *in, slice *out);
bool imap_nstring(struct imap_in *in, slice *out, bool *is_nil);
bool imap_number(struct imap_in *in, uint32_t *out);
bool imap_number64(struct imap_in *in, uint64_t *out);  /* 63 bits, RFC 7162, RFC 9051 9 */
bool imap_date(struct imap_in *in, int64_t *day);       /* "1-Feb-1994", quoted or not: days since 1970-01-01 */
bool imap_date_time(struct imap_in *in, int64_t *ms);   /* quoted */
bool imap_mailbox(struct imap_in *in, slice *out);      /* astring as on the wire; INBOX in any case becomes "INBOX" */
bool imap_list_mailbox(struct imap_in *in, slice *out); /* a LIST pattern */

/* Does the line end in a literal's announcement? `{n}` waits for our "+", `{n+}` does not (RFC 7888). */
struct imap_literal {
    uint64_t octets;
    bool waits;
};
bool imap_literal_at_end(slice line, struct imap_literal *out);

/* --- sets of numbers ---------------------------------------------------------------------------------------------- */

#define IMAP_STAR 0u /* '*' in a range: the largest there is; numbers themselves begin at 1 */

struct imap_range {
    uint32_t first, last;
};
struct imap_set {
    struct imap_range *ranges;
    unsigned count;
};
bool imap_set(struct imap_in *in, struct imap_set *out);
/* '*' replaced by max, ranges put in rising order without overlap. max 0: '*' stands for nothing. */
void imap_set_resolve(struct imap_set *set, uint32_t max);
bool imap_set_has(const struct imap_set *resolved, uint32_t n); /* binary search */
void imap_set_print(const struct imap_set *set, struct buf *out); /* "1:3,5,7:*" */

/* --- flags -------------------------------------------------------------------------------------------------------- */

struct imap_flags {
    uint32_t system;       /* bits of enum imap_system_flag, the same values as enum store_flag */
    const slice *keywords; /* without duplicates */
    unsigned keyword_count;
};
enum imap_system_flag { IMAP_SEEN = 1, IMAP_ANSWERED = 2, IMAP_FLAGGED = 4, IMAP_DELETED = 8, IMAP_DRAFT = 16 };
/* "(" [flag *(SP flag)] ")", or without parentheses when bare_ok (STORE). \Recent is accepted and left out: clients
 * copy it from what they read, and it cannot be set (RFC 3501 2.3.2). */
bool imap_flag_list(struct imap_in *in, bool bare_ok, struct imap_flags *out);
void imap_system_flags_print(uint32_t system, bool *first, struct buf *out); /* "\Seen \Draft" */

/* --- FETCH -------------------------------------------------------------------------------------------------------- */

enum imap_fetch_item {
    FETCH_UID = 1,
    FETCH_FLAGS = 2,
    FETCH_INTERNALDATE = 4,
    FETCH_SIZE = 8,
    FETCH_MODSEQ = 16,
    FETCH_EMAILID = 32,
    FETCH_THREADID = 64,
    FETCH_SAVEDATE = 128,
    FETCH_ENVELOPE = 256,
    FETCH_BODYSTRUCTURE = 512,
    FETCH_BODY = 1024,
};
enum imap_section {
    SECTION_ALL,        /* BODY[], BODY[1] */
    SECTION_HEADER,
    SECTION_FIELDS,
    SECTION_FIELDS_NOT,
    SECTION_TEXT,
    SECTION_MIME,
};
struct imap_body_item {
    slice label; /* what the answer calls it: "BODY[1.TEXT]", "RFC822" */
    enum imap_section section;
    uint32_t *path;
    unsigned depth;
    slice *fields;
    unsigned field_count;
    bool sets_seen;
    bool has_partial;
    uint64_t from, octets; /* <from.octets> */
    struct imap_body_item *next;
};
struct imap_fetch {
    uint32_t items; /* enum imap_fetch_item */
    struct imap_body_item *bodies;
    bool sets_seen;
    bool has_changed_since;
    uint64_t changed_since;
};
/* What follows the set: items and modifiers, to the end of the command. */
bool imap_fetch_parse(struct imap_in *in, struct imap_fetch *out);

/* --- SEARCH ------------------------------------------------------------------------------------------------------- */

enum imap_search_op {
    SEARCH_ALL,
    SEARCH_NONE, /* RECENT, NEW: no message is recent (RFC 9051 appendix F) */
    SEARCH_AND,  /* children */
    SEARCH_OR,   /* two children */
    SEARCH_NOT,  /* one child */
    SEARCH_NUMBERS,
    SEARCH_UIDS,
    SEARCH_FLAG,    /* number: bit of enum imap_system_flag */
    SEARCH_KEYWORD, /* name */
    SEARCH_BEFORE, SEARCH_ON, SEARCH_SINCE, /* day, of the internal date */
    SEARCH_SENTBEFORE, SEARCH_SENTON, SEARCH_SENTSINCE, /* day, of the Date: field */
    SEARCH_SAVEDBEFORE, SEARCH_SAVEDON, SEARCH_SAVEDSINCE, /* RFC 8514 */
    SEARCH_LARGER, SEARCH_SMALLER, /* number */
    SEARCH_OLDER, SEARCH_YOUNGER,  /* number of seconds, RFC 5032 */
    SEARCH_MODSEQ,                 /* number, RFC 7162 */
    SEARCH_EMAILID,                /* text, RFC 8474 */
    SEARCH_HEADER, /* name, text; the header searched is decoded */
    SEARCH_BODY, SEARCH_TEXT,      /* text */
};
struct imap_search {
    enum imap_search_op op;
    slice name, text; /* text as given: in the command's charset */
    uint64_t number;
    int64_t day;
    struct imap_set set;
    struct imap_search *child, *next;
};
enum imap_search_return { RETURN_MIN = 1, RETURN_MAX = 2, RETURN_ALL = 4, RETURN_COUNT = 8 };
struct imap_search_command {
    bool has_return; /* ESEARCH, RFC 4731: RETURN () means ALL */
    uint32_t returns;
    slice charset; /* empty: none given */
    bool wants_modseq;
    struct imap_search *top;
};
bool imap_search_parse(struct imap_in *in, struct imap_search_command *out);

/* --- LIST, STATUS, APPEND, STORE ---------------------------------------------------------------------------------- */

enum imap_status_item {
    STATUS_MESSAGES = 1,
    STATUS_RECENT = 2,
    STATUS_UIDNEXT = 4,
    STATUS_UIDVALIDITY = 8,
    STATUS_UNSEEN = 16,
    STATUS_DELETED = 32,
    STATUS_SIZE = 64,
    STATUS_HIGHESTMODSEQ = 128,
    STATUS_APPENDLIMIT = 256,
    STATUS_MAILBOXID = 512,
};
bool imap_status_items(struct imap_in *in, uint32_t *items); /* with its parentheses */

enum imap_list_select { LIST_SUBSCRIBED = 1, LIST_REMOTE = 2, LIST_RECURSIVE = 4, LIST_SPECIAL = 8 };
enum imap_list_return { LIST_RETURN_SUBSCRIBED = 1, LIST_RETURN_CHILDREN = 2, LIST_RETURN_SPECIAL = 4,
                        LIST_RETURN_STATUS = 8 };
struct imap_list {
    bool is_extended; /* RFC 5258: selection or return options, or several patterns */
    uint32_t select, returns;
    uint32_t status_items;
    slice reference;
    slice *patterns;
    unsigned pattern_count;
};
bool imap_list_parse(struct imap_in *in, bool is_lsub, struct imap_list *out);

struct imap_append {
    slice mailbox;
    struct imap_flags flags;
    bool has_date;
    int64_t internal_ms;
    uint64_t octets;
    bool waits;
};
/* Everything after "APPEND " up to the announcement of the message's literal, which must be the end: `in` holds lines
 * so far. False without `want` when the mailbox name is itself a literal still to come. */
bool imap_append_parse(struct imap_in *in, struct imap_append *out);

enum imap_store_mode { IMAP_STORE_SET, IMAP_STORE_ADD, IMAP_STORE_REMOVE };
struct imap_store {
    bool has_unchanged_since;
    uint64_t unchanged_since;
    enum imap_store_mode mode;
    bool silent;
    struct imap_flags flags;
};
bool imap_store_parse(struct imap_in *in, struct imap_store *out);

/* Does a name match a LIST pattern ('*' everything, '%' everything but '/')? INBOX at the front matches in any case.
 * Linear in practice, length of name times length of pattern at worst. */
bool imap_list_match(slice pattern, slice name);

#endif
