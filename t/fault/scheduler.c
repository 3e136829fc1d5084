/* scheduler.c - the scheduler on a disk that fails: whatever call fails while outcomes are recorded, what was sent is
 * recorded in the end and not sent again, and nothing is lost.
 *
 * usage: scheduler [options of fault_run.h], or as its own child: scheduler work DIR
 *
 * The child puts messages into a queue, some of which are deferred at first, and relays them with a worker that counts
 * how often each was sent; it drives the reactor and moves the clock until all is over. One to three calls in a row
 * fail.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_run.h"
#include "queue/scheduler_internal.h"
#include "queue_site.h"

#define ENTRIES 24u
#define PUT_TRIES 20u
#define SECONDS 1200u
#define WRONG 3 /* exit status: sent twice, lost, or out of balance */
#define ROUNDS 2000000u

/* --- the child ---------------------------------------------------------------------------------------------------- */

struct child {
    struct queue_site site;
    struct queue_site_setup setup;
    struct reactor *reactor;
    struct scheduler *s;
    struct idmap sent, deferred; /* by entry */
    unsigned relayed, twice, too_soon;
};

static void entry_send(struct child *c, struct channel_job *job, uint64_t id)
{
    struct queue_outcome o = { .state = RCPT_RELAYED, .status = SLICE("2.0.0") };

    if (id % 3 == 0 && idmap_put(&c->deferred, id, c) == NULL)
        o.state = RCPT_WAITING;
    else if (idmap_put(&c->sent, id, c) != NULL)
        c->twice++;
    else
        c->relayed++;
    job_result(job, &(struct job_result){ .entry = id, .outcomes = &o, .outcome_count = 1 });
}

struct work {
    struct child *c;
    struct channel_job *job;
    struct post post;
};

static void on_more(void *arg, unsigned count)
{
    struct work *w = arg;

    for (unsigned i = 0; i < count; i++)
        entry_send(w->c, w->job, w->job->entries[i].id);
    if (count != 0) {
        job_more(w->job, 3, w->c->reactor, on_more, w);
        return;
    }
    job_end(w->job, JOB_OK, SLICE_NONE, SLICE_NONE);
    mem_free(w);
}

static void on_work(struct post *p)
{
    struct work *w = CONTAINER_OF(p, struct work, post);

    on_more(w, w->job->entry_count);
}

static void work_start(void *context, struct channel_job *job)
{
    struct work *w = mem_alloc(sizeof *w);

    w->c = context;
    w->job = job;
    w->c->too_soon += w->c->s->disk_refuses;
    reactor_post(w->c->reactor, &w->post, on_work);
}

/* Until nothing moves; results that wait for the disk do not. */
static void drive(struct child *c)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        bool moved = false;

        while (reactor_turn(c->reactor))
            moved = true;
        if (!moved && (atomic_load(&c->s->inflight) == 0 || !list_is_empty(&c->s->refused)))
            return;
        usleep(20);
    }
}

static void pass(struct child *c, int64_t ms)
{
    clock_fake_advance(&c->site.clock, ms);
    reactor_kick(c->reactor);
    drive(c);
}

/* False: the journal is beyond help until a restart. */
static bool put(struct child *c, unsigned i)
{
    struct queue_rcpt rcpt = { .address = SLICE("r@a.example") };
    struct queue_entry e = { .channel = SLICE("tcp_local"),
                             .host = i % 2 == 0 ? SLICE("a.example") : SLICE("b.example"),
                             .priority = QUEUE_NORMAL, .sender = SLICE("s@example.org"), .rcpts = &rcpt,
                             .rcpt_count = 1 };

    for (unsigned k = 0; k < PUT_TRIES; k++) {
        struct err err = ERR_INIT;

        if (queue_site_put(&c->site, &e, SLICE("Subject: x\r\n\r\ny\r\n"), NULL, &err) == 0)
            return true;
        if (k + 1 == PUT_TRIES)
            fprintf(stderr, "put: %s\n", err.text);
        pass(c, 1000);
    }
    return false;
}

static int64_t total(struct child *c, const char *what)
{
    json_t *ledger = queue_ledger(c->site.queue, NULL);
    int64_t n = json_get_int(json_object_get(ledger, "total"), what, -1);

    json_decref(ledger);
    return n;
}

static void say(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

static bool work_run(struct child *c)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (!put(c, i))
            return false;
        drive(c);
    }
    for (unsigned i = 0; i < SECONDS && (total(c, "queued") != 0 || atomic_load(&c->s->inflight) != 0); i++) {
        pass(c, 1000);
    }
    if (total(c, "created") < ENTRIES)
        return false; /* the index cannot be read */
    return total(c, "queued") == 0 || put(c, 0);
}

