/* powercut.c - J1, J2, J6: after any power loss, and after a kill, everything answered is there and nothing else.
 *
 * A workload runs under preload_record; then, for places in its log, directories are made as a crash at that place
 * may leave them (crash_sim.h), opened as a restarted server would, and held against what had been answered by then.
 * The counter-proof: the same log without one kind of sync must give a violation, and so must the log without any
 * single sync of records.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "crash_sim.h"
#include "fault_run.h"
#include "kv_site.h"

#define BOOT_WORK "00000000-0000-4000-8000-000000000001"
#define BOOT_NEXT "00000000-0000-4000-8000-000000000002"
#define BOOT_THIRD "00000000-0000-4000-8000-000000000003"
#define CLIENTS 8u
#define FAILURES_MAX 3u

struct cut {
    struct fault_run run;
    char data[PATH_MAX], image[PATH_MAX], log_path[PATH_MAX];
    struct kv_plan plan;
    struct crash_log log;
    struct kv_result *result;
    struct rng rng;
    unsigned images, rebuilt, failures;
};

/* --- recording ---------------------------------------------------------------------------------------------------- */

static bool record(struct cut *c, const char *dir, const char *log, const char *boot, const char *model_in,
                   const char *const *phases)
{
    char env_dir[PATH_MAX + 20], env_log[PATH_MAX + 20], env_mark[40], seed[24], mark[12], clients[12], lines[PATH_MAX];
    char text[2000];
    const char *args[48] = { "--dir", dir, "--seed", seed, "--clients", clients, "--mark", mark, "--boot", boot,
                             "--inline", "3000" };
    struct fault_spawn s = { .preload = "record", .args = args,
                             .environment = { env_dir, env_log, env_mark, "PH_RECORD_SYNC_US=300" },
                             .timeout_s = 60 };
    unsigned n = 12;
    int status;

    s.mark_fd = open(fault_path(&c->run, lines, "lines", false), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(env_dir, sizeof(env_dir), "PH_RECORD_DIR=%s", dir);
    snprintf(env_log, sizeof(env_log), "PH_RECORD_LOG=%s", log);
    snprintf(env_mark, sizeof(env_mark), "PH_RECORD_MARK=%d", s.mark_fd);
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)c->plan.seed);
    snprintf(mark, sizeof(mark), "%d", s.mark_fd);
    snprintf(clients, sizeof(clients), "%u", CLIENTS);
    if (model_in != NULL) {
        args[n++] = "--model-in";
        args[n++] = model_in;
    }
    while (*phases != NULL && n < ARRAY_LEN(args) - 1)
        args[n++] = *phases++;
    status = fault_spawn(&c->run, &s);
    close(s.mark_fd);
    unlink(lines);
    if (status != 0)
        fault_note(&c->run, "kvwork: wait status %d\n%s", status, fault_stderr(&c->run, text));
    return status == 0;
}

/* --- following the log -------------------------------------------------------------------------------------------- */

struct place { /* in a log: what is on disk, and what was answered */
    struct crash_sim *sim;
    struct kv_model model;
    const struct crash_log *log;
    size_t at;           /* events done */
    bool is_answer;      /* the last one was an answer */
    bool is_success;
    bool has_answered;   /* there was a successful answer at all */
    int sync;            /* kind of sync, or -1 */
    uint32_t thread;     /* who did the last event */
    bool is_record_write;
};

static struct place *place_new(struct cut *c, const struct crash_log *log, const char *dir)
{
    struct place *p = mem_alloc(sizeof(*p));

    p->sim = crash_sim_new(dir);
    p->log = log;
    kv_model_init(&p->model, &c->plan, CLIENTS);
    return p;
}

static void place_destroy(struct place **p)
{
    if (*p == NULL)
        return;
    crash_sim_destroy(&(*p)->sim);
    mem_free(*p);
    *p = NULL;
}

