/* rebuild.c - J4, J5, J10: an index made anew from the segments says what the old one said, also after segments were
 * emptied in any order; bodies that are pinned meanwhile keep their octets.
 */
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "fault_run.h"
#include "kv_internal.h"
#include "kv_site.h"

#define CLIENTS 10u
#define PINS 64u
#define NUMBERS 2048u
#define OLD_CLIENTS 6u /* where a rebuild in the background goes on: they wait, the others are new */

struct pinned {
    struct body_pin pin;
    uint32_t client, n, length;
};

struct rebuild {
    struct fault_run run;
    struct rng rng;
    struct kv_plan plan;
    struct kv_result *result; /* only for its model */
    struct kv_journal k;
    struct kv_site site;
    char data[PATH_MAX], partition[PATH_MAX], lines[PATH_MAX];
    struct pinned pins[PINS];
    unsigned pin_count, emptied, rounds;
    unsigned client_from, client_count; /* who works; 0: all */
    unsigned during, demanded;          /* operations and clients compared while the index was being rebuilt */
    uint64_t bodies_made, bodies_found; /* by operations that brought octets; in the log */
    char why[400]; /* of the first fault; empty: none */
};

static void PRINTF_LIKE(2, 3) wrong(struct rebuild *b, const char *fmt, ...)
{
    va_list ap;

    if (b->why[0] != 0)
        return;
    va_start(ap, fmt);
    vsnprintf(b->why, sizeof(b->why), fmt, ap);
    va_end(ap);
}

static void wrong_line(void *arg, const char *line)
{
    wrong(arg, "%s", line);
}

static bool is_good(const struct rebuild *b)
{
    return b->why[0] == 0;
}

/* --- work --------------------------------------------------------------------------------------------------------- */

/* Operations of all clients, one after the other, so that the model follows without a log. */
static void work(struct rebuild *b, unsigned count)
{
    for (unsigned i = 0; i < count && is_good(b); i++) {
        unsigned among = b->client_count != 0 ? b->client_count : CLIENTS;
        struct kv_client *c = &b->result->model.clients[b->client_from + rng_below(&b->rng, among)];
        struct err err = ERR_INIT;
        struct kv_step step;
        enum err_kind want;

        kv_client_next(c, &b->plan, &step);
        want = kv_client_expect(c, &step);
        c->sent = step.n;
        kv_run(b->k.room, b->k.j, &step, b->plan.seed, &err);
        if (err.kind != want)
            wrong(b, "client %u operation %u: %s instead of %s: %s", c->client, step.n, err_kind_name(err.kind),
                  err_kind_name(want), err.text);
        b->result->faults = 1; /* who is killed in here leaves half a model */
        if (err.kind == ERR_NONE) {
            kv_client_apply(c, &step);
            b->bodies_made += step.what == KV_OP_SET_BODY || step.what == KV_OP_SET_OCTETS ||
                              step.what == KV_OP_JOB_ADD;
        }
        c->answered = c->sent = step.n;
        b->result->faults = 0;
    }
}

static void dump(struct rebuild *b, struct buf *out)
{
    struct err err = ERR_INIT;

    buf_reset(out);
    if (kv_journal_dump(&b->k, out, &err) < 0)
        wrong(b, "dumping: %s", err.text);
    else if (out->len == 0)
        wrong(b, "the dump is empty");
}

static void reopen(struct rebuild *b, bool discard)
{
    struct err err = ERR_INIT;

    kv_journal_close(&b->k);
    b->site.discard_index = discard;
    if (kv_journal_open(&b->k, &b->site, &err) < 0) {
        wrong(b, "opening: %s", err.text);
        return;
    }
    if (b->k.report.damaged_places != 0 || (b->k.report.index_rebuilt != discard && !b->site.background))
        wrong(b, "%llu damaged places, rebuilt: %d", (unsigned long long)b->k.report.damaged_places,
              b->k.report.index_rebuilt);
}

/* What the first octets that differ say, for people. */
static void same(struct rebuild *b, const struct buf *before, const struct buf *after, const char *when)
{
    size_t at = 0, from;

    if (!is_good(b) || slice_eq(buf_slice(before), buf_slice(after)))
        return;
    while (at < before->len && at < after->len && before->ptr[at] == after->ptr[at])
        at++;
    from = at;
    while (from > 0 && before->ptr[from - 1] != '\n')
        from--;
    wrong(b, "%s the dump differs:\n  before %.100s\n  after  %.100s", when,
          from < before->len ? (const char *)before->ptr + from : "(end)",
          from < after->len ? (const char *)after->ptr + from : "(end)");
}

