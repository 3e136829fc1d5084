/* verb_log.c - see verb_log.h. */
#include "control/verb_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "control/when.h"
#include "log/txlog.h"

#define EXIT_NOTHING 1
#define FOLLOW_EVERY_MS 200
#define TAIL_LINES 10
#define TAIL_LINES_MAX 1000000u
#define READ_BYTES 65536u

/* With --json: a line of the JSON format as it is, one of the text format as a string. */
static void line_print(const struct verb_call *call, slice line)
{
    if (call->json && (line.len == 0 || line.ptr[0] != '{')) {
        json_t *s = json_from_slice(line);
        struct buf text = BUF_INIT;

        json_print(&text, s, false);
        puts(buf_str(&text));
        buf_free(&text);
        json_decref(s);
    } else {
        printf("%.*s\n", SLICE_ARG(line));
    }
}

static int query_read(const struct verb_call *call, struct txlog_query *q, struct err *err)
{
    const char *since = verb_option(call, "--since"), *until = verb_option(call, "--until");
    struct clock clock;
    int64_t now_ms;

    clock_init_real(&clock);
    now_ms = clock_wall_ms(&clock);
    *q = (struct txlog_query){
        .key = slice_str(call->operand_count > 0 ? call->operands[0] : NULL),
        .codes = slice_str(verb_option(call, "--code")),
        .channel = slice_str(verb_option(call, "--channel")),
    };
    if (since != NULL && when_parse(slice_str(since), now_ms, &q->since_ms, err) < 0)
        return -1;
    return until != NULL ? when_parse(slice_str(until), now_ms, &q->until_ms, err) : 0;
}

/* --- find --------------------------------------------------------------------------------------------------------- */

struct finding {
    const struct verb_call *call;
    uint64_t found, limit;
};

static bool find_line(void *arg, slice line, int64_t time_ms UNUSED)
{
    struct finding *f = arg;

    line_print(f->call, line);
    return ++f->found != f->limit;
}

int verb_run_log_find(const struct verb_call *call)
{
    struct finding f = { .call = call };
    struct txlog_query q;
    struct err err = ERR_INIT;
    const char *limit = verb_option(call, "--limit");

    tzset();
    if (limit != NULL && !slice_u64(slice_str(limit), &f.limit)) {
        err_set(&err, ERR_SYNTAX, "--limit: \"%.20s\" is no number", limit);
        return verb_fail(call, &err, NULL);
    }
    if (query_read(call, &q, &err) < 0)
        return verb_fail(call, &err, NULL);
    if (txlog_find(call->dir, &q, find_line, &f, &err) < 0)
        return verb_fail(call, &err, "the log is written by the daemon; name its data directory with --dir DIR");
    return f.found != 0 ? EX_OK : EXIT_NOTHING;
}

/* --- tail --------------------------------------------------------------------------------------------------------- */

/* The last lines seen, a ring. */
struct tail {
    const struct txlog_query *query;
    char **lines;
    uint32_t room, next, count;
};

static bool tail_line(void *arg, slice line, int64_t time_ms UNUSED)
{
    struct tail *t = arg;

    if (t->room == 0)
        return true;
    mem_free(t->lines[t->next]);
    t->lines[t->next] = mem_slice_str(line);
    t->next = (t->next + 1) % t->room;
    t->count += t->count < t->room;
    return true;
}

static void tail_print(const struct verb_call *call, struct tail *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        line_print(call, slice_str(t->lines[(t->next + t->room - t->count + i) % t->room]));
    for (uint32_t i = 0; i < t->room; i++)
        mem_free(t->lines[i]);
    mem_free(t->lines);
}

/* The current file, from where it was read last; made anew when the daemon begins another. */
struct follow {
    char path[4200];
    int fd;
    ino_t inode;
    struct buf line;
};

static bool follow_open(struct follow *f, bool from_end)
{
    struct stat st;

    f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0 || fstat(f->fd, &st) < 0)
        return false;
    f->inode = st.st_ino;
    if (from_end)
        lseek(f->fd, 0, SEEK_END);
    return true;
}

static void follow_read(struct follow *f, const struct verb_call *call, const struct txlog_query *q)
{
    ssize_t got;

    for (;;) {
        got = read(f->fd, buf_extend(&f->line, READ_BYTES), READ_BYTES);
        f->line.len -= READ_BYTES - (got > 0 ? (size_t)got : 0);
        if (got <= 0)
            return;
        for (ssize_t end; (end = slice_find_byte(buf_slice(&f->line), '\n')) >= 0;) {
            slice line = slice_sub(buf_slice(&f->line), 0, (size_t)end);
            int64_t ms;

            if (txlog_query_matches(q, line, &ms))
                line_print(call, line);
            buf_drop_front(&f->line, (size_t)end + 1);
        }
        fflush(stdout);
    }
}

static void follow_for_ever(const struct verb_call *call, const struct txlog_query *q, struct follow *f)
{
    const struct timespec pause = { .tv_nsec = FOLLOW_EVERY_MS * 1000000L };

    while (ferror(stdout) == 0) {
        struct stat st;

        follow_read(f, call, q);
        if (stat(f->path, &st) == 0 && st.st_ino != f->inode) {
            follow_read(f, call, q); /* what came before the change */
            close(f->fd);
            buf_reset(&f->line);
            if (!follow_open(f, false))
                return;
            continue;
        }
        nanosleep(&pause, NULL);
    }
}

int verb_run_log_tail(const struct verb_call *call)
{
    const char *lines = verb_option(call, "--lines");
    struct tail t = { .room = TAIL_LINES };
    struct follow f = { .line = BUF_INIT };
    struct txlog_query q;
    struct err err = ERR_INIT;
    bool follows = verb_option(call, "--follow") != NULL;

    tzset();
    if (lines != NULL && (!slice_u32(slice_str(lines), &t.room) || t.room > TAIL_LINES_MAX)) {
        err_set(&err, ERR_SYNTAX, "--lines: \"%.20s\" is no number up to %u", lines, TAIL_LINES_MAX);
        return verb_fail(call, &err, NULL);
    }
    if (query_read(call, &q, &err) < 0)
        return verb_fail(call, &err, NULL);
    snprintf(f.path, sizeof f.path, "%s/log/mail.log_current", call->dir);
    if (follows && !follow_open(&f, true)) {
        err_sys(&err, errno, "%s", f.path);
        return verb_fail(call, &err, "the log is written by the daemon; name its data directory with --dir DIR");
    }
    t.lines = mem_alloc_array(t.room + 1u, sizeof *t.lines);
    if (txlog_find(call->dir, &q, tail_line, &t, &err) < 0) {
        tail_print(call, &t);
        return verb_fail(call, &err, "the log is written by the daemon; name its data directory with --dir DIR");
    }
    tail_print(call, &t);
    fflush(stdout);
    if (follows) {
        follow_for_ever(call, &q, &f);
        close(f.fd);
        buf_free(&f.line);
    }
    return EX_OK;
}
