/* slice.h - a borrowed run of octets: pointer and length. NUL is an octet like any other.
 *
 * Model:    a by-value view; it owns nothing and is valid as long as what it points into.
 *           An empty slice may have a NULL ptr. No function here allocates.
 * Threads:  values; no state.
 * Errors:   searches answer -1 or false; parsers of numbers answer false on empty, non-digit or overflow.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

typedef struct slice {
    const unsigned char *ptr;
    size_t len;
} slice;

#define SLICE(lit) ((slice){ (const unsigned char *)(lit), sizeof(lit) - 1 })
#define SLICE_NONE ((slice){ NULL, 0 })
/* For printf: "%.*s", SLICE_ARG(s). */
#define SLICE_ARG(s) (int)(s).len, (const char *)(s).ptr

static inline slice slice_of(const void *ptr, size_t len)
{
    return (slice){ (const unsigned char *)ptr, len };
}

static inline slice slice_str(const char *text) /* NULL gives the empty slice */
{
    return text == NULL ? SLICE_NONE : slice_of(text, strlen(text));
}

static inline bool slice_eq(slice a, slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool slice_eq_nocase(slice a, slice b); /* ASCII case folding only */
int slice_cmp(slice a, slice b);        /* octet order, shorter first; <0, 0, >0 */
int slice_cmp_nocase(slice a, slice b); /* the same after ASCII folding */
bool slice_starts(slice s, slice prefix);
bool slice_starts_nocase(slice s, slice prefix);
bool slice_ends(slice s, slice suffix);
bool slice_ends_nocase(slice s, slice suffix);

ssize_t slice_find_byte(slice s, unsigned char c);  /* offset of the first c, or -1 */
ssize_t slice_rfind_byte(slice s, unsigned char c); /* offset of the last c, or -1 */
ssize_t slice_find(slice s, slice needle);          /* offset of the first needle, or -1; empty needle: 0 */
ssize_t slice_find_nocase(slice s, slice needle);

slice slice_sub(slice s, size_t from, size_t len);  /* clamped to s */
slice slice_from(slice s, size_t from);             /* clamped to s */
slice slice_trim(slice s);                          /* without SP, TAB, CR, LF at both ends */

/* Cut the part before the first c off *s and return it; *s becomes what follows c. Without c: all of *s, *s empty.
 * `found` may be NULL. */
slice slice_cut(slice *s, unsigned char c, bool *found);

/* Cut the next word (separated by SP or TAB runs) off *s; empty when none is left. */
slice slice_word(slice *s);

bool slice_u64(slice s, uint64_t *out); /* all of s is decimal digits, no sign; false on overflow */
bool slice_u32(slice s, uint32_t *out);
bool slice_i64(slice s, int64_t *out);  /* optional leading '-' */
bool slice_hex64(slice s, uint64_t *out);

uint64_t slice_hash(slice s, uint64_t seed);        /* not cryptographic; same value on every machine */
uint64_t slice_hash_nocase(slice s, uint64_t seed); /* equal for slices equal under ASCII folding */

static inline unsigned char ascii_lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}
static inline unsigned char ascii_upper(unsigned char c)
{
    return c >= 'a' && c <= 'z' ? (unsigned char)(c & ~0x20) : c;
}
static inline bool ascii_is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}
static inline bool ascii_is_alpha(unsigned char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}
static inline bool ascii_is_alnum(unsigned char c)
{
    return ascii_is_digit(c) || ascii_is_alpha(c);
}

#endif
