#include "auth_site.h"

#include <crypt.h>
#include <sasl/sasl.h>

#include "base/base64.h"

/* --- plain passwords ---------------------------------------------------------------------------------------------- */

static void auth_password__results(void **state)
{
    static const struct {
        const char *user, *password;
        enum auth_result want;
        const char *who;
        unsigned hashes;
    } rows[] = {
        { "user", "pencil", AUTH_OK, "user@one.example", 1 },
        { "USER@One.Example", "pencil", AUTH_OK, "user@one.example", 1 },
        { "user", "Pencil", AUTH_FAILED, "", 1 },
        { "user", "pencil ", AUTH_FAILED, "", 1 },
        { "nobody", "pencil", AUTH_FAILED, "", 1 }, /* as many hashes as for somebody */
        { "user@far.example", "pencil", AUTH_FAILED, "", 1 },
        { "user@", "pencil", AUTH_FAILED, "", 1 },
        { "@one.example", "pencil", AUTH_FAILED, "", 1 },
        { "", "pencil", AUTH_FAILED, "", 1 },
        { "empty", "pencil", AUTH_FAILED, "", 1 },
        { "empty", "", AUTH_FAILED, "", 0 },
        { "user", "", AUTH_FAILED, "", 0 },
        { "nobody", "", AUTH_FAILED, "", 0 },
        { "gone", "pencil", AUTH_DISABLED, "", 1 },
        { "gone", "other", AUTH_FAILED, "", 1 }, /* that it is disabled is for its owner only */
        { "user+x", "pencil", AUTH_FAILED, "", 1 },
        { "postmaster", "master", AUTH_FAILED, "", 1 },
    };
    struct site s;

    site_begin(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t before = count("auth.hashes");
        enum auth_result got = password(&s, rows[i].user, rows[i].password);

        if (got != rows[i].want || strcmp(who(&s), rows[i].who) != 0 ||
            count("auth.hashes") - before != (int64_t)rows[i].hashes)
            fail_msg("row %zu %s: %d \"%s\" %lld hashes", i, rows[i].user, (int)got, who(&s),
                     (long long)(count("auth.hashes") - before));
    }
    site_end(&s);
    (void)state;
}

static void auth_password__octets(void **state)
{
    static const unsigned char with_nul[] = { 'p', 'e', 'n', 'c', 'i', 'l', 0, 'x' };
    struct site s;
    char *large = mem_alloc(AUTH_RESPONSE_MAX_OCTETS + 2);

    site_begin(&s);
    memset(large, 'a', AUTH_RESPONSE_MAX_OCTETS + 1);
    begin(&s, "");
    auth_exchange_password(s.x, SLICE("user"), slice_of(with_nul, sizeof(with_nul)));
    assert_int_equal(await(&s), AUTH_FAILED);
    begin(&s, "");
    auth_exchange_password(s.x, slice_of("user\0x", 6), SLICE("pencil"));
    assert_int_equal(await(&s), AUTH_FAILED);
    begin(&s, "");
    auth_exchange_password(s.x, SLICE("user"), slice_of(large, AUTH_RESPONSE_MAX_OCTETS));
    assert_int_equal(await(&s), AUTH_FAILED);
    begin(&s, "");
    auth_exchange_password(s.x, slice_of(large, AUTH_RESPONSE_MAX_OCTETS), SLICE("pencil"));
    assert_int_equal(await(&s), AUTH_FAILED);
    begin(&s, "");
    auth_exchange_password(s.x, SLICE("user"), slice_of(large, AUTH_RESPONSE_MAX_OCTETS + 1));
    assert_int_equal(await(&s), AUTH_BAD_ENCODING);
    mem_free(large);
    site_end(&s);
    (void)state;
}

