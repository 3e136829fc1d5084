#include "index_site.h"

#include "base/mem.h"
#include "base/random.h"

enum move { M_NEXT, M_PREV, M_SEEK, M_LAST };

#define MODEL_MAX 900
#define KEY_MAX 40

struct pair {
    unsigned char key[KEY_MAX];
    size_t key_len;
    uint32_t fill, value_len; /* the value is value_len octets made from fill */
};

struct model {
    struct pair pairs[MODEL_MAX];
    size_t count;
};

/* Where a cursor should be. */
struct place {
    int at; /* -1 before, 0 on key, 1 behind, 2 fresh */
    unsigned char key[KEY_MAX];
    size_t key_len;
};

static slice pair_key(const struct pair *p)
{
    return slice_of(p->key, p->key_len);
}

/* First pair with a key >= key. */
static size_t model_find(const struct model *m, slice key)
{
    size_t low = 0, high = m->count;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (slice_cmp(pair_key(&m->pairs[mid]), key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool model_has(const struct model *m, size_t at, slice key)
{
    return at < m->count && slice_eq(pair_key(&m->pairs[at]), key);
}

static void fill_value(unsigned char *out, uint32_t fill, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        out[i] = (unsigned char)(fill * 31 + i * (fill | 1));
}

static unsigned char value_octets[300000];

static void check_pair(const struct pair *p, slice value)
{
    fill_value(value_octets, p->fill, p->value_len);
    if (value.len != p->value_len || memcmp(value.ptr, value_octets, value.len) != 0)
        fail_msg("a value of %u octets came back as %zu or changed", p->value_len, value.len);
}

/* Few letters and short lengths: keys collide and are prefixes of each other; some long ones make small pages. */
static slice random_key(struct rng *r, unsigned char out[KEY_MAX])
{
    size_t len = rng_below(r, 4) == 0 ? KEY_MAX : 1 + rng_below(r, 5);

    for (size_t i = 0; i < len; i++)
        out[i] = i < 5 ? (unsigned char)(0x80 * rng_below(r, 2) + rng_below(r, 4)) : 'k';
    return slice_of(out, len);
}

static void model_put(struct rng *r, struct model *m, struct journal_view *v)
{
    unsigned char octets[KEY_MAX];
    slice key = random_key(r, octets);
    uint32_t fill = (uint32_t)rng_next(r), len;
    size_t at = model_find(m, key);

    if (m->count == MODEL_MAX && !model_has(m, at, key))
        return;
    switch (rng_below(r, 60)) {
    case 0: len = (uint32_t)rng_below(r, sizeof(value_octets)); break;
    case 1: case 2: case 3: len = (uint32_t)rng_below(r, 9000); break;
    default: len = (uint32_t)rng_below(r, 200); break;
    }
    fill_value(value_octets, fill, len);
    journal_put(v, T_NAMES, key, slice_of(value_octets, len));
    if (!model_has(m, at, key)) {
        memmove(&m->pairs[at + 1], &m->pairs[at], (m->count - at) * sizeof(m->pairs[0]));
        m->count++;
        memcpy(m->pairs[at].key, key.ptr, key.len);
        m->pairs[at].key_len = key.len;
    }
    m->pairs[at].fill = fill;
    m->pairs[at].value_len = len;
}

static void model_del(struct rng *r, struct model *m, struct journal_view *v, const struct place *here)
{
    unsigned char octets[KEY_MAX];
    slice key = random_key(r, octets);
    size_t at;
    bool there;

    if (here->at == 0 && rng_below(r, 2) == 0)
        key = slice_of(here->key, here->key_len); /* the pair under the cursor */
    else if (m->count > 0 && rng_below(r, 2) == 0)
        key = pair_key(&m->pairs[rng_below(r, m->count)]);
    at = model_find(m, key);
    there = model_has(m, at, key);
    assert_int_equal(journal_del(v, T_NAMES, key), there);
    if (there) {
        memmove(&m->pairs[at], &m->pairs[at + 1], (m->count - at - 1) * sizeof(m->pairs[0]));
        m->count--;
    }
}

static void model_move(struct rng *r, const struct model *m, struct journal_cursor *c, struct place *here)
{
    unsigned char octets[KEY_MAX];
    slice arg = random_key(r, octets), present = slice_of(here->key, here->key_len), key, value;
    enum move move = (enum move)rng_below(r, 4);
    size_t at = 0; /* of the pair expected, when there is one */
    bool expected = false, found = false;
    int at_end = 1;

    switch (move) {
    case M_NEXT:
        at = here->at == 0 ? model_find(m, present) : 0;
        if (here->at == 0 && model_has(m, at, present))
            at++;
        expected = here->at != 1 && at < m->count;
        found = journal_cursor_next(c, &key, &value);
        break;
    case M_PREV:
        at = here->at == 0 ? model_find(m, present) : m->count;
        expected = here->at != -1 && at-- > 0;
        at_end = -1;
        found = journal_cursor_prev(c, &key, &value);
        break;
    case M_SEEK:
        at = model_find(m, arg);
        expected = at < m->count;
        found = journal_cursor_seek(c, arg, &key, &value);
        break;
    case M_LAST:
        at = model_find(m, arg);
        expected = at-- > 0;
        at_end = -1;
        found = journal_cursor_seek_last(c, arg, &key, &value);
        break;
    }
    if (found != expected)
        fail_msg("move %d: %s, expected the opposite", move, found ? "found" : "not found");
    if (!found) {
        here->at = at_end;
        return;
    }
    if (!slice_eq(key, pair_key(&m->pairs[at])))
        fail_msg("move %d: wrong key", move);
    check_pair(&m->pairs[at], value);
    here->at = 0;
    memcpy(here->key, key.ptr, key.len);
    here->key_len = key.len;
}

static void check_all(const struct model *m, struct journal_view *v)
{
    struct journal_cursor c;
    slice key, value;
    size_t n = 0;

    assert_int_equal(journal_table_count(v, T_NAMES), m->count);
    journal_cursor_begin(&c, v, T_NAMES);
    for (; journal_cursor_next(&c, &key, &value); n++) {
        assert_true(n < m->count);
        assert_true(slice_eq(key, pair_key(&m->pairs[n])));
        check_pair(&m->pairs[n], value);
        if (n % 16 == 0) {
            assert_true(journal_get(v, T_NAMES, key, &value));
            check_pair(&m->pairs[n], value);
        }
    }
    assert_int_equal(n, m->count);
    while (journal_cursor_prev(&c, &key, NULL))
        assert_true(slice_eq(key, pair_key(&m->pairs[--n])));
    assert_int_equal(n, 0);
    journal_cursor_end(&c);
    assert_false(v->failed);
}

/* A batch of random operations in a transaction with an open cursor. Was it committed? */
static bool model_batch(struct rng *r, struct site *s, struct model *m)
{
    struct place here = { .at = 2 };
    struct journal_cursor c;
    struct journal_view v;
    uint64_t mood = rng_below(r, 3), steps = 1 + rng_below(r, 300);

    must_begin(s, &v);
    journal_cursor_begin(&c, &v, T_NAMES);
    for (uint64_t i = 0; i < steps; i++) {
        uint64_t dice = rng_below(r, 10);

        if (dice < 2 + 2 * mood)
            model_put(r, m, &v);
        else if (dice < 6)
            model_del(r, m, &v, &here);
        else
            model_move(r, m, &c, &here);
        assert_false(v.failed);
    }
    journal_cursor_end(&c);
    check_all(m, &v);
    if (rng_below(r, 4) == 0) {
        index_abort(&v);
        return false;
    }
    must_commit(&v, 1, 0);
    return true;
}

/* Against a sorted array; closed and opened again in between. INDEX_SEED repeats a run. */
static void index__agrees_with_a_sorted_model(void **state)
{
    const char *text = getenv("INDEX_SEED");
    uint64_t seed = text == NULL ? random_u64() : strtoull(text, NULL, 10);
    struct model *m = mem_alloc(sizeof(*m)), *before = mem_alloc(sizeof(*before));
    struct rng r;
    struct site s;

    (void)state;
    print_message("INDEX_SEED=%llu\n", (unsigned long long)seed);
    rng_init(&r, seed);
    site_init(&s);
    must_open(&s, INDEX_NEW);
    for (int round = 0; round < 60; round++) {
        struct place here = { .at = 2 };
        struct journal_cursor c;
        struct journal_view v;

        memcpy(before, m, sizeof(*m));
        if (!model_batch(&r, &s, m))
            memcpy(m, before, sizeof(*m));
        if (rng_below(&r, 10) == 0) {
            index_close(&s.index, rng_below(&r, 2) == 0);
            must_open(&s, INDEX_TRUSTED);
        }
        must_read(&s, &v);
        journal_cursor_begin(&c, &v, T_NAMES);
        for (int i = 0; i < 100; i++)
            model_move(&r, m, &c, &here);
        journal_cursor_end(&c);
        check_all(m, &v);
        index_read_end(&v);
    }
    mem_free(m);
    mem_free(before);
    site_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index__agrees_with_a_sorted_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
