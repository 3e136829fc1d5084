/* http.h - a small, strict HTTP server for pages that programs fetch: today the metrics.
 *
 * Model:    HTTP/1.0 and 1.1 (RFC 9112), one request a connection, GET only. A request is read whole, then its page is
 *           made on a helper, so that making it may wait. Everything else is refused: 400 what is malformed or has a
 *           body, 404 unknown paths, 405 other methods, 431 too much header, 503 no helper free, 505 other versions.
 * Threads:  sessions live on their worker; http_page.make is called on a helper.
 * Limits:   a line HTTP_LINE_MAX octets, HTTP_FIELDS_MAX header fields, HTTP_TIMEOUT_MS for the whole request.
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/buf.h"
#include "net/session.h"

#define HTTP_LINE_MAX 4096u
#define HTTP_FIELDS_MAX 64u
#define HTTP_TIMEOUT_MS 10000u

struct http_page {
    const char *path; /* "/metrics" */
    const char *type; /* Content-Type */
    /* conf: the set that is in effect. */
    void (*make)(void *arg, struct conf_set *conf, struct buf *out);
    void *arg;
};

/* The service of net_server_protocol; lives as long as the server. */
struct http_service {
    const struct http_page *pages;
    unsigned page_count;
};

extern const struct protocol http_metrics_protocol; /* "metrics" */
void http_counters_register(void);

/* --- syntax: pure ------------------------------------------------------------------------------------------------- */

struct http_request {
    slice method, path; /* path: without the query */
    unsigned minor;     /* HTTP/1.minor */
    unsigned fields, hosts;
    bool has_body;
};
/* The status to refuse it with, or 0. Lines come without their CRLF; slices point into the line. */
unsigned http_request_line(slice line, struct http_request *out);
unsigned http_field_line(slice line, struct http_request *r);
unsigned http_request_end(const struct http_request *r); /* after the empty line */

#endif
