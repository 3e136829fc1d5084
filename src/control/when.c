/* when.c - see when.h. */
#include "control/when.h"

#include <time.h>

#include "queue/conf.h"

#define MINUTE_MS 60000LL
#define DAY_MS (24 * 60 * MINUTE_MS)

int when_length_parse(slice text, int64_t *ms, struct err *err)
{
    static const struct {
        unsigned char letter;
        int64_t ms;
    } units[] = { { 's', 1000 }, { 'm', MINUTE_MS }, { 'h', 60 * MINUTE_MS }, { 'd', DAY_MS }, { 'w', 7 * DAY_MS } };
    uint32_t n;

    if (text.len != 0 && ascii_upper(text.ptr[0]) == 'P')
        return queue_duration_parse(text, MINUTE_MS, ms, err);
    for (unsigned i = 0; text.len > 1 && i < ARRAY_LEN(units); i++)
        if (text.ptr[text.len - 1] == units[i].letter && slice_u32(slice_sub(text, 0, text.len - 1), &n)) {
            *ms = (int64_t)n * units[i].ms;
            return 0;
        }
    return err_set(err, ERR_SYNTAX, "\"%.*s\" is no length of time; write 90s, 15m, 2h, 3d, 1w or PT15M",
                   SLICE_ARG(slice_sub(text, 0, 40)));
}

void when_length_print(int64_t ms, struct buf *out)
{
    int64_t s = ms < 0 ? 0 : ms / 1000;

    if (s < 60)
        buf_printf(out, "%llds", (long long)s);
    else if (s < 3600)
        buf_printf(out, "%lldm", (long long)(s / 60));
    else if (s < 86400)
        buf_printf(out, "%lldh%02lldm", (long long)(s / 3600), (long long)(s / 60 % 60));
    else
        buf_printf(out, "%lldd%lldh", (long long)(s / 86400), (long long)(s / 3600 % 24));
}

/* Two or four digits and what must stand behind them (0: nothing needs to). */
static bool part(slice *s, size_t digits, unsigned char end, int *out)
{
    uint32_t n;

    if (s->len < digits || !slice_u32(slice_sub(*s, 0, digits), &n))
        return false;
    *s = slice_from(*s, digits);
    *out = (int)n;
    if (end == 0)
        return true;
    if (s->len == 0 || s->ptr[0] != end)
        return false;
    *s = slice_from(*s, 1);
    return true;
}

static bool clock_read(slice *s, struct tm *tm)
{
    if (!part(s, 2, ':', &tm->tm_hour) || !part(s, 2, 0, &tm->tm_min))
        return false;
    if (s->len == 0 || s->ptr[0] != ':')
        return true;
    *s = slice_from(*s, 1);
    return part(s, 2, 0, &tm->tm_sec);
}

static bool date_read(slice *s, struct tm *tm)
{
    if (!part(s, 4, '-', &tm->tm_year) || !part(s, 2, '-', &tm->tm_mon) || !part(s, 2, 0, &tm->tm_mday))
        return false;
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    if (s->len == 0 || (s->ptr[0] != 'T' && s->ptr[0] != ' '))
        return true;
    *s = slice_from(*s, 1);
    return clock_read(s, tm);
}

static bool in_range(const struct tm *tm)
{
    return tm->tm_mon >= 0 && tm->tm_mon < 12 && tm->tm_mday >= 1 && tm->tm_mday <= 31 && tm->tm_hour < 24 &&
           tm->tm_min < 60 && tm->tm_sec < 61;
}

int when_parse(slice text, int64_t now_ms, int64_t *ms, struct err *err)
{
    time_t now = (time_t)(now_ms / 1000);
    bool is_utc = slice_ends(text, SLICE("Z"));
    struct tm today, tm;
    struct err quiet = ERR_INIT;
    int64_t length;
    slice rest;

    localtime_r(&now, &today);
    today.tm_hour = today.tm_min = today.tm_sec = 0;
    today.tm_isdst = -1;
    if (slice_eq(text, SLICE("today")) || slice_eq(text, SLICE("yesterday"))) {
        today.tm_mday -= text.ptr[0] == 'y';
        *ms = (int64_t)mktime(&today) * 1000;
        return 0;
    }
    if (when_length_parse(text, &length, &quiet) == 0) {
        *ms = now_ms - length;
        return 0;
    }
    tm = (struct tm){ .tm_isdst = -1 };
    rest = slice_sub(text, 0, text.len - is_utc);
    if (date_read(&rest, &tm) && rest.len == 0 && in_range(&tm)) {
        *ms = (int64_t)(is_utc ? timegm(&tm) : mktime(&tm)) * 1000;
        return 0;
    }
    rest = text;
    if (clock_read(&rest, &today) && rest.len == 0 && in_range(&today)) {
        *ms = (int64_t)mktime(&today) * 1000;
        return 0;
    }
    return err_set(err, ERR_SYNTAX, "\"%.*s\" is no time; write 2h, 3d, 08:30, 2026-11-21 or 2026-11-21T08:30",
                   SLICE_ARG(slice_sub(text, 0, 40)));
}
