/* tls_internal.h - what tls.c (both sides, the server's contexts) and tls_client.c share. */
#ifndef NET_TLS_INTERNAL_H
#define NET_TLS_INTERNAL_H

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>

#include "base/arena.h"
#include "base/snap.h"
#include "net/tls.h"

/* Random numbers and ticket keys live on over reloads. Each locks itself (MBEDTLS_THREADING_C). */
struct tls_keys {
    struct snap snap; /* first */
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_ssl_ticket_context tickets;
};

struct tls_cert {
    slice name; /* "mail.example.org", "*.example.org"; empty: the default one */
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
};

/* shared, immutable */
struct tls_context {
    struct snap snap; /* first */
    struct tls_keys *keys;
    mbedtls_ssl_config config;
    struct arena mem;
    struct tls_cert *certs; /* [0] is the default */
    size_t cert_count;
    bool is_client;
    mbedtls_x509_crt trust; /* of clients: whose certificates are believed */
};

/* owner: the session's worker, or the helper that runs its handshake */
struct tls_stream {
    struct tls_context *context;
    mbedtls_ssl_context ssl;
    struct buf wire_in, wire_out;
    size_t wire_at; /* octets of wire_in already used */
    char error[96];
    /* of clients */
    bool must_verify, has_name;
    char doubt[96]; /* why the certificate is not believed; empty: it is */
};

/* An empty context with keys (those of old, if there is one); its config is for its owner to fill. NULL and err. */
struct tls_context *tls_context_make(struct tls_context *old, struct err *err);
int tls_config_common(struct tls_context *c, int endpoint, uint32_t min_version, struct err *err);
int tls_error(struct err *err, int code, const char *what); /* -1 */
void tls_client_judge(struct tls_stream *t); /* after the handshake: fills doubt */

#endif