static bool place_next(struct place *p)
{
    const unsigned char *data;
    const struct record_event *e;
    char line[80], why[160];

    if (p->at == p->log->count)
        return false;
    e = crash_log_event(p->log, p->at, &data, NULL);
    p->sync = crash_sim_step(p->sim, p->log, p->at++);
    p->thread = e->thread;
    p->is_record_write = crash_sim_is_record_write(p->sim, e);
    p->is_answer = e->kind == REC_REPLY && e->len1 > 0 && data[0] == 'A';
    p->is_success = false;
    if (e->kind != REC_REPLY)
        return true;
    snprintf(line, sizeof(line), "%.*s", (int)(e->len1 < 79 ? e->len1 : 79), (const char *)data);
    if (!kv_model_line(&p->model, line, why))
        panic("the log is wrong at event %zu: %s", p->at, why);
    p->is_success = p->is_answer && slice_ends(slice_trim(slice_str(line)), SLICE(" 0"));
    p->has_answered = p->has_answered || p->is_success;
    return true;
}

/* --- images ------------------------------------------------------------------------------------------------------- */

static void image_make(struct cut *c, const struct place *p, const struct crash_choice *choice, const char *to)
{
    (void)c;
    if (crash_sim_image(p->sim, choice, to) < 0)
        panic("cannot write the image to %s", to);
    crash_index_adopt(to, crash_sim_inode(p->sim, "index/index.lmdb"));
}

/* Is the image at this place good? Faults go to c->result->text. */
static bool image_good(struct cut *c, const struct place *p, const struct crash_choice *choice, const char *boot,
                       unsigned flags)
{
    struct kv_site site = { .dir = c->image, .boot_id = boot };

    image_make(c, p, choice, c->image);
    c->result->model = p->model;
    c->images++;
    kv_verify_child(&site, flags, 20 * c->run.slow, c->result);
    c->rebuilt += c->result->report.index_rebuilt;
    return c->result->faults == 0;
}

static const char *const model_names[] = { "kill", "posix", "ordered" };

static void complain(struct cut *c, const struct place *p, const struct crash_choice *choice)
{
    char name[80];

    c->failures++;
    fault_note(&c->run, "event %zu, %s, image seed %llu:\n%s", p->at, model_names[choice->model],
               (unsigned long long)choice->seed, c->result->text);
    snprintf(name, sizeof(name), "event-%zu-%s-%llu", p->at, model_names[choice->model],
             (unsigned long long)choice->seed);
    if (c->run.keep) { /* once more: checking has changed it */
        crash_sim_image(p->sim, choice, c->image);
        fault_keep(&c->run, c->image, name);
        mkdir(c->image, 0700);
    }
}

/* The images of one place: nothing open happened, all of it, and seeded choices between; and the process killed. */
static void place_check(struct cut *c, const struct place *p, unsigned seeds, bool trusts_index)
{
    static const enum crash_model models[] = { CRASH_POSIX, CRASH_ORDERED };
    struct crash_choice choice;

    for (unsigned m = 0; m < ARRAY_LEN(models); m++) {
        for (unsigned i = 0; i < seeds && c->failures < FAILURES_MAX; i++) {
            choice = (struct crash_choice){ models[m], i < 2 ? i : rng_next(&c->rng) | 2 };
            if (!image_good(c, p, &choice, BOOT_NEXT, i % 4 == 3 ? KV_CHECK | KV_GO_ON : i % 4 == 1 ? KV_CHECK : 0))
                complain(c, p, &choice);
        }
    }
    choice = (struct crash_choice){ CRASH_KILL, 1 };
    trusts_index = trusts_index && p->is_answer && p->has_answered;
    if (c->failures < FAILURES_MAX &&
        !image_good(c, p, &choice, BOOT_WORK, KV_CHECK | (trusts_index ? KV_TRUSTED : 0)))
        complain(c, p, &choice);
}

