/* dump.c - records of the store as text for people, and their search keys. */
#include "store/apply.h"

/* The name that a payload carries, or nothing. */
static slice payload_name(const struct record *r)
{
    struct reader in = reader_of(r->payload);
    slice name;

    switch (r->type) {
    case ST_ACCOUNT_CREATE:
    case ST_ACCOUNT_IMAGE:
        (void)read_octets(&in, r->type == ST_ACCOUNT_CREATE ? 20 : 21);
        break;
    case ST_MAILBOX_CREATE:
    case ST_MAILBOX_IMAGE:
        (void)read_octets(&in, 13);
        break;
    case ST_SUBSCRIBE:
    case ST_MAILBOX_KEYWORD:
        (void)read_u8(&in);
        break;
    default:
        break;
    }
    name = read_lenstr(&in);
    return in.failed ? SLICE_NONE : name;
}

static void put_printable(struct buf *out, slice name)
{
    for (size_t i = 0; i < name.len; i++)
        buf_put_byte(out, name.ptr[i] < 0x20 || name.ptr[i] == 0x7f ? '?' : name.ptr[i]);
}

void dump_name(const struct record *r, struct buf *out)
{
    put_printable(out, payload_name(r));
    if (r->type == ST_SUBSCRIBE && r->payload.len != 0)
        buf_put_str(out, r->payload.ptr[0] != 0 ? " on" : " off");
}

void dump_messages(const struct record *r, struct buf *out)
{
    struct reader in = reader_of(r->payload);
    struct uid_range range;
    struct store_row row;
    uint64_t keywords;
    uint32_t uid, system;

    if (r->type == ST_MESSAGE_ADD)
        while (in.rest.len > 0 && (payload_row_read(&in, &row, false), !in.failed))
            buf_printf(out, " %u (body %llu, %llu octets)", row.uid, (unsigned long long)row.body.body_id,
                       (unsigned long long)row.bytes);
    else if (r->type == ST_MESSAGE_FLAGS)
        while (payload_flags_next(&in, &uid, &system, &keywords))
            buf_printf(out, " %u %x/%llx", uid, system, (unsigned long long)keywords);
    else if (r->type == ST_MESSAGE_EXPUNGE)
        while (payload_range_next(&in, &range))
            buf_printf(out, " %u-%u", range.first, range.last);
}

void keys_name(const struct record *r, journal_key_fn *key, void *arg)
{
    slice name = payload_name(r);

    if (name.len != 0)
        key(arg, name);
}
