/* Notices: whatever a peer, a template or a header says, the report reads back with the same recipients; reading is
 * lenient and bounded. */
#include "base/err.h"
#include "mail/dsn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice rest = slice_of(data, size);
    slice text = slice_cut(&rest, 0, NULL), diag = slice_cut(&rest, 0, NULL);
    struct dsn_template t = *dsn_template_default(DSN_KIND_FAILED);
    struct dsn_rcpt r = { .final = SLICE("a@b.example"), .action = DSN_FAILED, .status = SLICE("5.0.0"),
                          .diag_type = SLICE("smtp"), .diag = diag, .orcpt = diag };
    struct dsn d = { .template = &t, .to = SLICE("c@d.example"), .boundary = SLICE("B"), .rcpts = &r, .rcpt_count = 1,
                     .header = rest, .reporting_mta = SLICE("host.example") };
    struct buf out = BUF_INIT, tail = BUF_INIT;
    unsigned status = 0;
    struct arena mem;
    slice mta, envid, lines;

    arena_init(&mem, 1024);
    dsn_parse(slice_of(data, size), &mta, &envid, &mem);
    t.prefix = t.text = text;
    dsn_write(&d, &out, &tail);
    lines = buf_slice(&out);
    for (ssize_t at; (at = slice_find(lines, SLICE("\r\n--B\r\nContent-Type: message/delivery-status\r\n"))) >= 0;) {
        lines = slice_from(lines, (size_t)at + 1);
        status++;
    }
    ASSERT(status >= 1); /* more only when the template or the original says so itself */
    buf_free(&out);
    buf_free(&tail);
    arena_free(&mem);
    return 0;
}
