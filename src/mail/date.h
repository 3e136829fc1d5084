/* date.h - dates of mail. Pure. */
#ifndef MAIL_DATE_H
#define MAIL_DATE_H

#include "base/buf.h"
#include "base/slice.h"

/* RFC 5322 3.3, with obsolete zones and comments. *ms: UTC; *zone_min: offset written. False: not a date. */
bool date_parse(slice text, int64_t *ms, int *zone_min);
void date_print(int64_t ms, int zone_min, struct buf *out); /* "Fri, 21 Nov 2025 10:00:00 +0000" */
bool date_parse_imap(slice text, int64_t *ms,
                     int *zone_min); /* RFC 9051 date-time "17-Jul-1996 02:44:25 -0700", day may be blank-padded */
void date_print_imap(int64_t ms, int zone_min, struct buf *out); /* with quotes */
bool date_parse_imap_day(slice text, int64_t *day); /* "1-Feb-1994": days since 1970-01-01 */
int date_zone_now_min(int64_t ms); /* offset of the local zone at that time */

#endif
