/* Whatever the line, the parsers end with a value or a reason; a path that was read prints to one that reads
 * the same. */
#include "smtp/syntax.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_path(slice text, unsigned flags, struct arena *mem)
{
    struct err err = ERR_INIT;
    struct address a, b;
    struct buf printed = BUF_INIT;
    slice in = text;

    if (smtp_path_parse(&in, flags, mem, &a, &err) < 0) {
        ASSERT(err.kind == ERR_SYNTAX && err.text[0] != '\0' && in.len <= text.len);
        return;
    }
    ASSERT(a.local.len <= ADDRESS_LOCAL_MAX_OCTETS && a.domain.len <= ADDRESS_DOMAIN_MAX_OCTETS);
    buf_put_byte(&printed, '<');
    if (a.local.ptr != NULL)
        address_print(&a, &printed);
    buf_put_byte(&printed, '>');
    in = buf_slice(&printed);
    ASSERT(smtp_path_parse(&in, flags, mem, &b, &err) == 0 && in.len == 0);
    ASSERT(slice_eq(a.local, b.local) && slice_eq(a.domain, b.domain));
    buf_free(&printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice line = slice_of(data, size), rest = line, a, b;
    struct err err = ERR_INIT;
    struct arena mem;
    struct envelope from;
    struct recipient rcpt;
    uint64_t bytes;
    bool is;

    arena_init(&mem, 4096);
    smtp_verb(&rest);
    ASSERT(rest.len <= line.len);
    (void)smtp_helo_parse(rest, &a, &err);
    check_path(line, 0, &mem);
    check_path(rest, SMTP_PATH_NULL | SMTP_PATH_POSTMASTER, &mem);
    if (smtp_mail_parse(rest, &mem, &from, &err) < 0)
        ASSERT(err.kind == ERR_SYNTAX || err.kind == ERR_PERM);
    if (smtp_rcpt_parse(rest, &mem, &rcpt, &err) < 0)
        ASSERT(err.kind == ERR_SYNTAX || err.kind == ERR_PERM);
    (void)smtp_auth_parse(rest, &a, &b, &is, &err);
    (void)smtp_bdat_parse(rest, &bytes, &is, &err);
    arena_free(&mem);
    return 0;
}
