/* history.c - see history.h. */
#include "store/history.h"

#include "store/internal.h"

static void rows_read(const struct record *r, struct reader *in, enum store_event event, bool with_modseq,
                      uint64_t count, store_history_fn *fn, void *arg)
{
    struct store_row row;

    for (uint64_t i = 0; i < count && in->rest.len != 0; i++) {
        payload_row_read(in, &row, with_modseq);
        if (in->failed)
            return;
        fn(arg, &(struct store_history){ .event = event, .mailbox = r->object, .uid = row.uid, .last_uid = row.uid,
                                         .body = row.body.body_id, .system = row.system });
    }
}

static void image_read(const struct record *r, struct reader *in, store_history_fn *fn, void *arg)
{
    struct maxima max;
    uint64_t count;

    maxima_read(in, &max);
    (void)read_le64(in); /* modseq of the page */
    count = read_varint(in);
    if (!in->failed)
        rows_read(r, in, STORE_EVENT_SEEN_IN_IMAGE, true, count, fn, arg);
}

static void mailbox_read(const struct record *r, struct reader *in, store_history_fn *fn, void *arg)
{
    struct store_history h = { .event = STORE_EVENT_MAILBOX, .mailbox = r->object };

    if (r->type != ST_MAILBOX_RENAME) {
        h.account = read_le64(in);
        (void)read_octets(in, 5); /* uidvalidity, special use */
    }
    h.name = read_lenstr(in);
    if (!in->failed)
        fn(arg, &h);
}

void store_history_read(const struct record *r, store_history_fn *fn, void *arg)
{
    struct reader in = reader_of(r->payload);
    struct uid_range range;
    uint64_t keywords;
    uint32_t uid, system;

    switch (r->type) {
    case ST_MESSAGE_ADD:
        rows_read(r, &in, STORE_EVENT_ADDED, false, UINT64_MAX, fn, arg);
        break;
    case ST_PAGE_IMAGE:
        image_read(r, &in, fn, arg);
        break;
    case ST_MESSAGE_FLAGS:
        while (payload_flags_next(&in, &uid, &system, &keywords))
            fn(arg, &(struct store_history){ .event = STORE_EVENT_FLAGS, .mailbox = r->object, .uid = uid,
                                             .last_uid = uid, .system = system });
        break;
    case ST_MESSAGE_EXPUNGE:
        while (payload_range_next(&in, &range))
            fn(arg, &(struct store_history){ .event = STORE_EVENT_EXPUNGED, .mailbox = r->object, .uid = range.first,
                                             .last_uid = range.last });
        break;
    case ST_MAILBOX_CREATE:
    case ST_MAILBOX_IMAGE:
    case ST_MAILBOX_RENAME:
        mailbox_read(r, &in, fn, arg);
        break;
    default:
        break;
    }
}

void store_flags_print(uint32_t system, struct buf *out)
{
    static const struct {
        uint32_t flag;
        const char *name;
    } names[] = { { STORE_SEEN, "\\Seen" },       { STORE_ANSWERED, "\\Answered" }, { STORE_FLAGGED, "\\Flagged" },
                  { STORE_DELETED, "\\Deleted" }, { STORE_DRAFT, "\\Draft" } };
    size_t begin = out->len;

    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if ((system & names[i].flag) != 0)
            buf_printf(out, "%s%s", out->len == begin ? "" : " ", names[i].name);
    if (out->len == begin)
        buf_put_str(out, "none");
}
