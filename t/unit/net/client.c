/* Outgoing sessions: connecting, TLS from our side, and how they end, over loopback with the real session code. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/counter.h"
#include "base/mem.h"
#include "echo.h"
#include "net/client_pool.h"
#include "net/internal.h"
#include "net/tls_make.h"

#define TURNS_MAX 10000 /* of at least 1 ms: a test that waits longer has failed */

/* What a test's session is to say, a line for each one that comes, and what became of it. */
struct record {
    const char *const *say; /* NULL at the end: close. "tls": STARTTLS when its reply has come */
    const char *server_name;
    bool must_verify, is_tls, is_verified, is_mute;
    unsigned at;
    _Atomic unsigned opened, closed, timed_out, stopped;
    struct session *session;
    struct buf got;
    char failure[200], tls_error[200], doubt[200], version[16];
    bool was_opened;
};

static void on_opened(struct session *s)
{
    struct record *r = s->arg;

    assert_ptr_equal(r->session, s);
    r->opened++;
    session_timeout(s, 60000);
}

static void on_closed(struct session *s)
{
    struct record *r = s->arg;

    r->was_opened = s->is_opened;
    snprintf(r->failure, sizeof r->failure, "%s", s->failure != NULL ? s->failure : "");
    r->closed++;
}

static enum step on_line(struct session *s, slice line)
{
    struct record *r = s->arg;
    const bool wants_tls = r->at > 0 && strcmp(r->say[r->at - 1], "tls") == 0;

    buf_printf(&r->got, "%.*s|", SLICE_ARG(line));
    if (wants_tls && !s->is_tls) {
        client_start_tls(s, slice_str(r->server_name), r->must_verify);
        s->wait = "tls";
        return STEP_WAIT;
    }
    if (r->is_mute)
        return STEP_AGAIN;
    if (r->say[r->at] == NULL)
        return STEP_CLOSE;
    stream_printf(s->stream, "%s\r\n", r->say[r->at++]);
    return STEP_AGAIN;
}

static enum step probe_step(struct session *s)
{
    struct record *r = s->arg;
    slice line;

    if (stream_tls_error(s->stream) != NULL) {
        snprintf(r->tls_error, sizeof r->tls_error, "%s", stream_tls_error(s->stream));
        return STEP_CLOSE;
    }
    if (s->is_tls && !r->is_tls) {
        r->is_tls = true;
        r->is_verified = stream_tls_is_verified(s->stream);
        snprintf(r->version, sizeof r->version, "%s", stream_tls_version(s->stream));
        snprintf(r->doubt, sizeof r->doubt, "%s",
                 stream_tls_doubt(s->stream) != NULL ? stream_tls_doubt(s->stream) : "");
    }
    switch (stream_line(s->stream, 1000, true, &line)) {
    case FRAME_OK:
        return on_line(s, line);
    case FRAME_EOF:
        buf_put_str(&r->got, "EOF");
        return STEP_WANT_READ;
    default:
        return STEP_WANT_READ;
    }
}

static void on_timed_out(struct session *s)
{
    ((struct record *)s->arg)->timed_out++;
}

static void on_stopping(struct session *s)
{
    ((struct record *)s->arg)->stopped++;
    stream_put(s->stream, SLICE("farewell\r\n"));
}

static const struct protocol probe = { .name = "probe",
                                       .session_bytes = sizeof(struct session),
                                       .opened = on_opened,
                                       .step = probe_step,
                                       .timed_out = on_timed_out,
                                       .stopping = on_stopping,
                                       .closed = on_closed };

/* --- a reactor turned by hand, clients and echo servers on it ----------------------------------------------------- */

static const struct listener_conf echo_plain = { .name = { (const unsigned char *)"e", 1 },
                                                 .tls = LISTENER_TLS_STARTTLS };
static const struct listener_conf echo_tls = { .name = { (const unsigned char *)"i", 1 },
                                               .tls = LISTENER_TLS_IMPLICIT };

struct bench {
    struct clock clock;
    struct reactor *reactor;
    struct worker worker;
    struct echo_service service;
    char dir[32], cert[64], key[64];
    struct conf_set set;
    struct tls_conf tls;
    struct net_conf net;
    struct tls_context *context;
    int listener, peer;
    struct net_addr addr;
};

