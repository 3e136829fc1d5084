/* buf.h - a growable run of octets that owns its memory.
 *
 * Model:    ptr[0..len) is the content; cap is what is allocated and doubles as needed; buf_str keeps a NUL behind len
 *           without counting it.
 * Threads:  one owner.
 * Lifetime: buf_init (or BUF_INIT) / buf_free; slices into it die at the next growing call.
 *           What is put into a buffer must not lie in the same buffer.
 * Errors:   growth aborts when memory runs out, so content whose size comes from a peer is bounded by the caller first.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>

#include "base/own.h"
#include "base/slice.h"

struct buf {
    unsigned char *ptr;
    size_t len;
    size_t cap;
};

#define BUF_INIT ((struct buf){ NULL, 0, 0 })

void buf_init(struct buf *b);
void buf_free(struct buf *b);
void buf_reset(struct buf *b);                        /* len = 0, memory kept */
void buf_reserve(struct buf *b, size_t more);         /* room for `more` octets behind len */
unsigned char *buf_extend(struct buf *b, size_t more); /* len += more, returns the start of the new, unset part */
void buf_put(struct buf *b, const void *ptr, size_t len);
void buf_put_slice(struct buf *b, slice s);
void buf_put_str(struct buf *b, const char *text);
static inline void buf_put_byte(struct buf *b, unsigned char c)
{
    if (b->len == b->cap)
        buf_reserve(b, 1);
    b->ptr[b->len++] = c;
}
void buf_put_u64(struct buf *b, uint64_t v);          /* decimal digits */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap);
void buf_drop_front(struct buf *b, size_t len);       /* removes the first octets; len <= b->len */
const char *buf_str(struct buf *b);                   /* content as a C string */
OWNED char *buf_take_str(struct buf *b);              /* content as a heap C string (mem_free); b becomes empty */

static inline slice buf_slice(const struct buf *b)
{
    return slice_of(b->ptr, b->len);
}

#endif
