/* syntax_set.c - sequence sets, RFC 3501 9. */
#include "imap/syntax.h"

#include <stdlib.h>

/* seq-number = nz-number / "*" */
static bool seq_number(struct imap_in *in, uint32_t *out)
{
    slice rest = in->rest;

    if (imap_skip(in, '*')) {
        *out = IMAP_STAR;
        return true;
    }
    if (!imap_number(in, out))
        return false;
    if (*out != 0)
        return true;
    in->rest = rest;
    return imap_in_fail(in, "a number above 0");
}

/* sequence-set = (seq-number / seq-range) *("," sequence-set) */
bool imap_set(struct imap_in *in, struct imap_set *out)
{
    size_t most = 1;

    *out = (struct imap_set){ NULL, 0 };
    if (in->want != NULL)
        return false;
    for (size_t i = 0; i < in->rest.len && in->rest.ptr[i] != ' '; i++)
        most += in->rest.ptr[i] == ',';
    out->ranges = arena_alloc_array(in->mem, most, sizeof *out->ranges);
    do {
        struct imap_range *r = &out->ranges[out->count];

        if (!seq_number(in, &r->first))
            return false;
        r->last = r->first;
        if (imap_skip(in, ':') && !seq_number(in, &r->last))
            return false;
        out->count++;
    } while (imap_skip(in, ','));
    return true;
}

static int by_first(const void *a, const void *b)
{
    const struct imap_range *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

void imap_set_resolve(struct imap_set *set, uint32_t max)
{
    unsigned n = 0, kept = 0;

    for (unsigned i = 0; i < set->count; i++) {
        struct imap_range r = set->ranges[i];

        if (max == 0 && (r.first == IMAP_STAR || r.last == IMAP_STAR))
            continue;
        r.first = r.first == IMAP_STAR ? max : r.first;
        r.last = r.last == IMAP_STAR ? max : r.last;
        set->ranges[n++] = r.first <= r.last ? r : (struct imap_range){ r.last, r.first };
    }
    if (n > 1)
        qsort(set->ranges, n, sizeof *set->ranges, by_first);
    for (unsigned i = 0; i < n; i++) {
        struct imap_range r = set->ranges[i], *before = kept > 0 ? &set->ranges[kept - 1] : NULL;

        if (before != NULL && (r.first <= before->last || r.first == before->last + 1))
            before->last = r.last > before->last ? r.last : before->last;
        else
            set->ranges[kept++] = r;
    }
    set->count = kept;
}

bool imap_set_has(const struct imap_set *resolved, uint32_t n)
{
    unsigned low = 0, high = resolved->count;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;

        if (resolved->ranges[mid].last < n)
            low = mid + 1;
        else
            high = mid;
    }
    return low < resolved->count && resolved->ranges[low].first <= n;
}

static void print_number(uint32_t n, struct buf *out)
{
    if (n == IMAP_STAR)
        buf_put_byte(out, '*');
    else
        buf_put_u64(out, n);
}

void imap_set_print(const struct imap_set *set, struct buf *out)
{
    for (unsigned i = 0; i < set->count; i++) {
        if (i > 0)
            buf_put_byte(out, ',');
        print_number(set->ranges[i].first, out);
        if (set->ranges[i].last != set->ranges[i].first) {
            buf_put_byte(out, ':');
            print_number(set->ranges[i].last, out);
        }
    }
}
