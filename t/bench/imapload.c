/* imapload.c - an IMAP client for measuring: sends what it is told, reads the answers and looks at as little as it can.
 *
 *   imapload PORT USER PASSWORD
 *
 * Connects, logs in, then obeys lines on stdin and answers each with one line:
 *
 *   run TIMES COMMAND           the command so often, one after the other: "SECONDS OCTETS", octets of all answers
 *   append N BYTES EVERY BOX    N messages of about BYTES octets, one after the other; EVERY: each so many-th has an
 *                               attachment of 64 KiB: "SECONDS OCTETS", octets sent
 *   fill N BYTES EVERY BOX      the same, 100 under way at a time (LITERAL+)
 *   raw OCTETS                  so many octets of memory from one thread over loopback to this one: "SECONDS OCTETS"
 *
 * "no TEXT" when the server did not say OK. Message n has the subject "message n"; every 1000th has "needle" in its
 * subject and "haystack" in its text. Messages are the same in every run. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define INPUT_BYTES (1u << 20)
#define MESSAGE_BYTES (1u << 18)
#define ATTACHMENT_BYTES 65536u
#define TAIL_BYTES 512u
#define FILL_AHEAD 100u

struct client {
    int fd;
    unsigned tag;
    unsigned long long octets; /* of answers */
    char *input, *message;
    char tail[TAIL_BYTES + 1]; /* the end of what came */
    size_t tail_len;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int connect_to(unsigned port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        die("connect");
    return fd;
}

static void send_all(int fd, const char *from, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, from, len, MSG_NOSIGNAL);

        if (n <= 0)
            die("send");
        from += n;
        len -= (size_t)n;
    }
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* Keep the last octets: the tagged answer is always the last line, so nothing else is looked at. */
static void keep_tail(struct client *c, const char *from, size_t len)
{
    size_t keep;

    if (len >= TAIL_BYTES) {
        memcpy(c->tail, from + len - TAIL_BYTES, TAIL_BYTES);
        c->tail_len = TAIL_BYTES;
    } else {
        keep = c->tail_len < TAIL_BYTES - len ? c->tail_len : TAIL_BYTES - len;
        memmove(c->tail, c->tail + c->tail_len - keep, keep);
        memcpy(c->tail + keep, from, len);
        c->tail_len = keep + len;
    }
    c->tail[c->tail_len] = '\0';
}

static void receive(struct client *c)
{
    ssize_t n = recv(c->fd, c->input, INPUT_BYTES, 0);

    if (n <= 0)
        die("recv");
    c->octets += (size_t)n;
    keep_tail(c, c->input, (size_t)n);
}

/* The last line begins with this, and is whole. */
static const char *last_line(const struct client *c, const char *prefix)
{
    const char *line;

    if (c->tail_len < 2 || c->tail[c->tail_len - 1] != '\n')
        return NULL;
    for (line = c->tail + c->tail_len - 1; line > c->tail && line[-1] != '\n'; line--)
        ;
    return strncmp(line, prefix, strlen(prefix)) == 0 ? line : NULL;
}

/* False: not OK, and said so. */
static bool answered(struct client *c, unsigned tag)
{
    char prefix[32];
    const char *line;

    snprintf(prefix, sizeof prefix, "t%u ", tag);
    while ((line = last_line(c, prefix)) == NULL)
        receive(c);
    if (strncmp(line + strlen(prefix), "OK", 2) == 0)
        return true;
    printf("no %s", line);
    return false;
}

static bool command(struct client *c, const char *text)
{
    char line[4096];

    snprintf(line, sizeof line, "t%u %s\r\n", ++c->tag, text);
    send_all(c->fd, line, strlen(line));
    return answered(c, c->tag);
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

static size_t put_lines(char *to, size_t bytes, unsigned long seed)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.0123456789";
    size_t at = 0;

    while (at + 78 <= bytes) {
        for (unsigned i = 0; i < 76; i++) {
            seed = seed * 6364136223846793005ul + 1442695040888963407ul;
            to[at++] = letters[seed >> 58];
        }
        to[at++] = '\r';
        to[at++] = '\n';
    }
    return at;
}

static size_t make_message(char *to, unsigned long n, size_t bytes, unsigned long every)
{
    bool has_attachment = every > 0 && n % every == 0, is_needle = n % 1000 == 0;
    size_t at = (size_t)snprintf(to, MESSAGE_BYTES,
                                "From: Sender %lu <sender%lu@example.org>\r\nTo: User <user@example.test>, "
                                "Other <other@example.net>\r\nSubject: message %lu%s\r\n"
                                "Date: Fri, 20 Nov 2026 %02lu:%02lu:%02lu +0000\r\nMessage-ID: <%lu@example.org>\r\n"
                                "MIME-Version: 1.0\r\n%s",
                                n % 100, n % 100, n, is_needle ? " needle" : "", n / 3600 % 24, n / 60 % 60, n % 60, n,
                                has_attachment ? "Content-Type: multipart/mixed; boundary=\"cut\"\r\n\r\n--cut\r\n"
                                               : "");

    at += (size_t)snprintf(to + at, MESSAGE_BYTES - at, "Content-Type: text/plain; charset=utf-8\r\n\r\n%s",
                          is_needle ? "a haystack\r\n" : "");
    at += put_lines(to + at, bytes > at ? bytes - at : 78, n + 1);
    if (has_attachment) {
        at += (size_t)snprintf(to + at, MESSAGE_BYTES - at,
                               "--cut\r\nContent-Type: application/octet-stream; name=\"a.bin\"\r\n"
                               "Content-Disposition: attachment; filename=\"a.bin\"\r\n\r\n");
        at += put_lines(to + at, ATTACHMENT_BYTES, n + 7);
        at += (size_t)snprintf(to + at, MESSAGE_BYTES - at, "--cut--\r\n");
    }
    return at;
}

