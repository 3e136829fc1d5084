#include "client_site.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "smtp/client_internal.h"

#define IDLE_ROUNDS 3
#define ROUNDS_MAX 200000

static const slice addresses[CLIENT_SITE_RCPTS] = { { (const unsigned char *)"a@x.test", 8 },
                                                    { (const unsigned char *)"b@x.test", 8 },
                                                    { (const unsigned char *)"c@x.test", 8 },
                                                    { (const unsigned char *)"d@x.test", 8 } };

static void trouble(struct client_site *s, const char *what, const char *script, slice got)
{
    const size_t line = strcspn(script, "\n");

    if (s->trouble[0] == '\0')
        snprintf(s->trouble, sizeof s->trouble, "connection %u: %s; script '%.*s', client '%.*s'", s->accepted, what,
                 (int)line, script, (int)(got.len < 200 ? got.len : 200), (const char *)got.ptr);
}

void client_site_init(struct client_site *s)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof in;
    struct err err = ERR_INIT;

    *s = (struct client_site){ .fd = -1 };
    clock_init_fake(&s->clock, 1000000, 1700000000000);
    s->reactor = reactor_new("test", &s->clock, &err);
    worker_init(&s->worker, &(struct worker_setup){ .reactor = s->reactor });
    arena_init(&s->mem, 1024);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ASSERT(bind(s->listener, (struct sockaddr *)&in, sizeof in) == 0 && listen(s->listener, 16) == 0);
    ASSERT(getsockname(s->listener, (struct sockaddr *)&in, &len) == 0);
    s->port = ntohs(in.sin_port);
    keys_default(&smtp_client_keys, &s->conf, &s->mem);
    s->conf.hostname = SLICE("me.test");
    s->text = SLICE("Subject: x\r\n\r\nhello\r\n");
}

void client_site_script(struct client_site *s, const char *script)
{
    ASSERT(s->script_count < CLIENT_SITE_CONNECTIONS);
    s->scripts[s->script_count++] = script;
}

/* --- the message ---------------------------------------------------------------------------------------------------
*/

static bool source_now(void *arg, uint64_t at, void *out, size_t len)
{
    struct client_site *s = arg;

    if (s->is_unreadable || (s->cold > 0 && s->cold--))
        return false;
    ASSERT(at + len <= s->text.len);
    memcpy(out, s->text.ptr + at, len);
    return true;
}

static int source_wait(void *arg, uint64_t at, void *out, size_t len, struct err *err)
{
    struct client_site *s = arg;

    if (s->is_unreadable)
        return err_set(err, ERR_TEMP, "broken disk");
    memcpy(out, s->text.ptr + at, len);
    return 0;
}

static void on_done(struct smtp_client_mail *m)
{
    struct client_site *s = m->arg;

    ASSERT(!s->is_done);
    s->is_done = true;
}

static void on_gone(void *arg)
{
    struct client_site *s = arg;

    s->gone++;
}

void client_site_send(struct client_site *s, unsigned rcpt_count)
{
    struct err err = ERR_INIT;

    if (s->client == NULL) {
        char target[40];

        snprintf(target, sizeof target, "[127.0.0.1]:%u", s->port);
        s->setup.worker = &s->worker;
        s->setup.conf = &s->conf;
        s->setup.channel = SLICE("tcp_test");
        if (s->setup.target.len == 0)
            s->setup.target = slice_str(target);
        s->setup.gone = on_gone;
        s->setup.arg = s;
        if (smtp_client_new(&s->client, &s->setup, &err) < 0)
            panic("smtp_client_new: %s", err.text);
        s->setup.target = SLICE_NONE;
    }
    ASSERT(rcpt_count <= CLIENT_SITE_RCPTS);
    for (unsigned i = 0; i < rcpt_count; i++)
        if (s->rcpts[i].address.len == 0)
            s->rcpts[i].address = addresses[i];
    if (s->mail.sender.ptr == NULL)
        s->mail.sender = SLICE("s@y.test");
    s->mail.rcpts = s->rcpts;
    s->mail.rcpt_count = rcpt_count;
    s->mail.source = (struct smtp_source){ .bytes = s->text.len, .now = source_now, .wait = source_wait, .arg = s };
    s->mail.mem = &s->mem;
    s->mail.done = on_done;
    s->mail.arg = s;
    s->is_done = false;
    smtp_client_send(s->client, &s->mail);
}

