/* source.c - a closed-loop SMTP or LMTP source: N sessions, each sends the next message when the last was answered.
 *
 *   source [-L] [-P] [-h HOST] -p PORT -c SESSIONS -n MESSAGES -s BYTES [-m MESSAGES_A_SESSION] [-r RECIPIENTS]
 *          [-u USERS] [-d DOMAIN] [-b BASE] [-T SECONDS]
 *
 * -m 0 keeps a session for all its messages, the default 1 connects anew for each. -P sends MAIL, RCPT and DATA in one
 * piece. Recipients are userN@DOMAIN, N going round USERS. Every message has its own Message-ID. One line comes out:
 * messages, errors, seconds, messages a second, p50 and p99 of MAIL to final reply and of connect to banner, in ms.
 * One thread and one epoll loop, so that the source takes as little of the machine as it can. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_OCTETS 1024u
#define SESSIONS_MAX 16384u
#define ERRORS_MAX 1000u
#define ID_DIGITS 10

enum state { BANNER, GREETED, MAIL, RCPT, DATA, DOT, QUIT, CLOSED };

struct options {
    const char *host, *domain;
    unsigned port, sessions, per_session, recipients, users, seconds;
    unsigned long messages;
    size_t bytes;
    bool is_lmtp, is_pipelined;
};

struct session {
    int fd;
    enum state state;
    unsigned replies, sent; /* in this message; messages of this session */
    size_t line_len;
    char line[LINE_MAX_OCTETS];
    const char *rest; /* of a message whose socket was full */
    size_t rest_len;
    char *message;
    char small[4096];
    size_t small_len;
    double connected, began;
};

struct source {
    struct options o;
    int epoll;
    char *text; /* the message with its dot */
    size_t text_len, id_at;
    unsigned long begun, done, errors, next_user, next_id, banners;
    double *latency, *banner;
    unsigned live;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double quantile_ms(double *values, unsigned long count, double q)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, compare);
    return values[(unsigned long)((double)(count - 1) * q)] * 1e3;
}

/* --- one message ------------------------------------------------------------------------------------------------- */

static void text_make(struct source *s)
{
    size_t cap = s->o.bytes + LINE_MAX_OCTETS;
    size_t n, id;

    s->text = malloc(cap);
    if (s->text == NULL)
        abort();
    id = (size_t)snprintf(s->text, cap, "From: <sender@source.test>\r\nTo: <user@%s>\r\nSubject: load\r\n"
                          "Date: Mon, 06 Jan 2025 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
                          "Message-ID: <", s->o.domain);
    n = id + (size_t)snprintf(s->text + id, cap - id, "%0*d.%d.%ld@source.test>\r\n\r\n", ID_DIGITS, 0, (int)getpid(),
                              (long)time(NULL));
    s->id_at = id;
    while (n + 5 < s->o.bytes) {
        size_t room = s->o.bytes - n - 5, width = room > 76 ? 76 : room;

        if (width < 2)
            break;
        for (size_t i = 0; i + 2 < width; i++)
            s->text[n++] = (char)('a' + i % 26);
        s->text[n++] = '\r';
        s->text[n++] = '\n';
    }
    memcpy(s->text + n, ".\r\n", 3);
    s->text_len = n + 3;
}

static void watch(struct source *s, struct session *c, unsigned events)
{
    struct epoll_event e = { .events = events, .data.ptr = c };

    epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->fd, &e);
}

/* What does not fit the socket waits for EPOLLOUT. */
static int flush_rest(struct source *s, struct session *c)
{
    while (c->rest_len != 0) {
        ssize_t n = send(c->fd, c->rest, c->rest_len, MSG_NOSIGNAL);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            watch(s, c, EPOLLIN | EPOLLOUT);
            return 0;
        }
        if (n < 0)
            return -1;
        c->rest += n;
        c->rest_len -= (size_t)n;
    }
    return 0;
}

static int flush_small(struct source *s, struct session *c)
{
    c->rest = c->small;
    c->rest_len = c->small_len;
    c->small_len = 0;
    return flush_rest(s, c);
}

static void add(struct session *c, const char *format, const char *a, unsigned long n, const char *b)
{
    size_t room = sizeof c->small - c->small_len;
    int len = snprintf(c->small + c->small_len, room, format, a, n, b);

    if (len < 0 || (size_t)len >= room)
        abort(); /* -r with -P is limited to what fits */
    c->small_len += (size_t)len;
}