static void auth_secrets__rules(void **state)
{
    struct dir_secrets one = { SLICE_NONE, SLICE_NONE }, two = one;
    struct err err = ERR_INIT;
    struct arena mem;
    char long_text[513];

    arena_init(&mem, 1024);
    memset(long_text, 'x', sizeof(long_text));
    assert_int_equal(auth_secrets_make(SLICE_NONE, ITERATIONS, &mem, &one, &err), -1);
    assert_int_equal(err.kind, ERR_SYNTAX);
    assert_int_equal(auth_secrets_make(slice_of("a\0b", 3), ITERATIONS, &mem, &one, &err), -1);
    assert_int_equal(auth_secrets_make(slice_of(long_text, 512), ITERATIONS, &mem, &one, &err), -1);
    assert_int_equal(auth_secrets_make(slice_of(long_text, 511), ITERATIONS, &mem, &one, &err), 0);
    assert_int_equal(auth_secrets_make(slice_of(long_text, 511), ITERATIONS, &mem, &two, &err), 0);
    assert_true(slice_starts(one.crypt, SLICE("$y$")));
    assert_true(slice_starts(one.scram_sha256, SLICE("4096:")));
    assert_false(slice_eq(one.crypt, two.crypt)); /* salted */
    assert_false(slice_eq(one.scram_sha256, two.scram_sha256));
    arena_free(&mem);
    (void)state;
}

/* --- SASL with libsasl2's client ---------------------------------------------------------------------------------- */

struct client {
    const char *user, *authzid, *password;
    sasl_secret_t *secret;
    sasl_conn_t *conn;
    sasl_callback_t callbacks[5];
};

static int on_simple(void *context, int id, const char **result, unsigned *len)
{
    struct client *c = context;

    *result = id == SASL_CB_USER ? c->authzid : c->user;
    if (len != NULL)
        *len = (unsigned)strlen(*result);
    return SASL_OK;
}

static int on_secret(sasl_conn_t *conn, void *context, int id, sasl_secret_t **out)
{
    struct client *c = context;

    (void)conn;
    (void)id;
    *out = c->secret;
    return SASL_OK;
}

#define PROC(fn) ((int (*)(void))(void (*)(void))(fn))

static void client_begin(struct client *c, const char *user, const char *authzid, const char *text)
{
    sasl_callback_t callbacks[] = {
        { SASL_CB_USER, PROC(on_simple), c },    { SASL_CB_AUTHNAME, PROC(on_simple), c },
        { SASL_CB_PASS, PROC(on_secret), c },    { SASL_CB_LIST_END, NULL, NULL },
    };

    memset(c, 0, sizeof(*c));
    c->user = user;
    c->authzid = authzid;
    c->secret = mem_alloc(sizeof(*c->secret) + strlen(text) + 1);
    c->secret->len = strlen(text);
    memcpy(c->secret->data, text, strlen(text));
    memcpy(c->callbacks, callbacks, sizeof(callbacks));
    assert_int_equal(sasl_client_new("imap", "localhost", NULL, NULL, c->callbacks, SASL_SUCCESS_DATA, &c->conn),
                     SASL_OK);
}

static void client_end(struct client *c)
{
    sasl_dispose(&c->conn);
    mem_free(c->secret);
}

