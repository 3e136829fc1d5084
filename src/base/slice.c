#include "base/slice.h"

static int cmp_len(size_t a, size_t b)
{
    return (a > b) - (a < b);
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Comparison of the first n octets after folding. */
static int fold_cmp(const unsigned char *a, const unsigned char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int d = ascii_lower(a[i]) - ascii_lower(b[i]);

        if (d != 0)
            return d;
    }
    return 0;
}

bool slice_eq_nocase(slice a, slice b)
{
    return a.len == b.len && fold_cmp(a.ptr, b.ptr, a.len) == 0;
}

int slice_cmp(slice a, slice b)
{
    size_t n = min_size(a.len, b.len);
    int d = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);

    return d != 0 ? d : cmp_len(a.len, b.len);
}

int slice_cmp_nocase(slice a, slice b)
{
    int d = fold_cmp(a.ptr, b.ptr, min_size(a.len, b.len));

    return d != 0 ? d : cmp_len(a.len, b.len);
}

bool slice_starts(slice s, slice prefix)
{
    return s.len >= prefix.len && slice_eq(slice_of(s.ptr, prefix.len), prefix);
}

bool slice_starts_nocase(slice s, slice prefix)
{
    return s.len >= prefix.len && fold_cmp(s.ptr, prefix.ptr, prefix.len) == 0;
}

bool slice_ends(slice s, slice suffix)
{
    return s.len >= suffix.len && slice_eq(slice_from(s, s.len - suffix.len), suffix);
}

bool slice_ends_nocase(slice s, slice suffix)
{
    return s.len >= suffix.len && slice_eq_nocase(slice_from(s, s.len - suffix.len), suffix);
}

ssize_t slice_find_byte(slice s, unsigned char c)
{
    const unsigned char *p = s.len == 0 ? NULL : memchr(s.ptr, c, s.len);

    return p == NULL ? -1 : p - s.ptr;
}

ssize_t slice_rfind_byte(slice s, unsigned char c)
{
    const unsigned char *p = s.len == 0 ? NULL : memrchr(s.ptr, c, s.len);

    return p == NULL ? -1 : p - s.ptr;
}

ssize_t slice_find(slice s, slice needle)
{
    const unsigned char *p;

    if (needle.len == 0)
        return 0;
    if (needle.len > s.len)
        return -1;
    p = memmem(s.ptr, s.len, needle.ptr, needle.len);
    return p == NULL ? -1 : p - s.ptr;
}

/* A rolling sum (Rabin-Karp) keeps the search linear on input such as "aaaa...b"; candidates are compared in full. */
ssize_t slice_find_nocase(slice s, slice needle)
{
    const uint64_t base = 0x9E3779B97F4A7C15u;
    uint64_t want = 0, have = 0, top = 1;

    if (needle.len == 0)
        return 0;
    if (needle.len > s.len)
        return -1;
    for (size_t i = 0; i < needle.len; i++) {
        want = want * base + ascii_lower(needle.ptr[i]);
        have = have * base + ascii_lower(s.ptr[i]);
        top *= base;
    }
    for (size_t at = 0;; at++) {
        if (have == want && fold_cmp(s.ptr + at, needle.ptr, needle.len) == 0)
            return (ssize_t)at;
        if (at + needle.len >= s.len)
            return -1;
        have = have * base + ascii_lower(s.ptr[at + needle.len]) - top * ascii_lower(s.ptr[at]);
    }
}

slice slice_sub(slice s, size_t from, size_t len)
{
    s = slice_from(s, from);
    if (len < s.len)
        s.len = len;
    return s;
}

slice slice_from(slice s, size_t from)
{
    if (from > s.len)
        from = s.len;
    if (from > 0) /* a NULL ptr takes no arithmetic */
        s.ptr += from;
    s.len -= from;
    return s;
}

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\t';
}

static bool is_space(unsigned char c)
{
    return is_blank(c) || c == '\r' || c == '\n';
}

