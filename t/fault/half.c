/* half.c - J9: a full disk on which every segment is half alive. Emptying one means copying its bodies first, which
 * need room that only the reserve has; nothing is deleted before.
 *
 * The program starts itself again below the preloaded object, whose disk is small.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "fault_run.h"
#include "journal/segment.h"
#include "kv_site.h"

#define CLIENTS 24u
#define BODY_BYTES 3000u

struct half {
    struct fault_run run;
    struct kv_model model;
    struct kv_journal k;
    struct kv_site site;
    unsigned stays, goes; /* bodies written to be kept, and to be replaced at once */
    char why[400];
};

static void say(void *arg, const char *line)
{
    struct half *h = arg;

    if (h->why[0] == 0)
        snprintf(h->why, sizeof(h->why), "%s", line);
}

static enum err_kind step_run(struct half *h, uint32_t client, enum kv_what what, uint32_t bucket, uint32_t key)
{
    struct kv_client *c = &h->model.clients[client];
    struct kv_step step = { .client = client, .n = c->sent + 1, .what = what, .bucket = bucket, .key = key,
                            .length = BODY_BYTES };
    struct err err = ERR_INIT;

    kv_run(h->k.room, h->k.j, &step, h->model.plan.seed, &err);
    if (err.kind == ERR_NONE)
        kv_client_apply(c, &step);
    else if (err.kind != ERR_FULL)
        say(h, err.text);
    c->answered = c->sent = step.n;
    return err.kind;
}

/* Bodies that stay and bodies that are replaced at once, side by side, until the disk is full. */
static void fill(struct half *h)
{
    for (uint32_t bucket = 0; bucket < KV_BUCKETS; bucket++)
        for (uint32_t client = 0; client < CLIENTS; client++)
            step_run(h, client, KV_OP_CREATE, bucket, 0);
    for (uint32_t bucket = 0; bucket < KV_BUCKETS; bucket++) {
        for (uint32_t key = 1; key < KV_KEYS; key++) {
            for (uint32_t client = 0; client < CLIENTS; client++) {
                if (step_run(h, client, KV_OP_SET_BODY, bucket, key) != ERR_NONE)
                    return;
                h->stays++;
                if (step_run(h, client, KV_OP_SET_BODY, bucket, 0) != ERR_NONE)
                    return;
                h->goes++;
            }
        }
    }
    say(h, "the disk never became full");
}

static int simulate(struct half *h)
{
    struct err err = ERR_INIT;
    struct journal_report report;
    int emptied = 0, n = 1;

    if (kv_journal_open(&h->k, &h->site, &err) < 0) {
        say(h, err.text);
        goto out;
    }
    fill(h);
    if (h->why[0] == 0 && journal_state(h->k.j, NULL) != JOURNAL_FULL)
        say(h, "the state is not full");
    for (unsigned i = 0; i < 20 && n > 0 && h->why[0] == 0; i++) {
        n = journal_reclaim(h->k.j, &err);
        if (n < 0)
            say(h, err.text);
        emptied += n;
        if (journal_settle(h->k.j, &err) < 0) /* the committer reviews its state */
            say(h, err.text);
    }
    if (h->why[0] == 0 && emptied < 4)
        say(h, "hardly anything was emptied");
    if (h->why[0] == 0 && journal_state(h->k.j, NULL) != JOURNAL_NORMAL)
        say(h, "the state is not normal again");
    if (h->why[0] == 0 && step_run(h, 0, KV_OP_SET_BODY, 0, 0) != ERR_NONE)
        say(h, "writing is still refused");
    kv_compare(h->k.room, h->k.j, &h->model, false, say, h);
    kv_journal_close(&h->k);
    h->site.discard_index = true;
    if (kv_journal_open(&h->k, &h->site, &err) < 0) {
        say(h, err.text);
        goto out;
    }
    report = h->k.report;
    if (report.damaged_places != 0 || report.lost_records != 0)
        say(h, "damage after the index was rebuilt");
    kv_compare(h->k.room, h->k.j, &h->model, false, say, h);
out:
    kv_journal_close(&h->k);
    fault_case(&h->run, "half: a full disk with half-dead segments can be reclaimed", h->why[0] == 0,
               "%u bodies stay, %u were replaced, %d segments emptied\n%s", h->stays, h->goes, emptied, h->why);
    return fault_end(&h->run);
}

int main(int argc, char **argv)
{
    static struct half half; /* too large for the stack */
    struct half *h = &half;
    struct kv_plan plan = { .value_max = 100, .body_max = BODY_BYTES };
    const char *inside = getenv("PH_FAULT_DIR");
    char preload[PATH_MAX], data[PATH_MAX];
    int status;
    pid_t pid;

    fault_begin(&h->run, "half", argc, argv);
    plan.seed = h->run.seed;
    kv_model_init(&h->model, &plan, CLIENTS);
    if (inside != NULL) {
        h->site = (struct kv_site){ .dir = inside, .segment_bytes = 262144, .inline_bytes = 16384 };
        return simulate(h);
    }
    snprintf(preload, sizeof(preload), "%.4000s/t/fault/preload_fault.so", h->run.build);
    fault_path(&h->run, data, "data", true);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        setenv("LD_PRELOAD", preload, 1);
        setenv("PH_FAULT_DIR", data, 1);
        setenv("PH_FAULT_CAPACITY", "6291456", 1);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    ASSERT(pid > 0);
    status = kv_wait(pid, 100 * h->run.slow);
    if (status == -1 || WIFSIGNALED(status) || WEXITSTATUS(status) == 127)
        fault_case(&h->run, "half: the simulation ends", false, "wait status %d", status);
    else if (WEXITSTATUS(status) == 0)
        h->run.passed++; /* the case was counted inside */
    else
        h->run.failed++;
    return fault_end(&h->run);
}
