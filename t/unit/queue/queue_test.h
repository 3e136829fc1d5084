/* queue_test.h - a queue in a directory of its own and short ways to fill it, for the unit tests of the queue. */
#ifndef T_QUEUE_TEST_H
#define T_QUEUE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/diag.h"
#include "queue_site.h"

#define NOW QUEUE_SITE_MS

struct test {
    char dir[64];
    struct queue_site site;
    struct queue_site_setup setup;
    struct arena mem;
    char said[4000];
};

static inline void test_say(void *arg, const char *line)
{
    struct test *t = arg;
    size_t len = strlen(t->said);

    snprintf(t->said + len, sizeof t->said - len, "%s\n", line);
}

static inline void test_open(struct test *t)
{
    struct err err = ERR_INIT;

    t->setup.dir = t->dir;
    if (queue_site_open(&t->site, &t->setup, &err) < 0)
        fail_msg("opening: %s", err.text);
}

static inline int test_setup(void **state)
{
    struct test *t = mem_alloc(sizeof *t);

    diag_set_level(DIAG_ERROR);
    arena_init(&t->mem, 1024);
    snprintf(t->dir, sizeof t->dir, "/tmp/posthouse-queue-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    *state = t;
    return 0;
}

static inline int test_teardown(void **state)
{
    struct test *t = *state;
    pid_t pid;

    queue_site_close(&t->site);
    arena_free(&t->mem);
    pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", t->dir, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
    mem_free(t);
    return 0;
}

static inline void test_sound(struct test *t)
{
    struct err err = ERR_INIT;

    if (queue_site_check(&t->site, test_say, t, &err) != 0)
        fail_msg("%s%s", t->said, err.text);
}

/* An entry for n recipients r0@host … */
static inline struct queue_entry test_entry(struct test *t, const char *channel, const char *host, unsigned n)
{
    struct queue_entry e = { .channel = slice_str(channel), .host = slice_str(host), .priority = QUEUE_NORMAL,
                             .sender = SLICE("s@example.org"), .message_id = SLICE("<m@example.org>") };

    e.rcpts = arena_alloc_array(&t->mem, n + 1, sizeof *e.rcpts);
    for (unsigned i = 0; i < n; i++)
        e.rcpts[i].address = arena_printf(&t->mem, "r%u@%s", i, host);
    e.rcpt_count = n;
    return e;
}

static inline uint64_t test_put_entry(struct test *t, const struct queue_entry *e)
{
    struct err err = ERR_INIT;
    uint64_t id;

    if (queue_site_put(&t->site, e, SLICE("Subject: x\r\n\r\ny\r\n"), &id, &err) < 0)
        fail_msg("put: %s", err.text);
    return id;
}

static inline uint64_t test_put(struct test *t, const char *channel, const char *host, unsigned n)
{
    struct queue_entry e = test_entry(t, channel, host, n);

    return test_put_entry(t, &e);
}

static inline enum queue_result test_hand(struct test *t, enum queue_what what, uint64_t id)
{
    struct queue_request *r = queue_request_new(what);

    r->entry = id;
    r->by = SLICE("admin");
    r->reason = SLICE("a reason");
    return queue_site_do(&t->site, &r, NULL);
}

static inline enum queue_result test_reroute(struct test *t, uint64_t id, const char *channel, const char *host)
{
    struct queue_request *r = queue_request_new(QUEUE_REROUTE);

    r->entry = id;
    r->channel = slice_str(channel);
    r->host = slice_str(host);
    return queue_site_do(&t->site, &r, NULL);
}

/* An attempt: states of the recipients, one letter each: w d r f … as the names begin ('b' for returned). */
static inline struct queue_request *test_result(struct test *t, uint64_t id, const char *letters, int64_t due_ms)
{
    static const char known[] = "wdrfbxem";
    struct queue_request *r = queue_request_new(QUEUE_RESULT);

    (void)t;
    r->entry = id;
    r->is_attempt = true;
    r->due_ms = due_ms;
    r->outcomes = arena_alloc_array(&r->mem, strlen(letters) + 1, sizeof *r->outcomes);
    for (unsigned i = 0; letters[i] != 0; i++) {
        if (letters[i] == '-')
            continue;
        r->outcomes[r->outcome_count++] =
            (struct queue_outcome){ .rcpt = i, .state = (uint8_t)(strchr(known, letters[i]) - known),
                                    .status = SLICE("4.0.0"), .diag = SLICE("smtp;450 x") };
    }
    return r;
}

static inline enum queue_result test_attempt(struct test *t, uint64_t id, const char *letters, int64_t due_ms)
{
    struct queue_request *r = test_result(t, id, letters, due_ms);

    return queue_site_do(&t->site, &r, NULL);
}

static inline bool test_get(struct test *t, uint64_t id, struct queue_entry *e)
{
    return queue_entry_get(t->site.queue, NULL, id, &t->mem, e);
}

static inline uint64_t test_rows(struct test *t, unsigned table)
{
    struct journal_view v;
    uint64_t n;

    assert_int_equal(journal_read_begin(t->site.j, &v, NULL), 0);
    n = journal_table_count(&v, table);
    journal_read_end(&v);
    return n;
}

static inline void test_settle(struct test *t)
{
    struct err err = ERR_INIT;

    if (journal_settle(t->site.j, &err) < 0)
        fail_msg("settling: %s", err.text);
}

/* One number of the ledger: channel NULL: in all. */
static inline int64_t test_total(struct test *t, const char *channel, const char *what)
{
    json_t *ledger = queue_ledger(t->site.queue, NULL);
    json_t *one = channel == NULL ? json_object_get(ledger, "total")
                                  : json_object_get(json_object_get(ledger, "channels"), channel);
    int64_t n = json_get_int(one, what, -1);

    json_decref(ledger);
    return n;
}

#endif