static int child(const char *dir)
{
    static const struct channel_type type = { .name = "smtp", .start = work_start };
    struct child *c = mem_alloc(sizeof *c);
    struct channel_binding binding = { &type, c };
    struct scheduler_setup setup = { .types = &binding, .type_count = 1 };
    struct err err = ERR_INIT;
    int64_t queued, relayed;
    bool is_alive;
    int faults;

    c->setup = (struct queue_site_setup){ .dir = dir, .young_max = 16, .young_s = 3,
                                          .channels = "{\"tcp_local\": {\"backoff\": [\"PT1M\"]}}" };
    idmap_init(&c->sent);
    idmap_init(&c->deferred);
    if (queue_site_open(&c->site, &c->setup, &err) < 0) {
        mem_free(c);
        return 1;
    }
    c->reactor = reactor_new("test", &c->site.clock, &err);
    setup.queue = c->site.queue;
    setup.journal = c->site.j;
    setup.clock = &c->site.clock;
    setup.conf = c->site.queue->conf;
    setup.reactor = c->reactor;
    if (c->reactor == NULL || scheduler_new(&c->s, &setup, &err) < 0)
        return 1;
    is_alive = work_run(c);
    queued = total(c, "queued");
    relayed = total(c, "relayed");
    fprintf(stderr, "relayed %lld of %u sent, %u twice, %u jobs too soon, %lld left, %lld results refused\n",
            (long long)relayed, c->relayed, c->twice, c->too_soon, (long long)queued,
            (long long)counter_get(&scheduler_counters[SC_REFUSED]));
    if (!is_alive)
        return c->twice + c->too_soon != 0 ? WRONG : 1;
    faults = queue_site_check(&c->site, say, NULL, &err);
    if (c->twice + c->too_soon != 0 || queued != 0 || relayed != c->relayed || relayed < ENTRIES || faults > 0)
        return WRONG;
    return 0;
}

/* --- the parent --------------------------------------------------------------------------------------------------- */

struct row {
    const char *kind, *action;
};
static const struct row rows[] = {
    { "pwritev", "EIO" },   { "pwritev", "ENOSPC" },   { "pwritev", "SHORT" },    { "fdatasync", "EIO" },
    { "fdatasync", "EIOKEPT" }, { "fallocate", "ENOSPC" }, { "pwrite", "EIO" }, { "open", "EIO" },
};

static int work(struct fault_run *r, const char *rule, const char *report, unsigned *refused)
{
    char data[4096], variables[3][4200], text[2000];
    const char *args[] = { "work", data, NULL };
    struct fault_spawn s = { .program = "scheduler", .preload = "fault", .args = args, .timeout_s = 60 * r->slow,
                             .mark_fd = -1,
                             .environment = { variables[0], variables[1], variables[2] } };
    const char *at;
    int status;

    fault_path(r, data, "data", true);
    snprintf(variables[0], sizeof variables[0], "PH_FAULT_DIR=%s", data);
    snprintf(variables[1], sizeof variables[1], "PH_FAULT=%s", rule);
    snprintf(variables[2], sizeof variables[2], "PH_FAULT_REPORT=%s", report);
    status = fault_spawn(r, &s);
    at = strstr(fault_stderr(r, text), "left, ");
    if (at != NULL)
        *refused += (unsigned)strtoul(at + 6, NULL, 10) != 0;
    return status;
}

static unsigned long count_of(const char *report, const char *kind)
{
    FILE *f = fopen(report, "r");
    char name[40];
    unsigned long n = 0, count = 0;

    while (f != NULL && fscanf(f, "%39s %lu", name, &n) == 2)
        count = strcmp(name, kind) == 0 ? n : count;
    if (f != NULL)
        fclose(f);
    return count;
}

static void case_row(struct fault_run *r, const struct row *row, unsigned long count, const char *report,
                     unsigned *refused)
{
    unsigned long step = r->soak || count < 12 ? 1 : count / 6, tried = 0, failed = 0, gave_up = 0;
    char name[80], rule[200], text[2000];

    snprintf(name, sizeof name, "scheduler: %s %s", row->kind, row->action);
    for (unsigned long n = 1 + r->seed % step; fault_wanted(r, name) && n <= count && failed < 3; n += step) {
        int status, len = 0;

        for (unsigned long k = n; k <= n + tried % 3; k++)
            len += snprintf(rule + len, sizeof rule - (size_t)len, "%s%s:%lu:%s", k == n ? "" : ",", row->kind, k,
                            row->action);
        status = work(r, rule, report, refused);
        tried++;
        gave_up += WIFEXITED(status) && WEXITSTATUS(status) == 1;
        if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) <= 1)
            continue;
        failed++;
        fault_note(r, "%s: wait status %d\n%s", rule, status, fault_stderr(r, text));
    }
    fault_case(r, name, failed == 0, "%lu of %lu calls tried, %lu times it gave up before", tried, count, gave_up);
}

int main(int argc, char **argv)
{
    struct fault_run r;
    char report[4096], text[2000];
    unsigned refused = 0;
    int status;

    if (argc == 3 && strcmp(argv[1], "work") == 0)
        return child(argv[2]);
    fault_begin(&r, "scheduler", argc, argv);
    fault_path(&r, report, "report", false);
    status = work(&r, "", report, &refused);
    fault_case(&r, "scheduler: without faults", status == 0 && refused == 0, "wait status %d\n%s", status,
               status == 0 ? "" : fault_stderr(&r, text));
    for (unsigned i = 0; i < ARRAY_LEN(rows) && status == 0; i++) {
        unsigned long counts[ARRAY_LEN(rows)];

        work(&r, "", report, &refused);
        counts[i] = count_of(report, rows[i].kind);
        case_row(&r, &rows[i], counts[i], report, &refused);
    }
    fault_case(&r, "scheduler: outcomes were refused in between", refused != 0, "in %u cases", refused);
    return fault_end(&r);
}
