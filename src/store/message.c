#include "store/message.h"

#include "base/budget.h"
#include "base/mem.h"
#include "store/internal.h"

#define LARGE_READ_BYTES (256u * 1024) /* of a message into memory: from here on memory is asked for */

static void range_put(struct store_range *r, const struct body_pin *pin, uint64_t at, uint64_t len)
{
    r->pin = *pin;
    r->at = at;
    r->len = len;
}

int store_message_ranges(struct store *s, const struct body_view *b, uint64_t at, uint64_t len,
                         struct store_range ranges[2], unsigned *count, struct err *err)
{
    uint64_t whole = body_view_bytes(b);
    struct journal_view jv;
    struct body_pin pin;
    int rc = -1;

    *count = 0;
    if (at > whole)
        at = whole;
    if (len > whole - at)
        len = whole - at;
    if (len == 0)
        return 0;
    if (journal_read_begin(s->journal, &jv, err) < 0)
        return -1;
    if (at < b->header_bytes) {
        uint64_t n = len < b->header_bytes - at ? len : b->header_bytes - at;

        if (journal_body_pin(s->journal, &jv, b->header_id, &pin, err) < 0)
            goto out;
        range_put(&ranges[(*count)++], &pin, at, n);
        at += n;
        len -= n;
    }
    if (len != 0) {
        if (journal_body_pin(s->journal, &jv, b->body_id, &pin, err) < 0)
            goto out;
        range_put(&ranges[(*count)++], &pin, b->body_at + (at - b->header_bytes), len);
    }
    rc = 0;
out:
    journal_read_end(&jv);
    if (rc < 0) {
        for (unsigned i = 0; i < *count; i++)
            journal_body_unpin(&ranges[i].pin);
        *count = 0;
    }
    return rc;
}

int store_message_read(struct store *s, const struct body_view *b, uint64_t at, uint64_t len, struct buf *out,
                       struct err *err)
{
    struct store_range ranges[2];
    unsigned count;
    int rc = 0;

    if (len >= LARGE_READ_BYTES && !budget_allows(len))
        return err_set(err, ERR_TEMP, "memory is short: %llu octets cannot be read now", (unsigned long long)len);
    if (store_message_ranges(s, b, at, len, ranges, &count, err) < 0)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        size_t before = out->len;

        if (rc == 0 && journal_body_read(&ranges[i].pin, ranges[i].at, buf_extend(out, (size_t)ranges[i].len),
                                         (size_t)ranges[i].len, err) < 0) {
            out->len = before;
            rc = -1;
        }
        journal_body_unpin(&ranges[i].pin);
    }
    return rc;
}

bool store_message_read_now(struct store *s, const struct body_view *b, uint64_t at, uint64_t len, struct buf *out)
{
    struct store_range ranges[2];
    struct err err = ERR_INIT;
    size_t before = out->len;
    unsigned count;
    bool ok = true;

    if (store_message_ranges(s, b, at, len, ranges, &count, &err) < 0)
        return false;
    for (unsigned i = 0; i < count; i++) {
        ok = ok && journal_body_read_now(&ranges[i].pin, ranges[i].at, buf_extend(out, (size_t)ranges[i].len),
                                         (size_t)ranges[i].len);
        journal_body_unpin(&ranges[i].pin);
    }
    if (!ok)
        out->len = before;
    return ok;
}

int store_message_load(struct store *s, const struct body_view *b, uint64_t max, struct buf *out, struct err *err)
{
    uint64_t whole = body_view_bytes(b);

    if (whole > max)
        return err_set(err, ERR_LIMIT, "a message of %llu octets", (unsigned long long)whole);
    return store_message_read(s, b, 0, whole, out, err);
}
