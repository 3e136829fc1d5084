/* scheduler_log.c - what attempts, ages and ends leave in the transaction log: whole lines. */
#include "scheduler_test.h"

#define TEXT_MAX 8000

static void log_open(struct sched_test *t)
{
    struct log_conf conf = { 0 };
    struct err err = ERR_INIT;
    struct arena mem;

    clock_init_fake(&t->q.site.clock, 1000, NOW);
    arena_init(&mem, 1024);
    keys_default(&log_keys, &conf, &mem);
    arena_free(&mem);
    if (txlog_open(&t->log, t->q.dir, &t->q.site.clock, &conf, &err) < 0)
        fail_msg("log: %s", err.text);
}

/* The lines without their times ("21-Nov-2026 08:45:00.00 "), entry ids as they are. */
static void log_read(struct sched_test *t, char out[TEXT_MAX])
{
    char path[128], line[2000];
    FILE *f;

    txlog_flush(t->log);
    snprintf(path, sizeof path, "%s/log/mail.log_current", t->q.dir);
    f = fopen(path, "r");
    assert_non_null(f);
    out[0] = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        size_t len = strlen(out);

        assert_true(strlen(line) > 24);
        snprintf(out + len, TEXT_MAX - len, "%s", line + 24);
    }
    fclose(f);
}

static void log_expect(struct sched_test *t, const char *want)
{
    char have[TEXT_MAX];

    log_read(t, have);
    if (strcmp(have, want) != 0)
        fail_msg("\nhave:\n%swant:\n%s", have, want);
}

static uint64_t put(struct sched_test *t, const char *host, const char *sender, uint32_t notify)
{
    struct queue_entry e = test_entry(&t->q, "tcp_local", host, 2);

    e.sender = slice_str(sender);
    e.session = SLICE("S1");
    e.user = SLICE("alice");
    e.source_host = SLICE("client.example ([192.0.2.7])");
    e.envid = SLICE("E+3D1");
    e.rcpts[0].notify = notify;
    e.rcpts[1].orcpt = SLICE("rfc822;first+40b.example");
    return test_put_entry(&t->q, &e);
}

#define CONN "tr=TCP|192.0.2.9|4000|192.0.2.1|25 ap=SMTP/a.example/mx.test"

static void log__lines_of_attempts(void **state)
{
    struct sched_test *t = *state;
    char want[TEXT_MAX], id[17];
    uint64_t entry;

    log_open(t);
    t->q.setup.with_notices = true;
    sched_open(t, NULL);
    memset(t->rules, 0, sizeof t->rules);
    t->rules[0] = (struct fake_rule){ "half.example", DOES_HALF };
    entry = put(t, "half.example", "s@example.org", NOTIFY_NEVER);
    test_quiet(t);
    test_rule(t, DOES_OK);
    test_pass(t, 60 * MINUTE);
    queue_entry_id_print(entry, id);
    snprintf(want, sizeof want,
             "tcp_local    -            DEQ 1 s@example.org rfc822;r0@half.example r0@half.example "
             "id=S1 rf=1 fi=%s ei=E+3D1 mi=<m@example.org> us=*alice ss=\"client.example ([192.0.2.7])\" "
             "di=\"smtp;250 ok\" " CONN " qt=0\n"
             "tcp_local    -            ZEQ 1 s@example.org rfc822;first+40b.example r1@half.example "
             "id=S1 rf=20 fi=%s ei=E+3D1 mi=<m@example.org> us=*alice ss=\"client.example ([192.0.2.7])\" "
             "di=\"smtp;450 later\" " CONN " qt=0\n"
             "tcp_local    -            DEQ 1 s@example.org rfc822;first+40b.example r1@half.example "
             "id=S1 rf=20 fi=%s ei=E+3D1 mi=<m@example.org> us=*alice ss=\"client.example ([192.0.2.7])\" "
             "di=\"smtp;250 ok\" " CONN " qt=3600\n",
             id, id, id);
    log_expect(t, want);
}

/* Codes alone: R with a notice, K without, Q, W and the return of age. */
struct codes {
    const char *sender;
    uint32_t notify;
    enum fake_does does;
    int64_t minutes;
    const char *want; /* per line: code, recipient's number; s: the sender, of a notice */
};

static void codes_read(struct sched_test *t, char *out, size_t bytes)
{
    char text[TEXT_MAX];

    log_read(t, text);
    out[0] = 0;
    for (char *l = text; *l != 0; l = strchr(l, '\n') + 1) {
        size_t len = strlen(out);

        *strchr(l, '\n') = 0;
        snprintf(out + len, bytes - len, "%c%c ", l[26],
                 strstr(l, " r0@") != NULL ? '0' : strstr(l, " r1@") != NULL ? '1' : 's');
        l[strlen(l)] = '\n';
    }
}

static void log__codes(void **state)
{
    static const struct codes rows[] = {
        { "s@example.org", 0, DOES_OK, 0, "D0 D1 " },
        { "s@example.org", 0, DOES_REFUSE, 0, "R0 R1 Es " },
        { "s@example.org", NOTIFY_NEVER, DOES_REFUSE, 0, "K0 R1 Es " },
        { "s@example.org", NOTIFY_SUCCESS, DOES_REFUSE, 0, "K0 R1 Es " },
        { "s@example.org", 0, DOES_DEFER, 0, "Q0 Q1 " },
        { "s@example.org", 0, DOES_UNREACHABLE, 0, "Q0 Q1 " },
        { "s@example.org", NOTIFY_FAILURE, DOES_DEFER, 61, "Q0 Q1 W1 Es " },
        { "s@example.org", NOTIFY_NEVER, DOES_DEFER, 122, "Q0 Q1 W1 Es K0 R1 Es " },
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        char have[200];
        struct sched_test *t;
        void *one;

        sched_setup(&one);
        t = one;
        log_open(t);
        t->q.setup.with_notices = true;
        sched_open(t, "{\"tcp_local\": {\"notices\": [\"PT1H\", \"PT2H\"], \"backoff\": [\"P1D\"]}}");
        test_rule(t, rows[i].does);
        put(t, "a.example", rows[i].sender, rows[i].notify);
        test_quiet(t);
        for (int64_t m = 0; m < rows[i].minutes; m++)
            test_pass(t, MINUTE);
        codes_read(t, have, sizeof have);
        if (strcmp(have, rows[i].want) != 0)
            fail_msg("row %u: \"%s\"", i, have);
        test_sound(&t->q);
        sched_close(t);
        txlog_close(&t->log);
        sched_teardown(&one);
    }
}

static int teardown(void **state)
{
    struct sched_test *t = *state;

    sched_close(t);
    txlog_close(&t->log);
    return sched_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(log__lines_of_attempts, sched_setup, teardown),
        cmocka_unit_test(log__codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
