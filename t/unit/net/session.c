/* The driver and the stream, over socket pairs, with the echo protocol and a reactor turned by hand. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "echo.h"
#include "net/internal.h"
#include "net/worker.h"

static const struct listener_conf plain = { .name = { (const unsigned char *)"t", 1 } };
static const struct listener_conf proxied = { .name = { (const unsigned char *)"p", 1 }, .proxy_protocol = true };

struct bench {
    struct clock clock;
    struct reactor *reactor;
    struct worker worker;
    struct echo_service service;
    int peer; /* our end */
    struct buf got;
};

static void bench_up(struct bench *b, struct conf_set *conf, struct net_limits *limits)
{
    *b = (struct bench){ .peer = -1 };
    clock_init_fake(&b->clock, 1000, 1000);
    b->reactor = reactor_new("test", &b->clock, NULL);
    worker_init(&b->worker, &(struct worker_setup){ .reactor = b->reactor, .conf = conf, .limits = limits });
    char path[] = "/tmp/ph-echo-XXXXXX";
    b->service.fd = mkstemp(path);
    unlink(path);
    for (unsigned i = 0; i < 1000; i++) {
        char text[1001];
        memset(text, 'a' + (int)(i % 26), 1000);
        assert_int_equal(write(b->service.fd, text, 1000), 1000);
    }
}

static void turn(struct bench *b)
{
    while (reactor_turn(b->reactor))
        continue;
}

static struct session *bench_join(struct bench *b, const struct listener_conf *l, const struct net_addr *peer)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    if (b->peer >= 0)
        close(b->peer);
    b->peer = pair[1];
    struct session *s = worker_adopt(&b->worker, l, &echo_protocol, &b->service, pair[0], peer);
    turn(b);
    return s;
}

static void take(struct bench *b)
{
    ssize_t n;

    do {
        n = read(b->peer, buf_extend(&b->got, 65536), 65536);
        b->got.len -= (size_t)(65536 - (n > 0 ? n : 0));
        turn(b);
    } while (n > 0);
}

static bool is_closed(struct bench *b)
{
    char c;
    const ssize_t n = read(b->peer, &c, 1);

    return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void give(struct bench *b, const char *text, size_t len)
{
    while (len > 0) {
        const ssize_t n = send(b->peer, text, len, MSG_NOSIGNAL);
        turn(b);
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        } else {
            take(b);
        }
    }
}

static void bench_down(struct bench *b)
{
    worker_cut(&b->worker, false);
    turn(b);
    assert_true(worker_is_idle(&b->worker));
    assert_int_equal(b->service.opened, b->service.closed);
    if (b->peer >= 0)
        close(b->peer);
    close(b->service.fd);
    reactor_destroy(&b->reactor);
    worker_free(&b->worker);
    buf_free(&b->got);
}

#define EXPECT(b, text)                                                                                                \
    do {                                                                                                               \
        take(b);                                                                                                       \
        assert_string_equal(buf_str(&(b)->got), text);                                                                 \
        buf_reset(&(b)->got);                                                                                          \
    } while (0)

/* A dialogue that uses every framing call; what it must answer. */
static const char dialogue[] = "echo one\r\necho two\r\nbare\rcr\r\nlone\nline\r\noctets 5\r\n\r\n.\r\ndata\r\n"
                               "..a\r\n.b\r\n\r\n.\r\necho three\r\ndata\r\nx\n.\n\r\n.\r\ndata\r\n.\r\necho four\r\n"
                               "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
                               "7890123456789\r\n"
                               "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
                               "78901234567890\r\nquit\r\necho never\r\n";
static const char replies[] = "hello\r\none\r\ntwo\r\nbare\r\nbare\r\nwhat?\r\n\r\n.\r\n\r\ndata 9 41913626032780\r\n"
                              "three\r\nbad 6 0\r\ndata 0 0\r\nfour\r\nwhat?\r\nlong\r\nbye\r\n";

static void session__answers_the_same_however_input_is_cut(void **state)
{
    (void)state;
    const size_t len = sizeof dialogue - 1;
    for (size_t cut = 0; cut <= len; cut++) {
        struct bench b;
        bench_up(&b, NULL, NULL);
        assert_non_null(bench_join(&b, &plain, NULL));
        give(&b, dialogue, cut);
        if (cut < len && send(b.peer, dialogue + cut, len - cut, MSG_NOSIGNAL) < 0)
            assert_true(cut > len - 14); /* quit was there already */
        turn(&b);
        take(&b);
        if (strcmp(buf_str(&b.got), replies) != 0)
            print_error("cut at %zu\n", cut);
        EXPECT(&b, replies);
        assert_true(is_closed(&b));
        bench_down(&b);
    }
}

