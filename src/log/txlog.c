/* txlog.c - the room's configuration, and the thread that writes. */
#include "log/txlog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"
#include "log/internal.h"

#define RETRY_S 1       /* a log that cannot be written is tried again so often */
#define GATHER_MS 20    /* lines that come close together are written together */
#define CARE_S 60       /* how often age is looked at when nothing is written */

#define KEY_CONF struct log_conf
static const struct key_row rows[] = { LOG_KEYS(KEY_ROW) };

const struct key_table log_keys = {
    .section = "log",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .struct_bytes = sizeof(struct log_conf),
    .text = "The transaction log: what happened to every message, line by line.",
};

struct counter log_counters[LC_COUNT] = {
    [LC_RECORDS] = { "log.records", "records of the transaction log", COUNTER_TOTAL, 0 },
    [LC_BYTES] = { "log.bytes", "octets written to it", COUNTER_TOTAL, 0 },
    [LC_LOST] = { "log.lost", "records dropped because too many were waiting", COUNTER_TOTAL, 0 },
    [LC_FAILURES] = { "log.failures", "times it could not be written", COUNTER_TOTAL, 0 },
    [LC_ROTATED] = { "log.rotated", "files closed for size or age", COUNTER_TOTAL, 0 },
};

/* --- whoever writes ----------------------------------------------------------------------------------------------- */

static void line_make(const struct log_conf *conf, const struct txlog_record *r, int64_t now_ms, struct buf *out)
{
    int64_t ms = r->time_ms != 0 ? r->time_ms : now_ms;

    if (conf->format == LOG_JSON)
        txlog_json(r, ms, out);
    else
        txlog_text(r, ms, conf->block_bytes, out);
    buf_put_byte(out, '\n');
}

