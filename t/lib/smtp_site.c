#include "smtp_site.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/mem.h"
#include "net/worker.h"
#include "queue/queue.h"
#include "reactor/thread.h"
#include "route/short.h"
#include "store/message.h"

struct smtp_site {
    char path[64];
    struct clock clock;
    struct arena mem;
    struct conf_set conf;
    struct server_conf server;
    struct dir_conf dir_conf;
    struct store_conf store_conf;
    struct intake_conf intake_conf;
    struct smtp_conf smtp_conf;
    struct queue_conf queue_conf;
    struct channels_conf channels;
    struct routes_conf routes;
    struct pool *helpers;
    struct dir *dir;
    struct store *store;
    struct queue *queue;
    struct journal *journal;
    struct intake *intake;
    struct smtp_service service;
    struct listener_conf listener;
    struct reactor *reactor;
    struct worker worker;
    struct thread thread;
    struct buf heard;
    json_t *document;
    unsigned rebuild_slice;
};

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) < 0)                                                                                                \
            panic("%s: %s", #call, err.text);                                                                          \
    } while (0)

/* --- making ------------------------------------------------------------------------------------------------------- */

static void read_keys(const struct key_table *t, const json_t *all, void *out, struct arena *mem)
{
    const json_t *given = json_object_get(all, t->section);

    keys_default(t, out, mem);
    ASSERT(given == NULL || keys_read(t, given, "", out, mem, NULL, NULL) == 0);
}

static void conf_ignore(struct snap *snap)
{
    (void)snap; /* lives in the site */
}

static void conf_make(struct smtp_site *s, const char *keys)
{
    struct err err = ERR_INIT;
    json_t *all = keys != NULL ? json_parse(slice_str(keys), &err) : NULL;

    ASSERT(keys == NULL || all != NULL);
    snap_init(&s->conf.snap, conf_ignore);
    s->server.hostname = SLICE("mail.example.test");
    read_keys(&dir_keys, all, &s->dir_conf, &s->mem);
    read_keys(&store_keys, all, &s->store_conf, &s->mem);
    read_keys(&intake_keys, all, &s->intake_conf, &s->mem);
    read_keys(&smtp_keys, all, &s->smtp_conf, &s->mem);
    read_keys(&queue_keys, all, &s->queue_conf, &s->mem);
    ASSERT(channels_conf_read(json_object_get(all, "channels"), NULL, false, &s->channels, &s->mem, NULL, NULL) == 0);
    ASSERT(route_short_read(json_object_get(all, "routes"), &s->routes, &s->mem, NULL, NULL) == 0);
    s->conf.section[CONF_SERVER] = &s->server;
    s->conf.section[CONF_DIR] = &s->dir_conf;
    s->conf.section[CONF_STORE] = &s->store_conf;
    s->conf.section[CONF_INTAKE] = &s->intake_conf;
    s->conf.section[CONF_SMTP] = &s->smtp_conf;
    s->conf.section[CONF_LMTP] = &s->smtp_conf;
    s->conf.section[CONF_QUEUE] = &s->queue_conf;
    s->conf.section[CONF_CHANNELS] = &s->channels;
    s->conf.section[CONF_ROUTES] = &s->routes;
    s->document = all; /* routes point into it */
}

static void journal_make(struct smtp_site *s)
{
    const struct journal_room *rooms[4];
    struct journal_conf conf;
    struct journal_report report;
    struct err err = ERR_INIT;

    keys_default(&journal_keys, &conf, &s->mem);
    conf.segment_bytes = 4194304;
    conf.inline_bytes = 16384;
    conf.index_map_bytes = 256u * 1024 * 1024;
    conf.index_ahead_bytes = 1048576;
    MUST(dir_new(&s->dir, &s->clock, &err));
    MUST(store_new(&s->store, &s->clock, &err));
    store_configure(s->store, &s->store_conf);
    rooms[0] = dir_room(s->dir);
    rooms[1] = store_room(s->store);
    rooms[2] = &intake_journal_room;
    MUST(queue_new(&s->queue, &s->clock, &err));
    rooms[3] = queue_room(s->queue);
    MUST(journal_open(&s->journal,
                      &(struct journal_setup){ .dir = s->path, .conf = &conf, .clock = &s->clock, .rooms = rooms,
                                               .room_count = 4, .create = true, .pool = s->helpers,
                                               .discard_index = s->rebuild_slice != 0,
                                               .background = s->rebuild_slice != 0,
                                               .rebuild_slice = s->rebuild_slice },
                      &report, &err));
    dir_attach(s->dir, s->journal);
    MUST(store_attach(s->store, s->journal, s->path, &err));
    queue_configure(s->queue, &s->conf);
    MUST(queue_attach(s->queue, s->journal, &err));
    MUST(intake_new(&s->intake, s->journal, s->store, s->dir, s->queue, s->helpers, &s->clock, &err));
}

