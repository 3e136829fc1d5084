#include "net/tls.h"

#include <mbedtls/error.h>
#include <psa/crypto.h>

#include "base/diag.h"
#include "base/mem.h"
#include "net/internal.h"
#include "net/tls_file.h"
#include "net/tls_internal.h"

#define TICKET_LIFETIME_S 43200 /* then a new key; the one before is still understood */
#define TICKETS_PER_HANDSHAKE 1
#define READ_ROOM 4096

/* Fast in hardware first: AES-GCM where the processor knows AES, else ChaCha20. */
static const int suites_aes[] = {
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
    0,
};
static const int suites_chacha[] = {
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
    0,
};

static bool has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") != 0;
#else
    return true; /* current ARM processors have it */
#endif
}

int tls_error(struct err *err, int code, const char *what)
{
    char text[96];

    mbedtls_strerror(code, text, sizeof text);
    return err_set(err, ERR_PERM, "%s: %s", what, text);
}

/* --- contexts ----------------------------------------------------------------------------------------------------- */

static void keys_destroy(struct snap *snap)
{
    struct tls_keys *k = CONTAINER_OF(snap, struct tls_keys, snap);

    mbedtls_ssl_ticket_free(&k->tickets);
    mbedtls_ctr_drbg_free(&k->random);
    mbedtls_entropy_free(&k->entropy);
    mem_free(k);
}

static struct tls_keys *keys_new(struct err *err)
{
    struct tls_keys *k = mem_alloc(sizeof *k);
    int rc;

    snap_init(&k->snap, keys_destroy);
    mbedtls_entropy_init(&k->entropy);
    mbedtls_ctr_drbg_init(&k->random);
    mbedtls_ssl_ticket_init(&k->tickets);
    rc = mbedtls_ctr_drbg_seed(&k->random, mbedtls_entropy_func, &k->entropy, NULL, 0);
    if (rc == 0)
        rc = mbedtls_ssl_ticket_setup(&k->tickets, mbedtls_ctr_drbg_random, &k->random, MBEDTLS_CIPHER_AES_256_GCM,
                                      TICKET_LIFETIME_S);
    if (rc == 0)
        return k;
    tls_error(err, rc, "keys of TLS");
    snap_unref(&k->snap);
    return NULL;
}

static void context_destroy(struct snap *snap)
{
    struct tls_context *c = CONTAINER_OF(snap, struct tls_context, snap);

    mbedtls_ssl_config_free(&c->config);
    for (size_t i = 0; i < c->cert_count; i++) {
        mbedtls_x509_crt_free(&c->certs[i].chain);
        mbedtls_pk_free(&c->certs[i].key);
    }
    arena_free(&c->mem);
    if (c->is_client)
        mbedtls_x509_crt_free(&c->trust);
    if (c->keys != NULL)
        snap_unref(&c->keys->snap);
    mem_free(c);
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    return CONTAINER_OF(snap_ref(&c->snap), struct tls_context, snap);
}

void tls_context_unref(struct tls_context **c)
{
    if (*c != NULL)
        snap_unref(&(*c)->snap);
    *c = NULL;
}

static int cert_load(struct tls_context *c, const struct tls_setup *setup, slice name, slice cert, slice key,
                     struct err *err)
{
    struct tls_cert *t = &c->certs[c->cert_count];
    struct buf pem = BUF_INIT, secret = BUF_INIT;
    int rc, result = -1;

    mbedtls_x509_crt_init(&t->chain);
    mbedtls_pk_init(&t->key);
    t->name = slice_dup(&c->mem, name);
    c->cert_count++;
    if (tls_file_read(setup->spawner, setup->dir, cert, &pem, err) < 0 ||
        tls_file_read(setup->spawner, setup->dir, key, &secret, err) < 0)
        goto out;
    rc = mbedtls_x509_crt_parse(&t->chain, (const unsigned char *)buf_str(&pem), pem.len + 1);
    if (rc != 0) {
        if (rc > 0)
            err_set(err, ERR_PERM, "%d certificates of the file are not valid", rc);
        else
            tls_error(err, rc, "not a certificate");
        err_prefix(err, "%.*s", SLICE_ARG(cert));
        goto out;
    }
    rc = mbedtls_pk_parse_key(&t->key, (const unsigned char *)buf_str(&secret), secret.len + 1, NULL, 0,
                              mbedtls_ctr_drbg_random, &c->keys->random);
    if (rc == 0)
        rc = mbedtls_pk_check_pair(&t->chain.pk, &t->key, mbedtls_ctr_drbg_random, &c->keys->random);
    if (rc != 0) {
        tls_error(err, rc, "not the key of the certificate");
        err_prefix(err, "%.*s", SLICE_ARG(key));
        goto out;
    }
    result = 0;
out:
    if (secret.ptr != NULL)
        mem_wipe(secret.ptr, secret.cap);
    buf_free(&secret);
    buf_free(&pem);
    return result;
}

