#include "auth_site.h"

/* --- passwords that were right lately ----------------------------------------------------------------------------- */

static void auth_known__spares_the_hash(void **state)
{
    static const struct {
        const char *user, *password;
        int64_t advance_ms;
        enum auth_result want;
        unsigned hashes, cached;
    } rows[] = {
        { "user", "pencil", 0, AUTH_OK, 1, 0 },
        { "user", "pencil", 0, AUTH_OK, 0, 1 },
        { "user@one.example", "pencil", 9999, AUTH_OK, 0, 1 },
        { "user", "pencil", 1, AUTH_OK, 1, 0 },     /* ten seconds from the hash, not from the last use */
        { "user", "pencil", 0, AUTH_OK, 0, 1 },
        { "user", "pencix", 0, AUTH_FAILED, 1, 0 }, /* a wrong one costs a hash every time */
        { "user", "pencix", 0, AUTH_FAILED, 1, 0 },
        { "nobody", "pencil", 0, AUTH_FAILED, 1, 0 },
        { "nobody", "pencil", 0, AUTH_FAILED, 1, 0 },
        { "empty", "pencil", 0, AUTH_FAILED, 1, 0 },
        { "boss", "pencil", 0, AUTH_FAILED, 1, 0 }, /* of another */
        { "gone", "pencil", 0, AUTH_DISABLED, 0, 1 }, /* has the very verifier of user in this site */
    };
    struct site s;

    site_begin_at(&s, true);
    s.auth_conf.cache_s = 10;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t hashes = count("auth.hashes"), cached = count("auth.cached");
        enum auth_result got;

        clock_fake_advance(&s.dir.clock, rows[i].advance_ms);
        got = password(&s, rows[i].user, rows[i].password);
        if (got != rows[i].want || count("auth.hashes") != hashes + rows[i].hashes ||
            count("auth.cached") != cached + rows[i].cached)
            fail_msg("row %zu: result %d, %lld hashes, %lld cached", i, (int)got,
                     (long long)(count("auth.hashes") - hashes), (long long)(count("auth.cached") - cached));
    }
    site_end(&s);
    (void)state;
}

static void auth_known__forgets_a_changed_password(void **state)
{
    struct dir_secrets secrets;
    struct site s;
    int64_t hashes;

    site_begin(&s);
    s.auth_conf.cache_s = 300;
    assert_int_equal(password(&s, "user", "pencil"), AUTH_OK);
    assert_int_equal(password(&s, "user", "pencil"), AUTH_OK);
    secrets = secrets_of(&s, "crayon");
    dir_site_do(&s.dir, DIR_USER_SET, "user", NULL, &secrets);
    assert_int_equal(password(&s, "user", "pencil"), AUTH_FAILED);
    hashes = count("auth.hashes");
    assert_int_equal(password(&s, "user", "crayon"), AUTH_OK);
    assert_int_equal(count("auth.hashes"), hashes + 1);
    secrets = secrets_of(&s, "crayon"); /* the same word once more is a new verifier */
    dir_site_do(&s.dir, DIR_USER_SET, "user", NULL, &secrets);
    hashes = count("auth.hashes");
    assert_int_equal(password(&s, "user", "crayon"), AUTH_OK);
    assert_int_equal(count("auth.hashes"), hashes + 1);
    site_end(&s);
    (void)state;
}

/* Far more passwords than places: the last one is there, and what was pushed out is only hashed again. */
static void auth_known__is_bounded(void **state)
{
    struct site s;
    char name[16], word[16];
    int64_t hashes;

    site_begin(&s);
    s.auth_conf.cache_s = 300;
    s.auth_conf.cache_max = 4;
    for (unsigned i = 0; i < 6; i++) {
        struct dir_secrets secrets;

        snprintf(name, sizeof(name), "u%u", i);
        snprintf(word, sizeof(word), "word%u", i);
        secrets = secrets_of(&s, word);
        dir_site_do(&s.dir, DIR_USER_ADD, name, NULL, &secrets);
        assert_int_equal(password(&s, name, word), AUTH_OK);
        hashes = count("auth.hashes");
        assert_int_equal(password(&s, name, word), AUTH_OK);
        assert_int_equal(count("auth.hashes"), hashes);
    }
    hashes = count("auth.hashes");
    for (unsigned i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "u%u", i);
        snprintf(word, sizeof(word), "word%u", i);
        assert_int_equal(password(&s, name, word), AUTH_OK);
    }
    assert_in_range(count("auth.hashes"), hashes + 2, hashes + 6);
    site_end(&s);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auth_known__spares_the_hash),
        cmocka_unit_test(auth_known__forgets_a_changed_password),
        cmocka_unit_test(auth_known__is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