/* The whole dialogue. *is_proved: the client accepts the server, too. */
static enum auth_result dialogue(struct site *s, const char *mechanism, const char *user, const char *authzid,
                                 const char *text, bool with_initial, bool *is_proved)
{
    static const char exporter[] = "0123456789abcdef0123456789abcdef";
    sasl_channel_binding_t binding = { "tls-exporter", 1, 32, (const unsigned char *)exporter };
    struct client c;
    const char *out = NULL, *chosen;
    unsigned len = 0, rounds = 0;
    enum auth_result result = AUTH_CONTINUE;
    int code;

    client_begin(&c, user, authzid, text);
    if (s->peer.tls_exporter.len > 0)
        assert_int_equal(sasl_setprop(c.conn, SASL_CHANNEL_BINDING, &binding), SASL_OK);
    code = sasl_client_start(c.conn, mechanism, NULL, &out, &len, &chosen);
    if (code != SASL_OK && code != SASL_CONTINUE)
        fail_msg("client, %s: %s", mechanism, sasl_errdetail(c.conn));
    begin(s, mechanism);
    if (!with_initial) {
        auth_exchange_step(s->x, SLICE_NONE, false);
        result = await(s);
        assert_int_equal(result, AUTH_CONTINUE);
    }
    if (with_initial || auth_exchange_challenge(s->x).len == 0)
        result = out == NULL ? (auth_exchange_step(s->x, SLICE_NONE, false), await(s)) : step(s, slice_of(out, len));
    while (result == AUTH_CONTINUE && rounds++ < 5) {
        slice challenge = auth_exchange_challenge(s->x);

        code = sasl_client_step(c.conn, (const char *)challenge.ptr, (unsigned)challenge.len, NULL, &out, &len);
        if (code != SASL_OK && code != SASL_CONTINUE)
            break;
        if (s->change != NULL)
            dir_site_do(&s->dir, DIR_USER_SET, "user", NULL, s->change);
        s->change = NULL;
        result = step(s, slice_of(out, len));
    }
    *is_proved = code == SASL_OK;
    if (result == AUTH_OK && auth_exchange_has_final(s->x)) {
        slice final = auth_exchange_challenge(s->x);

        code = sasl_client_step(c.conn, (const char *)final.ptr, (unsigned)final.len, NULL, &out, &len);
        *is_proved = code == SASL_OK;
    }
    client_end(&c);
    return result;
}

static void auth_sasl__mechanisms(void **state)
{
    static const char *const mechanisms[] = { "PLAIN", "LOGIN", "SCRAM-SHA-256" };
    static const struct {
        const char *user, *authzid, *password;
        enum auth_result want;
        const char *who;
    } rows[] = {
        { "user", "", "pencil", AUTH_OK, "user@one.example" },
        { "User@one.example", "", "pencil", AUTH_OK, "user@one.example" },
        { "user", "", "pencils", AUTH_FAILED, "" },
        { "nobody", "", "pencil", AUTH_FAILED, "" },
        { "user@far.example", "", "pencil", AUTH_FAILED, "" },
        { "empty", "", "pencil", AUTH_FAILED, "" },
        { "gone", "", "pencil", AUTH_DISABLED, "" },
        { "gone", "", "wrong", AUTH_FAILED, "" },
        /* not with LOGIN, which has no authorization identity */
        { "user", "user@one.example", "pencil", AUTH_OK, "user@one.example" },
        { "user", "boss", "pencil", AUTH_FAILED, "" },
        { "boss", "user", "master", AUTH_OK, "user@one.example" },
        { "boss", "user@one.example", "master", AUTH_OK, "user@one.example" },
        { "boss", "nobody", "master", AUTH_FAILED, "" },
        { "boss", "gone", "master", AUTH_FAILED, "" },
        { "boss", "user", "pencil", AUTH_FAILED, "" },
    };
    struct site s;
    bool is_proved;

    site_begin(&s);
    for (size_t m = 0; m < ARRAY_LEN(mechanisms); m++) {
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            for (unsigned with_initial = 0; with_initial < 2; with_initial++) {
                enum auth_result got;

                if (m == 1 && (rows[i].authzid[0] != '\0' || with_initial == 1))
                    continue;
                got = dialogue(&s, mechanisms[m], rows[i].user, rows[i].authzid, rows[i].password, with_initial != 0,
                               &is_proved);
                if (got != rows[i].want || strcmp(who(&s), rows[i].who) != 0 || (got == AUTH_OK && !is_proved))
                    fail_msg("%s row %zu (initial %u): %d \"%s\" %d", mechanisms[m], i, with_initial, (int)got, who(&s),
                             is_proved);
                assert_string_equal(dir_site_text(&s.dir, auth_exchange_mechanism(s.x)), mechanisms[m]);
                assert_int_equal(auth_exchange_has_final(s.x), m == 2 && got == AUTH_OK);
            }
        }
    }
    site_end(&s);
    (void)state;
}