static void bench_up(struct bench *b)
{
    struct err err = ERR_INIT;

    *b = (struct bench){ .dir = "/tmp/ph-client-XXXXXX", .listener = -1, .peer = -1 };
    assert_non_null(mkdtemp(b->dir));
    snprintf(b->cert, sizeof b->cert, "%s/cert.pem", b->dir);
    snprintf(b->key, sizeof b->key, "%s/key.pem", b->dir);
    assert_int_equal(tls_self_signed("peer.example.test", b->cert, b->key, &err), 0);
    clock_init_fake(&b->clock, 1000, 1790000000000);
    b->reactor = reactor_new("test", &b->clock, NULL);
    snap_init(&b->set.snap, NULL);
    arena_init(&b->set.mem, 512);
    keys_default(&tls_keys, &b->tls, &b->set.mem);
    keys_default(&net_keys, &b->net, &b->set.mem);
    b->tls.certificate = slice_str(b->cert);
    b->tls.key = slice_str(b->key);
    b->tls.trust_file = slice_str(b->cert);
    b->set.section[CONF_TLS] = &b->tls;
    b->set.section[CONF_NET] = &b->net;
    b->context = tls_context_new(&(struct tls_setup){ .conf = &b->tls }, &err);
    assert_non_null(b->context);
    worker_init(&b->worker,
                &(struct worker_setup){ .reactor = b->reactor, .conf = &b->set, .tls = b->context, .index = 5 });
}

static void turns(struct bench *b)
{
    while (reactor_turn(b->reactor))
        continue;
}

