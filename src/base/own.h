/* own.h - words that say who owns what; they expand to nothing or to compiler attributes.
 *
 * OWNED   the caller receives ownership and must destroy the value.
 * TAKES   ownership of the argument moves to the callee, on failure too.
 * Unmarked pointers are borrowed for the duration of the call.
 */
#ifndef BASE_OWN_H
#define BASE_OWN_H

#include <stddef.h>

#define OWNED
#define TAKES
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_USE __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The object of `type` whose member `member` lies at `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#endif
