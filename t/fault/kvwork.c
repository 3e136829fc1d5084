/* kvwork.c - the workload of the fault programs: many clients on one journal, every operation and answer written down.
 *
 *   kvwork --dir DIR --seed N [--clients N] [--mark FD] [--model-in FILE] [--model-out FILE] [--boot ID]
 *          [--value-max N] [--body-max N] [--inline N] [--partition DIR] [--no-pool] [--tolerant] PHASE...
 *
 * Phases: run:N (N operations, all clients at once), forever, busy:N (the same while a thread empties, rolls, settles
 * and checks), rebuild:N (the index is discarded; the same while it is made anew, then wait for it), roll, settle,
 * reclaim, empty (one sealed segment at random), emptyall, reopen, drain:N (operations that free space), open (just be
 * sure it is), kill (SIGKILL to itself), check.
 * Lines for --mark: see kv_model.h. Exit: 0; 1 trouble; 3 an answer was wrong. --tolerant: failures of the disk are
 * expected.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "reactor/thread.h"
#include "kv_site.h"

struct slot {
    struct work *work;
    struct kv_op op;
    bool is_busy;
};

struct work {
    struct kv_site site;
    struct kv_journal k;
    struct kv_model model;
    struct rng rng;
    int mark_fd;
    bool is_tolerant;
    const char *model_in, *model_out;
    pthread_mutex_t lock; /* lock rank 95: model, marks, slots */
    pthread_cond_t wake;
    unsigned busy;
    bool is_wrong;
    struct slot slots[KV_CLIENTS_MAX];
};

/* --- marks and answers -------------------------------------------------------------------------------------------- */

static void mark(struct work *w, const char *line)
{
    char why[160], out[100];
    int len = snprintf(out, sizeof(out), "%s\n", line);

    if (w->mark_fd >= 0 && write(w->mark_fd, out, (size_t)len) != len)
        _exit(1);
    if (!kv_model_line(&w->model, line, why)) {
        fprintf(stderr, "kvwork: wrong: %s\n", why);
        w->is_wrong = true;
    }
}

static bool is_disk_trouble(enum err_kind kind)
{
    return kind == ERR_TEMP || kind == ERR_FULL || kind == ERR_DENIED;
}

static void answered(struct work *w, const struct kv_step *step, const struct err *err)
{
    enum err_kind want = kv_client_expect(&w->model.clients[step->client], step);
    char line[80];

    if (err->kind != want && !(w->is_tolerant && is_disk_trouble(err->kind))) {
        fprintf(stderr, "kvwork: wrong: client %u operation %u (%d): %s instead of %s: %s\n", step->client, step->n,
                (int)step->what, err_kind_name(err->kind), err_kind_name(want), err->text);
        w->is_wrong = true;
    }
    snprintf(line, sizeof(line), "A %u %u %d", step->client, step->n, (int)err->kind);
    mark(w, line);
}

static void on_done(struct journal_op *op)
{
    struct kv_op *kv = CONTAINER_OF(op, struct kv_op, op);
    struct slot *s = kv->owner;
    struct work *w = s->work;

    pthread_mutex_lock(&w->lock);
    answered(w, &kv->step, &op->err);
    s->is_busy = false;
    w->busy--;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static struct slot *slot_wait(struct work *w)
{
    pthread_mutex_lock(&w->lock);
    for (;;) {
        unsigned from = (unsigned)rng_below(&w->rng, w->model.client_count);

        for (unsigned i = 0; i < w->model.client_count; i++) {
            struct slot *s = &w->slots[(from + i) % w->model.client_count];

            if (!s->is_busy) {
                pthread_mutex_unlock(&w->lock);
                return s;
            }
        }
        pthread_cond_wait(&w->wake, &w->lock);
    }
}

static void slots_wait(struct work *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->busy > 0)
        pthread_cond_wait(&w->wake, &w->lock);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->model.client_count; i++)
        kv_op_free(&w->slots[i].op);
}

