/* names.c - names of mailboxes: UTF-8, levels separated by '/'. Pure. */
#include "store/names.h"

#include "base/utf8.h"

const char *const store_special_names[] = { "", "\\Drafts", "\\Sent", "\\Trash", "\\Junk", "\\Archive", "\\All",
                                            "\\Flagged" };

/* RFC 6154 2: names that a new account's mailboxes get their special use from. */
uint8_t name_special_use(slice name)
{
    static const char *const words[] = { "", "Drafts", "Sent", "Trash", "Junk", "Archive" };

    for (uint8_t i = 1; i < ARRAY_LEN(words); i++)
        if (slice_eq_nocase(name, slice_str(words[i])))
            return i;
    return 0;
}

/* RFC 9051 5.1: INBOX is INBOX in any case; so is the first level of what lies below it. */
slice name_fold(struct arena *mem, slice name)
{
    ssize_t cut = slice_find_byte(name, '/');
    slice first = slice_sub(name, 0, cut < 0 ? name.len : (size_t)cut);

    if (!slice_eq_nocase(first, SLICE("INBOX")) || slice_eq(first, SLICE("INBOX")))
        return slice_dup(mem, name);
    return arena_printf(mem, "INBOX%.*s", SLICE_ARG(slice_from(name, first.len)));
}

bool name_is_inbox(slice name)
{
    return slice_eq(name, SLICE("INBOX"));
}

bool name_is_below(slice name, slice parent)
{
    return name.len > parent.len && slice_starts(name, parent) && name.ptr[parent.len] == '/';
}

slice name_parent(slice name)
{
    ssize_t cut = slice_rfind_byte(name, '/');

    return cut <= 0 ? SLICE_NONE : slice_sub(name, 0, (size_t)cut);
}

static bool has_bad_character(slice name)
{
    uint32_t cp;

    while (utf8_next(&name, &cp)) {
        if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == '%' || cp == '*' || cp == 0x2028 || cp == 0x2029)
            return true; /* RFC 9051 5.1: no controls, no line separators; wildcards would confuse LIST */
    }
    return name.len != 0;
}

enum store_result store_name_check(const struct store_conf *c, slice name, struct arena *mem, slice *canonical)
{
    uint32_t levels = 1;

    if (name.len > 1 && name.ptr[name.len - 1] == '/')
        name.len--; /* RFC 9051 6.3.4: CREATE "x/" only declares that names below will follow */
    if (name.len > c->name_max)
        return STORE_LIMIT;
    if (name.len == 0 || has_bad_character(name))
        return STORE_BAD_NAME;
    if (name.ptr[0] == '/' || name.ptr[name.len - 1] == '/' || slice_find(name, SLICE("//")) >= 0)
        return STORE_BAD_NAME;
    for (size_t i = 0; i < name.len; i++)
        levels += name.ptr[i] == '/';
    if (levels > c->depth_max)
        return STORE_LIMIT;
    *canonical = name_fold(mem, name);
    return STORE_OK;
}
