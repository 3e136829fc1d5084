/* rows.c - reading the store's tables. */
#include "store/internal.h"

bool account_head_get(struct journal_view *v, uint64_t account, struct account_head *h)
{
    slice value;

    return journal_get_u64(v, STORE_TABLE_ACCOUNT, account, &value) && account_head_decode(value, h);
}

void usage_get(struct journal_view *v, uint64_t account, struct usage *u)
{
    slice value;

    if (!journal_get_u64(v, STORE_TABLE_USAGE, account, &value) || !usage_decode(value, u))
        memset(u, 0, sizeof *u);
}

bool mailbox_head_get(struct journal_view *v, uint64_t mailbox, struct mailbox_head *h)
{
    slice value;

    return journal_get_u64(v, STORE_TABLE_HEAD, mailbox, &value) && mailbox_head_decode(value, h);
}

bool mailbox_count_get(struct journal_view *v, uint64_t mailbox, struct mailbox_count *c)
{
    slice value;

    if (journal_get_u64(v, STORE_TABLE_COUNT, mailbox, &value) && mailbox_count_decode(value, c))
        return true;
    memset(c, 0, sizeof *c);
    c->max.uidnext = 1;
    return false;
}

void keyword_counts_get(struct journal_view *v, uint64_t mailbox, struct keyword_counts *k)
{
    struct reader r;
    slice value;

    memset(k, 0, sizeof *k);
    if (!journal_get_u64(v, STORE_TABLE_KEYWORDS, mailbox, &value))
        return;
    r = reader_of(value);
    for (unsigned i = 0; i < STORE_KEYWORDS_MAX && r.rest.len > 0; i++)
        k->messages[i] = (uint32_t)read_varint(&r);
}

bool page_count_get(struct journal_view *v, uint64_t mailbox, uint32_t part, struct page_count *p)
{
    struct store_key k;
    slice value;

    if (journal_get(v, STORE_TABLE_PAGE, key_u64_u32(&k, mailbox, part), &value) && page_count_decode(value, p))
        return true;
    memset(p, 0, sizeof *p);
    return false;
}

bool row_get(struct journal_view *v, uint64_t mailbox, uint32_t uid, struct store_row *row)
{
    struct store_key k;
    slice value;

    return journal_get(v, STORE_TABLE_ROW, key_u64_u32(&k, mailbox, uid), &value) && store_row_decode(uid, value, row);
}

/* --- rows by rising uid ------------------------------------------------------------------------------------------ */

void row_cursor_begin(struct row_cursor *c, struct journal_view *v, uint64_t mailbox, uint32_t from_uid)
{
    journal_cursor_begin(&c->c, v, STORE_TABLE_ROW);
    c->mailbox = mailbox;
    c->from = from_uid;
    c->is_begun = false;
}

bool row_cursor_next(struct row_cursor *c, struct store_row *row)
{
    struct store_key k;
    slice key, value;
    bool found;

    for (;;) {
        if (!c->is_begun)
            found = journal_cursor_seek(&c->c, key_u64_u32(&k, c->mailbox, c->from), &key, &value);
        else
            found = journal_cursor_next(&c->c, &key, &value);
        c->is_begun = true;
        if (!found || key.len != 12 || get_be64(key.ptr) != c->mailbox)
            return false;
        if (store_row_decode(get_be32(key.ptr + 8), value, row))
            return true; /* one that does not decode is left out: posthouse check names it */
    }
}

void row_cursor_end(struct row_cursor *c)
{
    journal_cursor_end(&c->c);
}

/* --- names ------------------------------------------------------------------------------------------------------- */

/* FNV-1a, finished as splitmix64 does: it stands in keys of a format, so it must never change; names that collide share
 * a bucket. */
uint64_t name_hash(slice name)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < name.len; i++)
        h = (h ^ name.ptr[i]) * 0x100000001b3u;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
    return h ^ (h >> 31);
}

uint32_t subscribe_part(slice name)
{
    return 1 + (uint32_t)(name_hash(name) >> 60);
}