static void send_one(struct work *w, struct slot *s)
{
    struct err err = ERR_INIT;
    struct kv_step step;
    char line[80];
    int rc;

    kv_op_free(&s->op);
    pthread_mutex_lock(&w->lock);
    kv_client_next(&w->model.clients[s - w->slots], &w->model.plan, &step);
    snprintf(line, sizeof(line), "S %u %u", step.client, step.n);
    mark(w, line);
    s->is_busy = true;
    w->busy++;
    pthread_mutex_unlock(&w->lock);
    rc = kv_op_init(&s->op, w->k.room, w->k.j, &step, w->model.plan.seed, on_done, s, &err);
    if (rc == 0 && journal_submit(w->k.j, &s->op.op))
        return;
    if (rc == 0)
        err_set(&err, ERR_TEMP, "too many wait");
    s->op.op.err = err;
    on_done(&s->op.op);
}

/* A reader looks at what is in flight: what it sees must be on disk already (J3). */
static void look(struct work *w)
{
    struct journal_view v;
    struct err err = ERR_INIT;
    char line[80];

    pthread_mutex_lock(&w->lock); /* so that nothing is answered meanwhile */
    for (uint32_t i = 0; i < w->model.client_count; i++) {
        const struct kv_client *c = &w->model.clients[i];
        bool is_done;

        if (c->sent == c->answered || c->seen == c->sent || journal_read_begin(w->k.j, &v, &err) < 0)
            continue;
        is_done = kv_client_is_done(w->k.room, w->k.j, &v, c, &w->model.plan);
        journal_read_end(&v);
        snprintf(line, sizeof(line), "V %u %u", c->client, c->sent);
        if (is_done)
            mark(w, line);
    }
    pthread_mutex_unlock(&w->lock);
}

static int reopen(struct work *w, struct err *err)
{
    kv_journal_close(&w->k);
    return kv_journal_open(&w->k, &w->site, err);
}

static int empty_some(struct work *w, struct rng *rng, bool all, struct err *err)
{
    uint64_t numbers[4096];
    unsigned count = 0;

    /* numbers are handed out in order; those that are no sealed segment answer so */
    for (uint64_t n = 1; count < ARRAY_LEN(numbers); n++)
        numbers[count++] = n;
    for (unsigned tries = 0; count > 0 && tries < ARRAY_LEN(numbers); tries++) {
        unsigned i = (unsigned)rng_below(rng, count);

        if (journal_empty_segment(w->k.j, numbers[i], w->site.partition != NULL ? tries % 2 : 0, err) == 0) {
            if (!all)
                return 0;
        } else if (err->kind != ERR_NOTFOUND && err->kind != ERR_EXISTS) {
            return -1;
        }
        numbers[i] = numbers[--count];
    }
    return 0;
}

static void say_check(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "kvwork: check: %s\n", line);
}

static int check(struct work *w, struct err *err)
{
    struct journal_check_result found;
    int faults = journal_check(w->k.j, say_check, NULL, &found, err);

    if (faults > 0)
        w->is_wrong = true;
    return faults < 0 ? -1 : 0;
}

/* --- care beside the work ----------------------------------------------------------------------------------------- */

struct care {
    struct work *work;
    struct thread thread;
    _Atomic bool stop;
    bool is_wrong;
};

/* What the housekeeping of a server does while its clients go on. */
static void *care_main(void *arg)
{
    struct care *care = arg;
    struct work *w = care->work;
    struct rng rng;

    rng_init(&rng, w->model.plan.seed + 77);
    while (!atomic_load(&care->stop)) {
        struct journal_check_result found;
        struct err err = ERR_INIT;
        int rc = 0;

        switch (rng_below(&rng, 8)) {
        case 0:
            rc = journal_check(w->k.j, say_check, NULL, &found, &err);
            care->is_wrong |= rc > 0;
            break;
        case 1:
        case 2:
            rc = journal_reclaim(w->k.j, &err);
            break;
        case 3:
            rc = journal_roll(w->k.j, &err);
            break;
        case 4:
            rc = journal_settle(w->k.j, &err);
            break;
        default:
            rc = empty_some(w, &rng, false, &err);
            break;
        }
        if (rc < 0 && !w->is_tolerant) {
            fprintf(stderr, "kvwork: wrong: care: %s\n", err.text);
            care->is_wrong = true;
        }
    }
    return NULL;
}

