/* The running server: threads, listeners, TLS with a real client, reloads, stopping. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <psa/crypto.h>

#include "base/counter.h"
#include "base/mem.h"
#include "echo.h"
#include "net/server.h"
#include "net/tls_make.h"

struct site {
    char dir[64];
    struct clock clock;
    struct spawner *spawner;
    struct pool *helpers;
    struct net_server *server;
    struct echo_service service;
};

struct conf {
    struct conf_set set; /* first */
    struct net_conf net;
    struct tls_conf tls;
    struct server_conf server;
};

static void conf_destroy(struct snap *s)
{
    struct conf *c = CONTAINER_OF(s, struct conf, set.snap);

    arena_free(&c->set.mem);
    mem_free(c);
}

static void on_report(void *arg, const char *pointer, const char *message)
{
    (void)arg;
    print_error("%s: %s\n", pointer, message);
}

static struct conf *conf_new(const char *listeners, const char *tls)
{
    struct conf *c = mem_alloc(sizeof *c);
    static const slice loopback = { (const unsigned char *)"127.0.0.0/8", 11 };
    struct err err = ERR_INIT;
    json_t *doc = json_parse(slice_str(listeners), &err), *tdoc = json_parse(slice_str(tls), &err);

    assert_non_null(doc);
    assert_non_null(tdoc);
    snap_init(&c->set.snap, conf_destroy);
    arena_init(&c->set.mem, 1024);
    keys_default(&net_keys, &c->net, &c->set.mem);
    keys_default(&tls_keys, &c->tls, &c->set.mem);
    keys_default(&server_keys, &c->server, &c->set.mem);
    assert_int_equal(keys_read(&tls_keys, tdoc, "/tls", &c->tls, &c->set.mem, on_report, NULL), 0);
    c->net.reactors = 2;
    c->net.connections_max = 1000;
    c->net.proxy_trusted = (struct key_strs){ &loopback, 1 };
    assert_int_equal(net_conf_read_listeners(doc, &c->net, &c->set.mem, on_report, NULL), 0);
    json_decref(doc);
    json_decref(tdoc);
    c->set.section[CONF_NET] = &c->net;
    c->set.section[CONF_TLS] = &c->tls;
    c->set.section[CONF_SERVER] = &c->server;
    return c;
}

static const char both[] = "{\"a\": {\"protocol\": \"echo\", \"addresses\": [\"127.0.0.1:0\"], \"tls\": \"starttls\"},"
                           " \"b\": {\"protocol\": \"echo\", \"addresses\": [\"127.0.0.1:0\"], \"tls\": \"implicit\"},"
                           " \"u\": {\"protocol\": \"echo\", \"addresses\": [\"unix:echo.sock\"]}}";

static void site_up(struct site *t, const char *listeners, const char *tls)
{
    struct err err = ERR_INIT;
    char cert[128], key[128];

    *t = (struct site){ .dir = "/tmp/ph-net-XXXXXX" };
    assert_non_null(mkdtemp(t->dir));
    assert_int_equal(spawner_start(&t->spawner, &err), 0);
    snprintf(cert, sizeof cert, "%s/tls", t->dir);
    mkdir(cert, 0700);
    snprintf(cert, sizeof cert, "%s/tls/cert.pem", t->dir);
    snprintf(key, sizeof key, "%s/tls/key.pem", t->dir);
    assert_int_equal(tls_self_signed("one.example.test", cert, key, &err), 0);
    snprintf(cert, sizeof cert, "%s/two.pem", t->dir);
    snprintf(key, sizeof key, "%s/two.key", t->dir);
    assert_int_equal(tls_self_signed("two.example.test", cert, key, &err), 0);
    char path[] = "/tmp/ph-echo-XXXXXX";
    t->service.fd = mkstemp(path);
    unlink(path);
    assert_int_equal(ftruncate(t->service.fd, 1000000), 0);
    clock_init_real(&t->clock);
    t->helpers = pool_new("help", 2, 100, &err);
    struct conf *c = conf_new(listeners, tls);
    if (net_server_new(&t->server,
                       &(struct net_setup){ .spawner = t->spawner,
                                            .helpers = t->helpers,
                                            .clock = &t->clock,
                                            .conf = &c->set,
                                            .dir = t->dir },
                       &err) < 0)
        fail_msg("%s", err.text);
    snap_unref(&c->set.snap);
    net_server_protocol(t->server, "echo", &echo_protocol, &t->service);
    if (net_server_start(t->server, &err) < 0)
        fail_msg("%s", err.text);
}