#define UNTIL(b, condition)                                                                                            \
    do {                                                                                                               \
        unsigned turn_count = 0;                                                                                       \
        for (turns(b); !(condition); turns(b)) {                                                                       \
            if (++turn_count > TURNS_MAX)                                                                              \
                fail_msg("waited in vain for %s", #condition);                                                         \
            poll(NULL, 0, 1);                                                                                          \
        }                                                                                                              \
    } while (0)

static void bench_listen(struct bench *b, const char *text, int backlog)
{
    struct err err = ERR_INIT;

    assert_int_equal(net_addr_parse(slice_str(text), &b->addr, &err), 0);
    b->listener = socket(b->addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(b->listener, &b->addr.sa, b->addr.len), 0);
    assert_int_equal(listen(b->listener, backlog), 0);
    b->addr.len = sizeof b->addr - offsetof(struct net_addr, sa);
    assert_int_equal(getsockname(b->listener, &b->addr.sa, &b->addr.len), 0);
}

static int bench_accept(struct bench *b)
{
    int fd;

    UNTIL(b, (fd = accept4(b->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    return fd;
}

static struct session *bench_connect(struct bench *b, struct record *r, bool is_tls)
{
    struct session *s = client_connect(&b->worker, &(struct client_setup){ .protocol = &probe,
                                                                           .addr = b->addr,
                                                                           .connect_timeout_ms = 30000,
                                                                           .arg = r,
                                                                           .is_tls = is_tls,
                                                                           .is_verified = r->must_verify,
                                                                           .server_name = slice_str(r->server_name) });
    assert_int_equal(r->opened + r->closed, 0); /* never before it returns */
    r->session = s;
    return s;
}

static void bench_down(struct bench *b)
{
    worker_cut(&b->worker, false);
    turns(b);
    assert_true(worker_is_idle(&b->worker));
    assert_int_equal(counter_get(counter_find("net.out_open")), 0);
    assert_int_equal(counter_get(counter_find("net.open")), 0);
    if (b->listener >= 0)
        close(b->listener);
    if (b->peer >= 0)
        close(b->peer);
    reactor_destroy(&b->reactor);
    worker_free(&b->worker);
    tls_context_unref(&b->context);
    arena_free(&b->set.mem);
    unlink(b->cert);
    unlink(b->key);
    assert_int_equal(rmdir(b->dir), 0);
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

static const char *const short_talk[] = { "echo one", "echo two", "quit", NULL };

static void client__talks_over_every_family(void **state)
{
    static const char *const addrs[] = { "127.0.0.1:0", "[::1]:0", "unix:/tmp/ph-client-test.sock" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(addrs); i++) {
        struct record r = { .say = short_talk };
        struct bench b;
        bench_up(&b);
        unlink("/tmp/ph-client-test.sock");
        bench_listen(&b, addrs[i], 5);
        const int64_t connected = counter_get(counter_find("net.out_connected"));
        struct session *s = bench_connect(&b, &r, false);
        assert_int_equal(counter_get(counter_find("net.out_open")), 1);
        assert_true(net_addr_eq(&s->peer, &b.addr));
        assert_non_null(worker_adopt(&b.worker, &echo_plain, &echo_protocol, &b.service, bench_accept(&b), NULL));
        UNTIL(&b, r.closed == 1);
        assert_string_equal(buf_str(&r.got), "hello|one|two|bye|");
        assert_string_equal(r.failure, "");
        assert_int_equal(r.opened, 1);
        assert_int_equal(counter_get(counter_find("net.out_connected")), connected + 1);
        buf_free(&r.got);
        unlink("/tmp/ph-client-test.sock");
        bench_down(&b);
    }
}

static void client__uses_the_local_address(void **state)
{
    (void)state;
    struct record r = { .say = short_talk };
    struct bench b;
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    struct client_setup c = { .protocol = &probe, .connect_timeout_ms = 1000, .arg = &r };
    bench_up(&b);
    bench_listen(&b, "127.0.0.1:0", 5);
    c.addr = b.addr;
    assert_int_equal(net_addr_parse(SLICE("127.0.0.9:0"), &c.local, NULL), 0);
    r.session = client_connect(&b.worker, &c);
    b.peer = bench_accept(&b);
    assert_int_equal(getpeername(b.peer, (struct sockaddr *)&from, &len), 0);
    assert_int_equal(ntohl(from.sin_addr.s_addr), 0x7f000009);
    UNTIL(&b, r.opened == 1);
    struct buf local = BUF_INIT;
    net_addr_print_host(&r.session->local, &local);
    assert_string_equal(buf_str(&local), "127.0.0.9");
    buf_free(&local);
    bench_down(&b);
}

static void client__says_why_it_cannot_connect(void **state)
{
    static const struct row {
        const char *addr, *local, *failure;
    } rows[] = {
        { "127.0.0.1:1", NULL, "Connection refused" },
        { "unix:/tmp/ph-there-is-none.sock", NULL, "No such file or directory" },
        { "127.0.0.1:1", "192.0.2.77:0", "local address: Cannot assign requested address" },
        { "127.0.0.1:1", "[::1]:0", "Connection refused" }, /* of another family: not used */
        { NULL, NULL, "Destination address required" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct record r = { .say = short_talk };
        struct bench b;
        struct client_setup c = { .protocol = &probe, .connect_timeout_ms = 1000, .arg = &r };
        bench_up(&b);
        const int64_t failed = counter_get(counter_find("net.out_failed"));
        if (rows[i].addr != NULL)
            assert_int_equal(net_addr_parse(slice_str(rows[i].addr), &c.addr, NULL), 0);
        if (rows[i].local != NULL)
            assert_int_equal(net_addr_parse(slice_str(rows[i].local), &c.local, NULL), 0);
        assert_non_null(client_connect(&b.worker, &c));
        assert_int_equal(r.closed, 0);
        UNTIL(&b, r.closed == 1);
        assert_string_equal(r.failure, rows[i].failure);
        assert_int_equal(r.opened, 0);
        assert_false(r.was_opened);
        assert_int_equal(counter_get(counter_find("net.out_failed")), failed + 1);
        bench_down(&b);
    }
}

static void client__gives_up_a_host_that_does_not_answer(void **state)
{
    (void)state;
    struct record r = { .say = short_talk };
    struct bench b;
    int fill[16];
    bench_up(&b);
    bench_listen(&b, "127.0.0.1:0", 0); /* its queue is full after a few, and the next are not answered */
    for (size_t i = 0; i < ARRAY_LEN(fill); i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(fill[i], &b.addr.sa, b.addr.len) < 0)
            assert_int_equal(errno, EINPROGRESS);
    }
    poll(NULL, 0, 20);
    bench_connect(&b, &r, false);
    turns(&b);
    clock_fake_advance(&b.clock, 29999);
    turns(&b);
    if (r.opened != 0) {
        print_message("this system completes connections that nobody accepts\n");
    } else {
        assert_int_equal(r.closed, 0);
        clock_fake_advance(&b.clock, 1);
        turns(&b);
        assert_int_equal(r.closed, 1);
        assert_string_equal(r.failure, "no connection within 30 s");
    }
    for (size_t i = 0; i < ARRAY_LEN(fill); i++)
        close(fill[i]);
    bench_down(&b);
}

static void client__stops_while_it_connects(void **state)
{
    (void)state;
    for (unsigned cut = 0; cut < 2; cut++) {
        struct record r = { .say = short_talk };
        struct bench b;
        bench_up(&b);
        bench_listen(&b, "127.0.0.1:0", 5);
        bench_connect(&b, &r, false);
        if (cut)
            worker_cut(&b.worker, true);
        else
            worker_stop(&b.worker);
        turns(&b);
        assert_int_equal(r.closed, 1);
        assert_string_equal(r.failure, "stopped");
        assert_int_equal(r.opened + r.stopped, 0);
        bench_down(&b);
    }
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

static void client__says_how_the_connection_ended(void **state)
{
    enum { CLOSE, RESET, SILENCE, STOP };
    static const struct row {
        int how;
        const char *got, *failure;
        unsigned timed_out, stopped;
    } rows[] = {
        { CLOSE, "hi|EOF", "the peer closed the connection", 0, 0 },
        { RESET, "hi|", "Connection reset by peer", 0, 0 },
        { SILENCE, "hi|", "timed out", 1, 0 },
        { STOP, "hi|", "stopped", 0, 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct record r = { .say = short_talk };
        struct bench b;
        char text[64] = "";
        bench_up(&b);
        bench_listen(&b, "127.0.0.1:0", 5);
        bench_connect(&b, &r, false);
        b.peer = bench_accept(&b);
        assert_int_equal(write(b.peer, "hi\r\n", 4), 4);
        UNTIL(&b, r.got.len == 3);
        UNTIL(&b, read(b.peer, text, sizeof text) > 0);
        assert_string_equal(text, "echo one\r\n");
        if (rows[i].how == RESET)
            setsockopt(b.peer, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
        if (rows[i].how == CLOSE || rows[i].how == RESET) {
            close(b.peer);
            b.peer = -1;
        } else if (rows[i].how == SILENCE) {
            clock_fake_advance(&b.clock, 60000);
        } else {
            worker_stop(&b.worker);
        }
        UNTIL(&b, r.closed == 1);
        assert_string_equal(buf_str(&r.got), rows[i].got);
        assert_string_equal(r.failure, rows[i].failure);
        assert_int_equal(r.timed_out, rows[i].timed_out);
        assert_int_equal(r.stopped, rows[i].stopped);
        assert_true(r.was_opened);
        buf_free(&r.got);
        bench_down(&b);
    }
}

/* The peer refuses in the middle of what we send, and closes without reading the rest: its word must arrive. */
static void client__reads_the_last_words_of_a_peer_that_does_not_listen(void **state)
{
    (void)state;
    static const char *const talk[] = { NULL };
    struct record r = { .say = talk, .is_mute = true };
    struct bench b;
    static unsigned char block[65536];
    bench_up(&b);
    bench_listen(&b, "127.0.0.1:0", 5);
    struct session *s = bench_connect(&b, &r, false);
    b.peer = bench_accept(&b);
    UNTIL(&b, r.opened == 1);
    stream_put(s->stream, slice_of(block, sizeof block)); /* unread by the peer, so its close is a reset */
    session_wake(s);
    turns(&b);
    assert_int_equal(write(b.peer, "552 too much\r\n", 14), 14);
    close(b.peer);
    b.peer = -1;
    poll(NULL, 0, 20);
    stream_put(s->stream, slice_of(block, sizeof block)); /* this write fails before anything was read */
    stream_flush(s->stream);
    session_wake(s);
    UNTIL(&b, r.closed == 1);
    assert_true(slice_starts(buf_slice(&r.got), SLICE("552 too much|")));
    assert_string_not_equal(r.failure, "");
    buf_free(&r.got);
    bench_down(&b);
}

/* --- TLS ---------------------------------------------------------------------------------------------------------- */

static const char *const tls_talk[] = { "tls", "echo secret", "quit", NULL };

static void client__starts_tls_and_tells_whom_it_met(void **state)
{
    static const struct row {
        bool implicit, must_verify;
        const char *name;
        bool trusts; /* the server's certificate */
        bool is_verified;
        const char *doubt, *error;
    } rows[] = {
        { false, false, "peer.example.test", true, true, "", "" },
        { false, true, "PEER.example.test.", true, true, "", "" },
        { false, false, "other.example.test", true, false,
          "The certificate Common Name (CN) does not match with the expected CN", "" },
        { false, true, "other.example.test", true, false, "",
          "TLS: The certificate Common Name (CN) does not match with the expected CN" },
        { false, false, "", true, false, "the peer has no name to verify", "" },
        { false, true, "", true, false, "", "TLS: the peer has no name to verify" },
        { false, false, "peer.example.test", false, false,
          "The certificate is not correctly signed by the trusted CA", "" },
        { false, true, "peer.example.test", false, false, "",
          "TLS: The certificate is not correctly signed by the trusted CA" },
        { true, true, "peer.example.test", true, true, "", "" },
        { true, false, "other.example.test", true, false,
          "The certificate Common Name (CN) does not match with the expected CN", "" },
        { true, true, "other.example.test", true, false, "",
          "TLS: The certificate Common Name (CN) does not match with the expected CN" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct record r = { .say = rows[i].implicit ? tls_talk + 1 : tls_talk,
                            .server_name = rows[i].name,
                            .must_verify = rows[i].must_verify };
        const bool fails = rows[i].error[0] != '\0';
        struct bench b;
        bench_up(&b);
        bench_listen(&b, "127.0.0.1:0", 5);
        if (!rows[i].trusts)
            b.tls.trust_file = SLICE("");
        bench_connect(&b, &r, rows[i].implicit);
        worker_adopt(&b.worker, rows[i].implicit ? &echo_tls : &echo_plain, &echo_protocol, &b.service,
                     bench_accept(&b), NULL);
        UNTIL(&b, r.closed == 1);
        assert_string_equal(r.failure, rows[i].error);
        assert_string_equal(r.tls_error, fails && !rows[i].implicit ? rows[i].error : "");
        assert_int_equal(r.opened, !(fails && rows[i].implicit));
        assert_int_equal(r.is_verified, rows[i].is_verified);
        assert_string_equal(r.doubt, rows[i].doubt);
        assert_string_equal(r.version, fails ? "" : "TLSv1.3");
        assert_string_equal(buf_str(&r.got), fails             ? rows[i].implicit ? "" : "hello|go|"
                                             : rows[i].implicit ? "hello|secret|bye|"
                                                                : "hello|go|tls TLSv1.3 clean|secret|bye|");
        buf_free(&r.got);
        bench_down(&b);
    }
}

static void client__fails_alone_when_the_handshake_does(void **state)
{
    enum { GARBAGE, RESET, CLOSE, SILENCE };
    static const struct row {
        int how;
        const char *error;
    } rows[] = {
        { GARBAGE, "TLS: SSL - An invalid SSL record was received" },
        { RESET, "TLS: the peer closed the connection" },
        { CLOSE, "TLS: the peer closed the connection" },
        { SILENCE, "TLS: the peer did not finish the handshake in time" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (unsigned implicit = 0; implicit < 2; implicit++) {
            struct record r = { .say = implicit ? tls_talk + 1 : tls_talk, .server_name = "peer.example.test" };
            struct bench b;
            char text[4096];
            bench_up(&b);
            bench_listen(&b, "127.0.0.1:0", 5);
            bench_connect(&b, &r, implicit);
            b.peer = bench_accept(&b);
            if (!implicit) {
                assert_int_equal(write(b.peer, "hello\r\n", 7), 7);
                UNTIL(&b, read(b.peer, text, sizeof text) == 5);
                /* what stands behind the go-ahead was not protected and must not be heard */
                assert_int_equal(write(b.peer, "go\r\n250 injected\r\n", 18), 18);
            }
            UNTIL(&b, read(b.peer, text, sizeof text) > 100); /* the ClientHello */
            if (rows[i].how == GARBAGE)
                assert_int_equal(write(b.peer, "421 no more connections, go away\r\n", 34), 34);
            if (rows[i].how == RESET)
                setsockopt(b.peer, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
            if (rows[i].how == CLOSE || rows[i].how == RESET) {
                close(b.peer);
                b.peer = -1;
            } else if (rows[i].how == SILENCE) {
                clock_fake_advance(&b.clock, 30000);
            }
            UNTIL(&b, r.closed == 1);
            assert_string_equal(r.failure, rows[i].error);
            assert_string_equal(r.tls_error, implicit ? "" : rows[i].error);
            assert_int_equal(r.opened, !implicit);
            assert_string_equal(buf_str(&r.got), implicit ? "" : "hello|go|");
            buf_free(&r.got);
            bench_down(&b);
        }
    }
}

/* What stands behind the go-ahead in plain text must not be taken for the peer's words under TLS (RFC 3207 6). */
static void client__does_not_hear_what_was_said_before_tls(void **state)
{
    (void)state;
    struct record r = { .say = tls_talk, .server_name = "peer.example.test", .must_verify = true };
    struct bench b;
    char text[64];
    bench_up(&b);
    bench_listen(&b, "127.0.0.1:0", 5);
    bench_connect(&b, &r, false);
    const int fd = bench_accept(&b);
    assert_int_equal(write(fd, "hi\r\n", 4), 4);
    UNTIL(&b, read(fd, text, sizeof text) == 5);
    assert_int_equal(write(fd, "go\r\ninjected\r\n", 14), 14);
    UNTIL(&b, r.got.len == 6);
    worker_adopt(&b.worker, &echo_tls, &echo_protocol, &b.service, fd, NULL);
    UNTIL(&b, r.closed == 1);
    assert_string_equal(buf_str(&r.got), "hi|go|hello|secret|bye|");
    buf_free(&r.got);
    bench_down(&b);
}

/* Another implementation: openssl s_server, which echoes lines reversed. */
static void client__speaks_tls_with_openssl(void **state)
{
    static const char *const versions[] = { "-tls1_2", "-tls1_3" };
    static const char *const names[] = { "TLSv1.2", "TLSv1.3" };
    static const char *const talk[] = { "CONNECT", "olleh", NULL };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct record r = { .say = talk, .server_name = "peer.example.test", .must_verify = true };
        struct bench b;
        int out[2];
        bench_up(&b);
        assert_int_equal(pipe(out), 0);
        const pid_t pid = fork();
        if (pid == 0) {
            dup2(out[1], 1);
            dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2); /* it talks */
            close(out[0]);
            execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", b.cert, "-key", b.key,
                   versions[i], "-rev", "-naccept", "1", (char *)NULL);
            _exit(127);
        }
        close(out[1]);
        FILE *f = fdopen(out[0], "r");
        char line[256];
        unsigned port = 0;
        while (port == 0 && fgets(line, sizeof line, f) != NULL)
            sscanf(line, "ACCEPT 127.0.0.1:%u", &port);
        if (port != 0) {
            snprintf(line, sizeof line, "127.0.0.1:%u", port);
            assert_int_equal(net_addr_parse(slice_str(line), &b.addr, NULL), 0);
            bench_connect(&b, &r, true);
            UNTIL(&b, r.opened + r.closed > 0);
            assert_int_equal(r.opened, 1);
            stream_put(r.session->stream, SLICE("a word\r\n")); /* it waits for us */
            session_wake(r.session);
            UNTIL(&b, r.got.len > 0 || r.closed == 1);
            assert_true(slice_starts(buf_slice(&r.got), SLICE("drow a")));
            assert_string_equal(r.version, names[i]);
            assert_true(r.is_verified);
        }
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        fclose(f);
        if (port == 0)
            print_message("no openssl s_server here\n");
        else
            UNTIL(&b, r.closed == 1);
        buf_free(&r.got);
        bench_down(&b);
    }
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

struct order {
    struct post post;
    struct worker *worker;
    struct client_setup setup;
    struct record *record;
};

static void on_order(struct post *p)
{
    struct order *o = CONTAINER_OF(p, struct order, post);

    o->record->session = client_connect(o->worker, &o->setup);
}

struct listing {
    unsigned rows;
    char text[512];
};

static void on_row(void *arg, const struct session_row *row)
{
    struct listing *l = arg;
    const size_t len = strlen(l->text);

    l->rows++;
    snprintf(l->text + len, sizeof l->text - len, "%s %s;", row->protocol, row->state);
}

static void client_pool__runs_sessions_on_its_threads(void **state)
{
    (void)state;
    enum { COUNT = 6 };
    struct record r[COUNT] = { 0 };
    struct order orders[COUNT];
    struct listing listing = { 0 };
    struct client_pool *pool;
    struct pool *helpers = pool_new("help", 2, 100, NULL);
    struct err err = ERR_INIT;
    struct clock real;
    struct bench b;
    bench_up(&b);
    clock_init_real(&real);
    bench_listen(&b, "127.0.0.1:0", 50);
    assert_int_equal(client_pool_new(&pool,
                                     &(struct client_pool_setup){ .name = "out",
                                                                  .threads = 2,
                                                                  .helpers = helpers,
                                                                  .clock = &real,
                                                                  .conf = &b.set },
                                     &err),
                     0);
    assert_int_equal(client_pool_workers(pool), 2);
    assert_int_equal(client_pool_start(pool, &err), 0);
    client_pool_reload(pool, &b.set);
    for (unsigned i = 0; i < COUNT; i++) {
        r[i] = (struct record){ .say = tls_talk, .server_name = "peer.example.test", .must_verify = true };
        orders[i] = (struct order){ .worker = client_pool_worker(pool, i % 2), .record = &r[i] };
        orders[i].setup = (struct client_setup){ .protocol = &probe,
                                                 .addr = b.addr,
                                                 .connect_timeout_ms = 10000,
                                                 .arg = &r[i] };
        reactor_post(orders[i].worker->reactor, &orders[i].post, on_order);
    }
    /* four are served, two are left without a greeting until the pool stops */
    for (unsigned i = 0; i < COUNT - 2; i++)
        worker_adopt(&b.worker, &echo_plain, &echo_protocol, &b.service, bench_accept(&b), NULL);
    const int one = bench_accept(&b), two = bench_accept(&b);
    UNTIL(&b, (r[0].closed + r[1].closed + r[2].closed + r[3].closed + r[4].closed + r[5].closed) == 4);
    UNTIL(&b, r[0].opened + r[1].opened + r[2].opened + r[3].opened + r[4].opened + r[5].opened == 6);
    client_pool_sessions(pool, on_row, &listing);
    assert_int_equal(listing.rows, 2);
    assert_string_equal(listing.text, "probe running;probe running;");
    assert_true(client_pool_stalled_ms(pool) < 60000);
    client_pool_stop(pool, 1000);
    pool_destroy(&helpers);
    client_pool_destroy(&pool);
    unsigned stopped = 0, served = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(r[i].closed, 1);
        stopped += strcmp(r[i].failure, "stopped") == 0;
        served += strcmp(buf_str(&r[i].got), "hello|go|tls TLSv1.3 clean|secret|bye|") == 0 && r[i].is_verified;
        buf_free(&r[i].got);
    }
    assert_int_equal(stopped, 2);
    assert_int_equal(served, 4);
    close(one);
    close(two);
    bench_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client__talks_over_every_family),
        cmocka_unit_test(client__uses_the_local_address),
        cmocka_unit_test(client__says_why_it_cannot_connect),
        cmocka_unit_test(client__gives_up_a_host_that_does_not_answer),
        cmocka_unit_test(client__stops_while_it_connects),
        cmocka_unit_test(client__says_how_the_connection_ended),
        cmocka_unit_test(client__reads_the_last_words_of_a_peer_that_does_not_listen),
        cmocka_unit_test(client__starts_tls_and_tells_whom_it_met),
        cmocka_unit_test(client__fails_alone_when_the_handshake_does),
        cmocka_unit_test(client__does_not_hear_what_was_said_before_tls),
        cmocka_unit_test(client__speaks_tls_with_openssl),
        cmocka_unit_test(client_pool__runs_sessions_on_its_threads),
    };
    signal(SIGPIPE, SIG_IGN); /* as main does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