/* --- the peer ------------------------------------------------------------------------------------------------------
*/

static void peer_close(struct client_site *s, bool with_reset)
{
    if (s->fd < 0)
        return;
    if (with_reset)
        setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
    close(s->fd);
    s->fd = -1;
    s->at = NULL;
    buf_reset(&s->in);
}

static bool peer_accept(struct client_site *s)
{
    const int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return false;
    peer_close(s, false);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    s->fd = fd;
    s->is_bytes = s->is_silent = false;
    if (s->accepted == s->script_count) {
        s->accepted++;
        trouble(s, "one connection too many", "", SLICE_NONE);
        peer_close(s, false);
        return true;
    }
    s->at = s->scripts[s->accepted++];
    return true;
}

/* False: the client has closed. */
static bool peer_read(struct client_site *s, bool *is_moved)
{
    unsigned char some[16384];
    ssize_t n;

    while ((n = recv(s->fd, some, sizeof some, MSG_DONTWAIT)) > 0) {
        buf_put(&s->in, some, (size_t)n);
        *is_moved = true;
    }
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static void peer_write(struct client_site *s, slice octets)
{
    const size_t step = s->is_bytes ? 1 : octets.len;

    for (; octets.len > 0; octets = slice_from(octets, step)) {
        if (send(s->fd, octets.ptr, step, MSG_NOSIGNAL) != (ssize_t)step)
            return;
        if (s->is_bytes)
            while (reactor_turn(s->reactor))
                ;
        if (s->fd < 0)
            return;
    }
}

static void peer_say(struct client_site *s, slice text)
{
    struct buf out = BUF_INIT;

    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] == '\\' && i + 1 < text.len)
            buf_put_byte(&out, text.ptr[++i] == 'r' ? '\r' : text.ptr[i] == 'n' ? '\n' : '\0');
        else
            buf_put_byte(&out, text.ptr[i]);
    buf_put_str(&out, "\r\n");
    peer_write(s, buf_slice(&out));
    buf_free(&out);
}

/* The client's next line is what the script has. False: more is needed. */
static bool peer_hear(struct client_site *s, slice want)
{
    const ssize_t end = slice_find(buf_slice(&s->in), SLICE("\r\n"));

    if (end < 0)
        return false;
    const slice got = slice_sub(buf_slice(&s->in), 0, (size_t)end);
    const bool is_prefix = slice_ends(want, SLICE("*"));

    if (want.len > 0 && (is_prefix ? !slice_starts(got, slice_sub(want, 0, want.len - 1)) : !slice_eq(got, want)))
        trouble(s, "another line", (const char *)want.ptr, got);
    buf_drop_front(&s->in, (size_t)end + 2);
    return true;
}

static bool peer_message(struct client_site *s)
{
    ssize_t end = slice_starts(buf_slice(&s->in), SLICE(".\r\n")) ? 0 : -1;
    size_t skip = 3;

    if (end < 0 && (end = slice_find(buf_slice(&s->in), SLICE("\r\n.\r\n"))) >= 0) {
        end += 2;
        skip = 3;
    }
    if (end < 0)
        return false;
    buf_reset(&s->message);
    buf_put(&s->message, s->in.ptr, (size_t)end);
    buf_drop_front(&s->in, (size_t)end + skip);
    return true;
}

static bool peer_octets(struct client_site *s, slice count)
{
    uint64_t n = 0;

    ASSERT(slice_u64(count, &n));
    if (s->in.len < n)
        return false;
    buf_put(&s->message, s->in.ptr, n);
    buf_drop_front(&s->in, n);
    return true;
}

