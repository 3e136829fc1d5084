/* body_now.c - reading bodies without waiting for the disk, and waiting for it where that is allowed. */
#include "journal/body.h"

#include <sys/uio.h>

#include "base/mem.h"

#define WARM_MAX_BYTES (64ull * 1024 * 1024)
#define WARM_STEP_BYTES (64u * 1024)

bool journal_body_read_now(const struct body_pin *pin, uint64_t at, void *out, size_t len)
{
    struct iovec v = { out, len };

    if (at > pin->length || len > pin->length - at)
        return false;
    return preadv2(pin->pin.fd, &v, 1, (off_t)(pin->offset + at), RWF_NOWAIT) == (ssize_t)len;
}

int journal_body_warm(const struct body_pin *pin, uint64_t at, uint64_t len, struct err *err)
{
    unsigned char *scratch = NULL, probe;
    int rc = 0;

    if (len > WARM_MAX_BYTES)
        len = WARM_MAX_BYTES;
    for (uint64_t end = at + len; rc == 0 && at < end; at += WARM_STEP_BYTES) {
        size_t step = end - at < WARM_STEP_BYTES ? (size_t)(end - at) : WARM_STEP_BYTES;

        /* its last octet tells: pages are read in order */
        if (journal_body_read_now(pin, at + step - 1, &probe, 1))
            continue;
        if (scratch == NULL)
            scratch = mem_alloc(WARM_STEP_BYTES);
        rc = journal_body_read(pin, at, scratch, step, err);
    }
    mem_free(scratch);
    return rc;
}
