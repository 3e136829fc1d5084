#include "smtp/syntax.h"

#include <arpa/inet.h>

#include "base/utf8.h"

static int bad(struct err *err, const char *why)
{
    return err_set(err, ERR_SYNTAX, "%s", why);
}

static slice trim_end(slice s)
{
    while (s.len != 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

slice smtp_verb(slice *line)
{
    slice rest = trim_end(*line), verb = rest;
    size_t n = 0;

    while (n < rest.len && rest.ptr[n] != ' ' && rest.ptr[n] != '\t')
        n++;
    verb.len = n;
    rest = slice_from(rest, n);
    while (rest.len != 0 && (rest.ptr[0] == ' ' || rest.ptr[0] == '\t'))
        rest = slice_from(rest, 1);
    *line = rest;
    return verb;
}

/* --- names -------------------------------------------------------------------------------------------------------- */

/* DEVIATION: '_' is accepted in HELO, because many hosts of office networks have it in their names and RFC 5321 4.1.4
 * gains nothing from refusing them. */
static bool is_host_name(slice s)
{
    unsigned char before = '.';

    if (s.len == 0 || s.len > ADDRESS_DOMAIN_MAX_OCTETS)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = s.ptr[i];

        if (c == '.' ? before == '.' || before == '-' : c == '-' ? before == '.' : !ascii_is_alnum(c) && c != '_')
            return false;
        before = c;
    }
    return before != '-';
}

/* address-literal = "[" ( IPv4-address-literal / IPv6-address-literal ) "]"        RFC 5321 4.1.3
 * General-address-literal is none: no tag but IPv6 was ever registered. */
static bool is_literal(slice s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];
    int family = AF_INET;

    if (s.len < 2 || s.ptr[0] != '[' || s.ptr[s.len - 1] != ']')
        return false;
    s = slice_sub(s, 1, s.len - 2);
    if (slice_starts_nocase(s, SLICE("IPv6:"))) {
        family = AF_INET6;
        s = slice_from(s, 5);
    }
    if (s.len == 0 || s.len >= sizeof text || memchr(s.ptr, '\0', s.len) != NULL)
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return inet_pton(family, text, address) == 1;
}

int smtp_helo_parse(slice text, slice *out, struct err *err)
{
    if (text.len == 0)
        return bad(err, "A host name or an address literal is missing");
    if (!is_host_name(text) && !is_literal(text))
        return bad(err, "Not a host name or an address literal");
    *out = text;
    return 0;
}

/* --- paths -------------------------------------------------------------------------------------------------------- */

