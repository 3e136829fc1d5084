#include "mail/idna.h"

#include <idn2.h>

#include "base/utf8.h"

#define INPUT_MAX_OCTETS 1024u /* a name of 253 octets in A-labels is never longer in U-labels */
#define LABEL_MAX_OCTETS 63    /* RFC 1035 2.3.4 */

static int refuse(struct err *err, const char *why)
{
    return err_set(err, ERR_SYNTAX, "domain name: %s", why);
}

/* Labels of letters, digits, hyphens inside and underscores (found in the wild, harmless). */
static bool label_is_ldh(slice label)
{
    if (label.len == 0 || label.len > LABEL_MAX_OCTETS || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++) {
        if (!ascii_is_alnum(label.ptr[i]) && label.ptr[i] != '-' && label.ptr[i] != '_')
            return false;
    }
    return true;
}

static bool name_is_ldh(slice name)
{
    bool more = true;

    if (name.len == 0 || name.len > IDNA_DOMAIN_MAX_OCTETS)
        return false;
    while (more) {
        if (!label_is_ldh(slice_cut(&name, '.', &more)))
            return false;
    }
    return true;
}

static slice lowered(slice name, struct arena *mem)
{
    unsigned char *out = arena_octets(mem, name.len);

    for (size_t i = 0; i < name.len; i++)
        out[i] = ascii_lower(name.ptr[i]);
    return slice_of(out, name.len);
}

int idna_to_ascii(slice domain, struct arena *mem, slice *out, struct err *err)
{
    char *ascii = NULL;
    slice name;
    int rc;

    if (domain.len > 0 && domain.ptr[domain.len - 1] == '.')
        domain.len--;
    if (domain.len == 0 || domain.len > INPUT_MAX_OCTETS)
        return refuse(err, domain.len == 0 ? "empty" : "too long");
    if (utf8_is_ascii(domain)) {
        name = lowered(domain, mem);
    } else {
        if (!utf8_valid(domain) || memchr(domain.ptr, 0, domain.len) != NULL)
            return refuse(err, "not valid UTF-8");
        rc = idn2_to_ascii_8z(arena_str(mem, domain), &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
        if (rc != IDN2_OK)
            return refuse(err, idn2_strerror(rc));
        name = lowered(slice_str(ascii), mem);
        idn2_free(ascii);
    }
    if (!name_is_ldh(name))
        return refuse(err, "labels must be letters, digits and inner hyphens, at most 63 octets each, 253 in all");
    *out = name;
    return 0;
}

slice idna_to_unicode(slice domain, struct arena *mem)
{
    char *text = NULL;
    slice out = domain;

    if (domain.len == 0 || domain.len > IDNA_DOMAIN_MAX_OCTETS || memchr(domain.ptr, 0, domain.len) != NULL)
        return domain;
    if (idn2_to_unicode_8z8z(arena_str(mem, domain), &text, 0) == IDN2_OK)
        out = slice_dup(mem, slice_str(text));
    idn2_free(text);
    return out;
}
