/* queue.c - the queue as the room: the n-th file call of each kind fails, for all n of a workload, the process is
 * killed, and the power goes; afterwards the queue holds what was answered, Q1 to Q6 of queue.h hold, and a rebuilt
 * index is the same.
 *
 * usage: queue [options of fault_run.h], or as its own child: queue work DIR FD BOOT POOL STRICT SEED
 *
 * The child runs steps of several clients at once (queue_model.h) and writes their lines; between the rounds young
 * entries grow old, segments are rolled and emptied, the queue is closed and opened. A step that was sent and not
 * answered may have happened or not.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "crash_sim.h"
#include "fault_run.h"
#include "kv_site.h"
#include "queue_model.h"

#define BOOT_WORK "00000000-0000-4000-8000-000000000001"
#define BOOT_NEXT "00000000-0000-4000-8000-000000000002"
#define CLIENTS 4u
#define SHORT_TRIES 4 /* per row in the short form */
#define SHORT_PLACES 24
#define FAILURES_MAX 3u
#define WRONG 3 /* exit status: an answer or a state that must not be */

/* --- the child ---------------------------------------------------------------------------------------------------- */

struct worker {
    struct queue_site site;
    struct qm model;
    int fd;
    bool is_strict; /* no fault is expected */
    bool is_wrong;
};

static void mark(void *arg, const char *line)
{
    struct worker *w = arg;
    size_t len = strlen(line);

    if (write(w->fd, line, len) != (ssize_t)len)
        _exit(1);
}

static void say_line(void *arg, const char *line)
{
    buf_printf(arg, "%s\n", line);
}

static void say_wrong(struct worker *w, const char *line)
{
    w->is_wrong = true;
    fprintf(stderr, "queue: %s\n", line);
}

/* An index that failed is not read any more until the next start. */
static bool can_read(struct worker *w)
{
    struct journal_view v;
    char why[160];

    if (journal_state(w->site.j, why) == JOURNAL_READ_ONLY || journal_read_begin(w->site.j, &v, NULL) < 0)
        return false;
    journal_read_end(&v);
    return true;
}

/* What a reader sees is what was answered, also after refusals. */
static void look(struct worker *w)
{
    struct buf lines = BUF_INIT;
    struct err err = ERR_INIT;

    if (!can_read(w))
        return;
    qm_compare(&w->model, &w->site, false, say_line, &lines);
    if (queue_site_check(&w->site, say_line, &lines, &err) < 0 && w->is_strict)
        say_wrong(w, err.text);
    if (lines.len != 0 && can_read(w)) /* else the index failed just now */
        say_wrong(w, buf_str(&lines));
    buf_free(&lines);
}

static int phase_run(struct worker *w, const char *phase, struct err *err)
{
    struct queue_site_setup setup = w->site.setup;

    if (phase[0] == 'r') { /* rounds */
        for (unsigned long i = strtoul(phase + 1, NULL, 10); i > 0; i--)
            if (qm_round(&w->model, &w->site, mark, w) != 0 && w->is_strict)
                say_wrong(w, "a step was refused");
        return 0;
    }
    if (phase[0] == 'g') { /* grow old */
        clock_fake_advance(&w->site.clock, 6000);
        queue_tick(w->site.queue);
        return 0;
    }
    if (phase[0] == 'n') /* new segment */
        return journal_roll(w->site.j, err);
    if (phase[0] == 'e') /* empty */
        return queue_site_empty(&w->site, w->model.seed, (unsigned)strtoul(phase + 1, NULL, 10), err) < 0 ? -1 : 0;
    if (phase[0] == 's')
        return journal_settle(w->site.j, err);
    queue_site_close(&w->site); /* open again */
    return queue_site_open(&w->site, &setup, err);
}