static bool is_atext(unsigned char c)
{
    return ascii_is_alnum(c) || c >= 0x80 || (c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE        RFC 5321 4.1.2
 * *in stands behind the opening quote. */
static int quoted_parse(slice *in, struct arena *mem, slice *out, struct err *err)
{
    unsigned char *to = arena_octets(mem, in->len + 1);
    size_t n = 0;

    while (in->len != 0 && in->ptr[0] != '"') {
        if (in->ptr[0] == '\\')
            *in = slice_from(*in, 1);
        if (in->len == 0)
            break;
        if (in->ptr[0] < ' ' || in->ptr[0] == 0x7f)
            return bad(err, "Control character in a quoted local part");
        to[n++] = in->ptr[0];
        *in = slice_from(*in, 1);
    }
    if (in->len == 0)
        return bad(err, "Quoted local part without closing quote");
    *in = slice_from(*in, 1);
    *out = slice_of(to, n);
    return 0;
}

/* Local-part = Dot-string / Quoted-string        RFC 5321 4.1.2, RFC 6531 3.3 */
static int local_parse(slice *in, struct arena *mem, slice *out, struct err *err)
{
    size_t n = 0;

    if (in->len != 0 && in->ptr[0] == '"') {
        *in = slice_from(*in, 1);
        if (quoted_parse(in, mem, out, err) < 0)
            return -1;
    } else {
        while (n < in->len && (is_atext(in->ptr[n]) || (in->ptr[n] == '.' && n != 0 && in->ptr[n - 1] != '.')))
            n++;
        *out = slice_sub(*in, 0, n);
        *in = slice_from(*in, n);
        if (n == 0)
            return bad(err, "Local part missing or malformed");
        if (out->ptr[n - 1] == '.')
            return bad(err, "Local part ends in a dot");
    }
    if (out->len > ADDRESS_LOCAL_MAX_OCTETS)
        return bad(err, "Local part longer than 64 octets");
    if (!utf8_valid(*out))
        return bad(err, "Local part is not UTF-8");
    return 0;
}

/* Domain or address-literal, up to '>', ',' or ':' (which a literal may hold). */
static int domain_parse(slice *in, slice *out, struct err *err)
{
    size_t n = 0;

    if (in->len != 0 && in->ptr[0] == '[') {
        while (n < in->len && in->ptr[n] != ']')
            n++;
        n += n < in->len;
    } else {
        while (n < in->len && in->ptr[n] != '>' && in->ptr[n] != ',' && in->ptr[n] != ':' && in->ptr[n] != ' ')
            n++;
    }
    *out = slice_sub(*in, 0, n);
    if (out->len > ADDRESS_DOMAIN_MAX_OCTETS)
        return bad(err, "Domain longer than 255 octets");
    if (out->len == 0 || !(out->ptr[0] == '[' ? is_literal(*out) : address_domain_valid(*out, true)))
        return bad(err, "Domain missing or malformed");
    *in = slice_from(*in, n);
    return 0;
}

/* A-d-l = At-domain *( "," At-domain ), ":" follows        RFC 5321 4.1.2, appendix C */
static int route_skip(slice *in, struct err *err)
{
    slice domain;

    while (in->len != 0 && in->ptr[0] == '@') {
        *in = slice_from(*in, 1);
        if (domain_parse(in, &domain, err) < 0)
            return -1;
        if (in->len != 0 && in->ptr[0] == ':') {
            *in = slice_from(*in, 1);
            return 0;
        }
        if (in->len < 2 || in->ptr[0] != ',' || in->ptr[1] != '@')
            return bad(err, "Malformed source route");
        *in = slice_from(*in, 1);
    }
    return 0;
}

/* Path = "<" [ A-d-l ":" ] Mailbox ">"        RFC 5321 4.1.2 */
int smtp_path_parse(slice *in, unsigned flags, struct arena *mem, struct address *out, struct err *err)
{
    slice whole = *in;

    *out = (struct address){ SLICE_NONE, SLICE_NONE };
    if (in->len == 0 || in->ptr[0] != '<')
        return bad(err, "Address not in angle brackets");
    *in = slice_from(*in, 1);
    if (in->len != 0 && in->ptr[0] == '>') {
        if ((flags & SMTP_PATH_NULL) == 0)
            return bad(err, "Address missing");
        *in = slice_from(*in, 1);
        return 0;
    }
    if (route_skip(in, err) < 0 || local_parse(in, mem, &out->local, err) < 0)
        return -1;
    if (in->len != 0 && in->ptr[0] == '@') {
        *in = slice_from(*in, 1);
        if (domain_parse(in, &out->domain, err) < 0)
            return -1;
    } else if ((flags & SMTP_PATH_POSTMASTER) == 0 || !slice_eq_nocase(out->local, SLICE("postmaster"))) {
        return bad(err, "Address without a domain");
    }
    if (in->len == 0 || in->ptr[0] != '>')
        return bad(err, "Address does not end in >");
    *in = slice_from(*in, 1);
    /* A source route counts: the limit is on what was sent. */
    if (whole.len - in->len > SMTP_PATH_MAX_OCTETS + 2 + ADDRESS_LOCAL_MAX_OCTETS)
        return bad(err, "Address too long");
    return 0;
}

/* --- parameters --------------------------------------------------------------------------------------------------- */

/* xtext = *( xchar / hexchar )        RFC 3461 4 */
static bool is_xtext(slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '+') {
            if (s.len - i < 3)
                return false;
            for (size_t k = i + 1; k <= i + 2; k++)
                if (!ascii_is_digit(s.ptr[k]) && (s.ptr[k] < 'A' || s.ptr[k] > 'F'))
                    return false;
            i += 2;
        } else if (s.ptr[i] < '!' || s.ptr[i] > '~' || s.ptr[i] == '=') {
            return false;
        }
    }
    return true;
}

