/* nth.c - the n-th file call of each kind fails, for all n of a scripted workload; afterwards the invariants of
 * journal.h hold.
 *
 * The workload runs under preload_fault with one rule; what it says was answered is held against the directory it
 * leaves (J1 to J7), which is then checked, used and rebuilt. Refusals and read-only ends are fine; crashes, hangs
 * and wrong answers are not.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "crash_sim.h"
#include "fault_run.h"
#include "kv_site.h"

#define CLIENTS 3u
#define SHORT_TRIES 18 /* per row in the short form */
#define FAILURES_MAX 3u

struct row {
    const char *kind, *action;
    bool goes_on; /* every call from the n-th on */
};
static const struct row rows[] = {
    { "pwritev", "EIO", false },   { "pwritev", "ENOSPC", false },   { "pwritev", "SHORT", false },
    { "pwrite", "EIO", false },    { "pwrite", "ENOSPC", false },    { "pwrite", "SHORT", false },
    { "write", "EIO", false },     { "write", "SHORT", false },      { "fdatasync", "EIO", false },
    { "fsync", "EIO", false },     { "fdatasync", "EIOKEPT", false }, { "fdatasync", "EIOKEPT", true },
    { "fallocate", "ENOSPC", false }, { "fallocate", "EIO", false },
    { "ftruncate", "EIO", false }, { "open", "EIO", false },         { "pread", "EIO", false },
    { "rename", "EIO", false },    { "unlink", "EIO", false },       { "mkdir", "ENOSPC", false },
    { "any", "KILL", false },      { "pwritev", "EIO", true },       { "pwrite", "ENOSPC", true },
    { "fdatasync", "EIO", true },  { "fsync", "EIO", true },         { "fallocate", "ENOSPC", true },
    { "open", "EIO", true },       { "any", "EIO", true },
};

struct nth {
    struct fault_run run;
    struct kv_plan plan;
    struct kv_result *result;
    struct rng rng;
    char data[PATH_MAX], lines[PATH_MAX], report[PATH_MAX];
};

/* Run the workload with that rule. Returns the wait status, -1 after the limit. */
static int work(struct nth *t, const char *rule, bool without_pool)
{
    char env_dir[PATH_MAX + 20], env_rule[80], env_report[PATH_MAX + 20], seed[24], mark[12], clients[12];
    const char *args[] = { "--dir", t->data, "--seed", seed, "--clients", clients, "--mark", mark, "--inline", "3000",
                           "--tolerant", "run:50", "roll", "run:30", "settle", "empty", "run:20", "reopen", "run:20",
                           "reclaim", "run:10", "rebuild:10", "empty", "busy:40", without_pool ? "--no-pool" : NULL,
                           NULL };
    struct fault_spawn s = { .preload = "fault", .environment = { env_dir, env_rule, env_report }, .args = args,
                             .timeout_s = 30 };
    int status;

    crash_dir_empty(t->data, false);
    unlink(t->lines);
    s.mark_fd = open(t->lines, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(env_dir, sizeof(env_dir), "PH_FAULT_DIR=%s", t->data);
    snprintf(env_rule, sizeof(env_rule), "PH_FAULT=%s", rule);
    snprintf(env_report, sizeof(env_report), "PH_FAULT_REPORT=%s", t->report);
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)t->plan.seed);
    snprintf(mark, sizeof(mark), "%d", s.mark_fd);
    snprintf(clients, sizeof(clients), "%u", CLIENTS);
    status = fault_spawn(&t->run, &s);
    close(s.mark_fd);
    return status;
}

static unsigned long count_of(struct nth *t, const char *kind)
{
    FILE *f = fopen(t->report, "r");
    char name[40];
    unsigned long n = 0, count = 0;

    while (f != NULL && fscanf(f, "%39s %lu", name, &n) == 2) {
        if (strcmp(name, kind) == 0)
            count = n;
    }
    if (f != NULL)
        fclose(f);
    return count;
}

static bool one(struct nth *t, const struct row *row, unsigned long n)
{
    struct kv_site site = { .dir = t->data, .inline_bytes = 3000 };
    char rule[80], why[160], text[2000];
    unsigned flags = KV_CHECK | KV_REBUILD | KV_GO_ON;
    bool dies = strcmp(row->action, "KILL") == 0;
    int status;

    snprintf(rule, sizeof(rule), "%s:%lu:%s%s", row->kind, n, row->action, row->goes_on ? ":on" : "");
    status = work(t, rule, n % 2 == 0);
    kv_model_init(&t->result->model, &t->plan, CLIENTS);
    if (status == -1 || (WIFSIGNALED(status) && !(dies && WTERMSIG(status) == SIGKILL)) ||
        (WIFEXITED(status) && WEXITSTATUS(status) > 1)) {
        fault_note(&t->run, "%s: kvwork ended with wait status %d\n%s", rule, status, fault_stderr(&t->run, text));
        return false;
    }
    if (!kv_model_lines(&t->result->model, t->lines, why)) {
        fault_note(&t->run, "%s: %s", rule, why);
        return false;
    }
    /* A disk on which everything fails cannot be told not to trust the index: that machine is started again. */
    if (n % 3 == 0 || row->goes_on)
        site.boot_id = "00000000-0000-4000-8000-000000000009";
    if (kv_verify_child(&site, flags, 30 * t->run.slow, t->result) == 0)
        return true;
    fault_note(&t->run, "%s:\n%s\nthe workload said:\n%s", rule, t->result->text, fault_stderr(&t->run, text));
    fault_keep(&t->run, t->data, rule);
    fault_path(&t->run, t->data, "data", true);
    return false;
}

static void case_row(struct nth *t, const struct row *row, unsigned long count)
{
    unsigned long tried = 0, failed = 0;
    char name[80];

    snprintf(name, sizeof(name), "nth: %s %s%s", row->kind, row->action, row->goes_on ? " from then on" : "");
    if (!fault_wanted(&t->run, name))
        return;
    for (unsigned long n = 1; n <= count && failed < FAILURES_MAX; n++) {
        if (!t->run.soak && n > 6 / t->run.thin && rng_below(&t->rng, count) >= SHORT_TRIES / t->run.thin)
            continue;
        tried++;
        failed += !one(t, row, n);
    }
    fault_case(&t->run, name, failed == 0, "%lu of %lu calls tried", tried, count);
}

int main(int argc, char **argv)
{
    struct nth *t = mem_alloc(sizeof(*t));
    unsigned long counts[ARRAY_LEN(rows)];
    char text[2000];
    int status, rc;

    fault_begin(&t->run, "nth", argc, argv);
    fault_path(&t->run, t->data, "data", true);
    fault_path(&t->run, t->lines, "lines", false);
    fault_path(&t->run, t->report, "report", false);
    t->plan = (struct kv_plan){ .seed = t->run.seed, .value_max = 600, .body_max = 12000 };
    t->result = kv_result_new();
    rng_init(&t->rng, t->run.seed);
    status = work(t, "", false);
    fault_case(&t->run, "nth: the workload runs without faults", status == 0, "wait status %d\n%s", status,
               status == 0 ? "" : fault_stderr(&t->run, text));
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        counts[i] = count_of(t, rows[i].kind);
    for (unsigned i = 0; i < ARRAY_LEN(rows) && status == 0; i++)
        case_row(t, &rows[i], counts[i]);
    rc = fault_end(&t->run);
    kv_result_destroy(&t->result);
    mem_free(t);
    return rc;
}
