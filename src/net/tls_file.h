/* tls_file.h - reading the files that TLS is made of: certificates and keys, in whole. */
#ifndef NET_TLS_FILE_H
#define NET_TLS_FILE_H

#include "base/buf.h"
#include "base/err.h"

#define TLS_FILE_MAX_BYTES (1024u * 1024)

struct spawner;

/* A relative path is looked up in dir. The spawner, if there is one, opens it with its privileges. */
int tls_file_read(struct spawner *sp, const char *dir, slice path, struct buf *out, struct err *err);

#endif