static void auth_sasl__channel_binding(void **state)
{
    struct site s;
    bool is_proved;

    site_begin(&s);
    s.peer.is_tls = true;
    s.peer.tls_exporter = SLICE("0123456789abcdef0123456789abcdef");
    assert_int_equal(dialogue(&s, "SCRAM-SHA-256-PLUS", "user", "", "pencil", true, &is_proved), AUTH_OK);
    assert_true(is_proved);
    assert_string_equal(dir_site_text(&s.dir, auth_exchange_mechanism(s.x)), "SCRAM-SHA-256-PLUS");
    s.peer.tls_exporter = SLICE("somebody sits between us two now"); /* the client's end differs */
    assert_int_equal(dialogue(&s, "SCRAM-SHA-256-PLUS", "user", "", "pencil", true, &is_proved), AUTH_FAILED);
    site_end(&s);
    (void)state;
}

/* A client that sends the user name with AUTH LOGIN, as some do. */
static void auth_sasl__login_by_hand(void **state)
{
    struct site s;

    site_begin(&s);
    begin(&s, "login"); /* names are caseless, RFC 4422 3.1 says upper case */
    auth_exchange_step(s.x, SLICE_NONE, false);
    assert_int_equal(await(&s), AUTH_CONTINUE);
    assert_true(slice_starts(auth_exchange_challenge(s.x), SLICE("User")));
    assert_int_equal(step(&s, SLICE("user")), AUTH_CONTINUE);
    assert_true(slice_starts(auth_exchange_challenge(s.x), SLICE("Pass")));
    assert_int_equal(step(&s, SLICE("pencil")), AUTH_OK);
    begin(&s, "LOGIN");
    assert_int_equal(step(&s, SLICE("user")), AUTH_CONTINUE);
    assert_true(slice_starts(auth_exchange_challenge(s.x), SLICE("Pass")));
    assert_int_equal(step(&s, SLICE("pencil")), AUTH_OK);
    assert_string_equal(who(&s), "user@one.example");
    begin(&s, "LOGIN"); /* nothing where a password should be */
    assert_int_equal(step(&s, SLICE("user")), AUTH_CONTINUE);
    assert_int_equal(step(&s, SLICE_NONE), AUTH_FAILED);
    begin(&s, "LOGIN");
    auth_exchange_step(s.x, SLICE_NONE, false);
    assert_int_equal(await(&s), AUTH_CONTINUE);
    assert_int_equal(step(&s, SLICE_NONE), AUTH_FAILED);
    site_end(&s);
    (void)state;
}

