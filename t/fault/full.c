/* full.c - J9: on a disk filled to the last octet everything that frees space works, and afterwards writing does, too.
 *
 * The workload runs on a simulated disk (preload_fault): it is filled until operations are refused, emptied by
 * deletions and reclaiming, and filled again; every answer is held against the journal. The program that does it is
 * this one, started again below the preloaded object.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "fault_run.h"
#include "kv_site.h"

#define CLIENTS 12u

struct full {
    struct fault_run run;
    struct kv_plan plan;
    struct kv_result *result;
    struct kv_journal k;
    struct kv_site site;
    struct rng rng;
    unsigned refused, done, freed;
    char why[400];
};

static void PRINTF_LIKE(2, 3) wrong(struct full *f, const char *fmt, ...)
{
    va_list ap;

    if (f->why[0] != 0)
        return;
    va_start(ap, fmt);
    vsnprintf(f->why, sizeof(f->why), fmt, ap);
    va_end(ap);
}

static void wrong_line(void *arg, const char *line)
{
    wrong(arg, "%s", line);
}

static bool is_good(const struct full *f)
{
    return f->why[0] == 0;
}

/* One operation of a client; ERR_FULL is the only refusal that the disk may cause. */
static enum err_kind one(struct full *f, struct kv_client *c)
{
    struct err err = ERR_INIT;
    struct kv_step step;
    enum err_kind want;

    kv_client_next(c, &f->result->model.plan, &step);
    want = kv_client_expect(c, &step);
    kv_run(f->k.room, f->k.j, &step, f->plan.seed, &err);
    if (err.kind != want && err.kind != ERR_FULL)
        wrong(f, "client %u operation %u (%d): %s instead of %s: %s", c->client, step.n, (int)step.what,
              err_kind_name(err.kind), err_kind_name(want), err.text);
    if (err.kind == ERR_NONE) {
        kv_client_apply(c, &step);
        f->done++;
    }
    f->refused += err.kind == ERR_FULL;
    c->answered = c->sent = step.n;
    return err.kind;
}

static struct kv_client *any_client(struct full *f)
{
    return &f->result->model.clients[rng_below(&f->rng, CLIENTS)];
}

/* Until a hundred operations in a row were refused: not only the large ones. */
static void fill(struct full *f)
{
    unsigned in_a_row = 0;

    f->result->model.plan.freeing = false;
    f->refused = 0;
    for (unsigned i = 0; i < 200000 && in_a_row < 100 && is_good(f); i++) {
        unsigned before = f->refused, done = f->done;

        one(f, any_client(f));
        if (f->refused > before)
            in_a_row++;
        else if (f->done > done)
            in_a_row = 0;
    }
    if (in_a_row < 100)
        wrong(f, "the disk never became full");
    if (is_good(f) && journal_state(f->k.j, NULL) == JOURNAL_READ_ONLY)
        wrong(f, "a full disk made the journal read-only");
}

/* Every operation that frees space must be accepted. */
static void drain(struct full *f)
{
    f->result->model.plan.freeing = true;
    for (unsigned i = 0; i < 400 * CLIENTS && is_good(f); i++) {
        if (one(f, &f->result->model.clients[i % CLIENTS]) == ERR_FULL)
            wrong(f, "deletion %u was refused: the disk is full", i);
    }
}

/* As a server does it: again and again, while operations go on; the committer reviews its state with each. */
static void reclaim(struct full *f)
{
    unsigned idle = 0;

    for (unsigned i = 0; i < 100 && idle < 3 && is_good(f); i++) {
        struct err err = ERR_INIT;
        int n = journal_reclaim(f->k.j, &err);

        if (n < 0)
            wrong(f, "reclaiming: %s", err.text);
        f->freed += n > 0 ? (unsigned)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        one(f, any_client(f));
    }
}

static void verify(struct full *f, bool has_room)
{
    struct journal_check_result found;
    struct err err = ERR_INIT;

    int faults;

    if (is_good(f))
        kv_compare(f->k.room, f->k.j, &f->result->model, false, wrong_line, f);
    if (!is_good(f))
        return;
    /* The second index that checking makes may not fit; LMDB calls that an input/output error. */
    faults = journal_check(f->k.j, wrong_line, f, &found, &err);
    if (faults > 0 || (faults < 0 && (has_room || (err.kind != ERR_FULL && err.kind != ERR_TEMP))))
        wrong(f, "checking: %d faults, %s", faults, err.text);
}