/* "name=cert.pem,key.pem" */
static int sni_load(struct tls_context *c, const struct tls_setup *setup, slice text, struct err *err)
{
    bool has_name, has_key;
    slice rest = text;
    const slice name = slice_cut(&rest, '=', &has_name);
    const slice cert = slice_cut(&rest, ',', &has_key);

    if (!has_name || !has_key || name.len == 0 || cert.len == 0 || rest.len == 0)
        return err_set(err, ERR_SYNTAX, "tls.sni: write \"name=cert.pem,key.pem\", not \"%.*s\"", SLICE_ARG(text));
    return cert_load(c, setup, name, cert, rest, err);
}

/* RFC 9525 6.3: a wildcard stands for exactly one label. */
static bool name_matches(slice pattern, slice name)
{
    if (!slice_starts(pattern, SLICE("*.")))
        return slice_eq_nocase(pattern, name);
    const ssize_t dot = slice_find_byte(name, '.');
    return dot > 0 && slice_eq_nocase(slice_from(pattern, 2), slice_from(name, (size_t)dot + 1));
}

static int on_sni(void *arg, mbedtls_ssl_context *ssl, const unsigned char *ptr, size_t len)
{
    struct tls_context *c = arg;

    for (size_t i = 1; i < c->cert_count; i++) {
        if (name_matches(c->certs[i].name, slice_of(ptr, len)))
            return mbedtls_ssl_set_hs_own_cert(ssl, &c->certs[i].chain, &c->certs[i].key);
    }
    return 0; /* the default certificate: mail clients often ask for a name we do not know */
}

/* A session is resumed by the ticket that its client kept; nothing is remembered here. */
static int on_ticket(void *arg, mbedtls_ssl_session *session, unsigned char *ticket, size_t len)
{
    const int rc = mbedtls_ssl_ticket_parse(arg, session, ticket, len);

    if (rc == 0)
        counter_add(&net_counters[NC_TLS_RESUMED], 1);
    return rc;
}

int tls_config_common(struct tls_context *c, int endpoint, uint32_t min_version, struct err *err)
{
    mbedtls_ssl_config *m = &c->config;
    const int rc = mbedtls_ssl_config_defaults(m, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);

    if (rc != 0)
        return tls_error(err, rc, "setting up TLS");
    mbedtls_ssl_conf_rng(m, mbedtls_ctr_drbg_random, &c->keys->random);
    mbedtls_ssl_conf_ciphersuites(m, has_aes() ? suites_aes : suites_chacha);
    mbedtls_ssl_conf_min_tls_version(m, min_version == 1 ? MBEDTLS_SSL_VERSION_TLS1_3 : MBEDTLS_SSL_VERSION_TLS1_2);
    return 0;
}

static int config_fill(struct tls_context *c, const struct tls_conf *conf, struct err *err)
{
    mbedtls_ssl_config *m = &c->config;

    if (tls_config_common(c, MBEDTLS_SSL_IS_SERVER, conf->min_version, err) < 0)
        return -1;
    const int rc = mbedtls_ssl_conf_own_cert(m, &c->certs[0].chain, &c->certs[0].key);
    if (rc != 0)
        return tls_error(err, rc, "setting up TLS");
    mbedtls_ssl_conf_sni(m, on_sni, c);
    if (conf->tickets) {
        mbedtls_ssl_conf_session_tickets_cb(m, mbedtls_ssl_ticket_write, on_ticket, &c->keys->tickets);
        mbedtls_ssl_conf_new_session_tickets(m, TICKETS_PER_HANDSHAKE);
    }
    return 0;
}

struct tls_context *tls_context_make(struct tls_context *old, struct err *err)
{
    struct tls_context *c;

    if (psa_crypto_init() != PSA_SUCCESS) {
        err_set(err, ERR_TEMP, "the crypto library cannot be initialised");
        return NULL;
    }
    c = mem_alloc(sizeof *c);
    snap_init(&c->snap, context_destroy);
    mbedtls_ssl_config_init(&c->config);
    arena_init(&c->mem, 512);
    if (old != NULL)
        c->keys = CONTAINER_OF(snap_ref(&old->keys->snap), struct tls_keys, snap);
    else
        c->keys = keys_new(err);
    if (c->keys == NULL)
        tls_context_unref(&c);
    return c;
}

struct tls_context *tls_context_new(const struct tls_setup *setup, struct err *err)
{
    const struct tls_conf *conf = setup->conf;
    struct tls_context *c = tls_context_make(setup->old, err);
    bool is_ok = false;

