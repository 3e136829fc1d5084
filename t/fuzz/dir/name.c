/* Names: a normal form is its own normal form, printing it parses back to it, and what a user may be called never needs
 * quoting. Domains: what is accepted is lower-case LDH, and stays what it is. */
#include "base/mem.h"
#include "dir/internal.h"
#include "mail/idna.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(slice text, struct arena *mem)
{
    struct dir_name once, twice;
    slice printed;

    if (dir_name_parse(text, mem, &once, NULL) < 0)
        return;
    ASSERT(once.local.len == 0 || once.domain.len + once.local.len < ADDRESS_KEY_MAX_OCTETS || once.domain.len == 0);
    if (dir_user_name_check(once.local, NULL) == 0) {
        ASSERT(once.local.len <= ADDRESS_LOCAL_MAX_OCTETS);
        for (size_t i = 0; i < once.local.len; i++)
            ASSERT(strchr("\"@ /\\:*%+", once.local.ptr[i]) == NULL);
    }
    if (once.domain.len == 0)
        return;
    printed = dir_name_print(&once, mem);
    ASSERT(dir_name_parse(printed, mem, &twice, NULL) == 0);
    ASSERT(slice_eq(once.local, twice.local) && slice_eq(once.domain, twice.domain));
}

static void check_domain(slice text, struct arena *mem)
{
    slice ascii, again;

    if (idna_to_ascii(text, mem, &ascii, NULL) < 0)
        return;
    ASSERT(ascii.len > 0 && ascii.len <= IDNA_DOMAIN_MAX_OCTETS);
    for (size_t i = 0; i < ascii.len; i++)
        ASSERT(ascii.ptr[i] == ascii_lower(ascii.ptr[i]) && ascii.ptr[i] < 0x80);
    ASSERT(idna_to_ascii(ascii, mem, &again, NULL) == 0 && slice_eq(ascii, again));
    (void)idna_to_unicode(ascii, mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct user_entry user;
    struct alias_entry alias;
    struct domain_entry domain;
    struct buf out = BUF_INIT;
    struct arena mem;
    slice in = slice_of(data, size);

    arena_init(&mem, 1024);
    check_name(in, &mem);
    check_domain(in, &mem);
    if (user_decode(in, &user)) { /* stored entries: what decodes is encoded as it was, but for unknown flags */
        user_encode(&out, &user);
        ASSERT(out.len == size);
    }
    buf_reset(&out);
    if (alias_decode(in, &alias)) {
        alias_encode(&out, &alias);
        ASSERT(slice_eq(buf_slice(&out), in));
    }
    buf_reset(&out);
    if (domain_decode(in, &domain)) {
        domain_encode(&out, &domain);
        ASSERT(slice_eq(buf_slice(&out), in));
    }
    buf_free(&out);
    arena_free(&mem);
    return 0;
}
