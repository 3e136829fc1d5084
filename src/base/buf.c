#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define BUF_FIRST_BYTES 64

void buf_init(struct buf *b)
{
    *b = BUF_INIT;
}

void buf_free(struct buf *b)
{
    mem_free(b->ptr);
    *b = BUF_INIT;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
}

void buf_reserve(struct buf *b, size_t more)
{
    size_t need, cap = b->cap < BUF_FIRST_BYTES / 2 ? BUF_FIRST_BYTES : b->cap;

    if (!mem_add(b->len, more, &need))
        panic("buffer length overflows");
    if (need <= b->cap)
        return;
    if (b->cap > 0 && !mem_mul(b->cap, 2, &cap))
        cap = need;
    if (cap < need)
        cap = need;
    b->ptr = mem_realloc(b->ptr, cap);
    b->cap = cap;
}

unsigned char *buf_extend(struct buf *b, size_t more)
{
    unsigned char *p;

    if (more > b->cap - b->len || b->ptr == NULL)
        buf_reserve(b, more > 0 ? more : 1);
    p = b->ptr + b->len;
    b->len += more;
    return p;
}

void buf_put(struct buf *b, const void *ptr, size_t len)
{
    if (len > 0)
        memcpy(buf_extend(b, len), ptr, len);
}

void buf_put_slice(struct buf *b, slice s)
{
    buf_put(b, s.ptr, s.len);
}

void buf_put_str(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    unsigned char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (unsigned char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    buf_put(b, digits + at, sizeof(digits) - at);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    size_t room;
    int len;

    buf_reserve(b, 1);
    room = b->cap - b->len;
    va_copy(again, ap);
    len = vsnprintf((char *)b->ptr + b->len, room, fmt, ap);
    if (len < 0)
        panic("format cannot be printed: %s", fmt);
    if ((size_t)len >= room) {
        buf_reserve(b, (size_t)len + 1);
        vsnprintf((char *)b->ptr + b->len, (size_t)len + 1, fmt, again);
    }
    va_end(again);
    b->len += (size_t)len;
}

void buf_drop_front(struct buf *b, size_t len)
{
    ASSERT(len <= b->len);
    b->len -= len;
    if (b->len > 0 && len > 0)
        memmove(b->ptr, b->ptr + len, b->len);
}

const char *buf_str(struct buf *b)
{
    buf_reserve(b, 1);
    b->ptr[b->len] = '\0';
    return (const char *)b->ptr;
}

char *buf_take_str(struct buf *b)
{
    char *text;

    buf_reserve(b, 1);
    b->ptr[b->len] = '\0';
    text = (char *)b->ptr;
    *b = BUF_INIT;
    return text;
}