static void session__answers_octet_by_octet(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL, NULL);
    bench_join(&b, &plain, NULL);
    for (size_t i = 0; i < sizeof dialogue - 1 - 12; i++)
        give(&b, dialogue + i, 1);
    EXPECT(&b, replies);
    assert_true(is_closed(&b));
    bench_down(&b);
}

static void session__holds_no_buffers_when_idle(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL, NULL);
    const struct session *s = bench_join(&b, &plain, NULL);
    give(&b, "echo x\r\n", 8);
    EXPECT(&b, "hello\r\nx\r\n");
    assert_null(s->stream->in.ptr);
    assert_null(s->stream->out.ptr);
    give(&b, "ech", 3);
    assert_non_null(s->stream->in.ptr);
    give(&b, "o y\r\n", 5);
    EXPECT(&b, "y\r\n");
    assert_null(s->stream->in.ptr);
    assert_int_equal(stream_in_bytes(s->stream), 16);
    assert_int_equal(stream_out_bytes(s->stream), 13);
    bench_down(&b);
}

static void session__stops_producing_when_the_peer_does_not_read(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL, NULL);
    const struct session *s = bench_join(&b, &plain, NULL);
    give(&b, "big 5000000\r\necho end\r\n", 23);
    assert_true(stream_out_pending(s->stream) > STREAM_OUT_LOW);
    assert_true(stream_out_pending(s->stream) <= STREAM_OUT_HIGH + 2048);
    take(&b);
    assert_int_equal(b.got.len, 7 + 5000000 + 5);
    assert_true(slice_ends(buf_slice(&b.got), SLICE("end\r\n")));
    assert_null(s->stream->out.ptr);
    bench_down(&b);
}

/* More than is written in one go, then it waits for the peer; the second time it has a word to say. */
static enum step files_step(struct session *s)
{
    struct echo_session *e = (struct echo_session *)s;

    if (e->left != 0)
        return STEP_WANT_READ;
    if (e->len++ == 0) {
        for (unsigned i = 0; i < 3; i++)
            stream_put_file(s->stream, ((struct echo_service *)s->service)->fd, 0, 1000000, NULL, NULL);
        return STEP_WANT_WRITE;
    }
    e->left = 1;
    stream_put(s->stream, SLICE("done\r\n"));
    return STEP_AGAIN;
}

static void session__goes_on_when_the_last_look_wrote_everything(void **state)
{
    (void)state;
    struct protocol files = echo_protocol;
    const int room = 16 * 1024 * 1024; /* the socket takes all of it, so that it never has to be waited for */
    struct bench b;
    int pair[2];

    files.step = files_step;
    bench_up(&b, NULL, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    b.peer = pair[1];
    if (setsockopt(pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) < 0)
        print_message("no right to a large socket buffer: the case may not be met\n");
    worker_adopt(&b.worker, &plain, &files, &b.service, pair[0], NULL);
    turn(&b);
    take(&b);
    assert_int_equal(b.got.len, 3000000 + 6);
    bench_down(&b);
}

static void session__sends_files_between_text(void **state)
{
    static const size_t sizes[] = { 1, 1000, STREAM_FILE_INLINE, STREAM_FILE_INLINE + 1, 700000, 1000000 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct bench b;
        char text[64];
        bench_up(&b, NULL, NULL);
        bench_join(&b, &plain, NULL);
        snprintf(text, sizeof text, "file %zu\r\nfile %zu\r\necho z\r\n", sizes[i], sizes[i]);
        give(&b, text, strlen(text));
        take(&b);
        assert_int_equal(b.got.len, 7 + 2 * (sizes[i] + 4) + 3);
        assert_memory_equal(b.got.ptr, "hello\r\n<a", 9);
        for (size_t at = 0; at < sizes[i]; at += 997) {
            assert_int_equal(b.got.ptr[8 + at], 'a' + (int)(at / 1000 % 26));
            assert_int_equal(b.got.ptr[8 + sizes[i] + 4 + at], 'a' + (int)(at / 1000 % 26));
        }
        assert_true(slice_ends(buf_slice(&b.got), SLICE(">\r\nz\r\n")));
        assert_int_equal(b.service.released, 2);
        bench_down(&b);
    }
}

static void session__cuts_the_connection_when_a_file_is_short(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct bench b;
        bench_up(&b, NULL, NULL);
        bench_join(&b, &plain, NULL);
        if (i == 0)
            assert_int_equal(ftruncate(b.service.fd, 500), 0);
        give(&b, i == 0 ? "file 501\r\n" : "file 1000001\r\n", i == 0 ? 10 : 14);
        take(&b);
        assert_false(slice_find(buf_slice(&b.got), SLICE(">")) >= 0);
        assert_true(is_closed(&b));
        assert_int_equal(b.service.released, 1);
        bench_down(&b);
    }
}