/* discard: as after a power loss. The new index has the room of the old one. */
static void reopen(struct full *f, bool discard)
{
    struct err err = ERR_INIT;

    kv_journal_close(&f->k);
    f->site.discard_index = discard;
    if (kv_journal_open(&f->k, &f->site, &err) < 0)
        wrong(f, "opening on a full disk: %s", err.text);
}

/* New writes are accepted again: the state is left by itself within a while. */
static void write_again(struct full *f)
{
    unsigned accepted = 0;

    f->result->model.plan.freeing = false;
    for (unsigned i = 0; i < 6000 && accepted < 200 && is_good(f); i++) {
        unsigned before = f->done;

        one(f, any_client(f));
        accepted += f->done > before;
        if (f->done == before)
            usleep(500); /* spare and reserve are made again by a helper, once a second at most */
    }
    if (accepted < 200)
        wrong(f, "only %u operations were accepted after the disk was emptied", accepted);
}

/* Below the preloaded object. */
static int simulate(struct full *f, uint64_t capacity)
{
    struct err err = ERR_INIT;
    unsigned rounds = f->run.soak ? 12 : 3;

    if (kv_journal_open(&f->k, &f->site, &err) < 0)
        wrong(f, "opening: %s", err.text);
    for (unsigned i = 0; i < rounds && is_good(f); i++) {
        fill(f);
        verify(f, false);
        if (is_good(f) && i % 3 != 0)
            reopen(f, i % 3 == 2);
        drain(f);
        verify(f, false);
        reclaim(f);
        verify(f, false);
        write_again(f);
        verify(f, false);
    }
    drain(f);
    reclaim(f);
    verify(f, true);
    kv_journal_close(&f->k);
    fault_case(&f->run, "full: a disk filled to the last octet can be emptied again", is_good(f),
               "%llu octets, %u operations done, %u segments emptied\n%s", (unsigned long long)capacity, f->done,
               f->freed, f->why);
    return fault_end(&f->run);
}

/* Start ourselves again on a disk of that size. */
static int start(struct full *f, char **argv, uint64_t capacity)
{
    char preload[PATH_MAX], data[PATH_MAX], number[24];
    pid_t pid;
    int status;

    snprintf(preload, sizeof(preload), "%.4000s/t/fault/preload_fault.so", f->run.build);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)capacity);
    fault_path(&f->run, data, "data", true);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        setenv("LD_PRELOAD", preload, 1);
        setenv("PH_FAULT_DIR", data, 1);
        setenv("PH_FAULT_CAPACITY", number, 1);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    ASSERT(pid > 0);
    status = kv_wait(pid, (f->run.soak ? 3000 : 100) * f->run.slow);
    if (status == -1 || WIFSIGNALED(status) || WEXITSTATUS(status) == 127) {
        fault_case(&f->run, "full: the simulation ends", false, "wait status %d", status);
        return 1;
    }
    return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    static const uint64_t capacities[] = { 5u << 20, (4u << 20) + 77 * 4096, 9u << 20 };
    struct full *f = mem_alloc(sizeof(*f));
    const char *inside = getenv("PH_FAULT_DIR");
    int rc = 0;

    fault_begin(&f->run, "full", argc, argv);
    f->plan = (struct kv_plan){ .seed = f->run.seed, .value_max = 3000, .body_max = 60000 };
    f->result = kv_result_new();
    kv_model_init(&f->result->model, &f->plan, CLIENTS);
    rng_init(&f->rng, f->run.seed);
    if (inside != NULL) {
        f->site = (struct kv_site){ .dir = inside, .inline_bytes = 16384 };
        rc = simulate(f, strtoull(getenv("PH_FAULT_CAPACITY"), NULL, 10));
        kv_result_destroy(&f->result);
        mem_free(f);
        return rc;
    }
    for (unsigned i = 0; i < ARRAY_LEN(capacities); i++)
        rc |= start(f, argv, capacities[i]);
    kv_result_destroy(&f->result);
    f->run.passed = rc == 0; /* the cases were counted inside */
    rc |= fault_end(&f->run);
    mem_free(f);
    return rc;
}
