/* err.h - one way to report a failure.
 *
 * Model:    a function that can fail returns 0 or -1 and fills the `struct err` its caller passed. The kind is decided
 *           once, where the cause is known; above that only the kind is read, never the text.
 * Threads:  a plain value; no state.
 * Errors:   err may be NULL in every call here: then nothing is recorded.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/own.h"

enum err_kind {
    ERR_NONE = 0,
    ERR_TEMP,     /* try again later; also every unknown cause */
    ERR_PERM,     /* will not work, however often tried */
    ERR_NOTFOUND,
    ERR_EXISTS,
    ERR_DENIED,   /* not allowed for this identity */
    ERR_QUOTA,    /* the owner's limit */
    ERR_LIMIT,    /* a configured or protocol limit */
    ERR_FULL,     /* the disk or a table of ours is full */
    ERR_SYNTAX,   /* input malformed */
    ERR_CONFLICT, /* changed meanwhile (UNCHANGEDSINCE and the like) */
    ERR_DAMAGE,   /* stored data does not validate */
    ERR_BUG,
};

#define ERR_TEXT_BYTES 240

struct err {
    enum err_kind kind;
    int sys; /* errno or 0 */
    char text[ERR_TEXT_BYTES]; /* for the operator, NUL-terminated; never sent to a client */
};

#define ERR_INIT ((struct err){ .kind = ERR_NONE })

/* Fill err and return -1, so that `return err_set(err, ERR_SYNTAX, "…")` reads well. */
int err_set(struct err *err, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same for a failed system call: appends ": strerror(sys)" and keeps sys. ENOSPC, EDQUOT become ERR_FULL,
 * ENOENT ERR_NOTFOUND, EEXIST ERR_EXISTS, EACCES, EPERM and EROFS ERR_DENIED, all else ERR_TEMP. */
int err_sys(struct err *err, int sys, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Put context before the text: "reading segment 12: bad magic". Kind and sys stay. Returns -1. */
int err_prefix(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The kind as a lower-case word ("temp", "notfound", …); static text. */
const char *err_kind_name(enum err_kind kind);

/* A bug: print file, line and text to standard error and abort. Never for input or environment. */
void panic_at(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4) NORETURN;
#define panic(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)
#define ASSERT(cond) ((cond) ? (void)0 : panic("assertion failed: %s", #cond))

#endif