static int work_main(char **argv)
{
    static const char *const phases[] = { "r8", "g", "r4", "n", "r6", "e2", "r4", "o", "r6", "s",
                                          "r4", "n", "r3", "g", "e3", "r5", "o", "r3" };
    struct worker *w = mem_alloc(sizeof(*w));
    struct queue_site_setup setup = { .dir = argv[0], .boot_id = argv[2], .young_max = 24, /* fewer than there are */
                                      .without_pool = strcmp(argv[3], "pool") != 0 };
    struct err err = ERR_INIT;
    int rc = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlive the test */
    w->fd = (int)strtol(argv[1], NULL, 10);
    w->is_strict = strcmp(argv[4], "strict") == 0;
    qm_init(&w->model, strtoull(argv[5], NULL, 10), CLIENTS);
    if (queue_site_open(&w->site, &setup, &err) < 0) {
        fprintf(stderr, "queue: opening: %s\n", err.text);
        rc = 1;
    }
    for (unsigned i = 0; rc == 0 && !w->is_wrong && i < ARRAY_LEN(phases); i++) {
        bool failed = phase_run(w, phases[i], &err) < 0;

        if (failed && w->is_strict)
            say_wrong(w, err.text);
        if (w->site.j == NULL) { /* could not be opened again */
            fprintf(stderr, "queue: opening again: %s\n", err.text);
            rc = 1;
        } else {
            look(w);
        }
    }
    queue_site_close(&w->site);
    rc = w->is_wrong ? WRONG : rc;
    mem_free(w);
    return rc;
}

/* --- the parent --------------------------------------------------------------------------------------------------- */

struct trial {
    struct fault_run run;
    struct kv_result *result; /* of a verification; its model is not used */
    struct rng rng;
    char data[PATH_MAX], image[PATH_MAX], lines[PATH_MAX], report[PATH_MAX], log_path[PATH_MAX];
    struct qm model; /* by the lines of the last run */
    unsigned images, failures;
};

/* Run the child with that preloaded object. Returns the wait status, -1 after the limit. */
static int work(struct trial *t, const char *preload, const char *rule, bool has_pool)
{
    char variable[3][PATH_MAX + 40], fd[12], seed[24], why[160];
    bool records = strcmp(preload, "record") == 0;
    const char *args[] = { "work", t->data, fd, BOOT_WORK, has_pool ? "pool" : "no-pool",
                           rule[0] == 0 ? "strict" : "tolerant", seed, NULL };
    struct fault_spawn s = { .program = "queue", .preload = preload, .args = args, .timeout_s = 40 * t->run.slow,
                             .environment = { variable[0], variable[1], variable[2] } };
    int status;

    crash_dir_empty(t->data, false);
    unlink(t->lines);
    unlink(t->log_path);
    s.mark_fd = open(t->lines, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(fd, sizeof(fd), "%d", s.mark_fd);
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)t->run.seed);
    snprintf(variable[0], sizeof(variable[0]), "PH_%s_DIR=%s", records ? "RECORD" : "FAULT", t->data);
    snprintf(variable[1], sizeof(variable[1]), "PH_%s=%s", records ? "RECORD_LOG" : "FAULT",
             records ? t->log_path : rule);
    snprintf(variable[2], sizeof(variable[2]), "PH_%s=%s", records ? "RECORD_MARK" : "FAULT_REPORT",
             records ? fd : t->report);
    status = fault_spawn(&t->run, &s);
    close(s.mark_fd);
    qm_init(&t->model, t->run.seed, CLIENTS);
    if (!qm_lines(&t->model, t->lines, why)) {
        fault_note(&t->run, "%s: %s", rule, why);
        return -1;
    }
    return status;
}

/* --- verifying ---------------------------------------------------------------------------------------------------- */

struct want {
    struct queue_site_setup setup;
    const struct qm *model;
};

static void sound(struct queue_site *s, struct kv_result *r)
{
    struct journal_check_result found;
    struct err err = ERR_INIT;
    int n = queue_site_check(s, kv_say, r, &err);

    if (n >= 0)
        r->faults += n;
    else
        kv_fault(r, "checking the queue: %s", err.text);
    n = journal_check(s->j, kv_say, r, &found, &err);
    if (n >= 0)
        r->faults += n;
    else
        kv_fault(r, "checking the journal: %s", err.text);
}

