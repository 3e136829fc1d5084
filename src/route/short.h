/* short.h - "routes": the short form of a rewrite rule and a channel, [["example.net", "smtp:[10.0.0.9]:25"]].
 *
 * Model:    a row is a domain pattern and where its mail goes: "CHANNEL:HOST[:PORT]", host being a name or an address
 *           in brackets, or "lmtp:/path" for a unix socket. Patterns: "example.net", "*.example.net" (what lies
 *           below, not
 *           itself), "*" (everything else). The first row that matches counts. Pure; slices point into the document.
 * Errors:   all of them go to report; the number of errors is returned.
 */
#ifndef ROUTE_SHORT_H
#define ROUTE_SHORT_H

#include "base/arena.h"
#include "base/json.h"
#include "base/keys.h"
#include "base/slice.h"

enum route_channel { ROUTE_SMTP, ROUTE_LMTP };

struct route_short {
    slice pattern;
    enum route_channel channel;
    slice host;       /* name, or address without brackets, or path of a unix socket */
    bool is_literal;  /* host is an address */
    bool is_path;
    uint16_t port;    /* 0: the channel's own */
};

struct routes_conf {
    struct route_short *rows;
    size_t count;
};

unsigned route_short_read(const json_t *routes, struct routes_conf *out, struct arena *mem, keys_report_fn *report,
                          void *arg);
/* One destination. Returns 0 or -1 with what was expected. */
int route_short_parse(slice pattern, slice destination, struct route_short *out, struct err *err);

#endif
