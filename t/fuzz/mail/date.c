/* Dates: what is read prints as something that reads as the same. */
#include "base/err.h"
#include "mail/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out = BUF_INIT;
    int64_t ms, again, day;
    int zone, zone_again;

    if (date_parse(slice_of(data, size), &ms, &zone) || date_parse_imap(slice_of(data, size), &ms, &zone)) {
        date_print(ms, zone, &out);
        ASSERT(date_parse(buf_slice(&out), &again, &zone_again));
        ASSERT(again == ms && zone_again == zone);
    }
    date_parse_imap_day(slice_of(data, size), &day);
    buf_free(&out);
    return 0;
}