size_t name_bucket_bytes(struct journal_view *v, unsigned table, uint64_t account, slice name)
{
    struct store_key k;
    slice value;

    return journal_get(v, table, key_u64_u64(&k, account, name_hash(name)), &value) ? value.len : 0;
}

bool name_find(struct journal_view *v, uint64_t account, slice name, uint64_t *mailbox)
{
    struct store_key k;
    struct reader r;
    bool found = false;
    slice value;

    if (!journal_get(v, STORE_TABLE_NAME, key_u64_u64(&k, account, name_hash(name)), &value))
        return false;
    r = reader_of(value);
    while (r.rest.len > 0 && !r.failed) {
        uint64_t id = read_le64(&r);
        slice each = read_lenstr(&r);

        if (!r.failed && slice_eq(each, name)) { /* two only after damage: the newer one counts */
            *mailbox = id;
            found = true;
        }
    }
    return found;
}

void name_each(struct journal_view *v, uint64_t account, name_fn *fn, void *arg)
{
    struct journal_cursor c;
    struct store_key k;
    slice key, value;
    bool more, go_on = true;

    journal_cursor_begin(&c, v, STORE_TABLE_NAME);
    more = journal_cursor_seek(&c, key_u64_u64(&k, account, 0), &key, &value);
    while (more && go_on && key.len == 16 && get_be64(key.ptr) == account) {
        struct reader r = reader_of(value);

        while (r.rest.len > 0 && go_on) {
            uint64_t id = read_le64(&r);
            slice name = read_lenstr(&r);

            if (r.failed)
                break;
            go_on = fn(arg, id, name);
        }
        more = journal_cursor_next(&c, &key, &value);
    }
    journal_cursor_end(&c);
}

bool subscribed_find(struct journal_view *v, uint64_t account, slice name)
{
    struct store_key k;
    struct reader r;
    slice value;

    if (!journal_get(v, STORE_TABLE_SUBSCRIBED, key_u64_u64(&k, account, name_hash(name)), &value))
        return false;
    r = reader_of(value);
    while (r.rest.len > 0 && !r.failed) {
        if (slice_eq(read_lenstr(&r), name) && !r.failed)
            return true;
    }
    return false;
}

void subscribed_each(struct journal_view *v, uint64_t account, uint32_t part, name_fn *fn, void *arg)
{
    struct journal_cursor c;
    struct store_key k;
    slice key, value;
    bool more, go_on = true;
    uint64_t from = part == 0 ? 0 : (uint64_t)(part - 1) << 60;

    journal_cursor_begin(&c, v, STORE_TABLE_SUBSCRIBED);
    more = journal_cursor_seek(&c, key_u64_u64(&k, account, from), &key, &value);
    while (more && go_on && key.len == 16 && get_be64(key.ptr) == account) {
        struct reader r = reader_of(value);

        if (part != 0 && get_be64(key.ptr + 8) >> 60 != part - 1)
            break;
        while (r.rest.len > 0 && go_on) {
            slice name = read_lenstr(&r);

            if (r.failed)
                break;
            go_on = fn(arg, 0, name);
        }
        more = journal_cursor_next(&c, &key, &value);
    }
    journal_cursor_end(&c);
}

/* --- tombstones -------------------------------------------------------------------------------------------------- */

void tomb_each(struct journal_view *v, uint64_t mailbox, uint32_t part, tomb_fn *fn, void *arg)
{
    struct journal_cursor c;
    struct store_key k;
    slice key, value;
    bool more;

    journal_cursor_begin(&c, v, STORE_TABLE_TOMB);
    more = journal_cursor_seek(&c, key_tomb(&k, mailbox, part, 0), &key, &value);
    while (more && key.len == 20 && get_be64(key.ptr) == mailbox && (part == 0 || get_be32(key.ptr + 8) == part)) {
        if (value.len >= 8)
            fn(arg, get_be64(key.ptr + 12), (int64_t)get_le64(value.ptr), slice_from(value, 8));
        more = journal_cursor_next(&c, &key, &value);
    }
    journal_cursor_end(&c);
}