static size_t count_answers(struct cut *c)
{
    const unsigned char *data;
    size_t n = 0;

    for (size_t i = 0; i < c->log.count; i++) {
        const struct record_event *e = crash_log_event(&c->log, i, &data, NULL);

        n += e->kind == REC_REPLY && e->len1 > 0 && data[0] == 'A';
    }
    return n;
}

/* Places: every answer (a sample in the short form), batches that are written but not synced, and some others. */
static void case_crashes(struct cut *c)
{
    struct place *p = place_new(c, &c->log, c->data);
    size_t answers = count_answers(c), places = 0;
    size_t want_answers = c->run.soak ? answers : 40 / c->run.thin;
    size_t want_others = c->run.soak ? 600 : 40 / c->run.thin;
    unsigned seeds = c->run.soak ? 32 : 5;

    c->images = c->rebuilt = c->failures = 0;
    while (c->failures < FAILURES_MAX && place_next(p)) {
        bool chosen = p->is_answer ? rng_below(&c->rng, answers) < want_answers
                                   : rng_below(&c->rng, c->log.count - answers) < want_others;
        unsigned more = 0;

        /* a place where much is open gets more images */
        if (p->is_record_write && (c->run.soak || rng_below(&c->rng, 4 * c->run.thin) == 0)) {
            chosen = true;
            more = 6;
        }
        /* the index is, or is no longer, vouched for */
        if (p->sync == (int)CRASH_SYNC_STATE || p->at == c->log.count) {
            chosen = true;
            more = c->run.soak ? 100 : 12;
        }
        if (chosen) {
            place_check(c, p, seeds + more + (unsigned)rng_below(&c->rng, 2), true);
            places++;
        }
    }
    fault_case(&c->run, "powercut: everything answered survives", c->failures == 0,
               "%u images at %zu places of %zu events with %zu answers; the index was rebuilt %u times", c->images,
               places, c->log.count, answers, c->rebuilt);
    place_destroy(&p);
}

/* The index is thrown away and made anew behind clients that work, and the power goes meanwhile: half an index never
 * counts, and what was answered in between is there. */
static void case_rebuild(struct cut *c)
{
    static const char *const phases[] = { "run:150", "roll", "run:50", "settle", "empty", "rebuild:60", "run:20",
                                          "reclaim", "rebuild:40", "empty", "run:10", NULL };
    char dir[PATH_MAX], log_path[PATH_MAX];
    size_t places = 0, want = (c->run.soak ? 600 : 40) / c->run.thin;
    struct place *p;
    struct crash_log log = { 0 };

    c->images = c->rebuilt = c->failures = 0;
    fault_path(&c->run, dir, "data-rebuild", true);
    fault_path(&c->run, log_path, "log-rebuild", false);
    if (!record(c, dir, log_path, BOOT_WORK, NULL, phases) || crash_log_open(&log, log_path) < 0) {
        fault_case(&c->run, "powercut: the index is rebuilt meanwhile", false, "see above");
        return;
    }
    p = place_new(c, &log, dir);
    while (c->failures < FAILURES_MAX && place_next(p)) {
        if (rng_below(&c->rng, log.count) < want || p->sync == (int)CRASH_SYNC_STATE) {
            place_check(c, p, c->run.soak ? 32 : 4, false);
            places++;
        }
    }
    fault_case(&c->run, "powercut: the index is rebuilt meanwhile", c->failures == 0,
               "%u images at %zu places of %zu events; the index was rebuilt %u times", c->images, places, log.count,
               c->rebuilt);
    place_destroy(&p);
    crash_log_free(&log);
}

/* --- counter-proof ------------------------------------------------------------------------------------------------ */

