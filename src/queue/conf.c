/* conf.c - reading channel blocks and pools. */
#include "queue/conf.h"

#include "base/buf.h"
#include "base/mem.h"

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define YEAR_MS (365 * DAY_MS)
#define DURATION_MAX_MS (10 * YEAR_MS)

/* --- key tables --------------------------------------------------------------------------------------------------- */

#define KEY_CONF struct channel_conf
static const struct key_row channel_rows[] = { CHANNEL_KEYS(KEY_ROW) };
#undef KEY_CONF
#define KEY_CONF struct pool_conf
static const struct key_row pool_rows[] = { POOL_KEYS(KEY_ROW) };
#undef KEY_CONF
#define KEY_CONF struct queue_conf
static const struct key_row queue_rows[] = { QUEUE_KEYS(KEY_ROW) };
#undef KEY_CONF

const struct key_table channel_keys = {
    .section = "channels/*",
    .rows = channel_rows,
    .count = ARRAY_LEN(channel_rows),
    .struct_bytes = sizeof(struct channel_conf),
    .text = "Channels: how mail to some destinations is delivered, by name.",
};
const struct key_table pool_keys = {
    .section = "pools/*",
    .rows = pool_rows,
    .count = ARRAY_LEN(pool_rows),
    .struct_bytes = sizeof(struct pool_conf),
    .text = "Pools: how many jobs their channels share, by name.",
};
const struct key_table queue_keys = {
    .section = "queue",
    .rows = queue_rows,
    .count = ARRAY_LEN(queue_rows),
    .struct_bytes = sizeof(struct queue_conf),
    .text = "Messages that wait: limits, retries, destinations that cannot be reached.",
};

/* --- durations ---------------------------------------------------------------------------------------------------- */

static int duration_error(slice text, slice rest, struct err *err)
{
    return err_set(err, ERR_SYNTAX, "\"%.*s\" is no duration: octet %zu; expected one such as \"PT30M\" or \"P1DT12H\"",
                   (int)(text.len < 40 ? text.len : 40), (const char *)text.ptr, text.len - rest.len + 1);
}

static int too_long(struct err *err)
{
    return err_set(err, ERR_SYNTAX, "a duration is longer than 10 years");
}

/* duration = "P" *( number ( "Y" / "M" / "W" / "D" ) ) [ "T" 1*( number ( "H" / "M" / "S" ) ) ], any case; each letter
 * once and in this order. */
static int duration_read(slice text, slice *rest, int64_t *ms, struct err *err)
{
    static const struct unit {
        char letter;
        bool is_time;
        int64_t ms;
    } units[] = {
        { 'Y', false, YEAR_MS }, { 'M', false, 30 * DAY_MS }, { 'W', false, 7 * DAY_MS }, { 'D', false, DAY_MS },
        { 'H', true, HOUR_MS },  { 'M', true, MINUTE_MS },    { 'S', true, SECOND_MS },
    };
    bool is_time = false, has_part = false;
    size_t unit = 0;

    *ms = 0;
    while (rest->len > 0) {
        slice digits = *rest;
        uint64_t n;

        if (!is_time && ascii_upper(rest->ptr[0]) == 'T') {
            is_time = true;
            has_part = false;
            *rest = slice_from(*rest, 1);
            continue;
        }
        while (rest->len > 0 && ascii_is_digit(rest->ptr[0]))
            *rest = slice_from(*rest, 1);
        digits.len -= rest->len;
        if (rest->len == 0 || digits.len == 0)
            return duration_error(text, *rest, err);
        while (unit < ARRAY_LEN(units) &&
               (units[unit].is_time != is_time || units[unit].letter != (char)ascii_upper(rest->ptr[0])))
            unit++;
        if (unit == ARRAY_LEN(units))
            return duration_error(text, *rest, err);
        if (!slice_u64(digits, &n) || n > (uint64_t)(DURATION_MAX_MS / units[unit].ms))
            return too_long(err);
        *ms += (int64_t)n * units[unit++].ms;
        *rest = slice_from(*rest, 1);
        has_part = true;
    }
    return has_part ? 0 : duration_error(text, *rest, err);
}

