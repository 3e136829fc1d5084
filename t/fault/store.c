/* store.c - the store as the room: the n-th file call of each kind fails, for all n of a scripted workload, and the
 * power goes; afterwards the state is what was answered, S1 to S6 of store.h hold, and a rebuilt index is the same.
 *
 * usage: store [options of fault_run.h], or as its own child: store work DIR FD BOOT POOL STRICT
 *
 * The child runs the steps of store_script.h. For each it writes "S n", does it, and writes "A n result exact plain":
 * sums over the state that a reader sees. A refused step must not have changed what was seen before. So the last line
 * says what the directory must hold; a step under way when the process was killed may have happened or not, and what
 * it would have made of the state is known from a run without faults. "D n" ends the run: the step succeeded, but the
 * index failed after the records were written, so that it is seen after the next start. What is left of a step that is
 * not whole is not compared.
 */
#include <fcntl.h>
#include <inttypes.h>
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
#include "store_script.h"

#define BOOT_WORK "00000000-0000-4000-8000-000000000001"
#define BOOT_NEXT "00000000-0000-4000-8000-000000000002"
#define STEPS_MAX 100u
#define SHORT_TRIES 3 /* per row in the short form */
#define SHORT_PLACES 20
#define FAILURES_MAX 3u
#define WRONG 3 /* exit status: an answer or a state that must not be */

/* --- the child ---------------------------------------------------------------------------------------------------- */

struct worker {
    struct script script;
    int fd;
    bool is_strict; /* no fault is expected */
    struct buf before, after, plain;
};

