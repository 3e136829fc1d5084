#include "dir/internal.h"

enum user_flags { USER_IS_ADMIN = 1 };

const char *const dir_status_names[DIR_STATUSES] = { "active", "inactive", "deleted", "hold" };

/* --- octets ------------------------------------------------------------------------------------------------------- */

static bool format_known(struct reader *r)
{
    return read_u8(r) == ENTRY_FORMAT && !r->failed;
}

static bool status_read(struct reader *r, enum dir_status *status)
{
    uint8_t octet = read_u8(r);

    *status = (enum dir_status)octet;
    return octet < DIR_STATUSES && octet != DIR_DELETED;
}

static bool name_read(struct reader *r, struct dir_name *n)
{
    n->local = read_lenstr(r);
    n->domain = read_lenstr(r);
    return n->local.len > 0 && n->domain.len > 0 && n->local.len + n->domain.len < ADDRESS_KEY_MAX_OCTETS;
}

void domain_encode(struct buf *out, const struct domain_entry *e)
{
    buf_put_byte(out, ENTRY_FORMAT);
    buf_put_byte(out, (unsigned char)e->status);
    buf_put_lenstr(out, e->name);
}

bool domain_decode(slice octets, struct domain_entry *e)
{
    struct reader r = reader_of(octets);

    if (!format_known(&r) || !status_read(&r, &e->status))
        return false;
    e->name = read_lenstr(&r);
    return reader_done(&r) && e->name.len > 0 && e->name.len < ADDRESS_KEY_MAX_OCTETS;
}

void user_encode(struct buf *out, const struct user_entry *e)
{
    buf_put_byte(out, ENTRY_FORMAT);
    buf_put_byte(out, (unsigned char)e->status);
    buf_put_byte(out, e->is_admin ? USER_IS_ADMIN : 0);
    buf_put_lenstr(out, e->name.local);
    buf_put_lenstr(out, e->name.domain);
    buf_put_lenstr(out, e->display);
    buf_put_varint(out, e->quota_bytes);
    buf_put_lenstr(out, e->secrets.crypt);
    buf_put_lenstr(out, e->secrets.scram_sha256);
}

bool user_decode(slice octets, struct user_entry *e)
{
    struct reader r = reader_of(octets);

    if (!format_known(&r) || !status_read(&r, &e->status))
        return false;
    e->is_admin = (read_u8(&r) & USER_IS_ADMIN) != 0;
    if (!name_read(&r, &e->name))
        return false;
    e->display = read_lenstr(&r);
    e->quota_bytes = read_varint(&r);
    e->secrets.crypt = read_lenstr(&r);
    e->secrets.scram_sha256 = read_lenstr(&r);
    return reader_done(&r);
}

void alias_encode(struct buf *out, const struct alias_entry *e)
{
    buf_put_byte(out, ENTRY_FORMAT);
    buf_put_lenstr(out, e->name.local);
    buf_put_lenstr(out, e->name.domain);
    buf_put_varint(out, e->count);
    buf_put_slice(out, e->targets);
}

bool alias_decode(slice octets, struct alias_entry *e)
{
    struct reader r = reader_of(octets);
    uint64_t count;

    if (!format_known(&r) || !name_read(&r, &e->name))
        return false;
    count = read_varint(&r);
    e->targets = r.rest;
    if (r.failed || count > DIR_ALIAS_TARGETS_MAX)
        return false;
    e->count = (uint32_t)count;
    while (count-- > 0)
        (void)read_lenstr(&r);
    return reader_done(&r);
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

slice address_prefix(struct address_key *k, slice domain)
{
    ASSERT(domain.len < sizeof(k->octets));
    memcpy(k->octets, domain.ptr, domain.len);
    k->octets[domain.len] = 0; /* in no domain name, so that no domain is the beginning of another's key */
    return slice_of(k->octets, domain.len + 1);
}

slice address_key(struct address_key *k, const struct dir_name *n)
{
    slice prefix = address_prefix(k, n->domain);

    ASSERT(n->local.len <= sizeof(k->octets) - prefix.len);
    if (n->local.len > 0)
        memcpy(k->octets + prefix.len, n->local.ptr, n->local.len);
    return slice_of(k->octets, prefix.len + n->local.len);
}

/* --- look-ups ----------------------------------------------------------------------------------------------------- */

bool domain_find(struct journal_view *v, slice name, struct domain_entry *e)
{
    slice found;

    if (name.len == 0 || name.len >= ADDRESS_KEY_MAX_OCTETS)
        return false;
    if (!journal_get(v, TABLE_DOMAIN_NAME, name, &found) || found.len != 8)
        return false;
    e->id = get_le64(found.ptr);
    return journal_get_u64(v, TABLE_DOMAIN, e->id, &found) && domain_decode(found, e);
}

bool domain_first(struct journal_view *v, struct domain_entry *e)
{
    struct journal_cursor c;
    slice key, value;
    bool found = false;

    journal_cursor_begin(&c, v, TABLE_DOMAIN);
    while (!found && journal_cursor_next(&c, &key, &value)) { /* ids rise: the first is the oldest */
        e->id = key.len == 8 ? get_be64(key.ptr) : 0;
        found = e->id != 0 && domain_decode(value, e);
    }
    journal_cursor_end(&c);
    return found;
}

bool address_find(struct journal_view *v, const struct dir_name *n, enum address_kind *kind, uint64_t *id)
{
    struct address_key k;
    slice found;

    if (n->domain.len == 0 || n->local.len == 0 || n->domain.len + n->local.len >= ADDRESS_KEY_MAX_OCTETS)
        return false;
    if (!journal_get(v, TABLE_ADDRESS, address_key(&k, n), &found) || found.len != 9)
        return false;
    *kind = (enum address_kind)found.ptr[0];
    *id = get_le64(found.ptr + 1);
    return true;
}

bool user_get(struct journal_view *v, uint64_t id, struct user_entry *e)
{
    slice found;

    e->id = id;
    return journal_get_u64(v, TABLE_USER, id, &found) && user_decode(found, e);
}

bool alias_get(struct journal_view *v, uint64_t id, struct alias_entry *e)
{
    slice found;

    e->id = id;
    return journal_get_u64(v, TABLE_ALIAS, id, &found) && alias_decode(found, e);
}