void txlog_write(struct txlog *l, const struct txlog_record *r)
{
    struct buf line = BUF_INIT;
    struct log_conf conf;
    bool first = false;

    if (l == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    conf = l->conf;
    pthread_mutex_unlock(&l->lock);
    if (conf.format == LOG_NONE || (r->direction != 0 && !conf.connections))
        return;
    line_make(&conf, r, clock_wall_ms(l->clock), &line);

    pthread_mutex_lock(&l->lock);
    if (l->front.len + line.len > conf.buffer_bytes) {
        l->lost++;
        counter_add(&log_counters[LC_LOST], 1);
    } else {
        first = l->front.len == 0;
        buf_put_slice(&l->front, buf_slice(&line));
        counter_add(&log_counters[LC_RECORDS], 1);
    }
    pthread_mutex_unlock(&l->lock);
    if (first)
        pthread_cond_signal(&l->wake);
    buf_free(&line);
}

static struct log_conf conf_copy(const struct txlog *l)
{
    struct txlog *w = (struct txlog *)(uintptr_t)l; /* the lock is all that changes */
    struct log_conf conf;

    pthread_mutex_lock(&w->lock);
    conf = w->conf;
    pthread_mutex_unlock(&w->lock);
    return conf;
}

bool txlog_wants_connections(const struct txlog *l)
{
    struct log_conf conf;

    if (l == NULL)
        return false;
    conf = conf_copy(l);
    return conf.format != LOG_NONE && conf.connections;
}

unsigned txlog_bad_commands_max(const struct txlog *l)
{
    return l == NULL ? 0 : conf_copy(l).bad_commands_max;
}

void txlog_configure(struct txlog *l, const struct log_conf *conf)
{
    pthread_mutex_lock(&l->lock);
    l->conf = *conf;
    pthread_mutex_unlock(&l->lock);
    pthread_cond_signal(&l->wake);
}

void txlog_rotate(struct txlog *l)
{
    pthread_mutex_lock(&l->lock);
    l->wants_rotation = true;
    pthread_mutex_unlock(&l->lock);
    pthread_cond_signal(&l->wake);
}

void txlog_flush(struct txlog *l)
{
    uint64_t mine;

    pthread_mutex_lock(&l->lock);
    mine = ++l->asked;
    pthread_cond_signal(&l->wake);
    while (l->answered < mine)
        pthread_cond_wait(&l->flushed, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void failed(struct txlog *l, const char *why)
{
    if (!l->is_failing)
        diag_error("log", "the transaction log cannot be written: %s", why);
    l->is_failing = true;
    counter_add(&log_counters[LC_FAILURES], 1);
}

/* What is in back, into the file; what could not be written stays. */
static void back_write(struct txlog *l)
{
    struct err err = ERR_INIT;

    if (!log_current_is_ours(l) && log_current_open(l, &err) < 0) {
        failed(l, err.text);
        return;
    }
    while (l->back.len != 0) {
        ssize_t n = write(l->fd, l->back.ptr, l->back.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            failed(l, strerror(errno));
            return;
        }
        l->file_bytes += (uint64_t)n;
        counter_add(&log_counters[LC_BYTES], n);
        buf_drop_front(&l->back, (size_t)n);
    }
    if (l->is_failing)
        diag_info("log", "the transaction log can be written again");
    l->is_failing = false;
    /* a burst must not hold its memory for ever */
    buf_free(&l->back);
    l->back = BUF_INIT;
}

static void put_lost(struct txlog *l, const struct log_conf *conf, uint64_t lost)
{
    struct txlog_record r = { .code = '!' };
    char text[64];

    snprintf(text, sizeof text, "%llu records are missing here", (unsigned long long)lost);
    r.reason = slice_str(text);
    line_make(conf, &r, clock_wall_ms(l->clock), &l->back);
}

static void mark(struct txlog *l, bool works)
{
    atomic_store(&l->turned_ms, clock_mono_ms(l->clock));
    atomic_store(&l->works, works);
}

bool txlog_writer(const struct txlog *l, int64_t *turned_ms)
{
    bool works = atomic_load(&l->works);

    *turned_ms = atomic_load(&l->turned_ms);
    return works;
}

static void wait_for_work(struct txlog *l, unsigned seconds)
{
    struct timespec until;

    mark(l, false);

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    pthread_cond_timedwait(&l->wake, &l->lock, &until);
    mark(l, true);
}

/* With the lock held: is there anything to do but waiting? */
static bool has_work(const struct txlog *l)
{
    return l->front.len != 0 || l->lost != 0 || l->wants_rotation || l->is_closing || l->answered < l->asked;
}

static void *writer(void *arg)
{
    const struct timespec gather = { .tv_nsec = GATHER_MS * 1000000L };
    struct txlog *l = arg;
    bool closing = false;

    while (!closing) {
        struct log_conf conf;
        uint64_t asked, lost;
        bool rotate;

        pthread_mutex_lock(&l->lock);
        if (l->back.len != 0) /* the last try failed */
            wait_for_work(l, RETRY_S);
        else if (!has_work(l) && !l->packing.is_active)
            wait_for_work(l, CARE_S);
        else
            mark(l, true); /* a turn of a busy writer is a turn */
        conf = l->conf;
        asked = l->asked;
        closing = l->is_closing;
        rotate = l->wants_rotation;
        l->wants_rotation = false;
        pthread_mutex_unlock(&l->lock);

        if (asked == l->answered && !closing)
            nanosleep(&gather, NULL);
        pthread_mutex_lock(&l->lock);
        lost = l->lost;
        if (l->back.len == 0) {
            struct buf taken = l->front;

            l->front = l->back;
            l->back = taken;
            l->lost = 0;
        } else {
            lost = 0;
        }
        pthread_mutex_unlock(&l->lock);
        if (lost != 0)
            put_lost(l, &conf, lost);
        if (l->back.len != 0)
            back_write(l);
        if (rotate || log_rotate_is_due(l, &conf))
            log_rotate(l, &conf);
        if (l->packing.is_active)
            log_pack_step(l);
        pthread_mutex_lock(&l->lock);
        l->answered = asked;
        pthread_cond_broadcast(&l->flushed);
        pthread_mutex_unlock(&l->lock);
    }
    return NULL;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static int log_dir_open(const char *dir, struct err *err)
{
    int parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = -1;

    if (parent >= 0 && (mkdirat(parent, LOG_DIR, 0750) == 0 || errno == EEXIST))
        fd = openat(parent, LOG_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        err_sys(err, errno, "%s/%s", dir, LOG_DIR);
    if (parent >= 0)
        close(parent);
    return fd;
}

int txlog_open(struct txlog **out, const char *dir, const struct clock *clock, const struct log_conf *conf,
               struct err *err)
{
    struct txlog *l = mem_alloc(sizeof *l);
    pthread_condattr_t attr;

    *out = NULL;
    counter_register(log_counters, LC_COUNT);
    tzset();
    *l = (struct txlog){ .clock = clock, .conf = *conf, .fd = -1, .front = BUF_INIT, .back = BUF_INIT };
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &attr);
    pthread_cond_init(&l->flushed, &attr);
    pthread_condattr_destroy(&attr);
    l->dir = log_dir_open(dir, err);
    if (l->dir < 0 || log_current_open(l, err) < 0)
        goto fail;
    log_expire(l, conf);
    log_pack_rest(l, conf);
    mark(l, false);
    if (thread_start(&l->thread, "log", 0, writer, l, err) < 0)
        goto fail;
    *out = l;
    return 0;
fail:
    txlog_close(&l);
    return -1;
}

void txlog_close(struct txlog **lp)
{
    struct txlog *l = *lp;

    if (l == NULL)
        return;
    *lp = NULL;
    pthread_mutex_lock(&l->lock);
    l->is_closing = true;
    pthread_mutex_unlock(&l->lock);
    pthread_cond_signal(&l->wake);
    thread_join(&l->thread);
    while (l->packing.is_active)
        log_pack_step(l);
    if (l->fd >= 0)
        close(l->fd);
    if (l->dir >= 0)
        close(l->dir);
    buf_free(&l->front);
    buf_free(&l->back);
    pthread_cond_destroy(&l->wake);
    pthread_cond_destroy(&l->flushed);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}
