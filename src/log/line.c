/* line.c - records as lines, and back. Pure. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "log/txlog.h"

#define CHANNEL_COLUMNS 12
#define MODIFIER_ORDER "ELCBQSAU"

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* --- fields ------------------------------------------------------------------------------------------------------- */

/* Optional fields in the order of the legacy format: name in text, name in JSON. One list for both formats. */
struct field {
    const char *text, *json;
    slice value;
};

static slice modifiers_sort(slice given, char out[sizeof MODIFIER_ORDER])
{
    size_t len = 0;

    for (const char *c = MODIFIER_ORDER; *c != 0; c++)
        if (slice_find_byte(given, (unsigned char)*c) >= 0)
            out[len++] = *c;
    return slice_of(out, len);
}

#define NUMBERS 6
struct numbers { /* octets of the fields that are numbers */
    char text[NUMBERS][24];
    unsigned used;
};

static slice number(struct numbers *n, bool is_given, uint64_t value)
{
    char *text = n->text[n->used];

    if (!is_given)
        return SLICE_NONE;
    n->used++;
    return slice_of(text, (size_t)snprintf(text, sizeof n->text[0], "%llu", (unsigned long long)value));
}

#define FIELDS_MAX 18
static unsigned optional_fields(const struct txlog_record *r, struct numbers *n, struct field f[FIELDS_MAX])
{
    const struct field all[] = {
        { "id", "session", r->session },
        { "rf", "notary", number(n, r->notary != 0, r->notary) },
        { "fi", "entry", r->entry },
        { "ei", "envelope_id", r->envid },
        { "mi", "message_id", r->message_id },
        { "us", "user", r->user },
        { "am", "mechanism", r->mechanism },
        { "ss", "source_system", r->source_system },
        { "re", "reason", r->reason },
        { "di", "diagnostic", r->diagnostic },
        { "tr", "transport", r->direction == 0 ? r->transport : SLICE_NONE },
        { "ap", "application", r->direction == 0 ? r->application : SLICE_NONE },
        { r->direction == 0 ? "qt" : "ct", "seconds", number(n, r->has_queue_s, r->queue_s) },
        { "mb", "mailbox", r->mailbox },
        { "ud", "uid", number(n, r->uid != 0, r->uid) },
        { "in", "octets_in", number(n, r->octets_in != 0, r->octets_in) },
        { "ou", "octets_out", number(n, r->octets_out != 0, r->octets_out) },
    };
    unsigned count = 0;

    _Static_assert(ARRAY_LEN(all) <= FIELDS_MAX, "room for all");
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        if (all[i].value.len != 0)
            f[count++] = all[i];
    return count;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

static unsigned char tame(unsigned char c)
{
    return c < ' ' || c == 127 ? '?' : c;
}

/* A field that must not hold a blank; there is no quoting for the first ones. */
static void put_word(struct buf *out, slice s)
{
    for (size_t i = 0; i < s.len; i++)
        buf_put_byte(out, s.ptr[i] == ' ' ? '_' : tame(s.ptr[i]));
}

static void put_channel(struct buf *out, slice s)
{
    size_t begin = out->len;

    put_word(out, s.len == 0 ? SLICE("-") : s);
    while (out->len < begin + CHANNEL_COLUMNS)
        buf_put_byte(out, ' ');
    buf_put_byte(out, ' ');
}

static void put_address(struct buf *out, const char *prefix, slice s)
{
    buf_put_str(out, prefix);
    put_word(out, s.len == 0 && prefix[0] == 0 ? SLICE("<>") : s);
    buf_put_byte(out, ' ');
}

static bool needs_quotes(slice s)
{
    return slice_find_byte(s, ' ') >= 0 || slice_find_byte(s, '"') >= 0 || slice_find_byte(s, '\\') >= 0;
}

static void put_value(struct buf *out, slice s)
{
    bool quoted = needs_quotes(s);

    if (quoted)
        buf_put_byte(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"' || s.ptr[i] == '\\')
            buf_put_byte(out, '\\');
        buf_put_byte(out, tame(s.ptr[i]));
    }
    if (quoted)
        buf_put_byte(out, '"');
}

static void put_local_time(struct buf *out, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    localtime_r(&seconds, &tm);
    buf_printf(out, "%02d-%.3s-%04d %02d:%02d:%02d.%02d ", tm.tm_mday, &months[tm.tm_mon * 3], tm.tm_year + 1900,
               tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000 / 10));
}