static int set_size(void *out, slice value, struct err *err)
{
    struct envelope *e = out;

    /* RFC 1870 allows 20 digits; what does not fit in 64 bits is certainly too large, and so said. */
    if (value.len == 0 || value.len > SMTP_SIZE_MAX_DIGITS)
        return bad(err, "SIZE is not a number of at most 20 digits");
    for (size_t i = 0; i < value.len; i++)
        if (!ascii_is_digit(value.ptr[i]))
            return bad(err, "SIZE is not a number");
    if (!slice_u64(value, &e->size_declared))
        e->size_declared = UINT64_MAX;
    return 0;
}

static int set_body(void *out, slice value, struct err *err)
{
    struct envelope *e = out;

    if (slice_eq_nocase(value, SLICE("7BIT")))
        e->body = BODY_7BIT;
    else if (slice_eq_nocase(value, SLICE("8BITMIME")))
        e->body = BODY_8BITMIME;
    else
        return bad(err, "BODY is neither 7BIT nor 8BITMIME");
    return 0;
}

static int set_smtputf8(void *out, slice value, struct err *err)
{
    struct envelope *e = out;

    if (value.ptr != NULL)
        return bad(err, "SMTPUTF8 takes no value");
    e->smtputf8 = true;
    return 0;
}

static int set_ret(void *out, slice value, struct err *err)
{
    struct envelope *e = out;

    if (slice_eq_nocase(value, SLICE("FULL")))
        e->ret = RET_FULL;
    else if (slice_eq_nocase(value, SLICE("HDRS")))
        e->ret = RET_HDRS;
    else
        return bad(err, "RET is neither FULL nor HDRS");
    return 0;
}

static int set_envid(void *out, slice value, struct err *err)
{
    struct envelope *e = out;

    if (value.len == 0 || value.len > SMTP_ENVID_MAX_OCTETS || !is_xtext(value))
        return bad(err, "ENVID is not xtext of at most 100 octets");
    e->envid = value;
    return 0;
}

/* Who submitted the message first, RFC 4954 5: checked, and not believed. */
static int set_auth(void *out, slice value, struct err *err)
{
    (void)out;
    if (value.len == 0 || !is_xtext(value))
        return bad(err, "AUTH is not xtext");
    return 0;
}

/* NOTIFY=NEVER, or a list of SUCCESS, FAILURE, DELAY        RFC 3461 4.1 */
static int set_notify(void *out, slice value, struct err *err)
{
    static const struct {
        slice word;
        uint32_t flag;
    } words[] = {
        { { (const unsigned char *)"NEVER", 5 }, NOTIFY_NEVER },
        { { (const unsigned char *)"SUCCESS", 7 }, NOTIFY_SUCCESS },
        { { (const unsigned char *)"FAILURE", 7 }, NOTIFY_FAILURE },
        { { (const unsigned char *)"DELAY", 5 }, NOTIFY_DELAY },
    };
    struct recipient *r = out;
    bool more = true;

    while (more) {
        slice word = slice_cut(&value, ',', &more);
        uint32_t flag = 0;

        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (slice_eq_nocase(word, words[i].word))
                flag = words[i].flag;
        if (flag == 0)
            return bad(err, "NOTIFY is not NEVER or a list of SUCCESS, FAILURE, DELAY");
        r->notify |= flag;
    }
    if ((r->notify & NOTIFY_NEVER) != 0 && r->notify != NOTIFY_NEVER)
        return bad(err, "NOTIFY=NEVER stands alone");
    return 0;
}

/* ORCPT=addr-type;xtext        RFC 3461 4.2 */
static int set_orcpt(void *out, slice value, struct err *err)
{
    struct recipient *r = out;
    ssize_t semicolon = slice_find_byte(value, ';');

    if (semicolon < 1 || value.len > SMTP_ORCPT_MAX_OCTETS)
        return bad(err, "ORCPT is not type;address of at most 500 octets");
    for (ssize_t i = 0; i < semicolon; i++)
        if (!ascii_is_alnum(value.ptr[i]) && value.ptr[i] != '-')
            return bad(err, "ORCPT has a malformed address type");
    if (!is_xtext(slice_from(value, (size_t)semicolon + 1)))
        return bad(err, "ORCPT is not xtext");
    r->orcpt = value;
    return 0;
}

struct param {
    const char *name;
    int (*set)(void *out, slice value, struct err *err);
};

