/* Every parser of the room on any octets: the first octet chooses. What a set prints parses to the same set. */
#include "imap/syntax.h"

#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_set(struct imap_in *in, struct arena *mem)
{
    struct buf once = BUF_INIT, twice = BUF_INIT;
    struct imap_set a, b;
    struct imap_in again;

    if (imap_set(in, &a)) {
        imap_set_print(&a, &once);
        imap_in_init(&again, buf_slice(&once), mem);
        ASSERT(imap_set(&again, &b) && imap_end(&again));
        imap_set_print(&b, &twice);
        ASSERT(slice_eq(buf_slice(&once), buf_slice(&twice)));
        imap_set_resolve(&a, 1000);
        for (unsigned i = 1; i < a.count; i++)
            ASSERT(a.ranges[i].first > a.ranges[i - 1].last);
        if (a.count > 0)
            ASSERT(imap_set_has(&a, a.ranges[0].first));
    }
    buf_free(&once);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct imap_search_command search;
    struct imap_append append;
    struct imap_literal literal;
    struct imap_fetch fetch;
    struct imap_store store;
    struct imap_list list;
    struct arena mem;
    struct imap_in in;
    slice s;

    if (size == 0)
        return 0;
    arena_init(&mem, 4096);
    s = slice_of(data + 1, size - 1);
    imap_in_init(&in, s, &mem);
    switch (data[0]) {
    case 's':
        check_set(&in, &mem);
        break;
    case 'f':
        imap_fetch_parse(&in, &fetch);
        break;
    case 'q':
        imap_search_parse(&in, &search);
        break;
    case 'l':
        imap_list_parse(&in, false, &list);
        break;
    case 't':
        imap_store_parse(&in, &store);
        break;
    case 'a':
        imap_append_parse(&in, &append);
        break;
    case 'm':
        imap_list_match(slice_sub(s, 0, s.len / 2), slice_from(s, s.len / 2));
        break;
    default:
        imap_literal_at_end(s, &literal);
        imap_astring(&in, &s);
        break;
    }
    ASSERT(imap_in_at(&in) <= size); /* the cursor stays inside */
    arena_free(&mem);
    return 0;
}
