#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Text that does not fit is cut; an operator's line needs no more. */
static void format_text(char *out, size_t size, const char *fmt, va_list ap)
{
    if (vsnprintf(out, size, fmt, ap) < 0)
        out[0] = '\0';
}

/* Put `text` behind what is in err->text, as far as there is room. */
static void append_text(struct err *err, const char *text)
{
    size_t used = strlen(err->text);
    size_t room = sizeof(err->text) - 1 - used;
    size_t len = strlen(text);

    if (len > room)
        len = room;
    memcpy(err->text + used, text, len);
    err->text[used + len] = '\0';
}

int err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    char text[ERR_TEXT_BYTES]; /* apart from err, so that err->text may be among the arguments */
    va_list ap;

    if (err == NULL)
        return -1;
    va_start(ap, fmt);
    format_text(text, sizeof(text), fmt, ap);
    va_end(ap);
    err->kind = kind;
    err->sys = 0;
    memcpy(err->text, text, sizeof(text));
    return -1;
}

static enum err_kind kind_of_errno(int sys)
{
    switch (sys) {
    case ENOSPC:
    case EDQUOT:
        return ERR_FULL;
    case ENOENT:
        return ERR_NOTFOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    default:
        return ERR_TEMP;
    }
}

int err_sys(struct err *err, int sys, const char *fmt, ...)
{
    char text[ERR_TEXT_BYTES];
    char why[128];
    va_list ap;

    if (err == NULL)
        return -1;
    va_start(ap, fmt);
    format_text(text, sizeof(text), fmt, ap);
    va_end(ap);
    err->kind = kind_of_errno(sys);
    err->sys = sys;
    memcpy(err->text, text, sizeof(text));
    append_text(err, ": ");
    append_text(err, strerror_r(sys, why, sizeof(why)));
    return -1;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
    char old[ERR_TEXT_BYTES];
    char text[ERR_TEXT_BYTES];
    va_list ap;

    if (err == NULL)
        return -1;
    va_start(ap, fmt);
    format_text(text, sizeof(text), fmt, ap);
    va_end(ap);
    memcpy(old, err->text, sizeof(old));
    memcpy(err->text, text, sizeof(text));
    append_text(err, ": ");
    append_text(err, old);
    return -1;
}

const char *err_kind_name(enum err_kind kind)
{
    static const char *const names[] = {
        [ERR_NONE] = "none",     [ERR_TEMP] = "temp",     [ERR_PERM] = "perm",
        [ERR_NOTFOUND] = "notfound", [ERR_EXISTS] = "exists", [ERR_DENIED] = "denied",
        [ERR_QUOTA] = "quota",   [ERR_LIMIT] = "limit",   [ERR_FULL] = "full",
        [ERR_SYNTAX] = "syntax", [ERR_CONFLICT] = "conflict", [ERR_DAMAGE] = "damage",
        [ERR_BUG] = "bug",
    };

    return (size_t)kind < ARRAY_LEN(names) ? names[kind] : "unknown";
}

void panic_at(const char *file, int line, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    int at = snprintf(text, 512, "posthouse: bug at %s:%d: ", file, line);
    size_t used = at < 0 ? 0 : (size_t)at < 512 ? (size_t)at : 511;

    va_start(ap, fmt);
    format_text(text + used, sizeof(text) - 1 - used, fmt, ap);
    va_end(ap);
    used += strlen(text + used);
    text[used++] = '\n';
    /* Nothing can be done when even this fails: the process ends either way. */
    if (write(STDERR_FILENO, text, used) < 0)
        abort();
    abort();
}