static void add_rcpt(struct source *s, struct session *c)
{
    add(c, "%s%lu@%s>\r\n", "RCPT TO:<user", s->next_user++ % s->o.users, s->o.domain);
}

static int begin(struct source *s, struct session *c)
{
    if (s->begun >= s->o.messages || (s->o.per_session != 0 && c->sent >= s->o.per_session)) {
        c->state = QUIT;
        add(c, "%s", "QUIT\r\n", 0, "");
        return flush_small(s, c);
    }
    s->begun++;
    c->began = now_s();
    c->state = MAIL;
    c->replies = 0;
    add(c, "%s", "MAIL FROM:<sender@source.test>\r\n", 0, "");
    if (s->o.is_pipelined) {
        for (unsigned i = 0; i < s->o.recipients; i++)
            add_rcpt(s, c);
        add(c, "%s", "DATA\r\n", 0, "");
    }
    return flush_small(s, c);
}

static int send_text(struct source *s, struct session *c)
{
    char id[ID_DIGITS + 1];

    if (c->message == NULL && (c->message = malloc(s->text_len)) == NULL)
        abort();
    memcpy(c->message, s->text, s->text_len);
    snprintf(id, sizeof id, "%0*lu", ID_DIGITS, s->next_id++ % 10000000000ul);
    memcpy(c->message + s->id_at, id, ID_DIGITS);
    c->rest = c->message;
    c->rest_len = s->text_len;
    return flush_rest(s, c);
}

static int rcpt_or_data(struct source *s, struct session *c)
{
    if (c->replies < s->o.recipients) {
        c->state = RCPT;
        if (!s->o.is_pipelined)
            add_rcpt(s, c);
    } else {
        c->state = DATA;
        if (!s->o.is_pipelined)
            add(c, "%s", "DATA\r\n", 0, "");
    }
    return s->o.is_pipelined ? 0 : flush_small(s, c);
}

/* One whole reply. -1: the session failed; 1: it ended well. */
static int reply(struct source *s, struct session *c, int code)
{
    if (code >= 400 && c->state != QUIT) {
        fprintf(stderr, "source: state %d: %s\n", (int)c->state, c->line);
        return -1;
    }
    switch (c->state) {
    case BANNER:
        s->banner[s->banners++ % s->o.messages] = now_s() - c->connected;
        c->state = GREETED;
        add(c, "%s", s->o.is_lmtp ? "LHLO source.test\r\n" : "EHLO source.test\r\n", 0, "");
        return flush_small(s, c);
    case GREETED:
        return begin(s, c);
    case MAIL:
        return rcpt_or_data(s, c);
    case RCPT:
        c->replies++;
        return rcpt_or_data(s, c);
    case DATA:
        c->state = DOT;
        c->replies = 0;
        return send_text(s, c);
    case DOT:
        if (s->o.is_lmtp && ++c->replies < s->o.recipients)
            return 0;
        s->latency[s->done++] = now_s() - c->began;
        c->sent++;
        return begin(s, c);
    default:
        return 1;
    }
}

/* --- sessions ---------------------------------------------------------------------------------------------------- */

static int session_open(struct source *s, struct session *c)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)s->o.port) };
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
    int on = 1;

    inet_pton(AF_INET, s->o.host, &to.sin_addr);
    c->state = BANNER;
    c->line_len = c->small_len = c->rest_len = 0;
    c->sent = 0;
    c->connected = now_s();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0) {
        if (c->fd >= 0)
            close(c->fd);
        c->state = CLOSED;
        return -1;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(s->epoll, EPOLL_CTL_ADD, c->fd, &e);
    return 0;
}

static void session_end(struct source *s, struct session *c, int how)
{
    close(c->fd);
    if (how < 0) {
        s->errors++;
        if (c->state >= MAIL && c->state <= DOT)
            s->begun--; /* another session sends it */
    }
    c->state = CLOSED;
    while (s->begun < s->o.messages && s->errors < ERRORS_MAX) {
        if (session_open(s, c) == 0)
            return;
        s->errors++;
    }
    s->live--;
}

