#include "reactor/reactor.h"

#include <stdio.h>

#include "scene.h"

static void io_want__reports_readiness(void **state)
{
    struct scene *s = *state;
    struct peer p;
    char octet;

    peer_init(&p, s, on_peer);
    assert_false(reactor_turn(s->reactor));
    io_want(&p.io, IO_READ);
    assert_false(reactor_turn(s->reactor));
    say(&p);
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(p.events, IO_READ);
    assert_true(reactor_turn(s->reactor)); /* level-triggered */
    assert_int_equal(p.calls, 2);
    assert_int_equal(read(p.fds[0], &octet, 1), 1);
    assert_false(reactor_turn(s->reactor));
    io_want(&p.io, IO_READ | IO_WRITE);
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(p.events, IO_WRITE);
    say(&p);
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(p.events, IO_READ | IO_WRITE);
    io_want(&p.io, 0);
    assert_false(reactor_turn(s->reactor));
    io_want(&p.io, IO_READ);
    io_want(&p.io, 0);
    io_want(&p.io, IO_READ);
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(p.events, IO_READ);
    peer_free(&p);
}

static void io_want__hang_up_is_readable(void **state)
{
    struct scene *s = *state;
    struct peer p;

    peer_init(&p, s, on_peer);
    io_want(&p.io, IO_READ);
    close(p.fds[1]);
    p.fds[1] = -1;
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(p.events, IO_READ);
    peer_free(&p);
}

static void on_peer_toggle(struct io *io, unsigned events)
{
    struct peer *p = (struct peer *)(void *)io;
    char octet;

    p->calls++;
    if (events & IO_READ) {
        saw(p->scene, 'r');
        assert_int_equal(read(io->fd, &octet, 1), 1);
        io_want(io, IO_WRITE); /* as an answer would */
    } else {
        saw(p->scene, 'w');
        io_want(io, p->calls < 4 ? IO_READ : 0);
    }
}

static void io_want__may_change_inside_the_callback(void **state)
{
    struct scene *s = *state;
    struct peer p;

    peer_init(&p, s, on_peer_toggle);
    io_want(&p.io, IO_READ);
    say(&p);
    run_until_quiet(s);
    assert_string_equal(s->seen, "rw");
    say(&p);
    run_until_quiet(s);
    assert_string_equal(s->seen, "rwrw");
    say(&p);
    assert_false(reactor_turn(s->reactor)); /* stopped by its last callback */
    assert_int_equal(p.io.events, 0);
    peer_free(&p);
}

static void on_peer_stop_other(struct io *io, unsigned events)
{
    struct peer *p = (struct peer *)(void *)io;

    (void)events;
    p->calls++;
    io_want(&p->other->io, 0);
}

static void io_want__stops_what_was_ready_in_the_same_turn(void **state)
{
    struct scene *s = *state;
    struct peer a, b;

    peer_init(&a, s, on_peer_stop_other);
    peer_init(&b, s, on_peer_stop_other);
    a.other = &b;
    b.other = &a;
    io_want(&a.io, IO_READ);
    io_want(&b.io, IO_READ);
    say(&a);
    say(&b);
    assert_true(reactor_turn(s->reactor));
    assert_int_equal(a.calls + b.calls, 1); /* whichever came first */
    peer_free(&a);
    peer_free(&b);
}

static void on_peer_later(struct later *l)
{
    struct peer *p = CONTAINER_OF(l, struct peer, later);

    saw(p->scene, 'f');
    peer_free(p);
    free(p);
}

static void on_peer_timer(struct timer *t)
{
    struct peer *p = CONTAINER_OF(t, struct peer, timer);

    saw(p->scene, 't');
}

static void on_peer_close(struct io *io, unsigned events)
{
    struct peer *p = (struct peer *)(void *)io;

    (void)events;
    saw(p->scene, 'c');
    io_want(io, 0);
    timer_stop(&p->timer);
    reactor_later(io->reactor, &p->later, on_peer_later);
}

static void io__is_closed_after_the_batch(void **state)
{
    struct scene *s = *state;

    for (int i = 0; i < 3; i++) {
        struct peer *p = malloc(sizeof *p);
        assert_non_null(p);
        peer_init(p, s, on_peer_close);
        timer_init(&p->timer, s->reactor, on_peer_timer);
        timer_start(&p->timer, 10);
        io_want(&p->io, IO_READ | IO_WRITE);
        say(p);
    }
    clock_fake_advance(&s->clock, 10);
    assert_true(reactor_turn(s->reactor));
    assert_string_equal(s->seen, "cccfff");
    assert_false(reactor_turn(s->reactor));
}

static void io_init__again_for_a_descriptor_of_the_same_number(void **state)
{
    struct scene *s = *state;
    struct peer a, b;

    for (int i = 0; i < 3; i++) {
        peer_init(&a, s, on_peer);
        io_want(&a.io, IO_READ);
        say(&a);
        assert_true(reactor_turn(s->reactor));
        assert_int_equal(a.calls, 1);
        peer_free(&a); /* no turn in between: the loop has not told the kernel */
        peer_init(&b, s, on_peer);
        assert_int_equal(b.io.fd, a.io.fd);
        io_want(&b.io, IO_READ);
        assert_false(reactor_turn(s->reactor));
        say(&b);
        assert_true(reactor_turn(s->reactor));
        assert_int_equal(b.calls, 1);
        peer_free(&b);
    }
}

static void io_want__a_plain_file_is_always_ready(void **state)
{
    struct scene *s = *state;
    FILE *file = tmpfile();
    struct peer p;

    assert_non_null(file);
    peer_init(&p, s, on_peer);
    io_init(&p.io, s->reactor, fileno(file), on_peer);
    io_want(&p.io, IO_READ);
    for (unsigned i = 1; i <= 3; i++) {
        assert_true(reactor_turn(s->reactor));
        assert_int_equal(p.events, IO_READ);
        assert_int_equal(p.calls, i);
    }
    peer_free(&p);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(io_want__reports_readiness),
        SCENE_TEST(io_want__hang_up_is_readable),
        SCENE_TEST(io_want__may_change_inside_the_callback),
        SCENE_TEST(io_want__stops_what_was_ready_in_the_same_turn),
        SCENE_TEST(io__is_closed_after_the_batch),
        SCENE_TEST(io_init__again_for_a_descriptor_of_the_same_number),
        SCENE_TEST(io_want__a_plain_file_is_always_ready),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
