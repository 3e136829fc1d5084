#include "fault_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "crash_sim.h"
#include "kv_site.h"

static int64_t now_ms(void)
{
    struct clock c;

    clock_init_real(&c);
    return clock_mono_ms(&c);
}

/* Memory, when there is enough of it: a crash image costs no disk writes then. */
static const char *work_root(void)
{
    struct statfs fs;
    const char *tmp = getenv("TMPDIR");

    if (access("/dev/shm", W_OK) == 0 && statfs("/dev/shm", &fs) == 0 &&
        (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize > 512u * 1024 * 1024)
        return "/dev/shm";
    return tmp != NULL ? tmp : "/tmp";
}

void fault_begin(struct fault_run *r, const char *program, int argc, char **argv)
{
    const char *build = getenv("BUILD"), *san = getenv("SAN");
    char path[PATH_MAX];

    memset(r, 0, sizeof(*r));
    r->program = program;
    r->seed = 1;
    r->slow = san != NULL && san[0] != 0 ? 8 : 1;
    r->thin = san != NULL && san[0] != 0 ? 5 : 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--soak") == 0)
            r->soak = true;
        else if (strcmp(argv[i], "--keep") == 0)
            r->keep = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            r->seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--filter") == 0 && i + 1 < argc)
            r->filter = argv[++i];
        else {
            fprintf(stderr, "usage: %s [--soak] [--seed N] [--keep] [--filter WORD]\n", program);
            exit(2);
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (realpath(build != NULL ? build : "build", r->build) == NULL)
        panic("there is no build directory (BUILD)");
    snprintf(path, sizeof(path), "%s/ph-%s.XXXXXX", work_root(), program);
    if (mkdtemp(path) == NULL || realpath(path, r->work) == NULL)
        panic("cannot make %s", path);
    r->began_ms = now_ms();
    if (r->soak) {
        snprintf(path, sizeof(path), "%.4000s/soak", r->build);
        mkdir(path, 0777);
        snprintf(path, sizeof(path), "%.4000s/soak/%s.txt", r->build, program);
        if (getenv("PH_FAULT_DIR") == NULL)
            unlink(path); /* else: started by a fault program, whose file it is */
        r->result = fopen(path, "a");
    }
    fault_note(r, "%s, seed %llu", program, (unsigned long long)r->seed);
}

int fault_end(struct fault_run *r)
{
    fault_note(r, "%s, seed %llu: %u passed, %u failed, %.1f s", r->program, (unsigned long long)r->seed, r->passed,
               r->failed, (double)(now_ms() - r->began_ms) / 1000);
    if (r->result != NULL)
        fclose(r->result);
    if (r->keep && r->failed > 0)
        printf("# files are in %s\n", r->work);
    else
        crash_dir_empty(r->work, true);
    return r->failed == 0 && r->passed > 0 ? 0 : 1;
}

bool fault_wanted(const struct fault_run *r, const char *name)
{
    return r->filter == NULL || strstr(name, r->filter) != NULL;
}

static void PRINTF_LIKE(2, 0) say(struct fault_run *r, const char *fmt, va_list ap)
{
    va_list again;

    va_copy(again, ap);
    vprintf(fmt, ap);
    putchar('\n');
    if (r->result != NULL) {
        vfprintf(r->result, fmt, again);
        fputc('\n', r->result);
        fflush(r->result);
    }
    va_end(again);
}

static void PRINTF_LIKE(2, 3) say_line(struct fault_run *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say(r, fmt, ap);
    va_end(ap);
}

/* Details may have several lines; each gets its '#'. */
static void say_details(struct fault_run *r, const char *fmt, va_list ap)
{
    char *text = NULL, *save = NULL;

    if (vasprintf(&text, fmt, ap) < 0)
        return;
    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        say_line(r, "# %s", line);
    free(text);
}

bool fault_case(struct fault_run *r, const char *name, bool good, const char *fmt, ...)
{
    va_list ap;

    say_line(r, "%s %s", good ? "ok" : "not ok", name);
    va_start(ap, fmt);
    say_details(r, fmt, ap);
    va_end(ap);
    r->passed += good;
    r->failed += !good;
    return good;
}

void fault_note(struct fault_run *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say_details(r, fmt, ap);
    va_end(ap);
}

char *fault_path(const struct fault_run *r, char out[PATH_MAX], const char *name, bool fresh)
{
    snprintf(out, PATH_MAX, "%.4000s/%s", r->work, name);
    if (fresh) {
        crash_dir_empty(out, true);
        unlink(out);
        if (mkdir(out, 0700) < 0)
            panic("cannot make %s", out);
    }
    return out;
}

void fault_keep(struct fault_run *r, const char *path, const char *name)
{
    char to[PATH_MAX];

    if (!r->keep)
        return;
    fault_path(r, to, name, false);
    if (rename(path, to) == 0)
        fault_note(r, "kept as %s", to);
}

/* --- kvwork ------------------------------------------------------------------------------------------------------- */

int fault_start(struct fault_run *r, const struct fault_spawn *s)
{
    char program[PATH_MAX], preload[PATH_MAX], log[PATH_MAX];
    const char *argv[64] = { program };
    unsigned n = 1;
    pid_t pid;

    snprintf(program, sizeof(program), "%.4000s/t/fault/%.50s", r->build, s->program != NULL ? s->program : "kvwork");
    snprintf(preload, sizeof(preload), "%.4000s/t/fault/preload_%s.so", r->build, s->preload != NULL ? s->preload : "");
    fault_path(r, log, "stderr", false);
    while (n < ARRAY_LEN(argv) - 1 && s->args[n - 1] != NULL) {
        argv[n] = s->args[n - 1];
        n++;
    }
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        if (fd >= 0)
            dup2(fd, 2);
        if (s->mark_fd >= 0)
            fcntl(s->mark_fd, F_SETFD, 0);
        for (unsigned i = 0; i < ARRAY_LEN(s->environment) && s->environment[i] != NULL; i++)
            putenv((char *)(uintptr_t)s->environment[i]);
        if (s->preload != NULL)
            setenv("LD_PRELOAD", preload, 1);
        execv(program, (char **)(uintptr_t)argv);
        fprintf(stderr, "%s: %s\n", program, strerror(errno));
        _exit(127);
    }
    ASSERT(pid > 0);
    return pid;
}

int fault_spawn(struct fault_run *r, const struct fault_spawn *s)
{
    return kv_wait(fault_start(r, s), s->timeout_s * r->slow);
}

const char *fault_stderr(struct fault_run *r, char out[2000])
{
    char path[PATH_MAX];
    int fd = open(fault_path(r, path, "stderr", false), O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    ssize_t n = fd < 0 ? 0 : pread(fd, out, 1999, size > 1999 ? size - 1999 : 0);

    out[n > 0 ? n : 0] = 0;
    if (fd >= 0)
        close(fd);
    return out;
}