static void change(struct smtp_site *s, enum dir_change_kind kind, const char *name, const char *fields)
{
    struct err err = ERR_INIT;
    json_t *object = fields != NULL ? json_parse(slice_str(fields), &err) : NULL;
    struct dir_change c;

    dir_change_init(&c, s->dir, kind, slice_str(name));
    c.fields = object;
    MUST(dir_change_wait(&c, &err));
    json_decref(object);
}

static void people_make(struct smtp_site *s)
{
    change(s, DIR_DOMAIN_ADD, "example.test", NULL);
    change(s, DIR_USER_ADD, "alice@example.test", NULL);
    change(s, DIR_USER_ADD, "bob@example.test", NULL);
    change(s, DIR_USER_ADD, "carol@example.test", NULL);
    change(s, DIR_USER_ADD, "full@example.test", "{\"quota\": 4000}");
    change(s, DIR_USER_ADD, "asleep@example.test", "{\"status\": \"inactive\"}");
    change(s, DIR_USER_ADD, "held@example.test", "{\"status\": \"hold\"}");
    change(s, DIR_ALIAS_SET, "team@example.test", "{\"targets\": [\"alice@example.test\", \"bob@example.test\"]}");
    change(s, DIR_ALIAS_SET, "nested@example.test", "{\"targets\": [\"team@example.test\", \"carol@example.test\"]}");
    change(s, DIR_ALIAS_SET, "ring@example.test", "{\"targets\": [\"ring2@example.test\"]}");
    change(s, DIR_ALIAS_SET, "ring2@example.test", "{\"targets\": [\"ring@example.test\"]}");
    change(s, DIR_ALIAS_SET, "partly@example.test", "{\"targets\": [\"alice@example.test\", \"gone@example.test\"]}");
    change(s, DIR_ALIAS_SET, "away@example.test", "{\"targets\": [\"alice@example.test\", \"x@other.test\"]}");
    change(s, DIR_ALIAS_SET, "mixed@example.test", "{\"targets\": [\"alice@example.test\", \"full@example.test\"]}");
}

/* A mailbox with a message that leaves no room for another. */
static void mailbox_fill(struct smtp_site *s, const char *user, uint64_t quota)
{
    static const unsigned char octets[3990];
    struct dir_query q = { .mem = &s->mem, .address = { slice_str(user), SLICE("example.test") } };
    struct store_request *r = store_request_new(STORE_ACCOUNT_ENSURE);
    struct err err = ERR_INIT;
    uint64_t account;

    ASSERT(dir_ask(s->dir, &s->dir_conf, &q) && q.result == DIR_USER);
    r->owner = q.user.id;
    r->owner_name = q.user.store_id;
    r->quota_bytes = quota;
    MUST(store_request_wait(s->store, r, &err));
    account = r->account;
    store_request_destroy(&r);
    r = store_request_new(STORE_APPEND);
    r->account = account;
    r->name = SLICE("INBOX");
    r->body = body_writer_new(s->journal);
    MUST(body_writer_write(r->body, slice_of(octets, sizeof octets), &err));
    MUST(body_writer_finish(r->body, &err));
    MUST(store_request_wait(s->store, r, &err));
    store_request_destroy(&r);
}

static void *reactor_main(void *arg)
{
    reactor_run(arg);
    return NULL;
}

/* Everything but the configuration. */
static void site_up(struct smtp_site *s)
{
    struct worker_setup setup = { 0 };
    struct err err = ERR_INIT;

    ASSERT((s->helpers = pool_new("helper", 2, 64, &err)) != NULL);
    journal_make(s);
    ASSERT((s->reactor = reactor_new("smtp", &s->clock, &err)) != NULL);
    s->service.intake = s->intake;
    s->listener = (struct listener_conf){ .name = SLICE("test"), .tls = LISTENER_TLS_NONE };
    setup.reactor = s->reactor;
    setup.helpers = s->helpers;
    setup.conf = &s->conf;
    worker_init(&s->worker, &setup);
    MUST(thread_start(&s->thread, "smtp", 0, reactor_main, s->reactor, &err));
}

