#include "mail_test.h"

#include "base/random.h"
#include "base/utf8.h"
#include "mail/utf7.h"

static void utf7__table(void **state)
{
    static const struct {
        const char *utf7, *utf8; /* utf8 NULL: not valid */
    } rows[] = {
        { "INBOX", "INBOX" },
        { "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
          "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e" },
        { "&-", "&" },
        { "A&-B", "A&B" },
        { "Entw&APw-rfe", "Entw\xc3\xbcrfe" },
        { "&2D3cMw-", "\xf0\x9f\x90\xb3" },
        { "&", NULL },
        { "&AP", NULL },
        { "&AGE-", NULL }, /* 'a' must stand for itself */
        { "&U,BTFw-&ZeVnLIqe-", NULL }, /* RFC 3501 5.1.3: superfluous shift */
        { "&2D0-", NULL }, /* half a surrogate pair */
        { "a\xc3\xa4", NULL },
        { "&APx-", NULL }, /* bits left over */
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = BUF_INIT, back = BUF_INIT;
        bool ok = utf7_to_utf8(slice_str(rows[i].utf7), &out);

        if (ok != (rows[i].utf8 != NULL))
            fail_msg("row %u: %s", i, ok ? "was accepted" : "was refused");
        if (ok) {
            same(i, buf_slice(&out), rows[i].utf8);
            utf7_from_utf8(buf_slice(&out), &back);
            same(i, buf_slice(&back), rows[i].utf7);
        }
        buf_free(&out);
        buf_free(&back);
    }
}

static void utf7__round_trip(void **state)
{
    struct rng rng;

    (void)state;
    rng_init(&rng, 7);
    for (unsigned n = 0; n < 20000; n++) {
        struct buf utf8 = BUF_INIT, utf7 = BUF_INIT, back = BUF_INIT;

        for (unsigned k = (unsigned)rng_below(&rng, 12); k-- > 0;) {
            uint32_t cp = (uint32_t)rng_below(&rng, rng_below(&rng, 3) == 0 ? 0x10FFFF : 0x200) + 1;

            utf8_put(&utf8, cp >= 0xD800 && cp < 0xE000 ? '&' : cp);
        }
        utf7_from_utf8(buf_slice(&utf8), &utf7);
        assert_true(utf7_to_utf8(buf_slice(&utf7), &back));
        assert_true(slice_eq(buf_slice(&utf8), buf_slice(&back)));
        buf_free(&utf8);
        buf_free(&utf7);
        buf_free(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(utf7__table), cmocka_unit_test(utf7__round_trip) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