static void verify(struct rebuild *b)
{
    struct journal_check_result found;
    struct err err = ERR_INIT;

    if (!is_good(b))
        return;
    kv_compare(b->k.room, b->k.j, &b->result->model, false, wrong_line, b);
    if (is_good(b) && journal_check(b->k.j, wrong_line, b, &found, &err) != 0)
        wrong(b, "checking: %s", err.text);
}

/* --- pins --------------------------------------------------------------------------------------------------------- */

static void pins_take(struct rebuild *b)
{
    struct journal_view v;
    struct err err = ERR_INIT;

    if (!is_good(b) || journal_read_begin(b->k.j, &v, &err) < 0)
        return;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        for (uint32_t slot = 0; slot < KV_BUCKETS; slot++) {
            uint64_t object, at = 0;
            uint32_t part, key;
            struct kv_value value;

            if (!kv_name_find(&v, c, slot, &object))
                continue;
            while (b->pin_count < PINS && kv_entry_next(&v, object, 0, &at, &part, &key, &value)) {
                struct pinned *p = &b->pins[b->pin_count];

                if (value.kind != KV_BODY || rng_below(&b->rng, 3) != 0)
                    continue;
                *p = (struct pinned){ .client = c, .n = value.n, .length = value.length };
                if (journal_body_pin(b->k.j, &v, value.body, &p->pin, &err) < 0)
                    wrong(b, "pinning body %llu: %s", (unsigned long long)value.body, err.text);
                else
                    b->pin_count++;
            }
        }
    }
    journal_read_end(&v);
}

static void pins_check(struct rebuild *b, bool release)
{
    struct buf want = BUF_INIT, have = BUF_INIT;

    for (unsigned i = 0; i < b->pin_count; i++) {
        struct pinned *p = &b->pins[i];
        struct err err = ERR_INIT;

        buf_reset(&want);
        buf_reset(&have);
        kv_fill(&want, b->plan.seed, p->client, p->n, p->length);
        if (journal_body_read(&p->pin, 0, buf_extend(&have, p->length), p->length, &err) < 0)
            wrong(b, "a pinned body cannot be read: %s", err.text);
        else if (!slice_eq(buf_slice(&want), buf_slice(&have)))
            wrong(b, "a pinned body changed");
        if (release)
            journal_body_unpin(&p->pin);
    }
    if (release)
        b->pin_count = 0;
    buf_free(&want);
    buf_free(&have);
}

/* --- emptying ----------------------------------------------------------------------------------------------------- */

/* Sealed segments in random order, at most `max`; each into one of the two partitions. */
static void empty_some(struct rebuild *b, unsigned max)
{
    uint64_t numbers[NUMBERS];
    unsigned left = NUMBERS, done = 0;

    for (unsigned i = 0; i < NUMBERS; i++)
        numbers[i] = i + 1;
    while (left > 0 && done < max && is_good(b)) {
        unsigned i = (unsigned)rng_below(&b->rng, left);
        struct err err = ERR_INIT;

        if (journal_empty_segment(b->k.j, numbers[i], (uint32_t)rng_below(&b->rng, 2), &err) == 0) {
            done++;
            pins_check(b, false);
        } else if (err.kind != ERR_NOTFOUND && err.kind != ERR_EXISTS) {
            wrong(b, "emptying segment %llx: %s", (unsigned long long)numbers[i], err.text);
        }
        numbers[i] = numbers[--left];
    }
    b->emptied += done;
}

static void roll(struct rebuild *b)
{
    struct err err = ERR_INIT;

    if (is_good(b) && journal_roll(b->k.j, &err) < 0)
        wrong(b, "rolling: %s", err.text);
}

/* --- cases -------------------------------------------------------------------------------------------------------- */

static bool begin(struct rebuild *b, uint64_t seed)
{
    struct err err = ERR_INIT;

    b->plan = (struct kv_plan){ .seed = seed, .value_max = 600, .body_max = 12000 };
    b->why[0] = 0;
    b->site = (struct kv_site){ .dir = fault_path(&b->run, b->data, "data", true),
                                .partition = fault_path(&b->run, b->partition, "partition", true),
                                .inline_bytes = 3000 };
    kv_model_init(&b->result->model, &b->plan, CLIENTS);
    if (kv_journal_open(&b->k, &b->site, &err) < 0)
        wrong(b, "opening: %s", err.text);
    return is_good(b);
}

static bool count_body(void *arg, const struct record *r, uint64_t segment UNUSED, uint64_t offset UNUSED)
{
    struct rebuild *b = arg;
    const struct journal_type *t = journal_type_find(b->k.j, r->type);

    /* in the log, or adopted from a file of its own */
    if ((r->flags & RECORD_BODY) != 0 || (t != NULL && strcmp(t->name, "adopt") == 0))
        b->bodies_found++;
    return true;
}