static void same_rebuilt(const struct want *want, struct queue_site *s, struct qm *m, struct kv_result *r)
{
    struct queue_site_setup setup = want->setup;
    struct buf before = BUF_INIT, after = BUF_INIT;
    struct err err = ERR_INIT;

    setup.discard_index = true;
    if (queue_site_dump(s, &before, &err) < 0)
        kv_fault(r, "dumping: %s", err.text);
    queue_site_close(s);
    if (r->faults == 0 && (queue_site_open(s, &setup, &err) < 0 || queue_site_dump(s, &after, &err) < 0))
        kv_fault(r, "rebuilding: %s", err.text);
    if (r->faults == 0 && !slice_eq(buf_slice(&before), buf_slice(&after)))
        kv_fault(r, "the rebuilt index differs: %zu octets before, %zu after", before.len, after.len);
    if (r->faults == 0)
        r->faults += qm_compare(m, s, true, kv_say, r);
    buf_free(&before);
    buf_free(&after);
}

static void verify_run(void *arg, struct kv_result *r)
{
    const struct want *want = arg;
    struct queue_site *s = mem_alloc(sizeof(*s));
    struct qm *m = mem_alloc(sizeof(*m));
    struct err err = ERR_INIT;

    *m = *want->model;
    if (queue_site_open(s, &want->setup, &err) < 0) {
        kv_fault(r, "opening: %s", err.text);
    } else {
        if (s->report.damaged_places != 0 || s->report.lost_records != 0)
            kv_fault(r, "opening found %llu damaged places, %llu records lost",
                     (unsigned long long)s->report.damaged_places, (unsigned long long)s->report.lost_records);
        r->faults += qm_compare(m, s, true, kv_say, r);
        if (r->faults == 0)
            sound(s, r);
        for (unsigned i = 0; r->faults == 0 && i < 2; i++) /* it goes on */
            if (qm_round(m, s, NULL, NULL) != 0)
                kv_fault(r, "a step after reopening was refused");
        if (r->faults == 0)
            same_rebuilt(want, s, m, r);
        if (r->faults == 0)
            sound(s, r);
    }
    queue_site_close(s);
    mem_free(s);
    mem_free(m);
}

/* --- the n-th call ------------------------------------------------------------------------------------------------ */

struct row {
    const char *kind, *action;
    bool goes_on; /* every call from the n-th on */
};
static const struct row rows[] = {
    { "pwritev", "EIO", false },      { "pwritev", "ENOSPC", false },    { "pwritev", "SHORT", false },
    { "pwrite", "EIO", false },       { "pwrite", "ENOSPC", false },     { "write", "EIO", false },
    { "fdatasync", "EIO", false },    { "fdatasync", "EIOKEPT", false }, { "fsync", "EIO", false },
    { "fallocate", "ENOSPC", false }, { "ftruncate", "EIO", false },     { "open", "EIO", false },
    { "pread", "EIO", false },        { "rename", "EIO", false },        { "unlink", "EIO", false },
    { "mkdir", "ENOSPC", false },     { "any", "KILL", false },          { "pwritev", "EIO", true },
    { "pwrite", "ENOSPC", true },     { "fdatasync", "EIO", true },      { "fallocate", "ENOSPC", true },
    { "open", "EIO", true },          { "any", "EIO", true },
};

static unsigned long count_of(struct trial *t, const char *kind)
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

