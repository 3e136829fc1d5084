/* rebuild.c - the store while its index is made anew behind its back: who has to wait, who comes first, and that the
 * end is the same. */
#include "store_site.h"

#include <time.h>

#include "store/view.h"

#define ACCOUNTS 20u
#define MESSAGES 15u
#define PATIENCE_MS 60000

static enum store_result append(struct site *s, uint64_t account, const char *text)
{
    struct store_request *r = site_append(s, account, "INBOX", slice_str(text));
    enum store_result result = site_run(s, r);

    store_request_destroy(&r);
    return result;
}

static bool is_ready(struct site *s, uint64_t account)
{
    struct journal_view v;
    bool ready;

    assert_int_equal(journal_read_begin(s->j, &v, NULL), 0);
    ready = store_account_ready(s->store, &v, account, NULL);
    journal_read_end(&v);
    return ready;
}

static enum store_result deliver_check(struct site *s, uint64_t account)
{
    struct journal_view v;
    enum store_result result;

    assert_int_equal(journal_read_begin(s->j, &v, NULL), 0);
    result = store_deliver_check(s->store, &v, account, SLICE("INBOX"), 10);
    journal_read_end(&v);
    return result;
}

static void pause_ms(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Every message is there, and its octets. */
static void read_all(struct site *s, uint64_t account, unsigned count)
{
    struct store_mailbox m;
    struct store_view *view;
    struct journal_view v;
    struct err err = ERR_INIT;

    assert_true(site_find(s, account, "INBOX", &m));
    assert_int_equal(m.messages, count);
    assert_int_equal(store_view_open(s->store, m.id, &view, &err), 0);
    assert_int_equal(store_view_count(view), count);
    for (uint32_t n = 1; n <= count; n++) {
        struct buf octets = BUF_INIT;

        assert_int_equal(journal_read_begin(s->j, &v, NULL), 0);
        if (journal_body_load(s->j, &v, store_view_row(view, n)->body.body_id, 1000, &octets, &err) < 0)
            fail_msg("message %u: %s", n, err.text);
        journal_read_end(&v);
        assert_true(slice_starts(buf_slice(&octets), SLICE("mail ")));
        buf_free(&octets);
    }
    store_view_unref(&view);
}

static void begin(struct site *s, uint64_t *accounts)
{
    site_begin(s);
    for (unsigned i = 0; i < ACCOUNTS; i++)
        accounts[i] = site_account(s, i + 1, "somebody");
    for (unsigned n = 0; n < MESSAGES; n++) {
        for (unsigned i = 0; i < ACCOUNTS; i++)
            assert_int_equal(append(s, accounts[i], "mail from before\r\n"), STORE_OK);
    }
    s->background = true;
    s->rebuild_slice = 1;
    site_reopen(s, true);
    s->background = false;
    s->rebuild_slice = 0;
    assert_true(journal_rebuilding(s->j, NULL));
}

static void rebuild__refuses_who_is_not_there_yet(void **state)
{
    uint64_t accounts[ACCOUNTS], fresh;
    struct site s;
    struct store_mailbox m;
    struct store_view *view;
    struct err err = ERR_INIT;

    (void)state;
    begin(&s, accounts);
    assert_int_equal(deliver_check(&s, accounts[3]), STORE_REBUILDING);
    assert_int_equal(append(&s, accounts[4], "mail too early\r\n"), STORE_REBUILDING);
    assert_true(site_find(&s, accounts[5], "INBOX", &m)); /* names are there */
    assert_int_equal(store_view_open(s.store, m.id, &view, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    assert_int_equal(journal_check(s.j, NULL, NULL, NULL, &err), -1);
    assert_int_equal(err.kind, ERR_TEMP);
    fresh = site_account(&s, 1000, "new");
    assert_int_equal(append(&s, fresh, "mail now\r\n"), STORE_OK);
    assert_true(journal_rebuilding(s.j, NULL));
    site_end(&s);
}

static void rebuild__gives_first_what_is_asked_for(void **state)
{
    uint64_t accounts[ACCOUNTS];
    struct buf before = BUF_INIT, after = BUF_INIT;
    struct site s;
    unsigned percent;

    (void)state;
    begin(&s, accounts);
    for (int i = 0; i < PATIENCE_MS && !is_ready(&s, accounts[ACCOUNTS - 1]); i++)
        pause_ms();
    assert_true(is_ready(&s, accounts[ACCOUNTS - 1]));
    assert_true(journal_rebuilding(s.j, &percent));
    assert_true(percent < 100);
    assert_false(is_ready(&s, accounts[0]));
    read_all(&s, accounts[ACCOUNTS - 1], MESSAGES);
    assert_int_equal(append(&s, accounts[ACCOUNTS - 1], "mail meanwhile\r\n"), STORE_OK);
    for (int i = 0; i < PATIENCE_MS && journal_rebuilding(s.j, NULL); i++)
        pause_ms();
    assert_false(journal_rebuilding(s.j, &percent));
    assert_int_equal(percent, 100);
    for (unsigned i = 0; i < ACCOUNTS; i++)
        read_all(&s, accounts[i], MESSAGES + (i == ACCOUNTS - 1));
    site_sound(&s);
    site_sound_journal(&s);
    site_dump(&s, &before);
    site_reopen(&s, true);
    site_dump(&s, &after);
    dumps_same(&before, &after, "rebuilt at once");
    site_end(&s);
    buf_free(&before);
    buf_free(&after);
}

static void rebuild__closed_in_the_middle_is_begun_anew(void **state)
{
    uint64_t accounts[ACCOUNTS];
    struct site s;

    (void)state;
    begin(&s, accounts);
    site_reopen(&s, false);
    assert_true(s.report.index_rebuilt);
    assert_string_equal(s.report.index_why, "its rebuild was not finished");
    for (unsigned i = 0; i < ACCOUNTS; i++)
        read_all(&s, accounts[i], MESSAGES);
    site_sound_journal(&s);
    site_reopen(&s, false);
    assert_false(s.report.index_rebuilt);
    site_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rebuild__refuses_who_is_not_there_yet),
        cmocka_unit_test(rebuild__gives_first_what_is_asked_for),
        cmocka_unit_test(rebuild__closed_in_the_middle_is_begun_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