/* A program without any sync of that kind must be caught. */
static void case_skip_kind(struct cut *c, enum crash_sync kind)
{
    struct place *p = place_new(c, &c->log, c->data);
    struct crash_choice choice = { CRASH_POSIX, 0 };
    size_t answers = count_answers(c), caught_at = 0;
    char name[80];

    c->images = 0;
    crash_sim_skip(p->sim, kind, 0);
    while (caught_at == 0 && place_next(p)) {
        bool chosen = p->is_success && rng_below(&c->rng, answers) < 60;

        if ((chosen || p->at == c->log.count) && !image_good(c, p, &choice, BOOT_NEXT, KV_CHECK))
            caught_at = p->at;
    }
    snprintf(name, sizeof(name), "powercut: a build that never syncs %s is caught", crash_sync_name(kind));
    fault_case(&c->run, name, caught_at != 0, "%llu syncs left out, %u images, caught at event %zu",
               (unsigned long long)crash_sim_sync_count(p->sim, kind), c->images, caught_at);
    place_destroy(&p);
}

/* The last successful answer that hangs on the n-th sync of records; 0: none does. The committer syncs and answers;
 * what other threads sync are seals, which no answer waits for. */
static size_t answer_of_sync(struct cut *c, uint64_t n)
{
    struct place *p = place_new(c, &c->log, c->data);
    uint32_t thread = 0;
    size_t found = 0;

    while (place_next(p)) {
        uint64_t done = crash_sim_sync_count(p->sim, CRASH_SYNC_DATA);

        if (done > n || (done == n && p->sync == CRASH_SYNC_HEADER))
            break;
        if (done == n && p->sync == CRASH_SYNC_DATA)
            thread = p->thread;
        if (done == n && p->is_success && p->thread == thread)
            found = p->at;
    }
    place_destroy(&p);
    return found;
}

static bool single_skip_caught(struct cut *c, uint64_t n, size_t at)
{
    struct place *p = place_new(c, &c->log, c->data);
    struct crash_choice choice = { CRASH_POSIX, 0 };
    bool is_caught;

    crash_sim_skip(p->sim, CRASH_SYNC_DATA, n);
    while (p->at < at && place_next(p))
        ;
    is_caught = !image_good(c, p, &choice, BOOT_NEXT, KV_QUICK);
    place_destroy(&p);
    return is_caught;
}

/* Not one sync of records may be missing. */
static void case_skip_single(struct cut *c)
{
    struct place *p = place_new(c, &c->log, c->data);
    uint64_t syncs, tried = 0, missed = 0;

    while (place_next(p))
        ;
    syncs = crash_sim_sync_count(p->sim, CRASH_SYNC_DATA);
    place_destroy(&p);
    for (uint64_t n = 1; n <= syncs; n++) {
        size_t at;

        if (!c->run.soak && rng_below(&c->rng, syncs) >= 16)
            continue;
        at = answer_of_sync(c, n);
        if (at == 0)
            continue; /* a seal, or a batch of refusals */
        tried++;
        if (!single_skip_caught(c, n, at)) {
            missed++;
            fault_note(&c->run, "sync %llu of records can be left out (event %zu)", (unsigned long long)n, at);
        }
    }
    fault_case(&c->run, "powercut: a build that skips one sync of records is caught", missed == 0 && tried > 0,
               "%llu of %llu syncs tried, %llu missed", (unsigned long long)tried, (unsigned long long)syncs,
               (unsigned long long)missed);
}

/* --- crashes while recovering ------------------------------------------------------------------------------------- */

/* Follow a second log from `p` (its names and model) and check places in it. */
static void second_log(struct cut *c, struct place *p, struct crash_log *log, unsigned places)
{
    crash_sim_rewind(p->sim);
    p->log = log;
    p->at = 0;
    while (c->failures < FAILURES_MAX && place_next(p)) {
        struct crash_choice choice = { rng_below(&c->rng, 2) == 0 ? CRASH_POSIX : CRASH_ORDERED,
                                       rng_below(&c->rng, 2) == 0 ? 0 : rng_next(&c->rng) };

        if (rng_below(&c->rng, log->count) < places && !image_good(c, p, &choice, BOOT_THIRD, KV_CHECK))
            complain(c, p, &choice);
    }
}