static void site_down(struct site *t)
{
    static const char *const names[] = { "tls/cert.pem", "tls/key.pem", "two.pem", "two.key", "tls", "" };
    char path[256];

    net_server_stop(t->server, 100);
    pool_destroy(&t->helpers);
    net_server_destroy(&t->server);
    spawner_stop(&t->spawner);
    assert_int_equal(t->service.opened, t->service.closed);
    close(t->service.fd);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", t->dir, names[i]);
        assert_int_equal(remove(path), 0); /* and nothing else is left */
    }
}

static int dial_port(unsigned port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    assert_true(port != 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 10 }, sizeof(struct timeval));
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int dial(const struct site *t, const char *listener)
{
    return dial_port(net_server_port(t->server, slice_str(listener)));
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Exactly this comes next. */
static void hear(int fd, const char *text)
{
    char got[200];
    size_t have = 0;

    while (have < strlen(text)) {
        const ssize_t n = recv(fd, got + have, strlen(text) - have, 0);
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    got[have] = '\0';
    assert_string_equal(got, text);
}

static void hear_end(int fd)
{
    char c;

    assert_true(recv(fd, &c, 1, 0) <= 0);
    close(fd);
}

struct listing_result {
    unsigned rows;
    struct session_row last;
};

static void on_row(void *arg, const struct session_row *row)
{
    struct listing_result *r = arg;

    r->rows++;
    r->last = *row;
}

/* --- a TLS client ------------------------------------------------------------------------------------------------- */

struct client {
    int fd;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
    mbedtls_ssl_session session;
    bool has_session;
};

static int wire_send(void *arg, const unsigned char *p, size_t n)
{
    const ssize_t rc = send(*(int *)arg, p, n, MSG_NOSIGNAL);
    return rc < 0 ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : (int)rc;
}

static int wire_recv(void *arg, unsigned char *p, size_t n)
{
    const ssize_t rc = recv(*(int *)arg, p, n, 0);
    return rc < 0 ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : (int)rc;
}

static void client_up(struct client *c, mbedtls_ssl_protocol_version version)
{
    *c = (struct client){ 0 };
    assert_int_equal(psa_crypto_init(), PSA_SUCCESS);
    mbedtls_entropy_init(&c->entropy);
    mbedtls_ctr_drbg_init(&c->random);
    mbedtls_ssl_config_init(&c->config);
    mbedtls_ssl_session_init(&c->session);
    assert_int_equal(mbedtls_ctr_drbg_seed(&c->random, mbedtls_entropy_func, &c->entropy, NULL, 0), 0);
    assert_int_equal(mbedtls_ssl_config_defaults(&c->config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                                 MBEDTLS_SSL_PRESET_DEFAULT),
                     0);
    mbedtls_ssl_conf_authmode(&c->config, MBEDTLS_SSL_VERIFY_OPTIONAL);
    mbedtls_ssl_conf_rng(&c->config, mbedtls_ctr_drbg_random, &c->random);
    mbedtls_ssl_conf_min_tls_version(&c->config, version);
    mbedtls_ssl_conf_max_tls_version(&c->config, version);
#ifdef MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(&c->config,
                                                             MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#endif
}

static int client_connect(struct client *c, int fd, const char *name)
{
    int rc;

    c->fd = fd;
    mbedtls_ssl_init(&c->ssl);
    assert_int_equal(mbedtls_ssl_setup(&c->ssl, &c->config), 0);
    assert_int_equal(mbedtls_ssl_set_hostname(&c->ssl, name), 0);
    if (c->has_session)
        assert_int_equal(mbedtls_ssl_set_session(&c->ssl, &c->session), 0);
    mbedtls_ssl_set_bio(&c->ssl, &c->fd, wire_send, wire_recv, NULL);
    rc = mbedtls_ssl_handshake(&c->ssl);
    return rc;
}

static void client_say(struct client *c, const char *text, size_t len)
{
    while (len > 0) {
        const int n = mbedtls_ssl_write(&c->ssl, (const unsigned char *)text, len);
        assert_true(n > 0);
        text += n;
        len -= (size_t)n;
    }
}

static size_t client_read(struct client *c, char *to, size_t want)
{
    size_t have = 0;

    while (have < want) {
        const int n = mbedtls_ssl_read(&c->ssl, (unsigned char *)to + have, want - have);
        if (n == MBEDTLS_ERR_SSL_WANT_READ)
            continue; /* it says so behind a ticket, although our reads block */
        if (n == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
            if (!c->has_session) {
                assert_int_equal(mbedtls_ssl_get_session(&c->ssl, &c->session), 0);
                c->has_session = true;
            }
            continue;
        }
        if (n <= 0) {
            if (n != 0 && n != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
                print_error("TLS read: -%#x\n", (unsigned)-n);
            break;
        }
        have += (size_t)n;
    }
    return have;
}

static void client_hear(struct client *c, const char *text)
{
    char got[200] = "";

    got[client_read(c, got, strlen(text))] = '\0';
    assert_string_equal(got, text);
}

static void client_hang_up(struct client *c)
{
    mbedtls_ssl_free(&c->ssl);
    close(c->fd);
}

static void client_down(struct client *c)
{
    mbedtls_ssl_session_free(&c->session);
    mbedtls_ssl_config_free(&c->config);
    mbedtls_ctr_drbg_free(&c->random);
    mbedtls_entropy_free(&c->entropy);
}

static const struct {
    mbedtls_ssl_protocol_version version;
    const char *name;
} versions[] = { { MBEDTLS_SSL_VERSION_TLS1_2, "TLSv1.2" }, { MBEDTLS_SSL_VERSION_TLS1_3, "TLSv1.3" } };

static bool peer_is(struct client *c, const char *name)
{
    char text[200];

    mbedtls_x509_dn_gets(text, sizeof text, &mbedtls_ssl_get_peer_cert(&c->ssl)->subject);
    return strstr(text, name) != NULL;
}

static void server__speaks_tls_on_both_kinds_of_listeners(void **state)
{
    struct site t;

    (void)state;
    site_up(&t, both, "{}");
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        struct client c;
        char text[64];
        client_up(&c, versions[v].version);
        assert_int_equal(client_connect(&c, dial(&t, "b"), "one.example.test"), 0);
        client_hear(&c, "hello\r\n");
        client_say(&c, "echo x\r\n", 8);
        client_hear(&c, "x\r\n");
        client_hang_up(&c);

        const int fd = dial(&t, "a");
        hear(fd, "hello\r\n");
        say(fd, "echo plain\r\ntls\r\n");
        hear(fd, "plain\r\ngo\r\n");
        assert_int_equal(client_connect(&c, fd, "one.example.test"), 0);
        assert_true(peer_is(&c, "one.example.test"));
        snprintf(text, sizeof text, "tls %s clean\r\n", versions[v].name);
        client_hear(&c, text);
        client_say(&c, "quit\r\n", 6);
        client_hear(&c, "bye\r\n");
        assert_int_equal(client_read(&c, text, 1), 0);
        client_hang_up(&c);
        client_down(&c);
    }
    site_down(&t);
}

static void server__sends_and_takes_much_over_tls(void **state)
{
    enum { BYTES = 700000 };
    static char data[BYTES + 100], got[BYTES + 100];
    struct site t;

    (void)state;
    site_up(&t, both, "{}");
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        struct client c;
        const int head = snprintf(data, sizeof data, "octets %d\r\n", BYTES / 10);
        client_up(&c, versions[v].version);
        assert_int_equal(client_connect(&c, dial(&t, "b"), "x"), 0);
        client_hear(&c, "hello\r\n");
        for (int i = 0; i < BYTES / 10; i++)
            data[head + i] = (char)(i * 7);
        client_say(&c, data, (size_t)head + BYTES / 10);
        assert_int_equal(client_read(&c, got, BYTES / 10 + 2), BYTES / 10 + 2);
        assert_memory_equal(got, data + head, BYTES / 10);
        client_say(&c, "big 700000\r\nfile 700000\r\n", 25);
        assert_int_equal(client_read(&c, got, BYTES), BYTES);
        client_hear(&c, "<");
        assert_int_equal(client_read(&c, got, BYTES), BYTES);
        assert_true(got[BYTES - 1] == 0 && got[0] == 0);
        client_hear(&c, ">\r\n");
        client_hang_up(&c);
        client_down(&c);
    }
    site_down(&t);
}

static void server__forgets_what_was_sent_behind_starttls(void **state)
{
    struct site t;
    struct client c;

    (void)state;
    site_up(&t, both, "{}");
    client_up(&c, MBEDTLS_SSL_VERSION_TLS1_3);
    const int fd = dial(&t, "a");
    hear(fd, "hello\r\n");
    say(fd, "tls\r\necho injected\r\n");
    hear(fd, "go\r\n");
    assert_int_equal(client_connect(&c, fd, "x"), 0);
    client_hear(&c, "tls TLSv1.3 injected\r\n");
    client_say(&c, "echo clean\r\n", 12);
    client_hear(&c, "clean\r\n");
    client_hang_up(&c);
    client_down(&c);
    site_down(&t);
}

static void server__takes_a_handshake_behind_a_proxy_header(void **state)
{
    struct listing_result r = { 0 };
    struct site t;
    struct client c;

    (void)state;
    site_up(&t,
            "{\"p\": {\"protocol\": \"echo\", \"addresses\": [\"127.0.0.1:0\"], \"tls\": \"implicit\","
            " \"proxy_protocol\": true}}",
            "{}");
    client_up(&c, MBEDTLS_SSL_VERSION_TLS1_3);
    const int fd = dial(&t, "p");
    static const char head[] = "PROXY TCP4 192.0.2.7 192.0.2.8 4000 25\r\n";
    assert_int_equal(send(fd, head, sizeof head - 1, MSG_MORE), sizeof head - 1); /* leaves with the first flight */
    assert_int_equal(client_connect(&c, fd, "x"), 0);
    client_hear(&c, "hello\r\n");
    net_server_sessions(t.server, on_row, &r);
    assert_int_equal(r.rows, 1);
    assert_string_equal(r.last.peer, "192.0.2.7:4000");
    assert_string_equal(r.last.tls, "TLSv1.3");
    client_hang_up(&c);
    client_down(&c);
    site_down(&t);
}

static void server__resumes_sessions_by_ticket(void **state)
{
    struct site t;

    (void)state;
    site_up(&t, both, "{}");
    struct counter *resumed = counter_find("net.tls_resumed");
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        struct client c;
        const int64_t before = counter_get(resumed);
        client_up(&c, versions[v].version);
        for (unsigned round = 0; round < 2; round++) {
            assert_int_equal(client_connect(&c, dial(&t, "b"), "x"), 0);
            client_hear(&c, "hello\r\n");
            client_say(&c, "echo x\r\n", 8);
            client_hear(&c, "x\r\n");
            if (!c.has_session && versions[v].version == MBEDTLS_SSL_VERSION_TLS1_2) {
                assert_int_equal(mbedtls_ssl_get_session(&c.ssl, &c.session), 0);
                c.has_session = true;
            }
            client_hang_up(&c);
        }
        assert_true(c.has_session);
        assert_int_equal(counter_get(resumed), before + 1);
        client_down(&c);
    }
    site_down(&t);
}