/* J10: sharing and moving write no octets again. */
static void case_once(struct rebuild *b)
{
    struct err err = ERR_INIT;

    b->bodies_made = b->bodies_found = 0;
    if (begin(b, b->run.seed + 500)) {
        work(b, 2000);
        if (is_good(b) && journal_walk(b->k.j, 0, count_body, b, &err) < 0)
            wrong(b, "walking: %s", err.text);
        if (b->bodies_found != b->bodies_made)
            wrong(b, "the log holds %llu bodies", (unsigned long long)b->bodies_found);
        kv_journal_close(&b->k);
    }
    fault_case(&b->run, "rebuild: a body is stored once however many refer to it", is_good(b), "%llu bodies made\n%s",
               (unsigned long long)b->bodies_made, b->why);
}

static void case_discard(struct rebuild *b)
{
    struct buf before = BUF_INIT, after = BUF_INIT;

    if (begin(b, b->run.seed)) {
        for (unsigned i = 0; i < 5; i++) {
            work(b, b->run.soak ? 2000 : 300);
            if (is_good(b))
                dump(b, &before);
            if (is_good(b))
                reopen(b, true);
            if (is_good(b))
                dump(b, &after);
            same(b, &before, &after, "rebuilt,");
            verify(b);
        }
        kv_journal_close(&b->k);
    }
    fault_case(&b->run, "rebuild: a discarded index comes back as it was", is_good(b),
               "%zu octets of dump\n%s", after.len, b->why);
    buf_free(&before);
    buf_free(&after);
}

/* One journal, several rounds: work, empty some, compare; sometimes with a restart. */
static void emptying_once(struct rebuild *b, uint64_t seed)
{
    struct buf before = BUF_INIT, after = BUF_INIT;

    if (!begin(b, seed))
        return;
    for (unsigned i = 0; i < 4 && is_good(b); i++) {
        work(b, 250);
        if (rng_below(&b->rng, 2) == 0)
            roll(b);
        pins_take(b);
        if (is_good(b))
            dump(b, &before);
        empty_some(b, i == 3 ? NUMBERS : 1 + (unsigned)rng_below(&b->rng, 6));
        if (is_good(b))
            dump(b, &after);
        same(b, &before, &after, "after emptying");
        verify(b);
        pins_check(b, true);
        if (is_good(b))
            reopen(b, rng_below(&b->rng, 3) != 0);
        if (is_good(b))
            dump(b, &after);
        same(b, &before, &after, "rebuilt after emptying,");
        verify(b);
        b->rounds++;
    }
    pins_check(b, true);
    kv_journal_close(&b->k);
    buf_free(&before);
    buf_free(&after);
}

static void case_emptying(struct rebuild *b)
{
    unsigned journals = b->run.soak ? 200 : 6, i;

    b->emptied = b->rounds = 0;
    for (i = 0; i < journals; i++) {
        emptying_once(b, b->run.seed * 1000 + i);
        if (!is_good(b))
            break;
    }
    fault_case(&b->run, "rebuild: the same after emptying segments in any order", is_good(b) && b->emptied > 0,
               "journal %u of %u, %u rounds, %u segments emptied\n%s", i, journals, b->rounds, b->emptied, b->why);
}

/* --- behind the back of a server ---------------------------------------------------------------------------------- */

/* One client is asked for until it can be compared; it works with the others from then on. */
static void demand_step(struct rebuild *b, uint32_t *client)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    char why[200];

    if (*client == 0 || !kv_client_ready(&b->k, *client - 1) || journal_read_begin(b->k.j, &v, &err) < 0)
        return;
    --*client;
    if (!kv_client_same(b->k.room, b->k.j, &v, &b->result->model.clients[*client], b->plan.seed, false, why))
        wrong(b, "client %u, asked for: %s", *client, why);
    journal_read_end(&v);
    b->client_from = *client;
    b->client_count = CLIENTS - *client;
    b->demanded++;
}

/* What the new clients did before a rebuild was stopped belongs to the history of the next one: as any server, they
 * may not work on it before it is ready. */
static void newcomers_wait(struct rebuild *b)
{
    struct timespec pause = { .tv_nsec = 1000000 };

    for (uint32_t client = OLD_CLIENTS; client < CLIENTS; client++)
        while (journal_rebuilding(b->k.j, NULL) && !kv_client_ready(&b->k, client))
            nanosleep(&pause, NULL);
}

/* Traffic while the rebuild goes on; at most `ops` operations. */
static void work_during(struct rebuild *b, unsigned ops)
{
    uint32_t client = OLD_CLIENTS;

    newcomers_wait(b);
    b->client_from = OLD_CLIENTS;
    b->client_count = CLIENTS - OLD_CLIENTS;
    while (is_good(b) && journal_rebuilding(b->k.j, NULL) && ops-- > 0) {
        work(b, 1);
        demand_step(b, &client);
        b->during++;
    }
    b->client_from = b->client_count = 0;
}