static void session__releases_files_when_the_peer_goes(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL, NULL);
    bench_join(&b, &plain, NULL);
    give(&b, "file 1000000\r\nfile 1000000\r\n", 28);
    assert_int_equal(b.service.released, 0);
    close(b.peer);
    b.peer = -1;
    turn(&b);
    assert_int_equal(b.service.released, 1); /* the second command was not reached: output was high */
    assert_true(worker_is_idle(&b.worker));
    bench_down(&b);
}

static void session__waits_until_woken(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL, NULL);
    struct session *s = bench_join(&b, &plain, NULL);
    give(&b, "wait\r\necho after\r\n", 18);
    EXPECT(&b, "hello\r\n");
    give(&b, "echo more\r\n", 11);
    EXPECT(&b, "");
    assert_ptr_equal(session_find(&b.worker, s->id), s);
    session_wake(s);
    turn(&b);
    EXPECT(&b, "woken\r\nafter\r\nmore\r\n");
    bench_down(&b);
}

static void session__ends_after_its_timeout_with_a_farewell(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL, NULL);
    bench_join(&b, &plain, NULL);
    clock_fake_advance(&b.clock, 59999);
    turn(&b);
    EXPECT(&b, "hello\r\n");
    clock_fake_advance(&b.clock, 1);
    turn(&b);
    EXPECT(&b, "timeout\r\n");
    assert_true(is_closed(&b));
    assert_int_equal(b.service.timed_out, 1);
    bench_down(&b);
}

static void session__cuts_a_peer_that_does_not_read_the_farewell(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL, NULL);
    bench_join(&b, &plain, NULL);
    give(&b, "big 500000\r\nquit\r\n", 18);
    clock_fake_advance(&b.clock, 60000);
    turn(&b);
    clock_fake_advance(&b.clock, 15000);
    turn(&b);
    assert_true(worker_is_idle(&b.worker));
    bench_down(&b);
}

static void session__stops_when_it_rests_and_is_not_busy(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL, NULL);
    struct session *s = bench_join(&b, &plain, NULL);
    worker_stop(&b.worker);
    turn(&b);
    EXPECT(&b, "hello\r\nstopping\r\n");
    assert_true(is_closed(&b));

    s = bench_join(&b, &plain, NULL); /* waiting: first finish */
    give(&b, "wait\r\n", 6);
    worker_stop(&b.worker);
    turn(&b);
    EXPECT(&b, "hello\r\n");
    session_wake(s);
    turn(&b);
    EXPECT(&b, "woken\r\nstopping\r\n");

    bench_join(&b, &plain, NULL); /* busy: until it is not */
    give(&b, "busy\r\n", 6);
    worker_stop(&b.worker);
    turn(&b);
    EXPECT(&b, "hello\r\nok\r\n");
    give(&b, "busy\r\n", 6);
    EXPECT(&b, "ok\r\nstopping\r\n");
    assert_int_equal(b.service.stopped, 3);
    bench_down(&b);
}

static void session__ends_those_of_a_user_only(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL, NULL);
    struct session *s = bench_join(&b, &plain, NULL);
    s->user = SLICE("ann@example.test");
    worker_user_close(&b.worker, SLICE("bob@example.test"));
    turn(&b);
    EXPECT(&b, "hello\r\n");
    worker_user_close(&b.worker, SLICE("Ann@example.test"));
    turn(&b);
    EXPECT(&b, "stopping\r\n");
    bench_down(&b);
}

static void session__lets_others_go_between_many_commands(void **state)
{
    (void)state;
    struct bench b;
    struct buf in = BUF_INIT;
    bench_up(&b, NULL, NULL);
    bench_join(&b, &plain, NULL);
    for (unsigned i = 0; i < 2000; i++)
        buf_put_str(&in, "echo x\r\n");
    give(&b, buf_str(&in), in.len);
    take(&b);
    assert_int_equal(b.got.len, 7 + 2000 * 3);
    buf_free(&in);
    bench_down(&b);
}

static void session__ends_when_the_peer_closes_in_the_middle(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL, NULL);
    bench_join(&b, &plain, NULL);
    give(&b, "echo a\r\necho unfinished", 23);
    shutdown(b.peer, SHUT_WR);
    turn(&b);
    EXPECT(&b, "hello\r\na\r\n");
    assert_true(worker_is_idle(&b.worker));
    bench_down(&b);
}

/* --- limits and proxies ------------------------------------------------------------------------------------------- */

static void conf_up(struct conf_set *set, struct net_conf *nc, struct net_range *range)
{
    *set = (struct conf_set){ 0 };
    snap_init(&set->snap, NULL);
    *nc = (struct net_conf){ .connections_max = 2,
                             .connections_per_host = 1,
                             .handshake_timeout_s = 5,
                             .close_timeout_s = 5,
                             .proxy_ranges = range,
                             .proxy_range_count = 1 };
    assert_int_equal(net_range_parse(SLICE("10.0.0.0/8"), range, NULL), 0);
    set->section[CONF_NET] = nc;
}