static void server__chooses_the_certificate_by_name(void **state)
{
    static const struct {
        const char *asked, *got;
    } rows[] = {
        { "one.example.test", "one.example.test" },
        { "two.example.test", "two.example.test" },
        { "TWO.example.test", "two.example.test" },
        { "a.wild.test", "two.example.test" },
        { "a.b.wild.test", "one.example.test" },
        { "wild.test", "one.example.test" },
    };
    struct site t;
    struct client c;

    (void)state;
    site_up(&t, both, "{\"sni\": [\"two.example.test=two.pem,two.key\", \"*.wild.test=two.pem,two.key\"]}");
    client_up(&c, MBEDTLS_SSL_VERSION_TLS1_3);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(client_connect(&c, dial(&t, "b"), rows[i].asked), 0);
        if (!peer_is(&c, rows[i].got))
            fail_msg("row %zu", i);
        client_hang_up(&c);
    }
    client_down(&c);
    site_down(&t);
}

static void server__survives_what_is_no_handshake(void **state)
{
    static const char *const rows[] = { "EHLO client\r\n", "\x16\x03\x01\x02", "\x16\x03\x01\x00\x05hello", "" };
    struct site t;
    struct client c;

    (void)state;
    site_up(&t, both, "{\"min_version\": \"1.3\"}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const int fd = dial(&t, "b");
        say(fd, rows[i]);
        shutdown(fd, SHUT_WR);
        char got[200];
        while (recv(fd, got, sizeof got, 0) > 0)
            continue; /* an alert */
        close(fd);
    }
    client_up(&c, MBEDTLS_SSL_VERSION_TLS1_2); /* too old */
    assert_int_not_equal(client_connect(&c, dial(&t, "b"), "x"), 0);
    client_hang_up(&c);
    client_down(&c);
    site_down(&t);
}

