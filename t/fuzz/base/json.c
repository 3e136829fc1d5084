/* What parses prints, compact and indented, as a text that parses to an equal value; a failure says where it is. */
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_print(const json_t *v, bool pretty)
{
    struct buf first = BUF_INIT, second = BUF_INIT;
    json_t *again;

    json_print(&first, v, pretty);
    again = json_parse(buf_slice(&first), NULL);
    ASSERT(again != NULL && json_equal(v, again));
    json_print(&second, again, pretty);
    ASSERT(slice_eq(buf_slice(&first), buf_slice(&second)));
    json_decref(again);
    buf_free(&first);
    buf_free(&second);
}

/* Any octets make a string that survives printing. */
static void check_string(slice octets)
{
    json_t *v = json_from_slice(octets);

    ASSERT(json_str(v).len >= octets.len);
    check_print(v, false);
    json_decref(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    json_t *v = json_parse(slice_of(data, size), &e);

    if (v == NULL) {
        ASSERT(e.kind == ERR_SYNTAX || e.kind == ERR_LIMIT);
        ASSERT(slice_starts(slice_str(e.text), SLICE("line ")));
    } else {
        check_print(v, false);
        check_print(v, true);
        json_decref(v);
    }
    check_string(slice_of(data, size));
    return 0;
}