static void site_down(struct smtp_site *s)
{
    reactor_stop(s->reactor);
    thread_join(&s->thread);
    worker_cut(&s->worker, false);
    while (reactor_turn(s->reactor))
        ;
    journal_close(&s->journal);
    pool_destroy(&s->helpers);
    while (reactor_turn(s->reactor))
        ;
    worker_free(&s->worker);
    intake_destroy(&s->intake);
    queue_destroy(&s->queue);
    store_destroy(&s->store);
    dir_destroy(&s->dir);
    reactor_destroy(&s->reactor);
}

void smtp_site_rebuild(struct smtp_site *s, unsigned records)
{
    site_down(s);
    s->rebuild_slice = records;
    site_up(s);
}

struct smtp_site *smtp_site_new(const char *keys)
{
    const char *top = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    struct smtp_site *s = mem_alloc(sizeof *s);

    diag_set_level(DIAG_ERROR);
    snprintf(s->path, sizeof s->path, "%s/posthouse-smtp-XXXXXX", top);
    ASSERT(mkdtemp(s->path) != NULL);
    clock_init_real(&s->clock);
    arena_init(&s->mem, 4096);
    conf_make(s, keys);
    smtp_counters_register();
    site_up(s);
    people_make(s);
    mailbox_fill(s, "full", 4000);
    return s;
}

/* --- on the reactor ----------------------------------------------------------------------------------------------- */

struct call {
    struct post post;
    struct smtp_site *site;
    const struct protocol *protocol; /* NULL: is the worker idle? */
    const struct net_addr *peer;
    int fd;
    bool is_idle;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_done;
};

static void on_call(struct post *p)
{
    struct call *c = CONTAINER_OF(p, struct call, post);

    if (c->protocol != NULL)
        worker_adopt(&c->site->worker, &c->site->listener, c->protocol, &c->site->service, c->fd, c->peer);
    c->is_idle = worker_is_idle(&c->site->worker);
    pthread_mutex_lock(&c->lock);
    c->is_done = true;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->lock);
}

static bool call(struct smtp_site *s, const struct protocol *protocol, int fd, const struct net_addr *peer)
{
    struct call c = { .site = s, .protocol = protocol, .fd = fd, .peer = peer };

    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.cond, NULL);
    reactor_post(s->reactor, &c.post, on_call);
    pthread_mutex_lock(&c.lock);
    while (!c.is_done)
        pthread_cond_wait(&c.cond, &c.lock);
    pthread_mutex_unlock(&c.lock);
    pthread_mutex_destroy(&c.lock);
    pthread_cond_destroy(&c.cond);
    return c.is_idle;
}

