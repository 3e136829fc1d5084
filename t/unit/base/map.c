#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/random.h"

enum { WORDS = 700 };

static void word_of(unsigned i, char *out, size_t size)
{
    snprintf(out, size, "%s%u", i % 3 == 0 ? "user" : "", i);
}

/* Everything the map holds is in the model and the other way round. */
static void compare(const struct map *m, void *const *model, unsigned count)
{
    size_t at = 0, seen = 0;
    slice key;
    void *value;

    assert_int_equal(map_count(m), count);
    while (map_next(m, &at, &key, &value)) {
        char word[32];
        unsigned i;

        for (i = 0; i < WORDS; i++) {
            word_of(i, word, sizeof(word));
            if (slice_eq(slice_str(word), key))
                break;
        }
        assert_true(i < WORDS);
        assert_ptr_equal(model[i], value);
        seen++;
    }
    assert_int_equal(seen, count);
}

static void map__agrees_with_a_naive_model(void **state)
{
    static char values[8];
    void *model[WORDS] = { NULL };
    unsigned count = 0;
    struct map m;
    struct rng r;

    (void)state;
    rng_init(&r, 21);
    map_init(&m);
    for (unsigned round = 0; round < 60000; round++) {
        /* long phases of growth and of decay, so that it grows, shrinks and fills with markers */
        bool grows = (round / 5000) % 2 == 0;
        unsigned i = (unsigned)rng_below(&r, WORDS);
        char word[32];
        slice key;

        word_of(i, word, sizeof(word));
        key = slice_str(word);
        if (rng_below(&r, 10) < (grows ? 7 : 2)) {
            void *value = &values[rng_below(&r, sizeof(values))];

            assert_ptr_equal(map_put(&m, key, value), model[i]);
            count += model[i] == NULL;
            model[i] = value;
        } else {
            assert_ptr_equal(map_del(&m, key), model[i]);
            count -= model[i] != NULL;
            model[i] = NULL;
        }
        memset(word, 'x', sizeof(word)); /* the map has its own copy */
        if (round % 4999 == 0)
            compare(&m, model, count);
    }
    for (unsigned i = 0; i < WORDS; i++) {
        char word[32];

        word_of(i, word, sizeof(word));
        assert_ptr_equal(map_get(&m, slice_str(word)), model[i]);
    }
    map_free(&m);
    assert_int_equal(map_count(&m), 0);
}

static void map__keys_are_octets(void **state)
{
    int one, two, three;
    struct map m;

    (void)state;
    map_init(&m);
    assert_null(map_get(&m, SLICE_NONE));
    assert_null(map_del(&m, SLICE("x")));
    assert_null(map_put(&m, SLICE_NONE, &one));
    assert_null(map_put(&m, SLICE("a\0b"), &two));
    assert_null(map_put(&m, SLICE("a\0c"), &three));
    assert_ptr_equal(map_get(&m, SLICE("")), &one);
    assert_ptr_equal(map_get(&m, SLICE("a\0b")), &two);
    assert_null(map_get(&m, SLICE("a")));
    assert_null(map_get(&m, SLICE("A\0B")));
    assert_int_equal(map_count(&m), 3);
    map_free(&m);
}

static void map_init_nocase__folds_ascii_keys(void **state)
{
    int one, two;
    struct map m;
    size_t at = 0;
    slice key;

    (void)state;
    map_init_nocase(&m);
    assert_null(map_put(&m, SLICE("Content-Type"), &one));
    assert_ptr_equal(map_get(&m, SLICE("CONTENT-type")), &one);
    assert_ptr_equal(map_put(&m, SLICE("content-type"), &two), &one);
    assert_int_equal(map_count(&m), 1);
    assert_true(map_next(&m, &at, &key, NULL));
    assert_true(slice_eq(key, SLICE("Content-Type"))); /* the first spelling stays */
    assert_false(map_next(&m, &at, NULL, NULL));
    assert_ptr_equal(map_del(&m, SLICE("CONTENT-TYPE")), &two);
    map_free(&m);
}