slice slice_trim(slice s)
{
    while (s.len > 0 && is_space(s.ptr[s.len - 1]))
        s.len--;
    while (s.len > 0 && is_space(*s.ptr)) {
        s.ptr++;
        s.len--;
    }
    return s;
}

slice slice_cut(slice *s, unsigned char c, bool *found)
{
    ssize_t at = slice_find_byte(*s, c);
    size_t len = at < 0 ? s->len : (size_t)at;
    slice part = slice_of(s->ptr, len);

    *s = slice_from(*s, at < 0 ? len : len + 1);
    if (found != NULL)
        *found = at >= 0;
    return part;
}

slice slice_word(slice *s)
{
    size_t from = 0, to;

    while (from < s->len && is_blank(s->ptr[from]))
        from++;
    for (to = from; to < s->len && !is_blank(s->ptr[to]);)
        to++;
    slice word = slice_sub(*s, from, to - from);
    *s = slice_from(*s, to);
    return word;
}

bool slice_u64(slice s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!ascii_is_digit(s.ptr[i]))
            return false;
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(s.ptr[i] - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

bool slice_u32(slice s, uint32_t *out)
{
    uint64_t v;

    if (!slice_u64(s, &v) || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}

bool slice_i64(slice s, int64_t *out)
{
    bool is_negative = s.len > 0 && s.ptr[0] == '-';
    uint64_t v;

    if (!slice_u64(is_negative ? slice_from(s, 1) : s, &v))
        return false;
    if (v > (uint64_t)INT64_MAX + (is_negative ? 1 : 0))
        return false;
    *out = (int64_t)(is_negative ? 0 - v : v); /* modulo 2^64: also right for INT64_MIN */
    return true;
}

static int hex_digit(unsigned char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool slice_hex64(slice s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        int d = hex_digit(s.ptr[i]);

        if (d < 0 || v >> 60 != 0)
            return false;
        v = v << 4 | (uint64_t)d;
    }
    *out = v;
    return true;
}

/* Hashing: 8 octets a step through a 64 x 64 -> 128 bit multiplication whose halves are folded together. Octets are
 * read as little-endian numbers, so that every machine gets the same value. */

#define HASH_A 0xA0761D6478BD642Fu
#define HASH_B 0xE7037ED1A0B428DBu

static uint64_t hash_mix(uint64_t a, uint64_t b)
{
    unsigned __int128 r = (unsigned __int128)a * b;

    return (uint64_t)r ^ (uint64_t)(r >> 64);
}

static uint64_t load_word(const unsigned char *p, size_t n)
{
    uint64_t v = 0;

    if (n == 8) {
        memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        v = __builtin_bswap64(v);
#endif
        return v;
    }
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* ASCII folding of 8 octets at once: bit 7 of each lane tells whether it holds 'A'..'Z', and is moved to bit 5. */
static uint64_t fold_word(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low = v & (0x7F * ones);
    uint64_t from_a = low + (0x80 - 'A') * ones;
    uint64_t above_z = low + (0x80 - 'Z' - 1) * ones;
    uint64_t upper = from_a & ~above_z & ~v & (0x80 * ones);

    return v | upper >> 2;
}

static inline uint64_t hash_octets(slice s, uint64_t seed, bool fold)
{
    uint64_t h = hash_mix(seed ^ HASH_A, (uint64_t)s.len ^ HASH_B);

    for (size_t at = 0; at < s.len; at += 8) {
        uint64_t w = load_word(s.ptr + at, min_size(8, s.len - at));

        h = hash_mix(h ^ (fold ? fold_word(w) : w) ^ HASH_A, seed ^ HASH_B);
    }
    return hash_mix(h ^ HASH_B, seed ^ HASH_A);
}

uint64_t slice_hash(slice s, uint64_t seed)
{
    return hash_octets(s, seed, false);
}

uint64_t slice_hash_nocase(slice s, uint64_t seed)
{
    return hash_octets(s, seed, true);
}