static int connect_from(struct smtp_site *s, const struct protocol *protocol, const struct net_addr *peer)
{
    int ends[2];

    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    ASSERT(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    call(s, protocol, ends[1], peer);
    return ends[0];
}

int smtp_site_connect(struct smtp_site *s, const struct protocol *protocol)
{
    return connect_from(s, protocol, NULL);
}

int smtp_site_connect_from(struct smtp_site *s, const struct protocol *protocol, const char *host_and_port)
{
    struct err err = ERR_INIT;
    struct net_addr peer;

    MUST(net_addr_parse(slice_str(host_and_port), &peer, &err));
    return connect_from(s, protocol, &peer);
}

void smtp_site_wait_idle(struct smtp_site *s)
{
    while (!call(s, NULL, -1, NULL))
        ;
}

/* --- talking ------------------------------------------------------------------------------------------------------ */

/* Final lines: "nnn ", as opposed to "nnn-". */
static unsigned replies_in(slice text)
{
    unsigned n = 0;
    bool is_line = true;

    while (is_line) {
        slice line = slice_cut(&text, '\n', &is_line);

        n += is_line && line.len > 3 && line.ptr[3] == ' ';
    }
    return n;
}

/* Sends without blocking while it reads, so that both sides may have full sockets. */
const char *smtp_site_talk(struct smtp_site *s, int fd, slice send_text, unsigned replies)
{
    buf_reset(&s->heard);
    while (send_text.len != 0 || replies == 0 || replies_in(buf_slice(&s->heard)) < replies) {
        unsigned char *to;
        ssize_t n;

        if (send_text.len != 0) {
            n = send(fd, send_text.ptr, send_text.len, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n > 0)
                send_text = slice_from(send_text, (size_t)n);
            else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
                send_text = SLICE_NONE; /* the peer closed: what it said is still to be read */
            if (send_text.len == 0 && replies == 0)
                shutdown(fd, SHUT_WR);
        } else if (replies == 0) {
            shutdown(fd, SHUT_WR);
        }
        to = buf_extend(&s->heard, 4096);
        n = recv(fd, to, 4096, send_text.len != 0 ? MSG_DONTWAIT : 0);
        s->heard.len -= 4096 - (size_t)(n > 0 ? n : 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            break;
    }
    return buf_str(&s->heard);
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

static struct store_view *inbox_open(struct smtp_site *s, const char *user)
{
    struct err err = ERR_INIT;
    struct store_view *view = NULL;
    struct store_mailbox box;
    struct journal_view v;
    struct dir_query q = { .mem = &s->mem, .address = { slice_str(user), SLICE("example.test") } };
    uint64_t account = 0;
    bool is_there;

    ASSERT(dir_ask(s->dir, &s->dir_conf, &q));
    MUST(journal_read_begin(s->journal, &v, &err));
    is_there = q.result == DIR_USER && store_account_find(s->store, &v, q.user.id, &account) &&
               store_mailbox_find(s->store, &v, account, SLICE("INBOX"), &box);
    journal_read_end(&v);
    if (is_there)
        MUST(store_view_open(s->store, box.id, &view, &err));
    return view;
}

unsigned smtp_site_inbox(struct smtp_site *s, const char *user)
{
    struct store_view *view = inbox_open(s, user);
    unsigned n = view != NULL ? store_view_count(view) : 0;

    store_view_unref(&view);
    return n;
}

void smtp_site_message(struct smtp_site *s, const char *user, unsigned number, struct buf *out)
{
    struct store_view *view = inbox_open(s, user);
    struct err err = ERR_INIT;

    ASSERT(view != NULL && number >= 1 && number <= store_view_count(view));
    MUST(store_message_load(s->store, &store_view_row(view, number)->body, UINT32_MAX, out, &err));
    store_view_unref(&view);
}

json_t *smtp_site_ledger(struct smtp_site *s)
{
    struct err err = ERR_INIT;
    struct journal_view v;
    json_t *ledger;

    MUST(journal_read_begin(s->journal, &v, &err));
    ledger = intake_ledger(&v);
    journal_read_end(&v);
    return ledger;
}

struct journal *smtp_site_journal(struct smtp_site *s)
{
    return s->journal;
}

struct queue *smtp_site_queue(struct smtp_site *s)
{
    return s->queue;
}

static void print_fault(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "fault: %s\n", line);
}

int smtp_site_check(struct smtp_site *s)
{
    struct err err = ERR_INIT;
    int faults, more;

    MUST(faults = intake_check(s->journal, s->store, s->queue, &s->conf, print_fault, NULL, &err));
    MUST(more = queue_check(s->queue, print_fault, NULL, &err));
    return faults + more;
}

void smtp_site_channel(struct smtp_site *s, const char *channel, bool is_stopped)
{
    struct queue_request *r = queue_request_new(is_stopped ? QUEUE_CHANNEL_STOP : QUEUE_CHANNEL_START);
    struct err err = ERR_INIT;

    r->channel = slice_str(channel);
    MUST(queue_request_wait(s->queue, r, &err));
    queue_request_destroy(&r);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *entry;
    char name[4096];

    if (d == NULL)
        return;
    while ((entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if ((size_t)snprintf(name, sizeof name, "%s/%s", path, entry->d_name) < sizeof name && unlink(name) < 0)
            remove_tree(name);
    }
    closedir(d);
    rmdir(path);
}

void smtp_site_destroy(struct smtp_site **sp)
{
    struct smtp_site *s = *sp;

    *sp = NULL;
    site_down(s);
    buf_free(&s->heard);
    arena_free(&s->mem);
    json_decref(s->document);
    remove_tree(s->path);
    mem_free(s);
}
