/* tls.h - TLS over mbedTLS: contexts with certificates, and the state of one connection, of either side.
 *
 * Model:    a context is made of the configuration, immutable and counted; a reload makes a new one. One connection
 *           works on memory: octets from the wire are offered, octets for the wire are taken, so that a handshake can
 *           run on a helper thread while nobody touches the socket. Afterwards records are read and written on the
 *           reactor through the same calls.
 *           A client's side begins with a tls_trust, which is cheap: the certificates in tls.trust_file are read at the
 *           first connection, so that a server that sends no mail never pays for them.
 * Threads:  a context or trust from any; a connection from one thread at a time.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/buf.h"
#include "base/err.h"
#include "net/conf.h"

struct tls_context;
struct tls_stream;
struct spawner;

struct tls_setup {
    const struct tls_conf *conf;
    const char *dir;         /* DIR: for the default files */
    struct spawner *spawner; /* opens the files; NULL: they are opened here */
    struct tls_context *old; /* its ticket keys go on; NULL: none */
};

/* NULL and err: no certificate could be read. */
OWNED struct tls_context *tls_context_new(const struct tls_setup *setup, struct err *err);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context **c); /* NULL allowed */

OWNED struct tls_stream *tls_stream_new(struct tls_context *c); /* NULL: no memory */
void tls_stream_destroy(struct tls_stream **t);

enum tls_result { TLS_DONE, TLS_MORE, TLS_CLOSED, TLS_BROKEN };

struct buf *tls_stream_wire_in(struct tls_stream *t);  /* append what came; used up by the calls below */
struct buf *tls_stream_wire_out(struct tls_stream *t); /* to be sent by the caller, then dropped from the front */
enum tls_result tls_stream_handshake(struct tls_stream *t);
enum tls_result tls_stream_read(struct tls_stream *t, struct buf *out, uint64_t *bytes); /* all there is */
enum tls_result tls_stream_write(struct tls_stream *t, slice s);   /* all of s becomes records in wire_out */
void tls_stream_close_notify(struct tls_stream *t);
const char *tls_stream_version(const struct tls_stream *t);
const char *tls_stream_cipher(const struct tls_stream *t);
const char *tls_stream_error(const struct tls_stream *t); /* of the last TLS_BROKEN; static text */

/* --- the client's side -------------------------------------------------------------------------------------------- */

struct tls_trust;

OWNED struct tls_trust *tls_trust_new(const struct tls_conf *conf); /* NULL: the defaults */
struct tls_trust *tls_trust_ref(struct tls_trust *t);
void tls_trust_unref(struct tls_trust **t); /* NULL allowed */
/* server_name: see net/client.h. May read files: not for a reactor. NULL and err. */
OWNED struct tls_stream *tls_stream_client(struct tls_trust *t, slice server_name, bool must_verify, struct err *err);
const char *tls_stream_doubt(const struct tls_stream *t); /* why the peer's certificate is not believed; NULL: it is */

const char *tls_library(void); /* name and version, for people */

#endif