/* --- listeners ---------------------------------------------------------------------------------------------------- */

static void server__keeps_listeners_and_sessions_over_a_reload(void **state)
{
    struct err err = ERR_INIT;
    struct site t;
    char text[600];

    (void)state;
    site_up(&t, "{\"a\": {\"protocol\": \"echo\", \"addresses\": [\"127.0.0.1:0\"]}}", "{}");
    const unsigned port = net_server_port(t.server, SLICE("a"));
    net_server_stop(t.server, 0);
    site_down(&t);
    snprintf(text, sizeof text, "{\"a\": {\"protocol\": \"echo\", \"addresses\": [\"127.0.0.1:%u\"]}}", port);
    site_up(&t, text, "{}");
    const int fd = dial(&t, "a");
    hear(fd, "hello\r\n");

    /* a second address appears, the first stays under another name */
    snprintf(text, sizeof text,
             "{\"z\": {\"protocol\": \"echo\", \"addresses\": [\"127.0.0.1:%u\"]},"
             " \"n\": {\"protocol\": \"echo\", \"addresses\": [\"127.0.0.1:0\"]}}",
             port);
    struct conf *c = conf_new(text, "{}");
    assert_int_equal(net_server_reload(t.server, &c->set, &err), 0);
    snap_unref(&c->set.snap);
    say(fd, "echo still\r\n");
    hear(fd, "still\r\n");
    const int other = dial(&t, "n");
    hear(other, "hello\r\n");
    close(other);

    /* refused: an unknown protocol changes nothing */
    c = conf_new("{\"a\": {\"protocol\": \"gopher\", \"addresses\": [\"127.0.0.1:0\"]}}", "{}");
    assert_int_equal(net_server_reload(t.server, &c->set, &err), -1);
    assert_non_null(strstr(err.text, "gopher"));
    snap_unref(&c->set.snap);
    c = conf_new(text, "{\"certificate\": \"missing.pem\"}");
    assert_int_equal(net_server_reload(t.server, &c->set, &err), -1);
    snap_unref(&c->set.snap);
    assert_int_equal(net_server_port(t.server, SLICE("z")), port);

    /* the first goes; its session stays */
    c = conf_new("{\"q\": {\"protocol\": \"echo\", \"addresses\": [\"127.0.0.1:0\"]}}", "{}");
    assert_int_equal(net_server_reload(t.server, &c->set, &err), 0);
    snap_unref(&c->set.snap);
    int again = dial_port(port);
    for (unsigned i = 0; i < 1000 && again >= 0; i++) { /* until the workers have closed it */
        close(again);
        usleep(1000);
        again = dial_port(port);
    }
    assert_int_equal(again, -1);
    say(fd, "echo still\r\n");
    hear(fd, "still\r\n");
    close(fd);
    site_down(&t);
}