static int session_input(struct source *s, struct session *c)
{
    char in[16384];
    ssize_t n = recv(c->fd, in, sizeof in, 0);
    int how = 0;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return c->state == QUIT ? 1 : -1;
    for (ssize_t i = 0; i < n && how == 0; i++) {
        if (in[i] != '\n') {
            if (c->line_len < sizeof c->line - 1)
                c->line[c->line_len++] = in[i];
            continue;
        }
        c->line[c->line_len] = '\0';
        if (c->line_len < 4 || c->line[3] != '-')
            how = reply(s, c, (int)strtol(c->line, NULL, 10));
        c->line_len = 0;
    }
    return how;
}

static void session_event(struct source *s, struct session *c, unsigned events)
{
    int how = 0;

    if (c->state == CLOSED)
        return;
    if ((events & EPOLLOUT) != 0) {
        watch(s, c, EPOLLIN);
        how = flush_rest(s, c);
    }
    if (how == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        how = session_input(s, c);
    if (how != 0)
        session_end(s, c, how);
}

static void run(struct source *s, struct session *all)
{
    struct epoll_event events[256];
    double deadline = now_s() + s->o.seconds;

    for (unsigned i = 0; i < s->o.sessions; i++) {
        if (session_open(s, &all[i]) == 0)
            s->live++;
        else
            s->errors++;
    }
    while (s->live != 0 && now_s() < deadline) {
        int n = epoll_wait(s->epoll, events, 256, 500);

        for (int i = 0; i < n; i++)
            session_event(s, events[i].data.ptr, events[i].events);
    }
}

/* --- the command ------------------------------------------------------------------------------------------------- */

static int options_read(struct options *o, int argc, char **argv)
{
    int c;

    *o = (struct options){ .host = "127.0.0.1", .domain = "example.test", .sessions = 1, .per_session = 1,
                           .recipients = 1, .users = 1, .seconds = 120, .bytes = 4096 };
    while ((c = getopt(argc, argv, "LPh:p:c:n:s:m:r:u:d:T:")) != -1) {
        unsigned long n = optarg == NULL ? 0 : strtoul(optarg, NULL, 10);

        switch (c) {
        case 'L': o->is_lmtp = true; break;
        case 'P': o->is_pipelined = true; break;
        case 'h': o->host = optarg; break;
        case 'd': o->domain = optarg; break;
        case 'p': o->port = (unsigned)n; break;
        case 'c': o->sessions = (unsigned)n; break;
        case 'n': o->messages = n; break;
        case 's': o->bytes = n; break;
        case 'm': o->per_session = (unsigned)n; break;
        case 'r': o->recipients = (unsigned)n; break;
        case 'u': o->users = (unsigned)n; break;
        case 'T': o->seconds = (unsigned)n; break;
        default: return -1;
        }
    }
    return o->port == 0 || o->messages == 0 || o->sessions == 0 || o->sessions > SESSIONS_MAX || o->users == 0 ||
                   o->recipients == 0 || strlen(o->domain) > 255
               ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct source s = { .epoll = epoll_create1(EPOLL_CLOEXEC) };
    struct session *all;
    double began, took;

    if (options_read(&s.o, argc, argv) < 0) {
        fprintf(stderr, "usage: source [-LP] [-h HOST] -p PORT -c SESSIONS -n MESSAGES -s BYTES [-m A_SESSION]"
                        " [-r RECIPIENTS] [-u USERS] [-d DOMAIN] [-T SECONDS]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    all = calloc(s.o.sessions, sizeof *all);
    s.latency = calloc(s.o.messages + 1, sizeof *s.latency);
    s.banner = calloc(s.o.messages + 1, sizeof *s.banner);
    if (all == NULL || s.latency == NULL || s.banner == NULL || s.epoll < 0)
        return 2;
    text_make(&s);
    began = now_s();
    run(&s, all);
    took = now_s() - began;
    if (s.banners > s.o.messages)
        s.banners = s.o.messages;
    printf("messages=%lu errors=%lu seconds=%.4f rate=%.1f p50_ms=%.3f p99_ms=%.3f banner_p50_ms=%.3f"
           " banner_p99_ms=%.3f\n", s.done, s.errors, took, (double)s.done / took,
           quantile_ms(s.latency, s.done, 0.5), quantile_ms(s.latency, s.done, 0.99),
           quantile_ms(s.banner, s.banners, 0.5), quantile_ms(s.banner, s.banners, 0.99));
    for (unsigned i = 0; i < s.o.sessions; i++)
        free(all[i].message);
    free(all);
    free(s.latency);
    free(s.banner);
    free(s.text);
    return s.done == s.o.messages ? 0 : 1;
}
