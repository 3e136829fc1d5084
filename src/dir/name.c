#include "dir/internal.h"

#include "mail/idna.h"

/* What the store and the MTA refuse in a user id, as one set: message-store.md 2.2. */
static const char user_refused[] = " $~=#*+%!@,{}()/\\<>;:\"`[]&?";

static const char *const reserved[] = { "anonymous", "anybody", "anyone" }; /* identifiers of access lists */

slice dir_lower(slice text, struct arena *mem)
{
    unsigned char *out;

    if (text.len == 0)
        return SLICE_NONE;
    out = arena_octets(mem, text.len);
    for (size_t i = 0; i < text.len; i++)
        out[i] = ascii_lower(text.ptr[i]);
    return slice_of(out, text.len);
}

static int dots_check(slice local, struct err *err)
{
    if (local.ptr[0] == '.' || local.ptr[local.len - 1] == '.' || slice_find(local, SLICE("..")) >= 0)
        return err_set(err, ERR_SYNTAX, "a name must not begin or end with a dot or hold two in a row");
    return 0;
}

int dir_user_name_check(slice local, struct err *err)
{
    if (local.len == 0)
        return err_set(err, ERR_SYNTAX, "the user's name is empty");
    if (local.len > ADDRESS_LOCAL_MAX_OCTETS)
        return err_set(err, ERR_SYNTAX, "a user's name has at most %d octets", ADDRESS_LOCAL_MAX_OCTETS);
    for (size_t i = 0; i < local.len; i++) {
        unsigned char c = local.ptr[i];

        if (c < 0x20 || c > 0x7e)
            return err_set(err, ERR_SYNTAX, "a user's name has ASCII letters, digits and marks only (octet 0x%02x)", c);
        if (strchr(user_refused, c) != NULL)
            return err_set(err, ERR_SYNTAX, "'%c' is not allowed in a user's name; an alias may have it", c);
    }
    if (local.ptr[0] == '-')
        return err_set(err, ERR_SYNTAX, "a user's name must not begin with '-'");
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (slice_eq_nocase(local, slice_str(reserved[i])))
            return err_set(err, ERR_SYNTAX, "\"%s\" is reserved for access lists", reserved[i]);
    }
    return dots_check(local, err);
}

int dir_alias_name_check(slice local, struct err *err)
{
    if (local.len == 0 || local.len > ADDRESS_LOCAL_MAX_OCTETS)
        return err_set(err, ERR_SYNTAX, "an alias's name has 1 to %d octets", ADDRESS_LOCAL_MAX_OCTETS);
    for (size_t i = 0; i < local.len; i++) {
        if (local.ptr[i] < 0x20 || local.ptr[i] == 0x7f)
            return err_set(err, ERR_SYNTAX, "a control character in the alias's name");
    }
    return 0;
}

int dir_name_parse(slice text, struct arena *mem, struct dir_name *out, struct err *err)
{
    struct address a;

    out->domain = SLICE_NONE;
    if (text.len > ADDRESS_LOCAL_MAX_OCTETS * 2 + ADDRESS_DOMAIN_MAX_OCTETS * 4)
        return err_set(err, ERR_SYNTAX, "the address is too long");
    if (slice_rfind_byte(text, '@') < 0) {
        if (text.len == 0)
            return err_set(err, ERR_SYNTAX, "the address is empty");
        out->local = dir_lower(text, mem);
        return 0;
    }
    if (address_parse(text, &a, mem, err) < 0)
        return -1;
    out->local = dir_lower(a.local, mem);
    return idna_to_ascii(a.domain, mem, &out->domain, err);
}

slice dir_name_print(const struct dir_name *n, struct arena *mem)
{
    struct address a = { n->local, n->domain };
    struct buf text = BUF_INIT;
    slice out;

    address_print(&a, &text);
    out = slice_dup(mem, buf_slice(&text));
    buf_free(&text);
    return out;
}