static void auth_sasl__malformed(void **state)
{
#define OCTETS(lit) lit, sizeof(lit) - 1
    static const struct {
        const char *mechanism, *octets;
        size_t len;
        enum auth_result want;
    } rows[] = {
        { "PLAIN", OCTETS(""), AUTH_BAD_ENCODING },
        { "PLAIN", OCTETS("user"), AUTH_BAD_ENCODING },
        { "PLAIN", OCTETS("\0user"), AUTH_BAD_ENCODING },
        { "PLAIN", OCTETS("\0user\0pencil"), AUTH_OK },
        { "PLAIN", OCTETS("\0user\0pencil\0x"), AUTH_BAD_ENCODING },
        { "PLAIN", OCTETS("\0\0"), AUTH_FAILED },
        { "SCRAM-SHA-256", OCTETS("x"), AUTH_BAD_ENCODING },
        { "SCRAM-SHA-256", OCTETS("n,,n=user"), AUTH_BAD_ENCODING },
        { "SCRAM-SHA-256", OCTETS("n,,n=user,x=1234567890"), AUTH_BAD_ENCODING },
        { "SCRAM-SHA-256", OCTETS("n,,m=1,n=user,r=abcdef"), AUTH_BAD_ENCODING },
        { "SCRAM-SHA-256", OCTETS("n,,n=us=er,r=abcdefgh"), AUTH_BAD_ENCODING },
        { "SCRAM-SHA-256", OCTETS("n,,n=user,r=abc\0defgh"), AUTH_BAD_ENCODING },
        { "SCRAM-SHA-256", OCTETS("n,,n=user,r=abcdefghij"), AUTH_CONTINUE },
        { "SCRAM-SHA-1", OCTETS("n,,n=user,r=abcdefghij"), AUTH_BAD_MECHANISM },
        { "DIGEST-MD5", OCTETS(""), AUTH_BAD_MECHANISM },
        { "ANONYMOUS", OCTETS("x"), AUTH_BAD_MECHANISM },
        { "EXTERNAL", OCTETS(""), AUTH_BAD_MECHANISM },
        { "SCRAM-SHA-256-PLUS", OCTETS("p=tls-exporter,,n=user,r=abc"), AUTH_BAD_MECHANISM },
        { "", OCTETS(""), AUTH_BAD_MECHANISM },
    };
    unsigned char *large = mem_alloc(AUTH_RESPONSE_MAX_OCTETS + 1);
    static const char *const mechanisms[] = { "PLAIN", "LOGIN", "SCRAM-SHA-256" };
    struct site s;

    site_begin(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum auth_result got;

        begin(&s, rows[i].mechanism);
        got = step(&s, slice_of(rows[i].octets, rows[i].len));
        if (got != rows[i].want)
            fail_msg("row %zu %s: %d", i, rows[i].mechanism, (int)got);
    }
    memset(large, 'n', AUTH_RESPONSE_MAX_OCTETS + 1);
    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
        begin(&s, mechanisms[i]);
        assert_int_equal(step(&s, slice_of(large, AUTH_RESPONSE_MAX_OCTETS + 1)), AUTH_BAD_ENCODING);
        begin(&s, mechanisms[i]);
        assert_int_not_equal(step(&s, slice_of(large, AUTH_RESPONSE_MAX_OCTETS)), AUTH_OK);
    }
    mem_free(large);
    site_end(&s);
    (void)state;
}

/* "s=...,i=..." of the server's first message */
static const char *scram_salt(struct site *s, const char *user)
{
    char text[100];
    slice challenge;

    begin(s, "SCRAM-SHA-256");
    snprintf(text, sizeof(text), "n,,n=%s,r=abcdefgh", user);
    assert_int_equal(step(s, slice_str(text)), AUTH_CONTINUE);
    challenge = auth_exchange_challenge(s->x);
    return dir_site_text(&s->dir, slice_from(challenge, (size_t)slice_find(challenge, SLICE(",s=")) + 1));
}

static void auth_scram__unknown_users_have_a_salt(void **state)
{
    const char *nobody, *user;
    struct err err = ERR_INIT;
    struct site s;

    site_begin(&s);
    user = scram_salt(&s, "user");
    nobody = scram_salt(&s, "nobody");
    assert_int_equal(strlen(user), strlen(nobody));
    assert_string_not_equal(user, nobody);
    assert_string_equal(nobody, scram_salt(&s, "nobody"));
    assert_string_equal(nobody, scram_salt(&s, "Nobody@ONE.example")); /* as with real ones */
    assert_string_equal(user, scram_salt(&s, "User@ONE.example"));
    assert_string_not_equal(nobody, scram_salt(&s, "nobody2"));
    assert_non_null(strstr(user, ",i=4096"));
    assert_non_null(strstr(nobody, ",i=4096"));
    /* and after a restart */
    auth_exchange_destroy(&s.x);
    auth_destroy(&s.auth);
    dir_site_close(&s.dir);
    dir_site_open(&s.dir, true);
    assert_int_equal(auth_new(&s.auth, s.dir.dir, s.pool, &s.dir.clock, &err), 0);
    assert_string_equal(nobody, scram_salt(&s, "nobody"));
    assert_string_equal(user, scram_salt(&s, "user"));
    site_end(&s);
    (void)state;
}