static void map_next__allows_removal_of_the_current_key(void **state)
{
    static char values[500];
    struct map m;
    size_t at = 0, seen = 0;
    slice key;
    void *value;
    char word[32];

    (void)state;
    map_init(&m);
    for (unsigned i = 0; i < sizeof(values); i++) {
        word_of(i, word, sizeof(word));
        map_put(&m, slice_str(word), &values[i]);
    }
    while (map_next(&m, &at, &key, &value)) {
        char *v = value;

        (*v)++;
        seen++;
        assert_ptr_equal(map_del(&m, key), value);
    }
    assert_int_equal(seen, sizeof(values));
    for (unsigned i = 0; i < sizeof(values); i++)
        assert_int_equal(values[i], 1);
    assert_int_equal(map_count(&m), 0);
    map_free(&m);
}

/* Ever new keys through a small map: markers must not pile up, nor memory. */
static void map__stays_small_under_churn(void **state)
{
    struct map m;
    struct idmap ids;
    int value;

    (void)state;
    map_init(&m);
    idmap_init(&ids);
    for (unsigned i = 0; i < 50000; i++) {
        char word[32];

        word_of(i, word, sizeof(word));
        map_put(&m, slice_str(word), &value);
        idmap_put(&ids, i, &value);
        if (i >= 10) {
            word_of(i - 10, word, sizeof(word));
            assert_non_null(map_del(&m, slice_str(word)));
            assert_non_null(idmap_del(&ids, i - 10));
        }
    }
    assert_true(m.cap <= 64);
    assert_true(ids.cap <= 64);
    map_free(&m);
    idmap_free(&ids);
}

static void map__shrinks_when_almost_empty(void **state)
{
    struct idmap ids;
    size_t large;
    int value;

    (void)state;
    idmap_init(&ids);
    for (uint64_t i = 0; i < 100000; i++)
        idmap_put(&ids, i, &value);
    large = ids.cap;
    assert_true(large <= 262144);
    for (uint64_t i = 5; i < 100000; i++)
        idmap_del(&ids, i);
    assert_int_equal(ids.cap, large); /* removal moves nothing */
    idmap_put(&ids, 7, &value);
    assert_true(ids.cap <= 64);
    assert_int_equal(idmap_count(&ids), 6);
    for (uint64_t i = 0; i < 5; i++)
        assert_ptr_equal(idmap_get(&ids, i), &value);
    idmap_free(&ids);
}

static void idmap__agrees_with_a_naive_model(void **state)
{
    enum { KEYS = 500 };
    static char values[8];
    void *model[KEYS] = { NULL };
    uint64_t keys[KEYS];
    size_t count = 0, at = 0, seen = 0;
    struct idmap m;
    struct rng r;
    uint64_t key;
    void *value;

    (void)state;
    rng_init(&r, 22);
    for (unsigned i = 0; i < KEYS; i++)
        keys[i] = i < KEYS / 2 ? i : i == KEYS - 1 ? UINT64_MAX : (uint64_t)i << 40;
    idmap_init(&m);
    for (unsigned round = 0; round < 60000; round++) {
        unsigned i = (unsigned)rng_below(&r, KEYS);

        if (rng_below(&r, 10) < ((round / 5000) % 2 == 0 ? 7 : 2)) {
            value = &values[rng_below(&r, sizeof(values))];
            assert_ptr_equal(idmap_put(&m, keys[i], value), model[i]);
            count += model[i] == NULL;
            model[i] = value;
        } else {
            assert_ptr_equal(idmap_del(&m, keys[i]), model[i]);
            count -= model[i] != NULL;
            model[i] = NULL;
        }
        assert_int_equal(idmap_count(&m), count);
        i = (unsigned)rng_below(&r, KEYS);
        assert_ptr_equal(idmap_get(&m, keys[i]), model[i]);
    }
    while (idmap_next(&m, &at, &key, &value)) {
        unsigned i = 0;

        while (i < KEYS && keys[i] != key)
            i++;
        assert_true(i < KEYS);
        assert_ptr_equal(model[i], value);
        seen++;
    }
    assert_int_equal(seen, count);
    idmap_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map__agrees_with_a_naive_model),
        cmocka_unit_test(map__keys_are_octets),
        cmocka_unit_test(map_init_nocase__folds_ascii_keys),
        cmocka_unit_test(map_next__allows_removal_of_the_current_key),
        cmocka_unit_test(map__stays_small_under_churn),
        cmocka_unit_test(map__shrinks_when_almost_empty),
        cmocka_unit_test(idmap__agrees_with_a_naive_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
