/* syntax.c - request lines and header fields, RFC 9112. Pure. */
#include "http/http.h"

/* RFC 9110 5.6.2 */
static bool is_token(slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alnum(s.ptr[i]) && slice_find_byte(SLICE("!#$%&'*+-.^_`|~"), s.ptr[i]) < 0)
            return false;
    return s.len != 0;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* request-line = method SP request-target SP HTTP-version. Only the origin form of the target is served. */
unsigned http_request_line(slice line, struct http_request *out)
{
    slice rest = line, target, version;
    bool has_query;

    *out = (struct http_request){ .method = slice_cut(&rest, ' ', NULL) };
    target = slice_cut(&rest, ' ', NULL);
    version = rest;
    if (!is_token(out->method) || target.len == 0 || target.ptr[0] != '/')
        return 400;
    for (size_t i = 0; i < target.len; i++)
        if (target.ptr[i] <= ' ' || target.ptr[i] >= 127)
            return 400;
    if (version.len != 8 || !slice_starts(version, SLICE("HTTP/")) || !is_digit(version.ptr[5]) ||
        version.ptr[6] != '.' || !is_digit(version.ptr[7]))
        return 400;
    if (version.ptr[5] != '1')
        return 505;
    out->minor = (unsigned)(version.ptr[7] - '0');
    out->path = slice_cut(&target, '?', &has_query);
    return 0;
}

/* field-line = field-name ":" OWS field-value OWS; folded ones are obsolete and refused, as 5.2 allows. */
unsigned http_field_line(slice line, struct http_request *r)
{
    ssize_t colon = slice_find_byte(line, ':');
    slice name, value;

    if (++r->fields > HTTP_FIELDS_MAX)
        return 431;
    if (colon < 0)
        return 400;
    name = slice_sub(line, 0, (size_t)colon);
    value = slice_trim(slice_from(line, (size_t)colon + 1));
    if (!is_token(name))
        return 400;
    for (size_t i = 0; i < value.len; i++)
        if ((value.ptr[i] < ' ' && value.ptr[i] != '\t') || value.ptr[i] == 127)
            return 400;
    r->hosts += slice_eq_nocase(name, SLICE("Host"));
    if (slice_eq_nocase(name, SLICE("Transfer-Encoding")) ||
        (slice_eq_nocase(name, SLICE("Content-Length")) && !slice_eq(value, SLICE("0"))))
        r->has_body = true;
    return 0;
}

/* RFC 9112 3.2: exactly one Host, which 1.0 may leave out. A body has no use here, and is not read. */
unsigned http_request_end(const struct http_request *r)
{
    return r->hosts > 1 || (r->hosts == 0 && r->minor != 0) || r->has_body ? 400 : 0;
}
