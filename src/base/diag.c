#include "base/diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/slice.h"
#include "base/utf8.h"

#define DIAG_LINE_OCTETS 1000 /* with the line end */
#define DIAG_CUT "..."

/* The sink: the one piece of process-wide state here (STYLE R10). */
static _Atomic int sink_level = DIAG_INFO;
static _Atomic int sink_fd = STDERR_FILENO;
static _Atomic int sink_time = 1;

struct line {
    char text[DIAG_LINE_OCTETS];
    size_t len;
    bool cut;
};

/* Add as a whole or not at all, and nothing after the first piece that did not fit. */
static void add(struct line *l, const char *text, size_t len)
{
    if (l->cut || len > sizeof(l->text) - sizeof(DIAG_CUT) - l->len) {
        l->cut = true;
        return;
    }
    memcpy(l->text + l->len, text, len);
    l->len += len;
}

static void add_time(struct line *l)
{
    struct timespec ts;
    struct tm tm;
    char text[64];
    int len;

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    len = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ ", tm.tm_year + 1900, tm.tm_mon + 1,
                   tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ts.tv_nsec / 1000000);
    if (len > 0 && (size_t)len < sizeof(text))
        add(l, text, (size_t)len);
}

/* Control characters (C0, DEL, C1) and what is no UTF-8 become \xHH. */
static void add_visible(struct line *l, slice s)
{
    while (s.len > 0) {
        slice rest = s;
        uint32_t cp;
        bool is_text = utf8_next(&rest, &cp);
        size_t len = is_text ? s.len - rest.len : 1;

        if (is_text && cp >= 0x20 && (cp < 0x7F || cp > 0x9F)) {
            add(l, (const char *)s.ptr, len);
        } else {
            for (size_t i = 0; i < len; i++) {
                static const char hex[] = "0123456789abcdef";
                char esc[4] = { '\\', 'x', hex[s.ptr[i] >> 4], hex[s.ptr[i] & 15] };

                add(l, esc, sizeof(esc));
            }
        }
        s = slice_from(s, len);
    }
}

void diag_at(enum diag_level level, const char *room, const char *fmt, ...)
{
    static const char *const words[] = {
        [DIAG_ERROR] = "error ", [DIAG_WARN] = "warn ", [DIAG_INFO] = "info ", [DIAG_DEBUG] = "debug ",
    };
    int saved = errno; /* callers report first and look at errno afterwards */
    struct line l = { .len = 0 };
    char text[DIAG_LINE_OCTETS];
    va_list ap;
    int len;

    if ((int)level > atomic_load_explicit(&sink_level, memory_order_relaxed))
        return;
    if (atomic_load_explicit(&sink_time, memory_order_relaxed))
        add_time(&l);
    add(&l, words[level], strlen(words[level]));
    add(&l, room, strlen(room));
    add(&l, ": ", 2);
    va_start(ap, fmt);
    len = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (len > 0)
        add_visible(&l, slice_of(text, (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1));
    if (l.cut || (len > 0 && (size_t)len >= sizeof(text))) {
        memcpy(l.text + l.len, DIAG_CUT, sizeof(DIAG_CUT) - 1);
        l.len += sizeof(DIAG_CUT) - 1;
    }
    l.text[l.len++] = '\n';
    /* A sink that does not take the line cannot be reported anywhere else. */
    while (write(atomic_load_explicit(&sink_fd, memory_order_relaxed), l.text, l.len) < 0 && errno == EINTR)
        continue;
    errno = saved;
}

void diag_set_level(enum diag_level level)
{
    atomic_store_explicit(&sink_level, (int)level, memory_order_relaxed);
}

void diag_set_fd(int fd)
{
    atomic_store_explicit(&sink_fd, fd, memory_order_relaxed);
}

void diag_set_prefix_time(int on)
{
    atomic_store_explicit(&sink_time, on, memory_order_relaxed);
}