/* --- policy ------------------------------------------------------------------------------------------------------- */

static void auth_mechanisms__offered(void **state)
{
    static const struct {
        uint32_t plaintext;
        const char *addr;
        bool is_tls, with_exporter;
        const char *want;
    } rows[] = {
        { AUTH_PLAINTEXT_LOOPBACK, "127.0.0.1:1", false, false, "SCRAM-SHA-256 PLAIN LOGIN" },
        { AUTH_PLAINTEXT_LOOPBACK, "[::1]:1", false, false, "SCRAM-SHA-256 PLAIN LOGIN" },
        { AUTH_PLAINTEXT_LOOPBACK, "192.0.2.1:1", false, false, "SCRAM-SHA-256" },
        { AUTH_PLAINTEXT_LOOPBACK, "192.0.2.1:1", true, false, "SCRAM-SHA-256 PLAIN LOGIN" },
        { AUTH_PLAINTEXT_LOOPBACK, "192.0.2.1:1", true, true, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN" },
        { AUTH_PLAINTEXT_ALWAYS, "192.0.2.1:1", false, false, "SCRAM-SHA-256 PLAIN LOGIN" },
        { AUTH_PLAINTEXT_NEVER, "127.0.0.1:1", false, false, "SCRAM-SHA-256" },
        { AUTH_PLAINTEXT_NEVER, "127.0.0.1:1", true, false, "SCRAM-SHA-256 PLAIN LOGIN" },
    };
    static const slice only_plain[] = { { (const unsigned char *)"PLAIN", 5 } };
    struct err err = ERR_INIT;
    struct site s;

    site_begin(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool is_shown = strstr(rows[i].want, "PLAIN") != NULL;
        struct buf out = BUF_INIT;

        s.auth_conf.plaintext = rows[i].plaintext;
        s.peer.is_tls = rows[i].is_tls;
        s.peer.tls_exporter = rows[i].with_exporter ? SLICE("0123456789abcdef0123456789abcdef") : SLICE_NONE;
        assert_int_equal(net_addr_parse(slice_str(rows[i].addr), &s.peer.addr, &err), 0);
        auth_mechanisms(s.auth, &s.auth_conf, &s.peer, &out);
        if (strcmp(buf_str(&out), rows[i].want) != 0)
            fail_msg("row %zu: %s", i, buf_str(&out));
        buf_free(&out);
        begin(&s, "PLAIN");
        assert_int_equal(step(&s, slice_of("\0user\0pencil", 12)), is_shown ? AUTH_OK : AUTH_NEEDS_TLS);
        assert_int_equal(password(&s, "user", "pencil"), is_shown ? AUTH_OK : AUTH_NEEDS_TLS);
    }
    s.auth_conf.mechanisms = (struct key_strs){ only_plain, 1 };
    begin(&s, "SCRAM-SHA-256");
    assert_int_equal(step(&s, SLICE("n,,n=user,r=abcdefgh")), AUTH_BAD_MECHANISM);
    site_end(&s);
    (void)state;
}

static void auth_waiting__is_bounded(void **state)
{
    struct site s;

    site_begin(&s);
    s.auth_conf.waiting_max = 0;
    assert_int_equal(password(&s, "user", "pencil"), AUTH_BUSY);
    s.auth_conf.waiting_max = 1;
    assert_int_equal(password(&s, "user", "pencil"), AUTH_OK);
    site_end(&s);
    (void)state;
}

/* Who gets another password in the middle of an exchange has had their sessions closed: this one must not come in. */
static void auth_exchange__stale_is_refused(void **state)
{
    struct dir_secrets secrets;
    int64_t stale = count("auth.stale");
    struct site s;
    bool is_proved;

    site_begin(&s);
    secrets = secrets_of(&s, "crayon");
    s.change = &secrets; /* once the exchange knows the verifier that was */
    assert_int_equal(dialogue(&s, "SCRAM-SHA-256", "user", "", "pencil", true, &is_proved), AUTH_FAILED);
    assert_null(s.change);
    assert_false(is_proved);
    assert_int_equal(count("auth.stale"), stale + 1);
    assert_int_equal(dialogue(&s, "SCRAM-SHA-256", "user", "", "crayon", true, &is_proved), AUTH_OK);
    assert_int_equal(count("auth.stale"), stale + 1);
    site_end(&s);
    (void)state;
}

static void auth_delay__grows_by_peer(void **state)
{
    static const struct {
        const char *addr;
        int64_t advance_ms, want_ms;
    } rows[] = {
        { "192.0.2.1:1", 0, 1000 },           { "192.0.2.1:2", 0, 2000 },
        { "192.0.2.2:1", 0, 1000 },           { "192.0.2.1:3", 0, 4000 },
        { "192.0.2.1:3", 0, 8000 },           { "192.0.2.1:3", 0, 8000 },
        { "[::ffff:192.0.2.1]:9", 0, 8000 },  { "[2001:db8::1]:1", 0, 1000 },
        { "[2001:db8::ffff:1]:1", 0, 2000 },  { "[2001:db8:1::1]:1", 0, 1000 },
        { "192.0.2.1:3", 600001, 1000 },
    };
    struct err err = ERR_INIT;
    struct site s;

    site_begin_at(&s, true);
    s.auth_conf.delay_ms = 1000;
    s.auth_conf.plaintext = AUTH_PLAINTEXT_ALWAYS;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned before = s.answers;
        int64_t delayed = count("auth.delayed");

        clock_fake_advance(&s.dir.clock, rows[i].advance_ms);
        assert_int_equal(net_addr_parse(slice_str(rows[i].addr), &s.peer.addr, &err), 0);
        begin(&s, "");
        auth_exchange_password(s.x, SLICE("nobody"), SLICE("x"));
        while (count("auth.delayed") == delayed)
            reactor_turn(s.reactor);
        clock_fake_advance(&s.dir.clock, rows[i].want_ms - 1);
        reactor_kick(s.reactor);
        while (reactor_turn(s.reactor))
            ;
        assert_int_equal(s.answers, before);
        clock_fake_advance(&s.dir.clock, 1);
        reactor_kick(s.reactor);
        while (reactor_turn(s.reactor))
            ;
        if (s.answers != before + 1)
            fail_msg("row %zu: later than %lld ms", i, (long long)rows[i].want_ms);
        assert_int_equal(auth_exchange_result(s.x), AUTH_FAILED);
    }
    /* a success comes at once, though the address failed */
    assert_int_equal(password(&s, "user", "pencil"), AUTH_OK);
    site_end(&s);
    (void)state;
}