int queue_duration_parse(slice text, int64_t unit_ms, int64_t *ms, struct err *err)
{
    slice rest = text;
    uint64_t n;

    if (slice_u64(text, &n)) {
        if (n > (uint64_t)(DURATION_MAX_MS / unit_ms))
            return too_long(err);
        *ms = (int64_t)n * unit_ms;
        return 0;
    }
    if (text.len == 0 || ascii_upper(text.ptr[0]) != 'P')
        return duration_error(text, rest, err);
    rest = slice_from(rest, 1);
    if (duration_read(text, &rest, ms, err) < 0)
        return -1;
    return *ms > DURATION_MAX_MS ? too_long(err) : 0;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

struct reading {
    struct arena *mem;
    keys_report_fn *report;
    void *arg;
    bool hours;
    unsigned errors;
};

static void complain(struct reading *r, const char *pointer, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void complain(struct reading *r, const char *pointer, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    r->errors++;
    if (r->report != NULL)
        r->report(r->arg, pointer, buf_str(&text));
    buf_free(&text);
}

static const char *pointer_of(struct reading *r, const char *pointer, const char *key, size_t i)
{
    return (const char *)arena_printf(r->mem, "%s/%s/%zu", pointer, key, i).ptr;
}

/* A list of durations; *out stays as it is when the list is empty. */
static void times_read(struct reading *r, const char *pointer, const char *key, const struct key_strs *list,
                       int64_t unit_ms, bool must_rise, struct queue_times *out)
{
    struct queue_times times = { 0 };
    struct err err = ERR_INIT;

    if (list->count > QUEUE_TIMES_MAX) {
        complain(r, pointer, "%s: expected at most %u durations, found %zu", key, QUEUE_TIMES_MAX, list->count);
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        int64_t *ms = &times.ms[times.count];

        if (queue_duration_parse(list->items[i], unit_ms, ms, &err) < 0)
            complain(r, pointer_of(r, pointer, key, i), "%s", err.text);
        else if (*ms < SECOND_MS)
            complain(r, pointer_of(r, pointer, key, i), "expected a duration of at least a second");
        else if (must_rise && times.count != 0 && *ms <= times.ms[times.count - 1])
            complain(r, pointer_of(r, pointer, key, i), "expected ages that rise");
        else
            times.count++;
    }
    if (times.count != 0)
        *out = times;
}

/* Minutes, as the legacy product has them. */
static const struct queue_times backoff_defaults[QUEUE_PRIORITIES] = {
    [QUEUE_URGENT] = { 7,
                       { 30 * MINUTE_MS, 60 * MINUTE_MS, 60 * MINUTE_MS, 120 * MINUTE_MS, 120 * MINUTE_MS,
                         120 * MINUTE_MS, 240 * MINUTE_MS } },
    [QUEUE_NORMAL] = { 7,
                       { 60 * MINUTE_MS, 120 * MINUTE_MS, 120 * MINUTE_MS, 240 * MINUTE_MS, 240 * MINUTE_MS,
                         240 * MINUTE_MS, 480 * MINUTE_MS } },
    [QUEUE_NONURGENT] = { 7,
                          { 120 * MINUTE_MS, 240 * MINUTE_MS, 240 * MINUTE_MS, 480 * MINUTE_MS, 480 * MINUTE_MS,
                            480 * MINUTE_MS, 960 * MINUTE_MS } },
};

static void channel_times(struct reading *r, const char *pointer, struct channel_conf *c)
{
    const struct key_strs *backoffs[] = { &c->urgentbackoff, &c->normalbackoff, &c->nonurgentbackoff };
    const struct key_strs *notices[] = { &c->urgentnotices, &c->normalnotices, &c->nonurgentnotices };
    static const char *const names[][2] = { { "urgentbackoff", "urgentnotices" },
                                            { "normalbackoff", "normalnotices" },
                                            { "nonurgentbackoff", "nonurgentnotices" } };
    int64_t age_ms = r->hours ? HOUR_MS : DAY_MS;
    struct queue_times common = { 0 }, ages = { 0 };

    times_read(r, pointer, "backoff", &c->backoff, MINUTE_MS, false, &common);
    times_read(r, pointer, "notices", &c->notices, age_ms, true, &ages);
    if (c->notices.count == 0)
        complain(r, pointer, "notices: expected at least the age at which messages are returned");
    for (unsigned p = 0; p < QUEUE_PRIORITIES; p++) {
        c->backoff_of[p] = common.count != 0 ? common : backoff_defaults[p];
        c->notices_of[p] = ages;
        times_read(r, pointer, names[p][0], backoffs[p], MINUTE_MS, false, &c->backoff_of[p]);
        times_read(r, pointer, names[p][1], notices[p], age_ms, true, &c->notices_of[p]);
    }
}

static const char *const types[] = { "smtp", "lmtp", "store", "process", "hold", "bitbucket" };

static void channel_check(struct reading *r, const char *pointer, struct channel_conf *c,
                          const struct channels_conf *all)
{
    bool is_known = false;

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        is_known = is_known || slice_eq(c->type, slice_str(types[i]));
    if (c->type.len == 0)
        complain(r, pointer, "type is missing: smtp, lmtp, store, process, hold or bitbucket");
    else if (!is_known)
        complain(r, (const char *)arena_printf(r->mem, "%s/type", pointer).ptr,
                 "expected smtp, lmtp, store, process, hold or bitbucket, found \"%.*s\"", SLICE_ARG(c->type));
    if (pool_conf_find(all, c->pool) == NULL)
        complain(r, (const char *)arena_printf(r->mem, "%s/pool", pointer).ptr, "there is no pool \"%.*s\"",
                 SLICE_ARG(c->pool));
    channel_times(r, pointer, c);
}

/* In the document a time may be a number; the rows know strings. */
static OWNED json_t *times_as_strings(const json_t *block)
{
    static const char *const lists[] = { "backoff",       "urgentbackoff", "normalbackoff", "nonurgentbackoff",
                                         "notices",       "urgentnotices", "normalnotices", "nonurgentnotices" };
    json_t *copy = json_deep_copy(block);

    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        json_t *list = json_object_get(copy, lists[i]), *item;
        size_t at;

        json_array_foreach(list, at, item) {
            char digits[24];

            if (!json_is_integer(item) || json_integer_value(item) < 0)
                continue;
            snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(item));
            json_array_set_new(list, at, json_string(digits));
        }
    }
    return copy;
}