static bool append(struct client *c, const char *args, unsigned long ahead)
{
    unsigned long n, bytes, every;
    unsigned long long sent = 0;
    char box[256];
    double began = now_s();
    unsigned first = c->tag + 1;

    if (sscanf(args, "%lu %lu %lu %255s", &n, &bytes, &every, box) != 4 || bytes > MESSAGE_BYTES / 2)
        return printf("no such arguments\n"), false;
    for (unsigned long i = 0; i < n; i++) {
        size_t len = make_message(c->message, i, bytes, every);
        char line[512];

        snprintf(line, sizeof line, "t%u APPEND %s {%zu+}\r\n", ++c->tag, box, len);
        memcpy(c->message + len, "\r\n", 2);
        send_all(c->fd, line, strlen(line));
        send_all(c->fd, c->message, len + 2);
        sent += len;
        if ((c->tag - first + 1) % ahead == 0 && !answered(c, c->tag)) /* answers come in order */
            return false;
    }
    if (n % ahead != 0 && !answered(c, c->tag))
        return false;
    printf("%.6f %llu\n", now_s() - began, sent);
    return true;
}

/* --- the raw limit ------------------------------------------------------------------------------------------------ */

struct raw {
    int fd;
    unsigned long long octets;
};

static void *raw_send(void *arg)
{
    const struct raw *r = arg;
    char *memory = malloc(INPUT_BYTES);
    unsigned long long left = r->octets;

    if (memory == NULL)
        die("malloc");
    memset(memory, 'x', INPUT_BYTES);
    while (left > 0) {
        size_t part = left < INPUT_BYTES ? (size_t)left : INPUT_BYTES;

        send_all(r->fd, memory, part);
        left -= part;
    }
    free(memory);
    return NULL;
}

static void raw(struct client *c, unsigned long long octets)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), to;
    struct raw r = { .octets = octets };
    pthread_t thread;
    double began;

    if (bind(listener, (struct sockaddr *)&at, len) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&at, &len) < 0)
        die("listen");
    r.fd = connect_to(ntohs(at.sin_port));
    to = accept(listener, NULL, NULL);
    began = now_s();
    if (to < 0 || pthread_create(&thread, NULL, raw_send, &r) != 0)
        die("raw");
    for (unsigned long long left = octets; left > 0;) {
        ssize_t n = recv(to, c->input, INPUT_BYTES, 0);

        if (n <= 0)
            die("recv");
        left -= (unsigned long long)n;
    }
    printf("%.6f %llu\n", now_s() - began, octets);
    pthread_join(thread, NULL);
    close(to);
    close(r.fd);
    close(listener);
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

static void run(struct client *c, const char *args)
{
    unsigned long long before = c->octets;
    unsigned times;
    double began;
    int at;

    if (sscanf(args, "%u %n", &times, &at) != 1) {
        printf("no such arguments\n");
        return;
    }
    began = now_s();
    for (unsigned i = 0; i < times; i++)
        if (!command(c, args + at))
            return;
    printf("%.6f %llu\n", now_s() - began, c->octets - before);
}

int main(int argc, char **argv)
{
    struct client c = { .input = malloc(INPUT_BYTES), .message = malloc(MESSAGE_BYTES) };
    char line[4096];

    if (argc != 4 || c.input == NULL || c.message == NULL) {
        fprintf(stderr, "usage: imapload PORT USER PASSWORD\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    c.fd = connect_to((unsigned)strtoul(argv[1], NULL, 10));
    while (last_line(&c, "* OK") == NULL)
        receive(&c);
    snprintf(line, sizeof line, "LOGIN %s %s", argv[2], argv[3]);
    if (!command(&c, line))
        return 1;
    printf("ready\n");
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (strncmp(line, "run ", 4) == 0)
            run(&c, line + 4);
        else if (strncmp(line, "append ", 7) == 0)
            append(&c, line + 7, 1);
        else if (strncmp(line, "fill ", 5) == 0)
            append(&c, line + 5, FILL_AHEAD);
        else if (strncmp(line, "raw ", 4) == 0)
            raw(&c, strtoull(line + 4, NULL, 10));
        else
            printf("no such command\n");
    }
    return 0;
}