static void session__is_refused_over_the_limits(void **state)
{
    (void)state;
    struct net_limits *limits = net_limits_new();
    struct conf_set set;
    struct net_conf nc;
    struct net_range range;
    struct net_addr one, two;
    struct bench b;
    conf_up(&set, &nc, &range);
    bench_up(&b, &set, limits);
    net_addr_parse(SLICE("192.0.2.1:1000"), &one, NULL);
    net_addr_parse(SLICE("192.0.2.2:1000"), &two, NULL);

    bench_join(&b, &plain, &one);
    EXPECT(&b, "hello\r\n");
    const int first = dup(b.peer);
    assert_null(bench_join(&b, &plain, &one)); /* the same host again */
    EXPECT(&b, "busy\r\n");
    assert_true(is_closed(&b));
    bench_join(&b, &plain, &two);
    EXPECT(&b, "hello\r\n");
    const int second = dup(b.peer);
    net_addr_parse(SLICE("192.0.2.3:1000"), &two, NULL);
    assert_null(bench_join(&b, &plain, &two)); /* the third in all */
    EXPECT(&b, "busy\r\n");
    assert_int_equal(net_limits_count(limits), 2);
    close(first);
    close(second);
    worker_cut(&b.worker, false);
    turn(&b);
    assert_int_equal(net_limits_count(limits), 0);
    bench_join(&b, &plain, &one);
    EXPECT(&b, "hello\r\n");
    bench_down(&b);
    net_limits_destroy(&limits);
}

static void session__takes_the_peer_from_a_trusted_proxy(void **state)
{
    static const char head[] = "PROXY TCP4 192.0.2.7 192.0.2.8 4000 25\r\necho x\r\n";
    struct net_addr proxy, other;
    struct net_range range;
    struct conf_set set;
    struct net_conf nc;
    struct bench b;

    (void)state;
    conf_up(&set, &nc, &range);
    bench_up(&b, &set, NULL);
    net_addr_parse(SLICE("10.1.2.3:9"), &proxy, NULL);
    net_addr_parse(SLICE("11.1.2.3:9"), &other, NULL);
    for (size_t cut = 0; cut < sizeof head; cut++) {
        struct session *s = bench_join(&b, &proxied, &proxy);
        struct buf text = BUF_INIT;
        EXPECT(&b, "");
        give(&b, head, cut);
        give(&b, head + cut, sizeof head - 1 - cut);
        EXPECT(&b, "hello\r\nx\r\n");
        net_addr_print(&s->peer, &text);
        assert_string_equal(buf_str(&text), "192.0.2.7:4000");
        buf_free(&text);
    }
    bench_join(&b, &proxied, &proxy); /* no header */
    give(&b, "EHLO x\r\n", 8);
    EXPECT(&b, "");
    assert_true(is_closed(&b));
    bench_join(&b, &proxied, &proxy); /* silence */
    clock_fake_advance(&b.clock, 5000);
    turn(&b);
    assert_true(is_closed(&b));
    bench_join(&b, &proxied, &other); /* not trusted: the line is input like any other */
    give(&b, head, sizeof head - 1);
    EXPECT(&b, "hello\r\nwhat?\r\nx\r\n");
    bench_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session__answers_the_same_however_input_is_cut),
        cmocka_unit_test(session__answers_octet_by_octet),
        cmocka_unit_test(session__holds_no_buffers_when_idle),
        cmocka_unit_test(session__stops_producing_when_the_peer_does_not_read),
        cmocka_unit_test(session__goes_on_when_the_last_look_wrote_everything),
        cmocka_unit_test(session__sends_files_between_text),
        cmocka_unit_test(session__cuts_the_connection_when_a_file_is_short),
        cmocka_unit_test(session__releases_files_when_the_peer_goes),
        cmocka_unit_test(session__waits_until_woken),
        cmocka_unit_test(session__ends_after_its_timeout_with_a_farewell),
        cmocka_unit_test(session__cuts_a_peer_that_does_not_read_the_farewell),
        cmocka_unit_test(session__stops_when_it_rests_and_is_not_busy),
        cmocka_unit_test(session__ends_those_of_a_user_only),
        cmocka_unit_test(session__lets_others_go_between_many_commands),
        cmocka_unit_test(session__ends_when_the_peer_closes_in_the_middle),
        cmocka_unit_test(session__is_refused_over_the_limits),
        cmocka_unit_test(session__takes_the_peer_from_a_trusted_proxy),
    };
    signal(SIGPIPE, SIG_IGN); /* as main does; sendfile(2) has no flag for it */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