/* Letters, digits and a few signs: names stand in logs, keys and commands. */
static bool name_is_good(slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!ascii_is_alnum(name.ptr[i]) && slice_find_byte(SLICE("-_.+"), name.ptr[i]) < 0)
            return false;
    return name.len > 0 && name.len <= CHANNEL_NAME_MAX;
}

/* An object of at most CHANNELS_MAX members with good names? */
static bool blocks_check(struct reading *r, const json_t *doc, const char *pointer)
{
    const char *name;
    json_t *value;
    unsigned before = r->errors;

    if (doc == NULL || json_is_null(doc))
        return false;
    if (!json_is_object(doc) || json_object_size(doc) > CHANNELS_MAX) {
        complain(r, pointer, "expected an object of at most %u named blocks", CHANNELS_MAX);
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)doc, name, value)
        if (!name_is_good(slice_str(name)))
            complain(r, pointer, "\"%.40s\" is no good name: 1 to %u letters, digits, '-', '_', '.', '+'", name,
                     CHANNEL_NAME_MAX);
    return r->errors == before;
}

/* A job of these is a connection or a delivery, not a process: the limits are higher than those of the samples. */
static const struct {
    const char *name;
    uint32_t job_limit;
} builtin_pools[] = { { "DEFAULT", 10 }, { "LOCAL_POOL", 10 }, { "IMS_POOL", 20 }, { "SMTP_POOL", 1000 } };