static void server__refuses_an_address_in_use(void **state)
{
    struct net_addr addr;
    struct site t;
    struct err err = ERR_INIT;
    char text[200];

    (void)state;
    site_up(&t, both, "{}");
    struct spawner *other;
    assert_int_equal(spawner_start(&other, &err), 0);
    snprintf(text, sizeof text, "127.0.0.1:%u", net_server_port(t.server, SLICE("a")));
    assert_int_equal(net_addr_parse(slice_str(text), &addr, &err), 0);
    assert_int_equal(spawner_bind(other, &addr, 0, 0, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    snprintf(text, sizeof text, "unix:%s/echo.sock", t.dir);
    assert_int_equal(net_addr_parse(slice_str(text), &addr, &err), 0);
    assert_int_equal(spawner_bind(other, &addr, 0, 0600, &err), -1);
    assert_int_equal(err.kind, ERR_EXISTS);
    assert_int_equal(spawner_open(other, t.dir, &err), -1); /* no regular file */
    spawner_stop(&other);
    site_down(&t);
}

static void server__listens_on_unix_sockets(void **state)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    struct site t;
    struct stat st;

    (void)state;
    site_up(&t, both, "{}");
    snprintf(to.sun_path, sizeof to.sun_path, "%s/echo.sock", t.dir);
    assert_int_equal(stat(to.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    hear(fd, "hello\r\n");
    say(fd, "quit\r\n");
    hear(fd, "bye\r\n");
    hear_end(fd);
    site_down(&t);
}

static void server__lists_sessions(void **state)
{
    struct listing_result r = { 0 };
    struct site t;

    (void)state;
    site_up(&t, both, "{}");
    const int fd = dial(&t, "a");
    hear(fd, "hello\r\n");
    say(fd, "echo x\r\nwait\r\n");
    hear(fd, "x\r\n");
    for (unsigned i = 0; i < 1000 && r.last.wait[0] == '\0'; i++) {
        r = (struct listing_result){ 0 };
        net_server_sessions(t.server, on_row, &r);
    }
    assert_int_equal(r.rows, 1);
    assert_string_equal(r.last.protocol, "echo");
    assert_string_equal(r.last.state, "waiting");
    assert_string_equal(r.last.wait, "test");
    assert_string_equal(r.last.user, "somebody");
    assert_int_equal(strncmp(r.last.peer, "127.0.0.1:", 10), 0);
    assert_int_equal(r.last.in_bytes, 14);
    assert_int_equal(r.last.out_bytes, 10);
    close(fd);
    site_down(&t);
}

static void server__stops_with_a_farewell(void **state)
{
    struct site t;

    (void)state;
    site_up(&t, both, "{}");
    const int rest = dial(&t, "a"), waits = dial(&t, "a");
    hear(rest, "hello\r\n");
    hear(waits, "hello\r\n");
    say(waits, "echo x\r\nwait\r\n");
    hear(waits, "x\r\n");
    net_server_stop(t.server, 50);
    hear(rest, "stopping\r\n");
    hear_end(rest);
    hear(waits, "stopping\r\n"); /* at the end of the grace */
    hear_end(waits);
    site_down(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server__speaks_tls_on_both_kinds_of_listeners),
        cmocka_unit_test(server__sends_and_takes_much_over_tls),
        cmocka_unit_test(server__forgets_what_was_sent_behind_starttls),
        cmocka_unit_test(server__takes_a_handshake_behind_a_proxy_header),
        cmocka_unit_test(server__resumes_sessions_by_ticket),
        cmocka_unit_test(server__chooses_the_certificate_by_name),
        cmocka_unit_test(server__survives_what_is_no_handshake),
        cmocka_unit_test(server__keeps_listeners_and_sessions_over_a_reload),
        cmocka_unit_test(server__refuses_an_address_in_use),
        cmocka_unit_test(server__listens_on_unix_sockets),
        cmocka_unit_test(server__lists_sessions),
        cmocka_unit_test(server__stops_with_a_farewell),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