static void mark(struct worker *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void mark(struct worker *w, const char *fmt, ...)
{
    char line[120];
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (write(w->fd, line, (size_t)len) != len)
        _exit(1);
}

/* What a reader sees; -1 when nothing can be read any more. */
static int look(struct worker *w, unsigned n, enum store_result result)
{
    struct err err = ERR_INIT;

    if (script_state(&w->script, SCRIPT_EXACT, &w->after, &err) < 0 ||
        script_state(&w->script, SCRIPT_PLAIN, &w->plain, &err) < 0)
        return -1;
    mark(w, "A %u %d %016" PRIx64 " %016" PRIx64 "\n", n, (int)result, slice_hash(buf_slice(&w->after), 1),
         slice_hash(buf_slice(&w->plain), 1));
    return 0;
}

/* 0: go on; 1: the disk is gone; WRONG. Steps count from 1 in the lines; 0 is the state at the start. */
static int work_step(struct worker *w, unsigned n)
{
    struct err err = ERR_INIT;
    enum store_result result;
    bool is_wanted, is_trouble;
    char why[160];

    buf_reset(&w->before);
    buf_put(&w->before, w->after.ptr, w->after.len);
    mark(w, "S %u\n", n + 1);
    result = script_step(&w->script, n, &is_wanted, &err);
    is_trouble = result == STORE_TEMP || result == STORE_FULL;
    if (w->is_strict && !is_wanted) {
        fprintf(stderr, "store: step %u is answered with %d: %s\n", n, (int)result, err.text);
        return WRONG;
    }
    if (w->script.j == NULL)
        return 1;
    if ((result == STORE_OK || !script_step_is_whole(n)) && journal_state(w->script.j, why) == JOURNAL_READ_ONLY) {
        mark(w, "D %u\n", n + 1);
        return 1;
    }
    if (look(w, n + 1, result) < 0)
        return 1;
    if (is_trouble && script_step_is_whole(n) && !slice_eq(buf_slice(&w->before), buf_slice(&w->after))) {
        fprintf(stderr, "store: step %u was refused (%s) and changed the state:\n%s\n%s", n, err.text,
                buf_str(&w->before), buf_str(&w->after));
        return WRONG;
    }
    return 0;
}

static int work_main(char **argv)
{
    struct worker *w = mem_alloc(sizeof(*w));
    struct script_site site = { .dir = argv[0], .boot_id = argv[2], .without_pool = strcmp(argv[3], "pool") != 0 };
    struct err err = ERR_INIT;
    int rc = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlive the test */
    w->fd = (int)strtol(argv[1], NULL, 10);
    w->is_strict = strcmp(argv[4], "strict") == 0;
    if (script_open(&w->script, &site, &err) < 0) {
        fprintf(stderr, "store: opening: %s\n", err.text);
        rc = 1;
    } else {
        rc = look(w, 0, STORE_OK) < 0;
    }
    for (unsigned n = 0; rc == 0 && n < script_steps(); n++)
        rc = work_step(w, n);
    script_close(&w->script);
    buf_free(&w->before);
    buf_free(&w->after);
    buf_free(&w->plain);
    mem_free(w);
    return rc;
}

/* --- the parent --------------------------------------------------------------------------------------------------- */

struct told { /* by the lines */
    unsigned sent, answered;
    bool is_unseen; /* `sent` succeeded, too */
    uint64_t exact[STEPS_MAX + 1], plain[STEPS_MAX + 1]; /* states after the steps answered */
};

struct trial {
    struct fault_run run;
    struct kv_result *result; /* of a verification; its model is not used */
    struct rng rng;
    char data[PATH_MAX], image[PATH_MAX], lines[PATH_MAX], report[PATH_MAX], log_path[PATH_MAX];
    struct told sound, now; /* of the run without faults; of the last one */
    unsigned images, failures;
};

static void told_line(struct told *t, const char *line)
{
    unsigned n;
    int result;
    uint64_t exact, plain;

    if (sscanf(line, "A %u %d %" SCNx64 " %" SCNx64, &n, &result, &exact, &plain) == 4 && n <= STEPS_MAX) {
        t->answered = n;
        t->exact[n] = exact;
        t->plain[n] = plain;
    } else if (sscanf(line, "S %u", &n) == 1) {
        t->sent = n;
    } else if (sscanf(line, "D %u", &n) == 1) {
        t->is_unseen = true;
    }
}

/* Before the first line the store is empty. */
static void told_begin(struct told *t)
{
    slice empty = SLICE("no account 0\nno account 1\n");

    memset(t, 0, sizeof(*t));
    t->exact[0] = t->plain[0] = slice_hash(empty, 1);
}

static void told_read(struct told *t, const char *path)
{
    FILE *f = fopen(path, "r");
    char line[120];

    told_begin(t);
    while (f != NULL && fgets(line, sizeof(line), f) != NULL && strchr(line, '\n') != NULL)
        told_line(t, line);
    if (f != NULL)
        fclose(f);
}

/* Run the child with that preloaded object. Returns the wait status, -1 after the limit. */
static int work(struct trial *t, const char *preload, const char *rule, bool has_pool)
{
    char variable[4][PATH_MAX + 40], fd[12];
    bool records = strcmp(preload, "record") == 0;
    const char *args[] = { "work", t->data, fd, BOOT_WORK, has_pool ? "pool" : "no-pool",
                           rule[0] == 0 ? "strict" : "tolerant", NULL };
    struct fault_spawn s = { .program = "store", .preload = preload, .args = args, .timeout_s = 30,
                             .environment = { variable[0], variable[1], variable[2] } };
    int status;

    crash_dir_empty(t->data, false);
    unlink(t->lines);
    unlink(t->log_path);
    s.mark_fd = open(t->lines, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(fd, sizeof(fd), "%d", s.mark_fd);
    snprintf(variable[0], sizeof(variable[0]), "PH_%s_DIR=%s", records ? "RECORD" : "FAULT", t->data);
    snprintf(variable[1], sizeof(variable[1]), "PH_%s=%s", records ? "RECORD_LOG" : "FAULT",
             records ? t->log_path : rule);
    snprintf(variable[2], sizeof(variable[2]), "PH_%s=%s", records ? "RECORD_MARK" : "FAULT_REPORT",
             records ? fd : t->report);
    status = fault_spawn(&t->run, &s);
    close(s.mark_fd);
    told_read(&t->now, t->lines);
    return status;
}

/* --- verifying ---------------------------------------------------------------------------------------------------- */

struct want {
    struct script_site site;
    uint64_t exact;      /* of the state that was answered last; 0: not known */
    bool may_be_next;    /* or one more step was done */
    uint64_t next_exact, next_plain; /* either will do; 0: not known */
};

static void same_state(const struct want *want, struct script *s, struct kv_result *r)
{
    struct buf exact = BUF_INIT, plain = BUF_INIT;
    struct err err = ERR_INIT;

    if (script_state(s, SCRIPT_EXACT, &exact, &err) < 0 || script_state(s, SCRIPT_PLAIN, &plain, &err) < 0) {
        kv_fault(r, "reading: %s", err.text);
    } else if (want->exact != 0 && slice_hash(buf_slice(&exact), 1) != want->exact &&
               !(want->may_be_next && (slice_hash(buf_slice(&exact), 1) == want->next_exact ||
                                       slice_hash(buf_slice(&plain), 1) == want->next_plain))) {
        kv_fault(r, "the state is not what was answered:");
        kv_say(r, buf_str(&exact));
    }
    buf_free(&exact);
    buf_free(&plain);
}

/* Both accounts can be had and take mail. */
static void go_on(struct script *s, struct kv_result *r)
{
    static const unsigned some[] = { 0, 1, 3 };

    for (unsigned i = 0; i < ARRAY_LEN(some); i++) {
        struct err err = ERR_INIT;
        bool is_wanted;
        enum store_result result = script_step(s, some[i], &is_wanted, &err);

        if (!is_wanted)
            kv_fault(r, "step %u after reopening: %d, %s", some[i], (int)result, err.text);
    }
}

static void sound(struct script *s, struct kv_result *r)
{
    struct journal_check_result found;
    struct err err = ERR_INIT;
    int n = store_check(s->store, kv_say, r, &err);

    if (n >= 0)
        r->faults += n;
    else
        kv_fault(r, "checking the store: %s", err.text);
    n = journal_check(s->j, kv_say, r, &found, &err);
    if (n >= 0)
        r->faults += n;
    else
        kv_fault(r, "checking the journal: %s", err.text);
}

static void same_rebuilt(const struct want *want, struct script *s, struct kv_result *r)
{
    struct script_site site = want->site;
    struct buf before = BUF_INIT, after = BUF_INIT;
    struct err err = ERR_INIT;

    site.discard_index = true;
    if (script_dump(s, &before, &err) < 0)
        kv_fault(r, "dumping: %s", err.text);
    script_close(s);
    if (r->faults == 0 && (script_open(s, &site, &err) < 0 || script_dump(s, &after, &err) < 0))
        kv_fault(r, "rebuilding: %s", err.text);
    if (r->faults == 0 && !slice_eq(buf_slice(&before), buf_slice(&after)))
        kv_fault(r, "the rebuilt index differs: %zu octets before, %zu after", before.len, after.len);
    buf_free(&before);
    buf_free(&after);
}

static void verify_run(void *arg, struct kv_result *r)
{
    const struct want *want = arg;
    struct script *s = mem_alloc(sizeof(*s));
    struct err err = ERR_INIT;

    if (script_open(s, &want->site, &err) < 0) {
        kv_fault(r, "opening: %s", err.text);
    } else {
        if (s->report.damaged_places != 0 || s->report.lost_records != 0)
            kv_fault(r, "opening found %llu damaged places, %llu records lost",
                     (unsigned long long)s->report.damaged_places, (unsigned long long)s->report.lost_records);
        same_state(want, s, r);
        if (r->faults == 0)
            sound(s, r);
        if (r->faults == 0)
            go_on(s, r);
        if (r->faults == 0)
            same_rebuilt(want, s, r);
        if (r->faults == 0)
            sound(s, r);
    }
    script_close(s);
    mem_free(s);
}

/* --- the n-th call ------------------------------------------------------------------------------------------------ */

struct row {
    const char *kind, *action;
    bool goes_on; /* every call from the n-th on */
};
static const struct row rows[] = {
    { "pwritev", "EIO", false },   { "pwritev", "ENOSPC", false },    { "pwritev", "SHORT", false },
    { "pwrite", "EIO", false },    { "pwrite", "ENOSPC", false },     { "write", "EIO", false },
    { "fdatasync", "EIO", false }, { "fdatasync", "EIOKEPT", false }, { "fsync", "EIO", false },
    { "fallocate", "ENOSPC", false }, { "ftruncate", "EIO", false },  { "open", "EIO", false },
    { "pread", "EIO", false },     { "rename", "EIO", false },        { "unlink", "EIO", false },
    { "mkdir", "ENOSPC", false },  { "any", "KILL", false },          { "pwritev", "EIO", true },
    { "pwrite", "ENOSPC", true },  { "fdatasync", "EIO", true },      { "fallocate", "ENOSPC", true },
    { "open", "EIO", true },       { "any", "EIO", true },
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
    struct want want = { .site = { .dir = t->data, .boot_id = n % 3 == 0 || row->goes_on ? BOOT_NEXT : BOOT_WORK } };
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
    want.exact = t->now.exact[t->now.answered];
    want.may_be_next = t->now.sent > t->now.answered;
    want.next_plain = want.may_be_next ? t->sound.plain[t->now.sent] : 0;
    if (t->now.is_unseen) /* it must have happened; what that makes of another past than the sound one is not known */
        want.exact = t->now.plain[t->now.answered] == t->sound.plain[t->now.answered] ? 1 : 0;
    if (want.may_be_next && !script_step_is_whole(t->now.sent - 1))
        want.exact = 0;
    if (kv_in_child(verify_run, &want, 30 * t->run.slow, t->result) == 0)
        return true;
    fault_note(&t->run, "%s, %u steps answered, %u sent:\n%s\nthe workload said:\n%s", rule, t->now.answered,
               t->now.sent, t->result->text, fault_stderr(&t->run, text));
    fault_keep(&t->run, t->data, rule);
    fault_path(&t->run, t->data, "data", true);
    return false;
}

static void case_row(struct trial *t, const struct row *row, unsigned long count)
{
    unsigned long tried = 0, failed = 0;
    char name[80];

    snprintf(name, sizeof(name), "store: %s %s%s", row->kind, row->action, row->goes_on ? " from then on" : "");
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

/* --- power cuts --------------------------------------------------------------------------------------------------- */

static void image_check(struct trial *t, const struct crash_sim *sim, const struct told *told, size_t at,
                        const struct crash_choice *choice)
{
    static const char *const names[] = { "kill", "posix", "ordered" };
    struct want want = { .site = { .dir = t->image, .boot_id = choice->model == CRASH_KILL ? BOOT_WORK : BOOT_NEXT },
                         .exact = told->exact[told->answered], .may_be_next = told->sent > told->answered };

    if (want.may_be_next)
        want.next_exact = t->sound.exact[told->sent]; /* of this very run */
    if (want.may_be_next && !script_step_is_whole(told->sent - 1))
        want.exact = 0;
    if (crash_sim_image(sim, choice, t->image) < 0)
        panic("cannot write the image to %s", t->image);
    if (choice->model == CRASH_KILL)
        crash_index_adopt(t->image, crash_sim_inode(sim, "index/index.lmdb"));
    t->images++;
    if (kv_in_child(verify_run, &want, 30 * t->run.slow, t->result) == 0)
        return;
    t->failures++;
    fault_note(&t->run, "event %zu, %s, image seed %llu, %u steps answered, %u sent:\n%s", at, names[choice->model],
               (unsigned long long)choice->seed, told->answered, told->sent, t->result->text);
}

static void place_check(struct trial *t, const struct crash_sim *sim, const struct told *told, size_t at)
{
    const struct crash_choice choices[] = { { CRASH_POSIX, 0 },
                                            { CRASH_POSIX, rng_next(&t->rng) | 2 },
                                            { CRASH_ORDERED, rng_next(&t->rng) | 2 },
                                            { CRASH_KILL, 1 },
                                            { CRASH_POSIX, 1 },
                                            { CRASH_ORDERED, 0 } };
    unsigned skip = (unsigned)rng_below(&t->rng, ARRAY_LEN(choices));

    for (unsigned i = 0; i < (t->run.soak ? ARRAY_LEN(choices) : 2) && t->failures < FAILURES_MAX; i++)
        image_check(t, sim, told, at, &choices[(i + skip) % ARRAY_LEN(choices)]);
}

static void follow(struct trial *t, const struct crash_log *log)
{
    struct crash_sim *sim = crash_sim_new(t->data);
    struct told *told = mem_alloc(sizeof(*told));
    size_t places = 0, want = (t->run.soak ? 400 : SHORT_PLACES) / t->run.thin;

    told_begin(told);
    for (size_t at = 0; at < log->count && t->failures < FAILURES_MAX; at++) {
        const unsigned char *data;
        const struct record_event *e = crash_log_event(log, at, &data, NULL);
        bool is_near = crash_sim_is_record_write(sim, e) || e->kind == REC_REPLY;
        char line[120];

        crash_sim_step(sim, log, at);
        if (e->kind == REC_REPLY) {
            snprintf(line, sizeof(line), "%.*s", (int)(e->len1 < 119 ? e->len1 : 119), (const char *)data);
            told_line(told, line);
        }
        /* where a record was written, or an answer given, more often than elsewhere */
        if (rng_below(&t->rng, log->count) < (is_near ? 4 * want : want / 2) || at + 1 == log->count) {
            places++;
            place_check(t, sim, told, at);
        }
    }
    fault_case(&t->run, "store: power cuts", t->failures == 0 && t->images > 0, "%u images at %zu places of %zu events",
               t->images, places, log->count);
    crash_sim_destroy(&sim);
    mem_free(told);
}

/* Without the syncs of records, what was answered last is gone. */
static void case_no_sync(struct trial *t, const struct crash_log *log)
{
    struct crash_sim *sim = crash_sim_new(t->data);
    const struct crash_choice choice = { CRASH_POSIX, 0 };
    struct want want = { .site = { .dir = t->image, .boot_id = BOOT_NEXT },
                         .exact = t->sound.exact[script_steps()] };
    int faults;

    crash_sim_skip(sim, CRASH_SYNC_DATA, 0);
    for (size_t at = 0; at < log->count; at++)
        crash_sim_step(sim, log, at);
    if (crash_sim_image(sim, &choice, t->image) < 0)
        panic("cannot write the image to %s", t->image);
    faults = kv_in_child(verify_run, &want, 30 * t->run.slow, t->result);
    fault_case(&t->run, "store: a build that never syncs records is caught", faults != 0, "%d faults", faults);
    crash_sim_destroy(&sim);
}

static void case_crashes(struct trial *t)
{
    struct crash_log log = { 0 };
    char text[2000];
    int status = work(t, "record", "", true);

    t->sound = t->now;
    if (status != 0 || crash_log_open(&log, t->log_path) < 0) {
        fault_case(&t->run, "store: power cuts", false, "wait status %d\n%s", status, fault_stderr(&t->run, text));
        return;
    }
    follow(t, &log);
    case_no_sync(t, &log);
    crash_log_free(&log);
}

/* --- main --------------------------------------------------------------------------------------------------------- */

static void case_rows(struct trial *t)
{
    unsigned long counts[ARRAY_LEN(rows)];
    char text[2000];
    int status = work(t, "fault", "", true);

    t->sound = t->now;
    fault_case(&t->run, "store: the script runs without faults", status == 0 && t->now.answered == script_steps(),
               "wait status %d, %u steps\n%s", status, t->now.answered, status == 0 ? "" : fault_stderr(&t->run, text));
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        counts[i] = count_of(t, rows[i].kind);
    for (unsigned i = 0; i < ARRAY_LEN(rows) && status == 0; i++)
        case_row(t, &rows[i], counts[i]);
}

int main(int argc, char **argv)
{
    struct trial *t;
    int rc;

    if (argc == 7 && strcmp(argv[1], "work") == 0)
        return work_main(argv + 2);
    t = mem_alloc(sizeof(*t));
    ASSERT(script_steps() <= STEPS_MAX);
    fault_begin(&t->run, "store", argc, argv);
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