static void open_behind(struct rebuild *b, bool discard)
{
    b->site.background = true;
    b->site.rebuild_slice = 1 + (unsigned)rng_below(&b->rng, 30);
    reopen(b, discard);
    b->site.background = false;
}

static void wait_complete(struct rebuild *b)
{
    struct timespec pause = { .tv_nsec = 1000000 };

    for (unsigned i = 0; i < 60000 && journal_rebuilding(b->k.j, NULL); i++)
        nanosleep(&pause, NULL);
    if (journal_rebuilding(b->k.j, NULL))
        wrong(b, "the rebuild does not end");
}

static void same_rebuilt(struct rebuild *b)
{
    struct buf before = BUF_INIT, after = BUF_INIT;

    verify(b);
    if (is_good(b))
        dump(b, &before);
    if (is_good(b))
        reopen(b, true);
    if (is_good(b))
        dump(b, &after);
    same(b, &before, &after, "rebuilt at once,");
    verify(b);
    buf_free(&before);
    buf_free(&after);
}

static bool history(struct rebuild *b, uint64_t seed)
{
    if (!begin(b, seed))
        return false;
    b->client_count = OLD_CLIENTS;
    work(b, 400);
    empty_some(b, (unsigned)rng_below(&b->rng, 4));
    work(b, 200);
    b->client_count = 0;
    return is_good(b);
}

static void case_behind(struct rebuild *b)
{
    unsigned rounds = b->run.soak ? 200 : 6, i;

    b->during = b->demanded = 0;
    for (i = 0; i < rounds; i++) {
        if (history(b, b->run.seed * 1000 + 700 + i)) {
            open_behind(b, true);
            if (i % 2 != 0) { /* stopped in the middle: what it had made does not count */
                work_during(b, 1 + (unsigned)rng_below(&b->rng, 20));
                if (journal_rebuilding(b->k.j, NULL)) {
                    open_behind(b, false);
                    if (is_good(b) && !b->k.report.index_rebuilt)
                        wrong(b, "half an index was trusted");
                }
            }
            if (is_good(b))
                work_during(b, UINT_MAX);
            if (is_good(b))
                wait_complete(b);
            same_rebuilt(b);
        }
        kv_journal_close(&b->k);
        if (!is_good(b))
            break;
    }
    fault_case(&b->run, "rebuild: goes on behind a server that works", is_good(b) && b->during > 0 && b->demanded > 0,
               "round %u of %u, %u operations meanwhile, %u clients asked for\n%s", i, rounds, b->during, b->demanded,
               b->why);
}

/* A child serves while it rebuilds, and dies. Its model lies in shared memory. */
static void killed_once(struct rebuild *b)
{
    struct timespec until = { .tv_nsec = (long)(1 + rng_below(&b->rng, 60)) * 1000000 };
    int status, pid;

    kv_journal_close(&b->k);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        open_behind(b, true);
        work_during(b, UINT_MAX);
        _exit(is_good(b) ? 0 : 1);
    }
    nanosleep(&until, NULL);
    kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
        b->demanded++;
    else if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        wrong(b, "the child found a fault");
    b->site.discard_index = false;
    b->site.background = false;
}

static void case_killed(struct rebuild *b)
{
    unsigned rounds = b->run.soak ? 400 : 10, i;
    struct err err = ERR_INIT;

    b->demanded = 0;
    for (i = 0; i < rounds; i++) {
        if (history(b, b->run.seed * 1000 + 800 + i)) {
            killed_once(b);
            if (b->result->faults != 0)
                continue;
            if (is_good(b) && kv_journal_open(&b->k, &b->site, &err) < 0)
                wrong(b, "opening: %s", err.text);
            same_rebuilt(b);
        }
        kv_journal_close(&b->k);
        if (!is_good(b))
            break;
    }
    fault_case(&b->run, "rebuild: killed in the middle, begun anew", is_good(b) && b->demanded > 0,
               "round %u of %u, %u killed while they worked\n%s", i, rounds, b->demanded, b->why);
}

int main(int argc, char **argv)
{
    struct rebuild *b = mem_alloc(sizeof(*b));
    int rc;

    fault_begin(&b->run, "rebuild", argc, argv);
    b->result = kv_result_new();
    rng_init(&b->rng, b->run.seed);
    if (fault_wanted(&b->run, "once"))
        case_once(b);
    if (fault_wanted(&b->run, "discard"))
        case_discard(b);
    if (fault_wanted(&b->run, "emptying"))
        case_emptying(b);
    if (fault_wanted(&b->run, "behind"))
        case_behind(b);
    if (fault_wanted(&b->run, "killed"))
        case_killed(b);
    rc = fault_end(&b->run);
    kv_result_destroy(&b->result);
    mem_free(b);
    return rc;
}