/* One line of the script. False: it waits. */
static bool peer_line(struct client_site *s, slice line, bool is_open)
{
    if (slice_starts(line, SLICE("> "))) {
        peer_say(s, slice_from(line, 2));
    } else if (slice_starts(line, SLICE("<."))) {
        return peer_message(s);
    } else if (slice_starts(line, SLICE("<= "))) {
        return peer_octets(s, slice_from(line, 3));
    } else if (slice_starts(line, SLICE("<"))) {
        if (peer_hear(s, slice_from(line, 2)))
            return true;
        if (!is_open)
            trouble(s, "the client closed", (const char *)line.ptr, buf_slice(&s->in));
        return false;
    } else if (slice_eq(line, SLICE("bytes"))) {
        s->is_bytes = true;
    } else if (slice_eq(line, SLICE("close"))) {
        peer_close(s, false);
    } else if (slice_eq(line, SLICE("reset"))) {
        peer_close(s, true);
    } else if (slice_eq(line, SLICE("silence"))) {
        s->is_silent = true;
    } else if (slice_eq(line, SLICE("eof"))) {
        return !is_open;
    } else if (line.len > 0) {
        panic("no such line in a script: '%.*s'", SLICE_ARG(line));
    }
    return true;
}

static bool peer_step(struct client_site *s)
{
    bool is_moved = false, is_open;

    if (s->fd < 0)
        return peer_accept(s);
    if (s->is_silent) /* reads nothing, either */
        return false;
    is_open = peer_read(s, &is_moved);
    while (s->at != NULL && *s->at != '\0' && !s->is_silent) {
        const char *line = s->at;
        const size_t len = strcspn(line, "\n");

        if (!peer_line(s, slice_of(line, len), is_open)) {
            if (!is_open)
                peer_close(s, false);
            return is_moved;
        }
        is_moved = true;
        if (s->at != NULL)
            s->at = line + len + (line[len] == '\n');
    }
    if (s->fd >= 0 && !is_open) {
        if (s->in.len > 0 && !slice_eq(buf_slice(&s->in), SLICE("QUIT\r\n")) && !s->is_silent)
            trouble(s, "more than was in the script", "", buf_slice(&s->in));
        peer_close(s, false);
        return true;
    }
    return is_moved;
}

/* --- driving -------------------------------------------------------------------------------------------------------
*/

void client_site_run(struct client_site *s)
{
    unsigned idle = 0;

    for (unsigned i = 0; i < ROUNDS_MAX && idle < IDLE_ROUNDS; i++) {
        bool is_moved = false;

        while (reactor_turn(s->reactor))
            is_moved = true;
        is_moved |= peer_step(s);
        idle = is_moved ? 0 : idle + 1;
    }
}

void client_site_advance(struct client_site *s, int64_t ms)
{
    clock_fake_advance(&s->clock, ms);
    reactor_kick(s->reactor);
    client_site_run(s);
}

void client_site_close(struct client_site *s)
{
    smtp_client_close(&s->client);
    client_site_run(s);
}

void client_site_free(struct client_site *s)
{
    peer_close(s, false);
    worker_cut(&s->worker, false);
    client_site_run(s);
    if (s->client != NULL && s->client->mail != NULL) /* a failed test */
        s->client = NULL;
    smtp_client_close(&s->client);
    client_site_run(s);
    worker_free(&s->worker);
    reactor_destroy(&s->reactor);
    close(s->listener);
    buf_free(&s->in);
    buf_free(&s->message);
    arena_free(&s->mem);
}

const char *client_site_fates(struct client_site *s)
{
    static const char *const fates[] = { "none", "taken", "later", "refused" };
    static const char *const ends[] = { "", "unreachable", "limited", "stopped" };
    struct buf out = BUF_INIT;
    const char *text;

    if (!s->is_done)
        return "not done";
    if (s->mail.end != SMTP_END_DONE)
        buf_printf(&out, "%s %.*s", ends[s->mail.end], SLICE_ARG(s->mail.status));
    for (unsigned i = 0; i < s->mail.rcpt_count && (s->mail.end == SMTP_END_DONE || s->rcpts[i].fate != 0); i++)
        buf_printf(&out, "%s%s %.*s", out.len == 0 ? "" : ", ", fates[s->rcpts[i].fate], SLICE_ARG(s->rcpts[i].status));
    text = arena_str(&s->mem, buf_slice(&out));
    buf_free(&out);
    return text;
}