static void put_code(struct buf *out, const struct txlog_record *r)
{
    char order[sizeof MODIFIER_ORDER];

    buf_put_byte(out, (unsigned char)r->code);
    buf_put_slice(out, modifiers_sort(r->modifiers, order));
    buf_put_byte(out, ' ');
}

void txlog_text(const struct txlog_record *r, int64_t time_ms, uint32_t block_bytes, struct buf *out)
{
    struct numbers numbers = { .used = 0 };
    struct field f[FIELDS_MAX];
    unsigned count = optional_fields(r, &numbers, f);

    put_local_time(out, time_ms);
    put_channel(out, r->source);
    if (r->direction != 0) {
        buf_put_byte(out, (unsigned char)r->direction);
        buf_put_byte(out, ' ');
        put_code(out, r);
        put_word(out, r->transport.len == 0 ? SLICE("-") : r->transport);
        buf_put_byte(out, ' ');
        put_word(out, r->application.len == 0 ? SLICE("-") : r->application);
    } else {
        put_channel(out, r->destination);
        put_code(out, r);
        buf_put_u64(out, (r->bytes + block_bytes - 1) / block_bytes);
        buf_put_byte(out, ' ');
        put_address(out, "", r->sender);
        put_address(out, "rfc822;", r->orcpt);
        put_word(out, r->rcpt.len == 0 ? SLICE("-") : r->rcpt);
    }
    for (unsigned i = 0; i < count; i++) {
        buf_printf(out, " %s=", f[i].text);
        if (strcmp(f[i].text, "us") == 0)
            buf_put_byte(out, '*');
        put_value(out, f[i].value);
    }
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

static void json_add(struct buf *out, const char *name, slice value)
{
    json_t *v;

    if (value.len == 0)
        return;
    v = json_from_slice(value);
    buf_printf(out, ",\"%s\":", name);
    json_print(out, v, false);
    json_decref(v);
}

static void put_utc(struct buf *out, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
               tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

static bool is_number_field(const char *name)
{
    static const char *const names[] = { "notary", "seconds", "uid", "octets_in", "octets_out" };

    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

void txlog_json(const struct txlog_record *r, int64_t time_ms, struct buf *out)
{
    struct numbers numbers = { .used = 0 };
    char order[sizeof MODIFIER_ORDER];
    struct field f[FIELDS_MAX];
    unsigned count = optional_fields(r, &numbers, f);

    buf_put_str(out, "{\"time\":\"");
    put_utc(out, time_ms);
    buf_printf(out, "\",\"code\":\"%c\"", r->code);
    json_add(out, "modifiers", modifiers_sort(r->modifiers, order));
    json_add(out, "source", r->source);
    if (r->direction != 0) {
        buf_printf(out, ",\"direction\":\"%c\"", r->direction);
        json_add(out, "transport", r->transport);
        json_add(out, "application", r->application);
    } else {
        json_add(out, "destination", r->destination);
        buf_printf(out, ",\"bytes\":%llu", (unsigned long long)r->bytes);
        if (r->sender.len == 0) /* the null reverse-path is a sender, too */
            buf_put_str(out, ",\"sender\":\"\"");
        json_add(out, "sender", r->sender);
        json_add(out, "original", r->orcpt);
        json_add(out, "recipient", r->rcpt);
    }
    for (unsigned i = 0; i < count; i++) {
        if (is_number_field(f[i].json))
            buf_printf(out, ",\"%s\":%.*s", f[i].json, SLICE_ARG(f[i].value));
        else
            json_add(out, f[i].json, f[i].value);
    }
    buf_put_byte(out, '}');
}

/* --- reading back ------------------------------------------------------------------------------------------------- */

static bool digits(slice s, size_t at, size_t len, int *out)
{
    uint32_t n;

    if (at + len > s.len || !slice_u32(slice_sub(s, at, len), &n))
        return false;
    *out = (int)n;
    return true;
}

static bool read_local_time(slice line, int64_t *ms) /* "21-Nov-2026 08:30:00.12" */
{
    struct tm tm = { .tm_isdst = -1 };
    int hundredths;

    if (line.len < 23 || line.ptr[2] != '-' || line.ptr[6] != '-' || line.ptr[11] != ' ' || line.ptr[20] != '.')
        return false;
    tm.tm_mon = -1;
    for (int m = 0; m < 12; m++)
        if (memcmp(&months[m * 3], line.ptr + 3, 3) == 0)
            tm.tm_mon = m;
    if (tm.tm_mon < 0 || !digits(line, 0, 2, &tm.tm_mday) || !digits(line, 7, 4, &tm.tm_year) ||
        !digits(line, 12, 2, &tm.tm_hour) || !digits(line, 15, 2, &tm.tm_min) || !digits(line, 18, 2, &tm.tm_sec) ||
        !digits(line, 21, 2, &hundredths))
        return false;
    tm.tm_year -= 1900;
    *ms = (int64_t)mktime(&tm) * 1000 + hundredths * 10;
    return true;
}

static bool read_text(slice line, struct txlog_line *out)
{
    slice rest, second, third;

    if (!read_local_time(line, &out->time_ms))
        return false;
    rest = slice_from(line, 23);
    out->source = slice_word(&rest);
    second = slice_word(&rest);
    third = slice_word(&rest);
    if (third.len == 0)
        return false;
    /* a direction, or "-" for the absent destination: neither names a channel */
    if (!slice_eq(second, SLICE("+")) && !slice_eq(second, SLICE("-")))
        out->destination = second;
    if (slice_eq(out->source, SLICE("-")))
        out->source = SLICE_NONE;
    out->code = (char)third.ptr[0];
    return true;
}

static bool read_utc(slice s, int64_t *ms) /* "2026-11-21T08:30:00.123Z" */
{
    struct tm tm = { .tm_isdst = 0 };
    int thousandths;

    if (s.len != 24 || !digits(s, 0, 4, &tm.tm_year) || !digits(s, 5, 2, &tm.tm_mon) || !digits(s, 8, 2, &tm.tm_mday) ||
        !digits(s, 11, 2, &tm.tm_hour) || !digits(s, 14, 2, &tm.tm_min) || !digits(s, 17, 2, &tm.tm_sec) ||
        !digits(s, 20, 3, &thousandths))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ms = (int64_t)timegm(&tm) * 1000 + thousandths;
    return true;
}

/* The value of a string member as it stands; channel names and codes need no unescaping. */
static slice member(slice line, slice quoted_name)
{
    ssize_t at = slice_find(line, quoted_name);
    slice rest = at < 0 ? SLICE_NONE : slice_from(line, (size_t)at + quoted_name.len);

    return slice_cut(&rest, '"', NULL);
}

static bool read_json(slice line, struct txlog_line *out)
{
    slice code = member(line, SLICE("\"code\":\""));

    if (!read_utc(member(line, SLICE("{\"time\":\"")), &out->time_ms) || code.len != 1)
        return false;
    out->code = (char)code.ptr[0];
    out->source = member(line, SLICE("\"source\":\""));
    out->destination = member(line, SLICE("\"destination\":\""));
    return true;
}

bool txlog_line_read(slice line, struct txlog_line *out)
{
    *out = (struct txlog_line){ 0 };
    return line.len != 0 && line.ptr[0] == '{' ? read_json(line, out) : read_text(line, out);
}

bool txlog_query_matches(const struct txlog_query *q, slice line, int64_t *time_ms)
{
    struct txlog_line l;

    if (!txlog_line_read(line, &l))
        return false;
    *time_ms = l.time_ms;
    return (q->since_ms == 0 || l.time_ms >= q->since_ms) && (q->until_ms == 0 || l.time_ms < q->until_ms) &&
           (q->codes.len == 0 || slice_find_byte(q->codes, (unsigned char)l.code) >= 0) &&
           (q->channel.len == 0 || slice_eq(q->channel, l.source) || slice_eq(q->channel, l.destination)) &&
           (q->key.len == 0 || slice_find_nocase(line, q->key) >= 0);
}
