/* Addresses: what is accepted prints as something that reads as the same; lists keep to their bound. */
#include "mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct address a, b;
    struct buf out = BUF_INIT;
    struct arena mem;
    unsigned n = 0;

    arena_init(&mem, 1024);
    if (address_parse(slice_of(data, size), &a, &mem, NULL) == 0) {
        address_print(&a, &out);
        ASSERT(address_parse(buf_slice(&out), &b, &mem, NULL) == 0);
        ASSERT(address_eq(&a, &b));
    }
    for (const struct mailbox_entry *e = address_list_parse(slice_of(data, size), 50, &mem); e != NULL; e = e->next)
        n++;
    ASSERT(n <= 51);
    buf_free(&out);
    arena_free(&mem);
    return 0;
}