static void auth_exchange__destroyed_meanwhile(void **state)
{
    struct site s;
    int64_t delayed;

    site_begin(&s);
    begin(&s, ""); /* on a helper */
    auth_exchange_password(s.x, SLICE("user"), SLICE("pencil"));
    auth_exchange_destroy(&s.x);
    begin(&s, "NONE"); /* a message under way */
    auth_exchange_step(s.x, SLICE_NONE, false);
    auth_exchange_destroy(&s.x);
    s.auth_conf.delay_ms = 60000; /* a timer */
    delayed = count("auth.delayed");
    begin(&s, "");
    auth_exchange_password(s.x, SLICE("user"), SLICE("wrong"));
    while (count("auth.delayed") == delayed)
        reactor_turn(s.reactor);
    auth_exchange_destroy(&s.x);
    begin(&s, "SCRAM-SHA-256"); /* in the middle */
    assert_int_equal(step(&s, SLICE("n,,n=user,r=abcdefgh")), AUTH_CONTINUE);
    auth_exchange_destroy(&s.x);
    assert_int_equal(s.answers, 1);
    site_end(&s);
    assert_int_equal(s.answers, 1);
    (void)state;
}

static void auth_counters__by_service(void **state)
{
    static const struct {
        const char *service, *ok, *failed;
    } rows[] = {
        { "smtp", "auth.ok_smtp", "auth.failed_smtp" },
        { "imap", "auth.ok_imap", "auth.failed_imap" },
        { "pop", "auth.ok_pop", "auth.failed_pop" },
        { "other", "auth.ok_other", "auth.failed_other" },
    };
    struct site s;

    site_begin(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ok = count(rows[i].ok), failed = count(rows[i].failed);

        s.peer.service = rows[i].service;
        password(&s, "user", "pencil");
        password(&s, "user", "pen");
        password(&s, "nobody", "pen");
        assert_int_equal(count(rows[i].ok), ok + 1);
        assert_int_equal(count(rows[i].failed), failed + 2);
    }
    site_end(&s);
    (void)state;
}

