#include "route/short.h"

#include "base/buf.h"
#include "base/err.h"

#define DOMAIN_OCTETS_MAX 255 /* RFC 1035 2.3.4 */
#define LABEL_OCTETS_MAX 63   /* RFC 1035 2.3.4 */
#define PORT_MAX 65535
#define UNIX_PATH_MAX 107

static bool is_domain(slice name)
{
    if (name.len == 0 || name.len > DOMAIN_OCTETS_MAX)
        return false;
    for (bool more = true; more;) {
        slice label = slice_cut(&name, '.', &more);

        if (label.len == 0 || label.len > LABEL_OCTETS_MAX || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
            return false;
        for (size_t i = 0; i < label.len; i++)
            if (!ascii_is_alnum(label.ptr[i]) && label.ptr[i] != '-' && label.ptr[i] != '_')
                return false;
    }
    return true;
}

static bool is_pattern(slice p)
{
    if (slice_eq(p, SLICE("*")))
        return true;
    return is_domain(slice_starts(p, SLICE("*.")) ? slice_from(p, 2) : p);
}

/* Address characters only: whether it is a good address is found out by who connects, with its own reason. */
static bool is_address(slice a)
{
    bool has_separator = false;

    for (size_t i = 0; i < a.len; i++) {
        unsigned char c = ascii_lower(a.ptr[i]);

        if (!ascii_is_digit(c) && !(c >= 'a' && c <= 'f') && c != '.' && c != ':')
            return false;
        has_separator |= c == '.' || c == ':';
    }
    return has_separator;
}

/* [":" port] */
static bool port_parse(slice rest, uint16_t *port)
{
    uint32_t n;

    *port = 0;
    if (rest.len == 0)
        return true;
    if (rest.ptr[0] != ':' || !slice_u32(slice_from(rest, 1), &n) || n == 0 || n > PORT_MAX)
        return false;
    *port = (uint16_t)n;
    return true;
}

static bool host_parse(slice text, struct route_short *out)
{
    ssize_t end;

    if (text.len > 0 && text.ptr[0] == '/') {
        out->is_path = true;
        out->host = text;
        return out->channel == ROUTE_LMTP && text.len <= UNIX_PATH_MAX;
    }
    if (text.len > 0 && text.ptr[0] == '[') {
        end = slice_find_byte(text, ']');
        if (end < 0)
            return false;
        out->host = slice_sub(text, 1, (size_t)end - 1);
        out->is_literal = true;
        return is_address(out->host) && port_parse(slice_from(text, (size_t)end + 1), &out->port);
    }
    end = slice_find_byte(text, ':');
    out->host = end < 0 ? text : slice_sub(text, 0, (size_t)end);
    return is_domain(out->host) && port_parse(slice_from(text, out->host.len), &out->port);
}

int route_short_parse(slice pattern, slice destination, struct route_short *out, struct err *err)
{
    static const struct {
        slice word;
        enum route_channel channel;
    } channels[] = { { { (const unsigned char *)"smtp", 4 }, ROUTE_SMTP },
                     { { (const unsigned char *)"lmtp", 4 }, ROUTE_LMTP } };
    slice rest = destination;
    bool found = false;
    slice word = slice_cut(&rest, ':', &found);

    *out = (struct route_short){ .pattern = pattern };
    if (!is_pattern(pattern))
        return err_set(err, ERR_SYNTAX, "found \"%.*s\"; expected a domain, \"*.domain\" or \"*\"",
                       SLICE_ARG(slice_sub(pattern, 0, 80)));
    for (size_t i = 0; found && i < ARRAY_LEN(channels); i++)
        if (slice_eq(word, channels[i].word)) {
            out->channel = channels[i].channel;
            if (host_parse(rest, out))
                return 0;
        }
    return err_set(err, ERR_SYNTAX,
                   "found \"%.*s\"; expected \"smtp:HOST:PORT\" or \"lmtp:HOST:PORT\" (HOST a name or [address], :PORT "
                   "optional) or \"lmtp:/path\"",
                   SLICE_ARG(slice_sub(destination, 0, 80)));
}

static bool row_read(const json_t *row, size_t at, struct route_short *out, keys_report_fn *report, void *arg)
{
    struct err err = ERR_INIT;
    const json_t *first = json_array_get(row, 0), *second = json_array_get(row, 1);
    struct buf pointer = BUF_INIT;
    bool is_good = false;

    buf_printf(&pointer, "/routes/%zu", at);
    if (!json_is_array(row) || json_array_size(row) != 2 || !json_is_string(first) || !json_is_string(second))
        err_set(&err, ERR_SYNTAX, "expected a pair of strings: [domain, destination]");
    else
        is_good = route_short_parse(json_str(first), json_str(second), out, &err) == 0;
    if (!is_good && report != NULL)
        report(arg, buf_str(&pointer), err.text);
    buf_free(&pointer);
    return is_good;
}

unsigned route_short_read(const json_t *routes, struct routes_conf *out, struct arena *mem, keys_report_fn *report,
                          void *arg)
{
    unsigned errors = 0;

    *out = (struct routes_conf){ NULL, 0 };
    if (routes == NULL)
        return 0;
    if (!json_is_array(routes)) {
        if (report != NULL)
            report(arg, "/routes", "expected an array of pairs: [[domain, destination], …]");
        return 1;
    }
    if (json_array_size(routes) == 0)
        return 0;
    out->rows = arena_alloc_array(mem, json_array_size(routes), sizeof *out->rows);
    for (size_t i = 0; i < json_array_size(routes); i++)
        if (row_read(json_array_get(routes, i), i, &out->rows[out->count], report, arg))
            out->count++;
        else
            errors++;
    return errors;
}
