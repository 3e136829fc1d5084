/* tls_make.h - a certificate of our own, so that a fresh server has TLS before its owner has bought or fetched one. */
#ifndef NET_TLS_MAKE_H
#define NET_TLS_MAKE_H

#include "base/err.h"

/* Self-signed, ECDSA P-256, 10 years, for hostname (1 to 253 octets). Writes both PEM files anew, the key for its owner
 * only; their directories exist. */
int tls_self_signed(const char *hostname, const char *cert_path, const char *key_path, struct err *err);

#endif
