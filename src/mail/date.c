#include "mail/date.h"

#include <stdlib.h>
#include <time.h>

static const char *const months[] = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
};
static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };

struct zone {
    const char *name;
    int minutes;
};
/* obs-zone        RFC 5322 4.3; military letters carry no information and count as -0000 */
static const struct zone zones[] = { { "UT", 0 },     { "GMT", 0 },    { "Z", 0 },      { "EST", -300 },
                                     { "EDT", -240 }, { "CST", -360 }, { "CDT", -300 }, { "MST", -420 },
                                     { "MDT", -360 }, { "PST", -480 }, { "PDT", -420 } };

/* Days since 1970-01-01 of the proleptic Gregorian calendar. */
static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
    int64_t era;
    unsigned yoe, doy, doe;

    y -= m <= 2;
    era = (y >= 0 ? y : y - 399) / 400;
    yoe = (unsigned)(y - era * 400);
    doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + (int64_t)doe - 719468;
}

static void civil_from_days(int64_t z, int64_t *y, unsigned *m, unsigned *d)
{
    int64_t era;
    unsigned doe, yoe, doy, mp;

    z += 719468;
    era = (z >= 0 ? z : z - 146096) / 146097;
    doe = (unsigned)(z - era * 146097);
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;
    *d = doy - (153 * mp + 2) / 5 + 1;
    *m = mp < 10 ? mp + 3 : mp - 9;
    *y = (int64_t)yoe + era * 400 + (*m <= 2);
}

static unsigned month_days(int64_t y, unsigned m)
{
    static const unsigned char n[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    return m == 2 && (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0)) ? 29u : n[m - 1];
}

/* CFWS        RFC 5322 3.2.2 */
static void blanks_skip(slice *s)
{
    unsigned depth = 0;

    while (s->len != 0) {
        unsigned char c = s->ptr[0];

        if (depth != 0 && c == '\\' && s->len > 1)
            *s = slice_from(*s, 1);
        else if (c == '(')
            depth++;
        else if (depth != 0 && c == ')')
            depth--;
        else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n')
            return;
        *s = slice_from(*s, 1);
    }
}

static bool number(slice *s, unsigned min_digits, unsigned max_digits, unsigned *out)
{
    unsigned n = 0;

    *out = 0;
    while (n < max_digits && n < s->len && ascii_is_digit(s->ptr[n]))
        *out = *out * 10 + (s->ptr[n++] - '0');
    if (n < min_digits || (n < s->len && ascii_is_digit(s->ptr[n])))
        return false;
    *s = slice_from(*s, n);
    return true;
}

static bool expect(slice *s, unsigned char c)
{
    if (s->len == 0 || s->ptr[0] != c)
        return false;
    *s = slice_from(*s, 1);
    return true;
}

static bool month(slice *s, unsigned *out)
{
    for (unsigned i = 0; i < 12; i++) {
        if (slice_starts_nocase(*s, slice_str(months[i]))) {
            *s = slice_from(*s, 3);
            *out = i + 1;
            return true;
        }
    }
    return false;
}

struct civil {
    unsigned year, month, day, hour, minute, second;
};

static bool civil_ms(const struct civil *c, int zone_min, int64_t *ms)
{
    if (c->month < 1 || c->day < 1 || c->day > month_days(c->year, c->month) || c->hour > 23 || c->minute > 59 ||
        c->second > 60)
        return false;
    *ms = (days_from_civil(c->year, c->month, c->day) * 86400 + (int64_t)c->hour * 3600 + (int64_t)c->minute * 60 +
           (int64_t)c->second - (int64_t)zone_min * 60) *
          1000;
    return true;
}

static bool zone_digits(slice *s, int *zone_min)
{
    bool is_minus = s->len != 0 && s->ptr[0] == '-';
    unsigned v;

    if (s->len == 0 || (s->ptr[0] != '+' && s->ptr[0] != '-'))
        return false;
    *s = slice_from(*s, 1);
    if (!number(s, 4, 4, &v) || v % 100 > 59)
        return false;
    *zone_min = (int)(v / 100 * 60 + v % 100) * (is_minus ? -1 : 1);
    return true;
}

static bool zone(slice *s, int *zone_min)
{
    slice word = *s;

    if (zone_digits(s, zone_min))
        return true;
    *s = word;
    *zone_min = 0;
    word.len = 0;
    while (word.len < s->len && ascii_is_alpha(s->ptr[word.len]))
        word.len++;
    if (word.len == 0)
        return s->len == 0; /* no zone at all is read as UTC */
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
        if (slice_eq_nocase(word, slice_str(zones[i].name)))
            *zone_min = zones[i].minutes;
    *s = slice_from(*s, word.len);
    return true;
}

