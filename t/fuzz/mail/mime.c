/* MIME structure: parts lie inside their parents and do not overlap; the texts for IMAP can be made; decoding ends. */
#include "base/err.h"
#include "mail/imapform.h"
#include "mail/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void part_check(slice message, const struct mime_part *p, unsigned depth)
{
    uint64_t end = p->at + p->header_bytes + p->body_bytes, at = p->at + p->header_bytes;
    struct buf text = BUF_INIT;

    ASSERT(depth <= MIME_DEPTH_MAX + 1);
    ASSERT(end <= message.len);
    ASSERT(p->body_lines <= p->body_bytes);
    for (const struct mime_part *c = p->first_child; c != NULL; c = c->next) {
        ASSERT(c->at >= at);
        at = c->at + c->header_bytes + c->body_bytes;
        part_check(message, c, depth + 1);
    }
    if (p->first_child == NULL)
        mime_decode_text(message, p, &text);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice message = slice_of(data, size);
    struct buf out = BUF_INIT;
    struct mime_part *top;
    struct arena mem;

    arena_init(&mem, 4096);
    top = mime_parse(message, &mem);
    ASSERT(top->at == 0 && top->header_bytes + top->body_bytes == size);
    part_check(message, top, 0);
    imapform_body(message, top, true, &out);
    imapform_envelope(slice_sub(message, 0, (size_t)top->header_bytes), &out);
    buf_free(&out);
    arena_free(&mem);
    return 0;
}
