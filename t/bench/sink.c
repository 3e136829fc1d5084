/* sink.c - an SMTP server that counts and throws away, for what we send out.
 *
 *   sink [-t | -T | -g | -d] [-n N] [-p PORT] [-A]       prints the port, and the counts at SIGTERM
 *
 * It accepts everything, or: -t refuses every RCPT with 451, -T every final dot; -g never says anything (a hang at the
 * greeting), -d never answers the final dot. -n N: only every N-th time.
 * -A: at every address, so that 127.0.0.0/8 is that many hosts.
 * SIGUSR1 prints the counts and goes on. One thread, one epoll loop. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum mode { ACCEPT, TEMPFAIL_RCPT, TEMPFAIL_DOT, HANG_GREETING, HANG_DOT };

struct sink {
    enum mode mode;
    bool is_any;
    unsigned every, port;
    int epoll, listener, signals;
    unsigned long turn, sessions, messages, recipients, octets, refused;
};

struct session {
    int fd;
    bool is_data, is_hung;
    unsigned recipients; /* accepted for this message */
    unsigned tail;       /* how much of CRLF . CRLF the octets so far end with */
    size_t line_len;
    char line[512];
};

static void counts_print(const struct sink *s)
{
    printf("sessions=%lu messages=%lu recipients=%lu octets=%lu refused=%lu\n", s->sessions, s->messages,
           s->recipients, s->octets, s->refused);
    fflush(stdout);
}

static bool is_turn(struct sink *s, enum mode mode)
{
    return s->mode == mode && ++s->turn % s->every == 0;
}

static void say(const struct session *c, const char *text)
{
    ssize_t n = send(c->fd, text, strlen(text), MSG_NOSIGNAL);

    (void)n; /* a peer that does not read its replies gets none */
}

static bool is_verb(const struct session *c, const char *verb)
{
    return c->line_len >= 4 && strncasecmp(c->line, verb, 4) == 0;
}

/* False: the session is over. */
static bool command(struct sink *s, struct session *c)
{
    if (is_verb(c, "EHLO")) {
        say(c, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 0\r\n");
    } else if (is_verb(c, "RCPT") && is_turn(s, TEMPFAIL_RCPT)) {
        s->refused++;
        say(c, "451 4.3.0 Later\r\n");
    } else if (is_verb(c, "RCPT")) {
        c->recipients++;
        say(c, "250 2.1.5 OK\r\n");
    } else if (is_verb(c, "DATA") && c->recipients == 0) {
        say(c, "503 5.5.1 RCPT first\r\n");
    } else if (is_verb(c, "DATA")) {
        c->is_data = true;
        c->tail = 2; /* the line end of DATA serves a message that is only a dot */
        say(c, "354 Go on\r\n");
    } else if (is_verb(c, "QUIT")) {
        say(c, "221 2.0.0 Bye\r\n");
        return false;
    } else {
        if (is_verb(c, "MAIL") || is_verb(c, "RSET"))
            c->recipients = 0;
        say(c, "250 2.0.0 OK\r\n");
    }
    return true;
}

static void message_end(struct sink *s, struct session *c)
{
    unsigned recipients = c->recipients;

    c->is_data = false;
    c->recipients = 0;
    if (is_turn(s, HANG_DOT)) {
        c->is_hung = true;
    } else if (is_turn(s, TEMPFAIL_DOT)) {
        s->refused += recipients;
        say(c, "451 4.3.0 Later\r\n");
    } else {
        s->messages++;
        s->recipients += recipients;
        say(c, "250 2.0.0 OK\r\n");
    }
}

static void data_octet(struct sink *s, struct session *c, char o)
{
    static const char end[] = "\r\n.\r\n";

    s->octets++;
    if (o == end[c->tail])
        c->tail++;
    else
        c->tail = o == '\r' ? 1 : 0;
    if (c->tail == sizeof end - 1)
        message_end(s, c);
}

static bool octet(struct sink *s, struct session *c, char o)
{
    bool goes_on = true;

    if (c->is_hung)
        return true;
    if (c->is_data) {
        data_octet(s, c, o);
    } else if (o == '\n') {
        goes_on = command(s, c);
        c->line_len = 0;
    } else if (c->line_len < sizeof c->line) {
        c->line[c->line_len++] = o;
    }
    return goes_on;
}

static void session_open(struct sink *s)
{
    struct session *c = calloc(1, sizeof *c);
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
    int on = 1;

    if (c == NULL)
        abort();
    c->fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (c->fd < 0) {
        free(c);
        return;
    }
    s->sessions++;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(s->epoll, EPOLL_CTL_ADD, c->fd, &e);
    c->is_hung = is_turn(s, HANG_GREETING);
    if (!c->is_hung)
        say(c, "220 sink ESMTP\r\n");
}

static void session_input(struct sink *s, struct session *c)
{
    char in[65536];
    ssize_t n = recv(c->fd, in, sizeof in, 0);
    bool goes_on = n > 0;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    for (ssize_t i = 0; i < n && goes_on; i++)
        goes_on = octet(s, c, in[i]);
    if (!goes_on) {
        close(c->fd);
        free(c);
    }
}

static int sink_open(struct sink *s)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = &s->listener };
    socklen_t len = sizeof at;
    sigset_t set;
    int on = 1;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->is_any)
        at.sin_addr.s_addr = htonl(INADDR_ANY);
    at.sin_port = htons((uint16_t)s->port);
    setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(s->listener, (struct sockaddr *)&at, len) < 0 || listen(s->listener, 1024) < 0 ||
        getsockname(s->listener, (struct sockaddr *)&at, &len) < 0)
        return -1;
    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->listener, &e);
    e.data.ptr = &s->signals;
    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->signals, &e);
    printf("%u\n", ntohs(at.sin_port));
    fflush(stdout);
    return 0;
}

/* False: asked to end. */
static bool signal_read(const struct sink *s)
{
    struct signalfd_siginfo info;

    if (read(s->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return true;
    counts_print(s);
    return info.ssi_signo == SIGUSR1;
}

int main(int argc, char **argv)
{
    struct sink s = { .every = 1 };
    struct epoll_event events[256];
    bool goes_on = true;
    int c;

    while ((c = getopt(argc, argv, "tTgdAn:p:")) != -1) {
        switch (c) {
        case 't': s.mode = TEMPFAIL_RCPT; break;
        case 'T': s.mode = TEMPFAIL_DOT; break;
        case 'g': s.mode = HANG_GREETING; break;
        case 'd': s.mode = HANG_DOT; break;
        case 'A': s.is_any = true; break;
        case 'n': s.every = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'p': s.port = (unsigned)strtoul(optarg, NULL, 10); break;
        default: s.every = 0; break;
        }
    }
    if (s.every == 0 || sink_open(&s) < 0) {
        fprintf(stderr, "usage: sink [-t | -T | -g | -d] [-n N] [-p PORT] [-A]\n");
        return 2;
    }
    while (goes_on) {
        int n = epoll_wait(s.epoll, events, 256, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &s.listener)
                session_open(&s);
            else if (events[i].data.ptr == &s.signals)
                goes_on = signal_read(&s) && goes_on;
            else
                session_input(&s, events[i].data.ptr);
        }
    }
    return 0;
}
