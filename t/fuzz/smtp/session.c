/* A whole session, fed with the input at one go, and with LMTP when it begins with 'L': it always ends, every line it
 * says is a reply, and the ledger closes. The site lives on between inputs, so mail piles up in it as in a server. */
#include "smtp_site.h"

#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* reply-line = 3DIGIT ("-" / SP) text CRLF */
static void check_replies(slice text)
{
    bool found = true;

    while (text.len != 0) {
        slice line = slice_cut(&text, '\n', &found);

        ASSERT(found && line.len >= 5 && line.len <= 511 && line.ptr[line.len - 1] == '\r');
        ASSERT(line.ptr[0] >= '2' && line.ptr[0] <= '5' && line.ptr[1] <= '5');
        ASSERT(line.ptr[3] == ' ' || line.ptr[3] == '-');
        for (size_t i = 0; i + 1 < line.len; i++)
            ASSERT(line.ptr[i] >= ' ' && line.ptr[i] <= '~');
    }
}

static void check_ledger(struct smtp_site *site)
{
    json_t *l = smtp_site_ledger(site);
    int64_t ended = 0;

    ended += json_get_int(l, "delivered", 0) + json_get_int(l, "refused", 0);
    ended += json_get_int(l, "expanded", 0) + json_get_int(l, "merged", 0) + json_get_int(l, "queued", 0);
    ASSERT(json_get_int(l, "created", -1) == ended);
    json_decref(l);
}

static struct smtp_site *the_site;

static void at_end(void)
{
    smtp_site_destroy(&the_site);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct protocol *p = size != 0 && data[0] == 'L' ? &lmtp_protocol : &smtp_protocol;
    int fd;

    if (the_site == NULL) {
        the_site = smtp_site_new("{\"intake\": {\"message_bytes_max\": 65536}, \"smtp\": {\"errors_max\": 100}}");
        atexit(at_end);
    }
    fd = smtp_site_connect(the_site, p);
    check_replies(slice_str(smtp_site_talk(the_site, fd, SLICE_NONE, 1)));
    check_replies(slice_str(smtp_site_talk(the_site, fd, slice_of(data, size), 0)));
    close(fd);
    check_ledger(the_site);
    return 0;
}
