/* The client's side of TLS: whom to believe, and what came out. */
#include <mbedtls/error.h>
#include <pthread.h>
#include <stdio.h>

#include "base/diag.h"
#include "base/mem.h"
#include "net/tls_file.h"
#include "net/tls_internal.h"

#define TRUST_FILE "/etc/ssl/certs/ca-certificates.crt"
#define NAME_MAX_OCTETS 255 /* RFC 1035 2.3.4 */

/* shared; immutable but for what is loaded once under the lock */
struct tls_trust {
    struct snap snap; /* first */
    char *file;
    pthread_mutex_t lock; /* lock rank 45: context, held while the file is read, by helpers only */
    struct tls_context *context;
};

static void trust_destroy(struct snap *snap)
{
    struct tls_trust *t = CONTAINER_OF(snap, struct tls_trust, snap);

    tls_context_unref(&t->context);
    pthread_mutex_destroy(&t->lock);
    mem_free(t->file);
    mem_free(t);
}

struct tls_trust *tls_trust_new(const struct tls_conf *conf)
{
    struct tls_trust *t = mem_alloc(sizeof *t);

    snap_init(&t->snap, trust_destroy);
    pthread_mutex_init(&t->lock, NULL);
    t->file = mem_slice_str(conf != NULL ? conf->trust_file : SLICE(TRUST_FILE));
    return t;
}

struct tls_trust *tls_trust_ref(struct tls_trust *t)
{
    return CONTAINER_OF(snap_ref(&t->snap), struct tls_trust, snap);
}

void tls_trust_unref(struct tls_trust **t)
{
    if (*t != NULL)
        snap_unref(&(*t)->snap);
    *t = NULL;
}

/* Single certificates that cannot be read are passed over, as browsers do. Without any, nobody is valid, which only
 * those notice who ask for it. */
static void trust_read(struct tls_context *c, const char *file)
{
    struct buf pem = BUF_INIT;
    struct err err = ERR_INIT;
    int rc = 0;

    if (file[0] == '\0')
        return;
    if (tls_file_read(NULL, NULL, slice_str(file), &pem, &err) == 0) {
        rc = mbedtls_x509_crt_parse(&c->trust, (const unsigned char *)buf_str(&pem), pem.len + 1);
        if (rc < 0)
            tls_error(&err, rc, file);
    }
    buf_free(&pem);
    if (err.kind != ERR_NONE)
        diag_warn("net", "tls.trust_file: no certificate of a peer can be verified: %s", err.text);
    else
        mbedtls_ssl_conf_ca_chain(&c->config, &c->trust, NULL);
}

static struct tls_context *context_load(const char *file, struct err *err)
{
    struct tls_context *c = tls_context_make(NULL, err);

    if (c == NULL)
        return NULL;
    c->is_client = true;
    mbedtls_x509_crt_init(&c->trust);
    if (tls_config_common(c, MBEDTLS_SSL_IS_CLIENT, 0, err) < 0) {
        tls_context_unref(&c);
        return NULL;
    }
    /* The handshake goes on whatever the certificate says: tls_client_judge decides, or only records. */
    mbedtls_ssl_conf_authmode(&c->config, MBEDTLS_SSL_VERIFY_OPTIONAL);
    mbedtls_ssl_conf_session_tickets(&c->config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    trust_read(c, file);
    return c;
}

static struct tls_context *trust_context(struct tls_trust *t, struct err *err)
{
    struct tls_context *c;

    pthread_mutex_lock(&t->lock);
    if (t->context == NULL)
        t->context = context_load(t->file, err);
    c = t->context;
    pthread_mutex_unlock(&t->lock);
    return c;
}

/* RFC 6066 3: a host name without a dot at the end, not an address. */
static bool name_copy(slice name, char to[NAME_MAX_OCTETS + 1])
{
    if (name.len > 0 && name.ptr[name.len - 1] == '.')
        name.len--;
    if (name.len == 0 || name.len > NAME_MAX_OCTETS || slice_find_byte(name, '\0') >= 0)
        return false;
    snprintf(to, NAME_MAX_OCTETS + 1, "%.*s", SLICE_ARG(name));
    return true;
}

struct tls_stream *tls_stream_client(struct tls_trust *trust, slice server_name, bool must_verify, struct err *err)
{
    struct tls_context *c = trust_context(trust, err);
    struct tls_stream *t = c != NULL ? tls_stream_new(c) : NULL;
    char name[NAME_MAX_OCTETS + 1];

    if (t == NULL) {
        if (c != NULL)
            err_set(err, ERR_TEMP, "out of memory");
        return NULL;
    }
    t->must_verify = must_verify;
    t->has_name = name_copy(server_name, name);
    const int rc = mbedtls_ssl_set_hostname(&t->ssl, t->has_name ? name : NULL);
    if (rc != 0) {
        tls_error(err, rc, "server name");
        tls_stream_destroy(&t);
    }
    return t;
}

void tls_client_judge(struct tls_stream *t)
{
    const uint32_t flags = mbedtls_ssl_get_verify_result(&t->ssl);
    char text[512] = "";

    t->doubt[0] = '\0';
    if (flags == 0 && t->has_name)
        return;
    if (flags == 0)
        snprintf(text, sizeof text, "the peer has no name to verify");
    else if (mbedtls_x509_crt_verify_info(text, sizeof text, "", flags) <= 0)
        snprintf(text, sizeof text, "the certificate is not valid");
    snprintf(t->doubt, sizeof t->doubt, "%.*s", (int)strcspn(text, "\n"), text); /* of several reasons the first */
}

const char *tls_stream_doubt(const struct tls_stream *t)
{
    return t->doubt[0] != '\0' ? t->doubt : NULL;
}