/* The machine stops, starts again, and stops while it recovers. Or: the process is killed, starts again (the page
 * cache holds what was never synced), shows its users what it found, and then the power goes: what was shown must
 * stay. */
static void recover_once(struct cut *c, struct place *p, bool is_killed)
{
    static const char *const phases[] = { "run:12", NULL };
    struct crash_choice choice = { is_killed ? CRASH_KILL : CRASH_POSIX, is_killed ? 1 : rng_next(&c->rng) };
    char model[PATH_MAX], log_path[PATH_MAX];
    struct place *again = mem_alloc(sizeof(*again));
    struct crash_log log = { 0 };

    *again = *p;
    again->sim = NULL;
    fault_path(&c->run, model, "model", false);
    fault_path(&c->run, log_path, "log-2", false);
    unlink(log_path);
    image_make(c, p, &choice, c->data);
    if (is_killed) {
        again->sim = crash_sim_copy(p->sim);
    } else {
        again->sim = crash_sim_new(c->data);
        crash_sim_base(again->sim, c->data);
    }
    if (kv_model_save(&p->model, model) < 0)
        panic("cannot write %s", model);
    if (!record(c, c->data, log_path, is_killed ? BOOT_WORK : BOOT_NEXT, model, phases) ||
        crash_log_open(&log, log_path) < 0)
        c->failures++;
    else
        second_log(c, again, &log, c->run.soak ? 24 : 6);
    place_destroy(&again);
    crash_log_free(&log);
}

static void case_recovery(struct cut *c)
{
    struct place *p = place_new(c, &c->log, c->data);
    unsigned rounds = 0, want = c->run.soak ? 300 : 24 / c->run.thin;

    c->images = c->failures = 0;
    while (c->failures < FAILURES_MAX && place_next(p)) {
        if (rng_below(&c->rng, c->log.count) < want)
            recover_once(c, p, rounds++ % 2 == 0);
    }
    fault_case(&c->run, "powercut: a crash while recovering loses nothing", c->failures == 0 && rounds > 0,
               "%u recoveries, %u images", rounds, c->images);
    place_destroy(&p);
}

/* --- main --------------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    static const char *const phases[] = { "run:200", "roll",   "run:120", "settle", "empty",  "run:100", "reopen",
                                          "run:100", "reclaim", "run:60", "empty",  "busy:80", "run:40", NULL };
    static const enum crash_sync kinds[] = { CRASH_SYNC_DATA, CRASH_SYNC_HEADER, CRASH_SYNC_DIRECTORY,
                                             CRASH_SYNC_BODY };
    struct cut *c = mem_alloc(sizeof(*c));
    int rc;

    fault_begin(&c->run, "powercut", argc, argv);
    fault_path(&c->run, c->data, "data", true);
    fault_path(&c->run, c->image, "image", true);
    fault_path(&c->run, c->log_path, "log", false);
    c->plan = (struct kv_plan){ .seed = c->run.seed, .value_max = 600, .body_max = 12000 };
    c->result = kv_result_new();
    rng_init(&c->rng, c->run.seed);
    if (record(c, c->data, c->log_path, BOOT_WORK, NULL, phases) && crash_log_open(&c->log, c->log_path) == 0) {
        if (fault_wanted(&c->run, "crashes"))
            case_crashes(c);
        for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
            if (fault_wanted(&c->run, "skip"))
                case_skip_kind(c, kinds[i]);
        }
        if (fault_wanted(&c->run, "skip"))
            case_skip_single(c);
        if (fault_wanted(&c->run, "rebuild"))
            case_rebuild(c);
        if (fault_wanted(&c->run, "recovery"))
            case_recovery(c);
    } else {
        fault_case(&c->run, "powercut: the workload runs", false, "see above");
    }
    rc = fault_end(&c->run);
    crash_log_free(&c->log);
    kv_result_destroy(&c->result);
    mem_free(c);
    return rc;
}
