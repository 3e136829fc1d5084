/* find.c - searching the files of the log, packed or not. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"
#include "log/internal.h"

#define LINE_MAX_BYTES (64u * 1024) /* longer ones are no lines of ours */
#define FILES_MAX 100000u

struct search {
    const struct txlog_query *query;
    txlog_line_fn *fn;
    void *arg;
    struct buf line; /* the beginning of a line whose end is in the next chunk */
    bool is_done;
};

static void line_seen(struct search *s, slice line)
{
    int64_t ms;

    if (txlog_query_matches(s->query, line, &ms) && !s->fn(s->arg, line, ms))
        s->is_done = true;
}

static void octets_seen(struct search *s, slice part)
{
    while (!s->is_done && part.len != 0) {
        bool ends;
        slice line = slice_cut(&part, '\n', &ends);

        if (s->line.len + line.len > LINE_MAX_BYTES) {
            buf_reset(&s->line);
            line = SLICE_NONE;
        }
        if (!ends) {
            buf_put_slice(&s->line, line);
        } else if (s->line.len != 0) {
            buf_put_slice(&s->line, line);
            line_seen(s, buf_slice(&s->line));
            buf_reset(&s->line);
        } else {
            line_seen(s, line);
        }
    }
}

static void search_packed(struct search *s, int fd, const char *name)
{
    unsigned char *in = mem_alloc(LOG_CHUNK_BYTES), *out = mem_alloc(LOG_CHUNK_BYTES);
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ssize_t got;

    while (!s->is_done && (got = read(fd, in, LOG_CHUNK_BYTES)) > 0) {
        ZSTD_inBuffer from = { in, (size_t)got, 0 };

        while (!s->is_done && from.pos < from.size) {
            ZSTD_outBuffer to = { out, LOG_CHUNK_BYTES, 0 };

            if (ZSTD_isError(ZSTD_decompressStream(context, &to, &from))) {
                diag_warn("log", "%s is damaged; what lies behind the damage is left out", name);
                goto out;
            }
            octets_seen(s, slice_of(out, to.pos));
        }
    }
out:
    ZSTD_freeDCtx(context);
    mem_free(in);
    mem_free(out);
}

static void search_plain(struct search *s, int fd)
{
    unsigned char *in = mem_alloc(LOG_CHUNK_BYTES);
    ssize_t got;

    while (!s->is_done && (got = read(fd, in, LOG_CHUNK_BYTES)) > 0)
        octets_seen(s, slice_of(in, (size_t)got));
    mem_free(in);
}

static slice unpacked_name(const char *name)
{
    slice s = slice_str(name);

    return slice_ends(s, SLICE(LOG_PACKED)) ? slice_sub(s, 0, s.len - (sizeof LOG_PACKED - 1)) : s;
}

static int by_name(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    int order = slice_cmp(unpacked_name(x), unpacked_name(y));

    return order != 0 ? order : strcmp(x, y);
}

/* Names sort by the time of closing; the current file comes last, since '_' is behind '-'. */
static unsigned names_read(DIR *d, char **names)
{
    unsigned count = 0;

    for (struct dirent *e; count < FILES_MAX && (e = readdir(d)) != NULL;) {
        slice name = slice_str(e->d_name);

        if ((slice_starts(name, SLICE(LOG_CLOSED)) && !slice_ends(name, SLICE(".part"))) ||
            slice_eq(name, SLICE(LOG_CURRENT)))
            names[count++] = mem_strdup(e->d_name);
    }
    qsort(names, count, sizeof *names, by_name);
    return count;
}

/* Was it packed a moment ago? Then the packed one says the same. */
static bool is_twice(char *const *names, unsigned count, unsigned i)
{
    return i + 1 < count && slice_eq(unpacked_name(names[i + 1]), unpacked_name(names[i]));
}

int txlog_find(const char *dir, const struct txlog_query *q, txlog_line_fn *fn, void *arg, struct err *err)
{
    struct search s = { .query = q, .fn = fn, .arg = arg, .line = BUF_INIT };
    struct buf path = BUF_INIT;
    char **names;
    unsigned count;
    DIR *d;

    buf_printf(&path, "%s/%s", dir, LOG_DIR);
    d = opendir(buf_str(&path));
    buf_free(&path);
    if (d == NULL)
        return err_sys(err, errno, "%s/%s", dir, LOG_DIR);
    names = mem_alloc(FILES_MAX * sizeof *names);
    count = names_read(d, names);
    for (unsigned i = 0; i < count && !s.is_done; i++) {
        int fd = is_twice(names, count, i) ? -1 : openat(dirfd(d), names[i], O_RDONLY | O_CLOEXEC);

        if (fd < 0)
            continue;
        buf_reset(&s.line);
        if (slice_ends(slice_str(names[i]), SLICE(LOG_PACKED)))
            search_packed(&s, fd, names[i]);
        else
            search_plain(&s, fd);
        close(fd);
    }
    for (unsigned i = 0; i < count; i++)
        mem_free(names[i]);
    mem_free(names);
    closedir(d);
    buf_free(&s.line);
    return 0;
}