static const struct param mail_params[] = {
    { "SIZE", set_size },         /* RFC 1870 */
    { "BODY", set_body },         /* RFC 6152 */
    { "SMTPUTF8", set_smtputf8 }, /* RFC 6531 */
    { "RET", set_ret },           /* RFC 3461 4.3 */
    { "ENVID", set_envid },       /* RFC 3461 4.4 */
    { "AUTH", set_auth },         /* RFC 4954 5 */
};
static const struct param rcpt_params[] = {
    { "NOTIFY", set_notify }, /* RFC 3461 4.1 */
    { "ORCPT", set_orcpt },   /* RFC 3461 4.2 */
};

/* esmtp-param = esmtp-keyword ["=" esmtp-value], separated by SP        RFC 5321 4.1.2 */
static int params_parse(slice args, const struct param *table, unsigned count, void *out, struct err *err)
{
    unsigned seen = 0;

    while (args.len != 0) {
        slice value, name;
        bool has_value;
        unsigned i;

        if (args.ptr[0] != ' ' && args.ptr[0] != '\t')
            return bad(err, "Blank missing between parameters");
        value = slice_word(&args);
        if (value.len == 0)
            return 0;
        name = slice_cut(&value, '=', &has_value);
        for (i = 0; i < count && !slice_eq_nocase(name, slice_str(table[i].name)); i++)
            ;
        if (i == count)
            return err_set(err, ERR_PERM, "Parameter not known");
        if ((seen & 1u << i) != 0)
            return bad(err, "Parameter given twice");
        seen |= 1u << i;
        if (table[i].set(out, has_value ? value : SLICE_NONE, err) < 0)
            return -1;
    }
    return 0;
}

static int keyword_skip(slice *args, slice keyword, const char *why, struct err *err)
{
    if (!slice_starts_nocase(*args, keyword))
        return bad(err, why);
    *args = slice_from(*args, keyword.len);
    /* DEVIATION: RFC 5321 3.3 allows no blank behind the colon; old clients send one, and nothing else can be meant. */
    while (args->len != 0 && args->ptr[0] == ' ')
        *args = slice_from(*args, 1);
    return 0;
}

int smtp_mail_parse(slice args, struct arena *mem, struct envelope *out, struct err *err)
{
    *out = (struct envelope){ 0 };
    if (keyword_skip(&args, SLICE("FROM:"), "FROM:<address> expected", err) < 0 ||
        smtp_path_parse(&args, SMTP_PATH_NULL, mem, &out->from, err) < 0)
        return -1;
    out->is_null_sender = out->from.local.ptr == NULL;
    return params_parse(args, mail_params, sizeof mail_params / sizeof mail_params[0], out, err);
}

int smtp_rcpt_parse(slice args, struct arena *mem, struct recipient *out, struct err *err)
{
    *out = (struct recipient){ 0 };
    if (keyword_skip(&args, SLICE("TO:"), "TO:<address> expected", err) < 0 ||
        smtp_path_parse(&args, SMTP_PATH_POSTMASTER, mem, &out->address, err) < 0)
        return -1;
    return params_parse(args, rcpt_params, sizeof rcpt_params / sizeof rcpt_params[0], out, err);
}

/* --- other commands ----------------------------------------------------------------------------------------------- */

int smtp_auth_parse(slice args, slice *mechanism, slice *initial, bool *has_initial, struct err *err)
{
    *mechanism = slice_cut(&args, ' ', has_initial);
    if (mechanism->len == 0 || mechanism->len > 20) /* RFC 4422 3.1 */
        return bad(err, "Mechanism expected");
    for (size_t i = 0; i < mechanism->len; i++)
        if (!ascii_is_alnum(mechanism->ptr[i]) && mechanism->ptr[i] != '-' && mechanism->ptr[i] != '_')
            return bad(err, "Mechanism expected");
    if (*has_initial && (args.len == 0 || slice_find_byte(args, ' ') >= 0))
        return bad(err, "One initial response expected");
    *initial = args;
    if (*has_initial && slice_eq(args, SLICE("=")))
        *initial = slice_of(args.ptr, 0);
    return 0;
}

int smtp_bdat_parse(slice args, uint64_t *bytes, bool *is_last, struct err *err)
{
    slice size = slice_cut(&args, ' ', is_last);

    if (!slice_u64(size, bytes))
        return bad(err, "Size of the chunk expected");
    if (*is_last && !slice_eq_nocase(args, SLICE("LAST")))
        return bad(err, "Only LAST may follow the size");
    return 0;
}
