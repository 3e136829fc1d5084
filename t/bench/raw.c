/* raw.c - the raw loop beside which one SMTP session is measured: the same round trips, one pwrite and one fdatasync a
 * message, and nothing else. It answers each line without looking at it, but for DATA and QUIT.
 *
 *   raw FILE [PORT [NEXT]]      prints the port; serves one connection after the other until SIGTERM
 *
 * NEXT: each message then goes on to a server at that port, over one connection, before it is answered: the round trips
 * of a relay, MAIL, RCPT and DATA in one flight.
 * FILE is written before (it goes round in it), so that a sync costs what it costs a journal with prepared segments. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FILE_BYTES (64u * 1024 * 1024)
#define MESSAGE_MAX_BYTES (1024u * 1024)

struct raw {
    int file, next; /* next: -1 or a connection */
    off_t at;
    size_t len;
    char message[MESSAGE_MAX_BYTES];
};

static int file_prepare(const char *path)
{
    static const char zeros[65536];
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    for (unsigned n = 0; fd >= 0 && n < FILE_BYTES; n += sizeof zeros)
        if (pwrite(fd, zeros, sizeof zeros, n) != (ssize_t)sizeof zeros)
            return -1;
    return fd < 0 || fsync(fd) < 0 ? -1 : fd;
}

static bool say(int fd, const char *text)
{
    return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

static bool ends_with(const struct raw *r, const char *end)
{
    size_t n = strlen(end);

    return r->len >= n && memcmp(r->message + r->len - n, end, n) == 0;
}

/* Reads until the octets end so; the client never sends ahead. */
static bool read_until(struct raw *r, int fd, const char *end)
{
    r->len = 0;
    do {
        ssize_t n = recv(fd, r->message + r->len, sizeof r->message - r->len, 0);

        if (n <= 0)
            return false;
        r->len += (size_t)n;
    } while (!ends_with(r, end) && r->len < sizeof r->message);
    return r->len < sizeof r->message;
}

static bool store(struct raw *r)
{
    if (r->at + (off_t)r->len > (off_t)FILE_BYTES)
        r->at = 0;
    if (pwrite(r->file, r->message, r->len, r->at) != (ssize_t)r->len || fdatasync(r->file) < 0)
        return false;
    r->at += (off_t)((r->len + 7) & ~(size_t)7);
    return true;
}

static int next_connect(unsigned port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return connect(fd, (struct sockaddr *)&at, sizeof at) < 0 ? -1 : fd;
}

/* Reads so many lines, which are replies. */
static bool next_replies(int fd, unsigned lines)
{
    char in[1024];

    while (lines > 0) {
        ssize_t n = recv(fd, in, sizeof in, 0);

        if (n <= 0)
            return false;
        for (ssize_t i = 0; i < n; i++)
            lines -= in[i] == '\n' && lines > 0;
    }
    return true;
}

static bool go_on(const struct raw *r)
{
    return r->next < 0 ||
           (say(r->next, "MAIL FROM:<sender@source.test>\r\nRCPT TO:<user0@example.test>\r\nDATA\r\n") &&
            next_replies(r->next, 3) && send(r->next, r->message, r->len, MSG_NOSIGNAL) == (ssize_t)r->len &&
            next_replies(r->next, 1));
}

static void serve(struct raw *r, int fd)
{
    bool goes_on = say(fd, "220 raw\r\n");

    while (goes_on && read_until(r, fd, "\r\n")) {
        if (memcmp(r->message, "DATA", 4) == 0) {
            goes_on = say(fd, "354 go\r\n") && read_until(r, fd, "\r\n.\r\n") && store(r) && go_on(r) &&
                      say(fd, "250 OK\r\n");
        } else if (memcmp(r->message, "QUIT", 4) == 0) {
            say(fd, "221 bye\r\n");
            goes_on = false;
        } else {
            goes_on = say(fd, "250 OK\r\n");
        }
    }
    close(fd);
}

int main(int argc, char **argv)
{
    struct raw *r = calloc(1, sizeof *r);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (r == NULL || argc < 2 || (r->file = file_prepare(argv[1])) < 0) {
        fprintf(stderr, "usage: raw FILE [PORT [NEXT]]\n");
        return 2;
    }
    r->next = -1;
    if (argc > 3 && ((r->next = next_connect((unsigned)strtoul(argv[3], NULL, 10))) < 0 ||
                     !next_replies(r->next, 1))) {
        perror("raw: next");
        return 2;
    }
    at.sin_port = htons((uint16_t)(argc > 2 ? strtoul(argv[2], NULL, 10) : 0));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&at, len) < 0 || listen(listener, 16) < 0 ||
        getsockname(listener, (struct sockaddr *)&at, &len) < 0) {
        perror("raw");
        return 2;
    }
    printf("%u\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        serve(r, fd);
    }
}
