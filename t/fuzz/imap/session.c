/* A whole session fed with the input at one go, in the state that the first octet names: '0' greeted, '1' logged in,
 * else with INBOX selected. It always ends, and what it says are whole lines, the greeting first.
 * The account lives on between inputs, so mailboxes and messages pile up in it as in a server. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"
#include "imap/internal.h"
#include "net/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) < 0)                                                                                                \
            panic("%s: %s", #call, err.text);                                                                          \
    } while (0)

static struct site {
    char path[64];
    struct clock clock;
    struct arena mem;
    struct conf_set conf;
    struct server_conf server;
    struct dir_conf dir_conf;
    struct store_conf store_conf;
    struct auth_conf auth_conf;
    struct imap_conf imap_conf;
    struct pool *helpers;
    struct dir *dir;
    struct imap_service service;
    struct listener_conf listener;
    struct worker worker;
    uint64_t account;
} *site;

static void conf_ignore(struct snap *snap)
{
    (void)snap;
}

static void conf_make(void)
{
    snap_init(&site->conf.snap, conf_ignore);
    site->server.hostname = SLICE("mail.example.test");
    keys_default(&dir_keys, &site->dir_conf, &site->mem);
    keys_default(&store_keys, &site->store_conf, &site->mem);
    keys_default(&auth_keys, &site->auth_conf, &site->mem);
    keys_default(&imap_keys, &site->imap_conf, &site->mem);
    site->auth_conf.plaintext = AUTH_PLAINTEXT_NEVER; /* no hashing of passwords: that would take all the time */
    site->auth_conf.mechanisms.count = 0;
    site->imap_conf.errors_max = 1000;
    site->conf.section[CONF_SERVER] = &site->server;
    site->conf.section[CONF_DIR] = &site->dir_conf;
    site->conf.section[CONF_STORE] = &site->store_conf;
    site->conf.section[CONF_AUTH] = &site->auth_conf;
    site->conf.section[CONF_IMAP] = &site->imap_conf;
}

static void account_make(void)
{
    struct store_request *r = store_request_new(STORE_ACCOUNT_ENSURE);
    struct err err = ERR_INIT;
    struct journal_view v;

    r->owner = 77;
    r->owner_name = SLICE("alice");
    MUST(store_request_wait(site->service.store, r, &err));
    store_request_destroy(&r);
    MUST(journal_read_begin(site->service.journal, &v, &err));
    ASSERT(store_account_find(site->service.store, &v, 77, &site->account));
    journal_read_end(&v);
}

static void site_make(void)
{
    const struct journal_room *rooms[2];
    struct worker_setup setup = { 0 };
    struct journal_report report;
    struct journal_conf conf;
    struct err err = ERR_INIT;

    diag_set_level(DIAG_ERROR);
    site = mem_alloc(sizeof *site);
    snprintf(site->path, sizeof site->path, "%s/posthouse-imap-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ASSERT(mkdtemp(site->path) != NULL);
    clock_init_real(&site->clock);
    arena_init(&site->mem, 4096);
    conf_make();
    ASSERT((site->helpers = pool_new("helper", 1, 64, &err)) != NULL);
    keys_default(&journal_keys, &conf, &site->mem);
    conf.segment_bytes = 4194304;
    conf.inline_bytes = 16384;
    conf.index_map_bytes = 256u * 1024 * 1024;
    conf.index_ahead_bytes = 1048576;
    MUST(dir_new(&site->dir, &site->clock, &err));
    MUST(store_new(&site->service.store, &site->clock, &err));
    store_configure(site->service.store, &site->store_conf);
    rooms[0] = dir_room(site->dir);
    rooms[1] = store_room(site->service.store);
    MUST(journal_open(&site->service.journal,
                      &(struct journal_setup){ .dir = site->path, .conf = &conf, .clock = &site->clock, .rooms = rooms,
                                               .room_count = 2, .create = true, .pool = site->helpers },
                      &report, &err));
    dir_attach(site->dir, site->service.journal);
    MUST(store_attach(site->service.store, site->service.journal, site->path, &err));
    MUST(auth_new(&site->service.auth, site->dir, site->helpers, &site->clock, &err));
    site->service.clock = &site->clock;
    site->listener = (struct listener_conf){ .name = SLICE("test"), .tls = LISTENER_TLS_NONE };
    ASSERT((setup.reactor = reactor_new("imap", &site->clock, &err)) != NULL);
    setup.helpers = site->helpers;
    setup.conf = &site->conf;
    worker_init(&site->worker, &setup);
    account_make();
}

static void at_end(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", site->path);
    if (system(command) != 0)
        fprintf(stderr, "left behind: %s\n", site->path);
}

/* Always the same mailbox: what earlier inputs left goes, two messages come. */
static const char prelude[] = "p SELECT INBOX\r\np STORE 1:* +FLAGS.SILENT (\\Deleted)\r\np CLOSE\r\n"
                              "p APPEND INBOX (\\Flagged) {30+}\r\nSubject: a\r\nTo: b@c\r\n\r\nhello\r\n\r\n"
                              "p APPEND INBOX (k) {76+}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
                              "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n\r\np SELECT INBOX\r\n";

/* The one session, put into the state wanted. */
static void put_level(enum imap_level level)
{
    void *value;
    size_t at = 0;
    uint64_t id;

    while (idmap_next(&site->worker.sessions, &at, &id, &value)) {
        struct imap_session *s = CONTAINER_OF((struct session *)value, struct imap_session, base);

        s->level = level;
        s->account = site->account;
    }
}

static void check_lines(slice text)
{
    ASSERT(text.len == 0 || slice_ends(text, SLICE("\r\n")));
    ASSERT(slice_starts(text, SLICE("* OK [CAPABILITY ")));
}

/* Everything is sent, then the peer's side is closed; turns until the session is gone. */
static void talk(int fd, slice text)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    struct buf heard = BUF_INIT;
    bool is_shut = false;

    for (unsigned turns = 0; turns < 100000; turns++) {
        unsigned char part[4096];
        ssize_t n;

        if (text.len > 0 && (n = send(fd, text.ptr, text.len, MSG_DONTWAIT | MSG_NOSIGNAL)) != 0) {
            if (n > 0)
                text = slice_from(text, (size_t)n);
            else if (errno != EAGAIN)
                text.len = 0;
        }
        if (text.len == 0 && !is_shut) {
            shutdown(fd, SHUT_WR);
            is_shut = true;
        }
        while (reactor_turn(site->worker.reactor))
            ;
        while ((n = recv(fd, part, sizeof part, MSG_DONTWAIT)) > 0)
            buf_put(&heard, part, (size_t)n);
        if (n == 0 || worker_is_idle(&site->worker))
            break;
        poll(&ready, 1, 1); /* answers of the committer come from its thread */
    }
    while (reactor_turn(site->worker.reactor))
        ;
    ASSERT(worker_is_idle(&site->worker));
    check_lines(buf_slice(&heard));
    buf_free(&heard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf text = BUF_INIT;
    int ends[2];

    if (size == 0)
        return 0;
    if (site == NULL) {
        site_make();
        atexit(at_end);
    }
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    ASSERT(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    worker_adopt(&site->worker, &site->listener, &imap_protocol, &site->service, ends[1], NULL);
    if (data[0] != '0') {
        put_level(LEVEL_LOGGED_IN);
        if (data[0] != '1')
            buf_put_str(&text, prelude);
    }
    buf_put(&text, data + 1, size - 1);
    talk(ends[0], buf_slice(&text));
    close(ends[0]);
    buf_free(&text);
    return 0;
}