static bool one(struct trial *t, const struct row *row, unsigned long n)
{
    bool dies = strcmp(row->action, "KILL") == 0;
    /* A disk on which everything fails cannot be told not to trust the index: that machine is started again. */
    struct want want = { .setup = { .dir = t->data, .boot_id = n % 3 == 0 || row->goes_on ? BOOT_NEXT : BOOT_WORK,
                                    .young_max = 24 },
                         .model = &t->model };
    char rule[80], text[2000];
    int status;

    snprintf(rule, sizeof(rule), "%s:%lu:%s%s", row->kind, n, row->action, row->goes_on ? ":on" : "");
    status = work(t, "fault", rule, n % 2 == 0);
    if (status == -1 || (WIFSIGNALED(status) && !(dies && WTERMSIG(status) == SIGKILL)) ||
        (WIFEXITED(status) && WEXITSTATUS(status) > 1)) {
        fault_note(&t->run, "%s: the workload ended with wait status %d\n%s", rule, status,
                   fault_stderr(&t->run, text));
        return false;
    }
    if (kv_in_child(verify_run, &want, 30 * t->run.slow, t->result) == 0)
        return true;
    fault_note(&t->run, "%s:\n%s\nthe workload said:\n%s", rule, t->result->text, fault_stderr(&t->run, text));
    fault_keep(&t->run, t->data, rule);
    fault_path(&t->run, t->data, "data", true);
    return false;
}

static void case_row(struct trial *t, const struct row *row, unsigned long count)
{
    unsigned long tried = 0, failed = 0;
    char name[80];

    snprintf(name, sizeof(name), "queue: %s %s%s", row->kind, row->action, row->goes_on ? " from then on" : "");
    if (!fault_wanted(&t->run, name))
        return;
    for (unsigned long n = 1; n <= count && failed < FAILURES_MAX; n++) {
        if (!t->run.soak && n > 1 && rng_below(&t->rng, count) >= SHORT_TRIES / t->run.thin + 1)
            continue;
        tried++;
        failed += !one(t, row, n);
    }
    fault_case(&t->run, name, failed == 0 && tried > 0, "%lu of %lu calls tried", tried, count);
}

static void case_rows(struct trial *t)
{
    unsigned long counts[ARRAY_LEN(rows)];
    char text[2000];
    int status = work(t, "fault", "", true);

    fault_case(&t->run, "queue: the steps run without faults", status == 0, "wait status %d, %u steps a client\n%s",
               status, t->model.clients[0].answered, status == 0 ? "" : fault_stderr(&t->run, text));
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        counts[i] = count_of(t, rows[i].kind);
    for (unsigned i = 0; i < ARRAY_LEN(rows) && status == 0; i++)
        case_row(t, &rows[i], counts[i]);
}

/* --- power cuts --------------------------------------------------------------------------------------------------- */

static void image_check(struct trial *t, const struct crash_sim *sim, const struct qm *model, size_t at,
                        const struct crash_choice *choice)
{
    static const char *const names[] = { "kill", "posix", "ordered" };
    struct want want = { .setup = { .dir = t->image, .young_max = 24,
                                    .boot_id = choice->model == CRASH_KILL ? BOOT_WORK : BOOT_NEXT },
                         .model = model };

    if (crash_sim_image(sim, choice, t->image) < 0)
        panic("cannot write the image to %s", t->image);
    if (choice->model == CRASH_KILL)
        crash_index_adopt(t->image, crash_sim_inode(sim, "index/index.lmdb"));
    t->images++;
    if (kv_in_child(verify_run, &want, 30 * t->run.slow, t->result) == 0)
        return;
    t->failures++;
    fault_note(&t->run, "event %zu, %s, image seed %llu:\n%s", at, names[choice->model],
               (unsigned long long)choice->seed, t->result->text);
}

static void place_check(struct trial *t, const struct crash_sim *sim, const struct qm *model, size_t at)
{
    const struct crash_choice choices[] = { { CRASH_POSIX, 0 },
                                            { CRASH_KILL, 1 },
                                            { CRASH_POSIX, rng_next(&t->rng) | 2 },
                                            { CRASH_ORDERED, rng_next(&t->rng) | 2 },
                                            { CRASH_POSIX, 1 },
                                            { CRASH_ORDERED, 0 } };
    unsigned skip = (unsigned)rng_below(&t->rng, ARRAY_LEN(choices));

    for (unsigned i = 0; i < (t->run.soak ? ARRAY_LEN(choices) : 2) && t->failures < FAILURES_MAX; i++)
        image_check(t, sim, model, at, &choices[(i + skip) % ARRAY_LEN(choices)]);
}

