/* The log's thread and files: what was written is found again, over rotation, packing, removal and full buffers. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/counter.h"
#include "log/txlog.h"

#define BEGIN_MS 1171637653730
#define DAY_MS 86400000

struct site {
    char dir[64], path[160];
    struct clock clock;
    struct log_conf conf;
    struct txlog *log;
};

static int site_make(void **state)
{
    struct site *s = calloc(1, sizeof *s);
    struct err err = ERR_INIT;

    snprintf(s->dir, sizeof s->dir, "/tmp/posthouse-txlog-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    clock_init_fake(&s->clock, 0, BEGIN_MS);
    keys_default(&log_keys, &s->conf, NULL);
    assert_int_equal(txlog_open(&s->log, s->dir, &s->clock, &s->conf, &err), 0);
    *state = s;
    return 0;
}

static int site_remove(void **state)
{
    struct site *s = *state;
    char command[96];

    txlog_close(&s->log);
    snprintf(command, sizeof command, "rm -rf %s", s->dir);
    assert_int_equal(system(command), 0);
    free(s);
    return 0;
}

static const char *path(struct site *s, const char *name)
{
    snprintf(s->path, sizeof s->path, "%s/log/%s", s->dir, name);
    return s->path;
}

static bool exists(struct site *s, const char *name)
{
    return access(path(s, name), F_OK) == 0;
}

static void put(struct site *s, const char *rcpt)
{
    txlog_write(s->log, &(struct txlog_record){ .code = 'E', .source = SLICE("tcp_local"), .rcpt = slice_str(rcpt) });
}

static bool gather(void *arg, slice line, int64_t ms)
{
    struct buf *out = arg;
    slice rest = slice_from(line, (size_t)slice_find(line, SLICE("rfc822; ")) + 8);

    (void)ms;
    buf_put_slice(out, slice_word(&rest));
    buf_put_byte(out, ' ');
    return true;
}

/* The recipients of all lines, in order. */
static void found(struct site *s, const char *expected)
{
    struct txlog_query q = { 0 };
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;

    assert_int_equal(txlog_find(s->dir, &q, gather, &out, &err), 0);
    assert_string_equal(buf_str(&out), expected);
    buf_free(&out);
}

static void txlog__writes_and_finds(void **state)
{
    struct site *s = *state;

    put(s, "a");
    put(s, "b");
    txlog_flush(s->log);
    found(s, "a b ");
}

static void txlog__rotates_by_hand_and_packs(void **state)
{
    struct site *s = *state;

    put(s, "a");
    txlog_flush(s->log);
    txlog_rotate(s->log);
    txlog_flush(s->log);
    put(s, "b");
    txlog_close(&s->log); /* ends the packing, too */
    assert_true(exists(s, "mail.log-20070216T145413.zst"));
    assert_false(exists(s, "mail.log-20070216T145413"));
    found(s, "a b ");
}

static void txlog__two_rotations_in_a_second(void **state)
{
    struct site *s = *state;

    for (unsigned i = 0; i < 3; i++) {
        put(s, i == 0 ? "a" : i == 1 ? "b" : "c");
        txlog_flush(s->log);
        txlog_rotate(s->log);
        txlog_flush(s->log);
    }
    txlog_close(&s->log);
    assert_true(exists(s, "mail.log-20070216T145413-001.zst"));
    found(s, "a b c ");
}

static void txlog__rotates_by_size_and_age(void **state)
{
    struct site *s = *state;

    s->conf.rotate_bytes = 4096;
    s->conf.compress = false;
    txlog_configure(s->log, &s->conf);
    for (unsigned i = 0; i < 60; i++)
        put(s, "recipient@example.net");
    txlog_flush(s->log);
    assert_true(exists(s, "mail.log-20070216T145413"));
    put(s, "late");
    txlog_flush(s->log);
    clock_fake_advance(&s->clock, DAY_MS);
    put(s, "later");
    txlog_flush(s->log);
    assert_true(exists(s, "mail.log-20070217T145413"));
}

static void txlog__keeps_for_keep_days(void **state)
{
    struct site *s = *state;
    struct timespec old[2] = { { .tv_sec = BEGIN_MS / 1000 - 31 * 86400 }, { .tv_sec = BEGIN_MS / 1000 - 31 * 86400 } };
    FILE *f = fopen(path(s, "mail.log-20070101T000000"), "w");

    fclose(f);
    assert_int_equal(utimensat(AT_FDCWD, s->path, old, 0), 0);
    f = fopen(path(s, "other"), "w");
    fclose(f);
    assert_int_equal(utimensat(AT_FDCWD, s->path, old, 0), 0);
    put(s, "a");
    txlog_flush(s->log);
    txlog_rotate(s->log);
    txlog_flush(s->log);
    assert_false(exists(s, "mail.log-20070101T000000"));
    assert_true(exists(s, "other"));
}

static void txlog__a_moved_file_is_made_anew(void **state)
{
    struct site *s = *state;
    char to[160];

    put(s, "a");
    txlog_flush(s->log);
    snprintf(to, sizeof to, "%s/log/mail.log-by-hand", s->dir);
    assert_int_equal(rename(path(s, "mail.log_current"), to), 0);
    put(s, "b");
    txlog_flush(s->log);
    assert_true(exists(s, "mail.log_current"));
    found(s, "a b ");
}

static void txlog__a_full_buffer_drops_and_says_so(void **state)
{
    struct site *s = *state;
    int64_t before = counter_get(counter_find("log.lost"));
    struct txlog_query q = { .codes = SLICE("!") };
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    char long_word[65000];

    memset(long_word, 'x', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = 0;
    s->conf.buffer_bytes = 65536;
    txlog_configure(s->log, &s->conf);
    for (unsigned i = 0; i < 200; i++) /* faster than any writer that gathers for 20 ms */
        put(s, long_word);
    txlog_flush(s->log);
    txlog_flush(s->log);
    assert_true(counter_get(counter_find("log.lost")) > before);
    assert_int_equal(txlog_find(s->dir, &q, gather, &out, &err), 0);
    assert_true(out.len > 0);
    buf_free(&out);
}

static void txlog__none_writes_nothing(void **state)
{
    struct site *s = *state;

    s->conf.format = LOG_NONE;
    txlog_configure(s->log, &s->conf);
    put(s, "a");
    txlog_flush(s->log);
    found(s, "");
    txlog_write(NULL, &(struct txlog_record){ .code = 'E' });
}

static void txlog__connections_can_be_left_out(void **state)
{
    struct site *s = *state;

    assert_true(txlog_wants_connections(s->log));
    s->conf.connections = false;
    txlog_configure(s->log, &s->conf);
    assert_false(txlog_wants_connections(s->log));
    txlog_write(s->log, &(struct txlog_record){ .code = 'O', .direction = '+', .source = SLICE("tcp_local") });
    txlog_flush(s->log);
    found(s, "");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, site_make, site_remove)
    const struct CMUnitTest tests[] = {
        T(txlog__writes_and_finds),
        T(txlog__rotates_by_hand_and_packs),
        T(txlog__two_rotations_in_a_second),
        T(txlog__rotates_by_size_and_age),
        T(txlog__keeps_for_keep_days),
        T(txlog__a_moved_file_is_made_anew),
        T(txlog__a_full_buffer_drops_and_says_so),
        T(txlog__none_writes_nothing),
        T(txlog__connections_can_be_left_out),
    };

    setenv("TZ", "UTC", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
