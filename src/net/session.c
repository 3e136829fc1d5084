/* The driver of all protocol sessions: phases, steps, timeouts, ends. */
#include "net/session.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "base/diag.h"
#include "base/mem.h"
#include "net/internal.h"
#include "net/proxy.h"

#define STEPS_PER_TURN 64 /* then other sessions go first, */
#define TURN_US 2000      /* or after that long: slices of a command on 100,000 messages are many and not short */
#define ARENA_FIRST_BYTES 512
#define LINGER_READ_BYTES (256u * 1024) /* unread input thrown away at the end, so that the farewell is not lost */

static void on_io(struct io *io, unsigned events);
static void on_timer(struct timer *t);

void session_init(struct session *s, struct worker *w, int fd)
{
    s->worker = w;
    arena_init(&s->mem, ARENA_FIRST_BYTES);
    arena_init(&s->cmd_mem, ARENA_FIRST_BYTES);
    list_init(&s->link);
    list_init(&s->ready_link);
    later_init(&s->later);
    timer_init(&s->timer, w->reactor, on_timer);
    s->stream = mem_alloc(sizeof *s->stream);
    stream_init(s->stream, s, fd, on_io);
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

static void session_free(struct session *s)
{
    arena_free(&s->mem);
    arena_free(&s->cmd_mem);
    mem_free(s->stream);
    mem_free(s);
}

/* A wake, or the end: both wait for the end of the turn, so that nothing of the session runs while its memory goes. */
static void on_later(struct later *l)
{
    struct session *s = CONTAINER_OF(l, struct session, later);

    if (s->phase == PHASE_DEAD && s->holds == 0)
        session_free(s);
    else if (s->is_woken)
        session_run(s);
}

void session_fail(struct session *s, const char *why)
{
    if (s->failure == NULL)
        s->failure = why;
}

static void session_closed(struct session *s)
{
    if ((s->is_opened || s->is_client) && s->protocol->closed != NULL)
        s->protocol->closed(s);
}

void session_break(struct session *s)
{
    if (s->phase == PHASE_DEAD)
        return;
    s->phase = PHASE_DEAD;
    timer_stop(&s->timer);
    if (s->holds == 0)
        session_closed(s);
    stream_free(s->stream);
    worker_session_gone(s->worker, s);
    if (s->holds == 0)
        reactor_later(s->worker->reactor, &s->later, on_later);
}

void session_hold(struct session *s)
{
    s->holds++;
}

bool session_release(struct session *s)
{
    ASSERT(s->holds > 0);
    s->holds--;
    if (s->phase != PHASE_DEAD)
        return true;
    if (s->holds == 0) {
        session_closed(s);
        reactor_later(s->worker->reactor, &s->later, on_later);
    }
    return false;
}

/* All is sent. What the peer still sends is read and dropped: closing a socket with unread input resets the connection,
 * and the peer's system may then throw away the farewell unread. */
static void session_finish(struct session *s)
{
    struct stream *st = s->stream;
    unsigned char *scratch = worker_scratch(s->worker);

    if (st->tls != NULL) {
        tls_stream_close_notify(st->tls);
        stream_flush(st);
    }
    shutdown(st->io.fd, SHUT_WR);
    for (size_t total = 0; total < LINGER_READ_BYTES;) {
        const ssize_t n = recv(st->io.fd, scratch, WORKER_SCRATCH_BYTES, MSG_DONTWAIT);
        if (n <= 0)
            break;
        total += (size_t)n;
    }
    session_break(s);
}

void session_farewell(struct session *s, void (*put)(struct session *s))
{
    if (s->phase == PHASE_DEAD || s->phase == PHASE_CLOSING)
        return;
    if (put != NULL && s->is_opened && s->phase == PHASE_RUN)
        put(s);
    s->phase = PHASE_CLOSING;
    session_timeout(s, worker_net_conf(s->worker)->close_timeout_s * 1000);
    switch (stream_flush(s->stream)) {
    case FLUSH_DONE:
        session_finish(s);
        break;
    case FLUSH_BLOCKED:
        session_io_update(s);
        break;
    case FLUSH_BROKEN:
        session_break(s);
        break;
    }
}

void session_stop(struct session *s)
{
    if (s->phase == PHASE_RUN && (s->step_state != STEP_WANT_READ || s->is_busy))
        return; /* session_run comes back to it */
    session_fail(s, "stopped");
    session_farewell(s, s->protocol->stopping);
}

/* --- the driver --------------------------------------------------------------------------------------------------- */

enum drive { DRIVE_AGAIN, DRIVE_REST, DRIVE_CLOSE };

static enum drive after_read(const struct session *s, size_t in_at)
{
    const struct stream *st = s->stream;

    if (s->is_woken)
        return DRIVE_AGAIN;
    if (stream_eof(st))
        return DRIVE_CLOSE;
    /* It took a part, not all, and did not ask for more than there is: input is left that would otherwise wait. */
    if (!st->is_starved && st->in_at != in_at && stream_has_input(st))
        return DRIVE_AGAIN;
    return DRIVE_REST;
}

#ifdef PH_DEBUG
static int64_t thread_us(long *waits)
{
    struct rusage used;
    struct timespec t;

    getrusage(RUSAGE_THREAD, &used);
    *waits = used.ru_nvcsw;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* One step, timed: no session may hold its reactor longer than the budget, be it at work or waiting for a disk or a
 * lock. That the system gave the processor to others is no fault of ours. */
static enum step take_step(struct session *s)
{
    const struct clock *clock = reactor_clock(s->worker->reactor);
    long waits_before, waits;
    const int64_t began_us = clock_mono_us(clock), used_us = thread_us(&waits_before);
    struct buf what = BUF_INIT;
    const char *state = "";

    if (s->protocol->describe != NULL) /* before: afterwards the command may be over */
        state = s->protocol->describe(s, &what);
    const enum step step = s->protocol->step(s);
    const int64_t took_us = clock_mono_us(clock) - began_us, work_us = thread_us(&waits) - used_us;
    if (took_us > REACTOR_BUDGET_MS * 1000 && (work_us > REACTOR_BUDGET_MS * 1000 || waits != waits_before) &&
        !clock->is_fake)
        diag_warn("net", "session %llu: a step of %s %s %s took %lld us of its reactor, %lld us of a processor, %ld "
                  "waits", (unsigned long long)s->id, s->protocol->name, state, buf_str(&what), (long long)took_us,
                  (long long)work_us, waits - waits_before);
    buf_free(&what);
    return step;
}
#else
static enum step take_step(struct session *s)
{
    return s->protocol->step(s);
}
#endif

/* One step, and what its answer means for this turn. */
static enum drive drive(struct session *s)
{
    struct stream *st = s->stream;
    const size_t in_at = st->in_at;

    st->is_starved = false;
    s->is_woken = false;
    const enum step step = take_step(s);
    s->step_state = (uint8_t)step;
    if (s->phase != PHASE_RUN) /* STARTTLS */
        return DRIVE_REST;
    switch (step) {
    case STEP_AGAIN:
        return DRIVE_AGAIN;
    case STEP_WANT_READ: {
        const enum drive d = after_read(s, in_at);
        if (d == DRIVE_CLOSE)
            session_fail(s, "the peer closed the connection");
        return d;
    }
    case STEP_WANT_WRITE:
        stream_flush(st);
        return stream_out_pending(st) <= STREAM_OUT_LOW ? DRIVE_AGAIN : DRIVE_REST;
    case STEP_WAIT:
        return s->is_woken ? DRIVE_AGAIN : DRIVE_REST;
    case STEP_CLOSE:
        return DRIVE_CLOSE;
    }
    panic("session %llu: step returned %d", (unsigned long long)s->id, (int)step);
}

/* The connection is broken. A client may still have the peer's last words to read: "421", "552", and then a reset,
 * because the peer did not read all that we had to say. */
static void session_lost(struct session *s)
{
    if (s->is_client && s->phase == PHASE_RUN && s->step_state != STEP_WAIT) {
        for (unsigned n = 0; n < STEPS_PER_TURN && stream_has_input(s->stream); n++) {
            if (drive(s) != DRIVE_AGAIN)
                break;
        }
    }
    session_break(s);
}

/* Nothing more is to be done in this turn: write, give buffers back, wait. */
static void session_rest(struct session *s)
{
    struct stream *st = s->stream;

    if (stream_flush(st) == FLUSH_BROKEN) {
        session_lost(s);
        return;
    }
    if (s->phase == PHASE_RETLS && stream_out_pending(st) == 0) {
        session_tls_begin(s);
        return;
    }
    if (s->phase == PHASE_RUN && s->is_draining && s->step_state == STEP_WANT_READ && !s->is_busy) {
        session_fail(s, "stopped");
        session_farewell(s, s->protocol->stopping);
        return;
    }
    if (s->step_state != STEP_WAIT)
        stream_settle(st);
    session_io_update(s);
    /* What it waited for came to pass only now, and nothing is left for the socket to tell: no event would come. */
    if (s->phase == PHASE_RUN && (s->step_state == STEP_WANT_WRITE || s->step_state == STEP_AGAIN) &&
        stream_out_pending(st) <= STREAM_OUT_LOW)
        worker_ready(s->worker, s);
}

void session_run(struct session *s)
{
    struct stream *st = s->stream;

    if (s->phase != PHASE_RUN)
        return;
    const int64_t began_us = clock_mono_us(reactor_clock(s->worker->reactor));

    for (unsigned n = 0; n < STEPS_PER_TURN; n++) {
        if (n > 0 && clock_mono_us(reactor_clock(s->worker->reactor)) - began_us >= TURN_US)
            break;
        if (stream_out_is_high(st)) {
            stream_flush(st);
            if (stream_out_is_high(st) && !st->is_broken) { /* comes back when it has drained */
                session_io_update(s);
                return;
            }
        }
        if (st->is_broken) {
            session_lost(s);
            return;
        }
        const enum drive d = drive(s);
        if (d == DRIVE_CLOSE) {
            session_farewell(s, NULL);
            return;
        }
        if (d == DRIVE_REST) {
            session_rest(s);
            return;
        }
    }
    worker_ready(s->worker, s);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

void session_io_update(struct session *s)
{
    struct stream *st = s->stream;
    const bool is_high = stream_out_is_high(st);
    unsigned want = stream_out_pending(st) > 0 ? IO_WRITE : 0;

    if (s->phase == PHASE_PROXY || (s->phase == PHASE_RUN && s->step_state == STEP_WANT_READ && !is_high &&
                                    st->in.len - st->in_at < STREAM_IN_MAX))
        want |= IO_READ;
    else if (s->phase == PHASE_RUN && s->step_state == STEP_WAIT)
        want |= st->io.events & IO_READ; /* most peers are silent while they wait: two system calls saved. See on_io */
    io_want(&st->io, want);
}

/* Output could be written. True: the session may be stepped again. */
static bool session_wrote(struct session *s)
{
    struct stream *st = s->stream;
    const uint64_t before = st->out_bytes;
    const enum flush f = stream_flush(st);

    if (f == FLUSH_BROKEN) {
        session_lost(s);
        return false;
    }
    if (st->out_bytes != before)
        timer_start(&s->timer, s->timeout_ms); /* a slow peer, but one that reads */
    if (s->phase == PHASE_CLOSING) {
        if (f == FLUSH_DONE)
            session_finish(s);
        return false;
    }
    return s->phase == PHASE_RUN && stream_out_pending(st) <= STREAM_OUT_LOW;
}

static void on_proxy_input(struct session *s)
{
    struct stream *st = s->stream;
    struct net_addr peer, local;
    size_t used;

    if (!stream_fill(st))
        return;
    const enum proxy_result r = proxy_parse(stream_peek(st), &peer, &local, &used);
    if (r == PROXY_MORE && !st->is_eof)
        return;
    if (r != PROXY_OK) {
        struct buf who = BUF_INIT;
        net_addr_print(&s->peer, &who);
        diag_warn("net", "%s: no valid PROXY header from this trusted proxy", buf_str(&who));
        buf_free(&who);
        counter_add(&net_counters[NC_PROXY_BAD], 1);
        session_break(s);
        return;
    }
    stream_take(st, used);
    st->in_bytes = 0;
    if (peer.len > 0) {
        s->peer = peer;
        s->local = local;
    }
    session_open(s);
}

static void on_io(struct io *io, unsigned events)
{
    struct stream *st = CONTAINER_OF(io, struct stream, io);
    struct session *s = st->session;
    bool may_run = false;

    if (s->phase == PHASE_TLS || (s->phase == PHASE_RETLS && st->out.len == st->out_at && st->files == NULL)) {
        session_tls_io(s);
        return;
    }
    if (s->phase == PHASE_PROXY) {
        on_proxy_input(s);
        return;
    }
    if (s->phase == PHASE_CONNECT) {
        session_connected(s);
        return;
    }
    if ((events & IO_WRITE) != 0)
        may_run = session_wrote(s) && s->step_state != STEP_WANT_READ && s->step_state != STEP_WAIT;
    if (s->phase == PHASE_RETLS && stream_out_pending(st) == 0) {
        session_tls_begin(s);
        return;
    }
    if (s->phase != PHASE_RUN)
        return;
    if ((events & IO_READ) != 0 && s->step_state == STEP_WAIT)
        io_want(io, io->events & ~(unsigned)IO_READ); /* nothing is read now: slices must stay */
    else if ((events & IO_READ) != 0 && stream_fill(st))
        may_run = true;
    if (st->is_broken)
        session_lost(s);
    else if (may_run || s->is_woken)
        session_run(s);
    else
        session_rest(s);
}

static void on_timer(struct timer *t)
{
    struct session *s = CONTAINER_OF(t, struct session, timer);

    if (s->phase == PHASE_CONNECT) { /* also the way in which a failure at once is told */
        if (s->failure == NULL)
            session_fail(s, (const char *)arena_printf(&s->mem, "no connection within %u s",
                                                       (s->timeout_ms + 999) / 1000).ptr);
        counter_add(&net_counters[NC_OUT_FAILED], 1);
        session_break(s);
        return;
    }
    counter_add(&net_counters[NC_TIMEOUTS], 1);
    if (s->is_client && (s->phase == PHASE_TLS || s->phase == PHASE_RETLS)) {
        session_tls_failed(s, "the peer did not finish the handshake in time");
        return;
    }
    session_fail(s, "timed out");
    if (s->phase == PHASE_RUN)
        session_farewell(s, s->protocol->timed_out);
    else
        session_break(s);
}

void session_timeout(struct session *s, uint32_t ms)
{
    ASSERT(ms > 0); /* every session has a timeout */
    s->timeout_ms = ms;
    timer_start(&s->timer, ms);
}

void session_wake(struct session *s)
{
    s->is_woken = true;
    reactor_later(s->worker->reactor, &s->later, on_later);
}

struct session *session_find(struct worker *w, uint64_t id)
{
    return idmap_get(&w->sessions, id);
}

const void *session_conf(struct session *s, enum conf_section section)
{
    return s->worker->conf != NULL ? conf_section(s->worker->conf, section) : NULL;
}

struct conf_set *session_conf_ref(struct session *s)
{
    if (s->worker->conf == NULL)
        return NULL;
    return CONTAINER_OF(snap_ref(&s->worker->conf->snap), struct conf_set, snap);
}

/* --- beginnings --------------------------------------------------------------------------------------------------- */

void session_begin_run(struct session *s)
{
    s->phase = PHASE_RUN;
    s->step_state = STEP_AGAIN;
    if (!s->is_opened) {
        s->is_opened = true;
        if (s->protocol->opened != NULL)
            s->protocol->opened(s);
    }
    session_run(s);
}

static void refuse(struct session *s)
{
    counter_add(&net_counters[NC_BUSY_HOST], 1);
    s->is_refused = true;
    if (s->protocol->busy_text != NULL && s->listener->tls != LISTENER_TLS_IMPLICIT)
        stream_printf(s->stream, "%s\r\n", s->protocol->busy_text);
    session_farewell(s, NULL);
}

void session_open(struct session *s)
{
    struct worker_private *wp = worker_private(s->worker);
    const struct net_conf *conf = worker_net_conf(s->worker);

    if (wp->limits != NULL) {
        s->is_host_counted = net_limits_host_enter(wp->limits, &s->peer, conf->connections_per_host);
        if (!s->is_host_counted) {
            refuse(s);
            return;
        }
    }
    if (s->listener->tls == LISTENER_TLS_IMPLICIT) {
        s->phase = PHASE_TLS;
        session_tls_begin(s);
        return;
    }
    session_begin_run(s);
}