/* --- many at once (for the thread sanitizer) ---------------------------------------------------------------------- */

#define CROWD 24u
struct crowd {
    struct site *s;
    unsigned left;
};
static void on_crowd(void *arg, uint64_t session, struct auth_exchange *x)
{
    struct crowd *c = arg;

    assert_int_equal(auth_exchange_result(x), session % 3 == 0 ? AUTH_OK : AUTH_FAILED);
    if (--c->left == 0)
        reactor_stop(c->s->reactor);
}

static void auth_exchange__many_at_once(void **state)
{
    struct auth_exchange *x[CROWD];
    struct site s;
    struct crowd c = { &s, CROWD };

    site_begin(&s);
    for (unsigned i = 0; i < CROWD; i++) {
        x[i] = auth_exchange_new(s.auth, &s.conf, &s.peer, SLICE("PLAIN"), s.reactor, i, on_crowd, &c);
        auth_exchange_step(x[i], i % 3 == 0   ? slice_of("\0user\0pencil", 12)
                                 : i % 3 == 1 ? slice_of("\0user\0pencix", 12)
                                              : slice_of("\0usex\0pencil", 12),
                           true);
    }
    while (c.left > 0)
        reactor_run(s.reactor);
    for (unsigned i = 0; i < CROWD; i++)
        auth_exchange_destroy(&x[i]);
    site_end(&s);
    (void)state;
}

static int group_begin(void **state)
{
    static const sasl_callback_t none[] = { { SASL_CB_LIST_END, NULL, NULL } };

    (void)state;
    return sasl_client_init(none) == SASL_OK ? 0 : -1;
}

static int group_end(void **state)
{
    (void)state;
    sasl_client_done();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auth_password__results),
        cmocka_unit_test(auth_password__octets),
        cmocka_unit_test(auth_secrets__rules),
        cmocka_unit_test(auth_sasl__mechanisms),
        cmocka_unit_test(auth_sasl__channel_binding),
        cmocka_unit_test(auth_sasl__login_by_hand),
        cmocka_unit_test(auth_sasl__malformed),
        cmocka_unit_test(auth_scram__unknown_users_have_a_salt),
        cmocka_unit_test(auth_mechanisms__offered),
        cmocka_unit_test(auth_waiting__is_bounded),
        cmocka_unit_test(auth_delay__grows_by_peer),
        cmocka_unit_test(auth_exchange__stale_is_refused),
        cmocka_unit_test(auth_exchange__destroyed_meanwhile),
        cmocka_unit_test(auth_counters__by_service),
        cmocka_unit_test(auth_exchange__many_at_once),
    };

    return cmocka_run_group_tests(tests, group_begin, group_end);
}