static void pools_read(struct reading *r, const json_t *doc, struct channels_conf *out)
{
    bool has_doc = blocks_check(r, doc, "/pools");
    const char *name;
    json_t *value;

    out->pools = arena_alloc_array(r->mem, ARRAY_LEN(builtin_pools) + (has_doc ? json_object_size(doc) : 0),
                                   sizeof *out->pools);
    for (size_t i = 0; i < ARRAY_LEN(builtin_pools); i++)
        out->pools[out->pool_count++] =
            (struct pool_conf){ builtin_pools[i].job_limit, slice_str(builtin_pools[i].name) };
    if (!has_doc)
        return;
    json_object_foreach((json_t *)(uintptr_t)doc, name, value) {
        struct pool_conf *p = (struct pool_conf *)(uintptr_t)pool_conf_find(out, slice_str(name));
        const char *pointer = (const char *)arena_printf(r->mem, "/pools/%s", name).ptr;

        if (p == NULL) {
            p = &out->pools[out->pool_count++];
            keys_default(&pool_keys, p, r->mem);
            p->name = slice_dup(r->mem, slice_str(name));
        }
        r->errors += keys_read(&pool_keys, value, pointer, p, r->mem, r->report, r->arg);
    }
}

static const struct {
    const char *name, *type, *pool;
} builtin_channels[] = {
    { "tcp_local", "smtp", "SMTP_POOL" }, { "tcp_lmtp", "lmtp", "LOCAL_POOL" },
    { "ims-ms", "store", "IMS_POOL" },    { "process", "process", "LOCAL_POOL" },
    { "hold", "hold", "DEFAULT" },        { "bitbucket", "bitbucket", "DEFAULT" },
};

static void channels_read(struct reading *r, const json_t *doc, struct channels_conf *out)
{
    bool has_doc = blocks_check(r, doc, "/channels");
    const char *name;
    json_t *value;

    out->channels = arena_alloc_array(r->mem, ARRAY_LEN(builtin_channels) + (has_doc ? json_object_size(doc) : 0),
                                      sizeof *out->channels);
    for (size_t i = 0; i < ARRAY_LEN(builtin_channels); i++) {
        struct channel_conf *c = &out->channels[out->channel_count++];

        keys_default(&channel_keys, c, r->mem);
        c->name = slice_str(builtin_channels[i].name);
        c->type = slice_str(builtin_channels[i].type);
        c->pool = slice_str(builtin_channels[i].pool);
        channel_times(r, "/channels", c);
    }
    if (!has_doc)
        return;
    json_object_foreach((json_t *)(uintptr_t)doc, name, value) {
        struct channel_conf *c = (struct channel_conf *)(uintptr_t)channel_conf_find(out, slice_str(name));
        const char *pointer = (const char *)arena_printf(r->mem, "/channels/%s", name).ptr;
        json_t *block = times_as_strings(value);
        unsigned errors;

        if (c == NULL) {
            c = &out->channels[out->channel_count++];
            keys_default(&channel_keys, c, r->mem);
            c->name = slice_dup(r->mem, slice_str(name));
        }
        errors = keys_read(&channel_keys, block, pointer, c, r->mem, r->report, r->arg);
        r->errors += errors;
        if (errors == 0)
            channel_check(r, pointer, c, out);
        json_decref(block);
    }
}

unsigned channels_conf_read(const json_t *channels, const json_t *pools, bool hours, struct channels_conf *out,
                            struct arena *mem, keys_report_fn *report, void *arg)
{
    struct reading r = { .mem = mem, .report = report, .arg = arg, .hours = hours };

    *out = (struct channels_conf){ 0 };
    pools_read(&r, pools, out);
    channels_read(&r, channels, out);
    return r.errors;
}

const struct channel_conf *channel_conf_find(const struct channels_conf *c, slice name)
{
    for (size_t i = 0; i < c->channel_count; i++)
        if (slice_eq(c->channels[i].name, name))
            return &c->channels[i];
    return NULL;
}

const struct pool_conf *pool_conf_find(const struct channels_conf *c, slice name)
{
    for (size_t i = 0; i < c->pool_count; i++)
        if (slice_eq(c->pools[i].name, name))
            return &c->pools[i];
    return NULL;
}

int64_t queue_backoff(const struct channel_conf *c, enum queue_priority p, unsigned failed_attempts)
{
    const struct queue_times *times = &c->backoff_of[p < QUEUE_PRIORITIES ? p : QUEUE_NORMAL];
    unsigned i = failed_attempts == 0 ? 0 : failed_attempts - 1;

    return times->ms[i < times->count ? i : times->count - 1];
}