static void line_follow(struct qm *m, const struct record_event *e, const unsigned char *data)
{
    char line[120], why[160];

    if (e->kind != REC_REPLY)
        return;
    snprintf(line, sizeof(line), "%.*s", (int)(e->len1 < 119 ? e->len1 : 119), (const char *)data);
    if (!qm_line(m, line, why))
        panic("the log is wrong: %s", why);
}

static void follow(struct trial *t, const struct crash_log *log)
{
    struct crash_sim *sim = crash_sim_new(t->data);
    struct qm *m = mem_alloc(sizeof(*m));
    size_t places = 0, want = (t->run.soak ? 400 : SHORT_PLACES) / t->run.thin;

    qm_init(m, t->run.seed, CLIENTS);
    for (size_t at = 0; at < log->count && t->failures < FAILURES_MAX; at++) {
        const unsigned char *data;
        const struct record_event *e = crash_log_event(log, at, &data, NULL);
        bool is_near = crash_sim_is_record_write(sim, e) || e->kind == REC_REPLY;

        crash_sim_step(sim, log, at);
        line_follow(m, e, data);
        /* where a record was written, or an answer given, more often than elsewhere */
        if (rng_below(&t->rng, log->count) < (is_near ? 2 * want : want / 2) || at + 1 == log->count) {
            places++;
            place_check(t, sim, m, at);
        }
    }
    fault_case(&t->run, "queue: power cuts", t->failures == 0 && t->images > 0, "%u images at %zu places of %zu events",
               t->images, places, log->count);
    crash_sim_destroy(&sim);
    mem_free(m);
}

/* Without the syncs of records, what was answered last is gone. */
static void case_no_sync(struct trial *t, const struct crash_log *log)
{
    struct crash_sim *sim = crash_sim_new(t->data);
    const struct crash_choice choice = { CRASH_POSIX, 0 };
    struct want want = { .setup = { .dir = t->image, .boot_id = BOOT_NEXT }, .model = &t->model };
    int faults;

    crash_sim_skip(sim, CRASH_SYNC_DATA, 0);
    for (size_t at = 0; at < log->count; at++)
        crash_sim_step(sim, log, at);
    if (crash_sim_image(sim, &choice, t->image) < 0)
        panic("cannot write the image to %s", t->image);
    faults = kv_in_child(verify_run, &want, 30 * t->run.slow, t->result);
    fault_case(&t->run, "queue: a build that never syncs records is caught", faults != 0, "%d faults", faults);
    crash_sim_destroy(&sim);
}

static void case_crashes(struct trial *t)
{
    struct crash_log log = { 0 };
    char text[2000];
    int status = work(t, "record", "", true);

    if (status != 0 || crash_log_open(&log, t->log_path) < 0) {
        fault_case(&t->run, "queue: power cuts", false, "wait status %d\n%s", status, fault_stderr(&t->run, text));
        return;
    }
    follow(t, &log);
    case_no_sync(t, &log);
    crash_log_free(&log);
}

int main(int argc, char **argv)
{
    struct trial *t;
    int rc;

    if (argc == 8 && strcmp(argv[1], "work") == 0)
        return work_main(argv + 2);
    t = mem_alloc(sizeof(*t));
    fault_begin(&t->run, "queue", argc, argv);
    fault_path(&t->run, t->data, "data", true);
    fault_path(&t->run, t->image, "image", true);
    fault_path(&t->run, t->lines, "lines", false);
    fault_path(&t->run, t->report, "report", false);
    fault_path(&t->run, t->log_path, "log", false);
    t->result = kv_result_new();
    rng_init(&t->rng, t->run.seed);
    case_rows(t);
    if (fault_wanted(&t->run, "power cuts"))
        case_crashes(t);
    rc = fault_end(&t->run);
    kv_result_destroy(&t->result);
    mem_free(t);
    return rc;
}