    if (c == NULL)
        return NULL;
    c->certs = arena_alloc_array(&c->mem, conf->sni.count + 1, sizeof *c->certs);
    const slice cert = conf->certificate.len > 0 ? conf->certificate : SLICE("tls/cert.pem");
    const slice key = conf->key.len > 0               ? conf->key
                      : conf->certificate.len > 0     ? conf->certificate /* both in one file */
                                                      : SLICE("tls/key.pem");
    if (cert_load(c, setup, SLICE_NONE, cert, key, err) < 0)
        goto out;
    for (size_t i = 0; i < conf->sni.count; i++) {
        if (sni_load(c, setup, conf->sni.items[i], err) < 0)
            goto out;
    }
    is_ok = config_fill(c, conf, err) == 0;
out:
    if (!is_ok)
        tls_context_unref(&c);
    return c;
}

/* --- one connection ----------------------------------------------------------------------------------------------- */

static int wire_send(void *arg, const unsigned char *ptr, size_t len)
{
    struct tls_stream *t = arg;

    buf_put(&t->wire_out, ptr, len);
    return (int)len;
}

static int wire_recv(void *arg, unsigned char *to, size_t len)
{
    struct tls_stream *t = arg;
    const slice part = slice_sub(buf_slice(&t->wire_in), t->wire_at, len);

    if (part.len == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(to, part.ptr, part.len);
    t->wire_at += part.len;
    if (t->wire_at == t->wire_in.len) {
        buf_free(&t->wire_in);
        t->wire_at = 0;
    }
    return (int)part.len;
}

struct tls_stream *tls_stream_new(struct tls_context *c)
{
    struct tls_stream *t = mem_alloc(sizeof *t);

    t->context = tls_context_ref(c);
    mbedtls_ssl_init(&t->ssl);
    mbedtls_ssl_set_bio(&t->ssl, t, wire_send, wire_recv, NULL);
    if (mbedtls_ssl_setup(&t->ssl, &c->config) != 0)
        tls_stream_destroy(&t);
    return t;
}

void tls_stream_destroy(struct tls_stream **tp)
{
    struct tls_stream *t = *tp;

    if (t == NULL)
        return;
    mbedtls_ssl_free(&t->ssl);
    buf_free(&t->wire_in);
    buf_free(&t->wire_out);
    tls_context_unref(&t->context);
    mem_free(t);
    *tp = NULL;
}

struct buf *tls_stream_wire_in(struct tls_stream *t)
{
    return &t->wire_in;
}

struct buf *tls_stream_wire_out(struct tls_stream *t)
{
    return &t->wire_out;
}

static enum tls_result result_of(struct tls_stream *t, int rc)
{
    if (rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE)
        return TLS_MORE;
    if (rc == 0 || rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || rc == MBEDTLS_ERR_SSL_CONN_EOF)
        return TLS_CLOSED;
    mbedtls_strerror(rc, t->error, sizeof t->error);
    return TLS_BROKEN;
}

enum tls_result tls_stream_handshake(struct tls_stream *t)
{
    const int rc = mbedtls_ssl_handshake(&t->ssl);

    if (rc != 0)
        return result_of(t, rc);
    if (!t->context->is_client)
        return TLS_DONE;
    tls_client_judge(t);
    if (!t->must_verify || t->doubt[0] == '\0')
        return TLS_DONE;
    snprintf(t->error, sizeof t->error, "%s", t->doubt);
    mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_BAD_CERT);
    return TLS_BROKEN;
}

enum tls_result tls_stream_read(struct tls_stream *t, struct buf *out, uint64_t *bytes)
{
    *bytes = 0;
    for (;;) {
        buf_reserve(out, READ_ROOM);
        const int rc = mbedtls_ssl_read(&t->ssl, out->ptr + out->len, out->cap - out->len);
        if (rc == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
            continue; /* a client that does not resume */
        if (rc <= 0)
            return result_of(t, rc);
        out->len += (size_t)rc;
        *bytes += (size_t)rc;
    }
}

enum tls_result tls_stream_write(struct tls_stream *t, slice s)
{
    while (s.len > 0) {
        const int rc = mbedtls_ssl_write(&t->ssl, s.ptr, s.len);
        if (rc <= 0)
            return result_of(t, rc);
        s = slice_from(s, (size_t)rc);
    }
    return TLS_DONE;
}

void tls_stream_close_notify(struct tls_stream *t)
{
    mbedtls_ssl_close_notify(&t->ssl); /* cannot fail: it writes to memory */
}

const char *tls_library(void)
{
    return MBEDTLS_VERSION_STRING_FULL;
}

const char *tls_stream_version(const struct tls_stream *t)
{
    return mbedtls_ssl_get_version(&t->ssl);
}

const char *tls_stream_cipher(const struct tls_stream *t)
{
    return mbedtls_ssl_get_ciphersuite(&t->ssl);
}

const char *tls_stream_error(const struct tls_stream *t)
{
    return t->error[0] != '\0' ? t->error : "the peer closed the connection";
}