static int run_busy(struct work *w, unsigned long count, struct err *err)
{
    struct care care = { .work = w };

    if (thread_start(&care.thread, "care", 0, care_main, &care, err) < 0)
        return -1;
    for (unsigned long i = 0; i < count; i++)
        send_one(w, slot_wait(w));
    slots_wait(w);
    atomic_store(&care.stop, true);
    thread_join(&care.thread);
    w->is_wrong |= care.is_wrong;
    return 0;
}

/* Wait until the client may work while the index is rebuilt (client_count: until all is done). False: it does not go
 * on. */
static bool rebuild_wait(struct work *w, uint32_t client)
{
    struct timespec pause = { .tv_nsec = 500000 };

    while (journal_rebuilding(w->k.j, NULL)) {
        if (client < w->model.client_count && kv_client_ready(&w->k, client))
            return true;
        if (journal_state(w->k.j, NULL) != JOURNAL_NORMAL)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static int run_rebuild(struct work *w, unsigned long count, struct err *err)
{
    bool moves_on = true;

    w->site.discard_index = w->site.background = true;
    w->site.rebuild_slice = 10;
    if (reopen(w, err) < 0)
        return -1;
    w->site.discard_index = w->site.background = false;
    for (unsigned long i = 0; i < count && moves_on; i++) {
        struct slot *s = slot_wait(w);

        moves_on = rebuild_wait(w, (uint32_t)(s - w->slots));
        if (moves_on)
            send_one(w, s);
    }
    slots_wait(w);
    /* on a disk that fails: as a server that is started again */
    return rebuild_wait(w, w->model.client_count) ? 0 : reopen(w, err);
}

static int run_phase(struct work *w, const char *phase, struct err *err)
{
    unsigned long count = strchr(phase, ':') != NULL ? strtoul(strchr(phase, ':') + 1, NULL, 10) : 0;
    bool is_drain = strncmp(phase, "drain", 5) == 0, is_forever = strcmp(phase, "forever") == 0;

    if (strncmp(phase, "run", 3) == 0 || is_drain || is_forever) {
        if (is_drain != w->model.plan.freeing)
            mark(w, is_drain ? "P 0 1" : "P 0 0");
        for (unsigned long i = 0; i < count || is_forever; i++) {
            send_one(w, slot_wait(w));
            if (i % 3 == 0)
                look(w);
        }
        slots_wait(w);
        return 0;
    }
    if (strncmp(phase, "rebuild", 7) == 0)
        return run_rebuild(w, count, err);
    if (strncmp(phase, "busy", 4) == 0)
        return run_busy(w, count, err);
    if (strcmp(phase, "roll") == 0)
        return journal_roll(w->k.j, err);
    if (strcmp(phase, "settle") == 0)
        return journal_settle(w->k.j, err);
    if (strcmp(phase, "reclaim") == 0)
        return journal_reclaim(w->k.j, err) < 0 ? -1 : 0;
    if (strcmp(phase, "empty") == 0 || strcmp(phase, "emptyall") == 0)
        return empty_some(w, &w->rng, phase[5] != 0, err);
    if (strcmp(phase, "reopen") == 0)
        return reopen(w, err);
    if (strcmp(phase, "check") == 0)
        return check(w, err);
    if (strcmp(phase, "kill") == 0)
        kill(getpid(), SIGKILL);
    return strcmp(phase, "open") == 0 ? 0 : err_set(err, ERR_SYNTAX, "no such phase");
}

/* After a restart: whether an operation in flight happened can be seen now, and must stay so. */
static void say_fault(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "kvwork: wrong: %s\n", line);
}

static void resolve(struct work *w)
{
    struct kv_model *before = mem_alloc(sizeof(*before));

    *before = w->model;
    if (kv_compare(w->k.room, w->k.j, &w->model, false, say_fault, NULL) != 0)
        w->is_wrong = true;
    for (uint32_t i = 0; i < w->model.client_count; i++) {
        const struct kv_client *old = &before->clients[i], *now = &w->model.clients[i];
        bool happened = memcmp(old->buckets, now->buckets, sizeof(old->buckets)) != 0 ||
                        memcmp(old->jobs, now->jobs, sizeof(old->jobs)) != 0;
        char line[80];
        int len = snprintf(line, sizeof(line), "A %u %u %d\n", i, old->sent, happened ? ERR_NONE : ERR_TEMP);

        if (old->sent != old->answered && w->mark_fd >= 0 && write(w->mark_fd, line, (size_t)len) != len)
            _exit(1);
    }
    mem_free(before);
}

/* --- options ------------------------------------------------------------------------------------------------------ */

static const struct option options[] = {
    { "dir", 1, NULL, 'd' },       { "seed", 1, NULL, 's' },      { "clients", 1, NULL, 'c' },
    { "mark", 1, NULL, 'm' },      { "model-in", 1, NULL, 'i' },  { "model-out", 1, NULL, 'o' },
    { "boot", 1, NULL, 'b' },      { "value-max", 1, NULL, 'v' }, { "body-max", 1, NULL, 'B' },
    { "inline", 1, NULL, 'I' },    { "partition", 1, NULL, 'p' }, { "no-pool", 0, NULL, 'P' },
    { "tolerant", 0, NULL, 't' },  { NULL, 0, NULL, 0 },
};

static void parse(struct work *w, int argc, char **argv)
{
    struct kv_plan plan = { .seed = 1, .value_max = 600, .body_max = 12000 };
    uint32_t clients = 8;

    w->mark_fd = -1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;

        switch (c) {
        case 'd': w->site.dir = optarg; break;
        case 's': plan.seed = number; break;
        case 'c': clients = (uint32_t)number; break;
        case 'm': w->mark_fd = (int)number; break;
        case 'i': w->model_in = optarg; break;
        case 'o': w->model_out = optarg; break;
        case 'b': w->site.boot_id = optarg; break;
        case 'v': plan.value_max = (uint32_t)number; break;
        case 'B': plan.body_max = (uint32_t)number; break;
        case 'I': w->site.inline_bytes = (uint32_t)number; break;
        case 'p': w->site.partition = optarg; break;
        case 'P': w->site.without_pool = true; break;
        case 't': w->is_tolerant = true; break;
        default: exit(2);
        }
    }
    kv_model_init(&w->model, &plan, clients);
    if (w->model_in != NULL && kv_model_load(&w->model, w->model_in) < 0) {
        fprintf(stderr, "kvwork: cannot read %s\n", w->model_in);
        exit(2);
    }
    rng_init(&w->rng, plan.seed ^ w->model.clients[0].answered);
    for (unsigned i = 0; i < KV_CLIENTS_MAX; i++)
        w->slots[i].work = w;
}

int main(int argc, char **argv)
{
    struct work *w = mem_alloc(sizeof(*w));
    struct err err = ERR_INIT;
    int rc = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlive the test */
    parse(w, argc, argv);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    if (w->site.dir == NULL || kv_journal_open(&w->k, &w->site, &err) < 0) {
        fprintf(stderr, "kvwork: opening: %s\n", err.text);
        mem_free(w);
        return 1;
    }
    if (w->model_in != NULL)
        resolve(w);
    for (int i = optind; rc == 0 && i < argc && !w->is_wrong; i++) {
        if (run_phase(w, argv[i], &err) < 0 && !w->is_tolerant) {
            fprintf(stderr, "kvwork: %s: %s\n", argv[i], err.text);
            rc = 1;
        }
        if (w->k.j == NULL)
            break; /* could not be opened again */
    }
    kv_journal_close(&w->k);
    if (w->model_out != NULL && kv_model_save(&w->model, w->model_out) < 0)
        rc = 1;
    rc = w->is_wrong ? 3 : rc;
    mem_free(w);
    return rc;
}
