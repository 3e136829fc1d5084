/* kill.c - J1, J2: kill -9 under load, round after round in one directory; everything answered is there, nothing twice.
 *
 * The workload is killed at a moment nobody chose; what it had said is held against the directory, whose index must
 * still be trusted. The next round goes on from there.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "fault_run.h"
#include "kv_site.h"

#define CLIENTS 12u

struct killer {
    struct fault_run run;
    struct kv_plan plan;
    struct kv_result *result;
    struct rng rng;
    char data[PATH_MAX], partition[PATH_MAX], lines[PATH_MAX], model[PATH_MAX];
    uint64_t answers;
};

static void pause_us(uint64_t us)
{
    struct timespec t = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

    nanosleep(&t, NULL);
}

/* Until it has begun to work, and then some more. False: it ended by itself. */
static bool let_work(struct killer *k, int pid)
{
    struct stat st = { 0 };
    int status;

    for (unsigned ms = 0; ms < 20000 * k->run.slow; ms++) {
        if (stat(k->lines, &st) == 0 && st.st_size > 0)
            break;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return false;
        pause_us(1000);
    }
    pause_us(rng_below(&k->rng, 1u << (10 + rng_below(&k->rng, 8))) * k->run.slow);
    return waitpid(pid, &status, WNOHANG) != pid;
}

static const char *const phases_of[][8] = {
    { "forever" },
    { "run:200", "roll", "run:100", "empty", "forever" },
    { "run:100", "reclaim", "run:50", "settle", "forever" },
    { "run:100", "roll", "emptyall", "forever" },
    { "run:60", "reopen", "forever" },
    { "busy:100000000" },
    { "run:100", "roll", "busy:100000000" },
};

static bool work_and_kill(struct killer *k, unsigned round)
{
    const char *const *phases = phases_of[rng_below(&k->rng, ARRAY_LEN(phases_of))];
    const char *args[32] = { "--dir",    k->data,  "--partition", k->partition,  "--mark", "",
                             "--inline", "3000", "--clients",   "12",          "--seed" };
    char mark[12], seed[24], text[2000];
    struct fault_spawn s = { .args = args };
    unsigned n = 11;
    bool is_alive;
    int pid;

    unlink(k->lines);
    s.mark_fd = open(k->lines, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(mark, sizeof(mark), "%d", s.mark_fd);
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)k->plan.seed);
    args[5] = mark;
    args[n++] = seed;
    if (round > 0) {
        args[n++] = "--model-in";
        args[n++] = k->model;
    }
    for (unsigned i = 0; i < ARRAY_LEN(phases_of[0]) && phases[i] != NULL; i++)
        args[n++] = phases[i];
    pid = fault_start(&k->run, &s);
    close(s.mark_fd);
    is_alive = let_work(k, pid);
    if (is_alive) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    } else {
        fault_note(&k->run, "round %u: the workload ended by itself\n%s", round, fault_stderr(&k->run, text));
    }
    return is_alive;
}

static bool round_good(struct killer *k, unsigned round)
{
    struct kv_site site = { .dir = k->data, .partition = k->partition, .inline_bytes = 3000 };
    unsigned flags = KV_CHECK | KV_TRUSTED | (round % 5 == 4 ? KV_REBUILD : 0) | (round % 3 == 2 ? KV_GO_ON : 0);
    char why[160];

    if (!work_and_kill(k, round))
        return false;
    for (unsigned i = 0; i < CLIENTS; i++)
        k->answers -= k->result->model.clients[i].answered;
    if (!kv_model_lines(&k->result->model, k->lines, why)) {
        fault_note(&k->run, "round %u: %s", round, why);
        return false;
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        k->answers += k->result->model.clients[i].answered;
    if (kv_verify_child(&site, flags, 60 * k->run.slow, k->result) == 0)
        return kv_model_save(&k->result->model, k->model) == 0;
    fault_note(&k->run, "round %u:\n%s", round, k->result->text);
    return false;
}

int main(int argc, char **argv)
{
    struct killer *k = mem_alloc(sizeof(*k));
    unsigned rounds, done = 0;
    bool is_good = true;
    int rc;

    fault_begin(&k->run, "kill", argc, argv);
    fault_path(&k->run, k->data, "data", true);
    fault_path(&k->run, k->partition, "partition", true);
    fault_path(&k->run, k->lines, "lines", false);
    fault_path(&k->run, k->model, "model", false);
    k->plan = (struct kv_plan){ .seed = k->run.seed, .value_max = 600, .body_max = 12000 };
    k->result = kv_result_new();
    kv_model_init(&k->result->model, &k->plan, CLIENTS);
    rng_init(&k->rng, k->run.seed);
    rounds = k->run.soak ? 1000 : 20;
    while (is_good && done < rounds) {
        is_good = round_good(k, done);
        done++;
    }
    fault_case(&k->run, "kill: everything answered survives kill -9, nothing twice", is_good,
               "%u rounds, %llu answers", done, (unsigned long long)k->answers);
    rc = fault_end(&k->run);
    kv_result_destroy(&k->result);
    mem_free(k);
    return rc;
}