static bool time_of_day(slice *s, struct civil *c)
{
    if (!number(s, 1, 2, &c->hour))
        return false;
    blanks_skip(s);
    if (!expect(s, ':'))
        return false;
    blanks_skip(s);
    if (!number(s, 2, 2, &c->minute))
        return false;
    blanks_skip(s);
    c->second = 0;
    if (!expect(s, ':'))
        return true;
    blanks_skip(s);
    return number(s, 2, 2, &c->second);
}

/* date-time = [ day-of-week "," ] date time [CFWS]        RFC 5322 3.3 */
bool date_parse(slice text, int64_t *ms, int *zone_min)
{
    struct civil c;
    size_t digits;

    blanks_skip(&text);
    if (text.len != 0 && ascii_is_alpha(text.ptr[0])) {
        while (text.len != 0 && ascii_is_alpha(text.ptr[0]))
            text = slice_from(text, 1);
        blanks_skip(&text);
        expect(&text, ',');
        blanks_skip(&text);
    }
    if (!number(&text, 1, 2, &c.day))
        return false;
    blanks_skip(&text);
    if (!month(&text, &c.month))
        return false;
    blanks_skip(&text);
    digits = text.len;
    if (!number(&text, 2, 4, &c.year))
        return false;
    digits -= text.len;
    if (digits == 2)
        c.year += c.year < 50 ? 2000 : 1900; /* obs-year: RFC 5322 4.3 */
    else if (digits == 3)
        c.year += 1900;
    blanks_skip(&text);
    if (!time_of_day(&text, &c))
        return false;
    blanks_skip(&text);
    if (!zone(&text, zone_min))
        return false;
    return civil_ms(&c, *zone_min, ms);
}

/* date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE        RFC 9051 9 */
bool date_parse_imap(slice text, int64_t *ms, int *zone_min)
{
    struct civil c;

    if (text.len != 0 && text.ptr[0] == ' ')
        text = slice_from(text, 1);
    return number(&text, 1, 2, &c.day) && expect(&text, '-') && month(&text, &c.month) && expect(&text, '-') &&
           number(&text, 4, 4, &c.year) && expect(&text, ' ') && number(&text, 2, 2, &c.hour) && expect(&text, ':') &&
           number(&text, 2, 2, &c.minute) && expect(&text, ':') && number(&text, 2, 2, &c.second) &&
           expect(&text, ' ') && zone_digits(&text, zone_min) && text.len == 0 && civil_ms(&c, *zone_min, ms);
}

bool date_parse_imap_day(slice text, int64_t *day)
{
    struct civil c;

    if (!number(&text, 1, 2, &c.day) || !expect(&text, '-') || !month(&text, &c.month) || !expect(&text, '-') ||
        !number(&text, 4, 4, &c.year) || text.len != 0 || c.day < 1 || c.day > month_days(c.year, c.month))
        return false;
    *day = days_from_civil(c.year, c.month, c.day);
    return true;
}

static int64_t local_split(int64_t ms, int zone_min, struct civil *c, int64_t *year)
{
    int64_t seconds = (ms >= 0 ? ms : ms - 999) / 1000 + (int64_t)zone_min * 60;
    int64_t day = (seconds >= 0 ? seconds : seconds - 86399) / 86400;
    unsigned rest = (unsigned)(seconds - day * 86400);

    civil_from_days(day, year, &c->month, &c->day);
    c->hour = rest / 3600;
    c->minute = rest / 60 % 60;
    c->second = rest % 60;
    return day;
}

void date_print(int64_t ms, int zone_min, struct buf *out)
{
    struct civil c;
    int64_t year, day = local_split(ms, zone_min, &c, &year);
    int z = abs(zone_min);

    buf_printf(out, "%s, %u %s %04lld %02u:%02u:%02u %c%02d%02d", days[((day % 7) + 11) % 7], c.day,
               months[c.month - 1], (long long)year, c.hour, c.minute, c.second, zone_min < 0 ? '-' : '+', z / 60,
               z % 60);
}

void date_print_imap(int64_t ms, int zone_min, struct buf *out)
{
    struct civil c;
    int64_t year;
    int z = abs(zone_min);

    local_split(ms, zone_min, &c, &year);
    buf_printf(out, "\"%2u-%s-%04lld %02u:%02u:%02u %c%02d%02d\"", c.day, months[c.month - 1], (long long)year, c.hour,
               c.minute, c.second, zone_min < 0 ? '-' : '+', z / 60, z % 60);
}

int date_zone_now_min(int64_t ms)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;

    if (localtime_r(&t, &tm) == NULL)
        return 0;
    return (int)(tm.tm_gmtoff / 60);
}
