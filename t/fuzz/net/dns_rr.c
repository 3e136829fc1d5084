/* The first octet chooses the record type, the rest are its data. What is read must be valid, and say the same when
 * written again. */
#include "base/buf.h"
#include "base/err.h"
#include "net/dns_rr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void name_check(slice name, slice wire)
{
    struct buf again = BUF_INIT;
    slice rest = name;

    ASSERT(name.len == 0 || dns_name_is_valid(name));
    while (rest.len > 0) {
        const slice label = slice_cut(&rest, '.', NULL);
        buf_put_byte(&again, (unsigned char)label.len);
        buf_put_slice(&again, label);
    }
    buf_put_byte(&again, 0);
    ASSERT(slice_eq_nocase(buf_slice(&again), wire)); /* lengths of labels are below 'A' */
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena mem;
    struct dns_mx mx;
    struct net_addr addr;
    slice out;

    if (size == 0)
        return 0;
    const slice in = slice_of(data + 1, size - 1);
    arena_init(&mem, 512);
    switch (data[0] % 5) {
    case 0:
        if (dns_name_read(in, &mem, &out))
            name_check(out, in);
        break;
    case 1:
        if (dns_mx_read(in, &mem, &mx)) {
            ASSERT(mx.preference == (data[1] << 8 | data[2]));
            name_check(mx.name, slice_from(in, 2));
        }
        break;
    case 2:
        if (dns_addr_read(size % 2 == 0 ? DNS_TYPE_A : DNS_TYPE_AAAA, in, &addr))
            ASSERT(dns_reverse_name(&addr, &mem).len > 0);
        break;
    case 3:
        if (dns_text_read(in, &mem, &out))
            ASSERT(out.len < size && (in.len == 0 || out.len < in.len));
        break;
    default:
        if (dns_name_is_valid(in)) {
            ASSERT(in.len <= DNS_NAME_MAX_OCTETS + 1 && slice_find_byte(in, '\0') < 0);
            ASSERT(slice_find(in, SLICE("..")) < 0);
        }
        break;
    }
    arena_free(&mem);
    return 0;
}
